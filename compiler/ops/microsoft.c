// SPDX-License-Identifier: Apache-2.0
// com.microsoft: what onnxruntime's tools write. There are no schemas: every attribute has its default here.
#include "ops/nn.h"

#include <math.h>
#include <string.h>

static Val *input(Op *o, int i) { return i < o->nin ? o->in[i] : NULL; }

static Val *need(Op *o, int i) {
    if (!input(o, i)) op_fail(o, "input %d is missing", i);
    return o->in[i];
}

static void set_out(Op *o, int i, Val *v) {
    if (i < o->nout) o->out[i] = v;
}

// ---- activations ---------------------------------------------------------------------------------------------

/* y = x (1 + erf(x / sqrt 2)) / 2 */
static Val *gelu_of(Op *o, Val *x) {
    Val *e = map1(o, FN_erf, mul(o, x, like(o, x, 0.70710678118654752440)));
    return mul(o, mul(o, x, like(o, x, 0.5)), add(o, e, like(o, x, 1)));
}

/* y = gelu(x + b) */
static void gelu(Op *o) {
    Val *x = need(o, 0), *v = cast(o, x, acc_type(x->dt));
    if (input(o, 1)) v = add(o, v, cast(o, o->in[1], v->dt));
    o->out[0] = cast(o, gelu_of(o, v), x->dt);
}

/* y = x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2, of x + b */
static void fast_gelu(Op *o) {
    Val *x = need(o, 0), *v = cast(o, x, acc_type(x->dt));
    if (input(o, 1)) v = add(o, v, cast(o, o->in[1], v->dt));
    Val *u =
        mul(o, v, add(o, like(o, v, 0.79788456080286535588), mul(o, like(o, v, 0.035677408136300125), mul(o, v, v))));
    o->out[0] = cast(o, mul(o, mul(o, v, like(o, v, 0.5)), add(o, map1(o, FN_tanh, u), like(o, v, 1))), x->dt);
}

/* y = x sigmoid(alpha x) */
static void quick_gelu(Op *o) {
    Val *x = need(o, 0), *v = cast(o, x, acc_type(x->dt));
    v = mul(o, v, map1(o, FN_sigmoid, mul(o, v, like(o, v, attr_float_or(o, "alpha", 1.702)))));
    o->out[0] = cast(o, v, x->dt);
}

/* y = (x + b)[.., first half] * gelu((x + b)[.., second half]) */
static void bias_split_gelu(Op *o) {
    Val *x = add(o, need(o, 0), need(o, 1));
    int last = x->rank - 1;
    Ex half = e_div(dim(x, last), e_int(2));
    Val *a = slice(o, x, last, e_int(0), half, e_int(1)), *b = slice(o, x, last, half, half, e_int(1));
    o->out[0] = mul(o, a, gelu_of(o, b));
}

/* y = x + b + skip */
static void bias_add(Op *o) { o->out[0] = add(o, add(o, need(o, 0), need(o, 1)), need(o, 2)); }

// ---- linear operators with an activation ---------------------------------------------------------------------

static Val *activate(Op *o, Val *y) {
    static const struct {
        const char *name;
        double a, b;
    } usual[] = {
        {"LeakyRelu", 0.01, 0},        {"HardSigmoid", 0.2, 0.5}, {"Elu", 1, 0},
        {"Clip", -INFINITY, INFINITY}, {"Affine", 1, 0},
    };
    const char *name = attr_str_or(o, "activation", "");
    const float *p = NULL;
    int n = attr_floats(o, "activation_params", &p);
    double a = 0, b = 0;
    if (!*name) return y;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (!strcmp(usual[i].name, name)) a = usual[i].a, b = usual[i].b;
    a = n > 0 ? (double)p[0] : attr_float_or(o, "activation_alpha", a);
    b = n > 1 ? (double)p[1] : attr_float_or(o, "activation_beta", b);
    return activation(o, name, y, a, b);
}

