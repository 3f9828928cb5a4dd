# SPDX-License-Identifier: Apache-2.0
"""Adapters of low rank (cnncc --lora): start, gradients, steps, checkpoint and the merged export.

    lora.py --cnncc build/cnncc [--cc clang-19]

For each way in which a weight is read (MatMul, Gemm both ways, Conv, Gather, and others by the sum): a training starts at
the model as it is; the gradients are those of the weight by the chain rule; only adapters move; the exported file,
run by onnxruntime, gives what the training predicts. The last line is 'N passed, N failed, N skipped'.
"""

import argparse
import json
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

import trainer

RNG = np.random.default_rng(11)


def floats(*shape):
    return (RNG.normal(size=shape) * 0.4).astype(np.float32)


def inner(w):
    """An If whose branches read w."""
    def branch(op):
        return h.make_graph([h.make_node("MatMul", ["x", w], ["p"]), h.make_node(op, ["p"], ["r"])], op, [], [h.make_tensor_value_info("r", T.FLOAT, None)])
    return [h.make_node("ReduceSum", ["x"], ["s"], keepdims=0), h.make_node("Greater", ["s", "zero"], ["c"]),
            h.make_node("If", ["c"], ["y"], then_branch=branch("Tanh"), else_branch=branch("Sigmoid"))]


# name -> nodes, weights, shape of x, rank of the adapters
WAYS = {
    "matmul": ([h.make_node("MatMul", ["x", "w"], ["y"])], {"w": floats(7, 5)}, [1, 3, 7], 2),
    "gemm": ([h.make_node("Gemm", ["x", "w", "b"], ["y"])], {"w": floats(6, 4), "b": floats(4)}, [1, 6], 3),
    "gemm transposed": ([h.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)], {"w": floats(300, 6), "b": floats(300)}, [1, 6], 2),
    "gemm scaled": ([h.make_node("Gemm", ["x", "w"], ["y"], alpha=0.5)], {"w": floats(6, 4)}, [1, 6], 2),
    "conv": ([h.make_node("Conv", ["x", "w", "b"], ["y"], pads=[1, 0, 1, 1], strides=[2, 1], dilations=[1, 2])], {"w": floats(5, 3, 3, 2), "b": floats(5)}, [1, 3, 8, 7], 2),
    "conv in groups": ([h.make_node("Conv", ["x", "w"], ["y"], group=2)], {"w": floats(4, 2, 3, 3)}, [1, 4, 6, 5], 2),
    "conv transposed": ([h.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2])], {"w": floats(3, 4, 3)}, [1, 3, 6], 2),
    "embedding": ([h.make_node("Cast", ["x"], ["i"], to=T.INT64), h.make_node("Gather", ["w", "i"], ["y"])], {"w": floats(9, 5)}, [1, 4], 2),
    "two readers": ([h.make_node("MatMul", ["x", "w"], ["a"]), h.make_node("Tanh", ["a"], ["b"]), h.make_node("MatMul", ["b", "w"], ["y"])], {"w": floats(5, 5)}, [1, 5], 2),
    "read in two ways": ([h.make_node("MatMul", ["x", "w"], ["a"]), h.make_node("Gemm", ["a", "w"], ["y"], transB=1)], {"w": floats(5, 8)}, [1, 5], 2),
    "in branches": (inner("w"), {"w": floats(6, 4), "zero": np.float32(0)}, [1, 6], 2),
    "lstm": ([h.make_node("LSTM", ["x", "w", "v"], ["q"], hidden_size=3, layout=0), h.make_node("Squeeze", ["q", "one"], ["y"])],
             {"w": floats(1, 12, 4), "v": floats(1, 12, 3), "one": np.array([1], np.int64)}, [5, 1, 4], 2),
}


def save(nodes, weights, shape, path):
    graph = h.make_graph(nodes, "net", [h.make_tensor_value_info("x", T.FLOAT, shape)], [h.make_tensor_value_info("y", T.FLOAT, None)],
                         [numpy_helper.from_array(np.asarray(w), n) for n, w in weights.items()])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def run(path, feeds):
    data = path.read_bytes() if isinstance(path, pathlib.Path) else path
    return ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


