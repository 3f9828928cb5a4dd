// SPDX-License-Identifier: Apache-2.0
// One work area for the whole function: lifetimes, in-place reuse, offsets. Buffers are packed largest first
// into the lowest gap among those alive at the same time. Where sizes are symbolic, that is done for guessed
// ones and decides which buffer lies below which; the offsets follow at run time (runtime/stack.h). What has no
// bound comes behind: loop/room.c.
#include "loop/loop.h"
#include <stdlib.h>

enum { ALIGN = 64, GUESS = 128 }; // GUESS: what the plan takes a symbol for

typedef struct { Program *p; int step; } Life;

static Buf *home(Buf *b) {
    while (b->alias) b = b->alias;
    return b;
}

static void touch(Buf *b, int step) {
    if (!b) return;
    b = home(b);
    if (step < b->first) b->first = step;
    if (step > b->last) b->last = step;
}

static void touch_sx(const Sx *x, int step) {
    if (!x) return;
    touch(x->buf, step);
    for (int i = 0; i < x->n; i++) touch_sx(x->a[i], step);
}

static void touch_body(const Stmt *s, int step) {
    for (; s; s = s->next) {
        touch(s->buf, step);
        touch_sx(s->value, step);
        for (int i = 0; i < s->nbuf; i++) touch(s->bufs[i], step);
        touch_body(s->body, step);
        touch_body(s->els, step);
    }
}

// Numbers the steps of the main body. What a loop reads from before it must live until its end.
static void lifetimes(Stmt *s, int *step, Program *p) {
    for (; s; s = s->next) {
        if (s->kind == ST_ROOM) { // as of the next statement
            touch(s->buf, *step + 1);
            continue;
        }
        int start = ++*step;
        if (s->kind == ST_FUNC || (!s->body && !s->els)) {
            touch_body(&(Stmt){.kind = ST_BLOCK, .body = s->body, .buf = s->buf, .value = s->value, .nbuf = s->nbuf, .bufs = s->bufs}, start);
            continue;
        }
        touch_sx(s->value, start);
        lifetimes(s->body, step, p);
        lifetimes(s->els, step, p);
        if (s->kind != ST_WHILE && s->kind != ST_FOR) continue;
        for (int i = 0; i < p->nbufs; i++) {
            Buf *b = p->bufs[i];
            if (b->first < start && b->last > start) b->last = *step > b->last ? *step : b->last;
        }
        touch_sx(s->value, *step);
    }
}

// ---- in place ---------------------------------------------------------------------------------

enum { MAX_STORES = 16 };

typedef struct { Buf *in; const Ex *at; int nat; bool ok; } InPlace;

static void check_loads(const Sx *x, InPlace *c) {
    if (!x) return;
    if (x->buf && home(x->buf) == c->in) {
        bool there = false;
        for (int i = 0; i < c->nat; i++) there |= x->e == c->at[i];
        c->ok &= x->kind == SX_LOAD && there && x->lanes == 0;
    }
    for (int i = 0; i < x->n; i++) check_loads(x->a[i], c);
}

static void check_stmts(const Stmt *s, InPlace *c) {
    for (; s; s = s->next) {
        check_loads(s->value, c);
        if (s->buf && home(s->buf) == c->in) c->ok = false;
        for (int i = 0; i < s->nbuf; i++) c->ok &= home(s->bufs[i]) != c->in;
        check_stmts(s->body, c);
        check_stmts(s->els, c);
    }
}

// Where the nest writes; more than MAX_STORES places are counted, not kept.
static void find_stores(const Stmt *s, const Buf *out, Ex *at, int *n) {
    for (; s; s = s->next) {
        if ((s->kind == ST_STORE || s->kind == ST_UPDATE) && s->buf == out) {
            if (*n < MAX_STORES) at[*n] = s->e;
            ++*n;
        }
        find_stores(s->body, out, at, n);
        find_stores(s->els, out, at, n);
    }
}

static void candidates(const Sx *x, Buf **in, int *n) {
    if (!x) return;
    if (x->kind == SX_LOAD && x->buf->kind == B_WORK && !x->buf->scratch && *n < 32) in[(*n)++] = home(x->buf);
    for (int i = 0; i < x->n; i++) candidates(x->a[i], in, n);
}

static void all_candidates(const Stmt *s, Buf **in, int *n) {
    for (; s; s = s->next) {
        candidates(s->value, in, n);
        all_candidates(s->body, in, n);
        all_candidates(s->els, in, n);
    }
}

static bool loads(const Sx *x, const Buf *b) {
    if (!x) return false;
    if (x->buf == b) return true;
    for (int i = 0; i < x->n; i++)
        if (loads(x->a[i], b)) return true;
    return false;
}

// Whether the nest reads what it has written, as partial sums are: then its result is there before it is done.
static bool reads(const Stmt *s, const Buf *b) {
    for (; s; s = s->next)
        if (loads(s->value, b) || reads(s->body, b) || reads(s->els, b)) return true;
    return false;
}

// The result takes the place of an operand that dies here and is read only where it is written.
static void in_place(Stmt *s, int *step) {
    for (; s; s = s->next) {
        if (s->kind == ST_ROOM) continue;
        int now = ++*step;
        if (s->kind != ST_FUNC) {
            if (s->body || s->els) {
                in_place(s->body, step);
                in_place(s->els, step);
            }
            continue;
        }
        Buf *out = s->buf, *in[32];
        Ex at[MAX_STORES];
        int n = 0, nat = 0;
        if (!out || out->kind != B_WORK || out->alias || out->apart || out->first != now) continue;
        find_stores(s->body, out, at, &nat);
        if (nat < 1 || nat > MAX_STORES || reads(s->body, out)) continue;
        all_candidates(s->body, in, &n);
        for (int i = 0; i < n; i++) {
            InPlace c = {in[i], at, nat, true};
            if (in[i]->last != now || in[i]->apart || in[i]->dt != out->dt || in[i]->first >= now || !e_le(out->size, in[i]->size)) continue;
            check_stmts(s->body, &c);
            if (!c.ok) continue;
            out->alias = in[i];
            out->alias_at = e_int(0);
            if (out->last > in[i]->last) in[i]->last = out->last;
            break;
        }
    }
}

