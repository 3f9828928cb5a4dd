// SPDX-License-Identifier: Apache-2.0
// Sums of products of 8-bit integers: by pairs and by fours (dot.c), else as sums of floats, where those are
// exact: every partial sum stays an integer of at most 24 bits, which float32 holds, in any order of the sum.
// All give the same bits, and are contractions that loop/ has tiles for. A sum that could be larger is cut into
// parts that cannot, added up as integers.
#include "opt/integer.h"
#include "opt/simplify.h"
#include "opt/rewrite.h"
#include <string.h>

enum { MAX_CHAIN = 64, LEAST = 32 }; // LEAST: multiply-adds of a part that are worth the trouble
static const double EXACT = 16777216; // 2^24

// The values that v's elements may have; false: not known to be small.
static bool interval(const Val *v, int depth, Interval *r) {
    const Node *n = v->node;
    Interval a, b;
    if (depth == 0) return false;
    if (is_view(n->op)) return interval(n->in[0], depth - 1, r);
    if (n->op == P_pad) {
        if (!interval(n->in[0], depth - 1, &a) || !interval(n->in[1], depth - 1, &b)) return false;
        *r = (Interval){a.lo < b.lo ? a.lo : b.lo, a.hi > b.hi ? a.hi : b.hi};
        return true;
    }
    if (n->op == P_const && n->data->n > 0) {
        size_t count = n->data->splat ? 1 : n->data->n;
        *r = (Interval){1e300, -1e300};
        for (size_t i = 0; i < count; i++) {
            double x = (double)data_get(n->data, i).i;
            if (x < r->lo) r->lo = x;
            if (x > r->hi) r->hi = x;
        }
        return true;
    }
    if (n->op != P_map) return false;
    DType from = n->in[0]->dt;
    if (n->fn == FN_cast && (from == U8 || from == I8 || from == BOOL)) {
        *r = from == I8 ? (Interval){-128, 127} : from == U8 ? (Interval){0, 255} : (Interval){0, 1};
        return true;
    }
    if (n->fn != FN_add && n->fn != FN_sub) return false;
    if (!interval(n->in[0], depth - 1, &a) || !interval(n->in[1], depth - 1, &b)) return false;
    *r = n->fn == FN_add ? (Interval){a.lo + b.lo, a.hi + b.hi} : (Interval){a.lo - b.hi, a.hi - b.lo};
    return true;
}

bool integer_interval(const Val *v, Interval *r) { return interval(v, 16, r); }

static double magnitude(const Val *v) {
    Interval r;
    if (!interval(v, 16, &r)) return -1;
    return r.hi > -r.lo ? r.hi : -r.lo;
}

// ---- how much a part of the sum may come to ---------------------------------------------------

// The largest sum of absolute values over the axes marked, where x is a constant of that rank, perhaps expanded.
static double constant_sum(const Val *x, const bool *sum) {
    int64_t extent[MAX_RANK], kept = 1, at[MAX_RANK] = {0};
    double times = 1, most = 0;
    const Val *c = x->node->op == P_expand ? x->node->in[0] : x;
    if (c->node->op != P_const || c->node->data->splat) return -1;
    for (int i = 0; i < x->rank; i++) {
        int64_t n;
        if (!e_is_const(c->shape[i], &extent[i])) return -1;
        if (sum[i] && c->shape[i] != x->shape[i]) {
            if (!e_is_const(x->shape[i], &n)) return -1;
            times *= (double)n;
        }
        if (!sum[i]) kept *= extent[i];
    }
    double *total = NEWN(double, kept);
    for (size_t e = 0; e < c->node->data->n; e++) {
        int64_t k = 0;
        for (int i = 0; i < x->rank; i++)
            if (!sum[i]) k = k * extent[i] + at[i];
        double v = (double)data_get(c->node->data, e).i;
        total[k] += v < 0 ? -v : v;
        if (total[k] > most) most = total[k];
        for (int i = x->rank - 1; i >= 0 && ++at[i] == extent[i]; i--) at[i] = 0;
    }
    return most * times;
}

double integer_bound(const Val *a, const Val *b, const bool *sum) {
    double ma = magnitude(a), mb = magnitude(b), n = 1;
    if (ma < 0 || mb < 0) return -1;
    for (int i = 0; i < a->rank; i++) {
        if (sum[i] && a->shape[i]->hi > INT32_MAX) return -1;
        if (sum[i]) n *= (double)a->shape[i]->hi;
    }
    double best = ma * mb * n, sa = constant_sum(a, sum), sb = constant_sum(b, sum);
    if (sa >= 0 && sa * mb < best) best = sa * mb;
    if (sb >= 0 && sb * ma < best) best = sb * ma;
    return best;
}

// ---- the sum in floats ------------------------------------------------------------------------

// v as float32: the cast is made below what only moves elements.
static Val *as_float(Graph *g, Val *v) {
    Val *chain[MAX_CHAIN];
    int n = 0;
    while (n < MAX_CHAIN && (is_view(v->node->op) || v->node->op == P_pad)) {
        chain[n++] = v;
        v = v->node->in[0];
    }
    Val *x = simplify_value(g, b_map(g, FN_cast, F32, 1, &v));
    const Data *d = v->node->op == P_const ? val_const(x) : NULL;
    if (d && x->node->op != P_const) x = b_const(g, (Data *)(uintptr_t)d, v->rank, v->shape);
    while (n-- > 0) {
        Val *in[2] = {x, NULL};
        if (chain[n]->node->op == P_pad) in[1] = simplify_value(g, b_map(g, FN_cast, F32, 1, &chain[n]->node->in[1]));
        x = node_again(g, chain[n]->node, in);
    }
    return x;
}

