// SPDX-License-Identifier: Apache-2.0
// Attention on the DAG: y = sum over t of p[.., t] v[t, ..] with p a softmax along t, whatever operator or
// chain of operators it came from. What is between the scores s and y gets no buffer; attention_nest.c
// computes it by blocks. The product of queries and keys below s is a contraction like any other.
#include "loop/attention.h"
#include <math.h>
#include <string.h>

enum { MAX_INSIDE = 32 };

static bool is_view(Prim p) { return p == P_reshape || p == P_permute || p == P_expand || p == P_slice; }

static bool is_map(const Val *v, Fn fn) { return v->node->op == P_map && v->node->fn == (int)fn; }

static bool is_constant(const Val *v) {
    while (is_view(v->node->op)) v = v->node->in[0];
    return v->node->op == P_const;
}

// Whether every element of v is x.
static bool is_number(const Val *v, double x) {
    while (is_view(v->node->op)) v = v->node->in[0];
    const Data *d = v->node->op == P_const ? v->node->data : NULL;
    return d && dt_is_float(d->dt) && (d->splat || d->n == 1) && data_get(d, 0).f == x;
}

// select(x == c, by, x), or NULL.
static Val *replaced(Val *v, double c, double by) {
    if (!is_map(v, FN_select)) return NULL;
    Val *test = v->node->in[0], *x = v->node->in[2];
    bool ok = is_map(test, FN_eq) && test->node->in[0] == x && is_number(test->node->in[1], c) && is_number(v->node->in[1], by);
    return ok ? x : NULL;
}

// v is reduce(fn, x) along one axis, repeated along it again, with c replaced by `by`, if at all.
static bool is_row_value(Val *v, Red fn, const Val *x, double c, double by, int *axis, bool *with) {
    Ex idx[MAX_RANK], var[MAX_RANK], in[MAX_RANK];
    *with = false;
    for (int i = 0; i < x->rank; i++) idx[i] = var[i] = e_index(arena_printf("x%d", i), x->shape[i]);
    if (v->rank != x->rank) return false;
    for (int step = 0; step < 16; step++) {
        Val *other = replaced(v, c, by);
        const Node *n = v->node;
        if (other) {
            if (*with) return false;
            *with = true;
            v = other;
        } else if (n->op == P_reshape || n->op == P_permute || n->op == P_expand) {
            val_index_in(n, 0, idx, in);
            v = n->in[0];
            memcpy(idx, in, sizeof *idx * (size_t)v->rank);
        } else break;
    }
    const Node *n = v->node;
    int64_t a;
    if (n->op != P_reduce || n->fn != (int)fn || n->in[0] != x || n->nex != 1 || !e_is_const(n->ex[0], &a)) return false;
    for (int i = 0, o = 0; i < x->rank; i++)
        if (i != a && idx[o++] != var[i]) return false;
    *axis = (int)a;
    return true;
}

// exp(s - max) / sum along one axis.
static bool is_softmax(Val *p, Attention *a) {
    int axis;
    bool top, sum;
    if (!is_map(p, FN_div) || !is_map(p->node->in[0], FN_exp)) return false;
    Val *e = p->node->in[0], *d = e->node->in[0];
    if (!is_map(d, FN_sub)) return false;
    a->s = d->node->in[0];
    if (!is_row_value(d->node->in[1], RED_MAX, a->s, -INFINITY, 0, &a->axis, &top)) return false;
    if (!is_row_value(p->node->in[1], RED_ADD, e, 0, 1, &axis, &sum) || axis != a->axis) return false;
    a->zero_row = top && sum;
    return true;
}

// Nothing between p and s is needed elsewhere.
static bool is_private(const int *users, const Attention *a) {
    const Val *inside[MAX_INSIDE];
    int count[MAX_INSIDE] = {0}, n = 1, of_s = 0;
    inside[0] = a->p;
    for (int i = 0; i < n; i++) {
        const Node *m = inside[i]->node;
        for (int k = 0; k < m->nin; k++) {
            const Val *x = m->in[k];
            int j = 0;
            if (x == a->s) {
                of_s++;
                continue;
            }
            if (is_constant(x)) continue; // shared by all that need it
            while (j < n && inside[j] != x) j++;
            if (j == MAX_INSIDE) return false;
            if (j == n) inside[n++] = x;
            count[j]++;
        }
    }
    for (int i = 1; i < n; i++)
        if (count[i] != users[inside[i]->id]) return false;
    return of_s == users[a->s->id] && users[a->p->id] == 1;
}

static int *count_users(const Lower *l) {
    const Graph *g = l->g;
    int *users = NEWN(int, g->nval + 1);
    for (int i = 0; i < g->nnode; i++)
        for (int k = 0; k < g->node[i]->nin; k++) users[g->node[i]->in[k]->id]++;
    for (int i = 0; i < g->nout; i++) users[g->out[i]->id]++;
    for (int i = 0; i < l->nload; i++) users[l->load[i]->val->id]++;
    return users;
}

static Val *below_views(Val *v, const int *users, bool only) {
    while (is_view(v->node->op) && (!only || users[v->id] == 1)) v = v->node->in[0];
    return v;
}

static bool match(const int *users, Val *y, Attention *a) {
    Val *mul = y->node->in[0];
    if (!is_map(mul, FN_mul) || users[mul->id] != 1 || (y->dt != F32 && y->dt != F64)) return false;
    for (int k = 0; k < 2; k++) {
        Val *p = below_views(mul->node->in[k], users, true), *soft = p;
        *a = (Attention){.y = y, .p = p, .v = below_views(mul->node->in[1 - k], users, false)};
        if (is_map(p, FN_select) && is_map(p->node->in[0], FN_isnan) && p->node->in[0]->node->in[0] == p->node->in[2] &&
            is_number(p->node->in[1], 0)) {
            a->nan_zero = true;
            soft = p->node->in[2];
        }
        if (is_softmax(soft, a) && is_private(users, a) && a->s->dt == y->dt) return true;
    }
    return false;
}

void attention_find(Lower *l) {
    const Graph *g = l->g;
    int *users = NULL;
    l->attention = NEWN(Attention *, g->nval + 1);
    for (int i = 0; i < g->nnode; i++) {
        const Node *n = g->node[i];
        Attention a;
        if (n->op != P_reduce || n->fn != RED_ADD || n->nex != 1) continue;
        if (!users) users = count_users(l);
        if (!match(users, &n->out[0], &a)) continue;
        Attention *kept = NEW(Attention);
        *kept = a;
        l->attention[a.y->id] = l->attention[a.p->id] = kept;
    }
}
