// SPDX-License-Identifier: Apache-2.0
// Passes over the tensor DAG make a new graph, node by node through the constructors.
#ifndef CNNCC_REWRITE_H
#define CNNCC_REWRITE_H
#include "cnncc.h"

// Nodes whose elements are their operand's, moved.
static inline bool is_view(Prim op) {
    return op == P_reshape || op == P_permute || op == P_expand || op == P_slice || op == P_window || op == P_copy;
}

typedef struct {
    Val *(*before)(Graph *g, const Val *old, void *ctx);  // a value of g for an old one, or NULL: make the node again
    Val *(*after)(Graph *g, Val *v, void *ctx);           // a value as good as the newly made v, or v
    Graph *(*branch)(const Node *old, Val *const *in);    // the region that an if of these operands takes, or NULL
    int (*invariant)(const Node *loop, Val ***which, void *ctx); // how many and which values of the loop's body are made before it: of captures and constants, by single results
    void (*operands)(Graph *g, const Node *old, Val **in, Val *const *map, void *ctx); // may replace operands of the node to be made; map: old values by id -> values of g
    void *ctx;
} Rewrite;

// The graph that rw makes of the nodes that old's outputs reach; parent: of the new graph.
Graph *graph_rewrite(const Graph *old, Graph *parent, const Rewrite *rw);
Val *node_again(Graph *g, const Node *n, Val **in); // a node of one result again, of other operands
Graph *graph_substitute(const Graph *g, int n, const Ex *var, const Ex *by); // g with each var in its extents replaced; guards stay
void graph_adopt(Graph *g, Graph *by); // g becomes what `by` is, in place
#endif
