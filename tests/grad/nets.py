# SPDX-License-Identifier: Apache-2.0
"""Small networks with a loss each, as ONNX models in float32 or float64."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

NETS = {}


def net(loss, *options):
    """Registers a function that writes nodes with a Writer; its result is the output."""

    def register(f):
        NETS[f.__name__] = (f, loss, list(options))
        return f

    return register


class Writer:
    """Collects nodes, parameters and inputs; every array is float64 and cast at the end."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.params, self.consts, self.inputs = [], {}, {}, {}

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [f"{kind.lower()}{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind}_{len(self.nodes)}", **attributes))
        return names[0] if outputs == 1 else names

    def param(self, *shape, scale=0.5, shift=0.0):
        name = f"w{len(self.params)}"
        self.params[name] = np.asarray(self.rng.normal(size=shape) * scale + shift)
        return name

    def positive(self, *shape):
        name = f"w{len(self.params)}"
        self.params[name] = self.rng.uniform(0.5, 1.5, size=shape)
        return name

    def ints(self, *values):
        name = f"i{len(self.consts)}"
        self.consts[name] = np.array(values, np.int64)
        return name

    def axis(self, i):
        name = f"i{len(self.consts)}"
        self.consts[name] = np.array(i, np.int64)
        return name

    def input(self, *shape):
        name = f"x{len(self.inputs)}"
        self.inputs[name] = self.rng.normal(size=shape)
        return name

    def indices(self, n, *shape):
        name = f"x{len(self.inputs)}"
        self.inputs[name] = self.rng.integers(0, n, size=shape)
        return name


