// SPDX-License-Identifier: Apache-2.0
// Sums of products of 8-bit integers by processors' instructions for them: two neighbours of the sum that have 16
// bits each, or four of 8, become one element of 32 bits, and their products with those of the other operand one
// dot2 or dot4 (tensor/scalar.def). What is left is a contraction like any other, of a half or a quarter of the
// steps. Neighbours are packed where the operand is computed, below the views that only move it.
#include "opt/integer.h"
#include "opt/rewrite.h"
#include "opt/simplify.h"

enum { MAX_STEPS = 32, LEAST = 8 }; // LEAST: elements of the sum along the axis that is packed

static Val *map2(Graph *g, Fn fn, Val *a, Val *b) { return simplify_value(g, b_map(g, fn, a->dt, 2, (Val *[]){a, b})); }
static Val *like(Graph *g, const Val *x, int64_t v) { return splat_of(g, x->dt, x->rank, x->shape, (Scalar){.i = v}); }
static Val *zero(Graph *g) { return b_const(g, data_new(I32, 1), 0, NULL); }

// How an operand's elements become parts: `by` is subtracted from each (dot4), so many to an element. trial: no element is
// computed, whether there is a form is the question.
typedef struct { int64_t by; int parts; bool trial; } Packing;

// The same value in each part of one element.
static Val *repeated(Graph *g, Val *scalar, const Packing *p) {
    const int bits = 32 / p->parts;
    Val *part = map2(g, FN_and, map2(g, FN_sub, scalar, like(g, scalar, p->by)), like(g, scalar, ((int64_t)1 << bits) - 1)), *all = part;
    for (int i = 1; i < p->parts; i++) all = map2(g, FN_or, all, map2(g, FN_shl, part, like(g, part, i * bits)));
    return all;
}

// Every p->parts-th of v's elements along the axis, from i on; below casts and zero points, so that what is stored has 8 bits.
static Val *part_of(Graph *g, Val *v, int axis, int i, Ex count, const Packing *p, int step) {
    const Node *n = v->node;
    if (step < MAX_STEPS && n->op == P_map && (n->fn == FN_cast || n->fn == FN_add || n->fn == FN_sub)) {
        Val *in[2];
        for (int k = 0; k < n->nin; k++) in[k] = part_of(g, n->in[k], axis, i, count, p, step + 1);
        return simplify_value(g, b_map(g, (Fn)n->fn, v->dt, n->nin, in));
    }
    return simplify_value(g, b_slice(g, v, axis, e_int(i), count, e_int(p->parts)));
}

static int64_t product(const Val *v, int from, int to) {
    int64_t n = 1, c = 1;
    for (int i = from; i < to; i++, n *= c) e_is_const(v->shape[i], &c);
    return n;
}

// A constant's neighbours, without the constants on the way to them; NULL: v is none.
static Val *pack_constant(Graph *g, const Val *v, int axis, const Packing *p) {
    const bool is_cast = v->node->op == P_map && v->node->fn == FN_cast && dt_is_int(v->node->in[0]->dt);
    const Data *from = val_const(is_cast ? v->node->in[0] : (Val *)(uintptr_t)v);
    if (!from) return NULL;
    const int64_t n = product(v, axis, axis + 1), inner = product(v, axis + 1, v->rank), outer = product(v, 0, axis), count = (n + p->parts - 1) / p->parts;
    const int bits = 32 / p->parts;
    const uint32_t mask = (uint32_t)((UINT64_C(1) << bits) - 1);
    Data *d = data_new(I32, (size_t)(outer * count * inner));
    uint32_t *to = (uint32_t *)(uintptr_t)d->p;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < n; k++)
            for (int64_t i = 0; i < inner; i++) {
                const uint32_t x = (uint32_t)(data_get(from, (size_t)((o * n + k) * inner + i)).i - p->by);
                to[(o * count + k / p->parts) * inner + i] |= (x & mask) << (int)(k % p->parts) * bits;
            }
    Ex shape[MAX_RANK];
    for (int i = 0; i < v->rank; i++) shape[i] = i == axis ? e_int(count) : v->shape[i];
    return b_const(g, d, v->rank, shape);
}

