// SPDX-License-Identifier: Apache-2.0
// Values in ONNX's protobuf files: TensorProto, SequenceProto, OptionalProto.
#include <stdlib.h>
#include <string.h>

#include "onnx.pb-c.h"
#include "../packed.h"
#include "run.h"

/* ---- the name, before the kind of message is known ---- */

typedef struct {
    const uint8_t *at, *end;
} Wire;

static bool wire_varint(Wire *w, uint64_t *out) {
    *out = 0;
    for (unsigned shift = 0; w->at < w->end && shift < 64; shift += 7) {
        uint8_t b = *w->at++;
        *out |= (uint64_t)(b & 127) << shift;
        if (b < 128) return true;
    }
    return false;
}

/* Steps over one field; text is where a length-delimited one begins. */
static bool wire_field(Wire *w, unsigned *field, unsigned *type, const uint8_t **text, size_t *len) {
    uint64_t key, n;
    *len = 0;
    *text = w->at;
    if (w->at >= w->end || !wire_varint(w, &key)) return false;
    *field = (unsigned)(key >> 3);
    *type = (unsigned)(key & 7);
    if (*type == 0) return wire_varint(w, &n);
    if (*type == 1)
        n = 8;
    else if (*type == 5)
        n = 4;
    else if (*type != 2 || !wire_varint(w, &n))
        return false;
    if (n > (uint64_t)(w->end - w->at)) return false;
    *text = w->at;
    *len = (size_t)n;
    w->at += n;
    return true;
}

void pb_name(const uint8_t *bytes, size_t size, char *out, size_t room) {
    Wire w = {bytes, bytes + size};
    unsigned field = 0, type = 0;
    const uint8_t *text;
    size_t len;
    out[0] = 0;
    while (wire_field(&w, &field, &type, &text, &len)) {
        /* A tensor's name is field 8; field 1 is its dims, varints. The others' name is field 1. */
        if (type == 2 && (field == 1 || field == 8) && len < room) {
            memcpy(out, text, len);
            out[len] = 0;
        }
    }
}

/* ---- tensors ---- */

static bool typed_int32(const Onnx__TensorProto *t, Value *v, size_t n) {
    unsigned packed = type_packed(v->type);
    if (packed == 6) packed = 0; /* these have an entry each */
    if (t->n_int32_data < (packed ? (n * packed + 7) / 8 : n)) return false;
    for (size_t i = 0; i < n; i++) {
        int32_t x = t->int32_data[packed ? i * packed / 8 : i];
        if (type_size(v->type) == 4)
            ((int32_t *)v->data)[i] = x;
        else if (type_size(v->type) == 2)
            ((uint16_t *)v->data)[i] = (uint16_t)x;
        else
            ((uint8_t *)v->data)[i] = (uint8_t)x;
        if (packed) { /* this element alone, from the byte it is in */
            const uint8_t byte[2] = {(uint8_t)((uint8_t)x >> (i * packed % 8)), 0};
            cnn_unpack(byte, (uint8_t *)v->data + i, 1, packed, type_extends(v->type));
        }
    }
    return true;
}

static bool typed_fields(const Onnx__TensorProto *t, Value *v, size_t n) {
    size_t k = v->type == CNN_COMPLEX64 || v->type == CNN_COMPLEX128 ? 2 * n : n;
    switch (v->type) {
    case CNN_FLOAT:
    case CNN_COMPLEX64:
        if (t->n_float_data < k) return false;
        memcpy(v->data, t->float_data, k * sizeof(float));
        return true;
    case CNN_DOUBLE:
    case CNN_COMPLEX128:
        if (t->n_double_data < k) return false;
        memcpy(v->data, t->double_data, k * sizeof(double));
        return true;
    case CNN_INT64:
        if (t->n_int64_data < k) return false;
        memcpy(v->data, t->int64_data, k * sizeof(int64_t));
        return true;
    case CNN_UINT64:
    case CNN_UINT32:
        if (t->n_uint64_data < k) return false;
        for (size_t i = 0; i < k; i++) {
            if (v->type == CNN_UINT64)
                ((uint64_t *)v->data)[i] = t->uint64_data[i];
            else
                ((uint32_t *)v->data)[i] = (uint32_t)t->uint64_data[i];
        }
        return true;
    default:
        return typed_int32(t, v, k);
    }
}

/* The elements a message can hold: damaged dimensions must not ask for memory. */
static size_t most_elements(const Onnx__TensorProto *t) {
    return t->raw_data.len * 4 + t->n_float_data + t->n_double_data + t->n_int32_data * 4 + t->n_int64_data +
           t->n_uint64_data + t->n_string_data;
}

