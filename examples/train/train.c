// SPDX-License-Identifier: Apache-2.0
// Trains the network of model.py on images made here: a horizontal, a vertical or a diagonal bar in noise.
//
//     cnncc --train --loss=cross_entropy bars.onnx -o step.c
//     cc -O3 -march=native train.c step.c -o train -lm && ./train
//
// step.c is one step of gradient descent as a pure function: parameters come in by their names in the
// model, and go out as new:NAME. Here each step's results are the next one's inputs.
#include "step.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 32, SIDE = 12, STEPS = 300, MAX_PORTS = 32 };

static unsigned state = 1;

static float uniform(void) { // in [-1, 1)
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / 8388608.0f - 1.0f;
}

static void make_batch(float *x, int64_t *target) {
    for (int n = 0; n < BATCH; n++) {
        int kind = (int)(3.0f * (uniform() + 1.0f) / 2.0f) % 3, at = 2 + (int)(4.0f * (uniform() + 1.0f));
        for (int i = 0; i < SIDE; i++)
            for (int j = 0; j < SIDE; j++) {
                int on = kind == 0 ? i == at : kind == 1 ? j == at : (i + at) % SIDE == j;
                *x++ = (on ? 1.0f : 0.0f) + 0.3f * uniform();
            }
        target[n] = kind;
    }
}

static int find(const cnn_port *port, int n, const char *name) {
    for (int i = 0; i < n; i++)
        if (!strcmp(port[i].name, name)) return i;
    fprintf(stderr, "the model has no %s\n", name);
    exit(1);
}

static size_t numel(const cnn_port *p) {
    size_t n = 1;
    for (int i = 0; i < p->rank; i++) n *= (size_t)p->dim[i];
    return n;
}

static cnn_tensor tensor_new(const cnn_port *p) {
    size_t bytes = numel(p) * (p->type == CNN_INT64 ? 8 : 4);
    cnn_tensor t = {.data = calloc(1, bytes), .cap = bytes, .shape = calloc(8, sizeof(int64_t)), .type = p->type, .rank = p->rank};
    if (!t.data || !t.shape) exit(1);
    memcpy(t.shape, p->dim, sizeof(int64_t) * (size_t)p->rank);
    return t;
}

static int correct(const float *y, const int64_t *target) {
    int n = 0;
    for (int i = 0; i < BATCH; i++) {
        int best = 0;
        for (int c = 1; c < 3; c++)
            if (y[3 * i + c] > y[3 * i + best]) best = c;
        n += best == target[i];
    }
    return n;
}

int main(void) {
    const cnn_model *m = &step_model;
    cnn_tensor in[MAX_PORTS], out[MAX_PORTS];
    if (m->n_in > MAX_PORTS || m->n_out > MAX_PORTS) return 1;
    for (int i = 0; i < m->n_in; i++) in[i] = tensor_new(&m->in[i]);
    for (int i = 0; i < m->n_out; i++) out[i] = tensor_new(&m->out[i]);
    for (int i = 0; i < m->n_in; i++) { // weights by the size of what they sum, biases 0
        size_t n = numel(&m->in[i]), fan_in = m->in[i].rank > 1 ? n / (size_t)m->in[i].dim[0] : 0;
        for (size_t k = 0; k < n && fan_in && m->in[i].type == CNN_FLOAT; k++) ((float *)in[i].data)[k] = uniform() * sqrtf(6.0f / (float)fan_in);
    }
    float *x = in[find(m->in, m->n_in, "x")].data, *y = out[find(m->out, m->n_out, "y")].data;
    float *loss = out[find(m->out, m->n_out, "loss")].data;
    int64_t *target = in[find(m->in, m->n_in, "target")].data;
    *(float *)in[find(m->in, m->n_in, "lr")].data = 0.05f;
    size_t size = (m->work_size(NULL, 1) + 63) / 64 * 64;
    cnn_ctx ctx = {.work = aligned_alloc(64, size), .work_size = size, .threads = 1};
    int right = 0;
    for (int s = 0; s < STEPS; s++) {
        make_batch(x, target);
        int status = m->run(&ctx, in, out);
        if (status) return fprintf(stderr, "status %d\n", status), 1;
        right = correct(y, target);
        if (s % 50 == 0 || s == STEPS - 1) printf("step %3d  loss %.4f  %d of %d right\n", s, *loss, right, BATCH);
        for (int o = 0; o < m->n_out; o++) { // the new parameters are the next step's
            if (strncmp(m->out[o].name, "new:", 4) != 0) continue;
            int i = find(m->in, m->n_in, m->out[o].name + 4);
            void *old = in[i].data;
            in[i].data = out[o].data;
            out[o].data = old;
        }
    }
    return right < BATCH * 9 / 10;
}
