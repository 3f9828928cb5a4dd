// SPDX-License-Identifier: Apache-2.0
// Normalization.
#include "ops/nn.h"

#include <string.h>

static Val *input(Op *o, int i) { return i < o->nin ? o->in[i] : NULL; }

static Val *inv_sqrt(Op *o, Val *x) { return divide(o, like(o, x, 1), map1(o, FN_sqrt, x)); }

Val *normalize_over(Op *o, Val *x, int naxes, const int *axes, double eps, Val **mean, Val **inv_std) {
    Val *m = reduce_mean(o, x, naxes, axes, true), *d = sub(o, x, m);
    Val *var = reduce_mean(o, mul(o, d, d), naxes, axes, true);
    Val *r = inv_sqrt(o, add(o, var, like(o, var, eps)));
    if (mean) *mean = m;
    if (inv_std) *inv_std = r;
    return mul(o, d, r);
}

Val *rms_over(Op *o, Val *x, int naxes, const int *axes, double eps, Val **inv_rms) {
    Val *ms = reduce_mean(o, mul(o, x, x), naxes, axes, true);
    Val *r = inv_sqrt(o, add(o, ms, like(o, ms, eps)));
    if (inv_rms) *inv_rms = r;
    return mul(o, x, r);
}

static int axes_from(int first, int rank, int *axes) {
    int n = 0;
    for (int i = first; i < rank; i++) axes[n++] = i;
    return n;
}

/* The statistics of a batch: mean, variance over all axes but the channels' (or the batch only). */
static void batch_stats(Op *o, Val *x, bool spatial, Val **mean, Val **var) {
    int axes[MAX_RANK], n = 0;
    for (int i = 0; i < x->rank; i++)
        if (i != 1 && (spatial || i == 0)) axes[n++] = i;
    *mean = reduce_mean(o, x, n, axes, true);
    Val *d = sub(o, x, *mean);
    *var = reduce_mean(o, mul(o, d, d), n, axes, true);
}

static Val *drop_ones(Op *o, Val *v, bool spatial) {
    Ex c = dim(v, 1);
    return spatial ? reshape(o, v, 1, &c) : squeeze(o, v, 0);
}

/* The running statistic of input i after a step: run, but by --bn-momentum=pytorch with the variance of a sample. */
static void train_statistic(Op *o, int i, Val *x, Val *run, Val *batch, Val *keep, bool spatial) {
    Val *v = o->in[i];
    if (!op_training(o) || o->g->parent || v->node->op != P_const || v->node->flag != 2) return;
    if (i == 4 && o->opt->bn_unbiased) { // batch * n/(n-1)
        Ex c = dim(x, 1), n = e_div(numel(x), c), less = e_max(e_sub(n, e_int(1)), e_int(1));
        Val *more = divide(o, cast(o, b_dims(o->g, I64, 0, NULL, &n), batch->dt), cast(o, b_dims(o->g, I64, 0, NULL, &less), batch->dt));
        Val *rest = sub(o, like(o, keep, 1), keep);
        run = add(o, run, mul(o, mul(o, batch, rest), sub(o, more, like(o, more, 1))));
    }
    run = reshape(o, cast(o, drop_ones(o, run, spatial), v->dt), v->rank, v->shape);
    PUSH(o->g->update, o->g->nupdate, o->g->cap_update, v);
    PUSH(o->g->update, o->g->nupdate, o->g->cap_update, run);
}

