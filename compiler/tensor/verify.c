// SPDX-License-Identifier: Apache-2.0
// Checks the invariants that cnncc.h and prim.def state, after every pass. A broken one is our fault.
#include "cnncc.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 128 };

#define CHECK(n, ok, ...) do { if (!(ok)) broken(n, __VA_ARGS__); } while (0)

__attribute__((format(printf, 2, 3))) _Noreturn static void broken(const Node *n, const char *fmt, ...) {
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    die("%s (node %d%s%s): %s", prim_name[n->op], n->id, n->name ? " of " : "", n->name ? n->name : "", what);
}

static const int prim_nin[] = {
#define PRIM(name, nin, doc) nin,
#include "tensor/prim.def"
#undef PRIM
};

// Shapes equal but for `count` axes from `axis` on.
static bool same_but(const Val *a, const Val *b, int axis, int count) {
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if ((i < axis || i >= axis + count) && a->shape[i] != b->shape[i]) return false;
    return true;
}

// Whether some guard of g, or of a graph around, makes two extents equal (or the second 1).
static bool guarded(const Graph *g, Ex a, Ex b) {
    for (; g; g = g->parent)
        for (int i = 0; i < g->nguard; i++) {
            const Guard *q = &g->guard[i];
            if (q->kind == G_GE || q->kind == G_DIV) continue;
            if ((q->a == a && q->b == b) || (q->kind == G_EQ && q->a == b && q->b == a)) return true;
        }
    return false;
}

static void check_axis(const Node *n, const Val *x, int more) {
    CHECK(n, n->axis >= 0 && n->axis + more < x->rank, "axis %d of rank %d", n->axis, x->rank);
}

static void check_map(const Node *n) {
    CHECK(n, n->fn >= 0 && n->fn < FN_COUNT, "function %d", n->fn);
    const FnInfo *f = &fn_info[n->fn];
    const Val *o = &n->out[0], *last = n->nin ? n->in[n->nin - 1] : NULL;
    CHECK(n, n->nin == f->arity, "%d operands of %s", n->nin, f->name);
    for (int i = 0; i < n->nin; i++) {
        CHECK(n, val_same_shape(n->in[i], o), "operand %d has another shape", i);
        if (f->result != R_SELECT || i > 0) CHECK(n, n->in[i]->dt == last->dt, "operand %d has another type", i);
    }
    if (f->result == R_SELECT) CHECK(n, n->in[0]->dt == BOOL, "selects by %s", dt_name(n->in[0]->dt));
    if (f->result == R_BOOL) CHECK(n, o->dt == BOOL, "gives %s", dt_name(o->dt));
    if (f->result == R_SAME || f->result == R_SELECT) CHECK(n, o->dt == last->dt, "gives %s", dt_name(o->dt));
    if (n->fn == FN_bitcast) CHECK(n, dt_bits(o->dt) == dt_bits(last->dt), "%s to %s", dt_name(last->dt), dt_name(o->dt));
    DType from = last->dt;
    char class = dt_is_float(from) ? 'f' : from == BOOL ? 'b' : dt_is_int(from) ? 'i' : 0;
    CHECK(n, !class || strchr(f->types, class) || (from == I32 && strchr(f->types, 'w')), "%s of %s", f->name, dt_name(from));
}

static void check_reduce(const Node *n) {
    const Val *x = n->in[0], *o = &n->out[0];
    bool gone[MAX_RANK] = { 0 };
    for (int i = 0; i < n->nex; i++) {
        int64_t a = -1;
        CHECK(n, e_is_const(n->ex[i], &a) && a >= 0 && a < x->rank && !gone[a], "axis %s", e_str(n->ex[i]));
        gone[a] = true;
    }
    int r = 0;
    for (int i = 0; i < x->rank; i++)
        if (!gone[i]) {
            CHECK(n, r < o->rank && o->shape[r] == x->shape[i], "the result's axis %d", r);
            r++;
        }
    bool arg = n->fn == RED_ARGMAX || n->fn == RED_ARGMIN;
    CHECK(n, r == o->rank, "a result of rank %d", o->rank);
    CHECK(n, n->fn >= 0 && n->fn < RED_SET, "function %d", n->fn);
    CHECK(n, o->dt == (arg ? I64 : x->dt), "gives %s", dt_name(o->dt));
    CHECK(n, !arg || n->nex == 1, "%s over %d axes", red_name[n->fn], n->nex);
}

