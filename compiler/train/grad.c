// SPDX-License-Identifier: Apache-2.0
// Reverse mode on the tensor DAG: a rule for each primitive. What the forward pass computes is used
// as it is, an explicit operand like any other; broadcasting is explicit (expand), and so its sums are.
#include "train/train.h"

#include <string.h>

static void grad_node(Grad *s, Node *n);

static bool is_moved(Prim p) { return p == P_reshape || p == P_permute || p == P_expand || p == P_window; }

// Whether the adjoint of view x is to be d alone: x repeats elements, and d is a product that will be summed over the
// repeated ones, or over the windows. The sum of two such products would be made in full before.
static bool is_product_of_view(const Val *x, const Val *d) {
    bool repeats = false, windows = false;
    for (; is_moved(x->node->op); x = x->node->in[0]) {
        windows |= x->node->op == P_window;
        repeats |= x->node->op == P_expand && !val_same_shape(x, x->node->in[0]);
    }
    while (d->node->op == P_reshape || d->node->op == P_permute) d = d->node->in[0];
    return windows || (repeats && d->node->op == P_map && d->node->fn == FN_mul);
}

void contribute(Grad *s, Val *x, Val *d) {
    if (!d || !s->needs[x->id]) return;
    if (is_moved(x->node->op) && x->dt == d->dt && val_same_shape(x, d) && is_product_of_view(x, d)) {
        Val *sum = s->adj[x->id];
        const char *origin = s->g->origin;
        if (x->node->name) s->g->origin = arena_printf("gradient of %s", x->node->name);
        s->adj[x->id] = d;
        grad_node(s, x->node);
        s->adj[x->id] = sum;
        s->g->origin = origin;
        return;
    }
    Val *sum = s->adj[x->id];
    if (!dt_is_float(x->dt) && sum) d = cast_to(s->g, d, sum->dt); // of quantized integers
    else if (d->dt != x->dt && dt_is_float(x->dt)) die("an adjoint of %s for %s", dt_name(d->dt), dt_name(x->dt));
    if (!val_same_shape(x, d)) d = b_reshape(s->g, d, x->rank, x->shape); // equal by a guard
    s->adj[x->id] = sum ? fn2(s->g, FN_add, sum, d) : d;
}

void refuse(Grad *s, const Node *n, const char *what) {
    error("%s: there is no gradient of %s", n->name ? n->name : prim_name[n->op], what);
    s->errors++;
}

static Val *zeros(Grad *s, const Val *x) { return splat_like(s->g, x, 0); }

// of x's shape, for an adjoint of type dt
static Val *zeros_as(Grad *s, const Val *x, DType dt) { return splat(s->g, dt, 0, x->rank, x->shape); }

// ---- pointwise ------------------------------------------------------------------------------------

// y = softmax(x): y * (dy - sum(dy * y)); y = log_softmax(x): dy - exp(y) * sum(dy). The maximum that
// both subtract cancels.
static bool grad_softmax(Grad *s, Node *n, Val *dy) {
    int axes[MAX_RANK], naxes;
    Val *y = &n->out[0], *x;
    Graph *g = s->g;
    if (match_softmax(y, &x, &naxes, axes)) {
        Val *sum = reduced(g, RED_ADD, fn2(g, FN_mul, dy, y), naxes, axes);
        contribute(s, x, fn2(g, FN_mul, y, fn2(g, FN_sub, dy, sum)));
        return true;
    }
    if (match_log_softmax(y, &x, &naxes, axes)) {
        Val *sum = reduced(g, RED_ADD, dy, naxes, axes);
        contribute(s, x, fn2(g, FN_sub, dy, fn2(g, FN_mul, fn1(g, FN_exp, y), sum)));
        return true;
    }
    return false;
}

static void grad_map(Grad *s, Node *n, Val *dy) {
    if (grad_softmax(s, n, dy)) return;
    if (s->straight[n->id]) {
        contribute(s, n->in[0], dy);
        return;
    }
    for (int k = 0; k < n->nin; k++)
        if (s->needs[n->in[k]->id]) contribute(s, n->in[k], map_adjoint(s->g, n, k, dy));
}

