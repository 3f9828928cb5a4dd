# SPDX-License-Identifier: Apache-2.0
"""Compiles small networks with --grad and checks losses and gradients.

The gradient of each parameter is compared with central differences of the compiled loss in
float64, the loss with ONNX's reference evaluator, float32 with float64. The last line is
'N passed, N failed, N skipped'.
"""

import argparse
import itertools
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
import loader  # noqa: E402
import nets  # noqa: E402

FLAGS = "-std=gnu11 -O2 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math".split()
SAMPLES = 24  # elements of a parameter that are perturbed


serial = itertools.count()


def compile_net(args, folder, name, dtype, options):
    model, inputs, params = nets.build(name, dtype)
    stem = folder / f"{name}_{np.dtype(dtype).name}{next(serial)}"  # a library of a path that was loaded is not loaded again
    onnx.save(model, f"{stem}.onnx")
    loss = nets.NETS[name][1]
    command = [args.cnncc, *options, *nets.NETS[name][2], *([f"--loss={loss}"] if loss else []), f"{stem}.onnx"]
    for step in (
        [*command, "--prefix", "m", "--weights", "inline", "-o", f"{stem}.c"],
        [args.cc, *FLAGS, *args.cflags, "-shared", "-fPIC", "-o", f"{stem}.so", f"{stem}.c", "-lm"],
    ):
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{step[0]}: status {done.returncode}\n{done.stderr[-2000:]}")
    return model, inputs, params, loader.Model(f"{stem}.so")


def target_of(loss, y, rng):
    """A target for predictions y."""
    if loss in ("cross_entropy", "nll"):
        return rng.integers(0, y.shape[1], size=y.shape[:1] + y.shape[2:])
    if loss in ("bce", "bce_with_logits"):
        return rng.uniform(size=y.shape).astype(y.dtype)
    if loss == "cross_entropy_probs":
        t = rng.uniform(size=y.shape)
        return (t / t.sum(axis=1, keepdims=True)).astype(y.dtype)
    return rng.normal(size=y.shape).astype(y.dtype)


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def loss_of(loss, model, y, t):
    """The loss, by NumPy."""
    kind = model.graph.node[-1].op_type
    if loss is None:
        return y.sum()
    if loss in ("mse", "l1"):
        return np.mean((y - t) ** 2 if loss == "mse" else abs(y - t))
    if loss in ("bce", "bce_with_logits"):
        p = y if loss == "bce" else 1 / (1 + np.exp(-y))
        return -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))
    logp = np.log(y) if kind == "Softmax" else y if kind == "LogSoftmax" else log_softmax(y)
    if loss == "cross_entropy_probs":
        return -np.mean(np.sum(t * logp, axis=1))
    return -np.mean(np.take_along_axis(logp, np.expand_dims(t, 1), 1))


def values(model, feeds):
    model.bind(feeds)
    model.run()
    return model.results()


def perturbed(compiled, feeds, name, where, step):
    old = feeds[name][where]
    feeds[name][where] = old + step
    loss = float(values(compiled, feeds)["loss"])
    feeds[name][where] = old
    return loss


def check_differences(compiled, feeds, grads, rng):
    for name, got in grads.items():
        flat = rng.permutation(got.size)[:SAMPLES]
        scale = max(1e-3, float(np.abs(got).max()))
        for i in flat:
            where = np.unravel_index(i, got.shape)
            want = []
            for h in (1e-4, 1e-5, 1e-6):  # the larger ones may cross a kink
                f = [perturbed(compiled, feeds, name, where, k * h) for k in (1, -1, 2, -2)]
                want.append((8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * h))
                if abs(got[where] - want[-1]) <= 1e-7 * scale + 1e-10:
                    break
            else:
                raise AssertionError(f"grad:{name}{[int(k) for k in where]} is {got[where]:.12g}, differences give {want}")


