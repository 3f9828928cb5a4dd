// SPDX-License-Identifier: Apache-2.0
// ai.onnx.ml: features, labels and linear models. Ensembles of trees are in tree.c.
#include "ops/nn.h"

#include <math.h>
#include <string.h>

Val *const_ints(Op *o, int n, const int64_t *v) {
    Data *d = data_new(I64, (size_t)n);
    for (int i = 0; i < n; i++) data_set(d, (size_t)i, (Scalar){.i = v[i]});
    Ex shape = e_int(n);
    return b_const(o->g, d, 1, &shape);
}

Val *const_floats(Op *o, DType dt, int n, const double *v) {
    Data *d = data_new(dt, (size_t)n);
    for (int i = 0; i < n; i++) data_set(d, (size_t)i, (Scalar){.f = v[i]});
    Ex shape = e_int(n);
    return b_const(o->g, d, 1, &shape);
}

Val *const_strs(Op *o, int n, const DataStr *v) {
    Ex shape = e_int(n);
    Data *d = data_new(STR, (size_t)n);
    if (n) memcpy((void *)(uintptr_t)d->p, v, sizeof *v * (size_t)n);
    return b_const(o->g, d, 1, &shape);
}

Val *lookup(Op *o, Val *table, Val *index) {
    Val *flat = index->rank == 1 ? index : index->rank ? merge_axes(o, index, 0, index->rank) : unsqueeze(o, index, 0);
    return reshape(o, gather_plain(o, table, flat, 0), index->rank, index->shape);
}

/* A list of floats of an attribute as [n], or NULL. */
static Val *attr_row(Op *o, const char *name, DType dt) {
    const float *f = NULL;
    int n = attr_floats(o, name, &f);
    if (n <= 0) return NULL;
    double *v = NEWN(double, n);
    for (int i = 0; i < n; i++) v[i] = (double)f[i];
    return const_floats(o, dt, n, v);
}

static DType feature_type(const Val *x) { return x->dt == F64 ? F64 : F32; }

/* x as [N, F]; one dimension is one row */
static Val *rows(Op *o, Val *x) {
    if (x->rank == 0 || x->rank > 2) op_fail(o, "input 0 has %d dimensions, needs 2", x->rank);
    return x->rank == 1 ? unsqueeze(o, x, 0) : x;
}

/* sqrt(2) * erfinv(2p - 1), by Winitzki's approximation with a = 0.147 */
static Val *probit(Op *o, Val *p) {
    Val *x = sub(o, mul(o, p, like(o, p, 2)), like(o, p, 1)), *one = like(o, x, 1);
    Val *ln = map1(o, FN_log, mul(o, sub(o, one, x), add(o, one, x)));
    Val *v = add(o, mul(o, ln, like(o, x, 0.5)), like(o, x, 2 / (3.14159265358979323846 * 0.147)));
    Val *root = map1(o, FN_sqrt, sub(o, mul(o, v, v), mul(o, ln, like(o, x, 1 / 0.147))));
    Val *y = map1(o, FN_sqrt, sub(o, root, v));
    y = select(o, map2(o, FN_lt, x, like(o, x, 0)), map1(o, FN_neg, y), y);
    return mul(o, y, like(o, y, 1.41421356));
}

/* softmax that keeps zeros: e_i = x_i == 0 ? x_i * exp(-max) : exp(x_i - max); e / sum(e) */
static Val *softmax_zero(Op *o, Val *x) {
    int axis = 1;
    Val *top = reduce_max(o, x, 1, &axis, true), *zero = map2(o, FN_le, map1(o, FN_abs, x), like(o, x, 1e-7));
    Val *e = select(o, zero, mul(o, x, map1(o, FN_exp, map1(o, FN_neg, top))), map1(o, FN_exp, sub(o, x, top)));
    Val *sum = reduce_sum(o, e, 1, &axis, true), *none = map2(o, FN_eq, sum, like(o, sum, 0));
    return select(o, none, like(o, e, 0.5), divide(o, e, sum));
}

