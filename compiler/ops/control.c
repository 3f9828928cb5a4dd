// SPDX-License-Identifier: Apache-2.0
// Constants, and operators with sub-graphs.
#include "ops/op.h"
#include "ops/sequence.h"

#include <string.h>

// ---- Constant ------------------------------------------------------------------------------------

static Val *int_const(Op *o, int rank, int n, const int64_t *v) {
    Data *d = data_new(I64, (size_t)n);
    for (int i = 0; i < n; i++) data_set(d, (size_t)i, (Scalar){.i = v[i]});
    return b_const(o->g, d, rank, (Ex[]){e_int(n)});
}

static Val *float_const(Op *o, int rank, int n, const float *v) {
    Data *d = data_new(F32, (size_t)n);
    for (int i = 0; i < n; i++) data_set(d, (size_t)i, (Scalar){.f = (double)v[i]});
    return b_const(o->g, d, rank, (Ex[]){e_int(n)});
}

static Val *string_const(Op *o, int rank, int n, const DataStr *v) {
    Data *d = data_new(STR, (size_t)n);
    if (n) memcpy((void *)(intptr_t)d->p, v, (size_t)n * sizeof *v);
    return b_const(o->g, d, rank, (Ex[]){e_int(n)});
}

// y = the one value attribute
static void constant(Op *o) {
    const int64_t *ints;
    const float *floats;
    const DataStr *strs;
    int n;
    if (o->nattr != 1) op_fail(o, "%d attributes, needs 1", o->nattr);
    if (attr_has(o, "value")) {
        o->out[0] = attr_tensor(o, "value");
    } else if (attr_has(o, "sparse_value")) {
        o->out[0] = attr_tensor(o, "sparse_value");
    } else if (attr_has(o, "value_int")) {
        int64_t v = attr_int(o, "value_int");
        o->out[0] = int_const(o, 0, 1, &v);
    } else if (attr_has(o, "value_float")) {
        o->out[0] = scalar(o, F32, attr_float(o, "value_float"));
    } else if (attr_has(o, "value_string")) {
        const char *s = attr_str(o, "value_string");
        o->out[0] = string_const(o, 0, 1, &(DataStr){s, strlen(s)});
    } else if ((n = attr_ints(o, "value_ints", &ints)) >= 0) {
        o->out[0] = int_const(o, 1, n, ints);
    } else if ((n = attr_floats(o, "value_floats", &floats)) >= 0) {
        o->out[0] = float_const(o, 1, n, floats);
    } else if ((n = attr_strs(o, "value_strings", &strs)) >= 0) {
        o->out[0] = string_const(o, 1, n, strs);
    }
}

// ---- If ------------------------------------------------------------------------------------------

// A condition or count as rank 0: some exporters give it one dimension of extent 1.
static Val *as_scalar(Op *o, Val *x, const char *what) {
    if (x->rank == 0) return x;
    for (int i = 0; i < x->rank; i++)
        if (!e_is(dim(x, i), 1)) op_fail(o, "%s has more than one element", what);
    return reshape(o, x, 0, NULL);
}

// Whether a boolean is known: 0, 1, or -1.
static int known_truth(Val *x) {
    Ex e;
    int64_t c;
    return known_ints(x, &e, 1) == 1 && e_is_const(e, &c) ? c != 0 : -1;
}

static int find_val(Val *const *v, int n, const Val *x) {
    for (int i = 0; i < n; i++)
        if (v[i] == x) return i;
    return -1;
}

// Gives the region g, whose parameters are the values in `own`, a parameter for each of `all`, in order.
static void order_params(Graph *g, int nown, Val *const *own, int nall, Val *const *all) {
    Val **in = NEWN(Val *, nall + 1);
    for (int i = 0; i < nall; i++) {
        int at = find_val(own, nown, all[i]);
        in[i] = at >= 0 ? g->in[at] : b_param(g, all[i]);
    }
    g->nin = 0;
    for (int i = 0; i < nall; i++) PUSH(g->in, g->nin, g->cap_in, in[i]);
}

// v with leading dimensions of 1: what broadcasts it to that many dimensions sees no difference.
static Val *with_rank(const Op *o, Graph *g, Val *v, int rank) {
    Ex shape[MAX_RANK];
    Op in = *o;
    in.g = g;
    for (int i = 0; i < rank; i++) shape[i] = i < rank - v->rank ? e_int(1) : v->shape[i - (rank - v->rank)];
    Val *r = b_copy(g, reshape(&in, v, rank, shape)); // a value of its own
    r->loose = true;
    return r;
}

