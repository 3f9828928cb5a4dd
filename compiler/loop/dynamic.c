// SPDX-License-Identifier: Apache-2.0
// Extents that only the run knows: elements of integer tensors become C variables as soon as they are
// computed, guards on them are checked there, outputs are measured against the room that the caller
// gives, and buffers of the work area get the size of an upper bound.
#include "loop/loop.h"
#include <stdlib.h>
#include <string.h>

// ---- loads ------------------------------------------------------------------------------------

static void find_load(Ex load, void *ctx) {
    Lower *l = ctx;
    if (load->val->node->g != l->g) return;
    for (int i = 0; i < l->nload; i++)
        if (l->load[i] == load) return;
    PUSH(l->load, l->nload, l->cap_load, load);
}

static void find_symbol(Ex var, void *ctx) {
    Lower *l = ctx;
    for (int i = 0; i < l->ndefined; i++) l->sized[i] |= l->defined[i].var == var;
}

void find_loads(Lower *l) {
    l->defined = graph_defined(l->g, &l->ndefined);
    l->sized = NEWN(bool, l->ndefined + 1);
    for (int i = 0; i < l->g->nnode; i++) {
        const Node *n = l->g->node[i];
        node_each_load(n, find_load, l);
        if (l->ndefined && n->op != P_if && n->op != P_loop) node_each_symbol(n, find_symbol, l);
        for (int r = 0; l->ndefined && n->region && r < (n->op == P_if ? 2 : 1); r++)
            for (int k = 0; k < n->region[r].g->nnode; k++) node_each_symbol(n->region[r].g->node[k], find_symbol, l);
    }
    for (int i = 0; i < l->g->nguard; i++) {
        ex_each_load(l->g->guard[i].a, find_load, l);
        ex_each_load(l->g->guard[i].b, find_load, l);
    }
    l->guarded = NEWN(bool, l->g->nguard + 1);
}

static bool have(const Program *p, Ex atom) {
    for (int i = 0; i < p->nhave; i++)
        if (p->have[i] == atom) return true;
    return false;
}

void have_symbol(Program *p, Ex atom) {
    if ((atom->kind == X_VAR || atom->kind == X_LOAD) && !have(p, atom)) PUSH(p->have, p->nhave, p->cap_have, atom);
}

// Whether all variables and loads of e are among the first n that the program has; those of the inputs come first.
static bool all_among(const Program *p, Ex e, int n) {
    if (e->kind == X_VAR || e->kind == X_LOAD) {
        for (int i = 0; i < n; i++)
            if (p->have[i] == e) return true;
        return false;
    }
    for (int i = 0; i < e->n; i++)
        if (!all_among(p, e->kind == X_SUM ? e->t[i].m : e->a[i], n)) return false;
    return true;
}

bool known_at_entry(const Program *p, Ex e) { return all_among(p, e, p->nsym); }

static bool have_bound(const Program *p, Ex var) {
    for (int i = 0; i < p->nbound; i++)
        if (p->bound_var[i] == var) return true;
    return false;
}

static void set_status(Block *b, const char *status, Ex e, Ex n) {
    Range *r = NEW(Range);
    *r = (Range){e, n};
    append(b, (Stmt){.kind = ST_STATUS, .text = status, .nguard = 1, .guard = r});
}

static void declare(Lower *l, Block *b, Ex load) {
    Program *p = l->prog;
    if (have(p, load)) return;
    Ex plain = e_load(load->val, load->n, load->a);
    if (load != plain) {
        declare(l, b, plain);
        set_status(b, "CNN_ESHAPE", plain, e_int(load->hi + 1));
        append(b, (Stmt){.kind = ST_INT, .var = load, .e = plain});
    } else {
        Buf *buf = l->buf[load->val->id];
        Sx *x = buf ? sx_load(buf, buf_offset(buf, load->a), 0) : gen_apart(l, b, load->val, load->a);
        append(b, (Stmt){.kind = ST_INT, .var = load, .value = x});
    }
    have_symbol(p, load);
}

// Products of numbers that the data give are checked factor by factor, so that none leaves int64: below 2^31
// before the last factor, and 2^48 in all; where one may be negative, as far below 0.
static void check_products(Lower *l, Ex e, Block *b) {
    Program *p = l->prog;
    int unknown = 0;
    bool negative = false;
    for (int i = 0; i < e->n && e->kind == X_MUL; i++) {
        unknown += !known_at_entry(p, e->a[i]);
        negative |= e->a[i]->lo < 0;
    }
    if (unknown > 1 && !have(p, e)) {
        Ex prefix = e_int(1);
        for (int i = 0; i < e->n; i++) {
            prefix = e_mul(prefix, e->a[i]);
            int64_t most = INT64_C(1) << (i + 1 < e->n ? 31 : 48);
            if (negative) set_status(b, "CNN_ESHAPE", e_sub(prefix, e_max(e_min(prefix, e_int(most)), e_int(-most))), e_int(1));
            else if (i > 0) set_status(b, "CNN_ESHAPE", prefix, e_int(most));
        }
        PUSH(p->have, p->nhave, p->cap_have, e);
    }
    for (int i = 0; i < e->n; i++) check_products(l, e->kind == X_SUM ? e->t[i].m : e->a[i], b);
}

static void lower_guard(Lower *l, const Guard *q, Block *b) {
    check_products(l, q->a, b);
    check_products(l, q->b, b);
    Ex d = e_sub(q->a, q->b), one = e_int(1);
    switch (q->kind) {
    case G_MUST:
    case G_EQ: set_status(b, "CNN_ESHAPE", d, one); return;
    case G_GE: set_status(b, "CNN_ESHAPE", d, e_int(INT64_MAX)); return;
    case G_BROADCAST: set_status(b, "CNN_ESHAPE", e_mul(e_sub(q->b, one), d), one); return;
    case G_DIV: set_status(b, "CNN_ESHAPE", e_mod(q->a, q->b), one); return;
    }
}

