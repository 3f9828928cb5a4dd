// SPDX-License-Identifier: Apache-2.0
// Graphs: names and where they are known, inputs, initializers, nodes in order, outputs; and
// sub-graphs, which become regions that capture what they read from outside.
#include "import/import.h"
#include "ops/sequence.h"

#include <string.h>

// ---- names ---------------------------------------------------------------------------------------------

// An outer value inside a region: constants are repeated, others become parameters.
static Val *capture(Scope *s, Val *v) {
    Val *p = map_get(&s->param, v);
    if (p) return p;
    if (sequence_known(v)) {
        Val **item = NEWN(Val *, v->node->nin + 1);
        for (int i = 0; i < v->node->nin; i++) item[i] = capture(s, v->node->in[i]);
        p = sequence_new(s->g, v->kind, v->dt, v->node->nin, item);
    } else if (v->kind == K_TENSOR && v->node->op == P_const && !v->node->flag) {
        p = b_const(s->g, v->node->data, v->rank, v->shape);
    } else if (v->kind == K_TENSOR && v->elems) {
        p = b_dims(s->g, v->dt, v->rank, v->shape, v->elems);
    } else {
        p = b_param(s->g, v);
        PUSH(s->cap, s->ncap, s->cap_cap, v);
    }
    if (!p->name) p->name = v->name;
    map_put(&s->param, v, p);
    return p;
}

Val *scope_find(Scope *s, const char *name) {
    const char *key = intern(name);
    Scope *chain[IMPORT_DEPTH + 1];
    int n = 0;
    Val *v = NULL;
    for (; s && !v && n <= IMPORT_DEPTH; s = s->up) {
        v = map_get(&s->names, key);
        if (!v) chain[n++] = s;
    }
    if (!v || v == &poison || v == &absent) return v;
    while (n > 0) {
        s = chain[--n];
        if (v->node->g != s->g) v = capture(s, v);
        map_put(&s->names, key, v);
    }
    return v;
}

void scope_define(Importer *im, Scope *s, const char *name, Val *v, const char *what) {
    (void)im;
    const char *key = intern(name);
    if (map_get(&s->names, key)) {
        error("%s%s '%s' is defined twice", s->where, what, name);
        return;
    }
    map_put(&s->names, key, v);
}

// ---- names that are read ---------------------------------------------------------------------------------

typedef struct {
    const Onnx__GraphProto **v;
    int n, cap;
} GraphStack;

static void mark(Importer *im, const char *name) {
    if (name && *name) map_put(&im->used, intern(name), im);
}

static void mark_nodes(Importer *im, size_t n, Onnx__NodeProto *const *node, GraphStack *todo) {
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < node[i]->n_input; k++) mark(im, node[i]->input[k]);
        for (size_t k = 0; k < node[i]->n_attribute; k++) {
            const Onnx__AttributeProto *a = node[i]->attribute[k];
            if (a->name && !strcmp(a->name, "y")) mark(im, a->has_s ? intern_n((const char *)a->s.data, a->s.len) : NULL); // of Gradient
            if (a->g) PUSH(todo->v, todo->n, todo->cap, a->g);
            for (size_t j = 0; j < a->n_graphs; j++) PUSH(todo->v, todo->n, todo->cap, a->graphs[j]);
        }
    }
}

void used_names(Importer *im) {
    GraphStack todo = {0};
    PUSH(todo.v, todo.n, todo.cap, im->model->graph);
    for (size_t i = 0; i < im->model->n_functions; i++) {
        const Onnx__FunctionProto *f = im->model->functions[i];
        mark_nodes(im, f->n_node, f->node, &todo);
        for (size_t k = 0; k < f->n_output; k++) mark(im, f->output[k]);
    }
    while (todo.n > 0) {
        const Onnx__GraphProto *p = todo.v[--todo.n];
        mark_nodes(im, p->n_node, p->node, &todo);
        for (size_t k = 0; k < p->n_output; k++) mark(im, p->output[k]->name);
    }
    for (int i = 0; i < im->opt->noutputs; i++) mark(im, im->opt->outputs[i]);
}

// ---- graphs ------------------------------------------------------------------------------------------------

// In a training build the floating point initializers of the main graph keep their identity: flag 1, or
// 2 for running statistics of a BatchNormalization, 3 for an adapter of --lora. 0: an ordinary constant.
typedef struct { bool on; PtrMap statistics; const Onnx__GraphProto *g; } Parameters;

static Parameters parameters_of(const Importer *im, const Scope *s) {
    Parameters p = {.on = (im->opt->grad || im->opt->train) && !s->up};
    for (size_t i = 0; p.on && i < s->nnode; i++) {
        Onnx__NodeProto *n = s->node[i];
        if (!n->op_type || strcmp(n->op_type, "BatchNormalization") != 0) continue;
        for (size_t k = 3; k < n->n_input && k < 5; k++) map_put(&p.statistics, intern(n->input[k]), n);
    }
    return p;
}

