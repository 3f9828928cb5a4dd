// SPDX-License-Identifier: Apache-2.0
// States (--state past=present): an input and an output in one memory that the caller keeps from run to
// run. Where present is past with more appended along an axis, the memory has the capacity's strides, what
// is new is stored behind the rest, and nothing is copied. Where both have one shape, present is computed
// elsewhere and copied when nothing can fail any more; a scatter into past works in place.
#include "loop/loop.h"
#include <string.h>

static int port(int n, const char *const *name, const char *what) {
    for (int i = 0; i < n; i++)
        if (name[i] && !strcmp(name[i], what)) return i;
    return -1;
}

static int input_port(const Graph *g, const char *name) {
    const char **v = NEWN(const char *, g->nin + 1);
    for (int i = 0; i < g->nin; i++) v[i] = g->in[i]->name;
    return port(g->nin, v, name);
}

// The axis along which y is x with more appended, or -1.
static int growing_axis(const Val *x, const Val *y) {
    const Node *n = y->node;
    return n->op == P_concat && n->nin > 1 && n->in[0] == x ? n->axis : -1;
}

static int users(const Graph *g, const Val *v) {
    int count = 0;
    for (int i = 0; i < g->nnode; i++)
        for (int k = 0; k < g->node[i]->nin; k++) count += g->node[i]->in[k] == v;
    for (int i = 0; i < g->nout; i++) count += g->out[i] == v;
    return count;
}

// y = x with elements replaced, x not needed after it, and no node from there on can fail.
static bool scattered_in_place(const Graph *g, const Val *x, const Val *y) {
    const Node *s = y->node;
    if (s->op != P_scatter || s->in[0] != x || users(g, x) != 1) return false;
    for (int i = s->id + 1; i < g->nnode; i++) {
        const Node *n = g->node[i];
        Prim p = n->op;
        if (p == P_scatter && n->in[1] == s->in[1] && n->out[0].shape[n->axis] == y->shape[s->axis]) continue; // checked with this one
        if (p == P_gather || p == P_scatter || p == P_if || p == P_loop || p == P_call) return false;
    }
    return true;
}

static void find_state(Program *p, const StateOpt *o) {
    Graph *g = p->g;
    State s = {.in = input_port(g, o->past), .out = port(g->nout, g->out_name, o->present), .axis = -1};
    if (s.in < 0) fatal("--state: the model has no input '%s'", o->past);
    if (s.out < 0) fatal("--state: the model has no output '%s'", o->present);
    for (int i = 0; i < p->nstate; i++)
        if (p->state[i].in == s.in || p->state[i].out == s.out) fatal("--state: '%s=%s' names one twice", o->past, o->present);
    Val *x = g->in[s.in], *y = g->out[s.out];
    if (x->kind != K_TENSOR || y->kind != K_TENSOR || x->dt != y->dt || x->rank != y->rank || x->dt == STR)
        fatal("--state: '%s' and '%s' are not tensors of one type and rank", o->past, o->present);
    s.axis = growing_axis(x, y);
    if (s.axis >= 0) {
        if (o->cap <= 0) fatal("--state %s=%s: it grows along axis %d; how long it may get is missing: cap=N", o->past, o->present, s.axis);
        s.cap = e_int(o->cap);
    } else if (!val_same_shape(x, y)) {
        fatal("--state: '%s' is neither '%s' with more appended along an axis nor of its shape", o->present, o->past);
    } else if (o->cap > 0) {
        fatal("--state %s=%s: it keeps its shape, so cap= has no meaning", o->past, o->present);
    } else {
        s.scatter = scattered_in_place(g, x, y);
    }
    PUSH(p->state, p->nstate, p->cap_state, s);
}

const State *state_of(const Program *p, bool input, int port) {
    for (int i = 0; i < p->nstate; i++)
        if ((input ? p->state[i].in : p->state[i].out) == port) return &p->state[i];
    return NULL;
}

static bool is_state(const Program *p, const Val *v) {
    for (int i = 0; i < p->nstate; i++)
        if (p->g->in[p->state[i].in] == v) return true;
    return false;
}

void states_find(Lower *l) {
    Program *p = l->prog;
    Graph *g = l->g;
    for (int i = 0; i < l->opt->nstate; i++) find_state(p, &l->opt->state[i]);
    for (int i = 0; i < p->nstate; i++) {
        State *s = &p->state[i];
        Val *x = g->in[s->in], *y = g->out[s->out];
        if (is_packed(x)) fatal("--state: '%s' has elements of %d bits, which are packed; a state's have a byte or more", x->name, dt_bits(x->dt));
        Buf *b = l->buf[x->id];
        b->state = true;
        if (s->axis >= 0) {
            Ex *dims = NEWN(Ex, x->rank);
            memcpy(dims, x->shape, sizeof *dims * (size_t)x->rank);
            dims[s->axis] = s->cap;
            b->shape = dims;
            buf_strides(b);
        }
        if (s->axis >= 0 || s->scatter || x == y) {
            l->buf[y->id] = b;
            p->out[s->out] = b;
        } else if (y->node->op == P_input && is_state(p, y)) {
            fatal("--state: output '%s' is the state '%s'", g->out_name[s->out], y->name);
        }
    }
}

// After fuse: what is in place needs no root; other states are copied when all is done.
void states_roots(Lower *l) {
    Program *p = l->prog;
    int n = 0;
    for (int i = 0; i < l->nroots; i++) {
        bool same = false;
        for (int k = 0; k < p->nstate; k++)
            same |= p->state[k].axis >= 0 && l->roots[i].val == l->g->out[p->state[k].out] && l->roots[i].expr == l->g->in[p->state[k].in];
        if (!same) l->roots[n++] = l->roots[i];
    }
    l->nroots = n;
    for (int i = 0; i < p->nstate; i++) {
        State *s = &p->state[i];
        Val *y = l->g->out[s->out];
        if (p->out[s->out]) continue;
        Buf *to = p->out[s->out] = p->in[s->in];
        PUSH(l->roots, l->nroots, l->cap_roots, ((Root){.val = y, .expr = y, .buf = to}));
    }
}
