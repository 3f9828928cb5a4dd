// SPDX-License-Identifier: Apache-2.0
// Values that are not tensors, written into the caller's memory.
#ifndef CNN_RUNTIME_SEQUENCE_H
#define CNN_RUNTIME_SEQUENCE_H
#include <string.h>
#include "abi.h"

//@ cnn_put_vector: #string
/* A rank 1 tensor of n elements into t. */
static inline int cnn_put_vector(cnn_tensor *t, const void *data, int64_t type, int64_t size, int64_t n) {
    const size_t bytes = (size_t)size * (size_t)n;
    if (!t->data || !t->shape || t->cap < bytes) return CNN_ECAPACITY;
    memcpy(t->data, data, bytes);
    t->type = (int32_t)type;
    t->rank = 1;
    t->shape[0] = n;
    return CNN_OK;
}

//@ cnn_zip_map: cnn_put_vector
/* ai.onnx.ml ZipMap: one map a row, from the n keys to the row's n values. */
static inline int cnn_zip_map(cnn_tensor *out, const void *keys, const void *values, int64_t key_type, int64_t key_size,
                              int64_t type, int64_t size, int64_t rows, int64_t n) {
    cnn_sequence *s = (cnn_sequence *)out->data;
    const char *row = (const char *)values;
    int64_t i;
    if (s->cap / 2 < (size_t)rows) return CNN_ECAPACITY;
    for (i = 0; i < rows; i++, row += n * size) {
        int st = cnn_put_vector(&s->item[2 * i], keys, key_type, key_size, n);
        if (!st) st = cnn_put_vector(&s->item[2 * i + 1], row, type, size, n);
        if (st) return st;
    }
    s->count = 2 * (size_t)rows;
    return CNN_OK;
}
//@ end
#endif
