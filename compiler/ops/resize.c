// SPDX-License-Identifier: Apache-2.0
// Resize and Upsample: one axis after the other, each output a weighted sum of gathered inputs. Indices and
// weights are computed in the DAG from an iota, in float64, and fold to constants where the sizes are known.
#include "ops/nn.h"

#include <math.h>
#include <string.h>

typedef struct {
    const char *mode, *coord, *nearest; // nearest: how to round
    bool antialias, exclude;
    double a, extra; // the cubic's coefficient; the value outside
    bool has_sizes;
    Ex out[MAX_RANK];
    double scale[MAX_RANK];    // NAN: the quotient of symbolic sizes, or
    Val *factor[MAX_RANK];     // a scale that only the run knows, F64; else NULL
    Val *roi;                  // [2 * count], or NULL
    int axes[MAX_RANK], count; // what the roi speaks of
} Resize;

static Val *num(Op *o, double v) { return scalar(o, F64, v); }

/* The width that the scale asks for, a fraction perhaps: scale * n */
static Val *width_of(Op *o, const Resize *r, const Val *x, int axis) {
    bool quotient = isnan(r->scale[axis]) && !r->factor[axis];
    if (r->has_sizes || quotient) return ex_scalar(o, F64, r->out[axis]);
    return mul(o, ex_scalar(o, F64, dim(x, axis)), r->factor[axis] ? r->factor[axis] : num(o, r->scale[axis]));
}

static Val *scale_of(Op *o, const Resize *r, const Val *x, int axis) {
    if (r->factor[axis]) return r->factor[axis];
    if (!isnan(r->scale[axis])) return num(o, r->scale[axis]);
    return divide(o, ex_scalar(o, F64, r->out[axis]), ex_scalar(o, F64, dim(x, axis)));
}

static Val *roi_at(Op *o, const Resize *r, int axis, bool end) {
    for (int i = 0; i < r->count; i++)
        if (r->axes[i] == axis) return squeeze(o, slice1(o, cast(o, r->roi, F64), 0, end ? r->count + i : i), 0);
    return num(o, end ? 1 : 0);
}

/* Where each output element lies in the input: [out] */
static Val *coordinates(Op *o, const Resize *r, const Val *x, int axis) {
    Val *p = iota(o, F64, r->out[axis]), *one = num(o, 1), *half = num(o, 0.5);
    Val *s = scale_of(o, r, x, axis), *n = ex_scalar(o, F64, dim(x, axis)), *last = sub(o, n, one);
    Val *w = width_of(o, r, x, axis), *w1 = sub(o, w, one);
    Val *safe = select(o, map2(o, FN_eq, w1, num(o, 0)), one, w1);
    const char *c = r->coord;
    if (!strcmp(c, "asymmetric")) return divide(o, p, s);
    if (!strcmp(c, "tf_half_pixel_for_nn")) return divide(o, add(o, p, half), s);
    if (!strcmp(c, "align_corners")) return divide(o, mul(o, p, last), safe);
    if (!strcmp(c, "tf_crop_and_resize")) {
        Val *a = roi_at(o, r, axis, false), *b = roi_at(o, r, axis, true);
        Val *at = add(o, mul(o, a, last), divide(o, mul(o, mul(o, p, sub(o, b, a)), last), safe));
        return select(o, map2(o, FN_eq, w1, num(o, 0)), mul(o, mul(o, half, add(o, a, b)), last), at);
    }
    Val *center = divide(o, add(o, p, half), s), *at = sub(o, center, half);
    if (!strcmp(c, "pytorch_half_pixel"))
        return select(o, map2(o, FN_eq, ex_scalar(o, F64, r->out[axis]), one), num(o, 0), at);
    if (!strcmp(c, "half_pixel_symmetric")) {
        Val *adjust = divide(o, ex_scalar(o, F64, r->out[axis]), w);
        return sub(o, add(o, mul(o, mul(o, n, half), sub(o, one, adjust)), center), half);
    }
    if (strcmp(c, "half_pixel")) op_fail(o, "coordinate_transformation_mode %s is unknown", c);
    return at;
}

