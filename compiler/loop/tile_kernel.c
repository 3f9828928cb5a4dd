// SPDX-License-Identifier: Apache-2.0
// One register tile: accumulators, the loops of the sum, and the epilogue that stores its elements.
#include "loop/tile.h"
#include <string.h>

typedef struct { Ex off; Local *v; } Loaded;
typedef struct {
    Tiling *t;
    int rows;
    const RowGroup *group;
    Ex row0, row[MAX_ROWS];         // each row's index
    Local *acc[MAX_ROWS * MAX_NV];
    uint32_t mask;                  // rows inside for the current value of the pattern variable
    bool hard;                      // the hard guards are tested at each load
    int nsub;
    Ex sub[8], by[8];               // unrolled variables
    Block *seen_in;                 // vectors of a loaded in this block
    Loaded seen[64];
    int nseen;
} Kernel;

static Ex fixed(const Kernel *k, Ex e) { return k->nsub ? e_subst_all(e, k->nsub, k->sub, k->by) : e; }

static Ex lane_at(const Tiling *t, int j) { return e_add(e_mul(t->panel, e_int(tile_width(t))), e_int(j * t->lanes)); }

static Ex linear(const Ex *var, int n) {
    Ex e = e_int(0);
    for (int i = 0; i < n; i++) e = e_add(e_mul(e, var[i]->extent), var[i]);
    return e;
}

static Ex size_of(const Ex *var, int n) {
    Ex e = e_int(1);
    for (int i = 0; i < n; i++) e = e_mul(e, var[i]->extent);
    return e;
}

static Sx *load_b(const Kernel *k, int j) {
    const Tiling *t = k->t;
    if (!t->packed) return sx_load(t->buf[1], fixed(k, e_subst(t->off[1], t->lane, lane_at(t, j))), t->lanes);
    int joined = t->joined ? t->joined : 1, nv = t->nv / joined; // of a packed panel
    Ex at = t->packed->kind == B_WEIGHT ? e_mul(linear(t->batch, t->nbatch), t->panels) : e_int(0);
    Ex panel = e_add(e_scale(t->panel, joined), e_int(j / nv));
    at = e_add(e_mul(e_add(at, panel), size_of(t->k, t->nk)), linear(t->k, t->nk));
    return sx_load(t->packed, fixed(k, e_add(e_scale(at, (int64_t)nv * t->lanes), e_int(j % nv * t->lanes))), t->lanes);
}

// Where the panel's part of this block begins in a packed operand.
static Ex panel_at(const Tiling *t, Ex panel) {
    Ex at = t->packed->kind == B_WEIGHT ? e_mul(linear(t->batch, t->nbatch), t->panels) : e_int(0);
    at = e_mul(e_add(at, panel), size_of(t->k, t->nk));
    if (t->kblock) at = e_add(at, e_mul(e_scale(t->kblock, t->kchunk), size_of(t->k + 1, t->nk - 1)));
    return e_mul(at, e_int(tile_width(t)));
}

void tile_prefetch(Tiling *t, Ex tile) {
    Ex next = e_min(e_add(t->panel, e_int(1)), e_sub(t->panels, e_int(1)));
    t->next = e_add(panel_at(t, next), e_mul(tile, e_scale(t->ahead, 64 / (int64_t)dt_size(t->dt))));
}

// The part of the tile's lines that one step of the sum brings: all at once, they would wait for each other.
static void prefetch(const Kernel *k, Block *b) {
    const Tiling *t = k->t;
    const int64_t line = 64 / (int64_t)dt_size(t->dt);
    int64_t n, lines = 1; // of an open number one: look_ahead asks for no more
    Ex each = e_ceil_div(e_scale(t->ahead, line), e_int(t->ahead_steps));
    if (e_is_const(each, &n)) lines = (n + line - 1) / line;
    Ex at = linear(t->k, t->nk);
    if (t->kblock) at = e_sub(at, e_mul(e_scale(t->kblock, t->kchunk), size_of(t->k + 1, t->nk - 1)));
    for (int64_t i = 0; i < lines; i++) {
        Ex e = e_add(e_add(t->next, e_mul(at, lines > 1 ? e_int(lines * line) : each)), e_int(i * line));
        append(b, (Stmt){.kind = ST_PREFETCH, .buf = t->packed, .e = fixed(k, e), .fn = t->near ? 3 : 2});
    }
}

