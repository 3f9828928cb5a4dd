// SPDX-License-Identifier: Apache-2.0
// Pooling: a reduction over windows.
#include "ops/nn.h"

#include <math.h>
#include <string.h>

static void tail_axes(int n, int first, int *axes) {
    for (int i = 0; i < n; i++) axes[i] = first + i;
}

static Val *lowest(Op *o, DType dt) {
    if (dt_is_float(dt)) return scalar(o, dt, -INFINITY);
    return scalar_int(o, dt, dt_is_signed(dt) ? INT64_MIN >> (64 - dt_bits(dt)) : 0);
}

static Spatial pool_read(Op *o, const Val *x) {
    Spatial s = {0};
    spatial_kernel(o, x, NULL, &s);
    spatial_read(o, x, &s);
    return s;
}

/* The index in x, flattened, of element `tap` (flat in the window) of each window. */
static Val *pool_index(Op *o, const Val *x, const Spatial *s, Val *tap, bool column_major) {
    int n = s->n, rank = n + 2;
    Val *index = NULL, *pos[MAX_RANK];
    Ex inner = e_int(1);
    for (int i = n - 1; i >= 0; i--) {
        Val *t = i == 0 ? tap : map2(o, FN_mod, tap, ex_scalar(o, I64, s->k[i]));
        if (i > 0) tap = divide(o, tap, ex_scalar(o, I64, s->k[i]));
        Val *at = index_along(o, I64, 2 + i, rank, tap->shape);
        at = sub(o, mul(o, at, ex_scalar(o, I64, s->stride[i])), ex_scalar(o, I64, s->lo[i]));
        pos[i] = add(o, at, mul(o, t, ex_scalar(o, I64, s->dil[i])));
    }
    for (int j = 0; j < n; j++) {
        int i = column_major ? j : n - 1 - j;
        Val *term = mul(o, pos[i], ex_scalar(o, I64, inner));
        index = index ? add(o, index, term) : term;
        inner = e_mul(inner, dim(x, 2 + i));
    }
    Val *plane = add(o, mul(o, index_along(o, I64, 0, rank, tap->shape), ex_scalar(o, I64, dim(x, 1))),
                     index_along(o, I64, 1, rank, tap->shape));
    plane = mul(o, plane, ex_scalar(o, I64, inner));
    return index ? add(o, index, plane) : plane;
}

static bool pool_is_full(const Val *x, const Spatial *s, bool with_pads) {
    for (int i = 0; i < s->n; i++) {
        if (!with_pads && (!e_is(s->lo[i], 0) || !e_is(s->hi[i], 0))) return false;
        if (s->ceil_mode && !e_le(windows_end(s, i), e_add(dim(x, 2 + i), e_add(s->lo[i], s->hi[i])))) return false;
    }
    return true;
}

// Which tap of each window [.., taps] has the largest element: of x, where padding is as small as it is.
static Val *largest_tap(Op *o, Val *x, const Spatial *s, Val *p, int k) {
    if (pool_is_full(x, s, false)) return reduce(o, RED_ARGMAX, p, 1, &k, false);
    Val *inside = windows(o, full(o, BOOL, 1, x->rank, x->shape), s, scalar_int(o, BOOL, 0));
    inside = s->n ? merge_axes(o, inside, k, s->n) : unsqueeze(o, inside, k);
    Val *most = unsqueeze(o, reduce(o, RED_MAX, p, 1, &k, false), k);
    Val *below = map2(o, FN_lt, p, expand_to(o, most, p->rank, p->shape)); // no element is below NaN
    Val *hit = map2(o, FN_and, inside, map1(o, FN_not, below));
    return reduce(o, RED_ARGMAX, cast(o, hit, U8), 1, &k, false);
}

/* y = max over the window; indices: where it is in x */
static void max_pool(Op *o) {
    Val *x = o->in[0];
    Spatial s = pool_read(o, x);
    int axes[MAX_RANK], k = 2 + s.n;
    Val *p = windows(o, x, &s, lowest(o, x->dt));
    tail_axes(s.n, k, axes);
    o->out[0] = reduce(o, RED_MAX, p, s.n, axes, false);
    if (o->nout < 2 || !o->want[1]) return;
    p = s.n ? merge_axes(o, p, k, s.n) : unsqueeze(o, p, k);
    Val *tap = largest_tap(o, x, &s, p, k);
    o->out[1] = pool_index(o, x, &s, tap, attr_int_or(o, "storage_order", 0) != 0);
}

