// SPDX-License-Identifier: Apache-2.0
// From a model file to a loaded descriptor: cnncc, the C compiler, the dynamic linker.
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run.h"

static const char flags_of_record[] =
    "-std=gnu11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp";

static bool on_path(const char *program) {
    const char *path = getenv("PATH");
    char *copy = run_strdup(path ? path : "/usr/bin:/bin"), *save = NULL, file[PATH_ROOM];
    bool found = false;
    for (char *d = strtok_r(copy, ":", &save); d && !found; d = strtok_r(NULL, ":", &save))
        found = run_path(file, "%s/%s", d, program) && access(file, X_OK) == 0;
    free(copy);
    return found;
}

static const char *pick_cc(const char *asked) {
    static const char *const known[] = {"clang-19", "clang", "gcc", "cc"};
    const char *env = getenv("CC");
    if (asked) return asked;
    if (env && *env) return env;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (on_path(known[i])) return known[i];
    return "cc";
}

/* $CNNCC, or the program next to this one, or the one on the path. */
static void pick_cnncc(char path[PATH_ROOM]) {
    const char *env = getenv("CNNCC");
    if (env && *env && run_path(path, "%s", env)) return;
    ssize_t n = readlink("/proc/self/exe", path, PATH_ROOM - 16);
    if (n > 0) {
        path[n] = 0;
        char *slash = strrchr(path, '/');
        if (slash) {
            memcpy(slash + 1, "cnncc", sizeof "cnncc");
            if (access(path, X_OK) == 0) return;
        }
    }
    (void)run_path(path, "cnncc");
}

/* The first line of a log that says something, kept as the message. */
static void log_message(const char *path, const char *prefix) {
    uint8_t *text;
    size_t n;
    if (!run_read_file(path, &text, &n) || n == 0) {
        run_error("%s", prefix);
        return;
    }
    char *line = (char *)text, *save = NULL, *pick = NULL;
    for (line = strtok_r(line, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (!pick || (strcasestr(line, "error") && !strcasestr(pick, "error"))) pick = line;
    }
    run_error("%s%s%.600s", prefix, *prefix ? ": " : "", pick ? pick : "");
    free(text);
}

static BuildResult call_cnncc(const char *model, const BuildPlan *plan, const char *c_file) {
    char program[PATH_ROOM], log[PATH_ROOM], what[80];
    Words w = {0};
    pick_cnncc(program);
    if (!run_path(log, "%s/log", plan->dir)) return BUILD_BROKEN;
    words_add(&w, program);
    words_add(&w, model);
    words_add(&w, "-o");
    words_add(&w, c_file);
    words_add(&w, "--prefix");
    words_add(&w, plan->prefix);
    for (size_t i = 0; i < plan->options.count; i++) words_add(&w, plan->options.word[i]);
    int code = run_spawn(w.word, plan->quiet ? log : NULL);
    words_free(&w);
    if (code == 0) return BUILD_OK;
    (void)snprintf(what, sizeof what, code > 128 ? "cnncc died of signal %d" : "cnncc exited %d",
                   code > 128 ? code - 128 : code);
    if (plan->quiet)
        log_message(log, code == 1 ? "" : what);
    else
        run_error("%s", what);
    return code == 1 ? BUILD_REFUSED : BUILD_BROKEN;
}

static int call_cc(const BuildPlan *plan, const char *c_file, const char *so_file, bool openmp) {
    const char *cc = pick_cc(plan->cc), *env = getenv("CFLAGS");
    char log[PATH_ROOM], stem[64];
    Words w = {0}, flags = {0};
    if (!run_path(log, "%s/log", plan->dir)) return 127;
    words_split(&w, cc);
    if (w.count == 0) words_add(&w, "cc");
    run_stem(w.word[0], stem, sizeof stem);
    bool tcc = strstr(stem, "tcc") != NULL;
    words_split(&flags, env ? env : tcc ? "" : flags_of_record);
    for (size_t i = 0; i < flags.count; i++)
        if (openmp || strcmp(flags.word[i], "-fopenmp") != 0) words_add(&w, flags.word[i]);
    words_add(&w, "-shared");
    words_add(&w, "-fPIC");
    words_add(&w, "-o");
    words_add(&w, so_file);
    words_add(&w, c_file);
    words_add(&w, "-lm");
    int code = run_spawn(w.word, plan->quiet || openmp ? log : NULL);
    words_free(&w);
    words_free(&flags);
    return code;
}

static bool compile_c(const BuildPlan *plan, const char *c_file, const char *so_file) {
    static bool without_openmp; /* once it has failed, it is not tried again */
    char log[PATH_ROOM];
    if (!without_openmp && call_cc(plan, c_file, so_file, true) == 0) return true;
    if (call_cc(plan, c_file, so_file, false) == 0) return without_openmp = true;
    if (plan->quiet && run_path(log, "%s/log", plan->dir))
        log_message(log, "the generated C does not compile");
    else
        run_error("the generated C does not compile");
    return false;
}

static bool map_weights(const char *path, Loaded *l) {
    struct stat s;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &s) != 0 || s.st_size == 0) {
        if (fd >= 0) close(fd);
        return run_error("%s: the weights cannot be read", path);
    }
    void *p = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (p == MAP_FAILED) return run_error("%s: the weights cannot be mapped", path);
    l->weights = p;
    l->weights_bytes = (size_t)s.st_size;
    if (l->weights_bytes < l->model->weights_size)
        return run_error("%s: %zu bytes, the model needs %zu", path, l->weights_bytes, l->model->weights_size);
    return true;
}

