// SPDX-License-Identifier: Apache-2.0
// Gradients against central differences, in the interpreter and in float64: every scalar function, every
// primitive; and the values that training expects at kinks.
#include "cnncc.h"
#include "train/train.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

// ---- pieces ---------------------------------------------------------------------------------------

static uint64_t state = 1;

static double uniform(double lo, double hi) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return lo + (hi - lo) * ((double)(state >> 11) / 9007199254740992.0);
}

static Val *input(Graph *g, const char *name, int rank, const int64_t *shape) {
    Ex s[MAX_RANK];
    for (int i = 0; i < rank; i++) s[i] = e_int(shape[i]);
    return b_input(g, name, F64, rank, s);
}

static Val *ints(Graph *g, int rank, const int64_t *shape, const int64_t *v) {
    Ex s[MAX_RANK];
    size_t n = 1;
    for (int i = 0; i < rank; i++) s[i] = e_int(shape[i]), n *= (size_t)shape[i];
    Data *d = data_new(I64, n);
    for (size_t i = 0; i < n; i++) data_set(d, i, (Scalar){.i = v[i]});
    return b_const(g, d, rank, s);
}

static Val *number(Graph *g, double v) { return splat(g, F64, v, 0, NULL); }

static Tensor *tensor_of(const Val *v, double lo, double hi) {
    Tensor *t = NEW(Tensor);
    *t = (Tensor){.dt = v->dt, .rank = v->rank};
    size_t n = 1;
    for (int i = 0; i < v->rank; i++) {
        e_is_const(v->shape[i], &t->shape[i]);
        n *= (size_t)t->shape[i];
    }
    t->data = data_new(v->dt, n);
    for (size_t i = 0; i < n; i++) data_set(t->data, i, (Scalar){.f = uniform(lo, hi)});
    return t;
}

static double at(const Tensor *t, size_t i) { return data_get(t->data, i).f; }
static void put_at(Tensor *t, size_t i, double v) { data_set(t->data, i, (Scalar){.f = v}); }

// The sum of y's elements, each with a weight of its own, so that every element of the adjoint counts.
static Val *weighted(Graph *g, Val *y) {
    int64_t n = 1;
    e_is_const(val_numel(y), &n);
    Data *d = data_new(F64, (size_t)n);
    for (int64_t i = 0; i < n; i++) data_set(d, (size_t)i, (Scalar){.f = uniform(-1, 1)});
    return total(g, fn2(g, FN_mul, y, b_const(g, d, y->rank, y->shape)));
}

// Outputs: the loss and its gradients by all inputs, checked by central differences.
static void check_at(Graph *g, Val *y, Tensor **in, const char *what) {
    Val *loss = weighted(g, y), **d = grad(g, loss, g->nin, g->in);
    Tensor *out[8], *one[8];
    cr_assert(d, "%s has no gradient", what);
    graph_output(g, loss, "loss");
    for (int i = 0; i < g->nin; i++) {
        cr_assert(val_same_shape(d[i], g->in[i]) && d[i]->dt == F64, "%s: the type of a gradient", what);
        graph_output(g, d[i], "grad");
    }
    graph_verify(g);
    pass_fold(g, NULL);
    pass_simplify(g, NULL);
    cr_assert_eq(eval_graph(g, g->nin, in, 1 + g->nin, out), 0, "%s does not run", what);
    for (int i = 0; i < g->nin; i++) {
        double largest = 0;
        for (size_t j = 0; j < in[i]->data->n; j++) largest = fmax(largest, fabs(at(out[1 + i], j)));
        for (size_t j = 0; j < in[i]->data->n; j++) {
            double x = at(in[i], j), h = 1e-3 * fmax(1, fabs(x)), f[4], step[4] = {1, -1, 2, -2};
            for (int k = 0; k < 4; k++) {
                put_at(in[i], j, x + step[k] * h);
                cr_assert_eq(eval_graph(g, g->nin, in, 1, one), 0);
                f[k] = at(one[0], 0);
            }
            put_at(in[i], j, x);
            double want = (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * h), got = at(out[1 + i], j);
            cr_assert(fabs(got - want) <= 1e-7 * fmax(1, largest), "%s: input %d, element %zu: %.12g, differences give %.12g",
                      what, i, j, got, want);
        }
    }
}

