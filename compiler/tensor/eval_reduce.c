// SPDX-License-Identifier: Apache-2.0
// The interpreter's reductions: reduce (also of a map that is not stored), scan, unwindow, sort.
#include "tensor/eval.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// What a reduction starts from: its value over no elements.
Scalar red_init(Red fn, DType dt) {
    Scalar r = { .i = 0 };
    bool f = dt_is_float(dt), is_signed = dt_is_signed(dt);
    int bits = dt_bits(dt);
    int64_t top = dt == BOOL ? 1 : is_signed ? INT64_MAX >> (64 - bits) : (int64_t)(UINT64_MAX >> (64 - bits));
    int64_t bottom = is_signed ? -top - 1 : 0;
    switch (fn) {
    case RED_MUL:
        if (f) r.f = 1;
        else r.i = 1;
        break;
    case RED_MAX: case RED_ARGMAX:
        if (f) r.f = -HUGE_VAL;
        else r.i = bottom;
        break;
    case RED_MIN: case RED_ARGMIN:
        if (f) r.f = HUGE_VAL;
        else r.i = top;
        break;
    case RED_AND: r.i = dt == BOOL ? 1 : -1; break;
    case RED_ADD: case RED_OR: case RED_SET:
        if (f) r.f = 0;
        break;
    }
    return r;
}

// One step of a reduction. Floats stay in double, integers in 64 bits; the result is rounded or wrapped
// where it is stored.
Scalar red_step(Red fn, DType dt, Scalar a, Scalar x) {
    bool f = dt_is_float(dt);
    switch (fn) {
    case RED_ADD:
        if (f) a.f += x.f;
        else a.i = (int64_t)((uint64_t)a.i + (uint64_t)x.i);
        return a;
    case RED_MUL:
        if (f) a.f *= x.f;
        else a.i = (int64_t)((uint64_t)a.i * (uint64_t)x.i);
        return a;
    case RED_MAX: case RED_MIN:
        return fn_eval(fn == RED_MAX ? FN_max : FN_min, f ? F64 : dt == BOOL ? U8 : dt, DT_NONE, (Scalar[]){ a, x });
    case RED_AND: a.i &= x.i; return a;
    case RED_OR: a.i |= x.i; return a;
    case RED_SET: return x;
    default: die("reduction %s as a step", red_name[fn]);
    }
}

// A reduction at work: the accumulator, and for argmax and argmin the place of the best so far.
typedef struct { Red fn; DType dt; bool last; Scalar acc; int64_t best, count; } Acc;

static void acc_start(Acc *a) {
    a->acc = red_init(a->fn, a->dt);
    a->best = a->count = 0;
}

static bool better(const Acc *a, Scalar x) {
    if (!a->count) return true;
    if (dt_is_float(a->dt) && isnan(x.f)) return !isnan(a->acc.f); // the first NaN wins, as in NumPy
    Scalar v[2] = { a->acc, x };
    if (a->last && fn_eval(FN_eq, BOOL, a->dt, v).i) return true;
    if (a->fn == RED_ARGMIN) v[0] = x, v[1] = a->acc;
    return fn_eval(FN_lt, BOOL, a->dt == BOOL ? U8 : a->dt, v).i != 0;
}

static double sum_row(const Scalar *x, int64_t n) {
    double s[4] = { x[0].f, 0, 0, 0 };
    if (n > 1) s[1] = x[1].f;
    if (n > 2) s[2] = x[2].f;
    if (n > 3) s[3] = x[3].f;
    int64_t i = 4;
    for (; i + 4 <= n; i += 4)
        for (int k = 0; k < 4; k++) s[k] += x[i + k].f;
    for (; i < n; i++) s[i & 3] += x[i].f;
    return (s[0] + s[1]) + (s[2] + s[3]);
}

