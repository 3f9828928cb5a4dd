// SPDX-License-Identifier: Apache-2.0
// Shapes and views: what changes the arrangement of elements but not their values.
#include <string.h>
#include "ops/axes.h"

// The integers of input `input`, or of attribute `attr` where that input does not exist: their number, -1
// when there are neither.
static int ints_of(Op *o, int input, const char *attr, Ex *v) {
    if (input >= 0)
        return input < o->nin && o->in[input] ? need_ints(o, input, v, 2 * MAX_RANK) : -1;
    const int64_t *a;
    int n = attr_ints(o, attr, &a);
    if (n > 2 * MAX_RANK)
        op_fail(o, "attribute %s has %d elements", attr, n);
    for (int i = 0; i < n; i++)
        v[i] = e_int(a[i]);
    return n;
}

static void check_rank(Op *o, int rank) {
    if (rank > MAX_RANK)
        op_fail(o, "more than %d dimensions are not supported", (int)MAX_RANK);
}

// y = the dimensions of x from start to end
static void op_shape(Op *o) {
    Val *x = o->in[0];
    int64_t start = attr_int_or(o, "start", 0), end = attr_int_or(o, "end", x->rank);
    start = start < 0 ? start + x->rank : start;
    end = end < 0 ? end + x->rank : end;
    start = start < 0 ? 0 : start > x->rank ? x->rank : start;
    end = end < start ? start : end > x->rank ? x->rank : end;
    o->out[0] = ints(o, (int)(end - start), x->shape + start);
}

// y = the number of elements of x
static void op_size(Op *o) {
    Ex n = numel(o->in[0]);
    o->out[0] = b_dims(o->g, I64, 0, NULL, &n);
}

// The extent that makes the sizes equal: those of x by those of y but `at`, equal factors cancelled.
static Ex missing_extent(Op *o, const Val *x, int rank, const Ex *y, int at) {
    Ex over[MAX_RANK], under[MAX_RANK];
    int n = x->rank, m = 0;
    memcpy(over, x->shape, sizeof(Ex) * (size_t)n);
    for (int i = 0; i < rank; i++) {
        int j = i == at ? n : 0;
        while (j < n && (over[j] != y[i] || e_is(y[i], 0)))
            j++;
        if (j < n)
            over[j] = over[--n];
        else if (i != at)
            under[m++] = y[i];
    }
    Ex a = e_product(n, over), b = e_product(m, under);
    int64_t ca, cb;
    if (e_is(b, 0))
        op_fail(o, "a dimension of -1 next to one of 0");
    if (e_is_const(a, &ca) && e_is_const(b, &cb) && ca % cb != 0)
        op_fail(o, "%lld elements do not divide into rows of %lld", (long long)ca, (long long)cb);
    if (!e_is(b, 1) && !(e_is_const(a, &ca) && e_is_const(b, &cb)))
        graph_guard(o->g, G_DIV, a, b, o->g->origin ? o->g->origin : o->type);
    return e_div(a, b);
}

// The extents of a reshape whose shape only the run knows: v = shape[i] == 0 ? dim(x, i) : shape[i], and where
// shape[i] == -1 the size of x by the product of the others.
static void reshape_at_run(Op *o, Val *x) {
    Ex s[MAX_RANK], size = numel(x), zero = e_int(0);
    int rank = need_ints(o, 1, s, MAX_RANK), all = 0;
    Val *shape = cast(o, o->in[1], I64), *none = scalar_int(o, I64, -1), *one = scalar_int(o, I64, 1);
    if (rank > 0 && attr_int_or(o, "allowzero", 0) == 0) {
        for (int i = 0; i < rank; i++)
            s[i] = i < x->rank ? x->shape[i] : zero;
        shape = select(o, map2(o, FN_eq, shape, scalar_int(o, I64, 0)), ints(o, rank, s), shape);
    }
    if (rank > 0) {
        Val *rest = map2(o, FN_eq, shape, none), *others = reduce(o, RED_MUL, select(o, rest, one, shape), 1, &all, true);
        Val *missing = divide(o, b_dims(o->g, I64, 0, NULL, &size), map2(o, FN_max, others, one));
        shape = select(o, rest, missing, shape);
    }
    for (int i = 0; i < rank; i++) {
        Ex at = e_int(i);
        s[i] = e_size(shape, 1, &at);
    }
    o->out[0] = reshape(o, x, rank, s);
}