/* x[.., index[i], ..] for an index [n] in range */
static Val *take_plain(Op *o, Val *x, Val *index, int axis) {
    Ex shape[MAX_RANK];
    memcpy(shape, x->shape, sizeof *shape * (size_t)x->rank);
    shape[axis] = dim(index, 0);
    return gather_plain(o, x, expand_to(o, along_axis(o, index, axis, x->rank), x->rank, shape), axis);
}

/* each element of the axis s times */
static Val *repeat(Op *o, Val *x, int axis, Ex s) {
    Ex shape[MAX_RANK];
    Val *v = unsqueeze(o, x, axis + 1);
    memcpy(shape, v->shape, sizeof *shape * (size_t)v->rank);
    shape[axis + 1] = s;
    return merge_axes(o, expand_to(o, v, v->rank, shape), axis, 2);
}

/* A constant index as a view: a slice, or every element repeated; else a gather. */
static Val *take_view(Op *o, Val *x, Val *index, int axis) {
    const Data *d = val_const(index);
    int64_t n, first, step;
    if (!d || !d->n || !dim_const(x, axis, &n)) return take_plain(o, x, index, axis);
    int64_t count = (int64_t)d->n, s = count / (n > 0 ? n : 1);
    first = data_get(d, 0).i;
    step = count > 1 ? data_get(d, 1).i - first : 1;
    bool line = step > 0, rep = n > 0 && s > 0 && s * n == count;
    for (int64_t i = 0; i < count; i++) {
        int64_t v = data_get(d, (size_t)i).i;
        line = line && v == first + i * step;
        rep = rep && v == i / s;
    }
    if (rep) return s == 1 ? x : repeat(o, x, axis, e_int(s));
    return line ? slice(o, x, axis, e_int(first), e_int(count), e_int(step)) : take_plain(o, x, index, axis);
}

static Val *round_by(Op *o, const Resize *r, Val *at, int axis) {
    if (!strcmp(r->nearest, "floor")) return map1(o, FN_floor, at);
    if (!strcmp(r->nearest, "ceil")) return map1(o, FN_ceil, at);
    if (!strcmp(r->nearest, "round_prefer_ceil")) return map1(o, FN_floor, add(o, at, num(o, 0.5)));
    if (!strcmp(r->nearest, "simple") && r->factor[axis])
        return select(o, map2(o, FN_lt, r->factor[axis], num(o, 1)), map1(o, FN_ceil, at), map1(o, FN_floor, at));
    if (!strcmp(r->nearest, "simple")) // of opset 10
        return map1(o, r->scale[axis] < 1 ? FN_ceil : FN_floor, at);
    return map1(o, FN_ceil, sub(o, at, num(o, 0.5)));
}

/* Whether the nearest element of i is i/s, for a scale s that is an integer. */
static bool is_repeat(const Resize *r, int axis) {
    double s = r->scale[axis];
    if (!(s >= 1) || s != floor(s)) return false;
    bool floors = !strcmp(r->nearest, "floor") || !strcmp(r->nearest, "simple");
    if (!strcmp(r->coord, "asymmetric") || !strcmp(r->coord, "tf_half_pixel_for_nn")) return floors;
    bool half = !strcmp(r->coord, "half_pixel") || !strcmp(r->coord, "half_pixel_symmetric");
    return (half || !strcmp(r->coord, "pytorch_half_pixel")) && !strncmp(r->nearest, "round", 5);
}

static Val *clamp_index(Op *o, Val *i, Ex n) {
    i = map2(o, FN_max, i, like(o, i, 0));
    return cast(o, map2(o, FN_min, i, ex_scalar(o, i->dt, e_sub(n, e_int(1)))), I64);
}

static Val *nearest_axis(Op *o, const Resize *r, Val *x, int axis) {
    int64_t n;
    if (is_repeat(r, axis) && !dim_const(x, axis, &n)) return repeat(o, x, axis, e_int((int64_t)r->scale[axis]));
    Val *at = round_by(o, r, coordinates(o, r, x, axis), axis);
    return take_view(o, x, clamp_index(o, at, dim(x, axis)), axis);
}

