# SPDX-License-Identifier: Apache-2.0
"""Drives the interface that cnncc --train makes (see docs/training.md), through ctypes."""

import ctypes as C
import itertools
import pathlib
import subprocess
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
import loader  # noqa: E402

FLAGS = "-std=gnu11 -O2 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp".split()
WARNINGS = "-Wall -Wextra -Wpedantic -Wconversion -Werror".split()
serial = itertools.count()


class Hyper(C.Structure):
    _fields_ = [(n, C.c_double) for n in ("lr", "momentum", "dampening", "beta1", "beta2", "eps", "alpha", "lr_decay", "weight_decay",
                                          "clip_norm", "clip_value")] + [("nesterov", C.c_int), ("centered", C.c_int)]


class Row(C.Structure):
    _fields_ = [("name", C.c_char_p), ("kind", C.c_int32), ("rank", C.c_int32), ("dim", C.POINTER(C.c_int64)), ("offset", C.c_size_t),
                ("count", C.c_size_t), ("decays", C.c_int32), ("init", C.c_int32), ("scale", C.c_double)]


class State(C.Structure):
    _fields_ = [("params", C.c_void_p), ("grads", C.c_void_p), ("state", C.c_void_p), ("work", C.c_void_p), ("work_size", C.c_size_t),
                ("threads", C.c_int), ("seed", C.c_uint64), ("step", C.c_uint64)]


WRITE = C.CFUNCTYPE(C.c_int, C.c_void_p, C.c_void_p, C.c_size_t)
READY = C.CFUNCTYPE(None, C.c_void_p, C.c_size_t, C.c_size_t)


def compile_trainer(cnncc, cc, model, stem, options, dtype=np.float64, inputs=("x",), outputs=("y",), correct=True):
    """inputs, outputs: the fields of the batch and the result, in order."""
    stem = f"{stem}_{next(serial)}"
    for command in (
        [cnncc, "--train", "--prefix=m", f"--dtype={'f64' if dtype == np.float64 else 'f32'}", *options, str(model), "-o", f"{stem}.c"],
        [cc, *FLAGS, *WARNINGS, "-shared", "-fPIC", "-o", f"{stem}.so", f"{stem}.c", "-lm"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[0]}: status {done.returncode}\n{done.stderr[-2000:]}")
    return Trainer(f"{stem}.so", dtype, inputs, outputs, correct)


class Trainer:
    def __init__(self, path, dtype, inputs, outputs, correct, threads=1):
        self.lib, self.dtype = C.CDLL(str(path)), np.dtype(dtype)
        self.real = C.c_double if self.dtype == np.float64 else C.c_float
        header = pathlib.Path(path).with_suffix(".h").read_text()
        size = {w[1]: int(w[2]) for w in (line.split() for line in header.splitlines()) if len(w) == 3 and w[0] == "#define" and w[2].isdigit()}
        self.rows = [*(Row * size["M_NPARAM"]).in_dll(self.lib, "m_params")]
        self.batch_size = size["M_BATCH"]
        self.lib.m_work_size.restype = C.c_size_t
        work = self.lib.m_work_size(threads)
        self.memory = {"params": self.reals(size["M_PARAMS"]), "grads": self.reals(size["M_TRAINED"]), "state": self.reals(size["M_STATE"]),
                       "work": loader.aligned(work)}
        self.t = State(**{n: a.ctypes.data for n, a in self.memory.items()}, work_size=work, threads=threads, seed=1, step=0)
        self.inputs = inputs

        class Batch(C.Structure):
            _fields_ = [("n", C.c_int64)] + [(n, C.c_void_p) for n in inputs]

        class Result(C.Structure):
            _fields_ = [("loss", self.real)] + ([("correct", C.c_int64)] if correct else []) + [(n, C.c_void_p) for n in outputs]

        self.Batch, self.Result = Batch, Result
        self.hyper = Hyper()
        self.lib.m_defaults(C.byref(self.hyper))
        weights = pathlib.Path(path).with_suffix(".bin")
        self.file = weights.read_bytes() if weights.exists() else None
        self.check(self.lib.m_init(C.byref(self.t), self.file))

    def reals(self, n):
        return loader.aligned(max(1, n) * self.dtype.itemsize).view(self.dtype)[:n]

    @staticmethod
    def check(status):
        if status:
            raise RuntimeError(loader.STATUS[status] if status < len(loader.STATUS) else f"status {status}")

    def views(self, what="params"):
        """Parameters, or gradients of those that are trained, by name: views of the buffer."""
        a = self.memory[what]
        return {r.name.decode(): a[r.offset : r.offset + r.count].reshape([r.dim[i] for i in range(r.rank)])
                for r in self.rows if what == "params" or r.kind == 0}

    def call(self, function, feeds, hyper=False, last=(), **outputs):
        n = len(next(iter(feeds.values())))
        arrays = {k: np.ascontiguousarray(v.astype(self.dtype) if v.dtype.kind == "f" else v) for k, v in feeds.items()}
        batch = self.Batch(n, *(arrays[k].ctypes.data if k in arrays else None for k in self.inputs))
        result = self.Result(**{k: v.ctypes.data for k, v in outputs.items()})
        args = [C.byref(self.t)] + ([C.byref(self.hyper)] if hyper else []) + [C.byref(batch), C.byref(result), *last]
        self.check(getattr(self.lib, "m_" + function)(*args))
        return result

    def gradients(self, feeds, ready):
        """--overlap: calls ready(user, offset, count) as gradients are there; the loss."""
        return self.call("gradients", feeds, last=[READY(ready), None]).loss

    def train_step(self, feeds):
        return float(self.call("train_step", feeds, hyper=True).loss)

    def save(self):
        parts = []

        def write(_, data, n):
            parts.append(C.string_at(data, n))
            return 0

        self.check(self.lib.m_save(C.byref(self.t), WRITE(write), None))
        return b"".join(parts)

    def load(self, data):
        at = 0

        def read(_, to, n):
            nonlocal at
            if at + n > len(data):
                return 7
            C.memmove(to, data[at : at + n], n)
            at += n
            return 0

        return self.lib.m_load(C.byref(self.t), WRITE(read), None)

    def export(self, model):
        parts = []

        def write(_, data, n):
            parts.append(C.string_at(data, n))
            return 0

        status = self.lib.m_export(C.byref(self.t), model, C.c_size_t(len(model)), WRITE(write), None)
        return status, b"".join(parts)
