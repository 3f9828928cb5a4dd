// SPDX-License-Identifier: Apache-2.0
// Tensors made from nothing or from sizes: constants, ranges, windows, grids.
#include <math.h>
#include <string.h>
#include "ops/op.h"

#define PI 3.14159265358979323846

// An element type given by its number in an attribute.
static DType dtype_attr(Op *o, const char *name, DType none) {
    int64_t dt = attr_int_or(o, name, none);
    if (dt <= DT_NONE || dt >= DT_COUNT || dt == STR)
        op_fail(o, "attribute %s: %lld is not a type of numbers", name, (long long)dt);
    return (DType)dt;
}

static Val *list(Op *o, Data *d, bool is_scalar) {
    Ex n = e_int((int64_t)d->n);
    return b_const(o->g, d, is_scalar ? 0 : 1, &n);
}

static Val *constant_floats(Op *o) {
    const float *v;
    int n = attr_floats(o, "value_floats", &v);
    Data *d = data_new(F32, (size_t)(n > 0 ? n : 0));
    for (int i = 0; i < n; i++)
        data_set(d, (size_t)i, (Scalar){.f = (double)v[i]});
    return list(o, d, false);
}

static Val *constant_ints(Op *o) {
    const int64_t *v;
    int n = attr_ints(o, "value_ints", &v);
    Data *d = data_new(I64, (size_t)(n > 0 ? n : 0));
    for (int i = 0; i < n; i++)
        data_set(d, (size_t)i, (Scalar){.i = v[i]});
    return list(o, d, false);
}

static Val *constant_strings(Op *o, bool is_scalar) {
    const DataStr *v = NULL;
    DataStr one;
    int n = 1;
    if (is_scalar) {
        one.p = attr_str(o, "value_string");
        one.n = strlen(one.p);
        v = &one;
    } else {
        n = attr_strs(o, "value_strings", &v);
    }
    size_t count = (size_t)(n > 0 ? n : 0);
    DataStr *copy = NEWN(DataStr, count + 1);
    if (count)
        memcpy(copy, v, count * sizeof *v);
    return list(o, data_alias(STR, count, copy, false), is_scalar);
}

// y = the attribute that is given
static void op_constant(Op *o) {
    Val *v = NULL;
    if (attr_has(o, "value"))
        v = attr_tensor(o, "value");
    else if (attr_has(o, "sparse_value"))
        v = attr_tensor(o, "sparse_value");
    else if (attr_has(o, "value_float"))
        v = scalar(o, F32, attr_float(o, "value_float"));
    else if (attr_has(o, "value_int"))
        v = scalar_int(o, I64, attr_int(o, "value_int"));
    else if (attr_has(o, "value_floats"))
        v = constant_floats(o);
    else if (attr_has(o, "value_ints"))
        v = constant_ints(o);
    else if (attr_has(o, "value_string") || attr_has(o, "value_strings"))
        v = constant_strings(o, attr_has(o, "value_string"));
    if (!v)
        op_fail(o, "a constant without a value");
    o->out[0] = v;
}

// y[..] = value, by default 0
static void op_constant_of_shape(Op *o) {
    Ex s[MAX_RANK];
    int rank = need_sizes(o, 0, s, MAX_RANK);
    Val *value = attr_has(o, "value") ? attr_tensor(o, "value") : NULL;
    value = value ? reshape(o, value, 0, NULL) : scalar(o, F32, 0);
    o->out[0] = expand_to(o, value, rank, s);
}

// A whole number known when compiling: of integers, of a constant, or cast from either.
static bool whole_number(Val *v, Ex *e) {
    while (dt_is_float(v->dt) && v->node->op == P_map && v->node->fn == FN_cast)
        v = v->node->in[0];
    if (!dt_is_float(v->dt))
        return known_ints(v, e, 1) == 1;
    const Data *d = val_const(v);
    double x = d && d->n == 1 ? data_get(d, 0).f : 0.5;
    if (!(fabs(x) < 0x1p53) || x != floor(x))
        return false;
    *e = e_int((int64_t)x);
    return true;
}

// max(ceil((limit - start) / delta), 0) at the run: in integers (|span| + |delta| - 1) / |delta| where both have
// one sign, in double for floats.
static Ex count_at_run(Op *o) {
    Val *v[3], *n, *one = scalar_int(o, I64, 1), *zero = scalar_int(o, I64, 0);
    bool real = dt_is_float(o->in[0]->dt);
    for (int i = 0; i < 3; i++)
        v[i] = cast(o, reshape(o, o->in[i], 0, NULL), real ? F64 : I64);
    Val *span = sub(o, v[1], v[0]), *step = v[2];
    if (real) {
        n = map2(o, FN_max, cast(o, map1(o, FN_ceil, divide(o, span, step)), I64), zero);
    } else {
        Val *down = map2(o, FN_lt, step, zero);
        span = select(o, down, map1(o, FN_neg, span), span);
        step = map2(o, FN_max, map1(o, FN_abs, step), one);
        n = divide(o, map2(o, FN_max, sub(o, add(o, span, step), one), zero), step);
    }
    return e_size(n, 0, NULL);
}