// ---- reductions -----------------------------------------------------------------------------------

// perm: the axes that stay, in order, then those in axes; inv: back.
static void axes_last(int rank, int naxes, const int *axes, int *perm, int *inv) {
    int n = 0;
    bool gone[MAX_RANK] = {0};
    for (int i = 0; i < naxes; i++) gone[axes[i]] = true;
    for (int i = 0; i < rank; i++)
        if (!gone[i]) perm[n++] = i;
    for (int i = 0; i < naxes; i++) perm[n++] = axes[i];
    for (int i = 0; i < rank; i++) inv[perm[i]] = i;
}

// x with its axes `axes` merged into one, the last.
static Val *merge_last(Graph *g, Val *x, int naxes, const int *axes) {
    int perm[MAX_RANK], inv[MAX_RANK], rank = x->rank - naxes;
    Ex shape[MAX_RANK];
    axes_last(x->rank, naxes, axes, perm, inv);
    x = b_permute(g, x, perm);
    for (int i = 0; i < rank; i++) shape[i] = x->shape[i];
    shape[rank] = e_product(naxes, x->shape + rank);
    return b_reshape(g, x, rank + 1, shape);
}

// The inverse of merge_last: of v to x's shape.
static Val *unmerge_last(Graph *g, Val *v, const Val *x, int naxes, const int *axes) {
    int perm[MAX_RANK], inv[MAX_RANK];
    Ex shape[MAX_RANK];
    axes_last(x->rank, naxes, axes, perm, inv);
    for (int i = 0; i < x->rank; i++) shape[i] = x->shape[perm[i]];
    return b_permute(g, b_reshape(g, v, x->rank, shape), inv);
}

// dx[i] = dy * product of the others, by products before and after i: exact where elements are zero
static Val *grad_product(Grad *s, Node *n, Val *dy) {
    int axes[MAX_RANK], naxes = node_axes(n, axes);
    Val *x = n->in[0], *m = merge_last(s->g, x, naxes, axes);
    int last = m->rank - 1;
    Val *before = b_scan(s->g, RED_MUL, m, last, true, false), *after = b_scan(s->g, RED_MUL, m, last, true, true);
    Val *others = fn2(s->g, FN_mul, before, after);
    return unmerge_last(s->g, fn2(s->g, FN_mul, spread(s->g, dy, m, 1, &last), others), x, naxes, axes);
}

// dx = dy / number of maxima, at the maxima
static Val *grad_extremum(Grad *s, Node *n, Val *dy) {
    int axes[MAX_RANK], naxes = node_axes(n, axes);
    Val *x = n->in[0], *y = spread(s->g, &n->out[0], x, naxes, axes);
    Val *mask = fn2(s->g, FN_eq, x, y);
    Val *count = b_reduce(s->g, RED_ADD, cast_to(s->g, mask, x->dt), naxes, axes, false);
    Val *share = spread(s->g, fn2(s->g, FN_div, dy, count), x, naxes, axes);
    return select_of(s->g, mask, share, zeros(s, x));
}

// Whether a reduction is one over windows: pooling.
static bool over_windows(const Node *n) {
    const Val *v = n->in[0];
    while (v->node->op == P_permute || v->node->op == P_slice) v = v->node->in[0];
    return v->node->op == P_window;
}

// The type that counts to n in the fewest bytes.
static DType index_type(Ex n) {
    int64_t c;
    return e_is_const(n, &c) && c <= 256 ? U8 : I32;
}

enum { UNROLLED_TAPS = 16 };

// Which element of m's last axis is the first that is y: comparisons where these are few, since such code
// runs along other axes.
static Val *first_extremum(Graph *g, const Node *n, Val *m) {
    int last = m->rank - 1;
    int64_t taps;
    if (!e_is_const(m->shape[last], &taps) || taps > UNROLLED_TAPS || taps < 1)
        return b_reduce(g, n->fn == RED_MAX ? RED_ARGMAX : RED_ARGMIN, m, 1, &last, false);
    Val *y = &n->out[0], *at = splat(g, I32, (double)(taps - 1), last, m->shape);
    for (int64_t t = taps - 2; t >= 0; t--) {
        Val *x = b_reshape(g, b_slice(g, m, last, e_int(t), e_int(1), e_int(1)), last, m->shape);
        at = select_of(g, fn2(g, FN_eq, x, y), splat(g, I32, (double)t, last, m->shape), at);
    }
    return at;
}

