# SPDX-License-Identifier: Apache-2.0
"""GPT-2 token by token from one compiled file (--state), against onnxruntime: the same greedy tokens?

    gpt2.py --cnncc build/cnncc --build build/probes [--full] [--steps 64] [--threads 1] [--no-reference]

--full is the model of 124 million parameters, else a small one. Prints the time for a token, and closes with 'N passed, N failed, N skipped'.
"""

import argparse
import ctypes as C
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
import onnx

for folder in ("bench", "models"):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / folder))
import loader  # noqa: E402
import transformers  # noqa: E402

CFLAGS = "-std=gnu11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp".split()


class Decoder:
    """A compiled decoder; its caches stay where they are from step to step."""

    def __init__(self, so, layers, heads, width, cap, threads):
        self.m = loader.Model(so)
        self.d, self.threads = self.m.d, threads
        self.state_in = {self.d.state[i].in_ for i in range(self.d.n_state)}
        self.state_out = {self.d.state[i].out: self.d.state[i].in_ for i in range(self.d.n_state)}
        self.tin, self.tout = (loader.Tensor * self.d.n_in)(), (loader.Tensor * self.d.n_out)()
        self.keep = []
        for i in self.state_in:
            buf, shape = loader.aligned(heads * cap * width * 4), (C.c_int64 * 4)(1, heads, 0, width)
            self.keep.append((buf, shape))
            self.tin[i] = loader.Tensor(buf.ctypes.data, buf.nbytes, C.cast(shape, loader.I64), 1, 4)
        for o, i in self.state_out.items():
            self.tout[o] = loader.Tensor(None, 0, self.tin[i].shape, 1, 4)
        self.names = [self.d.in_[i].name.decode() for i in range(self.d.n_in)]
        self.work = loader.aligned(64)
        self.past = 0

    def step(self, tokens):
        """Logits of the last token."""
        d, n = self.d, len(tokens)
        feeds = {"input_ids": np.array([tokens], np.int64), "attention_mask": np.ones((1, self.past + n), np.int64)}
        sym = [1] * d.n_sym
        for i, name in enumerate(self.names):
            if name in feeds:
                x = feeds[name]
                shape = (C.c_int64 * 2)(*x.shape)
                feeds[name + " "] = shape
                self.tin[i] = loader.Tensor(x.ctypes.data, x.nbytes, C.cast(shape, loader.I64), 7, 2)
            for a in range(d.in_[i].rank):
                if d.in_[i].dim[a] < 0 and d.in_[i].sym[a] >= 0:
                    sym[d.in_[i].sym[a]] = self.tin[i].shape[a]
        csym = (C.c_int64 * len(sym))(*sym)
        size = d.work_size(csym, self.threads)
        if size > self.work.nbytes:
            self.work = loader.aligned(size * 2)
        o = next(o for o in range(d.n_out) if o not in self.state_out)
        vocab = d.out[o].dim[2]
        logits, shape = np.empty((n, vocab), np.float32), (C.c_int64 * 3)()
        self.tout[o] = loader.Tensor(logits.ctypes.data, logits.nbytes, C.cast(shape, loader.I64), 1, 3)
        ctx = loader.Ctx(self.m.weights.ctypes.data if self.m.weights is not None else None, self.work.ctypes.data, self.work.nbytes, 0, self.threads)
        t = time.perf_counter()
        status = d.run(C.byref(ctx), self.tin, self.tout)
        self.seconds = time.perf_counter() - t
        if status:
            raise AssertionError(loader.STATUS[status])
        self.past += n
        return logits[-1]


def reference(path, layers, heads, width, prompt, steps):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    s = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in s.get_outputs()]
    past = {i.name: np.zeros((1, heads, 0, width), np.float32) for i in s.get_inputs() if i.name.startswith("past")}
    tokens, new, logits = list(prompt), list(prompt), []
    for _ in range(steps):
        out = dict(zip(names, s.run(None, {"input_ids": np.array([new]), "attention_mask": np.ones((1, len(tokens)), np.int64), **past}), strict=True))
        past = {k: out[k.replace("past_key_values", "present")] for k in past}
        logits.append(out["logits"][0, -1])
        new = [int(logits[-1].argmax())]
        tokens += new
    return tokens, logits


def build(o, full, model, layers, cap):
    folder = pathlib.Path(o.build)
    folder.mkdir(parents=True, exist_ok=True)
    name = "gpt2" if full else "gpt2_small"
    path, c, so = (folder / f"{name}.{e}" for e in ("onnx", "c", "so"))
    if not path.exists():
        onnx.save(model(), path)
    states = [w for i in range(layers) for k in ("key", "value")
              for w in ("--state", f"past_key_values.{i}.{k}=present.{i}.{k},cap={cap}")]
    subprocess.run([o.cnncc, str(path), "-o", str(c), "--prefix", "m", "--weights", "file", "--dim", "batch=1", *states, *o.option], check=True)
    subprocess.run([o.cc, *CFLAGS, "-shared", "-fPIC", "-o", str(so), str(c)], check=True)
    return path, so


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--cnncc", default="build/cnncc")
    a.add_argument("--build", default="build/probes")
    a.add_argument("--cc", default="clang-19")
    a.add_argument("--full", action="store_true")
    a.add_argument("--steps", type=int, default=64)
    a.add_argument("--threads", type=int, default=1)
    a.add_argument("--no-reference", action="store_true", help="time only")
    a.add_argument("--option", action="append", default=[], help="for cnncc")
    o = a.parse_args()
    layers, heads, width, cap, vocab = (12, 12, 64, 1024, 50257) if o.full else (2, 3, 32, 128, 300)
    path, so = build(o, o.full, transformers.gpt2 if o.full else transformers.SMALL["gpt2"], layers, cap)
    prompt = [int(x) for x in np.random.default_rng(3).integers(0, vocab, 9)]
    d = Decoder(so, layers, heads, width, cap, o.threads)
    tokens, new, seconds, logits = list(prompt), list(prompt), [], []
    for _ in range(o.steps):
        logits.append(d.step(new))
        seconds.append(d.seconds)
        new = [int(logits[-1].argmax())]
        tokens += new
    size = d.d.weights_size
    median = statistics.median(seconds[1:])
    print(f"{o.steps} steps, {o.threads} threads: prompt of {len(prompt)} {seconds[0] * 1e3:.2f} ms, a token {median * 1e3:.2f} ms (min {min(seconds[1:]) * 1e3:.2f}), "
          f"{size / 1e6:.0f} MB of weights, {d.work.nbytes / 2e6:.2f} MB of work area")
    failed = int(size > 1.05 * path.stat().st_size)  # the embedding is the last layer's matrix and stored once
    if failed:
        print(f"FAILED: {size} bytes of weights for a model of {path.stat().st_size}")
    if not o.no_reference:
        want, right = reference(path, layers, heads, width, prompt, o.steps)
        worst = max(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in zip(logits, right, strict=True))
        same = tokens == want
        failed |= not (same and worst < 1e-4)
        print(f"tokens {'equal' if same else 'DIFFER'}, logits within {worst:.1e} of their range")
    print(f"{1 - failed} passed, {int(failed)} failed, 0 skipped")
    return failed


if __name__ == "__main__":
    sys.exit(main())
