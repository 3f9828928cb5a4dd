// SPDX-License-Identifier: Apache-2.0
// --lora: adapters of low rank (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021). A weight
// matrix W [rows, cols] of the model gets two small ones that are trained in its stead. Of more dimensions than two the
// first are rows and the others columns:
//
//     W + scale * up [rows, r] * across [r, cols]
//
// one random, the other zero, so that training starts at the model as it is. A reader that multiplies by W gets a
// second way beside it, through r channels; for all others the sum is formed.
#include "emit/onnx.h"
#include "import/import.h"

#include <math.h>
#include <regex.h>
#include <string.h>

typedef struct {
    const Lora *o;
    const char *w;              // the weight's name
    DType dt;
    int64_t rows, cols, rank;
    int ndim;
    const int64_t *dim;         // of W
    const char *up, *across, *scale; // scale: NULL where it is 1
} Adapter;

// Where a reader has the product.
typedef enum { BY_SUM, BY_MATMUL, BY_GEMM, BY_GEMM_T, BY_CONV, BY_GATHER } Way;

static const Onnx__AttributeProto *attribute(const Onnx__NodeProto *n, const char *name) {
    for (size_t i = 0; i < n->n_attribute; i++)
        if (n->attribute[i]->name && !strcmp(n->attribute[i]->name, name)) return n->attribute[i];
    return NULL;
}

static int64_t int_attribute(const Onnx__NodeProto *n, const char *name, int64_t none) {
    const Onnx__AttributeProto *a = attribute(n, name);
    return a ? a->i : none;
}

static Way way_of(const Onnx__NodeProto *n, size_t input, int ndim) {
    const char *op = n->op_type ? n->op_type : "";
    const Onnx__AttributeProto *alpha = attribute(n, "alpha");
    if (*domain_of(n->domain) || n->n_output != 1) return BY_SUM;
    if (!strcmp(op, "MatMul") && input == 1 && ndim == 2) return BY_MATMUL;
    if (!strcmp(op, "Gemm") && input == 1 && !int_attribute(n, "transA", 0) && (!alpha || alpha->f == 1)) return int_attribute(n, "transB", 0) ? BY_GEMM_T : BY_GEMM;
    if (!strcmp(op, "Conv") && input == 1 && ndim > 2 && int_attribute(n, "group", 1) == 1) return BY_CONV;
    if (!strcmp(op, "Gather") && input == 0 && ndim == 2 && int_attribute(n, "axis", 0) == 0) return BY_GATHER;
    return BY_SUM;
}

// ---- who reads W --------------------------------------------------------------------------------------

static bool reads(const Onnx__NodeProto *n, const char *w) {
    for (size_t k = 0; k < n->n_input; k++)
        if (!strcmp(n->input[k], w)) return true;
    return false;
}

static bool inside_reads(const Onnx__NodeProto *n, const char *w);

static bool graph_reads(const Onnx__GraphProto *g, const char *w) {
    for (size_t i = 0; i < g->n_node; i++)
        if (reads(g->node[i], w) || inside_reads(g->node[i], w)) return true;
    for (size_t i = 0; i < g->n_output; i++)
        if (g->output[i]->name && !strcmp(g->output[i]->name, w)) return true;
    return false;
}

// Whether a sub-graph of the node does.
static bool inside_reads(const Onnx__NodeProto *n, const char *w) {
    for (size_t k = 0; k < n->n_attribute; k++) {
        const Onnx__AttributeProto *a = n->attribute[k];
        if (a->g && graph_reads(a->g, w)) return true;
        for (size_t j = 0; j < a->n_graphs; j++)
            if (graph_reads(a->graphs[j], w)) return true;
    }
    return false;
}

