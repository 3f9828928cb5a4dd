# SPDX-License-Identifier: Apache-2.0
"""Random contractions, compiled, against onnxruntime: convolutions and their transposes of every rank,
stride, dilation, group and padding, matrix products in every transposition, Einsum, integer and half
forms, with and without an epilogue, of fixed and symbolic extents.

    contractions.py --runner build/cnncc-run [--count 20] [--seed 0] [--cc tcc] [--cflags F] [KIND...] [-- CNNCC OPTIONS]

Each seed draws one model of each kind; a symbolic one runs at two sizes. Models that onnxruntime refuses are
not counted. Closes with 'N passed, N failed'.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper, numpy_helper

KINDS = {}


def kind(f):
    KINDS[f.__name__] = f
    return f


class Net:
    """A model under construction; tensors that are drawn as inputs get data of their own."""

    def __init__(self, r, symbolic):
        self.r, self.symbolic = r, symbolic
        self.nodes, self.inputs, self.inits, self.shapes, self.count = [], [], [], [], 0
        self.symbols = {}

    def size(self, low, high, name=None):
        """An extent; with a name perhaps a symbol, whose second size is larger or smaller."""
        n = int(self.r.integers(low, high))
        if name and self.symbolic and self.r.integers(3):
            name = f"{name}{len(self.symbols)}"
            self.symbols[name] = (n, int(self.r.integers(low, high)))
            return name
        return n

    def input(self, shape, dtype=np.float32):
        name = f"x{len(self.inputs)}"
        kind_of = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.inputs.append(helper.make_tensor_value_info(name, kind_of, list(shape)))
        self.shapes.append((shape, dtype))
        return name

    def values(self, shape, dtype):
        if np.dtype(dtype).kind in "iu":
            low, high = (-64, 64) if np.dtype(dtype) == np.int8 else (0, 256)  # onnxruntime's int8 kernels saturate above
            return self.r.integers(low, high, shape).astype(dtype)
        return self.r.normal(size=shape).astype(dtype)

    def const(self, x):
        name = f"c{len(self.inits)}"
        self.inits.append(numpy_helper.from_array(np.asarray(x), name))
        return name

    def either(self, shape, dtype=np.float32):
        """A constant or an input."""
        if any(isinstance(d, str) for d in shape) or self.r.integers(3) == 0:
            return self.input(shape, dtype)
        return self.const(self.values(shape, dtype))

    def op(self, op, *inputs, **attrs):
        self.count += 1
        self.nodes.append(helper.make_node(op, list(inputs), [f"t{self.count}"], **attrs))
        return f"t{self.count}"

    def epilogue(self, y, shape=None):
        """Nothing, an activation, a scale, or with a shape a second operand."""
        for _ in range(self.r.integers(3)):
            pick = self.r.integers(4)
            if pick == 0:
                y = self.op("Relu", y)
            elif pick == 1:
                y = self.op("Mul", y, self.const(np.float32(0.75)))
            elif pick == 2 and shape:
                y = self.op("Add", y, self.input(shape))
            else:
                y = self.op("Sigmoid", y)
        return y


def draw(r, n, low, high):
    return [int(v) for v in r.integers(low, high, n)]


def channels(r):
    g = int(r.choice([1, 1, 1, 2, 3, 8, 16]))
    return g, g * int(r.choice([1, 1, 2, 4, 5])), g * int(r.choice([1, 1, 2, 3, 8, 17]))


def last(net, x, rank):
    """Perhaps read channels last."""
    if net.r.integers(2):
        return x, False
    return net.op("Transpose", x, perm=[0, rank - 1, *range(1, rank - 1)]), True


def image(net, n, c, low, high, dtype=np.float32):
    """[N, C, space...] in either order of axes."""
    space = [net.size(low, high, "s") for _ in range(n)]
    batch = net.size(1, 4, "n")
    if net.r.integers(2):
        x = net.input([batch, *space, c], dtype)
        return net.op("Transpose", x, perm=[0, n + 1, *range(1, n + 1)])
    return net.input([batch, c, *space], dtype)


def back(net, y, rank):
    return net.op("Transpose", y, perm=[0, *range(2, rank), 1]) if net.r.integers(2) else y


def geometry(r, n):
    top = [9, 6, 4][n - 1]
    k = draw(r, n, 1, min(top, 6))
    return k, {"strides": draw(r, n, 1, 4), "dilations": draw(r, n, 1, 3)}


@kind
def conv(net):
    r, n = net.r, int(net.r.integers(1, 4))
    g, c, m = channels(r)
    k, at = geometry(r, n)
    x = image(net, n, c, [20, 14, 10][n - 1], [60, 26, 13][n - 1])
    pads = draw(r, 2 * n, 0, 4)
    args = [x, net.either([m, c // g, *k])]
    if r.integers(2):
        args.append(net.either([m]))
    return back(net, net.epilogue(net.op("Conv", *args, group=g, pads=pads, **at)), n + 2)


@kind
def deconv(net):
    r, n = net.r, int(net.r.integers(1, 4))
    g, c, m = channels(r)
    k, at = geometry(r, n)
    x = image(net, n, c, [9, 6, 4][n - 1], [30, 12, 7][n - 1])
    at["output_padding"] = [int(r.integers(max(s, d))) for s, d in zip(at["strides"], at["dilations"], strict=True)]
    pads = draw(r, 2 * n, 0, 3)
    args = [x, net.either([c, m // g, *k])]
    if r.integers(2):
        args.append(net.either([m]))
    return back(net, net.epilogue(net.op("ConvTranspose", *args, group=g, pads=pads, **at)), n + 2)


def operand(net, shape, dtype=np.float32):
    """A matrix or batch of them, perhaps stored transposed, perhaps with batch axes inside."""
    order = list(range(len(shape)))
    if net.r.integers(2):
        order[-1], order[-2] = order[-2], order[-1]
    if len(shape) == 3 and net.r.integers(3) == 0:
        order[0], order[1] = order[1], order[0]
    x = net.either([shape[i] for i in order], dtype)
    if order == sorted(order):
        return x
    return net.op("Transpose", x, perm=[order.index(i) for i in range(len(shape))])


def sizes(net):
    r = net.r
    m, n = (int(r.choice([1, 1, 2, 3, 5, 8, 13, 30])) for _ in range(2))
    k = net.size(1, 200, "k")
    return (net.size(1, 40, "m") if r.integers(2) else m), (net.size(1, 70, "c") if r.integers(2) else n), k


@kind
def matmul(net):
    r, (m, n, k) = net.r, sizes(net)
    batch = [net.size(1, 5, "b")] if r.integers(2) else []
    a = operand(net, [*batch, m, k])
    b = operand(net, [*(batch if r.integers(2) else []), k, n])
    return net.epilogue(net.op("MatMul", a, b), [*batch, m, n])


@kind
def long_sum(net):
    """Sums that go block by block, many rows, packed rows."""
    r = net.r
    m, n, k = net.size(30, 90, "m"), int(r.choice([16, 17, 32, 48, 100])), net.size(390, 900, "k")
    return net.epilogue(net.op("MatMul", operand(net, [m, k]), operand(net, [k, n])), [m, n])


@kind
def gemm(net):
    r, (m, n, k) = net.r, sizes(net)
    ta, tb = int(r.integers(2)), int(r.integers(2))
    a, b = net.either([k, m] if ta else [m, k]), net.either([n, k] if tb else [k, n])
    c = net.either([[n], [m, n], [m, 1]][r.integers(3)])
    return net.epilogue(net.op("Gemm", a, b, c, transA=ta, transB=tb, alpha=0.5, beta=2.0))


@kind
def einsum(net):
    r = net.r
    forms = ["bij,bjk->bik", "bhqd,bhkd->bhqk", "bqhd,bkhd->bhqk", "bhqk,bkhd->bqhd", "ijk,kl->ijl", "ijk,ikl->jil", "abc,cd->dab",
             "ij,ij->i", "ij,j->i", "ijk,jik->k", "ij,kj->ik", "bij,bij->bi", "ijkl,klm->ijm", "i,j->ij", "abcd,acd->ba", "nchw,nhw->nc"]
    form = str(r.choice(forms))
    size = {c: net.size(1, 20, c) for c in set(form) if c.isalpha()}
    a, b = form.split("->")[0].split(",")
    return net.epilogue(net.op("Einsum", net.either([size[c] for c in a]), net.either([size[c] for c in b]), equation=form))


@kind
def weights_gradient(net):
    """A convolution with a whole image as weights."""
    r = net.r
    c, m, size = int(r.choice([1, 3, 8, 16])), int(r.choice([1, 4, 8, 24])), int(r.integers(6, 20))
    k, s, pad = int(r.integers(1, 4)), int(r.integers(1, 3)), int(r.integers(0, 2))
    out = (size + 2 * pad - k) // s + 1
    hi = pad - (size + 2 * pad - k) % s
    n = net.size(1, 4, "n")
    x = net.op("Transpose", net.input([n, size, size, c]), perm=[3, 0, 1, 2]) if r.integers(2) else net.op(
        "Transpose", net.input([n, c, size, size]), perm=[1, 0, 2, 3])
    g = net.op("Transpose", net.input([n, out, out, m]), perm=[3, 0, 1, 2]) if r.integers(2) else net.op(
        "Transpose", net.input([n, m, out, out]), perm=[1, 0, 2, 3])
    y = net.op("Conv", x, g, dilations=[s, s], pads=[pad, pad, hi, hi] if hi >= 0 else [pad, pad, 0, 0])
    return net.op("Transpose", y, perm=[1, 0, 2, 3])


def zero_point(net, dtype, shape=()):
    return net.const(net.values(shape, dtype)) if net.r.integers(2) else net.const(np.zeros(shape, dtype))


@kind
def integer_conv(net):
    r, n = net.r, int(net.r.integers(1, 3))
    g, c, m = channels(r)
    k, at = geometry(r, n)
    xt, wt = (np.dtype(r.choice(["uint8", "int8"])) for _ in range(2))
    x = image(net, n, c, [20, 12][n - 1], [40, 20][n - 1], xt)
    args = [x, net.either([m, c // g, *k], wt), zero_point(net, xt), zero_point(net, wt)]
    return back(net, net.op("ConvInteger", *args, group=g, pads=draw(r, 2 * n, 0, 3), **at), n + 2)


@kind
def integer_matmul(net):
    r, (m, n, k) = net.r, sizes(net)
    at, bt = (np.dtype(r.choice(["uint8", "int8"])) for _ in range(2))
    batch = [net.size(1, 5, "b")] if r.integers(2) else []
    a, b = operand(net, [*batch, m, k], at), operand(net, [k, n], bt)
    return net.op("MatMulInteger", a, b, zero_point(net, at), zero_point(net, bt))


def scale(net, shape=()):
    return net.const(net.r.uniform(0.005, 0.02, shape).astype(np.float32))


@kind
def qlinear_conv(net):
    r, n = net.r, 2
    g, c, m = channels(r)
    k, at = geometry(r, n)
    xt = np.dtype(r.choice(["uint8", "int8"]))
    wt = np.dtype("int8")
    x = image(net, n, c, 12, 20, xt)
    args = [x, scale(net), zero_point(net, xt), net.const(net.values([m, c // g, *k], wt)), scale(net, [m]),
            net.const(np.zeros(m, wt)), net.const(np.float32(0.7)), zero_point(net, xt)]
    if r.integers(2):
        args.append(net.const(net.r.integers(-500, 500, m).astype(np.int32)))
    return back(net, net.op("QLinearConv", *args, group=g, pads=draw(r, 2 * n, 0, 3), **at), n + 2)


@kind
def qlinear_matmul(net):
    m, n, k = sizes(net)
    dt = np.dtype("uint8")
    a, b = net.input([m, k], dt), operand(net, [k, n], dt)
    return net.op("QLinearMatMul", a, scale(net), zero_point(net, dt), b, scale(net), zero_point(net, dt),
                  net.const(np.float32(0.9)), zero_point(net, dt))


@kind
def half_matmul(net):
    m, n, k = sizes(net)
    return net.op("MatMul", operand(net, [m, k], np.float16), operand(net, [k, n], np.float16))


def feeds_of(net, which):
    size = {s: v[which] for s, v in net.symbols.items()}
    return {i.name: net.values([size.get(d, d) for d in shape], dtype)
            for i, (shape, dtype) in zip(net.inputs, net.shapes, strict=True)}


def write_case(folder, name, seed, symbolic):
    """One model with its tests; None when onnxruntime refuses it, else the tolerance."""
    net = Net(np.random.default_rng([seed, list(KINDS).index(name), symbolic]), symbolic)
    out = KINDS[name](net)
    graph = helper.make_graph(net.nodes, name, net.inputs, [helper.make_empty_tensor_value_info(out)], net.inits)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    try:
        model = onnx.shape_inference.infer_shapes(model)
    except onnx.shape_inference.InferenceError:
        return None
    opts = ort.SessionOptions()
    opts.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    worst = 0.0
    try:
        kinds = [T.FLOAT, T.INT32, T.UINT8, T.INT8, T.FLOAT16]
        elem = model.graph.output[0].type.tensor_type
        if elem.elem_type not in kinds:
            return None
        session = ort.InferenceSession(model.SerializeToString(), opts, providers=["CPUExecutionProvider"])
        for which in range(2 if net.symbols else 1):
            feeds = feeds_of(net, which)
            want = session.run(None, feeds)[0]
            if want.size == 0:
                return None
            data = folder / f"test_data_set_{which}"
            data.mkdir()
            for i, (key, value) in enumerate(feeds.items()):
                (data / f"input_{i}.pb").write_bytes(numpy_helper.from_array(value, key).SerializeToString())
            (data / "output_0.pb").write_bytes(numpy_helper.from_array(want, out).SerializeToString())
            spread = float(np.abs(want.astype(np.float64)).max())
            worst = max(worst, spread * {"f": 1e-5 if want.dtype == np.float32 else 2e-3}.get(want.dtype.kind, 0))
            if want.dtype.kind in "iu" and want.dtype.itemsize == 1:
                worst = 1.0  # ties of the rounding
    except Exception as e:  # noqa: BLE001  what it refuses
        if "onnxruntime" not in type(e).__module__ and "onnxruntime" not in str(type(e)):
            raise
        return None
    onnx.save(model, folder / "model.onnx")
    return worst


def same_bits(opt, folder, env):
    """Whether every target and number of threads gives the same bits, without contraction into FMA."""
    data = folder / "test_data_set_0"
    inputs = [f"--input={onnx.load_tensor(f).name}={f}" for f in sorted(data.glob("input_*.pb"))]
    seen = set()
    for target in opt.bits:
        for threads in "12":
            out = folder / f"bits_{target}_{threads}"
            words = [w for i in inputs for w in ("--input", i[8:])]
            command = [opt.runner, str(folder / "model.onnx"), *words, "--output", str(out), "--cc", opt.cc, "--threads", threads]
            run = subprocess.run([*command, "--", "--target", target], capture_output=True, text=True,
                                 env={**env, "CFLAGS": "-std=gnu11 -O2 -fopenmp -ffp-contract=off"})
            if run.returncode:
                return run.stderr
            seen.add(b"".join(np.load(f).tobytes() for f in sorted(out.glob("*.npy"))))
    return "" if len(seen) == 1 else f"{len(seen)} different results of {opt.bits}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--runner", required=True, help="the cnncc-run program")
    p.add_argument("--count", type=int, default=20, help="seeds of each kind")
    p.add_argument("--seed", type=int, default=0, help="the first one")
    p.add_argument("--cc", default="tcc")
    p.add_argument("--cflags")
    p.add_argument("--keep", help="a folder for the cases that fail")
    p.add_argument("--bits", type=lambda s: s.split(","), default=[], metavar="TARGET,...",
                   help="also compare the bits between these targets and one thread and two")
    p.add_argument("kind", nargs="*", help="only these")
    args, rest = sys.argv[1:], []
    if "--" in args:
        args, rest = args[: args.index("--")], args[args.index("--") :]
    opt = p.parse_args(args)
    ort.set_default_logger_severity(4)
    env = dict(os.environ)
    if opt.cflags:
        env["CFLAGS"] = opt.cflags
    passed = failed = 0
    for name in opt.kind or KINDS:
        for seed in range(opt.seed, opt.seed + opt.count):
            for symbolic in (False, True):
                with tempfile.TemporaryDirectory() as tmp:
                    worst = write_case(pathlib.Path(tmp), name, seed, symbolic)
                    if worst is None:
                        continue
                    command = [opt.runner, f"{tmp}/model.onnx", "--test", tmp, "--cc", opt.cc, "--rtol", "1e-4",
                               "--atol", str(worst), *rest]
                    run = subprocess.run(command, capture_output=True, text=True, env=env)
                    bits = same_bits(opt, pathlib.Path(tmp), env) if opt.bits and run.returncode == 0 else ""
                    good = run.returncode == 0 and not bits
                    passed += good
                    failed += not good
                    if bits:
                        print(f"{name} seed {seed}{' symbolic' if symbolic else ''}: {bits.strip()}", flush=True)
                    if run.returncode:
                        print(f"{name} seed {seed}{' symbolic' if symbolic else ''}: {(run.stderr + run.stdout).strip()}", flush=True)
                        if opt.keep:
                            subprocess.run(["cp", "-r", tmp, f"{opt.keep}/{name}_{seed}_{int(symbolic)}"], check=False)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
