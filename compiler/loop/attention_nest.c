// SPDX-License-Identifier: Apache-2.0
// The attention template: y = softmax(s) v as one streaming loop. A tile of rows meets one block of keys
// after the other; the scores of a block are in scratch memory and nowhere else. With m the greatest score
// so far, l the sum of exp(s - m) and o the sum of exp(s - m) v, a block that raises m multiplies l and o
// by exp(m - m'). Both products are contractions that tile.c computes; where it refuses, plain loops do.
// The blocks depend on shapes only, so results do not depend on threads or targets.
#include "loop/attention.h"
#include "loop/tile.h"
#include <math.h>
#include <string.h>

enum { ROWS = 48, KEYS = 128, ONE_BLOCK = 256, CHUNK = 16, SLACK = 16 * MAX_NV, WORK = 1 << 15 };

typedef struct {
    Lower *l;
    Root *root;
    const Attention *a;
    DType dt;
    Contraction c;      // y: factor[values] and the probabilities
    int values;
    Ex p_idx[MAX_RANK]; // the element of p, and so of s, in c's variables
    Ex out_idx[MAX_RANK], out_off;
    Ex row, key;        // which are tiled; row NULL: one at a time
    Ex outer[64]; int nouter, shared; // the first are loops of the keys too
    bool stream;        // the keys come in blocks
    Ex block, stride;   // keys of a whole block; of a row of scores in memory
    Buf *scores, *stat, *sum, *keys; // [rows, stride]; [M L ALPHA, rows]; [rows, columns]; keys transposed: [blocks, depth, stride]
    // of the tile and block being made
    Ex r0, nr, r, t0, nt, t, blk; // first and number of rows, the index; the same of keys, the block
    Ex from[2], to[2];
} Nest;

enum { M, L, ALPHA, NEXT, PART, NSTAT }; // ALPHA: what the earlier sums are multiplied by; with one block and at the end 1/l; NEXT, PART: m and l of the block

static Sx *number(const Nest *n, double x) { return sx_num(n->dt, (Scalar){.f = x}); }

static Sx *fn1(const Nest *n, Fn f, Sx *a) { return sx_fn(f, n->dt, 1, &a); }

static Sx *fn2(const Nest *n, Fn f, Sx *a, Sx *b) { return sx_fn(f, n->dt, 2, (Sx *[]){a, b}); }

static Sx *pick(const Nest *n, Fn test, Sx *a, Sx *b, Sx *yes, Sx *no) {
    return sx_fn(FN_select, n->dt, 3, (Sx *[]){sx_fn(test, BOOL, 2, (Sx *[]){a, b}), yes, no});
}

static Sx *greater(const Nest *n, Sx *a, Sx *b) { return pick(n, FN_lt, a, b, b, a); } // a NaN shows in the sum

static Ex fresh(const Nest *n, const char *stem, Ex extent) { return e_index(arena_printf("%s%d", stem, n->l->next_local++), extent); }

static Block *over(Block *b, Ex var, Ex lo, Ex hi) { return var->kind == X_VAR ? for_loop(b, var, lo, hi, 1, NULL) : b; }

static void store(Block *b, Buf *to, Ex at, Sx *x) { append(b, (Stmt){.kind = ST_STORE, .buf = to, .e = at, .value = x}); }

static Ex stat_at(int which, Ex r) { return e_add(e_int(which * ROWS), r); }

static Sx *stat(const Nest *n, int which) { return sx_load(n->stat, stat_at(which, n->r), 0); }

static Ex score_at(const Nest *n, Ex t) { return e_add(e_mul(n->r, n->stride), t); }

static Block *branch(Block *b, Ex e, Ex limit, Block **other) {
    Range *g = NEW(Range);
    *g = (Range){e, limit};
    Stmt *s = append(b, (Stmt){.kind = ST_IF, .nguard = 1, .guard = g});
    Block *yes = block_new(b);
    yes->tail = &s->body;
    if (other) {
        *other = block_new(b);
        (*other)->tail = &s->els;
    }
    return yes;
}

static Ex here(const Nest *n, Ex e) { return e_subst_all(e, 2, n->from, n->to); }

// c's factor in the variables of the tile.
static void place(const Nest *n, Access *a) {
    for (int i = 0; i < a->rank; i++) a->idx[i] = here(n, a->idx[i]);
}

