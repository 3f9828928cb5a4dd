// SPDX-License-Identifier: Apache-2.0
// One work area for the whole function: lifetimes, in-place reuse, offsets. Buffers of fixed size are
// packed largest first into the lowest gap among those alive at the same time; buffers of symbolic
// size take slots that are handed on to later buffers that provably fit. What has no bound comes behind:
// loop/room.c.
#include "loop/loop.h"
#include <stdlib.h>

enum { ALIGN = 64 };

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
        if (nat < 1 || nat > MAX_STORES) continue;
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

static int64_t fixed(const Buf *b) {
    int64_t c;
    return e_is_const(bytes(b), &c) ? c : -1;
}

static int larger_first(const void *a, const void *b) {
    const Buf *x = *(Buf *const *)a, *y = *(Buf *const *)b;
    int64_t m = fixed(x), n = fixed(y);
    return m != n ? (m < n ? 1 : -1) : x->id - y->id;
}

static bool overlap(const Buf *a, const Buf *b) { return a->first <= b->last && b->first <= a->last; }

static int64_t place_fixed(Buf **v, int n) {
    int64_t top = 0;
    qsort(v, (size_t)n, sizeof *v, larger_first);
    for (int i = 0; i < n; i++) {
        int64_t at = 0, size = fixed(v[i]);
        for (bool moved = true; moved;) {
            moved = false;
            for (int j = 0; j < i; j++) {
                int64_t o, s = fixed(v[j]);
                e_is_const(v[j]->offset, &o);
                if (overlap(v[i], v[j]) && at < o + s && o < at + size) {
                    at = o + s;
                    moved = true;
                }
            }
        }
        v[i]->offset = e_int(at);
        if (at + size > top) top = at + size;
    }
    return top;
}

static Ex raw_bytes(const Buf *b) { return e_mul(b->size, e_int((int64_t)dt_size(b->dt))); }

// A buffer takes a free slot that is provably large enough, else one that is provably smaller, which
// grows; sizes are compared before they are rounded up, which hides their order.
static Ex place_symbolic(Buf **v, int n, Ex top) {
    Buf **slot = NEWN(Buf *, n + 1); // the largest holder of each slot
    int *until = NEWN(int, n + 1), *of = NEWN(int, n + 1), ns = 0;
    for (int i = 0; i < n; i++) { // in order of birth
        int fits = -1, grows = -1;
        Ex size = raw_bytes(v[i]);
        for (int k = 0; k < ns; k++) {
            if (until[k] >= v[i]->first) continue;
            Ex room = raw_bytes(slot[k]);
            if (e_le(size, room)) {
                if (fits < 0 || e_le(room, raw_bytes(slot[fits]))) fits = k;
            } else if (e_le(room, size) && (grows < 0 || e_le(raw_bytes(slot[grows]), room))) grows = k;
        }
        int k = fits >= 0 ? fits : grows >= 0 ? grows : ns++;
        if (fits < 0) slot[k] = v[i];
        of[i] = k;
        until[k] = v[i]->last;
    }
    Ex *at = NEWN(Ex, ns + 1);
    for (int k = 0; k < ns; k++) {
        at[k] = top;
        top = e_add(top, bytes(slot[k]));
    }
    for (int i = 0; i < n; i++) v[i]->offset = at[of[i]];
    return top;
}

static int earlier_first(const void *a, const void *b) {
    const Buf *x = *(Buf *const *)a, *y = *(Buf *const *)b;
    return x->first != y->first ? x->first - y->first : x->id - y->id;
}

// Behind those that are alive at the same time and have their place already.
static void place_scratch(Program *p, int at) {
    Buf *b = p->bufs[at];
    b->offset = e_int(0);
    for (int i = 0; i < at; i++) {
        const Buf *o = p->bufs[i];
        if (o->kind == B_WORK && o->scratch && o->offset && o->last >= 0 && overlap(o, b)) b->offset = e_max(b->offset, e_add(o->offset, bytes(o)));
    }
    p->scratch_size = e_max(p->scratch_size, e_add(b->offset, bytes(b)));
}

void plan(Program *p, const Options *opt) {
    int step = 0, nf = 0, ns = 0;
    lifetimes(p->body, &step, p);
    for (int i = 0; i < p->nbufs; i++)
        if (p->bufs[i]->kind == B_WORK && !p->bufs[i]->alias && p->bufs[i]->last >= 0) bound_size(p, opt, p->bufs[i]);
    step = 0;
    in_place(p->body, &step);
    room_insert(&p->body);
    room_slots(p);
    Buf **fix = NEWN(Buf *, p->nbufs + 1), **sym = NEWN(Buf *, p->nbufs + 1);
    p->scratch_size = e_int(0);
    for (int i = 0; i < p->nbufs; i++) {
        Buf *b = p->bufs[i];
        if (b->kind != B_WORK || b->alias || b->last < 0) continue;
        if (b->scratch && b->dynamic) b->offset = e_int(0);
        if (b->dynamic) continue;
        if (b->scratch) place_scratch(p, i);
        else if (fixed(b) >= 0) fix[nf++] = b;
        else sym[ns++] = b;
    }
    Ex top = e_int(place_fixed(fix, nf));
    qsort(sym, (size_t)ns, sizeof *sym, earlier_first);
    p->work_size = place_symbolic(sym, ns, top);
}
