// SPDX-License-Identifier: Apache-2.0
// cnncc: the map of the compiler. Every type and every prototype that crosses a file, grouped
// by file, in the order in which a model flows through them:
//
//   model.onnx --import--> tensor DAG --opt, train--> tensor DAG --lower--> loop tree --tile, plan--> loop tree --emit--> model.c model.h
//
// Short names, one meaning each: Ex an integer expression, Val a tensor value, Node the primitive
// that makes it, dt an element type, idx an array of index expressions, g a graph.
#ifndef CNNCC_H
#define CNNCC_H
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { MAX_RANK = 32, RANK_NO_ITEMS = -2 };

// ---- base/arena.c: memory of one compilation, freed as a whole ------------------------------
// Sizes are bytes; the memory is zeroed and 16-byte aligned. Running out of memory ends the
// program with one diagnostic (exit 1). Nothing is freed inside passes.
void *arena_alloc(size_t size);
void arena_reset(void);
char *arena_strdup(const char *s);
char *arena_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#define NEW(T) ((T *)arena_alloc(sizeof(T)))
#define NEWN(T, n) ((T *)arena_alloc(sizeof(T) * (size_t)(n)))
size_t mul_size(size_t a, size_t b); // a*b; ends with a diagnostic on overflow

// ---- base/mapped.c: files mapped for reading ------------------------------------------------
void mapped_add(const void *p, size_t n);
void mapped_remove(const void *p);
void mapped_release(const void *p, size_t n); // these bytes, if of such a file, need not stay in memory

// ---- base/vec.c: growable arrays: `T *v; int nv, capv` --------------------------------------
void *vec_grow(void *p, int n, int *cap, size_t size);
#define PUSH(v, n, cap, x) ((v) = vec_grow((v), (n), &(cap), sizeof *(v)), (v)[(n)++] = (x))

// ---- base/intern.c: strings with one address each --------------------------------------------
const char *intern(const char *s);
const char *intern_n(const char *s, size_t n);

// ---- base/diag.c: diagnostics ----------------------------------------------------------------
// error() is the user's fault (prints `FILE: message`, counts); fatal() is error() then exit 1;
// die() is ours: prints the pass, exit 70. Between diag_hold and diag_release, as around a trial, errors are
// not printed and do not count: the first is kept in `said`, and fatal() comes back to `back`.
typedef struct DiagHold { jmp_buf back; const char *said; int errors; struct DiagHold *up; } DiagHold;
void diag_hold(DiagHold *h);
bool diag_release(DiagHold *h); // whether there was no error
extern const char *diag_file; // the model's path, printed in front
extern const char *diag_pass; // the running pass, printed by die()
extern int diag_errors;
void error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

