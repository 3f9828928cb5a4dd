// SPDX-License-Identifier: Apache-2.0
// Fashion-MNIST for the examples that train: the unpacked files of a folder, in memory.
#ifndef FASHION_DATA_H
#define FASHION_DATA_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 28, PIXELS = SIDE * SIDE, CLASSES = 10 };

static const char *const class_name[CLASSES] = {
    "T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
};

typedef struct { size_t count; uint8_t *pixels, *labels; } Images; // [count][PIXELS], [count]

static inline void fail(const char *what, const char *which) {
    fprintf(stderr, "%s %s\n", what, which);
    exit(1);
}

// Zeroed, at a multiple of 64.
static inline void *memory(size_t size) {
    size = (size + 63) / 64 * 64;
    void *p = aligned_alloc(64, size);
    if (!p) fail("no memory for", "the training");
    memset(p, 0, size);
    return p;
}

static inline uint8_t *read_file(const char *folder, const char *name, size_t skip, size_t *size) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (!f) fail("cannot read", path);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    if (n < (long)skip || fseek(f, (long)skip, SEEK_SET)) fail("too short:", path);
    *size = (size_t)n - skip;
    uint8_t *p = malloc(*size + 1);
    if (!p || fread(p, 1, *size, f) != *size) fail("cannot read", path);
    fclose(f);
    return p;
}

// set: train or t10k
static inline Images read_images(const char *folder, const char *set) {
    char name[64];
    size_t size, labels;
    Images im;
    snprintf(name, sizeof name, "%s-images-idx3-ubyte", set);
    im.pixels = read_file(folder, name, 16, &size);
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", set);
    im.labels = read_file(folder, name, 8, &labels);
    im.count = size / PIXELS;
    if (im.count != labels) fail("images and labels differ in number:", set);
    return im;
}

static inline uint64_t random_bits(uint64_t *s) {
    uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}
#endif
