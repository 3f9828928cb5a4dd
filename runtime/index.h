// SPDX-License-Identifier: Apache-2.0
// Integer helpers of addresses and extents.
#ifndef CNN_RUNTIME_INDEX_H
#define CNN_RUNTIME_INDEX_H
#include <stddef.h>
#include <math.h>
#include <stdint.h>
#include "abi.h"
#include "math.h"

//@ cnn_floordiv:
/* floor(a / b), b > 0; else 0. */
static inline int64_t cnn_floordiv(int64_t a, int64_t b) {
    return b <= 0 ? 0 : a >= 0 ? a / b : -1 - (-1 - a) / b;
}

//@ cnn_floormod: cnn_floordiv
/* a - b * floor(a / b), b > 0. */
static inline int64_t cnn_floormod(int64_t a, int64_t b) {
    return a - b * cnn_floordiv(a, b);
}

//@ cnn_imin:
static inline int64_t cnn_imin(int64_t a, int64_t b) {
    return a < b ? a : b;
}

//@ cnn_imax:
static inline int64_t cnn_imax(int64_t a, int64_t b) {
    return a > b ? a : b;
}

//@ cnn_streq:
/* Are two strings the same bytes? */
static inline uint8_t cnn_streq(cnn_string a, cnn_string b) {
    size_t i;
    if (a.len != b.len) return 0;
    for (i = 0; i < a.len; i++)
        if (a.ptr[i] != b.ptr[i]) return 0;
    return 1;
}

//@ cnn_sqrt:
/* The square root of a double: correctly rounded where the compiler has it built in. */
#if defined(__GNUC__) && !defined(__TINYC__)
#define cnn_sqrt(x) __builtin_sqrt(x)
#else
#define cnn_sqrt(x) sqrt(x)
#endif
//@ cnn_modf: cnn_fmodf
/* a - b * floor(a / b): the sign of the divisor. */
static inline float cnn_modf(float a, float b) {
    float r = cnn_fmodf(a, b);
    return r != 0.0f && (r < 0.0f) != (b < 0.0f) ? r + b : r;
}

//@ cnn_modf64:
static inline double cnn_modf64(double a, double b) {
    double r = fmod(a, b);
    return r != 0.0 && (r < 0.0) != (b < 0.0) ? r + b : r;
}
//@ end
#endif
