// SPDX-License-Identifier: Apache-2.0
// Elementary functions in float32 without libm. Every body is free of branches, so that loops over
// them vectorize; results are the same for any vector width, and the stated bounds (in units in the
// last place, measured by tests/ulp) hold with contraction to FMA on and off. Coefficients
// come from tests/ulp/fit.py. Where a product must be exact its factors are cut to 12 bits, which
// contraction cannot disturb (Dekker, Numer. Math. 18, 1971; without its final subtraction).
#ifndef CNN_RUNTIME_MATH_H
#define CNN_RUNTIME_MATH_H
#include <stdint.h>

//@ cnn_f32_bits:
static inline uint32_t cnn_f32_bits(float x) {
    union { float f; uint32_t u; } v;
    v.f = x;
    return v.u;
}

//@ cnn_bits_f32:
static inline float cnn_bits_f32(uint32_t u) {
    union { uint32_t u; float f; } v;
    v.u = u;
    return v.f;
}

//@ cnn_nanf: cnn_bits_f32
static inline float cnn_nanf(void) {
    return cnn_bits_f32(0x7fc00000u);
}

//@ cnn_inff: cnn_bits_f32
static inline float cnn_inff(void) {
    return cnn_bits_f32(0x7f800000u);
}

//@ cnn_absf: cnn_f32_bits cnn_bits_f32
static inline float cnn_absf(float x) {
    return cnn_bits_f32(cnn_f32_bits(x) & 0x7fffffffu);
}

//@ cnn_copysignf: cnn_f32_bits cnn_bits_f32
static inline float cnn_copysignf(float x, float s) {
    return cnn_bits_f32((cnn_f32_bits(x) & 0x7fffffffu) | (cnn_f32_bits(s) & 0x80000000u));
}

//@ cnn_headf: cnn_f32_bits cnn_bits_f32
/* The upper 12 bits of x's significand: products of two heads are exact. */
static inline float cnn_headf(float x) {
    return cnn_bits_f32(cnn_f32_bits(x) & 0xfffff000u);
}

//@ cnn_fminf:
/* min(x, y); NaN if either is. */
static inline float cnn_fminf(float x, float y) {
    float m = x < y ? x : y;
    return x != x ? x : m;
}

//@ cnn_fmaxf:
/* max(x, y); NaN if either is. */
static inline float cnn_fmaxf(float x, float y) {
    float m = x > y ? x : y;
    return x != x ? x : m;
}

//@ cnn_fmin:
static inline double cnn_fmin(double x, double y) {
    double m = x < y ? x : y;
    return x != x ? x : m;
}

//@ cnn_fmax:
static inline double cnn_fmax(double x, double y) {
    double m = x > y ? x : y;
    return x != x ? x : m;
}

//@ cnn_truncf: cnn_f32_bits cnn_bits_f32
/* x rounded toward zero. Exact. The mask is all ones where |x| < 2^23. */
static inline float cnn_truncf(float x) {
    uint32_t u = cnn_f32_bits(x), m = 0u - (uint32_t)((u & 0x7fffffffu) < 0x4b000000u);
    float t = (float)(int32_t)cnn_bits_f32(u & m);
    return cnn_bits_f32((cnn_f32_bits(t) & m) | (u & (~m | 0x80000000u)));
}

//@ cnn_floorf: cnn_truncf cnn_copysignf
/* The largest integer not above x. Exact. */
static inline float cnn_floorf(float x) {
    float t = cnn_truncf(x);
    return cnn_copysignf(t - (t > x ? 1.0f : 0.0f), x);
}

//@ cnn_ceilf: cnn_truncf cnn_copysignf
/* The smallest integer not below x. Exact. */
static inline float cnn_ceilf(float x) {
    float t = cnn_truncf(x);
    return cnn_copysignf(t + (t < x ? 1.0f : 0.0f), x);
}

//@ cnn_roundevenf: cnn_absf cnn_copysignf
/* The integer nearest to x, ties to even. Exact. */
static inline float cnn_roundevenf(float x) {
    float a = cnn_absf(x);
    float t = (a + 8388608.0f) - 8388608.0f;
    return cnn_copysignf(a < 8388608.0f ? t : a, x);
}

//@ cnn_roundeven:
/* The integer nearest to x, ties to even, in double. Exact. */
static inline double cnn_roundeven(double x) {
    double a = x < 0 ? -x : x, t = (a + 4503599627370496.0) - 4503599627370496.0;
    double r = x < 0 ? -t : t;
    return a < 4503599627370496.0 && x != 0 ? r : x;
}