/* y = act(conv(x, w) + b + z) */
static void fused_conv(Op *o) {
    Val *x = need(o, 0), *w = need(o, 1);
    Spatial s = {0};
    spatial_kernel(o, x, w, &s);
    spatial_read(o, x, &s);
    Val *y = conv_of(o, x, w, &s, attr_int_or(o, "group", 1));
    if (input(o, 2)) y = add(o, y, along_axis(o, cast(o, o->in[2], y->dt), 1, y->rank));
    if (input(o, 3)) y = add(o, y, cast(o, o->in[3], y->dt));
    o->out[0] = cast(o, activate(o, y), x->dt);
}

static Val *scaled(Op *o, Val *x, double k) { return k == 1 ? x : mul(o, x, like(o, x, k)); }

/* y = act(alpha a' b' + beta c) */
static void fused_gemm(Op *o) {
    Val *a = need(o, 0), *b = need(o, 1), *c = input(o, 2);
    DType acc = acc_type(a->dt);
    if (a->rank != 2 || b->rank != 2)
        op_fail(o, "needs matrices, the inputs have %d and %d dimensions", a->rank, b->rank);
    DType dt = a->dt;
    a = attr_int_or(o, "transA", 0) ? swap_axes(o, a, 0, 1) : a;
    b = attr_int_or(o, "transB", 0) ? swap_axes(o, b, 0, 1) : b;
    Val *y = scaled(o, matmul(o, cast(o, a, acc), cast(o, b, acc)), attr_float_or(o, "alpha", 1));
    if (c) y = add(o, y, expand_to(o, scaled(o, cast(o, c, acc), attr_float_or(o, "beta", 1)), 2, y->shape));
    o->out[0] = cast(o, activate(o, y), dt);
}

/* A matrix operand: batch axes moved behind its first axis, then the last two swapped, where asked for. */
static Val *fused_operand(Op *o, Val *x, bool batch, bool trans) {
    if (x->rank < 2) return x;
    if (batch) x = move_axis(o, x, 0, x->rank - 2);
    return trans ? swap_axes(o, x, x->rank - 2, x->rank - 1) : x;
}

/* y = alpha a' b' */
static void fused_matmul(Op *o) {
    Val *a = fused_operand(o, need(o, 0), attr_int_or(o, "transBatchA", 0) != 0, attr_int_or(o, "transA", 0) != 0);
    Val *b = fused_operand(o, need(o, 1), attr_int_or(o, "transBatchB", 0) != 0, attr_int_or(o, "transB", 0) != 0);
    o->out[0] = activate(o, scaled(o, matmul_any(o, a, b), attr_float_or(o, "alpha", 1)));
}

// ---- normalization -------------------------------------------------------------------------------------------

static Val *finish_norm(Op *o, Val *y, DType dt, Val *gamma, Val *beta) {
    y = mul(o, y, cast(o, gamma, y->dt));
    return cast(o, beta ? add(o, y, cast(o, beta, y->dt)) : y, dt);
}

/* s = x + skip + b; y = (s - mean) / sqrt(var + eps) * gamma + beta along the last axis */
static void skip_layer_norm(Op *o) {
    Val *x = need(o, 0), *mean, *inv, *y;
    bool simple = strstr(o->type, "Simplified") != NULL;
    int bias = simple ? 3 : 4, last = x->rank - 1;
    DType dt = acc_type(x->dt);
    Val *s = add(o, cast(o, x, dt), cast(o, need(o, 1), dt));
    if (input(o, bias)) s = add(o, s, cast(o, o->in[bias], dt));
    double eps = attr_float_or(o, "epsilon", 1e-12);
    if (simple)
        y = rms_over(o, s, 1, &last, eps, &inv), mean = inv;
    else
        y = normalize_over(o, s, 1, &last, eps, &mean, &inv);
    o->out[0] = finish_norm(o, y, x->dt, need(o, 2), simple ? NULL : input(o, 3));
    set_out(o, 1, mean);
    set_out(o, 2, inv);
    set_out(o, 3, cast(o, s, x->dt));
}

