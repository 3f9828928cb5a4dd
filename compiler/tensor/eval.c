// SPDX-License-Identifier: Apache-2.0
// The interpreter: runs a graph node by node in the order of ids, frees every value after its last
// use, gives symbols the values that shapes have, and checks the guards.
#include "tensor/eval.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 128 }; // of nested regions

void eval_fail(Eval *e, int status) {
    if (!e->status) e->status = status;
}

static void *need(void *p) {
    if (!p) fatal("out of memory");
    return p;
}

// ---- symbols --------------------------------------------------------------------------------------

static View *find_value(const Eval *e, const Val *v) {
    for (const Frame *f = e->frame; f; f = f->up)
        if (f->g == v->node->g) return f->val[v->id];
    return NULL;
}

static int64_t ex_value(Ex var, void *ctx) {
    Eval *e = ctx;
    if (var->kind == X_VAR && var->id < e->nslot && e->slot[var->id]) return e->bind[e->slot[var->id] - 1].value;
    const View *v = var->val ? find_value(e, var->val) : NULL;
    if (!v || v->kind != K_TENSOR || (var->kind == X_LOAD ? v->rank != var->n : view_numel(v) != 1)) {
        e->unbound = true;
        return 1;
    }
    int64_t at = 0;
    for (int k = 0; k < var->n; k++) {
        int64_t i = e_eval(var->a[k], ex_value, e);
        if (e->unbound) return 1;
        if (i < 0 || i >= v->shape[k]) {
            eval_fail(e, CNN_EINDEX);
            return 1;
        }
        at += i * v->stride[k];
    }
    int64_t i = scalar_load(v->dt, view_at(v, at)).i;
    if (var->kind != X_LOAD || (i >= var->lo && i <= var->hi)) return i;
    eval_fail(e, CNN_ESHAPE);
    return 1;
}

bool eval_ex(Eval *e, Ex x, int64_t *value) {
    if (e_is_const(x, value)) return true;
    e->unbound = false;
    *value = e_eval(x, ex_value, e);
    return !e->unbound;
}

bool eval_shape(Eval *e, const Val *v, int64_t *shape) {
    for (int i = 0; i < v->rank; i++)
        if (!eval_ex(e, v->shape[i], &shape[i])) return false;
    return true;
}

static void bind(Eval *e, Ex var, int64_t value) {
    if (value < var->lo || value > var->hi) eval_fail(e, CNN_ESHAPE);
    if (var->id >= e->nslot) {
        int n = var->id * 2 + 64;
        e->slot = need(realloc(e->slot, sizeof *e->slot * (size_t)n));
        memset(e->slot + e->nslot, 0, sizeof *e->slot * (size_t)(n - e->nslot));
        e->nslot = n;
    }
    if (e->slot[var->id]) {
        if (e->bind[e->slot[var->id] - 1].value != value) eval_fail(e, CNN_ESHAPE);
        return;
    }
    PUSH(e->bind, e->nbind, e->cap_bind, ((Binding){ var, value }));
    e->slot[var->id] = e->nbind;
}

static void unbind(Eval *e, int keep) {
    while (e->nbind > keep) e->slot[e->bind[--e->nbind].var->id] = 0;
}

// Gives the symbols in v's type the extents of its value; the rest of the type must agree.
static void bind_shape(Eval *e, const Val *v, const View *x, bool check) {
    if (v->kind != K_TENSOR) return;
    if (v->rank != x->rank || v->dt != x->dt) {
        eval_fail(e, CNN_ESHAPE);
        return;
    }
    int64_t n;
    for (int i = 0; i < v->rank; i++) {
        Ex d = v->shape[i];
        if (d->kind == X_VAR && (!d->val || d->val == v)) bind(e, d, x->shape[i]);
        else if (check && eval_ex(e, d, &n) && n != x->shape[i]) eval_fail(e, CNN_ESHAPE);
    }
}

// ---- guards -----------------------------------------------------------------------------------------

