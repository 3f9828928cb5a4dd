// SPDX-License-Identifier: Apache-2.0
// The lane operand in the order in which the kernel reads it: [batch][panel][k][nv*lanes], the last
// panel padded with zeros. Constants at compile time, others by a loop before the kernel.
#include "loop/tile.h"
#include <string.h>

static int64_t product(const Ex *var, int n) {
    int64_t p = 1;
    for (int i = 0; i < n; i++) p *= tile_extent(var[i]);
    return p;
}

static Ex sum_size(const Tiling *t) {
    Ex n = e_int(1);
    for (int i = 0; i < t->nkorder; i++) n = e_mul(n, t->korder[i]->extent);
    return n;
}

// Offsets that the values of n variables give, in row-major order.
static int64_t *offsets(Ex off, const Ex *var, int n, int64_t *count) {
    *count = product(var, n);
    int64_t *at = NEWN(int64_t, *count), done = 1;
    for (int i = n - 1; i >= 0; i--) {
        int64_t s = 0, ext = tile_extent(var[i]);
        e_is_const(tile_stride(off, var[i]), &s);
        for (int64_t k = ext - 1; k >= 0; k--)
            for (int64_t j = 0; j < done; j++) at[k * done + j] = at[j] + k * s;
        done *= ext;
    }
    return at;
}

void tile_pack_const(Tiling *t) {
    Ex zero[64], off = t->off[1];
    Pack *k = NEW(Pack);
    for (int i = 0; i < t->c.nvar; i++) zero[i] = e_int(0);
    *k = (Pack){.src = t->buf[1]->data, .lanes = tile_extent(t->lane), .width = tile_width(t)};
    e_is_const(e_subst_all(off, t->c.nvar, t->c.var, zero), &k->base);
    e_is_const(t->panels, &k->panels);
    e_is_const(tile_stride(off, t->lane), &k->lane_stride);
    k->batch = offsets(off, t->batch, t->nbatch, &k->nbatch);
    k->sum = offsets(off, t->korder, t->nkorder, &k->nsum);
    int64_t size = k->nbatch * k->panels * k->nsum * k->width;
    Ex shape = e_int(size);
    t->packed = buf_new(t->l->prog, B_WEIGHT, t->dt, 1, &shape, arena_printf("%s_p%d", t->buf[1]->name, t->l->prog->nbufs));
    t->packed->data = data_alias(t->dt, (size_t)size, NULL, false);
    t->packed->pack = k;
}

// A number that e never exceeds, where there is one.
static Ex most(Ex e) { return e->hi < INT32_MAX ? e_int(e->hi) : e; }

Stmt *tile_pack_run(Tiling *t, Block *b) {
    Ex nk = sum_size(t), width = e_int(tile_width(t)), size = e_product(3, (Ex[]){t->panels, nk, width});
    if (t->inner) size = e_product(3, (Ex[]){most(t->panels), most(nk), width}); // extents of a part of the result
    t->packed = buf_new(t->l->prog, B_WORK, t->dt, 1, &size, arena_printf("%s_p%d", t->buf[1]->name, t->l->prog->nbufs));
    Ex n = t->lane->extent, p = e_index(arena_printf("p%d", t->l->next_local++), t->panels), lin = e_int(0);
    Ex j = e_index(arena_printf("j%d", t->l->next_local++), width);
    Stmt *outer = NULL;
    Block *in = b;
    if (p->kind == X_VAR) in = for_loop(in, p, e_int(0), t->panels, 1, &outer);
    Ex var[64]; // as they lie in memory, whatever the order in which the kernel takes them
    memcpy(var, t->korder, sizeof var);
    tile_sort(t->off[1], var, t->nkorder);
    for (int i = 0; i < t->nkorder; i++) {
        Stmt *s;
        in = for_loop(in, var[i], e_int(0), var[i]->extent, 1, &s);
        lin = e_add(e_mul(lin, t->korder[i]->extent), t->korder[i]);
        if (!outer) outer = s;
    }
    Ex first = e_mul(p, width), end = e_min(width, e_sub(n, first));
    Ex to = e_add(e_mul(e_add(e_mul(p, nk), lin), width), j);
    Block *copy = for_loop(in, j, e_int(0), end, 1, NULL);
    Sx *x = sx_load(t->buf[1], e_subst(t->off[1], t->lane, e_add(first, j)), 0);
    append(copy, (Stmt){.kind = ST_STORE, .buf = t->packed, .e = to, .value = x});
    int64_t c;
    if (!e_is_const(end, &c) || c != tile_width(t)) { // the padding of the last panel
        Block *pad = for_loop(in, j, end, width, 1, NULL);
        append(pad, (Stmt){.kind = ST_STORE, .buf = t->packed, .e = to, .value = sx_num(t->dt, (Scalar){.f = 0})});
    }
    return outer;
}

// a in the order in which the kernel reads it, tile by tile of the groups.
void tile_pack_rows(Tiling *t, Block *b, const RowGroup *g, int n) {
    Ex nk = sum_size(t), rows = t->row->extent;
    for (int m = 0; m < n; m++)
        if (g[m].end) rows = e_add(t->row->extent, e_int(g[m].rows - 1)); // that of the last
    Ex size = e_mul(rows, nk);
    t->panels_of_a = buf_new(t->l->prog, B_WORK, t->dt, 1, &size, arena_printf("%s_p%d", t->buf[0]->name, t->l->prog->nbufs));
    for (int m = 0; m < n; m++) {
        Ex tile = e_index(arena_printf("tile%d", t->l->next_local++), g[m].count), lin = e_int(0);
        Ex i = e_index(arena_printf("i%d", t->l->next_local++), e_int(g[m].rows));
        Ex row0 = e_add(g[m].first, e_scale(tile, g[m].rows)), row = tile_row(&g[m], row0, i);
        Block *in = b;
        Stmt *s = NULL;
        if (tile->kind == X_VAR) in = for_loop(in, tile, e_int(0), g[m].count, 1, &s);
        if (s && tile_parallel(t)) s->parallel = t->nbatch == 0;
        for (int v = 0; v < t->nk; v++) {
            in = for_loop(in, t->k[v], e_int(0), t->k[v]->extent, 1, NULL);
            lin = e_add(e_mul(lin, t->k[v]->extent), t->k[v]);
        }
        if (i->kind == X_VAR) in = for_loop(in, i, e_int(0), e_int(g[m].rows), 1, NULL);
        Sx *x = sx_load(t->buf[0], e_subst(t->off[0], t->row, row), 0);
        Ex to = e_add(e_mul(row0, nk), e_add(e_scale(lin, g[m].rows), i));
        append(in, (Stmt){.kind = ST_STORE, .buf = t->panels_of_a, .e = to, .value = x});
    }
}
