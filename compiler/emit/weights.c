// SPDX-License-Identifier: Apache-2.0
// Constants: as literals in the C, or in a file of little-endian bytes behind a 64-byte header
// { "CNNCCW1\0", FNV-1a of the data, its size }.
#include "emit/emit.h"
#include <string.h>

enum { WEIGHT_ALIGN = 64, FILE_HEADER = 64 };

static bool is_used(const Buf *b) { return b->kind == B_WEIGHT && b->last >= 0; }

uint64_t weights_layout(Emit *e, bool file) {
    uint64_t at = FILE_HEADER, total = 0;
    for (int i = 0; i < e->p->nbufs; i++) {
        Buf *b = e->p->bufs[i];
        if (!is_used(b)) continue;
        size_t size = mul_size(b->data->n, dt_size(b->dt));
        if (file && b->dt != STR) {
            b->offset = e_int((int64_t)at);
            at += (size + WEIGHT_ALIGN - 1) / WEIGHT_ALIGN * WEIGHT_ALIGN;
        }
        total += size;
    }
    return file ? at : total;
}

static void put_string(Text *t, const DataStr *s) {
    put(t, "{\"");
    for (size_t i = 0; i < s->n; i++) {
        unsigned char c = (unsigned char)s->p[i];
        if (c == '"' || c == '\\' || c == '?') put(t, "\\%c", c);
        else if (c < 32 || c > 126) put(t, "\\%03o", c);
        else put(t, "%c", c);
    }
    put(t, "\", %zu}", s->n);
}

static void put_complex(Emit *e, Text *t, const Data *d, size_t i) {
    DType part = d->dt == C64 ? F32 : F64;
    for (size_t k = 0; k < 2; k++) {
        put(t, k ? ", " : "{");
        put_number(e, t, part, scalar_load(part, (const char *)d->p + (2 * i + k) * dt_size(part)));
    }
    put(t, "}");
}

static void put_element(Emit *e, Text *t, const Data *d, size_t i) {
    if (d->splat) i = 0;
    if (d->dt == STR) put_string(t, (const DataStr *)d->p + i);
    else if (dt_is_moved(d->dt)) put_complex(e, t, d, i);
    else if (dt_is_float(d->dt) && d->dt != F32 && d->dt != F64) { // as stored
        if (dt_size(d->dt) == 2) put(t, "%u", ((const uint16_t *)d->p)[i]);
        else put(t, "%u", ((const uint8_t *)d->p)[i]);
    } else put_number(e, t, d->dt, data_get(d, i));
}

void put_weights(Emit *e, Text *t) {
    for (int i = 0; i < e->p->nbufs; i++) {
        Buf *b = e->p->bufs[i];
        if (!is_used(b) || (b->offset && b->dt != STR)) continue;
        put(t, "/* ");
        for (int k = 0; k < b->rank; k++) put(t, "%s%s", k ? " x " : "", e_str(b->shape[k]));
        put(t, " */\nstatic const %s %s[%zu] = {", c_type(b->dt), b->name, b->data->n);
        for (size_t k = 0; k < b->data->n; k++) {
            put(t, k % 12 == 0 ? "\n    " : " ");
            put_element(e, t, b->data, k);
            put(t, ",");
        }
        put(t, "\n};\n\n");
    }
}

typedef struct { FILE *f; uint64_t hash; } Out;

static void write_bytes(Out *o, const void *p, size_t n) {
    const unsigned char *s = p;
    for (size_t i = 0; i < n; i++) o->hash = (o->hash ^ s[i]) * 1099511628211u;
    fwrite(p, 1, n, o->f);
}

static void write_header(FILE *f, uint64_t hash, uint64_t size) {
    unsigned char h[FILE_HEADER] = "CNNCCW1";
    for (int i = 0; i < 8; i++) {
        h[8 + i] = (unsigned char)(hash >> (8 * i));
        h[16 + i] = (unsigned char)(size >> (8 * i));
    }
    fwrite(h, 1, sizeof h, f);
}

// The bytes of one constant; splats are spread in pieces.
static void write_data(Out *o, const Data *d, size_t pad) {
    static const unsigned char zero[WEIGHT_ALIGN];
    size_t size = dt_size(d->dt);
    if (!d->splat) write_bytes(o, d->p, d->n * size);
    else
        for (size_t i = 0; i < d->n; i++) write_bytes(o, d->p, size);
    write_bytes(o, zero, pad);
}

bool write_weights(Emit *e, const char *path, uint64_t size, uint64_t *hash) {
    char *tmp = arena_printf("%s.tmp", path);
    Out o = {fopen(tmp, "wb"), 1469598103934665603u};
    if (!o.f) {
        error("cannot write %s", path);
        return false;
    }
    write_header(o.f, 0, size);
    for (int i = 0; i < e->p->nbufs; i++) {
        Buf *b = e->p->bufs[i];
        if (!is_used(b) || !b->offset || b->dt == STR) continue;
        size_t n = mul_size(b->data->n, dt_size(b->dt));
        write_data(&o, b->data, (WEIGHT_ALIGN - n % WEIGHT_ALIGN) % WEIGHT_ALIGN);
    }
    rewind(o.f);
    write_header(o.f, o.hash, size);
    *hash = o.hash;
    bool ok = !ferror(o.f);
    if (fclose(o.f) || !ok || rename(tmp, path)) {
        remove(tmp);
        error("cannot write %s", path);
        return false;
    }
    return true;
}
