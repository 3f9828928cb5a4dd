// SPDX-License-Identifier: Apache-2.0
// Puts model.c, model.h and model.bin together.
#include "emit/emit.h"
#include <string.h>

struct RuntimePart { const char *name, *deps, *text; };
extern const struct RuntimePart runtime_parts[];
extern const int runtime_nparts;

enum { INLINE_LIMIT = 1 << 20 };

static const struct RuntimePart *find_part(const char *name) {
    for (int i = 0; i < runtime_nparts; i++)
        if (!strcmp(runtime_parts[i].name, name)) return &runtime_parts[i];
    return NULL;
}

const char *runtime_text(const char *part) { return find_part(part)->text; }

const char *runtime_needs(const char *part) { return find_part(part)->deps; }

// Adds what the needed parts need, until nothing is new.
static void close_needs(Emit *e) {
    for (int i = 0; i < e->nneed; i++) {
        if (e->need[i][0] == '#') continue;
        const struct RuntimePart *p = find_part(e->need[i]);
        if (!p) die("no runtime part %s", e->need[i]);
        for (const char *s = p->deps; *s;) {
            size_t n = strcspn(s, " ");
            if (n) need(e, intern_n(s, n));
            s += n;
            s += strspn(s, " ");
        }
    }
}

bool has_part(const Emit *e, const char *part) {
    for (int i = 0; i < e->nneed; i++)
        if (!strcmp(e->need[i], part)) return true;
    return false;
}

void put_parts(Emit *e, Text *t) {
    for (int i = 0; i < runtime_nparts; i++)
        if (strcmp(runtime_parts[i].name, "abi") && strcmp(runtime_parts[i].name, "train_abi") && has_part(e, runtime_parts[i].name)) put(t, "%s\n", runtime_parts[i].text);
}

void put_top(Emit *e, Text *t, const char *header) {
    const Graph *g = e->p->g;
    close_needs(e);
    put(t, "/* Made by cnncc from %s: %s.\n", in_comment(diag_file ? diag_file : "a graph"), in_comment(model_domain_opset ? model_domain_opset : ""));
    put(t, "   %d nodes in %d nests; work area ", g->nnode, e->nnest);
    put(t, "%s bytes%s.\n", e->p->work_size ? in_comment(e_str(e->p->work_size)) : "of as many as the extents take,", e->p->nslot ? ", and what the data take" : "");
    put(t, "   Compile with -std=gnu11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp\n"
           "   (the results do not depend on them but for rounding). */\n");
    put(t, "#include \"%s\"\n", header);
    if (has_part(e, "#math")) put(t, "#include <math.h>\n");
    if (has_part(e, "#time")) put(t, "#include <time.h>\n");
    if (has_part(e, "#string")) put(t, "#include <string.h>\n");
    if (has_part(e, "#dot")) put(t, "#if defined(__SSE2__) && !defined(CNN_PORTABLE)\n#include <immintrin.h>\n#endif\n");
    if (has_part(e, "cnn_example"))
        put(t, "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#if defined(__unix__) || defined(__APPLE__)\n#include <fcntl.h>\n#include <sys/mman.h>\n"
               "#include <sys/stat.h>\n#include <unistd.h>\n#endif\n");
    put(t, "#ifdef _OPENMP\n#include <omp.h>\n#define CNN_THREAD (size_t)omp_get_thread_num()\n"
           "/* Where part i of n iterations begins, of so many parts. */\n"
           "#define CNN_CUT(n, i, parts) ((n) / (parts) * (i) + ((i) < (n) %% (parts) ? (i) : (n) %% (parts)))\n#else\n#define CNN_THREAD (size_t)0\n#endif\n\n");
    if (e->opt->multi_target) {
        const Target *target = target_find(e->opt->target);
        const bool wide = target && target->lanes > 8;
        put(t, "/* One function for several processors; which is taken is decided when the program is loaded. */\n"
               "#if defined(__GNUC__) && !defined(__TINYC__) && defined(__x86_64__) && defined(__GLIBC__)\n"
               "#define CNN_CLONES __attribute__((target_clones(%s\"arch=x86-64-v3\", \"default\")))\n#else\n#define CNN_CLONES\n#endif\n\n",
            wide ? "\"arch=x86-64-v4\", " : "");
    }
    if (e->apart && !e->opt->multi_target)
        put(t, "#if defined(__GNUC__) && !defined(__clang__)\n#define CNN_APART __attribute__((noinline))\n#else\n#define CNN_APART\n#endif\n\n");
    if (has_part(e, "#simd")) // clang warns where it has no vectors for a loop; the hint is all that is meant
        put(t, "#ifdef __clang__\n#pragma clang diagnostic ignored \"-Wpass-failed\"\n#endif\n#ifdef _OPENMP\n#define CNN_SIMD _Pragma(\"omp simd\")\n#else\n#define CNN_SIMD\n#endif\n\n");
}

const char *file_stem(const char *path) {
    const char *s = strrchr(path, '/');
    s = s ? s + 1 : path;
    size_t n = strcspn(s, ".");
    return intern_n(s, n);
}

