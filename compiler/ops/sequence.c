// SPDX-License-Identifier: Apache-2.0
// Sequences and optionals. One whose items are known when compiling is a list of values that a node holds
// together, and operators on it are done here; none of those is left in what is run. Others are values of
// the run (tensor/call.def), which a known one becomes where it meets them.
#include "ops/op.h"
#include "ops/sequence.h"

#include <string.h>

static const CallDef sequence_def = {"sequence", "a list that the compiler takes apart; it is never run"};

// The type of a list of these items.
static Val type_of(Kind kind, DType dt, int n, Val *const *item) {
    Kind of = n && item[0]->kind != K_TENSOR ? item[0]->kind : K_TENSOR;
    Val type = list_type(kind, of, dt, RANK_NO_ITEMS, NULL);
    for (int i = 0; i < n; i++) {
        Val one = list_type(kind, of, dt, item[i]->rank, item[i]->shape);
        type = list_join(&type, &one);
    }
    if (n) type.key = item[0]->key;
    return type;
}

Val *sequence_new(Graph *g, Kind kind, DType dt, int n, Val *const *item) {
    Val type = type_of(kind, dt, n, item);
    return &b_call(g, &sequence_def, n, item, NULL, 0, 1, &type)->out[0];
}

bool sequence_known(const Val *s) {
    return s->kind != K_TENSOR && s->node->op == P_call && s->node->call == &sequence_def;
}

Val *sequence_run(Graph *g, Val *s) {
    if (!sequence_known(s)) return s;
    Val **item = NEWN(Val *, s->node->nin + 1), type = *s;
    for (int i = 0; i < s->node->nin; i++) item[i] = sequence_run(g, s->node->in[i]);
    type.name = NULL;
    return &b_call(g, &call_list_new, s->node->nin, item, NULL, 0, 1, &type)->out[0];
}

static Val *call(Op *o, const CallDef *def, int n, Val *const *in, Val type) {
    return &b_call(o->g, def, n, in, NULL, 0, 1, &type)->out[0];
}

static Val *seq(Op *o, DType dt, int n, Val *const *item) {
    for (int i = 0; i < n; i++)
        if (item[i]->dt != dt) op_fail(o, "item %d is %s, others %s", i, dt_onnx_name(item[i]->dt), dt_onnx_name(dt));
    return sequence_new(o->g, K_SEQ, dt, n, item);
}

// Whether the items of input 0, and where an input has it the position among them, are known.
static bool all_known(Op *o, int input) {
    Ex e;
    int64_t c;
    if (!sequence_known(o->in[0])) return false;
    return input >= o->nin || !o->in[input] || (known_ints(o->in[input], &e, 1) == 1 && e_is_const(e, &c));
}

// A known position in 0..hi, negative ones counted from n; `none` when the input is left out.
static int position(Op *o, int input, int n, int none, int hi) {
    if (input >= o->nin || !o->in[input]) return none;
    Ex e;
    known_ints(o->in[input], &e, 1);
    int64_t at = need_const(o, e, "the position");
    if (at < -n || at > hi) op_fail(o, "position %lld of a sequence of %d", (long long)at, n);
    return (int)(at < 0 ? at + n : at);
}

// The operands of a call: the sequence, `more`, and the position if there is one.
static int operands(Op *o, Val *more, int input, Val **in) {
    int n = 0;
    in[n++] = sequence_run(o->g, o->in[0]);
    if (more) in[n++] = more;
    if (input < o->nin && o->in[input]) in[n++] = cast(o, reshape(o, o->in[input], 0, NULL), I64);
    return n;
}

// y = []
static void sequence_empty(Op *o) {
    int64_t dt = attr_int_or(o, "dtype", F32);
    if (dt <= DT_NONE || dt >= DT_COUNT) op_fail(o, "element type %lld is not supported", (long long)dt);
    o->out[0] = seq(o, (DType)dt, 0, NULL);
}

// y = [x0, x1, …]
static void sequence_construct(Op *o) { o->out[0] = seq(o, o->in[0]->dt, o->nin, o->in); }

