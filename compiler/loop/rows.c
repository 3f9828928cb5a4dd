// SPDX-License-Identifier: Apache-2.0
// Several roots as one nest, row by row: softmax and the normalizations compute sums over rows of a tensor
// and read the rows again with the result. Where the roots agree in their leading axes, and what one reads
// of another is of the same row, they share the loops over rows, so that a row is read from memory
// once. Values of one element a row stay in locals; rows that no other root reads live in scratch.
#include "loop/tile.h"
#include <string.h>

enum { MEMBERS = 16, WINDOW = 24, ROW_ELEMENTS = 1 << 16, PARALLEL_WORK = 1 << 15 };

struct RowsPlan {  // facts of the whole graph
    int *root_of;  // by value id: the index of its root, or -1
    int **reads;   // by root: the values with a root of their own that it reads, ended by -1
    int *readers;  // by value id: how many roots read it; an output counts as more than any group
    bool *done;    // by root: lowered in a group before
    bool *banded;  // by root: of a chain that runs band by band
    bool *loaded;  // by value id: expressions read its elements
};

static Root *root_at(const Lower *l, int i) { return &l->roots[i]; }

// ---- who reads what ---------------------------------------------------------------------------

typedef struct { Lower *l; int *mark, stamp; Val **stack; int n, cap; int *found, nfound, cap_found; } Walk;

static void visit(Walk *w, Val *v) {
    if (w->mark[v->id] == w->stamp) return;
    w->mark[v->id] = w->stamp;
    if (w->l->root[v->id]) {
        PUSH(w->found, w->nfound, w->cap_found, v->id);
        return;
    }
    PUSH(w->stack, w->n, w->cap, v);
}

static int *reads_of(Walk *w, const Root *r) {
    w->stamp++;
    w->nfound = 0;
    if (r->expr != r->val && w->l->root[r->expr->id]) visit(w, r->expr);
    else
        for (int i = 0; i < r->expr->node->nin; i++) visit(w, r->expr->node->in[i]);
    while (w->n) {
        const Node *n = w->stack[--w->n]->node;
        for (int i = 0; i < n->nin; i++) visit(w, n->in[i]);
    }
    int *list = NEWN(int, w->nfound + 1);
    if (w->nfound) memcpy(list, w->found, sizeof *list * (size_t)w->nfound);
    list[w->nfound] = -1;
    return list;
}

static RowsPlan *rows_plan(Lower *l) {
    const Graph *g = l->g;
    RowsPlan *p = NEW(RowsPlan);
    p->root_of = NEWN(int, g->nval + 1);
    p->readers = NEWN(int, g->nval + 1);
    p->reads = NEWN(int *, l->nroots + 1);
    p->done = NEWN(bool, l->nroots + 1);
    memset(p->root_of, -1, sizeof *p->root_of * (size_t)(g->nval + 1));
    Walk w = {.l = l, .mark = NEWN(int, g->nval + 1)};
    for (int i = 0; i < l->nroots; i++) {
        const Node *n = l->roots[i].val->node;
        for (int k = 0; k < n->nout; k++) p->root_of[n->out[k].id] = i;
        p->reads[i] = reads_of(&w, &l->roots[i]);
        for (const int *v = p->reads[i]; *v >= 0; v++) p->readers[*v]++;
    }
    p->banded = NEWN(bool, l->nroots + 1);
    for (int i = 0; i < l->nroots; i++)
        for (int k = 0; k < l->roots[i].stages; k++) p->banded[i + k] |= l->roots[i].stages > 1;
    for (int i = 0; i < g->nout; i++) p->readers[g->out[i]->id] += 2 * MEMBERS;
    p->loaded = NEWN(bool, g->nval + 1);
    for (int i = 0; i < l->nload; i++) p->loaded[l->load[i]->val->id] = true;
    return p;
}

// ---- members ----------------------------------------------------------------------------------

typedef struct { int root[MEMBERS], n, axes; bool reduces; } Group;

// A contraction that reuses its operands is the tiler's.
static bool reused(Lower *l, const Root *r) {
    Contraction room, *c = &room; // too large for the arena: one for each root
    if (!r->reduce) return false;
    memset(c, 0, sizeof *c);
    if (!contract_find(l, r->reduce, c) || c->nfactor < 2) return false;
    for (int v = 0; v < c->nvar - c->nred; v++)
        for (int f = 0; f < 2; f++) {
            bool uses = false;
            for (int a = 0; a < c->factor[f].rank; a++) uses |= e_uses(c->factor[f].idx[a], c->var[v]);
            if (!uses) return true;
        }
    return false;
}

