// SPDX-License-Identifier: Apache-2.0
// Movement of elements by index tensors.
#include <string.h>
#include "ops/op.h"

static const char *origin(const Op *o) { return o->g->origin ? o->g->origin : o->type; }

static int axis_attr(Op *o, int rank) { return axis_of(o, attr_int(o, "axis"), rank); }

// y[a.., i.., b..] = x[a.., index[i..], b..]
static void op_gather(Op *o) { o->out[0] = take(o, o->in[0], o->in[1], axis_attr(o, o->in[0]->rank)); }

// y[.., i, ..] = x[.., index[.., i, ..], ..]
static void op_gather_elements(Op *o) {
    o->out[0] = take_along(o, o->in[0], o->in[1], axis_attr(o, o->in[0]->rank));
}

static Red reduction_of(Op *o) {
    static const struct { const char *name; Red fn; } names[] = {
        {"none", RED_SET}, {"add", RED_ADD}, {"mul", RED_MUL}, {"max", RED_MAX}, {"min", RED_MIN},
    };
    const char *s = attr_str_or(o, "reduction", "none");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(s, names[i].name) == 0)
            return names[i].fn;
    op_fail(o, "reduction is '%s', not none, add, mul, max or min", s);
}

// A guard that a tensor's extent is n.
static Val *with_dim(Op *o, Val *x, int axis, Ex n) {
    if (dim(x, axis) == n)
        return x;
    graph_guard(o->g, G_EQ, dim(x, axis), n, origin(o));
    Ex s[MAX_RANK];
    memcpy(s, x->shape, sizeof(Ex) * (size_t)x->rank);
    s[axis] = n;
    return reshape(o, x, x->rank, s);
}

// y = x with y[.., index[.., i, ..], ..] fn= upd[.., i, ..]; off the axis the indices may cover less than x
static void op_scatter_elements(Op *o) {
    Val *x = o->in[0], *index = o->in[1], *upd = o->in[2], *part = x, *rest[MAX_RANK];
    int axis = axis_attr(o, x->rank);
    if (index->rank != x->rank || upd->rank != x->rank)
        op_fail(o, "inputs have %d, %d and %d dimensions", x->rank, index->rank, upd->rank);
    for (int i = 0; i < x->rank; i++) {
        upd = with_dim(o, upd, i, dim(index, i));
        rest[i] = NULL;
        Ex n = dim(index, i), more = e_sub(dim(x, i), n);
        if (i == axis || e_is(more, 0))
            continue;
        graph_guard(o->g, G_GE, dim(x, i), n, origin(o));
        rest[i] = slice(o, part, i, n, more, e_int(1));
        part = slice(o, part, i, e_int(0), n, e_int(1));
    }
    Val *y = scatter(o, reduction_of(o), part, wrap_index(o, index, dim(x, axis)), upd, axis);
    for (int i = x->rank - 1; i >= 0; i--)
        if (rest[i])
            y = concat(o, 2, (Val *[]){y, rest[i]}, i);
    o->out[0] = y;
}

// Linear indices into x's axes [first, first + k): the sum of index[.., j] * stride[j], of index's shape without
// its last axis.
static Val *linear_index(Op *o, const Val *x, Val *index, int first, int64_t k) {
    Val *sum = NULL;
    Ex stride = e_int(1);
    int last = index->rank - 1;
    index = cast(o, index, I64);
    for (int64_t j = k - 1; j >= 0; j--) {
        Ex n = dim(x, first + (int)j);
        Val *i = wrap_index(o, squeeze(o, slice1(o, index, last, j), last), n);
        if (!e_is(stride, 1))
            i = mul(o, i, b_dims(o->g, I64, 0, NULL, &stride));
        sum = sum ? add(o, sum, i) : i;
        stride = e_mul(stride, n);
    }
    if (sum)
        return sum;
    return full(o, I64, 0, last, index->shape);
}

