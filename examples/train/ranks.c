// SPDX-License-Identifier: Apache-2.0
/*
 * Trains the quickstart's network on several machines, or as several processes on one:
 *
 *     mpirun -n 4 ranks DATA [--steps N] [--checkpoint FILE] [--resume FILE] [--parts N]
 *
 * Each rank takes its part of every batch; the gradients are one buffer, which the ranks exchange and add
 * in the order of the ranks, so that all have the same bits. They do so bucket by bucket: what the backward
 * pass has computed of the last layers travels while it computes those before. With --parts N and no mpirun
 * one process does what N ranks do, part after part, and comes to the same loss, bit for bit.
 */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convnet.h"

enum { PIXELS = 28 * 28, BATCH = CONVNET_BATCH, SAVE_EVERY = 50, BUCKET = 1 << 16, GAP = 16, MOST = 64 }; // elements: the least of an exchange, the most between parameters

static void fail(const char *what) {
    fprintf(stderr, "ranks: %s\n", what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static void *memory(size_t size) {
    void *p = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!p) fail("no memory");
    return p;
}

static uint8_t *read_bytes_of(const char *folder, const char *name, size_t skip, size_t size) {
    char path[4096];
    uint8_t *p = malloc(size);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (!p || !f || fseek(f, (long)skip, SEEK_SET) || fread(p, 1, size, f) != size) fail("cannot read the data");
    fclose(f);
    return p;
}

static int put(void *user, const void *data, size_t n) { return fwrite(data, 1, n, user) == n ? 0 : CNN_EDATA; }
static int get(void *user, void *data, size_t n) { return fread(data, 1, n, user) == n ? 0 : CNN_EDATA; }

static void save(const convnet_trainer *t, const char *path) {
    char part[4096];
    snprintf(part, sizeof part, "%s.part", path);
    FILE *f = fopen(part, "wb");
    if (!f || convnet_save(t, put, f) || fclose(f) || rename(part, path)) fail("cannot write the checkpoint");
}

static void resume(convnet_trainer *t, const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f || convnet_load(t, get, f)) fail("no checkpoint of this network");
    fclose(f);
}

typedef struct { const uint8_t *pixels, *labels; float x[BATCH * PIXELS]; int64_t target[BATCH]; } Data;

// The exchange of one step's gradients: this rank's sums over its parts, of which `left` are to come; what the ranks send.
typedef struct { size_t first, count; float *from_all; } Bucket;
typedef struct {
    const convnet_trainer *t;
    float *sum, *all;
    int left, ranks;
    size_t first, end, used; // gathered for the next bucket; of `all`
    Bucket bucket[MOST];
    MPI_Request request[MOST];
    int n;
} Exchange;

static void send_bucket(Exchange *x) {
    size_t count = x->end - x->first;
    if (!count) return;
    if (x->n == MOST) fail("too many buckets");
    x->bucket[x->n] = (Bucket){x->first, count, x->all + x->used};
    MPI_Iallgather(x->sum + x->first, (int)count, MPI_FLOAT, x->all + x->used, (int)count, MPI_FLOAT, MPI_COMM_WORLD, &x->request[x->n]);
    x->used += count * (size_t)x->ranks;
    x->n++;
    x->end = x->first;
}

// Part of the gradients is there: it is added to the sum, and sent with its neighbours once they are enough.
static void ready(void *user, size_t offset, size_t count) {
    Exchange *x = user;
    int done;
    for (size_t i = offset; i < offset + count; i++) x->sum[i] += x->t->grads[i];
    if (x->left > 1) return;
    if (offset + count > x->first || offset + count + GAP < x->first) { // no neighbour of what was there
        send_bucket(x);
        x->end = offset + count;
    }
    x->first = offset;
    if (x->end - x->first >= BUCKET) send_bucket(x);
    if (x->n) MPI_Testall(x->n, x->request, &done, MPI_STATUSES_IGNORE); // lets MPI work
}