static bool eligible(Lower *l, int i) {
    const Root *r = root_at(l, i);
    const Node *n = r->val->node;
    bool op = n->op == P_map || n->op == P_reduce || n->op == P_reshape || n->op == P_permute || n->op == P_expand;
    if (!op || l->rows->done[i] || l->rows->banded[i] || r->at || r->expr != r->val || r->buf != l->buf[r->val->id] || r->buf->apart) return false;
    if (r->reduce && l->attention[r->reduce->id]) return false; // it has loops of its own
    return r->val->rank >= 1 && !dt_is_moved(r->val->dt) && n->nout == 1 && !l->rows->loaded[r->val->id];
}

// The leading axes of v that its buffer keeps outermost.
static int outer_axes(const Lower *l, const Val *v) {
    const Buf *b = l->buf[v->id];
    int k = 0;
    while (k < v->rank && b->order[k] == k) k++;
    return k;
}

static int common_axes(const Lower *l, const Val *a, const Val *b, int most) {
    int k = 0, ka = outer_axes(l, a), kb = outer_axes(l, b);
    while (k < most && k < ka && k < kb && a->shape[k] == b->shape[k]) k++;
    return k;
}

static Ex row_size(const Val *v, int axes) { return e_product(v->rank - axes, v->shape + axes); }

static bool is_member(const Group *g, int root) {
    for (int i = 0; i < g->n; i++)
        if (g->root[i] == root) return true;
    return false;
}

static bool small_rows(const Lower *l, const Group *g, int axes) {
    for (int i = 0; i < g->n; i++) {
        int64_t n;
        if (e_is_const(row_size(root_at(l, g->root[i])->val, axes), &n) && n > ROW_ELEMENTS) return false;
    }
    return true;
}

// Whether root j can be computed where the group is: all that it reads is of the group or before it.
static bool joins(Lower *l, Group *g, int j) {
    bool connected = false;
    if (!eligible(l, j)) return false;
    for (const int *v = l->rows->reads[j]; *v >= 0; v++) {
        int from = l->rows->root_of[*v];
        bool mine = from >= 0 && is_member(g, from);
        connected |= mine;
        if (!mine && from > g->root[0]) return false;
    }
    const Val *a = root_at(l, g->root[0])->val, *b = root_at(l, j)->val;
    int axes = common_axes(l, a, b, g->axes);
    Ex rows = e_product(axes, b->shape);
    if (!connected || axes < 1 || e_is(rows, 1) || reused(l, root_at(l, j))) return false;
    Group with = *g;
    with.root[with.n++] = j;
    if (!small_rows(l, &with, axes)) return false;
    with.axes = axes;
    with.reduces |= root_at(l, j)->reduce != NULL;
    *g = with;
    return true;
}

static bool defines_extents(const Lower *l, const Node *n) {
    for (int i = 0; i < l->nload; i++)
        if (l->load[i]->val->node == n) return true;
    for (int i = 0; i < l->ndefined; i++)
        if (l->defined[i].by->node == n) return true;
    return false;
}

static void find_members(Lower *l, int first, Group *g) {
    *g = (Group){.root = {first}, .n = 1, .axes = root_at(l, first)->val->rank, .reduces = root_at(l, first)->reduce != NULL};
    if (!eligible(l, first) || reused(l, root_at(l, first))) return;
    for (int j = first + 1; j < l->nroots && j <= first + WINDOW && g->n < MEMBERS; j++)
        if (defines_extents(l, root_at(l, j - 1)->val->node)) break; // what comes after it may need them, and the group comes before
        else joins(l, g, j);
}

// ---- code -------------------------------------------------------------------------------------

static bool private_row(const Lower *l, const Group *g, int i) {
    int v = root_at(l, g->root[i])->val->id, inside = 0;
    for (int k = 0; k < g->n; k++)
        for (const int *r = l->rows->reads[g->root[k]]; *r >= 0; r++) inside += *r == v;
    return inside == l->rows->readers[v];
}

// A buffer of one row for each thread.
static Buf *row_buf(Lower *l, const Root *r, int axes) {
    Ex shape[MAX_RANK];
    for (int i = 0; i < r->val->rank; i++) shape[i] = i < axes ? e_int(1) : r->val->shape[i];
    Buf *b = buf_new(l->prog, B_WORK, r->val->dt, r->val->rank, shape, arena_printf("%s_row", r->buf->name));
    b->val = r->val;
    b->scratch = true;
    memcpy(b->order, r->buf->order, sizeof b->order);
    buf_strides(b);
    for (int i = 0; i < axes; i++) b->stride[i] = e_int(0);
    return b;
}

static Stmt *last_of(Stmt *s) {
    while (s && s->next) s = s->next;
    return s;
}

static void splice(Block *b, Stmt *list) {
    if (!list) return;
    *b->tail = list;
    b->tail = &last_of(list)->next;
}

