// SPDX-License-Identifier: Apache-2.0
// Explicit lanes for reductions. A C compiler may not change the order of a floating-point sum, so that
// a plain sum runs one addition after the other. Two forms give it lanes, fixed by shapes alone:
//
//   across   the innermost loop outside the sum becomes blocks of lanes and moves inside the sum:
//            for c { s = 0; for r s += x[r, c]; y[c] = s }  ->  float s[L]; for r for q s[q] += x[r, c0 + q]
//   along    the sum's innermost loop is cut into L partial sums, which are added pairwise at the end:
//            for r s += x[r]  ->  float s[L]; for r0 for q s[q] += x[r0*L + q]
//
// Loops over lanes have a constant number of steps and hold plain scalar statements; compilers make
// vectors of them, whole blocks of 32 floats best.
#include "loop/tile.h"

enum { BLOCK_BYTES = 256, LEAST_ALONG = 8, FARTHEST = 4 };

// ---- what a nest holds ------------------------------------------------------------------------

static bool holds_local(const Sx *x) {
    if (x->kind == SX_LOCAL) return true;
    for (int i = 0; i < x->n; i++)
        if (holds_local(x->a[i])) return true;
    return false;
}

static bool depends(const Sx *x, Ex c) {
    if (x->e && e_uses(x->e, c)) return true;
    for (int i = 0; i < x->nguard; i++)
        if (e_uses(x->guard[i].e, c) || e_uses(x->guard[i].n, c)) return true;
    for (int i = 0; i < x->n; i++)
        if (depends(x->a[i], c)) return true;
    return false;
}

// An index that is the same for all lanes.
static bool same_index(const Stmt *s, Ex c) {
    return c && s->kind == ST_INDEX && !e_uses(s->hi, c) && !holds_local(s->value) && !depends(s->value, c);
}

// Only what lanes can run: no vectors, no status and no integers but what is the same for every value of c, if it is given.
static bool plain(const Stmt *s, Ex c) {
    for (; s; s = s->next) {
        bool ok = s->kind == ST_FOR || same_index(s, c) || s->kind == ST_LET || s->kind == ST_SET || s->kind == ST_ACC || s->kind == ST_STORE ||
                  s->kind == ST_IF || s->kind == ST_BLOCK;
        if (!ok || (s->local && s->local->lanes) || s->parallel || !plain(s->body, c) || !plain(s->els, c)) return false;
        if (s->kind == ST_ACC && (s->fn == RED_ARGMAX || s->fn == RED_ARGMIN)) return false;
    }
    return true;
}

typedef struct { Ex var; int64_t farthest; bool unit, any; } Strides;

static void strides_of_sx(const Sx *x, Strides *s) {
    if (!x) return;
    if (x->kind == SX_LOAD && e_uses(x->e, s->var)) {
        int64_t by;
        if (!e_is_const(tile_stride(x->e, s->var), &by)) by = INT64_MAX;
        if (by < 0) by = by == INT64_MIN ? INT64_MAX : -by;
        s->unit |= by == 1;
        if (by > s->farthest) s->farthest = by;
        s->any = true;
    }
    for (int i = 0; i < x->n; i++) strides_of_sx(x->a[i], s);
}

static void strides_of(const Stmt *st, Strides *s) {
    for (; st; st = st->next) {
        strides_of_sx(st->value, s);
        strides_of(st->body, s);
        strides_of(st->els, s);
    }
}

// ---- across -----------------------------------------------------------------------------------

typedef struct { Local *v; int segment; bool crosses; } Life;
typedef struct {
    Ex c, q, at;      // c becomes at + q
    int64_t lanes;    // of arrays
    Ex count;         // of lanes in use
    Life *life;
    int nlife, cap_life, segment;
} Strip;

// A statement that stays a loop or a condition around loops over lanes.
static bool structure(const Strip *p, const Stmt *s) {
    if (s->kind == ST_INDEX) return true;
    if (s->kind == ST_FOR) return !e_uses(s->lo, p->c) && !e_uses(s->hi, p->c);
    if (s->kind != ST_IF || s->value || (!stmt_holds_loop(s->body) && !stmt_holds_loop(s->els))) return false;
    for (int i = 0; i < s->nguard; i++)
        if (e_uses(s->guard[i].e, p->c) || e_uses(s->guard[i].n, p->c)) return false;
    return true;
}

static void note(Strip *p, Local *v) {
    for (int i = 0; i < p->nlife; i++) {
        if (p->life[i].v != v) continue;
        p->life[i].crosses |= p->life[i].segment != p->segment;
        return;
    }
    PUSH(p->life, p->nlife, p->cap_life, ((Life){v, p->segment, false}));
}

