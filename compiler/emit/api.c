// SPDX-License-Identifier: Apache-2.0
// The generated interface: header, shapes, work size, run, descriptor.
#include "emit/emit.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { HEAP_DEFAULT = 1 << 16 };

static const char *identifier(const char *name) {
    static const char *const taken[] = {"int", "float", "double", "char", "for", "if", "do", "in", "out", "st", "work", "ctx", "threads",
                                        "auto", "long", "short", "void", "const", "static", "while", "default", "return", "switch",
                                        "case", "break", "register", "union", "struct", "enum", "signed", "unsigned", "inline",
                                        "class", "new", "this", "template", "and", "or", "not", "xor", "scratch", "weights", "q", "x", "sym"};
    Text t = {0};
    if (!name || !*name) name = "v";
    if (isdigit((unsigned char)*name)) put(&t, "_");
    for (; *name; name++) put(&t, "%c", isalnum((unsigned char)*name) ? *name : '_');
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (!strcmp(t.s, taken[i])) {
            put(&t, "_");
            break;
        }
    return intern(t.s);
}

// Names that differ stay different: what is left of a-b and of a_b would be one identifier.
const char *c_name(const char *name) {
    static NameTable made, taken;
    static const char **all;
    static int n, cap;
    const char *key = intern(name ? name : ""), *first, *c;
    int at = names_get(&made, key);
    if (at >= 0) return all[at];
    first = c = identifier(name);
    for (int k = 2; names_get(&taken, c) >= 0; k++) c = intern(arena_printf("%s_%d", first, k));
    names_put(&taken, c, n);
    names_put(&made, key, n);
    PUSH(all, n, cap, c);
    return c;
}

const char *c_var(Ex var) {
    if (var->kind == X_LOAD) return intern(arena_printf("%s%d", var->c ? "size" : "elem", var->id));
    if (var == thread_count()) return "threads";
    return var->extent ? var->name : intern(arena_printf("n_%s", c_name(var->name)));
}

int program_symbols(const Program *p, Ex **sym) {
    int n = 0, cap = 0;
    Ex *v = NULL;
    for (int i = 0; i < p->g->nin; i++) {
        for (int k = 0; k < p->g->in[i]->rank; k++) {
            Ex d = p->g->in[i]->shape[k];
            bool seen = d->kind != X_VAR;
            for (int j = 0; j < n; j++) seen |= v[j] == d;
            if (!seen) PUSH(v, n, cap, d);
        }
    }
    *sym = v;
    return n;
}

static const char *upper(const char *s) {
    char *u = arena_strdup(s);
    for (char *p = u; *p; p++) *p = (char)toupper((unsigned char)*p);
    return u;
}

static const char *port_kind(const Val *v) {
    return v->kind == K_TENSOR ? "CNN_TENSOR" : v->kind == K_OPT ? (v->item == K_SEQ ? "CNN_OPTIONAL_SEQUENCE" : "CNN_OPTIONAL") : v->item == K_MAP ? "CNN_SEQUENCE_OF_MAPS" : "CNN_SEQUENCE";
}

static bool is_fixed(const Program *p) {
    int64_t c;
    Ex *sym;
    if (program_symbols(p, &sym) || p->nstack || !e_is_const(p->work_size, &c) || p->nslot) return false;
    for (int i = 0; i < p->g->nout; i++)
        if (p->g->out[i]->kind != K_TENSOR) return false;
    for (int i = 0; i < p->g->nout; i++)
        for (int k = 0; k < p->g->out[i]->rank; k++)
            if (!e_is_const(p->g->out[i]->shape[k], &c)) return false;
    return true;
}

static const char *out_name(const Graph *g, int i) { return g->out_name[i] ? g->out_name[i] : arena_printf("out%d", i); }

// Field names, made distinct.
static const char *const *field_names(const Graph *g, bool input) {
    int n = input ? g->nin : g->nout;
    const char **name = NEWN(const char *, n + 1);
    for (int i = 0; i < n; i++) {
        const char *s = c_name(input ? g->in[i]->name : out_name(g, i));
        name[i] = s;
        for (int k = 0; k < i; k++)
            if (name[k] == s) name[i] = arena_printf("%s_%d", s, i);
    }
    return name;
}

