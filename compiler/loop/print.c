// SPDX-License-Identifier: Apache-2.0
// The loop tree as text, for --dump=lower: buffers, then statements, indented by nesting.
#include "loop/loop.h"

static const char *const kind_name[] = {"input", "output", "weight", "work"};

static void put_buf(Text *t, const Buf *b) {
    put(t, "%s %s: %s [", kind_name[b->kind], b->name ? b->name : "?", dt_name(b->dt));
    for (int i = 0; i < b->rank; i++) put(t, "%s%s", i ? ", " : "", e_str(b->shape[i]));
    put(t, "] strides [");
    for (int i = 0; i < b->rank; i++) put(t, "%s%s", i ? ", " : "", b->stride[i] ? e_str(b->stride[i]) : "?");
    put(t, "]%s", b->scratch ? " scratch" : "");
    if (b->alias)
        put(t, " in %s at %s", b->alias->name, b->alias_at ? e_str(b->alias_at) : "0");
    else if (b->offset)
        put(t, " at byte %s", e_str(b->offset));
    put(t, "\n");
}

static void put_guards(Text *t, int n, const Range *g) {
    for (int i = 0; i < n; i++) put(t, "%s0 <= %s < %s", i ? ", " : "", e_str(g[i].e), e_str(g[i].n));
}

static void put_sx(Text *t, const Sx *x) {
    switch (x->kind) {
    case SX_NUM:
        if (dt_is_float(x->dt))
            put(t, "%.9g", x->num.f);
        else
            put(t, "%lld", (long long)x->num.i);
        return;
    case SX_INDEX:
        put(t, "(%s)", e_str(x->e));
        return;
    case SX_LOAD:
    case SX_ADDR:
        put(t, "%s%s[%s", x->kind == SX_ADDR ? "&" : "", x->buf->name, e_str(x->e));
        if (x->lanes) put(t, " +%d", x->lanes);
        put(t, "]");
        if (x->nguard) put(t, " where "), put_guards(t, x->nguard, x->guard);
        return;
    case SX_LOCAL:
        put(t, "%s", x->local->name);
        if (x->e) put(t, "[%s]", e_str(x->e));
        return;
    case SX_GUARD:
        put(t, "(where ");
        put_guards(t, x->nguard, x->guard);
        put(t, ": ");
        break;
    case SX_FN:
        put(t, "%s.%s(", fn_info[x->fn].name, dt_name(x->dt));
        break;
    }
    for (int i = 0; i < x->n; i++) {
        if (i) put(t, x->kind == SX_GUARD ? " else " : ", ");
        put_sx(t, x->a[i]);
    }
    put(t, ")");
}

static void put_local(Text *t, const Stmt *s) {
    put(t, "%s", s->local->name);
    if (s->e) put(t, "[%s]", e_str(s->e));
}

static void put_value(Text *t, const Stmt *s) {
    if (s->value)
        put_sx(t, s->value);
    else
        put(t, "undefined");
}

// What comes before a statement's body.
static void put_head(Text *t, const Stmt *s) {
    switch (s->kind) {
    case ST_FOR:
        put(t, "%s%sfor %s = %s to %s", s->parallel ? "parallel " : "", s->unroll ? "unrolled " : "", e_str(s->var),
            e_str(s->lo), e_str(s->hi));
        if (s->step != 1) put(t, " step %lld", (long long)s->step);
        return;
    case ST_LET:
        put(t, "let ");
        put_local(t, s);
        put(t, ": %s", dt_name(s->local->dt));
        if (s->local->lanes) put(t, " x %d", s->local->lanes);
        put(t, " = ");
        break;
    case ST_SET:
        put_local(t, s), put(t, " = ");
        break;
    case ST_ACC:
        put_local(t, s), put(t, " %s= ", fn_info[s->fn].name);
        break;
    case ST_STORE:
        put(t, "%s[%s] = ", s->buf->name, e_str(s->e));
        break;
    case ST_UPDATE:
        put(t, "%s[%s] %s= ", s->buf->name, e_str(s->e), red_name[s->fn]);
        break;
    case ST_INDEX:
        put(t, "index %s < %s = ", e_str(s->var), s->hi ? e_str(s->hi) : "?");
        break;
    case ST_INT:
        put(t, "int %s = %s", e_str(s->var), s->e ? e_str(s->e) : "?");
        return;
    case ST_IF:
        put(t, "if "), put_guards(t, s->nguard, s->guard);
        return;
    case ST_WHILE:
        put(t, "while ");
        break;
    case ST_CALL:
        put(t, "call %s(", s->text ? s->text : "?");
        for (int i = 0; i < s->nbuf; i++) put(t, "%s%s", i ? ", " : "", s->bufs[i]->name);
        for (int i = 0; i < s->narg; i++) put(t, "%s%s", i || s->nbuf ? ", " : "", e_str(s->args[i]));
        put(t, ")");
        return;
    case ST_FUNC:
        put(t, "function %s", s->text ? s->text : "");
        return;
    case ST_COMMENT:
        put(t, "// %s", s->text ? s->text : "");
        return;
    case ST_BLOCK:
        put(t, "block");
        return;
    case ST_STATUS:
        put(t, "fail if ");
        break;
    }
    put_value(t, s);
}

// The depth of a loop tree is that of its loops, which is bounded by the ranks of tensors.
static void put_stmts(Text *t, const Stmt *s, int depth) {
    for (; s; s = s->next) {
        put(t, "%*s", 2 * depth, "");
        put_head(t, s);
        put(t, "\n");
        put_stmts(t, s->body, depth + 1);
        if (s->els) {
            put(t, "%*selse\n", 2 * depth, "");
            put_stmts(t, s->els, depth + 1);
        }
    }
}

void program_print(Text *t, const Program *p) {
    for (int i = 0; i < p->nbufs; i++) put_buf(t, p->bufs[i]);
    put(t, "work %s bytes, %s a thread\n", p->work_size ? e_str(p->work_size) : "0",
        p->scratch_size ? e_str(p->scratch_size) : "0");
    put_stmts(t, p->body, 0);
}
