// SPDX-License-Identifier: Apache-2.0
// Discrete Fourier transforms: products with matrices of cosines and sines, split by Cooley and Tukey's
// rule where the length is known and has factors.
#include "ops/axes.h"

enum { DIRECT = 32 }; // lengths up to this are one matrix product

typedef struct { Val *re, *im; } Complex; // im NULL: real

static Val *number(Op *o, DType dt, Ex e) { return cast(o, b_dims(o->g, I64, 0, NULL, &e), dt); }

static Val *add_or(Op *o, Val *a, Val *b) { return a && b ? add(o, a, b) : a ? a : b; }

static Val *negated(Op *o, Val *a) { return a ? map1(o, FN_neg, a) : NULL; }

// cos and sin of 2 pi j k / n for j < rows, k < cols, in double and rounded to dt.
static Complex turns(Op *o, DType dt, Ex rows, Ex cols, Ex n) {
    Val *j = reshape(o, iota(o, I64, rows), 2, (Ex[]){rows, e_int(1)}), *k = iota(o, I64, cols);
    Val *turn = cast(o, map2(o, FN_mod, mul(o, j, k), number(o, I64, n)), F64);
    Val *angle = divide(o, mul(o, turn, scalar(o, F64, 6.28318530717958647692)), number(o, F64, n));
    return (Complex){cast(o, map1(o, FN_cos, angle), dt), cast(o, map1(o, FN_sin, angle), dt)};
}

// x * (c + i s), elementwise or as a product of matrices.
static Complex times(Op *o, Complex x, Complex w, Val *(*by)(Op *, Val *, Val *)) {
    Val *im = x.im ? by(o, x.im, w.re) : NULL;
    Val *re = by(o, x.re, w.re), *cross = x.im ? by(o, x.im, w.im) : NULL;
    return (Complex){cross ? sub(o, re, cross) : re, add_or(o, by(o, x.re, w.im), im)};
}

static Val *product(Op *o, Val *a, Val *b) { return mul(o, a, b); }

// The largest factor of n up to its root; 1 for primes and short lengths.
static int64_t factor_of(int64_t n) {
    int64_t best = 1;
    for (int64_t d = 2; n > DIRECT && d <= n / d; d++)
        if (n % d == 0)
            best = d;
    return best;
}

static Complex reshaped(Op *o, Complex x, int rank, const Ex *s) {
    return (Complex){reshape(o, x.re, rank, s), x.im ? reshape(o, x.im, rank, s) : NULL};
}

static Complex swapped(Op *o, Complex x) { // the last two of three axes
    return (Complex){swap_axes(o, x.re, 1, 2), x.im ? swap_axes(o, x.im, 1, 2) : NULL};
}

// The transform of the rows of [m, n]: sum over j of x[j] exp(sign 2 pi i j k / n). With n = a*b,
// j = b*j1 + j2 and k = k1 + a*k2 it is one of length a over j1, a turn by j2*k1/n, one of length b over j2.
static Complex transform(Op *o, Complex x, int sign) {
    Ex m = dim(x.re, 0), n = dim(x.re, 1), one = e_int(1);
    DType dt = x.re->dt;
    int64_t c;
    int64_t f = e_is_const(n, &c) ? factor_of(c) : 1;
    if (f == 1) {
        Complex w = turns(o, dt, n, n, n);
        if (sign < 0)
            w.im = negated(o, w.im);
        return times(o, x, w, matmul);
    }
    Ex a = e_int(f), b = e_int(c / f);
    x = swapped(o, reshaped(o, x, 3, (Ex[]){m, a, b})); // [m, j2, j1]
    x = transform(o, reshaped(o, x, 2, (Ex[]){e_mul(m, b), a}), sign);
    Complex w = turns(o, dt, b, a, n);
    if (sign < 0)
        w.im = negated(o, w.im);
    x = times(o, reshaped(o, x, 3, (Ex[]){m, b, a}), reshaped(o, w, 3, (Ex[]){one, b, a}), product);
    x = reshaped(o, swapped(o, x), 2, (Ex[]){e_mul(m, a), b}); // [m*k1, j2]
    x = swapped(o, reshaped(o, transform(o, x, sign), 3, (Ex[]){m, a, b}));
    return reshaped(o, x, 2, (Ex[]){m, n});
}

// The transform along the last axis of a tensor of any rank.
static Complex transform_last(Op *o, Complex x, int sign) {
    int rank = x.re->rank;
    const Ex *s = x.re->shape;
    Complex y = reshaped(o, x, 2, (Ex[]){e_product(rank - 1, s), s[rank - 1]});
    return reshaped(o, transform(o, y, sign), rank, s);
}

// The first n elements along the last axis, zeros where there are fewer.
static Val *fit(Op *o, Val *x, Ex n) {
    if (!x)
        return NULL;
    int axis = x->rank - 1;
    Ex have = dim(x, axis), more = e_max(e_sub(n, have), e_int(0));
    x = slice(o, x, axis, e_int(0), e_min(n, have), e_int(1));
    return pad(o, x, axis, e_int(0), more, NULL);
}

