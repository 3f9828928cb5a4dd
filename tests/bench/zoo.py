# SPDX-License-Identifier: Apache-2.0
"""Models to time, with random weights: the shapes of well known architectures.

Convolutions are written as exporters leave them for inference: batch normalization folded
into weights and bias.
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


class Net:
    """Builds a graph node by node; every method returns the name of its result."""

    def __init__(self, name, shape, seed=1):
        self.name, self.shape = name, shape
        self.nodes, self.inits = [], []
        self.rng = np.random.default_rng(seed)

    def const(self, x):
        self.inits.append(numpy_helper.from_array(np.asarray(x), f"c{len(self.inits)}"))
        return self.inits[-1].name

    def weight(self, *shape, fan, gain=2.0):
        return self.const(self.rng.normal(0, np.sqrt(gain / fan), shape).astype(np.float32))

    def op(self, kind, *inputs, **attrs):
        out = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=out, **attrs))
        return out

    def conv(self, x, c, k, r=3, stride=1, group=1, act=None, gain=2.0):
        pad = r // 2
        w = self.weight(k, c // group, r, r, fan=c // group * r * r, gain=gain)
        b = self.const(self.rng.normal(0, 0.05, k).astype(np.float32))
        y = self.op("Conv", x, w, b, kernel_shape=[r, r], strides=[stride] * 2, pads=[pad] * 4, group=group,
                    dilations=[1, 1])
        if act == "relu6":
            return self.op("Clip", y, self.const(np.float32(0)), self.const(np.float32(6)))
        return self.op("Relu", y) if act else y

    def dense(self, x, c, k, gain=1.0):
        w, b = self.weight(k, c, fan=c, gain=gain), self.const(np.zeros(k, np.float32))
        return self.op("Gemm", x, w, b, transB=1)

    def linear(self, x, c, k):
        w = self.weight(c, k, fan=c, gain=1.0)
        return self.op("Add", self.op("MatMul", x, w), self.const(self.rng.normal(0, 0.02, k).astype(np.float32)))

    def model(self, out, shape):
        last = self.nodes[-1]
        last.output[0] = "output" if out == last.output[0] else out
        f32 = TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes, self.name,
            [helper.make_tensor_value_info("input", f32, self.shape)],
            [helper.make_tensor_value_info("output", f32, shape)], self.inits)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def resnet50():
    n = Net("resnet50", [1, 3, 224, 224])
    x = n.conv("input", 3, 64, 7, 2, act="relu")
    x = n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    c = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(blocks):
            s, k = stride if i == 0 else 1, 4 * width
            y = n.conv(x, c, width, 1, act="relu")
            y = n.conv(y, width, width, 3, s, act="relu")
            y = n.conv(y, width, k, 1, gain=0.3)
            short = n.conv(x, c, k, 1, s, gain=1.0) if i == 0 else x
            x, c = n.op("Relu", n.op("Add", y, short)), k
    x = n.op("Flatten", n.op("GlobalAveragePool", x))
    return n.model(n.dense(x, c, 1000), [1, 1000])


def resnet18():
    n = Net("resnet18", [1, 3, 224, 224])
    x = n.conv("input", 3, 64, 7, 2, act="relu")
    x, c = n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 64
    for k, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for i in range(2):
            s = stride if i == 0 else 1
            y = n.conv(n.conv(x, c, k, 3, s, act="relu"), k, k, 3, gain=0.3)
            short = n.conv(x, c, k, 1, s, gain=1.0) if s > 1 else x
            x, c = n.op("Relu", n.op("Add", y, short)), k
    x = n.op("Flatten", n.op("GlobalAveragePool", x))
    return n.model(n.dense(x, 512, 1000), [1, 1000])


def mobilenet_v2():
    n = Net("mobilenet_v2", [1, 3, 224, 224])
    x, c = n.conv("input", 3, 32, 3, 2, act="relu6"), 32
    plan = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for t, k, blocks, stride in plan:
        for i in range(blocks):
            s, hidden = stride if i == 0 else 1, t * c
            y = n.conv(x, c, hidden, 1, act="relu6") if t > 1 else x
            y = n.conv(y, hidden, hidden, 3, s, group=hidden, act="relu6")
            y = n.conv(y, hidden, k, 1, gain=1.0)
            x = n.op("Add", x, y) if s == 1 and c == k else y
            c = k
    x = n.conv(x, c, 1280, 1, act="relu6")
    x = n.op("Flatten", n.op("GlobalAveragePool", x))
    return n.model(n.dense(x, 1280, 1000), [1, 1000])


class Transformer(Net):
    """Layers of attention and a two-layer network, each behind a residual."""

    def __init__(self, name, shape, seq, d, heads):
        super().__init__(name, shape)
        self.seq, self.d, self.heads = seq, d, heads
        self.split = self.const(np.array([1, seq, heads, d // heads], np.int64))
        self.merge = self.const(np.array([1, seq, d], np.int64))

    def scalar(self, v):
        return self.const(np.float32(v))

    def head(self, x, perm):
        return self.op("Transpose", self.op("Reshape", self.linear(x, self.d, self.d), self.split), perm=perm)

    def norm(self, x, epsilon=1e-12):
        scale = self.const(self.rng.normal(1, 0.1, self.d).astype(np.float32))
        return self.op("LayerNormalization", x, scale, self.const(np.zeros(self.d, np.float32)), axis=-1, epsilon=epsilon)

    def attention(self, x, mask=None):
        q, k, v = self.head(x, [0, 2, 1, 3]), self.head(x, [0, 2, 3, 1]), self.head(x, [0, 2, 1, 3])
        score = self.op("Div", self.op("MatMul", q, k), self.scalar(np.sqrt(self.d // self.heads)))
        score = self.op("Softmax", self.op("Add", score, mask) if mask else score, axis=-1)
        y = self.op("Reshape", self.op("Transpose", self.op("MatMul", score, v), perm=[0, 2, 1, 3]), self.merge)
        return self.linear(y, self.d, self.d)

    def gelu(self, h):
        erf = self.op("Add", self.op("Erf", self.op("Div", h, self.scalar(np.sqrt(2)))), self.scalar(1))
        return self.op("Mul", self.op("Mul", h, erf), self.scalar(0.5))

    def gelu_tanh(self, h):
        cube = self.op("Mul", self.op("Pow", h, self.scalar(3)), self.scalar(0.044715))
        t = self.op("Tanh", self.op("Mul", self.op("Add", h, cube), self.scalar(np.sqrt(2 / np.pi))))
        return self.op("Mul", self.op("Mul", h, self.scalar(0.5)), self.op("Add", t, self.scalar(1)))

    def after(self, x):
        """A layer with its normalizations behind the residuals, as BERT's."""
        x = self.norm(self.op("Add", self.attention(x), x))
        h = self.gelu(self.linear(x, self.d, 4 * self.d))
        return self.norm(self.op("Add", self.linear(h, 4 * self.d, self.d), x))

    def before(self, x, gelu, mask=None):
        """A layer with them in front, as ViT's and GPT-2's."""
        x = self.op("Add", self.attention(self.norm(x, 1e-6), mask), x)
        h = gelu(self.linear(self.norm(x, 1e-6), self.d, 4 * self.d))
        return self.op("Add", self.linear(h, 4 * self.d, self.d), x)


