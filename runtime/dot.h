// SPDX-License-Identifier: Apache-2.0
// Sums of products of the parts of 32 bits, for integer contractions: scalars, and GNU vectors by the instruction
// that processors have for them. Every form gives the same bits.
#ifndef CNN_RUNTIME_DOT_H
#define CNN_RUNTIME_DOT_H
#include <stdint.h>
#include "abi.h"

//@ cnn_dot2:
/* The sum of the products of two signed 16-bit parts, modulo 2^32. */
static inline int32_t cnn_dot2(int32_t a, int32_t b) {
    const uint32_t x = (uint32_t)a, y = (uint32_t)b;
    const int32_t low = (int32_t)(int16_t)(uint16_t)(x & 0xffff) * (int16_t)(uint16_t)(y & 0xffff);
    const int32_t high = (int32_t)(int16_t)(uint16_t)(x >> 16) * (int16_t)(uint16_t)(y >> 16);
    return (int32_t)((uint32_t)low + (uint32_t)high);
}

//@ cnn_dot4:
/* The sum of the products of four 8-bit parts, unsigned ones of a and signed ones of b. */
static inline int32_t cnn_dot4(int32_t a, int32_t b) {
    int32_t sum = 0;
    for (int i = 0; i < 32; i += 8)
        sum += (int32_t)(((uint32_t)a >> i) & 255) * (int8_t)(uint8_t)(((uint32_t)b >> i) & 255);
    return sum;
}

//@ cnn_dot2_x4: cnn_dot2
/* c + dot2(a, b), lane by lane. Macros: a function of vectors that the processor lacks has no settled calling convention. */
#if defined(__GNUC__) && !defined(__TINYC__) && !defined(CNN_PORTABLE)
typedef int32_t cnn_dot_x4 __attribute__((vector_size(16)));
typedef uint32_t cnn_dot_ux4 __attribute__((vector_size(16)));
#if defined(__SSE2__)
#define cnn_dot2_x4(c, a, b) ((cnn_dot_x4)((cnn_dot_ux4)(c) + (cnn_dot_ux4)_mm_madd_epi16((__m128i)(a), (__m128i)(b))))
#else
#define cnn_dot2_x4(c, a, b) \
    ((cnn_dot_x4)((cnn_dot_ux4)(c) + (cnn_dot_ux4)(((cnn_dot_x4)((cnn_dot_ux4)(a) << 16) >> 16) * ((cnn_dot_x4)((cnn_dot_ux4)(b) << 16) >> 16)) + (cnn_dot_ux4)(((a) >> 16) * ((b) >> 16))))
#endif
#else
#define cnn_dot2_x4(c, a, b) ((int32_t)((uint32_t)(c) + (uint32_t)cnn_dot2(a, b)))
#endif

//@ cnn_dot4_x4: cnn_dot4 cnn_dot2_x4
/* c + dot4(a, b), lane by lane; else the even and the odd parts by dot2. */
#if defined(__GNUC__) && !defined(__TINYC__) && !defined(CNN_PORTABLE)
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define cnn_dot4_x4(c, a, b) (cnn_dot_x4)_mm_dpbusd_epi32((__m128i)(c), (__m128i)(a), (__m128i)(b))
#elif defined(__AVXVNNI__)
#define cnn_dot4_x4(c, a, b) (cnn_dot_x4)_mm_dpbusd_avx_epi32((__m128i)(c), (__m128i)(a), (__m128i)(b))
#else
#define cnn_dot_even(b) (((((b) << 24) >> 24) & 0xffff) | ((((b) << 8) >> 24) << 16))
#define cnn_dot_odd(b) (((((b) << 16) >> 24) & 0xffff) | (((b) >> 24) << 16))
#define cnn_dot4_x4(c, a, b) cnn_dot2_x4(cnn_dot2_x4(c, (a) & 0x00ff00ff, cnn_dot_even(b)), ((a) >> 8) & 0x00ff00ff, cnn_dot_odd(b))
#endif
#else
#define cnn_dot4_x4(c, a, b) ((int32_t)((uint32_t)(c) + (uint32_t)cnn_dot4(a, b)))
#endif