static void check(Graph *g, Val *y, const char *what) {
    Tensor *in[8];
    for (int i = 0; i < g->nin; i++) in[i] = tensor_of(g->in[i], -1, 1);
    check_at(g, y, in, what);
}

static const int64_t S24[] = {2, 4}, S234[] = {2, 3, 4}, S5[] = {5};

// ---- scalar functions -----------------------------------------------------------------------------

typedef struct { double lo, hi; } Domain;

static Domain domain(Fn fn) {
    switch (fn) {
    case FN_sqrt: case FN_log: case FN_log2: case FN_pow: case FN_div: case FN_mod: case FN_fmod: return (Domain){0.6, 1.4};
    case FN_acosh: return (Domain){1.5, 3};
    case FN_asin: case FN_acos: case FN_atanh: case FN_log1p: return (Domain){-0.7, 0.7};
    case FN_floor: case FN_ceil: case FN_trunc: return (Domain){0.1, 0.9};
    case FN_round: return (Domain){-0.4, 0.4};
    case FN_abs: case FN_sign: return (Domain){0.1, 2};
    default: return (Domain){-2, 2};
    }
}

// Operands away from each other, where equal ones are a kink.
static void part(Fn fn, Tensor **in) {
    double gap = fn == FN_min || fn == FN_max ? 0.3 : fn == FN_mod || fn == FN_fmod ? 2.5 : 0;
    for (size_t i = 0; gap > 0 && i < in[0]->data->n; i++) put_at(in[0], i, at(in[1], i) * (fn < FN_min ? gap : 1) + (fn < FN_min ? 0 : i % 2 ? gap : -gap));
}

Test(grad, every_scalar_function_of_floats) {
    int tried = 0;
    for (int fn = 0; fn < FN_COUNT; fn++) {
        const FnInfo *f = &fn_info[fn];
        if (f->result != R_SAME || !strchr(f->types, 'f')) continue;
        Graph *g = graph_new(NULL);
        Tensor *in[2];
        Val *x[2];
        Domain d = domain((Fn)fn);
        for (int i = 0; i < f->arity; i++) {
            x[i] = input(g, i ? "b" : "a", 1, S5);
            in[i] = tensor_of(x[i], d.lo, d.hi);
        }
        if (f->arity == 2) part((Fn)fn, in);
        check_at(g, b_map(g, (Fn)fn, DT_NONE, f->arity, x), in, f->name);
        tried++;
    }
    cr_assert_geq(tried, 38);
}

Test(grad, select_and_cast) {
    Graph *g = graph_new(NULL);
    Val *a = input(g, "a", 1, S5), *b = input(g, "b", 1, S5), *c = input(g, "c", 1, S5);
    check(g, select_of(g, fn2(g, FN_lt, c, splat_like(g, c, 0)), fn2(g, FN_mul, a, b), fn1(g, FN_exp, a)), "select");
    g = graph_new(NULL);
    a = input(g, "a", 1, S5);
    Val *i = cast_to(g, a, I32);
    check(g, fn2(g, FN_mul, a, cast_to(g, i, F64)), "cast to an integer and back");
}

// ---- primitives -----------------------------------------------------------------------------------

Test(grad, reductions) {
    static const Red fns[] = {RED_ADD, RED_MUL, RED_MAX, RED_MIN};
    static const int some[][3] = {{0, 0, 0}, {2, 0, 0}, {0, 2, 0}, {0, 1, 2}};
    static const int count[] = {1, 1, 2, 3};
    for (int f = 0; f < 4; f++)
        for (int a = 0; a < 4; a++) {
            Graph *g = graph_new(NULL);
            Val *x = input(g, "x", 3, S234);
            check(g, b_reduce(g, fns[f], x, count[a], some[a], false), red_name[fns[f]]);
        }
}

Test(grad, products_with_zeros) {
    for (int zeros = 1; zeros <= 2; zeros++)
        for (int scan = 0; scan <= 4; scan++) {
            Graph *g = graph_new(NULL);
            Val *x = input(g, "x", 2, S24);
            Tensor *in = tensor_of(x, 0.5, 1.5);
            for (int i = 0; i < zeros; i++) put_at(in, 1 + 2 * (size_t)i, 0);
            int axis = 1;
            Val *y = scan == 4 ? b_reduce(g, RED_MUL, x, 1, &axis, false) : b_scan(g, RED_MUL, x, 1, scan & 1, scan & 2);
            check_at(g, y, &in, "a product with zeros");
        }
}