static void note_sx(Strip *p, const Sx *x) {
    if (!x) return;
    if (x->kind == SX_LOCAL) note(p, x->local);
    for (int i = 0; i < x->n; i++) note_sx(p, x->a[i]);
}

static void note_stmts(Strip *p, const Stmt *s) {
    for (; s; s = s->next) {
        if (s->local) note(p, s->local);
        note_sx(p, s->value);
        note_stmts(p, s->body);
        note_stmts(p, s->els);
    }
}

// Which locals live longer than one loop over lanes.
static void find_lives(Strip *p, const Stmt *list) {
    p->segment++;
    for (const Stmt *s = list; s; s = s->next) {
        if (structure(p, s)) {
            find_lives(p, s->body);
            find_lives(p, s->els);
            p->segment++;
        } else {
            Stmt one = *s;
            one.next = NULL;
            note_stmts(p, &one);
        }
    }
    p->segment++;
}

static bool crosses(const Strip *p, const Local *v) {
    for (int i = 0; i < p->nlife; i++)
        if (p->life[i].v == v) return p->life[i].crosses;
    return false;
}

static void into_lanes_sx(const Strip *p, Sx *x) {
    if (!x) return;
    if (x->kind == SX_LOCAL && !x->local->vector && crosses(p, x->local)) x->e = p->q;
    for (int i = 0; i < x->n; i++) into_lanes_sx(p, x->a[i]);
}

static void into_lanes(const Strip *p, Stmt *s) {
    for (; s; s = s->next) {
        into_lanes_sx(p, s->value);
        if ((s->kind == ST_SET || s->kind == ST_ACC) && crosses(p, s->local)) s->e = p->q;
        into_lanes(p, s->body);
        into_lanes(p, s->els);
    }
}

static void flush(const Strip *p, Block *out, Block **segment) {
    Stmt *list = (*segment)->first;
    *segment = block_new(out);
    if (!list) return;
    Stmt *loop = append(out, (Stmt){.kind = ST_FOR, .var = p->q, .lo = e_int(0), .hi = p->count, .step = 1, .simd = true, .body = list});
    stmt_subst(loop->body, 1, &p->c, &(Ex){e_add(p->at, p->q)});
}

static Stmt *strip(const Strip *p, const Stmt *list, Block *up) {
    Block *out = block_new(up), *segment = block_new(out);
    for (const Stmt *s = list; s; s = s->next) {
        Stmt one = *s;
        one.next = NULL;
        if (structure(p, s)) {
            flush(p, out, &segment);
            one.body = s->body ? strip(p, s->body, out) : NULL;
            one.els = s->els ? strip(p, s->els, out) : NULL;
            append(out, one);
            continue;
        }
        Stmt *copy = stmt_copy(&one);
        into_lanes(p, copy);
        if (copy->kind == ST_LET && crosses(p, copy->local)) {
            copy->local->lanes = (int)p->lanes;
            bool number = copy->value && copy->value->kind == SX_NUM;
            append(out, (Stmt){.kind = ST_LET, .local = copy->local, .value = number ? copy->value : NULL});
            if (number || !copy->value) continue;
            copy->kind = ST_SET;
            copy->e = p->q;
        }
        append(segment, *copy);
    }
    flush(p, out, &segment);
    return out->first;
}

static int64_t lanes_across(Ex n, DType dt) {
    int64_t c, unit = dt_size(dt) == 8 ? 4 : 8, most = BLOCK_BYTES / (dt_size(dt) == 8 ? 8 : 4);
    if (!e_is_const(n, &c)) return most / 2;
    if (c <= most) return c;
    for (int64_t l = most; l >= most / 2; l -= unit)
        if (c % l == 0) return l;
    return most / 2;
}

// The first accumulator of a list that a loop beside it updates.
static const Local *accumulator(const Stmt *s) {
    for (; s; s = s->next) {
        if (s->kind == ST_ACC) return s->local;
        const Local *v = accumulator(s->body);
        if (!v) v = accumulator(s->els);
        if (v) return v;
    }
    return NULL;
}

static Block *block_of_loop(Block *up, Stmt *loop) {
    Block *b = block_new(up);
    b->tail = &loop->body;
    return b;
}