// dx = dy at the first maximum of each window; which that is takes a byte a window
static Val *grad_pool(Grad *s, Node *n, Val *dy) {
    int axes[MAX_RANK], naxes = node_axes(n, axes);
    Val *x = n->in[0], *m = merge_last(s->g, x, naxes, axes);
    int last = m->rank - 1;
    Val *first = first_extremum(s->g, n, m);
    Ex one[MAX_RANK];
    for (int i = 0; i < m->rank; i++) one[i] = i == last ? m->shape[i] : e_int(1);
    DType dt = index_type(m->shape[last]);
    first = cast_to(s->g, first, dt);
    Val *tap = b_expand(s->g, b_reshape(s->g, b_iota(s->g, dt, m->shape[last]), m->rank, one), m->shape);
    Val *mask = fn2(s->g, FN_eq, tap, spread(s->g, first, m, 1, &last));
    Val *d = select_of(s->g, mask, spread(s->g, dy, m, 1, &last), zeros(s, m));
    return unmerge_last(s->g, d, x, naxes, axes);
}

static void grad_reduce(Grad *s, Node *n, Val *dy) {
    int axes[MAX_RANK], naxes = node_axes(n, axes);
    Val *d = NULL;
    switch ((Red)n->fn) {
    case RED_ADD: d = spread(s->g, dy, n->in[0], naxes, axes); break;
    case RED_MUL: d = grad_product(s, n, dy); break;
    case RED_MAX: case RED_MIN: d = over_windows(n) ? grad_pool(s, n, dy) : grad_extremum(s, n, dy); break;
    case RED_AND: case RED_OR: case RED_ARGMAX: case RED_ARGMIN: case RED_SET: break;
    }
    contribute(s, n->in[0], d);
}

// ---- views ----------------------------------------------------------------------------------------

static Val *inverse_permute(Graph *g, const Node *n, Val *dy) {
    int perm[MAX_RANK], inv[MAX_RANK];
    node_axes(n, perm);
    for (int i = 0; i < n->nex; i++) inv[perm[i]] = i;
    return b_permute(g, dy, inv);
}

// dy with an extent n of axis repeated from m, which is n or 1 as only the run knows
static Val *sum_if_one(Graph *g, Val *dy, int axis, Ex m) {
    Val *some = b_slice(g, dy, axis, e_int(0), m, e_int(1)), *all;
    Ex s[MAX_RANK], one = e_int(1);
    for (int i = 0; i < dy->rank; i++) s[i] = i == axis ? one : dy->shape[i];
    all = b_expand(g, b_reshape(g, b_reduce(g, RED_ADD, dy, 1, &axis, false), dy->rank, s), some->shape);
    Val *is_one = fn2(g, FN_eq, scalar_of(g, I64, m), scalar_of(g, I64, one));
    return select_of(g, stretch(g, is_one, dy->rank, some->shape), all, some);
}

// The sum over the axes that were repeated.
static void grad_expand(Grad *s, Node *n, Val *dy) {
    const Val *x = n->in[0];
    int axes[MAX_RANK], naxes = 0;
    for (int i = 0; i < x->rank; i++) {
        if (x->shape[i] == dy->shape[i]) continue;
        if (e_is(x->shape[i], 1)) axes[naxes++] = i;
        else dy = sum_if_one(s->g, dy, i, x->shape[i]);
    }
    contribute(s, n->in[0], b_reshape(s->g, b_reduce(s->g, RED_ADD, dy, naxes, axes, false), x->rank, x->shape));
}

static Val *zero_of(Graph *g, DType dt) { return splat(g, dt, 0, 0, NULL); }

