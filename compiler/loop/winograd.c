// SPDX-License-Identifier: Apache-2.0
// The winograd template, for 3x3 filters of stride 1 whose weights are constant: F(2,3) needs 16/36 and
// F(4,3) 36/144 of the products. Which contractions take it is chosen for the whole program, by cycles
// saved against bytes that the transformed weights add.
//
// Tiles of m*m outputs are taken in blocks that fit the second-level cache; a block is one iteration of
// the parallel loop and keeps its parts in scratch memory:
//
//   V[t*t][tile][c]      = BT x B              the input's transform
//   S[t*t][tile][panel]  = sum over c V U      for a panel of outputs: t*t products, by the tile kernel
//   y                    = AT S A              and the epilogue of the root
#include "loop/winograd.h"
#include <math.h>
#include <string.h>

static const double max_growth = 64; // of F(4,3) without --relax: see growth
static const double budget = 0.27, small = 1 << 20; // bytes that may be added: of all weights, and at any rate

typedef struct { Ex v, tap, base; int sign; Range in; } Side; // input position: v + sign*tap + base, valid where in.e is in [0, in.n)
typedef struct {
    Tiling t;
    WinoForm f;
    Side side[2];                        // rows and columns
    Ex c, k;                             // channels of the input and of the result
    Ex other[64]; int nother;            // batch and the like
    int a, w;                            // factors: input, weights
    int64_t nc, nk, block;               // channels; tiles of a block
    Ex count[2], tiles, blocks;          // tiles along rows and columns, in all; blocks
    Ex v_plane, s_plane;                 // elements between the t*t parts of V and S
    Buf *scratch, *u;
    double gain, bytes;                  // cycles saved, bytes added
} Wino;

// ---- which contractions -----------------------------------------------------------------------

static Ex subst1(Ex e, Ex var, Ex by) { return e_subst(e, var, by); }

// The axis of the input that tap shifts by one, with the out variable it shifts.
static bool find_side(const Contraction *c, const Access *a, Ex tap, Side *s) {
    int at = -1;
    for (int i = 0; i < a->rank; i++) {
        if (!e_uses(a->idx[i], tap)) continue;
        if (at >= 0) return false;
        at = i;
    }
    if (at < 0) return false;
    Ex e = a->idx[at], rest;
    int64_t sign = e_coef(e, tap, &rest);
    if (sign != 1 && sign != -1) return false;
    s->v = NULL;
    for (int i = 0; i < c->nvar - c->nred; i++)
        if (e_uses(rest, c->var[i])) {
            if (s->v || e_coef(rest, c->var[i], &s->base) != 1) return false;
            s->v = c->var[i];
        }
    for (int i = 0; i < c->nvar; i++)
        if (!s->v || e_uses(s->base, c->var[i])) return false;
    for (int i = 0; i < a->rank; i++)
        if (i != at && e_uses(a->idx[i], s->v)) return false;
    s->tap = tap;
    s->sign = (int)sign;
    s->in = (Range){e, a->buf->shape[at]};
    for (int i = 0; i < c->nguard; i++) {
        Ex d = e_sub(c->guard[i].e, e);
        int64_t n;
        if (e_is_const(d, &n)) s->in = c->guard[i];
        else if (e_uses(c->guard[i].e, tap)) return false;
    }
    return true;
}

static bool const_weights(const Buf *b) { return b->kind == B_WEIGHT && b->data && !b->data->splat && b->dt == F32; }