// --batch with a model that was exported for a batch of one, and has that in its shapes: a shape of one example is one
// of the batch, whose examples are outermost.
static void reshape_batch(const Op *o, const Val *x, int rank, Ex *s, int infer) {
    if (!o->opt->batch || rank == 0) return;
    Ex batch = op_batch(o);
    if (infer < 0) {
        if (e_product(rank, s) != val_numel(x) && e_mul(batch, e_product(rank, s)) == val_numel(x)) s[0] = e_mul(s[0], batch);
    } else if (infer > 0 && e_is(s[0], 1) && x->rank > 0 && x->shape[0] == batch) s[0] = batch;
}

// y = x in another shape; 0 keeps a dimension (but with allowzero), -1 is what remains
static void op_reshape(Op *o) {
    Val *x = o->in[0];
    Ex s[2 * MAX_RANK];
    if (o->since >= 5 && o->in[1] && known_ints(o->in[1], s, 2 * MAX_RANK) < 0) {
        reshape_at_run(o, x);
        return;
    }
    int rank = ints_of(o, o->since >= 5 ? 1 : -1, "shape", s), infer = -1;
    if (rank < 0)
        op_fail(o, "the shape is missing");
    check_rank(o, rank);
    bool keep = attr_int_or(o, "allowzero", 0) == 0;
    for (int i = 0; i < rank; i++) {
        if (e_is(s[i], 0) && keep) {
            if (i >= x->rank)
                op_fail(o, "dimension %d of the shape is 0, the input has %d dimensions", i, x->rank);
            s[i] = x->shape[i];
        } else if (e_is(s[i], -1)) {
            if (infer >= 0)
                op_fail(o, "two dimensions of the shape are -1");
            infer = i;
        } else if (e_lt(s[i], e_int(0))) {
            op_fail(o, "dimension %d of the shape is %s", i, e_str(s[i]));
        }
    }
    reshape_batch(o, x, rank, s, infer);
    if (infer >= 0)
        s[infer] = missing_extent(o, x, rank, s, infer);
    o->out[0] = reshape(o, x, rank, s);
}

// y = x as a matrix, cut before axis
static void op_flatten(Op *o) {
    Val *x = o->in[0];
    int64_t axis = attr_int(o, "axis");
    if (axis < -x->rank || axis > x->rank)
        op_fail(o, "axis %lld is outside of a tensor with %d dimensions", (long long)axis, x->rank);
    o->out[0] = flatten(o, x, (int)(axis < 0 ? axis + x->rank : axis));
}

// y = x without the axes, all of extent 1; by default all those
static void op_squeeze(Op *o) {
    Val *x = o->in[0];
    int axes[MAX_RANK];
    bool input = o->since >= 13;
    if (input && axes_at_run(o, 1)) {
        Ex s[MAX_RANK];
        int rank = reduced_shape(o, x, o->in[1], axis_mask(o, o->in[1], x->rank), false, s);
        o->out[0] = reshape(o, x, rank, s);
        return;
    }
    int n = need_axes(o, x, input ? 1 : -1, input ? NULL : "axes", axes, x->rank);
    if (n < 0) {
        n = 0;
        for (int i = 0; i < x->rank; i++)
            if (e_is(dim(x, i), 1))
                axes[n++] = i;
    }
    for (int i = n - 1; i >= 0; i--)
        x = squeeze(o, x, axes[i]);
    o->out[0] = x;
}

// The same for axes that only the run knows: extent i is that of x's next axis, or 1.
static void unsqueeze_at_run(Op *o) {
    Val *x = o->in[0], *axes = o->in[1], *old, *order, *place;
    int64_t n = need_const(o, numel(axes), "the number of axes");
    if (n > MAX_RANK - x->rank)
        op_fail(o, "more than %d dimensions are not supported", (int)MAX_RANK);
    int rank = x->rank + (int)n;
    Ex s[MAX_RANK], most = e_int(1);
    for (int i = 0; i < rank; i++) {
        s[i] = i < x->rank ? x->shape[i] : e_int(1);
        most = e_max(most, s[i]);
    }
    sort(o, cast(o, axis_mask(o, axes, rank), I64), 0, false, &old, &order); // the places of x's axes, then the others
    sort(o, order, 0, false, &old, &place);
    Val *extents = b_gather(o->g, ints(o, rank, s), place, 0);
    for (int i = 0; i < rank; i++)
        s[i] = axis_extent(extents, i, most);
    o->out[0] = reshape(o, x, rank, s);
}

