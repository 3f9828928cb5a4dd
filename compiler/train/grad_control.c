// SPDX-License-Identifier: Apache-2.0
// Gradients of if and loop. The adjoint of an if is an if of its branches' adjoints; that of a loop is a
// loop over the same iterations backwards. Both compute again what happened inside, the loop from the
// carried values as each iteration began, which the forward loop saves.
#include "train/train.h"

// A region being made, and the outer values that stand behind its parameters from `first` on.
typedef struct { Graph *g; int first; Val **cap; int ncap, room; } Inner;

static Inner inner_new(Grad *s, const Node *n) {
    Inner r = {.g = graph_new(s->g)};
    r.g->origin = n->name ? arena_printf("gradient of %s", n->name) : "gradient";
    return r;
}

static Val *capture(Inner *r, Val *outer) {
    for (int i = 0; i < r->ncap; i++)
        if (r->cap[i] == outer) return r->g->in[r->first + i];
    Val like = *outer;
    like.name = NULL;
    Val *p = b_param(r->g, &like);
    PUSH(r->cap, r->ncap, r->room, outer);
    return p;
}

typedef struct { const Graph *g; bool *live; } Live;

static void mark_load(Ex load, void *ctx) {
    Live *l = ctx;
    if (load->val->node->g == l->g) l->live[load->val->node->id] = true;
}

static bool *live_nodes(const Graph *g) {
    bool *live = NEWN(bool, g->nnode + 1);
    Live l = {g, live};
    for (int i = 0; i < g->nout; i++) live[g->out[i]->node->id] = true;
    for (int i = g->nnode - 1; i >= 0; i--) {
        if (!live[i]) continue;
        for (int k = 0; k < g->node[i]->nin; k++) live[g->node[i]->in[k]->node->id] = true;
        node_each_load(g->node[i], mark_load, &l);
    }
    return live;
}

// Drops the captures that none of the regions needs; all of them have the same.
static void drop_unused(int n, Inner *const *r) {
    bool *live[2] = {live_nodes(r[0]->g), n > 1 ? live_nodes(r[1]->g) : NULL};
    int first = r[0]->first, kept = 0, ncap = r[0]->ncap;
    for (int i = 0; i < ncap; i++) {
        bool keep = false;
        for (int k = 0; k < n; k++) keep |= live[k][r[k]->g->in[first + i]->node->id];
        if (!keep) continue;
        for (int k = 0; k < n; k++) {
            r[k]->cap[kept] = r[k]->cap[i];
            r[k]->g->in[first + kept] = r[k]->g->in[first + i];
            r[k]->g->in[first + kept]->node->axis = first + kept;
        }
        kept++;
    }
    for (int k = 0; k < n; k++) {
        r[k]->ncap = kept;
        r[k]->g->nin = first + kept;
        r[k]->g = graph_rebuild(r[k]->g);
    }
}

static bool is_float_tensor(const Val *v) { return v->kind == K_TENSOR && dt_is_float(v->dt); }

// ---- if ---------------------------------------------------------------------------------------------

// The adjoints of the captures in `wrt`, as outputs of a region that computes the branch and goes back.
static bool adjoint_branch(Grad *s, const Node *n, const Graph *branch, Inner *r, const bool *wrt) {
    int ncap = n->nin - 1, nroot = 0, nwrt = 0;
    Val **args = NEWN(Val *, ncap + 1), **out = NEWN(Val *, n->nout + 1), **root = NEWN(Val *, n->nout + 1);
    Val **seed = NEWN(Val *, n->nout + 1), **of = NEWN(Val *, ncap + 1);
    for (int i = 0; i < ncap; i++) {
        Val like = *n->in[1 + i];
        args[i] = b_param(r->g, &like);
        PUSH(r->cap, r->ncap, r->room, n->in[1 + i]);
        if (wrt[i]) of[nwrt++] = args[i];
    }
    graph_splice(r->g, branch, args, out);
    for (int i = 0; i < n->nout; i++) {
        Val *dy = s->adj[n->out[i].id];
        if (!dy) continue;
        root[nroot] = out[i];
        seed[nroot++] = capture(r, dy);
    }
    Val **d = grad_from(r->g, nroot, root, seed, nwrt, of);
    for (int i = 0; d && i < nwrt; i++) graph_output(r->g, d[i], intern(arena_printf("d%d", i)));
    return d != NULL;
}

