// SPDX-License-Identifier: Apache-2.0
/*
 * Gives a pretrained network another task: a classifier that tells whether a line of text stands on its head (RapidOCR's,
 * of PaddleOCR) learns whether it is Latin or Cyrillic. What of it is trained was decided when cnncc --train made the
 * C; see run.sh.
 *
 *     finetune LATIN CYRILLIC [--steps N] [--rate LR] [--threads N] [--model FILE --export FILE] [--picture FILE] [--at-least A]
 *
 * LATIN and CYRILLIC are lists of words. Lines of one to three of them are drawn by Cairo, in fonts of the DejaVu family
 * for training, and with other words in Liberation's to see what was learnt.
 */
#include <cairo.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net.h"

enum { BATCH = NET_BATCH, HIGH = 48, WIDE = 192, PIXELS = HIGH * WIDE, LISTS = 2, TEST = 512 };

typedef struct { char **word; size_t n; } Words;
typedef struct { float x[BATCH * 3 * PIXELS]; int64_t target[BATCH]; net_batch b; } Batch;

typedef struct {
    const char *list[LISTS], *model, *export, *picture;
    int lists, steps, threads;
    double rate, at_least;
} Options;

static void fail(const char *what, const char *which) {
    fprintf(stderr, "finetune: %s %s\n", what, which);
    exit(1);
}

static void *memory(size_t size) {
    void *p = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!p) fail("no memory for", "the training");
    return memset(p, 0, size);
}

static uint64_t random_bits(uint64_t *s) {
    uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static double between(uint64_t *s, double a, double b) { return a + (b - a) * (double)(random_bits(s) >> 11) / 9007199254740992.0; }

// ---- lines of text ------------------------------------------------------------------------------------

static Words read_words(const char *path) {
    Words w = {malloc(sizeof(char *) * 500000), 0};
    char line[256];
    FILE *f = fopen(path, "r");
    if (!f || !w.word) fail("cannot read", path);
    while (w.n < 500000 && fgets(line, sizeof line, f)) {
        line[strcspn(line, "/'\r\n")] = 0;
        if (strlen(line) > 2) w.word[w.n++] = strdup(line);
    }
    fclose(f);
    if (w.n < 100) fail("too few words in", path);
    return w;
}

// A line in black on white, more or less, into the three channels of the network's input, -1 to 1. Each fourth word is
// kept for tests.
static void draw(float *to, const Words *w, bool test, uint64_t *s) {
    static const char *const font[2][3] = {{"DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono"}, {"Liberation Sans", "Liberation Serif", "Liberation Mono"}};
    char text[800] = "";
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, WIDE, HIGH);
    cairo_t *c = cairo_create(surface);
    double paper = between(s, 0.7, 1), ink = between(s, 0, 0.4), noise = between(s, 0, 0.08);
    for (uint64_t i = 0, n = 1 + random_bits(s) % 3; i < n; i++) {
        size_t k = random_bits(s) % (w->n / 4) * 4 + (test ? 0 : 1 + random_bits(s) % 3);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "", w->word[k]);
    }
    cairo_set_source_rgb(c, paper, paper, paper);
    cairo_paint(c);
    cairo_set_source_rgb(c, ink, ink, ink);
    cairo_select_font_face(c, font[test][random_bits(s) % 3], CAIRO_FONT_SLANT_NORMAL, random_bits(s) % 2 ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(c, between(s, 20, 34));
    cairo_move_to(c, between(s, 1, 12), between(s, 28, 38));
    cairo_show_text(c, text);
    cairo_surface_flush(surface);
    const unsigned char *pixel = cairo_image_surface_get_data(surface);
    for (size_t y = 0; y < HIGH; y++)
        for (size_t x = 0; x < WIDE; x++) {
            double v = pixel[y * (size_t)cairo_image_surface_get_stride(surface) + 4 * x] / 255.0 + noise * between(s, -1, 1);
            for (size_t k = 0; k < 3; k++) to[k * PIXELS + y * WIDE + x] = (float)(2 * fmin(fmax(v, 0), 1) - 1);
        }
    cairo_destroy(c);
    cairo_surface_destroy(surface);
}

static const net_batch *fill(Batch *to, const Words *lists, bool test, uint64_t *s) {
    for (size_t i = 0; i < BATCH; i++) {
        to->target[i] = (int64_t)(random_bits(s) % LISTS);
        draw(to->x + i * 3 * PIXELS, &lists[to->target[i]], test, s);
    }
    to->b = (net_batch){BATCH, to->x, to->target};
    return &to->b;
}