/* How many of a window's elements count: [o1..on] */
static Val *pool_count(Op *o, const Val *x, const Spatial *s, DType dt, bool with_pads) {
    Val *count = NULL;
    int n = s->n;
    for (int i = 0; i < n; i++) {
        Ex size = dim(x, 2 + i), end = e_add(size, with_pads ? s->hi[i] : e_int(0));
        Ex lo = with_pads ? e_int(0) : s->lo[i], len = with_pads ? e_add(end, s->lo[i]) : size;
        Ex one[1] = {len}, rest = e_max(e_sub(windows_end(s, i), e_add(lo, len)), e_int(0));
        Val *v = pad_or_crop(o, full(o, dt, 1, 1, one), 0, lo, rest, scalar(o, dt, 0));
        v = window(o, v, 0, s->k[i], s->stride[i], s->dil[i]);
        if (dim(v, 0) != s->out[i]) v = slice(o, v, 0, e_int(0), s->out[i], e_int(1));
        v = reduce_sum(o, v, 1, (int[]){1}, false);
        v = along_axis(o, v, i, n);
        count = count ? mul(o, count, v) : v;
    }
    return count;
}

Val *average_of(Op *o, Val *x) {
    Spatial s = pool_read(o, x);
    int axes[MAX_RANK];
    DType dt = acc_type(x->dt);
    bool with_pads = attr_int_or(o, "count_include_pad", 0) != 0;
    Val *acc = cast(o, x, dt);
    Val *sum = windows(o, acc, &s, like(o, acc, 0));
    tail_axes(s.n, 2 + s.n, axes);
    sum = reduce_sum(o, sum, s.n, axes, false);
    Val *count =
        pool_is_full(x, &s, with_pads) ? ex_scalar(o, dt, e_product(s.n, s.k)) : pool_count(o, x, &s, dt, with_pads);
    return cast(o, count ? divide(o, sum, count) : sum, x->dt);
}

/* y = sum over the window / number of its elements inside x (or inside the padded x) */
static void average_pool(Op *o) { o->out[0] = average_of(o, o->in[0]); }

/* (sum |x|^p)^(1/p) over the axes */
static Val *lp_of(Op *o, Val *x, double p, int n, const int *axes, bool keepdims) {
    if (p == 1) return reduce_sum(o, map1(o, FN_abs, x), n, axes, keepdims);
    if (p == 2) return map1(o, FN_sqrt, reduce_sum(o, mul(o, x, x), n, axes, keepdims));
    Val *sum = reduce_sum(o, map2(o, FN_pow, map1(o, FN_abs, x), like(o, x, p)), n, axes, keepdims);
    return map2(o, FN_pow, sum, like(o, sum, 1 / p));
}

static double read_p(Op *o) { return o->since == 1 ? attr_float_or(o, "p", 2) : (double)attr_int_or(o, "p", 2); }

/* y = (sum over the window of |x|^p)^(1/p) */
static void lp_pool(Op *o) {
    Val *x = o->in[0];
    Spatial s = pool_read(o, x);
    int axes[MAX_RANK];
    Val *acc = cast(o, x, acc_type(x->dt));
    tail_axes(s.n, 2 + s.n, axes);
    o->out[0] = cast(o, lp_of(o, windows(o, acc, &s, like(o, acc, 0)), read_p(o), s.n, axes, false), x->dt);
}

/* the same over all spatial axes, kept with extent 1 */
static void global_pool(Op *o) {
    Val *x = o->in[0];
    int axes[MAX_RANK], n = x->rank - 2;
    if (n < 0) op_fail(o, "input 0 has %d dimensions, needs at least 2", x->rank);
    tail_axes(n, 2, axes);
    if (!strcmp(o->type, "GlobalMaxPool")) {
        o->out[0] = reduce(o, RED_MAX, x, n, axes, true);
        return;
    }
    Val *acc = cast(o, x, acc_type(x->dt));
    bool mean = !strcmp(o->type, "GlobalAveragePool");
    Val *y = mean ? reduce_mean(o, acc, n, axes, true) : lp_of(o, acc, read_p(o), n, axes, true);
    o->out[0] = cast(o, y, x->dt);
}

