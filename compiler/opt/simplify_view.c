// SPDX-License-Identifier: Apache-2.0
// Rules over what moves elements: reshape, permute, slice, pad, concat, window, gather, scatter.
#include "opt/simplify.h"
#include <string.h>

static Val *slice(Graph *g, Val *x, int axis, Ex start, Ex size, Ex step) {
    return simplify_value(g, b_slice(g, x, axis, start, size, step));
}

static bool same_ex(int n, const Ex *a, const Ex *b) {
    for (int i = 0; i < n; i++)
        if (a[i] != b[i]) return false;
    return true;
}


// ---- permute ------------------------------------------------------------------------------------------

// A permutation that leaves the order of the axes of extents other than 1 is a reshape.
static Val *permute_of_ones(Graph *g, Val *v) {
    int64_t last = -1, axis = 0;
    for (int i = 0; i < v->rank; i++) {
        if (e_is(v->shape[i], 1)) continue;
        e_is_const(v->node->ex[i], &axis);
        if (axis < last) return NULL;
        last = axis;
    }
    return b_reshape(g, v->node->in[0], v->rank, v->shape);
}

// ---- slice ----------------------------------------------------------------------------------------------

static Val *slice_of_slice(Graph *g, Val *v, const Node *m) {
    const Node *n = v->node;
    if (m->axis != n->axis) return NULL;
    Ex start = e_add(m->ex[0], e_mul(n->ex[0], m->ex[1]));
    return slice(g, m->in[0], n->axis, start, v->shape[n->axis], e_mul(n->ex[1], m->ex[1]));
}

// First and last place that a slice takes; false where the sign of its step is unknown.
static bool slice_ends(const Val *v, Ex *lo, Ex *hi) {
    const Node *n = v->node;
    Ex last = e_add(n->ex[0], e_mul(e_sub(v->shape[n->axis], e_int(1)), n->ex[1]));
    bool up = e_ge0(n->ex[1]);
    *lo = up ? n->ex[0] : last;
    *hi = up ? last : n->ex[0];
    return (up || e_ge0(e_scale(n->ex[1], -1))) && e_lt(e_int(0), v->shape[n->axis]);
}

static Val *slice_of_pad(Graph *g, Val *v, const Node *m) {
    const Node *n = v->node;
    const Val *x = m->in[0];
    Ex lo, hi, size = v->shape[n->axis];
    if (m->axis != n->axis) return b_pad(g, slice(g, m->in[0], n->axis, n->ex[0], size, n->ex[1]), m->axis, m->ex[0], m->ex[1], m->in[1]);
    if (!slice_ends(v, &lo, &hi)) return NULL;
    Ex end = e_add(m->ex[0], x->shape[m->axis]);
    if (e_le(m->ex[0], lo) && e_lt(hi, end)) return slice(g, m->in[0], n->axis, e_sub(n->ex[0], m->ex[0]), size, n->ex[1]);
    if (e_lt(hi, m->ex[0]) || e_le(end, lo)) { // all of it is padding
        Ex ones[MAX_RANK];
        for (int i = 0; i < v->rank; i++) ones[i] = e_int(1);
        return b_expand(g, b_reshape(g, m->in[1], v->rank, ones), v->shape);
    }
    return NULL;
}

static Val *slice_of_concat(Graph *g, Val *v, const Node *m) {
    const Node *n = v->node;
    Ex lo, hi, at = e_int(0);
    if (m->axis != n->axis || !slice_ends(v, &lo, &hi)) return NULL;
    for (int i = 0; i < m->nin; i++) {
        Ex end = e_add(at, m->in[i]->shape[m->axis]);
        if (e_le(at, lo) && e_lt(hi, end)) return slice(g, m->in[i], n->axis, e_sub(n->ex[0], at), v->shape[n->axis], n->ex[1]);
        at = end;
    }
    return NULL;
}

static Val *slice_of_expand(Graph *g, Val *v, const Node *m) {
    const Node *n = v->node;
    Val *x = m->in[0];
    Ex from = x->shape[n->axis], all = m->out[0].shape[n->axis];
    if (from != all && !e_is(from, 1)) return NULL;
    if (from == all) x = slice(g, x, n->axis, n->ex[0], v->shape[n->axis], n->ex[1]);
    return b_expand(g, x, v->shape);
}

static Val *slice_of_iota(Graph *g, Val *v) {
    const Node *n = v->node;
    if (!e_is(n->ex[0], 0) || !e_is(n->ex[1], 1)) return NULL;
    return b_iota(g, v->dt, v->shape[0]);
}