static void acc_row(Acc *a, const Scalar *x, int64_t n) {
    if (a->fn == RED_ADD && dt_is_float(a->dt)) {
        double s = sum_row(x, n);
        a->acc.f = a->count ? a->acc.f + s : s; // the first: a sum of -0 is -0
        a->count += n;
        return;
    }
    bool arg = a->fn == RED_ARGMAX || a->fn == RED_ARGMIN;
    for (int64_t i = 0; i < n; i++, a->count++) {
        if (!arg) a->acc = red_step(a->fn, a->dt, a->acc, x[i]);
        else if (better(a, x[i])) a->acc = x[i], a->best = a->count;
    }
}

// What is reduced: a value, or the map of values that stands for it; axes in the order of the walk.
typedef struct {
    const Node *map;
    int n;
    View *x[3];
    int64_t stride[3][MAX_RANK];
    DType from;
} Source;

static void source_init(Source *s, View *x, const int *order) {
    s->map = x->map;
    s->n = x->map ? fn_info[x->map->fn].arity : 1;
    for (int k = 0; k < s->n; k++) {
        s->x[k] = x->map ? x->arg[k] : x;
        for (int i = 0; i < x->rank; i++) s->stride[k][i] = s->x[k]->stride[order[i]];
    }
    s->from = s->x[s->map && fn_info[s->map->fn].result == R_SELECT ? 1 : 0]->dt;
}

// sum of a*b in float32 as map and reduce give it, without a detour over rows.
static bool dot_row(const Source *s, Acc *a, const int64_t *at, const int64_t *step, int64_t n) {
    if (!s->map || s->map->fn != FN_mul || a->fn != RED_ADD || s->x[0]->dt != F32) return false;
    const char *p = view_at(s->x[0], at[0]), *q = view_at(s->x[1], at[1]);
    if (((uintptr_t)p | (uintptr_t)q) % sizeof(float)) return false;
    const float *x = (const void *)p, *y = (const void *)q;
    double t[4] = { (double)(x[0] * y[0]), 0, 0, 0 };
    int64_t i = 1;
    for (; i + 4 <= n; i += 4)
        for (int k = 0; k < 4; k++) t[k] += (double)(x[(i + k) * step[0]] * y[(i + k) * step[1]]);
    for (; i < n; i++) t[0] += (double)(x[i * step[0]] * y[i * step[1]]);
    double sum = (t[0] + t[1]) + (t[2] + t[3]);
    a->acc.f = a->count ? a->acc.f + sum : sum;
    a->count += n;
    return true;
}

// Adds to a the elements of the source whose kept axes are at base.
static void reduce_one(const Source *s, Acc *a, const int64_t *base, const Walk *start) {
    Walk w = *start;
    Scalar row[3][ROW], out[ROW];
    WALK(w) {
        int64_t at[3] = { 0 };
        for (int k = 0; k < s->n; k++) at[k] = base[k] + w.at[k];
        if (dot_row(s, a, at, w.step, w.n)) continue;
        for (int64_t i = 0; i < w.n; i += ROW) {
            int64_t len = w.n - i < ROW ? w.n - i : ROW;
            for (int k = 0; k < s->n; k++)
                load_row(s->x[k]->dt, view_at(s->x[k], at[k] + i * w.step[k]), w.step[k], len, row[k]);
            if (s->map) map_row(s->map, s->from, (Scalar *const[]){ row[0], row[1], row[2] }, len, out);
            acc_row(a, s->map ? out : row[0], len);
        }
    }
}

// Kept axes first, then the reduced ones; of sums the longest reduced axis last, where rows are.
static int axis_order(const Node *n, const View *x, int *order) {
    int kept = 0, red = 0, at[MAX_RANK];
    for (int i = 0; i < x->rank; i++) {
        bool is_reduced = false;
        for (int k = 0; k < n->nex; k++) is_reduced = is_reduced || e_is(n->ex[k], i);
        if (is_reduced) at[red++] = i;
        else order[kept++] = i;
    }
    int longest = 0;
    for (int k = 1; k < red; k++)
        if (x->shape[at[k]] > x->shape[at[longest]]) longest = k;
    int m = kept;
    for (int k = 0; k < red; k++)
        if (k != longest || n->fn != RED_ADD) order[m++] = at[k];
    if (n->fn == RED_ADD && red) order[m] = at[longest];
    return kept;
}