// dy's elements along axis k apart, from `start` on in an axis of n: out[start + i*k] = dy[i]
static Val *place(Graph *g, Val *dy, int axis, Ex start, Ex step, Ex n) {
    Ex size = dy->shape[axis], shape[MAX_RANK + 1], span;
    if (e_lt(step, e_int(0))) { // backwards
        Ex last = e_sub(size, e_int(1));
        dy = b_slice(g, dy, axis, last, size, e_int(-1));
        start = e_add(start, e_mul(last, step));
        step = e_sub(e_int(0), step);
    }
    span = size;
    if (!e_is(step, 1)) {
        for (int i = 0; i <= dy->rank; i++) shape[i] = i <= axis ? dy->shape[i] : i == axis + 1 ? e_int(1) : dy->shape[i - 1];
        span = e_add(e_mul(e_sub(size, e_int(1)), step), e_int(1));
        dy = b_unwindow(g, b_reshape(g, dy, dy->rank + 1, shape), axis, span, step, e_int(1));
    }
    return b_pad(g, dy, axis, start, e_sub(n, e_add(start, span)), zero_of(g, dy->dt));
}

static void grad_slice(Grad *s, Node *n, Val *dy) {
    Val *x = n->in[0];
    int64_t step;
    if (e_is(dy->shape[n->axis], 0)) return;
    if (!e_is_const(n->ex[1], &step) || step == 0) {
        refuse(s, n, "a slice whose step is not known");
        return;
    }
    contribute(s, x, place(s->g, dy, n->axis, n->ex[0], n->ex[1], x->shape[n->axis]));
}

static void grad_pad(Grad *s, Node *n, Val *dy) {
    Val *x = n->in[0], *d = b_slice(s->g, dy, n->axis, n->ex[0], x->shape[n->axis], e_int(1));
    contribute(s, x, d);
    if (s->needs[n->in[1]->id]) contribute(s, n->in[1], fn2(s->g, FN_sub, total(s->g, dy), total(s->g, d)));
}

static void grad_concat(Grad *s, Node *n, Val *dy) {
    Ex at = e_int(0);
    for (int i = 0; i < n->nin; i++) {
        Ex size = n->in[i]->shape[n->axis];
        if (s->needs[n->in[i]->id]) contribute(s, n->in[i], b_slice(s->g, dy, n->axis, at, size, e_int(1)));
        at = e_add(at, size);
    }
}

// dx[e] = sum of dy[o, j] over o*stride + j*dil = e; where windows do not overlap, dy's elements in their places
static Val *grad_window(Grad *s, Node *n, Val *dy) {
    Graph *g = s->g;
    int a = n->axis;
    Ex size = n->in[0]->shape[a], stride = n->ex[1], k = dy->shape[a + 1], shape[MAX_RANK], zero = e_int(0);
    int64_t by, taps;
    if (!e_is_const(stride, &by) || !e_is_const(k, &taps) || taps > by || !e_is(n->ex[2], 1)) return b_unwindow(g, dy, a, size, stride, n->ex[2]);
    if (taps < by) dy = b_pad(g, dy, a + 1, zero, e_int(by - taps), zero_of(g, dy->dt));
    for (int i = 0; i + 1 < dy->rank; i++) shape[i] = i < a ? dy->shape[i] : i == a ? e_mul(dy->shape[a], stride) : dy->shape[i + 1];
    Ex covered = shape[a];
    dy = b_reshape(g, dy, dy->rank - 1, shape);
    if (e_le(covered, size)) return covered == size ? dy : b_pad(g, dy, a, zero, e_sub(size, covered), zero_of(g, dy->dt));
    if (e_le(size, covered)) return b_slice(g, dy, a, zero, size, e_int(1));
    dy = b_pad(g, dy, a, zero, e_max(e_sub(size, covered), zero), zero_of(g, dy->dt));
    return b_slice(g, dy, a, zero, size, e_int(1));
}

// dx[o, j] = dy[o*stride + j*dil]
static Val *grad_unwindow(Grad *s, Node *n, Val *dy) {
    int a = n->axis;
    Ex o = n->in[0]->shape[a], k = n->in[0]->shape[a + 1], one = e_int(1);
    if (e_is(o, 0) || e_is(k, 0)) return NULL;
    Ex reached = e_add(e_add(e_mul(e_sub(o, one), n->ex[1]), e_mul(e_sub(k, one), n->ex[2])), one);
    Val *w = b_window(s->g, b_slice(s->g, dy, a, e_int(0), reached, one), a, k, n->ex[1], n->ex[2]);
    return w->shape[a] == o ? w : b_slice(s->g, w, a, e_int(0), o, one);
}

