// SPDX-License-Identifier: Apache-2.0
// Lowering of a graph: roots, their buffers and layout, a statement tree for each.
#include "loop/attention.h"
#include <ctype.h>
#include <string.h>

// A C identifier from the name in the model, unique by the number.
static const char *identifier(const char *name, int id) {
    char s[32];
    int n = 0;
    for (; name && *name && n < 24; name++) s[n++] = isalnum((unsigned char)*name) ? *name : '_';
    s[n] = 0;
    return arena_printf("b%d_%s", id, s); // no symbol (n_…), index (i3) or local (t3) looks so
}

static Buf *value_buf(Lower *l, BufKind kind, Val *v) {
    Buf *b = buf_new(l->prog, kind, v->dt, v->rank, v->shape, identifier(v->name ? v->name : v->node->name, l->prog->nbufs));
    b->val = v;
    return b;
}

// The memory of an input or output.
static Buf *port_buf(Lower *l, BufKind kind, Val *v, int port) {
    Buf *b;
    if (is_packed(v)) {
        Ex bytes = packed_bytes(v, val_numel(v));
        b = buf_new(l->prog, kind, U8, 1, &bytes, identifier(v->name ? v->name : v->node->name, l->prog->nbufs));
        b->val = v;
    } else b = value_buf(l, kind, v);
    b->port = port;
    return b;
}

// Elements of a packed port, a byte each in row-major order.
static void move_packed(const char *text, const Val *v, Buf *from, Buf *to, bool extend, Block *b) {
    Stmt s = {.kind = ST_CALL, .text = text, .nbuf = 2, .nread = 1, .bufs = NEWN(Buf *, 2), .narg = extend ? 3 : 2, .args = NEWN(Ex, 3)};
    s.bufs[0] = from;
    s.bufs[1] = to;
    s.args[0] = val_numel(v);
    s.args[1] = e_int(dt_bits(v->dt));
    s.args[2] = e_int(dt_is_signed(v->dt));
    append(b, s);
}

static void leaf_buffers(Lower *l) {
    for (int i = 0; i < l->g->nnode; i++) {
        Node *n = l->g->node[i];
        Val *v = &n->out[0];
        bool moved = dt_is_moved(v->dt) && n->op == P_const && n->data->n == 1; // other single elements are literals
        if (n->op != P_const || !l->uses[v->id] || ((n->data->splat || n->data->n <= 1) && !moved)) continue;
        l->buf[v->id] = value_buf(l, B_WEIGHT, v);
        l->buf[v->id]->data = n->data;
    }
}

static void root_buffers(Lower *l, bool top) {
    for (int i = 0; top && i < l->g->nout; i++) {
        Val *v = l->g->out[i];
        if (v->kind != K_TENSOR || is_packed(v) || !l->root[v->id] || l->buf[v->id] || v->node->op == P_const || v->node->op == P_input || state_of(l->prog, false, i)) continue;
        l->buf[v->id] = port_buf(l, B_OUTPUT, v, i);
        l->prog->out[i] = l->buf[v->id];
    }
    for (int i = 0; i < l->nroots; i++) {
        Node *n = l->roots[i].val->node;
        for (int k = 0; k < n->nout; k++)
            if (!l->buf[n->out[k].id])
                l->buf[n->out[k].id] = n->out[k].kind == K_TENSOR ? value_buf(l, B_WORK, &n->out[k]) : list_buf(l, &n->out[k], identifier(n->name, l->prog->nbufs));
        l->roots[i].buf = l->buf[l->roots[i].val->id];
    }
    for (int i = 0; top && i < l->g->nout; i++) { // an input, a constant, a value given out twice, or packed elements
        Val *v = l->g->out[i];
        if (l->prog->out[i] || state_of(l->prog, false, i)) continue;
        Buf *b = port_buf(l, B_OUTPUT, v, i);
        l->prog->out[i] = b;
        PUSH(l->roots, l->nroots, l->cap_roots, ((Root){.val = v, .expr = v, .buf = b}));
    }
}

void lower_body(Lower *l, Root *r, Block *b) {
    const Node *n = r->val->node;
    Buf *own = l->buf[r->val->id];
    bool direct = r->buf == own; // not a second copy of an output
    if (direct && n->op == P_dims) {
        for (int i = 0; i < n->nex; i++)
            append(b, (Stmt){.kind = ST_STORE, .buf = r->buf, .e = e_int(i), .value = sx_index(r->val->dt, n->ex[i])});
        return;
    }
    if (direct && n->op == P_copy) r->expr = n->in[0];
    bool bound = direct && r->expr == r->val;
    if (bound) l->buf[r->val->id] = NULL; // its expression, not the buffer it goes to
    if (!r->reduce || !(attention_nest(l, r, b) || winograd(l, r, b) || tile(l, r, b))) nest(l, r, b);
    if (bound) l->buf[r->val->id] = own;
}

