// SPDX-License-Identifier: Apache-2.0
// Matrix products.
#include "ops/nn.h"

Val *matmul_any(Op *o, Val *a, Val *b) {
    if (a->rank == 0 || b->rank == 0)
        op_fail(o, "a matrix product needs at least 1 dimension, input %d has none", a->rank ? 1 : 0);
    bool row = a->rank == 1, col = b->rank == 1;
    Val *y = matmul(o, row ? unsqueeze(o, a, 0) : a, col ? unsqueeze(o, b, 1) : b);
    if (col) y = squeeze(o, y, y->rank - 1);
    return row ? squeeze(o, y, y->rank - (col ? 1 : 2)) : y;
}

/* y = a b, with NumPy's treatment of vectors and batches; half types are rounded once, at the end */
static void matmul_op(Op *o) {
    DType dt = o->in[0]->dt, acc = dt_is_float(dt) ? acc_type(dt) : dt;
    o->out[0] = cast(o, matmul_any(o, cast(o, o->in[0], acc), cast(o, o->in[1], acc)), dt);
}

static Val *times(Op *o, Val *x, double k) {
    if (k == 1) return x;
    if (dt_is_float(x->dt)) return mul(o, x, like(o, x, k));
    return cast(o, mul(o, cast(o, x, F64), scalar(o, F64, k)), x->dt);
}

/* y = alpha a' b' + beta c, a' and b' transposed where asked for */
static void gemm(Op *o) {
    Val *a = o->in[0], *b = o->in[1], *c = o->nin > 2 ? o->in[2] : NULL;
    DType dt = a->dt;
    if (a->rank != 2 || b->rank != 2)
        op_fail(o, "needs matrices, the inputs have %d and %d dimensions", a->rank, b->rank);
    DType acc = dt_is_float(dt) ? acc_type(dt) : dt;
    if (attr_int(o, "transA")) a = swap_axes(o, a, 0, 1);
    if (attr_int(o, "transB")) b = swap_axes(o, b, 0, 1);
    Val *y = matmul(o, cast(o, a, acc), cast(o, b, acc));
    y = times(o, y, attr_float(o, "alpha"));
    double beta = attr_float(o, "beta");
    if (c && beta != 0) y = add(o, y, expand_to(o, times(o, cast(o, c, acc), beta), 2, y->shape));
    o->out[0] = cast(o, y, dt);
}

/* A zero point of rows (axis -2) or columns (-1) of x: a scalar, a vector, or of x's rank already. */
static Val *matrix_param(Op *o, Val *p, const Val *x, bool rows) {
    int64_t n;
    if (!p || p->rank == 0) return p;
    if (p->rank == 1 && dim_const(p, 0, &n) && n == 1) return squeeze(o, p, 0);
    return p->rank == 1 && rows && x->rank > 1 ? unsqueeze(o, p, 1) : p;
}

/* y = (a - a_zero)(b - b_zero) in int32 */
static void matmul_integer(Op *o) {
    Val *az = matrix_param(o, o->nin > 2 ? o->in[2] : NULL, o->in[0], true);
    Val *bz = matrix_param(o, o->nin > 3 ? o->in[3] : NULL, o->in[1], false);
    o->out[0] = matmul_any(o, offset_int(o, o->in[0], az), offset_int(o, o->in[1], bz));
}

/* y = saturate(round((a - a_zero)(b - b_zero) * a_scale*b_scale/y_scale) + y_zero) */
static void qlinear_matmul(Op *o) {
    Val *a = o->in[0], *b = o->in[3];
    Val *as = matrix_param(o, o->in[1], a, true), *az = matrix_param(o, o->in[2], a, true);
    Val *bs = matrix_param(o, o->in[4], b, false), *bz = matrix_param(o, o->in[5], b, false);
    Val *y = matmul_any(o, offset_int(o, a, az), offset_int(o, b, bz));
    Val *ys = matrix_param(o, o->in[6], y, true), *yz = matrix_param(o, o->in[7], y, true);
    Val *scale = divide(o, mul(o, cast(o, as, F32), cast(o, bs, F32)), cast(o, ys, F32));
    y = mul(o, cast(o, y, F32), scale);
    o->out[0] = quantize(o, y, NULL, yz, o->in[7]->dt, true);
}

const OpDef ops_matmul[] = {
    {"MatMul", 1, matmul_op},
    {"Gemm", 1, gemm},
    {"MatMulInteger", 10, matmul_integer},
    {"QLinearMatMul", 10, qlinear_matmul},
    {NULL, 0, NULL},
};