static const char *field(const Graph *g, int i, bool input) {
    static const Graph *of;
    static const char *const *names[2];
    if (of != g) names[0] = field_names(g, false), names[1] = field_names(g, true);
    of = g;
    return names[input][i];
}

static void put_shape_comment(Text *t, const Val *v) {
    if (v->kind != K_TENSOR) {
        const char *what = v->kind == K_SEQ ? "sequence" : v->item == K_SEQ ? "optional sequence" : "optional";
        put(t, "/* %s of %s%s */", what, v->item == K_MAP ? "maps to " : "", dt_onnx_name(v->dt));
        return;
    }
    put(t, "/* %s [", dt_onnx_name(v->dt));
    for (int k = 0; k < v->rank; k++) put(t, "%s%s", k ? ", " : "", in_comment(e_str(v->shape[k])));
    put(t, "] */");
}

// Bytes for the strings that the run makes, from --cap strings=BYTES; more may be given.
static int64_t heap_size(const Emit *e) {
    if (!e->p->heap) return 0;
    for (int i = 0; i < e->opt->ncap; i++)
        if (!strncmp(e->opt->cap[i], "strings=", 8)) return (strtoll(e->opt->cap[i] + 8, NULL, 10) + 127) / 64 * 64;
    return HEAP_DEFAULT;
}

static void put_plain_args(Emit *e, Text *t) {
    const Graph *g = e->p->g;
    for (int i = 0; i < g->nin; i++) put(t, "const %s *%s, ", port_type(g->in[i]), field(g, i, true));
    for (int i = 0; i < g->nout; i++) {
        const char *s = field(g, i, false);
        for (int k = 0; k < g->nin; k++)
            if (field(g, k, true) == s) s = arena_printf("%s_out", s);
        put(t, "%s *%s, ", port_type(g->out[i]), s);
    }
    put(t, "void *work");
}

static bool has_plain(const Emit *e, uint64_t file_size) { return is_fixed(e->p) && !file_size && !e->p->nstate; }

static uint64_t weights_file_size(Emit *e) {
    uint64_t n = 0;
    for (int i = 0; i < e->p->nbufs; i++)
        if (e->p->bufs[i]->kind == B_WEIGHT && e->p->bufs[i]->offset && e->p->bufs[i]->last >= 0) n = 1;
    return n;
}

// Elements of a state's memory.
static Ex state_room(const Program *p, const State *s) {
    const Val *v = p->g->in[s->in];
    Ex n = e_int(1);
    for (int k = 0; k < v->rank; k++) n = e_mul(n, k == s->axis ? s->cap : v->shape[k]);
    return n;
}

static void put_state_help(Emit *e, Text *t) {
    const Program *p = e->p;
    if (!p->nstate) return;
    put(t, "\n/* States: in.PAST and out.PRESENT are one memory that the caller keeps from run to run.\n"
           "   in.PAST.data: the memory, in.PAST.cap: its bytes (CNN_ECAPACITY if fewer than below or if a run needs\n"
           "   more room); in.PAST.shape: the state's true shape, to begin with 0 along an axis that grows, else with\n"
           "   the values that the model starts from. out.PRESENT.data is not read. out.PRESENT.shape receives the new\n"
           "   shape: let it be the same array as in.PAST.shape, and the state advances with every run that succeeds.\n"
           "   On an error it is unchanged. The elements are row-major with the capacity as extent of the axis.\n");
    for (int i = 0; i < p->nstate; i++) {
        const State *s = &p->state[i];
        put(t, "   %s, %s: ", field(p->g, s->in, true), field(p->g, s->out, false));
        if (s->axis >= 0) put(t, "grows along axis %d up to %s; ", s->axis, in_comment(e_str(s->cap)));
        put(t, "%s bytes\n", in_comment(e_str(e_scale(state_room(p, s), (int64_t)dt_size(p->g->in[s->in]->dt)))));
    }
    put(t, "*/\n");
}

static void put_state_room(Emit *e, Text *t) {
    const Program *p = e->p;
    for (int i = 0; i < p->nstate; i++) {
        const State *s = &p->state[i];
        put(t, "    if (in[%d].cap < (size_t)(", s->in);
        put_ex(e, t, state_room(p, s));
        put(t, ") * %zu) return CNN_ECAPACITY;\n", dt_size(p->g->in[s->in]->dt));
        if (s->axis < 0) continue;
        Ex n = p->g->out[s->out]->shape[s->axis];
        if (!known_at_entry(p, n)) fatal("--state: how much '%s' grows depends on data", p->g->in[s->in]->name);
        put(t, "    if (");
        put_ex(e, t, n);
        put(t, " > %s) return CNN_ECAPACITY;\n", e_str(s->cap));
    }
}