// The multiply-adds of a root that is a sum of products; NULL: none.
static Ex root_work(const Root *r) {
    if (!r->reduce || r->reduce->node->fn != RED_ADD || r->reduce->node->op != P_reduce) return NULL;
    const Val *x = r->reduce->node->in[0];
    while (x->node->op == P_reshape || x->node->op == P_permute) x = x->node->in[0];
    return x->node->op == P_map && x->node->fn == FN_mul ? val_numel(x) : NULL;
}

static void lower_root(Lower *l, Root *r, Block *b) {
    Node *n = r->val->node;
    bool direct = r->buf == l->buf[r->val->id]; // not a second copy of an output
    if (!direct && r->val->kind != K_TENSOR) {
        list_output(l, r->val, r->buf, b);
        return;
    }
    if (!direct && r->buf->kind == B_OUTPUT && is_packed(r->val)) {
        check_room(l, r->buf, val_numel(r->val), b);
        move_packed("cnn_pack", r->val, in_memory(l, r->val, b), r->buf, false, b);
        return;
    }
    for (int i = 0; i < n->nout && (!r->at || e_is(r->at, 0)); i++)
        if (n->out[i].kind == K_TENSOR) check_room(l, direct ? l->buf[n->out[i].id] : r->buf, val_numel(direct ? &n->out[i] : r->val), b);
    if (direct && (n->op == P_scatter || n->op == P_sort || n->op == P_scan || n->op == P_if || n->op == P_loop ||
                   n->op == P_call || n->op == P_random)) {
        lower_node(l, n, b);
        return;
    }
    Block *body = block_new(l->main);
    lower_body(l, r, body);
    append(b, (Stmt){.kind = ST_FUNC, .body = body->first, .buf = r->buf, .work = root_work(r),
                     .text = r->expr->node->name ? r->expr->node->name : r->val->node->name});
}

// What is read of an input is its memory, or made of it first.
static void lower_input(Lower *l, Val *v, Buf *port, Block *b) {
    if (v->kind != K_TENSOR && l->uses[v->id]) list_input(l, v, port, b);
    if (!is_packed(v)) return;
    check_room(l, l->buf[v->id], val_numel(v), b);
    move_packed("cnn_unpack", v, port, l->buf[v->id], true, b);
}

void lower_graph(Lower *l, Block *b) {
    lower_loads(l, NULL, b);
    for (int i = 0; i < l->nroots; i++) {
        Root *r = &l->roots[i];
        if (r->stages > 1) {
            i += r->stages - 1;
            check_room(l, l->roots[i].buf, val_numel(l->roots[i].val), b);
            band(l, r, b);
        } else if (!rows_lower(l, i, b)) lower_root(l, r, b);
        const Node *n = l->roots[i].val->node;
        const Root *next = i + 1 < l->nroots ? &l->roots[i + 1] : NULL; // a copy of an output needs the sizes that n defines
        if (!next || next->val->node != n || next->buf != l->buf[next->val->id]) lower_loads(l, n, b);
    }
}

void lower_prepare(Lower *l, bool top) {
    find_loads(l);
    fuse(l);
    leaf_buffers(l);
    root_buffers(l, top);
    if (top) states_roots(l);
    layout(l);
    winograd_choose(l);
    band_choose(l);
}

Program *lower(Graph *g, const Options *opt) {
    Program *p = NEW(Program);
    Lower *l = NEW(Lower);
    *l = (Lower){.g = g, .opt = opt, .prog = p};
    p->g = g;
    p->in = NEWN(Buf *, g->nin + 1);
    p->out = NEWN(Buf *, g->nout + 1);
    l->buf = NEWN(Buf *, g->nval + 1);
    l->capture = NEWN(Val *, g->nval + 1);
    for (int i = 0; i < g->nin; i++) {
        Val *v = g->in[i];
        p->in[i] = port_buf(l, B_INPUT, v, i);
        l->buf[v->id] = is_packed(v) ? value_buf(l, B_WORK, v) : p->in[i];
    }
    for (int i = 0; i < g->nin; i++)
        for (int k = 0; k < g->in[i]->rank; k++) have_symbol(p, g->in[i]->shape[k]);
    p->nsym = p->nhave;
    if (opt) states_find(l);
    lower_prepare(l, true);
    l->main = block_new(NULL);
    for (int i = 0; i < g->nin; i++) lower_input(l, g->in[i], p->in[i], l->main);
    lower_graph(l, l->main);
    p->body = l->main->first;
    updates_last(&p->body);
    if (!opt || !opt->exact) sum_parts(l, p->body);
    threads(p, p->body);
    pack_share(p);
    plan(p, opt);
    return p;
}
