// SPDX-License-Identifier: Apache-2.0
// Convolutions: every one is reduce(add, map(mul, windows of x, w)), which loop/contract.c recognizes.
#include "ops/nn.h"

#include <string.h>

Ex extent_of(Ex k, Ex dil) { return e_add(e_mul(e_sub(k, e_int(1)), dil), e_int(1)); }

Val *unsqueeze_n(Op *o, Val *x, int axis, int n) {
    for (int i = 0; i < n; i++) x = unsqueeze(o, x, axis);
    return x;
}

Val *along_axis(Op *o, Val *v, int axis, int rank) {
    return unsqueeze_n(o, unsqueeze_n(o, v, 0, axis), axis + 1, rank - axis - 1);
}

Val *ex_scalar(Op *o, DType dt, Ex e) { return cast(o, squeeze(o, ints(o, 1, &e), 0), dt); }

Val *gather_plain(Op *o, Val *x, Val *index, int axis) { return b_gather(o->g, x, index, axis); }

DType acc_type(DType dt) {
    if (dt_is_float(dt)) return dt == F64 ? F64 : F32;
    return dt == I64 || dt == U64 || dt == U32 ? dt : I32;
}

static void read_ints(Op *o, const char *name, int n, int64_t none, Ex *v) {
    const int64_t *a = NULL;
    int have = attr_ints(o, name, &a);
    if (have > 0 && have != n) op_fail(o, "attribute %s has %d elements, the input has %d spatial axes", name, have, n);
    for (int i = 0; i < n; i++) v[i] = e_int(have > 0 ? a[i] : none);
}

void spatial_kernel(Op *o, const Val *x, const Val *w, Spatial *s) {
    s->n = x->rank - 2;
    if (x->rank < 2) op_fail(o, "input 0 has %d dimensions, needs at least 2", x->rank);
    if (w && w->rank != x->rank) op_fail(o, "the weights have %d dimensions, the input has %d", w->rank, x->rank);
    const int64_t *a = NULL;
    int have = attr_ints(o, "kernel_shape", &a);
    if (!w && have < 0) op_fail(o, "attribute kernel_shape is missing");
    if (have > 0 && have != s->n) op_fail(o, "kernel_shape has %d elements, the input has %d spatial axes", have, s->n);
    for (int i = 0; i < s->n; i++) {
        s->k[i] = w ? dim(w, 2 + i) : e_int(a[i]);
        int64_t k;
        if (w && have > 0 && e_is_const(s->k[i], &k) && k != a[i])
            op_fail(o, "kernel_shape says %lld, the weights have %lld", (long long)a[i], (long long)k);
    }
}

/* total = max((ceil(n/stride) - 1)*stride + extent - n, 0), split with the odd one at the end for upper */
static void pad_same(const Val *x, Spatial *s, bool upper) {
    for (int i = 0; i < s->n; i++) {
        Ex n = dim(x, 2 + i), e = extent_of(s->k[i], s->dil[i]);
        Ex out = e_ceil_div(n, s->stride[i]);
        Ex total = e_sub(e_add(e_mul(e_sub(out, e_int(1)), s->stride[i]), e), n);
        if (!e_le(s->stride[i], e)) total = e_max(total, e_int(0));
        Ex half = e_div(total, e_int(2)), rest = e_sub(total, half);
        s->lo[i] = upper ? half : rest;
        s->hi[i] = upper ? rest : half;
        s->out[i] = out;
    }
}

static void pad_given(Op *o, const Val *x, Spatial *s) {
    const int64_t *p = NULL;
    int have = attr_ints(o, "pads", &p);
    if (have > 0 && have != 2 * s->n) op_fail(o, "attribute pads has %d elements, needs %d", have, 2 * s->n);
    for (int i = 0; i < s->n; i++) {
        s->lo[i] = e_int(have > 0 ? p[i] : 0);
        s->hi[i] = e_int(have > 0 ? p[s->n + i] : 0);
    }
    const char *mode = attr_str_or(o, "auto_pad", "NOTSET");
    for (int i = 0; i < s->n; i++) {
        if (!strcmp(mode, "VALID")) s->lo[i] = s->hi[i] = e_int(0);
        Ex n = dim(x, 2 + i), e = extent_of(s->k[i], s->dil[i]);
        Ex span = e_sub(e_add(n, e_add(s->lo[i], s->hi[i])), e);
        if (s->ceil_mode) { // a window must start inside the input or its left padding
            Ex starts = e_ceil_div(e_add(n, s->lo[i]), s->stride[i]);
            s->out[i] = e_min(e_add(e_ceil_div(span, s->stride[i]), e_int(1)), starts);
        } else {
            s->out[i] = e_add(e_div(span, s->stride[i]), e_int(1));
        }
        int64_t out;
        if (e_is_const(s->out[i], &out) && out < 0)
            op_fail(o, "the kernel is larger than the padded input along spatial axis %d", i);
    }
}

