# SPDX-License-Identifier: Apache-2.0
"""The interface of cnncc --train: optimizers against their formulas, checkpoints, export, batches, threads.

The last line is 'N passed, N failed, N skipped'.
"""

import argparse
import json
import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import trainer

RNG = np.random.default_rng(5)


def net(kind=TensorProto.FLOAT, norm=False):
    """A small convolutional network with a batch of 1, as exporters write it; weights as raw bytes."""
    rng = np.random.default_rng(3)
    nodes = [helper.make_node("Conv", ["x", "c.w", "c.b"], ["a"], pads=[1, 1, 1, 1])]
    weights = {"c.w": rng.normal(size=(4, 2, 3, 3)) * 0.3, "c.b": rng.normal(size=4) * 0.1}
    last = "a"
    if norm:
        nodes.append(helper.make_node("BatchNormalization", [last, "n.s", "n.b", "n.m", "n.v"], ["n"], momentum=0.8))
        weights |= {"n.s": np.ones(4), "n.b": np.zeros(4), "n.m": np.zeros(4), "n.v": np.ones(4)}
        last = "n"
    nodes += [helper.make_node("Relu", [last], ["r"]), helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
              helper.make_node("Flatten", ["p"], ["f"]), helper.make_node("Gemm", ["f", "d.w", "d.b"], ["l"], transB=1),
              helper.make_node("Softmax", ["l"], ["y"])]
    weights |= {"d.w": rng.normal(size=(3, 36)) * 0.3, "d.b": np.zeros(3)}
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", kind, [1, 2, 6, 6])],
                              [helper.make_tensor_value_info("y", kind, [1, 3])],
                              [numpy_helper.from_array(w.astype(dtype), n) for n, w in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def feeds(n):
    return {"x": RNG.normal(size=(n, 2, 6, 6)), "target": RNG.integers(0, 3, size=n)}


def make(args, folder, options=(), dtype=np.float64, **kind):
    path = folder / f"net{len(kind)}.onnx"
    onnx.save(net(**kind), path)
    return trainer.compile_trainer(args.cnncc, args.cc, path, folder / "t", ["--loss=cross_entropy", "--batch=8", *options], dtype, ("x", "target"))


# ---- optimizers: w, g, state, step from 0 -> w ----------------------------------------------------------

def sgd(w, g, s, t, h):
    g = g + h.weight_decay * w
    s[0] = g if t == 0 else h.momentum * s[0] + (1 - h.dampening) * g
    return w - h.lr * (g + h.momentum * s[0] if h.nesterov else s[0])


def adam(w, g, s, t, h, decoupled=False):
    if decoupled:
        w = w * (1 - h.lr * h.weight_decay)
    else:
        g = g + h.weight_decay * w
    s[0] = h.beta1 * s[0] + (1 - h.beta1) * g
    s[1] = h.beta2 * s[1] + (1 - h.beta2) * g * g
    m, v = s[0] / (1 - h.beta1 ** (t + 1)), s[1] / (1 - h.beta2 ** (t + 1))
    return w - h.lr * m / (np.sqrt(v) + h.eps)


def adamw(w, g, s, t, h):
    return adam(w, g, s, t, h, True)


def adagrad(w, g, s, t, h):
    g = g + h.weight_decay * w
    s[0] = s[0] + g * g
    return w - h.lr / (1 + t * h.lr_decay) * g / (np.sqrt(s[0]) + h.eps)


def rmsprop(w, g, s, t, h):
    g = g + h.weight_decay * w
    s[0] = h.alpha * s[0] + (1 - h.alpha) * g * g
    s[2] = h.alpha * s[2] + (1 - h.alpha) * g
    s[1] = h.momentum * s[1] + g / (np.sqrt(s[0] - s[2] ** 2 if h.centered else s[0]) + h.eps)
    return w - h.lr * s[1]


def lion(w, g, s, t, h):
    w = w * (1 - h.lr * h.weight_decay) - h.lr * np.sign(h.beta1 * s[0] + (1 - h.beta1) * g)
    s[0] = h.beta2 * s[0] + (1 - h.beta2) * g
    return w


def onnx_adam(w, g, s, t, h):
    g = g + h.weight_decay * w
    s[0], s[1] = h.beta1 * s[0] + (1 - h.beta1) * g, h.beta2 * s[1] + (1 - h.beta2) * g * g
    rate = h.lr * np.sqrt(1 - h.beta2**t) / (1 - h.beta1**t) if t else h.lr
    return w - rate * s[0] / (np.sqrt(s[1]) + h.eps)


def onnx_momentum(w, g, s, t, h):
    g = g + h.weight_decay * w
    s[0] = h.momentum * s[0] + (1 - h.dampening if t else 1) * g
    return w - h.lr * (g + h.momentum * s[0] if h.nesterov else s[0])


OPTIMIZERS = {
    "sgd": (sgd, [{}, {"momentum": 0.9}, {"momentum": 0.8, "dampening": 0.3}, {"momentum": 0.9, "nesterov": 1, "weight_decay": 0.1}]),
    "adam": (adam, [{}, {"weight_decay": 0.1, "beta1": 0.8}]), "adamw": (adamw, [{}, {"weight_decay": 0.3}]),
    "adagrad": (adagrad, [{}, {"lr_decay": 0.1, "weight_decay": 0.1}]), "rmsprop": (rmsprop, [{}, {"momentum": 0.7}, {"centered": 1}]),
    "lion": (lion, [{}, {"weight_decay": 0.2}]), "onnx_adam": (onnx_adam, [{}]), "onnx_adagrad": (adagrad, [{"lr_decay": 0.1}]),
    "onnx_momentum": (onnx_momentum, [{"dampening": 0.05}, {"nesterov": 1}]),
}


def check_optimizer(args, folder, name):
    step, settings = OPTIMIZERS[name]
    t = make(args, folder, [f"--optimizer={name}", "--no-decay=[.]b$"])
    for setting in settings:
        t.check(t.lib.m_init(trainer.C.byref(t.t), None))
        t.t.step = 0
        t.lib.m_defaults(trainer.C.byref(t.hyper))
        for k, v in setting.items():
            setattr(t.hyper, k, v)
        want = {n: w.copy() for n, w in t.views().items()}
        state = {n: [np.zeros_like(w) for _ in range(3)] for n, w in want.items()}
        decay = t.hyper.weight_decay
        for i in range(12):
            t.train_step(feeds(8))
            for n, g in t.views("grads").items():
                h = trainer.Hyper.from_buffer_copy(t.hyper)
                h.weight_decay = 0 if n.endswith(".b") else decay
                want[n] = step(want[n], g, state[n], i, h)
                np.testing.assert_allclose(t.views()[n], want[n], rtol=1e-11, atol=1e-13, err_msg=f"{name} {setting}: {n} after {i + 1} steps")


def check_clip(args, folder):
    t = make(args, folder)
    batch = feeds(8)
    t.lib.m_zero_grad(trainer.C.byref(t.t))
    t.call("forward_backward", batch)
    raw = t.memory["grads"].copy()
    t.hyper.clip_norm = 0.5 * np.linalg.norm(raw)
    t.lib.m_optimizer_step(trainer.C.byref(t.t), trainer.C.byref(t.hyper))
    np.testing.assert_allclose(t.memory["grads"], raw * t.hyper.clip_norm / (np.linalg.norm(raw) + 1e-6), rtol=1e-12)
    t.memory["grads"][:] = raw
    t.hyper.clip_norm, t.hyper.clip_value = 0, 0.01
    t.lib.m_optimizer_step(trainer.C.byref(t.t), trainer.C.byref(t.hyper))
    np.testing.assert_array_equal(t.memory["grads"], np.clip(raw, -0.01, 0.01))


def check_parts(args, folder):
    """Accumulation, smaller batches, evaluation and prediction, threads, memory that is too small."""
    t = make(args, folder)
    batch = feeds(8)
    one = t.call("forward_backward", batch)
    grads = t.memory["grads"].copy()
    t.call("forward_backward", batch)
    np.testing.assert_array_equal(t.memory["grads"], 2 * grads)
    parts, loss = np.zeros_like(grads), 0
    for a, b in ((0, 3), (3, 8)):  # the mean over 8 from those over 3 and 5
        t.lib.m_zero_grad(trainer.C.byref(t.t))
        loss += (b - a) / 8 * t.call("forward_backward", {n: x[a:b] for n, x in batch.items()}).loss
        parts += (b - a) / 8 * t.memory["grads"]
    np.testing.assert_allclose(parts, grads, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(loss, one.loss, rtol=1e-13)
    y, y2 = t.reals(24), t.reals(24)
    e = t.call("eval_step", batch, y=y)
    np.testing.assert_allclose(e.loss, one.loss, rtol=1e-13)
    p = y.reshape(8, 3)
    if e.correct != (p.argmax(1) == batch["target"]).sum() or e.correct != one.correct:
        raise AssertionError("the number of right ones")
    np.testing.assert_allclose(e.loss, -np.log(p[np.arange(8), batch["target"]]).mean(), rtol=1e-12)
    t.call("predict", {"x": batch["x"]}, y=y2)
    np.testing.assert_array_equal(y, y2)
    t.t.threads = 3
    t.memory["work3"] = trainer.loader.aligned(t.lib.m_work_size(3))
    t.t.work, t.t.work_size = t.memory["work3"].ctypes.data, t.memory["work3"].size
    t.lib.m_zero_grad(trainer.C.byref(t.t))
    t.call("forward_backward", batch)
    np.testing.assert_array_equal(t.memory["grads"], grads)
    for size, n, want in ((64, 8, "EWORK"), (t.memory["work3"].size, 9, "ESHAPE")):
        t.t.work_size = size
        try:
            t.call("forward_backward", feeds(n))
        except RuntimeError as error:
            if str(error) != want:
                raise
        else:
            raise AssertionError(f"no {want}")


def check_checkpoint(args, folder):
    t = make(args, folder, ["--optimizer=adam"], norm=True)
    batches = [feeds(8) for _ in range(6)]
    for b in batches[:3]:
        t.train_step(b)
    saved = t.save()
    size = int.from_bytes(saved[:8], "little")
    header = json.loads(saved[8 : 8 + size])
    if header["__metadata__"]["step"].lstrip("0") != "3" or header["c.w"]["shape"] != [4, 2, 3, 3]:
        raise AssertionError(f"header {header}")
    for name, w in t.views().items():
        a, b = header[name]["data_offsets"]
        np.testing.assert_array_equal(np.frombuffer(saved[8 + size + a : 8 + size + b]).reshape(w.shape), w)
    for b in batches[3:]:
        t.train_step(b)
    end = t.save()
    other = make(args, folder, ["--optimizer=adam"], norm=True)
    other.check(other.load(saved))
    for b in batches[3:]:
        other.train_step(b)
    if other.save() != end:
        raise AssertionError("a training that was resumed is another one")
    if other.load(saved[:-1]) == 0 or other.load(saved[:9] + b"!" + saved[10:]) == 0:
        raise AssertionError("a damaged checkpoint is taken")


def check_export(args, folder, kind=TensorProto.FLOAT):
    before = net(kind=kind, norm=True)
    raw = before.SerializeToString()
    t = make(args, folder, ["--optimizer=adam"], np.float32, kind=kind, norm=True)
    for _ in range(3):
        t.train_step(feeds(8))
    status, data = t.export(raw)
    t.check(status)
    after = onnx.load_model_from_string(data)
    for w in after.graph.initializer:
        want = t.views()[w.name].astype(helper.tensor_dtype_to_np_dtype(kind))
        np.testing.assert_array_equal(numpy_helper.to_array(w), want, err_msg=w.name)
        if w.name != "n.s" and (numpy_helper.to_array(w) == 0).all():
            raise AssertionError(f"{w.name} has not moved")
    for model in (before, after):
        for w in model.graph.initializer:
            w.raw_data = b""
    if before != after:
        raise AssertionError("the export changed more than weights")
    if t.export(raw[:-1])[0] == 0 or t.export(raw[:-1] + b"?")[0] == 0:
        raise AssertionError("another file is taken for the model's")


def check_export_elsewhere(args, folder):
    """Weights in typed fields, and in Constant nodes as PaddlePaddle writes them: trained and exported all the same."""
    for typed in (True, False):
        for constants in (True, False):
            model = net(norm=True)
            for w in model.graph.initializer:
                if typed:
                    values = numpy_helper.to_array(w).ravel()
                    w.ClearField("raw_data")
                    w.float_data.extend(values.tolist())
            if constants:
                weights = {w.name: w for w in model.graph.initializer}
                nodes = [helper.make_node("Constant", [], [n], value=w) for n, w in weights.items()]
                nodes.append(helper.make_node("Constant", [], ["unused"], value=helper.make_tensor("", TensorProto.FLOAT, [], [1.0])))
                model.graph.ClearField("initializer")
                rest = list(model.graph.node)
                model.graph.ClearField("node")
                model.graph.node.extend(nodes + rest)
            path = folder / "elsewhere.onnx"
            onnx.save(model, path)
            t = trainer.compile_trainer(args.cnncc, args.cc, path, folder / "e", ["--loss=cross_entropy", "--batch=8", "--optimizer=adam"], np.float32,
                                        ("x", "target"))
            for _ in range(3):
                t.train_step(feeds(8))
            status, data = t.export(path.read_bytes())
            t.check(status)
            after = onnx.load_model_from_string(data)
            got = {w.name: w for w in after.graph.initializer} | {n.output[0]: n.attribute[0].t for n in after.graph.node if n.op_type == "Constant"}
            for name, want in t.views().items():
                np.testing.assert_array_equal(numpy_helper.to_array(got[name]), want, err_msg=name)
            if len(t.views()) != 8:
                raise AssertionError(f"parameters {list(t.views())}")


def check_statistics(args, folder):
    """Running statistics by ONNX's and PyTorch's convention; frozen ones stay."""
    x, rest = feeds(8), 1 - float(np.float32(0.8))
    for options, unbiased, frozen in (([], False, False), (["--bn-momentum=pytorch"], True, False), (["--frozen-bn"], False, True)):
        t = make(args, folder, options, norm=True)
        w = {n: v.copy() for n, v in t.views().items()}
        t.train_step(x)
        if frozen:
            if "n.m" in t.views():
                raise AssertionError("frozen statistics are parameters")
            continue
        padded = np.pad(x["x"], ((0, 0), (0, 0), (1, 1), (1, 1)))
        a = sum(np.einsum("nchw,oc->nohw", padded[:, :, i : i + 6, j : j + 6], w["c.w"][:, :, i, j]) for i in range(3) for j in range(3))
        a += w["c.b"][:, None, None]
        var = a.var(axis=(0, 2, 3), ddof=1 if unbiased else 0)
        np.testing.assert_allclose(t.views()["n.m"], rest * a.mean(axis=(0, 2, 3)), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(t.views()["n.v"], 1 - rest + rest * var, rtol=1e-10)


def check_random_start(args, folder):
    t = make(args, folder, norm=True)
    t.check(t.lib.m_init_random(trainer.C.byref(t.t), trainer.C.c_uint64(7)))
    w = {n: v.copy() for n, v in t.views().items()}
    limit = {"c.w": np.sqrt(6 / 18), "d.w": np.sqrt(6 / 39)}  # He before a rectifier, Glorot before the softmax
    for n, most in limit.items():
        if not 0.8 * most < np.abs(w[n]).max() <= most or abs(w[n].mean()) > 0.2 * most:
            raise AssertionError(f"{n} within {np.abs(w[n]).max()} of {most}")
    for n, want in {"c.b": 0, "n.s": 1, "n.b": 0, "n.m": 0, "n.v": 1, "d.b": 0}.items():
        np.testing.assert_array_equal(w[n], np.full_like(w[n], want), err_msg=n)
    t.check(t.lib.m_init_random(trainer.C.byref(t.t), trainer.C.c_uint64(8)))
    if (t.views()["c.w"] == w["c.w"]).all():
        raise AssertionError("another seed, the same weights")


def check_inplace(args, folder):
    """--update=inplace: bit for bit the steps of a buffer of gradients, for each optimizer, full and smaller batches; no gradient's memory."""
    for name in OPTIMIZERS:
        both = [make(args, folder, [f"--optimizer={name}", "--no-decay=[.]b$", *more], np.float32, norm=True) for more in ([], ["--update=inplace"])]
        for clip in (0, 0.01):
            for n in (8, 8, 5, 8):
                batch, losses = feeds(n), []
                for t in both:
                    t.hyper.clip_value, t.hyper.weight_decay = clip, 0.1
                    losses.append(t.train_step(batch))
                if losses[0] != losses[1] or both[0].t.step != both[1].t.step:
                    raise AssertionError(f"{name}: losses {losses}")
        for w, want in both[0].views().items():
            np.testing.assert_array_equal(both[1].views()[w], want, err_msg=f"{name}: {w}")
        if both[0].save() != both[1].save():
            raise AssertionError(f"{name}: other checkpoints")
        both[1].hyper.clip_norm = 1
        try:
            both[1].train_step(feeds(8))
        except RuntimeError as error:
            if str(error) != "EVALUE":
                raise
        else:
            raise AssertionError("the norm of gradients that are not there was clipped")
    if hasattr(both[1].lib, "m_forward_backward"):
        raise AssertionError("there are gradients")


def check_inplace_memory(args, folder):
    """Of many layers' gradients at most some are there at a time."""
    rng = np.random.default_rng(1)
    nodes, weights, last = [], {}, "x"
    for i in range(12):
        weights[f"w{i}"] = (rng.normal(size=(256, 256)) / 16).astype(np.float32)
        nodes += [helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"]), helper.make_node("Relu", [f"m{i}"], [f"r{i}"])]
        last = f"r{i}"
    graph = helper.make_graph(nodes, "deep", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 256])],
                              [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, 256])],
                              [numpy_helper.from_array(w, n) for n, w in weights.items()])
    path = folder / "deep.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    both = [trainer.compile_trainer(args.cnncc, args.cc, path, folder / "d", ["--loss=mse", "--batch=4", *more], np.float32, ("x", "target"), (last,), False)
            for more in ([], ["--update=inplace"])]
    x = {"x": rng.normal(size=(4, 256)).astype(np.float32), "target": rng.normal(size=(4, 256)).astype(np.float32)}
    for _ in range(3):
        if both[0].train_step(x) != both[1].train_step(x):
            raise AssertionError("another loss")
    np.testing.assert_array_equal(both[0].memory["params"], both[1].memory["params"])
    work = both[1].memory["work"].size
    if work > 3 * 256 * 256 * 4:
        raise AssertionError(f"{work} bytes of work area, a gradient takes {256 * 256 * 4}")


