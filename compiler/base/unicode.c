// SPDX-License-Identifier: Apache-2.0
#include "base/unicode.h"
#include <string.h>

#define UNICODE_SET(name, n) static const int32_t set_##name[n][2] = {
#define UNICODE_CASE(name, n) static const int32_t case_##name[n][4] = {
#define UNICODE_SPECIAL(name, n) static const int32_t special_##name[n][4] = {
#define UNICODE_FOLD(n) const int32_t unicode_fold[n][4] = {
#define UNICODE_END };
#include "base/unicode.def"

#define ROWS(a) (int)(sizeof(a) / sizeof *(a))
#define SET(name) {#name, set_##name, ROWS(set_##name)},
const UnicodeSet unicode_set[] = {UNICODE_NAMES(SET)};
const int unicode_nset = ROWS(unicode_set);
const int unicode_nfold = ROWS(unicode_fold);
const UnicodeCase unicode_case[2] = {
    {case_lower, ROWS(case_lower), special_lower, ROWS(special_lower)},
    {case_upper, ROWS(case_upper), special_upper, ROWS(special_upper)},
};

int32_t unicode_decode(const char *s, size_t n, int *len) {
    const unsigned char *p = (const unsigned char *)s;
    size_t k = p[0] < 0x80 ? 1 : p[0] >= 0xc0 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf8 ? 4 : 0;
    uint32_t c = k == 1 ? p[0] : p[0] & (0x7fu >> k);
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    *len = 1;
    if (!k || k > n) return -1;
    for (size_t i = 1; i < k; i++) {
        if (p[i] >> 6 != 2) return -1;
        c = c * 64 + (p[i] & 63u);
    }
    if (c < least[k] || c > 0x10ffff || c >> 11 == 0x1b) return -1;
    *len = (int)k;
    return (int32_t)c;
}

int unicode_encode(int32_t c, char *s) {
    if (c < 0x80) {
        s[0] = (char)c;
        return 1;
    }
    int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, c >>= 6) s[i] = (char)(0x80 | (c & 63));
    s[0] = (char)(c | (n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0));
    return n;
}

const UnicodeSet *unicode_find(const char *name) {
    for (int i = 0; i < unicode_nset; i++)
        if (!strcmp(unicode_set[i].name, name)) return &unicode_set[i];
    return NULL;
}
