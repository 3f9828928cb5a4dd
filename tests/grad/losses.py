# SPDX-License-Identifier: Apache-2.0
"""Losses and their options against formulas in NumPy, and their gradients against differences.

The last line is 'N passed, N failed, N skipped'.
"""

import argparse
import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import grad
import loader

RNG = np.random.default_rng(11)
N, CLASSES = 6, 5
X = RNG.normal(size=(N, CLASSES)) * 2
INDEX = RNG.integers(0, CLASSES, size=N)
MASS = RNG.uniform(size=(N, CLASSES))
MASS /= MASS.sum(axis=1, keepdims=True)
MASS[0] = [0, 1, 0, 0, 0]
NUMBERS = RNG.normal(size=(N, CLASSES))
WEIGHTS = np.array([0.5, 2, 1, 0.25, 3])
LIST = "/".join(str(w) for w in WEIGHTS)


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def cross_entropy(x, t, weight=None, smoothing=0.0, ignore=None, mean=True):
    logp, w = log_softmax(x), np.ones(CLASSES) if weight is None else weight
    live = np.ones(len(t), bool) if ignore is None else t != ignore
    k = np.where(live, t, 0)
    each = (1 - smoothing) * -logp[np.arange(len(t)), k] * w[k] + smoothing / CLASSES * -(logp * w).sum(axis=1)
    return each[live].sum() / (w[k][live].sum() if mean else 1)


def soft(x, t, weight=None, smoothing=0.0):
    w = np.ones(CLASSES) if weight is None else weight
    return -((t * (1 - smoothing) + smoothing / CLASSES) * w * log_softmax(x)).sum() / len(t)


def huber(d, k):
    return np.where(abs(d) < k, d * d / 2, k * (abs(d) - k / 2))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def kl(x, t):
    return np.where(t > 0, t * (np.log(np.where(t > 0, t, 1)) - x), 0)


SOME = np.where(np.arange(N) % 3 == 1, 2, INDEX)
LOSSES = {  # --loss: target, formula of the output x and the target t
    "cross_entropy": (INDEX, cross_entropy),
    f"cross_entropy[weight={LIST}]": (INDEX, lambda x, t: cross_entropy(x, t, WEIGHTS)),
    "cross_entropy[label_smoothing=0.1]": (INDEX, lambda x, t: cross_entropy(x, t, None, 0.1)),
    "cross_entropy[ignore_index=2]": (SOME, lambda x, t: cross_entropy(x, t, ignore=2)),
    "cross_entropy[ignore_index=-100]": (np.where(SOME == 2, -100, SOME), lambda x, t: cross_entropy(x, t, ignore=-100)),
    "cross_entropy[reduction=sum]": (INDEX, lambda x, t: cross_entropy(x, t, mean=False)),
    f"cross_entropy[weight={LIST},label_smoothing=0.2,ignore_index=2]": (SOME, lambda x, t: cross_entropy(x, t, WEIGHTS, 0.2, 2)),
    "cross_entropy_probs": (MASS, soft),
    f"cross_entropy_probs[weight={LIST},label_smoothing=0.3]": (MASS, lambda x, t: soft(x, t, WEIGHTS, 0.3)),
    "nll": (INDEX, lambda x, t: -x[np.arange(N), t].mean()),
    f"nll[weight={LIST},ignore_index=2]": (SOME, lambda x, t: -(x[np.arange(N), t] * WEIGHTS[t])[t != 2].sum() / WEIGHTS[t][t != 2].sum()),
    "mse": (NUMBERS, lambda x, t: ((x - t) ** 2).mean()), "mse[reduction=sum]": (NUMBERS, lambda x, t: ((x - t) ** 2).sum()),
    "l1": (NUMBERS, lambda x, t: abs(x - t).mean()), "huber[delta=0.7]": (NUMBERS, lambda x, t: huber(x - t, 0.7).mean()),
    "smooth_l1": (NUMBERS, lambda x, t: huber(x - t, 1).mean()), "smooth_l1[beta=0.4]": (NUMBERS, lambda x, t: (huber(x - t, 0.4) / 0.4).mean()),
    "smooth_l1[beta=0]": (NUMBERS, lambda x, t: abs(x - t).mean()),
    "bce_with_logits": (MASS, lambda x, t: -(t * np.log(sigmoid(x)) + (1 - t) * np.log(1 - sigmoid(x))).mean()),
    "bce_with_logits[pos_weight=3]": (MASS, lambda x, t: -(3 * t * np.log(sigmoid(x)) + (1 - t) * np.log(1 - sigmoid(x))).mean()),
    "kl_div": (MASS, lambda x, t: kl(x, t).mean()), "kl_div[reduction=batchmean]": (MASS, lambda x, t: kl(x, t).sum() / N),
    "kl_div[log_target=1]": (NUMBERS, lambda x, t: (np.exp(t) * (t - x)).mean()),
    "0.5*mse,2*output:z": (NUMBERS, lambda x, t: 0.5 * ((x - t) ** 2).mean() + 2 * np.sin(x).sum()),
    "mse:y,0.25*huber[delta=2]:z": ({"target_y": NUMBERS, "target_z": MASS},
                                    lambda x, t: ((x - t["target_y"]) ** 2).mean() + 0.25 * huber(np.sin(x) - t["target_z"], 2).mean()),
}
BAD = ["none", "mse[delta=1]", "huber[delta=x]", "cross_entropy[weight=1/2]", "mse:none", "mse[", "cross_entropy[label_smoothing=2]", ""]