def near(got, want, what, tol=2e-5):
    top = max(1e-6, np.abs(want).max())
    if np.shape(got) != np.shape(want) or not np.abs(got - want).max() <= tol * top:
        raise AssertionError(f"{what}: off by {np.abs(got - want).max() / top:.1e}")


def check(args, folder, name, scale):
    nodes, weights, shape, rank = WAYS[name]
    path = save(nodes, weights, shape, folder / "m.onnx")
    x = RNG.integers(0, 9, shape).astype(np.float32) if name == "embedding" else RNG.normal(size=shape).astype(np.float32)
    want = run(path, {"x": x})
    feeds = {"x": x, "target": RNG.normal(size=want.shape).astype(np.float32)}
    lora = f"--lora=^w$:{rank}" + (f"/{scale * rank}" if scale != 1 else "")
    options = ["--loss=mse", "--optimizer=sgd"]
    t = trainer.compile_trainer(args.cnncc, args.cc, path, folder / "t", [*options, lora], np.float32, ("x", "target"), correct=False)
    full = trainer.compile_trainer(args.cnncc, args.cc, path, folder / "f", [*options, "--requires-grad=^w$"], np.float32, ("x", "target"), correct=False)
    n = {True: shape[0], False: 1}[name == "lstm"]
    grown = {k: v if len(v) == n else v[:n] for k, v in feeds.items()}

    def predict():
        y = t.reals(want.size)
        t.call("predict", {"x": x}, y=y)
        return y.reshape(want.shape)

    near(predict(), want, "the start")
    a, b = t.views()["w.lora_A"], t.views()["w.lora_B"]
    if not (b == 0).all() or (a == 0).any():
        raise AssertionError("one of the two is to be random, the other zero")
    b[:] = RNG.normal(size=b.shape) * 0.3
    rows = {"lstm": 12, "conv in groups": 8}.get(name, len(weights["w"]))
    up, across = (a, b) if a.shape[0] == rows else (b, a)
    up2, across2 = up.reshape(up.shape[0], -1), across.reshape(across.shape[0], -1)
    full.views()["w"][:] = weights["w"] + scale * (up2 @ across2).reshape(weights["w"].shape)
    for q in (t, full):
        q.lib.m_zero_grad(trainer.C.byref(q.t))
        q.call("forward_backward", grown)
    g = full.views("grads")["w"].reshape(rows, -1)
    if set(t.views("grads")) != {"w.lora_A", "w.lora_B"}:
        raise AssertionError(f"trained are {set(t.views('grads'))}")
    for side, d in ((up, scale * g @ across2.T), (across, scale * up2.T @ g)):
        key = "w.lora_A" if side is a else "w.lora_B"
        near(t.views("grads")[key].reshape(d.shape), d, f"the gradient of {key}")
    for _ in range(3):
        t.train_step(grown)
    if not (t.views()["w"] == weights["w"]).all():
        raise AssertionError("the weight itself has moved")
    saved = t.save()
    header = json.loads(saved[8 : 8 + int.from_bytes(saved[:8], "little")])
    if "w" in header or "w.lora_A" not in header:
        raise AssertionError(f"a checkpoint of {set(header)}")
    status, data = t.export(path.read_bytes())
    t.check(status)
    near(run(data, {"x": x}), predict(), "the exported file", 5e-5)
    if np.abs(run(data, {"x": x}) - want).max() == 0:
        raise AssertionError("training changed nothing")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cnncc", required=True)
    parser.add_argument("--cc", default="clang-19")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    passed = failed = 0
    with tempfile.TemporaryDirectory() as tmp:
        for name in WAYS:
            for scale in (1, 2.5) if name in ("matmul", "conv", "lstm") else (1,):
                if args.names and not any(n in name for n in args.names):
                    continue
                try:
                    check(args, pathlib.Path(tmp), name, scale)
                    passed += 1
                except Exception as e:  # noqa: BLE001
                    failed += 1
                    print(f"FAILED: {name}, scale {scale}: {type(e).__name__}: {e}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
