// SPDX-License-Identifier: Apache-2.0
// --grad and --train: the model's parameters become inputs of the generated function, the loss and
// the gradients outputs, and with --train the parameters after one step. A pure function of what it is
// given: the caller, or later the planner, decides where parameters live.
#include "train/train.h"

#include <regex.h>
#include <string.h>

enum { TRAINABLE = 1, STATISTICS = 2 }; // flags of initializers

typedef struct { Val **v; int n, cap; } Vals;
typedef struct { regex_t want, freeze; bool has_want, has_freeze; } Filter;

static bool compile_regex(const char *option, const char *text, regex_t *r, bool *has) {
    char why[200];
    *has = text != NULL;
    int e = text ? regcomp(r, text, REG_EXTENDED | REG_NOSUB) : 0;
    if (!e) return true;
    regerror(e, r, why, sizeof why);
    *has = false;
    error("%s: '%s': %s", option, text, why);
    return false;
}

static bool matches(const regex_t *r, const char *name) { return regexec(r, name, 0, NULL, 0) == 0; }

// Named parameters: those that --requires-grad matches, else all but statistics (of BatchNormalization);
// less those that --freeze matches.
static bool wanted(const Filter *f, const Node *n) {
    const char *name = n->out[0].name;
    if (n->op != P_const || !n->flag || !name || !dt_is_float(n->out[0].dt)) return false;
    if (f->has_want ? !matches(&f->want, name) : n->flag != TRAINABLE) return false;
    return !f->has_freeze || !matches(&f->freeze, name);
}

static bool *needed_by(const Graph *g, int n, Val *const *root) {
    bool *live = NEWN(bool, g->nnode + 1);
    for (int i = 0; i < n; i++) live[root[i]->node->id] = true;
    for (int i = g->nnode - 1; i >= 0; i--)
        for (int k = 0; live[i] && k < g->node[i]->nin; k++) live[g->node[i]->in[k]->node->id] = true;
    return live;
}

// The parameters that the loss depends on, in the model's order: constants that become inputs.
static bool find_parameters(Graph *g, const Options *opt, const Loss *l, Vals *p) {
    Filter f = {0};
    if (!compile_regex("--requires-grad", opt->requires_grad, &f.want, &f.has_want) ||
        !compile_regex("--freeze", opt->freeze, &f.freeze, &f.has_freeze))
        return false;
    const bool *live = needed_by(g, l->n, l->root);
    for (int i = 0; i < g->nnode; i++)
        if (live[i] && wanted(&f, g->node[i])) PUSH(p->v, p->n, p->cap, &g->node[i]->out[0]);
    if (f.has_want) regfree(&f.want);
    if (f.has_freeze) regfree(&f.freeze);
    if (p->n || opt->input_grad) return true;
    error("there is nothing to train: the loss depends on no parameter%s", f.has_want || f.has_freeze ? " that was chosen" : "");
    return false;
}

// A constant becomes an input of its name and shape.
static void make_input(Graph *g, Val *v) {
    Node *n = v->node;
    n->op = P_input;
    n->axis = g->nin;
    n->flag = 0;
    n->data = NULL;
    PUSH(g->in, g->nin, g->cap_in, v);
}

// Inputs named in --input-grad, a comma list.
static bool find_inputs(const Graph *g, const char *list, Vals *p) {
    for (const char *s = list; s && *s; s += strcspn(s, ","), s += *s == ',') {
        const char *name = intern_n(s, strcspn(s, ","));
        Val *v = NULL;
        for (int i = 0; i < g->nin; i++)
            if (g->in[i]->name && !strcmp(g->in[i]->name, name)) v = g->in[i];
        if (!v || v->kind != K_TENSOR || !dt_is_float(v->dt))
            return error("--input-grad: there is no floating point input '%s'", name), false;
        PUSH(p->v, p->n, p->cap, v);
    }
    return true;
}

typedef struct { Val **v; const char **name; int n; } Outputs;

static Outputs take_outputs(Graph *g) {
    Outputs o = {g->out, g->out_name, g->nout};
    g->out = NULL;
    g->out_name = NULL;
    g->nout = g->cap_out = 0;
    return o;
}

static void set_outputs(Graph *g, const Outputs *model, Val *loss) {
    graph_output(g, loss, intern("loss"));
    for (int i = 0; i < model->n; i++) {
        bool clash = !strcmp(model->name[i], "loss");
        if (!clash || model->v[i] != loss) graph_output(g, model->v[i], clash ? intern("output:loss") : model->name[i]);
    }
}

static Val *rate_input(Graph *g, const Vals *p) {
    bool wide = p->n > 0;
    for (int i = 0; i < p->n; i++) wide = wide && p->v[i]->dt == F64;
    return b_input(g, intern("lr"), wide ? F64 : F32, 0, NULL);
}

static bool train(Graph *g, const Options *opt) {
    Loss l = {0};
    Vals p = {0}, wrt = {0};
    if (!optimizer_known(opt) || !find_inputs(g, opt->input_grad, &wrt) || !loss_build(g, opt, &l)) return false;
    if (!find_parameters(g, opt, &l, &p)) return false;
    int first = wrt.n;
    for (int i = 0; i < p.n; i++) {
        make_input(g, p.v[i]);
        PUSH(wrt.v, wrt.n, wrt.cap, p.v[i]);
    }
    g->known = NULL; // constants that were are no longer
    Val **d = grad_from(g, l.n, l.root, l.seed, wrt.n, wrt.v);
    if (!d) return false;
    Outputs model = take_outputs(g);
    set_outputs(g, &model, l.loss);
    for (int i = 0; i < wrt.n; i++) graph_output(g, d[i], intern(arena_printf("grad:%s", wrt.v[i]->name)));
    if (!opt->train) return true;
    Val *lr = rate_input(g, &p);
    for (int i = 0; i < p.n; i++)
        graph_output(g, optimizer_step(g, p.v[i], d[first + i], lr), intern(arena_printf("new:%s", p.v[i]->name)));
    return true;
}

void pass_train(Graph *g, const Options *opt) {
    if (!opt->grad && !opt->train) return;
    if (!train(g, opt)) fatal("no gradients were made");
}
