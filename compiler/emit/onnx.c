// SPDX-License-Identifier: Apache-2.0
// Writes a graph as an ONNX model of standard operators, so that another runtime can run it as a check.
// Guards are not written: a runtime has checks of its own.
#include "emit/onnx.h"
#include <stdlib.h>
#include <string.h>

#define AXIS(a) (At[]){ { .name = "axis", .kind = 'i', .i = (a) }, { 0 } }

static const char *const_op(Out *o, const Node *n) {
    const Val *v = &n->out[0];
    int64_t dims[MAX_RANK];
    for (int i = 0; i < v->rank; i++) e_is_const(v->shape[i], &dims[i]);
    if (!n->data->splat || n->data->n < 64 || dt_is_moved(v->dt)) return onnx_data(o, v->dt, v->rank, dims, n->data);
    int64_t one = 1;
    Onnx__TensorProto *t = onnx_tensor(v->dt, 1, &one, data_alias(v->dt, 1, n->data->p, false), NULL);
    const char *shape = onnx_ints(o, 1, v->rank, dims);
    return onnx_op(o, "ConstantOfShape", 1, &shape, (At[]){ { .name = "value", .kind = 't', .t = t }, { 0 } });
}

// 0, 1, …, n-1 of i64.
static const char *range(Out *o, Ex n) { return OP3(o, "Range", onnx_scalar(o, e_int(0)), onnx_scalar(o, n), onnx_scalar(o, e_int(1))); }

static const char *random_op(Out *o, const Node *n) {
    const char *shape = onnx_list(o, n->out[0].rank, n->out[0].shape), *zero = onnx_number(o, F64, (Scalar){ .f = 0 });
    const char *x = OP2(o, "Expand", zero, shape);
    int64_t seed = 0;
    e_is_const(n->ex[0], &seed);
    At at[] = { { .name = "dtype", .kind = 'i', .i = F64 }, { .name = "high", .kind = 'f', .f = 4294967040.0 },
                { .name = n->flag ? "seed" : NULL, .kind = 'f', .f = (double)(seed + n->axis) }, { 0 } };
    return onnx_cast(o, onnx_op(o, "RandomUniformLike", 1, &x, at), F64, U32);
}

// A type that reductions have kernels for.
static DType wide(DType dt) {
    if (dt == F32 || dt == F64 || dt == I32 || dt == I64) return dt;
    return dt_is_float(dt) ? F32 : dt == BOOL ? I32 : I64;
}

static const char *reduce_op(Out *o, const Node *n, const char *x) {
    static const char *const type[] = { "ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceMin", "ReduceSum", "ArgMax", "ArgMin" }; // of nothing, or is false
    DType dt = n->in[0]->dt, w = wide(dt);
    x = onnx_cast(o, x, dt, w);
    if (n->fn == RED_ARGMAX || n->fn == RED_ARGMIN) {
        int64_t axis = 0;
        e_is_const(n->ex[0], &axis);
        return onnx_op(o, type[n->fn], 1, &x, (At[]){ { .name = "axis", .kind = 'i', .i = axis }, { .name = "keepdims", .kind = 'i' },
                                                { .name = "select_last_index", .kind = 'i', .i = n->flag & 1 }, { 0 } });
    }
    if ((n->fn == RED_AND || n->fn == RED_OR) && dt != BOOL) {
        error("--emit-onnx: no operator reduces the bits of %s", dt_name(dt));
        *o->failed = true;
    }
    const char *in[2] = { x, onnx_list(o, n->nex, n->ex) };
    return onnx_cast(o, onnx_op(o, type[n->fn], 2, in, (At[]){ { .name = "keepdims", .kind = 'i' }, { 0 } }), w, dt);
}

static const char *reshape_to(Out *o, const char *x, const char *shape) {
    return onnx_op(o, "Reshape", 2, (const char *const[]){ x, shape }, (At[]){ { .name = "allowzero", .kind = 'i', .i = 1 }, { 0 } });
}

