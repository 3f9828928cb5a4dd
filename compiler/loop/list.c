// SPDX-License-Identifier: Apache-2.0
// Sequences and optionals that the run knows: each is one dynamic buffer, its items one after another
// with their shapes (runtime/sequence.h). A value is copied where it changes, but for a carried one that
// nothing else reads: that one grows.
#include "loop/loop.h"

static Ex new_var(const char *stem) {
    static int count;
    return e_sym(arena_printf("%s%d", stem, count++), INT64_MIN / 2, INT64_MAX);
}

// text(bufs, args); with var, an integer that is declared. port, if any, is passed by its address.
static void call(Block *b, const char *text, Ex var, Buf *port, int nbuf, Buf *const *bufs, int nread, int narg, const Ex *args) {
    Stmt s = {.kind = ST_CALL, .text = text, .var = var, .buf = port, .nbuf = nbuf, .nread = nread, .narg = narg};
    s.bufs = NEWN(Buf *, nbuf + 1);
    s.args = NEWN(Ex, narg + 1);
    for (int i = 0; i < nbuf; i++) s.bufs[i] = bufs[i];
    for (int i = 0; i < narg; i++) s.args[i] = args[i];
    append(b, s);
}

static Ex ask(Block *b, const char *text, Buf *list, int narg, const Ex *args) {
    Ex v = new_var("list");
    call(b, text, v, NULL, 1, &list, 1, narg, args);
    return v;
}

static void require(Block *b, const char *status, Ex e, Ex n) {
    Range *r = NEW(Range);
    *r = (Range){e, n};
    append(b, (Stmt){.kind = ST_STATUS, .text = status, .nguard = 1, .guard = r});
}

static Ex round64(Ex n) { return e_scale(e_div(e_add(n, e_int(63)), e_int(64)), 64); }

static Ex bytes_of(const Val *v) { return e_mul(val_numel(v), e_int((int64_t)dt_size(v->dt))); }

// Bytes of an item with its head: four numbers and the shape.
static Ex record(const Val *v) { return e_add(round64(e_int(8 * (4 + v->rank))), round64(bytes_of(v))); }

Buf *list_buf(Lower *l, Val *v, const char *name) {
    Buf *b = buf_new(l->prog, B_WORK, U8, 0, NULL, name);
    b->val = v;
    b->dynamic = b->apart = true;
    return b;
}

// Room for a list; one whose size the inputs' shapes say is planned.
static void list_room(Lower *l, Buf *to, Ex size, Block *b) {
    if (known_at_entry(l->prog, size)) {
        to->dynamic = false;
        to->size = size;
    } else make_room(to, size, b);
}

void list_copy(Lower *l, Val *v, Buf *to, Block *b) {
    Buf *from = l->buf[v->id];
    make_room(to, ask(b, "cnn_list_used", from, 0, NULL), b);
    call(b, "cnn_list_copy", NULL, NULL, 2, (Buf *[]){from, to}, 1, 0, NULL);
}

// Puts tensor x before item `at` of `from`, into `to`, which has room.
static void put_item(Lower *l, Val *x, Buf *from, Buf *to, Ex at, Block *b) {
    Buf *bufs[3] = {in_memory(l, x, b), from, to};
    Ex args[] = {at, e_int(x->dt), e_int(x->rank), bytes_of(x)};
    call(b, "cnn_list_insert", NULL, NULL, 3, bufs, 2, 4, args);
    for (int k = 0; k < x->rank; k++) call(b, "cnn_list_set_extent", NULL, NULL, 1, &to, 0, 3, (Ex[]){at, e_int(k), x->shape[k]});
}

static void lower_new(Lower *l, Node *n, Block *b) {
    Buf *to = l->buf[n->out[0].id];
    if (n->nin && n->in[0]->kind != K_TENSOR) { // an optional that holds a sequence
        list_copy(l, n->in[0], to, b);
        call(b, "cnn_list_give", NULL, NULL, 1, &to, 0, 0, NULL);
        return;
    }
    Ex size = e_int(64);
    for (int i = 0; i < n->nin; i++) size = e_add(size, record(n->in[i]));
    list_room(l, to, size, b);
    call(b, "cnn_list_open", NULL, NULL, 1, &to, 0, 0, NULL);
    for (int i = 0; i < n->nin; i++) put_item(l, n->in[i], to, to, e_int(i), b);
    if (n->nin) call(b, "cnn_list_give", NULL, NULL, 1, &to, 0, 0, NULL);
}