// ---- indexing and order -----------------------------------------------------------------------------

static Val *scatter_add(Grad *s, const Val *x, Val *index, Val *d, int axis) {
    return b_scatter(s->g, RED_ADD, zeros_as(s, x, d->dt), index, d, axis);
}

// y = max of x and the updates that go there: each of those that are equal to it gets the same part of dy
static void grad_scatter_extremum(Grad *s, Node *n, Val *dy) {
    Graph *g = s->g;
    Val *x = n->in[0], *index = n->in[1], *upd = n->in[2], *y = &n->out[0];
    Val *own = fn2(g, FN_eq, x, y), *hit = fn2(g, FN_eq, upd, b_gather(g, y, index, n->axis));
    Val *count = b_scatter(g, RED_ADD, cast_to(g, own, x->dt), index, cast_to(g, hit, x->dt), n->axis);
    Val *share = fn2(g, FN_div, dy, count);
    contribute(s, x, select_of(g, own, share, zeros(s, x)));
    contribute(s, upd, select_of(g, hit, b_gather(g, share, index, n->axis), zeros(s, upd)));
}

// y = x times the updates that go there: dx = dy times them; an update's is dy times all other factors, by
// the product of the factors that are not zero and the number of updates that are
static void grad_scatter_product(Grad *s, Node *n, Val *dy) {
    Graph *g = s->g;
    Val *x = n->in[0], *index = n->in[1], *upd = n->in[2], *none = zeros(s, upd);
    if (s->needs[x->id]) contribute(s, x, b_scatter(g, RED_MUL, dy, index, upd, n->axis));
    if (!s->needs[upd->id]) return;
    Val *zero = fn2(g, FN_eq, upd, none), *other = select_of(g, zero, splat_like(g, upd, 1), upd);
    Val *product = b_gather(g, b_scatter(g, RED_MUL, x, index, other, n->axis), index, n->axis);
    Val *count = b_gather(g, scatter_add(s, x, index, cast_to(g, zero, x->dt), n->axis), index, n->axis);
    Val *rest = select_of(g, fn2(g, FN_eq, count, cast_to(g, zero, x->dt)), fn2(g, FN_div, product, other), none);
    contribute(s, upd, fn2(g, FN_mul, b_gather(g, dy, index, n->axis), rest));
}

static void grad_scatter(Grad *s, Node *n, Val *dy) {
    Val *x = n->in[0], *index = n->in[1], *upd = n->in[2];
    if (n->fn == RED_MAX || n->fn == RED_MIN) {
        grad_scatter_extremum(s, n, dy);
        return;
    }
    if (n->fn == RED_MUL) {
        grad_scatter_product(s, n, dy);
        return;
    }
    if (n->fn != RED_ADD && n->fn != RED_SET) {
        refuse(s, n, arena_printf("scatter with reduction %s", red_name[n->fn]));
        return;
    }
    bool set = n->fn == RED_SET;
    if (s->needs[x->id]) contribute(s, x, set ? b_scatter(s->g, RED_SET, dy, index, zeros(s, upd), n->axis) : dy);
    if (s->needs[upd->id]) contribute(s, upd, b_gather(s->g, dy, index, n->axis));
}

static Val *reversed(Graph *g, Val *x, int axis) {
    return b_slice(g, x, axis, e_sub(x->shape[axis], e_int(1)), x->shape[axis], e_int(-1));
}

// x[.., n, ..] shifted by one toward the start, 0 at the end
static Val *shifted(Graph *g, Val *x, int axis) {
    Val *rest = b_slice(g, x, axis, e_int(1), e_sub(x->shape[axis], e_int(1)), e_int(1));
    return b_pad(g, rest, axis, e_int(0), e_int(1), zero_of(g, x->dt));
}

