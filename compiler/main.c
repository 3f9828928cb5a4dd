// SPDX-License-Identifier: Apache-2.0
// The command line.
#include "cnncc.h"
#include "ops/op.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char version_text[] = "cnncc 0.1.0, ONNX 1.23.2 (operator set 28)\n";

static const char help_text[] =
    "cnncc compiles an ONNX model to C.\n"
    "\n"
    "    cnncc MODEL.onnx -o MODEL.c [options]\n"
    "\n"
    "writes MODEL.c, MODEL.h and, for large weights, MODEL.bin. The C needs no library and no\n"
    "allocation: call the function that MODEL.h declares. Compile it with\n"
    "    cc -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp -c MODEL.c\n"
    "\n"
    "The result\n"
    "  -o FILE.c                where to write; FILE.h and FILE.bin go next to it\n"
    "  --prefix NAME            of every public symbol; default: the stem of FILE.c\n"
    "  --weights inline         in the C; or file: in FILE.bin; or extern: handed in by the caller\n"
    "  --target NAME            tile sizes: native, generic, x86-64-v3, x86-64-v4, znver4, aarch64,\n"
    "                           cortex-m;\n"
    "                           the C is portable whatever the target\n"
    "  --tuned FILE             tiles by measurement: FILE is written by cnncc-run --tune\n"
    "  --multi-target           C to be compiled without -march: on x86-64 Linux each function that computes is\n"
    "                           there for AVX2 with FMA too (for AVX-512 with x86-64-v4 or znver4), and the\n"
    "                           program takes the one for its processor when it starts\n"
    "  --portable               no vector extensions of gcc and clang\n"
    "  --example                with a main function: MODEL [INPUT]... runs it on files of raw numbers\n"
    "  --output NAME            also return this inner tensor (may be repeated)\n"
    "  --cap NAME=BYTES         room for an inner tensor whose size depends on data and has no bound:\n"
    "                           planned, instead of behind the planned work area when it runs;\n"
    "                           NAME strings: for all strings that a run makes, 65536 if not given\n"
    "                           (may be repeated)\n"
    "\n"
    "The model's inputs\n"
    "  --dim NAME=N             fix a named dimension, such as batch=1; faster than leaving it open\n"
    "  --dim 'NAME<=N'          bound it instead: memory is reserved for N\n"
    "  --shape NAME=1x3xHxW     the shape of an input that has none\n"
    "  --state PAST=PRESENT[,cap=N]\n"
    "                           the input PAST and the output PRESENT are one memory that the caller keeps, such\n"
    "                           as a cache of keys: what PRESENT appends is stored in place, with room for N along\n"
    "                           the axis that grows; FILE.h says how it is used (may be repeated)\n"
    "  --value NAME=FILE.pb     what this input always is: for axes, sizes and the like that must be\n"
    "                           known when compiling; the function still takes it, and does not read it\n"
    "\n"
    "Numbers\n"
    "  --exact                  no change of rounding: sums in order, no folding of normalization\n"
    "  --relax                  faster convolutions with somewhat larger errors\n"
    "  --rng mt19937            random operators with a seed draw NumPy's numbers\n"
    "  --dtype f32 or f64       all floating point numbers as this type, inputs and outputs too\n"
    "\n";