// max(ceil((limit - start) / delta), 0) of floating constants
static Ex real_count(Op *o) {
    double v[3];
    for (int i = 0; i < 3; i++) {
        const Data *d = val_const(o->in[i]);
        if (!d || d->n != 1)
            return count_at_run(o);
        v[i] = dt_is_float(d->dt) ? data_get(d, 0).f : (double)data_get(d, 0).i;
    }
    double n = ceil((v[1] - v[0]) / v[2]);
    if (!(n < 0x1p53))
        op_fail(o, "a range from %g to %g by %g", v[0], v[1], v[2]);
    return e_int(n < 0 ? 0 : (int64_t)n);
}

// y[i] = start + i*delta, up to limit; half types in float
static void op_range(Op *o) {
    DType dt = o->in[0]->dt, calc = dt == F16 || dt == BF16 ? F32 : dt;
    Ex first, limit, step, n;
    int64_t by = 0, count;
    bool whole = whole_number(o->in[0], &first) && whole_number(o->in[1], &limit) && whole_number(o->in[2], &step);
    if (whole && e_is_const(step, &by) && by != 0 && by != INT64_MIN) {
        Ex span = by > 0 ? e_sub(limit, first) : e_sub(first, limit);
        n = e_max(e_ceil_div(span, e_int(by > 0 ? by : -by)), e_int(0));
    } else {
        n = real_count(o);
    }
    if (whole && by != 0 && dt_is_int(dt) && e_is_const(n, &count) && count <= 64) {
        Ex e[64];
        for (int i = 0; i < count; i++)
            e[i] = e_add(first, e_scale(step, i));
        o->out[0] = b_dims(o->g, dt, 1, &n, e);
        return;
    }
    Val *start = cast(o, reshape(o, o->in[0], 0, NULL), calc), *delta = cast(o, reshape(o, o->in[2], 0, NULL), calc);
    o->out[0] = cast(o, add(o, start, mul(o, iota(o, calc, n), delta)), dt);
}

// y[i, j] = j - i == k
static void op_eye_like(Op *o) {
    Val *x = o->in[0];
    if (x->rank != 2)
        op_fail(o, "input 0 has %d dimensions, needs 2", x->rank);
    Val *row = index_along(o, I64, 0, 2, x->shape), *col = iota(o, I64, dim(x, 1));
    Val *diagonal = map2(o, FN_eq, sub(o, col, row), scalar_int(o, I64, attr_int(o, "k")));
    o->out[0] = cast(o, diagonal, dtype_attr(o, "dtype", x->dt));
}

// y[i] = a0 - a1*cos(2 pi i/m) + a2*cos(4 pi i/m), m = n, or n - 1 if not periodic; in double, then rounded
static void cosine_window(Op *o, double a0, double a1, double a2) {
    Ex n[1];
    if (need_sizes(o, 0, n, 1) != 1)
        op_fail(o, "the size must be a single number");
    Ex m = attr_int(o, "periodic") ? n[0] : e_max(e_sub(n[0], e_int(1)), e_int(1));
    Val *period = cast(o, b_dims(o->g, I64, 0, NULL, &m), F64);
    Val *turn = divide(o, mul(o, iota(o, F64, n[0]), scalar(o, F64, 2 * PI)), period);
    Val *y = sub(o, scalar(o, F64, a0), mul(o, scalar(o, F64, a1), map1(o, FN_cos, turn)));
    if (a2 > 0)
        y = add(o, y, mul(o, scalar(o, F64, a2), map1(o, FN_cos, mul(o, scalar(o, F64, 2), turn))));
    o->out[0] = cast(o, y, dtype_attr(o, "output_datatype", F32));
}

static void op_hann(Op *o) { cosine_window(o, 0.5, 0.5, 0); }
static void op_hamming(Op *o) { cosine_window(o, 25.0 / 46, 21.0 / 46, 0); }
static void op_blackman(Op *o) { cosine_window(o, 0.42, 0.5, 0.08); }

// Positions of n samples in [-1, 1]: at the ends (-1 + 2i/(n-1)) or at centres (-1 + (2i+1)/n).
static Val *normalized(Op *o, DType dt, Ex n, bool ends) {
    Ex parts = ends ? e_max(e_sub(n, e_int(1)), e_int(1)) : n;
    Val *i = mul(o, iota(o, dt, n), scalar(o, dt, 2));
    if (!ends)
        i = add(o, i, scalar(o, dt, 1));
    Val *count = cast(o, b_dims(o->g, I64, 0, NULL, &parts), dt);
    return sub(o, divide(o, i, count), scalar(o, dt, 1));
}

