# SPDX-License-Identifier: Apache-2.0
"""States (--state): memory that the caller keeps from run to run, against onnxruntime step by step.

    state.py --cnncc build/cnncc --build build/probes
"""

import ctypes as C
import subprocess

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from probes import ECAPACITY, ROOM, Compiled, close, loader, model, rng, run_all, tensor, vi


EINDEX = 5
node = h.make_node


class Stepper:
    """A compiled model with states; the reference is given its own outputs as the next step's inputs."""

    def __init__(self, opt, m, name, states):
        opt.flags = [w for past, present, cap in states for w in ("--state", f"{past}={present}" + (f",cap={cap}" if cap else ""))]
        self.c = Compiled(opt, m, name)
        opt.flags = []
        self.d, self.states = self.c.model.d, states
        names_in = [self.d.in_[i].name.decode() for i in range(self.d.n_in)]
        names_out = [self.d.out[i].name.decode() for i in range(self.d.n_out)]
        assert self.d.n_state == len(states)
        self.by_in = {names_in.index(p): (names_out.index(q), cap) for p, q, cap in states}
        self.mem = {}

    def start(self, **init):
        """Memory of each state, with what stands behind the true values filled with a pattern."""
        for i, (_, cap) in self.by_in.items():
            x = np.ascontiguousarray(init[self.d.in_[i].name.decode()])
            axis = next(s.axis for s in (self.d.state[k] for k in range(self.d.n_state)) if s.in_ == i)
            full = list(x.shape)
            if axis >= 0:
                full[axis] = cap
            whole = np.full(full, 7, x.dtype)
            whole[tuple(slice(0, n) for n in x.shape)] = x
            buf = loader.aligned(whole.nbytes + ROOM)
            buf[:] = 0xA5
            buf[: whole.nbytes] = whole.reshape(-1).view(np.uint8)
            self.mem[i] = (buf, (C.c_int64 * x.ndim)(*x.shape), full, x.dtype)
        self.ref = dict(init)

    def value(self, i):
        buf, shape, full, dt = self.mem[i]
        n = int(np.prod(full)) * np.dtype(dt).itemsize
        return buf[:n].view(dt).reshape(full)[tuple(slice(0, k) for k in shape)]

    def step(self, feeds, threads=1, short=None):
        """One run; the status, the other outputs. short: this state's memory is said to be one byte too small."""
        d, m = self.d, self.c.model
        m.keep, sym = [], [1] * d.n_sym
        tin, tout = (loader.Tensor * d.n_in)(), (loader.Tensor * d.n_out)()
        for i in range(d.n_in):
            name = d.in_[i].name.decode()
            if i in self.mem:
                buf, shape, _, _ = self.mem[i]
                tin[i] = loader.Tensor(buf.ctypes.data, buf.nbytes - ROOM - (short == name), C.cast(shape, loader.I64), d.in_[i].type, len(shape))
            else:
                x = np.array(feeds[name], order="C")
                m.keep.append(x)
                tin[i] = m.tensor(x.reshape(-1).view(np.uint8), x.shape, d.in_[i].type)
            for a in range(d.in_[i].rank):
                if d.in_[i].dim[a] < 0 and d.in_[i].sym[a] >= 0:
                    sym[d.in_[i].sym[a]] = tin[i].shape[a]
        csym = (C.c_int64 * max(1, d.n_sym))(*sym)
        outs = {}
        for o in range(d.n_out):
            mine = [i for i, (q, _) in self.by_in.items() if q == o]
            if mine:
                tout[o] = loader.Tensor(None, 0, C.cast(self.mem[mine[0]][1], loader.I64), d.out[o].type, d.out[o].rank)
                continue
            shape = (C.c_int64 * max(1, d.out[o].rank))()
            assert d.out_shape(csym, o, shape) == 0
            dt = np.dtype(loader.TYPES[d.out[o].type])
            buf = loader.aligned(int(np.prod(list(shape)[: d.out[o].rank])) * dt.itemsize)
            tout[o] = m.tensor(buf, list(shape)[: d.out[o].rank], d.out[o].type)
            outs[o] = (buf, dt)
        work = loader.aligned(d.work_size(csym, threads))
        ctx = loader.Ctx(m.weights.ctypes.data if m.weights is not None else None, work.ctypes.data, work.nbytes, 0, threads)
        status = d.run(C.byref(ctx), tin, tout)
        assert all((b[-ROOM:] == 0xA5).all() for b, *_ in self.mem.values()), "written behind a state"
        got = {}
        for o, (buf, dt) in outs.items():
            shape = [tout[o].shape[a] for a in range(tout[o].rank)]
            got[d.out[o].name.decode()] = buf.view(dt)[: int(np.prod(shape))].reshape(shape)
        return status, got

    def check(self, feeds, threads=1, tol=1e-5):
        status, got = self.step(feeds, threads)
        assert status == 0, f"status {status}"
        want = dict(zip([self.d.out[o].name.decode() for o in range(self.d.n_out)], self.c.reference({**feeds, **self.ref}), strict=True))
        for name, x in got.items():
            close(x, want[name], tol)
        for i, (o, _) in self.by_in.items():
            close(self.value(i), want[self.d.out[o].name.decode()], tol)
            self.ref[self.d.in_[i].name.decode()] = want[self.d.out[o].name.decode()]

    def unchanged_on(self, status, feeds, **kw):
        """This step ends with the status, and every state is as it was."""
        before = {i: self.value(i).copy() for i in self.mem}
        got, _ = self.step(feeds, **kw)
        assert got == status, f"status {got}, expected {status}"
        for i, x in before.items():
            assert x.shape == self.value(i).shape and (x == self.value(i)).all(), "the state has changed"


