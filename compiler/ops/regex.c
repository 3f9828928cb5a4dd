// SPDX-License-Identifier: Apache-2.0
// From the tree of a regular expression to a table: an automaton of alternatives over bytes (Thompson 1968),
// then sets of its states (Rabin and Scott 1959). What stands before and behind a place, as ^, $ and \b
// ask, is the last byte's kind, which is part of a state, and the next byte's, which chooses the row.
#include "ops/regex.h"
#include "ops/regex_tree.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_INSTR = 200000, MAX_WORK = 200000000, KINDS = 5, KIND_END = 4 };
typedef enum { I_MATCH, I_BYTE, I_SPLIT, I_ASSERT } Op;
typedef struct { Op op; uint8_t lo, hi; ReAssert what; int out, other; } Instr;

typedef struct { int *core; int n; int context; unsigned hash; } State;
typedef struct {
    Instr *in; int n, cap;
    bool full, context, words; // too many; whether contexts matter; whether \b is used
    Regex *re;
    State *state; int cap_state;
    int *table; int table_cap;
    int *stack, *mark, stamp, *seen, nseen;
    int64_t work;
} Build;

// ---- instructions ---------------------------------------------------------------------------------

static int emit(Build *b, Instr i) {
    if (b->n >= MAX_INSTR) {
        b->full = true;
        return 0;
    }
    PUSH(b->in, b->n, b->cap, i);
    return b->n - 1;
}

static int byte_range(Build *b, int lo, int hi, int next, int first) { // the same one again where it exists
    for (int i = b->n - 1; i >= first && i >= b->n - 64; i--)
        if (b->in[i].op == I_BYTE && b->in[i].lo == lo && b->in[i].hi == hi && b->in[i].out == next) return i;
    return emit(b, (Instr){.op = I_BYTE, .lo = (uint8_t)lo, .hi = (uint8_t)hi, .out = next});
}

static int encode(int32_t c, uint8_t *u) {
    if (c < 0x80) {
        u[0] = (uint8_t)c;
        return 1;
    }
    int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, c >>= 6) u[i] = (uint8_t)(0x80 | (c & 63));
    u[0] = (uint8_t)(c | (n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0));
    return n;
}

typedef struct { int list, first; } Alternatives;

static void add_alternative(Build *b, Alternatives *a, int start) {
    a->list = a->list < 0 ? start : emit(b, (Instr){.op = I_SPLIT, .out = start, .other = a->list});
}

// The bytes of the code points lo to hi, of one length: ranges of bytes one after the other. Ranges whose
// last bytes are not full are cut off, at either end.
static void add_range(Build *b, Alternatives *a, int32_t lo, int32_t hi, int next) {
    static const int32_t most[] = {0x7f, 0x7ff, 0xffff, 0x10ffff};
    for (int i = 0; i < 3; i++)
        if (lo <= most[i] && hi > most[i]) {
            add_range(b, a, lo, most[i], next);
            lo = most[i] + 1;
        }
    if (lo <= 0xdfff && hi >= 0xd800) { // surrogates are no characters
        if (lo < 0xd800) add_range(b, a, lo, 0xd7ff, next);
        if (hi > 0xdfff) add_range(b, a, 0xe000, hi, next);
        return;
    }
    for (int i = 1; i < 4 && hi > 0x7f; i++) {
        int32_t mask = (1 << (6 * i)) - 1;
        if ((lo & ~mask) == (hi & ~mask)) break;
        if (lo & mask) {
            add_range(b, a, lo, lo | mask, next);
            add_range(b, a, (lo | mask) + 1, hi, next);
            return;
        }
        if ((hi & mask) != mask) {
            add_range(b, a, lo, (hi & ~mask) - 1, next);
            add_range(b, a, hi & ~mask, hi, next);
            return;
        }
    }
    uint8_t u[4], v[4];
    int n = encode(lo, u);
    encode(hi, v);
    for (int i = n - 1; i >= 0; i--) next = byte_range(b, u[i], v[i], next, a->first);
    add_alternative(b, a, next);
}

