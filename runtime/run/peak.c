// SPDX-License-Identifier: Apache-2.0
// What this processor can do at most: multiply-adds of float32, measured with chains that hide their latency.
#include "run.h"

#include <time.h>

#define CHAIN(name, lanes, how)                                                                       \
    how static float name(long n) {                                                                   \
        typedef float v __attribute__((vector_size(4 * (lanes))));                                    \
        v x = {0}, y = {0};                                                                           \
        x += 0.999f, y += 1e-9f;                                                                      \
        v a = x, b = a + x, c = b + x, d = c + x, e = d + x, f = e + x, g = f + x, h = g + x;         \
        v i = h + x, j = i + x, k = j + x, l = k + x;                                                 \
        for (long q = 0; q < n; q++) {                                                                \
            a = a * x + y, b = b * x + y, c = c * x + y, d = d * x + y, e = e * x + y, f = f * x + y; \
            g = g * x + y, h = h * x + y, i = i * x + y, j = j * x + y, k = k * x + y, l = l * x + y; \
        }                                                                                             \
        return (a + b + c + d + e + f + g + h + i + j + k + l)[0];                                    \
    }

CHAIN(chain4, 4, )
#if defined(__x86_64__)
CHAIN(chain8, 8, __attribute__((target("avx2,fma"))))
CHAIN(chain16, 16, __attribute__((target("avx512f"))))
#endif

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double peak_gflops(void) {
    float (*chain)(long) = chain4;
    int lanes = 4;
    const long steps = 1 << 16;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) chain = chain8, lanes = 8;
    if (__builtin_cpu_supports("avx512f")) chain = chain16, lanes = 16;
#endif
    double best = 1e9;
    volatile float keep = 0;
    for (int i = 0; i < 200; i++) {
        const double t = now();
        keep += chain(steps);
        const double s = now() - t;
        best = s < best ? s : best;
    }
    return 2e-9 * 12 * lanes * (double)steps / best;
}
