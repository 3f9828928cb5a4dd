// SPDX-License-Identifier: Apache-2.0
// Tensors, sequences and maps as they are read, run, compared and written.
#include <stdlib.h>
#include <string.h>

#include "run.h"

static const struct {
    const char *name;
    size_t size;
    bool is_float;
} type_table[] = {
    [CNN_FLOAT] = {"float32", 4, true},
    [CNN_UINT8] = {"uint8", 1, false},
    [CNN_INT8] = {"int8", 1, false},
    [CNN_UINT16] = {"uint16", 2, false},
    [CNN_INT16] = {"int16", 2, false},
    [CNN_INT32] = {"int32", 4, false},
    [CNN_INT64] = {"int64", 8, false},
    [CNN_STRING] = {"string", sizeof(cnn_string), false},
    [CNN_BOOL] = {"bool", 1, false},
    [CNN_FLOAT16] = {"float16", 2, true},
    [CNN_DOUBLE] = {"float64", 8, true},
    [CNN_UINT32] = {"uint32", 4, false},
    [CNN_UINT64] = {"uint64", 8, false},
    [CNN_COMPLEX64] = {"complex64", 8, true},
    [CNN_COMPLEX128] = {"complex128", 16, true},
    [CNN_BFLOAT16] = {"bfloat16", 2, true},
    [CNN_FLOAT8E4M3FN] = {"float8e4m3fn", 1, true},
    [CNN_FLOAT8E4M3FNUZ] = {"float8e4m3fnuz", 1, true},
    [CNN_FLOAT8E5M2] = {"float8e5m2", 1, true},
    [CNN_FLOAT8E5M2FNUZ] = {"float8e5m2fnuz", 1, true},
    [CNN_UINT4] = {"uint4", 1, false},
    [CNN_INT4] = {"int4", 1, false},
    [CNN_FLOAT4E2M1] = {"float4e2m1", 1, true},
    [CNN_FLOAT8E8M0] = {"float8e8m0", 1, true},
    [CNN_UINT2] = {"uint2", 1, false},
    [CNN_INT2] = {"int2", 1, false},
    [CNN_FLOAT6E2M3] = {"float6e2m3", 1, true},
    [CNN_FLOAT6E3M2] = {"float6e3m2", 1, true},
};

static bool known(int type) {
    return type > 0 && (size_t)type < sizeof type_table / sizeof *type_table && type_table[type].size > 0;
}

size_t type_size(int type) { return known(type) ? type_table[type].size : 0; }

unsigned type_packed(int type) {
    if (type == CNN_UINT4 || type == CNN_INT4 || type == CNN_FLOAT4E2M1) return 4;
    if (type == CNN_FLOAT6E2M3 || type == CNN_FLOAT6E3M2) return 6;
    return type == CNN_UINT2 || type == CNN_INT2 ? 2 : 0;
}

const char *type_name(int type) { return known(type) ? type_table[type].name : "unknown"; }

bool type_is_float(int type) { return known(type) && type_table[type].is_float; }

bool type_bytes(int type, size_t count, size_t *bytes) {
    size_t size = type_size(type);
    if (size == 0) return run_error("element type %d is not known", type);
    if (count > SIZE_MAX / 4 / size) return run_error("a tensor is too large");
    *bytes = count * size;
    return true;
}

bool type_extends(int type) { return type == CNN_INT4 || type == CNN_INT2; }

bool type_port_bytes(int type, size_t count, size_t *bytes) {
    unsigned bits = type_packed(type);
    if (!type_bytes(type, count, bytes)) return false;
    if (bits) *bytes = (count * bits + 7) / 8;
    return true;
}

bool shape_count(int rank, const int64_t *dim, size_t *count) {
    size_t n = 1;
    bool empty = false;
    for (int i = 0; i < rank; i++) {
        if (dim[i] < 0) return run_error("an extent is negative");
        if (dim[i] == 0)
            empty = true;
        else if (__builtin_mul_overflow(n, (size_t)dim[i], &n) || n > SIZE_MAX / 16)
            return run_error("a tensor is too large");
    }
    *count = empty ? 0 : n;
    return true;
}

