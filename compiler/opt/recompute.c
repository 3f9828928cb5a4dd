// SPDX-License-Identifier: Apache-2.0
// --recompute: less memory for a training step. What the forward pass computes lives until the backward pass reads it;
// some of it is computed again there instead (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016).
//
//   level 0       nothing
//   level 1       element by element, of values that are kept anyway: a normalization, an activation
//   level 2, 3, … the forward pass is cut where the least is alive: of all before the last cut only what crosses a cut is
//                 kept. The more segments, the more is kept at the cuts, and the less is alive inside of one.
//
// --amp=bf16: of what is kept, floats are as bfloat16, made as soon as they are known, and are floats again where the backward
// pass begins to read them. All is computed in floats.
//
// The forward pass is what the first output, the loss, needs. A node that is computed again is equal to the first one;
// the graph's `again` keeps the two apart.
#include "opt/rewrite.h"
#include "loop/loop.h"
#include <string.h>

enum { SMALL = 4096, GUESS = 8 }; // bytes that are kept without asking; a symbol, as of a batch

static const int segments[] = {32, 24, 16, 12, 8, 6, 4, 3, 2};
const int recompute_levels = 2 + (int)(sizeof segments / sizeof *segments);

typedef struct {
    const Graph *g;
    bool *forward;        // by node
    bool *saved, *again;  // by value, views looked through: read by the backward pass; computed again for it
    int64_t *bytes;
    int *last;            // by value: the last node of the forward pass that reads it
    Val **clone;          // by value: computed again, in the new graph
    Val **narrow;         // by value: as bfloat16, in the new graph; NULL: there are none
    int made;             // nodes that are in the new graph, for `narrow`
    Graph *to;
} Recompute;

static bool looks_through(Prim p) { return is_view(p) && p != P_copy; }

static Val *source(Val *v) {
    while (looks_through(v->node->op)) v = v->node->in[0];
    return v;
}

static bool is_given(const Val *v) {
    Prim p = v->node->op;
    return p == P_input || p == P_const || p == P_iota || p == P_dims;
}

// Element by element of its operands.
static bool is_cheap(const Node *n) { return n->op == P_map || n->op == P_pad || n->op == P_concat || looks_through(n->op); }

// What can be computed again, and comes out the same.
static bool is_pure(const Node *n) {
    return n->nout == 1 && n->op != P_if && n->op != P_loop && n->op != P_call && n->op != P_random && n->op != P_sort && n->op != P_input;
}

static bool is_large(const Recompute *r, const Val *v) { return v->kind == K_TENSOR && !is_given(v) && r->bytes[v->id] > SMALL; }

static void find_forward(Recompute *r) {
    const Graph *g = r->g;
    r->forward[g->out[0]->node->id] = true;
    for (int i = g->nnode - 1; i >= 0; i--)
        for (int k = 0; r->forward[i] && k < g->node[i]->nin; k++) r->forward[g->node[i]->in[k]->node->id] = true;
    for (int i = 0; i < g->nnode; i++) {
        const Node *n = g->node[i];
        for (int k = 0; k < n->nout; k++)
            if (n->out[k].kind == K_TENSOR) r->bytes[n->out[k].id] = (int64_t)dt_size(n->out[k].dt) * extent_guess(val_numel(&n->out[k]), GUESS);
        for (int k = 0; k < n->nin && !(r->forward[i] && looks_through(n->op)); k++) {
            Val *v = source(n->in[k]);
            if (!r->forward[v->node->id]) continue;
            if (!r->forward[i]) r->saved[v->id] = true;
            else if (i > r->last[v->id]) r->last[v->id] = i;
        }
    }
}

static bool from_kept(const Recompute *r, const Node *n, int depth);

// Whether v is kept, or comes cheaply from what is. Of what is before, it is decided already.
static bool is_at_hand(const Recompute *r, Val *v, int depth) {
    v = source(v);
    if (!is_large(r, v) || (r->saved[v->id] && !r->again[v->id])) return true;
    return is_cheap(v->node) && depth > 0 && from_kept(r, v->node, depth - 1);
}

static bool from_kept(const Recompute *r, const Node *n, int depth) {
    for (int k = 0; k < n->nin; k++)
        if (!is_at_hand(r, n->in[k], depth)) return false;
    return true;
}

static void cheap_again(Recompute *r, int from) {
    enum { DEPTH = 12 };
    for (int i = from; i < r->g->nnode; i++) {
        const Val *v = &r->g->node[i]->out[0];
        if (r->forward[i] && is_cheap(v->node) && r->saved[v->id] && is_large(r, v)) r->again[v->id] = from_kept(r, v->node, DEPTH);
    }
}

// Bytes that are alive behind each node of the forward pass, for what comes after it in that pass.
static int64_t *crossing(const Recompute *r) {
    int64_t *alive = NEWN(int64_t, r->g->nnode + 1), now = 0;
    int64_t *end = NEWN(int64_t, r->g->nnode + 1);
    for (int i = 0; i < r->g->nnode; i++) {
        const Node *n = r->g->node[i];
        for (int k = 0; k < n->nout && r->forward[i] && !looks_through(n->op); k++) {
            const Val *v = &n->out[k];
            if (!is_large(r, v) || r->last[v->id] <= i) continue;
            now += r->bytes[v->id];
            end[r->last[v->id]] += r->bytes[v->id];
        }
        now -= end[i];
        alive[i] = now;
    }
    return alive;
}

