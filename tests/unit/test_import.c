// SPDX-License-Identifier: Apache-2.0
// The importer: models are built as messages, written to a file, and imported.
#include "cnncc.h"
#include "onnx.pb-c.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- building models -----------------------------------------------------------------------------

enum { MOST = 64 };
typedef Onnx__NodeProto NodeMsg;
typedef Onnx__TensorProto TensorMsg;
typedef Onnx__ValueInfoProto ValueMsg;
typedef Onnx__AttributeProto AttrMsg;
typedef Onnx__GraphProto GraphMsg;
typedef Onnx__FunctionProto FunctionMsg;

typedef struct {
    Onnx__ModelProto m;
    Onnx__OperatorSetIdProto opset;
    Onnx__OperatorSetIdProto *opsets[2];
} Model;

static char *text_copy(const char *s) {
    char *p = strdup(s);
    cr_assert_not_null(p);
    return p;
}

#define MSG(name, T, init)                                                                                             \
    static T *name(void) {                                                                                             \
        static const T empty = init;                                                                                   \
        T *p = malloc(sizeof *p);                                                                                      \
        cr_assert_not_null(p);                                                                                         \
        *p = empty;                                                                                                    \
        return p;                                                                                                      \
    }
MSG(new_node, NodeMsg, ONNX__NODE_PROTO__INIT)
MSG(new_tensor, TensorMsg, ONNX__TENSOR_PROTO__INIT)
MSG(new_value, ValueMsg, ONNX__VALUE_INFO_PROTO__INIT)
MSG(new_attr, AttrMsg, ONNX__ATTRIBUTE_PROTO__INIT)
MSG(new_graph, GraphMsg, ONNX__GRAPH_PROTO__INIT)
MSG(new_function, FunctionMsg, ONNX__FUNCTION_PROTO__INIT)
MSG(new_type, Onnx__TypeProto, ONNX__TYPE_PROTO__INIT)
MSG(new_tensor_type, Onnx__TypeProto__Tensor, ONNX__TYPE_PROTO__TENSOR__INIT)
MSG(new_shape, Onnx__TensorShapeProto, ONNX__TENSOR_SHAPE_PROTO__INIT)
MSG(new_dim, Onnx__TensorShapeProto__Dimension, ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT)

// APPEND(list, count, element): lists have room for MOST.
#define APPEND(list, n, x)                                                                                             \
    do {                                                                                                               \
        if (!(list)) (list) = calloc(MOST, sizeof *(list));                                                            \
        cr_assert(n < MOST);                                                                                           \
        (list)[(n)++] = (x);                                                                                           \
    } while (0)

// Words separated by spaces; "-" is an empty name.
static size_t words(const char *text, char ***out) {
    size_t n = 0;
    char *copy = text_copy(text), *save = NULL;
    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
        APPEND(*out, n, text_copy(strcmp(w, "-") ? w : ""));
    return n;
}

static NodeMsg *node(const char *type, const char *in, const char *out) {
    NodeMsg *p = new_node();
    p->op_type = text_copy(type);
    p->n_input = words(in, &p->input);
    p->n_output = words(out, &p->output);
    return p;
}

// "3 N ?": numbers, names, unknown.
static ValueMsg *value(const char *name, int32_t type, const char *dims) {
    ValueMsg *p = new_value();
    p->name = text_copy(name);
    p->type = new_type();
    p->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    Onnx__TypeProto__Tensor *t = p->type->tensor_type = new_tensor_type();
    t->has_elem_type = 1;
    t->elem_type = type;
    if (!dims) return p;
    t->shape = new_shape();
    char **w = NULL;
    size_t n = words(dims, &w);
    for (size_t i = 0; i < n; i++) {
        Onnx__TensorShapeProto__Dimension *d = new_dim();
        if (w[i][0] >= 'A') {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            d->dim_param = w[i];
        } else if (w[i][0] != '?') {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            d->dim_value = atoll(w[i]);
        }
        APPEND(t->shape->dim, t->shape->n_dim, d);
    }
    return p;
}