def check_overlap(args, folder):
    """--overlap: each gradient is final when it is handed out, once, the last layers first, and the same as without."""
    plain, t = (make(args, folder, ["--optimizer=adam", *more], np.float32, norm=True) for more in ([], ["--overlap"]))
    order = sorted((r.offset for r in t.rows if r.kind == 0), reverse=True)
    for n in (8, 5):
        batch, parts = feeds(n), []

        def ready(_, offset, count, parts=parts):
            parts.append((offset, t.memory["grads"][offset : offset + count].copy()))

        plain.lib.m_zero_grad(trainer.C.byref(plain.t))
        want = plain.call("forward_backward", batch).loss
        t.memory["grads"][:] = np.nan
        if t.gradients(batch, ready) != want:
            raise AssertionError("another loss")
        if sorted((o for o, _ in parts), reverse=True) != order or parts[0][0] < parts[-1][0]:
            raise AssertionError(f"handed out: {[o for o, _ in parts]}")
        for offset, g in parts:
            np.testing.assert_array_equal(g, t.memory["grads"][offset : offset + g.size])
        for name, g in plain.views("grads").items():
            np.testing.assert_array_equal(t.views("grads")[name], g, err_msg=name)
    if plain.train_step(batch) != t.train_step(batch):
        raise AssertionError("another step")


