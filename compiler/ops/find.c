// SPDX-License-Identifier: Apache-2.0
// Looking values up in a constant list by a perfect hash: a key's bucket has a number that moves the key to a slot
// of its own (Belazzougui, Botelho and Dietzfelbinger 2009). Strings are hashed by a helper of the runtime, numbers by
// integer arithmetic; integers that lie close together are their own hash.
#include "ops/nn.h"
#include "runtime/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KEYS = 1 << 24 };

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
            int32_t *at = &slot[cnn_hash_slot((uint32_t)e[member[i]].hash, k) & (slots - 1)];
            if (*at >= 0) break;
            *at = (int32_t)e[member[i]].key;
        }
        *d = (int32_t)k;
        if (i == n) return true;
        while (i-- > 0) slot[cnn_hash_slot((uint32_t)e[member[i]].hash, k) & (slots - 1)] = -1;
    }
    return false;
}

typedef struct { int32_t *bucket, *slot; int64_t buckets, slots; } Table; // sizes are powers of two; a free slot is -1

// A perfect hash of m distinct entries.
static Table hash_table(Op *o, Entry *e, int m) {
    Table t = {.buckets = 1, .slots = 2};
    while (t.buckets * 4 < m) t.buckets *= 2;
    while (t.slots * 4 < 5 * (int64_t)m) t.slots *= 2;
    int *start = NEWN(int, t.buckets + 2), *member = NEWN(int, m + 1), *info = NEWN(int, 2 * t.buckets), **order = NEWN(int *, t.buckets);
    t.slot = NEWN(int32_t, t.slots), t.bucket = NEWN(int32_t, t.buckets);
    for (int64_t i = 0; i < t.slots; i++) t.slot[i] = -1;
    for (int i = 0; i < m; i++) {
        e[i].bucket = (int)((int64_t)(e[i].hash >> 32) & (t.buckets - 1));
        start[e[i].bucket + 2]++;
    }
    for (int i = 0; i < t.buckets; i++) {
        info[2 * i] = i, info[2 * i + 1] = start[i + 2];
        start[i + 2] += start[i + 1];
        order[i] = &info[2 * i];
    }
    for (int i = 0; i < m; i++) member[start[e[i].bucket + 1]++] = i;
    qsort(order, (size_t)t.buckets, sizeof *order, by_bucket);
    for (int i = 0; i < t.buckets; i++) {
        int b = order[i][0];
        if (!displace(e, member + start[b], order[i][1], t.slot, (uint32_t)t.slots, &t.bucket[b])) op_fail(o, "the keys have no perfect hash");
    }
    return t;
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
    Table t = hash_table(o, e, distinct(n, key, e));
    Val *in[4] = {x, const_strs(o, (int)n, key), const_i32(o, t.bucket, t.buckets), const_i32(o, t.slot, t.slots)};
    return call1(o, &call_string_find, 4, in, 0, NULL, I64, x->rank, x->shape);
}

// ---- numbers --------------------------------------------------------------------------------------

typedef struct { Scalar v; int64_t i; } Number;

static int by_int(const void *pa, const void *pb) {
    const Number *a = pa, *b = pb;
    return a->v.i != b->v.i ? (a->v.i < b->v.i ? -1 : 1) : a->i < b->i ? -1 : a->i > b->i;
}

// y = x - least where that is an index into the table, which holds what is found there; else -1
static Val *find_near(Op *o, Val *x, int64_t least, int64_t size, const Number *k, int n) {
    int64_t *index = NEWN(int64_t, size);
    for (int64_t i = 0; i < size; i++) index[i] = -1;
    for (int i = 0; i < n; i++) index[k[i].v.i - least] = k[i].i;
    Val *none = scalar_int(o, I64, -1), *zero = scalar_int(o, I64, 0), *at = sub(o, x, scalar_int(o, I64, least));
    Val *in = map2(o, FN_and, map2(o, FN_le, zero, at), map2(o, FN_lt, at, scalar_int(o, I64, size)));
    return select(o, in, lookup(o, const_ints(o, (int)size, index), select(o, in, at, zero)), none);
}

enum { FIRST_FACTOR = 1, SECOND_FACTOR };
static const uint64_t factor[] = {0, UINT64_C(0x9e3779b97f4a7c15), UINT64_C(0xd6e8feb86659fd93)};

