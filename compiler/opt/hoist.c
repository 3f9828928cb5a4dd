// SPDX-License-Identifier: Apache-2.0
// Loop-invariant code motion: what a loop's body computes of captures and constants alone is computed once, before the
// loop, and captured. Views stay inside, where they cost nothing; so does what would take more memory than what it is made
// of, and what may fail (an index, a helper's status): a loop may run no iteration. Constants that come about are folded.
#include "opt/rewrite.h"

typedef struct { const Node *loop; const Graph *body; bool *same, *seen; Val **v; int n, cap; } Hoist;

// Whether e depends on nothing that the loop defines.
static bool is_outside(const Node *loop, Ex e) {
    if (e->kind == X_LOAD) return loop->region->g != e->val->node->g;
    if (e->kind == X_VAR) return symbol_before(loop->g, loop, e);
    for (int i = 0; i < e->n; i++)
        if (!is_outside(loop, e->kind == X_SUM ? e->t[i].m : e->a[i])) return false;
    return true;
}

// Nodes that can be made elsewhere: they neither fail nor need a guard.
static bool can_move(const Hoist *h, const Node *n) {
    const Val *v = &n->out[0];
    if (n->nout != 1 || v->kind != K_TENSOR) return false;
    for (int i = 0; i < n->nex; i++)
        if (!is_outside(h->loop, n->ex[i])) return false;
    for (int i = 0; i < v->rank; i++)
        if (!is_outside(h->loop, v->shape[i])) return false;
    switch (n->op) {
    case P_const: case P_iota: case P_map: case P_reduce: case P_permute: case P_copy: case P_scan: case P_pad: return true;
    case P_slice: { // of elements that are there
        Ex last = e_add(n->ex[0], e_mul(e_sub(v->shape[n->axis], e_int(1)), n->ex[1]));
        return e_ge0(n->ex[0]) && e_ge0(last) && e_lt(n->ex[0], n->in[0]->shape[n->axis]) && e_lt(last, n->in[0]->shape[n->axis]);
    }
    case P_reshape: return val_numel(n->in[0]) == val_numel(v);
    case P_expand: // of an axis of extent 1, for certain
        for (int i = 0; i < v->rank; i++)
            if (n->in[0]->shape[i] != v->shape[i] && !e_is(n->in[0]->shape[i], 1)) return false;
        return true;
    default: return false;
    }
}

// Which values are the same in each iteration.
static void find_same(Hoist *h) {
    for (int i = 0; i < h->body->nin; i++) h->same[h->body->in[i]->id] = i >= 2 + h->loop->axis && h->body->in[i]->kind == K_TENSOR;
    for (int i = 0; i < h->body->nnode; i++) {
        const Node *n = h->body->node[i];
        bool same = n->op != P_input && can_move(h, n);
        for (int k = 0; k < n->nin && same; k++) same = h->same[n->in[k]->id];
        if (same) h->same[n->out[0].id] = true;
    }
}

// Something as large as the result that it is made of, read as it is.
static bool has_full_source(const Val *v, Ex numel) {
    if (v->node->op == P_expand || (v->node->op == P_const && v->node->data->splat) || v->node->op == P_iota) return false;
    if (is_view(v->node->op)) return has_full_source(v->node->in[0], numel);
    return val_numel(v) == numel;
}

static bool worth(const Val *v) {
    const Node *n = v->node;
    if (n->op != P_map) return n->op == P_reduce || n->op == P_scan;
    for (int i = 0; i < n->nin; i++)
        if (has_full_source(n->in[i], val_numel(v))) return true;
    return false;
}

// The results of work below v, which what is not the same reads.
static void choose(Hoist *h, Val *v) {
    if (h->seen[v->id]) return;
    h->seen[v->id] = true;
    if (v->node->op == P_input || v->node->op == P_const || v->elems) return;
    if (worth(v)) PUSH(h->v, h->n, h->cap, v);
    else
        for (int i = 0; i < v->node->nin; i++) choose(h, v->node->in[i]);
}

static int invariant(const Node *loop, Val ***which, void *ctx) {
    const Graph *body = loop->region->g;
    Hoist h = {.loop = loop, .body = body, .same = NEWN(bool, body->nval + 1), .seen = NEWN(bool, body->nval + 1)};
    find_same(&h);
    for (int i = 0; i < body->nnode; i++) {
        const Node *n = body->node[i];
        for (int k = 0; k < n->nin && !h.same[n->out[0].id]; k++)
            if (h.same[n->in[k]->id]) choose(&h, n->in[k]);
    }
    for (int i = 0; i < body->nout; i++)
        if (h.same[body->out[i]->id]) choose(&h, body->out[i]);
    *(int *)ctx += h.n;
    *which = h.v;
    return h.n;
}

static bool has_loop(const Graph *g) {
    for (int i = 0; i < g->nnode; i++) {
        const Node *n = g->node[i];
        if (n->op == P_loop || (n->op == P_if && (has_loop(n->region[0].g) || has_loop(n->region[1].g)))) return true;
    }
    return false;
}

void pass_hoist(Graph *g, const Options *opt) {
    enum { DEPTH = 8 }; // a loop's invariant may be one of the loop around it
    for (int i = 0, moved = has_loop(g); i < DEPTH && moved; i++) {
        moved = 0;
        Rewrite rw = {.invariant = invariant, .ctx = &moved};
        Graph *by = graph_rewrite(g, g->parent, &rw);
        if (moved) graph_adopt(g, graph_rebuild(by));
    }
    pass_fold(g, opt);
}