// loop: the innermost one outside the sums. It becomes one over blocks of lanes, the rest follows it.
static void across(Stmt *loop, DType dt) {
    static int count;
    int64_t lanes = lanes_across(loop->hi, dt), n;
    Strip *p = NEW(Strip);
    *p = (Strip){.c = loop->var, .lanes = lanes, .count = e_int(lanes), .q = e_index(arena_printf("q%d", count++), e_int(lanes))};
    find_lives(p, loop->body);
    Ex blocks = e_div(loop->hi, e_int(lanes)), rest = e_mod(loop->hi, e_int(lanes));
    Ex block = e_index(arena_printf("q%d", count++), blocks);
    Block *out = block_new(NULL);
    if (block->kind == X_VAR) {
        Stmt *s = append(out, (Stmt){.kind = ST_FOR, .var = block, .lo = e_int(0), .hi = blocks, .step = 1, .parallel = loop->parallel, .whole = true});
        p->at = e_scale(block, lanes);
        s->body = strip(p, loop->body, block_of_loop(out, s));
    } else {
        p->at = e_int(0);
        append(out, (Stmt){.kind = ST_BLOCK, .body = strip(p, loop->body, out)});
    }
    if (!e_is_const(rest, &n) || n > 0) {
        p->at = e_scale(blocks, lanes);
        p->count = rest;
        append(out, (Stmt){.kind = ST_BLOCK, .body = strip(p, loop->body, out)});
    }
    Stmt *last = out->first;
    while (last->next) last = last->next;
    last->next = loop->next;
    *loop = *out->first;
}

static void loads_in_loops(const Stmt *s, Strides *of) {
    for (; s; s = s->next) {
        if (s->kind == ST_FOR) strides_of(s->body, of);
        else {
            loads_in_loops(s->body, of);
            loads_in_loops(s->els, of);
        }
    }
}

// ---- along ------------------------------------------------------------------------------------

static int64_t lanes_along(Ex n, DType dt) {
    int64_t c, most = BLOCK_BYTES / 2 / (dt_size(dt) == 8 ? 8 : 4);
    if (!e_is_const(n, &c) || c >= 4 * most) return most;
    return c >= most ? most / 2 : most / 4;
}

// The update of acc in a list; NULL: none, or more than one.
static Stmt *only_update(Stmt *s, const Local *acc, int *count) {
    Stmt *found = NULL;
    for (; s; s = s->next) {
        if (s->local == acc && s->kind == ST_ACC) found = s, ++*count;
        else if (s->local == acc) *count = 2;
        Stmt *in = only_update(s->body, acc, count);
        if (in) found = in;
        in = only_update(s->els, acc, count);
        if (in) found = in;
    }
    return found;
}

static Stmt *innermost(Stmt *loop) {
    while (loop->body && !loop->body->next && loop->body->kind == ST_FOR) loop = loop->body;
    return loop;
}

static void set_lane(Stmt *s, const Local *acc, Local *lanes, Ex q) {
    for (; s; s = s->next) {
        if (s->kind == ST_ACC && s->local == acc) s->local = lanes, s->e = q;
        set_lane(s->body, acc, lanes, q);
        set_lane(s->els, acc, lanes, q);
    }
}

