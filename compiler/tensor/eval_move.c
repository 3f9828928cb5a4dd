// SPDX-License-Identifier: Apache-2.0
// The interpreter's primitives that move elements: pad, concat, gather, scatter.
#include "tensor/eval.h"
#include <string.h>

static bool same_element(const View *a, const View *b) {
    return a->dt != STR && !memcmp(view_at(a, 0), view_at(b, 0), dt_size(a->dt));
}

// A view of x's first element in another shape, where every element is known to be that.
static View *splat_of(View *x, const int64_t *shape) { return view_of(x, x->rank, shape); }

View *eval_pad(Eval *e, const Node *n, View *x, View *value, const int64_t *shape) {
    int64_t lo, hi;
    if (!eval_ex(e, n->ex[0], &lo) || !eval_ex(e, n->ex[1], &hi)) return NULL;
    if (lo < 0 || hi < 0 || x->shape[n->axis] + lo + hi != shape[n->axis]) {
        eval_fail(e, CNN_ESHAPE);
        return NULL;
    }
    if (view_is_splat(x) && same_element(x, value)) return splat_of(x, shape);
    View *r = view_new(e, x->dt, x->rank, shape);
    if (!r) return NULL;
    int64_t part[MAX_RANK];
    memcpy(part, shape, sizeof part);
    View *fill = view_of(value, x->rank, part);
    for (int side = 0; side < 2; side++) {
        fill->shape[n->axis] = side ? hi : lo;
        if (fill->shape[n->axis]) copy_view(r, side ? r->stride[n->axis] * (lo + x->shape[n->axis]) : 0, r->stride, fill);
    }
    view_drop(fill);
    copy_view(r, r->stride[n->axis] * lo, r->stride, x);
    return r;
}

View *eval_concat(Eval *e, const Node *n, View *const *x, const int64_t *shape) {
    int64_t total = 0;
    bool splat = true;
    for (int i = 0; i < n->nin; i++) {
        for (int k = 0; k < x[i]->rank; k++) {
            if (k == n->axis || x[i]->shape[k] == shape[k]) continue;
            eval_fail(e, CNN_ESHAPE);
            return NULL;
        }
        total += x[i]->shape[n->axis];
        splat = splat && view_is_splat(x[i]) && same_element(x[i], x[0]);
    }
    if (total != shape[n->axis]) {
        eval_fail(e, CNN_ESHAPE);
        return NULL;
    }
    if (splat) return splat_of(x[0], shape);
    View *r = view_new(e, x[0]->dt, x[0]->rank, shape);
    int64_t at = 0;
    for (int i = 0; i < n->nin && r; i++) {
        copy_view(r, at * r->stride[n->axis], r->stride, x[i]);
        at += x[i]->shape[n->axis];
    }
    return r;
}

// Whether an index tensor fits x: the same shape off the axis.
static bool fits(Eval *e, const Node *n, const View *x, const View *index) {
    bool ok = x->rank == index->rank;
    for (int k = 0; k < x->rank && ok; k++) ok = k == n->axis || x->shape[k] == index->shape[k];
    if (!ok) eval_fail(e, CNN_ESHAPE);
    return ok;
}

static bool in_range(Eval *e, int64_t i, int64_t n) {
    if (i >= 0 && i < n) return true;
    eval_fail(e, CNN_EINDEX);
    return false;
}

View *eval_gather(Eval *e, const Node *n, View *x, View *index) {
    bool same[MAX_RANK];
    if (!fits(e, n, x, index)) return NULL;
    for (int k = 0; k < x->rank; k++) same[k] = index->stride[k] == 0 && (k == n->axis || x->stride[k] == 0);
    View *r = view_new_compact(e, x->dt, x->rank, index->shape, same);
    if (!r) return NULL;
    int64_t sx[MAX_RANK], shape[MAX_RANK], step = x->stride[n->axis], end = x->shape[n->axis];
    for (int k = 0; k < x->rank; k++) {
        sx[k] = k == n->axis ? 0 : x->stride[k];
        shape[k] = same[k] && r->shape[k] ? 1 : r->shape[k];
    }
    Walk w;
    size_t size = dt_size(x->dt);
    walk_init(&w, x->rank, shape, 3, (const int64_t *const[]){ r->stride, index->stride, sx });
    WALK(w) {
        int64_t i = scalar_load(index->dt, view_at(index, w.at[1])).i;
        if (!w.step[1]) { // one index for the row
            if (!in_range(e, i, end)) break;
            copy_row(size, view_at(r, w.at[0]), w.step[0], view_at(x, w.at[2] + i * step), w.step[2], w.n);
            continue;
        }
        for (int64_t k = 0; k < w.n; k++) {
            i = scalar_load(index->dt, view_at(index, w.at[1] + k * w.step[1])).i;
            if (!in_range(e, i, end)) break;
            memcpy(view_at(r, w.at[0] + k * w.step[0]), view_at(x, w.at[2] + k * w.step[2] + i * step), size);
        }
        if (e->status) break;
    }
    if (!e->status) return r;
    view_drop(r);
    return NULL;
}

View *eval_scatter(Eval *e, const Node *n, View *x, View *index, View *upd) {
    if (!fits(e, n, x, index) || !fits(e, n, x, upd)) return NULL;
    View *r = view_new(e, x->dt, x->rank, x->shape);
    if (!r) return NULL;
    copy_view(r, 0, r->stride, x);
    int64_t sr[MAX_RANK], step = r->stride[n->axis], end = x->shape[n->axis];
    for (int k = 0; k < x->rank; k++) sr[k] = k == n->axis ? 0 : r->stride[k];
    Walk w;
    walk_init(&w, x->rank, index->shape, 3, (const int64_t *const[]){ sr, index->stride, upd->stride });
    WALK(w) {
        for (int64_t k = 0; k < w.n; k++) {
            int64_t i = scalar_load(index->dt, view_at(index, w.at[1] + k * w.step[1])).i;
            if (!in_range(e, i, end)) break;
            char *to = view_at(r, w.at[0] + k * w.step[0] + i * step);
            Scalar v = scalar_load(x->dt, view_at(upd, w.at[2] + k * w.step[2]));
            scalar_store(x->dt, to, red_step((Red)n->fn, x->dt, scalar_load(x->dt, to), v));
        }
        if (e->status) break;
    }
    if (!e->status) return r;
    view_drop(r);
    return NULL;
}
