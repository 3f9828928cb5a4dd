// SPDX-License-Identifier: Apache-2.0
// Constants: as literals in the C, or in a file of little-endian bytes behind a 64-byte header
// { "CNNCCW2\0", FNV-1a of the data by words of 64 bits, its size }.
#include "emit/emit.h"
#include <stdlib.h>
#include <string.h>

enum { WEIGHT_ALIGN = 64, FILE_HEADER = 64, PIECE = 1 << 20 };

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
    put(t, "{");
    put_c_string(t, s->p, s->n);
    put(t, ", %zu}", s->n);
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
        const Data *d = buf_data(b);
        put(t, "/* ");
        for (int k = 0; k < b->rank; k++) put(t, "%s%s", k ? " x " : "", in_comment(e_str(b->shape[k])));
        put(t, " */\nstatic const %s %s[%zu] = {", c_type(b->dt), b->name, d->n);
        for (size_t k = 0; k < d->n; k++) {
            put(t, k % 12 == 0 ? "\n    " : " ");
            put_element(e, t, d, k);
            put(t, ",");
        }
        put(t, "\n};\n\n");
    }
}

typedef struct { FILE *f; uint64_t hash; } Out;

// n is a multiple of 8, or all but the last words of a constant come before.
static void write_bytes(Out *o, const void *p, size_t n) {
    const char *s = p;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word = 0;
        memcpy(&word, s + i, n - i < 8 ? n - i : 8);
        o->hash = (o->hash ^ word) * 1099511628211u;
    }
    fwrite(p, 1, n, o->f);
}

static void write_header(FILE *f, uint64_t hash, uint64_t size) {
    unsigned char h[FILE_HEADER] = "CNNCCW2";
    for (int i = 0; i < 8; i++) {
        h[8 + i] = (unsigned char)(hash >> (8 * i));
        h[16 + i] = (unsigned char)(size >> (8 * i));
    }
    fwrite(h, 1, sizeof h, f);
}

static void write_pack(Out *o, const Pack *k) {
    int64_t group = pack_group(k);
    size_t size = dt_size(k->src->dt), panel = (size_t)(k->nsum * k->width) * size;
    char *room = malloc(panel * (size_t)group);
    if (!room) fatal("out of memory");
    for (int64_t i = 0; i < k->nbatch; i++)
        for (int64_t p = 0; p < k->panels; p += group) {
            int64_t n = k->panels - p < group ? k->panels - p : group;
            pack_panels(k, i, p, n, room);
            write_bytes(o, room, panel * (size_t)n);
        }
    free(room);
    if (!k->src->splat) mapped_release(k->src->p, k->src->n * size);
}

static void write_splat(Out *o, const Data *d) {
    char block[4096];
    size_t size = dt_size(d->dt), bytes = d->n * size;
    for (size_t i = 0; i < sizeof block; i += size) memcpy(block + i, d->p, size);
    for (size_t i = 0; i < bytes; i += sizeof block) write_bytes(o, block, bytes - i < sizeof block ? bytes - i : sizeof block);
}

// The bytes of one constant, in pieces; splats are spread.
static void write_data(Out *o, Buf *b) {
    static const unsigned char zero[WEIGHT_ALIGN];
    const Data *d = b->data;
    size_t size = dt_size(d->dt), bytes = d->n * size;
    if (b->pack && !d->p) write_pack(o, b->pack);
    else if (d->splat) write_splat(o, d);
    else
        for (size_t i = 0; i < bytes; i += PIECE) {
            size_t n = bytes - i < PIECE ? bytes - i : PIECE;
            write_bytes(o, (const char *)d->p + i, n);
            mapped_release((const char *)d->p + i, n);
        }
    write_bytes(o, zero, (WEIGHT_ALIGN - bytes % WEIGHT_ALIGN) % WEIGHT_ALIGN);
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
        write_data(&o, b);
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
