// SPDX-License-Identifier: Apache-2.0
// RNN, GRU and LSTM: the products with the inputs of all steps at once, then a loop over time.
#include "ops/nn.h"

#include <math.h>
#include <string.h>
#include <strings.h>

typedef enum { CELL_RNN, CELL_GRU, CELL_LSTM } CellKind;
typedef struct {
    const char *name;
    double alpha, beta;
} Activation;

// A weight matrix of one direction, [K, N]; quantized ones have a scale and zero point.
typedef struct {
    Val *w, *scale, *zero;
} Weight;

// One direction: everything as values of the graph that the code is going into.
typedef struct {
    CellKind kind;
    Weight r;     // [H, gates*H]
    Val *reset_b; // [H]: the recurrent bias of a GRU's hidden gate, where it is kept apart
    Val *peep;    // [3H]: i, o, f
    Val *len;     // [B], or NULL
    Ex hidden;
    double clip; // 0: none
    bool couple, linear_first;
    Activation act[3];
} Cell;

static Val *input(Op *o, int i) { return i < o->nin ? o->in[i] : NULL; }

// ---- activations -------------------------------------------------------------------------------------------

static const struct {
    const char *name;
    int alphas, betas;
    double alpha, beta;
} known[] = {
    {"Relu", 0, 0, 0, 0},         {"Tanh", 0, 0, 0, 0},
    {"Sigmoid", 0, 0, 0, 0},      {"Affine", 1, 1, 1, 0},
    {"LeakyRelu", 1, 0, 0.01, 0}, {"ThresholdedRelu", 1, 0, 1, 0},
    {"ScaledTanh", 1, 1, 1, 1},   {"HardSigmoid", 1, 1, 0.2, 0.5},
    {"Elu", 1, 0, 1, 0},          {"Softsign", 0, 0, 0, 0},
    {"Softplus", 0, 0, 0, 0},     {"Clip", 1, 1, -INFINITY, INFINITY},
    {"HardSwish", 0, 0, 0, 0},
};

Val *activation(Op *o, const char *name, Val *x, double alpha, double beta) {
    Val *zero = like(o, x, 0), *one = like(o, x, 1), *a = like(o, x, alpha), *b = like(o, x, beta);
    if (!strcasecmp(name, "Relu")) return map2(o, FN_max, x, zero);
    if (!strcasecmp(name, "Tanh")) return map1(o, FN_tanh, x);
    if (!strcasecmp(name, "Sigmoid")) return map1(o, FN_sigmoid, x);
    if (!strcasecmp(name, "Affine")) return add(o, mul(o, x, a), b);
    if (!strcasecmp(name, "LeakyRelu")) return select(o, map2(o, FN_lt, x, zero), mul(o, x, a), x);
    if (!strcasecmp(name, "ThresholdedRelu")) return select(o, map2(o, FN_lt, x, a), zero, x);
    if (!strcasecmp(name, "ScaledTanh")) return mul(o, a, map1(o, FN_tanh, mul(o, b, x)));
    if (!strcasecmp(name, "HardSigmoid")) return map2(o, FN_min, map2(o, FN_max, add(o, mul(o, x, a), b), zero), one);
    if (!strcasecmp(name, "Elu")) return select(o, map2(o, FN_lt, x, zero), mul(o, a, map1(o, FN_expm1, x)), x);
    if (!strcasecmp(name, "Softsign")) return divide(o, x, add(o, one, map1(o, FN_abs, x)));
    if (!strcasecmp(name, "Softplus")) return map1(o, FN_softplus, x);
    if (!strcasecmp(name, "Clip")) return clamp(o, x, alpha, beta);
    if (strcasecmp(name, "HardSwish")) op_fail(o, "activation %s is unknown", name);
    Val *h = add(o, divide(o, x, like(o, x, 6)), like(o, x, 0.5));
    return mul(o, x, map2(o, FN_min, map2(o, FN_max, h, zero), one));
}

/* The activations of a direction; alphas and betas belong to those that take them, in order. */
static void read_activations(Op *o, const char *const *usual, int n, int dir, int dirs, Activation *act) {
    const DataStr *s = NULL;
    const float *a = NULL, *b = NULL;
    int have = attr_strs(o, "activations", &s), na = attr_floats(o, "activation_alpha", &a);
    int nb = attr_floats(o, "activation_beta", &b), ia = 0, ib = 0;
    if (have > 0 && have < n * dirs && !(have == n && dirs == 1))
        op_fail(o, "%d activations, needs %d", have, n * dirs);
    for (int i = 0; i < n * (dir + 1); i++) {
        const char *name = have > 0 ? intern_n(s[i].p, s[i].n) : usual[i % n];
        size_t k = 0;
        while (k < sizeof known / sizeof *known && strcasecmp(known[k].name, name) != 0) k++;
        if (k == sizeof known / sizeof *known) op_fail(o, "activation %s is unknown", name);
        Activation v = {known[k].name, known[k].alpha, known[k].beta};
        if (known[k].alphas && ia < na) v.alpha = (double)a[ia++];
        if (known[k].betas && ib < nb) v.beta = (double)b[ib++];
        if (i >= n * dir) act[i - n * dir] = v;
    }
}