//@ cnn_fmodf: cnn_f32_bits cnn_bits_f32 cnn_nanf
/* x - trunc(x / y) y, with x's sign. Exact: long division of the significands, 40 bits a step. */
static inline float cnn_fmodf(float x, float y) {
    uint32_t ux = cnn_f32_bits(x), s = ux & 0x80000000u, uy = cnn_f32_bits(y) & 0x7fffffffu;
    uint32_t ex, ey, mx, my, r;
    uint64_t m;
    ux &= 0x7fffffffu;
    if (ux >= 0x7f800000u || uy > 0x7f800000u || uy == 0)
        return cnn_nanf();
    if (ux < uy)
        return x;
    ex = ux >> 23;
    ey = uy >> 23;
    mx = ex ? (ux & 0x7fffffu) | 0x800000u : ux;
    my = ey ? (uy & 0x7fffffu) | 0x800000u : uy;
    ex = ex ? ex : 1;
    ey = ey ? ey : 1;
    m = mx % my;
    while (ex > ey) {
        uint32_t k = ex - ey < 40 ? ex - ey : 40;
        m = (m << k) % my;
        ex -= k;
    }
    r = (uint32_t)m; /* r 2^(ey - 150), below y: normalize */
    if (r == 0)
        return cnn_bits_f32(s);
    while (r < 0x800000u && ey > 1) {
        r <<= 1;
        ey--;
    }
    if (r >= 0x800000u)
        r = (r & 0x7fffffu) | ey << 23;
    return cnn_bits_f32(s | r);
}

//@ cnn_sqrtf: cnn_f32_bits cnn_bits_f32 cnn_nanf
/* Correctly rounded. The machine's instruction where it surely is one (the built-in would otherwise
   call libm), else Newton's steps and an exact integer check. */
static inline float cnn_sqrtf(float x) {
#if defined(__GNUC__) && !defined(__TINYC__) && defined(__NO_MATH_ERRNO__) && \
    (defined(__SSE__) || defined(__aarch64__) || defined(__wasm__) || defined(__s390x__))
    (void)cnn_f32_bits, (void)cnn_bits_f32, (void)cnn_nanf; /* the other branch's */
    return __builtin_sqrtf(x);
#else
    float d = x < 1.17549435e-38f ? x * 16777216.0f : x, y;
    uint32_t u = cnn_f32_bits(d), e = u >> 23, odd = (e & 1u) ^ 1u, s, r;
    uint64_t m = (uint64_t)((u & 0x7fffffu) | 0x800000u) << (23u + odd); /* s = sqrt(m) has 24 bits */
    float w = cnn_bits_f32((127u + odd) << 23 | (u & 0x7fffffu));        /* in [1, 4) */
    y = cnn_bits_f32(0x1fbb4000u + (cnn_f32_bits(w) >> 1));
    y = 0.5f * (y + w / y);
    y = 0.5f * (y + w / y);
    y = 0.5f * (y + w / y);
    s = (uint32_t)(int32_t)(y * 8388608.0f);
    s -= (uint64_t)s * s > m;
    s -= (uint64_t)s * s > m;
    s += (uint64_t)(s + 1u) * (s + 1u) <= m;
    s += (uint64_t)(s + 1u) * (s + 1u) <= m;
    s += m - (uint64_t)s * s > s;
    r = s + (((e + 125u - odd) >> 1) << 23) - (x < 1.17549435e-38f ? 0x06000000u : 0u);
    y = cnn_bits_f32(r);
    y = x == 0 || u >= 0x7f800000u ? x : y;
    return x < 0 ? cnn_nanf() : y;
#endif
}

//@ cnn_scalef: cnn_bits_f32
/* p 2^n, n in two's complement, |n| <= 250, in two steps: a denormal result is rounded once. */
static inline float cnn_scalef(float p, uint32_t n) {
    uint32_t b = n + 254u, a = b >> 1;
    return p * cnn_bits_f32(a << 23) * cnn_bits_f32((b - a) << 23);
}

//@ cnn_poly_exp:
/* (e^r - 1 - r) / r^2 on |r| <= ln(2)/2. */
static inline float cnn_poly_exp(float r) {
    float q = 0.000173297798f * r + 0.0013933318f;
    q = q * r + 0.00833787955f;
    q = q * r + 0.0416664816f;
    q = q * r + 0.166666478f;
    return q * r + 0.5f;
}

//@ cnn_expf: cnn_f32_bits cnn_scalef cnn_poly_exp
/* e^x = 2^n e^r, r = x - n ln 2, e^r = 1 + r + r^2 q(r). Below -104 it is 0 by choice: a product that underflows, as for
   each masked score of a softmax, takes a hundred cycles. Within 1.1 ULP. */
static inline float cnn_expf(float x) {
    float c = x < -104.0f ? 0.0f : x, t, n, r;
    c = c > 89.0f ? 89.0f : c;
    t = c * 1.44269502f + 12582912.0f; /* 1.5 2^23: the sum's low bits are round(x / ln 2) */
    n = t - 12582912.0f;
    r = (c - n * 0.693145752f) - n * 1.42860677e-06f;
    return x < -104.0f ? 0.0f : cnn_scalef(1.0f + (cnn_poly_exp(r) * (r * r) + r), cnn_f32_bits(t) - 0x4b400000u);
}

