// SPDX-License-Identifier: Apache-2.0
// The vocabulary of operator authors (op.h), first half: shapes, known integers, leaves, pointwise
// functions with broadcasting, and reductions. Views and compositions are in vocab_view.c.
#include "ops/op.h"

#include <math.h>

// ---- types and shapes ----------------------------------------------------------------------

bool dim_const(const Val *x, int i, int64_t *n) { return e_is_const(dim(x, i), n); }

int axis_of(Op *o, int64_t axis, int rank) {
    if (axis < -rank || axis >= rank)
        op_fail(o, "axis %lld is outside of a tensor with %d dimensions", (long long)axis, rank);
    return (int)(axis < 0 ? axis + rank : axis);
}

Ex numel(const Val *x) { return e_product(x->rank, x->shape); }

int64_t need_const(Op *o, Ex e, const char *what) {
    int64_t c;
    if (!e_is_const(e, &c))
        op_fail(o, "%s must be known when compiling but is %s (--dim fixes a dimension, --value an input)", what, e_str(e));
    return c;
}

int known_ints(Val *x, Ex *v, int max) {
    if (!x || x->kind != K_TENSOR || x->rank > 1 || !(dt_is_int(x->dt) || x->dt == BOOL)) return -1;
    int64_t n = 1;
    if (x->rank == 1 && !dim_const(x, 0, &n)) return -1;
    if (n > max) return -1;
    if (n == 0) return 0;
    if (x->elems) {
        for (int i = 0; i < n; i++) v[i] = x->elems[i];
        return (int)n;
    }
    const Data *d = val_const(x);
    if (!d) return -1;
    for (int i = 0; i < n; i++) v[i] = e_int(data_get(d, (size_t)i).i);
    return (int)n;
}

// The elements of an input that only the run knows; their number must be known.
static int load_ints(Op *o, int input, Ex *v, int max, Ex load(Val *, int, const Ex *)) {
    Val *x = o->in[input];
    int64_t n = 1;
    if (x->kind != K_TENSOR || x->rank > 1 || !dt_is_int(x->dt) || (x->rank == 1 && !dim_const(x, 0, &n)))
        op_fail(o, "input %d must be a list of integers of known length", input);
    if (n > max) op_fail(o, "input %d has %lld elements, at most %d are expected", input, (long long)n, max);
    for (int i = 0; i < n; i++) {
        Ex at = e_int(i);
        v[i] = load(x, x->rank, &at);
    }
    return (int)n;
}

int need_ints(Op *o, int input, Ex *v, int max) {
    if (input >= o->nin || !o->in[input]) op_fail(o, "input %d is missing", input);
    int n = known_ints(o->in[input], v, max);
    return n < 0 ? load_ints(o, input, v, max, e_load) : n;
}

int need_sizes(Op *o, int input, Ex *v, int max) {
    if (input >= o->nin || !o->in[input]) op_fail(o, "input %d is missing", input);
    int n = known_ints(o->in[input], v, max);
    return n < 0 ? load_ints(o, input, v, max, e_size) : n;
}

int need_axes(Op *o, Val *x, int input, const char *attr, int *axes, int rank) {
    (void)x;
    int64_t raw[MAX_RANK];
    int n = -1;
    if (input >= 0 && input < o->nin && o->in[input]) {
        Ex v[MAX_RANK];
        n = need_ints(o, input, v, MAX_RANK);
        for (int i = 0; i < n; i++) raw[i] = need_const(o, v[i], "an axis");
    } else if (attr) {
        const int64_t *v;
        n = attr_ints(o, attr, &v);
        if (n > MAX_RANK) op_fail(o, "attribute %s has %d elements", attr, n);
        for (int i = 0; i < n; i++) raw[i] = v[i];
    }
    bool seen[MAX_RANK] = {false};
    for (int i = 0; i < n; i++) {
        int a = axis_of(o, raw[i], rank);
        if (seen[a]) op_fail(o, "axis %d is given twice", a);
        seen[a] = true;
    }
    for (int a = 0, i = 0; n > 0 && a < rank; a++)
        if (seen[a]) axes[i++] = a;
    return n;
}

