// SPDX-License-Identifier: Apache-2.0
// The syntax of RE2 (https://github.com/google/re2/wiki/Syntax) as a tree. Sets of characters are sorted
// ranges; letters of a pattern that ignores case are sets too.
#include "ops/regex_tree.h"
#include "base/unicode.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 200, REPEAT = 1000, LAST = 0x10ffff };

typedef struct {
    const char *s, *end;
    bool fold, dot_all, lines; // flags i, s, m
    int depth;
    jmp_buf fail;
    const char *why;
} Parser;

static _Noreturn void bad(Parser *p, const char *why) {
    p->why = why;
    longjmp(p->fail, 1);
}

static ReNode *node(ReKind kind) {
    ReNode *n = NEW(ReNode);
    n->kind = kind;
    return n;
}

// ---- sets -----------------------------------------------------------------------------------------

static void set_add(ReSet *s, int32_t lo, int32_t hi) { PUSH(s->r, s->n, s->cap, ((ReRange){lo, hi})); }

static int by_low(const void *a, const void *b) {
    const ReRange *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

static void set_normal(ReSet *s) { // sorted, apart
    int n = 0;
    if (s->n) qsort(s->r, (size_t)s->n, sizeof *s->r, by_low);
    for (int i = 0; i < s->n; i++) {
        if (n && s->r[i].lo <= s->r[n - 1].hi + 1) {
            if (s->r[i].hi > s->r[n - 1].hi) s->r[n - 1].hi = s->r[i].hi;
        } else s->r[n++] = s->r[i];
    }
    s->n = n;
}

static void set_negate(ReSet *s) {
    ReSet out = {0};
    int32_t at = 0;
    set_normal(s);
    for (int i = 0; i < s->n; i++) {
        if (s->r[i].lo > at) set_add(&out, at, s->r[i].lo - 1);
        at = s->r[i].hi + 1;
    }
    if (at <= LAST) set_add(&out, at, LAST);
    *s = out;
}

static void set_join(ReSet *s, const ReSet *t) {
    for (int i = 0; i < t->n; i++) set_add(s, t->r[i].lo, t->r[i].hi);
}

static void set_fold(ReSet *s) { // and all that differs in case only
    int n = s->n;
    for (int i = 0; i < n; i++) {
        ReRange r = s->r[i];
        for (int k = 0; k < unicode_nfold; k++) {
            const int32_t *g = unicode_fold[k];
            bool in = false;
            for (int j = 0; j < 4 && g[j]; j++) in |= g[j] >= r.lo && g[j] <= r.hi;
            for (int j = 0; in && j < 4 && g[j]; j++) set_add(s, g[j], g[j]);
        }
    }
}

static ReNode *set_node(Parser *p, ReSet *s) {
    if (p->fold) set_fold(s);
    set_normal(s);
    ReNode *n = node(RE_SET);
    n->set = *s;
    return n;
}

static ReNode *char_node(Parser *p, int32_t c) {
    ReSet s = {0};
    set_add(&s, c, c);
    return set_node(p, &s);
}

// ---- characters -----------------------------------------------------------------------------------

static bool at_end(const Parser *p) { return p->s >= p->end; }

static int32_t next_char(Parser *p) {
    if (at_end(p)) bad(p, "it ends too early");
    int len = 0;
    int32_t c = unicode_decode(p->s, (size_t)(p->end - p->s), &len);
    if (c < 0) bad(p, "it is no UTF-8");
    p->s += len;
    return c;
}

static bool take(Parser *p, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(p->end - p->s) < n || memcmp(p->s, word, n) != 0) return false;
    p->s += n;
    return true;
}

