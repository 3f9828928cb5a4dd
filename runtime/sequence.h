// SPDX-License-Identifier: Apache-2.0
// Sequences and optionals of the run. A list is a stretch of memory: a head of 64 bytes (how many items, bytes
// in use, whether an optional has a value), then the items, each a head (its bytes, where its data begin, type,
// rank, extents) and data, both rounded up to 64 bytes.
#ifndef CNN_RUNTIME_SEQUENCE_H
#define CNN_RUNTIME_SEQUENCE_H
#include <string.h>
#include "abi.h"
#include "room.h"

//@ cnn_list_open: #string
/* The empty list. */
static inline void cnn_list_open(void *list) {
    int64_t *h = (int64_t *)list;
    h[0] = 0;
    h[1] = 64;
    h[2] = 0;
}

//@ cnn_list_give:
/* The optional has a value. */
static inline void cnn_list_give(void *list) { ((int64_t *)list)[2] = 1; }

//@ cnn_list_count:
static inline int64_t cnn_list_count(const void *list) { return ((const int64_t *)list)[0]; }

//@ cnn_list_used:
static inline int64_t cnn_list_used(const void *list) { return ((const int64_t *)list)[1]; }

//@ cnn_list_given:
static inline int64_t cnn_list_given(const void *list) { return ((const int64_t *)list)[2]; }

//@ cnn_list_copy: #string
static inline void cnn_list_copy(const void *from, void *to) { memcpy(to, from, (size_t)((const int64_t *)from)[1]); }

//@ cnn_list_position:
/* A position in [0, count), negative ones counted from `end`; -1 outside. */
static inline int64_t cnn_list_position(int64_t at, int64_t count, int64_t end) {
    if (at < 0) at += end;
    return at < 0 || at >= count ? -1 : at;
}

//@ cnn_list_find:
/* Byte offset of item `at`, or of the end. */
static inline int64_t cnn_list_find(const void *list, int64_t at) {
    int64_t o = 64;
    while (at-- > 0) o += *(const int64_t *)(const void *)((const char *)list + o);
    return o;
}

//@ cnn_list_head: cnn_list_find
static inline const int64_t *cnn_list_head(const void *list, int64_t at) {
    return (const int64_t *)(const void *)((const char *)list + cnn_list_find(list, at));
}

//@ cnn_list_record:
/* Bytes of an item with its head. */
static inline int64_t cnn_list_record(int64_t rank, int64_t bytes) { return (8 * (4 + rank) + 63) / 64 * 64 + (bytes + 63) / 64 * 64; }

//@ cnn_list_insert: cnn_list_find cnn_list_record #string
/* A tensor before item `at`; its extents are still to be set. `to` has room, and may be `from`. */
static inline void cnn_list_insert(const void *data, const void *from, void *to, int64_t at, int64_t type, int64_t rank, int64_t bytes) {
    const int64_t o = cnn_list_find(from, at), used = ((const int64_t *)from)[1], more = cnn_list_record(rank, bytes);
    char *const t = (char *)to;
    int64_t *h = (int64_t *)to, *item = (int64_t *)(void *)(t + o);
    memmove(t + o + more, (const char *)from + o, (size_t)(used - o));
    if (to != from) memcpy(to, from, (size_t)o);
    h[0]++;
    h[1] = used + more;
    item[0] = more;
    item[1] = (8 * (4 + rank) + 63) / 64 * 64;
    item[2] = type;
    item[3] = rank;
    if (bytes > 0) memcpy(t + o + item[1], data, (size_t)bytes);
}

//@ cnn_list_set_extent: cnn_list_find
static inline void cnn_list_set_extent(void *list, int64_t at, int64_t axis, int64_t extent) {
    ((int64_t *)(void *)((char *)list + cnn_list_find(list, at)))[4 + axis] = extent;
}

//@ cnn_list_erase: cnn_list_find #string
/* All items but one. */
static inline void cnn_list_erase(const void *from, void *to, int64_t at) {
    const int64_t o = cnn_list_find(from, at), next = cnn_list_find(from, at + 1), used = ((const int64_t *)from)[1];
    int64_t *h = (int64_t *)to;
    memcpy(to, from, (size_t)o);
    memcpy((char *)to + o, (const char *)from + next, (size_t)(used - next));
    h[0]--;
    h[1] = used - (next - o);
}

