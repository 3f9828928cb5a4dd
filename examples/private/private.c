// SPDX-License-Identifier: Apache-2.0
/*
 * Trains the quickstart's network so that no single image can be told from the weights: DP-SGD (Abadi et al., "Deep
 * Learning with Differential Privacy", 2016), with the C that cnncc --train made.
 *
 *     private DATA [--steps N] [--lot N] [--noise S] [--clip C] [--rate LR] [--delta D] [--threads N] [--seed N] [--at-least A]
 *
 * Each image is in a step's lot with the probability lot / images. The gradient of each is cut to the length C, the
 * cut ones are added, noise of deviation S * C is added to each element, and the optimizer takes the sum divided by the
 * lot. What that tells of one image is epsilon, for a chance of delta that it tells more. --seed makes a run that can be
 * repeated; without it the noise comes from the system, as it has to where it protects somebody.
 */
#include <math.h>
#include <sys/random.h>
#include <time.h>

#include "../fashion/data.h"
#include "convnet.h"

enum { ORDERS = 64, N = CONVNET_TRAINED };

typedef struct {
    const char *data;
    int steps, threads;
    double lot, noise, clip, rate, delta, at_least;
    uint64_t seed;
} Options;

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

// ---- chance ---------------------------------------------------------------------------------------

static double uniform(uint64_t *s) { return ((double)(random_bits(s) >> 11) + 0.5) / 9007199254740992.0; }

// Two numbers of the normal distribution (Box and Muller).
static void normal(uint64_t *s, double *a, double *b) {
    double r = sqrt(-2 * log(uniform(s))), turn = 6.283185307179586 * uniform(s);
    *a = r * cos(turn);
    *b = r * sin(turn);
}

// ---- what it costs ----------------------------------------------------------------------------------

static double log_choose(int n, int k) { return lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0); }

// The epsilon of so many steps (Mironov, Talwar and Zhang, "Renyi Differential Privacy of the Sampled Gaussian
// Mechanism", 2019): the Renyi divergence of each whole order a, and of them the order that says the least.
static double epsilon(double q, double noise, int steps, double delta) {
    double best = INFINITY;
    for (int a = 2; a <= ORDERS; a++) {
        double sum = -INFINITY; // of logarithms
        for (int k = 0; k <= a; k++) {
            double x = log_choose(a, k) + k * log(q) + (a - k) * log1p(-q) + (double)k * (k - 1) / (2 * noise * noise);
            double top = x > sum ? x : sum;
            sum = top + log(exp(x - top) + exp(sum - top));
        }
        double e = (steps * sum - log(delta)) / (a - 1);
        if (e < best) best = e;
    }
    return best;
}

// ---- a step -------------------------------------------------------------------------------------------

// A thread's own trainer, which shares the parameters, and the sum of its cut gradients.
typedef struct { convnet_trainer t; double *sum, loss; float x[PIXELS]; } Worker;

// The gradient of one image, cut to the length `clip`, onto the worker's sum.
static void add_image(Worker *w, const Images *im, size_t at, double clip) {
    int64_t target = im->labels[at];
    double square = 0;
    for (size_t p = 0; p < PIXELS; p++) w->x[p] = (float)im->pixels[at * PIXELS + p] / 255.0f;
    const convnet_batch b = {1, w->x, &target};
    convnet_result r = {0};
    convnet_zero_grad(&w->t);
    if (convnet_forward_backward(&w->t, &b, &r)) fail("convnet_forward_backward", "failed");
    for (size_t i = 0; i < N; i++) square += (double)w->t.grads[i] * (double)w->t.grads[i];
    double length = sqrt(square), cut = length > clip ? clip / length : 1;
    for (size_t i = 0; i < N; i++) w->sum[i] += cut * (double)w->t.grads[i];
    w->loss += (double)r.loss;
}

// The images of a lot, of a chance each.
static size_t draw(uint32_t *lot, size_t images, double q, uint64_t *s) {
    size_t n = 0;
    for (size_t i = 0; i < images; i++)
        if (uniform(s) < q) lot[n++] = (uint32_t)i;
    return n;
}