// Strings and complex numbers are moved, chosen and, the strings, compared.
static void need_numbers(Op *o, DType dt) {
    if (dt_is_moved(dt)) op_fail(o, "elements of type %s are not supported here", dt_onnx_name(dt));
}

// ---- leaves ----------------------------------------------------------------------------------

static Val *scalar_const(Op *o, DType dt, Scalar v) {
    Data *d = data_new(dt, 1);
    data_set(d, 0, v);
    return b_const(o->g, d, 0, NULL);
}

Val *scalar(Op *o, DType dt, double v) {
    if (dt_is_float(dt)) return scalar_const(o, dt, (Scalar){.f = v});
    if (dt == STR || (dt_is_moved(dt) && v != 0)) need_numbers(o, dt);
    if (dt_is_moved(dt)) return b_const(o->g, data_new(dt, 1), 0, NULL);
    int64_t i = v >= 0x1p63    ? (int64_t)(uint64_t)fmin(v, 18446744073709549568.0)
                : v <= -0x1p63 ? INT64_MIN
                               : (int64_t)v;
    return scalar_const(o, dt, (Scalar){.i = i});
}

Val *scalar_int(Op *o, DType dt, int64_t v) {
    return dt_is_float(dt) ? scalar(o, dt, (double)v) : scalar_const(o, dt, (Scalar){.i = v});
}

Val *like(Op *o, const Val *x, double v) { return scalar(o, x->dt, v); }

Val *full(Op *o, DType dt, double v, int rank, const Ex *shape) { return expand_to(o, scalar(o, dt, v), rank, shape); }

Val *ints(Op *o, int n, const Ex *v) {
    Ex shape = e_int(n);
    return b_dims(o->g, I64, 1, &shape, v);
}

Val *iota(Op *o, DType dt, Ex n) { return b_iota(o->g, dt, n); }

Val *index_along(Op *o, DType dt, int axis, int rank, const Ex *shape) {
    Ex s[MAX_RANK];
    for (int i = 0; i < rank; i++) s[i] = i == axis ? shape[i] : e_int(1);
    return expand_to(o, reshape(o, iota(o, dt, shape[axis]), rank, s), rank, shape);
}

// ---- pointwise ---------------------------------------------------------------------------------

// The common extent of two under NumPy's rule, where 1 stands for any. Unprovable cases are guarded.
static Ex broadcast_dim(Op *o, Ex a, Ex b) {
    if (a == b || e_is(b, 1)) return a;
    if (e_is(a, 1)) return b;
    int64_t ca, cb;
    bool fixed_a = e_is_const(a, &ca), fixed_b = e_is_const(b, &cb);
    if (fixed_a && fixed_b) op_fail(o, "dimensions %lld and %lld do not broadcast", (long long)ca, (long long)cb);
    const char *what = o->g->origin ? o->g->origin : o->type;
    if (fixed_a || (!fixed_b && a->lo > 1)) { // a is not 1: b is a or 1
        graph_guard(o->g, G_BROADCAST, a, b, what);
        return a;
    }
    if (fixed_b || b->lo > 1) {
        graph_guard(o->g, G_BROADCAST, b, a, what);
        return b;
    }
    Ex m = e_max(a, b);
    graph_guard(o->g, G_BROADCAST, m, a, what);
    graph_guard(o->g, G_BROADCAST, m, b, what);
    return m;
}

int broadcast_shape(Op *o, int n, Val *const *x, Ex *shape) {
    int rank = 0;
    for (int i = 0; i < n; i++)
        if (x[i]->rank > rank) rank = x[i]->rank;
    for (int a = 0; a < rank; a++) shape[a] = e_int(1);
    for (int i = 0; i < n; i++)
        for (int a = 0; a < x[i]->rank; a++) {
            int at = rank - x[i]->rank + a;
            shape[at] = broadcast_dim(o, shape[at], x[i]->shape[a]);
        }
    return rank;
}

