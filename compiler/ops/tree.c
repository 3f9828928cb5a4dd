// SPDX-License-Identifier: Apache-2.0
// Ensembles of trees by composition: the nodes of all trees in tables; the current node of every tree as a tensor
// [N, T] that moves to a child as many times as the deepest tree has levels; then the weights of the leaves.
#include "ops/nn.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TARGETS = 1 << 20, MAX_TABLE = 1 << 28, MAX_VISITS = 1 << 24 };
enum { LEQ, LT, GTE, GT, EQ, NEQ, MEMBER, LEAF };

typedef struct {
    int n, cap, nroot, depth, targets;
    int64_t *feature, *yes, *no; // children; a leaf is its own
    double *split;
    uint8_t *mode;
    bool *nan_yes; // a missing value takes the branch `yes`
    int64_t *root;
    int nw, capw; // weights: of a node, for a target
    struct Weight {
        int64_t node, target;
        double w;
    } *weight;
    bool is_double;
} Forest;

static void forest_room(Forest *f, int n) {
    f->cap = n;
    f->feature = NEWN(int64_t, n + 1), f->yes = NEWN(int64_t, n + 1), f->no = NEWN(int64_t, n + 1);
    f->split = NEWN(double, n + 1), f->mode = NEWN(uint8_t, n + 1), f->nan_yes = NEWN(bool, n + 1);
    f->root = NEWN(int64_t, n + 1);
}

static void add_weight(Forest *f, int64_t node, int64_t target, double w) {
    struct Weight x = {node, target, w};
    PUSH(f->weight, f->nw, f->capw, x);
}

/* Levels until every path has come to a leaf; paths may meet, but not go round. */
static void measure_depth(Op *o, Forest *f) {
    int64_t *level = NEWN(int64_t, f->n + 1), *next = NEWN(int64_t, f->n + 1), visits = 0;
    int *seen = NEWN(int, f->n + 1), nl = 0; // the level at which a node was last seen, plus one
    for (int i = 0; i < f->nroot; i++)
        if (f->mode[f->root[i]] != LEAF && !seen[f->root[i]]) seen[f->root[i]] = 1, level[nl++] = f->root[i];
    for (f->depth = 0; nl; f->depth++) {
        int nn = 0;
        visits += nl;
        if (f->depth > f->n || visits > MAX_VISITS + 64 * (int64_t)f->n) op_fail(o, "the nodes of the trees go round, or meet too often");
        for (int i = 0; i < nl; i++) {
            int64_t kid[2] = {f->yes[level[i]], f->no[level[i]]};
            for (int k = 0; k < 2; k++) {
                if (f->mode[kid[k]] == LEAF || seen[kid[k]] == f->depth + 2) continue;
                seen[kid[k]] = f->depth + 2;
                next[nn++] = kid[k];
            }
        }
        int64_t *t = level;
        level = next, next = t, nl = nn;
    }
}

static Val *compare(Op *o, int mode, Val *x, Val *t) {
    switch (mode) {
    case LEQ:
        return map2(o, FN_le, x, t);
    case LT:
        return map2(o, FN_lt, x, t);
    case GTE:
        return map2(o, FN_le, t, x);
    case GT:
        return map2(o, FN_lt, t, x);
    case EQ:
        return map2(o, FN_eq, x, t);
    default:
        return map1(o, FN_not, map2(o, FN_eq, x, t));
    }
}

