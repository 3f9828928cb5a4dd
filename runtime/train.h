// SPDX-License-Identifier: Apache-2.0
// What generated training code shares: the types of its interface, optimizers, random starts,
// checkpoints. CNN_REAL is the type of the parameters, CNN_ROOT its square root.
#ifndef CNN_RUNTIME_TRAIN_H
#define CNN_RUNTIME_TRAIN_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "abi.h"
#include "index.h"
#include "math.h"
#ifndef CNN_REAL
#define CNN_REAL float
#define CNN_ROOT(x) cnn_sqrtf(x)
#endif

//@ train_abi:
#ifndef CNNCC_TRAIN_ABI_1
#define CNNCC_TRAIN_ABI_1
/* Everything that is tuned, for all optimizers; m_defaults sets what its own one starts from. */
typedef struct {
    double lr;
    double momentum, dampening; /* sgd, rmsprop, onnx_momentum */
    double beta1, beta2, eps;   /* adam, adamw, lion, onnx_adam; eps also of adagrad, rmsprop, onnx_adagrad */
    double alpha;               /* rmsprop: how much of the mean of squares is kept */
    double lr_decay;            /* adagrad, onnx_adagrad */
    double weight_decay;        /* adamw and lion: decoupled; else added to the gradient */
    double clip_norm, clip_value; /* of the gradients before the step; 0: not clipped */
    int nesterov, centered;
} cnn_hyper;

enum cnn_param_kind { CNN_TRAINED = 0, CNN_STATISTIC = 1, CNN_FROZEN = 2 };

/* A parameter: where it is in the buffer of parameters and, if trained, in that of gradients, in elements. */
typedef struct {
    const char *name;
    int32_t kind, rank;
    const int64_t *dim;
    size_t offset, count;
    int32_t decays;     /* whether weight decay applies */
    int32_t init;       /* at random: 0 constant, 1 uniform in +-scale, 2 normal with that deviation */
    double scale;
} cnn_param;

/* Move n bytes; 0, or what the function that was given them is to return. */
typedef int cnn_write(void *user, const void *data, size_t n);
typedef int cnn_read(void *user, void *data, size_t n);

/* Learning rates at a step, counted from 0. */
static inline double cnn_lr_step(double lr, uint64_t step, uint64_t every, double gamma) {
    uint64_t i;
    for (i = step / (every ? every : 1); i; i--) lr *= gamma;
    return lr;
}
static inline double cnn_lr_warmup(double lr, uint64_t step, uint64_t steps) {
    return step < steps ? lr * (double)(step + 1) / (double)steps : lr;
}
static inline double cnn_lr_cosine(double lr, double least, uint64_t step, uint64_t steps) {
    /* cos(pi x) by the series of sin(pi (1/2 - x)) */
    const double x = steps == 0 || step >= steps ? 1 : (double)step / (double)steps, a = 3.14159265358979323846 * (0.5 - x);
    double term = a, sum = a;
    int i;
    for (i = 3; i < 28; i += 2) {
        term *= -a * a / (double)(i * (i - 1));
        sum += term;
    }
    return least + (lr - least) * 0.5 * (1 + sum);
}
#endif
//@ end

//@ cnn_powi:
/* x^n by squaring. */
static inline double cnn_powi(double x, uint64_t n) {
    double y = 1;
    for (; n; n >>= 1, x *= x)
        if (n & 1) y *= x;
    return y;
}
//@ end

//@ cnn_sgd:
/* b = momentum b + (1 - dampening) g, at first g; w -= lr b, by Nesterov lr (g + momentum b) */
static void cnn_sgd(CNN_REAL *restrict w, const CNN_REAL *restrict g, CNN_REAL *restrict b, CNN_REAL *unused, CNN_REAL *none, size_t n,
                    const cnn_hyper *h, double decay, uint64_t step) {
    const CNN_REAL lr = (CNN_REAL)h->lr, m = (CNN_REAL)h->momentum, d = (CNN_REAL)(step ? 1 - h->dampening : 1), wd = (CNN_REAL)decay;
    size_t i;
    (void)unused;
    (void)none;
    if (h->momentum == 0) {
        for (i = 0; i < n; i++) w[i] -= lr * (g[i] + wd * w[i]);
        return;
    }
    for (i = 0; i < n; i++) {
        const CNN_REAL x = g[i] + wd * w[i], v = (step ? m * b[i] : 0) + d * x;
        b[i] = v;
        w[i] -= lr * (h->nesterov ? x + m * v : v);
    }
}
//@ end