static TensorMsg *tensor(const char *name, int32_t type, const char *dims) {
    TensorMsg *t = new_tensor();
    t->name = text_copy(name);
    t->has_data_type = 1;
    t->data_type = type;
    char **w = NULL;
    size_t n = words(dims, &w);
    for (size_t i = 0; i < n; i++) APPEND(t->dims, t->n_dims, atoll(w[i]));
    return t;
}

static TensorMsg *raw(TensorMsg *t, const void *data, size_t n) {
    t->has_raw_data = 1;
    t->raw_data.len = n;
    t->raw_data.data = (uint8_t *)(uintptr_t)data;
    return t;
}

static AttrMsg *attr(NodeMsg *p, const char *name, Onnx__AttributeProto__AttributeType type) {
    AttrMsg *a = new_attr();
    a->name = text_copy(name);
    a->has_type = 1;
    a->type = type;
    APPEND(p->attribute, p->n_attribute, a);
    return a;
}

static NodeMsg *attr_i(NodeMsg *p, const char *name, int64_t v) {
    AttrMsg *a = attr(p, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    a->has_i = 1;
    a->i = v;
    return p;
}

static NodeMsg *attr_f(NodeMsg *p, const char *name, float v) {
    AttrMsg *a = attr(p, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    a->has_f = 1;
    a->f = v;
    return p;
}

#define NODE(g, ...) APPEND((g)->node, (g)->n_node, __VA_ARGS__)
#define INPUT(g, ...) APPEND((g)->input, (g)->n_input, value(__VA_ARGS__))
#define OUTPUT(g, name) APPEND((g)->output, (g)->n_output, value(name, 1, NULL))
#define INIT(g, ...) APPEND((g)->initializer, (g)->n_initializer, __VA_ARGS__)

static GraphMsg *model(Model *m, int64_t opset) {
    m->m = (Onnx__ModelProto)ONNX__MODEL_PROTO__INIT;
    m->m.has_ir_version = 1;
    m->m.ir_version = 8;
    m->opset = (Onnx__OperatorSetIdProto)ONNX__OPERATOR_SET_ID_PROTO__INIT;
    m->opset.has_version = 1;
    m->opset.version = opset;
    m->opset.domain = "";
    m->opsets[0] = &m->opset;
    m->m.opset_import = m->opsets;
    m->m.n_opset_import = 1;
    m->m.graph = new_graph();
    m->m.graph->name = "g";
    return m->m.graph;
}

static Graph *import_bytes(const void *data, size_t n, const Options *opt) {
    static const Options none;
    char path[] = "import_test_XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, data, n), (ssize_t)n);
    close(fd);
    diag_errors = 0;
    Graph *g = import_model(intern(path), opt ? opt : &none);
    unlink(path);
    if (g) graph_verify(g);
    return g;
}

static Graph *import_with(Model *m, const Options *opt) {
    size_t n = onnx__model_proto__get_packed_size(&m->m);
    uint8_t *data = malloc(n);
    cr_assert_not_null(data);
    onnx__model_proto__pack(&m->m, data);
    Graph *g = import_bytes(data, n, opt);
    free(data);
    return g;
}

static Graph *import(Model *m) { return import_with(m, NULL); }

// The import fails, and says so: the diagnostics contain each of the NULL-terminated texts.
static void refused(Model *m, ...) {
    cr_redirect_stderr();
    cr_assert_null(import(m));
    fflush(stderr);
    char text[20000];
    FILE *f = cr_get_redirected_stderr();
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    va_list ap;
    va_start(ap, m);
    for (const char *want; (want = va_arg(ap, const char *));)
        cr_assert_not_null(strstr(text, want), "'%s' is not in:\n%s", want, text);
    va_end(ap);
}

static const Data *constant_output(const Graph *g, int i) {
    const Data *d = val_const(g->out[i]);
    cr_assert_not_null(d);
    return d;
}

// ---- graphs ------------------------------------------------------------------------------------------

Test(import, a_chain_with_named_dimensions) {
    Model m;
    GraphMsg *g = model(&m, 17);
    INPUT(g, "x", 1, "N 3 ? -1");
    NODE(g, node("Relu", "x", "a"));
    NODE(g, node("Sigmoid", "a", "y"));
    OUTPUT(g, "y");
    Graph *t = import(&m);
    cr_assert_not_null(t);
    cr_assert_eq(t->nin, 1);
    cr_assert_str_eq(t->in[0]->name, "x");
    cr_assert_str_eq(e_str(t->in[0]->shape[0]), "N");
    cr_assert(e_is(t->in[0]->shape[1], 3));
    cr_assert_str_eq(e_str(t->in[0]->shape[2]), "x_2");
    cr_assert_str_eq(e_str(t->in[0]->shape[3]), "x_3");
    cr_assert_eq(t->nout, 1);
    cr_assert_str_eq(t->out_name[0], "y");
    cr_assert(val_same_shape(t->in[0], t->out[0]));
    cr_assert_str_eq(model_domain_opset, "ai.onnx 17");
}

Test(import, options_fix_dimensions_shapes_and_outputs) {
    Model m;
    GraphMsg *g = model(&m, 17);
    INPUT(g, "x", 1, "N M");
    INPUT(g, "z", 1, NULL);
    NODE(g, node("Relu", "x", "a"));
    NODE(g, node("Relu", "z", "b"));
    NODE(g, node("Neg", "a", "y"));
    OUTPUT(g, "y");
    OUTPUT(g, "b");
    DimFix dim[] = {{"N", false, 4}, {"M", true, 9}};
    ShapeFix shape[] = {{"z", "2xHx5"}};
    const char *outputs[] = {"a"};
    Options opt = {.dim = dim, .ndim = 2, .shape = shape, .nshape = 1, .outputs = outputs, .noutputs = 1};
    Graph *t = import_with(&m, &opt);
    cr_assert_not_null(t);
    cr_assert(e_is(t->in[0]->shape[0], 4));
    cr_assert_eq(t->in[0]->shape[1]->hi, 9);
    cr_assert_eq(t->in[1]->rank, 3);
    cr_assert_str_eq(e_str(t->in[1]->shape[1]), "H");
    cr_assert_eq(t->nout, 3);
    cr_assert_str_eq(t->out_name[2], "a");
    dim[0].name = "K";
    cr_assert_null(import_with(&m, &opt));
}

Test(import, names_must_be_defined_once_and_before_use) {
    Model m;
    GraphMsg *g = model(&m, 17);
    INPUT(g, "x", 1, "3");
    NODE(g, node("Add", "x b", "a"));
    NODE(g, node("Relu", "x", "b"));
    NODE(g, node("Relu", "x", "b"));
    NODE(g, node("Relu", "nowhere", "c"));
    NODE(g, node("Relu", "c", "d"));
    OUTPUT(g, "d");
    OUTPUT(g, "e");
    refused(&m, "node 0 (Add): input 1 'b' is not defined; node 1 defines it", "node 'b' is defined twice",
            "node 3 (Relu): input 0 'nowhere' is not defined", "output 'e' is not defined", NULL);
}

Test(import, operators_that_are_not_supported_are_listed_together) {
    Model m;
    GraphMsg *g = model(&m, 17);
    INPUT(g, "x", 1, "3");
    for (int i = 0; i < 5; i++) {
        NODE(g, node("NoSuchOperator", "x", i == 0 ? "a" : i == 1 ? "b" : i == 2 ? "c" : i == 3 ? "d" : "e"));
    }
    NODE(g, node("Another", "a", "y"));
    NODE(g, node("Third", "x", "z"));
    g->node[6]->domain = "com.microsoft";
    OUTPUT(g, "y");
    refused(&m, "operator NoSuchOperator", "node 0, node 1, node 2, … (5 nodes)", "operator Third", NULL);
}

Test(import, nodes_are_checked_against_the_schema) {
    Model m;
    GraphMsg *g = model(&m, 17);
    INPUT(g, "x", 1, "1 1 4 4");
    INPUT(g, "i", 7, "1 1 4 4");
    NODE(g, attr_i(node("Relu", "x", "a"), "alpha", 1));
    NODE(g, attr_i(node("LeakyRelu", "x", "b"), "alpha", 1));
    NODE(g, node("Add", "x", "c"));
    NODE(g, node("Add", "x i", "d"));
    NODE(g, node("Sqrt", "i", "e"));
    NODE(g, node("Cast", "x", "f"));
    NODE(g, node("Add", "x -", "h"));
    NODE(g, attr_f(attr_f(node("Elu", "x", "k"), "alpha", 1), "alpha", 1));
    g->node[0]->name = "first";
    OUTPUT(g, "a");
    refused(&m, "node 0 'first' (Relu-14): there is no attribute alpha",
            "node 1 (LeakyRelu-16): attribute alpha is INT, needs to be FLOAT", "node 2 (Add-14): 1 inputs, needs 2",
            "node 3 (Add-14): input 1 (B) is tensor(int64), but input 0 is tensor(float)",
            "node 4 (Sqrt-13): input 0 (X) cannot be tensor(int64)", "node 5 (Cast-13): attribute to is missing",
            "node 6 (Add-14): input 1 (B) is missing", "node 7 (Elu-6): attribute alpha is given twice", NULL);
}

Test(import, versions_choose_the_operator) {
    Model m;
    GraphMsg *g = model(&m, 9);
    INPUT(g, "x", 1, "3");
    NODE(g, node("Gelu", "x", "y"));
    OUTPUT(g, "y");
    refused(&m, "node 0 (Gelu): the operator does not exist in version 9 of its operator set", NULL);
}

Test(import, a_chain_of_100000_nodes) {
    enum { N = 100000 };
    Model m;
    GraphMsg *g = model(&m, 17);
    INPUT(g, "x", 1, "3");
    g->node = calloc(N, sizeof *g->node);
    char *name[2] = {text_copy("x"), NULL};
    for (int i = 0; i < N; i++) {
        NodeMsg *p = g->node[g->n_node++] = node(i % 2 ? "Sin" : "Cos", "x", "y");
        char text[20];
        snprintf(text, sizeof text, "v%d", i);
        p->input[0] = name[0];
        p->output[0] = name[0] = text_copy(text);
    }
    APPEND(g->output, g->n_output, value(name[0], 1, NULL));
    Graph *t = import(&m);
    cr_assert_not_null(t);
    cr_assert(t->nnode >= N);
}

// ---- constants -----------------------------------------------------------------------------------------

Test(import, every_way_to_store_a_constant) {
    Model m;
    GraphMsg *g = model(&m, 21);
    static const float f[] = {1, 2.5F, -3};
    TensorMsg *t = raw(tensor("raw", 1, "3"), f, sizeof f);
    INIT(g, t);
    t = tensor("typed", 1, "1 2");
    APPEND(t->float_data, t->n_float_data, 4.0F);
    APPEND(t->float_data, t->n_float_data, 5.0F);
    INIT(g, t);
    t = tensor("half", 10, "2"); // by their bits: 1 and -2
    APPEND(t->int32_data, t->n_int32_data, 0x3c00);
    APPEND(t->int32_data, t->n_int32_data, 0xc000);
    INIT(g, t);
    INIT(g, raw(tensor("nibbles", 22, "3"), "\x7f\x08", 2)); // -1, 7, -8
    INIT(g, raw(tensor("pairs", 25, "5"), "\xe4\x02", 2));   // 0 1 2 3 2
    INIT(g, raw(tensor("bools", 9, "3"), "\x00\x01\x07", 3));
    INIT(g, raw(tensor("same", 6, "2 2"), "\5\0\0\0\5\0\0\0\5\0\0\0\5\0\0\0", 16));
    INIT(g, tensor("none", 1, "0 4"));
    const char *names[] = {"raw", "typed", "half", "nibbles", "pairs", "bools", "same", "none"};
    for (int i = 0; i < 8; i++) OUTPUT(g, names[i]);
    Graph *r = import(&m);
    cr_assert_not_null(r);
    cr_assert_eq(data_get(constant_output(r, 0), 1).f, 2.5);
    cr_assert_eq(data_get(constant_output(r, 1), 1).f, 5);
    cr_assert_eq(data_get(constant_output(r, 2), 1).f, -2);
    cr_assert_eq(data_get(constant_output(r, 3), 0).i, -1);
    cr_assert_eq(data_get(constant_output(r, 3), 1).i, 7);
    cr_assert_eq(data_get(constant_output(r, 3), 2).i, -8);
    cr_assert_eq(data_get(constant_output(r, 4), 3).i, 3);
    cr_assert_eq(data_get(constant_output(r, 4), 4).i, 2);
    cr_assert_eq(data_get(constant_output(r, 5), 2).i, 1);
    cr_assert(constant_output(r, 6)->splat);
    cr_assert_eq(data_get(constant_output(r, 6), 3).i, 5);
    cr_assert_eq(constant_output(r, 7)->n, 0);
}

Test(import, malformed_constants_are_refused) {
    Model m;
    GraphMsg *g = model(&m, 21);
    INIT(g, raw(tensor("short", 1, "3"), "abcdefgh", 8));
    INIT(g, tensor("missing", 1, "3"));
    INIT(g, tensor("negative", 1, "-3"));
    INIT(g, tensor("huge", 1, "4611686018427387904 4611686018427387904"));
    INIT(g, tensor("large", 1, "100000000000"));
    INIT(g, tensor("type", 99, "3"));
    TensorMsg *t = tensor("outside", 1, "3");
    t->has_data_location = 1;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    Onnx__StringStringEntryProto *e = malloc(sizeof *e);
    *e = (Onnx__StringStringEntryProto)ONNX__STRING_STRING_ENTRY_PROTO__INIT;
    e->key = "location";
    e->value = "../../etc/passwd";
    APPEND(t->external_data, t->n_external_data, e);
    INIT(g, t);
    OUTPUT(g, "short");
    refused(&m, "initializer 'short': 8 bytes of data, needs 12", "'missing': 0 elements in float_data, needs 3",
            "'negative': dimension 0 is -3", "'huge': its size does not fit 64 bits",
            "'large': 0 elements in float_data", "'type': element type 99", "'outside': ", NULL);
}

// ---- functions ---------------------------------------------------------------------------------------------

static FunctionMsg *function(Model *m, const char *name, const char *in, const char *out) {
    FunctionMsg *f = new_function();
    f->domain = "local";
    f->name = text_copy(name);
    f->n_input = words(in, &f->input);
    f->n_output = words(out, &f->output);
    f->opset_import = m->opsets;
    f->n_opset_import = 1;
    APPEND(m->m.functions, m->m.n_functions, f);
    return f;
}

static NodeMsg *call(const char *name, const char *in, const char *out) {
    NodeMsg *p = node(name, in, out);
    p->domain = "local";
    return p;
}

Test(import, functions_are_inlined) {
    Model m;
    GraphMsg *g = model(&m, 17);
    FunctionMsg *f = function(&m, "leaky", "a min", "b"); // the slope is the caller's, Clip's min may be left out
    NODE(f, node("LeakyRelu", "a", "x"));
    AttrMsg *r = attr(f->node[0], "alpha", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    r->ref_attr_name = "slope";
    NODE(f, node("Clip", "x min", "b"));
    APPEND(f->attribute, f->n_attribute, "slope");
    INPUT(g, "x", 1, "3");
    NODE(g, attr_f(call("leaky", "x", "y"), "slope", 0.5F));
    NODE(g, attr_f(node("LeakyRelu", "x", "z"), "alpha", 0.5F));
    NODE(g, call("leaky", "x", "w"));
    NODE(g, node("LeakyRelu", "x", "v"));
    OUTPUT(g, "y");
    OUTPUT(g, "z");
    OUTPUT(g, "w");
    OUTPUT(g, "v");
    Graph *t = import(&m);
    cr_assert_not_null(t);
    cr_assert_eq(t->out[0], t->out[1], "the same nodes, so the same value");
    cr_assert_eq(t->out[2], t->out[3], "no attribute: the schema's default");
    cr_assert_neq(t->out[0], t->out[2]);
}

Test(import, functions_that_call_themselves_are_refused) {
    Model m;
    GraphMsg *g = model(&m, 17);
    FunctionMsg *f = function(&m, "f", "a", "b");
    NODE(f, call("f", "a", "b"));
    INPUT(g, "x", 1, "3");
    NODE(g, call("f", "x", "y"));
    OUTPUT(g, "y");
    refused(&m, "functions and sub-graphs are more than 100 deep", NULL);
}

// ---- sub-graphs ---------------------------------------------------------------------------------------------

static NodeMsg *attr_g(NodeMsg *p, const char *name, GraphMsg *g) {
    AttrMsg *a = attr(p, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH);
    g->name = text_copy(name);
    a->g = g;
    return p;
}

Test(import, branches_capture_what_they_read) {
    Model m;
    GraphMsg *g = model(&m, 17), *yes = new_graph(), *no = new_graph();
    INPUT(g, "c", 9, "");
    INPUT(g, "x", 1, "3");
    INPUT(g, "z", 1, "3");
    NODE(yes, node("Relu", "x", "t"));
    OUTPUT(yes, "t");
    OUTPUT(no, "z");
    NODE(g, attr_g(attr_g(node("If", "c", "y"), "then_branch", yes), "else_branch", no));
    OUTPUT(g, "y");
    Graph *t = import(&m);
    cr_assert_not_null(t);
    const Node *n = t->out[0]->node;
    cr_assert_eq(n->op, P_if);
    cr_assert_eq(n->nin, 3);
    cr_assert_eq(n->region[0].g->nin, 2);
    cr_assert_eq(n->region[1].g->nin, 2);
    cr_assert_eq(n->region[1].g->out[0], n->region[1].g->in[1]);
}

Test(import, a_known_condition_leaves_one_branch) {
    Model m;
    GraphMsg *g = model(&m, 17), *yes = new_graph(), *no = new_graph();
    INIT(g, raw(tensor("c", 9, ""), "\1", 1));
    INPUT(g, "x", 1, "3");
    NODE(yes, node("Relu", "x", "t"));
    OUTPUT(yes, "t");
    OUTPUT(no, "x");
    NODE(g, attr_g(attr_g(node("If", "c", "y"), "then_branch", yes), "else_branch", no));
    NODE(g, node("Relu", "x", "z"));
    OUTPUT(g, "y");
    OUTPUT(g, "z");
    Graph *t = import(&m);
    cr_assert_not_null(t);
    cr_assert_eq(t->out[0], t->out[1]);
}

Test(import, a_loop_with_a_growing_carried_value) {
    Model m;
    GraphMsg *g = model(&m, 17), *body = new_graph();
    INPUT(g, "n", 7, "");
    INPUT(g, "x", 1, "1");
    INPUT(body, "i", 7, "");
    INPUT(body, "keep", 9, "");
    INPUT(body, "v", 1, NULL);
    NODE(body, node("Identity", "keep", "keep2"));
    NODE(body, attr_i(node("Concat", "v x", "w"), "axis", 0));
    OUTPUT(body, "keep2");
    OUTPUT(body, "w");
    NODE(g, attr_g(node("Loop", "n - x", "y"), "body", body));
    OUTPUT(g, "y");
    Graph *t = import(&m);
    cr_assert_not_null(t);
    cr_assert_eq(t->out[0]->node->op, P_loop);
    Tensor n = {.dt = I64, .data = data_new(I64, 1)},
           x = {.dt = F32, .rank = 1, .shape = {1}, .data = data_new(F32, 1)};
    data_set(n.data, 0, (Scalar){.i = 3});
    Tensor *in[] = {&n, &x}, *out[1];
    cr_assert_eq(eval_graph(t, 2, in, 1, out), 0);
    cr_assert_eq(out[0]->shape[0], 4);
}

Test(import, sequences_are_taken_apart) {
    Model m;
    GraphMsg *g = model(&m, 17), *body = new_graph();
    static const int64_t three = 3, last = -1;
    INIT(g, raw(tensor("three", 7, ""), &three, sizeof three));
    INIT(g, raw(tensor("last", 7, ""), &last, sizeof last));
    INPUT(g, "x", 1, "2 4");
    NODE(g, node("SequenceEmpty", "", "s0"));
    INPUT(body, "i", 7, "");
    INPUT(body, "keep", 9, "");
    INPUT(body, "s", 1, NULL);
    NODE(body, node("SequenceInsert", "s x", "t"));
    OUTPUT(body, "keep");
    OUTPUT(body, "t");
    NODE(g, attr_g(node("Loop", "three - s0", "s1"), "body", body));
    NODE(g, node("SequenceLength", "s1", "n"));
    NODE(g, attr_i(node("ConcatFromSequence", "s1", "y"), "axis", 0));
    NODE(g, attr_i(node("SplitToSequence", "x", "parts"), "axis", 1));
    NODE(g, node("SequenceAt", "parts last", "z"));
    OUTPUT(g, "n");
    OUTPUT(g, "y");
    OUTPUT(g, "z");
    Graph *t = import(&m);
    cr_assert_not_null(t);
    cr_assert_eq(data_get(constant_output(t, 0), 0).i, 3);
    cr_assert(e_is(t->out[1]->shape[0], 6));
    cr_assert_eq(t->out[2]->node->op, P_slice);
    cr_assert(e_is(t->out[2]->shape[1], 1));
}

// ---- files nobody should trust --------------------------------------------------------------------------------

Test(import, garbage_is_refused) {
    cr_redirect_stderr();
    cr_assert_null(import_bytes("", 0, NULL));
    cr_assert_null(import_bytes("hello, world", 12, NULL));
    cr_assert_null(import_bytes("\x08\x08", 2, NULL));
    static const Options none;
    cr_assert_null(import_model("no/such/file.onnx", &none));
    cr_assert_null(import_model(".", &none));
}

Test(import, every_prefix_and_every_changed_byte_ends_well) {
    Model m;
    GraphMsg *g = model(&m, 17);
    static const float f[] = {1, 2, 3};
    INIT(g, raw(tensor("w", 1, "3"), f, sizeof f));
    INPUT(g, "x", 1, "N 3");
    NODE(g, node("Add", "x w", "a"));
    NODE(g, attr_i(node("Softmax", "a", "y"), "axis", 1));
    OUTPUT(g, "y");
    size_t n = onnx__model_proto__get_packed_size(&m.m);
    uint8_t *data = malloc(n);
    onnx__model_proto__pack(&m.m, data);
    cr_redirect_stderr();
    for (size_t i = 0; i < n; i++) import_bytes(data, i, NULL);
    for (size_t i = 0; i < n; i++) {
        uint8_t old = data[i];
        for (int k = 0; k < 8; k++) {
            data[i] = (uint8_t)(old ^ (1 << k));
            import_bytes(data, n, NULL);
        }
        data[i] = old;
    }
    cr_assert_not_null(import_bytes(data, n, NULL));
    free(data);
}

Test(import, deep_nesting_is_refused) {
    Model m;
    GraphMsg *g = model(&m, 17);
    INPUT(g, "c", 9, "");
    for (int i = 0; i < 40; i++) {
        GraphMsg *inner = new_graph(), *other = new_graph();
        OUTPUT(other, "c");
        NODE(g, attr_g(attr_g(node("If", "c", "y"), "then_branch", inner), "else_branch", other));
        OUTPUT(g, "y");
        g = inner;
    }
    OUTPUT(g, "c");
    refused(&m, "deep", NULL);
}