def check(args, folder, name):
    rng = np.random.default_rng(7)
    loss = nets.NETS[name][1]
    model, inputs, params, compiled = compile_net(args, folder, name, np.float64, ["--grad"])
    y = ReferenceEvaluator(model).run(None, inputs)[0]
    names = [compiled.d.in_[i].name.decode() for i in range(compiled.d.n_in)]
    feeds = {**inputs, **{n: p for n, p in params.items() if n in names}}
    if loss:
        feeds["target"] = target_of(loss, y, rng)
    out = values(compiled, feeds)
    want = loss_of(loss, model, y, feeds.get("target"))
    np.testing.assert_allclose(out["loss"], want, rtol=1e-6, err_msg="the loss")
    grads = {n[5:]: v for n, v in out.items() if n.startswith("grad:")}
    if not grads:
        raise AssertionError("there are no gradients")
    check_differences(compiled, feeds, grads, rng)
    check_float32(args, folder, name, feeds, grads)
    check_written(args, folder, name, feeds)


def check_float32(args, folder, name, feeds, grads):
    _, _, params, compiled = compile_net(args, folder, name, np.float32, ["--grad"])
    feeds = {n: v.astype(np.float32) if v.dtype.kind == "f" else v for n, v in feeds.items()}
    out = values(compiled, feeds)
    largest = max(np.abs(want).max() for want in grads.values())
    for n, want in grads.items():
        err = np.abs(out[f"grad:{n}"] - want).max() / max(1e-2 * largest, np.abs(want).max())
        if not err < 2e-4:
            raise AssertionError(f"float32: grad:{n} differs by {err:.3g} of its range")


def check_written(args, folder, name, feeds):
    """The training graph as ONNX, run by onnxruntime, gives the same loss and gradients."""
    import onnxruntime

    path = folder / f"{name}_written.onnx"
    _, _, _, compiled = compile_net(args, folder, name, np.float32, ["--grad", f"--emit-onnx={path}"])
    feeds = {n: np.asarray(v, np.float32) if v.dtype.kind == "f" else v for n, v in feeds.items()}
    want = values(compiled, feeds)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    got = session.run(None, {i.name: feeds[i.name] for i in session.get_inputs()})
    largest = max(np.abs(v).max() for n, v in want.items() if n.startswith("grad:"))
    for o, v in zip(session.get_outputs(), got, strict=True):
        scale = max(1e-2 * largest, np.abs(want[o.name]).max()) if o.name.startswith("grad:") else np.abs(want[o.name]).max()
        if not np.abs(v - want[o.name]).max() <= 1e-4 * scale:
            raise AssertionError(f"{o.name} by onnxruntime differs by {np.abs(v - want[o.name]).max():.3g}")


def check_choice(args, folder):
    """--requires-grad and --freeze choose by name; statistics are not trained; faults are said."""
    _, _, _, both = compile_net(args, folder, "batch_norm", np.float64, ["--grad"])
    names = {both.d.out[i].name.decode() for i in range(both.d.n_out)}
    if "grad:w1" not in names or "grad:w3" in names or "grad:w4" in names:
        raise AssertionError(f"gradients of a batch normalization: {sorted(names)}")
    _, _, _, few = compile_net(args, folder, "cnn", np.float64, ["--grad", "--requires-grad=^w[0-3]$", "--freeze=2"])
    names = {few.d.out[i].name.decode() for i in range(few.d.n_out)}
    if {n for n in names if n.startswith("grad:")} != {"grad:w0", "grad:w1", "grad:w3"}:
        raise AssertionError(f"--requires-grad and --freeze give {sorted(names)}")
    onnx.save(nets.build("cnn")[0], folder / "bad.onnx")
    for bad in ("--loss=none", "--requires-grad=[", "--requires-grad=nothing", "--optimizer=none", "--input-grad=none"):
        done = subprocess.run([args.cnncc, "--train", "--batch=2", "--loss=mse", bad, str(folder / "bad.onnx"), "-o",
                               str(folder / "bad.c")], capture_output=True, text=True, check=False)
        if done.returncode != 1 or bad.split("=")[0] not in done.stderr and "train" not in done.stderr:
            raise AssertionError(f"{bad}: status {done.returncode}: {done.stderr}")