// ---- offsets ----------------------------------------------------------------------------------

static Ex bytes(const Buf *b) {
    Ex n = e_mul(b->size, e_int((int64_t)dt_size(b->dt)));
    int64_t c;
    if (e_is_const(n, &c)) return e_int((c + ALIGN - 1) / ALIGN * ALIGN);
    return e_scale(e_div(e_add(n, e_int(ALIGN - 1)), e_int(ALIGN)), ALIGN);
}

typedef struct { Buf *buf; int64_t size, at; } Place; // bytes as guessed

static int larger_first(const void *a, const void *b) {
    const Place *x = a, *y = b;
    return x->size != y->size ? (x->size < y->size ? 1 : -1) : x->buf->id - y->buf->id;
}

static int lower_first(const void *a, const void *b) {
    const Place *x = a, *y = b;
    return x->at != y->at ? (x->at < y->at ? -1 : 1) : x->buf->id - y->buf->id;
}

static bool overlap(const Buf *a, const Buf *b) { return a->first <= b->last && b->first <= a->last; }

// The largest first, each into the lowest gap among those that are alive at the same time; the bytes of all.
static int64_t first_fit(Place *v, int n) {
    int64_t top = 0;
    qsort(v, (size_t)n, sizeof *v, larger_first);
    for (int i = 0; i < n; i++) {
        for (bool moved = true; moved;) {
            moved = false;
            for (int j = 0; j < i; j++)
                if (overlap(v[i].buf, v[j].buf) && v[i].at < v[j].at + v[j].size && v[j].at < v[i].at + v[i].size) {
                    v[i].at = v[j].at + v[j].size;
                    moved = true;
                }
        }
        if (v[i].at + v[i].size > top) top = v[i].at + v[i].size;
    }
    return top;
}

// Which buffers lie below which, as first fit has them for the guessed sizes: of two that are alive at the same
// time one is below the other. At run time a buffer begins where the highest of those below it ends, whatever the
// sizes are then; more of any extent never takes less. Only the nearest are kept: what is below them is below, too.
static void stack(Program *p, Place *v, int n) {
    qsort(v, (size_t)n, sizeof *v, lower_first);
    size_t words = ((size_t)n + 63) / 64;
    uint64_t *under = NEWN(uint64_t, words * (size_t)n); // by buffer: all those below it
    p->stack = NEWN(Stacked, n + 1);
    p->nstack = n;
    for (int i = 0; i < n; i++) {
        Stacked *s = &p->stack[i];
        uint64_t *mine = under + words * (size_t)i;
        *s = (Stacked){v[i].buf, bytes(v[i].buf), NEWN(int, i + 1), 0};
        v[i].buf->place = i + 1;
        for (int j = i - 1; j >= 0; j--) { // from the top: what is below another one comes after it
            if (!overlap(v[i].buf, v[j].buf) || (mine[j / 64] >> (j % 64) & 1)) continue;
            s->below[s->nbelow++] = j;
            mine[j / 64] |= (uint64_t)1 << (j % 64);
            for (size_t w = 0; w < words; w++) mine[w] |= under[words * (size_t)j + w];
        }
    }
}

// Behind those that are alive at the same time and have their place already.
static void place_scratch(Program *p, int at) {
    Buf *b = p->bufs[at];
    b->offset = e_int(0);
    for (int i = 0; i < at; i++) {
        const Buf *o = p->bufs[i];
        if (o->kind == B_WORK && o->scratch && o->offset && o->last >= 0 && overlap(o, b)) b->offset = e_max(b->offset, e_add(o->offset, bytes(o)));
    }
    Ex size = bytes(b);
    p->scratch_size = e_max(p->scratch_size, e_add(b->offset, e_is(size, 0) ? e_int(ALIGN) : size)); // it is named, even if nothing is in it
}

void plan(Program *p, const Options *opt) {
    int step = 0;
    lifetimes(p->body, &step, p);
    for (int i = 0; i < p->nbufs; i++)
        if (p->bufs[i]->kind == B_WORK && !p->bufs[i]->alias && p->bufs[i]->last >= 0) bound_size(p, opt, p->bufs[i]);
    step = 0;
    in_place(p->body, &step);
    room_insert(&p->body);
    room_slots(p);
    Place *v = NEWN(Place, p->nbufs + 1);
    int n = 0;
    bool symbolic = false;
    p->scratch_size = e_int(0);
    for (int i = 0; i < p->nbufs; i++) {
        Buf *b = p->bufs[i];
        if (b->kind != B_WORK || b->alias || b->last < 0) continue;
        if (b->scratch && b->dynamic) b->offset = e_int(0);
        if (b->dynamic) continue;
        if (b->scratch) {
            place_scratch(p, i);
            continue;
        }
        int64_t size;
        if (!e_is_const(bytes(b), &size)) {
            symbolic = true;
            size = extent_guess(bytes(b), GUESS);
            if (size < ALIGN) size = ALIGN;
        }
        v[n++] = (Place){b, size, 0};
    }
    p->work_size = e_int(first_fit(v, n));
    if (symbolic) {
        stack(p, v, n);
        p->work_size = NULL;
    } else
        for (int i = 0; i < n; i++) v[i].buf->offset = e_int(v[i].at);
}
