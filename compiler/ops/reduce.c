// SPDX-License-Identifier: Apache-2.0
// Reductions over axes. The axes are an attribute before opset 18 (ReduceSum: 13), an input after; none
// or an empty list means all axes, or with noop_with_empty_axes none.
#include <string.h>
#include "ops/op.h"

typedef struct { int n; int axes[MAX_RANK]; bool keep; } Axes;

static Axes read_axes(Op *o) {
    Axes a = {.keep = attr_int(o, "keepdims") != 0};
    int since = strcmp(o->type, "ReduceSum") == 0 ? 13 : 18, rank = o->in[0]->rank;
    a.n = need_axes(o, o->in[0], o->since >= since ? 1 : -1, o->since >= since ? NULL : "axes", a.axes, rank);
    if (a.n <= 0 && attr_int_or(o, "noop_with_empty_axes", 0) == 0)
        for (a.n = 0; a.n < rank; a.n++)
            a.axes[a.n] = a.n;
    if (a.n < 0)
        a.n = 0;
    return a;
}

static Val *over(Op *o, Red fn, Val *x, const Axes *a) { return reduce(o, fn, x, a->n, a->axes, a->keep); }

// Integers take functions of real numbers by way of double.
static Val *real(Op *o, Val *x) { return dt_is_float(x->dt) ? x : cast(o, x, F64); }

// y = sum(x)
static void op_reduce_sum(Op *o) {
    Axes a = read_axes(o);
    o->out[0] = over(o, RED_ADD, o->in[0], &a);
}

// y = prod(x)
static void op_reduce_prod(Op *o) {
    Axes a = read_axes(o);
    o->out[0] = over(o, RED_MUL, o->in[0], &a);
}

// y = sum(x) / n
static void op_reduce_mean(Op *o) {
    Axes a = read_axes(o);
    o->out[0] = reduce_mean(o, o->in[0], a.n, a.axes, a.keep);
}

// y = max(x); of booleans whether any is true
static void op_reduce_max(Op *o) {
    Axes a = read_axes(o);
    o->out[0] = over(o, o->in[0]->dt == BOOL ? RED_OR : RED_MAX, o->in[0], &a);
}

// y = min(x); of booleans whether all are true
static void op_reduce_min(Op *o) {
    Axes a = read_axes(o);
    o->out[0] = over(o, o->in[0]->dt == BOOL ? RED_AND : RED_MIN, o->in[0], &a);
}

// y = sum(|x|)
static void op_reduce_l1(Op *o) {
    Axes a = read_axes(o);
    o->out[0] = over(o, RED_ADD, map1(o, FN_abs, o->in[0]), &a);
}

// y = sqrt(sum(x*x))
static void op_reduce_l2(Op *o) {
    Axes a = read_axes(o);
    Val *x = real(o, o->in[0]);
    o->out[0] = cast(o, map1(o, FN_sqrt, over(o, RED_ADD, mul(o, x, x), &a)), o->in[0]->dt);
}

// y = sum(x*x)
static void op_reduce_sum_square(Op *o) {
    Axes a = read_axes(o);
    o->out[0] = over(o, RED_ADD, mul(o, o->in[0], o->in[0]), &a);
}

// y = log(sum(x))
static void op_reduce_log_sum(Op *o) {
    Axes a = read_axes(o);
    o->out[0] = cast(o, map1(o, FN_log, over(o, RED_ADD, real(o, o->in[0]), &a)), o->in[0]->dt);
}

// y = log(sum(exp(x - m))) + m with m = max(x), or 0 where that is infinite
static void op_reduce_log_sum_exp(Op *o) {
    Axes a = read_axes(o);
    Val *x = real(o, o->in[0]);
    Val *m = reduce_max(o, x, a.n, a.axes, true);
    m = select(o, map1(o, FN_isinf, m), like(o, x, 0), m);
    Val *y = map1(o, FN_log, over(o, RED_ADD, map1(o, FN_exp, sub(o, x, m)), &a));
    if (!a.keep)
        m = reshape(o, m, y->rank, y->shape);
    o->out[0] = cast(o, add(o, y, m), o->in[0]->dt);
}

// y = the index of an extreme element, the first or the last such
static void arg_reduce(Op *o, Red fn) {
    Val *x = o->in[0];
    int axis = axis_of(o, attr_int(o, "axis"), x->rank);
    Val *y = b_reduce(o->g, fn, x, 1, &axis, attr_int_or(o, "select_last_index", 0) != 0);
    o->out[0] = attr_int(o, "keepdims") ? unsqueeze(o, y, axis) : y;
}

static void op_argmax(Op *o) { arg_reduce(o, RED_ARGMAX); }
static void op_argmin(Op *o) { arg_reduce(o, RED_ARGMIN); }

const OpDef ops_reduce[] = {
    {"ReduceSum", 1, op_reduce_sum}, {"ReduceMean", 1, op_reduce_mean}, {"ReduceMax", 1, op_reduce_max},
    {"ReduceMin", 1, op_reduce_min}, {"ReduceProd", 1, op_reduce_prod}, {"ReduceL1", 1, op_reduce_l1},
    {"ReduceL2", 1, op_reduce_l2}, {"ReduceLogSum", 1, op_reduce_log_sum},
    {"ReduceLogSumExp", 1, op_reduce_log_sum_exp}, {"ReduceSumSquare", 1, op_reduce_sum_square},
    {"ArgMax", 1, op_argmax}, {"ArgMin", 1, op_argmin}, {NULL, 0, NULL},
};
