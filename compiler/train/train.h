// SPDX-License-Identifier: Apache-2.0
// Inside of training: gradients of the tensor DAG, losses, and steps of optimizers. All of it is
// pure: new nodes of the same graph, made through the constructors before anything is folded.
#ifndef CNNCC_TRAIN_H
#define CNNCC_TRAIN_H
#include "cnncc.h"

// ---- vocab.c: shorthand for equal shapes ---------------------------------------------------------
Val *fn1(Graph *g, Fn fn, Val *a);
Val *fn2(Graph *g, Fn fn, Val *a, Val *b);
Val *select_of(Graph *g, Val *c, Val *a, Val *b);
Val *cast_to(Graph *g, Val *x, DType dt);
Val *splat(Graph *g, DType dt, double v, int rank, const Ex *shape); // every element is v
Val *splat_like(Graph *g, const Val *x, double v);                   // of x's type and shape
Val *scaled(Graph *g, Val *x, double k);                             // x * k
Val *scalar_of(Graph *g, DType dt, Ex e);                            // rank 0
Val *stretch(Graph *g, Val *x, int rank, const Ex *shape);           // a scalar, or axes of extent 1 of x, to shape
Val *spread(Graph *g, Val *v, const Val *x, int naxes, const int *axes); // of x reduced over axes, back to x's shape
Val *reduced(Graph *g, Red fn, Val *x, int naxes, const int *axes);  // over axes, to x's shape again
Val *total(Graph *g, Val *x);                                        // the sum of all elements, rank 0
int node_axes(const Node *n, int *axes);                             // n->ex as numbers
bool match_softmax(const Val *v, Val **x, int *naxes, int *axes);     // v = softmax of x over axes
bool match_log_softmax(const Val *v, Val **x, int *naxes, int *axes);

// ---- derivative.c: of the scalar functions --------------------------------------------------------
// One application: what is to be multiplied into the operand's adjoint.
typedef struct { Graph *g; const Node *n; Val *const *x; Val *y, *dy; int k; } Chain;
// The adjoint that operand k gets of dy, the adjoint of the map; NULL: none.
Val *map_adjoint(Graph *g, Node *n, int k, Val *dy);

// ---- grad.c: the state of one run --------------------------------------------------------------------
typedef struct {
    Graph *g;
    Val **adj;   // by value id: its adjoint; NULL: none so far
    bool *needs; // by value id: depends on a value whose adjoint is wanted
    bool *straight; // by node id: a rounding that a quantizer does, which passes its adjoint on
    int nval;       // values there were before
    int errors;
} Grad;
void contribute(Grad *s, Val *x, Val *d);                // d is one more part of x's adjoint
void refuse(Grad *s, const Node *n, const char *what);   // an error: there is no gradient of `what`
// grad_control.c: the adjoints of an if's or loop's operands, from those of its results
void grad_if(Grad *s, Node *n);
void grad_loop(Grad *s, Node *n);

// ---- grad.c -----------------------------------------------------------------------------------------
// Reverse mode: the adjoints of wrt[0 .. n), of their types and shapes, when those of root[0 .. nroot)
// are seed[0 .. nroot). NULL after diagnostics, where the way leads through what has no gradient.
Val **grad_from(Graph *g, int nroot, Val *const *root, Val *const *seed, int n, Val *const *wrt);

// ---- loss.c -----------------------------------------------------------------------------------------
// A loss, the n values where its gradient starts, and with what: for cross-entropy at the logits, for others
// at the loss itself with 1. correct: how many predictions of a class are right, i64, or NULL.
typedef struct { Val *loss, *correct, **root, **seed; int n; } Loss;
// The loss that opt->loss names; adds the input `target` where it needs one. false after a diagnostic.
bool loss_build(Graph *g, const Options *opt, Loss *l);

#endif
