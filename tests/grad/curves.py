# SPDX-License-Identifier: Apache-2.0
"""Loss curves of trainers that cnncc makes against PyTorch's: 300 steps in float64, 10 in float32.

    curves.py --cnncc build/cnncc [--torch /usr/bin/python3]

PyTorch and NumPy run in the Python that --torch names (Debian's python3-torch and python3-numpy);
without them the tests are skipped, by name. The last line is 'N passed, N failed, N skipped'.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
STEPS, BATCHES, SIZE, CLASSES = 300, 10, 8, 4
OPTIMIZERS = {"sgd": {"lr": 0.004, "momentum": 0.9, "weight_decay": 1e-3}, "adamw": {"lr": 2e-3, "weight_decay": 0.01}}
SHAPES = {  # of one example, and of the parameters
    "mlp": ((12,), {"a.w": (16, 12), "a.b": (16,), "b.w": (10, 16), "b.b": (10,), "c.w": (4, 10), "c.b": (4,)}),
    "convnet": ((2, 8, 8), {"a.w": (6, 2, 3, 3), "n.s": (6,), "n.b": (6,), "n.m": (6,), "n.v": (6,), "b.w": (8, 6, 3, 3), "b.b": (8,),
                            "c.w": (4, 32), "c.b": (4,)}),
    "transformer": ((5, 8), {"q": (8, 8), "k": (8, 8), "v": (8, 8), "o": (8, 8), "n1.s": (8,), "n1.b": (8,), "n2.s": (8,), "n2.b": (8,),
                             "u": (8, 16), "u.b": (16,), "d": (16, 8), "c.w": (4, 8), "c.b": (4,)}),
    "lstm": ((6, 3), {"w": (1, 20, 3), "r": (1, 20, 5), "b": (1, 40), "c.w": (4, 5), "c.b": (4,)}),
}


def start(name):
    """Parameters and batches, the same for both."""
    rng = np.random.default_rng(sum(name.encode()))
    shape, params = SHAPES[name]
    w = {n: rng.normal(size=s) * (0.4 if len(s) > 1 else 0.1) + n.endswith((".s", ".v")) for n, s in params.items()}
    w |= {n: np.abs(v) for n, v in w.items() if n.endswith(".v")}
    x = rng.normal(size=(BATCHES, SIZE, *shape))
    return w, x, rng.integers(0, CLASSES, size=(BATCHES, SIZE))


# ---- PyTorch ----------------------------------------------------------------------------------------------

def torch_net(name, w, x):
    import torch
    import torch.nn.functional as F

    if name == "mlp":
        return F.linear(torch.tanh(F.linear(F.relu(F.linear(x, w["a.w"], w["a.b"])), w["b.w"], w["b.b"])), w["c.w"], w["c.b"])
    if name == "convnet":
        x = F.conv2d(x, w["a.w"], padding=1)
        x = F.max_pool2d(F.relu(F.batch_norm(x, w["n.m"], w["n.v"], w["n.s"], w["n.b"], training=True, momentum=0.1)), 2)
        x = F.relu(F.conv2d(x, w["b.w"], w["b.b"], stride=2, padding=1))
        return F.linear(x.flatten(1), w["c.w"], w["c.b"])
    if name == "transformer":
        n = F.layer_norm(x, (8,), w["n1.s"], w["n1.b"])
        q, k, v = ((n @ w[i]).reshape(-1, 5, 2, 4).transpose(1, 2) for i in "qkv")
        p = torch.softmax(q @ k.transpose(2, 3) * 0.5, dim=-1)
        x = x + (p @ v).transpose(1, 2).reshape(-1, 5, 8) @ w["o"]
        x = x + F.gelu(F.layer_norm(x, (8,), w["n2.s"], w["n2.b"]) @ w["u"] + w["u.b"]) @ w["d"]
        return F.linear(x.mean(1), w["c.w"], w["c.b"])
    h = c = torch.zeros(len(x), 5, dtype=x.dtype)
    for t in range(6):
        pre = F.linear(x[:, t], w["w"][0]) + F.linear(h, w["r"][0]) + w["b"][0, :20] + w["b"][0, 20:]
        i, o, f, g = pre.split(5, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return F.linear(h, w["c.w"], w["c.b"])


def torch_curves(path):
    import torch

    curves = {}
    for name in SHAPES:
        for optimizer, setting in OPTIMIZERS.items():
            for dtype in (torch.float64, torch.float32):
                w, x, t = start(name)
                w = {n: torch.tensor(v, dtype=dtype, requires_grad=not n.endswith((".m", ".v"))) for n, v in w.items()}
                make = torch.optim.SGD if optimizer == "sgd" else torch.optim.AdamW
                o = make([v for v in w.values() if v.requires_grad], **setting)
                curve = []
                for s in range(STEPS if dtype == torch.float64 else 10):
                    o.zero_grad()
                    loss = torch.nn.functional.cross_entropy(torch_net(name, w, torch.tensor(x[s % BATCHES], dtype=dtype)), torch.tensor(t[s % BATCHES]))
                    loss.backward()
                    o.step()
                    curve.append(float(loss))
                curves[f"{name} {optimizer} {str(dtype)[6:]}"] = curve
    np.savez(path, **curves)


# ---- ONNX -------------------------------------------------------------------------------------------------

def onnx_net(name):
    from onnx import TensorProto, helper, numpy_helper

    w, _, _ = start(name)
    nodes, consts = [], {}

    def op(kind, *ins, outs=1, **attributes):
        names = [f"t{len(nodes)}_{i}" for i in range(outs)]
        nodes.append(helper.make_node(kind, list(ins), names, **attributes))
        return names[0] if outs == 1 else names

    def ints(*values):
        consts[f"i{len(consts)}"] = np.array(values, np.int64)
        return f"i{len(consts) - 1}"

    x = "x"
    if name == "mlp":
        x = op("Relu", op("Gemm", x, "a.w", "a.b", transB=1))
        x = op("Tanh", op("Gemm", x, "b.w", "b.b", transB=1))
    elif name == "convnet":
        x = op("BatchNormalization", op("Conv", x, "a.w", pads=[1] * 4), "n.s", "n.b", "n.m", "n.v")
        x = op("MaxPool", op("Relu", x), kernel_shape=[2, 2], strides=[2, 2])
        x = op("Flatten", op("Relu", op("Conv", x, "b.w", "b.b", strides=[2, 2], pads=[1] * 4)))
    elif name == "transformer":
        n = op("LayerNormalization", x, "n1.s", "n1.b")
        q, k, v = (op("Transpose", op("Reshape", op("MatMul", n, i), ints(-1, 5, 2, 4)), perm=[0, 2, 3, 1] if i == "k" else [0, 2, 1, 3]) for i in "qkv")
        consts["half"] = np.array(0.5)
        p = op("Softmax", op("Mul", op("MatMul", q, k), "half"), axis=-1)
        a = op("Reshape", op("Transpose", op("MatMul", p, v), perm=[0, 2, 1, 3]), ints(-1, 5, 8))
        x = op("Add", x, op("MatMul", a, "o"))
        u = op("Gelu", op("Add", op("MatMul", op("LayerNormalization", x, "n2.s", "n2.b"), "u"), "u.b"))
        x = op("ReduceMean", op("Add", x, op("MatMul", u, "d")), ints(1), keepdims=0)
    else:
        _, h, _ = op("LSTM", op("Transpose", x, perm=[1, 0, 2]), "w", "r", "b", outs=3, hidden_size=5)
        x = op("Squeeze", h, ints(0))
    y = op("Gemm", x, "c.w", "c.b", transB=1)
    nodes[-1].output[0] = y = "y"
    kind = TensorProto.DOUBLE
    graph = helper.make_graph(nodes, name, [helper.make_tensor_value_info("x", kind, [1, *SHAPES[name][0]])],
                              [helper.make_tensor_value_info(y, kind, [1, CLASSES])],
                              [numpy_helper.from_array(a, n) for n, a in {**w, **consts}.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def our_curve(args, folder, name, optimizer, dtype):
    import onnx
    import trainer

    path = folder / f"{name}.onnx"
    onnx.save(onnx_net(name), path)
    options = ["--loss=cross_entropy", f"--optimizer={optimizer}", f"--batch={SIZE}", "--bn-momentum=pytorch"]
    t = trainer.compile_trainer(args.cnncc, args.cc, path, folder / "c", options, dtype, ("x", "target"))
    for k, v in OPTIMIZERS[optimizer].items():
        setattr(t.hyper, k, v)
    _, x, target = start(name)
    return [t.train_step({"x": x[s % BATCHES], "target": target[s % BATCHES]}) for s in range(STEPS if dtype == np.float64 else 10)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cnncc")
    parser.add_argument("--cc", default="clang-19")
    parser.add_argument("--torch", default="/usr/bin/python3")
    parser.add_argument("--torch-curves", help="write PyTorch's curves there")
    args = parser.parse_args()
    if args.torch_curves:
        torch_curves(args.torch_curves)
        return 0
    cases = [(n, o, d) for n in SHAPES for o in OPTIMIZERS for d in (np.float64, np.float32)]
    passed = failed = 0
    with tempfile.TemporaryDirectory() as tmp:
        path = f"{tmp}/torch.npz"
        done = subprocess.run([args.torch, str(HERE / "curves.py"), "--torch-curves", path], capture_output=True, text=True, check=False)
        if done.returncode:
            missing = "No module named 'torch'" in done.stderr or "No module named 'numpy'" in done.stderr
            print(f"{'skipped' if missing else 'FAILED'}: curves against PyTorch: {done.stderr.strip().splitlines()[-1]}")
            print(f"0 passed, {0 if missing else len(cases)} failed, {len(cases) if missing else 0} skipped")
            return not missing
        theirs = np.load(path)
        for name, optimizer, dtype in cases:
            key = f"{name} {optimizer} {np.dtype(dtype).name}"
            try:
                ours = np.array(our_curve(args, pathlib.Path(tmp), name, optimizer, dtype))
                error = np.max(np.abs(ours - theirs[key]) / np.abs(theirs[key]))
                limit = 1e-10 if dtype == np.float64 else 1e-4
                if not error <= limit or (dtype == np.float64 and not theirs[key][-1] < theirs[key][0]):
                    raise AssertionError(f"the loss differs by {error:.3g} of itself, more than {limit:g}")
                print(f"{key}: {len(ours)} steps, {error:.2g}")
                passed += 1
            except Exception as e:  # noqa: BLE001
                failed += 1
                print(f"FAILED: {key}: {e}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
