// SPDX-License-Identifier: Apache-2.0
#include "cnncc.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static Tensor *tensor(DType dt, int rank, const int64_t *shape, const double *v) {
    Tensor *t = NEW(Tensor);
    t->dt = dt;
    t->rank = rank;
    for (int i = 0; i < rank; i++) t->shape[i] = shape[i];
    t->data = data_new(dt, (size_t)tensor_numel(t));
    for (size_t i = 0; i < t->data->n; i++) data_set(t->data, i, dt_is_float(dt) ? (Scalar){ .f = v[i] } : (Scalar){ .i = (int64_t)v[i] });
    return t;
}

#define T(dt, shape, ...) tensor(dt, (int)(sizeof (int64_t[])shape / 8), (int64_t[])shape, (double[])__VA_ARGS__)
#define S(...) { __VA_ARGS__ }

// Runs a text of one result and compares; want NULL: expects the status.
static void check(const char *text, int nin, Tensor **in, int status, size_t n, const double *want) {
    Graph *g = graph_parse(text);
    Tensor *out = NULL;
    graph_verify(g);
    cr_assert_eq(eval_graph(g, nin, in, 1, &out), status);
    if (status) return;
    cr_assert_eq(out->data->n, n);
    for (size_t i = 0; i < n; i++) {
        Scalar s = data_get(out->data, i);
        cr_assert_float_eq(dt_is_float(out->dt) ? s.f : (double)s.i, want[i], 1e-6, "element %zu", i);
    }
}

#define CHECK(text, in, n, ...) check("graph \"\" {" text "}", (int)(sizeof (in) / sizeof *(in)), in, 0, n, (double[])__VA_ARGS__)
#define FAULT(text, in, status) check("graph \"\" {" text "}", (int)(sizeof (in) / sizeof *(in)), in, status, 0, NULL)

Test(eval, symbols_come_from_shapes) {
    Tensor *in[] = { T(F32, S(2, 3), { 1, 2, 3, 4, 5, 6 }) };
    CHECK("%0 = input \"x\" : f32[N, K]\n %1 = dims ex=[N + 2*K, div(N, 2)] : i64[2]\n return %1", in, 2, { 8, 1 });
    CHECK("%0 = input \"x\" : f32[N, K]\n %1 = reduce.add %0 ex=[0] : f32[K]\n return %1", in, 3, { 5, 7, 9 });
    CHECK("%0 = input \"x\" : f32[N, K]\n %1 = permute %0 ex=[1, 0] : f32[K, N]\n %2 = reshape %1 : f32[K*N]\n return %2", in, 6, { 1, 4, 2, 5, 3, 6 });
}

Test(eval, guards_and_indices_fail) {
    Tensor *in[] = { T(F32, S(3), { 1, 2, 3 }), T(I64, S(2), { 0, 3 }) };
    FAULT("%0 = input \"x\" : f32[N]\n %1 = input \"i\" : i64[2]\n guard div N, 2 \"even\"\n return %0", in, 1);
    FAULT("%0 = input \"x\" : f32[N]\n %1 = input \"i\" : i64[2]\n %2 = gather %0, %1 : f32[2]\n return %2", in, 5);
    FAULT("%0 = input \"x\" : f32[4]\n %1 = input \"i\" : i64[2]\n return %0", in, 1);
}

Test(eval, windows_and_their_adjoint) {
    Tensor *in[] = { T(F32, S(5), { 1, 2, 3, 4, 5 }) };
    CHECK("%0 = input \"x\" : f32[5]\n %1 = window %0 ex=[2, 2, 1] : f32[2, 2]\n return %1", in, 4, { 1, 2, 3, 4 });
    CHECK("%0 = input \"x\" : f32[5]\n %1 = window %0 ex=[3, 1, 1] : f32[3, 3]\n %2 = unwindow %1 ex=[5, 1, 1] : f32[5]\n return %2", in, 5, { 1, 4, 9, 8, 5 });
}

