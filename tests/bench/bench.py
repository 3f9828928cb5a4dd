# SPDX-License-Identifier: Apache-2.0
"""Times compiled models and other engines, interleaved in one process.

    bench.py --cnncc build/cnncc --build build/bench [NAME | MODEL.onnx]... [-- CNNCC OPTIONS]

Without names all of zoo.py; the other engines are those of peers.py that are installed. The figures of a line
come from blocks of calls in turn, with a pause between them in which the threads of the others fall asleep;
`speed` is the median of the rounds' ratios of the fastest other engine to our C by the first compiler, above 1
where ours is the faster. Inputs and outputs are bound before; what is left of Python is a few microseconds a
call, on every side. Nothing is asserted about time; the exit status is 1 when results disagree or a model does
not compile. Writes bench.md, bench.json and, with matplotlib, speed.png and roofline.png into the build folder.
"""

import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import numpy as np
import onnx
import onnxruntime as ort

import work
from machine import Machine
from peers import PEERS, Compiled
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
    """The shared objects by compiler, and what making them cost."""
    folder.mkdir(parents=True, exist_ok=True)
    c, weights = folder / "m.c", folder / "m.bin"
    for old in (c, weights):
        old.unlink(missing_ok=True)
    cost = {"model": path.stat().st_size / 1e6}
    target = [] if any(o.startswith("--target") for o in opt.option) else ["--target", "native"]  # as CFLAGS
    cost["cnncc"], cost["peak"] = measured([opt.cnncc, str(path), "-o", str(c), "--prefix", "m", *target, *opt.option])
    made = {}
    for cc in opt.cc:
        made[cc] = folder / f"{cc}.so"
        made[cc].unlink(missing_ok=True)
        seconds, _ = measured([cc, *(opt.cflags or CFLAGS).split(), "-shared", "-fPIC", "-o", str(made[cc]), str(c), "-lm"])
        cost.setdefault("cc", seconds)
        if weights.exists():
            link = made[cc].with_suffix(".bin")
            link.unlink(missing_ok=True)
            link.hardlink_to(weights)
    cost["c"] = c.stat().st_size / 1e6
    cost["bin"] = weights.stat().st_size / 1e6 if weights.exists() else 0.0
    return made, cost


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


def block(call, seconds):
    """The times of the calls that fit into some seconds, in ms."""
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        t = time.perf_counter()
        call()
        times.append((time.perf_counter() - t) * 1e3)
    return times


def interleave(sides, opt):
    """All times of each side, and of each round the medians: {name: [ms]}, {name: [ms]}."""
    times, medians = {n: [] for n in sides}, {n: [] for n in sides}
    order = list(sides)
    for n in order:
        block(sides[n].run, min(0.2, opt.seconds))
    for i in range(opt.rounds):
        for n in order[:: 1 if i % 2 == 0 else -1]:
            time.sleep(opt.pause)
            t = block(sides[n].run, opt.seconds)
            times[n] += t
            medians[n].append(statistics.median(t))
        order = order[1:] + order[:1]
    return times, medians


def difference(want, got):
    return max(float(np.abs(w.astype(np.float64) - got[n]).max() / max(float(np.ptp(w)), 1e-30)) for n, w in want.items())


def all_peers(path, threads, feeds):
    """The engines that take the model."""
    found = {}
    for peer in PEERS:
        try:
            found[peer.name] = peer(path, threads, feeds)
        except Exception as e:  # whatever an engine throws where it cannot
            print(f"{path.stem}: {peer.name} does not run it: {str(e).splitlines()[0][:100]}", file=sys.stderr)
    return found


def compare(opt, name, path, made, feeds, threads):
    """The figures of one model at a number of threads."""
    peers = all_peers(path, threads, feeds)
    ours = {cc: Compiled(so, threads, feeds) for cc, so in made.items()}
    want = peers["onnxruntime"].results()
    row = {"model": name, "threads": threads, "error": max(difference(want, o.results()) for o in ours.values())}
    times, medians = interleave({**ours, **peers}, opt)
    first, *others = ours
    speed = [min(medians[p][i] for p in peers) / medians[first][i] for i in range(opt.rounds)]
    row["ms"] = {n: statistics.median(t) for n, t in times.items()}
    row["min"] = {n: min(t) for n, t in times.items()}
    row["speed"], row["low"], row["high"] = statistics.median(speed), min(speed), max(speed)
    row["compilers"] = {cc: statistics.median(a / b for a, b in zip(medians[cc], medians[first], strict=True)) for cc in others}
    row["work"] = ours[first].work_size / 1e6
    best = min(row["ms"][p] for p in peers)
    ops, least = work.operations(onnx.load(path), feeds), work.least_bytes(onnx.load(path), feeds, want)
    row["gflops"], row["peer_gflops"] = ops / row["ms"][first] / 1e6, ops / best / 1e6
    row["intensity"], row["gb_s"] = ops / least, least / row["ms"][first] / 1e6
    return row


