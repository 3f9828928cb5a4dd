// SPDX-License-Identifier: Apache-2.0
// Scalar expressions from the DAG: the indices of a root's element are pushed through views and maps
// down to values that have buffers. Recursion is bounded by fuse's MAX_DEPTH.
#include "loop/loop.h"
#include <string.h>

typedef struct Memo Memo;
struct Memo { Memo *next; Val *val; const Ex *idx; Sx *value; };

void gen_bind(Block *b, Val *v, const Ex *idx, Sx *value) {
    Memo *m = NEW(Memo);
    Ex *copy = NEWN(Ex, v->rank + 1);
    for (int i = 0; i < v->rank; i++) copy[i] = idx[i];
    *m = (Memo){.next = b->memo, .val = v, .idx = copy, .value = value};
    b->memo = m;
}

static Sx *lookup(const Block *b, const Val *v, const Ex *idx) {
    for (; b; b = b->up)
        for (const Memo *m = b->memo; m; m = m->next)
            if (m->val == v && (!v->rank || !memcmp(m->idx, idx, sizeof *idx * (size_t)v->rank))) return m->value;
    return NULL;
}

Sx *reduce_init(Red fn, DType dt) {
    Scalar s = {0};
    bool f = dt_is_float(dt);
    int bits = dt_bits(dt);
    int64_t top = dt == U64 ? -1 : f || bits > 64 ? 0 : (int64_t)(((uint64_t)1 << (bits - (dt_is_signed(dt) ? 1 : 0))) - 1);
    switch (fn) {
    case RED_MUL:
        if (f) s.f = 1;
        else s.i = 1;
        break;
    case RED_MAX:
    case RED_ARGMAX:
        if (f) s.f = -1.0 / 0.0;
        else s.i = dt_is_signed(dt) ? -top - 1 : 0;
        break;
    case RED_MIN:
    case RED_ARGMIN:
        if (f) s.f = 1.0 / 0.0;
        else s.i = dt == BOOL ? 1 : top;
        break;
    case RED_AND: s.i = dt == BOOL ? 1 : -1; break;
    default: break;
    }
    return sx_num(dt, s);
}

static bool in_range(Ex e, Ex n) { return e_ge0(e) && e_lt(e, n); }

// value where the guards hold, else other: as an expression when nothing has to be declared for it.
static Sx *guarded(Lower *l, Block *b, int n, const Range *r, Val *v, const Ex *idx, Sx *other) {
    if (n == 0) return gen(l, b, v, idx);
    Block *in = block_new(b);
    Sx *x = gen(l, in, v, idx);
    if (!in->first) return sx_guard(n, r, x, other);
    Local *t = local_new(l, "t", x->dt, 0, false);
    append(b, (Stmt){.kind = ST_LET, .local = t, .value = other});
    Range *g = NEWN(Range, n);
    memcpy(g, r, sizeof *g * (size_t)n);
    append(in, (Stmt){.kind = ST_SET, .local = t, .value = x});
    append(b, (Stmt){.kind = ST_IF, .nguard = n, .guard = g, .body = in->first});
    return sx_local(t, NULL);
}

static Sx *gen_pad(Lower *l, Block *b, const Node *n, const Ex *idx) {
    Ex in[MAX_RANK];
    val_index_in(n, 0, idx, in);
    Range r = {in[n->axis], n->in[0]->shape[n->axis]};
    Sx *other = gen(l, b, n->in[1], NULL);
    return guarded(l, b, in_range(r.e, r.n) ? 0 : 1, &r, n->in[0], in, other);
}

