// SPDX-License-Identifier: Apache-2.0
// --train: the interface around the programs of a training step, of an evaluation and of a prediction.
#include "emit/emit.h"
#include <ctype.h>
#include <string.h>

// An optimizer: what runtime/train.h has of that name, tensors of state, and what it starts from.
typedef struct { const char *name, *part; int state; const char *defaults; bool root; } Optimizer; // root: takes square roots
static const Optimizer optimizers[] = {
    {"sgd", "cnn_sgd", 1, "h->lr = 0.01;", false},
    {"adam", "cnn_adam", 2, "h->lr = 1e-3;", true},
    {"adamw", "cnn_adamw", 2, "h->lr = 1e-3;\n    h->weight_decay = 0.01;", true},
    {"adagrad", "cnn_adagrad", 1, "h->lr = 0.01;\n    h->eps = 1e-10;", true},
    {"rmsprop", "cnn_rmsprop", 3, "h->lr = 0.01;", true},
    {"lion", "cnn_lion", 1, "h->lr = 1e-4;\n    h->beta2 = 0.99;", false},
    {"onnx_adam", "cnn_onnx_adam", 2, "h->lr = 1e-3;\n    h->eps = 1e-6;", true},
    {"onnx_adagrad", "cnn_adagrad", 1, "h->lr = 0.01;\n    h->eps = 1e-6;", true},
    {"onnx_momentum", "cnn_onnx_momentum", 1, "h->lr = 0.01;\n    h->momentum = 0.9;", false},
};

static const Optimizer *optimizer_of(const Options *opt) {
    const char *name = opt->optimizer ? opt->optimizer : "sgd";
    Text all = {0};
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++) {
        if (!strcmp(optimizers[i].name, name)) return &optimizers[i];
        put(&all, "%s%s", i ? ", " : "", optimizers[i].name);
    }
    error("--optimizer: there is no optimizer '%s': %s", name, all.s);
    return NULL;
}

int64_t optimizer_state(const Options *opt) {
    const Optimizer *o = optimizer_of(opt);
    return o ? o->state : 0;
}

static const char *const entry_name[] = {"step", "step_any", "eval", "predict"};
enum { ENTRIES = 4 };

typedef struct {
    Emit *e;
    const TrainPrograms *t;
    const Params *p;
    const char *m, *real; // the prefix; C's name of the parameters' type
    const Optimizer *opt;
} Train;

static bool starts(const char *s, const char *prefix) { return !strncmp(s, prefix, strlen(prefix)); }

static bool is_symbolic(const Program *p) {
    Ex *sym;
    return program_symbols(p, &sym) > 0;
}

// Sizes are known but for the batch.
static bool check_symbols(const TrainPrograms *t) {
    for (int i = 0; i < ENTRIES; i++) {
        Ex *sym;
        int n = t->p[i] ? program_symbols(t->p[i], &sym) : 0;
        for (int k = 0; k < n; k++)
            if (strcmp(sym[k]->name, "batch") != 0 || sym[k]->hi >> 31) return error("--train needs the size of %s: --dim %s=N, or --batch N", sym[k]->name, sym[k]->name), false;
    }
    return true;
}

static int64_t fixed_extent(Ex e) {
    int64_t c;
    return e_is_const(e, &c) ? c : -1;
}

// How many examples a full batch has: the first extent of the first input.
static int64_t batch_of(const Train *c) {
    const Graph *g = c->t->p[0]->g;
    if (c->e->opt->batch) return c->e->opt->batch;
    for (int i = 0; i < g->nin; i++)
        if (g->in[i]->rank > 0 && !param_find(c->p, g->in[i]->name)) return fixed_extent(g->in[i]->shape[0]);
    return 1;
}

static const char *upper(const char *s) {
    char *u = arena_strdup(s);
    for (char *p = u; *p; p++) *p = (char)toupper((unsigned char)*p);
    return u;
}

// ---- fields of the batch and the result -------------------------------------------------------------

static const char *input_field(const Val *v) { return c_name(v->name); }

static const char *output_field(const char *name) { return c_name(starts(name, "output:") ? name + 7 : name); }

static void put_extents(Text *t, const Val *v) {
    put(t, "[");
    for (int k = 0; k < v->rank; k++) put(t, "%s%s", k ? ", " : "", fixed_extent(v->shape[k]) < 0 ? "n" : in_comment(e_str(v->shape[k])));
    put(t, "]");
}

