// SPDX-License-Identifier: Apache-2.0
// Random numbers, all from one primitive of uniform 32-bit integers.
#include <string.h>
#include "ops/random.h"

// The attribute seed: an integer of Dropout, of the others the bits of a float.
static uint64_t seed_of(Op *o, bool *given) {
    *given = attr_has(o, "seed");
    if (*given && strcmp(o->type, "Dropout") == 0)
        return (uint64_t)attr_int(o, "seed");
    float f = *given ? (float)attr_float_or(o, "seed", 0) : 0;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

// Whether the numbers are NumPy's, and with which seed.
static bool from_numpy(Op *o, int64_t *seed) {
    if (!op_numpy_random(o) || !attr_has(o, "seed"))
        return false;
    *seed = strcmp(o->type, "Dropout") == 0 ? attr_int(o, "seed") : (int64_t)attr_float(o, "seed");
    return true;
}

// Uniform in [0, 1): multiples of 2^-24 in float, of 2^-32 in double.
static Val *uniform01(Op *o, DType calc, int rank, const Ex *shape) {
    bool given;
    int64_t numpy;
    if (from_numpy(o, &numpy))
        return cast(o, numpy_random(o, false, numpy, rank, shape), calc);
    uint64_t seed = seed_of(o, &given);
    Val *bits = b_random(o->g, rank, shape, seed, given);
    if (calc == F64)
        return mul(o, cast(o, bits, F64), scalar(o, F64, 0x1p-32));
    bits = map2(o, FN_shr, bits, scalar_int(o, U32, 8));
    return mul(o, cast(o, bits, F32), scalar(o, F32, 0x1p-24));
}

static DType calc_type(DType dt) { return dt == F64 ? F64 : F32; }

static DType dtype_attr(Op *o, DType none) {
    int64_t dt = attr_int_or(o, "dtype", none);
    if (dt <= DT_NONE || dt >= DT_COUNT || dt == STR)
        op_fail(o, "attribute dtype: %lld is not a type of numbers", (long long)dt);
    return (DType)dt;
}

// y = low + (high - low)*u
static Val *uniform_of(Op *o, DType dt, int rank, const Ex *shape) {
    int64_t numpy;
    DType calc = from_numpy(o, &numpy) ? F64 : calc_type(dt);
    double low = attr_float(o, "low"), high = attr_float(o, "high");
    Val *u = uniform01(o, calc, rank, shape);
    return cast(o, add(o, scalar(o, calc, low), mul(o, scalar(o, calc, high - low), u)), dt);
}

// y = mean + scale * sqrt(-2 log u) * cos(2 pi v), Box and Muller's formula
static Val *normal_of(Op *o, DType dt, int rank, const Ex *shape) {
    DType calc = calc_type(dt);
    int64_t numpy;
    if (from_numpy(o, &numpy)) {
        Val *z = mul(o, numpy_random(o, true, numpy, rank, shape), scalar(o, F64, attr_float(o, "scale")));
        return cast(o, add(o, z, scalar(o, F64, attr_float(o, "mean"))), dt);
    }
    Ex s[MAX_RANK + 1];
    if (rank >= MAX_RANK)
        op_fail(o, "%d dimensions", rank);
    s[0] = e_int(2);
    for (int i = 0; i < rank; i++)
        s[i + 1] = shape[i];
    Val *pair = uniform01(o, calc, rank + 1, s);
    Val *u = squeeze(o, slice1(o, pair, 0, 0), 0), *v = squeeze(o, slice1(o, pair, 0, 1), 0);
    u = sub(o, scalar(o, calc, 1), u); // in (0, 1]
    Val *radius = map1(o, FN_sqrt, mul(o, scalar(o, calc, -2), map1(o, FN_log, u)));
    Val *z = mul(o, radius, map1(o, FN_cos, mul(o, scalar(o, calc, 6.28318530717958647692), v)));
    Val *y = add(o, mul(o, z, scalar(o, calc, attr_float(o, "scale"))), scalar(o, calc, attr_float(o, "mean")));
    return cast(o, y, dt);
}

static int shape_attr(Op *o, Ex *s) {
    const int64_t *a;
    int n = attr_ints(o, "shape", &a);
    if (n < 0 || n > MAX_RANK)
        op_fail(o, "attribute shape has %d elements", n);
    for (int i = 0; i < n; i++)
        s[i] = e_int(a[i]);
    return n;
}

static void op_random_uniform(Op *o) {
    Ex s[MAX_RANK];
    int rank = shape_attr(o, s);
    o->out[0] = uniform_of(o, dtype_attr(o, F32), rank, s);
}

static void op_random_normal(Op *o) {
    Ex s[MAX_RANK];
    int rank = shape_attr(o, s);
    o->out[0] = normal_of(o, dtype_attr(o, F32), rank, s);
}

static void op_random_uniform_like(Op *o) {
    o->out[0] = uniform_of(o, dtype_attr(o, o->in[0]->dt), o->in[0]->rank, o->in[0]->shape);
}

static void op_random_normal_like(Op *o) {
    o->out[0] = normal_of(o, dtype_attr(o, o->in[0]->dt), o->in[0]->rank, o->in[0]->shape);
}

// y = u < p
static void op_bernoulli(Op *o) {
    Val *p = o->in[0];
    int64_t numpy;
    if (from_numpy(o, &numpy)) { // its binomial(1, p): the likelier value where u is at most its probability
        Val *u = uniform01(o, F64, p->rank, p->shape), *p64 = cast(o, p, F64), *one = scalar(o, F64, 1);
        Val *rare = map2(o, FN_lt, sub(o, one, p64), u), *often = map2(o, FN_le, u, p64);
        Val *y = select(o, map2(o, FN_le, p64, scalar(o, F64, 0.5)), rare, often);
        o->out[0] = cast(o, y, dtype_attr(o, p->dt));
        return;
    }
    DType calc = calc_type(p->dt);
    Val *u = uniform01(o, calc, p->rank, p->shape);
    o->out[0] = cast(o, map2(o, FN_lt, u, cast(o, p, calc)), dtype_attr(o, p->dt));
}

// y[b, s] = the number of classes c with u >= p[b, 0] + … + p[b, c], p = softmax of the logits x[b, :]
static void op_multinomial(Op *o) {
    Val *x = o->in[0];
    int64_t samples = attr_int(o, "sample_size");
    if (x->rank != 2 || samples < 1)
        op_fail(o, "%lld samples from an input with %d dimensions", (long long)samples, x->rank);
    DType calc = calc_type(x->dt);
    int axis = 1;
    Val *sum = scan(o, RED_ADD, softmax_of(o, cast(o, x, calc), 1, &axis), 1, false, false); // [b, c]
    Val *u = uniform01(o, calc, 3, (Ex[]){dim(x, 0), e_int(samples), e_int(1)});
    Val *past = map2(o, FN_le, unsqueeze(o, sum, 1), u); // [b, s, c]
    axis = 2;
    Val *y = reduce_sum(o, cast(o, past, I64), 1, &axis, false);
    Ex last = e_sub(dim(x, 1), e_int(1));
    y = map2(o, FN_min, y, b_dims(o->g, I64, 0, NULL, &last));
    o->out[0] = cast(o, y, dtype_attr(o, I32));
}

// y = x, mask = true
static void op_dropout_inference(Op *o) {
    Val *x = o->in[0];
    o->out[0] = x;
    if (o->nout > 1)
        o->out[1] = full(o, o->since < 10 ? x->dt : BOOL, 1, x->rank, x->shape);
}

// Of versions before 12 in a training step; later ones by their training_mode, which exporters leave off.
static void dropout_by(Op *o, Val *ratio);

static void op_dropout_old(Op *o) {
    if (!op_training(o)) op_dropout_inference(o);
    else dropout_by(o, scalar(o, calc_type(o->in[0]->dt), attr_float_or(o, "ratio", 0.5)));
}

// y = mask ? x / (1 - ratio) : 0 with mask = u >= ratio
static void dropout_by(Op *o, Val *ratio) {
    Val *x = o->in[0];
    DType calc = calc_type(x->dt);
    Val *mask = map2(o, FN_le, ratio, uniform01(o, calc, x->rank, x->shape));
    Val *one = scalar(o, calc, 1), *scale = cast(o, divide(o, one, sub(o, one, ratio)), x->dt);
    o->out[0] = select(o, mask, mul(o, x, scale), like(o, x, 0));
    if (o->nout > 1) o->out[1] = o->since < 10 ? cast(o, mask, x->dt) : mask;
}

// y = mask ? x / (1 - ratio) : 0 with mask = u >= ratio when training; else as above
static void op_dropout(Op *o) {
    Val *x = o->in[0], *training = o->nin > 2 ? o->in[2] : NULL;
    const Data *on = training ? val_const(training) : NULL;
    if (o->opt->entry) {
        if (op_training(o)) dropout_by(o, o->nin > 1 && o->in[1] ? cast(o, reshape(o, o->in[1], 0, NULL), calc_type(x->dt)) : scalar(o, calc_type(x->dt), 0.5));
        else op_dropout_inference(o);
        return;
    }
    if (!training || (on && on->n == 1 && data_get(on, 0).i == 0)) {
        op_dropout_inference(o);
        return;
    }
    int64_t numpy;
    DType calc = from_numpy(o, &numpy) ? F64 : calc_type(x->dt);
    Val *ratio = o->nin > 1 && o->in[1] ? cast(o, reshape(o, o->in[1], 0, NULL), calc) : scalar(o, calc, 0.5);
    Val *mask = map2(o, FN_le, ratio, uniform01(o, calc, x->rank, x->shape));
    Val *one = scalar(o, calc, 1), *scale = cast(o, divide(o, one, sub(o, one, ratio)), x->dt);
    Val *y = select(o, mask, mul(o, x, scale), like(o, x, 0));
    if (!on) {
        training = reshape(o, training, 0, NULL);
        y = select(o, training, y, x);
        mask = map2(o, FN_or, mask, map1(o, FN_not, training));
    }
    o->out[0] = y;
    if (o->nout > 1)
        o->out[1] = mask;
}

const OpDef ops_random[] = {
    {"RandomUniform", 1, op_random_uniform}, {"RandomNormal", 1, op_random_normal},
    {"RandomUniformLike", 1, op_random_uniform_like}, {"RandomNormalLike", 1, op_random_normal_like},
    {"Bernoulli", 15, op_bernoulli}, {"Multinomial", 7, op_multinomial},
    {"Dropout", 1, op_dropout_old}, {"Dropout", 12, op_dropout}, {NULL, 0, NULL},
};
