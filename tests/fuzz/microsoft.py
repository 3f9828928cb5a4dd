# SPDX-License-Identifier: Apache-2.0
"""Random nodes of the operators of com.microsoft that real files hold, against onnxruntime: operators.py's options.

    microsoft.py --runner build/cnncc-run [--count 10] [OPERATOR...]

Attention and what belongs to it is attention.py's.
"""

import sys

import numpy as np
import operators
from operators import MS, f32, i8, u8

operators.CASES.clear()


def case(fixed=(), free=None):
    return operators.case(1, MS, fixed, free)


def shape(r, low=1, high=4):
    return [int(n) for n in r.randint(1, 5, r.randint(low, high + 1))]


def scale(r, *s):
    return np.asarray(r.rand(*s) * 0.05 + 0.01, np.float32)


@case(free={0: {0: "N"}})
def Gelu(r):
    return [f32(r, *shape(r))], {}, 1


@case(free={0: {0: "N"}})
def QuickGelu(r):
    return [f32(r, *shape(r))], {"alpha": float(r.choice([1.702, 1, 0.5]))}, 1


@case(free={0: {0: "N"}})
def BiasGelu(r):
    s = shape(r, 2)
    return [f32(r, *s), f32(r, s[-1])], {}, 1


@case(free={0: {0: "N"}})
def FastGelu(r):
    s = shape(r, 2)
    return [f32(r, *s)] + [f32(r, s[-1])] * r.randint(0, 2), {}, 1


ACTIVATIONS = [("Relu", []), ("Tanh", []), ("Sigmoid", []), ("LeakyRelu", [0.1]), ("Clip", [-0.5, 0.7]), ("HardSigmoid", [0.3, 0.4])]


@case(fixed=(1, 2), free={0: {0: "N", 2: "H"}})
def FusedConv(r):
    name, params = ACTIVATIONS[r.randint(0, len(ACTIVATIONS))]
    attrs = {"activation": name, "pads": [1, 0, 1, 0], "strides": [int(n) for n in r.randint(1, 3, 2)]}
    if params:
        attrs["activation_params"] = params
    return [f32(r, 1, 4, 5, 6), f32(r, 3, 4, 3, 2)] + [f32(r, 3)] * r.randint(0, 2), attrs, 1


@case(free={0: {0: "N"}})
def FusedGemm(r):
    name, params = ACTIVATIONS[r.randint(0, 4)]
    attrs = {"activation": name, "transB": int(r.randint(0, 2)), "alpha": 0.5}
    if params:
        attrs["activation_alpha"] = params[0]
    b = f32(r, 4, 5)
    return [f32(r, 3, 4), b.T.copy() if attrs["transB"] else b, f32(r, 5)], attrs, 1


@case(free={0: {0: "N"}})
def FusedMatMul(r):
    a, b = r.randint(0, 2, 2)
    x, y = f32(r, 2, 3, 4), f32(r, 2, 4, 5)
    ins = [x.transpose(0, 2, 1).copy() if a else x, y.transpose(0, 2, 1).copy() if b else y]
    return ins, {"transA": int(a), "transB": int(b), "alpha": 0.25}, 1


@case(free={0: {0: "B"}, 1: {0: "B"}})
def SkipSimplifiedLayerNormalization(r):
    ins = [f32(r, 2, 3, 4), f32(r, 2, 3, 4), f32(r, 4)] + [f32(r, 4)] * r.randint(0, 2)
    return ins, {"epsilon": 1e-3}, 1


@case(fixed=(1, 2, 3), free={0: {0: "N"}})
def MatMulIntegerToFloat(r):
    n = 5
    wide = r.rand() < 0.5
    b = r.randint(-64, 64, (4, n)).astype(np.int8)
    ins = [u8(r, 3, 4), b, scale(r), scale(r, n) if wide else scale(r), u8(r)]
    ins += [np.zeros(n, np.int8) if wide else np.int8(3)] + [f32(r, n)] * r.randint(0, 2)
    return ins, {}, 1


@case(fixed=(1, 2), free={0: {0: "N"}})
def DynamicQuantizeMatMul(r):
    return [f32(r, 3, 4), r.randint(-64, 64, (4, 5)).astype(np.int8), scale(r)] + [np.int8(2)] * r.randint(0, 2), {}, 1


