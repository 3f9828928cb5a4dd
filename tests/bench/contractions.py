# SPDX-License-Identifier: Apache-2.0
"""GFLOP/s of single contractions, by compiler, against the peak of this machine and onnxruntime.

    contractions.py --cnncc build/cnncc --build build/contractions [--cc clang-19 gcc] [NAME...] [-- CNNCC OPTIONS]

A name picks every case that begins with it. Operations are the nominal ones: two for each multiply-add
of the definition, padding included. Convolutions read and write channels last, as they do inside of
models, but for those named nchw. --compile only makes the objects and --run only times those that are
there, for machines where time is measured apart. The exit status is 1 when a result differs from
onnxruntime's (which may be left out with --no-peer).
"""

import argparse
import pathlib
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from loader import Model
from machine import Machine, fastest

CFLAGS = "-std=gnu11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp"
CASES = {}
KIND = {T.FLOAT: np.float32, T.FLOAT16: np.float16, T.UINT8: np.uint8, T.INT8: np.int8}


class Net:
    """A model under construction."""

    def __init__(self):
        self.nodes, self.inputs, self.inits, self.sizes, self.count = [], [], [], {}, 0

    def input(self, shape, kind=T.FLOAT):
        """A dimension (name, size) is symbolic; the size is what it is timed at."""
        name = f"x{len(self.inputs)}"
        dims = [d[0] if isinstance(d, tuple) else d for d in shape]
        self.sizes[name] = [d[1] if isinstance(d, tuple) else d for d in shape]
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims))
        return name

    def const(self, x):
        name = f"c{len(self.inits)}"
        self.inits.append(numpy_helper.from_array(np.asarray(x), name))
        return name

    def weight(self, *shape, kind=np.float32):
        r = np.random.default_rng(len(self.inits))
        if kind in (np.int8, np.uint8):
            low, high = (-127, 128) if kind == np.int8 else (0, 256)
            return self.const(r.integers(low, high, shape).astype(kind))
        return self.const((r.normal(size=shape) / np.prod(shape[1:]) ** 0.5).astype(kind))

    def op(self, op, *inputs, **attrs):
        self.count += 1
        self.nodes.append(helper.make_node(op, list(inputs), [f"t{self.count}"], **attrs))
        return f"t{self.count}"

    def last(self, x, rank, back=False):
        """Channels to axis 1 from the last, or back."""
        perm = [0, *range(2, rank), 1] if back else [0, rank - 1, *range(1, rank - 1)]
        return self.op("Transpose", x, perm=perm)

    def save(self, out, path, kind=T.FLOAT):
        info = helper.make_empty_tensor_value_info(out)
        info.type.tensor_type.elem_type = kind
        graph = helper.make_graph(self.nodes, "g", self.inputs, [info], self.inits)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)


def case(name, flops, kind=T.FLOAT):
    def add(f):
        CASES[name] = (f, flops, kind)
        return f

    return add


def size_of(d):
    return d[1] if isinstance(d, tuple) else d


