// SPDX-License-Identifier: Apache-2.0
// Losses: the mean over all predictions, of an output of the model and an input `target`.
#include "train/train.h"

#include <string.h>

typedef struct {
    Graph *g;
    Val *y;      // the output that is compared, in at least float32
    Loss *l;
} Maker;

// ---- pieces ---------------------------------------------------------------------------------------

// The extent of an input that is to be equal to e: e itself where an input can have it.
static Ex input_extent(Graph *g, Ex e, int axis) {
    int64_t c;
    if (e_is_const(e, &c)) return e;
    for (int i = 0; i < g->nin; i++)
        for (int k = 0; g->in[i]->kind == K_TENSOR && k < g->in[i]->rank; k++)
            if (g->in[i]->shape[k] == e && e->kind == X_VAR) return e;
    Ex s = e_sym(arena_printf("target_%d", axis), 0, INT64_MAX);
    graph_guard(g, G_EQ, s, e, "target");
    return s;
}

// The input `target`, of y's shape, without the axis `drop` if that is not negative.
static Val *target_input(Graph *g, DType dt, const Val *y, int drop) {
    Ex shape[MAX_RANK], want[MAX_RANK];
    int n = 0;
    for (int i = 0; i < g->nin; i++)
        if (g->in[i]->name && !strcmp(g->in[i]->name, "target")) fatal("--loss: the model has an input named target");
    for (int i = 0; i < y->rank; i++) {
        if (i == drop) continue;
        want[n] = y->shape[i];
        shape[n++] = input_extent(g, y->shape[i], i);
    }
    Val *t = b_input(g, intern("target"), dt, n, shape);
    return b_reshape(g, t, n, want);
}

static Val *mean(Graph *g, Val *x) {
    Val *sum = total(g, x);
    return fn2(g, FN_div, sum, scalar_of(g, x->dt, val_numel(x)));
}

static void starts_here(Maker *m, Val *loss) {
    *m->l = (Loss){.loss = loss, .root = loss, .seed = splat_like(m->g, loss, 1)};
}

// Where the classes are: the axis of the softmax that was recognized, else ONNX's, axis 1.
static int class_axis(const Val *y) { return y->rank > 1 ? 1 : 0; }

// ---- cross-entropy --------------------------------------------------------------------------------

// x[.., c, ..] == t[.., ..] for each class c along axis, as numbers
static Val *one_hot(Graph *g, const Val *x, Val *index, int axis) {
    Ex one[MAX_RANK];
    for (int i = 0; i < x->rank; i++) one[i] = i == axis ? x->shape[i] : e_int(1);
    Val *c = b_expand(g, b_reshape(g, b_iota(g, I64, x->shape[axis]), x->rank, one), x->shape);
    return cast_to(g, fn2(g, FN_eq, c, b_expand(g, index, x->shape)), x->dt);
}

// index with an axis of extent 1 put in
static Val *with_axis(Graph *g, Val *index, const Val *x, int axis) {
    Ex s[MAX_RANK];
    for (int i = 0; i < x->rank; i++) s[i] = i == axis ? e_int(1) : x->shape[i];
    return b_reshape(g, index, x->rank, s);
}

// loss = mean(log(sum(exp(x))) - sum(t * x)), t the target's distribution: d loss/d x = (softmax(x) * sum(t) - t) / n
static void cross_entropy(Maker *m, Val *x, int axis, bool probabilities) {
    Graph *g = m->g;
    DType dt = x->dt == F64 ? F64 : F32;
    Val *root = x, *t, *picked, *weight = NULL;
    x = cast_to(g, x, dt);
    Val *s = fn2(g, FN_sub, x, reduced(g, RED_MAX, x, 1, &axis)), *e = fn1(g, FN_exp, s);
    Val *sum = b_reduce(g, RED_ADD, e, 1, &axis, false), *lse = fn1(g, FN_log, sum);
    if (probabilities) {
        t = target_input(g, dt, x, -1);
        weight = b_reduce(g, RED_ADD, t, 1, &axis, false);
        picked = b_reduce(g, RED_ADD, fn2(g, FN_mul, t, s), 1, &axis, false);
        lse = fn2(g, FN_mul, lse, weight);
    } else {
        Val *index = with_axis(g, target_input(g, I64, x, axis), x, axis);
        t = one_hot(g, x, index, axis);
        picked = b_reshape(g, b_gather(g, s, index, axis), lse->rank, lse->shape);
    }
    Val *p = fn2(g, FN_div, e, spread(g, sum, x, 1, &axis));
    if (weight) p = fn2(g, FN_mul, p, spread(g, weight, x, 1, &axis));
    Val *d = fn2(g, FN_sub, p, t), *n = scalar_of(g, dt, val_numel(lse));
    d = fn2(g, FN_div, d, stretch(g, n, d->rank, d->shape));
    *m->l = (Loss){.loss = mean(g, fn2(g, FN_sub, lse, picked)), .root = root, .seed = cast_to(g, d, root->dt)};
}

static void make_cross_entropy(Maker *m, bool probabilities) {
    Val *x = m->y;
    int axes[MAX_RANK], naxes = 0, axis = class_axis(x);
    if (x->rank == 0) fatal("--loss: cross_entropy needs an output with classes, this one is a number");
    if (match_softmax(x, &x, &naxes, axes) && naxes == 1) {
        axis = axes[0];
        fprintf(stderr, "%s: note: the loss takes the input of the final Softmax\n", diag_file);
    } else {
        x = m->y;
    }
    cross_entropy(m, x, axis, probabilities);
}

