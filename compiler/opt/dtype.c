// SPDX-License-Identifier: Apache-2.0
// --dtype: the floating point types of a whole model are one type, inputs and outputs too.
#include "cnncc.h"

static DType replaced(DType dt, DType by) { return dt == F32 || dt == F64 || dt == F16 || dt == BF16 ? by : dt; }

static const Data *converted(const Data *d, DType by) {
    size_t n = d->splat ? 1 : d->n;
    Data *r = data_new(by, n);
    for (size_t i = 0; i < n; i++) data_set(r, i, data_get(d, i));
    return d->splat ? data_alias(by, d->n, r->p, true) : r;
}

static void convert(Graph *g, DType by) {
    for (int i = 0; i < g->nnode; i++) {
        Node *n = g->node[i];
        if (n->op == P_map && n->fn == FN_bitcast && (replaced(n->out[0].dt, by) != n->out[0].dt || replaced(n->in[0]->dt, by) != n->in[0]->dt))
            fatal("%s: --dtype changes the bits of what is reinterpreted (BitCast)", n->name ? n->name : "a node");
        for (int k = 0; k < n->nout; k++) n->out[k].dt = replaced(n->out[k].dt, by);
        if (n->op == P_const && replaced(n->data->dt, by) != n->data->dt) n->data = (Data *)(uintptr_t)converted(n->data, by);
        for (int k = 0; n->region && k < (n->op == P_if ? 2 : 1); k++) convert(n->region[k].g, by);
    }
    g->known = NULL;
}

// In place, before constants are shared or folded: a node keeps its operands, only types change.
void pass_dtype(Graph *g, const Options *opt) {
    DType by = opt->dtype;
    for (int i = 0; opt->entry && !by && i < g->nnode; i++) { // parameters of half types are trained in float32
        DType dt = g->node[i]->out[0].dt;
        if (g->node[i]->op == P_const && g->node[i]->flag && (dt == F16 || dt == BF16)) by = F32;
    }
    if (by) convert(g, by);
}