// The way that all readers share, of the main graph's nodes; BY_SUM if they differ.
static Way way_of_all(const Onnx__GraphProto *g, const char *w, int ndim, bool *read) {
    Way all = BY_SUM;
    *read = false;
    for (size_t i = 0; i < g->n_node; i++) {
        const Onnx__NodeProto *n = g->node[i];
        if (inside_reads(n, w)) return *read = true, BY_SUM;
        for (size_t k = 0; k < n->n_input; k++) {
            if (strcmp(n->input[k], w)) continue;
            Way way = way_of(n, k, ndim);
            if (way == BY_SUM || (*read && way != all)) return *read = true, BY_SUM;
            all = way;
            *read = true;
        }
    }
    for (size_t i = 0; i < g->n_output; i++)
        if (g->output[i]->name && !strcmp(g->output[i]->name, w)) return BY_SUM;
    return all;
}

static void rename_inputs(Onnx__NodeProto *n, const char *from, const char *to) {
    for (size_t k = 0; k < n->n_input; k++)
        if (!strcmp(n->input[k], from)) keep(n->input[k]), n->input[k] = (char *)(intptr_t)to;
    for (size_t k = 0; k < n->n_attribute; k++) {
        Onnx__AttributeProto *a = n->attribute[k];
        for (size_t j = 0; j < a->n_graphs + 1; j++) {
            Onnx__GraphProto *g = j < a->n_graphs ? a->graphs[j] : a->g;
            for (size_t i = 0; g && i < g->n_node; i++) rename_inputs(g->node[i], from, to);
        }
    }
}

// ---- the two matrices -----------------------------------------------------------------------------------