Val *post_transform(Op *o, Val *scores, const char *name) {
    int axis = 1;
    if (!strcmp(name, "LOGISTIC")) return map1(o, FN_sigmoid, scores);
    if (!strcmp(name, "SOFTMAX")) return softmax_of(o, scores, 1, &axis);
    if (!strcmp(name, "SOFTMAX_ZERO")) return softmax_zero(o, scores);
    if (!strcmp(name, "PROBIT")) return probit(o, scores);
    if (strcmp(name, "NONE")) op_fail(o, "post_transform %s is unknown", name);
    return scores;
}

/* Probabilities s get 1 - s beside them, margins s get -s; only LOGISTIC and PROBIT apply, as in onnxruntime. */
Val *second_class(Op *o, Val *s, const char *name, bool all_positive) {
    bool logistic = !strcmp(name, "LOGISTIC");
    if (!strcmp(name, "PROBIT")) return probit(o, s);
    Val *other = all_positive && !logistic ? sub(o, like(o, s, 1), s) : map1(o, FN_neg, s);
    Val *both = concat(o, 2, (Val *[]){other, s}, 1);
    return logistic ? map1(o, FN_sigmoid, both) : both;
}

int class_count(Op *o, const char *ints_name) {
    const DataStr *s = NULL;
    const int64_t *v = NULL;
    int n = attr_strs(o, "classlabels_strings", &s);
    return n > 0 ? n : attr_ints(o, ints_name, &v);
}

Val *class_labels(Op *o, Val *index, const char *ints_name) {
    const DataStr *s = NULL;
    const int64_t *v = NULL;
    int n = attr_strs(o, "classlabels_strings", &s);
    if (n > 0) return lookup(o, const_strs(o, n, s), index);
    n = attr_ints(o, ints_name, &v);
    return n > 0 ? lookup(o, const_ints(o, n, v), index) : index;
}

static Val *argmax_row(Op *o, Val *scores) {
    int axis = 1;
    return reduce(o, RED_ARGMAX, scores, 1, &axis, false);
}

/* x W' + b of the attributes: [N, n] */
static Val *linear_scores(Op *o, Val *x, int64_t n) {
    Val *w = attr_row(o, "coefficients", x->dt), *b = attr_row(o, "intercepts", x->dt);
    if (!w || n < 1) op_fail(o, "attribute coefficients is missing");
    Ex shape[2] = {e_int(n), dim(x, 1)}, used = e_mul(shape[0], shape[1]);
    if (dim(w, 0) != used) // the rest of them is not read, as in onnxruntime
        w = slice(o, w, 0, e_int(0), used, e_int(1));
    Val *y = matmul(o, x, swap_axes(o, reshape(o, w, 2, shape), 0, 1));
    return b ? add(o, y, b) : y;
}

/* y = post(x W' + b) */
static void linear_regressor(Op *o) {
    Val *x = rows(o, cast(o, o->in[0], F32));
    o->out[0] = post_transform(o, linear_scores(o, x, attr_int(o, "targets")), attr_str(o, "post_transform"));
}

/* scores = post(x W' + b); label of the greatest */
static void linear_classifier(Op *o) {
    Val *x = rows(o, cast(o, o->in[0], F32));
    const float *f = NULL;
    const char *post = attr_str(o, "post_transform");
    int64_t features = need_const(o, dim(x, 1), "the number of features"), len = attr_floats(o, "coefficients", &f);
    int64_t n = attr_floats(o, "intercepts", &f);
    if (n <= 0) n = features > 0 ? len / features : 0;
    if (n < 1 || n * features > len)
        op_fail(o, "%lld coefficients for %lld features", (long long)len, (long long)features);
    Val *s = linear_scores(o, x, n);
    int classes = class_count(o, "classlabels_ints");
    if (n > 1) {
        o->out[0] = class_labels(o, argmax_row(o, s), "classlabels_ints");
        o->out[1] = post_transform(o, s, post);
        return;
    }
    Val *positive = cast(o, squeeze(o, map2(o, FN_lt, like(o, s, 0), s), 1), I64);
    o->out[0] = classes == 2 ? class_labels(o, positive, "classlabels_ints") : positive;
    o->out[1] = classes == 2 ? second_class(o, s, post, true) : post_transform(o, s, post);
}