// All n frequencies from the first n/2 + 1 of a real signal: X[n - k] is X[k]'s conjugate.
static Complex both_sides(Op *o, Complex x, Ex n) {
    int axis = x.re->rank - 1;
    Ex half = e_min(e_add(e_div(n, e_int(2)), e_int(1)), n), rest = e_sub(n, half); // of none there is no half
    x = (Complex){fit(o, x.re, half), fit(o, x.im, half)};
    Val *re = slice(o, x.re, axis, rest, rest, e_int(-1));
    x.re = concat(o, 2, (Val *[]){x.re, re}, axis);
    if (x.im) {
        Val *im = negated(o, slice(o, x.im, axis, rest, rest, e_int(-1)));
        x.im = concat(o, 2, (Val *[]){x.im, im}, axis);
    }
    return x;
}

static DType calc_type(DType dt) { return dt == F64 ? F64 : F32; }

// The parts of a tensor whose last axis is (re) or (re, im), with `axis` moved to the end.
static Complex parts_of(Op *o, Val *x, int axis) {
    int last = x->rank - 1;
    int64_t parts = need_const(o, dim(x, -1), "the last dimension");
    if (parts != 1 && parts != 2)
        op_fail(o, "the last dimension is %lld, not 1 or 2", (long long)parts);
    x = cast(o, x, calc_type(x->dt));
    Complex c = {squeeze(o, slice1(o, x, last, 0), last), NULL};
    if (parts == 2)
        c.im = move_axis(o, squeeze(o, slice1(o, x, last, 1), last), axis, last - 1);
    c.re = move_axis(o, c.re, axis, last - 1);
    return c;
}

// The inverse of parts_of, in type dt.
static Val *join_parts(Op *o, Complex x, int axis, DType dt) {
    int rank = x.re->rank;
    Val *v[2] = {unsqueeze(o, move_axis(o, x.re, rank - 1, axis), rank), NULL};
    if (x.im)
        v[1] = unsqueeze(o, move_axis(o, x.im, rank - 1, axis), rank);
    return cast(o, concat(o, x.im ? 2 : 1, v, rank), dt);
}

// The first n/2 + 1 elements along the last axis.
static Val *one_side(Op *o, Val *x) {
    Ex n = dim(x, -1);
    return slice(o, x, x->rank - 1, e_int(0), e_add(e_div(n, e_int(2)), e_int(1)), e_int(1));
}

// y[k] = sum over j of x[j] exp(-2 pi i j k / n); inverse: exp(+..) and / n; onesided: k <= n/2
static void op_dft(Op *o) {
    Val *x = o->in[0];
    Ex e[1];
    int64_t where = o->since < 20 ? attr_int(o, "axis") : -2;
    if (o->since >= 20 && axes_at_run(o, 2)) {
        by_axis(o, 2, x->rank, x->rank - 1, op_dft);
        return;
    }
    if (o->since >= 20 && o->nin > 2 && o->in[2] && need_ints(o, 2, e, 1) == 1)
        where = need_const(o, e[0], "axis");
    int axis = axis_of(o, where, x->rank);
    if (axis == x->rank - 1)
        op_fail(o, "axis %d is that of the real and imaginary parts", axis);
    bool inverse = attr_int(o, "inverse") != 0, onesided = attr_int(o, "onesided") != 0;
    Complex c = parts_of(o, x, axis);
    Ex n = dim(x, axis);
    if (inverse && onesided)
        n = e_scale(e_sub(n, e_int(1)), 2);
    if (o->nin > 1 && o->in[1] && need_ints(o, 1, e, 1) == 1)
        n = e[0];
    if (inverse && onesided)
        c = both_sides(o, c, n);
    else
        c = (Complex){fit(o, c.re, n), fit(o, c.im, n)};
    c = transform_last(o, c, inverse ? 1 : -1);
    if (inverse) {
        Val *count = number(o, c.re->dt, n);
        c = (Complex){divide(o, c.re, count), onesided ? NULL : divide(o, c.im, count)};
    } else if (onesided) {
        c = (Complex){one_side(o, c.re), one_side(o, c.im)};
    }
    o->out[0] = join_parts(o, c, axis, x->dt);
}

// y[b, f, k] = the transform of signal[b, f*step .. f*step + length - 1] * window
static void op_stft(Op *o) {
    Val *x = o->in[0], *taper = o->nin > 2 ? o->in[2] : NULL;
    Ex step[1], length[1];
    if (x->rank == 2)
        x = unsqueeze(o, x, 2);
    if (x->rank != 3)
        op_fail(o, "the signal has %d dimensions, needs 3", x->rank);
    if (need_ints(o, 1, step, 1) != 1)
        op_fail(o, "frame_step is not a single number");
    length[0] = taper ? dim(taper, 0) : dim(x, 1);
    if (o->nin > 3 && o->in[3] && need_ints(o, 3, length, 1) != 1)
        op_fail(o, "frame_length is not a single number");
    Complex c = parts_of(o, x, 1);
    c.re = window(o, c.re, 1, length[0], step[0], e_int(1)); // [b, frames, length]
    if (c.im)
        c.im = window(o, c.im, 1, length[0], step[0], e_int(1));
    if (taper) {
        taper = cast(o, taper, c.re->dt);
        c = (Complex){mul(o, c.re, taper), c.im ? mul(o, c.im, taper) : NULL};
    }
    c = transform_last(o, c, -1);
    if (attr_int(o, "onesided"))
        c = (Complex){one_side(o, c.re), one_side(o, c.im)};
    o->out[0] = join_parts(o, c, 2, x->dt);
}

const OpDef ops_signal[] = {{"DFT", 17, op_dft}, {"STFT", 17, op_stft}, {NULL, 0, NULL}};
