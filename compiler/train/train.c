// SPDX-License-Identifier: Apache-2.0
// --grad and --train: the model's parameters become inputs of the generated function, the loss and
// the gradients outputs, and with --train the parameters after one step. A pure function of what it is
// given: the caller, or later the planner, decides where parameters live.
#include "train/train.h"

#include <regex.h>
#include <string.h>

enum { TRAINABLE = 1, STATISTICS = 2, ADAPTER = 3 }; // flags of initializers

typedef struct { Val **v; int n, cap; } Vals;
typedef struct { regex_t want, freeze; bool has_want, has_freeze, adapters; } Filter;

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

// Named parameters: adapters, and those that --requires-grad matches; without either all but statistics (of
// BatchNormalization). Less those that --freeze matches.
static bool wanted(const Filter *f, const Node *n) {
    const char *name = n->out[0].name;
    if (n->op != P_const || !n->flag || !name || !dt_is_float(n->out[0].dt)) return false;
    bool chosen = n->flag == ADAPTER || (f->has_want ? matches(&f->want, name) : n->flag == TRAINABLE && !f->adapters);
    if (!chosen) return false;
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
    Filter f = {.adapters = opt->nlora > 0};
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

// --grad: a pure function of the parameters and the inputs.
static bool gradients(Graph *g, const Options *opt) {
    Loss l = {0};
    Vals p = {0}, wrt = {0};
    if (!find_inputs(g, opt->input_grad, &wrt) || !loss_build(g, opt, &l) || !find_parameters(g, opt, &l, &p)) return false;
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
    return true;
}

void pass_train(Graph *g, const Options *opt) {
    if (opt->grad && !gradients(g, opt)) fatal("no gradients were made");
}

// ---- --train ----------------------------------------------------------------------------------------

enum { PARAM_ALIGN = 16, FROZEN_INLINE = 1024 }; // elements

const Param *param_find(const Params *p, const char *name) {
    for (int i = 0; i < p->n; i++)
        if (!strcmp(p->v[i].name, name)) return &p->v[i];
    return NULL;
}

const Param *param_adapter(const Params *p, const Param *w, LoraSide side) {
    for (char c = 'A'; c <= 'B'; c++) {
        const Param *q = param_find(p, arena_printf("%s.lora_%c", w->name, c));
        if (q && q->init.side == side) return q;
    }
    die("%s has no adapters", w->name);
}

bool param_changes(const Param *q) { return q->init.adapted || (q->kind != PARAM_FROZEN && q->init.side == SIDE_NONE); }

static void add_param(Params *p, const Options *opt, const regex_t *no_decay, const Node *n, ParamKind kind) {
    const Val *v = &n->out[0];
    Param q = {.name = v->name, .kind = kind, .data = n->data, .rank = v->rank, .shape = v->shape, .offset = p->total};
    if (!e_is_const(val_numel(v), &q.n)) die("a parameter of unknown size");
    if (n->aux) q.init = *(const Init *)n->aux;
    q.decays = kind == PARAM_TRAINED && !(opt->no_decay && matches(no_decay, q.name));
    if (p->n && p->dt != v->dt) fatal("parameters of different types: --dtype f32 or f64 makes them one");
    p->dt = v->dt;
    p->total += (q.n + PARAM_ALIGN - 1) / PARAM_ALIGN * PARAM_ALIGN;
    PUSH(p->v, p->n, p->cap, q);
}

static bool is_updated(const Graph *g, const Val *v) {
    for (int i = 0; i < g->nupdate; i += 2)
        if (g->update[i] == v) return true;
    return false;
}

// A parameter of rank 0 is a constant of the model rather, unless it is asked for.
static bool trains(const Filter *f, const Node *n) { return wanted(f, n) && (n->out[0].rank > 0 || f->has_want); }

// Trained ones first, then statistics, then large ones that stay as they are, each in the model's order.
static bool choose_params(Graph *g, const Options *opt, const Loss *l, Params *p) {
    Filter f = {.adapters = opt->nlora > 0};
    regex_t no_decay;
    bool has_no_decay;
    if (!compile_regex("--requires-grad", opt->requires_grad, &f.want, &f.has_want) ||
        !compile_regex("--freeze", opt->freeze, &f.freeze, &f.has_freeze) ||
        !compile_regex("--no-decay", opt->no_decay, &no_decay, &has_no_decay))
        return false;
    const bool *live = needed_by(g, l->n, l->root);
    for (ParamKind kind = PARAM_TRAINED; kind <= PARAM_FROZEN; kind++) {
        for (int i = 0; i < g->nnode; i++) {
            const Node *n = g->node[i];
            int64_t size;
            if (n->op != P_const || !n->flag || !n->out[0].name) continue;
            bool train = live[i] && trains(&f, n), update = !train && is_updated(g, &n->out[0]);
            bool large = e_is_const(val_numel(&n->out[0]), &size) && size > FROZEN_INLINE;
            bool kept = large || n->flag == ADAPTER || (n->aux && ((const Init *)n->aux)->adapted);
            if (kind == PARAM_TRAINED ? train : kind == PARAM_STATISTIC ? update : !train && !update && live[i] && kept)
                add_param(p, opt, &no_decay, n, kind);
        }
        if (kind == PARAM_TRAINED) p->trained = p->total;
    }
    if (f.has_want) regfree(&f.want);
    if (f.has_freeze) regfree(&f.freeze);
    if (has_no_decay) regfree(&no_decay);
    if (!p->trained) error("there is nothing to train: the loss depends on no parameter%s", f.has_want || f.has_freeze ? " that was chosen" : "");
    return p->trained > 0;
}

// The constants that are in the buffer of parameters become inputs.
static void params_as_inputs(Graph *g, const Params *p) {
    for (int i = 0; i < g->nnode; i++) {
        Node *n = g->node[i];
        if (n->op == P_const && n->flag && n->out[0].name && param_find(p, n->out[0].name)) make_input(g, &n->out[0]);
    }
    g->known = NULL;
}

static Val *input_of(const Graph *g, const char *name) {
    for (int i = 0; i < g->nin; i++)
        if (g->in[i]->name && !strcmp(g->in[i]->name, name)) return g->in[i];
    die("%s is no input", name);
}

// A call once the gradient d of parameter i is there: --update=inplace makes the optimizer's step, which changes the memory
// of w; --overlap hands the gradient out. A number that says it is done.
static Val *update_of(Graph *g, int i, Val *w, Val *d) {
    const int64_t number = i;
    const Val done = {.kind = K_TENSOR, .dt = I64};
    return &b_call(g, &call_update, 2, (Val *const[]){w, d}, &number, sizeof number, 1, &done)->out[0];
}

// Outputs: loss, correct, then grad:NAME of the trained ones, or update:NAME where the step is done at once, and
// new:NAME of the statistics, in the buffer's order.
static bool step_program(Graph *g, const Options *opt, Params *p) {
    Loss l = {0};
    if (!loss_build(g, opt, &l) || (!p->n && !choose_params(g, opt, &l, p))) return false;
    params_as_inputs(g, p);
    Val **wrt = NEWN(Val *, p->n + 1);
    int n = 0;
    for (int i = 0; i < p->n; i++)
        if (p->v[i].kind == PARAM_TRAINED) wrt[n++] = input_of(g, p->v[i].name);
    Val **d = grad_from(g, l.n, l.root, l.seed, n, wrt);
    if (!d) return false;
    take_outputs(g);
    graph_output(g, l.loss, intern("loss"));
    if (l.correct) graph_output(g, l.correct, intern("correct"));
    for (int i = 0; i < n; i++) {
        if (opt->inplace) graph_output(g, update_of(g, i, wrt[i], d[i]), intern(arena_printf("update:%s", wrt[i]->name)));
        else graph_output(g, d[i], intern(arena_printf("grad:%s", wrt[i]->name)));
    }
    for (int i = 0; i < n && opt->overlap; i++) graph_output(g, update_of(g, i, d[i], d[i]), intern(arena_printf("update:%s", wrt[i]->name)));
    for (int i = 0; i < g->nupdate; i += 2)
        if (param_find(p, g->update[i]->name)) graph_output(g, g->update[i + 1], intern(arena_printf("new:%s", g->update[i]->name)));
    return true;
}

static bool eval_program(Graph *g, const Options *opt, Params *p) {
    Loss l = {0};
    if (!loss_build(g, opt, &l)) return false;
    params_as_inputs(g, p);
    Outputs model = take_outputs(g);
    graph_output(g, l.loss, intern("loss"));
    if (l.correct) graph_output(g, l.correct, intern("correct"));
    for (int i = 0; i < model.n; i++) graph_output(g, model.v[i], arena_printf("output:%s", model.name[i]));
    return true;
}

static void predict_program(Graph *g, Params *p) {
    params_as_inputs(g, p);
    Outputs model = take_outputs(g);
    for (int i = 0; i < model.n; i++) graph_output(g, model.v[i], arena_printf("output:%s", model.name[i]));
}

void train_program(Graph *g, const Options *opt, Params *p) {
    bool ok = true;
    if (opt->input_grad) fatal("--input-grad goes with --grad, not --train");
    if (opt->entry == ENTRY_STEP) ok = step_program(g, opt, p);
    else if (opt->entry == ENTRY_EVAL) ok = eval_program(g, opt, p);
    else predict_program(g, p);
    if (!ok) fatal("no training step was made");
}
