// SPDX-License-Identifier: Apache-2.0
// Nests as functions, and within them loops over threads: parameters, each thread's scratch memory, one function
// for those that are alike.
#include "emit/emit.h"
#include <string.h>

typedef struct { Buf *buf[256]; bool written[256]; int nbuf; Ex sym[64]; int nsym; Ex *own; int nown, cap_own; bool status, parallel; } Uses;

static void use_buf(Uses *u, Buf *b, bool written) {
    if (!b) return;
    b = buf_home(b, NULL);
    for (int i = 0; i < u->nbuf; i++) {
        if (u->buf[i] == b) {
            u->written[i] |= written;
            return;
        }
    }
    if (u->nbuf == 256) die("a nest of more than 256 buffers");
    u->written[u->nbuf] = written;
    u->buf[u->nbuf++] = b;
}

static void use_ex(Uses *u, Ex x) {
    if (x == thread_count()) u->parallel = true;
    else if (x->kind == X_VAR || x->kind == X_LOAD) {
        for (int i = 0; i < u->nown; i++)
            if (u->own[i] == x) return;
        for (int i = 0; i < u->nsym; i++)
            if (u->sym[i] == x) return;
        if (u->nsym == 64) die("a nest of more than 64 symbols");
        u->sym[u->nsym++] = x;
    } else if (x->kind == X_SUM) {
        for (int i = 0; i < x->n; i++) use_ex(u, x->t[i].m);
    } else {
        for (int i = 0; i < x->n; i++) use_ex(u, x->a[i]);
    }
}

static void use_ex_at(Ex *e, void *ctx) { use_ex(ctx, *e); }

static void use_sx(Uses *u, const Sx *x) {
    if (!x) return;
    use_buf(u, x->buf, false);
    for (int i = 0; i < x->n; i++) use_sx(u, x->a[i]);
}

static void declare(Uses *u, const Stmt *s) {
    for (; s; s = s->next) {
        if (s->kind == ST_FOR || s->kind == ST_INDEX || s->kind == ST_INT) {
            int i = 0;
            while (i < u->nown && u->own[i] != s->var) i++;
            if (i == u->nown) PUSH(u->own, u->nown, u->cap_own, s->var);
        }
        declare(u, s->body);
        declare(u, s->els);
    }
}

static void use_stmts(Uses *u, const Stmt *s) {
    for (; s; s = s->next) {
        use_buf(u, s->buf, s->kind == ST_STORE || s->kind == ST_UPDATE);
        use_sx(u, s->value);
        u->status |= s->kind == ST_INDEX;
        u->parallel |= s->parallel;
        for (int i = 0; i < s->nbuf; i++) use_buf(u, s->bufs[i], i >= s->nread);
        use_stmts(u, s->body);
        use_stmts(u, s->els);
    }
}

static bool uses_buf(const Stmt *s, const Buf *b) {
    Uses *u = NEW(Uses);
    use_stmts(u, s);
    for (int i = 0; i < u->nbuf; i++)
        if (u->buf[i] == b) return true;
    return false;
}

// Each thread's copy of the function's scratch buffers that the body uses.
void put_scratch(Emit *e, Text *t, const Stmt *body, int indent) {
    for (int i = 0; i < e->nscratch; i++) {
        Buf *b = e->scratch[i];
        if (!uses_buf(body, b)) continue;
        indent_by(t, indent);
        put(t, "%s *restrict %s = (%s *)(void *)(scratch + CNN_THREAD * scratch_size + ", c_type(b->dt), b->name, c_type(b->dt));
        put_ex(e, t, b->offset);
        put(t, ");\n");
    }
}

static void mark_status(Stmt *s, bool status) {
    for (; s; s = s->next)
        if (s->kind == ST_FOR && s->parallel && status) s->text = "status";
}