/* y = 0; y[indices] = x */
static void max_unpool(Op *o) {
    Val *x = o->in[0];
    Spatial s = {0};
    Ex shape[MAX_RANK], want[MAX_RANK];
    spatial_kernel(o, x, NULL, &s);
    spatial_read(o, x, &s);
    shape[0] = dim(x, 0), shape[1] = dim(x, 1);
    for (int i = 0; i < s.n; i++) {
        Ex n = e_add(e_mul(e_sub(dim(x, 2 + i), e_int(1)), s.stride[i]), s.k[i]);
        shape[2 + i] = e_sub(n, e_add(s.lo[i], s.hi[i]));
    }
    Ex total = e_product(x->rank, shape);
    Val *index = merge_axes(o, o->in[1], 0, x->rank), *upd = merge_axes(o, x, 0, x->rank);
    Val *y = scatter(o, RED_SET, full(o, x->dt, 0, 1, &total), index, upd, 0);
    y = reshape(o, y, x->rank, shape);
    if (o->nin > 2 && o->in[2]) {
        if (need_sizes(o, 2, want, MAX_RANK) != x->rank) op_fail(o, "output_shape does not have %d elements", x->rank);
        for (int i = 0; i < x->rank; i++) y = pad_or_crop(o, y, i, e_int(0), e_sub(want[i], shape[i]), like(o, y, 0));
    }
    o->out[0] = y;
}

/* x[roi's image] for each roi: [R, C, H, W] */
static Val *roi_images(Op *o, Val *x, Val *image) { return take(o, x, cast(o, image, I64), 0); }

/* 1 where index `axis` of [R, bins, n] is inside the bin */
static Val *roi_mask(Op *o, Val *start, Val *end, Ex bins, Ex n) {
    // start, end: [R] integers as floats; bin i covers [floor(i*size/bins) + start, ceil((i+1)*size/bins) + start)
    DType dt = start->dt;
    Val *one = like(o, start, 1), *size = map2(o, FN_max, add(o, sub(o, end, start), one), one);
    Val *step = unsqueeze(o, divide(o, size, ex_scalar(o, dt, bins)), 1);
    Val *i = iota(o, dt, bins), *base = unsqueeze(o, start, 1);
    Val *top = ex_scalar(o, dt, n);
    Val *a = add(o, map1(o, FN_floor, mul(o, i, step)), base);
    Val *b = add(o, map1(o, FN_ceil, mul(o, add(o, i, one), step)), base);
    a = unsqueeze(o, map2(o, FN_min, map2(o, FN_max, a, like(o, a, 0)), top), 2);
    b = unsqueeze(o, map2(o, FN_min, map2(o, FN_max, b, like(o, b, 0)), top), 2);
    Val *p = iota(o, dt, n);
    return map2(o, FN_and, map2(o, FN_le, a, p), map2(o, FN_lt, p, b));
}

static Val *column(Op *o, Val *x, int64_t i) { return squeeze(o, slice1(o, x, 1, i), 1); }

/* half away from zero, as C's round */
static Val *round_away(Op *o, Val *x) {
    Val *r = map1(o, FN_floor, add(o, map1(o, FN_abs, x), like(o, x, 0.5)));
    return mul(o, map1(o, FN_sign, x), r);
}

/* y[r,c,i,j] = max of x[image(r),c] over bin (i,j) of the roi; 0 for an empty bin */
static void max_roi_pool(Op *o) {
    Val *x = o->in[0], *rois = o->in[1];
    const int64_t *p = NULL;
    if (attr_ints(o, "pooled_shape", &p) != 2 || x->rank != 4 || rois->rank != 2)
        op_fail(o, "takes images, rois [R, 5] and two pooled sizes");
    Val *scale = like(o, rois, attr_float(o, "spatial_scale")), *edge[4];
    for (int i = 0; i < 4; i++) edge[i] = round_away(o, mul(o, column(o, rois, 1 + i), scale));
    Val *none = like(o, x, -INFINITY), *cols = roi_mask(o, edge[0], edge[2], e_int(p[1]), dim(x, 3));
    Val *rows = roi_mask(o, edge[1], edge[3], e_int(p[0]), dim(x, 2));
    Val *v = unsqueeze(o, roi_images(o, x, column(o, rois, 0)), 3); // [R, C, H, 1, W]
    v = select(o, unsqueeze_n(o, cols, 1, 2), v, none);             // [R, 1, 1, pw, W]
    v = reduce_max(o, v, 1, (int[]){4}, false);                     // [R, C, H, pw]
    v = unsqueeze(o, swap_axes(o, v, 2, 3), 2);                     // [R, C, 1, pw, H]
    rows = unsqueeze(o, unsqueeze(o, rows, 1), 3);                  // [R, 1, ph, 1, H]
    v = reduce_max(o, select(o, rows, v, none), 1, (int[]){4}, false);
    o->out[0] = select(o, map2(o, FN_eq, v, none), like(o, v, 0), v);
}