/* k(x, v) for every row x and support vector v: [N, V] */
static Val *svm_kernel(Op *o, Val *x, Val *v, const char *kind) {
    const float *p = NULL;
    int np = attr_floats(o, "kernel_params", &p);
    double gamma = np > 0 ? (double)p[0] : 0, coef = np > 1 ? (double)p[1] : 0, degree = np > 2 ? (double)p[2] : 0;
    if (!strcmp(kind, "RBF")) {
        Val *d = sub(o, unsqueeze(o, x, 1), v);
        d = reduce_sum(o, mul(o, d, d), 1, (int[]){2}, false);
        return map1(o, FN_exp, mul(o, d, like(o, d, -gamma)));
    }
    Val *y = matmul(o, x, swap_axes(o, v, 0, 1));
    if (!strcmp(kind, "LINEAR")) return y;
    y = add(o, mul(o, y, like(o, y, gamma)), like(o, y, coef));
    if (!strcmp(kind, "POLY")) return map2(o, FN_pow, y, like(o, y, degree));
    if (strcmp(kind, "SIGMOID")) op_fail(o, "kernel_type %s is unknown", kind);
    return map1(o, FN_tanh, y);
}

static Val *attr_matrix(Op *o, const char *name, DType dt, int64_t n, int64_t *cols) {
    Val *v = attr_row(o, name, dt);
    int64_t len = 0;
    if (!v || n < 1 || !dim_const(v, 0, &len) || len % n)
        op_fail(o, "attribute %s does not hold %lld rows", name, (long long)n);
    Ex shape[2] = {e_int(n), e_int(len / n)};
    if (cols) *cols = len / n;
    return reshape(o, v, 2, shape);
}

/* y = sum over support vectors of a[v] k(x, v) + rho; its sign for one class */
static void svm_regressor(Op *o) {
    Val *x = rows(o, cast(o, o->in[0], F32)), *k, *y;
    int64_t n = attr_int(o, "n_supports");
    if (n > 0) {
        k = svm_kernel(o, x, attr_matrix(o, "support_vectors", F32, n, NULL), attr_str(o, "kernel_type"));
        y = matmul(o, k, swap_axes(o, attr_matrix(o, "coefficients", F32, 1, NULL), 0, 1));
    } else {
        y = svm_kernel(o, x, attr_matrix(o, "coefficients", F32, 1, NULL), attr_str(o, "kernel_type"));
    }
    Val *rho = attr_row(o, "rho", F32);
    if (rho) y = add(o, y, slice1(o, rho, 0, 0));
    if (attr_int(o, "one_class")) y = select(o, map2(o, FN_lt, like(o, y, 0), y), like(o, y, 1), like(o, y, -1));
    o->out[0] = post_transform(o, y, attr_str(o, "post_transform"));
}

typedef struct {
    Val *pair, *first, *second;
    int classes, pairs, vectors;
} SvmPairs;