/* The kernels, of the distance d >= 0: linear max(1 - d, 0); cubic (Keys) with coefficient a */
static Val *kernel_at(Op *o, const Resize *r, Val *d) {
    Val *zero = num(o, 0), *one = num(o, 1);
    if (!strcmp(r->mode, "linear")) return map2(o, FN_max, sub(o, one, d), zero);
    double a = r->a;
    Val *d2 = mul(o, d, d), *d3 = mul(o, d2, d);
    Val *in = add(o, sub(o, mul(o, num(o, a + 2), d3), mul(o, num(o, a + 3), d2)), one);
    Val *out = sub(o, mul(o, num(o, a), d3), mul(o, num(o, 5 * a), d2));
    out = add(o, out, sub(o, mul(o, num(o, 8 * a), d), num(o, 4 * a)));
    return select(o, map2(o, FN_le, d, one), in, select(o, map2(o, FN_lt, d, num(o, 2)), out, zero));
}

/* A whole number >= 0 in F64, as an extent. */
static Ex count_of(Op *o, Val *n) {
    const Data *d = val_const(n);
    return d ? e_int((int64_t)data_get(d, 0).f) : e_size(cast(o, n, I64), 0, NULL);
}

/* y[i] = sum over j of w[i,j] * x[index[i,j]] */
static Val *weighted_axis(Op *o, const Resize *r, Val *x, int axis) {
    Val *at = coordinates(o, r, x, axis), *low = map1(o, FN_floor, at), *stretch = num(o, 1), *start;
    if (r->antialias) stretch = map2(o, FN_min, scale_of(o, r, x, axis), stretch);
    start = add(o, map1(o, FN_floor, divide(o, num(o, !strcmp(r->mode, "linear") ? -1 : -2), stretch)), num(o, 1));
    Ex many = count_of(o, sub(o, num(o, 2), mul(o, num(o, 2), start)));
    int64_t taps = e_is_const(many, &taps) ? taps : INT64_MAX;
    Val *j = unsqueeze(o, add(o, iota(o, F64, many), start), 0); // [1, taps]
    Val *index = add(o, unsqueeze(o, low, 1), j), *d = map1(o, FN_abs, sub(o, j, unsqueeze(o, sub(o, at, low), 1)));
    Val *w = kernel_at(o, r, mul(o, d, stretch));
    if (r->exclude) {
        Val *in =
            map2(o, FN_and, map2(o, FN_le, num(o, 0), index), map2(o, FN_lt, index, ex_scalar(o, F64, dim(x, axis))));
        w = select(o, in, w, num(o, 0));
    }
    if (r->exclude || r->antialias) {
        Val *sum = reduce_sum(o, w, 1, (int[]){1}, true);
        w = divide(o, w, select(o, map2(o, FN_eq, sum, num(o, 0)), num(o, 1), sum));
    }
    index = clamp_index(o, index, dim(x, axis));
    w = cast(o, w, x->dt);
    Val *y = NULL;
    if (taps > 8) {
        Ex pair[2] = {r->out[axis], many};
        Val *v = split_axis(o, take_plain(o, x, merge_axes(o, index, 0, 2), axis), axis, pair[0], pair[1]);
        w = unsqueeze_n(o, w, 2, x->rank - axis - 1);
        y = reduce_sum(o, mul(o, v, w), 1, (int[]){axis + 1}, false);
    }
    for (int64_t k = 0; k < taps && taps <= 8; k++) {
        Val *v = take_plain(o, x, squeeze(o, slice1(o, index, 1, k), 1), axis);
        v = mul(o, v, along_axis(o, squeeze(o, slice1(o, w, 1, k), 1), axis, x->rank));
        y = y ? add(o, y, v) : v;
    }
    return y;
}

static Val *outside_axis(Op *o, const Resize *r, Val *y, const Val *x, int axis) {
    Val *at = coordinates(o, r, x, axis), *last = ex_scalar(o, F64, e_sub(dim(x, axis), e_int(1)));
    Val *out = map2(o, FN_or, map2(o, FN_lt, at, num(o, 0)), map2(o, FN_lt, last, at));
    return select(o, along_axis(o, out, axis, y->rank), like(o, y, r->extra), y);
}