Test(grad, views) {
    Graph *g = graph_new(NULL);
    Val *x = input(g, "x", 3, S234);
    Ex flat[] = {e_int(6), e_int(4)}, wide[] = {e_int(2), e_int(3), e_int(5)};
    check(g, b_reshape(g, x, 2, flat), "reshape");
    g = graph_new(NULL);
    x = input(g, "x", 3, S234);
    check(g, b_permute(g, x, (int[]){2, 0, 1}), "permute");
    g = graph_new(NULL);
    x = input(g, "x", 3, (int64_t[]){2, 1, 5});
    check(g, b_expand(g, x, wide), "expand");
    g = graph_new(NULL);
    x = input(g, "x", 2, S24);
    check(g, b_pad(g, b_reshape(g, x, 2, x->shape), 1, e_int(2), e_int(1), b_reduce(g, RED_ADD, x, 2, (int[]){0, 1}, false)), "pad by a computed value");
    g = graph_new(NULL);
    x = input(g, "x", 2, S24);
    Val *z = input(g, "z", 2, (int64_t[]){2, 3});
    check(g, b_concat(g, 3, (Val *[]){x, z, x}, 1), "concat");
    g = graph_new(NULL);
    x = input(g, "x", 2, S24);
    check(g, fn1(g, FN_exp, b_copy(g, x)), "copy");
}

Test(grad, a_broadcast_that_only_the_run_knows) {
    for (int64_t m = 1; m <= 3; m += 2) {
        Graph *g = graph_new(NULL);
        Ex sym = e_sym(intern("M"), 1, INT64_MAX), wide[] = {e_int(2), e_int(3)}, narrow[] = {e_int(2), sym};
        Val *x = b_input(g, "x", F64, 2, narrow), *y = fn1(g, FN_sin, b_expand(g, x, wide)), **d = grad(g, total(g, y), 1, &x);
        cr_assert(d && val_same_shape(d[0], x));
        graph_output(g, d[0], "grad");
        graph_verify(g);
        Tensor in = {.dt = F64, .rank = 2, .shape = {2, m}, .data = data_new(F64, (size_t)(2 * m))}, *pin = &in, *out;
        for (size_t i = 0; i < in.data->n; i++) put_at(&in, i, (double)i);
        cr_assert_eq(eval_graph(g, 1, &pin, 1, &out), 0);
        cr_assert_eq(out->data->n, in.data->n);
        for (size_t i = 0; i < in.data->n; i++) cr_assert_float_eq(at(out, i), cos((double)i) * (m == 1 ? 3 : 1), 1e-12);
    }
}

Test(grad, slices) {
    static const int64_t cases[][3] = {{1, 3, 1}, {0, 4, 2}, {1, 3, 3}, {7, 8, -1}, {6, 3, -3}, {0, 1, 1}, {5, 2, -2}, {3, 0, 1}}; // start, size, step
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Graph *g = graph_new(NULL);
        Val *x = input(g, "x", 2, (int64_t[]){2, 8});
        if (!cases[i][1]) continue;
        check(g, b_slice(g, x, 1, e_int(cases[i][0]), e_int(cases[i][1]), e_int(cases[i][2])), arena_printf("slice %zu", i));
    }
}

Test(grad, windows_and_their_adjoints) {
    static const int64_t cases[][4] = {{9, 3, 1, 1}, {9, 3, 2, 1}, {10, 3, 2, 2}, {8, 2, 3, 1}, {8, 1, 2, 1}, {7, 7, 1, 1}}; // n, k, stride, dilation
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int64_t *c = cases[i];
        Graph *g = graph_new(NULL);
        Val *x = input(g, "x", 3, (int64_t[]){2, c[0], 2});
        check(g, b_window(g, x, 1, e_int(c[1]), e_int(c[2]), e_int(c[3])), arena_printf("window %zu", i));
        for (int64_t n = c[0]; n <= c[0] + 2; n++) { // as much as is reached, and more
            g = graph_new(NULL);
            x = input(g, "x", 4, (int64_t[]){2, (c[0] - (c[1] - 1) * c[3] - 1) / c[2] + 1, c[1], 2});
            check(g, b_unwindow(g, x, 1, e_int(n), e_int(c[2]), e_int(c[3])), arena_printf("unwindow %zu to %d", i, (int)n));
        }
    }
}