//@ cnn_dot2_x8: cnn_dot2
/* c + dot2(a, b), lane by lane. Macros: a function of vectors that the processor lacks has no settled calling convention. */
#if defined(__GNUC__) && !defined(__TINYC__) && !defined(CNN_PORTABLE)
typedef int32_t cnn_dot_x8 __attribute__((vector_size(32)));
typedef uint32_t cnn_dot_ux8 __attribute__((vector_size(32)));
#if defined(__AVX2__)
#define cnn_dot2_x8(c, a, b) ((cnn_dot_x8)((cnn_dot_ux8)(c) + (cnn_dot_ux8)_mm256_madd_epi16((__m256i)(a), (__m256i)(b))))
#else
#define cnn_dot2_x8(c, a, b) \
    ((cnn_dot_x8)((cnn_dot_ux8)(c) + (cnn_dot_ux8)(((cnn_dot_x8)((cnn_dot_ux8)(a) << 16) >> 16) * ((cnn_dot_x8)((cnn_dot_ux8)(b) << 16) >> 16)) + (cnn_dot_ux8)(((a) >> 16) * ((b) >> 16))))
#endif
#else
#define cnn_dot2_x8(c, a, b) ((int32_t)((uint32_t)(c) + (uint32_t)cnn_dot2(a, b)))
#endif

//@ cnn_dot4_x8: cnn_dot4 cnn_dot2_x8
/* c + dot4(a, b), lane by lane; else the even and the odd parts by dot2. */
#if defined(__GNUC__) && !defined(__TINYC__) && !defined(CNN_PORTABLE)
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define cnn_dot4_x8(c, a, b) (cnn_dot_x8)_mm256_dpbusd_epi32((__m256i)(c), (__m256i)(a), (__m256i)(b))
#elif defined(__AVXVNNI__)
#define cnn_dot4_x8(c, a, b) (cnn_dot_x8)_mm256_dpbusd_avx_epi32((__m256i)(c), (__m256i)(a), (__m256i)(b))
#else
#define cnn_dot_even(b) (((((b) << 24) >> 24) & 0xffff) | ((((b) << 8) >> 24) << 16))
#define cnn_dot_odd(b) (((((b) << 16) >> 24) & 0xffff) | (((b) >> 24) << 16))
#define cnn_dot4_x8(c, a, b) cnn_dot2_x8(cnn_dot2_x8(c, (a) & 0x00ff00ff, cnn_dot_even(b)), ((a) >> 8) & 0x00ff00ff, cnn_dot_odd(b))
#endif
#else
#define cnn_dot4_x8(c, a, b) ((int32_t)((uint32_t)(c) + (uint32_t)cnn_dot4(a, b)))
#endif
//@ cnn_dot2_x16: cnn_dot2
#if defined(__GNUC__) && !defined(__TINYC__) && !defined(CNN_PORTABLE)
typedef int32_t cnn_dot_x16 __attribute__((vector_size(64)));
typedef uint32_t cnn_dot_ux16 __attribute__((vector_size(64)));
#if defined(__AVX512BW__)
#define cnn_dot2_x16(c, a, b) ((cnn_dot_x16)((cnn_dot_ux16)(c) + (cnn_dot_ux16)_mm512_madd_epi16((__m512i)(a), (__m512i)(b))))
#else
#define cnn_dot2_x16(c, a, b) \
    ((cnn_dot_x16)((cnn_dot_ux16)(c) + (cnn_dot_ux16)(((cnn_dot_x16)((cnn_dot_ux16)(a) << 16) >> 16) * ((cnn_dot_x16)((cnn_dot_ux16)(b) << 16) >> 16)) + (cnn_dot_ux16)(((a) >> 16) * ((b) >> 16))))
#endif
#else
#define cnn_dot2_x16(c, a, b) ((int32_t)((uint32_t)(c) + (uint32_t)cnn_dot2(a, b)))
#endif

//@ cnn_dot4_x16: cnn_dot4 cnn_dot2_x16
#if defined(__GNUC__) && !defined(__TINYC__) && !defined(CNN_PORTABLE)
#if defined(__AVX512VNNI__)
#define cnn_dot4_x16(c, a, b) (cnn_dot_x16)_mm512_dpbusd_epi32((__m512i)(c), (__m512i)(a), (__m512i)(b))
#else
#define cnn_dot_even(b) (((((b) << 24) >> 24) & 0xffff) | ((((b) << 8) >> 24) << 16))
#define cnn_dot_odd(b) (((((b) << 16) >> 24) & 0xffff) | (((b) >> 24) << 16))
#define cnn_dot4_x16(c, a, b) cnn_dot2_x16(cnn_dot2_x16(c, (a) & 0x00ff00ff, cnn_dot_even(b)), ((a) >> 8) & 0x00ff00ff, cnn_dot_odd(b))
#endif
#else
#define cnn_dot4_x16(c, a, b) ((int32_t)((uint32_t)(c) + (uint32_t)cnn_dot4(a, b)))
#endif
//@ end
#endif