// ---- what the template takes --------------------------------------------------------------------

static bool uses(const Access *a, Ex var) {
    for (int i = 0; i < a->rank; i++)
        if (e_uses(a->idx[i], var)) return true;
    return false;
}

static int64_t guess(Ex extent) {
    int64_t n;
    return e_is_const(extent, &n) ? n : 64;
}

// The contraction of p and v, p taken for a buffer; the keys are its only sum.
static bool find(Nest *n) {
    Lower *l = n->l;
    const Val *p = n->a->p;
    Contraction *c = &n->c;
    Buf *stand_in = buf_new(l->prog, B_WORK, p->dt, p->rank, p->shape, "p");
    l->buf[p->id] = stand_in;
    bool ok = contract_find(l, n->a->y, c);
    l->buf[p->id] = NULL;
    if (!ok || c->nred != 1 || c->nguard) return false;
    n->values = c->factor[0].buf == stand_in ? 1 : 0;
    if (c->factor[1 - n->values].buf != stand_in || c->factor[n->values].buf == stand_in || c->factor[n->values].buf->dt != n->dt) return false;
    const Access *a = &c->factor[1 - n->values];
    n->key = c->var[c->nvar - 1];
    if (a->idx[n->a->axis] != n->key || n->key->extent != p->shape[n->a->axis]) return false;
    for (int i = 0; i < a->rank; i++) {
        if (i != n->a->axis && e_uses(a->idx[i], n->key)) return false;
        n->p_idx[i] = a->idx[i];
    }
    return true;
}

// The rows: of the variables of p that the values do not depend on the longest; symbols and later ones first.
static void choose_row(Nest *n) {
    const Contraction *c = &n->c;
    const Access *p = &c->factor[1 - n->values], *v = &c->factor[n->values];
    int64_t best = 0;
    for (int i = 0; i < c->nvar - 1; i++)
        if (uses(p, c->var[i]) && !uses(v, c->var[i]) && guess(c->var[i]->extent) >= best) n->row = c->var[i], best = guess(c->var[i]->extent);
    for (int i = 0; i < c->nvar - 1; i++)
        if (c->var[i] != n->row && uses(p, c->var[i])) n->outer[n->nouter++] = c->var[i];
}

// ---- scores -------------------------------------------------------------------------------------

static Sx *as_is(void *ctx, Block *b, Sx *sum) {
    (void)ctx, (void)b;
    return sum;
}

static Ex red_size(const Contraction *c) {
    Ex k = e_int(1);
    for (int i = c->nvar - c->nred; i < c->nvar; i++) k = e_mul(k, c->var[i]->extent);
    return k;
}

static Ex red_index(const Contraction *c) {
    Ex k = e_int(0);
    for (int i = c->nvar - c->nred; i < c->nvar; i++) k = e_add(e_mul(k, c->var[i]->extent), c->var[i]);
    return k;
}

// The scores' contraction in the tile's variables; out: the element of the reduce.
static bool find_scores(const Nest *n, Contraction *c, Ex *out) {
    Ex at[MAX_RANK], var[2];
    int nv = 0;
    for (int i = 0; i < n->a->s->rank; i++) at[i] = here(n, n->p_idx[i]);
    if (!n->a->scores || !tile_index_of(n->l, n->a->s, at, n->a->scores, out)) return false;
    if (n->r->kind == X_VAR) var[nv++] = n->r;
    if (n->t->kind == X_VAR) var[nv++] = n->t;
    return contract_find_at(n->l, n->a->scores, nv, var, out, c) && c->factor[0].buf->dt == n->dt && c->factor[1].buf->dt == n->dt && !c->nguard;
}

// The factor of the keys: depends on them and not on the rows; -1: none.
static int key_factor(const Nest *n, const Contraction *c) {
    for (int i = 0; i < 2; i++)
        if (uses(&c->factor[i], n->t) && !uses(&c->factor[1 - i], n->t) && !uses(&c->factor[i], n->r)) return i;
    return -1;
}