//@ cnn_adam_steps: cnn_powi
/* m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) */
static void cnn_adam_steps(CNN_REAL *restrict w, const CNN_REAL *restrict g, CNN_REAL *restrict m, CNN_REAL *restrict v, size_t n,
                           const cnn_hyper *h, double l2, double keep, uint64_t step) {
    const double c1 = 1 - cnn_powi(h->beta1, step + 1), c2 = 1 - cnn_powi(h->beta2, step + 1);
    const CNN_REAL b1 = (CNN_REAL)h->beta1, b2 = (CNN_REAL)h->beta2, r1 = (CNN_REAL)(1 - h->beta1), r2 = (CNN_REAL)(1 - h->beta2);
    const CNN_REAL rate = (CNN_REAL)(h->lr / c1), root = CNN_ROOT((CNN_REAL)c2), eps = (CNN_REAL)h->eps, wd = (CNN_REAL)l2, k = (CNN_REAL)keep;
    size_t i;
    for (i = 0; i < n; i++) {
        const CNN_REAL x = g[i] + wd * w[i], a = b1 * m[i] + r1 * x, q = b2 * v[i] + r2 * x * x;
        m[i] = a;
        v[i] = q;
        w[i] = k * w[i] - rate * a / (CNN_ROOT(q) / root + eps);
    }
}
//@ end

//@ cnn_adam: cnn_adam_steps
static void cnn_adam(CNN_REAL *w, const CNN_REAL *g, CNN_REAL *m, CNN_REAL *v, CNN_REAL *none, size_t n, const cnn_hyper *h, double decay,
                     uint64_t step) {
    (void)none;
    cnn_adam_steps(w, g, m, v, n, h, decay, 1, step);
}
//@ end

//@ cnn_adamw: cnn_adam_steps
static void cnn_adamw(CNN_REAL *w, const CNN_REAL *g, CNN_REAL *m, CNN_REAL *v, CNN_REAL *none, size_t n, const cnn_hyper *h, double decay,
                      uint64_t step) {
    (void)none;
    cnn_adam_steps(w, g, m, v, n, h, 0, 1 - h->lr * decay, step);
}
//@ end

//@ cnn_adagrad:
/* s += g^2; w -= lr / (1 + t decay) g / (sqrt(s) + eps), t from 0 */
static void cnn_adagrad(CNN_REAL *restrict w, const CNN_REAL *restrict g, CNN_REAL *restrict s, CNN_REAL *unused, CNN_REAL *none, size_t n,
                        const cnn_hyper *h, double decay, uint64_t step) {
    const CNN_REAL rate = (CNN_REAL)(h->lr / (1 + (double)step * h->lr_decay)), eps = (CNN_REAL)h->eps, wd = (CNN_REAL)decay;
    size_t i;
    (void)unused;
    (void)none;
    for (i = 0; i < n; i++) {
        const CNN_REAL x = g[i] + wd * w[i], q = s[i] + x * x;
        s[i] = q;
        w[i] -= rate * x / (CNN_ROOT(q) + eps);
    }
}
//@ end

//@ cnn_rmsprop:
/* s = a s + (1 - a) g^2; q = s, centered less the square of the mean of g; b = momentum b + g / (sqrt(q) + eps); w -= lr b */
static void cnn_rmsprop(CNN_REAL *restrict w, const CNN_REAL *restrict g, CNN_REAL *restrict s, CNN_REAL *restrict b, CNN_REAL *restrict c,
                        size_t n, const cnn_hyper *h, double decay, uint64_t step) {
    const CNN_REAL lr = (CNN_REAL)h->lr, a = (CNN_REAL)h->alpha, r = (CNN_REAL)(1 - h->alpha), m = (CNN_REAL)h->momentum;
    const CNN_REAL eps = (CNN_REAL)h->eps, wd = (CNN_REAL)decay;
    size_t i;
    (void)step;
    for (i = 0; i < n; i++) {
        const CNN_REAL x = g[i] + wd * w[i], q = a * s[i] + r * x * x;
        CNN_REAL root = q;
        s[i] = q;
        if (h->centered) {
            c[i] = a * c[i] + r * x;
            root -= c[i] * c[i];
        }
        b[i] = m * b[i] + x / (CNN_ROOT(root) + eps);
        w[i] -= lr * b[i];
    }
}
//@ end

