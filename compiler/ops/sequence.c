// SPDX-License-Identifier: Apache-2.0
// Sequences and optionals whose items are known when compiling: a sequence is a list of values that a
// node holds together, and operators on it are done here. None is left in what is run.
#include "ops/op.h"
#include "ops/sequence.h"

#include <string.h>

static const CallDef sequence_def = {"sequence", "a list that the compiler takes apart; it is never run"};

Val *sequence_new(Graph *g, Kind kind, DType dt, int n, Val *const *item) {
    Val type = {.kind = kind, .item = n && item[0]->kind != K_TENSOR ? item[0]->kind : K_TENSOR, .dt = dt, .rank = -1};
    return &b_call(g, &sequence_def, n, item, NULL, 0, 1, &type)->out[0];
}

bool sequence_known(const Val *s) {
    return s->kind != K_TENSOR && s->node->op == P_call && s->node->call == &sequence_def;
}

// The node that holds the items; refuses a sequence that only the run knows.
static const Node *items(Op *o, int input) {
    if (!sequence_known(o->in[input])) op_fail(o, "the items of input %d must be known when compiling", input);
    return o->in[input]->node;
}

static Val *seq(Op *o, DType dt, int n, Val *const *item) {
    for (int i = 0; i < n; i++)
        if (item[i]->dt != dt) op_fail(o, "item %d is %s, others %s", i, dt_onnx_name(item[i]->dt), dt_onnx_name(dt));
    return sequence_new(o->g, K_SEQ, dt, n, item);
}

// A position in lo..hi, negative ones counted from n; `none` when the input is left out.
static int position(Op *o, int input, int n, int none, int hi) {
    if (input >= o->nin || !o->in[input]) return none;
    Ex e;
    if (known_ints(o->in[input], &e, 1) != 1) op_fail(o, "the position must be known when compiling");
    int64_t at = need_const(o, e, "the position");
    if (at < -n || at > hi) op_fail(o, "position %lld of a sequence of %d", (long long)at, n);
    return (int)(at < 0 ? at + n : at);
}

// y = []
static void sequence_empty(Op *o) {
    int64_t dt = attr_int_or(o, "dtype", F32);
    if (dt <= DT_NONE || dt >= DT_COUNT) op_fail(o, "element type %lld is not supported", (long long)dt);
    o->out[0] = seq(o, (DType)dt, 0, NULL);
}

// y = [x0, x1, …]
static void sequence_construct(Op *o) { o->out[0] = seq(o, o->in[0]->dt, o->nin, o->in); }

// y = s with x before a position, or at its end
static void sequence_insert(Op *o) {
    const Node *s = items(o, 0);
    int at = position(o, 2, s->nin, s->nin, s->nin);
    Val **v = NEWN(Val *, s->nin + 1);
    for (int i = 0; i <= s->nin; i++) v[i] = i < at ? s->in[i] : i == at ? o->in[1] : s->in[i - 1];
    o->out[0] = seq(o, o->in[1]->dt, s->nin + 1, v);
}

// y = s without the item at a position, or its last
static void sequence_erase(Op *o) {
    const Node *s = items(o, 0);
    int at = position(o, 1, s->nin, s->nin - 1, s->nin - 1);
    if (at < 0) op_fail(o, "an empty sequence has nothing to erase");
    Val **v = NEWN(Val *, s->nin + 1);
    for (int i = 0; i + 1 < s->nin; i++) v[i] = s->in[i < at ? i : i + 1];
    o->out[0] = seq(o, o->in[0]->dt, s->nin - 1, v);
}

// y = s[position]
static void sequence_at(Op *o) {
    const Node *s = items(o, 0);
    o->out[0] = s->in[position(o, 1, s->nin, 0, s->nin - 1)];
}

// y = the number of items
static void sequence_length(Op *o) { o->out[0] = scalar_int(o, I64, items(o, 0)->nin); }

// y = the items joined along axis, or stacked along a new one
static void concat_from_sequence(Op *o) {
    const Node *s = items(o, 0);
    bool stack = attr_int(o, "new_axis") != 0;
    if (s->nin == 0) op_fail(o, "the sequence is empty");
    int axis = axis_of(o, attr_int(o, "axis"), s->in[0]->rank + stack);
    Val **v = NEWN(Val *, s->nin);
    for (int i = 0; i < s->nin; i++) v[i] = stack ? unsqueeze(o, s->in[i], axis) : s->in[i];
    o->out[0] = concat(o, s->nin, v, axis);
}