// v's neighbours along the axis, packed here.
static Val *pack_here(Graph *g, Val *v, int axis, const Packing *p) {
    if (p->trial) {
        Ex shape[MAX_RANK];
        for (int i = 0; i < v->rank; i++) shape[i] = i == axis ? e_ceil_div(v->shape[i], e_int(p->parts)) : v->shape[i];
        return splat_of(g, I32, v->rank, shape, (Scalar){.i = 0});
    }
    Val *constant = pack_constant(g, v, axis, p);
    if (constant) return constant;
    const int bits = 32 / p->parts;
    const Ex n = v->shape[axis], count = e_ceil_div(n, e_int(p->parts)), whole = e_scale(count, p->parts);
    Val *all = NULL;
    if (p->by) v = map2(g, FN_sub, v, like(g, v, p->by));
    if (n != whole) v = b_pad(g, v, axis, e_int(0), e_sub(whole, n), zero(g));
    for (int i = 0; i < p->parts; i++) {
        Val *part = part_of(g, v, axis, i, count, p, 0);
        if (i + 1 < p->parts) part = map2(g, FN_and, part, like(g, part, ((int64_t)1 << bits) - 1));
        if (i > 0) part = map2(g, FN_shl, part, like(g, part, i * bits));
        all = all ? map2(g, FN_or, all, part) : part;
    }
    return all;
}

// Whether v is, below views, of fewer elements than it has.
static bool repeats(const Val *v) {
    for (int step = 0; step < MAX_STEPS && (is_view(v->node->op) || v->node->op == P_pad); step++) {
        if (v->node->op == P_expand || v->node->op == P_window) return true;
        v = v->node->in[0];
    }
    return false;
}

// The axis of the reshape's operand that ends where the result's axis ends; -1: none, or neighbours there are not
// neighbours here.
static int axis_below(const Node *n, int axis, int parts) {
    const Val *x = n->in[0], *y = &n->out[0];
    Ex after = e_int(1), below = e_int(1);
    int64_t ny, nx;
    for (int i = axis + 1; i < y->rank; i++) after = e_mul(after, y->shape[i]);
    for (int i = x->rank - 1; i >= 0; i--) {
        if (below == after && e_is_const(x->shape[i], &nx) && nx > 1) {
            if (!e_is_const(y->shape[axis], &ny)) return -1;
            return nx == ny || (nx % parts == 0 && ny % parts == 0) ? i : -1;
        }
        below = e_mul(below, x->shape[i]);
    }
    return -1;
}

// As n pads. What is not padded by zeros is stored so: a contraction reads zeros outside of an operand.
static Val *padded(Graph *g, Val *v, const Node *n, Val *value) {
    const Data *d = val_const(value);
    const bool zeros = d && data_get(d, 0).i == 0;
    if (v->node->op == P_copy) v = v->node->in[0];
    Val *all = b_pad(g, v, n->axis, n->ex[0], n->ex[1], value);
    return zeros && v->node->op != P_pad ? all : b_copy(g, all);
}

