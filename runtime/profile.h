// SPDX-License-Identifier: Apache-2.0
// What cnncc --profile puts into generated code: the time of every nest, for cnncc-run --profile.
#ifndef CNN_RUNTIME_PROFILE_H
#define CNN_RUNTIME_PROFILE_H
#include <stdint.h>
#include <time.h>

//@ cnn_profile: #time
/* One nest: the nodes it came from; the tiles of its contractions, "KEY FORM;" each; its calls, seconds and
   multiply-adds since they were last set to 0. */
typedef struct { const char *name, *tiles; int64_t calls; double seconds, work; } cnn_profile;

static inline double cnn_profile_now(void) {
    struct timespec t;
    (void)timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline void cnn_profile_add(cnn_profile *p, double start, double work) {
    p->calls++;
    p->seconds += cnn_profile_now() - start;
    p->work += work;
}
//@ end
#endif