// What all ranks have, added in their order, into the gradients.
static void finish(Exchange *x, int parts) {
    send_bucket(x);
    MPI_Waitall(x->n, x->request, MPI_STATUSES_IGNORE);
    for (int k = 0; k < x->n; k++) {
        const Bucket *b = &x->bucket[k];
        for (size_t i = 0; i < b->count; i++) {
            float g = 0;
            for (int r = 0; r < x->ranks; r++) g += b->from_all[(size_t)r * b->count + i];
            x->t->grads[b->first + i] = g / (float)parts;
        }
    }
}

// Computes the gradients of part `part` of `parts` of step s's batch; the loss times its share.
static float add_part(const convnet_trainer *t, Exchange *x, Data *d, uint64_t s, int part, int parts) {
    size_t n = BATCH / (size_t)parts, first = (size_t)(s * BATCH % 59968) + (size_t)part * n;
    for (size_t i = 0; i < n; i++) {
        for (size_t p = 0; p < PIXELS; p++) d->x[i * PIXELS + p] = (float)d->pixels[(first + i) * PIXELS + p] / 255.0f;
        d->target[i] = d->labels[first + i];
    }
    convnet_batch b = {(int64_t)n, d->x, d->target};
    convnet_result r = {0};
    if (convnet_gradients(t, &b, &r, ready, x)) fail("convnet_gradients failed");
    x->left--;
    return r.loss / (float)parts;
}

int main(int argc, char **argv) {
    int rank, ranks, parts = 0;
    uint64_t steps = 200;
    const char *checkpoint = NULL, *from = NULL, *folder = NULL;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    for (int i = 1; i < argc; i++) {
        const char *v = i + 1 < argc ? argv[i + 1] : "";
        if (argv[i][0] != '-') folder = argv[i];
        else if (!strcmp(argv[i], "--steps")) steps = strtoull(v, NULL, 10), i++;
        else if (!strcmp(argv[i], "--parts")) parts = atoi(v), i++;
        else if (!strcmp(argv[i], "--checkpoint")) checkpoint = v, i++;
        else if (!strcmp(argv[i], "--resume")) from = v, i++;
        else fail("no such option");
    }
    if (!parts) parts = ranks;
    if (!folder || parts < ranks || parts % ranks || BATCH % parts) fail("the folder of the data; ranks and parts that divide the batch");
    Data *d = memory(sizeof *d);
    d->pixels = read_bytes_of(folder, "train-images-idx3-ubyte", 16, (size_t)60000 * PIXELS);
    d->labels = read_bytes_of(folder, "train-labels-idx1-ubyte", 8, 60000);
    convnet_trainer t = {.threads = 1, .work_size = convnet_work_size(1)};
    t.params = memory(sizeof(float) * CONVNET_PARAMS);
    t.grads = memory(sizeof(float) * CONVNET_TRAINED);
    t.state = memory(sizeof(float) * CONVNET_STATE);
    t.work = memory(t.work_size);
    float *own = memory(sizeof(float) * CONVNET_TRAINED);
    float *all = memory(sizeof(float) * CONVNET_TRAINED * (size_t)ranks), *losses = memory(sizeof(float) * (size_t)ranks);
    cnn_hyper h;
    convnet_defaults(&h);
    if (convnet_init_random(&t, 1)) fail("convnet_init_random failed");
    if (from) resume(&t, from);
    while (t.step < steps) {
        float loss = 0, sum = 0;
        Exchange x = {.t = &t, .sum = own, .all = all, .left = parts / ranks, .ranks = ranks, .first = CONVNET_TRAINED, .end = CONVNET_TRAINED};
        memset(own, 0, sizeof(float) * CONVNET_TRAINED);
        for (int p = 0; p < parts / ranks; p++) loss += add_part(&t, &x, d, t.step, rank * (parts / ranks) + p, parts);
        finish(&x, parts);
        MPI_Allgather(&loss, 1, MPI_FLOAT, losses, 1, MPI_FLOAT, MPI_COMM_WORLD);
        for (int k = 0; k < ranks; k++) sum += losses[k];
        if (convnet_optimizer_step(&t, &h)) fail("convnet_optimizer_step failed");
        if (rank == 0 && (t.step % SAVE_EVERY == 0 || t.step == steps)) {
            printf("step %llu  loss %.9g\n", (unsigned long long)t.step, (double)sum);
            if (checkpoint) save(&t, checkpoint);
        }
    }
    MPI_Finalize();
    return 0;
}
