// SPDX-License-Identifier: Apache-2.0
// The interpreter's calls on text: case, regular expressions, tokens, n-grams. Case goes by the compiler's own
// tables and not the call's; the rest runs the call's tables in the plainest way.
#include "base/unicode.h"
#include "tensor/eval_string.h"
#include <string.h>

// ---- case -----------------------------------------------------------------------------------------

static bool in_set(const char *name, int32_t c) {
    const UnicodeSet *s = unicode_find(name);
    for (int i = 0; i < s->n; i++)
        if (c >= s->r[i][0] && c <= s->r[i][1]) return true;
    return false;
}

static bool is_final(const int32_t *c, int n, int i) {
    int before = i - 1, behind = i + 1;
    while (before >= 0 && in_set("ignorable", c[before])) before--;
    while (behind < n && in_set("ignorable", c[behind])) behind++;
    return before >= 0 && in_set("cased", c[before]) && !(behind < n && in_set("cased", c[behind]));
}

static bool change(DataStr s, bool upper, Text *t) {
    const UnicodeCase *u = &unicode_case[upper];
    int32_t *c = NEWN(int32_t, s.n + 1);
    int n = 0, len;
    for (size_t at = 0; at < s.n; at += (size_t)len)
        if ((c[n++] = unicode_decode(s.p + at, s.n - at, &len)) < 0) return false;
    for (int i = 0; i < n; i++) {
        int32_t to[4] = { c[i] };
        for (int k = 0; k < u->nspecial; k++)
            if (u->special[k][0] == c[i]) memcpy(to, u->special[k] + 1, 3 * sizeof *to);
        for (int k = 0; k < u->nrow; k++)
            if (c[i] >= u->row[k][0] && c[i] <= u->row[k][1] && (c[i] - u->row[k][0]) % u->row[k][2] == 0) to[0] = c[i] + u->row[k][3];
        if (!upper && c[i] == 0x3a3 && is_final(c, n, i)) to[0] = 0x3c2;
        char bytes[4];
        for (int k = 0; k == 0 || to[k]; k++) put_n(t, bytes, (size_t)unicode_encode(to[k], bytes));
    }
    return true;
}

int eval_string_case(const Node *n, Tensor *const *in, Tensor **out) {
    out[0] = tensor_like(in[0], STR, in[0]->rank, 0);
    for (size_t i = 0; i < out[0]->data->n; i++) {
        Text t = { 0 };
        if (!change(str_at(in[0], i), call_arg(n, 0) != 0, &t)) return CNN_EDATA;
        set_str(out[0], i, t.s ? t.s : "", t.n);
    }
    return CNN_OK;
}

// ---- regular expressions ----------------------------------------------------------------------------

typedef struct { const Tensor *classes, *table; int64_t nclass, first, k; } Automaton;

static int64_t entry(const Automaton *a, int64_t state, int c) { // of a byte, or -1: the end
    int64_t class = c < 0 ? a->nclass : data_get(a->classes->data, (size_t)(256 * a->k + c)).i;
    return data_get(a->table->data, (size_t)(a->first + state * (a->nclass + 1) + class)).i;
}

int eval_regex_match(const Node *n, Tensor *const *in, Tensor **out) {
    Automaton a = { in[1], in[2], call_arg(n, 0), 0, 0 };
    out[0] = tensor_like(in[0], BOOL, in[0]->rank, 0);
    for (size_t i = 0; i < out[0]->data->n; i++) {
        DataStr s = str_at(in[0], i);
        int64_t state = data_get(in[3]->data, 0).i;
        for (size_t k = 0; k < s.n; k++) state = entry(&a, state, (unsigned char)s.p[k]) / 2;
        data_set(out[0]->data, i, (Scalar){ .i = entry(&a, state, -1) % 2 });
    }
    return CNN_OK;
}

typedef struct { DataStr *v; int n, cap; } Tokens;

