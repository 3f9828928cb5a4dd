// SPDX-License-Identifier: Apache-2.0
// Attention, as found on the DAG and as it is lowered: attention.c, attention_nest.c.
#ifndef CNNCC_ATTENTION_H
#define CNNCC_ATTENTION_H
#include "loop/loop.h"

struct Attention {
    Val *y;        // reduce(add, mul(p, v)) over the keys
    Val *p;        // the probabilities, which views lead to from the product
    Val *v;        // the values, below views
    Val *s;        // what the softmax is of
    int axis;      // of s, along the keys
    bool zero_row; // a row of -inf gives 0, else NaN
    bool nan_zero; // a row of NaN gives 0
    int slot;      // fuse's
    Val *scores;   // the reduce that is evaluated inside s; NULL: none
};

void attention_find(Lower *l);                     // sets attention, by the ids of y and p
bool attention_nest(Lower *l, Root *r, Block *b);  // false: r is none, or has no good form
#endif
