# SPDX-License-Identifier: Apache-2.0
"""Times real models compiled for any size against the same models compiled for the size, interleaved.

    sizes.py --cnncc build/cnncc --build build/models [NAME]... [-- CNNCC OPTIONS]

A line a model and set of sizes: milliseconds of both, the median of the rounds' ratios any size / that size
(1: leaving sizes open costs nothing), the same ratio of the memory. Models without open sizes are left out.
"""

import copy
import pathlib
import statistics
import sys

import numpy as np

import bench
from loader import Model
from real import Left, ours, parser_of

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "models"))
import models  # noqa: E402
from catalogue import MODELS  # noqa: E402


def symbols(so, feeds):
    """The open sizes of a compiled model, as these inputs have them."""
    d, found = Model(so).d, {}
    for i in range(d.n_in):
        port = d.in_[i]
        for a in range(port.rank):
            if port.dim[a] < 0 and port.sym[a] >= 0:
                found[d.sym[port.sym[a]].decode()] = feeds[port.name.decode()].shape[a]
    return found


def compiled(opt, path, folder, option):
    at = copy.copy(opt)
    at.option = [*opt.option, *option]
    bench.compile_model(at, path, folder)
    return folder / f"{opt.cc[0]}.so"


def compare(opt, model):
    path = models.fetch(model, pathlib.Path(opt.build))
    folder = pathlib.Path(opt.build) / "open" / model["name"]
    any_size = compiled(opt, path, folder, [])
    for label, feeds in models.cases(model, models.inputs_of(model)):
        feeds = {k: np.array(v, order="C") for k, v in feeds.items()}
        free = ours(any_size, feeds, opt.threads)
        sizes = symbols(any_size, feeds)
        if not sizes:
            raise Left("has no open sizes")
        that = ours(compiled(opt, path, folder / "x".join(str(n) for n in sizes.values()),
                             [x for s, n in sizes.items() for x in ("--dim", f"{s}={n}")]), feeds, opt.threads)
        times, medians = bench.interleave({"any": free, "that": that}, opt)
        ratio = [medians["any"][i] / medians["that"][i] for i in range(opt.rounds)]
        print(f"{model['name']:32} {label.strip():14} {statistics.median(times['any']):9.4f} {statistics.median(times['that']):9.4f} "
              f"{statistics.median(ratio):6.2f} ({min(ratio):.2f} to {max(ratio):.2f}) {free.work_size / 1e6:8.2f} MB "
              f"{free.work_size / max(1, that.work_size):6.2f}  {sizes}", flush=True)


def main():
    opt, left = bench.parse(parser_of(__doc__)), []
    for model in MODELS:
        if opt.name and model["name"] not in opt.name:
            continue
        try:
            compare(opt, model)
        except (Left, RuntimeError, models.Absent, models.Wrong) as e:
            left.append(f"{model['name']} ({e})")
    if left:
        print("left out: " + ", ".join(left))
    return 0


if __name__ == "__main__":
    sys.exit(main())
