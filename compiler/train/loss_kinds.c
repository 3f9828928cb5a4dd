// SPDX-License-Identifier: Apache-2.0
// The losses: formulas over an output y and a target t, as PyTorch defines them; by default the mean over
// all predictions.
#include "train/loss.h"

// ---- pieces ---------------------------------------------------------------------------------------

static DType wide(DType dt) { return dt == F64 ? F64 : F32; }

static Val *count_of(Graph *g, DType dt, Ex n) { return scalar_of(g, dt, n); }

// The sum, or the mean over all elements or over the first axis.
static Val *reduce_loss(Maker *m, Val *x) {
    Val *sum = total(m->g, x);
    if (m->reduction == REDUCE_SUM) return sum;
    Ex n = m->reduction == REDUCE_BATCHMEAN && x->rank ? x->shape[0] : val_numel(x);
    return fn2(m->g, FN_div, sum, count_of(m->g, x->dt, n));
}

static void starts_here(Maker *m, Val *loss) {
    m->loss = m->root = loss;
    m->seed = splat_like(m->g, loss, 1);
}

static void note(const Maker *m, const char *what) {
    if (!m->quiet) fprintf(stderr, "%s: note: the loss takes the input of the final %s\n", diag_file, what);
}

// ---- of classes -----------------------------------------------------------------------------------

// An index with an axis of extent 1 put in, repeated along x's.
static Val *with_axis(Graph *g, Val *index, const Val *x, int axis) {
    Ex s[MAX_RANK];
    for (int i = 0; i < x->rank; i++) s[i] = i == axis ? e_int(1) : x->shape[i];
    return b_reshape(g, index, x->rank, s);
}

// x[.., c, ..] == index[.., ..] for each class c along axis
static Val *is_class(Graph *g, const Val *x, Val *index, int axis) {
    Ex one[MAX_RANK];
    for (int i = 0; i < x->rank; i++) one[i] = i == axis ? x->shape[i] : e_int(1);
    Val *c = b_expand(g, b_reshape(g, b_iota(g, I64, x->shape[axis]), x->rank, one), x->shape);
    return fn2(g, FN_eq, c, b_expand(g, index, x->shape));
}

static Val *class_weights(Maker *m, const Val *x, int axis) {
    int64_t c;
    if (!m->weight) return NULL;
    if (!e_is_const(x->shape[axis], &c) || c != m->nweight)
        fatal("--loss: %d class weights for %s classes", m->nweight, e_str(x->shape[axis]));
    Data *d = data_new(x->dt, (size_t)m->nweight);
    Ex one[MAX_RANK];
    for (int i = 0; i < m->nweight; i++) data_set(d, (size_t)i, (Scalar){.f = m->weight[i]});
    for (int i = 0; i < x->rank; i++) one[i] = i == axis ? x->shape[i] : e_int(1);
    return b_expand(m->g, b_reshape(m->g, b_const(m->g, d, 1, &x->shape[axis]), x->rank, one), x->shape);
}

// The targets of classes: which is right, and how much each prediction counts.
typedef struct { Val *index, *picked, *live; } Classes; // index, live: with an axis of 1; live NULL: all count

static Classes class_target(Maker *m, const Val *x, int axis) {
    Graph *g = m->g;
    Classes c = {.index = with_axis(g, target_input(m, I64, x, axis), x, axis)};
    if (m->has_ignore) {
        Val *ignored = fn2(g, FN_eq, c.index, splat_like(g, c.index, (double)m->ignore));
        c.live = fn1(g, FN_not, ignored);
        c.picked = select_of(g, ignored, splat_like(g, c.index, 0), c.index);
    } else {
        c.picked = c.index;
    }
    return c;
}

// How many are right, i64; those that are ignored are not.
static Val *count_correct(Maker *m, const Classes *c, Val *x, int axis) {
    Graph *g = m->g;
    Val *best = b_reduce(g, RED_ARGMAX, x, 1, &axis, false);
    Val *right = fn2(g, FN_eq, with_axis(g, best, x, axis), c->index);
    if (c->live) right = fn2(g, FN_and, right, c->live);
    return total(g, cast_to(g, right, I64));
}