/* The machine of each pair of classes as columns: pair [V, P]; which class wins on either side: first, second [P, C] */
static SvmPairs svm_pairs(Op *o, int classes, const int64_t *per_class, int vectors) {
    const float *c = NULL;
    SvmPairs s = {.classes = classes, .pairs = classes * (classes - 1) / 2, .vectors = vectors};
    if (attr_floats(o, "coefficients", &c) < (int64_t)(classes - 1) * vectors)
        op_fail(o, "attribute coefficients is too short");
    double *w = NEWN(double, (size_t)vectors *(size_t)s.pairs + 1), *a = NEWN(double, s.pairs *classes + 1);
    double *b = NEWN(double, s.pairs *classes + 1);
    int *start = NEWN(int, classes + 1), p = 0;
    for (int i = 0; i < classes; i++) start[i + 1] = start[i] + (int)per_class[i];
    for (int i = 0; i < classes; i++) {
        for (int j = i + 1; j < classes; j++, p++) {
            for (int v = start[i]; v < start[i + 1]; v++) w[v * s.pairs + p] = (double)c[(j - 1) * vectors + v];
            for (int v = start[j]; v < start[j + 1]; v++) w[v * s.pairs + p] = (double)c[i * vectors + v];
            a[p * classes + i] = b[p * classes + j] = 1;
        }
    }
    Ex ws[2] = {e_int(vectors), e_int(s.pairs)}, cs[2] = {e_int(s.pairs), e_int(classes)};
    s.pair = reshape(o, const_floats(o, F32, vectors * s.pairs, w), 2, ws);
    s.first = reshape(o, const_floats(o, F32, s.pairs * classes, a), 2, cs);
    s.second = reshape(o, const_floats(o, F32, s.pairs * classes, b), 2, cs);
    return s;
}

/* One sweep of the coordinate descent for min p'Qp, sum p = 1; *err: how far Qp is from equal components. */
static Val *couple_sweep(Op *o, Val *q, Val *p, int k, Val **err) {
    Val *qp = reduce_sum(o, mul(o, q, unsqueeze(o, p, 1)), 1, (int[]){2}, false), *one = like(o, p, 1);
    Val *pqp = reduce_sum(o, mul(o, p, qp), 1, (int[]){1}, true), *cls = iota(o, I64, e_int(k));
    *err = reduce_max(o, map1(o, FN_abs, sub(o, qp, pqp)), 1, (int[]){1}, true);
    for (int t = 0; t < k; t++) {
        Val *qt = squeeze(o, slice1(o, q, 1, t), 1), *qtt = slice1(o, qt, 1, t), *qpt = slice1(o, qp, 1, t);
        Val *d = divide(o, sub(o, pqp, qpt), qtt), *d1 = add(o, one, d),
            *hot = map2(o, FN_eq, cls, scalar_int(o, I64, t));
        p = divide(o, select(o, hot, add(o, p, d), p), d1);
        pqp = divide(o, add(o, pqp, mul(o, d, add(o, mul(o, d, qtt), mul(o, like(o, d, 2), qpt)))), mul(o, d1, d1));
        qp = divide(o, add(o, qp, mul(o, d, qt)), d1);
    }
    return p;
}

/* Class probabilities [N, k] of pairwise ones r [N, k, k] (Wu, Lin, Weng 2004): sweeps until 0.005/k, at most 100. */
static Val *couple(Op *o, Val *r, int k) {
    Val *back = swap_axes(o, r, 1, 2), *diag = reduce_sum(o, mul(o, r, r), 1, (int[]){1}, true), *err;
    Val *cls = iota(o, I64, e_int(k)), *eye = map2(o, FN_eq, unsqueeze(o, cls, 1), cls);
    Val *q = select(o, eye, diag, map1(o, FN_neg, mul(o, r, back)));
    Ex ps[2] = {dim(r, 0), e_int(k)}, ds[2] = {dim(r, 0), e_int(1)};
    Val *carry[2] = {full(o, F32, 1.0 / k, 2, ps), full(o, BOOL, 0, 2, ds)};
    Op in = *o;
    in.g = b_loop_body(o->g);
    Val *p = b_param(in.g, carry[0]), *done = b_param(in.g, carry[1]), *qin = b_param(in.g, q);
    Val *next = couple_sweep(&in, qin, p, k, &err);
    done = map2(&in, FN_or, done, map2(&in, FN_lt, err, like(&in, err, 0.005 / k)));
    graph_output(in.g, map1(&in, FN_not, reduce(&in, RED_AND, done, -1, NULL, false)), "cond");
    graph_output(in.g, select(&in, done, p, next), "p");
    graph_output(in.g, done, "done");
    Node *n = b_loop(o->g, scalar_int(o, I64, k > 100 ? k : 100), scalar_int(o, BOOL, 1), 2, carry, 1, &q, in.g);
    return &n->out[0];
}