const char *with_ending(const char *path, const char *ending) {
    const char *dot = strrchr(path, '.'), *slash = strrchr(path, '/');
    size_t n = dot && (!slash || dot > slash) ? (size_t)(dot - path) : strlen(path);
    return arena_printf("%.*s%s", (int)n, path, ending);
}

void text_replace(Text *t, const char *mark, const char *by) {
    char *at = t->s ? strstr(t->s, mark) : NULL;
    if (!at) return;
    Text r = {0};
    put_n(&r, t->s, (size_t)(at - t->s));
    put(&r, "%s", by);
    put_n(&r, at + strlen(mark), t->n - (size_t)(at - t->s) - strlen(mark));
    *t = r;
}

// clang's tuning for Intel (and for x86-64-v4) makes two vectors of 32 bytes of one of 64, at half of the speed, unless
// a function says that it needs the wide ones; gcc takes them.
void put_functions(const Emit *e, Text *t) {
    const Target *target = target_find(e->opt->target);
    const bool wide = target && target->lanes > 8 && !e->opt->multi_target && e->funcs.n; // clang's clones cannot have it
    if (wide) put(t, "#ifdef __clang__\n#pragma clang attribute push(__attribute__((min_vector_width(512))), apply_to = function)\n#endif\n\n");
    put_n(t, e->funcs.s ? e->funcs.s : "", e->funcs.n);
    if (wide) put(t, "#ifdef __clang__\n#pragma clang attribute pop\n#endif\n\n");
}

static bool is_file(const Emit *e, uint64_t total) {
    if (e->opt->weights == W_INLINE) return false;
    return e->opt->weights != W_AUTO || total > INLINE_LIMIT;
}

static void put_weights_check(Emit *e, Text *t) {
    put(t, "static int %s_weights_fit(const unsigned char *w) {\n", e->prefix);
    put(t, "    static const unsigned char head[16] = {@HEAD@};\n    int i;\n    for (i = 0; i < 16; i++)\n        if (w[i] != head[i]) return 0;\n"
           "    return 1;\n}\n\n");
}

// A program around the model. Weights are looked for where it runs.
static void put_example(Emit *e, Text *t, bool file) {
    const char *bin = with_ending(e->opt->output, ".bin"), *slash = strrchr(bin, '/');
    need(e, "cnn_example");
    put(t, "\n/* %s [INPUT]...: each the file of an input, raw numbers in row-major order; without one it is all zeros. */\n", e->prefix);
    put(t, "int main(int argc, char **argv) {\n    const int64_t open_size = 1; /* of dimensions that the model leaves open */\n");
    if (file) put(t, "    return cnn_example(&%s_model, \"%s\", open_size, argc, argv);\n}\n", e->prefix, slash ? slash + 1 : bin);
    else put(t, "    return cnn_example(&%s_model, NULL, open_size, argc, argv);\n}\n", e->prefix);
}

bool emit_model(const Program *p, const Options *opt) {
    Emit *e = NEW(Emit);
    *e = (Emit){.p = p, .opt = opt, .prefix = c_name(opt->prefix ? opt->prefix : file_stem(opt->output))};
    e->family = e->prefix;
    bool file = is_file(e, weights_layout(e, false));
    uint64_t size = file ? weights_layout(e, true) : 0, hash = 0;
    file = file && size > 64;
    put_stmts(e, &e->main, p->body, 1);
    Text api = {0}, h = {0}, c = {0};
    put_header(e, &h);
    put_api(e, &api);
    if (opt->example) put_example(e, &api, file);
    const char *header = with_ending(opt->output, ".h"), *slash = strrchr(header, '/');
    put_top(e, &c, slash ? slash + 1 : header);
    put_parts(e, &c);
    put_vectors(e, &c);
    put_weights(e, &c);
    if (file) put_weights_check(e, &c);
    put_functions(e, &c);
    if (e->profile.n) { // the one thing that is not re-entrant
        put(&c, "static cnn_profile %s_nests[] = {\n", e->prefix);
        put_n(&c, e->profile.s, e->profile.n);
        put(&c, "    {0, 0, 0, 0, 0},\n};\n\ncnn_profile *%s_profile(void);\ncnn_profile *%s_profile(void) {\n    return %s_nests;\n}\n\n",
            e->prefix, e->prefix, e->prefix);
    }
    put_n(&c, api.s, api.n);
    if (file) {
        if (!write_weights(e, with_ending(opt->output, ".bin"), size, &hash)) return false;
        Text head = {0};
        for (int i = 0; i < 8; i++) put(&head, "%d, ", "CNNCCW2"[i]);
        for (int i = 0; i < 8; i++) put(&head, "%u%s", (unsigned)(hash >> (8 * i) & 255), i < 7 ? ", " : "");
        text_replace(&c, "@HEAD@", head.s);
        text_replace(&c, "@WSIZE@", arena_printf("%llu", (unsigned long long)size));
        text_replace(&c, "@WHASH@", arena_printf("UINT64_C(%llu)", (unsigned long long)hash));
    }
    text_replace(&h, "@ABI@", find_part("abi")->text);
    return write_file(header, h.s, h.n) && write_file(opt->output, c.s, c.n);
}
