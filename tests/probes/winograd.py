# SPDX-License-Identifier: Apache-2.0
"""Convolutions that take the Winograd template: other sizes, batches, padding, symbols, epilogues, threads.

    winograd.py --cnncc build/cnncc --build build/probes
"""

import pathlib
import re

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from probes import Compiled, close, model, run_all, tensor, vi

rng = np.random.default_rng(11)


def network(shape, c, k, pads, residual=False):
    """A 1x1 convolution, which leaves channels innermost, then the 3x3 one, and its reader."""
    w0 = rng.standard_normal((c, shape[1], 1, 1)) / np.sqrt(shape[1])
    w1 = rng.standard_normal((k, c, 3, 3)) / np.sqrt(9 * c)
    w2 = rng.standard_normal((8, k, 1, 1)) / np.sqrt(k)
    init = [tensor(n, v.astype(np.float32)) for n, v in (("w0", w0), ("w1", w1), ("w2", w2), ("b1", rng.standard_normal(k)))]
    nodes = [h.make_node("Conv", ["x", "w0"], ["a"]), h.make_node("Conv", ["a", "w1", "b1"], ["b"], pads=pads)]
    nodes += [h.make_node("Add", ["b", "a"], ["d"])] if residual else [h.make_node("Identity", ["b"], ["d"])]
    nodes += [h.make_node("Clip", ["d", "lo", "hi"], ["e"]), h.make_node("Conv", ["e", "w2"], ["y"])]
    init += [tensor("lo", np.float32(-0.5)), tensor("hi", np.float32(1.5))]
    return model(nodes, [vi("x", T.FLOAT, shape)], [vi("y", T.FLOAT, [shape[0], 8, "oh", "ow"])], init)


CASES = {  # name: shape, channels, results, padding, options of network, sizes of the symbols
    "square": ([1, 8, 28, 28], 32, 32, [1, 1, 1, 1], {"residual": True}, [()]),
    "odd": ([2, 3, 29, 35], 24, 40, [1, 0, 2, 1], {}, [()]),
    "no_padding": ([1, 4, 40, 31], 16, 64, [0, 0, 0, 0], {}, [()]),
    "wide_padding": ([3, 4, 21, 22], 16, 48, [2, 2, 2, 2], {}, [()]),
    "one_row": ([1, 4, 3, 400], 32, 32, [0, 1, 0, 1], {}, [()]),  # half of each tile would be wasted
    "symbols": (["n", 4, "h", "w"], 32, 48, [1, 1, 1, 1], {}, [(1, 40, 40), (2, 33, 57), (1, 5, 3), (4, 56, 1)]),
}


def run(opt, name, options, used):
    shape, c, k, pads, how, sizes = CASES[name]
    opt.flags = options
    compiled = Compiled(opt, network(shape, c, k, pads, **how), f"winograd_{name}_{'_'.join(o.strip('-') for o in options)}")
    text = (pathlib.Path(compiled.onnx).with_suffix(".c")).read_text(encoding="utf-8")
    assert bool(re.search(r"\bwinograd\d", text)) == used, "Winograd " + ("is not used" if used else "is used")
    for size in sizes:
        at = iter(size)
        feeds = {"x": rng.standard_normal([d if isinstance(d, int) else next(at) for d in shape]).astype(np.float32)}
        want = compiled.reference(feeds)[0]
        _, one, _ = compiled.call(feeds, [want.nbytes])
        close(one[0], want, 2e-6)
        for threads in (2, 3):
            status, many, whole = compiled.call(feeds, [want.nbytes], threads)
            assert status == 0 and whole, f"status {status}"
            assert one[0].tobytes() == many[0].tobytes(), f"{threads} threads differ from one"


TESTS = [(name, [], name != "one_row") for name in CASES]
TESTS += [("square", ["--exact"], False), ("odd", ["--relax"], True), ("odd", ["--target", "x86-64"], True), ("odd", ["--portable"], True)]

if __name__ == "__main__":
    run_all([(" ".join([name, *options]), lambda opt, t=(name, options, used): run(opt, *t)) for name, options, used in TESTS], __doc__)
