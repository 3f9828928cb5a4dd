# SPDX-License-Identifier: Apache-2.0
"""Random nodes of the operators of networks: recipes.py's second half."""

import numpy as np
from onnx import helper
from recipes import is_float, recipe


def spatial(c, n, old_auto=True):
    """Attributes of a sliding window over n axes, and the smallest extents it takes."""
    k = [c.n(1, 3) for _ in range(n)]
    attrs = {"strides": [c.n(1, 2) for _ in range(n)]} if c.flip(0.8) else {}
    dil = [1] * n
    if c.has("dilations") and c.flip(0.3):
        attrs["dilations"] = dil = [c.n(1, 2) for _ in range(n)]
    kind = c.pick("pads", "pads", "none", "auto")
    if kind == "pads":
        attrs["pads"] = [c.n(0, min(1, a - 1)) for a in k * 2]
    if kind == "auto" and max(dil) == 1:
        attrs["auto_pad"] = c.pick("SAME_UPPER", "SAME_LOWER", "VALID")
    return k, attrs, [(a - 1) * d + 1 for a, d in zip(k, dil)]


@recipe("Conv", "ConvInteger", "ConvTranspose")
def conv(c):
    n, g = c.n(1, 3) if c.op != "ConvInteger" else 2, c.pick(1, 1, 2)
    k, attrs, least = spatial(c, n)
    size = [m + c.n(0, 4) for m in least]
    ci, co = g * c.n(1, 2), g * c.n(1, 2)
    attrs.update(group=g, kernel_shape=k)
    if c.op == "ConvTranspose":
        attrs.pop("auto_pad", None)
        ins = [c.x(0, [c.n(1, 2), ci] + size), c.x(1, [ci, co // g] + k)]
    else:
        ins = [c.x(0, [c.n(1, 2), ci] + size), c.x(1, [co, ci // g] + k)]
    if c.op == "ConvInteger":
        if c.flip():
            ins += [c.x(2, [])] + ([c.x(3, [])] if c.flip() else [])
        return ins, attrs, 1
    if c.flip():
        ins.append(c.x(2, [co]))
    return ins, attrs, 1


@recipe("MaxPool", "AveragePool", "LpPool")
def pool(c):
    n = c.n(1, 3) if c.v >= 7 else 2
    k, attrs, least = spatial(c, n)
    attrs["kernel_shape"] = k
    if c.has("ceil_mode") and "auto_pad" not in attrs:
        attrs["ceil_mode"] = c.n(0, 1)
    if c.has("count_include_pad"):
        attrs["count_include_pad"] = c.n(0, 1)
    if c.op == "AveragePool" and c.v == 1:
        attrs.pop("auto_pad", None)
    if c.op == "LpPool":
        attrs["p"] = c.n(1, 3) if c.v >= 2 else float(c.n(1, 3))
    x = c.x(0, [c.n(1, 2), c.n(1, 3)] + [m + c.n(0, 5) for m in least])
    if c.op == "AveragePool" and c.v == 1:
        c.twin = (7, [x], attrs)  # without the padding in the mean
    return [x], attrs, 2 if c.op == "MaxPool" and c.v >= 8 and c.flip() else 1


@recipe("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(c):
    attrs = {"p": c.n(1, 3) if c.v >= 2 else float(c.n(1, 3))} if c.op == "GlobalLpPool" else {}
    return [c.x(0, [c.n(1, 2), c.n(1, 3)] + [c.n(1, 4) for _ in range(c.n(1, 3))])], attrs, 1


@recipe("MaxUnpool")
def max_unpool(c):
    k = [2, 2]
    x = c.x(0, [1, 2, 2, 2])
    where = np.stack([np.array([[0, 3], [8, 10]]) + 16 * i for i in range(2)])[None].astype(np.int64)
    return [x, where], {"kernel_shape": k, "strides": k}, 1


@recipe("LRN")
def lrn(c):
    return [c.x(0, [1, c.n(2, 6)] + [c.n(1, 3) for _ in range(2)])], {"size": c.pick(1, 3, 5), "alpha": 0.3, "beta": 0.6, "bias": 1.5}, 1


@recipe("LpNormalization")
def lp(c):
    s = c.shape(1, 3)
    return [c.x(0, s, 0.5, 2)], {"axis": c.axis(len(s)), "p": c.n(1, 2)}, 1


@recipe("MeanVarianceNormalization")
def mvn(c):
    return [c.x(0, [c.n(2, 3) for _ in range(4)])], {"axes": c.pick([0, 2, 3], [0, 1], [3])}, 1


@recipe("BatchNormalization", "InstanceNormalization", "GroupNormalization")
def normal(c):
    ch = c.n(1, 4)
    s = [c.n(1, 3), ch] + [c.n(2, 3) for _ in range(c.n(1, 2))]
    if c.op == "InstanceNormalization":
        return [c.x(0, s), c.x(1, [ch]), c.x(2, [ch])], {"epsilon": 0.01}, 1
    if c.op == "GroupNormalization":
        g = c.pick(*[d for d in range(1, ch + 1) if ch % d == 0])
        n = ch if c.v >= 21 else g
        return [c.x(0, s), c.x(1, [n]), c.x(2, [n])], {"num_groups": g, "epsilon": 0.01}, 1
    attrs = {"epsilon": 0.01, "momentum": 0.7}
    ins = [c.x(0, s)] + [c.x(i, [ch]) for i in (1, 2, 3)] + [c.x(4, [ch], 0.3, 2)]
    if c.v < 7:
        attrs["is_test"] = 1
        c.twin = (9, ins, {"epsilon": 0.01, "momentum": 0.7})
        if c.v == 1:
            attrs["consumed_inputs"] = [0, 0, 0, 1, 1]
    if c.v >= 14 and c.flip():
        return ins, dict(attrs, training_mode=1), 3
    return ins, attrs, 1


@recipe("LayerNormalization", "RMSNormalization")
def layer_norm(c):
    s = c.shape(1, 4)
    axis = c.axis(len(s))
    tail = s[axis:]
    ins = [c.x(0, s), c.x(1, tail)]
    if c.op == "LayerNormalization" and c.flip():
        ins.append(c.x(2, tail))
    return ins, {"axis": axis, "epsilon": 0.01}, 1


@recipe("MatMul", "MatMulInteger")
def matmul(c):
    m, k, n, lead = c.n(1, 5), c.n(1, 5), c.n(1, 5), c.shape(0, 2, 3)
    a, b = lead + [m, k], [d if c.flip(0.8) else 1 for d in lead][c.n(0, len(lead)) :] + [k, n]
    if c.flip(0.15):
        a = [k]
    elif c.flip(0.15):
        b = [k]
    ins = [c.x(0, a), c.x(1, b)]
    if c.op == "MatMulInteger" and c.flip():
        ins += [c.x(2, [])] + ([c.x(3, [])] if c.flip() else [])
    return ins, {}, 1


@recipe("Gemm")
def gemm(c):
    m, k, n = c.n(1, 5), c.n(1, 5), c.n(1, 5)
    attrs = {"transA": c.n(0, 1), "transB": c.n(0, 1)}
    if is_float(c.type_of(0)):
        attrs.update(alpha=0.5, beta=1.5)
    a, b = [k, m] if attrs["transA"] else [m, k], [n, k] if attrs["transB"] else [k, n]
    ins = [c.x(0, a), c.x(1, b)]
    bias = c.pick([m, n], [n], [1, n], [m, 1], [])
    if c.v < 7:
        wide = c.flip()
        ins.append(c.x(2, [m, n] if wide else [n]))
        c.twin = (7, ins, attrs)
        return ins, attrs if wide else dict(attrs, broadcast=1), 1
    if c.v < 11 or c.flip(0.7):
        ins.append(c.x(2, bias))
    return ins, attrs, 1


EQUATIONS = ["ij,jk->ik", "bij,bjk->bik", "ij->ji", "ii->i", "ij->", "...i,i->...", "i,j->ij", "bhij,bhjk->bhik", "ij,ij->i", "ab,bc,cd->ad"]


@recipe("Einsum")
def einsum(c):
    e = c.pick(*EQUATIONS)
    size = {k: c.n(1, 4) for k in "abcdhijk"}
    parts = e.split("->")[0].split(",")
    return [c.x(0, ([2, 3] if "..." in p else []) + [size[k] for k in p if k.isalpha()]) for p in parts], {"equation": e}, 1


@recipe("QuantizeLinear")
def quantize(c):
    s, kind = c.shape(1, 3), c.pick("tensor", "axis", "block")
    kind = "tensor" if c.v < 13 else kind if c.v >= 21 or kind != "block" else "axis"
    axis = c.axis(len(s))
    attrs, p = {}, []
    if kind == "axis":
        attrs, p = {"axis": axis}, [s[axis]]
    if kind == "block":
        s[axis] *= 2
        attrs, p = {"axis": axis, "block_size": 2}, list(s)
        p[axis] //= 2
    scale = c.x(1, p, 0.1, 1) if is_float(c.type_of(1)) else c.x(1, p, 1, 3)
    return [c.x(0, s, -9, 9), scale, c.x(2, p, -0.5, 0.5)], attrs, 1


@recipe("DequantizeLinear")
def dequantize(c):
    ins, attrs, n = None, None, 1
    s, kind = c.shape(1, 3), c.pick("tensor", "axis", "block")
    kind = "tensor" if c.v < 13 else kind if c.v >= 21 or kind != "block" else "axis"
    axis = c.axis(len(s))
    attrs, p = {}, []
    if kind == "axis":
        attrs, p = {"axis": axis}, [s[axis]]
    if kind == "block":
        s[axis] *= 2
        attrs, p = {"axis": axis, "block_size": 2}, list(s)
        p[axis] //= 2
    ins = [c.x(0, s, -9, 9), c.x(1, p, 0.1, 1)]
    if c.flip() and np.dtype(c.type_of(0)) != np.int32:
        ins.append(c.x(2, p, 0, 0) if is_float(c.type_of(0)) else c.x(2, p, -1, 1))
    return ins, attrs, n


@recipe("DynamicQuantizeLinear")
def dynamic_quantize(c):
    return [c.x(0, c.shape(1, 3))], {}, 3


@recipe("QLinearMatMul")
def qmatmul(c):
    m, k, n = c.n(1, 4), c.n(1, 4), c.n(1, 4)
    if any("float8" in c.types[t] for t in ("T1", "T2", "T3")):  # all of one kind
        one = [c.types[t] for t in ("T1", "T2", "T3") if "float8" in c.types[t]][0]
        c.types.update(T1=one, T2=one, T3=one)
    s = [c.x(i, [], 0.05, 0.5) for i in (1, 4, 6)]
    return [c.x(0, [m, k]), s[0], c.x(2, [], -1, 1), c.x(3, [k, n]), s[1], c.x(5, [], -1, 1), s[2], c.x(7, [], -1, 1)], {}, 1


@recipe("QLinearConv")
def qconv(c):
    ins, attrs, _ = conv_like(c)
    return ins, attrs, 1


def conv_like(c):
    k, attrs, least = spatial(c, 2)
    co, ci = c.n(1, 3), c.n(1, 3)
    s = [np.float32(v) for v in (0.1, 0.05, 0.4)]
    x, w = c.x(0, [1, ci] + [m + c.n(0, 3) for m in least]), c.x(3, [co, ci] + k)
    ins = [x, s[0], c.x(2, [], -1, 1), w, s[1], c.x(5, [], 0, 0), s[2], c.x(7, [], -1, 1)]
    if c.flip():
        ins.append(c.r.randint(-99, 99, co).astype(np.int32))
    return ins, dict(attrs, kernel_shape=k), 1


@recipe("Resize")
def resize(c):
    s = [1, c.n(1, 2), c.n(2, 5), c.n(2, 5)]
    mode = c.pick("nearest", "linear") if c.v == 10 else c.pick("nearest", "linear", "cubic")
    if not is_float(c.type_of(0)):
        mode = "nearest"  # a half either way is rounding noise of the weights
    attrs = {"mode": mode}
    scales = np.array([1, 1, c.pick(0.5, 1.5, 2, 3), c.pick(0.625, 1, 2)], np.float32)  # 3 / 0.6 is 5 or a little less
    if c.v == 10:
        return [c.x(0, s), scales], attrs, 1
    attrs["coordinate_transformation_mode"] = c.pick("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    if mode == "nearest":
        attrs["nearest_mode"] = c.pick("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    if mode == "cubic":
        attrs["cubic_coeff_a"] = c.pick(-0.5, -0.75)
    if c.v >= 18 and mode != "nearest" and c.flip(0.3):
        attrs["antialias"] = 1
    roi = np.zeros(0, c.type_of(1))
    if c.flip():
        return [c.x(0, s), roi, scales], attrs, 1
    return [c.x(0, s), roi, np.zeros(0, np.float32) if c.v < 13 else None, c.ints(*s[:2], c.n(1, 8), c.n(1, 8))], attrs, 1


@recipe("Upsample")
def upsample(c):
    x, f = c.x(0, [1, c.n(1, 2), c.n(1, 4), c.n(1, 4)]), [1.0, 1.0, float(c.n(1, 3)), float(c.n(1, 3))]
    mode = c.pick("nearest", "linear" if c.v >= 7 else "bilinear")
    if c.v >= 9:
        return [x, np.array(f, np.float32)], {"mode": mode}, 1
    if c.v == 7:
        return [x], {"mode": mode, "scales": f}, 1
    c.twin = (7, [x], {"mode": mode.replace("bi", ""), "scales": f})
    return [x], {"mode": mode, "height_scale": f[2], "width_scale": f[3]}, 1


@recipe("GridSample")
def grid_sample(c):
    k = 3 if c.v >= 20 and c.flip(0.3) else 2
    size, out = [c.n(2, 4) for _ in range(k)], [c.n(1, 3) for _ in range(k)]
    mode = c.pick("bilinear", "nearest") if c.v < 20 else c.pick("linear", "nearest")
    if k == 2 and c.flip(0.3):
        mode = "bicubic" if c.v < 20 else "cubic"
    if not is_float(c.type_of(0)):
        mode = "nearest"  # no products of integers and fractions
    c.tolerance = 4 if c.dtype("T2").itemsize < 4 else 1
    attrs = {"mode": mode, "padding_mode": c.pick("zeros", "border", "reflection"), "align_corners": c.n(0, 1)}
    return [c.x(0, [1, 2] + size), c.x(1, [1] + out + [k], -1.3, 1.3)], attrs, 1


@recipe("AffineGrid")
def affine(c):
    k = c.n(2, 3)
    return [c.x(0, [2, k, k + 1], -1, 1), c.ints(2, 3, *[c.n(2, 4) for _ in range(k)])], {"align_corners": c.n(0, 1)}, 1


@recipe("RoiAlign")
def roi_align(c):
    low = c.r.rand(3, 2) * 5
    rois = np.concatenate([low, low + 1 + c.r.rand(3, 2) * 4], 1).astype(c.type_of(1))
    attrs = {"mode": c.pick("avg", "max"), "output_height": c.n(1, 3), "output_width": c.n(1, 3), "sampling_ratio": c.n(1, 2)}
    return [c.x(0, [2, 2, 6, 7]), rois, c.r.randint(0, 2, 3).astype(np.int64)], attrs, 1


@recipe("MaxRoiPool")
def max_roi_pool(c):
    rois = np.array([[0, 0, 0, 3, 4], [1, 1, 1, 4, 4]]).astype(c.type_of(1))
    return [c.x(0, [2, 2, 6, 7]), rois], {"pooled_shape": [c.n(1, 2), c.n(1, 2)]}, 1


@recipe("DeformConv")
def deform(c):
    k = [c.n(1, 2), c.n(1, 3)]
    h, w = 4, 5
    out = [h - k[0] + 1, w - k[1] + 1]
    ins = [c.x(0, [1, 2, h, w]), c.x(1, [3, 2] + k), c.x(2, [1, 2 * k[0] * k[1]] + out, -1, 1)]
    ins.append(c.x(3, [3]) if c.flip() else None)
    if c.flip():
        ins.append(c.x(4, [1, k[0] * k[1]] + out, 0, 1))
    return ins, {"kernel_shape": k, "pads": [0, 0, 0, 0]}, 1


@recipe("Col2Im")
def col2im(c):
    block, image = [c.n(1, 2), c.n(1, 3)], [c.n(3, 5), c.n(3, 5)]
    n = np.prod([i - b + 1 for i, b in zip(image, block)])
    return [c.x(0, [1, 2 * block[0] * block[1], int(n)]), c.ints(*image), c.ints(*block)], {}, 1


@recipe("DFT", "STFT")
def fourier(c):
    b, n = c.n(1, 2), c.n(2, 9)
    if c.op == "STFT":
        n, length, step = c.n(8, 12), c.n(2, 6), c.n(1, 3)
        taper = c.x(2, [length], 0, 1)
        return [c.x(0, [b, n, 1]), np.array(step, c.type_of(1)), taper, np.array(length, c.type_of(3))], {"onesided": c.n(0, 1)}, 1
    parts = c.n(1, 2)
    attrs = {"inverse": 1} if c.flip() and parts == 2 else {"onesided": 1} if parts == 1 and c.flip() else {}
    x = c.x(0, [b, n, c.n(1, 4), parts])
    length = np.array(c.n(2, 9), c.type_of(1)) if c.flip(0.3) else None
    axis = c.n(1, 2)
    if c.v < 20:
        return [x, length] if length is not None else [x], dict(attrs, axis=axis), 1
    return [x, length, np.array(axis)], attrs, 1


def recurrent(c, gates, lstm=False):
    t, b, i, h = c.n(1, 4), c.n(1, 3), c.n(1, 3), c.n(1, 3)
    way = c.pick("forward", "reverse", "bidirectional")
    d = 2 if way == "bidirectional" else 1

    def maybe(k, s):
        return c.x(k, s, -1, 1) if c.flip() else None

    ins = [c.x(0, [t, b, i]), c.x(1, [d, gates * h, i], -1, 1), c.x(2, [d, gates * h, h], -1, 1), maybe(3, [d, 2 * gates * h])]
    ins += [c.r.randint(1, t + 1, b).astype(np.int32) if c.flip() else None, maybe(5, [d, b, h])]
    if lstm:
        ins += [maybe(6, [d, b, h]), maybe(7, [d, 3 * h])]
    attrs = {"hidden_size": h, "direction": way}
    if c.v < 7:
        attrs["output_sequence"] = 1
        c.twin = (7, ins, {"hidden_size": h, "direction": way})
    return ins, attrs, 3 if lstm else 2


@recipe("LSTM")
def lstm(c):
    return recurrent(c, 4, True)


@recipe("GRU")
def gru(c):
    ins, attrs, n = recurrent(c, 3)
    if c.v >= 3:
        attrs["linear_before_reset"] = c.n(0, 1)
        if c.twin:
            c.twin[2]["linear_before_reset"] = attrs["linear_before_reset"]
    return ins, attrs, n


@recipe("RNN")
def rnn(c):
    return recurrent(c, 1)


@recipe("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
def loss(c):
    n, k, rest = c.n(1, 3), c.n(2, 4), c.shape(0, 2, 3)
    target = c.r.randint(0, k, [n] + rest).astype(c.type_of(1))
    attrs = {"reduction": c.pick("none", "mean", "sum")}
    if c.flip(0.3):
        attrs["ignore_index"] = 1
    ins = [c.x(0, [n, k] + rest), target] + ([c.x(2, [k], 0.5, 1)] if c.flip() else [])
    return ins, attrs, 2 if c.op == "SoftmaxCrossEntropyLoss" and c.flip() else 1


@recipe("NonMaxSuppression")
def nms(c):
    n = c.n(2, 6)
    low = c.r.rand(1, n, 2)
    boxes = np.concatenate([low, low + 0.3 + c.r.rand(1, n, 2)], 2).astype(np.float32)
    scores = c.r.permutation(2 * n).reshape(1, 2, n).astype(np.float32) / (2 * n)
    return [boxes, scores, c.ints(c.n(1, 4)), np.array([0.5], np.float32), np.array([0.2], np.float32)], {"center_point_box": c.n(0, 1)}, 1


@recipe("Dropout")
def dropout(c):
    x = c.x(0, c.shape())
    if c.v >= 12:
        return [x] + ([c.x(1, [], 0.1, 0.2)] if c.flip() else []), {}, c.n(1, 2)
    return [x], {"ratio": 0.3, **({"is_test": 1} if c.v < 7 else {})}, 1


@recipe("Attention")
def attention(c):
    b, h, s, t, d, e, g = c.n(1, 2), c.pick(2, 4), c.n(1, 3), c.n(1, 4), c.pick(2, 4), c.pick(2, 4), c.pick(1, 2)
    ins = [c.x(0, [b, h, s, d]), c.x(1, [b, g, t, d]), c.x(2, [b, g, t, e])]
    if c.flip():
        ins.append(c.x(3, [s, t], -1, 1))
    attrs = {"is_causal": c.n(0, 1)}
    if len(ins) > 3 and ins[3].dtype == bool:
        ins[3] |= True
    if c.flip(0.3):
        attrs["softcap"] = 2.0
    return ins, attrs, 1


@recipe("RotaryEmbedding")
def rotary(c):
    b, s, h, d = c.n(1, 2), c.n(1, 3), c.n(1, 2), c.pick(4, 8)
    ins = [c.x(0, [b, h, s, d]), c.x(1, [6, d // 2], -1, 1), c.x(2, [6, d // 2], -1, 1), c.r.randint(0, 6, [b, s]).astype(np.int64)]
    return ins, {"interleaved": c.n(0, 1)}, 1


@recipe("CausalConvWithState")
def causal_conv(c):
    b, ch, n, k = c.n(1, 2), c.n(1, 3), c.n(1, 4), c.n(2, 4)
    ins = [c.x(0, [b, ch, n]), c.x(1, [ch, 1, k]), c.x(2, [ch]) if c.flip() else None, c.x(3, [b, ch, k - 1]) if c.flip() else None]
    return ins, {"activation": c.pick("none", "silu")}, 2


@recipe("LinearAttention")
def linear_attention(c):
    b, t, h, d = c.n(1, 2), c.n(1, 3), c.n(1, 2), c.n(1, 3)
    ins = [c.x(i, [b, t, h * d], -1, 1) for i in range(3)]
    rule = c.pick("linear", "delta")
    ins += [c.x(3, [b, h, d, d], -1, 1) if c.flip() else None]
    if rule == "delta":
        ins += [None, c.x(5, [b, t, h], 0, 1)]
    return ins, {"q_num_heads": h, "kv_num_heads": h, "update_rule": rule}, 2


@recipe("RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")
def random_like(c):
    x = c.x(0, [2, 3], 0, 1) if is_float(c.type_of(0)) else c.x(0, [2, 3])
    return [x], {"seed": 1.0}, 1


@recipe("RandomNormal", "RandomUniform")
def random_shape(c):
    return [], {"shape": [2, 3], "seed": 1.0, "dtype": helper.np_dtype_to_tensor_dtype(c.dtype("T"))}, 1
