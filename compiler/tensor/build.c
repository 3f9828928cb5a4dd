// SPDX-License-Identifier: Apache-2.0
// Constructors of the tensor DAG: infer, validate, fold small integer tensors, hash-cons.
#include "cnncc.h"
#include <stdlib.h>
#include <string.h>

const char *const prim_name[] = {
#define PRIM(name, nin, doc) #name,
#include "tensor/prim.def"
#undef PRIM
};
static const int prim_nin[] = {
#define PRIM(name, nin, doc) nin,
#include "tensor/prim.def"
#undef PRIM
};
const char *const red_name[] = {"add", "mul", "max", "min", "and", "or", "argmax", "argmin", "set"};

#define CALL(name, why) const CallDef call_##name = {#name, why};
#include "tensor/call.def"
#undef CALL

enum { MAX_ELEMS = 1024 }; // of an integer tensor that is known element by element

typedef struct { Node **slot; size_t cap, used; } Table;

Graph *graph_new(Graph *parent) {
    Graph *g = NEW(Graph);
    g->parent = parent;
    g->table = NEW(Table);
    g->first_ex = e_index("first", e_int(2))->id;
    return g;
}

// ---- hash-consing -----------------------------------------------------------------------------

static unsigned hash_node(const Node *n) {
    uint64_t h = (uint64_t)n->op * 31 + (uint64_t)n->fn;
    h = h * 31 + (uint64_t)n->axis;
    h = h * 31 + (uint64_t)n->flag + (uint64_t)n->again * 7919;
    h = h * 31 + (uint64_t)(uintptr_t)n->data + (uint64_t)(uintptr_t)n->call;
    for (int i = 0; i < n->nin; i++) h = (h ^ (uint64_t)n->in[i]->id) * 0xff51afd7ed558ccdu;
    for (int i = 0; i < n->nex; i++) h = (h ^ (uint64_t)n->ex[i]->id) * 0xc4ceb9fe1a85ec53u;
    h = h * 31 + (uint64_t)n->out[0].dt;
    for (int i = 0; i < n->out[0].rank; i++) h = h * 31 + (uint64_t)n->out[0].shape[i]->id;
    return (unsigned)(h ^ h >> 32);
}

static bool same_node(const Node *a, const Node *b) {
    if (a->op != b->op || a->fn != b->fn || a->axis != b->axis || a->flag != b->flag || a->again != b->again || a->nin != b->nin ||
        a->nex != b->nex || a->data != b->data || a->call != b->call || a->nout != b->nout ||
        a->aux_size != b->aux_size || a->out[0].dt != b->out[0].dt || !val_same_shape(&a->out[0], &b->out[0]))
        return false;
    for (int i = 0; i < a->nin; i++)
        if (a->in[i] != b->in[i]) return false;
    for (int i = 0; i < a->nex; i++)
        if (a->ex[i] != b->ex[i]) return false;
    return !a->aux_size || !memcmp(a->aux, b->aux, a->aux_size);
}

static void table_grow(Table *t) {
    size_t cap = t->cap ? t->cap * 2 : 256;
    Node **slot = NEWN(Node *, cap);
    for (size_t i = 0; i < t->cap; i++) {
        if (!t->slot[i]) continue;
        size_t at = t->slot[i]->hash & (cap - 1);
        while (slot[at]) at = (at + 1) & (cap - 1);
        slot[at] = t->slot[i];
    }
    t->slot = slot;
    t->cap = cap;
}

static bool has_identity(const Node *n) { // never merged with an equal one
    return n->op == P_input || n->op == P_random || n->op == P_if || n->op == P_loop || n->op == P_call;
}

static Node *add_node(Graph *g, const Node *given) {
    Table *t = g->table;
    Node own = *given;
    const Node *key = &own;
    own.again = g->again;
    if (prim_nin[key->op] >= 0 && prim_nin[key->op] != key->nin) die("%s with %d operands", prim_name[key->op], key->nin);
    unsigned hash = hash_node(key);
    if (t->used * 2 >= t->cap) table_grow(t);
    size_t at = hash & (t->cap - 1);
    if (!has_identity(key)) {
        for (; t->slot[at]; at = (at + 1) & (t->cap - 1))
            if (t->slot[at]->hash == hash && same_node(t->slot[at], key)) return t->slot[at];
    }
    Node *n = NEW(Node);
    *n = *key;
    n->g = g;
    n->hash = hash;
    n->name = g->origin;
    n->id = g->nnode;
    n->in = NEWN(Val *, key->nin);
    for (int i = 0; i < key->nin; i++) {
        if (!key->in[i] || key->in[i]->node->g != g) die("operand %d of %s is not of this graph", i, prim_name[key->op]);
        n->in[i] = key->in[i];
    }
    Ex *ex = NEWN(Ex, key->nex);
    if (key->nex) memcpy(ex, key->ex, sizeof *ex * (size_t)key->nex);
    n->ex = ex;
    n->out = NEWN(Val, key->nout + (key->op == P_loop ? key->axis : 0)); // with room for loop_save_carried
    for (int i = 0; i < key->nout; i++) {
        Val *v = &n->out[i];
        *v = key->out[i];
        v->node = n;
        v->res = i;
        v->id = g->nval++;
        Ex *shape = NEWN(Ex, v->rank > 0 ? v->rank : 1);
        for (int k = 0; k < v->rank; k++) shape[k] = key->out[i].shape[k];
        v->shape = shape;
    }
    PUSH(g->node, g->nnode, g->cap_node, n);
    if (!has_identity(n)) {
        t->slot[at] = n;
        t->used++;
    }
    return n;
}