//@ cnn_expkf: cnn_f32_bits cnn_scalef cnn_poly_exp
/* e^(x + xl) 2^k with r kept in two parts, about 0.8 ULP; |x| <= 104, xl small. */
static inline float cnn_expkf(float x, float xl, uint32_t k) {
    float t = x * 1.44269502f + 12582912.0f, n = t - 12582912.0f;
    float a = x - n * 0.693145752f, b = xl - n * 1.42860677e-06f, r = a + b, l = (a - r) + b;
    return cnn_scalef(1.0f + (r + (cnn_poly_exp(r) * (r * r) + l)), cnn_f32_bits(t) - 0x4b400000u + k);
}

//@ cnn_expm1f: cnn_f32_bits cnn_bits_f32 cnn_absf cnn_poly_exp
/* e^x - 1 = (2^n - 1) + 2^n (e^r - 1), the sum in two parts. Within 1.2 ULP. */
static inline float cnn_expm1f(float x) {
    float c = x < -18.0f ? -18.0f : x, t, n, a, b, r, l, s, h, e, y;
    c = c > 89.0f ? 89.0f : c;
    t = c * 1.44269502f + 12582912.0f;
    n = t - 12582912.0f;
    a = c - n * 0.693145752f;
    b = n * 1.42860677e-06f;
    r = a - b;
    l = (a - r) - b;
    s = cnn_bits_f32((cnn_f32_bits(t) - 0x4b400000u + 126u) << 23); /* 2^n / 2 */
    a = s - 0.5f;
    b = s * r; /* exact */
    h = a + b;
    y = h - a;
    e = (a - (h - y)) + (b - y);
    y = (h + (e + s * (cnn_poly_exp(r) * (r * r) + l))) * 2.0f;
    return cnn_absf(x) < 1e-7f ? x : y;
}

//@ cnn_logkf: cnn_f32_bits cnn_bits_f32
/* log(x) + c + k ln 2 for a normal, finite x > 0 and a small c:
   x = 2^e (1 + f), log(1 + f) = f - f^2/2 + f^3 p(f), sqrt(1/2) <= 1 + f < sqrt(2). */
static inline float cnn_logkf(float x, float c, float k) {
    uint32_t u = cnn_f32_bits(x) - 0x3f3504f3u;
    float e = (float)((int32_t)(u + 0x3f800000u) >> 23) - 127.0f + k;
    float f = cnn_bits_f32((u & 0x7fffffu) + 0x3f3504f3u) - 1.0f, z = f * f, p, h, a = e * 0.693145752f;
    p = 0.0421794057f * f - 0.103291571f;
    p = p * f + 0.122997858f;
    p = p * f - 0.126633093f;
    p = p * f + 0.141986236f;
    p = p * f - 0.166523919f;
    p = p * f + 0.200024962f;
    p = p * f - 0.25000298f;
    p = p * f + 0.333333105f;
    h = a + f;
    p = ((f - (h - a)) + (e * 1.42860677e-06f + c)) + (z * (f * p) - 0.5f * z);
    return h + p;
}

//@ cnn_logf: cnn_logkf cnn_inff cnn_nanf
/* The natural logarithm. Within 1.0 ULP. */
static inline float cnn_logf(float x) {
    int small = x < 1.17549435e-38f;
    float y = cnn_logkf(small ? x * 8388608.0f : x, 0.0f, small ? -23.0f : 0.0f);
    y = x > 0 ? y : cnn_nanf();
    y = x == 0 ? -cnn_inff() : y;
    return x == cnn_inff() ? x : y;
}

//@ cnn_log2f: cnn_f32_bits cnn_bits_f32 cnn_headf cnn_inff cnn_nanf
/* log2(x) = e + (f - f^2/2 + f^3 p(f)) / ln 2, the bracket and the factor in two parts. Within 1.0 ULP. */
static inline float cnn_log2f(float x) {
    int small = x < 1.17549435e-38f;
    uint32_t u = cnn_f32_bits(small ? x * 8388608.0f : x) - 0x3f3504f3u;
    float e = (float)((int32_t)(u + 0x3f800000u) >> 23) - (small ? 150.0f : 127.0f);
    float f = cnn_bits_f32((u & 0x7fffffu) + 0x3f3504f3u) - 1.0f, z = f * f, p, h, l, a, y;
    p = 0.0421794057f * f - 0.103291571f;
    p = p * f + 0.122997858f;
    p = p * f - 0.126633093f;
    p = p * f + 0.141986236f;
    p = p * f - 0.166523919f;
    p = p * f + 0.200024962f;
    p = p * f - 0.25000298f;
    p = p * f + 0.333333105f;
    p = z * (f * p) - 0.5f * z;
    h = cnn_headf(f + p);
    l = (f - h) + p;
    p = h * 0.000312228396f + l * 1.44269502f;
    h = h * 1.44238281f; /* exact */
    a = e + h;
    y = a + ((h - (a - e)) + p);
    y = e == 0 ? h + p : y;
    y = x > 0 ? y : cnn_nanf();
    y = x == 0 ? -cnn_inff() : y;
    return x == cnn_inff() ? x : y;
}