// The parts of a convolution; false: it is none of ours.
static bool analyse(Wino *w) {
    const Contraction *c = &w->t.c;
    int n = c->nvar - c->nred, sides = 0;
    w->w = const_weights(c->factor[1].buf) ? 1 : 0;
    w->a = 1 - w->w;
    const Access *a = &c->factor[w->a];
    if (!const_weights(c->factor[w->w].buf) || a->buf->dt != F32 || c->nred != 3 || c->nguard > 2) return false;
    for (int i = n; i < c->nvar; i++) {
        Ex r = c->var[i];
        if (sides < 2 && tile_extent(r) == 3 && find_side(c, a, r, &w->side[sides])) sides++;
        else if (w->c) return false;
        else w->c = r;
    }
    if (sides != 2 || !w->c || w->side[0].v == w->side[1].v) return false;
    w->t.off[0] = buf_offset(a->buf, a->idx);
    w->t.off[1] = buf_offset(c->factor[w->w].buf, c->factor[w->w].idx);
    for (int i = 0; i < n; i++) {
        bool out = e_uses(w->t.off[1], c->var[i]);
        if (out && w->k) return false;
        if (out) w->k = c->var[i];
        else if (c->var[i] != w->side[0].v && c->var[i] != w->side[1].v) w->other[w->nother++] = c->var[i];
    }
    for (int i = 0; i < c->nguard; i++)
        if (c->guard[i].e != w->side[0].in.e && c->guard[i].e != w->side[1].in.e) return false;
    if (!w->k || e_uses(w->t.off[0], w->k)) return false;
    w->t.lane = w->k;
    w->nc = tile_extent(w->c), w->nk = tile_extent(w->k);
    if (w->t.lanes > 8 && (w->nc % w->t.lanes || w->nk % w->t.lanes)) w->t.lanes /= 2;
    return w->nc > 0 && w->nk > 0 && w->nc % w->t.lanes == 0 && w->nk % w->t.lanes == 0 &&
           e_is(tile_stride(w->t.off[0], w->c), 1) && e_is(tile_stride(w->t.out_off, w->k), 1);
}

static bool start(Wino *w, Lower *l, Root *r) {
    Tiling *t = &w->t;
    *w = (Wino){.t = {.l = l, .root = r, .target = target_find(l->opt ? l->opt->target : NULL)}};
    Contraction **phase;
    Ex at[MAX_RANK];
    if (!t->target || !r->reduce || r->reduce->dt != F32 || contract_phases(l, r->reduce, &phase) != 1) return false;
    t->c = *phase[0];
    if (!tile_root_index(l, r, &t->c, t->out_idx)) return false;
    t->dt = F32;
    t->lanes = t->target->lanes;
    t->mr = t->target->mr, t->nv = t->target->nv;
    for (int i = 0; i < r->expr->rank; i++) at[i] = r->at && i == r->axis ? e_add(t->out_idx[i], r->at) : t->out_idx[i];
    t->out_off = buf_offset(r->buf, at);
    return analyse(w);
}

static void set_form(Wino *w, int m) {
    w->f = wino_form(m);
    w->tiles = e_int(1);
    for (int i = 0; i < 2; i++) w->count[i] = e_ceil_div(w->side[i].v->extent, e_int(m));
    for (int i = 0; i < w->nother; i++) w->tiles = e_mul(w->tiles, w->other[i]->extent);
    w->tiles = e_mul(w->tiles, e_mul(w->count[0], w->count[1]));
    int64_t most = w->t.target->l2 / 2 / ((int64_t)w->f.t * w->f.t * w->nc * 4), n;
    if (most > 60) most = 60;
    if (most < w->t.mr) most = w->t.mr;
    w->block = most / w->t.mr * w->t.mr;
    if (e_is_const(w->tiles, &n) && n > 0) { // balanced blocks, an even number of them
        int64_t blocks = (n + most - 1) / most, even = blocks >= 4 ? (blocks + 3) / 4 * 4 : blocks == 3 ? 4 : 2;
        w->block = n < 2 * w->t.mr ? n : (n + even - 1) / even;
    }
    w->blocks = e_ceil_div(w->tiles, e_int(w->block));
}

static int64_t guess(Ex e, int64_t most) {
    int64_t n;
    return e_is_const(e, &n) ? n : most;
}

