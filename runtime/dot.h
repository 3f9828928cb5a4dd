// SPDX-License-Identifier: Apache-2.0
// Sums of products of the parts of 32 bits, for integer contractions: scalars, and GNU vectors by the instruction
// that processors have for them. Every form gives the same bits.
#ifndef CNN_RUNTIME_DOT_H
#define CNN_RUNTIME_DOT_H
#include <stdint.h>
#include "abi.h"

//@ cnn_dot2:
/* The sum of the products of two signed 16-bit parts, modulo 2^32. */
#if defined(__GNUC__)
__attribute__((unused)) /* where all are vectors */
#endif
static inline int32_t cnn_dot2(int32_t a, int32_t b) {
    const uint32_t x = (uint32_t)a, y = (uint32_t)b;
    const int32_t low = (int32_t)(int16_t)(uint16_t)(x & 0xffff) * (int16_t)(uint16_t)(y & 0xffff);
    const int32_t high = (int32_t)(int16_t)(uint16_t)(x >> 16) * (int16_t)(uint16_t)(y >> 16);
    return (int32_t)((uint32_t)low + (uint32_t)high);
}

//@ cnn_dot4:
/* The sum of the products of four 8-bit parts, unsigned ones of a and signed ones of b. */
#if defined(__GNUC__)
__attribute__((unused)) /* where all are vectors */
#endif
static inline int32_t cnn_dot4(int32_t a, int32_t b) {
    int32_t sum = 0;
    for (int i = 0; i < 32; i += 8)
        sum += (int32_t)(((uint32_t)a >> i) & 255) * (int8_t)(uint8_t)(((uint32_t)b >> i) & 255);
    return sum;
}

//@ cnn_dot_forms:
/* What the forms of all widths share; V, U: vectors of signed and unsigned lanes. They are macros: a function of vectors that the processor lacks has no settled calling convention. */
#if defined(__GNUC__) && !defined(__TINYC__) && !defined(CNN_PORTABLE)
#define CNN_DOT_VECTORS 1
#define CNN_DOT_ADD(V, U, c, x) ((V)((U)(c) + (U)(x)))
#define CNN_DOT_LOW(V, U, a) ((V)((U)(a) << 16) >> 16)
#define CNN_DOT_PAIRS(V, U, c, a, b) \
    CNN_DOT_ADD(V, U, CNN_DOT_ADD(V, U, c, CNN_DOT_LOW(V, U, a) * CNN_DOT_LOW(V, U, b)), ((a) >> 16) * ((b) >> 16))
#define CNN_DOT_EVEN(b) (((((b) << 24) >> 24) & 0xffff) | ((((b) << 8) >> 24) << 16))
#define CNN_DOT_ODD(b) (((((b) << 16) >> 24) & 0xffff) | (((b) >> 24) << 16))
#define CNN_DOT_FOURS(dot2, c, a, b) dot2(dot2(c, (a) & 0x00ff00ff, CNN_DOT_EVEN(b)), ((a) >> 8) & 0x00ff00ff, CNN_DOT_ODD(b))
#else
#define CNN_DOT_VECTORS 0
#define CNN_DOT_SCALAR(dot, c, a, b) ((int32_t)((uint32_t)(c) + (uint32_t)dot(a, b)))
#endif

//@ cnn_dot2_x4: cnn_dot2 cnn_dot_forms
/* c + dot2(a, b), lane by lane. */
#if CNN_DOT_VECTORS
typedef int32_t cnn_dot_x4 __attribute__((vector_size(16)));
typedef uint32_t cnn_dot_ux4 __attribute__((vector_size(16)));
#endif
#if CNN_DOT_VECTORS && defined(__SSE2__)
#define cnn_dot2_x4(c, a, b) CNN_DOT_ADD(cnn_dot_x4, cnn_dot_ux4, c, _mm_madd_epi16((__m128i)(a), (__m128i)(b)))
#elif CNN_DOT_VECTORS
#define cnn_dot2_x4(c, a, b) CNN_DOT_PAIRS(cnn_dot_x4, cnn_dot_ux4, c, a, b)
#else
#define cnn_dot2_x4(c, a, b) CNN_DOT_SCALAR(cnn_dot2, c, a, b)
#endif