void spatial_read(Op *o, const Val *x, Spatial *s) {
    read_ints(o, "strides", s->n, 1, s->stride);
    read_ints(o, "dilations", s->n, 1, s->dil);
    for (int i = 0; i < s->n; i++)
        if (!e_le(e_int(1), s->stride[i]) || !e_le(e_int(1), s->dil[i]))
            op_fail(o, "strides and dilations must be positive");
    const char *mode = attr_str_or(o, "auto_pad", "NOTSET");
    s->ceil_mode = attr_int_or(o, "ceil_mode", 0) != 0;
    if (!strncmp(mode, "SAME", 4))
        pad_same(x, s, !strcmp(mode, "SAME_UPPER"));
    else
        pad_given(o, x, s);
}

Val *pad_or_crop(Op *o, Val *x, int axis, Ex lo, Ex hi, Val *value) {
    int64_t l = 0, h = 0;
    bool cl = e_is_const(lo, &l), ch = e_is_const(hi, &h);
    Ex cut_lo = cl && l < 0 ? e_int(-l) : e_int(0), cut_hi = ch && h < 0 ? e_int(-h) : e_int(0);
    if (!e_is(cut_lo, 0) || !e_is(cut_hi, 0))
        x = slice(o, x, axis, cut_lo, e_sub(dim(x, axis), e_add(cut_lo, cut_hi)), e_int(1));
    lo = e_add(lo, cut_lo), hi = e_add(hi, cut_hi);
    return e_is(lo, 0) && e_is(hi, 0) ? x : pad(o, x, axis, lo, hi, value);
}

Ex windows_end(const Spatial *s, int i) {
    return e_add(e_mul(e_sub(s->out[i], e_int(1)), s->stride[i]), extent_of(s->k[i], s->dil[i]));
}

Val *windows(Op *o, Val *x, const Spatial *s, Val *value) {
    int n = s->n, perm[MAX_RANK];
    for (int i = n - 1; i >= 0; i--) {
        Ex hi = s->hi[i];
        if (s->ceil_mode) // as far as the last window reaches
            hi = e_max(e_sub(windows_end(s, i), e_add(dim(x, 2 + i), s->lo[i])), e_int(0));
        x = pad_or_crop(o, x, 2 + i, s->lo[i], hi, value);
        x = window(o, x, 2 + i, s->k[i], s->stride[i], s->dil[i]);
        if (dim(x, 2 + i) != s->out[i]) x = slice(o, x, 2 + i, e_int(0), s->out[i], e_int(1));
    }
    perm[0] = 0, perm[1] = 1;
    for (int i = 0; i < n; i++) {
        perm[2 + i] = 2 + 2 * i;
        perm[2 + n + i] = 3 + 2 * i;
    }
    return permute(o, x, perm);
}

/* y[n,g,m,o..] = sum over c,k.. of x[n,g,c,o*stride + k*dil - lo] * w[g,m,c,k..] */
Val *conv_of(Op *o, Val *x, Val *w, const Spatial *s, int64_t group) {
    int n = s->n, axes[MAX_RANK], perm[MAX_RANK], lead = group > 1 ? 2 : 1;
    DType dt = acc_type(x->dt);
    x = cast(o, x, dt), w = cast(o, w, dt);
    Ex g = e_int(group), cg = dim(w, 1);
    int64_t c, m, cw;
    if (dim_const(x, 1, &c) && e_is_const(cg, &cw) && c != cw * group)
        op_fail(o, "the input has %lld channels, the weights take %lld in %lld groups", (long long)c, (long long)cw,
                (long long)group);
    if (dim_const(w, 0, &m) && (group < 1 || m % group))
        op_fail(o, "%lld output channels do not divide into %lld groups", (long long)m, (long long)group);
    Val *p = windows(o, x, s, like(o, x, 0));
    if (group > 1) {
        p = split_axis(o, p, 1, g, cg);
        w = split_axis(o, w, 0, g, e_div(dim(w, 0), g));
    }
    for (int i = 0; i < lead; i++) // [N, G, C, o.., k..] -> [N, G, o.., C, k..]
        perm[i] = i;
    for (int i = 0; i < n; i++) {
        perm[lead + i] = lead + 1 + i;
        perm[lead + n + 1 + i] = lead + n + 1 + i;
    }
    perm[lead + n] = lead;
    p = unsqueeze(o, permute(o, p, perm), lead); // [N, G, 1, o.., C, k..]
    w = unsqueeze_n(o, w, lead, n);              // [G, M, 1.., C, k..]
    for (int i = 0; i <= n; i++) axes[i] = lead + 1 + n + i;
    Val *y = reduce_sum(o, mul(o, p, w), n + 1, axes, false);
    return group > 1 ? merge_axes(o, y, 1, 2) : y;
}