// 0 where a prediction does not count
static Val *where_live(Graph *g, const Classes *c, Val *x) {
    if (!c->live) return x;
    return select_of(g, b_expand(g, c->live, x->shape), x, splat_like(g, x, 0));
}

// e/C
static Val *even_share(Maker *m, const Val *x, int axis) {
    Val *n = stretch(m->g, count_of(m->g, x->dt, x->shape[axis]), x->rank, x->shape);
    return fn2(m->g, FN_div, splat_like(m->g, x, m->smoothing), n);
}

// The mass of each class: of index targets (1-e) w[t] at t, and e/C w[c] at all.
static Val *index_mass(Maker *m, const Classes *c, const Val *x, int axis, Val *weight) {
    Graph *g = m->g;
    Val *hot = cast_to(g, is_class(g, x, c->picked, axis), x->dt);
    if (weight) hot = fn2(g, FN_mul, hot, weight);
    if (m->smoothing > 0) {
        Val *each = even_share(m, x, axis);
        if (weight) each = fn2(g, FN_mul, each, weight);
        hot = fn2(g, FN_add, scaled(g, hot, 1 - m->smoothing), each);
    }
    return where_live(g, c, hot);
}

// What the sum is divided by: for indices the weights of the right classes that count.
static Val *index_norm(Maker *m, const Classes *c, const Val *x, int axis, Val *weight) {
    Graph *g = m->g;
    if (!c->live && !weight) return count_of(g, x->dt, val_numel(c->index));
    Val *w = weight ? b_gather(g, weight, c->picked, axis) : splat(g, x->dt, 1, x->rank, c->index->shape);
    return total(g, where_live(g, c, w));
}

// The parts of a cross-entropy: s = x - max(x), e = exp(s), its sum and that one's logarithm over axis.
typedef struct { Val *root, *x, *s, *e, *sum, *lse; int axis; } Softmax;

static Softmax softmax_of(Graph *g, Val *root, int axis) {
    Softmax f = {.root = root, .x = cast_to(g, root, wide(root->dt)), .axis = axis};
    f.s = fn2(g, FN_sub, f.x, reduced(g, RED_MAX, f.x, 1, &axis));
    f.e = fn1(g, FN_exp, f.s);
    f.sum = b_reduce(g, RED_ADD, f.e, 1, &axis, false);
    f.lse = fn1(g, FN_log, f.sum);
    return f;
}

// loss = sum over c of mass[c] * (log(sum(exp(x))) - x[c]) / norm, and d loss/d x = (softmax(x) sum(mass) - mass) / norm;
// picked = sum of mass * s; share = sum of mass, NULL: 1
static void finish(Maker *m, const Softmax *f, Val *mass, Val *picked, Val *share, Val *norm) {
    Graph *g = m->g;
    Val *x = f->x, *lse = f->lse, *p = fn2(g, FN_div, f->e, spread(g, f->sum, x, 1, &f->axis));
    if (m->reduction == REDUCE_SUM) norm = splat(g, x->dt, 1, 0, NULL);
    if (share) {
        p = fn2(g, FN_mul, p, spread(g, share, x, 1, &f->axis));
        lse = fn2(g, FN_mul, lse, share);
    }
    Val *d = fn2(g, FN_div, fn2(g, FN_sub, p, mass), stretch(g, norm, x->rank, x->shape));
    m->loss = fn2(g, FN_div, total(g, fn2(g, FN_sub, lse, picked)), norm);
    m->root = f->root;
    m->seed = cast_to(g, d, f->root->dt);
}

static void finish_mass(Maker *m, const Softmax *f, Val *mass, Val *norm) {
    Graph *g = m->g;
    Val *picked = b_reduce(g, RED_ADD, fn2(g, FN_mul, mass, f->s), 1, &f->axis, false);
    finish(m, f, mass, picked, b_reduce(g, RED_ADD, mass, 1, &f->axis, false), norm);
}

