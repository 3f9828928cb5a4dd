# SPDX-License-Identifier: Apache-2.0
"""cnncc-run --profile names every nest with its time; C made without it has no hooks.

    profile.py --cnncc build/cnncc --build build/probes
"""

import argparse
import os
import pathlib
import subprocess
import sys

import onnx
from onnx import TensorProto as T
from onnx import helper as h
from probes import model, rng, tensor, vi


def check(opt):
    w = tensor("w", rng.standard_normal((64, 32)).astype("float32"))
    m = model([h.make_node("MatMul", ["x", "w"], ["a"], name="product"), h.make_node("Softmax", ["a"], ["y"], name="soft")],
              [vi("x", T.FLOAT, ["n", 64])], [vi("y", T.FLOAT, ["n", 32])], [w])
    folder = pathlib.Path(opt.build)
    folder.mkdir(parents=True, exist_ok=True)
    path, c = folder / "profile.onnx", folder / "profile.c"
    onnx.save(m, path)
    subprocess.run([opt.cnncc, path, "-o", c], check=True)
    assert "profile_now" not in c.read_text(), "hooks without --profile"
    runner = pathlib.Path(opt.cnncc).parent / "cnncc-run"
    env = {**os.environ, "CC": opt.cc}
    text = subprocess.run([runner, path, "--profile", "5"], check=True, capture_output=True, text=True, env=env).stdout
    rows = {line.split()[-1]: line.split() for line in text.splitlines()[2:] if not line.startswith("peak")}
    assert "product" in rows and "soft" in rows and "else" in rows, text
    assert len(rows["product"]) == 6 and float(rows["product"][2]) > 0 and rows["product"][3].endswith("%"), "no GFLOP/s of the product\n" + text
    assert rows["soft"][2] == "1", "soft is called once a run\n" + text


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--cnncc", required=True)
    p.add_argument("--build", required=True)
    p.add_argument("--cc", default="clang-19")
    try:
        check(p.parse_args())
        print("1 passed, 0 failed, 0 skipped")
        return 0
    except (AssertionError, OSError, subprocess.CalledProcessError, ValueError, IndexError) as e:
        print(f"profile: {e}\n0 passed, 1 failed, 0 skipped")
        return 1


if __name__ == "__main__":
    sys.exit(main())
