# SPDX-License-Identifier: Apache-2.0
"""Extents that depend on the values of tensors, in one compiled file each, against onnxruntime.

    dynamic_sizes.py --cnncc build/cnncc --build build/probes
"""

import pathlib
import re
import subprocess

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from probes import ECAPACITY, Compiled, close, model, rng, run_all, tensor, vi

ESHAPE, EINDEX = 1, 5


def floats(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def i64(*v):
    return np.array(v, np.int64)


def check(c, feeds, bytes_of=None, more=0):
    """One run equals the reference; with less room than the result needs it says so and writes nothing behind."""
    want = c.reference(feeds)
    status, got, whole = c.call(feeds, bytes_of or [w.nbytes + 8 for w in want], more=more)
    assert status == 0 and whole, f"status {status}"
    for g, w in zip(got, want, strict=True):
        close(g, w)
    for o, w in enumerate(want):
        if w.nbytes:
            caps = [x.nbytes for x in want]
            caps[o] -= 1
            status, _, whole = c.call(feeds, caps, more=more)
            assert status == ECAPACITY and whole, f"too little room for output {o}: status {status}"


def node(op, ins, outs, **attr):
    return h.make_node(op, ins, outs, **attr)


def reshape(opt):
    m = model([node("Reshape", ["x", "s"], ["r"]), node("Relu", ["r"], ["y"])],
              [vi("x", T.FLOAT, [4, 6]), vi("s", T.INT64, [3])], [vi("y", T.FLOAT, ["a", "b", "c"])])
    c = Compiled(opt, m, "dynamic_reshape")
    for s in ([2, 3, 4], [24, 1, 1], [3, -1, 2], [0, 0, 1], [-1, 0, 2]):
        check(c, {"x": floats(4, 6), "s": i64(*s)})
    for s in ([5, 5, 1], [-1, 5, 1], [-2, -2, 6], [2, 3, 5], [2**31 - 1] * 3, [2**30, 2**30, 0], [2**62, 4, 0]):
        status, _, whole = c.call({"x": floats(4, 6), "s": i64(*s)}, [96])
        assert status == ESHAPE and whole, f"a shape of {s}: status {status}"


def slices(opt):
    m = model([node("Slice", ["x", "b", "e", "axes"], ["s"]), node("Exp", ["s"], ["t"]),
               node("ReduceSum", ["t", "last"], ["n"], keepdims=1), node("Div", ["t", "n"], ["y"])],
              [vi("x", T.FLOAT, [5, "n"]), vi("b", T.INT64, [2]), vi("e", T.INT64, [2])], [vi("y", T.FLOAT, ["a", "b"])],
              [tensor("axes", i64(0, 1)), tensor("last", i64(1))])
    c = Compiled(opt, m, "dynamic_slice")
    for b, e in (([0, 0], [5, 7]), ([1, 2], [4, -1]), ([-2, 3], [2**62, 6]), ([3, 3], [2, 5]), ([-9, 0], [3, 2**31])):
        check(c, {"x": floats(5, 7), "b": i64(*b), "e": i64(*e)})


def fills(opt):
    m = model([node("ConstantOfShape", ["s"], ["z"], value=tensor("v", np.array([2], np.float32))),
               node("Expand", ["x", "s"], ["w"]), node("Add", ["z", "w"], ["y"]), node("Tile", ["x", "s"], ["t"])],
              [vi("x", T.FLOAT, [3, 1]), vi("s", T.INT64, [2])], [vi("y", T.FLOAT, ["a", "b"]), vi("t", T.FLOAT, ["c", "d"])])
    c = Compiled(opt, m, "dynamic_fill")
    for s in ([3, 4], [1, 5], [2, 5], [3, 1]):
        x = floats(3, 1)
        status, got, whole = c.call({"x": x, "s": i64(*s)}, [4 * max(3, s[0]) * s[1], 12 * s[0] * s[1]])
        assert status == (ESHAPE if s[0] == 2 else 0) and whole, f"status {status}"
        if status == 0:
            close(got[0], x + np.zeros(s, np.float32) + 2)
            close(got[1], np.tile(x, s))


def counts(opt):
    m = model([node("TopK", ["x", "k"], ["v", "i"]), node("Range", ["zero", "n", "one"], ["r"]),
               node("Mul", ["r", "r"], ["q"]), node("Pad", ["x", "p"], ["w"])],
              [vi("x", T.FLOAT, [3, 6]), vi("k", T.INT64, [1]), vi("n", T.INT64, []), vi("p", T.INT64, [4])],
              [vi("v", T.FLOAT, [3, "k"]), vi("i", T.INT64, [3, "k"]), vi("q", T.INT64, ["n"]), vi("w", T.FLOAT, ["a", "b"])],
              [tensor("zero", np.array(0)), tensor("one", np.array(1))])
    c = Compiled(opt, m, "dynamic_count")
    for k, n, p in ((2, 5, [1, 0, 2, 1]), (6, 1, [0, 0, 0, 0]), (1, 40, [0, 3, 1, 0])):
        check(c, {"x": floats(3, 6), "k": i64(k), "n": np.array(n), "p": i64(*p)})
    status, _, whole = c.call({"x": floats(3, 6), "k": i64(7), "n": np.array(1), "p": i64(0, 0, 0, 0)}, [999] * 4)
    assert status == ESHAPE and whole, f"the 7 largest of 6: status {status}"


def chosen(opt):
    """The rows whose score is above a limit: NonZero, Gather, a matrix product, a reduction over the rows."""
    m = model([node("Greater", ["score", "limit"], ["m"]), node("NonZero", ["m"], ["at"]), node("Squeeze", ["at", "first"], ["i"]),
               node("Gather", ["x", "i"], ["r"]), node("MatMul", ["r", "w"], ["p"]), node("Softmax", ["p"], ["y"]),
               node("ReduceSum", ["y", "first"], ["s"], keepdims=0), node("Compress", ["x", "m"], ["z"], axis=0),
               node("Shape", ["i"], ["n"])],
              [vi("x", T.FLOAT, ["n", 8]), vi("score", T.FLOAT, ["n"]), vi("limit", T.FLOAT, [])],
              [vi("y", T.FLOAT, ["k", 5]), vi("s", T.FLOAT, [5]), vi("z", T.FLOAT, ["k", 8]), vi("n", T.INT64, [1])],
              [tensor("w", floats(8, 5)), tensor("first", i64(0))])
    c = Compiled(opt, m, "dynamic_chosen")
    for n, limit in ((10, 0), (10, 9), (33, -0.5), (1, -9)):
        check(c, {"x": floats(n, 8), "score": floats(n), "limit": np.array(limit, np.float32)})


def branches(opt):
    """A branch whose result is as long as its data say."""
    then = h.make_graph([node("NonZero", ["x"], ["a"])], "then", [], [vi("a", T.INT64, [1, "k"])])
    other = h.make_graph([node("Unsqueeze", ["d", "zero"], ["b"])], "else", [], [vi("b", T.INT64, [1, 2])])
    m = model([node("If", ["c"], ["r"], then_branch=then, else_branch=other), node("Add", ["r", "r"], ["y"])],
              [vi("x", T.FLOAT, [9]), vi("c", T.BOOL, []), vi("d", T.INT64, [2])], [vi("y", T.INT64, [1, "m"]), vi("r", T.INT64, [1, "m"])],
              [tensor("zero", i64(0))])
    c = Compiled(opt, m, "dynamic_branch")
    for which in (True, False):
        x = np.maximum(floats(9), 0)
        check(c, {"x": x, "c": np.array(which), "d": i64(4, 5)})


def iterations(opt):
    """Parts of a tensor by the number of the iteration, as many of their elements as are above 0."""
    body = h.make_graph(
        [node("Unsqueeze", ["i", "zero"], ["b"]), node("Add", ["b", "two"], ["e"]), node("Slice", ["x", "b", "e"], ["s"]),
         node("Greater", ["s", "none"], ["m"]), node("Compress", ["s", "m"], ["p"]), node("ReduceSum", ["p"], ["r"], keepdims=0),
         node("Add", ["r", "sum"], ["sum2"]), node("Identity", ["sum2"], ["row"]), node("Identity", ["c"], ["c2"])],
        "body", [vi("i", T.INT64, []), vi("c", T.BOOL, []), vi("sum", T.FLOAT, [])],
        [vi("c2", T.BOOL, []), vi("sum2", T.FLOAT, []), vi("row", T.FLOAT, [])])
    m = model([node("Loop", ["n", "", "start"], ["last", "y"], body=body)],
              [vi("x", T.FLOAT, [9]), vi("n", T.INT64, [])], [vi("last", T.FLOAT, []), vi("y", T.FLOAT, ["k"])],
              [tensor("zero", i64(0)), tensor("two", i64(2)), tensor("none", np.array(0, np.float32)),
               tensor("start", np.array(0, np.float32))])
    c = Compiled(opt, m, "dynamic_iteration")
    for n in (1, 8, 12):
        check(c, {"x": floats(9), "n": np.array(n)})


def carried(opt):
    """A carried value that the compiler cannot prove to keep its size: it does, or the run says that it does not."""
    body = h.make_graph([node("Slice", ["w", "zero", "k"], ["p"]), node("Add", ["x", "p"], ["x2"]), node("Identity", ["c"], ["c2"])],
                        "body", [vi("i", T.INT64, []), vi("c", T.BOOL, []), vi("x", T.FLOAT, ["m"])],
                        [vi("c2", T.BOOL, []), vi("x2", T.FLOAT, ["m"])])
    m = model([node("Loop", ["n", "", "start"], ["y"], body=body)],
              [vi("start", T.FLOAT, [4]), vi("w", T.FLOAT, [6]), vi("k", T.INT64, [1]), vi("n", T.INT64, [])],
              [vi("y", T.FLOAT, ["m"])], [tensor("zero", i64(0))])
    c = Compiled(opt, m, "dynamic_carried")
    for n, k in ((3, 4), (1, 1), (0, 2)):
        check(c, {"start": floats(4), "w": floats(6), "k": i64(k), "n": np.array(n)})
    status, _, whole = c.call({"start": floats(4), "w": floats(6), "k": i64(3), "n": np.array(2)}, [16])
    assert status == ESHAPE and whole, f"4 and 3 elements: status {status}"


def collected(opt):
    """Results of iterations whose number an input says, used again: --cap may bound them."""
    body = h.make_graph([node("Mul", ["x", "two"], ["x2"]), node("Identity", ["x2"], ["row"]), node("Identity", ["c"], ["c2"])],
                        "body", [vi("i", T.INT64, []), vi("c", T.BOOL, []), vi("x", T.FLOAT, [3])],
                        [vi("c2", T.BOOL, []), vi("x2", T.FLOAT, [3]), vi("row", T.FLOAT, [3])])
    m = model([node("Loop", ["n", "", "start"], ["last", "rows"], body=body), node("Transpose", ["rows"], ["t"]),
               node("MatMul", ["t", "rows"], ["y"]), node("Softmax", ["rows"], ["z"])],
              [vi("start", T.FLOAT, [3]), vi("n", T.INT64, [])], [vi("y", T.FLOAT, [3, 3]), vi("z", T.FLOAT, ["k", 3])],
              [tensor("two", np.array(0.7, np.float32))])
    c = Compiled(opt, m, "dynamic_all_rows")
    for n in (1, 4, 70):
        check(c, {"start": floats(3), "n": np.array(n)}, more=1 << 16)
    smallest(c, {"start": floats(3), "n": np.array(33)}, [36, 33 * 12])
    opt.flags = ["--cap", "rows=120"]
    c = Compiled(opt, m, "dynamic_rows")
    opt.flags = []
    for n in (1, 4, 10):
        check(c, {"start": floats(3), "n": np.array(n)})
    status, _, whole = c.call({"start": floats(3), "n": np.array(11)}, [36, 999])
    assert status == ECAPACITY and whole, f"11 rows of 10: status {status}"


def smallest(c, feeds, caps):
    """The least room behind the planned work area that serves; with less the run says so and writes nothing behind."""
    low, high = 0, 1 << 20
    assert c.call(feeds, caps, more=high)[0] == 0
    while low < high:
        mid = (low + high) // 2
        status, _, whole = c.call(feeds, caps, more=mid)
        assert status in (0, ECAPACITY) and whole, f"status {status} with {mid} bytes more"
        low, high = (low, mid) if status == 0 else (mid + 1, high)
    return low


def unbounded(opt):
    """Sizes without a bound are laid out behind the planned work area, or --cap gives them room; the run checks both."""
    m = model([node("Range", ["zero", "n", "one"], ["r"]), node("CumSum", ["r", "zero"], ["q"]), node("Sub", ["q", "r"], ["y"])],
              [vi("n", T.INT64, [])], [vi("y", T.INT64, ["n"])], [tensor("zero", np.array(0)), tensor("one", np.array(1))])
    c = Compiled(opt, m, "dynamic_room")
    for n in (0, 3, 20, 1000):
        check(c, {"n": np.array(n)}, more=1 << 16)
    need = smallest(c, {"n": np.array(1000)}, [8000])
    assert 8000 <= need <= 2 * 8064, f"{need} bytes for two vectors of 8000"
    status, _, whole = c.call({"n": np.array(2**50)}, [8000], more=1 << 16)
    assert status in (ECAPACITY, ESHAPE) and whole, f"2^50 elements: status {status}"
    opt.flags = ["--cap", "r=160", "--cap", "q=160"]
    c = Compiled(opt, m, "dynamic_cap")
    opt.flags = []
    for n in (0, 3, 20):
        check(c, {"n": np.array(n)})
    status, _, whole = c.call({"n": np.array(21)}, [999])
    assert status == ECAPACITY and whole, f"21 of 20 elements: status {status}"


def reused(opt):
    """A chain of tensors of unknown length takes the room of two of them, not of all; a branch and a loop theirs."""
    nodes = [node("Range", ["zero", "n", "one"], ["c0"])]
    for i in range(12):
        nodes += [node("CumSum", [f"c{i}", "zero"], [f"d{i}"]), node("Mod", [f"d{i}", "m"], [f"c{i + 1}"])]
    m = model([*nodes, node("ReduceSum", ["c12"], ["y"], keepdims=0)], [vi("n", T.INT64, [])], [vi("y", T.INT64, [])],
              [tensor("zero", np.array(0)), tensor("one", np.array(1)), tensor("m", np.array(97))])
    c = Compiled(opt, m, "dynamic_chain")
    check(c, {"n": np.array(1000)}, more=1 << 16)
    need = smallest(c, {"n": np.array(1000)}, [8])
    assert need <= 2 * 8064, f"{need} bytes for two vectors of 8000"


def growing(opt):
    """Carried values that change their shape in every iteration, along either axis, two that change places."""
    body = h.make_graph(
        [node("Concat", ["x", "part"], ["x2"], axis=0), node("Transpose", ["x2"], ["t"]), node("Concat", ["t", "t"], ["tt"], axis=0),
         node("Slice", ["tt", "one", "three", "zero"], ["z"]), node("ReduceMean", ["x"], ["row"], keepdims=0),
         node("Add", ["a", "row"], ["a2"]), node("Concat", ["b", "b"], ["b2"], axis=0),
         node("ReduceSum", ["x2"], ["sum"], keepdims=0), node("Less", ["sum", "limit"], ["go"])],
        "body", [vi("i", T.INT64, []), vi("c", T.BOOL, []), vi("x", T.FLOAT, ["p", 2]), vi("w", T.FLOAT, ["u", "v"]),
                 vi("a", T.FLOAT, ["f"]), vi("b", T.FLOAT, ["g"])],
        [vi("go", T.BOOL, []), vi("x2", T.FLOAT, ["q", 2]), vi("z", T.FLOAT, ["u", "v"]), vi("b2", T.FLOAT, ["f"]),
         vi("a2", T.FLOAT, ["g"]), vi("row", T.FLOAT, [])])
    m = model([node("Loop", ["n", "yes", "start", "w", "a", "b"], ["x", "last", "k", "l", "rows"], body=body), node("Exp", ["x"], ["y"]),
               node("Neg", ["last"], ["z"])],
              [vi("start", T.FLOAT, ["s", 2]), vi("part", T.FLOAT, ["d", 2]), vi("w", T.FLOAT, [2, "e"]), vi("a", T.FLOAT, [2]),
               vi("b", T.FLOAT, [1]), vi("n", T.INT64, []), vi("limit", T.FLOAT, [])],
              [vi("y", T.FLOAT, ["q", 2]), vi("z", T.FLOAT, ["u", "v"]), vi("k", T.FLOAT, ["k"]), vi("l", T.FLOAT, ["l"]),
               vi("rows", T.FLOAT, ["r"]), vi("x", T.FLOAT, ["q", 2])],
              [tensor("zero", i64(0)), tensor("one", i64(1)), tensor("three", i64(3)), tensor("yes", np.array(True))])
    c = Compiled(opt, m, "dynamic_growing")
    for n, s, d, limit in ((4, 3, 2, 1e9), (1, 1, 1, 1e9), (9, 2, 5, 3), (0, 2, 2, 1e9), (7, 0, 1, 1e9)):
        x = np.abs(floats(s, 2))
        feeds = {"start": x, "part": np.abs(floats(d, 2)), "w": floats(2, s), "a": floats(2), "b": floats(1), "n": np.array(n),
                 "limit": np.array(limit, np.float32)}
        if s or not n:  # the mean of nothing is NaN
            check(c, feeds, more=1 << 16)
    feeds["start"], feeds["n"] = np.abs(floats(4, 2)), np.array(6)
    feeds["w"] = floats(2, 4)
    smallest(c, feeds, [w.nbytes for w in c.reference(feeds)])


def only_sizes(opt):
    """Of a branch and of a loop only how long the result is is asked."""
    then = h.make_graph([node("NonZero", ["x"], ["a"])], "then", [], [vi("a", T.INT64, [1, "k"])])
    other = h.make_graph([node("Unsqueeze", ["d", "zero"], ["b"])], "else", [], [vi("b", T.INT64, [1, 2])])
    body = h.make_graph([node("Concat", ["x", "x"], ["x2"], axis=0), node("Identity", ["c"], ["c2"])],
                        "body", [vi("i", T.INT64, []), vi("c", T.BOOL, []), vi("x", T.FLOAT, ["m"])],
                        [vi("c2", T.BOOL, []), vi("x2", T.FLOAT, ["p"])])
    m = model([node("If", ["c"], ["r"], then_branch=then, else_branch=other), node("Shape", ["r"], ["y"]),
               node("Loop", ["n", "", "x"], ["l"], body=body), node("Shape", ["l"], ["z"])],
              [vi("x", T.FLOAT, [9]), vi("c", T.BOOL, []), vi("d", T.INT64, [2]), vi("n", T.INT64, [])],
              [vi("y", T.INT64, [2]), vi("z", T.INT64, [1])], [tensor("zero", i64(0))])
    c = Compiled(opt, m, "dynamic_only_sizes")
    for which, n in ((True, 0), (False, 3)):
        check(c, {"x": np.maximum(floats(9), 0), "c": np.array(which), "d": i64(4, 5), "n": np.array(n)}, more=1 << 16)


def lengths(opt):
    """The first Scan: sequences of a batch, each as long as an input says, forwards and backwards; 0 behind them."""
    body = h.make_graph([node("Add", ["s", "x"], ["s2"]), node("Mul", ["s2", "s2"], ["y"])], "body",
                        [vi("s", T.FLOAT, [2]), vi("x", T.FLOAT, [2])], [vi("s2", T.FLOAT, [2]), vi("y", T.FLOAT, [2])])
    for backwards in (0, 1):
        m = model([node("Scan", ["lens", "init", "x"], ["last", "y"], body=body, num_scan_inputs=1, directions=[backwards])],
                  [vi("lens", T.INT64, [3]), vi("init", T.FLOAT, [3, 2]), vi("x", T.FLOAT, [3, "n", 2])],
                  [vi("last", T.FLOAT, [3, 2]), vi("y", T.FLOAT, [3, "n", 2])], opset=8)
        m.ir_version = 3
        c = Compiled(opt, m, f"dynamic_lengths{backwards}")
        for lens in ([2, 5, 1], [5, 5, 5], [1, 3, 5]):
            check(c, {"lens": i64(*lens), "init": floats(3, 2), "x": floats(3, 5, 2)}, more=1 << 14)
        status, _, whole = c.call({"lens": i64(2, 6, 1), "init": floats(3, 2), "x": floats(3, 5, 2)}, [24, 120], more=1 << 14)
        assert status == ESHAPE and whole, f"6 of 5 steps: status {status}"


def resized(opt):
    """The taps of each result depend on the extent: a nest over rows of them must come after what counts them."""
    n = node("Resize", ["x", "", "", "sizes"], ["y"], mode="cubic", antialias=1, cubic_coeff_a=-0.5)
    m = model([n], [vi("x", T.FLOAT, [1, 1, 3, "w"])], [vi("y", T.FLOAT, None)], [tensor("sizes", i64(1, 1, 3, 5))], 19)
    c = Compiled(opt, m, "dynamic_resized")
    for w in (5, 9, 23):
        check(c, {"x": floats(1, 1, 3, w)}, more=1 << 14)


def ranks(opt):
    """Branches of a number and a row: what broadcasts sees no difference; what would is refused."""
    def m(nodes, out):
        branch = [h.make_graph([node(op, ["x"], ["b"], **attr)], op, [], [vi("b", T.FLOAT, shape)])
                  for op, attr, shape in (("ReduceMax", {"keepdims": 0}, []), ("Exp", {}, [3]))]
        return model([node("If", ["c"], ["v"], then_branch=branch[0], else_branch=branch[1]), *nodes],
                     [vi("x", T.FLOAT, [3]), vi("y", T.FLOAT, [2, 3]), vi("c", T.BOOL, [])], [vi("z", T.FLOAT, out)])
    c = Compiled(opt, m([node("Cast", ["v"], ["w"], to=T.FLOAT), node("Mul", ["y", "w"], ["z"])], [2, 3]), "dynamic_ranks")
    for truth in (True, False):
        check(c, {"x": floats(3), "y": floats(2, 3), "c": np.array(truth)})
    for nodes in ([node("Identity", ["v"], ["z"])], [node("Shape", ["v"], ["s"]), node("Cast", ["s"], ["z"], to=T.FLOAT)], [node("Add", ["v", "v"], ["z"])]):
        try:
            Compiled(opt, m(nodes, None), "dynamic_ranks_refused")
        except subprocess.CalledProcessError:
            continue
        raise AssertionError(f"{nodes[0].op_type} of a value whose rank only the run knows")
    body = h.make_graph([m([], None).graph.node[0], node("Identity", ["go"], ["go2"])], "body", [vi("i", T.INT64, []), vi("go", T.BOOL, [])],
                        [vi("go2", T.BOOL, []), vi("v", T.FLOAT, None)])
    loop = model([node("Loop", ["n", ""], ["z"], body=body)], [vi("x", T.FLOAT, [3]), vi("c", T.BOOL, []), vi("n", T.INT64, [])], [vi("z", T.FLOAT, None)])
    try:
        Compiled(opt, loop, "dynamic_ranks_loop")
    except subprocess.CalledProcessError:
        return
    raise AssertionError("rows of a loop whose rank only the run knows")


def rows_of_an_input(opt):
    """Rows as long as an input that the loop itself does not read."""
    body = h.make_graph([node("Identity", ["c"], ["c2"]), node("Add", ["h", "one"], ["h2"]), node("Expand", ["h2", "s"], ["row"])],
                        "body", [vi("i", T.INT64, []), vi("c", T.BOOL, []), vi("h", T.FLOAT, [1])],
                        [vi("c2", T.BOOL, []), vi("h2", T.FLOAT, [1]), vi("row", T.FLOAT, None)])
    m = model([node("Shape", ["x"], ["s"]), node("Loop", ["trips", "", "start"], ["last", "y"], body=body), node("Add", ["y", "x"], ["z"])],
              [vi("x", T.FLOAT, ["n"]), vi("start", T.FLOAT, [1]), vi("trips", T.INT64, [])], [vi("last", T.FLOAT, [1]), vi("z", T.FLOAT, None)],
              [tensor("one", np.ones(1, np.float32))])
    c = Compiled(opt, m, "dynamic_rows_of_input")
    for n, trips in ((4, 3), (1, 1)):
        check(c, {"x": floats(n), "start": floats(1), "trips": np.array(trips, np.int64)}, more=1 << 14)


def twice(opt):
    """Rows of which only the loop knows how many, given out twice: the copy is measured, too."""
    body = h.make_graph([node("Identity", ["c"], ["c2"]), node("Mul", ["x", "x"], ["row"])], "body",
                        [vi("i", T.INT64, []), vi("c", T.BOOL, [])], [vi("c2", T.BOOL, []), vi("row", T.FLOAT, [3])])
    m = model([node("Loop", ["trips", ""], ["y"], body=body), node("Identity", ["y"], ["z"])],
              [vi("x", T.FLOAT, [3]), vi("trips", T.INT64, [])], [vi("y", T.FLOAT, ["n", 3]), vi("z", T.FLOAT, ["n", 3])])
    c = Compiled(opt, m, "dynamic_twice")
    for trips in (1, 4):
        check(c, {"x": floats(3), "trips": np.array(trips, np.int64)})


def checked_once(opt):
    """Rows gathered by number: an index of a whole row is checked before the row, the number of a step needs no check."""
    m = model([node("Gather", ["x", "i"], ["g"]), node("Tanh", ["g"], ["y"])], [vi("x", T.FLOAT, ["n", 40]), vi("i", T.INT64, ["k"])],
              [vi("y", T.FLOAT, ["k", 40])])
    c = Compiled(opt, m, "dynamic_gathered")
    for n, k in ((1, 1), (5, 9), (3, 0)):
        check(c, {"x": floats(n, 40), "i": rng.integers(-n, n, k)})
    status, _, whole = c.call({"x": floats(5, 40), "i": i64(1, 5)}, [320])
    assert status == EINDEX and whole, f"an index of 5 in 5 rows: status {status}"
    text = pathlib.Path(c.onnx).with_suffix(".c").read_text(encoding="utf-8")
    assert re.search(r"cnn_index\([^\n]*\n\s*for \(", text), "an index is checked for each element"
    gru = [node("GRU", ["x", "w", "r"], ["y"], hidden_size=8)]
    weights = [tensor("w", floats(1, 24, 8)), tensor("r", floats(1, 24, 8))]
    c = Compiled(opt, model(gru, [vi("x", T.FLOAT, ["n", 1, 8])], [vi("y", T.FLOAT, None)], weights), "dynamic_recurrent")
    for n in (1, 7):
        check(c, {"x": floats(n, 1, 8)})
    text = pathlib.Path(c.onnx).with_suffix(".c").read_text(encoding="utf-8")
    assert "cnn_index(" not in text, "the number of a step is checked"


PROBES = [ranks, rows_of_an_input, checked_once, twice, resized, reshape, slices, fills, counts, chosen, branches, iterations, carried, collected, unbounded, reused, growing, only_sizes, lengths]


if __name__ == "__main__":
    run_all([(f.__name__, f) for f in PROBES], __doc__)