static const char *permute_op(Out *o, const Node *n, const char *x) {
    int64_t perm[MAX_RANK];
    for (int i = 0; i < n->nex; i++) e_is_const(n->ex[i], &perm[i]);
    return onnx_op(o, "Transpose", 1, &x, (At[]){ { .name = "perm", .kind = 'I', .ints = perm, .nints = n->nex }, { 0 } });
}

// A step down has its end counted from behind, where one before the first is less than all.
static const char *slice_op(Out *o, const Node *n, const char *x) {
    Ex start = n->ex[0], end = e_add(start, e_mul(n->out[0].shape[n->axis], n->ex[1]));
    if (!e_ge0(n->ex[1])) end = e_sub(end, n->in[0]->shape[n->axis]);
    Ex axis = e_int(n->axis);
    const char *in[5] = { x, onnx_list(o, 1, &start), onnx_list(o, 1, &end), onnx_list(o, 1, &axis), onnx_list(o, 1, &n->ex[1]) };
    return onnx_op(o, "Slice", 5, in, NULL);
}

static const char *pad_op(Out *o, const Node *n, const char *x, const char *value) {
    DType dt = n->in[0]->dt, w = dt_bits(dt) == 16 ? wide(dt) : dt;
    Ex axis = e_int(n->axis);
    const char *in[4] = { onnx_cast(o, x, dt, w), onnx_list(o, 2, n->ex), onnx_cast(o, value, dt, w), onnx_list(o, 1, &axis) };
    return onnx_cast(o, onnx_op(o, "Pad", 4, in, NULL), w, dt);
}

// [o, k]: o*stride + k*dil
static const char *taps(Out *o, Ex no, Ex nk, Ex stride, Ex dil) {
    const char *column = onnx_list(o, 2, (Ex[]){ e_int(-1), e_int(1) });
    const char *a = OP2(o, "Reshape", OP2(o, "Mul", range(o, no), onnx_scalar(o, stride)), column);
    return OP2(o, "Add", a, OP2(o, "Mul", range(o, nk), onnx_scalar(o, dil)));
}

static const char *window_op(Out *o, const Node *n, const char *x) {
    const Val *v = &n->out[0];
    const char *in[2] = { x, taps(o, v->shape[n->axis], n->ex[0], n->ex[1], n->ex[2]) };
    return onnx_op(o, "Gather", 2, in, AXIS(n->axis));
}

static const char *scatter(Out *o, const char *x, const char *index, const char *upd, int axis, const char *fn);

static const char *unwindow_op(Out *o, const Node *n, const char *x) {
    const Val *in = n->in[0], *v = &n->out[0];
    DType dt = in->dt, w = wide(dt);
    Ex shape[MAX_RANK], line[MAX_RANK];
    for (int i = 0; i < v->rank; i++) {
        shape[i] = i == n->axis ? e_mul(in->shape[i], in->shape[i + 1]) : v->shape[i];
        line[i] = i == n->axis ? shape[i] : e_int(1);
    }
    const char *flat = onnx_list(o, v->rank, shape);
    const char *index = taps(o, in->shape[n->axis], in->shape[n->axis + 1], n->ex[1], n->ex[2]);
    index = OP2(o, "Expand", reshape_to(o, index, onnx_list(o, v->rank, line)), flat);
    const char *zero = OP2(o, "Expand", onnx_number(o, w, (Scalar){ .i = 0 }), onnx_list(o, v->rank, v->shape));
    return onnx_cast(o, scatter(o, zero, index, reshape_to(o, onnx_cast(o, x, dt, w), flat), n->axis, "add"), w, dt);
}

// ScatterElements; fn "none" sets.
static const char *scatter(Out *o, const char *x, const char *index, const char *upd, int axis, const char *fn) {
    At at[] = { { .name = "axis", .kind = 'i', .i = axis }, { .name = "reduction", .kind = 's', .s = fn }, { 0 } };
    return onnx_op(o, "ScatterElements", 3, (const char *const[]){ x, index, upd }, at);
}