static void check_view(const Node *n) {
    const Val *x = n->in[0], *o = &n->out[0];
    bool seen[MAX_RANK] = { 0 };
    CHECK(n, o->dt == x->dt, "gives %s", dt_name(o->dt));
    switch (n->op) {
    case P_reshape: {
        int64_t a, b;
        bool both = e_is_const(val_numel(x), &a) && e_is_const(val_numel(o), &b);
        CHECK(n, !both || a == b, "%s elements to %s", e_str(val_numel(x)), e_str(val_numel(o)));
        break;
    }
    case P_permute:
        CHECK(n, n->nex == x->rank && o->rank == x->rank, "%d axes of %d", n->nex, x->rank);
        for (int i = 0; i < n->nex; i++) {
            int64_t a = -1;
            CHECK(n, e_is_const(n->ex[i], &a) && a >= 0 && a < x->rank && !seen[a], "axis %s", e_str(n->ex[i]));
            seen[a] = true;
            CHECK(n, o->shape[i] == x->shape[a], "the result's axis %d", i);
        }
        break;
    case P_expand:
        CHECK(n, o->rank == x->rank, "rank %d to %d", x->rank, o->rank);
        for (int i = 0; i < x->rank; i++)
            CHECK(n, x->shape[i] == o->shape[i] || e_is(x->shape[i], 1) || guarded(n->g, o->shape[i], x->shape[i]),
                  "axis %d from %s to %s without a guard", i, e_str(x->shape[i]), e_str(o->shape[i]));
        break;
    case P_copy: CHECK(n, val_same_shape(x, o), "another shape"); break;
    default: break;
    }
}

static void check_move(const Node *n) { // slice pad concat window unwindow
    const Val *x = n->in[0], *o = &n->out[0];
    int axis = n->axis;
    check_axis(n, x, n->op == P_unwindow);
    CHECK(n, o->dt == x->dt, "gives %s", dt_name(o->dt));
    if (n->op == P_slice) CHECK(n, n->nex == 2 && same_but(x, o, axis, 1), "a wrong shape");
    if (n->op == P_pad) {
        CHECK(n, n->in[1]->rank == 0 && n->in[1]->dt == x->dt, "the value is %s of rank %d", dt_name(n->in[1]->dt), n->in[1]->rank);
        CHECK(n, n->nex == 2 && same_but(x, o, axis, 1) && o->shape[axis] == e_add(x->shape[axis], e_add(n->ex[0], n->ex[1])), "a wrong shape");
    }
    if (n->op == P_concat) {
        Ex sum = e_int(0);
        for (int i = 0; i < n->nin; i++) {
            CHECK(n, n->in[i]->rank == o->rank && n->in[i]->dt == o->dt, "operand %d", i);
            sum = e_add(sum, n->in[i]->shape[axis]);
            for (int k = 0; k < o->rank; k++)
                CHECK(n, k == axis || n->in[i]->shape[k] == o->shape[k] || guarded(n->g, n->in[i]->shape[k], o->shape[k]),
                      "axis %d of operand %d", k, i);
        }
        CHECK(n, sum == o->shape[axis], "%s along the axis, not %s", e_str(sum), e_str(o->shape[axis]));
    }
    if (n->op == P_window || n->op == P_unwindow) {
        const Val *wide = n->op == P_window ? o : x, *flat = n->op == P_window ? x : o;
        CHECK(n, n->nex == 3 && wide->rank == flat->rank + 1, "rank %d from %d", o->rank, x->rank);
        for (int i = 0; i < flat->rank; i++)
            CHECK(n, i == axis || flat->shape[i] == wide->shape[i < axis ? i : i + 1], "axis %d", i);
        if (n->op == P_window) CHECK(n, o->shape[axis + 1] == n->ex[0], "%s taps", e_str(o->shape[axis + 1]));
        else CHECK(n, o->shape[axis] == n->ex[0], "an extent of %s", e_str(o->shape[axis]));
    }
}

