# SPDX-License-Identifier: Apache-2.0
"""Trains the network of the quickstart on Fashion-MNIST with Keras and with cnncc --train, the same way, over several seeds.

    accuracy.py --data FOLDER --trainer build/examples/train/train [--seeds 3] [--epochs 10] [--constant]

FOLDER has the unpacked files of Fashion-MNIST; the trainer is what examples/train/run.sh builds. Needs Keras with
TensorFlow (pip install tensorflow-cpu==2.18.0), which nothing else here does. Adam, batches of 32, 55,000 images, a rate that
falls along a cosine from 1e-3, or stays with --constant. Prints the accuracy on the 10,000 test images by seed, and the
time of a step.
"""

import argparse
import os
import pathlib
import re
import statistics
import subprocess
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
BATCH, TRAINED, RATE = 32, 55000, 1e-3


def images(folder, name):
    import numpy as np

    x = np.fromfile(folder / f"{name}-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 28, 28, 1)
    return (x / np.float32(255)).astype(np.float32), np.fromfile(folder / f"{name}-labels-idx1-ubyte", np.uint8)[8:].astype(np.int64)


def train_keras(opt, seed):
    import keras

    keras.utils.set_random_seed(seed)
    steps = opt.epochs * ((TRAINED + BATCH - 1) // BATCH)
    rate = RATE if opt.constant else keras.optimizers.schedules.CosineDecay(RATE, steps)
    net = keras.Sequential([
        keras.layers.Input((28, 28, 1)), keras.layers.Conv2D(32, 3, activation="relu"), keras.layers.MaxPooling2D(),
        keras.layers.Conv2D(64, 3, activation="relu"), keras.layers.MaxPooling2D(), keras.layers.Flatten(),
        keras.layers.Dense(128, activation="relu"), keras.layers.Dense(10, activation="softmax")])
    net.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = images(opt.data, "train")
    start = time.perf_counter()
    net.fit(x[:TRAINED], y[:TRAINED], BATCH, opt.epochs, verbose=0)
    seconds = time.perf_counter() - start
    return 100 * net.evaluate(*images(opt.data, "t10k"), verbose=0)[1], 1e3 * seconds / steps


def train_ours(opt, seed):
    start = time.perf_counter()
    done = subprocess.run([opt.trainer, opt.data, "--seed", str(seed), "--epochs", str(opt.epochs), "--rate", str(RATE), *(["--constant", "1"] if opt.constant else [])],
                          capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    found = re.search(r"^accuracy\s+([\d.]+) %", done.stdout, re.M)
    if not found:
        raise SystemExit(done.stdout[-2000:])
    return float(found[1]), 1e3 * seconds / (opt.epochs * ((TRAINED + BATCH - 1) // BATCH))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--data", type=pathlib.Path, required=True)
    p.add_argument("--trainer", required=True)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--epochs", type=int, default=10)
    p.add_argument("--constant", action="store_true")
    opt = p.parse_args()
    runs = {"cnncc": train_ours, "keras": train_keras}
    results = {name: [] for name in runs}
    for seed in range(1, opt.seeds + 1):
        for name, run in runs.items():
            accuracy, ms = run(opt, seed)
            results[name].append(accuracy)
            print(f"{name} seed {seed}: {accuracy:.2f} %, {ms:.2f} ms a step with all around it", flush=True)
    for name, v in results.items():
        print(f"{name}: mean {statistics.mean(v):.2f} %, {min(v):.2f} to {max(v):.2f}")


if __name__ == "__main__":
    main()
