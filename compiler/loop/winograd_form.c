// SPDX-License-Identifier: Apache-2.0
// The transforms of Winograd's minimal filtering, by the construction of Cook and Toom: polynomials are
// evaluated at points, multiplied there, and interpolated. F(2,3) uses 0, 1, -1, infinity. F(4,3) uses
// 0, +-2/3, +-3/2, infinity: their products are close to 1, which keeps the error of a layer at twice
// that of a direct sum, a third of what the usual 0, +-1, +-2 give.
#include "loop/winograd.h"
#include <math.h>
#include <string.h>

WinoForm wino_form(int m) {
    WinoForm f = {.m = m, .t = m + 2, .npoint = m / 2, .point = {m == 2 ? 1.0 : 2.0 / 3.0, 1.5}};
    double a[WINO_MAX] = {0};
    int n = f.t - 1; // finite points
    for (int i = 0; i < f.npoint; i++) a[1 + 2 * i] = f.point[i], a[2 + 2 * i] = -f.point[i];
    for (int i = 0; i <= n; i++) { // row i: the product of x - a[k] over the finite points other than i
        double c[WINO_MAX + 1] = {1}, scale = 1;
        int degree = 0;
        for (int k = 0; k < n; k++) {
            if (k == i) continue;
            for (int d = degree++; d >= 0; d--) c[d + 1] += c[d], c[d] *= -a[k];
            if (i < n) scale *= a[i] - a[k];
        }
        memcpy(f.bt[i], c, sizeof f.bt[i]);
        for (int j = 0; j < 3; j++) f.g[i][j] = i == n ? j == 2 : pow(a[i], j) / scale;
    }
    return f;
}

// ---- vectors of the loop tree -----------------------------------------------------------------

static Local *let(Lower *l, Block *b, Sx *value, const Local *like) {
    Local *v = local_new(l, "w", like->dt, like->lanes, true);
    append(b, (Stmt){.kind = ST_LET, .local = v, .value = value});
    return v;
}

static Sx *apply(Fn fn, Sx *a, Sx *b) { return sx_fn(fn, a->dt, 2, (Sx *[]){a, b}); }

// sum + k*x, where sum may be NULL; exact factors of 1 and -1 need no product.
static Sx *plus(Sx *sum, double k, Local *v) {
    Sx *x = sx_local(v, NULL);
    if (k == 0) return sum;
    if (fabs(k) != 1 || (k < 0 && !sum)) x = apply(FN_mul, sx_num(v->dt, (Scalar){.f = sum ? fabs(k) : k}), x);
    return !sum ? x : apply(k < 0 ? FN_sub : FN_add, sum, x);
}

// BT x: of a pair the even powers are the same and the odd ones opposite.
static void input_1d(const WinoForm *f, Lower *l, Block *b, Local *const *x, Local **v) {
    for (int i = 0; i < f->t; i++) {
        bool pair = i >= 1 && i < f->t - 1;
        Sx *part[2] = {NULL, NULL};
        for (int j = f->t - 1; j >= 0; j--) part[pair && j % 2] = plus(part[pair && j % 2], f->bt[i][j], x[j]);
        if (!pair) {
            v[i] = let(l, b, part[0], x[0]);
            continue;
        }
        Sx *even = sx_local(let(l, b, part[0], x[0]), NULL), *odd = sx_local(let(l, b, part[1], x[0]), NULL);
        v[i] = let(l, b, apply(FN_add, even, odd), x[0]);
        v[i + 1] = let(l, b, apply(FN_sub, even, odd), x[0]);
        i++;
    }
}

// AT x: row i sums p^i (x[p] + x[-p]), with a minus where i is odd.
static void output_1d(const WinoForm *f, Lower *l, Block *b, Local *const *x, Local **y) {
    Local *sum[2], *dif[2];
    for (int p = 0; p < f->npoint; p++) {
        Sx *a = sx_local(x[1 + 2 * p], NULL), *c = sx_local(x[2 + 2 * p], NULL);
        sum[p] = let(l, b, apply(FN_add, a, c), x[0]);
        dif[p] = let(l, b, apply(FN_sub, a, c), x[0]);
    }
    for (int i = 0; i < f->m; i++) {
        Sx *s = i == 0 ? sx_local(x[0], NULL) : NULL;
        for (int p = 0; p < f->npoint; p++) s = plus(s, pow(f->point[p], i), i % 2 ? dif[p] : sum[p]);
        if (i == f->m - 1) s = plus(s, 1, x[f->t - 1]);
        y[i] = let(l, b, s, x[0]);
    }
}

typedef void OneD(const WinoForm *f, Lower *l, Block *b, Local *const *x, Local **v);

// Columns, then rows: t*t vectors to n*n.
static void both_ways(const WinoForm *f, OneD *one, int n, Lower *l, Block *b, Local *const *x, Local **v) {
    Local *half[WINO_MAX * WINO_MAX];
    for (int j = 0; j < f->t; j++) {
        Local *col[WINO_MAX], *out[WINO_MAX];
        for (int i = 0; i < f->t; i++) col[i] = x[i * f->t + j];
        one(f, l, b, col, out);
        for (int i = 0; i < n; i++) half[i * f->t + j] = out[i];
    }
    for (int i = 0; i < n; i++) one(f, l, b, half + i * f->t, v + i * n);
}

void wino_input(const WinoForm *f, Lower *l, Block *b, Local *const *x, Local **v) { both_ways(f, input_1d, f->t, l, b, x, v); }

void wino_output(const WinoForm *f, Lower *l, Block *b, Local *const *x, Local **y) { both_ways(f, output_1d, f->m, l, b, x, y); }

// ---- numbers ----------------------------------------------------------------------------------

void wino_filter(const WinoForm *f, const double w[9], double *u) {
    double half[WINO_MAX][3];
    for (int i = 0; i < f->t; i++)
        for (int j = 0; j < 3; j++) half[i][j] = f->g[i][0] * w[j] + f->g[i][1] * w[3 + j] + f->g[i][2] * w[6 + j];
    for (int i = 0; i < f->t; i++)
        for (int j = 0; j < f->t; j++) u[i * f->t + j] = f->g[j][0] * half[i][0] + f->g[j][1] * half[i][1] + f->g[j][2] * half[i][2];
}

static double at(const WinoForm *f, int i, int j) { // |AT|
    if (j == 0) return i == 0;
    return j == f->t - 1 ? i == f->m - 1 : pow(f->point[(j - 1) / 2], i);
}

double wino_growth(const WinoForm *f, const double *u) {
    double row[WINO_MAX] = {0}, most = 0;
    for (int i = 0; i < f->t; i++)
        for (int j = 0; j < f->t; j++) row[i] += fabs(f->bt[i][j]);
    for (int y = 0; y < f->m; y++)
        for (int x = 0; x < f->m; x++) {
            double sum = 0;
            for (int i = 0; i < f->t; i++)
                for (int j = 0; j < f->t; j++) sum += at(f, y, i) * at(f, x, j) * u[i * f->t + j] * row[i] * row[j];
            most = sum > most ? sum : most;
        }
    return most;
}
