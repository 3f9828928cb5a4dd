# SPDX-License-Identifier: Apache-2.0
"""Results at the edges of what operators are defined for, against onnxruntime.

    edges.py --cnncc build/cnncc --build build/probes
"""

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
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


if __name__ == "__main__":
    run_all([(f.__name__, f) for f in (largest_of_the_least, long_rows)], __doc__)