def check_straight_through(args, folder):
    """Quantizers pass gradients on where they do not clip."""
    _, inputs, params, compiled = compile_net(args, folder, "quantized", np.float32, ["--grad"])
    x, w = inputs["x0"], params["w0"]
    out = values(compiled, {"x0": x, "w0": w, "scale": np.float32(0.01)} if compiled.d.n_in > 2 else {"x0": x, "w0": w})
    q = np.rint(x.T / np.float32(0.01)) + 3
    clipped = np.clip(q, -128, 127)
    inside = ((x.T / np.float32(0.01) + 3 >= -128) & (x.T / np.float32(0.01) + 3 <= 127)).reshape(4, 6)
    want = np.where(inside, w, 0).reshape(6, 4).T
    if (q == clipped).all() or (q != clipped).all():
        raise AssertionError("the test has to clip some")
    np.testing.assert_allclose(out["grad:x0"], want, rtol=1e-6, err_msg="grad:x0")
    np.testing.assert_allclose(out["grad:w0"], ((clipped - 3) * 0.01).reshape(4, 6), rtol=1e-5, err_msg="grad:w0")


def check_gradient_operator(args, folder):
    """Gradient as an operator, and of a Gradient: sin(a) b^3 and its mixed derivative cos(a) 3 b^2."""
    domain = "ai.onnx.preview.training"
    nodes = [
        onnx.helper.make_node("Sin", ["a"], ["s"]), onnx.helper.make_node("Mul", ["b", "b"], ["bb"]),
        onnx.helper.make_node("Mul", ["bb", "b"], ["bbb"]), onnx.helper.make_node("Mul", ["s", "bbb"], ["y"]),
        onnx.helper.make_node("Gradient", ["a", "b"], ["da", "db"], domain=domain, xs=["a", "b"], y="y"),
        onnx.helper.make_node("Gradient", ["b"], ["dadb"], domain=domain, xs=["b"], y="da"),
    ]
    def value(n):
        return onnx.helper.make_tensor_value_info(n, onnx.TensorProto.DOUBLE, [3])
    graph = onnx.helper.make_graph(nodes, "g", [value("a"), value("b")], [value(n) for n in ("da", "db", "dadb")])
    sets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid(domain, 1)]
    stem = folder / "gradient"
    onnx.save(onnx.helper.make_model(graph, opset_imports=sets, ir_version=8), f"{stem}.onnx")
    subprocess.run([args.cnncc, f"{stem}.onnx", "--prefix", "m", "-o", f"{stem}.c"], check=True)
    subprocess.run([args.cc, *FLAGS, "-shared", "-fPIC", "-o", f"{stem}.so", f"{stem}.c", "-lm"], check=True)
    a, b = np.array([0.3, -1, 2.0]), np.array([1.5, 0.0, -0.7])
    out = values(loader.Model(f"{stem}.so"), {"a": a, "b": b})
    for n, want in {"da": np.cos(a) * b**3, "db": np.sin(a) * 3 * b**2, "dadb": np.cos(a) * 3 * b**2}.items():
        np.testing.assert_allclose(out[n], want, rtol=1e-14, atol=1e-15, err_msg=n)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cnncc", required=True)
    parser.add_argument("--cc", default="clang-19")
    parser.add_argument("--cflags", type=str.split, default=[], help="further flags, as one string")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    passed = failed = 0
    with tempfile.TemporaryDirectory() as tmp:
        tests = {n: lambda n=n: check(args, pathlib.Path(tmp), n) for n in nets.NETS if n != "quantized"}
        tests["quantized"] = lambda: check_straight_through(args, pathlib.Path(tmp))
        tests["gradient_operator"] = lambda: check_gradient_operator(args, pathlib.Path(tmp))
        tests["choice"] = lambda: check_choice(args, pathlib.Path(tmp))
        for name, run in tests.items():
            if args.names and name not in args.names:
                continue
            try:
                run()
                passed += 1
            except Exception as e:  # noqa: BLE001  every failure is reported
                failed += 1
                print(f"FAILED: {name}: {e}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
