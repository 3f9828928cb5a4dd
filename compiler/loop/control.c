// SPDX-License-Identifier: Apache-2.0
// Nodes that are more than one nest: scatter, scan, sort, random, and the regions of if and loop.
#include "loop/loop.h"

static Block *loops(Block *b, int rank, const Ex *shape, int skip, Ex *idx, Stmt **outer) {
    static const char *const name[] = {"i", "j", "k", "l", "m", "n"};
    static int count;
    if (outer) *outer = NULL;
    for (int i = 0; i < rank; i++) {
        if (i == skip) continue;
        Stmt *s;
        idx[i] = e_index(arena_printf("%sc%d", name[i % 6], count++), shape[i]);
        if (idx[i]->kind != X_VAR) continue;
        b = for_loop(b, idx[i], e_int(0), shape[i], 1, &s);
        if (outer && !*outer) *outer = s;
    }
    return b;
}

static void func(Block *to, Block *body, const Node *n, Buf *out) {
    append(to, (Stmt){.kind = ST_FUNC, .body = body->first, .buf = out, .text = n->name});
}

// out = x; out[.., index, ..] fn= upd, in the order of upd
static void lower_scatter(Lower *l, Node *n, Block *b) {
    Buf *out = l->buf[n->out[0].id];
    Val *index = n->in[1], *upd = n->in[2];
    Ex idx[MAX_RANK];
    static int count;
    Ex size = n->out[0].shape[n->axis], at = e_sym(arena_printf("at%d", count++), 0, INT64_MAX);
    if (l->buf[n->in[0]->id] != out) nest_copy(l, n->in[0], out, NULL, b);
    else { // a state: no index may be wrong before anything is written
        Block *check = block_new(l->main), *each = loops(check, index->rank, index->shape, -1, idx, NULL);
        Sx *i = gen(l, each, index, idx);
        append(each, (Stmt){.kind = ST_INDEX, .var = at, .hi = size, .value = i});
        func(b, check, n, NULL);
        at = e_sym(arena_printf("at%d", count++), 0, INT64_MAX);
    }
    Block *f = block_new(l->main), *body = loops(f, upd->rank, upd->shape, -1, idx, NULL);
    Sx *i = gen(l, body, index, idx), *u = gen(l, body, upd, idx);
    append(body, (Stmt){.kind = ST_INDEX, .var = at, .hi = size, .value = i});
    idx[n->axis] = at;
    append(body, (Stmt){.kind = ST_UPDATE, .buf = out, .fn = n->fn, .e = buf_offset(out, idx), .value = u});
    func(b, f, n, out);
}

// y[i] = fn of x[0..i] (exclusive: of x[0..i-1]) along the axis, or from its end
static void lower_scan(Lower *l, Node *n, Block *b) {
    Buf *out = l->buf[n->out[0].id];
    const Val *v = &n->out[0];
    Ex idx[MAX_RANK], k = e_index("q0", v->shape[n->axis]);
    bool exclusive = n->flag & 1, reverse = n->flag & 2, half = dt_is_float(v->dt) && v->dt != F64;
    DType dt = half ? F32 : v->dt;
    Block *f = block_new(l->main), *body = loops(f, v->rank, v->shape, n->axis, idx, NULL);
    Local *acc = local_new(l, "acc", dt, 0, false);
    append(body, (Stmt){.kind = ST_LET, .local = acc, .value = reduce_init((Red)n->fn, dt)});
    if (k->kind == X_VAR) body = for_loop(body, k, e_int(0), v->shape[n->axis], 1, NULL);
    idx[n->axis] = reverse ? e_sub(e_sub(v->shape[n->axis], e_int(1)), k) : k;
    Sx *x = gen(l, body, n->in[0], idx), *sum = sx_local(acc, NULL);
    if (dt != v->dt) {
        x = sx_fn(FN_cast, dt, 1, &x);
        sum = sx_fn(FN_cast, v->dt, 1, &sum);
    }
    if (exclusive) x = sx_let(l, body, x); // x may be where y goes
    Stmt store = {.kind = ST_STORE, .buf = out, .e = buf_offset(out, idx), .value = sum};
    Stmt step = {.kind = ST_ACC, .local = acc, .fn = n->fn, .value = x};
    append(body, exclusive ? store : step);
    append(body, exclusive ? step : store);
    func(b, f, n, out);
}

