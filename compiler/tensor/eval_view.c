// SPDX-License-Identifier: Apache-2.0
// The interpreter's values: strided views, walks over them, and the primitives that only move the
// view: reshape, permute, expand, slice, window.
#include "tensor/eval.h"
#include <stdlib.h>
#include <string.h>

static void *need(void *p) {
    if (!p) fatal("out of memory");
    return p;
}

static Buf *buf_ref(Buf *b) {
    b->refs++;
    return b;
}

static void buf_drop(Buf *b) {
    if (!b || --b->refs) return;
    if (b->owned) free((void *)(intptr_t)b->p);
    free(b);
}

View *view_ref(View *v) {
    v->refs++;
    return v;
}

void view_drop(View *v) {
    if (!v || --v->refs) return;
    buf_drop(v->buf);
    for (int i = 0; i < 3; i++) view_drop(v->arg[i]); // one level: operands of a lazy map are not lazy
    free(v);
}

static View *view_head(DType dt, int rank, const int64_t *shape, Buf *buf) {
    View *v = need(calloc(1, sizeof *v));
    v->refs = 1;
    v->dt = dt;
    v->rank = rank;
    v->buf = buf;
    if (rank > 0) memcpy(v->shape, shape, sizeof *shape * (size_t)rank);
    return v;
}

static int64_t product(int rank, const int64_t *shape) {
    size_t n = 1;
    for (int i = 0; i < rank; i++)
        if (shape[i] <= 0) return 0;
    for (int i = 0; i < rank; i++) n = mul_size(n, (size_t)shape[i]);
    return (int64_t)n;
}

int64_t view_numel(const View *v) { return product(v->rank, v->shape); }

// A zeroed value whose elements along the axes of `same` share their memory. Negative extents are
// ESHAPE; a buffer beyond the limit is EVAL_LIMIT.
View *view_new_compact(Eval *e, DType dt, int rank, const int64_t *shape, const bool *same) {
    int64_t stored[MAX_RANK];
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0) {
            eval_fail(e, CNN_ESHAPE);
            return NULL;
        }
        stored[i] = same && same[i] && shape[i] ? 1 : shape[i];
    }
    int64_t n = product(rank, stored);
    size_t size = mul_size((size_t)n, dt_size(dt));
    if (e->limit && size > e->limit) {
        eval_fail(e, EVAL_LIMIT);
        return NULL;
    }
    Buf *b = need(calloc(1, sizeof *b));
    b->refs = 1;
    b->owned = true;
    b->p = need(calloc(size ? size : 1, 1));
    View *v = view_head(dt, rank, shape, b);
    for (int64_t i = rank - 1, step = 1; i >= 0; i--) {
        v->stride[i] = stored[i] == 1 ? 0 : step;
        step *= stored[i];
    }
    return v;
}

View *view_new(Eval *e, DType dt, int rank, const int64_t *shape) { return view_new_compact(e, dt, rank, shape, NULL); }

View *view_of(View *v, int rank, const int64_t *shape) {
    View *r = view_head(v->dt, rank, shape, buf_ref(v->buf));
    r->off = v->off;
    return r;
}

View *view_of_data(DType dt, int rank, const int64_t *shape, const void *p, bool splat) {
    Buf *b = need(calloc(1, sizeof *b));
    b->refs = 1;
    b->p = p;
    View *v = view_head(dt, rank, shape, b);
    for (int64_t i = rank - 1, step = 1; i >= 0; i--) {
        v->stride[i] = splat || shape[i] == 1 ? 0 : step;
        step *= shape[i];
    }
    return v;
}

bool view_is_splat(const View *v) {
    for (int i = 0; i < v->rank; i++)
        if (v->shape[i] == 0 || (v->shape[i] > 1 && v->stride[i])) return false;
    return true;
}

static bool is_contiguous(const View *v) {
    int64_t step = 1;
    for (int i = v->rank - 1; i >= 0; i--) {
        if (v->shape[i] != 1 && v->stride[i] != step) return false;
        step *= v->shape[i];
    }
    return true;
}

View *view_contiguous(Eval *e, View *v) {
    if (is_contiguous(v)) return view_ref(v);
    View *r = view_new(e, v->dt, v->rank, v->shape);
    if (r) copy_view(r, 0, r->stride, v);
    return r;
}

View *view_of_tensor(const Tensor *t) {
    if (t->kind != K_TENSOR) {
        View *v = view_head(t->dt, 0, NULL, NULL);
        v->kind = t->kind;
        v->item = (Tensor *)(intptr_t)t;
        return v;
    }
    return view_of_data(t->dt, t->rank, t->shape, t->data->p, t->data->splat);
}