static void check_branches(Op *o, Graph *a, Graph *b) {
    for (int i = 0; i < o->nout; i++) {
        a->out[i] = sequence_run(a, a->out[i]);
        b->out[i] = sequence_run(b, b->out[i]);
        const Val *x = a->out[i], *y = b->out[i];
        if (x->kind != y->kind || x->item != y->item)
            op_fail(o, "output %d is of one kind in one branch, of another in the other", i);
        if (x->dt != y->dt)
            op_fail(o, "output %d is %s in one branch, %s in the other", i, dt_onnx_name(x->dt), dt_onnx_name(y->dt));
        if (x->kind != K_TENSOR || x->rank == y->rank) continue;
        Graph *g = x->rank < y->rank ? a : b;
        g->out[i] = with_rank(o, g, x->rank < y->rank ? a->out[i] : b->out[i], x->rank < y->rank ? y->rank : x->rank);
    }
}

// Whether a condition says that two extents are equal: sets them.
static bool is_equality(Val *cond, Ex *a, Ex *b) {
    const Node *n = cond->node;
    while (n->op == P_reshape) n = n->in[0]->node;
    return n->op == P_map && n->fn == FN_eq && n->in[0]->elems && n->in[1]->elems && e_is(val_numel(cond), 1) &&
           (*a = n->in[0]->elems[0], *b = n->in[1]->elems[0], true);
}

// Branches of different ranks, as exporters write a Squeeze of an axis that may not be 1: the one where
// the extents are equal is taken, and that they are is guarded.
static bool assume_equal(Op *o, const Graph *x, const Graph *y) {
    bool differ = false;
    for (int i = 0; i < o->nout; i++)
        differ |= x->out[i]->kind == K_TENSOR && y->out[i]->kind == K_TENSOR && x->out[i]->rank != y->out[i]->rank;
    Ex a, b;
    if (!differ || !is_equality(o->in[0], &a, &b)) return false;
    warning("node '%s' (If): %s is taken to be %s", o->name, e_str(a), e_str(b));
    graph_guard(o->g, G_EQ, a, b, "the only case that is supported");
    return true;
}

// A branch; NULL where it cannot run, for sizes that the command line fixes.
static Graph *branch(Op *o, const char *name, int *ncap, Val ***cap, const char **why) {
    bool fixed = o->opt->nshape || o->opt->ndim;
    return fixed ? attr_graph_try(o, name, ncap, cap, why) : attr_graph(o, name, 0, NULL, ncap, cap);
}

// One branch cannot run: the other is taken, and that the condition says so is guarded.
static void assume_truth(Op *o, bool truth, const char *why) {
    warning("node '%s' (If): its %s_branch cannot run for these sizes, and is refused by the run: %s", o->name, truth ? "else" : "then", why);
    Val *cond = cast(o, as_scalar(o, o->in[0], "the condition"), I64);
    graph_guard(o->g, G_MUST, e_load(cond, 0, NULL), e_int(truth), "the only branch that can run");
}

static void inline_branch(Op *o, bool truth) {
    int nin, nout;
    const char *name = truth ? "then_branch" : "else_branch";
    attr_graph_counts(o, name, &nin, &nout);
    Val **out = NEWN(Val *, nout + 1);
    attr_inline(o, name, o->g, 0, NULL, out, NULL);
    for (int i = 0; i < o->nout; i++) o->out[i] = out[i];
}