// Compilers need not take more than 4095 characters in one string.
static const char more_help_text[] =
    "Training (docs/training.md)\n"
    "  --grad                   one function of the inputs and parameters: loss, outputs, grad:NAME of each parameter\n"
    "  --train                  steps, evaluation, checkpoints: an interface around parameters in one buffer\n"
    "  --loss LIST              [WEIGHT*]NAME[options][:OUTPUT],...: cross_entropy, cross_entropy_probs, nll, mse, l1,\n"
    "                           smooth_l1, huber, bce, bce_with_logits, kl_div, output:OUTPUT; adds the input target\n"
    "  --optimizer NAME         sgd, adam, adamw, adagrad, rmsprop, lion, onnx_adam, onnx_adagrad, onnx_momentum\n"
    "  --batch N                examples of a full batch; the first dimension of inputs where it is 1 or open\n"
    "  --requires-grad REGEX    parameters by name; --freeze REGEX others; --no-decay REGEX: without weight decay;\n"
    "                           --input-grad NAME,... of inputs (with --grad)\n"
    "  --lora REGEX:RANK[/ALPHA] train two thin matrices beside each weight of that name instead of it (may be repeated)\n"
    "  --update inplace         each parameter's step as soon as its gradient is known: no buffer of gradients\n"
    "  --overlap                PREFIX_gradients calls back as each gradient is there, for an exchange while others are computed\n"
    "  --recompute auto         keep less of the forward pass and compute it again, where that is less memory;\n"
    "                           --mem-budget BYTES (or 100M, 2G): only as much as parameters, gradients, state and work\n"
    "                           area need to fit; --amp bf16: what is kept, in 16 bits\n"
    "  --frozen-bn              BatchNormalization as in use; --bn-momentum onnx or pytorch: whose convention\n"
    "  --training-info step     a model's own training (TrainingInfoProto): a function of the inputs and of what it updates, which\n"
    "                           gives their new values; init: its start. --state NAME=NEW keeps them in one memory\n"
    "\n"
    "Looking inside\n"
    "  --eval DIR               do not compile: run the model on DIR/input_*.pb in the interpreter and\n"
    "                           compare with DIR/output_*.pb\n"
    "  --dump PASS,...          print the model after import, dtype, train, agree, quantized, fold,\n"
    "                           simplify, rebuild or lower\n"
    "  --emit-onnx FILE         write the optimized model as ONNX\n"
    "  --timing                 time and memory of each pass\n"
    "  --profile                generated code counts the time of each nest (cnncc-run --profile)\n"
    "  --tile-form N            every contraction in the N-th best form by estimate (for cnncc-run --tune)\n"
    "  --list-ops               every operator: versions, support, gradient, types\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 done; 1 the model cannot be compiled; 2 the command line is wrong; 70 a fault of cnncc.\n";

_Noreturn static void usage(const char *what, const char *arg) {
    fprintf(stderr, "cnncc: %s%s%s%s\nTry 'cnncc --help'.\n", what, arg ? " '" : "", arg ? arg : "", arg ? "'" : "");
    exit(2);
}

// Whether one of n parameters may be a tensor of real numbers.
static bool may_be_real(const OpSchema *s, const SchemaParam *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        static const char *const real[] = {"tensor(float)", "tensor(double)", "tensor(float16)"};
        for (size_t k = 0; k < sizeof real / sizeof *real; k++)
            if (schema_type_ok(s, p[i].type, real[k])) return true;
    }
    return false;
}

// What the operator's type constraints allow, such as T: float double; types that are no constraint are left out.
static void print_types(const OpSchema *s) {
    for (size_t i = 0; i < s->n_constraints; i++) {
        printf("%s%s:", i ? "; " : "", s->constraints[i].name);
        for (const char *t = s->constraints[i].types; *t;) {
            size_t n = strcspn(t, " ");
            bool tensor = !strncmp(t, "tensor(", 7);
            printf(" %.*s", (int)(tensor ? n - 8 : n), tensor ? t + 7 : t);
            t += n + (t[n] == ' ');
        }
    }
}

// One line a version of an operator that is published: domain, name, version, support, whether a gradient flows
// from a result of real numbers to an input of real numbers, types.
static int list_ops(void) {
    int supported = 0, total = 0;
    const OpSchema *s;
    for (size_t i = 0; (s = schema_at(i)); i++) {
        bool known = op_find(s->domain, s->name, s->since, NULL) != NULL;
        bool gone = s->flags & SCHEMA_DEPRECATED;
        bool real = may_be_real(s, s->inputs, s->n_inputs) && may_be_real(s, s->outputs, s->n_outputs);
        printf("%-24s %-28s %2d  %-13s  %-8s  ", *s->domain ? s->domain : "ai.onnx", s->name, s->since,
               gone    ? "removed"
               : known ? "supported"
                       : "not supported",
               known && !gone && real ? "gradient" : "-");
        print_types(s);
        putchar('\n');
        supported += known && !gone;
        total += !gone;
    }
    for (const OpFamily *f = op_families; f->domain; f++)
        for (const OpDef *d = f->def; d && d->type && !schema_newest(f->domain); d++)
            printf("%-24s %-28s %2d  supported\n", f->domain, d->type, d->since);
    printf("%d of %d published versions are supported\n", supported, total);
    return 0;
}

