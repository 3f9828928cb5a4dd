# SPDX-License-Identifier: Apache-2.0
"""Times the real models of tests/models against the other engines of peers.py, interleaved.

    real.py --cnncc build/cnncc --build build/models [NAME]... [-- CNNCC OPTIONS]

A line a model: medians, the median of the rounds' ratios of the fastest other engine to ours (above 1: ours is
the faster), the difference of the results as a part of their range; then the geometric mean of the ratios. All
are called from Python, which costs a few microseconds a call. Models that cannot be had, are refused, or have
outputs that are no plain tensors are named and left out. Nothing is asserted about time.
"""

import argparse
import math
import pathlib
import statistics
import sys

import numpy as np

import bench
from loader import Model
from peers import PEERS, Compiled

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "models"))
import models  # noqa: E402
from catalogue import MODELS  # noqa: E402


class Left(Exception):
    """A model that is not timed, and why."""


def ours(path, feeds, threads):
    d = Model(path).d
    if any(p.kind != 0 for p in d.in_[: d.n_in] + d.out[: d.n_out]):
        raise Left("has inputs or outputs that are no tensors")
    if any(x.dtype.kind in "US" for x in feeds.values()):
        raise Left("has inputs of text")
    try:
        return Compiled(path, threads, feeds)
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
    feeds = {k: np.array(v, order="C") for k, v in models.inputs_of(model).items()}  # of rank 0 too
    folder = pathlib.Path(opt.build) / "speed" / model["name"]
    so = folder / f"{opt.cc[0]}.so"
    if not (opt.keep and so.exists()):
        bench.compile_model(opt, path, folder)
    mine = ours(so, feeds, opt.threads)
    got, peers = mine.results(), bench.all_peers(path, opt.threads, feeds)
    want = peers["onnxruntime"].results()
    times, medians = bench.interleave({"cnncc": mine, **peers}, opt)
    speed = [min(medians[p][i] for p in peers) / medians["cnncc"][i] for i in range(opt.rounds)]
    ms = [f"{statistics.median(times[n]):9.4f}" if n in times else " " * 9 for n in ["cnncc", *(p.name for p in PEERS)]]
    print(f"{model['name']:40} {' '.join(ms)} {statistics.median(speed):8.2f} ({min(speed):.2f} to {max(speed):.2f}) "
          f"{error_of(want, got):9.1e}", flush=True)
    return statistics.median(speed)


def parser_of(doc):
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--cnncc", required=True)
    p.add_argument("--build", required=True)
    p.add_argument("--cc", nargs=1, default=["clang-19"])
    p.add_argument("--cflags", help=f"default: {bench.CFLAGS}")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--rounds", type=int, default=5, help="pairs of blocks")
    p.add_argument("--seconds", type=float, default=0.1, help="length of a block")
    p.add_argument("--pause", type=float, default=0.02, help="between blocks")
    p.add_argument("name", nargs="*")
    return p


def main():
    p = parser_of(__doc__)
    p.add_argument("--keep", action="store_true", help="do not compile what is compiled")
    p.add_argument("--prepare", action="store_true", help="compile only, for --keep")
    opt = bench.parse(p)
    ratios, left = [], []
    print(f"{'model':40} {'cnncc ms':>9} {' '.join(f'{p.name[:6]} ms' for p in PEERS)} {'speed':>8} {'':16} {'error':>9}")
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
