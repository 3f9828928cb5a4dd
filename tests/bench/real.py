# SPDX-License-Identifier: Apache-2.0
"""Times the real models of tests/models against onnxruntime, interleaved, at one thread.

    real.py --cnncc build/cnncc --build build/models [NAME]... [-- CNNCC OPTIONS]

A line a model: medians of both, the median of the blocks' ratios (above 1: the compiled model is the faster),
the difference of the results as a part of their range; then the geometric mean of the ratios. Both are
called from Python, which costs a few microseconds a call. Models that cannot be had, are refused, or have
outputs that are no plain tensors are named and left out. Nothing is asserted about time.
"""

import argparse
import math
import pathlib
import statistics
import sys

import numpy as np

import bench

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "models"))
import models  # noqa: E402
from catalogue import MODELS  # noqa: E402


class Left(Exception):
    """A model that is not timed, and why."""


def run_once(compiled, feeds, threads):
    if any(p.kind != 0 for p in compiled.d.in_[: compiled.d.n_in] + compiled.d.out[: compiled.d.n_out]):
        raise Left("has inputs or outputs that are no tensors")
    if any(x.dtype.kind in "US" for x in feeds.values()):
        raise Left("has inputs of text")
    try:
        compiled.bind(feeds, threads)
        compiled.run()
        return compiled.results()
    except (RuntimeError, KeyError, ValueError) as e:
        raise Left(f"{type(e).__name__}: {e}") from e


def error_of(want, got):
    worst = 0.0
    for name, w in want.items():
        g = got[name]
        if w.shape != g.shape or w.dtype == object:
            return math.inf
        if w.size:
            worst = max(worst, models.difference(w, g))
    return worst


def time_model(opt, model):
    path = models.fetch(model, pathlib.Path(opt.build))
    feeds = {k: np.ascontiguousarray(v) for k, v in models.inputs_of(model).items()}
    folder = pathlib.Path(opt.build) / "speed" / model["name"]
    if opt.keep and (folder / "m.so").exists():
        compiled = bench.Model(folder / "m.so")
    else:
        compiled, _ = bench.compile_model(opt, path, folder)
    got = run_once(compiled, feeds, opt.threads)
    peer = bench.session(path, opt.threads)
    names = [o.name for o in peer.get_outputs()]
    want = dict(zip(names, peer.run(None, feeds), strict=True))
    a, b, mid, low, high = bench.interleave(compiled.run, lambda: peer.run(None, feeds), opt)
    print(f"{model['name']:40} {statistics.median(a):9.4f} {statistics.median(b):9.4f} {mid:8.2f} "
          f"({low:.2f} to {high:.2f}) {error_of(want, got):9.1e}", flush=True)
    return mid


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--cnncc", required=True)
    p.add_argument("--build", required=True)
    p.add_argument("--cc", default="clang-19")
    p.add_argument("--cflags", help=f"default: {bench.CFLAGS}")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--rounds", type=int, default=5, help="pairs of blocks")
    p.add_argument("--seconds", type=float, default=0.1, help="length of a block")
    p.add_argument("--pause", type=float, default=0.02, help="between blocks")
    p.add_argument("--keep", action="store_true", help="do not compile what is compiled")
    p.add_argument("--prepare", action="store_true", help="compile only, for --keep")
    p.add_argument("name", nargs="*")
    args, rest = sys.argv[1:], []
    if "--" in args:
        args, rest = args[: args.index("--")], args[args.index("--") + 1 :]
    opt = p.parse_args(args)
    opt.option, ratios, left = rest, [], []
    print(f"{'model':40} {'cnncc ms':>9} {'ort ms':>9} {'speed':>8} {'':16} {'error':>9}")
    for model in MODELS:
        if opt.name and model["name"] not in opt.name:
            continue
        try:
            if opt.prepare:
                bench.compile_model(opt, models.fetch(model, pathlib.Path(opt.build)), pathlib.Path(opt.build) / "speed" / model["name"])
            else:
                ratios.append(time_model(opt, model))
        except (Left, RuntimeError, models.Absent, models.Wrong) as e:
            left.append(f"{model['name']} ({e})")
    if left:
        print("left out: " + ", ".join(left))
    if ratios:
        print(f"geometric mean of {len(ratios)}: {statistics.geometric_mean(ratios):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
