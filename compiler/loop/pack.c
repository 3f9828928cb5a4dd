// SPDX-License-Identifier: Apache-2.0
// Constants in packed order, made panel by panel while they are written: a large model is never in memory
// as a whole.
#include "loop/loop.h"
#include <string.h>

enum { GROUP_BYTES = 4096, LARGE = 1 << 25, STEP = 1 << 24, SHARE_BYTES = 1 << 16 }; // of a row in a group of panels; of a source; between releases; of what is worth one copy

// Elements [lane, lane + n) of one row of the source, from its element `from` on.
static void copy_row(const Pack *k, int64_t from, int64_t n, char *to) {
    const Data *src = k->src;
    size_t size = dt_size(src->dt);
    if (k->lane_stride == 1 && !src->splat && from >= 0 && from + n <= (int64_t)src->n) {
        memcpy(to, (const char *)src->p + (size_t)from * size, (size_t)n * size);
        return;
    }
    for (int64_t j = 0; j < n; j++) {
        int64_t e = from + j * k->lane_stride;
        if (e < 0 || e >= (int64_t)src->n) continue; // a guard keeps it from being used
        memcpy(to + (size_t)j * size, (const char *)src->p + (src->splat ? 0 : (size_t)e * size), size); // at any address of a file
    }
}

int64_t pack_group(const Pack *k) {
    size_t size = dt_size(k->src->dt);
    int64_t group = GROUP_BYTES / (k->width * (int64_t)size);
    if (k->lane_stride != 1 || k->src->splat || k->src->n * size < LARGE || group < 1) return 1;
    return group < k->panels ? group : k->panels;
}

void pack_panels(const Pack *k, int64_t batch, int64_t first, int64_t count, void *to) {
    size_t size = dt_size(k->src->dt), panel = (size_t)(k->nsum * k->width) * size;
    int64_t base = k->base + k->batch[batch], released = base;
    memset(to, 0, panel * (size_t)count);
    for (int64_t s = 0; s < k->nsum; s++) {
        for (int64_t p = first; p < first + count; p++) {
            int64_t lane = p * k->width, n = k->lanes - lane < k->width ? k->lanes - lane : k->width;
            copy_row(k, base + k->sum[s] + lane * k->lane_stride, n, (char *)to + panel * (size_t)(p - first) + (size_t)(s * k->width) * size);
        }
        int64_t at = base + k->sum[s];
        if (k->src->splat || (at - released) * (int64_t)size < STEP) continue;
        mapped_release((const char *)k->src->p + (size_t)released * size, (size_t)(at - released) * size);
        released = at;
    }
}

const Data *buf_data(Buf *b) {
    const Pack *k = b->pack;
    if (!k || b->data->p) return b->data;
    Data *d = data_new(b->dt, b->data->n);
    char *to = (char *)(uintptr_t)d->p;
    size_t panel = (size_t)(k->nsum * k->width) * dt_size(b->dt);
    for (int64_t i = 0; i < k->nbatch; i++, to += panel * (size_t)k->panels) pack_panels(k, i, 0, k->panels, to);
    b->data = d;
    return d;
}

// ---- one copy of what is packed and read plainly, too ---------------------------------------------

typedef struct { const Buf *plain; Buf *packed; int loads; bool ok, change; } Share;

// Where element e of the plain matrix is among the packed ones; NULL: no short way to tell.
static Ex packed_at(const Pack *k, Ex e) {
    bool by_lane = k->lane_stride == k->nsum && k->nsum > 1; // [lanes][nsum], else [nsum][lanes]
    Ex row = e_int(by_lane ? k->nsum : k->lanes), first = e_div(e, row), second = e_sub(e, e_mul(first, row));
    if (first->kind != X_VAR) return NULL;
    Ex lane = by_lane ? first : second, sum = by_lane ? second : first, width = e_int(k->width);
    return e_add(e_mul(e_add(e_mul(e_div(lane, width), e_int(k->nsum)), sum), width), e_mod(lane, width));
}

static void share_sx(Sx *x, Share *s) {
    if (!x) return;
    if (x->buf == s->plain) {
        Ex at = x->kind == SX_LOAD && !x->lanes ? packed_at(s->packed->pack, x->e) : NULL;
        s->loads++;
        s->ok &= at != NULL;
        if (s->change) x->buf = s->packed, x->e = at;
    }
    for (int i = 0; i < x->n; i++) share_sx(x->a[i], s);
}

static void share_stmts(Stmt *st, Share *s) {
    for (; st; st = st->next) {
        s->ok &= st->buf != s->plain;
        for (int i = 0; i < st->nbuf; i++) s->ok &= st->bufs[i] != s->plain;
        share_sx(st->value, s);
        share_stmts(st->body, s);
        share_stmts(st->els, s);
    }
}

// A whole matrix in its own order or transposed.
static bool is_matrix(const Pack *k) {
    if (k->nbatch != 1 || k->base || k->batch[0] || k->src->splat || k->lanes * k->nsum != (int64_t)k->src->n) return false;
    int64_t step = k->lane_stride == k->nsum ? 1 : k->lane_stride == 1 ? k->lanes : 0;
    for (int64_t i = 0; i < k->nsum && step; i++)
        if (k->sum[i] != i * step) return false;
    return step > 0;
}

void pack_share(Program *p) {
    for (int i = 0; i < p->nbufs; i++) {
        Buf *b = p->bufs[i];
        if (b->kind != B_WEIGHT || !b->pack || b->data->n * dt_size(b->dt) < SHARE_BYTES || !is_matrix(b->pack)) continue;
        for (int k = 0; k < p->nbufs; k++) {
            Share s = {p->bufs[k], b, 0, true, false};
            if (s.plain->kind != B_WEIGHT || s.plain->pack || s.plain->data != b->pack->src || s.plain->rank != 2) continue;
            share_stmts(p->body, &s);
            s.change = s.ok && s.loads > 0;
            if (s.change) share_stmts(p->body, &s);
        }
    }
}