static void put_batch_struct(const Train *c, Text *t) {
    put(t, "/* What a step is given; n examples, at most %s_BATCH. A pointer that a call does not need may be NULL. */\ntypedef struct {\n    int64_t n;\n", upper(c->m));
    const Program *p = c->t->p[1] ? c->t->p[1] : c->t->p[0];
    for (int i = 0; i < p->g->nin; i++) {
        const Val *v = p->g->in[i];
        if (param_find(c->p, v->name)) continue;
        put(t, "    const %s *%s; /* ", port_type(v), input_field(v));
        put_extents(t, v);
        put(t, " */\n");
    }
    put(t, "} %s_batch;\n\n", c->m);
}

static void put_result_struct(const Train *c, Text *t) {
    const Graph *g = c->t->p[3]->g;
    const Graph *s = c->t->p[0]->g;
    bool correct = s->nout > 1 && !strcmp(s->out_name[1], "correct");
    put(t, "/* What it gives. The outputs of the model: where to, or NULL. */\ntypedef struct {\n    %s loss;\n", c_type(s->out[0]->dt));
    if (correct) put(t, "    int64_t correct; /* predictions that are right */\n");
    for (int i = 0; i < g->nout; i++) {
        put(t, "    %s *%s; /* ", port_type(g->out[i]), output_field(g->out_name[i]));
        put_extents(t, g->out[i]);
        put(t, " */\n");
    }
    put(t, "} %s_result;\n\n", c->m);
}

// ---- the header -------------------------------------------------------------------------------------

static bool has_export(const Params *p) {
    for (int i = 0; i < p->n; i++)
        if (param_changes(&p->v[i]) && p->v[i].init.file_at < 0) return false;
    return true;
}