static bool find_scratch(Emit *e, const Uses *u) {
    e->nscratch = 0;
    e->scratch = NEWN(Buf *, u->nbuf + 1);
    for (int i = 0; i < u->nbuf; i++)
        if (u->buf[i]->scratch) e->scratch[e->nscratch++] = u->buf[i];
    return e->nscratch > 0;
}

// The names that a function's text holds as its own: parameters, locals, index variables.
static void own_names(NameTable *own, const Stmt *s) {
    for (; s; s = s->next) {
        if (s->local) names_put(own, s->local->name, 0);
        if (s->var) names_put(own, c_var(s->var), 0);
        own_names(own, s->body);
        own_names(own, s->els);
    }
}

static const char *own_key(const Uses *u, const Stmt *s, const char *text) {
    NameTable own = {0};
    own_names(&own, s->body);
    for (int i = 0; i < u->nbuf; i++) names_put(&own, u->buf[i]->name, 0);
    for (int i = 0; i < u->nsym; i++) names_put(&own, c_var(u->sym[i]), 0);
    return share_key(&own, text);
}

// Parameters and arguments.
static void put_params(Emit *e, const Uses *u, bool scratch, Text *f, Text *call) {
    const char *comma = "";
    for (int i = 0; i < u->nbuf; i++) {
        if (u->buf[i]->scratch) continue;
        put(f, "%s%s%s *restrict %s", comma, u->written[i] ? "" : "const ", c_type(u->buf[i]->dt), u->buf[i]->name);
        put(call, "%s%s", comma, u->buf[i]->name);
        comma = ", ";
    }
    for (int i = 0; i < u->nsym; i++) {
        put(f, "%sint64_t %s", comma, c_var(u->sym[i]));
        put(call, "%s%s", comma, c_var(u->sym[i]));
        comma = ", ";
    }
    if (scratch) {
        put(f, "%sunsigned char *restrict scratch, size_t scratch_size", comma);
        if (e->scratch[0]->dynamic) {
            put(call, "%s(unsigned char *)%s, (size_t)(", comma, e->scratch[0]->name);
            put_ex(e, call, e_scale(e_div(e_add(e_mul(e->scratch[0]->size, e_int((int64_t)dt_size(e->scratch[0]->dt))), e_int(63)), e_int(64)), 64));
            put(call, ")");
        } else put(call, "%sscratch, scratch_size", comma);
        comma = ", ";
    }
    if (u->parallel) {
        put(f, "%sint threads", comma);
        put(call, "%sthreads", comma);
        comma = ", ";
    }
    if (!*comma) put(f, "void");
}

// The keys and forms of a nest's contractions, from their comments: see loop/tune.c.
static void put_tiles(Emit *e, const Stmt *s) {
    for (; s; s = s->next) {
        if (s->kind == ST_COMMENT && s->text && !strncmp(s->text, "tile ", 5)) put(&e->profile, "%s;", s->text + 5);
        put_tiles(e, s->body);
        put_tiles(e, s->els);
    }
}

// --profile: what a call took is added to the nest's row of the table.
static void put_profile(Emit *e, Text *call, const Stmt *s, int indent) {
    need(e, "cnn_profile");
    put(&e->profile, "    {\"");
    for (const char *c = s->text ? s->text : "?"; *c; c++) put_n(&e->profile, *c < 32 || *c == '"' || *c == '\\' || *c == '?' ? "_" : c, 1);
    put(&e->profile, "\", \"");
    put_tiles(e, s->body);
    put(&e->profile, "\", 0, 0, 0},\n");
    indent_by(call, indent);
    put(call, "cnn_profile_add(&%s_nests[%d], start, (double)(", e->prefix, e->nnest - 1);
    put_ex(e, call, s->work ? s->work : e_int(0));
    put(call, "));\n");
}

// In front of a function that is compiled for several processors, or that gcc is not to put into another one. A parallel
// region's inside is another function.
static const char *clones(const Emit *e) { return e->opt->multi_target ? "CNN_CLONES " : e->apart ? "CNN_APART " : ""; }

