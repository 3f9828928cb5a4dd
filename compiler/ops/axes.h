// SPDX-License-Identifier: Apache-2.0
// Axes that only the run knows: axes.c.
#ifndef CNNCC_AXES_H
#define CNNCC_AXES_H
#include "ops/op.h"

// Whether an input holds axes that are not all known when compiling.
bool axes_at_run(Op *o, int input);

// none [rank] with value (a scalar, or one for each of axes) at the axes.
Val *axis_vector(Op *o, Val *none, Val *axes, Val *value);

// bool [rank]: which axes are among them.
Val *axis_mask(Op *o, Val *axes, int rank);

// Element i of a vector of extents, at most `most`.
Ex axis_extent(Val *extents, int i, Ex most);

// The extents of the n axes of x that the mask leaves out, in order.
void kept_extents(Op *o, const Val *x, Val *mask, int n, Ex *shape);

// x as a matrix: rows count through the axes outside of the mask, columns through those inside, row-major.
Val *rows_over(Op *o, Val *x, Val *mask);

// What x's shape becomes when the axes are reduced: its rank.
int reduced_shape(Op *o, const Val *x, Val *axes, Val *mask, bool keep, Ex *shape);

// The operator fn, whose input `input` is one axis of `rank`, the first naxes of which are allowed: a branch for each.
void by_axis(Op *o, int input, int rank, int naxes, OpFn *fn);
#endif
