// SPDX-License-Identifier: Apache-2.0
// The interpreter's calls on strings: by the C library, and nothing of the runtime's.
#include "tensor/eval_string.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

DataStr str_at(const Tensor *t, size_t i) { return ((const DataStr *)t->data->p)[t->data->splat ? 0 : i]; }

int64_t call_arg(const Node *n, size_t i) {
    int64_t v;
    memcpy(&v, (const char *)n->aux + i * sizeof v, sizeof v);
    return v;
}

Tensor *tensor_like(const Tensor *x, DType dt, int rank, int64_t last) {
    Tensor *t = NEW(Tensor);
    t->dt = dt;
    t->rank = rank;
    memcpy(t->shape, x->shape, sizeof t->shape);
    if (rank > x->rank) t->shape[rank - 1] = last;
    t->data = data_new(dt, (size_t)tensor_numel(t));
    return t;
}

void set_str(Tensor *t, size_t i, const char *p, size_t n) { ((DataStr *)(intptr_t)t->data->p)[i] = (DataStr){ p, n }; }

int eval_string_concat(const Node *n, Tensor *const *in, Tensor **out) {
    (void)n;
    out[0] = tensor_like(in[0], STR, in[0]->rank, 0);
    for (size_t i = 0; i < out[0]->data->n; i++) {
        DataStr a = str_at(in[0], i), b = str_at(in[1], i);
        char *p = arena_alloc(a.n + b.n + 1);
        if (a.n) memcpy(p, a.p, a.n);
        if (b.n) memcpy(p + a.n, b.p, b.n);
        set_str(out[0], i, p, a.n + b.n);
    }
    return CNN_OK;
}

// ---- numbers --------------------------------------------------------------------------------------

static double read_back(DType dt, const char *s) { return dt == F32 ? (double)strtof(s, NULL) : round_to(dt, strtod(s, NULL)); }

// The fewest digits that read back: the nearest of each length, then the one above it.
static void shortest(DType dt, double v, char *digits, int *exp) {
    char s[64];
    for (int p = 0; p < 17; p++) {
        snprintf(s, sizeof s, "%.*e", p, v);
        bool found = read_back(dt, s) == v;
        char *e = strchr(s, 'e');
        for (char *c = e - 1; !found && c >= s; c--) { // one up
            if (*c == '.') continue;
            if (*c < '9') {
                ++*c;
                break;
            }
            *c = '0';
        }
        if (!found && read_back(dt, s) != v) continue;
        *exp = atoi(e + 1);
        int n = 0;
        for (char *c = s; c < e; c++)
            if (*c != '.') digits[n++] = *c;
        while (n > 1 && digits[n - 1] == '0') n--;
        digits[n] = 0;
        return;
    }
    die("no text of %a", v);
}

static char *float_text(DType dt, double v) {
    char d[32], *s;
    int e;
    if (isnan(v)) return arena_strdup("nan");
    if (isinf(v)) return arena_strdup(v < 0 ? "-inf" : "inf");
    const char *sign = signbit(v) ? "-" : "";
    if (v == 0) return arena_printf("%s0.0", sign);
    shortest(dt, fabs(v), d, &e);
    int n = (int)strlen(d);
    if (fabs(v) < 1e-4 || fabs(v) >= (dt == F16 ? 1e3 : dt == F32 ? 1e6 : 1e16)) return arena_printf("%s%c%s%se%c%02d", sign, d[0], n > 1 ? "." : "", d + 1, e < 0 ? '-' : '+', abs(e));
    if (e < 0) return arena_printf("%s0.%.*s%s", sign, -e - 1, "0000", d);
    s = arena_printf("%s%.*s%.*s.%s", sign, e + 1 < n ? e + 1 : n, d, e + 1 > n ? e + 1 - n : 0, "0000000000000000", e + 1 < n ? d + e + 1 : "0");
    return s;
}