static Local *let(const Kernel *k, Block *b, const char *stem, Sx *value, bool vector) {
    Local *v = local_new(k->t->l, stem, k->t->dt, vector ? k->t->lanes : 0, vector);
    append(b, (Stmt){.kind = ST_LET, .local = v, .value = value});
    return v;
}

static Ex row_of(const Kernel *k, Ex e, int i) { return k->t->row ? e_subst(e, k->t->row, k->row[i]) : e; }

static void hard_guards(const Kernel *k, int i, Range *g) {
    const Tiling *t = k->t;
    for (int n = 0; n < t->nhard; n++) g[n] = (Range){fixed(k, row_of(k, t->hard[n].e, i)), t->hard[n].n};
}

static Local *load_a(Kernel *k, Block *b, int i) {
    const Tiling *t = k->t;
    if (t->panels_of_a) {
        Ex at = e_add(e_mul(k->row0, size_of(t->k, t->nk)), e_add(e_scale(linear(t->k, t->nk), k->rows), e_int(i)));
        return let(k, b, "a", sx_load(t->panels_of_a, fixed(k, at), 0), false);
    }
    Sx *x = sx_load(t->buf[0], fixed(k, row_of(k, t->off[0], i)), 0);
    if (k->hard) {
        Range g[16];
        hard_guards(k, i, g);
        x = sx_guard(t->nhard, g, x, sx_num(t->dt, (Scalar){.i = 0}));
    }
    return let(k, b, "a", x, false);
}

static Local *load_a_lanes(Kernel *k, Block *b, int i, int j) {
    const Tiling *t = k->t;
    Ex off = fixed(k, e_subst(row_of(k, t->off[0], i), t->lane, lane_at(t, j)));
    if (k->seen_in != b) k->seen_in = b, k->nseen = 0;
    for (int n = 0; n < k->nseen; n++)
        if (k->seen[n].off == off) return k->seen[n].v;
    Local *v = let(k, b, "a", sx_load(t->buf[0], off, t->lanes), true);
    if (k->nseen < 64) k->seen[k->nseen++] = (Loaded){off, v};
    return v;
}

// The block in which row i may be read.
static Block *where_inside(Kernel *k, Block *b, int i) {
    if (!k->hard || !k->t->a_lanes) return b;
    Range *g = NEWN(Range, k->t->nhard);
    hard_guards(k, i, g);
    Stmt *s = append(b, (Stmt){.kind = ST_IF, .nguard = k->t->nhard, .guard = g});
    Block *in = block_new(b);
    in->tail = &s->body;
    return in;
}

// One step of the sum, all of it in one block.
static void step(Kernel *k, Block *b) {
    const Tiling *t = k->t;
    Local *bv[MAX_NV], *a = NULL;
    if (!k->mask) return;
    if (t->ahead) prefetch(k, b);
    for (int j = 0; j < t->nv; j++) bv[j] = let(k, b, "b", load_b(k, j), true);
    for (int i = 0; i < k->rows; i++) {
        if (!(k->mask >> i & 1)) continue;
        Block *in = where_inside(k, b, i);
        if (!t->a_lanes) a = load_a(k, in, i);
        for (int j = 0; j < t->nv; j++) {
            if (t->a_lanes) a = load_a_lanes(k, in, i, j);
            const bool swap = t->c.product == FN_dot4 && t->factor[0]; // which is not symmetric
            Sx *x[2];
            x[swap] = sx_local(a, NULL), x[!swap] = sx_local(bv[j], NULL);
            append(in, (Stmt){.kind = ST_ACC, .local = k->acc[i * t->nv + j], .fn = RED_ADD, .value = sx_fn(t->c.product, t->dt, 2, x)});
        }
    }
}