def deep(kind, path):
    """Many blocks of a kind: what a training step keeps of them is most of its memory."""
    rng = np.random.default_rng(2)
    nodes, weights, x, shape = [], {}, "x", [1, 8, 12, 12] if kind == "residual" else [1, 10, 16]

    def op(name, inputs, **attributes):
        nodes.append(helper.make_node(name, inputs, [f"v{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def weight(*size, value=None):
        weights[f"w{len(weights)}"] = np.full(size, value, np.float32) if value is not None else rng.normal(size=size).astype(np.float32) * 0.3
        return [*weights][-1]

    for _ in range(5):
        if kind == "residual":
            y = op("Conv", [x, weight(8, 8, 3, 3)], pads=[1] * 4)
            y = op("Relu", [op("BatchNormalization", [y, weight(8, value=1), weight(8, value=0), weight(8, value=0), weight(8, value=1)])])
            y = op("Dropout", [op("Conv", [y, weight(8, 8, 3, 3)], pads=[1] * 4)], seed=3)
        else:
            q, k, v = (op("MatMul", [x, weight(16, 16)]) for _ in range(3))
            p = op("Softmax", [op("MatMul", [q, op("Transpose", [k], perm=[0, 2, 1])])])
            y = op("Tanh", [op("MatMul", [op("Gelu", [op("MatMul", [op("MatMul", [p, v]), weight(16, 64)])]), weight(64, 16)])])
        x = op("Add", [x, y])
    graph = helper.make_graph(nodes, kind, [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info(x, TensorProto.FLOAT, shape)], [numpy_helper.from_array(w, n) for n, w in weights.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8), path)
    return shape, x


def check_recompute(args, folder):
    """--recompute=auto: the same training in less memory, alone, in place, and within a budget; too small a budget says what is needed."""
    for kind in ("residual", "attention"):
        path = folder / f"{kind}.onnx"
        shape, out = deep(kind, path)

        def build(*options):
            return trainer.compile_trainer(args.cnncc, args.cc, path, folder / "r", ["--loss=mse", "--batch=6", "--optimizer=adam", *options], np.float64,
                                           ("x", "target"), (out,), False)

        plain = build()
        total = sum(a.nbytes for a in plain.memory.values())
        least = sum(a.nbytes for a in build("--recompute=auto").memory.values())
        if least > 0.75 * total:
            raise AssertionError(f"{kind}: {least} bytes of {total}")
        others = [build("--recompute=auto"), build("--recompute=auto", "--update=inplace"), build("--recompute=auto", f"--mem-budget={(total + least) // 2}")]
        if sum(a.nbytes for a in others[2].memory.values()) > (total + least) // 2 + 65536:
            raise AssertionError("more than the budget")
        for n in (6, 6, 4):
            feed = {k: RNG.normal(size=(n, *shape[1:])) for k in ("x", "target")}
            want = plain.train_step(feed)
            for t in others:
                np.testing.assert_allclose(t.train_step(feed), want, rtol=1e-11)
        for t in others:
            for name, w in plain.views().items():
                np.testing.assert_allclose(t.views()[name], w, rtol=1e-7, atol=1e-9, err_msg=name)
        try:
            build("--recompute=auto", "--mem-budget=1K")
        except RuntimeError as error:
            if "at least" not in str(error):
                raise
        else:
            raise AssertionError("a budget of a kilobyte was met")


def check_amp(args, folder):
    """--amp=bf16: the loss of floats, gradients of what was kept in 16 bits, about half of the work area; with --recompute too."""
    for kind in ("residual", "attention"):
        path = folder / f"{kind}.onnx"
        shape, out = deep(kind, path)
        t = [trainer.compile_trainer(args.cnncc, args.cc, path, folder / "b", ["--loss=mse", "--batch=6", *more], np.float32, ("x", "target"), (out,), False)
             for more in ([], ["--amp=bf16"], ["--recompute=auto"], ["--recompute=auto", "--amp=bf16"])]
        work = [m.memory["work"].size - m.memory["grads"].nbytes for m in t]
        if work[1] > 0.8 * work[0]:
            raise AssertionError(f"{kind}: work areas of {work} bytes")
        feed = {k: RNG.normal(size=(6, *shape[1:])).astype(np.float32) for k in ("x", "target")}
        loss = [m.call("forward_backward", feed).loss for m in t]
        np.testing.assert_allclose(loss, loss[0], rtol=1e-6)
        want = t[0].memory["grads"]
        for m in (t[1], t[3]):
            error = np.linalg.norm(m.memory["grads"] - want) / np.linalg.norm(want)
            if not 1e-6 < error < 1e-2:
                raise AssertionError(f"{kind}: gradients differ by {error:.1e}")


def check_batch_of_one(args, folder):
    """A model whose shapes were written for one example: heads, a token in front, a flat end, an initial state."""
    rng = np.random.default_rng(4)
    weights = {n: (rng.normal(size=s) * 0.4).astype(np.float32) for n, s in {
        "wq": (6, 6), "token": (1, 1, 6), "gw": (1, 12, 6), "gr": (1, 12, 4), "h0": (1, 1, 4), "wd": (12, 5)}.items()}
    shapes = {"heads": [1, 4, 2, 3], "merged": [2, 4, 3], "apart": [1, 2, 4, 3], "joined": [1, 4, 6], "flat": [1, -1]}
    n = helper.make_node
    nodes = [n("MatMul", ["x", "wq"], ["q"]), n("Reshape", ["q", "heads"], ["h"]), n("Transpose", ["h"], ["t"], perm=[0, 2, 1, 3]), n("Reshape", ["t", "merged"], ["m"]),
             n("Tanh", ["m"], ["a"]), n("Reshape", ["a", "apart"], ["b"]), n("Transpose", ["b"], ["c"], perm=[0, 2, 1, 3]), n("Reshape", ["c", "joined"], ["j"]),
             n("Concat", ["token", "j"], ["s"], axis=1), n("Transpose", ["s"], ["st"], perm=[1, 0, 2]), n("GRU", ["st", "gw", "gr", "", "", "h0"], ["y0", "y1"], hidden_size=4),
             n("Transpose", ["y1"], ["y2"], perm=[1, 0, 2]), n("Concat", ["y2", "y2", "y2"], ["y3"], axis=2), n("Reshape", ["y3", "flat"], ["f"]), n("MatMul", ["f", "wd"], ["y"])]
    graph = helper.make_graph(nodes, "one", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 6])], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
                              [*(numpy_helper.from_array(w, k) for k, w in weights.items()), *(numpy_helper.from_array(np.array(v, np.int64), k) for k, v in shapes.items())])
    path = folder / "one.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    build = lambda b: trainer.compile_trainer(args.cnncc, args.cc, path, folder / "o", ["--loss=mse", f"--batch={b}"], np.float64, ("x", "target"), ("y",), False)  # noqa: E731
    one, many = build(1), build(5)
    feed = {"x": rng.normal(size=(5, 4, 6)), "target": rng.normal(size=(5, 5))}
    for count in (5, 3):
        part = {k: v[:count] for k, v in feed.items()}
        for t in (one, many):
            t.lib.m_zero_grad(trainer.C.byref(t.t))
        loss = np.mean([one.call("forward_backward", {k: v[i : i + 1] for k, v in part.items()}).loss for i in range(count)])
        np.testing.assert_allclose(many.call("forward_backward", part).loss, loss, rtol=1e-12)
        np.testing.assert_allclose(many.memory["grads"], one.memory["grads"] / count, rtol=1e-10, atol=1e-13)


