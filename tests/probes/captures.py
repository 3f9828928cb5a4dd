# SPDX-License-Identifier: Apache-2.0
"""What a loop reads of constants is prepared when compiling: a transposed weight needs no room and no copy at the run.

    captures.py --cnncc build/cnncc --build build/probes
"""

import argparse
import sys

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from probes import Compiled, close, model, rng, tensor, vi

N = 96


def check(opt):
    body = h.make_graph(
        [h.make_node("MatMul", ["h", "wt"], ["p"]), h.make_node("Tanh", ["p"], ["h2"]), h.make_node("Identity", ["c"], ["c2"])],
        "body", [vi("i", T.INT64, []), vi("c", T.BOOL, []), vi("h", T.FLOAT, [1, N])], [vi("c2", T.BOOL, []), vi("h2", T.FLOAT, [1, N])])
    w = tensor("w", (rng.standard_normal((N, N)) / 8).astype(np.float32))
    m = model([h.make_node("Transpose", ["w"], ["wt"]), h.make_node("Loop", ["n", "", "x"], ["y"], body=body)],
              [vi("x", T.FLOAT, [1, N])], [vi("y", T.FLOAT, [1, N])], [w, tensor("n", np.array(5, np.int64))])
    c = Compiled(opt, m, "captures")
    feeds = {"x": rng.standard_normal((1, N)).astype(np.float32)}
    status, got, whole = c.call(feeds, [4 * N])
    assert status == 0 and whole, f"status {status}"
    close(got[0], c.reference(feeds)[0])
    c.model.bind(feeds)
    assert c.model.work_size < 4 * N * N, f"{c.model.work_size} bytes of work area: the weight is copied"


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--cnncc", required=True)
    p.add_argument("--build", required=True)
    p.add_argument("--cc", default="clang-19")
    try:
        check(p.parse_args())
        print("1 passed, 0 failed, 0 skipped")
        return 0
    except (AssertionError, OSError, RuntimeError) as e:
        print(f"captures: {e}\n0 passed, 1 failed, 0 skipped")
        return 1


if __name__ == "__main__":
    sys.exit(main())
