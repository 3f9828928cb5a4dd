#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Minimax coefficients of runtime/math.h: Remez's exchange in 60 digits, coefficients then rounded to
float32 from the lowest power up, the rest fitted again after each. Needs mpmath.

    fit.py [NAME[:DEGREE]...]    prints each table with its weighted error (log2), and which of the
                                 coefficients runtime/math.h does not have
"""
import os
import struct
import sys

import mpmath as mp

mp.mp.dps = 60


def to_float(c):
    """The nearest float32 of c."""
    return mp.mpf(struct.unpack('f', struct.pack('f', float(c)))[0])


def remez(f, w, a, b, powers):
    """Coefficients of `powers` with the smallest max |w(x) (f(x) - P(x))| over [a, b], and that maximum."""
    n = len(powers)
    grid = [a + (b - a) * (1 - mp.cos(mp.pi * k / 1200)) / 2 for k in range(1201)]
    grid = [x for x in grid if abs(w(x)) > mp.mpf(10) ** -9]
    fs, ws = [f(x) for x in grid], [w(x) for x in grid]
    at = [round((len(grid) - 1) * k / n) for k in range(n + 1)]
    best = None
    for _ in range(25):
        m, v = mp.matrix(n + 1, n + 1), mp.matrix(n + 1, 1)
        for i, k in enumerate(at):
            for j, p in enumerate(powers):
                m[i, j] = grid[k] ** p
            m[i, n] = (-1) ** i / ws[k]
            v[i] = fs[k]
        c = mp.lu_solve(m, v)
        err = [ws[k] * (fs[k] - sum(c[j] * x ** p for j, p in enumerate(powers)))
               for k, x in enumerate(grid)]
        worst = max(abs(e) for e in err)
        if best is None or worst < best[1]:
            best = [c[j] for j in range(n)], worst
        # one extremum for each run of equal signs, then the n + 1 neighbours with the largest errors
        runs = []
        for k, e in enumerate(err):
            if runs and (e < 0) == (err[runs[-1]] < 0):
                if abs(e) > abs(err[runs[-1]]):
                    runs[-1] = k
            else:
                runs.append(k)
        while len(runs) > n + 1:
            runs.pop(0 if abs(err[runs[0]]) < abs(err[runs[-1]]) else -1)
        if len(runs) < n + 1 or runs == at:
            break
        at = runs
    return best


def fit(f, w, a, b, powers, last):
    """remez, with every coefficient a float32, the last ones rounded together: where one power is left and
    the interval is symmetric, the exchange has no solution."""
    fixed = []
    while len(fixed) < len(powers):
        left = powers[len(fixed):]
        c, err = remez(lambda x: f(x) - sum(c * x ** p for c, p in zip(fixed, powers)), w, a, b, left)
        fixed += [to_float(x) for x in (c[:1] if len(left) > last else c)]
    grid = [a + (b - a) * mp.mpf(k) / 3000 for k in range(3001)]
    err = max(abs(w(x) * (f(x) - sum(c * x ** p for c, p in zip(fixed, powers)))) for x in grid if w(x))
    return fixed, err


def odd(g):
    """(g(x) - x) / x^3 as a function of x^2, and the weight for its relative error."""
    def f(t):
        if t < mp.mpf(10) ** -14:
            return mp.taylor(g, 0, 3)[3]
        x = mp.sqrt(t)
        return (g(x) - x) / x ** 3

    def w(t):
        x = mp.sqrt(t)
        return x ** 3 / g(x) if t else mp.mpf(0)
    return f, w


def tail(g, taylor, k):
    """(g(x) - taylor(x)) / x^k, by its limit near 0."""
    def f(x):
        if abs(x) < mp.mpf(10) ** -12:
            return mp.taylor(g, 0, k)[k]
        return (g(x) - taylor(x)) / x ** k
    return f


L2, Q = mp.log(2) / 2 * mp.mpf('1.0001'), mp.pi / 4 * mp.mpf('1.0001')
R = mp.sqrt(2)


def log_ratio(z):
    """(log((1+s)/(1-s)) / 2s - 1) / z with z = s^2."""
    if z < mp.mpf(10) ** -14:
        return mp.mpf(1) / 3
    s = mp.sqrt(z)
    return (mp.atanh(s) / s - 1) / z


TABLES = {
    'exp': lambda d=5: (tail(mp.exp, lambda r: 1 + r, 2), lambda r: r * r / mp.exp(r), -L2, L2, range(d + 1)),
    'exp2': lambda d=6: (tail(lambda r: 2 ** r, lambda r: mp.mpf(1), 1), lambda r: abs(r),
                         -mp.mpf('.5005'), mp.mpf('.5005'), range(d + 1)),
    'log': lambda d=8: (tail(lambda f: mp.log(1 + f), lambda f: f - f * f / 2, 3), lambda f: abs(f * f),
                        1 / R - 1, R - 1, range(d + 1)),
    'log2': lambda d=2: (lambda z: (log_ratio(z) - mp.mpf(1) / 3) / z if z > mp.mpf(10) ** -14 else mp.mpf(1) / 5,
                         lambda z: z * z, mp.mpf(0), mp.mpf('.02945'), range(d + 1)),
    'sin': lambda d=2: (*odd(mp.sin), mp.mpf(0), Q * Q, range(d + 1)),
    'cos': lambda d=2: (lambda t: (mp.cos(mp.sqrt(t)) - 1 + t / 2) / t ** 2 if t > mp.mpf(10) ** -12 else mp.mpf(1) / 24,
                        lambda t: t * t, mp.mpf(0), Q * Q, range(d + 1)),
    'tan': lambda d=6: (*odd(mp.tan), mp.mpf(0), Q * Q, range(d + 1)),
    'asin': lambda d=5: (*odd(mp.asin), mp.mpf(0), mp.mpf('.2501'), range(d + 1)),
    'atan': lambda d=8: (*odd(mp.atan), mp.mpf(0), mp.mpf(1), range(d + 1)),
    'sinh': lambda d=3: (*odd(mp.sinh), mp.mpf(0), mp.mpf('1.001'), range(d + 1)),
    'tanh': lambda d=5: (*odd(mp.tanh), mp.mpf(0), mp.mpf('.6') ** 2, range(d + 1)),
    'asinh': lambda d=5: (*odd(mp.asinh), mp.mpf(0), mp.mpf('.2501'), range(d + 1)),
    'atanh': lambda d=6: (*odd(mp.atanh), mp.mpf(0), mp.mpf('.2501'), range(d + 1)),
    'erf': lambda d=6: (lambda t: mp.erf(mp.sqrt(t)) / mp.sqrt(t) - 1 if t > mp.mpf(10) ** -20 else 2 / mp.sqrt(mp.pi) - 1,
                        lambda t: mp.sqrt(t) / mp.erf(mp.sqrt(t)) if t else mp.sqrt(mp.pi) / 2,
                        mp.mpf(0), mp.mpf('.8601'), range(d + 1)),
    'erfc': lambda d=8: (lambda a: mp.log(mp.erfc(a)), lambda a: mp.erfc(a) / mp.erf(a),
                         mp.mpf('.925'), mp.mpf('3.95'), range(d + 1)),
}


TOGETHER = 'exp', 'exp2', 'log', 'log2', 'atan', 'tanh'


def main():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'runtime', 'math.h')) as f:
        have = f.read()
    for name in sys.argv[1:] or TABLES:
        name, _, degree = name.partition(':')
        args = TABLES[name](int(degree)) if degree else TABLES[name]()
        c, err = fit(*args[:4], list(args[4]), 3 if name in TOGETHER else 1)
        text = [f'{float(x):.9g}' for x in c]
        print(f'{name}: 2^{float(mp.log(err, 2)):.2f}')
        print('   ', ', '.join(text))
        missing = [t for t in text if t.lstrip('-') + 'f' not in have]
        if missing:
            print('    not in math.h:', ', '.join(missing))


if __name__ == '__main__':
    main()
