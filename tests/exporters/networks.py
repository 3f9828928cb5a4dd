# SPDX-License-Identifier: Apache-2.0
"""Networks that a framework exported, compiled, against the framework's own predictions and onnxruntime.

    networks.py --runner build/cnncc-run --build build/exporters FOLDER...

FOLDER holds NAME.onnx and NAME.npz (in:INPUT, out:0, out:1, …). A result must be within 1e-5 of the range of the
framework's; or, where onnxruntime is further from the framework than that itself, as near as onnxruntime. A network
that is refused or wrong is a failure unless it is listed in expected.txt. Closes with 'N passed, N failed, N skipped'.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import onnxruntime as ort

HERE = pathlib.Path(__file__).resolve().parent
TOLERANCE = 1e-5


def expected():
    lines = (HERE / "expected.txt").read_text().splitlines()
    return dict(line.split("\t", 1) for line in lines if line and line[0] != "#")


def difference(want, got):
    """As a part of the range; inf when they do not compare."""
    want, got = np.asarray(want), np.asarray(got)
    if want.shape != got.shape:
        return np.inf
    if want.dtype.kind not in "fc":
        return 0.0 if np.array_equal(want, got) else np.inf
    finite = np.isfinite(want)
    if not np.array_equal(want[~finite], got[~finite], equal_nan=True) or not np.isfinite(got[finite]).all():
        return np.inf
    if not finite.any():
        return 0.0
    w, g = want[finite].astype(np.float64), got[finite].astype(np.float64)
    span = max(w.max() - w.min(), abs(w).max() if w.size < 16 else 0, 1e-30)
    return float(abs(w - g).max() / span)


def by_onnxruntime(path, feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, feeds)
    except Exception:  # noqa: BLE001 - it has no kernel for everything
        return None


def one(opt, path):
    """(word, text) of a network."""
    data = np.load(path.with_suffix(".npz"))
    feeds = {k[3:]: data[k] for k in data if k.startswith("in:")}
    want = [data[f"out:{i}"] for i in range(sum(k.startswith("out:") for k in data))]
    folder = pathlib.Path(opt.build) / path.stem
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [opt.runner, str(path), "--output", str(folder / "out"), "--cc", opt.cc]
    names = [i.name for i in ort.InferenceSession(str(path)).get_inputs()] if set(feeds) != {"x"} else list(feeds)
    for i, (name, x) in enumerate(feeds.items()):
        np.save(folder / f"in{i}.npy", x)
        command += ["--input", f"{name}={folder}/in{i}.npy" if name in names else f"{folder}/in{i}.npy"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        text = (done.stderr.strip().splitlines() or ["?"])[0]
        return ("refused" if done.returncode == 1 else "wrong"), text
    order = [o.name for o in ort.InferenceSession(str(path)).get_outputs()]
    got = [np.load(folder / "out" / f"{n.replace('/', '_')}.npy") for n in order]
    if len(got) != len(want):
        return "wrong", f"{len(got)} outputs, the framework has {len(want)}"
    ours = max(difference(w, g) for w, g in zip(want, got, strict=True))
    if ours <= TOLERANCE:
        return "passed", f"{ours:.1e}"
    theirs = by_onnxruntime(path, feeds)
    if theirs is not None:
        far = max(difference(w, g) for w, g in zip(want, theirs, strict=True))
        apart = max(difference(w, g) for w, g in zip(theirs, got, strict=True))
        if far > TOLERANCE and apart <= TOLERANCE:
            return "passed", f"{ours:.1e} from the framework, as onnxruntime, {apart:.1e} from that"
        return "wrong", f"{ours:.2g} from the framework, onnxruntime {far:.2g}"
    return "wrong", f"{ours:.2g} from the framework"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--runner", required=True)
    p.add_argument("--build", required=True)
    p.add_argument("--cc", default="tcc" if shutil.which("tcc") else "cc")
    p.add_argument("--list", action="store_true", help="a line for each network, not only for those that do not pass")
    p.add_argument("folder", nargs="+")
    opt = p.parse_args()
    opt.runner = os.path.abspath(opt.runner)
    listed, count = expected(), {"passed": 0, "failed": 0, "skipped": 0}
    for path in sorted(f for d in opt.folder for f in pathlib.Path(d).glob("*.onnx")):
        try:
            word, text = one(opt, path)
        except Exception as e:  # noqa: BLE001 - a line a network, whatever happens
            word, text = "wrong", f"{type(e).__name__}: {e}"
        known = listed.get(path.stem, "").startswith(word + ":")
        good = word == "passed" and path.stem not in listed
        count["passed" if good else "skipped" if known else "failed"] += 1
        if opt.list or not good:
            print(f"{'' if good or known else 'FAILED '}{word:8} {path.stem:32} {text}", flush=True)
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 1 if count["failed"] or not count["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
