# SPDX-License-Identifier: Apache-2.0
"""--multi-target: one C file, compiled without -march, whose functions are there for several processors.

    targets.py --cnncc build/cnncc --build build/probes
"""

import pathlib
import platform
import re
import shutil
import subprocess

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from probes import model, rng, run_all, tensor, vi

import loader

FLAGS = "-std=gnu11 -O3 -Wall -Wextra -Wpedantic -Wconversion -Werror -ffp-contract=fast -fno-math-errno -fno-trapping-math -shared -fPIC".split()


def net():
    w = rng.standard_normal((32, 3, 3, 3)).astype(np.float32) / 5
    v = rng.standard_normal((4608, 100)).astype(np.float32) / 60
    return model(
        [h.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]), h.make_node("Sigmoid", ["c"], ["s"]),
         h.make_node("Mul", ["c", "s"], ["m"]), h.make_node("Flatten", ["m"], ["f"]), h.make_node("MatMul", ["f", "v"], ["d"]),
         h.make_node("Softmax", ["d"], ["y"])],
        [vi("x", T.FLOAT, ["n", 3, 24, 24])], [vi("y", T.FLOAT, ["n", 100])], [tensor("w", w), tensor("v", v)])


def dispatch(opt):
    """Both compilers, with and without OpenMP, on the default tiles and those of AVX-512."""
    folder = pathlib.Path(opt.build)
    folder.mkdir(parents=True, exist_ok=True)
    m, path = net(), folder / "targets.onnx"
    onnx.save(m, path)
    feeds = {"x": rng.standard_normal((2, 3, 24, 24)).astype(np.float32)}
    want = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feeds)[0]
    for target in ("default", "x86-64-v4"):
        c = folder / f"targets_{target}.c"
        subprocess.run([opt.cnncc, path, "-o", c, "--prefix", "m", "--multi-target", "--target", target, "--weights", "inline"], check=True)
        for cc in ("clang-19", "gcc"):
            for openmp in ("-fopenmp", "-DNO_OPENMP"):
                so = c.with_name(f"targets_{target}_{cc}_{openmp[2:]}.so")
                subprocess.run([cc, *FLAGS, openmp, "-o", so, c, "-lm"], check=True)
                if platform.machine() == "x86_64":
                    assert re.search(rb"x86.64.v3", so.read_bytes()), f"{cc} made one version only"
                compiled = loader.Model(so)
                compiled.bind(feeds, 2)
                compiled.run()
                np.testing.assert_allclose(compiled.results()["y"], want, rtol=1e-4, atol=1e-6)
        if shutil.which("tcc"):
            subprocess.run(["tcc", "-shared", "-o", c.with_suffix(".tcc.so"), c], check=True)


if __name__ == "__main__":
    run_all([(f.__name__, f) for f in (dispatch,)], __doc__)