static bool from_tensor(const Onnx__TensorProto *t, Value *v) {
    size_t n, bytes;
    if (t->n_dims <= MAX_RANK && shape_count((int)t->n_dims, t->dims, &n) && n > most_elements(t))
        return run_error("a tensor is incomplete");
    if (t->n_dims > MAX_RANK || !value_tensor(v, t->data_type, (int)t->n_dims, t->dims))
        return t->n_dims > MAX_RANK ? run_error("a tensor of too many dimensions") : false;
    if (t->name && !v->name) value_name(v, t->name, strlen(t->name));
    n = value_count(v);
    if (!type_bytes(v->type, n, &bytes)) return false;
    if (n == 0) return true;
    if (v->type == CNN_STRING) {
        if (t->n_string_data < n) return run_error("a tensor of strings is incomplete");
        for (size_t i = 0; i < n; i++) value_string(v, i, (const char *)t->string_data[i].data, t->string_data[i].len);
        return true;
    }
    if (t->has_raw_data) {
        unsigned packed = type_packed(v->type);
        if (packed) bytes = (n * packed + 7) / 8;
        if (t->raw_data.len != bytes)
            return run_error("raw_data has %zu bytes, the tensor %zu", t->raw_data.len, bytes);
        if (packed)
            cnn_unpack(t->raw_data.data, v->data, (int64_t)n, packed, type_extends(v->type));
        else
            memcpy(v->data, t->raw_data.data, bytes);
        return true;
    }
    return typed_fields(t, v, n) || run_error("a tensor's data is incomplete");
}

/* ---- sequences, maps, optionals ---- */

static bool from_sequence(const Onnx__SequenceProto *s, Value *v, int depth);

static bool from_map(const Onnx__MapProto *m, Value *v, int depth) {
    bool text = m->key_type == CNN_STRING;
    size_t n = text ? m->n_string_keys : m->n_keys;
    int64_t dim = (int64_t)n;
    value_list(v, VAL_MAP, 2);
    if (!value_tensor(&v->item[0], text ? CNN_STRING : CNN_INT64, 1, &dim)) return false;
    for (size_t i = 0; i < n; i++) {
        if (text)
            value_string(&v->item[0], i, (const char *)m->string_keys[i].data, m->string_keys[i].len);
        else
            ((int64_t *)v->item[0].data)[i] = m->keys[i];
    }
    Value list = {0};
    if (!m->values || !from_sequence(m->values, &list, depth + 1) || list.count != n) {
        value_free(&list);
        return run_error("a map's keys and values differ in number");
    }
    /* The values, scalars each, become one tensor. */
    Value *to = &v->item[1];
    size_t bytes;
    bool ok = n == 0 ? value_tensor(to, CNN_FLOAT, 1, &dim) : value_tensor(to, list.item[0].type, 1, &dim);
    for (size_t i = 0; ok && i < n; i++) {
        Value *x = &list.item[i];
        ok = x->kind == VAL_TENSOR && x->type == to->type && value_count(x) == 1 && x->type != CNN_STRING &&
             type_bytes(x->type, 1, &bytes);
        if (ok) memcpy((char *)to->data + i * bytes, x->data, bytes);
    }
    value_free(&list);
    return ok || run_error("a map's values are not scalars of one type");
}

static bool from_optional(const Onnx__OptionalProto *o, Value *v, int depth) {
    if (o->name && !v->name) value_name(v, o->name, strlen(o->name));
    if (o->tensor_value) return from_tensor(o->tensor_value, v);
    if (o->sequence_value) return from_sequence(o->sequence_value, v, depth + 1);
    if (o->map_value) return from_map(o->map_value, v, depth + 1);
    return true; /* absent */
}

static bool from_sequence(const Onnx__SequenceProto *s, Value *v, int depth) {
    if (depth > 8) return run_error("a value is nested too deep");
    if (s->name && !v->name) value_name(v, s->name, strlen(s->name));
    size_t n = s->n_tensor_values + s->n_sequence_values + s->n_map_values + s->n_optional_values;
    value_list(v, VAL_SEQUENCE, n);
    Value *to = v->item;
    bool ok = true;
    for (size_t i = 0; ok && i < s->n_tensor_values; i++) ok = from_tensor(s->tensor_values[i], to++);
    for (size_t i = 0; ok && i < s->n_sequence_values; i++) ok = from_sequence(s->sequence_values[i], to++, depth + 1);
    for (size_t i = 0; ok && i < s->n_map_values; i++) ok = from_map(s->map_values[i], to++, depth + 1);
    for (size_t i = 0; ok && i < s->n_optional_values; i++) ok = from_optional(s->optional_values[i], to++, depth + 1);
    return ok;
}

bool pb_decode(const uint8_t *bytes, size_t size, int kind, Value *v) {
    bool ok = false;
    if (kind == CNN_TENSOR) {
        Onnx__TensorProto *t = onnx__tensor_proto__unpack(NULL, size, bytes);
        ok = t ? from_tensor(t, v) : run_error("not a TensorProto");
        onnx__tensor_proto__free_unpacked(t, NULL);
    } else if (kind == CNN_OPTIONAL || kind == CNN_OPTIONAL_SEQUENCE) {
        Onnx__OptionalProto *o = onnx__optional_proto__unpack(NULL, size, bytes);
        ok = o ? from_optional(o, v, 0) : run_error("not an OptionalProto");
        onnx__optional_proto__free_unpacked(o, NULL);
    } else {
        Onnx__SequenceProto *s = onnx__sequence_proto__unpack(NULL, size, bytes);
        ok = s ? from_sequence(s, v, 0) : run_error("not a SequenceProto");
        onnx__sequence_proto__free_unpacked(s, NULL);
    }
    return ok;
}

