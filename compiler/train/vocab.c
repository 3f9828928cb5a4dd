// SPDX-License-Identifier: Apache-2.0
// Shorthand for nodes of equal shapes, and the forms of softmax that gradients and losses look for.
#include "train/train.h"

Val *fn1(Graph *g, Fn fn, Val *a) { return b_map(g, fn, DT_NONE, 1, &a); }

Val *fn2(Graph *g, Fn fn, Val *a, Val *b) { return b_map(g, fn, DT_NONE, 2, (Val *[]){a, b}); }

Val *select_of(Graph *g, Val *c, Val *a, Val *b) { return b_map(g, FN_select, DT_NONE, 3, (Val *[]){c, a, b}); }

Val *cast_to(Graph *g, Val *x, DType dt) { return x->dt == dt ? x : b_map(g, FN_cast, dt, 1, &x); }

static void ones(int rank, Ex *shape) {
    for (int i = 0; i < rank; i++) shape[i] = e_int(1);
}

Val *stretch(Graph *g, Val *x, int rank, const Ex *shape) {
    if (x->rank == 0 && rank > 0) {
        Ex s[MAX_RANK];
        ones(rank, s);
        x = b_reshape(g, x, rank, s);
    }
    return b_expand(g, x, shape);
}

Val *splat(Graph *g, DType dt, double v, int rank, const Ex *shape) {
    Data *d = data_new(dt, 1);
    data_set(d, 0, dt_is_float(dt) ? (Scalar){.f = v} : (Scalar){.i = (int64_t)v});
    return stretch(g, b_const(g, d, 0, NULL), rank, shape);
}

Val *splat_like(Graph *g, const Val *x, double v) { return splat(g, x->dt, v, x->rank, x->shape); }

Val *scaled(Graph *g, Val *x, double k) { return fn2(g, FN_mul, x, splat_like(g, x, k)); }

Val *scalar_of(Graph *g, DType dt, Ex e) {
    int64_t c;
    if (e_is_const(e, &c) && dt_is_float(dt)) return splat(g, dt, (double)c, 0, NULL);
    return cast_to(g, b_dims(g, I64, 0, NULL, &e), dt);
}

static bool is_in(int axis, int n, const int *axes) {
    for (int i = 0; i < n; i++)
        if (axes[i] == axis) return true;
    return false;
}

Val *spread(Graph *g, Val *v, const Val *x, int naxes, const int *axes) {
    Ex s[MAX_RANK];
    for (int i = 0; i < x->rank; i++) s[i] = is_in(i, naxes, axes) ? e_int(1) : x->shape[i];
    return b_expand(g, b_reshape(g, v, x->rank, s), x->shape);
}

Val *reduced(Graph *g, Red fn, Val *x, int naxes, const int *axes) {
    return spread(g, b_reduce(g, fn, x, naxes, axes, false), x, naxes, axes);
}

Val *total(Graph *g, Val *x) {
    int axes[MAX_RANK];
    for (int i = 0; i < x->rank; i++) axes[i] = i;
    return b_reduce(g, RED_ADD, x, x->rank, axes, false);
}

int node_axes(const Node *n, int *axes) {
    for (int i = 0; i < n->nex; i++) {
        int64_t c = 0;
        e_is_const(n->ex[i], &c);
        axes[i] = (int)c;
    }
    return n->nex;
}

// ---- softmax ------------------------------------------------------------------------------------------

static const Node *map_of(const Val *v, Fn fn) {
    return v->node->op == P_map && v->node->fn == (int)fn ? v->node : NULL;
}

// v is fn of x over axes, with these kept and repeated to x's shape: the reduce.
static const Node *kept_reduce(const Val *v, const Val *x, Red fn) {
    if (v->node->op == P_expand) v = v->node->in[0];
    const Val *kept = v;
    if (v->node->op == P_reshape) v = v->node->in[0];
    const Node *n = v->node;
    if (n->op != P_reduce || n->fn != (int)fn || n->in[0] != x || kept->rank != x->rank) return NULL;
    int axes[MAX_RANK], count = node_axes(n, axes);
    for (int i = 0; i < x->rank; i++)
        if (is_in(i, count, axes) ? !e_is(kept->shape[i], 1) : kept->shape[i] != x->shape[i]) return NULL;
    return n;
}

static bool same_axes(const Node *a, const Node *b, int *naxes, int *axes) {
    int other[MAX_RANK], n = node_axes(a, axes);
    *naxes = n;
    if (node_axes(b, other) != n) return false;
    for (int i = 0; i < n; i++)
        if (axes[i] != other[i]) return false;
    return true;
}

// e / sum(e), e = exp(x - max(x))
bool match_softmax(const Val *v, Val **x, int *naxes, int *axes) {
    const Node *d = map_of(v, FN_div), *e, *s, *sum, *max;
    if (!d || !(e = map_of(d->in[0], FN_exp)) || !(s = map_of(e->in[0], FN_sub))) return false;
    sum = kept_reduce(d->in[1], d->in[0], RED_ADD);
    max = kept_reduce(s->in[1], s->in[0], RED_MAX);
    *x = s->in[0];
    return sum && max && same_axes(sum, max, naxes, axes);
}

// v is log(sum(exp(d))) over axes, with these kept and repeated to d's shape before or after the log: the reduce.
static const Node *log_sum_exp(const Val *v, const Val *d) {
    const Node *l = map_of(v->node->op == P_expand ? v->node->in[0] : v, FN_log);
    const Val *r = l ? l->in[0] : v;
    while (r->node->op == P_expand || r->node->op == P_reshape) r = r->node->in[0];
    const Node *e = r->node->op == P_reduce ? map_of(r->node->in[0], FN_exp) : NULL;
    return l && e && e->in[0] == d ? kept_reduce(l->in[0], &e->out[0], RED_ADD) : NULL;
}

// d - log(sum(exp(d))), d = x - max(x)
bool match_log_softmax(const Val *v, Val **x, int *naxes, int *axes) {
    const Node *o = map_of(v, FN_sub), *s, *sum, *max;
    if (!o || !(s = map_of(o->in[0], FN_sub))) return false;
    sum = log_sum_exp(o->in[1], o->in[0]);
    max = kept_reduce(s->in[1], s->in[0], RED_MAX);
    *x = s->in[0];
    return sum && max && same_axes(sum, max, naxes, axes);
}