// s with x at its end, or at a position
static Val *insert(Op *o, Val *s, Val *x, int n, Val *const *in) {
    Val one = list_type(K_SEQ, K_TENSOR, x->dt, x->rank, x->shape);
    if (s->dt != x->dt && s->rank != RANK_NO_ITEMS) op_fail(o, "a tensor of %s in a sequence of %s", dt_onnx_name(x->dt), dt_onnx_name(s->dt));
    return call(o, &call_list_insert, n, in, list_join(s, &one));
}

static Val *append_item(Op *o, Val *s, Val *x) { return insert(o, s, x, 2, (Val *[]){s, x}); }

// y = s with x before a position, or at its end
static void sequence_insert(Op *o) {
    if (!all_known(o, 2)) {
        Val *in[3];
        int n = operands(o, o->in[1], 2, in);
        o->out[0] = insert(o, in[0], o->in[1], n, in);
        return;
    }
    const Node *s = o->in[0]->node;
    int at = position(o, 2, s->nin, s->nin, s->nin);
    Val **v = NEWN(Val *, s->nin + 1);
    for (int i = 0; i <= s->nin; i++) v[i] = i < at ? s->in[i] : i == at ? o->in[1] : s->in[i - 1];
    o->out[0] = seq(o, o->in[1]->dt, s->nin + 1, v);
}

// y = s without the item at a position, or its last
static void sequence_erase(Op *o) {
    if (!all_known(o, 1)) {
        Val *in[2];
        int n = operands(o, NULL, 1, in);
        o->out[0] = call(o, &call_list_erase, n, in, list_type(K_SEQ, K_TENSOR, in[0]->dt, in[0]->rank, in[0]->shape));
        return;
    }
    const Node *s = o->in[0]->node;
    int at = position(o, 1, s->nin, s->nin - 1, s->nin - 1);
    if (at < 0) op_fail(o, "an empty sequence has nothing to erase");
    Val **v = NEWN(Val *, s->nin + 1);
    for (int i = 0; i + 1 < s->nin; i++) v[i] = s->in[i < at ? i : i + 1];
    o->out[0] = seq(o, o->in[0]->dt, s->nin - 1, v);
}

// The extents that a tensor says where the type does not; else it must say the same.
static void result_shape(Op *o, Val *extents, int rank, const Ex *type, Ex *shape) {
    for (int i = 0; i < rank; i++) {
        Ex k = e_int(i), is = e_size(extents, 1, &k);
        shape[i] = e_is(type[i], -1) ? is : type[i];
        if (shape[i] != is) graph_guard(o->g, G_EQ, is, shape[i], "the shape of an item");
    }
}

// An item: extents that differ from one to another are what this one's are.
static Val *item_at(Op *o, Val *s, Val *at) {
    if (s->rank == RANK_NO_ITEMS) op_fail(o, "the sequence has no items");
    if (s->rank < 0) op_fail(o, "how many dimensions the items have is not known when compiling");
    Val type = {.kind = K_TENSOR, .dt = s->dt, .rank = s->rank}, *in[2] = {s, at};
    Ex shape[MAX_RANK], rank = e_int(s->rank);
    Val *extents = call(o, &call_list_shape, 2, in, (Val){.kind = K_TENSOR, .dt = I64, .rank = 1, .shape = &rank});
    result_shape(o, extents, s->rank, s->shape, shape);
    type.shape = shape;
    return call(o, &call_list_at, 2, in, type);
}

// y = s[position]
static void sequence_at(Op *o) {
    if (!all_known(o, 1)) {
        Val *in[2] = {NULL, NULL};
        operands(o, NULL, 1, in);
        o->out[0] = item_at(o, in[0], in[1]);
        return;
    }
    const Node *s = o->in[0]->node;
    int at = position(o, 1, s->nin, 0, s->nin - 1);
    o->out[0] = s->in[at];
}

static Val *length_of(Op *o, Val *s) {
    if (sequence_known(s)) return scalar_int(o, I64, s->node->nin);
    return call(o, &call_list_length, 1, &s, (Val){.kind = K_TENSOR, .dt = I64});
}

// y = the number of items
static void sequence_length(Op *o) { o->out[0] = length_of(o, o->in[0]); }

