# SPDX-License-Identifier: Apache-2.0
"""Sums of products of 8-bit integers by pairs and by fours (opt/dot.c): every form and target gives the exact integers.

    dots.py --cnncc build/cnncc --build build/probes
"""

import copy
import pathlib
import platform

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from probes import CFLAGS, Compiled, close, model, rng, run_all, tensor, vi

WARNINGS = "-Wall -Wextra -Wpedantic -Wconversion -Werror".split()
BASE = [*WARNINGS, *(f for f in CFLAGS if not f.startswith("-march"))]
MARCH = {"native": [*WARNINGS, *CFLAGS], "x86-64-v3": [*BASE, "-march=x86-64-v3"], "plain": BASE, "portable": [*BASE, "-DCNN_PORTABLE"]}
KIND = {np.uint8: T.UINT8, np.int8: T.INT8}


def ways():
    """Targets, flags and compilers: pairs and fours, by instructions for them and without."""
    all_ = [("default", "native", "clang-19"), ("x86-64-v4", "native", "clang-19"), ("x86-64-v4", "plain", "gcc"), ("cortex-m", "plain", "clang-19"),
            ("default", "portable", "gcc"), ("x86-64-v4", "portable", "clang-19")]
    if platform.machine() == "x86_64":
        all_ += [("default", "x86-64-v3", "gcc"), ("x86-64-v4", "x86-64-v3", "clang-19")]
    return all_


def build(opt, m, name, way, *flags):
    o = copy.copy(opt)
    target, march, cc = way
    o.flags, o.cflags, o.cc = ["--target", target, "--weights", "inline", *flags], MARCH[march], cc
    c = Compiled(o, m, name)
    return c, (pathlib.Path(opt.build) / f"{name}.c").read_text()


def numbers(kind, *shape, any_=True):
    lo, hi = (0, 256) if kind is np.uint8 else (-128, 128)
    x = rng.integers(lo, hi, shape)
    if any_ and rng.integers(4) == 0:
        x[...] = (lo, hi - 1)[rng.integers(2)] # the greatest sums
    return x.astype(kind)


def put(m, feeds, name, value, constant):
    """A constant of the model, or one of its inputs."""
    if constant:
        m.graph.initializer.append(tensor(name, value))
    else:
        m.graph.input.append(vi(name, KIND[value.dtype.type], value.shape))
        feeds[name] = value


def check(c, feeds, want, what):
    status, got, whole = c.call(feeds, [want.nbytes])
    assert status == 0 and whole, f"{what}: status {status}"
    assert got[0].shape == want.shape and (got[0] == want).all(), f"{what}: {np.abs(got[0].astype(np.int64) - want).max()} off"


def matrices(opt):
    """MatMulInteger: both types, zero points of every form, constants and inputs on both sides, odd depths, open rows."""
    used = set()
    for i, way in enumerate(ways() * 3):
        rows, depth, width = int(rng.choice([1, 3, 33])), int(rng.choice([8, 9, 31, 64, 300, 1500])), int(rng.choice([1, 7, 64, 100]))
        ta, tb = (np.uint8, np.int8)[rng.integers(2)], (np.uint8, np.int8)[rng.integers(2)]
        a, b = numbers(ta, rows, depth), numbers(tb, depth, width)
        za, zb = numbers(ta, 1)[0], numbers(tb, *[(), (width,)][rng.integers(2)])
        m = model([h.make_node("MatMulInteger", ["a", "b", "za", "zb"], ["y"])], [vi("a", KIND[ta], ["n", depth])], [vi("y", T.INT32, ["n", width])])
        feeds = {"a": a}
        put(m, feeds, "b", b, rng.integers(3))
        put(m, feeds, "za", za, rng.integers(2))
        put(m, feeds, "zb", np.asarray(zb, tb), rng.integers(2))
        c, text = build(opt, m, f"dot_mat_{i}", way)
        used |= {f for f in ("cnn_dot2_x", "cnn_dot4_x") if f in text}
        want = ((a.astype(np.int64) - za) @ (b.astype(np.int64) - zb)).astype(np.int32)
        check(c, feeds, want, f"{way}, {rows}x{depth}x{width}, {ta.__name__} {tb.__name__}")
    assert used == {"cnn_dot2_x", "cnn_dot4_x"}, f"only {used} in the C"


