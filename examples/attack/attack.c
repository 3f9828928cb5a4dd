// SPDX-License-Identifier: Apache-2.0
/*
 * What the network of the quickstart looks at, how little fools it, and how it learns to resist.
 *
 *     attack DATA [--train IMAGES] [--epochs N] [--threads N]
 *
 * DATA is the folder with the unpacked files of Fashion-MNIST. Writes DATA/attack.png: for an image of each class
 * that the network gets right, the image, the pixels that its loss depends on most (the gradient of the loss by
 * the image: Simonyan et al., 2013), and the same image with each pixel moved by 0.1 in the direction that
 * raises the loss (the fast gradient sign method: Goodfellow et al., 2014). Then the accuracy under such attacks,
 * before and after some training on images that are attacked with the weights of that moment.
 *
 * trainer.c is cnncc's --train, gradient.c its --grad --input-grad image; they share the weights.
 */
#include <math.h>
#include <png.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fashion/data.h"
#include "gradient.h"
#include "trainer.h"

enum { BATCH = TRAINER_BATCH, ZOOM = 4, GAP = 8, CELL = SIDE * ZOOM + GAP };

static const float strength[] = {0, 0.01f, 0.02f, 0.05f, 0.1f};
enum { STRENGTHS = sizeof strength / sizeof *strength };

// ---- the gradient by the image --------------------------------------------------------------------

// The network with the trainer's weights, as a function of a batch of images.
typedef struct {
    trainer_trainer *t;
    cnn_ctx ctx;
    cnn_tensor *in, *out;
    int64_t target[BATCH];
    float *image, *grad, *probability;
} Net;

static int64_t *shape_of(const cnn_port *port, int64_t *numel) {
    int64_t *shape = memory(sizeof *shape * (size_t)(port->rank + 1));
    *numel = 1;
    for (int i = 0; i < port->rank; i++) *numel *= shape[i] = port->dim[i];
    return shape;
}

static Net *make_net(trainer_trainer *t) {
    const cnn_model *m = &gradient_model;
    Net *net = memory(sizeof *net);
    *net = (Net){.t = t, .in = memory(sizeof(cnn_tensor) * (size_t)m->n_in), .out = memory(sizeof(cnn_tensor) * (size_t)m->n_out)};
    for (int i = 0; i < m->n_in + m->n_out; i++) {
        const cnn_port *port = i < m->n_in ? &m->in[i] : &m->out[i - m->n_in];
        int64_t n, *shape = shape_of(port, &n);
        size_t bytes = (size_t)n * (port->type == CNN_INT64 ? 8 : 4);
        cnn_tensor x = {.cap = bytes, .shape = shape, .type = port->type, .rank = port->rank};
        if (!strcmp(port->name, "image")) x.data = net->image = memory(bytes);
        else if (!strcmp(port->name, "target")) x.data = net->target;
        for (int k = 0; k < TRAINER_NPARAM && !x.data; k++)
            if (!strcmp(port->name, trainer_params[k].name)) x.data = t->params + trainer_params[k].offset;
        if (!x.data) x.data = memory(bytes);
        if (!strcmp(port->name, "grad:image")) net->grad = x.data;
        if (!strcmp(port->name, "probability")) net->probability = x.data;
        *(i < m->n_in ? &net->in[i] : &net->out[i - m->n_in]) = x;
    }
    net->ctx = (cnn_ctx){.work_size = gradient_work_size(t->threads), .threads = t->threads};
    net->ctx.work = memory(net->ctx.work_size);
    return net;
}

static void load(Net *net, const Images *im, const size_t *which, size_t n) {
    for (size_t i = 0; i < BATCH; i++) {
        size_t at = which[i < n ? i : 0];
        for (size_t p = 0; p < PIXELS; p++) net->image[i * PIXELS + p] = (float)im->pixels[at * PIXELS + p] / 255.0f;
        net->target[i] = im->labels[at];
    }
}

static void run(Net *net) {
    if (gradient_model.run(&net->ctx, net->in, net->out)) fail("the gradient", "failed");
}

static int best(const float *p) {
    int k = 0;
    for (int i = 1; i < CLASSES; i++)
        if (p[i] > p[k]) k = i;
    return k;
}

// Moves each pixel by eps in the direction of its gradient's sign, within 0..1.
static void attack(Net *net, float eps) {
    run(net);
    for (size_t i = 0; i < (size_t)BATCH * PIXELS; i++) {
        float x = net->image[i] + (net->grad[i] > 0 ? eps : net->grad[i] < 0 ? -eps : 0);
        net->image[i] = x < 0 ? 0 : x > 1 ? 1 : x;
    }
}

static void measure(Net *net, const Images *im, double *accuracy) {
    for (int s = 0; s < STRENGTHS; s++) {
        size_t right = 0;
        for (size_t first = 0; first < im->count; first += BATCH) {
            size_t which[BATCH], n = im->count - first < BATCH ? im->count - first : BATCH;
            for (size_t i = 0; i < n; i++) which[i] = first + i;
            load(net, im, which, n);
            if (strength[s] > 0) attack(net, strength[s]);
            run(net);
            for (size_t i = 0; i < n; i++) right += best(net->probability + i * CLASSES) == net->target[i];
        }
        accuracy[s] = 100.0 * (double)right / (double)im->count;
    }
}

// ---- the picture ------------------------------------------------------------------------------------