bool pb_load(const char *path, int kind, Value *v) {
    uint8_t *bytes;
    size_t size;
    if (!run_read_file(path, &bytes, &size)) return false;
    bool ok = pb_decode(bytes, size, kind, v);
    free(bytes);
    return ok || run_error("%s: %s", path, run_message());
}

/* ---- writing ---- */

typedef struct {
    uint8_t *data;
    size_t size, cap;
} Bytes;

static void put(Bytes *b, const void *data, size_t n) {
    if (b->size + n > b->cap) {
        b->cap = 2 * (b->size + n) + 64;
        b->data = run_realloc(b->data, b->cap);
    }
    if (n > 0) memcpy(b->data + b->size, data, n);
    b->size += n;
}

static void put_varint(Bytes *b, uint64_t x) {
    do {
        uint8_t byte = (uint8_t)((x & 127) | (x > 127 ? 128 : 0));
        put(b, &byte, 1);
        x >>= 7;
    } while (x);
}

static void put_int(Bytes *b, unsigned field, int64_t x) {
    put_varint(b, field << 3);
    put_varint(b, (uint64_t)x);
}

static void put_text(Bytes *b, unsigned field, const void *data, size_t n) {
    put_varint(b, (field << 3) | 2);
    put_varint(b, n);
    put(b, data, n);
}

static void put_tensor(Bytes *b, const Value *v) {
    size_t n = value_count(v), bytes = 0;
    for (int i = 0; i < v->rank; i++) put_int(b, 1, v->dim[i]);
    put_int(b, 2, v->type);
    if (v->type == CNN_STRING) {
        const cnn_string *s = v->data;
        for (size_t i = 0; i < n; i++) put_text(b, 6, s[i].ptr, s[i].len);
    }
    if (v->name) put_text(b, 8, v->name, strlen(v->name));
    if (type_packed(v->type)) {
        bytes = (n * type_packed(v->type) + 7) / 8;
        uint8_t *packed = run_alloc(bytes);
        cnn_pack(v->data, packed, (int64_t)n, type_packed(v->type));
        put_text(b, 9, packed, bytes);
        free(packed);
    } else if (v->type != CNN_STRING && type_bytes(v->type, n, &bytes)) {
        put_text(b, 9, v->data, bytes);
    }
}

static void put_sequence(Bytes *b, const Value *v);

static void put_map(Bytes *b, const Value *v) {
    const Value *keys = &v->item[0], *values = &v->item[1];
    Bytes list = {0};
    put_int(b, 2, keys->type);
    for (size_t i = 0, n = value_count(keys); i < n; i++) {
        if (keys->type == CNN_STRING) {
            const cnn_string *s = (const cnn_string *)keys->data + i;
            put_text(b, 4, s->ptr, s->len);
        } else {
            put_int(b, 3, number_int(keys->type, keys->data, i));
        }
    }
    put_int(&list, 2, ONNX__SEQUENCE_PROTO__DATA_TYPE__TENSOR);
    for (size_t i = 0, n = value_count(values), one = 0; i < n; i++) {
        Bytes t = {0};
        put_int(&t, 2, values->type);
        if (type_bytes(values->type, 1, &one)) put_text(&t, 9, (const char *)values->data + i * one, one);
        put_text(&list, 3, t.data, t.size);
        free(t.data);
    }
    put_text(b, 5, list.data, list.size);
    free(list.data);
}

static void put_sequence(Bytes *b, const Value *v) {
    static const unsigned field[] = {7, 3, 5, 6}; /* by ValueKind */
    static const int elem[] = {5, 1, 3, 4};
    if (v->name) put_text(b, 1, v->name, strlen(v->name));
    put_int(b, 2, v->count ? elem[v->item[0].kind] : 1);
    for (size_t i = 0; i < v->count; i++) {
        Bytes t = {0};
        const Value *x = &v->item[i];
        if (x->kind == VAL_TENSOR)
            put_tensor(&t, x);
        else if (x->kind == VAL_MAP)
            put_map(&t, x);
        else if (x->kind == VAL_SEQUENCE)
            put_sequence(&t, x);
        put_text(b, field[x->kind], t.data, t.size);
        free(t.data);
    }
}

bool pb_save(const char *path, const Value *v) {
    Bytes b = {0};
    if (v->kind == VAL_TENSOR)
        put_tensor(&b, v);
    else if (v->kind == VAL_SEQUENCE)
        put_sequence(&b, v);
    else if (v->kind == VAL_MAP)
        put_map(&b, v);
    bool ok = run_write_file(path, b.data, b.size);
    free(b.data);
    return ok;
}
