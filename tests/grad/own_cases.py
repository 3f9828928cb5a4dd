# SPDX-License-Identifier: Apache-2.0
"""Models of operators that no backend case shows the gradient of."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OWN = {}
F = TensorProto.FLOAT


def own(operator, shape, opset=18):
    """Registers a function that gives nodes, inputs' shapes and constants; shape is that of y."""

    def register(f):
        OWN[f.__name__] = (operator, shape, f, opset)
        return f

    return register


def node(op, ins, outs, **attributes):
    return helper.make_node(op, ins, outs, **attributes)


def value(name, shape, kind=F):
    return helper.make_tensor_value_info(name, kind, shape)


def const(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def build(name):
    """The model, feeds in float64, and the shape of its output."""
    _, shape, f, opset = OWN[name]
    nodes, shapes, consts = f()
    rng = np.random.default_rng(sum(name.encode()))
    feeds = {n: rng.normal(size=s) for n, s in shapes.items()}
    inputs = [value(n, list(s)) for n, s in shapes.items()]
    graph = helper.make_graph(nodes, name, inputs, [value("y", None)], consts)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), feeds, shape


@own("If", (3,))
def if_branches():
    """Both branches read x, one also z; which is taken depends on data."""
    then = helper.make_graph([node("Mul", ["x", "z"], ["a"]), node("Exp", ["a"], ["t"])], "then", [], [value("t", [3])])
    els = helper.make_graph([node("Sin", ["x"], ["e"])], "else", [], [value("e", [3])])
    return [node("ReduceSum", ["x"], ["s"], keepdims=0), node("Less", ["s", "limit"], ["c"]),
            node("If", ["c"], ["i"], then_branch=then, else_branch=els), node("Mul", ["i", "x"], ["y"])], \
        {"x": (3,), "z": (3,)}, [const("limit", np.float32(100))]


@own("If", (3,))
def if_other_branch():
    nodes, shapes, _ = if_branches()
    return nodes, shapes, [const("limit", np.float32(-100))]


def power_body():
    return helper.make_graph(
        [node("Mul", ["v", "w"], ["a"]), node("Tanh", ["a"], ["v2"]), node("Identity", ["c"], ["c2"]), node("Mul", ["v2", "v"], ["row"])],
        "body", [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL), value("v", [4])],
        [value("c2", [], TensorProto.BOOL), value("v2", [4]), value("row", [4])])


@own("Loop", (4,))
def loop_carried_and_rows():
    """v = tanh(v w) three times; the products of neighbours are rows."""
    return [node("Loop", ["n", "", "x"], ["last", "rows"], body=power_body()), node("ReduceSum", ["rows", "zero"], ["r"], keepdims=0),
            node("Mul", ["last", "r"], ["y"])], {"x": (4,), "w": (4,)}, [const("n", np.int64(3)), const("zero", np.array([0], np.int64))]


@own("Loop", (4,))
def loop_until():
    """A condition that depends on data ends the loop before its trip count."""
    body = helper.make_graph(
        [node("Mul", ["v", "w"], ["v2"]), node("ReduceSumSquare", ["v2"], ["s"], keepdims=0), node("Less", ["s", "limit"], ["c2"])],
        "body", [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL), value("v", [4])],
        [value("c2", [], TensorProto.BOOL), value("v2", [4])])
    return [node("Abs", ["u"], ["a"]), node("Add", ["a", "one"], ["w"]), node("Loop", ["n", "go", "x"], ["l"], body=body), node("Sin", ["l"], ["y"])], \
        {"x": (4,), "u": (4,)}, [const("n", np.int64(40)), const("limit", np.float32(50)), const("one", np.float32(1.2)), const("go", np.array(True))]


@own("Loop", (4,))
def loop_in_loop():
    inner = power_body()
    body = helper.make_graph(
        [node("Loop", ["n", "", "o"], ["o2", "rows"], body=inner), node("ReduceSum", ["rows", "zero"], ["row"], keepdims=0),
         node("Identity", ["oc"], ["oc2"])],
        "outer", [value("oi", [], TensorProto.INT64), value("oc", [], TensorProto.BOOL), value("o", [4])],
        [value("oc2", [], TensorProto.BOOL), value("o2", [4]), value("row", [4])])
    return [node("Loop", ["m", "", "x"], ["last", "all"], body=body), node("ReduceSum", ["all", "zero"], ["r"], keepdims=0),
            node("Add", ["last", "r"], ["y"])], {"x": (4,), "w": (4,)}, \
        [const("n", np.int64(3)), const("m", np.int64(2)), const("zero", np.array([0], np.int64))]


