// SPDX-License-Identifier: Apache-2.0
// The interpreter's sequences: a sequence is its items; an optional has one or none.
#include "tensor/eval.h"

static Tensor *list(const Val *type, int n) {
    Tensor *t = NEW(Tensor);
    t->kind = type->kind;
    t->dt = type->dt;
    t->nitem = n;
    t->item = NEWN(Tensor *, n + 1);
    return t;
}

static Tensor *number(DType dt, int64_t i) {
    Tensor *t = NEW(Tensor);
    t->dt = dt;
    t->data = data_new(dt, 1);
    data_set(t->data, 0, (Scalar){ .i = i });
    return t;
}

// The position that operand k says of n, or `none` without it; -1 outside of them.
static int position(const Node *n, Tensor *const *in, int k, int count, int none) {
    if (k >= n->nin) return none;
    int64_t at = data_get(in[k]->data, 0).i;
    if (at < 0) at += k == 2 ? count - 1 : count; // insertion may be behind the last one
    return at < 0 || at >= count ? -1 : (int)at;
}

int eval_list_new(const Node *n, Tensor *const *in, Tensor **out) {
    out[0] = list(&n->out[0], n->nin);
    for (int i = 0; i < n->nin; i++) out[0]->item[i] = in[i];
    return CNN_OK;
}

int eval_list_insert(const Node *n, Tensor *const *in, Tensor **out) {
    const Tensor *s = in[0];
    int at = position(n, in, 2, s->nitem + 1, s->nitem);
    if (at < 0) return CNN_EINDEX;
    out[0] = list(&n->out[0], s->nitem + 1);
    for (int i = 0; i <= s->nitem; i++) out[0]->item[i] = i < at ? s->item[i] : i == at ? in[1] : s->item[i - 1];
    return CNN_OK;
}

int eval_list_erase(const Node *n, Tensor *const *in, Tensor **out) {
    const Tensor *s = in[0];
    int at = position(n, in, 1, s->nitem, s->nitem - 1);
    if (at < 0) return CNN_EINDEX;
    out[0] = list(&n->out[0], s->nitem - 1);
    for (int i = 0; i + 1 < s->nitem; i++) out[0]->item[i] = s->item[i < at ? i : i + 1];
    return CNN_OK;
}

int eval_list_at(const Node *n, Tensor *const *in, Tensor **out) {
    int at = position(n, in, 1, in[0]->nitem, 0);
    if (at < 0) return CNN_EINDEX;
    out[0] = in[0]->item[at];
    return out[0]->rank == n->out[0].rank ? CNN_OK : CNN_ESHAPE;
}

static Tensor *shape_tensor(const Tensor *t) {
    Tensor *s = NEW(Tensor);
    s->dt = I64;
    s->rank = 1;
    s->shape[0] = t->rank;
    s->data = data_new(I64, (size_t)t->rank);
    for (int i = 0; i < t->rank; i++) data_set(s->data, (size_t)i, (Scalar){ .i = t->shape[i] });
    return s;
}

int eval_list_shape(const Node *n, Tensor *const *in, Tensor **out) {
    int at = position(n, in, 1, in[0]->nitem, 0);
    int64_t rank = -1;
    if (at < 0) return CNN_EINDEX;
    out[0] = shape_tensor(in[0]->item[at]);
    return e_is_const(n->out[0].shape[0], &rank) && rank == out[0]->shape[0] ? CNN_OK : CNN_ESHAPE;
}

int eval_list_length(const Node *n, Tensor *const *in, Tensor **out) {
    (void)n;
    out[0] = number(I64, in[0]->nitem);
    return CNN_OK;
}

int eval_list_given(const Node *n, Tensor *const *in, Tensor **out) {
    (void)n;
    out[0] = number(BOOL, in[0]->nitem > 0);
    return CNN_OK;
}

int eval_list_get(const Node *n, Tensor *const *in, Tensor **out) {
    (void)n;
    if (in[0]->nitem == 0) return CNN_EVALUE;
    out[0] = in[0]->item[0];
    return CNN_OK;
}

// The items of a sequence joined, without data yet; NULL where they do not fit.
static Tensor *joined(const Node *n, const Tensor *s, int64_t rank) {
    const int *aux = n->aux;
    const int axis = aux[0], stack = aux[1];
    const Tensor *first = s->nitem ? s->item[0] : NULL;
    if (!first || first->rank + stack != rank) return NULL;
    Tensor *t = NEW(Tensor);
    t->dt = first->dt;
    t->rank = first->rank + stack;
    for (int k = 0; k < t->rank; k++) t->shape[k] = k == axis ? 0 : first->shape[k - (stack && k > axis)];
    for (int i = 0; i < s->nitem; i++) {
        const Tensor *x = s->item[i];
        if (x->rank != first->rank) return NULL;
        for (int k = 0; k < x->rank; k++)
            if ((stack || k != axis) && x->shape[k] != first->shape[k]) return NULL;
        t->shape[axis] += stack ? 1 : x->shape[axis];
    }
    return t;
}

int eval_list_join_shape(const Node *n, Tensor *const *in, Tensor **out) {
    int64_t rank = -1;
    e_is_const(n->out[0].shape[0], &rank);
    const Tensor *t = joined(n, in[0], rank);
    if (t) out[0] = shape_tensor(t);
    return t ? CNN_OK : CNN_ESHAPE;
}

int eval_list_join(const Node *n, Tensor *const *in, Tensor **out) {
    const int *aux = n->aux;
    const int axis = aux[0], stack = aux[1];
    const Tensor *s = in[0];
    Tensor *t = joined(n, s, n->out[0].rank);
    if (!t) return CNN_ESHAPE;
    t->data = data_new(t->dt, (size_t)tensor_numel(t));
    int64_t outer = 1, inner = 1, at = 0;
    for (int k = 0; k < axis; k++) outer *= t->shape[k];
    for (int k = axis + 1; k < t->rank; k++) inner *= t->shape[k];
    for (int64_t o = 0; o < outer; o++)
        for (int i = 0; i < s->nitem; i++) {
            int64_t m = inner * (stack ? 1 : s->item[i]->shape[axis]);
            for (int64_t k = 0; k < m; k++) data_set(t->data, (size_t)at++, data_get(s->item[i]->data, (size_t)(o * m + k)));
        }
    out[0] = t;
    return CNN_OK;
}
