# SPDX-License-Identifier: Apache-2.0
"""A model's own training (TrainingInfoProto), compiled by cnncc --training-info, against NumPy.

    info.py --cnncc build/cnncc [--cc clang-19]

The last line is 'N passed, N failed, N skipped'.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
import loader  # noqa: E402

RATE, MOMENTUM, DECAY = 0.1, 0.9, 0.001
PREVIEW = "ai.onnx.preview.training"


def value(name, *shape, kind=T.FLOAT):
    return h.make_tensor_value_info(name, kind, shape)


def entry(key, to):
    e = onnx.StringStringEntryProto()
    e.key, e.value = key, to
    return e


def model():
    """y = tanh(x w + b), trained on the mean of squares with momentum; it starts at w = 0.25, b = 0."""
    node, zero = h.make_node, lambda n, *s: nh.from_array(np.zeros(s, np.float32), n)
    graph = h.make_graph([node("Gemm", ["x", "w", "b"], ["z"]), node("Tanh", ["z"], ["y"])], "net", [value("x", 8, 3)], [value("y", 8, 2)],
                         [nh.from_array(np.full((3, 2), 0.5, np.float32), "w"), zero("b", 2)])
    step = h.make_graph(
        [node("Sub", ["y", "target"], ["d"]), node("Mul", ["d", "d"], ["q"]), node("ReduceMean", ["q"], ["loss"], keepdims=0),
         node("Gradient", ["w", "b"], ["gw", "gb"], domain=PREVIEW, xs=["w", "b"], y="loss"),
         node("Momentum", ["rate", "t", "w", "b", "gw", "gb", "vw", "vb"], ["w_new", "b_new", "vw_new", "vb_new"], domain=PREVIEW, alpha=MOMENTUM, beta=1.0,
              mode="standard", norm_coefficient=DECAY),
         node("Add", ["t", "one"], ["t_new"])],
        "step", [value("target", 8, 2)], [value("loss")],
        [nh.from_array(np.float32(RATE), "rate"), nh.from_array(np.int64(0), "t"), nh.from_array(np.int64(1), "one"), zero("vw", 3, 2), zero("vb", 2)])
    start = h.make_graph([node("Constant", [], ["w_start"], value=nh.from_array(np.full((3, 2), 0.25, np.float32), "")),
                          node("Constant", [], ["b_start"], value=zero("", 2))], "start", [], [value("w_start", 3, 2), value("b_start", 2)])
    m = h.make_model(graph, opset_imports=[h.make_opsetid("", 17), h.make_opsetid(PREVIEW, 1)], ir_version=8)
    info = m.training_info.add()
    info.algorithm.CopyFrom(step)
    info.initialization.CopyFrom(start)
    info.update_binding.extend(entry(n, f"{n}_new") for n in ("w", "b", "vw", "vb", "t"))
    info.initialization_binding.extend((entry("w", "w_start"), entry("b", "b_start")))
    return m


def compiled(args, folder, path, name, *options):
    stem = folder / name
    subprocess.run([args.cnncc, *options, "--prefix=m", "--weights=inline", str(path), "-o", f"{stem}.c"], check=True)
    subprocess.run([args.cc, "-O2", "-shared", "-fPIC", "-o", f"{stem}.so", f"{stem}.c", "-lm"], check=True)
    return loader.Model(f"{stem}.so")


def run(m, feeds):
    m.bind(feeds)
    m.run()
    return m.results()


def check_steps(args, folder):
    path = folder / "own.onnx"
    onnx.save(model(), path)
    first = run(compiled(args, folder, path, "start", "--training-info=init"), {})
    step, use = compiled(args, folder, path, "step", "--training-info", "step"), compiled(args, folder, path, "use")
    rng = np.random.default_rng(1)
    now = {"w": first["w_start"], "b": first["b_start"], "vw": np.zeros((3, 2), np.float32), "vb": np.zeros(2, np.float32), "t": np.array(0)}
    w, b, vw, vb = np.full((3, 2), 0.25), np.zeros(2), 0.0, 0.0
    for t in range(20):
        x, target = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
        out = run(step, {"x": x.astype(np.float32), "target": target.astype(np.float32), **now})
        y = np.tanh(x @ w + b)
        np.testing.assert_allclose(out["y"], y, rtol=2e-4, atol=1e-5)
        np.testing.assert_allclose(out["loss"], ((y - target) ** 2).mean(), rtol=1e-4)
        d = 2 * (y - target) / y.size * (1 - y * y)
        gw, gb = x.T @ d + DECAY * w, d.sum(0) + DECAY * b
        vw, vb = MOMENTUM * vw + gw, MOMENTUM * vb + gb
        w, b = w - RATE * vw, b - RATE * vb
        now = {n: out[f"{n}_new"] for n in now}
        np.testing.assert_allclose(now["w"], w, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(now["vb"], vb, rtol=1e-4, atol=1e-6)
        if now["t"] != t + 1:
            raise AssertionError(f"iteration {now['t']}")
    np.testing.assert_allclose(run(use, {"x": np.ones((8, 3), np.float32)})["y"], np.tanh(np.full((8, 2), 1.5)), rtol=1e-6)


def check_refused(args, folder):
    """No training, several, a binding to what is no initializer: one diagnostic, status 1."""
    for change, says in ((lambda m: m.ClearField("training_info"), "no training of its own"), (lambda m: m.training_info.add(), "several"),
                         (lambda m: m.training_info[0].update_binding.append(entry("nobody", "w_new")), "initializers"),
                         (lambda m: m.training_info[0].ClearField("algorithm"), "no algorithm")):
        m = model()
        change(m)
        path = folder / "refused.onnx"
        onnx.save(m, path)
        done = subprocess.run([args.cnncc, "--training-info=step", str(path), "-o", f"{folder}/r.c"], capture_output=True, text=True, check=False)
        if done.returncode != 1 or says not in done.stderr:
            raise AssertionError(f"status {done.returncode}: {done.stderr}")


def check_unbounded(args, folder):
    """A batch of any size, whatever its name, has no room in a trainer: one diagnostic, status 1."""
    for name in ("batch", "n"):
        g = h.make_graph([h.make_node("MatMul", ["x", "w"], ["y"])], "g", [h.make_tensor_value_info("x", T.FLOAT, [name, 4])],
                         [h.make_tensor_value_info("y", T.FLOAT, [name, 2])], [nh.from_array(np.ones((4, 2), np.float32), "w")])
        path = folder / "unbounded.onnx"
        onnx.save(h.make_model(g, opset_imports=[h.make_opsetid("", 17)], ir_version=8), path)
        for option, status in ((), 1), (("--batch", "8"), 0), (("--dim", f"{name}=8"), 0):
            done = subprocess.run([args.cnncc, "--train", "--loss", "mse", *option, str(path), "-o", f"{folder}/r.c"], capture_output=True, text=True, check=False)
            if done.returncode != status or (status and f"needs the size of {name}" not in done.stderr):
                raise AssertionError(f"{option}: status {done.returncode}: {done.stderr}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--cnncc", required=True)
    p.add_argument("--cc", default="clang-19")
    args = p.parse_args()
    passed = failed = 0
    with tempfile.TemporaryDirectory() as tmp:
        for check in (check_steps, check_refused, check_unbounded):
            try:
                check(args, pathlib.Path(tmp))
                passed += 1
            except Exception as e:  # noqa: BLE001
                failed += 1
                print(f"FAILED: {check.__name__}: {type(e).__name__}: {e}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
