// SPDX-License-Identifier: Apache-2.0
// Work for all threads. A parallel loop of few or of an unknown number of iterations, as over a batch that may be
// one, becomes one over the iterations of the loops right inside it, too:
//
//   parallel for image { for row { ... } }   ->   parallel for at { image = at / rows; row = at mod rows; ... }
//
// Where sizes are open, the run says whether there is work enough: entering a parallel region takes microseconds.
#include "loop/loop.h"

enum { ENOUGH = 16 }; // iterations

static bool is_plain(const Stmt *s) { return s->kind == ST_FOR && s->step == 1 && e_is(s->lo, 0) && s->hi == s->var->extent; }

static bool has_enough(const Stmt *s) {
    int64_t n;
    return e_is_const(s->hi, &n) && n >= ENOUGH;
}

// The loop that is all of a body, if it is no innermost one, of which compilers make vectors.
static Stmt *only_loop(const Stmt *outer) {
    Stmt *s = outer->body;
    return s && !s->next && is_plain(s) && stmt_holds_loop(s->body) ? s : NULL;
}

bool threads_can_merge(const Stmt *loop) { return is_plain(loop) && !loop->whole && only_loop(loop); }

static void merge(Stmt *outer) {
    Stmt *loop[MAX_RANK] = {outer}, *in = only_loop(outer);
    Ex count = outer->hi;
    int depth = 1;
    int64_t n;
    do {
        loop[depth++] = in;
        count = e_mul(count, in->hi);
        in = only_loop(in);
    } while (in && depth < MAX_RANK && e_is_const(loop[depth - 1]->hi, &n) && n < ENOUGH);
    Ex at = e_index(arena_printf("%s_", outer->var->name), count), left = at;
    if (at->kind != X_VAR) return;
    Block *b = block_new(NULL);
    for (int i = depth - 1; i >= 0; i--) {
        append(b, (Stmt){.kind = ST_INT, .var = loop[i]->var, .e = i ? e_mod(left, loop[i]->hi) : left});
        left = e_div(left, loop[i]->hi);
    }
    *b->tail = loop[depth - 1]->body;
    outer->var = at, outer->hi = count, outer->body = b->first;
}

// ---- work ---------------------------------------------------------------------------------------

static bool is_polynomial(Fn fn) { return (fn >= FN_exp && fn <= FN_softplus) || fn == FN_pow || fn == FN_atan2; }

// Operations on an element: a function that is a polynomial counts as its terms.
static int64_t operations(const Sx *x) {
    enum { POLYNOMIAL = 16 };
    if (!x) return 0;
    int64_t n = x->kind != SX_FN ? 0 : is_polynomial((Fn)x->fn) ? POLYNOMIAL : 1;
    for (int i = 0; i < x->n; i++) n += operations(x->a[i]);
    return n;
}

static Ex steps(const Stmt *s) { return s->var->kind == X_VAR && s->var->extent ? s->var->extent : e_int(1); }

// Whether a loop runs over parts of the one inside.
static bool is_cut(const Stmt *s) { return s->body && !s->body->next && s->body->kind == ST_FOR && e_uses(s->body->lo, s->var); }

static Ex work_of(const Stmt *s) {
    Ex w = e_int(0);
    for (; s; s = s->next) {
        if (s->kind == ST_FOR) w = e_add(w, e_mul(is_cut(s) ? e_int(1) : steps(s), work_of(s->body)));
        else if (s->kind == ST_IF || s->kind == ST_BLOCK) w = e_add(w, work_of(s->body ? s->body : s->els));
        else if (s->value) w = e_add(w, e_int((1 + operations(s->value)) * (s->local && s->local->vector ? s->local->lanes : 1)));
    }
    return w;
}

// all: the multiply-adds of all the statements, where it is products; outside: how often the list runs for them.
static void visit(const Program *p, Stmt *s, Ex all, Ex outside) {
    int64_t n;
    for (; s; s = s->next) {
        if (s->parallel) {
            Stmt one = *s;
            one.next = NULL;
            Ex w = all ? e_div(all, outside) : work_of(&one);
            if (!e_is_const(w, &n) && known_at_entry(p, w)) s->work = w;
            if (!has_enough(s) && threads_can_merge(s)) merge(s);
        }
        Ex often = s->kind == ST_FOR && known_at_entry(p, steps(s)) ? e_mul(outside, steps(s)) : outside;
        if (s->kind == ST_FUNC) visit(p, s->body, s->work, e_int(1));
        else visit(p, s->body, all, often), visit(p, s->els, all, often);
    }
}

void threads(const Program *p, Stmt *list) { visit(p, list, NULL, e_int(1)); }
