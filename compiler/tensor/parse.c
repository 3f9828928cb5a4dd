// SPDX-License-Identifier: Apache-2.0
// Reads the text that print.c writes. Nodes are made by their constructors, so that what the text says
// of types is checked against what they infer; a constructor may return an older or simpler node.
#include "cnncc.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct { Val **v; int n; } Results; // of a node of the text: its values here

typedef struct Scope Scope;
struct Scope { Graph *g; Results *at; int n, cap; Scope *up; };

typedef struct { const char *s, *p; int depth; } In;

enum { MAX_DEPTH = 128 }; // of regions and of expressions

_Noreturn static void bad(const In *in, const char *what) {
    int line = 1;
    for (const char *p = in->s; p < in->p; p++) line += *p == '\n';
    fatal("line %d: %s at '%.20s'", line, what, in->p);
}

// ---- tokens -----------------------------------------------------------------------------------------

static void skip(In *in) {
    while (*in->p == ' ' || *in->p == '\t' || *in->p == '\n' || *in->p == '\r' || (*in->p == '/' && in->p[1] == '/')) {
        if (*in->p == '/')
            while (*in->p && *in->p != '\n') in->p++;
        else in->p++;
    }
}

static bool peek(In *in, const char *s) {
    skip(in);
    return !strncmp(in->p, s, strlen(s));
}

static bool take(In *in, const char *s) {
    if (!peek(in, s)) return false;
    in->p += strlen(s);
    return true;
}

static void want(In *in, const char *s) {
    if (!take(in, s)) bad(in, arena_printf("'%s' expected", s));
}

static bool word_char(char c) { return isalnum((unsigned char)c) || c == '_'; }

// A whole word, not the beginning of one.
static bool take_word(In *in, const char *s) {
    if (!peek(in, s) || word_char(in->p[strlen(s)])) return false;
    in->p += strlen(s);
    return true;
}

static const char *word(In *in) {
    skip(in);
    const char *s = in->p;
    while (word_char(*in->p)) in->p++;
    if (s == in->p) bad(in, "a word expected");
    return intern_n(s, (size_t)(in->p - s));
}

static int64_t integer(In *in) {
    skip(in);
    char *end;
    errno = 0;
    long long v = *in->p == '-' ? strtoll(in->p, &end, 10) : (long long)strtoull(in->p, &end, 10);
    if (end == in->p || errno) bad(in, "an integer expected");
    in->p = end;
    return v;
}

static int small(In *in) {
    int64_t v = integer(in);
    if (v < -INT32_MAX || v > INT32_MAX) bad(in, "a small integer expected");
    return (int)v;
}

static DataStr quoted(In *in) {
    want(in, "\"");
    size_t cap = 0;
    for (const char *p = in->p; *p && *p != '"'; p++, cap++)
        if (*p == '\\' && p[1]) p++, cap++;
    char *s = arena_alloc(cap + 1);
    size_t n = 0;
    for (; *in->p && *in->p != '"'; in->p++) {
        if (*in->p == '\\' && in->p[1] == 'x' && isxdigit((unsigned char)in->p[2]) && isxdigit((unsigned char)in->p[3])) {
            s[n++] = (char)strtol((char[]){ in->p[2], in->p[3], 0 }, NULL, 16);
            in->p += 3;
        } else {
            if (*in->p == '\\' && in->p[1]) in->p++;
            s[n++] = *in->p;
        }
    }
    want(in, "\"");
    return (DataStr){ s, n };
}

static const char *string(In *in) { return intern(quoted(in).p); }

// ---- values and expressions ---------------------------------------------------------------------------

static Val *value(In *in, Scope *s) {
    skip(in);
    while (take(in, "^")) {
        s = s->up;
        if (!s) bad(in, "no graph around this one");
    }
    want(in, "%");
    int id = small(in), res = 0;
    if (*in->p == '.') {
        in->p++;
        res = small(in);
    }
    if (id < 0 || id >= s->n || res < 0 || res >= s->at[id].n) bad(in, "an unknown value");
    return s->at[id].v[res];
}

static Ex expr(In *in, Scope *s);

static int expr_list(In *in, Scope *s, const char *close, Ex *out, int max) {
    int n = 0;
    if (take(in, close)) return 0;
    do {
        if (n == max) bad(in, "too many expressions");
        out[n++] = expr(in, s);
    } while (take(in, ","));
    want(in, close);
    return n;
}