// let: the accumulator's declaration, loop: the sum's loops, which follow it.
static bool along(Lower *l, Stmt *let, Stmt *loop) {
    static int count;
    Local *acc = let->local;
    Stmt *in = innermost(loop);
    int updates = 0;
    const Stmt *update = only_update(loop, acc, &updates);
    Strides s = {.var = in->var};
    strides_of(in->body, &s);
    int64_t n;
    if (updates != 1 || stmt_holds_loop(in->body) || !plain(in->body, NULL) || !e_is(in->lo, 0) || in->step != 1 || in->simd) return false;
    if (!s.unit || s.farthest > FARTHEST || (e_is_const(in->hi, &n) && n < LEAST_ALONG)) return false;
    int64_t lanes = lanes_along(in->hi, acc->dt);
    Local *part = local_new(l, "part", acc->dt, (int)lanes, false);
    Ex q = e_index(arena_printf("w%d", count++), e_int(lanes)), blocks = e_div(in->hi, e_int(lanes)), rest = e_mod(in->hi, e_int(lanes));
    Ex block = e_index(arena_printf("w%d", count++), blocks);
    Stmt *body = in->body, *tail = stmt_copy(body), *after = loop->next;
    int fn = update->fn;
    set_lane(body, acc, part, q), set_lane(tail, acc, part, q);
    stmt_subst(body, 1, &in->var, &(Ex){e_add(e_scale(block, lanes), q)});
    stmt_subst(tail, 1, &in->var, &(Ex){e_add(e_scale(blocks, lanes), q)});
    Block *b = block_new(NULL);
    append(block->kind == X_VAR ? for_loop(b, block, e_int(0), blocks, 1, NULL) : b,
           (Stmt){.kind = ST_FOR, .var = q, .lo = e_int(0), .hi = e_int(lanes), .step = 1, .simd = true, .body = body});
    if (!e_is_const(rest, &n) || n > 0)
        append(b, (Stmt){.kind = ST_FOR, .var = q, .lo = e_int(0), .hi = rest, .step = 1, .simd = true, .body = tail});
    Block *end = block_new(NULL);
    for (int64_t w = lanes / 2; w > 0; w /= 2) {
        Ex at = e_index(arena_printf("w%d", count++), e_int(w));
        Block *half = at->kind == X_VAR ? for_loop(end, at, e_int(0), e_int(w), 1, NULL) : end;
        append(half, (Stmt){.kind = ST_ACC, .local = part, .fn = fn, .e = at, .value = sx_local(part, e_add(at, e_int(w)))});
    }
    append(end, (Stmt){.kind = ST_LET, .local = acc, .value = sx_local(part, e_int(0))})->next = after;
    *let = (Stmt){.kind = ST_LET, .local = part, .value = let->value, .next = let->next};
    if (in == loop) { // its place takes what it became
        Stmt *last = b->first;
        while (last->next) last = last->next;
        last->next = end->first;
        *loop = *b->first;
    } else {
        *in = (Stmt){.kind = ST_BLOCK, .body = b->first};
        loop->next = end->first;
    }
    return true;
}

// ---- the nest ---------------------------------------------------------------------------------

static void split_loops(Stmt *loop) {
    for (Stmt *s = loop; s && s->kind == ST_FOR; s = s->body && !s->body->next ? s->body : NULL) nest_split(s);
}

// Sorts loops of a sum that stand in each other so that the one with the least stride is the innermost.
static void sort_loops(Stmt *loop) {
    Stmt *v[MAX_RANK];
    int n = 0;
    for (Stmt *s = loop; n < MAX_RANK; s = s->body) {
        v[n++] = s;
        if (!s->body || s->body->next || s->body->kind != ST_FOR) break;
    }
    const Stmt *body = v[n - 1]->body;
    for (int i = 1; i < n; i++)
        for (int j = i; j > 0; j--) {
            Strides a = {.var = v[j - 1]->var}, b = {.var = v[j]->var};
            strides_of(body, &a), strides_of(body, &b);
            bool free = !e_uses(v[j]->lo, a.var) && !e_uses(v[j]->hi, a.var);
            if (!free || !a.any || a.farthest >= b.farthest || v[j]->step != 1 || v[j - 1]->step != 1) break;
            Stmt swap = *v[j];
            v[j]->var = v[j - 1]->var, v[j]->lo = v[j - 1]->lo, v[j]->hi = v[j - 1]->hi;
            v[j - 1]->var = swap.var, v[j - 1]->lo = swap.lo, v[j - 1]->hi = swap.hi;
        }
}

static void each_sum(Lower *l, Stmt *list, bool lanes) {
    for (Stmt *s = list; s; s = s->next) {
        if (s->kind == ST_LET && !s->local->lanes && s->next && s->next->kind == ST_FOR) {
            int n = 0;
            const Stmt *u = only_update(s->next, s->local, &n);
            if (u && n == 1 && u->fn != RED_ARGMAX && u->fn != RED_ARGMIN) {
                if (!lanes) split_loops(s->next), sort_loops(s->next), nest_collapse(s->next);
                else if (along(l, s, s->next)) continue;
            }
        }
        each_sum(l, s->body, lanes);
        each_sum(l, s->els, lanes);
    }
}

void nest_lanes(Lower *l, Stmt *list, Stmt *loop) {
    each_sum(l, list, false);
    while (loop && loop->body && !loop->body->next && loop->body->kind == ST_FOR) loop = loop->body;
    bool element = loop && loop->step == 1 && e_is(loop->lo, 0) && plain(loop->body, loop->var) && stmt_holds_loop(loop->body);
    const Local *acc = element ? accumulator(loop->body) : NULL;
    if (acc) {
        Strides s = {.var = loop->var};
        loads_in_loops(loop->body, &s);
        int64_t n;
        if (s.any && s.farthest <= FARTHEST && (!e_is_const(loop->hi, &n) || n >= 4)) {
            across(loop, acc->dt);
            return;
        }
    }
    each_sum(l, list, true);
}
