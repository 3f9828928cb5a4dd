// SPDX-License-Identifier: Apache-2.0
// --tune: the fastest form of each contraction by measurement. The model is made several times, each time with
// the next of every contraction's forms (cnncc --tile-form N), the nests of all are timed in turn, and what won
// is timed against the compiler's estimate once more. See compiler/loop/tune.c for the file.
#include <stdlib.h>
#include <string.h>

#include "run.h"

enum { FORMS = 8, WINNERS = FORMS, MADE, ROUNDS = 7, KEY_ROOM = 17, FORM_ROOM = 48 };
static const double worth = 0.97; /* of the estimate's time: less is a gain, more may be noise */

/* A contraction. `seconds`: of the nests it is in, a run. */
typedef struct {
    char key[KEY_ROOM], form[FORMS][FORM_ROOM];
    double seconds[FORMS], before, after;
    const char *nest;
    int pick;
} Entry;

typedef struct {
    const char *path;
    const TunePlan *plan;
    Loaded form[MADE];  /* 0: by estimate; WINNERS: the fastest form of each contraction */
    double *nest[MADE]; /* the shortest time of each nest */
    double ms[MADE];    /* the shortest of the medians */
    int forms;
    Entry *entry;
    size_t entries;
} Tune;

static size_t count_nests(const cnn_profile *p) {
    size_t n = 0;
    while (p && p[n].name) n++;
    return n;
}

/* Makes form `j` with `option value`, if there is one. */
static bool make_form(Tune *t, int j, const char *option, const char *value) {
    char dir[PATH_ROOM];
    BuildPlan b = t->plan->build;
    b.options = (Words){0};
    if (!run_path(dir, "%s/%s%d", t->plan->build.dir, option + 2, j) || !run_make_dir(dir)) return false;
    for (size_t i = 0; i < t->plan->build.options.count; i++) words_add(&b.options, t->plan->build.options.word[i]);
    words_add(&b.options, "--profile");
    words_add(&b.options, option);
    words_add(&b.options, value);
    b.dir = dir;
    bool ok = build_model(t->path, &b, &t->form[j]) == BUILD_OK;
    words_free(&b.options);
    if (!ok) return false;
    t->nest[j] = run_alloc((count_nests(t->form[j].nests) + 1) * sizeof(double));
    return true;
}

static bool same_tiles(const cnn_profile *a, const cnn_profile *b) {
    for (; a->name && b->name; a++, b++)
        if (strcmp(a->tiles, b->tiles) != 0) return false;
    return !a->name && !b->name;
}

/* Starts the measurement of form `j` anew. */
static void forget(Tune *t, int j) {
    for (size_t i = 0, n = count_nests(t->form[j].nests); i < n; i++) t->nest[j][i] = 1e300;
    t->ms[j] = 1e300;
}

static bool measure(Tune *t, int j, RunPlan run) {
    const TunePlan *p = t->plan;
    const Loaded *l = &t->form[j];
    size_t n_out = (size_t)l->model->n_out;
    Value *in = run_calloc(p->n_in, sizeof *in), *out = NULL;
    double median = 0;
    run.median = &median;
    bool ok = p->inputs(p->ctx, l->model, in) && exec_model(l, &run, in, p->n_in, &out);
    values_free(in, p->n_in);
    values_free(out, out ? n_out : 0);
    if (ok && median < t->ms[j]) t->ms[j] = median;
    for (size_t i = 0, n = count_nests(l->nests); ok && i < n; i++) {
        double s = l->nests[i].seconds / run.bench;
        if (s < t->nest[j][i]) t->nest[j][i] = s;
    }
    return ok;
}

/* Several forms in turn, so that what disturbs one disturbs all. */
static bool measure_all(Tune *t, int n, const int *which) {
    const double reading = 60; /* ms that a turn takes */
    RunPlan run = t->plan->run;
    run.profile = run.fill = true;
    run.bench = 1;
    for (int i = 0; i < n; i++) {
        forget(t, which[i]);
        if (!measure(t, which[i], run)) return false;
    }
    if (t->ms[which[0]] < reading) run.bench = (int)(reading / (t->ms[which[0]] + 1e-3)) + 1;
    for (int r = 0; r < ROUNDS; r++)
        for (int i = 0; i < n; i++)
            if (!measure(t, which[i], run)) return false;
    return true;
}

/* The entry of a key, made when it is new. */
static Entry *entry_of(Tune *t, const char *key, const char *nest) {
    for (size_t i = 0; i < t->entries; i++)
        if (strcmp(t->entry[i].key, key) == 0) return &t->entry[i];
    t->entry = run_realloc(t->entry, (t->entries + 1) * sizeof *t->entry);
    Entry *e = &t->entry[t->entries++];
    *e = (Entry){.nest = nest};
    (void)snprintf(e->key, sizeof e->key, "%s", key);
    return e;
}