/* The leaf that each row reaches in each tree: [N, T]; tables of 64 bits, of which clang makes gathers (32 were half as fast) */
static Val *walk(Op *o, const Forest *f, Val *x) {
    int64_t *mode = NEWN(int64_t, f->n + 1), *nan = NEWN(int64_t, f->n + 1);
    bool used[LEAF + 1] = {false}, tracks = false;
    for (int i = 0; i < f->n; i++) {
        mode[i] = f->mode[i];
        used[f->mode[i]] = true;
        nan[i] = f->nan_yes[i];
        tracks = tracks || f->nan_yes[i];
    }
    Val *feature = const_ints(o, f->n, f->feature), *split = const_floats(o, x->dt, f->n, f->split);
    Val *yes = const_ints(o, f->n, f->yes), *no = const_ints(o, f->n, f->no), *modes = const_ints(o, f->n, mode);
    Val *nans = cast(o, const_ints(o, f->n, nan), BOOL);
    Ex shape[2] = {dim(x, 0), e_int(f->nroot)};
    Val *at = expand_to(o, const_ints(o, f->nroot, f->root), 2, shape);
    for (int d = 0; d < f->depth; d++) {
        Val *v = gather_plain(o, x, lookup(o, feature, at), 1), *t = lookup(o, split, at), *go = NULL;
        for (int m = LEQ; m < MEMBER; m++) {
            if (!used[m]) continue;
            Val *c = compare(o, m, v, t);
            go = go ? select(o, map2(o, FN_eq, lookup(o, modes, at), scalar_int(o, I64, m)), c, go) : c;
        }
        if (tracks) go = map2(o, FN_or, go, map2(o, FN_and, map1(o, FN_isnan, v), lookup(o, nans, at)));
        at = select(o, go, lookup(o, yes, at), lookup(o, no, at));
    }
    return at;
}

/* The tree of every node, by following its children from the roots; false where trees share a node. */
static bool trees_of_nodes(const Forest *f, int *tree) {
    int64_t *stack = NEWN(int64_t, f->n + 1);
    for (int i = 0; i < f->n; i++) tree[i] = -1;
    for (int t = 0; t < f->nroot; t++) {
        int n = 0;
        stack[n++] = f->root[t];
        while (n) {
            int64_t i = stack[--n], kid[2] = {f->yes[i], f->no[i]};
            if (tree[i] >= 0 && tree[i] != t) return false;
            tree[i] = t;
            for (int k = 0; k < 2 && f->mode[i] != LEAF; k++) {
                if (tree[kid[k]] >= 0 && tree[kid[k]] != t) return false;
                if (tree[kid[k]] < 0) tree[kid[k]] = t, stack[n++] = kid[k];
            }
        }
    }
    return true;
}

/* When each tree speaks of one target only: sum over trees of w[leaf] * (target of the tree == k); else NULL */
static Val *sum_by_tree(Op *o, const Forest *f, Val *leaf, DType dt) {
    if (mul_size((size_t)f->nroot, (size_t)f->targets) > MAX_TABLE) return NULL;
    int *tree = NEWN(int, f->n + 1);
    double *w = NEWN(double, f->n + 1), *hot = NEWN(double, (size_t)f->nroot *(size_t)f->targets + 1);
    int64_t *target = NEWN(int64_t, f->nroot + 1);
    bool *has = NEWN(bool, f->n + 1);
    if (!trees_of_nodes(f, tree)) return NULL;
    for (int t = 0; t < f->nroot; t++) target[t] = -1;
    for (int i = 0; i < f->nw; i++) {
        const struct Weight *x = &f->weight[i];
        int t = tree[x->node];
        if (t < 0) continue;
        if (has[x->node] || (target[t] >= 0 && target[t] != x->target)) return NULL;
        has[x->node] = true, w[x->node] = x->w, target[t] = x->target;
    }
    bool one = true;
    for (int t = 0; t < f->nroot; t++) {
        if (target[t] >= 0) hot[t * f->targets + target[t]] = 1;
        one = one && target[t] == 0;
    }
    Val *v = lookup(o, const_floats(o, dt, f->n, w), leaf);
    if (one && f->targets == 1) return reduce_sum(o, v, 1, (int[]){1}, true);
    Ex shape[2] = {e_int(f->nroot), e_int(f->targets)};
    return matmul(o, v, reshape(o, const_floats(o, dt, f->nroot * f->targets, hot), 2, shape));
}