//@ cnn_log1pf: cnn_logkf cnn_inff cnn_nanf
/* log(1 + x) = log(u) + d / u, where u = 1 + x rounded and d what rounding lost. Within 1.0 ULP. */
static inline float cnn_log1pf(float x) {
    float u = 1.0f + x, b = u - 1.0f, d = (1.0f - (u - b)) + (x - b);
    float y = cnn_logkf(u, d / u, 0.0f);
    y = x > -1.0f ? y : cnn_nanf();
    y = x == -1.0f ? -cnn_inff() : y;
    return x == 0 || x == cnn_inff() ? x : y;
}

//@ cnn_2opi:
/* 32 bits of 2/pi from bit 8 i - 26 on. */
static const uint32_t cnn_2opi[25] = {
    0x00000028u, 0x000028beu, 0x0028be60u, 0x28be60dbu, 0xbe60db93u, 0x60db9391u, 0xdb939105u, 0x9391054au,
    0x91054a7fu, 0x054a7f09u, 0x4a7f09d5u, 0x7f09d5f4u, 0x09d5f47du, 0xd5f47d4du, 0xf47d4d37u, 0x7d4d3770u,
    0x4d377036u, 0x377036d8u, 0x7036d8a5u, 0x36d8a566u, 0xd8a5664fu, 0xa5664f10u, 0x664f10e4u, 0x4f10e410u,
    0x10e4107fu
};

//@ cnn_trig: cnn_f32_bits cnn_2opi cnn_headf cnn_absf
/* |x| = (n + h') pi/2 with |h'| <= 1/2: the remainder h + l in radians and the quadrant n. The product
   of x and 2/pi in fixed point modulo 4 (Payne and Hanek, SIGNUM 18, 1983): exact for every float. */
typedef struct { float h, l; uint32_t n; } cnn_trig;

static inline cnn_trig cnn_trig_reduce(float x) {
    float ax = cnn_absf(x), a, b, h, l, hh, p, q;
    uint32_t u = cnn_f32_bits(ax), t = u >> 23, j, m, w1, w2, hi, lo, n;
    cnn_trig r;
    t = t < 126u ? 0u : t - 126u;
    j = t >> 3;
    m = ((u & 0x7fffffu) | 0x800000u) << (t & 7u);
    w1 = cnn_2opi[j + 4];
    w2 = cnn_2opi[j + 8];
    lo = m * w1;
    hi = m * cnn_2opi[j] + (uint32_t)((uint64_t)m * w1 >> 32);
    w2 = (uint32_t)((uint64_t)m * w2 >> 32);
    lo += w2;
    hi += lo < w2 ? 1u : 0u;
    n = (hi + 0x20000000u) >> 30;
    hi -= n << 30;
    a = (float)((int32_t)hi >> 8) * 2.38418579e-07f; /* 2^-22, 2^-46, 2^-62 */
    b = (float)(int32_t)((hi & 0xffu) << 16 | lo >> 16) * 1.42108547e-14f;
    h = a + b;
    l = (b - (h - a)) + (float)(int32_t)(lo & 0xffffu) * 2.16840434e-19f;
    hh = cnn_headf(h);
    p = hh * 1.5703125f; /* exact */
    q = hh * 0.000483826792f + ((h - hh) + l) * 1.57079637f;
    h = p + q;
    l = (p - h) + q;
    r.h = ax < 0.785398185f ? ax : h;
    r.l = ax < 0.785398185f ? 0.0f : l;
    r.n = ax < 0.785398185f ? 0u : n;
    return r;
}

//@ cnn_sinq: cnn_trig cnn_f32_bits cnn_bits_f32
/* The sine of (n + h') pi/2: x + x^3 s(x^2) or 1 - x^2/2 + x^4 c(x^2) by the quadrant. */
static inline float cnn_sinq(cnn_trig r, uint32_t n) {
    float x = r.h, z = x * x, s, c, hz = 0.5f * z, w = 1.0f - hz;
    s = -0.000195182845f * z + 0.00833218917f;
    s = s * z - 0.166666552f;
    s = x + (s * (z * x) + (r.l - hz * r.l));
    c = 2.44306702e-05f * z - 0.00138873013f;
    c = c * z + 0.0416666456f;
    c = w + (((1.0f - w) - hz) + (z * z * c - x * r.l));
    return cnn_bits_f32(cnn_f32_bits(n & 1u ? c : s) ^ (n & 2u) << 30);
}

//@ cnn_sinf: cnn_sinq cnn_trig cnn_f32_bits cnn_bits_f32 cnn_absf cnn_inff cnn_nanf
/* sin(x), for every x. Within 0.9 ULP. */
static inline float cnn_sinf(float x) {
    cnn_trig r = cnn_trig_reduce(x);
    float y = cnn_bits_f32(cnn_f32_bits(cnn_sinq(r, r.n)) ^ (cnn_f32_bits(x) & 0x80000000u));
    return cnn_absf(x) < cnn_inff() ? y : cnn_nanf();
}

//@ cnn_cosf: cnn_sinq cnn_trig cnn_absf cnn_inff cnn_nanf
/* cos(x), for every x. Within 0.9 ULP. */
static inline float cnn_cosf(float x) {
    cnn_trig r = cnn_trig_reduce(x);
    float y = cnn_sinq(r, r.n + 1u);
    return cnn_absf(x) < cnn_inff() ? y : cnn_nanf();
}

