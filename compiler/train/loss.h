// SPDX-License-Identifier: Apache-2.0
// What the losses of loss_kinds.c are made with: the compared output, the options in brackets, and
// where the result goes.
#ifndef CNNCC_LOSS_H
#define CNNCC_LOSS_H
#include "train/train.h"

enum { MAX_CLASS_WEIGHTS = 65536 };

typedef enum { REDUCE_MEAN, REDUCE_SUM, REDUCE_BATCHMEAN } LossReduction;

typedef struct {
    Graph *g;
    Val *y;               // the output that is compared
    const char *target;   // the name of the input
    LossReduction reduction;
    double smoothing, beta, delta, pos_weight;
    bool has_ignore, log_target;
    int64_t ignore;
    const double *weight; // by class, or NULL
    int nweight;
    Val *loss, *root, *seed; // results: see Loss
    Val *correct;
    bool quiet;           // notes were given before
} Maker;

typedef struct { const char *name; void (*make)(Maker *m); const char *options; } LossKind; // options: a blank-separated list
extern const LossKind loss_kinds[]; // ends with a name NULL

// The input m->target, of y's shape, without the axis `drop` if that is not negative.
Val *target_input(Maker *m, DType dt, const Val *y, int drop);
#endif
