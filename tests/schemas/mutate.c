// SPDX-License-Identifier: Apache-2.0
//
// Damages a model in many ways, the same on every machine, and reads each through wire_scan and
// protobuf-c. To be built with sanitizers, protobuf-c included. The test is that nothing goes wrong: a
// refusal is fine, and so is a model that is still one, but what the scan lets through protobuf-c must
// be able to unpack, unless the memory limit ends it.
//
//   mutate MODEL.onnx [COUNT [SEED]]
#include "import/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;

// splitmix64 (Steele, Lea, Flood 2014); below n.
static size_t random_below(size_t n) {
    uint64_t z = state += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return n > 0 ? (size_t)((z ^ (z >> 31)) % n) : 0;
}

static uint8_t *read_file(const char *name, size_t *n) {
    FILE *f = fopen(name, "rb");
    if (f == NULL || fseek(f, 0, SEEK_END) != 0) {
        return NULL;
    }
    long size = ftell(f);
    rewind(f);
    uint8_t *data = size >= 0 ? malloc((size_t)size + 1) : NULL;
    *n = data != NULL ? fread(data, 1, (size_t)size, f) : 0;
    fclose(f);
    return data;
}

// A damaged copy of the input: a few bytes changed, a range cut out or doubled, or the end missing.
// Most changes go to the first bytes, where the structure of a small model is.
static uint8_t *damage(const uint8_t *in, size_t n, size_t *out_len) {
    size_t at = random_below(n), len = random_below(2) == 0 ? random_below(8) : random_below(n - at + 1);
    if (len > n - at) {
        len = n - at;
    }
    uint8_t *out = malloc(2 * n + 1);
    if (out == NULL) {
        exit(1);
    }
    memcpy(out, in, n);
    *out_len = n;
    switch (random_below(6)) {
    case 0:
        memmove(out + at, out + at + len, n - at - len);
        *out_len = n - len;
        break;
    case 1:
        memcpy(out + at + len, in + at, n - at);
        *out_len = n + len;
        break;
    case 2:
        *out_len = at;
        break;
    default:
        for (size_t k = 1 + random_below(4); k > 0; k--) {
            size_t where = random_below(random_below(2) == 0 && n > 600 ? 600 : n);
            static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x3a, 0x2a, 0x4a};
            out[where] = random_below(2) == 0 ? values[random_below(sizeof values)]
                                              : (uint8_t)(out[where] ^ (1U << random_below(8)));
        }
    }
    uint8_t *exact = realloc(out, *out_len > 0 ? *out_len : 1); // so that reads past the end are seen
    return exact != NULL ? exact : out;
}

// 0: refused by the scan. 1: unpacked. -1: let through, but refused by protobuf-c.
static int try_model(const uint8_t *file, size_t n) {
    WireBudget budget = wire_budget(n);
    uint8_t *copy;
    size_t len;
    char err[400];
    if (wire_scan(file, n, &budget, &copy, &len, err, sizeof err) != WIRE_OK) {
        return 0;
    }
    WireAllocator a;
    wire_allocator(&a, wire_memory_limit(n) - len);
    Onnx__ModelProto *m = onnx__model_proto__unpack(&a.base, len, copy);
    free(copy);
    int result = m != NULL || a.refused ? 1 : -1;
    for (size_t i = 0; m != NULL && m->graph != NULL && i < m->graph->n_initializer; i++) {
        const Onnx__TensorProto *t = m->graph->initializer[i];
        const uint8_t *data;
        size_t data_len;
        if (t->has_raw_data && !wire_raw_data(&t->raw_data, file, n, &data, &data_len)) {
            result = -1;
        }
    }
    if (m != NULL) {
        onnx__model_proto__free_unpacked(m, &a.base);
    }
    return a.used == 0 ? result : -1;
}

int main(int argc, char **argv) {
    size_t n = 0, passed = 0;
    uint8_t *in = argc > 1 ? read_file(argv[1], &n) : NULL;
    if (in == NULL || n == 0) {
        fprintf(stderr, "usage: mutate MODEL.onnx [COUNT [SEED]]\n");
        return 2;
    }
    long count = argc > 2 ? strtol(argv[2], NULL, 10) : 5000;
    state = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    for (long i = 0; i < count; i++) {
        size_t len;
        uint8_t *file = damage(in, n, &len);
        int result = try_model(file, len);
        free(file);
        if (result < 0) {
            fprintf(stderr, "mutation %ld: protobuf-c and the scan disagree\n", i);
            free(in);
            return 1;
        }
        passed += (size_t)result;
    }
    printf("%ld mutations, %zu still messages\n", count, passed);
    int whole = try_model(in, n);
    free(in);
    return whole == 1 && passed < (size_t)count ? 0 : 1;
}