//@ cnn_tanf: cnn_trig cnn_f32_bits cnn_bits_f32 cnn_headf cnn_absf cnn_inff cnn_nanf
/* tan(x), for every x: r + r^3 t(r^2), or -1 over it by the quadrant, the division in two parts.
   Within 1.4 ULP. */
static inline float cnn_tanf(float x) {
    cnn_trig r = cnn_trig_reduce(x);
    float h = r.h, z = h * h, t, w, wh, wl, a, ah, y;
    t = 0.00437270058f * z + 9.82424099e-05f;
    t = t * z + 0.0108274445f;
    t = t * z + 0.0212862082f;
    t = t * z + 0.0540589131f;
    t = t * z + 0.133326754f;
    t = t * z + 0.333333492f;
    t = t * (z * h) + (r.l + z * r.l);
    w = h + t;
    wh = cnn_headf(w);
    wl = (h - wh) + t;
    a = -1.0f / w;
    ah = cnn_headf(a);
    y = ah + a * ((1.0f + ah * wh) + ah * wl);
    y = r.n & 1u ? y : w;
    y = cnn_bits_f32(cnn_f32_bits(y) ^ (cnn_f32_bits(x) & 0x80000000u));
    return cnn_absf(x) < cnn_inff() ? y : cnn_nanf();
}

//@ cnn_poly_asin:
/* (asin(x) - x) / x for z = x^2 <= 1/4. */
static inline float cnn_poly_asin(float z) {
    float p = 0.037702132f * z + 0.0143121714f;
    p = p * z + 0.0318395235f;
    p = p * z + 0.0445133522f;
    p = p * z + 0.0750052184f;
    p = p * z + 0.166666597f;
    return p * z;
}

//@ cnn_asinf: cnn_poly_asin cnn_sqrtf cnn_headf cnn_absf cnn_copysignf cnn_nanf
/* asin(x); above 1/2: pi/2 - 2 asin(sqrt((1 - x) / 2)), the root in two parts. Within 0.9 ULP. */
static inline float cnn_asinf(float x) {
    float a = cnn_absf(x), z = a < 0.5f ? a * a : 0.5f * (1.0f - a), p = cnn_poly_asin(z);
    float s = cnn_sqrtf(z < 0 ? 0.0f : z), w = cnn_headf(s), c = (z - w * w) / (s + w + 1e-30f), y;
    y = 0.785398185f - ((2.0f * (s * p) + (2.0f * c + 4.37113883e-08f)) - (0.785398185f - 2.0f * w));
    y = a < 0.5f ? a + a * p : y;
    return a <= 1.0f ? cnn_copysignf(y, x) : cnn_nanf();
}

//@ cnn_acosf: cnn_poly_asin cnn_sqrtf cnn_headf cnn_absf cnn_nanf
/* acos(x) = pi/2 - asin(x), 2 asin(sqrt((1 - x) / 2)), or pi minus it, by the range. Within 1.0 ULP. */
static inline float cnn_acosf(float x) {
    float a = cnn_absf(x), z = a < 0.5f ? a * a : 0.5f * (1.0f - a), p = cnn_poly_asin(z);
    float s = cnn_sqrtf(z < 0 ? 0.0f : z), w = cnn_headf(s), c = (z - w * w) / (s + w + 1e-30f);
    float m = 1.57079637f - (x + (x * p + 4.37113883e-08f));
    float hi = 2.0f * (w + (c + s * p)), lo = 2.0f * (1.57079637f - (s + (s * p + 4.37113883e-08f)));
    float y = a < 0.5f ? m : (x < 0 ? lo : hi);
    return a <= 1.0f ? y : cnn_nanf();
}

//@ cnn_poly_atan:
/* atan(x) for |x| <= 1. */
static inline float cnn_poly_atan(float x) {
    float z = x * x, p = -0.00178216724f * z + 0.010866343f;
    p = p * z - 0.031093616f;
    p = p * z + 0.0578789115f;
    p = p * z - 0.0839920864f;
    p = p * z + 0.109508611f;
    p = p * z - 0.142640144f;
    p = p * z + 0.199985296f;
    p = p * z - 0.333332986f;
    return x + x * (z * p);
}

//@ cnn_atanf: cnn_poly_atan cnn_absf cnn_copysignf
/* atan(x); above 1: pi/2 - atan(1 / x). Within 1.6 ULP. */
static inline float cnn_atanf(float x) {
    float a = cnn_absf(x), r = cnn_poly_atan(a > 1.0f ? 1.0f / a : a);
    return cnn_copysignf(a > 1.0f ? 1.57079637f - (r + 4.37113883e-08f) : r, x);
}

