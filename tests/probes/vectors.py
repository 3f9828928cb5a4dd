# SPDX-License-Identifier: Apache-2.0
"""Epilogues on vectors: functions and choices that follow a sum of products, against onnxruntime, and the same bits as
the loops over elements that compilers without vector types get.

    vectors.py --cnncc build/cnncc --build build/probes
"""

import pathlib
import subprocess

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh
from probes import close, model, rng, run_all, vi

import loader

FLAGS = "-std=gnu11 -O2 -Wall -Wextra -Wpedantic -Wconversion -Werror -ffp-contract=off -shared -fPIC".split()


def gelu(x):
    return [h.make_node("Mul", [x, "rt"], ["e"]), h.make_node("Erf", ["e"], ["f"]), h.make_node("Add", ["f", "one"], ["g"]),
            h.make_node("Mul", [x, "g"], ["d"]), h.make_node("Mul", ["d", "half"], ["y"])]


FORMS = {
    "Exp": lambda x: [h.make_node("Exp", [x], ["y"])],
    "Sigmoid": lambda x: [h.make_node("Sigmoid", [x], ["y"])],
    "Tanh": lambda x: [h.make_node("Tanh", [x], ["y"])],
    "Erf": gelu,
    "Abs": lambda x: [h.make_node("Abs", [x], ["y"])],
    "swish": lambda x: [h.make_node("Sigmoid", [x], ["s"]), h.make_node("Mul", [x, "s"], ["y"])],
    "LeakyRelu": lambda x: [h.make_node("LeakyRelu", [x], ["y"], alpha=0.3)],
    "PRelu": lambda x: [h.make_node("PRelu", [x, "slope"], ["y"])],
    "ThresholdedRelu": lambda x: [h.make_node("ThresholdedRelu", [x], ["y"], alpha=0.7)],
    "Elu": lambda x: [h.make_node("Elu", [x], ["y"])],
    "Softplus": lambda x: [h.make_node("Softplus", [x], ["y"])],
    "two": lambda x: [h.make_node("Tanh", [x], ["s"]), h.make_node("Where", ["some", "s", x], ["y"])],
}


def results(so, feeds):
    compiled = loader.Model(so)
    compiled.bind(feeds, 1)
    compiled.run()
    return compiled.results()["y"].copy()


def check(opt, name):
    folder = pathlib.Path(opt.build) / "vectors"
    folder.mkdir(parents=True, exist_ok=True)
    for width in (16, 45):
        init = [nh.from_array(rng.standard_normal((20, width)).astype(np.float32), "w"), nh.from_array(rng.standard_normal(width).astype(np.float32), "b"),
                nh.from_array(rng.standard_normal(width).astype(np.float32), "slope"), nh.from_array(np.array(2**-0.5, np.float32), "rt"),
                nh.from_array(np.array(1, np.float32), "one"), nh.from_array(np.array(0.5, np.float32), "half"),
                nh.from_array(rng.integers(0, 2, width) == 1, "some")]
        nodes = [h.make_node("MatMul", ["x", "w"], ["p"]), h.make_node("Add", ["p", "b"], ["z"]), *FORMS[name]("z")]
        used = {i for n in nodes for i in n.input}
        m = model(nodes, [vi("x", T.FLOAT, [23, 20])], [vi("y", T.FLOAT, None)], [t for t in init if t.name in used])
        path = folder / f"{name}_{width}.onnx"
        onnx.save(m, path)
        x = rng.standard_normal((23, 20)).astype(np.float32) * np.repeat(np.float32([0.01, 1, 5]), [7, 9, 7])[:, None]
        x[3, 2], x[11, 5], x[17, 1] = np.nan, np.inf, -np.inf
        want = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for target in ("default", "x86-64-v4"):
            c = folder / f"{name}_{width}_{target}.c"
            subprocess.run([opt.cnncc, path, "-o", c, "--prefix", "m", "--target", target, "--weights", "inline"], check=True)
            first = None
            for cc, *option in (("clang-19",), ("gcc",), ("clang-19", "-DCNN_PORTABLE")):
                so = c.with_name(f"{c.stem}_{cc}_{len(option)}.so")
                subprocess.run([cc, *FLAGS, *option, "-o", so, c, "-lm"], check=True)
                got = results(so, {"x": x})
                rows = np.isfinite(x).all(1)
                close(got[rows], want[rows])
                first = got if first is None else first
                assert np.array_equal(got, first, equal_nan=True), f"{target}, {cc} {option}: other bits"


if __name__ == "__main__":
    run_all([(n, lambda opt, n=n: check(opt, n)) for n in FORMS], __doc__)