// Keeps what crosses the cut behind node `at`.
static void keep_crossing(const Recompute *r, bool *keep, int at) {
    for (int i = 0; i <= at; i++)
        for (int k = 0; k < r->g->node[i]->nout && r->forward[i]; k++) {
            const Val *v = &r->g->node[i]->out[k];
            if (r->last[v->id] > at) keep[v->id] = true;
        }
}

static void segments_again(Recompute *r, int n) {
    const Graph *g = r->g;
    int64_t total = 0, sum = 0, *alive = crossing(r), *before = NEWN(int64_t, g->nnode + 1);
    bool *keep = NEWN(bool, g->nval + 1);
    int last = -1;
    for (int i = 0; i < g->nnode; i++) {
        const Val *v = &g->node[i]->out[0];
        if (r->forward[i] && r->saved[v->id] && is_large(r, v)) total += r->bytes[v->id];
        before[i] = total;
    }
    for (int s = 1; s < n; s++) { // within half a segment of its place
        int best = -1;
        sum = total / n * s;
        for (int i = last + 1; i < g->nnode; i++) {
            if (!r->forward[i] || before[i] < sum - total / n / 2) continue;
            if (before[i] > sum + total / n / 2) break;
            if (best < 0 || alive[i] < alive[best]) best = i;
        }
        if (best < 0) continue;
        keep_crossing(r, keep, best);
        last = best;
    }
    for (int i = 0; i <= last; i++) {
        const Node *m = g->node[i];
        if (!r->forward[i] || !is_pure(m) || keep[m->out[0].id]) continue;
        r->again[m->out[0].id] = r->saved[m->out[0].id] && is_large(r, &m->out[0]);
    }
    cheap_again(r, last + 1);
}

// What is kept of v as the backward pass reads it.
static Val *kept(Recompute *r, Val *v, Val *const *map) {
    if (!r->narrow || !r->narrow[v->id]) return map[v->id];
    r->to->again = 1;
    r->clone[v->id] = b_copy(r->to, b_map(r->to, FN_cast, F32, 1, &r->narrow[v->id]));
    r->to->again = 0;
    return r->clone[v->id];
}

// bfloat16 of what is kept of the nodes made so far.
static void make_narrow(Recompute *r, int end, Val *const *map) {
    for (; r->made < end; r->made++) {
        const Node *n = r->g->node[r->made];
        const Val *v = &n->out[0];
        if (!r->forward[r->made] || n->nout != 1 || looks_through(n->op) || v->dt != F32 || !is_large(r, v) || !r->saved[v->id] || r->again[v->id] || !map[v->id]) continue;
        Val *x = map[v->id];
        r->narrow[v->id] = b_copy(r->to, b_map(r->to, FN_cast, BF16, 1, &x));
    }
}

// v as the backward pass reads it: through views and, where it is computed again, what it is made of.
static Val *again_of(Recompute *r, Val *v, Val *const *map, bool inside) {
    const Node *n = v->node;
    if (r->clone[v->id]) return r->clone[v->id];
    bool here = looks_through(n->op) || r->again[v->id] || (inside && is_pure(n) && is_large(r, v) && !r->saved[v->id]);
    if (!here || !r->forward[n->id] || is_given(v)) return kept(r, v, map);
    Val **in = NEWN(Val *, n->nin + 1);
    bool other = r->again[v->id];
    for (int k = 0; k < n->nin; k++) {
        in[k] = again_of(r, n->in[k], map, inside || r->again[v->id]);
        other |= in[k] != map[n->in[k]->id];
    }
    if (!other && looks_through(n->op)) return map[v->id];
    const char *origin = r->to->origin;
    r->to->origin = n->name;
    r->to->again = 1;
    r->clone[v->id] = node_again(r->to, n, in);
    r->to->again = 0;
    r->to->origin = origin;
    return r->clone[v->id];
}

static void backward_operands(Graph *g, const Node *old, Val **in, Val *const *map, void *ctx) {
    Recompute *r = ctx;
    if (old->g != r->g) return;
    r->to = g;
    if (r->narrow) make_narrow(r, old->id, map);
    if (r->forward[old->id]) return;
    for (int k = 0; k < old->nin; k++)
        if (r->forward[old->in[k]->node->id]) in[k] = again_of(r, old->in[k], map, false);
}

Graph *recompute(Graph *g, const Options *opt, int level) {
    if (level == 0 && !opt->amp) return g;
    Recompute *r = &(Recompute){.g = g};
    r->forward = NEWN(bool, g->nnode + 1);
    r->saved = NEWN(bool, g->nval + 1);
    r->again = NEWN(bool, g->nval + 1);
    r->bytes = NEWN(int64_t, g->nval + 1);
    r->last = NEWN(int, g->nval + 1);
    r->clone = NEWN(Val *, g->nval + 1);
    find_forward(r);
    if (opt->amp) r->narrow = NEWN(Val *, g->nval + 1);
    if (level <= 1) cheap_again(r, 0); // with --amp always: what is cheap would be kept beside what it comes from
    else segments_again(r, segments[level - 2]);
    const Rewrite rw = {.operands = backward_operands, .ctx = r};
    return graph_rewrite(g, g->parent, &rw);
}
