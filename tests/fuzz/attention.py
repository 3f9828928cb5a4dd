# SPDX-License-Identifier: Apache-2.0
"""Random attention graphs: generated code at three sizes and the interpreter, against onnxruntime.

    attention.py --runner build/cnncc-run --cnncc build/cnncc [--count 60] [--seed 0] [--cc tcc] [--jobs 2] [--keep DIR]

Operators (Attention, MultiHeadAttention, GroupQueryAttention) and what exporters write out of
MatMul and Softmax: scales, masks of every kind, soft caps, grouped heads, past keys, float and double,
fixed and symbolic sizes. Closes with 'N passed, N failed, N skipped'.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

NP = {T.FLOAT: np.float32, T.DOUBLE: np.float64, T.FLOAT16: np.float16, T.BOOL: np.bool_, T.INT32: np.int32, T.INT64: np.int64}


class Net:
    """A graph being drawn. Dimensions are names or numbers; sizes() gives the names' values for a run."""

    def __init__(self, seed):
        self.r = np.random.default_rng(seed)
        self.symbolic = bool(self.r.integers(2))
        self.nodes, self.inits, self.inputs, self.outputs, self.make = [], [], [], [], {}
        self.first, self.opset, self.ms = {}, 17, False

    def chance(self, p):
        return self.r.random() < p

    def pick(self, *v):
        return v[int(self.r.integers(len(v)))]

    def dim(self, name, *choices):
        """A dimension that varies from run to run where the model is symbolic."""
        n = int(self.pick(*choices))
        self.first[name] = (n, choices)
        return name if self.symbolic else n

    def const(self, x):
        self.inits.append(numpy_helper.from_array(np.asarray(x), f"c{len(self.inits)}"))
        return self.inits[-1].name

    def op(self, kind, *ins, n=1, domain="", **attrs):
        outs = [f"t{len(self.nodes)}_{i}" for i in range(n)]
        self.nodes.append(h.make_node(kind, list(ins), outs, domain=domain, **attrs))
        return outs[0] if n == 1 else outs

    def input(self, name, kind, shape, make=None):
        self.inputs.append(h.make_tensor_value_info(name, kind, shape))
        self.make[name] = (kind, shape, make)
        return name

    def model(self, *outs):
        self.outputs = [h.make_tensor_value_info(o, self.dt_of.get(o, self.dt), None) for o in outs]
        g = h.make_graph(self.nodes, "g", self.inputs, self.outputs, self.inits)
        ops = [h.make_opsetid("", self.opset)] + ([h.make_opsetid("com.microsoft", 1)] if self.ms else [])
        return h.make_model(g, opset_imports=ops, ir_version=10)

    dt_of = {}

    def feeds(self, run):
        sizes = {k: n if run == 0 else int(self.r.choice(list(c))) for k, (n, c) in self.first.items()}
        if not self.symbolic:
            sizes = {k: n for k, (n, _) in self.first.items()}
        out = {}
        for name, (kind, shape, make) in self.make.items():
            dims = [sizes[d] if isinstance(d, str) else d for d in shape]
            x = make(self.r, dims, sizes) if make else self.r.standard_normal(dims) * 0.8
            out[name] = np.asarray(x, NP[kind])
        return out


LENGTHS = (1, 2, 3, 5, 7, 16, 33, 48, 49, 64, 70)
KEYS = (1, 2, 4, 6, 15, 16, 17, 64, 100, 127, 128, 129, 200, 256, 257, 300)


def mask_bits(r, dims, _):
    m = r.random(dims) < r.choice([0.3, 0.7, 0.95])
    return m


def mask_open(r, dims, _):
    """Every row sees something."""
    m = r.random(dims) < 0.6
    m[..., int(r.integers(dims[-1]))] = True
    return m


def additive(r, dims, sizes):
    return np.where(mask_bits(r, dims, sizes), r.standard_normal(dims) * 0.5, r.choice([-np.inf, -1e4, -3e38]))


def ones_zeros(r, dims, _):
    m = (r.random(dims) < 0.7).astype(np.int64)
    m[..., 0] = 1
    return m