static Ex function(In *in, Scope *s, const char *name) {
    Ex a[2];
    int n = expr_list(in, s, ")", a, 2);
    if (n == 1 && !strcmp(name, "size") && a[0]->kind == X_LOAD) return e_size(a[0]->val, a[0]->n, a[0]->a);
    if (n != 2) bad(in, "two operands expected");
    if (!strcmp(name, "div")) return e_div(a[0], a[1]);
    if (!strcmp(name, "mod")) return e_mod(a[0], a[1]);
    if (!strcmp(name, "min")) return e_min(a[0], a[1]);
    if (!strcmp(name, "max")) return e_max(a[0], a[1]);
    bad(in, "an unknown function");
}

static Ex atom(In *in, Scope *s) {
    skip(in);
    if (take(in, "(")) {
        Ex e = expr(in, s);
        want(in, ")");
        return e;
    }
    if (*in->p == '%' || *in->p == '^') {
        Val *v = value(in, s);
        Ex idx[MAX_RANK];
        want(in, "[");
        int n = expr_list(in, s, "]", idx, MAX_RANK);
        if (n != v->rank) bad(in, "as many indices as the value has axes expected");
        return e_load(v, n, idx);
    }
    if (*in->p == '"') return e_sym(string(in), 0, INT64_MAX);
    if (isdigit((unsigned char)*in->p)) return e_int(integer(in));
    const char *name = word(in);
    return take(in, "(") ? function(in, s, name) : e_sym(name, 0, INT64_MAX);
}

static Ex term(In *in, Scope *s) {
    Ex e = atom(in, s);
    while (take(in, "*")) e = e_mul(e, atom(in, s));
    return e;
}

static Ex expr(In *in, Scope *s) {
    if (++in->depth > MAX_DEPTH) bad(in, "expressions nested too deeply");
    bool neg = take(in, "-");
    Ex e = term(in, s);
    if (neg) e = e_scale(e, -1);
    for (;;) {
        if (take(in, "+")) e = e_add(e, term(in, s));
        else if (take(in, "-")) e = e_sub(e, term(in, s));
        else break;
    }
    in->depth--;
    return e;
}

// ---- types and data -----------------------------------------------------------------------------------

static Kind kind_of(In *in, const char *name) {
    static const char *const names[] = { "tensor", "seq", "opt", "map" };
    for (int i = 0; i < 4; i++)
        if (!strcmp(names[i], name)) return (Kind)i;
    bad(in, "an unknown kind");
}

static DType dtype(In *in) {
    DType dt = dt_from_name(word(in));
    if (dt == DT_NONE) bad(in, "an unknown element type");
    return dt;
}

static Val type(In *in, Scope *s) {
    Val v = { .kind = K_TENSOR };
    if (peek(in, "seq.") || peek(in, "opt.") || peek(in, "map.")) {
        v.kind = kind_of(in, word(in));
        want(in, ".");
        v.item = kind_of(in, word(in));
        if (take_word(in, "key")) v.key = dtype(in);
    }
    v.dt = dtype(in);
    want(in, "[");
    Ex shape[MAX_RANK];
    if (take(in, "*")) {
        want(in, "]");
        v.rank = -1;
    } else {
        v.rank = expr_list(in, s, "]", shape, MAX_RANK);
        Ex *own = NEWN(Ex, v.rank + 1);
        memcpy(own, shape, sizeof *own * (size_t)v.rank);
        v.shape = own;
    }
    if (take_word(in, "as")) v.name = string(in);
    return v;
}

static Scalar number(In *in, DType dt) {
    Scalar v = { .i = 0 };
    if (dt == STR) {
        DataStr *s = NEW(DataStr);
        *s = quoted(in);
        v.i = (int64_t)(intptr_t)s;
    } else if (dt_is_float(dt)) {
        skip(in);
        char *end;
        v.f = strtod(in->p, &end);
        if (end == in->p) bad(in, "a number expected");
        in->p = end;
    } else v.i = integer(in);
    return v;
}

// The text of a constant's elements is looked at again once the type is known.
static const char *skip_data(In *in) {
    const char *start = in->p;
    if (take_word(in, "elided")) return start;
    take_word(in, "splat");
    want(in, "{");
    while (!peek(in, "}")) {
        if (!*in->p) bad(in, "'}' expected");
        if (*in->p == '"') quoted(in);
        else in->p++;
    }
    want(in, "}");
    return start;
}