static Val tensor_type(DType dt, int rank, const Ex *shape) {
    if (rank > MAX_RANK) fatal("a tensor of rank %d: at most %d", rank, MAX_RANK);
    static const Ex none[1];
    return (Val){.kind = K_TENSOR, .dt = dt, .rank = rank, .shape = shape ? shape : none};
}

static Val *add1(Graph *g, Node key, DType dt, int rank, const Ex *shape) {
    Val out = tensor_type(dt, rank, shape);
    key.out = &out;
    key.nout = 1;
    return &add_node(g, &key)->out[0];
}

// ---- known elements ---------------------------------------------------------------------------

static bool can_know(DType dt) { return dt_is_int(dt) || dt == BOOL; }

static int64_t const_numel(const Val *v) { // -1 when symbolic
    int64_t n;
    return e_is_const(val_numel(v), &n) ? n : -1;
}

// An integer tensor of known elements: const when all are numbers.
Val *b_dims(Graph *g, DType dt, int rank, const Ex *shape, const Ex *elems) {
    Val like = tensor_type(dt, rank, shape);
    int64_t n = const_numel(&like), c;
    if (n < 0 || n > MAX_ELEMS) die("dims of %lld elements", (long long)n);
    bool all = true;
    for (int64_t i = 0; i < n; i++) all &= e_is_const(elems[i], &c);
    if (all) {
        Data *d = data_new(dt, (size_t)n);
        for (int64_t i = 0; i < n; i++) {
            e_is_const(elems[i], &c);
            data_set(d, (size_t)i, (Scalar){.i = c});
        }
        return b_const(g, d, rank, shape);
    }
    Val *v = add1(g, (Node){.op = P_dims, .nex = (int)n, .ex = elems}, dt, rank, shape);
    v->elems = v->node->ex;
    return v;
}

static void unflatten(const Val *v, int64_t i, Ex *idx) {
    for (int k = v->rank - 1; k >= 0; k--) {
        int64_t n = 1;
        e_is_const(v->shape[k], &n);
        idx[k] = e_int(i % n);
        i /= n;
    }
}

static int64_t flat(const Val *v, const Ex *idx) {
    int64_t at = 0;
    for (int k = 0; k < v->rank; k++) {
        int64_t n = 1, i = 0;
        e_is_const(v->shape[k], &n);
        if (!e_is_const(idx[k], &i)) return -1;
        at = at * n + i;
    }
    return at;
}

// A view or gather of known elements is known. key has its output type set.
static Val *fold_view(Graph *g, const Node *key) {
    const Val *out = &key->out[0];
    const Val *x = key->nin ? key->in[0] : NULL;
    int64_t n = const_numel(out);
    if (!x || !x->elems || n < 0 || n > MAX_ELEMS) return NULL;
    for (int i = 1; i < key->nin; i++)
        if (!key->in[i]->elems) return NULL;
    Ex *el = NEWN(Ex, n + 1);
    for (int64_t i = 0; i < n; i++) {
        Ex idx[MAX_RANK], at[MAX_RANK];
        int64_t k = 0, lo = 0, size = 0;
        const Val *src = x;
        unflatten(out, i, idx);
        if (key->op == P_concat) {
            e_is_const(idx[key->axis], &k);
            int j = 0;
            for (;; j++) {
                e_is_const(key->in[j]->shape[key->axis], &size);
                if (k < size) break;
                k -= size;
            }
            src = key->in[j];
            memcpy(at, idx, sizeof at);
            at[key->axis] = e_int(k);
        } else if (key->op == P_pad) {
            if (!e_is_const(key->ex[0], &lo) || !e_is_const(x->shape[key->axis], &size)) return NULL;
            e_is_const(idx[key->axis], &k);
            memcpy(at, idx, sizeof at);
            at[key->axis] = e_int(k - lo);
            if (k < lo || k - lo >= size) {
                el[i] = key->in[1]->elems[0];
                continue;
            }
        } else if (key->op == P_gather) {
            const Val *index = key->in[1];
            memcpy(at, idx, sizeof at);
            at[key->axis] = index->elems[flat(index, idx)];
            if (!e_is_const(at[key->axis], &k) || !e_is_const(x->shape[key->axis], &size) || k < 0 || k >= size) return NULL;
        } else val_index_in(key, 0, idx, at);
        int64_t f = flat(src, at);
        if (f < 0) return NULL;
        el[i] = src->elems[f];
    }
    return b_dims(g, out->dt, out->rank, out->shape, el);
}

