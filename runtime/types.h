// SPDX-License-Identifier: Apache-2.0
// The small element types of ONNX as bits: floats of 16, 8, 6 and 4 bits, integers of 4 and 2. Encoding
// rounds to nearest, ties to even, as ONNX's Cast; decoding is exact.
#ifndef CNN_RUNTIME_TYPES_H
#define CNN_RUNTIME_TYPES_H
#include <stddef.h>
#include <stdint.h>
#include "math.h"

//@ cnn_decode: cnn_bits_f32
/* The float of a magnitude with m bits of significand: 2^(e - bias) 1.f, or 2^(1 - bias) 0.f. */
static inline float cnn_decode(uint32_t code, uint32_t m, uint32_t bias) {
    float d = (float)(int32_t)code * cnn_bits_f32((128u - bias - m) << 23);
    float n = cnn_bits_f32((code << (23u - m)) + ((127u - bias) << 23));
    return code >> m ? n : d;
}

//@ cnn_encode: cnn_f32_bits cnn_bits_f32
/* The magnitude of a finite float, given as bits: below the normal numbers the sum with a power of two
   rounds at the right bit. A code too large for the type is the caller's to replace. */
static inline uint32_t cnn_encode(uint32_t a, uint32_t m, uint32_t bias) {
    uint32_t c = (151u - bias - m) << 23;
    uint32_t d = cnn_f32_bits(cnn_bits_f32(a) + cnn_bits_f32(c)) - c;
    uint32_t n = ((a + (0x3fffffu >> m) + (a >> (23u - m) & 1u)) >> (23u - m)) - ((127u - bias) << m);
    return a < (128u - bias) << 23 ? d : n;
}

//@ cnn_f64_to_odd: cnn_f32_bits cnn_bits_f32
/* A double as a float rounded to odd: a second rounding to at most 22 bits is then as one rounding
   (Boldo and Melquiond, IEEE Trans. Computers 57, 2008). */
static inline float cnn_f64_to_odd(double x) {
    float f = (float)x;
    double r = (double)f, ar = r < 0 ? -r : r, ax = x < 0 ? -x : x;
    uint32_t u = cnn_f32_bits(f);
    uint32_t t = (u - (ar > ax ? 1u : 0u)) | 1u;
    return cnn_bits_f32(r == x || x != x ? u : t);
}

//@ cnn_f16_to_f32: cnn_decode cnn_f32_bits cnn_bits_f32
static inline float cnn_f16_to_f32(uint16_t h) {
    uint32_t a = h & 0x7fffu, s = ((uint32_t)h & 0x8000u) << 16;
    uint32_t u = cnn_f32_bits(cnn_decode(a, 10, 15)), i = (a << 13) | 0x7f800000u;
    return cnn_bits_f32(s | (a >= 0x7c00u ? i : u));
}

//@ cnn_f32_to_f16: cnn_encode cnn_f32_bits
static inline uint16_t cnn_f32_to_f16(float x) {
    uint32_t u = cnn_f32_bits(x), a = u & 0x7fffffffu, c = cnn_encode(a, 10, 15);
    c = a >= 0x477ff000u ? 0x7c00u : c;
    c = a > 0x7f800000u ? 0x7e00u : c;
    return (uint16_t)((u >> 16 & 0x8000u) | c);
}

//@ cnn_f64_to_f16: cnn_f32_to_f16 cnn_f64_to_odd
static inline uint16_t cnn_f64_to_f16(double x) {
    return cnn_f32_to_f16(cnn_f64_to_odd(x));
}

//@ cnn_bf16_to_f32: cnn_bits_f32
static inline float cnn_bf16_to_f32(uint16_t h) {
    return cnn_bits_f32((uint32_t)h << 16);
}

//@ cnn_f32_to_bf16: cnn_f32_bits
static inline uint16_t cnn_f32_to_bf16(float x) {
    uint32_t u = cnn_f32_bits(x), c = (u + 0x7fffu + (u >> 16 & 1u)) >> 16;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16 & 0x8000u) | 0x7fc0u : c);
}

