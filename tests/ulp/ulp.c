// SPDX-License-Identifier: Apache-2.0
// Measures runtime/math.h against libm in double: the largest error of each function in units in the
// last place, and where. Fails when one is above its bound, or a NaN, an infinity or a zero's sign is wrong.
//
//     ulp [STRIDE [NAME...]]    every STRIDE-th float (default 1: all of them)
#include "../../runtime/math.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 4096 };

typedef struct { double ulp; float x, y, got; double want; } Worst;

/* |got - want| in units in the last place of a float at want; 1e9 when the kind differs. */
static double error(float got, double want) {
    double a = fabs(want), g = got;
    int e;
    if (want != want || got != got)
        return (want != want) == (got != got) ? 0 : 1e9;
    if ((a < ldexp(1, -150)) && !signbit(want) != !signbit(got))
        return 1e9;
    if (isinf(got))
        g = got > 0 ? ldexp(1, 128) : -ldexp(1, 128);
    if (isinf(want))
        return isinf(got) && (got > 0) == (want > 0) ? 0 : 1e9;
    if (a >= ldexp(1, 128)) /* a finite value beyond every float */
        return isinf(got) && (got > 0) == (want > 0) ? 0 : (a - fabs(g)) / ldexp(1, 104);
    frexp(a, &e);
    e = a < ldexp(1, -126) ? -149 : e - 24;
    return fabs(g - want) / ldexp(1, e);
}

static double ref_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double ref_softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }
static double ref_roundeven(double x) { return nearbyint(x); }

#define UNARY(X) \
    X(expf, exp, 1.1) X(expm1f, expm1, 1.2) X(logf, log, 1.0) X(log2f, log2, 1.0) X(log1pf, log1p, 1.0) \
    X(sinf, sin, 0.9) X(cosf, cos, 0.9) X(tanf, tan, 1.4) X(asinf, asin, 0.9) X(acosf, acos, 1.0) \
    X(atanf, atan, 1.6) X(sinhf, sinh, 1.7) X(coshf, cosh, 1.4) X(tanhf, tanh, 1.4) \
    X(asinhf, asinh, 0.7) X(acoshf, acosh, 0.9) X(atanhf, atanh, 0.8) X(erff, erf, 1.2) \
    X(sigmoidf, ref_sigmoid, 2.0) X(softplusf, ref_softplus, 1.7) X(sqrtf, sqrt, 0.5) X(floorf, floor, 0) \
    X(ceilf, ceil, 0) X(truncf, trunc, 0) X(roundevenf, ref_roundeven, 0)
#define BINARY(X) X(powf, pow, 1.0) X(atan2f, atan2, 1.8) X(fmodf, fmod, 0)

/* Loops as generated code has them. */
#define LOOP1(name, ref, bound) \
    static void run_##name(float *y, const float *x) { for (int i = 0; i < N; i++) y[i] = cnn_##name(x[i]); }
#define LOOP2(name, ref, bound) \
    static void run_##name(float *z, const float *x, const float *y) { \
        for (int i = 0; i < N; i++) z[i] = cnn_##name(x[i], y[i]); }
UNARY(LOOP1)
BINARY(LOOP2)

static const struct { const char *name; void (*run)(float *, const float *); double (*ref)(double); double bound; }
unary[] = {
#define ROW(name, ref, bound) { #name, run_##name, ref, bound },
    UNARY(ROW)
};
static const struct {
    const char *name; void (*run)(float *, const float *, const float *); double (*ref)(double, double); double bound;
} binary[] = { BINARY(ROW) };

static int report(const char *name, Worst w, double bound, int two) {
    printf("%-10s %8.4f (bound %.1f) at %.9g", name, w.ulp, bound, (double)w.x);
    if (two)
        printf(", %.9g", (double)w.y);
    printf(" [%08x]: %.9g, exactly %.12g%s\n", (unsigned)cnn_f32_bits(w.x), (double)w.got, w.want,
           w.ulp > bound ? "   FAIL" : "");
    fflush(stdout);
    return w.ulp > bound;
}