def bench(opt, name, path):
    made, cost = compile_model(opt, path, pathlib.Path(opt.build) / name)
    feeds = random_feeds(onnx.load(path))
    rows = [compare(opt, name, path, made, feeds, t) for t in opt.threads]
    cost["work"], cost["error"] = rows[0]["work"], max(r["error"] for r in rows)
    return rows, cost


class Table:
    """Lines for people, as they come, and for a file."""

    def __init__(self, columns):
        self.columns, self.lines = columns, []
        self.put([c for c, _ in columns])
        self.lines.append("|" + "|".join("---" if w < 0 else "--:" for _, w in columns) + "|")

    def put(self, cells):
        cells = [str(c) for c in cells]
        print("  ".join(c.ljust(-w) if w < 0 else c.rjust(w) for c, (_, w) in zip(cells, self.columns, strict=True)), flush=True)
        self.lines.append("| " + " | ".join(cells) + " |")


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


def parse(parser):
    """The options; what is behind "--" goes to cnncc."""
    args, rest = sys.argv[1:], []
    if "--" in args:
        args, rest = args[: args.index("--")], args[args.index("--") + 1 :]
    opt = parser.parse_args(args)
    opt.option = rest
    return opt


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--cnncc", required=True)
    p.add_argument("--build", required=True)
    p.add_argument("--cc", nargs="+", default=["clang-19"], help="the first one is compared with the other engines")
    p.add_argument("--cflags", help=f"default: {CFLAGS}")
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    p.add_argument("--rounds", type=int, default=7, help="each with a block of every side")
    p.add_argument("--seconds", type=float, default=0.4, help="length of a block")
    p.add_argument("--pause", type=float, default=0.25, help="between blocks")
    p.add_argument("name", nargs="*")
    opt = parse(p)
    ort.set_default_logger_severity(4)
    folder = pathlib.Path(opt.build)
    machine = Machine(folder, opt.cc[0])
    top = {t: (machine.peak(t), machine.bandwidth(t)) for t in opt.threads}
    for t, (peak, band) in top.items():
        print(f"{t} thread{'s' if t > 1 else ''}: {peak:.0f} GFLOP/s, {band:.1f} GB/s")
    engines = [p.name for p in PEERS]
    table = Table([("model", -15), ("threads", 7), *((f"{n} ms", 14) for n in [*opt.cc, *engines]), ("speed", 5), ("from to", 12),
                   *((f"{cc}/{opt.cc[0]}", 12) for cc in opt.cc[1:]), ("GFLOP/s", 8), ("of peak", 7), ("GB/s", 6), ("error", 8)])
    rows, costs, failed = [], {}, []
    for name, path in targets(opt):
        try:
            new, costs[name] = bench(opt, name, path)
        except (RuntimeError, KeyError) as e:
            print(f"{name:14} {e}", flush=True)
            failed.append(name)
            continue
        for r in new:
            peak = top[r["threads"]][0]
            table.put([name, r["threads"], *(f"{r['ms'][n]:.3f}" if n in r["ms"] else "" for n in [*opt.cc, *engines]),
                       f"{r['speed']:.2f}", f"{r['low']:.2f} {r['high']:.2f}", *(f"{x:.2f}" for x in r["compilers"].values()),
                       f"{r['gflops']:.1f}", f"{r['gflops'] / peak:.0%}", f"{r['gb_s']:.1f}", f"{r['error']:.0e}"])
        rows += new
        if not costs[name]["error"] < 1e-3:
            failed.append(name)
    print()
    cost_table = Table([("model", -15), ("onnx MB", 8), ("C MB", 8), ("bin MB", 8), ("work MB", 8), ("cnncc s", 8), ("cnncc MB", 8),
                        ("cc s", 8)])
    for name, c in costs.items():
        cost_table.put([name, *(f"{c[k]:.2f}" for k in ("model", "c", "bin", "work", "cnncc")), f"{c['peak']:.0f}", f"{c['cc']:.1f}"])
    write(folder, opt, top, rows, table, cost_table)
    if failed:
        print("disagree or fail: " + ", ".join(failed))
    return 1 if failed else 0


def write(folder, opt, top, rows, *tables):
    """The files that the text at the top names."""
    (folder / "bench.json").write_text(json.dumps({"machine": top, "rows": rows}, indent=1))
    head = [f"{t} thread(s): {peak:.0f} GFLOP/s, {band:.1f} GB/s" for t, (peak, band) in top.items()]
    text = [f"# {platform.machine()}, {', '.join(opt.cc)}", "", *head, ""]
    for t in tables:
        text += [*t.lines, ""]
    (folder / "bench.md").write_text("\n".join(text))
    try:
        import picture
    except ImportError:
        return
    if rows:
        picture.ratios(rows, folder / "speed.png", "Speed beside the fastest of " + ", ".join(p.name for p in PEERS))
        if 1 in top:
            picture.roofline(rows, folder / "roofline.png", *top[1])


if __name__ == "__main__":
    sys.exit(main())