// v with each `parts` elements along the axis packed into one; NULL: that would store more than v is made of.
static Val *packed(Graph *g, Val *v, int axis, const Packing *p, int step) {
    const Node *n = v->node;
    Val *in;
    Ex shape[MAX_RANK], count = e_ceil_div(v->shape[axis], e_int(p->parts));
    int at;
    if (step == MAX_STEPS) return NULL;
    for (int i = 0; i < v->rank; i++) shape[i] = i == axis ? count : v->shape[i];
    switch (n->op) {
    case P_expand:
        if (n->in[0]->shape[axis] != v->shape[axis] || !(in = packed(g, n->in[0], axis, p, step + 1))) return NULL;
        return simplify_value(g, b_expand(g, in, shape));
    case P_permute: {
        int64_t from = 0;
        e_is_const(n->ex[axis], &from);
        return (in = packed(g, n->in[0], (int)from, p, step + 1)) ? simplify_value(g, node_again(g, n, (Val *[]){in})) : NULL;
    }
    case P_window:
        if (axis == n->axis || axis == n->axis + 1) return NULL;
        in = packed(g, n->in[0], axis < n->axis ? axis : axis - 1, p, step + 1);
        return in ? b_window(g, in, n->axis, n->ex[0], n->ex[1], n->ex[2]) : NULL;
    case P_slice:
        if (axis == n->axis) break;
        in = packed(g, n->in[0], axis, p, step + 1);
        return in ? simplify_value(g, b_slice(g, in, n->axis, n->ex[0], v->shape[n->axis], n->ex[1])) : NULL;
    case P_pad:
        if (axis == n->axis) break;
        in = packed(g, n->in[0], axis, p, step + 1);
        return in ? padded(g, in, n, repeated(g, n->in[1], p)) : NULL;
    case P_reshape:
        if ((at = axis_below(n, axis, p->parts)) < 0) break;
        in = packed(g, n->in[0], at, p, step + 1);
        return in ? simplify_value(g, b_reshape(g, in, v->rank, shape)) : NULL;
    default: break;
    }
    return repeats(v) ? NULL : pack_here(g, v, axis, p);
}

static Val *sum_over(Graph *g, Val *x, const bool *sum) {
    int axes[MAX_RANK], n = 0;
    for (int i = 0; i < x->rank; i++)
        if (sum[i]) axes[n++] = i;
    return simplify_value(g, b_reduce(g, RED_ADD, x, n, axes, false));
}

// The axis of the sum that is packed: the longest one along which both can be.
static Val *dot_along(Graph *g, Val *a, Val *b, const bool *sum, Fn fn, const Packing *pa, const Packing *pb) {
    bool tried[MAX_RANK] = {0};
    for (;;) {
        int axis = -1;
        int64_t most = LEAST - 1, n;
        for (int i = 0; i < a->rank; i++)
            if (sum[i] && !tried[i] && e_is_const(a->shape[i], &n) && n > most) most = n, axis = i;
        if (axis < 0) return NULL;
        tried[axis] = true;
        Val *x = packed(g, a, axis, pa, 0), *y = x ? packed(g, b, axis, pb, 0) : NULL;
        if (y) return sum_over(g, b_map(g, fn, I32, 2, (Val *[]){x, y}), sum);
    }
}

Val *only_element(Graph *g, Val *t) {
    for (int step = 0; step < MAX_STEPS; step++) {
        if (e_is(val_numel(t), 1)) return t->rank ? simplify_value(g, b_reshape(g, t, 0, NULL)) : t;
        if (t->node->op != P_expand && t->node->op != P_reshape && t->node->op != P_permute) return NULL;
        t = t->node->in[0];
    }
    return NULL;
}

// x where v is x - t, below views, and t one number that the run computes: a zero point. NULL: v is no such thing.
static Val *without_term(Graph *g, Val *v, Val **t, int step) {
    const Node *n = v->node;
    if (step == MAX_STEPS) return NULL;
    if (n->op == P_map && n->fn == FN_sub) return (*t = only_element(g, n->in[1])) ? n->in[0] : NULL;
    if (!is_view(n->op) && n->op != P_pad) return NULL;
    Val *in = without_term(g, n->in[0], t, step + 1);
    if (!in) return NULL;
    if (n->op == P_pad) return b_pad(g, in, n->axis, n->ex[0], n->ex[1], map2(g, FN_add, n->in[1], *t));
    return simplify_value(g, node_again(g, n, (Val *[]){in}));
}

static bool has_window(const Val *v) {
    for (; is_view(v->node->op) || v->node->op == P_pad; v = v->node->in[0])
        if (v->node->op == P_window) return true;
    return false;
}

