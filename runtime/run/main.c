// SPDX-License-Identifier: Apache-2.0
// cnncc-run's command line.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"

static const char help[] =
    "cnncc-run: compile an ONNX model, load it, run it\n"
    "\n"
    "  cnncc-run MODEL.onnx --input x=image.npy --output results\n"
    "      runs the model once and writes results/NAME.npy for each of its outputs\n"
    "      (NAME.pb for sequences and maps); without --output prints them in brief\n"
    "  cnncc-run MODEL.onnx --test DIR\n"
    "      runs every DIR/test_data_set_N/input_J.pb and compares with its output_J.pb;\n"
    "      the exit status is 0 only when nothing failed; with states (cnncc --state) the sets are the steps\n"
    "      of one run, and a state's input counts in the first only\n"
    "  cnncc-run MODEL.onnx --bench\n"
    "      times the model; inputs that are not given are made up\n"
    "  cnncc-run --batch LIST\n"
    "      LIST names a folder a line, each with model.onnx and test_data_set_N\n"
    "\n"
    "MODEL may also be C that cnncc wrote (MODEL.c) or a shared object made from it (MODEL.so).\n"
    "\n"
    "  --input NAME=FILE   a .npy or .pb file; FILE alone goes to the next input in order\n"
    "  --output DIR        where outputs are written\n"
    "  --test DIR          test data; --rtol X and --atol X as in numpy (1e-3, 1e-7)\n"
    "  --bench [N]         N timed runs (20) after a first one\n"
    "  --profile [N]       the same, and what each nest of the code took\n"
    "  --tune FILE         makes the model in several forms, times the parts, and writes to FILE which form\n"
    "                      is the fastest here; then: cnncc --tuned FILE. FILE may serve many models\n"
    "  --limits            also with too little room and with inputs that do not fit: a status must\n"
    "                      say so, and nothing be written outside\n"
    "  --threads T         threads of the generated code (1)\n"
    "  --seed N            of random operators (0)\n"
    "  --cc CC             the C compiler; default $CC, else clang-19, clang, gcc, cc;\n"
    "                      its flags are $CFLAGS, else the flags of record\n"
    "  --prefix NAME       of the symbols in MODEL.c or MODEL.so (its file name)\n"
    "  --jobs N            processes of --batch (2); --timeout S for each model (60)\n"
    "  --keep DIR          keep what is generated in DIR\n"
    "  -- OPTIONS          the rest is handed to cnncc\n"
    "\n"
    "Exit status: 0 all is well; 1 the model's fault or a comparison failed; 2 the command\n"
    "line's fault; 70 a bug of cnncc.\n";

typedef struct {
    const char *model, *output, *test, *batch, *keep, *tune;
    Words input;
    BuildPlan build;
    RunPlan run;
    Compare compare;
    int jobs, timeout;
} Options;

static char temp_dir[PATH_ROOM];

static void remove_temp(void) {
    if (temp_dir[0]) run_remove_tree(temp_dir);
    temp_dir[0] = 0;
}

static void on_signal(int sig) {
    remove_temp(); /* ended from outside: the folder matters more than strict safety here */
    _exit(128 + sig);
}

static int usage(const char *what, const char *word) {
    fprintf(stderr, "cnncc-run: %s%s%s\nTry cnncc-run --help\n", what, word ? " " : "", word ? word : "");
    return EXIT_USAGE;
}

static bool to_int(const char *text, int *out) {
    char *end;
    errno = 0;
    long x = strtol(text, &end, 10);
    if (end == text || *end || errno || x < 0 || x > 1000000000) return false;
    *out = (int)x;
    return true;
}

static bool to_double(const char *text, double *out) {
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == 0 && *out >= 0;
}

/* Takes the value of an option from `--name=value` or the next word. */
static const char *value_of(const char *name, int argc, char **argv, int *i) {
    size_t n = strlen(name);
    if (strncmp(argv[*i], name, n) != 0) return NULL;
    if (argv[*i][n] == '=') return argv[*i] + n + 1;
    if (argv[*i][n] == 0 && *i + 1 < argc) return argv[++*i];
    return NULL;
}