// y = x with new axes of extent 1 where y's axes say
static void op_unsqueeze(Op *o) {
    Val *x = o->in[0];
    Ex v[2 * MAX_RANK];
    int axes[MAX_RANK];
    bool input = o->since >= 13;
    if (input && axes_at_run(o, 1)) {
        unsqueeze_at_run(o);
        return;
    }
    int n = ints_of(o, input ? 1 : -1, "axes", v);
    if (n < 0)
        op_fail(o, "the axes are missing");
    check_rank(o, x->rank + n);
    n = need_axes(o, x, input ? 1 : -1, input ? NULL : "axes", axes, x->rank + n);
    for (int i = 0; i < n; i++)
        x = unsqueeze(o, x, axes[i]);
    o->out[0] = x;
}

// y's axis i is x's axis perm[i]; by default reversed
static void op_transpose(Op *o) {
    Val *x = o->in[0];
    const int64_t *p;
    int perm[MAX_RANK], n = attr_ints(o, "perm", &p);
    bool seen[MAX_RANK] = {false};
    if (n >= 0 && n != x->rank)
        op_fail(o, "perm has %d elements, the input %d dimensions", n, x->rank);
    for (int i = 0; i < x->rank; i++) {
        perm[i] = n < 0 ? x->rank - 1 - i : axis_of(o, p[i], x->rank);
        if (seen[perm[i]])
            op_fail(o, "perm has %d twice", perm[i]);
        seen[perm[i]] = true;
    }
    o->out[0] = permute(o, x, perm);
}

// y = the inputs joined along axis
// --batch: x, which was made for a batch of one, as a token before each sequence, for each example, if one of n others has the batch.
static Val *per_example(Op *o, Val *x, int axis, int n, Val *const *other) {
    Ex shape[MAX_RANK];
    bool any = false;
    for (int i = 0; i < n && o->opt->batch; i++) any |= other[i]->kind == K_TENSOR && other[i]->rank > axis && other[i]->shape[axis] == op_batch(o);
    if (!any || x->kind != K_TENSOR || x->rank <= axis || !e_is(x->shape[axis], 1)) return x;
    for (int i = 0; i < x->rank; i++) shape[i] = i == axis ? op_batch(o) : x->shape[i];
    return expand_to(o, x, x->rank, shape);
}

static void op_concat(Op *o) {
    int axis = axis_of(o, attr_int_or(o, "axis", 1), o->in[0]->rank);
    for (int i = 0; i < o->nin && axis > 0; i++) o->in[i] = per_example(o, o->in[i], 0, o->nin, o->in);
    o->out[0] = concat(o, o->nin, o->in, axis);
}

// The extents of the parts of a split: given, or equal but for a smaller last one.
static void split_sizes(Op *o, Ex n, Ex *size) {
    Ex *v = NEWN(Ex, o->nout > 2 * MAX_RANK ? o->nout : 2 * MAX_RANK);
    int have = -1;
    if (o->since < 2 || o->since >= 13)
        have = o->nin > 1 && o->in[1] ? need_sizes(o, 1, v, o->nout) : -1;
    const int64_t *a;
    if (have < 0 && o->since < 13 && (have = attr_ints(o, "split", &a)) > 0)
        for (int i = 0; i < have && i < o->nout; i++)
            v[i] = e_int(a[i]);
    if (have > 0) {
        if (have != o->nout)
            op_fail(o, "%d sizes for %d outputs", have, o->nout);
        Ex sum = e_int(0);
        for (int i = 0; i < have; i++)
            sum = e_add(sum, size[i] = v[i]);
        graph_guard(o->g, G_EQ, sum, n, o->g->origin ? o->g->origin : o->type);
        return;
    }
    int64_t parts = attr_int_or(o, "num_outputs", o->nout);
    if (parts < o->nout)
        op_fail(o, "%lld parts for %d outputs", (long long)parts, o->nout);
    if (o->since < 18)
        graph_guard(o->g, G_DIV, n, e_int(parts), o->g->origin ? o->g->origin : o->type);
    Ex each = o->since < 18 ? e_div(n, e_int(parts)) : e_ceil_div(n, e_int(parts));
    for (int i = 0; i < o->nout; i++)
        size[i] = each;
    if (o->since >= 18 && parts == o->nout)
        size[o->nout - 1] = e_sub(n, e_scale(each, parts - 1));
}