// Where the run is told to: in [0, count), negative positions counted from `end`.
static Ex position(Lower *l, Val *at, Ex count, Ex end, Block *b) {
    Ex idx = new_var("at"), i = new_var("at");
    append(b, (Stmt){.kind = ST_INT, .var = idx, .value = gen_apart(l, b, at, NULL)});
    call(b, "cnn_list_position", i, NULL, 0, NULL, 0, 3, (Ex[]){idx, count, end});
    require(b, "CNN_EINDEX", i, count);
    return i;
}

// A carried sequence that only this reads: it is not needed any more as it was.
static bool is_own(const Lower *l, const Val *s) {
    for (int i = 0; i < l->ncarry; i++)
        if (l->g->in[2 + i] == s) return l->uses[s->id] == 1;
    return false;
}

static void lower_insert(Lower *l, Node *n, Block *b) {
    Buf *from = l->buf[n->in[0]->id], *to = l->buf[n->out[0].id];
    Ex count = ask(b, "cnn_list_count", from, 0, NULL);
    Ex at = n->nin > 2 ? position(l, n->in[2], e_add(count, e_int(1)), count, b) : count;
    Ex size = e_add(ask(b, "cnn_list_used", from, 0, NULL), record(n->in[1]));
    if (is_own(l, n->in[0])) {
        append(b, (Stmt){.kind = ST_ROOM, .fn = 1, .buf = from, .e = size});
        l->buf[n->out[0].id] = to = from;
    } else make_room(to, size, b);
    put_item(l, n->in[1], from, to, at, b);
}

static void lower_erase(Lower *l, Node *n, Block *b) {
    Buf *bufs[2] = {l->buf[n->in[0]->id], l->buf[n->out[0].id]};
    Ex count = ask(b, "cnn_list_count", bufs[0], 0, NULL), at;
    if (n->nin > 1) at = position(l, n->in[1], count, count, b);
    else {
        at = e_sub(count, e_int(1));
        require(b, "CNN_EINDEX", at, count);
    }
    make_room(bufs[1], ask(b, "cnn_list_used", bufs[0], 0, NULL), b);
    call(b, "cnn_list_erase", NULL, NULL, 2, bufs, 1, 1, &at);
}

// A vector of what the helper says for each axis.
static void lower_extents(Lower *l, const Val *v, Buf *list, const char *text, int narg, const Ex *args, Block *b) {
    int64_t rank = 0;
    e_is_const(v->shape[0], &rank);
    for (int k = 0; k < rank; k++) {
        Ex all[4];
        for (int i = 0; i < narg; i++) all[i] = args[i];
        all[narg] = e_int(k);
        Sx *x = sx_index(I64, ask(b, text, list, narg + 1, all));
        append(b, (Stmt){.kind = ST_STORE, .buf = l->buf[v->id], .e = all[narg], .value = x});
    }
}

static void lower_item(Lower *l, Node *n, Block *b) {
    const Val *v = &n->out[0];
    Buf *list = l->buf[n->in[0]->id];
    Ex count = ask(b, "cnn_list_count", list, 0, NULL), at = position(l, n->in[1], count, count, b);
    if (n->call == &call_list_at) {
        call(b, "cnn_list_item", NULL, NULL, 2, (Buf *[]){list, l->buf[v->id]}, 1, 1, &at);
        return;
    }
    require(b, "CNN_ESHAPE", e_sub(ask(b, "cnn_list_rank", list, 1, &at), v->shape[0]), e_int(1));
    lower_extents(l, v, list, "cnn_list_extent", 1, &at, b);
}