def decomposed(net):
    """MatMul, what comes between, Softmax, MatMul, as exporters write them."""
    n, f = net, np.float32
    n.dt = n.pick(T.FLOAT, T.FLOAT, T.FLOAT, T.DOUBLE)
    f = NP[n.dt]
    groups, rep, d, e = n.pick(1, 1, 2, 3), n.pick(1, 1, 1, 2, 4), n.pick(1, 3, 4, 8, 16, 20, 64), n.pick(1, 4, 8, 16, 17, 32)
    heads = groups * rep
    b, s, t = n.dim("b", 1, 2), n.dim("s", *LENGTHS), n.dim("t", *KEYS)
    q, k, v = n.input("q", n.dt, [b, heads, s, d]), None, None
    if n.chance(0.3):  # [B, S, H*D], taken apart
        n.inputs.clear(), n.make.clear()
        q = n.op("Reshape", n.input("q", n.dt, [b, s, heads * d]), n.const(np.array([0, 0, heads, d])))
        q = n.op("Transpose", q, perm=[0, 2, 1, 3])
    flat = n.chance(0.3)
    if flat:
        k = n.op("Reshape", n.input("k", n.dt, [b, t, groups * d]), n.const(np.array([0, 0, groups, d])))
        v = n.op("Reshape", n.input("v", n.dt, [b, t, groups * e]), n.const(np.array([0, 0, groups, e])))
        v = n.op("Transpose", v, perm=[0, 2, 1, 3])
    else:
        k, v = n.input("k", n.dt, [b, groups, t, d]), n.input("v", n.dt, [b, groups, t, e])
    keys = [0, 2, 3, 1] if flat else [0, 1, 3, 2]
    if rep > 1:  # repeat_kv
        if flat:
            k, keys = n.op("Transpose", k, perm=[0, 2, 1, 3]), [0, 1, 3, 2]
        axis = n.const(np.array([2]))

        def repeat(x, width):
            x = n.op("Unsqueeze", x, axis)
            x = n.op("Expand", x, n.const(np.array([1, 1, rep, 1, 1])))
            return n.op("Reshape", x, n.const(np.array([0, heads, -1, width])))

        k, v = repeat(k, d), repeat(v, e)
    k = n.op("Transpose", k, perm=keys)
    c = float(d) ** -0.5
    how = n.pick("none", "before", "mul", "div", "both")
    if how == "before":
        q = n.op("Mul", q, n.const(f(c)))
    if how == "both":
        q, k = n.op("Mul", q, n.const(f(c**0.5))), n.op("Mul", k, n.const(f(c**0.5)))
    x = n.op("MatMul", q, k)
    if how == "mul":
        x = n.op("Mul", x, n.const(f(c)))
    if how == "div":
        x = n.op("Div", x, n.const(f(1 / c)))
    if n.chance(0.2):
        x = n.op("Mul", n.op("Tanh", n.op("Div", x, n.const(f(5)))), n.const(f(5)))
    mask = n.pick("none", "none", "add", "where", "pad", "causal", "filled")
    where = n.pick([b, 1, 1, t], [s, t], [b, heads, s, t], [1, 1, s, t])
    if mask == "add":
        x = n.op("Add", x, n.input("m", n.dt, where, additive))
    if mask in ("where", "filled"):
        low = n.const(f(-np.inf if mask == "where" else -1e9))
        m = n.input("m", T.BOOL, where, mask_bits)
        x = n.op("Where", m, x, low)
    if mask == "pad":
        m = n.op("Cast", n.input("m", T.INT64, [b, 1, 1, t], ones_zeros), to=n.dt)
        x = n.op("Add", x, n.op("Mul", n.op("Sub", n.const(f(1)), m), n.const(f(-10000))))
    if mask == "causal":
        zero, one = n.const(np.array(0)), n.const(np.array(1))
        shape = n.op("Shape", x)
        rows = n.op("Range", zero, n.op("Gather", shape, n.const(np.array(2))), one)
        cols = n.op("Range", zero, n.op("Gather", shape, n.const(np.array(3))), one)
        m = n.op("LessOrEqual", cols, n.op("Unsqueeze", rows, n.const(np.array([1]))))
        x = n.op("Where", m, x, n.const(f(-np.inf)))
    p = n.op("Softmax", x, axis=n.pick(-1, 3))
    outs = []
    if n.chance(0.15):
        p = n.op("Where", n.op("IsNaN", p), n.const(f(0)), p)
    if n.chance(0.1):
        outs.append(p)
    y = n.op("MatMul", p, v)
    end = n.pick("plain", "join", "relu", "more")
    if end in ("join", "more"):
        y = n.op("Reshape", n.op("Transpose", y, perm=[0, 2, 1, 3]), n.const(np.array([0, 0, heads * e])))
    if end == "relu":
        y = n.op("Relu", y)
    if end == "more":
        w = n.r.standard_normal((heads * e, 24)) * 0.2
        y = n.op("Add", n.op("MatMul", y, n.const(w.astype(f))), n.const(np.linspace(0, 1, 24).astype(f)))
    return n.model(y, *outs)


