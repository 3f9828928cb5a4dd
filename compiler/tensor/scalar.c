// SPDX-License-Identifier: Apache-2.0
// Scalar functions as the evaluator knows them: floats in double and rounded to their type, integers
// in 64 bits and wrapped. Shares nothing with the runtime headers that generated code uses.
#include "cnncc.h"
#include <math.h>
#include <string.h>

const FnInfo fn_info[] = {
#define SCALAR(name, arity, result, types, c) { #name, arity, result, types, c },
#include "tensor/scalar.def"
#undef SCALAR
};

// The function of that name, -1 if there is none.
int fn_find(const char *name) {
    for (int i = 0; i < FN_COUNT; i++)
        if (!strcmp(fn_info[i].name, name)) return i;
    return -1;
}

// A binary floating format: stored mantissa bits, the least exponent of a normal number, the greatest
// finite value, and what stands for a value beyond it.
typedef enum { OVER_INF, OVER_NAN, OVER_MAX } Overflow;
typedef struct { int mbits, emin, ebits; double max; Overflow over; bool fnuz; } Format;

static const Format *format_of(DType dt) {
    static const Format f16 = { 10, -14, 5, 65504.0, OVER_INF, false };
    static const Format bf16 = { 7, -126, 8, 0x1.fep127, OVER_INF, false };
    static const Format e4m3fn = { 3, -6, 4, 448.0, OVER_NAN, false };
    static const Format e4m3fnuz = { 3, -7, 4, 240.0, OVER_NAN, true };
    static const Format e5m2 = { 2, -14, 5, 57344.0, OVER_INF, false };
    static const Format e5m2fnuz = { 2, -15, 5, 57344.0, OVER_NAN, true };
    static const Format e2m1 = { 1, 0, 2, 6.0, OVER_MAX, false };
    static const Format e2m3 = { 3, 0, 2, 7.5, OVER_MAX, false };
    static const Format e3m2 = { 2, -2, 3, 28.0, OVER_MAX, false };
    switch (dt) {
    case F16: return &f16;
    case BF16: return &bf16;
    case F8E4M3FN: return &e4m3fn;
    case F8E4M3FNUZ: return &e4m3fnuz;
    case F8E5M2: return &e5m2;
    case F8E5M2FNUZ: return &e5m2fnuz;
    case F4E2M1: return &e2m1;
    case F6E2M3: return &e2m3;
    case F6E3M2: return &e3m2;
    default: return NULL;
    }
}

// Half to even at the format's precision, before any overflow is looked at.
static double round_mantissa(const Format *f, double v) {
    int e;
    (void)frexp(v, &e);
    e--;
    if (e < f->emin) e = f->emin;
    return ldexp(nearbyint(ldexp(v, f->mbits - e)), e - f->mbits);
}

// F8E8M0: the powers of two from 2^-127 to 2^127 and NaN; the nearest, ties up.
static double round_e8m0(double v) {
    if (!(v > 0) || isinf(v)) return (double)NAN;
    int e;
    double m = frexp(v, &e); // v = m * 2^e, m in [0.5, 1)
    e = m >= 0.75 ? e : e - 1;
    if (e < -127) e = -127;
    return e > 127 ? (double)NAN : ldexp(1.0, e);
}

// The nearest value of a float type, ties to even; without saturation: beyond the type's range an
// infinity where it has one, else NaN (those of 4 and 6 bits, which have neither, saturate, and NaN is -0).
double round_to(DType dt, double v) {
    if (dt == F64) return v;
    if (dt == F32) return (double)(float)v;
    if (dt == F8E8M0) return round_e8m0(v);
    const Format *f = format_of(dt);
    if (!f) return v;
    if (isnan(v)) return f->over == OVER_MAX ? -0.0 : v;
    if (v == 0) return f->fnuz ? 0.0 : v;
    double r = isinf(v) ? v : round_mantissa(f, v);
    if (fabs(r) > f->max) {
        if (f->over == OVER_NAN) return copysign((double)NAN, v);
        return copysign(f->over == OVER_INF ? HUGE_VAL : f->max, v);
    }
    return r == 0 && f->fnuz ? 0.0 : r;
}

