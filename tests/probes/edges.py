# SPDX-License-Identifier: Apache-2.0
"""Results at the edges of what operators are defined for, against onnxruntime.

    edges.py --cnncc build/cnncc --build build/probes
"""

import copy

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh
from probes import Compiled, model, rng, run_all, vi


def check(c, feeds):
    want = c.reference(feeds)
    status, got, whole = c.call(feeds, [w.nbytes for w in want])
    assert status == 0 and whole, f"status {status}"
    for g, w in zip(got, want, strict=True):
        assert g.shape == w.shape and (g == w).all(), f"{g} instead of {w}"


def largest_of_the_least(opt):
    """MaxPool's indices where all of a window is the least number of the type, as the padding is."""
    for kind, low in ((T.UINT8, 0), (T.INT8, -128), (T.FLOAT, -np.inf), (T.DOUBLE, -np.inf)):
        for auto in ("SAME_LOWER", "SAME_UPPER"):
            m = model([h.make_node("MaxPool", ["x"], ["y", "at"], kernel_shape=[2, 3], auto_pad=auto)],
                      [vi("x", kind, [1, 2, 4, 5])], [vi("y", kind, None), vi("at", T.INT64, None)])
            c = Compiled(opt, m, f"edges_pool_{kind}_{auto}")
            x = rng.integers(0, 3, (1, 2, 4, 5)).astype(h.tensor_dtype_to_np_dtype(kind))
            x[rng.random(x.shape) < 0.7] = low
            x[0, 1] = low
            check(c, {"x": x})


def long_rows(opt):
    """Unique along an axis: rows of many elements, and of a number that only the run knows."""
    for shape in ([9, "m"], ["n", 300], ["n", 3]):
        m = model([h.make_node("Unique", ["x"], ["y", "first", "which", "count"], axis=0)],
                  [vi("x", T.FLOAT, shape)], [vi("y", T.FLOAT, None)] + [vi(n, T.INT64, None) for n in ("first", "which", "count")])
        c = Compiled(opt, m, f"edges_unique_{shape[0]}_{shape[1]}")
        for extent in (1, 4, 40):
            x = rng.integers(0, 2, [extent if isinstance(d, str) else d for d in shape]).astype(np.float32)
            x[rng.integers(0, len(x), len(x) // 2)] = x[0]
            check(c, {"x": x})


def nothing(opt):
    """Extents fixed at 0, and bounded by it: nothing comes out, of chains of convolutions, contractions, attention, sums."""
    def floats(*shape):
        return nh.from_array(rng.standard_normal(shape).astype(np.float32), f"w{len(init)}")

    init = []
    for shape in ((24, 3, 3, 3), (24, 1, 3, 3), (40, 24, 1, 1), (40, 16, 2, 2), (64, 64)):
        init.append(floats(*shape))
    image = model([h.make_node("Conv", ["x", "w0"], ["a"], pads=[1, 1, 1, 1]), h.make_node("Sigmoid", ["a"], ["b"]),
                   h.make_node("Conv", ["b", "w1"], ["c"], pads=[1, 1, 1, 1], group=24), h.make_node("Conv", ["c", "w2"], ["d"]),
                   h.make_node("ConvTranspose", ["d", "w3"], ["y"], strides=[2, 2])],
                  [vi("x", T.FLOAT, ["n", 3, "h", "w"])], [vi("y", T.FLOAT, None)], init[:4])
    row = model([h.make_node("MatMul", ["x", "w4"], ["q"]), h.make_node("Transpose", ["x"], ["k"], perm=[0, 2, 1]),
                 h.make_node("MatMul", ["q", "k"], ["s"]), h.make_node("Softmax", ["s"], ["p"], axis=-1), h.make_node("MatMul", ["p", "x"], ["y"])],
                [vi("x", T.FLOAT, ["n", "t", 64])], [vi("y", T.FLOAT, None)], init[4:])
    for m, name, shape in ((image, "image", {"n": 2, "h": 200, "w": 160}), (row, "row", {"n": 3, "t": 20})):
        for d in shape:
            for how in ("=", "<="):
                at = copy.copy(opt)
                at.flags = ["--dim", f"{d}{how}0"]
                c = Compiled(at, m, f"nothing_{name}_{d}{len(how)}")
                sizes = [0 if k == d else n for k, n in shape.items()]
                x = np.zeros([sizes[0], 3, *sizes[1:]] if name == "image" else [*sizes, 64], np.float32)
                status, got, whole = c.call({"x": x}, [64])
                assert status == 0 and whole and got[0].size == 0, f"{name} without {d}: status {status}"


if __name__ == "__main__":
    run_all([(f.__name__, f) for f in (largest_of_the_least, long_rows, nothing)], __doc__)
