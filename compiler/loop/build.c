// SPDX-License-Identifier: Apache-2.0
// Buffers and constructors of the loop tree.
#include "loop/loop.h"
#include <string.h>

Buf *buf_new(Program *p, BufKind kind, DType dt, int rank, const Ex *shape, const char *name) {
    Buf *b = NEW(Buf);
    Ex *dims = NEWN(Ex, rank > 0 ? rank : 1);
    for (int i = 0; i < rank; i++) {
        dims[i] = shape[i];
        b->order[i] = i;
    }
    b->id = p->nbufs;
    b->kind = kind;
    b->port = -1;
    b->dt = dt;
    b->rank = rank;
    b->shape = dims;
    b->name = name;
    b->first = INT32_MAX;
    b->last = -1;
    buf_strides(b);
    PUSH(p->bufs, p->nbufs, p->cap_bufs, b);
    return b;
}

bool is_packed(const Val *v) { return v->kind == K_TENSOR && dt_bits(v->dt) < 8; }

Ex packed_bytes(const Val *v, Ex numel) { return e_ceil_div(e_mul(numel, e_int(dt_bits(v->dt))), e_int(8)); }

void buf_strides(Buf *b) {
    Ex s = e_int(1);
    for (int i = b->rank - 1; i >= 0; i--) {
        b->stride[b->order[i]] = s;
        s = e_mul(s, b->shape[b->order[i]]);
    }
    b->size = e_add(s, e_int(b->slack));
}

Ex buf_offset(const Buf *b, const Ex *idx) {
    Ex e = e_int(0);
    for (int i = 0; i < b->rank; i++) {
        Ex at = idx[i];
        if (b->origin && i == b->origin_axis) at = e_sub(at, b->origin);
        if (b->origin && i == 0) at = e_sub(at, b->image);
        e = e_add(e, e_mul(at, b->stride[i]));
    }
    return e;
}

static int64_t guess_symbol(Ex var, void *ctx) {
    const int64_t *each = ctx;
    return var->hi < *each ? var->hi : var->lo > *each ? var->lo : *each;
}

int64_t extent_guess(Ex e, int64_t each) { return e_eval(e, guess_symbol, &each); }

Ex thread_count(void) { return e_sym("\001threads", 1, INT32_MAX); } // no dimension has such a name

Local *local_new(Lower *l, const char *stem, DType dt, int lanes, bool vector) {
    static int count; // names are unique in a program, so that blocks never shadow
    Local *v = NEW(Local);
    (void)l;
    *v = (Local){.name = arena_printf("%s%d", stem, count++), .dt = dt, .lanes = lanes, .vector = vector};
    return v;
}

Block *block_new(Block *up) {
    Block *b = NEW(Block);
    b->up = up;
    b->tail = &b->first;
    return b;
}

Stmt *append(Block *b, Stmt s) {
    Stmt *p = NEW(Stmt);
    *p = s;
    p->next = NULL;
    *b->tail = p;
    b->tail = &p->next;
    return p;
}

// Blocks write their statements straight into the parent's body when they end; since `first` is
// only known at the end, the loop keeps a pointer to the block's list head.
Block *for_loop(Block *b, Ex var, Ex lo, Ex hi, int64_t step, Stmt **loop) {
    Stmt *s = append(b, (Stmt){.kind = ST_FOR, .var = var, .lo = lo, .hi = hi, .step = step});
    Block *in = block_new(b);
    in->tail = &s->body;
    if (loop) *loop = s;
    return in;
}

Sx *sx_num(DType dt, Scalar v) {
    Sx *x = NEW(Sx);
    *x = (Sx){.kind = SX_NUM, .dt = dt, .num = v};
    return x;
}

Sx *sx_index(DType dt, Ex e) {
    int64_t c;
    if (e_is_const(e, &c)) return sx_num(dt, dt_is_float(dt) ? (Scalar){.f = (double)c} : (Scalar){.i = c});
    Sx *x = NEW(Sx);
    *x = (Sx){.kind = SX_INDEX, .dt = dt, .e = e};
    return x;
}

Sx *sx_load(Buf *b, Ex off, int lanes) {
    Sx *x = NEW(Sx);
    *x = (Sx){.kind = SX_LOAD, .dt = b->dt, .buf = b, .e = off, .lanes = lanes};
    return x;
}