/* y = x / sqrt(mean(x^2) + eps) * scale over the axes from `axis` on */
void simplified_layer_norm(Op *o) {
    Val *x = need(o, 0), *inv;
    int axes[MAX_RANK], n = 0;
    for (int i = axis_of(o, attr_int_or(o, "axis", -1), x->rank); i < x->rank; i++) axes[n++] = i;
    Val *y = rms_over(o, cast(o, x, acc_type(x->dt)), n, axes, attr_float_or(o, "epsilon", 1e-5), &inv);
    o->out[0] = finish_norm(o, y, need(o, 1)->dt, o->in[1], NULL);
    set_out(o, 1, inv);
}

/* s = word[ids] + position + segment; y = layer_norm(s) */
static void embed_layer_norm(Op *o) {
    Val *ids = need(o, 0), *seg = input(o, 1), *pos = input(o, 8), *mask = input(o, 7), *segs = input(o, 4);
    Val *s = take(o, need(o, 2), ids, 0), *at = need(o, 3);
    int last = 2;
    at = pos ? take(o, at, pos, 0) : slice(o, at, 0, e_int(0), dim(ids, 1), e_int(1));
    s = add(o, s, at);
    if (seg && segs) s = add(o, s, take(o, segs, seg, 0));
    Val *y = normalize_over(o, cast(o, s, acc_type(s->dt)), 1, &last, attr_float_or(o, "epsilon", 1e-12), NULL, NULL);
    o->out[0] = finish_norm(o, y, s->dt, need(o, 5), need(o, 6));
    if (o->nout > 1)
        o->out[1] = mask ? reduce_sum(o, cast(o, mask, I32), 1, (int[]){1}, false) : full(o, I32, 0, 1, &ids->shape[0]);
    set_out(o, 2, s);
}

// ---- quantized -----------------------------------------------------------------------------------------------

static Val *dequant_at(Op *o, int x, int scale, int zero, int64_t axis) {
    Val *v = need(o, x);
    return dequantize(o, v, quant_param(o, need(o, scale), v, axis, 0), quant_param(o, input(o, zero), v, axis, 0));
}

static Val *requant_at(Op *o, Val *y, int scale, int zero, DType dt) {
    Val *z = input(o, zero);
    return quantize(o, y, quant_param(o, need(o, scale), y, 1, 0), quant_param(o, z, y, 1, 0), z ? z->dt : dt, true);
}

/* y = q(dq(a) + dq(b)), or the product */
static void qlinear_binary(Op *o) {
    Val *a = dequant_at(o, 0, 1, 2, 1), *b = dequant_at(o, 3, 4, 5, 1);
    Val *y = !strcmp(o->type, "QLinearAdd") ? add(o, a, b) : mul(o, a, b);
    o->out[0] = requant_at(o, y, 6, 7, o->in[0]->dt);
}

/* y = q(f(dq(x))) */
static void qlinear_unary(Op *o) {
    Val *x = dequant_at(o, 0, 1, 2, 1), *y;
    if (!strcmp(o->type, "QLinearSigmoid")) {
        y = map1(o, FN_sigmoid, x);
    } else if (!strcmp(o->type, "QLinearLeakyRelu")) {
        y = activation(o, "LeakyRelu", x, attr_float_or(o, "alpha", 0.01), 0);
    } else { // QLinearSoftmax
        int axis = axis_of(o, attr_int_or(o, "axis", -1), x->rank), axes[MAX_RANK], n = 0;
        axes[n++] = axis;
        for (int i = axis + 1; attr_int_or(o, "opset", 13) < 13 && i < x->rank; i++) axes[n++] = i;
        y = softmax_of(o, x, n, axes);
    }
    o->out[0] = requant_at(o, y, 3, 4, o->in[0]->dt);
}