def bert_layer(seq=128, d=768, heads=12, layers=1):
    n = Transformer("bert_layer", [1, seq, d], seq, d, heads)
    x = "input"
    for _ in range(layers):
        x = n.after(x)
    return n.model(x, [1, seq, d])


def bert_base():
    """The encoder of BERT-base on 128 tokens, from the embeddings on."""
    return bert_layer(layers=12)


def gpt2():
    """GPT-2 of 124 million weights on 64 tokens, from the embeddings to the scores of the next token of each."""
    n = Transformer("gpt2", [1, 64, 768], 64, 768, 12)
    mask = n.const(np.triu(np.full((64, 64), -1e9, np.float32), 1)[None, None])
    x = "input"
    for _ in range(12):
        x = n.before(x, n.gelu_tanh, mask)
    return n.model(n.op("MatMul", n.norm(x, 1e-5), n.weight(768, 50257, fan=768, gain=1.0)), [1, 64, 50257])


def vit_s():
    """ViT-S/16 on 224x224."""
    n = Transformer("vit_s", [1, 3, 224, 224], 197, 384, 6)
    w = n.weight(384, 3, 16, 16, fan=768, gain=1.0)
    x = n.op("Conv", "input", w, n.const(np.zeros(384, np.float32)), kernel_shape=[16, 16], strides=[16, 16])
    x = n.op("Transpose", n.op("Reshape", x, n.const(np.array([1, 384, 196], np.int64))), perm=[0, 2, 1])
    x = n.op("Concat", n.const(n.rng.normal(0, 0.02, (1, 1, 384)).astype(np.float32)), x, axis=1)
    x = n.op("Add", x, n.const(n.rng.normal(0, 0.02, (1, 197, 384)).astype(np.float32)))
    for _ in range(12):
        x = n.before(x, n.gelu)
    x = n.op("Gather", n.norm(x, 1e-6), n.const(np.array(0, np.int64)), axis=1)
    return n.model(n.dense(x, 384, 1000), [1, 1000])


