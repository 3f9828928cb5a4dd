// SPDX-License-Identifier: Apache-2.0
// Integer arithmetic as total functions: where C leaves a result undefined it is defined here once.
// Sums wrap; x / 0 and x % 0 are 0; INT_MIN / -1 is INT_MIN; a shift by the width or more is 0; a float
// out of range converts to the nearest integer, NaN to 0. Also indices, bit casts and random bits.
#ifndef CNN_RUNTIME_INT_H
#define CNN_RUNTIME_INT_H
#include <stdint.h>
#include "abi.h"

//@ cnn_add_i32:
/* a + b modulo 2^32. */
static inline int32_t cnn_add_i32(int32_t a, int32_t b) {
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

//@ cnn_sub_i32:
/* a - b modulo 2^32. */
static inline int32_t cnn_sub_i32(int32_t a, int32_t b) {
    return (int32_t)((uint32_t)a - (uint32_t)b);
}

//@ cnn_mul_i32:
/* a b modulo 2^32. */
static inline int32_t cnn_mul_i32(int32_t a, int32_t b) {
    return (int32_t)((uint32_t)a * (uint32_t)b);
}

//@ cnn_neg_i32:
static inline int32_t cnn_neg_i32(int32_t a) {
    return (int32_t)(0u - (uint32_t)a);
}

//@ cnn_abs_i32: cnn_neg_i32
static inline int32_t cnn_abs_i32(int32_t a) {
    return a < 0 ? cnn_neg_i32(a) : a;
}

//@ cnn_add_i64:
/* a + b modulo 2^64. */
static inline int64_t cnn_add_i64(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

//@ cnn_sub_i64:
/* a - b modulo 2^64. */
static inline int64_t cnn_sub_i64(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

//@ cnn_mul_i64:
/* a b modulo 2^64. */
static inline int64_t cnn_mul_i64(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

//@ cnn_neg_i64:
static inline int64_t cnn_neg_i64(int64_t a) {
    return (int64_t)(0u - (uint64_t)a);
}

//@ cnn_abs_i64: cnn_neg_i64
static inline int64_t cnn_abs_i64(int64_t a) {
    return a < 0 ? cnn_neg_i64(a) : a;
}

//@ cnn_mul_u16:
/* a b modulo 2^16: plain C would multiply as int, and overflow. */
static inline uint16_t cnn_mul_u16(uint16_t a, uint16_t b) {
    return (uint16_t)((uint32_t)a * b);
}

//@ cnn_div_i8:
/* a / b toward zero. */
static inline int8_t cnn_div_i8(int8_t a, int8_t b) {
    int8_t q = (int8_t)(a / (b == 0 || b == -1 ? 1 : b));
    q = b == -1 ? (int8_t)(0 - a) : q;
    return b == 0 ? 0 : q;
}

//@ cnn_rem_i8:
/* The remainder with a's sign (ONNX Mod, fmod = 1). */
static inline int8_t cnn_rem_i8(int8_t a, int8_t b) {
    return (int8_t)(a % (b == 0 || b == -1 ? 1 : b));
}

//@ cnn_mod_i8: cnn_rem_i8
/* The remainder with b's sign (ONNX Mod, fmod = 0; Python's %). */
static inline int8_t cnn_mod_i8(int8_t a, int8_t b) {
    int8_t r = cnn_rem_i8(a, b);
    return (int8_t)(r != 0 && (r < 0) != (b < 0) ? r + b : r);
}

//@ cnn_div_u8:
static inline uint8_t cnn_div_u8(uint8_t a, uint8_t b) {
    return (uint8_t)(b == 0 ? 0 : a / (b == 0 ? 1 : b));
}

//@ cnn_rem_u8:
static inline uint8_t cnn_rem_u8(uint8_t a, uint8_t b) {
    return (uint8_t)(a % (b == 0 ? 1 : b));
}

//@ cnn_shl_u8:
static inline uint8_t cnn_shl_u8(uint8_t a, uint8_t n) {
    return (uint8_t)(n < 8u ? (uint32_t)a << (n & 7u) : 0u);
}

//@ cnn_shr_u8:
static inline uint8_t cnn_shr_u8(uint8_t a, uint8_t n) {
    return (uint8_t)(n < 8u ? (uint32_t)a >> (n & 7u) : 0u);
}

//@ cnn_div_i16:
/* a / b toward zero. */
static inline int16_t cnn_div_i16(int16_t a, int16_t b) {
    int16_t q = (int16_t)(a / (b == 0 || b == -1 ? 1 : b));
    q = b == -1 ? (int16_t)(0 - a) : q;
    return b == 0 ? 0 : q;
}

//@ cnn_rem_i16:
/* The remainder with a's sign (ONNX Mod, fmod = 1). */
static inline int16_t cnn_rem_i16(int16_t a, int16_t b) {
    return (int16_t)(a % (b == 0 || b == -1 ? 1 : b));
}

//@ cnn_mod_i16: cnn_rem_i16
/* The remainder with b's sign (ONNX Mod, fmod = 0; Python's %). */
static inline int16_t cnn_mod_i16(int16_t a, int16_t b) {
    int16_t r = cnn_rem_i16(a, b);
    return (int16_t)(r != 0 && (r < 0) != (b < 0) ? r + b : r);
}

//@ cnn_div_u16:
static inline uint16_t cnn_div_u16(uint16_t a, uint16_t b) {
    return (uint16_t)(b == 0 ? 0 : a / (b == 0 ? 1 : b));
}

//@ cnn_rem_u16:
static inline uint16_t cnn_rem_u16(uint16_t a, uint16_t b) {
    return (uint16_t)(a % (b == 0 ? 1 : b));
}

//@ cnn_shl_u16:
static inline uint16_t cnn_shl_u16(uint16_t a, uint16_t n) {
    return (uint16_t)(n < 16u ? (uint32_t)a << (n & 15u) : 0u);
}

//@ cnn_shr_u16:
static inline uint16_t cnn_shr_u16(uint16_t a, uint16_t n) {
    return (uint16_t)(n < 16u ? (uint32_t)a >> (n & 15u) : 0u);
}

//@ cnn_div_i32: cnn_neg_i32
/* a / b toward zero. */
static inline int32_t cnn_div_i32(int32_t a, int32_t b) {
    int32_t q = (int32_t)(a / (b == 0 || b == -1 ? 1 : b));
    q = b == -1 ? cnn_neg_i32(a) : q;
    return b == 0 ? 0 : q;
}

//@ cnn_rem_i32:
/* The remainder with a's sign (ONNX Mod, fmod = 1). */
static inline int32_t cnn_rem_i32(int32_t a, int32_t b) {
    return (int32_t)(a % (b == 0 || b == -1 ? 1 : b));
}

//@ cnn_mod_i32: cnn_rem_i32
/* The remainder with b's sign (ONNX Mod, fmod = 0; Python's %). */
static inline int32_t cnn_mod_i32(int32_t a, int32_t b) {
    int32_t r = cnn_rem_i32(a, b);
    return (int32_t)(r != 0 && (r < 0) != (b < 0) ? r + b : r);
}

//@ cnn_div_u32:
static inline uint32_t cnn_div_u32(uint32_t a, uint32_t b) {
    return (uint32_t)(b == 0 ? 0 : a / (b == 0 ? 1 : b));
}

//@ cnn_rem_u32:
static inline uint32_t cnn_rem_u32(uint32_t a, uint32_t b) {
    return (uint32_t)(a % (b == 0 ? 1 : b));
}

//@ cnn_shl_u32:
static inline uint32_t cnn_shl_u32(uint32_t a, uint32_t n) {
    return (uint32_t)(n < 32u ? (uint32_t)a << (n & 31u) : 0u);
}

//@ cnn_shr_u32:
static inline uint32_t cnn_shr_u32(uint32_t a, uint32_t n) {
    return (uint32_t)(n < 32u ? a >> (n & 31u) : 0u);
}

//@ cnn_div_i64: cnn_neg_i64
/* a / b toward zero. */
static inline int64_t cnn_div_i64(int64_t a, int64_t b) {
    int64_t q = (int64_t)(a / (b == 0 || b == -1 ? 1 : b));
    q = b == -1 ? cnn_neg_i64(a) : q;
    return b == 0 ? 0 : q;
}

//@ cnn_rem_i64:
/* The remainder with a's sign (ONNX Mod, fmod = 1). */
static inline int64_t cnn_rem_i64(int64_t a, int64_t b) {
    return (int64_t)(a % (b == 0 || b == -1 ? 1 : b));
}

//@ cnn_mod_i64: cnn_rem_i64
/* The remainder with b's sign (ONNX Mod, fmod = 0; Python's %). */
static inline int64_t cnn_mod_i64(int64_t a, int64_t b) {
    int64_t r = cnn_rem_i64(a, b);
    return (int64_t)(r != 0 && (r < 0) != (b < 0) ? r + b : r);
}

//@ cnn_div_u64:
static inline uint64_t cnn_div_u64(uint64_t a, uint64_t b) {
    return (uint64_t)(b == 0 ? 0 : a / (b == 0 ? 1 : b));
}

//@ cnn_rem_u64:
static inline uint64_t cnn_rem_u64(uint64_t a, uint64_t b) {
    return (uint64_t)(a % (b == 0 ? 1 : b));
}

//@ cnn_shl_u64:
static inline uint64_t cnn_shl_u64(uint64_t a, uint64_t n) {
    return (uint64_t)(n < 64u ? (uint64_t)a << (n & 63u) : 0u);
}

//@ cnn_shr_u64:
static inline uint64_t cnn_shr_u64(uint64_t a, uint64_t n) {
    return (uint64_t)(n < 64u ? a >> (n & 63u) : 0u);
}

//@ cnn_pow_u32:
/* x^n modulo 2^32. */
static inline uint32_t cnn_pow_u32(uint32_t x, uint32_t n) {
    uint32_t r = 1;
    for (; n != 0; n >>= 1) {
        r *= n & 1u ? x : 1u;
        x *= x;
    }
    return r;
}

//@ cnn_pow_i32: cnn_pow_u32
/* x^n modulo 2^32; for negative n the real power cut toward zero, 0 for x = 0. */
static inline int32_t cnn_pow_i32(int32_t x, int32_t n) {
    int32_t inv = x == 1 || (x == -1 && !(n & 1)) ? 1 : (x == -1 ? -1 : 0);
    return n < 0 ? inv : (int32_t)cnn_pow_u32((uint32_t)x, (uint32_t)n);
}

//@ cnn_pow_u64:
/* x^n modulo 2^64. */
static inline uint64_t cnn_pow_u64(uint64_t x, uint64_t n) {
    uint64_t r = 1;
    for (; n != 0; n >>= 1) {
        r *= n & 1u ? x : 1u;
        x *= x;
    }
    return r;
}

//@ cnn_pow_i64: cnn_pow_u64
/* x^n modulo 2^64; for negative n the real power cut toward zero, 0 for x = 0. */
static inline int64_t cnn_pow_i64(int64_t x, int64_t n) {
    int64_t inv = x == 1 || (x == -1 && !(n & 1)) ? 1 : (x == -1 ? -1 : 0);
    return n < 0 ? inv : (int64_t)cnn_pow_u64((uint64_t)x, (uint64_t)n);
}

//@ cnn_f32_to_i8:
static inline int8_t cnn_f32_to_i8(float x) {
    float c = x > -128.0f ? x : -128.0f;
    c = c < 127.0f ? c : 127.0f;
    return (int8_t)(int32_t)(x != x ? 0.0f : c);
}

//@ cnn_f32_to_u8:
static inline uint8_t cnn_f32_to_u8(float x) {
    float c = x > 0.0f ? x : 0.0f;
    c = c < 255.0f ? c : 255.0f;
    return (uint8_t)(int32_t)(x != x ? 0.0f : c);
}

//@ cnn_f32_to_i16:
static inline int16_t cnn_f32_to_i16(float x) {
    float c = x > -32768.0f ? x : -32768.0f;
    c = c < 32767.0f ? c : 32767.0f;
    return (int16_t)(int32_t)(x != x ? 0.0f : c);
}

//@ cnn_f32_to_u16:
static inline uint16_t cnn_f32_to_u16(float x) {
    float c = x > 0.0f ? x : 0.0f;
    c = c < 65535.0f ? c : 65535.0f;
    return (uint16_t)(int32_t)(x != x ? 0.0f : c);
}

//@ cnn_f32_to_i32:
static inline int32_t cnn_f32_to_i32(float x) {
    int32_t c = (int32_t)(x >= -2147483648.0f && x < 2147483648.0f ? x : 0.0f);
    c = x < -2147483648.0f ? INT32_MIN : c;
    return x >= 2147483648.0f ? INT32_MAX : c;
}

//@ cnn_f32_to_u32:
static inline uint32_t cnn_f32_to_u32(float x) {
    uint32_t c = (uint32_t)(x >= 0.0f && x < 4294967296.0f ? x : 0.0f);
    c = x < 0.0f ? 0 : c;
    return x >= 4294967296.0f ? UINT32_MAX : c;
}

//@ cnn_f32_to_i64:
static inline int64_t cnn_f32_to_i64(float x) {
    int64_t c = (int64_t)(x >= -9223372036854775808.0f && x < 9223372036854775808.0f ? x : 0.0f);
    c = x < -9223372036854775808.0f ? INT64_MIN : c;
    return x >= 9223372036854775808.0f ? INT64_MAX : c;
}

//@ cnn_f32_to_u64:
static inline uint64_t cnn_f32_to_u64(float x) {
    uint64_t c = (uint64_t)(x >= 0.0f && x < 18446744073709551616.0f ? x : 0.0f);
    c = x < 0.0f ? 0 : c;
    return x >= 18446744073709551616.0f ? UINT64_MAX : c;
}

//@ cnn_f64_to_i8:
static inline int8_t cnn_f64_to_i8(double x) {
    double c = x > -128.0 ? x : -128.0;
    c = c < 127.0 ? c : 127.0;
    return (int8_t)(int32_t)(x != x ? 0.0 : c);
}

//@ cnn_f64_to_u8:
static inline uint8_t cnn_f64_to_u8(double x) {
    double c = x > 0.0 ? x : 0.0;
    c = c < 255.0 ? c : 255.0;
    return (uint8_t)(int32_t)(x != x ? 0.0 : c);
}

//@ cnn_f64_to_i16:
static inline int16_t cnn_f64_to_i16(double x) {
    double c = x > -32768.0 ? x : -32768.0;
    c = c < 32767.0 ? c : 32767.0;
    return (int16_t)(int32_t)(x != x ? 0.0 : c);
}

//@ cnn_f64_to_u16:
static inline uint16_t cnn_f64_to_u16(double x) {
    double c = x > 0.0 ? x : 0.0;
    c = c < 65535.0 ? c : 65535.0;
    return (uint16_t)(int32_t)(x != x ? 0.0 : c);
}

//@ cnn_f64_to_i32:
static inline int32_t cnn_f64_to_i32(double x) {
    int32_t c = (int32_t)(x >= -2147483648.0 && x < 2147483648.0 ? x : 0.0);
    c = x < -2147483648.0 ? INT32_MIN : c;
    return x >= 2147483648.0 ? INT32_MAX : c;
}

//@ cnn_f64_to_u32:
static inline uint32_t cnn_f64_to_u32(double x) {
    uint32_t c = (uint32_t)(x >= 0.0 && x < 4294967296.0 ? x : 0.0);
    c = x < 0.0 ? 0 : c;
    return x >= 4294967296.0 ? UINT32_MAX : c;
}

//@ cnn_f64_to_i64:
static inline int64_t cnn_f64_to_i64(double x) {
    int64_t c = (int64_t)(x >= -9223372036854775808.0 && x < 9223372036854775808.0 ? x : 0.0);
    c = x < -9223372036854775808.0 ? INT64_MIN : c;
    return x >= 9223372036854775808.0 ? INT64_MAX : c;
}

//@ cnn_f64_to_u64:
static inline uint64_t cnn_f64_to_u64(double x) {
    uint64_t c = (uint64_t)(x >= 0.0 && x < 18446744073709551616.0 ? x : 0.0);
    c = x < 0.0 ? 0 : c;
    return x >= 18446744073709551616.0 ? UINT64_MAX : c;
}

//@ cnn_f64_bits:
static inline uint64_t cnn_f64_bits(double x) {
    union { double f; uint64_t u; } v;
    v.f = x;
    return v.u;
}

//@ cnn_bits_f64:
static inline double cnn_bits_f64(uint64_t u) {
    union { uint64_t u; double f; } v;
    v.u = u;
    return v.f;
}

//@ cnn_index:
/* i if it indexes n elements; else 0, and the status says so. */
static inline int64_t cnn_index(int64_t i, int64_t n, int *status) {
    int bad = i < 0 || i >= n;
    *status = bad ? CNN_EINDEX : *status;
    return bad ? 0 : i;
}

//@ cnn_index_wrap: cnn_index cnn_add_i64
/* The same, where a negative i counts from the end. */
static inline int64_t cnn_index_wrap(int64_t i, int64_t n, int *status) {
    return cnn_index(i < 0 ? cnn_add_i64(i, n) : i, n, status);
}

//@ cnn_philox:
/* Random bits number `counter` of `stream` by Philox4x32-10, the first of its four words (Salmon,
   Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011). */
static inline uint32_t cnn_philox(uint64_t seed, uint64_t stream, uint64_t counter) {
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32), c2 = (uint32_t)stream;
    uint32_t c3 = (uint32_t)(stream >> 32), k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    int i;
    for (i = 0; i < 10; i++) {
        uint64_t p = (uint64_t)c0 * 0xd2511f53u, q = (uint64_t)c2 * 0xcd9e8d57u;
        c0 = (uint32_t)(q >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)q;
        c2 = (uint32_t)(p >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    return c0;
}

//@ cnn_uniformf: cnn_philox
/* Uniform in [0, 1): a multiple of 2^-24. */
static inline float cnn_uniformf(uint64_t seed, uint64_t stream, uint64_t counter) {
    return (float)(int32_t)(cnn_philox(seed, stream, counter) >> 8) * 5.96046448e-08f;
}
//@ end
#endif