static Val *constant_val(const Importer *im, Scope *s, const Parameters *p, const char *name, const Constant *c) {
    if (!p->on || !dt_is_float(c->data->dt)) return tensor_val(s->g, c);
    Init *init = map_get(&im->adapters, name);
    Val *v = b_initializer(s->g, name, c->data, c->rank, c->shape, map_get(&p->statistics, name) ? 2 : init ? 3 : 1);
    int64_t dim[MAX_RANK];
    for (int i = 0; i < c->rank; i++) e_is_const(c->shape[i], &dim[i]);
    if (!init) {
        init = NEW(Init);
        *init = import_init(p->g, name, c->rank, dim);
        init->adapted = map_get(&im->adapters, intern(arena_printf("%s.lora_A", name))) != NULL;
    }
    const Place *typed = map_get(&im->places, name);
    init->file_at = c->file_at;
    if (c->file_at < 0 && typed && typed->size == c->data->n * dt_size(c->data->dt)) init->file_at = typed->at;
    init->file_type = c->data->dt;
    v->node->aux = init;
    return v;
}

static void define_constant(Importer *im, Scope *s, const Parameters *p, const char *name, Constant *c, const char *err) {
    Val *v = &poison;
    if (!name || !*name) {
        error("%san initializer has no name", s->where);
        return;
    }
    if (c) {
        v = constant_val(im, s, p, intern(name), c);
        if (!v->name) v->name = intern(name);
    } else {
        error("%sinitializer '%s': %s", s->where, name, err);
    }
    if (diag_errors >= IMPORT_ERRORS) fatal("too many errors");
    scope_define(im, s, name, v, "initializer");
}

static void import_initializers(Importer *im, Scope *s, const Onnx__GraphProto *p) {
    Constant c;
    char err[300] = "";
    Parameters train = parameters_of(im, s);
    train.g = p;
    for (size_t i = 0; i < p->n_initializer; i++) {
        bool ok = tensor_read(im, p->initializer[i], &c, err, sizeof err);
        define_constant(im, s, &train, p->initializer[i]->name, ok ? &c : NULL, err);
    }
    for (size_t i = 0; i < p->n_sparse_initializer; i++) {
        const Onnx__SparseTensorProto *t = p->sparse_initializer[i];
        bool ok = sparse_read(im, t, &c, err, sizeof err);
        define_constant(im, s, &train, t->values ? t->values->name : NULL, ok ? &c : NULL, err);
    }
}

void import_nodes(Importer *im, Scope *s, size_t n, Onnx__NodeProto *const *node) {
    if (n > INT32_MAX) fatal("too many nodes");
    for (size_t i = 0; i < n; i++) import_node(im, s, node[i], (int)i);
}

static void import_output(Scope *s, const char *name, const char *option) {
    Val *v = scope_find(s, name);
    if (!v)
        error("%soutput '%s' is not defined%s", s->where, name, option);
    else if (v != &poison && v->loose)
        error("%soutput '%s': only the run knows how many dimensions it has: the branches of an If differ", s->where, name);
    else if (v != &poison)
        graph_output(s->g, sequence_run(s->g, v), intern(name));
}

void import_graph(Importer *im, Graph *g, const Onnx__GraphProto *p) {
    Scope s = {.g = g, .where = "", .node = p->node, .nnode = p->n_node};
    import_initializers(im, &s, p);
    for (size_t i = 0; i < p->n_input; i++) {
        const char *name = p->input[i]->name;
        if (!name || !*name)
            error("input %zu has no name", i);
        else if (!map_get(&s.names, intern(name))) // else: an initializer, its default
            scope_define(im, &s, name, import_input(im, g, p->input[i]), "input");
    }
    import_nodes(im, &s, p->n_node, p->node);
    if (p->n_output == 0 && im->opt->noutputs == 0) error("the graph has no outputs");
    for (size_t i = 0; i < p->n_output; i++) import_output(&s, p->output[i]->name ? p->output[i]->name : "", "");
    for (int i = 0; i < im->opt->noutputs; i++) import_output(&s, im->opt->outputs[i], " (--output)");
}

// ---- sub-graphs -----------------------------------------------------------------------------------------------

// The parameter in the rank that the body declares: some exporters give a Loop's counter one dimension.
static Val *declared_rank(Graph *g, Val *v, const Onnx__ValueInfoProto *p) {
    const Onnx__TypeProto *t = p->type;
    if (!t || t->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE || !t->tensor_type->shape) return v;
    const Onnx__TensorShapeProto *s = t->tensor_type->shape;
    if (v->kind != K_TENSOR || v->rank != 0 || s->n_dim != 1) return v;
    Ex one = e_int(1);
    return b_reshape(g, v, 1, &one);
}

// The sub-graph of an attribute that can be imported here, with its scope.
static const Attr *sub_graph(Op *o, const char *name) {
    const Attr *a = attr_find(o->attr, o->nattr, intern(name));
    if (!a || a->type != SCHEMA_ATTR_GRAPH) op_fail(o, "attribute %s is missing", name);
    return a;
}