/* y = (x - mean) * scale / sqrt(var + eps) + b, as x*k + c with k and c of the parameters */
static void batch_norm(Op *o) {
    Val *x = o->in[0];
    DType dt = acc_type(x->dt), pdt = o->in[3]->dt;
    if (x->rank < 1) op_fail(o, "input 0 needs at least 1 dimension");
    int axis = x->rank > 1 ? 1 : 0;
    bool spatial = attr_int_or(o, "spatial", 1) != 0 || x->rank == 1, train = false;
    for (int i = 1; i < o->nout; i++) train = train || o->want[i];
    train = o->since >= 14 ? attr_int_or(o, "training_mode", 0) != 0 : train && !attr_int_or(o, "is_test", 0);
    if (o->opt->entry) train = op_training(o) && !o->opt->frozen_bn;
    if (train && x->rank < 2) op_fail(o, "training needs a batch axis");
    Val *acc = cast(o, x, dt), *p[4];
    for (int i = 0; i < 4; i++) {
        p[i] = cast(o, o->in[1 + i], dt);
        p[i] = spatial ? along_axis(o, p[i], axis, x->rank) : unsqueeze_n(o, p[i], 0, x->rank - p[i]->rank);
    }
    Val *mean = p[2], *var = p[3];
    if (train) {
        batch_stats(o, acc, spatial, &mean, &var);
        Val *keep = scalar(o, dt, attr_float(o, "momentum")), *rest = sub(o, like(o, keep, 1), keep);
        Val *run[2] = {add(o, mul(o, p[2], keep), mul(o, mean, rest)), add(o, mul(o, p[3], keep), mul(o, var, rest))};
        for (int i = 1; i < o->nout && i < 5; i++) {
            Val *v = i < 3 ? run[i - 1] : i == 3 ? mean : var;
            o->out[i] = cast(o, drop_ones(o, v, spatial), pdt);
        }
        train_statistic(o, 3, x, run[0], mean, keep, spatial);
        train_statistic(o, 4, x, run[1], var, keep, spatial);
    }
    Val *k = divide(o, p[0], map1(o, FN_sqrt, add(o, var, like(o, var, attr_float(o, "epsilon")))));
    Val *c = sub(o, p[1], mul(o, mean, k));
    o->out[0] = cast(o, add(o, mul(o, acc, k), c), x->dt);
}

/* y = (x - mean) / sqrt(var + eps) * scale + b over the spatial axes */
static void instance_norm(Op *o) {
    Val *x = o->in[0];
    int axes[MAX_RANK], n = axes_from(2, x->rank, axes);
    DType dt = acc_type(x->dt);
    Val *y = normalize_over(o, cast(o, x, dt), n, axes, attr_float(o, "epsilon"), NULL, NULL);
    y = mul(o, y, along_axis(o, cast(o, o->in[1], dt), 1, x->rank));
    y = add(o, y, along_axis(o, cast(o, o->in[2], dt), 1, x->rank));
    o->out[0] = cast(o, y, x->dt);
}

/* y = (x - mean) / sqrt(var + eps) * scale + b over the axes from `axis` on, statistics in stash_type */
static void layer_norm(Op *o) {
    Val *x = o->in[0], *b = input(o, 2), *mean, *inv_std;
    int axes[MAX_RANK], n = axes_from(axis_of(o, attr_int(o, "axis"), x->rank), x->rank, axes);
    DType stash = (DType)attr_int(o, "stash_type");
    DType dt = acc_type(stash) == F64 ? F64 : acc_type(x->dt);
    Val *y = normalize_over(o, cast(o, x, dt), n, axes, attr_float(o, "epsilon"), &mean, &inv_std);
    y = mul(o, cast(o, y, x->dt), cast(o, o->in[1], x->dt));
    o->out[0] = b ? add(o, y, cast(o, b, x->dt)) : y;
    if (o->nout > 1) o->out[1] = cast(o, mean, stash);
    if (o->nout > 2) o->out[2] = cast(o, inv_std, stash);
}

/* y = x / sqrt(mean(x^2) + eps) * scale over the axes from `axis` on */
static void rms_norm(Op *o) {
    Val *x = o->in[0];
    int axes[MAX_RANK], n = axes_from(axis_of(o, attr_int(o, "axis"), x->rank), x->rank, axes);
    DType stash = (DType)attr_int_or(o, "stash_type", F32);
    Val *y = rms_over(o, cast(o, x, stash == F64 ? F64 : acc_type(x->dt)), n, axes, attr_float(o, "epsilon"), NULL);
    DType out = o->in[1]->dt;
    o->out[0] = mul(o, cast(o, cast(o, y, x->dt), out), o->in[1]);
}

