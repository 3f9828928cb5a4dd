# SPDX-License-Identifier: Apache-2.0
"""Random small graphs of mixed operators: the recipes of every.py, chained.

    mixed.py --cnncc build/cnncc --runner build/cnncc-run [--count 200] [--seed N] [--nodes 6] [--jobs N]

A graph has nodes of one operator set, versions 7 to 28. An input of a node is what a recipe draws, or an earlier
result of the same type, brought to the shape by Reshape, Tile and Slice. What is expected comes node by node from
onnxruntime, or where it has no such kernel from the reference evaluator. The same chain runs again with every
result disturbed by some ulps: what that changes is the tolerance, and a graph whose integers change is drawn
anew. Generated code and the interpreter must both agree. Closes with 'N passed, N failed, N skipped'.
"""

import argparse
import collections
import concurrent.futures as futures
import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import every
import numpy as np
import onnx
from every import EPS, as_float, choose_types, element_type, interpret, oracle, proto
from onnx import defs, helper
from recipes import RECIPES, Case, dtype, is_float

OLDEST, NEWEST = 7, every.NEWEST[""]
FLOATS = ("tensor(float)",) * 5 + ("tensor(double)", "tensor(float16)")


# Numbers that mean sizes and frequencies: only few are sensible.
PARAMETERS = {("OneHot", 0), ("OneHot", 1), ("HannWindow", 0), ("HammingWindow", 0), ("BlackmanWindow", 0)} | {(op, i) for op in ("MelWeightMatrix", "Range") for i in range(5)}
SIZED = {"Attention", "RotaryEmbedding", "Det", "DFT", "ConstantOfShape"}  # an extent must be known when compiling
SHAKES = 3
TYPES = {dtype(k): k for t in defs.get_schema("Identity", NEWEST).type_constraints for k in t.allowed_type_strs if k.startswith("tensor(")}


def type_name(dt):
    """tensor(float) of float32."""
    return TYPES.get(np.dtype(dt), "")


class Again(Exception):
    """This choice leads nowhere."""


@functools.lru_cache
def active(version):
    """The rows of every.py whose operator is the one of this version."""
    newest = {}
    for s in defs.get_all_schemas_with_history():
        if s.domain == "" and s.since_version <= version and s.since_version > newest.get(s.name, (0,))[0]:
            newest[s.name] = (s.since_version, s)
    by_op = collections.defaultdict(list)
    for _, s in newest.values():
        if s.deprecated or s.name not in RECIPES or s.name in every.DRAWN:
            continue
        for t in s.type_constraints:
            by_op[s.name] += [(s, t.type_param_str, k) for k in t.allowed_type_strs if k.startswith("tensor(")]
    return dict(by_op)


def span(v):
    f = as_float(v)
    return 0.0 if f is None else float(np.abs(f).max(initial=0))


def eps(v):
    """Half an ulp of the largest element, or a part of the tolerance of such a type."""
    name = np.dtype(v.dtype).name
    if not is_float(v.dtype):
        return 0.0
    return {"float64": 5e-8, "float32": 1e-7}.get(name) or (EPS.get(name, 0.1) / 2)