static Val *view(Graph *g, Node key, int rank, const Ex *shape) {
    Val out = tensor_type(key.in[0]->dt, rank, shape);
    key.out = &out;
    key.nout = 1;
    Val *v = fold_view(g, &key);
    return v ? v : &add_node(g, &key)->out[0];
}

// One scalar function over expressions; NULL when undecided.
static Ex fold_fn(Fn fn, DType dt, DType from, const Ex *x) {
    int64_t c[3];
    bool all = true;
    for (int i = 0; i < fn_info[fn].arity; i++) all &= e_is_const(x[i], &c[i]);
    if (all) {
        Scalar s[3];
        for (int i = 0; i < fn_info[fn].arity; i++) s[i].i = c[i];
        return e_int(fn_eval(fn, dt, from, s).i);
    }
    if (fn == FN_select) return e_is_const(x[0], &c[0]) ? x[c[0] ? 1 : 2] : x[1] == x[2] ? x[1] : NULL;
    if (from == BOOL || dt_bits(from) < 32) return NULL;
    switch (fn) {
    case FN_add: return e_add(x[0], x[1]);
    case FN_sub: return e_sub(x[0], x[1]);
    case FN_mul: return e_mul(x[0], x[1]);
    case FN_neg: return e_scale(x[0], -1);
    case FN_abs: return e_ge0(x[0]) ? x[0] : NULL;
    case FN_min: return e_min(x[0], x[1]);
    case FN_max: return e_max(x[0], x[1]);
    case FN_div: return e_ge0(x[0]) && e_lt(e_int(0), x[1]) ? e_div(x[0], x[1]) : NULL;
    case FN_mod: return e_lt(e_int(0), x[1]) ? e_mod(x[0], x[1]) : NULL;
    case FN_fmod: return e_ge0(x[0]) && e_lt(e_int(0), x[1]) ? e_mod(x[0], x[1]) : NULL;
    case FN_eq: return x[0] == x[1] ? e_int(1) : e_lt(x[0], x[1]) || e_lt(x[1], x[0]) ? e_int(0) : NULL;
    case FN_lt: return e_lt(x[0], x[1]) ? e_int(1) : e_le(x[1], x[0]) ? e_int(0) : NULL;
    case FN_le: return e_le(x[0], x[1]) ? e_int(1) : e_lt(x[1], x[0]) ? e_int(0) : NULL;
    case FN_cast: return dt_is_int(dt) && dt_bits(dt) >= 32 ? x[0] : NULL;
    default: return NULL;
    }
}

static Val *fold_map(Graph *g, Fn fn, DType dt, int n, Val *const *x) {
    int64_t count = const_numel(x[0]);
    if (!can_know(dt) || count < 0 || count > MAX_ELEMS) return NULL;
    for (int i = 0; i < n; i++)
        if (!x[i]->elems) return NULL;
    Ex *el = NEWN(Ex, count + 1);
    for (int64_t i = 0; i < count; i++) {
        Ex a[3];
        for (int k = 0; k < n && k < 3; k++) a[k] = x[k]->elems[i];
        el[i] = fold_fn(fn, dt, x[n - 1]->dt, a);
        if (!el[i]) return NULL;
    }
    return b_dims(g, dt, x[0]->rank, x[0]->shape, el);
}

// ---- leaves -----------------------------------------------------------------------------------

Val *b_input(Graph *g, const char *name, DType dt, int rank, const Ex *shape) {
    Val *v = add1(g, (Node){.op = P_input, .axis = g->nin}, dt, rank, shape);
    v->name = name;
    PUSH(g->in, g->nin, g->cap_in, v);
    return v;
}

Val *b_param(Graph *g, Val *like) {
    Val out = *like;
    out.elems = NULL;
    out.name = like->name;
    Node key = {.op = P_input, .axis = g->nin, .out = &out, .nout = 1};
    Val *v = &add_node(g, &key)->out[0];
    PUSH(g->in, g->nin, g->cap_in, v);
    return v;
}

Val *b_const(Graph *g, Data *d, int rank, const Ex *shape) {
    Val like = tensor_type(d->dt, rank, shape);
    int64_t n = const_numel(&like);
    if (n < 0 || (size_t)n != d->n) die("const of %zu elements in a shape of %lld", d->n, (long long)n);
    if (n <= 16 && d->dt != STR) { // small ones with equal bytes are one node
        for (int i = g->nnode - 1, seen = 0; i >= 0 && seen < 64; i--, seen++) {
            Node *m = g->node[i];
            if (m->op == P_const && m->data->dt == d->dt && m->data->n == d->n && m->data->splat == d->splat &&
                !memcmp(m->data->p, d->p, dt_size(d->dt) * (d->splat ? d->n > 0 : d->n))) {
                d = m->data;
                break;
            }
        }
    }
    Val *v = add1(g, (Node){.op = P_const, .data = d}, d->dt, rank, shape);
    if (can_know(d->dt) && n <= MAX_ELEMS && !v->elems) {
        Ex *el = NEWN(Ex, n + 1);
        for (int64_t i = 0; i < n; i++) el[i] = e_int(data_get(d, (size_t)i).i);
        v->elems = el;
    }
    return v;
}

