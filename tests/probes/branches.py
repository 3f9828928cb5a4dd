# SPDX-License-Identifier: Apache-2.0
"""Branches that cannot run for the sizes that the command line fixes, against onnxruntime.

    branches.py --cnncc build/cnncc --build build/probes
"""

import copy
import subprocess

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from probes import Compiled, close, model, rng, run_all, tensor, vi

ESHAPE = 1


def halves(weights):
    """x w by one of two matrices, of 4 and of 6 rows."""
    def side(w):
        return h.make_graph([h.make_node("MatMul", ["x", w], [f"by_{w}"])], w, [], [vi(f"by_{w}", T.FLOAT, ["n", 3])])

    return model([h.make_node("If", ["c"], ["y"], then_branch=side("four"), else_branch=side("six"))],
                 [vi("x", T.FLOAT, ["n", "k"]), vi("c", T.BOOL, [])], [vi("y", T.FLOAT, ["n", 3])],
                 [tensor(w, rng.standard_normal((rows, 3)).astype(np.float32)) for w, rows in weights.items()])


def impossible(opt):
    """The branch that fits is taken; a condition that asks for the other is a status."""
    m = halves({"four": 4, "six": 6})
    for k in (4, 6):
        fixed = copy.copy(opt)
        fixed.flags = ["--dim", f"k={k}"]
        c = Compiled(fixed, m, f"branches_{k}")
        x = rng.standard_normal((2, k)).astype(np.float32)
        for cond in (True, False):
            given = {"x": x, "c": np.array(cond)}
            status, got, whole = c.call(given, [24])
            assert whole
            if cond == (k == 4):
                assert status == 0, f"status {status}"
                close(got[0], c.reference(given)[0])
            else:
                assert status == ESHAPE, f"status {status}"


def none_possible(opt):
    """Where none fits there is one diagnostic, and no file."""
    c = Compiled(opt, halves({"four": 4, "six": 6}), "branches_none")
    run = subprocess.run([opt.cnncc, c.onnx, "--dim", "k=5", "-o", f"{opt.build}/branches_5.c"], capture_output=True, text=True, check=False)
    assert run.returncode == 1 and len(run.stderr.splitlines()) == 1, run.stderr


if __name__ == "__main__":
    run_all([(f.__name__, f) for f in (impossible, none_possible)], __doc__)