static void make_cross_entropy_class(Maker *m) { make_cross_entropy(m, false); }
static void make_cross_entropy_probs(Maker *m) { make_cross_entropy(m, true); }

// loss = -mean(y[t]), y log-probabilities
static void make_nll(Maker *m) {
    Graph *g = m->g;
    Val *y = cast_to(g, m->y, m->y->dt == F64 ? F64 : F32);
    int axis = class_axis(y);
    if (y->rank == 0) fatal("--loss: nll needs an output with classes, this one is a number");
    Val *t = with_axis(g, target_input(g, I64, y, axis), y, axis);
    starts_here(m, fn1(g, FN_neg, mean(g, b_gather(g, y, t, axis))));
}

// ---- of numbers -----------------------------------------------------------------------------------

static Val *difference(Maker *m) { return fn2(m->g, FN_sub, m->y, target_input(m->g, m->y->dt, m->y, -1)); }

// loss = mean((y - t)^2)
static void make_mse(Maker *m) {
    Val *d = difference(m);
    starts_here(m, mean(m->g, fn2(m->g, FN_mul, d, d)));
}

// loss = mean(|y - t|)
static void make_l1(Maker *m) { starts_here(m, mean(m->g, fn1(m->g, FN_abs, difference(m)))); }

// loss = mean(log(1 + exp(x)) - t*x)
static void logistic(Maker *m, Val *x) {
    Val *t = target_input(m->g, x->dt, x, -1);
    starts_here(m, mean(m->g, fn2(m->g, FN_sub, fn1(m->g, FN_softplus, x), fn2(m->g, FN_mul, t, x))));
}

static void make_bce_with_logits(Maker *m) { logistic(m, m->y); }

// loss = -mean(t*log(y) + (1 - t)*log(1 - y)), logarithms at least -100; of a Sigmoid by its input
static void make_bce(Maker *m) {
    Graph *g = m->g;
    Val *y = m->y;
    const Node *n = y->node;
    if (n->op == P_map && n->fn == FN_sigmoid) {
        fprintf(stderr, "%s: note: the loss takes the input of the final Sigmoid\n", diag_file);
        logistic(m, n->in[0]);
        return;
    }
    Val *t = target_input(g, y->dt, y, -1), *one = splat_like(g, y, 1), *least = splat_like(g, y, -100);
    Val *a = fn2(g, FN_max, fn1(g, FN_log, y), least), *b = fn2(g, FN_max, fn1(g, FN_log, fn2(g, FN_sub, one, y)), least);
    Val *sum = fn2(g, FN_add, fn2(g, FN_mul, t, a), fn2(g, FN_mul, fn2(g, FN_sub, one, t), b));
    starts_here(m, fn1(g, FN_neg, mean(g, sum)));
}

// ---- by name --------------------------------------------------------------------------------------

static const struct { const char *name; void (*make)(Maker *m); } losses[] = {
    {"cross_entropy", make_cross_entropy_class}, {"cross_entropy_probs", make_cross_entropy_probs},
    {"mse", make_mse}, {"l1", make_l1}, {"bce", make_bce}, {"bce_with_logits", make_bce_with_logits}, {"nll", make_nll},
};
enum { NLOSS = sizeof losses / sizeof *losses };

static Val *find_output(Graph *g, const char *name) {
    for (int i = 0; i < g->nout; i++)
        if (!strcmp(g->out_name[i], name)) return g->out[i];
    return NULL;
}

static bool is_float_tensor(const Val *v) { return v->kind == K_TENSOR && dt_is_float(v->dt); }

// The model's own loss: an output; the sum of its elements where it has several.
static bool take_output(Graph *g, const char *name, Loss *l) {
    Val *v = find_output(g, name);
    if (!v) return error("--loss: there is no output '%s' (--output makes an inner tensor one)", name), false;
    if (!is_float_tensor(v)) return error("--loss: output '%s' is not a floating point tensor", name), false;
    Maker m = {.g = g, .l = l};
    starts_here(&m, total(g, v));
    return true;
}

// The only output, if it is a number.
static bool take_only_output(Graph *g, Loss *l) {
    if (g->nout == 1 && is_float_tensor(g->out[0]) && e_is(val_numel(g->out[0]), 1)) return take_output(g, g->out_name[0], l);
    Text t = {0};
    for (int i = 0; i < NLOSS; i++) put(&t, "%s, ", losses[i].name);
    error("--loss is missing: %sor output:NAME", t.s);
    return false;
}

bool loss_build(Graph *g, const Options *opt, Loss *l) {
    const char *s = opt->loss, *colon = s ? strchr(s, ':') : NULL;
    size_t n = colon ? (size_t)(colon - s) : s ? strlen(s) : 0;
    if (!s) return take_only_output(g, l);
    if (colon && n == 6 && !memcmp(s, "output", n)) return take_output(g, colon + 1, l);
    Maker m = {.g = g, .y = colon ? find_output(g, colon + 1) : NULL, .l = l};
    for (int i = 0; i < g->nout && !colon && !m.y; i++)
        if (is_float_tensor(g->out[i])) m.y = g->out[i];
    if (!m.y || !is_float_tensor(m.y)) return error("--loss: there is no floating point output%s%s", colon ? " named " : "", colon ? colon + 1 : ""), false;
    for (int i = 0; i < NLOSS; i++)
        if (strlen(losses[i].name) == n && !memcmp(losses[i].name, s, n)) {
            losses[i].make(&m);
            return true;
        }
    error("--loss: there is no loss '%s'", s);
    return false;
}