/* Platt's sigmoid of the score of each pair, 1/(1 + exp(a s + b)), then the probabilities of the classes */
static Val *svm_probabilities(Op *o, Val *s, Val *a, Val *b, int k) {
    int pairs = k * (k - 1) / 2, p = 0;
    double *up = NEWN(double, (size_t)pairs *(size_t)k *(size_t)k + 1),
           *low = NEWN(double, (size_t)pairs *(size_t)k *(size_t)k + 1);
    for (int i = 0; i < k; i++)
        for (int j = i + 1; j < k; j++, p++) up[p * k * k + i * k + j] = low[p * k * k + j * k + i] = 1;
    Ex shape[2] = {e_int(pairs), e_int(k * k)}, cube[3] = {dim(s, 0), e_int(k), e_int(k)};
    Val *u = reshape(o, const_floats(o, F32, pairs * k * k, up), 2, shape),
        *l = reshape(o, const_floats(o, F32, pairs * k * k, low), 2, shape);
    Val *pr = map1(o, FN_sigmoid, map1(o, FN_neg, add(o, mul(o, s, a), b)));
    pr = clamp(o, pr, 1e-7, 1 - 1e-7);
    Val *r = add(o, matmul(o, pr, u), matmul(o, sub(o, like(o, pr, 1), pr), l));
    return couple(o, reshape(o, r, 3, cube), k);
}

/* scores of the pairs of classes (or of the classes, without support vectors), the class with most votes */
static void svm_classifier(Op *o) {
    Val *x = rows(o, cast(o, o->in[0], F32)), *rho = attr_row(o, "rho", F32), *votes;
    const int64_t *per = NULL;
    const char *post = attr_str(o, "post_transform");
    int classes = class_count(o, "classlabels_ints"), np = attr_ints(o, "vectors_per_class", &per), vectors = 0;
    const float *coef = NULL;
    int ncoef = attr_floats(o, "coefficients", &coef);
    for (int i = 0; i < np; i++) {
        if (per[i] < 0 || per[i] > ncoef - vectors) op_fail(o, "vectors_per_class does not fit the coefficients");
        vectors += (int)per[i];
    }
    if (classes < 1 || !rho || (vectors > 0 && np != classes)) op_fail(o, "attributes of the classes do not fit");
    Val *s, *a = attr_row(o, "prob_a", F32), *b = attr_row(o, "prob_b", F32);
    if (vectors > 0) {
        SvmPairs p = svm_pairs(o, classes, per, vectors);
        Val *k = svm_kernel(o, x, attr_matrix(o, "support_vectors", F32, vectors, NULL), attr_str(o, "kernel_type"));
        s = add(o, matmul(o, k, p.pair), rho);
        Val *won = cast(o, map2(o, FN_lt, like(o, s, 0), s), F32);
        votes = add(o, matmul(o, won, p.first), matmul(o, sub(o, like(o, won, 1), won), p.second));
        if (a && b) s = svm_probabilities(o, s, a, b, classes);
    } else {
        Val *w = attr_matrix(o, "coefficients", F32, classes, NULL);
        s = votes = add(o, svm_kernel(o, x, w, "LINEAR"), slice1(o, rho, 0, 0));
    }
    o->out[0] = class_labels(o, argmax_row(o, votes), "classlabels_ints");
    o->out[1] = dim(s, 1) == e_int(1) && classes == 2 ? second_class(o, s, post, !strncmp(post, "SOFTMAX", 7))
                                                      : post_transform(o, s, post);
}

