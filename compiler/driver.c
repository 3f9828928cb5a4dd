// SPDX-License-Identifier: Apache-2.0
// The pipeline: the table of passes over the tensor DAG, then loops and C; --dump and --timing.
#include "cnncc.h"
#include "import/testdata.h"
#include "loop/loop.h"

#include <string.h>
#include <sys/resource.h>
#include <time.h>

typedef struct {
    const char *name;
    void (*run)(Graph *g, const Options *opt); // in place; NULL: only the graph's unreachable nodes go
} GraphPass;

static const GraphPass passes[] = {{"dtype", pass_dtype}, {"train", pass_train}, {"agree", pass_agree}, {"quantized", pass_quantized}, {"fold", pass_fold}, {"simplify", pass_simplify}, {"hoist", pass_hoist}, {"rebuild", NULL}};
enum { NPASS = sizeof passes / sizeof *passes };

// Whether a word stands in a comma list.
static bool listed(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *s = list; s && *s; s += strcspn(s, ","), s += *s == ',')
        if (strcspn(s, ",") == n && !memcmp(s, word, n)) return true;
    return false;
}

static bool dump_ok(const Options *opt) {
    for (const char *s = opt->dump; s && *s; s += strcspn(s, ","), s += *s == ',') {
        const char *word = intern_n(s, strcspn(s, ","));
        bool known = listed("import,lower", word);
        for (int i = 0; i < NPASS; i++) known |= !strcmp(passes[i].name, word);
        if (!known) {
            fprintf(stderr, "cnncc: --dump: there is no pass '%s'\n", word);
            return false;
        }
    }
    return true;
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// Starts a pass; the one before ends, with a line of --timing.
static void start(const Options *opt, const char *name) {
    static double since;
    double now = seconds();
    if (opt->timing && since > 0) {
        struct rusage r;
        getrusage(RUSAGE_SELF, &r);
        fprintf(stderr, "%-10s %8.3f s  peak %6ld MB\n", diag_pass, now - since, r.ru_maxrss / 1024);
    }
    since = now;
    diag_pass = name;
}

static void dump_graph(const Options *opt, const char *pass, Graph *g) {
    if (!listed(opt->dump, pass)) return;
    Text t = {0};
    graph_print(&t, graph_rebuild(g));
    printf("// after %s\n%s", pass, t.s ? t.s : "");
}

static int emit(Graph *g, const Options *opt) {
    start(opt, "lower");
    Program *p = lower(g, opt);
    if (!p) return 1;
    if (listed(opt->dump, "lower")) {
        Text t = {0};
        program_print(&t, p);
        fputs(t.s ? t.s : "", stdout);
    }
    start(opt, "emit");
    return opt->output && !emit_model(p, opt);
}

// The model after all passes over the tensor DAG; NULL after diagnostics. params: of --train.
static Graph *make_graph(const Options *opt, Params *params) {
    start(opt, "import");
    Graph *g = import_model(opt->model, opt);
    if (!g) return NULL;
    graph_verify(g);
    dump_graph(opt, "import", g);
    for (int i = 0; i < NPASS; i++) {
        start(opt, passes[i].name);
        if (passes[i].run == pass_train && opt->entry) train_program(g, opt, params);
        else if (passes[i].run)
            passes[i].run(g, opt);
        else
            g = graph_rebuild(g);
        graph_verify(g);
        dump_graph(opt, passes[i].name, g);
    }
    return g;
}

static int64_t work_of(const Program *p) {
    int64_t n = 0;
    return p && p->work_size && e_is_const(p->work_size, &n) ? n : INT64_MAX;
}

// The level of --recompute for a step: the first whose memory fits the budget, or the one with the least.
static int choose_level(Graph *g, const Options *opt, const Params *params) {
    const int64_t size = (int64_t)dt_size(params->dt), fixed = size * (params->total + (opt->inplace ? 0 : 2 * params->trained) + optimizer_state(opt) * params->trained);
    int64_t least = INT64_MAX, none = 0;
    int best = 0;
    for (int level = 0; level < recompute_levels; level++) {
        int64_t n = work_of(lower(recompute(g, opt, level), opt));
        if (level == 0) none = n;
        if (n < least) least = n, best = level;
        if (opt->mem_budget && n <= opt->mem_budget - fixed) break;
    }
    if (opt->mem_budget && least > opt->mem_budget - fixed) {
        error("--mem-budget: a step needs at least %lld bytes, %lld of them for parameters, gradients and the optimizer", (long long)(least + fixed), (long long)fixed);
        return 0;
    }
    fprintf(stderr, "%s: note: a step works in %.1f MB, %.1f MB if nothing were computed again\n", diag_file, (double)least / 1e6, (double)none / 1e6);
    return best;
}

// --train: the entries of the interface are programs of their own, made from the model one by one.
static int compile_train(const Options *opt) {
    static const TrainEntry entry[] = {ENTRY_STEP, ENTRY_STEP, ENTRY_EVAL, ENTRY_PREDICT};
    Params params = {0};
    TrainPrograms t = {.params = &params};
    int level = 0;
    for (int i = 0; i < 4; i++) {
        Options o = *opt;
        o.entry = entry[i];
        o.any_batch = i > 0 && opt->batch;
        if (i == 1 && !opt->batch) continue;
        Graph *g = make_graph(&o, &params);
        if (!g) return 1;
        if (i == 0 && opt->emit_onnx && !emit_onnx(g, opt->emit_onnx)) return 1;
        start(opt, "lower");
        if (i == 0 && opt->recompute) level = choose_level(g, &o, &params);
        if (!(t.p[i] = lower(i < 2 ? recompute(g, &o, level) : g, &o)) || diag_errors) return 1;
    }
    start(opt, "emit");
    int status = opt->output && !emit_train(&t, opt);
    start(opt, "end");
    return status ? status : diag_errors > 0;
}

int compile(const Options *opt) {
    if (!dump_ok(opt)) return 2;
    if (opt->train) return compile_train(opt);
    Graph *g = make_graph(opt, NULL);
    if (!g) return 1;
    int status = 0;
    if (opt->eval) {
        start(opt, "eval");
        status = eval_folder(g, opt->eval_dir);
    }
    if (opt->emit_onnx && status == 0) {
        Options o = *opt; // ONNX has no operator for a processor's forms of sums
        o.output = NULL;
        Graph *plain = opt->output ? make_graph(&o, NULL) : g;
        start(opt, "emit-onnx");
        status = !plain || !emit_onnx(plain, opt->emit_onnx);
    }
    if (status == 0 && (opt->output || listed(opt->dump, "lower"))) status = emit(g, opt);
    start(opt, "end");
    return status ? status : diag_errors > 0;
}
