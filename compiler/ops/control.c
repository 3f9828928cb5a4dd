// SPDX-License-Identifier: Apache-2.0
// Constants, and operators with sub-graphs.
#include "ops/op.h"

#include <string.h>

// ---- Constant ------------------------------------------------------------------------------------

static Val *int_const(Op *o, int rank, int n, const int64_t *v) {
    Data *d = data_new(I64, (size_t)n);
    for (int i = 0; i < n; i++) data_set(d, (size_t)i, (Scalar){.i = v[i]});
    return b_const(o->g, d, rank, (Ex[]){e_int(n)});
}

static Val *float_const(Op *o, int rank, int n, const float *v) {
    Data *d = data_new(F32, (size_t)n);
    for (int i = 0; i < n; i++) data_set(d, (size_t)i, (Scalar){.f = (double)v[i]});
    return b_const(o->g, d, rank, (Ex[]){e_int(n)});
}

static Val *string_const(Op *o, int rank, int n, const DataStr *v) {
    Data *d = data_new(STR, (size_t)n);
    if (n) memcpy((void *)(intptr_t)d->p, v, (size_t)n * sizeof *v);
    return b_const(o->g, d, rank, (Ex[]){e_int(n)});
}

// y = the one value attribute
static void constant(Op *o) {
    const int64_t *ints;
    const float *floats;
    const DataStr *strs;
    int n;
    if (o->nattr != 1) op_fail(o, "%d attributes, needs 1", o->nattr);
    if (attr_has(o, "value")) {
        o->out[0] = attr_tensor(o, "value");
    } else if (attr_has(o, "sparse_value")) {
        o->out[0] = attr_tensor(o, "sparse_value");
    } else if (attr_has(o, "value_int")) {
        int64_t v = attr_int(o, "value_int");
        o->out[0] = int_const(o, 0, 1, &v);
    } else if (attr_has(o, "value_float")) {
        o->out[0] = scalar(o, F32, attr_float(o, "value_float"));
    } else if (attr_has(o, "value_string")) {
        const char *s = attr_str(o, "value_string");
        o->out[0] = string_const(o, 0, 1, &(DataStr){s, strlen(s)});
    } else if ((n = attr_ints(o, "value_ints", &ints)) >= 0) {
        o->out[0] = int_const(o, 1, n, ints);
    } else if ((n = attr_floats(o, "value_floats", &floats)) >= 0) {
        o->out[0] = float_const(o, 1, n, floats);
    } else if ((n = attr_strs(o, "value_strings", &strs)) >= 0) {
        o->out[0] = string_const(o, 1, n, strs);
    }
}

const OpDef ops_control[] = {{"Constant", 1, constant}, {NULL, 0, NULL}};