// The tile's index, first row and keys of a block.
static void set_tile(Nest *n, Ex r0, Ex nr) {
    n->r0 = r0;
    n->nr = nr;
    n->r = fresh(n, "row", nr);
    n->blk = fresh(n, "blk", e_ceil_div(n->key->extent, n->block));
    n->t0 = e_mul(n->blk, n->block);
    n->nt = e_min(n->block, e_sub(n->key->extent, n->t0));
    n->t = fresh(n, "key", n->nt);
    n->to[0] = e_add(r0, n->r), n->to[1] = e_add(n->t0, n->t);
}

// Whether the keys have to be copied with the keys innermost, as the lanes of the product are read; c: the
// product. Orders the loops outside: `shared` of them are those of the keys.
static bool plan_keys(Nest *n, Contraction *c) {
    Ex out[MAX_RANK], order[64];
    int m = 0;
    n->shared = n->nouter;
    set_tile(n, e_int(0), e_int(ROWS));
    if (!n->row || n->t->kind != X_VAR || !find_scores(n, c, out)) return false;
    int k = key_factor(n, c);
    if (k < 0 || e_is(tile_stride(buf_offset(c->factor[k].buf, c->factor[k].idx), n->t), 1)) return false;
    for (int part = 1; part >= 0; part--) {
        for (int i = 0; i < n->nouter; i++)
            if (uses(&c->factor[k], n->outer[i]) == part) order[m++] = n->outer[i];
        if (part) n->shared = m;
    }
    memcpy(n->outer, order, sizeof *order * (size_t)m);
    return true;
}

// Copies the keys of all blocks.
static void transpose_keys(Nest *n, const Contraction *c, Block *b) {
    const Access *a = &c->factor[key_factor(n, c)];
    Ex off = buf_offset(a->buf, a->idx), shape[3] = {n->blk->extent ? n->blk->extent : e_int(1), red_size(c), n->stride};
    n->keys = buf_new(n->l->prog, B_WORK, n->dt, 3, shape, arena_printf("keys%d", n->l->prog->nbufs));
    n->keys->scratch = true;
    n->keys->slack = SLACK;
    buf_strides(n->keys);
    Ex chunk = fresh(n, "chunk", e_ceil_div(n->nt, e_int(CHUNK))), j = fresh(n, "j", e_int(CHUNK));
    b = over(b, n->blk, e_int(0), shape[0]);
    b = over(b, chunk, e_int(0), chunk->extent);
    for (int i = c->nvar - c->nred; i < c->nvar; i++) b = over(b, c->var[i], e_int(0), c->var[i]->extent);
    Ex first = chunk->kind == X_VAR ? e_scale(chunk, CHUNK) : e_int(0);
    b = over(b, j, e_int(0), e_min(e_int(CHUNK), e_sub(n->nt, first)));
    Ex t = e_add(first, j), at[3] = {n->blk, red_index(c), t};
    store(b, n->keys, buf_offset(n->keys, at), sx_load(a->buf, e_subst(off, n->t, t), 0));
}

// The scores of the tile before what follows them, in memory. false: they are computed one by one.
static bool multiply_keys(Nest *n, Block *b, Ex *out) {
    Contraction *c = NEW(Contraction);
    if (!find_scores(n, c, out)) return false;
    int k = key_factor(n, c);
    if (n->keys && k >= 0) {
        Access *a = &c->factor[k];
        Ex idx[3] = {n->blk, red_index(c), n->t};
        a->buf = n->keys;
        a->rank = 3;
        memcpy(a->idx, idx, sizeof idx);
    }
    return tile_part(n->l, c, n->scores, score_at(n, n->t), as_is, NULL, b);
}

// ---- softmax ------------------------------------------------------------------------------------

// s of key t, by what the product left where it did; stored and compared with the greatest, lane by lane.
static void score(Nest *n, Block *b, bool have, const Ex *out, Local *top, Ex lane, Ex t) {
    Ex at[MAX_RANK], var[1] = {n->t};
    Block *in = block_new(b);
    for (int i = 0; i < n->a->s->rank; i++) at[i] = here(n, n->p_idx[i]);
    if (have) gen_bind(in, n->a->scores, out, sx_load(n->scores, score_at(n, n->t), 0));
    Sx *x = sx_let(n->l, in, gen(n->l, in, n->a->s, at));
    store(in, n->scores, score_at(n, n->t), x);
    append(in, (Stmt){.kind = ST_SET, .local = top, .e = lane, .value = greater(n, sx_local(top, lane), x)});
    nest_lanes(n->l, in->first, NULL); // a sum that is no product of tiles
    if (n->t->kind == X_VAR) stmt_subst(in->first, 1, var, &t);
    *b->tail = in->first;
    while (*b->tail) b->tail = &(*b->tail)->next;
}