// y_i = the i-th part of x along axis
static void op_split(Op *o) {
    Val *x = o->in[0];
    int axis = axis_of(o, attr_int_or(o, "axis", 0), x->rank);
    Ex *size = NEWN(Ex, o->nout + 1), start = e_int(0);
    split_sizes(o, dim(x, axis), size);
    for (int i = 0; i < o->nout; i++) {
        o->out[i] = slice(o, x, axis, start, size[i], e_int(1));
        start = e_add(start, size[i]);
    }
}

// Whether a position is beyond any extent, as exporters write "to the end".
static bool is_huge(Ex e, int64_t *c) { return e_is_const(e, c) && (*c >= INT32_MAX || *c <= INT32_MIN); }

// A position of a slice in an axis of n, from 0: negative ones count from the end; limited to [lo, n + hi].
static Ex slice_position(Ex p, Ex n, int64_t lo, int64_t hi) {
    int64_t c;
    Ex top = e_add(n, e_int(hi));
    if (is_huge(p, &c))
        return c > 0 ? e_max(top, e_int(lo)) : e_int(lo);
    if (e_is_const(p, &c) ? c < 0 : e_lt(p, e_int(0)))
        p = e_add(p, n);
    else if (!e_ge0(p)) // floor(p / 2^62) is -1 for negative numbers, else 0
        p = e_sub(p, e_mul(n, e_div(p, e_int(INT64_C(1) << 62))));
    return e_max(e_min(p, top), e_int(lo));
}

// x[start:end:step] along one axis, Python's rules but for a start before the first element with a negative step.
static Val *slice_range(Op *o, Val *x, int axis, Ex start, Ex end, int64_t step) {
    Ex n = dim(x, axis), size;
    if (step == 0)
        op_fail(o, "a step of 0");
    if (step > 0) {
        start = slice_position(start, n, 0, 0);
        end = slice_position(end, n, 0, 0);
        size = e_ceil_div(e_sub(end, start), e_int(step));
    } else {
        // The last element at most, the first at least: ONNX's rule, not Python's. From the end or from a known
        // element on nothing is before the first one.
        int64_t from;
        bool inside = e_is_const(start, &from) ? from >= -1 : e_ge0(start);
        start = slice_position(start, n, inside ? -1 : 0, -1);
        end = slice_position(end, n, -1, -1);
        size = e_ceil_div(e_sub(start, end), e_int(step == INT64_MIN ? INT64_MAX : -step));
    }
    size = e_max(size, e_int(0));
    if (step < 0) size = e_min(size, n);
    int64_t c;
    if (e_is_const(size, &c) && c <= 1) { // the step does not matter
        step = 1;
        start = c ? start : e_int(0);
    }
    return slice(o, x, axis, start, size, e_int(step));
}

// A vector of positions in axes of n elements: negative ones count from the end; limited to [lo, n + hi].
static Val *positions(Op *o, Val *p, Val *n, Val *lo, Val *hi) {
    p = select(o, map2(o, FN_lt, p, scalar_int(o, I64, 0)), add(o, p, n), p);
    return map2(o, FN_max, map2(o, FN_min, p, add(o, n, hi)), lo);
}