static Ex floor_plus1(Ex a, Ex c) { return e_add(e_div(a, c), e_int(1)); }

// 0 <= coef*k + rest < n as bounds of k.
void tile_bounds(const Tiling *t, Ex k, Ex *lo, Ex *hi) {
    *lo = e_int(0);
    *hi = k->extent;
    for (int i = 0; i < t->ncut; i++) {
        if (t->cut_by[i] != k) continue;
        Ex rest;
        int64_t c = e_coef(t->cut[i].e, k, &rest);
        Ex n = t->cut[i].n, by = e_int(c < 0 ? -c : c);
        if (c > 0) {
            *lo = e_max(*lo, e_ceil_div(e_scale(rest, -1), by));
            *hi = e_min(*hi, e_ceil_div(e_sub(n, rest), by));
        } else {
            *lo = e_max(*lo, floor_plus1(e_sub(rest, n), by));
            *hi = e_min(*hi, floor_plus1(rest, by));
        }
    }
}

static void sum_loops(Kernel *k, Block *b, int depth);

static void unrolled(Kernel *k, Block *b, int depth, Ex var) {
    int64_t n = tile_extent(var);
    int at = k->nsub++;
    uint32_t all = k->mask;
    k->sub[at] = var;
    for (int64_t v = 0; v < n; v++) {
        k->by[at] = e_int(v);
        if (var == k->t->pattern_by && k->group->live) k->mask = all & k->group->live[v];
        if (k->mask) sum_loops(k, b, depth + 1);
    }
    k->mask = all;
    k->nsub--;
}

static void sum_loops(Kernel *k, Block *b, int depth) {
    const Tiling *t = k->t;
    if (depth == t->nk) {
        step(k, b);
        return;
    }
    Ex var = t->k[depth], lo, hi;
    bool small = (t->a_lanes || !t->row) && depth == t->nk - 1 && tile_extent(var) > 0 && tile_extent(var) <= 7;
    bool cut = false;
    for (int i = 0; i < t->ncut; i++) cut |= t->cut_by[i] == var;
    if ((k->group->live && var == t->pattern_by) || (small && !cut && k->nsub < 8)) {
        unrolled(k, b, depth, var);
        return;
    }
    tile_bounds(t, var, &lo, &hi);
    if (t->kblock && depth == 0) {
        Ex first = e_scale(t->kblock, t->kchunk);
        lo = e_max(lo, first);
        hi = e_min(hi, e_add(first, e_int(t->kchunk)));
    }
    sum_loops(k, for_loop(b, var, fixed(k, lo), fixed(k, hi), 1, NULL), depth + 1);
}

// ---- epilogue ---------------------------------------------------------------------------------

// e in terms of the fused variables: as one run where it is one, else by quotient and remainder.
static void fuse_one(Ex *e, void *ctx) {
    const Tiling *t = ctx;
    for (int i = 0; i < t->nfused; i++) {
        Ex u = t->fused[i].u, v = t->fused[i].v, w = t->fused[i].w;
        bool has_u = e_uses(*e, u), has_v = e_uses(*e, v);
        if (!has_u && !has_v) continue;
        Ex su = tile_stride(*e, u), sv = tile_stride(*e, v);
        bool run = su == e_mul(sv, v->extent) && !e_uses(su, u) && !e_uses(su, v) && !e_uses(sv, u) && !e_uses(sv, v);
        Ex var[2] = {u, v}, by[2] = {e_int(0), w};
        if (!run) by[0] = e_div(w, v->extent), by[1] = e_mod(w, v->extent);
        *e = e_subst_all(*e, 2, var, by);
    }
}

