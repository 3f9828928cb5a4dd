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
/* The index of each string among the keys, or -1: a perfect hash. Its bucket's number moves a key to its slot; both
   tables are powers of two long. */
static inline int cnn_string_find(const cnn_string *x, const cnn_string *key, const int32_t *bucket, const int32_t *slot, int64_t *y, int64_t n,
                                  int64_t buckets, int64_t slots) {
    int64_t i;
    for (i = 0; i < n; i++) {
        const uint64_t h = cnn_hash(x[i].ptr, x[i].len);
        const int32_t k = slot[cnn_hash_slot((uint32_t)h, (uint32_t)bucket[(int64_t)(h >> 32) & (buckets - 1)]) & (uint32_t)(slots - 1)];
        y[i] = k >= 0 && key[k].len == x[i].len && (!x[i].len || memcmp(key[k].ptr, x[i].ptr, x[i].len) == 0) ? k : -1;
    }
    return CNN_OK;
}

//@ cnn_utf8_put:
/* The bytes of a code point; returns how many. */
static inline size_t cnn_utf8_put(int32_t c, char *s) {
    const size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    size_t i;
    for (i = n - 1; i > 0; i--, c >>= 6) s[i] = (char)(0x80 | (c & 63));
    s[0] = (char)(n == 1 ? c : c | (n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0));
    return n;
}

//@ cnn_find_row:
/* The last row of `width` numbers whose first is not above c; -1: none. */
static inline int64_t cnn_find_row(const int32_t *row, int64_t n, int64_t width, int32_t c) {
    int64_t lo = 0, hi = n;
    while (lo < hi) {
        const int64_t mid = lo + (hi - lo) / 2;
        if (row[mid * width] <= c) lo = mid + 1;
        else hi = mid;
    }
    return lo - 1;
}

//@ cnn_string_case: cnn_heap cnn_utf8 cnn_utf8_put cnn_find_row
/* Tables of a change of case. Rows of characters (first, last, step, distance); characters that become up to
   three; for a final sigma ranges of cased and of ignorable ones, else none. */
typedef struct { const int32_t *row, *special, *cased, *ignored; int64_t nrow, nspecial, ncased, nignored; } cnn_case;

static inline int cnn_in_ranges(const int32_t *r, int64_t n, int32_t c) {
    const int64_t i = cnn_find_row(r, n, 2, c);
    return i >= 0 && c <= r[2 * i + 1];
}

/* Whether the sigma that s[at .. next) is ends a word: a cased letter before it and none behind, past ignorable ones. */
static inline int cnn_is_final(cnn_string s, size_t at, size_t next, const cnn_case *t) {
    int32_t c;
    int found = 0;
    while (at > 0 && !found) {
        size_t i;
        do at--;
        while (at > 0 && ((unsigned char)s.ptr[at] & 0xc0) == 0x80);
        i = at;
        c = cnn_utf8(s.ptr, s.len, &i);
        if (cnn_in_ranges(t->ignored, t->nignored, c)) continue;
        if (!cnn_in_ranges(t->cased, t->ncased, c)) return 0;
        found = 1;
    }
    while (found && next < s.len) {
        c = cnn_utf8(s.ptr, s.len, &next);
        if (!cnn_in_ranges(t->ignored, t->nignored, c)) return !cnn_in_ranges(t->cased, t->ncased, c);
    }
    return found;
}

/* What the character s[at .. next) becomes; returns how many characters. */
static inline int cnn_change_case(cnn_string s, size_t at, size_t next, int32_t c, const cnn_case *t, int32_t *to) {
    int64_t i = c < 128 ? -1 : cnn_find_row(t->special, t->nspecial, 4, c);
    int n = 0;
    if (i >= 0 && t->special[4 * i] == c) {
        for (; n < 3 && t->special[4 * i + 1 + n]; n++) to[n] = t->special[4 * i + 1 + n];
        return n;
    }
    if (c == 0x3a3 && t->ncased && cnn_is_final(s, at, next, t)) {
        to[0] = 0x3c2;
        return 1;
    }
    i = cnn_find_row(t->row, t->nrow, 4, c);
    to[0] = i >= 0 && c <= t->row[4 * i + 1] && (c - t->row[4 * i]) % t->row[4 * i + 2] == 0 ? c + t->row[4 * i + 3] : c;
    return 1;
}

