// SPDX-License-Identifier: Apache-2.0
// Strings with one address each: an open hash table kept for the life of the program.
#include "cnncc.h"
#include <stdlib.h>
#include <string.h>

typedef struct { size_t n; uint64_t hash; char s[]; } Str;
static Str **table;
static size_t cap, used;

static uint64_t hash_bytes(const char *s, size_t n) {
    uint64_t h = 1469598103934665603u; // FNV-1a
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 1099511628211u;
    return h;
}

static void grow(void) {
    size_t bigger = cap ? cap * 2 : 1024;
    Str **t = calloc(bigger, sizeof *t);
    if (!t) fatal("out of memory");
    for (size_t i = 0; i < cap; i++) {
        if (!table[i]) continue;
        size_t at = table[i]->hash & (bigger - 1);
        while (t[at]) at = (at + 1) & (bigger - 1);
        t[at] = table[i];
    }
    free(table);
    table = t;
    cap = bigger;
}

const char *intern_n(const char *s, size_t n) {
    if (used * 2 >= cap) grow();
    uint64_t h = hash_bytes(s, n);
    size_t at = h & (cap - 1);
    for (; table[at]; at = (at + 1) & (cap - 1))
        if (table[at]->hash == h && table[at]->n == n && !memcmp(table[at]->s, s, n)) return table[at]->s;
    Str *e = malloc(sizeof *e + n + 1);
    if (!e) fatal("out of memory");
    e->n = n;
    e->hash = h;
    if (n) memcpy(e->s, s, n);
    e->s[n] = 0;
    table[at] = e;
    used++;
    return e->s;
}

const char *intern(const char *s) { return intern_n(s, strlen(s)); }