void attr_graph_counts(Op *o, const char *name, int *nin, int *nout) {
    const Onnx__GraphProto *p = sub_graph(o, name)->graph;
    if (p->n_input > 10000 || p->n_output > 10000) op_fail(o, "%s has too many inputs or outputs", name);
    *nin = (int)p->n_input;
    *nout = (int)p->n_output;
}

int attr_inline(Op *o, const char *name, Graph *g, int nparam, Val *const *param, Val **out, Val ***cap) {
    NodeContext *c = o->importer;
    Importer *im = c->im;
    const Attr *a = sub_graph(o, name);
    const Onnx__GraphProto *p = a->graph;
    if (a->scope->g != g && a->scope->g != g->parent)
        op_fail(o, "attribute %s refers to a graph of another region", name);
    if (++im->depth > IMPORT_DEPTH) op_fail(o, "functions and sub-graphs are more than %d deep", (int)IMPORT_DEPTH);
    if (p->n_input != (size_t)nparam) op_fail(o, "%s has %zu inputs, needs %d", name, p->n_input, nparam);
    Scope s = {.up = a->scope, .g = g, .frame = a->scope->frame, .node = p->node, .nnode = p->n_node};
    s.where = arena_printf("%s, %s: ", node_text(c->scope, c->node, c->index, o->since), name);
    int errors = diag_errors, unsupported = im->nunsupported;
    for (int i = 0; i < nparam; i++) {
        const char *id = p->input[i]->name;
        scope_define(im, &s, id ? id : "", declared_rank(g, param[i], p->input[i]), "input");
    }
    import_initializers(im, &s, p);
    import_nodes(im, &s, p->n_node, p->node);
    for (size_t i = 0; i < p->n_output; i++) {
        const char *id = p->output[i]->name ? p->output[i]->name : "";
        out[i] = scope_find(&s, id);
        if (!out[i]) error("%soutput '%s' is not defined", s.where, id);
        if (!out[i] || out[i] == &poison || out[i] == &absent) op_fail_quietly(o);
        if (out[i]->loose && strcmp(o->type, "If")) op_fail(o, "only the run knows how many dimensions output %zu of %s has", i, name);
    }
    if (diag_errors > errors || im->nunsupported > unsupported) op_fail_quietly(o);
    im->depth--;
    if (cap) *cap = s.cap;
    return s.ncap;
}

Graph *attr_graph(Op *o, const char *name, int nparam, Val *const *param_like, int *ncap, Val ***cap) {
    const Onnx__GraphProto *p = sub_graph(o, name)->graph;
    Graph *g = graph_new(o->g);
    g->name = p->name && *p->name ? intern(p->name) : name;
    Val **param = NEWN(Val *, nparam + 1), **out = NEWN(Val *, p->n_output + 1);
    for (int i = 0; i < nparam; i++) {
        param[i] = b_param(g, param_like[i]);
        if (p->n_input == (size_t)nparam && p->input[i]->name) param[i]->name = intern(p->input[i]->name);
    }
    *ncap = attr_inline(o, name, g, nparam, param, out, cap);
    for (size_t i = 0; i < p->n_output; i++) graph_output(g, out[i], intern(p->output[i]->name));
    return g;
}

Graph *attr_graph_try(Op *o, const char *name, int *ncap, Val ***cap, const char **why) {
    NodeContext c = *(NodeContext *)o->importer;
    Op in = *o;
    in.importer = &c;
    const int depth = c.im->depth, unsupported = c.im->nunsupported;
    DiagHold h;
    Graph *volatile g = NULL;
    diag_hold(&h);
    if (setjmp(h.back) == 0) {
        if (setjmp(c.failed) == 0) g = attr_graph(&in, name, 0, NULL, ncap, cap);
    }
    c.im->depth = depth;
    if (diag_release(&h) && g) return g;
    if (c.im->nunsupported > unsupported) op_fail_quietly(o);
    *why = h.said ? h.said : "what it reads failed";
    return NULL;
}

Op op_within(const Op *o, Graph *g) {
    Op in = *o;
    Attr *attr = NEWN(Attr, o->nattr + 1);
    Scope *s = NULL;
    for (int i = 0; i < o->nattr; i++) {
        attr[i] = o->attr[i];
        if (!attr[i].scope) continue;
        if (!s) {
            s = NEW(Scope);
            *s = (Scope){.up = attr[i].scope, .g = g, .frame = attr[i].scope->frame, .where = attr[i].scope->where};
        }
        attr[i].scope = s;
    }
    in.g = g;
    in.attr = attr;
    return in;
}

int op_captures(const Op *in, Val ***cap) {
    for (int i = 0; i < in->nattr; i++) {
        const Scope *s = in->attr[i].scope;
        if (s && s->g == in->g) return *cap = s->cap, s->ncap;
    }
    return 0;
}
