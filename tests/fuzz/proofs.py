# SPDX-License-Identifier: Apache-2.0
"""A proof of each fault that oracles.py names: a case small enough to check by hand that the oracle answers otherwise.

    proofs.py [--list]

A proof that fails means that the oracle was mended: the entry can go. Closes with 'N passed, N failed, N skipped'.
"""

import sys
import warnings

import numpy as np
import onnx
import onnxruntime as ort
from every import by_onnxruntime, by_reference, make_model

F, I64 = np.float32, np.int64
x12 = np.arange(1, 3, dtype=F)


def ones(*shape, kind=F):
    return np.ones(shape, kind)


SPREAD = np.array([45.25, 1, 1, 1], np.float16)  # 2047.5625 + 3
HALF_STEP = [np.array(0.4, np.float16), np.array(0, np.int8)]  # 1 / 0.39990234375 is 2.5 in float16, more in float32
# oracle, what is wrong, operator, version, inputs, attributes, the first output by hand
PROOFS = [
    ("reference", "GlobalMaxPool reduces [N, C, d] to [N, C]", "GlobalMaxPool", 1, [ones(1, 2, 3)], {}, ones(1, 2, 1)),
    ("reference", "GridSample of integers cuts after each product", "GridSample", 20,
     [np.full((1, 1, 2, 2), 3, np.int32), np.zeros((1, 1, 1, 2), F)], {}, np.full((1, 1, 1, 1), 3, np.int32)),
    ("reference", "LRN sums another window", "LRN", 13, [ones(1, 3, 1, 1)], {"size": 3, "alpha": 3.0, "beta": 1.0, "bias": 1.0},
     np.array([1 / 3, 1 / 4, 1 / 3], F).reshape(1, 3, 1, 1)),
    ("reference", "Softmax before 13 does not flatten", "Softmax", 11, [np.zeros((1, 2, 2), F)], {"axis": 1}, np.full((1, 2, 2), 0.25, F)),
    ("reference", "RNN does not read sequence_lens", "RNN", 14, [np.array([[[1]], [[2]]], F), ones(1, 1, 1), ones(1, 1, 1), None, np.array([1], np.int32)], {"hidden_size": 1},
     np.array([np.tanh(1), 0], F).reshape(2, 1, 1, 1)),
    ("reference", "MaxPool with pads 0,0,1,0 of 8 rows by 3 gives not 8 + 1 - 2", "MaxPool", 12, [ones(1, 1, 8, 7)],
     {"kernel_shape": [3, 3], "pads": [0, 0, 1, 0]}, ones(1, 1, 7, 5)),
    ("reference", "MaxPool SAME of 3 by stride 2 gives not ceil(3 / 2)", "MaxPool", 12, [ones(1, 1, 3, 1)],
     {"kernel_shape": [1, 1], "strides": [2, 1], "auto_pad": "SAME_LOWER"}, ones(1, 1, 2, 1)),
    ("reference", "LpPool: the last window of ceil_mode has its element twice", "LpPool", 18, [ones(1, 1, 5)],
     {"kernel_shape": [2], "strides": [2], "ceil_mode": 1}, np.array([[[2**0.5, 2**0.5, 1]]], F)),
    ("reference", "Unique along an axis, unsorted, looks up the order in another list", "Unique", 11, [np.array([2, 1, 1], np.uint8).reshape(1, 3, 1)],
     {"axis": 1, "sorted": 0}, np.array([2, 1], np.uint8).reshape(1, 2, 1)),
    ("reference", "Shape up to an end before the first dimension takes one", "Shape", 19, [ones(2, 3)], {"end": -3}, np.zeros(0, I64)),
    ("reference", "QuantizeLinear divides in float32", "QuantizeLinear", 23, [ones(1), *HALF_STEP], {}, np.array([2], np.int8)),
    ("reference", "Resize of one element by pytorch_half_pixel is not the first", "Resize", 13,
     [np.array([1, 5, 9], F).reshape(1, 1, 1, 3), None, np.array([1, 1, 1, 0.4], F)], {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
     ones(1, 1, 1, 1)),
    ("reference", "Resize of complex numbers takes the real part", "Resize", 13, [ones(1, 1, 1, 1, kind=np.complex64) * 1j, None, None, np.array([1, 1, 1, 2], I64)],
     {"mode": "nearest"}, ones(1, 1, 1, 2, kind=np.complex64) * 1j),
    ("reference", "OneHot of complex numbers is neither on nor off", "OneHot", 11,
     [np.array([1], I64), np.array(2, I64), np.array([1e10 + 1j, 1e-10j], np.complex64)], {}, np.array([[1e10 + 1j, 1e-10j]], np.complex64)),
    ("reference", "LpNormalization by p = 1 divides by the sum", "LpNormalization", 1, [np.array([[-1, 3]], F)], {"p": 1}, np.array([[-0.25, 0.75]], F)),
    ("reference", "ReduceSumSquare of float16 rounds after each addition", "ReduceSumSquare", 18, [SPREAD], {"keepdims": 0}, np.array(2050, np.float16)),
    ("reference", "Slice with a negative step from before the first element is not empty or moved to it", "Slice", 13,
     [x12, np.array([-9], I64), np.array([-10], I64), np.array([0], I64), np.array([-1], I64)], {}, np.array([1], F)),
    ("reference", "ConvTranspose adds the bias of the first group only", "ConvTranspose", 11,
     [ones(1, 2, 1), ones(2, 1, 2), np.array([0, 10], F)], {"group": 2, "dilations": [2]}, np.array([[[1, 0, 1], [11, 10, 11]]], F)),
    ("onnxruntime", "Resize of integers cuts where it should round", "Resize", 13,
     [np.array([0, 3], np.int32).reshape(1, 1, 1, 2), None, None, np.array([1, 1, 1, 3], I64)], {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
     np.array([0, 2, 3], np.int32).reshape(1, 1, 1, 3)),
    ("onnxruntime", "Gather of slices of strings moves the first element only", "Gather", 13,
     [np.array([["a", "b"], ["c", "d"]], object), np.array([1], I64)], {}, np.array([["c", "d"]], object)),
    ("onnxruntime", "Resize by align_corners divides by the rounded length less 1", "Resize", 13,
     [np.array([0, 1, 2], F).reshape(1, 1, 1, 3), None, np.array([1, 1, 1, 1.5], F)],
     {"mode": "linear", "coordinate_transformation_mode": "align_corners"}, np.array([0, 2 / 3.5, 4 / 3.5, 6 / 3.5], F).reshape(1, 1, 1, 4)),
    ("onnxruntime", "QuantizeLinear of float16 divides in float32", "QuantizeLinear", 21, [ones(1, kind=np.float16), *HALF_STEP], {}, np.array([2], np.int8)),
    ("onnxruntime", "ReduceProd of int32 saturates", "ReduceProd", 13, [np.array([65536, 65536, 3], np.int32)], {"keepdims": 0}, np.array(0, np.int32)),
    ("onnxruntime", "booleans as text are 0 and 1", "Cast", 13, [np.array([True, False])], {"to": onnx.TensorProto.STRING}, np.array(["True", "False"], object)),
]


def answers(oracle, op, version, ins, attrs):
    feed = {f"x{i}": v for i, v in enumerate(ins) if v is not None}
    run = by_onnxruntime if oracle == "onnxruntime" else by_reference
    return np.asarray(run(make_model(op, version, ins, attrs, ["y"]), feed)[0])


def main():
    passed = failed = 0
    ort.set_default_logger_severity(4)
    for oracle, what, op, version, ins, attrs, want in PROOFS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                got = answers(oracle, op, version, ins, attrs)
            same = got.shape == want.shape and (
                (got.astype(str) == want.astype(str)).all() if want.dtype == object else np.allclose(got.astype(complex), want, rtol=1e-5, atol=0))
        except Exception as e:  # that is no answer, either
            got, same = f"{type(e).__name__}: {str(e)[:80]}", False
        if same:
            failed += 1
            print(f"FAILED {oracle}: {what}: it gives {got}, as it should")
        else:
            passed += 1
            if "--list" in sys.argv:
                print(f"{oracle}: {what}: {np.asarray(got).tolist()} instead of {want.tolist()}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
