# SPDX-License-Identifier: Apache-2.0
"""Attention without a matrix of scores: right at several lengths, and memory that grows with the lengths only.

    attention.py --cnncc build/cnncc --build build/probes
"""

import argparse
import ctypes as C
import subprocess
import sys

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from probes import Compiled, close, model, rng, tensor, vi

HEADS, WIDTH = 4, 16


def node(op, ins, outs, **attr):
    return h.make_node(op, ins, outs, **attr)


def shapes(groups=HEADS):
    return [vi("q", T.FLOAT, ["b", HEADS, "s", WIDTH]), vi("k", T.FLOAT, ["b", groups, "t", WIDTH]), vi("v", T.FLOAT, ["b", groups, "t", WIDTH])]


def operator(causal):
    return model([node("Attention", ["q", "k", "v"], ["y"], is_causal=causal)], shapes(), [vi("y", T.FLOAT, None)], opset=23)


def exported(mask):
    """What exporters write: a scale, a mask that is added, Softmax."""
    nodes = [node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]), node("MatMul", ["q", "kt"], ["qk"]), node("Div", ["qk", "c"], ["x"])]
    ins = shapes()
    if mask:
        nodes += [node("Add", ["x", "m"], ["xm"])]
        ins += [vi("m", T.FLOAT, ["b", 1, 1, "t"])]
    nodes += [node("Softmax", ["xm" if mask else "x"], ["p"], axis=-1), node("MatMul", ["p", "v"], ["o"]),
              node("Transpose", ["o"], ["ot"], perm=[0, 2, 1, 3]), node("Reshape", ["ot", "shape"], ["y"])]
    return model(nodes, ins, [vi("y", T.FLOAT, None)], [tensor("c", np.float32(4)), tensor("shape", np.array([0, 0, HEADS * WIDTH]))])


def grouped():
    """Keys and values repeated for each head of a group."""
    nodes, wide = [], np.array([1, 1, 2, 1, 1])
    for x in "kv":
        nodes += [node("Unsqueeze", [x, "two"], [x + "1"]), node("Expand", [x + "1", "wide"], [x + "2"]), node("Reshape", [x + "2", "shape"], [x + "3"])]
    nodes += [node("Transpose", ["k3"], ["kt"], perm=[0, 1, 3, 2]), node("MatMul", ["q", "kt"], ["x"]),
              node("Softmax", ["x"], ["p"], axis=-1), node("MatMul", ["p", "v3"], ["y"])]
    return model(nodes, shapes(2), [vi("y", T.FLOAT, None)],
                 [tensor("two", np.array([2])), tensor("wide", wide), tensor("shape", np.array([0, HEADS, -1, WIDTH]))])


def layers():
    """Two layers that share the zeros for rows that are masked whole, as PyTorch exports them."""
    nodes, q = [node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2])], "q"
    for i in "01":
        nodes += [node("MatMul", [q, "kt"], ["x" + i]), node("Softmax", ["x" + i], ["p" + i], axis=-1), node("IsNaN", ["p" + i], ["n" + i]),
                  node("Where", ["n" + i, "zero", "p" + i], ["w" + i]), node("MatMul", ["w" + i, "v"], ["y" + i])]
        q = "y" + i
    return model(nodes, shapes(), [vi(q, T.FLOAT, None)], [tensor("zero", np.float32(0))])


FORMS = {"operator": lambda: operator(0), "causal": lambda: operator(1), "exported": lambda: exported(False), "masked": lambda: exported(True), "grouped": grouped,
         "layers": layers}


def check(opt, name):
    c = Compiled(opt, FORMS[name](), f"attention_{name}")
    d = c.model.d
    names = [d.sym[i].decode() for i in range(d.n_sym)]

    def work(s, t):
        return d.work_size((C.c_int64 * len(names))(*[{"b": 1, "s": s, "t": t}[x] for x in names]), 1)

    both = work(4096, 4096)
    assert both < 16 * HEADS * WIDTH * 4 * 4096, f"{both} bytes of work area for 4096 x 4096"
    assert work(8192, 8192) < 2.1 * both, "memory grows faster than the lengths"
    for b, s, t in ((1, 1, 1), (2, 1, 130), (1, 7, 16), (2, 50, 129), (1, 97, 300)):
        feeds = {"q": rng.standard_normal((b, HEADS, s, WIDTH)), "m": np.where(rng.random((b, 1, 1, t)) < 0.4, -1e4, 0)}
        for x in "kv":
            feeds[x] = rng.standard_normal((b, 2 if name == "grouped" else HEADS, t, WIDTH))
        feeds = {d.in_[i].name.decode(): feeds[d.in_[i].name.decode()].astype(np.float32) for i in range(d.n_in)}
        want = c.reference(feeds)
        one = None
        for threads in (1, 2):
            status, got, whole = c.call(feeds, [w.nbytes for w in want], threads)
            assert status == 0 and whole, f"status {status}"
            close(got[0], want[0])
            assert one is None or (one == got[0]).all(), "two threads differ from one"
            one = got[0].copy()


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--cnncc", default="build/cnncc")
    a.add_argument("--build", default="build/probes")
    a.add_argument("--cc", default="clang-19")
    opt = a.parse_args()
    failed = 0
    for name in FORMS:
        try:
            check(opt, name)
        except (AssertionError, subprocess.CalledProcessError) as e:
            failed += 1
            print(f"FAILED {name}: {e}")
    print(f"{len(FORMS) - failed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