static const char *scatter_op(Out *o, const Node *n, const char *const *in) {
    static const char *const fn[] = { "add", "mul", "max", "min", "min", "max", NULL, NULL, "none" };
    DType dt = n->in[0]->dt, w = n->fn == RED_SET ? dt : wide(dt);
    if ((n->fn == RED_AND || n->fn == RED_OR) && dt != BOOL) {
        error("--emit-onnx: no operator scatters the bits of %s", dt_name(dt));
        *o->failed = true;
    }
    const char *index = onnx_cast(o, in[1], n->in[1]->dt, I64);
    return onnx_cast(o, scatter(o, onnx_cast(o, in[0], dt, w), index, onnx_cast(o, in[2], dt, w), n->axis, fn[n->fn]), w, dt);
}

// Prefixes by reducing, for each place, what a triangle leaves of all places.
static const char *scan_by_triangle(Out *o, const Node *n, const char *x, DType dt) {
    static const char *const type[] = { "ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin" };
    const Val *v = &n->out[0];
    Ex len = v->shape[n->axis], shape[MAX_RANK], mask[MAX_RANK];
    for (int i = 0; i <= v->rank; i++) {
        shape[i] = i == n->axis ? e_int(1) : v->shape[i < n->axis ? i : i - 1];
        mask[i] = i == n->axis || i == n->axis + 1 ? len : e_int(1);
    }
    Scalar none = { .f = n->fn == RED_MAX ? -1.0 / 0.0 : 1.0 / 0.0 };
    if (n->fn == RED_MUL) none.f = 1;
    if (!dt_is_float(dt)) none.i = n->fn == RED_MUL ? 1 : n->fn == RED_MAX ? (dt == I32 ? INT32_MIN : INT64_MIN) : dt == I32 ? INT32_MAX : INT64_MAX;
    const char *to = OP2(o, "Reshape", range(o, len), onnx_list(o, 2, (Ex[]){ e_int(-1), e_int(1) })), *from = range(o, len);
    bool exclusive = n->flag & 1, reverse = n->flag & 2;
    const char *seen = OP2(o, exclusive ? "Less" : "LessOrEqual", reverse ? to : from, reverse ? from : to);
    seen = OP2(o, "Reshape", seen, onnx_list(o, v->rank + 1, mask));
    const char *all = reshape_to(o, x, onnx_list(o, v->rank + 1, shape));
    Ex axis = e_int(n->axis + 1);
    const char *in[2] = { OP3(o, "Where", seen, all, onnx_number(o, dt, none)), onnx_list(o, 1, &axis) };
    return onnx_op(o, type[n->fn], 2, in, (At[]){ { .name = "keepdims", .kind = 'i' }, { 0 } });
}

static const char *scan_op(Out *o, const Node *n, const char *x) {
    DType dt = n->in[0]->dt, w = wide(dt);
    x = onnx_cast(o, x, dt, w);
    if (n->fn > RED_MIN) {
        error("--emit-onnx: no operator for a scan by %s", red_name[n->fn]);
        *o->failed = true;
        return x;
    }
    if (n->fn != RED_ADD) return onnx_cast(o, scan_by_triangle(o, n, x, w), w, dt);
    At at[] = { { .name = "exclusive", .kind = 'i', .i = n->flag & 1 }, { .name = "reverse", .kind = 'i', .i = (n->flag >> 1) & 1 }, { 0 } };
    return onnx_cast(o, onnx_op(o, "CumSum", 2, (const char *const[]){ x, onnx_scalar(o, e_int(n->axis)) }, at), w, dt);
}

static void sort_op(Out *o, const Node *n, const char *x, const char **out) {
    DType dt = n->in[0]->dt, w = wide(dt);
    Ex len = n->in[0]->shape[n->axis];
    At at[] = { { .name = "axis", .kind = 'i', .i = n->axis }, { .name = "largest", .kind = 'i', .i = n->flag & 1 }, { 0 } };
    out[0] = onnx_fresh(o), out[1] = onnx_fresh(o);
    onnx_put(o, "TopK", 2, (const char *const[]){ onnx_cast(o, x, dt, w), onnx_list(o, 1, &len) }, 2, out, at);
    out[0] = onnx_cast(o, out[0], w, dt);
}

// ---- regions ------------------------------------------------------------------------------------------

