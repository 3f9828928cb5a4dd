// SPDX-License-Identifier: Apache-2.0
// The normal form of a contraction: reduce(add, mul(a, b)) over views, found by pushing indices
// from the reduce down to values that have buffers. See docs/contractions.md.
#include "loop/loop.h"
#include <string.h>

typedef struct { Val *v; Ex *idx; bool in_mul; } Item; // in_mul: below a product, where a sum may not be merged
typedef struct {
    Lower *l;
    Contraction *c;
    Item *stack;
    int n, cap;
    int64_t by[MAX_RANK], at[MAX_RANK]; // the phase: an index of axis i is by*v + at
    int split;                          // an axis that needs more phases, or -1
    int64_t split_by;                   // so many times as many
} Walk;

enum { MAX_PHASES = 64 };

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

static int64_t gcd(int64_t a, int64_t b) {
    while (b) {
        int64_t r = a % b;
        a = b, b = r;
    }
    return a < 0 ? -a : a;
}

// The remainder of e by s, a constant in this phase. false: it is not; the walk may have to be done by phases.
static bool remainder_of(Walk *w, Ex e, int64_t s, int64_t *rest) {
    const Contraction *c = w->c;
    for (int i = 0; i < c->nvar; i++) {
        if (!e_uses(e, c->var[i])) continue;
        Ex left;
        int64_t coef = e_coef(e, c->var[i], &left);
        if (coef == INT64_MIN) return false;
        e = left;
        if (coef % s == 0) continue;
        for (int a = 0; a < c->nout; a++)
            if (e_uses(c->out[a], c->var[i])) w->split = a, w->split_by = s / gcd(coef, s);
        return false;
    }
    return e_is_const(e_mod(e, e_int(s)), rest);
}

// x[e] = sum over k of g[(e - k*d)/s, k], where that is whole and inside. In a phase of the stride s the
// remainder of e is known, and with it the k that count: k0, k0 + s/gcd(s, d), ...
static bool push_unwindow(Walk *w, Val *v, const Ex *idx) {
    Node *n = v->node;
    Val *x = n->in[0];
    Ex *in = idx_new(x), e = idx[n->axis], k;
    int64_t s, d, size, rest = 0, first = 0;
    if (e_is(n->ex[1], 1)) k = variable(w, "kk", x->shape[n->axis + 1]);
    else {
        if (!e_is_const(n->ex[1], &s) || !e_is_const(n->ex[2], &d) || !e_is_const(x->shape[n->axis + 1], &size)) return false;
        if (!remainder_of(w, e, s, &rest)) return false;
        int64_t step = s / gcd(s, d);
        while (first < step && ((rest - first * d) % s + s) % s) first++;
        if (first >= size || first == step) return w->c->empty = true;
        k = variable(w, "kk", e_int((size - first + step - 1) / step));
        if (k) k = e_add(e_scale(k, step), e_int(first));
    }
    if (!k) return false;
    for (int i = 0; i < n->axis; i++) in[i] = idx[i];
    in[n->axis] = e_div(e_sub(e, e_mul(k, n->ex[2])), n->ex[1]);
    in[n->axis + 1] = k;
    for (int i = n->axis + 2; i < x->rank; i++) in[i] = idx[i - 1];
    push(w, x, in, false);
    return add_guard(w->c, in[n->axis], x->shape[n->axis]);
}