// As round_to, but to the types of 8 bits and less with saturation: the greatest finite value, also
// for infinities. F8E8M0 rounds up (ONNX's default): zero gives the least value.
static double round_saturating(DType dt, double v) {
    if (dt == F8E8M0) {
        if (isnan(v)) return v;
        int e;
        double m = frexp(v = fabs(v), &e);
        if (v == 0 || (m == 0.5 && !isinf(v))) e--;
        return ldexp(1.0, v == 0 || e < -127 ? -127 : isinf(v) || e > 127 ? 127 : e);
    }
    const Format *f = format_of(dt);
    if (!f || dt == F16 || dt == BF16 || isnan(v)) return round_to(dt, v);
    if (v > f->max) v = f->max;
    if (v < -f->max) v = -f->max;
    return round_to(dt, v);
}

// The low bits of an integer, sign or zero extended; of a bool, whether it is not 0.
int64_t wrap_to(DType dt, int64_t v) {
    uint64_t u = (uint64_t)v;
    switch (dt) {
    case BOOL: return v != 0;
    case U8: return (uint8_t)u;
    case I8: return (int8_t)(uint8_t)u;
    case U16: return (uint16_t)u;
    case I16: return (int16_t)(uint16_t)u;
    case U32: return (uint32_t)u;
    case I32: return (int32_t)(uint32_t)u;
    case U4: return (int64_t)(u & 15);
    case I4: return (int64_t)((u & 15) ^ 8) - 8;
    case U2: return (int64_t)(u & 3);
    case I2: return (int64_t)((u & 3) ^ 2) - 2;
    default: return v;
    }
}

// ---- bits of stored elements ----------------------------------------------------------------------

// The bits of a value that round_to(dt) has been applied to.
static unsigned encode(DType dt, double v) {
    if (dt == F8E8M0) {
        int e;
        if (!(v > 0)) return 255;
        (void)frexp(v, &e);
        return (unsigned)(e - 1 + 127);
    }
    const Format *f = format_of(dt);
    unsigned sign = signbit(v) ? 1u << (f->mbits + f->ebits) : 0;
    unsigned top = (1u << f->ebits) - 1;
    if (isnan(v) || isinf(v)) {
        if (f->fnuz) return 1u << (f->mbits + f->ebits);
        if (f->over == OVER_NAN) return sign | (top << f->mbits) | ((1u << f->mbits) - 1);
        return sign | (top << f->mbits) | (isnan(v) ? 1u << (f->mbits - 1) : 0);
    }
    double a = fabs(v);
    int e;
    (void)frexp(a, &e);
    e--;
    if (a == 0 || e < f->emin) return sign | (unsigned)ldexp(a, f->mbits - f->emin);
    return sign | (((unsigned)(e - f->emin) << f->mbits) + (unsigned)ldexp(a, f->mbits - e));
}

static double decode(DType dt, unsigned b) {
    if (dt == F8E8M0) return b == 255 ? (double)NAN : ldexp(1.0, (int)b - 127);
    const Format *f = format_of(dt);
    unsigned sign = b >> (f->mbits + f->ebits) & 1;
    unsigned top = (1u << f->ebits) - 1, e = b >> f->mbits & top, m = b & ((1u << f->mbits) - 1);
    double v;
    if (f->fnuz && sign && !e && !m) return (double)NAN;
    if (f->over == OVER_INF && e == top) v = m ? (double)NAN : HUGE_VAL;
    else if (f->over == OVER_NAN && !f->fnuz && e == top && m == (1u << f->mbits) - 1) v = (double)NAN;
    else if (!e) v = ldexp(m, f->emin - f->mbits);
    else v = ldexp(m + (1u << f->mbits), (int)e - 1 + f->emin - f->mbits);
    return sign ? -v : v;
}

// All values of F16 and BF16, made once: reading weights is the evaluator's most frequent act.
static double decode16(DType dt, unsigned b) {
    static float table[2][65536];
    static bool made[2];
    int t = dt == BF16;
    if (!made[t]) {
        for (unsigned i = 0; i < 65536; i++) table[t][i] = (float)decode(dt, i);
        made[t] = true;
    }
    return (double)table[t][b];
}

#define LOAD(T, m) { T t; memcpy(&t, p, sizeof t); r.m = t; return r; }
#define STORE(T, x) { T t = (T)(x); memcpy(p, &t, sizeof t); return; }