/* y = (x - mean) / sqrt(var + eps) * scale + b over each group of channels */
static void group_norm(Op *o) {
    Val *x = o->in[0];
    Ex groups = e_int(attr_int(o, "num_groups"));
    DType dt = acc_type((DType)attr_int_or(o, "stash_type", x->dt));
    if (x->dt == F64) dt = F64;
    Val *v = split_axis(o, cast(o, x, dt), 1, groups, e_div(dim(x, 1), groups));
    int axes[MAX_RANK], n = axes_from(2, v->rank, axes);
    v = normalize_over(o, v, n, axes, attr_float(o, "epsilon"), NULL, NULL);
    if (o->since < 21) { // scale and bias of groups
        v = mul(o, v, along_axis(o, cast(o, o->in[1], dt), 1, v->rank));
        v = add(o, v, along_axis(o, cast(o, o->in[2], dt), 1, v->rank));
        o->out[0] = cast(o, reshape(o, v, x->rank, x->shape), x->dt);
        return;
    }
    v = cast(o, reshape(o, v, x->rank, x->shape), x->dt);
    v = mul(o, v, along_axis(o, o->in[1], 1, x->rank));
    o->out[0] = add(o, v, along_axis(o, o->in[2], 1, x->rank));
}

/* y = x / (bias + alpha/size * sum of x^2 over `size` channels around)^beta */
static void lrn(Op *o) {
    Val *x = o->in[0], *v = cast(o, x, acc_type(x->dt));
    int64_t size = attr_int(o, "size");
    Val *sq = mul(o, v, v);
    sq = pad_or_crop(o, sq, 1, e_int((size - 1) / 2), e_int(size / 2), like(o, sq, 0));
    sq = reduce_sum(o, window(o, sq, 1, e_int(size), e_int(1), e_int(1)), 1, (int[]){2}, false);
    Val *base =
        add(o, mul(o, sq, like(o, sq, attr_float(o, "alpha") / (double)size)), like(o, sq, attr_float(o, "bias")));
    o->out[0] = cast(o, divide(o, v, map2(o, FN_pow, base, like(o, base, attr_float(o, "beta")))), x->dt);
}

/* y = x / (sum |x|^p)^(1/p) along axis, 0 where the norm is 0 */
static void lp_norm(Op *o) {
    Val *x = o->in[0], *v = cast(o, x, acc_type(x->dt)), *norm;
    int axis = axis_of(o, attr_int(o, "axis"), x->rank);
    if (attr_int(o, "p") == 1)
        norm = reduce_sum(o, map1(o, FN_abs, v), 1, &axis, true);
    else
        norm = map1(o, FN_sqrt, reduce_sum(o, mul(o, v, v), 1, &axis, true));
    Val *safe = select(o, map2(o, FN_eq, norm, like(o, norm, 0)), like(o, norm, 1), norm); // 0 stays 0
    o->out[0] = cast(o, divide(o, v, safe), x->dt);
}

/* y = (x - E x) / (sqrt(E x^2 - (E x)^2) + 1e-9) */
static void mean_variance_norm(Op *o) {
    Val *x = o->in[0], *v = cast(o, x, acc_type(x->dt));
    const int64_t *a = NULL, usual[3] = {0, 2, 3};
    int axes[MAX_RANK], n = attr_ints(o, "axes", &a);
    if (n < 0) a = usual, n = 3;
    for (int i = 0; i < n; i++) axes[i] = axis_of(o, a[i], x->rank);
    Val *d = sub(o, v, reduce_mean(o, v, n, axes, true)); // mean(x*x) - mean(x)^2 would cancel
    Val *std = map1(o, FN_sqrt, reduce_mean(o, mul(o, d, d), n, axes, true));
    o->out[0] = cast(o, divide(o, d, add(o, std, like(o, std, 1e-9))), x->dt);
}

const OpDef ops_norm[] = {
    {"BatchNormalization", 1, batch_norm},
    {"InstanceNormalization", 1, instance_norm},
    {"LayerNormalization", 17, layer_norm},
    {"RMSNormalization", 23, rms_norm},
    {"GroupNormalization", 18, group_norm},
    {"SimplifiedLayerNormalization", 1, simplified_layer_norm},
    {"LRN", 1, lrn},
    {"LpNormalization", 1, lp_norm},
    {"MeanVarianceNormalization", 9, mean_variance_norm},
    {NULL, 0, NULL},
};
