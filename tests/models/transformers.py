# SPDX-License-Identifier: Apache-2.0
"""Transformers with random weights, as exporters of PyTorch write them.

    transformers.py gpt2|bert|vit FILE.onnx [--small]

gpt2 has past keys and values with a symbolic length, a causal mask cut out of a constant, the
tanh form of gelu; bert and vit have fixed shapes and the erf form. Normalizations are operators
(opset 17) or, with decomposed, what opset 13 needs.
"""

import argparse

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper


class Net:
    def __init__(self, seed=1, decomposed=False):
        self.nodes, self.inits, self.rng, self.decomposed, self.made = [], [], np.random.default_rng(seed), decomposed, {}

    def const(self, x, name=None):
        x = np.asarray(x)
        key = (x.dtype.str, x.shape, x.tobytes()) if x.size <= 8 else None
        if key in self.made:
            return self.made[key]
        name = name or f"c{len(self.inits)}"
        self.inits.append(numpy_helper.from_array(x, name))
        if key:
            self.made[key] = name
        return name

    def f(self, v):
        return self.const(np.float32(v))

    def ints(self, *v):
        return self.const(np.array(v, np.int64))

    def weight(self, *shape, std=0.02, mean=0.0):
        return self.const((self.rng.standard_normal(shape, np.float32) * np.float32(std) + np.float32(mean)))

    def op(self, kind, *ins, n=1, out=None, **attrs):
        outs = [out] if out else [f"{kind.lower()}_{len(self.nodes)}_{i}" for i in range(n)]
        self.nodes.append(h.make_node(kind, list(ins), outs, name=f"{kind}_{len(self.nodes)}", **attrs))
        return outs[0] if n == 1 else outs

    def norm(self, x, d, eps):
        w, b = self.weight(d, std=0.1, mean=1.0), self.weight(d)
        if not self.decomposed:
            return self.op("LayerNormalization", x, w, b, axis=-1, epsilon=eps)
        c = self.op("Sub", x, self.op("ReduceMean", x, axes=[-1]))
        var = self.op("ReduceMean", self.op("Pow", c, self.f(2)), axes=[-1])
        y = self.op("Div", c, self.op("Sqrt", self.op("Add", var, self.f(eps))))
        return self.op("Add", self.op("Mul", y, w), b)

    def linear(self, x, c, k, std=0.02):
        return self.op("Add", self.op("MatMul", x, self.weight(c, k, std=std)), self.weight(k))

    def gelu_tanh(self, x):
        inner = self.op("Add", x, self.op("Mul", self.op("Pow", x, self.f(3)), self.f(0.044715)))
        t = self.op("Add", self.op("Tanh", self.op("Mul", inner, self.f(np.sqrt(2 / np.pi)))), self.f(1))
        return self.op("Mul", self.op("Mul", x, self.f(0.5)), t)

    def gelu_erf(self, x):
        e = self.op("Add", self.op("Erf", self.op("Div", x, self.f(np.sqrt(2)))), self.f(1))
        return self.op("Mul", self.op("Mul", x, e), self.f(0.5))

    def heads(self, x, n, width, perm=(0, 2, 1, 3)):
        return self.op("Transpose", self.op("Reshape", x, self.ints(0, 0, n, width)), perm=list(perm))

    def join(self, x, d):
        return self.op("Reshape", self.op("Transpose", x, perm=[0, 2, 1, 3]), self.ints(0, 0, d))

    def model(self, name, inputs, outputs):
        g = h.make_graph(self.nodes, name, inputs, outputs, self.inits)
        return h.make_model(g, opset_imports=[h.make_opsetid("", 13 if self.decomposed else 17)], ir_version=8)


def vi(name, kind, shape):
    return h.make_tensor_value_info(name, kind, shape)


def gpt2(layers=12, d=768, heads=12, vocab=50257, room=1024, seq="seq", past="past", seed=1, std=0.02, use_past=True):
    """Inputs input_ids and attention_mask, past_key_values.N.key and .value; outputs logits, present.N.key and .value."""
    n, w = Net(seed), d // heads
    batch = "batch" if isinstance(seq, str) else 1
    table = n.weight(vocab, d, std=std)
    n_new = n.op("Gather", n.op("Shape", "input_ids"), n.ints(1), axis=0)
    if use_past:
        n_past = n.op("Gather", n.op("Shape", "past_key_values.0.key"), n.ints(2), axis=0)
        n_all = n.op("Add", n_past, n_new)
    else:
        n_past, n_all = n.ints(0), n_new
    pos = n.op("Range", n.op("Squeeze", n_past, n.ints(0)), n.op("Squeeze", n_all, n.ints(0)), n.const(np.array(1)))
    pos = n.op("Unsqueeze", pos, n.ints(0))
    x = n.op("Add", n.op("Gather", table, "input_ids"), n.op("Gather", n.weight(room, d, std=std), pos))
    low = n.f(np.finfo(np.float32).min)
    pad = n.op("Cast", n.op("Unsqueeze", n.op("Unsqueeze", "attention_mask", n.ints(1)), n.ints(2)), to=T.FLOAT)
    pad = n.op("Mul", n.op("Sub", n.f(1), pad), low)
    causal = n.const(np.tril(np.ones((1, 1, room, room), np.bool_)))
    outs, ins = [], []
    for i in range(layers):
        y = n.norm(x, d, 1e-5)
        q, k, v = n.op("Split", n.linear(y, d, 3 * d, std), n.ints(d, d, d), n=3, axis=2)
        q, k, v = (n.heads(t, heads, w) for t in (q, k, v))
        if use_past:
            for kind in ("key", "value"):
                ins.append(vi(f"past_key_values.{i}.{kind}", T.FLOAT, [batch, heads, past, w]))
                outs.append(vi(f"present.{i}.{kind}", T.FLOAT, [batch, heads, None, w]))
            k = n.op("Concat", f"past_key_values.{i}.key", k, axis=-2, out=f"present.{i}.key")
            v = n.op("Concat", f"past_key_values.{i}.value", v, axis=-2, out=f"present.{i}.value")
        s = n.op("Div", n.op("MatMul", q, n.op("Transpose", k, perm=[0, 1, 3, 2])), n.f(np.sqrt(w)))
        m = n.op("Slice", n.op("Slice", causal, n_past, n_all, n.ints(2), n.ints(1)), n.ints(0), n_all, n.ints(3), n.ints(1))
        s = n.op("Add", n.op("Where", m, s, low), pad)
        y = n.join(n.op("MatMul", n.op("Softmax", s, axis=-1), v), d)
        x = n.op("Add", n.linear(y, d, d, std), x)
        y = n.gelu_tanh(n.linear(n.norm(x, d, 1e-5), d, 4 * d, std))
        x = n.op("Add", x, n.linear(y, 4 * d, d, std))
    n.op("MatMul", n.norm(x, d, 1e-5), n.op("Transpose", table, perm=[1, 0]), out="logits")
    total = None if isinstance(past, str) and use_past else seq
    ins = [vi("input_ids", T.INT64, [batch, seq]), vi("attention_mask", T.INT64, [batch, "total" if use_past and isinstance(seq, str) else total or seq]), *ins]
    return n.model("gpt2", ins, [vi("logits", T.FLOAT, [batch, seq, vocab]), *outs])