static Val *slice_rules(Graph *g, Val *v) {
    const Node *m = v->node->in[0]->node;
    switch (m->op) {
    case P_slice: return slice_of_slice(g, v, m);
    case P_pad: return slice_of_pad(g, v, m);
    case P_concat: return slice_of_concat(g, v, m);
    case P_expand: return slice_of_expand(g, v, m);
    case P_iota: return slice_of_iota(g, v);
    default: return NULL;
    }
}

// ---- pad, concat ------------------------------------------------------------------------------------------

static Val *pad_of_pad(Graph *g, Val *v) {
    const Node *n = v->node, *m = n->in[0]->node;
    if (m->op != P_pad || m->axis != n->axis || m->in[1] != n->in[1]) return NULL;
    return b_pad(g, m->in[0], n->axis, e_add(n->ex[0], m->ex[0]), e_add(n->ex[1], m->ex[1]), n->in[1]);
}

// Padding with the value that is there anyway.
static Val *pad_of_splat(Graph *g, Val *v) {
    Scalar s, t;
    unsigned char a[16] = { 0 }, b[16] = { 0 };
    if (!is_splat(v->node->in[0], &s) || !is_splat(v->node->in[1], &t)) return NULL;
    scalar_store(v->dt, a, s);
    scalar_store(v->dt, b, t);
    return memcmp(a, b, sizeof a) ? NULL : splat_of(g, v->dt, v->rank, v->shape, s);
}

static Val *concat_flat(Graph *g, Val *v) {
    const Node *n = v->node;
    Val **in = NULL;
    int k = 0, cap = 0;
    bool any = false;
    for (int i = 0; i < n->nin; i++) {
        const Node *m = n->in[i]->node;
        bool inner = m->op == P_concat && m->axis == n->axis;
        any = any || inner;
        for (int j = 0; j < (inner ? m->nin : 1); j++) PUSH(in, k, cap, inner ? m->in[j] : n->in[i]);
    }
    return any ? b_concat(g, k, in, n->axis) : NULL;
}

// Whether b goes on where the slice a ends: the same tensor, axis and step.
static bool continues(const Val *a, const Val *b, int axis) {
    const Node *m = a->node, *n = b->node;
    if (m->op != P_slice || n->op != P_slice || m->in[0] != n->in[0] || m->axis != axis || n->axis != axis) return false;
    return m->ex[1] == n->ex[1] && n->ex[0] == e_add(m->ex[0], e_mul(a->shape[axis], m->ex[1]));
}

static Val *concat_of_slices(Graph *g, Val *v) {
    const Node *n = v->node;
    Val **in = NEWN(Val *, n->nin);
    int k = 0;
    for (int i = 0; i < n->nin; i++) {
        if (k && continues(in[k - 1], n->in[i], n->axis)) {
            const Node *m = in[k - 1]->node;
            Ex size = e_add(in[k - 1]->shape[n->axis], n->in[i]->shape[n->axis]);
            in[k - 1] = slice(g, m->in[0], n->axis, m->ex[0], size, m->ex[1]);
        } else in[k++] = n->in[i];
    }
    return k < n->nin ? b_concat(g, k, in, n->axis) : NULL;
}

// ---- window, unwindow ---------------------------------------------------------------------------------------

static Val *window_of_one(Graph *g, Val *v) {
    const Node *n = v->node;
    Val *x = n->in[0];
    if (!e_is(n->ex[0], 1)) return NULL;
    if (!e_is(n->ex[1], 1)) x = slice(g, x, n->axis, e_int(0), v->shape[n->axis], n->ex[1]);
    return b_reshape(g, x, v->rank, v->shape);
}

static Val *unwindow_of_one(Graph *g, Val *v) {
    const Node *n = v->node;
    const Val *x = n->in[0];
    if (!e_is(x->shape[n->axis + 1], 1) || !e_is(n->ex[1], 1) || x->shape[n->axis] != n->ex[0]) return NULL;
    return b_reshape(g, n->in[0], v->rank, v->shape);
}

// ---- gather, scatter ------------------------------------------------------------------------------------------

