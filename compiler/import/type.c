// SPDX-License-Identifier: Apache-2.0
// Declared types: the graph's inputs with their dimensions, fixed or named, and types as text.
#include "import/import.h"
#include "import/testdata.h"

#include <stdlib.h>
#include <string.h>

// The dimension of that name: a symbol, unless --dim says otherwise.
static Ex named_dim(Importer *im, const char *name) {
    for (int i = 0; i < im->opt->ndim; i++) {
        const DimFix *f = &im->opt->dim[i];
        if (strcmp(f->name, name) != 0) continue;
        im->dim_used[i] = true;
        return f->upper ? e_sym(intern(name), 0, f->n) : e_int(f->n);
    }
    const bool batch = im->opt->batch && !strcmp(name, "batch"); // one symbol with that of --batch, and so one bound
    return e_sym(intern(name), 0, batch ? im->opt->batch : INT64_MAX);
}

// Whether exporters write this name for any dimension they do not know: ?, -1, None. Such names are not equal.
static bool unknown_dim(const char *name) {
    bool letters = false;
    for (const char *s = name; *s; s++) letters |= (*s | 32) >= 'a' && (*s | 32) <= 'z';
    return !letters || !strcmp(name, "None");
}

static Ex declared_dim(Importer *im, const char *input, size_t axis, const Onnx__TensorShapeProto__Dimension *d) {
    if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && d->dim_value >= 0)
        return e_int(d->dim_value);
    if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM && d->dim_param && !unknown_dim(d->dim_param))
        return named_dim(im, d->dim_param);
    return named_dim(im, arena_printf("%s_%zu", input, axis));
}

// --batch: the first dimension of an input, where the model has 1 or no number.
static Ex batch_dim(const Importer *im, Ex d) {
    int64_t n;
    if (!im->opt->batch || (e_is_const(d, &n) && n != 1)) return d;
    return im->opt->any_batch ? e_sym(intern("batch"), 0, im->opt->batch) : e_int(im->opt->batch);
}

// NAME=1x3xHxW or 1,3,H,W: the rank, -1 if it is malformed.
static int option_shape(Importer *im, const char *dims, Ex *shape) {
    const char *sep = strchr(dims, ',') ? "," : "x";
    int rank = 0;
    for (const char *s = dims; *s;) {
        size_t n = strcspn(s, sep);
        if (n == 0 || rank >= MAX_RANK) return -1;
        char *word = arena_alloc(n + 1), *end;
        memcpy(word, s, n);
        long long v = strtoll(word, &end, 10);
        if (*end == 0 && v < 0) return -1;
        shape[rank++] = *end == 0 ? e_int(v) : named_dim(im, word);
        s += n;
        if (*s == *sep && !*++s) return -1;
    }
    return rank;
}

// The value that --value says this input has: a constant in its place; the input itself stays, unused.
static Val *fixed_value(Importer *im, Graph *g, Val *input) {
    const char *name = input->name, *inner;
    for (int i = 0; i < im->opt->nvalue; i++) {
        if (strcmp(im->opt->value[i].name, name) != 0) continue;
        im->value_used[i] = true;
        Tensor *t = tensor_load(im->opt->value[i].file, &inner);
        if (!t) return &poison;
        Ex shape[MAX_RANK];
        bool fits = t->dt == input->dt && t->rank == input->rank;
        for (int k = 0; fits && k < t->rank; k++) {
            int64_t n;
            shape[k] = e_int(t->shape[k]);
            fits = !e_is_const(input->shape[k], &n) || n == t->shape[k];
        }
        if (!fits) {
            error("--value %s: the tensor in %s has another type or shape than the input", name, im->opt->value[i].file);
            return &poison;
        }
        return b_const(g, t->data, t->rank, shape);
    }
    return input;
}

// A map is two inputs, NAME_keys and NAME_values, of one extent.
static Val *map_input(Graph *g, const char *name, const Onnx__TypeProto__Map *m) {
    const Onnx__TypeProto *t = m->value_type;
    DType key = (DType)m->key_type;
    if (!t || t->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE || (key != STR && !dt_is_int(key)) || t->tensor_type->elem_type <= DT_NONE ||
        t->tensor_type->elem_type >= DT_COUNT) {
        error("input '%s' is a map of types that are not supported", name);
        return &poison;
    }
    Ex n = e_sym(intern(arena_printf("%s_count", name)), 0, INT64_MAX);
    Val *in[2] = {b_input(g, intern(arena_printf("%s_keys", name)), key, 1, &n),
                  b_input(g, intern(arena_printf("%s_values", name)), (DType)t->tensor_type->elem_type, 1, &n)};
    Val type = {.kind = K_MAP, .dt = in[1]->dt, .key = key, .rank = 1, .shape = in[1]->shape};
    return &b_call(g, &call_map_of, 2, in, NULL, 0, 1, &type)->out[0];
}

