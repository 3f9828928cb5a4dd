# SPDX-License-Identifier: Apache-2.0
"""Faults of the oracles: known_bug says where one is not to be asked, and why; proofs.py shows them."""

import numpy as np

WINDOWS = ("MaxPool", "AveragePool", "LpPool")
RECURRENT = ("RNN", "GRU", "LSTM")


def known_bug(oracle, c, version, ins, attrs):
    return (reference_bug if oracle == "reference" else onnxruntime_bug)(c, version, ins, attrs)


def reference_bug(c, version, ins, attrs):
    """onnx.reference of onnx 1.23.2."""
    op, x = c.op, ins[0] if ins else None
    if op == "GlobalMaxPool":  # reduces [N, C, d] to [N, C]
        return x.ndim != 4
    if op == "GridSample":  # integers are cut after each product instead of at the end: all 0
        return np.dtype(x.dtype).kind in "iu"
    if op == "LRN":  # onnxruntime, and a sum by hand, differ for every size but 1
        return True
    if op in ("Softmax", "LogSoftmax", "Hardmax"):  # versions before 13 flatten to a matrix; it does not
        return version < 13
    if op in RECURRENT:  # sequence_lens is not read
        return len(ins) > 4 and ins[4] is not None
    if op == "MaxPool" and list(attrs.get("pads", []))[: x.ndim - 2] != list(attrs.get("pads", []))[x.ndim - 2 :]:
        return True  # pads 0,0,1,0 of 8x7 by 3x3 give 6 rows instead of 8 + 1 - 2
    if op in WINDOWS and ("auto_pad" in attrs or attrs.get("ceil_mode")):
        return True  # SAME of 3 by stride 2 gives 1 window instead of ceil(3 / 2); the last one of ceil_mode has elements twice
    if op == "MaxPool" and max(attrs["kernel_shape"]) == 1:  # indices start again with each plane
        return True
    if op == "Unique":  # with an axis, unsorted, it looks up the order in another list
        return "axis" in attrs and attrs.get("sorted", 1) == 0
    if op == "Shape":  # an end before the first dimension takes one
        return attrs.get("end", 0) < -x.ndim or attrs.get("start", 0) < -x.ndim
    if op == "OneHot":  # on + (off - on) * hot is not one of the two for complex numbers
        return np.dtype(ins[2].dtype).kind == "c"
    if op == "DequantizeLinear":  # rounds to float8e8m0 in another way than Cast is defined
        return "float8e8m0" in c.types.values() or "tensor(float8e8m0)" in c.types.values()
    if op == "LpNormalization":  # p = 1 divides by the sum of the elements, not of their magnitudes
        return attrs.get("p", 2) == 1
    if op == "ReduceSumSquare":  # rounds after each addition
        return x.dtype.itemsize == 2
    if op == "ConvTranspose":  # groups with dilations read the weights, and always the bias, of the first group
        return attrs.get("group", 1) > 1
    if op == "Resize":  # of complex numbers the real part; one element by pytorch_half_pixel is the first, with scales it takes another
        return attrs.get("coordinate_transformation_mode") == "pytorch_half_pixel" or np.dtype(x.dtype).kind == "c"
    if op == "QuantizeLinear":  # divides in float32, not in the scale's type as `precision` is defined
        return x.dtype != ins[1].dtype
    if op == "Slice":  # Python's slices: a start before the first element is not moved to it for a negative step
        return True
    return False


def onnxruntime_bug(c, version, ins, attrs):
    """onnxruntime 1.2x on the CPU."""
    op, x = c.op, ins[0] if ins else None
    names = {np.dtype(v.dtype).name for v in ins if v is not None} | {c.types.get(t, "") for t in c.types}
    if any("4" in n[-9:] and ("int4" in n or "float4" in n) or "int2)" in n for n in names):
        return True  # its Python interface gives packed elements as bytes
    if op == "Resize" and attrs.get("coordinate_transformation_mode") == "align_corners":
        return True  # scales that leave a fraction: divides by the rounded length less 1, the reference by n * scale - 1
    if op == "GridSample" and attrs.get("mode") in ("cubic", "bicubic"):  # near the border unlike the reference and PyTorch
        return attrs["padding_mode"] != "zeros"
    if op in ("Resize", "Upsample") and attrs.get("mode") != "nearest":
        return np.dtype(x.dtype).kind in "iu"  # integers are cut, not rounded; the reference rounds
    if op == "QuantizeLinear":  # of 16-bit types, too, divides in float32, not in the scale's type as `precision` is defined
        return x.dtype.itemsize == 2
    if op == "Gather":  # of slices of strings only the first element arrives
        return x.dtype == object
    if op == "Attention":  # masks of integers are taken for something else than numbers to add
        return len(ins) > 3 and ins[3] is not None and np.dtype(ins[3].dtype).kind in "iu"
    if op == "ReduceProd":  # int32 saturates on the way through float
        return np.dtype(x.dtype).kind in "iu"
    if op == "CastLike" or op == "Cast":  # booleans as text: 0 and 1, the reference has False and True
        return "tensor(string)" in (c.types.get("T2"), c.types.get("T1"))
    return False
