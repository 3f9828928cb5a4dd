// SPDX-License-Identifier: Apache-2.0
// Sums of products of dequantized numbers as sums of products of the integers: where a = s*x and b = t*y for integers
// x, y of 8 bits and scales that are the same along the sum, sum(a*b) is s*t*sum(x*y). That is what QuantizeLinear and
// DequantizeLinear around a layer mean, and closer to the real numbers than a sum of rounded products. --exact leaves
// the operators as they are; training needs the floats; functions for several processors have no instruction for it.
#include "opt/integer.h"
#include "opt/rewrite.h"
#include "opt/simplify.h"

enum { MAX_STEPS = 32 };

// v = scale * x, element by element. scale: of v's shape, or a scalar.
typedef struct { Val *x, *scale; } Quantized;

static Val *map2(Graph *g, Fn fn, Val *a, Val *b) { return b_map(g, fn, a->dt, 2, (Val *[]){a, b}); }

static bool is_integer(const Val *v) { return v->node->op == P_map && v->node->fn == FN_cast && v->node->in[0]->dt == I32; }

static bool is_zero(Val *v) {
    const Data *d = val_const(v);
    return d && d->n == 1 && data_get(d, 0).f == 0;
}

static bool take_apart(Graph *g, Val *v, Quantized *q, int step) {
    Node *n = v->node;
    if (step == MAX_STEPS || v->dt != F32) return false;
    if (n->op == P_map && n->fn == FN_mul) {
        int k = is_integer(n->in[0]) ? 0 : 1;
        if (!is_integer(n->in[k])) return false;
        Val *one = only_element(g, n->in[1 - k]);
        *q = (Quantized){n->in[k]->node->in[0], one ? one : n->in[1 - k]};
        return true;
    }
    if (!is_view(n->op) && n->op != P_pad) return false;
    if (!take_apart(g, n->in[0], q, step + 1)) return false;
    if (n->op == P_pad) {
        if (q->scale->rank || !is_zero(n->in[1])) return false;
        q->x = b_pad(g, q->x, n->axis, n->ex[0], n->ex[1], b_const(g, data_new(I32, 1), 0, NULL));
        return true;
    }
    q->x = node_again(g, n, (Val *[]){q->x});
    if (q->scale->rank) q->scale = node_again(g, n, (Val *[]){q->scale});
    return true;
}

// Whether elements of v that differ along the marked axes only are the same, as views tell.
static bool same_along(Val *v, const bool *sum) {
    Ex *idx = NEWN(Ex, v->rank + 1), var[MAX_RANK];
    for (int i = 0; i < v->rank; i++) idx[i] = var[i] = e_index("i", v->shape[i]);
    const Val *top = v;
    for (int step = 0; step < MAX_STEPS && is_view(v->node->op); step++) {
        Ex *in = NEWN(Ex, v->node->in[0]->rank + 1);
        val_index_in(v->node, 0, idx, in);
        idx = in, v = v->node->in[0];
    }
    for (int i = 0; i < v->rank; i++)
        for (int k = 0; k < top->rank; k++)
            if (sum[k] && var[k]->kind == X_VAR && e_uses(idx[i], var[k])) return false;
    return true;
}

// The scale of each element of the sum, which has no marked axes; NULL: it is not the same along them.
static Val *scale_of(Graph *g, Val *s, const bool *sum, const Val *of) {
    if (!s->rank) return scalar_like(g, s, of);
    if (!same_along(s, sum)) return NULL;
    for (int i = 0; i < s->rank; i++)
        if (sum[i]) s = b_slice(g, s, i, e_int(0), e_int(1), e_int(1));
    return b_reshape(g, s, of->rank, of->shape);
}

static Val *integer_form(Graph *g, Val *v) {
    const Node *n = v->node;
    if (n->op != P_reduce || n->fn != RED_ADD || v->dt != F32 || n->nex == 0) return v;
    const Node *m = n->in[0]->node;
    Quantized a, b;
    if (m->op != P_map || m->fn != FN_mul || !take_apart(g, m->in[0], &a, 0) || !take_apart(g, m->in[1], &b, 0)) return v;
    bool sum[MAX_RANK] = {0};
    int axes[MAX_RANK];
    for (int i = 0; i < n->nex; i++) {
        int64_t axis = 0;
        e_is_const(n->ex[i], &axis);
        sum[axes[i] = (int)axis] = true;
    }
    for (int i = 0; i < n->in[0]->rank; i++)
        if (sum[i] && !e_lt(e_int(0), n->in[0]->shape[i])) return v;
    if (!dot_possible(g, a.x, b.x, sum)) return v;
    Val *s = scale_of(g, a.scale, sum, v), *t = scale_of(g, b.scale, sum, v);
    if (!s || !t) return v;
    Val *x = b_reduce(g, RED_ADD, map2(g, FN_mul, a.x, b.x), n->nex, axes, false);
    return map2(g, FN_mul, b_map(g, FN_cast, F32, 1, &x), map2(g, FN_mul, s, t));
}

static Val *after(Graph *g, Val *v, void *ctx) {
    (void)ctx;
    return integer_form(g, v);
}

void pass_quantized(Graph *g, const Options *opt) {
    if (opt && (opt->exact || opt->train || opt->grad || opt->multi_target)) return;
    Rewrite rw = {.after = after};
    graph_adopt(g, graph_rewrite(g, g->parent, &rw));
}