Val *scalar_like(Graph *g, Val *x, const Val *y) {
    Ex ones[MAX_RANK];
    for (int i = 0; i < y->rank; i++) ones[i] = e_int(1);
    return simplify_value(g, b_expand(g, simplify_value(g, b_reshape(g, x, y->rank, ones)), y->shape));
}

// One operand of fours: v = x + by, with x, of 8 bits once pack.by is subtracted, and `by` a scalar.
typedef struct { Val *x, *by; Packing pack; } Part;

static bool part_of_8(Graph *g, Val *v, int least, Part *p) {
    Interval r;
    Val *t = NULL;
    if (!integer_interval(v, &r)) return false;
    p->x = v;
    if (r.hi - r.lo > 255 && (!(p->x = without_term(g, v, &t, 0)) || !integer_interval(p->x, &r) || r.hi - r.lo > 255)) return false;
    const bool fits = r.lo >= least && r.hi <= least + 255;
    p->pack = (Packing){.by = fits ? 0 : (int64_t)r.lo - least, .parts = 4};
    p->by = splat_of(g, I32, 0, NULL, (Scalar){.i = p->pack.by});
    if (t) p->by = map2(g, FN_sub, p->by, t);
    return true;
}

// By fours: a = x + by, b = y + by', with x unsigned and y signed, of 8 bits; what that leaves are sums of one operand:
// sum(a*b) = sum(x*y) + by' sum(x) + by sum(b).
static Val *sum_by_fours(Graph *g, Val *a, Val *b, const bool *sum) {
    Part p, q;
    Scalar s, t;
    if (!part_of_8(g, a, 0, &p) || !part_of_8(g, b, -128, &q)) return NULL;
    const bool plain = is_splat(q.by, &t) && t.i == 0, direct = is_splat(p.by, &s) && s.i == 0;
    int64_t count = 1, n;
    for (int i = 0; i < a->rank; i++)
        if (sum[i]) count = e_is_const(a->shape[i], &n) && count < INT32_MAX ? count * n : INT32_MAX;
    if (count > INT32_MAX / (255 * 128) || (!plain && has_window(a))) return NULL;
    Val *r = dot_along(g, p.x, q.x, sum, FN_dot4, &p.pack, &q.pack);
    if (!r) return NULL;
    if (!plain) {
        Val *all = sum_over(g, p.x, sum);
        if (p.pack.by) all = map2(g, FN_sub, all, like(g, all, p.pack.by * count));
        r = map2(g, FN_add, r, map2(g, FN_mul, all, scalar_like(g, q.by, all)));
    }
    if (direct) return r;
    Val *all = sum_over(g, b, sum);
    return map2(g, FN_add, r, map2(g, FN_mul, all, scalar_like(g, p.by, all)));
}

static bool is_weight(const Val *v) {
    while (is_view(v->node->op)) v = v->node->in[0];
    return v->node->op == P_const;
}

static Val *sum_by_pairs(Graph *g, Val *a, Val *b, const bool *sum, bool trial) {
    Interval ia, ib;
    if (!integer_interval(a, &ia) || !integer_interval(b, &ib)) return NULL;
    if (ia.lo < INT16_MIN || ia.hi > INT16_MAX || ib.lo < INT16_MIN || ib.hi > INT16_MAX) return NULL;
    double most = integer_bound(a, b, sum);
    if (most < 0 || most > INT32_MAX) return NULL;
    const Packing p = {.parts = 2, .trial = trial};
    return dot_along(g, a, b, sum, FN_dot2, &p, &p);
}

Val *dot_sum(Graph *g, Val *a, Val *b, const bool *sum) {
    if (!simplify_dot) return NULL;
    if (is_weight(a)) { // its sum is known
        Val *c = a;
        a = b, b = c;
    }
    Val *s = simplify_dot == 8 ? sum_by_fours(g, a, b, sum) : NULL;
    return s ? s : sum_by_pairs(g, a, b, sum, false);
}

bool dot_possible(Graph *g, Val *a, Val *b, const bool *sum) { return sum_by_pairs(g, a, b, sum, true) != NULL; }