//@ cnn_lion:
/* w = (1 - lr decay) w - lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g */
static void cnn_lion(CNN_REAL *restrict w, const CNN_REAL *restrict g, CNN_REAL *restrict m, CNN_REAL *unused, CNN_REAL *none, size_t n,
                     const cnn_hyper *h, double decay, uint64_t step) {
    const CNN_REAL lr = (CNN_REAL)h->lr, b1 = (CNN_REAL)h->beta1, r1 = (CNN_REAL)(1 - h->beta1), b2 = (CNN_REAL)h->beta2;
    const CNN_REAL r2 = (CNN_REAL)(1 - h->beta2), keep = (CNN_REAL)(1 - h->lr * decay);
    size_t i;
    (void)unused;
    (void)none;
    (void)step;
    for (i = 0; i < n; i++) {
        const CNN_REAL u = b1 * m[i] + r1 * g[i], s = (CNN_REAL)((u > 0) - (u < 0));
        m[i] = b2 * m[i] + r2 * g[i];
        w[i] = keep * w[i] - lr * s;
    }
}
//@ end

//@ cnn_onnx_adam: cnn_powi
/* ONNX's Adam: eps beside sqrt(v) itself, no correction at t = 0 */
static void cnn_onnx_adam(CNN_REAL *restrict w, const CNN_REAL *restrict g, CNN_REAL *restrict m, CNN_REAL *restrict v, CNN_REAL *none,
                          size_t n, const cnn_hyper *h, double decay, uint64_t step) {
    const CNN_REAL b1 = (CNN_REAL)h->beta1, b2 = (CNN_REAL)h->beta2, r1 = (CNN_REAL)(1 - h->beta1), r2 = (CNN_REAL)(1 - h->beta2);
    const CNN_REAL eps = (CNN_REAL)h->eps, wd = (CNN_REAL)decay, c1 = (CNN_REAL)(1 - cnn_powi(h->beta1, step));
    const CNN_REAL rate = step ? (CNN_REAL)h->lr * CNN_ROOT((CNN_REAL)(1 - cnn_powi(h->beta2, step))) / c1 : (CNN_REAL)h->lr;
    size_t i;
    (void)none;
    for (i = 0; i < n; i++) {
        const CNN_REAL x = g[i] + wd * w[i], a = b1 * m[i] + r1 * x, q = b2 * v[i] + r2 * x * x;
        m[i] = a;
        v[i] = q;
        w[i] -= rate * a / (CNN_ROOT(q) + eps);
    }
}
//@ end

//@ cnn_onnx_momentum:
/* v = alpha v + beta g, beta = 1 - dampening but 1 at t = 0; w -= lr v, by Nesterov lr (g + alpha v) */
static void cnn_onnx_momentum(CNN_REAL *restrict w, const CNN_REAL *restrict g, CNN_REAL *restrict v, CNN_REAL *unused, CNN_REAL *none,
                              size_t n, const cnn_hyper *h, double decay, uint64_t step) {
    const CNN_REAL lr = (CNN_REAL)h->lr, a = (CNN_REAL)h->momentum, b = (CNN_REAL)(step ? 1 - h->dampening : 1), wd = (CNN_REAL)decay;
    size_t i;
    (void)unused;
    (void)none;
    for (i = 0; i < n; i++) {
        const CNN_REAL x = g[i] + wd * w[i], q = a * v[i] + b * x;
        v[i] = q;
        w[i] -= lr * (h->nesterov ? x + a * q : q);
    }
}
//@ end

//@ cnn_clip: cnn_sqrt
/* Limits g to +-value, then its norm; n is a multiple of 8. */
static void cnn_clip(CNN_REAL *g, size_t n, double value, double norm) {
    double lane[8] = {0, 0, 0, 0, 0, 0, 0, 0}, sum = 0;
    size_t i, k;
    if (value > 0) {
        const CNN_REAL v = (CNN_REAL)value;
        for (i = 0; i < n; i++) g[i] = g[i] > v ? v : g[i] < -v ? -v : g[i];
    }
    if (!(norm > 0)) return;
    for (i = 0; i < n; i += 8)
        for (k = 0; k < 8; k++) lane[k] += (double)g[i + k] * (double)g[i + k];
    for (k = 0; k < 8; k++) sum += lane[k];
    sum = norm / (cnn_sqrt(sum) + 1e-6);
    if (sum < 1)
        for (i = 0; i < n; i++) g[i] *= (CNN_REAL)sum;
}
//@ end

