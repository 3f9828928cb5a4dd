// SPDX-License-Identifier: Apache-2.0
// Activations. Where a branch is not taken its argument is clamped first, so that neither a value nor a
// gradient of the untaken branch can be infinite.
#include <string.h>
#include "ops/op.h"

#define LIKE(v) like(o, x, (v))

static Val *negative(Op *o, Val *x) { return map2(o, FN_lt, x, LIKE(0)); }

// expm1(min(x, 0) / d)
static Val *expm1_below(Op *o, Val *x, double d) {
    Val *low = map2(o, FN_min, x, LIKE(0));
    return map1(o, FN_expm1, d == 1 ? low : divide(o, low, LIKE(d)));
}

// y = max(x, 0)
static void op_relu(Op *o) {
    Val *x = o->in[0];
    o->out[0] = map2(o, FN_max, x, LIKE(0));
}

// y = x < 0 ? alpha*x : x
static void op_leaky_relu(Op *o) {
    Val *x = o->in[0];
    o->out[0] = select(o, negative(o, x), mul(o, LIKE(attr_float(o, "alpha")), x), x);
}

// y = x < 0 ? slope*x : x; before opset 7 a slope [C] belongs to axis 1
static void op_prelu(Op *o) {
    Val *x = o->in[0], *slope = o->in[1];
    if (o->since < 7 && slope->rank == 1)
        for (int i = 2; i < x->rank; i++)
            slope = unsqueeze(o, slope, slope->rank);
    o->out[0] = select(o, negative(o, x), mul(o, slope, x), x);
}

// y = x < 0 ? alpha*(exp(x) - 1) : x
static void op_elu(Op *o) {
    Val *x = o->in[0];
    o->out[0] = select(o, negative(o, x), mul(o, LIKE(attr_float(o, "alpha")), expm1_below(o, x, 1)), x);
}

// y = gamma * (x < 0 ? alpha*(exp(x) - 1) : x)
static void op_selu(Op *o) {
    Val *x = o->in[0];
    double alpha = attr_float(o, "alpha"), gamma = attr_float(o, "gamma");
    o->out[0] = mul(o, LIKE(gamma), select(o, negative(o, x), mul(o, LIKE(alpha), expm1_below(o, x, 1)), x));
}

// y = x < 0 ? alpha*(exp(x/alpha) - 1) : x
static void op_celu(Op *o) {
    Val *x = o->in[0];
    double alpha = attr_float(o, "alpha");
    if (alpha == 0)
        op_fail(o, "alpha is 0");
    o->out[0] = select(o, negative(o, x), mul(o, LIKE(alpha), expm1_below(o, x, alpha)), x);
}

// y = x/2 * (1 + erf(x/sqrt(2))), or x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))
static void op_gelu(Op *o) {
    Val *x = o->in[0], *t;
    const char *approximate = attr_str(o, "approximate");
    if (strcmp(approximate, "tanh") == 0) {
        Val *cube = mul(o, mul(o, x, x), x);
        t = add(o, x, mul(o, LIKE(0.044715), cube));
        t = map1(o, FN_tanh, mul(o, LIKE(0.79788456080286535588), t));
    } else if (strcmp(approximate, "none") == 0) {
        t = map1(o, FN_erf, mul(o, x, LIKE(0.70710678118654752440)));
    } else {
        op_fail(o, "approximate is '%s', not none or tanh", approximate);
    }
    o->out[0] = mul(o, mul(o, LIKE(0.5), x), add(o, LIKE(1), t));
}

// y = max(0, min(1, alpha*x + beta))
static void op_hard_sigmoid(Op *o) {
    Val *x = o->in[0];
    Val *line = add(o, mul(o, LIKE(attr_float(o, "alpha")), x), LIKE(attr_float(o, "beta")));
    o->out[0] = clamp(o, line, 0, 1);
}

// y = x * max(0, min(1, x/6 + 1/2))
static void op_hard_swish(Op *o) {
    Val *x = o->in[0];
    o->out[0] = mul(o, x, clamp(o, add(o, mul(o, LIKE(1.0 / 6), x), LIKE(0.5)), 0, 1));
}

static void op_sigmoid(Op *o) { o->out[0] = map1(o, FN_sigmoid, o->in[0]); }
static void op_softplus(Op *o) { o->out[0] = map1(o, FN_softplus, o->in[0]); }
static void op_tanh(Op *o) { o->out[0] = map1(o, FN_tanh, o->in[0]); }

// y = x * tanh(log(1 + exp(x)))
static void op_mish(Op *o) {
    Val *x = o->in[0];
    o->out[0] = mul(o, x, map1(o, FN_tanh, map1(o, FN_softplus, x)));
}

// y = x / (1 + |x|)
static void op_softsign(Op *o) {
    Val *x = o->in[0];
    o->out[0] = divide(o, x, add(o, LIKE(1), map1(o, FN_abs, x)));
}

// x * sigmoid(alpha*x)
static Val *swish_of(Op *o, Val *x) {
    double alpha = attr_float(o, "alpha");
    return mul(o, x, map1(o, FN_sigmoid, alpha == 1 ? x : mul(o, LIKE(alpha), x)));
}

// y = x * sigmoid(alpha*x)
static void op_swish(Op *o) { o->out[0] = swish_of(o, o->in[0]); }

// y = a * sigmoid(alpha*a) * b
static void op_swiglu(Op *o) { o->out[0] = mul(o, swish_of(o, o->in[0]), o->in[1]); }

// y = x > alpha ? x : 0
static void op_thresholded_relu(Op *o) {
    Val *x = o->in[0];
    o->out[0] = select(o, greater(o, x, LIKE(attr_float(o, "alpha"))), x, LIKE(0));
}

// y = x < -lambd ? x + bias : x > lambd ? x - bias : 0; integers by way of double
static void op_shrink(Op *o) {
    Val *in = o->in[0], *x = dt_is_float(in->dt) ? in : cast(o, in, F64);
    double lambd = attr_float(o, "lambd"), bias = attr_float(o, "bias");
    Val *high = select(o, greater(o, x, LIKE(lambd)), sub(o, x, LIKE(bias)), LIKE(0));
    Val *y = select(o, map2(o, FN_lt, x, LIKE(-lambd)), add(o, x, LIKE(bias)), high);
    o->out[0] = y->dt == in->dt ? y : cast(o, y, in->dt);
}

const OpDef ops_activation[] = {
    {"Relu", 1, op_relu}, {"LeakyRelu", 1, op_leaky_relu}, {"PRelu", 1, op_prelu}, {"Elu", 1, op_elu},
    {"Selu", 1, op_selu}, {"Celu", 12, op_celu}, {"Gelu", 20, op_gelu},
    {"HardSigmoid", 1, op_hard_sigmoid}, {"HardSwish", 14, op_hard_swish}, {"Sigmoid", 1, op_sigmoid},
    {"Softplus", 1, op_softplus}, {"Tanh", 1, op_tanh}, {"Mish", 18, op_mish},
    {"Softsign", 1, op_softsign}, {"Swish", 24, op_swish}, {"SwiGLU", 28, op_swiglu},
    {"ThresholdedRelu", 10, op_thresholded_relu}, {"Shrink", 9, op_shrink}, {NULL, 0, NULL},
};
