# SPDX-License-Identifier: Apache-2.0
"""Products whose sums go by blocks, added to what dies there: partial sums may not lie where the other operand is.

    partial.py --cnncc build/cnncc --build build/probes
"""

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from probes import Compiled, close, model, rng, run_all, tensor, vi


def product(rows, steps, columns, constant, finish):
    """z = cumsum(finish(a w) with r), where a and r are buffers of the work area."""
    w = (rng.standard_normal((steps, columns)) / steps**0.5).astype(np.float32)
    ends = {"Add": [h.make_node("Add", ["m", "r"], ["y"])],
            "Erf": [h.make_node("Erf", ["m"], ["e"]), h.make_node("Add", ["e", "r"], ["y"])],
            "Sigmoid": [h.make_node("Sigmoid", ["m"], ["e"]), h.make_node("Mul", ["e", "r"], ["y"])]}
    nodes = [h.make_node("CumSum", ["x0", "axis"], ["a"]), h.make_node("CumSum", ["x1", "axis"], ["r"]), h.make_node("MatMul", ["a", "w"], ["m"]),
             *ends[finish], h.make_node("CumSum", ["y", "axis"], ["z"])]
    inputs = [vi("x0", T.FLOAT, [rows, steps]), vi("x1", T.FLOAT, [rows, columns])]
    init = [tensor("axis", np.array(1, np.int64))]
    if constant:
        init.append(tensor("w", w))
    else:
        inputs.append(vi("w", T.FLOAT, [steps, columns]))
    feeds = {"x0": rng.standard_normal((rows, steps)).astype(np.float32), "x1": rng.standard_normal((rows, columns)).astype(np.float32), "w": w}
    return model(nodes, inputs, [vi("z", T.FLOAT, [rows, columns])], init), {i.name: feeds[i.name] for i in inputs}


def in_place(opt):
    """Rows of whole tiles and of some more, steps of whole blocks and of some more, weights and operands of the run."""
    for rows, steps, columns in ((60, 512, 128), (60, 700, 96), (24, 1024, 100), (61, 512, 128)):
        for constant in (True, False):
            for finish in ("Add", "Erf", "Sigmoid"):
                m, feeds = product(rows, steps, columns, constant, finish)
                c = Compiled(opt, m, f"partial_{rows}_{steps}_{constant}_{finish}")
                want = c.reference(feeds)
                status, got, whole = c.call(feeds, [x.nbytes for x in want])
                assert status == 0 and whole, f"status {status}"
                close(got[0], want[0])


if __name__ == "__main__":
    run_all([(f.__name__, f) for f in (in_place,)], __doc__)