def build(name, dtype=np.float64):
    """The model, its inputs, and its parameters."""
    f, _, _ = NETS[name]
    w = Writer(sum(name.encode()))
    out = f(w)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def cast(a):
        return a.astype(dtype) if a.dtype.kind == "f" else a

    inputs = [
        helper.make_tensor_value_info(n, kind if a.dtype.kind == "f" else TensorProto.INT64, a.shape)
        for n, a in w.inputs.items()
    ]
    arrays = {**{n: cast(a) for n, a in w.params.items()}, **w.consts}
    graph = helper.make_graph(
        w.nodes,
        name,
        inputs,
        [helper.make_tensor_value_info(out, kind, None)],
        [numpy_helper.from_array(a, n) for n, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return model, {n: cast(a) for n, a in w.inputs.items()}, {n: cast(a) for n, a in w.params.items()}


@net("cross_entropy")
def cnn(w):
    x = w.input(2, 3, 10, 10)
    x = w.op("Relu", w.op("Conv", x, w.param(8, 3, 3, 3), w.param(8), pads=[1, 1, 1, 1]))
    x = w.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = w.op("Relu", w.op("Conv", x, w.param(6, 8, 3, 3), w.param(6), strides=[2, 2], pads=[1, 1, 1, 1]))
    x = w.op("Flatten", w.op("GlobalAveragePool", x))
    return w.op("Softmax", w.op("Gemm", x, w.param(6, 5), w.param(5)))


@net("cross_entropy")
def matmul_head(w):
    x = w.input(4, 1, 9, 9)
    x = w.op("Tanh", w.op("Conv", x, w.param(4, 1, 3, 3), strides=[2, 2]))
    x = w.op("MaxPool", x, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    x = w.op("Flatten", x)
    return w.op("Add", w.op("MatMul", x, w.param(64, 3)), w.param(3))


@net("mse", "--input-grad=x0")
def layer_norm(w):
    x = w.op("MatMul", w.input(3, 4, 6), w.param(6, 8))
    x = w.op("LayerNormalization", x, w.param(8, shift=1), w.param(8), axis=-1)
    return w.op("Gelu", x)


@net("mse")
def attention(w):
    x = w.input(2, 5, 8)
    q, k, v = (w.op("Add", w.op("MatMul", x, w.param(8, 8)), w.param(8)) for _ in range(3))
    q, k, v = (w.op("Reshape", a, w.ints(0, 0, 2, 4)) for a in (q, k, v))
    q, v = (w.op("Transpose", a, perm=[0, 2, 1, 3]) for a in (q, v))
    k = w.op("Transpose", k, perm=[0, 2, 3, 1])
    p = w.op("Softmax", w.op("MatMul", q, k), axis=-1)
    y = w.op("Reshape", w.op("Transpose", w.op("MatMul", p, v), perm=[0, 2, 1, 3]), w.ints(0, 0, 8))
    return w.op("Add", w.op("MatMul", y, w.param(8, 8)), x)


@net("cross_entropy")
def embedding(w):
    x = w.op("Gather", w.param(11, 6), w.indices(11, 3, 4))
    x = w.op("ReduceMean", x, w.ints(1), keepdims=0)
    return w.op("LogSoftmax", w.op("Gemm", x, w.param(4, 6), w.param(4), transB=1, alpha=0.5))


@net("mse")
def depthwise(w):
    x = w.op("Conv", w.input(2, 8, 7, 7), w.param(8, 1, 3, 3), w.param(8), group=8, pads=[1, 1, 1, 1])
    x = w.op("Clip", x, w.param(scale=0, shift=-0.7), w.param(scale=0, shift=0.9))
    return w.op("Conv", x, w.param(4, 4, 1, 1), group=2)


@net("mse")
def dilated(w):
    x = w.op("Conv", w.input(2, 3, 11), w.param(4, 3, 3), w.param(4), dilations=[2], strides=[2], pads=[1, 2])
    return w.op("Sigmoid", x)


@net("l1", "--input-grad=x0")
def transposed(w):
    x = w.op("ConvTranspose", w.input(1, 4, 5, 5), w.param(4, 3, 3, 3), w.param(3), strides=[2, 2], pads=[1, 1, 1, 1])
    return w.op("LeakyRelu", x, alpha=0.1)


@net("cross_entropy")
def batch_norm(w):
    x = w.op("Conv", w.input(3, 2, 6, 6), w.param(4, 2, 3, 3))
    x = w.op("BatchNormalization", x, w.param(4, shift=1), w.param(4), w.param(4), w.positive(4))
    x = w.op("AveragePool", w.op("Elu", x), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    return w.op("Gemm", w.op("Flatten", x), w.param(16, 3), w.param(3))


@net("bce")
def logistic(w):
    return w.op("Sigmoid", w.op("Gemm", w.input(5, 4), w.param(4, 2), w.param(2)))


@net("bce")
def probability(w):
    x = w.op("Abs", w.op("Gemm", w.input(5, 4), w.param(4, 2), w.param(2)))
    return w.op("Div", x, w.op("Add", x, w.positive(1)))


@net("bce_with_logits")
def logits(w):
    return w.op("Gemm", w.op("Softplus", w.input(5, 4)), w.param(4, 2), w.param(2))


@net("nll")
def log_probabilities(w):
    return w.op("LogSoftmax", w.op("MatMul", w.input(5, 4), w.param(4, 3)), axis=1)


@net("cross_entropy_probs")
def soft_targets(w):
    x = w.op("Conv", w.input(2, 2, 4, 4), w.param(3, 2, 1, 1), w.param(3))
    return w.op("Softmax", x, axis=1)


@net(None)
def own_loss(w):
    x = w.op("Einsum", w.input(3, 4), w.param(4, 5), w.param(5), equation="ij,jk,k->ik")
    x = w.op("Mul", x, w.op("Sin", x))
    return w.op("ReduceSumSquare", x, keepdims=0)


@net("mse")
def views(w):
    x = w.op("Add", w.input(2, 6, 5), w.param(1, 6, 1))
    a, b = w.op("Split", x, outputs=2, axis=1, num_outputs=2)
    a = w.op("Pad", a, w.ints(0, 1, 0, 0, 0, 2), mode="reflect")
    b = w.op("Slice", b, w.ints(-1), w.ints(-100), w.ints(2), w.ints(-2))
    x = w.op("Concat", w.op("Slice", a, w.ints(0), w.ints(3), w.ints(2)), b, axis=1)
    return w.op("ReduceL2", x, w.ints(2))


@net("mse")
def orders(w):
    x = w.op("MatMul", w.input(3, 4), w.param(4, 9))
    v, _ = w.op("TopK", x, w.ints(4), outputs=2, axis=1)
    c = w.op("CumSum", v, w.axis(1))
    m = w.op("ReduceProd", x, w.ints(1), keepdims=1)
    return w.op("Concat", w.op("Max", v, w.param(4)), c, m, w.op("ReduceLogSumExp", x, w.ints(1)), axis=1)


@net("mse")
def resized(w):
    w.consts["scales"] = np.array([1, 1, 2, 2], np.float32)
    x = w.op("Conv", w.input(1, 2, 4, 4), w.param(2, 2, 1, 1))
    x = w.op("Resize", x, "", "scales", mode="linear")
    return w.op("InstanceNormalization", x, w.param(2, shift=1), w.param(2))


@net("mse")
def activations(w):
    x = w.op("MatMul", w.input(3, 4), w.param(4, 6))
    y = [w.op(k, x) for k in ("Selu", "Elu", "Mish", "HardSwish", "HardSigmoid", "Softsign", "Erf", "ThresholdedRelu")]
    y.append(w.op("PRelu", x, w.param(6)))
    y.append(w.op("Pow", w.op("Exp", x), w.param(6)))
    y.append(w.op("Sqrt", w.op("Exp", x)))
    return w.op("Concat", *y, axis=1)


@net("mse")
def pools(w):
    x = w.op("Mul", w.input(1, 2, 7, 7), w.param(2, 7, 7))
    a = w.op("MaxPool", x, kernel_shape=[3, 2], strides=[2, 2], dilations=[1, 2], ceil_mode=1)
    b = w.op("LpPool", x, kernel_shape=[3, 3], strides=[2, 2], p=2)
    return w.op("Concat", *(w.op("Flatten", v) for v in (a, b, w.op("GlobalMaxPool", x))), axis=1)


@net(None, "--input-grad=x0")
def quantized(w):
    """Straight through: gradients as if there were no rounding; see grad.py."""
    w.consts["scale"], w.consts["zero"] = np.float32(0.01), np.int8(3)
    x = w.op("QuantizeLinear", w.op("Transpose", w.input(4, 6)), "scale", "zero")
    x = w.op("DequantizeLinear", w.op("Reshape", x, w.ints(4, 6)), "scale", "zero")
    return w.op("ReduceSum", w.op("Mul", x, w.param(4, 6)), keepdims=0)
