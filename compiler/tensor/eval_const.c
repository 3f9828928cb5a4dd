// SPDX-License-Identifier: Apache-2.0
// Values of constant subgraphs: found, evaluated once, kept with their graph.
#include "tensor/eval.h"
#include <stdlib.h>
#include <string.h>

enum { BUDGET = 64 << 20, MAX_TRIPS = 1 << 20 }; // bytes of a value; iterations of loops

typedef enum { C_UNKNOWN, C_CONST, C_NOT } State;

// By value id. A view lives only while val_const runs.
typedef struct { unsigned char *state; const Data **data; View **view; int *left, cap; } Known;

static Known *known_of(Graph *g) {
    if (!g->known) g->known = NEW(Known);
    Known *k = g->known;
    if (k->cap >= g->nval) return k;
    int cap = g->nval * 2 + 64;
    unsigned char *state = NEWN(unsigned char, cap);
    const Data **data = NEWN(const Data *, cap);
    if (k->cap) {
        memcpy(state, k->state, (size_t)k->cap);
        memcpy(data, k->data, sizeof *data * (size_t)k->cap);
    }
    *k = (Known){ state, data, NEWN(View *, cap), NEWN(int, cap), cap };
    return k;
}

static bool all_const(int n, const Ex *ex) {
    int64_t c;
    for (int i = 0; i < n; i++)
        if (!e_is_const(ex[i], &c)) return false;
    return true;
}

// Whether the interpreter gives the same at every run for all that stands in regions.
static bool pure_regions(const Node *n) {
    const Graph **todo = NULL;
    int ntodo = 0, cap = 0;
    for (int k = 0; n->region && k < (n->op == P_if ? 2 : 1); k++) PUSH(todo, ntodo, cap, n->region[k].g);
    for (int i = 0; i < ntodo; i++)
        for (int j = 0; j < todo[i]->nnode; j++) {
            const Node *m = todo[i]->node[j];
            if (m->op == P_random || (m->op == P_call && !call_eval(m->call->name))) return false;
            for (int k = 0; m->region && k < (m->op == P_if ? 2 : 1); k++) PUSH(todo, ntodo, cap, m->region[k].g);
        }
    return true;
}

// Whether a node is constant if its operands are.
static bool can_be_const(const Node *n) {
    if (n->op == P_input || n->op == P_random || (n->op == P_call && !call_eval(n->call->name))) return false;
    if (!all_const(n->nex, n->ex)) return false;
    for (int i = 0; i < n->nout; i++)
        if (n->out[i].kind != K_TENSOR || !all_const(n->out[i].rank, n->out[i].shape)) return false;
    return pure_regions(n);
}

static void set_state(Known *k, const Node *n, State s) {
    for (int i = 0; i < n->nout; i++) k->state[n->out[i].id] = (unsigned char)s;
}

// Decides for a node and all it stands on, without recursion.
static void classify(Known *k, Node *root) {
    Node **stack = NULL;
    int n = 0, cap = 0;
    PUSH(stack, n, cap, root);
    while (n) {
        Node *m = stack[n - 1];
        State s = C_CONST;
        if (k->state[m->out[0].id] == C_UNKNOWN) {
            if (!can_be_const(m)) s = C_NOT;
            int unknown = 0;
            for (int i = 0; i < m->nin && s == C_CONST; i++) {
                State t = (State)k->state[m->in[i]->id];
                if (t == C_NOT) s = C_NOT;
                else if (t == C_UNKNOWN) unknown = i + 1;
            }
            if (s == C_CONST && unknown) {
                PUSH(stack, n, cap, m->in[unknown - 1]->node);
                continue;
            }
            set_state(k, m, s);
        }
        n--;
    }
}

static int by_id(const void *a, const void *b) {
    const Node *x = *(Node *const *)a, *y = *(Node *const *)b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static View *data_view(const Val *v, const Data *d) {
    int64_t shape[MAX_RANK];
    for (int i = 0; i < v->rank; i++) e_is_const(v->shape[i], &shape[i]);
    return view_of_data(v->dt, v->rank, shape, d->p, d->splat);
}

// The nodes that must run for root, in order. A node is marked by C_NOT in no case: marks are views.
static Node **needed(Known *k, Node *root, int *count) {
    Node **list = NULL;
    int n = 0, cap = 0;
    static View mark;
    PUSH(list, n, cap, root);
    k->view[root->out[0].id] = &mark;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < list[i]->nin; j++) {
            Val *x = list[i]->in[j];
            Val *first = &x->node->out[0];
            if (k->data[x->id] || k->view[first->id]) continue;
            k->view[first->id] = &mark;
            PUSH(list, n, cap, x->node);
        }
    for (int i = 0; i < n; i++) k->view[list[i]->out[0].id] = NULL;
    qsort(list, (size_t)n, sizeof *list, by_id);
    *count = n;
    return list;
}

// Runs one node; operands that came from kept data are made views here and dropped again.
static bool run(Eval *e, Known *k, const Node *n) {
    View **in = calloc((size_t)(n->nin + n->nout + 1), sizeof *in), **out = in + n->nin;
    if (!in) fatal("out of memory");
    for (int i = 0; i < n->nin; i++) {
        View *v = k->view[n->in[i]->id];
        in[i] = v ? view_ref(v) : data_view(n->in[i], k->data[n->in[i]->id]);
    }
    bool ok = eval_node(e, n, in, out);
    for (int i = 0; i < n->nin; i++) view_drop(in[i]);
    for (int i = 0; i < n->nout; i++) k->view[n->out[i].id] = out[i];
    free(in);
    return ok;
}

// Evaluates v and keeps its data; false when that takes more than the budget, or fails.
static bool evaluate(Known *k, Val *v) {
    Eval e = { .limit = BUDGET, .trips = MAX_TRIPS };
    int count, *left = k->left;
    Node **list = needed(k, v->node, &count);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < list[i]->nin; j++) left[list[i]->in[j]->id]++;
    left[v->id]++; // all are 0 again at the end
    bool ok = true;
    for (int i = 0; i < count && ok; i++) {
        const Node *n = list[i];
        ok = run(&e, k, n);
        for (int j = 0; j < n->nin; j++)
            if (!--left[n->in[j]->id]) {
                view_drop(k->view[n->in[j]->id]);
                k->view[n->in[j]->id] = NULL;
            }
    }
    Tensor *t = ok ? view_tensor(&e, k->view[v->id], true) : NULL;
    if (t) k->data[v->id] = t->data;
    left[v->id] = 0;
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < list[i]->nin; j++) left[list[i]->in[j]->id] = 0;
        for (int j = 0; j < list[i]->nout; j++) {
            view_drop(k->view[list[i]->out[j].id]);
            k->view[list[i]->out[j].id] = NULL;
        }
    }
    eval_finish(&e);
    return t != NULL;
}

// The value of v if it is constant, else NULL: what depends on inputs, symbols or random numbers, fails
// to evaluate, or has more than 64 MB that are not all the same.
const Data *val_const(Val *v) {
    if (v->kind != K_TENSOR) return NULL;
    if (v->node->op == P_const) return v->node->data;
    Graph *g = v->node->g;
    Known *k = known_of(g);
    if (k->state[v->id] == C_UNKNOWN) classify(k, v->node);
    if (k->state[v->id] == C_NOT) return NULL;
    if (!k->data[v->id] && !evaluate(k, v)) k->state[v->id] = C_NOT;
    return k->data[v->id];
}