static void cross_entropy_of_indices(Maker *m, const Softmax *f) {
    Graph *g = m->g;
    Val *weight = class_weights(m, f->x, f->axis);
    Classes c = class_target(m, f->x, f->axis);
    m->correct = count_correct(m, &c, f->x, f->axis);
    Val *mass = index_mass(m, &c, f->x, f->axis, weight), *norm = index_norm(m, &c, f->x, f->axis, weight);
    if (m->smoothing == 0 && !weight && !c.live) { // one class with mass 1
        Val *picked = b_reshape(g, b_gather(g, f->s, c.picked, f->axis), f->lse->rank, f->lse->shape);
        finish(m, f, mass, picked, NULL, norm);
    } else {
        finish_mass(m, f, mass, norm);
    }
}

static void cross_entropy_of_probabilities(Maker *m, const Softmax *f) {
    Graph *g = m->g;
    Val *x = f->x, *weight = class_weights(m, x, f->axis), *mass = target_input(m, x->dt, x, -1);
    if (m->smoothing > 0) mass = fn2(g, FN_add, scaled(g, mass, 1 - m->smoothing), even_share(m, x, f->axis));
    if (weight) mass = fn2(g, FN_mul, mass, weight);
    finish_mass(m, f, mass, count_of(g, x->dt, val_numel(f->sum)));
}

// Where the classes are: the axis of the softmax that was recognized, else ONNX's, axis 1.
static int class_axis(const Val *y) { return y->rank > 1 ? 1 : 0; }

static void make_cross_entropy(Maker *m, bool probabilities) {
    Val *x = m->y;
    int axes[MAX_RANK], naxes = 0, axis = class_axis(x);
    if (x->rank == 0) fatal("--loss: cross_entropy needs an output with classes, this one is a number");
    if (match_softmax(x, &x, &naxes, axes) && naxes == 1) {
        axis = axes[0];
        note(m, "Softmax");
    } else {
        x = m->y;
    }
    Softmax f = softmax_of(m->g, x, axis);
    if (probabilities) cross_entropy_of_probabilities(m, &f);
    else cross_entropy_of_indices(m, &f);
}

static void make_cross_entropy_class(Maker *m) { make_cross_entropy(m, false); }
static void make_cross_entropy_probs(Maker *m) { make_cross_entropy(m, true); }

// loss = -sum of w[t] y[t] / sum of w[t], y log-probabilities
static void make_nll(Maker *m) {
    Graph *g = m->g;
    Val *y = cast_to(g, m->y, wide(m->y->dt));
    int axis = class_axis(y);
    if (y->rank == 0) fatal("--loss: nll needs an output with classes, this one is a number");
    Val *weight = class_weights(m, y, axis);
    Classes c = class_target(m, y, axis);
    m->correct = count_correct(m, &c, y, axis);
    Val *picked = b_gather(g, y, c.picked, axis);
    if (weight) picked = fn2(g, FN_mul, picked, b_gather(g, weight, c.picked, axis));
    Val *sum = fn1(g, FN_neg, total(g, where_live(g, &c, picked)));
    starts_here(m, m->reduction == REDUCE_SUM ? sum : fn2(g, FN_div, sum, index_norm(m, &c, y, axis, weight)));
}

// ---- of numbers -----------------------------------------------------------------------------------

static Val *prediction(Maker *m) { return cast_to(m->g, m->y, wide(m->y->dt)); }

static Val *difference(Maker *m) {
    Val *y = prediction(m);
    return fn2(m->g, FN_sub, y, target_input(m, y->dt, y, -1));
}

// loss = mean((y - t)^2)
static void make_mse(Maker *m) {
    Val *d = difference(m);
    starts_here(m, reduce_loss(m, fn2(m->g, FN_mul, d, d)));
}

// loss = mean(|y - t|)
static void make_l1(Maker *m) { starts_here(m, reduce_loss(m, fn1(m->g, FN_abs, difference(m)))); }

// d^2/2 where |d| < k, else k (|d| - k/2)
static Val *quadratic_near_zero(Graph *g, Val *d, double k) {
    Val *a = fn1(g, FN_abs, d), *near = scaled(g, fn2(g, FN_mul, d, d), 0.5);
    Val *far = scaled(g, fn2(g, FN_sub, a, splat_like(g, a, k / 2)), k);
    return select_of(g, fn2(g, FN_lt, a, splat_like(g, a, k)), near, far);
}