static Local *array(Nest *n, Block *b, const char *stem, double x) {
    Local *v = local_new(n->l, stem, n->dt, CHUNK, false);
    append(b, (Stmt){.kind = ST_LET, .local = v, .value = number(n, x)});
    return v;
}

// The lanes of an array put together, by halves.
static Local *across(Nest *n, Block *b, Local *v, bool sum) {
    for (int w = CHUNK / 2; w > 0; w /= 2) {
        Ex j = fresh(n, "j", e_int(w));
        Block *half = over(b, j, e_int(0), e_int(w));
        if (j->kind != X_VAR) j = e_int(0);
        Sx *one = sx_local(v, j), *other = sx_local(v, e_add(j, e_int(w)));
        append(half, (Stmt){.kind = ST_SET, .local = v, .e = j, .value = sum ? fn2(n, FN_add, one, other) : greater(n, one, other)});
    }
    Local *x = local_new(n->l, "t", n->dt, 0, false);
    append(b, (Stmt){.kind = ST_LET, .local = x, .value = sx_local(v, e_int(0))});
    return x;
}

static bool whole_chunks(const Nest *n) {
    int64_t k;
    return e_is_const(n->nt, &k) && k % CHUNK == 0;
}

static Local *greatest(Nest *n, Block *b, bool have, const Ex *out) {
    Local *top = array(n, b, "top", -INFINITY);
    Ex j = fresh(n, "j", e_int(CHUNK)), chunk = fresh(n, "chunk", e_div(n->nt, e_int(CHUNK)));
    if (n->t->kind != X_VAR) score(n, b, have, out, top, e_int(0), e_int(0));
    else {
        if (!e_is(e_div(n->nt, e_int(CHUNK)), 0)) {
            Block *in = over(over(b, chunk, e_int(0), chunk->extent), j, e_int(0), e_int(CHUNK));
            score(n, in, have, out, top, j, e_add(e_scale(chunk, CHUNK), j));
        }
        if (!whole_chunks(n)) {
            Ex first = e_scale(e_div(n->nt, e_int(CHUNK)), CHUNK), left = e_mod(n->nt, e_int(CHUNK));
            j = fresh(n, "j", left);
            score(n, over(b, j, e_int(0), left), have, out, top, j->kind == X_VAR ? j : e_int(0), j->kind == X_VAR ? e_add(first, j) : first);
        }
    }
    if (!whole_chunks(n)) { // up to a whole chunk: exp gives 0
        Ex end = e_scale(e_ceil_div(n->nt, e_int(CHUNK)), CHUNK), t = fresh(n, "key", e_add(end, e_int(1)));
        store(for_loop(b, t, n->nt, end, 1, NULL), n->scores, score_at(n, t), number(n, -INFINITY));
    }
    return across(n, b, top, false);
}

// 1 / l, or what a row without a number gives; without keys the sum of nothing is 0.
static Sx *inverse(const Nest *n, Sx *l) {
    Sx *none = number(n, n->a->zero_row || n->a->nan_zero ? 1 : NAN);
    Ex keys = e_sub(n->key->extent, e_int(1));
    if (!e_ge0(keys) && !n->a->zero_row && !n->a->nan_zero) {
        Range *g = NEW(Range);
        *g = (Range){keys, e_int(INT64_MAX)};
        none = sx_guard(1, g, none, number(n, 1));
    }
    return pick(n, FN_eq, l, number(n, 0), none, fn2(n, FN_div, number(n, 1), l));
}

// What exp(s - m) takes for m: a row of -inf has no number to subtract.
static Sx *subtrahend(const Nest *n, Block *b, Sx *m) { return sx_let(n->l, b, pick(n, FN_eq, m, number(n, -INFINITY), number(n, 0), m)); }

