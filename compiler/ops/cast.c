// SPDX-License-Identifier: Apache-2.0
// Conversions of element types.
#include <string.h>
#include "ops/nn.h"

static Val *convert(Op *o, Fn fn, Val *x, DType dt) { return b_map(o->g, fn, dt, 1, &x); }

static bool is_float8(DType dt) {
    return dt == F8E4M3FN || dt == F8E4M3FNUZ || dt == F8E5M2 || dt == F8E5M2FNUZ || dt == F8E8M0;
}

// A type given as its number in TensorProto.DataType, or before opset 6 by its name there.
static DType type_attr(Op *o, const char *name) {
    if (o->since >= 6) {
        int64_t to = attr_int(o, name);
        if (to <= DT_NONE || to >= DT_COUNT)
            op_fail(o, "attribute %s: %lld is not an element type", name, (long long)to);
        return (DType)to;
    }
    static const struct { const char *name; DType dt; } types[] = {
        {"FLOAT", F32}, {"UINT8", U8}, {"INT8", I8}, {"UINT16", U16}, {"INT16", I16}, {"INT32", I32},
        {"INT64", I64}, {"STRING", STR}, {"BOOL", BOOL}, {"FLOAT16", F16}, {"DOUBLE", F64},
        {"UINT32", U32}, {"UINT64", U64},
    };
    const char *s = attr_str(o, name);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(s, types[i].name) == 0)
            return types[i].dt;
    op_fail(o, "attribute %s: '%s' is not an element type", name, s);
}

// The power of two below |x|, above it, or next to it (halves up), from the bits of a float: its exponent is
// the byte of a float8e8m0. Without saturation what is rounded past the largest becomes NaN, as infinities are.
static Val *to_e8m0(Op *o, Val *x, const char *mode, bool saturate) {
    Val *bits = convert(o, FN_bitcast, cast(o, x, F32), U32);
    Val *e = map2(o, FN_and, map2(o, FN_shr, bits, scalar_int(o, U32, 23)), scalar_int(o, U32, 255));
    Val *fraction = map2(o, FN_and, bits, scalar_int(o, U32, 0x7fffff)), *up;
    Val *zero = scalar_int(o, U32, 0), *half = scalar_int(o, U32, 0x400000);
    if (strcmp(mode, "nearest") == 0) { // a subnormal's half goes down
        Val *tie = map2(o, FN_and, map2(o, FN_eq, fraction, half), map2(o, FN_lt, zero, e));
        up = map2(o, FN_or, map2(o, FN_lt, half, fraction), tie);
    } else if (strcmp(mode, "up") == 0) {
        up = map2(o, FN_lt, zero, fraction);
    } else if (strcmp(mode, "down") == 0) {
        up = map2(o, FN_lt, fraction, zero);
    } else {
        op_fail(o, "round_mode is '%s', not up, down or nearest", mode);
    }
    up = map2(o, FN_and, up, map2(o, FN_lt, e, scalar_int(o, U32, saturate ? 254 : 255)));
    return convert(o, FN_bitcast, cast(o, add(o, e, cast(o, up, U32)), U8), F8E8M0);
}

static Val *cast_to(Op *o, Val *x, DType dt) {
    if (x->dt == dt)
        return x;
    if (x->dt == STR || dt == STR)
        return cast_string(o, x, dt);
    bool saturate = attr_int_or(o, "saturate", 1) != 0;
    if (dt == F8E8M0) {
        const char *mode = attr_str_or(o, "round_mode", "up");
        return to_e8m0(o, x, mode, saturate);
    }
    return convert(o, is_float8(dt) && !saturate ? FN_castsat : FN_cast, x, dt);
}

static void op_cast(Op *o) { o->out[0] = cast_to(o, o->in[0], type_attr(o, "to")); }
static void op_cast_like(Op *o) { o->out[0] = cast_to(o, o->in[0], o->in[1]->dt); }

// y has the bits of x
static void op_bitcast(Op *o) {
    Val *x = o->in[0];
    DType to = type_attr(o, "to");
    if (dt_is_moved(to) || dt_is_moved(x->dt))
        op_fail(o, "bits of %s as %s are not supported", dt_onnx_name(x->dt), dt_onnx_name(to));
    if (dt_bits(to) != dt_bits(x->dt))
        op_fail(o, "%s and %s do not have the same width", dt_onnx_name(x->dt), dt_onnx_name(to));
    o->out[0] = to == x->dt ? x : convert(o, FN_bitcast, x, to);
}

const OpDef ops_cast[] = {
    {"Cast", 1, op_cast}, {"CastLike", 15, op_cast_like}, {"BitCast", 26, op_bitcast}, {NULL, 0, NULL},
};
