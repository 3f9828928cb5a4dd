// SPDX-License-Identifier: Apache-2.0
// Strings: the runtime's helpers at their edges, regular expressions and what is refused of them.
#include "../../compiler/base/unicode.h"
#include "../../compiler/ops/regex.h"
#include "../../runtime/number.h"
#include "../../runtime/text.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static cnn_string str(const char *s) { return (cnn_string){ s, strlen(s) }; }

static bool is(cnn_string s, const char *want) { return s.len == strlen(want) && !memcmp(s.ptr, want, s.len); }

Test(text, heap_ends_in_a_status) {
    unsigned char room[8];
    cnn_heap h = { room, room + sizeof room };
    cnn_string a[2] = { str("abc"), str("abc") }, b[2] = { str("de"), str("defgh") }, y[2];
    cr_assert_eq(cnn_string_concat(&h, a, b, y, 2), CNN_ECAPACITY);
    cr_assert(is(y[0], "abcde"));
    cr_assert_eq(h.top - h.low, 3);
    cr_assert_null(cnn_take(&h, 4));
    cr_assert_null(cnn_take(&h, SIZE_MAX));
    cr_assert_not_null(cnn_take(&h, 3));
    cnn_string none = str("");
    cr_assert_eq(cnn_string_concat(&h, &none, b, y, 1), CNN_OK); // no bytes are needed
    cr_assert(is(y[0], "de"));
}

Test(text, utf8_is_checked) {
    static const struct { const char *s; int32_t c; size_t n; } t[] = {
        { "a", 'a', 1 },           { "\xc3\xa9", 0xe9, 2 },      { "\xe2\x82\xac", 0x20ac, 3 }, { "\xf0\x9f\x98\x80", 0x1f600, 4 },
        { "\x80", -1, 1 },         { "\xc0\x80", -1, 1 },        { "\xc3", -1, 1 },             { "\xe0\x80\x80", -1, 1 },
        { "\xed\xa0\x80", -1, 1 }, { "\xf4\x90\x80\x80", -1, 1 }, { "\xff", -1, 1 },            { "\xf0\x9f\x98", -1, 1 },
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        size_t at = 0;
        int len = 0;
        cr_expect_eq(cnn_utf8(t[i].s, strlen(t[i].s), &at), t[i].c, "row %zu", i);
        cr_expect_eq(at, t[i].n, "row %zu", i);
        cr_expect_eq(unicode_decode(t[i].s, strlen(t[i].s), &len), t[i].c, "row %zu", i);
        cr_expect_eq((size_t)len, t[i].n, "row %zu", i);
    }
}

Test(text, malformed_numbers_and_bytes_are_edata) {
    static const char *const bad[] = { "", " ", "1e", "e5", ".", "+", "1_0", "0x10", "1 2", "nan(1)", "infi" };
    double v;
    int64_t i64;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cnn_string s = str(bad[i]);
        cr_expect_eq(cnn_string_to_f64(&s, &v, 1), CNN_EDATA, "'%s'", bad[i]);
        cr_expect_eq(cnn_string_to_i64(&s, &i64, 1), CNN_EDATA, "'%s'", bad[i]);
    }
    cnn_string big = str("18446744073709551615"), over = str("18446744073709551616"), least = str("-9223372036854775808");
    cr_expect(cnn_string_to_i64(&big, &i64, 1) == CNN_OK && i64 == -1);
    cr_expect(cnn_string_to_i64(&over, &i64, 1) == CNN_OK && i64 == INT64_MAX);
    cr_expect(cnn_string_to_i64(&least, &i64, 1) == CNN_OK && i64 == INT64_MIN);
    unsigned char room[16];
    cnn_heap h = { room, room + sizeof room };
    const int32_t none[4] = { 0x10ffff, 0x10ffff, 1, 0 };
    cnn_string s = str("a\xff"), y;
    cr_expect_eq(cnn_string_case(&h, &s, none, none, none, none, &y, 1, 1, 0, 0, 0), CNN_EDATA);
}

