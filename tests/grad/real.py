# SPDX-License-Identifier: Apache-2.0
"""Gradients of real models (tests/models), compiled in float64, against differences of their loss.

    real.py --cnncc build/cnncc --build build/models [NAME...]

The loss is the mean of squares of each floating point output. Along a random direction of every parameter and input that
has a gradient at once, and of each of some by itself, the derivative is compared with central differences. Models without
a floating point way from parameters to outputs, and quantized ones, whose rounding has no differences, are named and
skipped. The last line is 'N passed, N failed, N skipped'.
"""

import argparse
import concurrent.futures
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import numpy_helper

for folder in ("bench", "models"):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / folder))
import loader  # noqa: E402
import models  # noqa: E402
from catalogue import MODELS  # noqa: E402

FLAGS = "-std=gnu11 -O1 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math".split()
ALONE = 12  # parameters that are moved by themselves
TOLERANCE = 2e-5


class Skipped(Exception):
    """There is nothing to check, and why."""


def weights_of(model):
    """Floating point constants by name: initializers, or Constant nodes where these are the parameters."""
    found = {w.name: w for w in model.graph.initializer}
    found |= {n.output[0]: a.t for n in model.graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"}
    return {k: numpy_helper.to_array(w).astype(np.float64) for k, w in found.items() if w.data_type in (T.FLOAT, T.DOUBLE, T.FLOAT16)}


def is_quantized(model):
    return any(n.op_type.startswith(("Quantize", "Dequantize", "DynamicQuantize", "QLinear", "ConvInteger", "MatMulInteger")) for n in model.graph.node)


def compile_grad(args, path, model, feeds, stem):
    outputs = [o.name for o in model.graph.output if o.type.tensor_type.elem_type in (T.FLOAT, T.DOUBLE)]
    inputs = [k for k, v in feeds.items() if v.dtype.kind == "f"]
    if not outputs:
        raise Skipped("no output of floating point numbers")
    command = [args.cnncc, "--grad", "--dtype=f64", "--prefix=m", "--weights=file", "--frozen-bn", f"--loss={','.join(f'mse:{o}' for o in outputs)}",
               *(f"--shape={k}={'x'.join(map(str, v.shape))}" for k, v in feeds.items() if v.shape), *([f"--input-grad={','.join(inputs)}"] if inputs else []),
               str(path), "-o", f"{stem}.c"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 1:
        raise Skipped(done.stderr.strip().splitlines()[0].split(": ", 1)[1])
    if done.returncode:
        raise RuntimeError(done.stderr[-1000:])
    subprocess.run([args.cc, *FLAGS, "-shared", "-fPIC", "-o", f"{stem}.so", f"{stem}.c", "-lm"], check=True)
    return loader.Model(f"{stem}.so")


def shape_of(model, path, feeds, output, dim):
    """Of a target: its output's, where only a run knows it."""
    if min(dim, default=1) >= 0:
        return dim
    names = [o.name for o in model.graph.output]
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run([output if output in names else names[0]], feeds)[0].shape


def run(compiled, feeds):
    compiled.bind(feeds)
    compiled.run()
    return compiled.results()


def check_direction(compiled, feeds, grads, names, rng, what):
    d = {n: rng.normal(size=feeds[n].shape) * max(1e-3, float(np.sqrt(np.mean(feeds[n] ** 2)))) for n in names}
    got, tried = sum(float(np.sum(grads[n] * d[n])) for n in names), []
    for h in (1e-5, 1e-6, 1e-7, 1e-8, 1e-9):  # a larger one may cross a kink, a smaller one drowns in rounding
        loss = [float(run(compiled, {**feeds, **{n: feeds[n] + k * h * d[n] for n in names}})["loss"]) for k in (1, -1)]
        tried.append((loss[0] - loss[1]) / (2 * h))
        rounding = 1e-13 * (abs(loss[0]) + abs(loss[1])) / h
        if abs(tried[-1] - got) <= TOLERANCE * abs(got) + min(rounding, max(1e-3 * abs(got), 1e-9 * abs(loss[0]))) + 1e-12:
            return
    raise AssertionError(f"along {what}: the gradient says {got:.9g}, differences {', '.join(f'{t:.9g}' for t in tried)}")


def check(args, entry, folder):
    path = models.fetch(entry, pathlib.Path(args.build))
    model, feeds = onnx.load(path), models.inputs_of(entry)
    if is_quantized(model):
        raise Skipped("quantized")
    if any(v.dtype.kind in "US" for v in feeds.values()):
        raise Skipped("inputs of text")
    folder.mkdir(parents=True, exist_ok=True)
    compiled = compile_grad(args, path, model, feeds, folder / "grad")
    names = [compiled.d.in_[i].name.decode() for i in range(compiled.d.n_in)]
    weights = weights_of(model)
    full = {}
    for n, port in zip(names, (compiled.d.in_[i] for i in range(compiled.d.n_in)), strict=True):
        if n in feeds or n in weights:
            full[n] = feeds[n] if n in feeds else weights[n]
            full[n] = full[n].astype(np.float64) if full[n].dtype.kind == "f" else full[n]
        else:
            full[n] = np.zeros(shape_of(model, path, feeds, n.removeprefix("target_"), [int(port.dim[k]) for k in range(port.rank)]))
    rng = np.random.default_rng(5)
    try:
        out = run(compiled, full)
    except ValueError as e:
        raise Skipped("an output's size has no bound") from e
    grads = {n[5:]: v for n, v in out.items() if n.startswith("grad:")}
    wrt = [n for n in grads if full[n].ndim]  # numbers of a model, as an exponent, are none of its parameters
    check_direction(compiled, full, grads, wrt, rng, "everything")
    for n in rng.permutation(wrt)[:ALONE]:
        check_direction(compiled, full, grads, [n], rng, n)
    return len(wrt), sum(full[n].size for n in wrt)


def outcome(args, entry):
    """passed, failed or skipped, and what to say of it."""
    try:
        tensors, numbers = check(args, entry, pathlib.Path(args.build) / "grad" / entry["name"])
        return "passed", f"{numbers} numbers in {tensors} tensors"
    except (Skipped, models.Absent) as e:
        return "skipped", str(e)
    except Exception as e:  # noqa: BLE001
        return "FAILED", f"{type(e).__name__}: {e}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--cnncc", required=True)
    p.add_argument("--build", required=True)
    p.add_argument("--cc", default="clang-19")
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("names", nargs="*")
    args = p.parse_args()
    count = dict.fromkeys(("passed", "FAILED", "skipped"), 0)
    chosen = [m for m in MODELS if not args.names or m["name"] in args.names]
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for entry, (what, text) in zip(chosen, pool.map(lambda m: outcome(args, m), chosen), strict=True):
            print(f"{what}: {entry['name']}: {text}", flush=True)
            count[what] += 1
    print(f"{count['passed']} passed, {count['FAILED']} failed, {count['skipped']} skipped")
    return count["FAILED"] > 0


if __name__ == "__main__":
    sys.exit(main())
