// SPDX-License-Identifier: Apache-2.0
// Folders of test data: DIR/test_data_set_*/{input,output}_J.pb.
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

/* Reads PREFIX_0.pb, PREFIX_1.pb, … as values of the ports they belong to. */
static bool load_values(const char *dir, const char *prefix, const cnn_port *port, int n_port, Value **values,
                        size_t *count) {
    size_t cap = (size_t)n_port + 1;
    *values = run_calloc(cap, sizeof **values);
    for (*count = 0;; ++*count) {
        char path[PATH_ROOM], name[1024];
        uint8_t *bytes;
        size_t size;
        if (!run_path(path, "%s/%s_%zu.pb", dir, prefix, *count)) return false;
        if (!run_is_file(path)) return true;
        if (*count == (size_t)n_port) return run_error("%s: the model has %d of them", path, n_port);
        if (!run_read_file(path, &bytes, &size)) return false;
        pb_name(bytes, size, name, sizeof name);
        int p = exec_port(port, n_port, name, (int)*count);
        Value *v = *values + *count;
        bool ok = pb_decode(bytes, size, p < 0 ? CNN_TENSOR : port[p].kind, v);
        free(bytes);
        if (!ok) return run_error("%s: %s", path, run_message());
        if (!v->name || strcmp(v->name, port[p].name) != 0) value_name(v, port[p].name, strlen(port[p].name));
    }
}

static bool compare_set(const cnn_model *m, Value *want, size_t n, Value *got, Compare *c) {
    bool ok = true;
    for (size_t j = 0; j < n; j++) {
        int o = exec_port(m->out, m->n_out, want[j].name, (int)j);
        if (o < 0)
            ok = run_error("the model has no output '%s'", want[j].name ? want[j].name : "");
        else if (!compare_values(c, &want[j], &got[o]))
            ok = run_error("%s", c->first);
    }
    return ok;
}

static bool test_set(const Loaded *l, const RunPlan *plan, const char *dir, Compare *c) {
    const cnn_model *m = l->model;
    Value *in = NULL, *want = NULL, *got = NULL;
    size_t n_in = 0, n_want = 0;
    c->first[0] = 0;
    bool ok = load_values(dir, "input", m->in, m->n_in, &in, &n_in) &&
              load_values(dir, "output", m->out, m->n_out, &want, &n_want);
    if (ok && n_want == 0) ok = run_error("%s: no output_0.pb", dir);
    if (ok) ok = exec_model(l, plan, in, n_in, &got) && compare_set(m, want, n_want, got, c);
    values_free(in, n_in);
    values_free(want, n_want);
    values_free(got, got ? (size_t)m->n_out : 0);
    return ok;
}

static int by_name(const void *a, const void *b) { return strverscmp(*(char *const *)a, *(char *const *)b); }

static bool list_sets(const char *dir, Words *sets) {
    DIR *d = opendir(dir);
    struct dirent *e;
    if (!d) return run_error("%s: not a folder that can be read", dir);
    while ((e = readdir(d)) != NULL)
        if (strncmp(e->d_name, "test_data_set_", 14) == 0) words_add(sets, e->d_name);
    closedir(d);
    if (sets->count == 0) return run_error("%s: no test_data_set_* in it", dir);
    qsort(sets->word, sets->count, sizeof *sets->word, by_name);
    return true;
}

bool test_folder(const Loaded *l, const RunPlan *plan, const char *dir, Compare *c, Tally *tally) {
    Words sets = {0};
    char path[PATH_ROOM];
    if (!list_sets(dir, &sets)) {
        words_free(&sets);
        return false;
    }
    bool all = true;
    RunPlan steps = *plan; /* with states the sets are the steps of one run */
    steps.kept = run_calloc((size_t)l->model->n_state, sizeof *steps.kept);
    for (size_t i = 0; i < sets.count; i++) {
        bool ok = run_path(path, "%s/%s", dir, sets.word[i]) && test_set(l, &steps, path, c);
        if (c->out)
            fprintf(c->out, "%s %s%s%s\n", ok ? "passed" : "FAILED", sets.word[i], ok ? "" : ": ",
                    ok ? "" : run_message());
        if (ok)
            tally->passed++;
        else
            tally->failed++;
        all = all && ok;
    }
    kept_free(steps.kept, l->model->n_state);
    words_free(&sets);
    return all;
}