static bool number_option(Options *o, int argc, char **argv, int *i, bool *bad) {
    const struct {
        const char *name;
        int *to;
    } ints[] = {{"--threads", &o->run.threads}, {"--jobs", &o->jobs}, {"--timeout", &o->timeout}};
    const char *v;
    int seed;
    for (size_t k = 0; k < sizeof ints / sizeof *ints; k++)
        if ((v = value_of(ints[k].name, argc, argv, i)) != NULL) {
            *bad = !to_int(v, ints[k].to);
            return true;
        }
    if ((v = value_of("--rtol", argc, argv, i)) != NULL) {
        *bad = !to_double(v, &o->compare.rtol);
    } else if ((v = value_of("--atol", argc, argv, i)) != NULL) {
        *bad = !to_double(v, &o->compare.atol);
    } else if ((v = value_of("--seed", argc, argv, i)) != NULL) {
        *bad = !to_int(v, &seed);
        o->run.seed = *bad ? 0 : (uint64_t)seed;
    } else {
        return false;
    }
    return true;
}

static bool text_option(Options *o, int argc, char **argv, int *i) {
    const struct {
        const char *name, **to;
    } texts[] = {{"--output", &o->output}, {"--test", &o->test}, {"--batch", &o->batch},
                 {"--cc", &o->build.cc},   {"--keep", &o->keep}, {"--tune", &o->tune}, {"--prefix", &o->build.prefix}};
    const char *v;
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
        if ((v = value_of(texts[k].name, argc, argv, i)) != NULL) {
            *texts[k].to = v;
            return true;
        }
    if ((v = value_of("--input", argc, argv, i)) == NULL) return false;
    words_add(&o->input, v);
    return true;
}

static void cnncc_options(Options *o, int argc, char **argv, int i) {
    for (; i < argc; i++) {
        words_add(&o->build.options, argv[i]);
        if (strncmp(argv[i], "--dtype", 7) == 0) o->run.convert = o->compare.convert = true;
    }
}

static int parse(Options *o, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        bool bad = false;
        if (strcmp(argv[i], "--") == 0) {
            cnncc_options(o, argc, argv, i + 1);
            break;
        }
        if (strcmp(argv[i], "--limits") == 0) {
            o->run.limits = true;
        } else if (strcmp(argv[i], "--bench") == 0 || strcmp(argv[i], "--profile") == 0) {
            if (argv[i][2] == 'p') o->run.profile = true, words_add(&o->build.options, "--profile");
            o->run.bench = 20;
            o->run.fill = true;
            if (i + 1 < argc && to_int(argv[i + 1], &o->run.bench)) i++;
        } else if (number_option(o, argc, argv, &i, &bad)) {
            if (bad) return usage("not a number:", argv[i]);
        } else if (!text_option(o, argc, argv, &i)) {
            if (argv[i][0] == '-' || o->model)
                return usage(argv[i][0] == '-' ? "unknown option, or one without its value:" : "one model only:",
                             argv[i]);
            o->model = argv[i];
        }
    }
    if (!o->model && !o->batch) return usage("which model?", NULL);
    if (o->run.bench == 0 && o->run.fill) o->run.bench = 1;
    return 0;
}

static bool load_input(const Options *o, const cnn_model *m, size_t j, Value *v) {
    const char *arg = o->input.word[j], *eq = strchr(arg, '=');
    char name[512] = "";
    if (eq) {
        if ((size_t)(eq - arg) >= sizeof name) return run_error("--input %s: the name is too long", arg);
        memcpy(name, arg, (size_t)(eq - arg));
        if (exec_port(m->in, m->n_in, name, -1) < 0) return run_error("the model has no input '%s'", name);
    }
    const char *file = eq ? eq + 1 : arg;
    int p = exec_port(m->in, m->n_in, name, eq ? -1 : (int)j);
    if (p < 0) return run_error("the model has %d inputs", m->n_in);
    bool ok = run_ends_with(file, ".npy") ? npy_load(file, m->in[p].type, v) : pb_load(file, m->in[p].kind, v);
    value_name(v, m->in[p].name, strlen(m->in[p].name));
    return ok;
}

static bool save_output(const char *dir, const Value *v) {
    char path[PATH_ROOM], name[512];
    size_t n = 0;
    for (const char *p = v->name; *p && n + 1 < sizeof name; p++, n++)
        name[n] = *p == '/' || (n == 0 && *p == '.') ? '_' : *p;
    name[n] = 0;
    bool tensor = v->kind == VAL_TENSOR;
    return run_path(path, "%s/%s%s", dir, name, tensor ? ".npy" : ".pb") &&
           (tensor ? npy_save(path, v) : pb_save(path, v));
}