// exp(s - m) in place of the scores; their sums, lane by lane.
static Local *exponentials(Nest *n, Block *b, Sx *m) {
    const bool vectors = n->dt == F32; // its exp is there for vectors
    Local *part = array(n, b, "part", 0), *sum = part;
    Ex chunk = fresh(n, "chunk", e_ceil_div(n->nt, e_int(CHUNK))), j = vectors ? e_int(0) : fresh(n, "j", e_int(CHUNK));
    Ex at = score_at(n, e_add(chunk->kind == X_VAR ? e_scale(chunk, CHUNK) : e_int(0), j));
    if (vectors) {
        sum = local_new(n->l, "sum", n->dt, CHUNK, true);
        append(b, (Stmt){.kind = ST_LET, .local = sum, .value = number(n, 0)});
    }
    Block *in = over(over(b, chunk, e_int(0), chunk->extent), j, e_int(0), e_int(CHUNK));
    Sx *x = fn1(n, FN_exp, fn2(n, FN_sub, sx_load(n->scores, at, vectors ? CHUNK : 0), m));
    Local *e = local_new(n->l, "t", n->dt, vectors ? CHUNK : 0, vectors);
    append(in, (Stmt){.kind = ST_LET, .local = e, .value = x});
    store(in, n->scores, at, sx_local(e, NULL));
    if (!vectors) append(in, (Stmt){.kind = ST_SET, .local = part, .e = j, .value = fn2(n, FN_add, sx_local(part, j), sx_local(e, NULL))});
    else append(in, (Stmt){.kind = ST_ACC, .local = sum, .fn = RED_ADD, .value = sx_local(e, NULL)});
    if (vectors) append(b, (Stmt){.kind = ST_SET, .local = part, .e = e_int(0), .value = sx_local(sum, NULL)});
    return part;
}

// m, l and the factor of the sums so far after a block, of all rows side by side.
static void rescale(Nest *n, Block *b) {
    Block *up = b;
    b = block_new(up);
    Sx *m = sx_let(n->l, b, stat(n, NEXT));
    Sx *alpha = sx_let(n->l, b, fn1(n, FN_exp, fn2(n, FN_sub, stat(n, M), subtrahend(n, b, m))));
    store(b, n->stat, stat_at(L, n->r), fn2(n, FN_add, fn2(n, FN_mul, stat(n, L), alpha), stat(n, PART)));
    store(b, n->stat, stat_at(M, n->r), m);
    store(b, n->stat, stat_at(ALPHA, n->r), alpha);
    append(up, n->r->kind == X_VAR ? (Stmt){.kind = ST_FOR, .var = n->r, .lo = e_int(0), .hi = n->nr, .step = 1, .simd = true, .body = b->first}
                                   : (Stmt){.kind = ST_BLOCK, .body = b->first});
}

static void softmax(Nest *n, Block *up, bool have, const Ex *out) {
    Block *b = over(up, n->r, e_int(0), n->nr);
    Sx *m = sx_local(greatest(n, b, have, out), NULL);
    if (n->stream) m = sx_let(n->l, b, greater(n, m, stat(n, M)));
    Sx *l = sx_local(across(n, b, exponentials(n, b, subtrahend(n, b, m)), true), NULL);
    if (!n->stream) {
        store(b, n->stat, stat_at(ALPHA, n->r), inverse(n, l));
        return;
    }
    store(b, n->stat, stat_at(NEXT, n->r), m);
    store(b, n->stat, stat_at(PART, n->r), l);
    rescale(n, up);
}

// ---- values -------------------------------------------------------------------------------------

// The columns: variables of y that the probabilities do not depend on.
static bool is_column(const Nest *n, int i) { return i < n->c.nvar - 1 && !uses(&n->c.factor[1 - n->values], n->c.var[i]); }

static Ex columns(const Nest *n, Ex *size) {
    Ex e = e_int(0);
    *size = e_int(1);
    for (int i = 0; i < n->c.nvar; i++) {
        if (!is_column(n, i)) continue;
        e = e_add(e_mul(e, n->c.var[i]->extent), n->c.var[i]);
        *size = e_mul(*size, n->c.var[i]->extent);
    }
    return e;
}

static Ex sum_at(const Nest *n) {
    Ex size, e = columns(n, &size);
    return e_add(e_mul(n->r, size), e);
}

static Sx *add_block(void *ctx, Block *b, Sx *sum) {
    const Nest *n = ctx;
    (void)b;
    return fn2(n, FN_add, fn2(n, FN_mul, sx_load(n->sum, sum_at(n), 0), stat(n, ALPHA)), sum);
}