// Instructions of a tree before `next`; where they start. As deep as groups are nested.
static int place(Build *b, const ReNode *n, int next) {
    Alternatives a = {-1, b->n};
    while (n->kind == RE_CAT && !b->full) {
        next = place(b, n->b, next);
        n = n->a;
    }
    if (b->full) return 0;
    a.first = b->n;
    switch (n->kind) {
    case RE_EMPTY: case RE_CAT: return next;
    case RE_BYTE: return byte_range(b, 0, 255, next, b->n);
    case RE_ASSERT: return emit(b, (Instr){.op = I_ASSERT, .what = n->what, .out = next});
    case RE_SET:
        for (int i = n->set.n - 1; i >= 0 && !b->full; i--) add_range(b, &a, n->set.r[i].lo, n->set.r[i].hi, next);
        return a.list >= 0 ? a.list : emit(b, (Instr){.op = I_BYTE, .lo = 1, .hi = 0, .out = next}); // nothing matches
    case RE_ALT:
        for (; n->kind == RE_ALT; n = n->a) add_alternative(b, &a, place(b, n->b, next));
        add_alternative(b, &a, place(b, n, next));
        return a.list;
    case RE_REPEAT:
        if (n->max < 0) { // a loop, behind the least number
            int loop = emit(b, (Instr){.op = I_SPLIT, .other = next});
            b->in[loop].out = place(b, n->a, loop);
            next = loop;
        }
        for (int i = n->min; i < n->max && !b->full; i++) {
            int start = place(b, n->a, next);
            next = emit(b, (Instr){.op = I_SPLIT, .out = start, .other = i == n->min ? next : b->in[next].other});
        }
        for (int i = 0; i < n->min && !b->full; i++) next = place(b, n->a, next);
        return next;
    }
    die("a regular expression of kind %d", n->kind);
}

// ---- classes of bytes -----------------------------------------------------------------------------

static bool is_word(int c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || c == '_' || (c >= 'a' && c <= 'z'); }

static void byte_classes(Build *b) {
    bool cut[257] = {true};
    for (int i = 0; i < b->n; i++) {
        b->context |= b->in[i].op == I_ASSERT;
        b->words |= b->in[i].op == I_ASSERT && b->in[i].what >= RE_BOUNDARY;
        if (b->in[i].op == I_BYTE && b->in[i].lo <= b->in[i].hi) cut[b->in[i].lo] = cut[b->in[i].hi + 1] = true;
    }
    if (b->context) cut['\n'] = cut['\n' + 1] = true;
    for (int c = 1; b->words && c < 256; c++) cut[c] |= is_word(c) != is_word(c - 1);
    for (int c = 0; c < 256; c++) {
        b->re->nclass += cut[c];
        b->re->class_of[c] = (uint8_t)(b->re->nclass - 1);
    }
}

static int kind_of(const Build *b, int byte) {
    if (!b->context) return REGEX_OTHER;
    return byte == '\n' ? REGEX_NEWLINE : b->words && is_word(byte) ? REGEX_WORD : REGEX_OTHER;
}

// ---- sets of states -------------------------------------------------------------------------------

static bool holds(ReAssert what, int before, int behind) {
    bool edge = (before == REGEX_WORD) != (behind == REGEX_WORD);
    switch (what) {
    case RE_BEGIN: return before == REGEX_BEGIN;
    case RE_END: return behind == KIND_END;
    case RE_LINE_BEGIN: return before == REGEX_BEGIN || before == REGEX_NEWLINE;
    case RE_LINE_END: return behind == KIND_END || behind == REGEX_NEWLINE;
    case RE_BOUNDARY: return edge;
    case RE_NO_BOUNDARY: return !edge;
    }
    return false;
}

