// SPDX-License-Identifier: Apache-2.0
// Reductions over axes. The axes are an attribute before opset 18 (ReduceSum: 13), an input after; none
// or an empty list means all axes, or with noop_with_empty_axes none.
#include <string.h>
#include "ops/axes.h"

// What is reduced: x over n axes. Where only the run knows the axes, x is a matrix that is reduced over its
// columns, and the result takes this shape.
typedef struct {
    Val *x;
    int n, axes[MAX_RANK];
    bool keep, at_run;
    int rank;
    Ex shape[MAX_RANK];
} Axes;

static void read_axes_at_run(Op *o, Axes *a) {
    Val *x = a->x, *axes = o->in[1], *mask = axis_mask(o, axes, x->rank);
    int64_t n;
    if (!e_is_const(numel(axes), &n)) { // an empty list means all of them, or none
        Val *some = b_dims(o->g, I64, 0, NULL, (Ex[]){numel(axes)});
        if (attr_int_or(o, "noop_with_empty_axes", 0) == 0)
            mask = map2(o, FN_or, mask, map2(o, FN_eq, some, scalar_int(o, I64, 0)));
    }
    a->rank = reduced_shape(o, x, axes, mask, a->keep, a->shape);
    a->x = rows_over(o, x, mask);
    a->n = a->axes[0] = 1;
    a->at_run = true;
    a->keep = false;
}

static Axes read_axes(Op *o) {
    Axes a = {.x = o->in[0], .keep = attr_int(o, "keepdims") != 0};
    int since = strcmp(o->type, "ReduceSum") == 0 ? 13 : 18, rank = a.x->rank;
    if (o->since >= since && axes_at_run(o, 1)) {
        read_axes_at_run(o, &a);
        return a;
    }
    a.n = need_axes(o, a.x, o->since >= since ? 1 : -1, o->since >= since ? NULL : "axes", a.axes, rank);
    if (a.n <= 0 && attr_int_or(o, "noop_with_empty_axes", 0) == 0)
        for (a.n = 0; a.n < rank; a.n++)
            a.axes[a.n] = a.n;
    if (a.n < 0)
        a.n = 0;
    return a;
}

static Val *shaped(Op *o, const Axes *a, Val *y) { return a->at_run ? reshape(o, y, a->rank, a->shape) : y; }

static Val *over(Op *o, Red fn, Val *x, const Axes *a) { return shaped(o, a, reduce(o, fn, x, a->n, a->axes, a->keep)); }

// Integers take functions of real numbers by way of double.
static Val *real(Op *o, Val *x) { return dt_is_float(x->dt) ? x : cast(o, x, F64); }

// y = sum(x)
static void op_reduce_sum(Op *o) {
    Axes a = read_axes(o);
    o->out[0] = over(o, RED_ADD, a.x, &a);
}

// y = prod(x)
static void op_reduce_prod(Op *o) {
    Axes a = read_axes(o);
    o->out[0] = over(o, RED_MUL, a.x, &a);
}

// y = sum(x) / n
static void op_reduce_mean(Op *o) {
    Axes a = read_axes(o);
    o->out[0] = shaped(o, &a, reduce_mean(o, a.x, a.n, a.axes, a.keep));
}

// y = max(x); of booleans whether any is true
static void op_reduce_max(Op *o) {
    Axes a = read_axes(o);
    o->out[0] = over(o, o->in[0]->dt == BOOL ? RED_OR : RED_MAX, a.x, &a);
}

// y = min(x); of booleans whether all are true
static void op_reduce_min(Op *o) {
    Axes a = read_axes(o);
    o->out[0] = over(o, o->in[0]->dt == BOOL ? RED_AND : RED_MIN, a.x, &a);
}

// y = sum(|x|)
static void op_reduce_l1(Op *o) {
    Axes a = read_axes(o);
    o->out[0] = over(o, RED_ADD, map1(o, FN_abs, a.x), &a);
}

// y = sqrt(sum(x*x))
static void op_reduce_l2(Op *o) {
    Axes a = read_axes(o);
    Val *x = real(o, a.x);
    o->out[0] = cast(o, map1(o, FN_sqrt, over(o, RED_ADD, mul(o, x, x), &a)), o->in[0]->dt);
}

// y = sum(x*x)
static void op_reduce_sum_square(Op *o) {
    Axes a = read_axes(o);
    o->out[0] = over(o, RED_ADD, mul(o, a.x, a.x), &a);
}

// y = log(sum(x))
static void op_reduce_log_sum(Op *o) {
    Axes a = read_axes(o);
    o->out[0] = cast(o, map1(o, FN_log, over(o, RED_ADD, real(o, a.x), &a)), o->in[0]->dt);
}

// y = log(sum(exp(x - m))) + m with m = max(x), or 0 where that is infinite
static void op_reduce_log_sum_exp(Op *o) {
    Axes a = read_axes(o);
    Val *x = real(o, a.x);
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