//@ cnn_atan2f: cnn_poly_atan cnn_f32_bits cnn_absf cnn_copysignf cnn_inff
/* The angle of (x, y), with C's cases for zeros and infinities. Within 1.8 ULP. */
static inline float cnn_atan2f(float y, float x) {
    float a = cnn_absf(y), b = cnn_absf(x), n = a > b ? b : a, d = a > b ? a : b, q, r, base, low;
    int swap = a > b, neg = cnn_f32_bits(x) >> 31 != 0;
    q = n / d;
    q = d == 0 ? 0.0f : q;
    q = n == cnn_inff() ? 1.0f : q;
    r = cnn_poly_atan(q);
    r = swap != neg ? -r : r;
    base = swap ? 1.57079637f : (neg ? 3.14159274f : 0.0f);
    low = swap ? 4.37113883e-08f : (neg ? 8.74227766e-08f : 0.0f);
    r = base + (r - low);
    return x != x || y != y ? x + y : cnn_copysignf(r, y);
}

//@ cnn_sinhf: cnn_expkf cnn_absf cnn_copysignf
/* sinh(x) = E - 1/(4 E), E = e^|x| / 2; below 1: x + x^3 p(x^2). Within 1.7 ULP. */
static inline float cnn_sinhf(float x) {
    float a = cnn_absf(x), z = x * x, e = cnn_expkf(a > 91.0f ? 91.0f : a, 0.0f, 0xffffffffu), p;
    p = 2.78226707e-06f * z + 0.000198428912f;
    p = p * z + 0.00833331048f;
    p = p * z + 0.166666672f;
    return a < 1.0f ? x + x * (z * p) : cnn_copysignf(e - 0.25f / e, x);
}

//@ cnn_coshf: cnn_expkf cnn_absf
/* cosh(x) = E + 1/(4 E), E = e^|x| / 2. Within 1.4 ULP. */
static inline float cnn_coshf(float x) {
    float a = cnn_absf(x), e = cnn_expkf(a > 91.0f ? 91.0f : a, 0.0f, 0xffffffffu);
    return e + 0.25f / e;
}

//@ cnn_tanhf: cnn_f32_bits cnn_bits_f32 cnn_poly_exp cnn_absf cnn_copysignf
/* tanh(x) = 1 - 2 / (e^2|x| + 1), e^2|x| = s (1 + w) with s = 2^n; below 0.6: x + x z p(z), z = x^2. Within 1.4 ULP. */
static inline float cnn_tanhf(float x) {
    float a = cnn_absf(x), z = x * x, c = a > 10.0f ? 10.0f : a, p, t, n, r, s, w, y;
    p = 0.00218527671f * z - 0.00822145026f;
    p = p * z + 0.0217176657f;
    p = p * z - 0.05394971f;
    p = p * z + 0.133332282f;
    p = p * z - 0.333333313f;
    t = c * 2.88539004f + 12582912.0f;
    n = t - 12582912.0f;
    r = 2.0f * c - n * 0.693147182f;
    s = cnn_bits_f32((cnn_f32_bits(t) << 23) + 0x3f800000u);
    w = cnn_poly_exp(r) * (r * r) + r;
    y = 1.0f - 2.0f / ((w * s + 1.0f) + s);
    return cnn_copysignf(a < 0.6f ? a + a * (z * p) : y, x);
}

//@ cnn_asinhf: cnn_logkf cnn_sqrtf cnn_headf cnn_absf cnn_copysignf cnn_inff
/* asinh(x) = log(a + sqrt(a^2 + 1)), a = |x|, the sum in two parts; below 1/2: x + x^3 p(x^2).
   Within 0.7 ULP. */
static inline float cnn_asinhf(float x) {
    float a = cnn_absf(x), z = x * x, c = a < 4096.0f ? a : 1.0f, p, y;
    float ch = cnn_headf(c), cl = c - ch, hh = ch * ch, l = 2.0f * ch * cl + cl * cl; /* c^2 = hh + l */
    float g = hh + 1.0f, b = g - hh, v, vl, s, sh, sl, h, hl;
    vl = (hh - (g - b)) + (1.0f - b) + l;
    v = g + vl;
    vl = (g - v) + vl;
    s = cnn_sqrtf(v);
    sh = cnn_headf(s);
    sl = (((v - sh * sh) - (s - sh) * (s + sh)) + vl) / (2.0f * s);
    h = s + c;
    hl = (c - (h - s)) + sl;
    y = cnn_logkf(a < 4096.0f ? h : a, a < 4096.0f ? hl / h : 0.0f, a < 4096.0f ? 0.0f : 1.0f);
    y = a < cnn_inff() ? y : a;
    p = 0.00925530214f * z - 0.020048853f;
    p = p * z + 0.0300334394f;
    p = p * z - 0.0446160883f;
    p = p * z + 0.0749990717f;
    p = p * z - 0.166666657f;
    return cnn_copysignf(a < 0.5f ? a + a * (z * p) : y, x);
}