// The same where only the run knows the axes or the steps: every axis is sliced, by default whole.
static void slice_at_run(Op *o) {
    Val *x = o->in[0], *zero = scalar_int(o, I64, 0), *one = scalar_int(o, I64, 1), *minus = scalar_int(o, I64, -1);
    Ex rank = e_int(x->rank), n = numel(o->in[1]);
    Val *axes = o->nin > 3 && o->in[3] ? o->in[3] : iota(o, I64, n), *extents = ints(o, x->rank, x->shape);
    Val *step = full(o, I64, 1, 1, &rank), *start = full(o, I64, 0, 1, &rank), *end = extents;
    if (o->nin > 4 && o->in[4])
        step = axis_vector(o, step, axes, cast(o, o->in[4], I64));
    int64_t far = INT64_C(1) << 40; // larger steps are as good as this one
    step = map2(o, FN_max, map2(o, FN_min, step, scalar_int(o, I64, far)), scalar_int(o, I64, -far));
    Val *back = map2(o, FN_lt, step, zero), *lo = select(o, back, minus, zero), *size = map1(o, FN_abs, step);
    start = positions(o, axis_vector(o, start, axes, cast(o, o->in[1], I64)), extents, zero, lo);
    end = positions(o, axis_vector(o, end, axes, cast(o, o->in[2], I64)), extents, lo, lo);
    Val *span = select(o, back, sub(o, start, end), sub(o, end, start));
    Val *count = map2(o, FN_max, divide(o, sub(o, add(o, span, size), one), map2(o, FN_max, size, one)), zero);
    for (int i = 0; i < x->rank; i++) {
        Ex at = e_int(i), m = axis_extent(count, i, dim(x, i));
        graph_guard(o->g, G_GE, e_load(size, 1, &at), e_int(1), "a step of 0");
        x = slice(o, x, i, e_load(start, 1, &at), m, e_load(step, 1, &at));
    }
    o->out[0] = x;
}

// y = x[starts:ends:steps] along axes
static void op_slice(Op *o) {
    Val *x = o->in[0];
    bool input = o->since >= 10;
    if (input && (axes_at_run(o, 3) || axes_at_run(o, 4))) {
        slice_at_run(o);
        return;
    }
    Ex starts[2 * MAX_RANK], ends[2 * MAX_RANK], axes[2 * MAX_RANK], steps[2 * MAX_RANK];
    int n = ints_of(o, input ? 1 : -1, "starts", starts), m = ints_of(o, input ? 2 : -1, "ends", ends);
    int naxes = ints_of(o, input ? 3 : -1, "axes", axes), nsteps = input ? ints_of(o, 4, NULL, steps) : -1;
    if (n != m || n < 0 || (naxes >= 0 && naxes != n) || (nsteps >= 0 && nsteps != n))
        op_fail(o, "starts, ends, axes and steps differ in length: %d, %d, %d, %d", n, m, naxes, nsteps);
    if (naxes < 0 && n > x->rank)
        op_fail(o, "%d starts for %d dimensions", n, x->rank);
    for (int i = 0; i < n; i++) {
        int axis = naxes < 0 ? i : axis_of(o, need_const(o, axes[i], "an axis"), x->rank);
        int64_t step = nsteps < 0 ? 1 : need_const(o, steps[i], "a step");
        x = slice_range(o, x, axis, starts[i], ends[i], step);
    }
    o->out[0] = x;
}

// y = x repeated where extents are 1, to the shape that x's and the given one have in common
static void op_expand(Op *o) {
    Val *x = o->in[0];
    Ex s[MAX_RANK];
    int rank = need_sizes(o, 1, s, MAX_RANK);
    Val *one = full(o, x->dt == STR ? I64 : x->dt, 0, rank, s), *both[2] = {x, one};
    rank = broadcast_shape(o, 2, both, s);
    o->out[0] = expand_to(o, x, rank, s);
}

// x, n times one after the other along axis
static Val *repeat(Op *o, Val *x, int axis, Ex n) {
    if (e_is(n, 1))
        return x;
    Ex s[MAX_RANK + 1];
    if (e_is(dim(x, axis), 1)) {
        memcpy(s, x->shape, sizeof(Ex) * (size_t)x->rank);
        s[axis] = n;
        return expand_to(o, x, x->rank, s);
    }
    Val *y = unsqueeze(o, x, axis);
    memcpy(s, y->shape, sizeof(Ex) * (size_t)y->rank);
    s[axis] = n;
    return merge_axes(o, expand_to(o, y, y->rank, s), axis, 2);
}