// y[b.., i..] = x[b.., index[b.., i.., 0], index[b.., i.., 1], ..]
static void op_gather_nd(Op *o) {
    Val *x = o->in[0], *index = o->in[1];
    int64_t b = attr_int_or(o, "batch_dims", 0);
    if (x->rank < 1 || index->rank < 1 || b < 0 || b >= index->rank || b >= x->rank)
        op_fail(o, "%lld batch dimensions of inputs with %d and %d", (long long)b, x->rank, index->rank);
    int64_t k = need_const(o, dim(index, -1), "the last dimension of the indices");
    if (k > x->rank - b)
        op_fail(o, "%lld indices for %lld dimensions", (long long)k, (long long)(x->rank - b));
    for (int i = 0; i < b; i++)
        index = with_dim(o, index, i, dim(x, i));
    Val *at = linear_index(o, x, index, (int)b, k);
    Ex size = e_product((int)k, x->shape + b), stride = size;
    for (int i = (int)b - 1; i >= 0; i--) {
        Val *batch = index_along(o, I64, i, at->rank, at->shape);
        at = add(o, at, e_is(stride, 1) ? batch : mul(o, batch, b_dims(o->g, I64, 0, NULL, &stride)));
        stride = e_mul(stride, dim(x, i));
    }
    x = merge_axes(o, x, 0, (int)(b + k));
    o->out[0] = take(o, x, at, 0);
}

// y = x with y[index[i.., 0], index[i.., 1], ..] fn= upd[i..]
static void op_scatter_nd(Op *o) {
    Val *x = o->in[0], *index = o->in[1], *upd = o->in[2];
    if (x->rank < 1 || index->rank < 1)
        op_fail(o, "inputs 0 and 1 have %d and %d dimensions", x->rank, index->rank);
    int64_t k = need_const(o, dim(index, -1), "the last dimension of the indices");
    if (k > x->rank)
        op_fail(o, "%lld indices for %d dimensions", (long long)k, x->rank);
    if (upd->rank != index->rank - 1 + x->rank - (int)k)
        op_fail(o, "the updates have %d dimensions, need %d", upd->rank, index->rank - 1 + x->rank - (int)k);
    for (int i = 0; i < index->rank - 1; i++)
        upd = with_dim(o, upd, i, dim(index, i));
    for (int i = (int)k; i < x->rank; i++)
        upd = with_dim(o, upd, index->rank - 1 + i - (int)k, dim(x, i));
    Val *at = linear_index(o, x, index, 0, k);
    Ex m = numel(at), rest = e_product(x->rank - (int)k, x->shape + k);
    Val *flat = reshape(o, x, 2, (Ex[]){e_product((int)k, x->shape), rest});
    at = expand_to(o, reshape(o, at, 2, (Ex[]){m, e_int(1)}), 2, (Ex[]){m, rest});
    Val *y = scatter(o, reduction_of(o), flat, at, reshape(o, upd, 2, (Ex[]){m, rest}), 0);
    o->out[0] = reshape(o, y, x->rank, x->shape);
}

// y = past with the update written along axis from write_indices[batch] on
static void op_tensor_scatter(Op *o) {
    Val *x = o->in[0], *upd = o->in[1], *at = o->nin > 2 ? o->in[2] : NULL;
    int axis = axis_attr(o, x->rank);
    if (upd->rank != x->rank)
        op_fail(o, "inputs 0 and 1 have %d and %d dimensions", x->rank, upd->rank);
    const char *mode = attr_str(o, "mode");
    bool circular = strcmp(mode, "circular") == 0;
    if (!circular && strcmp(mode, "linear") != 0)
        op_fail(o, "mode is '%s', not linear or circular", mode);
    for (int i = 0; i < x->rank; i++)
        if (i != axis)
            upd = with_dim(o, upd, i, dim(x, i));
    Val *index = index_along(o, I64, axis, upd->rank, upd->shape);
    if (at) {
        Val *first = cast(o, at, I64);
        while (first->rank < x->rank)
            first = unsqueeze(o, first, first->rank);
        index = add(o, index, first);
    }
    Ex n = dim(x, axis);
    if (circular)
        index = map2(o, FN_mod, index, b_dims(o->g, I64, 0, NULL, &n));
    o->out[0] = scatter(o, RED_SET, x, index, upd, axis);
}

