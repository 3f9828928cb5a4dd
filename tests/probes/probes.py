# SPDX-License-Identifier: Apache-2.0
"""Thin ways through everything, each end to end in generated C, against onnxruntime or NumPy.

    probes.py --cnncc build/cnncc --build build/probes

(a) a Loop with a scan output of unknown length; (b) NonZero with its returned size, and a status when the
capacity is too small; (c) a convolution with symbolic height and width at three sizes; (d) strings and maps
through the API; (f) contractions packed when compiling and when running; (g) two threads bitwise as one.
"""

import argparse
import ctypes as C
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
import loader  # noqa: E402

CFLAGS = "-std=gnu11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp".split()
ECAPACITY = 2
ort.set_default_logger_severity(3)
ROOM = 64  # bytes behind every output that must stay as they are
rng = np.random.default_rng(7)


class String(C.Structure):
    _fields_ = [("ptr", C.c_char_p), ("len", C.c_size_t)]


class Sequence(C.Structure):
    _fields_ = [("item", C.POINTER(loader.Tensor)), ("count", C.c_size_t), ("cap", C.c_size_t)]


class Compiled:
    """A model built by cnncc and a C compiler, called with outputs of a given capacity in bytes."""

    def __init__(self, opt, model, name):
        folder = pathlib.Path(opt.build)
        folder.mkdir(parents=True, exist_ok=True)
        self.onnx = str(folder / f"{name}.onnx")
        onnx.save(model, self.onnx)
        c, so = folder / f"{name}.c", folder / f"{name}.so"
        subprocess.run([opt.cnncc, self.onnx, "-o", str(c), "--prefix", "m", *getattr(opt, "flags", [])], check=True)
        subprocess.run([opt.cc, *getattr(opt, "cflags", CFLAGS), "-shared", "-fPIC", "-o", str(so), str(c)], check=True)
        self.model = loader.Model(so)

    def reference(self, feeds):
        return ort.InferenceSession(self.onnx, providers=["CPUExecutionProvider"]).run(None, feeds)

    def call(self, feeds, caps, threads=1, more=0):
        """Runs with byte capacities by output and `more` bytes of work area than the least.

        (status, outputs with their true shapes, whether nothing was written behind them and the work area)
        """
        d, m = self.model.d, self.model
        m.keep, sym = [], [1] * d.n_sym
        tin, tout = (loader.Tensor * max(1, d.n_in))(), (loader.Tensor * max(1, d.n_out))()
        for i in range(d.n_in):
            port = d.in_[i]
            x = np.array(feeds[port.name.decode()], order="C")
            tin[i] = m.tensor(x.reshape(-1).view(np.uint8), x.shape, port.type)
            m.keep.append(x)
            for a in range(port.rank):
                if port.dim[a] < 0 and port.sym[a] >= 0:
                    sym[port.sym[a]] = x.shape[a]
        bufs = []
        for o in range(d.n_out):
            buf = loader.aligned(caps[o] + ROOM)
            buf[:] = 0xA5
            bufs.append(buf)
            tout[o] = m.tensor(buf, [0] * d.out[o].rank, d.out[o].type)
            tout[o].cap = caps[o]
        size = d.work_size((C.c_int64 * max(1, d.n_sym))(*sym), threads) + more
        work = loader.aligned(size + ROOM)
        work[size:] = 0xA5
        ctx = loader.Ctx(m.weights.ctypes.data if m.weights is not None else None, work.ctypes.data, size, 0, threads)
        status = d.run(C.byref(ctx), tin, tout)
        out = []
        for o in range(d.n_out if status == 0 else 0):
            shape = [tout[o].shape[a] for a in range(tout[o].rank)]
            kind = np.dtype(loader.TYPES[d.out[o].type])
            out.append(bufs[o][: int(np.prod(shape, dtype=np.int64)) * kind.itemsize].view(kind).reshape(shape))
        whole = all((b[c:] == 0xA5).all() for b, c in zip(bufs + [work], [*caps, size], strict=True))
        return status, out, whole


def model(nodes, inputs, outputs, init=(), opset=17, extra=()):
    g = h.make_graph(nodes, "probe", inputs, outputs, list(init))
    m = h.make_model(g, opset_imports=[h.make_opsetid("", opset), *extra])
    m.ir_version = 10
    return m


def tensor(name, value):
    return onnx.numpy_helper.from_array(np.asarray(value), name)


def vi(name, kind, shape):
    return h.make_tensor_value_info(name, kind, shape)


def close(a, b, tol=1e-5):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape, f"shape {a.shape}, expected {b.shape}"
    span = max(1e-30, float(np.abs(b).max(initial=0)))
    worst = float(np.abs(a - b).max(initial=0))
    assert worst <= tol * span, f"differs by {worst} of {span}"


