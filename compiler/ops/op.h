// SPDX-License-Identifier: Apache-2.0
// The vocabulary of operator authors. An operator is one function that reads its attributes and
// inputs, composes primitives, and sets o->out[]; and one row { name, since, function } in its
// family's table. The importer picks the row with the highest `since` not above the model's opset.
// Inputs and attributes were checked against schemas/ops.def before, and defaults filled in.
#ifndef CNNCC_OP_H
#define CNNCC_OP_H
#include "cnncc.h"

#include <stdlib.h> // before `select`, which sys/select.h declares too

typedef struct Attr Attr; // import/attr.c
typedef struct {
    const char *type, *domain, *name; // Conv, "", the node's name
    int64_t since, opset;             // version of the operator's schema; of the model's import
    int nin, nout;
    Val **in;        // NULL where an optional input is left out
    Val **out;       // to be set; only [0, nout) are asked for, unused ones may stay NULL
    const bool *want;// which outputs the model uses
    const Attr *attr; int nattr;
    Graph *g;        // where new nodes go
    void *importer;  // for operators with sub-graphs
    const Options *opt;
} Op;
// --batch: how many examples the inputs have.
static inline Ex op_batch(const Op *o) { return o->opt->any_batch ? e_sym(intern("batch"), 0, o->opt->batch) : e_int(o->opt->batch); }
static inline bool op_training(const Op *o) { return o->opt->entry == ENTRY_STEP; } // dropout drops, statistics are those of the batch
typedef void OpFn(Op *o);
typedef struct { const char *type; int since; OpFn *fn; } OpDef; // a table ends with { NULL }
typedef struct { const char *domain; const OpDef *def; } OpFamily;
extern const OpFamily op_families[]; // ops/ops.c; ends with { NULL }
OpFn *op_find(const char *domain, const char *type, int64_t since, int *row_since); // NULL: not supported

