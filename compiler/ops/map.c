// SPDX-License-Identifier: Apache-2.0
// Maps from keys to values: an input of that kind is two tensors, NAME_keys and NAME_values, and its operators
// take them apart when compiling.
#include "ops/nn.h"

#include <string.h>

static void parts(Op *o, Val **keys, Val **values) {
    Val *x = o->in[0];
    if (x->kind != K_MAP || x->node->op != P_call || x->node->call != &call_map_of) op_fail(o, "input 0 must be an input of the model that is a map");
    *keys = x->node->in[0], *values = x->node->in[1];
}

static Val *nothing(Op *o, DType dt, Ex n) {
    DataStr none = {"", 0};
    return dt == STR ? expand_to(o, const_strs(o, 1, &none), 1, &n) : full(o, dt, 0, 1, &n);
}

/* y[n] with the values at their places, 0 or "" elsewhere; a place n is none */
static Val *put_at(Op *o, Val *place, Val *values, Ex n) {
    Val *y = scatter(o, RED_SET, nothing(o, values->dt, e_add(n, e_int(1))), place, values, 0);
    return slice(o, y, 0, e_int(0), n, e_int(1));
}

/* y[i] = the value of the i-th word of the vocabulary */
static void dict_vectorizer(Op *o) {
    Val *keys, *values, *at;
    const DataStr *s = NULL;
    const int64_t *v = NULL;
    parts(o, &keys, &values);
    int ns = attr_strs(o, "string_vocabulary", &s), ni = attr_ints(o, "int64_vocabulary", &v), n = keys->dt == STR ? ns : ni;
    if (n < 1) op_fail(o, "the vocabulary of %s is missing", dt_onnx_name(keys->dt));
    at = keys->dt == STR ? find_string(o, keys, n, s) : find_number(o, cast(o, keys, I64), val_const(const_ints(o, n, v)));
    Val *none = scalar_int(o, I64, n);
    at = select(o, map2(o, FN_lt, at, scalar_int(o, I64, 0)), none, at);
    o->out[0] = put_at(o, at, values, e_int(n));
}

/* y = [the values by ascending key], or with map_form SPARSE each at the place that its key says, of max_map */
static void cast_map(Op *o) {
    Val *keys, *values, *y;
    const char *to = attr_str(o, "cast_to"), *form = attr_str(o, "map_form");
    DType dt = !strcmp(to, "TO_FLOAT") ? F32 : !strcmp(to, "TO_INT64") ? I64 : STR;
    if (dt == STR && strcmp(to, "TO_STRING")) op_fail(o, "cast_to is '%s', not TO_FLOAT, TO_STRING or TO_INT64", to);
    parts(o, &keys, &values);
    if (keys->dt != I64) op_fail(o, "the keys are %s, must be int64", dt_onnx_name(keys->dt));
    if (values->dt != dt) values = values->dt == STR || dt == STR ? cast_string(o, values, dt) : cast(o, values, dt);
    if (!strcmp(form, "SPARSE")) {
        int64_t n = attr_int(o, "max_map");
        if (n < 1) op_fail(o, "max_map is %lld", (long long)n);
        y = scatter(o, RED_SET, nothing(o, dt, e_int(n)), keys, values, 0);
    } else {
        Val *sorted, *order;
        if (strcmp(form, "DENSE")) op_fail(o, "map_form is '%s', not DENSE or SPARSE", form);
        sort(o, keys, 0, false, &sorted, &order);
        y = b_gather(o->g, values, order, 0);
    }
    o->out[0] = unsqueeze(o, y, 0);
}

const OpDef ops_map[] = {{"DictVectorizer", 1, dict_vectorizer}, {"CastMap", 1, cast_map}, {NULL, 0, NULL}};