// What is stored for a sum.
Sx *tile_finished(const Tiling *t, Block *b, Sx *sum) {
    if (t->finish) return t->finish(t->ctx, b, sum);
    gen_bind(b, t->c.reduce, t->c.out, sum);
    return gen(t->l, b, t->root->expr, t->out_idx);
}

// What there is of vectors: plain arithmetic, and those functions of the runtime that neither test nor convert.
static bool has_vectors(const Sx *x) {
    if (x->fn <= FN_max) return x->fn != FN_mod && x->fn != FN_fmod;
    return x->fn == FN_neg || (x->dt == F32 && (x->fn == FN_exp || x->fn == FN_sigmoid || x->fn == FN_tanh || x->fn == FN_erf || x->fn == FN_abs));
}

static bool is_comparison(const Tiling *t, const Sx *x) {
    return x->kind == SX_FN && (x->fn == FN_eq || x->fn == FN_lt || x->fn == FN_le) && x->a[0]->dt == t->dt;
}

// A scalar epilogue statement's value along the lanes of a vector.
static bool vectorizable(const Tiling *t, const Sx *x) {
    switch (x->kind) {
    case SX_NUM: return true;
    case SX_LOCAL: return !x->e;
    case SX_LOAD: {
        Ex s = tile_stride(x->e, t->lane);
        return x->dt == t->dt && !x->lanes && (e_is(s, 1) || e_is(s, 0));
    }
    case SX_FN:
        if (!dt_is_float(t->dt)) return false;
        if (!is_comparison(t, x) && (x->dt != t->dt || (x->fn == FN_select ? !is_comparison(t, x->a[0]) : !has_vectors(x)))) return false;
        for (int i = 0; i < x->n; i++)
            if (!vectorizable(t, x->a[i])) return false;
        return true;
    default: return false;
    }
}

static bool is_wide(const Sx *x) {
    if ((x->kind == SX_LOAD && x->lanes) || (x->kind == SX_LOCAL && x->local->vector)) return true;
    for (int i = 0; i < x->n; i++)
        if (is_wide(x->a[i])) return true;
    return false;
}

static void put_instead(Sx *x, const Local *v, Sx *by) {
    for (int i = 0; i < x->n; i++)
        if (x->a[i]->kind == SX_LOCAL && x->a[i]->local == v) x->a[i] = by;
        else put_instead(x->a[i], v, by);
}

// Comparisons go where their results are used: those of vectors are no values of their own.
static void inline_comparisons(const Tiling *t, Block *b) {
    b->tail = &b->first;
    while (*b->tail) {
        const Stmt *s = *b->tail;
        if (s->kind != ST_LET || !s->value || !is_comparison(t, s->value)) {
            b->tail = &(*b->tail)->next;
            continue;
        }
        for (const Stmt *u = s->next; u; u = u->next)
            if (u->value) put_instead(u->value, s->local, s->value);
        *b->tail = s->next;
    }
}

// Whether lanes are chosen by comparisons of lanes.
static bool chooses_lanes(const Sx *x) {
    if (x->kind == SX_FN && x->fn == FN_select && !is_wide(x->a[0])) return false;
    for (int i = 0; i < x->n; i++)
        if (!chooses_lanes(x->a[i])) return false;
    return true;
}

static void widen(const Tiling *t, Sx *x) {
    if (x->kind == SX_LOAD && e_is(tile_stride(x->e, t->lane), 1)) x->lanes = t->lanes;
    for (int i = 0; i < x->n; i++) widen(t, x->a[i]);
}

