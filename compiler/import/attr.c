// SPDX-License-Identifier: Apache-2.0
// Attributes: read from the message, checked against the operator's schema, completed by its
// defaults, and handed to operators. Refused names and types end the node with op_fail.
#include "import/import.h"

#include <string.h>

// ---- from the message ------------------------------------------------------------------------------

// A copy that ends in a NUL; protobuf-c's bytes do not.
static DataStr text_of(ProtobufCBinaryData b) {
    char *s = arena_alloc(b.len + 1);
    if (b.len) memcpy(s, b.data, b.len);
    return (DataStr){s, b.len};
}

// Files older than IR version 2 give no type: it is that of the field in use.
static SchemaAttrType guess_type(const Onnx__AttributeProto *p) {
    if (p->has_f) return SCHEMA_ATTR_FLOAT;
    if (p->has_i) return SCHEMA_ATTR_INT;
    if (p->has_s) return SCHEMA_ATTR_STRING;
    if (p->t) return SCHEMA_ATTR_TENSOR;
    if (p->g) return SCHEMA_ATTR_GRAPH;
    if (p->n_floats) return SCHEMA_ATTR_FLOATS;
    if (p->n_ints) return SCHEMA_ATTR_INTS;
    if (p->n_strings) return SCHEMA_ATTR_STRINGS;
    if (p->sparse_tensor) return SCHEMA_ATTR_SPARSE_TENSOR;
    return (SchemaAttrType)0;
}

Attr attr_of_proto(Op *o, const Onnx__AttributeProto *p, Scope *scope) {
    Attr a = {.name = intern(p->name ? p->name : ""), .scope = scope};
    a.type = p->has_type && p->type ? (SchemaAttrType)p->type : guess_type(p);
    a.i = p->i;
    a.f = (double)p->f;
    if (p->has_s) a.s = text_of(p->s);
    a.tensor = p->t;
    a.sparse = p->sparse_tensor;
    a.graph = p->g;
    a.tp = p->tp;
    size_t n = 0;
    if (a.type == SCHEMA_ATTR_FLOATS) n = p->n_floats, a.floats = p->floats;
    if (a.type == SCHEMA_ATTR_INTS) n = p->n_ints, a.ints = p->ints;
    if (a.type == SCHEMA_ATTR_STRINGS) {
        n = p->n_strings;
        DataStr *s = NEWN(DataStr, n + 1);
        for (size_t i = 0; i < n; i++) s[i] = text_of(p->strings[i]);
        a.strs = s;
    }
    if (n > INT32_MAX) op_fail(o, "attribute %s is too long", a.name);
    a.n = (int)n;
    if ((a.type == SCHEMA_ATTR_TENSOR && !a.tensor) || (a.type == SCHEMA_ATTR_GRAPH && !a.graph) ||
        (a.type == SCHEMA_ATTR_SPARSE_TENSOR && !a.sparse) || (a.type == SCHEMA_ATTR_TYPE_PROTO && !a.tp))
        op_fail(o, "attribute %s has no value", a.name);
    return a;
}

// ---- checks and defaults ---------------------------------------------------------------------------

static Attr attr_of_default(const SchemaAttr *d) {
    Attr a = {.name = intern(d->name), .type = d->type, .is_default = true, .i = d->i, .f = (double)d->f};
    if (d->s) a.s = (DataStr){d->s, strlen(d->s)};
    a.n = (int)d->count;
    a.ints = d->ints;
    a.floats = d->floats;
    if (d->type == SCHEMA_ATTR_STRINGS) {
        DataStr *s = NEWN(DataStr, d->count + 1);
        for (size_t i = 0; i < d->count; i++) s[i] = (DataStr){d->strings[i], strlen(d->strings[i])};
        a.strs = s;
    }
    return a;
}

// A reference inside a function stands for the caller's attribute. False: the caller gives none.
static bool resolve(Op *o, const Frame *f, const Onnx__AttributeProto *p, Attr *a) {
    if (!f) op_fail(o, "attribute %s refers to '%s' outside of a function", p->name, p->ref_attr_name);
    const Attr *r = attr_find(f->attr, f->nattr, intern(p->ref_attr_name));
    if (!r) return false;
    const char *name = intern(p->name ? p->name : "");
    *a = *r;
    a->name = name;
    a->is_default = false;
    return true;
}

