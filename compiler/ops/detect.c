// SPDX-License-Identifier: Apache-2.0
// NonMaxSuppression: for all batches and classes together, a loop that selects the best box left and
// drops what overlaps it. B batches, C classes, N boxes.
#include "ops/op.h"

#include <math.h>

// Edges of boxes, lo <= hi in each of two directions, and areas: [B, 1, N].
typedef struct {
    Val *lo[2], *hi[2], *area;
} Boxes;

static Val *column(Op *o, Val *boxes, int64_t i) { return unsqueeze(o, squeeze(o, slice1(o, boxes, 2, i), 2), 1); }

// boxes [B, N, 4]: two opposite corners, or center and size
static Boxes box_edges(Op *o, Val *boxes, bool center) {
    Boxes b;
    for (int k = 0; k < 2; k++) {
        Val *p = column(o, boxes, k), *q = column(o, boxes, k + 2);
        if (center) {
            Val *half = divide(o, q, like(o, q, 2));
            b.lo[k] = sub(o, p, half);
            b.hi[k] = add(o, p, half);
        } else {
            b.lo[k] = map2(o, FN_min, p, q);
            b.hi[k] = map2(o, FN_max, p, q);
        }
    }
    b.area = mul(o, sub(o, b.hi[0], b.lo[0]), sub(o, b.hi[1], b.lo[1]));
    return b;
}

// Of x [B, 1, N] the element at index [B, C]: [B, C, 1]
static Val *pick(Op *o, Val *x, Val *index) {
    Val *row = squeeze(o, x, 1);
    return unsqueeze(o, b_gather(o->g, row, index, 1), 2);
}

// Whether intersection / union > limit, of the boxes at index [B, C] with all: [B, C, N]
static Val *overlaps(Op *o, const Boxes *b, Val *index, Val *limit) {
    Val *inter = NULL, *zero = like(o, b->area, 0), *positive = NULL;
    for (int k = 0; k < 2; k++) {
        Val *from = map2(o, FN_max, pick(o, b->lo[k], index), b->lo[k]);
        Val *to = map2(o, FN_min, pick(o, b->hi[k], index), b->hi[k]);
        Val *length = sub(o, to, from), *some = greater(o, length, zero);
        inter = inter ? mul(o, inter, length) : length;
        positive = positive ? map2(o, FN_and, positive, some) : some;
    }
    Val *area = pick(o, b->area, index), *all = sub(o, add(o, area, b->area), inter);
    Val *valid = map2(o, FN_and, greater(o, area, zero), greater(o, b->area, zero));
    positive = map2(o, FN_and, positive, map2(o, FN_and, valid, greater(o, all, zero)));
    return map2(o, FN_and, positive, greater(o, divide(o, inter, all), limit));
}

// A number from an optional input of one element.
static Val *number_or(Op *o, int input, DType dt, double none) {
    if (input >= o->nin || !o->in[input]) return scalar(o, dt, none);
    return reshape(o, o->in[input], 0, NULL);
}

// The trip in which each box is selected, [B, C, N]; 2^31 for those that are not. alive: what may be.
static Val *select_boxes(Op *o, Val *boxes, Val *scores, Val *alive, Val *trips, Val *limit) {
    Val *never = full(o, I64, 0x1p31, 3, scores->shape), *carry[2] = {alive, never}, *cap[3] = {boxes, scores, limit};
    Op in = *o;
    in.g = b_loop_body(o->g);
    Val *i = in.g->in[0];
    Val *left = b_param(in.g, alive), *order = b_param(in.g, never), *inner[3];
    for (int k = 0; k < 3; k++) inner[k] = b_param(in.g, cap[k]);
    Boxes b = box_edges(&in, inner[0], attr_int(o, "center_point_box") != 0);
    Val *score = select(&in, left, inner[1], like(&in, inner[1], -INFINITY));
    Val *best = b_reduce(in.g, RED_ARGMAX, score, 1, (int[]){2}, false);
    Val *is_best = map2(&in, FN_eq, index_along(&in, I64, 2, 3, left->shape), unsqueeze(&in, best, 2));
    Val *chosen = map2(&in, FN_and, is_best, left); // nothing, where nothing is left
    Val *gone = map2(&in, FN_or, is_best, overlaps(&in, &b, best, inner[2]));
    Val *next = map2(&in, FN_and, left, map1(&in, FN_not, gone));
    graph_output(in.g, reduce(&in, RED_OR, next, -1, NULL, false), "cond");
    graph_output(in.g, next, "left");
    graph_output(in.g, select(&in, chosen, i, order), "order");
    return &b_loop(o->g, trips, scalar_int(o, BOOL, 1), 2, carry, 3, cap, in.g)->out[1];
}

// y = [batch, class, box] of the boxes selected, by batch, class, and from the best score down
static void non_max_suppression(Op *o) {
    Val *boxes = o->in[0], *scores = o->in[1];
    if (boxes->rank != 3 || scores->rank != 3 || !e_is(dim(boxes, 2), 4))
        op_fail(o, "needs boxes [B, N, 4] and scores [B, C, N]");
    Ex n = dim(scores, 2), one = e_int(1), total = numel(scores);
    Val *most = map2(o, FN_min, number_or(o, 2, I64, 0), b_dims(o->g, I64, 0, NULL, &n));
    bool threshold = o->nin > 4 && o->in[4];
    Val *alive = threshold ? greater(o, scores, number_or(o, 4, F32, 0)) : full(o, BOOL, 1, 3, scores->shape);
    Val *order = select_boxes(o, boxes, scores, alive, most, number_or(o, 3, F32, 0)), *rank, *box;
    sort(o, order, 2, false, &rank, &box);
    Val *chosen = map2(o, FN_lt, rank, scalar_int(o, I64, INT64_C(1) << 31));
    Val *at = true_indices(o, reshape(o, chosen, 1, &total));
    Val *length = b_dims(o->g, I64, 0, NULL, &n), *classes = b_dims(o->g, I64, 0, NULL, (Ex[]){dim(scores, 1)});
    Val *row = divide(o, at, length);
    Val *col[3] = {divide(o, row, classes), map2(o, FN_mod, row, classes), take(o, reshape(o, box, 1, &total), at, 0)};
    for (int k = 0; k < 3; k++) col[k] = reshape(o, col[k], 2, (Ex[]){dim(at, 0), one});
    o->out[0] = concat(o, 3, col, 1);
}

const OpDef ops_detect[] = {{"NonMaxSuppression", 10, non_max_suppression}, {NULL, 0, NULL}};