// y = the items of a sequence that the run knows
static Val *join(Op *o, Val *s, int axis, bool stack) {
    int aux[2] = {axis, stack};
    Val type = {.kind = K_TENSOR, .dt = s->dt, .rank = s->rank + stack};
    Ex shape[MAX_RANK], rank = e_int(type.rank), known[MAX_RANK];
    for (int i = 0; i < type.rank; i++) known[i] = i == axis ? e_int(-1) : s->shape[i - (stack && i > axis)];
    Val of_shape = {.kind = K_TENSOR, .dt = I64, .rank = 1, .shape = &rank};
    Val *extents = &b_call(o->g, &call_list_join_shape, 1, &s, aux, sizeof aux, 1, &of_shape)->out[0];
    result_shape(o, extents, type.rank, known, shape);
    type.shape = shape;
    return &b_call(o->g, &call_list_join, 1, &s, aux, sizeof aux, 1, &type)->out[0];
}

// y = the items joined along axis, or stacked along a new one
static void concat_from_sequence(Op *o) {
    bool stack = attr_int(o, "new_axis") != 0, known = sequence_known(o->in[0]);
    int rank = o->in[0]->rank;
    if (rank == RANK_NO_ITEMS) op_fail(o, "the sequence is empty");
    if (rank < 0) op_fail(o, "how many dimensions the items have is not known when compiling, or they differ");
    int axis = axis_of(o, attr_int(o, "axis"), rank + stack);
    if (!known) {
        o->out[0] = join(o, o->in[0], axis, stack);
        return;
    }
    const Node *s = o->in[0]->node;
    Val **v = NEWN(Val *, s->nin);
    for (int i = 0; i < s->nin; i++) v[i] = stack ? unsqueeze(o, s->in[i], axis) : s->in[i];
    o->out[0] = concat(o, s->nin, v, axis);
}

// ---- loops over items ----------------------------------------------------------------------------------

// The region of a loop that appends to nseq sequences: its parameters are the number of the iteration, a
// condition and the sequences.
static Op loop_body(Op *o, Val *const *seq, int nseq) {
    Op in = *o;
    in.g = b_loop_body(o->g);
    for (int i = 0; i < nseq; i++) b_param(in.g, seq[i]);
    return in;
}

static Val *empty(Op *o, DType dt) { return sequence_run(o->g, seq(o, dt, 0, NULL)); }

// Part i of x along an axis begins at a carried place and is as long as split[i] says, or `size` until the end.
static Val *split_loop(Op *o, Val *x, int axis, Val *split, Ex count, bool squeezed) {
    Val *carry[2] = {scalar_int(o, I64, 0), empty(o, x->dt)}, *cap[2] = {x, split};
    Op in = loop_body(o, carry, 2);
    Val *i = in.g->in[0], *at = in.g->in[2], *s = in.g->in[3], *whole = b_param(in.g, x);
    Val *sizes = squeezed ? scalar_int(&in, I64, 1) : b_param(in.g, split), *end = b_dims(in.g, I64, 0, NULL, (Ex[]){dim(whole, axis)});
    Val *size = sizes->rank ? take(&in, sizes, i, 0) : squeezed ? sizes : map2(&in, FN_min, sizes, sub(&in, end, at));
    Ex from = e_load(at, 0, NULL), n = size->elems ? size->elems[0] : e_size(size, 0, NULL);
    graph_guard(in.g, G_GE, dim(whole, axis), e_add(from, n), "a part of the axis");
    Val *part = slice(&in, whole, axis, from, n, e_int(1));
    if (squeezed) part = squeeze(&in, part, axis);
    graph_output(in.g, scalar_int(&in, BOOL, 1), "cond");
    graph_output(in.g, add(&in, at, size), "at");
    graph_output(in.g, append_item(&in, s, part), "parts");
    Val *trip = b_dims(o->g, I64, 0, NULL, &count);
    Node *n_ = b_loop(o->g, trip, scalar_int(o, BOOL, 1), 2, carry, squeezed ? 1 : 2, cap, in.g);
    if (split->rank) graph_guard(o->g, G_EQ, e_load(&n_->out[0], 0, NULL), dim(x, axis), "parts of an axis");
    return &n_->out[1];
}