int eval_string_print(const Node *n, Tensor *const *in, Tensor **out) {
    (void)n;
    const Tensor *x = in[0];
    out[0] = tensor_like(x, STR, x->rank, 0);
    for (size_t i = 0; i < out[0]->data->n; i++) {
        Scalar v = data_get(x->data, i);
        const char *s = x->dt == BOOL ? (v.i ? "True" : "False")
                        : x->dt == U64 ? arena_printf("%llu", (unsigned long long)v.i)
                        : x->dt == I64 ? arena_printf("%lld", (long long)v.i)
                                       : float_text(x->dt, v.f);
        set_str(out[0], i, s, strlen(s));
    }
    return CNN_OK;
}

static bool blank(char c) { return c == ' ' || (c >= 9 && c <= 13); }

// The string without blanks around it, ended by a NUL; NULL where it holds one, or C's hexadecimal or nan(…).
static char *number_text(DataStr s) {
    while (s.n && blank(s.p[0])) s.p++, s.n--;
    while (s.n && blank(s.p[s.n - 1])) s.n--;
    for (size_t i = 0; i < s.n; i++)
        if (!s.p[i] || strchr("xX()", s.p[i])) return NULL;
    char *t = arena_alloc(s.n + 1);
    if (s.n) memcpy(t, s.p, s.n);
    return t;
}

static bool read_double(DataStr s, double *v) {
    char *t = number_text(s), *end;
    if (!t || !*t) return false;
    *v = strtod(t, &end);
    return !*end;
}

int eval_string_to_f64(const Node *n, Tensor *const *in, Tensor **out) {
    (void)n;
    out[0] = tensor_like(in[0], F64, in[0]->rank, 0);
    for (size_t i = 0; i < out[0]->data->n; i++) {
        double v;
        if (!read_double(str_at(in[0], i), &v)) return CNN_EDATA;
        data_set(out[0]->data, i, (Scalar){ .f = v });
    }
    return CNN_OK;
}

int eval_string_to_i64(const Node *n, Tensor *const *in, Tensor **out) {
    (void)n;
    out[0] = tensor_like(in[0], I64, in[0]->rank, 0);
    for (size_t i = 0; i < out[0]->data->n; i++) {
        DataStr s = str_at(in[0], i);
        char *t = number_text(s);
        size_t digits = t ? strspn(t + (*t == '-' || *t == '+'), "0123456789") : 0;
        bool whole = digits && digits <= 20 && strlen(t) == s.n && digits + (size_t)(*t == '-' || *t == '+') == s.n;
        uint64_t v = 0;
        for (size_t k = s.n - digits; whole && k < s.n; k++)
            whole = !__builtin_mul_overflow(v, 10u, &v) && !__builtin_add_overflow(v, (unsigned)(s.p[k] - '0'), &v);
        double f;
        if (whole) {
            data_set(out[0]->data, i, (Scalar){ .i = (int64_t)(*t == '-' ? 0 - v : v) });
            continue;
        }
        if (!read_double(s, &f)) return CNN_EDATA;
        data_set(out[0]->data, i, fn_eval(FN_cast, I64, F64, &(Scalar){ .f = f }));
    }
    return CNN_OK;
}

// ---- pieces ---------------------------------------------------------------------------------------

static bool is_space(uint32_t c) {
    static const uint32_t more[] = { 0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000 };
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        if (c == more[i]) return true;
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || (c >= 0x2000 && c <= 0x200a);
}

// The code point at s, and its bytes; what is no UTF-8 is a byte of its own, -1.
int32_t str_char(const char *s, size_t n, size_t *len) {
    const unsigned char *p = (const unsigned char *)s;
    size_t k = p[0] < 0x80 ? 1 : p[0] >= 0xc0 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf8 ? 4 : 0;
    uint32_t c = k == 1 ? p[0] : p[0] & (0x7fu >> k);
    *len = 1;
    if (!k || k > n) return -1;
    for (size_t i = 1; i < k; i++) {
        if (p[i] >> 6 != 2) return -1;
        c = c * 64 + (p[i] & 63u);
    }
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (c < least[k] || c > 0x10ffff || c >> 11 == 0x1b) return -1;
    *len = k;
    return (int32_t)c;
}

static size_t space_at(DataStr s, size_t i) {
    size_t len;
    int32_t c = str_char(s.p + i, s.n - i, &len);
    return c >= 0 && is_space((uint32_t)c) ? len : 0;
}