void grad_if(Grad *s, Node *n) {
    int ncap = n->nin - 1, k = 0;
    bool *wrt = NEWN(bool, ncap + 1);
    for (int i = 0; i < ncap; i++) wrt[i] = s->needs[n->in[1 + i]->id] && is_float_tensor(n->in[1 + i]);
    Inner a = inner_new(s, n), b = inner_new(s, n);
    if (!adjoint_branch(s, n, n->region[0].g, &a, wrt) || !adjoint_branch(s, n, n->region[1].g, &b, wrt)) {
        s->errors++;
        return;
    }
    drop_unused(2, (Inner *[]){&a, &b});
    Node *d = b_if(s->g, n->in[0], a.g, b.g, a.ncap, a.cap);
    for (int i = 0; i < ncap; i++)
        if (wrt[i]) contribute(s, n->in[1 + i], &d->out[k++]);
}

// ---- loop -------------------------------------------------------------------------------------------

static Val *index_const(Graph *g, Ex e) { return b_dims(g, I64, 0, NULL, &e); }

static Val *truth(Graph *g) {
    Data *yes = data_new(BOOL, 1);
    data_set(yes, 0, (Scalar){.i = 1});
    return b_const(g, yes, 0, NULL);
}

// Row `at` of x, with a leading axis of 1: a node that no constructor looks through.
static Val *gather_row(Graph *g, Val *x, Val *at) {
    Ex one[MAX_RANK], shape[MAX_RANK];
    for (int i = 0; i < x->rank; i++) {
        one[i] = e_int(1);
        shape[i] = i ? x->shape[i] : e_int(1);
    }
    Val *index = b_expand(g, b_reshape(g, at, x->rank, one), shape);
    return b_gather(g, x, index, 0);
}

static Val *without_first(Graph *g, Val *x) { return b_reshape(g, x, x->rank - 1, x->shape + 1); }

static Val *row_of(Graph *g, Val *x, Val *at) { return without_first(g, gather_row(g, x, at)); }

// A capture of the loop: where its adjoint is summed (acc), or the rows that are all that is read of it.
typedef struct { Val *outer, *param, *acc, **row; int nrow, cap_row; bool wanted; } Captured;

// Of the loop going backwards.
typedef struct {
    Grad *s;
    Node *n;
    Inner r;
    int ncarry, ncap; // of the forward loop
    Val *at;          // the iteration that is gone back through
    Val **begin;      // carried values as it began, with a leading axis: rows of what the forward loop saved
    Val **dcarry;     // parameters: adjoints of carried values; NULL: not wanted
    Captured *cap;
    Val **out;        // results of the iteration
    Val **wrt, **d;
    int nwrt;
} Back;

static bool wanted(const Grad *s, const Val *v) { return is_float_tensor(v) && v->id < s->nval && s->needs[v->id]; }

static bool is_at(const Val *v, const Val *at) {
    while (v != at && (v->node->op == P_reshape || v->node->op == P_expand)) v = v->node->in[0];
    return v == at;
}

// Whether node m reads operand k as a row: that of the iteration `at`.
static bool reads_row(const Node *m, int k, const Val *at) {
    return m->op == P_gather && k == 0 && m->axis == 0 && is_at(m->in[1], at) && e_is(m->out[0].shape[0], 1);
}

// Whether all that g reads of x is the row of the iteration: as scans and recurrent operators read their input.
static bool only_rows(const Graph *g, const Val *x, const Val *at) {
    for (int i = 0; i < g->nout; i++)
        if (g->out[i] == x) return false;
    for (int i = 0; i < g->nnode; i++)
        for (int k = 0; k < g->node[i]->nin; k++)
            if (g->node[i]->in[k] == x && !reads_row(g->node[i], k, at)) return false;
    return true;
}

