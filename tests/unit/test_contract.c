// SPDX-License-Identifier: Apache-2.0
// The normal form of contractions: what the walk from a reduce down to buffers finds.
#include "loop/loop.h"

#include <criterion/criterion.h>
#include <string.h>

typedef struct { Graph *g; Lower l; Options opt; } Case;

static Case *start(void) {
    Case *k = NEW(Case);
    k->g = graph_new(NULL);
    return k;
}

static Val *input(Case *k, const char *name, int rank, const int64_t *shape) {
    Ex s[8];
    for (int i = 0; i < rank; i++) s[i] = shape[i] < 0 ? e_sym("batch", 1, INT64_MAX) : e_int(shape[i]);
    return b_input(k->g, name, F32, rank, s);
}
#define INPUT(k, name, ...) input(k, name, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})
#define SHAPE(...) (Ex[]){__VA_ARGS__}

static Val *product(Case *k, Val *a, Val *b) { return b_map(k->g, FN_mul, F32, 2, (Val *[]){a, b}); }

static void lower_of(Case *k) {
    k->l = (Lower){.g = k->g, .opt = &k->opt};
    k->l.prog = NEW(Program);
    k->l.buf = NEWN(Buf *, k->g->nval + 1);
    for (int i = 0; i < k->g->nin; i++) {
        Val *v = k->g->in[i];
        k->l.buf[v->id] = buf_new(k->l.prog, B_INPUT, v->dt, v->rank, v->shape, v->name);
    }
}

static bool find(Case *k, Val *reduce, Contraction *c) {
    lower_of(k);
    return contract_find(&k->l, reduce, c);
}

static int64_t stride(const Contraction *c, int f, Ex var) {
    int64_t s = -1;
    Ex off = buf_offset(c->factor[f].buf, c->factor[f].idx);
    e_is_const(e_sub(e_subst(off, var, e_add(var, e_int(1))), off), &s);
    return s;
}

// [4, 5] x [5, 6]
static Val *matmul_of(Case *k, Val *a, Val *b) {
    Ex m = a->shape[0], n = b->shape[1], s = a->shape[1], one = e_int(1);
    Val *x = b_expand(k->g, b_reshape(k->g, a, 3, SHAPE(m, s, one)), SHAPE(m, s, n));
    Val *y = b_expand(k->g, b_reshape(k->g, b, 3, SHAPE(one, s, n)), SHAPE(m, s, n));
    return b_reduce(k->g, RED_ADD, product(k, x, y), 1, (int[]){1}, false);
}

Test(contract, matmul) {
    Case *k = start();
    Contraction c;
    cr_assert(find(k, matmul_of(k, INPUT(k, "a", 4, 5), INPUT(k, "b", 5, 6)), &c));
    cr_assert_eq(c.nvar, 3);
    cr_assert_eq(c.nred, 1);
    cr_assert_eq(c.nguard, 0);
    cr_assert_eq(stride(&c, 0, c.out[0]), 5);
    cr_assert_eq(stride(&c, 0, c.out[1]), 0);
    cr_assert_eq(stride(&c, 0, c.var[2]), 1);
    cr_assert_eq(stride(&c, 1, c.out[1]), 1);
    cr_assert_eq(stride(&c, 1, c.var[2]), 6);
}

Test(contract, symbolic_rows) {
    Case *k = start();
    Contraction c;
    cr_assert(find(k, matmul_of(k, INPUT(k, "a", -1, 5), INPUT(k, "b", 5, 6)), &c));
    cr_assert_eq(c.nvar, 3);
    cr_assert_eq(stride(&c, 0, c.out[0]), 5);
}

// x [8] padded by 1, windows of 3, times w [3]
static Val *conv1d(Case *k, int64_t step, int64_t dil) {
    Val *x = INPUT(k, "x", 8), *w = INPUT(k, "w", 3);
    Data *d = data_new(F32, 1);
    Val *zero = b_const(k->g, d, 0, NULL);
    Val *p = b_window(k->g, b_pad(k->g, x, 0, e_int(1), e_int(1), zero), 0, e_int(3), e_int(step), e_int(dil));
    w = b_expand(k->g, b_reshape(k->g, w, 2, SHAPE(e_int(1), e_int(3))), p->shape);
    return b_reduce(k->g, RED_ADD, product(k, p, w), 1, (int[]){1}, false);
}

Test(contract, padding_is_a_guard) {
    Case *k = start();
    Contraction c;
    cr_assert(find(k, conv1d(k, 2, 1), &c));
    cr_assert_eq(c.nguard, 1);
    cr_assert(e_is(c.guard[0].n, 8));
    Ex o = c.out[0], j = c.var[1];
    cr_assert_eq(c.guard[0].e, e_add(e_sub(e_scale(o, 2), e_int(1)), j));
    cr_assert_eq(stride(&c, 0, o), 2);
    cr_assert_eq(stride(&c, 0, j), 1);
}

Test(contract, dilation) {
    Case *k = start();
    Contraction c;
    cr_assert(find(k, conv1d(k, 1, 2), &c));
    cr_assert_eq(stride(&c, 0, c.var[1]), 2);
    cr_assert_eq(stride(&c, 1, c.var[1]), 1);
}