// A cell of the picture: values of 0..1, from white to black, or by the strength of a gradient from white to red.
static void draw(uint8_t *rgb, size_t width, int row, int column, const float *x, int red) {
    float top = 1e-12f;
    for (int p = 0; p < PIXELS && red; p++) top = fmaxf(top, fabsf(x[p]));
    for (int i = 0; i < SIDE * ZOOM; i++)
        for (int j = 0; j < SIDE * ZOOM; j++) {
            float v = x[i / ZOOM * SIDE + j / ZOOM], dark = red ? sqrtf(fabsf(v) / top) : v;
            uint8_t *to = rgb + 3 * ((size_t)(row * CELL + GAP / 2 + i) * width + (size_t)(column * CELL + GAP / 2 + j));
            uint8_t shade = (uint8_t)(255 * (1 - dark));
            to[0] = red ? 255 : shade;
            to[1] = to[2] = shade;
        }
}

static void picture(Net *net, const Images *im, const char *folder) {
    const size_t width = (size_t)CLASSES * CELL, height = (size_t)3 * CELL;
    uint8_t *rgb = malloc(3 * width * height);
    size_t which[CLASSES] = {0};
    if (!rgb) fail("no memory for", "the picture");
    memset(rgb, 255, 3 * width * height);
    for (int c = 0; c < CLASSES; c++) // the first of each class that is right
        for (size_t i = 0; i < im->count; i++) {
            which[c] = i;
            if (im->labels[i] != c) continue;
            load(net, im, &i, 1);
            run(net);
            if (best(net->probability) == c) break;
        }
    load(net, im, which, CLASSES);
    run(net);
    for (int c = 0; c < CLASSES; c++) {
        draw(rgb, width, 0, c, net->image + (size_t)c * PIXELS, 0);
        draw(rgb, width, 1, c, net->grad + (size_t)c * PIXELS, 1);
    }
    attack(net, 0.1f);
    run(net);
    printf("With each pixel moved by 0.1:");
    for (int c = 0; c < CLASSES; c++) {
        draw(rgb, width, 2, c, net->image + (size_t)c * PIXELS, 0);
        printf("%s %s is taken for %s", c ? "," : "", class_name[c], class_name[best(net->probability + (size_t)c * CLASSES)]);
    }
    printf("\n");
    char path[4096];
    snprintf(path, sizeof path, "%s/attack.png", folder);
    png_image png = {.version = PNG_IMAGE_VERSION, .width = (png_uint_32)width, .height = (png_uint_32)height, .format = PNG_FORMAT_RGB};
    if (!png_image_write_to_file(&png, path, 0, rgb, 0, NULL)) fail("cannot write", path);
    printf("%s: the images, what the network looks at, the images that fool it\n", path);
    free(rgb);
}

// ---- training against attacks -----------------------------------------------------------------------

// Each batch as it is and attacked, in one step each; the attacks' strength is drawn up to 0.1.
static void harden(Net *net, const Images *im, size_t images, int epochs) {
    cnn_hyper h;
    uint64_t seed = 1;
    const size_t steps = images / BATCH;
    trainer_defaults(&h);
    for (int e = 0; e < epochs; e++) {
        double sum[2] = {0};
        for (size_t s = 0; s < steps; s++) {
            size_t which[BATCH];
            for (size_t i = 0; i < BATCH; i++) which[i] = random_bits(&seed) % im->count;
            load(net, im, which, BATCH);
            for (int attacked = 0; attacked < 2; attacked++) {
                trainer_result r = {0};
                if (attacked) attack(net, 0.1f * (float)(random_bits(&seed) >> 40) / (float)(1 << 24));
                h.lr = cnn_lr_cosine(5e-4, 0, net->t->step, 2 * steps * (size_t)epochs);
                trainer_batch b = {BATCH, net->image, net->target};
                if (trainer_train_step(net->t, &h, &b, &r)) fail("a step", "failed");
                sum[attacked] += (double)r.loss;
            }
            printf("\repoch %d/%d  %zu/%zu  loss %.4f, attacked %.4f ", e + 1, epochs, s + 1, steps, sum[0] / (double)(s + 1), sum[1] / (double)(s + 1));
            fflush(stdout);
        }
        printf("\n");
    }
}

int main(int argc, char **argv) {
    const char *data = NULL;
    size_t images = 30000;
    int epochs = 2, threads = 1;
    for (int i = 1; i < argc; i++) {
        const char *v = i + 1 < argc ? argv[i + 1] : "";
        if (argv[i][0] != '-') data = argv[i];
        else if (!strcmp(argv[i], "--train")) images = strtoull(v, NULL, 10), i++;
        else if (!strcmp(argv[i], "--epochs")) epochs = atoi(v), i++;
        else if (!strcmp(argv[i], "--threads")) threads = atoi(v), i++;
        else fail("no such option:", argv[i]);
    }
    if (!data) fail("where is", "the data?");
    Images train = read_images(data, "train"), test = read_images(data, "t10k");
    trainer_trainer t = {.threads = threads, .work_size = trainer_work_size(threads)};
    t.params = memory(sizeof(float) * TRAINER_PARAMS);
    t.grads = memory(sizeof(float) * TRAINER_TRAINED);
    t.state = memory(sizeof(float) * TRAINER_STATE);
    t.work = memory(t.work_size);
    if (trainer_init(&t, NULL)) fail("the weights", "are missing");
    Net *net = make_net(&t);
    double before[STRENGTHS], after[STRENGTHS];
    picture(net, &test, data);
    measure(net, &test, before);
    harden(net, &train, images, epochs);
    measure(net, &test, after);
    printf("\n%-28s", "each pixel moved by");
    for (int s = 0; s < STRENGTHS; s++) printf("%8.2f", (double)strength[s]);
    printf("\n%-28s", "right as it was trained, %");
    for (int s = 0; s < STRENGTHS; s++) printf("%8.2f", before[s]);
    printf("\n%-28s", "after training on attacks, %");
    for (int s = 0; s < STRENGTHS; s++) printf("%8.2f", after[s]);
    printf("\n");
    return after[STRENGTHS - 1] <= before[STRENGTHS - 1]; // it must have learned something
}