// Refuses this node with one diagnostic `node 17 'conv1' (Conv-11): message`; does not return.
_Noreturn void op_fail(Op *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

bool op_numpy_random(Op *o); // --rng=mt19937: random numbers are to be NumPy's, where a seed is given

// Attributes. The schema's default where the model gives none; op_fail when neither exists, except
// where an `or` value is passed.
bool attr_has(Op *o, const char *name);
int64_t attr_int(Op *o, const char *name);
int64_t attr_int_or(Op *o, const char *name, int64_t none);
double attr_float(Op *o, const char *name);
double attr_float_or(Op *o, const char *name, double none);
const char *attr_str(Op *o, const char *name);
const char *attr_str_or(Op *o, const char *name, const char *none);
int attr_ints(Op *o, const char *name, const int64_t **v);   // count, -1 when absent
int attr_floats(Op *o, const char *name, const float **v);
int attr_strs(Op *o, const char *name, const DataStr **v);
Val *attr_tensor(Op *o, const char *name);                   // NULL when absent
bool attr_type(Op *o, const char *name, Val *type);          // the type that an attribute says; false when absent
Graph *attr_graph(Op *o, const char *name, int nparam, Val *const *param_like, int *ncap, Val ***cap); // imports a sub-graph as a region: parameters like these, then its captures
Graph *attr_graph_try(Op *o, const char *name, int *ncap, Val ***cap, const char **why); // the same of one without parameters; NULL where it cannot run, with the reason
Val *named_value(Op *o, const char *name);                   // a value of the graph that an attribute names; NULL: there is none, or it is no tensor
void attr_graph_counts(Op *o, const char *name, int *nin, int *nout);
// Imports a sub-graph's nodes into g, which is o->g or a region being made in it, with these values as its
// inputs. What it reads from outside of a region becomes further parameters of g: their count is
// returned, the outer values in *cap (may be NULL when g is o->g).
int attr_inline(Op *o, const char *name, Graph *g, int nparam, Val *const *param, Val **out, Val ***cap);
// A region between an operator and its sub-graphs: o with its nodes going into g, and its sub-graphs read
// there. What these read from outside of g becomes further parameters of g: once they are read, op_captures
// gives the outer values.
Op op_within(const Op *o, Graph *g);
int op_captures(const Op *in, Val ***cap);

// Types and shapes.
static inline Ex dim(const Val *x, int i) { return x->shape[i < 0 ? i + x->rank : i]; }
bool dim_const(const Val *x, int i, int64_t *n);
int axis_of(Op *o, int64_t axis, int rank);          // -rank..rank-1 -> 0..rank-1, op_fail outside
Ex numel(const Val *x);
int64_t need_const(Op *o, Ex e, const char *what);   // op_fail when e is symbolic
int known_ints(Val *x, Ex *v, int max);              // elements of an integer tensor (rank 0 or 1) as expressions: count, or -1 when unknown
int need_ints(Op *o, int input, Ex *v, int max);     // the same of an input; loads of its elements where only the run knows them
int need_sizes(Op *o, int input, Ex *v, int max);    // the same for extents: negative ones are refused, by the run too
Ex known_number(Op *o, int input, const char *what); // an input that is one whole number, of any type; op_fail when unknown: index.c
int need_axes(Op *o, Val *x, int input, const char *attr, int *axes, int rank); // axes from an input or an attribute, normalized and sorted; -1 when neither is given

// Leaves.
Val *scalar(Op *o, DType dt, double v);              // rank 0
Val *scalar_int(Op *o, DType dt, int64_t v);
Val *like(Op *o, const Val *x, double v);            // rank 0, x's element type
Val *full(Op *o, DType dt, double v, int rank, const Ex *shape);
Val *ints(Op *o, int n, const Ex *v);                // i64 [n]
Val *iota(Op *o, DType dt, Ex n);
Val *index_along(Op *o, DType dt, int axis, int rank, const Ex *shape); // a tensor of that shape holding its index along axis

// Pointwise, with ONNX's (NumPy's) broadcasting.
Val *map1(Op *o, Fn fn, Val *a);
Val *map2(Op *o, Fn fn, Val *a, Val *b);
Val *map3(Op *o, Fn fn, Val *a, Val *b, Val *c);
#define add(o, a, b) map2(o, FN_add, a, b)
#define sub(o, a, b) map2(o, FN_sub, a, b)
#define mul(o, a, b) map2(o, FN_mul, a, b)
#define divide(o, a, b) map2(o, FN_div, a, b)
#define select(o, c, a, b) map3(o, FN_select, c, a, b)
Val *cast(Op *o, Val *x, DType dt);
Val *clamp(Op *o, Val *x, double lo, double hi);     // NaN stays
Val *greater(Op *o, Val *a, Val *b);                 // b < a
Val *second_operand(Op *o);                          // input 1 of a binary operator, placed as axis and broadcast of opset < 7 say: math.c
int broadcast_shape(Op *o, int n, Val *const *x, Ex *shape); // rank of the common shape; guards where unprovable
Val *expand_to(Op *o, Val *x, int rank, const Ex *shape);    // aligned at the right

// Reductions over axes (naxes < 0: all).
Val *reduce(Op *o, Red fn, Val *x, int naxes, const int *axes, bool keepdims);
Val *reduce_sum(Op *o, Val *x, int naxes, const int *axes, bool keepdims);
Val *reduce_max(Op *o, Val *x, int naxes, const int *axes, bool keepdims);
Val *reduce_mean(Op *o, Val *x, int naxes, const int *axes, bool keepdims);

// Views and movement.
Val *reshape(Op *o, Val *x, int rank, const Ex *shape);
Val *squeeze(Op *o, Val *x, int axis);
Val *unsqueeze(Op *o, Val *x, int axis);             // a new axis of extent 1 before `axis`
Val *flatten(Op *o, Val *x, int axis);               // [axes before, axes from]
Val *merge_axes(Op *o, Val *x, int axis, int n);     // n axes from `axis` on into one
Val *split_axis(Op *o, Val *x, int axis, Ex outer, Ex inner);
Val *permute(Op *o, Val *x, const int *perm);
Val *move_axis(Op *o, Val *x, int from, int to);
Val *swap_axes(Op *o, Val *x, int a, int b);
Val *slice(Op *o, Val *x, int axis, Ex start, Ex size, Ex step);
Val *slice1(Op *o, Val *x, int axis, int64_t i);     // one index, axis kept
Val *pad(Op *o, Val *x, int axis, Ex lo, Ex hi, Val *value);
Val *concat(Op *o, int n, Val *const *x, int axis);
Val *window(Op *o, Val *x, int axis, Ex k, Ex stride, Ex dil);
Val *unwindow(Op *o, Val *x, int axis, Ex n, Ex stride, Ex dil);
Val *take(Op *o, Val *x, Val *index, int axis);      // ONNX Gather: index of any shape takes the axis's place; negatives are wrapped
Val *take_along(Op *o, Val *x, Val *index, int axis);// ONNX GatherElements; negatives are wrapped
Val *wrap_index(Op *o, Val *index, Ex n);            // negatives + n
Val *true_indices(Op *o, Val *mask);                 // of [n]: where it is true, in order; the extent is a symbol that only the run knows: compact.c
Val *scatter(Op *o, Red fn, Val *x, Val *index, Val *upd, int axis);
Val *scan(Op *o, Red fn, Val *x, int axis, bool exclusive, bool reverse);
void sort(Op *o, Val *x, int axis, bool descending, Val **values, Val **index);
// sum over k of a[b.., m, k] * b[b.., k, n], batch axes broadcast (ONNX MatMul for ranks >= 2), summed in the type `acc`
Val *matmul(Op *o, Val *a, Val *b);
Val *softmax_of(Op *o, Val *x, int naxes, const int *axes);
Val *log_softmax_of(Op *o, Val *x, int naxes, const int *axes);
#endif
