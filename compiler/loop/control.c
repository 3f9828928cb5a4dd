// SPDX-License-Identifier: Apache-2.0
// Nodes that are more than one nest: scatter, scan, sort, random, if, loop, call.
#include "loop/loop.h"

void lower_node(Lower *l, Node *n, Block *b) {
    (void)l, (void)b;
    fatal("%s: generated code has no %s yet", n->name ? n->name : "a node", prim_name[n->op]);
}
