// SPDX-License-Identifier: Apache-2.0
// numpy's .npy files, every element type that ONNX shares with numpy.
#include <stdlib.h>
#include <string.h>

#include "run.h"

static const struct {
    const char *code;
    int type;
} npy_types[] = {
    {"f4", CNN_FLOAT},  {"f8", CNN_DOUBLE}, {"f2", CNN_FLOAT16},   {"b1", CNN_BOOL},        {"i1", CNN_INT8},
    {"i2", CNN_INT16},  {"i4", CNN_INT32},  {"i8", CNN_INT64},     {"u1", CNN_UINT8},       {"u2", CNN_UINT16},
    {"u4", CNN_UINT32}, {"u8", CNN_UINT64}, {"c8", CNN_COMPLEX64}, {"c16", CNN_COMPLEX128},
};

/* What the header says. */
typedef struct {
    char descr[32];
    bool fortran;
    int rank;
    int64_t dim[MAX_RANK];
    const uint8_t *data;
    size_t size;
} Npy;

static bool header_shape(const char *text, Npy *h) {
    const char *p = strchr(text, '(');
    if (!p) return false;
    for (p++; *p && *p != ')';) {
        char *end;
        long long d = strtoll(p, &end, 10);
        if (end == p) {
            p++;
            continue;
        }
        if (h->rank == MAX_RANK || d < 0) return false;
        h->dim[h->rank++] = d;
        p = end;
    }
    return *p == ')';
}

static bool read_header(const uint8_t *b, size_t n, Npy *h) {
    if (n < 12 || memcmp(b, "\x93NUMPY", 6) != 0) return run_error("not an .npy file");
    size_t at = b[6] == 1 ? 10 : 12;
    size_t len = (size_t)b[8] | (size_t)b[9] << 8;
    if (b[6] > 1) len |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (len > n - at) return run_error("the header is cut");
    char *text = run_alloc(len + 1);
    memcpy(text, b + at, len);
    text[len] = 0;
    const char *d = strstr(text, "'descr'"), *f = strstr(text, "'fortran_order'");
    const char *s = strstr(text, "'shape'");
    const char *q = d ? strchr(d + 7, '\'') : NULL;
    bool ok = q && f && s && sscanf(q + 1, "%31[^']", h->descr) == 1 && header_shape(s, h);
    if (ok) {
        f = strchr(f, ':');
        h->fortran = f && strncmp(f + 1 + strspn(f + 1, " "), "True", 4) == 0;
    }
    free(text);
    h->data = b + at + len;
    h->size = n - at - len;
    return ok || run_error("the header cannot be read");
}