/* y = (x - offset) * scale */
static void scaler(Op *o) {
    Val *x = cast(o, o->in[0], F32), *offset = attr_row(o, "offset", F32), *scale = attr_row(o, "scale", F32);
    if (offset) x = sub(o, x, offset);
    o->out[0] = scale ? mul(o, x, scale) : x;
}

/* y = x / norm of its row; x where the norm is 0 */
static void normalizer(Op *o) {
    Val *x = cast(o, o->in[0], F32), *norm;
    const char *kind = attr_str(o, "norm");
    int axis = x->rank - 1;
    if (x->rank == 0) op_fail(o, "input 0 needs at least 1 dimension");
    if (!strcmp(kind, "MAX"))
        norm = reduce_max(o, x, 1, &axis, true);
    else if (!strcmp(kind, "L1"))
        norm = reduce_sum(o, map1(o, FN_abs, x), 1, &axis, true);
    else
        norm = map1(o, FN_sqrt, reduce_sum(o, mul(o, x, x), 1, &axis, true));
    o->out[0] = select(o, map2(o, FN_eq, norm, like(o, norm, 0)), x, divide(o, x, norm));
}

/* y = x > threshold ? 1 : 0 */
static void binarizer(Op *o) {
    Val *x = o->in[0], *t = scalar(o, feature_type(x), attr_float(o, "threshold"));
    o->out[0] = cast(o, map2(o, FN_lt, t, cast(o, x, t->dt)), x->dt);
}

/* y = x == replaced (or both NaN) ? imputed : x */
static void imputer(Op *o) {
    Val *x = o->in[0], *value, *hit;
    const int64_t *v = NULL;
    if (dt_is_float(x->dt)) {
        double old = attr_float(o, "replaced_value_float");
        value = attr_row(o, "imputed_value_floats", x->dt);
        hit = isnan(old) ? map1(o, FN_isnan, x) : map2(o, FN_eq, x, like(o, x, old));
    } else {
        int n = attr_ints(o, "imputed_value_int64s", &v);
        value = n > 0 ? cast(o, const_ints(o, n, v), x->dt) : NULL;
        hit = map2(o, FN_eq, x, scalar_int(o, x->dt, attr_int(o, "replaced_value_int64")));
    }
    if (!value) op_fail(o, "the values to impute are missing");
    o->out[0] = select(o, hit, value, x);
}

/* y = the inputs side by side, the first inputdimensions[i] columns of each */
static void feature_vectorizer(Op *o) {
    const int64_t *n = NULL;
    int have = attr_ints(o, "inputdimensions", &n);
    Val **v = NEWN(Val *, o->nin);
    for (int i = 0; i < o->nin; i++) {
        v[i] = rows(o, cast(o, o->in[i], F32));
        int64_t c;
        if (i < have && !(dim_const(v[i], 1, &c) && c == n[i]))
            v[i] = pad_or_crop(o, v[i], 1, e_int(0), e_sub(e_int(n[i]), dim(v[i], 1)), like(o, v[i], 0));
    }
    o->out[0] = concat(o, o->nin, v, 1);
}

/* z = x[.., y] */
static void array_feature_extractor(Op *o) {
    Val *x = o->in[0], *y = o->in[1];
    if (x->rank == 0) op_fail(o, "input 0 needs at least 1 dimension");
    y = y->rank == 0 ? unsqueeze(o, y, 0) : merge_axes(o, y, 0, y->rank);
    Val *z = take(o, x, y, x->rank - 1);
    o->out[0] = x->rank == 1 ? unsqueeze(o, z, 0) : z;
}