// The element of the root that a sum over all keys lands in.
static Sx *finish(void *ctx, Block *b, Sx *sum) {
    const Nest *n = ctx;
    Ex y[MAX_RANK], out[MAX_RANK];
    Sx *x = sx_let(n->l, b, fn2(n, FN_mul, sum, stat(n, ALPHA)));
    if (n->a->nan_zero) x = sx_let(n->l, b, pick(n, FN_eq, stat(n, ALPHA), stat(n, ALPHA), x, number(n, 0)));
    for (int i = 0; i < n->c.nout; i++) y[i] = here(n, n->c.out[i]);
    for (int i = 0; i < n->root->expr->rank; i++) out[i] = here(n, n->out_idx[i]);
    gen_bind(b, n->a->y, y, x);
    return gen(n->l, b, n->root->expr, out);
}

static void multiply_values(Nest *n, Block *b) {
    Contraction *c = NEW(Contraction);
    TileFinish *f = n->stream ? add_block : finish;
    Buf *to = n->stream ? n->sum : n->root->buf;
    Ex off = n->stream ? sum_at(n) : here(n, n->out_off);
    *c = n->c;
    Access *p = &c->factor[1 - n->values], *v = &c->factor[n->values];
    place(n, v);
    *p = (Access){.buf = n->scores, .rank = 2, .idx = {n->r, n->t}};
    c->nvar = 0;
    if (n->r->kind == X_VAR) c->var[c->nvar++] = n->r;
    for (int i = 0; i < n->c.nvar - 1; i++)
        if (is_column(n, i)) c->var[c->nvar++] = n->c.var[i];
    for (int i = 0; i < c->nout; i++) c->out[i] = here(n, c->out[i]);
    if (n->t->kind == X_VAR) c->var[c->nvar++] = n->t;
    c->nred = n->t->kind == X_VAR;
    if (c->nred && tile_part(n->l, c, to, off, f, n, b)) return;
    b = over(b, n->r, e_int(0), n->nr);
    for (int i = 0; i < n->c.nvar - 1; i++)
        if (is_column(n, i)) b = over(b, n->c.var[i], e_int(0), n->c.var[i]->extent);
    Local *acc = local_new(n->l, "acc", n->dt, 0, false);
    append(b, (Stmt){.kind = ST_LET, .local = acc, .value = number(n, 0)});
    Sx *x = fn2(n, FN_mul, sx_load(n->scores, score_at(n, n->t), 0), sx_load(v->buf, buf_offset(v->buf, v->idx), 0));
    append(over(b, n->t, e_int(0), n->nt), (Stmt){.kind = ST_ACC, .local = acc, .fn = RED_ADD, .value = x});
    store(b, to, off, f(n, b, sx_local(acc, NULL)));
}

// ---- tiles --------------------------------------------------------------------------------------

static void begin_rows(Nest *n, Block *b) {
    Ex size;
    (void)columns(n, &size);
    Block *in = over(b, n->r, e_int(0), n->nr);
    store(in, n->stat, stat_at(M, n->r), number(n, -INFINITY));
    store(in, n->stat, stat_at(L, n->r), number(n, 0));
    Ex j = fresh(n, "j", size);
    store(over(in, j, e_int(0), size), n->sum, e_add(e_mul(n->r, size), j), number(n, 0));
}

static void end_rows(Nest *n, Block *b) {
    b = over(b, n->r, e_int(0), n->nr);
    store(b, n->stat, stat_at(ALPHA, n->r), inverse(n, stat(n, L)));
    for (int i = 0; i < n->c.nvar - 1; i++)
        if (is_column(n, i)) b = over(b, n->c.var[i], e_int(0), n->c.var[i]->extent);
    store(b, n->root->buf, here(n, n->out_off), finish(n, b, sx_load(n->sum, sum_at(n), 0)));
}

// Rows from r0 on, nr of them, against all keys.
static void rows(Nest *n, Block *b, Ex r0, Ex nr) {
    Ex out[MAX_RANK];
    set_tile(n, r0, nr);
    if (n->stream) begin_rows(n, b);
    Block *in = over(b, n->blk, e_int(0), n->blk->extent);
    bool have = multiply_keys(n, in, out);
    softmax(n, in, have, out);
    multiply_values(n, in);
    if (n->stream) end_rows(n, b);
}