// The parts' sizes where their number is known: count, or -1.
static int known_parts(Op *o, Val *split, Ex n, Ex *part, int most) {
    int64_t size = 1, len, count;
    Ex e;
    if (split && split->rank > 0) {
        if (!dim_const(split, 0, &count) || count > most) return -1;
        need_ints(o, 1, part, most);
        return (int)count;
    }
    if (split && (known_ints(split, &e, 1) != 1 || !e_is_const(e, &size))) return -1;
    if (size < 1) op_fail(o, "parts of size %lld", (long long)size);
    if (!e_is_const(n, &len) || (len + size - 1) / size > most) return -1;
    count = (len + size - 1) / size;
    for (int64_t i = 0; i < count; i++) part[i] = e_int(len - i * size < size ? len - i * size : size);
    return (int)count;
}

// y = x cut along axis in parts of the given sizes; of 1, and the axis gone without keepdims, if none is given
static void split_to_sequence(Op *o) {
    enum { MOST = 4096 };
    Val *x = o->in[0], *split = o->nin > 1 ? o->in[1] : NULL;
    int axis = axis_of(o, attr_int(o, "axis"), x->rank);
    bool squeezed = !split && !attr_int(o, "keepdims");
    Ex *part = NEWN(Ex, MOST), n = dim(x, axis), at = e_int(0);
    int count = known_parts(o, split, n, part, MOST);
    if (count < 0) {
        Val *sizes = cast(o, split ? split : scalar_int(o, I64, 1), I64);
        Ex many = sizes->rank ? dim(sizes, 0) : n;
        if (!sizes->rank && split) {
            Ex size = e_size(sizes, 0, NULL);
            graph_guard(o->g, G_GE, size, e_int(1), "the size of a part");
            many = e_ceil_div(n, size);
        }
        o->out[0] = split_loop(o, x, axis, sizes, many, squeezed);
        return;
    }
    Val **v = NEWN(Val *, count + 1);
    for (int i = 0; i < count; i++) {
        v[i] = slice(o, x, axis, at, part[i], e_int(1));
        at = e_add(at, part[i]);
        if (squeezed) v[i] = squeeze(o, v[i], axis);
    }
    graph_guard(o->g, G_EQ, at, n, "parts of an axis");
    o->out[0] = seq(o, x->dt, count, v);
}

// SequenceMap over items that the run knows: a loop, remade until the types of what it appends to are known.
static void map_loop(Op *o, int nin, int nout) {
    Val **run = NEWN(Val *, nin), **param = NEWN(Val *, nin), **out = NEWN(Val *, nout + 1), **carry = NEWN(Val *, nout + 1), **inner;
    for (int k = 0; k < nin; k++) run[k] = sequence_run(o->g, o->in[k]);
    DType *dt = NEWN(DType, nout + 1);
    for (int k = 0; k < nout; k++) dt[k] = F32;
    Op in;
    int ncap;
    for (bool again = true; again;) {
        again = false;
        for (int k = 0; k < nout; k++) carry[k] = empty(o, dt[k]);
        in = loop_body(o, carry, nout);
        for (int k = 0; k < nin; k++) param[k] = b_param(in.g, run[k]);
        for (int k = 0; k < nin; k++)
            if (run[k]->kind == K_SEQ) param[k] = item_at(&in, param[k], in.g->in[0]);
        ncap = attr_inline(o, "body", in.g, nin, param, out, &inner);
        for (int k = 0; k < nout; k++) {
            if (out[k]->kind != K_TENSOR) op_fail(o, "output %d of the body is no tensor", k);
            again |= out[k]->dt != dt[k];
            dt[k] = out[k]->dt;
        }
    }
    graph_output(in.g, scalar_int(&in, BOOL, 1), "cond");
    for (int k = 0; k < nout; k++) graph_output(in.g, append_item(&in, in.g->in[2 + k], out[k]), "items");
    Val **cap = NEWN(Val *, nin + ncap + 1), *trip = length_of(o, run[0]);
    for (int k = 0; k < nin; k++) {
        cap[k] = run[k];
        if (k == 0 || run[k]->kind != K_SEQ) continue;
        Val *n = length_of(o, run[k]);
        graph_guard(o->g, G_EQ, n->elems ? n->elems[0] : e_load(n, 0, NULL), trip->elems ? trip->elems[0] : e_load(trip, 0, NULL),
                    "sequences of one length");
    }
    for (int k = 0; k < ncap; k++) cap[nin + k] = inner[k];
    Node *n = b_loop(o->g, trip, scalar_int(o, BOOL, 1), nout, carry, nin + ncap, cap, in.g);
    for (int k = 0; k < o->nout; k++) o->out[k] = &n->out[k];
}

