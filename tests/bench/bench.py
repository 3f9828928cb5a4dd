# SPDX-License-Identifier: Apache-2.0
"""Times compiled models and onnxruntime, interleaved in one process.

    bench.py --cnncc build/cnncc --build build/bench [NAME | MODEL.onnx]... [-- CNNCC OPTIONS]

Without names all of zoo.py. The figures of a line come from alternating blocks of calls with a
pause between them, in which the threads of the other side fall asleep; `speed` is the median of the blocks'
ratios, above 1 where the compiled model is the faster. Nothing is asserted about time; the exit
status is 1 when results disagree or a model does not compile.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
import onnx
import onnxruntime as ort

from loader import Model
from zoo import ZOO

CFLAGS = "-std=gnu11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp"


# A process counts the peak of the one it was forked from, so that a small one has to start it.
STARTER = """
import os, sys
pid = os.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""


def measured(cmd):
    """Runs a program: seconds and peak memory in MB (10 and less look alike)."""
    start = time.monotonic()
    run = subprocess.run([sys.executable, "-S", "-E", "-c", STARTER, *cmd], stdout=subprocess.PIPE, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"{pathlib.Path(cmd[0]).name} ended with {run.returncode}")
    return time.monotonic() - start, int(run.stdout.split()[-1]) / 1024


def compile_model(opt, path, folder):
    """The loaded model and what making it cost."""
    folder.mkdir(parents=True, exist_ok=True)
    c, so = folder / "m.c", folder / "m.so"
    for old in (c, so, folder / "m.bin"):
        old.unlink(missing_ok=True)
    cost = {"model": path.stat().st_size / 1e6}
    cost["cnncc"], cost["peak"] = measured([opt.cnncc, str(path), "-o", str(c), "--prefix", "m", *opt.option])
    flags = (opt.cflags or CFLAGS).split()
    cost["cc"], _ = measured([opt.cc, *flags, "-shared", "-fPIC", "-o", str(so), str(c), "-lm"])
    cost["c"] = c.stat().st_size / 1e6
    weights = folder / "m.bin"
    cost["bin"] = weights.stat().st_size / 1e6 if weights.exists() else 0.0
    return Model(so), cost


def random_feeds(model):
    """Normal values of the fixed shapes; symbols are 1."""
    rng = np.random.default_rng(7)
    inits = {i.name for i in model.graph.initializer}
    feeds = {}
    for info in model.graph.input:
        if info.name in inits:
            continue
        shape = [d.dim_value or 1 for d in info.type.tensor_type.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        x = rng.normal(size=shape) if kind.kind == "f" else np.zeros(shape)
        feeds[info.name] = x.astype(kind)
    return feeds


def session(path, threads):
    opts = ort.SessionOptions()
    opts.intra_op_num_threads = threads
    opts.inter_op_num_threads = 1
    opts.log_severity_level = 4
    return ort.InferenceSession(str(path), opts, providers=["CPUExecutionProvider"])


def block(call, seconds):
    """The times of the calls that fit into some seconds, in ms."""
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        t = time.perf_counter()
        call()
        times.append((time.perf_counter() - t) * 1e3)
    return times


def interleave(ours, theirs, opt):
    """Times of both, and the median ratio of neighbouring blocks."""
    a, b, ratio = [], [], []
    for call in (ours, theirs):
        block(call, 0.2)
    for i in range(opt.rounds):
        pair = {}
        for key, call in (("a", ours), ("b", theirs))[:: 1 if i % 2 == 0 else -1]:
            time.sleep(opt.pause)
            pair[key] = block(call, opt.seconds)
        a += pair["a"]
        b += pair["b"]
        ratio.append(statistics.median(pair["b"]) / statistics.median(pair["a"]))
    return a, b, statistics.median(ratio), min(ratio), max(ratio)


def difference(want, got):
    return max(
        float(np.abs(w.astype(np.float64) - got[n]).max() / max(float(np.ptp(w)), 1e-30)) for n, w in want.items()
    )


def bench(opt, name, path):
    compiled, cost = compile_model(opt, path, pathlib.Path(opt.build) / name)
    feeds = random_feeds(onnx.load(path))
    rows, worst = [], 0.0
    for threads in opt.threads:
        peer = session(path, threads)
        names = [o.name for o in peer.get_outputs()]
        want = dict(zip(names, peer.run(None, feeds), strict=True))
        compiled.bind(feeds, threads)
        compiled.run()
        worst = max(worst, difference(want, compiled.results()))
        a, b, mid, low, high = interleave(compiled.run, lambda p=peer: p.run(None, feeds), opt)
        rows.append(f"{name:14} {threads:7} {statistics.median(a):9.3f} {min(a):9.3f} {statistics.median(b):9.3f} "
                    f"{min(b):9.3f} {mid:8.2f} ({low:.2f} to {high:.2f})")
    cost["work"], cost["error"] = compiled.work_size / 1e6, worst
    return rows, cost


def targets(opt):
    """Pairs of name and path; models of the zoo are written into the build folder."""
    folder = pathlib.Path(opt.build)
    folder.mkdir(parents=True, exist_ok=True)
    for name in opt.name or ZOO:
        path = pathlib.Path(name)
        if name in ZOO:
            path = folder / f"{name}.onnx"
            if not path.exists():
                onnx.save(ZOO[name](), path)
        yield path.stem, path


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--cnncc", required=True)
    p.add_argument("--build", required=True)
    p.add_argument("--cc", default="clang-19")
    p.add_argument("--cflags", help=f"default: {CFLAGS}")
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    p.add_argument("--rounds", type=int, default=7, help="pairs of blocks")
    p.add_argument("--seconds", type=float, default=0.4, help="length of a block")
    p.add_argument("--pause", type=float, default=0.25, help="between blocks")
    p.add_argument("name", nargs="*")
    args, rest = sys.argv[1:], []
    if "--" in args:
        args, rest = args[: args.index("--")], args[args.index("--") + 1 :]
    opt = p.parse_args(args)
    opt.option = rest
    costs, failed = {}, []
    print(f"{'model':14} {'threads':>7} {'cnncc ms':>9} {'min':>9} {'ort ms':>9} {'min':>9} {'speed':>8}")
    for name, path in targets(opt):
        try:
            rows, costs[name] = bench(opt, name, path)
            print("\n".join(rows), flush=True)
            if not costs[name]["error"] < 1e-3:
                failed.append(name)
        except RuntimeError as e:
            print(f"{name:14} {e}", flush=True)
            failed.append(name)
    print(f"\n{'model':14} {'onnx MB':>8} {'C MB':>8} {'bin MB':>8} {'work MB':>8} {'cnncc s':>8} {'peak MB':>8} "
          f"{'cc s':>6} {'error':>8}")
    for name, c in costs.items():
        print(f"{name:14} {c['model']:8.2f} {c['c']:8.2f} {c['bin']:8.2f} {c['work']:8.2f} {c['cnncc']:8.2f} "
              f"{c['peak']:8.0f} {c['cc']:6.1f} {c['error']:8.1e}")
    if failed:
        print("disagree or fail: " + ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