// The element at p. A string or a complex number gives its address in i.
Scalar scalar_load(DType dt, const void *p) {
    Scalar r = { .i = 0 };
    switch (dt) {
    case F32: LOAD(float, f)
    case F64: LOAD(double, f)
    case F16: case BF16: {
        uint16_t t;
        memcpy(&t, p, sizeof t);
        r.f = decode16(dt, t);
        return r;
    }
    case U8: case BOOL: LOAD(uint8_t, i)
    case I8: LOAD(int8_t, i)
    case U16: LOAD(uint16_t, i)
    case I16: LOAD(int16_t, i)
    case U32: LOAD(uint32_t, i)
    case I32: LOAD(int32_t, i)
    case I64: LOAD(int64_t, i)
    case U64: memcpy(&r.i, p, sizeof r.i); return r;
    case U4: case I4: case U2: case I2: r.i = wrap_to(dt, *(const uint8_t *)p); return r;
    case F8E4M3FN: case F8E4M3FNUZ: case F8E5M2: case F8E5M2FNUZ: case F8E8M0:
        r.f = decode(dt, *(const uint8_t *)p);
        return r;
    case F4E2M1: r.f = decode(dt, *(const uint8_t *)p & 15u); return r;
    case F6E2M3: case F6E3M2: r.f = decode(dt, *(const uint8_t *)p & 63u); return r;
    case STR: case C64: case C128: r.i = (int64_t)(intptr_t)p; return r;
    default: die("load of an element of type %d", (int)dt);
    }
}

// Stores v at p, rounded and wrapped to dt.
void scalar_store(DType dt, void *p, Scalar v) {
    switch (dt) {
    case F32: STORE(float, v.f)
    case F64: STORE(double, v.f)
    case F16: case BF16: STORE(uint16_t, encode(dt, round_to(dt, v.f)))
    case F8E4M3FN: case F8E4M3FNUZ: case F8E5M2: case F8E5M2FNUZ: case F8E8M0: case F4E2M1: case F6E2M3: case F6E3M2:
        STORE(uint8_t, encode(dt, round_to(dt, v.f)))
    case BOOL: STORE(uint8_t, v.i != 0)
    case U8: case I8: case U4: case U2: case I4: case I2: STORE(uint8_t, wrap_to(dt, v.i))
    case U16: case I16: STORE(uint16_t, v.i)
    case U32: case I32: STORE(uint32_t, v.i)
    case U64: case I64: STORE(int64_t, v.i)
    case STR: case C64: case C128: memcpy(p, (const void *)(intptr_t)v.i, dt_size(dt)); return;
    default: die("store of an element of type %d", (int)dt);
    }
}

// ---- functions -------------------------------------------------------------------------------------

static double float_unary(Fn fn, double a) {
    switch (fn) {
    case FN_neg: return -a;
    case FN_abs: return fabs(a);
    case FN_sign: return isnan(a) ? a : (double)((a > 0) - (a < 0));
    case FN_floor: return floor(a);
    case FN_ceil: return ceil(a);
    case FN_round: return nearbyint(a);
    case FN_trunc: return trunc(a);
    case FN_sqrt: return sqrt(a);
    case FN_exp: return exp(a);
    case FN_expm1: return expm1(a);
    case FN_log: return log(a);
    case FN_log1p: return log1p(a);
    case FN_log2: return log2(a);
    case FN_sin: return sin(a);
    case FN_cos: return cos(a);
    case FN_tan: return tan(a);
    case FN_asin: return asin(a);
    case FN_acos: return acos(a);
    case FN_atan: return atan(a);
    case FN_sinh: return sinh(a);
    case FN_cosh: return cosh(a);
    case FN_tanh: return tanh(a);
    case FN_asinh: return asinh(a);
    case FN_acosh: return acosh(a);
    case FN_atanh: return atanh(a);
    case FN_erf: return erf(a);
    case FN_sigmoid: return 1 / (1 + exp(-a));
    case FN_softplus: return a > 0 ? a + log1p(exp(-a)) : log1p(exp(a));
    default: die("scalar function %s of one float", fn_info[fn].name);
    }
}

