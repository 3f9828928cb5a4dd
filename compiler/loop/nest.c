// SPDX-License-Identifier: Apache-2.0
// The nest template: any root as loops over its elements, each computed from gen's expression. It is
// the fallback of every refusal of tile.c and the form of everything that is not a contraction.
#include "loop/loop.h"

enum { PARALLEL_WORK = 1 << 15 }; // elements below which threads cost more than they give

// Loops over shape in the memory order of buf, but for the first `given` axes; idx receives the variables.
// rows: the part that is wanted, or NULL.
Block *nest_loops(Block *b, const Buf *buf, int rank, const Ex *shape, int given, const Rows *rows, Ex *idx, Stmt **outer) {
    static const char *const name[] = {"i", "j", "k", "l", "m", "n"};
    static int count;
    *outer = NULL;
    for (int i = 0; i < rank; i++) {
        int a = buf->order[i];
        if (a < given) continue;
        idx[a] = e_index(arena_printf("%s%d", name[i % 6], count++), shape[a]);
        if (idx[a]->kind != X_VAR) continue;
        Stmt *s;
        b = for_loop(b, idx[a], e_int(0), shape[a], 1, &s);
        if (rows && a == rows->axis) s->lo = rows->lo, s->hi = rows->hi;
        if (rows && a == 0) s->lo = rows->image, s->hi = e_add(rows->image, e_int(1));
        if (!*outer) *outer = s;
    }
    return b;
}

static bool much_work(int rank, const Ex *shape, const Val *sum) {
    if (sum && val_numel(sum->node->in[0])->hi >= PARALLEL_WORK) return true;
    return e_product(rank, shape)->hi >= PARALLEL_WORK;
}

// A parallel loop that a C compiler may vectorize runs in chunks of a fixed size: which elements fall
// into vectors and which into the rest is then the same for any number of threads, and so are the bits.
void nest_chunk(Stmt *s, int64_t size) {
    static int count;
    if (!s->parallel || s->whole || (s->body && !s->body->next && s->body->kind == ST_FOR)) return;
    Ex n = s->hi, var = e_index(arena_printf("chunk%d", count++), e_ceil_div(n, e_int(size)));
    s->parallel = false;
    if (var->kind != X_VAR) return;
    Stmt *in = NEW(Stmt);
    *in = *s;
    in->next = NULL;
    in->lo = e_scale(var, size);
    in->hi = e_min(n, e_add(in->lo, e_int(size)));
    *s = (Stmt){.kind = ST_FOR, .next = s->next, .var = var, .lo = e_int(0), .hi = var->extent, .step = 1, .parallel = true, .body = in};
}

// ---- indices of gathers -------------------------------------------------------------------------

static bool stores_to(const Stmt *s, const Buf *b) {
    for (; s; s = s->next)
        if (((s->kind == ST_STORE || s->kind == ST_UPDATE) && s->buf == b) || stores_to(s->body, b) || stores_to(s->els, b)) return true;
    return false;
}

static Stmt *let_of(Stmt *s, const Local *v) {
    for (; s; s = s->next)
        if (s->kind == ST_LET && s->local == v) return s;
    return NULL;
}

static bool declares(const Stmt *s, const Local *v) {
    for (; s; s = s->next)
        if ((s->kind == ST_LET && s->local == v) || declares(s->body, v) || declares(s->els, v)) return true;
    return false;
}

// Whether e changes in the loop: by its variable, or by one that its body declares.
static bool varies_in(const Stmt *loop, Ex e) {
    if (loop->var && e_uses(e, loop->var)) return true;
    for (const Stmt *s = loop->body; s; s = s->next)
        if (varies_in(s, e)) return true;
    for (const Stmt *s = loop->els; s; s = s->next)
        if (varies_in(s, e)) return true;
    return false;
}

static bool set_later(const Stmt *s, const Local *v) {
    for (; s; s = s->next)
        if (((s->kind == ST_SET || s->kind == ST_ACC) && s->local == v) || set_later(s->body, v) || set_later(s->els, v)) return true;
    return false;
}