static Data *parse_data(In *at, const char *text, const Val *type) {
    In in = { at->s, text, 0 };
    int64_t n;
    if (!e_is_const(val_numel(type), &n) || n < 0) bad(at, "a constant of unknown size");
    if (take_word(&in, "elided")) return data_new(type->dt, (size_t)n);
    bool splat = take_word(&in, "splat");
    want(&in, "{");
    size_t count = splat ? n > 0 : (size_t)n;
    Data *d = data_new(type->dt, splat ? 1 : (size_t)n);
    for (size_t i = 0; i < count; i++) {
        if (i) want(&in, ",");
        data_set(d, i, number(&in, type->dt));
    }
    want(&in, "}");
    d->splat = splat;
    d->n = (size_t)n;
    return d;
}

// ---- nodes ----------------------------------------------------------------------------------------------

// A line of the text before it becomes a node.
typedef struct {
    Prim op;
    int fn, axis, flag, nin, nout, nex;
    Val **in, *out; // out: types only
    Ex *ex;
    const char *name, *data, *input, *call;
    unsigned char *aux;
    size_t aux_size;
    Graph *region[2];
} Line;

static Graph *graph_body(In *in, Scope *up, const char *name);

static int find_name(In *in, const char *const *names, int n) {
    const char *s = word(in);
    for (int i = 0; i < n; i++)
        if (!strcmp(names[i], s)) return i;
    bad(in, "an unknown name");
}

static void parse_op(In *in, Line *l) {
    l->op = (Prim)find_name(in, prim_name, P_COUNT);
    if (*in->p != '.') return;
    in->p++;
    if (l->op == P_call) l->call = word(in);
    else if (l->op == P_map) {
        l->fn = fn_find(word(in));
        if (l->fn < 0) bad(in, "an unknown scalar function");
    } else l->fn = find_name(in, red_name, RED_SET + 1);
}

static void parse_aux(In *in, Line *l) {
    const char *hex = word(in);
    l->aux_size = strlen(hex) / 2;
    l->aux = arena_alloc(l->aux_size + 1);
    for (size_t i = 0; i < l->aux_size; i++) l->aux[i] = (unsigned char)strtol((char[]){ hex[2 * i], hex[2 * i + 1], 0 }, NULL, 16);
}

static void parse_operands(In *in, Scope *s, Line *l) {
    int cap_in = 0, cap_ex = 0;
    if (peek(in, "\"")) l->input = string(in);
    if (peek(in, "%") || peek(in, "^")) do PUSH(l->in, l->nin, cap_in, value(in, s));
        while (take(in, ","));
    if (l->op == P_const) l->data = skip_data(in);
    if (take(in, "axis=")) l->axis = small(in);
    if (take(in, "flag=")) l->flag = small(in);
    if (take(in, "ex=[") && !take(in, "]")) {
        do PUSH(l->ex, l->nex, cap_ex, expr(in, s));
        while (take(in, ","));
        want(in, "]");
    }
    if (take(in, "aux=")) parse_aux(in, l);
}

static void parse_line(In *in, Scope *s, Line *l) {
    int cap_out = 0;
    parse_op(in, l);
    parse_operands(in, s, l);
    want(in, ":");
    do PUSH(l->out, l->nout, cap_out, type(in, s));
    while (take(in, ","));
    if (take_word(in, "then")) {
        l->region[0] = graph_body(in, s, NULL);
        if (!take_word(in, "else")) bad(in, "'else' expected");
        l->region[1] = graph_body(in, s, NULL);
    } else if (take_word(in, "body")) l->region[0] = graph_body(in, s, NULL);
    if (take(in, "#")) l->name = string(in);
}

static void need_shape(In *in, const Line *l, int nin, int nex) {
    if (l->nin < nin || l->nex < nex) bad(in, "too few operands or expressions");
}

static Val *make_input(Graph *g, const Line *l) {
    if (!g->parent && l->out->kind == K_TENSOR) return b_input(g, l->input, l->out->dt, l->out->rank, l->out->shape);
    Val like = *l->out;
    like.name = l->input;
    return b_param(g, &like);
}

