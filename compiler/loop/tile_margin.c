// SPDX-License-Identifier: Apache-2.0
// Margins: an operand copied with zeros around it, so that what lies outside is read as zero and needs no
// guard. For guards on the lane variable, and for rows whose place is not known at compile time.
#include "loop/tile.h"
#include <string.h>

// The least and greatest value of e over the contraction's variables; false: a coefficient is unknown.
static bool range_of(const Contraction *c, Ex e, Ex *lo, Ex *hi) {
    *lo = *hi = e;
    for (int i = 0; i < c->nvar; i++) {
        Ex v = c->var[i], rest, top = e_sub(v->extent, e_int(1));
        if (!e_uses(e, v)) continue;
        int64_t s = e_coef(e, v, &rest);
        if (s == INT64_MIN) return false;
        *lo = e_subst(*lo, v, s < 0 ? top : e_int(0));
        *hi = e_subst(*hi, v, s < 0 ? e_int(0) : top);
    }
    return true;
}

// The axis of factor a whose index is in range where the guard holds, or -1.
static int guarded_axis(const Access *a, const Buf *b, const Range *g) {
    for (int i = 0; i < a->rank; i++)
        if (a->idx[i] == g->e && b->shape[i] == g->n) return i;
    return -1;
}

// Whether no index of a leaves its axis where the guard does not hold.
static bool stays_inside(const Contraction *c, const Access *a, const Buf *b, const Range *g) {
    for (int i = 0; i < a->rank; i++) {
        Ex lo, hi;
        bool shared = false;
        for (int v = 0; v < c->nvar; v++) shared |= e_uses(g->e, c->var[v]) && e_uses(a->idx[i], c->var[v]);
        if (shared && (!range_of(c, a->idx[i], &lo, &hi) || !e_ge0(lo) || !e_lt(hi, b->shape[i]))) return false;
    }
    return true;
}

// The guard met by margins of the operands in the mask. false: it has to stay.
static bool widen(Tiling *t, unsigned mask, const Range *g) {
    const Contraction *c = &t->c;
    int axis[2];
    Ex lo[2], hi[2];
    for (int f = 0; f < 2; f++) {
        const Access *a = &c->factor[t->factor[f]];
        axis[f] = mask >> f & 1 ? guarded_axis(a, t->buf[f], g) : -1;
        if (axis[f] >= 0 ? !range_of(c, a->idx[axis[f]], &lo[f], &hi[f]) : !stays_inside(c, a, t->buf[f], g)) return false;
    }
    for (int f = 0; f < 2; f++) {
        if (axis[f] < 0) continue;
        Margin *m = &t->margin[f];
        m->from = t->buf[f];
        m->lo[axis[f]] = lo[f];
        m->shape[axis[f]] = e_add(e_sub(hi[f], lo[f]), e_int(1));
        m->wide[axis[f]] = true;
    }
    return axis[0] >= 0 || axis[1] >= 0;
}

static void read_margin(Tiling *t, int f) {
    Margin *m = &t->margin[f];
    Access *a = &t->c.factor[t->factor[f]];
    Buf *b = NEW(Buf);
    Ex *shape = NEWN(Ex, a->rank);
    for (int i = 0; i < a->rank; i++) {
        if (m->wide[i]) a->idx[i] = e_sub(a->idx[i], m->lo[i]);
        else m->lo[i] = e_int(0), m->shape[i] = m->from->shape[i];
        shape[i] = m->shape[i];
    }
    *b = (Buf){.kind = B_WORK, .port = -1, .dt = t->dt, .rank = a->rank, .shape = shape, .first = INT32_MAX, .last = -1, .slack = t->lanes * MAX_NV};
    memcpy(b->order, m->from->order, sizeof b->order);
    buf_strides(b);
    m->buf = t->buf[f] = b;
    t->off[f] = buf_offset(b, a->idx);
}

