# SPDX-License-Identifier: Apache-2.0
"""Inputs and outputs of 2, 4 and 6 bits are packed as ONNX packs them, whatever the number of elements.

    packed.py --cnncc build/cnncc --build build/probes
"""

import ctypes as C

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from probes import ECAPACITY, ROOM, Compiled, loader, model, rng, run_all, vi

TYPES = {
    "uint4": (T.UINT4, 4, ml_dtypes.uint4), "int4": (T.INT4, 4, ml_dtypes.int4), "uint2": (T.UINT2, 2, ml_dtypes.uint2),
    "int2": (T.INT2, 2, ml_dtypes.int2), "float4e2m1": (T.FLOAT4E2M1, 4, ml_dtypes.float4_e2m1fn),
    "float6e2m3": (T.FLOAT6E2M3, 6, ml_dtypes.float6_e2m3fn), "float6e3m2": (T.FLOAT6E3M2, 6, ml_dtypes.float6_e3m2fn),
}


def pack(codes, bits):
    """One number of all the bits, the first element lowest."""
    whole = sum(int(c) << (i * bits) for i, c in enumerate(codes.reshape(-1)))
    return np.frombuffer(whole.to_bytes((codes.size * bits + 7) // 8, "little"), np.uint8).copy()


def values(codes, bits, kind):
    """What the codes stand for, in float32."""
    if np.dtype(kind).name in ("int4", "int2"):
        half = 1 << (bits - 1)
        return ((codes.astype(np.int64) ^ half) - half).astype(np.float32)
    return codes.view(kind).astype(np.float32)


def run(c, inputs, kinds, caps):
    """inputs: pairs of bytes and shape. (status, the outputs' bytes, whether nothing else was written)"""
    d, m = c.model.d, c.model
    m.keep = []
    tin, tout = (loader.Tensor * len(inputs))(), (loader.Tensor * len(caps))()
    for i, (data, shape) in enumerate(inputs):
        buf = loader.aligned(data.nbytes)
        buf[:] = data
        tin[i] = m.tensor(buf, shape, kinds[i])
    bufs = [loader.aligned(n + ROOM) for n in caps]
    for o, (b, n) in enumerate(zip(bufs, caps, strict=True)):
        b[:] = 0xA5
        tout[o] = m.tensor(b, [0] * d.out[o].rank, d.out[o].type)
        tout[o].cap = n
    size = d.work_size((C.c_int64 * 1)(inputs[0][1][0]), 1)
    work = loader.aligned(size + ROOM)
    work[size:] = 0xA5
    ctx = loader.Ctx(None, work.ctypes.data, size, 0, 1)
    status = d.run(C.byref(ctx), tin, tout)
    whole = all((b[n:] == 0xA5).all() for b, n in zip([*bufs, work], [*caps, size], strict=True))
    return status, [b[:n] for b, n in zip(bufs, caps, strict=True)], whole


def probe_of(name):
    code, bits, kind = TYPES[name]

    def probe(opt):
        nodes = [h.make_node("Cast", ["x"], ["value"], to=T.FLOAT), h.make_node("Cast", ["r"], ["small"], to=code)]
        outputs = [vi("value", T.FLOAT, ["n", 3]), vi("small", code, ["n", 3])]
        if bits != 6:  # those are only cast
            nodes += [h.make_node("Transpose", ["x"], ["turned"]), h.make_node("Identity", ["x"], ["same"])]
            outputs += [vi("turned", code, [3, "n"]), vi("same", code, ["n", 3])]
        m = model(nodes, [vi("x", code, ["n", 3]), vi("r", T.FLOAT, ["n", 3])], outputs, opset=onnx.defs.onnx_opset_version())
        m.ir_version = onnx.IR_VERSION
        c = Compiled(opt, m, f"packed_{name}")
        for n in (1, 2, 5, 8, 0, 37):
            codes = rng.integers(0, 1 << bits, (n, 3)).astype(np.uint8)
            numbers = values(codes, bits, kind)
            x = pack(codes, bits)
            inputs = [(x, (n, 3)), (numbers.reshape(-1).view(np.uint8), (n, 3))]
            want = [numbers.reshape(-1).view(np.uint8), x, pack(codes.T, bits), x][: len(outputs)]
            caps = [w.nbytes for w in want]
            status, got, whole = run(c, inputs, [code, T.FLOAT], caps)
            assert status == 0 and whole, f"n = {n}: status {status}, whole {whole}"
            for port, g, w in zip(outputs, got, want, strict=True):
                assert (g == w).all(), f"n = {n}: {port.name}"
            for o in range(len(want) if n else 0):
                less = [b - (i == o) for i, b in enumerate(caps)]
                status, _, whole = run(c, inputs, [code, T.FLOAT], less)
                assert status == ECAPACITY and whole, f"n = {n}: a byte less for output {o}: status {status}"

    return probe


def loop(opt):
    """Rows of a number that the run finds, packed behind each other."""
    body = h.make_graph([h.make_node("Identity", ["c"], ["c2"]), h.make_node("Identity", ["x"], ["row"])], "body",
                        [vi("i", T.INT64, []), vi("c", T.BOOL, [])], [vi("c2", T.BOOL, []), vi("row", T.INT4, [3])])
    m = model([h.make_node("Loop", ["trips", ""], ["y"], body=body)], [vi("x", T.INT4, [3]), vi("trips", T.INT64, [])],
              [vi("y", T.INT4, ["n", 3])], opset=onnx.defs.onnx_opset_version())
    m.ir_version = onnx.IR_VERSION
    c = Compiled(opt, m, "packed_loop")
    codes = np.array([9, 2, 15], np.uint8)
    for trips in (0, 1, 4, 5):
        want = pack(np.tile(codes, trips), 4)
        inputs = [(pack(codes, 4), (3,)), (np.array([trips]).view(np.uint8), ())]
        for less in (0, 1):
            if trips == 0 and less:
                continue
            status, (y,), whole = run(c, inputs, [T.INT4, T.INT64], [want.nbytes - less])
            assert whole and status == (ECAPACITY if less else 0), f"{trips} trips, {less} less: status {status}"
            assert less or (y == want).all(), f"{trips} trips"


if __name__ == "__main__":
    run_all([(name, probe_of(name)) for name in TYPES] + [("rows of a loop", loop)], __doc__)