static double step(convnet_trainer *t, const cnn_hyper *h, const Options *o, Worker *w, const Images *im, uint32_t *lot, uint64_t *chance) {
    size_t n = draw(lot, im->count, o->lot / (double)im->count, chance);
    double loss = 0;
#pragma omp parallel for num_threads(o->threads) schedule(static)
    for (int k = 0; k < o->threads; k++) {
        memset(w[k].sum, 0, sizeof(double) * N);
        w[k].loss = 0;
        for (size_t i = n * (size_t)k / (size_t)o->threads; i < n * (size_t)(k + 1) / (size_t)o->threads; i++) add_image(&w[k], im, lot[i], o->clip);
    }
    for (size_t i = 0; i < N; i += 2) { // their number is even: every parameter begins at a multiple of 16
        double noise[2];
        normal(chance, &noise[0], &noise[1]);
        for (size_t j = 0; j < 2; j++) {
            double g = o->noise * o->clip * noise[j];
            for (int k = 0; k < o->threads; k++) g += w[k].sum[i + j];
            t->grads[i + j] = (float)(g / o->lot);
        }
    }
    for (int k = 0; k < o->threads; k++) loss += w[k].loss;
    if (convnet_optimizer_step(t, h)) fail("convnet_optimizer_step", "failed");
    return n ? loss / (double)n : 0;
}

static double accuracy(Worker *w, const Images *im, int threads) {
    size_t right = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : right) schedule(static)
    for (int k = 0; k < threads; k++)
        for (size_t at = im->count * (size_t)k / (size_t)threads; at < im->count * (size_t)(k + 1) / (size_t)threads; at++) {
            int64_t target = im->labels[at];
            for (size_t p = 0; p < PIXELS; p++) w[k].x[p] = (float)im->pixels[at * PIXELS + p] / 255.0f;
            const convnet_batch b = {1, w[k].x, &target};
            convnet_result r = {0};
            if (convnet_eval_step(&w[k].t, &b, &r)) fail("convnet_eval_step", "failed");
            right += (size_t)r.correct;
        }
    return (double)right / (double)im->count;
}

// ---- the program ----------------------------------------------------------------------------------------

static Options parse(int argc, char **argv) {
    Options o = {.steps = 600, .threads = 1, .lot = 512, .noise = 1.1, .clip = 1, .rate = 0.5, .delta = 1e-5};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
        if (a[0] != '-') {
            o.data = a;
            continue;
        }
        i++;
        if (!strcmp(a, "--steps")) o.steps = atoi(v);
        else if (!strcmp(a, "--threads")) o.threads = atoi(v);
        else if (!strcmp(a, "--lot")) o.lot = atof(v);
        else if (!strcmp(a, "--noise")) o.noise = atof(v);
        else if (!strcmp(a, "--clip")) o.clip = atof(v);
        else if (!strcmp(a, "--rate")) o.rate = atof(v);
        else if (!strcmp(a, "--delta")) o.delta = atof(v);
        else if (!strcmp(a, "--seed")) o.seed = strtoull(v, NULL, 10);
        else if (!strcmp(a, "--at-least")) o.at_least = atof(v);
        else fail("no such option:", a);
    }
    if (!o.data || o.threads < 1 || !(o.noise > 0) || !(o.clip > 0) || !(o.lot > 0)) fail("the folder of the data, and numbers above 0, are", "needed");
    return o;
}

static convnet_trainer new_trainer(void) {
    convnet_trainer t = {.threads = 1, .work_size = convnet_work_size(1)};
    t.params = memory(sizeof(float) * CONVNET_PARAMS);
    t.grads = memory(sizeof(float) * N);
    t.state = memory(sizeof(float) * CONVNET_STATE);
    t.work = memory(t.work_size);
    return t;
}

int main(int argc, char **argv) {
    Options o = parse(argc, argv);
    Images train = read_images(o.data, "train"), test = read_images(o.data, "t10k");
    uint64_t chance = o.seed;
    if (!chance && getrandom(&chance, sizeof chance, 0) != sizeof chance) fail("no random numbers from", "the system");
    convnet_trainer t = new_trainer();
    if (convnet_init_random(&t, 1)) fail("convnet_init_random", "failed");
    Worker *w = memory(sizeof *w * (size_t)o.threads);
    for (int k = 0; k < o.threads; k++) {
        w[k].t = new_trainer();
        w[k].t.params = t.params;
        w[k].sum = memory(sizeof(double) * N);
    }
    uint32_t *lot = memory(sizeof *lot * train.count);
    cnn_hyper h;
    convnet_defaults(&h);
    h.lr = o.rate;
    double since = seconds(), right = 0, q = o.lot / (double)train.count;
    printf("lots of about %.0f images, noise %.2f, gradients cut to %.2f, delta %.0e\n", o.lot, o.noise, o.clip, o.delta);
    for (int s = 1; s <= o.steps; s++) {
        double loss = step(&t, &h, &o, w, &train, lot, &chance);
        if (s % 50 && s != o.steps) continue;
        right = accuracy(w, &test, o.threads);
        printf("step %4d  loss %.4f  test accuracy %.2f %%  epsilon %.2f  %.1f s\n", s, loss, 100 * right, epsilon(q, o.noise, s, o.delta), seconds() - since);
        fflush(stdout);
    }
    return right < o.at_least;
}
