// SPDX-License-Identifier: Apache-2.0
// The vocabulary of operator authors (op.h), second half: views, movement of elements, and the
// compositions matmul and softmax.
#include "ops/op.h"

static const char *what_of(const Op *o) { return o->g->origin ? o->g->origin : o->type; }

// Strings and complex numbers can be moved, not added up.
static void only_numbers(Op *o, const Val *x) {
    if (dt_is_moved(x->dt)) op_fail(o, "elements of type %s are not supported here", dt_onnx_name(x->dt));
}

// ---- views ---------------------------------------------------------------------------------------

Val *reshape(Op *o, Val *x, int rank, const Ex *shape) {
    if (rank > MAX_RANK) op_fail(o, "more than %d dimensions are not supported", (int)MAX_RANK);
    bool same = x->rank == rank;
    for (int i = 0; same && i < rank; i++) same = x->shape[i] == shape[i];
    return same ? x : b_reshape(o->g, x, rank, shape);
}

// x with the extent of one axis taken to be n: guarded where that is not proved.
static Val *assume_dim(Op *o, Val *x, int axis, Ex n) {
    if (dim(x, axis) == n) return x;
    int64_t a, b;
    if (e_is_const(dim(x, axis), &a) && e_is_const(n, &b))
        op_fail(o, "dimension %d is %lld, needs to be %lld", axis, (long long)a, (long long)b);
    graph_guard(o->g, G_EQ, dim(x, axis), n, what_of(o));
    Ex s[MAX_RANK];
    for (int i = 0; i < x->rank; i++) s[i] = i == axis ? n : x->shape[i];
    return b_reshape(o->g, x, x->rank, s);
}

Val *squeeze(Op *o, Val *x, int axis) {
    x = assume_dim(o, x, axis, e_int(1));
    Ex s[MAX_RANK];
    for (int i = 0, n = 0; i < x->rank; i++)
        if (i != axis) s[n++] = x->shape[i];
    return b_reshape(o->g, x, x->rank - 1, s);
}

Val *unsqueeze(Op *o, Val *x, int axis) {
    if (x->rank >= MAX_RANK) op_fail(o, "more than %d dimensions are not supported", (int)MAX_RANK);
    Ex s[MAX_RANK];
    for (int i = 0; i <= x->rank; i++) s[i] = i < axis ? x->shape[i] : i == axis ? e_int(1) : x->shape[i - 1];
    return b_reshape(o->g, x, x->rank + 1, s);
}

Val *flatten(Op *o, Val *x, int axis) {
    Ex s[2] = {e_product(axis, x->shape), e_product(x->rank - axis, x->shape + axis)};
    return reshape(o, x, 2, s);
}

Val *merge_axes(Op *o, Val *x, int axis, int n) {
    Ex s[MAX_RANK + 1];
    int rank = 0;
    for (int i = 0; i < axis; i++) s[rank++] = x->shape[i];
    s[rank++] = e_product(n, x->shape + axis);
    for (int i = axis + n; i < x->rank; i++) s[rank++] = x->shape[i];
    return reshape(o, x, rank, s);
}

Val *split_axis(Op *o, Val *x, int axis, Ex outer, Ex inner) {
    Ex s[MAX_RANK + 1];
    int rank = 0;
    for (int i = 0; i < x->rank; i++) {
        s[rank++] = i == axis ? outer : x->shape[i];
        if (i == axis) s[rank++] = inner;
    }
    return reshape(o, x, rank, s);
}

Val *permute(Op *o, Val *x, const int *perm) {
    bool same = true;
    for (int i = 0; i < x->rank; i++) same = same && perm[i] == i;
    return same ? x : b_permute(o->g, x, perm);
}

Val *move_axis(Op *o, Val *x, int from, int to) {
    int perm[MAX_RANK];
    for (int i = 0, src = 0; i < x->rank; i++) {
        if (i == to) {
            perm[i] = from;
            continue;
        }
        if (src == from) src++;
        perm[i] = src++;
    }
    return permute(o, x, perm);
}

Val *swap_axes(Op *o, Val *x, int a, int b) {
    int perm[MAX_RANK];
    for (int i = 0; i < x->rank; i++) perm[i] = i == a ? b : i == b ? a : i;
    return permute(o, x, perm);
}

Val *slice(Op *o, Val *x, int axis, Ex start, Ex size, Ex step) {
    if (e_is(start, 0) && e_is(step, 1) && size == dim(x, axis)) return x;
    return b_slice(o->g, x, axis, start, size, step);
}

Val *slice1(Op *o, Val *x, int axis, int64_t i) {
    Ex n = dim(x, axis), start = i < 0 ? e_add(n, e_int(i)) : e_int(i);
    int64_t c;
    if (e_is_const(n, &c) ? i < -c || i >= c : false)
        op_fail(o, "index %lld is outside of an axis of %lld", (long long)i, (long long)c);
    if (!e_is_const(n, &c)) graph_guard(o->g, G_GE, n, e_int(i < 0 ? -i : i + 1), what_of(o));
    return slice(o, x, axis, start, e_int(1), e_int(1));
}

