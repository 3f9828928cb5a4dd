// SPDX-License-Identifier: Apache-2.0
// Strings: bytes in UTF-8 with a length. What makes new bytes takes them from the end of the work area, down
// to the highest of the buffers; nothing is given back before the next run.
#ifndef CNN_RUNTIME_TEXT_H
#define CNN_RUNTIME_TEXT_H
#include <string.h>
#include "abi.h"
#include "sort.h"

//@ cnn_heap:
/* What is free: new bytes come from its end. */
typedef struct { unsigned char *low, *top; } cnn_heap;

/* n bytes, or NULL. */
static inline char *cnn_take(cnn_heap *h, size_t n) {
    if (h->top < h->low || (size_t)(h->top - h->low) < n) return NULL;
    h->top -= n;
    return (char *)h->top;
}

//@ cnn_text: cnn_heap #string
/* A string of the bytes s[0 .. n), copied. */
static inline int cnn_text(cnn_heap *h, const char *s, size_t n, cnn_string *y) {
    char *p = cnn_take(h, n);
    if (!p) return CNN_ECAPACITY;
    memcpy(p, s, n);
    y->ptr = p;
    y->len = n;
    return CNN_OK;
}

//@ cnn_string_concat: cnn_heap #string
/* y = a + b */
static inline int cnn_string_concat(cnn_heap *h, const cnn_string *a, const cnn_string *b, cnn_string *y, int64_t n) {
    int64_t i;
    for (i = 0; i < n; i++) {
        const cnn_string s = a[i], t = b[i];
        char *p;
        if (!s.len || !t.len) {
            y[i] = s.len ? s : t;
            continue;
        }
        p = cnn_take(h, s.len + t.len);
        if (!p) return CNN_ECAPACITY;
        memcpy(p, s.ptr, s.len);
        memcpy(p + s.len, t.ptr, t.len);
        y[i].ptr = p;
        y[i].len = s.len + t.len;
    }
    return CNN_OK;
}

//@ cnn_string_order: #string
/* Negative, 0 or positive as a sorts before, with or after b: by bytes, which for UTF-8 is by characters. */
static inline int cnn_string_order(cnn_string a, cnn_string b) {
    const size_t n = a.len < b.len ? a.len : b.len;
    const int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return c ? c : a.len < b.len ? -1 : a.len > b.len;
}

//@ cnn_sort_str: cnn_merge_sort cnn_string_order
static inline int cnn_sort_str_before(const cnn_string *x, int64_t xs, int64_t i, int64_t j, int64_t down) {
    const int c = cnn_string_order(x[i * xs], x[j * xs]);
    return down ? c > 0 : c < 0;
}
CNN_MERGE_SORT(cnn_sort_str, cnn_string)

//@ cnn_utf8:
/* The code point at s[*at], which moves behind it; -1 and one byte where the bytes are no UTF-8. */
static inline int32_t cnn_utf8(const char *s, size_t n, size_t *at) {
    const unsigned char *p = (const unsigned char *)s + *at;
    const size_t left = n - *at;
    const uint32_t a = p[0];
    uint32_t c, i, k = a < 0x80 ? 0 : a < 0xc2 ? 9 : a < 0xe0 ? 1 : a < 0xf0 ? 2 : a < 0xf5 ? 3 : 9;
    static const uint32_t least[4] = {0, 0x80, 0x800, 0x10000};
    if (k == 0) {
        *at += 1;
        return (int32_t)a;
    }
    c = a & (0x3fu >> k);
    for (i = 1; i <= k && k < 4; i++) {
        if (i >= left || (p[i] & 0xc0u) != 0x80u) k = 9;
        else c = c << 6 | (p[i] & 0x3fu);
    }
    if (k > 3 || c < least[k] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
        *at += 1;
        return -1;
    }
    *at += k + 1;
    return (int32_t)c;
}