Test(grad, indexing) {
    int64_t idx[] = {2, 0, 2, 1, 1, 0}, two[] = {0, 3, 2, 1};
    Graph *g = graph_new(NULL);
    Val *x = input(g, "x", 2, (int64_t[]){3, 2});
    check(g, b_gather(g, x, ints(g, 2, (int64_t[]){3, 2}, idx), 0), "gather");
    static const Red fns[] = {RED_ADD, RED_SET, RED_MAX, RED_MIN};
    for (int i = 0; i < 4; i++) {
        g = graph_new(NULL);
        x = input(g, "x", 2, S24);
        Val *u = input(g, "u", 2, (int64_t[]){2, 2});
        check(g, b_scatter(g, fns[i], x, ints(g, 2, (int64_t[]){2, 2}, two), u, 1), arena_printf("scatter %s", red_name[fns[i]]));
    }
}

Test(grad, scans_and_sort) {
    for (int flag = 0; flag < 4; flag++) {
        Graph *g = graph_new(NULL);
        Val *x = input(g, "x", 3, S234);
        check(g, b_scan(g, RED_ADD, x, 1, flag & 1, flag & 2), "running sum");
        g = graph_new(NULL);
        x = input(g, "x", 3, S234);
        check(g, b_scan(g, RED_MUL, x, 1, flag & 1, flag & 2), "running product");
    }
    for (int down = 0; down < 2; down++) {
        Graph *g = graph_new(NULL);
        Val *x = input(g, "x", 2, S24), *v, *i;
        b_sort(g, x, 1, down, &v, &i);
        check(g, v, "sort");
    }
}

Test(grad, softmax_by_its_own_rule) {
    int axis = 1;
    Graph *g = graph_new(NULL);
    Val *x = input(g, "x", 2, S24), *s = fn2(g, FN_sub, x, reduced(g, RED_MAX, x, 1, &axis)), *e = fn1(g, FN_exp, s), *in;
    Val *y = fn2(g, FN_div, e, reduced(g, RED_ADD, e, 1, &axis));
    int n, axes[MAX_RANK];
    cr_assert(match_softmax(y, &in, &n, axes) && in == x && n == 1 && axes[0] == 1);
    check(g, y, "softmax");
    g = graph_new(NULL);
    x = input(g, "x", 2, S24), s = fn2(g, FN_sub, x, reduced(g, RED_MAX, x, 1, &axis));
    y = fn2(g, FN_sub, s, fn1(g, FN_log, reduced(g, RED_ADD, fn1(g, FN_exp, s), 1, &axis)));
    cr_assert(match_log_softmax(y, &in, &n, axes) && in == x && n == 1 && axes[0] == 1);
    check(g, y, "log softmax");
}

// ---- kinks ----------------------------------------------------------------------------------------

// The gradient of sum(y) by the only input, at these values.
static void kink(Graph *g, Val *y, int n, const double *x, const double *want, const char *what) {
    Tensor *in = tensor_of(g->in[0], 0, 1), *out;
    for (int i = 0; i < n; i++) put_at(in, (size_t)i, x[i]);
    Val **d = grad(g, total(g, y), 1, g->in);
    cr_assert(d);
    graph_output(g, d[0], "grad");
    pass_simplify(g, NULL);
    cr_assert_eq(eval_graph(g, 1, &in, 1, &out), 0);
    for (int i = 0; i < n; i++)
        cr_assert(at(out, (size_t)i) == want[i], "%s at %g: %g, not %g", what, x[i], at(out, (size_t)i), want[i]);
}