static Val *act_of(Op *o, const Cell *c, int i, Val *x) {
    if (c->clip > 0) x = clamp(o, x, -c->clip, c->clip);
    return activation(o, c->act[i].name, x, c->act[i].alpha, c->act[i].beta);
}

// ---- one step ------------------------------------------------------------------------------------------------

/* a w; for quantized weights a is quantized by its own range first */
static Val *product(Op *o, Val *a, const Weight *w) {
    if (!w->scale) return matmul(o, a, w->w);
    Val *scale, *zero, *q = quantize_dynamic(o, a, &scale, &zero);
    Val *y = matmul(o, offset_int(o, q, zero), offset_int(o, w->w, w->zero));
    return mul(o, cast(o, y, F32), mul(o, scale, w->scale));
}

static Val *gate(Op *o, const Cell *c, Val *x, int i, int n) {
    return slice(o, x, x->rank - 1, e_scale(c->hidden, i), e_scale(c->hidden, n), e_int(1));
}

static Val *gru_step(Op *o, const Cell *c, Val *x, Val *h) {
    Val *hr, *hh;
    if (c->linear_first) {
        Val *all = product(o, h, &c->r);
        hr = gate(o, c, all, 0, 2), hh = gate(o, c, all, 2, 1);
    } else {
        Weight w = c->r;
        w.w = gate(o, c, w.w, 0, 2);
        hr = product(o, h, &w), hh = NULL;
    }
    Val *zr = act_of(o, c, 0, add(o, gate(o, c, x, 0, 2), hr)), *z = gate(o, c, zr, 0, 1), *r = gate(o, c, zr, 1, 1);
    if (c->linear_first) {
        hh = mul(o, r, c->reset_b ? add(o, hh, c->reset_b) : hh);
    } else {
        Weight w = c->r;
        w.w = gate(o, c, w.w, 2, 1);
        hh = product(o, mul(o, r, h), &w);
    }
    Val *n = act_of(o, c, 1, add(o, gate(o, c, x, 2, 1), hh));
    return add(o, mul(o, sub(o, like(o, z, 1), z), n), mul(o, z, h));
}

static Val *peep_at(Op *o, const Cell *c, Val *pre, int i, Val *state) {
    return c->peep ? add(o, pre, mul(o, gate(o, c, c->peep, i, 1), state)) : pre;
}

static Val *lstm_step(Op *o, const Cell *c, Val *x, Val *h, Val **state) {
    Val *pre = add(o, x, product(o, h, &c->r)), *old = *state; // i, o, f, c
    Val *in = act_of(o, c, 0, peep_at(o, c, gate(o, c, pre, 0, 1), 0, old));
    Val *forget =
        c->couple ? sub(o, like(o, in, 1), in) : act_of(o, c, 0, peep_at(o, c, gate(o, c, pre, 2, 1), 2, old));
    Val *cell = act_of(o, c, 1, gate(o, c, pre, 3, 1));
    *state = add(o, mul(o, forget, old), mul(o, in, cell));
    Val *out = act_of(o, c, 0, peep_at(o, c, gate(o, c, pre, 1, 1), 1, *state));
    return mul(o, out, act_of(o, c, 2, *state));
}

// ---- the loop over time --------------------------------------------------------------------------------------

typedef struct {
    Graph *body;
    Val *cap[8];
    int n;
} Captures;

static Val *bring(Captures *l, Val *v) {
    if (!v) return NULL;
    l->cap[l->n++] = v;
    return b_param(l->body, v);
}

Val *row_at(Op *o, Val *x, Val *i) {
    Ex one[3] = {e_int(1), e_int(1), e_int(1)}, shape[3] = {e_int(1), dim(x, 1), dim(x, 2)};
    return squeeze(o, gather_plain(o, x, expand_to(o, reshape(o, i, 3, one), 3, shape), 0), 0);
}