static bool load_so(const char *so_file, const char *prefix, const char *weights, Loaded *l) {
    char symbol[300], full[PATH_ROOM];
    /* Without a slash dlopen would search the system's folders. */
    if (!run_path(full, strchr(so_file, '/') ? "%s" : "./%s", so_file)) return false;
    l->handle = dlopen(full, RTLD_NOW | RTLD_LOCAL);
    if (!l->handle) return run_error("%s", dlerror());
    (void)snprintf(symbol, sizeof symbol, "%s_model", prefix);
    void *at = dlsym(l->handle, symbol);
    if (!at) at = dlsym(l->handle, "m_model");
    if (!at) return run_error("%s: no symbol %s (give --prefix NAME)", so_file, symbol);
    l->model = at;
    (void)snprintf(symbol, sizeof symbol, "%s_profile", prefix);
    cnn_profile *(*nests)(void);
    *(void **)&nests = dlsym(l->handle, symbol);
    if (nests) l->nests = nests();
    if (l->model->abi != 1) return run_error("%s: interface %d, this program knows 1", so_file, l->model->abi);
    return l->model->weights_size == 0 || map_weights(weights, l);
}

/* PATH without its extension, for the weights beside a given .c or .so. */
static bool beside(const char *path, const char *extension, char out[PATH_ROOM]) {
    const char *dot = strrchr(path, '.');
    return run_path(out, "%.*s%s", dot ? (int)(dot - path) : (int)strlen(path), path, extension);
}

BuildResult build_model(const char *path, const BuildPlan *plan, Loaded *out) {
    char c_file[PATH_ROOM], so_file[PATH_ROOM], weights[PATH_ROOM];
    *out = (Loaded){0};
    if (run_ends_with(path, ".so"))
        return beside(path, ".bin", weights) && load_so(path, plan->prefix, weights, out) ? BUILD_OK : BUILD_BROKEN;
    if (!run_path(c_file, "%s/%s.c", plan->dir, plan->prefix) ||
        !run_path(so_file, "%s/%s.so", plan->dir, plan->prefix) ||
        !run_path(weights, "%s/%s.bin", plan->dir, plan->prefix))
        return BUILD_BROKEN;
    if (run_ends_with(path, ".c")) {
        if (!run_path(c_file, "%s", path) || !beside(path, ".bin", weights)) return BUILD_BROKEN;
    } else {
        BuildResult r = call_cnncc(path, plan, c_file);
        if (r != BUILD_OK) return r;
    }
    return compile_c(plan, c_file, so_file) && load_so(so_file, plan->prefix, weights, out) ? BUILD_OK : BUILD_BROKEN;
}

void build_unload(Loaded *l) {
    if (l->weights) (void)munmap(l->weights, l->weights_bytes);
    if (l->handle) (void)dlclose(l->handle);
    *l = (Loaded){0};
}