static void tiles(Nest *n, Block *b) {
    Ex all = n->row ? n->row->extent : e_int(1), whole = e_div(all, e_int(ROWS)), rest = e_sub(all, e_scale(whole, ROWS));
    Ex tile = fresh(n, "tile", whole);
    if (!e_is(whole, 0)) rows(n, over(b, tile, e_int(0), whole), e_scale(tile, ROWS), e_int(ROWS));
    if (!e_is(rest, 0)) rows(n, b, e_scale(whole, ROWS), rest);
}

static Block *loops(Nest *n, Block *b, int from, int end) {
    for (int i = from; i < end; i++) b = over(b, n->outer[i], e_int(0), n->outer[i]->extent);
    return b;
}

static void make_buffers(Nest *n) {
    Ex size, keys = n->key->extent;
    int64_t k;
    bool fixed = e_is_const(keys, &k);
    n->stream = !fixed || k > ONE_BLOCK;
    n->block = n->stream ? e_int(KEYS) : keys;
    n->stride = e_int((guess(n->block) + CHUNK - 1) / CHUNK * CHUNK + CHUNK); // no power of two: rows fall into different sets
    (void)columns(n, &size);
    Ex shape[3][2] = {{e_int(ROWS), n->stride}, {e_int(NSTAT), e_int(ROWS)}, {e_int(ROWS), size}};
    Buf **bufs[3] = {&n->scores, &n->stat, &n->sum};
    static const char *const name[3] = {"scores", "stat", "sums"};
    for (int i = 0; i < 3; i++) {
        Buf *b = *bufs[i] = buf_new(n->l->prog, B_WORK, n->dt, 2, shape[i], arena_printf("%s%d", name[i], n->l->prog->nbufs));
        b->scratch = true;
        b->slack = SLACK;
        buf_strides(b);
    }
}

// The first loop over something known to be several, else the first.
static void make_parallel(Stmt *s) {
    Stmt *first = NULL;
    int64_t n;
    for (; s && s->kind == ST_FOR && !s->next; s = s->body) {
        if (!first) first = s;
        if (threads_can_merge(first)) break;
        if (e_is_const(s->hi, &n) && n > 1) {
            s->parallel = true;
            return;
        }
    }
    if (first) first->parallel = true;
}

static double work(const Nest *n) {
    double w = 1;
    for (int i = 0; i < n->c.nvar; i++) w *= (double)guess(n->c.var[i]->extent);
    return w;
}

bool attention_nest(Lower *l, Root *r, Block *b) {
    Nest *n = NEW(Nest);
    const Attention *a = l->attention[r->reduce->id];
    if (!a || a->y != r->reduce) return false;
    *n = (Nest){.l = l, .root = r, .a = a, .dt = a->y->dt};
    if (!find(n) || !tile_root_index(l, r, &n->c, n->out_idx)) return false;
    choose_row(n);
    Ex at[MAX_RANK];
    for (int i = 0; i < r->expr->rank; i++) at[i] = r->at && i == r->axis ? e_add(n->out_idx[i], r->at) : n->out_idx[i];
    n->out_off = buf_offset(r->buf, at);
    n->from[0] = n->row ? n->row : e_sym("no_row", 0, 0);
    n->from[1] = n->key;
    make_buffers(n);
    Contraction *keys = NEW(Contraction);
    bool copy = plan_keys(n, keys);
    Block *in = loops(n, b, 0, n->shared);
    const Nest planned = *n;
    int64_t one;
    if (n->row && !e_is_const(n->row->extent, &one)) { // one row, as of a decoder's step: no copy of the keys
        Block *more, *single = branch(in, n->row->extent, e_int(2), &more);
        rows(n, loops(n, branch(single, e_sub(n->row->extent, e_int(1)), e_int(1), NULL), n->shared, n->nouter), e_int(0), e_int(1));
        in = more;
    }
    if (copy) {
        Nest *t = NEW(Nest);
        *t = planned;
        transpose_keys(t, keys, in);
        n->keys = t->keys;
    }
    tiles(n, loops(n, in, n->shared, n->nouter));
    if (work(n) >= (double)WORK) make_parallel(b->first);
    return true;
}