// Reading [2, 12] as [2, 3, 4] transposed: the variable of 12 is split in two.
Test(contract, reshape_splits_a_variable) {
    Case *k = start();
    Contraction c;
    Val *a = INPUT(k, "a", 3, 2, 4), *b = INPUT(k, "b", 12, 5);
    a = b_reshape(k->g, b_permute(k->g, a, (int[]){1, 0, 2}), 2, SHAPE(e_int(2), e_int(12)));
    cr_assert(find(k, matmul_of(k, a, b), &c));
    cr_assert_eq(c.nred, 2);
    Ex hi = c.var[c.nvar - 2], lo = c.var[c.nvar - 1];
    cr_assert(e_is(hi->extent, 3));
    cr_assert(e_is(lo->extent, 4));
    cr_assert_eq(stride(&c, 0, hi), 8);
    cr_assert_eq(stride(&c, 0, lo), 1);
    cr_assert_eq(stride(&c, 1, hi), 20);
    cr_assert_eq(stride(&c, 1, lo), 5);
}

// A reshape that no whole number of parts fits: refused.
Test(contract, uneven_reshape_is_refused) {
    Case *k = start();
    Contraction c;
    Val *a = INPUT(k, "a", 6, 4), *b = INPUT(k, "b", 3, 5);
    a = b_reshape(k->g, b_permute(k->g, a, (int[]){1, 0}), 2, SHAPE(e_int(8), e_int(3)));
    Val *x = b_slice(k->g, a, 0, e_int(1), e_int(5), e_int(1));
    cr_assert_not(find(k, matmul_of(k, x, b), &c));
}

Test(contract, unwindow_is_a_sum) {
    Case *k = start();
    Contraction c;
    Val *g = INPUT(k, "g", 8, 3, 4), *w = INPUT(k, "w", 3, 4);
    w = b_expand(k->g, b_reshape(k->g, w, 3, SHAPE(e_int(1), e_int(3), e_int(4))), g->shape);
    Val *p = b_reduce(k->g, RED_ADD, product(k, g, w), 1, (int[]){2}, false);
    Val *y = b_unwindow(k->g, p, 0, e_int(10), e_int(1), e_int(1));
    cr_assert(find(k, y, &c));
    cr_assert_eq(c.nred, 2);
    cr_assert_eq(c.nguard, 1);
    cr_assert_eq(stride(&c, 0, c.out[0]), 12);
}

// y = unwindow of g [8, 3] times w [3, taps], summed over 3, by a stride.
static Val *transposed(Case *k, int64_t taps, int64_t stride) {
    Ex size = e_int((8 - 1) * stride + taps), shape[3] = {e_int(8), e_int(taps), e_int(3)};
    Val *g = INPUT(k, "g", 8, 3), *w = INPUT(k, "w", taps, 3);
    g = b_expand(k->g, b_reshape(k->g, g, 3, SHAPE(e_int(8), e_int(1), e_int(3))), shape);
    w = b_expand(k->g, b_reshape(k->g, w, 3, SHAPE(e_int(1), e_int(taps), e_int(3))), shape);
    Val *p = b_reduce(k->g, RED_ADD, product(k, g, w), 1, (int[]){2}, false);
    return b_unwindow(k->g, p, 0, size, e_int(stride), e_int(1));
}

Test(contract, a_stride_makes_phases) {
    Case *k = start();
    Contraction **p;
    Val *y = transposed(k, 3, 2);
    lower_of(k);
    cr_assert_eq(contract_phases(&k->l, y, &p), 2);
    cr_assert(e_is(p[0]->var[0]->extent, 9) && e_is(p[1]->var[0]->extent, 8));
    cr_assert_eq(p[0]->nred, 2); // taps 0 and 2, channels
    cr_assert_eq(p[1]->nred, 1); // tap 1 only
    cr_assert_eq(stride(p[0], 0, p[0]->var[0]), 3);
    cr_assert_eq(p[0]->nguard, 1);
    cr_assert_eq(p[1]->nguard, 0);
    cr_assert(e_is(e_sub(p[1]->out[0], e_scale(p[1]->var[0], 2)), 1));
}

Test(contract, a_phase_without_taps_is_empty) {
    Case *k = start();
    Contraction **p;
    Val *y = transposed(k, 2, 3);
    lower_of(k);
    cr_assert_eq(contract_phases(&k->l, y, &p), 3);
    cr_assert(!p[0]->empty && !p[1]->empty && p[2]->empty);
}

// The crop of a padding is part of the contraction: phases are those of what is left.
Test(contract, crop_of_phases) {
    Case *k = start();
    Contraction **p;
    Val *y = b_slice(k->g, transposed(k, 3, 2), 0, e_int(1), e_int(15), e_int(1));
    lower_of(k);
    cr_assert_eq(contract_phases(&k->l, y, &p), 2);
    cr_assert(e_is(p[0]->var[0]->extent, 8) && e_is(p[1]->var[0]->extent, 7));
    cr_assert_eq(p[0]->nred, 1);
    cr_assert_eq(p[1]->nred, 2);
    cr_assert_eq(p[0]->nguard + p[1]->nguard, 0); // every tap is inside
}

Test(contract, refusals) {
    Case *k = start();
    Contraction c;
    Val *a = INPUT(k, "a", 4, 5), *b = INPUT(k, "b", 4, 5);
    Val *sum = b_map(k->g, FN_add, F32, 2, (Val *[]){a, b});
    cr_assert_not(find(k, b_reduce(k->g, RED_ADD, sum, 1, (int[]){1}, false), &c));
    cr_assert_not(find(k, b_reduce(k->g, RED_MAX, product(k, a, b), 1, (int[]){1}, false), &c));
    cr_assert_not(find(k, b_reduce(k->g, RED_ADD, a, 1, (int[]){1}, false), &c), "one factor");
    cr_assert_not(find(k, b_reduce(k->g, RED_ADD, product(k, product(k, a, b), b), 1, (int[]){1}, false), &c), "three factors");
}