static int before(DataStr s, size_t at) { // the kind of what stands before
    if (!at) return 0;
    char c = s.p[at - 1];
    return c == '\n' ? 1 : (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ? 2 : 3;
}

// The first, longest match in s from `at` on.
static bool search(Tensor *const *in, int64_t k, DataStr s, size_t at, size_t *from, size_t *to) {
    Automaton a = { in[1], in[2], data_get(in[4]->data, (size_t)(2 * k)).i, data_get(in[4]->data, (size_t)(2 * k + 1)).i, k };
    for (*from = at; *from <= s.n; ++*from) {
        bool found = false;
        if (*from < s.n && ((unsigned char)s.p[*from] & 0xc0) == 0x80) continue;
        int64_t state = data_get(in[3]->data, (size_t)(4 * k + before(s, *from))).i;
        for (size_t i = *from; i <= s.n; i++) {
            int64_t e = entry(&a, state, i < s.n ? (unsigned char)s.p[i] : -1);
            if (e % 2) found = true, *to = i;
            state = e / 2;
        }
        if (found) return true;
    }
    return false;
}

static size_t char_len(DataStr s, size_t at) {
    size_t len;
    str_char(s.p + at, s.n - at, &len);
    return len;
}

static void add_token(Tokens *t, DataStr s, size_t from, size_t to, int64_t least) {
    int64_t chars = 0;
    for (size_t i = from; i < to; i++) chars += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    if (chars >= least) PUSH(t->v, t->n, t->cap, ((DataStr){ s.p + from, to - from }));
}

static void cut(Tensor *const *in, int64_t k, int64_t mode, int64_t least, DataStr s, Tokens *t) {
    size_t at = 0, from, to;
    if (mode == 2) {
        for (; at < s.n; at += char_len(s, at)) add_token(t, s, at, at + char_len(s, at), least);
        return;
    }
    bool more = mode == 0 || s.n > 0;
    while (more && search(in, k, s, at, &from, &to)) {
        if (mode == 1) add_token(t, s, from, to, least);
        else add_token(t, s, at, from, least);
        more = to > from || from < s.n;
        at = to > from ? to : from < s.n ? from + char_len(s, from) : from;
        if (mode == 1) more = at < s.n;
    }
    if (mode == 0 && more) add_token(t, s, at, s.n, least);
}

static Tokens tokens_of(const Node *n, Tensor *const *in, DataStr s) {
    Tokens t = { 0 };
    int64_t count = call_arg(n, 0), mode = call_arg(n, 1), least = call_arg(n, 2);
    PUSH(t.v, t.n, t.cap, s);
    for (int64_t k = 0; k < (mode == 0 ? count : 1); k++) {
        Tokens next = { 0 };
        for (int i = 0; i < t.n; i++) cut(in, k, mode, least, t.v[i], &next);
        t = next;
    }
    return t;
}

int eval_token_count(const Node *n, Tensor *const *in, Tensor **out) {
    out[0] = tensor_like(in[0], I64, in[0]->rank, 0);
    for (size_t i = 0; i < out[0]->data->n; i++) data_set(out[0]->data, i, (Scalar){ .i = tokens_of(n, in, str_at(in[0], i)).n });
    return CNN_OK;
}

int eval_token_split(const Node *n, Tensor *const *in, Tensor **out) {
    size_t count = (size_t)tensor_numel(in[0]), at = 0;
    bool mark = call_arg(n, 3) != 0;
    int64_t m = 0;
    for (size_t i = 0; i < count; i++) {
        int k = tokens_of(n, in, str_at(in[0], i)).n;
        if (k > m) m = k;
    }
    if (mark && m) m += 2;
    out[0] = tensor_like(in[0], STR, in[0]->rank + 1, m);
    for (size_t i = 0; i < count; i++) {
        Tokens t = tokens_of(n, in, str_at(in[0], i));
        size_t end = (i + 1) * (size_t)m;
        if (mark && m) set_str(out[0], at++, "\2", 1);
        for (int k = 0; k < t.n; k++) set_str(out[0], at++, t.v[k].p, t.v[k].n);
        if (mark && m) set_str(out[0], at++, "\3", 1);
        while (at < end) set_str(out[0], at++, str_at(in[5], 0).p, str_at(in[5], 0).n);
    }
    return CNN_OK;
}

// ---- hashes ---------------------------------------------------------------------------------------

static uint32_t rotate(uint32_t x, int n) { return x << n | x >> (32 - n); }

static uint32_t hash_bytes(const unsigned char *s, size_t n, uint32_t h) { // as Austin Appleby wrote it down
    const unsigned char *tail = s + n / 4 * 4;
    uint32_t k = 0;
    for (; s < tail; s += 4) {
        k = s[0] | (uint32_t)s[1] << 8 | (uint32_t)s[2] << 16 | (uint32_t)s[3] << 24;
        h = rotate(h ^ rotate(k * 0xcc9e2d51u, 15) * 0x1b873593u, 13) * 5 + 0xe6546b64u;
    }
    k = 0;
    switch (n & 3) {
    case 3: k ^= (uint32_t)tail[2] << 16; // fall through
    case 2: k ^= (uint32_t)tail[1] << 8; // fall through
    case 1: k ^= tail[0], h ^= rotate(k * 0xcc9e2d51u, 15) * 0x1b873593u; break;
    default: break;
    }
    h ^= (uint32_t)n;
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return h ^ h >> 16;
}

int eval_murmur3(const Node *n, Tensor *const *in, Tensor **out) {
    out[0] = tensor_like(in[0], U32, in[0]->rank, 0);
    size_t size = dt_size(in[0]->dt);
    for (size_t i = 0; i < out[0]->data->n; i++) {
        unsigned char bytes[8];
        uint64_t v = in[0]->dt == STR ? 0 : (uint64_t)data_get(in[0]->data, i).i;
        for (int k = 0; k < 8; k++) bytes[k] = (unsigned char)(v >> (8 * k));
        DataStr s = in[0]->dt == STR ? str_at(in[0], i) : (DataStr){ (char *)bytes, size };
        data_set(out[0]->data, i, (Scalar){ .i = hash_bytes((const unsigned char *)s.p, s.n, (uint32_t)call_arg(n, 0)) });
    }
    return CNN_OK;
}

// ---- n-grams --------------------------------------------------------------------------------------

static int64_t child(Tensor *const *in, int64_t node, int64_t word) { // by looking at every edge
    for (size_t i = 0; word >= 0 && i < in[1]->data->n; i++) {
        int64_t to = data_get(in[2]->data, i).i;
        if (to >= 0 && data_get(in[1]->data, i).i == (node << 32 | word)) return to;
    }
    return -1;
}

int eval_ngram_count(const Node *n, Tensor *const *in, Tensor **out) {
    int64_t least = call_arg(n, 0), most = call_arg(n, 1), skips = call_arg(n, 2), cols = in[0]->shape[1], columns;
    if (!e_is_const(n->out[0].shape[1], &columns)) die("n-grams of an unknown number");
    out[0] = tensor_like(in[0], F32, 2, 0);
    out[0]->shape[1] = columns;
    out[0]->data = data_new(F32, (size_t)(in[0]->shape[0] * columns));
    float *y = (float *)(intptr_t)out[0]->data->p;
    for (int64_t r = 0; r < in[0]->shape[0]; r++, y += columns)
        for (int64_t skip = 0; skip <= skips; skip++)
            for (int64_t i = 0; i < cols; i++)
                for (int64_t k = 1, at = i, node = 0; k <= most && at < cols; k++, at += skip + 1) {
                    node = child(in, node, data_get(in[0]->data, (size_t)(r * cols + at)).i);
                    if (node < 0) break;
                    int64_t column = data_get(in[3]->data, (size_t)node).i;
                    if (k >= least && column >= 0 && !(k == 1 && skip)) y[column]++;
                }
    return CNN_OK;
}