// Cycles of the transforms for one tile and one vector of channels: loads, arithmetic and stores overlap in part.
static double transform_cycles(int m) { return m == 2 ? 26 : 85; }

// Cycles saved against the tile template, and the bytes added.
static void judge(Wino *w) {
    double lanes = w->t.lanes, c = (double)w->nc, k = (double)w->nk, t2 = w->f.t * w->f.t;
    double blocks = (double)guess(w->blocks, 8), tiles = blocks * (double)w->block;
    double outputs = (double)guess(w->tiles, tiles > 0 ? (int64_t)tiles : 1) * w->f.m * w->f.m, full = outputs;
    for (int i = 0; i < 2; i++) full *= (double)guess(w->side[i].v->extent, 56) / (double)(guess(w->count[i], (56 + w->f.m - 1) / w->f.m) * w->f.m);
    double direct = full * 9 * c * k / (2 * lanes * 0.92);
    double u = t2 * c * k * 4, far = u > w->t.target->l2 ? u * blocks / 12 : 0;
    double ours = tiles * t2 * c * k / (2 * lanes * 0.88) + tiles * (c + k) / lanes * transform_cycles(w->f.m) + far;
    w->gain = direct - ours * 1.1;
    w->bytes = u - 9 * c * k * 4;
}

// Strides of the weights, so that walking them needs no expressions.
typedef struct { int64_t base, c, k, tap[2]; } Walk;

static Walk walk_weights(const Wino *w) {
    Walk s = {0};
    Ex off = w->t.off[1], var[4] = {w->c, w->k, w->side[0].tap, w->side[1].tap};
    int64_t *stride[4] = {&s.c, &s.k, &s.tap[0], &s.tap[1]};
    Ex zero[4] = {e_int(0), e_int(0), e_int(0), e_int(0)};
    for (int i = 0; i < 4; i++) e_is_const(tile_stride(off, var[i]), stride[i]);
    e_is_const(e_subst_all(off, 4, var, zero), &s.base);
    for (int i = 0; i < 2; i++) // flipped where the tap runs backwards
        if (w->side[i].sign < 0) s.base += 2 * s.tap[i], s.tap[i] = -s.tap[i];
    return s;
}

static void filter(const Wino *w, const Walk *s, int64_t c, int64_t k, double *u) {
    const Data *d = w->t.c.factor[w->w].buf->data;
    double g[9];
    for (int i = 0; i < 9; i++) g[i] = data_get(d, (size_t)(s->base + c * s->c + k * s->k + i / 3 * s->tap[0] + i % 3 * s->tap[1])).f;
    wino_filter(&w->f, g, u);
}

// How much larger the rounding errors of F(4,3) may be than a direct sum's: the worst of the outputs' growth over the sum of |w|.
static double growth(const Wino *w) {
    Walk s = walk_weights(w);
    double most = 0;
    const Data *d = w->t.c.factor[w->w].buf->data;
    for (int64_t k = 0; k < w->nk; k++) {
        double sum[WINO_MAX * WINO_MAX] = {0}, u[WINO_MAX * WINO_MAX], plain = 0;
        for (int64_t c = 0; c < w->nc; c++) {
            filter(w, &s, c, k, u);
            for (int i = 0; i < w->f.t * w->f.t; i++) sum[i] += fabs(u[i]);
            for (int i = 0; i < 9; i++)
                plain += fabs(data_get(d, (size_t)(s.base + c * s.c + k * s.k + i / 3 * s.tap[0] + i % 3 * s.tap[1])).f);
        }
        double g = plain > 0 ? wino_growth(&w->f, sum) / plain : 0;
        most = g > most ? g : most;
    }
    return most;
}

// ---- the loops --------------------------------------------------------------------------------

static Ex fresh(Lower *l, const char *stem, Ex extent) { return e_index(arena_printf("%s%d", stem, l->next_local++), extent); }