def probe_loop(opt):
    """y = x, 2x, 4x, ... while the sum is below the limit: as many rows as it takes."""
    body = h.make_graph(
        [h.make_node("Add", ["v", "v"], ["v2"]), h.make_node("ReduceSum", ["v2"], ["s"], keepdims=0),
         h.make_node("Less", ["s", "limit"], ["go"]), h.make_node("Identity", ["v"], ["row"])],
        "body", [vi("i", T.INT64, []), vi("c", T.BOOL, []), vi("v", T.FLOAT, [3])],
        [vi("go", T.BOOL, []), vi("v2", T.FLOAT, [3]), vi("row", T.FLOAT, [3])])
    m = model([h.make_node("Loop", ["", "yes", "x"], ["last", "y"], body=body)],
              [vi("x", T.FLOAT, [3]), vi("limit", T.FLOAT, [])], [vi("last", T.FLOAT, [3]), vi("y", T.FLOAT, ["n", 3])],
              [tensor("yes", np.array(True))])
    c = Compiled(opt, m, "loop")
    for limit in (1, 50, 3000):
        feeds = {"x": np.array([1, 2, 0.5], np.float32), "limit": np.array(limit, np.float32)}
        want = c.reference(feeds)
        status, got, whole = c.call(feeds, [12, 4096])
        assert status == 0 and whole, f"status {status}"
        for g, w in zip(got, want, strict=True):
            close(g, w, 0)
        if len(want[1]) > 1:
            status, _, whole = c.call(feeds, [12, 12 * (len(want[1]) - 1)])
            assert status == ECAPACITY and whole, f"too little room: status {status}"


def probe_nonzero(opt):
    m = model([h.make_node("NonZero", ["x"], ["y"])], [vi("x", T.FLOAT, [4, 5])], [vi("y", T.INT64, [2, "n"])])
    c = Compiled(opt, m, "nonzero")
    for share in (0, 0.3, 1):
        feeds = {"x": (rng.random((4, 5)) < share).astype(np.float32)}
        want = c.reference(feeds)[0]
        status, got, whole = c.call(feeds, [2 * 20 * 8])
        assert status == 0 and whole and got[0].shape == want.shape and (got[0] == want).all(), f"status {status}"
        if want.size:
            status, _, whole = c.call(feeds, [want.nbytes - 8])
            assert status == ECAPACITY and whole, f"too little room: status {status}"


def probe_symbolic_conv(opt):
    w = rng.standard_normal((16, 8, 3, 3)).astype(np.float32)
    m = model([h.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 1]), h.make_node("Relu", ["c"], ["y"])],
              [vi("x", T.FLOAT, [1, 8, "h", "w_"])], [vi("y", T.FLOAT, [1, 16, "a", "b_"])],
              [tensor("w", w), tensor("b", rng.standard_normal(16).astype(np.float32))])
    c = Compiled(opt, m, "symbolic_conv")
    for size in ((5, 7), (32, 33), (61, 20)):
        feeds = {"x": rng.standard_normal((1, 8, *size)).astype(np.float32)}
        want = c.reference(feeds)[0]
        status, got, whole = c.call(feeds, [want.nbytes])
        assert status == 0 and whole, f"status {status}"
        close(got[0], want)
        status, _, whole = c.call(feeds, [want.nbytes - 4])
        assert status == ECAPACITY and whole, f"too little room: status {status}"


def sequence_of(items):
    keep = []
    array = (loader.Tensor * len(items))()
    for i, size in enumerate(items):
        buf, shape = loader.aligned(size), (C.c_int64 * 1)()
        keep += [buf, shape]
        array[i] = loader.Tensor(buf.ctypes.data, size, C.cast(shape, loader.I64), 0, 1)
    return Sequence(array, 0, len(items)), keep + [array]


def probe_strings_and_maps(opt):
    names = ["low", "middle", "h\u00f6ch"]
    graph = h.make_graph(
        [h.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0), h.make_node("Gather", ["names", "best"], ["label"]),
         h.make_node("ZipMap", ["x"], ["maps"], domain="ai.onnx.ml", classlabels_strings=names)],
        "probe", [vi("x", T.FLOAT, [2, 3])],
        [vi("label", T.STRING, [2]),
         h.make_value_info("maps", h.make_sequence_type_proto(h.make_map_type_proto(T.STRING, h.make_tensor_type_proto(T.FLOAT, []))))],
        [h.make_tensor("names", T.STRING, [3], [n.encode() for n in names])])
    m = h.make_model(graph, opset_imports=[h.make_opsetid("", 17), h.make_opsetid("ai.onnx.ml", 3)])
    m.ir_version = 10
    c = Compiled(opt, m, "strings")
    x = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]], np.float32)
    want = c.reference({"x": x})
    for pairs, expect in ((2, 0), (1, ECAPACITY)):
        d = c.model.d
        c.model.keep = []
        labels, shape = (String * 2)(), (C.c_int64 * 1)()
        seq, keep = sequence_of([C.sizeof(String) * 3, 12] * pairs)
        tin = (loader.Tensor * 1)(c.model.tensor(x.reshape(-1).view(np.uint8), x.shape, 1))
        tout = (loader.Tensor * 2)(
            loader.Tensor(C.addressof(labels), C.sizeof(labels), C.cast(shape, loader.I64), 8, 1),
            loader.Tensor(C.addressof(seq), C.sizeof(seq), None, 1, 1))
        work = loader.aligned(d.work_size((C.c_int64 * 1)(), 1))
        ctx = loader.Ctx(None, work.ctypes.data, work.nbytes, 0, 1)
        status = d.run(C.byref(ctx), tin, tout)
        assert status == expect, f"status {status}, expected {expect}"
        if status:
            continue
        assert [C.string_at(s.ptr, s.len).decode() for s in labels] == list(want[0])
        assert seq.count == 4
        for row in range(2):
            keys = C.cast(seq.item[2 * row].data, C.POINTER(String))
            values = C.cast(seq.item[2 * row + 1].data, C.POINTER(C.c_float))
            got = {C.string_at(keys[i].ptr, keys[i].len).decode(): values[i] for i in range(3)}
            assert got == {k: np.float32(v) for k, v in want[1][row].items()}, got
        del keep


