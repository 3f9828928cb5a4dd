// SPDX-License-Identifier: Apache-2.0
// Scalar functions of the ONNX writer: operators where ONNX has them, compositions where not. Types that
// runtimes have few kernels for are computed in a wider one and cast back.
#include "emit/onnx.h"
#include <math.h>

// The operator of that very meaning, NULL if there is none.
static const char *operator_of(Fn fn) {
    switch (fn) {
    case FN_add: return "Add";
    case FN_sub: return "Sub";
    case FN_mul: return "Mul";
    case FN_div: return "Div";
    case FN_min: return "Min";
    case FN_max: return "Max";
    case FN_pow: return "Pow";
    case FN_neg: return "Neg";
    case FN_abs: return "Abs";
    case FN_sign: return "Sign";
    case FN_floor: return "Floor";
    case FN_ceil: return "Ceil";
    case FN_round: return "Round";
    case FN_sqrt: return "Sqrt";
    case FN_exp: return "Exp";
    case FN_log: return "Log";
    case FN_sin: return "Sin";
    case FN_cos: return "Cos";
    case FN_tan: return "Tan";
    case FN_asin: return "Asin";
    case FN_acos: return "Acos";
    case FN_atan: return "Atan";
    case FN_sinh: return "Sinh";
    case FN_cosh: return "Cosh";
    case FN_tanh: return "Tanh";
    case FN_asinh: return "Asinh";
    case FN_acosh: return "Acosh";
    case FN_atanh: return "Atanh";
    case FN_erf: return "Erf";
    case FN_sigmoid: return "Sigmoid";
    case FN_softplus: return "Softplus";
    case FN_isnan: return "IsNaN";
    case FN_isinf: return "IsInf";
    case FN_eq: return "Equal";
    case FN_lt: return "Less";
    case FN_le: return "LessOrEqual";
    case FN_select: return "Where";
    default: return NULL;
    }
}

static const char *number(Out *o, DType dt, double v) {
    return onnx_number(o, dt, dt_is_float(dt) ? (Scalar){ .f = v } : (Scalar){ .i = (int64_t)v });
}

// atan2(y, x) from atan(y/x): the quadrant by the signs; zeros and infinities of both as y/x gives them.
static const char *atan2_of(Out *o, DType dt, const char *y, const char *x) {
    const char *zero = number(o, dt, 0), *pi = number(o, dt, 3.14159265358979323846), *half = number(o, dt, 1.57079632679489661923);
    const char *a = OP1(o, "Atan", OP2(o, "Div", y, x));
    const char *turn = OP3(o, "Where", OP2(o, "Less", y, zero), OP2(o, "Sub", a, pi), OP2(o, "Add", a, pi));
    const char *up = OP3(o, "Where", OP2(o, "Less", y, zero), OP1(o, "Neg", half), OP3(o, "Where", OP2(o, "Equal", y, zero), zero, half));
    return OP3(o, "Where", OP2(o, "Equal", x, zero), up, OP3(o, "Where", OP2(o, "Less", x, zero), turn, a));
}

static const char *mod_of(Out *o, Fn fn, DType dt, const char *a, const char *b) {
    if (fn == FN_mod && !dt_is_float(dt)) return OP2(o, "Mod", a, b);
    const char *m = onnx_op(o, "Mod", 2, (const char *const[]){ a, b }, (At[]){ { .name = "fmod", .kind = 'i', .i = 1 }, { 0 } });
    if (fn == FN_fmod) return m;
    const char *zero = number(o, dt, 0), *other = OP2(o, "Less", OP2(o, "Mul", m, b), zero); // the signs differ
    return OP3(o, "Where", other, OP2(o, "Add", m, b), m);
}

static const char *composed(Out *o, Fn fn, DType dt, const char *const *x) {
    const char *a = x[0];
    switch (fn) {
    case FN_mod: case FN_fmod: return mod_of(o, fn, dt, a, x[1]);
    case FN_atan2: return atan2_of(o, dt, a, x[1]);
    case FN_trunc: return OP2(o, "Mul", OP1(o, "Sign", a), OP1(o, "Floor", OP1(o, "Abs", a)));
    case FN_expm1: return OP2(o, "Sub", OP1(o, "Exp", a), number(o, dt, 1));
    case FN_log1p: return OP1(o, "Log", OP2(o, "Add", a, number(o, dt, 1)));
    case FN_log2: return OP2(o, "Mul", OP1(o, "Log", a), number(o, dt, 1.44269504088896340736));
    default: break;
    }
    error("--emit-onnx: no operator for the scalar function %s of %s", fn_info[fn].name, dt_name(dt));
    *o->failed = true;
    return onnx_fresh(o);
}