Val *b_initializer(Graph *g, const char *name, Data *d, int rank, const Ex *shape, int flag) {
    Val *v = add1(g, (Node){.op = P_const, .axis = g->nnode + 1, .flag = flag, .data = d}, d->dt, rank, shape);
    v->name = name;
    return v;
}

Val *b_iota(Graph *g, DType dt, Ex n) {
    int64_t c;
    if (can_know(dt) && e_is_const(n, &c) && c <= MAX_ELEMS) {
        Ex *el = NEWN(Ex, c + 1);
        for (int64_t i = 0; i < c; i++) el[i] = e_int(i);
        return b_dims(g, dt, 1, &n, el);
    }
    return add1(g, (Node){.op = P_iota}, dt, 1, &n);
}

Val *b_random(Graph *g, int rank, const Ex *shape, uint64_t seed, bool has_seed) {
    Graph *model = g;
    while (model->parent) model = model->parent;
    Ex s = e_int((int64_t)seed);
    return add1(g, (Node){.op = P_random, .axis = ++model->nrandom, .flag = has_seed, .nex = 1, .ex = &s}, U32, rank, shape);
}

// ---- compute ----------------------------------------------------------------------------------

Val *b_map(Graph *g, Fn fn, DType cast, int n, Val *const *x) {
    const FnInfo *f = &fn_info[fn];
    if (n != f->arity) die("%s of %d operands", f->name, n);
    for (int i = 1; i < n; i++)
        if (!val_same_shape(x[0], x[i])) die("%s of unequal shapes", f->name);
    DType of = x[n - 1]->dt, dt = f->result == R_BOOL ? BOOL : f->result == R_CAST ? cast : of;
    for (int i = f->result == R_SELECT ? 1 : 0; i < n; i++)
        if (x[i]->dt != of) die("%s of %s and %s", f->name, dt_name(x[i]->dt), dt_name(of));
    if (fn == FN_select && x[0]->dt != BOOL) die("select by %s", dt_name(x[0]->dt));
    if (fn == FN_cast && dt == of) return x[0];
    Val *v = fold_map(g, fn, dt, n, x);
    if (v) return v;
    return add1(g, (Node){.op = P_map, .fn = (int)fn, .nin = n, .in = (Val **)(uintptr_t)x}, dt, x[0]->rank, x[0]->shape);
}

static Val *fold_reduce(Graph *g, Red fn, Val *x, const bool *gone, int rank, const Ex *shape) {
    static const Fn by[] = {FN_add, FN_mul, FN_max, FN_min};
    int64_t n = const_numel(x), m = const_numel(&(Val){.rank = rank, .shape = shape});
    if (!x->elems || fn > RED_MIN || n <= 0 || m <= 0 || dt_bits(x->dt) < 32) return NULL;
    Ex *el = NEWN(Ex, m);
    for (int64_t i = 0; i < n; i++) {
        Ex idx[MAX_RANK], at[MAX_RANK];
        int r = 0;
        unflatten(x, i, idx);
        for (int k = 0; k < x->rank; k++)
            if (!gone[k]) at[r++] = idx[k];
        int64_t f = flat(&(Val){.rank = rank, .shape = shape}, at);
        el[f] = el[f] ? fold_fn(by[fn], x->dt, x->dt, (Ex[]){el[f], x->elems[i]}) : x->elems[i];
        if (!el[f]) return NULL;
    }
    return b_dims(g, x->dt, rank, shape, el);
}

Val *b_reduce(Graph *g, Red fn, Val *x, int naxes, const int *axes, bool last) {
    bool gone[MAX_RANK] = {0};
    Ex shape[MAX_RANK], ex[MAX_RANK];
    int rank = 0, nex = 0;
    for (int i = 0; i < naxes; i++) {
        if (axes[i] < 0 || axes[i] >= x->rank || gone[axes[i]]) die("reduce over axis %d of rank %d", axes[i], x->rank);
        gone[axes[i]] = true;
    }
    for (int i = 0; i < x->rank; i++) {
        if (gone[i]) ex[nex++] = e_int(i);
        else shape[rank++] = x->shape[i];
    }
    bool arg = fn == RED_ARGMAX || fn == RED_ARGMIN;
    if (arg && naxes != 1) die("%s over %d axes", red_name[fn], naxes);
    if (naxes == 0) return x;
    Val *v = fold_reduce(g, fn, x, gone, rank, shape);
    if (v) return v;
    return add1(g, (Node){.op = P_reduce, .fn = (int)fn, .flag = last, .nin = 1, .in = &x, .nex = nex, .ex = ex},
                arg ? I64 : x->dt, rank, shape);
}

// ---- views ------------------------------------------------------------------------------------

Val *b_reshape(Graph *g, Val *x, int rank, const Ex *shape) {
    if (x->node->op == P_reshape) x = x->node->in[0];
    Ex have = val_numel(x), want = e_product(rank, shape);
    if (have != want) graph_guard(g, G_EQ, have, want, "reshape");
    if (rank == x->rank) {
        bool same = true;
        for (int i = 0; i < rank; i++) same &= shape[i] == x->shape[i];
        if (same) return x;
    }
    return view(g, (Node){.op = P_reshape, .nin = 1, .in = &x}, rank, shape);
}