// Tiles that are computed of the block that begins at first: of an open number, those there are, in whole register tiles.
static Ex tiles_here(const Wino *w, Ex first) {
    int64_t n, mr = w->t.mr;
    if (e_is_const(w->tiles, &n)) return e_int(w->block);
    return e_min(e_int(w->block), e_scale(e_ceil_div(e_sub(w->tiles, first), e_int(mr)), mr));
}

static Ex part(const Wino *w, Ex plane, int i) { return e_scale(plane, i < w->f.t * w->f.t ? i : 0); }

// The first output of a tile: values of the out variables, and the tile's number kept inside.
static void tile_origin(const Wino *w, Block *b, Ex tile, Ex *at) {
    Lower *l = w->t.l;
    Ex extent[66], rest = fresh(l, "at", w->tiles);
    int n = w->nother + 2;
    for (int i = 0; i < n; i++) extent[i] = i < w->nother ? w->other[i]->extent : w->count[i - w->nother];
    append(b, (Stmt){.kind = ST_INT, .var = rest, .e = e_min(tile, e_sub(w->tiles, e_int(1)))});
    for (int i = n - 1; i >= 0; i--) {
        Ex v = i ? e_mod(rest, extent[i]) : rest;
        rest = i ? e_div(rest, extent[i]) : rest;
        if (i >= w->nother) v = e_scale(v, w->f.m);
        at[i] = fresh(l, "o", e_max(e_int(1), i < w->nother ? extent[i] : e_scale(extent[i], w->f.m)));
        if (at[i]->kind == X_VAR) append(b, (Stmt){.kind = ST_INT, .var = at[i], .e = v});
    }
}

// e with the out variables at a tile's origin and the taps at i, j.
static Ex placed(const Wino *w, Ex e, const Ex *at, int i, int j) {
    Ex var[68], by[68];
    int n = 0, tap[2] = {i, j};
    for (; n < w->nother; n++) var[n] = w->other[n], by[n] = at[n];
    for (int s = 0; s < 2; s++) {
        var[n] = w->side[s].v, by[n++] = at[w->nother + s];
        var[n] = w->side[s].tap, by[n++] = e_int(w->side[s].sign > 0 ? tap[s] : 2 - tap[s]);
    }
    return e_subst_all(e, n, var, by);
}

static Sx *load_input(const Wino *w, const Ex *at, Ex c, int i, int j) {
    return sx_load(w->t.c.factor[w->a].buf, subst1(placed(w, w->t.off[0], at, i, j), w->c, c), w->t.lanes);
}

static bool inside(Range r) { return e_ge0(r.e) && e_lt(r.e, r.n); }

// The transform of one tile, all channels; checked: positions outside are zero.
static void transform_channels(const Wino *w, Block *b, const Ex *at, Ex p, bool checked) {
    const Tiling *t = &w->t;
    Local *x[WINO_MAX * WINO_MAX], *v[WINO_MAX * WINO_MAX];
    int n = w->f.t;
    Ex group = fresh(t->l, "c", e_int(w->nc / t->lanes)), c = e_scale(group, t->lanes);
    if (group->kind == X_VAR) b = for_loop(b, group, e_int(0), group->extent, 1, NULL);
    for (int i = 0; i < n * n; i++) {
        Sx *load = load_input(w, at, c, i / n, i % n);
        Range *g = NEWN(Range, 2);
        int ng = 0;
        for (int s = 0; checked && s < 2; s++) {
            Range r = {placed(w, w->side[s].in.e, at, i / n, i % n), w->side[s].in.n};
            if (!inside(r)) g[ng++] = r;
        }
        x[i] = local_new(t->l, "x", F32, t->lanes, true);
        append(b, (Stmt){.kind = ST_LET, .local = x[i], .value = ng ? sx_num(F32, (Scalar){.f = 0}) : load});
        if (!ng) continue;
        Block *in = block_new(b);
        in->tail = &append(b, (Stmt){.kind = ST_IF, .nguard = ng, .guard = g})->body;
        append(in, (Stmt){.kind = ST_SET, .local = x[i], .value = load});
    }
    wino_input(&w->f, t->l, b, x, v);
    Ex to = e_add(e_scale(p, w->nc), c);
    for (int i = 0; i < n * n; i++)
        append(b, (Stmt){.kind = ST_STORE, .buf = w->scratch, .e = e_add(part(w, w->v_plane, i), to), .value = sx_local(v[i], NULL)});
}