typedef struct { DataStr *v; int n, cap; } Pieces;

static void split(Pieces *p, DataStr s, DataStr by, int64_t most) {
    size_t i = 0, k;
    p->n = 0;
    if (by.n) {
        for (size_t from = 0; from <= s.n; from = i + by.n) {
            for (i = from; i < s.n; i++)
                if (most != 0 && s.n - i >= by.n && !memcmp(s.p + i, by.p, by.n)) break;
            PUSH(p->v, p->n, p->cap, ((DataStr){ s.p + from, i - from }));
            if (i >= s.n) return;
            most--;
        }
        return;
    }
    for (;;) {
        while (i < s.n && (k = space_at(s, i))) i += k;
        if (i >= s.n) return;
        size_t from = i;
        if (most-- == 0) i = s.n;
        while (i < s.n && !space_at(s, i)) i++;
        PUSH(p->v, p->n, p->cap, ((DataStr){ s.p + from, i - from }));
    }
}

int eval_string_pieces(const Node *n, Tensor *const *in, Tensor **out) {
    Pieces p = { 0 };
    out[0] = tensor_like(in[0], I64, in[0]->rank, 0);
    for (size_t i = 0; i < out[0]->data->n; i++) {
        split(&p, str_at(in[0], i), str_at(in[1], 0), call_arg(n, 0));
        data_set(out[0]->data, i, (Scalar){ .i = p.n });
    }
    return CNN_OK;
}

int eval_string_split(const Node *n, Tensor *const *in, Tensor **out) {
    Pieces p = { 0 };
    int64_t m = 0;
    size_t count = (size_t)tensor_numel(in[0]);
    for (size_t i = 0; i < count; i++) {
        split(&p, str_at(in[0], i), str_at(in[1], 0), call_arg(n, 0));
        if (p.n > m) m = p.n;
    }
    out[0] = tensor_like(in[0], STR, in[0]->rank + 1, m);
    for (size_t i = 0; i < count; i++) {
        split(&p, str_at(in[0], i), str_at(in[1], 0), call_arg(n, 0));
        for (int k = 0; k < m; k++) set_str(out[0], i * (size_t)m + (size_t)k, k < p.n ? p.v[k].p : "", k < p.n ? p.v[k].n : 0);
    }
    return CNN_OK;
}

// ---- look-up --------------------------------------------------------------------------------------

typedef struct { DataStr s; int64_t i; } Key;

static int key_order(const void *pa, const void *pb) {
    const Key *a = pa, *b = pb;
    size_t n = a->s.n < b->s.n ? a->s.n : b->s.n;
    int c = n ? memcmp(a->s.p, b->s.p, n) : 0;
    if (!c) c = a->s.n < b->s.n ? -1 : a->s.n > b->s.n;
    return c ? c : a->i < b->i ? 1 : a->i > b->i ? -1 : 0; // the last of equal ones first
}

static int find_order(const void *pa, const void *pb) {
    Key a = *(const Key *)pa, b = *(const Key *)pb;
    a.i = b.i = 0;
    return key_order(&a, &b);
}

int eval_string_find(const Node *n, Tensor *const *in, Tensor **out) {
    (void)n;
    size_t nk = in[1]->data->n;
    Key *key = NEWN(Key, nk + 1);
    for (size_t i = 0; i < nk; i++) key[i] = (Key){ str_at(in[1], i), (int64_t)i };
    qsort(key, nk, sizeof *key, key_order);
    size_t m = 0;
    for (size_t i = 0; i < nk; i++)
        if (!m || key[i].s.n != key[m - 1].s.n || memcmp(key[i].s.p, key[m - 1].s.p, key[i].s.n)) key[m++] = key[i];
    out[0] = tensor_like(in[0], I64, in[0]->rank, 0);
    for (size_t i = 0; i < out[0]->data->n; i++) {
        Key want = { str_at(in[0], i), 0 };
        const Key *k = bsearch(&want, key, m, sizeof *key, find_order);
        data_set(out[0]->data, i, (Scalar){ .i = k ? k->i : -1 });
    }
    return CNN_OK;
}