// Some lines as the network sees them.
static void save_picture(const char *path, const Words *lists) {
    enum { ROWS = 8 };
    static float x[3 * PIXELS];
    uint64_t s = 77;
    cairo_surface_t *all = cairo_image_surface_create(CAIRO_FORMAT_RGB24, 2 * WIDE + 6, ROWS * (HIGH + 2));
    unsigned char *pixel = cairo_image_surface_get_data(all);
    cairo_surface_flush(all);
    for (size_t i = 0; i < ROWS * 2; i++) {
        draw(x, &lists[i % 2], i >= ROWS, &s);
        for (size_t y = 0; y < HIGH; y++)
            for (size_t k = 0; k < WIDE; k++)
                memset(pixel + (i / 2 * (HIGH + 2) + y) * (size_t)cairo_image_surface_get_stride(all) + 4 * (i % 2 * (WIDE + 6) + k), (int)(127.5F * (x[y * WIDE + k] + 1)), 4);
    }
    cairo_surface_mark_dirty(all);
    if (cairo_surface_write_to_png(all, path)) fail("cannot write", path);
    cairo_surface_destroy(all);
}

// ---- training -----------------------------------------------------------------------------------------

static double accuracy(const net_trainer *t, Batch *batch, const Words *lists) {
    uint64_t s = 1234;
    int64_t right = 0;
    for (int i = 0; i < TEST; i += BATCH) {
        net_result r = {0};
        if (net_eval_step(t, fill(batch, lists, true, &s), &r)) fail("net_eval_step", "failed");
        right += r.correct;
    }
    return (double)right / TEST;
}

static int put(void *user, const void *data, size_t n) { return fwrite(data, 1, n, user) == n ? 0 : CNN_EDATA; }

static void *read_file(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END)) fail("cannot read", path);
    *size = (size_t)ftell(f);
    void *p = memory(*size + 1);
    rewind(f);
    if (fread(p, 1, *size, f) != *size) fail("cannot read", path);
    fclose(f);
    return p;
}

static void export_model(const net_trainer *t, const char *from, const char *to) {
    size_t n;
    const void *model = read_file(from, &n);
    FILE *f = fopen(to, "wb");
    if (!f || net_export(t, model, n, put, f) || fclose(f)) fail("cannot export", to);
}

static Options parse(int argc, char **argv) {
    Options o = {.steps = 300, .threads = 1, .rate = 3e-3};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
        if (a[0] != '-') {
            if (o.lists == LISTS) fail("too many lists:", a);
            o.list[o.lists++] = a;
            continue;
        }
        i++;
        if (!strcmp(a, "--steps")) o.steps = atoi(v);
        else if (!strcmp(a, "--rate")) o.rate = atof(v);
        else if (!strcmp(a, "--threads")) o.threads = atoi(v);
        else if (!strcmp(a, "--model")) o.model = v;
        else if (!strcmp(a, "--export")) o.export = v;
        else if (!strcmp(a, "--picture")) o.picture = v;
        else if (!strcmp(a, "--at-least")) o.at_least = atof(v);
        else fail("no such option:", a);
    }
    if (o.lists != LISTS) fail("two lists of words are", "needed");
    return o;
}

int main(int argc, char **argv) {
    Options o = parse(argc, argv);
    Words lists[LISTS] = {read_words(o.list[0]), read_words(o.list[1])};
    if (o.picture) save_picture(o.picture, lists);
    net_trainer t = {.threads = o.threads, .work_size = net_work_size(o.threads)};
    t.params = memory(sizeof(float) * NET_PARAMS);
    t.grads = memory(sizeof(float) * NET_TRAINED);
    t.state = memory(sizeof(float) * NET_STATE);
    t.work = memory(t.work_size);
    Batch *batch = memory(sizeof *batch);
    cnn_hyper h;
    net_defaults(&h);
    if (net_init(&t, NULL)) fail("net_init", "failed");
    uint64_t s = 1;
    double right = accuracy(&t, batch, lists), sum = 0;
    printf("%d of %d numbers are trained; %.1f MB to work in; before: %.1f %% of %d lines\n", NET_TRAINED, NET_PARAMS, (double)t.work_size / 1e6, 100 * right, TEST);
    for (int i = 1; i <= o.steps; i++) {
        net_result r = {0};
        h.lr = cnn_lr_cosine(o.rate, 0, t.step, (uint64_t)o.steps);
        if (net_train_step(&t, &h, fill(batch, lists, false, &s), &r)) fail("net_train_step", "failed");
        sum += (double)r.loss;
        if (i % 100 && i != o.steps) continue;
        right = accuracy(&t, batch, lists);
        printf("step %4d  loss %.4f  %.1f %% of lines in other fonts\n", i, sum / (i % 100 ? i % 100 : 100), 100 * right);
        fflush(stdout);
        sum = 0;
    }
    if (o.model && o.export) export_model(&t, o.model, o.export);
    return right < o.at_least;
}
