# SPDX-License-Identifier: Apache-2.0
"""Products with a number of rows that only the run knows: one row, which has a form of its own, and some, against onnxruntime.

    one_row.py --cnncc build/cnncc --build build/probes
"""

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


if __name__ == "__main__":
    run_all([(f.__name__, f) for f in (products, windows)], __doc__)