Val *b_permute(Graph *g, Val *x, const int *perm) {
    Ex shape[MAX_RANK], ex[MAX_RANK];
    bool seen[MAX_RANK] = {0}, same = true;
    Node *n = x->node;
    for (int i = 0; i < x->rank; i++) {
        if (perm[i] < 0 || perm[i] >= x->rank || seen[perm[i]]) die("not a permutation");
        seen[perm[i]] = true;
        shape[i] = x->shape[perm[i]];
        ex[i] = n->op == P_permute ? n->ex[perm[i]] : e_int(perm[i]);
        same &= e_is(ex[i], i);
    }
    if (n->op == P_permute) x = n->in[0];
    if (same) return x;
    return view(g, (Node){.op = P_permute, .nin = 1, .in = &x, .nex = x->rank, .ex = ex}, x->rank, shape);
}

Val *b_expand(Graph *g, Val *x, const Ex *shape) {
    if (x->node->op == P_expand) x = x->node->in[0];
    bool same = true;
    for (int i = 0; i < x->rank; i++) {
        if (x->shape[i] == shape[i]) continue;
        same = false;
        if (!e_is(x->shape[i], 1)) graph_guard(g, G_BROADCAST, shape[i], x->shape[i], "broadcast");
    }
    if (same) return x;
    return view(g, (Node){.op = P_expand, .nin = 1, .in = &x}, x->rank, shape);
}

static void set_axis(const Val *x, int axis, Ex n, Ex *shape) {
    if (axis < 0 || axis >= x->rank) die("axis %d of rank %d", axis, x->rank);
    for (int i = 0; i < x->rank; i++) shape[i] = i == axis ? n : x->shape[i];
}

Val *b_slice(Graph *g, Val *x, int axis, Ex start, Ex size, Ex step) {
    Ex shape[MAX_RANK], ex[2] = {start, step};
    set_axis(x, axis, size, shape);
    if (size == x->shape[axis] && e_is(start, 0) && e_is(step, 1)) return x;
    graph_guard(g, G_GE, size, e_int(0), "slice");
    return view(g, (Node){.op = P_slice, .axis = axis, .nin = 1, .in = &x, .nex = 2, .ex = ex}, x->rank, shape);
}

Val *b_pad(Graph *g, Val *x, int axis, Ex lo, Ex hi, Val *value) {
    Ex shape[MAX_RANK], ex[2] = {lo, hi};
    Val *in[2] = {x, value};
    if (value->rank || value->dt != x->dt) die("pad by a value of rank %d, %s", value->rank, dt_name(value->dt));
    set_axis(x, axis, NULL, shape);
    shape[axis] = e_add(x->shape[axis], e_add(lo, hi));
    if (e_is(lo, 0) && e_is(hi, 0)) return x;
    graph_guard(g, G_GE, lo, e_int(0), "pad");
    graph_guard(g, G_GE, hi, e_int(0), "pad");
    return view(g, (Node){.op = P_pad, .axis = axis, .nin = 2, .in = in, .nex = 2, .ex = ex}, x->rank, shape);
}

Val *b_concat(Graph *g, int n, Val *const *x, int axis) {
    Ex shape[MAX_RANK], sum = e_int(0);
    Val **in = NEWN(Val *, n);
    int m = 0;
    if (n < 1) die("concat of nothing");
    for (int i = 0; i < n; i++) {
        if (x[i]->rank != x[0]->rank || x[i]->dt != x[0]->dt) die("concat of unequal ranks or types");
        for (int k = 0; k < x[0]->rank; k++)
            if (k != axis && x[i]->shape[k] != x[0]->shape[k]) graph_guard(g, G_EQ, x[i]->shape[k], x[0]->shape[k], "concat");
        sum = e_add(sum, x[i]->shape[axis]);
        if (!e_is(x[i]->shape[axis], 0) || (i == n - 1 && m == 0)) in[m++] = x[i];
    }
    set_axis(x[0], axis, sum, shape);
    if (m == 1) return in[0];
    return view(g, (Node){.op = P_concat, .axis = axis, .nin = m, .in = in}, x[0]->rank, shape);
}

Val *b_window(Graph *g, Val *x, int axis, Ex k, Ex stride, Ex dil) {
    Ex shape[MAX_RANK], ex[3] = {k, stride, dil};
    if (axis < 0 || axis >= x->rank) die("axis %d of rank %d", axis, x->rank);
    for (int i = 0; i < x->rank; i++) shape[i < axis ? i : i + 1] = x->shape[i];
    Ex span = e_add(e_mul(e_sub(k, e_int(1)), dil), e_int(1));
    shape[axis] = e_add(e_div(e_sub(x->shape[axis], span), stride), e_int(1));
    shape[axis + 1] = k;
    graph_guard(g, G_GE, shape[axis], e_int(0), "window");
    return view(g, (Node){.op = P_window, .axis = axis, .nin = 1, .in = &x, .nex = 3, .ex = ex}, x->rank + 1, shape);
}

