# SPDX-License-Identifier: Apache-2.0
"""Threads where sizes are open: loops over a batch that may be one take the next ones with them, and small work stays
with one thread. Sizes on both sides of what is worth a parallel region, several numbers of threads: onnxruntime's
results, and the same bits for any number of them.

    open_threads.py --cnncc build/cnncc --build build/probes
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
    first = None
    for threads in (1, 2, 3, 5):
        status, got, whole = c.call(given, [w.nbytes for w in want], threads)
        assert status == 0 and whole, f"status {status}"
        for g, w in zip(got, want, strict=True):
            close(g, w)
        first = first or [g.copy() for g in got]
        for g, w in zip(got, first, strict=True):
            assert np.array_equal(g, w, equal_nan=True), f"{threads} threads have other bits"


def pyramid(opt):
    """Images: convolutions, a level that is doubled and added, transposed convolutions to many channels and to one."""
    nodes = [h.make_node("Conv", ["x", "w0"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
             h.make_node("Conv", ["a", "w1"], ["b"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
             h.make_node("Conv", ["b", "w2"], ["d"], kernel_shape=[5, 5], pads=[2, 2, 2, 2], group=24),
             h.make_node("HardSwish", ["d"], ["e"]),
             h.make_node("Resize", ["e", "", "twice"], ["f"], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
             h.make_node("Add", ["a", "f"], ["g"]),
             h.make_node("ConvTranspose", ["g", "w3"], ["i"], kernel_shape=[2, 2], strides=[2, 2]),
             h.make_node("ConvTranspose", ["i", "w4"], ["j"], kernel_shape=[2, 2], strides=[2, 2]),
             h.make_node("Sigmoid", ["j"], ["y"]),
             h.make_node("GlobalAveragePool", ["g"], ["z"])]
    init = [nh.from_array(floats(24, 3, 3, 3) / 5, "w0"), nh.from_array(floats(24, 24, 3, 3) / 15, "w1"), nh.from_array(floats(24, 1, 5, 5) / 5, "w2"),
            nh.from_array(floats(24, 12, 2, 2) / 5, "w3"), nh.from_array(floats(12, 1, 2, 2) / 4, "w4"), nh.from_array(np.array([1, 1, 2, 2], np.float32), "twice")]
    m = model(nodes, [vi("x", T.FLOAT, ["n", 3, "h", "w"])], [vi("y", T.FLOAT, None), vi("z", T.FLOAT, None)], init)
    c = Compiled(opt, m, "open_threads_pyramid")
    for n, y, x in ((1, 2, 2), (1, 64, 48), (1, 6, 130), (3, 24, 26), (5, 2, 4)):
        check(c, {"x": floats(n, 3, y, x)})


def tokens(opt):
    """Sequences: dense layers, attention of several heads, a normalization, what is pointwise and cannot be one loop."""
    nodes = [h.make_node("MatMul", ["x", "wq"], ["q"]), h.make_node("MatMul", ["x", "wk"], ["k"]), h.make_node("MatMul", ["x", "wv"], ["v"]),
             *[h.make_node("Reshape", [a, "split"], [a + "4"]) for a in "qkv"],
             h.make_node("Transpose", ["q4"], ["qt"], perm=[0, 2, 1, 3]), h.make_node("Transpose", ["k4"], ["kt"], perm=[0, 2, 3, 1]),
             h.make_node("Transpose", ["v4"], ["vt"], perm=[0, 2, 1, 3]), h.make_node("MatMul", ["qt", "kt"], ["s"]),
             h.make_node("Softmax", ["s"], ["p"], axis=-1), h.make_node("MatMul", ["p", "vt"], ["o"]),
             h.make_node("Transpose", ["o"], ["ot"], perm=[0, 2, 1, 3]), h.make_node("Reshape", ["ot", "join"], ["oj"]),
             h.make_node("Add", ["x", "oj"], ["r"]), h.make_node("LayerNormalization", ["r", "scale"], ["l"], axis=-1),
             h.make_node("ReduceMean", ["l"], ["mean"], axes=[1], keepdims=1), h.make_node("Mul", ["l", "mean"], ["m"]),
             h.make_node("Tanh", ["m"], ["y"])]
    init = [*[nh.from_array(floats(64, 64) / 8, "w" + a) for a in "qkv"], nh.from_array(np.array([0, 0, 4, 16]), "split"),
            nh.from_array(np.array([0, 0, 64]), "join"), nh.from_array(floats(64), "scale")]
    m = model(nodes, [vi("x", T.FLOAT, ["n", "t", 64])], [vi("y", T.FLOAT, None)], init)
    c = Compiled(opt, m, "open_threads_tokens")
    for n, t in ((1, 1), (1, 3), (1, 100), (4, 50), (7, 2)):
        check(c, {"x": floats(n, t, 64)})


if __name__ == "__main__":
    run_all([(f.__name__, f) for f in (pyramid, tokens)], __doc__)
