# SPDX-License-Identifier: Apache-2.0
"""Axes and steps that are inputs of the compiled function, against NumPy; and axes that do not exist.

    axes_at_run.py --cnncc build/cnncc --build build/probes
"""

import itertools

import numpy as np
from dynamic_sizes import ESHAPE, floats, i64, node
from onnx import TensorProto as T
from probes import Compiled, close, model, rng, run_all, vi

EINDEX = 5
SHAPE = (2, 3, 1, 4)


def run(c, feeds, want):
    status, got, whole = c.call(feeds, [want.nbytes])
    assert status == 0 and whole, f"{feeds['axes']}: status {status}"
    close(got[0], want)


def refused(c, feeds, status):
    got, _, whole = c.call(feeds, [4096])
    assert got == status and whole, f"axes {feeds['axes']}: status {got}, not {status}"


def reduced(opt):
    """Every set of axes of a reduction in the middle of a graph, kept and removed, one extent a symbol."""
    forms = {"ReduceSum": (13, np.sum), "ReduceMax": (18, np.max), "ReduceMean": (18, np.mean), "ReduceProd": (18, np.prod),
             "ReduceLogSumExp": (18, lambda x, axis, keepdims: np.log(np.exp(x).sum(axis=axis, keepdims=keepdims)))}
    for op, (opset, f) in forms.items():
        for n, keep in itertools.product((1, 2, 4), (0, 1)):
            rank = 4 if keep else 4 - n
            m = model([node("Neg", ["x"], ["u"]), node(op, ["u", "axes"], ["v"], keepdims=keep), node("Neg", ["v"], ["y"])],
                      [vi("x", T.FLOAT, [2, "n", 1, 4]), vi("axes", T.INT64, [n])],
                      [vi("y", T.FLOAT, [f"d{i}" for i in range(rank)])], opset=opset)
            c = Compiled(opt, m, f"axes_{op}_{n}_{keep}")
            x = floats(*SHAPE)
            for axes in itertools.combinations(range(4), n):
                signed = [a - 4 * int(rng.integers(2)) for a in rng.permutation(axes)]
                run(c, {"x": x, "axes": i64(*signed)}, -f(-x, axis=axes, keepdims=bool(keep)))
            refused(c, {"x": x, "axes": i64(4, *range(n - 1))}, EINDEX)
            refused(c, {"x": x, "axes": i64(-5, *range(n - 1))}, EINDEX)
            if n > 1:
                refused(c, {"x": x, "axes": i64(1, -3, *range(2, n))}, ESHAPE)


def empty(opt):
    """A list of axes whose length is a symbol: none of them means all, or none."""
    for noop in (0, 1):
        m = model([node("ReduceSum", ["x", "axes"], ["y"], noop_with_empty_axes=noop)],
                  [vi("x", T.FLOAT, SHAPE), vi("axes", T.INT64, ["n"])], [vi("y", T.FLOAT, list("abcd"))])
        c = Compiled(opt, m, f"axes_empty_{noop}")
        x = floats(*SHAPE)
        run(c, {"x": x, "axes": i64()}, x if noop else x.sum(keepdims=True))
        run(c, {"x": x, "axes": i64(3, 0)}, x.sum((0, 3), keepdims=True))


def thin(opt):
    x = floats(1, 3, 1, 4)
    m = model([node("Squeeze", ["x", "axes"], ["y"])], [vi("x", T.FLOAT, x.shape), vi("axes", T.INT64, [1])],
              [vi("y", T.FLOAT, list("abc"))])
    c = Compiled(opt, m, "axes_squeeze")
    for a in (0, 2, -2, -4):
        run(c, {"x": x, "axes": i64(a)}, np.squeeze(x, a))
    refused(c, {"x": x, "axes": i64(1)}, ESHAPE)
    refused(c, {"x": x, "axes": i64(7)}, EINDEX)
    m = model([node("Unsqueeze", ["x", "axes"], ["y"])], [vi("x", T.FLOAT, x.shape), vi("axes", T.INT64, [2])],
              [vi("y", T.FLOAT, list("abcdef"))])
    c = Compiled(opt, m, "axes_unsqueeze")
    for axes in itertools.permutations(range(6), 2):
        run(c, {"x": x, "axes": i64(axes[0], axes[1] - 6)}, np.expand_dims(x, axes))
    refused(c, {"x": x, "axes": i64(0, 6)}, EINDEX)
    refused(c, {"x": x, "axes": i64(0, 0)}, ESHAPE)


