// SPDX-License-Identifier: Apache-2.0
// The table of --profile: what each nest of a model took.
#include <stdlib.h>

#include "run.h"

static int longer_first(const void *a, const void *b) {
    const cnn_profile *x = *(cnn_profile *const *)a, *y = *(cnn_profile *const *)b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

void profile_reset(cnn_profile *p) {
    for (; p && p->name; p++) p->calls = 0, p->seconds = p->work = 0;
}

void profile_print(cnn_profile *p, int runs, double ms, int threads) {
    size_t n = 0;
    double sum = 0;
    while (p[n].name) sum += p[n++].seconds * 1e3 / runs;
    cnn_profile **row = run_alloc((n + 1) * sizeof *row);
    for (size_t i = 0; i < n; i++) row[i] = &p[i];
    qsort(row, n, sizeof *row, longer_first);
    const double peak = peak_gflops();
    printf("%10s %7s %9s %7s %7s  %s\n", "ms", "share", "GFLOP/s", "of peak", "calls", "nest");
    for (size_t i = 0; i < n && row[i]->calls; i++) {
        const cnn_profile *q = row[i];
        char speed[32] = "", part[32] = "";
        if (q->work > 0 && q->seconds > 0) {
            const double gflops = 2e-9 * q->work / q->seconds;
            (void)snprintf(speed, sizeof speed, "%.1f", gflops);
            (void)snprintf(part, sizeof part, "%.0f%%", 100 * gflops / (peak * threads));
        }
        printf("%10.4f %6.1f%% %9s %7s %7.4g  %s\n", q->seconds * 1e3 / runs, 1e5 * q->seconds / runs / ms, speed, part,
               (double)q->calls / runs, q->name);
    }
    printf("%10.4f %6.1f%% %9s %7s %7s  all else\n", ms - sum, 100 * (ms - sum) / ms, "", "", "");
    printf("peak: %.1f GFLOP/s of multiply-adds a thread; what is above it took fewer products than the definition has\n", peak);
    free(row);
}