// A sequence or optional as it is declared: of its items the element type, and what is fixed of their
// shape. False: not supported.
static bool list_of_proto(const Onnx__TypeProto *t, Val *v) {
    Kind kind[2] = {K_TENSOR, K_TENSOR};
    int depth = 0;
    Val type = {.kind = K_TENSOR};
    for (; t && t->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE; depth++) {
        if (depth == 2) return false;
        if (t->value_case == ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE && t->sequence_type) {
            kind[depth] = K_SEQ;
            t = t->sequence_type->elem_type;
        } else if (t->value_case == ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE && t->optional_type && depth == 0) {
            kind[depth] = K_OPT;
            t = t->optional_type->elem_type;
        } else return false;
    }
    if (!t || !t->tensor_type || t->tensor_type->elem_type <= DT_NONE || t->tensor_type->elem_type >= DT_COUNT) return false;
    if (kind[0] == K_SEQ && kind[1] == K_SEQ) return false;
    const Onnx__TensorShapeProto *s = t->tensor_type->shape;
    if (s && s->n_dim > MAX_RANK) return false;
    Ex shape[MAX_RANK];
    int rank = s ? (int)s->n_dim : -1;
    for (int i = 0; i < rank; i++) {
        const Onnx__TensorShapeProto__Dimension *d = s->dim[i];
        bool fixed = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && d->dim_value >= 0;
        shape[i] = e_int(fixed ? d->dim_value : -1);
    }
    type = list_type(kind[0], kind[1], (DType)t->tensor_type->elem_type, rank, shape);
    *v = type;
    return true;
}

bool attr_type(Op *o, const char *name, Val *type) {
    const Attr *a = attr_find(o->attr, o->nattr, intern(name));
    if (!a || !a->tp) return false;
    if (!list_of_proto(a->tp, type)) op_fail(o, "attribute %s is a type that is not supported", name);
    return true;
}

static Val *import_list(Graph *g, const Onnx__ValueInfoProto *p) {
    Val type;
    if (!p->type || !list_of_proto(p->type, &type)) {
        error("input '%s' is of a type that is not supported", p->name);
        return &poison;
    }
    type.name = intern(p->name);
    return b_param(g, &type);
}

Val *import_input(Importer *im, Graph *g, const Onnx__ValueInfoProto *p) {
    const Onnx__TypeProto *t = p->type;
    if (t && t->value_case == ONNX__TYPE_PROTO__VALUE_MAP_TYPE) return map_input(g, p->name, t->map_type);
    if (!t || t->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) return import_list(g, p);
    const Onnx__TypeProto__Tensor *tensor = t->tensor_type;
    if (tensor->elem_type <= DT_NONE || tensor->elem_type >= DT_COUNT) {
        error("input '%s' has element type %d, which is not supported", p->name, (int)tensor->elem_type);
        return &poison;
    }
    Ex shape[MAX_RANK];
    int rank = -1;
    for (int i = 0; i < im->opt->nshape; i++) {
        if (strcmp(im->opt->shape[i].name, p->name) != 0) continue;
        im->shape_used[i] = true;
        rank = option_shape(im, im->opt->shape[i].dims, shape);
        if (rank < 0) fatal("--shape %s=%s is malformed: write NAME=1x3xHxW", p->name, im->opt->shape[i].dims);
    }
    if (rank < 0 && !tensor->shape) {
        error("input '%s' has no shape: give it one, --shape %s=1x3xHxW", p->name, p->name);
        return &poison;
    }
    if (rank < 0) {
        if (tensor->shape->n_dim > MAX_RANK) {
            error("input '%s' has %zu dimensions, at most %d are supported", p->name, tensor->shape->n_dim,
                  (int)MAX_RANK);
            return &poison;
        }
        rank = (int)tensor->shape->n_dim;
        for (int i = 0; i < rank; i++) shape[i] = declared_dim(im, p->name, (size_t)i, tensor->shape->dim[i]);
    }
    if (rank > 0) shape[0] = batch_dim(im, shape[0]);
    return fixed_value(im, g, b_input(g, intern(p->name), (DType)tensor->elem_type, rank, shape));
}

static const char *kind_type(Kind kind, Kind item, DType dt, DType key) {
    const char *tensor = arena_printf("tensor(%s)", dt_onnx_name(dt));
    switch (kind) {
    case K_SEQ:
        return arena_printf("seq(%s)", kind_type(item == K_SEQ ? K_TENSOR : item, K_TENSOR, dt, key));
    case K_OPT:
        return arena_printf("optional(%s)", kind_type(item == K_OPT ? K_TENSOR : item, K_TENSOR, dt, key));
    case K_MAP:
        return arena_printf("map(%s,%s)", dt_onnx_name(key), dt_onnx_name(dt)); // as schemas write it
    default:
        return tensor;
    }
}

const char *val_type(const Val *v) { return kind_type(v->kind, v->item, v->dt, v->key); }