static uint64_t mix(uint64_t x) {
    x *= factor[FIRST_FACTOR];
    x = (x ^ x >> 32) * factor[SECOND_FACTOR];
    return x ^ x >> 32;
}

static Val *number_of(Op *o, DType dt, uint64_t v) { return scalar_int(o, dt, (int64_t)v); }
static Val *fold_right(Op *o, Val *x, uint64_t n) { return map2(o, FN_xor, x, map2(o, FN_shr, x, number_of(o, x->dt, n))); }

/* mix and cnn_hash_slot as integer arithmetic: the slot of x */
static Val *slot_of(Op *o, Val *x, const Table *t) {
    Val *h = mul(o, cast(o, x, U64), number_of(o, U64, factor[FIRST_FACTOR]));
    h = fold_right(o, mul(o, fold_right(o, h, 32), number_of(o, U64, factor[SECOND_FACTOR])), 32);
    Val *b = map2(o, FN_and, map2(o, FN_shr, h, number_of(o, U64, 32)), number_of(o, U64, (uint64_t)(t->buckets - 1)));
    Val *d = cast(o, lookup(o, const_i32(o, t->bucket, t->buckets), cast(o, b, I64)), U32);
    Val *s = map2(o, FN_xor, cast(o, h, U32), mul(o, d, number_of(o, U32, 0x9e3779b1u)));
    s = fold_right(o, mul(o, fold_right(o, s, 16), number_of(o, U32, 0x85ebca6bu)), 13);
    return cast(o, map2(o, FN_and, s, number_of(o, U32, (uint64_t)(t->slots - 1))), I64);
}

static Val *find_hashed(Op *o, Val *x, const Number *k, int n) {
    Entry *e = NEWN(Entry, n + 1);
    for (int i = 0; i < n; i++) e[i] = (Entry){mix((uint64_t)k[i].v.i), i, 0};
    Table t = hash_table(o, e, n);
    int64_t *key = NEWN(int64_t, t.slots), *index = NEWN(int64_t, t.slots);
    for (int64_t i = 0; i < t.slots; i++) key[i] = t.slot[i] < 0 ? 0 : k[t.slot[i]].v.i, index[i] = t.slot[i] < 0 ? -1 : k[t.slot[i]].i;
    Val *at = slot_of(o, x, &t), *same = map2(o, FN_eq, lookup(o, const_ints(o, (int)t.slots, key), at), x);
    return select(o, same, lookup(o, const_ints(o, (int)t.slots, index), at), scalar_int(o, I64, -1));
}

/* Floats by their bits, zeros as one. */
static Val *float_bits(Op *o, Val *x) {
    x = cast(o, select(o, map2(o, FN_eq, x, like(o, x, 0)), like(o, x, 0), x), F64);
    return b_map(o->g, FN_bitcast, I64, 1, &x);
}

Val *find_number(Op *o, Val *x, const Data *key) {
    bool f = dt_is_float(key->dt);
    int64_t n = (int64_t)key->n, m = 0, nan = -1;
    if (n < 1 || n > MAX_KEYS) op_fail(o, "a list of %lld numbers", (long long)n);
    x = cast(o, x, key->dt);
    Number *k = NEWN(Number, n);
    for (int64_t i = 0; i < n; i++) {
        Scalar v = data_get(key, (size_t)i);
        if (f && isnan(v.f)) {
            nan = i;
            continue;
        }
        double d = v.f == 0 ? 0 : v.f;
        if (f) memcpy(&v.i, &d, sizeof d);
        k[m++] = (Number){v, i};
    }
    qsort(k, (size_t)m, sizeof *k, by_int);
    int d = 0; // of equal keys the last stays
    for (int64_t i = 0; i < m; i++) {
        bool same = d && k[d - 1].v.i == k[i].v.i;
        k[same ? d - 1 : d++] = k[i];
    }
    Val *v = f ? float_bits(o, x) : cast(o, x, I64), *found;
    uint64_t range = d ? (uint64_t)k[d - 1].v.i - (uint64_t)k[0].v.i : 0;
    if (!d) found = full(o, I64, -1, x->rank, x->shape);
    else if (!f && range < 4 * (uint64_t)d + 64) found = find_near(o, v, k[0].v.i, (int64_t)range + 1, k, d);
    else found = find_hashed(o, v, k, d);
    return nan < 0 ? found : select(o, map1(o, FN_isnan, x), scalar_int(o, I64, nan), found);
}
