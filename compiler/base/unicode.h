// SPDX-License-Identifier: Apache-2.0
// What the compiler knows of Unicode's characters: unicode.def, by schemas/gen_unicode.py.
#ifndef CNNCC_UNICODE_H
#define CNNCC_UNICODE_H
#include <stddef.h>
#include <stdint.h>

typedef struct { const char *name; const int32_t (*r)[2]; int n; } UnicodeSet; // ranges, ascending: a general category, a script, cased, ignorable
extern const UnicodeSet unicode_set[];
extern const int unicode_nset;
extern const int32_t unicode_fold[][4]; // characters that differ in case only, 0 behind the last
extern const int unicode_nfold;
typedef struct {
    const int32_t (*row)[4]; // first, last, step, distance, ascending
    int nrow;
    const int32_t (*special)[4]; // a character and the up to three that stand for it, 0 behind the last
    int nspecial;
} UnicodeCase;
extern const UnicodeCase unicode_case[2]; // to lower, to upper

// The code point at s, n > 0, and its bytes; -1 where they are no UTF-8.
int32_t unicode_decode(const char *s, size_t n, int *len);
int unicode_encode(int32_t c, char *s); // its bytes, at most 4
const UnicodeSet *unicode_find(const char *name); // NULL: none of that name
#endif