static int64_t number(const char *s, const char *option) {
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (!*s || *end || errno || v < 0) usage("not a number", option);
    return v;
}

// A number of bytes: 1000000, 1000K, 1M, 2G.
static int64_t bytes_number(const char *s, const char *option) {
    size_t n = strlen(s);
    const char *unit = n > 1 ? strchr("KMG", s[n - 1]) : NULL;
    int64_t v = number(unit && *unit ? intern_n(s, n - 1) : s, option), by = !unit ? 1 : *unit == 'K' ? 1000 : *unit == 'M' ? 1000000 : 1000000000;
    if (v < 1 || v > INT64_MAX / by) usage("not a number of bytes", option);
    return v * by;
}

// NAME=VALUE or NAME<=VALUE: the name, and where the value starts.
static const char *split(const char *arg, const char *option, bool *upper, const char **value) {
    const char *eq = strchr(arg, '=');
    if (!eq || eq == arg) usage("NAME=VALUE is missing after", option);
    size_t n = (size_t)(eq - arg);
    bool less = arg[n - 1] == '<';
    if (less && !upper) usage("NAME=VALUE is missing after", option);
    if (upper) *upper = less;
    *value = eq + 1;
    return intern_n(arg, n - less);
}

static void add_dim(Options *o, const char *arg) {
    DimFix d = {0};
    const char *value;
    d.name = split(arg, "--dim", &d.upper, &value);
    d.n = number(value, arg);
    d.upper &= d.n > 0;
    for (int i = 0; i < o->ndim; i++)
        if (!strcmp(o->dim[i].name, d.name)) usage("given twice: --dim", d.name);
    DimFix *v = NEWN(DimFix, o->ndim + 1);
    if (o->ndim) memcpy(v, o->dim, sizeof *v * (size_t)o->ndim);
    v[o->ndim++] = d;
    o->dim = v;
}

static void add_shape(Options *o, const char *arg) {
    ShapeFix s = {0};
    s.name = split(arg, "--shape", NULL, &s.dims);
    ShapeFix *v = NEWN(ShapeFix, o->nshape + 1);
    if (o->nshape) memcpy(v, o->shape, sizeof *v * (size_t)o->nshape);
    v[o->nshape++] = s;
    o->shape = v;
}

static void add_value(Options *o, const char *arg) {
    ValueFix f = {0};
    f.name = split(arg, "--value", NULL, &f.file);
    ValueFix *v = NEWN(ValueFix, o->nvalue + 1);
    if (o->nvalue) memcpy(v, o->value, sizeof *v * (size_t)o->nvalue);
    v[o->nvalue++] = f;
    o->value = v;
}

// PAST=PRESENT or PAST=PRESENT,cap=N
static void add_state(Options *o, const char *arg) {
    StateOpt s = {0};
    s.past = split(arg, "--state", NULL, &s.present);
    const char *cap = strstr(s.present, ",cap=");
    if (cap) {
        s.cap = number(cap + 5, arg);
        s.present = intern_n(s.present, (size_t)(cap - s.present));
    }
    if (!*s.present || (cap && s.cap == 0)) usage("PAST=PRESENT,cap=N is missing after", "--state");
    StateOpt *v = NEWN(StateOpt, o->nstate + 1);
    if (o->nstate) memcpy(v, o->state, sizeof *v * (size_t)o->nstate);
    v[o->nstate++] = s;
    o->state = v;
}

