// SPDX-License-Identifier: Apache-2.0
// Rules that replace a value by a cheaper one which is equal in every bit that the definitions fix: NaN,
// infinities and -0 included (x + 0 is not x, x + -0 is).
#include "loop/loop.h"
#include "opt/simplify.h"
#include "opt/rewrite.h"
#include <string.h>

bool simplify_exact;
int simplify_dot;

enum { MAX_STEPS = 32, MAX_LOOK = 64, MAX_DATA = 4096 };

static bool same_bytes(const Data *d) {
    size_t size = dt_size(d->dt);
    if (d->splat || d->n == 1) return d->n > 0;
    if (d->n == 0 || d->n > MAX_DATA || dt_is_moved(d->dt)) return false;
    for (size_t i = 1; i < d->n; i++)
        if (memcmp(d->p, (const char *)d->p + i * size, size)) return false;
    return true;
}

// Whether every element of v is s: looks through what only moves elements. An empty tensor has none.
bool is_splat(const Val *v, Scalar *s) {
    for (int step = 0; step < MAX_LOOK; step++) {
        const Node *n = v->node;
        switch (n->op) {
        case P_const:
            if (dt_is_moved(n->data->dt) || !same_bytes(n->data)) return false;
            *s = data_get(n->data, 0);
            return true;
        case P_reshape: case P_permute: case P_expand: case P_slice: case P_window: case P_copy: v = n->in[0]; break;
        default: return false;
        }
    }
    return false;
}

// A tensor of equal elements: one element, expanded.
Val *splat_of(Graph *g, DType dt, int rank, const Ex *shape, Scalar s) {
    Ex ones[MAX_RANK];
    int64_t n;
    bool fixed = true;
    for (int i = 0; i < rank; i++) {
        ones[i] = e_int(1);
        fixed = fixed && e_is_const(shape[i], &n);
    }
    Data *d = data_new(dt, 1);
    data_set(d, 0, s);
    if (!fixed) return b_expand(g, b_const(g, d, rank, ones), shape);
    e_is_const(e_product(rank, shape), &n);
    d->splat = n != 1;
    d->n = (size_t)n;
    return b_const(g, d, rank, shape);
}

Val *simplify_value(Graph *g, Val *v) {
    static Rule *const rules[] = { rules_map, rules_view, rules_reduce, rules_integer };
    for (int step = 0; step < MAX_STEPS; step++) {
        Val *better = NULL;
        if (v->kind != K_TENSOR || v->node->nout != 1) return v;
        for (size_t i = 0; i < sizeof rules / sizeof *rules && !better; i++) better = rules[i](g, v);
        if (!better || better == v) return v;
        if (better->dt != v->dt || !val_same_shape(better, v)) return v; // extents that only a guard makes equal
        v = better;
    }
    return v;
}

static Val *after(Graph *g, Val *v, void *ctx) {
    (void)ctx;
    return simplify_value(g, v);
}

void pass_simplify(Graph *g, const Options *opt) {
    const Target *target = target_find(opt ? opt->target : NULL);
    simplify_exact = opt && opt->exact;
    const bool none = opt && ((opt->emit_onnx && !opt->output) || opt->multi_target); // ONNX has no such operator; clones no such instruction
    simplify_dot = target && !none ? target->dot : 0;
    Rewrite rw = { .after = after };
    graph_adopt(g, graph_rewrite(g, g->parent, &rw));
}