static bool is_row_major(const Buf *b) {
    for (int i = 0; i < b->rank; i++)
        if (b->order[i] != i) return false;
    return true;
}

// A splat, an index or a dimension has no buffer of its own; one of another memory order is copied.
Buf *in_memory(Lower *l, Val *v, Block *b) {
    if (l->buf[v->id] && is_row_major(l->buf[v->id])) return l->buf[v->id];
    Buf *to = buf_new(l->prog, B_WORK, v->dt, v->rank, v->shape, arena_printf("spread%d", l->prog->nbufs));
    check_room(l, to, val_numel(v), b);
    nest_copy(l, v, to, NULL, b);
    return to;
}

static void lower_sort(Lower *l, Node *n, Block *b) {
    Val *x = n->in[0];
    Buf *values = l->buf[n->out[0].id], *index = l->buf[n->out[1].id], *from = in_memory(l, x, b);
    Ex idx[MAX_RANK], size = x->shape[n->axis];
    Buf *tmp = buf_new(l->prog, B_WORK, I64, 1, &size, arena_printf("sort%d", l->prog->nbufs));
    check_room(l, tmp, size, b);
    Block *f = block_new(l->main), *body = loops(f, x->rank, x->shape, n->axis, idx, NULL);
    idx[n->axis] = e_int(0);
    Buf **bufs = NEWN(Buf *, 4);
    Ex *args = NEWN(Ex, 8);
    bufs[0] = from, bufs[1] = values, bufs[2] = index, bufs[3] = tmp;
    args[0] = buf_offset(from, idx), args[1] = from->stride[n->axis];
    args[2] = buf_offset(values, idx), args[3] = values->stride[n->axis];
    args[4] = buf_offset(index, idx), args[5] = index->stride[n->axis];
    args[6] = size, args[7] = e_int(n->flag);
    append(body, (Stmt){.kind = ST_CALL, .text = arena_printf("cnn_sort_%s", dt_name(x->dt)), .nbuf = 4, .nread = 1, .bufs = bufs,
                        .narg = 8, .args = args});
    func(b, f, n, values);
}

static void lower_random(Lower *l, Node *n, Block *b) {
    Buf *out = l->buf[n->out[0].id];
    const Val *v = &n->out[0];
    Ex idx[MAX_RANK], lin = e_int(0);
    Block *f = block_new(l->main), *body = loops(f, v->rank, v->shape, -1, idx, NULL);
    for (int i = 0; i < v->rank; i++) lin = e_add(e_mul(lin, v->shape[i]), idx[i]);
    Sx *x = sx_fn(FN_cast, U32, 2, (Sx *[]){sx_index(I64, n->flag ? n->ex[0] : e_sym("seed", INT64_MIN, INT64_MAX)), sx_index(I64, lin)});
    x->kind = SX_RANDOM;
    x->num.i = n->axis;
    append(body, (Stmt){.kind = ST_STORE, .buf = out, .e = buf_offset(out, idx), .value = x});
    func(b, f, n, out);
}

// ---- regions ----------------------------------------------------------------------------------

static Lower *region(Lower *l, Graph *g) {
    Lower *c = NEW(Lower);
    *c = (Lower){.g = g, .up = l, .opt = l->opt, .prog = l->prog};
    c->buf = NEWN(Buf *, g->nval + 1);
    c->capture = NEWN(Val *, g->nval + 1);
    return c;
}

static void bind_captures(Lower *l, Lower *c, int first, int n, Val *const *cap) {
    for (int i = 0; i < n; i++) {
        Val *p = c->g->in[first + i];
        c->buf[p->id] = l->buf[cap[i]->id];
        if (!c->buf[p->id]) c->capture[p->id] = cap[i];
    }
}

// The buffers of a node's results live from here on, whichever branch or iteration writes them.
static void start_results(Block *b, int n, Buf **bufs) { append(b, (Stmt){.kind = ST_COMMENT, .nbuf = n, .bufs = bufs}); }

