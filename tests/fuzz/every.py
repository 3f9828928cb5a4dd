# SPDX-License-Identifier: Apache-2.0
"""Random nodes of every version of every operator with every element type that ONNX lists.

    every.py --cnncc build/cnncc --runner build/cnncc-run [--count 4] [--match REGEX] [--seed N] [--jobs N]

Each node is a model of its own. onnxruntime is the oracle, or where it has no such kernel the reference
evaluator of the onnx package, or where neither can the interpreter (--eval); generated code and the
interpreter must both agree with it. Extents are symbols and parameters are inputs in a part of the cases.
Prints the rows (operator, version, type) without a hit, with the reason, then 'N passed, N failed, N skipped'.
"""

import argparse
import collections
import concurrent.futures as futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime as ort
from onnx import defs, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import networks  # noqa: F401
from oracles import known_bug
from recipes import RECIPES, Case, dtype, is_float

NEWEST = {"": 28}
# Why a row may have no hit: ONNX removed the operator, or nothing can be computed with such elements.
EXPECTED = r"removed in version|elements of type (string|complex)|bits of .* are not supported|not a type of numbers"
DRAWN = {"Bernoulli", "Multinomial", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"}
# Of bfloat16 the reference rounds means, products of scales and edges of bands: it is asked in float32.
ROUNDING = {"InstanceNormalization", "QLinearMatMul", "MelWeightMatrix"}
EPS = {"float16": 2e-3, "bfloat16": 1.6e-2, "float64": 1e-6}


def rows(match):
    """(schema, constraint, type) of every element type."""
    for s in sorted(defs.get_all_schemas_with_history(), key=lambda s: (s.domain, s.name, s.since_version)):
        if s.name not in RECIPES or s.domain not in NEWEST or not re.search(match, s.name):
            continue
        constraints = [(t.type_param_str, t.allowed_type_strs) for t in s.type_constraints]
        if not constraints:
            yield s, "", ""
        for var, types in constraints:
            for t in sorted(types):
                if t.startswith("tensor("):
                    yield s, var, t


def choose_types(s, var, kind, seed):
    r = np.random.RandomState(seed + 1)
    types = {}
    for t in s.type_constraints:
        names = sorted(n for n in t.allowed_type_strs if n.startswith("tensor("))
        plain = [n for n in names if n in ("tensor(float)", "tensor(int64)", "tensor(uint8)", "tensor(bool)", "tensor(int32)")]
        if names:
            types[t.type_param_str] = (plain or names)[r.randint(len(plain or names))]
    if var:
        types[var] = kind
    return types


def element_type(v):
    return onnx.TensorProto.STRING if v.dtype == object else helper.np_dtype_to_tensor_dtype(v.dtype)


def proto(v, name):
    return numpy_helper.from_array(v, name)


def make_model(name, version, ins, attrs, outs, fixed=(), symbols=None):
    """A model of one node; `symbols` draws which extents are symbols."""
    ids = [f"x{i}" if v is not None else "" for i, v in enumerate(ins)]
    while ids and not ids[-1]:
        ids.pop()
    node = helper.make_node(name, ids, outs, **attrs)
    inputs, inits = [], []
    for i, v in enumerate(ins):
        if v is None:
            continue
        if i in fixed:
            inits.append(proto(v, ids[i]))
            continue
        last = v.ndim - 1 if name == "Attention" else v.ndim  # the size of a head must be known
        shape = [f"d{i}_{a}" if i == 0 and symbols is not None and n > 1 and symbols.rand() < 0.5 and a != last else n for a, n in enumerate(v.shape)]
        inputs.append(helper.make_tensor_value_info(ids[i], element_type(v), shape))
    graph = helper.make_graph([node], name, inputs, [], inits)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=10)
    for o in outs:
        model.graph.output.add().name = o
    return model


def by_onnxruntime(model, feed):
    for n, v in feed.items():
        if v.dtype.kind == "V" or v.dtype.name not in np.sctypeDict and v.dtype != object:
            raise TypeError("onnxruntime's Python has no such array")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    got = session.run(None, feed)
    kinds = [dtype(o.type) for o in session.get_outputs()]  # its arrays of small floats are bytes
    return [v.view(t) if v.dtype != t and v.dtype.itemsize == t.itemsize and t != object else v for v, t in zip(got, kinds)]


def by_reference(model, feed):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return [np.asarray(v) for v in ReferenceEvaluator(model).run(None, feed)]