//@ cnn_random_params:
/* The parameters at random: each by its row of the table, from one stream of the seed. */
static inline double cnn_uniform53(uint64_t *s) {
    uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}
static void cnn_random_params(CNN_REAL *w, const cnn_param *p, size_t n, uint64_t seed) {
    size_t i, k;
    int j;
    for (i = 0; i < n; i++)
        for (k = 0; k < p[i].count && p[i].kind == CNN_TRAINED; k++) {
            double x = 1;
            if (p[i].init == 1) x = 2 * cnn_uniform53(&seed) - 1;
            else if (p[i].init == 2)
                for (x = -6, j = 0; j < 12; j++) x += cnn_uniform53(&seed); /* close to normal */
            w[p[i].offset + k] = (CNN_REAL)(x * p[i].scale);
        }
}
//@ end

//@ cnn_put_reals:
/* Numbers as little-endian bytes, on any machine, through a small buffer. */
static int cnn_put_reals(const CNN_REAL *x, size_t n, cnn_write *write, void *user) {
    unsigned char b[512];
    size_t i = 0, k, at;
    int st = 0;
    while (i < n && !st) {
        for (at = 0; i < n && at < sizeof b; i++) {
            const union { CNN_REAL f; uint64_t u; unsigned char c[8]; } one = {.u = 1}, v = {.f = x[i]};
            for (k = 0; k < sizeof(CNN_REAL); k++) b[at++] = v.c[one.c[0] ? k : sizeof(CNN_REAL) - 1 - k];
        }
        st = write(user, b, at);
    }
    return st;
}
static int cnn_get_reals(CNN_REAL *x, size_t n, cnn_read *read, void *user) {
    unsigned char b[512];
    size_t i = 0, k, at, size;
    int st;
    while (i < n) {
        size = (n - i) * sizeof(CNN_REAL) < sizeof b ? (n - i) * sizeof(CNN_REAL) : sizeof b;
        if ((st = read(user, b, size))) return st;
        for (at = 0; at < size; i++) {
            union { CNN_REAL f; uint64_t u; unsigned char c[8]; } one = {.u = 1}, v = {.u = 0};
            for (k = 0; k < sizeof(CNN_REAL); k++) v.c[one.c[0] ? k : sizeof(CNN_REAL) - 1 - k] = b[at++];
            x[i] = v.f;
        }
    }
    return 0;
}
//@ end

//@ cnn_put_merged:
/* w [rows, cols] + scale * up [rows, rank] * across [rank, cols], by a function that writes numbers. */
static int cnn_put_merged(const CNN_REAL *w, const CNN_REAL *up, const CNN_REAL *across, size_t rows, size_t cols, size_t rank, double scale,
                          int (*put)(const CNN_REAL *x, size_t n, cnn_write *write, void *user), cnn_write *write, void *user) {
    CNN_REAL piece[256];
    size_t i, j, k, r, n;
    int st = 0;
    for (i = 0; i < rows; i++)
        for (j = 0; j < cols && !st; j += n) {
            n = cols - j < 256 ? cols - j : 256;
            for (k = 0; k < n; k++) piece[k] = w[i * cols + j + k];
            for (r = 0; r < rank; r++) {
                const CNN_REAL u = (CNN_REAL)scale * up[i * rank + r];
                for (k = 0; k < n; k++) piece[k] += u * across[r * cols + j + k];
            }
            st = put(piece, n, write, user);
        }
    return st;
}
//@ end

//@ cnn_digits:
/* A number as 20 digits, and back. */
static void cnn_digits(char *s, uint64_t v) {
    int i;
    for (i = 19; i >= 0; i--, v /= 10) s[i] = (char)('0' + v % 10);
}
static uint64_t cnn_undigits(const char *s) {
    uint64_t v = 0;
    int i;
    for (i = 0; i < 20; i++) v = v * 10 + (uint64_t)(s[i] - '0');
    return v;
}
//@ end
#endif
