// SPDX-License-Identifier: Apache-2.0
// The vocabulary of operator authors: shapes, broadcasting with symbols, and values by the interpreter.
#include "cnncc.h"
#include "ops/op.h"

#include <criterion/criterion.h>
#include <string.h>

static Op op_new(void) { return (Op){.type = "Test", .domain = "", .name = "", .g = graph_new(NULL)}; }

// An input of these extents: numbers, or names.
static Val *input(Op *o, const char *name, DType dt, int rank, ...) {
    Ex shape[MAX_RANK];
    va_list ap;
    va_start(ap, rank);
    for (int i = 0; i < rank; i++) shape[i] = va_arg(ap, Ex);
    va_end(ap);
    return b_input(o->g, name, dt, rank, shape);
}

static Ex sym(const char *name) { return e_sym(intern(name), 0, INT64_MAX); }

static Tensor *tensor(DType dt, int rank, const int64_t *shape, const double *v) {
    Tensor *t = NEW(Tensor);
    *t = (Tensor){.dt = dt, .rank = rank};
    size_t n = 1;
    for (int i = 0; i < rank; i++) t->shape[i] = shape[i], n *= (size_t)shape[i];
    t->data = data_new(dt, n);
    for (size_t i = 0; i < n; i++)
        data_set(t->data, i, dt_is_float(dt) ? (Scalar){.f = v[i]} : (Scalar){.i = (int64_t)v[i]});
    return t;
}

static Tensor *run(Op *o, Val *y, int nin, Tensor *const *in, int want_status) {
    Tensor *out = NULL;
    graph_output(o->g, y, "y");
    graph_verify(o->g);
    cr_assert_eq(eval_graph(o->g, nin, in, 1, &out), want_status);
    return out;
}

static void expect(const Tensor *t, int n, const double *v) {
    cr_assert_eq((int)t->data->n, n);
    for (int i = 0; i < n; i++) {
        Scalar s = data_get(t->data, (size_t)i);
        double got = dt_is_float(t->dt) ? s.f : (double)s.i;
        cr_assert_float_eq(got, v[i], 1e-6, "element %d is %g, expected %g", i, got, v[i]);
    }
}

Test(vocab, broadcast_of_known_extents) {
    Op o = op_new();
    Val *a = input(&o, "a", F32, 2, e_int(2), e_int(1)), *b = input(&o, "b", F32, 1, e_int(3));
    Val *y = add(&o, a, b);
    cr_assert_eq(y->rank, 2);
    cr_assert(e_is(dim(y, 0), 2) && e_is(dim(y, 1), 3));
    cr_assert_eq(o.g->nguard, 0);
    Tensor *in[] = {tensor(F32, 2, (int64_t[]){2, 1}, (double[]){10, 20}),
                    tensor(F32, 1, (int64_t[]){3}, (double[]){1, 2, 3})};
    expect(run(&o, y, 2, in, 0), 6, (double[]){11, 12, 13, 21, 22, 23});
}

Test(vocab, a_symbol_against_a_number_is_guarded) {
    Op o = op_new();
    Val *y = add(&o, input(&o, "a", F32, 1, sym("N")), input(&o, "b", F32, 1, e_int(3)));
    cr_assert(e_is(dim(y, 0), 3));
    cr_assert_eq(o.g->nguard, 1);
    cr_assert_eq(o.g->guard[0].kind, G_BROADCAST);
    Tensor *b = tensor(F32, 1, (int64_t[]){3}, (double[]){1, 2, 3});
    Tensor *one[] = {tensor(F32, 1, (int64_t[]){1}, (double[]){5}), b};
    expect(run(&o, y, 2, one, 0), 3, (double[]){6, 7, 8});
    Tensor *three[] = {b, b}, *two[] = {tensor(F32, 1, (int64_t[]){2}, (double[]){5, 6}), b}, *out[2];
    cr_assert_eq(eval_graph(o.g, 2, three, 1, out), 0);
    cr_assert_neq(eval_graph(o.g, 2, two, 1, out), 0);
}

Test(vocab, two_symbols_take_the_larger) {
    Op o = op_new();
    Val *y = add(&o, input(&o, "a", F32, 1, sym("N")), input(&o, "b", F32, 1, sym("M")));
    Tensor *one[] = {tensor(F32, 1, (int64_t[]){2}, (double[]){5, 6}), tensor(F32, 1, (int64_t[]){1}, (double[]){1})};
    expect(run(&o, y, 2, one, 0), 2, (double[]){6, 7});
    Tensor *bad[] = {one[0], tensor(F32, 1, (int64_t[]){3}, (double[]){1, 2, 3})}, *out[1];
    cr_assert_neq(eval_graph(o.g, 2, bad, 1, out), 0);
    Op same = op_new();
    add(&same, input(&same, "a", F32, 1, sym("N")), input(&same, "b", F32, 1, sym("N")));
    cr_assert_eq(same.g->nguard, 0);
}

Test(vocab, extents_that_do_not_broadcast_are_refused, .exit_code = 1) {
    Op o = op_new();
    add(&o, input(&o, "a", F32, 1, e_int(2)), input(&o, "b", F32, 1, e_int(3)));
}

Test(vocab, types_are_not_promoted, .exit_code = 1) {
    Op o = op_new();
    add(&o, input(&o, "a", F32, 1, e_int(2)), input(&o, "b", F64, 1, e_int(2)));
}