static int int_axes(In *in, const Line *l, int *axes) {
    for (int i = 0; i < l->nex; i++) {
        int64_t c;
        if (i >= MAX_RANK || !e_is_const(l->ex[i], &c)) bad(in, "constant axes expected");
        axes[i] = (int)c;
    }
    return l->nex;
}

static Val *make_random(Graph *g, const Line *l) {
    int64_t seed = 0;
    e_is_const(l->ex[0], &seed);
    Val *v = b_random(g, l->out->rank, l->out->shape, (uint64_t)seed, l->flag);
    v->node->axis = l->axis;
    return v;
}

// A node of one result.
static Val *make_one(In *in, Graph *g, const Line *l) {
    static const int nin[P_COUNT] = {
#define PRIM(name, nin, doc) [P_##name] = nin,
#include "tensor/prim.def"
#undef PRIM
    };
    static const int nex[P_COUNT] = { [P_random] = 1, [P_slice] = 2, [P_pad] = 2, [P_window] = 3, [P_unwindow] = 3 };
    const Val *o = l->out;
    Val **x = l->in;
    int axes[MAX_RANK];
    need_shape(in, l, l->op == P_map ? fn_info[l->fn].arity : nin[l->op] < 0 ? 1 : nin[l->op], nex[l->op]);
    switch (l->op) {
    case P_input: return make_input(g, l);
    case P_const: return b_const(g, parse_data(in, l->data, o), o->rank, o->shape);
    case P_dims: return b_dims(g, o->dt, o->rank, o->shape, l->ex);
    case P_iota: return b_iota(g, o->dt, o->shape[0]);
    case P_random: return make_random(g, l);
    case P_map: return b_map(g, (Fn)l->fn, o->dt, l->nin, x);
    case P_reduce: return b_reduce(g, (Red)l->fn, x[0], int_axes(in, l, axes), axes, l->flag & 1);
    case P_reshape: return b_reshape(g, x[0], o->rank, o->shape);
    case P_permute:
        if (int_axes(in, l, axes) != x[0]->rank) bad(in, "a permutation of all axes expected");
        return b_permute(g, x[0], axes);
    case P_expand: return b_expand(g, x[0], o->shape);
    case P_slice: return b_slice(g, x[0], l->axis, l->ex[0], o->shape[l->axis], l->ex[1]);
    case P_pad: return b_pad(g, x[0], l->axis, l->ex[0], l->ex[1], x[1]);
    case P_concat: return b_concat(g, l->nin, x, l->axis);
    case P_window: return b_window(g, x[0], l->axis, l->ex[0], l->ex[1], l->ex[2]);
    case P_unwindow: return b_unwindow(g, x[0], l->axis, l->ex[0], l->ex[1], l->ex[2]);
    case P_gather: return b_gather(g, x[0], x[1], l->axis);
    case P_scatter: return b_scatter(g, (Red)l->fn, x[0], x[1], x[2], l->axis);
    case P_scan: return b_scan(g, (Red)l->fn, x[0], l->axis, l->flag & 1, l->flag & 2);
    case P_copy: return b_copy(g, x[0]);
    default: bad(in, "a node of several results");
    }
}

static Node *make_control(In *in, Graph *g, const Line *l) {
    need_shape(in, l, l->op == P_if ? 1 : 2 + l->axis, 0);
    if (!l->region[0] || (l->op == P_if && !l->region[1])) bad(in, "regions expected");
    if (l->op == P_if) return b_if(g, l->in[0], l->region[0], l->region[1], l->nin - 1, l->in + 1);
    int first = 2 + l->axis;
    return b_loop(g, l->in[0], l->in[1], l->axis, l->in + 2, l->nin - first, l->in + first, l->region[0]);
}

static const CallDef *call_def(In *in, const char *name) {
    if (!name) bad(in, "the name of a call operator expected");
    CallDef *d = NEW(CallDef);
    d->name = name;
    return d;
}

