// SPDX-License-Identifier: Apache-2.0
// Inside of simplify: rules over one value. Each gives a value that stands for v, or NULL.
#ifndef CNNCC_SIMPLIFY_H
#define CNNCC_SIMPLIFY_H
#include "cnncc.h"

extern bool simplify_exact; // --exact: sums keep their order
extern int simplify_dot;    // bits of the target's sums of products of integers; 0: no such forms
typedef Val *Rule(Graph *g, Val *v);
Val *simplify_value(Graph *g, Val *v);            // v through all rules until none holds
Val *splat_of(Graph *g, DType dt, int rank, const Ex *shape, Scalar s);
bool is_splat(const Val *v, Scalar *s);           // every element is s, whatever the shape

// simplify_map.c, simplify_view.c, simplify_reduce.c, integer.c
Rule rules_map, rules_view, rules_reduce, rules_integer;
#endif
