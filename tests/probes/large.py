# SPDX-License-Identifier: Apache-2.0
"""A large model with external data: compiled in little memory, run from a mapped file.

    large.py --cnncc build/cnncc --build build/probes [--mb 200]

--mb 3000 is the long form: less than 500 MB of memory for a model of 3 GB. The bound is in proportion, but
for the 32 MB that the compiler may take for itself. Closes with 'N passed, N failed, N skipped'.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h


def write(folder, mb):
    """Layers y = relu(x W) with W [n, n], and every fifth x + x W' with W' stored transposed; the folder's size is mb."""
    n = 1024 if mb < 1000 else 4096
    count = max(5, round(mb * 1e6 / (4 * n * n)))
    rng = np.random.default_rng(5)
    block = (rng.standard_normal((n, n), np.float32) * np.float32(1.4 / n**0.5)).reshape(-1)
    nodes, inits, x = [], [], "x"
    with open(folder / "weights.bin", "wb") as f:
        for i in range(count):
            w = onnx.TensorProto(name=f"w{i}", data_type=T.FLOAT, dims=[n, n], data_location=onnx.TensorProto.EXTERNAL)
            for key, value in (("location", "weights.bin"), ("offset", str(f.tell())), ("length", str(4 * n * n))):
                w.external_data.add(key=key, value=value)
            inits.append(w)
            np.roll(block, 7919 * i).tofile(f)
            if i % 5 == 4:
                nodes += [h.make_node("Transpose", [f"w{i}"], [f"t{i}"], perm=[1, 0]), h.make_node("MatMul", [x, f"t{i}"], [f"m{i}"]),
                          h.make_node("Tanh", [f"m{i}"], [f"h{i}"]), h.make_node("Add", [x, f"h{i}"], [f"x{i}"])]
            else:
                nodes += [h.make_node("MatMul", [x, f"w{i}"], [f"m{i}"]), h.make_node("Relu", [f"m{i}"], [f"x{i}"])]
            x = f"x{i}"
    vi = h.make_tensor_value_info
    g = h.make_graph(nodes, "large", [vi("x", T.FLOAT, [1, n])], [vi(x, T.FLOAT, [1, n])], inits)
    (folder / "large.onnx").write_bytes(h.make_model(g, opset_imports=[h.make_opsetid("", 17)], ir_version=8).SerializeToString())
    return n, count, x


def reference(folder, n, count, x):
    w = np.memmap(folder / "weights.bin", np.float32, "r").reshape(count, n, n)
    for i in range(count):
        x = x + np.tanh(x @ w[i].T) if i % 5 == 4 else np.maximum(x @ w[i], 0)
    return x


def peak(cmd):
    """Runs it; its greatest resident memory in MB (ru_maxrss would count this interpreter's, too)."""
    p, most = subprocess.Popen(cmd), 0
    while p.poll() is None:
        try:
            with open(f"/proc/{p.pid}/status") as f:
                most = max([most, *(int(x.split()[1]) for x in f if x.startswith("VmHWM"))])
        except (FileNotFoundError, ProcessLookupError):
            pass
        time.sleep(0.005)
    if p.returncode:
        raise subprocess.CalledProcessError(p.returncode, cmd)
    return most / 1024


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--cnncc", default="build/cnncc")
    a.add_argument("--build", default="build/probes")
    a.add_argument("--cc", default="clang-19")
    a.add_argument("--mb", type=int, default=200)
    o = a.parse_args()
    folder = pathlib.Path(o.build) / "large"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    n, count, last = write(folder, o.mb)
    failed = []
    used = peak([o.cnncc, str(folder / "large.onnx"), "-o", str(folder / "m.c"), "--prefix", "m", "--weights", "file"])
    bound = 32 + 468 * o.mb / 3000
    print(f"{o.mb} MB: compiled in {used:.0f} MB of memory, {bound:.0f} allowed")
    if used > bound:
        failed.append("memory")
    size = (folder / "m.bin").stat().st_size
    if size > 1.3 * 4 * n * n * count:
        failed.append(f"m.bin has {size} bytes")
    x = np.random.default_rng(6).standard_normal((1, n)).astype(np.float32)
    np.save(folder / "x.npy", x)
    runner = str(pathlib.Path(o.cnncc).parent / "cnncc-run")
    subprocess.run([runner, str(folder / "m.c"), "--prefix", "m", "--cc", o.cc, "--input", f"x={folder / 'x.npy'}", "--output", str(folder)], check=True)
    got, want = np.load(folder / f"{last}.npy"), reference(folder, n, count, x)
    worst = float(np.abs(got - want).max() / np.abs(want).max())
    print(f"the result is within {worst:.1e} of its range")
    if not worst < 1e-4:
        failed.append("result")
    shutil.rmtree(folder)
    for f in failed:
        print(f"FAILED {f}")
    print(f"{1 - bool(failed)} passed, {int(bool(failed))} failed, 0 skipped")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