Stmt *tile_epilogue(Tiling *t, Block *up, Local *sum, int n, const Ex *var, const Ex *by) {
    Root *r = t->root;
    Block *b = block_new(up);
    Sx *x = tile_finished(t, b, sx_local(sum, NULL));
    if (x->dt != t->dt || r->buf->dt != t->dt) return NULL;
    if (x->kind != SX_LOCAL) x = sx_let(t->l, b, x);
    append(b, (Stmt){.kind = ST_STORE, .buf = r->buf, .e = t->out_off, .value = x});
    stmt_each_ex(b->first, fuse_one, t);
    inline_comparisons(t, b);
    for (const Stmt *s = b->first; s; s = s->next)
        if ((s->kind != ST_LET && s->kind != ST_STORE) || !s->value || !vectorizable(t, s->value)) return NULL;
    for (Stmt *s = b->first; s; s = s->next) {
        widen(t, s->value);
        if (!chooses_lanes(s->value)) return NULL;
        if (s->kind == ST_LET && is_wide(s->value)) s->local->vector = true, s->local->lanes = t->lanes;
    }
    if (!x->local->vector) return NULL;
    stmt_subst(b->first, n, var, by);
    return b->first;
}

static void join(Block *b, Stmt *list) {
    *b->tail = list;
    while (*b->tail) b->tail = &(*b->tail)->next;
}

static Block *block_if(Block *b, Ex e, Ex n, Stmt **s) {
    Range *g = NEW(Range);
    *g = (Range){e, n};
    *s = append(b, (Stmt){.kind = ST_IF, .nguard = 1, .guard = g});
    Block *in = block_new(b);
    in->tail = &(*s)->body;
    return in;
}

Ex tile_row(const RowGroup *g, Ex row0, Ex i) {
    Ex e = e_add(row0, i);
    return g->end ? e_min(e, e_sub(g->end, e_int(1))) : e;
}

// The block in which row i may be stored.
static Block *where_stored(const Kernel *k, Block *b, int i) {
    Stmt *s;
    return k->group->end && i > 0 ? block_if(b, e_add(k->row0, e_int(i)), k->group->end, &s) : b;
}

// The epilogue on whole vectors. false: it has to go element by element.
static bool vector_epilogue(Kernel *k, Block *b, Ex row0) {
    Tiling *t = k->t;
    if (!e_is(tile_stride(t->out_off, t->lane), 1)) return false;
    for (int i = 0; i < k->rows; i++) {
        Block *in = where_stored(k, b, i);
        for (int q = 0; q < t->nv; q++) {
            Ex var[2] = {t->lane, t->row}, by[2] = {lane_at(t, q), t->row ? e_add(row0, e_int(i)) : NULL};
            Stmt *list = tile_epilogue(t, in, k->acc[i * t->nv + q], t->row ? 2 : 1, var, by);
            if (!list) return false; // known at the first, before anything was added
            join(in, list);
        }
    }
    return true;
}

static void element_epilogue(Kernel *k, Block *b, Ex row0) {
    Tiling *t = k->t;
    Root *r = t->root;
    int width = tile_width(t);
    Local *out = local_new(t->l, "c", t->dt, k->rows * width, false);
    append(b, (Stmt){.kind = ST_LET, .local = out});
    for (int i = 0; i < k->rows * t->nv; i++)
        append(b, (Stmt){.kind = ST_SET, .local = out, .e = e_int(i * t->lanes), .value = sx_local(k->acc[i], NULL)});
    Ex i = e_index(arena_printf("i%d", t->l->next_local++), e_int(k->rows));
    Ex rows = k->group->end ? e_min(e_int(k->rows), e_sub(k->group->end, row0)) : e_int(k->rows);
    Ex j = e_index(arena_printf("j%d", t->l->next_local++), e_int(width)), first = e_mul(t->panel, e_int(width));
    bool along_rows = t->row && i->kind == X_VAR && e_is(tile_stride(t->out_off, t->row), 1) && !e_is(tile_stride(t->out_off, t->lane), 1);
    Block *in = b;
    Stmt *loop;
    if (!along_rows && i->kind == X_VAR) in = for_loop(in, i, e_int(0), rows, 1, NULL);
    in = for_loop(in, j, e_int(0), e_min(e_int(width), e_sub(t->lane->extent, first)), 1, &loop);
    if (along_rows) in = for_loop(in, i, e_int(0), rows, 1, &loop);
    Sx *x = tile_finished(t, in, sx_local(out, e_add(e_scale(i, width), j)));
    append(in, (Stmt){.kind = ST_STORE, .buf = r->buf, .e = t->out_off, .value = x});
    loop->simd = true;
    for (const Stmt *s = loop->body; s; s = s->next) loop->simd &= s->kind == ST_LET || s->kind == ST_STORE;
    stmt_each_ex(loop->body, fuse_one, t);
    Ex var[2] = {t->lane, t->row}, by[2] = {e_add(first, j), t->row ? e_add(row0, i) : NULL};
    stmt_subst(loop->body, t->row ? 2 : 1, var, by);
}