static Ex new_int(const char *stem, int64_t lo, int64_t hi) {
    static int count;
    return e_sym(arena_printf("%s%d", stem, count++), lo, hi);
}

static void set_int(Block *b, Ex var, Ex e, Sx *value, bool declared) {
    append(b, (Stmt){.kind = ST_INT, .var = var, .e = value ? NULL : e, .value = value, .unroll = declared});
}

static bool is_own_extent(const Node *n, Ex d) { // a symbol that this node defines
    if (d->kind != X_VAR || d->extent) return false;
    for (int i = 0; i < n->nin; i++)
        for (int k = 0; k < n->in[i]->rank; k++)
            if (e_uses(n->in[i]->shape[k], d)) return false;
    return !symbol_before(n->g, n, d);
}

static void lower_branch(Lower *l, Node *n, Graph *g, Block *b) {
    Lower *c = region(l, g);
    int have = l->prog->nhave;
    bind_captures(l, c, 0, n->nin - 1, n->in + 1);
    lower_prepare(c, false);
    c->main = b;
    lower_graph(c, b);
    for (int i = 0; i < n->nout; i++) {
        if (n->out[i].kind != K_TENSOR) {
            list_copy(c, g->out[i], l->buf[n->out[i].id], b);
            continue;
        }
        for (int k = 0; k < n->out[i].rank; k++)
            if (n->out[i].shape[k] != g->out[i]->shape[k]) set_int(b, n->out[i].shape[k], g->out[i]->shape[k], NULL, true);
        check_room(c, l->buf[n->out[i].id], val_numel(g->out[i]), b);
        nest_copy(c, g->out[i], l->buf[n->out[i].id], NULL, b);
    }
    l->prog->nhave = have; // what the branch declares ends with it
}

static void lower_if(Lower *l, Node *n, Block *b) {
    Graph *then_g = n->region[0].g, *else_g = n->region[1].g;
    Buf **bufs = NEWN(Buf *, n->nout + 1);
    for (int i = 0; i < n->nout; i++) {
        Val *v = &n->out[i];
        Buf *buf = bufs[i] = l->buf[v->id];
        Ex bound = e_int(1);
        if (v->kind != K_TENSOR) continue;
        for (int k = 0; k < v->rank; k++) {
            Ex p = then_g->out[i]->shape[k], q = else_g->out[i]->shape[k];
            if (p != q) set_int(b, v->shape[k], e_int(0), NULL, false);
            set_bound(l->prog, v->shape[k], e_max(p, q));
            bound = e_mul(bound, p == q ? p : e_max(p, q));
        }
        buf->size = e_add(bound, e_int(buf->slack));
    }
    start_results(b, n->nout, bufs);
    Sx *cond = gen_apart(l, b, n->in[0], NULL);
    Stmt *s = append(b, (Stmt){.kind = ST_IF, .value = cond});
    Block *t = block_new(b), *e = block_new(b);
    t->tail = &s->body, e->tail = &s->els;
    lower_branch(l, n, then_g, t);
    lower_branch(l, n, else_g, e);
}

// Whether the run may find carried value i in another shape after an iteration: then it has a place of its
// own in each.
static bool varies(const Node *n, const Graph *body, int i) {
    if (n->out[i].kind != K_TENSOR) return true;
    for (int k = 0; k < body->in[2 + i]->rank; k++) {
        Ex is = body->in[2 + i]->shape[k], first = n->in[2 + i]->shape[k], next = body->out[1 + i]->shape[k];
        if (next != is && next != first) return true;
    }
    return false;
}

// The extents of carried values, of the body's parameters and of the results, as they start: variables.
static void carried_extents(Lower *l, const Node *n, const Graph *body, const bool *vary, Block *b) {
    for (int i = 0; i < n->axis; i++)
        for (int k = 0; k < n->out[i].rank && n->out[i].kind == K_TENSOR; k++) {
            Ex is = body->in[2 + i]->shape[k], first = n->in[2 + i]->shape[k], to = n->out[i].shape[k];
            if (is != first) {
                set_int(b, is, first, NULL, false);
                have_symbol(l->prog, is);
                if (!vary[i]) set_bound(l->prog, is, first);
            }
            if (to != first) {
                set_int(b, to, first, NULL, false);
                if (!vary[i]) set_bound(l->prog, to, first);
            }
        }
}

