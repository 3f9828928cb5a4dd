// SPDX-License-Identifier: Apache-2.0
// Strings: joined, split, made from numbers and read as numbers, looked up. What moves them (Gather, Concat,
// Where, …) is the same as for numbers.
#include "ops/nn.h"

#include <string.h>

Val *call1(Op *o, const CallDef *def, int n, Val *const *in, int nargs, const int64_t *args, DType dt, int rank, const Ex *shape) {
    Val type = {.kind = K_TENSOR, .dt = dt, .rank = rank, .shape = shape};
    return &b_call(o->g, def, n, in, args, sizeof *args * (size_t)nargs, 1, &type)->out[0];
}

/* y = x1 + x2, broadcast */
static void string_concat(Op *o) {
    Ex shape[MAX_RANK];
    int rank = broadcast_shape(o, 2, o->in, shape);
    Val *in[2] = {expand_to(o, o->in[0], rank, shape), expand_to(o, o->in[1], rank, shape)};
    o->out[0] = call1(o, &call_string_concat, 2, in, 0, NULL, STR, rank, shape);
}

/* z = how many pieces the delimiter cuts x into, at most 1 + maxsplit; y = the pieces along a new last axis, as
 * long as the most of them, filled up by "". Without a delimiter x is cut at runs of white space. */
static void string_split(Op *o) {
    Val *x = o->in[0];
    const char *delimiter = attr_str_or(o, "delimiter", "");
    int64_t most = attr_int_or(o, "maxsplit", -1);
    DataStr by = {delimiter, strlen(delimiter)};
    Val *in[2] = {x, const_strs(o, 1, &by)}, *zero = scalar_int(o, I64, 0);
    Val *count = call1(o, &call_string_pieces, 2, in, 1, &most, I64, x->rank, x->shape);
    Val *longest = map2(o, FN_max, reduce(o, RED_MAX, count, -1, NULL, false), zero);
    Ex shape[MAX_RANK];
    if (x->rank == MAX_RANK) op_fail(o, "input 0 has too many dimensions");
    for (int i = 0; i < x->rank; i++) shape[i] = x->shape[i];
    shape[x->rank] = longest->elems ? longest->elems[0] : e_size(longest, 0, NULL);
    o->out[0] = call1(o, &call_string_split, 2, in, 1, &most, STR, x->rank + 1, shape);
    if (o->nout > 1) o->out[1] = count;
}

/* The text of numbers, as NumPy's str. */
static Val *print_numbers(Op *o, Val *x) {
    DType dt = x->dt;
    if (dt_is_int(dt)) dt = dt_is_signed(dt) ? I64 : U64;
    else if (dt_is_float(dt) && dt != F64 && dt != F16) dt = F32;
    x = cast(o, x, dt);
    return call1(o, &call_string_print, 1, &x, 0, NULL, STR, x->rank, x->shape);
}

Val *cast_string(Op *o, Val *x, DType dt) {
    if (x->dt == C64 || x->dt == C128 || dt == C64 || dt == C128) op_fail(o, "strings of complex numbers are not supported");
    if (dt == STR) return print_numbers(o, x);
    if (dt == BOOL) { // as in NumPy: what is not empty
        DataStr none = {"", 0};
        return map1(o, FN_not, map2(o, FN_eq, x, squeeze(o, const_strs(o, 1, &none), 0)));
    }
    bool f = dt_is_float(dt);
    return cast(o, call1(o, f ? &call_string_to_f64 : &call_string_to_i64, 1, &x, 0, NULL, f ? F64 : I64, x->rank, x->shape), dt);
}

const OpDef ops_string[] = {
    {"StringConcat", 20, string_concat},
    {"StringSplit", 20, string_split},
    {NULL, 0, NULL},
};