static double float_binary(Fn fn, double a, double b) {
    double m;
    switch (fn) {
    case FN_add: return a + b;
    case FN_sub: return a - b;
    case FN_mul: return a * b;
    case FN_div: return a / b;
    case FN_min: return isnan(a) || isnan(b) ? a + b : a < b || (a == b && signbit(a)) ? a : b;
    case FN_max: return isnan(a) || isnan(b) ? a + b : a > b || (a == b && signbit(b)) ? a : b;
    case FN_pow: return pow(a, b);
    case FN_atan2: return atan2(a, b);
    case FN_fmod: return fmod(a, b);
    case FN_mod:
        m = fmod(a, b);
        if (m == 0) return copysign(0, b);
        return (m < 0) != (b < 0) ? m + b : m;
    default: die("scalar function %s of two floats", fn_info[fn].name);
    }
}

static int64_t int_pow(DType dt, int64_t a, int64_t b) {
    if (dt_is_signed(dt) && b < 0) return a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0;
    uint64_t r = 1, x = (uint64_t)a;
    for (uint64_t n = (uint64_t)b; n; n >>= 1, x *= x)
        if (n & 1) r *= x;
    return (int64_t)r;
}

// Quotient toward zero, remainders after it; by zero: 0. The least integer by -1 wraps.
static int64_t int_div(Fn fn, bool is_unsigned, int64_t a, int64_t b) {
    if (b == 0) return 0;
    if (is_unsigned) {
        uint64_t x = (uint64_t)a, y = (uint64_t)b;
        return (int64_t)(fn == FN_div ? x / y : x % y);
    }
    if (b == -1) return fn == FN_div ? (int64_t)(0 - (uint64_t)a) : 0;
    if (fn == FN_div) return a / b;
    int64_t m = a % b;
    return fn == FN_mod && m && (m < 0) != (b < 0) ? m + b : m;
}

// The parts of 32 bits multiplied with each other, and added up.
static int64_t int_dot(Fn fn, int64_t a, int64_t b) {
    int64_t sum = 0;
    int bits = fn == FN_dot2 ? 16 : 8;
    DType left = fn == FN_dot2 ? I16 : U8, right = fn == FN_dot2 ? I16 : I8;
    for (int at = 0; at < 32; at += bits) sum += wrap_to(left, (int64_t)((uint64_t)a >> at)) * wrap_to(right, (int64_t)((uint64_t)b >> at));
    return sum;
}

static int64_t int_shift(Fn fn, DType dt, int64_t a, int64_t b) {
    if (b < 0 || b >= dt_bits(dt)) return 0;
    if (fn == FN_shl) return (int64_t)((uint64_t)a << b);
    if (!dt_is_signed(dt)) return (int64_t)((uint64_t)a >> b);
    return a < 0 ? ~(~a >> b) : a >> b;
}

static bool int_less(DType dt, int64_t a, int64_t b) { return dt == U64 ? (uint64_t)a < (uint64_t)b : a < b; }

static int64_t int_eval(Fn fn, DType dt, const Scalar *x) {
    int64_t a = x[0].i, b = fn_info[fn].arity > 1 ? x[1].i : 0;
    uint64_t ua = (uint64_t)a, ub = (uint64_t)b;
    switch (fn) {
    case FN_add: return (int64_t)(ua + ub);
    case FN_sub: return (int64_t)(ua - ub);
    case FN_mul: return (int64_t)(ua * ub);
    case FN_div: case FN_mod: case FN_fmod: return int_div(fn, dt == U64, a, b);
    case FN_min: return int_less(dt, b, a) ? b : a;
    case FN_max: return int_less(dt, a, b) ? b : a;
    case FN_pow: return int_pow(dt, a, b);
    case FN_neg: return (int64_t)(0 - ua);
    case FN_abs: return dt_is_signed(dt) && a < 0 ? (int64_t)(0 - ua) : a;
    case FN_sign: return dt_is_signed(dt) && a < 0 ? -1 : a != 0;
    case FN_and: return a & b;
    case FN_or: return a | b;
    case FN_xor: return a ^ b;
    case FN_not: return dt == BOOL ? !a : ~a;
    case FN_shl: case FN_shr: return int_shift(fn, dt, a, b);
    case FN_dot2: case FN_dot4: return int_dot(fn, a, b);
    default: die("scalar function %s of integers", fn_info[fn].name);
    }
}

