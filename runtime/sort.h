// SPDX-License-Identifier: Apache-2.0
// Stable sorting of one line of a tensor: a bottom-up merge of indices.
#ifndef CNN_RUNTIME_SORT_H
#define CNN_RUNTIME_SORT_H
#include <stdint.h>
#include "types.h"

//@ cnn_merge_sort:
/* Sorts the n elements x[xo + i*xs] into values y[yo + i*ys] and indices k[ko + i*ks]; t has room for n.
   Equal elements keep their order; NAME_before says which of two is the first. */
#define CNN_MERGE_SORT(NAME, T)                                                                                \
    static inline void NAME(const T *x, T *y, int64_t *k, int64_t *t, int64_t xo, int64_t xs, int64_t yo,      \
                            int64_t ys, int64_t ko, int64_t ks, int64_t n, int64_t down) {                     \
        int64_t i, w;                                                                                          \
        x += xo;                                                                                               \
        y += yo;                                                                                               \
        k += ko;                                                                                               \
        for (i = 0; i < n; i++) k[i * ks] = i;                                                                 \
        for (w = 1; w < n; w *= 2) {                                                                           \
            int64_t lo;                                                                                        \
            for (lo = 0; lo < n; lo += 2 * w) {                                                                \
                int64_t mid = lo + w < n ? lo + w : n, hi = lo + 2 * w < n ? lo + 2 * w : n, a = lo, b = mid;  \
                for (i = lo; i < hi; i++) {                                                                    \
                    int right = a == mid || (b < hi && NAME##_before(x, xs, k[b * ks], k[a * ks], down));      \
                    t[i] = right ? k[b++ * ks] : k[a++ * ks];                                                  \
                }                                                                                              \
            }                                                                                                  \
            for (i = 0; i < n; i++) k[i * ks] = t[i];                                                          \
        }                                                                                                      \
        for (i = 0; i < n; i++) y[i * ys] = x[k[i * ks] * xs];                                                 \
    }

//@ cnn_sort: cnn_merge_sort
/* NaN counts as the largest. */
#define CNN_SORT(NAME, T, KEY)                                                                                \
    static inline int NAME##_before(const T *x, int64_t xs, int64_t i, int64_t j, int64_t down) {              \
        const int a_nan = KEY(x[i * xs]) != KEY(x[i * xs]), b_nan = KEY(x[j * xs]) != KEY(x[j * xs]);          \
        if (a_nan || b_nan) return down ? a_nan && !b_nan : b_nan && !a_nan;                                   \
        return down ? KEY(x[j * xs]) < KEY(x[i * xs]) : KEY(x[i * xs]) < KEY(x[j * xs]);                       \
    }                                                                                                          \
    CNN_MERGE_SORT(NAME, T)
#define CNN_SAME(v) (v)

//@ cnn_sort_f32: cnn_sort
CNN_SORT(cnn_sort_f32, float, CNN_SAME)

//@ cnn_sort_f64: cnn_sort
CNN_SORT(cnn_sort_f64, double, CNN_SAME)

//@ cnn_sort_i8: cnn_sort
CNN_SORT(cnn_sort_i8, int8_t, CNN_SAME)

//@ cnn_sort_u8: cnn_sort
CNN_SORT(cnn_sort_u8, uint8_t, CNN_SAME)

//@ cnn_sort_bool: cnn_sort
CNN_SORT(cnn_sort_bool, uint8_t, CNN_SAME)

//@ cnn_sort_i16: cnn_sort
CNN_SORT(cnn_sort_i16, int16_t, CNN_SAME)

//@ cnn_sort_u16: cnn_sort
CNN_SORT(cnn_sort_u16, uint16_t, CNN_SAME)

//@ cnn_sort_i32: cnn_sort
CNN_SORT(cnn_sort_i32, int32_t, CNN_SAME)

//@ cnn_sort_u32: cnn_sort
CNN_SORT(cnn_sort_u32, uint32_t, CNN_SAME)

//@ cnn_sort_i64: cnn_sort
CNN_SORT(cnn_sort_i64, int64_t, CNN_SAME)

//@ cnn_sort_u64: cnn_sort
CNN_SORT(cnn_sort_u64, uint64_t, CNN_SAME)

//@ cnn_sort_f16: cnn_sort cnn_f16_to_f32
CNN_SORT(cnn_sort_f16, uint16_t, cnn_f16_to_f32)

//@ cnn_sort_bf16: cnn_sort cnn_bf16_to_f32
CNN_SORT(cnn_sort_bf16, uint16_t, cnn_bf16_to_f32)
//@ end
#endif
