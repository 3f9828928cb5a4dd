// SPDX-License-Identifier: Apache-2.0
// tests/golden/*.ir: cases `==== PASSES: what`, a graph, `----`, the graph that the passes make of it.
// GOLDEN_UPDATE=1 writes what is found. Both graphs must also give the same on random inputs.
#include "../fuzz/random.h"

#include <criterion/criterion.h>
#include <dirent.h>

static char *read_file(const char *path) {
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f, "%s", path);
    Text t = { 0 };
    char buf[4096];
    for (size_t n; (n = fread(buf, 1, sizeof buf, f)) > 0;) put_n(&t, buf, n);
    fclose(f);
    put(&t, "%s", "");
    return t.s;
}

static Graph *run_passes(const char *passes, const char *text) {
    Options opt = { 0 };
    Graph *g = graph_parse(text);
    graph_verify(g);
    for (const char *p = passes; *p; p += strcspn(p, " "), p += strspn(p, " ")) {
        const char *name = intern_n(p, strcspn(p, " "));
        if (!strcmp(name, "fold")) pass_fold(g, &opt);
        else if (!strcmp(name, "simplify")) pass_simplify(g, &opt);
        else if (!strcmp(name, "hoist")) pass_hoist(g, &opt);
        else cr_assert(!strcmp(name, "parse") || !strcmp(name, "rebuild"));
        if (strcmp(name, "parse")) g = graph_rebuild(g);
        graph_verify(g);
    }
    return g;
}

static void check_results(const char *what, Graph *g, const char *text) {
    Rng r = { 1 };
    Graph *before = graph_parse(text);
    double tol = strstr(text, "reduce.add") ? 1e-5 : 0; // the order of a sum is free
    for (int i = 0; i < 20; i++)
        cr_assert(same_graphs(before, g, random_inputs(&r, before, i & 1), tol), "%s: other results", what);
}

// One case, from behind its ====; what the file should have goes to out.
static void check_case(const char *file, const char *s, size_t n, Text *out) {
    const char *end = s + n, *line = memchr(s, '\n', n), *colon = memchr(s, ':', n);
    cr_assert(line && colon && colon < line, "%s: no `==== PASSES: what`", file);
    const char *split = strstr(line, "\n----\n");
    cr_assert(split && split < end, "%s: no ---- in %.*s", file, (int)(line - s), s);
    const char *passes = intern_n(s + 1, (size_t)(colon - s - 1)), *text = intern_n(line + 1, (size_t)(split - line));
    const char *what = arena_printf("%s:%.*s", file, (int)(line - colon - 1), colon + 1);
    Graph *g = run_passes(passes, text);
    Text made = { 0 };
    graph_print(&made, g);
    put(out, "====%.*s\n%s----\n%s", (int)(line - s), s, text, made.s);
    const char *want = intern_n(split + 6, (size_t)(end - split - 6));
    if (!getenv("GOLDEN_UPDATE")) cr_assert_str_eq(made.s, want, "%s:\n%s\nexpected\n%s", what, made.s, want);
    check_results(what, g, text);
}

static void check_file(const char *path) {
    Text out = { 0 };
    char *s = read_file(path), *at = strstr(s, "====");
    cr_assert_not_null(at, "%s: no cases", path);
    put_n(&out, s, (size_t)(at - s));
    while (at) {
        char *next = strstr(at + 4, "\n====");
        size_t n = next ? (size_t)(next + 1 - at - 4) : strlen(at + 4);
        check_case(path, at + 4, n, &out);
        at = next ? next + 1 : NULL;
    }
    if (getenv("GOLDEN_UPDATE")) cr_assert(write_file(path, out.s, out.n));
}

Test(golden, all) {
    const char **file = NULL;
    int n = 0, cap = 0;
    DIR *d = opendir("tests/golden"); // all names first: an update makes new entries
    cr_assert_not_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        size_t len = strlen(e->d_name);
        if (len > 3 && !strcmp(e->d_name + len - 3, ".ir")) PUSH(file, n, cap, arena_printf("tests/golden/%s", e->d_name));
    }
    closedir(d);
    cr_assert(n > 0);
    for (int i = 0; i < n; i++) check_file(file[i]);
}