static void find_rows(const Graph *g, Captured *c, const Val *at) {
    for (int i = 0; i < g->nnode; i++)
        for (int k = 0; k < g->node[i]->nin; k++)
            if (g->node[i]->in[k] == c->param && reads_row(g->node[i], k, at)) PUSH(c->row, c->nrow, c->cap_row, &g->node[i]->out[0]);
}

// How many iterations were done: the leading extent of what each leaves behind.
static Val *trips(Back *b) {
    Node *n = b->n;
    if (n->flag & 1) return n->in[0];
    if (n->nout > n->axis) return index_const(b->s->g, n->out[n->axis].shape[0]);
    return index_const(b->s->g, loop_save_carried(n, 0)->shape[0]);
}

static Val *param_like(Graph *g, const Val *v) {
    Val like = *v;
    like.name = NULL;
    return b_param(g, &like);
}

// Parameters: iteration, condition, adjoints of carried values, sums of captures' adjoints; then captures.
static void back_params(Back *b) {
    Graph *g = b->r.g;
    const Graph *body = b->n->region->g;
    Val *it = b_param(g, &(Val){.kind = K_TENSOR, .dt = I64});
    b_param(g, &(Val){.kind = K_TENSOR, .dt = BOOL});
    for (int i = 0; i < b->ncarry; i++)
        if (wanted(b->s, &b->n->out[i])) b->dcarry[i] = param_like(g, b->n->in[2 + i]);
    for (int i = 0; i < b->ncap; i++) {
        Captured *c = &b->cap[i];
        c->outer = b->n->in[2 + b->ncarry + i];
        c->wanted = wanted(b->s, c->outer);
        if (c->wanted && !only_rows(body, body->in[2 + b->ncarry + i], body->in[0])) c->acc = param_like(g, c->outer);
    }
    b->r.first = g->nin;
    b->at = fn2(g, FN_sub, fn2(g, FN_sub, capture(&b->r, trips(b)), index_const(g, e_int(1))), it);
}

// The iteration once more.
static bool again(Back *b) {
    Graph *g = b->r.g;
    Val **args = NEWN(Val *, 2 + b->ncarry + b->ncap);
    args[0] = b->at;
    args[1] = truth(g);
    for (int i = 0; i < b->ncarry; i++) {
        if (b->n->in[2 + i]->kind != K_TENSOR) return refuse(b->s, b->n, "a loop that carries a sequence"), false;
        b->begin[i] = gather_row(g, capture(&b->r, loop_save_carried(b->n, i)), b->at);
        args[2 + i] = without_first(g, b->begin[i]);
    }
    for (int i = 0; i < b->ncap; i++) args[2 + b->ncarry + i] = b->cap[i].param = capture(&b->r, b->cap[i].outer);
    graph_splice(g, b->n->region->g, args, b->out);
    return true;
}

static void back_wrt(Back *b) {
    int room = b->ncarry;
    for (int i = 0; i < b->ncap; i++) {
        Captured *c = &b->cap[i];
        if (c->wanted && !c->acc) find_rows(b->r.g, c, b->at);
        room += c->nrow + 1;
    }
    b->wrt = NEWN(Val *, room + 1);
    for (int i = 0; i < b->ncarry; i++)
        if (b->dcarry[i]) b->wrt[b->nwrt++] = b->begin[i];
    for (int i = 0; i < b->ncap; i++) {
        Captured *c = &b->cap[i];
        if (c->acc) b->wrt[b->nwrt++] = c->param;
        for (int k = 0; k < c->nrow; k++) b->wrt[b->nwrt++] = c->row[k];
    }
}

// Seeds: the adjoints of what the iteration handed on, and of the rows that it gave.
static bool back_adjoints(Back *b, int nout) {
    Node *n = b->n;
    int nroot = 0;
    Val **root = NEWN(Val *, nout + 1), **seed = NEWN(Val *, nout + 1);
    for (int i = 0; i < nout; i++) {
        Val *dy = i < b->ncarry ? b->dcarry[i] : b->s->adj[n->out[i].id];
        if (!dy) continue;
        root[nroot] = b->out[1 + i];
        seed[nroot++] = i < b->ncarry ? dy : row_of(b->r.g, capture(&b->r, dy), b->at);
    }
    back_wrt(b);
    b->d = grad_from(b->r.g, nroot, root, seed, b->nwrt, b->wrt);
    return b->d != NULL;
}