// y[j] = x[0] .. x[j]: dx[i] = x[0] .. x[i-1] * sum over j >= i of dy[j] * x[i+1] .. x[j], which is exact where
// elements are zero; the products are an n x n matrix.
static Val *grad_scan_product(Grad *s, Node *n, Val *dy) {
    Graph *g = s->g;
    int a = n->axis, last;
    bool back = n->flag & 2;
    Val *x = back ? reversed(g, n->in[0], a) : n->in[0];
    if (back) dy = reversed(g, dy, a);
    if (n->flag & 1) dy = shifted(g, dy, a);
    Ex size = x->shape[a], wide[MAX_RANK], one[MAX_RANK];
    last = x->rank; // axes of x with i at a, and j last
    for (int i = 0; i <= last; i++) {
        wide[i] = i < last ? x->shape[i] : size;
        one[i] = e_int(1);
    }
    int perm[MAX_RANK];
    for (int i = 0; i <= last; i++) perm[i] = i < a ? i : i == a ? last : i; // [.., 1 at a, .., j]
    Ex tail[MAX_RANK];
    for (int i = 0; i < last; i++) tail[i] = x->shape[i];
    tail[last] = e_int(1);
    perm[last] = a;
    Val *xj = b_expand(g, b_permute(g, b_reshape(g, x, last + 1, tail), perm), wide);
    Val *dj = b_expand(g, b_permute(g, b_reshape(g, dy, last + 1, tail), perm), wide);
    Val *line = b_iota(g, I64, size);
    one[a] = size;
    Val *i = b_expand(g, b_reshape(g, line, last + 1, one), wide);
    one[a] = e_int(1), one[last] = size;
    Val *j = b_expand(g, b_reshape(g, line, last + 1, one), wide);
    Val *factor = select_of(g, fn2(g, FN_lt, i, j), xj, splat_like(g, xj, 1));
    Val *term = fn2(g, FN_mul, dj, b_scan(g, RED_MUL, factor, last, false, false));
    term = select_of(g, fn2(g, FN_le, i, j), term, splat_like(g, term, 0));
    Val *d = fn2(g, FN_mul, b_scan(g, RED_MUL, x, a, true, false), b_reduce(g, RED_ADD, term, 1, &last, false));
    return back ? reversed(g, d, a) : d;
}

static void grad_scan(Grad *s, Node *n, Val *dy) {
    if (n->fn == RED_ADD) contribute(s, n->in[0], b_scan(s->g, RED_ADD, dy, n->axis, n->flag & 1, !(n->flag & 2)));
    else if (n->fn == RED_MUL) contribute(s, n->in[0], grad_scan_product(s, n, dy));
    else refuse(s, n, arena_printf("a running %s", red_name[n->fn]));
}

// ---- all ------------------------------------------------------------------------------------------

static void grad_node(Grad *s, Node *n) {
    Val *dy = s->adj[n->out[0].id];
    switch (n->op) {
    case P_input: case P_const: case P_dims: case P_iota: case P_random: return;
    case P_map: grad_map(s, n, dy); return;
    case P_reduce: grad_reduce(s, n, dy); return;
    case P_reshape: contribute(s, n->in[0], b_reshape(s->g, dy, n->in[0]->rank, n->in[0]->shape)); return;
    case P_permute: contribute(s, n->in[0], inverse_permute(s->g, n, dy)); return;
    case P_expand: grad_expand(s, n, dy); return;
    case P_slice: grad_slice(s, n, dy); return;
    case P_pad: grad_pad(s, n, dy); return;
    case P_concat: grad_concat(s, n, dy); return;
    case P_window: contribute(s, n->in[0], grad_window(s, n, dy)); return;
    case P_unwindow: contribute(s, n->in[0], grad_unwindow(s, n, dy)); return;
    case P_gather: contribute(s, n->in[0], scatter_add(s, n->in[0], n->in[1], dy, n->axis)); return;
    case P_scatter: grad_scatter(s, n, dy); return;
    case P_scan: grad_scan(s, n, dy); return;
    case P_sort: contribute(s, n->in[0], scatter_add(s, n->in[0], &n->out[1], dy, n->axis)); return;
    case P_copy: contribute(s, n->in[0], dy); return;
    case P_if: grad_if(s, n); return;
    case P_loop: grad_loop(s, n); return;
    case P_call: refuse(s, n, n->call->name); return;
    case P_COUNT: break;
    }
    die("%s has no gradient rule", prim_name[n->op]);
}