// Where carried value i is during the loop: where its result goes, unless that is the caller's memory and
// the value has no fixed place.
static Buf *state_buf(Lower *l, const Node *n, int i, bool vary, Block *b) {
    Buf *buf = l->buf[n->out[i].id];
    if (n->out[i].kind != K_TENSOR) return buf;
    if (vary && buf->kind != B_WORK) {
        buf = buf_new(l->prog, B_WORK, buf->dt, buf->rank, buf->shape, arena_printf("state%d", l->prog->nbufs));
        buf->val = (Val *)(uintptr_t)&n->out[i];
    }
    Ex first = val_numel(n->in[2 + i]);
    if (vary) buf->dynamic = buf->apart = true;
    else buf->size = e_add(first, e_int(buf->slack));
    check_room(l, buf, first, b);
    return buf;
}

// The successors of carried values. Those that vary, and those that another one is handed on to, are made
// apart from all of them first.
static void next_states(Lower *c, const Node *n, const bool *vary, Buf **state, Block *b) {
    Graph *g = c->g;
    Buf **next = NEWN(Buf *, n->axis + 1);
    for (int i = 0; i < n->axis; i++) {
        Val *v = g->out[1 + i];
        if (!vary[i] && (v == g->in[2 + i] || v->node->op != P_input)) continue;
        if (v->kind != K_TENSOR) {
            if (c->buf[v->id] == state[i]) continue; // as it was, or grown where it is
            next[i] = list_buf(c, v, arena_printf("next%d", c->prog->nbufs));
            list_copy(c, v, next[i], b);
            continue;
        }
        next[i] = buf_new(c->prog, B_WORK, v->dt, v->rank, v->shape, arena_printf("next%d", c->prog->nbufs));
        next[i]->slack = vary[i] ? state[i]->slack : 0;
        if (vary[i]) {
            next[i]->dynamic = next[i]->apart = true;
            check_room(c, next[i], val_numel(v), b);
        }
        nest_copy(c, v, next[i], NULL, b);
    }
    for (int i = 0; i < n->axis; i++) {
        Val *v = g->out[1 + i];
        if (v == g->in[2 + i] || vary[i]) continue;
        Buf *own = c->buf[v->id];
        if (next[i]) c->buf[v->id] = next[i];
        nest_copy(c, v, state[i], NULL, b);
        c->buf[v->id] = own;
    }
    for (int i = 0; i < n->axis; i++) {
        if (!vary[i] || !next[i]) continue;
        Buf **pair = NEWN(Buf *, 2);
        pair[0] = state[i], pair[1] = next[i];
        append(b, (Stmt){.kind = ST_SWAP, .nbuf = 2, .bufs = pair});
    }
}

// The extents that they have: all are computed before one changes.
static void next_extents(const Node *n, const Graph *g, const bool *vary, Block *b) {
    Ex *is = NULL, *by = NULL;
    int count = 0, cap = 0, cap_by = 0;
    for (int i = 0; i < n->axis; i++)
        for (int k = 0; vary[i] && n->out[i].kind == K_TENSOR && k < n->out[i].rank; k++) {
            Ex first = n->in[2 + i]->shape[k], var[2] = {g->in[2 + i]->shape[k], n->out[i].shape[k]};
            Ex next = var[0] != first || var[1] != first ? new_int("next", 0, INT64_MAX) : NULL;
            if (next) set_int(b, next, g->out[1 + i]->shape[k], NULL, false);
            for (int j = 0; j < 2; j++) {
                if (var[j] == first) continue;
                PUSH(is, count, cap, var[j]);
                count--;
                PUSH(by, count, cap_by, next);
            }
        }
    for (int i = 0; i < count; i++) set_int(b, is[i], by[i], NULL, true);
}