static bool load_inputs(void *options, const cnn_model *m, Value *in) {
    const Options *o = options;
    for (size_t j = 0; j < o->input.count; j++)
        if (!load_input(o, m, j, &in[j])) return false;
    return true;
}

static int run_once(Options *o, const Loaded *l) {
    size_t n = o->input.count, n_out = (size_t)l->model->n_out;
    Value *in = run_calloc(n, sizeof *in), *out = NULL;
    bool ok = load_inputs(o, l->model, in);
    ok = ok && exec_model(l, &o->run, in, n, &out);
    if (ok && o->output) ok = run_make_dir(o->output);
    for (size_t i = 0; ok && i < n_out; i++) {
        if (o->output) {
            ok = save_output(o->output, &out[i]);
        } else if (o->run.bench == 0) {
            printf("%s: ", out[i].name);
            value_print(stdout, &out[i]);
            putchar('\n');
        }
    }
    if (!ok) fprintf(stderr, "cnncc-run: %s\n", run_message());
    values_free(in, n);
    values_free(out, out ? n_out : 0);
    return ok ? 0 : EXIT_MODEL;
}

static int run_tests(Options *o, const Loaded *l) {
    Tally tally = {0};
    o->compare.out = stdout;
    bool ok = test_folder(l, &o->run, o->test, &o->compare, &tally);
    if (!ok && tally.failed == 0) fprintf(stderr, "cnncc-run: %s\n", run_message());
    printf("%zu passed, %zu failed\n", tally.passed, tally.failed);
    return ok ? 0 : tally.failed == 0 && tally.passed == 0 ? EXIT_USAGE : EXIT_MODEL;
}

static bool make_temp(Options *o) {
    const char *tmp = getenv("TMPDIR");
    if (o->keep) {
        o->build.dir = o->keep;
        return run_make_dir(o->keep);
    }
    if (!run_path(temp_dir, "%s/cnncc-run-XXXXXX", tmp && *tmp ? tmp : "/tmp")) return false;
    if (!mkdtemp(temp_dir)) {
        temp_dir[0] = 0;
        return run_error("no temporary folder can be made");
    }
    (void)atexit(remove_temp);
    (void)signal(SIGINT, on_signal);
    (void)signal(SIGTERM, on_signal);
    o->build.dir = temp_dir;
    return true;
}

static int run_model(Options *o) {
    char stem[256] = "m";
    Loaded l;
    if (!run_is_file(o->model)) {
        fprintf(stderr, "cnncc-run: %s: no such file\n", o->model);
        return EXIT_USAGE;
    }
    if (run_ends_with(o->model, ".c") || run_ends_with(o->model, ".so")) run_stem(o->model, stem, sizeof stem);
    if (!o->build.prefix) o->build.prefix = stem;
    if (!make_temp(o)) {
        fprintf(stderr, "cnncc-run: %s\n", run_message());
        return EXIT_BUG;
    }
    if (o->tune) {
        TunePlan plan = {.build = o->build, .run = o->run, .file = o->tune, .inputs = load_inputs, .ctx = o, .n_in = o->input.count};
        bool ok = tune_model(o->model, &plan);
        if (!ok) fprintf(stderr, "cnncc-run: %s\n", run_message());
        return ok ? 0 : EXIT_MODEL;
    }
    BuildResult r = build_model(o->model, &o->build, &l);
    int code = r == BUILD_REFUSED ? EXIT_MODEL : EXIT_BUG;
    if (r == BUILD_OK)
        code = o->test ? run_tests(o, &l) : run_once(o, &l);
    else if (r == BUILD_BROKEN)
        fprintf(stderr, "cnncc-run: %s\n", run_message());
    build_unload(&l);
    return code;
}

int main(int argc, char **argv) {
    Options o = {.compare = {.rtol = 1e-3, .atol = 1e-7}, .jobs = 2, .timeout = 60};
    o.run.threads = 1;
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help, stdout);
        return 0;
    }
    int code = parse(&o, argc, argv);
    if (code == 0 && o.batch) {
        if (!o.build.prefix) o.build.prefix = "m";
        code = batch_run(o.batch, &o.build, &o.run, o.jobs, o.timeout);
    } else if (code == 0) {
        code = run_model(&o);
    }
    words_free(&o.input);
    words_free(&o.build.options);
    return code;
}
