// SPDX-License-Identifier: Apache-2.0
// Long sums in parts. A sum of n numbers in one chain has an error that grows with n: 1e-5 of the sum at
// ten thousand numbers, more than all the rest of a network. So a chain of float additions that is too
// long is cut into parts, which are added to the sum, and so on upwards:
//
//     for r s += x[r]   ->   for c { p = 0; for r in chunk c p += x[r]; s += p }
//
// How a sum is cut depends on shapes alone. The accumulators of a register tile have to make room for
// those of their parts at each cut, so their parts are longer. --exact keeps the chains.
#include "loop/loop.h"

enum { PART = 64, TILE_PART = 384 }; // steps

typedef struct { Local **v; int n, cap; } Locals;
typedef struct { Locals sum, own, other; } Uses; // updated by additions; declared inside; used in another way

static bool among(const Locals *s, const Local *v) {
    for (int i = 0; i < s->n; i++)
        if (s->v[i] == v) return true;
    return false;
}

static void include(Locals *s, Local *v) {
    if (!among(s, v)) PUSH(s->v, s->n, s->cap, v);
}

static void read_locals(const Sx *x, Uses *u) {
    if (!x) return;
    if (x->kind == SX_LOCAL) include(&u->other, x->local);
    for (int i = 0; i < x->n; i++) read_locals(x->a[i], u);
}

static void find_uses(const Stmt *s, Uses *u) {
    for (; s; s = s->next) {
        read_locals(s->value, u);
        if (s->kind == ST_LET) include(&u->own, s->local);
        else if (s->kind == ST_ACC && s->fn == RED_ADD && dt_is_float(s->local->dt)) include(&u->sum, s->local);
        else if (s->local) include(&u->other, s->local);
        find_uses(s->body, u);
        find_uses(s->els, u);
    }
}

// The sums that a loop continues; false: none, or one is used in another way too.
static bool sums_of(const Stmt *loop, Locals *sums) {
    Uses u = {0};
    find_uses(loop->body, &u);
    for (int i = 0; i < u.sum.n; i++) {
        if (among(&u.other, u.sum.v[i])) return false;
        if (!among(&u.own, u.sum.v[i])) include(sums, u.sum.v[i]);
    }
    return sums->n > 0;
}

static bool updates(const Stmt *s, const Locals *sums, Ex lane) {
    for (; s; s = s->next) {
        if (s->kind == ST_ACC && among(sums, s->local) && (!lane || (s->e && e_uses(s->e, lane)))) return true;
        if (updates(s->body, sums, lane) || updates(s->els, sums, lane)) return true;
    }
    return false;
}

// The one loop of a list that holds all updates of the sums.
static Stmt *loop_of(Stmt *list, const Locals *sums) {
    Stmt *found = NULL;
    for (Stmt *s = list; s; s = s->next) {
        Stmt one = *s;
        one.next = NULL;
        if (!updates(&one, sums, NULL)) continue;
        if (found || s->kind != ST_FOR) return NULL;
        found = s;
    }
    return found;
}

static void rename_sum(Stmt *s, const Local *from, Local *to) {
    for (; s; s = s->next) {
        if (s->kind == ST_ACC && s->local == from) s->local = to;
        rename_sum(s->body, from, to);
        rename_sum(s->els, from, to);
    }
}

// Steps that a loop's body adds to a sum.
static int64_t adds(const Stmt *s, const Local *sum) {
    int64_t n = 0;
    for (; s; s = s->next) n += (s->kind == ST_ACC && s->local == sum) + adds(s->body, sum) + adds(s->els, sum);
    return n;
}

// The steps of a chunk for parts of about `part` steps, `inside` to each step of the loop: a divisor of the
// extent where one is near, so that all parts are equal.
static int64_t chunk_size(int64_t extent, int64_t inside, int64_t part) {
    int64_t size = inside < part ? part / inside : 1;
    for (int64_t s = size + size / 2; extent > 0 && s > size / 2; s--)
        if (extent % s == 0) return s;
    return size;
}

// The loop runs in chunks of `size` steps, each a part of the sums.
static void cut(Lower *l, Stmt *loop, const Locals *sums, int64_t size) {
    Ex n = e_sub(loop->hi, loop->lo), var = e_index(arena_printf("cut%d", l->next_local++), e_ceil_div(n, e_int(size)));
    Block *b = block_new(NULL), *end = block_new(NULL);
    Stmt in = *loop;
    int64_t extent;
    in.lo = e_add(loop->lo, e_scale(var, size));
    in.hi = e_add(in.lo, e_int(size));
    if (!e_is_const(n, &extent) || extent % size) in.hi = e_min(loop->hi, in.hi);
    for (int i = 0; i < sums->n; i++) {
        Local *sum = sums->v[i], *part = local_new(l, "sub", sum->dt, sum->lanes, sum->vector);
        append(b, (Stmt){.kind = ST_LET, .local = part, .value = reduce_init(RED_ADD, sum->dt)});
        rename_sum(in.body, sum, part);
        Ex q = sum->lanes && !sum->vector ? e_index(arena_printf("q%d", l->next_local++), e_int(sum->lanes)) : NULL;
        Block *to = q && q->kind == X_VAR ? for_loop(end, q, e_int(0), q->extent, 1, NULL) : end;
        append(to, (Stmt){.kind = ST_ACC, .local = sum, .fn = RED_ADD, .e = q, .value = sx_local(part, q)});
    }
    append(b, in)->next = end->first;
    *loop = (Stmt){.kind = ST_FOR, .next = loop->next, .var = var, .lo = e_int(0), .hi = var->extent, .step = 1, .body = b->first};
}

// The extent of a loop, or -1; of one whose bounds were tightened, what it had before.
static int64_t extent_of(const Stmt *loop) {
    int64_t n;
    if (e_is_const(e_sub(loop->hi, loop->lo), &n) || (loop->var->extent && e_is_const(loop->var->extent, &n))) return n;
    return -1;
}

// Cuts the sums of a nest of loops; the statements inside, where further sums may be.
static Stmt *cut_nest(Lower *l, Stmt *loop) {
    Stmt *path[MAX_RANK], *inside = loop->body;
    Locals sums = {0};
    int n = 0;
    if (!sums_of(loop, &sums)) return inside;
    for (Stmt *s = loop; s && n < MAX_RANK && s->step == 1 && !s->parallel && !updates(s->body, &sums, s->var); s = loop_of(s->body, &sums)) {
        path[n++] = s;
        inside = s->body;
    }
    int64_t steps = adds(inside, sums.v[0]), part = sums.v[0]->vector ? TILE_PART : PART;
    for (int k = n - 1; k >= 0; k--) {
        int64_t extent = extent_of(path[k]);
        if (extent >= 0 && extent <= 2 * part / steps) {
            steps *= extent > 0 ? extent : 1;
            continue;
        }
        int64_t size = chunk_size(extent, steps, part), parts = (extent + size - 1) / size;
        cut(l, path[k], &sums, size);
        if (extent < 0) cut(l, path[k], &sums, part);
        steps = extent < 0 ? part : parts;
        if (parts > 2 * part) steps = 1, k++; // many parts: they are added in parts themselves
    }
    return inside;
}

void sum_parts(Lower *l, Stmt *list) {
    for (Stmt *s = list; s; s = s->next) {
        sum_parts(l, s->kind == ST_FOR ? cut_nest(l, s) : s->body);
        sum_parts(l, s->els);
    }
}