def binary(r):
    kind = [u8, i8][r.randint(0, 2)]
    s = shape(r, 2)
    t = [n if r.rand() < 0.7 else 1 for n in s]
    return [kind(r, *s), scale(r), kind(r), kind(r, *t), scale(r), kind(r), np.float32(0.1), kind(r)], {}, 1


@case()
def QLinearAdd(r):
    return binary(r)


@case()
def QLinearMul(r):
    return binary(r)


def unary(r, attrs=None):
    kind = [u8, i8][r.randint(0, 2)]
    return [kind(r, *shape(r)), scale(r), kind(r), np.float32(0.02), kind(r)], attrs or {}, 1


@case(fixed=(1, 2, 3, 4), free={0: {0: "N"}})
def QLinearSigmoid(r):
    return unary(r)


@case(fixed=(1, 2, 3, 4), free={0: {0: "N"}})
def QLinearLeakyRelu(r):
    return unary(r, {"alpha": 0.2})


@case(fixed=(1, 2, 3, 4), free={0: {0: "N"}})
def QLinearSoftmax(r):
    ins = [u8(r, *shape(r)), scale(r), u8(r), np.float32(1 / 256), np.uint8(0)]
    return ins, {"axis": -1, "opset": 13}, 1


@case(fixed=(1, 2, 3, 4), free={0: {0: "N"}})
def QLinearAveragePool(r):
    kind = [u8, i8][r.randint(0, 2)]
    attrs = {"kernel_shape": [2, 3], "pads": [1, 1, 0, 1], "strides": [1, 2], "count_include_pad": int(r.randint(0, 2))}
    return [kind(r, 1, 2, 5, 7), scale(r), kind(r), scale(r), kind(r)], attrs, 1


@case(fixed=(1, 2, 3, 4), free={0: {0: "N"}})
def QLinearGlobalAveragePool(r):
    kind = [u8, i8][r.randint(0, 2)]
    return [kind(r, 2, 3, 4, 5), scale(r), kind(r), scale(r), kind(r)], {"channels_last": 0}, 1


@case()
def QLinearConcat(r):
    kind, ins = [u8, i8][r.randint(0, 2)], []
    for _ in range(r.randint(1, 4)):
        ins += [kind(r, 2, int(r.randint(1, 4))), scale(r), kind(r)]
    return [np.float32(0.05), kind(r)] + ins, {"axis": 1}, 1


@case(fixed=(1, 2), free={0: {0: "N"}})
def QuantizeLinear(r):
    kind = [u8, i8][r.randint(0, 2)]
    return [f32(r, *shape(r)), scale(r), kind(r)], {}, 1


@case(fixed=(1, 2), free={0: {0: "N"}})
def DequantizeLinear(r):
    kind = [u8, i8][r.randint(0, 2)]
    return [kind(r, *shape(r)), scale(r), kind(r)], {}, 1


@case(fixed=(0, 2, 3))
def GatherBlockQuantized(r):
    rows, block = 6, 16
    ins = [u8(r, rows, 16), r.randint(0, rows, (2, 3)).astype(np.int64), f32(r, rows, 2)]
    return ins + [u8(r, rows, 1)] * r.randint(0, 2), {"bits": 4, "block_size": block, "gather_axis": 0, "quantize_axis": 1}, 1


@case(fixed=(1, 2, 8, 9, 10, 11), free={0: {0: "T"}})
def DynamicQuantizeLSTM(r):
    t, b, i, h, d = r.randint(1, 4), r.randint(1, 3), 3, 2, int(r.choice([1, 2]))
    w, q = u8(r, d, i, 4 * h), u8(r, d, h, 4 * h)
    ins = [f32(r, t, b, i), w, q, f32(r, d, 8 * h) if r.rand() < 0.5 else None, None, None, None, None]
    ins += [scale(r, d), np.full(d, 128, np.uint8), scale(r, d), np.full(d, 128, np.uint8)]
    return ins, {"hidden_size": h, "direction": "bidirectional" if d == 2 else "forward"}, 3


if __name__ == "__main__":
    sys.exit(operators.main())