Ex known_number(Op *o, int input, const char *what) {
    Val *v = o->in[input];
    Ex e[1];
    const Data *d = dt_is_float(v->dt) ? val_const(v) : NULL;
    if (d && d->n == 1)
        return e_int((int64_t)data_get(d, 0).f);
    if (dt_is_int(v->dt) && known_ints(v, e, 1) == 1)
        return e[0];
    int64_t n = 1;
    if (v->rank > 1 || (v->rank == 1 && (!dim_const(v, 0, &n) || n != 1)) || v->dt == STR)
        op_fail(o, "%s must be a single number", what);
    Ex first = e_int(0);
    return e_size(cast(o, v, I64), v->rank, &first);
}

// y[.., k, ..] = index[..] == k ? values[1] : values[0]
static void op_one_hot(Op *o) {
    Val *index = cast(o, o->in[0], I64), *values = o->in[2];
    Ex depth = known_number(o, 1, "depth");
    int axis = axis_attr(o, index->rank + 1);
    index = unsqueeze(o, wrap_index(o, index, depth), axis);
    Ex s[MAX_RANK];
    for (int i = 0; i < index->rank; i++)
        s[i] = i == axis ? depth : e_int(1);
    Val *k = reshape(o, iota(o, I64, depth), index->rank, s);
    Val *off = squeeze(o, slice1(o, values, 0, 0), 0), *on = squeeze(o, slice1(o, values, 0, 1), 0);
    o->out[0] = select(o, map2(o, FN_eq, index, k), on, off);
}

// values, indices = the k largest or smallest elements along axis, in order
static void op_top_k(Op *o) {
    Val *x = o->in[0], *values, *index;
    int axis = axis_attr(o, x->rank);
    Ex k = o->since >= 10 ? known_number(o, 1, "k") : e_int(attr_int(o, "k"));
    graph_guard(o->g, G_GE, dim(x, axis), k, origin(o));
    k = e_min(k, dim(x, axis));
    sort(o, x, axis, attr_int_or(o, "largest", 1) != 0, &values, &index);
    o->out[0] = slice(o, values, axis, e_int(0), k, e_int(1));
    if (o->nout > 1)
        o->out[1] = slice(o, index, axis, e_int(0), k, e_int(1));
}

// y[t] = x[t < len ? len - 1 - t : t] along the time axis, len by batch
static void op_reverse_sequence(Op *o) {
    Val *x = o->in[0], *len = cast(o, o->in[1], I64);
    int time = axis_of(o, attr_int(o, "time_axis"), x->rank), batch = axis_of(o, attr_int(o, "batch_axis"), x->rank);
    if (time == batch)
        op_fail(o, "time_axis and batch_axis are both %d", time);
    Ex s[MAX_RANK];
    for (int i = 0; i < x->rank; i++)
        s[i] = i == batch ? dim(x, i) : e_int(1);
    len = reshape(o, len, x->rank, s);
    Val *t = index_along(o, I64, time, x->rank, x->shape);
    Val *back = sub(o, sub(o, len, scalar_int(o, I64, 1)), t);
    Val *at = select(o, map2(o, FN_lt, t, len), back, t);
    o->out[0] = b_gather(o->g, x, at, time);
}

const OpDef ops_index[] = {
    {"Gather", 1, op_gather}, {"GatherElements", 11, op_gather_elements}, {"GatherND", 11, op_gather_nd},
    {"Scatter", 9, op_scatter_elements}, {"ScatterElements", 11, op_scatter_elements},
    {"ScatterND", 11, op_scatter_nd}, {"TensorScatter", 24, op_tensor_scatter},
    {"OneHot", 9, op_one_hot}, {"TopK", 1, op_top_k}, {"ReverseSequence", 10, op_reverse_sequence}, {NULL, 0, NULL},
};
