// SPDX-License-Identifier: Apache-2.0
// Inside of the interpreter: values as strided views of shared buffers, and how the files of
// eval_*.c see each other. Nothing outside of the interpreter includes this.
#ifndef CNNCC_EVAL_H
#define CNNCC_EVAL_H
#include "cnncc.h"

// The statuses of a run, as generated code returns them; EVAL_LIMIT is the interpreter's own.
enum { CNN_OK, CNN_ESHAPE, CNN_ECAPACITY, CNN_EWORK, CNN_EWEIGHTS, CNN_EINDEX, CNN_EVALUE, CNN_EDATA, EVAL_LIMIT = -1 };

// Memory of elements, shared by views. Not owned: a constant's or an input's.
typedef struct { int refs; bool owned; const void *p; } Buf;

// A value: element (i0, i1, …) of buf is at off + sum of i * stride. Axes along which a value does
// not change have stride 0, so a splat is a view of one element. A lazy view stands for `map`
// applied to arg, its operands; only reduce takes those. Other kinds than tensors have `item`.
typedef struct View View;
struct View {
    int refs;
    Kind kind;
    DType dt;
    int rank;
    int64_t shape[MAX_RANK], stride[MAX_RANK], off;
    Buf *buf;
    Tensor *item;
    const Node *map;
    View *arg[3];
};

// What is known of a graph before it runs: how often each value is used, which values expressions
// look into (never freed), which maps are done by the reduction that uses them.
typedef struct Plan Plan;
struct Plan { Graph *g; int *uses; bool *pinned, *lazy; Plan *next; };

// A graph while it runs.
typedef struct Frame Frame;
struct Frame { Graph *g; View **val; int *left; Plan *plan; Frame *up; };

typedef struct { Ex var; int64_t value; } Binding;
typedef struct {
    size_t limit;   // bytes that one buffer may have; 0: any
    int64_t trips;  // iterations of loops that may still be done; -1: any
    int depth;      // of regions
    int status;     // the first failure
    Frame *frame;
    Plan *plan;
    Binding *bind;  // bindings in order of their making
    int nbind, cap_bind;
    int *slot;      // by a variable's id: its index in bind, plus one
    int nslot;
    bool unbound;   // an expression met a variable without a value
} Eval;

// eval.c
bool eval_ex(Eval *e, Ex x, int64_t *value);         // false: some variable has no value (yet)
bool eval_shape(Eval *e, const Val *v, int64_t *shape);
bool eval_node(Eval *e, const Node *n, View *const *in, View **out); // any node but input; false after a failure
void eval_finish(Eval *e);                          // frees what a run holds
void eval_fail(Eval *e, int status);                 // keeps the first
bool eval_region(Eval *e, Graph *g, int nin, View *const *in, View **out); // false after a failure; in is the caller's

// eval_view.c: every function that returns a View * returns a reference that the caller drops, or
// NULL after eval_fail.
View *view_ref(View *v);
void view_drop(View *v);
View *view_new(Eval *e, DType dt, int rank, const int64_t *shape);                  // zeroed, contiguous
View *view_new_compact(Eval *e, DType dt, int rank, const int64_t *shape, const bool *same); // stride 0 along the axes of `same`
View *view_of(View *v, int rank, const int64_t *shape);                             // shares v's buffer; strides 0
View *view_of_data(DType dt, int rank, const int64_t *shape, const void *p, bool splat);
View *view_contiguous(Eval *e, View *v);
View *view_of_tensor(const Tensor *t);
Tensor *view_tensor(Eval *e, View *v, bool keep);    // keep: the elements move to the arena
int64_t view_numel(const View *v);
bool view_is_splat(const View *v);
static inline char *view_at(const View *v, int64_t i) { return (char *)(intptr_t)v->buf->p + (v->off + i) * (int64_t)dt_size(v->dt); }

// A walk over up to four views of one shape, row by row: n elements at at[k], at[k] + step[k], …
// Positions count from a view's off.
typedef struct {
    int rank, nview;
    int64_t n, at[4], step[4];
    int64_t shape[MAX_RANK], idx[MAX_RANK], stride[4][MAX_RANK];
    bool done;
} Walk;
void walk_init(Walk *w, int rank, const int64_t *shape, int nview, const int64_t *const *stride);
void walk_next(Walk *w);
#define WALK(w) for (; !(w).done; walk_next(&(w)))

enum { ROW = 512 };
void load_row(DType dt, const char *p, int64_t step, int64_t n, Scalar *out);
void store_row(DType dt, char *p, int64_t step, int64_t n, const Scalar *in);
void copy_row(size_t size, char *to, int64_t to_step, const char *from, int64_t from_step, int64_t n);
void copy_view(View *to, int64_t to_off, const int64_t *to_stride, const View *from); // of from's shape

// The primitives.
View *eval_reshape(Eval *e, View *x, int rank, const int64_t *shape);
View *eval_permute(Eval *e, const Node *n, View *x);
View *eval_expand(Eval *e, View *x, const int64_t *shape);
View *eval_slice(Eval *e, const Node *n, View *x, const int64_t *shape);
View *eval_window(Eval *e, const Node *n, View *x, const int64_t *shape);
View *eval_pad(Eval *e, const Node *n, View *x, View *value, const int64_t *shape);
View *eval_concat(Eval *e, const Node *n, View *const *x, const int64_t *shape);
View *eval_gather(Eval *e, const Node *n, View *x, View *index);
View *eval_scatter(Eval *e, const Node *n, View *x, View *index, View *upd);
View *eval_map(Eval *e, const Node *n, View *const *x);
void map_row(const Node *n, DType from, Scalar *const *x, int64_t len, Scalar *out);
View *eval_reduce(Eval *e, const Node *n, View *x);
View *eval_scan(Eval *e, const Node *n, View *x);
View *eval_unwindow(Eval *e, const Node *n, View *x, const int64_t *shape);
void eval_sort(Eval *e, const Node *n, View *x, View **out);
Scalar red_init(Red fn, DType dt);
Scalar red_step(Red fn, DType dt, Scalar a, Scalar x); // floats unrounded
void eval_if(Eval *e, const Node *n, View *const *in, View **out);
void eval_loop(Eval *e, const Node *n, View *const *in, View **out);

// eval_call.c: runs a call operator on tensors; sets *out[0 .. nout), gives a status.
typedef int CallEval(const Node *n, Tensor *const *in, Tensor **out);
CallEval *call_eval(const char *name); // NULL: not known to the interpreter

// eval_list.c: sequences and optionals.
CallEval eval_list_new, eval_list_insert, eval_list_erase, eval_list_shape, eval_list_at, eval_list_length, eval_list_given,
    eval_list_get, eval_list_join_shape, eval_list_join;
#endif
