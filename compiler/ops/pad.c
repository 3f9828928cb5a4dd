// SPDX-License-Identifier: Apache-2.0
// Borders: padding, cropping, triangles, overlapping blocks.
#include <string.h>
#include "ops/axes.h"

static Val *number(Op *o, Ex e) { return b_dims(o->g, I64, 0, NULL, &e); }

// x with lo and hi more elements along axis, or fewer where they are negative.
static Val *pad_constant(Op *o, Val *x, int axis, Ex lo, Ex hi, Val *value) {
    Ex zero = e_int(0), cut_lo = e_max(e_sub(zero, lo), zero), cut_hi = e_max(e_sub(zero, hi), zero);
    if (!e_is(cut_lo, 0) || !e_is(cut_hi, 0)) {
        Ex left = e_max(e_sub(dim(x, axis), e_add(cut_lo, cut_hi)), zero);
        x = slice(o, x, axis, cut_lo, left, e_int(1));
    }
    return pad(o, x, axis, e_max(lo, zero), e_max(hi, zero), value);
}

// x gathered along axis by positions -lo … n-1+hi that are folded back into [0, n).
static Val *pad_folded(Op *o, Val *x, int axis, Ex lo, Ex hi, const char *mode) {
    Ex n = dim(x, axis), last = e_sub(n, e_int(1));
    Val *at = sub(o, iota(o, I64, e_add(e_add(lo, n), hi)), number(o, lo));
    if (strcmp(mode, "edge") == 0) {
        at = map2(o, FN_min, map2(o, FN_max, at, scalar_int(o, I64, 0)), number(o, last));
    } else if (strcmp(mode, "wrap") == 0) {
        at = map2(o, FN_mod, at, number(o, n));
    } else if (strcmp(mode, "reflect") == 0) { // the period is 2(n-1), but 1 for a single element
        Val *top = number(o, last);
        at = map2(o, FN_mod, at, number(o, e_max(e_scale(last, 2), e_int(1))));
        at = sub(o, top, map1(o, FN_abs, sub(o, top, at)));
    } else {
        op_fail(o, "mode is '%s', not constant, reflect, edge or wrap", mode);
    }
    Ex s[MAX_RANK];
    for (int i = 0; i < x->rank; i++)
        s[i] = i == axis ? dim(at, 0) : e_int(1);
    Val *index = reshape(o, at, x->rank, s);
    for (int i = 0; i < x->rank; i++)
        s[i] = i == axis ? dim(at, 0) : dim(x, i);
    return b_gather(o->g, x, expand_to(o, index, x->rank, s), axis);
}

// The pads of all axes, 0 where only the run knows which are padded.
static void pads_at_run(Op *o, int rank, Ex *pads) {
    Ex n = numel(o->in[3]), r = e_int(rank);
    Val *both = cast(o, o->in[1], I64), *none = full(o, I64, 0, 1, &r);
    graph_guard(o->g, G_EQ, numel(both), e_scale(n, 2), o->g->origin ? o->g->origin : o->type);
    for (int end = 0; end < 2; end++) {
        Val *v = axis_vector(o, none, o->in[3], slice(o, both, 0, end ? n : e_int(0), n, e_int(1)));
        for (int i = 0; i < rank; i++) {
            Ex at = e_int(i);
            pads[end * rank + i] = e_load(v, 1, &at);
        }
    }
}

// The pads of the listed axes: starts, then ends.
static int read_pads(Op *o, Ex *pads, int *axes) {
    Val *x = o->in[0];
    int n, naxes = x->rank;
    Ex v[2 * MAX_RANK];
    if (o->since >= 11) {
        n = need_ints(o, 1, pads, 2 * MAX_RANK);
    } else {
        const int64_t *a;
        n = attr_ints(o, o->since >= 2 ? "pads" : "paddings", &a);
        for (int i = 0; i < n && i < 2 * MAX_RANK; i++)
            pads[i] = e_int(a[i]);
    }
    bool listed = o->since >= 18 && o->nin > 3 && o->in[3];
    if (listed && axes_at_run(o, 3)) {
        pads_at_run(o, x->rank, pads);
        for (int i = 0; i < x->rank; i++)
            axes[i] = i;
        return x->rank;
    }
    if (listed)
        naxes = need_ints(o, 3, v, MAX_RANK);
    for (int i = 0; i < naxes; i++)
        axes[i] = listed ? axis_of(o, need_const(o, v[i], "an axis"), x->rank) : i;
    if (n != 2 * naxes)
        op_fail(o, "%d pads for %d axes", n, naxes);
    return naxes;
}

// The value to pad with, a scalar of x's type; an empty string for strings.
static Val *pad_value(Op *o, const Val *x) {
    if (o->since >= 11 && o->nin > 2 && o->in[2])
        return reshape(o, o->in[2], 0, NULL);
    if (x->dt == STR)
        return b_const(o->g, data_new(STR, 1), 0, NULL);
    return like(o, x, attr_float_or(o, "value", 0));
}

