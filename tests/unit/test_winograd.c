// SPDX-License-Identifier: Apache-2.0
// The transforms of Winograd's minimal filtering, in double against the filter itself.
#include "loop/winograd.h"

#include <criterion/criterion.h>
#include <math.h>

static double pseudo(unsigned *s) {
    *s = *s * 1664525u + 1013904223u;
    return (double)(*s >> 8) / (1 << 23) - 1;
}

// AT by the points, row-major m x t.
static double output(const WinoForm *f, int i, int j) {
    if (j == 0) return i == 0;
    if (j == f->t - 1) return i == f->m - 1;
    double p = f->point[(j - 1) / 2];
    return pow(j % 2 ? p : -p, i);
}

static void check(int m) {
    WinoForm f = wino_form(m);
    unsigned seed = 5;
    double x[6][6], w[9], u[36], v[6][6] = {{0}}, half[6][6] = {{0}};
    for (int i = 0; i < f.t; i++)
        for (int j = 0; j < f.t; j++) x[i][j] = pseudo(&seed);
    for (int i = 0; i < 9; i++) w[i] = pseudo(&seed);
    wino_filter(&f, w, u);
    for (int i = 0; i < f.t; i++)
        for (int j = 0; j < f.t; j++)
            for (int k = 0; k < f.t; k++) half[i][j] += f.bt[i][k] * x[k][j];
    for (int i = 0; i < f.t; i++)
        for (int j = 0; j < f.t; j++)
            for (int k = 0; k < f.t; k++) v[i][j] += half[i][k] * f.bt[j][k];
    for (int y = 0; y < m; y++)
        for (int z = 0; z < m; z++) {
            double got = 0, want = 0;
            for (int i = 0; i < f.t; i++)
                for (int j = 0; j < f.t; j++) got += output(&f, y, i) * output(&f, z, j) * u[i * f.t + j] * v[i][j];
            for (int i = 0; i < 3; i++)
                for (int j = 0; j < 3; j++) want += w[3 * i + j] * x[y + i][z + j];
            cr_assert_float_eq(got, want, 1e-13, "F(%d,3) at %d,%d: %g, not %g", m, y, z, got, want);
        }
}

Test(winograd, two) { check(2); }
Test(winograd, four) { check(4); }

// The growth of one filter that sums nine equal weights, worked out by hand for F(2,3).
Test(winograd, growth) {
    WinoForm f = wino_form(2);
    double w[9], u[16];
    for (int i = 0; i < 9; i++) w[i] = 1;
    wino_filter(&f, w, u);
    for (int i = 0; i < 16; i++) u[i] = fabs(u[i]);
    // rows of |BT| sum to 2; G w GT is the product of (1, 3/2, 1/2, 1); output 0 sums the parts 0, 1, 2: (1 + 3/2 + 1/2)^2 * 4
    cr_assert_float_eq(wino_growth(&f, u), 36, 1e-12);
}
