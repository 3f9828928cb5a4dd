// SPDX-License-Identifier: Apache-2.0
// Where the buffers of a work area begin when their sizes depend on the extents of the inputs.
#ifndef CNN_RUNTIME_STACK_H
#define CNN_RUNTIME_STACK_H
#include <stdint.h>

//@ cnn_stack:
/* Buffer i has size[i] bytes and begins where the highest of those below it ends: `below` lists them, earlier
   ones, for each buffer up to a -1. The bytes of all, which are also place[n]. */
static inline int64_t cnn_stack(int n, const int64_t *size, const int *below, int64_t *place) {
    int64_t top = 0;
    int i;
    for (i = 0; i < n; i++) {
        int64_t at = 0;
        for (; *below >= 0; below++) {
            const int64_t end = place[*below] + size[*below];
            at = end > at ? end : at;
        }
        below++;
        place[i] = at;
        top = at + size[i] > top ? at + size[i] : top;
    }
    place[n] = top;
    return top;
}
//@ end
#endif
