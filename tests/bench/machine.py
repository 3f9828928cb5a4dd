# SPDX-License-Identifier: Apache-2.0
"""What this machine can do: GFLOP/s of multiply-adds and GB/s of memory, by kernels in C."""

import ctypes
import pathlib
import subprocess
import time

KERNELS = """
#include <stdlib.h>
#include <string.h>
typedef float v __attribute__((vector_size(4 * LANES)));
#if defined __clang__ && LANES > 8 /* or it makes two halves of each vector, as the generated C says */
#pragma clang attribute push(__attribute__((min_vector_width(32 * LANES))), apply_to = function)
#endif
static float chain(long n) {
    v x = {0}, y = {0};
    x += 0.999f, y += 1e-9f;
    v a = x, b = a + x, c = b + x, d = c + x, e = d + x, f = e + x, g = f + x, h = g + x, i = h + x, j = i + x, k = j + x;
    v l = k + x;
    for (long q = 0; q < n; q++) {
        a = a * x + y, b = b * x + y, c = c * x + y, d = d * x + y, e = e * x + y, f = f * x + y;
        g = g * x + y, h = h * x + y, i = i * x + y, j = j * x + y, k = k * x + y, l = l * x + y;
    }
    return (a + b + c + d + e + f + g + h + i + j + k + l)[0];
}
float peak(long n, int threads) {
    float s = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : s)
    for (int t = 0; t < threads; t++) s += chain(n);
    return s;
}
static v *data;
float bandwidth(long n, int threads) { /* reads n vectors */
    if (!data) data = aligned_alloc(64, (size_t)n * sizeof *data), memset(data, 0, (size_t)n * sizeof *data);
    float s = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : s)
    for (int t = 0; t < threads; t++) {
        const v *p = data + n / threads * t;
        v a = {0}, b = {0}, c = {0}, d = {0};
        for (long i = 0; i + 4 <= n / threads; i += 4) a += p[i], b += p[i + 1], c += p[i + 2], d += p[i + 3];
        s += (a + b + c + d)[0];
    }
    return s;
}
#if defined __clang__ && LANES > 8
#pragma clang attribute pop
#endif
"""


def fastest(call, seconds):
    """The shortest time of the calls that fit into some seconds, in s."""
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        t = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - t)
    return best


def build(folder, cc, lanes):
    so = pathlib.Path(folder) / f"machine_{cc}.so"
    src = so.with_suffix(".c")
    src.parent.mkdir(parents=True, exist_ok=True)
    src.write_text(KERNELS)
    subprocess.run([cc, "-O3", "-march=native", "-ffp-contract=fast", "-fopenmp", f"-DLANES={lanes}", "-shared", "-fPIC", "-o", str(so),
                    str(src)], check=True)
    return so


class Machine:
    """Figures by number of threads. lanes: floats in a vector, 0: 16 where the processor has AVX-512, else 8."""

    def __init__(self, folder, cc="clang-19", lanes=0):
        cpu = pathlib.Path("/proc/cpuinfo")
        wide = cpu.exists() and "avx512f" in cpu.read_text()
        self.lanes = lanes or (16 if wide else 8)
        self.lib = ctypes.CDLL(str(build(folder, cc, self.lanes).resolve()))
        self.known = {}

    def peak(self, threads=1):
        """GFLOP/s of float32 multiply-adds, two operations each."""
        n = 1 << 20
        s = fastest(lambda: self.lib.peak(ctypes.c_long(n), threads), 0.2)
        return n * 12 * self.lanes * 2 * threads / s / 1e9

    def bandwidth(self, threads=1):
        """GB/s of reading 256 MB."""
        n = (256 << 20) // (4 * self.lanes)
        s = fastest(lambda: self.lib.bandwidth(ctypes.c_long(n), threads), 0.5)
        return n * 4 * self.lanes / s / 1e9