// A sum, product, … of `count` equal elements, where that can be said at once.
static bool splat_row(Acc *a, Scalar x, int64_t count) {
    bool f = dt_is_float(a->dt);
    switch (a->fn) {
    case RED_ADD:
        if (f) a->acc.f = x.f * (double)count;
        else a->acc.i = (int64_t)((uint64_t)x.i * (uint64_t)count);
        return true;
    case RED_MAX: case RED_MIN: case RED_AND: case RED_OR: a->acc = x; return true;
    case RED_ARGMAX: case RED_ARGMIN: a->best = a->last && !(f && isnan(x.f)) ? count - 1 : 0; return true;
    default: return false;
    }
}

View *eval_reduce(Eval *e, const Node *n, View *x) {
    int order[MAX_RANK], kept = axis_order(n, x, order);
    int64_t shape[MAX_RANK], all[MAX_RANK], count = 1;
    bool same[MAX_RANK];
    Source s = { 0 };
    source_init(&s, x, order);
    for (int i = 0; i < x->rank; i++) all[i] = x->shape[order[i]];
    for (int i = kept; i < x->rank; i++) count *= all[i];
    for (int i = 0; i < kept; i++) {
        shape[i] = all[i];
        same[i] = true;
        for (int k = 0; k < s.n; k++) same[i] = same[i] && s.stride[k][i] == 0;
    }
    View *r = view_new_compact(e, n->out[0].dt, kept, shape, same);
    if (!r) return NULL;
    for (int i = 0; i < kept; i++) shape[i] = same[i] && shape[i] ? 1 : shape[i];
    Walk outer, inner;
    const int64_t *stride[4] = { r->stride, s.stride[0], s.stride[1], s.stride[2] };
    walk_init(&outer, kept, shape, s.n + 1, stride);
    walk_init(&inner, x->rank - kept, all + kept, s.n, (const int64_t *const[]){ s.stride[0] + kept, s.stride[1] + kept, s.stride[2] + kept });
    Acc a = { .fn = (Red)n->fn, .dt = x->dt, .last = n->flag & 1 };
    bool arg = a.fn == RED_ARGMAX || a.fn == RED_ARGMIN, constant = !x->map && count > 1 && inner.rank == 0 && inner.step[0] == 0;
    WALK(outer)
        for (int64_t i = 0; i < outer.n; i++) {
            int64_t base[3];
            for (int k = 0; k < s.n; k++) base[k] = outer.at[k + 1] + i * outer.step[k + 1];
            acc_start(&a);
            if (!constant || !splat_row(&a, scalar_load(x->dt, view_at(x, base[0])), count)) reduce_one(&s, &a, base, &inner);
            scalar_store(r->dt, view_at(r, outer.at[0] + i * outer.step[0]), arg ? (Scalar){ .i = a.best } : a.acc);
        }
    return r;
}

// Strides and shape of x without one axis, for walks along it.
static int without_axis(const View *x, int axis, int64_t *shape, int64_t *stride) {
    int r = 0;
    for (int i = 0; i < x->rank; i++) {
        if (i == axis) continue;
        if (shape) shape[r] = x->shape[i];
        stride[r++] = x->stride[i];
    }
    return r;
}