def model():
    nodes = [helper.make_node("Add", ["x", "w"], ["y"]), helper.make_node("Sin", ["y"], ["z"])]
    out = [helper.make_tensor_value_info(n, TensorProto.DOUBLE, [N, CLASSES]) for n in "yz"]
    graph = helper.make_graph(nodes, "m", [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [N, CLASSES])], out,
                              [numpy_helper.from_array(np.zeros((N, CLASSES)), "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def build(args, loss, stem):
    onnx.save(model(), f"{stem}.onnx")
    for command in ([args.cnncc, "--grad", f"--loss={loss}", "--prefix=m", f"{stem}.onnx", "-o", f"{stem}.c"],
                    [args.cc, "-std=gnu11", "-O1", "-shared", "-fPIC", "-o", f"{stem}.so", f"{stem}.c", "-lm"]):
        done = grad.subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return done
    return loader.Model(f"{stem}.so")


def check(args, loss, stem):
    target, formula = LOSSES[loss]
    compiled = build(args, loss, stem)
    if not isinstance(compiled, loader.Model):
        raise RuntimeError(compiled.stderr)
    feeds = {"x": X.copy(), "w": np.zeros((N, CLASSES)), **(target if isinstance(target, dict) else {"target": target})}
    feeds = {n: v for n, v in feeds.items() if n in {compiled.d.in_[i].name.decode() for i in range(compiled.d.n_in)}}
    out = grad.values(compiled, feeds)
    np.testing.assert_allclose(out["loss"], formula(X, target), rtol=1e-11)
    grad.check_differences(compiled, feeds, {"w": out["grad:w"]}, np.random.default_rng(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cnncc", required=True)
    parser.add_argument("--cc", default="clang-19")
    args = parser.parse_args()
    passed = failed = 0
    with tempfile.TemporaryDirectory() as tmp:
        for i, loss in enumerate([*LOSSES, *BAD]):
            try:
                if loss in LOSSES:
                    check(args, loss, pathlib.Path(tmp) / f"loss{i}")
                else:
                    done = build(args, loss, pathlib.Path(tmp) / f"loss{i}")
                    if isinstance(done, loader.Model) or done.returncode != 1 or "--loss" not in done.stderr:
                        raise AssertionError(f"is taken, or the diagnostic is {getattr(done, 'stderr', None)}")
                passed += 1
            except Exception as e:  # noqa: BLE001
                failed += 1
                print(f"FAILED: --loss={loss}: {type(e).__name__}: {e}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
