// SPDX-License-Identifier: Apache-2.0
// Constant tensors: elements in host order, row-major, one stored element for a splat.
#include "cnncc.h"

// n zero elements (strings: empty ones), to be written through (void *)p before others see them.
Data *data_new(DType dt, size_t n) {
    Data *d = NEW(Data);
    d->dt = dt;
    d->n = n;
    size_t size = mul_size(n, dt_size(dt));
    d->p = arena_alloc(size ? size : 1);
    return d;
}

// n elements at p, which stays the caller's; one stored element for a splat.
Data *data_alias(DType dt, size_t n, const void *p, bool splat) {
    Data *d = NEW(Data);
    d->dt = dt;
    d->n = n;
    d->p = p;
    d->splat = splat;
    return d;
}

// Element i, row-major; i < n.
Scalar data_get(const Data *d, size_t i) {
    return scalar_load(d->dt, (const char *)d->p + (d->splat ? 0 : i) * dt_size(d->dt));
}

// Sets element i, rounded and wrapped to the type; of a splat, all elements.
void data_set(Data *d, size_t i, Scalar v) {
    scalar_store(d->dt, (char *)(intptr_t)d->p + (d->splat ? 0 : i) * dt_size(d->dt), v);
}