// y[i] = body(s[i], and of each further input its item i, or itself when it is a tensor)
static void sequence_map(Op *o) {
    int nin, nout;
    attr_graph_counts(o, "body", &nin, &nout);
    if (nin != o->nin || nout < o->nout) op_fail(o, "the body has %d inputs and %d outputs", nin, nout);
    bool known = true;
    for (int k = 0; k < nin; k++) {
        if (!o->in[k]) op_fail(o, "input %d is missing", k);
        known &= o->in[k]->kind != K_SEQ || (sequence_known(o->in[k]) && o->in[k]->node->nin > 0);
    }
    if (!known) {
        map_loop(o, nin, nout);
        return;
    }
    int n = o->in[0]->node->nin;
    for (int k = 1; k < o->nin; k++)
        if (o->in[k]->kind == K_SEQ && o->in[k]->node->nin != n) op_fail(o, "sequences of unequal lengths");
    Val **param = NEWN(Val *, nin + 1), **out = NEWN(Val *, nout + 1);
    Val ***y = NEWN(Val **, nout + 1);
    for (int k = 0; k < nout; k++) y[k] = NEWN(Val *, n + 1);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < nin; k++) param[k] = o->in[k]->kind == K_SEQ ? o->in[k]->node->in[i] : o->in[k];
        attr_inline(o, "body", o->g, nin, param, out, NULL);
        for (int k = 0; k < nout; k++) y[k][i] = out[k];
    }
    for (int k = 0; k < o->nout; k++) o->out[k] = seq(o, y[k][0]->dt, n, y[k]);
}

// ---- optionals -------------------------------------------------------------------------------------------

// y = x, or without one nothing, of the type that the attribute says
static void optional(Op *o) {
    if (o->nin > 0 && o->in[0]) {
        o->out[0] = sequence_new(o->g, K_OPT, o->in[0]->dt, 1, o->in);
        return;
    }
    Val item;
    if (!attr_type(o, "type", &item)) op_fail(o, "needs an input or the type of what it may hold");
    if (item.kind != K_TENSOR && item.kind != K_SEQ) op_fail(o, "an optional of such a type is not supported");
    Val type = list_type(K_OPT, item.kind, item.dt, RANK_NO_ITEMS, NULL);
    o->out[0] = call(o, &sequence_def, 0, NULL, type);
}

// y = whether the optional has a value
static void optional_has_element(Op *o) {
    Val *x = o->nin > 0 ? o->in[0] : NULL;
    if (x && x->kind == K_OPT && !sequence_known(x))
        o->out[0] = call(o, &call_list_given, 1, &x, (Val){.kind = K_TENSOR, .dt = BOOL});
    else o->out[0] = scalar_int(o, BOOL, x && (x->kind != K_OPT || x->node->nin > 0));
}

Val *optional_value(Op *o, Val *x) {
    if (x->kind != K_OPT) return x;
    if (sequence_known(x)) {
        if (x->node->nin == 0) op_fail(o, "the optional has no value");
        return x->node->in[0];
    }
    if (x->item == K_SEQ) return call(o, &call_list_get, 1, &x, list_type(K_SEQ, K_TENSOR, x->dt, x->rank, x->shape));
    return item_at(o, x, scalar_int(o, I64, 0));
}

// y = the value of the optional
static void optional_get_element(Op *o) { o->out[0] = optional_value(o, o->in[0]); }

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