Val *b_unwindow(Graph *g, Val *x, int axis, Ex n, Ex stride, Ex dil) {
    Ex shape[MAX_RANK], ex[3] = {n, stride, dil};
    if (axis < 0 || axis + 1 >= x->rank) die("axis %d of rank %d", axis, x->rank);
    for (int i = 0; i + 1 < x->rank; i++) shape[i] = i == axis ? n : x->shape[i < axis ? i : i + 1];
    return add1(g, (Node){.op = P_unwindow, .axis = axis, .nin = 1, .in = &x, .nex = 3, .ex = ex}, x->dt, x->rank - 1, shape);
}

// ---- indexing and order -----------------------------------------------------------------------

static void check_along(Graph *g, const Val *x, const Val *index, int axis, const char *what) {
    if (index->rank != x->rank || !dt_is_int(index->dt)) die("%s by %s of rank %d", what, dt_name(index->dt), index->rank);
    if (axis < 0 || axis >= x->rank) die("axis %d of rank %d", axis, x->rank);
    for (int i = 0; i < x->rank; i++)
        if (i != axis && x->shape[i] != index->shape[i]) graph_guard(g, G_EQ, x->shape[i], index->shape[i], what);
}

Val *b_gather(Graph *g, Val *x, Val *index, int axis) {
    Val *in[2] = {x, index};
    check_along(g, x, index, axis, "gather");
    return view(g, (Node){.op = P_gather, .axis = axis, .nin = 2, .in = in}, x->rank, index->shape);
}

Val *b_scatter(Graph *g, Red fn, Val *x, Val *index, Val *upd, int axis) {
    Val *in[3] = {x, index, upd};
    check_along(g, x, index, axis, "scatter");
    if (upd->dt != x->dt || !val_same_shape(upd, index)) die("scatter of updates unlike the index");
    return add1(g, (Node){.op = P_scatter, .fn = (int)fn, .axis = axis, .nin = 3, .in = in}, x->dt, x->rank, x->shape);
}

Val *b_scan(Graph *g, Red fn, Val *x, int axis, bool exclusive, bool reverse) {
    if (axis < 0 || axis >= x->rank) die("axis %d of rank %d", axis, x->rank);
    return add1(g, (Node){.op = P_scan, .fn = (int)fn, .axis = axis, .flag = exclusive + 2 * reverse, .nin = 1, .in = &x},
                x->dt, x->rank, x->shape);
}

void b_sort(Graph *g, Val *x, int axis, bool descending, Val **values, Val **index) {
    if (axis < 0 || axis >= x->rank) die("axis %d of rank %d", axis, x->rank);
    Val out[2] = {tensor_type(x->dt, x->rank, x->shape), tensor_type(I64, x->rank, x->shape)};
    Node *n = add_node(g, &(Node){.op = P_sort, .axis = axis, .flag = descending, .nin = 1, .in = &x, .out = out, .nout = 2});
    *values = &n->out[0];
    *index = &n->out[1];
}

Val *b_copy(Graph *g, Val *x) {
    Node key = {.op = P_copy, .nin = 1, .in = &x, .out = &(Val){0}, .nout = 1};
    *key.out = *x;
    key.out->elems = NULL;
    return &add_node(g, &key)->out[0];
}

// ---- control ----------------------------------------------------------------------------------

Ex extent_new(void) {
    static int count;
    return e_sym(arena_printf("n%d", ++count), 0, INT64_MAX);
}

bool extent_inside(const Graph *g, Ex e) {
    if (e->kind == X_VAR || e->kind == X_LOAD) return e->id >= g->first_ex;
    for (int i = 0; i < e->n; i++)
        if (extent_inside(g, e->kind == X_SUM ? e->t[i].m : e->a[i])) return true;
    return false;
}

// An extent of a region's result as its node has it.
static Ex extent_outside(const Graph *g, Ex e) { return extent_inside(g, e) ? extent_new() : e; }

static void check_captures(const Graph *body, int first, int n, Val *const *cap) {
    if (body->nin != first + n) die("a region of %d parameters takes %d", body->nin, first + n);
    for (int i = 0; i < n; i++)
        if (body->in[first + i]->dt != cap[i]->dt || body->in[first + i]->kind != cap[i]->kind) die("a capture's type differs");
}

Node *b_if(Graph *g, Val *cond, Graph *a, Graph *b, int ncap, Val *const *cap) {
    if (cond->dt != BOOL || cond->rank) die("if by %s of rank %d", dt_name(cond->dt), cond->rank);
    if (a->nout != b->nout) die("branches of %d and %d results", a->nout, b->nout);
    check_captures(a, 0, ncap, cap);
    check_captures(b, 0, ncap, cap);
    Val **in = NEWN(Val *, ncap + 1), *out = NEWN(Val, a->nout);
    in[0] = cond;
    for (int i = 0; i < ncap; i++) in[i + 1] = cap[i];
    for (int i = 0; i < a->nout; i++) {
        Val *x = a->out[i], *y = b->out[i];
        if (x->kind != y->kind || x->dt != y->dt || (x->kind == K_TENSOR && x->rank != y->rank))
            die("result %d of an if differs in type", i);
        out[i] = *x;
        out[i].elems = NULL;
        out[i].name = NULL;
        Ex *shape = NEWN(Ex, x->rank > 0 ? x->rank : 1);
        for (int k = 0; k < x->rank && x->kind == K_TENSOR; k++)
            shape[k] = x->shape[k] == y->shape[k] ? extent_outside(a, x->shape[k]) : extent_new();
        out[i].shape = shape;
        if (x->kind == K_TENSOR) continue;
        Val both = list_join(x, y);
        out[i].rank = both.rank;
        out[i].shape = both.shape;
    }
    Region *r = NEWN(Region, 2);
    r[0].g = a, r[1].g = b;
    return add_node(g, &(Node){.op = P_if, .nin = ncap + 1, .in = in, .out = out, .nout = a->nout, .region = r});
}

