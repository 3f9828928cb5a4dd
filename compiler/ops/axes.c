// SPDX-License-Identifier: Apache-2.0
// Axes that only the run knows. One axis: a branch for each axis that it may be. A set of axes: integer
// arithmetic on vectors with an element for each axis; the rank of every result is known, since the number
// of the axes is. An axis outside of the rank ends the run with EINDEX, one that is given twice with ESHAPE.
#include <string.h>
#include "ops/axes.h"

static const char *origin(const Op *o) { return o->g->origin ? o->g->origin : o->type; }

static Val *ones(Op *o, DType dt, Ex n) { return full(o, dt, 1, 1, &n); }

bool axes_at_run(Op *o, int input) {
    Ex v[2 * MAX_RANK];
    int64_t c;
    if (input < 0 || input >= o->nin || !o->in[input])
        return false;
    int n = known_ints(o->in[input], v, 2 * MAX_RANK);
    for (int i = 0; i < n; i++)
        if (!e_is_const(v[i], &c))
            return true;
    return n < 0;
}

Val *axis_vector(Op *o, Val *none, Val *axes, Val *value) {
    Ex rank = dim(none, 0), n = numel(axes);
    axes = wrap_index(o, cast(o, reshape(o, axes, 1, &n), I64), rank);
    if (value->rank == 0)
        value = expand_to(o, value, 1, &n);
    if (dim(value, 0) != n)
        graph_guard(o->g, G_EQ, dim(value, 0), n, origin(o));
    return scatter(o, RED_SET, none, axes, reshape(o, value, 1, &n), 0);
}

Val *axis_mask(Op *o, Val *axes, int rank) {
    Ex r = e_int(rank), n = numel(axes);
    Val *one = full(o, I64, 1, 1, &n), *index = wrap_index(o, cast(o, reshape(o, axes, 1, &n), I64), r);
    Val *times = scatter(o, RED_ADD, full(o, I64, 0, 1, &r), index, one, 0);
    for (int i = 0; i < rank; i++) {
        Ex at = e_int(i);
        graph_guard(o->g, G_GE, e_int(1), e_load(times, 1, &at), origin(o));
    }
    return map2(o, FN_eq, times, scalar_int(o, I64, 1));
}

Ex axis_extent(Val *extents, int i, Ex most) {
    Ex at = e_int(i);
    return e_min(e_size(extents, 1, &at), most);
}

static Ex greatest(const Val *x) {
    Ex most = e_int(1);
    for (int i = 0; i < x->rank; i++)
        most = e_max(most, x->shape[i]);
    return most;
}

void kept_extents(Op *o, const Val *x, Val *mask, int n, Ex *shape) {
    Val *order, *sorted, *extents = ints(o, x->rank, x->shape);
    sort(o, cast(o, mask, I64), 0, false, &sorted, &order); // stable: the axes that are kept come first, in order
    extents = b_gather(o->g, extents, order, 0);
    for (int i = 0; i < n; i++)
        shape[i] = axis_extent(extents, i, greatest(x));
}

// The product of the elements of an extents vector, as an extent of at most `most`.
static Ex product_of(Op *o, Val *extents, Ex most) {
    return e_min(e_size(reduce(o, RED_MUL, extents, -1, NULL, false), 0, NULL), most);
}

// Strides of the axes of row-major extents.
static Val *strides_of(Op *o, Val *extents) { return scan(o, RED_MUL, extents, 0, true, true); }

static Val *element(Op *o, Val *v, int i) { return squeeze(o, slice1(o, v, 0, i), 0); }

Val *rows_over(Op *o, Val *x, Val *mask) {
    Ex most = e_int(1), n = numel(x), rank = e_int(x->rank);
    for (int i = 0; i < x->rank; i++)
        most = e_mul(most, e_max(x->shape[i], e_int(1)));
    Val *one = ones(o, I64, rank), *extents = ints(o, x->rank, x->shape);
    Val *kept = select(o, mask, one, extents), *gone = select(o, mask, extents, one);
    Ex s[2] = {product_of(o, kept, most), product_of(o, gone, most)};
    // Element p of the rows: p / columns counts through the kept axes, the remainder through the others.
    Val *columns = b_dims(o->g, I64, 0, NULL, &s[1]), *p = iota(o, I64, n), *at = NULL, *stride = strides_of(o, extents);
    Val *row = divide(o, p, columns), *column = sub(o, p, mul(o, row, columns));
    Val *kept_stride = strides_of(o, kept), *gone_stride = strides_of(o, gone);
    for (int i = 0; i < x->rank; i++) {
        Val *k = map2(o, FN_mod, divide(o, row, element(o, kept_stride, i)), element(o, kept, i));
        Val *j = map2(o, FN_mod, divide(o, column, element(o, gone_stride, i)), element(o, gone, i));
        Val *term = mul(o, add(o, k, j), element(o, stride, i));
        at = at ? add(o, at, term) : term;
    }
    Val *flat = reshape(o, x, 1, &n);
    return reshape(o, at ? b_gather(o->g, flat, at, 0) : flat, 2, s);
}