// The rounding that a quantized value comes from: round, then an offset and bounds; NULL: it is none.
static Node *rounding_of(Val *v, int depth) {
    Node *n = v->node, *r = NULL;
    if (n->op != P_map || depth == 8) return NULL;
    if (n->fn == FN_round) return n;
    if (n->fn != FN_add && n->fn != FN_max && n->fn != FN_min && n->fn != FN_cast) return NULL;
    for (int k = 0; k < n->nin && !r; k++) r = rounding_of(n->in[k], depth + 1);
    return r;
}

// Whether a value of integers that are quantized numbers is one that moves with operand k: quantizers are
// straight through, so what they give has an adjoint, a floating point one.
static bool moves(Grad *s, const Node *n, int k) {
    if (n->op == P_map && n->fn == FN_cast && dt_is_float(n->in[0]->dt)) {
        Node *r = n->out[0].dt == BOOL ? NULL : rounding_of(n->in[0], 0);
        if (r) s->straight[r->id] = true;
        return r != NULL;
    }
    if (dt_is_float(n->in[k]->dt) || !dt_is_int(n->out[0].dt)) return false;
    switch (n->op) {
    case P_map: return n->fn == FN_cast || n->fn == FN_add || n->fn == FN_sub;
    case P_gather: return k == 0;
    case P_reshape: case P_permute: case P_expand: case P_slice: case P_pad: case P_concat: case P_copy: return true;
    default: return false;
    }
}

// Which values wrt reaches through floating point values, and through quantized ones.
static void mark(Grad *s, int n, Val *const *wrt) {
    for (int i = 0; i < n; i++) s->needs[wrt[i]->id] = true;
    for (int i = 0; i < s->g->nnode; i++) {
        const Node *m = s->g->node[i];
        bool any = false, moved = false;
        for (int k = 0; k < m->nin; k++) {
            if (!s->needs[m->in[k]->id]) continue;
            any = true;
            moved |= m->nout == 1 && m->out[0].kind == K_TENSOR && !dt_is_float(m->out[0].dt) && moves(s, m, k);
        }
        for (int k = 0; k < m->nout && any; k++) s->needs[m->out[k].id] |= moved || m->out[k].kind != K_TENSOR || dt_is_float(m->out[k].dt);
    }
}

Val **grad_from(Graph *g, int nroot, Val *const *root, Val *const *seed, int n, Val *const *wrt) {
    Grad s = {.g = g, .nval = g->nval};
    int nnode = g->nnode;
    const char *origin = g->origin;
    s.adj = NEWN(Val *, s.nval + 1);
    s.needs = NEWN(bool, s.nval + 1);
    s.straight = NEWN(bool, nnode + 1);
    mark(&s, n, wrt);
    for (int i = 0; i < nroot; i++) contribute(&s, root[i], seed[i]);
    for (int i = nnode - 1; i >= 0; i--) {
        Node *m = g->node[i];
        bool any = false;
        for (int k = 0; k < m->nout && !any; k++) any = s.adj[m->out[k].id];
        if (!any || (m->op == P_sort && !s.adj[m->out[0].id])) continue;
        if (m->op != P_input) g->origin = m->name ? arena_printf("gradient of %s", m->name) : "gradient";
        grad_node(&s, m);
    }
    g->origin = origin;
    if (s.errors) return NULL;
    Val **d = NEWN(Val *, n + 1);
    for (int i = 0; i < n; i++) d[i] = s.adj[wrt[i]->id] ? s.adj[wrt[i]->id] : splat_like(g, wrt[i], 0);
    return d;
}

Val **grad(Graph *g, Val *loss, int n, Val *const *wrt) {
    Val *one = splat_like(g, loss, 1);
    return grad_from(g, 1, &loss, &one, n, wrt);
}