typedef struct {
    Val *low, *high, *wlow, *whigh, *valid;
} Taps; // [R, bins, samples]: indices in i64, weights; valid: NULL if all are

/*
 * The samples of each bin along one axis. The grid has `ratio` samples a bin, or ceil(bin size) of them when
 * ratio is 0: then those that can fall inside the image, at most 2n + 4 from the first one inside on.
 */
static Taps roi_taps(Op *o, Val *start, Val *size, int64_t bins, int64_t ratio, Ex n, Val **count) {
    DType dt = start->dt;
    Val *bin = unsqueeze_n(o, divide(o, size, like(o, size, (double)bins)), 1, 2), *zero = like(o, bin, 0),
        *one = like(o, bin, 1);
    Val *first = add(o, unsqueeze_n(o, start, 1, 2), mul(o, unsqueeze(o, iota(o, dt, e_int(bins)), 1), bin));
    Val *top = ex_scalar(o, dt, e_sub(n, e_int(1))), *s, *grid, *valid = NULL;
    if (ratio > 0) {
        grid = like(o, bin, (double)ratio);
        s = iota(o, dt, e_int(ratio));
    } else {
        grid = map1(o, FN_ceil, bin);
        Val *skip = sub(o, divide(o, mul(o, sub(o, like(o, first, -1), first), grid), bin), like(o, bin, 0.5));
        skip = map2(o, FN_max, map1(o, FN_floor, skip), zero);
        s = add(o, iota(o, dt, e_add(e_scale(n, 2), e_int(4))), skip);
        valid = map2(o, FN_lt, s, grid);
    }
    *count = map2(o, FN_max, grid, zero);
    Val *p = add(o, first, divide(o, mul(o, add(o, s, like(o, s, 0.5)), bin), grid)); // [R, bins, samples]
    Val *in = map2(o, FN_and, map2(o, FN_le, like(o, p, -1), p), map2(o, FN_le, p, ex_scalar(o, dt, n)));
    if (valid) in = map2(o, FN_and, in, valid);
    p = map2(o, FN_min, map2(o, FN_max, select(o, in, p, zero), zero), top);
    Val *low = map1(o, FN_floor, p), *frac = sub(o, p, low);
    Taps t = {.low = cast(o, low, I64), .high = cast(o, map2(o, FN_min, add(o, low, one), top), I64), .valid = valid};
    t.wlow = select(o, in, sub(o, one, frac), zero);
    t.whigh = select(o, in, frac, zero);
    return t;
}

/* w[r, bin, pixel] = the weight that the samples of the bin give a pixel */
static Val *roi_weights(Op *o, const Taps *t, Ex n) {
    Val *p = iota(o, I64, n), *zero = like(o, t->wlow, 0);
    Val *a = select(o, map2(o, FN_eq, unsqueeze(o, t->low, 3), p), unsqueeze(o, t->wlow, 3), zero);
    Val *b = select(o, map2(o, FN_eq, unsqueeze(o, t->high, 3), p), unsqueeze(o, t->whigh, 3), zero);
    return reduce_sum(o, add(o, a, b), 1, (int[]){2}, false);
}

/* Four corners of each sample gathered, weighted, and combined: [R, C, ph, pw], summed or the greatest. */
static Val *roi_gathered(Op *o, Val *x, Val *image, const Taps *ty, const Taps *tx, bool greatest) {
    Val *v = NULL;
    Ex rows = dim(ty->low, 1), ys = dim(ty->low, 2), cols = dim(tx->low, 1), xs = dim(tx->low, 2), r = dim(ty->low, 0);
    Val *flat = merge_axes(o, move_axis(o, x, 1, 3), 0, 3); // [N*H*W, C]
    Val *plane = mul(o, cast(o, image, I64), ex_scalar(o, I64, e_mul(dim(x, 2), dim(x, 3))));
    for (int c = 0; c < 4; c++) {
        Val *y = merge_axes(o, c & 1 ? ty->high : ty->low, 1, 2),
            *wy = merge_axes(o, c & 1 ? ty->whigh : ty->wlow, 1, 2);
        Val *xx = merge_axes(o, c & 2 ? tx->high : tx->low, 1, 2),
            *wx = merge_axes(o, c & 2 ? tx->whigh : tx->wlow, 1, 2);
        Val *at = add(o, mul(o, unsqueeze(o, y, 2), ex_scalar(o, I64, dim(x, 3))), unsqueeze(o, xx, 1));
        at = add(o, at, unsqueeze_n(o, plane, 1, 2)); // [R, ph*ys, pw*xs]
        Val *w = unsqueeze(o, mul(o, unsqueeze(o, wy, 2), unsqueeze(o, wx, 1)), 3);
        Val *term = mul(o, take(o, flat, at, 0), w); // [R, ph*ys, pw*xs, C]
        if (greatest && ty->valid) {
            Val *in = map2(o, FN_and, unsqueeze(o, merge_axes(o, ty->valid, 1, 2), 2),
                           unsqueeze(o, merge_axes(o, tx->valid, 1, 2), 1));
            term = select(o, unsqueeze(o, in, 3), term, like(o, term, -INFINITY));
        }
        v = !v ? term : greatest ? map2(o, FN_max, v, term) : add(o, v, term);
    }
    Ex shape[6] = {r, rows, ys, cols, xs, dim(x, 1)};
    v = reduce(o, greatest ? RED_MAX : RED_ADD, reshape(o, v, 6, shape), 2, (int[]){2, 4}, false);
    return move_axis(o, v, 3, 1);
}