/* y = conv(x, w) + b */
static void conv(Op *o) {
    Val *x = o->in[0], *w = o->in[1];
    Spatial s = {0};
    spatial_kernel(o, x, w, &s);
    spatial_read(o, x, &s);
    Val *y = conv_of(o, x, w, &s, attr_int(o, "group"));
    if (o->nin > 2 && o->in[2]) y = add(o, y, along_axis(o, cast(o, o->in[2], y->dt), 1, y->rank));
    o->out[0] = cast(o, y, x->dt);
}

/* y = conv(x - x_zero, w - w_zero) in int32 */
static void conv_integer(Op *o) {
    Val *x = o->in[0], *w = o->in[1];
    Val *xz = o->nin > 2 ? o->in[2] : NULL, *wz = o->nin > 3 ? o->in[3] : NULL;
    Spatial s = {0};
    spatial_kernel(o, x, w, &s);
    spatial_read(o, x, &s);
    int64_t one;
    if (wz && wz->rank == 1)
        wz = dim_const(wz, 0, &one) && one == 1 ? squeeze(o, wz, 0) : along_axis(o, wz, 0, w->rank);
    if (xz && xz->rank == 1) xz = squeeze(o, xz, 0);
    o->out[0] = conv_of(o, offset_int(o, x, xz), offset_int(o, w, wz), &s, attr_int(o, "group"));
}

/* p[n,m,i,k] = sum over c of x[n,c,i] * w[c,m,k]; y = unwindow(p): y[n,m,e] = sum of p over i*stride + k*dil = e */
static Val *transposed(Op *o, Val *x, Val *w, const Spatial *s, int64_t group, const Ex *full) {
    int n = s->n, perm[MAX_RANK], lead = group > 1 ? 2 : 1;
    Ex g = e_int(group);
    if (group > 1) {
        x = split_axis(o, x, 1, g, e_div(dim(x, 1), g));
        w = split_axis(o, w, 0, g, e_div(dim(w, 0), g));
    }
    for (int i = 0; i < lead; i++) perm[i] = i;
    for (int i = 0; i < n; i++) perm[lead + i] = lead + 1 + i;
    perm[lead + n] = lead;
    x = unsqueeze(o, permute(o, x, perm), lead); // [N, G, 1, i.., C]
    perm[0] = 0;
    for (int i = 0; i <= n; i++) perm[lead - 1 + i] = lead + i;
    perm[lead + n] = lead - 1;
    w = permute(o, w, perm); // [G, M, k.., C]
    for (int i = 0; i < n; i++) {
        x = unsqueeze(o, x, lead + 2 + 2 * i);
        w = unsqueeze(o, w, lead + 2 * i);
    }
    int last = lead + 1 + 2 * n;
    Val *y = reduce_sum(o, mul(o, x, w), 1, &last, false); // [N, G, M, i1, k1, i2, k2..]
    for (int i = 0; i < n; i++) y = unwindow(o, y, lead + 1 + i, full[i], s->stride[i], s->dil[i]);
    return group > 1 ? merge_axes(o, y, 1, 2) : y;
}

static void transposed_read(Op *o, const Val *x, Spatial *s, Ex *extra) {
    const int64_t *shape = NULL, *p = NULL;
    int n = s->n, have = attr_ints(o, "output_shape", &shape), np = attr_ints(o, "pads", &p);
    const char *mode = attr_str_or(o, "auto_pad", "NOTSET");
    bool upper = !strcmp(mode, "SAME_UPPER"), same = !strncmp(mode, "SAME", 4);
    read_ints(o, "strides", n, 1, s->stride);
    read_ints(o, "dilations", n, 1, s->dil);
    read_ints(o, "output_padding", n, 0, extra);
    if (have == n + 2)
        shape += 2;
    else if (have > 0 && have != n)
        op_fail(o, "output_shape has %d elements, needs %d", have, n);
    if (np > 0 && np != 2 * n) op_fail(o, "attribute pads has %d elements, needs %d", np, 2 * n);
    bool valid = !strcmp(mode, "VALID");
    for (int i = 0; i < n; i++) {
        Ex size = e_mul(dim(x, 2 + i), s->stride[i]);
        Ex full = e_add(e_add(e_sub(size, s->stride[i]), extent_of(s->k[i], s->dil[i])), extra[i]);
        s->lo[i] = e_int(np > 0 && !valid ? p[i] : 0);
        s->hi[i] = e_int(np > 0 && !valid ? p[n + i] : 0);
        s->out[i] = e_sub(full, e_add(s->lo[i], s->hi[i]));
        if (have <= 0 && !same) continue;
        s->out[i] = have > 0 ? e_int(shape[i]) : size;
        Ex total = e_max(e_sub(full, s->out[i]), e_int(0)), half = e_div(total, e_int(2));
        s->lo[i] = upper ? half : e_sub(total, half);
    }
}