//@ cnn_is_space: cnn_utf8
/* Bytes of the white space (Unicode's, and the separators 1c to 1f) at s[at]; 0: none. */
static inline size_t cnn_is_space(const char *s, size_t n, size_t at) {
    size_t to = at;
    const int32_t c = cnn_utf8(s, n, &to);
    const int yes = (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
                    c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
    return yes ? to - at : 0;
}

//@ cnn_split_space: cnn_is_space
/* The next piece between white space from *at on; *left splits may still be done. 0: no more. */
static inline int cnn_split_space(cnn_string s, size_t *at, int64_t *left, cnn_string *piece) {
    size_t i = *at, k;
    while (i < s.len && (k = cnn_is_space(s.ptr, s.len, i)) != 0) i += k;
    if (i >= s.len) return 0;
    piece->ptr = s.ptr + i;
    if (*left == 0) i = s.len;
    while (i < s.len && !cnn_is_space(s.ptr, s.len, i)) i++;
    piece->len = (size_t)(s.ptr + i - piece->ptr);
    *left -= 1;
    *at = i;
    return 1;
}

//@ cnn_split_at: #string
/* The next piece before a delimiter from *at on; behind the last one *at is past the end. */
static inline int cnn_split_at(cnn_string s, cnn_string by, size_t *at, int64_t *left, cnn_string *piece) {
    size_t i = *at;
    if (i > s.len) return 0;
    while (i < s.len && (*left == 0 || s.len - i < by.len || memcmp(s.ptr + i, by.ptr, by.len) != 0)) i++;
    piece->ptr = s.len ? s.ptr + *at : s.ptr;
    piece->len = i - *at;
    *at = i < s.len ? i + by.len : s.len + 1;
    *left -= 1;
    return 1;
}

//@ cnn_string_pieces: cnn_split_space cnn_split_at
/* How many pieces each string splits into; most < 0: no limit to the splits. */
static inline int cnn_string_pieces(const cnn_string *x, const cnn_string *by, int64_t *count, int64_t n, int64_t most) {
    int64_t i;
    for (i = 0; i < n; i++) {
        int64_t left = most;
        size_t at = 0;
        cnn_string piece;
        count[i] = 0;
        while (by->len ? cnn_split_at(x[i], *by, &at, &left, &piece) : cnn_split_space(x[i], &at, &left, &piece)) count[i]++;
    }
    return CNN_OK;
}

//@ cnn_string_split: cnn_split_space cnn_split_at
/* The pieces of each string as a row of m, filled up by empty ones. */
static inline int cnn_string_split(const cnn_string *x, const cnn_string *by, cnn_string *y, int64_t n, int64_t most, int64_t m) {
    int64_t i, k;
    for (i = 0; i < n; i++, y += m) {
        int64_t left = most;
        size_t at = 0;
        cnn_string piece = {"", 0};
        for (k = 0; k < m && (by->len ? cnn_split_at(x[i], *by, &at, &left, &piece) : cnn_split_space(x[i], &at, &left, &piece)); k++)
            y[k] = piece;
        for (; k < m; k++) y[k].ptr = "", y[k].len = 0;
    }
    return CNN_OK;
}

//@ cnn_hash:
/* FNV-1a in 64 bits, mixed: its halves serve as two hashes. */
static inline uint64_t cnn_hash(const char *s, size_t n) {
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    size_t i;
    for (i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * UINT64_C(0x100000001b3);
    h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return h ^ h >> 32;
}

//@ cnn_hash_slot:
/* Where bucket number d sends a key of this hash. */
static inline uint32_t cnn_hash_slot(uint32_t h, uint32_t d) {
    h ^= d * 0x9e3779b1u;
    h = (h ^ h >> 16) * 0x85ebca6bu;
    return h ^ h >> 13;
}

//@ cnn_string_find: cnn_hash cnn_hash_slot #string
/* The index of each string among the keys, or -1: a perfect hash. Its bucket's number moves a key to its slot. */
static inline int cnn_string_find(const cnn_string *x, const cnn_string *key, const int32_t *bucket, const int32_t *slot, int64_t *y, int64_t n,
                                  int64_t buckets, int64_t slots) {
    int64_t i;
    for (i = 0; i < n; i++) {
        const uint64_t h = cnn_hash(x[i].ptr, x[i].len);
        const int32_t k = slot[cnn_hash_slot((uint32_t)h, (uint32_t)bucket[(uint32_t)(h >> 32) % (uint32_t)buckets]) % (uint32_t)slots];
        y[i] = k >= 0 && key[k].len == x[i].len && (!x[i].len || memcmp(key[k].ptr, x[i].ptr, x[i].len) == 0) ? k : -1;
    }
    return CNN_OK;
}
//@ end
#endif