void attr_read(Op *o, NodeContext *c) {
    const Onnx__NodeProto *p = c->node;
    const OpSchema *schema = c->schema;
    if (p->n_attribute > 10000) op_fail(o, "%zu attributes", p->n_attribute);
    Attr *a = NEWN(Attr, p->n_attribute + (schema ? schema->n_attrs : 0) + 1);
    int n = 0;
    for (size_t i = 0; i < p->n_attribute; i++) {
        const Onnx__AttributeProto *q = p->attribute[i];
        if (!q->name || !*q->name) op_fail(o, "attribute %zu has no name", i);
        bool refers = q->ref_attr_name && *q->ref_attr_name;
        if (attr_find(a, n, intern(q->name))) op_fail(o, "attribute %s is given twice", q->name);
        if (refers && !resolve(o, c->scope->frame, q, &a[n])) continue;
        if (!refers) a[n] = attr_of_proto(o, q, c->scope);
        const SchemaAttr *d = schema ? schema_attr(schema, q->name) : NULL;
        if (schema && !d) op_fail(o, "there is no attribute %s", q->name);
        // An empty list in a file without types leaves no trace of what it is.
        if (d && a[n].type == 0) a[n].type = d->type;
        if (d && a[n].type != d->type)
            op_fail(o, "attribute %s is %s, needs to be %s", q->name, schema_attr_type_name(a[n].type),
                    schema_attr_type_name(d->type));
        n++;
    }
    for (size_t i = 0; schema && i < schema->n_attrs; i++) {
        const SchemaAttr *d = &schema->attrs[i];
        if (attr_find(a, n, intern(d->name))) continue;
        if (d->required) op_fail(o, "attribute %s is missing", d->name);
        if (d->has_default) a[n++] = attr_of_default(d);
    }
    o->attr = a;
    o->nattr = n;
}

// ---- for operators ------------------------------------------------------------------------------------

const Attr *attr_find(const Attr *a, int n, const char *interned_name) {
    for (int i = 0; i < n; i++)
        if (a[i].name == interned_name) return &a[i];
    return NULL;
}

// The attribute of that name, which is of that type; NULL if there is none.
static const Attr *get(Op *o, const char *name, SchemaAttrType type) {
    const Attr *a = attr_find(o->attr, o->nattr, intern(name));
    if (a && a->type != type)
        op_fail(o, "attribute %s is %s, needs to be %s", name, schema_attr_type_name(a->type),
                schema_attr_type_name(type));
    return a;
}

static const Attr *need(Op *o, const char *name, SchemaAttrType type) {
    const Attr *a = get(o, name, type);
    if (!a) op_fail(o, "attribute %s is missing", name);
    return a;
}

bool attr_has(Op *o, const char *name) {
    const Attr *a = attr_find(o->attr, o->nattr, intern(name));
    return a && !a->is_default;
}

int64_t attr_int(Op *o, const char *name) { return need(o, name, SCHEMA_ATTR_INT)->i; }

int64_t attr_int_or(Op *o, const char *name, int64_t none) {
    const Attr *a = get(o, name, SCHEMA_ATTR_INT);
    return a ? a->i : none;
}

double attr_float(Op *o, const char *name) { return need(o, name, SCHEMA_ATTR_FLOAT)->f; }

double attr_float_or(Op *o, const char *name, double none) {
    const Attr *a = get(o, name, SCHEMA_ATTR_FLOAT);
    return a ? a->f : none;
}

const char *attr_str(Op *o, const char *name) {
    const Attr *a = need(o, name, SCHEMA_ATTR_STRING);
    return a->s.p ? a->s.p : "";
}

const char *attr_str_or(Op *o, const char *name, const char *none) {
    const Attr *a = get(o, name, SCHEMA_ATTR_STRING);
    return !a ? none : a->s.p ? a->s.p : "";
}

int attr_ints(Op *o, const char *name, const int64_t **v) {
    const Attr *a = get(o, name, SCHEMA_ATTR_INTS);
    *v = a ? a->ints : NULL;
    return a ? a->n : -1;
}

int attr_floats(Op *o, const char *name, const float **v) {
    const Attr *a = get(o, name, SCHEMA_ATTR_FLOATS);
    *v = a ? a->floats : NULL;
    return a ? a->n : -1;
}

int attr_strs(Op *o, const char *name, const DataStr **v) {
    const Attr *a = get(o, name, SCHEMA_ATTR_STRINGS);
    *v = a ? a->strs : NULL;
    return a ? a->n : -1;
}

Val *attr_tensor(Op *o, const char *name) {
    const Attr *a = attr_find(o->attr, o->nattr, intern(name));
    if (!a) return NULL;
    NodeContext *c = o->importer;
    Constant t;
    char err[200];
    bool ok = false;
    if (a->type == SCHEMA_ATTR_TENSOR)
        ok = tensor_read(c->im, a->tensor, &t, err, sizeof err);
    else if (a->type == SCHEMA_ATTR_SPARSE_TENSOR)
        ok = sparse_read(c->im, a->sparse, &t, err, sizeof err);
    else
        op_fail(o, "attribute %s is %s, needs to be TENSOR", name, schema_attr_type_name(a->type));
    if (!ok) op_fail(o, "attribute %s: %s", name, err);
    return tensor_val(o->g, &t);
}
