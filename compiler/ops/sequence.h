// SPDX-License-Identifier: Apache-2.0
// Sequences that are known when compiling: a node whose operands are the items.
#ifndef CNNCC_SEQUENCE_H
#define CNNCC_SEQUENCE_H
#include "ops/op.h"

Val *sequence_new(Graph *g, Kind kind, DType dt, int n, Val *const *item); // K_SEQ, or K_OPT of one item or none
bool sequence_known(const Val *s);
Val *sequence_run(Graph *g, Val *s); // the same as a value that the run has; what is one stays
Val *optional_value(Op *o, Val *x);  // what an optional holds; anything else is itself
#endif
