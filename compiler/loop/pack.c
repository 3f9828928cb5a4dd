// SPDX-License-Identifier: Apache-2.0
// Constants in packed order, made panel by panel while they are written: a large model is never in memory
// as a whole.
#include "loop/loop.h"
#include <string.h>

enum { GROUP_BYTES = 4096, LARGE = 1 << 25, STEP = 1 << 24 }; // of a row in a group of panels; of a source; between releases

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
