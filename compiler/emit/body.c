// SPDX-License-Identifier: Apache-2.0
// Statements in C, and nests outlined as functions.
#include "emit/emit.h"
#include <string.h>

void indent_by(Text *t, int n) { put(t, "%*s", n * 4, ""); }

static bool is_vector(const Stmt *s) {
    if (s->kind == ST_LET || s->kind == ST_ACC) return s->local->vector;
    if (s->kind == ST_STORE) return s->value->kind == SX_LOCAL && s->value->local->vector;
    return s->kind == ST_SET && (s->local->vector || (s->value->kind == SX_LOCAL && s->value->local->vector));
}

// An accumulator plus dot2 or dot4 of two operands, of which one may be the same for all lanes.
static void put_dot(Emit *e, Text *t, const Local *acc, const Sx *x) {
    const char *name = arena_printf("cnn_%s_x%d", fn_info[x->fn].name, acc->lanes);
    need(e, "#dot");
    need(e, name);
    put(t, "CNN_L(%s) = %s(CNN_L(%s)", acc->name, name, acc->name);
    for (int i = 0; i < 2; i++) {
        bool wide = x->a[i]->kind == SX_LOCAL && x->a[i]->local->vector;
        put(t, ", ");
        if (!wide) put(t, "CNN_SPLAT(%s, ", vector_type(e, x->dt, acc->lanes));
        put_sx(e, t, x->a[i]);
        if (!wide) put(t, ")");
    }
    put(t, ");\n");
}

// ---- runs of vector statements ----------------------------------------------------------------

static void put_vector_stmt(Emit *e, Text *t, const Stmt *s, int indent) {
    Local *v = s->local;
    Text x = {0};
    indent_by(t, indent);
    if (s->kind == ST_ACC && s->value->kind == SX_FN && (s->value->fn == FN_dot2 || s->value->fn == FN_dot4)) {
        put_dot(e, t, v, s->value);
        return;
    }
    if (s->value) put_sx(e, &x, s->value);
    if (s->kind == ST_STORE) {
        Ex at;
        Buf *b = buf_home(s->buf, &at);
        put(t, "CNN_V(%su, %s + ", vector_type(e, b->dt, s->value->local->lanes), b->name);
        put_ex(e, t, e_add(s->e, at));
        put(t, ") = %s;\n", x.s);
    } else if (s->kind == ST_ACC) {
        if (s->fn != RED_ADD && s->fn != RED_MUL) die("a vector reduction by %s", red_name[s->fn]);
        put(t, "CNN_L(%s) %c= %s;\n", v->name, s->fn == RED_ADD ? '+' : '*', x.s);
    } else if (!v->vector) { // lanes of an array
        put(t, "CNN_V(%su, %s + ", vector_type(e, v->dt, s->value->local->lanes), v->name);
        put_ex(e, t, s->e ? s->e : e_int(0));
        put(t, ") = %s;\n", x.s);
    } else if (s->value && s->value->kind == SX_NUM) {
        put(t, "CNN_L(%s) = CNN_SPLAT(%s, %s);\n", v->name, vector_type(e, v->dt, v->lanes), x.s);
    } else put(t, "CNN_L(%s) = %s;\n", v->name, x.s);
}

// Statements of one run print as one loop over the lanes: scalars that they use come before.
static const Stmt *put_vector_run(Emit *e, Text *t, const Stmt *s, int indent) {
    const Stmt *end = s;
    int lanes = 0;
    for (; end && (is_vector(end) || (end->kind == ST_LET && !end->local->lanes)); end = end->next) {
        if (is_vector(end) && !lanes) lanes = end->local && end->local->vector ? end->local->lanes : end->value->local->lanes;
        if (end->kind == ST_LET && end->local->vector) {
            indent_by(t, indent);
            put(t, "%s %s;\n", vector_type(e, end->local->dt, end->local->lanes), end->local->name);
        } else if (!is_vector(end)) {
            Stmt one = *end;
            one.next = NULL;
            put_stmts(e, t, &one, indent);
        }
    }
    indent_by(t, indent);
    put(t, "CNN_LANES(%d) {\n", lanes);
    for (const Stmt *p = s; p != end; p = p->next)
        if (is_vector(p) && (p->kind != ST_LET || p->value)) put_vector_stmt(e, t, p, indent + 1);
    indent_by(t, indent);
    put(t, "}\n");
    return end;
}

static bool starts_vector_run(const Stmt *s) {
    for (; s && s->kind == ST_LET && !s->local->lanes; s = s->next) {}
    return s && is_vector(s);
}

