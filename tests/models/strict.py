# SPDX-License-Identifier: Apache-2.0
"""The generated C of whole models, held against everything that finds faults in C.

    strict.py --build-folder build [--check NAME]... [--jobs N] [NAME...]

For each model of catalogue.py and each network of ../bench/zoo.py:
  warnings   gcc and clang, optimizing, with -Wall -Wextra -Wpedantic -Wconversion -Werror
  tcc        the C compiles with tcc
  header     the header compiles as C++ with g++ and clang++, with the same warnings
  sanitize   address and undefined-behaviour sanitizers in the code and in cnncc-run, with too little
             room and with inputs that do not fit as well (cnncc-run --limits)
  valgrind   code for x86-64-v3 under valgrind: no error, nothing lost
A program that is not installed skips its check; so does a model that cannot be had. Closes with
'N passed, N failed, N skipped'. Takes minutes to hours: a campaign, not part of tests/run.sh.
"""

import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import onnx
from models import MODELS, Absent, Wrong, fetch, inputs_of

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
import zoo  # noqa: E402 - it is in the other folder

STRICT = "-Wall -Wextra -Wpedantic -Wconversion -Werror"
SANITIZE = "-std=gnu11 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -fopenmp"
RECORD = "-ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp"


class Missing(Exception):
    """A program that a check needs is not installed."""


def run(cmd, limit=1800, **environment):
    """Runs a command; Wrong with the end of what it printed if it fails."""
    if not shutil.which(cmd[0]):
        raise Missing(f"no {cmd[0]}")
    done = subprocess.run(cmd, capture_output=True, text=True, check=False, timeout=limit,
                          env=os.environ | environment)
    if done.returncode != 0:
        text = " ".join((done.stderr.strip() or done.stdout.strip()).split())
        raise Wrong(f"{pathlib.Path(cmd[0]).name} ended with {done.returncode}: {text[-400:]}")


def generate(opt, subject, target):
    """m.c in a folder of its own, for the target."""
    folder = subject["folder"] / target
    if not (folder / "m.c").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        run([opt.build_folder + "/cnncc", subject["path"], "-o", str(folder / "m.c"), "--prefix", "m", "--target", target])
    return folder


def shared_object(folder, flags):
    """m.so next to m.c and m.bin."""
    run(["clang-19", *flags.split(), "-shared", "-fPIC", "-o", str(folder / "m.so"), str(folder / "m.c"), "-lm"])
    return str(folder / "m.so")


def input_options(subject):
    options = []
    for i, (name, x) in enumerate(subject["feeds"].items()):
        file = subject["folder"] / f"in{i}.npy"
        np.save(file, x)
        options += ["--input", f"{name}={file}"]
    return options


def check_warnings(opt, subject):
    folder = generate(opt, subject, "native")
    for cc in ("gcc", "clang-19"):
        run([cc, *f"-std=gnu11 -O2 -march=native {RECORD} {STRICT}".split(), "-c", "-o", str(folder / f"{cc}.o"),
             str(folder / "m.c")])


def check_tcc(opt, subject):
    folder = generate(opt, subject, "native")
    run(["tcc", "-c", "-o", str(folder / "tcc.o"), str(folder / "m.c")])


def check_header(opt, subject):
    folder = generate(opt, subject, "native")
    (folder / "use.cpp").write_text('#include "m.h"\nint main() { return 0; }\n')
    for cc in ("g++", "clang++-19"):
        run([cc, *f"-std=c++11 {STRICT}".split(), "-fsyntax-only", str(folder / "use.cpp")])


def check_sanitize(opt, subject):
    folder = generate(opt, subject, "native")
    so = shared_object(folder, SANITIZE)
    run([opt.build_folder + "-asan/cnncc-run", so, "--prefix", "m", *input_options(subject), "--limits", "--threads", "2"],
        ASAN_OPTIONS="detect_leaks=1")


def check_valgrind(opt, subject):
    folder = generate(opt, subject, "x86-64-v3")
    so = shared_object(folder, f"-std=gnu11 -O2 -gdwarf-4 -march=x86-64-v3 {RECORD}")
    run(["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite",
         opt.build_folder + "/cnncc-run", so, "--prefix", "m", *input_options(subject)])


CHECKS = {"warnings": check_warnings, "tcc": check_tcc, "header": check_header, "sanitize": check_sanitize,
          "valgrind": check_valgrind}


def subjects(opt):
    """(name, function that gives the model's path and inputs)."""
    def listed(model):
        return lambda: (str(fetch(model, pathlib.Path(opt.build_folder) / "models")), inputs_of(model))

    def built(name, make):
        def get():
            net, file = make(), opt.work / (name + ".onnx")
            onnx.save(net, file)
            shape = [d.dim_value for d in net.graph.input[0].type.tensor_type.shape.dim]
            return str(file), {"input": np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)}
        return get

    yield from ((m["name"], listed(m)) for m in MODELS)
    yield from ((name, built(name, make)) for name, make in zoo.ZOO.items())


def one(opt, job):
    """Lines of one model: (check, word, text)."""
    name, get = job
    folder = opt.work / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lines = []
    try:
        path, feeds = get()
        subject = {"path": path, "feeds": feeds, "folder": folder}
        for check in opt.check or CHECKS:
            try:
                CHECKS[check](opt, subject)
                lines.append((check, "passed", ""))
            except Missing as e:
                lines.append((check, "skipped", str(e)))
            except (Wrong, subprocess.TimeoutExpired) as e:
                lines.append((check, "FAILED", str(e)))
    except Absent as e:
        lines.append(("", "skipped", str(e)))
    if not any(word == "FAILED" for _, word, _ in lines):
        shutil.rmtree(folder)
    return lines


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--build-folder", required=True, help="with cnncc and cnncc-run; FOLDER-asan has the sanitized ones")
    p.add_argument("--check", action="append", choices=list(CHECKS))
    p.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    p.add_argument("name", nargs="*")
    opt = p.parse_args()
    opt.build_folder = os.path.abspath(opt.build_folder)
    opt.work = pathlib.Path(opt.build_folder) / "strict"
    opt.work.mkdir(exist_ok=True)
    jobs = [j for j in subjects(opt) if not opt.name or j[0] in opt.name]
    count = {"passed": 0, "FAILED": 0, "skipped": 0}
    with concurrent.futures.ThreadPoolExecutor(opt.jobs) as pool:
        for (name, _), lines in zip(jobs, pool.map(lambda j: one(opt, j), jobs), strict=True):
            for check, word, text in lines:
                count[word] += 1
                if word != "passed":
                    print(f"{word:8} {name} {check} {text}", flush=True)
            print(f"{name}: " + ", ".join(c for c, w, _ in lines if w == "passed"), flush=True)
    print(f"{count['passed']} passed, {count['FAILED']} failed, {count['skipped']} skipped")
    return 1 if count["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
