// SPDX-License-Identifier: Apache-2.0
// --loss: a comma list of [WEIGHT*]NAME[options][:OUTPUT], or output:OUTPUT, summed.
#include "train/loss.h"

#include <stdlib.h>
#include <string.h>

// The extent of an input that is to be equal to e: e itself where an input can have it.
static Ex input_extent(Graph *g, Ex e, const char *target, int axis) {
    int64_t c;
    if (e_is_const(e, &c)) return e;
    for (int i = 0; i < g->nin; i++)
        for (int k = 0; g->in[i]->kind == K_TENSOR && k < g->in[i]->rank; k++)
            if (g->in[i]->shape[k] == e && e->kind == X_VAR) return e;
    Ex s = e_sym(arena_printf("%s_%d", target, axis), 0, INT64_MAX);
    graph_guard(g, G_EQ, s, e, "target");
    return s;
}

Val *target_input(Maker *m, DType dt, const Val *y, int drop) {
    Graph *g = m->g;
    Ex shape[MAX_RANK], want[MAX_RANK];
    int n = 0;
    for (int i = 0; i < g->nin; i++)
        if (g->in[i]->name && !strcmp(g->in[i]->name, m->target)) fatal("--loss: there is an input named %s already", m->target);
    for (int i = 0; i < y->rank; i++) {
        if (i == drop) continue;
        want[n] = y->shape[i];
        shape[n++] = input_extent(g, y->shape[i], m->target, i);
    }
    Val *t = b_input(g, m->target, dt, n, shape);
    return b_reshape(g, t, n, want);
}

// ---- one loss ---------------------------------------------------------------------------------------

static bool is_float_tensor(const Val *v) { return v->kind == K_TENSOR && dt_is_float(v->dt); }

static Val *find_output(Graph *g, const char *name) {
    for (int i = 0; i < g->nout; i++)
        if (!strcmp(g->out_name[i], name)) return g->out[i];
    return NULL;
}

static bool parse_number(const char *s, double *v) {
    char *end;
    *v = strtod(s, &end);
    return *s && !*end;
}

// A list of numbers with / between them.
static bool parse_weights(Maker *m, const char *s) {
    double *v = NEWN(double, MAX_CLASS_WEIGHTS);
    for (m->nweight = 0; *s; s += *s == '/') {
        char *end;
        if (m->nweight == MAX_CLASS_WEIGHTS) return false;
        v[m->nweight++] = strtod(s, &end);
        if (end == s || (*end && *end != '/')) return false;
        s = end;
    }
    m->weight = v;
    return m->nweight > 0;
}

static bool set_option(Maker *m, const char *name, const char *value) {
    double v;
    if (!strcmp(name, "weight")) return parse_weights(m, value);
    if (!strcmp(name, "reduction")) {
        static const char *const names[] = {"mean", "sum", "batchmean"};
        for (int i = 0; i < 3; i++)
            if (!strcmp(value, names[i])) return m->reduction = (LossReduction)i, true;
        return false;
    }
    if (!parse_number(value, &v)) return false;
    if (!strcmp(name, "ignore_index")) return m->has_ignore = true, m->ignore = (int64_t)v, v == (double)m->ignore;
    if (!strcmp(name, "label_smoothing")) return m->smoothing = v, v >= 0 && v <= 1;
    if (!strcmp(name, "beta")) return m->beta = v, v >= 0;
    if (!strcmp(name, "delta")) return m->delta = v, v > 0;
    if (!strcmp(name, "pos_weight")) return m->pos_weight = v, v >= 0;
    return m->log_target = v != 0, v == 0 || v == 1; // log_target
}

static bool word_in(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *s = list; *s; s += strcspn(s, " "), s += strspn(s, " "))
        if (strcspn(s, " ") == n && !memcmp(s, word, n)) return true;
    return false;
}

// [name=value,name=value]
static bool set_options(Maker *m, const LossKind *kind, const char *text) {
    for (const char *s = text; *s; s += strcspn(s, ","), s += *s == ',') {
        size_t n = strcspn(s, ","), eq = strcspn(s, "=");
        const char *name = intern_n(s, eq < n ? eq : n), *value = eq < n ? intern_n(s + eq + 1, n - eq - 1) : "1";
        if (!word_in(kind->options, name)) return error("--loss: %s has no option '%s': %s", kind->name, name, kind->options), false;
        if (!set_option(m, name, value)) return error("--loss: %s: %s cannot be '%s'", kind->name, name, value), false;
    }
    return true;
}

// The model's own loss: an output; the sum of its elements where it has several.
static bool take_output(Maker *m, const char *name) {
    Val *v = find_output(m->g, name);
    if (!v) return error("--loss: there is no output '%s' (--output makes an inner tensor one)", name), false;
    if (!is_float_tensor(v)) return error("--loss: output '%s' is not a floating point tensor", name), false;
    m->loss = m->root = total(m->g, v);
    m->seed = splat_like(m->g, m->loss, 1);
    return true;
}

