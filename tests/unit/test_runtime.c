// SPDX-License-Identifier: Apache-2.0
// The runtime helpers: special cases of the functions, total integer arithmetic, packed elements, random bits.
#include "../../runtime/math.h"
#include "../../runtime/types.h"
#include "../../runtime/int.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* Equal as floats: any NaN is a NaN, zeros by sign. */
static int same(float a, float b) {
    return (a != a && b != b) || (a == b && !signbit(a) == !signbit(b));
}

Test(runtime, special_values) {
    const float inf = INFINITY, nan = NAN;
    static const struct { float (*f)(float), x, y; } t[] = {
        { cnn_expf, -INFINITY, 0 }, { cnn_expf, INFINITY, INFINITY }, { cnn_expf, NAN, NAN }, { cnn_expf, -0.f, 1 },
        { cnn_expm1f, -0.f, -0.f }, { cnn_expm1f, -INFINITY, -1 }, { cnn_expm1f, INFINITY, INFINITY },
        { cnn_logf, -0.f, -INFINITY }, { cnn_logf, -1, NAN }, { cnn_logf, INFINITY, INFINITY }, { cnn_logf, 1, 0 },
        { cnn_log2f, 8, 3 }, { cnn_log2f, 1e-45f, -149 }, { cnn_log2f, 0, -INFINITY }, { cnn_log2f, NAN, NAN },
        { cnn_log1pf, -1, -INFINITY }, { cnn_log1pf, -0.f, -0.f }, { cnn_log1pf, -2, NAN },
        { cnn_sinf, INFINITY, NAN }, { cnn_sinf, -0.f, -0.f }, { cnn_cosf, INFINITY, NAN }, { cnn_tanf, -0.f, -0.f },
        { cnn_asinf, 1.5f, NAN }, { cnn_asinf, -0.f, -0.f }, { cnn_acosf, 1, 0 }, { cnn_acosf, -2, NAN },
        { cnn_atanf, -0.f, -0.f }, { cnn_sinhf, -INFINITY, -INFINITY }, { cnn_coshf, -INFINITY, INFINITY },
        { cnn_tanhf, INFINITY, 1 }, { cnn_tanhf, -0.f, -0.f }, { cnn_asinhf, -INFINITY, -INFINITY },
        { cnn_acoshf, 1, 0 }, { cnn_acoshf, 0.5f, NAN }, { cnn_atanhf, -1, -INFINITY }, { cnn_atanhf, 2, NAN },
        { cnn_erff, INFINITY, 1 }, { cnn_erff, -0.f, -0.f }, { cnn_sigmoidf, -INFINITY, 0 }, { cnn_sigmoidf, INFINITY, 1 },
        { cnn_sigmoidf, 0, 0.5f }, { cnn_softplusf, INFINITY, INFINITY }, { cnn_softplusf, -INFINITY, 0 },
        { cnn_sqrtf, -1, NAN }, { cnn_sqrtf, -0.f, -0.f }, { cnn_sqrtf, 1e-45f, 3.74339207e-23f },
        { cnn_floorf, -0.5f, -1 }, { cnn_ceilf, -0.5f, -0.f }, { cnn_roundevenf, 2.5f, 2 }, { cnn_roundevenf, -0.5f, -0.f },
        { cnn_truncf, -0.9f, -0.f }, { cnn_floorf, 1e30f, 1e30f }, { cnn_floorf, -INFINITY, -INFINITY },
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        cr_expect(same(t[i].f(t[i].x), t[i].y), "row %zu: f(%g) is %g, not %g", i, t[i].x, t[i].f(t[i].x), t[i].y);
    cr_expect(same(cnn_fmaxf(nan, 1), nan) && same(cnn_fmaxf(1, nan), nan) && same(cnn_fmaxf(-inf, 1), 1));
    cr_expect(same(cnn_fminf(nan, 1), nan) && same(cnn_fminf(1, nan), nan) && same(cnn_fminf(inf, 1), 1));
    cr_expect(cnn_fmax(NAN, 1) != cnn_fmax(NAN, 1) && cnn_fmin(1, NAN) != cnn_fmin(1, NAN) && cnn_fmax(1, 2) == 2);
    cr_expect(cnn_roundeven(2.5) == 2 && cnn_roundeven(-3.5) == -4 && cnn_roundeven(1e300) == 1e300);
    cr_expect(signbit(cnn_roundeven(-0.25)) && signbit(cnn_roundeven(-0.0)));
}

Test(runtime, powf_special_values) {
    static const float v[] = { 0, 1, 2, 3, 0.5f, 2.5f, INFINITY, NAN, 16777216, 16777215, 1e-45f, 3e38f, 1e-30f };
    for (size_t i = 0; i < sizeof v / sizeof *v * 2; i++)
        for (size_t k = 0; k < sizeof v / sizeof *v * 2; k++) {
            float x = i & 1 ? -v[i / 2] : v[i / 2], y = k & 1 ? -v[k / 2] : v[k / 2];
            float got = cnn_powf(x, y), want = (float)pow((double)x, (double)y);
            cr_expect(same(got, want) || fabsf(got - want) <= 2e-7f * fabsf(want), "pow(%g, %g) is %g, not %g", x, y, got, want);
            got = cnn_atan2f(x, y);
            want = (float)atan2((double)x, (double)y);
            cr_expect(same(got, want) || fabsf(got - want) <= 3e-7f * fabsf(want), "atan2(%g, %g) is %g, not %g", x, y, got, want);
            cr_expect(same(cnn_fmodf(x, y), fmodf(x, y)), "fmod(%g, %g)", x, y);
        }
}

Test(runtime, division_is_total) {
    cr_expect(cnn_div_i32(7, 0) == 0 && cnn_rem_i32(7, 0) == 0 && cnn_mod_i32(7, 0) == 0);
    cr_expect(cnn_div_i32(INT32_MIN, -1) == INT32_MIN && cnn_rem_i32(INT32_MIN, -1) == 0);
    cr_expect(cnn_div_i64(INT64_MIN, -1) == INT64_MIN && cnn_mod_i64(INT64_MIN, -1) == 0);
    cr_expect(cnn_div_i8(-128, -1) == -128 && cnn_div_i16(-32768, -1) == -32768);
    cr_expect(cnn_div_u8(200, 0) == 0 && cnn_rem_u64(5, 0) == 0 && cnn_div_u64(UINT64_MAX, 2) == INT64_MAX);
    for (int a = -128; a < 128; a++)
        for (int b = -128; b < 128; b++)
            if (b) {
                int q = (int8_t)(a / b), r = a % b, m = r && (r < 0) != (b < 0) ? r + b : r;
                cr_assert(cnn_div_i8((int8_t)a, (int8_t)b) == q && cnn_rem_i8((int8_t)a, (int8_t)b) == r);
                cr_assert(cnn_mod_i8((int8_t)a, (int8_t)b) == m && cnn_mod_i64(a, b) == m && cnn_mod_i32(a, b) == m);
            }
}

Test(runtime, arithmetic_wraps) {
    cr_expect(cnn_add_i32(INT32_MAX, 1) == INT32_MIN && cnn_sub_i64(INT64_MIN, 1) == INT64_MAX);
    cr_expect(cnn_mul_i32(65536, 65536) == 0 && cnn_mul_i64(INT64_MAX, 2) == -2 && cnn_mul_u16(65535, 65535) == 1);
    cr_expect(cnn_neg_i32(INT32_MIN) == INT32_MIN && cnn_abs_i64(INT64_MIN) == INT64_MIN && cnn_abs_i32(-5) == 5);
    cr_expect(cnn_shl_u8(255, 4) == 240 && cnn_shl_u8(1, 8) == 0 && cnn_shr_u16(65535, 16) == 0);
    cr_expect(cnn_shl_u32(1, 31) == 0x80000000u && cnn_shl_u32(1, 32) == 0 && cnn_shr_u64(UINT64_MAX, 63) == 1);
    cr_expect(cnn_shl_u64(1, 64) == 0 && cnn_shr_u64(1, UINT64_MAX) == 0);
    cr_expect(cnn_pow_i32(-3, 3) == -27 && cnn_pow_i64(3, 40) == -6289078614652622815 && cnn_pow_i32(0, 0) == 1);
    cr_expect(cnn_pow_i32(-1, -3) == -1 && cnn_pow_i64(2, -1) == 0 && cnn_pow_i64(-1, -2) == 1 && cnn_pow_u32(2, 32) == 0);
}

Test(runtime, conversions_saturate) {
    cr_expect(cnn_f32_to_i32(3e9f) == INT32_MAX && cnn_f32_to_i32(-3e9f) == INT32_MIN && cnn_f32_to_i32(NAN) == 0);
    cr_expect(cnn_f32_to_i32(2147483520.f) == 2147483520 && cnn_f32_to_i32(-1.9f) == -1);
    cr_expect(cnn_f32_to_u8(-1) == 0 && cnn_f32_to_u8(300) == 255 && cnn_f32_to_u8(NAN) == 0 && cnn_f32_to_u8(7.9f) == 7);
    cr_expect(cnn_f32_to_i8(-INFINITY) == -128 && cnn_f32_to_i16(INFINITY) == 32767 && cnn_f64_to_u16(1e9) == 65535);
    cr_expect(cnn_f64_to_i64(1e19) == INT64_MAX && cnn_f64_to_u64(1e30) == UINT64_MAX && cnn_f64_to_u64(-1) == 0);
    cr_expect(cnn_f64_to_i32(2147483647.5) == INT32_MAX && cnn_f64_to_i32(-2147483648.5) == INT32_MIN);
    cr_expect(cnn_f64_to_i64(NAN) == 0 && cnn_f32_to_u32(4e9f) == 4000000000u && cnn_f32_to_u64(-0.5f) == 0);
    cr_expect(cnn_bits_f64(cnn_f64_bits(-1.5)) == -1.5);
}

Test(runtime, index) {
    int status = 0;
    cr_expect(cnn_index(2, 3, &status) == 2 && cnn_index_wrap(-1, 3, &status) == 2 && status == CNN_OK);
    cr_expect(cnn_index(3, 3, &status) == 0 && status == CNN_EINDEX);
    cr_expect(cnn_index(0, 3, &status) == 0 && status == CNN_EINDEX);
    status = 0;
    cr_expect(cnn_index_wrap(-4, 3, &status) == 0 && status == CNN_EINDEX);
    status = 0;
    cr_expect(cnn_index_wrap(INT64_MIN, 3, &status) == 0 && status == CNN_EINDEX);
}

Test(runtime, packed_elements) {
    uint8_t four[] = { 0x21, 0xf8 }, two[] = { 0xe4 }, six[9] = { 0 };
    cr_expect(cnn_get_u4(four, 0) == 1 && cnn_get_u4(four, 1) == 2 && cnn_get_i4(four, 2) == -8 && cnn_get_i4(four, 3) == -1);
    cnn_set_4(four, 1, 0xfbu);
    cr_expect(four[0] == 0xb1);
    for (size_t i = 0; i < 4; i++)
        cr_expect(cnn_get_u2(two, i) == i && cnn_get_i2(two, i) == (i < 2 ? (int)i : (int)i - 4));
    cnn_set_2(two, 2, 0x5u);
    cr_expect(two[0] == 0xd4);
    for (size_t i = 0; i < 12; i++)
        cnn_set_6(six, i, (unsigned)(i * 11 + 40));
    for (size_t i = 0; i < 12; i++)
        cr_expect(cnn_get_6(six, i) == (i * 11 + 40) % 64);
    cr_expect(six[0] == (40 | (51 & 3) << 6));
}

Test(runtime, doubles_round_once) {
    double x = 1 + ldexp(1, -11) + ldexp(1, -40); /* just above the midpoint of two float16 */
    cr_expect(cnn_f64_to_f16(x) == 0x3c01 && cnn_f32_to_f16((float)x) == 0x3c00);
    cr_expect(cnn_f64_to_f16(1e300) == 0x7c00 && cnn_f64_to_bf16(-1e300) == 0xff80 && cnn_f64_to_f16(-1e-300) == 0x8000);
    cr_expect(cnn_f64_to_bf16(1 + ldexp(1, -8) + ldexp(1, -40)) == 0x3f81);
    cr_expect(cnn_f16_to_f32(cnn_f64_to_f16(INFINITY)) == INFINITY && cnn_f64_to_odd(NAN) != cnn_f64_to_odd(NAN));
}

/* The vectors that the authors publish with their code (Random123, kat_vectors). */
Test(runtime, philox) {
    cr_expect(cnn_philox(0, 0, 0) == 0x6627e8d5u);
    cr_expect(cnn_philox(UINT64_MAX, UINT64_MAX, UINT64_MAX) == 0x408f276du);
    cr_expect(cnn_philox(0x299f31d0a4093822u, 0x0370734413198a2eu, 0x85a308d3243f6a88u) == 0xd16cfe09u);
    for (uint64_t i = 0; i < 1000; i++)
        cr_expect(cnn_uniformf(1, 2, i) >= 0 && cnn_uniformf(1, 2, i) < 1);
}