// y = x repeated along each axis
static void op_tile(Op *o) {
    Val *x = o->in[0];
    Ex s[MAX_RANK];
    int n = need_sizes(o, 1, s, MAX_RANK);
    if (n != x->rank)
        op_fail(o, "%d repeats for %d dimensions", n, x->rank);
    for (int i = 0; i < n; i++)
        x = repeat(o, x, i, s[i]);
    o->out[0] = x;
}

// y = x repeated along one axis
static void op_tile_axis(Op *o) {
    Val *x = o->in[0];
    if (!val_const(o->in[2])) {
        by_axis(o, 2, x->rank, x->rank, op_tile_axis);
        return;
    }
    Ex n = known_number(o, 1, "tiles"), axis = known_number(o, 2, "axis");
    o->out[0] = repeat(o, x, axis_of(o, need_const(o, axis, "axis"), x->rank), n);
}

// The block size of DepthToSpace and SpaceToDepth, and whether the blocks are within the channels (CRD).
static int64_t block_of(Op *o, bool *inner) {
    int64_t b = attr_int(o, "blocksize");
    const char *mode = attr_str_or(o, "mode", "DCR");
    *inner = strcmp(mode, "CRD") == 0;
    if (o->in[0]->rank != 4)
        op_fail(o, "input 0 has %d dimensions, needs 4", o->in[0]->rank);
    if (b < 1)
        op_fail(o, "blocksize is %lld", (long long)b);
    if (!*inner && strcmp(mode, "DCR") != 0)
        op_fail(o, "mode is '%s', not DCR or CRD", mode);
    return b;
}

static Ex divided(Op *o, Ex n, int64_t by) {
    graph_guard(o->g, G_DIV, n, e_int(by), o->g->origin ? o->g->origin : o->type);
    return e_div(n, e_int(by));
}

// y[n, c, h*b + i, w*b + j] = x[n, (i*b + j)*C + c, h, w], or with CRD x[n, (c*b + i)*b + j, h, w]
static void op_depth_to_space(Op *o) {
    Val *x = o->in[0];
    bool inner;
    int64_t size = block_of(o, &inner);
    Ex b = e_int(size), n = dim(x, 0), c = divided(o, dim(x, 1), size * size), h = dim(x, 2), w = dim(x, 3);
    Val *t = reshape(o, x, 6, inner ? (Ex[]){n, c, b, b, h, w} : (Ex[]){n, b, b, c, h, w});
    t = permute(o, t, inner ? (int[]){0, 1, 4, 2, 5, 3} : (int[]){0, 3, 4, 1, 5, 2});
    o->out[0] = reshape(o, t, 4, (Ex[]){n, c, e_mul(h, b), e_mul(w, b)});
}

// the inverse of DepthToSpace
static void op_space_to_depth(Op *o) {
    Val *x = o->in[0];
    bool inner;
    int64_t size = block_of(o, &inner);
    Ex b = e_int(size), n = dim(x, 0), c = dim(x, 1), h = divided(o, dim(x, 2), size), w = divided(o, dim(x, 3), size);
    Val *t = reshape(o, x, 6, (Ex[]){n, c, h, b, w, b});
    t = permute(o, t, inner ? (int[]){0, 1, 3, 5, 2, 4} : (int[]){0, 3, 5, 1, 2, 4});
    o->out[0] = reshape(o, t, 4, (Ex[]){n, e_scale(c, size * size), h, w});
}

static void op_identity(Op *o) { o->out[0] = o->in[0]; }

const OpDef ops_shape[] = {
    {"Shape", 1, op_shape}, {"Size", 1, op_size}, {"Reshape", 1, op_reshape}, {"Flatten", 1, op_flatten},
    {"Squeeze", 1, op_squeeze}, {"Unsqueeze", 1, op_unsqueeze}, {"Transpose", 1, op_transpose},
    {"Concat", 1, op_concat}, {"Split", 1, op_split}, {"Slice", 1, op_slice}, {"Expand", 8, op_expand},
    {"Tile", 1, op_tile_axis}, {"Tile", 6, op_tile}, {"DepthToSpace", 1, op_depth_to_space},
    {"SpaceToDepth", 1, op_space_to_depth}, {"Identity", 1, op_identity}, {NULL, 0, NULL},
};