//@ cnn_acoshf: cnn_logkf cnn_sqrtf cnn_headf cnn_inff cnn_nanf
/* acosh(x) = log(1 + (t + sqrt(t^2 + 2 t))), t = x - 1, the sums in two parts. Within 0.9 ULP. */
static inline float cnn_acoshf(float x) {
    float t = x < 4096.0f ? x - 1.0f : 1.0f, th = cnn_headf(t), tl = t - th, hh = th * th, g, b, v, vl;
    float s, sh, sl, w, wl, u, y;
    t = t < 0 ? 0.0f : t;
    g = hh + 2.0f * t;
    b = g - hh;
    vl = (hh - (g - b)) + (2.0f * t - b) + (2.0f * th * tl + tl * tl);
    v = g + vl;
    vl = (g - v) + vl;
    s = cnn_sqrtf(v < 0 ? 0.0f : v);
    sh = cnn_headf(s);
    sl = (((v - sh * sh) - (s - sh) * (s + sh)) + vl) / (2.0f * s + 1e-30f);
    w = s + t;
    wl = (t - (w - s)) + sl;
    u = 1.0f + w;
    b = u - 1.0f;
    wl = (1.0f - (u - b)) + (w - b) + wl;
    y = cnn_logkf(x < 4096.0f ? u : x, x < 4096.0f ? wl / u : 0.0f, x < 4096.0f ? 0.0f : 1.0f);
    y = x >= 1.0f ? y : cnn_nanf();
    return x == cnn_inff() ? x : y;
}

//@ cnn_atanhf: cnn_logkf cnn_headf cnn_absf cnn_copysignf cnn_inff cnn_nanf
/* atanh(x) = log((1 + a) / (1 - a)) / 2, a = |x|, the quotient in two parts; below 1/2: x + x^3 p(x^2).
   Within 0.8 ULP. */
static inline float cnn_atanhf(float x) {
    float a = cnn_absf(x), z = x * x, c = a < 1.0f ? a : 0.5f, d = 1.0f - c, n = 1.0f + c, p, y;
    float nl = c - (n - 1.0f), q = n / d, qh = cnn_headf(q), dh = cnn_headf(d);
    float rem = ((n - qh * dh) - qh * (d - dh)) - (q - qh) * d;
    y = 0.5f * cnn_logkf(q, (rem + nl) / n, 0.0f);
    y = a == 1.0f ? cnn_inff() : y;
    y = a > 1.0f ? cnn_nanf() : y;
    p = 0.185135335f * z + 0.0169618931f;
    p = p * z + 0.10524442f;
    p = p * z + 0.10929402f;
    p = p * z + 0.142978147f;
    p = p * z + 0.199996218f;
    p = p * z + 0.333333373f;
    return a < 0.5f ? x + x * (z * p) : cnn_copysignf(x != x ? x : y, x);
}

//@ cnn_erff: cnn_f32_bits cnn_bits_f32 cnn_poly_exp cnn_absf cnn_copysignf
/* erf(x) = 1 - e^p(|x|), e^p = s (1 + w) with s = 2^n; below 0.925: x + x p(x^2). Within 1.2 ULP. */
static inline float cnn_erff(float x) {
    float a = cnn_absf(x), z = x * x, t = a > 3.95f ? 3.95f : a, p, q, n, r, s, w;
    p = 7.99518311e-05f * z - 0.000804953102f;
    p = p * z + 0.00519239297f;
    p = p * z - 0.0268557295f;
    p = p * z + 0.112836257f;
    p = p * z - 0.376126289f;
    p = p * z + 0.128379166f;
    q = -4.70334669e-07f * t - 1.50278411e-05f;
    q = q * t + 0.000400982128f;
    q = q * t - 0.00406779302f;
    q = q * t + 0.0249245893f;
    q = q * t - 0.108049706f;
    q = q * t - 0.633513749f;
    q = q * t - 1.12944722f;
    q = q * t + 0.000162885888f;
    t = q * 1.44269502f + 12582912.0f;
    n = t - 12582912.0f;
    r = q - n * 0.693147182f;
    s = cnn_bits_f32((cnn_f32_bits(t) << 23) + 0x3f800000u);
    w = cnn_poly_exp(r) * (r * r) + r;
    return a < 0.925f ? x + x * p : cnn_copysignf((1.0f - s) - w * s, x);
}

//@ cnn_sigmoidf: cnn_f32_bits cnn_bits_f32 cnn_poly_exp
/* 1 / (1 + e^-x) with e^-x = s (1 + w), s = 2^n: the sum rounds only where it has to. Below -64 both sides of the
   quotient are 2^-64 of what they are, so that nothing overflows. Within 2.0 ULP. */
static inline float cnn_sigmoidf(float x) {
    float c = x < -104.0f ? -104.0f : x, t, n, r, s, w;
    uint32_t m = x < -64.0f ? 64u : 0u;
    c = c > 30.0f ? 30.0f : c;
    t = c * -1.44269502f + 12582912.0f;
    n = t - 12582912.0f;
    r = (-c - n * 0.693145752f) - n * 1.42860677e-06f;
    s = cnn_bits_f32(((cnn_f32_bits(t) - m) << 23) + 0x3f800000u);
    w = cnn_poly_exp(r) * (r * r) + r;
    return cnn_bits_f32(0x3f800000u - (m << 23)) / ((w * s + 1.0f) + s);
}