Graph *b_loop_body(Graph *g) {
    Graph *body = graph_new(g);
    body->origin = g->origin;
    b_param(body, &(Val){.kind = K_TENSOR, .dt = I64});
    b_param(body, &(Val){.kind = K_TENSOR, .dt = BOOL});
    return body;
}

Node *b_loop(Graph *g, Val *trip, Val *cond, int ncarry, Val *const *carry, int ncap, Val *const *cap, Graph *body) {
    int nscan = body->nout - 1 - ncarry, nin = 2 + ncarry + ncap;
    if (trip->dt != I64 || trip->rank || cond->dt != BOOL || cond->rank || nscan < 0) die("a loop's trip, condition or results");
    check_captures(body, 2 + ncarry, ncap, cap);
    Val **in = NEWN(Val *, nin), *out = NEWN(Val, ncarry + nscan);
    in[0] = trip, in[1] = cond;
    for (int i = 0; i < ncarry; i++) in[2 + i] = carry[i];
    for (int i = 0; i < ncap; i++) in[2 + ncarry + i] = cap[i];
    int64_t c;
    Val *keep = body->out[0];
    bool exact = cond->elems && e_is(cond->elems[0], 1) && keep->elems && e_is_const(keep->elems[0], &c) && c;
    if (keep == body->in[1] && cond->elems && e_is(cond->elems[0], 1)) exact = true;
    for (int i = 0; i < ncarry + nscan; i++) {
        Val *r = body->out[1 + i];
        bool scan = i >= ncarry;
        out[i] = *r;
        out[i].elems = NULL;
        out[i].name = NULL;
        if (r->kind != K_TENSOR) {
            if (scan) die("a scan output that is no tensor");
            Val both = list_join(r, carry[i]);
            out[i].rank = both.rank;
            out[i].shape = both.shape;
            continue;
        }
        out[i].rank = r->rank + scan;
        Ex *shape = NEWN(Ex, out[i].rank > 0 ? out[i].rank : 1);
        if (scan) shape[0] = exact && trip->elems && e_ge0(trip->elems[0]) ? trip->elems[0] : extent_new();
        for (int k = 0; k < r->rank; k++)
            shape[k + scan] = scan || r->shape[k] == carry[i]->shape[k] ? extent_outside(body, r->shape[k]) : extent_new();
        out[i].shape = shape;
    }
    Region *reg = NEW(Region);
    reg->g = body;
    return add_node(g, &(Node){.op = P_loop, .axis = ncarry, .flag = exact, .nin = nin, .in = in, .out = out,
                               .nout = ncarry + nscan, .region = reg});
}

Val *loop_save_carried(Node *n, int i) {
    Graph *body = n->region->g;
    Val *x = body->in[2 + i];
    for (int k = n->axis; k < n->nout; k++)
        if (body->out[1 + k] == x) return &n->out[k];
    const Val *trip = n->in[0];
    Ex *shape = NEWN(Ex, x->rank + 1);
    shape[0] = n->flag & 1 && trip->elems && e_ge0(trip->elems[0]) ? trip->elems[0] : extent_new();
    for (int k = 0; k < x->rank; k++) {
        shape[k + 1] = n->in[2 + i]->shape[k];
        graph_guard(body, G_EQ, x->shape[k], shape[k + 1], "a carried value that is saved keeps its size");
    }
    Val *v = &n->out[n->nout];
    *v = tensor_type(x->dt, x->rank + 1, shape);
    v->node = n;
    v->res = n->nout++;
    v->id = n->g->nval++;
    graph_output(body, x, intern(arena_printf("carried_%d", i)));
    return v;
}

Node *b_call(Graph *g, const CallDef *def, int n, Val *const *in, const void *aux, size_t aux_size, int nout, const Val *types) {
    void *a = arena_alloc(aux_size + 1);
    if (aux_size) memcpy(a, aux, aux_size);
    Val *out = NEWN(Val, nout);
    memcpy(out, types, sizeof *out * (size_t)nout);
    return add_node(g, &(Node){.op = P_call, .call = def, .nin = n, .in = (Val **)(uintptr_t)in, .aux = a, .aux_size = aux_size,
                               .out = out, .nout = nout});
}

// ---- graphs -----------------------------------------------------------------------------------