static void write_nodes(Out *o);

// A region as the body of a node: its first nparam parameters are the body's inputs, the others stand
// for values around it.
static Onnx__GraphProto *body(Out *up, const Graph *g, int nparam, int ncap, const char *const *cap) {
    Out o = { .g = g, .up = up, .name = NEWN(const char *, g->nval + 1), .count = up->count, .failed = up->failed };
    Onnx__GraphProto *p = NEW(Onnx__GraphProto);
    onnx__graph_proto__init(p);
    p->name = (char *)(intptr_t)onnx_fresh(up);
    p->input = NEWN(Onnx__ValueInfoProto *, nparam + 1);
    p->n_input = (size_t)nparam;
    for (int i = 0; i < nparam; i++) {
        const char *name = o.name[g->in[i]->id] = onnx_fresh(&o);
        p->input[i] = onnx_value_info(g->in[i], name);
        onnx_symbols(&o, g->in[i], name);
    }
    for (int i = 0; i < ncap; i++) {
        o.name[g->in[nparam + i]->id] = cap[i];
        onnx_symbols(&o, g->in[nparam + i], cap[i]);
    }
    write_nodes(&o);
    p->output = NEWN(Onnx__ValueInfoProto *, g->nout + 1);
    p->n_output = (size_t)g->nout;
    for (int i = 0; i < g->nout; i++) p->output[i] = onnx_value_info(g->out[i], OP1(&o, "Identity", o.name[g->out[i]->id]));
    p->node = o.node;
    p->n_node = (size_t)o.nnode;
    p->initializer = o.init;
    p->n_initializer = (size_t)o.ninit;
    return p;
}

static void if_op(Out *o, const Node *n, const char *const *in, const char **out) {
    for (int i = 0; i < n->nout; i++) out[i] = onnx_fresh(o);
    At at[] = { { .name = "then_branch", .kind = 'g', .g = body(o, n->region[0].g, 0, n->nin - 1, in + 1) },
                { .name = "else_branch", .kind = 'g', .g = body(o, n->region[1].g, 0, n->nin - 1, in + 1) }, { 0 } };
    onnx_put(o, "If", 1, in, n->nout, out, at);
}

static void loop_op(Out *o, const Node *n, const char *const *in, const char **out) {
    int first = 2 + n->axis;
    for (int i = 0; i < n->nout; i++) out[i] = onnx_fresh(o);
    At at[] = { { .name = "body", .kind = 'g', .g = body(o, n->region->g, first, n->nin - first, in + first) }, { 0 } };
    onnx_put(o, "Loop", first, in, n->nout, out, at);
}

// ---- nodes --------------------------------------------------------------------------------------------

static const char *one_result(Out *o, const Node *n, const char *const *in) {
    const Val *v = &n->out[0];
    switch (n->op) {
    case P_const: return const_op(o, n);
    case P_dims: return onnx_cast(o, reshape_to(o, onnx_list(o, n->nex, n->ex), onnx_list(o, v->rank, v->shape)), I64, v->dt);
    case P_iota: return onnx_cast(o, range(o, v->shape[0]), I64, v->dt);
    case P_random: return random_op(o, n);
    case P_map: return onnx_map(o, n, in);
    case P_reduce: return reduce_op(o, n, in[0]);
    case P_reshape: return reshape_to(o, in[0], onnx_list(o, v->rank, v->shape));
    case P_permute: return permute_op(o, n, in[0]);
    case P_expand: return OP2(o, "Expand", in[0], onnx_list(o, v->rank, v->shape));
    case P_slice: return slice_op(o, n, in[0]);
    case P_pad: return pad_op(o, n, in[0], in[1]);
    case P_concat: return onnx_op(o, "Concat", n->nin, in, AXIS(n->axis));
    case P_window: return window_op(o, n, in[0]);
    case P_unwindow: return unwindow_op(o, n, in[0]);
    case P_gather: return onnx_op(o, "GatherElements", 2, (const char *const[]){ in[0], onnx_cast(o, in[1], n->in[1]->dt, I64) }, AXIS(n->axis));
    case P_scatter: return scatter_op(o, n, in);
    case P_scan: return scan_op(o, n, in[0]);
    case P_copy: return OP1(o, "Identity", in[0]);
    default: break;
    }
    error("--emit-onnx: %s has no operator", n->op == P_call ? n->call->name : prim_name[n->op]);
    *o->failed = true;
    return onnx_fresh(o);
}

