// SPDX-License-Identifier: Apache-2.0
/*
 * Federated averaging (McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", 2017):
 *
 *     mpirun -n 4 federated DATA [--rounds N] [--epochs N] [--rate LR] [--shards N] [--at-least A]
 *
 * Each rank has images of its own that never leave it: --shards pieces of the training set sorted by class, so that a
 * rank knows some classes only. A round: each rank trains on its images for some epochs from the same weights; the
 * weights of all are averaged, in the order of the ranks, so that all go on with the same bits. Only weights travel.
 */
#include <mpi.h>

#include "../fashion/data.h"
#include "convnet.h"

enum { BATCH = CONVNET_BATCH };

typedef struct { float x[BATCH * PIXELS]; int64_t target[BATCH]; convnet_batch b; } Batch;
typedef struct { const char *data; int rounds, epochs, shards; double rate, at_least; } Options;

static const convnet_batch *fill(Batch *to, const Images *im, const uint32_t *at, size_t n) {
    for (size_t i = 0; i < n; i++) {
        for (size_t p = 0; p < PIXELS; p++) to->x[i * PIXELS + p] = (float)im->pixels[at[i] * PIXELS + p] / 255.0f;
        to->target[i] = im->labels[at[i]];
    }
    to->b = (convnet_batch){(int64_t)n, to->x, to->target};
    return &to->b;
}

// The images of this rank: shards of the set in the order of classes, dealt like cards.
static size_t own_images(uint32_t *own, const Images *im, int rank, int ranks, int shards) {
    uint32_t *sorted = memory(sizeof *sorted * im->count), all = (uint32_t)(ranks * shards), card[1024];
    uint64_t s = 1;
    size_t n = 0, k = 0;
    if (all > 1024) fail("too many", "shards");
    for (int c = 0; c < CLASSES; c++)
        for (size_t i = 0; i < im->count; i++)
            if (im->labels[i] == c) sorted[n++] = (uint32_t)i;
    for (uint32_t i = 0; i < all; i++) card[i] = i;
    for (uint32_t i = all; i > 1; i--) {
        uint32_t j = (uint32_t)(random_bits(&s) % i), t = card[i - 1];
        card[i - 1] = card[j];
        card[j] = t;
    }
    for (int i = 0; i < shards; i++) {
        size_t c = card[rank * shards + i];
        for (size_t j = im->count * c / all; j < im->count * (c + 1) / all; j++) own[k++] = sorted[j];
    }
    free(sorted);
    return k;
}

static void train_epoch(convnet_trainer *t, const cnn_hyper *h, Batch *batch, const Images *im, uint32_t *own, size_t n, uint64_t seed) {
    for (size_t i = n; i > 1; i--) {
        size_t j = random_bits(&seed) % i;
        uint32_t x = own[i - 1];
        own[i - 1] = own[j];
        own[j] = x;
    }
    for (size_t at = 0; at < n; at += BATCH) {
        convnet_result r = {0};
        if (convnet_train_step(t, h, fill(batch, im, own + at, n - at < BATCH ? n - at : BATCH), &r)) fail("convnet_train_step", "failed");
    }
}

// The mean of the ranks' parameters, by how many images each has.
static void average(convnet_trainer *t, float *all, const double *images, int ranks) {
    double sum = 0;
    for (int k = 0; k < ranks; k++) sum += images[k];
    MPI_Allgather(t->params, CONVNET_PARAMS, MPI_FLOAT, all, CONVNET_PARAMS, MPI_FLOAT, MPI_COMM_WORLD);
    for (size_t i = 0; i < CONVNET_PARAMS; i++) {
        double w = 0;
        for (int k = 0; k < ranks; k++) w += images[k] / sum * (double)all[(size_t)k * CONVNET_PARAMS + i];
        t->params[i] = (float)w;
    }
}

static double accuracy(const convnet_trainer *t, Batch *batch, const Images *im) {
    uint32_t at[BATCH];
    int64_t right = 0;
    for (size_t i = 0; i < im->count; i += BATCH) {
        size_t n = im->count - i < BATCH ? im->count - i : BATCH;
        convnet_result r = {0};
        for (size_t k = 0; k < n; k++) at[k] = (uint32_t)(i + k);
        if (convnet_eval_step(t, fill(batch, im, at, n), &r)) fail("convnet_eval_step", "failed");
        right += r.correct;
    }
    return (double)right / (double)im->count;
}

static Options parse(int argc, char **argv) {
    Options o = {.rounds = 10, .epochs = 1, .shards = 5, .rate = 0.05};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
        if (a[0] != '-') {
            o.data = a;
            continue;
        }
        i++;
        if (!strcmp(a, "--rounds")) o.rounds = atoi(v);
        else if (!strcmp(a, "--epochs")) o.epochs = atoi(v);
        else if (!strcmp(a, "--shards")) o.shards = atoi(v);
        else if (!strcmp(a, "--rate")) o.rate = atof(v);
        else if (!strcmp(a, "--at-least")) o.at_least = atof(v);
        else fail("no such option:", a);
    }
    if (!o.data || o.shards < 1) fail("where is", "the data?");
    return o;
}

int main(int argc, char **argv) {
    int rank, ranks;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    Options o = parse(argc, argv);
    Images train = read_images(o.data, "train"), test = read_images(o.data, "t10k");
    uint32_t *own = memory(sizeof *own * train.count), seen = 0;
    size_t n = own_images(own, &train, rank, ranks, o.shards);
    double mine = (double)n, *images = memory(sizeof(double) * (size_t)ranks), right = 0;
    for (size_t i = 0; i < n; i++) seen |= 1u << train.labels[own[i]];
    convnet_trainer t = {.threads = 1, .work_size = convnet_work_size(1)};
    t.params = memory(sizeof(float) * CONVNET_PARAMS);
    t.grads = memory(sizeof(float) * CONVNET_TRAINED);
    t.state = memory(sizeof(float) * CONVNET_STATE);
    t.work = memory(t.work_size);
    float *all = memory(sizeof(float) * CONVNET_PARAMS * (size_t)ranks);
    Batch *batch = memory(sizeof *batch);
    cnn_hyper h;
    convnet_defaults(&h);
    h.lr = o.rate;
    if (convnet_init_random(&t, 1)) fail("convnet_init_random", "failed");
    MPI_Allgather(&mine, 1, MPI_DOUBLE, images, 1, MPI_DOUBLE, MPI_COMM_WORLD);
    for (int k = 0; k < ranks; k++) { // in turn
        MPI_Barrier(MPI_COMM_WORLD);
        if (k != rank) continue;
        printf("rank %d has %zu images of", rank, n);
        for (int c = 0; c < CLASSES; c++)
            if (seen >> c & 1) printf(" %s", class_name[c]);
        printf("\n");
        fflush(stdout);
    }
    for (int r = 1; r <= o.rounds; r++) {
        for (int e = 0; e < o.epochs; e++) train_epoch(&t, &h, batch, &train, own, n, (uint64_t)(r * 1000 + e) * 1000 + (uint64_t)rank);
        double alone = accuracy(&t, batch, &test), sum = 0;
        average(&t, all, images, ranks);
        right = accuracy(&t, batch, &test);
        MPI_Reduce(&alone, &sum, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
        if (rank == 0) printf("round %2d  test accuracy %.2f %%; of the ranks' own, on average, %.2f %%\n", r, 100 * right, 100 * sum / ranks), fflush(stdout);
    }
    MPI_Finalize();
    return right < o.at_least;
}