//@ cnn_list_rank: cnn_list_head
static inline int64_t cnn_list_rank(const void *list, int64_t at) { return cnn_list_head(list, at)[3]; }

//@ cnn_list_extent: cnn_list_head
static inline int64_t cnn_list_extent(const void *list, int64_t at, int64_t axis) { return cnn_list_head(list, at)[4 + axis]; }

//@ cnn_type_size:
/* Bytes of an element in memory; 0: not a type. */
static inline int64_t cnn_type_size(int64_t type) {
    static const unsigned char size[] = {0, 4, 1, 1, 2, 2, 4, 8, sizeof(cnn_string), 1, 2, 8, 4, 8, 8, 16, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    return type > 0 && type < (int64_t)sizeof size ? size[type] : 0;
}

//@ cnn_list_bytes: cnn_type_size
/* Bytes of an item's data. */
static inline int64_t cnn_list_bytes(const int64_t *item) {
    int64_t n = cnn_type_size(item[2]), k;
    for (k = 0; k < item[3]; k++) n *= item[4 + k];
    return n;
}

//@ cnn_list_item: cnn_list_head cnn_list_bytes #string
/* The data of item `at`. */
static inline void cnn_list_item(const void *list, void *to, int64_t at) {
    const int64_t *item = cnn_list_head(list, at), n = cnn_list_bytes(item);
    if (n > 0) memcpy(to, (const char *)item + item[1], (size_t)n);
}

//@ cnn_list_joins: cnn_list_head
/* The rank of the items joined along an axis, a new one with `stack`; -1 where they do not fit. */
static inline int64_t cnn_list_joins(const void *list, int64_t axis, int64_t stack) {
    const int64_t *h = (const int64_t *)list, *first = cnn_list_head(list, 0), *item = first;
    int64_t i, k;
    if (h[0] == 0) return -1;
    for (i = 0; i < h[0]; i++, item = (const int64_t *)(const void *)((const char *)item + item[0])) {
        if (item[3] != first[3]) return -1;
        for (k = 0; k < item[3]; k++)
            if ((stack || k != axis) && item[4 + k] != first[4 + k]) return -1;
    }
    return first[3] + stack;
}

//@ cnn_list_join_extent: cnn_list_head
static inline int64_t cnn_list_join_extent(const void *list, int64_t axis, int64_t stack, int64_t k) {
    const int64_t *h = (const int64_t *)list, *item = cnn_list_head(list, 0);
    int64_t i, n = 0;
    if (k != axis) return item[4 + k - (stack && k > axis)];
    if (stack) return h[0];
    for (i = 0; i < h[0]; i++, item = (const int64_t *)(const void *)((const char *)item + item[0])) n += item[4 + axis];
    return n;
}

//@ cnn_list_join: cnn_list_head #string
static inline void cnn_list_join(const void *list, void *to, int64_t axis, int64_t stack, int64_t size) {
    const int64_t *h = (const int64_t *)list, *first = cnn_list_head(list, 0), *item = first;
    int64_t outer = 1, o, i, k, n;
    char *t = (char *)to;
    for (k = 0; k < axis; k++) outer *= first[4 + k];
    for (o = 0; o < outer; o++)
        for (i = 0, item = first; i < h[0]; i++, item = (const int64_t *)(const void *)((const char *)item + item[0])) {
            for (n = size, k = axis; k < item[3]; k++) n *= item[4 + k];
            if (n > 0) memcpy(t, (const char *)item + item[1] + o * n, (size_t)n);
            t += n;
        }
}

//@ cnn_tensor_bytes: cnn_type_size
/* Bytes of a tensor that the caller gives; -1 where it is none. */
static inline int64_t cnn_tensor_bytes(const cnn_tensor *t) {
    int64_t n = cnn_type_size(t->type);
    int k;
    if (n == 0 || t->rank < 0 || t->rank > 32) return -1;
    for (k = 0; k < t->rank; k++) {
        if (t->shape[k] < 0 || (t->shape[k] > 0 && n > INT64_MAX / 8 / t->shape[k])) return -1;
        n *= t->shape[k];
    }
    return n > 0 && !t->data ? -1 : n;
}

//@ cnn_list_input_size: cnn_tensor_bytes cnn_list_record
/* Bytes of an input as a list; -1 where it does not fit. kind: 0 a sequence, 1 an optional tensor, 2 an optional
   sequence. */
static inline int64_t cnn_list_input_size(const cnn_tensor *t, int64_t kind, int64_t type) {
    const cnn_sequence *s = (const cnn_sequence *)t->data;
    int64_t size = 64, n;
    size_t i;
    if (!t->data) return kind == 0 ? -1 : size;
    if (kind == 1) {
        n = cnn_tensor_bytes(t);
        return n < 0 || t->type != type ? -1 : size + cnn_list_record(t->rank, n);
    }
    for (i = 0; i < s->count; i++) {
        n = cnn_tensor_bytes(&s->item[i]);
        if (n < 0 || s->item[i].type != type || size > INT64_MAX / 4) return -1;
        size += cnn_list_record(s->item[i].rank, n);
    }
    return size;
}

//@ cnn_list_input: cnn_list_open cnn_list_give cnn_list_insert cnn_list_set_extent cnn_tensor_bytes
static inline int64_t cnn_list_input(const cnn_tensor *t, void *list, int64_t kind) {
    const cnn_sequence *s = (const cnn_sequence *)t->data;
    const cnn_tensor *x = kind == 1 ? t : s ? s->item : NULL;
    const int64_t count = !t->data ? 0 : kind == 1 ? 1 : (int64_t)s->count;
    int64_t i;
    int k;
    cnn_list_open(list);
    if (t->data) cnn_list_give(list);
    for (i = 0; i < count; i++, x++) {
        cnn_list_insert(x->data, list, list, i, x->type, x->rank, cnn_tensor_bytes(x));
        for (k = 0; k < x->rank; k++) cnn_list_set_extent(list, i, k, x->shape[k]);
    }
    return count;
}

//@ cnn_list_output: cnn_list_bytes #string
/* A list into the caller's memory. kind: also 3, a sequence of maps. */
static inline int cnn_list_output(cnn_tensor *out, const void *list, int64_t kind) {
    const int64_t *h = (const int64_t *)list, *item = h + 8;
    cnn_sequence *s = (cnn_sequence *)out->data;
    cnn_tensor *t = kind == 1 ? out : s->item;
    int64_t i, k, n;
    if ((kind == 1 || kind == 2) && !h[2]) {
        out->data = NULL;
        return CNN_OK;
    }
    if (kind != 1 && s->cap < (size_t)h[0]) return CNN_ECAPACITY;
    for (i = 0; i < h[0]; i++, t++) {
        n = cnn_list_bytes(item);
        if ((n > 0 && !t->data) || t->cap < (size_t)n || t->rank < item[3] || (item[3] > 0 && !t->shape)) return CNN_ECAPACITY;
        if (n > 0) memcpy(t->data, (const char *)item + item[1], (size_t)n);
        for (k = 0; k < item[3]; k++) t->shape[k] = item[4 + k];
        t->type = (int32_t)item[2];
        t->rank = (int32_t)item[3];
        item = (const int64_t *)(const void *)((const char *)item + item[0]);
    }
    if (kind != 1) s->count = (size_t)h[0];
    return CNN_OK;
}

//@ cnn_zip_map: cnn_list_open cnn_list_insert cnn_list_set_extent
/* ai.onnx.ml ZipMap: one map a row, from the n keys to the row's n values; as items, keys and values in turn. */
static inline void cnn_zip_map(const void *keys, const void *values, void *list, int64_t key_type, int64_t key_size,
                               int64_t type, int64_t size, int64_t rows, int64_t n) {
    const char *row = (const char *)values;
    int64_t i;
    cnn_list_open(list);
    for (i = 0; i < rows; i++, row += n * size) {
        cnn_list_insert(keys, list, list, 2 * i, key_type, 1, n * key_size);
        cnn_list_set_extent(list, 2 * i, 0, n);
        cnn_list_insert(row, list, list, 2 * i + 1, type, 1, n * size);
        cnn_list_set_extent(list, 2 * i + 1, 0, n);
    }
}
//@ end
#endif