class Chain:
    """Nodes with their results; `shaken` has those of the disturbed runs."""

    def __init__(self, seed):
        self.r = np.random.RandomState(seed)
        self.v = int(self.r.randint(OLDEST, NEWEST + 1))
        self.nodes, self.inputs, self.inits, self.values, self.shaken, self.used, self.tolerance = [], [], [], {}, {}, set(), {}
        self.count = 0

    def name(self, stem):
        self.count += 1
        return f"{stem}{self.count}"

    def run(self, c, ins, shaken, attrs, n):
        """Results of the node, and those of the disturbed runs; Again where no oracle can."""
        outs = [f"y{i}" for i in range(n)]
        who, got = oracle(c, ins, attrs, outs)
        if got is None:
            raise Again
        again = []
        for these in shaken:
            other, values = oracle(c, these, attrs, outs)
            if values is None or other != who:
                raise Again
            again.append(values)
        return got, again

    def add(self, op, ins, outs, attrs):
        self.nodes.append(helper.make_node(op, ins, outs, **attrs))

    def adapt(self, name, shape):
        """The value in another shape: its elements again and again, from a random one on."""
        size, have = int(np.prod(shape, dtype=np.int64)), self.values[name].size
        times = -(-(size + have) // have)
        at = int(self.r.randint(0, have))
        flat, tiled, cut, to = (self.name(s) for s in ("flat", "tiled", "cut", "as"))

        def constant(v):
            k = self.name("k")
            self.inits.append(proto(np.array(v, np.int64), k))
            return k

        self.add("Reshape", [name, constant([-1])], [flat], {})
        self.add("Tile", [flat, constant([times])], [tiled], {})
        if self.v < 10:
            self.add("Slice", [tiled], [cut], {"axes": [0], "starts": [at], "ends": [at + size]})
        else:
            self.add("Slice", [tiled, constant([at]), constant([at + size])], [cut], {})
        self.add("Reshape", [cut, constant(shape)], [to], {})
        self.used.add(name)
        return to, [np.tile(v.reshape(-1), times)[at : at + size].reshape(shape) for v in (self.values[name], *self.shaken[name])]

    def movable(self, dt):
        """Whether this version's Reshape, Tile and Slice take such elements."""
        for op in ("Reshape", "Tile", "Slice"):
            s = defs.get_schema(op, self.v)
            names = {k for t in s.type_constraints if t.type_param_str == "T" for k in t.allowed_type_strs}
            if type_name(dt) not in names:
                return False
        return True

    def grow(self):
        """One more node."""
        r, rows = self.r, active(self.v)
        op = sorted(rows)[r.randint(len(rows))]
        of = rows[op]
        wish = FLOATS[r.randint(len(FLOATS))]
        if self.values and r.rand() < 0.5:  # the type of a result that there is
            wish = type_name(list(self.values.values())[r.randint(len(self.values))].dtype)
        fit = [x for x in of if x[2] == wish] or of
        s, var, kind = fit[r.randint(len(fit))]
        seed = int(r.randint(1 << 30))
        c = Case(s, choose_types(s, var, kind, seed), seed, var)
        ins, attrs, n = RECIPES[op](c)
        if c.alone or c.tolerance > 1 or op == "QuantizeLinear" and self.v < 10:
            raise Again
        ins = [None if v is None else np.asarray(v) for v in ins]
        shaken, names, kept = [list(ins) for _ in range(SHAKES)], [""] * len(ins), (len(self.nodes), len(self.inits), set(self.used))
        linked = 0
        for i, v in enumerate(ins):
            if v is None:
                continue
            formal = s.inputs[min(i, len(s.inputs) - 1)].type_str
            fits = [k for k, x in self.values.items() if x.dtype == v.dtype and x.size]
            free = formal in c.types and (op, i) not in PARAMETERS and i not in c.fixed and v.size and (is_float(v.dtype) or i == 0)
            if free and fits and self.movable(v.dtype) and r.rand() < 0.75:
                fresh = [k for k in fits if k not in self.used] or fits
                k = fresh[r.randint(len(fresh))]
                if self.values[k].shape == v.shape and r.rand() < 0.8:
                    names[i], moved = k, [self.values[k], *self.shaken[k]]
                    self.used.add(k)
                else:
                    names[i], moved = self.adapt(k, v.shape)
                for row, x in zip([ins, *shaken], moved, strict=True):
                    row[i] = x
                linked += 1
        if linked:
            c.twin = None  # it has the drawn inputs
        try:
            if self.values and not linked and r.rand() < 0.8:
                raise Again
            got, again = self.run(c, ins, shaken if linked else [], attrs, n)
            for other in again:
                for a, b in zip(got, other, strict=True):
                    self.check(a, b)
            if op in ("Cast", "CastLike") and is_float(ins[0].dtype) and not is_float(got[0].dtype) and not (0 <= as_float(ins[0])).all():
                raise Again  # below 0 as an unsigned integer
            if op == "NonZero" and linked and is_float(ins[0].dtype):
                raise Again  # a sum that is almost 0
            again = again or [got] * SHAKES
        except Again:
            del self.nodes[kept[0] :], self.inits[kept[1] :]
            self.used = kept[2]
            raise
        for i, v in enumerate(ins):
            if v is None or names[i]:
                continue
            names[i] = self.name("x")
            if i in c.fixed or i and r.rand() < 0.4:
                self.inits.append(proto(v, names[i]))
            else:
                self.inputs.append((names[i], v, i == 0 and s.inputs[0].type_str in c.types and op not in SIZED and r.rand() < 0.5))
        while names and not names[-1]:
            names.pop()
        outs = [self.name("y") for _ in got]
        self.add(op, names, outs, attrs)
        for i, o in enumerate(outs):
            self.values[o], self.shaken[o] = got[i], [self.disturbed(other[i]) for other in again]

    def check(self, a, b):
        """Whether a result can be compared, and what depends on it."""
        if a.dtype != b.dtype or a.shape != b.shape or a.size > 4096:
            raise Again
        if not is_float(a.dtype):
            if a.dtype.kind == "c" or not np.array_equal(a, b) or a.dtype.kind == "i" and span(a) > 1e4:
                raise Again
            return
        x, y = as_float(a), as_float(b)
        if not np.isfinite(x).all() or not np.isfinite(y).all() or span(a) > 1e4:
            raise Again
        if np.abs(x - y).max(initial=0) > 100 * eps(a) * max(1.0, span(a)):  # on the edge of something
            raise Again

    def disturbed(self, v):
        if not is_float(v.dtype) or v.size == 0 or v.dtype.itemsize < 2:
            return v
        by = self.r.uniform(-16, 16, v.shape) * eps(v) * max(span(v), 0.1)
        return (as_float(v) + by).astype(v.dtype)

    def write(self, folder):
        r = self.r
        data = folder / "test_data_set_0"
        data.mkdir(parents=True)
        inputs = []
        for i, (name, v, symbols) in enumerate(self.inputs):
            shape = [f"{name}_{a}" if symbols and n > 1 and r.rand() < 0.5 else n for a, n in enumerate(v.shape)]
            inputs.append(helper.make_tensor_value_info(name, element_type(v), shape))
            (data / f"input_{i}.pb").write_bytes(proto(v, name).SerializeToString())
        given = [k for k in self.values if k not in self.used or r.rand() < 0.3]
        worst = 0.0
        for i, k in enumerate(given):
            v = self.values[k]
            if is_float(v.dtype):
                moved = max(np.abs(as_float(v) - as_float(x)).max(initial=0) for x in self.shaken[k])
                worst = max(worst, moved * 2, 40 * eps(v) * max(1.0, span(v)))
            (data / f"output_{i}.pb").write_bytes(proto(v.astype(object) if v.dtype.kind in "SU" else v, k).SerializeToString())
        graph = helper.make_graph(self.nodes, "mixed", inputs, [], self.inits)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.v)], ir_version=10)
        for k in given:
            model.graph.output.add().name = k
        self.tolerance = (1e-5, worst)
        (folder / "tol.txt").write_text("%g %g\n" % self.tolerance)
        onnx.save(model, folder / "model.onnx")
        self.folder = folder


