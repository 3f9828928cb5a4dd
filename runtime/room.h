// SPDX-License-Identifier: Apache-2.0
// Buffers whose size only the run knows, laid out behind the planned part of the work area.
#ifndef CNN_RUNTIME_ROOM_H
#define CNN_RUNTIME_ROOM_H
#include <string.h>
#include "abi.h"

//@ cnn_place:
/* Where a buffer is: bytes at <= i < end of the work area. */
typedef struct { size_t at, end; } cnn_span;

/* Gives span `mine` the lowest place of so many bytes in [first, limit) that overlaps none of the spans in
   `live`, a list that -1 ends. */
static inline int cnn_place(cnn_span *span, int mine, const short *live, size_t first, size_t limit, int64_t bytes) {
    size_t at = first, n;
    int i, moved = 1;
    span[mine].at = span[mine].end = first;
    if (bytes < 0 || first > limit || (uint64_t)bytes > limit - first) return CNN_ECAPACITY;
    n = (size_t)bytes + (size_t)(-bytes & 63);
    while (moved)
        for (i = 0, moved = 0; live[i] >= 0; i++)
            if (at < span[live[i]].end && span[live[i]].at < at + n) {
                at = span[live[i]].end;
                moved = 1;
            }
    if (at > limit || (size_t)bytes > limit - at) return CNN_ECAPACITY;
    span[mine].at = at;
    span[mine].end = n > limit - at ? limit : at + n;
    return CNN_OK;
}

//@ cnn_lowest: cnn_place
/* Where the last of n spans ends. */
static inline size_t cnn_lowest(const cnn_span *span, int n, size_t room) {
    int i;
    for (i = 0; i < n; i++)
        if (span[i].end > room) room = span[i].end;
    return room;
}

//@ cnn_grow: cnn_place #string
/* The same for a buffer that has a place and keeps its bytes: where it is, if there is room, else in a new
   place, of twice the size if there is room. */
static inline int cnn_grow(unsigned char *work, cnn_span *span, int mine, const short *live, size_t first, size_t limit,
                           int64_t bytes) {
    const cnn_span old = span[mine];
    const size_t size = old.end - old.at;
    size_t next = limit, want;
    int i;
    if (bytes >= 0 && (uint64_t)bytes <= size) return CNN_OK;
    for (i = 0; live[i] >= 0; i++)
        if (span[live[i]].at >= old.end && span[live[i]].at < next && span[live[i]].end > span[live[i]].at) next = span[live[i]].at;
    if (size > 0 && bytes >= 0 && (uint64_t)bytes <= next - old.at) {
        want = (uint64_t)bytes > 2 * size ? (size_t)bytes + (size_t)(-bytes & 63) : 2 * size;
        span[mine].end = want > next - old.at ? next : old.at + want;
        return CNN_OK;
    }
    if (size > (size_t)INT64_MAX / 4 || (uint64_t)bytes > 2 * size || cnn_place(span, mine, live, first, limit, (int64_t)(2 * size)))
        if (cnn_place(span, mine, live, first, limit, bytes)) return CNN_ECAPACITY;
    memmove(work + span[mine].at, work + old.at, size);
    return CNN_OK;
}
//@ end
#endif
