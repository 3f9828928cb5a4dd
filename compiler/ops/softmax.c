// SPDX-License-Identifier: Apache-2.0
// Softmax and its relatives. Before opset 13 they work on all axes from `axis` on, taken as one.
#include <string.h>
#include "ops/op.h"

// The axes of a softmax: their number, at most the rank of input 0.
static int softmax_axes(Op *o, int *axes) {
    int rank = o->in[0]->rank, n = 0;
    int first = axis_of(o, attr_int(o, "axis"), rank);
    for (int a = first; a < (o->since >= 13 ? first + 1 : rank); a++)
        axes[n++] = a;
    return n;
}

// y = e / sum(e), e = exp(x - max(x))
static void op_softmax(Op *o) {
    int axes[MAX_RANK], n = softmax_axes(o, axes);
    o->out[0] = softmax_of(o, o->in[0], n, axes);
}

// y = x - max(x) - log(sum(exp(x - max(x))))
static void op_log_softmax(Op *o) {
    int axes[MAX_RANK], n = softmax_axes(o, axes);
    o->out[0] = log_softmax_of(o, o->in[0], n, axes);
}

// y[i] = i is the first index of the maximum
static void op_hardmax(Op *o) {
    int axes[MAX_RANK], n = softmax_axes(o, axes), axis = axes[0];
    Val *x = n > 1 ? merge_axes(o, o->in[0], axis, n) : o->in[0];
    Val *at = unsqueeze(o, b_reduce(o->g, RED_ARGMAX, x, 1, &axis, false), axis);
    Val *y = cast(o, map2(o, FN_eq, index_along(o, I64, axis, x->rank, x->shape), at), x->dt);
    o->out[0] = n > 1 ? reshape(o, y, o->in[0]->rank, o->in[0]->shape) : y;
}

// The loss of log-probabilities [N, C, d..] for targets [N, d..]: -w[t]*logp[t], 0 where t is ignore_index;
// mean: sum of losses / sum of the weights taken.
static Val *nll(Op *o, Val *logp, Val *target, Val *weight) {
    if (logp->rank < 2 || target->rank != logp->rank - 1)
        op_fail(o, "inputs 0 and 1 have %d and %d dimensions", logp->rank, target->rank);
    Val *zero = like(o, logp, 0), *ignored = NULL, *w = NULL;
    Val *t = cast(o, target, I64);
    if (attr_has(o, "ignore_index")) {
        Val *none = scalar_int(o, I64, 0);
        ignored = map2(o, FN_eq, t, scalar_int(o, I64, attr_int(o, "ignore_index")));
        t = select(o, ignored, none, t);
    }
    Val *loss = map1(o, FN_neg, squeeze(o, take_along(o, logp, unsqueeze(o, t, 1), 1), 1));
    if (weight)
        w = take(o, weight, t, 0);
    else if (ignored)
        w = full(o, logp->dt, 1, t->rank, t->shape);
    if (weight)
        loss = mul(o, loss, w);
    if (ignored) {
        loss = select(o, ignored, zero, loss);
        w = select(o, ignored, zero, w);
    }
    const char *reduction = attr_str(o, "reduction");
    if (strcmp(reduction, "none") == 0)
        return loss;
    if (strcmp(reduction, "sum") == 0)
        return reduce_sum(o, loss, -1, NULL, false);
    if (strcmp(reduction, "mean") != 0)
        op_fail(o, "reduction is '%s', not none, sum or mean", reduction);
    if (!w)
        return reduce_mean(o, loss, -1, NULL, false);
    return divide(o, reduce_sum(o, loss, -1, NULL, false), reduce_sum(o, w, -1, NULL, false));
}

static Val *weight_input(Op *o) { return o->nin > 2 ? o->in[2] : NULL; }

// loss = nll(x)
static void op_nll_loss(Op *o) { o->out[0] = nll(o, o->in[0], o->in[1], weight_input(o)); }

// loss = nll(log_softmax(x)) with the classes along axis 1
static void op_softmax_cross_entropy(Op *o) {
    if (o->in[0]->rank < 2)
        op_fail(o, "input 0 has %d dimensions, needs at least 2", o->in[0]->rank);
    Val *logp = log_softmax_of(o, o->in[0], 1, (int[]){1});
    o->out[0] = nll(o, logp, o->in[1], weight_input(o));
    if (o->nout > 1)
        o->out[1] = logp;
}

const OpDef ops_softmax[] = {
    {"Softmax", 1, op_softmax}, {"LogSoftmax", 1, op_log_softmax}, {"Hardmax", 1, op_hardmax},
    {"NegativeLogLikelihoodLoss", 12, op_nll_loss},
    {"SoftmaxCrossEntropyLoss", 12, op_softmax_cross_entropy}, {NULL, 0, NULL},
};