def conv(name, c, m, space, k, stride=1, dil=1, group=1, pad=None, nchw=False, batch=1, relu=False,
         mixed=False):
    pad = dil * (k - 1) // 2 if pad is None else pad
    n = len(space)
    out = [(size_of(d) + 2 * pad - dil * (k - 1) - 1) // stride + 1 for d in space]

    def make(net):
        x = net.input([batch, c, *space] if nchw else [batch, *space, c])
        x = x if nchw else net.last(x, n + 2)
        y = net.op("Conv", x, net.weight(m, c // group, *[k] * n), net.weight(m), strides=[stride] * n,
                   dilations=[dil] * n, group=group, pads=[pad] * 2 * n)
        y = net.op("Relu", y) if relu else y
        return y if nchw and not mixed else net.last(y, n + 2, True)

    case(name, 2 * size_of(batch) * m * (c // group) * k**n * int(np.prod(out)))(make)


def deconv(name, c, m, space, k, stride, pad=0, extra=0, nchw=False, group=1):
    n = len(space)

    def make(net):
        x = net.input([1, c, *space] if nchw else [1, *space, c])
        x = x if nchw else net.last(x, n + 2)
        y = net.op("ConvTranspose", x, net.weight(c, m // group, *[k] * n), net.weight(m), strides=[stride] * n,
                   pads=[pad] * 2 * n, output_padding=[extra] * n, group=group)
        return y if nchw else net.last(y, n + 2, True)

    case(name, 2 * c * m // group * k**n * int(np.prod(space)))(make)


def dweight(name, c, m, size, k, stride=1, pad=1):
    """The weights' gradient: x as c images, the result's gradient as weights, strides and dilations swapped."""
    out = (size + 2 * pad - k) // stride + 1

    def make(net):
        x = net.op("Transpose", net.input([1, size, size, c]), perm=[3, 0, 1, 2])
        g = net.op("Transpose", net.input([1, out, out, m]), perm=[3, 0, 1, 2])
        y = net.op("Conv", x, g, dilations=[stride] * 2, pads=[pad, pad, pad - (size + 2 * pad - k) % stride,
                                                               pad - (size + 2 * pad - k) % stride])
        return net.op("Transpose", y, perm=[1, 0, 2, 3])

    case(name, 2 * c * m * k * k * out * out)(make)


def matmul(name, m, n, k, form="nn", const=False, kind=T.FLOAT, batch=()):
    def make(net):
        a = net.input([*batch, k, m] if form[0] == "t" else [*batch, m, k], kind)
        shape = [*batch, n, k] if form[1] == "t" else [*batch, k, n]
        b = net.weight(*shape, kind=KIND[kind]) if const else net.input(shape, kind)
        perm = [*range(len(batch)), len(batch) + 1, len(batch)]
        a = net.op("Transpose", a, perm=perm) if form[0] == "t" else a
        b = net.op("Transpose", b, perm=perm) if form[1] == "t" else b
        return net.op("MatMul", a, b)

    case(name, 2 * size_of(m) * n * k * int(np.prod([size_of(d) for d in batch], dtype=np.int64)), kind)(make)


def heads(name, s, h, d, first):
    """Q K' or P V of attention whose heads are neighbours in memory."""

    def make(net):
        q = net.input([h, s, s] if not first else [s, h, d])
        k = net.op("Transpose", net.input([s, h, d]), perm=[1, 2, 0] if first else [1, 0, 2])
        q = net.op("Transpose", q, perm=[1, 0, 2]) if first else q
        y = net.op("MatMul", q, k)
        return y if first else net.op("Transpose", y, perm=[1, 0, 2])

    case(name, 2 * h * size_of(s) ** 2 * d)(make)


def integer_conv(name, c, m, size, k, group=1, nchw=False, qlinear=False):
    def make(net):
        x = net.input([1, c, size, size] if nchw else [1, size, size, c], T.UINT8)
        x = x if nchw else net.last(x, 4)
        w, zero = net.weight(m, c // group, k, k, kind=np.int8), net.const(np.uint8(128))
        at = {"pads": [k // 2] * 4, "group": group}
        if qlinear:
            args = [net.const(np.float32(0.02)), zero, w, net.const(np.full(m, 0.01, np.float32)),
                    net.const(np.zeros(m, np.int8)), net.const(np.float32(0.5)), net.const(np.uint8(100)),
                    net.const(np.arange(m, dtype=np.int32))]
            y = net.op("QLinearConv", x, *args, **at)
        else:
            y = net.op("ConvInteger", x, w, zero, **at)
        return y if nchw else net.last(y, 4, True)

    case(name, 2 * m * (c // group) * k * k * size * size, T.UINT8 if qlinear else T.INT32)(make)


def qdq_conv(name, c, m, size, k):
    def make(net):
        x = net.last(net.input([1, size, size, c], T.UINT8), 4)
        sx, zx, sy = net.const(np.float32(0.02)), net.const(np.uint8(128)), net.const(np.float32(0.5))
        w = net.op("DequantizeLinear", net.weight(m, c, k, k, kind=np.int8), net.const(np.full(m, 0.01, np.float32)),
                   net.const(np.zeros(m, np.int8)), axis=0)
        b = net.op("DequantizeLinear", net.const(np.arange(m, dtype=np.int32)),
                   net.const(np.full(m, 0.0002, np.float32)), axis=0)
        y = net.op("Conv", net.op("DequantizeLinear", x, sx, zx), w, b, pads=[k // 2] * 4)
        return net.last(net.op("QuantizeLinear", y, sy, zx), 4, True)

    case(name, 2 * m * c * k * k * size * size, T.UINT8)(make)


def integer_matmul(name, m, n, k, const=True):
    def make(net):
        b = net.weight(k, n, kind=np.int8) if const else net.input([k, n], T.INT8)
        return net.op("MatMulInteger", net.input([m, k], T.UINT8), b, net.const(np.uint8(128)), net.const(np.int8(3)))

    case(name, 2 * m * n * k, T.INT32)(make)


conv("conv3x3 64@56", 64, 64, [56, 56], 3, relu=True)
conv("conv1x1 64@56", 64, 64, [56, 56], 1)
conv("conv1x1 1024-256@14", 1024, 256, [14, 14], 1)
conv("conv3x3 256@14", 256, 256, [14, 14], 3)
conv("conv3x3 512@7", 512, 512, [7, 7], 3)
conv("conv3x3s2 64-128@56", 64, 128, [56, 56], 3, stride=2)
conv("conv3x3d2 64@56", 64, 64, [56, 56], 3, dil=2)
conv("conv3x3g4 128@28", 128, 128, [28, 28], 3, group=4)
conv("conv7x7s2 3-64@224 nchw", 3, 64, [224, 224], 7, stride=2, nchw=True)
conv("conv3x3s2 3-32@224 nchw", 3, 32, [224, 224], 3, stride=2, nchw=True)
conv("conv7x7s2 3-64@224 in nchw", 3, 64, [224, 224], 7, stride=2, nchw=True, mixed=True)
conv("conv3x3s2 3-32@224 in nchw", 3, 32, [224, 224], 3, stride=2, nchw=True, mixed=True)
conv("conv3x3 64@56 nchw", 64, 64, [56, 56], 3, nchw=True)
conv("depthwise 96@112", 96, 96, [112, 112], 3, group=96)
conv("depthwise 192@28", 192, 192, [28, 28], 3, group=192)
conv("depthwise 384@14", 384, 384, [14, 14], 3, group=384)
conv("depthwise 96@112 nchw", 96, 96, [112, 112], 3, group=96, nchw=True)
conv("depthwise 192@28 nchw", 192, 192, [28, 28], 3, group=192, nchw=True)
conv("depthwise5x5s2 96@56 nchw", 96, 96, [56, 56], 5, stride=2, group=96, nchw=True)
conv("first 1-32@28 nchw", 1, 32, [28, 28], 3, nchw=True)
conv("conv1d k5 64@1000", 64, 64, [1000], 5)
conv("conv1d k5 64@1000 nchw", 64, 64, [1000], 5, nchw=True)
conv("conv3d 16-32@16", 16, 32, [16, 16, 16], 3)
conv("groups32of4 128@56", 128, 128, [56, 56], 3, group=32)
conv("groups32of4 128@56 nchw", 128, 128, [56, 56], 3, group=32, nchw=True)
for f in ("nn", "nt", "tn", "tt"):
    matmul(f"matmul512 {f}", 512, 512, 512, f)
matmul("matmul1024 nn", 1024, 1024, 1024)
matmul("matmul1024 tn", 1024, 1024, 1024, "tn")
matmul("matmul2048 nn", 2048, 2048, 2048)
matmul("gemm 384x768x768", 384, 768, 768, const=True)
matmul("gemm 128x768x3072", 128, 768, 3072, const=True)
matmul("gemm 8x768x768", 8, 768, 768, const=True)
heads("heads qk 128x12x64", 128, 12, 64, True)
heads("heads pv 128x12x64", 128, 12, 64, False)
matmul("batched 8x256", 256, 256, 256, batch=(8,))
deconv("dx3x3 64@56", 64, 64, [56, 56], 3, 1, 1)
deconv("dx3x3s2 128-64@28", 128, 64, [28, 28], 3, 2, 1, 1)
deconv("deconv2x2s2 64-32@56", 64, 32, [56, 56], 2, 2)
deconv("deconv4x4s2 64-32@56 nchw", 64, 32, [56, 56], 4, 2, 1, nchw=True)
dweight("dw3x3 64@56", 64, 64, 56, 3)
dweight("dw3x3s2 64-128@56", 64, 128, 56, 3, stride=2)
matmul("vector4096 const", 1, 4096, 4096, const=True)
matmul("vector4096 row", 1, 4096, 4096)
matmul("vector4096 nt", 1, 4096, 4096, "nt")
matmul("vector1024 nt", 1, 1024, 1024, "nt")
matmul("dot 4x512x512 nt", 4, 512, 512, "nt")
matmul("dot 2x512x512 nt", 2, 512, 512, "nt")
integer_conv("int8 conv3x3 64@56", 64, 64, 56, 3)
integer_conv("int8 conv1x1 256@14", 256, 256, 14, 1)
integer_conv("int8 qlinear3x3 64@56", 64, 64, 56, 3, qlinear=True)
integer_conv("int8 qlinear3x3 64@56 nchw", 64, 64, 56, 3, qlinear=True, nchw=True)
integer_conv("int8 depthwise 192@28", 192, 192, 28, 3, group=192)
qdq_conv("int8 qdq3x3 64@56", 64, 64, 56, 3)
integer_matmul("int8 matmul 384x768x768", 384, 768, 768)
integer_matmul("int8 matmul 384x768x768 run", 384, 768, 768, const=False)
integer_matmul("int8 vector 1x4096x1024", 1, 1024, 4096)
matmul("half gemm 384x768x768", 384, 768, 768, const=True, kind=T.FLOAT16)
matmul("half matmul 256", 256, 256, 256, kind=T.FLOAT16)
S = ("S", 384)
matmul("sym gemm 384x768x768", S, 768, 768, const=True)
heads("sym heads qk 384x12x64", S, 12, 64, True)
heads("sym heads qk fixed", 384, 12, 64, True)
heads("sym heads pv 384x12x64", S, 12, 64, False)
heads("sym heads pv fixed", 384, 12, 64, False)
HW = [("H", 56), ("W", 56)]
conv("sym conv3x3 64@56", 64, 64, HW, 3, relu=True)
conv("sym conv3x3s2 64-128@56", 64, 128, HW, 3, stride=2)
conv("sym conv1x1 64@56", 64, 64, HW, 1)
conv("sym conv3x3 64@14", 64, 64, [("H", 14), ("W", 14)], 3)
conv("sym fixed conv3x3 64@14", 64, 64, [14, 14], 3)
conv("sym depthwise 96@56", 96, 96, HW, 3, group=96)
conv("sym fixed depthwise 96@56", 96, 96, [56, 56], 3, group=96)
conv("sym batch conv3x3 64@56", 64, 64, [56, 56], 3, batch=("N", 1), relu=True)
conv("sym conv3x3s2 3-32@224 nchw", 3, 32, [("H", 224), ("W", 224)], 3, stride=2, nchw=True)


def feeds_of(path, sizes):
    r = np.random.default_rng(3)
    feeds = {}
    for info in onnx.load(path).graph.input:
        kind = helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        shape = sizes[info.name]
        x = r.integers(0, 100, shape) if kind.kind in "iu" else r.normal(size=shape)
        feeds[info.name] = x.astype(kind)
    return feeds


def compile_case(opt, name):
    folder = pathlib.Path(opt.build) / name.replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    net = Net()
    f, _, kind = CASES[name]
    path = folder / "m.onnx"
    net.save(f(net), path, kind)
    if opt.run:
        return folder, net
    subprocess.run([opt.cnncc, str(path), "-o", str(folder / "m.c"), "--prefix", "m", *opt.option], check=True)
    for cc in opt.cc:
        so = folder / f"{cc}.so"
        so.unlink(missing_ok=True)
        subprocess.run([cc, *CFLAGS.split(), *opt.cflags.split(), "-shared", "-fPIC", "-o", str(so), str(folder / "m.c"), "-lm"], check=True)
        if (folder / "m.bin").exists():
            so.with_suffix(".bin").unlink(missing_ok=True)
            so.with_suffix(".bin").symlink_to("m.bin")
    return folder, net


def time_case(opt, name, folder, net):
    flops, row, worst = CASES[name][1], [], 0.0
    feeds = feeds_of(folder / "m.onnx", net.sizes)
    want = None
    if not opt.no_peer:
        import onnxruntime as ort

        so = ort.SessionOptions()
        so.intra_op_num_threads, so.log_severity_level = 1, 4
        peer = ort.InferenceSession(str(folder / "m.onnx"), so, providers=["CPUExecutionProvider"])
        want = peer.run(None, feeds)[0]
        row.append(flops / fastest(lambda: peer.run(None, feeds), opt.seconds) / 1e9)
    calls = []
    for cc in opt.cc:
        m = Model(folder / f"{cc}.so")
        m.bind(feeds, opt.threads)
        m.run()
        calls.append(m)
        if want is not None:
            got = next(iter(m.results().values()))
            span = max(float(np.ptp(want.astype(np.float64))), 1e-30)
            worst = max(worst, float(np.abs(want.astype(np.float64) - got.astype(np.float64)).max()) / span)
    best = [1e9] * len(calls)
    for _ in range(3):
        for i, m in enumerate(calls):
            best[i] = min(best[i], fastest(m.run, opt.seconds / 3))
    row += [flops / b / 1e9 for b in best]
    print(f"{name:30}" + "".join(f"{v:9.1f}" for v in row) + (f"   {worst:.0e}" if want is not None else ""), flush=True)
    return worst


def peak(opt):
    """GFLOP/s of the machine, by compiler."""
    return [Machine(opt.build, cc, opt.lanes).peak() for cc in opt.cc] if not opt.compile else []


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--cnncc", default="build/cnncc")
    p.add_argument("--build", default="build/contractions")
    p.add_argument("--cc", nargs="+", default=["clang-19", "gcc"])
    p.add_argument("--cflags", default="", help="after the flags of record")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--lanes", type=int, default=0, help="of the vectors that the peak is measured with; 0: the widest")
    p.add_argument("--seconds", type=float, default=0.3)
    p.add_argument("--no-peer", action="store_true")
    p.add_argument("--compile", action="store_true")
    p.add_argument("--run", action="store_true")
    p.add_argument("name", nargs="*")
    args, rest = sys.argv[1:], []
    if "--" in args:
        args, rest = args[: args.index("--")], args[args.index("--") + 1 :]
    opt = p.parse_args(args)
    opt.option = rest
    pathlib.Path(opt.build).mkdir(parents=True, exist_ok=True)
    names = [n for n in CASES if not opt.name or any(n.startswith(w) for w in opt.name)]
    made = {n: compile_case(opt, n) for n in names}
    tops = peak(opt)
    if opt.compile:
        return 0
    peers = [] if opt.no_peer else ["ort"]
    print(f"{'GFLOP/s':30}" + "".join(f"{c:>9}" for c in peers + opt.cc))
    print(f"{'peak':30}" + " " * 9 * len(peers) + "".join(f"{v:9.1f}" for v in tops))
    bad = [n for n in names if not time_case(opt, n, *made[n]) < 1e-2]
    if bad:
        print("differ: " + ", ".join(bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