// y = x with a border of a constant, the edge, its reflection or its repetition
static void op_pad(Op *o) {
    Val *x = o->in[0];
    Ex pads[2 * MAX_RANK];
    int axes[MAX_RANK], n = read_pads(o, pads, axes);
    const char *mode = attr_str(o, "mode");
    bool constant = strcmp(mode, "constant") == 0;
    Val *value = constant ? pad_value(o, x) : NULL;
    for (int i = 0; i < n; i++) {
        if (e_is(pads[i], 0) && e_is(pads[n + i], 0))
            continue;
        x = constant ? pad_constant(o, x, axes[i], pads[i], pads[n + i], value)
                     : pad_folded(o, x, axes[i], pads[i], pads[n + i], mode);
    }
    o->out[0] = x;
}

// y = the centre of x, padded with zeros, in the given extents
static void op_center_crop_pad(Op *o) {
    Val *x = o->in[0];
    Ex size[MAX_RANK], two = e_int(2), zero = e_int(0);
    const int64_t *a;
    int n = need_sizes(o, 1, size, MAX_RANK), naxes = attr_ints(o, "axes", &a);
    if (n != (naxes < 0 ? x->rank : naxes))
        op_fail(o, "%d extents for %d axes", n, naxes < 0 ? x->rank : naxes);
    for (int i = 0; i < n; i++) {
        int axis = naxes < 0 ? i : axis_of(o, a[i], x->rank);
        Ex cut = e_max(e_sub(dim(x, axis), size[i]), zero), more = e_max(e_sub(size[i], dim(x, axis)), zero);
        x = slice(o, x, axis, e_div(cut, two), e_sub(dim(x, axis), cut), e_int(1));
        Ex lo = e_div(more, two);
        x = pad(o, x, axis, lo, e_sub(more, lo), NULL);
    }
    o->out[0] = x;
}

// y[i, j] = x[i, j] where j - i >= k (upper) or j - i <= k, else 0
static void op_trilu(Op *o) {
    Val *x = o->in[0];
    if (x->rank < 2)
        op_fail(o, "input 0 has %d dimensions, needs at least 2", x->rank);
    Val *k = o->nin > 1 && o->in[1] ? reshape(o, o->in[1], 0, NULL) : scalar_int(o, I64, 0);
    Ex row_shape[2] = {dim(x, -2), e_int(1)};
    Val *row = reshape(o, iota(o, I64, dim(x, -2)), 2, row_shape), *col = iota(o, I64, dim(x, -1));
    Val *diagonal = sub(o, col, row);
    Val *kept = attr_int(o, "upper") ? map2(o, FN_le, k, diagonal) : map2(o, FN_le, diagonal, k);
    o->out[0] = select(o, kept, x, like(o, x, 0));
}

// A list attribute of n integers, `none` each when absent.
static void ints_or(Op *o, const char *name, int n, int64_t none, Ex *v) {
    const int64_t *a;
    int have = attr_ints(o, name, &a);
    if (have >= 0 && have != n)
        op_fail(o, "attribute %s has %d elements, needs %d", name, have, n);
    for (int i = 0; i < n; i++)
        v[i] = e_int(have < 0 ? none : a[i]);
}

// y = the sum of blocks laid out over an image: [N, C*prod(block), L] -> [N, C, image..]
static void op_col2im(Op *o) {
    Val *x = o->in[0];
    Ex image[MAX_RANK], block[MAX_RANK], stride[MAX_RANK], dil[MAX_RANK], pads[MAX_RANK], s[MAX_RANK];
    int d = need_ints(o, 1, image, MAX_RANK / 2 - 1), perm[MAX_RANK];
    if (need_ints(o, 2, block, MAX_RANK / 2 - 1) != d || d < 1 || x->rank != 3)
        op_fail(o, "image_shape and block_shape differ in length, or input 0 has not 3 dimensions");
    ints_or(o, "strides", d, 1, stride);
    ints_or(o, "dilations", d, 1, dil);
    ints_or(o, "pads", 2 * d, 0, pads);
    Ex size = e_product(d, block);
    graph_guard(o->g, G_DIV, dim(x, 1), size, o->g->origin ? o->g->origin : o->type);
    s[0] = dim(x, 0);
    s[1] = e_div(dim(x, 1), size);
    perm[0] = 0;
    perm[1] = 1;
    for (int i = 0; i < d; i++) {
        Ex extent = e_add(e_mul(e_sub(block[i], e_int(1)), dil[i]), e_int(1));
        Ex n = e_add(image[i], e_add(pads[i], pads[d + i]));
        s[2 + i] = block[i];
        s[2 + d + i] = e_add(e_div(e_sub(n, extent), stride[i]), e_int(1));
        perm[2 + 2 * i] = 2 + d + i;
        perm[3 + 2 * i] = 2 + i;
    }
    Val *y = permute(o, reshape(o, x, 2 + 2 * d, s), perm); // [N, C, o1, k1, o2, k2, …]
    for (int i = 0; i < d; i++) {
        Ex n = e_add(image[i], e_add(pads[i], pads[d + i]));
        y = unwindow(o, y, 2 + i, n, stride[i], dil[i]);
        y = slice(o, y, 2 + i, pads[i], image[i], e_int(1));
    }
    o->out[0] = y;
}

const OpDef ops_pad[] = {
    {"Pad", 1, op_pad}, {"CenterCropPad", 18, op_center_crop_pad}, {"Trilu", 14, op_trilu},
    {"Col2Im", 18, op_col2im}, {NULL, 0, NULL},
};