// ---- dynamic buffers ----------------------------------------------------------------------------

static void put_pointer(Text *t, const Buf *b, int indent) {
    indent_by(t, indent);
    put(t, "%s = (%s *)(void *)(work + span[%d].at);\n", b->name, c_type(b->dt), b->slot);
}

static void put_room(Emit *e, Text *t, const Stmt *s, int indent) {
    const Buf *b = s->buf;
    if (b->alias) return; // it took the place of an operand
    if (s->fn == 2) {
        if (!b->grows) return;
        indent_by(t, indent);
        put(t, "span[%d].at = span[%d].end = room;\n", b->slot, b->slot);
        return;
    }
    Ex bytes = e_mul(s->e, e_int((int64_t)dt_size(b->dt)));
    need(e, s->fn ? "cnn_grow" : "cnn_place");
    indent_by(t, indent);
    put(t, "{\n");
    indent_by(t, indent + 1);
    put(t, "static const short live[] = {");
    for (int i = 0; i < s->nbuf; i++) put(t, "%d, ", s->bufs[i]->slot);
    put(t, "-1};\n");
    indent_by(t, indent + 1);
    put(t, "if (%sspan, %d, live, room, %s, ", s->fn ? "cnn_grow(work, " : "cnn_place(", b->slot,
        e->p->heap ? "(size_t)(heap.top - work)" : "ctx->work_size");
    if (b->scratch) { // for each thread
        bytes = e_scale(e_div(e_add(bytes, e_int(63)), e_int(64)), 64);
        put(t, "threads * (");
    }
    put_ex(e, t, bytes);
    put(t, "%s)) return CNN_ECAPACITY;\n", b->scratch ? ")" : "");
    indent_by(t, indent);
    put(t, "}\n");
    put_pointer(t, b, indent);
}

static void put_swap(Text *t, const Stmt *s, int indent) {
    const Buf *a = s->bufs[0], *b = s->bufs[1];
    indent_by(t, indent);
    put(t, "{\n");
    indent_by(t, indent + 1);
    put(t, "const cnn_span other = span[%d];\n", a->slot);
    indent_by(t, indent + 1);
    put(t, "span[%d] = span[%d];\n", a->slot, b->slot);
    indent_by(t, indent + 1);
    put(t, "span[%d] = other;\n", b->slot);
    put_pointer(t, a, indent + 1);
    put_pointer(t, b, indent + 1);
    indent_by(t, indent);
    put(t, "}\n");
}

// ---- statements -------------------------------------------------------------------------------

static void put_for(Emit *e, Text *t, const Stmt *s, int indent) {
    if (s->parallel && e->in_func && put_parallel(e, t, s, indent)) return;
    if (s->parallel && e->in_func) {
        put(t, "#ifdef _OPENMP\n#pragma omp parallel for num_threads(threads) schedule(static)%s\n#endif\n", s->text ? " reduction(max : st)" : "");
    }
    if (s->simd) {
        need(e, "#simd");
        indent_by(t, indent);
        put(t, "CNN_SIMD\n");
    }
    indent_by(t, indent);
    put(t, "for (int64_t %s = ", c_var(s->var));
    put_ex(e, t, s->lo);
    put(t, "; %s < ", c_var(s->var));
    put_ex(e, t, s->hi);
    if (s->step == 1) put(t, "; %s++) {\n", c_var(s->var));
    else put(t, "; %s += %lld) {\n", c_var(s->var), (long long)s->step);
    if (s->parallel && e->in_func) put_scratch(e, t, s->body, indent + 1);
    put_stmts(e, t, s->body, indent + 1);
    indent_by(t, indent);
    put(t, "}\n");
}

static void put_let(Emit *e, Text *t, const Stmt *s, int indent) {
    Local *v = s->local;
    indent_by(t, indent);
    if (v->lanes) {
        put(t, "%s %s[%d];\n", c_compute(v->dt), v->name, v->lanes);
        if (!s->value) return;
        indent_by(t, indent);
        put(t, "for (int q = 0; q < %d; q++) %s[q] = ", v->lanes, v->name);
    } else if (s->value && s->value->kind == SX_ADDR) put(t, "const %s *%s = ", c_type(v->dt), v->name);
    else if (!s->value) {
        put(t, "%s %s;\n", c_compute(v->dt), v->name);
        return;
    } else put(t, "%s %s = ", c_compute(v->dt), v->name);
    put_sx(e, t, s->value);
    put(t, ";\n");
}

static void put_target(Emit *e, Text *t, const Stmt *s) {
    put(t, "%s", s->local->name);
    if (s->e && s->local->lanes) {
        put(t, "[");
        put_ex(e, t, s->e);
        put(t, "]");
    }
}

