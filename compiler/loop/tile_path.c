// SPDX-License-Identifier: Apache-2.0
// Where an element of a contraction lands in its root: the pointwise chain above the reduce, walked up.
#include "loop/tile.h"
#include <string.h>

enum { MAX_ITEMS = 2048 };
typedef struct { Val *v; int parent; bool odd; Ex *idx; } Item; // odd: below something that is not pointwise
typedef struct { Lower *l; Item *it; int n, cap; } Walk;

static bool pointwise(Prim p) { return p == P_map || p == P_reshape || p == P_permute; }

static bool same(const Ex *a, const Ex *b, int n) { return !n || !a || !b || !memcmp(a, b, sizeof *a * (size_t)n); }

static bool visit(Walk *w, Val *v, int parent, bool odd, Ex *idx) {
    for (int i = 0; i < w->n; i++)
        if (w->it[i].v == v && w->it[i].odd == odd && same(w->it[i].idx, idx, v->rank)) return true;
    if (w->n == MAX_ITEMS) return false;
    PUSH(w->it, w->n, w->cap, ((Item){v, parent, odd, idx}));
    return true;
}

// Operands of item i; with indices when it has them.
static bool operands(Walk *w, int i, const Val *target) {
    Item it = w->it[i];
    if (it.v == target || (i && w->l->buf[it.v->id])) return true;
    const Node *n = it.v->node;
    bool odd = it.odd || !pointwise(n->op);
    for (int k = 0; k < n->nin; k++) {
        Ex *in = NULL;
        if (it.idx && !odd) {
            in = NEWN(Ex, n->in[k]->rank + 1);
            val_index_in(n, k, it.idx, in);
        }
        if (!visit(w, n->in[k], i, odd, in)) return false;
    }
    return true;
}

static bool walk(Walk *w, Lower *l, const Root *r, const Val *target, Ex *idx) {
    *w = (Walk){.l = l};
    if (!visit(w, r->expr, -1, false, idx)) return false;
    for (int i = 0; i < w->n; i++)
        if (!operands(w, i, target)) return false;
    return true;
}

static void up(const Node *n, const Ex *in, Ex *out) {
    const Val *x = n->in[0];
    int64_t p;
    if (n->op == P_reshape) reshape_index(x, in, &n->out[0], out);
    else
        for (int i = 0; i < x->rank; i++) {
            if (n->op == P_map) p = i;
            else e_is_const(n->ex[i], &p);
            out[i] = in[p];
        }
}

bool tile_root_index(Lower *l, const Root *r, const Contraction *c, Ex *idx) {
    Walk w;
    int at = -1;
    if (!walk(&w, l, r, c->reduce, NULL)) return false;
    for (int i = 0; i < w.n; i++) {
        if (w.it[i].v != c->reduce) continue;
        if (w.it[i].odd) return false;
        at = i;
    }
    if (at < 0) return false;
    memcpy(idx, c->out, sizeof *idx * (size_t)c->nout);
    for (at = w.it[at].parent; at >= 0; at = w.it[at].parent) {
        Ex in[MAX_RANK];
        memcpy(in, idx, sizeof in);
        up(w.it[at].v->node, in, idx);
    }
    // the way down must give back exactly the contraction's indices, by every path
    if (!walk(&w, l, r, c->reduce, idx)) return false;
    for (int i = 0; i < w.n; i++)
        if (w.it[i].v == c->reduce && (!w.it[i].idx || !same(w.it[i].idx, c->out, c->nout))) return false;
    return true;
}

bool tile_index_of(Lower *l, Val *expr, Ex *at, const Val *target, Ex *idx) {
    Walk w;
    bool found = false;
    if (!walk(&w, l, &(Root){.expr = expr}, target, at)) return false;
    for (int i = 0; i < w.n; i++) {
        if (w.it[i].v != target) continue;
        if (!w.it[i].idx || (found && !same(w.it[i].idx, idx, target->rank))) return false;
        memcpy(idx, w.it[i].idx, sizeof *idx * (size_t)target->rank);
        found = true;
    }
    return found;
}
