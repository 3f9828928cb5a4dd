// SPDX-License-Identifier: Apache-2.0
// Arithmetic: elementwise operators of one, two and many operands, running sums, determinants.
#include <math.h>
#include "ops/axes.h"

// Input 1 of a binary operator. Before opset 7 the attributes broadcast and axis place its axes at
// `axis` of input 0; without an axis they are aligned at the right, as NumPy does.
Val *second_operand(Op *o) {
    Val *a = o->in[0], *b = o->in[1];
    if (o->since >= 7 || !attr_has(o, "axis") || b->rank == 0)
        return b;
    int at = axis_of(o, attr_int(o, "axis"), a->rank);
    for (int tail = a->rank - at - b->rank; tail > 0; tail--)
        b = unsqueeze(o, b, b->rank);
    return b;
}

#define UNARY(name, fn) \
    static void name(Op *o) { o->out[0] = map1(o, FN_##fn, o->in[0]); }
#define BINARY(name, fn) \
    static void name(Op *o) { o->out[0] = map2(o, FN_##fn, o->in[0], second_operand(o)); }

UNARY(op_abs, abs)
UNARY(op_neg, neg)
UNARY(op_sqrt, sqrt)
UNARY(op_exp, exp)
UNARY(op_log, log)
UNARY(op_sign, sign)
UNARY(op_floor, floor)
UNARY(op_ceil, ceil)
UNARY(op_round, round) // half to even
UNARY(op_sin, sin)
UNARY(op_cos, cos)
UNARY(op_tan, tan)
UNARY(op_asin, asin)
UNARY(op_acos, acos)
UNARY(op_atan, atan)
UNARY(op_sinh, sinh)
UNARY(op_cosh, cosh)
UNARY(op_asinh, asinh)
UNARY(op_acosh, acosh)
UNARY(op_atanh, atanh)
BINARY(op_add, add)
BINARY(op_sub, sub)
BINARY(op_mul, mul)
BINARY(op_div, div) // integers truncate

// y = 1 / x
static void op_reciprocal(Op *o) {
    o->out[0] = divide(o, like(o, o->in[0], 1), o->in[0]);
}

// y = erf(x); integers by way of double
static void op_erf(Op *o) {
    Val *x = o->in[0];
    o->out[0] = dt_is_float(x->dt) ? map1(o, FN_erf, x) : cast(o, map1(o, FN_erf, cast(o, x, F64)), x->dt);
}

// y = a - floor(a/b)*b, the sign of b; with fmod a - trunc(a/b)*b, the sign of a
static void op_mod(Op *o) {
    o->out[0] = map2(o, attr_int(o, "fmod") ? FN_fmod : FN_mod, o->in[0], o->in[1]);
}

// The value that all elements of a constant tensor share.
static bool uniform(Val *v, double *value) {
    const Data *d = val_const(v);
    if (!d || d->n == 0)
        return false;
    for (size_t i = 0; i < (d->splat ? 1 : d->n); i++) {
        Scalar s = data_get(d, i);
        double e = dt_is_float(d->dt) ? s.f : (double)s.i;
        if (i > 0 && !(e == *value))
            return false;
        *value = e;
    }
    return true;
}

// x**e for the exponents that have exact short forms; NULL for others. Broadcasting e must not change x's shape.
static Val *power_of(Op *o, Val *x, Val *exponent) {
    double e = 0;
    if (exponent->rank > x->rank || !e_is(numel(exponent), 1) || !uniform(exponent, &e))
        return NULL;
    if (e == 1)
        return x;
    if (e == 2)
        return mul(o, x, x);
    if (!dt_is_float(x->dt))
        return NULL;
    if (e == -1)
        return divide(o, like(o, x, 1), x);
    if (e == 0.5) // the square root, but +inf for -inf and +0 for -0
        return select(o, map2(o, FN_eq, x, like(o, x, -INFINITY)), like(o, x, INFINITY),
                      add(o, map1(o, FN_sqrt, x), like(o, x, 0)));
    return NULL;
}

// z = x**y in x's type; a floating exponent of an integer base by way of double
static void op_pow(Op *o) {
    Val *x = o->in[0], *y = second_operand(o);
    o->out[0] = power_of(o, x, y);
    if (o->out[0])
        return;
    if (!dt_is_float(x->dt) && dt_is_float(y->dt))
        o->out[0] = cast(o, map2(o, FN_pow, cast(o, x, F64), cast(o, y, F64)), x->dt);
    else
        o->out[0] = map2(o, FN_pow, x, cast(o, y, x->dt));
}

static Val *fold_inputs(Op *o, Fn fn) {
    Val *y = o->in[0];
    for (int i = 1; i < o->nin; i++)
        y = map2(o, fn, y, o->in[i]);
    return y;
}

static void op_sum(Op *o) { o->out[0] = fold_inputs(o, FN_add); }
static void op_max(Op *o) { o->out[0] = fold_inputs(o, FN_max); } // NaN propagates
static void op_min(Op *o) { o->out[0] = fold_inputs(o, FN_min); }

// y = (x0 + x1 + …) / n
static void op_mean(Op *o) {
    Val *s = fold_inputs(o, FN_add);
    o->out[0] = o->nin == 1 ? s : divide(o, s, like(o, s, o->nin));
}

// Clips have their bounds as left operands: so the derivative at a bound is 1 (train/derivative.c).
// y = min(max(x, lo), hi), bounds by attributes
static void op_clip_attr(Op *o) {
    Val *x = o->in[0];
    double lo = attr_float_or(o, "min", -INFINITY), hi = attr_float_or(o, "max", INFINITY);
    if (lo > -INFINITY)
        x = map2(o, FN_max, like(o, x, lo), x);
    if (hi < INFINITY)
        x = map2(o, FN_min, like(o, x, hi), x);
    o->out[0] = x;
}

// y = min(max(x, lo), hi), bounds by inputs; lo > hi gives hi
static void op_clip(Op *o) {
    Val *x = o->in[0];
    if (o->nin > 1 && o->in[1])
        x = map2(o, FN_max, o->in[1]->rank > x->rank ? reshape(o, o->in[1], 0, NULL) : o->in[1], x);
    if (o->nin > 2 && o->in[2])
        x = map2(o, FN_min, o->in[2]->rank > x->rank ? reshape(o, o->in[2], 0, NULL) : o->in[2], x);
    o->out[0] = x;
}

static void running(Op *o, Red fn);

// y[i] = x[0] + … + x[i]
static void op_cumsum(Op *o) { running(o, RED_ADD); }
// y[i] = x[0] * … * x[i]
static void op_cumprod(Op *o) { running(o, RED_MUL); }

// Their axis is a scalar or [1].
static void running(Op *o, Red fn) {
    Val *x = o->in[0];
    Ex e[1];
    if (axes_at_run(o, 1)) {
        by_axis(o, 1, x->rank, x->rank, fn == RED_ADD ? op_cumsum : op_cumprod);
        return;
    }
    if (need_ints(o, 1, e, 1) != 1)
        op_fail(o, "axis is not a single number");
    int axis = axis_of(o, need_const(o, e[0], "axis"), x->rank);
    o->out[0] = scan(o, fn, x, axis, attr_int(o, "exclusive") != 0, attr_int(o, "reverse") != 0);
}

// One step of elimination with partial pivoting on a [.., m, m]: multiplies *det by the pivot, signed by
// the exchange of rows, and gives what remains, [.., m-1, m-1].
static Val *eliminate(Op *o, Val *a, int64_t m, Val **det) {
    int row = a->rank - 2, col = a->rank - 1;
    Val *first = slice1(o, a, col, 0);                                          // [.., m, 1]
    Val *p = b_reduce(o->g, RED_ARGMAX, map1(o, FN_abs, first), 1, &row, false); // [.., 1]
    p = unsqueeze(o, p, row);                                                    // [.., 1, 1]
    Ex shape[MAX_RANK];
    for (int i = 0; i < a->rank; i++)
        shape[i] = i == row ? e_int(1) : a->shape[i];
    Val *pivot_row = take_along(o, a, expand_to(o, p, a->rank, shape), row);     // [.., 1, m]
    Val *pivot = slice1(o, pivot_row, col, 0);                                   // [.., 1, 1]
    Val *moved = map2(o, FN_eq, p, scalar_int(o, I64, 0));
    Val *signed_pivot = squeeze(o, squeeze(o, select(o, moved, pivot, map1(o, FN_neg, pivot)), col), row);
    *det = *det ? mul(o, *det, signed_pivot) : signed_pivot;
    if (m == 1)
        return NULL;
    Val *at = index_along(o, I64, row, a->rank, a->shape);
    Val *swapped = select(o, map2(o, FN_eq, at, p), slice1(o, a, row, 0), a);    // row p holds row 0; row 0 is dropped
    Val *rest = slice(o, swapped, row, e_int(1), e_int(m - 1), e_int(1));
    Val *zero = like(o, a, 0);
    Val *safe = select(o, map2(o, FN_eq, pivot, zero), like(o, a, 1), pivot);
    Val *factor = divide(o, slice1(o, rest, col, 0), safe);
    Val *right = slice(o, rest, col, e_int(1), e_int(m - 1), e_int(1));
    Val *top = slice(o, pivot_row, col, e_int(1), e_int(m - 1), e_int(1));
    return sub(o, right, mul(o, factor, top));
}

// y = det(x) over the last two axes
static void op_det(Op *o) {
    Val *a = o->in[0];
    if (a->rank < 2)
        op_fail(o, "input 0 has %d dimensions, needs at least 2", a->rank);
    int64_t n = need_const(o, dim(a, -1), "the size of the matrices");
    if (n > 64)
        op_fail(o, "matrices of %lld rows: at most 64 are supported", (long long)n);
    graph_guard(o->g, G_EQ, dim(a, -2), dim(a, -1), "square matrices");
    Val *det = n == 0 ? full(o, a->dt, 1, a->rank - 2, a->shape) : NULL;
    for (int64_t m = n; m > 0; m--)
        a = eliminate(o, a, m, &det);
    o->out[0] = det;
}

const OpDef ops_math[] = {
    {"Abs", 1, op_abs}, {"Neg", 1, op_neg}, {"Sqrt", 1, op_sqrt}, {"Exp", 1, op_exp},
    {"Log", 1, op_log}, {"Sign", 9, op_sign}, {"Floor", 1, op_floor}, {"Ceil", 1, op_ceil},
    {"Round", 11, op_round}, {"Sin", 7, op_sin}, {"Cos", 7, op_cos}, {"Tan", 7, op_tan},
    {"Asin", 7, op_asin}, {"Acos", 7, op_acos}, {"Atan", 7, op_atan}, {"Sinh", 9, op_sinh},
    {"Cosh", 9, op_cosh}, {"Asinh", 9, op_asinh}, {"Acosh", 9, op_acosh}, {"Atanh", 9, op_atanh},
    {"Add", 1, op_add}, {"Sub", 1, op_sub}, {"Mul", 1, op_mul}, {"Div", 1, op_div},
    {"Reciprocal", 1, op_reciprocal}, {"Erf", 9, op_erf}, {"Mod", 10, op_mod}, {"Pow", 1, op_pow},
    {"Sum", 1, op_sum}, {"Max", 1, op_max}, {"Min", 1, op_min}, {"Mean", 1, op_mean},
    {"Clip", 1, op_clip_attr}, {"Clip", 11, op_clip}, {"CumSum", 11, op_cumsum},
    {"CumProd", 26, op_cumprod}, {"Det", 11, op_det}, {NULL, 0, NULL},
};