// Whether x is the same in every step of the loop; the lets of its body that x needs go to `moves`.
static bool same_in_loop(const Stmt *loop, const Sx *x, Stmt **moves, int *n) {
    enum { MOST = 8 };
    if (!x) return true;
    if ((x->e && varies_in(loop, x->e)) || x->nguard || (x->buf && stores_to(loop->body, x->buf))) return false;
    if (x->kind == SX_LOCAL && declares(loop->body, x->local)) {
        Stmt *let = let_of(loop->body, x->local);
        if (!let || !let->value || *n == MOST || set_later(loop->body, x->local) || !same_in_loop(loop, let->value, moves, n)) return false;
        for (int i = 0; i < *n; i++)
            if (moves[i] == let) return true;
        moves[(*n)++] = let;
    }
    for (int i = 0; i < x->n; i++)
        if (!same_in_loop(loop, x->a[i], moves, n)) return false;
    return true;
}

// Takes s out of the list and puts it where *to is.
static Stmt **move_before(Stmt **list, Stmt *s, Stmt **to) {
    while (*list != s) list = &(*list)->next;
    *list = s->next;
    s->next = *to;
    *to = s;
    return &s->next;
}

// An index that is the same in each step of a loop is checked before it, where the loop runs for certain: what remains
// has no status, and vectors.
void nest_indices(Stmt **list) {
    for (Stmt **at = list; *at; at = &(*at)->next) {
        Stmt *s = *at;
        int64_t steps;
        if (s->body) nest_indices(&s->body);
        if (s->els) nest_indices(&s->els);
        if (s->kind != ST_FOR || s->parallel || !e_is_const(e_sub(s->hi, s->lo), &steps) || steps < 1) continue;
        for (Stmt *i = s->body, *next; i; i = next) {
            Stmt *moves[8];
            int n = 0;
            next = i->next;
            if (i->kind != ST_INDEX || varies_in(s, i->hi) || !same_in_loop(s, i->value, moves, &n)) continue;
            for (int k = 0; k < n; k++) at = move_before(&s->body, moves[k], at);
            at = move_before(&s->body, i, at);
        }
    }
}

// ---- splitting ----------------------------------------------------------------------------------

enum { SHORTEST = 32 }; // steps worth a loop

typedef struct { Ex var; int64_t by; } Split;

// The least n that var / n or var % n is taken of.
static void find_split(Ex e, Split *p) {
    int64_t n;
    if (!e_uses(e, p->var)) return;
    if ((e->kind == X_DIV || e->kind == X_MOD) && e->a[0] == p->var && e_is_const(e->a[1], &n)) {
        if (n < p->by) p->by = n;
        return;
    }
    for (int i = 0; e->kind == X_SUM && i < e->n; i++) find_split(e->t[i].m, p);
    for (int i = 0; (e->kind == X_MUL || e->kind == X_LOAD) && i < e->n; i++) find_split(e->a[i], p);
    for (int i = 0; e->kind >= X_DIV && e->kind <= X_MAX && i < 2; i++) find_split(e->a[i], p);
}

static void visit_split(Ex *e, void *ctx) { find_split(*e, ctx); }

void nest_split(Stmt *s) {
    Split p = {s->var, INT64_MAX};
    if (s->parallel || s->step != 1 || !e_is(s->lo, 0) || s->hi != s->var->extent) return;
    stmt_each_ex(s->body, visit_split, &p);
    if (p.by < SHORTEST || p.by == INT64_MAX || !e_is(e_mod(s->hi, e_int(p.by)), 0)) return;
    Ex part = e_index(s->var->name, e_div(s->hi, e_int(p.by))), in = e_index(arena_printf("%s_", s->var->name), e_int(p.by));
    if (part->kind != X_VAR) return;
    Ex by = e_add(e_scale(part, p.by), in);
    stmt_subst(s->body, 1, &s->var, &by);
    Stmt *inner = NEW(Stmt);
    *inner = (Stmt){.kind = ST_FOR, .var = in, .lo = e_int(0), .hi = in->extent, .step = 1, .body = s->body};
    s->var = part, s->hi = part->extent, s->body = inner;
}

static Stmt *innermost(Stmt *s) {
    while (s->body && !s->body->next && s->body->kind == ST_FOR) s = s->body;
    return s;
}