Val *expand_to(Op *o, Val *x, int rank, const Ex *shape) {
    if (x->rank < rank) {
        Ex s[MAX_RANK];
        int lead = rank - x->rank;
        for (int i = 0; i < rank; i++) s[i] = i < lead ? e_int(1) : x->shape[i - lead];
        x = b_reshape(o->g, x, rank, s);
    }
    bool same = x->rank == rank;
    for (int i = 0; same && i < rank; i++) same = x->shape[i] == shape[i];
    return same ? x : b_expand(o->g, x, shape);
}

// fn of n operands broadcast to each other. All but select's condition are of one type.
static Val *map_n(Op *o, Fn fn, DType cast_to, int n, Val *const *x) {
    for (int i = fn == FN_select ? 2 : 1; i < n; i++)
        if (x[i]->dt != x[i - 1]->dt)
            op_fail(o, "operands are %s and %s", dt_onnx_name(x[i - 1]->dt), dt_onnx_name(x[i]->dt));
    if (fn != FN_select && !(fn == FN_eq && x[0]->dt == STR)) need_numbers(o, x[0]->dt);
    if (fn == FN_select && x[0]->dt != BOOL) op_fail(o, "a condition is %s", dt_onnx_name(x[0]->dt));
    Ex shape[MAX_RANK];
    int rank = broadcast_shape(o, n, x, shape);
    Val *y[3];
    for (int i = 0; i < n; i++) y[i] = expand_to(o, x[i], rank, shape);
    return b_map(o->g, fn, cast_to, n, y);
}

Val *map1(Op *o, Fn fn, Val *a) {
    need_numbers(o, a->dt);
    return b_map(o->g, fn, DT_NONE, 1, &a);
}

Val *map2(Op *o, Fn fn, Val *a, Val *b) { return map_n(o, fn, DT_NONE, 2, (Val *[]){a, b}); }

Val *map3(Op *o, Fn fn, Val *a, Val *b, Val *c) { return map_n(o, fn, DT_NONE, 3, (Val *[]){a, b, c}); }

Val *cast(Op *o, Val *x, DType dt) {
    if (x->dt == dt) return x;
    need_numbers(o, x->dt);
    need_numbers(o, dt);
    return b_map(o->g, FN_cast, dt, 1, &x);
}

Val *clamp(Op *o, Val *x, double lo, double hi) {
    if (lo > -INFINITY) x = map2(o, FN_max, x, like(o, x, lo));
    if (hi < INFINITY) x = map2(o, FN_min, x, like(o, x, hi));
    return x;
}

Val *greater(Op *o, Val *a, Val *b) { return map2(o, FN_lt, b, a); }

// ---- reductions ------------------------------------------------------------------------------------

Val *reduce(Op *o, Red fn, Val *x, int naxes, const int *axes, bool keepdims) {
    int all[MAX_RANK];
    if (naxes < 0) {
        for (naxes = 0; naxes < x->rank; naxes++) all[naxes] = naxes;
        axes = all;
    }
    if (naxes == 0) return x;
    need_numbers(o, x->dt);
    Val *y = b_reduce(o->g, fn, x, naxes, axes, false);
    if (!keepdims) return y;
    Ex s[MAX_RANK];
    for (int i = 0; i < x->rank; i++) s[i] = x->shape[i];
    for (int i = 0; i < naxes; i++) s[axes[i]] = e_int(1);
    return b_reshape(o->g, y, x->rank, s);
}

Val *reduce_sum(Op *o, Val *x, int naxes, const int *axes, bool keepdims) {
    return reduce(o, RED_ADD, x, naxes, axes, keepdims);
}

Val *reduce_max(Op *o, Val *x, int naxes, const int *axes, bool keepdims) {
    return reduce(o, RED_MAX, x, naxes, axes, keepdims);
}

// sum(x) / n
Val *reduce_mean(Op *o, Val *x, int naxes, const int *axes, bool keepdims) {
    Ex n = e_int(1);
    for (int i = 0; i < (naxes < 0 ? x->rank : naxes); i++) n = e_mul(n, x->shape[naxes < 0 ? i : axes[i]]);
    Val *count = b_dims(o->g, I64, 0, NULL, &n);
    int64_t c;
    count = e_is_const(n, &c) ? scalar_int(o, x->dt, c) : cast(o, count, x->dt);
    return divide(o, reduce_sum(o, x, naxes, axes, keepdims), count);
}