// y = x cut along axis in parts of the given sizes; of 1, and the axis gone without keepdims, if none is given
static void split_to_sequence(Op *o) {
    enum { MOST = 4096 };
    Val *x = o->in[0], *split = o->nin > 1 ? o->in[1] : NULL;
    int axis = axis_of(o, attr_int(o, "axis"), x->rank);
    int64_t n = need_const(o, dim(x, axis), "the length of the axis that is split"), size = 1;
    Ex *part = NEWN(Ex, MOST);
    int count = split ? need_ints(o, 1, part, MOST) : -1;
    if (split && split->rank == 0) size = need_const(o, part[0], "the size of a part");
    if (!split || split->rank == 0) {
        if (size < 1) op_fail(o, "parts of size %lld", (long long)size);
        count = (int)((n + size - 1) / size < MOST ? (n + size - 1) / size : MOST + 1);
        if (count > MOST) op_fail(o, "more than %d parts", (int)MOST);
        for (int i = 0; i < count; i++) part[i] = e_int(n - i * size < size ? n - i * size : size);
    }
    Val **v = NEWN(Val *, count + 1);
    Ex at = e_int(0);
    for (int i = 0; i < count; i++) {
        if (need_const(o, part[i], "the size of a part") < 0) op_fail(o, "a part has a negative size");
        v[i] = slice(o, x, axis, at, part[i], e_int(1));
        at = e_add(at, part[i]);
        if (!split && !attr_int(o, "keepdims")) v[i] = squeeze(o, v[i], axis);
    }
    if (!e_is(at, n)) op_fail(o, "the parts' sizes add to %s, the axis has %lld", e_str(at), (long long)n);
    o->out[0] = seq(o, x->dt, count, v);
}

// y[i] = body(s[i], and of each further input its item i, or itself when it is a tensor)
static void sequence_map(Op *o) {
    int nin, nout, n = items(o, 0)->nin;
    attr_graph_counts(o, "body", &nin, &nout);
    if (nin != o->nin || nout < o->nout) op_fail(o, "the body has %d inputs and %d outputs", nin, nout);
    for (int k = 1; k < o->nin; k++)
        if (o->in[k]->kind == K_SEQ && items(o, k)->nin != n) op_fail(o, "sequences of unequal lengths");
    Val **param = NEWN(Val *, nin + 1), **out = NEWN(Val *, nout + 1);
    Val ***y = NEWN(Val **, nout + 1);
    for (int k = 0; k < nout; k++) y[k] = NEWN(Val *, n + 1);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < nin; k++) param[k] = o->in[k]->kind == K_SEQ ? items(o, k)->in[i] : o->in[k];
        attr_inline(o, "body", o->g, nin, param, out, NULL);
        for (int k = 0; k < nout; k++) y[k][i] = out[k];
    }
    if (n == 0) op_fail(o, "an empty sequence has no items to map");
    for (int k = 0; k < o->nout; k++) o->out[k] = seq(o, y[k][0]->dt, n, y[k]);
}

// y = x, which is there
static void optional(Op *o) {
    if (o->nin == 0 || !o->in[0]) op_fail(o, "an optional without a value is not supported");
    o->out[0] = sequence_new(o->g, K_OPT, o->in[0]->dt, 1, o->in);
}

// y = whether the optional has a value
static void optional_has_element(Op *o) {
    bool given = o->nin > 0 && o->in[0];
    if (given && o->in[0]->kind == K_OPT) given = items(o, 0)->nin > 0;
    o->out[0] = scalar_int(o, BOOL, given);
}

// y = the value of the optional
static void optional_get_element(Op *o) {
    o->out[0] = o->in[0];
    if (o->in[0]->kind != K_OPT) return;
    if (items(o, 0)->nin == 0) op_fail(o, "the optional has no value");
    o->out[0] = items(o, 0)->in[0];
}

const OpDef ops_sequence[] = {{"SequenceEmpty", 11, sequence_empty},
                              {"SequenceConstruct", 11, sequence_construct},
                              {"SequenceInsert", 11, sequence_insert},
                              {"SequenceErase", 11, sequence_erase},
                              {"SequenceAt", 11, sequence_at},
                              {"SequenceLength", 11, sequence_length},
                              {"SplitToSequence", 11, split_to_sequence},
                              {"ConcatFromSequence", 11, concat_from_sequence},
                              {"SequenceMap", 17, sequence_map},
                              {"Optional", 15, optional},
                              {"OptionalHasElement", 15, optional_has_element},
                              {"OptionalGetElement", 15, optional_get_element},
                              {NULL, 0, NULL}};
