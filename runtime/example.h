// SPDX-License-Identifier: Apache-2.0
// The main function of --example: how a program calls a model, for any model of tensors. Only here does generated
// code allocate.
#ifndef CNN_RUNTIME_EXAMPLE_H
#define CNN_RUNTIME_EXAMPLE_H
#include "abi.h"
#include "sequence.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

//@ cnn_example_data:
static void *cnn_rooms; /* the last of them; each begins with the one before */

/* 64-byte aligned, zeroed; the program ends where there is none. */
static void *cnn_room(size_t n) {
    char *p = calloc(n + 64 + sizeof cnn_rooms, 1);
    if (!p) {
        fprintf(stderr, "not enough memory\n");
        exit(1);
    }
    memcpy(p, &cnn_rooms, sizeof cnn_rooms);
    cnn_rooms = p;
    p += sizeof cnn_rooms;
    return p + (64 - (uintptr_t)p % 64) % 64;
}

static void cnn_free_rooms(void) {
    while (cnn_rooms) {
        void *p = cnn_rooms;
        memcpy(&cnn_rooms, p, sizeof cnn_rooms);
        free(p);
    }
}

/* A file's bytes, of which `size` are wanted; the program ends where it has another size. */
static const void *cnn_file(const char *path, size_t size) {
    size_t n = 0;
    void *p = NULL;
#if defined(__unix__) || defined(__APPLE__)
    int f = open(path, O_RDONLY);
    struct stat s;
    if (f >= 0 && fstat(f, &s) == 0 && (n = (size_t)s.st_size) == size) {
        p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, f, 0);
        if (p == MAP_FAILED) p = NULL;
    }
    if (f >= 0) close(f);
#else
    FILE *f = fopen(path, "rb");
    if (f) {
        p = cnn_room(size + 1);
        n = fread(p, 1, size + 1, f);
        fclose(f);
    }
#endif
    if (!p || n != size) {
        fprintf(stderr, "%s: needs %zu bytes, has %zu\n", path, size, n);
        exit(1);
    }
    return p;
}

static size_t cnn_numel(int rank, const int64_t *shape) {
    size_t n = 1;
    int i;
    for (i = 0; i < rank; i++) n *= (size_t)shape[i];
    return n;
}

static void cnn_show(const cnn_port *port, const cnn_tensor *t) {
    size_t n = cnn_numel(t->rank, t->shape), i;
    int k;
    printf("%s [", port->name);
    for (k = 0; k < t->rank; k++) printf("%s%lld", k ? ", " : "", (long long)t->shape[k]);
    printf("]");
    for (i = 0; i < n && i < 8; i++) {
        if (t->type == CNN_FLOAT) printf(" %.6g", (double)((const float *)t->data)[i]);
        else if (t->type == CNN_DOUBLE) printf(" %.9g", ((const double *)t->data)[i]);
        else if (t->type == CNN_INT64) printf(" %lld", (long long)((const int64_t *)t->data)[i]);
        else if (t->type == CNN_INT32) printf(" %ld", (long)((const int32_t *)t->data)[i]);
        else if (t->type == CNN_UINT8 || t->type == CNN_BOOL) printf(" %u", (unsigned)((const uint8_t *)t->data)[i]);
        else if (t->type == CNN_INT8) printf(" %d", (int)((const int8_t *)t->data)[i]);
        else break;
    }
    printf("%s\n", i < n ? " ..." : "");
}

//@ cnn_example: cnn_example_data cnn_type_size
/* The program: each argument is the file of an input, raw numbers in row-major order; an input without one is all
   zeros. size: the extent of what the model leaves open; weights: the file, NULL where they are inside. */
static int cnn_example(const cnn_model *m, const char *weights, int64_t size, int argc, char **argv) {
    cnn_tensor *in = cnn_room((size_t)m->n_in * sizeof *in), *out = cnn_room((size_t)m->n_out * sizeof *out);
    int64_t *sym = cnn_room((size_t)m->n_sym * sizeof *sym + 8);
    cnn_ctx ctx = {0};
    int i, k, status;
    for (i = 0; i < m->n_sym; i++) sym[i] = size;
    for (i = 0; i < m->n_in + m->n_out; i++) {
        const cnn_port *p = i < m->n_in ? &m->in[i] : &m->out[i - m->n_in];
        cnn_tensor *t = i < m->n_in ? &in[i] : &out[i - m->n_in];
        if (p->kind != CNN_TENSOR || p->type == CNN_STRING || m->n_state) {
            fprintf(stderr, "%s is no plain tensor of numbers, which is all that this example handles\n", p->name);
            return 1;
        }
        t->shape = cnn_room((size_t)p->rank * sizeof *t->shape + 8);
        t->type = p->type;
        t->rank = p->rank;
        if (i >= m->n_in && m->out_shape(sym, i - m->n_in, t->shape) != CNN_OK) {
            fprintf(stderr, "the model does not take open dimensions of %lld\n", (long long)size);
            return 1;
        }
        for (k = 0; k < p->rank && i < m->n_in; k++) t->shape[k] = p->dim[k] >= 0 ? p->dim[k] : p->sym[k] >= 0 ? sym[p->sym[k]] : size;
        t->cap = (size_t)cnn_type_size(p->type) * cnn_numel(t->rank, t->shape);
        t->data = i < m->n_in && i + 1 < argc ? (void *)(uintptr_t)cnn_file(argv[i + 1], t->cap) : cnn_room(t->cap);
    }
    ctx.work_size = m->work_size(sym, 1);
    ctx.work = cnn_room(ctx.work_size);
    ctx.weights = weights ? cnn_file(weights, m->weights_size) : NULL;
    ctx.threads = 1;
    status = m->run(&ctx, in, out);
    if (status != CNN_OK) {
        fprintf(stderr, "the model ended with status %d\n", status);
        return 1;
    }
    for (i = 0; i < m->n_out; i++) cnn_show(&m->out[i], &out[i]);
    cnn_free_rooms();
    return 0;
}
//@ end
#endif
