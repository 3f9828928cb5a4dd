// SPDX-License-Identifier: Apache-2.0
// Decides which values get buffers. Walks from the results back: a value is evaluated where it is
// used (inlined) unless it is used more than once, would be recomputed by a repeating view, or its
// primitive needs memory. One reduction with the pointwise chain after it is one root.
#include "loop/attention.h"

enum { MAX_DEPTH = 48 }; // of an inlined chain: bounds the recursion of gen and the size of an expression

typedef struct {
    int depth;    // of inlining below the root
    int slot;     // the nest that evaluates it
    bool repeats; // evaluated several times an element
    bool seen;    // has a use
    bool apart;   // its uses are not all at the same element of one nest: only maps lead there
    bool clean;   // only maps, permutes and reshapes between it and the root
    bool force;   // its consumer reads memory
    bool summed;  // only views lie between it and its nest's unwindow: sums merge into one
    bool crop;    // it stands for the unwindow below it as its nest's sum
} Use;

static bool is_view(Prim p) {
    return p == P_reshape || p == P_permute || p == P_expand || p == P_slice || p == P_pad || p == P_window || p == P_gather;
}

static bool needs_memory(Prim p) {
    return p == P_scatter || p == P_sort || p == P_scan || p == P_if || p == P_loop || p == P_call || p == P_copy ||
           p == P_concat || p == P_random;
}

static bool reads_memory(Prim p) { return p == P_sort || p == P_if || p == P_loop || p == P_call; }

static bool is_leaf(const Val *v) {
    Prim p = v->node->op;
    return p == P_input || p == P_const || p == P_iota || (p == P_dims && v->rank == 0);
}

// Index arithmetic: cheaper to redo than to store.
static bool is_cheap(const bool *cheap, const Node *n) {
    if (is_view(n->op) && n->op != P_gather) return cheap[n->in[0]->id];
    if (n->op == P_const) return n->data->splat || n->data->n == 1;
    if (n->op == P_iota) return true;
    if (n->op == P_dims) return n->out[0].rank == 0;
    if (n->op != P_map) return false;
    Fn f = (Fn)n->fn;
    if (f == FN_pow || (f >= FN_sqrt && f <= FN_softplus) || f == FN_atan2) return false;
    for (int i = 0; i < n->nin; i++)
        if (!cheap[n->in[i]->id]) return false;
    return true;
}

// Does an expand repeat elements?
static bool grows(const Node *n) {
    const Val *x = n->in[0], *y = &n->out[0];
    if (n->op == P_window) return !e_is(n->ex[0], 1);
    if (n->op == P_gather) return true;
    if (n->op != P_expand) return false;
    for (int i = 0; i < x->rank; i++)
        if (x->shape[i] != y->shape[i]) return true;
    return false;
}

static void use_operand(Lower *l, Use *use, const Node *n, int i, bool root, int slot) {
    const Val *v = &n->out[0], *x = n->in[i];
    Use *u = &use[x->id];
    const Use *me = &use[v->id];
    bool view = is_view(n->op) && i == 0;
    l->uses[x->id] += root ? 1 : l->uses[v->id];
    int depth = root ? 1 : me->depth + 1;
    if (depth > u->depth) u->depth = depth;
    bool aligned = n->op == P_map ? root || !me->apart : n->op == P_concat && root;
    u->apart |= !aligned || (u->seen && u->slot != slot);
    u->seen = true;
    u->slot = slot;
    u->repeats |= (!root && me->repeats) || (view && grows(n)) || (n->op == P_gather && i == 1 && !root && me->repeats);
    u->clean = (n->op == P_map || n->op == P_permute || n->op == P_reshape || (n->op == P_concat && root)) && (root || me->clean);
    bool through = n->op == P_reshape || n->op == P_permute || n->op == P_slice || n->op == P_pad;
    u->summed = i == 0 && (n->op == P_unwindow || (through && !root && (me->summed || me->crop)));
    u->force |= reads_memory(n->op) || (n->op == P_scan && i == 0);
}

// A slice or pad of an unwindow, with other views between them.
static bool crops(const Val *v) {
    if (v->node->op != P_slice && v->node->op != P_pad) return false;
    for (;;) {
        Prim p = v->node->op;
        if (p != P_reshape && p != P_permute && p != P_slice && p != P_pad) return p == P_unwindow;
        v = v->node->in[0];
    }
}

static bool is_sum(const Node *n) { return n->op == P_unwindow || (n->op == P_reduce && n->fn == RED_ADD); }