// The results of an iteration backwards: adjoints handed on, sums, rows of captures' adjoints.
static void back_results(Back *b) {
    Graph *g = b->r.g;
    int k = 0;
    graph_output(g, truth(g), "go");
    for (int i = 0; i < b->ncarry; i++)
        if (b->dcarry[i]) graph_output(g, without_first(g, b->d[k++]), "adjoint");
    int at = k;
    for (int i = 0; i < b->ncap; i++) {
        if (b->cap[i].acc) graph_output(g, fn2(g, FN_add, b->cap[i].acc, b->d[at++]), "sum");
        at += b->cap[i].nrow;
    }
    at = k;
    for (int i = 0; i < b->ncap; i++) {
        Captured *c = &b->cap[i];
        at += c->acc != NULL;
        if (!c->nrow) continue;
        Val *d = b->d[at++];
        for (int r = 1; r < c->nrow; r++) d = fn2(g, FN_add, d, b->d[at++]);
        graph_output(g, without_first(g, d), "row");
    }
}

// x's rows, which the loop backwards gave last first, in order, and zeros for those that were not read.
static Val *rows_in_order(Graph *g, Val *rows, const Val *x) {
    Ex n = rows->shape[0], more = e_sub(x->shape[0], n);
    Val *v = b_slice(g, rows, 0, e_sub(n, e_int(1)), n, e_int(-1));
    return e_is(more, 0) ? v : b_pad(g, v, 0, e_int(0), more, splat(g, v->dt, 0, 0, NULL));
}

static void back_contribute(Back *b, const Node *d) {
    int k = 0;
    for (int i = 0; i < b->ncarry; i++)
        if (b->dcarry[i]) contribute(b->s, b->n->in[2 + i], &d->out[k++]);
    for (int i = 0; i < b->ncap; i++)
        if (b->cap[i].acc) contribute(b->s, b->cap[i].outer, &d->out[k++]);
    for (int i = 0; i < b->ncap; i++)
        if (b->cap[i].nrow) contribute(b->s, b->cap[i].outer, rows_in_order(b->s->g, &d->out[k++], b->cap[i].outer));
}

// Starting values: the adjoints of the final carried values, and zeros to sum from.
static Node *back_loop(Back *b) {
    Graph *g = b->s->g;
    int n = 0;
    Val **carry = NEWN(Val *, b->ncarry + b->ncap + 1);
    for (int i = 0; i < b->ncarry; i++) {
        if (!b->dcarry[i]) continue;
        Val *dy = b->s->adj[b->n->out[i].id], *x = b->n->in[2 + i];
        carry[n++] = !dy ? splat_like(g, x, 0) : val_same_shape(dy, x) ? dy : b_reshape(g, dy, x->rank, x->shape);
    }
    for (int i = 0; i < b->ncap; i++)
        if (b->cap[i].acc) carry[n++] = splat_like(g, b->cap[i].outer, 0);
    Val *trip = trips(b);
    drop_unused(1, (Inner *[]){&b->r});
    return b_loop(g, trip, truth(g), n, carry, b->r.ncap, b->r.cap, b->r.g);
}

void grad_loop(Grad *s, Node *n) {
    int nout = n->nout;
    Back b = {.s = s, .n = n, .ncarry = n->axis, .ncap = n->nin - 2 - n->axis, .r = inner_new(s, n)};
    b.dcarry = NEWN(Val *, b.ncarry + 1);
    b.begin = NEWN(Val *, b.ncarry + 1);
    b.cap = NEWN(Captured, b.ncap + 1);
    b.out = NEWN(Val *, nout + b.ncarry + 2);
    back_params(&b);
    if (!again(&b)) return;
    if (!back_adjoints(&b, nout)) {
        s->errors++;
        return;
    }
    back_results(&b);
    back_contribute(&b, back_loop(&b));
}