Test(eval, scatter_scan_sort) {
    Tensor *in[] = { T(F32, S(4), { 3, 1, 3, 2 }) };
    CHECK("%0 = input \"x\" : f32[4]\n %1 = scan.add %0 flag=3 : f32[4]\n return %1", in, 4, { 6, 5, 2, 0 });
    CHECK("%0 = input \"x\" : f32[4]\n %1 = sort %0 flag=1 : f32[4], i64[4]\n return %1.1", in, 4, { 0, 2, 3, 1 });
    CHECK("%0 = input \"x\" : f32[4]\n %1 = const {0, 0, 1} : i64[3]\n %2 = const {5, 7, 9} : f32[3]\n %3 = scatter.add %0, %1, %2 : f32[4]\n return %3", in, 4, { 15, 10, 3, 2 });
    CHECK("%0 = input \"x\" : f32[4]\n %1 = reduce.argmax %0 ex=[0] : i64[]\n return %1", in, 1, { 0 });
    CHECK("%0 = input \"x\" : f32[4]\n %1 = reduce.argmax %0 flag=1 ex=[0] : i64[]\n return %1", in, 1, { 2 });
}

Test(eval, the_first_nan_is_the_greatest_and_the_least) {
    Tensor *in[] = { T(F32, S(4), { 3, 1, (double)NAN, (double)NAN }) };
    CHECK("%0 = input \"x\" : f32[4]\n %1 = reduce.argmax %0 ex=[0] : i64[]\n return %1", in, 1, { 2 });
    CHECK("%0 = input \"x\" : f32[4]\n %1 = reduce.argmin %0 ex=[0] : i64[]\n return %1", in, 1, { 2 });
    CHECK("%0 = input \"x\" : f32[4]\n %1 = reduce.argmax %0 flag=1 ex=[0] : i64[]\n return %1", in, 1, { 2 });
}

Test(eval, an_untaken_branch_has_no_faults) {
    Tensor *in[] = { T(F32, S(2), { 1, 2 }), tensor(BOOL, 0, NULL, (double[]){ 1 }) };
    CHECK("%0 = input \"x\" : f32[2]\n %1 = input \"c\" : bool[]\n %2 = if %1, %0 : f32[2] then { %0 = input : f32[2]\n return %0 } else {"
          "%0 = input : f32[2]\n %1 = const {7, 8} : i64[2]\n %2 = gather %0, %1 : f32[2]\n return %2 }\n return %2", in, 2, { 1, 2 });
}

Test(eval, loops_carry_and_collect) {
    Tensor *in[] = { tensor(I64, 0, NULL, (double[]){ 4 }) };
#define LOOP(out) "%0 = input \"t\" : i64[]\n %1 = const {1} : bool[]\n %2 = const {1} : i64[]\n %3 = loop %0, %1, %2 axis=1 : i64[], i64[n] body {" \
    "%0 = input : i64[]\n %1 = input : bool[]\n %2 = input : i64[]\n %3 = map.add %2, %2 : i64[]\n %4 = const {8} : i64[]\n" \
    "%5 = map.lt %3, %4 : bool[]\n return %5, %3, %0 }\n return " out
    CHECK(LOOP("%3"), in, 1, { 8 });
    CHECK(LOOP("%3.1"), in, 3, { 0, 1, 2 });
}

Test(eval, constants_are_found_once_and_splats_stay) {
    Graph *g = graph_new(NULL);
    Ex one[1] = { e_int(1) }, big[1] = { e_int(INT64_C(1) << 32) };
    Data *d = data_new(F32, 1);
    data_set(d, 0, (Scalar){ .f = 2 });
    Val *x = b_expand(g, b_const(g, d, 1, one), big), *y = b_map(g, FN_mul, DT_NONE, 2, (Val *[]){ x, x });
    const Data *c = val_const(y);
    cr_assert_not_null(c);
    cr_assert(c->splat);
    cr_assert_eq(data_get(c, 12345).f, 4);
    cr_assert_eq(val_const(y), c);
    Val *in = b_input(g, "x", F32, 1, big);
    cr_assert_null(val_const(b_map(g, FN_add, DT_NONE, 2, (Val *[]){ in, y })));
    cr_assert_null(val_const(b_iota(g, F32, big[0]))); // over the budget
}
