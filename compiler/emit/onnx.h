// SPDX-License-Identifier: Apache-2.0
// Writing a graph as an ONNX model: messages being built, and the names of what is in them.
#ifndef CNNCC_EMIT_ONNX_H
#define CNNCC_EMIT_ONNX_H
#include "cnncc.h"
#include "onnx.pb-c.h"

enum { ONNX_OPSET = 21, ONNX_IR = 10 };

typedef struct { Ex e; const char *name; } ExName;

// A graph being written. Names are unique in the model; those of outer graphs are in sight.
typedef struct Out Out;
struct Out {
    const Graph *g;
    Out *up;
    Onnx__NodeProto **node; int nnode, cap_node;
    Onnx__TensorProto **init; int ninit, cap_init;
    const char **name;          // by value id
    ExName *ex; int nex, cap_ex; // expressions computed so far
    int *count;                 // of names made, shared by all
    bool *failed;
};

// onnx_proto.c. An attribute list ends with a NULL name.
typedef struct { const char *name; char kind; int64_t i; double f; const int64_t *ints; int nints; const char *s; Onnx__TensorProto *t; Onnx__GraphProto *g; } At; // kind: i f I s t g
const char *onnx_fresh(Out *o);
void onnx_put(Out *o, const char *type, int nin, const char *const *in, int nout, const char *const *out, const At *at);
const char *onnx_op(Out *o, const char *type, int nin, const char *const *in, const At *at); // one result, of a new name
const char *onnx_data(Out *o, DType dt, int rank, const int64_t *dims, const Data *d);
const char *onnx_number(Out *o, DType dt, Scalar v);
const char *onnx_ints(Out *o, int rank, int n, const int64_t *v);                       // i64; rank 0 or 1
Onnx__TensorProto *onnx_tensor(DType dt, int rank, const int64_t *dims, const Data *d, const char *name);
Onnx__ValueInfoProto *onnx_value_info(const Val *v, const char *name);
#define OP1(o, type, a) onnx_op(o, type, 1, (const char *const[]){ a }, NULL)
#define OP2(o, type, a, b) onnx_op(o, type, 2, (const char *const[]){ a, b }, NULL)
#define OP3(o, type, a, b, c) onnx_op(o, type, 3, (const char *const[]){ a, b, c }, NULL)
const char *onnx_cast(Out *o, const char *x, DType from, DType to);

// onnx_ex.c
const char *onnx_scalar(Out *o, Ex e);                          // i64, rank 0
const char *onnx_list(Out *o, int n, const Ex *e);              // i64 [n]
void onnx_symbols(Out *o, const Val *v, const char *name);    // the extents that v's shape defines

// onnx_map.c
const char *onnx_map(Out *o, const Node *n, const char *const *in);
#endif