/* y = q(mean over the window, or over all spatial axes, of dq(x)) */
static void qlinear_pool(Op *o) {
    Val *x = dequant_at(o, 0, 1, 2, 1), *y;
    bool last = attr_int_or(o, "channels_last", 0) != 0;
    int axes[MAX_RANK];
    if (last) x = move_axis(o, x, x->rank - 1, 1);
    if (!strcmp(o->type, "QLinearGlobalAveragePool")) {
        for (int i = 2; i < x->rank; i++) axes[i - 2] = i;
        y = reduce_mean(o, x, x->rank - 2, axes, true);
    } else {
        y = average_of(o, x);
    }
    if (last) y = move_axis(o, y, 1, y->rank - 1);
    o->out[0] = requant_at(o, y, 3, 4, o->in[0]->dt);
}

/* y = q(the inputs side by side, dequantized) */
static void qlinear_concat(Op *o) {
    int n = (o->nin - 2) / 3;
    if (n < 1 || o->nin != 2 + 3 * n) op_fail(o, "%d inputs, needs 2 and 3 for each tensor", o->nin);
    Val **x = NEWN(Val *, n);
    for (int i = 0; i < n; i++) {
        Val *v = dequant_at(o, 2 + 3 * i, 3 + 3 * i, 4 + 3 * i, 1);
        x[i] = requant_at(o, v, 0, 1, need(o, 2)->dt);
    }
    o->out[0] = concat(o, n, x, axis_of(o, attr_int_or(o, "axis", 0), x[0]->rank));
}

/* y = saturate(round(x / scale) + zero) */
static void quantize_linear(Op *o) {
    Val *x = need(o, 0), *z = input(o, 2);
    int64_t axis = attr_int_or(o, "axis", 1), block = attr_int_or(o, "block_size", 0);
    Val *scale = quant_param(o, cast(o, need(o, 1), F32), x, axis, block);
    o->out[0] = quantize(o, x, scale, quant_param(o, z, x, axis, block), z ? z->dt : U8, true);
}

/* y = (x - zero) scale */
static void dequantize_linear(Op *o) {
    Val *x = need(o, 0);
    int64_t axis = attr_int_or(o, "axis", 1), block = attr_int_or(o, "block_size", 0);
    Val *y = dequantize(o, x, quant_param(o, need(o, 1), x, axis, block), quant_param(o, input(o, 2), x, axis, block));
    o->out[0] = cast(o, y, o->in[1]->dt);
}

static Val *scale_of(Op *o, int i) {
    Val *s = need(o, i);
    int64_t n;
    return s->rank == 1 && dim_const(s, 0, &n) && n == 1 ? squeeze(o, s, 0) : s;
}

/* (a - a_zero)(b - b_zero) a_scale b_scale + bias */
static Val *int_product(Op *o, Val *a, Val *as, Val *az, Val *b, Val *bs, Val *bz, Val *bias) {
    Val *y = matmul_any(o, offset_int(o, a, az), offset_int(o, b, bz));
    y = mul(o, cast(o, y, F32), mul(o, cast(o, as, F32), cast(o, bs, F32)));
    return bias ? add(o, y, cast(o, bias, F32)) : y;
}

static Val *zero_of(Op *o, int i) { return input(o, i) ? scale_of(o, i) : NULL; }

/* y = the product above */
static void matmul_integer_to_float(Op *o) {
    Val *as = scale_of(o, 2), *y;
    y = int_product(o, need(o, 0), as, zero_of(o, 4), need(o, 1), scale_of(o, 3), zero_of(o, 5), input(o, 6));
    o->out[0] = cast(o, y, need(o, 2)->dt);
}

/* the same, a quantized by its range first */
static void dynamic_quantize_matmul(Op *o) {
    Val *scale, *zero, *a = quantize_dynamic(o, need(o, 0), &scale, &zero);
    o->out[0] = int_product(o, a, scale, zero, need(o, 1), scale_of(o, 2), zero_of(o, 3), input(o, 4));
}