static Results make_node(In *in, Graph *g, const Line *l) {
    Results r = { NEWN(Val *, l->nout), l->nout };
    Node *n = NULL;
    g->origin = l->name;
    if (l->op == P_sort) {
        if (l->nout != 2) bad(in, "two results expected");
        need_shape(in, l, 1, 0);
        b_sort(g, l->in[0], l->axis, l->flag & 1, &r.v[0], &r.v[1]);
    } else if (l->op == P_call) n = b_call(g, call_def(in, l->call), l->nin, l->in, l->aux, l->aux_size, l->nout, l->out);
    else if (l->op == P_if || l->op == P_loop) n = make_control(in, g, l);
    else if (l->nout != 1) bad(in, "one result expected");
    else r.v[0] = make_one(in, g, l);
    g->origin = NULL;
    if (n && n->nout != l->nout) bad(in, "another number of results");
    if (n) n->flag = l->flag;
    for (int i = 0; i < l->nout; i++) {
        if (n) {
            r.v[i] = &n->out[i];
            r.v[i]->shape = l->out[i].shape; // symbols that the node defines keep their names
        }
        const Val *v = r.v[i];
        if (v->dt != l->out[i].dt || v->kind != l->out[i].kind || !val_same_shape(v, &l->out[i]))
            bad(in, arena_printf("the type of result %d is not that of the node before this", i));
        if (l->out[i].name && l->op != P_input) r.v[i]->name = l->out[i].name;
    }
    return r;
}

// ---- graphs ---------------------------------------------------------------------------------------------

static int64_t bound(In *in, int64_t none) { return take(in, "*") ? none : integer(in); }

static void parse_sym(In *in) {
    const char *name = peek(in, "\"") ? string(in) : word(in);
    int64_t lo = bound(in, INT64_MIN);
    want(in, "..");
    e_sym(name, lo, bound(in, INT64_MAX));
}

static Guard parse_guard(In *in, Scope *s) {
    static const char *const names[] = { "eq", "broadcast", "ge", "div", "must" };
    Guard g = { (GuardKind)find_name(in, names, 5), NULL, NULL, NULL };
    g.a = expr(in, s);
    want(in, ",");
    g.b = expr(in, s);
    g.what = string(in);
    return g;
}

// The text's guards first, as it has them; then what else the constructors asked for.
static void set_guards(Graph *g, const Guard *guard, int n) {
    const Guard *made = g->guard;
    int nmade = g->nguard;
    g->guard = NULL;
    g->nguard = g->cap_guard = 0;
    for (int i = 0; i < n; i++) PUSH(g->guard, g->nguard, g->cap_guard, guard[i]);
    for (int i = 0; i < nmade; i++) graph_guard(g, made[i].kind, made[i].a, made[i].b, made[i].what);
}

static void parse_node(In *in, Scope *s) {
    Line l = { 0 };
    int id = small(in);
    if (id != s->n) bad(in, "nodes are numbered from 0");
    want(in, "=");
    parse_line(in, s, &l);
    PUSH(s->at, s->n, s->cap, make_node(in, s->g, &l));
}

static void parse_return(In *in, Scope *s) {
    if (peek(in, "}")) return;
    do {
        Val *v = value(in, s);
        graph_output(s->g, v, peek(in, "\"") ? string(in) : NULL);
    } while (take(in, ","));
}

static Graph *graph_body(In *in, Scope *up, const char *name) {
    if (++in->depth > MAX_DEPTH) bad(in, "regions nested too deeply");
    Scope s = { .g = graph_new(up ? up->g : NULL), .up = up };
    Guard *guard = NULL;
    int nguard = 0, cap = 0, cap_meta = 0;
    s.g->name = name;
    want(in, "{");
    while (!take(in, "}")) {
        if (take_word(in, "sym")) parse_sym(in);
        else if (take_word(in, "meta")) {
            PUSH(s.g->meta, s.g->nmeta, cap_meta, string(in));
            PUSH(s.g->meta, s.g->nmeta, cap_meta, string(in));
        } else if (take_word(in, "guard")) PUSH(guard, nguard, cap, parse_guard(in, &s));
        else if (take_word(in, "return")) parse_return(in, &s);
        else if (take(in, "%")) parse_node(in, &s);
        else bad(in, "a node, sym, meta, guard or return expected");
    }
    set_guards(s.g, guard, nguard);
    in->depth--;
    return s.g;
}

// The graph that text describes; ends with a diagnostic where it is wrong.
Graph *graph_parse(const char *text) {
    In in = { text, text, 0 };
    if (!take_word(&in, "graph")) bad(&in, "'graph' expected");
    Graph *g = graph_body(&in, NULL, string(&in));
    skip(&in);
    if (*in.p) bad(&in, "the end expected");
    return g;
}