static inline int cnn_string_case(cnn_heap *h, const cnn_string *x, const int32_t *row, const int32_t *special, const int32_t *cased,
                                  const int32_t *ignored, cnn_string *y, int64_t n, int64_t nrow, int64_t nspecial, int64_t ncased,
                                  int64_t nignored) {
    const cnn_case t = {row, special, cased, ignored, nrow, nspecial, ncased, nignored};
    const cnn_string none = {"", 0};
    int64_t i;
    char ascii[128];
    for (i = 0; i < 128; i++) {
        int32_t to[3];
        cnn_change_case(none, 0, 0, (int32_t)i, &t, to);
        ascii[i] = (char)to[0];
    }
    for (i = 0; i < n; i++) {
        const cnn_string s = x[i];
        size_t size = 0, at = 0, next = 0;
        int pass, same = 1, k, m;
        char *p = NULL;
        for (pass = 0; pass < 2; pass++) { /* how many bytes; then the bytes */
            for (size = at = next = 0; at < s.len; at = next) {
                int32_t to[3], c;
                char u[4];
                if ((unsigned char)s.ptr[at] < 128) {
                    const char b = ascii[(unsigned char)s.ptr[at]];
                    same = same && b == s.ptr[at];
                    if (p) p[size] = b;
                    size++;
                    next = at + 1;
                    continue;
                }
                c = cnn_utf8(s.ptr, s.len, &next);
                if (c < 0) return CNN_EDATA;
                m = cnn_change_case(s, at, next, c, &t, to);
                same = same && m == 1 && to[0] == c;
                for (k = 0; k < m; k++) size += cnn_utf8_put(to[k], p ? p + size : u);
            }
            if (same || pass) break;
            p = cnn_take(h, size);
            if (!p) return CNN_ECAPACITY;
        }
        y[i].ptr = same ? s.ptr : p;
        y[i].len = size;
    }
    return CNN_OK;
}

//@ cnn_regex_match:
/* Whether a string as a whole matches: a table over classes of bytes, see the compiler's regex.h. */
static inline int cnn_regex_match(const cnn_string *x, const uint8_t *class_of, const uint16_t *next, const int32_t *start, uint8_t *y, int64_t n,
                                  int64_t nclass) {
    int64_t i;
    for (i = 0; i < n; i++) {
        size_t k, state = (size_t)start[0];
        for (k = 0; k < x[i].len && state; k++) state = next[state * (size_t)(nclass + 1) + class_of[(unsigned char)x[i].ptr[k]]] >> 1;
        y[i] = (uint8_t)(next[state * (size_t)(nclass + 1) + (size_t)nclass] & 1);
    }
    return CNN_OK;
}

//@ cnn_tokens: cnn_utf8
/* How com.microsoft.Tokenizer cuts: `mode` 0 between matches of the first automaton, then each piece between those
   of the next; 1 into the matches; 2 into characters. info: of each automaton the classes and where its rows begin. */
enum { CNN_SEPARATORS = 16 };
typedef struct { const uint8_t *class_of; const uint16_t *next; const int32_t *start, *info; int64_t count, mode, least; } cnn_tokenizer;
typedef struct { size_t from, at, end; int over; } cnn_part;

/* The longest match of automaton k that begins first in s[at .. end); the text begins at `from`. 0: none. */
static inline int cnn_regex_search(const cnn_tokenizer *t, int k, const char *s, size_t from, size_t at, size_t end, size_t *match, size_t *behind) {
    const uint16_t *next = t->next + t->info[2 * k + 1];
    const uint8_t *class_of = t->class_of + 256 * k;
    const size_t nclass = (size_t)t->info[2 * k];
    for (; at <= end; at++) {
        const int before = at > from ? (unsigned char)s[at - 1] : 256, low = before | 32;
        const int word = before < 128 && ((low >= 'a' && low <= 'z') || (before >= '0' && before <= '9') || before == '_');
        size_t i, state = (size_t)t->start[4 * k + (at == from ? 0 : before == '\n' ? 1 : word ? 2 : 3)];
        int found = 0;
        if (at < end && ((unsigned char)s[at] & 0xc0) == 0x80) continue; /* inside of a character */
        for (i = at; state; i++) {
            const uint16_t e = next[state * (nclass + 1) + (i < end ? class_of[(unsigned char)s[i]] : nclass)];
            if (e & 1) {
                found = 1;
                *behind = i;
            }
            if (i == end) break;
            state = e >> 1;
        }
        *match = at;
        if (found) return 1;
    }
    return 0;
}

