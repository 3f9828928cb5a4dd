// SPDX-License-Identifier: Apache-2.0
#include "cnncc.h"
#include <string.h>

// Room for one more than n elements; the old array stays in the arena.
void *vec_grow(void *p, int n, int *cap, size_t size) {
    if (n < *cap) return p;
    if (n > INT32_MAX / 2) fatal("more than %d elements in a list", INT32_MAX / 2);
    *cap = n < 4 ? 8 : n * 2;
    void *q = arena_alloc((size_t)*cap * size);
    if (n) memcpy(q, p, (size_t)n * size);
    return q;
}