/* y = q(alpha dq(a') dq(b') + c), or not quantized without a scale of y */
static void qgemm(Op *o) {
    Val *a = need(o, 0), *b = need(o, 3), *c = input(o, 6);
    if (attr_int_or(o, "transA", 0)) a = swap_axes(o, a, 0, 1);
    if (attr_int_or(o, "transB", 0)) b = swap_axes(o, b, 0, 1);
    Val *as = cast(o, scale_of(o, 1), F32), *bs = cast(o, scale_of(o, 4), F32);
    Val *y = matmul(o, offset_int(o, a, zero_of(o, 2)), offset_int(o, b, zero_of(o, 5)));
    if (c) y = add(o, y, c);
    Val *k = mul(o, mul(o, as, bs), like(o, as, attr_float_or(o, "alpha", 1)));
    y = mul(o, cast(o, y, F32), k);
    o->out[0] = input(o, 7) ? requant_at(o, y, 7, 8, o->in[0]->dt) : y;
}

// ---- weights of few bits -------------------------------------------------------------------------------------

/* u8 [.., n] holding 8/bits values each, the low bits first: [.., n*8/bits] as numbers of dt */
static Val *unpack(Op *o, Val *x, int64_t bits, DType dt) {
    Val *part[8];
    int n = (int)(8 / bits), last = x->rank;
    if (bits == 8) return cast(o, x, dt);
    x = cast(o, x, U8);
    for (int i = 0; i < n; i++) {
        Val *v = i ? map2(o, FN_shr, x, scalar_int(o, U8, i * bits)) : x;
        part[i] = unsqueeze(o, map2(o, FN_and, v, scalar_int(o, U8, ((int64_t)1 << bits) - 1)), last);
    }
    return cast(o, merge_axes(o, concat(o, n, part, last), last - 1, 2), dt);
}

/* y = a w' + bias, w[n, k] = (q[n, k] - zero[n, block of k]) scale[n, block of k] */
static void matmul_nbits(Op *o) {
    Val *a = need(o, 0), *q = need(o, 1), *scale = need(o, 2), *zp = input(o, 3);
    int64_t k = attr_int(o, "K"), n = attr_int(o, "N"), bits = attr_int_or(o, "bits", 4),
            block = attr_int(o, "block_size");
    if ((bits != 2 && bits != 4 && bits != 8) || block < 1 || k < 1 || n < 1)
        op_fail(o, "bits %lld or block_size %lld is not supported", (long long)bits, (long long)block);
    if (input(o, 4)) op_fail(o, "g_idx is not supported");
    int64_t blocks = (k + block - 1) / block;
    Ex shape[3] = {e_int(n), e_int(blocks), e_int(block)}, rows[2] = {e_int(n), e_int(blocks)};
    Val *w = reshape(o, unpack(o, reshape(o, q, 2, (Ex[]){e_int(n), e_int(blocks * block * bits / 8)}), bits, F32), 3,
                     shape),
        *z;
    if (!zp) {
        z = scalar(o, F32, (double)((int64_t)1 << (bits - 1)));
    } else if (zp->dt == U8) {
        int64_t bytes = (blocks * bits + 7) / 8;
        z = unpack(o, reshape(o, zp, 2, (Ex[]){e_int(n), e_int(bytes)}), bits, F32);
        z = unsqueeze(o, slice(o, z, 1, e_int(0), rows[1], e_int(1)), 2);
    } else {
        z = unsqueeze(o, reshape(o, cast(o, zp, F32), 2, rows), 2);
    }
    w = mul(o, sub(o, w, z), unsqueeze(o, reshape(o, cast(o, scale, F32), 2, rows), 2));
    w = slice(o, merge_axes(o, w, 1, 2), 1, e_int(0), e_int(k), e_int(1));
    Val *y = matmul_any(o, cast(o, a, F32), swap_axes(o, w, 0, 1));
    if (input(o, 5)) y = add(o, y, cast(o, o->in[5], F32));
    o->out[0] = cast(o, y, a->dt);
}

