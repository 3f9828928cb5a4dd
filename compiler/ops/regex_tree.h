// SPDX-License-Identifier: Apache-2.0
// The tree of a regular expression: made by regex_parse.c, compiled by regex.c.
#ifndef CNNCC_REGEX_TREE_H
#define CNNCC_REGEX_TREE_H
#include "cnncc.h"

typedef struct { int32_t lo, hi; } ReRange;
typedef struct { ReRange *r; int n, cap; } ReSet; // sorted and apart once it stands in a node
typedef enum { RE_EMPTY, RE_SET, RE_BYTE, RE_CAT, RE_ALT, RE_REPEAT, RE_ASSERT } ReKind;
typedef enum { RE_BEGIN, RE_END, RE_LINE_BEGIN, RE_LINE_END, RE_BOUNDARY, RE_NO_BOUNDARY } ReAssert;
typedef struct ReNode ReNode;
struct ReNode {
    ReKind kind;
    ReSet set;       // RE_SET: code points
    ReAssert what;   // RE_ASSERT
    ReNode *a, *b;   // RE_CAT, RE_ALT; a alone of RE_REPEAT
    int min, max;    // RE_REPEAT; max -1: any number
};
ReNode *regex_parse(const char *s, size_t n, bool dot_all, const char **why); // NULL: *why says what is wrong
#endif