//@ cnn_f64_to_bf16: cnn_f32_to_bf16 cnn_f64_to_odd
static inline uint16_t cnn_f64_to_bf16(double x) {
    return cnn_f32_to_bf16(cnn_f64_to_odd(x));
}

//@ cnn_e4m3fn_to_f32: cnn_decode cnn_f32_bits cnn_bits_f32
/* No infinities; S.1111.111 is NaN. */
static inline float cnn_e4m3fn_to_f32(uint8_t b) {
    uint32_t a = b & 0x7fu, u = cnn_f32_bits(cnn_decode(a, 3, 7));
    return cnn_bits_f32(((uint32_t)b & 0x80u) << 24 | (a == 0x7fu ? 0x7fc00000u : u));
}

//@ cnn_f32_to_e4m3fn: cnn_encode cnn_f32_bits
/* Above 448 and infinity: 448 if saturate, else NaN. */
static inline uint8_t cnn_f32_to_e4m3fn(float x, int saturate) {
    uint32_t u = cnn_f32_bits(x), a = u & 0x7fffffffu, c = cnn_encode(a, 3, 7);
    c = a > 0x43e80000u ? (saturate ? 0x7eu : 0x7fu) : c;
    c = a > 0x7f800000u ? 0x7fu : c;
    return (uint8_t)((u >> 24 & 0x80u) | c);
}

//@ cnn_e4m3fnuz_to_f32: cnn_decode cnn_f32_bits cnn_bits_f32
/* No infinities, no -0; 0x80 is NaN. */
static inline float cnn_e4m3fnuz_to_f32(uint8_t b) {
    uint32_t u = cnn_f32_bits(cnn_decode(b & 0x7fu, 3, 8)) | ((uint32_t)b & 0x80u) << 24;
    return cnn_bits_f32(b == 0x80u ? 0x7fc00000u : u);
}

//@ cnn_f32_to_e4m3fnuz: cnn_encode cnn_f32_bits
/* Above 240 and infinity: 240 if saturate, else NaN. */
static inline uint8_t cnn_f32_to_e4m3fnuz(float x, int saturate) {
    uint32_t u = cnn_f32_bits(x), a = u & 0x7fffffffu, c = cnn_encode(a, 3, 8);
    uint32_t s = (c != 0 ? 0x80u : 0u) & u >> 24;
    c = a >= 0x43780000u ? 0x7fu : c;
    c = (a >= 0x43780000u && !saturate) || a > 0x7f800000u ? 0u : c;
    s = (a >= 0x43780000u && !saturate) || a > 0x7f800000u ? 0x80u : s;
    return (uint8_t)(c | s);
}

//@ cnn_e5m2_to_f32: cnn_decode cnn_f32_bits cnn_bits_f32
static inline float cnn_e5m2_to_f32(uint8_t b) {
    uint32_t a = b & 0x7fu, u = cnn_f32_bits(cnn_decode(a, 2, 15)), i = a == 0x7cu ? 0x7f800000u : 0x7fc00000u;
    return cnn_bits_f32(((uint32_t)b & 0x80u) << 24 | (a >= 0x7cu ? i : u));
}

//@ cnn_f32_to_e5m2: cnn_encode cnn_f32_bits
/* Above 57344 and infinity: 57344 if saturate, else infinity. */
static inline uint8_t cnn_f32_to_e5m2(float x, int saturate) {
    uint32_t u = cnn_f32_bits(x), a = u & 0x7fffffffu, c = cnn_encode(a, 2, 15);
    c = a >= 0x47700000u ? (saturate ? 0x7bu : 0x7cu) : c;
    c = a > 0x7f800000u ? 0x7eu : c;
    return (uint8_t)((u >> 24 & 0x80u) | c);
}