/* y = (data[index] - zero[index]) scale[index], scales of blocks along an axis */
static void gather_block_quantized(Op *o) {
    Val *x = need(o, 0), *index = need(o, 1), *scale = need(o, 2), *zp = input(o, 3);
    int64_t block = attr_int_or(o, "block_size", 128), bits = attr_int_or(o, "bits", x->dt == U8 ? 4 : 0);
    DType sdt = scale->dt;
    bool packed = x->dt == U8 && bits < 8;
    int rank = x->rank, at = axis_of(o, attr_int_or(o, "gather_axis", 0), rank);
    int64_t along = axis_of(o, attr_int_or(o, "quantize_axis", 1), rank);
    if (packed) x = unpack(o, x, bits, I32);
    if (packed && zp) zp = slice(o, unpack(o, zp, bits, I32), rank - 1, e_int(0), dim(scale, rank - 1), e_int(1));
    if (!zp && x->dt != I4 && (packed || bits == 8)) zp = scalar_int(o, I32, (int64_t)1 << (bits - 1));
    Val *s = quant_param(o, scale, x, along, block), *z = quant_param(o, zp, x, along, block);
    Val *rows = take(o, x, index, at);
    s = take(o, s, index, at);
    if (z && z->rank) z = take(o, z, index, at);
    o->out[0] = cast(o, dequantize(o, rows, s, z), sdt);
}

static void refuse(Op *o) { op_fail(o, "this operator of onnxruntime is tied to its execution and is not supported"); }

const OpDef ops_microsoft[] = {
    {"Gelu", 1, gelu},
    {"BiasGelu", 1, gelu},
    {"FastGelu", 1, fast_gelu},
    {"QuickGelu", 1, quick_gelu},
    {"BiasSplitGelu", 1, bias_split_gelu},
    {"BiasAdd", 1, bias_add},
    {"FusedConv", 1, fused_conv},
    {"FusedGemm", 1, fused_gemm},
    {"FusedMatMul", 1, fused_matmul},
    {"FusedMatMulActivation", 1, fused_matmul},
    {"TransposeMatMul", 1, fused_matmul},
    {"SkipLayerNormalization", 1, skip_layer_norm},
    {"SkipSimplifiedLayerNormalization", 1, skip_layer_norm},
    {"SimplifiedLayerNormalization", 1, simplified_layer_norm},
    {"EmbedLayerNormalization", 1, embed_layer_norm},
    {"QLinearAdd", 1, qlinear_binary},
    {"QLinearMul", 1, qlinear_binary},
    {"QLinearSigmoid", 1, qlinear_unary},
    {"QLinearLeakyRelu", 1, qlinear_unary},
    {"QLinearSoftmax", 1, qlinear_unary},
    {"QLinearAveragePool", 1, qlinear_pool},
    {"QLinearGlobalAveragePool", 1, qlinear_pool},
    {"QLinearConcat", 1, qlinear_concat},
    {"QuantizeLinear", 1, quantize_linear},
    {"DequantizeLinear", 1, dequantize_linear},
    {"MatMulIntegerToFloat", 1, matmul_integer_to_float},
    {"DynamicQuantizeMatMul", 1, dynamic_quantize_matmul},
    {"DynamicQuantizeLSTM", 1, dynamic_quantize_lstm},
    {"QGemm", 1, qgemm},
    {"MatMulNBits", 1, matmul_nbits},
    {"GatherBlockQuantized", 1, gather_block_quantized},
    {"RotaryEmbedding", 1, ms_rotary_embedding},
    {"MultiHeadAttention", 1, ms_multi_head_attention},
    {"GroupQueryAttention", 1, ms_group_query_attention},
    {"Attention", 1, ms_attention},
    {"EPContext", 1, refuse},
    {"PagedAttention", 1, refuse},
    {NULL, 0, NULL},
};
