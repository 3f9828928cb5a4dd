// SPDX-License-Identifier: Apache-2.0
// The interpreter's map: a scalar function over rows of elements. Axes along which no operand changes
// are computed once.
#include "tensor/eval.h"
#include <string.h>

#define EACH(expr) for (int64_t i = 0; i < len; i++) { out[i].f = (expr); } break

// The commonest functions of floats without a call per element; false: not one of them.
static bool float_row(Fn fn, Scalar *const *x, int64_t len, Scalar *out) {
    const Scalar *a = x[0], *b = fn_info[fn].arity > 1 ? x[1] : x[0];
    switch (fn) {
    case FN_add: EACH(a[i].f + b[i].f);
    case FN_sub: EACH(a[i].f - b[i].f);
    case FN_mul: EACH(a[i].f * b[i].f);
    case FN_div: EACH(a[i].f / b[i].f);
    case FN_neg: EACH(-a[i].f);
    default: return false;
    }
    return true;
}

// n's function on rows of its operands, of type `from`; results rounded to n's type.
void map_row(const Node *n, DType from, Scalar *const *x, int64_t len, Scalar *out) {
    Fn fn = (Fn)n->fn;
    DType dt = n->out[0].dt;
    int arity = fn_info[fn].arity;
    if (dt_is_float(dt) && float_row(fn, x, len, out)) {
        if (dt == F32)
            for (int64_t i = 0; i < len; i++) out[i].f = (double)(float)out[i].f;
        else if (dt != F64)
            for (int64_t i = 0; i < len; i++) out[i].f = round_to(dt, out[i].f);
        return;
    }
    for (int64_t i = 0; i < len; i++) {
        Scalar v[3] = { x[0][i] };
        for (int k = 1; k < arity; k++) v[k] = x[k][i];
        out[i] = fn_eval(fn, dt, from, v);
    }
}

View *eval_map(Eval *e, const Node *n, View *const *x) {
    bool same[MAX_RANK] = { 0 };
    const int64_t *stride[4] = { 0 };
    int arity = fn_info[n->fn].arity, rank = x[0]->rank;
    for (int k = 1; k < arity; k++) {
        if (x[k]->rank == rank && !memcmp(x[k]->shape, x[0]->shape, sizeof *x[0]->shape * (size_t)rank)) continue;
        eval_fail(e, CNN_ESHAPE);
        return NULL;
    }
    for (int i = 0; i < rank; i++) {
        same[i] = true;
        for (int k = 0; k < arity; k++) same[i] = same[i] && x[k]->stride[i] == 0;
    }
    View *r = view_new_compact(e, n->out[0].dt, rank, x[0]->shape, same);
    if (!r) return NULL;
    int64_t shape[MAX_RANK];
    for (int i = 0; i < rank; i++) shape[i] = same[i] && r->shape[i] ? 1 : r->shape[i];
    stride[0] = r->stride;
    for (int k = 0; k < arity; k++) stride[k + 1] = x[k]->stride;
    Walk w;
    Scalar row[3][ROW], out[ROW];
    DType from = x[fn_info[n->fn].result == R_SELECT ? 1 : 0]->dt;
    walk_init(&w, rank, shape, arity + 1, stride);
    WALK(w)
        for (int64_t i = 0; i < w.n; i += ROW) {
            int64_t len = w.n - i < ROW ? w.n - i : ROW;
            for (int k = 0; k < arity; k++)
                load_row(x[k]->dt, view_at(x[k], w.at[k + 1] + i * w.step[k + 1]), w.step[k + 1], len, row[k]);
            map_row(n, from, (Scalar *const[]){ row[0], row[1], row[2] }, len, out);
            store_row(r->dt, view_at(r, w.at[0] + i * w.step[0]), w.step[0], len, out);
        }
    return r;
}