static inline size_t cnn_utf8_count(const char *s, size_t n) {
    size_t i, count = 0;
    for (i = 0; i < n; i++) count += ((unsigned char)s[i] & 0xc0) != 0x80;
    return count;
}

/* The next token of the text in part[0]; *level is 0 to begin with. 0: no more. */
static inline int cnn_next_token(const cnn_tokenizer *t, const char *s, cnn_part *part, int *level, cnn_string *token) {
    while (*level >= 0) {
        cnn_part *p = &part[*level];
        size_t from = p->at, to = p->end, behind = p->end;
        if (p->over || (t->mode != 0 && p->at >= p->end)) {
            *level -= 1;
            continue;
        }
        if (t->mode == 2) {
            behind = from;
            cnn_utf8(s, p->end, &behind);
            to = p->at = behind;
        } else if (cnn_regex_search(t, *level, s, p->from, p->at, p->end, &to, &behind)) {
            if (t->mode == 1) from = to;
            p->at = behind;
            if (behind == to) { /* an empty match: a character on */
                if (to < p->end) cnn_utf8(s, p->end, &p->at);
                else p->over = 1;
            }
            if (t->mode == 1) to = behind;
        } else {
            p->over = 1;
            if (t->mode == 1) continue;
        }
        if (cnn_utf8_count(s + from, to - from) < (size_t)t->least) continue;
        if (*level + 1 < t->count && t->mode == 0) { /* cut by the next separator */
            cnn_part *q = &part[++*level];
            q->from = q->at = from;
            q->end = to;
            q->over = 0;
            continue;
        }
        token->ptr = s + from;
        token->len = to - from;
        return 1;
    }
    return 0;
}

//@ cnn_token_count: cnn_tokens
static inline int cnn_token_count(const cnn_string *x, const uint8_t *class_of, const uint16_t *next, const int32_t *start, const int32_t *info,
                                  int64_t *y, int64_t n, int64_t count, int64_t mode, int64_t least) {
    const cnn_tokenizer t = {class_of, next, start, info, count, mode, least};
    int64_t i;
    for (i = 0; i < n; i++) {
        cnn_part part[CNN_SEPARATORS];
        cnn_string token;
        int level = 0;
        part[0].from = part[0].at = 0;
        part[0].end = x[i].len;
        part[0].over = 0;
        y[i] = 0;
        while (cnn_next_token(&t, x[i].ptr, part, &level, &token)) y[i]++;
    }
    return CNN_OK;
}

//@ cnn_token_split: cnn_tokens
/* Rows of m tokens, between marks of a text's begin and end where wanted, filled up by `pad`. */
static inline int cnn_token_split(const cnn_string *x, const uint8_t *class_of, const uint16_t *next, const int32_t *start, const int32_t *info,
                                  const cnn_string *pad, cnn_string *y, int64_t n, int64_t count, int64_t mode, int64_t least, int64_t mark,
                                  int64_t m) {
    const cnn_tokenizer t = {class_of, next, start, info, count, mode, least};
    int64_t i, k;
    for (i = 0; i < n; i++, y += m) {
        cnn_part part[CNN_SEPARATORS];
        cnn_string token = {"", 0};
        int level = 0;
        part[0].from = part[0].at = 0;
        part[0].end = x[i].len;
        part[0].over = 0;
        k = 0;
        if (mark && k < m) y[k].ptr = "\002", y[k++].len = 1;
        while (k < m && cnn_next_token(&t, x[i].ptr, part, &level, &token)) y[k++] = token;
        if (mark && k < m) y[k].ptr = "\003", y[k++].len = 1;
        for (; k < m; k++) y[k] = *pad;
    }
    return CNN_OK;
}

