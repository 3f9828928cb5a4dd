# SPDX-License-Identifier: Apache-2.0
"""Looks for the settings under which the quickstart's network learns Fashion-MNIST best, with Optuna.

    search.py FOLDER [--trials 24] [--images 12000] [--epochs 3] [--threads 1] [--at-least A]

FOLDER has the unpacked data set and a trainer for each optimizer, adam.so, lion.so and sgd.so, that cnncc --train and a C
compiler made (run.sh does). All settings go in when a trainer runs: nothing is compiled for a trial. After each epoch a
trial that does worse than half of the others before it is given up. The last 5,000 training images judge.
"""

import argparse
import ctypes as C
import functools
import pathlib
import time

import numpy as np
import optuna

BATCH, VALIDATION = 64, 5000


class Hyper(C.Structure):
    """cnn_hyper of the generated header."""
    _fields_ = [(n, C.c_double) for n in ("lr", "momentum", "dampening", "beta1", "beta2", "eps", "alpha", "lr_decay", "weight_decay", "clip_norm",
                                          "clip_value")] + [("nesterov", C.c_int), ("centered", C.c_int)]


class State(C.Structure):
    """net_trainer."""
    _fields_ = [(n, C.c_void_p) for n in ("params", "grads", "state", "work")] + [("work_size", C.c_size_t), ("threads", C.c_int), ("seed", C.c_uint64),
                                                                                ("step", C.c_uint64)]


class Batch(C.Structure):
    """net_batch."""
    _fields_ = [("n", C.c_int64), ("image", C.c_void_p), ("target", C.c_void_p)]


class Result(C.Structure):
    """net_result."""
    _fields_ = [("loss", C.c_float), ("correct", C.c_int64), ("probability", C.c_void_p)]


class Trainer:
    def __init__(self, path, threads):
        self.lib = C.CDLL(str(path.resolve()))
        self.lib.net_work_size.restype = C.c_size_t
        header = path.with_suffix(".h").read_text().split()
        size = {header[i + 1]: int(header[i + 2]) for i, w in enumerate(header) if w == "#define" and header[i + 2].isdigit()}
        work = self.lib.net_work_size(threads)
        self.memory = [self.room(4 * size["NET_PARAMS"]), self.room(4 * size["NET_TRAINED"]), self.room(4 * size["NET_STATE"]), self.room(work)]
        self.t = State(*(m.ctypes.data for m in self.memory), work, threads, 1, 0)
        self.hyper = Hyper()
        self.lib.net_defaults(C.byref(self.hyper))
        self.check(self.lib.net_init_random(C.byref(self.t), C.c_uint64(1)))

    @staticmethod
    def room(size):
        """Bytes that begin at a multiple of 64."""
        a = np.zeros(size + 64, np.uint8)
        at = -a.ctypes.data % 64
        return a[at : at + size]

    @staticmethod
    def check(status):
        if status:
            raise RuntimeError(f"status {status}")

    def call(self, function, images, labels, *more):
        """The loss, and how many are right."""
        b, r = Batch(len(images), images.ctypes.data, labels.ctypes.data), Result()
        self.check(getattr(self.lib, function)(C.byref(self.t), *more, C.byref(b), C.byref(r)))
        return r.loss, r.correct

    def epoch(self, images, labels, order):
        for at in range(0, len(order), BATCH):
            k = order[at : at + BATCH]
            self.call("net_train_step", images[k], labels[k], C.byref(self.hyper))

    def accuracy(self, images, labels):
        return sum(self.call("net_eval_step", images[i : i + BATCH], labels[i : i + BATCH])[1] for i in range(0, len(images), BATCH)) / len(images)


def suggest(trial, hyper):
    """The optimizer; sets what the trial is about."""
    name = trial.suggest_categorical("optimizer", ["adam", "lion", "sgd"])
    low, high = {"adam": (1e-4, 2e-2), "lion": (1e-5, 2e-3), "sgd": (3e-3, 0.5)}[name]
    hyper["lr"] = trial.suggest_float(f"{name} lr", low, high, log=True)
    hyper["weight_decay"] = trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True)
    hyper["clip_norm"] = trial.suggest_categorical("clip_norm", [0.0, 1.0, 5.0])
    if name == "sgd":
        hyper["momentum"] = trial.suggest_float("momentum", 0.0, 0.95)
    else:
        hyper["beta1"] = trial.suggest_float("beta1", 0.8, 0.95)
    return name


def objective(opt, data, trial):
    (images, labels), (held, truth) = data
    settings = {}
    t = Trainer(opt.folder / f"{suggest(trial, settings)}.so", opt.threads)
    for k, v in settings.items():
        setattr(t.hyper, k, v)
    rng, right = np.random.default_rng(1), 0.0
    for e in range(opt.epochs):
        t.epoch(images, labels, rng.permutation(len(images)))
        right = t.accuracy(held, truth)
        trial.report(right, e)
        if trial.should_prune():
            raise optuna.TrialPruned
    return right


def read(folder, what, skip):
    return np.frombuffer((folder / what).read_bytes(), np.uint8)[skip:]


def report(study, trial):
    what = f"{trial.value:.4f}" if trial.value is not None and trial.state == optuna.trial.TrialState.COMPLETE else "given up"
    values = ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else str(v) for k, v in trial.params.items())
    print(f"{trial.number + 1:3}  {what:8}  {values}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--trials", type=int, default=24)
    p.add_argument("--images", type=int, default=12000)
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--at-least", type=float, default=0)
    opt = p.parse_args()
    images = read(opt.folder, "train-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28).astype(np.float32) / 255
    labels = read(opt.folder, "train-labels-idx1-ubyte", 8).astype(np.int64)
    data = (images[: opt.images], labels[: opt.images]), (images[-VALIDATION:], labels[-VALIDATION:])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=1),
                                pruner=optuna.pruners.MedianPruner(n_startup_trials=5))
    study.enqueue_trial({"optimizer": "adam", "adam lr": 1e-3, "weight_decay": 1e-6, "clip_norm": 0.0, "beta1": 0.9})  # what one would take
    print("trial  accuracy  settings")
    since = time.perf_counter()
    study.optimize(functools.partial(objective, opt, data), opt.trials, callbacks=[report])
    best = study.best_trial
    print(f"best: {best.value:.4f} in trial {best.number + 1}; {time.perf_counter() - since:.1f} s for {opt.trials} trials")
    return best.value < opt.at_least


if __name__ == "__main__":
    raise SystemExit(main())