static void put_arg_acc(Emit *e, Text *t, const Stmt *s, int indent) {
    Text v = {0};
    const char *acc = s->local->name, *best = s->text, *op = s->fn == RED_ARGMAX ? ">" : "<";
    bool f = dt_is_float(s->local->dt);
    put_sx(e, &v, s->value);
    indent_by(t, indent);
    put(t, "{\n");
    indent_by(t, indent + 1);
    put(t, "%s x = %s;\n", c_compute(s->local->dt), v.s);
    indent_by(t, indent + 1);
    put(t, "if (%s < 0 || x %s%s %s", best, op, s->unroll ? "=" : "", acc);
    if (f) put(t, " || (x != x && %s == %s)", acc, acc);
    put(t, ") {\n");
    indent_by(t, indent + 2);
    put(t, "%s = x;\n", acc);
    indent_by(t, indent + 2);
    put(t, "%s = ", best);
    put_ex(e, t, s->e);
    put(t, ";\n");
    indent_by(t, indent + 1);
    put(t, "}\n");
    indent_by(t, indent);
    put(t, "}\n");
}

static const Fn red_fn[] = {FN_add, FN_mul, FN_max, FN_min, FN_and, FN_or};

static void put_acc(Emit *e, Text *t, const Stmt *s, int indent) {
    if (s->fn == RED_ARGMAX || s->fn == RED_ARGMIN) {
        put_arg_acc(e, t, s, indent);
        return;
    }
    DType dt = s->local->dt;
    indent_by(t, indent);
    put_target(e, t, s);
    if ((dt == F32 || dt == F64) && s->fn <= RED_MUL) put(t, " %c= ", s->fn == RED_ADD ? '+' : '*');
    else put(t, " = ");
    if ((dt == F32 || dt == F64) && s->fn <= RED_MUL) put_sx(e, t, s->value);
    else {
        Sx *a[2] = {sx_local(s->local, s->local->lanes ? s->e : NULL), s->value};
        put_sx(e, t, sx_fn(red_fn[s->fn], dt, 2, a));
    }
    put(t, ";\n");
}

static void put_store(Emit *e, Text *t, const Stmt *s, int indent) {
    Ex at;
    Buf *b = buf_home(s->buf, &at);
    Sx *x = s->value;
    if (s->kind == ST_UPDATE && s->fn != RED_SET) {
        Sx *a[2] = {sx_load(s->buf, s->e, 0), x};
        x = sx_fn(red_fn[s->fn], s->buf->dt, 2, a);
    }
    Text v = {0};
    put_sx(e, &v, x);
    indent_by(t, indent);
    put(t, "%s[", b->name);
    put_ex(e, t, e_add(s->e, at));
    put(t, "] = ");
    put_to_memory(e, t, b->dt, v.s);
    put(t, ";\n");
}

static void put_prefetch(Emit *e, Text *t, const Stmt *s, int indent) {
    Ex at;
    const Buf *b = buf_home(s->buf, &at);
    indent_by(t, indent);
    put(t, "CNN_PREFETCH(%s + ", b->name);
    put_ex(e, t, e_add(s->e, at));
    put(t, ", %d);\n", s->fn);
}

typedef struct { Ex var; bool found; } Seek;

static void seek(Ex *e, void *ctx) {
    Seek *k = ctx;
    k->found |= e_uses(*e, k->var);
}

static void put_index(Emit *e, Text *t, const Stmt *s, int indent) {
    Text v = {0};
    put_sx(e, &v, s->value);
    need(e, "cnn_index");
    indent_by(t, indent);
    put(t, "const int64_t %s = cnn_index((int64_t)(%s), ", c_var(s->var), v.s);
    put_ex(e, t, s->hi);
    put(t, ", &st);\n");
    Seek k = {s->var, false};
    stmt_each_ex(s->next, seek, &k);
    if (k.found) return;
    indent_by(t, indent);
    put(t, "(void)%s;\n", c_var(s->var)); // an axis of one element, a sum of none: the index is only checked
}

static void put_int(Emit *e, Text *t, const Stmt *s, int indent) {
    indent_by(t, indent);
    put(t, "%s%s = ", s->unroll ? "" : "int64_t ", c_var(s->var));
    if (s->value) {
        put(t, "(int64_t)(");
        put_sx(e, t, s->value);
        put(t, ");\n");
    } else {
        put_ex(e, t, s->e);
        put(t, ";\n");
    }
    if (s->var->kind != X_LOAD) return;
    indent_by(t, indent);
    put(t, "(void)%s;\n", c_var(s->var));
}