// y[n, d.., r] = theta[n, r, k] + sum over j of theta[n, r, j] * p_j, with p_0 the position along the last axis
static void op_affine_grid(Op *o) {
    Val *theta = o->in[0], *sum = NULL;
    Ex size[5], s[MAX_RANK];
    int k = need_sizes(o, 1, size, 5) - 2;
    if (k < 2 || theta->rank != 3)
        op_fail(o, "a grid of %d axes from %d dimensions", k, theta->rank);
    DType calc = theta->dt == F64 ? F64 : F32;
    bool ends = attr_int(o, "align_corners") != 0;
    for (int j = k; j >= 0; j--) {
        for (int i = 0; i < k + 2; i++)
            s[i] = i == 0 ? dim(theta, 0) : i == k + 1 ? dim(theta, 1) : e_int(1);
        Val *term = cast(o, reshape(o, slice1(o, theta, 2, j), k + 2, s), calc);
        if (j < k) {
            int axis = k - j; // of y
            for (int i = 0; i < k + 2; i++)
                s[i] = i == axis ? size[axis + 1] : e_int(1);
            term = mul(o, term, reshape(o, normalized(o, calc, size[axis + 1], ends), k + 2, s));
        }
        sum = sum ? add(o, sum, term) : term;
    }
    o->out[0] = cast(o, sum, theta->dt);
}

// The frequency f of m mels, 2595*log10(1 + f/700), and back.
static Val *mels_of(Op *o, Val *hertz) {
    Val *y = map1(o, FN_log1p, divide(o, hertz, scalar(o, F64, 700)));
    return mul(o, y, scalar(o, F64, 2595 / log(10)));
}

static Val *hertz_of(Op *o, Val *mels) {
    Val *y = map1(o, FN_expm1, mul(o, mels, scalar(o, F64, log(10) / 2595)));
    return mul(o, y, scalar(o, F64, 700));
}

// y[j, m] = the weight of the spectrum's bin j in the m-th triangle of equal width in mels: rises over the bins
// from lo to mid, falls to hi
static void op_mel_weight_matrix(Op *o) {
    Ex nmel = known_number(o, 0, "num_mel_bins"), length = known_number(o, 1, "dft_length"), one = e_int(1);
    Ex nspec = e_add(e_div(length, e_int(2)), one), ends = e_add(nmel, e_int(2));
    Val *v[5];
    for (int i = 2; i < 5; i++)
        v[i] = cast(o, reshape(o, o->in[i], 0, NULL), F64);
    Val *low = mels_of(o, v[3]), *count = cast(o, b_dims(o->g, I64, 0, NULL, &ends), F64);
    Val *step = divide(o, sub(o, mels_of(o, v[4]), low), count), *samples = b_dims(o->g, I64, 0, NULL, (Ex[]){e_add(length, one)});
    Val *hertz = hertz_of(o, add(o, mul(o, iota(o, F64, ends), step), low));
    Val *bin = map1(o, FN_floor, divide(o, mul(o, cast(o, samples, F64), hertz), v[2]));
    Val *lo = slice(o, bin, 0, e_int(0), nmel, one), *mid = slice(o, bin, 0, one, nmel, one);
    Val *hi = slice(o, bin, 0, e_int(2), nmel, one), *j = reshape(o, iota(o, F64, nspec), 2, (Ex[]){nspec, one});
    Val *zero = scalar(o, F64, 0), *unit = scalar(o, F64, 1);
    Val *up = divide(o, sub(o, j, lo), sub(o, mid, lo)), *down = divide(o, sub(o, hi, j), sub(o, hi, mid));
    up = select(o, map2(o, FN_eq, mid, lo), unit, up);
    up = select(o, map2(o, FN_and, map2(o, FN_le, lo, j), map2(o, FN_le, j, mid)), up, zero);
    Val *y = select(o, map2(o, FN_and, map2(o, FN_le, mid, j), map2(o, FN_lt, j, hi)), down, up);
    o->out[0] = cast(o, y, dtype_attr(o, "output_datatype", F32));
}

const OpDef ops_generate[] = {
    {"Constant", 1, op_constant}, {"ConstantOfShape", 9, op_constant_of_shape}, {"Range", 11, op_range},
    {"EyeLike", 9, op_eye_like}, {"HannWindow", 17, op_hann}, {"HammingWindow", 17, op_hamming},
    {"BlackmanWindow", 17, op_blackman}, {"AffineGrid", 20, op_affine_grid},
    {"MelWeightMatrix", 17, op_mel_weight_matrix}, {NULL, 0, NULL},
};
