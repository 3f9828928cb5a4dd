// SPDX-License-Identifier: Apache-2.0
// Regular expressions in RE2's syntax, compiled to a table over bytes of UTF-8.
#ifndef CNNCC_REGEX_H
#define CNNCC_REGEX_H
#include "cnncc.h"

// What a state goes to on a byte of class class_of[byte], or at the end of the text (class nclass):
// next[state * (nclass + 1) + class] is 2 * target, plus 1 where the text up to here matches. State 0 is
// the one from which nothing matches. The start state depends on what stands before the match: REGEX_BEGIN…
enum { REGEX_BEGIN, REGEX_NEWLINE, REGEX_WORD, REGEX_OTHER, REGEX_CONTEXTS };
typedef struct {
    int nstate, nclass;
    uint8_t class_of[256];
    uint16_t *next;
    int start[REGEX_CONTEXTS];
} Regex;

// The automaton of a pattern of n bytes; NULL with *why set: a syntax that RE2 does not have or the
// pattern is not valid UTF-8, or the automaton would have more than REGEX_STATES states.
enum { REGEX_STATES = 10000 };
const Regex *regex_compile(const char *pattern, size_t n, bool dot_all, const char **why); // dot_all: . matches a line's end too
#endif
