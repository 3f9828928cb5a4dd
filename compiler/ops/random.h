// SPDX-License-Identifier: Apache-2.0
#ifndef CNNCC_RANDOM_H
#define CNNCC_RANDOM_H
#include "ops/op.h"

// What NumPy's RandomState(seed) gives, F64: random_sample(shape), or standard_normal(shape). mt19937.c
Val *numpy_random(Op *o, bool normal, int64_t seed, int rank, const Ex *shape);
#endif
