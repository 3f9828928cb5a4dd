// SPDX-License-Identifier: Apache-2.0
// Random inputs for a graph, random graphs, and comparing what two graphs make of the same inputs.
#ifndef CNNCC_FUZZ_RANDOM_H
#define CNNCC_FUZZ_RANDOM_H
#include "cnncc.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct { uint64_t s; } Rng;

static inline uint64_t rng(Rng *r) { // splitmix64
    uint64_t z = r->s += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline int below(Rng *r, int n) { return n > 0 ? (int)(rng(r) % (uint64_t)n) : 0; }

// ---- inputs -------------------------------------------------------------------------------------------

typedef struct { Ex var; int64_t value; } SymValue;
typedef struct { Rng *r; SymValue v[32]; int n; } Symbols;

static inline int64_t symbol_value(Ex var, void *ctx) {
    Symbols *s = ctx;
    for (int i = 0; i < s->n; i++)
        if (s->v[i].var == var) return s->v[i].value;
    int64_t lo = var->lo > 0 ? var->lo : 0, hi = var->hi < lo + 5 ? var->hi : lo + 5;
    int64_t value = lo + (int64_t)(rng(s->r) % (uint64_t)(hi - lo + 1));
    if (s->n < 32) s->v[s->n++] = (SymValue){ var, value };
    return value;
}

// Small numbers; with `special`, also infinities, NaN and zeros of both signs.
static inline Scalar random_scalar(Rng *r, DType dt, bool special) {
    static const double odd[] = { 0.0, -0.0, 1, -1, (double)INFINITY, -(double)INFINITY, (double)NAN, 0.5 };
    Scalar s = { .i = 0 };
    if (dt_is_float(dt)) s.f = special && !below(r, 4) ? odd[below(r, 8)] : round_to(dt, (below(r, 2001) - 1000) / 250.0);
    else if (dt == BOOL) s.i = below(r, 2);
    else s.i = wrap_to(dt, special && !below(r, 4) ? (int64_t)rng(r) : below(r, 9) - 4);
    return s;
}

static inline Tensor *random_tensor(Symbols *s, const Val *v, bool special) {
    Tensor *t = NEW(Tensor);
    t->dt = v->dt;
    t->rank = v->rank;
    for (int i = 0; i < v->rank; i++) t->shape[i] = e_eval(v->shape[i], symbol_value, s);
    t->data = data_new(v->dt, (size_t)tensor_numel(t));
    for (size_t i = 0; i < t->data->n; i++) data_set(t->data, i, random_scalar(s->r, v->dt, special));
    return t;
}

static inline Tensor **random_inputs(Rng *r, const Graph *g, bool special) {
    Symbols s = { .r = r };
    Tensor **in = NEWN(Tensor *, g->nin + 1);
    for (int i = 0; i < g->nin; i++) in[i] = random_tensor(&s, g->in[i], special);
    return in;
}

// ---- comparing ----------------------------------------------------------------------------------------

// Whether two results are the same: shapes, and elements to the bit (any NaN is NaN), or floats within a
// relative and absolute `tol`.
static inline bool same_tensor(const Tensor *a, const Tensor *b, double tol) {
    if (a->dt != b->dt || a->rank != b->rank || memcmp(a->shape, b->shape, sizeof *a->shape * (size_t)a->rank)) return false;
    for (size_t i = 0; i < a->data->n; i++) {
        Scalar x = data_get(a->data, i), y = data_get(b->data, i);
        if (!dt_is_float(a->dt)) {
            if (x.i != y.i) return false;
            continue;
        }
        if (isnan(x.f) && isnan(y.f)) continue;
        if (x.f == y.f && (tol > 0 || signbit(x.f) == signbit(y.f))) continue;
        if (!(tol > 0 && fabs(x.f - y.f) <= tol * (1 + fabs(x.f)))) return false;
    }
    return true;
}

// Runs both on the same inputs. A fault that the second does not have any more is no difference.
static inline bool same_graphs(Graph *a, Graph *b, Tensor **in, double tol) {
    Tensor **x = NEWN(Tensor *, a->nout + 1), **y = NEWN(Tensor *, b->nout + 1);
    int st = eval_graph(a, a->nin, in, a->nout, x);
    if (st) return true;
    if (eval_graph(b, b->nin, in, b->nout, y)) return false;
    for (int i = 0; i < a->nout; i++)
        if (!same_tensor(x[i], y[i], tol)) return false;
    return true;
}

// ---- graphs -------------------------------------------------------------------------------------------

typedef struct { Rng r; Graph *g; Val *v[128]; int n; } Maker;

static inline Val *keep(Maker *m, Val *v) {
    if (m->n < 128) m->v[m->n++] = v;
    return v;
}

static inline Val *pick(Maker *m) { return m->v[below(&m->r, m->n)]; }

static inline Val *pick_like(Maker *m, const Val *x) {
    int start = below(&m->r, m->n);
    for (int i = 0; i < m->n; i++) {
        Val *v = m->v[(start + i) % m->n];
        if (v->dt == x->dt && val_same_shape(v, x)) return v;
    }
    return NULL;
}

static inline Val *make_splat(Maker *m, DType dt, int rank, const Ex *shape) {
    Ex ones[MAX_RANK];
    Data *d = data_new(dt, 1);
    data_set(d, 0, random_scalar(&m->r, dt, false));
    for (int i = 0; i < rank; i++) ones[i] = e_int(1);
    return b_expand(m->g, b_const(m->g, d, rank, ones), shape);
}

static inline bool fn_takes(Fn fn, DType dt) {
    const char *c = dt_is_float(dt) ? "f" : dt == BOOL ? "b" : "i";
    return strchr(fn_info[fn].types, *c) != NULL;
}

static inline Val *make_map(Maker *m, Val *x) {
    static const DType casts[] = { F32, F64, I32, I64, U8, BOOL, F16, I8 };
    for (int tries = 0; tries < 20; tries++) {
        Fn fn = (Fn)below(&m->r, FN_COUNT - 2); // dot2 and dot4 are for opt/dot.c alone: tests/probes/dots.py
        if (fn >= FN_dot2) fn = (Fn)(fn + 2);
        if (fn == FN_bitcast || fn == FN_castsat || !fn_takes(fn, x->dt)) continue;
        if (fn == FN_pow && !dt_is_float(x->dt)) continue;
        Val *in[3] = { x, pick_like(m, x), pick_like(m, x) };
        if (fn == FN_select) in[0] = make_splat(m, BOOL, x->rank, x->shape);
        if (!below(&m->r, 3)) in[fn_info[fn].arity - 1] = make_splat(m, x->dt, x->rank, x->shape);
        return b_map(m->g, fn, casts[below(&m->r, 8)], fn_info[fn].arity, in);
    }
    return NULL;
}

static inline bool small(Ex e, int64_t *c) { return e_is_const(e, c) && *c > 0; }

static inline Val *make_view(Maker *m, Val *x) {
    Ex shape[MAX_RANK];
    int perm[MAX_RANK], axis = below(&m->r, x->rank);
    for (int i = 0; i < x->rank; i++) perm[i] = i, shape[i] = x->shape[i];
    switch (below(&m->r, 5)) {
    case 0: { // a new axis, repeated
        for (int i = x->rank; i > axis; i--) shape[i] = shape[i - 1];
        shape[axis] = e_int(1);
        x = b_reshape(m->g, x, x->rank + 1, shape);
        shape[axis] = below(&m->r, 2) ? e_int(1 + below(&m->r, 3)) : e_sym("N", 3, 6);
        return x->rank > 5 ? NULL : b_expand(m->g, x, shape);
    }
    case 1: // two axes joined
        if (axis + 1 >= x->rank) return NULL;
        shape[axis] = e_mul(shape[axis], shape[axis + 1]);
        for (int i = axis + 1; i + 1 < x->rank; i++) shape[i] = shape[i + 1];
        return b_reshape(m->g, x, x->rank - 1, shape);
    case 2:
        if (x->rank < 2) return NULL;
        for (int i = x->rank - 1; i > 0; i--) {
            int j = below(&m->r, i + 1), t = perm[i];
            perm[i] = perm[j], perm[j] = t;
        }
        return b_permute(m->g, x, perm);
    case 3: { // a part, forwards or backwards
        int64_t n;
        if (!small(x->shape[axis], &n)) return b_slice(m->g, x, axis, e_sub(x->shape[axis], e_int(1)), x->shape[axis], e_int(-1));
        int64_t start = below(&m->r, (int)n), step = 1 + below(&m->r, 2), back = below(&m->r, 2);
        int64_t size = back ? start / step + 1 : (n - 1 - start) / step + 1;
        return b_slice(m->g, x, axis, e_int(start), e_int(1 + below(&m->r, (int)size)), e_int(back ? -step : step));
    }
    default: {
        Val *value = make_splat(m, x->dt, 0, NULL);
        return b_pad(m->g, x, axis, e_int(below(&m->r, 3)), e_int(below(&m->r, 3)), value);
    }
    }
}

static inline Val *make_index(Maker *m, const Val *x, int axis) { // in range along axis
    Val *i = b_iota(m->g, I64, x->shape[axis]);
    if (below(&m->r, 2)) i = b_slice(m->g, i, 0, e_sub(x->shape[axis], e_int(1)), x->shape[axis], e_int(-1));
    Ex shape[MAX_RANK];
    for (int k = 0; k < x->rank; k++) shape[k] = k == axis ? x->shape[k] : e_int(1);
    return b_expand(m->g, b_reshape(m->g, i, x->rank, shape), x->shape);
}

static inline Val *make_along(Maker *m, Val *x) {
    int axis = below(&m->r, x->rank);
    Val *values, *index;
    switch (below(&m->r, 7)) {
    case 0: return b_gather(m->g, x, make_index(m, x, axis), axis);
    case 1: return b_scatter(m->g, below(&m->r, 2) ? RED_SET : RED_MAX, x, make_index(m, x, axis), pick_like(m, x), axis);
    case 2: return x->dt == BOOL ? NULL : b_scan(m->g, (Red)below(&m->r, 4), x, axis, false, below(&m->r, 2));
    case 3:
        if (x->dt == BOOL) return NULL;
        b_sort(m->g, x, axis, below(&m->r, 2), &values, &index);
        keep(m, index);
        return values;
    case 4: return b_concat(m->g, 2, (Val *[]){ x, pick_like(m, x) }, axis);
    case 5: {
        Ex k = e_int(1 + below(&m->r, 2));
        if (!e_le(k, x->shape[axis]) || x->rank > 4) return NULL;
        Ex stride = e_int(1 + below(&m->r, 2)), dil = e_int(1);
        Val *w = b_window(m->g, x, axis, k, stride, dil);
        return below(&m->r, 2) || x->dt == BOOL ? w : b_unwindow(m->g, w, axis, x->shape[axis], stride, dil);
    }
    default: return b_copy(m->g, x);
    }
}

static inline Val *make_reduce(Maker *m, Val *x) {
    int axes[MAX_RANK], n = 0;
    Red fn = x->dt == BOOL ? (below(&m->r, 2) ? RED_AND : RED_OR) : (Red)below(&m->r, 4);
    for (int i = 0; i < x->rank; i++)
        if (below(&m->r, 2)) axes[n++] = i;
    if (x->dt != BOOL && !below(&m->r, 6)) return b_reduce(m->g, below(&m->r, 2) ? RED_ARGMAX : RED_ARGMIN, x, 1, (int[]){ below(&m->r, x->rank) }, below(&m->r, 2));
    return n ? b_reduce(m->g, fn, x, n, axes, false) : NULL;
}

// A graph of about `size` nodes over float and integer inputs with symbolic and fixed extents.
static inline Graph *random_graph(uint64_t seed, int size) {
    static const DType types[] = { F32, F32, F64, I32, I64, U8, BOOL, F16 };
    Maker m = { .r = { seed }, .g = graph_new(NULL) };
    Ex n = e_sym("N", 3, 6), k = e_sym("K", 3, 5);
    int inputs = 2 + below(&m.r, 2);
    for (int i = 0; i < inputs; i++) {
        Ex shape[3] = { !i || below(&m.r, 2) ? n : e_int(4), !i || below(&m.r, 2) ? k : e_int(3), e_int(2) };
        keep(&m, b_input(m.g, arena_printf("x%d", i), types[below(&m.r, 8)], (i ? 1 : 2) + below(&m.r, 2), shape));
    }
    for (int i = 0; i < size; i++) {
        Val *x = pick(&m), *v = NULL;
        int what = below(&m.r, 10);
        if (what < 5 || !x->rank) v = make_map(&m, x);
        else if (what < 7) v = make_view(&m, x);
        else if (what < 8) v = make_reduce(&m, x);
        else v = make_along(&m, x);
        if (v) keep(&m, v);
    }
    for (int i = 0; i < 3; i++) graph_output(m.g, m.v[m.n - 1 - i % m.n], arena_printf("y%d", i));
    return m.g;
}
#endif