static Val *sum_of(Graph *g, Val *x, const bool *sum) {
    int axes[MAX_RANK], n = 0;
    for (int i = 0; i < x->rank; i++)
        if (sum[i]) axes[n++] = i;
    return n ? b_reduce(g, RED_ADD, x, n, axes, false) : x;
}

// Axis a of x in parts of `part` elements each, the last one filled up with zeros: axes (parts, part) in its place.
static Val *cut(Graph *g, Val *x, int a, int64_t part) {
    Ex shape[MAX_RANK + 1], parts = e_ceil_div(x->shape[a], e_int(part)), whole = e_scale(parts, part);
    if (x->shape[a] != whole)
        x = b_pad(g, x, a, e_int(0), e_sub(whole, x->shape[a]), b_const(g, data_new(x->dt, 1), 0, NULL));
    for (int i = 0; i < x->rank; i++) shape[i + (i > a)] = x->shape[i];
    shape[a] = parts, shape[a + 1] = e_int(part);
    return b_reshape(g, x, x->rank + 1, shape);
}

// The part of an axis of n elements of which at most `most` fit: one that divides n, if there is one near.
static int64_t part_of(int64_t n, int64_t most) {
    for (int64_t p = most; p > most / 2; p--)
        if (n % p == 0) return p;
    int64_t parts = (n + most - 1) / most;
    return (n + parts - 1) / parts;
}

// Which of the sum's axes stay in one exact sum: the shortest are taken out until it is small enough. The last
// one is cut where it is too long by itself: its axis is given, else -1.
static int choose_axes(const Val *a, const Val *b, bool *sum, bool *outer) {
    for (;;) {
        double most = integer_bound(a, b, sum);
        if (most >= 0 && most <= EXACT) return -1;
        int shortest = -1, left = 0;
        for (int i = 0; i < a->rank; i++) {
            if (!sum[i]) continue;
            left++;
            if (shortest < 0 || a->shape[i]->hi < a->shape[shortest]->hi) shortest = i;
        }
        if (left == 1) return shortest;
        sum[shortest] = false, outer[shortest] = true;
    }
}

// Whether y is x without some axes of extent 1.
static bool drops_ones(const Val *x, const Val *y) {
    int k = 0;
    for (int i = 0; i < x->rank; i++) {
        if (k < y->rank && y->shape[k] == x->shape[i]) k++;
        else if (!e_is(x->shape[i], 1)) return false;
    }
    return k == y->rank;
}

// x in the shape of y, which drops axes of extent 1; below an expand, so that a constant stays one.
static Val *without_ones(Graph *g, Val *x, const Val *y) {
    Ex shape[MAX_RANK];
    int k = 0;
    if (x->node->op != P_expand) return b_reshape(g, x, y->rank, y->shape);
    Val *in = x->node->in[0];
    for (int i = 0; i < x->rank; i++)
        if (k < y->rank && y->shape[k] == x->shape[i]) shape[k++] = in->shape[i];
    return b_expand(g, simplify_value(g, b_reshape(g, in, y->rank, shape)), y->shape);
}

static Val *integer_sum(Graph *g, Val *v) {
    const Node *n = v->node;
    if (n->op != P_reduce || n->fn != RED_ADD || v->dt != I32) return NULL;
    const Node *m = n->in[0]->node;
    bool dropped = m->op == P_reshape && drops_ones(m->in[0], &m->out[0]);
    if (dropped) m = m->in[0]->node;
    if (m->op != P_map || m->fn != FN_mul) return NULL;
    Val *a = m->in[0], *b = m->in[1];
    if (dropped) a = without_ones(g, a, n->in[0]), b = without_ones(g, b, n->in[0]);
    bool sum[MAX_RANK + 1] = {0}, outer[MAX_RANK + 1] = {0}, left[MAX_RANK + 1];
    double ma = magnitude(a), mb = magnitude(b);
    if (ma < 0 || mb < 0 || n->nex == 0) return NULL;
    for (int i = 0; i < n->nex; i++) {
        int64_t axis = 0;
        e_is_const(n->ex[i], &axis);
        sum[axis] = true;
    }
    Val *dot = dot_sum(g, a, b, sum);
    if (dot) return dot;
    int rank = a->rank, at = choose_axes(a, b, sum, outer), k = 0;
    if (at >= 0) {
        int64_t size, most = (int64_t)(EXACT / (ma * mb)), part = e_is_const(a->shape[at], &size) ? part_of(size, most) : most / LEAST * LEAST;
        if (part < LEAST || rank == MAX_RANK) return NULL;
        a = cut(g, as_float(g, a), at, part), b = cut(g, as_float(g, b), at, part);
        for (int i = rank++; i > at; i--) sum[i] = sum[i - 1], outer[i] = outer[i - 1];
        sum[at] = false, outer[at] = true, sum[at + 1] = true, outer[at + 1] = false;
    } else a = as_float(g, a), b = as_float(g, b);
    Val *p = b_map(g, FN_mul, F32, 2, (Val *[]){a, b}), *s = sum_of(g, p, sum);
    s = b_map(g, FN_cast, I32, 1, &s);
    for (int i = 0; i < rank; i++)
        if (!sum[i]) left[k++] = outer[i];
    return sum_of(g, s, left);
}

Val *rules_integer(Graph *g, Val *v) { return integer_sum(g, v); }