static const char *logic(Out *o, Fn fn, DType dt, const char *const *x) {
    bool b = dt == BOOL;
    if (fn == FN_not) return OP1(o, b ? "Not" : "BitwiseNot", x[0]);
    const char *type = fn == FN_and ? (b ? "And" : "BitwiseAnd") : fn == FN_or ? (b ? "Or" : "BitwiseOr") : b ? "Xor" : "BitwiseXor";
    return OP2(o, type, x[0], x[1]);
}

// By powers of two: BitShift takes unsigned types only, and leaves shifts by the width and more open.
static const char *shift(Out *o, Fn fn, DType dt, const char *const *x) {
    const char *v = onnx_cast(o, x[0], dt, I64), *n = onnx_cast(o, x[1], dt, I64);
    const char *p = onnx_cast(o, OP2(o, "Pow", number(o, F64, 2), onnx_cast(o, n, I64, F64)), F64, I64);
    if (fn == FN_shr) v = OP2(o, "Sub", v, OP2(o, "Mod", v, p)); // Div truncates
    const char *r = OP2(o, fn == FN_shl ? "Mul" : "Div", v, p), *zero = number(o, I64, 0);
    const char *fits = OP2(o, "And", OP2(o, "Less", n, number(o, I64, dt_bits(dt))), OP2(o, "LessOrEqual", zero, n));
    return onnx_cast(o, OP3(o, "Where", fits, r, zero), I64, dt);
}

// dot2, dot4: the parts as integers of their own.
static const char *dot(Out *o, Fn fn, const char *const *x) {
    const int bits = fn == FN_dot2 ? 16 : 8;
    const DType type[2] = { fn == FN_dot2 ? I16 : U8, fn == FN_dot2 ? I16 : I8 };
    const char *sum = NULL;
    for (int at = 0; at < 32; at += bits) {
        const char *part[2];
        for (int k = 0; k < 2; k++) {
            part[k] = at ? shift(o, FN_shr, I32, (const char *const[]){ x[k], number(o, I32, at) }) : x[k];
            part[k] = onnx_cast(o, onnx_cast(o, part[k], I32, type[k]), type[k], I32);
        }
        const char *p = OP2(o, "Mul", part[0], part[1]);
        sum = sum ? OP2(o, "Add", sum, p) : p;
    }
    return sum;
}

static const char *cast(Out *o, const Node *n, const char *x) {
    DType from = n->in[0]->dt, to = n->out[0].dt;
    if (n->fn == FN_bitcast) {
        error("--emit-onnx: bitcast has no operator in opset %d", ONNX_OPSET);
        *o->failed = true;
    }
    if (dt_is_float(from) && dt_is_int(to) && dt_bits(to) < 32) { // runtimes differ beyond the range: saturate
        double hi = ldexp(1, dt_bits(to) - dt_is_signed(to)) - 1, lo = dt_is_signed(to) ? -hi - 1 : 0;
        x = OP3(o, "Clip", onnx_cast(o, x, from, F32), number(o, F32, lo), number(o, F32, hi));
        from = F32;
    }
    bool sat = n->fn == FN_castsat && dt_bits(to) == 8 && dt_is_float(to);
    return onnx_op(o, "Cast", 1, &x, (At[]){ { .name = "to", .kind = 'i', .i = to }, { .name = sat ? "saturate" : NULL, .kind = 'i' }, { 0 } });
}

// The type that a function of dt is computed in.
static DType compute_type(Fn fn, DType dt) {
    if (dt == F32 || dt == F64 || dt == I32 || dt == I64 || dt_is_moved(dt)) return dt;
    if (dt == BOOL) return fn == FN_eq || fn == FN_select ? dt : I32;
    return dt_is_float(dt) ? F32 : I64;
}

const char *onnx_map(Out *o, const Node *n, const char *const *in) {
    Fn fn = (Fn)n->fn;
    DType dt = n->in[n->nin - 1]->dt, to = n->out[0].dt, wide = compute_type(fn, dt);
    if (fn_info[fn].result == R_CAST) return cast(o, n, in[0]);
    if (fn == FN_and || fn == FN_or || fn == FN_xor || fn == FN_not) return logic(o, fn, dt, in);
    if (fn == FN_shl || fn == FN_shr) return shift(o, fn, dt, in);
    if (fn == FN_dot2 || fn == FN_dot4) return dot(o, fn, in);
    const char *x[3], *type = operator_of(fn);
    for (int i = 0; i < n->nin; i++) x[i] = fn == FN_select && i == 0 ? in[0] : onnx_cast(o, in[i], dt, wide);
    const char *r = type ? onnx_op(o, type, n->nin, x, NULL) : composed(o, fn, wide, x);
    return fn_info[fn].result == R_BOOL ? r : onnx_cast(o, r, wide, to);
}