// The guards whose parts are there; those of inputs' sizes alone are checked on entry.
static void lower_guards(Lower *l, Block *b) {
    for (int i = 0; i < l->g->nguard; i++) {
        const Guard *q = &l->g->guard[i];
        if (l->guarded[i] || !all_among(l->prog, q->a, l->prog->nhave) || !all_among(l->prog, q->b, l->prog->nhave)) continue;
        l->guarded[i] = true;
        bool bounds = q->kind == G_GE && q->b->kind == X_LOAD && q->b->val->node->g == l->g && known_at_entry(l->prog, q->a); // checked before all use
        if (bounds && !have_bound(l->prog, q->b)) set_bound(l->prog, q->b, q->a);
        if (l->up || !known_at_entry(l->prog, q->a) || !known_at_entry(l->prog, q->b)) lower_guard(l, q, b);
    }
}

void lower_loads(Lower *l, const Node *n, Block *b) {
    for (int i = 0; i < l->nload; i++) {
        const Val *v = l->load[i]->val;
        if (n ? v->node == n : !l->root[v->id]) declare(l, b, l->load[i]);
    }
    for (int i = 0; n && (n->op == P_if || n->op == P_loop) && i < n->nout; i++)
        for (int k = 0; k < n->out[i].rank && n->out[i].kind == K_TENSOR; k++) have_symbol(l->prog, n->out[i].shape[k]);
    lower_guards(l, b);
}

// ---- room -------------------------------------------------------------------------------------

void set_bound(Program *p, Ex var, Ex most) {
    if (var == most) return;
    PUSH(p->bound_var, p->nbound, p->cap_bound_var, var);
    p->nbound--;
    PUSH(p->bound, p->nbound, p->cap_bound, most);
}

Ex program_bound(const Program *p, Ex e) {
    for (int step = 0; step < 8 && !known_at_entry(p, e); step++) {
        Ex by = e_bound(e_subst_all(e, p->nbound, p->bound_var, p->bound));
        if (!by || by == e) return NULL;
        e = by;
    }
    return known_at_entry(p, e) ? e : NULL;
}

// An equal number of elements by a guard, as of a reshape.
static Ex guarded_numel(const Program *p, const Val *v) {
    Ex n = val_numel(v);
    for (const Graph *g = v->node->g; g; g = g->parent)
        for (int i = 0; i < g->nguard; i++) {
            const Guard *q = &g->guard[i];
            Ex other = q->a == n ? q->b : q->b == n ? q->a : NULL;
            Ex most = other && q->kind == G_EQ ? program_bound(p, other) : NULL;
            if (most) return most;
        }
    return NULL;
}

static bool named(const char *option, const char *name) {
    size_t n = name ? strlen(name) : 0;
    return n && !strncmp(option, name, n) && option[n] == '=';
}

static int64_t given_cap(const Options *opt, const Buf *b) { // bytes, or -1
    for (int i = 0; opt && i < opt->ncap; i++)
        if (named(opt->cap[i], b->name) || (b->val && (named(opt->cap[i], b->val->name) || named(opt->cap[i], b->val->node->name))))
            return strtoll(strrchr(opt->cap[i], '=') + 1, NULL, 10);
    return -1;
}

SizeKind bound_size(const Program *p, const Options *opt, Buf *b) {
    if (b->dynamic) return SIZE_DYNAMIC;
    if (known_at_entry(p, b->size)) return SIZE_BOUND;
    Ex most = program_bound(p, b->size), numel = b->val && !most ? guarded_numel(p, b->val) : NULL;
    if (numel) most = e_add(numel, e_int(b->slack));
    int64_t cap = most ? -1 : given_cap(opt, b);
    b->dynamic = !most && cap < 0;
    if (b->dynamic) return SIZE_DYNAMIC;
    b->size = most ? most : e_int(cap / (int64_t)dt_size(b->dt) + b->slack);
    return most ? SIZE_BOUND : SIZE_CAP;
}

void make_room(Buf *buf, Ex numel, Block *b) {
    buf->placed = true;
    append(b, (Stmt){.kind = ST_ROOM, .buf = buf, .e = e_add(numel, e_int(buf->slack))});
}

void check_room(Lower *l, Buf *buf, Ex numel, Block *b) {
    if (!all_among(l->prog, numel, l->prog->nhave)) return; // a branch or an iteration checks
    check_products(l, numel, b);
    Ex bytes = buf->kind == B_OUTPUT && is_packed(buf->val) ? packed_bytes(buf->val, numel) : e_mul(numel, e_int((int64_t)dt_size(buf->dt)));
    if (buf->kind == B_OUTPUT && !known_at_entry(l->prog, val_numel(buf->val))) { // else checked there
        Ex cap = e_sym(arena_printf("cap%d", buf->port), 0, INT64_MAX); // what the caller gives, in bytes
        set_status(b, "CNN_ECAPACITY", e_sub(cap, bytes), e_int(INT64_MAX));
    } else if (buf->kind == B_WORK && !buf->alias) {
        SizeKind kind = bound_size(l->prog, l->opt, buf);
        if (kind == SIZE_DYNAMIC) make_room(buf, numel, b);
        if (kind != SIZE_CAP) return;
        Ex room = e_mul(e_sub(buf->size, e_int(buf->slack)), e_int((int64_t)dt_size(buf->dt)));
        set_status(b, "CNN_ECAPACITY", e_sub(room, bytes), e_int(INT64_MAX));
    }
}