// Whether an index is constant, the same on all axes but `axis`, and an arithmetic progression along that.
static bool index_line(const Val *index, int axis, int64_t *start, int64_t *step) {
    enum { MAX_LINE = 4096 };
    int64_t n, total, inner = 1, stride = 1;
    const Val *v = index;
    while (v->node->op == P_expand && v->node->in[0]->shape[axis] == index->shape[axis]) v = v->node->in[0];
    if (!e_is_const(v->shape[axis], &n) || !e_is_const(val_numel(v), &total) || total < 1 || total > MAX_LINE) return false;
    for (int i = axis + 1; i < v->rank; i++) {
        int64_t d = 1;
        e_is_const(v->shape[i], &d);
        inner *= d;
    }
    const Data *data = val_const((Val *)(intptr_t)v);
    if (!data) return false;
    *start = data_get(data, 0).i;
    if (n > 1) stride = data_get(data, (size_t)inner).i - *start;
    if (*start < 0 || *start > INT32_MAX || stride < -INT32_MAX || stride > INT32_MAX) return false;
    for (int64_t i = 0; i < total; i++)
        if (data_get(data, (size_t)i).i != *start + i / inner % n * stride) return false;
    *step = stride;
    return true;
}

// Gather by constant indices in arithmetic progression is a slice; by one and the same, an expanded one.
static Val *gather_of_line(Graph *g, Val *v) {
    const Node *n = v->node;
    Val *x = n->in[0];
    const Val *index = n->in[1];
    int64_t start, step, end;
    Scalar s;
    for (int i = 0; i < x->rank; i++)
        if (i != n->axis && x->shape[i] != index->shape[i]) return NULL;
    if (!e_is_const(x->shape[n->axis], &end)) return NULL;
    if (is_splat(index, &s)) {
        if (s.i < 0 || s.i >= end || !e_lt(e_int(0), v->shape[n->axis])) return NULL;
        return b_expand(g, slice(g, x, n->axis, e_int(s.i), e_int(1), e_int(1)), v->shape);
    }
    int64_t count = 0;
    if (!index_line(index, n->axis, &start, &step)) return NULL;
    e_is_const(v->shape[n->axis], &count);
    int64_t last = start + (count - 1) * step;
    if (start < 0 || start >= end || last < 0 || last >= end) return NULL; // a fault of the run
    return slice(g, x, n->axis, e_int(start), v->shape[n->axis], e_int(step));
}

static Val *scatter_of_nothing(const Val *v) {
    const Val *index = v->node->in[1];
    for (int i = 0; i < index->rank; i++)
        if (e_is(index->shape[i], 0)) return v->node->in[0];
    return NULL;
}

// ---- reshape, expand -----------------------------------------------------------------------------------------

static Val *reshape_of_splat(Graph *g, Val *v) {
    Scalar s;
    const Node *m = v->node->in[0]->node;
    if (m->op == P_const || !is_splat(v->node->in[0], &s)) return NULL;
    return splat_of(g, v->dt, v->rank, v->shape, s);
}

static Val *reshape_rules(Graph *g, Val *v) {
    Val *x = v->node->in[0];
    if (x->rank == v->rank && same_ex(v->rank, x->shape, v->shape)) return x;
    int64_t n;
    bool fixed = true;
    for (int i = 0; i < v->rank; i++) fixed = fixed && e_is_const(v->shape[i], &n);
    if (x->node->op == P_const && fixed) return b_const(g, x->node->data, v->rank, v->shape); // the same bytes
    if (x->node->op == P_reshape) return b_reshape(g, x->node->in[0], v->rank, v->shape);
    return reshape_of_splat(g, v);
}

static Val *expand_of_splat(Graph *g, Val *v) {
    Scalar s;
    int64_t n;
    for (int i = 0; i < v->rank; i++)
        if (!e_is_const(v->shape[i], &n)) return NULL;
    return is_splat(v, &s) ? splat_of(g, v->dt, v->rank, v->shape, s) : NULL;
}

Val *rules_view(Graph *g, Val *v) {
    const Node *n = v->node;
    Val *r = NULL;
    Scalar s;
    switch (n->op) {
    case P_reshape: return reshape_rules(g, v);
    case P_permute:
        if (is_splat(n->in[0], &s)) return splat_of(g, v->dt, v->rank, v->shape, s);
        return permute_of_ones(g, v);
    case P_slice:
        if (is_splat(n->in[0], &s)) return splat_of(g, v->dt, v->rank, v->shape, s);
        return slice_rules(g, v);
    case P_expand: return expand_of_splat(g, v);
    case P_pad: return (r = pad_of_pad(g, v)) ? r : pad_of_splat(g, v);
    case P_concat: return (r = concat_flat(g, v)) ? r : concat_of_slices(g, v);
    case P_window: return window_of_one(g, v);
    case P_unwindow: return unwindow_of_one(g, v);
    case P_gather: return gather_of_line(g, v);
    case P_scatter: return scatter_of_nothing(v);
    case P_copy: return n->in[0]->node->op == P_copy ? n->in[0] : NULL;
    default: return NULL;
    }
}
