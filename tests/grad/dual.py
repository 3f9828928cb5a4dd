# SPDX-License-Identifier: Apache-2.0
"""Generated C (of a float64 model) as C++ over dual numbers, see dual.h."""

import pathlib
import re
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "bench"))
import loader  # noqa: E402

FLAGS = ["-std=gnu++17", "-O0", "-w", "-DCNN_PORTABLE", "-Drestrict=__restrict", "-fpermissive", f"-I{HERE}"]


def to_cpp(c, cpp):
    """Writes the C file c as C++ with dual for double."""
    text = pathlib.Path(c).read_text()
    text = re.sub(r"\bdouble\b", "dual", text)
    text = text.replace("unsigned char *const work = (unsigned char *)ctx->work;", "const twice work = {(unsigned char *)ctx->work};")
    text = text.replace("unsigned char *const scratch =", "const twice scratch =")
    text = text.replace("unsigned char *restrict scratch", "twice scratch")
    text = re.sub(r"\b__builtin_(sqrt|floor|ceil|trunc|rint|nearbyint|fabs)\b", r"\1", text)
    pathlib.Path(cpp).write_text('#include "dual.h"\n' + text)


class Dual(loader.Model):
    """A model compiled so; feeds are (value, tangent) pairs or, for what does not move, values."""

    def run_dual(self, feeds):
        """The outputs by name: (value, tangent), or a value where an output is of another type."""
        d, self.keep, outs = self.d, [], []
        tin, tout = (loader.Tensor * max(1, d.n_in))(), (loader.Tensor * max(1, d.n_out))()
        sym = [1] * d.n_sym
        for i in range(d.n_in):
            port = d.in_[i]
            x = feeds[port.name.decode()]
            if port.type == 11:
                v, t = x if isinstance(x, tuple) else (x, np.zeros_like(x))
                shape, x = v.shape, np.stack([np.asarray(v, np.float64), np.asarray(t, np.float64)], axis=-1)
            else:
                shape = x.shape
            buf = loader.aligned(x.nbytes)
            buf[:] = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
            tin[i] = self.tensor(buf, shape, port.type)
            for a in range(port.rank):
                if port.dim[a] < 0 and port.sym[a] >= 0:
                    sym[port.sym[a]] = shape[a]
        csym = (loader.C.c_int64 * max(1, d.n_sym))(*sym)
        for o in range(d.n_out):
            port = d.out[o]
            shape = (loader.C.c_int64 * max(1, port.rank))()
            if d.out_shape(csym, o, shape) != 0:
                raise RuntimeError("the shapes do not fit")
            dims = list(shape)[: port.rank]
            size = int(np.prod(dims, dtype=np.int64)) * np.dtype(loader.TYPES[port.type]).itemsize
            buf = loader.aligned(2 * size + 16)
            tout[o] = self.tensor(buf, dims, port.type)
            outs.append((port.name.decode(), buf, port.type, self.keep[-1], port.rank))
        size = d.work_size(csym, 1)
        work = loader.aligned(2 * size + 256)
        ctx = loader.Ctx(None, work.ctypes.data, 2 * size + 128, 0, 1)
        status = d.run(loader.C.byref(ctx), tin, tout)
        if status:
            raise RuntimeError(loader.STATUS[status])
        result = {}
        for name, buf, kind, dims, rank in outs:
            shape = list(dims)[:rank]
            n = int(np.prod(shape, dtype=np.int64))
            if kind == 11:
                a = buf[: 16 * n].view(np.float64).reshape([*shape, 2])
                result[name] = (a[..., 0].copy(), a[..., 1].copy())
            else:
                result[name] = buf.view(loader.TYPES[kind])[:n].reshape(shape).copy()
        return result