/* y = unwindow(x * w) without its padding, + b */
static void conv_transpose(Op *o) {
    Val *x = o->in[0], *w = o->in[1];
    DType dt = acc_type(x->dt);
    Ex extra[MAX_RANK], full[MAX_RANK];
    Spatial s = {0};
    spatial_kernel(o, x, w, &s);
    transposed_read(o, x, &s, extra);
    for (int i = 0; i < s.n; i++) {
        full[i] = e_add(e_mul(e_sub(dim(x, 2 + i), e_int(1)), s.stride[i]), extent_of(s.k[i], s.dil[i]));
        if (e_lt(extra[i], s.stride[i])) // what no tap reaches, up to a stride
            full[i] = e_add(full[i], extra[i]);
    }
    Val *y = transposed(o, cast(o, x, dt), cast(o, w, dt), &s, attr_int(o, "group"), full);
    for (int i = 0; i < s.n; i++) {
        Ex hi = e_sub(e_add(s.out[i], s.lo[i]), full[i]);
        y = pad_or_crop(o, y, 2 + i, e_scale(s.lo[i], -1), hi, like(o, y, 0));
    }
    if (o->nin > 2 && o->in[2]) y = add(o, y, along_axis(o, cast(o, o->in[2], dt), 1, y->rank));
    o->out[0] = cast(o, y, x->dt);
}

/* Bilinear (n-linear) samples of x [N, G, C, pixels] at pos[i] [N, G, k.., o..], 0 outside; [N, G, C, points] */
static Val *sample_linear(Op *o, Val *x, int n, const Ex *size, Val *const *pos) {
    Val *sum = NULL;
    Ex points = val_numel(pos[0]);
    points = e_div(points, e_mul(dim(pos[0], 0), dim(pos[0], 1)));
    for (unsigned corner = 0; corner < 1U << n; corner++) {
        Val *index = NULL, *weight = NULL;
        for (int i = 0; i < n; i++) {
            Val *low = map1(o, FN_floor, pos[i]), *frac = sub(o, pos[i], low);
            Val *at = low, *w = sub(o, like(o, frac, 1), frac);
            if (corner >> i & 1) at = add(o, low, like(o, low, 1)), w = frac;
            Val *top = ex_scalar(o, at->dt, e_sub(size[i], e_int(1)));
            Val *in = map2(o, FN_and, map2(o, FN_le, like(o, at, 0), at), map2(o, FN_le, at, top));
            w = select(o, in, w, like(o, w, 0));
            at = cast(o, map2(o, FN_min, map2(o, FN_max, at, like(o, at, 0)), top), I64);
            index = index ? add(o, mul(o, index, ex_scalar(o, I64, size[i])), at) : at;
            weight = weight ? mul(o, weight, w) : w;
        }
        Ex flat[4] = {dim(x, 0), dim(x, 1), e_int(1), points};
        Ex wide[4] = {dim(x, 0), dim(x, 1), dim(x, 2), points};
        index = expand_to(o, reshape(o, index, 4, flat), 4, wide);
        Val *term = mul(o, gather_plain(o, x, index, 3), reshape(o, weight, 4, flat));
        sum = sum ? add(o, sum, term) : term;
    }
    return sum;
}