// The value as a tensor of its own; splats stay splats. Without `keep` the tensor may share v's memory
// and is good as long as v is.
Tensor *view_tensor(Eval *e, View *v, bool keep) {
    if (v->kind != K_TENSOR) return v->item;
    Tensor *t = NEW(Tensor);
    t->dt = v->dt;
    t->rank = v->rank;
    memcpy(t->shape, v->shape, sizeof t->shape);
    size_t n = (size_t)view_numel(v);
    if (n > 1 && view_is_splat(v)) {
        void *p = arena_alloc(dt_size(v->dt));
        memcpy(p, view_at(v, 0), dt_size(v->dt));
        t->data = data_alias(v->dt, n, p, true);
        return t;
    }
    if (is_contiguous(v) && (!keep || !v->buf->owned)) {
        t->data = data_alias(v->dt, n, view_at(v, 0), false);
        return t;
    }
    if (e->limit && mul_size(n, dt_size(v->dt)) > e->limit) {
        eval_fail(e, EVAL_LIMIT);
        return NULL;
    }
    t->data = data_new(v->dt, n);
    if (n) {
        View *to = view_of_data(v->dt, v->rank, v->shape, t->data->p, false);
        copy_view(to, 0, to->stride, v);
        view_drop(to);
    }
    return t;
}

// ---- walks --------------------------------------------------------------------------------------

// Starts a walk in row-major order. Axes of extent 1 go, axes that are one in every view are joined.
void walk_init(Walk *w, int rank, const int64_t *shape, int nview, const int64_t *const *stride) {
    memset(w, 0, sizeof *w);
    w->nview = nview;
    w->done = product(rank, shape) == 0;
    int r = 0;
    for (int i = 0; i < rank; i++) {
        if (shape[i] == 1) continue;
        bool join = r > 0;
        for (int k = 0; k < nview && join; k++) join = w->stride[k][r - 1] == stride[k][i] * shape[i];
        if (join) r--;
        w->shape[r] = join ? w->shape[r] * shape[i] : shape[i];
        for (int k = 0; k < nview; k++) w->stride[k][r] = stride[k][i];
        r++;
    }
    w->rank = r ? r - 1 : 0;
    w->n = r ? w->shape[r - 1] : 1;
    for (int k = 0; k < nview; k++) w->step[k] = r ? w->stride[k][r - 1] : 0;
}

void walk_next(Walk *w) {
    for (int i = w->rank - 1; i >= 0; i--) {
        bool wrap = ++w->idx[i] == w->shape[i];
        for (int k = 0; k < w->nview; k++) w->at[k] += wrap ? w->stride[k][i] * (1 - w->shape[i]) : w->stride[k][i];
        if (!wrap) return;
        w->idx[i] = 0;
    }
    w->done = true;
}

// ---- rows of elements -----------------------------------------------------------------------------

#define LOADS(T, m) { const T *q = (const void *)p; for (int64_t i = 0; i < n; i++) out[i].m = q[i * step]; return; }
#define STORES(T, m) { T *q = (void *)p; for (int64_t i = 0; i < n; i++) q[i * step] = (T)in[i].m; return; }

// n elements, `step` apart, as scalars. Memory of constants may be unaligned: then one by one.
void load_row(DType dt, const char *p, int64_t step, int64_t n, Scalar *out) {
    if (!step && n > 1) {
        Scalar v = scalar_load(dt, p);
        for (int64_t i = 0; i < n; i++) out[i] = v;
        return;
    }
    size_t size = dt_size(dt);
    if ((uintptr_t)p % size == 0) {
        switch (dt) {
        case F32: LOADS(float, f)
        case F64: LOADS(double, f)
        case I64: LOADS(int64_t, i)
        case I32: LOADS(int32_t, i)
        case U8: case BOOL: LOADS(uint8_t, i)
        case I8: LOADS(int8_t, i)
        default: break;
        }
    }
    for (int64_t i = 0; i < n; i++) out[i] = scalar_load(dt, p + i * step * (int64_t)size);
}

// Stores n scalars that are of the type's values already, or will be rounded and wrapped.
void store_row(DType dt, char *p, int64_t step, int64_t n, const Scalar *in) {
    switch (dt) {
    case F32: STORES(float, f)
    case F64: STORES(double, f)
    case I64: STORES(int64_t, i)
    case BOOL: STORES(uint8_t, i)
    default: break;
    }
    int64_t size = (int64_t)dt_size(dt);
    for (int64_t i = 0; i < n; i++) scalar_store(dt, p + i * step * size, in[i]);
}

void copy_row(size_t size, char *to, int64_t to_step, const char *from, int64_t from_step, int64_t n) {
    if (to_step == 1 && from_step == 1) {
        memcpy(to, from, size * (size_t)n);
        return;
    }
    int64_t ts = to_step * (int64_t)size, fs = from_step * (int64_t)size;
    switch (size) {
    case 1: for (int64_t i = 0; i < n; i++, to += ts, from += fs) *to = *from; break;
    case 2: for (int64_t i = 0; i < n; i++, to += ts, from += fs) memcpy(to, from, 2); break;
    case 4: for (int64_t i = 0; i < n; i++, to += ts, from += fs) memcpy(to, from, 4); break;
    case 8: for (int64_t i = 0; i < n; i++, to += ts, from += fs) memcpy(to, from, 8); break;
    default: for (int64_t i = 0; i < n; i++, to += ts, from += fs) memcpy(to, from, size); break;
    }
}