//@ cnn_softplusf: cnn_expkf cnn_log1pf cnn_absf
/* log(1 + e^x) = max(x, 0) + log(1 + e^-|x|). Within 1.7 ULP. */
static inline float cnn_softplusf(float x) {
    float a = cnn_absf(x), l = cnn_log1pf(cnn_expkf(a > 104.0f ? -104.0f : -a, 0.0f, 0u));
    return x > 0 ? x + l : l;
}

//@ cnn_powf: cnn_f32_bits cnn_bits_f32 cnn_headf cnn_absf cnn_scalef cnn_inff cnn_nanf
/* x^y = 2^(y log2|x|) with C's special cases. log2|x| = e + 2 atanh(s) / ln 2, s = f / (2 + f), and every
   value up to the exponent in two parts, the first of 12 bits. Within 1.0 ULP. */
static inline float cnn_powf(float x, float y) {
    float a = cnn_absf(x), ay = cnn_absf(y), m, e, f, d, s, sl, z, zl, p, pl, h, l, t, n, r, q;
    int small = a < 1.17549435e-38f, odd, whole;
    int32_t yi = (int32_t)(ay < 16777216.0f ? ay : 16777216.0f);
    uint32_t u = cnn_f32_bits(small ? a * 8388608.0f : a) - 0x3f3504f3u;
    whole = (float)yi == (ay < 16777216.0f ? ay : 16777216.0f);
    odd = whole & yi & 1;
    e = (float)((int32_t)(u + 0x3f800000u) >> 23) - (small ? 150.0f : 127.0f);
    m = cnn_bits_f32((u & 0x7fffffu) + 0x3f3504f3u);
    f = m - 1.0f;
    d = m + 1.0f; /* its lost part is m - (d - 1) */
    t = f / d;
    s = cnn_headf(t);
    p = cnn_headf(d);
    sl = ((f - s * p) - s * ((d - p) + (m - (d - 1.0f)))) / d; /* f / (m + 1) = s + sl */
    z = cnn_headf(t * t);
    zl = (s * s - z) + (2.0f * s * sl + sl * sl); /* s^2 */
    r = z + zl;
    q = 0.117095567f * r + 0.142735556f;
    q = q * r + 0.200000763f;
    q = q * r - 9.93410776e-09f; /* log((1+s)/(1-s)) / 2 s = 1 + z (1/3 + q) */
    p = cnn_headf(0.333333343f + q);
    pl = (0.333333343f - p) + q;
    l = z * pl + zl * (p + pl);
    h = cnn_headf(z * p + l);
    l = (z * p - h) + l;
    pl = s * l + sl * (h + l); /* s + s (h + l) */
    p = s + s * h;             /* exact to 24 bits of s, as |s h| < s / 64: the rest below */
    t = cnn_headf(p);
    pl = ((s - t) + s * h) + (pl + sl);
    p = cnn_headf(t + pl);
    pl = (t - p) + pl;
    l = p * 0.000624456792f + pl * 2.88539004f; /* times 2 / ln 2 */
    t = p * 2.88476562f;
    h = e + t; /* |e| >= |t| or e = 0 */
    l = (e == 0 ? 0.0f : t - (h - e)) + l;
    t = cnn_headf(h + l);
    l = (h - t) + l;
    h = t; /* log2 |x| = h + l */
    q = ay < 4294967296.0f ? y : (y < 0 ? -4294967296.0f : 4294967296.0f);
    p = cnn_headf(q);
    l = (q - p) * h + q * l;
    h = p * h;
    q = h + l;
    h = q > 200.0f ? 200.0f : h;
    h = q < -200.0f ? -200.0f : h;
    l = q > 200.0f || q < -200.0f ? 0.0f : l;
    t = (h + l) + 12582912.0f;
    n = t - 12582912.0f;
    h -= n;
    r = h + l;
    p = cnn_headf(r);
    l = (h - p) + l;
    q = 1.46982629e-05f * r + 0.000154527734f;
    q = q * r + 0.00133366091f;
    q = q * r + 0.00961808581f;
    q = q * r + 0.0555040613f;
    q = q * r + 0.240226507f;
    q = q * (r * r) + (p * 3.19480896e-05f + l * 0.693147182f); /* 0.693147182 = 0.693115234 + 3.19480896e-05 */
    q = cnn_scalef(1.0f + (p * 0.693115234f + q), cnn_f32_bits(t) - 0x4b400000u);
    t = (y < 0) == (a == 0) ? cnn_inff() : 0.0f;
    q = a == 0 || a == cnn_inff() ? t : q;
    t = odd ? -q : (whole ? q : cnn_nanf());
    t = whole || a == 0 || a == cnn_inff() ? t : cnn_nanf();
    t = a == 0 || a == cnn_inff() ? (odd ? -q : q) : t;
    q = cnn_f32_bits(x) >> 31 ? t : q;
    q = x != x || y != y ? x + y : q;
    return y == 0 || x == 1.0f ? 1.0f : q;
}
//@ end
#endif
