// SPDX-License-Identifier: Apache-2.0
// Looking values up in a constant list: strings by a perfect hash (Czech, Havas, Majewski's displacement, as
// by Belazzougui, Botelho and Dietzfelbinger 2009), numbers in a sorted table by halving it.
#include "ops/nn.h"
#include "runtime/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEW = 8, MAX_KEYS = 1 << 24 };

typedef struct { uint64_t hash; int64_t key; int bucket; } Entry;

static bool str_same(const DataStr *a, const DataStr *b) { return a->n == b->n && (!a->n || !memcmp(a->p, b->p, a->n)); }

static int by_bucket(const void *pa, const void *pb) { // those with most entries first
    const int *a = *(const int *const *)pa, *b = *(const int *const *)pb;
    return a[1] != b[1] ? b[1] - a[1] : a[0] - b[0];
}

// Of equal keys the last stays.
static int distinct(int64_t n, const DataStr *key, Entry *e) {
    int64_t cap = 4;
    while (cap < 2 * n) cap *= 2;
    int *slot = NEWN(int, cap), m = 0;
    for (int64_t i = 0; i < n; i++) {
        uint64_t h = cnn_hash(key[i].p, key[i].n);
        int64_t at = (int64_t)(h & (uint64_t)(cap - 1));
        for (; slot[at]; at = (at + 1) & (cap - 1))
            if (e[slot[at] - 1].hash == h && str_same(&key[e[slot[at] - 1].key], &key[i])) break;
        if (!slot[at]) slot[at] = ++m;
        e[slot[at] - 1] = (Entry){h, i, 0};
    }
    return m;
}

// The displacement of one bucket that sends its keys to free slots.
static bool displace(const Entry *e, const int *member, int n, int32_t *slot, uint32_t slots, int32_t *d) {
    for (uint32_t k = 0; k < 1u << 24; k++) {
        int i = 0;
        for (; i < n; i++) {
            int32_t *at = &slot[cnn_hash_slot((uint32_t)e[member[i]].hash, k) % slots];
            if (*at >= 0) break;
            *at = (int32_t)e[member[i]].key;
        }
        *d = (int32_t)k;
        if (i == n) return true;
        while (i-- > 0) slot[cnn_hash_slot((uint32_t)e[member[i]].hash, k) % slots] = -1;
    }
    return false;
}

static Val *const_i32(Op *o, const int32_t *v, int64_t n) {
    Data *d = data_new(I32, (size_t)n);
    memcpy((void *)(uintptr_t)d->p, v, sizeof *v * (size_t)n);
    Ex shape = e_int(n);
    return b_const(o->g, d, 1, &shape);
}

Val *find_string(Op *o, Val *x, int64_t n, const DataStr *key) {
    if (n < 1 || n > MAX_KEYS) op_fail(o, "a list of %lld strings", (long long)n);
    Entry *e = NEWN(Entry, n);
    int m = distinct(n, key, e), buckets = m / 4 + 1;
    uint32_t slots = (uint32_t)(m + m / 4 + 1);
    int *start = NEWN(int, buckets + 2), *member = NEWN(int, m + 1), *info = NEWN(int, 2 * buckets), **order = NEWN(int *, buckets);
    int32_t *slot = NEWN(int32_t, slots), *bucket = NEWN(int32_t, buckets);
    for (uint32_t i = 0; i < slots; i++) slot[i] = -1;
    for (int i = 0; i < m; i++) {
        e[i].bucket = (int)((uint32_t)(e[i].hash >> 32) % (uint32_t)buckets);
        start[e[i].bucket + 2]++;
    }
    for (int i = 0; i < buckets; i++) {
        info[2 * i] = i, info[2 * i + 1] = start[i + 2];
        start[i + 2] += start[i + 1];
        order[i] = &info[2 * i];
    }
    for (int i = 0; i < m; i++) member[start[e[i].bucket + 1]++] = i;
    qsort(order, (size_t)buckets, sizeof *order, by_bucket);
    for (int i = 0; i < buckets; i++) {
        int b = order[i][0];
        if (!displace(e, member + start[b], order[i][1], slot, slots, &bucket[b])) op_fail(o, "the strings of the list have no perfect hash");
    }
    Val *in[4] = {x, const_strs(o, (int)n, key), const_i32(o, bucket, buckets), const_i32(o, slot, slots)};
    return call1(o, &call_string_find, 4, in, 0, NULL, I64, x->rank, x->shape);
}

// ---- numbers --------------------------------------------------------------------------------------

typedef struct { Scalar v; int64_t i; } Number;

static int by_int(const void *pa, const void *pb) {
    const Number *a = pa, *b = pb;
    return a->v.i != b->v.i ? (a->v.i < b->v.i ? -1 : 1) : a->i < b->i ? -1 : a->i > b->i;
}

static int by_float(const void *pa, const void *pb) {
    const Number *a = pa, *b = pb;
    return a->v.f != b->v.f ? (a->v.f < b->v.f ? -1 : 1) : a->i < b->i ? -1 : a->i > b->i;
}

/* The greatest i with table[i] <= x, else 0, by halves: the table has 2^k ascending entries. */
static Val *search_sorted(Op *o, Val *x, Val *table, int64_t size) {
    Val *at = NULL;
    for (int64_t step = size / 2; step > 0; step /= 2) {
        Val *next = at ? add(o, at, scalar_int(o, I64, step)) : full(o, I64, (double)step, x->rank, x->shape);
        Val *low = at ? at : scalar_int(o, I64, 0);
        at = select(o, map2(o, FN_le, lookup(o, table, next), x), next, low);
    }
    return at ? at : full(o, I64, 0, x->rank, x->shape);
}

Val *find_number(Op *o, Val *x, const Data *key) {
    bool f = dt_is_float(key->dt);
    int64_t n = (int64_t)key->n, m = 0, nan = -1, size = 1;
    if (n < 1 || n > MAX_KEYS) op_fail(o, "a list of %lld numbers", (long long)n);
    x = cast(o, x, key->dt);
    Number *k = NEWN(Number, n);
    for (int64_t i = 0; i < n; i++) {
        Scalar v = data_get(key, (size_t)i);
        if (f && isnan(v.f)) nan = i;
        else k[m++] = (Number){v, i};
    }
    qsort(k, (size_t)m, sizeof *k, f ? by_float : by_int);
    int64_t d = 0; // of equal keys the last stays
    for (int64_t i = 0; i < m; i++) {
        bool same = d && (f ? k[d - 1].v.f == k[i].v.f : k[d - 1].v.i == k[i].v.i);
        k[same ? d - 1 : d++] = k[i];
    }
    while (size < d) size *= 2;
    Data *sorted = data_new(key->dt, (size_t)size);
    int64_t *index = NEWN(int64_t, size);
    for (int64_t i = 0; i < size && d; i++) {
        data_set(sorted, (size_t)i, k[i < d ? i : d - 1].v);
        index[i] = k[i < d ? i : d - 1].i;
    }
    Ex shape = e_int(size);
    Val *table = b_const(o->g, sorted, 1, &shape), *none = scalar_int(o, I64, -1), *at = search_sorted(o, x, table, size);
    Val *found = d ? select(o, map2(o, FN_eq, lookup(o, table, at), x), lookup(o, const_ints(o, (int)size, index), at), none) : full(o, I64, -1, x->rank, x->shape);
    return nan < 0 ? found : select(o, map1(o, FN_isnan, x), scalar_int(o, I64, nan), found);
}