Sx *sx_local(Local *v, Ex lane) {
    Sx *x = NEW(Sx);
    *x = (Sx){.kind = SX_LOCAL, .dt = v->dt, .local = v, .e = lane};
    return x;
}

Sx *sx_fn(Fn fn, DType dt, int n, Sx *const *a) {
    Sx *x = NEW(Sx);
    *x = (Sx){.kind = SX_FN, .dt = dt, .fn = fn, .n = n, .a = NEWN(Sx *, n)};
    memcpy(x->a, a, sizeof *a * (size_t)n);
    return x;
}

Sx *sx_guard(int n, const Range *g, Sx *then, Sx *els) {
    if (n == 0) return then;
    Sx *x = NEW(Sx);
    Range *r = NEWN(Range, n);
    memcpy(r, g, sizeof *r * (size_t)n);
    *x = (Sx){.kind = SX_GUARD, .dt = then->dt, .n = 2, .a = NEWN(Sx *, 2), .nguard = n, .guard = r};
    x->a[0] = then;
    x->a[1] = els;
    return x;
}

Sx *sx_let(Lower *l, Block *b, Sx *value) {
    Local *v = local_new(l, "t", value->dt, 0, false);
    append(b, (Stmt){.kind = ST_LET, .local = v, .value = value});
    return sx_local(v, NULL);
}

static Sx *sx_copy(const Sx *x) {
    if (!x) return NULL;
    Sx *y = NEW(Sx);
    *y = *x;
    if (x->n) y->a = NEWN(Sx *, x->n);
    for (int i = 0; i < x->n; i++) y->a[i] = sx_copy(x->a[i]);
    return y;
}

Stmt *stmt_copy(const Stmt *s) {
    Stmt *first = NULL, **tail = &first;
    for (; s; s = s->next) {
        Stmt *p = NEW(Stmt);
        *p = *s;
        p->next = NULL;
        p->value = sx_copy(s->value);
        p->body = stmt_copy(s->body);
        p->els = stmt_copy(s->els);
        *tail = p;
        tail = &p->next;
    }
    return first;
}

// ---- walks ------------------------------------------------------------------------------------

static void each_range(int n, const Range **g, ExVisit *f, void *ctx) {
    if (!n) return;
    Range *r = NEWN(Range, n);
    memcpy(r, *g, sizeof *r * (size_t)n);
    for (int i = 0; i < n; i++) {
        f(&r[i].e, ctx);
        f(&r[i].n, ctx);
    }
    *g = r;
}

static void sx_each_ex(Sx *x, ExVisit *f, void *ctx) {
    if (!x) return;
    if (x->e) f(&x->e, ctx);
    each_range(x->nguard, &x->guard, f, ctx);
    for (int i = 0; i < x->n; i++) sx_each_ex(x->a[i], f, ctx);
}

bool stmt_holds_loop(const Stmt *s) {
    for (; s; s = s->next)
        if (s->kind == ST_FOR || stmt_holds_loop(s->body) || stmt_holds_loop(s->els)) return true;
    return false;
}

void stmt_each_ex(Stmt *s, ExVisit *f, void *ctx) {
    for (; s; s = s->next) {
        if (s->lo) f(&s->lo, ctx);
        if (s->hi) f(&s->hi, ctx);
        if (s->e) f(&s->e, ctx);
        if (s->work && s->kind == ST_FOR) f(&s->work, ctx);
        each_range(s->nguard, &s->guard, f, ctx);
        for (int i = 0; i < s->narg; i++) f(&s->args[i], ctx);
        sx_each_ex(s->value, f, ctx);
        stmt_each_ex(s->body, f, ctx);
        stmt_each_ex(s->els, f, ctx);
    }
}

typedef struct { int n; const Ex *var, *by; } Subst;

static void subst_one(Ex *e, void *ctx) {
    const Subst *s = ctx;
    *e = e_subst_all(*e, s->n, s->var, s->by);
}

// Expressions may be shared between statements; substitution is idempotent as long as `by` does not hold `var`.
void stmt_subst(Stmt *s, int n, const Ex *var, const Ex *by) { stmt_each_ex(s, subst_one, &(Subst){n, var, by}); }