@own("GlobalLpPool", (2, 3, 1, 1))
def global_lp_pool():
    return [node("GlobalLpPool", ["x"], ["y"], p=3)], {"x": (2, 3, 4, 5)}, []


@own("MaxRoiPool", (2, 2, 2, 2))
def max_roi_pool():
    rois = np.array([[0, 0, 0, 5, 5], [0, 1, 2, 4, 6]], np.float32)
    return [node("MaxRoiPool", ["x", "rois"], ["y"], pooled_shape=[2, 2])], {"x": (1, 2, 7, 8)}, [const("rois", rois)]


@own("SequenceAt", (3, 3))
def sequences():
    """Construct, insert, erase, at and concatenate."""
    return [node("SequenceConstruct", ["a", "b"], ["s"]), node("SequenceInsert", ["s", "c", "one"], ["s2"]),
            node("SequenceErase", ["s2", "zero"], ["s3"]), node("SequenceAt", ["s3", "zero"], ["at"]),
            node("ConcatFromSequence", ["s3"], ["cat"], axis=0), node("Mul", ["cat", "cat"], ["sq"]),
            node("Add", ["sq", "at"], ["y"])], {"a": (2, 3), "b": (2, 3), "c": (1, 3)}, [const("one", np.int64(1)), const("zero", np.int64(0))]


@own("SplitToSequence", (2, 1))
def split_to_sequence():
    return [node("SplitToSequence", ["x"], ["s"], axis=1), node("SequenceAt", ["s", "one"], ["a"]), node("SequenceAt", ["s", "two"], ["b"]),
            node("Mul", ["a", "b"], ["y"])], {"x": (2, 4)}, [const("one", np.int64(1)), const("two", np.int64(2))]


@own("OptionalGetElement", (3,))
def optional():
    return [node("Optional", ["x"], ["o"]), node("OptionalGetElement", ["o"], ["e"]), node("Exp", ["e"], ["y"])], {"x": (3,)}, []


@own("Range", (4,))
def range_of_floats():
    """Start and step move the elements, not their number."""
    return [node("Range", ["a", "b", "d"], ["r"]), node("Mul", ["r", "r"], ["y"])], {}, \
        [const("a", np.float32(0.25)), const("b", np.float32(2.1)), const("d", np.float32(0.5))]


@own("OneHot", (3, 4))
def one_hot_values():
    return [node("OneHot", ["i", "depth", "v"], ["h"]), node("Mul", ["h", "x"], ["y"])], {"v": (2,), "x": (3, 4)}, \
        [const("i", np.array([0, 3, 1], np.int64)), const("depth", np.int64(4))]


@own("Scan", (5, 3))
def scan_backwards():
    body = helper.make_graph([node("Mul", ["s", "w"], ["p"]), node("Add", ["p", "x0"], ["q"]), node("Tanh", ["q"], ["s2"]),
                              node("Mul", ["s2", "x0"], ["r"])],
                             "body", [value("s", [3]), value("x0", [3])], [value("s2", [3]), value("r", [3])])
    return [node("Scan", ["h", "x"], ["last", "rows"], body=body, num_scan_inputs=1, scan_input_directions=[1], scan_output_directions=[1]),
            node("Mul", ["rows", "last"], ["y"])], {"h": (3,), "x": (5, 3), "w": (3,)}, []


@own("LSTM", (4, 2, 2, 3))
def lstm_all_states():
    """Initial states, peepholes, both directions."""
    return [node("LSTM", ["x", "w", "r", "b", "", "h", "c", "p"], ["a", "hn", "cn"], hidden_size=3, direction="bidirectional"),
            node("ReduceSum", ["hn", "zero"], ["hs"], keepdims=0), node("ReduceSum", ["cn", "zero"], ["cs"], keepdims=0),
            node("Mul", ["a", "hs"], ["ah"]), node("Add", ["ah", "cs"], ["y"])], \
        {"x": (4, 2, 2), "w": (2, 12, 2), "r": (2, 12, 3), "b": (2, 24), "h": (2, 2, 3), "c": (2, 2, 3), "p": (2, 9)}, \
        [const("zero", np.array([0], np.int64))]


@own("Trilu", (4, 5))
def trilu():
    return [node("Trilu", ["x"], ["t"], upper=0), node("Mul", ["t", "t"], ["y"])], {"x": (4, 5)}, []