// REGEX:RANK or REGEX:RANK/ALPHA
static void add_lora(Options *o, const char *arg) {
    const char *colon = strrchr(arg, ':'), *slash = colon ? strchr(colon, '/') : NULL;
    if (!colon || colon == arg) usage("--lora is REGEX:RANK or REGEX:RANK/ALPHA, not", arg);
    Lora l = {.regex = intern_n(arg, (size_t)(colon - arg))};
    l.rank = number(slash ? intern_n(colon + 1, (size_t)(slash - colon - 1)) : colon + 1, arg);
    char *end = NULL;
    l.alpha = slash ? strtod(slash + 1, &end) : (double)l.rank;
    if (l.rank < 1 || (slash && (end == slash + 1 || *end || !(l.alpha > 0) || l.alpha > 1e9))) usage("--lora is REGEX:RANK or REGEX:RANK/ALPHA, not", arg);
    Lora *v = NEWN(Lora, o->nlora + 1);
    if (o->nlora) memcpy(v, o->lora, sizeof *v * (size_t)o->nlora);
    v[o->nlora++] = l;
    o->lora = v;
}

static const char **add_string(const char **list, int *n, const char *s) {
    const char **v = NEWN(const char *, *n + 1);
    if (*n) memcpy(v, list, sizeof *v * (size_t)*n);
    v[(*n)++] = s;
    return v;
}

// Options that are a word and set a flag.
static bool *flag_of(Options *o, const char *name) {
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"--exact", &o->exact},     {"--relax", &o->relax}, {"--portable", &o->portable},
                 {"--example", &o->example}, {"--multi-target", &o->multi_target}, {"--grad", &o->grad},   {"--train", &o->train},
                 {"--timing", &o->timing}, {"--profile", &o->profile},
                 {"--frozen-bn", &o->frozen_bn}, {"--overlap", &o->overlap}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (!strcmp(flags[i].name, name)) return flags[i].flag;
    return NULL;
}

// Options whose value is kept as it is.
static const char **text_of(Options *o, const char *name) {
    const struct {
        const char *name, **text;
    } texts[] = {{"-o", &o->output},       {"--prefix", &o->prefix},        {"--target", &o->target},
                 {"--dump", &o->dump},     {"--emit-onnx", &o->emit_onnx},  {"--eval", &o->eval_dir},
                 {"--loss", &o->loss},     {"--optimizer", &o->optimizer},  {"--requires-grad", &o->requires_grad},
                 {"--no-decay", &o->no_decay},   {"--freeze", &o->freeze}, {"--input-grad", &o->input_grad},
                 {"--rng", &o->rng}, {"--training-info", &o->training_info}, {"--tuned", &o->tuned}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!strcmp(texts[i].name, name)) return texts[i].text;
    return NULL;
}

static WeightMode weight_mode(const char *s) {
    if (!strcmp(s, "inline")) return W_INLINE;
    if (!strcmp(s, "file")) return W_FILE;
    if (!strcmp(s, "extern")) return W_EXTERN;
    usage("--weights is inline, file or extern, not", s);
}

// Whether it is the second of two words.
static bool choice(const char *name, const char *value, const char *no, const char *yes) {
    if (strcmp(value, no) && strcmp(value, yes)) usage(arena_printf("%s is %s or %s, not", name, no, yes), value);
    return !strcmp(value, yes);
}

// An option with a value; false if there is none of that name.
static bool set_value(Options *o, const char *name, const char *value) {
    const char **text = text_of(o, name);
    if (text)
        *text = value;
    else if (!strcmp(name, "--weights"))
        o->weights = weight_mode(value);
    else if (!strcmp(name, "--dim"))
        add_dim(o, value);
    else if (!strcmp(name, "--shape"))
        add_shape(o, value);
    else if (!strcmp(name, "--value"))
        add_value(o, value);
    else if (!strcmp(name, "--state"))
        add_state(o, value);
    else if (!strcmp(name, "--lora"))
        add_lora(o, value);
    else if (!strcmp(name, "--output"))
        o->outputs = add_string(o->outputs, &o->noutputs, value);
    else if (!strcmp(name, "--cap"))
        o->cap = add_string(o->cap, &o->ncap, value);
    else if (!strcmp(name, "--bn-momentum"))
        o->bn_unbiased = choice(name, value, "onnx", "pytorch");
    else if (!strcmp(name, "--update"))
        o->inplace = choice(name, value, "after", "inplace");
    else if (!strcmp(name, "--amp"))
        o->amp = choice(name, value, "none", "bf16");
    else if (!strcmp(name, "--recompute"))
        o->recompute = choice(name, value, "none", "auto");
    else if (!strcmp(name, "--mem-budget"))
        o->mem_budget = bytes_number(value, name);
    else if (!strcmp(name, "--tile-form"))
        o->tile_form = (int)(number(value, name) & 0xffff);
    else if (!strcmp(name, "--batch"))
        o->batch = number(value, name);
    else if (!strcmp(name, "--dtype"))
        o->dtype = dt_from_name(value);
    else
        return false;
    o->eval = o->eval_dir != NULL;
    if (!strcmp(name, "--dtype") && o->dtype != F32 && o->dtype != F64) usage("--dtype is f32 or f64, not", value);
    return true;
}

