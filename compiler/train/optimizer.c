// SPDX-License-Identifier: Apache-2.0
// Steps of optimizers, as functions of a parameter, its gradient and numbers that the caller gives.
#include "train/train.h"

#include <string.h>

bool optimizer_known(const Options *opt) {
    if (!opt->optimizer || !strcmp(opt->optimizer, "sgd")) return true;
    error("--optimizer: there is no optimizer '%s': sgd", opt->optimizer);
    return false;
}

// w - lr*g, in at least float32
Val *optimizer_step(Graph *g, Val *w, Val *grad, Val *lr) {
    DType dt = w->dt == F64 ? F64 : F32;
    Val *rate = stretch(g, cast_to(g, lr, dt), w->rank, w->shape);
    Val *step = fn2(g, FN_mul, rate, cast_to(g, grad, dt));
    return cast_to(g, fn2(g, FN_sub, cast_to(g, w, dt), step), w->dt);
}
