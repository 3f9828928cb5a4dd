# SPDX-License-Identifier: Apache-2.0
"""Random models of one node, compiled, against onnxruntime.

    operators.py --runner build/cnncc-run [--count 10] [--cc tcc] [--symbolic] [OPERATOR...]

Each seed draws attributes, shapes and data. --symbolic declares the extents that may vary as symbols.
Nodes that onnxruntime refuses are not counted. Closes with 'N passed, N failed'.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

CASES = {}
ML, MS = "ai.onnx.ml", "com.microsoft"
POST = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"]


def case(opset, domain="", fixed=(), free=None):
    """fixed: inputs that are initializers; free: {input: {axis: symbol}} with --symbolic."""

    def add(f):
        CASES[f.__name__] = (f, opset, domain, set(fixed), free or {})
        return f

    return add


def f32(r, *shape):
    return r.randn(*shape).astype(np.float32)


def u8(r, *shape):
    return r.randint(0, 256, shape).astype(np.uint8)


def i8(r, *shape):
    return r.randint(-128, 128, shape).astype(np.int8)


def draw(r, n, low, high):
    return [int(v) for v in r.randint(low, high, n)]


IMAGE = {0: {0: "N", 2: "D", 3: "H", 4: "W"}}


@case(11, free=IMAGE)
def Conv(r):
    n, g, c, m = r.randint(1, 4), int(r.choice([1, 1, 2, 3])), r.randint(1, 4), r.randint(1, 4)
    x, w = f32(r, r.randint(1, 3), g * c, *draw(r, n, 6, 10)), f32(r, g * m, c, *draw(r, n, 1, 4))
    attrs = {"strides": draw(r, n, 1, 4), "group": g}
    mode = str(r.choice(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if mode == "NOTSET":
        attrs.update(pads=draw(r, 2 * n, 0, 3), dilations=draw(r, n, 1, 3))
    else:
        attrs["auto_pad"] = mode
    return [x, w] + [f32(r, g * m)] * r.randint(0, 2), attrs, 1


@case(11, free=IMAGE)
def ConvTranspose(r):
    n, g, c, m = r.randint(1, 3), int(r.choice([1, 1, 2])), r.randint(1, 4), r.randint(1, 4)
    x, w = f32(r, r.randint(1, 3), g * c, *draw(r, n, 4, 7)), f32(r, g * c, m, *draw(r, n, 1, 5))
    strides = draw(r, n, 1, 4)
    pads = [int(r.randint(0, min(2, k))) for k in w.shape[2:] * 2]
    extra = [int(r.randint(0, s)) for s in strides]
    attrs = {"strides": strides, "group": g, "pads": pads, "dilations": draw(r, n, 1, 3), "output_padding": extra}
    return [x, w] + [f32(r, g * m)] * r.randint(0, 2), attrs, 1


def pool(r, n):
    k = draw(r, n, 1, 4)
    pads = [int(r.randint(0, v)) for v in k * 2]
    attrs = {"kernel_shape": k, "strides": draw(r, n, 1, 4), "pads": pads, "ceil_mode": r.randint(0, 2)}
    return f32(r, 2, 3, *draw(r, n, 6, 10)), attrs


@case(12, free=IMAGE)
def MaxPool(r):
    n = r.randint(1, 4)
    x, attrs = pool(r, n)
    attrs["storage_order"] = r.randint(0, 2) if n > 1 else 0
    return [x], attrs, r.randint(1, 3)


@case(19, free=IMAGE)
def AveragePool(r):
    x, attrs = pool(r, r.randint(1, 4))
    return [x], dict(attrs, count_include_pad=r.randint(0, 2)), 1


@case(13)
def Gemm(r):
    m, k, n = r.randint(1, 6, 3)
    a, b = r.randint(0, 2, 2)
    x, y = f32(r, *((k, m) if a else (m, k))), f32(r, *((n, k) if b else (k, n)))
    c = [[], [f32(r, n)], [f32(r, 1, n)], [f32(r, m, 1)], [f32(r, m, n)], [f32(r, 1)]][r.randint(0, 6)]
    return [x, y] + c, {"alpha": float(r.rand()), "beta": float(r.rand()), "transA": a, "transB": b}, 1


@case(13)
def MatMul(r):
    k = r.randint(1, 5)
    left = [(k,), (3, k), (2, 3, k), (4, 1, 3, k)][r.randint(0, 4)]
    right = [(k,), (k, 2), (2, k, 5), (1, k, 4), (4, 2, k, 3)][r.randint(0, 5)]
    return [f32(r, *left), f32(r, *right)], {}, 1


@case(15, free=IMAGE)
def BatchNormalization(r):
    train = r.randint(0, 2)
    x = f32(r, 2, 3, *[4] * r.randint(0, 4))
    params = [f32(r, 3), f32(r, 3), f32(r, 3), r.rand(3).astype(np.float32)]
    return [x] + params, {"training_mode": train, "momentum": 0.7, "epsilon": 0.01}, 3 if train else 1


@case(17)
def LayerNormalization(r):
    x, axis = f32(r, 2, 3, 4, 5), r.randint(0, 4)
    scale = [f32(r, *x.shape[axis:]) for _ in range(r.randint(1, 3))]
    return [x] + scale, {"axis": axis}, r.randint(1, 4)


@case(19, fixed=(1, 2, 3), free={0: {2: "H", 3: "W"}})
def Resize(r):
    x = f32(r, 1, 2, r.randint(2, 7), r.randint(2, 7))
    coord = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
    attrs = {"mode": r.choice(["nearest", "linear", "cubic"]), "coordinate_transformation_mode": r.choice(coord)}
    if attrs["mode"] == "nearest":
        attrs["nearest_mode"] = r.choice(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
    if attrs["mode"] == "cubic":
        attrs.update(exclude_outside=r.randint(0, 2), cubic_coeff_a=float(r.choice([-0.5, -0.75])))
    if r.rand() < 0.5:
        scales = np.array([1, 1, r.choice([0.5, 2, 2.5, 3]), r.choice([0.5, 2, 1.5, 3])], np.float32)
        return [x, None, scales], attrs, 1
    return [x, None, None, np.array([1, 2, r.randint(1, 12), r.randint(1, 12)], np.int64)], attrs, 1


@case(16, free={0: {2: "H", 3: "W"}, 1: {0: "R"}, 2: {0: "R"}})
def RoiAlign(r):
    low, size = r.rand(5, 2) * 12, r.rand(5, 2) * 12 + 1
    rois = np.concatenate([low, low + size], 1).astype(np.float32)
    attrs = {"mode": r.choice(["avg", "max"]), "output_height": 3, "output_width": 2, "spatial_scale": 0.5}
    attrs["sampling_ratio"] = r.randint(0, 3)
    attrs["coordinate_transformation_mode"] = r.choice(["half_pixel", "output_half_pixel"])
    return [f32(r, 2, 3, 10, 12), rois, r.randint(0, 2, 5).astype(np.int64)], attrs, 1


@case(10, fixed=range(1, 9), free={0: {0: "N", 2: "H", 3: "W"}})
def QLinearConv(r):
    g = int(r.choice([1, 2]))
    # Weights of 7 bits: onnxruntime adds pairs of products of 8 bits in 16 where a processor has no VNNI.
    w = [r.randint(-64, 64, (4, 2, 3, 3)).astype(np.int8), (r.rand(4) * 0.02 + 0.001).astype(np.float32), np.zeros(4, np.int8)]
    ins = [u8(r, 1, 2 * g, 6, 6), np.float32(0.02), np.uint8(128)] + w + [np.float32(0.1), np.uint8(100)]
    bias = [r.randint(-500, 500, 4).astype(np.int32)] * r.randint(0, 2)
    return ins + bias, {"group": g, "pads": [1, 1, 1, 1], "strides": [int(r.randint(1, 3))] * 2}, 1


@case(13)
def QuantizeLinear(r):
    axis, x = r.randint(0, 3), f32(r, 3, 4, 5) * 3
    n = x.shape[axis]
    return [x, (r.rand(n) + 0.01).astype(np.float32), [u8, i8][r.randint(0, 2)](r, n)], {"axis": axis}, 1


def recurrent(r, gates, lstm=False):
    t, b, i, h = r.randint(1, 6), r.randint(1, 4), r.randint(1, 5), r.randint(1, 5)
    way = str(r.choice(["forward", "reverse", "bidirectional"]))
    d = 2 if way == "bidirectional" else 1

    def maybe(x):
        return x if r.rand() < 0.5 else None

    ins = [f32(r, t, b, i), f32(r, d, gates * h, i), f32(r, d, gates * h, h), maybe(f32(r, d, 2 * gates * h))]
    ins += [maybe(r.randint(1, t + 1, b).astype(np.int32)), maybe(f32(r, d, b, h))]
    if lstm:
        ins += [maybe(f32(r, d, b, h)), maybe(f32(r, d, 3 * h))]
    attrs = {"hidden_size": h, "direction": way}
    if r.rand() < 0.3:
        attrs["clip"] = float(r.choice([0.5, 3]))
    return ins, attrs, 3 if lstm else 2


STEPS = {0: {0: "T", 1: "B"}, 4: {0: "B"}, 5: {1: "B"}, 6: {1: "B"}}


@case(14, free=STEPS)
def LSTM(r):
    return recurrent(r, 4, True)


@case(14, free=STEPS)
def GRU(r):
    ins, attrs, n = recurrent(r, 3)
    return ins, dict(attrs, linear_before_reset=r.randint(0, 2)), n


@case(14, free=STEPS)
def RNN(r):
    return recurrent(r, 1)


@case(1, ML, free={0: {0: "N"}})
def LinearClassifier(r):
    n = int(r.choice([1, 3]))
    attrs = {"coefficients": f32(r, 4 * n).tolist(), "intercepts": f32(r, n).tolist(), "post_transform": r.choice(POST)}
    labels = max(n, 2)
    if r.rand() < 0.5:
        attrs["classlabels_ints"] = draw(r, labels, 0, 9)
    else:
        attrs["classlabels_strings"] = [f"c{i}" for i in range(labels)]
    return [f32(r, 5, 4)], attrs, 2


@case(1, ML, free={0: {0: "N"}})
def SVMClassifier(r):
    n = int(r.choice([2, 3, 4]))
    pairs = n * (n - 1) // 2
    attrs = {"kernel_type": r.choice(["LINEAR", "POLY", "RBF", "SIGMOID"]), "kernel_params": [0.5, 0.1, 3.0]}
    attrs.update(support_vectors=f32(r, 8 * n).tolist(), coefficients=f32(r, 2 * n * (n - 1)).tolist())
    attrs.update(rho=f32(r, pairs).tolist(), vectors_per_class=[2] * n, classlabels_ints=list(range(3, 3 + n)))
    if r.rand() < 0.4:
        attrs.update(prob_a=(-abs(f32(r, pairs))).tolist(), prob_b=f32(r, pairs).tolist())
    return [f32(r, 6, 4)], attrs, 2


def forest(r, modes):
    names = "treeids nodeids featureids values modes truenodeids falsenodeids missing_value_tracks_true".split()
    nodes, leaves = {n: [] for n in names}, []

    def grow(tree, count, depth):
        at, i = len(nodes["nodeids"]), count[0]
        count[0] += 1
        leaf = depth == 0 or (i and r.rand() < 0.2)
        row = [tree, i, int(r.randint(0, 4)), float(f32(r, 1)[0]), str(r.choice(modes)), 0, 0, int(r.randint(0, 2))]
        for name, v in zip(names, [tree, i, 0, 0.0, "LEAF", 0, 0, 0] if leaf else row):
            nodes[name].append(v)
        if leaf:
            leaves.append((tree, i))
        else:
            nodes["truenodeids"][at] = grow(tree, count, depth - 1)
            nodes["falsenodeids"][at] = grow(tree, count, depth - 1)
        return i

    for tree in range(r.randint(1, 5)):
        grow(tree, [0], r.randint(1, 5))
    return {"nodes_" + k: v for k, v in nodes.items()}, leaves


MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


@case(3, ML, free={0: {0: "N"}})
def TreeEnsembleRegressor(r):
    attrs, leaves = forest(r, MODES[: r.randint(1, 7)])
    n = int(r.choice([1, 3]))
    rows = [(t, i, k) for t, i in leaves for k in range(n)]
    for name, column in zip(["treeids", "nodeids", "ids"], zip(*rows)):
        attrs["target_" + name] = list(column)
    attrs.update(target_weights=f32(r, len(rows)).tolist(), n_targets=n)
    attrs["aggregate_function"] = r.choice(["SUM", "AVERAGE", "MIN", "MAX"])
    x = f32(r, 6, 4)
    x[0, 0] = np.nan
    return [x], attrs, 1


@case(3, ML, free={0: {0: "N"}})
def TreeEnsembleClassifier(r):
    attrs, leaves = forest(r, MODES[: r.randint(1, 7)])
    n = int(r.choice([2, 3, 4]))
    rows = [(t, i, k) for t, i in leaves for k in ([0] if n == 2 else range(n))]
    for name, column in zip(["treeids", "nodeids", "ids"], zip(*rows)):
        attrs["class_" + name] = list(column)
    w = f32(r, len(rows))
    attrs["class_weights"] = (abs(w) if r.rand() < 0.5 else w).tolist()
    attrs.update(classlabels_strings=[f"c{i}" for i in range(n)], post_transform=r.choice(POST))
    return [f32(r, 6, 4)], attrs, 2


@case(1, MS, fixed=(1, 2, 3), free={0: {0: "N"}})
def MatMulNBits(r):
    ins = [f32(r, 3, 40), u8(r, 6, 3, 8), f32(r, 18)] + [u8(r, 12)] * r.randint(0, 2)
    return ins, {"K": 40, "N": 6, "bits": 4, "block_size": 16}, 1


@case(1, MS, free={0: {0: "B", 1: "S"}, 1: {0: "B", 1: "T"}, 2: {0: "B", 1: "T"}})
def MultiHeadAttention(r):
    return [f32(r, 2, 3, 8), f32(r, 2, 5, 8), f32(r, 2, 5, 8)] + [f32(r, 24)] * r.randint(0, 2), {"num_heads": 2}, 1


@case(1, MS, free={0: {0: "B", 1: "S"}, 1: {0: "B", 1: "S"}})
def SkipLayerNormalization(r):
    ins = [f32(r, 2, 3, 4), f32(r, 2, 3, 4), f32(r, 4), f32(r, 4)] + [f32(r, 4)] * r.randint(0, 2)
    return ins, {"epsilon": 1e-3}, 1


def plain(v):
    if isinstance(v, np.generic):
        return v.item()
    return [plain(x) for x in v] if isinstance(v, list) else v


def write_model(folder, name, seed, symbolic):
    """The model, its inputs and onnxruntime's outputs; False when onnxruntime refuses it."""
    make, opset, domain, fixed, free = CASES[name]
    ins, attrs, nout = make(np.random.RandomState(seed))
    ids = [f"x{i}" if v is not None else "" for i, v in enumerate(ins)]
    outs = [f"y{i}" for i in range(nout)]
    node = helper.make_node(name, ids, outs, domain=domain, **{k: plain(v) for k, v in attrs.items()})
    inputs, inits, feed = [], [], {}
    for i, v in enumerate(ins):
        if v is None:
            continue
        v = np.asarray(v)
        if i in fixed:
            inits.append(numpy_helper.from_array(v, ids[i]))
            continue
        names = free.get(i, {}) if symbolic else {}
        shape = [names.get(axis, n) for axis, n in enumerate(v.shape)]
        inputs.append(helper.make_tensor_value_info(ids[i], helper.np_dtype_to_tensor_dtype(v.dtype), shape))
        feed[ids[i]] = v
    graph = helper.make_graph([node], name, inputs, [], inits)
    opsets = [helper.make_opsetid("", 17 if domain else opset)]
    opsets += [helper.make_opsetid(domain, opset)] if domain else []
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    for o in outs:
        model.graph.output.add().name = o
    try:
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        got = session.run(None, feed)
    except Exception:  # what onnxruntime does not take is no case
        return False
    del model.graph.output[:]
    data = folder / "test_data_set_0"
    data.mkdir()
    for i, v in enumerate(got):
        v = np.asarray(v)
        text = v.dtype.kind in "OU"
        kind = onnx.TensorProto.STRING if text else helper.np_dtype_to_tensor_dtype(v.dtype)
        model.graph.output.append(helper.make_tensor_value_info(outs[i], kind, [None] * v.ndim))
        v = v.astype(object) if text else v
        (data / f"output_{i}.pb").write_bytes(numpy_helper.from_array(v, outs[i]).SerializeToString())
    for i, (n, v) in enumerate(feed.items()):
        (data / f"input_{i}.pb").write_bytes(numpy_helper.from_array(v, n).SerializeToString())
    onnx.save(model, folder / "model.onnx")
    return True


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--runner", required=True, help="the cnncc-run program")
    p.add_argument("--count", type=int, default=10, help="seeds of each operator")
    p.add_argument("--cc", default="tcc")
    p.add_argument("--symbolic", action="store_true")
    p.add_argument("operator", nargs="*", help="only these")
    opt = p.parse_args()
    ort.set_default_logger_severity(4)
    passed = failed = 0
    for name in opt.operator or CASES:
        for seed in range(opt.count):
            with tempfile.TemporaryDirectory() as tmp:
                if not write_model(pathlib.Path(tmp), name, seed, opt.symbolic):
                    continue
                command = [opt.runner, f"{tmp}/model.onnx", "--test", tmp, "--cc", opt.cc]
                # A number at the edge between two of 256 steps may be rounded either way.
                command += ["--rtol", "1e-3", "--atol", "5e-3" if name.startswith("DynamicQuantize") else "1e-5"]
                run = subprocess.run(command, capture_output=True, text=True)
                passed += run.returncode == 0
                failed += run.returncode != 0
                if run.returncode:
                    print(f"{name} seed {seed}: {(run.stderr + run.stdout).strip()}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
