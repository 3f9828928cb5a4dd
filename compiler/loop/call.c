// SPDX-License-Identifier: Apache-2.0
// Call operators: a runtime helper on row-major buffers.
#include "loop/loop.h"
#include <string.h>

// cnn_NAME(operands…, results…, args…), which gives a status.
static Stmt helper(Lower *l, const Node *n, const char *text, int narg, const Ex *args, Block *b) {
    Buf **bufs = NEWN(Buf *, n->nin + n->nout);
    Ex *copy = NEWN(Ex, narg + 1);
    for (int i = 0; i < n->nin; i++) bufs[i] = in_memory(l, n->in[i], b);
    for (int i = 0; i < n->nout; i++) bufs[n->nin + i] = l->buf[n->out[i].id];
    if (narg) memcpy(copy, args, sizeof *copy * (size_t)narg);
    return (Stmt){.kind = ST_CALL, .text = text, .checked = true, .bufs = bufs, .nbuf = n->nin + n->nout, .nread = n->nin, .narg = narg, .args = copy};
}

// The integers that the call was made with.
static Ex given(const Node *n, size_t i) {
    int64_t v;
    if ((i + 1) * sizeof v > n->aux_size) die("%s has no argument %zu", n->call->name, i);
    memcpy(&v, (const char *)n->aux + i * sizeof v, sizeof v);
    return e_int(v);
}

static Ex dim0(const Node *n, int operand) { return n->in[operand]->shape[0]; }

void lower_call(Lower *l, Node *n, Block *b) {
    const Val *x = n->nin ? n->in[0] : NULL, *y = &n->out[0];
    if (lower_list(l, n, b)) return;
    Stmt s;
    Ex count = x ? val_numel(x) : e_int(0);
    if (n->call == &call_string_concat || n->call == &call_string_print) {
        const char *type = n->call == &call_string_print ? arena_printf("_%s", dt_name(x->dt)) : "";
        s = helper(l, n, arena_printf("cnn_%s%s", n->call->name, type), 1, &count, b);
        s.heap = l->prog->heap = true;
    } else if (n->call == &call_string_to_f64 || n->call == &call_string_to_i64) {
        s = helper(l, n, arena_printf("cnn_%s", n->call->name), 1, &count, b);
    } else if (n->call == &call_string_pieces) {
        s = helper(l, n, "cnn_string_pieces", 2, (Ex[]){count, given(n, 0)}, b);
    } else if (n->call == &call_string_split) {
        s = helper(l, n, "cnn_string_split", 3, (Ex[]){count, given(n, 0), y->shape[y->rank - 1]}, b);
    } else if (n->call == &call_string_find) {
        s = helper(l, n, "cnn_string_find", 3, (Ex[]){count, val_numel(n->in[2]), val_numel(n->in[3])}, b);
    } else if (n->call == &call_string_case) {
        s = helper(l, n, "cnn_string_case", 5, (Ex[]){count, dim0(n, 1), dim0(n, 2), e_is(given(n, 0), 1) ? e_int(0) : dim0(n, 3), dim0(n, 4)}, b);
        s.heap = l->prog->heap = true;
    } else if (n->call == &call_regex_match) {
        s = helper(l, n, "cnn_regex_match", 2, (Ex[]){count, given(n, 0)}, b);
    } else if (n->call == &call_token_count) {
        s = helper(l, n, "cnn_token_count", 4, (Ex[]){count, given(n, 0), given(n, 1), given(n, 2)}, b);
    } else if (n->call == &call_token_split) {
        s = helper(l, n, "cnn_token_split", 6, (Ex[]){count, given(n, 0), given(n, 1), given(n, 2), given(n, 3), y->shape[y->rank - 1]}, b);
    } else if (n->call == &call_ngram_count) {
        s = helper(l, n, "cnn_ngram_count", 7,
                   (Ex[]){x->shape[0], x->shape[1], dim0(n, 1), y->shape[1], given(n, 0), given(n, 1), given(n, 2)}, b);
    } else if (n->call == &call_image_size || n->call == &call_image_pixels) {
        s = helper(l, n, arena_printf("cnn_%s", n->call->name), 2, (Ex[]){count, given(n, 0)}, b);
    } else if (n->call == &call_murmur3) {
        s = helper(l, n, arena_printf("cnn_murmur3_%s", dt_name(x->dt)), 2, (Ex[]){count, given(n, 0)}, b);
    } else if (n->call == &call_update) {
        s = helper(l, n, "update", 1, (Ex[]){given(n, 0)}, b);
        s.ctx = true;
    } else {
        fatal("%s: generated code has no %s", n->name ? n->name : "a node", n->call->name);
    }
    append(b, s);
}

// ---- --update=inplace -----------------------------------------------------------------------------------

static bool sx_reads(const Sx *x, const Buf *w) {
    if (!x) return false;
    for (const Buf *b = x->buf; b; b = b->alias)
        if (b == w) return true;
    for (int i = 0; i < x->n; i++)
        if (sx_reads(x->a[i], w)) return true;
    return false;
}

static bool stmt_reads(const Stmt *s, const Buf *w) {
    bool found = s->buf == w || sx_reads(s->value, w);
    for (int i = 0; i < s->nbuf; i++) found |= s->bufs[i] == w;
    for (const Stmt *k = s->body; k && !found; k = k->next) found = stmt_reads(k, w);
    for (const Stmt *k = s->els; k && !found; k = k->next) found = stmt_reads(k, w);
    return found;
}

static bool is_update(const Stmt *s) { return s->kind == ST_CALL && s->ctx; }

void updates_last(Stmt **body) {
    Stmt *update = NULL, **end = &update;
    for (Stmt **s = body; *s;) { // out of the list, in their order
        if (!is_update(*s)) {
            s = &(*s)->next;
            continue;
        }
        *end = *s;
        *s = (*s)->next;
        *(end = &(*end)->next) = NULL;
    }
    while (update) {
        Stmt *one = update, **after = body;
        update = update->next;
        for (Stmt **s = body; *s; s = &(*s)->next)
            if (!is_update(*s) && (stmt_reads(*s, one->bufs[0]) || stmt_reads(*s, one->bufs[1]))) after = &(*s)->next;
        one->next = *after;
        *after = one;
    }
}
