// SPDX-License-Identifier: Apache-2.0
#include "cnncc.h"

#include <criterion/criterion.h>

static Val *ints(Graph *g, int n, const int64_t *v) {
    Ex e[8], shape = e_int(n);
    for (int i = 0; i < n; i++) e[i] = e_int(v[i]);
    return b_dims(g, I64, 1, &shape, e);
}

Test(build, equal_nodes_are_one) {
    Graph *g = graph_new(NULL);
    Ex n = e_sym("N", 1, 9);
    Val *x = b_input(g, "x", F32, 1, &n);
    cr_assert_eq(b_map(g, FN_exp, DT_NONE, 1, &x), b_map(g, FN_exp, DT_NONE, 1, &x));
    cr_assert_neq(b_map(g, FN_exp, DT_NONE, 1, &x), b_map(g, FN_sin, DT_NONE, 1, &x));
    cr_assert_neq(b_random(g, 1, &n, 0, false), b_random(g, 1, &n, 0, false));
}

Test(build, shape_arithmetic_folds) {
    Graph *g = graph_new(NULL);
    Ex n = e_sym("N", 1, 9), two = e_int(2), e[2] = { n, e_int(3) };
    Val *d = b_dims(g, I64, 1, &two, e), *c = ints(g, 2, (int64_t[]){ 2, 5 });
    Val *p = b_map(g, FN_mul, DT_NONE, 2, (Val *[]){ d, c });
    cr_assert_eq(p->elems[0], e_scale(n, 2));
    cr_assert(e_is(p->elems[1], 15));
    int axis = 0;
    Val *r = b_reduce(g, RED_MUL, p, 1, &axis, false);
    cr_assert_eq(r->elems[0], e_scale(n, 30));
}

Test(build, unprovable_sizes_are_guarded) {
    Graph *g = graph_new(NULL);
    Ex n = e_sym("N", 1, 9), m = e_sym("M", 1, 9);
    Val *x = b_input(g, "x", F32, 1, &n);
    b_reshape(g, x, 1, &m);
    cr_assert_eq(g->nguard, 1);
    cr_assert_eq(g->guard[0].kind, G_EQ);
    Ex shape[2] = { n, e_int(1) };
    b_reshape(g, x, 2, shape);
    cr_assert_eq(g->nguard, 1);
}

Test(build, refuted_sizes_end, .exit_code = 1) {
    Graph *g = graph_new(NULL);
    Ex n = e_int(6), m = e_int(5);
    b_reshape(g, b_input(g, "x", F32, 1, &n), 1, &m);
}

Test(build, a_hundred_thousand_nodes) {
    Graph *g = graph_new(NULL);
    Ex n = e_int(2);
    Val *x = b_input(g, "x", F32, 1, &n), *v = x;
    for (int i = 0; i < 100000; i++) v = b_map(g, i % 2 ? FN_sin : FN_add, DT_NONE, i % 2 ? 1 : 2, (Val *[]){ v, x });
    graph_output(g, v, "y");
    Options opt = { 0 };
    graph_verify(g);
    pass_fold(g, &opt);
    pass_simplify(g, &opt);
    g = graph_rebuild(g);
    graph_verify(g);
    Tensor in = { .dt = F32, .rank = 1, .shape = { 2 }, .data = data_new(F32, 2) }, *ins = &in, *out;
    cr_assert_eq(eval_graph(g, 1, &ins, 1, &out), 0);
}
