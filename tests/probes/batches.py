# SPDX-License-Identifier: Apache-2.0
"""Scan of opset 8: a batch of sequences, each of its own length, whose sizes only the run knows, against onnxruntime.

    batches.py --cnncc build/cnncc --build build/probes
"""

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from probes import Compiled, close, model, rng, run_all, vi


def floats(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def cell():
    """s' = s w + e, where the weight w is read from outside."""
    return h.make_graph(
        [h.make_node("MatMul", ["s", "w"], ["p"]), h.make_node("Add", ["p", "e"], ["s2"]), h.make_node("Tanh", ["s2"], ["o"])],
        "cell", [vi("s", T.FLOAT, [2]), vi("e", T.FLOAT, [2])], [vi("s2", T.FLOAT, [2]), vi("o", T.FLOAT, [2])])


SCANNED = [vi("s0", T.FLOAT, ["b", 2]), vi("x", T.FLOAT, ["b", "t", 2]), vi("w0", T.FLOAT, [2, 2])]
RESULT = [vi("y", T.FLOAT, ["b", 2]), vi("z", T.FLOAT, ["b", "t", 2])]


def feeds(b, t):
    return {"s0": floats(b, 2), "x": floats(b, t, 2), "w0": floats(2, 2)}


def check(c, given):
    want = c.reference(given)
    status, got, whole = c.call(given, [w.nbytes for w in want])
    assert status == 0 and whole, f"status {status}"
    for g, w in zip(got, want, strict=True):
        close(g, w)


def lengths(opt):
    """Forwards and backwards, with lengths and without: what comes after a length is 0, and a longer one than the steps is refused."""
    for back in (0, 1):
        for given in (False, True):
            m = model([h.make_node("Relu", ["w0"], ["w"]),
                       h.make_node("Scan", ["n" if given else "", "s0", "x"], ["y", "z"], body=cell(), num_scan_inputs=1, directions=[back])],
                      [vi("n", T.INT64, ["b"]), *SCANNED], RESULT, opset=8)
            c = Compiled(opt, m, f"batches_{back}_{given}")
            for b, t in ((1, 1), (3, 4), (5, 2)):
                check(c, {"n": rng.integers(1, t + 1, b), **feeds(b, t)})
            if given:
                status, _, whole = c.call({"n": np.array([2, 5]), **feeds(2, 4)}, [1024, 1024])
                assert status != 0 and whole, "a length of 5 where there are 4 steps"


def nested(opt):
    """In the body of a Loop, whose carried value the inner body reads."""
    body = h.make_graph(
        [h.make_node("Relu", ["c"], ["w"]), h.make_node("Scan", ["", "s0", "x"], ["y", "z"], body=cell(), num_scan_inputs=1),
         h.make_node("ReduceSum", ["z"], ["total"], keepdims=0), h.make_node("ReduceMean", ["y"], ["mean"], keepdims=0),
         h.make_node("Sub", ["c", "mean"], ["c2"])],
        "body", [vi("i", T.INT64, []), vi("k", T.BOOL, []), vi("c", T.FLOAT, [2, 2])],
        [vi("k", T.BOOL, []), vi("c2", T.FLOAT, [2, 2]), vi("total", T.FLOAT, [])])
    m = model([h.make_node("Loop", ["n", "", "w0"], ["last", "totals"], body=body)], [vi("n", T.INT64, []), *SCANNED],
              [vi("last", T.FLOAT, [2, 2]), vi("totals", T.FLOAT, ["n"])], opset=8)
    c = Compiled(opt, m, "batches_nested")
    for b, t, n in ((1, 1, 1), (3, 4, 3)):
        check(c, {"n": np.array(n), **feeds(b, t)})


if __name__ == "__main__":
    run_all([(f.__name__, f) for f in (lengths, nested)], __doc__)
