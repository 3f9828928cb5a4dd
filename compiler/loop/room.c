// SPDX-License-Identifier: Apache-2.0
// Dynamic buffers: their size only the run knows, so the run lays them out behind the planned part of
// the work area (runtime/room.h). Here: where they get their places, which of them are alive there, and
// how few spans hold the places of all.
#include "loop/loop.h"
#include <stdlib.h>

static Buf *home(Buf *b) {
    while (b->alias) b = b->alias;
    return b;
}

// ---- statements that are missing ------------------------------------------------------------------

static Stmt **before(Stmt **at, Buf *b) {
    if (!b) return at;
    b = home(b);
    if (!b->dynamic || b->placed) return at;
    b->placed = true;
    Stmt *room = NEW(Stmt);
    *room = (Stmt){.kind = ST_ROOM, .buf = b, .e = b->size, .next = *at};
    *at = room;
    return &room->next;
}

static Stmt **before_sx(Stmt **at, const Sx *x) {
    if (!x) return at;
    at = before(at, x->buf);
    for (int i = 0; i < x->n; i++) at = before_sx(at, x->a[i]);
    return at;
}

static Stmt **before_all(Stmt **at, const Stmt *s) {
    for (; s; s = s->next) {
        at = before(at, s->buf);
        at = before_sx(at, s->value);
        for (int i = 0; i < s->nbuf; i++) at = before(at, s->bufs[i]);
        at = before_all(at, s->body);
        at = before_all(at, s->els);
    }
    return at;
}

// Buffers inside of a nest (sorting, packing) are placed right before it.
void room_insert(Stmt **at) {
    for (; *at; at = &(*at)->next) {
        Stmt *s = *at;
        if (s->kind == ST_ROOM) continue;
        if (s->kind == ST_FUNC || (!s->body && !s->els)) {
            Stmt one = *s;
            one.next = NULL;
            at = before_all(at, &one);
            continue;
        }
        at = before_sx(at, s->value);
        room_insert(&s->body);
        room_insert(&s->els);
    }
}

// ---- spans ----------------------------------------------------------------------------------------

static int earlier_first(const void *a, const void *b) {
    const Buf *x = *(Buf *const *)a, *y = *(Buf *const *)b;
    return x->first != y->first ? x->first - y->first : x->id - y->id;
}

typedef struct { Buf **buf; int n; } Dynamic;

static void alive(Stmt *s, const Dynamic *d, int *step) {
    for (; s; s = s->next) {
        if (s->kind == ST_ROOM) {
            s->bufs = NEWN(Buf *, d->n + 1);
            for (int i = 0; i < d->n; i++)
                if (d->buf[i] != home(s->buf) && d->buf[i]->first <= *step + 1 && d->buf[i]->last > *step) s->bufs[s->nbuf++] = d->buf[i];
            continue;
        }
        ++*step;
        if (s->kind == ST_FUNC) continue;
        alive(s->body, d, step);
        alive(s->els, d, step);
    }
}

void room_slots(Program *p) {
    Dynamic d = {NEWN(Buf *, p->nbufs + 1), 0};
    int *until = NEWN(int, p->nbufs + 1), step = 0;
    for (int i = 0; i < p->nbufs; i++)
        if (p->bufs[i]->dynamic && !p->bufs[i]->alias && p->bufs[i]->last >= 0) d.buf[d.n++] = p->bufs[i];
    qsort(d.buf, (size_t)d.n, sizeof *d.buf, earlier_first);
    for (int i = 0; i < d.n; i++) {
        int k = 0;
        while (k < p->nslot && until[k] >= d.buf[i]->first) k++;
        if (k == p->nslot) p->nslot++;
        d.buf[i]->slot = k;
        until[k] = d.buf[i]->last;
    }
    alive(p->body, &d, &step);
}
