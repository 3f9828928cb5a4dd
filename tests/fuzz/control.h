// SPDX-License-Identifier: Apache-2.0
// Random graphs with nested branches and loops: results of different sizes, carried values that grow, trip
// counts and conditions that the data give, captured values.
#ifndef CNNCC_FUZZ_CONTROL_H
#define CNNCC_FUZZ_CONTROL_H
#include "random.h"

static inline void make_step(Maker *m, int depth);

// A boolean that the elements decide.
static inline Val *make_condition(Maker *m, Val *x) {
    if (x->dt != BOOL) x = b_map(m->g, FN_lt, BOOL, 2, (Val *[]){ x, make_splat(m, x->dt, x->rank, x->shape) });
    int axes[MAX_RANK];
    for (int i = 0; i < x->rank; i++) axes[i] = i;
    return x->rank ? b_reduce(m->g, below(&m->r, 2) ? RED_AND : RED_OR, x, x->rank, axes, false) : x;
}

// Something of x's type, mostly another value.
static inline Val *make_same(Maker *m, Val *x) {
    for (int tries = 0; tries < 6; tries++) {
        Val *v = make_map(m, x);
        if (v && v->dt == x->dt && val_same_shape(v, x)) return v;
    }
    return x;
}

static inline Val *make_shorter(Maker *m, Val *x) {
    int axis = x->rank ? below(&m->r, x->rank) : 0;
    if (!x->rank || x->shape[axis]->lo < 2) return x;
    return b_slice(m->g, x, axis, e_int(below(&m->r, 2)), e_sub(x->shape[axis], e_int(1)), e_int(1));
}

// The region g's further parameters: values of the graph around it.
static inline void capture(Maker *in, int n, Val *const *cap) {
    for (int i = 0; i < n; i++) keep(in, b_param(in->g, cap[i]));
}

static inline Graph *make_branch(Maker *m, int n, Val *const *cap, int depth) {
    Maker in = { .r = { rng(&m->r) }, .g = graph_new(m->g) };
    capture(&in, n, cap);
    for (int i = below(&in.r, 4); i > 0; i--) make_step(&in, depth);
    Val *v = make_same(&in, in.v[0]);
    graph_output(in.g, below(&in.r, 3) ? v : make_shorter(&in, v), "a");
    graph_output(in.g, make_same(&in, in.v[1]), "b");
    return in.g;
}

static inline void make_if(Maker *m, int depth) {
    Val *cap[3] = { pick(m), pick(m), pick(m) };
    Node *n = b_if(m->g, make_condition(m, pick(m)), make_branch(m, 3, cap, depth), make_branch(m, 3, cap, depth), 3, cap);
    keep(m, &n->out[0]);
    keep(m, &n->out[1]);
}

// How often: a number, or at most so often by the data; with `some`, at least once.
static inline Val *make_trip(Maker *m, bool some) {
    Val *most = b_dims(m->g, I64, 0, NULL, (Ex[]){ e_int(below(&m->r, 5)) });
    if (below(&m->r, 2)) return some ? b_dims(m->g, I64, 0, NULL, (Ex[]){ e_int(1 + below(&m->r, 4)) }) : most;
    Val *x = pick(m), *one = make_condition(m, x), *two = make_condition(m, pick(m));
    one = b_map(m->g, FN_cast, I64, 1, &one), two = b_map(m->g, FN_cast, I64, 1, &two);
    Val *n = b_map(m->g, FN_add, I64, 2, (Val *[]){ b_map(m->g, FN_add, I64, 2, (Val *[]){ one, two }), one });
    return some ? b_map(m->g, FN_add, I64, 2, (Val *[]){ n, b_dims(m->g, I64, 0, NULL, (Ex[]){ e_int(1) }) }) : n;
}

// Carries one value that keeps its shape and one that may grow along an axis, and collects rows.
static inline void make_loop(Maker *m, int depth) {
    Val *cap[2] = { pick(m), pick(m) }, *carry[2] = { pick(m), cap[0] }, *row;
    bool grows = cap[0]->rank > 0 && below(&m->r, 2);
    int axis = grows ? below(&m->r, cap[0]->rank) : 0;
    Maker in = { .r = { rng(&m->r) }, .g = graph_new(m->g) };
    keep(&in, b_param(in.g, &(Val){ .kind = K_TENSOR, .dt = I64 }));
    b_param(in.g, &(Val){ .kind = K_TENSOR, .dt = BOOL });
    Val type = *carry[1];
    Ex shape[MAX_RANK];
    for (int i = 0; i < type.rank; i++) shape[i] = grows && i == axis ? extent_new() : type.shape[i];
    type.shape = shape;
    type.name = NULL;
    Val *kept = keep(&in, b_param(in.g, carry[0])), *grown = keep(&in, b_param(in.g, &type));
    capture(&in, 2, cap);
    Val *part = in.v[in.n - 2];
    for (int i = below(&in.r, 4); i > 0; i--) make_step(&in, depth);
    Val *next = make_same(&in, kept), *bigger = grows ? b_concat(in.g, 2, (Val *[]){ grown, make_same(&in, part) }, axis) : make_same(&in, grown);
    row = make_same(&in, below(&in.r, 2) ? next : part);
    graph_output(in.g, below(&in.r, 2) ? b_dims(in.g, BOOL, 0, NULL, (Ex[]){ e_int(1) }) : make_condition(&in, next), "go");
    graph_output(in.g, next, "kept");
    graph_output(in.g, bigger, "grown");
    graph_output(in.g, row, "row");
    bool some = below(&m->r, 4); // else nothing looks at the rows: of none of them the size is not said
    Val *go = some || below(&m->r, 2) ? b_dims(m->g, BOOL, 0, NULL, (Ex[]){ e_int(1) }) : make_condition(m, pick(m));
    Node *n = b_loop(m->g, make_trip(m, some), go, 2, carry, 2, cap, in.g);
    for (int i = 0; i < 2 + some; i++) keep(m, &n->out[i]);
}

static inline void make_step(Maker *m, int depth) {
    Val *x = pick(m), *v = NULL;
    int what = below(&m->r, depth > 0 ? 14 : 10);
    if (what >= 12) make_loop(m, depth - 1);
    else if (what >= 10) make_if(m, depth - 1);
    else if (what < 5 || !x->rank) v = make_map(m, x);
    else if (what < 7) v = make_view(m, x);
    else if (what < 8) v = make_reduce(m, x);
    else v = make_along(m, x);
    if (v) keep(m, v);
}

static inline Graph *random_control_graph(uint64_t seed, int size, int depth) {
    Graph *g = random_graph(seed, 2);
    Maker m = { .r = { seed * 31 + 7 }, .g = g };
    g->nout = 0;
    for (int i = 0; i < g->nin; i++) keep(&m, g->in[i]);
    for (int i = 0; i < size; i++) make_step(&m, depth);
    if (below(&m.r, 2)) make_if(&m, depth - 1);
    else make_loop(&m, depth - 1);
    for (int i = 0; i < 4; i++) graph_output(g, m.v[m.n - 1 - i % m.n], arena_printf("y%d", i));
    return g;
}
#endif