static void make_huber(Maker *m) { starts_here(m, reduce_loss(m, quadratic_near_zero(m->g, difference(m), m->delta))); }

// the same divided by k; the distance itself for k = 0
static void make_smooth_l1(Maker *m) {
    Val *d = difference(m);
    Val *x = m->beta > 0 ? scaled(m->g, quadratic_near_zero(m->g, d, m->beta), 1 / m->beta) : fn1(m->g, FN_abs, d);
    starts_here(m, reduce_loss(m, x));
}

// loss = mean(log(1 + exp(x)) - t*x), with p in front of t*log(sigmoid(x)): softplus(x) - t*x + (p - 1)*t*softplus(-x)
static void logistic(Maker *m, Val *x) {
    Graph *g = m->g;
    x = cast_to(g, x, wide(x->dt));
    Val *t = target_input(m, x->dt, x, -1), *v = fn2(g, FN_sub, fn1(g, FN_softplus, x), fn2(g, FN_mul, t, x));
    if (m->pos_weight != 1) v = fn2(g, FN_add, v, fn2(g, FN_mul, scaled(g, t, m->pos_weight - 1), fn1(g, FN_softplus, fn1(g, FN_neg, x))));
    starts_here(m, reduce_loss(m, v));
}

static void make_bce_with_logits(Maker *m) { logistic(m, m->y); }

// loss = -mean(t*log(y) + (1 - t)*log(1 - y)), logarithms at least -100; of a Sigmoid by its input
static void make_bce(Maker *m) {
    Graph *g = m->g;
    const Node *n = m->y->node;
    if (n->op == P_map && n->fn == FN_sigmoid) {
        note(m, "Sigmoid");
        logistic(m, n->in[0]);
        return;
    }
    Val *y = prediction(m), *t = target_input(m, y->dt, y, -1), *one = splat_like(g, y, 1), *least = splat_like(g, y, -100);
    Val *a = fn2(g, FN_max, fn1(g, FN_log, y), least), *b = fn2(g, FN_max, fn1(g, FN_log, fn2(g, FN_sub, one, y)), least);
    Val *sum = fn2(g, FN_add, fn2(g, FN_mul, t, a), fn2(g, FN_mul, fn2(g, FN_sub, one, t), b));
    starts_here(m, reduce_loss(m, fn1(g, FN_neg, sum)));
}

// loss = mean(t*(log(t) - y)), y log-probabilities; 0 where t is; of t as logarithms: mean(exp(t)*(t - y))
static void make_kl_div(Maker *m) {
    Graph *g = m->g;
    Val *y = prediction(m), *t = target_input(m, y->dt, y, -1), *zero = splat_like(g, y, 0), *v;
    if (m->log_target) v = fn2(g, FN_mul, fn1(g, FN_exp, t), fn2(g, FN_sub, t, y));
    else {
        Val *none = fn2(g, FN_le, t, zero), *safe = select_of(g, none, splat_like(g, t, 1), t);
        v = select_of(g, none, zero, fn2(g, FN_mul, t, fn2(g, FN_sub, fn1(g, FN_log, safe), y)));
    }
    starts_here(m, reduce_loss(m, v));
}

#define CLASSES "weight label_smoothing reduction"
const LossKind loss_kinds[] = {
    {"cross_entropy", make_cross_entropy_class, CLASSES " ignore_index"},
    {"cross_entropy_probs", make_cross_entropy_probs, CLASSES},
    {"nll", make_nll, "weight ignore_index reduction"},
    {"mse", make_mse, "reduction"},
    {"l1", make_l1, "reduction"},
    {"smooth_l1", make_smooth_l1, "beta reduction"},
    {"huber", make_huber, "delta reduction"},
    {"bce", make_bce, "reduction"},
    {"bce_with_logits", make_bce_with_logits, "pos_weight reduction"},
    {"kl_div", make_kl_div, "log_target reduction"},
    {NULL, NULL, NULL},
};
