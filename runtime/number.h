// SPDX-License-Identifier: Apache-2.0
// Numbers as text and back. Floats print as NumPy's str: the fewest digits that read back as the same
// number, the nearest such; text is read to the nearest double. Both by exact integers of bounded size.
#ifndef CNN_RUNTIME_NUMBER_H
#define CNN_RUNTIME_NUMBER_H
#include "abi.h"
#include "int.h"
#include "math.h"
#include "text.h"
#include "types.h"

//@ cnn_big:
/* Unsigned integers of up to 4096 bits, least word first; n words are in use. */
enum { CNN_BIG = 128 };
typedef struct { uint32_t w[CNN_BIG]; int n; } cnn_big;

static inline void cnn_big_set(cnn_big *a, uint64_t v) {
    a->w[0] = (uint32_t)v;
    a->w[1] = (uint32_t)(v >> 32);
    a->n = a->w[1] ? 2 : a->w[0] ? 1 : 0;
}

/* a = a * m + c; what has no room is lost. */
static inline void cnn_big_muladd(cnn_big *a, uint32_t m, uint32_t c) {
    uint64_t carry = c;
    int i;
    for (i = 0; i < a->n; i++) {
        carry += (uint64_t)a->w[i] * m;
        a->w[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry && a->n < CNN_BIG) a->w[a->n++] = (uint32_t)carry;
}

static inline void cnn_big_pow10(cnn_big *a, int e) {
    for (; e >= 9; e -= 9) cnn_big_muladd(a, 1000000000u, 0);
    for (; e > 0; e--) cnn_big_muladd(a, 10, 0);
}

static inline void cnn_big_shift(cnn_big *a, int e) {
    const int words = e / 32, bits = e % 32;
    int i;
    if (!a->n || a->n + words + 1 > CNN_BIG) return;
    a->w[a->n] = 0;
    for (i = a->n; i >= 0; i--) {
        const uint64_t v = (uint64_t)a->w[i] << 32 | (i ? a->w[i - 1] : 0);
        a->w[i + words] = (uint32_t)(v >> (32 - bits));
    }
    for (i = 0; i < words; i++) a->w[i] = 0;
    a->n += words + 1;
    while (a->n && !a->w[a->n - 1]) a->n--;
}

static inline int cnn_big_order(const cnn_big *a, const cnn_big *b) {
    int i;
    if (a->n != b->n) return a->n < b->n ? -1 : 1;
    for (i = a->n - 1; i >= 0; i--)
        if (a->w[i] != b->w[i]) return a->w[i] < b->w[i] ? -1 : 1;
    return 0;
}

/* a -= b, b <= a */
static inline void cnn_big_sub(cnn_big *a, const cnn_big *b) {
    uint64_t borrow = 0;
    int i;
    for (i = 0; i < a->n; i++) {
        const uint64_t v = (uint64_t)a->w[i] - (i < b->n ? b->w[i] : 0) - borrow;
        a->w[i] = (uint32_t)v;
        borrow = v >> 63;
    }
    while (a->n && !a->w[a->n - 1]) a->n--;
}

//@ cnn_big_sum: cnn_big
/* The order of a + b and c. */
static inline int cnn_big_sum_order(const cnn_big *a, const cnn_big *b, const cnn_big *c) {
    cnn_big s = *a;
    uint64_t carry = 0;
    int i;
    for (i = s.n; i < b->n; i++) s.w[i] = 0;
    if (s.n < b->n) s.n = b->n;
    for (i = 0; i < s.n; i++) {
        carry += (uint64_t)s.w[i] + (i < b->n ? b->w[i] : 0);
        s.w[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry && s.n < CNN_BIG) s.w[s.n++] = (uint32_t)carry;
    return cnn_big_order(&s, c);
}

//@ cnn_shortest: cnn_big cnn_big_sum
/* The digits of m * 2^e > 0, the fewest that lie nearer to it than to its neighbours (Steele and White 1990);
   *point: the decimal point stands before digit 0 at 0. `close`: the neighbour below is half as far. */
static inline int cnn_shortest(uint64_t m, int e, int close, char *digit, int *point) {
    cnn_big r, s, up, down;
    const int even = (m & 1) == 0;
    int n = 0, k, low, high;
    double log;
    cnn_big_set(&r, m);
    cnn_big_set(&s, 1);
    cnn_big_set(&up, 1);
    cnn_big_shift(&r, (e > 0 ? e : 0) + 1 + close);
    cnn_big_shift(&s, (e < 0 ? -e : 0) + 1 + close);
    cnn_big_shift(&up, (e > 0 ? e : 0) + close);
    cnn_big_set(&down, 1);
    cnn_big_shift(&down, e > 0 ? e : 0);
    log = ((double)e + 63.0) * 0.30102999566398120;
    for (k = 63; k > 0 && !(m >> k); k--) log -= 0.30102999566398120;
    k = (int)(log + 400.0) - 400; /* 10^k is m * 2^e or a little less */
    if (k >= 0) cnn_big_pow10(&s, k);
    else {
        cnn_big_pow10(&r, -k);
        cnn_big_pow10(&up, -k);
        cnn_big_pow10(&down, -k);
    }
    high = cnn_big_sum_order(&r, &up, &s);
    while (even ? high >= 0 : high > 0) {
        k++;
        cnn_big_muladd(&s, 10, 0);
        high = cnn_big_sum_order(&r, &up, &s);
    }
    *point = k;
    do {
        int d = 0;
        cnn_big_muladd(&r, 10, 0);
        cnn_big_muladd(&up, 10, 0);
        cnn_big_muladd(&down, 10, 0);
        while (cnn_big_order(&r, &s) >= 0) {
            cnn_big_sub(&r, &s);
            d++;
        }
        low = cnn_big_order(&r, &down);
        high = cnn_big_sum_order(&r, &up, &s);
        low = even ? low <= 0 : low < 0;
        high = even ? high >= 0 : high > 0;
        if (low || high) {
            const int half = cnn_big_sum_order(&r, &r, &s);
            if (high && (!low || half > 0 || (half == 0 && (d & 1)))) d++;
        }
        digit[n++] = (char)('0' + d);
    } while (!low && !high && n < 20);
    return n;
}

//@ cnn_float_text: cnn_shortest
/* NumPy's layout of n digits: plain unless `exponent`. Returns the length, at most 32. */
static inline size_t cnn_float_text(const char *digit, int n, int point, int negative, int exponent, char *s) {
    size_t len = 0;
    int i, e = point - 1;
    if (negative) s[len++] = '-';
    if (!exponent) {
        if (point <= 0) {
            s[len++] = '0';
            s[len++] = '.';
            for (i = point; i < 0; i++) s[len++] = '0';
        }
        for (i = 0; i < n || i < point; i++) {
            if (i == point && i > 0) s[len++] = '.';
            s[len++] = i < n ? digit[i] : '0';
        }
        if (point >= n) {
            s[len++] = '.';
            s[len++] = '0';
        }
        return len;
    }
    s[len++] = digit[0];
    if (n > 1) s[len++] = '.';
    for (i = 1; i < n; i++) s[len++] = digit[i];
    s[len++] = 'e';
    s[len++] = e < 0 ? '-' : '+';
    if (e < 0) e = -e;
    if (e >= 100) s[len++] = (char)('0' + e / 100);
    s[len++] = (char)('0' + e / 10 % 10);
    s[len++] = (char)('0' + e % 10);
    return len;
}

//@ cnn_ieee_text: cnn_float_text
/* The float with these bits, of `wide` bits of exponent and `frac` bits of fraction: plain from `least`, the bits of the
   first number that is 1e-4 or more, to below 10^most. */
static inline size_t cnn_ieee_text(uint64_t bits, int wide, int frac, uint64_t least, int most, char *s) {
    const uint64_t f = bits & ((UINT64_C(1) << frac) - 1);
    const int e = (int)(bits >> frac & ((1u << wide) - 1u)), negative = (int)(bits >> (wide + frac) & 1), bias = (1 << (wide - 1)) - 1 + frac;
    char digit[24];
    int n = 1, point = 1;
    if (e == (1 << wide) - 1) {
        const char *word = f ? "nan" : negative ? "-inf" : "inf";
        size_t len = 0;
        while (word[len]) s[len] = word[len], len++;
        return len;
    }
    digit[0] = '0';
    if (e) n = cnn_shortest(f | UINT64_C(1) << frac, e - bias, f == 0 && e > 1, digit, &point);
    else if (f) n = cnn_shortest(f, 1 - bias, 0, digit, &point);
    return cnn_float_text(digit, n, point, negative, (e || f) && ((bits & ((UINT64_C(1) << (wide + frac)) - 1)) < least || point > most), s);
}

//@ cnn_print_f64: cnn_ieee_text cnn_f64_bits
static inline size_t cnn_print_f64(double v, char *s) { return cnn_ieee_text(cnn_f64_bits(v), 11, 52, UINT64_C(0x3f1a36e2eb1c432d), 16, s); }

//@ cnn_print_f32: cnn_ieee_text cnn_f32_bits
static inline size_t cnn_print_f32(float v, char *s) { return cnn_ieee_text(cnn_f32_bits(v), 8, 23, 0x38d1b718u, 6, s); }

//@ cnn_print_f16: cnn_ieee_text
static inline size_t cnn_print_f16(uint16_t v, char *s) { return cnn_ieee_text(v, 5, 10, 0x068eu, 3, s); }

//@ cnn_print_u64:
static inline size_t cnn_print_u64(uint64_t v, char *s) {
    char back[20];
    size_t n = 0, i;
    do back[n++] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    for (i = 0; i < n; i++) s[i] = back[n - 1 - i];
    return n;
}

//@ cnn_print_i64: cnn_print_u64
static inline size_t cnn_print_i64(int64_t v, char *s) {
    s[0] = '-';
    return v < 0 ? 1 + cnn_print_u64(0 - (uint64_t)v, s + 1) : cnn_print_u64((uint64_t)v, s);
}

//@ cnn_print_bool:
static inline size_t cnn_print_bool(uint8_t v, char *s) {
    const char *word = v ? "True" : "False";
    size_t n = 0;
    while (word[n]) s[n] = word[n], n++;
    return n;
}

//@ cnn_string_print: cnn_text
/* Numbers as strings. */
#define CNN_STRING_PRINT(NAME, T, PRINT)                                                            \
    static inline int NAME(cnn_heap *h, const T *x, cnn_string *y, int64_t n) {                      \
        int64_t i;                                                                                  \
        int st = CNN_OK;                                                                            \
        for (i = 0; i < n && !st; i++) {                                                            \
            char s[40];                                                                             \
            st = cnn_text(h, s, PRINT(x[i], s), &y[i]);                                             \
        }                                                                                           \
        return st;                                                                                  \
    }

//@ cnn_string_print_f32: cnn_string_print cnn_print_f32
CNN_STRING_PRINT(cnn_string_print_f32, float, cnn_print_f32)

//@ cnn_string_print_f64: cnn_string_print cnn_print_f64
CNN_STRING_PRINT(cnn_string_print_f64, double, cnn_print_f64)

//@ cnn_string_print_f16: cnn_string_print cnn_print_f16
CNN_STRING_PRINT(cnn_string_print_f16, uint16_t, cnn_print_f16)

//@ cnn_string_print_i64: cnn_string_print cnn_print_i64
CNN_STRING_PRINT(cnn_string_print_i64, int64_t, cnn_print_i64)

//@ cnn_string_print_u64: cnn_string_print cnn_print_u64
CNN_STRING_PRINT(cnn_string_print_u64, uint64_t, cnn_print_u64)

//@ cnn_string_print_bool: cnn_string_print cnn_print_bool
CNN_STRING_PRINT(cnn_string_print_bool, uint8_t, cnn_print_bool)

//@ cnn_quotient: cnn_big cnn_bits_f64
/* The double nearest to a / b, b > 0: 64 bits of the quotient, and whether anything is left. */
static inline double cnn_quotient(cnn_big *a, cnn_big *b) {
    uint64_t q = 0, cut, half;
    int e = 32 * (a->n - b->n), i, lose;
    if (!a->n) return 0.0;
    if (e < 0) cnn_big_shift(a, -e);
    else cnn_big_shift(b, e);
    while (cnn_big_order(a, b) >= 0) {
        cnn_big_shift(b, 1);
        e++;
    }
    for (i = 0; i < 64; i++) { /* a < b: bits of weight 2^(e-1), 2^(e-2), ... */
        cnn_big_shift(a, 1);
        q <<= 1;
        if (cnn_big_order(a, b) < 0) {
            if (q == 0) { /* no bit yet */
                i--;
                e--;
            }
            continue;
        }
        cnn_big_sub(a, b);
        q |= 1;
    }
    if (e > 1024) return cnn_bits_f64(UINT64_C(0x7ff) << 52);
    if (e < -1074) return 0.0; /* below half of the least */
    lose = e < -1021 ? 11 + (-1021 - e) : 11; /* bits of q that a double has no room for */
    if (lose > 63) return cnn_bits_f64((q << 1) != 0 || a->n != 0 ? 1 : 0);
    cut = q & ((UINT64_C(1) << lose) - 1);
    half = UINT64_C(1) << (lose - 1);
    q >>= lose;
    if (cut > half || (cut == half && (a->n || (q & 1)))) q++;
    return cnn_bits_f64(e < -1021 ? q : ((uint64_t)(e + 1021) << 52) + q);
}

//@ cnn_read_word:
/* Whether s[*at ..) goes on with the word, in capitals or not; *at moves behind it. */
static inline int cnn_read_word(cnn_string s, size_t *at, const char *word) {
    size_t i = *at;
    for (; *word; word++, i++)
        if (i >= s.len || (s.ptr[i] | 32) != *word) return 0;
    *at = i;
    return 1;
}

//@ cnn_read_digits: cnn_big
/* digits [. digits] from *at on as *a * 10^*exp, of at most 800 digits that count (more than a double can tell apart;
   of the rest only whether any is not zero). Returns how many count, -1 without any digit. */
static inline int cnn_read_digits(cnn_string s, size_t *at, cnn_big *a, int64_t *exp) {
    int any = 0, dot = 0, used = 0;
    cnn_big_set(a, 0);
    for (; *at < s.len; ++*at) {
        const char c = s.ptr[*at];
        if (c == '.' && !dot) {
            dot = 1;
            continue;
        }
        if (c < '0' || c > '9') break;
        any = 1;
        if (used < 801 && (used || c != '0')) used++;
        if (used > 800) {
            if (c != '0') a->w[0] |= 1;
            *exp += !dot;
            continue;
        }
        if (used && a->n) cnn_big_muladd(a, 10, (uint32_t)(c - '0'));
        else if (used) cnn_big_set(a, (uint64_t)(c - '0'));
        *exp -= dot;
    }
    return any ? (used > 800 ? 800 : used) : -1;
}

//@ cnn_read_exponent:
/* Adds the exponent behind an e at *at, if there is one. 0: it has no digits. */
static inline int cnn_read_exponent(cnn_string s, size_t *at, int64_t *exp) {
    int minus = 0, digits = 0;
    int64_t e = 0;
    if (*at >= s.len || (s.ptr[*at] | 32) != 'e') return 1;
    ++*at;
    if (*at < s.len && (s.ptr[*at] == '+' || s.ptr[*at] == '-')) minus = s.ptr[(*at)++] == '-';
    for (; *at < s.len && s.ptr[*at] >= '0' && s.ptr[*at] <= '9'; ++*at, digits = 1)
        if (e < 1000000) e = e * 10 + (s.ptr[*at] - '0');
    *exp += minus ? -e : e;
    return digits;
}

//@ cnn_read_f64: cnn_quotient cnn_read_word cnn_read_digits cnn_read_exponent
/* [+-] digits [. digits] [e [+-] digits], inf, infinity or nan, with blanks around. 0: it is something else. */
static inline int cnn_read_f64(cnn_string s, double *v) {
    cnn_big a, b;
    size_t at = 0;
    int64_t exp = 0;
    int negative = 0, used;
    while (at < s.len && (s.ptr[at] == ' ' || (s.ptr[at] >= 9 && s.ptr[at] <= 13))) at++;
    while (s.len > at && (s.ptr[s.len - 1] == ' ' || (s.ptr[s.len - 1] >= 9 && s.ptr[s.len - 1] <= 13))) s.len--;
    if (at < s.len && (s.ptr[at] == '+' || s.ptr[at] == '-')) negative = s.ptr[at++] == '-';
    if (cnn_read_word(s, &at, "inf")) {
        cnn_read_word(s, &at, "inity");
        *v = cnn_bits_f64((uint64_t)(negative ? 0xfff : 0x7ff) << 52);
        return at == s.len;
    }
    if (cnn_read_word(s, &at, "nan")) {
        *v = cnn_bits_f64(UINT64_C(0x7ff8) << 48);
        return at == s.len;
    }
    used = cnn_read_digits(s, &at, &a, &exp);
    if (used < 0 || !cnn_read_exponent(s, &at, &exp) || at < s.len) return 0;
    if (!a.n || exp + used < -330) *v = 0.0;
    else if (exp + used > 310) *v = cnn_bits_f64(UINT64_C(0x7ff) << 52);
    else {
        cnn_big_set(&b, 1);
        cnn_big_pow10(exp > 0 ? &a : &b, (int)(exp > 0 ? exp : -exp));
        *v = cnn_quotient(&a, &b);
    }
    if (negative) *v = -*v;
    return 1;
}

//@ cnn_string_to_f64: cnn_read_f64
static inline int cnn_string_to_f64(const cnn_string *x, double *y, int64_t n) {
    int64_t i;
    for (i = 0; i < n; i++)
        if (!cnn_read_f64(x[i], &y[i])) return CNN_EDATA;
    return CNN_OK;
}

//@ cnn_string_to_i64: cnn_read_f64 cnn_f64_to_i64
/* Whole numbers up to 64 bits exactly, unsigned ones as their bits; others as the float that they are. */
static inline int cnn_string_to_i64(const cnn_string *x, int64_t *y, int64_t n) {
    int64_t i;
    for (i = 0; i < n; i++) {
        const cnn_string s = x[i];
        const int minus = s.len > 1 && s.ptr[0] == '-';
        size_t at = minus || (s.len > 1 && s.ptr[0] == '+') ? 1 : 0, from = at;
        uint64_t v = 0;
        double f;
        for (; at < s.len && at - from < 19 && s.ptr[at] >= '0' && s.ptr[at] <= '9'; at++) v = v * 10 + (uint64_t)(s.ptr[at] - '0');
        if (at + 1 == s.len && s.ptr[at] >= '0' && s.ptr[at] <= '9') { /* a digit more, where it fits */
            const uint64_t d = (uint64_t)(s.ptr[at] - '0');
            if (v < UINT64_MAX / 10 || (v == UINT64_MAX / 10 && d <= UINT64_MAX % 10)) {
                v = v * 10 + d;
                at++;
            }
        }
        if (at == s.len && at > from) {
            y[i] = (int64_t)(minus ? 0 - v : v);
            continue;
        }
        if (!cnn_read_f64(s, &f)) return CNN_EDATA;
        y[i] = cnn_f64_to_i64(f);
    }
    return CNN_OK;
}
//@ end
#endif
