# SPDX-License-Identifier: Apache-2.0
"""What a loop reads and does not change needs no room and no copy at the run.

    captures.py --cnncc build/cnncc --build build/probes
"""

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from probes import Compiled, close, model, rng, run_all, tensor, vi

N = 96


def check(opt, m, feeds, name):
    c = Compiled(opt, m, f"captures_{name}")
    want = c.reference(feeds)
    status, got, whole = c.call(feeds, [w.nbytes for w in want])
    assert status == 0 and whole, f"status {status}"
    for g, w in zip(got, want, strict=True):
        close(g, w)
    c.model.bind(feeds)
    assert c.model.work_size < 4 * N * N, f"{c.model.work_size} bytes of work area: the weight is copied"


def floats(*shape):
    return (rng.standard_normal(shape) / 8).astype(np.float32)


def constant(opt):
    """A transposed weight is prepared when compiling."""
    body = h.make_graph(
        [h.make_node("MatMul", ["h", "wt"], ["p"]), h.make_node("Tanh", ["p"], ["h2"]), h.make_node("Identity", ["c"], ["c2"])],
        "body", [vi("i", T.INT64, []), vi("c", T.BOOL, []), vi("h", T.FLOAT, [1, N])], [vi("c2", T.BOOL, []), vi("h2", T.FLOAT, [1, N])])
    m = model([h.make_node("Transpose", ["w"], ["wt"]), h.make_node("Loop", ["n", "", "x"], ["y"], body=body)],
              [vi("x", T.FLOAT, [1, N])], [vi("y", T.FLOAT, [1, N])], [tensor("w", floats(N, N)), tensor("n", np.array(5, np.int64))])
    check(opt, m, {"x": floats(1, N)}, "constant")


def carried(opt):
    """A carried value that each iteration hands on is read where it is; its last value is the first, after no iteration too."""
    body = h.make_graph(
        [h.make_node("MatMul", ["h", "w"], ["p"]), h.make_node("Tanh", ["p"], ["h2"]), h.make_node("Identity", ["c"], ["c2"]),
         h.make_node("Identity", ["w"], ["w2"]), h.make_node("ReduceMax", ["h2"], ["top"])],
        "body", [vi("i", T.INT64, []), vi("c", T.BOOL, []), vi("w", T.FLOAT, ["n", N]), vi("h", T.FLOAT, [1, N])],
        [vi("c2", T.BOOL, []), vi("w2", T.FLOAT, ["n", N]), vi("h2", T.FLOAT, [1, N]), vi("top", T.FLOAT, None)])
    m = model([h.make_node("Loop", ["trips", "", "w", "x"], ["same", "y", "tops"], body=body), h.make_node("ReduceMax", ["same"], ["largest"])],
              [vi("x", T.FLOAT, [1, N]), vi("w", T.FLOAT, ["n", N]), vi("trips", T.INT64, [])],
              [vi("y", T.FLOAT, [1, N]), vi("largest", T.FLOAT, None), vi("tops", T.FLOAT, None)])
    for trips in (0, 3):
        check(opt, m, {"x": floats(1, N), "w": floats(N, N), "trips": np.array(trips, np.int64)}, "carried")


if __name__ == "__main__":
    run_all([(f.__name__, f) for f in (constant, carried)], __doc__)