static void put_if(Emit *e, Text *t, const Stmt *s, int indent) {
    indent_by(t, indent);
    put(t, "if (");
    if (s->value) put_sx(e, t, s->value);
    else put_ranges(e, t, s->nguard, s->guard);
    put(t, ") {\n");
    put_stmts(e, t, s->body, indent + 1);
    indent_by(t, indent);
    put(t, s->els ? "} else {\n" : "}\n");
    if (!s->els) return;
    put_stmts(e, t, s->els, indent + 1);
    indent_by(t, indent);
    put(t, "}\n");
}

static void put_helper_call(Emit *e, Text *t, const Stmt *s, int indent) {
    if (!s->ctx) need(e, s->text);
    if (s->heap && e->p->nslot) { // strings may come down to the highest of the buffers
        need(e, "cnn_lowest");
        indent_by(t, indent);
        put(t, "heap.low = work + cnn_lowest(span, %d, room);\n", e->p->nslot);
    }
    indent_by(t, indent);
    const char *comma = s->buf || s->heap || s->ctx ? ", " : "";
    bool checked = !s->var && (s->buf || s->checked);
    if (s->var) put(t, "const int64_t %s = ", c_var(s->var));
    if (s->ctx) put(t, "%s%s_%s(ctx", checked ? "if ((st = " : "", e->family, s->text);
    else put(t, "%s%s(", checked ? "if ((st = " : "", s->text);
    if (s->buf) put(t, "&%s[%d]", s->buf->kind == B_INPUT ? "in" : "out", s->buf->port);
    if (s->heap) put(t, "&heap");
    for (int i = 0; i < s->nbuf; i++) {
        Ex at;
        Buf *b = buf_home(s->bufs[i], &at);
        put(t, "%s%s + ", comma, b->name);
        put_ex(e, t, at);
        comma = ", ";
    }
    for (int i = 0; i < s->narg; i++) {
        put(t, "%s", comma);
        put_ex(e, t, s->args[i]);
        comma = ", ";
    }
    put(t, checked ? "))) return st;\n" : ");\n");
    if (!s->var) return;
    indent_by(t, indent);
    put(t, "(void)%s;\n", c_var(s->var));
}

static void put_stmt(Emit *e, Text *t, const Stmt *s, int indent) {
    switch (s->kind) {
    case ST_FOR: put_for(e, t, s, indent); return;
    case ST_LET: put_let(e, t, s, indent); return;
    case ST_ACC: put_acc(e, t, s, indent); return;
    case ST_STORE:
    case ST_UPDATE: put_store(e, t, s, indent); return;
    case ST_INDEX: put_index(e, t, s, indent); return;
    case ST_INT: put_int(e, t, s, indent); return;
    case ST_IF: put_if(e, t, s, indent); return;
    case ST_FUNC: put_func(e, t, s, indent); return;
    case ST_CALL: put_helper_call(e, t, s, indent); return;
    case ST_SET:
        indent_by(t, indent);
        put_target(e, t, s);
        put(t, " = ");
        put_sx(e, t, s->value);
        put(t, ";\n");
        return;
    case ST_WHILE:
        indent_by(t, indent);
        put(t, "while (");
        put_ranges(e, t, s->nguard, s->guard);
        put(t, ") {\n");
        put_stmts(e, t, s->body, indent + 1);
        indent_by(t, indent);
        put(t, "}\n");
        return;
    case ST_COMMENT:
        if (!s->text) return;
        indent_by(t, indent);
        put(t, "/* %s */\n", in_comment(s->text));
        return;
    case ST_BLOCK:
        indent_by(t, indent);
        put(t, "{\n");
        put_stmts(e, t, s->body, indent + 1);
        indent_by(t, indent);
        put(t, "}\n");
        return;
    case ST_STATUS:
        indent_by(t, indent);
        put(t, "if (!(");
        put_ranges(e, t, s->nguard, s->guard);
        put(t, ")) return %s;\n", s->text);
        return;
    case ST_ROOM: put_room(e, t, s, indent); return;
    case ST_SWAP: put_swap(t, s, indent); return;
    case ST_PREFETCH: put_prefetch(e, t, s, indent); return;
    }
}

void put_stmts(Emit *e, Text *t, const Stmt *s, int indent) {
    while (s) {
        if (starts_vector_run(s)) {
            s = put_vector_run(e, t, s, indent);
            continue;
        }
        put_stmt(e, t, s, indent);
        s = s->next;
    }
}