def oracle(c, ins, attrs, outs):
    """(name, values) of the first oracle that can; c.twin says the same in a newer version."""
    tries = [(c.v, ins, attrs)]
    if c.twin:
        tries.insert(0, c.twin)
    elif c.v < 7:
        last = 12 if c.op in ("Softmax", "LogSoftmax", "Hardmax") else 999  # from 13 on they mean something else
        newest = max(s.since_version for s in defs.get_all_schemas_with_history()
                     if s.name == c.op and s.domain == "" and s.since_version <= last)
        tries.append((newest, ins, attrs))
    for version, i, a in tries:
        narrow = c.op in ROUNDING and any(v is not None and v.dtype.name == "bfloat16" for v in i)
        if narrow:
            i = [v.astype(np.float32) if v is not None and v.dtype.name == "bfloat16" else v for v in i]
        feed = {f"x{k}": v for k, v in enumerate(i) if v is not None}
        for name, run in (("onnxruntime", by_onnxruntime), ("reference", by_reference)):
            if known_bug(name, c, version, i, a):
                continue
            try:
                got = run(make_model(c.op, version, i, a, outs), feed)
            except Exception:  # not one of its operators
                continue
            if narrow:
                got = [v.astype(dtype(c.types["T"])) if v.dtype == np.float32 else v for v in got]
            if all(isinstance(v, np.ndarray) for v in got) and len(got) == len(outs) and right_types(c, got):
                return name, got
    return "interpreter", None


def right_types(c, got):
    """The types that the schema gives; an oracle that has others is not asked."""
    for i, v in enumerate(got):
        formal = c.schema.outputs[min(i, len(c.schema.outputs) - 1)].type_str
        kind = c.types.get(formal, formal)
        if not kind.startswith("tensor(") or c.op in ("EyeLike", "QuantizeLinear", "DequantizeLinear"):
            continue
        want = dtype(kind)
        if want != v.dtype and not (want == object and v.dtype.kind in "SU"):
            return False
        if v.dtype == object and not all(isinstance(s, (str, bytes)) for s in v.flat):  # 0 where no string goes
            return False
    return True


class Job:
    """One case: its folder, and what became of it."""

    def __init__(self, opt, row, seed, folder):
        s, var, kind = row
        self.row, self.seed, self.folder, self.error = row, seed, folder, None
        c = Case(s, choose_types(s, var, kind, seed), seed, var)
        ins, attrs, n = RECIPES[s.name](c)
        ins = [None if v is None else np.asarray(v) for v in ins]
        outs = [f"y{i}" for i in range(n)]
        ask = s.name not in DRAWN and not c.alone
        self.oracle, want = oracle(c, ins, attrs, outs) if ask else ("none" if s.name in DRAWN else "interpreter", None)
        fixed = c.fixed | {i for i in range(1, len(ins)) if ins[i] is not None and c.flip(0.3)}
        model = make_model(s.name, c.v, ins, attrs, outs, fixed, c.r if c.flip(0.3) else None)
        data = folder / "test_data_set_0"
        data.mkdir(parents=True)
        k = 0
        for i, v in enumerate(ins):
            if v is not None and i not in fixed:
                (data / f"input_{k}.pb").write_bytes(proto(v, f"x{i}").SerializeToString())
                k += 1
        tolerance = 1e-5
        for i, v in enumerate(want or []):
            v = v.astype(object) if v.dtype.kind not in "biufcOV" else v
            (data / f"output_{i}.pb").write_bytes(proto(v, outs[i]).SerializeToString())
        names = {np.asarray(v).dtype.name for v in [*ins, *(want or [])] if v is not None and np.asarray(v).dtype.kind not in "SUTO"}
        tolerance = max([EPS.get(n, 1e-1 if "float8" in n or "float4" in n else 2e-5) for n in names if is_float(np.dtype(n) if n in np.sctypeDict else n)] or [1e-5])
        span = max([1.0] + [float(np.abs(f[np.isfinite(f)]).max(initial=0)) for f in map(as_float, want or []) if f is not None])
        self.tolerance = (tolerance * c.tolerance, tolerance * c.tolerance * min(span, 1e6))
        (folder / "tol.txt").write_text("%g %g\n" % self.tolerance)
        onnx.save(model, folder / "model.onnx")

    def name(self):
        s, var, kind = self.row
        return f"{s.name}-{s.since_version} {var}={kind} seed {self.seed}"


def as_float(v):
    v = np.asarray(v)
    if v.dtype.kind == "c":
        v = np.abs(v)
    try:
        return np.asarray(v, np.float64)
    except (TypeError, ValueError):
        return None