/* [N, targets]: the weights of the leaves, summed or the least or greatest of all trees */
static Val *aggregate(Op *o, const Forest *f, Val *leaf, Red how, DType dt) {
    Val *y = how == RED_ADD ? sum_by_tree(o, f, leaf, dt) : NULL;
    if (y) return y;
    size_t total = mul_size((size_t)f->n, (size_t)f->targets);
    if (total > MAX_TABLE) op_fail(o, "%d nodes with %d targets are too many", f->n, f->targets);
    double none = how == RED_ADD ? 0 : how == RED_MIN ? INFINITY : -INFINITY, *w = NEWN(double, total + 1);
    for (size_t i = 0; i < total; i++) w[i] = none;
    for (int i = 0; i < f->nw; i++) {
        double *at = &w[f->weight[i].node * f->targets + f->weight[i].target], v = f->weight[i].w;
        *at = how == RED_ADD ? *at + v : how == RED_MIN ? fmin(*at, v) : fmax(*at, v);
    }
    Ex shape[2] = {e_int(f->n), e_int(f->targets)};
    Val *table = reshape(o, const_floats(o, dt, (int)total, w), 2, shape);
    y = reduce(o, how, take(o, table, leaf, 0), 1, (int[]){1}, false);
    Val *empty = like(o, y, none);
    return how == RED_ADD ? y : select(o, map2(o, FN_eq, y, empty), like(o, y, 0), y);
}

// ---- attributes of versions 1 to 5 of the regressor and classifier -------------------------------------

typedef struct {
    int64_t tree, node;
    int at;
} Key;

