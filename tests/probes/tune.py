# SPDX-License-Identifier: Apache-2.0
"""Tiles by measurement: every form of a contraction gives the same result, and what cnncc-run --tune writes is used.

    tune.py --cnncc build/cnncc --build build/probes
"""

import pathlib
import re
import subprocess

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from probes import Compiled, close, model, rng, run_all, tensor, vi


def network(size=14, dense=24):
    """A strided convolution with margins, a 1x1, a product with weights and one of two activations."""
    weights = [tensor("w", rng.normal(0, 0.2, (24, 5, 3, 3)).astype(np.float32)), tensor("v", rng.normal(0, 0.2, (40, 24, 1, 1)).astype(np.float32)),
               tensor("m", rng.normal(0, 0.2, (40, dense)).astype(np.float32)), tensor("flat", np.array([40, -1], np.int64))]
    nodes = [h.make_node("Conv", ["x", "w"], ["a"], strides=[2, 2], pads=[1] * 4), h.make_node("Relu", ["a"], ["b"]),
             h.make_node("Conv", ["b", "v"], ["c"]), h.make_node("Reshape", ["c", "flat"], ["d"]), h.make_node("Transpose", ["d"], ["e"]),
             h.make_node("MatMul", ["e", "m"], ["f"]), h.make_node("Transpose", ["f"], ["g"]), h.make_node("MatMul", ["f", "g"], ["y"])]
    return model(nodes, [vi("x", T.FLOAT, [1, 5, size, size])], [vi("y", T.FLOAT, None)], weights)


def forms(c_file):
    return re.findall(r"\b([0-9a-f]{16} [-\d.x]+);", pathlib.Path(c_file).read_text())


def every_form(opt):
    x = {"x": rng.standard_normal((1, 5, 14, 14)).astype(np.float32)}
    seen = set()
    for i in range(6):
        opt.flags = ["--tile-form", str(i)]
        c = Compiled(opt, network(), f"form{i}")
        status, y, whole = c.call(x, [49 * 49 * 4])
        assert status == 0 and whole, status
        close(y[0], c.reference(x)[0])
        text = pathlib.Path(opt.build) / "forms.c"
        subprocess.run([opt.cnncc, pathlib.Path(opt.build) / f"form{i}.onnx", "-o", text, "--profile", *opt.flags], check=True)
        seen.add(tuple(forms(text)))
    assert len(seen) > 3, f"{len(seen)} different forms"


def tuned(opt):
    folder = pathlib.Path(opt.build)
    runner, file = pathlib.Path(opt.cnncc).parent / "cnncc-run", folder / "tuned.txt"
    file.unlink(missing_ok=True)
    keys = []
    for size in (14, 18):
        onnx.save(network(size), folder / "tune.onnx")
        done = subprocess.run([runner, folder / "tune.onnx", "--tune", file, "--cc", opt.cc], check=True, capture_output=True, text=True)
        assert "by estimate" in done.stdout, done.stdout
        c = folder / "tune.c"
        subprocess.run([opt.cnncc, folder / "tune.onnx", "-o", c, "--profile", "--tuned", file], check=True)
        lines = [line.split("  #")[0] for line in file.read_text().splitlines() if line[0] != "#"]
        assert forms(c) and all(f in lines for f in forms(c)), (forms(c), lines)
        keys.append({line.split()[0] for line in lines})
    assert keys[0] < keys[1], "what was known of another model is lost"


def forced(opt):
    """The file decides: a form that the estimate does not take; one that does not fit is passed over; another text is refused."""
    folder = pathlib.Path(opt.build)
    model_file, file, c = folder / "tune.onnx", folder / "forced.txt", folder / "forced.c"
    onnx.save(network(), model_file)

    def compiled():
        done = subprocess.run([opt.cnncc, model_file, "-o", c, "--profile", "--tuned", file], capture_output=True, text=True, check=False)
        return done.returncode, done.stderr, forms(c)

    file.write_text("# nothing\n\n")
    plain = compiled()[2]
    subprocess.run([opt.cnncc, model_file, "-o", c, "--profile", "--tile-form", "3"], check=True)
    other = next(f for f in forms(c) if f not in plain)
    file.write_text(f"{other}  # a remark\n")
    assert other in compiled()[2], "the file's form is not used"
    file.write_text(other.split()[0] + " 9.1.0.0.99x99x8\n")
    assert compiled()[2] == plain, "a form that does not fit must change nothing"
    for bad in ("what is this\n", other.split()[0] + " 1.2.3\n"):
        file.write_text(bad)
        code, err, _ = compiled()
        assert code == 1 and "line 1" in err and err.count("\n") == 1, (code, err)
    file.unlink()
    assert compiled()[0] == 1


if __name__ == "__main__":
    run_all([("every_form", every_form), ("tuned", tuned), ("forced", forced)], __doc__)
