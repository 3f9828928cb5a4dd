// SPDX-License-Identifier: Apache-2.0
// Rules over reduce and scan.
#include "opt/simplify.h"

static bool is_arg(const Node *n) { return n->fn == RED_ARGMAX || n->fn == RED_ARGMIN; }

static int axes_of(const Node *n, int *axes) {
    for (int i = 0; i < n->nex; i++) {
        int64_t c = 0;
        e_is_const(n->ex[i], &c);
        axes[i] = (int)c;
    }
    return n->nex;
}

static Val *reduce(Graph *g, const Node *like, Val *x, int n, const int *axes) {
    return n ? simplify_value(g, b_reduce(g, (Red)like->fn, x, n, axes, like->flag & 1)) : x;
}

static bool is_in(int axis, int n, const int *axes) {
    for (int i = 0; i < n; i++)
        if (axes[i] == axis) return true;
    return false;
}

// Axes of extent 1 need no reduction.
static Val *reduce_ones(Graph *g, Val *v) {
    const Node *n = v->node;
    Val *x = n->in[0];
    int axes[MAX_RANK], left[MAX_RANK], count = axes_of(n, axes), m = 0, rank = 0, map[MAX_RANK];
    Ex shape[MAX_RANK];
    for (int i = 0; i < x->rank; i++) {
        map[i] = rank;
        if (!is_in(i, count, axes) || !e_is(x->shape[i], 1)) shape[rank++] = x->shape[i];
    }
    for (int i = 0; i < count; i++)
        if (!e_is(x->shape[axes[i]], 1)) left[m++] = map[axes[i]];
    if (m == count) return NULL;
    if (is_arg(n)) return splat_of(g, I64, v->rank, v->shape, (Scalar){ .i = 0 });
    return reduce(g, n, b_reshape(g, x, rank, shape), m, left);
}

static bool sums_products(const Node *n) {
    const Node *x = n->in[0]->node;
    while (x->op == P_reshape || x->op == P_permute) x = x->in[0]->node;
    return x->op == P_map && x->fn == FN_mul;
}

// Two reductions by one function are one. The order of a sum is free (not its rounding to half types).
static Val *reduce_of_reduce(Graph *g, Val *v) {
    const Node *n = v->node, *m = n->in[0]->node;
    DType dt = v->dt;
    if (m->op != P_reduce || m->fn != n->fn || is_arg(n)) return NULL;
    if (sums_products(m)) return NULL; // a contraction stays one: others may use it
    if (n->fn == RED_ADD && dt_is_float(dt) && (simplify_exact || (dt != F32 && dt != F64))) return NULL;
    if (n->fn == RED_MUL && dt_is_float(dt)) return NULL;
    int outer[MAX_RANK], inner[MAX_RANK], no = axes_of(n, outer), ni = axes_of(m, inner), k = 0, all[MAX_RANK], count = 0;
    for (int i = 0; i < m->in[0]->rank; i++) {
        bool gone = is_in(i, ni, inner);
        if (gone || is_in(k, no, outer)) all[count++] = i;
        if (!gone) k++;
    }
    return reduce(g, n, m->in[0], count, all);
}

// Reduced before it is permuted: where the kept axes stay in order nothing is left to permute.
static Val *reduce_of_permute(Graph *g, Val *v) {
    const Node *n = v->node, *m = n->in[0]->node;
    if (m->op != P_permute) return NULL;
    int perm[MAX_RANK], axes[MAX_RANK], at[MAX_RANK], count = axes_of(n, axes), place[MAX_RANK], k = 0, r = 0;
    axes_of(m, perm);
    bool gone[MAX_RANK] = { 0 };
    for (int i = 0; i < count; i++) {
        at[i] = perm[axes[i]];
        gone[at[i]] = true;
    }
    for (int i = 0; i < m->nex; i++) {
        place[i] = k;
        if (!gone[i]) k++;
    }
    int out[MAX_RANK];
    for (int i = 0; i < m->nex; i++)
        if (!is_in(i, count, axes)) out[r++] = place[perm[i]];
    return simplify_value(g, b_permute(g, reduce(g, n, m->in[0], count, at), out));
}

// Reduced before it is expanded along axes that are kept; the greatest, least, conjunction, … of equal elements.
static Val *reduce_of_expand(Graph *g, Val *v) {
    const Node *n = v->node, *m = n->in[0]->node;
    if (m->op != P_expand || is_arg(n)) return NULL;
    const bool same = n->fn == RED_MAX || n->fn == RED_MIN || n->fn == RED_AND || n->fn == RED_OR; // of equal ones is that one
    const Val *x = m->in[0], *y = &m->out[0];
    int axes[MAX_RANK], count = axes_of(n, axes);
    Ex shape[MAX_RANK];
    bool any = false;
    for (int i = 0; i < x->rank; i++) {
        bool one = x->shape[i] != y->shape[i] && e_is(x->shape[i], 1), gone = is_in(i, count, axes);
        bool ones = one && (!gone || (same && e_lt(e_int(0), y->shape[i])));
        shape[i] = ones ? e_int(1) : y->shape[i];
        any = any || ones;
    }
    if (!any) return NULL;
    Val *in = simplify_value(g, b_expand(g, m->in[0], shape)), *r = reduce(g, n, in, count, axes);
    return simplify_value(g, b_expand(g, r, v->shape));
}

static Val *scan_of_one(Graph *g, Val *v) {
    const Node *n = v->node;
    if (!e_is(v->shape[n->axis], 1)) return NULL;
    if (!(n->flag & 1)) return n->in[0];
    Scalar s = { .i = 0 };
    if (n->fn == RED_ADD) return splat_of(g, v->dt, v->rank, v->shape, dt_is_float(v->dt) ? (Scalar){ .f = 0 } : s);
    return NULL;
}

Val *rules_reduce(Graph *g, Val *v) {
    Val *r;
    if (v->node->op == P_scan) return scan_of_one(g, v);
    if (v->node->op != P_reduce) return NULL;
    if ((r = reduce_ones(g, v)) || (r = reduce_of_reduce(g, v)) || (r = reduce_of_permute(g, v))) return r;
    return reduce_of_expand(g, v);
}