// y = cond ? then_branch() : else_branch(). A known condition leaves one branch, in place.
static void op_if(Op *o) {
    int truth = known_truth(o->in[0]), nin, nout[2];
    attr_graph_counts(o, "then_branch", &nin, &nout[0]);
    attr_graph_counts(o, "else_branch", &nin, &nout[1]);
    if (nout[0] < o->nout || nout[1] < o->nout) op_fail(o, "a branch has fewer outputs than the node");
    if (truth >= 0) {
        inline_branch(o, truth != 0);
        return;
    }
    int ncap[2];
    Val **cap[2];
    const char *why;
    Graph *then_g = branch(o, "then_branch", &ncap[0], &cap[0], &why);
    Graph *else_g = branch(o, "else_branch", &ncap[1], &cap[1], &why);
    if (!then_g && !else_g) op_fail(o, "none of its branches can run: %s", why);
    if (!then_g || !else_g) {
        assume_truth(o, then_g != NULL, why);
        inline_branch(o, then_g != NULL);
        return;
    }
    if (assume_equal(o, then_g, else_g)) {
        inline_branch(o, true);
        return;
    }
    check_branches(o, then_g, else_g);
    then_g->nout = else_g->nout = o->nout;
    Val **all = NEWN(Val *, ncap[0] + ncap[1] + 1);
    int n = 0;
    for (int b = 0; b < 2; b++)
        for (int i = 0; i < ncap[b]; i++)
            if (find_val(all, n, cap[b][i]) < 0) all[n++] = cap[b][i];
    order_params(then_g, ncap[0], cap[0], n, all);
    order_params(else_g, ncap[1], cap[1], n, all);
    Node *node = b_if(o->g, as_scalar(o, o->in[0], "the condition"), then_g, else_g, n, all);
    for (int i = 0; i < o->nout; i++) {
        o->out[i] = &node->out[i];
        o->out[i]->loose = then_g->out[i]->loose || else_g->out[i]->loose;
    }
}

// ---- Loop and Scan -----------------------------------------------------------------------------------

// A loop's body being made: iteration, condition, carried values and captures are its parameters.
typedef struct {
    Graph *g;
    Op op; // the operator, with new nodes going into the body
    int ncarry;
    Val **carry; // their types in the body: an extent that an iteration may change is a symbol
    Val *type;    // of carried values: of a sequence, of whatever it holds in any iteration
    bool (*vary)[MAX_RANK];
} Body;

// Starts the region. An empty carried extent is taken to grow.
static void body_start(Op *o, Body *b, int ncarry, Val *const *init) {
    b->g = b_loop_body(o->g);
    b->op = *o;
    b->op.g = b->g;
    if (!b->vary) b->vary = arena_alloc(sizeof *b->vary * (size_t)(ncarry + 1));
    b->ncarry = ncarry;
    b->carry = NEWN(Val *, ncarry + 1);
    if (!b->type) {
        b->type = NEWN(Val, ncarry + 1);
        for (int i = 0; i < ncarry; i++) b->type[i] = *init[i];
    }
    for (int i = 0; i < ncarry; i++) {
        Val type = b->type[i];
        Ex shape[MAX_RANK];
        for (int k = 0; k < type.rank && type.kind != K_TENSOR; k++) shape[k] = type.shape[k];
        for (int k = 0; k < type.rank && type.kind == K_TENSOR; k++)
            shape[k] = b->vary[i][k] || e_is(type.shape[k], 0) ? extent_new() : type.shape[k];
        type.shape = shape;
        type.name = NULL;
        b->carry[i] = b_param(b->g, &type);
    }
}

// Whether every carried value leaves the body as it came in; else the extents that differ vary, and the
// body is to be made again.
static bool body_stable(Op *o, Body *b, Val **next) {
    bool stable = true;
    for (int i = 0; i < b->ncarry; i++) {
        const Val *from = b->carry[i], *to = next[i] = sequence_run(b->g, next[i]);
        if (from->kind == K_OPT && to->kind == from->item) // the value of an optional stands for it
            to = next[i] = sequence_run(b->g, sequence_new(b->g, K_OPT, to->dt, 1, &next[i]));
        if (from->kind != K_TENSOR && from->kind == to->kind && from->rank == RANK_NO_ITEMS) b->type[i].dt = to->dt;
        if (from->kind != to->kind || from->item != to->item || (from->dt != to->dt && from->dt == b->type[i].dt))
            op_fail(o, "carried value %d is %s, but %s after an iteration", i, dt_onnx_name(from->dt),
                    dt_onnx_name(to->dt));
        if (from->kind == K_TENSOR && from->rank != to->rank)
            op_fail(o, "carried value %d has %d dimensions, but %d after an iteration", i, from->rank, to->rank);
        if (from->kind != K_TENSOR) {
            Val both = list_join(from, to);
            stable &= list_same_type(&both, from);
            b->type[i].rank = both.rank;
            b->type[i].shape = both.shape;
            continue;
        }
        for (int k = 0; k < from->rank; k++) {
            if (from->shape[k] == to->shape[k] || extent_inside(b->g, from->shape[k])) continue;
            b->vary[i][k] = true;
            stable = false;
        }
    }
    return stable;
}