//@ cnn_dot4_x4: cnn_dot4 cnn_dot2_x4
/* c + dot4(a, b), lane by lane; else the even and the odd parts by dot2. */
#if CNN_DOT_VECTORS && defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define cnn_dot4_x4(c, a, b) (cnn_dot_x4)_mm_dpbusd_epi32((__m128i)(c), (__m128i)(a), (__m128i)(b))
#elif CNN_DOT_VECTORS && defined(__AVXVNNI__)
#define cnn_dot4_x4(c, a, b) (cnn_dot_x4)_mm_dpbusd_avx_epi32((__m128i)(c), (__m128i)(a), (__m128i)(b))
#elif CNN_DOT_VECTORS
#define cnn_dot4_x4(c, a, b) CNN_DOT_FOURS(cnn_dot2_x4, c, a, b)
#else
#define cnn_dot4_x4(c, a, b) CNN_DOT_SCALAR(cnn_dot4, c, a, b)
#endif

//@ cnn_dot2_x8: cnn_dot2 cnn_dot_forms
/* c + dot2(a, b), lane by lane. */
#if CNN_DOT_VECTORS
typedef int32_t cnn_dot_x8 __attribute__((vector_size(32)));
typedef uint32_t cnn_dot_ux8 __attribute__((vector_size(32)));
#endif
#if CNN_DOT_VECTORS && defined(__AVX2__)
#define cnn_dot2_x8(c, a, b) CNN_DOT_ADD(cnn_dot_x8, cnn_dot_ux8, c, _mm256_madd_epi16((__m256i)(a), (__m256i)(b)))
#elif CNN_DOT_VECTORS
#define cnn_dot2_x8(c, a, b) CNN_DOT_PAIRS(cnn_dot_x8, cnn_dot_ux8, c, a, b)
#else
#define cnn_dot2_x8(c, a, b) CNN_DOT_SCALAR(cnn_dot2, c, a, b)
#endif

//@ cnn_dot4_x8: cnn_dot4 cnn_dot2_x8
/* c + dot4(a, b), lane by lane; else the even and the odd parts by dot2. */
#if CNN_DOT_VECTORS && defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define cnn_dot4_x8(c, a, b) (cnn_dot_x8)_mm256_dpbusd_epi32((__m256i)(c), (__m256i)(a), (__m256i)(b))
#elif CNN_DOT_VECTORS && defined(__AVXVNNI__)
#define cnn_dot4_x8(c, a, b) (cnn_dot_x8)_mm256_dpbusd_avx_epi32((__m256i)(c), (__m256i)(a), (__m256i)(b))
#elif CNN_DOT_VECTORS
#define cnn_dot4_x8(c, a, b) CNN_DOT_FOURS(cnn_dot2_x8, c, a, b)
#else
#define cnn_dot4_x8(c, a, b) CNN_DOT_SCALAR(cnn_dot4, c, a, b)
#endif

//@ cnn_dot2_x16: cnn_dot2 cnn_dot_forms
/* c + dot2(a, b), lane by lane. */
#if CNN_DOT_VECTORS
typedef int32_t cnn_dot_x16 __attribute__((vector_size(64)));
typedef uint32_t cnn_dot_ux16 __attribute__((vector_size(64)));
#endif
#if CNN_DOT_VECTORS && defined(__AVX512BW__)
#define cnn_dot2_x16(c, a, b) CNN_DOT_ADD(cnn_dot_x16, cnn_dot_ux16, c, _mm512_madd_epi16((__m512i)(a), (__m512i)(b)))
#elif CNN_DOT_VECTORS
#define cnn_dot2_x16(c, a, b) CNN_DOT_PAIRS(cnn_dot_x16, cnn_dot_ux16, c, a, b)
#else
#define cnn_dot2_x16(c, a, b) CNN_DOT_SCALAR(cnn_dot2, c, a, b)
#endif

//@ cnn_dot4_x16: cnn_dot4 cnn_dot2_x16
/* c + dot4(a, b), lane by lane; else the even and the odd parts by dot2. */
#if CNN_DOT_VECTORS && defined(__AVX512VNNI__)
#define cnn_dot4_x16(c, a, b) (cnn_dot_x16)_mm512_dpbusd_epi32((__m512i)(c), (__m512i)(a), (__m512i)(b))
#elif CNN_DOT_VECTORS
#define cnn_dot4_x16(c, a, b) CNN_DOT_FOURS(cnn_dot2_x16, c, a, b)
#else
#define cnn_dot4_x16(c, a, b) CNN_DOT_SCALAR(cnn_dot4, c, a, b)
#endif
//@ end
#endif
