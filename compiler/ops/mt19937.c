// SPDX-License-Identifier: Apache-2.0
// The Mersenne twister as NumPy's RandomState draws from it: --rng=mt19937. The numbers of a seed are made
// when compiling, as a constant.
#include <math.h>
#include "ops/random.h"

enum { STATE = 624, SHIFT = 397, MOST = 1 << 22 };

typedef struct { uint32_t word[STATE]; int at; bool has_next; double next; } Twister;

static void twister_seed(Twister *t, uint32_t seed) {
    for (uint32_t i = 0; i < STATE; i++) {
        t->word[i] = seed;
        seed = 1812433253u * (seed ^ (seed >> 30)) + i + 1;
    }
    t->at = STATE;
    t->has_next = false;
}

static void twister_turn(Twister *t) {
    for (int i = 0; i < STATE; i++) {
        uint32_t y = (t->word[i] & 0x80000000u) | (t->word[(i + 1) % STATE] & 0x7fffffffu);
        t->word[i] = t->word[(i + SHIFT) % STATE] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    t->at = 0;
}

static uint32_t twister_bits(Twister *t) {
    if (t->at == STATE)
        twister_turn(t);
    uint32_t y = t->word[t->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

// Uniform in [0, 1), of 53 bits.
static double twister_uniform(Twister *t) {
    uint32_t a = twister_bits(t) >> 5, b = twister_bits(t) >> 6;
    return (a * 67108864.0 + b) / 9007199254740992.0;
}

// Normally distributed, by Marsaglia's polar method; numbers come in pairs, the second one first.
static double twister_normal(Twister *t) {
    if (t->has_next) {
        t->has_next = false;
        return t->next;
    }
    double x, y, r;
    do {
        x = 2 * twister_uniform(t) - 1;
        y = 2 * twister_uniform(t) - 1;
        r = x * x + y * y;
    } while (r >= 1 || r == 0);
    double f = sqrt(-2 * log(r) / r);
    t->next = f * x;
    t->has_next = true;
    return f * y;
}

Val *numpy_random(Op *o, bool normal, int64_t seed, int rank, const Ex *shape) {
    int64_t n;
    if (!e_is_const(e_product(rank, shape), &n) || n > MOST)
        op_fail(o, "--rng=mt19937 needs a shape of at most %d elements that is known when compiling", (int)MOST);
    if (seed < 0 || seed > UINT32_MAX)
        op_fail(o, "seed %lld is not one of NumPy's", (long long)seed);
    Twister t;
    Data *d = data_new(F64, (size_t)n);
    twister_seed(&t, (uint32_t)seed);
    for (int64_t i = 0; i < n; i++)
        data_set(d, (size_t)i, (Scalar){.f = normal ? twister_normal(&t) : twister_uniform(&t)});
    return b_const(o->g, d, rank, shape);
}