/* With AddressSanitizer its own red zones see more: reads, and every distance. */
#if defined(__SANITIZE_ADDRESS__)
enum { GUARD = 0 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { GUARD = 0 };
#else
enum { GUARD = 64 };
#endif
#else
enum { GUARD = 64 };
#endif
static const unsigned char guard_byte = 0xA5;

void *guard_alloc(size_t size) {
    void *p = NULL;
    if (size > SIZE_MAX / 2 || posix_memalign(&p, 64, size + GUARD + (size == 0)) != 0) {
        fprintf(stderr, "cnncc-run: out of memory (%zu bytes)\n", size);
        exit(EXIT_BUG);
    }
    memset((unsigned char *)p + size, guard_byte, GUARD);
    return p;
}

void guard_free(void *data) { free(data); }

bool guard_whole(const void *data, size_t size) {
    const unsigned char *g = (const unsigned char *)data + size;
    for (int i = 0; i < GUARD; i++)
        if (g[i] != guard_byte) return false;
    return true;
}

bool value_tensor(Value *v, int type, int rank, const int64_t *dim) {
    size_t count = 0, bytes = 0;
    char *name = v->name;
    *v = (Value){.kind = VAL_ABSENT, .name = name};
    if (rank < 0 || rank > MAX_RANK) return run_error("a tensor of %d dimensions; %d are the most", rank, MAX_RANK);
    if (!shape_count(rank, dim, &count) || !type_bytes(type, count, &bytes)) return false;
    v->kind = VAL_TENSOR;
    v->type = type;
    v->rank = rank;
    if (rank > 0) memcpy(v->dim, dim, (size_t)rank * sizeof *dim);
    v->data = guard_alloc(bytes);
    if (bytes > 0) memset(v->data, 0, bytes);
    return true;
}

void value_list(Value *v, ValueKind kind, size_t count) {
    char *name = v->name;
    *v = (Value){.kind = kind, .name = name, .count = count};
    v->item = run_calloc(count, sizeof *v->item);
}

void value_name(Value *v, const char *name, size_t len) {
    free(v->name);
    v->name = run_alloc(len + 1);
    memcpy(v->name, name, len);
    v->name[len] = 0;
}

void value_string(Value *v, size_t i, const char *text, size_t len) {
    cnn_string *s = (cnn_string *)v->data + i;
    char *copy = run_alloc(len + 1);
    if (len > 0) memcpy(copy, text, len);
    copy[len] = 0;
    free((void *)(uintptr_t)s->ptr);
    s->ptr = copy;
    s->len = len;
}

size_t value_count(const Value *v) {
    size_t n = 0;
    return v->kind == VAL_TENSOR && shape_count(v->rank, v->dim, &n) ? n : 0;
}

void value_free(Value *v) {
    if (v->kind == VAL_TENSOR && v->type == CNN_STRING) {
        cnn_string *s = v->data;
        for (size_t i = 0, n = value_count(v); i < n; i++) free((void *)(uintptr_t)s[i].ptr);
    }
    if (v->kind == VAL_TENSOR) guard_free(v->data);
    for (size_t i = 0; i < v->count; i++) value_free(&v->item[i]); /* as deep as the file's types: decoding bounds it */
    free(v->item);
    free(v->name);
    *v = (Value){0};
}

void values_free(Value *v, size_t count) {
    if (!v) return;
    for (size_t i = 0; i < count; i++) value_free(&v[i]);
    free(v);
}

static void print_tensor(FILE *f, const Value *v) {
    fprintf(f, "%s[", type_name(v->type));
    for (int i = 0; i < v->rank; i++) fprintf(f, "%s%lld", i ? "," : "", (long long)v->dim[i]);
    fputs("]", f);
    size_t n = value_count(v);
    for (size_t i = 0; i < n && i < 8; i++) {
        char text[80];
        number_text(v->type, v->data, i, text, sizeof text);
        fprintf(f, " %s", text);
    }
    if (n > 8) fputs(" …", f);
}

void value_print(FILE *f, const Value *v) {
    static const char *const kind[] = {"absent", "tensor", "sequence", "map"};
    if (v->kind == VAL_TENSOR) {
        print_tensor(f, v);
        return;
    }
    fputs(kind[v->kind], f);
    if (v->kind == VAL_ABSENT) return;
    fprintf(f, " of %zu {", v->count);
    for (size_t i = 0; i < v->count && i < 4; i++) {
        fputs(i ? "; " : " ", f);
        value_print(f, &v->item[i]);
    }
    fputs(v->count > 4 ? "; … }" : " }", f);
}

bool value_convert(Value *v, int type) {
    Value w = {0};
    bool text = v->type == CNN_STRING || type == CNN_STRING;
    bool pair = v->type == CNN_COMPLEX64 || v->type == CNN_COMPLEX128;
    if (v->kind != VAL_TENSOR || text || pair || type == CNN_COMPLEX64 || type == CNN_COMPLEX128)
        return run_error("%s does not convert to %s", type_name(v->type), type_name(type));
    if (!value_tensor(&w, type, v->rank, v->dim)) return false;
    for (size_t i = 0, n = value_count(v); i < n; i++) number_set(type, w.data, i, number_get(v->type, v->data, i));
    guard_free(v->data);
    v->data = w.data;
    v->type = type;
    return true;
}