/* y[n,m,o] = sum over c,k of x(n, c, o*stride - lo + k*dil + offset[n,k,o]) * mask[n,k,o] * w[m,c,k] + b[m] */
static void deform_conv(Op *o) {
    Val *x = o->in[0], *w = o->in[1], *off = o->in[2], *mask = o->nin > 4 ? o->in[4] : NULL;
    DType dt = acc_type(x->dt), out_dt = x->dt;
    Spatial s = {0};
    spatial_kernel(o, x, w, &s);
    spatial_read(o, x, &s);
    int n = s.n;
    Ex og = e_int(attr_int(o, "offset_group")), shape[MAX_RANK], size[MAX_RANK], kk = e_product(n, s.k);
    Ex pixels = e_int(1);
    shape[0] = dim(x, 0), shape[1] = og;
    for (int i = 0; i < n; i++) {
        shape[2 + i] = s.k[i];
        shape[3 + n + i] = dim(off, 2 + i);
        size[i] = dim(x, 2 + i);
        pixels = e_mul(pixels, size[i]);
    }
    shape[2 + n] = e_int(n);
    off = reshape(o, cast(o, off, dt), 3 + 2 * n, shape);
    Val *pos[MAX_RANK];
    for (int i = 0; i < n; i++) {
        pos[i] = squeeze(o, slice1(o, off, 2 + n, i), 2 + n); // [N, og, k.., o..]
        Ex base[MAX_RANK];
        memcpy(base, pos[i]->shape, sizeof *base * (size_t)pos[i]->rank);
        Val *tap = cast(o, index_along(o, I64, 2 + i, pos[i]->rank, base), dt);
        Val *at = cast(o, index_along(o, I64, 2 + n + i, pos[i]->rank, base), dt);
        int64_t stride = need_const(o, s.stride[i], "stride"), dil = need_const(o, s.dil[i], "dilation");
        int64_t lo = need_const(o, s.lo[i], "pad");
        Val *grid = add(o, mul(o, at, like(o, at, (double)stride)), mul(o, tap, like(o, tap, (double)dil)));
        pos[i] = add(o, add(o, grid, like(o, grid, (double)-lo)), pos[i]);
    }
    Ex flat[4] = {dim(x, 0), og, e_div(dim(x, 1), og), pixels};
    Val *v = sample_linear(o, reshape(o, cast(o, x, dt), 4, flat), n, size, pos); // [N, og, C, points]
    if (mask) {
        Ex ms[4] = {dim(x, 0), og, e_int(1), dim(v, 3)};
        v = mul(o, v, reshape(o, cast(o, mask, dt), 4, ms));
    }
    // [N, G, 1, Cg, K, points] * [G, M, Cg, K, 1]
    Ex g = e_int(attr_int(o, "group")), cg = dim(w, 1), mg = e_div(dim(w, 0), g), outs = e_div(dim(v, 3), kk);
    Ex vs[6] = {dim(x, 0), g, e_int(1), cg, kk, outs}, ws[5] = {g, mg, cg, kk, e_int(1)};
    Val *y = mul(o, reshape(o, v, 6, vs), reshape(o, cast(o, w, dt), 5, ws));
    y = reduce_sum(o, y, 2, (int[]){3, 4}, false);
    shape[1] = dim(w, 0);
    for (int i = 0; i < n; i++) shape[2 + i] = dim(off, 3 + n + i);
    y = reshape(o, y, 2 + n, shape);
    if (o->nin > 3 && o->in[3]) y = add(o, y, along_axis(o, cast(o, o->in[3], dt), 1, y->rank));
    o->out[0] = cast(o, y, out_dt);
}

/* s = [past, x] along time; y[n,c,t] = act(sum over k of s[n,c,t+k] * w[c,0,k] + b[c]); present = the last k-1 of s */
static void causal_conv(Op *o) {
    Val *x = o->in[0], *w = o->in[1];
    Ex before = e_sub(dim(w, 2), e_int(1));
    Val *past = o->nin > 3 ? o->in[3] : NULL;
    Val *s = past ? concat(o, 2, (Val *[]){past, x}, 2) : pad_or_crop(o, x, 2, before, e_int(0), like(o, x, 0));
    Val *p = window(o, s, 2, dim(w, 2), e_int(1), e_int(1)); // [N, C, t, k]
    DType dt = acc_type(x->dt);
    Val *y = reduce_sum(o, mul(o, cast(o, p, dt), cast(o, w, dt)), 1, (int[]){3}, false); // w [C, 1, k]
    if (o->nin > 2 && o->in[2]) y = add(o, y, along_axis(o, cast(o, o->in[2], dt), 1, 3));
    if (strcmp(attr_str_or(o, "activation", "none"), "none")) y = mul(o, y, map1(o, FN_sigmoid, y));
    o->out[0] = cast(o, y, x->dt);
    if (o->nout > 1) o->out[1] = slice(o, s, 2, e_sub(dim(s, 2), before), before, e_int(1));
}

const OpDef ops_conv[] = {
    {"Conv", 1, conv},
    {"ConvInteger", 10, conv_integer},
    {"ConvTranspose", 1, conv_transpose},
    {"DeformConv", 19, deform_conv},
    {"CausalConvWithState", 27, causal_conv},
    {NULL, 0, NULL},
};
