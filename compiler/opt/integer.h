// SPDX-License-Identifier: Apache-2.0
// What is known of small integers, and the forms of sums of their products (integer.c, dot.c).
#ifndef CNNCC_INTEGER_H
#define CNNCC_INTEGER_H
#include "cnncc.h"

typedef struct { double lo, hi; } Interval;
bool integer_interval(const Val *v, Interval *r);                       // the values that v's elements may have; false: not known to be small
double integer_bound(const Val *a, const Val *b, const bool *sum);      // the most that the sum of a*b over the marked axes may be in absolute value; -1: unknown
Val *dot_sum(Graph *g, Val *a, Val *b, const bool *sum);                // that sum of I32 values by dot2 or dot4; NULL: it has no such form
Val *only_element(Graph *g, Val *t);                                     // the one element that t repeats, as a scalar; NULL: there are more
Val *scalar_like(Graph *g, Val *x, const Val *y);                            // a scalar in the shape of y
bool dot_possible(Graph *g, Val *a, Val *b, const bool *sum);           // whether it has, whatever the target
#endif