// The sums as they are, for a tiling that is part of a larger scheme.
static void plain_store(const Kernel *k, Block *b) {
    const Tiling *t = k->t;
    for (int i = 0; i < k->rows; i++) {
        Block *in = where_stored(k, b, i);
        for (int q = 0; q < t->nv; q++) {
            Ex at = e_add(row_of(k, t->out_off, i), e_int(q * t->lanes));
            append(in, (Stmt){.kind = ST_STORE, .buf = t->sums, .e = at, .value = sx_local(k->acc[i * t->nv + q], NULL)});
        }
    }
}

static void epilogue(Kernel *k, Block *b, Ex row0) {
    Tiling *t = k->t;
    if (t->sums) {
        plain_store(k, b);
        return;
    }
    Ex room = e_sub(t->lane->extent, e_mul(e_add(t->panel, e_int(1)), e_int(tile_width(t)))); // left after this panel
    if (e_ge0(room)) {
        if (!vector_epilogue(k, b, row0)) element_epilogue(k, b, row0);
        return;
    }
    Block *whole = block_new(b);
    int64_t one;
    if ((e_is_const(t->panels, &one) && one == 1) || !vector_epilogue(k, whole, row0)) {
        element_epilogue(k, b, row0);
        return;
    }
    Range *g = NEW(Range);
    *g = (Range){room, t->lane->extent};
    Stmt *s = append(b, (Stmt){.kind = ST_IF, .nguard = 1, .guard = g, .body = whole->first});
    Block *part = block_new(b);
    part->tail = &s->els;
    element_epilogue(k, part, row0);
}

// ---- blocks of the sum ------------------------------------------------------------------------

// Where the partial sum of vector q of row i is kept.
static Sx *partial_sum(const Kernel *k, int i, int q) {
    const Tiling *t = k->t;
    if (t->partial) {
        Ex at = e_mul(e_add(e_mul(linear(t->outer, t->nouter), t->panels), t->panel), t->row ? t->row->extent : e_int(1));
        at = e_add(at, t->row ? k->row[i] : e_int(0));
        return sx_load(t->partial, e_add(e_mul(at, e_int(tile_width(t))), e_int(q * t->lanes)), t->lanes);
    }
    Ex at = t->out_off;
    fuse_one(&at, (void *)(uintptr_t)t);
    return sx_load(t->root->buf, e_subst(row_of(k, at, i), t->lane, lane_at(t, q)), t->lanes);
}

// All blocks but the first are added to what the ones before have left.
static void load_partial(Kernel *k, Block *b) {
    const Tiling *t = k->t;
    Stmt *s;
    if (!t->kblock) return;
    b = block_if(b, e_sub(t->kblock, e_int(1)), t->kblocks, &s);
    for (int i = 0; i < k->rows; i++)
        for (int q = 0; q < t->nv; q++)
            append(b, (Stmt){.kind = ST_ACC, .local = k->acc[i * t->nv + q], .fn = RED_ADD, .value = partial_sum(k, i, q)});
}

