// SPDX-License-Identifier: Apache-2.0
// GridSample: every output element is a weighted sum over taps, whose indices and weights are the products
// of those of each spatial axis.
#include <string.h>
#include "ops/op.h"

typedef enum { NEAREST, LINEAR, CUBIC } Mode;
typedef enum { ZEROS, BORDER, REFLECTION } Padding;

typedef struct {
    Mode mode;
    Padding padding;
    bool corners; // align_corners: -1 and 1 are the centres of the outermost elements, else their outer edges
    DType dt;     // of coordinates and weights
} Sampling;

// The taps of one axis for each position: all [N, Q, taps].
typedef struct { Val *index, *weight, *valid; } Taps; // valid: NULL if all are

static Val *number(Op *o, DType dt, Ex e) { return cast(o, b_dims(o->g, I64, 0, NULL, &e), dt); }

static int find(Op *o, const char *attr, int n, const char *const *names) {
    const char *s = attr_str(o, attr);
    for (int i = 0; i < n; i++)
        if (strcmp(s, names[i]) == 0)
            return i;
    op_fail(o, "attribute %s: unknown value '%s'", attr, s);
}

static Sampling read_sampling(Op *o) {
    static const char *const modes[] = {"nearest", "linear", "cubic", "nearest", "bilinear", "bicubic"};
    static const char *const paddings[] = {"zeros", "border", "reflection"};
    return (Sampling){
        .mode = (Mode)(find(o, "mode", 6, modes) % 3),
        .padding = (Padding)find(o, "padding_mode", 3, paddings),
        .corners = attr_int(o, "align_corners") != 0,
        .dt = o->in[1]->dt == F64 ? F64 : F32,
    };
}

// Positions -1 … 1 as indices: (x+1)/2 * (n-1), or ((x+1)*n - 1)/2.
static Val *denormalized(Op *o, const Sampling *s, Val *x, Ex n) {
    Val *one = scalar(o, s->dt, 1), *two = scalar(o, s->dt, 2);
    x = add(o, x, one);
    if (s->corners)
        return mul(o, divide(o, x, two), number(o, s->dt, e_sub(n, e_int(1))));
    return divide(o, sub(o, mul(o, x, number(o, s->dt, n)), one), two);
}

// Coordinates outside of the image brought back: to its outermost elements, or mirrored at its borders.
static Val *folded(Op *o, const Sampling *s, Val *x, Ex n) {
    if (s->padding == ZEROS)
        return x;
    Ex last = e_sub(n, e_int(1));
    Val *low = scalar(o, s->dt, s->corners ? 0 : -0.5), *zero = scalar(o, s->dt, 0), *in;
    Val *span = number(o, s->dt, s->corners ? last : n), *high = add(o, low, span);
    Val *outside = map2(o, FN_or, map2(o, FN_lt, x, low), map2(o, FN_lt, high, x));
    if (s->padding == BORDER) {
        in = map2(o, FN_min, map2(o, FN_max, x, zero), number(o, s->dt, last));
    } else { // a triangle wave of period 2*span; 0 where there is a single element
        Val *period = mul(o, scalar(o, s->dt, 2), span);
        Val *t = map2(o, FN_fmod, map1(o, FN_abs, sub(o, x, low)), period);
        t = map2(o, FN_min, t, sub(o, period, t));
        in = select(o, map2(o, FN_lt, zero, span), add(o, low, t), zero);
    }
    return select(o, outside, in, x);
}

// Integer positions in [0, n) for any, by the padding; *valid: which are inside.
static Val *inside(Op *o, const Sampling *s, Val *i, Ex n, Val **valid) {
    Val *zero = scalar_int(o, I64, 0), *size = number(o, I64, n), *last = number(o, I64, e_sub(n, e_int(1)));
    *valid = NULL;
    if (s->padding == ZEROS)
        *valid = map2(o, FN_and, map2(o, FN_le, zero, i), map2(o, FN_lt, i, size));
    if (s->padding == REFLECTION) { // period 2(n-1), or 2n with the outermost elements repeated
        Ex period = e_max(e_scale(s->corners ? e_sub(n, e_int(1)) : n, 2), e_int(1));
        i = map2(o, FN_mod, i, number(o, I64, period));
        Val *back = sub(o, number(o, I64, s->corners ? period : e_sub(period, e_int(1))), i);
        return map2(o, FN_min, map2(o, FN_min, i, back), last);
    }
    return map2(o, FN_min, map2(o, FN_max, i, zero), last);
}

// Keys' cubic kernel with a = -0.75 at distance t: in [0, 1] if near, else in [1, 2].
static Val *cubic(Op *o, Val *t, bool near) {
    double a = -0.75;
    double c[2][4] = {{-4 * a, 8 * a, -5 * a, a}, {1, 0, -(a + 3), a + 2}};
    Val *y = like(o, t, c[near][3]);
    for (int i = 2; i >= 0; i--)
        y = add(o, mul(o, y, t), like(o, t, c[near][i]));
    return y;
}

