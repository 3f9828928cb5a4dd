// SPDX-License-Identifier: Apache-2.0
// The plan in words: every buffer with its place, memory order and life.
#include "loop/loop.h"

void program_print(Text *t, const Program *p) {
    static const char *const kind[] = {"input", "output", "weight", "work"};
    put(t, "work %s bytes, scratch %s\n", p->work_size ? e_str(p->work_size) : "of the places'", e_str(p->scratch_size));
    for (int i = 0; i < p->nbufs; i++) {
        const Buf *b = p->bufs[i];
        if (b->last < 0) continue;
        put(t, "%s %s %s[", kind[b->kind], b->name, dt_name(b->dt));
        for (int k = 0; k < b->rank; k++) put(t, "%s%s", k ? ", " : "", e_str(b->shape[k]));
        put(t, "] order");
        for (int k = 0; k < b->rank; k++) put(t, " %d", b->order[k]);
        if (b->alias) put(t, " in %s", b->alias->name);
        else if (b->dynamic) put(t, " in span %d", b->slot);
        else if (b->place) put(t, " place %d", b->place - 1);
        else if (b->offset) put(t, " at %s", e_str(b->offset));
        put(t, " steps %d..%d\n", b->first, b->last);
    }
    for (int i = 0; i < p->nstack; i++) {
        put(t, "place %d: %s bytes, above", i, e_str(p->stack[i].bytes));
        for (int k = 0; k < p->stack[i].nbelow; k++) put(t, " %d", p->stack[i].below[k]);
        put(t, "\n");
    }
}
