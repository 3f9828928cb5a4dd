# SPDX-License-Identifier: Apache-2.0
"""Runs the ONNX backend cases and compares the outcome with known_failures.txt.

    run.py --runner build/cnncc-run --cases build/conformance            all, with tcc
    run.py ... --cc gcc --cflags "-O3 ..." --every 10                    a tenth, with another compiler
    run.py ... --update                                                  rewrite the list

A line of the list is NAME<TAB>refused: REASON or NAME<TAB>wrong: REASON; NAME@constant where it differs with --constant. A case that fails and is
not listed, one that fails in the other way than listed, and a listed one that passes are failures.
Closes with 'N passed, N failed, N skipped'; the listed ones that fail as listed are skipped.

With --constant the cases run that have parameters (axes, shapes, k, …), with those as constants,
as real models have them; there a listed case may pass.
"""

import argparse
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

WORDS = ("PASS", "REFUSED", "FAIL", "CRASH")
HERE = pathlib.Path(__file__).resolve().parent


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--runner", required=True, help="the cnncc-run program")
    p.add_argument("--cases", required=True, help="folder of the cases, made when missing")
    p.add_argument("--known", default=str(HERE / "known_failures.txt"))
    p.add_argument("--cc", default="tcc")
    p.add_argument("--cflags", help="flags of the C compiler (default: cnncc-run's)")
    p.add_argument("--every", type=int, default=1, help="only every N-th case")
    p.add_argument("--match", default="", help="only names with this regular expression")
    p.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    p.add_argument("--timeout", type=int, default=60)
    p.add_argument("--constant", action="store_true", help="with parameters as constants")
    p.add_argument("--update", action="store_true", help="rewrite the list of known failures")
    p.add_argument("--quiet", action="store_true", help="no counts by operator")
    p.add_argument("cnncc", nargs="*", help="after --: options for cnncc")
    return p.parse_args()


def read_known(path):
    known = {}
    if os.path.exists(path):
        for line in pathlib.Path(path).read_text().splitlines():
            if line and not line.startswith("#"):
                name, _, reason = line.partition("\t")
                known[name] = reason
    return known


def pick_cases(opt):
    folder = pathlib.Path(opt.cases)
    subprocess.run([sys.executable, str(HERE / "make_cases.py"), str(folder)], check=True)
    names = (folder / "cases.txt").read_text().split()
    if opt.constant:
        opt.cases = str(folder / "constant")
        names = [n for n in names if (folder / "constant" / n).is_dir()]
    return [n for n in names if re.search(opt.match, n)][:: opt.every]


def run_all(opt, names):
    """The outcome of each case. Whole networks are not for tcc: its code is too slow for them."""
    heavy = [n for n in names if n.startswith("test_light_")] if "tcc" in opt.cc else []
    drawn = [n for n in names if n.startswith("test_bernoulli")]
    numpy = [n for n in names if n.startswith("test_training_dropout")]  # the expected numbers are NumPy's
    rest = [n for n in names if n not in {*heavy, *drawn, *numpy}]
    result = run_batch(opt, rest, opt.cc, opt.cflags, opt.timeout)
    if numpy:
        result.update(run_batch(opt, numpy, opt.cc, opt.cflags, opt.timeout, ["--rng", "mt19937"]))
    for name in drawn:
        result[name] = check_drawn(opt, name)
    if heavy:
        result.update(run_batch(opt, heavy, shutil.which("clang-19") or "cc", None, 4 * opt.timeout))
    return result


def environment(cc, cflags):
    env = dict(os.environ, CC=cc)
    env.pop("CFLAGS", None)
    env["ASAN_OPTIONS"] = env["UBSAN_OPTIONS"] = "exitcode=99:detect_leaks=0"  # 1 would be a refusal
    if cflags is not None:
        env["CFLAGS"] = cflags
    return env


def check_drawn(opt, name):
    """Bernoulli is random by definition: its results have the type and the shape of the expected ones, are 0
    and 1, and as often 1 as the probabilities say, within five standard deviations of 200 runs."""
    import numpy as np
    import onnx

    folder, ones, runs = pathlib.Path(opt.cases) / name, 0, 200
    data = folder / "test_data_set_0"
    p = onnx.numpy_helper.to_array(onnx.load_tensor(data / "input_0.pb")).astype(np.float64)
    p = 1 - p if name.endswith("_expanded") else p  # ONNX's function body is 1 where a uniform number is above p
    want = onnx.numpy_helper.to_array(onnx.load_tensor(data / "output_0.pb"))
    with tempfile.TemporaryDirectory() as temp:
        cmd = [opt.runner, "--keep", temp, "--input", str(data / "input_0.pb"), "--output", temp]
        for i in range(runs):
            built = sorted(pathlib.Path(temp).glob("*.so"))
            model = str(built[0]) if built else str(folder / "model.onnx")
            r = subprocess.run([*cmd[:1], model, *cmd[1:], "--seed", str(i)], env=environment(opt.cc, opt.cflags),
                               capture_output=True, text=True, check=False)
            if r.returncode:
                return ("REFUSED" if r.returncode == 1 else "CRASH"), (r.stderr or r.stdout).strip()
            y = np.load(next(pathlib.Path(temp).glob("*.npy")))
            if y.dtype != want.dtype or y.shape != want.shape or not ((y == 0) | (y == 1)).all():
                return "FAIL", f"{y.dtype}{y.shape}, expected zeros and ones of {want.dtype}{want.shape}"
            ones += int(y.sum())
            if i == 0 and "seed" in name:  # the same numbers every time
                runs, p = 1, p * 0 + y
                break
    spread = 5 * float(np.sqrt((p * (1 - p)).sum() * runs))
    if abs(ones - float(p.sum()) * runs) > spread:
        return "FAIL", f"{ones} ones, expected {p.sum() * runs:.0f} with {spread:.0f} more or less"
    return "PASS", ""


