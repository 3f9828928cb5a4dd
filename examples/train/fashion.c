// SPDX-License-Identifier: Apache-2.0
/*
 * Trains the network of the quickstart on Fashion-MNIST from random weights, with the C that
 * cnncc --train made of it: fashion.c and convnet.c, and nothing to link.
 *
 *     train DATA [--epochs N] [--threads N] [--seed N] [--rate LR] [--constant 1] [--resume CHECKPOINT]
 *           [--checkpoint FILE] [--model FILE.onnx --export FILE.onnx] [--at-least ACCURACY] [--steps N]
 *
 * DATA is the folder with the unpacked files of Fashion-MNIST. The last 5,000 training images are
 * for validation. The learning rate falls along a cosine, or stays with --constant 1. With --steps only that many steps are done, and timed.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../fashion/data.h"
#include "convnet.h"

enum { BATCH = CONVNET_BATCH, VALIDATION = 5000 };

typedef struct {
    const char *data, *resume, *checkpoint, *model, *export;
    int epochs, threads, steps, constant;
    uint64_t seed;
    double rate, at_least;
} Options;

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

// ---- batches ------------------------------------------------------------------------------------

typedef struct { float x[BATCH * PIXELS]; int64_t target[BATCH]; convnet_batch b; } Batch;

// Images order[0 .. n) of the set, or, with order NULL, those from `first` on.
static const convnet_batch *fill(Batch *to, const Images *im, const uint32_t *order, size_t first, size_t n) {
    for (size_t i = 0; i < n; i++) {
        size_t at = order ? order[i] : first + i;
        for (int p = 0; p < PIXELS; p++) to->x[i * PIXELS + (size_t)p] = (float)im->pixels[at * PIXELS + (size_t)p] / 255.0f;
        to->target[i] = im->labels[at];
    }
    to->b = (convnet_batch){(int64_t)n, to->x, to->target};
    return &to->b;
}

// The same order for the same seed and epoch, so that a resumed training sees what it would have seen.
static void shuffle(uint32_t *order, size_t n, uint64_t seed, int epoch) {
    uint64_t s = seed * 1000003 + (uint64_t)epoch;
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t i = n; i > 1; i--) {
        size_t k = random_bits(&s) % i;
        uint32_t t = order[i - 1];
        order[i - 1] = order[k];
        order[k] = t;
    }
}

// ---- files --------------------------------------------------------------------------------------

static int write_file(void *user, const void *data, size_t n) { return fwrite(data, 1, n, user) == n ? 0 : CNN_EDATA; }
static int read_bytes(void *user, void *data, size_t n) { return fread(data, 1, n, user) == n ? 0 : CNN_EDATA; }

// Writes next to the file and renames, so that there is always a whole one.
static void save(const convnet_trainer *t, const char *path) {
    char part[4096];
    snprintf(part, sizeof part, "%s.part", path);
    FILE *f = fopen(part, "wb");
    if (!f || convnet_save(t, write_file, f) || fclose(f) || rename(part, path)) fail("cannot write", path);
}

static void resume(convnet_trainer *t, const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f || convnet_load(t, read_bytes, f)) fail("no checkpoint of this network:", path);
    fclose(f);
}

static void export_model(const convnet_trainer *t, const char *from, const char *to) {
    size_t size;
    uint8_t *model = read_file(".", from, 0, &size);
    FILE *f = fopen(to, "wb");
    if (!f || convnet_export(t, model, size, write_file, f) || fclose(f)) fail("cannot export", to);
    free(model);
}

// ---- evaluation ---------------------------------------------------------------------------------

typedef struct { double loss; size_t right, total, cell[CLASSES][CLASSES]; } Report; // cell[truth][guess]

static Report evaluate(const convnet_trainer *t, Batch *batch, const Images *im, size_t first, size_t count) {
    static float probability[BATCH * CLASSES];
    Report r = {0};
    for (size_t at = first; at < first + count; at += BATCH) {
        size_t n = first + count - at < BATCH ? first + count - at : BATCH;
        convnet_result out = {.probability = probability};
        if (convnet_eval_step(t, fill(batch, im, NULL, at, n), &out)) fail("convnet_eval_step", "failed");
        r.loss += (double)out.loss * (double)n;
        r.right += (size_t)out.correct;
        r.total += n;
        for (size_t i = 0; i < n; i++) {
            int best = 0;
            for (int c = 1; c < CLASSES; c++)
                if (probability[i * CLASSES + (size_t)c] > probability[i * CLASSES + (size_t)best]) best = c;
            r.cell[batch->target[i]][best]++;
        }
    }
    r.loss /= (double)r.total;
    return r;
}

static void print_report(const Report *r) {
    printf("\nclass        precision    recall        F1    images\n");
    for (int c = 0; c < CLASSES; c++) {
        size_t truth = 0, guess = 0;
        for (int k = 0; k < CLASSES; k++) truth += r->cell[c][k], guess += r->cell[k][c];
        double p = guess ? (double)r->cell[c][c] / (double)guess : 0, q = truth ? (double)r->cell[c][c] / (double)truth : 0;
        printf("%-12s %9.3f %9.3f %9.3f %9zu\n", class_name[c], p, q, p + q > 0 ? 2 * p * q / (p + q) : 0, truth);
    }
    printf("\nrows: what it is; columns: what the network says\n%-12s", "");
    for (int c = 0; c < CLASSES; c++) printf("%7.6s", class_name[c]);
    for (int c = 0; c < CLASSES; c++) {
        printf("\n%-12s", class_name[c]);
        for (int k = 0; k < CLASSES; k++) printf("%7zu", r->cell[c][k]);
    }
    printf("\n\naccuracy  %.2f %%, %zu of %zu images\n", 100.0 * (double)r->right / (double)r->total, r->right, r->total);
}

// ---- training -----------------------------------------------------------------------------------

static void progress(int epoch, const Options *o, size_t done, size_t all, double loss, double since) {
    enum { WIDTH = 30 };
    static double shown;
    double now = seconds();
    if (!isatty(STDOUT_FILENO) || (done < all && now - shown < 0.05)) return;
    shown = now;
    printf("\repoch %2d/%d [", epoch + 1, o->epochs);
    for (size_t i = 0; i < WIDTH; i++) putchar(i * all < done * WIDTH ? '=' : ' ');
    printf("] %4zu/%zu  loss %.4f  %.1f ms a step ", done, all, loss, 1e3 * (now - since) / (double)done);
    fflush(stdout);
}

// One pass over the training images from batch `from` on; the mean loss.
static double train_epoch(convnet_trainer *t, cnn_hyper *h, const Options *o, Batch *batch, const Images *im, uint32_t *order, int epoch) {
    size_t count = im->count - VALIDATION, steps = (count + BATCH - 1) / BATCH;
    double sum = 0, since = seconds();
    shuffle(order, count, o->seed, epoch);
    for (size_t s = 0; s < steps; s++) {
        size_t n = count - s * BATCH < BATCH ? count - s * BATCH : BATCH;
        convnet_result r = {0};
        h->lr = o->constant ? o->rate : cnn_lr_cosine(o->rate, 0, t->step, steps * (size_t)o->epochs);
        int st = convnet_train_step(t, h, fill(batch, im, order + s * BATCH, 0, n), &r);
        if (st) fail("convnet_train_step", "failed");
        sum += (double)r.loss * (double)n;
        progress(epoch, o, s + 1, steps, (double)r.loss, since);
    }
    return sum / (double)count;
}

static void time_steps(convnet_trainer *t, const cnn_hyper *h, const Options *o, Batch *batch, const Images *im) {
    double best = 1e9, since = seconds();
    convnet_result r = {0};
    for (int s = 0; s < o->steps; s++) {
        const convnet_batch *b = fill(batch, im, NULL, (size_t)s % 100 * BATCH, BATCH);
        double start = seconds();
        if (convnet_train_step(t, h, b, &r)) fail("convnet_train_step", "failed");
        double took = seconds() - start;
        if (took < best) best = took;
    }
    printf("%d steps, %.3f ms each, at best %.3f ms; loss %.9g\n", o->steps, 1e3 * (seconds() - since) / o->steps, 1e3 * best, (double)r.loss);
}

static Options parse(int argc, char **argv) {
    Options o = {.epochs = 10, .threads = 1, .seed = 1, .rate = 1e-3};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
        if (a[0] != '-') {
            o.data = a;
            continue;
        }
        i++;
        if (!strcmp(a, "--epochs")) o.epochs = atoi(v);
        else if (!strcmp(a, "--threads")) o.threads = atoi(v);
        else if (!strcmp(a, "--steps")) o.steps = atoi(v);
        else if (!strcmp(a, "--seed")) o.seed = strtoull(v, NULL, 10);
        else if (!strcmp(a, "--constant")) o.constant = atoi(v);
        else if (!strcmp(a, "--rate")) o.rate = atof(v);
        else if (!strcmp(a, "--at-least")) o.at_least = atof(v);
        else if (!strcmp(a, "--resume")) o.resume = v;
        else if (!strcmp(a, "--checkpoint")) o.checkpoint = v;
        else if (!strcmp(a, "--model")) o.model = v;
        else if (!strcmp(a, "--export")) o.export = v;
        else fail("no such option:", a);
    }
    if (!o.data) fail("where is", "the data?");
    return o;
}

int main(int argc, char **argv) {
    Options o = parse(argc, argv);
    Images train = read_images(o.data, "train"), test = read_images(o.data, "t10k");
    if (train.count <= VALIDATION) fail("too few images in", o.data);
    convnet_trainer t = {.threads = o.threads, .seed = o.seed, .work_size = convnet_work_size(o.threads)};
    t.params = memory(sizeof(float) * CONVNET_PARAMS);
    t.grads = memory(sizeof(float) * CONVNET_TRAINED);
    t.state = memory(sizeof(float) * CONVNET_STATE);
    t.work = memory(t.work_size);
    Batch *batch = memory(sizeof *batch);
    uint32_t *order = memory(sizeof *order * train.count);
    printf("%d parameters; %.1f MB for them, their gradients and Adam's state, %.1f MB to work in\n", CONVNET_TRAINED,
           (CONVNET_PARAMS + CONVNET_TRAINED + CONVNET_STATE) * sizeof(float) / 1e6, (double)t.work_size / 1e6);
    cnn_hyper h;
    convnet_defaults(&h);
    h.lr = o.rate;
    if (convnet_init_random(&t, o.seed)) fail("convnet_init_random", "failed");
    if (o.steps) {
        time_steps(&t, &h, &o, batch, &train);
        return 0;
    }
    if (o.resume) resume(&t, o.resume);
    size_t steps = (train.count - VALIDATION + BATCH - 1) / BATCH;
    for (int e = (int)(t.step / steps); e < o.epochs; e++) {
        double since = seconds(), loss = train_epoch(&t, &h, &o, batch, &train, order, e);
        Report v = evaluate(&t, batch, &train, train.count - VALIDATION, VALIDATION);
        printf("%sepoch %2d/%d  training loss %.4f  validation loss %.4f  accuracy %.2f %%  %.1f s\n", isatty(STDOUT_FILENO) ? "\r\x1b[K" : "", e + 1,
               o.epochs, loss, v.loss, 100.0 * (double)v.right / (double)v.total, seconds() - since);
        fflush(stdout);
        if (o.checkpoint) save(&t, o.checkpoint);
    }
    Report r = evaluate(&t, batch, &test, 0, test.count);
    print_report(&r);
    if (o.model && o.export) export_model(&t, o.model, o.export);
    return (double)r.right / (double)r.total < o.at_least;
}
