// SPDX-License-Identifier: Apache-2.0
// Types of values that are no tensors: sequences, optionals and maps. Such a value's rank and shape are
// its items': an extent of -1 differs from item to item.
#include "cnncc.h"

Val list_type(Kind kind, Kind item, DType dt, int rank, const Ex *shape) {
    Val v = {.kind = kind, .item = item, .dt = dt, .rank = rank};
    Ex *own = NEWN(Ex, rank > 0 ? rank : 1);
    int64_t c;
    for (int i = 0; i < rank; i++) own[i] = e_is_const(shape[i], &c) ? shape[i] : e_int(-1);
    v.shape = own;
    return v;
}

// The type of what is one of the two.
Val list_join(const Val *a, const Val *b) {
    if (a->rank == RANK_NO_ITEMS || b->rank == RANK_NO_ITEMS) return a->rank == RANK_NO_ITEMS ? *b : *a;
    Val v = *a;
    if (a->rank != b->rank) v.rank = -1;
    Ex *shape = NEWN(Ex, v.rank > 0 ? v.rank : 1);
    for (int i = 0; i < v.rank; i++) shape[i] = a->shape[i] == b->shape[i] ? a->shape[i] : e_int(-1);
    v.shape = shape;
    return v;
}

bool list_same_type(const Val *a, const Val *b) {
    return a->kind == b->kind && a->item == b->item && a->dt == b->dt && a->key == b->key && val_same_shape(a, b);
}