static double uniform(uint64_t *s) {
    uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

// Uniform in +-scale, by the name; in the field where the type's numbers go. Raw bytes would have to be in the file.
static Onnx__TensorProto *tensor(DType dt, int ndim, const int64_t *dim, const char *name, double scale) {
    Onnx__TensorProto *t = NEW(Onnx__TensorProto);
    onnx__tensor_proto__init(t);
    size_t n = 1;
    uint64_t seed = 1469598103934665603u;
    for (const char *c = name; *c; c++) seed = (seed ^ (unsigned char)*c) * 1099511628211u;
    for (int i = 0; i < ndim; i++) n = mul_size(n, (size_t)dim[i]);
    t->name = (char *)(intptr_t)name;
    t->has_data_type = 1;
    t->data_type = (int32_t)dt;
    t->n_dims = (size_t)ndim;
    t->dims = NEWN(int64_t, ndim + 1);
    if (ndim) memcpy(t->dims, dim, sizeof *dim * (size_t)ndim);
    if (dt == F32) t->n_float_data = n, t->float_data = NEWN(float, n + 1);
    else if (dt == F64) t->n_double_data = n, t->double_data = NEWN(double, n + 1);
    else if (dt != I64) t->n_int32_data = n, t->int32_data = NEWN(int32_t, n + 1);
    for (size_t i = 0; i < n && scale != 0; i++) {
        double x = ndim ? (2 * uniform(&seed) - 1) * scale : scale;
        uint16_t half;
        if (dt == F32) t->float_data[i] = (float)x;
        else if (dt == F64) t->double_data[i] = x;
        else scalar_store(dt, &half, (Scalar){.f = round_to(dt, x)}), t->int32_data[i] = half;
    }
    return t;
}

static void add_init(Importer *im, Onnx__GraphProto *g, Onnx__TensorProto *t, const Init *adapter) {
    Onnx__TensorProto **v = NEWN(Onnx__TensorProto *, g->n_initializer + 1);
    keep(g->initializer);
    memcpy(v, g->initializer, sizeof *v * g->n_initializer);
    v[g->n_initializer++] = t;
    g->initializer = v;
    if (!adapter) return;
    Init *own = NEW(Init);
    *own = *adapter;
    map_put(&im->adapters, intern(t->name), own);
}

static void add_matrices(Importer *im, Onnx__GraphProto *g, Adapter *a, Way way) {
    bool input_up = way == BY_MATMUL || way == BY_GEMM; // W's rows are what comes in: `up` is the random one
    int64_t up[MAX_RANK] = {a->rows, a->rank}, across[MAX_RANK] = {a->rank, a->cols};
    int ndim = way == BY_CONV ? a->ndim : 2;
    double fan = way == BY_GATHER ? (double)a->rank : input_up ? (double)a->rows : (double)a->cols;
    double bound = 1 / sqrt(fan > 1 ? fan : 1), alpha = a->o->alpha / (double)a->rank;
    for (int i = 2; i < ndim; i++) up[i] = 1, across[i] = a->dim[i];
    if (way == BY_CONV) across[1] = a->dim[1];
    Init init = {.kind = INIT_UNIFORM, .file_at = -1, .rank = a->rank, .merge = alpha};
    a->up = arena_printf("%s.lora_%s", a->w, input_up ? "A" : "B");
    a->across = arena_printf("%s.lora_%s", a->w, input_up ? "B" : "A");
    init.side = SIDE_UP, init.scale = input_up ? bound : 0;
    add_init(im, g, tensor(a->dt, ndim, up, a->up, init.scale), &init);
    init.side = SIDE_ACROSS, init.scale = input_up ? 0 : bound;
    add_init(im, g, tensor(a->dt, ndim, across, a->across, init.scale), &init);
    if (alpha == 1) return;
    a->scale = arena_printf("%s.lora_scale", a->w);
    add_init(im, g, tensor(a->dt, 0, NULL, a->scale, alpha), NULL);
}

// ---- nodes ------------------------------------------------------------------------------------------------

static const char *scaled(Out *o, const Adapter *a, const char *x) { return a->scale ? OP2(o, "Mul", x, a->scale) : x; }

// What the way through r channels gives, beside that of node n.
static const char *beside(Out *o, const Adapter *a, const Onnx__NodeProto *n, Way way) {
    const char *in[2] = {n->input[way == BY_GATHER], a->across}, *t;
    switch (way) {
    case BY_MATMUL:
    case BY_GEMM: return OP2(o, "MatMul", OP2(o, "MatMul", in[0], a->up), a->across);
    case BY_GEMM_T: {
        const At swapped[] = {{.name = "transB", .kind = 'i', .i = 1}, {0}};
        t = onnx_op(o, "Gemm", 2, in, swapped);
        return onnx_op(o, "Gemm", 2, (const char *const[]){t, a->up}, swapped);
    }
    case BY_CONV: {
        t = onnx_op(o, "Conv", 2, in, NULL);
        Onnx__NodeProto *conv = o->node[o->nnode - 1];
        conv->n_attribute = n->n_attribute;
        conv->attribute = n->attribute;
        return OP2(o, "Conv", t, a->up);
    }
    case BY_GATHER: {
        t = OP2(o, "Gather", a->up, in[0]);
        return OP2(o, "MatMul", t, a->across);
    }
    default: die("no way to adapt");
    }
}

// The readers of W with a second way each.
static void adapt_readers(Out *o, Onnx__GraphProto *g, const Adapter *a, Way way) {
    for (size_t i = 0; i < g->n_node; i++) {
        Onnx__NodeProto *n = g->node[i];
        PUSH(o->node, o->nnode, o->cap_node, n);
        if (!reads(n, a->w)) continue;
        const char *y = keep(n->output[0]), *base = arena_printf("%s.lora_base%d", y, *o->count);
        n->output[0] = (char *)(intptr_t)base;
        const char *more = scaled(o, a, beside(o, a, n, way));
        onnx_put(o, "Add", 2, (const char *const[]){base, more}, 1, &y, NULL);
    }
}

// W + scale up across, which all read instead.
static void adapt_weight(Out *o, Importer *im, Onnx__GraphProto *g, const Adapter *a) {
    const char *sum = arena_printf("%s.lora", a->w), *shape = arena_printf("%s.lora_shape", a->w);
    Onnx__TensorProto *t = tensor(I64, 0, NULL, shape, 0);
    t->n_dims = 1, t->dims[0] = a->ndim;
    t->n_int64_data = (size_t)a->ndim, t->int64_data = (int64_t *)(intptr_t)a->dim;
    add_init(im, g, t, NULL);
    for (size_t i = 0; i < g->n_node; i++) rename_inputs(g->node[i], a->w, sum);
    const char *product = OP2(o, "Reshape", OP2(o, "MatMul", a->up, a->across), shape);
    onnx_put(o, "Add", 2, (const char *const[]){a->w, scaled(o, a, product)}, 1, &sum, NULL);
    for (size_t i = 0; i < g->n_node; i++) PUSH(o->node, o->nnode, o->cap_node, g->node[i]);
}

static int64_t product(const int64_t *d, int n) {
    size_t p = 1;
    for (int i = 0; i < n; i++) p = mul_size(p, (size_t)d[i]);
    return (int64_t)p;
}

// Which dimensions are rows: the first, where readers say so; else those that make the adapters small.
static void split(Adapter *a, Way way) {
    for (int i = 1; i < a->ndim && (i == 1 || way == BY_SUM); i++) {
        int64_t rows = product(a->dim, i), cols = product(a->dim + i, a->ndim - i);
        if (i == 1 || rows + cols < a->rows + a->cols) a->rows = rows, a->cols = cols;
    }
}

// false: it is read by nobody, or is a vector rather.
static bool adapt(Importer *im, Onnx__GraphProto *g, const Lora *l, const Onnx__TensorProto *w, int *count) {
    bool read;
    Adapter a = {.o = l, .w = w->name, .dt = (DType)w->data_type, .rank = l->rank, .ndim = (int)w->n_dims, .dim = w->dims};
    Way way = way_of_all(g, w->name, a.ndim, &read);
    if (!read) return false;
    split(&a, way);
    int64_t least = a.rows < a.cols ? a.rows : a.cols;
    if (least < 2) return false;
    if (a.rank > least) {
        warning("--lora: '%s' has %lld rows and %lld columns: rank %lld is no more than %lld there", w->name, (long long)a.rows, (long long)a.cols,
                (long long)a.rank, (long long)least);
        a.rank = least;
    }
    Out o = {.count = count};
    add_matrices(im, g, &a, way);
    if (way == BY_SUM) adapt_weight(&o, im, g, &a);
    else adapt_readers(&o, g, &a, way);
    keep(g->node);
    g->node = o.node;
    g->n_node = (size_t)o.nnode;
    return true;
}

static bool is_matrix(const Onnx__TensorProto *w) {
    DType dt = (DType)w->data_type;
    return w->name && *w->name && w->n_dims >= 2 && w->n_dims <= MAX_RANK && (dt == F32 || dt == F64 || dt == F16 || dt == BF16);
}

void lora_adapt(Importer *im) {
    Onnx__GraphProto *g = im->model->graph;
    const size_t n = g->n_initializer;
    int count = 0;
    for (int i = 0; i < im->opt->nlora; i++) {
        const Lora *l = &im->opt->lora[i];
        regex_t r;
        char why[200];
        int e = regcomp(&r, l->regex, REG_EXTENDED | REG_NOSUB), found = 0;
        if (e) {
            regerror(e, &r, why, sizeof why);
            error("--lora: '%s': %s", l->regex, why);
            return;
        }
        if (opset_of(im, NULL, intern("")) < 7) fatal("--lora needs operator set 7 or newer");
        for (size_t k = 0; k < n; k++) {
            const Onnx__TensorProto *w = g->initializer[k];
            if (!is_matrix(w) || regexec(&r, w->name, 0, NULL, 0)) continue;
            if (map_get(&im->adapters, intern(arena_printf("%s.lora_A", w->name)))) continue; // an option before had it
            found += adapt(im, g, l, w, &count);
        }
        regfree(&r);
        if (!found) error("--lora: no weight matrix that is used matches '%s'", l->regex);
    }
}
