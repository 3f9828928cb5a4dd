# SPDX-License-Identifier: Apache-2.0
"""Times training steps of compiled models and of other frameworks, interleaved.

    train.py --cnncc build/cnncc --build build/bench/train [--peers PYTHON] [convnet] [mlp] [resnet18]

convnet: that of the quickstart, batch 32; mlp: 784-256-128-10, batch 32; resnet18: for images of 32x32, with batch
normalization, batch 8. Adam, cross entropy, float32. PYTHON has some of TensorFlow with Keras, JAX and PyTorch (pip install
-r requirements-train.txt); each runs in a process of its own, which sleeps while another one is timed. `speed` is the median
of the rounds' ratios of the fastest other one to our C by the first compiler. Besides: the memory of our trainer, and the
share of the peak of the products that the definition has.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
import onnx

import bench
from machine import Machine
from zoo import Net

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "grad"))
import trainer  # noqa: E402

PEERS = ("keras", "keras-xla", "jax", "torch", "torch-compile")


def convnet():
    n = Net("convnet", [1, 1, 28, 28])
    x, c = "input", 1
    for k in (32, 64):
        w, b = n.weight(k, c, 3, 3, fan=9 * c), n.const(np.zeros(k, np.float32))
        x, c = n.op("MaxPool", n.op("Relu", n.op("Conv", x, w, b)), kernel_shape=[2, 2], strides=[2, 2]), k
    x = n.op("Relu", n.dense(n.op("Flatten", x), 1600, 128))
    return n.model(n.dense(x, 128, 10), [1, 10])


def mlp():
    n = Net("mlp", [1, 784])
    x = "input"
    for c, k in ((784, 256), (256, 128)):
        x = n.op("Relu", n.dense(x, c, k))
    return n.model(n.dense(x, 128, 10), [1, 10])


def resnet18():
    n = Net("resnet18", [1, 3, 32, 32])

    def conv(x, c, k, r=3, stride=1):
        y = n.op("Conv", x, n.weight(k, c, r, r, fan=c * r * r), strides=[stride] * 2, pads=[r // 2] * 4)
        one, zero = np.ones(k, np.float32), np.zeros(k, np.float32)
        return n.op("BatchNormalization", y, *(n.const(v) for v in (one, zero, zero, one)))

    x, c = n.op("Relu", conv("input", 3, 64)), 64
    for k, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for s in (stride, 1):
            y = conv(n.op("Relu", conv(x, c, k, 3, s)), k, k)
            x, c = n.op("Relu", n.op("Add", y, conv(x, c, k, 1, s) if s > 1 else x)), k
    return n.model(n.dense(n.op("Flatten", n.op("GlobalAveragePool", x)), 512, 10), [1, 10])


# batch; multiply-adds of a step for an example: forward, and twice as many backward but for the first layer's input
NETS = {"convnet": (convnet, 32, 3 * (121 * 9 * 32 * 64 + 1600 * 128 + 1280) + 2 * 676 * 9 * 32),
        "mlp": (mlp, 32, 3 * (256 * 128 + 1280) + 2 * 784 * 256),
        "resnet18": (resnet18, 8, 3 * 555_417_600)}


class Ours:
    def __init__(self, opt, name, cc, threads):
        make, batch, _ = NETS[name]
        folder = pathlib.Path(opt.build).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.onnx"
        onnx.save(make(), path)
        stem = folder / f"{name}_{cc}"
        subprocess.run([opt.cnncc, "--train", "--prefix=m", "--loss=cross_entropy", "--optimizer=adam", f"--batch={batch}", "--target=native",
                        *opt.option, str(path), "-o", f"{stem}.c"], check=True)
        subprocess.run([cc, *(opt.cflags or bench.CFLAGS).split(), "-shared", "-fPIC", "-o", f"{stem}.so", f"{stem}.c", "-lm"], check=True)
        self.t = trainer.Trainer(f"{stem}.so", np.float32, ("input", "target"), ("output",), True, threads)
        rng = np.random.default_rng(1)
        shape = [d.dim_value for d in make().graph.input[0].type.tensor_type.shape.dim[1:]]
        feeds = {"input": rng.standard_normal((batch, *shape)).astype(np.float32), "target": rng.integers(0, 10, batch)}
        first = self.t.train_step(feeds)
        last = [self.t.train_step(feeds) for _ in range(10)][-1]
        if not last < first:
            raise RuntimeError(f"{name} does not train: {first} before, {last} after")
        self.t.hyper.lr = 1e-7  # see train_peers.py
        self.step = lambda: self.t.train_step(feeds)
        self.memory = sum(a.nbytes for a in self.t.memory.values())

    def ms(self, seconds):
        n, start = 0, time.perf_counter()
        while n < 3 or time.perf_counter() - start < seconds:
            self.step()
            n += 1
        return 1e3 * (time.perf_counter() - start) / n


class Peer:
    def __init__(self, opt, framework, name, threads):
        worker = pathlib.Path(__file__).with_name("train_peers.py")
        self.p = subprocess.Popen([opt.peers, str(worker), framework, name, str(NETS[name][1]), str(threads)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.p.stdout:
            if line == "ready\n":
                return
        raise RuntimeError(f"{framework}: not to be had here")

    def ms(self, seconds):
        self.p.stdin.write(f"{seconds}\n")
        self.p.stdin.flush()
        return float(self.p.stdout.readline())

    def end(self):
        self.p.stdin.close()
        self.p.wait()


def compare(opt, name, threads, machine):
    runs = {cc: Ours(opt, name, cc, threads) for cc in opt.cc}
    peers = []
    for framework in opt.framework if opt.peers else ():
        try:
            peers.append(Peer(opt, framework, name, threads))
            runs[framework] = peers[-1]
        except RuntimeError as e:
            print(e, file=sys.stderr)
    times = {k: [] for k in runs}
    for _ in range(opt.rounds):
        for k, run in runs.items():
            time.sleep(opt.pause)
            times[k].append(run.ms(opt.seconds))
    for p in peers:
        p.end()
    ours = times[opt.cc[0]]
    others = [min(times[k][i] for k in runs if k not in opt.cc) for i in range(opt.rounds)] if peers else []
    ratio = sorted(o / t for o, t in zip(others, ours, strict=True)) if others else []
    speed = f"{statistics.median(ratio):6.2f} ({ratio[0]:.2f} to {ratio[-1]:.2f})" if ratio else ""
    share = 2e-9 * NETS[name][1] * NETS[name][2] / (1e-3 * statistics.median(ours)) / machine.peak(threads)
    print(f"{name:9} {threads} thread{'s' * (threads > 1):1} " + "  ".join(f"{k} {statistics.median(v):.3f}" for k, v in times.items()) +
          f"  speed {speed}  {100 * share:.0f}% of the peak  {runs[opt.cc[0]].memory / 1e6:.1f} MB", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("name", nargs="*", choices=[*NETS, []], default=[])
    p.add_argument("--cnncc", required=True)
    p.add_argument("--build", required=True)
    p.add_argument("--peers", help="the Python of the other frameworks")
    p.add_argument("--framework", nargs="+", default=PEERS, choices=PEERS)
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    p.add_argument("--cc", nargs="+", default=["clang-19"])
    p.add_argument("--cflags")
    p.add_argument("--option", action="append", default=[], help="of cnncc")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--seconds", type=float, default=0.5, help="of a block of steps")
    p.add_argument("--pause", type=float, default=0.2, help="between blocks")
    opt = p.parse_args()
    machine = Machine(opt.build)
    for name in opt.name or NETS:
        for threads in opt.threads:
            compare(opt, name, threads, machine)


if __name__ == "__main__":
    main()
