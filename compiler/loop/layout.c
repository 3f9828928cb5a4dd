// SPDX-License-Identifier: Apache-2.0
// Memory order of work buffers: the axis that a contraction's weights produce (channels) becomes the
// innermost one, and values computed from such buffers element by element follow. Inputs, outputs,
// weights and what a call reads stay row-major.
#include "loop/tile.h"
#include <string.h>

enum { MAX_LEAVES = 256 };

static void innermost(Buf *b, int axis) {
    int n = 0;
    for (int i = 0; i < b->rank; i++)
        if (i != axis) b->order[n++] = i;
    b->order[n] = axis;
}

static bool constant(const Buf *b) { return b->kind == B_WEIGHT && b->data; }

static bool factor_uses(const Access *a, Ex var) {
    for (int i = 0; i < a->rank; i++)
        if (e_uses(a->idx[i], var)) return true;
    return false;
}

// The only axis of the root that depends on out variables of factor w, or -1.
static int axis_of_factor(const Contraction *c, int w, int rank, const Ex *idx) {
    int axis = -1;
    for (int a = 0; a < rank; a++) {
        bool uses = false;
        for (int v = 0; v < c->nvar - c->nred; v++) uses |= e_uses(idx[a], c->var[v]) && factor_uses(&c->factor[w], c->var[v]);
        if (!uses) continue;
        if (axis >= 0) return -1;
        axis = a;
    }
    return axis;
}

// The axis that the weights produce: those are the constant factor, or in training, where none is, an
// input that moves along a single axis of the root.
static int weight_axis(Lower *l, const Root *r) {
    Contraction *c = NEW(Contraction);
    Ex idx[MAX_RANK];
    if (!r->reduce || !contract_find(l, r->reduce, c) || !tile_root_index(l, r, c, idx) || c->nfactor < 2) return -1;
    bool known[2] = {constant(c->factor[0].buf), constant(c->factor[1].buf)};
    if (known[0] != known[1]) return axis_of_factor(c, known[0] ? 0 : 1, r->expr->rank, idx);
    int axis = -1;
    for (int w = 0; w < 2 && !known[0]; w++) {
        int a = c->factor[w].buf->kind == B_INPUT ? axis_of_factor(c, w, r->expr->rank, idx) : -1;
        if (a >= 0 && axis >= 0) return -1;
        if (a >= 0) axis = a;
    }
    return axis;
}

typedef struct { Val *v; Ex *idx; } Item;

static bool push_operands(const Node *n, const Ex *idx, Item *it, int *count) {
    int operands = n->op == P_map ? n->nin : 1;
    for (int k = 0; k < operands; k++) {
        const Val *x = n->in[k];
        Ex *in = NEWN(Ex, x->rank + 1);
        if (*count == MAX_LEAVES) return false;
        if (n->op == P_reduce) {
            for (int i = 0, o = 0, g = 0; i < x->rank; i++) {
                if (g < n->nex && e_is(n->ex[g], i)) in[i] = e_index("k", x->shape[i]), g++;
                else in[i] = idx[o++];
            }
        } else if (n->op == P_gather) {
            memcpy(in, idx, sizeof *in * (size_t)x->rank);
            in[n->axis] = e_index("g", x->shape[n->axis]);
        } else val_index_in(n, k, idx, in);
        it[(*count)++] = (Item){n->in[k], in};
    }
    return true;
}

static bool walkable(Prim p) {
    return p == P_map || p == P_reshape || p == P_permute || p == P_expand || p == P_slice || p == P_pad || p == P_window ||
           p == P_copy || p == P_reduce || p == P_gather;
}

// The axis of the root that the first operand runs along in memory whose own is not the root's last one, or -1.
static int operand_axis(Lower *l, const Root *r) {
    Item it[MAX_LEAVES];
    int n = 1, rank = r->expr->rank;
    Ex var[MAX_RANK];
    for (int i = 0; i < rank; i++) var[i] = e_index("i", r->expr->shape[i]);
    it[0] = (Item){r->expr, var};
    for (int i = 0; i < n; i++) {
        const Buf *b = l->buf[it[i].v->id];
        const Node *node = it[i].v->node;
        if (b && (i || r->expr != r->val)) {
            int last = b->rank ? b->order[b->rank - 1] : 0;
            for (int a = 0; b->rank == rank && a + 1 < rank; a++)
                if (it[i].idx[last] == var[a] && var[a]->kind == X_VAR) return a;
        } else if (walkable(node->op) && !push_operands(node, it[i].idx, it, &n)) return -1;
    }
    return -1;
}

// By value id: whether a call reads it.
static bool *read_by_calls(const Graph *g) {
    bool *read = NEWN(bool, g->nval + 1);
    for (int i = 0; i < g->nnode; i++)
        for (int k = 0; k < g->node[i]->nin && g->node[i]->op == P_call; k++) read[g->node[i]->in[k]->id] = true;
    return read;
}

void layout(Lower *l) {
    const Target *target = target_find(l->opt ? l->opt->target : NULL);
    const int slack = (target && target->lanes > 8 ? target->lanes : 8) * MAX_NV; // as much as a tile may read past its end
    bool *done = NEWN(bool, l->prog->nbufs + 1), *fixed = read_by_calls(l->g);
    for (int i = 0; i < l->nroots; i++) {
        const Root *r = &l->roots[i];
        Buf *b = r->buf;
        if (b->kind != B_WORK || done[b->id]) continue;
        done[b->id] = true;
        if (b->rank >= 2 && (b->dt == F32 || b->dt == F64 || b->dt == I32)) b->slack = slack;
        if (b->rank >= 3 && r->expr->rank == b->rank && !(b->val && fixed[b->val->id])) {
            int axis = weight_axis(l, r);
            if (axis < 0) axis = operand_axis(l, r);
            if (axis >= 0) innermost(b, axis);
        }
        buf_strides(b);
    }
}