//@ cnn_ngram_count:
/* TfIdfVectorizer: how often each n-gram of the pool is in a row of words' numbers (-1: not in the pool). The pool is
   a tree: key and child are a hash table of edges (node * 2^32 + word, power of two), column is a node's output or -1. */
static inline int cnn_ngram_count(const int64_t *x, const int64_t *key, const int32_t *child, const int32_t *column, float *y, int64_t rows,
                                  int64_t cols, int64_t slots, int64_t out, int64_t least, int64_t most, int64_t skips) {
    int64_t r, i, k, at, skip;
    for (i = 0; i < rows * out; i++) y[i] = 0.0f;
    for (r = 0; r < rows; r++, x += cols, y += out) {
        for (skip = 1; skip <= skips + 1; skip++) {
            const int64_t first = skip > 1 && least == 1 ? 2 : least; /* words alone are counted once */
            for (i = 0; i < cols && first <= most; i++) {
                int64_t node = 0;
                for (k = 1, at = i; k <= most && at < cols; k++, at += skip) {
                    const uint64_t want = (uint64_t)node << 32 | (uint64_t)(uint32_t)x[at];
                    uint64_t s = (want * UINT64_C(0x9e3779b97f4a7c15)) >> 20;
                    if (x[at] < 0) break;
                    while (child[s & (uint64_t)(slots - 1)] >= 0 && (uint64_t)key[s & (uint64_t)(slots - 1)] != want) s++;
                    node = child[s & (uint64_t)(slots - 1)];
                    if (node < 0) break;
                    if (k >= first && column[node] >= 0) y[column[node]] += 1.0f;
                }
            }
        }
    }
    return CNN_OK;
}

//@ cnn_murmur3:
/* MurmurHash3_x86_32 (Appleby, public domain) of n bytes, read as little-endian words. */
static inline uint32_t cnn_murmur3(const unsigned char *s, size_t n, uint32_t h) {
    size_t i, k;
    for (i = 0; i < n; i += 4) {
        uint32_t w = 0;
        for (k = 0; k < 4 && i + k < n; k++) w |= (uint32_t)s[i + k] << (8 * k);
        w *= 0xcc9e2d51u;
        w = (w << 15 | w >> 17) * 0x1b873593u;
        h ^= w;
        if (i + 4 <= n) h = (h << 13 | h >> 19) * 5u + 0xe6546b64u;
    }
    h ^= (uint32_t)n;
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return h ^ h >> 16;
}

//@ cnn_murmur3_str: cnn_murmur3
static inline int cnn_murmur3_str(const cnn_string *x, uint32_t *y, int64_t n, int64_t seed) {
    int64_t i;
    for (i = 0; i < n; i++) y[i] = cnn_murmur3((const unsigned char *)x[i].ptr, x[i].len, (uint32_t)seed);
    return CNN_OK;
}

//@ cnn_murmur3_u32: cnn_murmur3
static inline int cnn_murmur3_u32(const uint32_t *x, uint32_t *y, int64_t n, int64_t seed) {
    int64_t i, k;
    for (i = 0; i < n; i++) {
        unsigned char s[4];
        for (k = 0; k < 4; k++) s[k] = (unsigned char)(x[i] >> (8 * k) & 255);
        y[i] = cnn_murmur3(s, 4, (uint32_t)seed);
    }
    return CNN_OK;
}

//@ cnn_murmur3_u64: cnn_murmur3
static inline int cnn_murmur3_u64(const uint64_t *x, uint32_t *y, int64_t n, int64_t seed) {
    int64_t i, k;
    for (i = 0; i < n; i++) {
        unsigned char s[8];
        for (k = 0; k < 8; k++) s[k] = (unsigned char)(x[i] >> (8 * k) & 255);
        y[i] = cnn_murmur3(s, 8, (uint32_t)seed);
    }
    return CNN_OK;
}
//@ end
#endif