// The weights at distances 1+f, f, 1-f, 2-f (cubic) or 1-f, f (linear), [N, Q, taps].
static Val *weights_of(Op *o, const Sampling *s, Val *f) {
    Val *one = scalar(o, s->dt, 1), *back = sub(o, one, f);
    if (s->mode == LINEAR)
        return concat(o, 2, (Val *[]){back, f}, 2);
    Val *w[4] = {cubic(o, add(o, one, f), false), cubic(o, f, true), cubic(o, back, true),
                 cubic(o, add(o, one, back), false)};
    return concat(o, 4, w, 2);
}

// x: normalized coordinates [N, Q, 1] along an axis of n.
static Taps taps_of(Op *o, const Sampling *s, Val *x, Ex n) {
    Taps t = {.weight = NULL};
    x = denormalized(o, s, x, n);
    if (s->mode == NEAREST)
        x = map1(o, FN_round, x);
    x = folded(o, s, x, n);
    Val *base = map1(o, s->mode == NEAREST ? FN_trunc : FN_floor, x);
    t.index = cast(o, base, I64);
    if (s->mode != NEAREST) {
        int64_t first = s->mode == CUBIC ? -1 : 0;
        t.weight = weights_of(o, s, sub(o, x, base));
        t.index = add(o, t.index, add(o, iota(o, I64, dim(t.weight, 2)), scalar_int(o, I64, first)));
    }
    t.index = inside(o, s, t.index, n, &t.valid);
    return t;
}

// [N, Q, taps] with the taps as axis 2 + j of r.
static Val *spread(Op *o, Val *v, int j, int r) {
    Ex s[MAX_RANK];
    s[0] = dim(v, 0);
    s[1] = dim(v, 1);
    for (int i = 0; i < r; i++)
        s[2 + i] = i == j ? dim(v, 2) : e_int(1);
    return reshape(o, v, 2 + r, s);
}

// Combines the taps of r axes: linear indices, products of weights, conjunctions of validity.
static Taps combine(Op *o, const Sampling *s, Val *grid, const Val *x, int r) {
    Taps all = {NULL, NULL, NULL};
    Ex stride = e_int(1);
    for (int j = r - 1; j >= 0; j--) { // the grid lists the last axis first
        Taps t = taps_of(o, s, slice1(o, grid, 2, r - 1 - j), dim(x, 2 + j));
        Val *at = spread(o, t.index, j, r);
        if (!e_is(stride, 1))
            at = mul(o, at, number(o, I64, stride));
        all.index = all.index ? add(o, all.index, at) : at;
        if (t.weight) {
            Val *w = spread(o, t.weight, j, r);
            all.weight = all.weight ? mul(o, all.weight, w) : w;
        }
        if (t.valid) {
            Val *v = spread(o, t.valid, j, r);
            all.valid = all.valid ? map2(o, FN_and, all.valid, v) : v;
        }
        stride = e_mul(stride, dim(x, 2 + j));
    }
    return all;
}

// A [N, Q, taps..] tensor as [N, 1, Q, T].
static Val *beside_channels(Op *o, Val *v) {
    return v ? unsqueeze(o, merge_axes(o, v, 2, v->rank - 2), 1) : NULL;
}

// y[n, c, o..] = x[n, c, :] interpolated at grid[n, o.., :]
static void op_grid_sample(Op *o) {
    Val *x = o->in[0], *grid = o->in[1];
    int r = x->rank - 2;
    Sampling s = read_sampling(o);
    if (r < 1 || 2 + r > MAX_RANK / 2 || grid->rank != x->rank)
        op_fail(o, "inputs have %d and %d dimensions", x->rank, grid->rank);
    if (need_const(o, dim(grid, -1), "the last dimension of the grid") != r)
        op_fail(o, "the grid's last dimension is %s, the image has %d axes", e_str(dim(grid, -1)), r);
    Ex n = dim(x, 0), c = dim(x, 1), one = e_int(1), q = e_product(r, grid->shape + 1);
    graph_guard(o->g, G_EQ, dim(grid, 0), n, o->g->origin ? o->g->origin : o->type);
    Val *points = reshape(o, cast(o, grid, s.dt), 3, (Ex[]){n, q, e_int(r)});
    Taps t = combine(o, &s, points, x, r);
    t.index = beside_channels(o, t.index);
    t.weight = beside_channels(o, t.weight);
    t.valid = beside_channels(o, t.valid);
    Ex taps = dim(t.index, 3), size = e_product(r, x->shape + 2), flat = e_mul(q, taps);
    Val *index = expand_to(o, reshape(o, t.index, 3, (Ex[]){n, one, flat}), 3, (Ex[]){n, c, flat});
    Val *v = b_gather(o->g, reshape(o, x, 3, (Ex[]){n, c, size}), index, 2);
    v = reshape(o, v, 4, (Ex[]){n, c, q, taps});
    if (t.valid)
        v = select(o, t.valid, v, like(o, v, 0));
    if (t.weight)
        v = reduce_sum(o, mul(o, cast(o, v, s.dt), t.weight), 1, (int[]){3}, false);
    Ex shape[MAX_RANK] = {n, c};
    for (int i = 0; i < r; i++)
        shape[2 + i] = dim(grid, 1 + i);
    o->out[0] = reshape(o, cast(o, v, x->dt), x->rank, shape);
}

const OpDef ops_grid[] = {{"GridSample", 16, op_grid_sample}, {NULL, 0, NULL}};