def check_choice(args, folder):
    """Bias only; the last layer only."""
    t = make(args, folder, ["--requires-grad=[.]b$"])
    if set(t.views("grads")) != {"c.b", "d.b"}:
        raise AssertionError(f"{set(t.views('grads'))}")
    t = make(args, folder, ["--freeze=^c"])
    if set(t.views("grads")) != {"d.w", "d.b"}:
        raise AssertionError(f"{set(t.views('grads'))}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cnncc", required=True)
    parser.add_argument("--cc", default="clang-19")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    tests = {f"optimizer {n}": lambda f, n=n: check_optimizer(args, f, n) for n in OPTIMIZERS}
    tests |= {n: lambda f, c=c: c(args, f) for n, c in {
        "clip": check_clip, "parts": check_parts, "checkpoint": check_checkpoint, "export": check_export, "export of what lies elsewhere": check_export_elsewhere, "statistics": check_statistics,
        "random start": check_random_start, "choice": check_choice, "inplace": check_inplace, "overlap": check_overlap, "memory of inplace": check_inplace_memory, "recompute": check_recompute, "batch of one": check_batch_of_one, "amp": check_amp}.items()}
    tests["export of half types"] = lambda f: check_export(args, f, TensorProto.FLOAT16)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as tmp:
        for name, run in tests.items():
            if args.names and not any(n in name for n in args.names):
                continue
            try:
                run(pathlib.Path(tmp))
                passed += 1
            except Exception as e:  # noqa: BLE001
                failed += 1
                print(f"FAILED: {name}: {type(e).__name__}: {e}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