static int key_order(const void *a, const void *b) {
    const Key *x = a, *y = b;
    if (x->tree != y->tree) return x->tree < y->tree ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

static int64_t find_node(Op *o, const Key *key, int n, int64_t tree, int64_t node) {
    Key want = {tree, node, 0};
    const Key *k = bsearch(&want, key, (size_t)n, sizeof *key, key_order);
    if (!k) op_fail(o, "tree %lld has no node %lld", (long long)tree, (long long)node);
    return k->at;
}

static const int64_t *ints_of(Op *o, const char *name, int n) {
    const int64_t *v = NULL;
    int have = attr_ints(o, name, &v);
    if (have != n) op_fail(o, "attribute %s has %d elements, needs %d", name, have < 0 ? 0 : have, n);
    return v;
}

/* A list of numbers in NAME or NAME_as_tensor; returns the count, -1 when neither is given. */
static int numbers_of(Op *o, Forest *f, const char *name, double **v) {
    const float *x = NULL;
    int n = attr_floats(o, name, &x);
    if (n > 0) {
        *v = NEWN(double, n);
        for (int i = 0; i < n; i++) (*v)[i] = (double)x[i];
        return n;
    }
    const char *as = arena_printf("%s_as_tensor", name);
    Val *t = o->since >= 3 && attr_has(o, as) ? attr_tensor(o, as) : NULL;
    const Data *d = t ? val_const(t) : NULL;
    if (!d) return -1;
    f->is_double = f->is_double || d->dt == F64;
    *v = NEWN(double, d->n + 1);
    for (size_t i = 0; i < d->n; i++) (*v)[i] = data_get(d, i).f;
    return (int)d->n;
}

static uint8_t mode_of(Op *o, DataStr s) {
    static const char *const name[] = {"BRANCH_LEQ", "BRANCH_LT",  "BRANCH_GTE", "BRANCH_GT",
                                       "BRANCH_EQ",  "BRANCH_NEQ", "",           "LEAF"};
    for (uint8_t i = 0; i <= LEAF; i++)
        if (strlen(name[i]) == s.n && s.n && !memcmp(name[i], s.p, s.n)) return i;
    op_fail(o, "mode %.*s of a node is unknown", (int)s.n, s.p);
}

static void read_weights(Op *o, Forest *f, const char *what, const Key *key) {
    const int64_t *id = NULL;
    double *w = NULL;
    int n = attr_ints(o, arena_printf("%s_ids", what), &id);
    const int64_t *tree = ints_of(o, arena_printf("%s_treeids", what), n),
                  *node = ints_of(o, arena_printf("%s_nodeids", what), n);
    if (numbers_of(o, f, arena_printf("%s_weights", what), &w) != n)
        op_fail(o, "attribute %s_weights does not have %d elements", what, n);
    for (int i = 0; i < n; i++) {
        if (id[i] < 0 || id[i] >= f->targets)
            op_fail(o, "%s_ids[%d] is %lld, outside 0..%d", what, i, (long long)id[i], f->targets - 1);
        add_weight(f, find_node(o, key, f->n, tree[i], node[i]), id[i], w[i]);
    }
}

static int target_count(Op *o) {
    int64_t n = attr_int_or(o, "n_targets", 1);
    return n < 1 || n > MAX_TARGETS ? 0 : (int)n;
}

static Forest read_forest(Op *o, const char *what, int targets) {
    const int64_t *id = NULL, *nan = NULL;
    const DataStr *mode = NULL;
    double *split = NULL;
    Forest f = {.targets = targets};
    int n = attr_ints(o, "nodes_nodeids", &id), nn = attr_ints(o, "nodes_missing_value_tracks_true", &nan);
    if (n < 1 || targets < 1 || targets > MAX_TARGETS)
        op_fail(o, "%d nodes and %d targets are too few or too many", n, targets);
    forest_room(&f, n);
    f.n = n;
    const int64_t *tree = ints_of(o, "nodes_treeids", n), *feature = ints_of(o, "nodes_featureids", n);
    const int64_t *yes = ints_of(o, "nodes_truenodeids", n), *no = ints_of(o, "nodes_falsenodeids", n);
    if (attr_strs(o, "nodes_modes", &mode) != n || numbers_of(o, &f, "nodes_values", &split) != n)
        op_fail(o, "nodes_modes and nodes_values do not have %d elements", n);
    Key *key = NEWN(Key, n);
    for (int i = 0; i < n; i++) key[i] = (Key){tree[i], id[i], i};
    qsort(key, (size_t)n, sizeof *key, key_order);
    for (int i = 0; i < n; i++) {
        f.mode[i] = mode_of(o, mode[i]);
        bool leaf = f.mode[i] == LEAF;
        f.feature[i] = leaf ? 0 : feature[i];
        f.split[i] = leaf ? 0 : split[i];
        f.nan_yes[i] = !leaf && i < nn && nan[i] != 0;
        f.yes[i] = leaf ? i : find_node(o, key, n, tree[i], yes[i]);
        f.no[i] = leaf ? i : find_node(o, key, n, tree[i], no[i]);
    }
    for (int i = 0; i < n; i++) { // the root of a tree is its first node
        int first = key[i].at;
        int64_t t = key[i].tree;
        for (; i < n && key[i].tree == t; i++) first = key[i].at < first ? key[i].at : first;
        f.root[f.nroot++] = first;
        i--;
    }
    read_weights(o, &f, what, key);
    measure_depth(o, &f);
    return f;
}

static void check_features(Op *o, const Forest *f, const Val *x) {
    int64_t n;
    for (int i = 0; dim_const(x, 1, &n) && i < f->n; i++)
        if (f->feature[i] < 0 || f->feature[i] >= n)
            op_fail(o, "a node reads feature %lld of %lld", (long long)f->feature[i], (long long)n);
}

static Val *forest_input(Op *o, const Forest *f) {
    Val *x = o->in[0];
    if (x->rank == 1) x = unsqueeze(o, x, 0);
    if (x->rank != 2) op_fail(o, "input 0 has %d dimensions, needs 2", x->rank);
    check_features(o, f, x);
    return cast(o, x, x->dt == F64 || f->is_double ? F64 : F32);
}

static Red reduction_of(Op *o, const char *how) {
    if (!strcmp(how, "MIN")) return RED_MIN;
    if (!strcmp(how, "MAX")) return RED_MAX;
    if (strcmp(how, "SUM") && strcmp(how, "AVERAGE")) op_fail(o, "aggregate_function %s is unknown", how);
    return RED_ADD;
}

static Val *add_base(Op *o, Forest *f, Val *y) {
    double *base = NULL;
    int n = numbers_of(o, f, "base_values", &base);
    if (n <= 0) return y;
    if (n != 1 && n != f->targets) op_fail(o, "base_values has %d elements for %d targets", n, f->targets);
    return add(o, y, const_floats(o, y->dt, n, base));
}

/* y = post(aggregate over trees of the weights of the leaf reached, + base); summed in double, as votes that tie must */
void tree_ensemble_regressor(Op *o) {
    Forest f = read_forest(o, "target", target_count(o));
    const char *how = attr_str(o, "aggregate_function");
    Val *x = forest_input(o, &f);
    Val *y = aggregate(o, &f, walk(o, &f, x), reduction_of(o, how), F64);
    if (!strcmp(how, "AVERAGE")) y = divide(o, y, like(o, y, f.nroot));
    y = cast(o, add_base(o, &f, y), x->dt);
    o->out[0] = cast(o, post_transform(o, y, attr_str(o, "post_transform")), F32);
}

/*
 * One column of weights: the label by its sign, or against 0.5 where no weight is negative. The column of the second
 * of two classes stands beside zeros; that of one class alone stays alone, as in onnxruntime.
 */
static void binary_forest(Op *o, Forest *f, Val *x, int classes, int64_t column, bool positive) {
    double *base = NULL;
    const char *post = attr_str(o, "post_transform");
    Val *s = aggregate(o, f, walk(o, f, x), RED_ADD, F64);
    int n = numbers_of(o, f, "base_values", &base);
    if (n > 0) s = add(o, s, like(o, s, base[column < n ? column : n - 1]));
    s = cast(o, s, x->dt);
    Val *first = squeeze(o, s, 1), *hit = map2(o, FN_lt, like(o, first, positive && classes == 2 ? 0.5 : 0), first);
    hit = cast(o, hit, I64);
    o->out[0] = classes == 2 ? class_labels(o, hit, "classlabels_int64s") : hit;
    if (classes == 2 && column == 1)
        s = post_transform(o, concat(o, 2, (Val *[]){full(o, s->dt, 0, 2, s->shape), s}, 1), post);
    else if (classes == 2)
        s = second_class(o, s, post, positive);
    else if (!strcmp(post, "PROBIT"))
        s = post_transform(o, s, post);
    o->out[1] = cast(o, s, F32);
}

/* scores = post(sum over trees of the weights of the leaf reached, + base); label of the greatest */
void tree_ensemble_classifier(Op *o) {
    int classes = class_count(o, "classlabels_int64s");
    const int64_t *ids = NULL;
    Forest f = read_forest(o, "class", classes);
    int n = attr_ints(o, "class_ids", &ids);
    bool one = n > 0, positive = true;
    for (int i = 0; i < n; i++) {
        one = one && ids[i] == ids[0];
        positive = positive && f.weight[i].w >= 0;
    }
    Val *x = forest_input(o, &f);
    if (classes <= 2 && one) {
        f.targets = 1;
        for (int i = 0; i < f.nw; i++) f.weight[i].target = 0;
        binary_forest(o, &f, x, classes, ids[0], positive);
        return;
    }
    Val *y = cast(o, add_base(o, &f, aggregate(o, &f, walk(o, &f, x), RED_ADD, F64)), x->dt);
    o->out[0] = class_labels(o, reduce(o, RED_ARGMAX, y, 1, (int[]){1}, false), "classlabels_int64s");
    o->out[1] = cast(o, post_transform(o, y, attr_str(o, "post_transform")), F32);
}

// ---- TreeEnsemble, version 5 -----------------------------------------------------------------------------

static const Data *tensor_of(Op *o, const char *name) {
    Val *t = attr_has(o, name) ? attr_tensor(o, name) : NULL;
    return t ? val_const(t) : NULL;
}

/* The members of each MEMBER node as a chain of EQ nodes, the rest as they are. */
static void read_branches(Op *o, Forest *f, int n, const Data *modes, const Data *splits, int64_t *first) {
    const int64_t *feature = ints_of(o, "nodes_featureids", n), *nan = NULL;
    int nn = attr_ints(o, "nodes_missing_value_tracks_true", &nan);
    const Data *member = tensor_of(o, "membership_values");
    size_t m = 0;
    for (int i = 0; i < n; i++) {
        int64_t mode = data_get(modes, (size_t)i).i;
        first[i] = f->n;
        if (mode < LEQ || mode > MEMBER) op_fail(o, "mode %lld of a node is unknown", (long long)mode);
        do {
            double v = mode == MEMBER ? (double)NAN : data_get(splits, (size_t)i).f;
            if (mode == MEMBER && member && m < member->n) v = data_get(member, m++).f;
            if (mode == MEMBER && isnan(v) && f->n > first[i]) break;
            int at = f->n++;
            f->mode[at] = (uint8_t)(mode == MEMBER ? EQ : mode);
            f->split[at] = v;
            f->feature[at] = feature[i];
            f->nan_yes[at] = i < nn && nan[i] != 0;
            if (mode == MEMBER && isnan(v)) break;
        } while (mode == MEMBER);
    }
    first[n] = f->n;
}

static int64_t child_of(Op *o, const int64_t *first, int n, int nleaf, int64_t id, bool leaf) {
    if (id < 0 || id >= (leaf ? nleaf : n)) op_fail(o, "a node's child %lld does not exist", (long long)id);
    return leaf ? first[n] + id : first[id];
}

static Forest read_forest5(Op *o) {
    const int64_t *target = NULL, *root = NULL, *feature = NULL;
    const Data *modes = tensor_of(o, "nodes_modes"), *splits = tensor_of(o, "nodes_splits"),
               *w = tensor_of(o, "leaf_weights");
    const Data *member = tensor_of(o, "membership_values");
    int n = attr_ints(o, "nodes_featureids", &feature), nleaf = attr_ints(o, "leaf_targetids", &target);
    Forest f = {.targets = target_count(o)};
    f.nroot = attr_ints(o, "tree_roots", &root);
    if (f.targets < 1 || f.targets > MAX_TARGETS || n < 1 || nleaf < 1 || f.nroot < 1 || !modes || !splits || !w ||
        modes->n != (size_t)n || splits->n != (size_t)n || w->n != (size_t)nleaf)
        op_fail(o, "the attributes of nodes and leaves do not fit");
    int64_t *first = NEWN(int64_t, n + 1);
    forest_room(&f, n + nleaf + f.nroot + (member ? (int)member->n : 0));
    read_branches(o, &f, n, modes, splits, first);
    const int64_t *yes = ints_of(o, "nodes_truenodeids", n), *no = ints_of(o, "nodes_falsenodeids", n);
    const int64_t *yl = ints_of(o, "nodes_trueleafs", n), *nl = ints_of(o, "nodes_falseleafs", n);
    for (int i = 0; i < n; i++) {
        for (int64_t k = first[i]; k < first[i + 1]; k++) {
            f.yes[k] = child_of(o, first, n, nleaf, yes[i], yl[i] != 0);
            f.no[k] = k + 1 < first[i + 1] ? k + 1 : child_of(o, first, n, nleaf, no[i], nl[i] != 0);
        }
    }
    for (int i = 0; i < nleaf; i++, f.n++) {
        if (target[i] < 0 || target[i] >= f.targets)
            op_fail(o, "leaf_targetids[%d] is %lld, outside 0..%d", i, (long long)target[i], f.targets - 1);
        f.mode[f.n] = LEAF, f.yes[f.n] = f.no[f.n] = f.n;
        add_weight(&f, f.n, target[i], data_get(w, (size_t)i).f);
    }
    for (int i = 0; i < f.nroot; i++) {
        if (root[i] < 0 || root[i] >= n) op_fail(o, "tree_roots[%d] does not exist", i);
        f.root[i] = first[root[i]];
    }
    f.is_double = splits->dt == F64;
    measure_depth(o, &f);
    return f;
}

/* the same with roots, interior nodes and leaves in arrays of their own */
void tree_ensemble(Op *o) {
    static const char *const post[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
    Forest f = read_forest5(o);
    int64_t how = attr_int(o, "aggregate_function"), p = attr_int(o, "post_transform");
    if (how < 0 || how > 3 || p < 0 || p > 4) op_fail(o, "aggregate_function or post_transform is unknown");
    Val *x = forest_input(o, &f);
    Val *y = aggregate(o, &f, walk(o, &f, x), how == 2 ? RED_MIN : how == 3 ? RED_MAX : RED_ADD, F64);
    if (how == 0) y = divide(o, y, like(o, y, f.nroot));
    o->out[0] = cast(o, post_transform(o, cast(o, y, x->dt), post[p]), o->in[0]->dt);
}