// One of the list: WEIGHT*NAME[options]:OUTPUT, as parsed.
typedef struct { double weight; const char *name, *options, *output; } Term1;

static bool make_one(Maker *m, const Term1 *t) {
    if (!strcmp(t->name, "output") && t->output) return take_output(m, t->output);
    const LossKind *kind = loss_kinds;
    while (kind->name && strcmp(kind->name, t->name)) kind++;
    if (!kind->name) {
        Text all = {0};
        for (kind = loss_kinds; kind->name; kind++) put(&all, "%s, ", kind->name);
        return error("--loss: there is no loss '%s': %soutput:NAME", t->name, all.s), false;
    }
    if (t->output) m->y = find_output(m->g, t->output);
    for (int i = 0; i < m->g->nout && !t->output && !m->y; i++)
        if (is_float_tensor(m->g->out[i])) m->y = m->g->out[i];
    if (!m->y || !is_float_tensor(m->y))
        return error("--loss: there is no floating point output%s%s", t->output ? " named " : "", t->output ? t->output : ""), false;
    if (t->options && !set_options(m, kind, t->options)) return false;
    kind->make(m);
    return true;
}

// ---- the list ---------------------------------------------------------------------------------------

// Where the loss that starts at s ends: a comma outside of brackets.
static size_t one_length(const char *s) {
    size_t n = 0;
    for (int depth = 0; s[n] && (depth || s[n] != ','); n++) depth += (s[n] == '[') - (s[n] == ']');
    return n;
}

static bool parse_one(const char *s, Term1 *t) {
    char *text = arena_strdup(s), *end, *open, *colon;
    *t = (Term1){.weight = 1};
    double w = strtod(text, &end);
    if (end != text && *end == '*') {
        t->weight = w;
        text = end + 1;
    }
    if ((open = strchr(text, '['))) {
        char *close = strrchr(text, ']');
        if (!close || close < open || (close[1] && close[1] != ':')) return error("--loss: '%s': brackets do not fit", s), false;
        *open = *close = 0;
        t->options = open + 1;
        if (close[1]) t->output = close + 2;
    } else if ((colon = strchr(text, ':'))) {
        *colon = 0;
        t->output = colon + 1;
    }
    t->name = text;
    return true;
}

static bool needs_target(const Term1 *t) { return strcmp(t->name, "output") || !t->output; }

static bool parse(const char *s, Term1 **list, int *n) {
    int cap = 0;
    *n = 0;
    for (; *s; s += one_length(s), s += *s == ',') {
        Term1 t;
        if (!parse_one(intern_n(s, one_length(s)), &t)) return false;
        PUSH(*list, *n, cap, t);
    }
    if (!*n) return error("--loss is empty"), false;
    return true;
}

// The only output, if it is a number.
static bool only_output(Graph *g, Term1 *t) {
    *t = (Term1){.weight = 1, .name = "output", .output = g->nout ? g->out_name[0] : ""};
    if (g->nout == 1 && is_float_tensor(g->out[0]) && e_is(val_numel(g->out[0]), 1)) return true;
    Text all = {0};
    for (const LossKind *k = loss_kinds; k->name; k++) put(&all, "%s, ", k->name);
    error("--loss is missing: %sor output:NAME", all.s);
    return false;
}

// In the widest type that any has, float32 at least.
static Val *weighted(Graph *g, Val *sum, Val *x, double weight) {
    if (weight != 1) x = scaled(g, x, weight);
    if (!sum) return x;
    DType dt = sum->dt == F64 || x->dt == F64 ? F64 : F32;
    return fn2(g, FN_add, cast_to(g, sum, dt), cast_to(g, x, dt));
}

bool loss_build(Graph *g, const Options *opt, Loss *l) {
    Term1 *list = NEW(Term1);
    int n = 1, targets = 0;
    if (!opt->loss ? !only_output(g, list) : (list = NULL, !parse(opt->loss, &list, &n))) return false;
    for (int i = 0; i < n; i++) targets += needs_target(&list[i]);
    l->root = NEWN(Val *, n);
    l->seed = NEWN(Val *, n);
    for (int i = 0; i < n; i++) {
        Maker m = {.g = g, .beta = 1, .delta = 1, .pos_weight = 1, .quiet = opt->entry > ENTRY_STEP || opt->any_batch};
        m.target = intern(targets > 1 ? arena_printf("target_%s", list[i].output ? list[i].output : "0") : "target");
        if (!make_one(&m, &list[i])) return false;
        l->loss = weighted(g, l->loss, m.loss, list[i].weight);
        l->root[i] = m.root;
        l->seed[i] = list[i].weight == 1 ? m.seed : scaled(g, m.seed, list[i].weight);
        if (m.correct && !l->correct) l->correct = m.correct;
    }
    l->n = n;
    return true;
}