Val *pad(Op *o, Val *x, int axis, Ex lo, Ex hi, Val *value) {
    if (e_is(lo, 0) && e_is(hi, 0)) return x;
    return b_pad(o->g, x, axis, lo, hi, value ? value : like(o, x, 0));
}

// The operands joined along axis; their other extents are equal, or guarded to be.
Val *concat(Op *o, int n, Val *const *x, int axis) {
    if (n == 1) return x[0];
    Val **y = NEWN(Val *, n);
    for (int i = 0; i < n; i++) {
        if (x[i]->rank != x[0]->rank)
            op_fail(o, "operand %d has %d dimensions, operand 0 has %d", i, x[i]->rank, x[0]->rank);
        if (x[i]->dt != x[0]->dt) op_fail(o, "operands are %s and %s", dt_onnx_name(x[0]->dt), dt_onnx_name(x[i]->dt));
        y[i] = x[i];
    }
    for (int a = 0; a < x[0]->rank; a++) {
        if (a == axis) continue;
        Ex common = dim(x[0], a); // a constant extent is the best known one
        int64_t c;
        for (int i = 1; i < n && !e_is_const(common, &c); i++)
            if (e_is_const(dim(x[i], a), &c)) common = dim(x[i], a);
        for (int i = 0; i < n; i++) y[i] = assume_dim(o, y[i], a, common);
    }
    return b_concat(o->g, n, y, axis);
}

Val *window(Op *o, Val *x, int axis, Ex k, Ex stride, Ex dil) { return b_window(o->g, x, axis, k, stride, dil); }

Val *unwindow(Op *o, Val *x, int axis, Ex n, Ex stride, Ex dil) {
    only_numbers(o, x);
    if (x->dt == BOOL) return cast(o, b_unwindow(o->g, cast(o, x, I32), axis, n, stride, dil), BOOL);
    return b_unwindow(o->g, x, axis, n, stride, dil);
}

// ---- movement by index -----------------------------------------------------------------------------

Val *wrap_index(Op *o, Val *index, Ex n) {
    if (!dt_is_signed(index->dt)) return index;
    Prim p = index->node->op;
    if (p == P_iota || p == P_sort || (p == P_reduce && index->dt == I64 && index->node->fn >= RED_ARGMAX))
        return index;
    const Data *d = val_const(index);
    bool negative = !d;
    for (size_t i = 0; d && i < (d->splat && d->n ? 1 : d->n) && !negative; i++) negative = data_get(d, i).i < 0;
    if (!negative) return index;
    Val *len = b_dims(o->g, index->dt, 0, NULL, &n);
    return select(o, map2(o, FN_lt, index, scalar_int(o, index->dt, 0)), add(o, index, len), index);
}

// Whether the elements of index are first, first + step, first + 2 step, … with a step other than 0.
static bool arithmetic_index(Val *index, int64_t *first, int64_t *step, int64_t *count) {
    const Data *d = dt_is_int(index->dt) ? val_const(index) : NULL;
    if (!d || d->n == 0 || d->n > INT32_MAX) return false;
    *first = data_get(d, 0).i;
    *count = (int64_t)d->n;
    *step = d->n > 1 ? data_get(d, 1).i - *first : 1;
    if (*step == 0) return false;
    for (size_t i = 1; i < d->n; i++)
        if (data_get(d, i).i != *first + (int64_t)i * *step) return false;
    return true;
}

// x[.., shape of index.., ..] from x[.., n elements of index, ..]
static Val *unflatten_index(Op *o, Val *y, const Val *index, int axis) {
    Ex s[2 * MAX_RANK];
    int rank = 0;
    for (int i = 0; i < axis; i++) s[rank++] = y->shape[i];
    for (int i = 0; i < index->rank; i++) s[rank++] = index->shape[i];
    for (int i = axis + 1; i < y->rank; i++) s[rank++] = y->shape[i];
    return reshape(o, y, rank, s);
}

// take where both are small and known: dimension arithmetic stays expressions.
static Val *take_elems(Op *o, Val *x, Val *index) {
    int64_t n = 0;
    const Data *d = x->elems && x->rank == 1 ? val_const(index) : NULL;
    if (!d || !dim_const(x, 0, &n) || d->n > 1024) return NULL;
    Ex *e = NEWN(Ex, d->n + 1);
    for (size_t k = 0; k < d->n; k++) {
        int64_t i = data_get(d, k).i;
        if (i < -n || i >= n) op_fail(o, "index %lld is outside of an axis of %lld", (long long)i, (long long)n);
        e[k] = x->elems[i < 0 ? i + n : i];
    }
    return b_dims(o->g, x->dt, index->rank, index->shape, e);
}