/* y[.., i] = x[..] == category i; without `zeros` it must be one of them */
static void one_hot_encoder(Op *o) {
    const int64_t *v = NULL;
    Val *x = o->in[0];
    const DataStr *s = NULL;
    int n = attr_ints(o, "cats_int64s", &v), ns = attr_strs(o, "cats_strings", &s);
    if ((x->dt == STR ? ns : n) <= 0) op_fail(o, "the categories of %s are missing", x->dt == STR ? "strings" : "numbers");
    n = x->dt == STR ? ns : n;
    Val *at = x->dt == STR ? find_string(o, x, n, s) : find_number(o, cast(o, x, I64), val_const(const_ints(o, n, v)));
    Val *all = iota(o, I64, e_int(n));
    if (!attr_int(o, "zeros")) at = lookup(o, b_copy(o->g, all), at); // one that is not there ends the run
    o->out[0] = cast(o, map2(o, FN_eq, unsqueeze(o, at, x->rank), all), F32);
}

static Val *attr_list(Op *o, const char *what, DType *dt) {
    const float *f = NULL;
    const int64_t *v = NULL;
    const DataStr *s = NULL;
    int n;
    Val *list = NULL;
    if ((n = attr_ints(o, arena_printf("%s_int64s", what), &v)) > 0)
        list = const_ints(o, n, v);
    else if (attr_floats(o, arena_printf("%s_floats", what), &f) > 0)
        list = attr_row(o, arena_printf("%s_floats", what), F32);
    else if ((n = attr_strs(o, arena_printf("%s_strings", what), &s)) > 0)
        list = const_strs(o, n, s);
    else if (attr_has(o, arena_printf("%s_tensor", what)))
        list = attr_tensor(o, arena_printf("%s_tensor", what));
    if (!list || list->rank != 1) op_fail(o, "attributes %s_* are missing", what);
    *dt = list->dt;
    return list;
}

static Val *label_default(Op *o, DType dt) {
    Val *v = attr_has(o, "default_tensor") ? attr_tensor(o, "default_tensor") : NULL;
    if (v) return v->rank ? reshape(o, v, 1, (Ex[]){e_int(1)}) : unsqueeze(o, v, 0);
    if (dt == STR) {
        DataStr *s = NEWN(DataStr, 1);
        s->p = attr_str_or(o, "default_string", "_Unused");
        s->n = strlen(s->p);
        return const_strs(o, 1, s);
    }
    v = dt_is_float(dt) ? scalar(o, dt, attr_float_or(o, "default_float", -0.0))
                        : scalar_int(o, dt, attr_int_or(o, "default_int64", -1));
    return unsqueeze(o, v, 0);
}

/* 1 + the last k with keys[k] == x, 0 without one */
static Val *find_key(Op *o, Val *x, Val *keys) {
    const Data *k = val_const(keys);
    if (!k) op_fail(o, "the keys are not constant");
    if ((x->dt == STR) != (k->dt == STR)) op_fail(o, "input 0 is %s, the keys are %s", dt_onnx_name(x->dt), dt_onnx_name(k->dt));
    DataStr *s = NULL;
    if (k->dt == STR) {
        s = NEWN(DataStr, k->n + 1);
        for (size_t i = 0; i < k->n; i++) s[i] = ((const DataStr *)k->p)[k->splat ? 0 : i];
    }
    Val *at = s ? find_string(o, x, (int64_t)k->n, s) : find_number(o, x, k);
    return add(o, at, scalar_int(o, I64, 1));
}

static void map_labels(Op *o, Val *keys, Val *values, Val *none) {
    int64_t nk = 0, nv = 0;
    if (!dim_const(keys, 0, &nk) || !dim_const(values, 0, &nv) || nk != nv)
        op_fail(o, "%lld keys and %lld values", (long long)nk, (long long)nv);
    Val *table = concat(o, 2, (Val *[]){none, values}, 0);
    o->out[0] = lookup(o, table, find_key(o, o->in[0], keys));
}