def encoder(n, x, layers, d, heads, before, pad=None):
    """before: normalization in front of each part (vit), else after it (bert)."""
    w = d // heads
    for _ in range(layers):
        y = n.norm(x, d, 1e-6) if before else x
        q, k, v = (n.linear(y, d, d, d**-0.5) for _ in range(3))
        q, k, v = n.heads(q, heads, w), n.heads(k, heads, w, (0, 2, 3, 1)), n.heads(v, heads, w)
        s = n.op("Div", n.op("MatMul", q, k), n.f(np.sqrt(w)))
        if pad:
            s = n.op("Add", s, pad)
        y = n.linear(n.join(n.op("MatMul", n.op("Softmax", s, axis=-1), v), d), d, d, d**-0.5)
        x = n.op("Add", y, x)
        x = x if before else n.norm(x, d, 1e-12)
        y = n.norm(x, d, 1e-6) if before else x
        y = n.linear(n.gelu_erf(n.linear(y, d, 4 * d, d**-0.5)), 4 * d, d, (4 * d) ** -0.5)
        x = n.op("Add", y, x)
        x = x if before else n.norm(x, d, 1e-12)
    return x


def bert(layers=12, d=768, heads=12, vocab=30522, seq=128, seed=1, decomposed=False):
    n = Net(seed, decomposed)
    x = n.op("Add", n.op("Gather", n.weight(vocab, d), "input_ids"), n.op("Gather", n.weight(2, d), "token_type_ids"))
    x = n.norm(n.op("Add", x, n.weight(1, seq, d)), d, 1e-12)
    pad = n.op("Cast", n.op("Unsqueeze", n.op("Unsqueeze", "attention_mask", n.ints(1)), n.ints(2)), to=T.FLOAT)
    pad = n.op("Mul", n.op("Sub", n.f(1), pad), n.f(-10000))
    x = encoder(n, x, layers, d, heads, False, pad)
    first = n.op("Gather", x, n.const(np.array(0)), axis=1)
    pooled = n.op("Tanh", n.op("Gemm", first, n.weight(d, d), n.weight(d), transB=1))
    ids = [vi(s, T.INT64, [1, seq]) for s in ("input_ids", "token_type_ids", "attention_mask")]
    return n.model("bert", ids, [vi(x, T.FLOAT, [1, seq, d]), vi(pooled, T.FLOAT, [1, d])])


def vit(layers=12, d=384, heads=6, patch=16, size=224, classes=1000, seed=1, decomposed=False):
    n, count = Net(seed, decomposed), (size // patch) ** 2
    x = n.op("Conv", "image", n.weight(d, 3, patch, patch), n.weight(d), kernel_shape=[patch] * 2, strides=[patch] * 2)
    x = n.op("Transpose", n.op("Reshape", x, n.ints(0, d, -1)), perm=[0, 2, 1])
    x = n.op("Add", n.op("Concat", n.weight(1, 1, d), x, axis=1), n.weight(1, count + 1, d))
    x = n.norm(encoder(n, x, layers, d, heads, True), d, 1e-6)
    first = n.op("Gather", x, n.const(np.array(0)), axis=1)
    y = n.op("Gemm", first, n.weight(classes, d), n.weight(classes), transB=1)
    return n.model("vit", [vi("image", T.FLOAT, [1, 3, size, size])], [vi(y, T.FLOAT, [1, classes])])


SMALL = {
    "gpt2": lambda: gpt2(2, 96, 3, 300, 128, std=0.2),
    "bert": lambda: bert(2, 96, 3, 200, 20),
    "vit": lambda: vit(2, 96, 3, 16, 64, 10),
}
MODELS = {"gpt2": gpt2, "bert": bert, "vit": vit}


def main():
    a = argparse.ArgumentParser()
    a.add_argument("model", choices=MODELS)
    a.add_argument("file")
    a.add_argument("--small", action="store_true")
    o = a.parse_args()
    onnx.save((SMALL if o.small else MODELS)[o.model](), o.file)


if __name__ == "__main__":
    main()
