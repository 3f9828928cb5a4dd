// SPDX-License-Identifier: Apache-2.0
// Operators whose result has as many elements as the data say: NonZero, Compress, Unique.
#include "ops/op.h"

static Val *zeros(Op *o, DType dt, Ex n) { return full(o, dt, 0, 1, &n); }

static Val *number(Op *o, Ex e) { return b_dims(o->g, I64, 0, NULL, &e); }

Val *true_indices(Op *o, Val *mask) {
    Ex n = dim(mask, 0);
    Val *one = cast(o, mask, I64), *none = number(o, n);
    Val *place = select(o, mask, scan(o, RED_ADD, one, 0, true, false), none); // those that are false share place n
    Val *order = scatter(o, RED_SET, zeros(o, I64, e_add(n, e_int(1))), place, iota(o, I64, n), 0);
    Val *count = reduce_sum(o, one, -1, NULL, false);
    Ex m = count->elems ? count->elems[0] : e_min(e_size(count, 0, NULL), n);
    return slice(o, order, 0, e_int(0), m, e_int(1));
}

static bool is_nonzero(const Data *d, size_t i) {
    Scalar s = data_get(d, i);
    return dt_is_float(d->dt) ? s.f != 0 : s.i != 0;
}

// Where a tensor [n] is not zero: a constant list if the tensor is one, all of it if it is filled with one value.
static Val *nonzero_indices(Op *o, Val *x) {
    Val *from = x->node->op == P_reshape ? x->node->in[0] : x;
    const Data *fill = from->node->op == P_expand ? val_const(from->node->in[0]) : NULL, *d = val_const(x);
    if (fill && fill->n == 1 && is_nonzero(fill, 0))
        return iota(o, I64, dim(x, 0));
    if (!d)
        return true_indices(o, cast(o, x, BOOL));
    Data *list = data_new(I64, d->n);
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++)
        if (is_nonzero(d, i))
            data_set(list, n++, (Scalar){.i = (int64_t)i});
    list->n = n;
    Ex shape = e_int((int64_t)n);
    return b_const(o->g, list, 1, &shape);
}

// y[:, j] = the indices of the j-th element that is not zero, row-major
static void op_nonzero(Op *o) {
    Val *x = o->in[0], *at = nonzero_indices(o, reshape(o, x, 1, (Ex[]){numel(x)}));
    Ex m = dim(at, 0), row[2] = {e_int(1), m}, stride = e_int(1);
    Val **rows = NEWN(Val *, x->rank + 1);
    for (int i = x->rank - 1; i >= 0; i--) {
        Val *k = e_is(stride, 1) ? at : divide(o, at, number(o, stride));
        rows[i] = reshape(o, i > 0 ? map2(o, FN_mod, k, number(o, dim(x, i))) : k, 2, row);
        stride = e_mul(stride, dim(x, i));
    }
    o->out[0] = x->rank > 0 ? concat(o, x->rank, rows, 0) : full(o, I64, 0, 2, (Ex[]){e_int(0), m});
}

// y = the slices of x along axis (without one: of x flattened) where the condition holds
static void op_compress(Op *o) {
    Val *x = o->in[0];
    int axis = 0;
    if (attr_has(o, "axis"))
        axis = axis_of(o, attr_int(o, "axis"), x->rank);
    else
        x = reshape(o, x, 1, (Ex[]){numel(x)});
    o->out[0] = take(o, x, nonzero_indices(o, o->in[1]), axis);
}

// The order of the rows of [n, m], by the first column, ties by the second and so on, then by index.
static Val *few_columns_order(Op *o, Val *rows, int64_t m) {
    Val *order = iota(o, I64, dim(rows, 0)), *sorted, *index;
    for (int64_t c = m - 1; c >= 0; c--) {
        Val *key = squeeze(o, slice1(o, rows, 1, c), 1);
        if (c < m - 1)
            key = b_gather(o->g, key, order, 0);
        sort(o, key, 0, false, &sorted, &index);
        order = c < m - 1 ? b_gather(o->g, order, index, 0) : index;
    }
    return order;
}

