// SPDX-License-Identifier: Apache-2.0
// Constant subgraphs become constants, where that does not cost bytes: views of constants stay views,
// and what is computed is stored if it is no larger than what it is computed from, or small, or within
// a budget for what grows (weights stored in a narrower type, which are cast before use). A view that a loop
// or another reader of memory needs is stored, too: it would be copied at each run.
// An if whose condition is constant becomes the branch it takes.
#include "opt/rewrite.h"

enum { SMALL = 64 << 10, SMALL_VIEW = 4 << 10, GROWTH = 64 << 20 }; // bytes

// What is known of a value before any is computed: constant or not, and the bytes that its distinct
// elements take. By value id.
typedef struct { bool *constant; size_t *bytes; } Known;

static bool constant_shape(const Val *v, size_t *bytes) {
    int64_t n;
    if (v->kind != K_TENSOR || !e_is_const(val_numel(v), &n) || n < 0) return false;
    *bytes = mul_size((size_t)n, dt_size(v->dt));
    return true;
}

static void know(Known *k, const Node *n) {
    bool constant = n->op != P_input && n->op != P_random;
    size_t most = 0;
    for (int i = 0; i < n->nin; i++) {
        constant = constant && k->constant[n->in[i]->id];
        if (k->bytes[n->in[i]->id] > most) most = k->bytes[n->in[i]->id];
    }
    for (int i = 0; i < n->nex && constant; i++) {
        int64_t c;
        constant = e_is_const(n->ex[i], &c);
    }
    for (int i = 0; i < n->nout; i++) {
        const Val *v = &n->out[i];
        size_t bytes = 0;
        bool fixed = constant_shape(v, &bytes), splat = most <= dt_size(v->dt) && n->op != P_pad && n->nin > 0;
        for (int j = 0; j < n->nin; j++) splat = splat && k->bytes[n->in[j]->id] <= dt_size(n->in[j]->dt);
        if (n->op == P_const && n->data->splat) splat = true;
        if ((is_view(n->op) || n->op == P_map) && splat) bytes = dt_size(v->dt);
        else if (is_view(n->op) && most < bytes) bytes = most;
        else if (n->op == P_const && splat) bytes = dt_size(v->dt);
        k->constant[v->id] = constant && fixed;
        k->bytes[v->id] = bytes;
    }
}

// Whether the value of a constant node should be stored. stored: a node uses it that reads memory.
static bool worth(const Known *k, const Node *n, bool stored, size_t *growth) {
    size_t from = 0, bytes = k->bytes[n->out[0].id], full = 0;
    if (n->op == P_const || n->op == P_iota || n->op == P_dims || n->nout != 1 || !k->constant[n->out[0].id]) return false;
    constant_shape(&n->out[0], &full);
    for (int i = 0; i < n->nin; i++) from += k->bytes[n->in[i]->id];
    if (n->op == P_expand || n->op == P_window || n->op == P_copy) return false;
    if (is_view(n->op)) return full <= SMALL_VIEW || (stored && full <= from) || bytes <= dt_size(n->out[0].dt);
    if (bytes <= from || full <= SMALL || bytes <= dt_size(n->out[0].dt)) return true;
    if (bytes > 8 * from || bytes - from > *growth) return false;
    *growth -= bytes - from;
    return true;
}

static Val *fold(Graph *g, const Val *old, void *ctx) {
    (void)ctx;
    Val *v = (Val *)(intptr_t)old;
    const Data *d = val_const(v);
    return d ? b_const(g, (Data *)(intptr_t)d, v->rank, v->shape) : NULL;
}

// Which values are to be replaced: worth it, and used by something that is not replaced itself.
typedef struct { const Graph *g; bool *fold; } Choice;
typedef struct { Choice *v; int n, cap; size_t growth; } Choices; // growth: bytes that may still be added

static void choose(Choices *c, const Graph *g) {
    Known k = { NEWN(bool, g->nval + 1), NEWN(size_t, g->nval + 1) };
    bool *live = NEWN(bool, g->nnode + 1), *replace = NEWN(bool, g->nnode + 1);
    for (int i = 0; i < g->nnode; i++) know(&k, g->node[i]);
    for (int i = 0; i < g->nout; i++) live[g->out[i]->node->id] = true;
    bool *stored = NEWN(bool, g->nnode + 1);
    for (int i = g->nnode - 1; i >= 0; i--) {
        Node *n = g->node[i];
        if (!live[i]) continue;
        bool memory = n->op == P_if || n->op == P_loop || n->op == P_call || n->op == P_sort;
        for (int j = 0; j < n->nin; j++) stored[n->in[j]->node->id] |= memory;
        replace[i] = worth(&k, n, stored[i], &c->growth) && val_const(&n->out[0]);
        for (int j = 0; j < n->nin && !replace[i]; j++) live[n->in[j]->node->id] = true;
    }
    PUSH(c->v, c->n, c->cap, ((Choice){ g, replace }));
}

static Val *replaced(Graph *g, const Val *old, void *ctx) {
    Choices *c = ctx;
    const bool *replace = NULL;
    for (int i = c->n - 1; i >= 0 && !replace; i--)
        if (c->v[i].g == old->node->g) replace = c->v[i].fold;
    if (!replace) {
        choose(c, old->node->g);
        replace = c->v[c->n - 1].fold;
    }
    return replace[old->node->id] ? fold(g, old, NULL) : NULL;
}

static Graph *branch(const Node *n, Val *const *in) {
    const Data *d = val_const(in[0]);
    return d ? n->region[data_get(d, 0).i ? 0 : 1].g : NULL;
}

void pass_fold(Graph *g, const Options *opt) {
    (void)opt;
    Choices c = { .growth = GROWTH };
    Rewrite rw = { .before = replaced, .branch = branch, .ctx = &c };
    graph_adopt(g, graph_rewrite(g, g->parent, &rw));
}