// A loop that carries a sequence is done trip by trip where their number is known, which keeps the sequence
// known too. False: only the run knows it.
static bool unroll_loop(Op *o, Val *trip, Val *cond, int ncarry, int nout) {
    enum { MOST = 10000 };
    int nscan = nout - 1 - ncarry, truth = cond ? known_truth(cond) : 1, guards = o->g->nguard;
    int64_t n = MOST, i = 0;
    Ex e;
    for (int k = 0; k < ncarry; k++)
        if (o->in[2 + k]->kind != K_TENSOR && !sequence_known(o->in[2 + k])) return false;
    if (trip && (known_ints(trip, &e, 1) != 1 || !e_is_const(e, &n))) return false;
    Val **param = NEWN(Val *, ncarry + 2), **out = NEWN(Val *, nout + 1), ***rows = NEWN(Val **, nscan + 1);
    int *cap = NEWN(int, nscan + 1), *len = NEWN(int, nscan + 1);
    for (int k = 0; k < ncarry; k++) param[2 + k] = o->in[2 + k];
    for (; i < n && truth == 1; i++) {
        if (i == MOST) return false;
        param[0] = scalar_int(o, I64, i);
        param[1] = scalar_int(o, BOOL, 1);
        attr_inline(o, "body", o->g, ncarry + 2, param, out, NULL);
        truth = cond ? known_truth(out[0]) : 1;
        for (int k = 0; k < ncarry; k++) param[2 + k] = out[1 + k];
        for (int k = 0; k < nscan; k++) PUSH(rows[k], len[k], cap[k], unsqueeze(o, out[1 + ncarry + k], 0));
    }
    if (truth < 0 || (i == 0 && nscan > 0 && o->nout > ncarry)) {
        o->g->nguard = guards; // what was made is not used
        return false;
    }
    for (int k = 0; k < o->nout; k++)
        o->out[k] = k < ncarry ? param[2 + k] : concat(o, len[k - ncarry], rows[k - ncarry], 0);
    return true;
}

// trip: at most so often; cond: while it holds, NULL always. y = carried values, then stacked ones
static void op_loop(Op *o) {
    Val *trip = o->in[0], *cond = o->nin > 1 ? o->in[1] : NULL;
    int ncarry = o->nin > 2 ? o->nin - 2 : 0, nin, nout, ncap;
    Val **init = o->in + 2, **cap, **out, **param;
    for (int i = 0; i < ncarry; i++)
        if (!init[i]) op_fail(o, "input %d is missing", i + 2);
    attr_graph_counts(o, "body", &nin, &nout);
    if (nin != ncarry + 2) op_fail(o, "the body has %d inputs, needs %d", nin, ncarry + 2);
    if (nout < ncarry + 1 || nout - 1 < o->nout) op_fail(o, "the body has %d outputs", nout);
    bool lists = false;
    for (int i = 0; i < ncarry; i++) lists |= init[i]->kind != K_TENSOR;
    if (lists && unroll_loop(o, trip, cond, ncarry, nout)) return;
    Val **given = init;
    init = NEWN(Val *, ncarry + 1);
    for (int i = 0; i < ncarry; i++) init[i] = sequence_run(o->g, given[i]);
    out = NEWN(Val *, nout + 1);
    param = NEWN(Val *, nin + 1);
    Body b = {0};
    bool *held = NEWN(bool, ncarry + 1); // an optional whose value comes back: the result is the value
    do {
        body_start(o, &b, ncarry, init);
        for (int i = 0; i < nin; i++) param[i] = b.g->in[i];
        ncap = attr_inline(o, "body", b.g, nin, param, out, &cap);
        for (int i = 0; i < ncarry; i++) held[i] = init[i]->kind == K_OPT && out[1 + i]->kind != K_OPT;
    } while (!body_stable(o, &b, out + 1));
    Val *keep = cond ? as_scalar(&b.op, out[0], "the condition") : scalar_int(&b.op, BOOL, 1);
    if (keep->dt != BOOL) op_fail(o, "the body's condition is %s", dt_onnx_name(keep->dt));
    graph_output(b.g, keep, "cond");
    for (int i = 1; i < nout; i++) graph_output(b.g, out[i], out[i]->name ? out[i]->name : "");
    cond = cond ? as_scalar(o, cond, "the condition") : scalar_int(o, BOOL, 1);
    trip = trip ? as_scalar(o, trip, "the trip count") : scalar_int(o, I64, INT64_MAX);
    Node *n = b_loop(o->g, trip, cond, ncarry, init, ncap, cap, b.g);
    for (int i = 0; i < o->nout; i++) o->out[i] = i < ncarry && held[i] ? optional_value(o, &n->out[i]) : &n->out[i];
}