def convolve(x, w, stride, pad, group):
    """The sums of integers that a convolution is, with zeros around x."""
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    k, per = w.shape[2], w.shape[0] // group
    high, wide = (x.shape[2] - k) // stride + 1, (x.shape[3] - k) // stride + 1
    y = np.zeros((x.shape[0], w.shape[0], high, wide), np.int64)
    for g in range(group):
        part = x[:, g * w.shape[1]:(g + 1) * w.shape[1]]
        for i in range(k):
            for j in range(k):
                at = part[:, :, i:i + stride * (high - 1) + 1:stride, j:j + stride * (wide - 1) + 1:stride]
                y[:, g * per:(g + 1) * per] += np.einsum("nchw,oc->nohw", at, w[g * per:(g + 1) * per, :, i, j])
    return y


def convolutions(opt):
    """ConvInteger: groups, strides, padding, whose zeros are zero points, a few channels and many."""
    for i, way in enumerate(ways() * 3):
        group = int(rng.choice([1, 1, 2]))
        channels, filters = group * int(rng.choice([1, 3, 8, 20])), group * int(rng.choice([4, 17]))
        k, stride, pad = int(rng.choice([1, 3])), int(rng.choice([1, 2])), int(rng.choice([0, 1]))
        x, w = numbers(np.uint8, 2, channels, 9, 7), numbers((np.uint8, np.int8)[rng.integers(2)], filters, channels // group, k, k)
        zx, zw = numbers(np.uint8, 1)[0], numbers(w.dtype.type, 1)[0]
        m = model([h.make_node("ConvInteger", ["x", "w", "zx", "zw"], ["y"], kernel_shape=[k, k], strides=[stride] * 2, pads=[pad] * 4, group=group)],
                  [vi("x", T.UINT8, ["n", channels, 9, 7])], [vi("y", T.INT32, ["n", filters, None, None])])
        feeds = {"x": x}
        put(m, feeds, "w", w, rng.integers(3))
        put(m, feeds, "zx", zx, rng.integers(2))
        put(m, feeds, "zw", zw, rng.integers(2))
        c, _ = build(opt, m, f"dot_conv_{i}", way)
        want = convolve(x.astype(np.int64) - zx, w.astype(np.int64) - zw, stride, pad, group).astype(np.int32)
        check(c, feeds, want, f"{way}, {channels} to {filters} in {group}, {k}x{k} by {stride}, padded {pad}")


def dequantized(opt):
    """Scales outside of the sum: by tensor and by channel, in convolutions and products; --exact keeps the floats."""
    for i, way in enumerate(ways()):
        x, w = numbers(np.uint8, 2, 12, 8, 8), numbers(np.int8, 10, 12, 3, 3, any_=False)
        zx, s, t = np.uint8(rng.integers(256)), np.float32(0.02), (0.01 * rng.random(10) + 0.001).astype(np.float32)
        v, u = numbers(np.int8, 10, 24, any_=False), np.float32(0.004)
        q = [h.make_node("DequantizeLinear", ["x", "s", "zx"], ["xf"]), h.make_node("DequantizeLinear", ["w", "t"], ["wf"], axis=0),
             h.make_node("Conv", ["xf", "wf"], ["c"], pads=[1] * 4), h.make_node("ReduceMean", ["c"], ["p"], axes=[2, 3], keepdims=0),
             h.make_node("QuantizeLinear", ["p", "s", "zx"], ["pq"]), h.make_node("DequantizeLinear", ["pq", "s", "zx"], ["pf"]),
             h.make_node("DequantizeLinear", ["v", "u"], ["vf"]), h.make_node("MatMul", ["pf", "vf"], ["y"])]
        m = model(q, [vi("x", T.UINT8, ["n", 12, 8, 8])], [vi("c", T.FLOAT, ["n", 10, 8, 8]), vi("y", T.FLOAT, ["n", 24])],
                  [tensor("w", w), tensor("s", s), tensor("zx", zx), tensor("t", t), tensor("v", v), tensor("u", u)])
        conv = convolve(x.astype(np.int64) - zx, w.astype(np.int64), 1, 1, 1) * np.float64(s) * t.astype(np.float64)[None, :, None, None]
        steps = np.clip(np.rint(conv.mean((2, 3)) / s) + zx, 0, 255) - np.float64(zx)
        y = (steps * np.float64(s)) @ (v * np.float64(u))
        for flags in ((), ("--exact",)):
            c, text = build(opt, m, f"dot_qdq_{i}", way, *flags)
            assert bool(flags) != ("cnn_dot" in text), "the integers are not used" if not flags else "--exact changes sums"
            status, got, whole = c.call({"x": x}, [conv.size * 4, y.size * 4])
            assert status == 0 and whole, f"status {status}"
            close(got[0], conv, 1e-6)
            close(got[1], y, 1e-6)


if __name__ == "__main__":
    run_all([(f.__name__, f) for f in (matrices, convolutions, dequantized)], __doc__)