void put_func(Emit *e, Text *call, const Stmt *s, int indent) {
    Uses uses = {0}, *u = &uses;
    declare(u, s->body);
    use_stmts(u, s->body);
    stmt_each_ex((Stmt *)(uintptr_t)s->body, use_ex_at, u);
    mark_status(s->body, u->status);
    Text f = {0}, args = {0};
    const bool scratch = find_scratch(e, u);
    put_params(e, u, scratch, &f, &args);
    put(&f, ") {\n");
    if (u->status) put(&f, "    int st = 0;\n");
    if (u->parallel) put(&f, "    (void)threads;\n");
    if (u->parallel && scratch) put(&f, "    (void)scratch_size;\n");
    bool outer = e->in_func;
    e->in_func = true;
    if (!u->parallel) put_scratch(e, &f, s->body, 1);
    put_stmts(e, &f, s->body, 1);
    e->in_func = outer;
    put(&f, u->status ? "    return st;\n}\n\n" : "}\n\n");
    const char *key = own_key(u, s, f.s);
    int id = names_get(&e->shared, key);
    bool shared = id >= 0;
    e->nnest++;
    if (!shared) {
        id = e->nfunc++;
        names_put(&e->shared, key, id);
        if (s->text) put(&e->funcs, "/* %s */\n", in_comment(s->text));
        put(&e->funcs, "%sstatic %s %s_n%d(", strstr(f.s, "#pragma omp parallel") ? "" : clones(e), u->status ? "int" : "void", e->family, id);
        put_n(&e->funcs, f.s, f.n);
    }
    if (e->opt->profile) {
        indent_by(call, indent);
        put(call, "start = cnn_profile_now();\n");
    }
    indent_by(call, indent);
    put(call, u->status ? "if ((st = %s_n%d(%s))) return st;" : "%s_n%d(%s);", e->family, id, args.s ? args.s : "");
    if (shared && s->text) put(call, " /* %s */", in_comment(s->text));
    put(call, "\n");
    if (e->opt->profile) put_profile(e, call, s, indent);
}

// ---- loops over threads -----------------------------------------------------------------------

typedef struct { Local **v; int n, cap; } Locals;

static void let_locals(const Stmt *s, Locals *own) {
    for (; s; s = s->next) {
        if (s->kind == ST_LET) PUSH(own->v, own->n, own->cap, s->local);
        let_locals(s->body, own);
        let_locals(s->els, own);
    }
}

static bool is_own(const Local *v, const Locals *own) {
    for (int i = 0; i < own->n; i++)
        if (own->v[i] == v) return true;
    return !v;
}

static bool own_values(const Sx *x, const Locals *own) {
    if (!x) return true;
    if (!is_own(x->local, own)) return false;
    for (int i = 0; i < x->n; i++)
        if (!own_values(x->a[i], own)) return false;
    return true;
}

static bool own_locals(const Stmt *s, const Locals *own) {
    for (; s; s = s->next)
        if (!is_own(s->local, own) || !own_values(s->value, own) || !own_locals(s->body, own) || !own_locals(s->els, own)) return false;
    return true;
}

// The function of the loop, from first_ to last_; its name.
static const char *put_part(Emit *e, const Stmt *s, const Uses *u, const char *params) {
    Text f = {0};
    const Stmt *body = s->body;
    put(&f, "%s) {\n", params);
    if (u->parallel) put(&f, "    (void)threads;\n");
    if (u->status) put(&f, "    int st = 0;\n");
    for (int i = 0; i < e->nscratch; i++) {
        const Buf *b = e->scratch[i];
        if (!uses_buf(body, b)) continue;
        put(&f, "    %s *restrict %s = (%s *)(void *)(scratch + ", c_type(b->dt), b->name, c_type(b->dt));
        put_ex(e, &f, b->offset);
        put(&f, ");\n");
    }
    put(&f, "    for (int64_t %s = first_; %s < last_; %s += %lld) {\n", c_var(s->var), c_var(s->var), c_var(s->var), (long long)s->step);
    put_stmts(e, &f, body, 2);
    put(&f, u->status ? "    }\n    return st;\n}\n\n" : "    }\n}\n\n");
    Stmt one = *s;
    one.next = NULL;
    const char *key = own_key(u, &(Stmt){.kind = ST_BLOCK, .body = &one}, arena_printf("part %s", f.s));
    int id = names_get(&e->shared, key);
    if (id < 0) {
        names_put(&e->shared, key, id = e->npart++);
        put(&e->funcs, "%sstatic %s %s_p%d(", clones(e), u->status ? "int" : "void", e->family, id);
        put_n(&e->funcs, f.s, f.n);
    }
    return arena_printf("%s_p%d", e->family, id);
}