static Sx *gen_gather(Lower *l, Block *b, const Node *n, const Ex *idx) {
    Ex at[MAX_RANK], size = n->in[0]->shape[n->axis];
    Sx *i = gen(l, b, n->in[1], idx);
    for (int k = 0; k < n->in[0]->rank; k++) at[k] = idx[k];
    if (i->kind == SX_INDEX && in_range(i->e, size)) at[n->axis] = i->e;
    else if (i->kind == SX_NUM && in_range(e_int(i->num.i), size)) at[n->axis] = e_int(i->num.i);
    else {
        static int count;
        Ex var = e_index(arena_printf("g%d", count++), size);
        if (var->kind != X_VAR) { // an axis of one element: the index is only checked
            var = e_sym(arena_printf("g%d", count++), 0, 0);
            at[n->axis] = e_int(0);
        } else at[n->axis] = var;
        append(b, (Stmt){.kind = ST_INDEX, .var = var, .hi = size, .value = i});
    }
    return gen(l, b, n->in[0], at);
}

// Elements of a reduction in the order of its loops; body receives the operand's value.
static Block *reduce_loops(Block *b, const Node *n, const Ex *idx, Ex *in) {
    static const char *const name[] = {"r", "s", "u", "v"};
    static int count;
    const Val *x = n->in[0];
    bool gone[MAX_RANK] = {0};
    for (int i = 0; i < n->nex; i++) {
        int64_t a;
        e_is_const(n->ex[i], &a);
        gone[a] = true;
    }
    for (int i = 0, o = 0, k = 0; i < x->rank; i++) {
        if (!gone[i]) {
            in[i] = idx[o++];
            continue;
        }
        in[i] = e_index(arena_printf("%s%d", name[k++ % 4], count++), x->shape[i]);
        if (in[i]->kind == X_VAR) b = for_loop(b, in[i], e_int(0), x->shape[i], 1, NULL);
    }
    return b;
}

static DType acc_type(Red fn, DType dt) { // sums of half types are kept in float32
    (void)fn;
    return dt_is_float(dt) && dt != F64 ? F32 : dt;
}

static Sx *gen_reduce(Lower *l, Block *b, const Node *n, const Ex *idx) {
    Ex in[MAX_RANK];
    Val *x = n->in[0];
    Red fn = (Red)n->fn;
    bool arg = fn == RED_ARGMAX || fn == RED_ARGMIN;
    DType dt = acc_type(fn, x->dt);
    Local *acc = local_new(l, "acc", dt, 0, false), *best = NULL;
    append(b, (Stmt){.kind = ST_LET, .local = acc, .value = reduce_init(fn, dt)});
    if (arg) {
        best = local_new(l, "best", I64, 0, false);
        append(b, (Stmt){.kind = ST_LET, .local = best, .value = sx_num(I64, (Scalar){.i = -1})});
    }
    Block *body = reduce_loops(b, n, idx, in);
    Sx *v = gen(l, body, x, in);
    if (v->dt != dt) v = sx_fn(FN_cast, dt, 1, &v);
    if (!arg) append(body, (Stmt){.kind = ST_ACC, .local = acc, .fn = (int)fn, .value = v});
    else {
        int64_t axis;
        e_is_const(n->ex[0], &axis);
        append(body, (Stmt){.kind = ST_ACC, .local = acc, .fn = (int)fn, .value = v, .e = in[axis],
                            .text = best->name, .unroll = n->flag != 0});
    }
    Sx *r = sx_local(arg ? best : acc, NULL);
    return !arg && dt != x->dt ? sx_fn(FN_cast, x->dt, 1, &r) : r;
}