static void put_state_list(Emit *e, Text *t) {
    const Program *p = e->p;
    if (!p->nstate) return;
    put(t, "static const cnn_state %s_states[] = {", e->prefix);
    for (int i = 0; i < p->nstate; i++) {
        const State *s = &p->state[i];
        put(t, "%s{%d, %d, %d, %s}", i ? ", " : "", s->in, s->out, s->axis, s->axis >= 0 ? e_str(s->cap) : "0");
    }
    put(t, "};\n");
}

void put_header(Emit *e, Text *t) {
    const char *m = e->prefix, *M = upper(m);
    const Graph *g = e->p->g;
    Ex *sym;
    int nsym = program_symbols(e->p, &sym);
    int64_t c;
    put(t, "#ifndef %s_H\n#define %s_H\n", M, M);
    need(e, "abi");
    put(t, "@ABI@\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
    if (!e->p->nstack && e_is_const(e->p->work_size, &c)) {
        e_is_const(e->p->scratch_size, &c);
        put(t, "/* Bytes of the work area for one thread%s; 64-byte aligned. */\n#define %s_WORK_SIZE ", e->p->nslot ? ", at the least" : "", M);
        put_ex(e, t, e_max(e_add(e_add(e->p->work_size, e->p->scratch_size), e_int(heap_size(e))), e_int(64)));
        put(t, "\n");
    }
    put(t, "\ntypedef struct {\n");
    for (int i = 0; i < g->nin; i++) {
        put(t, "    cnn_tensor %s; ", field(g, i, true));
        put_shape_comment(t, g->in[i]);
        put(t, "\n");
    }
    if (!g->nin) put(t, "    char none;\n");
    put(t, "} %s_in;\n\ntypedef struct {\n", m);
    for (int i = 0; i < g->nout; i++) {
        put(t, "    cnn_tensor %s; ", field(g, i, false));
        put_shape_comment(t, g->out[i]);
        put(t, "\n");
    }
    put(t, "} %s_out;\n\n", m);
    if (e->p->nslot)
        put(t, "/* What the work area has at the least: tensors whose size depends on data take room behind it, and\n"
               "   %s_run returns CNN_ECAPACITY where work_size does not suffice for them. */\n", m);
    if (nsym) {
        put(t, "typedef struct { int64_t ");
        for (int i = 0; i < nsym; i++) put(t, "%s%s", i ? ", " : "", c_name(sym[i]->name));
        put(t, "; } %s_dims;\nsize_t %s_work_size(const %s_dims *dims, int threads);\n", m, m, m);
    } else put(t, "size_t %s_work_size(int threads);\n", m);
    put(t, "\n/* Runs the model; a cnn_status. */\nint %s_run(const cnn_ctx *ctx, const %s_in *in, %s_out *out);\n", m, m, m);
    if (has_plain(e, weights_file_size(e))) {
        put(t, "\n/* The same for one thread with plain arrays. */\nint %s(", m);
        put_plain_args(e, t);
        put(t, ");\n");
    }
    put_state_help(e, t);
    put(t, "\nextern const cnn_model %s_model;\n", m);
    for (int i = 0; i + 1 < g->nmeta; i += 2) {
        put(t, "/* %s: %s */\n", in_comment(g->meta[i]), in_comment(g->meta[i + 1]));
    }
    put(t, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
}

static void put_ports(Emit *e, Text *t, bool input) {
    const Graph *g = e->p->g;
    int n = input ? g->nin : g->nout;
    const char *what = input ? "in" : "out", *m = e->prefix;
    Ex *sym;
    int nsym = program_symbols(e->p, &sym);
    for (int i = 0; i < n; i++) {
        const Val *v = input ? g->in[i] : g->out[i];
        put(t, "static const int64_t %s_%s%d_dim[] = {", m, what, i);
        for (int k = 0; k < v->rank; k++) {
            int64_t c = -1;
            if (v->item != K_MAP) e_is_const(v->shape[k], &c); // keys and values of maps differ in size
            put(t, "%lld, ", (long long)c);
        }
        put(t, "0};\nstatic const int32_t %s_%s%d_sym[] = {", m, what, i);
        for (int k = 0; k < v->rank; k++) {
            int s = -1;
            for (int j = 0; j < nsym; j++)
                if (sym[j] == v->shape[k]) s = j;
            put(t, "%d, ", s);
        }
        put(t, "0};\n");
    }
    if (!n) return;
    put(t, "static const cnn_port %s_%s_ports[] = {\n", m, what);
    for (int i = 0; i < n; i++) {
        const Val *v = input ? g->in[i] : g->out[i];
        const char *name = input ? v->name : out_name(g, i);
        put(t, "    {");
        put_c_string(t, name, strlen(name));
        put(t, ", %s, %d, %d, %s_%s%d_dim, %s_%s%d_sym},\n", port_kind(v), (int)v->dt, v->rank, m,
            what, i, m, what, i);
    }
    put(t, "};\n");
}

static void put_symbols(Emit *e, Text *t) {
    Ex *sym;
    int nsym = program_symbols(e->p, &sym);
    for (int i = 0; i < nsym; i++) put(t, "    const int64_t %s = sym[%d];\n", c_var(sym[i]), i);
    for (int i = 0; i < nsym; i++) put(t, "    (void)%s;\n", c_var(sym[i]));
}

// PREFIX_place: where each buffer of the stack begins; the bytes of all.
static void put_place(Emit *e, Text *t) {
    const Program *p = e->p;
    need(e, "cnn_stack");
    put(t, "static int64_t %s_place(const int64_t *sym, int64_t *place) {\n    static const int below[] = { /* of each buffer the ones below it, then -1 */", e->prefix);
    for (int i = 0; i < p->nstack; i++) {
        put(t, "\n        ");
        for (int k = 0; k < p->stack[i].nbelow; k++) put(t, "%d, ", p->stack[i].below[k]);
        put(t, "-1,");
    }
    put(t, "\n    };\n");
    put_symbols(e, t);
    put(t, "    const int64_t size[] = {\n");
    for (int i = 0; i < p->nstack; i++) {
        put(t, "        ");
        put_ex(e, t, p->stack[i].bytes);
        put(t, ", /* %s */\n", in_comment(p->stack[i].buf->name));
    }
    put(t, "    };\n    return cnn_stack(%d, size, below, place);\n}\n\n", p->nstack);
}

// The bytes of the work area for any number of threads.
static void put_bytes(Emit *e, Text *t, const char *planned) {
    put(t, "(size_t)(%s + each * (threads > 1 ? threads : 1)) + %lld;\n", planned, (long long)(64 + heap_size(e)));
}

static void put_work_of(Emit *e, Text *t) {
    const char *m = e->prefix;
    if (e->p->nstack) put_place(e, t);
    put(t, "static size_t %s_work_of(const int64_t *sym, int threads) {\n    (void)sym;\n    (void)threads;\n", m);
    put_symbols(e, t);
    if (e->p->nstack) put(t, "    int64_t place[%d];\n    const int64_t n = %s_place(sym, place)", e->p->nstack + 1, m);
    else {
        put(t, "    const int64_t n = ");
        put_ex(e, t, e->p->work_size);
    }
    put(t, ", each = ");
    put_ex(e, t, e->p->scratch_size);
    put(t, ";\n    return ");
    put_bytes(e, t, "n");
    put(t, "}\n\n");
}

static void put_size_functions(Emit *e, Text *t) {
    const char *m = e->prefix;
    const Graph *g = e->p->g;
    Ex *sym;
    int nsym = program_symbols(e->p, &sym);
    put_work_of(e, t);
    if (nsym) {
        put(t, "size_t %s_work_size(const %s_dims *dims, int threads) {\n    const int64_t s[] = {", m, m);
        for (int i = 0; i < nsym; i++) put(t, "%sdims->%s", i ? ", " : "", c_name(sym[i]->name));
        put(t, "};\n    return %s_work_of(s, threads);\n}\n\n", m);
    } else put(t, "size_t %s_work_size(int threads) {\n    return %s_work_of(NULL, threads);\n}\n\n", m, m);
    put(t, "static int %s_out_shape(const int64_t *sym, int output, int64_t *shape) {\n    (void)sym;\n    (void)shape;\n", m);
    put_symbols(e, t);
    put(t, "    switch (output) {\n");
    for (int i = 0; i < g->nout; i++) {
        put(t, "    case %d:\n", i);
        for (int k = 0; k < g->out[i]->rank; k++) {
            Ex most = program_bound(e->p, g->out[i]->shape[k]); // of a size that only the run knows
            put(t, "        shape[%d] = ", k);
            if (most) put_ex(e, t, most);
            else put(t, "-1");
            put(t, ";\n");
        }
        put(t, "        return CNN_OK;\n");
    }
    put(t, "    default:\n        return CNN_ESHAPE;\n    }\n}\n\n");
}

static void put_guards(Emit *e, Text *t) {
    const Graph *g = e->p->g;
    static const char *const op[] = {" != ", NULL, " < ", NULL, " != "};
    for (int i = 0; i < g->nguard; i++) {
        const Guard *q = &g->guard[i];
        if (!known_at_entry(e->p, q->a) || !known_at_entry(e->p, q->b)) continue; // after what they need: loop/dynamic.c
        Text a = {0}, b = {0};
        put_ex(e, &a, q->a);
        put_ex(e, &b, q->b);
        if (op[q->kind]) put(t, "    if (%s%s%s) return CNN_ESHAPE;", a.s, op[q->kind], b.s);
        else if (q->kind == G_BROADCAST) put(t, "    if (%s != %s && %s != 1) return CNN_ESHAPE;", a.s, b.s, b.s);
        else put(t, "    if ((%s) %% (%s) != 0) return CNN_ESHAPE;", a.s, b.s);
        put(t, " /* %s */\n", in_comment(q->what));
    }
}

static void put_inputs(Emit *e, Text *t) {
    const Graph *g = e->p->g;
    Ex *sym;
    int nsym = program_symbols(e->p, &sym);
    bool *bound = NEWN(bool, nsym + 1);
    for (int i = 0; i < g->nin; i++) {
        const Val *v = g->in[i];
        if (v->kind != K_TENSOR) continue; // loop/list.c
        put(t, "    if (!in[%d].data || in[%d].type != %d || in[%d].rank != %d) return CNN_ESHAPE;\n", i, i, (int)v->dt, i, v->rank);
        for (int k = 0; k < v->rank; k++) {
            int s = -1;
            for (int j = 0; j < nsym; j++)
                if (sym[j] == v->shape[k]) s = j;
            if (s >= 0 && !bound[s]) {
                bound[s] = true;
                put(t, "    const int64_t %s = in[%d].shape[%d];\n", c_var(sym[s]), i, k);
                put(t, "    if (%s < 0", c_var(sym[s]));
                if (sym[s]->lo > 0) put(t, " || %s < %lld", c_var(sym[s]), (long long)sym[s]->lo);
                if (sym[s]->hi != INT64_MAX) put(t, " || %s > %lld", c_var(sym[s]), (long long)sym[s]->hi);
                put(t, ") return CNN_ESHAPE;\n");
                continue;
            }
            put(t, "    if (in[%d].shape[%d] != ", i, k);
            put_ex(e, t, v->shape[k]);
            put(t, ") return CNN_ESHAPE;\n");
        }
    }
}

static void put_pointers(Emit *e, Text *t) {
    for (int i = 0; i < e->p->nbufs; i++) {
        const Buf *b = e->p->bufs[i];
        if (b->last < 0 && b->kind != B_OUTPUT) continue;
        const char *c = c_type(b->dt);
        if (b->kind == B_INPUT && b->val->kind == K_TENSOR) {
            const char *k = b->state ? "" : "const ";
            put(t, "    %s%s *const %s = (%s%s *)in[%d].data;\n", k, c, b->name, k, c, b->port);
        }
        if (b->kind == B_OUTPUT && (!b->val || b->val->kind == K_TENSOR)) put(t, "    %s *const %s = (%s *)out[%d].data;\n", c, b->name, c, b->port);
        if (b->kind == B_WEIGHT && b->offset && b->dt != STR)
            put(t, "    const %s *const %s = (const %s *)(const void *)(weights + %s);\n", c, b->name, c, e_str(b->offset));
        if (b->kind == B_WORK && !b->alias && b->dynamic) put(t, "    %s *%s = (%s *)(void *)work;\n    (void)%s;\n", c, b->name, c, b->name); // a copy may be all that reads it
        if (b->kind == B_WORK && !b->alias && !b->scratch && !b->dynamic) {
            put(t, "    %s *const %s = (%s *)(void *)(work + ", c, b->name, c);
            if (b->place) put(t, "place[%d]", b->place - 1);
            else put_ex(e, t, b->offset);
            put(t, ");");
            if (b->val) {
                put(t, " ");
                put_shape_comment(t, b->val);
            }
            put(t, "\n");
        }
    }
}

static void put_outputs(Emit *e, Text *t, bool after) {
    const Graph *g = e->p->g;
    for (int i = 0; i < g->nout; i++) {
        const Val *v = g->out[i];
        if (v->kind != K_TENSOR) {
            if (!after) put(t, "    if (!out[%d].data) return CNN_ESHAPE;\n", i);
            continue;
        }
        Ex n = val_numel(v);
        bool known = known_at_entry(e->p, n);
        if (!after && state_of(e->p, false, i)) put(t, "    if (out[%d].rank != %d) return CNN_ESHAPE;\n", i, v->rank);
        else if (!after) {
            put(t, "    if (!out[%d].data || out[%d].rank != %d) return CNN_ESHAPE;\n", i, i, v->rank);
            if (!known) put(t, "    const int64_t n_cap%d = out[%d].cap > (size_t)(INT64_MAX / 8) ? INT64_MAX / 8 : (int64_t)out[%d].cap;\n", i, i, i);
            if (known && !e_is(n, 0)) {
                put(t, "    if (out[%d].cap < (size_t)(", i);
                put_ex(e, t, is_packed(v) ? packed_bytes(v, n) : n);
                put(t, ") * %s) return CNN_ECAPACITY;\n", is_packed(v) ? "1" : v->dt == STR ? "sizeof(cnn_string)" : arena_printf("%zu", dt_size(v->dt)));
            }
        } else {
            put(t, "    out[%d].type = %d;\n", i, (int)v->dt);
            for (int k = 0; k < v->rank; k++) {
                put(t, "    out[%d].shape[%d] = ", i, k);
                put_ex(e, t, v->shape[k]);
                put(t, ";\n");
            }
        }
    }
}

static void put_run_array(Emit *e, Text *t, bool file) {
    const char *m = e->prefix;
    Ex *sym;
    int nsym = program_symbols(e->p, &sym);
    put(t, "static int %s_run_array(const cnn_ctx *ctx, const cnn_tensor *in, cnn_tensor *out) {\n", m);
    put(t, "    int st = 0;\n    const int threads = ctx->threads > 1 ? ctx->threads : 1;\n");
    if (e->profile.n) put(t, "    double start = 0;\n    (void)start;\n");
    put(t, "    unsigned char *const work = (unsigned char *)ctx->work;\n    (void)in;\n    (void)st;\n    (void)threads;\n");
    put_inputs(e, t);
    put_guards(e, t);
    put_outputs(e, t, false);
    put_state_room(e, t);
    if (nsym) {
        put(t, "    const int64_t sym[] = {");
        for (int i = 0; i < nsym; i++) put(t, "%s%s", i ? ", " : "", c_var(sym[i]));
        put(t, "};\n");
        if (e->p->nstack) {
            put(t, "    int64_t place[%d];\n    const int64_t planned = %s_place(sym, place), each = ", e->p->nstack + 1, m);
            put_ex(e, t, e->p->scratch_size);
            put(t, ";\n    const size_t work_size = ");
            put_bytes(e, t, "planned");
        } else put(t, "    const size_t work_size = %s_work_of(sym, threads);\n", m);
    } else put(t, "    const size_t work_size = %s_work_of(NULL, threads);\n", m);
    put(t, "    if (!work || ctx->work_size + 64 < work_size || (uintptr_t)work %% 64) return CNN_EWORK;\n");
    if (!e_is(e->p->scratch_size, 0)) {
        put(t, "    const size_t scratch_size = (size_t)(");
        put_ex(e, t, e->p->scratch_size);
        put(t, ");\n    unsigned char *const scratch = work + ");
        if (e->p->nstack) put(t, "planned");
        else put_ex(e, t, e->p->work_size);
        put(t, ";\n");
    }
    if (file) {
        put(t, "    const unsigned char *const weights = (const unsigned char *)ctx->weights;\n");
        put(t, "    if (!weights || !%s_weights_fit(weights)) return CNN_EWEIGHTS;\n", m);
    }
    put(t, "    const int64_t n_seed = (int64_t)ctx->seed;\n    (void)n_seed;\n");
    if (e->p->nslot || e->p->heap)
        put(t, "    const size_t room = (work_size - %lld) / 64 * 64; /* dynamic buffers come behind it, new strings from the end */\n",
            (long long)(1 + heap_size(e)));
    if (e->p->nslot) put(t, "    cnn_span span[%d] = {{0, 0}};\n", e->p->nslot);
    if (e->p->heap) put(t, "    cnn_heap heap = {work + room, work + ctx->work_size};\n");
    put_pointers(e, t);
    put_n(t, e->main.s ? e->main.s : "", e->main.n);
    put_outputs(e, t, true);
    put(t, "    return st;\n}\n\n");
}

void put_entry(Emit *e, Text *t) {
    put_work_of(e, t);
    put_run_array(e, t, false);
}

static void put_run(Emit *e, Text *t, bool file) {
    const char *m = e->prefix;
    const Graph *g = e->p->g;
    put_run_array(e, t, file);
    put(t, "int %s_run(const cnn_ctx *ctx, const %s_in *in, %s_out *out) {\n    return %s_run_array(ctx, %s, %s);\n}\n\n", m, m, m, m,
        g->nin ? "(const cnn_tensor *)(const void *)in" : "((void)in, (const cnn_tensor *)0)", "(cnn_tensor *)(void *)out");
}

static void put_plain(Emit *e, Text *t) {
    const char *m = e->prefix;
    const Graph *g = e->p->g;
    put(t, "int %s(", m);
    put_plain_args(e, t);
    put(t, ") {\n");
    for (int i = 0; i < g->nout; i++) put(t, "    int64_t shape%d[%d];\n", i, g->out[i]->rank + 1);
    const char *const_in = g->nin ? "" : "{0}";
    put(t, "    const cnn_tensor in[] = {%s", const_in);
    for (int i = 0; i < g->nin; i++)
        put(t, "%s{(void *)(uintptr_t)%s, 0, (int64_t *)(uintptr_t)%s_in%d_dim, %d, %d}", i ? ", " : "", field(g, i, true), m, i, (int)g->in[i]->dt,
            g->in[i]->rank);
    put(t, "};\n    cnn_tensor out[] = {");
    for (int i = 0; i < g->nout; i++) {
        const char *s = field(g, i, false);
        for (int k = 0; k < g->nin; k++)
            if (field(g, k, true) == s) s = arena_printf("%s_out", s);
        put(t, "%s{%s, SIZE_MAX, shape%d, %d, %d}", i ? ", " : "", s, i, (int)g->out[i]->dt, g->out[i]->rank);
    }
    put(t, "};\n    const cnn_ctx ctx = {NULL, work, %s_WORK_SIZE, 0, 1};\n    return %s_run_array(&ctx, in, out);\n}\n\n", upper(m), m);
}

void put_api(Emit *e, Text *t) {
    const char *m = e->prefix;
    const Graph *g = e->p->g;
    bool file = weights_file_size(e) != 0;
    Ex *sym;
    int nsym = program_symbols(e->p, &sym);
    put_ports(e, t, true);
    put_ports(e, t, false);
    put(t, "\n");
    put_size_functions(e, t);
    put_run(e, t, file);
    if (has_plain(e, file)) put_plain(e, t);
    if (nsym) {
        put(t, "static const char *const %s_sym[] = {", m);
        for (int i = 0; i < nsym; i++) {
            put(t, "%s", i ? ", " : "");
            put_c_string(t, sym[i]->name, strlen(sym[i]->name));
        }
        put(t, "};\n");
    }
    put_state_list(e, t);
    put(t, "const cnn_model %s_model = {\n    1, \"%s\", %d, %d, %d, %s, %s, %s,\n    %s, %s,\n    %s_work_of, %s_out_shape, %s_run_array, %d, %s\n};\n", m, m,
        g->nin, g->nout, nsym, g->nin ? arena_printf("%s_in_ports", m) : "NULL", g->nout ? arena_printf("%s_out_ports", m) : "NULL",
        nsym ? arena_printf("%s_sym", m) : "NULL", file ? "@WSIZE@" : "0", file ? "@WHASH@" : "0", m, m, m, e->p->nstate,
        e->p->nstate ? arena_printf("%s_states", m) : "NULL");
}
