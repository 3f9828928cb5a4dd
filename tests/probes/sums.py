# SPDX-License-Identifier: Apache-2.0
"""Reductions at every length around a block of lanes, against NumPy in double precision.

    sums.py --cnncc build/cnncc --build build/probes

One compiled file holds the reductions of one symbolic tensor over its last, its first and its middle
axis; lengths run from 1 over those of whole blocks to some more. Fixed lengths are other files.
"""

import argparse
import pathlib
import sys

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from probes import Compiled, model, rng, tensor, vi

LENGTHS = [1, 2, 7, 8, 9, 15, 16, 31, 32, 33, 63, 64, 65, 100, 129]
REDUCE = {"ReduceSum": np.sum, "ReduceMax": np.max, "ReduceMin": np.min, "ReduceProd": np.prod, "ReduceMean": np.mean}


def build(opt, shape, name):
    nodes, outputs, wants = [], [], []
    for op, f in REDUCE.items():
        for axes in ([2], [0], [1], [1, 2], [0, 1], [0, 1, 2]):
            y = f"{op}_{''.join(map(str, axes))}"
            nodes.append(h.make_node(op, ["x", "a" + "".join(map(str, axes))], [y], keepdims=0))
            outputs.append(vi(y, T.FLOAT, [None] * (3 - len(axes))))
            wants.append((y, f, tuple(axes)))
    for op in ("Softmax", "LogSoftmax"):
        for axis in (0, 1, 2):
            nodes.append(h.make_node(op, ["x"], [f"{op}{axis}"], axis=axis))
            outputs.append(vi(f"{op}{axis}", T.FLOAT, [None] * 3))
            wants.append((f"{op}{axis}", op, axis))
    init = [tensor("a" + "".join(map(str, a)), np.array(a, np.int64)) for a in ([2], [0], [1], [1, 2], [0, 1], [0, 1, 2])]
    m = model(nodes, [vi("x", T.FLOAT, shape)], outputs, init, 18)
    return Compiled(opt, m, name), wants


def want_of(x, f, axes):
    if isinstance(f, str):
        e = np.exp(x - x.max(axes, keepdims=True))
        y = e / e.sum(axes, keepdims=True)
        return np.log(y) if f == "LogSoftmax" else y
    return f(x, axes)


def check(c, wants, shape):
    x = rng.uniform(0.9, 1.1, shape).astype(np.float32)
    if min(shape) > 2:
        x[0, 0, 0], x[-1, -1, -1], x[1, 1, 1] = -np.inf, np.inf, np.nan
    with np.errstate(all="ignore"):
        want = [want_of(x.astype(np.float64), f, axes) for _, f, axes in wants]
    caps = [np.asarray(w).size * 4 for w in want]
    first = None
    for threads in (1, 3):
        status, got, whole = c.call({"x": x}, caps, threads)
        assert status == 0 and whole, f"status {status} at {shape}"
        if first is None:
            first = [g.copy() for g in got]
        for (name, _, _), g, w, one in zip(wants, got, want, first, strict=True):
            same = np.array_equal(g, one, equal_nan=True)
            assert same, f"{name} at {shape}: other bits with {threads} threads"
            assert np.allclose(g, w, rtol=1e-5, atol=1e-5, equal_nan=True), f"{name} at {shape}: {g} is not {w}"


