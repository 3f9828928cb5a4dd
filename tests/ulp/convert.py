#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares runtime/types.h with ml_dtypes and numpy: every code decoded; encoded: a dense sample of all
floats, every value of the type, every midpoint of two neighbours, and the floats next to those.

    convert.py [CC]"""
import ctypes
import os
import subprocess
import sys
import tempfile

import ml_dtypes as ml
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
HEADER = os.path.join(HERE, '..', '..', 'runtime', 'types.h')

# name, numpy type, bits, takes a saturate flag
TYPES = [('f16', np.float16, 16, 0), ('bf16', ml.bfloat16, 16, 0),
         ('e4m3fn', ml.float8_e4m3fn, 8, 1), ('e4m3fnuz', ml.float8_e4m3fnuz, 8, 1),
         ('e5m2', ml.float8_e5m2, 8, 1), ('e5m2fnuz', ml.float8_e5m2fnuz, 8, 1),
         ('e2m1', ml.float4_e2m1fn, 4, 0), ('e2m3', ml.float6_e2m3fn, 6, 0), ('e3m2', ml.float6_e3m2fn, 6, 0)]


def source():
    s = [f'#include "{HEADER}"']
    for name, _, bits, sat in TYPES + [('e8m0', ml.float8_e8m0fnu, 8, 2)]:
        u = 'uint16_t' if bits == 16 else 'uint8_t'
        extra = ['', ', s', ', s, mode'][sat]
        s.append(f'void d_{name}(float *y, const {u} *x, long n) '
                 f'{{ for (long i = 0; i < n; i++) y[i] = cnn_{name}_to_f32(x[i]); }}')
        s.append(f'void e_{name}({u} *y, const float *x, long n, int s, int mode) '
                 f'{{ (void)s; (void)mode; for (long i = 0; i < n; i++) y[i] = cnn_f32_to_{name}(x[i]{extra}); }}')
        s.append(f'void o_{name}({u} *y, const double *x, long n, int s, int mode) '
                 f'{{ (void)s; (void)mode; for (long i = 0; i < n; i++) '
                 f'y[i] = cnn_f32_to_{name}(cnn_f64_to_odd(x[i]){extra}); }}')
    return '\n'.join(s)


def build(cc, folder):
    c, so = os.path.join(folder, 't.c'), os.path.join(folder, 't.so')
    with open(c, 'w') as f:
        f.write(source())
    subprocess.check_call([*cc.split(), '-O2', '-shared', '-fPIC', c, '-o', so])
    return ctypes.CDLL(so)


def call(fn, x, dtype, *args):
    x = np.ascontiguousarray(x)
    y = np.empty(len(x), dtype)
    fn(y.ctypes.data_as(ctypes.c_void_p), x.ctypes.data_as(ctypes.c_void_p), ctypes.c_long(len(x)), *args)
    return y


def same(a, b):
    """Equal as floats, zeros by sign, any NaN a NaN."""
    return (np.isnan(a) & np.isnan(b)) | ((a == b) & (np.signbit(a) == np.signbit(b)))


def check(what, ok, x):
    if not ok.all():
        bad = np.flatnonzero(~ok)
        print(f'FAIL {what}: {len(bad)} of {len(ok)}, first at {x[bad[0]]!r}')
    return 0 if ok.all() else 1


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder, np.errstate(all='ignore'):
        lib = build(sys.argv[1] if len(sys.argv) > 1 else 'cc', folder)
        dense = np.arange(0, 2 ** 32, 977, dtype=np.uint64).astype(np.uint32).view(np.float32)
        for name, t, bits, sat in TYPES:
            u = np.uint16 if bits == 16 else np.uint8
            codes = np.arange(2 ** bits, dtype=np.uint32).astype(u)
            want = codes.view(t).astype(np.float32)
            failed += check(name + ' decode', same(call(lib[f'd_{name}'], codes, np.float32), want), codes)
            v = np.unique(want[np.isfinite(want)].astype(np.float64))
            top = v[-1] + (v[-1] - v[-2]) * np.array([.25, .5, .75, 1])
            mid = np.concatenate([v, (v[1:] + v[:-1]) / 2, top, -top])
            x = mid.astype(np.float32)
            x = np.concatenate([dense, x, np.nextafter(x, np.float32(np.inf)), np.nextafter(x, -np.float32(np.inf))])
            d = np.concatenate([mid, np.nextafter(mid, np.inf), np.nextafter(mid, -np.inf), mid * (1 + 2.0 ** -40),
                                [1e300, -1e300, 1e-300, -1e-300, np.nan, np.inf, -np.inf]])
            for s in ([0, 1] if sat else [0]):
                limit = float(ml.finfo(t).max)
                for kind, y in (('e', x), ('o', d)):
                    got = call(lib[f'{kind}_{name}'], y, u, s, 0).view(t).astype(np.float32)
                    r = np.clip(y, -limit, limit) if s else y
                    if kind == 'e' or name == 'f16': # numpy rounds a double to float16 once
                        ref = r.astype(t).astype(np.float32)
                    else: # the nearest value, by search in v; ties to the even code
                        ref = nearest(r, v, t, name)
                    nan = np.isnan(y) & (bits < 8)  # no NaN in these types: zero
                    failed += check(f'{name} encode {kind} saturate={s}', same(got, ref) | (nan & (got == 0)), y)
        failed += e8m0(lib, dense)
    print('convert:', 'FAILED' if failed else 'all equal')
    return failed != 0


def nearest(r, v, t, name):
    """r rounded once to the type, by comparing with exact midpoints."""
    a = np.abs(r)
    p = v[v >= 0]
    step = p[-1] - p[-2]
    q = np.append(p, p[-1] + step)
    mid = (q[1:] + q[:-1]) / 2
    lo = np.searchsorted(mid, a, 'left')
    hi = np.searchsorted(mid, a, 'right')
    k = np.where(lo == hi, lo, np.where(lo % 2 == 0, lo, hi))  # q[i] has code i
    inf = {'bf16': np.inf, 'e5m2': np.inf, 'e4m3fn': np.nan, 'e4m3fnuz': np.nan, 'e5m2fnuz': np.nan}
    q[-1] = inf.get(name, p[-1])
    y = q[np.minimum(k, len(q) - 1)].astype(np.float32)
    y = np.where(np.isinf(a), np.float32(q[-1]), y)
    y = np.where(np.isnan(r), np.float32(np.nan), y)
    y = np.copysign(y, r).astype(np.float32)
    return np.where(y == 0, np.float32(0), y) if name.endswith('fnuz') else y


def e8m0(lib, dense):
    """By the table of ONNX's Cast: exact comparison in double."""
    codes = np.arange(256, dtype=np.uint32).astype(np.uint8)
    want = codes.view(ml.float8_e8m0fnu).astype(np.float32)
    failed = check('e8m0 decode', same(call(lib.d_e8m0, codes, np.float32), want), codes)
    x = np.abs(dense)
    v = want[:-1].astype(np.float64)
    x = np.concatenate([x, v, v[:-1] * 1.5, v[:-1] * 1.25, np.nextafter(v.astype(np.float32), np.float32(0)),
                        np.nextafter(v.astype(np.float32), np.float32(np.inf))]).astype(np.float32)
    x = np.concatenate([x, [np.float32(np.nan), np.float32(np.inf), np.float32(0)]])
    a = np.where(np.isfinite(x) & (x > 0), x, 1).astype(np.float64)
    f = np.floor(np.log2(a))
    f = np.where(2.0 ** f > a, f - 1, np.where(2.0 ** (f + 1) <= a, f + 1, f))
    for mode in (0, 1, 2):
        e = [f + (a / 2.0 ** f >= 1.5), f + (a > 2.0 ** f), f][mode]
        for s in (0, 1):
            c = np.where(e > 127, 254 if s else 255, np.clip(e + 127, 0, 254))
            c = np.where(a < 2.0 ** -127, 0 if s else 255, c)
            c = np.where(np.isnan(x), 255, np.where(np.isinf(x), 254 if s else 255, c))
            c = np.where(x == 0, 0 if s else 255, c)
            failed += check(f'e8m0 encode saturate={s} mode={mode}', call(lib.e_e8m0, x, np.uint8, s, mode) == c, x)
    return failed


if __name__ == '__main__':
    sys.exit(main())