// ---- base/text.c: text being built, in the arena ------------------------------------------------
typedef struct { char *s; size_t n, cap; } Text;
void put(Text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void put_n(Text *t, const char *s, size_t n);
void put_c_string(Text *t, const char *s, size_t n); // as a C string literal
const char *in_comment(const char *s);             // what of it may stand in a C comment, in one line
void put_float(Text *t, double v, bool is_float); // exact C literal; (-1.0f/0.0f), (0.0f/0.0f)
bool write_file(const char *path, const char *s, size_t n); // complete or not there

// ---- tensor/type.c: element types, numbered as ONNX's TensorProto.DataType ----------------------
typedef enum {
    DT_NONE, F32, U8, I8, U16, I16, I32, I64, STR, BOOL, F16, F64, U32, U64, C64, C128, BF16,
    F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, U4, I4, F4E2M1, F8E8M0, U2, I2, F6E2M3, F6E3M2, DT_COUNT
} DType;
bool dt_is_float(DType dt);  // real floating point of any width
bool dt_is_int(DType dt);    // integer of any width, not bool
bool dt_is_signed(DType dt);
bool dt_is_moved(DType dt);  // strings and complex numbers: nothing is computed with them, a Scalar is their address
int dt_bits(DType dt);       // bits an element has in ONNX's storage
size_t dt_size(DType dt);    // bytes an element takes in a Data and in generated buffers: sub-byte types take one byte each
const char *dt_name(DType dt);        // f32, i64, …: dumps
const char *dt_onnx_name(DType dt);   // float, int64, …: diagnostics
DType dt_from_name(const char *name); // of a dump; DT_NONE if unknown

// ---- tensor/expr.c: integer expressions -----------------------------------------------------------
// One algebra for dimensions, loop indices and addresses: polynomials with int64 coefficients over
// atoms, in canonical form and interned, so that equal expressions have equal addresses. Atoms are
// variables (dimension symbols and loop indices), floordiv, mod, min, max, and loads of index
// tensors. Arithmetic that leaves int64 ends with a diagnostic.
typedef struct Expr Expr;
typedef const Expr *Ex;
typedef struct Val Val;
typedef enum { X_SUM, X_MUL, X_VAR, X_DIV, X_MOD, X_MIN, X_MAX, X_LOAD } ExprKind;
typedef struct { int64_t k; Ex m; } Term; // k * m, m an atom or an X_MUL of atoms
struct Expr {
    ExprKind kind;
    int id;          // creation order, the order of terms
    int n;           // terms of a sum, factors of a product, indices of a load
    int64_t c;       // the constant of a sum; X_LOAD: 1 for an extent, see e_size
    const Term *t;   // X_SUM
    const Ex *a;     // X_MUL factors; X_DIV.. two operands; X_LOAD indices
    const char *name;// X_VAR
    Ex extent;       // X_VAR that is a loop index: 0 <= var < extent; else NULL
    Val *val;        // X_LOAD: element val[a...] of an integer tensor; X_VAR: the value that defines a data-dependent size
    int64_t lo, hi;  // interval, INT64_MIN/MAX when unbounded
    unsigned hash;
};
Ex e_int(int64_t c);
Ex e_sym(const char *name, int64_t lo, int64_t hi); // the dimension symbol of that name (one per name)
Ex e_index(const char *name, Ex extent);            // a fresh loop index in [0, extent)
Ex e_load(Val *v, int n, const Ex *idx);
Ex e_size(Val *v, int n, const Ex *idx);            // the same as an extent: outside [0, INT32_MAX] the run ends with ESHAPE
Ex e_add(Ex a, Ex b);
Ex e_sub(Ex a, Ex b);
Ex e_mul(Ex a, Ex b);
Ex e_scale(Ex a, int64_t k);
Ex e_div(Ex a, Ex b); // floor
Ex e_mod(Ex a, Ex b); // sign of b
Ex e_min(Ex a, Ex b);
Ex e_max(Ex a, Ex b);
Ex e_ceil_div(Ex a, Ex b);
bool e_is_const(Ex e, int64_t *c);
bool e_is(Ex e, int64_t c);
bool e_ge0(Ex e);            // provably e >= 0 (false: unknown)
bool e_lt(Ex a, Ex b);       // provably a < b
bool e_le(Ex a, Ex b);
int64_t e_coef(Ex e, Ex var, Ex *rest); // e = coef*var + rest with a constant coef and rest free of var; INT64_MIN if not affine in var
bool e_uses(Ex e, Ex var);
Ex e_subst(Ex e, Ex var, Ex by);
Ex e_subst_all(Ex e, int n, const Ex *var, const Ex *by);
typedef int64_t EvalVar(Ex var, void *ctx); // the value of a variable or load
int64_t e_eval(Ex e, EvalVar *value, void *ctx);
void e_print(Text *t, Ex e);
const char *e_str(Ex e);
Ex e_product(int n, const Ex *e);
Ex e_bound(Ex e); // an expression without loads that is never less; NULL: none

// ---- tensor/scalar.def, scalar.c: scalar functions, one row each -------------------------------------
typedef enum {
#define SCALAR(name, arity, result, types, c) FN_##name,
#include "tensor/scalar.def"
#undef SCALAR
    FN_COUNT
} Fn;
typedef enum { R_SAME, R_BOOL, R_CAST, R_SELECT } FnResult; // result's type: the operand's, bool, the node's own, operand 1's
typedef struct { const char *name; int arity; FnResult result; const char *types, *c; } FnInfo;
extern const FnInfo fn_info[];
// One application in the evaluator: floats in double and rounded to dt, integers wrapped to dt.
typedef union { double f; int64_t i; } Scalar; // unsigned 64-bit values as their bits in i
Scalar fn_eval(Fn fn, DType dt, DType from, const Scalar *x); // dt: result type; from: operands' type
double round_to(DType dt, double v);    // the nearest value of a float type
int64_t wrap_to(DType dt, int64_t v);   // the low bits, sign or zero extended
int fn_find(const char *name);          // -1 if unknown

// ---- tensor/data.c: constant tensors -------------------------------------------------------------------
// Elements in host order, row-major, dt_size(dt) bytes each (strings: DataStr). A splat has one stored
// element for all n. Bytes may alias a mapped file.
typedef struct { const char *p; size_t n; } DataStr;
typedef struct { DType dt; bool splat; size_t n; const void *p; uint64_t hash; } Data;
Data *data_new(DType dt, size_t n);               // zeroed, writable through (void *)p
Data *data_alias(DType dt, size_t n, const void *p, bool splat);
Scalar data_get(const Data *d, size_t i);
void data_set(Data *d, size_t i, Scalar v);       // rounds and wraps to dt
Scalar scalar_load(DType dt, const void *p);
void scalar_store(DType dt, void *p, Scalar v);

// ---- tensor/build.c: the tensor DAG ----------------------------------------------------------------------
typedef enum {
#define PRIM(name, nin, doc) P_##name,
#include "tensor/prim.def"
#undef PRIM
    P_COUNT
} Prim;
extern const char *const prim_name[];
typedef enum { RED_ADD, RED_MUL, RED_MAX, RED_MIN, RED_AND, RED_OR, RED_ARGMAX, RED_ARGMIN, RED_SET } Red; // RED_SET: scatter only
extern const char *const red_name[];
typedef enum { K_TENSOR, K_SEQ, K_OPT, K_MAP } Kind;
typedef struct Node Node;
typedef struct Graph Graph;
typedef struct Region Region;
typedef struct CallDef CallDef;

struct Val {
    Node *node;
    int res;         // which result of the node
    int id;          // index into per-value tables of its graph
    Kind kind;
    DType dt;        // element type; of a sequence or optional, its items'
    DType key;       // K_MAP or sequences of maps: key type
    Kind item;       // K_SEQ, K_OPT: what the items are
    int rank;        // of other kinds than tensors: of their items; -1: unknown, or they differ; RANK_NO_ITEMS: there are none so far
    const Ex *shape; // an extent of -1: differs from item to item
    const Ex *elems; // of a small integer tensor: its elements as expressions, where known; else NULL
    const char *name;// a name of the model, where one stands for this value
    bool loose;      // while importing: only the run knows how many of the leading dimensions of 1 the model's value has
};
// A node. The meaning of axis, flag and ex is given for each primitive in prim.def.
struct Node {
    Prim op;
    int id;          // topological
    int fn;          // Fn of a map, Red of reduce, scan, scatter
    int axis, flag;
    int nin, nout, nex;
    Val **in;
    Val *out;
    const Ex *ex;
    Data *data;      // const
    Region *region;  // if: two; loop: one
    const CallDef *call;
    const void *aux; // call: its arguments
    size_t aux_size;
    const char *name;// the model's nodes it came from, for comments and diagnostics
    int again;       // the graph's, when it was made
    unsigned hash;
    Graph *g;
};
// The body of an if or loop: closed, with parameters and results of its own.
struct Region { Graph *g; };
typedef enum { G_EQ, G_BROADCAST, G_GE, G_DIV, G_MUST } GuardKind; // a==b; a==b or b==1; a>=b; b divides a; a==b, though nothing reads it
typedef struct { GuardKind kind; Ex a, b; const char *what; } Guard;
struct Graph {
    Node **node; int nnode, cap_node;
    int nval;
    Val **in; int nin, cap_in;
    Val **out; int nout, cap_out;
    const char **out_name;
    Guard *guard; int nguard, cap_guard;
    Graph *parent;
    const char *name;
    const char **meta; int nmeta; // metadata: key, value, key, value…
    void *table;                  // hash-consing
    void *known;                  // val_const's results
    const char *origin;           // what new nodes are named after: the ONNX node being imported
    Val **update; int nupdate, cap_update; // pairs: a statistic (an initializer), and what training makes of it
    int nrandom;                  // random nodes made so far, in regions too
    int again;                    // of nodes that are made now: apart from equal ones of another number (opt/recompute.c)
    int first_ex;                 // expressions with this id or a higher one were made after the graph
};
Graph *graph_new(Graph *parent);

// Constructors: each infers type and shape, validates (die() on a compiler fault), folds what is
// known, and returns an existing node where an equal one stands. Shapes are exact: broadcasting is
// done by the callers in ops/vocab.c. Axes are non-negative.
Val *b_input(Graph *g, const char *name, DType dt, int rank, const Ex *shape);
Val *b_param(Graph *g, Val *like); // a region's parameter of that type
Val *b_const(Graph *g, Data *d, int rank, const Ex *shape);
Val *b_initializer(Graph *g, const char *name, Data *d, int rank, const Ex *shape, int flag); // a const that is merged with no other; flag 1: may be trained, 2: statistics, 3: an adapter
Val *b_dims(Graph *g, DType dt, int rank, const Ex *shape, const Ex *elems); // integer tensor of expressions
Val *b_iota(Graph *g, DType dt, Ex n);                         // [n]: 0, 1, …
Val *b_random(Graph *g, int rank, const Ex *shape, uint64_t seed, bool has_seed); // u32 bits, never merged
Val *b_map(Graph *g, Fn fn, DType cast, int n, Val *const *x); // equal shapes; cast: result type of FN_cast, FN_bitcast
Val *b_reduce(Graph *g, Red fn, Val *x, int naxes, const int *axes, bool last); // axes removed; arg…: one axis, i64, last index on ties if `last`
Val *b_reshape(Graph *g, Val *x, int rank, const Ex *shape);   // sizes proved equal, or guarded
Val *b_permute(Graph *g, Val *x, const int *perm);             // out axis i is in axis perm[i]
Val *b_expand(Graph *g, Val *x, const Ex *shape);              // same rank; an axis is equal or 1 (a possible 1 selects its stride at run time)
Val *b_slice(Graph *g, Val *x, int axis, Ex start, Ex size, Ex step); // out[i] = x[start + i*step]; step any sign
Val *b_pad(Graph *g, Val *x, int axis, Ex lo, Ex hi, Val *value);     // lo, hi >= 0; value: rank 0
Val *b_concat(Graph *g, int n, Val *const *x, int axis);
Val *b_window(Graph *g, Val *x, int axis, Ex k, Ex stride, Ex dil);   // axis n -> (o, k): out[o,j] = x[o*stride + j*dil], o = (n-(k-1)*dil-1)/stride + 1
Val *b_unwindow(Graph *g, Val *x, int axis, Ex n, Ex stride, Ex dil); // axes (o, k) -> n: the adjoint of window, a sum
Val *b_gather(Graph *g, Val *x, Val *index, int axis);         // out[.., i, ..] = x[.., index[.., i, ..], ..]: index has x's rank, equal shape off the axis
Val *b_scatter(Graph *g, Red fn, Val *x, Val *index, Val *upd, int axis); // a copy of x with x[.., index, ..] fn= upd
Val *b_scan(Graph *g, Red fn, Val *x, int axis, bool exclusive, bool reverse);
void b_sort(Graph *g, Val *x, int axis, bool descending, Val **values, Val **index); // stable: ties by index
Val *b_copy(Graph *g, Val *x);
Node *b_if(Graph *g, Val *cond, Graph *then_g, Graph *else_g, int ncap, Val *const *cap); // regions' parameters: the captures
Graph *b_loop_body(Graph *g); // a region of g with the parameters that each loop's has: the number of the iteration, a condition
Node *b_loop(Graph *g, Val *trip, Val *cond, int ncarry, Val *const *carry, int ncap, Val *const *cap, Graph *body); // see prim.def
Val *loop_save_carried(Node *n, int i); // one more result: carried value i as each iteration begins, with a leading axis of the trips done
Node *b_call(Graph *g, const CallDef *def, int n, Val *const *in, const void *aux, size_t aux_size, int nout, const Val *out_types);
void graph_output(Graph *g, Val *v, const char *name);
Ex extent_new(void);                    // a symbol for an extent that only the run knows
bool extent_inside(const Graph *g, Ex e);  // whether e needs symbols or elements of the region g
void graph_guard(Graph *g, GuardKind kind, Ex a, Ex b, const char *what); // dropped when proved; fatal when disproved
Ex val_numel(const Val *v);
bool val_same_shape(const Val *a, const Val *b);
void val_index_in(const Node *n, int operand, const Ex *idx, Ex *in_idx); // index pushing through a view: where element idx of out comes from (not concat, pad's guard is the caller's)
int reshape_index(const Val *from, const Ex *from_idx, const Val *to, Ex *to_idx); // the same element in another shape of equal size
const Data *val_const(Val *v);  // its value if it is constant (evaluated once, cached), else NULL

// Runtime helpers that are primitives of their own: a closed list in tensor/call.def.
struct CallDef { const char *name; const char *why; };
#define CALL(name, why) extern const CallDef call_##name;
#include "tensor/call.def"
#undef CALL

// ---- tensor/list.c: types of sequences and optionals -------------------------------------------------------
Val list_type(Kind kind, Kind item, DType dt, int rank, const Ex *shape); // of items of that type; extents that are no numbers differ
Val list_join(const Val *a, const Val *b);                                // of what is one or the other; require: equal kinds and element types
bool list_same_type(const Val *a, const Val *b);

// ---- tensor/eval.c: the interpreter ------------------------------------------------------------------------
// Runs a graph on inputs; symbols take the values that the inputs' shapes give. Shares no lowering and no
// float32 mathematics with generated code. Values of other kinds use Seq.
typedef struct Tensor { DType dt; int rank; int64_t shape[MAX_RANK]; Data *data; Kind kind; int nitem; struct Tensor **item; } Tensor;
int eval_graph(Graph *g, int nin, Tensor *const *in, int nout, Tensor **out); // a cnn_status
int64_t tensor_numel(const Tensor *t);

// ---- tensor/print.c, parse.c, verify.c ----------------------------------------------------------------------
void graph_print(Text *t, const Graph *g); // one node a line; graph_parse reads it back
Graph *graph_parse(const char *text);
void graph_verify(const Graph *g);         // die() on a broken invariant

// ---- import/schema.c: schemas/ops.def -----------------------------------------------------------------------
#include "import/schema.h"

// ---- import/: the wire scan, protobuf-c, attributes, initializers, functions --------------------------------
typedef struct Options Options;
Graph *import_model(const char *path, const Options *opt); // NULL after diagnostics
extern const char *model_domain_opset; // for the summary on top of model.c
extern uint64_t model_file_size, model_file_hash; // FNV-1a of its bytes; of --train

// ---- ops/: operators by composition; ops/op.h is the vocabulary of operator authors --------------------------

// ---- import/init.c, train/: what is trained -------------------------------------------------------------------
// How a parameter starts at random: uniform in +-scale, normal with deviation scale, or the constant.
typedef enum { INIT_CONSTANT, INIT_UNIFORM, INIT_NORMAL } InitKind;
typedef enum { SIDE_NONE, SIDE_UP, SIDE_ACROSS } LoraSide;
// file_at: where the elements are in the model's file, as raw bytes; -1: elsewhere. adapted: a weight with adapters
// (import/lora.c). Of an adapter: which of the two it is, their rank, and the factor of their product.
typedef struct { InitKind kind; double scale; int64_t file_at; DType file_type; bool adapted; LoraSide side; int64_t rank; double merge; } Init;
typedef enum { PARAM_TRAINED, PARAM_STATISTIC, PARAM_FROZEN } ParamKind;
typedef struct { const char *name; ParamKind kind; const Data *data; int rank; const Ex *shape; int64_t offset, n; Init init; bool decays; } Param;
// The parameters of a model in the order of their one buffer; sizes in elements.
typedef struct { Param *v; int n, cap; int64_t trained, total; DType dt; } Params;
const Param *param_find(const Params *p, const char *name); // NULL: there is none
const Param *param_adapter(const Params *p, const Param *w, LoraSide side); // of the adapted weight w
bool param_changes(const Param *q);                           // whether the model's weight of that name is another after training
void train_program(Graph *g, const Options *opt, Params *p); // train/train.c: one entry of --train; the first, ENTRY_STEP, decides p

// ---- opt/, train/, loop/: passes over the graph, driver.c's table ---------------------------------------------
void pass_dtype(Graph *g, const Options *opt);    // opt/dtype.c: --dtype: every float type becomes it
void pass_train(Graph *g, const Options *opt);    // train/train.c: --grad: parameters become inputs, the loss and gradients outputs
Val **grad(Graph *g, Val *loss, int n, Val *const *wrt); // train/grad.c: d sum(loss)/d wrt, of wrt's types and shapes; NULL after diagnostics
void pass_agree(Graph *g, const Options *opt);    // opt/agree.c: extents that guards make equal are one
// A pass may leave nodes that nothing needs; the next one begins without them.
void pass_quantized(Graph *g, const Options *opt); // opt/quantized.c: sums of dequantized numbers as sums of integers
void pass_fold(Graph *g, const Options *opt);     // opt/fold.c: constant subgraphs become const within a byte budget
void pass_simplify(Graph *g, const Options *opt); // opt/simplify.c
void pass_hoist(Graph *g, const Options *opt);    // opt/hoist.c: what loops compute anew each time, without need, before them
extern const int recompute_levels;
Graph *recompute(Graph *g, const Options *opt, int level); // opt/recompute.c: --recompute, --amp: a training step that keeps less of its forward pass, of that level
void graph_splice(Graph *g, const Graph *region, Val *const *args, Val **out); // a region's nodes in g, on args instead of its parameters
Graph *graph_rebuild(Graph *g);                   // opt/rebuild.c: reachable nodes only, renumbered
typedef void LoadVisit(Ex load, void *ctx);
void ex_each_load(Ex e, LoadVisit *f, void *ctx);
void node_each_load(const Node *n, LoadVisit *f, void *ctx); // of its expressions and those of its regions
void node_each_symbol(const Node *n, LoadVisit *f, void *ctx);
typedef struct { Ex var; Val *by; } Defined;
Defined *graph_defined(const Graph *g, int *count); // the extents that an if or loop of g defines
bool symbol_before(const Graph *g, const Node *n, Ex var); // whether the symbol stands before node n of g: an input's extent, an earlier node's, or one outside of the region

// ---- loop/: from tensor DAG to loop tree: loop/loop.h -----------------------------------------------------------
typedef struct Program Program;
Program *lower(Graph *g, const Options *opt);

// ---- emit/ -------------------------------------------------------------------------------------------------------
bool emit_model(const Program *p, const Options *opt);  // model.c, model.h, model.bin
typedef struct { const Program *p[5]; const Params *params; } TrainPrograms; // step at the full batch, step, eval, predict at any; NULL: as the first
bool emit_train(const TrainPrograms *t, const Options *opt);
int64_t optimizer_state(const Options *opt);            // numbers of state that the optimizer has for each trained one
bool emit_onnx(const Graph *g, const char *path);
bool save_tensor(const char *path, const char *name, const Tensor *t); // emit/onnx_proto.c: a TensorProto

// ---- driver.c, main.c ----------------------------------------------------------------------------------------------
typedef enum { W_AUTO, W_INLINE, W_FILE, W_EXTERN } WeightMode;
typedef struct { const char *name; bool upper; int64_t n; } DimFix;
typedef struct { const char *name; const char *dims; } ShapeFix;
typedef struct { const char *name; const char *file; } ValueFix; // --value: what an input always is
typedef enum { ENTRY_NONE, ENTRY_STEP, ENTRY_EVAL, ENTRY_PREDICT } TrainEntry; // loss and gradients; loss and outputs; outputs
typedef struct { const char *regex; int64_t rank; double alpha; } Lora; // --lora
typedef struct { const char *past, *present; int64_t cap; } StateOpt; // --state: cap 0: not given
struct Options {
    const char *model, *output, *prefix, *target;
    WeightMode weights;
    DimFix *dim; int ndim;
    ShapeFix *shape; int nshape;
    ValueFix *value; int nvalue;
    StateOpt *state; int nstate;
    Lora *lora; int nlora;
    const char *dump;      // comma list of pass names
    const char *eval_dir;  // --eval DIR: input_*.pb and output_*.pb
    const char *emit_onnx;
    bool exact, relax, portable, multi_target, example, eval, grad, train, timing, profile;
    const char *rng;       // philox (NULL) or mt19937
    const char *loss, *optimizer, *requires_grad, *freeze, *input_grad, *no_decay;
    int64_t batch;
    bool recompute, amp;        // --recompute=auto, --amp=bf16
    int64_t mem_budget;         // --mem-budget: bytes; 0: none
    bool frozen_bn, bn_unbiased, inplace, overlap; // --frozen-bn; --bn-momentum=pytorch; --update=inplace; --overlap
    TrainEntry entry;           // of --train: which of its functions is being made
    const char *training_info; // step or init, of the model's own training; NULL: its inference
    const char *tuned;     // --tuned FILE: tiles by measurement, loop/tune.c
    int tile_form;         // --tile-form N: the N-th best by estimate
    bool any_batch;        // for any batch up to `batch`
    const char **cap; int ncap;     // --cap NAME=N
    const char **outputs; int noutputs; // --output NAME: expose an inner tensor
    DType dtype;
};
int compile(const Options *opt); // the whole pipeline; an exit status
#endif