// The axis and direction that two attributes give to number i of n.
static int scan_axis(Op *o, const char *attr, int i, int rank) {
    const int64_t *v;
    int n = attr_ints(o, attr, &v);
    return axis_of(o, i < n ? v[i] : 0, rank);
}

static bool scan_reversed(Op *o, const char *attr, int i) {
    const int64_t *v;
    int n = attr_ints(o, attr, &v);
    return i < n && v[i] != 0;
}

// Row i of a scan input inside of the body, where x is a parameter.
static Val *scan_row(Op *in, Val *x, Val *i, int axis, bool reversed) {
    if (reversed) i = sub(in, b_dims(in->g, I64, 0, NULL, (Ex[]){e_sub(dim(x, axis), e_int(1))}), i);
    return take(in, x, i, axis);
}

typedef struct {
    int nstate, nscan, nout; // carried values, scanned inputs, stacked outputs
    int axis[64];            // of the scanned inputs
    bool reversed[64];
    int out_axis[64];
    bool out_reversed[64];
} ScanShape;

static void scan_shape(Op *o, ScanShape *s, Val *const *x) {
    int nin, nout;
    attr_graph_counts(o, "body", &nin, &nout);
    s->nscan = (int)attr_int(o, "num_scan_inputs");
    s->nstate = o->nin - s->nscan;
    s->nout = nout - s->nstate;
    if (s->nscan < 1 || s->nscan > 64 || s->nstate < 0 || s->nout < 0 || s->nout > 64 || nin != o->nin)
        op_fail(o, "%d scan inputs of %d do not fit a body of %d inputs and %d outputs", s->nscan, o->nin, nin, nout);
    if (o->nout > nout) op_fail(o, "%d outputs, the body has %d", o->nout, nout);
    for (int i = 0; i < s->nscan; i++) {
        s->axis[i] = scan_axis(o, "scan_input_axes", i, x[s->nstate + i]->rank);
        s->reversed[i] = scan_reversed(o, "scan_input_directions", i);
        Ex n = dim(x[s->nstate + i], s->axis[i]), first = dim(x[s->nstate], s->axis[0]);
        if (n != first) graph_guard(o->g, G_EQ, n, first, "scan inputs of one length");
    }
}

// state, y[i] = body(state, x[i]): a loop of the scanned axis's length. x: states, then scanned inputs
static void scan_loop(Op *o, ScanShape *s, Val *const *x, Val **y) {
    int nbody = s->nstate + s->nout, nin = s->nstate + s->nscan, ncap;
    Val **out = NEWN(Val *, nbody + 1), **param = NEWN(Val *, nin + 1), **inner;
    Body b = {0};
    do {
        body_start(o, &b, s->nstate, x);
        for (int i = 0; i < s->nstate; i++) param[i] = b.carry[i];
        Val *full[64];
        for (int i = 0; i < s->nscan; i++) full[i] = b_param(b.g, x[s->nstate + i]);
        for (int i = 0; i < s->nscan; i++)
            param[s->nstate + i] = scan_row(&b.op, full[i], b.g->in[0], s->axis[i], s->reversed[i]);
        ncap = attr_inline(o, "body", b.g, nin, param, out, &inner);
    } while (!body_stable(o, &b, out));
    graph_output(b.g, scalar_int(&b.op, BOOL, 1), "cond");
    for (int i = 0; i < nbody; i++) graph_output(b.g, out[i], out[i]->name ? out[i]->name : "");
    Val **cap = NEWN(Val *, s->nscan + ncap + 1);
    for (int i = 0; i < s->nscan; i++) cap[i] = x[s->nstate + i];
    for (int i = 0; i < ncap; i++) cap[s->nscan + i] = inner[i];
    Ex n = dim(x[s->nstate], s->axis[0]);
    Val *trip = b_dims(o->g, I64, 0, NULL, &n);
    Node *loop = b_loop(o->g, trip, scalar_int(o, BOOL, 1), s->nstate, x, s->nscan + ncap, cap, b.g);
    for (int i = 0; i < nbody; i++) y[i] = &loop->out[i];
    for (int i = 0; i < s->nout; i++) {
        Val *v = y[s->nstate + i];
        if (s->out_reversed[i]) {
            Ex len = dim(v, 0);
            v = slice(o, v, 0, e_sub(len, e_int(1)), len, e_int(-1));
        }
        y[s->nstate + i] = move_axis(o, v, 0, s->out_axis[i]);
    }
}