/* y[r,c,i,j] = mean (or max) of the bilinear samples of x[image(r),c] in bin (i,j) of the roi */
static void roi_align(Op *o) {
    Val *x = o->in[0], *rois = o->in[1], *image = o->in[2];
    int64_t ph = attr_int(o, "output_height"), pw = attr_int(o, "output_width"), ratio = attr_int(o, "sampling_ratio");
    bool greatest = !strcmp(attr_str(o, "mode"), "max");
    bool half = o->since >= 16 && !strcmp(attr_str(o, "coordinate_transformation_mode"), "half_pixel");
    DType dt = acc_type(x->dt);
    if (x->rank != 4 || rois->rank != 2) op_fail(o, "takes images [N, C, H, W] and rois [R, 4]");
    Val *acc = cast(o, x, dt), *scale = scalar(o, dt, attr_float(o, "spatial_scale")), *edge[4], *ny, *nx, *y;
    for (int i = 0; i < 4; i++) {
        edge[i] = mul(o, cast(o, column(o, rois, i), dt), scale);
        if (half) edge[i] = sub(o, edge[i], like(o, edge[i], 0.5));
    }
    Val *w = sub(o, edge[2], edge[0]), *h = sub(o, edge[3], edge[1]);
    if (!half) {
        w = map2(o, FN_max, w, like(o, w, 1));
        h = map2(o, FN_max, h, like(o, h, 1));
    }
    Taps ty = roi_taps(o, edge[1], h, ph, ratio, dim(x, 2), &ny),
         tx = roi_taps(o, edge[0], w, pw, ratio, dim(x, 3), &nx);
    if (!greatest && ratio <= 0) { // separable: rows, then columns
        Val *wy = roi_weights(o, &ty, dim(x, 2)), *wx = roi_weights(o, &tx, dim(x, 3));
        Val *v = roi_images(o, acc, image);                                                            // [R, C, H, W]
        v = reduce_sum(o, mul(o, unsqueeze(o, v, 3), unsqueeze_n(o, wx, 1, 2)), 1, (int[]){4}, false); // [R, C, H, pw]
        v = mul(o, unsqueeze(o, swap_axes(o, v, 2, 3), 2), unsqueeze(o, unsqueeze(o, wy, 1), 3)); // [R, C, ph, pw, H]
        y = reduce_sum(o, v, 1, (int[]){4}, false);
    } else {
        y = roi_gathered(o, acc, image, &ty, &tx, greatest);
    }
    if (greatest && ratio <= 0) y = select(o, map2(o, FN_eq, y, like(o, y, -INFINITY)), like(o, y, 0), y);
    if (!greatest) { // [R, 1, 1]
        Val *n = map2(o, FN_max, mul(o, ny, nx), like(o, ny, 1));
        y = divide(o, y, n->rank == 3 ? unsqueeze(o, n, 3) : n);
    }
    o->out[0] = cast(o, y, x->dt);
}

const OpDef ops_pool[] = {
    {"MaxPool", 1, max_pool},
    {"AveragePool", 1, average_pool},
    {"LpPool", 1, lp_pool},
    {"GlobalMaxPool", 1, global_pool},
    {"GlobalAveragePool", 1, global_pool},
    {"GlobalLpPool", 1, global_pool},
    {"MaxUnpool", 9, max_unpool},
    {"MaxRoiPool", 1, max_roi_pool},
    {"RoiAlign", 10, roi_align},
    {NULL, 0, NULL},
};