static void transform_tile(const Wino *w, Block *b, Ex first) {
    Ex at[66], p = fresh(w->t.l, "p", e_int(w->block));
    Range *g = NEWN(Range, 4);
    int n = 0;
    if (p->kind == X_VAR) b = for_loop(b, p, e_int(0), tiles_here(w, first), 1, NULL);
    tile_origin(w, b, e_add(first, p), at);
    for (int s = 0; s < 2; s++)
        for (int i = 0; i < w->f.t; i += w->f.t - 1) {
            Range r = {placed(w, w->side[s].in.e, at, i, i), w->side[s].in.n};
            if (!inside(r)) g[n++] = r;
        }
    if (n == 0) {
        transform_channels(w, b, at, p, false);
        return;
    }
    Stmt *s = append(b, (Stmt){.kind = ST_IF, .nguard = n, .guard = g});
    Block *yes = block_new(b), *no = block_new(b);
    yes->tail = &s->body, no->tail = &s->els;
    transform_channels(w, yes, at, p, false);
    transform_channels(w, no, at, p, true);
}

static Ex sums_at(const Wino *w) { return e_scale(w->v_plane, w->f.t * w->f.t); } // S stands behind V

// t*t products of [block][c] and [c][panel], by the tile kernel.
static void products(Wino *w, Block *b, Ex first, Ex panel) {
    Tiling t = w->t;
    Ex tap = fresh(t.l, "q", e_int(w->f.t * w->f.t)), row = fresh(t.l, "p", e_int(w->block));
    int width = tile_width(&t);
    t.packed = w->u;
    t.sums = w->scratch;
    t.batch[0] = panel, t.nbatch = panel->kind == X_VAR;
    t.panel = tap, t.panels = tap->extent;
    t.k[0] = w->c, t.nk = 1;
    t.row = row, t.lane = w->k;
    t.buf[0] = w->scratch;
    t.off[0] = e_add(e_mul(tap, w->v_plane), e_add(e_scale(row, w->nc), w->c));
    t.out_off = e_add(sums_at(w), e_add(e_mul(tap, w->s_plane), e_scale(row, width)));
    b = for_loop(b, tap, e_int(0), tap->extent, 1, NULL);
    int64_t tiles = (w->block + t.mr - 1) / t.mr, big = (w->block + tiles - 1) / tiles, small = big * tiles - w->block, at = 0;
    Ex here = tiles_here(w, first);
    for (int i = 0; i < 2; i++) {
        int64_t n = i ? small : tiles - small, rows = big - i;
        if (n == 0) continue;
        Ex tile = fresh(t.l, "r", e_int(n));
        Block *in = tile->kind == X_VAR ? for_loop(b, tile, e_int(0), small ? tile->extent : e_div(here, e_int(rows)), 1, NULL) : b;
        tile_kernel(&t, in, &(RowGroup){.first = e_int(at), .rows = (int)rows}, tile);
        at += n * rows;
    }
}