// y = the states and stacked outputs of a body over the slices of the scanned inputs
static void op_scan(Op *o) {
    ScanShape s = {0};
    for (int i = 0; i < o->nin; i++)
        if (!o->in[i]) op_fail(o, "input %d is missing", i);
    if (attr_int(o, "num_scan_inputs") > o->nin) op_fail(o, "more scan inputs than inputs");
    scan_shape(o, &s, o->in);
    Val **y = NEWN(Val *, s.nstate + s.nout + 1);
    for (int i = 0; i < s.nout; i++) {
        s.out_reversed[i] = scan_reversed(o, "scan_output_directions", i);
        const int64_t *v;
        int n = attr_ints(o, "scan_output_axes", &v);
        s.out_axis[i] = i < n ? (int)v[i] : 0;
    }
    scan_loop(o, &s, o->in, y);
    for (int i = 0; i < o->nout; i++) o->out[i] = y[i];
}

// The first version: input 0 gives lengths, everything has a leading batch axis, and axis 1 is scanned: a loop
// over the batch around the one over the steps. What comes after a sequence's length is 0.
static void op_scan8(Op *o) {
    if (o->nin < 2 || attr_int(o, "num_scan_inputs") > o->nin - 1) op_fail(o, "more scan inputs than inputs");
    for (int i = 1; i < o->nin; i++)
        if (!o->in[i] || o->in[i]->rank < 1) op_fail(o, "input %d needs a batch axis", i);
    Ex batch = dim(o->in[1], 0);
    Op in = op_within(o, b_loop_body(o->g));
    int ncap = 0, nin = o->nin - 1;
    Val **cap, **x = NEWN(Val *, nin), *len = NULL;
    for (int i = o->in[0] ? 0 : 1; i < o->nin; i++) {
        graph_guard(o->g, G_EQ, dim(o->in[i], 0), batch, "one batch");
        Val *row = take(&in, b_param(in.g, o->in[i]), in.g->in[0], 0);
        if (i) x[i - 1] = row;
        else len = row;
    }
    in.in = x, in.nin = nin; // without the lengths
    ScanShape s = {0};
    scan_shape(&in, &s, x);
    Ex steps = dim(x[s.nstate], 0), n = len ? e_size(len, 0, NULL) : steps;
    if (len) {
        graph_guard(in.g, G_GE, steps, n, "a sequence's length");
        for (int i = s.nstate; i < nin; i++) x[i] = slice(&in, x[i], 0, e_int(0), n, e_int(1));
    }
    for (int i = 0; i < s.nscan; i++) s.reversed[i] = scan_reversed(o, "directions", i);
    Val **y = NEWN(Val *, s.nstate + s.nout + 1);
    scan_loop(&in, &s, x, y);
    graph_output(in.g, scalar_int(&in, BOOL, 1), "cond");
    for (int i = 0; i < o->nout; i++) {
        if (len && i >= s.nstate) y[i] = pad(&in, y[i], 0, e_int(0), e_sub(steps, n), like(&in, y[i], 0));
        graph_output(in.g, y[i], "");
    }
    int inner = op_captures(&in, &cap);
    Val **all = NEWN(Val *, o->nin + inner);
    for (int i = o->in[0] ? 0 : 1; i < o->nin; i++) all[ncap++] = o->in[i];
    for (int i = 0; i < inner; i++) all[ncap++] = cap[i];
    Node *loop = b_loop(o->g, b_dims(o->g, I64, 0, NULL, &batch), scalar_int(o, BOOL, 1), 0, NULL, ncap, all, in.g);
    for (int i = 0; i < o->nout; i++) o->out[i] = &loop->out[i];
}

const OpDef ops_control[] = {{"Constant", 1, constant}, {"If", 1, op_if},     {"Loop", 1, op_loop},
                             {"Scan", 8, op_scan8},     {"Scan", 9, op_scan}, {NULL, 0, NULL}};