// Copies all of `from` into `to` at to_off with strides of its own.
void copy_view(View *to, int64_t to_off, const int64_t *to_stride, const View *from) {
    Walk w;
    size_t size = dt_size(from->dt);
    walk_init(&w, from->rank, from->shape, 2, (const int64_t *const[]){ to_stride, from->stride });
    WALK(w) copy_row(size, view_at(to, to_off + w.at[0]), w.step[0], view_at(from, w.at[1]), w.step[1], w.n);
}

// ---- views ----------------------------------------------------------------------------------------

// Strides of the same elements in another shape, where no copy is needed: matches groups of axes of
// equal size, each of which must be one axis as far as strides go.
static bool reshape_strides(const View *x, int rank, const int64_t *shape, int64_t *stride) {
    int64_t from[MAX_RANK], step[MAX_RANK];
    int n = 0, i = 0;
    for (int k = 0; k < x->rank; k++)
        if (x->shape[k] != 1) from[n] = x->shape[k], step[n++] = x->stride[k];
    for (int k = 0; k < rank;) {
        if (shape[k] == 1) {
            stride[k++] = 0;
            continue;
        }
        if (i == n) return false;
        int i1 = i + 1, k1 = k + 1;
        int64_t a = from[i], b = shape[k];
        while (a != b) {
            if (a < b) {
                if (i1 == n || step[i1 - 1] != step[i1] * from[i1]) return false;
                a *= from[i1++];
            } else {
                if (k1 == rank) return false;
                b *= shape[k1++];
            }
        }
        stride[k1 - 1] = step[i1 - 1];
        for (int j = k1 - 2; j >= k; j--) stride[j] = stride[j + 1] * shape[j + 1];
        i = i1, k = k1;
    }
    return true;
}

View *eval_reshape(Eval *e, View *x, int rank, const int64_t *shape) {
    int64_t n = view_numel(x);
    if (product(rank, shape) != n) {
        eval_fail(e, CNN_ESHAPE);
        return NULL;
    }
    View *r = view_of(x, rank, shape);
    if (!n || view_is_splat(x) || reshape_strides(x, rank, shape, r->stride)) return r;
    view_drop(r);
    View *c = view_contiguous(e, x);
    if (!c) return NULL;
    r = view_of(c, rank, shape);
    view_drop(c);
    for (int64_t i = rank - 1, step = 1; i >= 0; step *= shape[i--]) r->stride[i] = step;
    return r;
}

View *eval_permute(Eval *e, const Node *n, View *x) {
    int64_t shape[MAX_RANK];
    int64_t axis[MAX_RANK];
    for (int i = 0; i < x->rank; i++) {
        if (!eval_ex(e, n->ex[i], &axis[i])) return NULL;
        shape[i] = x->shape[axis[i]];
    }
    View *r = view_of(x, x->rank, shape);
    for (int i = 0; i < x->rank; i++) r->stride[i] = x->stride[axis[i]];
    return r;
}

View *eval_expand(Eval *e, View *x, const int64_t *shape) {
    View *r = view_of(x, x->rank, shape);
    for (int i = 0; i < x->rank; i++) {
        r->stride[i] = x->shape[i] == 1 ? 0 : x->stride[i];
        if (x->shape[i] == shape[i] || x->shape[i] == 1) continue;
        view_drop(r);
        eval_fail(e, CNN_ESHAPE);
        return NULL;
    }
    return r;
}

View *eval_slice(Eval *e, const Node *n, View *x, const int64_t *shape) {
    int64_t start, step, size = shape[n->axis], end = x->shape[n->axis];
    if (!eval_ex(e, n->ex[0], &start) || !eval_ex(e, n->ex[1], &step)) return NULL;
    if (size < 0 || (size && (start < 0 || start >= end || (size > 1 && (step > end || step < -end)))) ||
        (size > 1 && (start + (size - 1) * step < 0 || start + (size - 1) * step >= end))) {
        eval_fail(e, CNN_ESHAPE);
        return NULL;
    }
    View *r = view_of(x, x->rank, shape);
    memcpy(r->stride, x->stride, sizeof r->stride);
    if (size) r->off += start * x->stride[n->axis];
    r->stride[n->axis] *= size > 1 ? step : 0;
    return r;
}

View *eval_window(Eval *e, const Node *n, View *x, const int64_t *shape) {
    int64_t k, stride, dil, o = shape[n->axis], size = x->shape[n->axis];
    if (!eval_ex(e, n->ex[0], &k) || !eval_ex(e, n->ex[1], &stride) || !eval_ex(e, n->ex[2], &dil)) return NULL;
    if (o < 0 || k < 0 || stride < 0 || dil < 0 || (o && k && (o - 1) * stride + (k - 1) * dil >= size)) {
        eval_fail(e, CNN_ESHAPE);
        return NULL;
    }
    View *r = view_of(x, x->rank + 1, shape);
    for (int i = 0; i < x->rank; i++) r->stride[i + (i > n->axis)] = x->stride[i];
    r->stride[n->axis] = x->stride[n->axis] * stride;
    r->stride[n->axis + 1] = x->stride[n->axis] * dil;
    return r;
}