def make(seed, nodes, folder):
    c = Chain(seed)
    for _ in range(12 * nodes):
        if len(c.values) >= nodes:
            break
        try:
            c.grow()
        except Again:
            continue
    if len(c.values) < 2:
        return None
    c.seed = seed
    c.write(folder)
    return c


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--cnncc", required=True)
    p.add_argument("--runner", required=True)
    p.add_argument("--count", type=int, default=200)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--nodes", type=int, default=6)
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--cc", default="tcc")
    p.add_argument("--keep", help="a folder for the cases that fail")
    p.add_argument("--hits", action="store_true", help="print how often each operator was there")
    opt = p.parse_args()
    hits, passed, failed, skipped = collections.Counter(), 0, 0, 0
    with tempfile.TemporaryDirectory() as tmp:
        for first in range(0, opt.count, 200):
            root = pathlib.Path(tmp) / str(first)
            seeds = range(opt.seed + first, opt.seed + min(first + 200, opt.count))
            with futures.ProcessPoolExecutor(opt.jobs) as pool:
                made = list(pool.map(make, seeds, [opt.nodes] * len(seeds), [root / f"c{s}" for s in seeds]))
            chains = [c for c in made if c]
            skipped += len(made) - len(chains)
            with futures.ThreadPoolExecutor(opt.jobs) as pool:
                verdicts = list(pool.map(lambda j: interpret(opt, j), chains))
            (root / "list").write_text("".join(f"{c.folder}\n" for c in chains))
            out = subprocess.run([opt.runner, "--batch", str(root / "list"), "--jobs", str(opt.jobs)],
                                 env=dict(os.environ, CC=opt.cc), stdout=subprocess.PIPE, check=False).stdout
            answer = {}
            for line in out.decode(errors="replace").splitlines():
                word, _, rest = line.partition(" ")
                name, _, detail = rest.partition(" ")
                answer[name] = (word, detail)
            for c, (code, text) in zip(chains, verdicts, strict=True):
                word, detail = answer.get(c.folder.name, ("CRASH", "no answer"))
                if word == "REFUSED" and re.search(every.EXPECTED, detail):
                    skipped += 1
                    continue
                if word == "PASS" and code == 0:
                    passed += 1
                    hits.update(n.op_type for n in c.nodes)
                    continue
                failed += 1
                ops = " ".join(n.op_type for n in c.nodes)
                print(f"FAILED seed {c.seed} (opset {c.v}: {ops}): {word} {detail[:300]}; eval {code}: {text[:300]}", flush=True)
                if opt.keep:
                    shutil.copytree(c.folder, pathlib.Path(opt.keep) / f"seed{c.seed}", dirs_exist_ok=True)
            shutil.rmtree(root, ignore_errors=True)
    if opt.hits:
        print(", ".join(f"{op} {n}" for op, n in hits.most_common()))
    print(f"{len(hits)} operators")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