Test(text, decimal_reads_to_the_nearest) {
    static const char *const t[] = { "2.4703282292062327e-324", "2.4703282292062328e-324", "1.7976931348623158e308", "1.7976931348623159e308",
                                     "2.2250738585072011e-308", "9007199254740993", "9007199254740993.00000000000000000001", "1e-400", "-1e400",
                                     "0.1", "123456789012345678901234567890", "5e-324", "8.5e-323" };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        double v, want = strtod(t[i], NULL);
        cnn_string s = str(t[i]);
        cr_expect(cnn_read_f64(s, &v) && v == want, "%s is %a, not %a", t[i], v, want);
    }
}

static bool full_match(const char *pattern, const char *text) {
    const char *why = NULL;
    const Regex *re = regex_compile(pattern, strlen(pattern), false, &why);
    cr_assert_not_null(re, "%s: %s", pattern, why);
    cnn_string s = str(text);
    uint8_t y = 2;
    const int32_t start = re->start[REGEX_BEGIN];
    cnn_regex_match(&s, re->class_of, re->next, &start, &y, 1, re->nclass);
    return y == 1;
}

Test(text, regular_expressions) {
    static const struct { const char *pattern, *text; bool match; } t[] = {
        { "", "", true }, { "", "a", false }, { "a*", "aaa", true }, { "(a|b)+c?", "abab", true }, { "(a|b)+c?", "abca", false },
        { "a{2,3}", "a", false }, { "a{2,3}", "aaa", true }, { "a{,2}", "a{,2}", true }, { "a{0}", "", true }, { "(ab){2}", "abab", true },
        { ".", "\n", false }, { "(?s).", "\n", true }, { ".", "\xc3\xa9", true }, { ".", "\xc3", false }, { "\\C", "\xc3", true },
        { "[^a]", "\n", true }, { "[\xc3\xa0-\xc3\xbc]+", "\xc3\xa9\xc3\xa8", true }, { "\\w+", "\xc3\xa9", false }, { "\\pL+", "a\xc3\xa9", true },
        { "\\p{Greek}", "\xce\xb1", true }, { "\\P{Greek}", "\xce\xb1", false }, { "[[:alpha:]]+", "ab1", false }, { "(?i)stra\xc3\x9f" "e", "STRA\xe1\xba\x9e" "E", true },
        { "(?i)k", "\xe2\x84\xaa", true }, { "a$", "a", true }, { "a$\\n", "a\n", false }, { "(?m)a$\\n^b", "a\nb", true }, { "\\bab\\b.*", "ab c", true },
        { "\\Bab", "ab", false }, { "^^a", "a", true }, { "a^", "a", false }, { "\\Qa.b\\E*", "a.bb", true }, { "\\x{1F600}", "\xf0\x9f\x98\x80", true },
        { "(?P<x>a)(?:b)(?i:C)c", "abcc", true }, { "(?P<x>a)(?:b)(?i:C)c", "abcC", false }, { "[]a]+", "]a", true }, { "[a\\-z]+", "-", true },
        { "[-a]+", "-a", true }, { "x|", "", true }, { "()*", "", true }, { "(a*)*b", "aab", true }, { "[^\\x00-\\x{10FFFF}]", "a", false },
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        cr_expect_eq(full_match(t[i].pattern, t[i].text), t[i].match, "'%s' and '%s'", t[i].pattern, t[i].text);
}

Test(text, refused_expressions) {
    static const char *const t[] = { "(", ")", "a)", "[a", "[b-a]", "*a", "a**", "(?=a)", "(?<=a)", "(?!a)", "\\1", "\\k", "a{1001}", "a{3,2}", "\\p{Nope}",
                                     "[[:nope:]]", "\\", "(?P<>a)", "(?x)a", "\\x{110000}", "\xff", "(?i", "((a{1000}){1000}){9}", "[a-\\d]" };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        const char *why = NULL;
        cr_expect(!regex_compile(t[i], strlen(t[i]), false, &why) && why, "'%s' compiles", t[i]);
    }
}

Test(text, an_automaton_has_a_bound) {
    const char *why = NULL; // the classical pattern of 2^n states
    cr_expect_null(regex_compile("(a|b)*a(a|b){20}", 16, false, &why));
    cr_expect_str_eq(why, "its automaton would be too large");
    cr_expect_not_null(regex_compile("(a|b)*a(a|b){9}", 15, false, &why));
    char deep[1024];
    memset(deep, '(', 500), memset(deep + 500, ')', 500);
    cr_expect_null(regex_compile(deep, 1000, false, &why));
}
