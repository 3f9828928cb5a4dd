# SPDX-License-Identifier: Apache-2.0
"""ImageDecoder with the hook of the runtime, without libraries: BMP and PNM, and bytes that are neither.

    pictures.py --cnncc build/cnncc --build build/probes
"""

import argparse
import pathlib
import struct
import subprocess
import sys

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from probes import ECAPACITY, Compiled, model, rng, vi

EDATA = 7
RUNTIME = pathlib.Path(__file__).resolve().parent.parent.parent / "runtime"


class WithHook(Compiled):
    """The generated C and runtime/image.c in one library."""

    def __init__(self, opt, m, name):
        plain = opt.cc
        opt.cc = str(pathlib.Path(opt.build) / "cc-image")
        pathlib.Path(opt.build).mkdir(parents=True, exist_ok=True)
        pathlib.Path(opt.cc).write_text(f'#!/bin/sh\nexec {plain} "$@" {RUNTIME / "image.c"}\n')
        pathlib.Path(opt.cc).chmod(0o755)
        super().__init__(opt, m, name)
        opt.cc = plain


def bmp(rgb):
    height, width, _ = rgb.shape
    stride = (3 * width + 3) // 4 * 4
    rows = np.zeros((height, stride), np.uint8)
    rows[:, : 3 * width] = rgb[::-1, :, ::-1].reshape(height, -1)
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, rows.size, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + rows.size, 0, 0, 54) + head + rows.tobytes()


def pnm(rgb):
    height, width, _ = rgb.shape
    return b"P6 # made here\n%d %d\n255\n" % (width, height) + rgb.tobytes()


def formats(opt):
    rgb = rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    weights = np.array([19595, 38470, 7471], np.int64)
    gray = ((rgb.astype(np.int64) * weights).sum(-1, keepdims=True) + 32768 >> 16).astype(np.uint8)
    for name, want in (("RGB", rgb), ("BGR", rgb[..., ::-1]), ("Grayscale", gray)):
        m = model([h.make_node("ImageDecoder", ["x"], ["y"], pixel_format=name)], [vi("x", T.UINT8, ["n"])],
                  [vi("y", T.UINT8, ["h", "w", "c"])], opset=20)
        c = WithHook(opt, m, f"picture_{name}")
        for data in (bmp(rgb), pnm(rgb)):
            feeds = {"x": np.frombuffer(data, np.uint8)}
            status, got, whole = c.call(feeds, [want.nbytes])
            assert status == 0 and whole and got[0].shape == want.shape and (got[0] == want).all(), f"{name}: status {status}"
            status, _, whole = c.call(feeds, [want.nbytes - 1])
            assert status == ECAPACITY and whole, f"too little room: status {status}"
            for n in (0, 1, 20, len(data) - 1):
                status, _, whole = c.call({"x": np.frombuffer(data[:n], np.uint8)}, [want.nbytes])
                assert status == EDATA and whole, f"{n} bytes: status {status}"
            noise = np.frombuffer(data, np.uint8).copy()
            for _ in range(300):  # whatever the bytes are, the rooms stay whole
                noise[rng.integers(0, len(noise))] = rng.integers(0, 256)
                status, _, whole = c.call({"x": noise}, [want.nbytes])
                assert status in (0, ECAPACITY, EDATA) and whole, f"status {status}"


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--cnncc", required=True)
    p.add_argument("--build", required=True)
    p.add_argument("--cc", default="cc")
    opt = p.parse_args()
    try:
        formats(opt)
    except (AssertionError, subprocess.CalledProcessError) as e:
        print(f"FAILED formats: {e}\n0 passed, 1 failed, 0 skipped")
        return 1
    print("1 passed, 0 failed, 0 skipped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