// The results of values that were carried apart from the caller's memory.
static void final_states(Lower *l, Node *n, Buf **state, Block *b) {
    for (int i = 0; i < n->axis; i++) {
        Val *v = &n->out[i];
        Buf *to = l->buf[v->id];
        if (state[i] == to) continue;
        for (int k = 0; k < v->rank; k++) have_symbol(l->prog, v->shape[k]);
        check_room(l, to, val_numel(v), b);
        l->buf[v->id] = state[i];
        nest_copy(l, v, to, NULL, b);
        l->buf[v->id] = to;
    }
}

// Room for the rows of a scan output whose number, or whose size, only the run knows.
static void check_capacity(const Lower *l, Node *n, int i, Ex it, Ex trip, Block *b) {
    Buf *y = l->buf[n->out[i].id];
    bool counted = is_own_extent(n, y->shape[0]), sized = false;
    for (int k = 1; k < y->rank; k++) sized |= is_own_extent(n, y->shape[k]);
    if (!counted && !sized) return;
    Ex each = e_product(y->rank - 1, y->shape + 1), count = counted ? e_add(it, e_int(1)) : y->shape[0];
    if (y->kind == B_OUTPUT) {
        Ex cap = e_sym(arena_printf("cap%d", y->port), 0, INT64_MAX / 8); // what the caller gives, in bytes
        Range *r = NEW(Range);
        *r = (Range){e_sub(cap, e_mul(count, e_mul(each, e_int((int64_t)dt_size(y->dt))))), e_int(INT64_MAX / 4)};
        append(b, (Stmt){.kind = ST_STATUS, .text = "CNN_ECAPACITY", .nguard = 1, .guard = r});
        return;
    }
    Ex most = program_bound(l->prog, counted ? e_max(trip, e_int(0)) : count);
    if (most && most->lo <= INT32_MAX && program_bound(l->prog, e_mul(each, most))) {
        y->size = e_add(e_mul(each, most), e_int(y->slack));
        if (counted) set_bound(l->prog, y->shape[0], most);
        return;
    }
    y->size = e_add(e_mul(each, count), e_int(y->slack));
    if (bound_size(l->prog, l->opt, y) == SIZE_DYNAMIC) {
        y->apart = y->placed = y->grows = true;
        append(b, (Stmt){.kind = ST_ROOM, .fn = 1, .buf = y, .e = e_add(e_mul(each, count), e_int(y->slack))});
        return;
    }
    Range *r = NEW(Range);
    *r = (Range){e_sub(e_sub(y->size, e_int(y->slack)), e_mul(count, each)), e_int(INT64_MAX)};
    append(b, (Stmt){.kind = ST_STATUS, .text = "CNN_ECAPACITY", .nguard = 1, .guard = r});
    if (counted) set_bound(l->prog, y->shape[0], e_div(y->size, e_max(each, e_int(1))));
}

// The rows of a scan output are of one size, which the first iteration says.
static void start_rows(const Lower *l, const Node *n, int i, Block *b) {
    append(b, (Stmt){.kind = ST_ROOM, .fn = 2, .buf = l->buf[n->out[i].id]}); // of an earlier run of this loop none is left
    for (int k = 1; k < n->out[i].rank; k++)
        if (is_own_extent(n, n->out[i].shape[k])) set_int(b, n->out[i].shape[k], e_int(0), NULL, false);
}

static void check_rows(Lower *l, const Node *n, int i, const Val *row, Ex it, Block *b) {
    for (int k = 1; k < n->out[i].rank; k++) {
        Ex is = n->out[i].shape[k];
        if (!is_own_extent(n, is)) continue;
        Range *r = NEWN(Range, 2);
        r[0] = (Range){it, e_int(1)}, r[1] = (Range){e_sub(row->shape[k - 1], is), e_int(1)};
        Stmt *first = append(b, (Stmt){.kind = ST_IF, .nguard = 1, .guard = r});
        Block *then = block_new(b);
        then->tail = &first->body;
        set_int(then, is, row->shape[k - 1], NULL, true);
        append(b, (Stmt){.kind = ST_STATUS, .text = "CNN_ESHAPE", .nguard = 1, .guard = r + 1});
        set_bound(l->prog, is, row->shape[k - 1]);
    }
}

typedef struct { Ex var; bool used; } Use;

static void find_use(Ex *e, void *ctx) {
    Use *u = ctx;
    u->used |= e_uses(*e, u->var);
}

