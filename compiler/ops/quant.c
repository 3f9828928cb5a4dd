// SPDX-License-Identifier: Apache-2.0
// Linear quantization: y = saturate(round(x / scale) + zero), x = (y - zero) * scale.
#include "ops/nn.h"

static Val *input(Op *o, int i) { return i < o->nin ? o->in[i] : NULL; }

Val *quant_param(Op *o, Val *p, const Val *x, int64_t axis, int64_t block) {
    int64_t n;
    if (!p || p->rank == 0) return p;
    if (block > 0) { // each entry stands for `block` elements along axis
        int a = axis_of(o, axis, x->rank);
        if (p->rank != x->rank) op_fail(o, "a scale of blocks has %d dimensions, the input has %d", p->rank, x->rank);
        Ex shape[MAX_RANK];
        Val *v = unsqueeze(o, p, a + 1);
        for (int i = 0; i < v->rank; i++) shape[i] = i == a + 1 ? e_int(block) : dim(v, i);
        v = merge_axes(o, expand_to(o, v, v->rank, shape), a, 2);
        return dim(v, a) == dim(x, a) ? v : slice(o, v, a, e_int(0), dim(x, a), e_int(1));
    }
    if (p->rank == 1 && dim_const(p, 0, &n) && n == 1) return squeeze(o, p, 0);
    if (p->rank == 1) return along_axis(o, p, axis_of(o, axis, x->rank), x->rank);
    return p;
}

Val *quantize(Op *o, Val *x, Val *scale, Val *zero, DType dt, bool saturate) {
    if (scale) x = divide(o, cast(o, x, scale->dt), scale);
    if (dt_is_float(dt)) { // 8 and 4 bits
        if (zero && dt_bits(dt) < 8) x = add(o, x, cast(o, zero, x->dt));
        return saturate || dt_bits(dt) < 8 ? cast(o, x, dt) : b_map(o->g, FN_castsat, dt, 1, &x);
    }
    x = cast(o, map1(o, FN_round, x), F32);
    if (zero) x = add(o, x, cast(o, zero, F32));
    bool neg = dt_is_signed(dt);
    double half = (double)((int64_t)1 << (dt_bits(dt) - 1));
    return cast(o, clamp(o, x, neg ? -half : 0, neg ? half - 1 : 2 * half - 1), dt);
}

Val *offset_int(Op *o, Val *x, Val *zero) {
    DType dt = dt_is_float(x->dt) ? F32 : I32;
    x = cast(o, x, dt);
    return zero ? sub(o, x, cast(o, zero, dt)) : x;
}

Val *dequantize(Op *o, Val *x, Val *scale, Val *zero) {
    Val *v = cast(o, offset_int(o, x, zero), F32);
    return mul(o, v, cast(o, scale, F32));
}

/* y = saturate(round(x / scale) + zero) */
static void quantize_linear(Op *o) {
    Val *x = o->in[0], *zero = input(o, 2);
    int64_t axis = attr_int_or(o, "axis", 1), block = attr_int_or(o, "block_size", 0);
    DType dt = (DType)attr_int_or(o, "output_dtype", 0), by = (DType)attr_int_or(o, "precision", 0);
    if (zero)
        dt = zero->dt;
    else if (dt == DT_NONE)
        dt = U8;
    if (by == DT_NONE) by = o->in[1]->dt == F16 || o->in[1]->dt == BF16 ? o->in[1]->dt : F32;
    Val *scale = quant_param(o, cast(o, o->in[1], by), x, axis, block);
    o->out[0] = quantize(o, x, scale, quant_param(o, zero, x, axis, block), dt, attr_int_or(o, "saturate", 1) != 0);
}

/* y = (x - zero) * scale */
static void dequantize_linear(Op *o) {
    Val *x = o->in[0], *scale = o->in[1];
    int64_t axis = attr_int_or(o, "axis", 1), block = attr_int_or(o, "block_size", 0);
    DType dt = (DType)attr_int_or(o, "output_dtype", 0);
    if (dt == DT_NONE) dt = scale->dt;
    Val *zero = dt_is_float(x->dt) && dt_bits(x->dt) == 8 ? NULL : input(o, 2);
    Val *y = dequantize(o, x, quant_param(o, scale, x, axis, block), quant_param(o, zero, x, axis, block));
    o->out[0] = cast(o, y, dt);
}

Val *quantize_dynamic(Op *o, Val *x, Val **scale, Val **zero) {
    Val *none = like(o, x, 0);
    Val *hi = map2(o, FN_max, reduce_max(o, x, -1, NULL, false), none);
    Val *lo = map2(o, FN_min, reduce(o, RED_MIN, x, -1, NULL, false), none);
    Val *range = sub(o, hi, lo), *s = divide(o, range, like(o, x, 255));
    *scale = select(o, map2(o, FN_eq, range, none), like(o, x, 1), s);
    *zero = quantize(o, map1(o, FN_neg, lo), *scale, NULL, U8, true);
    return quantize(o, x, *scale, *zero, U8, true);
}

/* scale = (max(x, 0) - min(x, 0)) / 255; zero = saturate(round(-min / scale)); y = saturate(round(x / scale) + zero) */
static void dynamic_quantize(Op *o) {
    Val *scale, *zero;
    o->out[0] = quantize_dynamic(o, o->in[0], &scale, &zero);
    if (o->nout > 1) o->out[1] = scale;
    if (o->nout > 2) o->out[2] = zero;
}

/* y = saturate(round((conv(x - x_zero, w - w_zero) + b) * x_scale*w_scale/y_scale) + y_zero) */
static void qlinear_conv(Op *o) {
    Val *x = o->in[0], *w = o->in[3], *b = input(o, 8);
    Spatial s = {0};
    spatial_kernel(o, x, w, &s);
    spatial_read(o, x, &s);
    Val *xz = quant_param(o, o->in[2], x, 1, 0), *wz = quant_param(o, o->in[5], w, 0, 0);
    Val *y = conv_of(o, offset_int(o, x, xz), offset_int(o, w, wz), &s, attr_int(o, "group"));
    if (b) y = add(o, y, along_axis(o, b, 1, y->rank));
    Val *xs = quant_param(o, o->in[1], x, 1, 0), *ws = quant_param(o, o->in[4], y, 1, 0),
        *ys = quant_param(o, o->in[6], y, 1, 0);
    Val *scale = divide(o, mul(o, xs, ws), ys);
    y = mul(o, cast(o, y, F32), scale);
    o->out[0] = quantize(o, y, NULL, quant_param(o, o->in[7], y, 1, 0), o->in[7]->dt, true);
}

const OpDef ops_quant[] = {
    {"QuantizeLinear", 10, quantize_linear},
    {"DequantizeLinear", 10, dequantize_linear},
    {"DynamicQuantizeLinear", 11, dynamic_quantize},
    {"QLinearConv", 10, qlinear_conv},
    {NULL, 0, NULL},
};
