# SPDX-License-Identifier: Apache-2.0
"""Products with a number of rows that only the run knows: one row, which has a form of its own, every number up to
some tiles, whose last one may go past the end, and Winograd's blocks of few tiles, against onnxruntime.

    open_rows.py --cnncc build/cnncc --build build/probes
"""

import copy
import pathlib

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh
from probes import Compiled, close, model, rng, run_all, vi


def floats(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def check(c, given):
    want = c.reference(given)
    for threads in (1, 2):
        status, got, whole = c.call(given, [w.nbytes for w in want], threads)
        assert status == 0 and whole, f"status {status}"
        for g, w in zip(got, want, strict=True):
            close(g, w)


def products(opt):
    """Widths of one panel, of whole panels and of a part of one; short sums, and one that goes in blocks for many rows."""
    for width, depth in ((1, 8), (24, 40), (96, 33), (129, 64), (257, 700), (1000, 50)):
        m = model([h.make_node("MatMul", ["x", "w"], ["p"]), h.make_node("Add", ["p", "b"], ["q"]), h.make_node("Relu", ["q"], ["y"])],
                  [vi("x", T.FLOAT, ["n", depth])], [vi("y", T.FLOAT, ["n", width])])
        m.graph.initializer.extend([nh.from_array(floats(depth, width), "w"), nh.from_array(floats(width), "b")])
        c = Compiled(opt, m, f"one_row_{width}")
        for n in (1, 2, 7):
            check(c, {"x": floats(n, depth)})


def windows(opt):
    """A convolution of which one output row is left, with and without padding, for an open batch."""
    for pad in (0, 1):
        m = model([h.make_node("Conv", ["x", "w", "b"], ["y"], kernel_shape=[3], pads=[pad, pad], strides=[2])],
                  [vi("x", T.FLOAT, ["n", 20, "t"])], [vi("y", T.FLOAT, ["n", 70, "u"])])
        m.graph.initializer.extend([nh.from_array(floats(70, 20, 3), "w"), nh.from_array(floats(70), "b")])
        c = Compiled(opt, m, f"one_row_conv_{pad}")
        for n, t in ((1, 3), (2, 4), (1, 1 + 2 * (1 - pad)), (1, 9)):
            check(c, {"x": floats(n, 20, t)})


def every_number(opt):
    """Each row has the bits that it has among 40: with a residual added in place, long sums in blocks, an operand that
    is packed by rows, one that is no constant, and integers."""
    nodes = [h.make_node("MatMul", ["x", "w"], ["p"]), h.make_node("Exp", ["r"], ["e"]), h.make_node("Add", ["p", "e"], ["y"]),
             h.make_node("Transpose", ["t"], ["tt"], perm=[1, 0]), h.make_node("MatMul", ["tt", "v"], ["packed"]),
             h.make_node("MatMul", ["x", "d"], ["data"]), h.make_node("MatMulInteger", ["q", "i"], ["whole"])]
    init = [nh.from_array(floats(600, 50), "w"), nh.from_array(floats(300, 200), "v"),
            nh.from_array(rng.integers(-127, 128, (64, 40), np.int8), "i")]
    ins = [vi("x", T.FLOAT, ["n", 600]), vi("r", T.FLOAT, ["n", 50]), vi("t", T.FLOAT, [300, "n"]), vi("d", T.FLOAT, [600, 33]),
           vi("q", T.UINT8, ["n", 64])]
    outs = [vi(y, T.INT32 if y == "whole" else T.FLOAT, None) for y in ("y", "packed", "data", "whole")]
    m = model(nodes, ins, outs, init)
    all_ = {"x": floats(40, 600), "r": floats(40, 50), "t": floats(300, 40), "d": floats(600, 33),
            "q": rng.integers(0, 256, (40, 64), np.uint8)}
    for target in ("default", "x86-64-v4", "cortex-m"):
        at = copy.copy(opt)
        at.flags = ["--target", target]
        c = Compiled(at, m, f"open_rows_{target}")
        check(c, all_)
        want = c.call(all_, [1 << 20] * 4)[1]
        want = [w.copy() for w in want]
        for n in range(1, 40):
            some = {k: v[:, :n] if k == "t" else v if k == "d" else v[:n] for k, v in all_.items()}
            for threads in (1, 2):
                status, got, whole = c.call(some, [w[:n].nbytes for w in want], threads)
                assert status == 0 and whole, f"status {status} for {n} rows"
                for o, g, w in zip(outs, got, want, strict=True):
                    assert np.array_equal(g, w[:n]), f"{o.name} of {n} rows for {target} is not that of 40"


def tiles(opt):
    """3x3 convolutions by Winograd of which the sizes are open: few tiles, as many as a block has, and more."""
    nodes = [h.make_node("Conv", ["x", "w1"], ["a"]), h.make_node("Conv", ["a", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
             h.make_node("Conv", ["c", "w2"], ["y"])]
    m = model(nodes, [vi("x", T.FLOAT, ["n", 3, "h", "v"])], [vi("y", T.FLOAT, ["n", 5, "h", "v"])])
    m.graph.initializer.extend([nh.from_array(floats(64, 3, 1, 1), "w1"), nh.from_array(floats(64, 64, 3, 3), "w"),
                                nh.from_array(floats(64), "b"), nh.from_array(floats(5, 64, 1, 1), "w2")])
    for target in ("default", "x86-64-v4"):
        at = copy.copy(opt)
        at.flags = ["--target", target, "--relax"]
        c = Compiled(at, m, f"open_tiles_{target}")
        assert "winograd" in (pathlib.Path(opt.build) / f"open_tiles_{target}.c").read_text(), "not by Winograd"
        for n, hh, w in ((1, 1, 1), (1, 3, 5), (2, 4, 9), (1, 17, 30), (3, 40, 41), (1, 56, 3)):
            check(c, {"x": floats(n, 3, hh, w)})


if __name__ == "__main__":
    run_all([(f.__name__, f) for f in (products, windows, every_number, tiles)], __doc__)