// Checks the guards whose symbols have values; done[i] where that is over.
static void check_guards(Eval *e, const Graph *g, bool *done) {
    for (int i = 0; i < g->nguard; i++) {
        int64_t a, b;
        if (done[i] || !eval_ex(e, g->guard[i].a, &a) || !eval_ex(e, g->guard[i].b, &b)) continue;
        done[i] = true;
        bool ok = true;
        switch (g->guard[i].kind) {
        case G_MUST:
        case G_EQ: ok = a == b; break;
        case G_BROADCAST: ok = a == b || b == 1; break;
        case G_GE: ok = a >= b; break;
        case G_DIV: ok = b && a % b == 0; break;
        }
        if (!ok) eval_fail(e, CNN_ESHAPE);
    }
}

// ---- plans ------------------------------------------------------------------------------------------

static void pin(Plan *p, Ex e) {
    if (e->val && e->val->node->g == p->g) p->pinned[e->val->id] = true;
    for (int i = 0; i < e->n; i++) pin(p, e->kind == X_SUM ? e->t[i].m : e->a[i]);
}

// Pins the values that expressions of g, or of a region in it, look into.
static void pin_graph(Plan *p, const Graph *g, const Graph ***todo, int *ntodo, int *cap) {
    for (int i = 0; i < g->nguard; i++) pin(p, g->guard[i].a), pin(p, g->guard[i].b);
    for (int i = 0; i < g->nnode; i++) {
        const Node *n = g->node[i];
        for (int k = 0; k < n->nex; k++) pin(p, n->ex[k]);
        for (int k = 0; k < n->nout; k++)
            for (int d = 0; d < n->out[k].rank; d++) pin(p, n->out[k].shape[d]);
        for (int k = 0; n->region && k < (n->op == P_if ? 2 : 1); k++) PUSH(*todo, *ntodo, *cap, n->region[k].g);
    }
}

static Plan *plan_of(Eval *e, Graph *g) {
    for (Plan *p = e->plan; p; p = p->next)
        if (p->g == g) return p;
    Plan *p = need(calloc(1, sizeof *p));
    size_t nval = (size_t)g->nval + 1;
    *p = (Plan){ g, need(calloc(nval, sizeof(int))), need(calloc(nval, sizeof(bool))), need(calloc(nval, sizeof(bool))), e->plan };
    e->plan = p;
    const Graph **todo = NULL;
    int ntodo = 0, cap = 0;
    PUSH(todo, ntodo, cap, g);
    for (int i = 0; i < ntodo; i++) pin_graph(p, todo[i], &todo, &ntodo, &cap);
    for (int i = 0; i < g->nnode; i++)
        for (int k = 0; k < g->node[i]->nin; k++) p->uses[g->node[i]->in[k]->id]++;
    for (int i = 0; i < g->nout; i++) p->uses[g->out[i]->id]++;
    for (int i = 0; i < g->nnode; i++) {
        const Val *x = g->node[i]->op == P_reduce ? g->node[i]->in[0] : NULL;
        if (x && x->node->op == P_map && p->uses[x->id] == 1 && !p->pinned[x->id]) p->lazy[x->id] = true;
    }
    return p;
}

void eval_finish(Eval *e) {
    free(e->slot);
    e->slot = NULL;
    while (e->plan) {
        Plan *p = e->plan;
        e->plan = p->next;
        free(p->uses);
        free(p->pinned);
        free(p->lazy);
        free(p);
    }
}

// ---- nodes ------------------------------------------------------------------------------------------

static View *eval_fill(Eval *e, const Node *n, const int64_t *shape) { // iota, dims, random
    const Val *v = &n->out[0];
    View *r = view_new(e, v->dt, v->rank, shape);
    int64_t count = r ? view_numel(r) : 0, seed = 0, size = (int64_t)dt_size(v->dt);
    if (n->op == P_random) eval_ex(e, n->ex[0], &seed);
    for (int64_t i = 0; i < count; i++) {
        Scalar s = { .i = i };
        if (n->op == P_dims && !eval_ex(e, n->ex[i], &s.i)) {
            view_drop(r);
            return NULL;
        }
        if (n->op == P_random) { // splitmix64 of seed, identity and place
            uint64_t z = (uint64_t)seed * UINT64_C(0xd1342543de82ef95) + (uint64_t)n->axis * UINT64_C(0x2545f4914f6cdd1d) +
                         (uint64_t)i * UINT64_C(0x9e3779b97f4a7c15);
            z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
            z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
            s.i = (int64_t)(z >> 32);
        }
        if (dt_is_float(v->dt)) s.f = (double)s.i;
        scalar_store(v->dt, view_at(r, 0) + i * size, s);
    }
    return r;
}