//@ cnn_e5m2fnuz_to_f32: cnn_decode cnn_f32_bits cnn_bits_f32
/* No infinities, no -0; 0x80 is NaN. */
static inline float cnn_e5m2fnuz_to_f32(uint8_t b) {
    uint32_t u = cnn_f32_bits(cnn_decode(b & 0x7fu, 2, 16)) | ((uint32_t)b & 0x80u) << 24;
    return cnn_bits_f32(b == 0x80u ? 0x7fc00000u : u);
}

//@ cnn_f32_to_e5m2fnuz: cnn_encode cnn_f32_bits
/* Above 57344 and infinity: 57344 if saturate, else NaN. */
static inline uint8_t cnn_f32_to_e5m2fnuz(float x, int saturate) {
    uint32_t u = cnn_f32_bits(x), a = u & 0x7fffffffu, c = cnn_encode(a, 2, 16);
    uint32_t s = (c != 0 ? 0x80u : 0u) & u >> 24;
    c = a >= 0x47700000u ? 0x7fu : c;
    c = (a >= 0x47700000u && !saturate) || a > 0x7f800000u ? 0u : c;
    s = (a >= 0x47700000u && !saturate) || a > 0x7f800000u ? 0x80u : s;
    return (uint8_t)(c | s);
}

//@ cnn_e8m0_to_f32: cnn_bits_f32
/* 2^(b - 127); 255 is NaN. */
static inline float cnn_e8m0_to_f32(uint8_t b) {
    uint32_t u = b ? (uint32_t)b << 23 : 0x400000u;
    return cnn_bits_f32(b == 255u ? 0x7fc00000u : u);
}

//@ cnn_f32_to_e8m0: cnn_f32_bits
/* |x| rounded to a power of two: mode 0 to the nearest, ties up, 1 up, 2 down. Outside [2^-127, 2^127]
   the nearer end if saturate, else NaN. */
static inline uint8_t cnn_f32_to_e8m0(float x, int saturate, int mode) {
    uint32_t a = cnn_f32_bits(x) & 0x7fffffffu;
    uint32_t c = (a + (mode == 1 ? 0x7fffffu : (mode == 0 ? 0x400000u : 0u))) >> 23;
    uint32_t d = a > (mode == 1 ? 0x400000u : (mode == 0 ? 0x5fffffu : 0x7fffffu)) ? 1u : 0u;
    c = a < 0x800000u ? d : c;
    c = a < 0x400000u && !saturate ? 255u : c;
    c = c > 254u ? (saturate ? 254u : 255u) : c;
    return (uint8_t)(a > 0x7f800000u ? 255u : c);
}

//@ cnn_e2m1_to_f32: cnn_decode cnn_f32_bits cnn_bits_f32
/* 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives, in the low four bits. */
static inline float cnn_e2m1_to_f32(uint8_t b) {
    return cnn_bits_f32(cnn_f32_bits(cnn_decode(b & 7u, 1, 1)) | ((uint32_t)b & 8u) << 28);
}

//@ cnn_f32_to_e2m1: cnn_encode cnn_f32_bits
/* Saturates at 6; NaN becomes -0, as in ONNX's reference. */
static inline uint8_t cnn_f32_to_e2m1(float x) {
    uint32_t u = cnn_f32_bits(x), a = u & 0x7fffffffu, c = cnn_encode(a, 1, 1);
    c = (c > 7u ? 7u : c) | (u >> 28 & 8u);
    return (uint8_t)(a > 0x7f800000u ? 8u : c);
}

//@ cnn_e2m3_to_f32: cnn_decode cnn_f32_bits cnn_bits_f32
static inline float cnn_e2m3_to_f32(uint8_t b) {
    return cnn_bits_f32(cnn_f32_bits(cnn_decode(b & 31u, 3, 1)) | ((uint32_t)b & 32u) << 26);
}