/* y [T, B, H], the last h and state: h, state = step(x[t], h, state), held where a sequence has ended */
static Val *run_loop(Op *o, const Cell *outer, Val *x, Val **h, Val **state) {
    Captures l = {.body = b_loop_body(o->g)};
    Op in = *o;
    Cell c = *outer;
    int ncarry = state ? 2 : 1;
    Ex trip = dim(x, 0);
    in.g = l.body;
    Val *i = in.g->in[0];
    Val *carry[2] = {*h, state ? *state : NULL}, *old = b_param(in.g, *h), *s = state ? b_param(in.g, *state) : NULL,
        *before = s;
    Val *xt = row_at(&in, bring(&l, x), i), *next, *y;
    c.r = (Weight){bring(&l, outer->r.w), bring(&l, outer->r.scale), bring(&l, outer->r.zero)};
    c.reset_b = bring(&l, outer->reset_b);
    c.peep = bring(&l, outer->peep);
    c.len = bring(&l, outer->len);
    if (c.kind == CELL_LSTM)
        next = lstm_step(&in, &c, xt, old, &s);
    else
        next =
            c.kind == CELL_GRU ? gru_step(&in, &c, xt, old) : act_of(&in, &c, 0, add(&in, xt, product(&in, old, &c.r)));
    y = next;
    if (c.len) {
        Val *on = unsqueeze(&in, map2(&in, FN_lt, i, c.len), 1);
        y = select(&in, on, next, like(&in, next, 0));
        next = select(&in, on, next, old);
        s = s ? select(&in, on, s, before) : NULL;
    }
    graph_output(in.g, scalar_int(&in, BOOL, 1), "cond");
    graph_output(in.g, next, "h");
    if (s) graph_output(in.g, s, "c");
    graph_output(in.g, y, "y");
    Node *n = b_loop(o->g, b_dims(o->g, I64, 0, NULL, &trip), scalar_int(o, BOOL, 1), ncarry, carry, l.n, l.cap, in.g);
    *h = &n->out[0];
    if (state) *state = &n->out[1];
    return &n->out[ncarry];
}

/* x [T, B, N] backwards in time, each sequence within its length */
static Val *reversed(Op *o, Val *x, Val *len) {
    Ex n = dim(x, 0);
    if (!len) return slice(o, x, 0, e_sub(n, e_int(1)), n, e_int(-1));
    Val *t = unsqueeze(o, iota(o, I64, n), 1), *back = sub(o, sub(o, len, scalar_int(o, I64, 1)), t);
    Val *index = select(o, map2(o, FN_lt, t, len), back, t);
    return gather_plain(o, x, expand_to(o, unsqueeze(o, index, 2), 3, x->shape), 0);
}

// ---- the operators -------------------------------------------------------------------------------------------

typedef struct {
    CellKind kind;
    int gates, dirs;
    bool batch_first, quantized, backward;
    Val *x, *len, *h0, *c0; // x [T, B, I]
    Ex batch, hidden;
    DType dt;
} Rnn;

/* Row d of a parameter with a leading axis of directions. */
static Val *of_dir(Op *o, Val *v, int d) { return v ? squeeze(o, slice1(o, v, 0, d), 0) : NULL; }

/* A matrix of one direction as [K, N]: given so when quantized, else transposed. */
static Weight weight_of(Op *o, const Rnn *r, int input_, int d) {
    Weight w = {.w = of_dir(o, o->in[input_], d)};
    if (!r->quantized) {
        w.w = swap_axes(o, cast(o, w.w, r->dt), 0, 1);
        return w;
    }
    int at = input_ == 1 ? 8 : 10;
    w.scale = of_dir(o, o->in[at], d);
    w.zero = of_dir(o, o->in[at + 1], d);
    return w;
}

/* The initial state of one direction, [B, H]; zeros when not given. */
static Val *initial(Op *o, const Rnn *r, Val *v, int d) {
    Ex shape[2] = {r->batch, r->hidden};
    if (!v) return full(o, r->dt, 0, 2, shape);
    Val *first = cast(o, of_dir(o, r->batch_first ? swap_axes(o, v, 0, 1) : v, d), r->dt);
    if (o->opt->batch && r->batch == op_batch(o) && e_is(first->shape[0], 1)) return expand_to(o, first, 2, shape); // of a batch of one
    return reshape(o, first, 2, shape);
}