static void write_nodes(Out *o) {
    const Graph *g = o->g;
    for (int i = 0; i < g->nnode && !*o->failed; i++) {
        const Node *n = g->node[i];
        if (n->op == P_input) continue;
        const char **in = NEWN(const char *, n->nin + n->nout + 1), **out = in + n->nin;
        for (int k = 0; k < n->nin; k++) in[k] = o->name[n->in[k]->id];
        if (n->op == P_sort) sort_op(o, n, in[0], out);
        else if (n->op == P_if) if_op(o, n, in, out);
        else if (n->op == P_loop) loop_op(o, n, in, out);
        else out[0] = one_result(o, n, in);
        for (int k = 0; k < n->nout; k++) {
            o->name[n->out[k].id] = out[k];
            if (n->op == P_if || n->op == P_loop) onnx_symbols(o, &n->out[k], out[k]);
        }
    }
}

static Onnx__GraphProto *main_graph(Out *o) {
    const Graph *g = o->g;
    Onnx__GraphProto *p = NEW(Onnx__GraphProto);
    onnx__graph_proto__init(p);
    p->name = (char *)(intptr_t)(g->name && *g->name ? g->name : "graph");
    p->input = NEWN(Onnx__ValueInfoProto *, g->nin + 1);
    p->output = NEWN(Onnx__ValueInfoProto *, g->nout + 1);
    for (int i = 0; i < g->nin; i++) {
        const char *name = g->in[i]->name ? g->in[i]->name : onnx_fresh(o);
        o->name[g->in[i]->id] = name;
        p->input[p->n_input++] = onnx_value_info(g->in[i], name);
        onnx_symbols(o, g->in[i], name);
    }
    write_nodes(o);
    for (int i = 0; i < g->nout && !*o->failed; i++) {
        const char *name = g->out_name[i] ? g->out_name[i] : onnx_fresh(o);
        onnx_put(o, "Identity", 1, &o->name[g->out[i]->id], 1, &name, NULL);
        p->output[p->n_output++] = onnx_value_info(g->out[i], name);
    }
    p->node = o->node;
    p->n_node = (size_t)o->nnode;
    p->initializer = o->init;
    p->n_initializer = (size_t)o->ninit;
    return p;
}

// Writes g to path as an ONNX model; false after diagnostics: a value is no tensor, a primitive has no
// operator, the model has more than 2 GB, or the file cannot be written.
bool emit_onnx(const Graph *g, const char *path) {
    int count = 0;
    bool failed = false;
    Out o = { .g = g, .name = NEWN(const char *, g->nval + 1), .count = &count, .failed = &failed };
    Onnx__ModelProto m;
    Onnx__OperatorSetIdProto opset, *opsets = &opset;
    onnx__model_proto__init(&m);
    onnx__operator_set_id_proto__init(&opset);
    opset.domain = (char *)(intptr_t)"";
    opset.has_version = 1;
    opset.version = ONNX_OPSET;
    m.has_ir_version = 1;
    m.ir_version = ONNX_IR;
    m.producer_name = (char *)(intptr_t)"cnncc";
    m.n_opset_import = 1;
    m.opset_import = &opsets;
    m.graph = main_graph(&o);
    if (failed) return false;
    size_t size = onnx__model_proto__get_packed_size(&m);
    if (size > INT32_MAX) {
        error("--emit-onnx: the model has %zu bytes, a file may have %d", size, INT32_MAX);
        return false;
    }
    uint8_t *bytes = malloc(size + 1);
    if (!bytes) fatal("out of memory: %zu bytes", size);
    onnx__model_proto__pack(&m, bytes);
    bool ok = write_file(path, (const char *)bytes, size);
    free(bytes);
    return ok;
}