// The same by a loop over the columns, from the last to the first.
static Val *many_columns_order(Op *o, Val *rows) {
    Ex m = dim(rows, 1), one = e_int(1);
    Val *order = iota(o, I64, dim(rows, 0)), *trips = b_dims(o->g, I64, 0, NULL, &m), *sorted, *index;
    Op in = *o;
    in.g = b_loop_body(o->g);
    Val *i = in.g->in[0];
    Val *now = b_param(in.g, order), *x = b_param(in.g, rows);
    Val *column = sub(&in, b_dims(in.g, I64, 0, NULL, (Ex[]){e_sub(m, one)}), i);
    Val *key = b_gather(in.g, squeeze(&in, take(&in, x, reshape(&in, column, 1, &one), 1), 1), now, 0);
    sort(&in, key, 0, false, &sorted, &index);
    graph_output(in.g, scalar_int(&in, BOOL, 1), "cond");
    graph_output(in.g, b_gather(in.g, now, index, 0), "order");
    return &b_loop(o->g, trips, scalar_int(o, BOOL, 1), 1, &order, 1, &rows, in.g)->out[0];
}

static Val *row_order(Op *o, Val *rows) {
    enum { FEW = 16 };
    int64_t m;
    return e_is_const(dim(rows, 1), &m) && m <= FEW ? few_columns_order(o, rows, m) : many_columns_order(o, rows);
}

// Which of the ordered rows differ from the one before; the first does.
static Val *starts(Op *o, Val *rows, Val *order) {
    Ex n = dim(rows, 0), one = e_int(1), less = e_max(e_sub(n, one), e_int(0));
    if (e_is(less, 0))
        return full(o, BOOL, 1, 1, &n);
    Val *sorted = take(o, rows, order, 0);
    Val *same = map2(o, FN_eq, slice(o, sorted, 0, e_int(0), less, one), slice(o, sorted, 0, e_sub(n, less), less, one));
    Val *differs = map1(o, FN_not, reduce(o, RED_AND, same, 1, (int[]){1}, false));
    return pad(o, differs, 0, e_sub(n, less), e_int(0), scalar_int(o, BOOL, 1));
}

// y = the distinct rows along axis (without one: elements), sorted or as they first occur; indices: where each
// first occurs; inverse: which one each row is; counts: how often
static void op_unique(Op *o) {
    Val *x = o->in[0], *zero = scalar_int(o, I64, 0), *one = scalar_int(o, I64, 1);
    bool by_axis = attr_has(o, "axis"), sorted = attr_int(o, "sorted") != 0;
    int axis = by_axis ? axis_of(o, attr_int(o, "axis"), x->rank) : 0;
    Val *rows = by_axis ? flatten(o, move_axis(o, x, axis, 0), 1) : reshape(o, x, 2, (Ex[]){numel(x), e_int(1)});
    Ex n = dim(rows, 0);
    Val *order = row_order(o, rows), *start = starts(o, rows, order), *group, *at, *inverse;
    if (sorted) {
        at = true_indices(o, start);
        group = sub(o, scan(o, RED_ADD, cast(o, start, I64), 0, false, false), one);
        inverse = scatter(o, RED_SET, zeros(o, I64, n), order, group, 0);
        at = b_gather(o->g, order, at, 0);
    } else {
        Val *first = scatter(o, RED_SET, full(o, BOOL, 0, 1, &n), order, start, 0); // in x's order
        Val *number_of = scan(o, RED_ADD, cast(o, first, I64), 0, true, false);
        Val *begin = scan(o, RED_MAX, select(o, start, iota(o, I64, n), zero), 0, false, false);
        group = b_gather(o->g, number_of, b_gather(o->g, order, begin, 0), 0);
        inverse = scatter(o, RED_SET, zeros(o, I64, n), order, group, 0);
        at = true_indices(o, first);
    }
    o->out[0] = take(o, by_axis ? x : reshape(o, x, 1, &n), at, axis);
    if (o->nout > 1)
        o->out[1] = at;
    if (o->nout > 2)
        o->out[2] = inverse;
    if (o->nout > 3) {
        Val *count = scatter(o, RED_ADD, zeros(o, I64, n), inverse, expand_to(o, one, 1, &n), 0);
        o->out[3] = slice(o, count, 0, e_int(0), dim(at, 0), e_int(1));
    }
}

const OpDef ops_compact[] = {
    {"NonZero", 9, op_nonzero}, {"Compress", 9, op_compress}, {"Unique", 11, op_unique}, {NULL, 0, NULL},
};