static void resize_all(Op *o, const Resize *r) {
    Val *x = o->in[0];
    bool nearest = !strcmp(r->mode, "nearest"), crop = !strcmp(r->coord, "tf_crop_and_resize");
    if (!nearest && strcmp(r->mode, "linear") && strcmp(r->mode, "cubic")) op_fail(o, "mode %s is unknown", r->mode);
    if (crop && !r->roi) op_fail(o, "tf_crop_and_resize needs a roi");
    Val *y = nearest ? x : cast(o, x, x->dt == F64 ? F64 : F32);
    for (int i = 0; i < x->rank; i++) {
        bool same = r->out[i] == dim(x, i) && (isnan(r->scale[i]) || r->scale[i] == 1) && !r->factor[i];
        bool mine = false;
        for (int k = 0; k < r->count; k++) mine = mine || r->axes[k] == i;
        if (same && !(crop && mine)) continue;
        Val *before = y;
        y = nearest ? nearest_axis(o, r, y, i) : weighted_axis(o, r, y, i);
        if (crop) y = outside_axis(o, r, y, before, i);
    }
    if (!nearest && dt_is_int(x->dt)) {
        bool neg = dt_is_signed(x->dt);
        double half = (double)((uint64_t)1 << (dt_bits(x->dt) - 1));
        y = clamp(o, map1(o, FN_round, y), neg ? -half : 0, neg ? half - 1 : 2 * half - 1);
    }
    o->out[0] = cast(o, y, x->dt);
}

/* floor(n * scale): for a symbolic n by a fraction p/q */
static Ex scaled(Op *o, Ex n, double scale) {
    int64_t c;
    if (e_is_const(n, &c)) return e_int((int64_t)floorf((float)c * (float)scale));
    for (int64_t q = 1; q <= 1024; q++) { // the simplest fraction that the float stands for
        int64_t p = (int64_t)floor(scale * (double)q + 0.5);
        if (p > 0 && p < 1 << 20 && (float)((double)p / (double)q) == (float)scale)
            return e_div(e_scale(n, p), e_int(q));
    }
    op_fail(o, "an axis of symbolic size cannot be scaled by %g", scale);
}

static void set_scales(Op *o, Resize *r, const Val *x, int n, const double *scale) {
    if (n != r->count) op_fail(o, "%d scales for %d axes", n, r->count);
    for (int i = 0; i < n; i++) {
        int a = r->axes[i];
        if (!(scale[i] > 0)) op_fail(o, "a scale is not positive");
        r->scale[a] = scale[i];
        r->out[a] = scaled(o, dim(x, a), scale[i]);
    }
}

static Val *element(Op *o, Val *v, int i) { return squeeze(o, slice1(o, v, 0, i), 0); }

/* The same for scales that only the run knows: the extents are floor(n * scale) in float. */
static void scales_at_run(Op *o, Resize *r, const Val *x, Val *v) {
    if (v->rank != 1 || !e_is(dim(v, 0), r->count)) op_fail(o, "%s scales for %d axes", e_str(numel(v)), r->count);
    for (int i = 0; i < r->count; i++) {
        int a = r->axes[i];
        Val *s = element(o, cast(o, v, F32), i), *n = map1(o, FN_floor, mul(o, ex_scalar(o, F32, dim(x, a)), s));
        r->factor[a] = cast(o, s, F64);
        r->scale[a] = (double)NAN;
        r->out[a] = e_size(cast(o, n, I64), 0, NULL);
    }
}

static void read_scales(Op *o, Resize *r, const Val *x, Val *v) {
    const Data *d = val_const(v);
    double scale[MAX_RANK];
    if (!d) {
        scales_at_run(o, r, x, v);
        return;
    }
    if (d->n > MAX_RANK) op_fail(o, "%zu scales for %d axes", d->n, r->count);
    for (size_t i = 0; i < d->n; i++) scale[i] = data_get(d, i).f;
    set_scales(o, r, x, (int)d->n, scale);
}

/* Sizes within which the ratio of the axes is kept: their common scale s, and floor(s * n + 1/2). */
static void keep_ratio(Op *o, Resize *r, const Val *x, const Ex *size, bool larger) {
    Val *common = NULL;
    for (int i = 0; i < r->count; i++) {
        Val *s = divide(o, ex_scalar(o, F64, size[i]), ex_scalar(o, F64, dim(x, r->axes[i])));
        common = common ? map2(o, larger ? FN_max : FN_min, common, s) : s;
    }
    const Data *d = common ? val_const(common) : NULL;
    for (int i = 0; i < r->count; i++) {
        int a = r->axes[i];
        Val *n = add(o, mul(o, common, ex_scalar(o, F64, dim(x, a))), num(o, 0.5));
        r->scale[a] = d ? data_get(d, 0).f : (double)NAN;
        r->factor[a] = d ? NULL : common;
        r->out[a] = count_of(o, map1(o, FN_floor, n));
    }
}