def convnet():
    """Two convolutions, a pooling, two dense layers on 28x28 images."""
    n = Net("convnet", [1, 1, 28, 28])
    w = n.weight(32, 1, 3, 3, fan=9)
    x = n.op("Relu", n.op("Conv", "input", w, n.const(np.zeros(32, np.float32)), kernel_shape=[3, 3]))
    w = n.weight(64, 32, 3, 3, fan=288)
    x = n.op("Relu", n.op("Conv", x, w, n.const(np.zeros(64, np.float32)), kernel_shape=[3, 3]))
    x = n.op("Flatten", n.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    x = n.op("Relu", n.dense(x, 9216, 128, gain=2.0))
    return n.model(n.op("Softmax", n.dense(x, 128, 10), axis=1), [1, 10])


def efficientnet_b0():
    n = Net("efficientnet_b0", [1, 3, 224, 224])

    def swish(x):
        return n.op("Mul", x, n.op("Sigmoid", x))

    x, c = swish(n.conv("input", 3, 32, 3, 2, gain=2.8)), 32  # gains keep numbers near 1
    plan = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
            (6, 320, 1, 1, 3))
    for t, k, blocks, stride, r in plan:
        for i in range(blocks):
            s, hidden = stride if i == 0 else 1, t * c
            y = swish(n.conv(x, c, hidden, 1, gain=2.8)) if t > 1 else x
            y = swish(n.conv(y, hidden, hidden, r, s, group=hidden, gain=2.8))
            squeeze = n.op("GlobalAveragePool", y)  # the channels' weights: squeeze and excitation
            squeeze = n.conv(swish(n.conv(squeeze, hidden, max(1, c // 4), 1)), max(1, c // 4), hidden, 1)
            y = n.conv(n.op("Mul", y, n.op("Sigmoid", squeeze)), hidden, k, 1, gain=1.5)
            x = n.op("Add", x, y) if s == 1 and c == k else y
            c = k
    x = n.op("Flatten", n.op("GlobalAveragePool", swish(n.conv(x, c, 1280, 1))))
    return n.model(n.dense(x, 1280, 1000), [1, 1000])


def ds_cnn():
    """Keyword spotting on 49x10 spectra: MLPerf Tiny's network of depthwise separable convolutions."""
    n = Net("ds_cnn", [1, 1, 49, 10])
    w = n.weight(64, 1, 10, 4, fan=40)
    x = n.op("Relu", n.op("Conv", "input", w, n.const(np.zeros(64, np.float32)), kernel_shape=[10, 4], strides=[2, 2],
                          pads=[4, 1, 5, 1]))
    for _ in range(4):
        x = n.conv(n.conv(x, 64, 64, 3, group=64, act="relu"), 64, 64, 1, act="relu")
    x = n.op("Flatten", n.op("GlobalAveragePool", x))
    return n.model(n.op("Softmax", n.dense(x, 64, 12), axis=1), [1, 12])


def layers(name, sizes, last=None):
    """Dense layers with ReLU between them."""
    n = Net(name, [1, sizes[0]])
    x = "input"
    for i, (c, k) in enumerate(zip(sizes, sizes[1:], strict=False)):
        x = n.dense(x, c, k, gain=2.0)
        x = n.op("Relu", x) if i + 2 < len(sizes) else x
    return n.model(n.op(last, x, axis=1) if last else x, [1, sizes[-1]])


def mlp():
    return layers("mlp", [784, 256, 10], "Softmax")


def autoencoder():
    """MLPerf Tiny's anomaly detector."""
    return layers("autoencoder", [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640])


ZOO = {f.__name__: f for f in (resnet18, resnet50, mobilenet_v2, efficientnet_b0, bert_layer, bert_base, gpt2, vit_s, convnet, ds_cnn, mlp,
                               autoencoder)}
