// SPDX-License-Identifier: Apache-2.0
// Winograd's minimal filtering, shared by winograd.c (which contractions, what they cost, the loops) and
// winograd_form.c (the transforms).
#ifndef CNNCC_WINOGRAD_H
#define CNNCC_WINOGRAD_H
#include "loop/tile.h"

enum { WINO_MAX = 6 };

// F(m,3): y = AT ((G w) . (BT x)) for a row of m outputs from t = m + 2 inputs (Lavin and Gray 2016), by the
// points 0, +-p..., infinity: the rows of BT and the columns of AT stand in pairs of opposite points.
typedef struct {
    int m, t;
    double point[2]; int npoint; // p of the pairs
    double bt[WINO_MAX][WINO_MAX], g[WINO_MAX][3];
} WinoForm;
WinoForm wino_form(int m); // m 2 or 4

// The t*t vectors of BT x B, or the m*m of AT x A, from the t*t of x, as fresh locals of b; row-major.
void wino_input(const WinoForm *f, Lower *l, Block *b, Local *const *x, Local **v);
void wino_output(const WinoForm *f, Lower *l, Block *b, Local *const *x, Local **y);
// u[t*t] = G w GT of one 3x3 filter, row-major
void wino_filter(const WinoForm *f, const double w[9], double *u);
// What the transforms may amplify: the sum of |AT| (|u| . |BT| 1 |B|) |A|, its largest element; u: |u| summed over channels.
double wino_growth(const WinoForm *f, const double *u);
#endif
