// SPDX-License-Identifier: Apache-2.0
// Where broadcasting could not tell which of two extents is the larger one, and a later operator needs that
// it is a certain one (a guard says max(a, b) = b), the graph is made again with b in place of the maximum.
// The guards stay and are checked on entry, so only extents of inputs are replaced.
#include "opt/rewrite.h"

// Whether e depends on nothing but extents of inputs.
static bool is_known(const Graph *g, Ex e) {
    if (e->kind == X_LOAD) return false;
    if (e->kind == X_VAR) {
        for (int i = 0; i < g->nin; i++)
            for (int k = 0; k < g->in[i]->rank; k++)
                if (g->in[i]->shape[k] == e) return true;
        return false;
    }
    for (int i = 0; i < e->n; i++)
        if (!is_known(g, e->kind == X_SUM ? e->t[i].m : e->a[i])) return false;
    return true;
}

// The maximum of b and something, as a bare atom.
static bool is_maximum_of(Ex a, Ex b) {
    if (a->kind == X_SUM && a->n == 1 && a->c == 0 && a->t[0].k == 1) a = a->t[0].m;
    return a->kind == X_MAX && (a->a[0] == b || a->a[1] == b);
}

void pass_agree(Graph *g, const Options *opt) {
    (void)opt;
    Ex *var = NEWN(Ex, g->nguard + 1), *by = NEWN(Ex, g->nguard + 1);
    int n = 0;
    for (int i = 0; i < g->nguard; i++) {
        const Guard *q = &g->guard[i];
        Ex a = q->a, b = q->b;
        if (q->kind != G_EQ) continue;
        if (is_maximum_of(b, a)) a = q->b, b = q->a;
        if (!is_maximum_of(a, b) || !is_known(g, a)) continue;
        var[n] = a->kind == X_SUM ? a->t[0].m : a;
        by[n++] = b;
    }
    if (n) graph_adopt(g, graph_rebuild(graph_substitute(g, n, var, by)));
}
