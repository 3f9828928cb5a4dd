// SPDX-License-Identifier: Apache-2.0
// The tensor DAG as text, one node a line; parse.c reads it back:
//
//   graph "net" {
//     sym N 1..64
//     %0 = input "x" : f32[N, 3]
//     %1 = const {1, 2.5, -3} : f32[3]
//     %2 = reshape %1 : f32[1, 3]
//     %3 = expand %2 : f32[N, 3] # "the node of the model"
//     %4 = map.add %0, %3 : f32[N, 3] as "sum"
//     guard ge N, 2 "what"
//     return %4 "y"
//   }
//
// A value is %NODE, or %NODE.RESULT of a later result; ^%NODE stands in the graph around. Behind the
// operands follow axis=, flag=, ex=[…] and aux=, as far as they are not zero. Regions stand in braces
// behind their node. Constants of more than MAX_SHOWN elements are `elided`, and read back as zeros.
#include "cnncc.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SHOWN = 1024 };

static void put_quoted(Text *t, const char *s, size_t n) {
    put(t, "\"");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\') put(t, "\\%c", c);
        else if (c < 32 || c == 127) put(t, "\\x%02x", c);
        else put_n(t, s + i, 1);
    }
    put(t, "\"");
}

static void put_string(Text *t, const char *s) { put_quoted(t, s, strlen(s)); }

static bool is_word(const char *s) {
    if (!isalpha((unsigned char)*s) && *s != '_') return false;
    while (isalnum((unsigned char)*s) || *s == '_') s++;
    return !*s;
}

static void put_val(Text *t, const Graph *g, const Val *v) {
    for (; g && g != v->node->g; g = g->parent) put(t, "^");
    put(t, "%%%d", v->node->id);
    if (v->res) put(t, ".%d", v->res);
}

static void put_ex(Text *t, const Graph *g, Ex e);

static void put_factor(Text *t, const Graph *g, Ex e) {
    bool sum = e->kind == X_SUM && (e->n > 1 || (e->n == 1 && e->c));
    if (sum) put(t, "(");
    put_ex(t, g, e);
    if (sum) put(t, ")");
}

static void put_args(Text *t, const Graph *g, int n, const Ex *a, const char *open, const char *close) {
    put(t, "%s", open);
    for (int i = 0; i < n; i++) {
        if (i) put(t, ", ");
        put_ex(t, g, a[i]);
    }
    put(t, "%s", close);
}

static void put_sum(Text *t, const Graph *g, Ex e) {
    for (int i = 0; i < e->n; i++) {
        int64_t k = e->t[i].k;
        if (i) put(t, k < 0 ? " - " : " + ");
        else if (k < 0) put(t, "-");
        uint64_t u = k < 0 ? 0 - (uint64_t)k : (uint64_t)k;
        if (u != 1) put(t, "%llu*", (unsigned long long)u);
        put_factor(t, g, e->t[i].m);
    }
    uint64_t c = e->c < 0 ? 0 - (uint64_t)e->c : (uint64_t)e->c;
    if (!e->n) put(t, "%s%llu", e->c < 0 ? "-" : "", (unsigned long long)c);
    else if (e->c) put(t, e->c < 0 ? " - %llu" : " + %llu", (unsigned long long)c);
}

// As e_print, but names that are no words are quoted and loads name their value.
static void put_ex(Text *t, const Graph *g, Ex e) {
    switch (e->kind) {
    case X_VAR:
        if (is_word(e->name)) put(t, "%s", e->name);
        else put_string(t, e->name);
        return;
    case X_SUM: put_sum(t, g, e); return;
    case X_MUL:
        for (int i = 0; i < e->n; i++) {
            if (i) put(t, "*");
            put_factor(t, g, e->a[i]);
        }
        return;
    case X_LOAD:
        if (e->c) put(t, "size(");
        put_val(t, g, e->val);
        put_args(t, g, e->n, e->a, "[", "]");
        if (e->c) put(t, ")");
        return;
    case X_DIV: put_args(t, g, 2, e->a, "div(", ")"); return;
    case X_MOD: put_args(t, g, 2, e->a, "mod(", ")"); return;
    case X_MIN: put_args(t, g, 2, e->a, "min(", ")"); return;
    case X_MAX: put_args(t, g, 2, e->a, "max(", ")"); return;
    }
}

static const char *const kind_name[] = { "tensor", "seq", "opt", "map" };

static void put_type(Text *t, const Graph *g, const Val *v) {
    if (v->kind != K_TENSOR) {
        put(t, "%s.%s ", kind_name[v->kind], kind_name[v->item]);
        if (v->key) put(t, "key %s ", dt_name(v->key));
    }
    put(t, "%s", dt_name(v->dt));
    if (v->rank < 0) put(t, "[*]");
    else put_args(t, g, v->rank, v->shape, "[", "]");
    if (v->name && v->node->op != P_input) {
        put(t, " as ");
        put_string(t, v->name);
    }
}

static void put_element(Text *t, const Data *d, size_t i) {
    Scalar v = data_get(d, i);
    if (d->dt == STR) {
        const DataStr *s = (const DataStr *)(intptr_t)v.i;
        put_quoted(t, s->p ? s->p : "", s->n);
    } else if (dt_is_float(d->dt)) {
        if (isnan(v.f)) put(t, "nan");
        else if (isinf(v.f)) put(t, v.f < 0 ? "-inf" : "inf");
        else put(t, "%.*g", d->dt == F64 ? 17 : 9, v.f);
    } else if (d->dt == U64) put(t, "%llu", (unsigned long long)v.i);
    else put(t, "%lld", (long long)v.i);
}