static void read_sizes(Op *o, Resize *r, const Val *x, int input) {
    Ex size[MAX_RANK];
    int64_t n, m;
    if (need_sizes(o, input, size, MAX_RANK) != r->count) op_fail(o, "sizes does not have %d elements", r->count);
    const char *keep = attr_str_or(o, "keep_aspect_ratio_policy", "stretch");
    r->has_sizes = !strcmp(keep, "stretch");
    if (!r->has_sizes) {
        keep_ratio(o, r, x, size, !strcmp(keep, "not_smaller"));
        return;
    }
    for (int i = 0; i < r->count; i++) {
        Ex d = dim(x, r->axes[i]);
        bool known = e_is_const(d, &n) && e_is_const(size[i], &m) && n > 0;
        r->out[r->axes[i]] = size[i];
        r->scale[r->axes[i]] = known ? (double)m / (double)n : (double)NAN;
    }
}

static Resize resize_start(const Val *x) {
    Resize r = {.coord = "asymmetric", .nearest = "simple", .count = x->rank};
    for (int i = 0; i < x->rank; i++) {
        r.axes[i] = i;
        r.out[i] = dim(x, i);
        r.scale[i] = 1;
    }
    return r;
}

/* y[.., i, ..] = sum over taps of w * x[.., tap, ..], axis by axis */
static void resize(Op *o) {
    Val *x = o->in[0];
    Resize r = resize_start(x);
    const int64_t *axes = NULL;
    int64_t none;
    r.mode = attr_str(o, "mode");
    if (o->since < 11) {
        read_scales(o, &r, x, o->in[1]);
        resize_all(o, &r);
        return;
    }
    int n = attr_ints(o, "axes", &axes);
    for (int i = 0; i < n; i++) r.axes[i] = axis_of(o, axes[i], x->rank);
    if (n >= 0) r.count = n;
    r.coord = attr_str(o, "coordinate_transformation_mode");
    r.nearest = attr_str(o, "nearest_mode");
    r.exclude = attr_int(o, "exclude_outside") != 0;
    r.antialias = attr_int_or(o, "antialias", 0) != 0;
    r.a = attr_float(o, "cubic_coeff_a");
    r.extra = attr_float(o, "extrapolation_value");
    if (o->nin > 1 && o->in[1] && !(dim_const(o->in[1], 0, &none) && none == 0)) r.roi = o->in[1];
    if (o->nin > 3 && o->in[3])
        read_sizes(o, &r, x, 3);
    else if (o->nin > 2 && o->in[2])
        read_scales(o, &r, x, o->in[2]);
    else
        op_fail(o, "needs scales or sizes");
    resize_all(o, &r);
}

/* the same by scales, nearest i/scale or linear without a shift */
static void upsample(Op *o) {
    Val *x = o->in[0];
    Resize r = resize_start(x);
    const float *f = NULL;
    double scale[MAX_RANK];
    r.mode = attr_str(o, "mode");
    if (!strcmp(r.mode, "bilinear")) r.mode = "linear";
    if (o->since >= 9) {
        read_scales(o, &r, x, o->in[1]);
    } else if (o->since >= 7) {
        int n = attr_floats(o, "scales", &f);
        for (int i = 0; i < n && i < MAX_RANK; i++) scale[i] = (double)f[i];
        set_scales(o, &r, x, n, scale);
    } else {
        if (x->rank != 4) op_fail(o, "input 0 has %d dimensions, needs 4", x->rank);
        scale[0] = scale[1] = 1;
        scale[2] = attr_float(o, "height_scale"), scale[3] = attr_float(o, "width_scale");
        set_scales(o, &r, x, 4, scale);
    }
    resize_all(o, &r);
}

const OpDef ops_resize[] = {
    {"Resize", 10, resize},
    {"Upsample", 1, upsample},
    {NULL, 0, NULL},
};