View *eval_scan(Eval *e, const Node *n, View *x) {
    View *r = view_new(e, x->dt, x->rank, x->shape);
    if (!r) return NULL;
    int64_t shape[MAX_RANK], sx[MAX_RANK], sr[MAX_RANK], len = x->shape[n->axis];
    int rank = without_axis(x, n->axis, shape, sx);
    without_axis(r, n->axis, NULL, sr);
    bool exclusive = n->flag & 1, reverse = n->flag & 2;
    Walk w;
    walk_init(&w, rank, shape, 2, (const int64_t *const[]){ sr, sx });
    WALK(w)
        for (int64_t i = 0; i < w.n; i++) {
            Scalar acc = red_init((Red)n->fn, x->dt);
            for (int64_t k = 0; k < len; k++) {
                int64_t at = reverse ? len - 1 - k : k;
                char *to = view_at(r, w.at[0] + i * w.step[0] + at * r->stride[n->axis]);
                Scalar v = scalar_load(x->dt, view_at(x, w.at[1] + i * w.step[1] + at * x->stride[n->axis]));
                if (exclusive) scalar_store(x->dt, to, acc);
                acc = k ? red_step((Red)n->fn, x->dt, acc, v) : v;
                if (!exclusive) scalar_store(x->dt, to, acc);
            }
        }
    return r;
}

// Whether some x[o,j] goes to place i.
static bool covered(int64_t i, int64_t o, int64_t k, int64_t step, int64_t dil) {
    for (int64_t j = 0; o && j < k; j++) {
        int64_t d = i - j * dil;
        if (d == 0 || (d > 0 && step && d % step == 0 && d / step < o)) return true;
    }
    return false;
}

// out[e] = sum of x[o,j] over o*stride + j*dil = e, in double; of floats from -0 on, so that a sum of one
// is that one.
View *eval_unwindow(Eval *e, const Node *n, View *x, const int64_t *shape) {
    int64_t step, dil, o = x->shape[n->axis], k = x->shape[n->axis + 1], size = shape[n->axis];
    if (!eval_ex(e, n->ex[1], &step) || !eval_ex(e, n->ex[2], &dil)) return NULL;
    if (step < 0 || dil < 0 || (o && k && (o - 1) * step + (k - 1) * dil >= size)) {
        eval_fail(e, CNN_ESHAPE);
        return NULL;
    }
    bool f = dt_is_float(x->dt);
    View *r = view_new(e, x->dt, x->rank - 1, shape), *sum = r ? view_new(e, f ? F64 : I64, x->rank - 1, shape) : NULL;
    if (!sum) {
        view_drop(r);
        return NULL;
    }
    double *from = f ? (double *)(void *)view_at(sum, 0) : NULL;
    for (int64_t i = 0; f && i < view_numel(sum); i++) from[i] = -0.0;
    int64_t stride[MAX_RANK];
    for (int i = 0; i < x->rank; i++) stride[i] = sum->stride[i - (i > n->axis)];
    stride[n->axis + 1] = sum->stride[n->axis] * dil;
    stride[n->axis] = sum->stride[n->axis] * step;
    Walk w;
    walk_init(&w, x->rank, x->shape, 2, (const int64_t *const[]){ stride, x->stride });
    WALK(w)
        for (int64_t i = 0; i < w.n; i++) {
            char *to = view_at(sum, w.at[0] + i * w.step[0]);
            Scalar v = red_step(RED_ADD, x->dt, scalar_load(sum->dt, to), scalar_load(x->dt, view_at(x, w.at[1] + i * w.step[1])));
            scalar_store(sum->dt, to, v);
        }
    int64_t total = view_numel(r), size1 = (int64_t)dt_size(x->dt), inner = 1;
    for (int i = n->axis + 1; i < r->rank; i++) inner *= shape[i];
    for (int64_t i = 0; i < total; i++) {
        Scalar v = scalar_load(sum->dt, view_at(sum, 0) + i * 8);
        if (f && v.f == 0 && !covered(i / inner % size, o, k, step, dil)) v.f = 0;
        scalar_store(x->dt, view_at(r, 0) + i * size1, v);
    }
    view_drop(sum);
    return r;
}

// ---- sort -----------------------------------------------------------------------------------------

typedef struct { Scalar v; int64_t i; } Item;