static void put_train_header(const Train *c, Text *t) {
    const char *m = c->m, *M = upper(m);
    put(t, "#ifndef %s_H\n#define %s_H\n@ABI@\n@TRAIN@\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n", M, M);
    put(t, "/* Sizes in elements of %s: parameters, those of them that are trained, the optimizer's state. */\n", c->real);
    put(t, "#define %s_BATCH %lld\n#define %s_PARAMS %lld\n#define %s_TRAINED %lld\n#define %s_STATE %lld\n#define %s_NPARAM %d\n\n", M,
        (long long)batch_of(c), M, (long long)c->p->total, M, (long long)c->p->trained, M, (long long)(c->p->trained * c->opt->state), M, c->p->n);
    bool inplace = c->e->opt->inplace;
    put(t, "/* One training: all memory is the caller's. params%s and state have %s_PARAMS%s%s and\n   %s_STATE elements; work has "
           "%s_work_size(threads) bytes and begins at a multiple of 64.%s */\n", inplace ? "" : ", grads", M, inplace ? "" : ", ", inplace ? "" : arena_printf("%s_TRAINED", M), M,
        m, inplace ? " grads are not used." : "");
    put(t, "typedef struct {\n    %s *params, *grads, *state;\n    void *work;\n    size_t work_size;\n    int threads;\n    uint64_t seed; /* of dropout */\n"
           "    uint64_t step; /* optimizer steps done */\n} %s_trainer;\n\n", c->real, m);
    put_batch_struct(c, t);
    put_result_struct(c, t);
    put(t, "extern const cnn_param %s_params[%s_NPARAM];\n\n", m, M);
    put(t, "/* All functions return a cnn_status. */\n");
    put(t, "size_t %s_work_size(int threads);\nvoid %s_defaults(cnn_hyper *h);\n\n", m, m);
    put(t, "/* Parameters from the model (weights: what %s.bin holds, or NULL if there is none), or at random. */\n", m);
    put(t, "int %s_init(const %s_trainer *t, const void *weights);\nint %s_init_random(const %s_trainer *t, uint64_t seed);\n\n", m, m, m, m);
    if (inplace) put(t, "/* A step: each parameter is changed as soon as its gradient is known. h->clip_norm must be 0: no one has all gradients.\n"
                        "   After a status other than CNN_OK some parameters may have made the step: load a checkpoint. */\n");
    else put(t, "/* A step: gradients of the batch's loss, and the optimizer. Or in parts: gradients are added until zero_grad. */\n");
    put(t, "int %s_train_step(%s_trainer *t, const cnn_hyper *h, const %s_batch *b, %s_result *r);\n", m, m, m, m);
    if (!inplace) put(t, "void %s_zero_grad(const %s_trainer *t);\nint %s_forward_backward(const %s_trainer *t, const %s_batch *b, %s_result *r);\n", m, m, m, m, m, m);
    if (!inplace) put(t, "int %s_optimizer_step(%s_trainer *t, const cnn_hyper *h);\n", m, m);
    if (c->e->opt->overlap)
        put(t, "/* Gradients of the batch's loss in t->grads, in place of what was there: ready is called with each parameter's part of the\n"
               "   buffer, in elements, as soon as it is complete, the last layers first, on the thread that called. */\n"
               "typedef void %s_ready(void *user, size_t offset, size_t count);\n"
               "int %s_gradients(const %s_trainer *t, const %s_batch *b, %s_result *r, %s_ready *ready, void *user);\n", m, m, m, m, m, m);
    put(t, "\n/* Loss and outputs as in use; outputs only. */\nint %s_eval_step(const %s_trainer *t, const %s_batch *b, %s_result *r);\n", m, m, m, m);
    put(t, "int %s_predict(const %s_trainer *t, const %s_batch *b, %s_result *r);\n\n", m, m, m, m);
    put(t, "/* A checkpoint: a safetensors file of what training changes, and the optimizer's state. Before loading: %s_init,\n   if there are parameters that stay as they are. */\n", m);
    put(t, "int %s_save(const %s_trainer *t, cnn_write *write, void *user);\nint %s_load(%s_trainer *t, cnn_read *read, void *user);\n", m, m, m, m);
    if (has_export(c->p))
        put(t, "/* The model's file as it was compiled, with the weights as they are now. */\n"
               "int %s_export(const %s_trainer *t, const void *model, size_t size, cnn_write *write, void *user);\n", m, m);
    put(t, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
}

// ---- calls of the programs --------------------------------------------------------------------------

static void put_input(const Train *c, Text *t, const Val *v, int i) {
    const Param *q = param_find(c->p, v->name);
    const char *type = arena_printf("%d, %d", (int)v->dt, v->rank);
    if (q) put(t, "        {t->params + %lld, 0, (int64_t *)(uintptr_t)%s_dim%d, %s},\n", (long long)q->offset, c->m, (int)(q - c->p->v), type);
    else put(t, "        {(void *)(uintptr_t)b->%s, 0, shape%d, %s},\n", input_field(v), i, type);
}

static int64_t most_elements(const Val *v) {
    int64_t n;
    Ex most = e_bound(val_numel(v)) ? e_bound(val_numel(v)) : val_numel(v);
    return e_is_const(most, &n) ? n : most->hi;
}

// Where an output goes: a field, a place in the gradients, or room behind the program's work area.
static void put_output(const Train *c, Text *t, const Graph *g, int i, int64_t *room) {
    const char *name = g->out_name[i];
    const Val *v = g->out[i];
    const Param *q = starts(name, "grad:") ? param_find(c->p, name + 5) : starts(name, "new:") ? param_find(c->p, name + 4) : NULL;
    if (!strcmp(name, "loss") || !strcmp(name, "correct")) put(t, "        {&r->%s, 8", name);
    else if (starts(name, "update:")) put(t, "        {rest + %lld, 8", (long long)(*room += 64) - 64);
    else if (q && q->kind == PARAM_TRAINED) put(t, "        {grads + %lld, SIZE_MAX", (long long)q->offset);
    else if (q) {
        put(t, "        {rest + %lld, SIZE_MAX", (long long)*room);
        *room += (q->n * (int64_t)dt_size(v->dt) + 63) / 64 * 64;
    } else {
        const char *f = output_field(name);
        put(t, "        {r->%s ? (void *)r->%s : (void *)(rest + %lld), SIZE_MAX", f, f, (long long)*room);
        *room += (most_elements(v) * (int64_t)dt_size(v->dt) + 63) / 64 * 64;
    }
    put(t, ", shape, %d, %d},\n", (int)v->dt, v->rank);
}

// Statistics that the step made go into the buffer once it has succeeded.
static void put_statistics(const Train *c, Text *t, const Graph *g) {
    for (int i = 0; i < g->nout; i++) {
        const Param *q = starts(g->out_name[i], "new:") ? param_find(c->p, g->out_name[i] + 4) : NULL;
        if (q) put(t, "    if (!st) memcpy(t->params + %lld, out[%d].data, sizeof(CNN_REAL) * %lld);\n", (long long)q->offset, i, (long long)q->n);
    }
}

// Room behind the work area that the program's outputs take, in bytes.
static int64_t put_call(const Train *c, Text *t, int entry) {
    const Program *p = c->t->p[entry];
    const Graph *g = p->g;
    const char *m = c->m;
    int64_t room = 0;
    bool step = entry < 2;
    put(t, "static int %s_call_%s(const %s_trainer *t, const %s_batch *b, %s_result *r%s, unsigned char *rest) {\n", m, entry_name[entry], m, m, m,
        !step ? "" : c->e->opt->inplace ? ", const cnn_hyper *h" : c->e->opt->overlap ? arena_printf(", CNN_REAL *grads, const %s_stepping *how", m) : ", CNN_REAL *grads");
    if (step && c->e->opt->inplace) put(t, "    const %s_stepping how = {t, h};\n", m);
    put(t, "    int64_t shape[%d];\n", MAX_RANK);
    for (int i = 0; i < g->nin; i++) {
        const Val *v = g->in[i];
        if (param_find(c->p, v->name)) continue;
        put(t, "    int64_t shape%d[] = {", i);
        for (int k = 0; k < v->rank; k++) put(t, "%s, ", fixed_extent(v->shape[k]) < 0 ? "b->n" : e_str(v->shape[k]));
        put(t, "0};\n");
    }
    put(t, "    const cnn_tensor in[] = {\n");
    for (int i = 0; i < g->nin; i++) put_input(c, t, g->in[i], i);
    put(t, "    };\n    cnn_tensor out[] = {\n");
    for (int i = 0; i < g->nout; i++) put_output(c, t, g, i, &room);
    put(t, "    };\n    const cnn_ctx ctx = {%s, t->work, (size_t)(rest - (unsigned char *)t->work), t->seed + t->step * UINT64_C(0x9e3779b97f4a7c15), t->threads};\n",
        step && c->e->opt->inplace ? "&how" : step && c->e->opt->overlap ? "how" : "NULL");
    put(t, "    const int st = %s_%s_run_array(&ctx, in, out);\n", m, entry_name[entry]);
    put_statistics(c, t, g);
    put(t, "    (void)rest;\n    (void)r;\n    return st;\n}\n\n");
    return room;
}

// ---- the functions ----------------------------------------------------------------------------------

static void put_sizes(const Train *c, Text *t, int64_t room) {
    const char *m = c->m;
    put(t, "/* Bytes that the programs share, before what lies behind them. */\nstatic size_t %s_inner_size(int threads) {\n    size_t n = 64, k;\n", m);
    put(t, "    const int64_t batch[] = {%lld};\n    (void)batch;\n", (long long)batch_of(c));
    for (int i = 0; i < ENTRIES; i++)
        if (c->t->p[i]) put(t, "    if ((k = %s_%s_work_of(%s, threads)) > n) n = k;\n", m, entry_name[i], is_symbolic(c->t->p[i]) ? "batch" : "NULL");
    put(t, "    return (n + 63) / 64 * 64;\n}\n\n");
    put(t, "size_t %s_work_size(int threads) {\n    return %s_inner_size(threads) + sizeof(CNN_REAL) * %lld + %lld;\n}\n\n", m, m, c->e->opt->inplace ? 0 : (long long)c->p->trained, (long long)room);
}

// The checks that every call makes, and the area behind the programs'.
static void put_entry_checks(const Train *c, Text *t) {
    put(t, "    const int threads = t->threads > 1 ? t->threads : 1;\n    if (!t->work || t->work_size < %s_work_size(threads)) return CNN_EWORK;\n", c->m);
    if (c->e->opt->batch) put(t, "    if (b->n < 0 || b->n > %lld) return CNN_ESHAPE;\n", (long long)batch_of(c));
    else put(t, "    if (b->n != %lld) return CNN_ESHAPE;\n", (long long)batch_of(c));
    put(t, "    unsigned char *const rest = (unsigned char *)t->work + %s_inner_size(threads);\n", c->m);
}

static void put_clear(const Train *c, Text *t) {
    const char *m = c->m;
    put(t, "static void %s_clear(const %s_trainer *t) {\n    size_t i;\n", m, m);
    if (!c->e->opt->inplace) put(t, "    %s_zero_grad(t);\n", m);
    put(t, "    for (i = 0; i < %lld; i++) t->state[i] = 0;\n}\n\n", (long long)(c->p->trained * c->opt->state));
}

static void put_step_functions(const Train *c, Text *t) {
    const char *m = c->m;
    long long n = (long long)c->p->trained;
    const bool overlap = c->e->opt->overlap;
    const char *how = overlap ? ", how" : "", *none = overlap ? ", NULL" : "";
    put(t, "static int %s_gradients_to(const %s_trainer *t, const %s_batch *b, %s_result *r, CNN_REAL *grads%s) {\n", m, m, m, m,
        overlap ? arena_printf(", const %s_stepping *how", m) : "");
    put_entry_checks(c, t);
    put(t, "    unsigned char *const behind = rest + sizeof(CNN_REAL) * %lld; /* room for added gradients */\n", n);
    if (c->t->p[1]) put(t, "    if (b->n != %lld) return %s_call_step_any(t, b, r, grads%s, behind);\n", (long long)batch_of(c), m, how);
    put(t, "    return %s_call_step(t, b, r, grads%s, behind);\n}\n\n", m, how);
    put(t, "void %s_zero_grad(const %s_trainer *t) {\n    size_t i;\n    for (i = 0; i < %lld; i++) t->grads[i] = 0;\n}\n\n", m, m, n);
    put_clear(c, t);
    put(t, "int %s_forward_backward(const %s_trainer *t, const %s_batch *b, %s_result *r) {\n", m, m, m, m);
    put_entry_checks(c, t);
    put(t, "    CNN_REAL *const more = (CNN_REAL *)(void *)rest;\n    size_t i;\n    for (i = 0; i < %lld; i++) more[i] = 0; /* between parameters too */\n", n);
    put(t, "    const int st = %s_gradients_to(t, b, r, more%s);\n    if (st) return st;\n    for (i = 0; i < %lld; i++) t->grads[i] += more[i];\n    return CNN_OK;\n}\n\n", m, none, n);
    put(t, "int %s_train_step(%s_trainer *t, const cnn_hyper *h, const %s_batch *b, %s_result *r) {\n", m, m, m, m);
    put(t, "    const int st = %s_gradients_to(t, b, r, t->grads%s);\n    return st ? st : %s_optimizer_step(t, h);\n}\n\n", m, none, m);
    if (!overlap) return;
    put(t, "static int %s_update(const cnn_ctx *ctx, const CNN_REAL *w, const CNN_REAL *g, int64_t *done, int64_t number) {\n", m);
    put(t, "    const %s_stepping *const how = (const %s_stepping *)ctx->weights;\n    const cnn_param *const p = &%s_params[number];\n", m, m, m);
    put(t, "    (void)w;\n    (void)g;\n    if (how) how->ready(how->user, p->offset, p->count);\n    *done = 1;\n    return CNN_OK;\n}\n\n");
    put(t, "int %s_gradients(const %s_trainer *t, const %s_batch *b, %s_result *r, %s_ready *ready, void *user) {\n", m, m, m, m, m);
    put(t, "    const %s_stepping how = {ready, user};\n    return %s_gradients_to(t, b, r, t->grads, &how);\n}\n\n", m, m);
}

// The optimizer on n elements of parameter p from `at` on.
static void put_one_step(const Train *c, Text *t, const char *at, const char *grads, const char *n) {
    put(t, "        %s(t->params + %s, %s", c->opt->part, at, grads);
    for (int k = 0; k < 3; k++) {
        if (k < c->opt->state) put(t, ", t->state + %lld + %s", (long long)(c->p->trained * k), at);
        else put(t, ", NULL");
    }
    put(t, ",\n            %s, h, p->decays ? h->weight_decay : 0, t->step);\n", n);
}

static void put_defaults(const Train *c, Text *t) {
    put(t, "void %s_defaults(cnn_hyper *h) {\n    memset(h, 0, sizeof *h);\n    h->beta1 = 0.9;\n    h->beta2 = 0.999;\n    h->eps = 1e-8;\n    h->alpha = 0.99;\n    %s\n}\n\n",
        c->m, c->opt->defaults);
}

static void put_optimizer(const Train *c, Text *t) {
    const char *m = c->m;
    need(c->e, "cnn_clip");
    put_defaults(c, t);
    put(t, "int %s_optimizer_step(%s_trainer *t, const cnn_hyper *h) {\n    size_t i;\n", m, m);
    put(t, "    cnn_clip(t->grads, %lld, h->clip_value, h->clip_norm);\n    for (i = 0; i < %d; i++) {\n        const cnn_param *const p = &%s_params[i];\n",
        (long long)c->p->trained, c->p->n, m);
    put(t, "        if (p->kind != CNN_TRAINED) break;\n");
    put_one_step(c, t, "p->offset", "t->grads + p->offset", "p->count");
    put(t, "    }\n    t->step++;\n    return CNN_OK;\n}\n\n");
}

// ---- --update=inplace -------------------------------------------------------------------------------

// What the programs of a step call, before them.
static void put_update_declared(const Train *c, Text *t) {
    put(t, "static int %s_update(const cnn_ctx *ctx, const CNN_REAL *w, const CNN_REAL *g, int64_t *done, int64_t number);\n\n", c->m);
}

static void put_update(const Train *c, Text *t) {
    const char *m = c->m;
    put_defaults(c, t);
    put(t, "/* The optimizer on one parameter, whose gradient dies here. */\n");
    put(t, "static int %s_update(const cnn_ctx *ctx, const CNN_REAL *w, const CNN_REAL *g, int64_t *done, int64_t number) {\n", m);
    put(t, "    const %s_stepping *const how = (const %s_stepping *)ctx->weights;\n    const %s_trainer *const t = how->t;\n", m, m, m);
    put(t, "    const cnn_hyper *const h = how->h;\n    const cnn_param *const p = &%s_params[number];\n    CNN_REAL piece[256];\n    size_t at, i, n;\n    (void)w;\n", m);
    put(t, "    for (at = 0; at < p->count; at += n) {\n        const CNN_REAL *d = g + at;\n        n = p->count - at;\n");
    put(t, "        if (h->clip_value > 0) {\n            const CNN_REAL v = (CNN_REAL)h->clip_value;\n            if (n > 256) n = 256;\n");
    put(t, "            for (i = 0; i < n; i++) piece[i] = d[i] > v ? v : d[i] < -v ? -v : d[i];\n            d = piece;\n        }\n");
    put_one_step(c, t, "p->offset + at", "d", "n");
    put(t, "    }\n    *done = 1;\n    return CNN_OK;\n}\n\n");
}

static void put_inplace_step(const Train *c, Text *t) {
    const char *m = c->m;
    put_clear(c, t);
    put(t, "int %s_train_step(%s_trainer *t, const cnn_hyper *h, const %s_batch *b, %s_result *r) {\n    int st;\n", m, m, m, m);
    put_entry_checks(c, t);
    put(t, "    if (h->clip_norm > 0) return CNN_EVALUE; /* needs all gradients at once */\n");
    if (c->t->p[1]) put(t, "    if (b->n != %lld) st = %s_call_step_any(t, b, r, h, rest);\n    else ", (long long)batch_of(c), m);
    else put(t, "    ");
    put(t, "st = %s_call_step(t, b, r, h, rest);\n    if (!st) t->step++;\n    return st;\n}\n\n", m);
}

static void put_other_functions(const Train *c, Text *t) {
    const char *m = c->m;
    put(t, "int %s_eval_step(const %s_trainer *t, const %s_batch *b, %s_result *r) {\n", m, m, m, m);
    put_entry_checks(c, t);
    put(t, "    return %s_call_eval(t, b, r, rest);\n}\n\nint %s_predict(const %s_trainer *t, const %s_batch *b, %s_result *r) {\n", m, m, m, m, m);
    put_entry_checks(c, t);
    put(t, "    return %s_call_predict(t, b, r, rest);\n}\n\n", m);
    need(c->e, "cnn_random_params");
    put(t, "int %s_init_random(const %s_trainer *t, uint64_t seed) {\n    size_t i;\n", m, m);
    put(t, "    if (!t->params) return CNN_EWORK;\n    for (i = 0; i < %lld; i++) t->params[i] = 0;\n", (long long)c->p->trained);
    put(t, "    cnn_random_params(t->params, %s_params, %d, seed);\n", m, c->p->n);
    for (int i = 0; i < c->p->n; i++) { // a variance starts at 1
        const Param *q = &c->p->v[i];
        if (q->kind != PARAM_STATISTIC) continue;
        put(t, "    for (i = 0; i < %lld; i++) t->params[%lld + i] = %d;\n", (long long)q->n, (long long)q->offset, q->init.scale == 1);
    }
    put(t, "    %s_clear(t);\n    return CNN_OK;\n}\n\n", m);
}

// Names of constants are made distinct between the programs.
static void rename_constants(const Program *p, const char *prefix) {
    for (int i = 0; i < p->nbufs; i++)
        if (p->bufs[i]->kind == B_WEIGHT) p->bufs[i]->name = arena_printf("%s_%s", prefix, p->bufs[i]->name);
}

// The programs' functions and constants; the last ones after all others.
static void put_programs(const Train *c, Text *t) {
    Emit *e = c->e;
    for (int i = 0; i < ENTRIES; i++) {
        if (!c->t->p[i]) continue;
        e->p = c->t->p[i];
        e->prefix = arena_printf("%s_%s", c->m, entry_name[i]);
        e->main = e->funcs = (Text){0};
        rename_constants(e->p, e->prefix);
        weights_layout(e, false);
        put_stmts(e, &e->main, e->p->body, 1);
        put_weights(e, t);
        put_functions(e, t);
        put_entry(e, t);
    }
    e->p = c->t->p[0];
    e->prefix = c->m;
}

// Outputs have room of their own where the caller gives none. false after a diagnostic.
static bool check_outputs(const TrainPrograms *t) {
    for (int i = 0; i < ENTRIES; i++)
        for (int k = 0; t->p[i] && k < t->p[i]->g->nout; k++) {
            const Val *v = t->p[i]->g->out[k];
            const char *name = t->p[i]->g->out_name[k];
            if (most_elements(v) >> 48) return error("--train: output '%s' may have any number of elements", name + (starts(name, "output:") ? 7 : 0)), false;
        }
    return true;
}

bool emit_train(const TrainPrograms *t, const Options *opt) {
    Emit *e = NEW(Emit);
    *e = (Emit){.p = t->p[0], .opt = opt, .prefix = c_name(opt->prefix ? opt->prefix : file_stem(opt->output))};
    e->family = e->prefix;
    e->apart = true;
    bool wide = t->params->dt == F64;
    Train c = {.e = e, .t = t, .p = t->params, .m = e->prefix, .real = wide ? "double" : "float", .opt = optimizer_of(opt)};
    if (!c.opt || !check_symbols(t) || !check_outputs(t)) return false;
    Text code = {0}, h = {0}, out = {0};
    if (opt->inplace || opt->overlap) put_update_declared(&c, &code);
    put_programs(&c, &code);
    if (opt->inplace) put(&code, "typedef struct { const %s_trainer *t; const cnn_hyper *h; } %s_stepping;\n\n", c.m, c.m);
    if (opt->overlap) put(&code, "typedef struct { %s_ready *ready; void *user; } %s_stepping;\n\n", c.m, c.m);
    put_param_table(e, &code, c.p);
    int64_t room = 0;
    for (int i = 0; i < ENTRIES; i++) {
        int64_t n = t->p[i] ? put_call(&c, &code, i) : 0;
        if (n > room) room = n;
    }
    put_sizes(&c, &code, room);
    need(e, c.opt->part);
    if (opt->inplace) {
        put_update(&c, &code);
        put_inplace_step(&c, &code);
    } else {
        put_optimizer(&c, &code);
        put_step_functions(&c, &code);
    }
    if (!put_first_values(e, &code, c.p)) return false;
    put_other_functions(&c, &code);
    put_checkpoint(e, &code, c.p, c.opt->name, c.opt->state);
    put_export(e, &code, c.p);
    need(e, "train_abi");
    if (c.opt->root) need(e, wide ? "cnn_sqrt" : "cnn_sqrtf");
    need(e, "#math");
    put_train_header(&c, &h);
    const char *header = with_ending(opt->output, ".h"), *slash = strrchr(header, '/');
    put_top(e, &out, slash ? slash + 1 : header);
    put(&out, "#include <string.h>\n#define CNN_REAL %s\n#define CNN_ROOT(x) %s(x)\n", c.real, wide ? "cnn_sqrt" : "cnn_sqrtf");
    put_parts(e, &out);
    put_vectors(e, &out);
    put_n(&out, code.s, code.n);
    text_replace(&h, "@ABI@", runtime_text("abi"));
    text_replace(&h, "@TRAIN@", runtime_text("train_abi"));
    return write_file(header, h.s, h.n) && write_file(opt->output, out.s, out.n);
}