// All that a set reaches without a byte: seen. True: the end is among it.
static bool reach(Build *b, const State *s, int behind) {
    int n = 0;
    bool match = false;
    b->stamp++;
    b->nseen = 0;
    for (int i = s->n - 1; i >= 0; i--) b->stack[n++] = s->core[i];
    while (n) {
        int i = b->stack[--n];
        if (b->mark[i] == b->stamp) continue;
        b->mark[i] = b->stamp;
        b->work++;
        const Instr *in = &b->in[i];
        if (in->op == I_MATCH) match = true;
        else if (in->op == I_BYTE) b->seen[b->nseen++] = i;
        else if (in->op == I_SPLIT) b->stack[n++] = in->other, b->stack[n++] = in->out;
        else if (holds(in->what, s->context, behind)) b->stack[n++] = in->out;
    }
    return match;
}

static int by_number(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

// The number of the state of this set; 0 for the empty one.
static int intern_state(Build *b, int *core, int n, int context) {
    Regex *re = b->re;
    int m = 0;
    if (n) qsort(core, (size_t)n, sizeof *core, by_number);
    for (int i = 0; i < n; i++)
        if (!m || core[i] != core[m - 1]) core[m++] = core[i];
    if (!m) return 0;
    unsigned h = (unsigned)context;
    for (int i = 0; i < m; i++) h = (h ^ (unsigned)core[i]) * 16777619u;
    int at = (int)(h & (unsigned)(b->table_cap - 1));
    for (; b->table[at]; at = (at + 1) & (b->table_cap - 1)) {
        const State *s = &b->state[b->table[at]];
        if (s->hash == h && s->n == m && s->context == context && !memcmp(s->core, core, sizeof *core * (size_t)m)) return b->table[at];
    }
    if (re->nstate >= REGEX_STATES) {
        b->full = true;
        return 0;
    }
    State s = {NEWN(int, m), m, context, h};
    memcpy(s.core, core, sizeof *core * (size_t)m);
    b->table[at] = re->nstate;
    PUSH(b->state, re->nstate, b->cap_state, s);
    return b->table[at];
}

// The rows of one state.
static void step_state(Build *b, int k, const int *byte, int *to) {
    Regex *re = b->re;
    bool match = false, once = !b->context;
    for (int c = 0; c <= re->nclass && !b->full; c++) {
        const State *s = &b->state[k];
        if (!once || c == 0) match = reach(b, s, c == re->nclass ? KIND_END : kind_of(b, byte[c]));
        int n = 0;
        for (int i = 0; c < re->nclass && i < b->nseen; i++) {
            const Instr *in = &b->in[b->seen[i]];
            if (byte[c] >= in->lo && byte[c] <= in->hi) to[n++] = in->out;
        }
        b->work += b->nseen;
        int target = n ? intern_state(b, to, n, kind_of(b, byte[c])) : 0;
        re->next[k * (re->nclass + 1) + c] = (uint16_t)(target * 2 + match);
    }
    b->full |= b->work > MAX_WORK;
}

const Regex *regex_compile(const char *pattern, size_t n, bool dot_all, const char **why) {
    const ReNode *tree = regex_parse(pattern, n, dot_all, why);
    if (!tree) return NULL;
    Build *b = NEW(Build);
    Regex *re = b->re = NEW(Regex);
    *why = "its automaton would be too large";
    emit(b, (Instr){.op = I_MATCH});
    int start = place(b, tree, 0);
    if (b->full) return NULL;
    byte_classes(b);
    b->table_cap = 1 << 15;
    b->table = NEWN(int, b->table_cap);
    b->stack = NEWN(int, 3 * b->n + 3);
    b->mark = NEWN(int, b->n + 1);
    b->seen = NEWN(int, b->n + 1);
    re->next = NEWN(uint16_t, REGEX_STATES * (re->nclass + 1));
    int *byte = NEWN(int, re->nclass + 1), *to = NEWN(int, b->n + 1);
    for (int c = 255; c >= 0; c--) byte[re->class_of[c]] = c;
    PUSH(b->state, re->nstate, b->cap_state, ((State){0}));
    for (int k = 0; k < REGEX_CONTEXTS; k++) {
        to[0] = start;
        re->start[k] = intern_state(b, to, 1, b->context ? k : REGEX_OTHER);
    }
    for (int k = 0; k < re->nstate && !b->full; k++) step_state(b, k, byte, to);
    return b->full ? NULL : re;
}