static void eval_call(Eval *e, const Node *n, View *const *in, View **out) {
    CallEval *run = call_eval(n->call->name);
    if (!run) {
        eval_fail(e, EVAL_LIMIT);
        return;
    }
    bool keep = false;
    for (int i = 0; i < n->nout; i++) keep = keep || n->out[i].kind != K_TENSOR;
    Tensor **t = need(calloc((size_t)(n->nin + n->nout + 1), sizeof *t));
    for (int i = 0; i < n->nin && !e->status; i++) t[i] = view_tensor(e, in[i], keep);
    if (!e->status) eval_fail(e, run(n, t, t + n->nin));
    for (int i = 0; i < n->nout && !e->status; i++)
        if (t[n->nin + i]) {
            View *v = view_of_tensor(t[n->nin + i]);
            out[i] = v->kind == K_TENSOR && !keep ? view_contiguous(e, v) : view_ref(v);
            view_drop(v);
        }
    free(t);
}

// A map that its reduction will do: the operands, kept.
static View *lazy_map(const Node *n, View *const *in) {
    View *r = view_of(in[0], in[0]->rank, in[0]->shape);
    r->dt = n->out[0].dt;
    r->map = n;
    for (int i = 0; i < n->nin; i++) r->arg[i] = view_ref(in[i]);
    return r;
}

static View *eval_one(Eval *e, const Node *n, View *const *in, const int64_t *shape) {
    const Val *v = &n->out[0];
    switch (n->op) {
    case P_const: return view_of_data(v->dt, v->rank, shape, n->data->p, n->data->splat);
    case P_dims: case P_iota: case P_random: return eval_fill(e, n, shape);
    case P_map: return eval_map(e, n, in);
    case P_reduce: return eval_reduce(e, n, in[0]);
    case P_reshape: return eval_reshape(e, in[0], v->rank, shape);
    case P_permute: return eval_permute(e, n, in[0]);
    case P_expand: return eval_expand(e, in[0], shape);
    case P_slice: return eval_slice(e, n, in[0], shape);
    case P_pad: return eval_pad(e, n, in[0], in[1], shape);
    case P_concat: return eval_concat(e, n, in, shape);
    case P_window: return eval_window(e, n, in[0], shape);
    case P_unwindow: return eval_unwindow(e, n, in[0], shape);
    case P_gather: return eval_gather(e, n, in[0], in[1]);
    case P_scatter: return eval_scatter(e, n, in[0], in[1], in[2]);
    case P_scan: return eval_scan(e, n, in[0]);
    case P_copy: return view_ref(in[0]);
    case P_input: case P_if: case P_loop: case P_call: case P_sort: case P_COUNT: break;
    }
    die("evaluation of %s", prim_name[n->op]);
}

bool eval_node(Eval *e, const Node *n, View *const *in, View **out) {
    int64_t shape[MAX_RANK] = { 0 };
    const Val *v = &n->out[0];
    switch (n->op) {
    case P_if: eval_if(e, n, in, out); break;
    case P_loop: eval_loop(e, n, in, out); break;
    case P_call: eval_call(e, n, in, out); break;
    case P_sort: eval_sort(e, n, in[0], out); break;
    default:
        if (v->kind == K_TENSOR && !eval_shape(e, v, shape)) break;
        if (!e->status) out[0] = eval_one(e, n, in, shape);
        if (!out[0] || v->kind != K_TENSOR || e->status) break;
        if (out[0]->rank != v->rank || out[0]->dt != v->dt || memcmp(out[0]->shape, shape, sizeof *shape * (size_t)v->rank))
            eval_fail(e, CNN_ESHAPE);
    }
    for (int i = 0; i < n->nout; i++) {
        if (!out[i] && !e->status) die("%s (node %d) has no value", prim_name[n->op], n->id);
        if (n->op == P_if || n->op == P_loop || n->op == P_call)
            if (!e->status) bind_shape(e, &n->out[i], out[i], true);
    }
    return !e->status;
}

