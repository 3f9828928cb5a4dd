# SPDX-License-Identifier: Apache-2.0
"""Random graphs, each compiled once and run at three sizes, against the interpreter and onnxruntime.

    graphs.py --build build [--count 200] [--first 1] [--size 12] [--depth 0] [--cc tcc] [--cflags ...] [--seconds S]

--depth N nests branches and loops that deep. The runner also calls each function with too little room and with
inputs that do not fit (--limits). What the interpreter makes of the graph is what the compiled model must give.
Where it does not, and the ONNX file means something else to the interpreter already (an operator that ONNX has
not, rounding that a comparison follows), or onnxruntime differs from the interpreter too, the case is undecided
and named. Closes with 'N passed, N failed, N skipped'.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

TOL = ["--rtol", "1e-4", "--atol", "1e-5"]


def load(path):
    t = onnx.TensorProto()
    t.ParseFromString(path.read_bytes())
    return t.name, numpy_helper.to_array(t)


def same(got, want):
    if got.shape != want.shape or got.dtype != want.dtype:
        return got.size == 0 and want.size == 0
    if got.dtype.kind != "f":
        return bool((got == want).all())
    with np.errstate(all="ignore"):
        return bool(np.isclose(got.astype(np.float64), want.astype(np.float64), rtol=1e-3, atol=1e-4, equal_nan=True).all())


def runtime_agrees(folder):
    """Whether onnxruntime gives the expected outputs of every data set; None where it does not take the model."""
    try:
        session = ort.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        for data in sorted(folder.glob("test_data_set_*")):
            feeds = dict(load(f) for f in data.glob("input_*.pb"))
            want = [load(data / f"output_{i}.pb")[1] for i in range(len(session.get_outputs()))]
            if not all(same(g, w) for g, w in zip(session.run(None, feeds), want, strict=True)):
                return False
    except Exception:  # types and operators that it has not
        return None
    return True


def interpreter_agrees(opt, folder):
    for data in sorted(folder.glob("test_data_set_*")):
        run = subprocess.run([opt.cnncc, str(folder / "model.onnx"), "--eval", str(data)], capture_output=True, check=False)
        if run.returncode == 1:
            return False
    return True


def chunk(opt, first, count, tally):
    with tempfile.TemporaryDirectory() as tmp:
        made = subprocess.run([opt.make, tmp, str(first), str(count), str(opt.size), str(opt.depth)], check=False)
        if made.returncode:
            tally["failed"] += 1
            print(f"FAILED seeds {first}..{first + count - 1}: no graphs, status {made.returncode}")
        folders = sorted(p for p in pathlib.Path(tmp).glob("seed_*") if (p / "model.onnx").exists())
        lines = pathlib.Path(tmp) / "list"
        lines.write_text("".join(f"{f}\n" for f in folders))
        env = dict(os.environ, CC=opt.cc, ASAN_OPTIONS="exitcode=99:detect_leaks=0", UBSAN_OPTIONS="exitcode=99")
        env.pop("CFLAGS", None)
        if opt.cflags:
            env["CFLAGS"] = opt.cflags
        out = subprocess.run([opt.runner, "--batch", str(lines), "--jobs", str(opt.jobs), "--limits", *TOL], env=env,
                             stdout=subprocess.PIPE, text=True, errors="replace", check=False).stdout
        result = {}
        for line in out.splitlines():
            word, _, rest = line.partition(" ")
            name, _, detail = rest.partition(" ")
            if word in ("PASS", "FAIL", "REFUSED", "CRASH"):
                result[name] = (word, detail)
        for i, f in enumerate(folders):
            word, detail = result.get(f.name, ("CRASH", "no answer"))
            agrees = runtime_agrees(f) if word != "PASS" or i % opt.every == 0 else None
            tally["runtime"] += agrees is True
            tally["differs"] += agrees is False
            if word == "PASS":
                tally["passed"] += 1
            elif word == "FAIL" and "expected" in detail and (agrees is False or not interpreter_agrees(opt, f)):
                tally["skipped"] += 1
                print(f"undecided {f.name}: {detail}")
            else:
                tally["failed"] += 1
                print(f"FAILED {f.name}: {word} {detail}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--build", default="build", help="the folder with cnncc, cnncc-run and make_graphs")
    p.add_argument("--first", type=int, default=1)
    p.add_argument("--count", type=int, default=200, help="seeds; not every one gives a graph")
    p.add_argument("--size", type=int, default=12, help="nodes, about")
    p.add_argument("--depth", type=int, default=0)
    p.add_argument("--cc", default="tcc")
    p.add_argument("--cflags")
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--every", type=int, default=10, help="onnxruntime runs every N-th graph that passes")
    p.add_argument("--seconds", type=float, default=1e9, help="begin nothing after so long")
    opt = p.parse_args()
    opt.cnncc, opt.runner, opt.make = (f"{opt.build}/{n}" for n in ("cnncc", "cnncc-run", "make_graphs"))
    ort.set_default_logger_severity(4)
    tally = dict.fromkeys(("passed", "failed", "skipped", "runtime", "differs"), 0)
    end, step = time.monotonic() + opt.seconds, 100
    for first in range(opt.first, opt.first + opt.count, step):
        if time.monotonic() < end:
            chunk(opt, first, min(step, opt.first + opt.count - first), tally)
    print(f"onnxruntime: {tally['runtime']} equal, {tally['differs']} not")
    print(f"{tally['passed']} passed, {tally['failed']} failed, {tally['skipped']} skipped")
    return 1 if tally["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
