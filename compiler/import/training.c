// SPDX-License-Identifier: Apache-2.0
// --training-info: a model's own training (ONNX's TrainingInfoProto) as the graph to compile. A step is the model's graph and
// the algorithm's as one, in which what the step updates comes as an input of its name; the start is the initialization.
#include "import/import.h"

#include <string.h>

typedef Onnx__GraphProto G;

static void *joined(const void *a, size_t na, const void *b, size_t nb, size_t size) {
    char *p = arena_alloc((na + nb + 1) * size);
    if (na) memcpy(p, a, na * size);
    if (nb) memcpy(p + na * size, b, nb * size);
    return p;
}

#define JOIN(to, a, b, field) \
    ((to)->field = joined((a)->field, (a)->n_##field, (b)->field, (b)->n_##field, sizeof *(to)->field), (to)->n_##field = (a)->n_##field + (b)->n_##field)

static Onnx__ValueInfoProto *input_like(const Onnx__TensorProto *t) {
    Onnx__ValueInfoProto *v = NEW(Onnx__ValueInfoProto);
    Onnx__TypeProto *type = NEW(Onnx__TypeProto);
    Onnx__TypeProto__Tensor *tensor = NEW(Onnx__TypeProto__Tensor);
    Onnx__TensorShapeProto *shape = NEW(Onnx__TensorShapeProto);
    onnx__value_info_proto__init(v);
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(tensor);
    onnx__tensor_shape_proto__init(shape);
    shape->n_dim = t->n_dims;
    shape->dim = NEWN(Onnx__TensorShapeProto__Dimension *, t->n_dims + 1);
    for (size_t i = 0; i < t->n_dims; i++) {
        shape->dim[i] = NEW(Onnx__TensorShapeProto__Dimension);
        onnx__tensor_shape_proto__dimension__init(shape->dim[i]);
        shape->dim[i]->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        shape->dim[i]->dim_value = t->dims[i];
    }
    tensor->has_elem_type = 1;
    tensor->elem_type = t->data_type;
    tensor->shape = shape;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    v->name = t->name;
    v->type = type;
    return v;
}

static bool is_bound(size_t n, Onnx__StringStringEntryProto *const *binding, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (binding[i]->key && name && !strcmp(binding[i]->key, name)) return true;
    return false;
}

// Initializers that the step updates become inputs, behind the others; each once.
static void bound_as_inputs(G *g, const Onnx__TrainingInfoProto *t) {
    Onnx__ValueInfoProto **in = g->input, **more = NEWN(Onnx__ValueInfoProto *, g->n_input + g->n_initializer + 1);
    size_t nin = 0, ninit = 0, found = 0;
    for (size_t i = 0; i < g->n_input; i++)
        if (!is_bound(t->n_update_binding, t->update_binding, in[i]->name)) more[nin++] = in[i];
    for (size_t i = 0; i < g->n_initializer; i++) {
        if (is_bound(t->n_update_binding, t->update_binding, g->initializer[i]->name)) more[nin++] = input_like(g->initializer[i]), found++;
        else g->initializer[ninit++] = g->initializer[i];
    }
    if (found != t->n_update_binding) error("--training-info: %zu values are updated, %zu of them are initializers", t->n_update_binding, found);
    g->input = more;
    g->n_input = nin;
    g->n_initializer = ninit;
}

static bool has_output(const G *g, const char *name) {
    for (size_t i = 0; i < g->n_output; i++)
        if (g->output[i]->name && !strcmp(g->output[i]->name, name)) return true;
    return false;
}

// What a binding gives is an output, whether the graph says so or not.
static void bound_as_outputs(G *g, size_t n, Onnx__StringStringEntryProto *const *binding) {
    Onnx__ValueInfoProto **all = NEWN(Onnx__ValueInfoProto *, g->n_output + n + 1);
    if (g->n_output) memcpy(all, g->output, sizeof *all * g->n_output);
    g->output = all;
    for (size_t i = 0; i < n; i++) {
        if (!binding[i]->value || has_output(g, binding[i]->value)) continue;
        Onnx__ValueInfoProto *v = NEW(Onnx__ValueInfoProto);
        onnx__value_info_proto__init(v);
        v->name = binding[i]->value;
        all[g->n_output++] = v;
    }
}

const Onnx__GraphProto *training_graph(Onnx__ModelProto *m, const char *what) {
    const bool start = !strcmp(what, "init");
    if (m->n_training_info != 1) {
        error("--training-info: the model has %s", m->n_training_info ? "several trainings, which is not supported" : "no training of its own; --train makes one");
        return NULL;
    }
    const Onnx__TrainingInfoProto *t = m->training_info[0];
    const G *part = start ? t->initialization : t->algorithm;
    if (!part) {
        error("--training-info: the model's training has no %s", start ? "initialization" : "algorithm");
        return NULL;
    }
    G *g = NEW(G);
    *g = *part;
    if (!start) {
        JOIN(g, m->graph, part, node);
        JOIN(g, m->graph, part, input);
        JOIN(g, m->graph, part, initializer);
        JOIN(g, m->graph, part, sparse_initializer);
        JOIN(g, m->graph, part, output);
        bound_as_inputs(g, t);
        bound_as_outputs(g, t->n_update_binding, t->update_binding);
    } else bound_as_outputs(g, t->n_initialization_binding, t->initialization_binding);
    return g;
}