static Worst measure(int f, uint32_t stride) {
    Worst worst = { -1, 0, 0, 0, 0 };
    int64_t total = ((int64_t)1 << 32) / stride;
#pragma omp parallel
    {
        Worst w = { -1, 0, 0, 0, 0 };
        float x[N], y[N];
#pragma omp for schedule(dynamic, 16)
        for (int64_t at = 0; at < total; at += N) {
            for (int i = 0; i < N; i++)
                x[i] = cnn_bits_f32((uint32_t)((uint64_t)(at + i) * stride));
            unary[f].run(y, x);
            for (int i = 0; i < N; i++) {
                double want = unary[f].ref(x[i]), e = error(y[i], want);
                if (e > w.ulp)
                    w = (Worst){ e, x[i], 0, y[i], want };
            }
        }
#pragma omp critical
        if (w.ulp > worst.ulp)
            worst = w;
    }
    return worst;
}

static uint64_t mix(uint64_t z) { /* splitmix64 */
    z += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Pairs: any bits, special values, and (for powf) y chosen so that the power is neither 0 nor infinite. */
static Worst measure2(int f, int64_t total) {
    const float special[] = { 0, 1, 2, 3, 0.5f, 1.5f, 1e-45f, 1e-38f, 3.4e38f, 16777215, 16777216, 8388607.5f,
        8388609, 2147483648.f, 0.99999994f, 1.0000001f, INFINITY, NAN, 1e-40f, 1e30f };
    enum { S = sizeof special / sizeof *special };
    Worst worst = { -1, 0, 0, 0, 0 };
#pragma omp parallel
    {
        Worst w = { -1, 0, 0, 0, 0 };
        float x[N], y[N], z[N];
#pragma omp for schedule(dynamic, 16)
        for (int64_t at = 0; at < total; at += N) {
            for (int i = 0; i < N; i++) {
                uint64_t r = mix((uint64_t)(at + i)), q = mix(r);
                double l, t = ((double)(q >> 11) / 9007199254740992.0 - 0.5) * 304;
                x[i] = cnn_bits_f32((uint32_t)r);
                y[i] = cnn_bits_f32((uint32_t)(r >> 32));
                if (at == 0) {
                    x[i] = special[i / 4 / S % S] * (i & 1 ? -1.f : 1.f);
                    y[i] = special[i / 4 % S] * (i & 2 ? -1.f : 1.f);
                } else if ((q & 3) != 0) {
                    if (q & 1)
                        x[i] = cnn_bits_f32(0x3f000000u + ((uint32_t)r & 0xffffffu)); /* [0.5, 2) */
                    else
                        x[i] = fabsf(x[i]);
                    l = log2(x[i]);
                    y[i] = f == 0 ? (float)(t / l) : x[i] * (float)(t / 100);
                    if (q & 64)
                        y[i] = rintf(y[i]);
                    if (q & 128)
                        x[i] = -x[i];
                }
            }
            binary[f].run(z, x, y);
            for (int i = 0; i < N; i++) {
                double want = binary[f].ref(x[i], y[i]), e = error(z[i], want);
                if (e > w.ulp)
                    w = (Worst){ e, x[i], y[i], z[i], want };
            }
        }
#pragma omp critical
        if (w.ulp > worst.ulp)
            worst = w;
    }
    return worst;
}

static int chosen(const char *name, int argc, char **argv) {
    int yes = argc <= 2;
    for (int i = 2; i < argc; i++)
        yes |= strcmp(argv[i], name) == 0;
    return yes;
}

int main(int argc, char **argv) {
    long stride = argc > 1 ? strtol(argv[1], NULL, 10) : 1;
    int failed = 0;
    if (stride < 1) {
        fprintf(stderr, "usage: ulp [STRIDE [NAME...]]\n");
        return 2;
    }
    for (int f = 0; f < (int)(sizeof unary / sizeof *unary); f++)
        if (chosen(unary[f].name, argc, argv))
            failed += report(unary[f].name, measure(f, (uint32_t)stride), unary[f].bound, 0);
    for (int f = 0; f < (int)(sizeof binary / sizeof *binary); f++)
        if (chosen(binary[f].name, argc, argv))
            failed += report(binary[f].name, measure2(f, ((int64_t)1 << 32) / stride), binary[f].bound, 1);
    return failed != 0;
}
