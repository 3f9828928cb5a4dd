# SPDX-License-Identifier: Apache-2.0
"""The work area of a model with named dimensions is as small as that of the same model at fixed ones.

    plan.py --cnncc build/cnncc --build build/probes
"""

import ctypes as C

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from probes import Compiled, close, model, rng, run_all, tensor, vi


def residual(dims):
    """Blocks of other widths with a value that is kept over each: lifetimes that cross."""
    nodes, init, x, width = [], [], "x", 40
    for i, wide in enumerate((160, 24, 320, 96)):
        init += [tensor(f"a{i}", rng.normal(0, 0.1, (width, wide)).astype(np.float32)), tensor(f"b{i}", rng.normal(0, 0.1, (wide, width)).astype(np.float32))]
        nodes += [h.make_node("MatMul", [x, f"a{i}"], [f"p{i}"]), h.make_node("Softmax", [f"p{i}"], [f"q{i}"]),
                  h.make_node("MatMul", [f"q{i}", f"b{i}"], [f"r{i}"]), h.make_node("Add", [x, f"r{i}"], [f"x{i}"])]
        x = f"x{i}"
    nodes.append(h.make_node("Concat", [x, "r1", "q2"], ["y"], axis=1))
    return model(nodes, [vi("x", T.FLOAT, [*dims, 40])], [vi("y", T.FLOAT, None)], init)


def square(dims):
    """A product of activations with themselves, quadratic in the length, between results that are linear."""
    w = tensor("w", rng.normal(0, 0.1, (16, 48)).astype(np.float32))
    nodes = [h.make_node("MatMul", ["x", "w"], ["a"]), h.make_node("Transpose", ["a"], ["b"]), h.make_node("MatMul", ["a", "b"], ["c"]),
             h.make_node("Softmax", ["c"], ["d"]), h.make_node("MatMul", ["d", "a"], ["e"]), h.make_node("Tanh", ["c"], ["f"]),
             h.make_node("MatMul", ["f", "e"], ["g"]), h.make_node("Concat", ["g", "e"], ["y"], axis=1)]
    return model(nodes, [vi("x", T.FLOAT, [*dims, 16])], [vi("y", T.FLOAT, None)], [w])


def two(dims):
    """Two branches with a dimension each: which of their tensors is the larger one is not known."""
    nodes, init, last = [], [], []
    for i, wide in enumerate((320, 256)):
        init += [tensor(f"a{i}", rng.normal(0, 0.1, (24, wide)).astype(np.float32)), tensor(f"b{i}", rng.normal(0, 0.1, (wide, 24)).astype(np.float32))]
        nodes += [h.make_node("MatMul", [f"x{i}", f"a{i}"], [f"p{i}"]), h.make_node("Softmax", [f"p{i}"], [f"q{i}"]),
                  h.make_node("MatMul", [f"q{i}", f"b{i}"], [f"r{i}"])]
        last.append(f"r{i}")
    nodes.append(h.make_node("Concat", last, ["y"], axis=0))
    return model(nodes, [vi(f"x{i}", T.FLOAT, [d, 24]) for i, d in enumerate(dims)], [vi("y", T.FLOAT, None)], init)


def work(c, sizes):
    return c.model.d.work_size((C.c_int64 * max(1, len(sizes)))(*sizes), 1)


def as_fixed(make, names, inputs, sizes):
    """The probe of a network: `inputs` gives the input's shapes at some sizes."""
    def probe(opt):
        named = Compiled(opt, make(names), f"plan_{make.__name__}")
        for at in sizes:
            fixed = Compiled(opt, make(at), f"plan_{make.__name__}_{'_'.join(map(str, at))}")
            mine, best = work(named, at), work(fixed, [])
            assert mine <= 1.05 * best, f"{mine} bytes at {at}, {best} when that is fixed"
            for i in range(len(at)):
                more = [n + 5 * (i == k) for k, n in enumerate(at)]
                assert mine <= work(named, more), f"less memory at {more} than at {at}"
            x = {n: rng.standard_normal(s).astype(np.float32) for n, s in inputs(at).items()}
            want = named.reference(x)[0]
            status, y, whole = named.call(x, [want.nbytes])
            assert status == 0 and whole, status
            close(y[0], want)
    return probe


LENGTHS = [[n] for n in (64, 129, 300)]
PROBES = [
    ("residual", as_fixed(residual, ["n"], lambda at: {"x": (at[0], 40)}, LENGTHS)),
    ("square", as_fixed(square, ["n"], lambda at: {"x": (at[0], 16)}, LENGTHS)),
    ("two", as_fixed(two, ["n", "m"], lambda at: {"x0": (at[0], 24), "x1": (at[1], 24)}, [[64, 64], [200, 30], [30, 200]])),
]

if __name__ == "__main__":
    run_all(PROBES, __doc__)
