// SPDX-License-Identifier: Apache-2.0
// The importer, inside: from the messages of protobuf-c to the tensor DAG. model.c maps the file and
// owns all that lives as long as the model; graph.c walks graphs; node.c checks one node against its
// schema and calls its operator; attr.c, tensor.c and function.c are what the names say.
#ifndef CNNCC_IMPORT_H
#define CNNCC_IMPORT_H
#include "cnncc.h"
#include "import/wire.h"
#include "ops/op.h"

#include <setjmp.h>

enum {
    IMPORT_DEPTH = 100,     // sub-graphs and functions inside each other
    IMPORT_NODES = 4000000, // nodes after functions are inlined
    IMPORT_ERRORS = 50      // diagnostics before the import ends
};

// ---- map.c: from an address (an interned string, a value) to another ---------------------------
typedef struct {
    const void **key;
    void **value;
    int n, cap;
} PtrMap;
void *map_get(const PtrMap *m, const void *key); // NULL if it has none
void map_put(PtrMap *m, const void *key, void *value);

typedef struct {
    const char *domain; // interned; "" is ai.onnx
    int64_t version;
} Opset;

// What one model needs while it is imported.
typedef struct {
    const Options *opt;
    const uint8_t *file;
    size_t size;
    Onnx__ModelProto *model;
    ExternalFiles *external; // opened by the first tensor that needs it
    Opset *opset;
    int nopset;
    PtrMap functions; // key of function_key -> FunctionProto
    PtrMap used;      // names that some node or output reads
    PtrMap unsupported;
    const char **unsupported_key;
    int nunsupported, cap_unsupported;
    bool *dim_used, *shape_used, *value_used; // --dim, --shape, --value
    PtrMap adapters;  // names of --lora's matrices -> their Init
    PtrMap places;    // names of parameters -> Place of their numbers in typed fields
    int depth;
    int64_t nodes;
} Importer;

// A call of a function that is being inlined: attributes that its nodes may refer to, and its opsets.
typedef struct {
    const Attr *attr;
    int nattr;
    const Opset *opset;
    int nopset;
} Frame;

// The names of one graph or function body. A sub-graph's scope has an `up` and a graph of its own: what
// it reads from there becomes a parameter of the region.
typedef struct Scope Scope;
struct Scope {
    Scope *up;
    Graph *g;
    const Frame *frame;
    const char *where; // in front of diagnostics; "" in the main graph
    PtrMap names;      // interned name -> Val
    PtrMap param;      // outer value -> the parameter it is here
    Val **cap;         // outer values, in the order of their parameters
    int ncap, cap_cap;
    Onnx__NodeProto *const *node; // for diagnostics
    size_t nnode;
};

// Stand-ins for values: of a node that failed (nodes that read it fail without a diagnostic of their
// own), and of a function's input that its call leaves out.
extern Val poison, absent;

// The node being imported; Op.importer points to it.
typedef struct {
    Importer *im;
    Scope *scope;
    const Onnx__NodeProto *node;
    const OpSchema *schema; // NULL: a domain that has none
    int index;
    jmp_buf failed;
} NodeContext;
_Noreturn void op_fail_quietly(Op *o); // a diagnostic stands already

// ---- model.c -------------------------------------------------------------------------------------
bool map_file(const char *path, const uint8_t **data, size_t *size); // false after a diagnostic; stays mapped

// ---- attr.c --------------------------------------------------------------------------------------
struct Attr {
    const char *name; // interned
    SchemaAttrType type;
    bool is_default; // of the schema
    int64_t i;
    double f;
    DataStr s;
    int n; // of the lists
    const int64_t *ints;
    const float *floats;
    const DataStr *strs;
    const Onnx__TensorProto *tensor;
    const Onnx__SparseTensorProto *sparse;
    const Onnx__GraphProto *graph;
    const Onnx__TypeProto *tp;
    Scope *scope; // where graph's outer names are
};
const Attr *attr_find(const Attr *a, int n, const char *interned_name);
void attr_read(Op *o, NodeContext *c); // the node's attributes, checked, then defaults: o->attr
Attr attr_of_proto(Op *o, const Onnx__AttributeProto *p, Scope *scope);

// ---- tensor.c ------------------------------------------------------------------------------------
// NULL, and a message in err, if the tensor is malformed. The data alias the file where they can.
typedef struct {
    Data *data;
    int64_t file_at; // where its bytes are in the model's file; -1: they are not there as they are
    int rank;
    Ex shape[MAX_RANK];
} Constant;
bool tensor_read(Importer *im, const Onnx__TensorProto *t, Constant *c, char *err, size_t errlen);
bool sparse_read(Importer *im, const Onnx__SparseTensorProto *t, Constant *c, char *err, size_t errlen);
Val *tensor_val(Graph *g, const Constant *c);

// ---- graph.c -------------------------------------------------------------------------------------
void import_graph(Importer *im, Graph *g, const Onnx__GraphProto *p); // the model's own
void import_nodes(Importer *im, Scope *s, size_t n, Onnx__NodeProto *const *node);
Val *scope_find(Scope *s, const char *name); // NULL: not defined so far; or &poison, &absent
void scope_define(Importer *im, Scope *s, const char *name, Val *v, const char *what);
int64_t opset_of(const Importer *im, const Frame *f, const char *domain); // 0: not imported
void used_names(Importer *im);                                            // fills im->used

// ---- node.c --------------------------------------------------------------------------------------
void import_node(Importer *im, Scope *s, const Onnx__NodeProto *p, int index);
const char *node_text(const Scope *s, const Onnx__NodeProto *p, int index, int64_t since);
void report_unsupported(Importer *im);

// ---- function.c ----------------------------------------------------------------------------------
void functions_read(Importer *im);
const Onnx__FunctionProto *function_find(const Importer *im, const Onnx__NodeProto *p);
void function_inline(Op *o, const Onnx__FunctionProto *f);
Opset *opsets_read(size_t n, Onnx__OperatorSetIdProto *const *p, int *count);
const char *domain_of(const char *domain); // interned; "ai.onnx" and NULL are ""

// ---- type.c: declared types of inputs -------------------------------------------------------------
Val *import_input(Importer *im, Graph *g, const Onnx__ValueInfoProto *p);
const char *val_type(const Val *v); // as ONNX spells it: tensor(float), seq(tensor(int64))
// import/init.c: how a parameter of that name and shape starts at random.
Init import_init(const Onnx__GraphProto *g, const char *name, int rank, const int64_t *dim);
// In a model that has no floating point initializers, as PaddlePaddle writes it, its Constant nodes are its parameters.
void constants_as_initializers(Onnx__GraphProto *g);
const void *keep(const void *p); // what a message no longer points to stays with it: nothing of it is freed
// import/place.c: bytes of the model's file.
typedef struct { int64_t at; size_t size; } Place;
void places_find(PtrMap *place, const uint8_t *file, size_t size);
// import/training.c: of the model's own training, the graph of a "step" or of its start, "init"; NULL after a diagnostic.
const Onnx__GraphProto *training_graph(Onnx__ModelProto *m, const char *what);
// import/lora.c: adapters beside the weights that --lora names.
void lora_adapt(Importer *im);
#endif