// out[e] = sum over k of x[(e - k*dil)/stride, k] where that is a whole number in range
static Sx *gen_unwindow(Lower *l, Block *b, const Node *n, const Ex *idx) {
    static int count;
    Val *x = n->in[0];
    Ex in[MAX_RANK], k = e_index(arena_printf("y%d", count++), x->shape[n->axis + 1]);
    DType dt = acc_type(RED_ADD, x->dt);
    Local *acc = local_new(l, "acc", dt, 0, false);
    append(b, (Stmt){.kind = ST_LET, .local = acc, .value = reduce_init(RED_ADD, dt)});
    Block *body = k->kind == X_VAR ? for_loop(b, k, e_int(0), x->shape[n->axis + 1], 1, NULL) : b;
    Ex at = e_sub(idx[n->axis], e_mul(k, n->ex[2])), o = e_div(at, n->ex[1]), rest = e_mod(at, n->ex[1]);
    Range r[2];
    int nr = 0;
    if (!e_is(rest, 0)) r[nr++] = (Range){rest, e_int(1)};
    if (!in_range(o, x->shape[n->axis])) r[nr++] = (Range){o, x->shape[n->axis]};
    for (int i = 0; i < x->rank; i++) in[i] = i < n->axis ? idx[i] : i == n->axis ? o : i == n->axis + 1 ? k : idx[i - 1];
    Sx *v = guarded(l, body, nr, r, x, in, reduce_init(RED_ADD, x->dt));
    if (v->dt != dt) v = sx_fn(FN_cast, dt, 1, &v);
    append(body, (Stmt){.kind = ST_ACC, .local = acc, .fn = RED_ADD, .value = v});
    Sx *s = sx_local(acc, NULL);
    return dt != x->dt ? sx_fn(FN_cast, x->dt, 1, &s) : s;
}

static Sx *gen_map(Lower *l, Block *b, Val *v, const Ex *idx) {
    const Node *n = v->node;
    Sx *a[4];
    for (int i = 0; i < n->nin; i++) a[i] = gen(l, b, n->in[i], idx);
    Sx *x = sx_fn((Fn)n->fn, v->dt, n->nin, a);
    bool trivial = n->nin == 1 && (n->fn == FN_cast || n->fn == FN_neg);
    if (trivial) return x;
    x = sx_let(l, b, x);
    gen_bind(b, v, idx, x);
    return x;
}

Sx *gen_apart(Lower *l, Block *b, Val *v, const Ex *idx) {
    Block *in = block_new(b);
    Sx *x = gen(l, in, v, idx);
    for (Stmt *s = in->first; s; s = s->next) append(b, *s);
    return x;
}

Sx *gen(Lower *l, Block *b, Val *v, const Ex *idx) {
    const Node *n = v->node;
    Ex in[MAX_RANK];
    Sx *known = lookup(b, v, idx);
    if (known) return known;
    if (n->op == P_const && n->data->n == 0) return reduce_init(RED_ADD, v->dt); // never evaluated
    if (n->op == P_const && (n->data->splat || n->data->n == 1) && !dt_is_moved(v->dt)) return sx_num(v->dt, data_get(n->data, 0));
    if (l->rows_now && l->rows_now->member[v->id])
        for (int i = 0; i < l->rows_now->axes; i++) l->rows_now->bad |= i >= v->rank || idx[i] != l->rows_now->row[i];
    if (l->buf[v->id]) {
        Sx *x = sx_load(l->buf[v->id], buf_offset(l->buf[v->id], idx), 0);
        if (l->uses[v->id] > 1) {
            x = sx_let(l, b, x);
            gen_bind(b, v, idx, x);
        }
        return x;
    }
    switch (n->op) {
    case P_input:
        if (l->capture[v->id]) return gen(l->up, b, l->capture[v->id], idx);
        break;
    case P_dims: return sx_index(v->dt, n->ex[0]);
    case P_iota: return sx_index(v->dt, idx[0]);
    case P_map: return gen_map(l, b, v, idx);
    case P_reduce:
    case P_unwindow: known = n->op == P_reduce ? gen_reduce(l, b, n, idx) : gen_unwindow(l, b, n, idx);
        gen_bind(b, v, idx, known);
        return known;
    case P_pad: return gen_pad(l, b, n, idx);
    case P_gather: return gen_gather(l, b, n, idx);
    case P_reshape:
    case P_permute:
    case P_expand:
    case P_slice:
    case P_window:
        val_index_in(n, 0, idx, in);
        return gen(l, b, n->in[0], in);
    default: break;
    }
    die("%s without a buffer", prim_name[n->op]);
}