static int hex(int32_t c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int32_t hex_escape(Parser *p) {
    int32_t v = 0;
    if (take(p, "{")) {
        int digits = 0;
        for (; !take(p, "}"); digits++) {
            int h = hex(next_char(p));
            if (h < 0 || (v = v * 16 + h) > LAST) bad(p, "a hexadecimal escape is not one");
        }
        if (!digits) bad(p, "a hexadecimal escape is not one");
        return v;
    }
    for (int i = 0; i < 2; i++) {
        int h = hex(next_char(p));
        if (h < 0) bad(p, "a hexadecimal escape is not one");
        v = v * 16 + h;
    }
    return v;
}

// The character of an escape, behind its backslash.
static int32_t escape_char(Parser *p) {
    static const char from[] = "aftnrv", to[] = "\a\f\t\n\r\v";
    int32_t c = next_char(p);
    if (c == 'x') return hex_escape(p);
    if (c >= '0' && c <= '7') {
        if (c != '0' && (at_end(p) || *p->s < '0' || *p->s > '7')) bad(p, "references to groups are not RE2's");
        int32_t v = c - '0';
        for (int i = 0; i < 2 && !at_end(p) && *p->s >= '0' && *p->s <= '7'; i++) v = v * 8 + (*p->s++ - '0');
        return v;
    }
    const char *at = c < 128 && c ? strchr(from, (char)c) : NULL;
    if (at) return to[at - from];
    if (c > 127 || c == '_' || hex(c) >= 0 || (c >= 'g' && c <= 'z') || (c >= 'G' && c <= 'Z')) bad(p, "an escape is not RE2's");
    return c;
}

// ---- classes --------------------------------------------------------------------------------------

typedef struct { const char *name; int32_t r[8]; int n; } AsciiClass;
static const AsciiClass ascii_classes[] = {
    {"alnum", {'0', '9', 'A', 'Z', 'a', 'z'}, 3}, {"alpha", {'A', 'Z', 'a', 'z'}, 2}, {"ascii", {0, 127}, 1},
    {"blank", {'\t', '\t', ' ', ' '}, 2},         {"cntrl", {0, 31, 127, 127}, 2},    {"digit", {'0', '9'}, 1},
    {"graph", {'!', '~'}, 1},                     {"lower", {'a', 'z'}, 1},           {"print", {' ', '~'}, 1},
    {"punct", {'!', '/', ':', '@', '[', '`', '{', '~'}, 4},
    {"space", {'\t', '\r', ' ', ' '}, 2},         {"upper", {'A', 'Z'}, 1},           {"word", {'0', '9', 'A', 'Z', '_', '_', 'a', 'z'}, 4},
    {"xdigit", {'0', '9', 'A', 'F', 'a', 'f'}, 3},
    {"d", {'0', '9'}, 1},                         {"s", {'\t', '\n', '\f', '\r', ' ', ' '}, 3},
    {"w", {'0', '9', 'A', 'Z', '_', '_', 'a', 'z'}, 4},
};

// Adds the class of that name, or all but it; the rest of a name of several letters follows case folding.
static bool add_ascii(Parser *p, ReSet *to, const char *name, size_t n, bool negate) {
    for (size_t i = 0; i < sizeof ascii_classes / sizeof *ascii_classes; i++) {
        const AsciiClass *a = &ascii_classes[i];
        if (strlen(a->name) != n || memcmp(a->name, name, n) != 0) continue;
        ReSet s = {0};
        for (int k = 0; k < a->n; k++) set_add(&s, a->r[2 * k], a->r[2 * k + 1]);
        if (p->fold) set_fold(&s);
        if (negate) set_negate(&s);
        set_join(to, &s);
        return true;
    }
    return false;
}

// \pL, \p{Greek}, \p{^Lu}, \PL, behind the p.
static void add_unicode(Parser *p, ReSet *to, bool negate) {
    char name[32];
    size_t n = 0;
    if (take(p, "{")) {
        if (take(p, "^")) negate = !negate;
        while (!take(p, "}")) {
            int32_t c = next_char(p);
            if (n + 1 >= sizeof name || c > 127) bad(p, "a class of characters has an unknown name");
            name[n++] = (char)c;
        }
    } else name[n++] = (char)next_char(p);
    name[n] = 0;
    ReSet s = {0};
    bool any = false;
    if (!strcmp(name, "Any")) set_add(&s, 0, LAST), any = true;
    for (int i = 0; i < unicode_nset; i++) {
        const UnicodeSet *u = &unicode_set[i];
        bool group = n == 1 && u->name[0] == name[0] && strlen(u->name) == 2; // L is Lu, Ll, …
        if (!group && strcmp(u->name, name) != 0) continue;
        if (!strcmp(u->name, "cased") || !strcmp(u->name, "ignorable")) continue;
        for (int k = 0; k < u->n; k++) set_add(&s, u->r[k][0], u->r[k][1]);
        any = true;
    }
    if (!any) bad(p, "a class of characters has an unknown name");
    if (p->fold) set_fold(&s);
    if (negate) set_negate(&s);
    set_join(to, &s);
}

// A class that is an escape, as \d or \pL; the parser stands at the backslash.
static bool take_class(Parser *p, ReSet *to) {
    if (p->end - p->s < 2 || *p->s != '\\') return false;
    char c = p->s[1], low = (char)(c | 32);
    if (low == 'd' || low == 's' || low == 'w') {
        p->s += 2;
        return add_ascii(p, to, &low, 1, c != low);
    }
    if (low != 'p') return false;
    p->s += 2;
    add_unicode(p, to, c == 'P');
    return true;
}

static int32_t class_char(Parser *p) { return take(p, "\\") ? escape_char(p) : next_char(p); }

static bool take_named(Parser *p, ReSet *to) { // [:alpha:] and [:^alpha:]
    const char *from = p->s;
    if (!take(p, "[:")) return false;
    bool negate = take(p, "^");
    const char *name = p->s;
    while (p->s < p->end && *p->s >= 'a' && *p->s <= 'z') p->s++;
    size_t n = (size_t)(p->s - name);
    if (!take(p, ":]")) {
        p->s = from;
        return false;
    }
    if (n < 2 || !add_ascii(p, to, name, n, negate)) bad(p, "a class of characters has an unknown name");
    return true;
}

static ReNode *bracket(Parser *p) { // behind the [
    ReSet s = {0}, part = {0};
    bool negate = take(p, "^"), first = true;
    for (; first || at_end(p) || *p->s != ']'; first = false) {
        if (at_end(p)) bad(p, "a [ is not closed");
        if (take_named(p, &s) || take_class(p, &s)) continue;
        int32_t lo = class_char(p), hi = lo;
        if (p->end - p->s >= 2 && p->s[0] == '-' && p->s[1] != ']') {
            p->s++;
            hi = class_char(p);
            if (hi < lo) bad(p, "a range of characters is empty");
        }
        set_add(&part, lo, hi);
    }
    p->s++;
    if (p->fold) set_fold(&part);
    set_join(&s, &part);
    if (negate) set_negate(&s);
    set_normal(&s);
    ReNode *n = node(RE_SET);
    n->set = s;
    return n;
}

// ---- the tree -------------------------------------------------------------------------------------

static ReNode *parse_alternatives(Parser *p);

static ReNode *assert_node(ReAssert what) {
    ReNode *n = node(RE_ASSERT);
    n->what = what;
    return n;
}

// (?flags), (?flags:…); true: the flags hold for the rest of the group.
static bool parse_flags(Parser *p) {
    bool on = true, any = false;
    for (;;) {
        int32_t c = next_char(p);
        if (c == ')' || c == ':') {
            if (!on && !any) bad(p, "a group's flags are not RE2's");
            return c == ')';
        }
        any = c != '-';
        if (c == 'i') p->fold = on;
        else if (c == 's') p->dot_all = on;
        else if (c == 'm') p->lines = on;
        else if (c == '-' && on) on = false;
        else if (c != 'U') bad(p, "a group begins with (? and something that RE2 does not have");
    }
}

static ReNode *group(Parser *p, bool *flags_only) { // behind the (
    Parser outer = *p;
    *flags_only = false;
    if (take(p, "?")) {
        if (take(p, "P<") || take(p, "<")) {
            const char *from = p->s;
            while (!at_end(p) && *p->s != '>' && (hex(*p->s) >= 0 || *p->s == '_' || (*p->s | 32) >= 'g')) p->s++;
            if (p->s == from || !take(p, ">")) bad(p, "a group's name is not one (looking behind is not RE2's)");
        } else if (parse_flags(p)) {
            *flags_only = true;
            return NULL;
        }
    }
    if (++p->depth > DEPTH) bad(p, "its groups are nested too deeply");
    ReNode *n = parse_alternatives(p);
    p->depth--;
    if (!take(p, ")")) bad(p, "a ( is not closed");
    p->fold = outer.fold, p->dot_all = outer.dot_all, p->lines = outer.lines;
    return n;
}

static ReNode *parse_escape(Parser *p) { // at a backslash
    ReSet s = {0};
    if (take_class(p, &s)) {
        set_normal(&s);
        ReNode *n = node(RE_SET);
        n->set = s;
        return n;
    }
    p->s++;
    if (take(p, "A")) return assert_node(RE_BEGIN);
    if (take(p, "z")) return assert_node(RE_END);
    if (take(p, "b")) return assert_node(RE_BOUNDARY);
    if (take(p, "B")) return assert_node(RE_NO_BOUNDARY);
    if (take(p, "C")) return node(RE_BYTE);
    return char_node(p, escape_char(p));
}

static ReNode *parse_one(Parser *p, bool *flags_only) {
    ReSet s = {0};
    *flags_only = false;
    switch (*p->s) {
    case '(': p->s++; return group(p, flags_only);
    case '[': p->s++; return bracket(p);
    case '\\': return parse_escape(p);
    case '^': p->s++; return assert_node(p->lines ? RE_LINE_BEGIN : RE_BEGIN);
    case '$': p->s++; return assert_node(p->lines ? RE_LINE_END : RE_END);
    case '.':
        p->s++;
        set_add(&s, 0, p->dot_all ? LAST : '\n' - 1);
        if (!p->dot_all) set_add(&s, '\n' + 1, LAST);
        set_normal(&s);
        ReNode *n = node(RE_SET);
        n->set = s;
        return n;
    default: return char_node(p, next_char(p));
    }
}

static bool parse_count(Parser *p, int *v) {
    const char *from = p->s;
    int64_t n = 0;
    while (!at_end(p) && *p->s >= '0' && *p->s <= '9') {
        if (n < 100000) n = n * 10 + (*p->s - '0');
        p->s++;
    }
    *v = (int)n;
    return p->s > from;
}

// *, +, ?, {n}, {n,}, {n,m} with or without a ? behind; *max = -1: any number.
static bool parse_repeat(Parser *p, int *min, int *max) {
    const char *from = p->s;
    if (take(p, "*")) *min = 0, *max = -1;
    else if (take(p, "+")) *min = 1, *max = -1;
    else if (take(p, "?")) *min = 0, *max = 1;
    else if (take(p, "{")) {
        bool ok = parse_count(p, min);
        *max = *min;
        if (ok && take(p, ",") && !parse_count(p, max)) *max = -1;
        if (!ok || !take(p, "}")) { // a brace that stands for itself
            p->s = from;
            return false;
        }
        if (*min > REPEAT || *max > REPEAT || (*max >= 0 && *max < *min)) bad(p, "a count of repetitions is not within 0 to 1000");
    } else return false;
    take(p, "?");
    return true;
}

static ReNode *pair(ReKind kind, ReNode *a, ReNode *b) {
    ReNode *n = node(kind);
    n->a = a, n->b = b;
    return n;
}

static ReNode *parse_sequence(Parser *p) {
    ReNode *all = node(RE_EMPTY);
    bool quoted = false; // between \Q and \E
    while (!at_end(p) && (quoted || (*p->s != '|' && *p->s != ')'))) {
        int min, max;
        bool flags = false;
        if (take(p, quoted ? "\\E" : "\\Q")) {
            quoted = !quoted;
            continue;
        }
        if (!quoted && (*p->s == '*' || *p->s == '+' || *p->s == '?')) bad(p, "a repetition has nothing to repeat");
        ReNode *n = quoted ? char_node(p, next_char(p)) : parse_one(p, &flags);
        if (flags) continue;
        if (quoted && !take(p, "\\E")) {
            all = pair(RE_CAT, all, n);
            continue;
        }
        quoted = false;
        if (parse_repeat(p, &min, &max)) {
            ReNode *r = node(RE_REPEAT);
            r->a = n, r->min = min, r->max = max;
            n = r;
            if (parse_repeat(p, &min, &max)) bad(p, "a repetition is repeated");
        }
        all = pair(RE_CAT, all, n);
    }
    return all;
}

static ReNode *parse_alternatives(Parser *p) {
    ReNode *n = parse_sequence(p);
    while (take(p, "|")) n = pair(RE_ALT, n, parse_sequence(p));
    return n;
}

ReNode *regex_parse(const char *s, size_t n, bool dot_all, const char **why) {
    Parser *p = NEW(Parser);
    p->s = s;
    p->end = s + n;
    p->dot_all = dot_all;
    if (setjmp(p->fail)) {
        *why = p->why;
        return NULL;
    }
    ReNode *tree = parse_alternatives(p);
    if (!at_end(p)) bad(p, "a ) closes nothing");
    return tree;
}