def run_batch(opt, names, cc, cflags, timeout, options=()):
    """The word and the detail of each case, as cnncc-run gives them."""
    env = environment(cc, cflags)
    result = {}
    with tempfile.TemporaryDirectory() as temp:
        batch = pathlib.Path(temp) / "list"
        batch.write_text("".join(f"{opt.cases}/{n}\n" for n in names))
        cmd = [opt.runner, "--batch", str(batch), "--jobs", str(opt.jobs)]
        extra = [*options, *opt.cnncc]
        cmd += ["--timeout", str(timeout)] + (["--", *extra] if extra else [])
        out = subprocess.run(cmd, env=env, stdout=subprocess.PIPE, check=False).stdout
    for line in out.decode(errors="replace").splitlines():
        word, _, rest = line.partition(" ")
        name, _, detail = rest.partition(" ")
        if word in ("PASS", "FAIL", "REFUSED", "CRASH"):
            detail = re.sub(r"\S*/model\.onnx: ?", "", detail)
            detail = re.sub(r"\S*/cnncc-run-\w+/\d+/", "", detail)
            result[name] = (word, detail.strip())
    return result


def failure_class(word):
    return "refused" if word == "REFUSED" else "wrong"


def judge(opt, names, result, known):
    """Failures that the list does not explain, and those that it does."""
    bad, listed = [], []
    for name in names:
        word, detail = result.get(name, ("CRASH", "cnncc-run gave no answer"))
        expected = known.get(name + "@constant", known.get(name)) if opt.constant else known.get(name)
        if word == "PASS":
            if expected is not None and not opt.constant:
                bad.append((name, "passes, and is listed as a known failure", expected))
        elif expected is None:
            bad.append((name, word, detail))
        elif not expected.startswith(failure_class(word) + ":"):
            bad.append((name, f"{word}, and is listed otherwise", f"{detail} (listed: {expected})"))
        else:
            listed.append(name)
    return bad, listed


def by_operator(opt, names, result):
    total, passed, words = (collections.Counter() for _ in range(3))
    for name in names:
        op = (pathlib.Path(opt.cases) / name / "op.txt").read_text().strip()
        word = result.get(name, ("CRASH", ""))[0]
        total[op] += 1
        passed[op] += word == "PASS"
        words[op, word] += 1
    whole = [op for op in total if passed[op] == total[op]]
    print(f"{len(whole)} of {len(total)} operators and groups pass whole; the others:")
    for op in sorted(set(total) - set(whole)):
        rest = ", ".join(f"{words[op, w]} {w.lower()}" for w in WORDS[1:] if words[op, w])
        print(f"  {op:32} {passed[op]:4} of {total[op]:4}   {rest}")


def update(opt, names, result, known):
    """The list anew; reasons 'by design: …' are people's and stay as long as the class does."""
    fresh = {n: r for n, r in known.items() if n not in set(names)}
    for name in names:
        word, detail = result.get(name, ("CRASH", "no answer"))
        if word == "PASS":
            continue
        kind = failure_class(word)
        old = known.get(name, "")
        fresh[name] = old if old.startswith(kind + ": by design:") else f"{kind}: {detail}"
    head = "# SPDX-License-Identifier: Apache-2.0\n# NAME<TAB>refused|wrong: REASON; see run.py\n"
    body = "".join(f"{n}\t{r}\n" for n, r in sorted(fresh.items()))
    pathlib.Path(opt.known).write_text(head + body)
    print(f"{opt.known}: {len(fresh)} known failures")


def main():
    opt = options()
    start = time.monotonic()
    names = pick_cases(opt)
    known = read_known(opt.known)
    result = run_all(opt, names)
    if not opt.quiet:
        by_operator(opt, names, result)
    if opt.update and not opt.constant:
        update(opt, names, result, known)
        known = read_known(opt.known)
    bad, listed = judge(opt, names, result, known)
    for name, what, detail in bad:
        print(f"FAILED {name}: {what}: {detail[:300]}")
    words = collections.Counter(w for w, _ in result.values())
    print(f"{opt.cc}: {len(names)} cases in {time.monotonic() - start:.0f} s: "
          + ", ".join(f"{words[w]} {w.lower()}" for w in WORDS))
    skipped = len(listed)
    print(f"{len(names) - len(bad) - skipped} passed, {len(bad)} failed, {skipped} skipped")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