def operator(net):
    """ONNX's Attention."""
    n = net
    n.opset = n.pick(23, 24)
    n.dt = n.pick(T.FLOAT, T.FLOAT, T.FLOAT16)
    groups, rep, d, e = n.pick(1, 2, 3), n.pick(1, 1, 2, 4), n.pick(4, 8, 16, 20, 64), n.pick(4, 8, 16, 20)
    heads = groups * rep
    b, s = n.dim("b", 1, 2), n.dim("s", *LENGTHS)
    past = n.chance(0.4)
    t = s if past else n.dim("t", *KEYS)
    if past:
        e = d  # onnxruntime's limit
    flat = n.chance(0.4)
    attrs = {"q_num_heads": heads, "kv_num_heads": groups} if flat else {}
    if flat:
        ins = [n.input("q", n.dt, [b, s, heads * d]), n.input("k", n.dt, [b, t, groups * d]), n.input("v", n.dt, [b, t, groups * e])]
    else:
        ins = [n.input("q", n.dt, [b, heads, s, d]), n.input("k", n.dt, [b, groups, t, d]), n.input("v", n.dt, [b, groups, t, e])]
    ins += [""]
    if not n.symbolic and n.chance(0.6):
        keys = n.first["s" if past else "t"][0]
        before = int(n.pick(1, 5, 100)) if past else 0
        total, sq = keys + before, n.first["s"][0]
        where = n.pick([sq, total], [1, 1, sq, total], [b, 1, sq, total], [b, heads, sq, total])
        ins[3] = n.input("m", T.BOOL, where, mask_open) if n.chance(0.5) else n.input("m", n.dt, where, lambda r, d_, _: r.standard_normal(d_))
        if past:
            n.first["p"] = (before, (before,))
    if past:
        p = n.dim("p", 0, 1, 5, 63, 130) if "p" not in n.first else n.first["p"][0]
        ins += [n.input("pk", n.dt, [b, groups, p, d]), n.input("pv", n.dt, [b, groups, p, e])]
    if n.chance(0.5):
        attrs["is_causal"] = 1
    if n.chance(0.3):
        attrs["softcap"] = 4.0
    if n.chance(0.3):
        attrs["scale"] = 0.3
    while ins and not ins[-1]:
        ins.pop()
    outs = n.op("Attention", *ins, n=3 if past else 1, **attrs)
    return n.model(*(outs if past else [outs]))


def microsoft(net):
    """com.microsoft's MultiHeadAttention and GroupQueryAttention."""
    n = net
    n.ms, n.dt = True, T.FLOAT
    b, s = n.dim("b", 1, 2), n.dim("s", *LENGTHS)
    d = n.pick(8, 16, 64)
    if n.chance(0.5):
        heads, t = n.pick(1, 2, 4), n.dim("t", *KEYS)
        ins = [n.input(x, T.FLOAT, [b, l, heads * d]) for x, l in (("q", s), ("k", t), ("v", t))] + ["", "", ""]
        if n.chance(0.3):
            ins[3] = n.const((n.r.standard_normal(3 * heads * d) * 0.1).astype(np.float32))
        if n.chance(0.4):
            ins[4] = n.input("m", T.INT32, [b, t], ones_zeros)
        elif n.chance(0.4):
            ins[5] = n.input("bias", T.FLOAT, [n.pick(1, b), n.pick(1, heads), s, t])
        while not ins[-1]:
            ins.pop()
        return n.model(n.op("MultiHeadAttention", *ins, domain="com.microsoft", num_heads=heads))
    groups, rep = n.pick(1, 2), n.pick(1, 2, 4)
    p = n.dim("p", 0, 1, 5, 63, 130)
    ins = [n.input("q", T.FLOAT, [b, s, groups * rep * d]), n.input("k", T.FLOAT, [b, s, groups * d]), n.input("v", T.FLOAT, [b, s, groups * d]),
           n.input("pk", T.FLOAT, [b, groups, p, d]), n.input("pv", T.FLOAT, [b, groups, p, d]),
           n.input("len", T.INT32, [b], lambda r, dims, z: np.full(dims, z["s"] + z["p"] - 1)),
           n.input("total", T.INT32, [1], lambda r, dims, z: np.full(dims, z["s"] + z["p"]))]
    attrs = {"local_window_size": 9} if n.chance(0.2) else {}
    return n.model(*n.op("GroupQueryAttention", *ins, n=3, domain="com.microsoft", num_heads=groups * rep, kv_num_heads=groups, **attrs))