static bool str_eq(const DataStr *a, const DataStr *b) { return a->n == b->n && (!a->n || !memcmp(a->p, b->p, a->n)); }

static bool compare(Fn fn, DType from, const Scalar *x) {
    bool f = dt_is_float(from);
    switch (fn) {
    case FN_eq:
        if (from == STR) return str_eq((const DataStr *)(intptr_t)x[0].i, (const DataStr *)(intptr_t)x[1].i);
        return f ? x[0].f == x[1].f : x[0].i == x[1].i;
    case FN_lt: return f ? x[0].f < x[1].f : int_less(from, x[0].i, x[1].i);
    case FN_le: return f ? x[0].f <= x[1].f : !int_less(from, x[1].i, x[0].i);
    case FN_isnan: return f && isnan(x[0].f);
    case FN_isinf: return f && isinf(x[0].f);
    default: die("scalar function %s as a comparison", fn_info[fn].name);
    }
}

// Toward zero; what does not fit takes the nearest bound (of a type below 8 bits: the low bits), NaN 0.
static int64_t float_to_int(DType dt, double v) {
    if (dt == BOOL) return v != 0;
    if (isnan(v)) return 0;
    v = trunc(v);
    int bits = dt_bits(dt) < 8 ? 64 : dt_bits(dt);
    bool is_signed = dt_is_signed(dt) || dt_bits(dt) < 8;
    double hi = ldexp(1.0, is_signed ? bits - 1 : bits), lo = is_signed ? -hi : 0;
    if (v >= hi) return bits == 64 ? (is_signed ? INT64_MAX : -1) : (int64_t)(hi - 1);
    if (v <= lo) return is_signed && bits == 64 ? INT64_MIN : (int64_t)lo;
    return is_signed || bits < 64 ? wrap_to(dt, (int64_t)v) : (int64_t)(uint64_t)v;
}

// The nearest double of an integer; for a narrower target rounded to odd, so that rounding twice is
// rounding once.
static double int_to_double(DType to, DType from, int64_t v) {
    bool neg = from != U64 && v < 0;
    uint64_t u = neg ? 0 - (uint64_t)v : (uint64_t)v;
    if (to != F64 && u >> 53) u = (u & ~UINT64_C(0x7ff)) | ((u & 0x7ff) ? UINT64_C(0x800) : 0);
    return neg ? -(double)u : (double)u;
}

static Scalar cast_eval(Fn fn, DType dt, DType from, Scalar x) {
    Scalar r = { .i = 0 };
    if (fn == FN_bitcast) {
        unsigned char bytes[16] = { 0 };
        scalar_store(from, bytes, x);
        return scalar_load(dt, bytes);
    }
    if (dt_is_moved(from) || dt_is_moved(dt)) die("scalar cast of %s", dt_name(from));
    if (dt_is_float(dt)) {
        double v = dt_is_float(from) ? x.f : int_to_double(dt, from, x.i);
        r.f = fn == FN_castsat ? round_to(dt, v) : round_saturating(dt, v);
    } else {
        r.i = dt_is_float(from) ? float_to_int(dt, x.f) : wrap_to(dt, x.i);
        r.i = wrap_to(dt, r.i);
    }
    return r;
}

// fn applied to x[0 .. arity): dt the result's type, from the operands' (of select: of operands 1, 2;
// DT_NONE: dt). Strings are addresses of DataStr.
Scalar fn_eval(Fn fn, DType dt, DType from, const Scalar *x) {
    Scalar r = { .i = 0 };
    if (from == DT_NONE) from = dt;
    switch (fn_info[fn].result) {
    case R_BOOL: r.i = compare(fn, from, x); return r;
    case R_SELECT: return x[0].i ? x[1] : x[2];
    case R_CAST: return cast_eval(fn, dt, from, x[0]);
    case R_SAME: break;
    }
    if (dt_is_float(dt)) r.f = round_to(dt, fn_info[fn].arity == 1 ? float_unary(fn, x[0].f) : float_binary(fn, x[0].f, x[1].f));
    else r.i = wrap_to(dt, int_eval(fn, dt, x));
    return r;
}
