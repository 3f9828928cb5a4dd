// SPDX-License-Identifier: Apache-2.0
// One arena for one compilation: blocks of growing size, freed together.
#include "cnncc.h"
#include <stdlib.h>
#include <string.h>

typedef struct Block { struct Block *next; size_t used, size; } Block;
enum { HEADER = (sizeof(Block) + 15) / 16 * 16, BLOCK = 1 << 18 };
static Block *blocks;

void *arena_alloc(size_t size) {
    if (size > SIZE_MAX / 2) fatal("a size is out of range");
    size = (size + 15) & ~(size_t)15;
    if (!blocks || blocks->size - blocks->used < size) {
        size_t room = size > BLOCK ? size : BLOCK;
        Block *b = calloc(1, HEADER + room); // calloc: large blocks come zeroed from the system, untouched
        if (!b) fatal("out of memory: %zu bytes", room);
        b->size = room;
        if (size > BLOCK && blocks) { // a block of its own: keep filling the current one
            b->next = blocks->next;
            b->used = size;
            blocks->next = b;
            return (char *)b + HEADER;
        }
        b->next = blocks;
        blocks = b;
    }
    void *p = (char *)blocks + HEADER + blocks->used;
    blocks->used += size;
    return p;
}

void arena_reset(void) {
    while (blocks) {
        Block *next = blocks->next;
        free(blocks);
        blocks = next;
    }
}

char *arena_strdup(const char *s) {
    size_t n = strlen(s) + 1;
    return memcpy(arena_alloc(n), s, n);
}

char *arena_printf(const char *fmt, ...) {
    va_list ap, ap2;
    va_start(ap, fmt);
    va_copy(ap2, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *s = arena_alloc((size_t)n + 1);
    vsnprintf(s, (size_t)n + 1, fmt, ap2);
    va_end(ap2);
    return s;
}

size_t mul_size(size_t a, size_t b) {
    size_t r;
    if (__builtin_mul_overflow(a, b, &r)) fatal("a tensor's size does not fit 64 bits");
    return r;
}
