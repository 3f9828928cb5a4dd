// SPDX-License-Identifier: Apache-2.0
// How a parameter starts at random, by the operator that reads it: He where a rectifier follows, else
// Glorot; embeddings normal; scales of normalization 1; biases 0.
#include "import/import.h"

#include <math.h>
#include <string.h>

static bool is_any(const char *s, const char *list) {
    size_t n = strlen(s);
    for (const char *p = list; *p; p += strcspn(p, " "), p += strspn(p, " "))
        if (strcspn(p, " ") == n && !memcmp(p, s, n)) return true;
    return false;
}

// The first node that reads the value, and as which input.
static const Onnx__NodeProto *reader_of(const Onnx__GraphProto *g, const char *name, size_t *input) {
    for (size_t i = 0; i < g->n_node; i++)
        for (size_t k = 0; k < g->node[i]->n_input; k++)
            if (g->node[i]->op_type && !strcmp(g->node[i]->input[k], name)) return *input = k, g->node[i];
    return NULL;
}

static const Onnx__AttributeProto *attribute(const Onnx__NodeProto *n, const char *name) {
    for (size_t i = 0; i < n->n_attribute; i++)
        if (n->attribute[i]->name && !strcmp(n->attribute[i]->name, name)) return n->attribute[i];
    return NULL;
}

static int64_t int_attribute(const Onnx__NodeProto *n, const char *name, int64_t none) {
    const Onnx__AttributeProto *a = attribute(n, name);
    return a ? a->i : none;
}

// Whether what the node gives goes into a rectifier, through a bias or a normalization.
static bool rectified(const Onnx__GraphProto *g, const Onnx__NodeProto *n) {
    size_t input;
    for (int hops = 0; n && n->n_output && hops < 4; hops++) {
        n = reader_of(g, n->output[0], &input);
        if (!n) return false;
        if (is_any(n->op_type, "Relu LeakyRelu PRelu ThresholdedRelu Elu Celu Selu Gelu Mish Swish HardSwish Clip")) return true;
        if (!is_any(n->op_type, "Add BatchNormalization InstanceNormalization GroupNormalization LayerNormalization Reshape MaxPool")) return false;
    }
    return false;
}

static Init fans(bool he, double in, double out) {
    return (Init){.kind = INIT_UNIFORM, .scale = he ? sqrt(6 / fmax(in, 1)) : sqrt(6 / fmax(in + out, 1))};
}

static double product(const int64_t *d, int from, int to) {
    double p = 1;
    for (int i = from; i < to; i++) p *= (double)d[i];
    return p;
}

static Init of_matrix(const Onnx__GraphProto *g, const Onnx__NodeProto *n, size_t input, int rank, const int64_t *d, bool swapped) {
    bool he = rectified(g, n);
    double rows = (double)d[rank - 2], cols = (double)d[rank - 1];
    if (!strcmp(n->op_type, "Gemm") && input == 1 && int_attribute(n, "transB", 0)) swapped = !swapped;
    return swapped ? fans(he, cols, rows) : fans(he, rows, cols);
}

Init import_init(const Onnx__GraphProto *g, const char *name, int rank, const int64_t *d) {
    bool swapped = false;
    size_t input = 0;
    const Onnx__NodeProto *n = reader_of(g, name, &input);
    for (int hops = 0; n && n->n_output && hops < 4 && is_any(n->op_type, "Cast Identity Transpose DequantizeLinear"); hops++) {
        swapped ^= !strcmp(n->op_type, "Transpose");
        n = reader_of(g, n->output[0], &input);
    }
    if (!n) return (Init){.kind = INIT_CONSTANT, .scale = 0};
    const char *op = n->op_type;
    if (is_any(op, "BatchNormalization InstanceNormalization LayerNormalization GroupNormalization RMSNormalization SimplifiedLayerNormalization"))
        return (Init){.kind = INIT_CONSTANT, .scale = input == 1 || input == 4};
    if (!strcmp(op, "PRelu")) return (Init){.kind = INIT_CONSTANT, .scale = 0.25};
    if (is_any(op, "Conv ConvTranspose") && input == 1 && rank > 2) {
        double group = (double)int_attribute(n, "group", 1), taps = product(d, 2, rank);
        bool transposed = !strcmp(op, "ConvTranspose");
        double in = (transposed ? (double)d[0] / group : (double)d[1]) * taps, out = (transposed ? (double)d[1] : (double)d[0] / group) * taps;
        return fans(rectified(g, n), in, out);
    }
    if (is_any(op, "RNN GRU LSTM") && rank == 3) return (Init){.kind = INIT_UNIFORM, .scale = 1 / sqrt((double)(input == 2 ? d[2] : int_attribute(n, "hidden_size", d[2])))};
    if (is_any(op, "Gather Embedding") && input == 0 && rank == 2) return (Init){.kind = INIT_NORMAL, .scale = 1};
    if (rank <= 1) return (Init){.kind = INIT_CONSTANT, .scale = is_any(op, "Mul Div")};
    return of_matrix(g, n, input, rank, d, swapped);
}

// ---- parameters in Constant nodes -------------------------------------------------------------------------

const void *keep(const void *p) { return *NEW(const void *) = p; }

static bool is_weights(const Onnx__TensorProto *t) {
    size_t n = 1;
    for (size_t i = 0; i < t->n_dims; i++) n = t->dims[i] < 0 ? 0 : mul_size(n, (size_t)t->dims[i]);
    return n > 1 && t->data_type > DT_NONE && t->data_type < DT_COUNT && dt_is_float((DType)t->data_type);
}

// The elements of a Constant node that may be a parameter; NULL: it is none.
static Onnx__TensorProto *weights_of(const Onnx__NodeProto *n) {
    const Onnx__AttributeProto *a = n->op_type && !strcmp(n->op_type, "Constant") && !*domain_of(n->domain) && n->n_output == 1 ? attribute(n, "value") : NULL;
    return a && a->t && is_weights(a->t) ? a->t : NULL;
}

void constants_as_initializers(Onnx__GraphProto *g) {
    for (size_t i = 0; i < g->n_initializer; i++)
        if (is_weights(g->initializer[i])) return;
    Onnx__TensorProto **init = NEWN(Onnx__TensorProto *, g->n_initializer + g->n_node + 1);
    Onnx__NodeProto **node = NEWN(Onnx__NodeProto *, g->n_node + 1);
    size_t n = 0;
    if (g->n_initializer) memcpy(init, g->initializer, sizeof *init * g->n_initializer);
    for (size_t i = 0; i < g->n_node; i++) {
        Onnx__TensorProto *t = weights_of(g->node[i]);
        if (!t) {
            node[n++] = g->node[i];
            continue;
        }
        keep(t->name);
        t->name = g->node[i]->output[0];
        init[g->n_initializer++] = t;
    }
    keep(g->initializer);
    keep(g->node);
    g->initializer = init;
    g->node = node;
    g->n_node = n;
}
