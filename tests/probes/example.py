# SPDX-License-Identifier: Apache-2.0
"""The program that --example writes: compiled as it is, under sanitizers, with the files of its inputs.

    example.py --cnncc build/cnncc --build build/probes
"""

import pathlib
import subprocess

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from probes import model, rng, run_all, tensor, vi

FLAGS = "-std=gnu11 -O1 -g -Wall -Wextra -Wpedantic -Wconversion -Werror -fsanitize=address,undefined -fno-sanitize-recover=all".split()


def build(opt, name, m, *options):
    folder = pathlib.Path(opt.build) / f"example_{name}"
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(m, folder / "m.onnx")
    subprocess.run([opt.cnncc, folder / "m.onnx", "-o", folder / "m.c", "--example", *options], check=True)
    subprocess.run([opt.cc, *FLAGS, "-o", folder / "m", folder / "m.c", "-lm"], check=True)
    return folder


def run(folder, *args):
    return subprocess.run([(folder / "m").resolve(), *args], cwd=folder, capture_output=True, text=True, check=False)


def dense():
    w = rng.standard_normal((300, 40)).astype(np.float32)
    return model([h.make_node("MatMul", ["x", "w"], ["p"]), h.make_node("Add", ["p", "b"], ["y"]), h.make_node("ArgMax", ["y"], ["best"], axis=1, keepdims=0)],
                 [vi("x", T.FLOAT, ["n", 300]), vi("b", T.FLOAT, [40])], [vi("y", T.FLOAT, ["n", 40]), vi("best", T.INT64, ["n"])], [tensor("w", w)])


def numbers(line):
    return [float(x) for x in line.split("]")[1].replace("...", "").split()]


def inputs(opt):
    """Weights inside and in a file: the numbers that onnxruntime gives; inputs that are not given are zeros."""
    for where in ("inline", "file"):
        folder = build(opt, where, dense(), "--weights", where)
        feeds = {"x": rng.standard_normal((1, 300)).astype(np.float32), "b": rng.standard_normal(40).astype(np.float32)}
        for given in (0, 1, 2):
            files = []
            for i, k in enumerate(feeds):
                if i < given:
                    (folder / k).write_bytes(feeds[k].tobytes())
                    files.append(k)
            fed = {k: v if i < given else np.zeros_like(v) for i, (k, v) in enumerate(feeds.items())}
            want = ort.InferenceSession(str(folder / "m.onnx"), providers=["CPUExecutionProvider"]).run(None, fed)
            out = run(folder, *files)
            assert out.returncode == 0 and not out.stderr, out.stderr
            lines = out.stdout.splitlines()
            assert lines[0].startswith("y [1, 40]") and lines[1].startswith("best [1]"), out.stdout
            np.testing.assert_allclose(numbers(lines[0]), want[0][0, :8], rtol=1e-4, atol=1e-5)
            assert numbers(lines[1]) == [want[1][0]]


def faults(opt):
    """A file of the wrong size, one that is not there, and weights that are gone: a line each."""
    folder = build(opt, "faults", dense(), "--weights", "file")
    (folder / "short").write_bytes(b"1234")
    for args in (["short"], ["none"]):
        out = run(folder, *args)
        assert out.returncode == 1 and len(out.stderr.splitlines()) == 1, out.stderr
    (folder / "m.bin").unlink()
    out = run(folder)
    assert out.returncode == 1 and "m.bin" in out.stderr, out.stderr
    for options in (["--train"], ["--weights", "extern"]):
        refused = subprocess.run([opt.cnncc, folder / "m.onnx", "-o", folder / "m.c", "--example", *options], capture_output=True, check=False)
        assert refused.returncode == 2, refused


if __name__ == "__main__":
    run_all([(f.__name__, f) for f in (inputs, faults)], __doc__)