//@ cnn_f32_to_e2m3: cnn_encode cnn_f32_bits
/* Saturates at 7.5; NaN becomes -0. */
static inline uint8_t cnn_f32_to_e2m3(float x) {
    uint32_t u = cnn_f32_bits(x), a = u & 0x7fffffffu, c = cnn_encode(a, 3, 1);
    c = (c > 31u ? 31u : c) | (u >> 26 & 32u);
    return (uint8_t)(a > 0x7f800000u ? 32u : c);
}

//@ cnn_e3m2_to_f32: cnn_decode cnn_f32_bits cnn_bits_f32
static inline float cnn_e3m2_to_f32(uint8_t b) {
    return cnn_bits_f32(cnn_f32_bits(cnn_decode(b & 31u, 2, 3)) | ((uint32_t)b & 32u) << 26);
}

//@ cnn_f32_to_e3m2: cnn_encode cnn_f32_bits
/* Saturates at 28; NaN becomes -0. */
static inline uint8_t cnn_f32_to_e3m2(float x) {
    uint32_t u = cnn_f32_bits(x), a = u & 0x7fffffffu, c = cnn_encode(a, 2, 3);
    c = (c > 31u ? 31u : c) | (u >> 26 & 32u);
    return (uint8_t)(a > 0x7f800000u ? 32u : c);
}

//@ cnn_get_u4:
/* Element i of packed 4-bit data: the low half of a byte first. */
static inline uint8_t cnn_get_u4(const uint8_t *p, size_t i) {
    return (uint8_t)(p[i >> 1] >> (i & 1u) * 4u & 15u);
}

//@ cnn_get_i4: cnn_get_u4
static inline int8_t cnn_get_i4(const uint8_t *p, size_t i) {
    return (int8_t)((int)(cnn_get_u4(p, i) ^ 8u) - 8);
}

//@ cnn_set_4:
/* Stores the low four bits of v as element i. Its byte's other half stays. */
static inline void cnn_set_4(uint8_t *p, size_t i, unsigned v) {
    unsigned s = (unsigned)(i & 1u) * 4u;
    p[i >> 1] = (uint8_t)((p[i >> 1] & ~(15u << s)) | (v & 15u) << s);
}

//@ cnn_get_u2:
/* Element i of packed 2-bit data: the low bits of a byte first. */
static inline uint8_t cnn_get_u2(const uint8_t *p, size_t i) {
    return (uint8_t)(p[i >> 2] >> (i & 3u) * 2u & 3u);
}

//@ cnn_get_i2: cnn_get_u2
static inline int8_t cnn_get_i2(const uint8_t *p, size_t i) {
    return (int8_t)((int)(cnn_get_u2(p, i) ^ 2u) - 2);
}

//@ cnn_set_2:
/* Stores the low two bits of v as element i. The rest of its byte stays. */
static inline void cnn_set_2(uint8_t *p, size_t i, unsigned v) {
    unsigned s = (unsigned)(i & 3u) * 2u;
    p[i >> 2] = (uint8_t)((p[i >> 2] & ~(3u << s)) | (v & 3u) << s);
}

//@ cnn_get_6:
/* Element i of packed 6-bit data: four in three bytes, the low bits first. */
static inline uint8_t cnn_get_6(const uint8_t *p, size_t i) {
    size_t b = i * 6u, s = b & 7u;
    unsigned lo = (unsigned)p[b >> 3] >> s, hi = s > 2u ? (unsigned)p[(b >> 3) + 1u] << (8u - s) : 0u;
    return (uint8_t)((lo | hi) & 63u);
}

//@ cnn_set_6:
/* Stores the low six bits of v as element i. Other bits stay. */
static inline void cnn_set_6(uint8_t *p, size_t i, unsigned v) {
    size_t b = i * 6u, s = b & 7u;
    unsigned m = 63u << s, w = (v & 63u) << s;
    p[b >> 3] = (uint8_t)((p[b >> 3] & ~m) | w);
    if (s > 2u)
        p[(b >> 3) + 1u] = (uint8_t)((p[(b >> 3) + 1u] & ~(m >> 8)) | w >> 8);
}
//@ end
#endif
