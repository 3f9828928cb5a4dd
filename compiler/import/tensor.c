// SPDX-License-Identifier: Apache-2.0
// Constants of a model, whatever way they are stored: raw bytes, typed fields, external files, sparse.
// Bytes that need no change alias the file, or the message, which both stay as long as the program.
#include "import/import.h"
#include "runtime/packed.h"

#include <libgen.h>
#include <string.h>

#define FAIL(...) return snprintf(err, errlen, __VA_ARGS__), false

// Elements of a shape; false when it is malformed or does not fit memory.
static bool shape_read(size_t rank, const int64_t *dims, Constant *c, size_t *n, char *err, size_t errlen) {
    if (rank > MAX_RANK) FAIL("%zu dimensions, at most %d are supported", rank, (int)MAX_RANK);
    uint64_t size = 1;
    bool empty = false;
    for (size_t i = 0; i < rank; i++) {
        if (dims[i] < 0) FAIL("dimension %zu is %lld", i, (long long)dims[i]);
        c->shape[i] = e_int(dims[i]);
        if (dims[i] == 0)
            empty = true;
        else if (__builtin_mul_overflow(size, (uint64_t)dims[i], &size) || size > (uint64_t)INT64_MAX / 16)
            FAIL("its size does not fit 64 bits");
    }
    c->rank = (int)rank;
    *n = empty ? 0 : (size_t)size;
    return true;
}

static bool type_read(int32_t type, DType *dt, char *err, size_t errlen) {
    if (type <= DT_NONE || type >= DT_COUNT) FAIL("element type %d is not supported", (int)type);
    *dt = (DType)type;
    return true;
}

// Bytes that n elements take in a file.
static size_t stored_size(DType dt, size_t n) {
    size_t bits = (size_t)dt_bits(dt);
    return bits < 8 ? (n / 4) * bits / 2 + ((n % 4) * bits + 7) / 8 : n * (bits / 8); // 4 elements: bits/2 bytes
}

// One byte an element from packed ones, the first in the lowest bits; signed types are extended.
static Data *unpack_bits(DType dt, size_t n, const uint8_t *p) {
    Data *d = data_new(dt, n);
    cnn_unpack(p, (void *)(uintptr_t)d->p, (int64_t)n, (unsigned)dt_bits(dt), dt_is_signed(dt));
    return d;
}

static Data *clean_bools(size_t n, const uint8_t *p) {
    bool clean = true;
    for (size_t i = 0; i < n && clean; i++) clean = p[i] <= 1;
    if (clean) return data_alias(BOOL, n, p, false);
    Data *d = data_new(BOOL, n);
    for (size_t i = 0; i < n; i++) ((uint8_t *)(uintptr_t)d->p)[i] = p[i] != 0;
    return d;
}

static Data *swap_bytes(DType dt, size_t n, const uint8_t *p) {
    Data *d = data_new(dt, n);
    uint8_t *q = (uint8_t *)(uintptr_t)d->p;
    size_t size = dt_size(dt), unit = dt == C64 || dt == C128 ? size / 2 : size;
    for (size_t i = 0; i < n * size; i += unit)
        for (size_t k = 0; k < unit; k++) q[i + k] = p[i + unit - 1 - k];
    return d;
}

// Data of little-endian bytes as the file has them.
static Data *data_of_bytes(DType dt, size_t n, const uint8_t *p) {
    if (dt_bits(dt) < 8) return unpack_bits(dt, n, p);
    if (dt == BOOL) return clean_bools(n, p);
    if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ && dt_bits(dt) > 8) return swap_bytes(dt, n, p);
    return data_alias(dt, n, p, false);
}

static bool bytes_external(Importer *im, const Onnx__TensorProto *t, const uint8_t **p, size_t *len, char *err,
                           size_t errlen) {
    if (!im->external) {
        char *path = arena_strdup(im->opt->model), *slash = strrchr(path, '/');
        if (slash) slash[slash == path] = 0; // of "/model.onnx" the folder is "/"
        im->external = external_open(slash ? path : "", err, errlen);
        if (!im->external) return false;
    }
    return external_data(im->external, t->n_external_data, t->external_data, p, len, err, errlen) == WIRE_OK;
}

// int32_data holds every type of 32 bits or fewer, one element each, or a byte of those of 4 and 2 bits.
static bool data_of_int32(const Onnx__TensorProto *t, DType dt, size_t n, Data **out, char *err, size_t errlen) {
    bool packed = dt_bits(dt) < 6;
    size_t want = packed ? stored_size(dt, n) : n;
    if (t->n_int32_data != want) FAIL("%zu elements in int32_data, needs %zu", t->n_int32_data, want);
    if (dt == I32) {
        *out = data_alias(dt, n, t->int32_data, false);
        return true;
    }
    size_t size = packed ? 1 : dt_size(dt);
    uint8_t *q = arena_alloc(want * size + 1);
    for (size_t i = 0; i < want; i++) {
        uint16_t v = (uint16_t)t->int32_data[i];
        if (size == 1)
            q[i] = dt == BOOL ? t->int32_data[i] != 0 : (uint8_t)v;
        else
            memcpy(q + 2 * i, &v, 2);
    }
    *out = packed ? unpack_bits(dt, n, q) : data_alias(dt, n, q, false);
    return true;
}

static bool data_of_strings(const Onnx__TensorProto *t, size_t n, Data **out, char *err, size_t errlen) {
    if (t->n_string_data != n) FAIL("%zu elements in string_data, needs %zu", t->n_string_data, n);
    *out = data_new(STR, n);
    DataStr *s = (DataStr *)(uintptr_t)(*out)->p;
    for (size_t i = 0; i < n; i++) s[i] = (DataStr){(const char *)t->string_data[i].data, t->string_data[i].len};
    return true;
}