// ---- graphs -----------------------------------------------------------------------------------------

static void release(Frame *f, const Val *v) {
    if (f->left[v->id] > 0 || f->plan->pinned[v->id]) return;
    view_drop(f->val[v->id]);
    f->val[v->id] = NULL;
}

static void run_node(Eval *e, Frame *f, const Node *n) {
    View *few[8] = { 0 }, **in = n->nin + n->nout <= 8 ? few : need(calloc((size_t)(n->nin + n->nout), sizeof *in));
    View **out = in + n->nin;
    for (int i = 0; i < n->nin; i++) in[i] = f->val[n->in[i]->id];
    if (f->plan->lazy[n->out[0].id]) out[0] = lazy_map(n, in);
    else eval_node(e, n, in, out);
    for (int i = 0; i < n->nout; i++) f->val[n->out[i].id] = out[i];
    for (int i = 0; i < n->nin; i++) {
        f->left[n->in[i]->id]--;
        release(f, n->in[i]);
    }
    for (int i = 0; i < n->nout; i++) release(f, &n->out[i]);
    if (in != few) free(in);
}

static void run_frame(Eval *e, Frame *f, View *const *in) {
    Graph *g = f->g;
    bool *done = need(calloc((size_t)g->nguard + 1, sizeof *done));
    for (int i = 0; i < g->nin; i++) {
        f->val[g->in[i]->id] = view_ref(in[i]);
        bind_shape(e, g->in[i], in[i], false);
    }
    for (int i = 0; i < g->nin; i++) bind_shape(e, g->in[i], in[i], true);
    int seen = -1;
    for (int i = 0; i < g->nnode && !e->status; i++) {
        if (e->nbind != seen) check_guards(e, g, done);
        seen = e->nbind;
        if (!e->status && g->node[i]->op != P_input) run_node(e, f, g->node[i]);
    }
    if (!e->status) check_guards(e, g, done);
    free(done);
}

bool eval_region(Eval *e, Graph *g, int nin, View *const *in, View **out) {
    if (nin != g->nin) die("a region of %d parameters runs on %d values", g->nin, nin);
    if (e->depth >= MAX_DEPTH) {
        eval_fail(e, CNN_EVALUE);
        return false;
    }
    size_t nval = (size_t)g->nval + 1;
    Frame f = { g, need(calloc(nval, sizeof(View *))), need(calloc(nval, sizeof(int))), plan_of(e, g), e->frame };
    memcpy(f.left, f.plan->uses, nval * sizeof *f.left);
    int bound = e->nbind;
    e->depth++;
    e->frame = &f;
    run_frame(e, &f, in);
    for (int i = 0; i < g->nout; i++) out[i] = e->status ? NULL : view_ref(f.val[g->out[i]->id]);
    for (int i = 0; i < g->nval; i++) view_drop(f.val[i]);
    unbind(e, bound);
    e->frame = f.up;
    e->depth--;
    free(f.val);
    free(f.left);
    return !e->status;
}

int64_t tensor_numel(const Tensor *t) {
    size_t n = 1;
    for (int i = 0; i < t->rank; i++) n = mul_size(n, (size_t)t->shape[i]);
    return (int64_t)n;
}

// Runs g on nin inputs, in the order of g->in; the first nout results, in memory of the arena, go to
// out. Gives the status that generated code would: 0, ESHAPE (inputs do not fit, or a guard fails),
// EINDEX (an index out of range), …; then out is not set.
int eval_graph(Graph *g, int nin, Tensor *const *in, int nout, Tensor **out) {
    Eval e = { .trips = -1 };
    if (nin != g->nin || nout > g->nout) die("a graph of %d inputs and %d outputs runs with %d and %d", g->nin, g->nout, nin, nout);
    View **v = need(calloc((size_t)(g->nin + g->nout + 1), sizeof *v)), **res = v + g->nin;
    for (int i = 0; i < nin; i++) v[i] = view_of_tensor(in[i]);
    if (eval_region(&e, g, nin, v, res))
        for (int i = 0; i < nout; i++) out[i] = view_tensor(&e, res[i], true);
    for (int i = 0; i < g->nin + g->nout; i++) view_drop(v[i]);
    free(v);
    eval_finish(&e);
    return e.status;
}
