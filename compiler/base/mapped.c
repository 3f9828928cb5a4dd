// SPDX-License-Identifier: Apache-2.0
// Files that are mapped for reading. What was read once need not stay in memory: the system reads it
// again where it is needed.
#include "cnncc.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct { const char *p; size_t n; } Span;
static Span *spans;
static size_t nspan;

void mapped_add(const void *p, size_t n) {
    Span *v = realloc(spans, (nspan + 1) * sizeof *v);
    if (!v) fatal("out of memory");
    spans = v;
    spans[nspan++] = (Span){p, n};
}

void mapped_remove(const void *p) {
    for (size_t i = 0; i < nspan; i++)
        if (spans[i].p == p) spans[i--] = spans[--nspan];
    if (nspan) return;
    free(spans);
    spans = NULL;
}

void mapped_release(const void *p, size_t n) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)p, end = from + n;
    for (size_t i = 0; i < nspan; i++) {
        uintptr_t first = (uintptr_t)spans[i].p;
        if (from < first || end > first + spans[i].n) continue;
        from = (from + page - 1) / page * page, end = end / page * page;
        if (from < end) (void)madvise((char *)(uintptr_t)p + (from - (uintptr_t)p), end - from, MADV_DONTNEED);
        return;
    }
}
