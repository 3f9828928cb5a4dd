// SPDX-License-Identifier: Apache-2.0
#include "cnncc.h"

#include <criterion/criterion.h>
#include <math.h>

static double f1(Fn fn, DType dt, double a) { return fn_eval(fn, dt, dt, (Scalar[]){ { .f = a } }).f; }
static int64_t i2(Fn fn, DType dt, int64_t a, int64_t b) { return fn_eval(fn, dt, dt, (Scalar[]){ { .i = a }, { .i = b } }).i; }
static Scalar cast(Fn fn, DType from, Scalar x, DType to) { return fn_eval(fn, to, from, &x); }
static int64_t to_int(double v, DType to) { return cast(FN_cast, F64, (Scalar){ .f = v }, to).i; }
static double to_float(Fn fn, double v, DType to) { return cast(fn, F64, (Scalar){ .f = v }, to).f; }

Test(scalar, integers_wrap) {
    cr_assert_eq(i2(FN_add, I8, 127, 1), -128);
    cr_assert_eq(i2(FN_sub, U8, 0, 1), 255);
    cr_assert_eq(i2(FN_mul, I32, 1 << 20, 1 << 20), 0);
    cr_assert_eq(i2(FN_div, I32, INT32_MIN, -1), INT32_MIN);
    cr_assert_eq(i2(FN_div, I64, INT64_MIN, -1), INT64_MIN);
    cr_assert_eq(i2(FN_div, I32, 7, 0), 0);
    cr_assert_eq(i2(FN_mod, I32, -7, 3), 2);
    cr_assert_eq(i2(FN_fmod, I32, -7, 3), -1);
    cr_assert_eq(i2(FN_mod, I32, 7, 0), 0);
    cr_assert_eq((uint64_t)i2(FN_div, U64, -1, 2), UINT64_MAX / 2);
    cr_assert_eq(i2(FN_shl, U8, 1, 8), 0);
    cr_assert_eq(i2(FN_shr, U32, 8, 2), 2);
    cr_assert_eq(i2(FN_shl, U32, 1, 32), 0);
    cr_assert_eq(i2(FN_pow, I32, -2, 3), -8);
}

Test(scalar, floats_to_integers_saturate) {
    cr_assert_eq(to_int(300, U8), 255);
    cr_assert_eq(to_int(-1.5, U8), 0);
    cr_assert_eq(to_int(-1.5, I8), -1);
    cr_assert_eq(to_int((double)NAN, I32), 0);
    cr_assert_eq(to_int(1e30, I64), INT64_MAX);
    cr_assert_eq(to_int(-1e30, I64), INT64_MIN);
    cr_assert_eq((uint64_t)to_int(1e30, U64), UINT64_MAX);
    cr_assert_eq(to_int(-9, U4), 7); // the low bits
    cr_assert_eq(to_int((double)NAN, BOOL), 1);
}

Test(scalar, small_floats_round_as_onnx_says) {
    cr_assert_eq(to_float(FN_cast, 1000, F8E4M3FN), 448);
    cr_assert(isnan(to_float(FN_castsat, 1000, F8E4M3FN)));
    cr_assert_eq(to_float(FN_cast, -1e9, F8E5M2), -57344);
    cr_assert(isinf(to_float(FN_castsat, -1e9, F8E5M2)));
    cr_assert_eq(to_float(FN_cast, HUGE_VAL, F8E4M3FNUZ), 240);
    cr_assert(!signbit(to_float(FN_cast, -0.0, F8E5M2FNUZ)));
    cr_assert_eq(to_float(FN_cast, 100, F4E2M1), 6);
    cr_assert_eq(to_float(FN_cast, 3, F8E8M0), 4);
    cr_assert_eq(round_to(F16, 65519), 65504);
    cr_assert(isinf(round_to(F16, 65520)));
    cr_assert_eq(round_to(F16, 2049), 2048); // ties to even
    cr_assert_eq(round_to(F16, 0x1p-25), 0);
    cr_assert_eq(round_to(BF16, 0x1.01p0), 1);
}

// Every pattern of a small type reads, writes and reads as the same.
Test(scalar, bits_survive) {
    const DType types[] = { F16, BF16, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F4E2M1, F8E8M0, U4, I4, U2, I2 };
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (unsigned b = 0; b < 1u << dt_bits(types[t]); b++) {
            unsigned char p[2] = { (unsigned char)b, (unsigned char)(b >> 8) }, q[2] = { 0 };
            Scalar v = scalar_load(types[t], p);
            scalar_store(types[t], q, v);
            Scalar w = scalar_load(types[t], q);
            bool same = dt_is_float(types[t]) ? (isnan(v.f) && isnan(w.f)) || (v.f == w.f && signbit(v.f) == signbit(w.f)) : v.i == w.i;
            cr_assert(same, "%s %u", dt_name(types[t]), b);
        }
}

Test(scalar, integers_to_floats_round_once) {
    int64_t v = (INT64_C(1) << 60) + (INT64_C(1) << 36) + 1; // just above a tie of float32
    cr_assert_eq(cast(FN_cast, I64, (Scalar){ .i = v }, F32).f, (double)(float)v);
}

Test(scalar, nan_comes_through) {
    Scalar x[2] = { { .f = (double)NAN }, { .f = 1 } };
    cr_assert(isnan(fn_eval(FN_max, F32, F32, x).f));
    cr_assert(isnan(fn_eval(FN_min, F32, F32, x).f));
    cr_assert_eq(fn_eval(FN_lt, BOOL, F32, x).i, 0);
    cr_assert_eq(f1(FN_round, F32, 2.5), 2);
    cr_assert_eq(f1(FN_softplus, F64, 1000), 1000);
}