/* Adds the times of form j's nests to the contractions in them. */
static void credit(Tune *t, int j) {
    const cnn_profile *p = t->form[j].nests;
    for (size_t i = 0; p && p[i].name; i++) {
        char key[KEY_ROOM], form[FORM_ROOM];
        for (const char *s = p[i].tiles; sscanf(s, "%16s %47[^;]", key, form) == 2; s = strchr(s, ';') + 1) {
            Entry *e = entry_of(t, key, p[i].name);
            memcpy(e->form[j], form, sizeof form);
            e->seconds[j] += t->nest[j][i];
        }
    }
}

static void pick(Tune *t) {
    for (size_t i = 0; i < t->entries; i++) {
        Entry *e = &t->entry[i];
        for (int j = 1; j < t->forms; j++) {
            double limit = e->pick ? e->seconds[e->pick] : worth * e->seconds[0];
            if (e->form[j][0] && e->seconds[j] < limit) e->pick = j;
        }
    }
}

static bool known_key(const Tune *t, const char *line) {
    for (size_t i = 0; i < t->entries; i++)
        if (strncmp(line, t->entry[i].key, KEY_ROOM - 1) == 0) return true;
    return false;
}

/* What a file held of other contractions, then these. */
static bool save(const Tune *t, const char *path, const char *old) {
    uint8_t *text = NULL;
    size_t n = 0;
    if (old && run_is_file(old) && !run_read_file(old, &text, &n)) return false;
    FILE *f = fopen(path, "w");
    if (!f) {
        free(text);
        return run_error("%s: cannot be written", path);
    }
    if (n == 0) (void)fputs("# Written by cnncc-run --tune for cnncc --tuned: contraction, form, and what was measured.\n", f);
    char *save_at = NULL;
    for (char *line = n ? strtok_r((char *)text, "\n", &save_at) : NULL; line; line = strtok_r(NULL, "\n", &save_at))
        if (!known_key(t, line)) (void)fprintf(f, "%s\n", line);
    for (size_t i = 0; i < t->entries; i++) {
        const Entry *e = &t->entry[i];
        (void)fprintf(f, "%s %s  # %s: %.4g us", e->key, e->form[e->pick], e->nest, 1e6 * e->after);
        (void)fprintf(f, e->pick ? ", %.4g by estimate\n" : "\n", 1e6 * e->before);
    }
    free(text);
    bool ok = ferror(f) == 0;
    return fclose(f) == 0 && ok ? true : run_error("%s: cannot be written", path);
}

/* The time of the nests that a contraction is in, in form `j` of the model. */
static double time_of(const Tune *t, int j, const char *key) {
    const cnn_profile *p = t->form[j].nests;
    double sum = 0;
    for (size_t i = 0; p[i].name; i++)
        if (strstr(p[i].tiles, key)) sum += t->nest[j][i];
    return sum;
}

/* The winners against the estimate: one that does not win again is dropped. */
static bool confirm(Tune *t, const char *file) {
    if (!make_form(t, WINNERS, "--tuned", file) || !measure_all(t, 2, (int[]){0, WINNERS})) return false;
    for (size_t i = 0; i < t->entries; i++) {
        Entry *e = &t->entry[i];
        e->before = time_of(t, 0, e->key);
        e->after = time_of(t, WINNERS, e->key);
        if (e->pick && e->after >= worth * e->before) e->pick = 0;
        if (e->pick == 0) e->after = e->before;
    }
    return true;
}

static bool all_forms(Tune *t) {
    for (int j = 0; j < FORMS; j++) {
        char number[8];
        (void)snprintf(number, sizeof number, "%d", j);
        if (!make_form(t, j, "--tile-form", number)) return false;
        t->forms = j + 1;
        if (!t->form[j].nests) return run_error("there is nothing to time: give a .onnx file");
        if (j && same_tiles(t->form[j].nests, t->form[0].nests)) break; /* there are no more */
        fprintf(stderr, "\rcompiled %d of %d", j + 1, FORMS);
    }
    fprintf(stderr, "\r                  \r");
    return true;
}

bool tune_model(const char *path, const TunePlan *plan) {
    Tune t = {.path = path, .plan = plan};
    char winners[PATH_ROOM];
    int gains = 0, which[FORMS];
    for (int j = 0; j < FORMS; j++) which[j] = j;
    bool ok = run_path(winners, "%s/winners", plan->build.dir) && all_forms(&t) && measure_all(&t, t.forms, which);
    for (int j = 0; ok && j < t.forms; j++) credit(&t, j);
    if (ok) {
        pick(&t);
        ok = save(&t, winners, NULL) && confirm(&t, winners) && save(&t, plan->file, plan->file);
    }
    for (size_t i = 0; i < t.entries; i++) gains += t.entry[i].pick > 0;
    if (ok)
        printf("%zu contractions, %d faster in another form: %.3f ms, by estimate %.3f ms; written to %s\n", t.entries, gains,
               t.ms[WINNERS], t.ms[0], plan->file);
    for (int j = 0; j < MADE; j++) {
        if (t.form[j].model) build_unload(&t.form[j]);
        free(t.nest[j]);
    }
    free(t.entry);
    return ok;
}
