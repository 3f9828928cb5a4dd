// SPDX-License-Identifier: Apache-2.0
// Messages of the ONNX writer: nodes, attributes, tensors, types.
#include "emit/onnx.h"
#include "runtime/packed.h"
#include <string.h>

static char *text(const char *s) { return (char *)(intptr_t)s; }

// A name that no other value has.
const char *onnx_fresh(Out *o) { return arena_printf("%%%d", ++*o->count); }

static Onnx__AttributeProto *attribute(const At *a) {
    Onnx__AttributeProto *p = NEW(Onnx__AttributeProto);
    onnx__attribute_proto__init(p);
    p->name = text(a->name);
    p->has_type = 1;
    switch (a->kind) {
    case 'i': p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT, p->has_i = 1, p->i = a->i; break;
    case 'f': p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT, p->has_f = 1, p->f = (float)a->f; break;
    case 't': p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR, p->t = a->t; break;
    case 'g': p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH, p->g = a->g; break;
    case 'I':
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
        p->n_ints = (size_t)a->nints;
        p->ints = NEWN(int64_t, a->nints + 1);
        memcpy(p->ints, a->ints, sizeof *a->ints * (size_t)a->nints);
        break;
    case 's':
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING, p->has_s = 1;
        p->s = (ProtobufCBinaryData){ strlen(a->s), (uint8_t *)(intptr_t)a->s };
        break;
    default: die("attribute kind %c", a->kind);
    }
    return p;
}

static char **names(int n, const char *const *s) {
    char **r = NEWN(char *, n + 1);
    for (int i = 0; i < n; i++) r[i] = text(s[i]);
    return r;
}

void onnx_put(Out *o, const char *type, int nin, const char *const *in, int nout, const char *const *out, const At *at) {
    Onnx__NodeProto *p = NEW(Onnx__NodeProto);
    onnx__node_proto__init(p);
    p->op_type = text(type);
    p->n_input = (size_t)nin;
    p->input = names(nin, in);
    p->n_output = (size_t)nout;
    p->output = names(nout, out);
    while (at && at[p->n_attribute].name) p->n_attribute++;
    p->attribute = NEWN(Onnx__AttributeProto *, p->n_attribute + 1);
    for (size_t i = 0; i < p->n_attribute; i++) p->attribute[i] = attribute(&at[i]);
    PUSH(o->node, o->nnode, o->cap_node, p);
}

const char *onnx_op(Out *o, const char *type, int nin, const char *const *in, const At *at) {
    const char *out = onnx_fresh(o);
    onnx_put(o, type, nin, in, 1, &out, at);
    return out;
}

// Elements as ONNX stores them: those below a byte packed, the first in the low bits.
static ProtobufCBinaryData raw(const Data *d) {
    size_t size = dt_size(d->dt), bits = (size_t)dt_bits(d->dt);
    bool packed = bits < 8;
    if (!packed && !d->splat) return (ProtobufCBinaryData){ d->n * size, (uint8_t *)(intptr_t)d->p };
    size_t n = packed ? (mul_size(d->n, bits) + 7) / 8 : mul_size(d->n, size);
    uint8_t *p = arena_alloc(n + 1), *full = packed && d->splat ? arena_alloc(d->n + 1) : p;
    for (size_t i = 0; i < d->n && d->splat; i++) memcpy(full + i * size, d->p, size);
    if (packed) cnn_pack(d->splat ? full : d->p, p, (int64_t)d->n, (unsigned)bits);
    return (ProtobufCBinaryData){ n, p };
}

Onnx__TensorProto *onnx_tensor(DType dt, int rank, const int64_t *dims, const Data *d, const char *name) {
    Onnx__TensorProto *t = NEW(Onnx__TensorProto);
    onnx__tensor_proto__init(t);
    t->name = text(name);
    t->n_dims = (size_t)rank;
    t->dims = NEWN(int64_t, rank + 1);
    if (rank) memcpy(t->dims, dims, sizeof *dims * (size_t)rank);
    t->has_data_type = 1;
    t->data_type = (int32_t)dt;
    if (dt != STR) {
        t->has_raw_data = 1;
        t->raw_data = raw(d);
        return t;
    }
    t->n_string_data = d->n;
    t->string_data = NEWN(ProtobufCBinaryData, d->n + 1);
    for (size_t i = 0; i < d->n; i++) {
        const DataStr *s = (const DataStr *)d->p + (d->splat ? 0 : i);
        t->string_data[i] = (ProtobufCBinaryData){ s->n, (uint8_t *)(intptr_t)s->p };
    }
    return t;
}

bool save_tensor(const char *path, const char *name, const Tensor *t) {
    Onnx__TensorProto *p = onnx_tensor(t->dt, t->rank, t->shape, t->data, name);
    size_t n = onnx__tensor_proto__get_packed_size(p);
    uint8_t *bytes = arena_alloc(n + 1);
    onnx__tensor_proto__pack(p, bytes);
    return write_file(path, (const char *)bytes, n);
}

const char *onnx_data(Out *o, DType dt, int rank, const int64_t *dims, const Data *d) {
    const char *name = onnx_fresh(o);
    PUSH(o->init, o->ninit, o->cap_init, onnx_tensor(dt, rank, dims, d, name));
    return name;
}

const char *onnx_number(Out *o, DType dt, Scalar v) {
    Data *d = data_new(dt, 1);
    data_set(d, 0, v);
    return onnx_data(o, dt, 0, NULL, d);
}

const char *onnx_ints(Out *o, int rank, int n, const int64_t *v) {
    Data *d = data_new(I64, (size_t)n);
    for (int i = 0; i < n; i++) data_set(d, (size_t)i, (Scalar){ .i = v[i] });
    int64_t dim = n;
    return onnx_data(o, I64, rank, &dim, d);
}

const char *onnx_cast(Out *o, const char *x, DType from, DType to) {
    if (from == to) return x;
    return onnx_op(o, "Cast", 1, &x, (At[]){ { .name = "to", .kind = 'i', .i = to }, { 0 } });
}

static Onnx__TensorShapeProto *shape_of(const Val *v) {
    Onnx__TensorShapeProto *s = NEW(Onnx__TensorShapeProto);
    onnx__tensor_shape_proto__init(s);
    s->n_dim = (size_t)v->rank;
    s->dim = NEWN(Onnx__TensorShapeProto__Dimension *, v->rank + 1);
    for (int i = 0; i < v->rank; i++) {
        Onnx__TensorShapeProto__Dimension *d = s->dim[i] = NEW(Onnx__TensorShapeProto__Dimension);
        onnx__tensor_shape_proto__dimension__init(d);
        int64_t n;
        if (e_is_const(v->shape[i], &n)) {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            d->dim_value = n;
        } else if (v->shape[i]->kind == X_VAR) {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            d->dim_param = text(v->shape[i]->name);
        }
    }
    return s;
}

Onnx__ValueInfoProto *onnx_value_info(const Val *v, const char *name) {
    Onnx__ValueInfoProto *p = NEW(Onnx__ValueInfoProto);
    Onnx__TypeProto *t = NEW(Onnx__TypeProto);
    Onnx__TypeProto__Tensor *tensor = NEW(Onnx__TypeProto__Tensor);
    onnx__value_info_proto__init(p);
    onnx__type_proto__init(t);
    onnx__type_proto__tensor__init(tensor);
    tensor->has_elem_type = 1;
    tensor->elem_type = (int32_t)v->dt;
    tensor->shape = shape_of(v);
    t->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    t->tensor_type = tensor;
    p->name = text(name);
    p->type = t;
    return p;
}