static bool step(Walk *w, Item it, bool first) {
    Node *n = it.v->node;
    Buf *b = w->l->buf[it.v->id];
    if (b && !first) return add_factor(w, b, it.v, it.idx);
    switch (n->op) {
    case P_map:
        if (n->fn != FN_mul && n->fn != FN_dot2 && n->fn != FN_dot4) return false;
        if (n->fn != FN_mul && it.in_mul) return false;
        w->c->product = (Fn)n->fn;
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

static bool is_sum_or_view(const Node *n) {
    return n->op == P_unwindow || (n->op == P_reduce && n->fn == RED_ADD) || n->op == P_slice || n->op == P_pad;
}

// One phase: the indices of axis i are by[i]*v + at[i]. false: refused, or to be split further.
static bool find_phase(Walk *w, Val *reduce, Contraction *c) {
    *c = (Contraction){.reduce = reduce, .nout = reduce->rank, .product = FN_mul};
    w->c = c;
    w->n = 0;
    w->split = -1;
    for (int i = 0; i < reduce->rank; i++) {
        Ex by = e_int(w->by[i]), at = e_int(w->at[i]);
        Ex v = variable(w, "o", e_ceil_div(e_sub(reduce->shape[i], at), by));
        if (!v) return false;
        c->out[i] = e_add(e_mul(v, by), at);
    }
    int nout = c->nvar;
    push(w, reduce, c->out, false);
    for (int steps = 0; w->n > 0 && !c->empty; steps++) {
        Item it = w->stack[--w->n];
        if (steps == 1024 || !step(w, it, steps == 0)) return false;
    }
    c->nred = c->nvar - nout;
    return c->empty || (c->nfactor == 2 && normalize(w));
}

// The next phase: an odometer over at. false: that was the last one.
static bool next_phase(Walk *w, int rank) {
    for (int i = rank - 1; i >= 0; i--) {
        if (++w->at[i] < w->by[i]) return true;
        w->at[i] = 0;
    }
    return false;
}

static bool no_elements(const Contraction *c, const Walk *w) {
    int64_t n;
    for (int i = 0; i < c->nout; i++)
        if (e_is_const(c->reduce->shape[i], &n) && n <= w->at[i]) return true;
    return false;
}

int contract_phases(Lower *l, Val *reduce, Contraction ***phases) {
    Walk w = {.l = l};
    Contraction *c = NEW(Contraction), *list[MAX_PHASES];
    int n = 0;
    int64_t count = 1;
    if (!is_sum_or_view(reduce->node)) return 0;
    for (int i = 0; i < reduce->rank; i++) w.by[i] = 1;
    while (!find_phase(&w, reduce, c)) {
        if (w.split < 0 || count * w.split_by > MAX_PHASES) return 0;
        count *= w.split_by;
        w.by[w.split] *= w.split_by;
    }
    for (;;) {
        if (!no_elements(c, &w) || count == 1) list[n++] = c;
        if (!next_phase(&w, reduce->rank)) break;
        c = NEW(Contraction);
        if (!find_phase(&w, reduce, c)) return 0;
    }
    *phases = NEWN(Contraction *, n + 1);
    for (int i = 0; i < n; i++) (*phases)[i] = list[i];
    return n;
}

bool contract_find(Lower *l, Val *reduce, Contraction *c) {
    Contraction **phases;
    int n = contract_phases(l, reduce, &phases);
    for (int i = 0; i < n; i++) {
        if (phases[i]->empty) continue;
        *c = *phases[i];
        return true;
    }
    return false;
}

bool contract_find_at(Lower *l, Val *reduce, int nvar, const Ex *var, const Ex *out, Contraction *c) {
    Walk *w = &(Walk){.l = l, .c = c, .split = -1};
    *c = (Contraction){.reduce = reduce, .nout = reduce->rank, .nvar = nvar, .product = FN_mul};
    memcpy(c->var, var, sizeof *var * (size_t)nvar);
    memcpy(c->out, out, sizeof *out * (size_t)reduce->rank);
    for (int i = 0; i < reduce->rank; i++) w->by[i] = 1;
    push(w, reduce, c->out, false);
    for (int steps = 0; w->n > 0; steps++) {
        Item it = w->stack[--w->n];
        if (steps == 1024 || !step(w, it, steps == 0) || c->empty) return false;
    }
    c->nred = c->nvar - nvar;
    if (c->nfactor != 2 || !normalize(w) || c->nvar - c->nred != nvar) return false;
    return !memcmp(c->var, var, sizeof *var * (size_t)nvar); // none was taken apart
}
