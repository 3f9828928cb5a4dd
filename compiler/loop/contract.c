// SPDX-License-Identifier: Apache-2.0
// The normal form of a contraction: reduce(add, mul(a, b)) over views, found by pushing indices
// from the reduce down to values that have buffers. See docs/contractions.md.
#include "loop/loop.h"

typedef struct { Val *v; Ex *idx; bool in_mul; } Item; // in_mul: below a product, where a sum may not be merged
typedef struct {
    Lower *l;
    Contraction *c;
    Item *stack;
    int n, cap;
} Walk;

static Ex *idx_new(const Val *v) { return NEWN(Ex, v->rank > 0 ? v->rank : 1); }

// A variable of the contraction; a constant 0 for extent 1. NULL: too many.
static Ex variable(Walk *w, const char *stem, Ex extent) {
    Contraction *c = w->c;
    if (c->nvar == 64) return NULL;
    Ex v = e_index(arena_printf("%s%d", stem, w->l->next_local++), extent);
    if (v->kind == X_VAR) c->var[c->nvar++] = v;
    return v;
}

static void push(Walk *w, Val *v, Ex *idx, bool in_mul) { PUSH(w->stack, w->n, w->cap, ((Item){v, idx, in_mul})); }

static bool holds(Range g) { return e_ge0(g.e) && e_lt(g.e, g.n); }

static bool add_guard(Contraction *c, Ex e, Ex n) {
    Range g = {e, n};
    if (holds(g)) return true;
    for (int i = 0; i < c->nguard; i++)
        if (c->guard[i].e == e && c->guard[i].n == n) return true;
    if (c->nguard == 16) return false;
    c->guard[c->nguard++] = g;
    return true;
}

static bool add_factor(Walk *w, Buf *b, const Val *v, const Ex *idx) {
    Contraction *c = w->c;
    if (c->nfactor == 2 || b->rank != v->rank) return false;
    Access *a = &c->factor[c->nfactor++];
    a->buf = b;
    a->rank = v->rank;
    for (int i = 0; i < v->rank; i++) a->idx[i] = idx[i];
    return true;
}

static bool is_zero(Val *v) {
    const Data *d = val_const(v);
    return d && d->n == 1 && (dt_is_float(d->dt) ? data_get(d, 0).f == 0 : data_get(d, 0).i == 0);
}

// sum over the axes ex of x: a fresh variable for each, the others from idx.
static bool push_reduce(Walk *w, Val *v, const Ex *idx) {
    Node *n = v->node;
    Val *x = n->in[0];
    Ex *in = idx_new(x);
    for (int i = 0, k = 0, o = 0; i < x->rank; i++) {
        if (k < n->nex && e_is(n->ex[k], i)) {
            in[i] = variable(w, "kk", x->shape[i]);
            if (!in[i]) return false;
            k++;
        } else in[i] = idx[o++];
    }
    push(w, x, in, false);
    return true;
}

// x[e] = sum over k of g[e - k*d, k], where that is inside; strides above 1 are not handled.
static bool push_unwindow(Walk *w, Val *v, const Ex *idx) {
    Node *n = v->node;
    Val *x = n->in[0];
    if (!e_is(n->ex[1], 1)) return false;
    Ex *in = idx_new(x), k = variable(w, "kk", x->shape[n->axis + 1]);
    if (!k) return false;
    for (int i = 0; i < n->axis; i++) in[i] = idx[i];
    in[n->axis] = e_sub(idx[n->axis], e_mul(k, n->ex[2]));
    in[n->axis + 1] = k;
    for (int i = n->axis + 2; i < x->rank; i++) in[i] = idx[i - 1];
    push(w, x, in, false);
    return add_guard(w->c, in[n->axis], x->shape[n->axis]);
}

static bool step(Walk *w, Item it) {
    Node *n = it.v->node;
    Buf *b = w->l->buf[it.v->id];
    if (b) return add_factor(w, b, it.v, it.idx);
    switch (n->op) {
    case P_map:
        if (n->fn != FN_mul) return false;
        push(w, n->in[1], it.idx, true);
        push(w, n->in[0], it.idx, true);
        return true;
    case P_pad:
        if (!is_zero(n->in[1])) return false;
        if (!add_guard(w->c, e_sub(it.idx[n->axis], n->ex[0]), n->in[0]->shape[n->axis])) return false;
        break;
    case P_reduce: return n->fn == RED_ADD && !it.in_mul && push_reduce(w, it.v, it.idx);
    case P_unwindow: return !it.in_mul && push_unwindow(w, it.v, it.idx);
    case P_reshape:
    case P_permute:
    case P_expand:
    case P_slice:
    case P_window: break;
    default: return false;
    }
    Ex *in = idx_new(n->in[0]);
    val_index_in(n, 0, it.idx, in);
    push(w, n->in[0], in, it.in_mul);
    return true;
}

// ---- affine form ------------------------------------------------------------------------------