def probe_room_of_strings(opt):
    """Strings that a run makes fit what --cap strings gives, or what the caller gives beyond that, or there is a status."""
    m = model([h.make_node("Cast", ["x"], ["s"], to=T.STRING), h.make_node("Cast", ["s"], ["y"], to=T.FLOAT)],
              [vi("x", T.FLOAT, ["n"])], [vi("y", T.FLOAT, ["n"])])
    opt.flags = ["--cap", "strings=100"]
    c = Compiled(opt, m, "strings_room")
    opt.flags = []
    for n, more, expect in ((0, 0, 0), (4, 0, 0), (1000, 0, ECAPACITY), (1000, 4000, ECAPACITY), (1000, 32000, 0)):
        x = (rng.standard_normal(n) * 10.0 ** rng.integers(-9, 9, n)).astype(np.float32)
        status, got, whole = c.call({"x": x}, [4 * n], more=more)
        assert status == expect and whole, f"{n} numbers, {more} bytes more: status {status}"
        assert status or np.array_equal(got[0], x), "numbers that do not read back"


def probe_packing(opt):
    m = model([h.make_node("MatMul", ["x", "w"], ["q"]), h.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
               h.make_node("MatMul", ["q", "t"], ["y"])],
              [vi("x", T.FLOAT, [2, 67, 48])], [vi("y", T.FLOAT, [2, 67, 67])],
              [tensor("w", rng.standard_normal((48, 48)).astype(np.float32))])
    c = Compiled(opt, m, "packing")
    feeds = {"x": rng.standard_normal((2, 67, 48)).astype(np.float32)}
    status, got, whole = c.call(feeds, [2 * 67 * 67 * 4])
    assert status == 0 and whole, f"status {status}"
    close(got[0], c.reference(feeds)[0])


def probe_threads(opt):
    w = [rng.standard_normal(s).astype(np.float32) / 8 for s in ((32, 3, 3, 3), (32, 1, 3, 3), (64, 32, 1, 1), (64, 10))]
    nodes = [h.make_node("Conv", ["x", "w0"], ["a"], pads=[1] * 4, strides=[2, 2]), h.make_node("Relu", ["a"], ["b"]),
             h.make_node("Conv", ["b", "w1"], ["c"], pads=[1] * 4, group=32), h.make_node("Conv", ["c", "w2"], ["d"]),
             h.make_node("GlobalAveragePool", ["d"], ["e"]), h.make_node("Flatten", ["e"], ["f"]),
             h.make_node("Gemm", ["f", "w3"], ["g"]), h.make_node("Softmax", ["g"], ["y"])]
    m = model(nodes, [vi("x", T.FLOAT, [1, 3, 96, 96])], [vi("y", T.FLOAT, [1, 10]), vi("c", T.FLOAT, [1, 32, 48, 48])],
              [tensor(f"w{i}", v) for i, v in enumerate(w)])
    c = Compiled(opt, m, "threads")
    feeds = {"x": rng.standard_normal((1, 3, 96, 96)).astype(np.float32)}
    caps = [40, 32 * 48 * 48 * 4]
    _, one, _ = c.call(feeds, caps, 1)
    close(one[0], c.reference(feeds)[0])
    for threads in (2, 3, 5):
        status, many, whole = c.call(feeds, caps, threads)
        assert status == 0 and whole, f"status {status}"
        assert all(a.tobytes() == b.tobytes() for a, b in zip(one, many, strict=True)), f"{threads} threads differ from one"


PROBES = [probe_loop, probe_nonzero, probe_symbolic_conv, probe_strings_and_maps, probe_room_of_strings, probe_packing, probe_threads]


def run_all(probes, doc):
    """Runs pairs of name and function of the options; closes with the counts and ends the program."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--cnncc", required=True)
    p.add_argument("--build", required=True)
    p.add_argument("--cc", default="clang-19")
    opt = p.parse_args()
    failed = 0
    for name, probe in probes:
        opt.flags = []  # a probe may set options of cnncc
        try:
            probe(opt)
            print(f"passed {name}")
        except (AssertionError, subprocess.CalledProcessError) as e:
            failed += 1
            print(f"FAILED {name}: {e}")
    print(f"{len(probes) - failed} passed, {failed} failed, 0 skipped")
    sys.exit(failed > 0)


if __name__ == "__main__":
    run_all([(f.__name__, f) for f in PROBES], __doc__)