static void lower_join(Lower *l, Node *n, Block *b) {
    const Val *v = &n->out[0];
    const int *aux = n->aux;
    Buf *list = l->buf[n->in[0]->id];
    Ex args[3] = {e_int(aux[0]), e_int(aux[1]), e_int((int64_t)dt_size(v->dt))};
    if (n->call == &call_list_join) {
        call(b, "cnn_list_join", NULL, NULL, 2, (Buf *[]){list, l->buf[v->id]}, 1, 3, args);
        return;
    }
    require(b, "CNN_ESHAPE", e_sub(ask(b, "cnn_list_joins", list, 2, args), v->shape[0]), e_int(1));
    lower_extents(l, v, list, "cnn_list_join_extent", 2, args, b);
}

static void lower_number(Lower *l, Node *n, const char *text, Block *b) {
    Ex v = ask(b, text, l->buf[n->in[0]->id], 0, NULL);
    append(b, (Stmt){.kind = ST_STORE, .buf = l->buf[n->out[0].id], .e = e_int(0), .value = sx_index(n->out[0].dt, v)});
}

static void lower_zip_map(Lower *l, Node *n, Block *b) {
    Val *keys = n->in[0], *x = n->in[1];
    Buf *to = l->buf[n->out[0].id], *bufs[3] = {in_memory(l, keys, b), in_memory(l, x, b), to};
    Ex count = x->shape[1], rows = x->shape[0], each = e_int(128);
    each = e_add(each, round64(bytes_of(keys)));
    each = e_add(each, round64(e_mul(count, e_int((int64_t)dt_size(x->dt)))));
    list_room(l, to, e_add(e_int(64), e_mul(rows, each)), b);
    Ex args[] = {e_int(keys->dt), e_int((int64_t)dt_size(keys->dt)), e_int(x->dt), e_int((int64_t)dt_size(x->dt)), rows, count};
    call(b, "cnn_zip_map", NULL, NULL, 3, bufs, 2, 6, args);
}

bool lower_list(Lower *l, Node *n, Block *b) {
    const CallDef *c = n->call;
    if (c == &call_zip_map) lower_zip_map(l, n, b);
    else if (c == &call_list_new) lower_new(l, n, b);
    else if (c == &call_list_insert) lower_insert(l, n, b);
    else if (c == &call_list_erase) lower_erase(l, n, b);
    else if (c == &call_list_at || c == &call_list_shape) lower_item(l, n, b);
    else if (c == &call_list_join || c == &call_list_join_shape) lower_join(l, n, b);
    else if (c == &call_list_length) lower_number(l, n, "cnn_list_count", b);
    else if (c == &call_list_given) lower_number(l, n, "cnn_list_given", b);
    else if (c == &call_list_get) {
        require(b, "CNN_EVALUE", e_sub(ask(b, "cnn_list_given", l->buf[n->in[0]->id], 0, NULL), e_int(1)), e_int(1));
        list_copy(l, n->in[0], l->buf[n->out[0].id], b);
    } else return false;
    return true;
}

// ---- inputs and outputs -----------------------------------------------------------------------------

// How the caller's memory holds it: runtime/sequence.h.
static Ex port_kind(const Val *v) {
    if (v->kind == K_OPT) return e_int(v->item == K_SEQ ? 2 : 1);
    return e_int(v->item == K_MAP ? 3 : 0);
}

void list_input(Lower *l, Val *v, Buf *port, Block *b) {
    Buf *to = list_buf(l, v, arena_printf("list%d", l->prog->nbufs));
    Ex size = new_var("list"), args[2] = {port_kind(v), e_int(v->dt)};
    call(b, "cnn_list_input_size", size, port, 0, NULL, 0, 2, args);
    require(b, "CNN_ESHAPE", size, e_int(INT64_MAX));
    make_room(to, size, b);
    call(b, "cnn_list_input", new_var("count"), port, 1, &to, 0, 1, args);
    l->buf[v->id] = to;
}

void list_output(Lower *l, Val *v, Buf *port, Block *b) {
    Ex kind = port_kind(v);
    call(b, "cnn_list_output", NULL, port, 1, &l->buf[v->id], 1, 1, &kind);
}