// One element a row: a local, and a store where others need it.
static void scalar_member(Lower *l, Block *rows, Root *r, const Ex *idx, bool keep) {
    Block *b = block_new(rows);
    Buf *own = l->buf[r->val->id];
    l->buf[r->val->id] = NULL;
    Sx *x = gen(l, b, r->val, idx);
    l->buf[r->val->id] = own;
    if (x->kind != SX_LOCAL) x = sx_let(l, b, x);
    if (keep) append(b, (Stmt){.kind = ST_STORE, .buf = r->buf, .e = buf_offset(r->buf, idx), .value = x});
    nest_lanes(l, b->first, NULL);
    splice(rows, b->first);
    gen_bind(rows, r->val, idx, x);
}

static void row_member(Lower *l, Block *rows, Root *r, Ex *idx, int axes, bool keep) {
    Block *b = block_new(rows);
    Buf *to = keep ? r->buf : row_buf(l, r, axes), *own = l->buf[r->val->id];
    l->buf[r->val->id] = NULL;
    Stmt *loops = NULL;
    Block *in = nest_loops(b, to, r->val->rank, r->val->shape, axes, NULL, idx, &loops);
    Sx *x = gen(l, in, r->val, idx);
    append(in, (Stmt){.kind = ST_STORE, .buf = to, .e = buf_offset(to, idx), .value = x});
    l->buf[r->val->id] = keep ? own : to;
    if (loops) nest_collapse(loops);
    nest_indices(&b->first);
    nest_lanes(l, b->first, loops);
    splice(rows, b->first);
}

static Block *row_loops(Lower *l, Block *b, const Val *v, int axes, Ex *idx, Stmt **outer) {
    for (int i = 0; i < axes; i++) {
        Stmt *s;
        idx[i] = e_index(arena_printf("row%d", l->next_local++), v->shape[i]);
        if (idx[i]->kind != X_VAR) continue;
        b = for_loop(b, idx[i], e_int(0), v->shape[i], 1, &s);
        if (!*outer) *outer = s;
    }
    return b;
}

static bool much_work(const Lower *l, const Group *g) {
    for (int i = 0; i < g->n; i++)
        if (val_numel(root_at(l, g->root[i])->val)->hi >= PARALLEL_WORK) return true;
    return false;
}

// false: an operand is of another row, and nothing is changed.
static bool emit_group(Lower *l, const Group *g, Block *b) {
    Ex idx[MAX_RANK];
    RowsNow now = {.axes = g->axes, .row = idx};
    bool *member = NEWN(bool, l->g->nval + 1);
    Buf *old[MEMBERS];
    Stmt *outer = NULL;
    const Root *last = root_at(l, g->root[g->n - 1]);
    for (int i = 0; i < g->n; i++) {
        member[root_at(l, g->root[i])->val->id] = true;
        old[i] = root_at(l, g->root[i])->buf;
    }
    now.member = member;
    Block *func = block_new(l->main), *rows = row_loops(l, func, last->val, g->axes, idx, &outer);
    l->rows_now = &now;
    for (int i = 0; i < g->n && !now.bad; i++) {
        Root *r = root_at(l, g->root[i]);
        bool keep = !private_row(l, g, i) || r->buf->kind != B_WORK || !known_at_entry(l->prog, row_size(r->val, g->axes));
        if (e_is(row_size(r->val, g->axes), 1)) {
            for (int k = g->axes; k < r->val->rank; k++) idx[k] = e_int(0);
            scalar_member(l, rows, r, idx, keep);
        } else row_member(l, rows, r, idx, g->axes, keep);
    }
    l->rows_now = NULL;
    if (now.bad) {
        for (int i = 0; i < g->n; i++) l->buf[root_at(l, g->root[i])->val->id] = old[i];
        return false;
    }
    if (outer) outer->parallel = much_work(l, g), nest_collapse(outer), nest_chunk(outer, 8);
    const Node *n = root_at(l, g->root[0])->val->node;
    append(b, (Stmt){.kind = ST_FUNC, .body = func->first, .buf = last->buf, .text = n->name ? n->name : last->val->node->name});
    return true;
}

bool rows_lower(Lower *l, int first, Block *b) {
    Group g;
    if (!l->rows) l->rows = rows_plan(l);
    if (l->rows->done[first]) return true;
    find_members(l, first, &g);
    for (; g.n > 1; g.n--) { // without the last ones, where they read other rows
        bool reduces = false;
        for (int i = 0; i < g.n; i++) reduces |= root_at(l, g.root[i])->reduce != NULL;
        if (!reduces) return false;
        for (int i = 0; i < g.n; i++)
            check_room(l, root_at(l, g.root[i])->buf, val_numel(root_at(l, g.root[i])->val), b);
        if (!emit_group(l, &g, b)) continue;
        for (int i = 0; i < g.n; i++) l->rows->done[g.root[i]] = true;
        return true;
    }
    return false;
}