Test(grad, kinks) {
    int axis = 0, axes[2] = {0, 1};
    Graph *g = graph_new(NULL);
    Val *x = input(g, "x", 1, (int64_t[]){3});
    kink(g, fn2(g, FN_max, x, splat_like(g, x, 0)), 3, (double[]){-1, 0, 1}, (double[]){0, 0, 1}, "relu");
    g = graph_new(NULL), x = input(g, "x", 1, (int64_t[]){3});
    kink(g, fn2(g, FN_min, splat_like(g, x, 1), x), 3, (double[]){0, 1, 2}, (double[]){1, 1, 0}, "clamp");
    g = graph_new(NULL), x = input(g, "x", 1, (int64_t[]){3});
    kink(g, fn1(g, FN_abs, x), 3, (double[]){-1, 0, 1}, (double[]){-1, 0, 1}, "abs");
    g = graph_new(NULL), x = input(g, "x", 1, (int64_t[]){3});
    kink(g, fn1(g, FN_sqrt, x), 3, (double[]){0, 0.25, 1}, (double[]){INFINITY, 1, 0.5}, "sqrt");
    g = graph_new(NULL), x = input(g, "x", 1, (int64_t[]){3});
    kink(g, fn1(g, FN_sqrt, b_reduce(g, RED_ADD, fn2(g, FN_mul, x, x), 1, &axis, false)), 3, (double[]){0, 0, 0}, (double[]){0, 0, 0}, "norm");
    g = graph_new(NULL), x = input(g, "x", 1, (int64_t[]){4});
    kink(g, b_reduce(g, RED_MAX, x, 1, &axis, false), 4, (double[]){2, 1, 2, 0}, (double[]){0.5, 0, 0.5, 0}, "max of a tensor");
    g = graph_new(NULL), x = input(g, "x", 1, (int64_t[]){4});
    Val *w = b_window(g, x, 0, e_int(2), e_int(2), e_int(1));
    kink(g, b_reduce(g, RED_MAX, w, 1, (int[]){1}, false), 4, (double[]){2, 2, 3, 4}, (double[]){1, 0, 0, 1}, "max of windows");
    g = graph_new(NULL), x = input(g, "x", 2, (int64_t[]){2, 2});
    Val *a = b_slice(g, x, 0, e_int(0), e_int(1), e_int(1)), *b = b_slice(g, x, 0, e_int(1), e_int(1), e_int(1));
    kink(g, fn2(g, FN_max, a, b), 4, (double[]){1, 1, 1, 2}, (double[]){0.5, 0, 0.5, 1}, "max of two");
    g = graph_new(NULL), x = input(g, "x", 1, (int64_t[]){2});
    kink(g, fn2(g, FN_pow, x, splat_like(g, x, 0)), 2, (double[]){0, 2}, (double[]){0, 0}, "x to the 0");
    g = graph_new(NULL), x = input(g, "x", 2, (int64_t[]){2, 2});
    kink(g, b_reduce(g, RED_MUL, x, 2, axes, false), 4, (double[]){0, 2, 3, 5}, (double[]){30, 0, 0, 0}, "product");
}

Test(grad, what_does_not_depend_is_zero) {
    Graph *g = graph_new(NULL);
    input(g, "x", 1, S5);
    kink(g, number(g, 2), 5, (double[]){1, 2, 3, 4, 5}, (double[]){0, 0, 0, 0, 0}, "an unused input");
}

// sin(sin(x)): cos(x) cos(sin(x))
Test(grad, a_loop_goes_backwards) {
    Graph *g = graph_new(NULL), *body = graph_new(g);
    Val *x = input(g, "x", 1, S5);
    Val *yes = b_dims(g, BOOL, 0, NULL, (Ex[]){e_int(1)}), *trip = b_dims(g, I64, 0, NULL, (Ex[]){e_int(2)});
    b_param(body, trip);
    Val *c = b_param(body, yes), *s = b_param(body, x);
    graph_output(body, c, "c");
    graph_output(body, fn1(body, FN_sin, s), "s");
    Node *n = b_loop(g, trip, yes, 1, &x, 0, NULL, body);
    double at[5] = {0, 0.5, 1, -2, 3}, want[5];
    for (int i = 0; i < 5; i++) want[i] = cos(at[i]) * cos(sin(at[i]));
    kink(g, &n->out[0], 5, at, want, "a loop of two iterations");
}

Test(grad, a_chain_of_a_hundred_thousand_nodes) {
    Graph *g = graph_new(NULL);
    Val *x = input(g, "x", 1, S5), *y = x;
    for (int i = 0; i < 100000; i++) y = fn1(g, i % 2 ? FN_neg : FN_sin, y);
    cr_assert_not_null(grad(g, total(g, y), 1, &x));
}