static bool uses(Stmt *s, Ex var) {
    Use u = {.var = var};
    stmt_each_ex(s, find_use, &u);
    return u.used;
}

static void lower_loop(Lower *l, Node *n, Block *b) {
    Graph *g = n->region->g;
    int ncarry = n->axis, nscan = n->nout - ncarry, have = l->prog->nhave;
    Lower *c = region(l, g);
    Buf **state = NEWN(Buf *, n->nout + 1);
    bool *vary = NEWN(bool, ncarry + 1);
    for (int i = 0; i < ncarry; i++) vary[i] = varies(n, g, i);
    carried_extents(l, n, g, vary, b);
    for (int i = 0; i < n->nout; i++) state[i] = i < ncarry ? state_buf(l, n, i, vary[i], b) : l->buf[n->out[i].id];
    start_results(b, n->nout, state);
    for (int i = 0; i < ncarry; i++) {
        if (n->in[2 + i]->kind == K_TENSOR) nest_copy(l, n->in[2 + i], state[i], NULL, b);
        else list_copy(l, n->in[2 + i], state[i], b);
        c->buf[g->in[2 + i]->id] = state[i];
    }
    for (int i = ncarry; i < n->nout; i++) start_rows(l, n, i, b);
    Ex trip = new_int("trip", INT64_MIN, INT64_MAX), it = new_int("it", 0, INT64_MAX), cond = new_int("go", 0, 1);
    Ex known = n->in[0]->elems ? n->in[0]->elems[0] : trip;
    set_int(b, trip, NULL, gen_apart(l, b, n->in[0], NULL), false);
    set_int(b, cond, NULL, gen_apart(l, b, n->in[1], NULL), false);
    set_int(b, it, e_int(0), NULL, false);
    bind_captures(l, c, 2 + ncarry, n->nin - 2 - ncarry, n->in + 2 + ncarry);
    Range *r = NEWN(Range, 2);
    r[0] = (Range){it, trip}, r[1] = (Range){e_sub(cond, e_int(1)), e_int(1)};
    Stmt *s = append(b, (Stmt){.kind = ST_WHILE, .nguard = 2, .guard = r});
    Block *body = block_new(b);
    body->tail = &s->body;
    c->main = body;
    c->ncarry = ncarry;
    Ex now = known == trip ? it : e_index(arena_printf("step%s", it->name + 2), known); // below what is known: as an index it needs no check
    if (now != it && now->kind == X_VAR) set_int(body, now, it, NULL, false);
    gen_bind(body, g->in[0], NULL, sx_index(I64, now));
    gen_bind(body, g->in[1], NULL, sx_index(BOOL, cond));
    lower_prepare(c, false);
    lower_graph(c, body);
    for (int i = 0; i < nscan; i++) {
        check_rows(l, n, ncarry + i, g->out[1 + ncarry + i], it, body);
        check_capacity(l, n, ncarry + i, it, known, body);
        nest_copy(c, g->out[1 + ncarry + i], state[ncarry + i], it, body);
    }
    set_int(body, cond, NULL, gen_apart(c, body, g->out[0], NULL), true);
    next_states(c, n, vary, state, body);
    next_extents(n, g, vary, body);
    set_int(body, it, e_add(it, e_int(1)), NULL, true);
    if (s->body->var == now && !uses(s->body->next, now)) s->body = s->body->next;
    for (int i = ncarry; i < n->nout; i++)
        if (is_own_extent(n, n->out[i].shape[0]) && n->out[i].shape[0] != known) set_int(b, n->out[i].shape[0], it, NULL, false);
    l->prog->nhave = have;
    final_states(l, n, state, b);
}

void lower_node(Lower *l, Node *n, Block *b) {
    switch (n->op) {
    case P_scatter: lower_scatter(l, n, b); return;
    case P_scan: lower_scan(l, n, b); return;
    case P_sort: lower_sort(l, n, b); return;
    case P_random: lower_random(l, n, b); return;
    case P_if: lower_if(l, n, b); return;
    case P_loop: lower_loop(l, n, b); return;
    case P_call: lower_call(l, n, b); return;
    default: break;
    }
    die("%s has no lowering", prim_name[n->op]);
}