// Order of floats: NaN is the greatest; ties by index.
static int by_float(const void *pa, const void *pb) {
    const Item *a = pa, *b = pb;
    bool na = isnan(a->v.f), nb = isnan(b->v.f);
    if (na != nb) return na ? 1 : -1;
    if (!na && a->v.f != b->v.f) return a->v.f < b->v.f ? -1 : 1;
    return a->i < b->i ? -1 : a->i > b->i;
}

static int by_float_down(const void *pa, const void *pb) {
    Item a = *(const Item *)pa, b = *(const Item *)pb;
    int64_t i = a.i;
    a.i = b.i, b.i = i; // ties keep the order of indices
    return by_float(&b, &a);
}

static int by_int(const void *pa, const void *pb) {
    const Item *a = pa, *b = pb;
    if (a->v.i != b->v.i) return a->v.i < b->v.i ? -1 : 1;
    return a->i < b->i ? -1 : a->i > b->i;
}

static int by_int_down(const void *pa, const void *pb) {
    const Item *a = pa, *b = pb;
    if (a->v.i != b->v.i) return a->v.i > b->v.i ? -1 : 1;
    return a->i < b->i ? -1 : a->i > b->i;
}

static int str_order(const Item *a, const Item *b) { // by bytes
    const DataStr *s = (const DataStr *)(intptr_t)a->v.i, *t = (const DataStr *)(intptr_t)b->v.i;
    size_t n = s->n < t->n ? s->n : t->n;
    int c = n ? memcmp(s->p, t->p, n) : 0;
    return c ? c : s->n < t->n ? -1 : s->n > t->n;
}

static int by_str(const void *pa, const void *pb) {
    const Item *a = pa, *b = pb;
    int c = str_order(a, b);
    return c ? c : a->i < b->i ? -1 : a->i > b->i;
}

static int by_str_down(const void *pa, const void *pb) {
    const Item *a = pa, *b = pb;
    int c = str_order(b, a);
    return c ? c : a->i < b->i ? -1 : a->i > b->i;
}

static void sort_line(DType dt, bool down, Item *item, int64_t n) {
    bool f = dt_is_float(dt);
    if (dt == U64)
        for (int64_t i = 0; i < n; i++) item[i].v.i ^= INT64_MIN;
    if (dt == STR) qsort(item, (size_t)n, sizeof *item, down ? by_str_down : by_str);
    else qsort(item, (size_t)n, sizeof *item, f ? (down ? by_float_down : by_float) : down ? by_int_down : by_int);
    if (dt == U64)
        for (int64_t i = 0; i < n; i++) item[i].v.i ^= INT64_MIN;
}

void eval_sort(Eval *e, const Node *n, View *x, View **out) {
    View *val = view_new(e, x->dt, x->rank, x->shape), *idx = val ? view_new(e, I64, x->rank, x->shape) : NULL;
    if (!idx) {
        view_drop(val);
        return;
    }
    int64_t shape[MAX_RANK], sx[MAX_RANK], sr[MAX_RANK], len = x->shape[n->axis];
    int rank = without_axis(x, n->axis, shape, sx);
    without_axis(val, n->axis, NULL, sr);
    Item *item = malloc(sizeof *item * (size_t)(len + 1));
    if (!item) fatal("out of memory");
    Walk w;
    walk_init(&w, rank, shape, 2, (const int64_t *const[]){ sr, sx });
    WALK(w)
        for (int64_t i = 0; i < w.n; i++) {
            for (int64_t k = 0; k < len; k++) {
                item[k].v = scalar_load(x->dt, view_at(x, w.at[1] + i * w.step[1] + k * x->stride[n->axis]));
                item[k].i = k;
            }
            sort_line(x->dt, n->flag & 1, item, len);
            for (int64_t k = 0; k < len; k++) {
                int64_t at = w.at[0] + i * w.step[0] + k * val->stride[n->axis];
                scalar_store(x->dt, view_at(val, at), item[k].v);
                scalar_store(I64, view_at(idx, at), (Scalar){ .i = item[k].i });
            }
        }
    free(item);
    out[0] = val;
    out[1] = idx;
}