static Val *run_direction(Op *o, const Rnn *r, int d, Val **h, Val **state) {
    static const char *const usual[3][3] = {{"Tanh"}, {"Sigmoid", "Tanh"}, {"Sigmoid", "Tanh", "Tanh"}};
    Cell c = {.kind = r->kind, .hidden = r->hidden, .len = r->len, .clip = attr_float_or(o, "clip", 0)};
    c.couple = attr_int_or(o, "input_forget", 0) != 0;
    c.linear_first = attr_int_or(o, "linear_before_reset", 0) != 0;
    read_activations(o, usual[r->kind], r->kind == CELL_RNN ? 1 : r->kind == CELL_GRU ? 2 : 3, d, r->dirs, c.act);
    Weight w = weight_of(o, r, 1, d);
    c.r = weight_of(o, r, 2, d);
    Val *b = of_dir(o, input(o, 3), d), *p = r->kind == CELL_LSTM ? of_dir(o, input(o, 7), d) : NULL;
    Val *x = product(o, r->x, &w);
    if (p) c.peep = cast(o, p, r->dt);
    if (b) {
        b = cast(o, b, r->dt);
        Val *wb = gate(o, &c, b, 0, r->gates), *rb = gate(o, &c, b, r->gates, r->gates);
        if (r->kind == CELL_GRU && c.linear_first) { // the hidden gate's stays inside of the reset
            c.reset_b = gate(o, &c, rb, 2, 1);
            rb = concat(o, 2, (Val *[]){gate(o, &c, rb, 0, 2), full(o, r->dt, 0, 1, &r->hidden)}, 0);
        }
        x = add(o, x, add(o, wb, rb));
    }
    bool back = r->backward || d == 1;
    if (back) x = reversed(o, x, r->len);
    *h = initial(o, r, r->h0, d);
    if (r->kind == CELL_LSTM) *state = initial(o, r, r->c0, d);
    Val *y = run_loop(o, &c, x, h, r->kind == CELL_LSTM ? state : NULL);
    return back ? reversed(o, y, r->len) : y;
}

static void set_final(Op *o, const Rnn *r, int out, Val *const *v) {
    if (out >= o->nout || !o->want[out]) return;
    Val *row[2];
    for (int d = 0; d < r->dirs; d++) row[d] = unsqueeze(o, v[d], 0);
    Val *y = cast(o, concat(o, r->dirs, row, 0), o->in[0]->dt);
    o->out[out] = r->batch_first ? swap_axes(o, y, 0, 1) : y;
}

static void run(Op *o, CellKind kind, int gates, bool quantized) {
    Rnn r = {.kind = kind, .gates = gates, .quantized = quantized, .dirs = 1, .x = o->in[0], .len = input(o, 4)};
    const char *way = attr_str_or(o, "direction", "forward");
    r.backward = !strcasecmp(way, "reverse");
    if (!strcasecmp(way, "bidirectional"))
        r.dirs = 2;
    else if (!r.backward && strcasecmp(way, "forward") && strcasecmp(way, "foward")) // the default of version 1
        op_fail(o, "direction %s is unknown", way);
    if (r.x->rank != 3 || o->in[1]->rank != 3 || o->in[2]->rank != 3)
        op_fail(o, "the input and the weights need 3 dimensions");
    r.batch_first = attr_int_or(o, "layout", 0) != 0;
    r.dt = acc_type(r.x->dt);
    r.x = cast(o, r.batch_first ? swap_axes(o, r.x, 0, 1) : r.x, r.dt);
    r.batch = dim(r.x, 1);
    r.hidden = e_int(need_const(o, dim(o->in[2], quantized ? 1 : 2), "hidden_size"));
    r.h0 = input(o, 5), r.c0 = kind == CELL_LSTM ? input(o, 6) : NULL;
    if (r.len) r.len = cast(o, reshape(o, r.len, 1, &r.batch), I64);
    Val *y[2], *h[2], *c[2] = {NULL, NULL};
    for (int d = 0; d < r.dirs; d++) y[d] = unsqueeze(o, run_direction(o, &r, d, &h[d], &c[d]), 1);
    if (o->nout > 0 && o->want[0]) {
        Val *all = cast(o, concat(o, r.dirs, y, 1), o->in[0]->dt); // [T, D, B, H]
        o->out[0] = r.batch_first ? permute(o, all, (int[]){2, 0, 1, 3}) : all;
    }
    set_final(o, &r, 1, h);
    if (kind == CELL_LSTM) set_final(o, &r, 2, c);
}

/* h = f(x W' + h R' + b) */
static void rnn(Op *o) { run(o, CELL_RNN, 1, false); }

/* z, r = f(x W' + h R' + b); h = (1 - z) g(x Wh' + r h Rh' + b) + z h */
static void gru(Op *o) { run(o, CELL_GRU, 3, false); }

/* i, o, f = f(x W' + h R' + P c + b); c = f c + i g(x Wc' + h Rc' + b); h = o h(c) */
static void lstm(Op *o) { run(o, CELL_LSTM, 4, false); }

/* the same with int8 weights, inputs and h quantized by their range */
void dynamic_quantize_lstm(Op *o) {
    if (o->nin < 12) op_fail(o, "%d inputs, needs 12", o->nin);
    run(o, CELL_LSTM, 4, true);
}

const OpDef ops_rnn[] = {
    {"RNN", 1, rnn},
    {"GRU", 1, gru},
    {"LSTM", 1, lstm},
    {NULL, 0, NULL},
};
