# SPDX-License-Identifier: Apache-2.0
"""Calls a compiled model, a shared object, through its descriptor (runtime/abi.h)."""

import ctypes as C
import pathlib

import numpy as np

TYPES = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64,
    9: np.bool_, 10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64, 14: np.complex64,
    15: np.complex128,
}
STATUS = ["OK", "ESHAPE", "ECAPACITY", "EWORK", "EWEIGHTS", "EINDEX", "EVALUE", "EDATA"]
I64 = C.POINTER(C.c_int64)


class Tensor(C.Structure):
    _fields_ = [("data", C.c_void_p), ("cap", C.c_size_t), ("shape", I64), ("type", C.c_int32), ("rank", C.c_int32)]


class Ctx(C.Structure):
    _fields_ = [("weights", C.c_void_p), ("work", C.c_void_p), ("work_size", C.c_size_t), ("seed", C.c_uint64),
                ("threads", C.c_int)]


class Port(C.Structure):
    _fields_ = [("name", C.c_char_p), ("kind", C.c_int32), ("type", C.c_int32), ("rank", C.c_int32), ("dim", I64),
                ("sym", C.POINTER(C.c_int32))]


class State(C.Structure):
    _fields_ = [("in_", C.c_int), ("out", C.c_int), ("axis", C.c_int), ("cap", C.c_int64)]


class Descriptor(C.Structure):
    _fields_ = [
        ("abi", C.c_int), ("name", C.c_char_p), ("n_in", C.c_int), ("n_out", C.c_int), ("n_sym", C.c_int),
        ("in_", C.POINTER(Port)), ("out", C.POINTER(Port)), ("sym", C.POINTER(C.c_char_p)),
        ("weights_size", C.c_size_t), ("weights_hash", C.c_uint64),
        ("work_size", C.CFUNCTYPE(C.c_size_t, I64, C.c_int)),
        ("out_shape", C.CFUNCTYPE(C.c_int, I64, C.c_int, I64)),
        ("run", C.CFUNCTYPE(C.c_int, C.POINTER(Ctx), C.POINTER(Tensor), C.POINTER(Tensor))),
        ("n_state", C.c_int), ("state", C.POINTER(State)),
    ]


def aligned(size):
    """Bytes that begin at a multiple of 64."""
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


class Model:
    """A model whose inputs and outputs are tensors; sizes are fixed by the inputs of bind()."""

    def __init__(self, path, prefix="m"):
        path = pathlib.Path(path).resolve()
        self.lib = C.CDLL(str(path))
        self.d = Descriptor.in_dll(self.lib, prefix + "_model")
        self.weights = None
        if self.d.weights_size:
            data = np.fromfile(path.with_suffix(".bin"), np.uint8)
            self.weights = aligned(data.size)
            self.weights[:] = data

    def bind(self, feeds, threads=1):
        """Allocates for these inputs; run() can then be called and timed."""
        d, self.keep = self.d, []
        sym = [1] * d.n_sym
        self.tin, self.tout = (Tensor * max(1, d.n_in))(), (Tensor * max(1, d.n_out))()
        for i in range(d.n_in):
            port = d.in_[i]
            x = feeds[port.name.decode()]
            buf = aligned(x.nbytes)
            buf[:] = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
            self.tin[i] = self.tensor(buf, x.shape, port.type)
            for a in range(port.rank):
                if port.dim[a] < 0 and port.sym[a] >= 0:
                    sym[port.sym[a]] = x.shape[a]
        csym = (C.c_int64 * max(1, d.n_sym))(*sym)
        room = 1
        while not self.allocate(csym, threads, room):
            room *= 2

    def allocate(self, csym, threads, room):
        """The outputs and the work area, with this room for extents that the run computes; false: it is too little."""
        d, self.outputs, unknown = self.d, [], False
        self.work_size = d.work_size(csym, threads) + ((room - 1) << 12)
        self.work = aligned(self.work_size)
        weights = self.weights.ctypes.data if self.weights is not None else None
        self.ctx = Ctx(weights, self.work.ctypes.data, self.work_size, 0, threads)
        for o in range(d.n_out):
            port = d.out[o]
            shape = (C.c_int64 * max(1, port.rank))()
            if d.out_shape(csym, o, shape) != 0:
                raise RuntimeError("the shapes do not fit")
            unknown |= -1 in shape[: port.rank]
            dims = [room if n == -1 else n for n in shape[: port.rank]]
            buf = aligned(int(np.prod(dims, dtype=np.int64)) * np.dtype(TYPES[port.type]).itemsize)
            self.tout[o] = self.tensor(buf, dims, port.type)
            self.outputs.append((port.name.decode(), buf, TYPES[port.type], self.keep[-1]))
        full = unknown and d.run(C.byref(self.ctx), self.tin, self.tout) == STATUS.index("ECAPACITY")
        if full and room > 1 << 16:
            raise ValueError("a size that the run computes has no bound")
        return not full

    def tensor(self, buf, shape, kind):
        dims = (C.c_int64 * max(1, len(shape)))(*shape)
        self.keep += [buf, dims]
        return Tensor(buf.ctypes.data, buf.nbytes, C.cast(dims, I64), kind, len(shape))

    def run(self):
        status = self.d.run(C.byref(self.ctx), self.tin, self.tout)
        if status:
            raise RuntimeError(STATUS[status])

    def results(self):
        """The outputs by name, after run()."""
        out = {}
        for (name, buf, kind, dims), t in zip(self.outputs, self.tout, strict=False):
            shape = list(dims)[: t.rank]
            n = int(np.prod(shape, dtype=np.int64))
            out[name] = buf.view(kind)[:n].reshape(shape).copy()
        return out
