// SPDX-License-Identifier: Apache-2.0
// What the tiler knows of machines: target.def by name.
#include "loop/loop.h"
#include <string.h>

static const Target targets[] = {
#define TARGET(name, lanes, registers, mr, nv, l1, l2, wide, feed, dot) {name, lanes, registers, mr, nv, l1, l2, wide, feed, dot},
#include "target/target.def"
#undef TARGET
};

// The row that fits the machine the compiler runs on; only when asked for by name.
static const char *native(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512vl")) { // AMD's from the fifth generation on work on 64 bytes at a time
        bool halves = __builtin_cpu_is("amd") && !__builtin_cpu_supports("avx512vp2intersect");
        return halves ? "znver4" : "x86-64-v4";
    }
    if (__builtin_cpu_supports("avx2")) return "x86-64-v3";
    return "x86-64";
#elif defined(__aarch64__)
    return "aarch64";
#else
    return "generic";
#endif
}

const Target *target_find(const char *name) {
    if (!name) return &targets[0];
    if (!strcmp(name, "native")) name = native();
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        if (!strcmp(targets[i].name, name)) return &targets[i];
    return NULL;
}