void graph_output(Graph *g, Val *v, const char *name) {
    int cap = g->cap_out, n = g->nout;
    PUSH(g->out, g->nout, g->cap_out, v);
    if (g->cap_out != cap) {
        const char **names = NEWN(const char *, g->cap_out);
        for (int i = 0; i < n; i++) names[i] = g->out_name[i];
        g->out_name = names;
    }
    g->out_name[n] = name;
}

void graph_guard(Graph *g, GuardKind kind, Ex a, Ex b, const char *what) {
    bool proved = false, refuted = false;
    int64_t ca, cb;
    bool both = e_is_const(a, &ca) && e_is_const(b, &cb);
    switch (kind) {
    case G_MUST:
    case G_EQ: proved = a == b, refuted = both || e_lt(a, b) || e_lt(b, a); break;
    case G_BROADCAST: proved = a == b || e_is(b, 1), refuted = both; break;
    case G_GE: proved = e_le(b, a), refuted = e_lt(a, b); break;
    case G_DIV: proved = e_is(e_mod(a, b), 0), refuted = both; break;
    }
    if (proved) return;
    if (refuted) fatal("%s%s%s: sizes %s and %s do not fit", g->origin ? g->origin : "", g->origin ? ": " : "", what, e_str(a), e_str(b));
    for (int i = 0; i < g->nguard; i++)
        if (g->guard[i].kind == kind && g->guard[i].a == a && g->guard[i].b == b) return;
    PUSH(g->guard, g->nguard, g->cap_guard, ((Guard){kind, a, b, g->origin ? arena_printf("%s: %s", g->origin, what) : what}));
}

Ex val_numel(const Val *v) { return e_product(v->rank, v->shape); }

bool val_same_shape(const Val *a, const Val *b) {
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->shape[i] != b->shape[i]) return false;
    return true;
}

// ---- index pushing ----------------------------------------------------------------------------

// One run of axes whose sizes multiply to the same number on both sides.
static void reshape_group(const Ex *fd, int nf, const Ex *fi, const Ex *td, int nt, Ex *ti) {
    Ex lin = e_int(0);
    for (int i = 0; i < nf; i++) lin = e_add(e_mul(lin, fd[i]), fi[i]);
    int last = 0; // the outermost axis that is not of extent 1 takes what is left
    while (last < nt - 1 && e_is(td[last], 1)) last++;
    for (int i = nt - 1; i >= 0; i--) {
        if (e_is(td[i], 1)) ti[i] = e_int(0);
        else if (i == last) ti[i] = lin;
        else {
            ti[i] = e_mod(lin, td[i]);
            lin = e_div(lin, td[i]);
        }
    }
}

int reshape_index(const Val *from, const Ex *fi, const Val *to, Ex *ti) {
    int i = 0, j = 0, groups = 0;
    while (i < from->rank || j < to->rank) {
        int i0 = i, j0 = j;
        Ex pf = e_int(1), pt = e_int(1);
        do {
            int64_t a, b;
            bool both = e_is_const(pf, &a) && e_is_const(pt, &b);
            bool grow_from = both ? a <= b : e_is(e_mod(pt, pf), 0);
            if (i == from->rank) grow_from = false;
            else if (j == to->rank) grow_from = true;
            if (i0 == i && i < from->rank) grow_from = true;
            else if (j0 == j && j < to->rank) grow_from = false;
            if (grow_from && i < from->rank) pf = e_mul(pf, from->shape[i++]);
            else if (j < to->rank) pt = e_mul(pt, to->shape[j++]);
            else break;
        } while (pf != pt);
        reshape_group(from->shape + i0, i - i0, fi + i0, to->shape + j0, j - j0, ti + j0);
        groups++;
    }
    return groups;
}

void val_index_in(const Node *n, int operand, const Ex *idx, Ex *in) {
    const Val *out = &n->out[0], *x = n->in[operand];
    for (int i = 0; i < x->rank && i < out->rank; i++) in[i] = idx[i];
    switch (n->op) {
    case P_map:
    case P_copy: return;
    case P_reshape: reshape_index(out, idx, x, in); return;
    case P_permute:
        for (int i = 0; i < x->rank; i++) {
            int64_t p;
            e_is_const(n->ex[i], &p);
            in[p] = idx[i];
        }
        return;
    case P_expand:
        for (int i = 0; i < x->rank; i++) {
            if (x->shape[i] == out->shape[i]) continue;
            in[i] = e_is(x->shape[i], 1) ? e_int(0) : e_mul(idx[i], e_min(e_sub(x->shape[i], e_int(1)), e_int(1)));
        }
        return;
    case P_slice: in[n->axis] = e_add(n->ex[0], e_mul(idx[n->axis], n->ex[1])); return;
    case P_pad: in[n->axis] = e_sub(idx[n->axis], n->ex[0]); return;
    case P_window:
        in[n->axis] = e_add(e_mul(idx[n->axis], n->ex[1]), e_mul(idx[n->axis + 1], n->ex[2]));
        for (int i = n->axis + 1; i < x->rank; i++) in[i] = idx[i + 1];
        return;
    default: die("%s is not a view", prim_name[n->op]);
    }
}