static bool data_of_fields(const Onnx__TensorProto *t, DType dt, size_t n, Data **out, char *err, size_t errlen) {
    const void *p = NULL;
    size_t have = 0, want = n;
    const char *field = "";
    switch (dt) {
    case STR:
        return data_of_strings(t, n, out, err, errlen);
    case F32:
        p = t->float_data, have = t->n_float_data, field = "float_data";
        break;
    case C64:
        p = t->float_data, have = t->n_float_data, field = "float_data", want = 2 * n;
        break;
    case F64:
        p = t->double_data, have = t->n_double_data, field = "double_data";
        break;
    case C128:
        p = t->double_data, have = t->n_double_data, field = "double_data", want = 2 * n;
        break;
    case I64:
        p = t->int64_data, have = t->n_int64_data, field = "int64_data";
        break;
    case U32:
    case U64:
        p = t->uint64_data, have = t->n_uint64_data, field = "uint64_data";
        break;
    default:
        return data_of_int32(t, dt, n, out, err, errlen);
    }
    if (have != want) FAIL("%zu elements in %s, needs %zu", have, field, want);
    if (dt == U32) {
        uint32_t *q = NEWN(uint32_t, n + 1);
        for (size_t i = 0; i < n; i++) q[i] = (uint32_t)t->uint64_data[i];
        p = q;
    }
    *out = data_alias(dt, n, p, false);
    return true;
}

// One stored element where all are equal, bit for bit.
static Data *as_splat(Data *d) {
    size_t size = dt_size(d->dt);
    if (d->splat || d->n < 2 || dt_is_moved(d->dt)) return d;
    bool equal = memcmp(d->p, (const char *)d->p + size, (d->n - 1) * size) == 0;
    if (d->n * size >= 1 << 16) mapped_release(d->p, d->n * size); // systems map large pieces of a file for one read
    if (!equal) return d;
    return data_alias(d->dt, d->n, d->p, true);
}

bool tensor_read(Importer *im, const Onnx__TensorProto *t, Constant *c, char *err, size_t errlen) {
    DType dt;
    size_t n;
    c->file_at = -1;
    if (!type_read(t->data_type, &dt, err, errlen)) return false;
    if (!shape_read(t->n_dims, t->dims, c, &n, err, errlen)) return false;
    if (t->segment) FAIL("tensors in segments are not supported");
    if (n == 0) {
        c->data = data_new(dt, 0);
        return true;
    }
    bool external = t->has_data_location && t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    if (external || t->has_raw_data) {
        const uint8_t *p;
        size_t len, want = stored_size(dt, n);
        if (dt == STR) FAIL("strings cannot be stored as raw bytes");
        if (external ? !bytes_external(im, t, &p, &len, err, errlen)
                     : !wire_raw_data(&t->raw_data, im->file, im->size, &p, &len)) {
            if (!external) snprintf(err, errlen, "its data are malformed");
            return false;
        }
        if (len != want) FAIL("%zu bytes of data, needs %zu", len, want);
        c->data = data_of_bytes(dt, n, p);
        if (!external) c->file_at = p - im->file;
    } else if (!data_of_fields(t, dt, n, &c->data, err, errlen)) {
        return false;
    }
    c->data = as_splat(c->data);
    return true;
}

// The position in the dense tensor of non-zero k; false when it is outside.
static bool sparse_position(const Constant *index, const Onnx__SparseTensorProto *t, size_t k, size_t n, size_t *at) {
    if (index->rank == 1) {
        int64_t i = data_get(index->data, k).i;
        *at = (size_t)i;
        return i >= 0 && (uint64_t)i < n;
    }
    *at = 0;
    for (size_t a = 0; a < t->n_dims; a++) {
        int64_t i = data_get(index->data, k * t->n_dims + a).i;
        if (i < 0 || i >= t->dims[a]) return false;
        *at = *at * (size_t)t->dims[a] + (size_t)i;
    }
    return true;
}

bool sparse_read(Importer *im, const Onnx__SparseTensorProto *t, Constant *c, char *err, size_t errlen) {
    Constant v, index;
    size_t n;
    c->file_at = -1;
    if (!t->values || !t->indices) FAIL("a sparse tensor without values or indices");
    if (!tensor_read(im, t->values, &v, err, errlen) || !tensor_read(im, t->indices, &index, err, errlen)) return false;
    if (!shape_read(t->n_dims, t->dims, c, &n, err, errlen)) return false;
    size_t nnz = v.data->n, per = index.rank == 2 ? t->n_dims : 1;
    if (v.rank != 1 || index.data->dt != I64 || index.rank < 1 || index.rank > 2 || v.data->dt == STR)
        FAIL("a sparse tensor's values need one dimension, its indices one or two of int64");
    if (index.data->n != nnz * per || (index.rank == 2 && !e_is(index.shape[1], (int64_t)per)))
        FAIL("%zu values of a sparse tensor, %zu indices", nnz, index.data->n);
    if (nnz == 0) {
        c->data = data_new(v.data->dt, n ? 1 : 0);
        c->data->n = n;
        c->data->splat = n > 0;
        return true;
    }
    if (n > wire_memory_limit(im->size) / dt_size(v.data->dt)) FAIL("a sparse tensor of %zu elements is too large", n);
    c->data = data_new(v.data->dt, n);
    for (size_t k = 0; k < nnz; k++) {
        size_t at;
        if (!sparse_position(&index, t, k, n, &at)) FAIL("index %zu of a sparse tensor is outside of it", k);
        data_set(c->data, at, data_get(v.data, k));
    }
    return true;
}

Val *tensor_val(Graph *g, const Constant *c) { return b_const(g, c->data, c->rank, c->shape); }
