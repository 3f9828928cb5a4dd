// SPDX-License-Identifier: Apache-2.0
// ai.onnx.preview.training: the updates of optimizers. Inputs: rate r, count t, then for n tensors each of x, the
// gradients g, and the states; outputs: for n tensors each of the new x and states.
#include "ops/nn.h"

#include <string.h>

typedef struct {
    Val *r, *t, *x, *g, *state[2];
} Update; // of one tensor; x and the states become the new ones

static Val *times(Op *o, Val *x, double k) { return mul(o, x, like(o, x, k)); }

/* t > 0 ? a : b as numbers of x's type */
static Val *if_started(Op *o, const Update *u, Val *a, Val *b) {
    return select(o, map2(o, FN_lt, scalar_int(o, I64, 0), u->t), a, b);
}

/* h += g^2; x -= r/(1 + t decay) g / (sqrt(h) + eps), g with the regularization's gradient */
static void adagrad(Op *o, Update *u) {
    Val *rate =
        divide(o, u->r, add(o, times(o, cast(o, u->t, u->r->dt), attr_float(o, "decay_factor")), like(o, u->r, 1)));
    Val *h = add(o, u->state[0], mul(o, u->g, u->g));
    Val *root = add(o, map1(o, FN_sqrt, h), like(o, h, attr_float(o, "epsilon")));
    u->x = sub(o, u->x, divide(o, mul(o, cast(o, rate, u->x->dt), u->g), root));
    u->state[0] = h;
}

/* v = a v + (1-a) g; h = b h + (1-b) g^2; x -= r sqrt(1 - b^t)/(1 - a^t) v / (sqrt(h) + eps) */
static void adam(Op *o, Update *u) {
    double a = attr_float(o, "alpha"), b = attr_float(o, "beta");
    Val *t = cast(o, u->t, u->r->dt), *one = like(o, t, 1);
    Val *v = add(o, times(o, u->state[0], a), times(o, u->g, 1 - a));
    Val *h = add(o, times(o, u->state[1], b), times(o, mul(o, u->g, u->g), 1 - b));
    Val *root = add(o, map1(o, FN_sqrt, h), like(o, h, attr_float(o, "epsilon")));
    Val *bias = divide(o, map1(o, FN_sqrt, sub(o, one, map2(o, FN_pow, like(o, t, b), t))),
                       sub(o, one, map2(o, FN_pow, like(o, t, a), t)));
    Val *rate = if_started(o, u, mul(o, u->r, bias), u->r);
    Val *x = sub(o, u->x, mul(o, cast(o, rate, u->x->dt), divide(o, v, root)));
    u->x = times(o, x, 1 - attr_float(o, "norm_coefficient_post"));
    u->state[0] = v, u->state[1] = h;
}

/* v = a v + b g (b = 1 at first); x -= r v, or r (g + a v) for nesterov */
static void momentum(Op *o, Update *u) {
    double a = attr_float(o, "alpha");
    Val *b = if_started(o, u, like(o, u->x, attr_float(o, "beta")), like(o, u->x, 1));
    Val *v = add(o, times(o, u->state[0], a), mul(o, b, u->g));
    Val *step = strcmp(attr_str(o, "mode"), "nesterov") ? v : add(o, u->g, times(o, v, a));
    u->x = sub(o, u->x, mul(o, cast(o, u->r, u->x->dt), step));
    u->state[0] = v;
}

static void update_all(Op *o, int states, void (*one)(Op *, Update *)) {
    int n = (o->nin - 2) / (2 + states);
    if (n < 1 || o->nin != 2 + n * (2 + states) || o->nout > n * (1 + states))
        op_fail(o, "%d inputs and %d outputs do not fit", o->nin, o->nout);
    for (int i = 0; i < n; i++) {
        Update u = {.r = o->in[0], .t = cast(o, o->in[1], I64), .x = o->in[2 + i], .g = o->in[2 + n + i]};
        u.g = add(o, times(o, u.x, attr_float(o, "norm_coefficient")), u.g);
        for (int s = 0; s < states; s++) u.state[s] = o->in[2 + (2 + s) * n + i];
        one(o, &u);
        Val *out[3] = {u.x, u.state[0], u.state[1]};
        for (int s = 0; s <= states; s++)
            if (s * n + i < o->nout) o->out[s * n + i] = out[s];
    }
}

static void adagrad_op(Op *o) { update_all(o, 1, adagrad); }

static void adam_op(Op *o) { update_all(o, 2, adam); }

static void momentum_op(Op *o) { update_all(o, 1, momentum); }

/* dy/dx for each x of xs, of the graph that leads from them to y: values that are named, and given as inputs too */
static void gradient(Op *o) {
    const DataStr *xs;
    int n = attr_strs(o, "xs", &xs);
    const char *name = attr_str(o, "y");
    Val *y = named_value(o, name);
    if (!y || !dt_is_float(y->dt)) op_fail(o, "y, '%s', is no floating point tensor of this graph", name);
    if (n < 1 || n > o->nin || o->nout > n) op_fail(o, "%d names in xs for %d inputs and %d outputs", n, o->nin, o->nout);
    for (int i = 0; i < n; i++) {
        const char *x = intern_n(xs[i].p, xs[i].n);
        if (named_value(o, x) != o->in[i]) op_fail(o, "a gradient at another value than '%s' is not supported", x);
        if (!dt_is_float(o->in[i]->dt)) op_fail(o, "'%s' is no floating point tensor", x);
    }
    Val **d = grad(o->g, y, n, o->in);
    if (!d) op_fail(o, "'%s' cannot be differentiated", name);
    for (int i = 0; i < o->nout; i++) o->out[i] = d[i];
}

const OpDef ops_optimizer[] = {
    {"Adagrad", 1, adagrad_op},
    {"Adam", 1, adam_op},
    {"Gradient", 1, gradient},
    {"Momentum", 1, momentum_op},
    {NULL, 0, NULL},
};