// A quotient or remainder inside e whose operand is free of others, or NULL.
static Ex find_quotient(Ex e) {
    if (e->kind == X_SUM) {
        for (int i = 0; i < e->n; i++) {
            Ex q = find_quotient(e->t[i].m);
            if (q) return q;
        }
        return NULL;
    }
    for (int i = 0; i < e->n; i++) {
        Ex q = find_quotient(e->a[i]);
        if (q) return q;
    }
    return e->kind == X_DIV || e->kind == X_MOD ? e : NULL;
}

typedef void EachEx(Ex *e, void *ctx);

static void each(Contraction *c, EachEx *f, void *ctx) {
    for (int i = 0; i < c->nout; i++) f(&c->out[i], ctx);
    for (int i = 0; i < c->nguard; i++) f(&c->guard[i].e, ctx);
    for (int k = 0; k < c->nfactor; k++)
        for (int i = 0; i < c->factor[k].rank; i++) f(&c->factor[k].idx[i], ctx);
}

typedef struct { Ex var, by, found; const Contraction *c; } Rewrite;

static void rewrite(Ex *e, void *ctx) {
    Rewrite *r = ctx;
    *e = e_subst(*e, r->var, r->by);
}

static bool uses_variable(const Contraction *c, Ex e) {
    for (int i = 0; i < c->nvar; i++)
        if (e_uses(e, c->var[i])) return true;
    return false;
}

static void look(Ex *e, void *ctx) {
    Rewrite *r = ctx;
    Ex q = r->found ? NULL : find_quotient(*e);
    if (q && uses_variable(r->c, q)) r->found = q;
}

// v := q*v0 + v1 everywhere, for the quotient or remainder by q of one variable v that q divides.
static bool split_variable(Walk *w, Ex quotient) {
    Contraction *c = w->c;
    Ex v = quotient->a[0], q = quotient->a[1];
    int at = 0;
    while (at < c->nvar && c->var[at] != v) at++;
    if (at == c->nvar || c->nvar + 1 > 62 || !e_is(e_mod(v->extent, q), 0)) return false;
    bool red = at >= c->nvar - c->nred;
    int n = c->nvar;
    Ex hi = variable(w, v->name, e_div(v->extent, q)), lo = variable(w, v->name, q);
    Ex part[2];
    int np = 0;
    if (hi->kind == X_VAR) part[np++] = hi;
    if (lo->kind == X_VAR) part[np++] = lo;
    for (int i = n - 1; i > at; i--) c->var[i + np - 1] = c->var[i];
    for (int i = 0; i < np; i++) c->var[at + i] = part[i];
    c->nvar = n - 1 + np;
    if (red) c->nred += np - 1;
    each(c, rewrite, &(Rewrite){.var = v, .by = e_add(e_mul(hi, q), lo)});
    return true;
}

// e is a constant and a multiple of each variable, none of them in a multiple.
static bool affine(const Contraction *c, Ex e) {
    Ex rest = e;
    for (int i = 0; i < c->nvar; i++) {
        if (!e_uses(e, c->var[i])) continue;
        Ex stride = e_sub(e_subst(e, c->var[i], e_add(c->var[i], e_int(1))), e);
        if (uses_variable(c, stride)) return false;
        rest = e_sub(rest, e_mul(stride, c->var[i]));
    }
    return !uses_variable(c, rest);
}

static bool normalize(Walk *w) {
    Contraction *c = w->c;
    for (int tries = 0; tries < 16; tries++) {
        Rewrite r = {.c = c};
        each(c, look, &r);
        if (!r.found) break;
        if (!split_variable(w, r.found)) return false;
    }
    for (int k = 0; k < c->nfactor; k++)
        for (int i = 0; i < c->factor[k].rank; i++)
            if (!affine(c, c->factor[k].idx[i])) return false;
    int n = 0;
    for (int i = 0; i < c->nguard; i++) {
        if (!affine(c, c->guard[i].e)) return false;
        if (!holds(c->guard[i])) c->guard[n++] = c->guard[i];
    }
    c->nguard = n;
    return true;
}

bool contract_find(Lower *l, Val *reduce, Contraction *c) {
    *c = (Contraction){.reduce = reduce, .nout = reduce->rank};
    Walk w = {.l = l, .c = c};
    Node *n = reduce->node;
    if (n->op != P_unwindow && !(n->op == P_reduce && n->fn == RED_ADD)) return false;
    for (int i = 0; i < reduce->rank; i++)
        if (!(c->out[i] = variable(&w, "o", reduce->shape[i]))) return false;
    int nout = c->nvar;
    if (!(n->op == P_reduce ? push_reduce(&w, reduce, c->out) : push_unwindow(&w, reduce, c->out))) return false;
    for (int steps = 0; w.n > 0; steps++) {
        Item it = w.stack[--w.n];
        if (steps == 1024 || !step(&w, it)) return false;
    }
    c->nred = c->nvar - nout;
    return c->nfactor == 2 && normalize(&w);
}
