// SPDX-License-Identifier: Apache-2.0
// Operator sets, and functions that the model itself defines: a call is replaced by the function's
// nodes. Names of the body are its own; attributes of the call stand in for references to them.
#include "import/import.h"

#include <string.h>

const char *domain_of(const char *domain) { return intern(!domain || !strcmp(domain, "ai.onnx") ? "" : domain); }

Opset *opsets_read(size_t n, Onnx__OperatorSetIdProto *const *p, int *count) {
    if (n > 10000) fatal("%zu operator sets", n);
    Opset *v = NEWN(Opset, n + 1);
    for (size_t i = 0; i < n; i++) v[i] = (Opset){domain_of(p[i]->domain), p[i]->version};
    *count = (int)n;
    return v;
}

int64_t opset_of(const Importer *im, const Frame *f, const char *domain) {
    const Opset *v = f ? f->opset : im->opset;
    int n = f ? f->nopset : im->nopset;
    for (int i = 0; i < n; i++)
        if (v[i].domain == domain) return v[i].version;
    return 0;
}

static const char *function_key(const char *domain, const char *name, const char *overload) {
    return intern(arena_printf("%s:%s:%s", domain_of(domain), name ? name : "", overload ? overload : ""));
}

void functions_read(Importer *im) {
    for (size_t i = 0; i < im->model->n_functions; i++) {
        Onnx__FunctionProto *f = im->model->functions[i];
        const char *key = function_key(f->domain, f->name, f->overload);
        if (map_get(&im->functions, key)) error("function %s is defined twice", key);
        map_put(&im->functions, key, f);
    }
}

const Onnx__FunctionProto *function_find(const Importer *im, const Onnx__NodeProto *p) {
    if (im->functions.n == 0) return NULL;
    return map_get(&im->functions, function_key(p->domain, p->op_type, p->overload));
}

// Attributes of the call, then the defaults of those it does not give.
static void frame_attrs(Op *o, const Onnx__FunctionProto *f, Scope *s, Frame *frame) {
    if (f->n_attribute_proto > 10000) op_fail(o, "%zu attributes", f->n_attribute_proto);
    Attr *a = NEWN(Attr, (size_t)o->nattr + f->n_attribute_proto + 1);
    int n = 0;
    for (int i = 0; i < o->nattr; i++) a[n++] = o->attr[i];
    for (size_t i = 0; i < f->n_attribute_proto; i++) {
        const Onnx__AttributeProto *p = f->attribute_proto[i];
        if (!attr_find(a, o->nattr, intern(p->name ? p->name : ""))) a[n++] = attr_of_proto(o, p, s);
    }
    frame->attr = a;
    frame->nattr = n;
}

void function_inline(Op *o, const Onnx__FunctionProto *f) {
    NodeContext *c = o->importer;
    if (++c->im->depth > IMPORT_DEPTH) op_fail(o, "functions and sub-graphs are more than %d deep", (int)IMPORT_DEPTH);
    if ((size_t)o->nin > f->n_input) op_fail(o, "%d inputs, the function has %zu", o->nin, f->n_input);
    if ((size_t)o->nout > f->n_output) op_fail(o, "%d outputs, the function has %zu", o->nout, f->n_output);
    Frame frame = {0};
    Scope s = {.g = o->g, .frame = &frame, .node = f->node, .nnode = f->n_node};
    s.where = arena_printf("%s, function %s: ", node_text(c->scope, c->node, c->index, 0), f->name ? f->name : "");
    frame.opset = opsets_read(f->n_opset_import, f->opset_import, &frame.nopset);
    frame_attrs(o, f, &s, &frame);
    for (size_t i = 0; i < f->n_input; i++) {
        Val *v = i < (size_t)o->nin ? o->in[i] : NULL;
        scope_define(c->im, &s, f->input[i], v ? v : &absent, "input");
    }
    import_nodes(c->im, &s, f->n_node, f->node);
    for (int i = 0; i < o->nout; i++) {
        Val *v = scope_find(&s, f->output[i]);
        if (!v || v == &absent) op_fail(o, "the function does not define its output '%s'", f->output[i]);
        if (v == &poison) op_fail_quietly(o);
        o->out[i] = v;
    }
    c->im->depth--;
}