static void put_data(Text *t, const Data *d) {
    if (d->dt == C64 || d->dt == C128 || (!d->splat && d->n > MAX_SHOWN)) {
        put(t, " elided");
        return;
    }
    put(t, d->splat ? " splat{" : " {");
    for (size_t i = 0; i < (d->splat && d->n ? 1 : d->n); i++) {
        if (i) put(t, ", ");
        put_element(t, d, i);
    }
    put(t, "}");
}

static void put_graph(Text *t, const Graph *g, int indent);

static void put_regions(Text *t, const Node *n, int indent) {
    static const char *const word[] = { "then", "else" };
    for (int i = 0; n->region && i < (n->op == P_if ? 2 : 1); i++) {
        put(t, " %s {\n", n->op == P_if ? word[i] : "body");
        put_graph(t, n->region[i].g, indent + 1);
        put(t, "%*s}", indent * 2, "");
    }
}

static void put_node(Text *t, const Node *n, int indent) {
    put(t, "%*s%%%d = %s", indent * 2, "", n->id, prim_name[n->op]);
    if (n->op == P_map) put(t, ".%s", fn_info[n->fn].name);
    if (n->op == P_reduce || n->op == P_scan || n->op == P_scatter) put(t, ".%s", red_name[n->fn]);
    if (n->op == P_call) put(t, ".%s", n->call->name);
    if (n->op == P_input && n->out[0].name) {
        put(t, " ");
        put_string(t, n->out[0].name);
    }
    for (int i = 0; i < n->nin; i++) {
        put(t, i ? ", " : " ");
        put_val(t, n->g, n->in[i]);
    }
    if (n->data) put_data(t, n->data);
    if (n->axis && n->op != P_input) put(t, " axis=%d", n->axis);
    if (n->flag) put(t, " flag=%d", n->flag);
    if (n->nex) put_args(t, n->g, n->nex, n->ex, " ex=[", "]");
    if (n->aux_size) put(t, " aux=");
    for (size_t i = 0; i < n->aux_size; i++) put(t, "%02x", ((const unsigned char *)n->aux)[i]);
    for (int i = 0; i < n->nout; i++) {
        put(t, i ? ", " : " : ");
        put_type(t, n->g, &n->out[i]);
    }
    put_regions(t, n, indent);
    if (n->name) {
        put(t, " # ");
        put_string(t, n->name);
    }
    put(t, "\n");
}

// ---- symbols ------------------------------------------------------------------------------------------

typedef struct { Ex *v; int n, cap; } Symbols;

static void add_symbols(Symbols *s, Ex e) {
    if (e->kind == X_VAR) {
        for (int i = 0; i < s->n; i++)
            if (s->v[i] == e) return;
        PUSH(s->v, s->n, s->cap, e);
    }
    for (int i = 0; i < e->n; i++) add_symbols(s, e->kind == X_SUM ? e->t[i].m : e->a[i]);
}

static void graph_symbols(Symbols *s, const Graph *g) {
    for (int i = 0; i < g->nguard; i++) add_symbols(s, g->guard[i].a), add_symbols(s, g->guard[i].b);
    for (int i = 0; i < g->nnode; i++) {
        const Node *n = g->node[i];
        for (int k = 0; k < n->nex; k++) add_symbols(s, n->ex[k]);
        for (int k = 0; k < n->nout; k++)
            for (int d = 0; d < n->out[k].rank; d++) add_symbols(s, n->out[k].shape[d]);
    }
}

static void put_bound(Text *t, int64_t v) {
    if (v == INT64_MIN || v == INT64_MAX) put(t, "*");
    else put(t, "%lld", (long long)v);
}

static void put_graph(Text *t, const Graph *g, int indent) {
    static const char *const guard_name[] = { "eq", "broadcast", "ge", "div", "must" };
    Symbols s = { 0 };
    graph_symbols(&s, g);
    for (int i = 0; i < s.n; i++) {
        put(t, "%*ssym ", indent * 2, "");
        put_ex(t, g, s.v[i]);
        put(t, " ");
        put_bound(t, s.v[i]->lo);
        put(t, "..");
        put_bound(t, s.v[i]->hi);
        put(t, "\n");
    }
    for (int i = 0; i + 1 < g->nmeta; i += 2) {
        put(t, "%*smeta ", indent * 2, "");
        put_string(t, g->meta[i]);
        put(t, " ");
        put_string(t, g->meta[i + 1]);
        put(t, "\n");
    }
    for (int i = 0; i < g->nnode; i++) put_node(t, g->node[i], indent);
    for (int i = 0; i < g->nguard; i++) {
        put(t, "%*sguard %s ", indent * 2, "", guard_name[g->guard[i].kind]);
        put_ex(t, g, g->guard[i].a);
        put(t, ", ");
        put_ex(t, g, g->guard[i].b);
        put(t, " ");
        put_string(t, g->guard[i].what ? g->guard[i].what : "");
        put(t, "\n");
    }
    put(t, "%*sreturn", indent * 2, "");
    for (int i = 0; i < g->nout; i++) {
        put(t, i ? ", " : " ");
        put_val(t, g, g->out[i]);
        if (g->out_name && g->out_name[i]) {
            put(t, " ");
            put_string(t, g->out_name[i]);
        }
    }
    put(t, "\n");
}

// Appends g to t as text that graph_parse takes.
void graph_print(Text *t, const Graph *g) {
    put(t, "graph ");
    put_string(t, g->name ? g->name : "");
    put(t, " {\n");
    put_graph(t, g, 1);
    put(t, "}\n");
}