static void parse_option(Options *o, char **argv, int *i) {
    char *arg = argv[*i], *eq = strncmp(arg, "--", 2) ? NULL : strchr(arg, '=');
    bool *flag = flag_of(o, arg);
    if (flag) {
        *flag = true;
        return;
    }
    const char *name = eq ? intern_n(arg, (size_t)(eq - arg)) : arg;
    const char *value = eq ? eq + 1 : argv[*i + 1];
    if (flag_of(o, name)) usage("no value goes with", name);
    Options probe = *o;
    if (!value && (text_of(&probe, name) || !strcmp(name, "--dim") || !strcmp(name, "--shape") || !strcmp(name, "--value") || !strcmp(name, "--state")))
        usage("a value is missing after", name);
    if (!value || !set_value(o, name, value)) usage("there is no option", name);
    if (!eq) ++*i;
}

int main(int argc, char **argv) {
    Options o = {0};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return fputs(help_text, stdout) < 0 || fputs(more_help_text, stdout) < 0;
        if (!strcmp(argv[i], "--version")) return fputs(version_text, stdout) < 0;
        if (!strcmp(argv[i], "--list-ops")) return list_ops();
        if (argv[i][0] == '-' && argv[i][1])
            parse_option(&o, argv, &i);
        else if (o.model)
            usage("there is more than one model:", argv[i]);
        else
            o.model = argv[i];
    }
    if (!o.model) usage("which model?", NULL);
    if (!o.output && !o.eval && !o.dump && !o.emit_onnx) usage("-o FILE.c is missing", NULL);
    size_t n = o.output ? strlen(o.output) : 0;
    if (o.output && (n < 3 || strcmp(o.output + n - 2, ".c") != 0))
        usage("the output's name must end in .c:", o.output);
    if (o.rng && strcmp(o.rng, "philox") && strcmp(o.rng, "mt19937")) usage("--rng is philox or mt19937, not", o.rng);
    if (o.training_info && strcmp(o.training_info, "step") && strcmp(o.training_info, "init")) usage("--training-info is step or init, not", o.training_info);
    if (o.training_info && (o.train || o.grad)) usage("--training-info is the model's own training: without --train and --grad", NULL);
    if (o.multi_target && o.portable) usage("--multi-target and --portable exclude each other", NULL);
    if (o.exact && o.relax) usage("--exact and --relax exclude each other", NULL);
    if (o.example && (o.grad || o.train)) usage("--example is a program that runs a model; docs/training.md shows one that trains", NULL);
    if ((o.recompute || o.mem_budget || o.amp) && !o.train) usage("--recompute, --mem-budget and --amp go with --train", NULL);
    if (o.mem_budget && !o.recompute) usage("--mem-budget goes with --recompute=auto", NULL);
    if (o.overlap && !o.train) usage("--overlap goes with --train", NULL);
    if (o.overlap && (o.inplace || o.emit_onnx)) usage("--overlap hands out a buffer of gradients: without --update=inplace and --emit-onnx", NULL);
    if (o.inplace && !o.train) usage("--update goes with --train", NULL);
    if (o.inplace && o.emit_onnx) usage("--update=inplace changes memory, which --emit-onnx cannot say", NULL);
    if (o.nlora && !o.grad && !o.train) usage("--lora goes with --train or --grad", NULL);
    if (o.example && o.weights == W_EXTERN) usage("--example needs the weights: --weights inline or file", NULL);
    return compile(&o);
}
