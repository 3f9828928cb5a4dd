# SPDX-License-Identifier: Apache-2.0
"""Chains of nests that run band by band: sizes, strides, windows, batches, symbols, threads, memory.

    bands.py --cnncc build/cnncc --build build/probes
"""

import pathlib
import re

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from probes import Compiled, close, model, run_all, tensor, vi

rng = np.random.default_rng(13)


def block(shape, hidden, k, stride, pads, dilation=1, pool=None, residual=False, act="Relu"):
    """Expand, depthwise (or pooling), project: an inverted residual in its many forms."""
    c, out = shape[1], shape[1] if residual else 24
    weights = [(hidden, c, 1, 1), (hidden, 1, *k), (out, hidden, 1, 1)]
    init = [tensor(f"w{i}", (rng.standard_normal(s) / np.sqrt(np.prod(s[1:]))).astype(np.float32)) for i, s in enumerate(weights)]
    init += [tensor(f"b{i}", rng.standard_normal(s[0]).astype(np.float32)) for i, s in enumerate(weights)]

    def activation(x, y):
        if act == "Swish":
            return [h.make_node("Sigmoid", [x], [x + "s"]), h.make_node("Mul", [x, x + "s"], [y])]
        return [h.make_node(act, [x], [y])]

    nodes = [h.make_node("Conv", ["x", "w0", "b0"], ["a"]), *activation("a", "b")]
    if pool:
        extra = {"count_include_pad": 0} if pool == "AveragePool" else {}
        nodes.append(h.make_node(pool, ["b"], ["c"], kernel_shape=k, strides=stride, pads=pads, **extra))
    else:
        nodes.append(h.make_node("Conv", ["b", "w1", "b1"], ["c"], group=hidden, strides=stride, pads=pads, dilations=[dilation] * 2))
    nodes += [*activation("c", "d"), h.make_node("Conv", ["d", "w2", "b2"], ["e"])]
    nodes.append(h.make_node("Add", ["e", "x"], ["y"]) if residual else h.make_node("Identity", ["e"], ["y"]))
    return model(nodes, [vi("x", T.FLOAT, shape)], [vi("y", T.FLOAT, [shape[0], out, "oh", "ow"])], init)


CASES = {  # name: arguments of block, sizes of the symbols
    "residual": (([1, 16, 64, 56], 96, [3, 3], [1, 1], [1, 1, 1, 1]), {"residual": True}, [()]),
    "stride": (([1, 16, 97, 71], 96, [3, 3], [2, 2], [1, 1, 1, 1]), {}, [()]),
    "stride_by_axis": (([1, 8, 80, 60], 64, [5, 3], [3, 1], [2, 1, 0, 1]), {"act": "Swish"}, [()]),
    "dilated": (([1, 8, 71, 64], 64, [3, 3], [1, 1], [2, 2, 2, 2]), {"dilation": 2}, [()]),
    "valid": (([2, 8, 50, 64], 96, [5, 5], [1, 1], [0, 0, 0, 0]), {}, [()]),
    "max_pool": (([2, 8, 64, 64], 96, [3, 3], [2, 2], [1, 1, 1, 1]), {"pool": "MaxPool"}, [()]),
    "average_pool": (([1, 8, 64, 64], 96, [3, 3], [1, 1], [1, 1, 1, 1]), {"pool": "AveragePool"}, [()]),
    "batch": ((["n", 8, 64, 64], 96, [3, 3], [2, 2], [1, 1, 1, 1]), {}, [(1,), (3,)]),
    "rows": (([1, 8, "rows", 64], 96, [3, 3], [1, 1], [1, 1, 1, 1]), {"residual": False}, [(64,), (5,), (1,)]),
    "image": ((["n", 8, "rows", "columns"], 96, [3, 3], [2, 2], [1, 1, 1, 1]), {}, [(1, 64, 81), (2, 33, 20), (1, 5, 3), (1, 1, 1), (0, 9, 9)]),
    "gaps": (([2, 8, "rows", "columns"], 96, [2, 2], [3, 3], [1, 0, 1, 0]), {}, [(64, 81), (30, 17), (12, 14)]),
    "pooled_gaps": (([1, 8, 90, 64], 96, [1, 1], [4, 2], [0, 0, 0, 0]), {"pool": "MaxPool"}, [()]),
    "pooled": (([1, 8, "rows", "columns"], 96, [3, 3], [2, 1], [0, 1, 1, 0]), {"pool": "MaxPool"}, [(64, 81), (4, 2)]),
}


def run(opt, name):
    args, how, sizes = CASES[name]
    compiled = Compiled(opt, block(*args, **how), f"bands_{name}")
    text = pathlib.Path(compiled.onnx).with_suffix(".c").read_text(encoding="utf-8")
    assert re.search(r"\bband\d+ < ", text), "no bands"
    for size in sizes:
        at = iter(size)
        feeds = {"x": rng.standard_normal([d if isinstance(d, int) else next(at) for d in args[0]]).astype(np.float32)}
        want = compiled.reference(feeds)[0]
        status, one, whole = compiled.call(feeds, [want.nbytes])
        assert status == 0 and whole, f"status {status}"
        close(one[0], want, 2e-6)
        for threads in (2, 3, 50):
            status, many, whole = compiled.call(feeds, [want.nbytes], threads)
            assert status == 0 and whole, f"status {status}"
            assert one[0].tobytes() == many[0].tobytes(), f"{threads} threads differ from one"


if __name__ == "__main__":
    run_all([(name, lambda opt, n=name: run(opt, n)) for name in CASES], __doc__)