int reduced_shape(Op *o, const Val *x, Val *axes, Val *mask, bool keep, Ex *shape) {
    int64_t n;
    if (keep) {
        Val *extents = select(o, mask, scalar_int(o, I64, 1), ints(o, x->rank, x->shape));
        for (int i = 0; i < x->rank; i++)
            shape[i] = axis_extent(extents, i, e_max(x->shape[i], e_int(1)));
        return x->rank;
    }
    if (!e_is_const(numel(axes), &n))
        op_fail(o, "the number of axes must be known when compiling where they are removed");
    if (n > x->rank)
        op_fail(o, "%lld axes of %d dimensions", (long long)n, x->rank);
    kept_extents(o, x, mask, x->rank - (int)n, shape);
    return x->rank - (int)n;
}

// ---- one axis ----------------------------------------------------------------------------------

// The operator's inputs in a region: constants and known numbers are repeated there, others are parameters.
typedef struct { int n; Val **cap; } Captures;

static bool repeated(const Val *v) { return v->elems || (v->node->op == P_const && !v->node->flag); }

static Captures captures_of(Op *o, Val *extra) {
    Captures c = {0, NEWN(Val *, o->nin + 1)};
    c.cap[c.n++] = extra;
    for (int i = 0; i < o->nin; i++)
        if (o->in[i] && !repeated(o->in[i]))
            c.cap[c.n++] = o->in[i];
    return c;
}

static Op op_inside(Op *o, Graph *g, const Captures *c, Val **extra) {
    Op in = *o;
    int at = 0;
    in.g = g;
    in.in = NEWN(Val *, o->nin + 1);
    in.out = NEWN(Val *, o->nout + 1);
    g->origin = o->g->origin;
    *extra = b_param(g, c->cap[at++]);
    for (int i = 0; i < o->nin; i++) {
        Val *v = o->in[i];
        if (!v)
            continue;
        if (!repeated(v))
            in.in[i] = b_param(g, c->cap[at++]);
        else if (v->elems)
            in.in[i] = b_dims(g, v->dt, v->rank, v->shape, v->elems);
        else
            in.in[i] = b_const(g, v->node->data, v->rank, v->shape);
    }
    return in;
}

static Graph *with_axis(Op *in, int input, int axis, OpFn *fn) {
    in->in[input] = scalar_int(in, in->in[input]->dt, axis);
    fn(in);
    for (int i = 0; i < in->nout; i++)
        graph_output(in->g, in->out[i], "");
    return in->g;
}

void by_axis(Op *o, int input, int rank, int naxes, OpFn *fn) {
    if (naxes < 1 || !e_is(numel(o->in[input]), 1))
        op_fail(o, "input %d must be one axis of a tensor with dimensions", input);
    Val *axis = wrap_index(o, cast(o, reshape(o, o->in[input], 0, NULL), I64), e_int(rank));
    Val *all = iota(o, I64, e_int(naxes)); // an index outside of it: EINDEX
    axis = squeeze(o, b_gather(o->g, all, reshape(o, axis, 1, (Ex[]){e_int(1)}), 0), 0);
    Captures c = captures_of(o, axis);
    int n = naxes > 1 ? naxes : 2; // one axis: two equal branches, so that the check above stays
    Op *level = NEWN(Op, n);       // level k knows that the axis is at least k
    Val **which = NEWN(Val *, n);
    Captures *in = NEWN(Captures, n);
    level[0] = *o;
    which[0] = axis;
    for (int k = 1; k < n; k++)
        level[k] = op_inside(o, graph_new(level[k - 1].g), &c, &which[k]);
    for (int k = 0; k < n; k++)
        in[k] = captures_of(&level[k], which[k]);
    with_axis(&level[n - 1], input, naxes - 1, fn);
    for (int k = n - 2; k >= 0; k--) {
        Val *unused, *here = map2(&level[k], FN_eq, which[k], scalar_int(&level[k], I64, k));
        Op then = op_inside(&level[k], graph_new(level[k].g), &in[k], &unused);
        Node *branch = b_if(level[k].g, here, with_axis(&then, input, k, fn), level[k + 1].g, in[k].n, in[k].cap);
        for (int i = 0; i < o->nout; i++) {
            level[k].out[i] = &branch->out[i];
            if (k > 0)
                graph_output(level[k].g, &branch->out[i], "");
        }
    }
}