def floats(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def cache(opt):
    """Keys and values of two heads grow; one token or several at a time, until they are full."""
    m = model([node("Concat", ["pk", "k"], ["nk"], axis=2), node("Concat", ["pv", "v"], ["nv"], axis=2),
               node("Transpose", ["nk"], ["kt"], perm=[0, 1, 3, 2]), node("MatMul", ["q", "kt"], ["s"]),
               node("Softmax", ["s"], ["p"], axis=-1), node("MatMul", ["p", "nv"], ["y"])],
              [vi("q", T.FLOAT, ["b", 2, "s", 8]), vi("k", T.FLOAT, ["b", 2, "s", 8]), vi("v", T.FLOAT, ["b", 2, "s", 8]),
               vi("pk", T.FLOAT, ["b", 2, "p", 8]), vi("pv", T.FLOAT, ["b", 2, "p", 8])],
              [vi("y", T.FLOAT, None), vi("nk", T.FLOAT, None), vi("nv", T.FLOAT, None)])
    s = Stepper(opt, m, "state_cache", [("pk", "nk", 21), ("pv", "nv", 21)])
    for b, first in ((1, 0), (3, 4)):
        s.start(pk=floats(b, 2, first, 8), pv=floats(b, 2, first, 8))
        n = first
        for step in (1, 1, 5, 1, 9, 2, 1, 1):
            feeds = {x: floats(b, 2, step, 8) for x in "qkv"}
            if n + step > 21:
                s.unchanged_on(ECAPACITY, feeds)
                continue
            s.check(feeds, threads=1 + n % 2)
            n += step
        s.unchanged_on(ECAPACITY, {x: floats(b, 2, 22 - n, 8) for x in "qkv"})
        s.unchanged_on(ECAPACITY, {x: floats(b, 2, 0, 8) for x in "qkv"}, short="pv")


def axes(opt):
    """Appended along the first and the last axis, two pieces at once."""
    for axis, shape in ((0, ["p", 3, 2]), (2, [2, 3, "p"])):
        new = [1 if isinstance(d, str) else d for d in shape]
        m = model([node("Relu", ["x"], ["r"]), node("Concat", ["past", "x", "r"], ["now"], axis=axis),
                   node("ReduceSum", ["now", "along"], ["y"], keepdims=0)],
                  [vi("past", T.FLOAT, shape), vi("x", T.FLOAT, new)], [vi("now", T.FLOAT, None), vi("y", T.FLOAT, None)],
                  [tensor("along", np.array([axis]))])
        s = Stepper(opt, m, f"state_axis{axis}", [("past", "now", 9)])
        s.start(past=floats(*[0 if isinstance(d, str) else d for d in shape]))
        for _ in range(4):
            s.check({"x": floats(*new)})
        s.unchanged_on(ECAPACITY, {"x": floats(*new)})


def recurrent(opt):
    """States of one shape: two that swap, a window that shifts, one that stays."""
    m = model([node("MatMul", ["h", "w"], ["hw"]), node("Add", ["hw", "x"], ["z"]), node("Tanh", ["z"], ["g"]),
               node("Identity", ["h"], ["h_old"]), node("Add", ["c", "h_old"], ["c2"]),
               node("Slice", ["win", "one", "far", "ax"], ["tail"]), node("Unsqueeze", ["x", "ax0"], ["xu"]),
               node("Concat", ["tail", "xu"], ["win2"], axis=1), node("ReduceSum", ["win2", "ax"], ["y"], keepdims=0)],
              [vi("x", T.FLOAT, ["b", 4]), vi("h", T.FLOAT, ["b", 4]), vi("c", T.FLOAT, ["b", 4]), vi("win", T.FLOAT, ["b", 3, 4])],
              [vi("y", T.FLOAT, None), vi("g", T.FLOAT, None), vi("c2", T.FLOAT, None), vi("win2", T.FLOAT, None)],
              [tensor("w", floats(4, 4)), tensor("one", np.array([1])), tensor("far", np.array([9])), tensor("ax", np.array([1])),
               tensor("ax0", np.array([1]))])
    s = Stepper(opt, m, "state_same", [("h", "g", 0), ("c", "c2", 0), ("win", "win2", 0)])
    s.start(h=floats(2, 4), c=floats(2, 4), win=floats(2, 3, 4))
    for _ in range(50):
        s.check({"x": floats(2, 4)})


def scattered(opt):
    """Rows written at a position, in place; a wrong position leaves all as it was."""
    m = model([node("ScatterElements", ["past", "at", "x"], ["now"], axis=0), node("ReduceMax", ["now"], ["y"], keepdims=0, axes=[0])],
              [vi("past", T.FLOAT, [6, 3]), vi("at", T.INT64, [1, 3]), vi("x", T.FLOAT, [1, 3])],
              [vi("now", T.FLOAT, [6, 3]), vi("y", T.FLOAT, [3])])
    s = Stepper(opt, m, "state_scatter", [("past", "now", 0)])
    s.start(past=floats(6, 3))
    for i in (0, 5, 3, 3):
        s.check({"at": np.full((1, 3), i), "x": floats(1, 3)})
    s.unchanged_on(EINDEX, {"at": np.array([[1, 2, 6]]), "x": floats(1, 3)})
    m = model([node("ScatterElements", ["a", "at", "x"], ["a2"], axis=0), node("Neg", ["x"], ["nx"]),
               node("ScatterElements", ["b", "at", "nx"], ["b2"], axis=0), node("Mul", ["a2", "b2"], ["y"])],
              [vi("a", T.FLOAT, [6, 3]), vi("b", T.FLOAT, [6, 3]), vi("at", T.INT64, [2, 3]), vi("x", T.FLOAT, [2, 3])],
              [vi("a2", T.FLOAT, [6, 3]), vi("b2", T.FLOAT, [6, 3]), vi("y", T.FLOAT, [6, 3])])
    s = Stepper(opt, m, "state_scatters", [("a", "a2", 0), ("b", "b2", 0)])
    s.start(a=floats(6, 3), b=floats(6, 3))
    for i in (0, 4, 2):
        s.check({"at": np.array([[i] * 3, [i + 1] * 3]), "x": floats(2, 3)})
    s.unchanged_on(EINDEX, {"at": np.array([[0, 1, 2], [3, 4, 6]]), "x": floats(2, 3)})


def refused(opt):
    """What is no state is said in one line."""
    m = model([node("Concat", ["x", "past"], ["now"], axis=0)], [vi("past", T.FLOAT, ["p", 2]), vi("x", T.FLOAT, [1, 2])],
              [vi("now", T.FLOAT, None)])
    c = Compiled(opt, m, "state_refused")
    for flag, word in (("past=now,cap=4", "neither"), ("pst=now", "no input"), ("past=nw", "no output")):
        r = subprocess.run([opt.cnncc, c.onnx, "-o", c.onnx[:-4] + "c", "--state", flag], capture_output=True, text=True)
        assert r.returncode == 1 and word in r.stderr and r.stderr.count("\n") == 1, r.stderr


CASES = [cache, axes, recurrent, scattered, refused]


if __name__ == "__main__":
    run_all([(case.__name__, case) for case in CASES], __doc__)
