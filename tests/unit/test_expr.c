// SPDX-License-Identifier: Apache-2.0
#include "cnncc.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static Ex N, M;

static void symbols(void) {
    N = e_sym("N", 1, 100);
    M = e_sym("M", 0, INT64_MAX);
}

TestSuite(expr, .init = symbols);

Test(expr, canonical_forms_have_one_address) {
    Ex a = e_mul(e_add(N, e_int(1)), e_add(N, e_int(-1))), b = e_sub(e_mul(N, N), e_int(1));
    cr_assert_eq(a, b);
    cr_assert_eq(e_add(e_mul(N, M), e_mul(M, N)), e_scale(e_mul(N, M), 2));
    cr_assert(e_is(e_sub(e_add(N, M), e_add(M, N)), 0));
    cr_assert_eq(e_div(e_mul(N, M), N), M);
    cr_assert(e_is(e_mod(e_scale(N, 6), e_int(3)), 0));
    cr_assert(e_is(e_div(e_int(-7), e_int(2)), -4)); // floor
    cr_assert(e_is(e_mod(e_int(-7), e_int(2)), 1));
    cr_assert(e_is(e_ceil_div(e_int(7), e_int(2)), 4));
}

Test(expr, intervals_prove) {
    cr_assert(e_lt(e_int(0), N));
    cr_assert(e_le(N, e_int(100)));
    cr_assert(!e_lt(N, M));
    cr_assert_eq(e_min(N, e_int(200)), N);
    cr_assert_eq(e_max(N, e_int(1)), N);
    Ex i = e_index("i", N);
    cr_assert(e_lt(i, N));
    cr_assert(e_ge0(e_sub(e_sub(N, e_int(1)), i)));
}

Test(expr, clipped_slices_are_no_longer_than_what_they_cut) {
    Ex n = e_int(128), cut = e_sub(e_min(n, e_add(N, M)), e_min(n, M)); // of [M, N + M) in an axis of 128
    cr_assert(e_ge0(cut));
    cr_assert(e_le(cut, N));
    cr_assert(!e_le(N, cut));
    cr_assert_eq(e_max(N, cut), N);
    cr_assert_eq(e_max(e_int(0), cut), cut);
    cr_assert_eq(e_max(e_add(N, M), e_min(n, e_add(N, M))), e_add(N, M));
    cr_assert(!e_ge0(e_sub(e_min(n, N), e_min(n, M))));
}

static int64_t value(Ex var, void *ctx) {
    int64_t *v = ctx;
    return var == N ? v[0] : v[1];
}

// Building in another order, substituting and evaluating agree.
Test(expr, evaluation_agrees_with_substitution) {
    srand(1);
    for (int round = 0; round < 2000; round++) {
        Ex e = N;
        for (int i = 0; i < 6; i++) {
            Ex o = rand() % 2 ? M : e_int(rand() % 9 + 1);
            switch (rand() % 6) {
            case 0: e = e_add(e, o); break;
            case 1: e = e_sub(e, o); break;
            case 2: e = e_mul(e, o); break;
            case 3: e = e_div(e, e_int(rand() % 5 + 1)); break;
            case 4: e = e_mod(e, e_int(rand() % 5 + 1)); break;
            default: e = e_min(e, o);
            }
        }
        int64_t v[2] = { rand() % 100 + 1, rand() % 50 }, c;
        Ex by = e_subst_all(e, 2, (Ex[]){ N, M }, (Ex[]){ e_int(v[0]), e_int(v[1]) });
        cr_assert(e_is_const(by, &c), "%s", e_str(e));
        cr_assert_eq(c, e_eval(e, value, v), "%s at %lld, %lld", e_str(e), (long long)v[0], (long long)v[1]);
        cr_assert(e->lo <= c && c <= e->hi, "%s", e_str(e));
    }
}

Test(expr, sides_halved_and_doubled_again_are_no_shorter) {
    Ex half = e_ceil_div(N, e_int(2)), quarter = e_ceil_div(half, e_int(2)), eighth = e_ceil_div(quarter, e_int(2));
    cr_assert_eq(e_max(N, e_scale(half, 2)), e_scale(half, 2));
    cr_assert_eq(e_max(e_scale(eighth, 8), N), e_scale(eighth, 8));
    cr_assert(e_le(e_scale(e_div(N, e_int(3)), 3), N));
    cr_assert(!e_le(e_scale(half, 2), N));
    cr_assert(!e_le(N, e_scale(e_div(N, e_int(2)), 2)));
}