KINDS = [decomposed, decomposed, decomposed, operator, operator, microsoft]


def prepare(folder, seed):
    """Writes model.onnx and three data sets; None, or why not."""
    net = Net(seed)
    m = KINDS[seed % len(KINDS)](net)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as e:
        return "onnxruntime: " + str(e).splitlines()[0]
    folder.mkdir()
    onnx.save(m, folder / "model.onnx")
    for run in range(3 if net.symbolic else 1):
        feeds = net.feeds(run)
        try:
            want = session.run(None, feeds)
        except Exception as e:
            return "onnxruntime: " + str(e).splitlines()[0]
        d = folder / f"test_data_set_{run}"
        d.mkdir()
        for i, v in enumerate(m.graph.input):
            (d / f"input_{i}.pb").write_bytes(numpy_helper.from_array(feeds[v.name], v.name).SerializeToString())
        for i, v in enumerate(m.graph.output):
            (d / f"output_{i}.pb").write_bytes(numpy_helper.from_array(want[i], v.name).SerializeToString())
    return None


def call(cmd):
    try:
        p = subprocess.run(cmd, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return "no end within 300 s"
    return None if p.returncode == 0 else f"status {p.returncode}: {(p.stdout + p.stderr).strip()[:300]}"


def check(opt, folder, seed):
    """None when all agree, 'skipped' or what is wrong."""
    f = folder / f"s{seed}"
    why = prepare(f, seed)
    if why:
        return "skipped: " + why
    half = "float16" in str(onnx.load(f / "model.onnx").graph.input[0].type) or onnx.load(f / "model.onnx").graph.input[0].type.tensor_type.elem_type == T.FLOAT16
    tol = ["--rtol", "4e-3", "--atol", "4e-3"] if half else ["--rtol", "1e-4", "--atol", "1e-5"]
    bad = call([opt.runner, str(f / "model.onnx"), "--test", str(f), "--cc", opt.cc, "--threads", str(1 + seed % 2), *tol])
    if not bad and not half:
        for d in sorted(f.glob("test_data_set_*")):
            bad = bad or call([opt.cnncc, str(f / "model.onnx"), "--eval", str(d)])
        bad = bad and "eval: " + bad
    if not bad and not opt.keep:
        shutil.rmtree(f)
    return bad


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--runner", default="build/cnncc-run")
    a.add_argument("--cnncc", default="build/cnncc")
    a.add_argument("--count", type=int, default=60)
    a.add_argument("--seed", type=int, default=0)
    a.add_argument("--cc", default="tcc")
    a.add_argument("--jobs", type=int, default=2)
    a.add_argument("--keep")
    opt = a.parse_args()
    folder = pathlib.Path(opt.keep or tempfile.mkdtemp(prefix="attention"))
    folder.mkdir(parents=True, exist_ok=True)
    count = {"passed": 0, "failed": 0, "skipped": 0}
    with ThreadPoolExecutor(opt.jobs) as pool:
        for seed, bad in zip(range(opt.seed, opt.seed + opt.count), pool.map(lambda s: check(opt, folder, s), range(opt.seed, opt.seed + opt.count)), strict=True):
            word = "passed" if not bad else "skipped" if bad.startswith("skipped") else "failed"
            count[word] += 1
            if bad:
                print(f"{'skipped' if word == 'skipped' else 'FAILED'} seed {seed}: {bad}", flush=True)
    if not opt.keep:
        shutil.rmtree(folder)
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return count["failed"] > 0


if __name__ == "__main__":
    sys.exit(main())