static size_t utf8_put(char *to, uint32_t c) {
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (char)(0xC0 | c >> 6);
        to[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (char)(0xE0 | c >> 12);
        to[1] = (char)(0x80 | (c >> 6 & 63));
        to[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    to[0] = (char)(0xF0 | (c >> 18 & 7));
    to[1] = (char)(0x80 | (c >> 12 & 63));
    to[2] = (char)(0x80 | (c >> 6 & 63));
    to[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* Fixed-width text: U is 4 bytes a character, S one. */
static bool read_strings(const Npy *h, Value *v) {
    bool wide = h->descr[1] == 'U';
    size_t width = strtoul(h->descr + 2, NULL, 10), unit = wide ? 4 : 1;
    size_t n;
    if (width > SIZE_MAX / 64 || !value_tensor(v, CNN_STRING, h->rank, h->dim)) return run_error("strings too wide");
    n = value_count(v);
    if (n > 0 && width * unit > h->size / n) return run_error("the data is cut");
    char *text = run_alloc(4 * width + 4);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = h->data + i * width * unit;
        size_t len = 0, last = 0;
        for (size_t j = 0; j < width; j++, p += unit) {
            uint32_t c =
                wide ? (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24 : p[0];
            if (wide)
                len += utf8_put(text + len, c);
            else
                text[len++] = (char)c;
            if (c) last = len;
        }
        value_string(v, i, text, last);
    }
    free(text);
    return true;
}

static int npy_type(const char *descr, int hint) {
    for (size_t i = 0; i < sizeof npy_types / sizeof *npy_types; i++)
        if (strcmp(descr + 1, npy_types[i].code) == 0) return npy_types[i].type;
    size_t size = type_size(hint);
    if ((strcmp(descr + 1, "V1") == 0 && size == 1) || (strcmp(descr + 1, "V2") == 0 && size == 2)) return hint;
    return 0;
}

static void swap_bytes(uint8_t *p, size_t n, size_t size) {
    for (size_t i = 0; i < n; i++, p += size)
        for (size_t j = 0; j < size / 2; j++) {
            uint8_t t = p[j];
            p[j] = p[size - 1 - j];
            p[size - 1 - j] = t;
        }
}

static void from_fortran(Value *v, const uint8_t *data, size_t size) {
    int64_t at[MAX_RANK] = {0};
    for (size_t i = 0, n = value_count(v); i < n; i++) {
        size_t from = 0;
        for (int a = v->rank - 1; a >= 0; a--) from = from * (size_t)v->dim[a] + (size_t)at[a];
        memcpy((uint8_t *)v->data + i * size, data + from * size, size);
        for (int a = v->rank - 1; a >= 0 && ++at[a] == v->dim[a]; a--) at[a] = 0;
    }
}

static bool decode(const uint8_t *b, size_t n, int hint, Value *v) {
    Npy h = {0};
    size_t bytes;
    if (!read_header(b, n, &h)) return false;
    if (h.descr[1] == 'U' || h.descr[1] == 'S')
        return h.fortran ? run_error("strings in Fortran's order") : read_strings(&h, v);
    int type = npy_type(h.descr, hint);
    if (!type) return run_error("element type '%s' has no place in ONNX", h.descr);
    if (!value_tensor(v, type, h.rank, h.dim) || !type_bytes(type, value_count(v), &bytes)) return false;
    if (bytes > h.size) return run_error("the data is cut");
    if (h.fortran)
        from_fortran(v, h.data, type_size(type));
    else if (bytes > 0)
        memcpy(v->data, h.data, bytes);
    size_t unit = type_size(type) / (type == CNN_COMPLEX64 || type == CNN_COMPLEX128 ? 2 : 1);
    if (h.descr[0] == '>') swap_bytes(v->data, bytes / unit, unit);
    if (type_packed(hint) && (type == CNN_INT8 || type == CNN_UINT8)) v->type = hint;
    return true;
}

bool npy_load(const char *path, int type, Value *v) {
    uint8_t *bytes;
    size_t size;
    if (!run_read_file(path, &bytes, &size)) return false;
    bool ok = decode(bytes, size, type, v);
    free(bytes);
    return ok || run_error("%s: %s", path, run_message());
}

static size_t utf8_get(const char *s, size_t len, uint32_t *c) {
    const uint8_t *p = (const uint8_t *)s;
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (n > len) n = 1;
    *c = n == 1 ? p[0] : p[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) *c = *c << 6 | (p[i] & 63u);
    return n;
}

/* The widest string, in characters. */
static size_t string_width(const Value *v) {
    const cnn_string *s = v->data;
    size_t width = 1;
    for (size_t i = 0, n = value_count(v); i < n; i++) {
        size_t w = 0;
        uint32_t c;
        for (size_t at = 0; at < s[i].len; w++) at += utf8_get(s[i].ptr + at, s[i].len - at, &c);
        if (w > width) width = w;
    }
    return width;
}

static void write_strings(FILE *f, const Value *v, size_t width) {
    const cnn_string *s = v->data;
    for (size_t i = 0, n = value_count(v); i < n; i++) {
        size_t at = 0;
        for (size_t j = 0; j < width; j++) {
            uint32_t c = 0;
            if (at < s[i].len) at += utf8_get(s[i].ptr + at, s[i].len - at, &c);
            uint8_t b[4] = {(uint8_t)c, (uint8_t)(c >> 8), (uint8_t)(c >> 16), (uint8_t)(c >> 24)};
            (void)fwrite(b, 1, 4, f);
        }
    }
}

static void npy_descr(const Value *v, size_t width, char *out, size_t room) {
    size_t size = type_size(v->type);
    if (v->type == CNN_STRING) {
        (void)snprintf(out, room, "<U%zu", width);
        return;
    }
    for (size_t i = 0; i < sizeof npy_types / sizeof *npy_types; i++)
        if (npy_types[i].type == v->type) {
            (void)snprintf(out, room, "%s%s", size == 1 ? "|" : "<", npy_types[i].code);
            return;
        }
    if (type_packed(v->type) && !type_is_float(v->type))
        (void)snprintf(out, room, "|%s", v->type == CNN_INT4 || v->type == CNN_INT2 ? "i1" : "u1");
    else
        (void)snprintf(out, room, "|V%zu", size);
}

static void write_data(FILE *f, const Value *v, size_t width) {
    size_t bytes;
    if (v->type == CNN_STRING)
        write_strings(f, v, width);
    else if (type_bytes(v->type, value_count(v), &bytes) && bytes > 0)
        (void)fwrite(v->data, 1, bytes, f);
}

bool npy_save(const char *path, const Value *v) {
    char descr[40], shape[32 * MAX_RANK], text[40 * MAX_RANK];
    size_t width = v->type == CNN_STRING ? string_width(v) : 0, at = 0;
    npy_descr(v, width, descr, sizeof descr);
    shape[0] = 0;
    for (int i = 0; i < v->rank; i++)
        at += (size_t)snprintf(shape + at, sizeof shape - at, "%lld,%s", (long long)v->dim[i],
                               i + 1 < v->rank ? " " : "");
    int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, shape);
    int pad = 63 - (10 + n) % 64; /* the header and a newline fill lines of 64 */
    uint16_t len = (uint16_t)(n + pad + 1);
    uint8_t head[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (uint8_t)len, (uint8_t)(len >> 8)};
    FILE *f = fopen(path, "wb");
    if (!f) return run_error("%s: cannot be written", path);
    (void)fwrite(head, 1, sizeof head, f);
    fprintf(f, "%s%*s\n", text, pad, "");
    write_data(f, v, width);
    bool ok = !ferror(f);
    return (fclose(f) == 0 && ok) || run_error("%s: cannot be written", path);
}