// All blocks but the last store their sums as they are. The block for the epilogue.
static Block *store_partial(Kernel *k, Block *b) {
    const Tiling *t = k->t;
    Stmt *s;
    if (!t->kblock) return b;
    Block *in = block_if(b, e_sub(e_sub(t->kblocks, e_int(2)), t->kblock), t->kblocks, &s), *last = block_new(b);
    for (int i = 0; i < k->rows; i++) {
        Block *row = where_stored(k, in, i);
        for (int q = 0; q < t->nv; q++) {
            Sx *at = partial_sum(k, i, q);
            append(row, (Stmt){.kind = ST_STORE, .buf = at->buf, .e = at->e, .value = sx_local(k->acc[i * t->nv + q], NULL)});
        }
    }
    last->tail = &s->els;
    return last;
}

// ---- kernel -----------------------------------------------------------------------------------

// The least and greatest value of e over the tile's rows and the sum; false: a stride's sign is unknown.
static bool span(const Tiling *t, Ex e, Ex row0, int rows, Ex *lo, Ex *hi) {
    *lo = *hi = e;
    for (int i = -1; i < t->nk; i++) {
        Ex var = i < 0 ? t->row : t->k[i];
        if (!var || !e_uses(e, var)) continue;
        Ex s = tile_stride(e, var), top = e_sub(var->extent, e_int(1)), a = e_int(0), z = top;
        if (i < 0) a = row0, z = e_add(row0, e_int(rows - 1));
        if (s->hi <= 0) {
            Ex swap = a;
            a = z, z = swap;
        } else if (s->lo < 0) return false;
        *lo = e_subst(*lo, var, a);
        *hi = e_subst(*hi, var, z);
    }
    return true;
}

static void sums(Kernel *k, Block *b) {
    const Tiling *t = k->t;
    k->nseen = 0, k->seen_in = NULL;
    if (t->naround) {
        Range *g = NEWN(Range, t->naround);
        memcpy(g, t->around, sizeof *g * (size_t)t->naround);
        Block *in = block_new(b);
        Stmt *s = append(b, (Stmt){.kind = ST_IF, .nguard = t->naround, .guard = g});
        in->tail = &s->body;
        b = in;
    }
    sum_loops(k, b, 0);
}

void tile_kernel(Tiling *t, Block *b, const RowGroup *group, Ex tile) {
    const int rows = group->rows;
    Ex row0 = e_add(group->first, e_scale(tile, rows));
    Kernel *k = &(Kernel){.t = t, .rows = rows, .row0 = row0, .group = group, .mask = rows == 32 ? UINT32_MAX : (1u << rows) - 1};
    for (int i = 0; i < rows; i++) k->row[i] = tile_row(group, row0, e_int(i));
    for (int i = 0; i < rows * t->nv; i++) {
        k->acc[i] = local_new(t->l, "c", t->dt, t->lanes, true);
        append(b, (Stmt){.kind = ST_LET, .local = k->acc[i], .value = sx_num(t->dt, (Scalar){.f = 0})});
    }
    if (group->live && !t->pattern_by) k->mask &= group->live[0];
    Range inside[32];
    bool known = t->nhard > 0;
    int n = 0;
    for (int i = 0; i < t->nhard && known; i++) {
        Ex lo, hi;
        known = span(t, t->hard[i].e, row0, rows, &lo, &hi);
        inside[n++] = (Range){lo, t->hard[i].n};
        inside[n++] = (Range){hi, t->hard[i].n};
    }
    if (known) {
        Range *g = NEWN(Range, n);
        memcpy(g, inside, sizeof *g * (size_t)n);
        Stmt *s = append(b, (Stmt){.kind = ST_IF, .nguard = n, .guard = g});
        Block *yes = block_new(b), *no = block_new(b);
        yes->tail = &s->body;
        no->tail = &s->els;
        sums(k, yes);
        k->hard = true;
        sums(k, no);
    } else {
        k->hard = t->nhard > 0;
        sums(k, b);
    }
    load_partial(k, b);
    epilogue(k, store_partial(k, b), row0);
}