Test(vocab, reductions) {
    Op o = op_new();
    Val *x = input(&o, "x", F32, 2, sym("N"), e_int(3));
    Val *m = reduce_mean(&o, x, -1, NULL, false), *k = reduce_max(&o, x, 1, (int[]){1}, true);
    cr_assert_eq(m->rank, 0);
    cr_assert(k->rank == 2 && e_is(dim(k, 1), 1));
    Tensor *in[] = {tensor(F32, 2, (int64_t[]){2, 3}, (double[]){1, 5, 3, 4, 2, 9})};
    expect(run(&o, add(&o, k, m), 1, in, 0), 2, (double[]){9, 13});
}

Test(vocab, moving_axes) {
    Op o = op_new();
    Val *x = input(&o, "x", F32, 4, e_int(2), e_int(3), e_int(4), e_int(5));
    Val *y = move_axis(&o, x, 0, 2), *z = move_axis(&o, x, 3, 1), *w = swap_axes(&o, x, 0, 3);
    const int64_t want[3][4] = {{3, 4, 2, 5}, {2, 5, 3, 4}, {5, 3, 4, 2}};
    for (int i = 0; i < 4; i++)
        cr_assert(e_is(dim(y, i), want[0][i]) && e_is(dim(z, i), want[1][i]) && e_is(dim(w, i), want[2][i]));
    Val *f = flatten(&o, x, 2), *m = merge_axes(&o, x, 1, 2), *s = split_axis(&o, m, 1, e_int(6), e_int(2));
    cr_assert(e_is(dim(f, 0), 6) && e_is(dim(f, 1), 20) && e_is(dim(m, 1), 12) && e_is(dim(s, 1), 6));
    cr_assert_eq(squeeze(&o, unsqueeze(&o, x, 2), 2), x);
}

Test(vocab, take_by_known_indices_is_a_slice) {
    Op o = op_new();
    Val *x = input(&o, "x", F32, 2, e_int(4), sym("N"));
    Data *d = data_new(I64, 2);
    data_set(d, 0, (Scalar){.i = -1});
    data_set(d, 1, (Scalar){.i = -3});
    Val *index = b_const(o.g, d, 1, (Ex[]){e_int(2)});
    Val *y = take(&o, x, index, 0);
    cr_assert_eq(y->node->op, P_slice);
    Tensor *in[] = {tensor(F32, 2, (int64_t[]){4, 1}, (double[]){1, 2, 3, 4})};
    expect(run(&o, y, 1, in, 0), 2, (double[]){4, 2});
}

Test(vocab, take_by_computed_indices_wraps) {
    Op o = op_new();
    Val *x = input(&o, "x", F32, 2, e_int(2), e_int(3)), *i = input(&o, "i", I64, 2, e_int(2), e_int(2));
    Val *y = take(&o, x, i, 1);
    cr_assert_eq(y->rank, 3);
    Tensor *in[] = {tensor(F32, 2, (int64_t[]){2, 3}, (double[]){0, 1, 2, 10, 11, 12}),
                    tensor(I64, 2, (int64_t[]){2, 2}, (double[]){0, -1, 1, 1})};
    expect(run(&o, y, 2, in, 0), 8, (double[]){0, 2, 1, 1, 10, 12, 11, 11});
}

Test(vocab, dimension_arithmetic_stays_known) {
    Op o = op_new();
    Val *x = input(&o, "x", F32, 2, sym("N"), e_int(3));
    Val *shape = ints(&o, 2, x->shape), *zero = scalar_int(&o, I64, 0);
    Ex e;
    cr_assert_eq(known_ints(add(&o, take(&o, shape, zero, 0), scalar_int(&o, I64, 1)), &e, 1), 1);
    cr_assert_str_eq(e_str(e), e_str(e_add(sym("N"), e_int(1))));
    cr_assert_eq(known_ints(x, &e, 1), -1);
}

Test(vocab, matmul_broadcasts_batches) {
    Op o = op_new();
    Val *a = input(&o, "a", F32, 3, sym("B"), e_int(1), e_int(2)), *b = input(&o, "b", F32, 2, e_int(2), e_int(2));
    Val *y = matmul(&o, a, b);
    cr_assert_eq(y->rank, 3);
    Tensor *in[] = {tensor(F32, 3, (int64_t[]){2, 1, 2}, (double[]){1, 2, 3, 4}),
                    tensor(F32, 2, (int64_t[]){2, 2}, (double[]){1, 10, 100, 1000})};
    expect(run(&o, y, 2, in, 0), 4, (double[]){201, 2010, 403, 4030});
}

Test(vocab, matmul_of_unequal_inner_extents_is_refused, .exit_code = 1) {
    Op o = op_new();
    matmul(&o, input(&o, "a", F32, 2, e_int(2), e_int(1)), input(&o, "b", F32, 2, e_int(3), e_int(2)));
}

Test(vocab, softmax_of_large_numbers) {
    Op o = op_new();
    Val *x = input(&o, "x", F32, 1, e_int(3));
    Tensor *in[] = {tensor(F32, 1, (int64_t[]){3}, (double[]){1000, 1000, -1000})};
    expect(run(&o, softmax_of(&o, x, 1, (int[]){0}), 1, in, 0), 3, (double[]){0.5, 0.5, 0});
}

Test(vocab, concat_guards_what_it_cannot_prove) {
    Op o = op_new();
    Val *a = input(&o, "a", F32, 2, e_int(1), sym("N")), *b = input(&o, "b", F32, 2, e_int(1), e_int(2));
    Val *y = concat(&o, 2, (Val *[]){a, b}, 0);
    cr_assert(e_is(dim(y, 1), 2));
    Tensor *t = tensor(F32, 2, (int64_t[]){1, 2}, (double[]){1, 2}), *in[] = {t, t};
    expect(run(&o, y, 2, in, 0), 4, (double[]){1, 2, 1, 2});
}