/* y = values[k] where keys[k] == x, else the default */
static void label_encoder(Op *o) {
    DType kt, vt;
    const DataStr *s = NULL;
    Val *x = o->in[0], *keys, *values;
    if (o->since >= 2) {
        keys = attr_list(o, "keys", &kt);
        values = attr_list(o, "values", &vt);
        map_labels(o, keys, values, label_default(o, vt));
        return;
    }
    int n = attr_strs(o, "classes_strings", &s);
    if (n < 1) op_fail(o, "attribute classes_strings is missing");
    Val *names = const_strs(o, n, s), *index = iota(o, I64, e_int(n));
    if (x->dt == STR)
        map_labels(o, names, index, label_default(o, I64));
    else
        map_labels(o, index, names, label_default(o, STR));
}

/* y = the string of an integer, or the integer of a string */
static void category_mapper(Op *o) {
    const DataStr *s = NULL;
    const int64_t *v = NULL;
    int n = attr_strs(o, "cats_strings", &s);
    if (n < 1 || attr_ints(o, "cats_int64s", &v) != n) op_fail(o, "cats_strings and cats_int64s do not fit");
    Val *names = const_strs(o, n, s), *ints_of = const_ints(o, n, v);
    if (o->in[0]->dt == STR)
        map_labels(o, names, ints_of, label_default(o, I64));
    else
        map_labels(o, ints_of, names, label_default(o, STR));
}

// y = [{label: x[0, label], …}, {label: x[1, label], …}, …]
static void zip_map(Op *o) {
    const int64_t *numbers;
    const DataStr *names;
    int ni = attr_ints(o, "classlabels_int64s", &numbers), ns = attr_strs(o, "classlabels_strings", &names),
        n = ns > 0 ? ns : ni;
    Val *x = o->in[0];
    if (n <= 0) op_fail(o, "needs classlabels_int64s or classlabels_strings");
    if (x->rank != 1 && x->rank != 2) op_fail(o, "input 0 has %d dimensions, needs 1 or 2", x->rank);
    if (x->rank == 1) x = unsqueeze(o, x, 0);
    Ex size = e_int(n);
    graph_guard(o->g, G_EQ, dim(x, 1), size, "a value for each label");
    Data *d = data_new(ns > 0 ? STR : I64, (size_t)n);
    for (int i = 0; i < n && ns > 0; i++) ((DataStr *)(uintptr_t)d->p)[i] = names[i];
    for (int i = 0; i < n && ns <= 0; i++) data_set(d, (size_t)i, (Scalar){.i = numbers[i]});
    Val *in[2] = {b_const(o->g, d, 1, &size), x};
    Val type = {.kind = K_SEQ, .item = K_MAP, .dt = x->dt, .key = d->dt, .rank = 1, .shape = &size};
    o->out[0] = &b_call(o->g, &call_zip_map, 2, in, NULL, 0, 1, &type)->out[0];
}

const OpDef ops_ml[] = {
    {"LinearRegressor", 1, linear_regressor},
    {"LinearClassifier", 1, linear_classifier},
    {"SVMRegressor", 1, svm_regressor},
    {"SVMClassifier", 1, svm_classifier},
    {"Scaler", 1, scaler},
    {"Normalizer", 1, normalizer},
    {"Binarizer", 1, binarizer},
    {"Imputer", 1, imputer},
    {"FeatureVectorizer", 1, feature_vectorizer},
    {"ArrayFeatureExtractor", 1, array_feature_extractor},
    {"OneHotEncoder", 1, one_hot_encoder},
    {"LabelEncoder", 1, label_encoder},
    {"CategoryMapper", 1, category_mapper},
    {"TreeEnsembleRegressor", 1, tree_ensemble_regressor},
    {"TreeEnsembleClassifier", 1, tree_ensemble_classifier},
    {"TreeEnsemble", 5, tree_ensemble},
    {"ZipMap", 1, zip_map},
    {NULL, 0, NULL},
};