def long_sums(opt):
    """A sum of 100,000 numbers is cut into parts, whatever loop makes it: only the part with the large number errs."""
    n, rows = 100_000, 7
    x, v = np.full((rows, n), 0.055, np.float32), np.ones((n, 24), np.float32)
    x[:, 0] = 1e6  # each number that is added to this one becomes 0.0625
    want = [x.astype(np.float64).sum(1), x.T.astype(np.float64).sum(0), x.astype(np.float64) @ v.astype(np.float64)]
    for dim in (n, "n"):
        nodes = [h.make_node("ReduceSum", ["x", "one"], ["along"], keepdims=0), h.make_node("Transpose", ["x"], ["t"]),
                 h.make_node("Mul", ["t", "t2"], ["u"]), h.make_node("ReduceSum", ["u", "zero"], ["across"], keepdims=0),
                 h.make_node("MatMul", ["x", "v"], ["product"])]
        ins = [vi("x", T.FLOAT, [rows, dim]), vi("t2", T.FLOAT, [dim, rows]), vi("v", T.FLOAT, [dim, 24])]
        outs = [vi("along", T.FLOAT, [rows]), vi("across", T.FLOAT, [rows]), vi("product", T.FLOAT, [rows, 24])]
        init = [tensor("one", np.array([1], np.int64)), tensor("zero", np.array([0], np.int64))]
        c = Compiled(opt, model(nodes, ins, outs, init, 18), f"long_{dim}")
        status, got, whole = c.call({"x": x, "t2": np.ones((n, rows), np.float32), "v": v}, [w.size * 4 for w in want])
        assert status == 0 and whole, f"status {status}"
        for name, g, w in zip(("along", "across", "product"), got, want, strict=True):
            worst = np.abs(g / w - 1).max()
            assert worst < 1e-5, f"{name} of {dim} numbers: off by {worst:.1e}"


def merged(opt):
    """A merged axis that lies in memory in two parts: right at every size, and no quotient in an address."""
    for width in (40, 96, 7):
        nodes = [h.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1, 3]), h.make_node("Reshape", ["t", "shape"], ["r"]),
                 h.make_node("ReduceMax", ["r"], ["most"], keepdims=0), h.make_node("ReduceSum", ["r"], ["sum"], keepdims=0),
                 h.make_node("ReduceMin", ["r", "last"], ["least"], keepdims=0), h.make_node("Sqrt", ["r"], ["root"])]
        init = [tensor("shape", np.array([0, 0, 2 * width])), tensor("last", np.array([2]))]
        outs = [vi(y, T.FLOAT, None) for y in ("most", "sum", "least", "root")]
        c = Compiled(opt, model(nodes, [vi("x", T.FLOAT, ["s", 2, "b", width])], outs, init, 18), f"merged_{width}")
        text = (pathlib.Path(opt.build) / f"merged_{width}.c").read_text()
        assert width < 32 or (f"%{width})" not in text and f"/{width})" not in text), f"a quotient by {width} is left"
        for s, b in ((1, 1), (3, 2), (5, 1), (2, 7)):
            x = rng.uniform(0.5, 1, (s, 2, b, width)).astype(np.float32)
            r = x.astype(np.float64).transpose(0, 2, 1, 3).reshape(s, b, 2 * width)
            want = [r.max(), r.sum(), r.min(2), np.sqrt(r)]
            for threads in (1, 2):
                status, got, whole = c.call({"x": x}, [np.asarray(w).size * 4 for w in want], threads)
                assert status == 0 and whole, f"status {status} at {x.shape}"
                for o, g, w in zip(outs, got, want, strict=True):
                    assert np.allclose(g, w, rtol=1e-5), f"{o.name} at {x.shape}: {g} is not {w}"


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--cnncc", required=True)
    p.add_argument("--build", required=True)
    p.add_argument("--cc", default="clang-19")
    opt = p.parse_args()
    failed = done = 0
    cases = [(["a", "b", "c"], [(n, 5, 4) for n in LENGTHS] + [(4, n, 5) for n in LENGTHS] + [(3, 2, n) for n in LENGTHS])]
    cases += [([n, 33, 70], [(n, 33, 70)]) for n in (1, 5, 40)] + [([4, 96, 7], [(4, 96, 7)]), ([60, 20, 35], [(60, 20, 35)])]
    for i, (shape, sizes) in enumerate(cases):
        try:
            c, wants = build(opt, shape, f"sums{i}")
            for s in sizes:
                check(c, wants, s)
            done += 1
        except (AssertionError, RuntimeError, OSError) as e:
            failed += 1
            print(f"sums {shape}: {e}")
    for case in (long_sums, merged):
        try:
            case(opt)
            done += 1
        except (AssertionError, RuntimeError, OSError) as e:
            failed += 1
            print(f"{case.__name__}: {e}")
    print(f"{done} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