def interpret(opt, job):
    """The interpreter's verdict; it writes the outputs that are not there."""
    r = subprocess.run([opt.cnncc, str(job.folder / "model.onnx"), "--eval", str(job.folder / "test_data_set_0")],
                       capture_output=True, text=True)
    text = (r.stderr + r.stdout).strip().replace(str(job.folder), "")
    worst = [float(w) for w in re.findall(r"largest difference (\S+)", text)]
    if r.returncode == 1 and worst and not re.search("expected (?!.*element)|status", text.split("differ")[0]):
        exact = re.search(r"[1-9]\d* of \d+ differ, largest difference 0$", text, re.M)  # integers, strings
        return int(bool(exact) or max(worst) > job.tolerance[1]), text
    return r.returncode, text


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--cnncc", required=True)
    p.add_argument("--runner", required=True)
    p.add_argument("--count", type=int, default=2, help="cases of each row")
    p.add_argument("--every", type=int, default=1, help="only every N-th row")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--match", default="")
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--cc", default="tcc")
    p.add_argument("--keep", help="a folder for the cases that fail")
    p.add_argument("--hits", action="store_true", help="print the table of hits")
    opt = p.parse_args()
    hits, oracles, holes, failed = collections.Counter(), collections.Counter(), {}, []
    table = list(rows(opt.match))[:: opt.every]
    with tempfile.TemporaryDirectory() as tmp:
        todo = [(row, (opt.seed + k) * 10007 + i) for i, row in enumerate(table) for k in range(opt.count)]
        for start in range(0, len(todo), 400):
            batch(opt, pathlib.Path(tmp) / str(start), todo[start : start + 400], hits, oracles, holes, failed)
            shutil.rmtree(pathlib.Path(tmp) / str(start), ignore_errors=True)
    seen = {key(r) for r in table}
    for k in sorted(seen):
        if not hits[k]:
            print(f"no hit: {k}: {holes.get(k, 'no case')}")
        elif opt.hits:
            print(f"{k}: {hits[k]}")
    for line in failed:
        print("FAILED", line)
    missing = sum(1 for k in seen if not hits[k])
    unexplained = [k for k in seen if not hits[k] and not re.search(EXPECTED, holes.get(k, "no case"))]
    if opt.every == 1 and not opt.match:
        failed += [f"no hit, and no reason for that: {k}" for k in unexplained]
    print(f"{len(seen)} rows, {missing} without a hit; " + ", ".join(f"{n} by {o}" for o, n in oracles.most_common()))
    print(f"{sum(hits.values())} passed, {len(failed)} failed, {missing} skipped")
    return 1 if failed else 0


def key(row):
    return f"{row[0].name}-{row[0].since_version} {row[1]}={row[2]}"


def batch(opt, root, todo, hits, oracles, holes, failed):
    jobs = []
    for i, (row, seed) in enumerate(todo):
        try:
            jobs.append(Job(opt, row, seed, root / f"c{i}"))
        except Exception as e:
            holes.setdefault(key(row), f"no case can be made: {type(e).__name__}: {str(e)[:200]}")
    with futures.ThreadPoolExecutor(opt.jobs) as pool:
        verdicts = list(pool.map(lambda j: interpret(opt, j), jobs))
    (root / "list").write_text("".join(f"{j.folder}\n" for j in jobs))
    env = dict(os.environ, CC=opt.cc)
    out = subprocess.run([opt.runner, "--batch", str(root / "list"), "--jobs", str(opt.jobs)], env=env, stdout=subprocess.PIPE).stdout
    answer = {}
    for line in out.decode(errors="replace").splitlines():
        word, _, rest = line.partition(" ")
        name, _, detail = rest.partition(" ")
        answer[name] = (word, detail)
    for j, (code, text) in zip(jobs, verdicts):
        word, detail = answer.get(j.folder.name, ("CRASH", "no answer"))
        if word == "REFUSED":
            holes.setdefault(key(j.row), re.sub(r"\S*model.onnx: ", "", detail)[:200])
            continue
        oracles[j.oracle] += 1
        if word == "PASS" and code == 0 or j.oracle == "none" and word != "CRASH" and code == 0:
            hits[key(j.row)] += 1
            continue
        failed.append(f"{j.name()} by {j.oracle}: {word} {detail[:250]}; eval {code}: {text[:250]}")
        if opt.keep:
            shutil.copytree(j.folder, pathlib.Path(opt.keep) / j.name().replace(" ", "_"), dirs_exist_ok=True)


if __name__ == "__main__":
    sys.exit(main())