Val *take(Op *o, Val *x, Val *index, int axis) {
    if (x->rank - 1 + index->rank > MAX_RANK) op_fail(o, "more than %d dimensions are not supported", (int)MAX_RANK);
    Val *known = take_elems(o, x, index);
    if (known) return known;
    Ex n = dim(x, axis);
    int64_t first, step, count;
    if (arithmetic_index(index, &first, &step, &count)) {
        int64_t last = first + (count - 1) * step, len;
        bool one_sign = (first < 0) == (last < 0);
        int64_t low = first < last ? first : last, high = first < last ? last : first;
        if (e_is_const(n, &len) && (low < -len || high >= len))
            op_fail(o, "index %lld is outside of an axis of %lld", (long long)(low < -len ? low : high),
                    (long long)len);
        if (one_sign) {
            graph_guard(o->g, G_GE, n, e_int(low < 0 ? -low : high + 1), what_of(o));
            Ex start = first < 0 ? e_add(n, e_int(first)) : e_int(first);
            return unflatten_index(o, slice(o, x, axis, start, e_int(count), e_int(step)), index, axis);
        }
    }
    Ex m = numel(index), s[MAX_RANK];
    for (int i = 0; i < x->rank; i++) s[i] = i == axis ? m : e_int(1);
    Val *flat = reshape(o, wrap_index(o, index, n), x->rank, s);
    for (int i = 0; i < x->rank; i++) s[i] = i == axis ? m : dim(x, i);
    return unflatten_index(o, b_gather(o->g, x, expand_to(o, flat, x->rank, s), axis), index, axis);
}

Val *take_along(Op *o, Val *x, Val *index, int axis) {
    if (index->rank != x->rank) op_fail(o, "the indices have %d dimensions, the data %d", index->rank, x->rank);
    Ex n = dim(x, axis);
    for (int i = 0; i < x->rank; i++) {
        if (i == axis || dim(x, i) == dim(index, i)) continue;
        int64_t a, b;
        if (dim_const(x, i, &a) && dim_const(index, i, &b) && b > a)
            op_fail(o, "dimension %d of the indices is %lld, of the data %lld", i, (long long)b, (long long)a);
        graph_guard(o->g, G_GE, dim(x, i), dim(index, i), what_of(o));
        x = slice(o, x, i, e_int(0), dim(index, i), e_int(1));
    }
    return b_gather(o->g, x, wrap_index(o, index, n), axis);
}

// The updates have the extents of the indices, both x's off the axis; guarded where that is not proved.
Val *scatter(Op *o, Red fn, Val *x, Val *index, Val *upd, int axis) {
    if (fn != RED_SET) only_numbers(o, x);
    if (x->dt == BOOL && fn != RED_SET) fn = fn == RED_ADD || fn == RED_MAX ? RED_OR : RED_AND;
    for (int i = 0; i < x->rank; i++) {
        Ex n = dim(index, i);
        int64_t c;
        if (!e_is_const(n, &c)) n = i != axis && e_is_const(dim(x, i), &c) ? dim(x, i) : dim(upd, i);
        index = assume_dim(o, index, i, n);
        upd = assume_dim(o, upd, i, n);
        if (i != axis) x = assume_dim(o, x, i, n);
    }
    return b_scatter(o->g, fn, x, index, upd, axis);
}

Val *scan(Op *o, Red fn, Val *x, int axis, bool exclusive, bool reverse) {
    only_numbers(o, x);
    return b_scan(o->g, fn, x, axis, exclusive, reverse);
}

void sort(Op *o, Val *x, int axis, bool descending, Val **values, Val **index) {
    if (x->dt != STR) only_numbers(o, x);
    b_sort(o->g, x, axis, descending, values, index);
}

// ---- compositions -------------------------------------------------------------------------------------

Val *matmul(Op *o, Val *a, Val *b) {
    if (a->rank < 2 || b->rank < 2) op_fail(o, "a matrix product of %d and %d dimensions", a->rank, b->rank);
    Ex k = dim(a, -1), kb = dim(b, -2);
    int64_t c;
    if (k != kb) {
        if (e_is_const(k, &c) && e_is_const(kb, &c))
            op_fail(o, "a matrix product of inner dimensions %s and %s", e_str(k), e_str(kb));
        if (e_is_const(kb, &c)) k = kb;
        a = assume_dim(o, a, a->rank - 1, k);
        b = assume_dim(o, b, b->rank - 2, k);
    }
    Val *p = mul(o, unsqueeze(o, a, a->rank), unsqueeze(o, b, b->rank - 2));
    return reduce_sum(o, p, 1, (int[]){p->rank - 2}, false);
}

// e / sum(e), e = exp(x - max(x))
Val *softmax_of(Op *o, Val *x, int naxes, const int *axes) {
    Val *e = map1(o, FN_exp, sub(o, x, reduce_max(o, x, naxes, axes, true)));
    return divide(o, e, reduce_sum(o, e, naxes, axes, true));
}

// d - log(sum(exp(d))), d = x - max(x)
Val *log_softmax_of(Op *o, Val *x, int naxes, const int *axes) {
    Val *d = sub(o, x, reduce_max(o, x, naxes, axes, true));
    return sub(o, d, map1(o, FN_log, reduce_sum(o, map1(o, FN_exp, d), naxes, axes, true)));
}