// One vector of an output tile's elements: through the epilogue, where they are in the result.
static bool store_tile(Wino *w, Block *b, const Ex *at, Local *const *y, Ex k) {
    Tiling *t = &w->t;
    for (int i = 0; i < w->f.m * w->f.m; i++) {
        Ex var[67], by[67];
        Range *g = NEWN(Range, 2);
        int n = 0, ng = 0, d[2] = {i / w->f.m, i % w->f.m};
        for (; n < w->nother; n++) var[n] = w->other[n], by[n] = at[n];
        for (int s = 0; s < 2; s++) {
            Range r = {e_add(at[n], e_int(d[s])), w->side[s].v->extent};
            var[n] = w->side[s].v, by[n++] = r.e;
            if (!e_is(e_mod(r.n, e_int(w->f.m)), 0) && d[s]) g[ng++] = r;
        }
        var[n] = w->k, by[n++] = k;
        Block *in = b;
        if (ng) {
            in = block_new(b);
            in->tail = &append(b, (Stmt){.kind = ST_IF, .nguard = ng, .guard = g})->body;
        }
        Stmt *list = tile_epilogue(t, in, y[i], n, var, by);
        if (!list) return false;
        *in->tail = list;
        while (*in->tail) in->tail = &(*in->tail)->next;
    }
    return true;
}

static bool outputs(Wino *w, Block *b, Ex first, Ex panel) {
    const Tiling *t = &w->t;
    int width = tile_width(t), n = w->f.t;
    Ex at[66], p = fresh(t->l, "p", e_int(w->block)), left = e_sub(w->tiles, first), end = e_min(e_int(w->block), left);
    Ex v = fresh(t->l, "v", e_int(t->nv)), k = e_add(e_scale(panel, width), e_scale(v, t->lanes));
    b = for_loop(b, p, e_int(0), end, 1, NULL);
    tile_origin(w, b, e_add(first, p), at);
    Ex vectors = e_min(e_int(t->nv), e_sub(e_int(w->nk / t->lanes), e_scale(panel, t->nv))); // the last panel may have fewer
    if (v->kind == X_VAR) b = for_loop(b, v, e_int(0), vectors, 1, NULL);
    Local *s[WINO_MAX * WINO_MAX], *y[16];
    for (int i = 0; i < n * n; i++) {
        Ex from = e_add(e_add(sums_at(w), part(w, w->s_plane, i)), e_add(e_scale(p, width), e_scale(v, t->lanes)));
        s[i] = local_new(t->l, "s", F32, t->lanes, true);
        append(b, (Stmt){.kind = ST_LET, .local = s[i], .value = sx_load(w->scratch, from, t->lanes)});
    }
    wino_output(&w->f, t->l, b, s, y);
    return store_tile(w, b, at, y, k);
}

// U[panel][t*t][c][lanes of the panel], zero behind the last channel.
static void transform_weights(Wino *w) {
    const Tiling *t = &w->t;
    int width = tile_width(t), n = w->f.t * w->f.t;
    int64_t panels = (w->nk + width - 1) / width, size = panels * n * w->nc * width;
    Data *d = data_new(F32, (size_t)size);
    float *to = (float *)(uintptr_t)d->p;
    Walk s = walk_weights(w);
    for (int64_t k = 0; k < w->nk; k++)
        for (int64_t c = 0; c < w->nc; c++) {
            double u[WINO_MAX * WINO_MAX];
            filter(w, &s, c, k, u);
            for (int i = 0; i < n; i++) to[((k / width * n + i) * w->nc + c) * width + k % width] = (float)u[i];
        }
    Ex shape = e_int(size);
    w->u = buf_new(t->l->prog, B_WEIGHT, F32, 1, &shape, arena_printf("%s_w%d", t->c.factor[w->w].buf->name, t->l->prog->nbufs));
    w->u->data = d;
}

static void scratch_buffer(Wino *w) {
    int n = w->f.t * w->f.t, pad = 2 * w->t.lanes; // planes do not fall on the same cache lines
    w->v_plane = e_int(w->block * w->nc + pad);
    w->s_plane = e_int(w->block * tile_width(&w->t) + pad);
    Ex size = e_scale(e_add(w->v_plane, w->s_plane), n);
    w->scratch = buf_new(w->t.l->prog, B_WORK, F32, 1, &size, arena_printf("winograd%d", w->t.l->prog->nbufs));
    w->scratch->scratch = true;
}