// The operands in the mask are read from copies with margins; guards that this meets go. false: one has none.
bool tile_margins(Tiling *t, unsigned mask) {
    Contraction *c = &t->c;
    int n = 0;
    for (int f = 0; f < 2; f++) {
        t->margin[f] = (Margin){0};
        if (mask >> f & 1 && (t->buf[f]->kind == B_WEIGHT || t->buf[f]->rank == 0)) return false;
    }
    for (int g = 0; g < c->nguard; g++)
        if (!widen(t, mask, &c->guard[g])) c->guard[n++] = c->guard[g];
    c->nguard = n;
    for (int f = 0; f < 2; f++) {
        if (t->margin[f].from) read_margin(t, f);
        else if (mask >> f & 1) return false;
    }
    return true;
}

static void zeros(Tiling *t, Block *b, const Buf *to, Ex *idx, int axis, Ex lo, Ex hi) {
    if (e_le(hi, lo)) return;
    idx[axis] = e_index(arena_printf("z%d", t->l->next_local++), to->shape[axis]);
    if (idx[axis]->kind != X_VAR) idx[axis] = e_int(0);
    else b = for_loop(b, idx[axis], lo, hi, 1, NULL);
    append(b, (Stmt){.kind = ST_STORE, .buf = (Buf *)(uintptr_t)to, .e = buf_offset(to, idx), .value = sx_num(t->dt, (Scalar){.f = 0})});
}

static Block *inside(Block *b, const Range *g, int n, Block **outside) {
    if (!n) return b;
    Range *r = NEWN(Range, n);
    memcpy(r, g, sizeof *r * (size_t)n);
    Stmt *s = append(b, (Stmt){.kind = ST_IF, .nguard = n, .guard = r});
    Block *in = block_new(b);
    *outside = block_new(b);
    in->tail = &s->body;
    (*outside)->tail = &s->els;
    return in;
}

// The copy: rows of the innermost axis, with zeros before and behind, or all zeros.
void tile_fill_margins(Tiling *t, Block *b, int f) {
    const Margin *m = &t->margin[f];
    Buf *to = m->buf, *from = m->from;
    Ex idx[MAX_RANK], src[MAX_RANK];
    Range g[MAX_RANK];
    int n = 0, last = to->order[to->rank - 1];
    bool first = true;
    for (int i = 0; i + 1 < to->rank; i++) {
        int a = to->order[i];
        idx[a] = e_index(arena_printf("m%d", t->l->next_local++), to->shape[a]);
        src[a] = e_add(idx[a], m->lo[a]);
        if (m->wide[a]) g[n++] = (Range){src[a], from->shape[a]};
        if (idx[a]->kind != X_VAR) continue;
        Stmt *s;
        b = for_loop(b, idx[a], e_int(0), to->shape[a], 1, &s);
        if (first && tile_parallel(t)) s->parallel = true;
        first = false;
    }
    Block *out = NULL;
    Block *in = inside(b, g, n, &out);
    Ex size = to->shape[last], lo = e_max(e_scale(m->lo[last], -1), e_int(0)), hi = e_min(size, e_sub(from->shape[last], m->lo[last]));
    if (out) zeros(t, out, to, idx, last, e_int(0), size);
    if (m->wide[last]) zeros(t, in, to, idx, last, e_int(0), e_min(lo, size));
    idx[last] = e_index(arena_printf("m%d", t->l->next_local++), size);
    Block *row = in;
    if (idx[last]->kind == X_VAR) row = for_loop(in, idx[last], m->wide[last] ? lo : e_int(0), m->wide[last] ? hi : size, 1, NULL);
    src[last] = e_add(idx[last], m->lo[last]);
    append(row, (Stmt){.kind = ST_STORE, .buf = to, .e = buf_offset(to, idx), .value = sx_load(from, buf_offset(from, src), 0)});
    if (m->wide[last]) zeros(t, in, to, idx, last, e_max(hi, lo), size);
}