def sliced(opt):
    m = model([node("Slice", ["x", "b", "e", "axes", "s"], ["y"])],
              [vi("x", T.FLOAT, [5, "n", 6])] + [vi(k, T.INT64, [2]) for k in ("b", "e", "axes", "s")],
              [vi("y", T.FLOAT, list("abc"))])
    c = Compiled(opt, m, "axes_slice")
    big = 2**63 - 1
    for _ in range(60):
        x, axes = floats(5, 4, 6), rng.permutation(3)[:2]
        b, e = rng.integers(-9, 10, 2), rng.integers(-9, 10, 2)
        s = rng.choice([-big - 1, -3, -2, -1, 1, 2, 7, big], 2)
        e = np.where(rng.random(2) < 0.3, rng.choice([-big - 1, big], 2), e)
        n = np.array(x.shape)[axes]
        rows = np.where((s < 0) & (b < -n), -n, b)  # ONNX moves such a start to the first element, NumPy does not
        at = [slice(None)] * 3
        for a, *v in zip(axes, rows, e, s, strict=True):
            at[a] = slice(*(int(i) for i in v))
        run(c, {"x": x, "b": b, "e": e, "axes": axes - 3 * (rng.random(2) < 0.5), "s": s}, x[tuple(at)])
    zeros = i64(0, 0)
    refused(c, {"x": x, "b": zeros, "e": zeros, "axes": i64(0, 1), "s": i64(1, 0)}, ESHAPE)
    refused(c, {"x": x, "b": zeros, "e": zeros, "axes": i64(0, 3), "s": i64(1, 1)}, EINDEX)


def padded(opt):
    m = model([node("Pad", ["x", "pads", "", "axes"], ["y"])],
              [vi("x", T.FLOAT, SHAPE), vi("pads", T.INT64, [4]), vi("axes", T.INT64, [2])], [vi("y", T.FLOAT, list("abcd"))],
              opset=18)
    c = Compiled(opt, m, "axes_pad")
    for axes in itertools.permutations(range(4), 2):
        x, pads, widths = floats(*SHAPE), rng.integers(0, 3, 4), [(0, 0)] * 4
        for k, a in enumerate(axes):
            widths[a] = (pads[k], pads[2 + k])
        run(c, {"x": x, "pads": pads, "axes": i64(axes[0] - 4, axes[1])}, np.pad(x, widths))
    refused(c, {"x": x, "pads": i64(1, 1, 1, 1), "axes": i64(0, 4)}, EINDEX)


def scanned(opt):
    for shape, axis_shape in ((SHAPE, []), ((7,), [1])):
        m = model([node("Abs", ["x"], ["u"]), node("CumSum", ["u", "axes"], ["v"], reverse=1), node("Neg", ["v"], ["y"])],
                  [vi("x", T.FLOAT, ["n", *shape[1:]]), vi("axes", T.INT32, axis_shape)],
                  [vi("y", T.FLOAT, ["n", *shape[1:]])])
        c = Compiled(opt, m, f"axes_scan_{len(shape)}")
        x = floats(*shape)
        for a in range(-len(shape), len(shape)):
            want = -np.flip(np.cumsum(np.flip(np.abs(x), a), a), a)
            run(c, {"x": x, "axes": np.full(axis_shape, a, np.int32)}, want)
        for a in (len(shape), -len(shape) - 1):
            refused(c, {"x": x, "axes": np.full(axis_shape, a, np.int32)}, EINDEX)


def transformed(opt):
    x = floats(2, 6, 5, 1)
    for onesided in (0, 1):
        m = model([node("DFT", ["x", "", "axes"], ["y"], onesided=onesided)],
                  [vi("x", T.FLOAT, x.shape), vi("axes", T.INT64, [])], [vi("y", T.FLOAT, list("abcd"))], opset=20)
        c = Compiled(opt, m, f"axes_dft_{onesided}")
        for a in (0, 1, 2, -2, -3):
            f = (np.fft.rfft if onesided else np.fft.fft)(x[..., 0], axis=a if a >= 0 else a + 1)
            run(c, {"x": x, "axes": np.array(a)}, np.stack([f.real, f.imag], -1).astype(np.float32))
        refused(c, {"x": x, "axes": np.array(3)}, EINDEX)


if __name__ == "__main__":
    run_all([(f.__name__, f) for f in (reduced, empty, thin, sliced, padded, scanned, transformed)], __doc__)
