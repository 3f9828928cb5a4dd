# SPDX-License-Identifier: Apache-2.0
"""Sequences and optionals that only the run knows, compiled and interpreted, against onnxruntime.

    sequences.py --cnncc build/cnncc --build build/probes
"""

import ctypes as C
import pathlib
import subprocess

import numpy as np
import onnx
from dynamic_sizes import floats, i64, node, smallest
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper
from probes import ECAPACITY, ROOM, Compiled, Sequence, close, loader, model, run_all, sequence_of, tensor, vi

EINDEX = 5
scalar = np.array


def seq(name, kind=T.FLOAT, shape=None):
    return h.make_tensor_sequence_value_info(name, kind, shape)


def body(nodes, inputs, outputs):
    return h.make_graph(nodes, "body", inputs, outputs)


def interpreted(opt, c, feeds, want):
    """The same from the interpreter, which reads and writes files."""
    folder = pathlib.Path(opt.build) / "eval"
    folder.mkdir(exist_ok=True)
    for f in folder.glob("*.pb"):
        f.unlink()
    for i, (name, x) in enumerate(feeds.items()):
        (folder / f"input_{i}.pb").write_bytes(numpy_helper.from_array(x, name).SerializeToString())
    for i, (x, port) in enumerate(zip(want, c.reference_names, strict=True)):
        (folder / f"output_{i}.pb").write_bytes(numpy_helper.from_array(np.asarray(x), port).SerializeToString())
    run = subprocess.run([opt.cnncc, c.onnx, "--eval", str(folder)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"the interpreter: {run.stderr.strip()} {run.stdout.strip()}"


def check(opt, c, cases, more=1 << 16):
    c.reference_names = [o.name for o in onnx.load(c.onnx).graph.output]
    for feeds in cases:
        want = c.reference(feeds)
        status, got, whole = c.call(feeds, [w.nbytes for w in want], more=more)
        assert status == 0 and whole, f"status {status}"
        for g, w in zip(got, want, strict=True):
            close(g, w)
        interpreted(opt, c, feeds, want)
    if cases:
        smallest(c, cases[-1], [w.nbytes for w in want])


def positions(opt):
    """Inserted, taken and erased at positions that inputs say, counted from either end."""
    m = model([node("SequenceConstruct", ["a", "b"], ["s"]), node("SequenceInsert", ["s", "c", "i"], ["t"]),
               node("SequenceAt", ["t", "j"], ["x"]), node("SequenceErase", ["t", "j"], ["u"]), node("SequenceLength", ["u"], ["n"]),
               node("ConcatFromSequence", ["u"], ["y"], axis=0), node("SequenceErase", ["u"], ["v"]),
               node("ConcatFromSequence", ["v"], ["z"], axis=-1)],
              [vi("a", T.FLOAT, ["p", 3]), vi("b", T.FLOAT, ["q", 3]), vi("c", T.FLOAT, ["r", 3]), vi("i", T.INT64, []), vi("j", T.INT64, [])],
              [vi("x", T.FLOAT, ["k", 3]), vi("y", T.FLOAT, ["l", 3]), vi("z", T.FLOAT, ["m", "w"]), vi("n", T.INT64, [])])
    c = Compiled(opt, m, "seq_positions")
    feeds = {"a": floats(2, 3), "b": floats(1, 3), "c": floats(4, 3)}
    check(opt, c, [dict(feeds, i=scalar(i), j=scalar(j)) for i, j in ((0, 0), (1, 2), (2, 1), (-1, -1), (-2, -3), (2, -2))])
    for i, j in ((3, 0), (-3, 0), (0, 3), (0, -4)):
        status, _, whole = c.call(dict(feeds, i=scalar(i), j=scalar(j)), [999] * 4, more=1 << 16)
        assert status == EINDEX and whole, f"positions {i} and {j}: status {status}"


def collected(opt):
    """A loop that appends slices of growing length while a condition holds, inserts at the front, and forgets the oldest."""
    b = body([node("Add", ["i", "one"], ["e"]), node("Unsqueeze", ["e", "zero"], ["end"]), node("Slice", ["x", "zero", "end"], ["part"]),
              node("SequenceInsert", ["s", "part"], ["s2"]), node("SequenceInsert", ["q", "part", "first"], ["q2"]),
              node("SequenceLength", ["q2"], ["len"]), node("Greater", ["len", "three"], ["long"]),
              node("If", ["long"], ["q3"], then_branch=body([node("SequenceErase", ["q2"], ["q4"])], [], [seq("q4")]),
                   else_branch=body([node("Identity", ["q2"], ["q5"])], [], [seq("q5")])),
              node("ReduceSum", ["part"], ["sum"], keepdims=0), node("Less", ["sum", "limit"], ["go"])],
             [vi("i", T.INT64, []), vi("c", T.BOOL, []), seq("s"), seq("q")],
             [vi("go", T.BOOL, []), seq("s2"), seq("q3"), vi("len", T.INT64, [])])
    m = model([node("SequenceEmpty", [], ["e0"]), node("SequenceEmpty", [], ["e1"]),
               node("Loop", ["n", "yes", "e0", "e1"], ["s", "q", "lengths"], body=b),
               node("ConcatFromSequence", ["s"], ["y"], axis=0), node("SequenceLength", ["q"], ["k"]),
               node("SequenceAt", ["q", "last"], ["z"]), node("Exp", ["z"], ["w"])],
              [vi("x", T.FLOAT, ["m"]), vi("n", T.INT64, []), vi("limit", T.FLOAT, []), vi("last", T.INT64, [])],
              [vi("y", T.FLOAT, ["l"]), vi("k", T.INT64, []), vi("w", T.FLOAT, ["f"]), vi("lengths", T.INT64, ["t"])],
              [tensor("zero", i64(0)), tensor("one", scalar(1)), tensor("three", scalar(3)), tensor("first", scalar(0)),
               tensor("yes", scalar(True))])
    c = Compiled(opt, m, "seq_collected")
    cases = [{"x": np.abs(floats(9)), "n": scalar(n), "limit": scalar(limit, dtype=np.float32), "last": scalar(last)}
             for n, limit, last in ((1, 9, 0), (3, 99, -1), (9, 99, 1), (9, 3, 0), (12, 99, 2))]
    check(opt, c, cases)


def split(opt):
    """Parts whose number, or whose sizes, only the run knows; mapped, stacked."""
    square = body([node("Mul", ["p", "p"], ["r"]), node("Shape", ["p"], ["h"])], [vi("p", T.FLOAT, ["a", 4])],
                  [vi("r", T.FLOAT, ["a", 4]), vi("h", T.INT64, [2])])
    m = model([node("SplitToSequence", ["x", "sizes"], ["s"], axis=0), node("SequenceMap", ["s"], ["t", "shapes"], body=square),
               node("ConcatFromSequence", ["t"], ["y"], axis=0), node("ConcatFromSequence", ["shapes"], ["h"], axis=0, new_axis=1),
               node("SplitToSequence", ["x", "size"], ["u"], axis=1), node("SequenceAt", ["u", "last"], ["z"]),
               node("SplitToSequence", ["x"], ["rows"], axis=0, keepdims=0), node("ConcatFromSequence", ["rows"], ["w"], axis=1, new_axis=1)],
              [vi("x", T.FLOAT, ["n", 4]), vi("sizes", T.INT64, ["k"]), vi("size", T.INT64, [])],
              [vi("y", T.FLOAT, ["n", 4]), vi("h", T.INT64, ["k", 2]), vi("z", T.FLOAT, ["n", "v"]), vi("w", T.FLOAT, [4, "n"])],
              [tensor("last", scalar(-1))], opset=18)
    c = Compiled(opt, m, "seq_split")
    check(opt, c, [{"x": floats(sum(s), 4), "sizes": i64(*s), "size": scalar(k)} for s, k in (([1, 2, 3], 2), ([4], 3), ([2, 0, 5, 1], 4))])
    for s, k in (([1, 2], 2), ([5, -1], 2), ([4], 0), ([3, 2], 2)):
        status, _, whole = c.call({"x": floats(4, 4), "sizes": i64(*s), "size": scalar(k)}, [999] * 4, more=1 << 16)
        assert status == 1 and whole, f"4 rows in parts of {s}, or by {k}: status {status}"


def chosen(opt):
    """A branch that gives one sequence or another, of items of different shapes, and an optional that may be empty."""
    then = body([node("SequenceConstruct", ["a", "b"], ["s"]), node("Optional", ["a"], ["o"])], [], [seq("s"), h.make_value_info(
        "o", h.make_optional_type_proto(h.make_tensor_type_proto(T.FLOAT, None)))])
    other = body([node("SequenceConstruct", ["b"], ["t"]),
                  node("Optional", [], ["none"], type=h.make_tensor_type_proto(T.FLOAT, ["x"]))], [], [seq("t"), h.make_value_info(
                      "none", h.make_optional_type_proto(h.make_tensor_type_proto(T.FLOAT, None)))])
    get = body([node("OptionalGetElement", ["o"], ["v"])], [], [vi("v", T.FLOAT, ["f"])])
    default = body([node("Neg", ["b"], ["d"])], [], [vi("d", T.FLOAT, ["f"])])
    m = model([node("If", ["c"], ["s", "o"], then_branch=then, else_branch=other), node("SequenceAt", ["s", "last"], ["x"]),
               node("OptionalHasElement", ["o"], ["has"]), node("If", ["has"], ["y"], then_branch=get, else_branch=default),
               node("SequenceLength", ["s"], ["n"])],
              [vi("c", T.BOOL, []), vi("a", T.FLOAT, ["p"]), vi("b", T.FLOAT, ["q"])],
              [vi("x", T.FLOAT, ["k"]), vi("y", T.FLOAT, ["l"]), vi("n", T.INT64, [])], [tensor("last", scalar(-1))], opset=18)
    c = Compiled(opt, m, "seq_chosen")
    check(opt, c, [{"c": scalar(which), "a": floats(3), "b": floats(5)} for which in (True, False)])


def ports(opt):
    """Sequences as inputs and outputs: each item has a room of its own, and the sequence for so many items."""
    m = model([node("SequenceInsert", ["s", "x"], ["t"])], [seq("s", T.FLOAT, ["n"]), vi("x", T.FLOAT, ["m"])], [seq("t", T.FLOAT, ["n"])])
    c = Compiled(opt, m, "seq_ports")
    d = c.model.d
    items = [floats(2), floats(0), floats(7)]
    x = floats(5)
    want = [*items, x]
    for room, cap, work, expect in (([8, 0, 28, 20], 4, 4096, 0), ([8, 0, 28, 19], 4, 4096, ECAPACITY), ([8, 0, 28, 20], 3, 4096, ECAPACITY),
                                    ([8, 0, 28, 20], 4, 64, ECAPACITY), ([99, 4, 28, 20], 4, 4096, 0)):
        c.model.keep = []
        given = (loader.Tensor * 3)(*[c.model.tensor(v.reshape(-1).view(np.uint8), v.shape, 1) for v in items])
        source, (out, keep) = Sequence(given, 3, 3), sequence_of([r + ROOM for r in room])
        for i, r in enumerate(room):
            C.memset(out.item[i].data, 0xA5, r + ROOM)
            out.item[i].cap = r
        out.cap = cap
        tin = (loader.Tensor * 2)(loader.Tensor(C.addressof(source), C.sizeof(source), None, 1, -1), c.model.tensor(x.view(np.uint8), x.shape, 1))
        tout = (loader.Tensor * 1)(loader.Tensor(C.addressof(out), C.sizeof(out), None, 1, -1))
        area = loader.aligned(work + ROOM)
        area[work:] = 0xA5
        ctx = loader.Ctx(None, area.ctypes.data, work, 0, 1)
        status = d.run(C.byref(ctx), tin, tout)
        assert status == expect, f"status {status}, expected {expect}"
        assert (area[work:] == 0xA5).all(), "written behind the work area"
        for i, r in enumerate(room):
            assert C.string_at(out.item[i].data + r, ROOM) == b"\xa5" * ROOM, f"written behind item {i}"
        if not status:
            assert out.count == 4
            for i, v in enumerate(want):
                assert out.item[i].shape[0] == len(v) and C.string_at(out.item[i].data, v.nbytes) == v.tobytes(), f"item {i}"
        del keep
    tin[0] = loader.Tensor(None, 0, None, 1, -1)
    assert d.run(C.byref(ctx), tin, tout) == 1, "no sequence"


PROBES = [positions, collected, split, chosen, ports]

if __name__ == "__main__":
    run_all([(f.__name__, f) for f in PROBES], __doc__)