static void check_along(const Node *n) { // gather scatter scan sort
    const Val *x = n->in[0], *o = &n->out[0], *index = n->nin > 1 ? n->in[1] : NULL;
    check_axis(n, x, 0);
    CHECK(n, o->dt == x->dt, "gives %s", dt_name(o->dt));
    CHECK(n, !index || (index->rank == x->rank && dt_is_int(index->dt)), "an index of %s", dt_name(index->dt));
    CHECK(n, val_same_shape(o, n->op == P_gather ? index : x), "a wrong shape");
    if (n->op == P_scatter) CHECK(n, n->in[2]->dt == x->dt && val_same_shape(n->in[2], index), "updates unlike the index");
    if (n->op == P_scatter || n->op == P_scan) CHECK(n, n->fn >= 0 && n->fn <= RED_SET && n->fn != RED_ARGMAX && n->fn != RED_ARGMIN, "function %d", n->fn);
    if (n->op == P_sort) CHECK(n, n->nout == 2 && n->out[1].dt == I64 && val_same_shape(x, &n->out[1]), "a wrong second result");
}

static void check_leaf(const Node *n) {
    const Val *o = &n->out[0];
    int64_t count = -1;
    if (n->op == P_const) {
        CHECK(n, n->data && n->data->dt == o->dt, "data of another type");
        CHECK(n, e_is_const(val_numel(o), &count) && (size_t)count == n->data->n, "%zu elements in %s", n->data->n, e_str(val_numel(o)));
    }
    if (n->op == P_dims) CHECK(n, e_is_const(val_numel(o), &count) && count == n->nex, "%d expressions for %s", n->nex, e_str(val_numel(o)));
    if (n->op == P_iota) CHECK(n, o->rank == 1, "rank %d", o->rank);
    if (n->op == P_random) CHECK(n, o->dt == U32 && n->nex == 1, "gives %s", dt_name(o->dt));
    if (n->op == P_input) {
        bool listed = false;
        for (int i = 0; i < n->g->nin && !listed; i++) listed = n->g->in[i] == o;
        CHECK(n, listed, "not among the graph's inputs");
    }
}

static void check_params(const Node *n, const Graph *g, int first, int nparam, int operand) {
    CHECK(n, g->nin == first + nparam, "a region of %d parameters", g->nin);
    CHECK(n, g->parent == n->g, "a region of another graph");
    for (int i = 0; i < nparam; i++) {
        const Val *p = g->in[first + i], *x = n->in[operand + i];
        CHECK(n, p->dt == x->dt && p->kind == x->kind && (p->kind != K_TENSOR || p->rank == x->rank), "parameter %d unlike its operand", first + i);
    }
}

static void check_control(const Node *n) {
    CHECK(n, n->region, "no regions");
    if (n->op == P_if) {
        CHECK(n, n->nin >= 1 && n->in[0]->dt == BOOL && !n->in[0]->rank, "the condition");
        for (int k = 0; k < 2; k++) {
            const Graph *g = n->region[k].g;
            check_params(n, g, 0, n->nin - 1, 1);
            CHECK(n, g->nout == n->nout, "%d results of a branch", g->nout);
            for (int i = 0; i < n->nout; i++) CHECK(n, g->out[i]->dt == n->out[i].dt && g->out[i]->kind == n->out[i].kind, "result %d", i);
        }
        return;
    }
    const Graph *g = n->region->g;
    int ncarry = n->axis;
    CHECK(n, ncarry >= 0 && n->nin >= 2 + ncarry && n->nout >= ncarry, "%d carried values", ncarry);
    CHECK(n, n->in[0]->dt == I64 && !n->in[0]->rank && n->in[1]->dt == BOOL && !n->in[1]->rank, "trip count or condition");
    CHECK(n, g->nin >= 2 && g->in[0]->dt == I64 && g->in[1]->dt == BOOL, "the region's first parameters");
    check_params(n, g, 2, n->nin - 2, 2);
    CHECK(n, g->nout == n->nout + 1 && g->out[0]->dt == BOOL && !g->out[0]->rank, "the region's results");
    for (int i = 0; i < n->nout; i++) {
        const Val *r = g->out[i + 1], *o = &n->out[i];
        CHECK(n, r->dt == o->dt && r->kind == o->kind, "result %d", i);
        CHECK(n, r->kind != K_TENSOR || o->rank == r->rank + (i >= ncarry), "the rank of result %d", i);
    }
}