// Entering a parallel region takes about a microsecond even for one thread, which calls the function as it is.
bool put_parallel(Emit *e, Text *t, const Stmt *s, int indent) {
    Uses uses = {0}, *u = &uses;
    Locals own = {0};
    let_locals(s->body, &own);
    if (!own_locals(s->body, &own)) return false;
    Stmt one = *s;
    one.next = NULL;
    declare(u, &one);
    use_stmts(u, s->body);
    stmt_each_ex(s->body, use_ex_at, u);
    Text params = {0}, args = {0};
    bool scratch = false;
    for (int i = 0; i < u->nbuf; i++) scratch |= u->buf[i]->scratch;
    put_params(e, u, false, &params, &args);
    const char *comma = u->nbuf || u->nsym || u->parallel ? ", " : "";
    if (!*comma) params.n = 0;
    put(&params, "%s%sint64_t first_, int64_t last_", comma, scratch ? "unsigned char *restrict scratch, " : "");
    const char *name = put_part(e, s, u, params.s), *call = arena_printf("%s(%s%s", name, args.s ? args.s : "", args.n ? ", " : "");
    const char *step = s->step == 1 ? "" : arena_printf("%lld * ", (long long)s->step);
    indent_by(t, indent);
    put(t, "{\n");
    indent_by(t, indent + 1);
    put(t, "const int64_t first_ = ");
    put_ex(e, t, s->lo);
    put(t, ", count_ = ");
    put_ex(e, t, e_ceil_div(e_sub(s->hi, s->lo), e_int(s->step)));
    put(t, ";\n#ifdef _OPENMP\n");
    indent_by(t, indent + 1);
    put(t, "if (threads > 1 && count_ > 1");
    if (s->work) put(t, " && "), put_ex(e, t, s->work), put(t, " >= %d", THREAD_WORK);
    put(t, ") {\n#pragma omp parallel num_threads(threads)%s\n", u->status ? " reduction(max : st)" : "");
    indent_by(t, indent + 2);
    put(t, "{\n");
    indent_by(t, indent + 3);
    put(t, "const int64_t part_ = omp_get_thread_num(), parts_ = omp_get_num_threads();\n");
    indent_by(t, indent + 3);
    put(t, "%s%s%sfirst_ + %sCNN_CUT(count_, part_, parts_), first_ + %sCNN_CUT(count_, part_ + 1, parts_));\n", u->status ? "st = " : "", call,
        scratch ? "scratch + (size_t)part_ * scratch_size, " : "", step, step);
    indent_by(t, indent + 2);
    put(t, "}\n");
    indent_by(t, indent + 1);
    put(t, "} else\n#endif\n");
    indent_by(t, indent + 1);
    if (u->status) put(t, "{\n");
    if (u->status) indent_by(t, indent + 2);
    put(t, "%s%s%sfirst_, first_ + %scount_);\n", u->status ? "const int st_ = " : "", call, scratch ? "scratch, " : "", step);
    if (u->status) {
        indent_by(t, indent + 2);
        put(t, "st = st_ > st ? st_ : st;\n");
        indent_by(t, indent + 1);
        put(t, "}\n");
    }
    indent_by(t, indent);
    put(t, "}\n");
    return true;
}
