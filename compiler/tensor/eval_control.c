// SPDX-License-Identifier: Apache-2.0
// The interpreter's control primitives. Symbols that a region defines are forgotten when it ends.
#include "tensor/eval.h"
#include <stdlib.h>
#include <string.h>

static bool truth(const View *v) { return scalar_load(BOOL, view_at(v, 0)).i != 0; }

void eval_if(Eval *e, const Node *n, View *const *in, View **out) {
    Graph *g = n->region[truth(in[0]) ? 0 : 1].g;
    eval_region(e, g, n->nin - 1, in + 1, out);
}

// The iterations' results of one scan output.
typedef struct { View **v; int n, cap; } Rows;

// Stacks them along a new leading axis; of no iterations, the shape that the node's type says, with
// extents that nothing has defined taken as 0.
static View *stack(Eval *e, const Val *type, const Rows *rows) {
    int64_t shape[MAX_RANK] = { rows->n };
    for (int k = 1; k < type->rank; k++)
        if (rows->n) shape[k] = rows->v[0]->shape[k - 1];
        else if (!eval_ex(e, type->shape[k], &shape[k])) shape[k] = 0;
    View *r = view_new(e, type->dt, type->rank, shape);
    for (int i = 0; i < rows->n && r; i++) {
        if (memcmp(rows->v[i]->shape, shape + 1, sizeof *shape * (size_t)(type->rank - 1))) {
            eval_fail(e, CNN_ESHAPE);
            view_drop(r);
            return NULL;
        }
        copy_view(r, i * r->stride[0], r->stride + 1, rows->v[i]);
    }
    return r;
}

// One iteration: state holds the condition and the carried values, and takes their successors; the
// scan values go to rows.
static bool iterate(Eval *e, const Node *n, View *const *in, View **state, Rows *rows, int64_t i) {
    Graph *g = n->region->g;
    int ncarry = n->axis, ncap = n->nin - 2 - ncarry, nscan = n->nout - ncarry;
    View **arg = calloc((size_t)(g->nin + g->nout + 1), sizeof *arg), **res = arg + g->nin;
    if (!arg) fatal("out of memory");
    arg[0] = view_new(e, I64, 0, NULL);
    scalar_store(I64, view_at(arg[0], 0), (Scalar){ .i = i });
    for (int k = 0; k <= ncarry; k++) arg[1 + k] = state[k];
    for (int k = 0; k < ncap; k++) arg[2 + ncarry + k] = in[2 + ncarry + k];
    bool ok = eval_region(e, g, g->nin, arg, res);
    view_drop(arg[0]);
    for (int k = 0; ok && k <= ncarry; k++) {
        view_drop(state[k]);
        state[k] = res[k];
    }
    for (int k = 0; ok && k < nscan; k++) PUSH(rows[k].v, rows[k].n, rows[k].cap, res[1 + ncarry + k]);
    free(arg);
    return ok;
}

void eval_loop(Eval *e, const Node *n, View *const *in, View **out) {
    int ncarry = n->axis, nscan = n->nout - ncarry;
    View **state = calloc((size_t)ncarry + 1, sizeof *state);
    Rows *rows = calloc((size_t)nscan + 1, sizeof *rows);
    if (!state || !rows) fatal("out of memory");
    int64_t trip = scalar_load(I64, view_at(in[0], 0)).i;
    for (int k = 0; k <= ncarry; k++) state[k] = view_ref(in[1 + k]);
    bool ok = true;
    for (int64_t i = 0; ok && i < trip && truth(state[0]); i++) {
        if (e->trips == 0) eval_fail(e, EVAL_LIMIT);
        else if (e->trips > 0) e->trips--;
        ok = !e->status && iterate(e, n, in, state, rows, i);
    }
    for (int k = 0; k < ncarry; k++)
        if (ok) out[k] = view_ref(state[1 + k]);
    for (int k = 0; k < nscan; k++) {
        if (ok) out[ncarry + k] = stack(e, &n->out[ncarry + k], &rows[k]);
        for (int i = 0; i < rows[k].n; i++) view_drop(rows[k].v[i]);
    }
    for (int k = 0; k <= ncarry; k++) view_drop(state[k]);
    free(state);
    free(rows);
}
