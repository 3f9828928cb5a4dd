// SPDX-License-Identifier: Apache-2.0
// Comparisons, logic and bits.
#include <string.h>
#include "ops/op.h"

#define BINARY(name, fn) \
    static void name(Op *o) { o->out[0] = map2(o, FN_##fn, o->in[0], second_operand(o)); }
#define SWAPPED(name, fn) \
    static void name(Op *o) { o->out[0] = map2(o, FN_##fn, second_operand(o), o->in[0]); }

BINARY(op_equal, eq)
BINARY(op_less, lt)
BINARY(op_less_equal, le)
SWAPPED(op_greater, lt)
SWAPPED(op_greater_equal, le)
BINARY(op_and, and)
BINARY(op_or, or)
BINARY(op_xor, xor)

static void op_not(Op *o) { o->out[0] = map1(o, FN_not, o->in[0]); }
static void op_isnan(Op *o) { o->out[0] = map1(o, FN_isnan, o->in[0]); }

// y = x is +inf or -inf, as far as asked for
static void op_isinf(Op *o) {
    Val *x = o->in[0];
    bool neg = attr_int(o, "detect_negative") != 0, pos = attr_int(o, "detect_positive") != 0;
    Val *inf = map1(o, FN_isinf, x), *zero = like(o, x, 0);
    if (neg && pos)
        o->out[0] = inf;
    else if (pos)
        o->out[0] = map2(o, FN_and, inf, map2(o, FN_lt, zero, x));
    else if (neg)
        o->out[0] = map2(o, FN_and, inf, map2(o, FN_lt, x, zero));
    else
        o->out[0] = full(o, BOOL, 0, x->rank, x->shape);
}

// y = c ? a : b
static void op_where(Op *o) { o->out[0] = select(o, o->in[0], o->in[1], o->in[2]); }

// y = x << n or x >> n; shifts of at least the width, or negative ones, leave the sign's extension
static void op_bitshift(Op *o) {
    Val *x = o->in[0], *n = o->in[1];
    const char *dir = attr_str(o, "direction");
    bool left = strcmp(dir, "LEFT") == 0;
    if (!left && strcmp(dir, "RIGHT") != 0)
        op_fail(o, "direction is '%s', not LEFT or RIGHT", dir);
    if (!dt_is_signed(x->dt)) {
        o->out[0] = map2(o, left ? FN_shl : FN_shr, x, n);
        return;
    }
    Val *last = scalar_int(o, x->dt, dt_bits(x->dt) - 1), *zero = scalar_int(o, x->dt, 0);
    Val *wide = map2(o, FN_or, map2(o, FN_lt, n, zero), map2(o, FN_lt, last, n));
    Val *safe = select(o, wide, last, n);
    if (left)
        o->out[0] = select(o, wide, zero, map2(o, FN_shl, x, safe));
    else
        o->out[0] = map2(o, FN_shr, x, safe);
}

const OpDef ops_compare[] = {
    {"Equal", 1, op_equal}, {"Less", 1, op_less}, {"LessOrEqual", 12, op_less_equal},
    {"Greater", 1, op_greater}, {"GreaterOrEqual", 12, op_greater_equal}, {"And", 1, op_and},
    {"Or", 1, op_or}, {"Xor", 1, op_xor}, {"Not", 1, op_not}, {"BitwiseAnd", 18, op_and},
    {"BitwiseOr", 18, op_or}, {"BitwiseXor", 18, op_xor}, {"BitwiseNot", 18, op_not},
    {"IsNaN", 9, op_isnan}, {"IsInf", 10, op_isinf}, {"Where", 9, op_where},
    {"BitShift", 11, op_bitshift}, {NULL, 0, NULL},
};