static void check_load(Ex load, void *ctx) {
    const Node *n = ctx, *from = load->val->node;
    const Graph *g = from->g;
    CHECK(n, from->id >= 0 && from->id < g->nnode && g->node[from->id] == from, "an element of a value that is gone");
    CHECK(n, g != n->g || from->id < n->id, "an element of a later value");
}

static void check_node(const Node *n) {
    node_each_load(n, check_load, (void *)(intptr_t)n);
    CHECK(n, prim_nin[n->op] < 0 || prim_nin[n->op] == n->nin, "%d operands", n->nin);
    CHECK(n, n->nout > 0, "no results");
    for (int i = 0; i < n->nin; i++) {
        const Val *x = n->in[i];
        CHECK(n, x->node->g == n->g, "operand %d is of another graph", i);
        CHECK(n, x->node->id < n->id, "operand %d comes later", i);
        if (n->op < P_if) CHECK(n, x->kind == K_TENSOR, "operand %d is no tensor", i);
    }
    for (int i = 0; i < n->nout; i++) {
        const Val *v = &n->out[i];
        CHECK(n, v->node == n && v->res == i && v->id >= 0 && v->id < n->g->nval, "result %d", i);
        CHECK(n, v->dt > DT_NONE && v->dt < DT_COUNT, "element type %d", (int)v->dt);
        CHECK(n, v->rank <= MAX_RANK && (v->rank >= 0 || v->kind != K_TENSOR), "rank %d", v->rank);
        for (int k = 0; k < v->rank && v->kind == K_TENSOR; k++) CHECK(n, v->shape[k] && v->shape[k]->hi >= 0, "extent %s", v->shape[k] ? e_str(v->shape[k]) : "NULL");
    }
    switch (n->op) {
    case P_input: case P_const: case P_dims: case P_iota: case P_random: check_leaf(n); break;
    case P_map: check_map(n); break;
    case P_reduce: check_reduce(n); break;
    case P_reshape: case P_permute: case P_expand: case P_copy: check_view(n); break;
    case P_slice: case P_pad: case P_concat: case P_window: case P_unwindow: check_move(n); break;
    case P_gather: case P_scatter: case P_scan: case P_sort: check_along(n); break;
    case P_if: case P_loop: check_control(n); break;
    case P_call: CHECK(n, n->call && n->call->name, "no operator"); break;
    case P_COUNT: die("a node of no primitive");
    }
}

static void verify(const Graph *g, int depth) {
    if (depth > MAX_DEPTH) die("regions nested deeper than %d", MAX_DEPTH);
    bool *used = NEWN(bool, g->nval + 1);
    for (int i = 0; i < g->nnode; i++) {
        const Node *n = g->node[i];
        CHECK(n, n->op < P_COUNT && n->id == i && n->g == g, "at place %d", i);
        check_node(n);
        for (int k = 0; k < n->nout; k++) {
            CHECK(n, !used[n->out[k].id], "value %d is there twice", n->out[k].id);
            used[n->out[k].id] = true;
        }
        for (int k = 0; n->region && k < (n->op == P_if ? 2 : 1); k++) verify(n->region[k].g, depth + 1);
    }
    for (int i = 0; i < g->nin; i++)
        if (g->in[i]->node->g != g || g->in[i]->node->op != P_input) die("input %d is of another graph", i);
    for (int i = 0; i < g->nout; i++)
        if (g->out[i]->node->g != g || g->node[g->out[i]->node->id] != g->out[i]->node) die("output %d is of another graph", i);
}

// Ends with a diagnostic of ours where g breaks an invariant.
void graph_verify(const Graph *g) { verify(g, 0); }