static void finish(Lower *l, Block *b, Stmt *outer, bool parallel) {
    if (!outer) {
        nest_lanes(l, b->first, NULL);
        return;
    }
    outer->parallel = parallel;
    nest_collapse(outer);
    Stmt *in = innermost(outer);
    if (!stmt_holds_loop(in->body)) nest_split(in);
    nest_indices(&b->first);
    nest_lanes(l, b->first, outer);
    nest_chunk(outer, stmt_holds_loop(outer->body) ? 64 : 1024);
}

void nest(Lower *l, Root *r, Block *b) {
    Ex idx[MAX_RANK], at[MAX_RANK];
    Stmt *outer;
    const Val *v = r->expr;
    Block *body = nest_loops(b, r->buf, v->rank, v->shape, 0, r->rows, idx, &outer);
    Sx *x = gen(l, body, r->expr, idx);
    for (int i = 0; i < v->rank; i++) at[i] = r->at && i == r->axis ? e_add(idx[i], r->at) : idx[i];
    append(body, (Stmt){.kind = ST_STORE, .buf = r->buf, .e = buf_offset(r->buf, at), .value = x});
    finish(l, b, outer, !r->rows && much_work(v->rank, v->shape, r->reduce));
}

void nest_copy(Lower *l, Val *v, Buf *to, Ex lead, Block *b) {
    Ex idx[MAX_RANK], at[MAX_RANK];
    Stmt *outer;
    Buf like = *to; // the memory order of the part
    int k = 0;
    for (int i = 0; i < to->rank; i++)
        if (!lead) like.order[i] = to->order[i];
        else if (to->order[i] > 0) like.order[k++] = to->order[i] - 1;
    Block *func = block_new(l->main), *body = nest_loops(func, &like, v->rank, v->shape, 0, NULL, idx, &outer);
    Sx *x = gen(l, body, v, idx);
    if (lead) at[0] = lead;
    for (int i = 0; i < v->rank; i++) at[i + (lead != NULL)] = idx[i];
    append(body, (Stmt){.kind = ST_STORE, .buf = to, .e = buf_offset(to, at), .value = x});
    finish(l, func, outer, much_work(v->rank, v->shape, NULL));
    append(b, (Stmt){.kind = ST_FUNC, .body = func->first, .buf = to, .text = v->node->name});
}

// ---- collapsing -------------------------------------------------------------------------------

typedef struct { Ex outer, inner, n; bool ok; } Pair;

// Every expression that holds either must hold outer*n + inner.
static void check_pair(Ex *e, void *ctx) {
    Pair *p = ctx;
    if (*e == p->outer || *e == p->inner) {
        p->ok = false;
        return;
    }
    if (!p->ok || (!e_uses(*e, p->outer) && !e_uses(*e, p->inner))) return;
    Ex sum = e_add(e_mul(p->outer, p->n), p->inner), fused = e_sym("fused", 0, INT64_MAX);
    Ex by = e_subst(*e, p->inner, e_sub(fused, e_mul(p->outer, p->n)));
    (void)sum;
    p->ok = !e_uses(by, p->outer) && !e_uses(by, p->inner);
}

void nest_collapse(Stmt *s) {
    while (s && s->kind == ST_FOR) {
        Stmt *in = s->body;
        if (!in || in->next || in->kind != ST_FOR || s->step != 1 || in->step != 1 || in->parallel ||
            !e_is(s->lo, 0) || !e_is(in->lo, 0) || in->hi != in->var->extent || s->hi != s->var->extent) {
            s = in && !in->next ? in : NULL;
            continue;
        }
        Pair p = {s->var, in->var, in->hi, true};
        stmt_each_ex(in->body, check_pair, &p);
        if (!p.ok) {
            s = in;
            continue;
        }
        Ex fused = e_index(s->var->name, e_mul(s->hi, in->hi));
        Ex var[2] = {in->var, s->var}, by[2] = {e_sub(fused, e_mul(s->var, in->hi)), e_int(0)};
        stmt_subst(in->body, 1, &var[0], &by[0]);
        stmt_subst(in->body, 1, &var[1], &by[1]);
        s->var = fused;
        s->hi = fused->extent;
        s->body = in->body;
    }
}