bool winograd(Lower *l, Root *r, Block *b) {
    Wino *w = NEW(Wino);
    if (!r->winograd || !start(w, l, r)) return false;
    set_form(w, r->winograd);
    scratch_buffer(w);
    transform_weights(w);
    Stmt *loop = NULL;
    int width = tile_width(&w->t);
    Ex block = fresh(l, "block", w->blocks), panel = fresh(l, "k", e_int((w->nk + width - 1) / width)), first = e_scale(block, w->block);
    Block *in = block->kind == X_VAR ? for_loop(b, block, e_int(0), block->extent, 1, &loop) : b;
    if (loop) loop->parallel = tile_parallel(&w->t);
    transform_tile(w, in, first);
    if (panel->kind == X_VAR) in = for_loop(in, panel, e_int(0), panel->extent, 1, NULL);
    products(w, in, first, panel);
    if (!outputs(w, in, first, panel)) die("an epilogue of a Winograd convolution that is not for vectors");
    return true;
}

// ---- the choice -------------------------------------------------------------------------------

typedef struct { Root *root; double gain[2], bytes[2]; } Choice; // of F(2,3) and F(4,3)

// An epilogue that runs on vectors, tried on one.
static bool epilogue_fits(Wino *w) {
    Local *sum = local_new(w->t.l, "c", F32, w->t.lanes, true);
    return tile_epilogue(&w->t, block_new(NULL), sum, 1, &w->k, &w->k) != NULL;
}

static bool candidate(Lower *l, Root *r, Choice *c) {
    if (!r->reduce) return false;
    Wino *w = NEW(Wino);
    *c = (Choice){.root = r};
    if (!start(w, l, r)) return false;
    Buf *own = l->buf[r->val->id];
    bool bound = r->buf == own && r->expr == r->val;
    if (bound) l->buf[r->val->id] = NULL;
    bool fits = epilogue_fits(w);
    l->buf[r->val->id] = own;
    for (int i = 0; fits && i < 2; i++) {
        set_form(w, i ? 4 : 2);
        judge(w);
        if (i && w->gain > c->gain[0] && !l->opt->relax && growth(w) > max_growth) break;
        c->gain[i] = w->gain;
        c->bytes[i] = w->bytes;
    }
    return fits && (c->gain[0] > 0 || c->gain[1] > 0);
}

// Steps of the most cycles saved for a byte, as long as there is room.
static void spend(Choice *c, int n, double room) {
    for (;;) {
        Choice *best = NULL;
        double most = 0, cost = 0;
        int form = 0;
        for (int i = 0; i < n; i++) {
            int now = c[i].root->winograd / 2; // 0, 1, 2
            double gain = now ? c[i].gain[now - 1] : 0, bytes = now ? c[i].bytes[now - 1] : 0;
            for (int f = now; f < 2; f++) {
                double g = c[i].gain[f] - gain, need = c[i].bytes[f] - bytes;
                if (g > 0 && need <= room && g / need > most) best = &c[i], most = g / need, cost = need, form = f;
            }
        }
        if (!best) return;
        best->root->winograd = form ? 4 : 2;
        room -= cost;
    }
}

void winograd_choose(Lower *l) {
    Choice *c = NEWN(Choice, l->nroots + 1);
    double weights = 0;
    int n = 0;
    if (!l->opt || l->opt->exact) return;
    for (int i = 0; i < l->prog->nbufs; i++) {
        const Data *d = l->prog->bufs[i]->data;
        if (d && !d->splat) weights += (double)d->n * (double)dt_size(d->dt);
    }
    for (int i = 0; i < l->nroots; i++)
        if (candidate(l, &l->roots[i], &c[n])) n++;
    spend(c, n, weights * budget > small ? weights * budget : small);
}