static bool decide(Lower *l, const Use *use, const bool *cheap, Val **reduce_of, Val *v) {
    const Node *n = v->node;
    const Use *u = &use[v->id];
    if (is_leaf(v)) return u->force && n->op == P_iota;
    if (u->force || needs_memory(n->op) || n->op == P_dims) return true;
    if (n->op == P_gather && u->repeats) return true; // its index is read and checked once an element
    if (is_view(n->op)) return u->depth > MAX_DEPTH;
    if (n->op == P_map && cheap[v->id]) return u->depth > MAX_DEPTH;
    if ((l->uses[v->id] > 1 && u->apart) || u->repeats || u->depth > MAX_DEPTH) return true;
    if (n->op == P_map) return false;
    if (u->summed && is_sum(n)) return false; // each of its elements goes into one sum
    // a reduction: inlined into a clean root that has none yet
    if (!u->clean || reduce_of[u->slot]) return true;
    return false;
}

// The probabilities of an attention are computed by the nest that uses them: so are its scores, once each.
static void use_attention(Lower *l, Use *use, Attention *a, int slot) {
    l->uses[a->s->id] += l->uses[a->p->id];
    use[a->s->id].slot = a->slot = slot;
    use[a->s->id].clean = true;
    if (!use[a->s->id].depth) use[a->s->id].depth = 1;
}

// The roots in the order of their nodes; a concat has one for each operand.
static void list_roots(Lower *l, Val **reduce_of, const int *slot_of) {
    const Graph *g = l->g;
    for (int i = 0; i < g->nnode; i++) {
        Node *n = g->node[i];
        if (!l->root[n->out[0].id] || n->op == P_input || n->op == P_const) continue;
        if (n->op == P_concat) {
            Ex at = e_int(0);
            for (int k = 0; k < n->nin; k++) {
                Root r = {.val = &n->out[0], .expr = n->in[k], .reduce = reduce_of[slot_of[i] + k], .axis = n->axis, .at = at};
                at = e_add(at, n->in[k]->shape[n->axis]);
                PUSH(l->roots, l->nroots, l->cap_roots, r);
            }
        } else {
            Root r = {.val = &n->out[0], .expr = &n->out[0], .reduce = reduce_of[slot_of[i]]};
            PUSH(l->roots, l->nroots, l->cap_roots, r);
        }
    }
}

void fuse(Lower *l) {
    Graph *g = l->g;
    Use *use = NEWN(Use, g->nval);
    bool *cheap = NEWN(bool, g->nval);
    int nslot = 0, cap = 0;
    l->uses = NEWN(int, g->nval);
    l->root = NEWN(bool, g->nval);
    attention_find(l);
    for (int i = 0; i < g->nnode; i++) cap += g->node[i]->nin + 1;
    Val **reduce_of = NEWN(Val *, cap + 1);
    int *slot_of = NEWN(int, cap + 1); // first slot of a node's nests
    for (int i = 0; i < g->nnode; i++)
        for (int k = 0; k < g->node[i]->nout; k++) cheap[g->node[i]->out[k].id] = is_cheap(cheap, g->node[i]);
    for (int i = 0; i < g->nout; i++) {
        l->uses[g->out[i]->id]++;
        use[g->out[i]->id].force = true;
    }
    for (int i = 0; i < l->nload; i++) { // elements that expressions read
        l->uses[l->load[i]->val->id]++;
        use[l->load[i]->val->id].force = true;
    }
    for (int i = 0; i < l->ndefined; i++) { // and extents
        if (!l->sized[i]) continue;
        l->uses[l->defined[i].by->id]++;
        use[l->defined[i].by->id].force = true;
    }
    for (int i = g->nnode - 1; i >= 0; i--) {
        Node *n = g->node[i];
        bool used = false;
        for (int k = 0; k < n->nout; k++) used |= l->uses[n->out[k].id] > 0;
        if (!used) continue;
        Val *v = &n->out[0];
        Attention *a = l->attention[v->id];
        if (a && v == a->p) {
            slot_of[n->id] = use[v->id].slot;
            use_attention(l, use, a, nslot++);
            continue;
        }
        if (a) use[a->v->id].repeats = true; // the values are in memory
        bool root = decide(l, use, cheap, reduce_of, v);
        for (int k = 0; k < n->nout; k++) l->root[n->out[k].id] = root;
        int slot = root ? nslot : use[v->id].slot;
        if (!root && !use[v->id].apart && (n->op == P_map || n->op == P_reduce || n->op == P_unwindow)) l->uses[v->id] = 1;
        slot_of[n->id] = slot;
        if (root) nslot += n->op == P_concat ? n->nin : 1;
        Use *u = &use[v->id];
        u->crop = !reduce_of[slot] && (root || (u->clean && l->uses[v->id] == 1)) && crops(v);
        if ((n->op == P_reduce || n->op == P_unwindow || u->crop) && !reduce_of[slot]) reduce_of[slot] = v;
        for (int k = 0; k < n->nin; k++) use_operand(l, use, n, k, root, n->op == P_concat && root ? slot + k : slot);
    }
    for (int i = 0; i < g->nnode; i++) {
        Attention *a = l->attention[g->node[i]->out[0].id];
        if (a) a->scores = reduce_of[a->slot];
    }
    list_roots(l, reduce_of, slot_of);
}
