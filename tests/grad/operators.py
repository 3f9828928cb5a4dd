# SPDX-License-Identifier: Apache-2.0
"""Checks the gradients of every differentiable operator on its backend cases, in float64.

    operators.py --cnncc build/cnncc --cases build/conformance [--per-operator N] [NAME...]

For each case the compiled gradient J'u is compared with the derivative of the compiled function
along a random direction v, by dual numbers (|<u,Jv> - <J'u,v>| to 1e-12 of the sum's terms) and
by central differences. The last line is 'N passed, N failed, N skipped'.
"""

import argparse
import collections
import concurrent.futures
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

import cases
import dual
import own_cases

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
import loader  # noqa: E402

SKIP = {"test_range_bfloat16_type_positive_delta"}  # as many elements as its inputs' values say: without a bound
DIFFERENCES = 1e-5  # of central differences, relative to the sum of the terms


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{pathlib.Path(command[0]).name}: status {done.returncode}\n{done.stderr[-1500:]}")


def compile_case(args, case, stem):
    wrt = case.float_inputs()
    onnx.save(case.model, f"{stem}.onnx")
    run([args.cnncc, "--grad", "--loss=output:loss__", "--dtype=f64", f"--freeze=^{cases.WEIGHT}", "--prefix=m",
         *([f"--input-grad={','.join(wrt)}"] if wrt else []), "--weights=inline", f"{stem}.onnx", "-o", f"{stem}.c"])
    run([args.cc, "-std=gnu11", "-O1", "-w", "-shared", "-fPIC", "-o", f"{stem}.so", f"{stem}.c", "-lm"])
    dual.to_cpp(f"{stem}.c", f"{stem}.cpp")
    run([args.cxx, *dual.FLAGS, "-shared", "-fPIC", "-o", f"{stem}_dual.so", f"{stem}.cpp", "-lm"])
    return loader.Model(f"{stem}.so"), dual.Dual(f"{stem}_dual.so")


def values(model, feeds):
    model.bind(feeds)
    model.run()
    return model.results()


def slope_by_differences(plain, feeds, way):
    """d loss / d step along `way`, by the step that two orders agree best on."""
    best, error = None, np.inf
    for h in (1e-3, 1e-4, 1e-5, 1e-6):
        f = [float(values(plain, {n: x + k * h * way[n] if n in way else x for n, x in feeds.items()})["loss"])
             for k in (1, -1, 2, -2)]
        two, four = (f[0] - f[1]) / (2 * h), (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * h)
        if abs(two - four) < error:
            best, error = four, abs(two - four)
    return best


def check(args, case, stem):
    """The worst relative errors of dual numbers and of differences."""
    plain, twin = compile_case(args, case, stem)
    feeds = {}
    for i in range(plain.d.n_in):
        name = plain.d.in_[i].name.decode()
        x = case.feeds[name] if name in case.feeds else case.constants[name]
        feeds[name] = x
    exact = feeds
    for spread in (lambda x: 1e-2, lambda x: 1e-2 * np.abs(x), lambda x: -1e-2 * np.abs(x)):  # off the kinks, and inside the domain
        feeds = {n: x + spread(x) * case.rng.uniform(0.5, 1, size=x.shape) if x.dtype.kind == "f" else x for n, x in exact.items()}
        out = values(plain, feeds)
        grads = {n[5:]: v for n, v in out.items() if n.startswith("grad:")}
        if all(np.isfinite(g).all() for g in grads.values()):
            break
    if not grads:
        raise RuntimeError("there is no gradient")
    way = {n: case.rng.normal(size=g.shape) for n, g in grads.items()}
    if not any(g.size for g in grads.values()):
        raise ValueError("there are no elements")
    terms = np.concatenate([(g * way[n]).reshape(-1) for n, g in grads.items()])
    if not np.isfinite(terms).all():
        raise RuntimeError("a gradient is not finite")
    scale = max(np.abs(terms).sum(), 1e-30)
    moved = twin.run_dual({n: (x, way[n]) if n in way else x for n, x in feeds.items()})
    slope = float(moved["loss"][1])
    by_dual = abs(slope - terms.sum()) / scale
    near = slope_by_differences(plain, feeds, way)
    by_difference = abs(near - terms.sum()) / max(scale, 1e-3 * abs(float(out["loss"])))
    return by_dual, by_difference, not terms.any()


# Operators with no input that ONNX marks differentiable, which have gradients all the same.
MORE = """Attention LayerNormalization RMSNormalization RotaryEmbedding DeformConv RoiAlign ReverseSequence If Loop Scan DFT STFT
    AffineGrid OneHot Range DequantizeLinear SequenceAt SplitToSequence OptionalGetElement FlexAttention LinearAttention CausalConvWithState""".split()


def differentiable():
    """Operators of which an input is marked differentiable, in the newest version, and those of MORE."""
    names = set(MORE)
    for schema in onnx.defs.get_all_schemas():
        if schema.domain in ("", "ai.onnx") and any(
            i.differentiation_category == onnx.defs.OpSchema.DifferentiationCategory.Differentiable for i in schema.inputs
        ):
            names.add(schema.name)
    return names


def pick(args):
    """Cases by operator."""
    wanted = differentiable()
    root = pathlib.Path(args.cases)
    by_op = collections.defaultdict(list)
    for folder in sorted(root.iterdir()):
        if not (folder / "op.txt").exists() or "_expanded" in folder.name or folder.name in SKIP:
            continue
        op = (folder / "op.txt").read_text().strip()
        if args.names and op not in args.names and not any(re.search(n, folder.name) for n in args.names):
            continue
        if not args.names and op not in wanted:
            continue
        constant = root / "constant" / folder.name
        by_op[op].append(constant if constant.is_dir() else folder)
    for name, (op, *_) in own_cases.OWN.items():
        if not args.names or op in args.names or any(re.search(n, name) for n in args.names):
            by_op[op].insert(0, name)
    return by_op


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cnncc", required=True)
    parser.add_argument("--cases", required=True)
    parser.add_argument("--cc", default="clang-19")
    parser.add_argument("--cxx", default="g++")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--per-operator", type=int, default=0)
    parser.add_argument("--keep", help="a folder for the models and programs")
    parser.add_argument("--table", help="write docs/gradients.md, or with --current compare")
    parser.add_argument("--current", action="store_true")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    passed = failed = 0
    table = {op: [0, 0, 0] for op in differentiable()}

    def one(op, folder, tmp):
        own = isinstance(folder, str)
        name = folder if own else folder.name
        try:
            case = cases.Case.of_model(*own_cases.build(folder)) if own else cases.Case(folder)
            result = check(args, case, f"{tmp}/{name}")
        except ValueError as e:
            return op, str(folder), "none", str(e)
        except Exception as e:  # noqa: BLE001
            return op, name, "error", str(e)
        return op, name, "done", result

    with tempfile.TemporaryDirectory() as tmp, concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        work = [(op, f) for op, fs in pick(args).items() for f in (fs[: args.per_operator] if args.per_operator else fs)]
        for op, name, state, r in pool.map(lambda w: one(*w, args.keep or tmp), work):
            if state == "none":
                continue
            good = state == "done" and r[0] <= 1e-12 and r[1] <= DIFFERENCES
            passed += good
            failed += not good
            if state == "done":
                row = table.setdefault(op, [0, 0, 0])
                row[:] = row[0] + 1, row[1] + (r[0] <= 1e-12), row[2] + (r[1] <= DIFFERENCES)
            if not good:
                print(f"FAILED: {op} {name}: {r if state == 'error' else f'dual numbers {r[0]:.3g}, differences {r[1]:.3g}'}", flush=True)
    if args.table:
        text, path = table_text(table, args.per_operator), pathlib.Path(args.table)
        if not args.current:
            path.write_text(text)
        elif path.read_text() != text:
            failed += 1
            print(f"FAILED: {path.name} is not what the tests find; make it again with --table {path}")
        else:
            passed += 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


def table_text(table, cases_each):
    """docs/gradients.md: how many cases of each operator pass which check."""
    marked = {s.name for s in onnx.defs.get_all_schemas() if s.name in differentiable() - set(MORE)}
    lines = [
        "<!-- SPDX-License-Identifier: Apache-2.0 -->",
        "<!-- Made by tests/grad/operators.py --table; the tests fail when it is not current. -->",
        "# Gradients, operator by operator",
        "",
        "Each row counts cases (the first " + str(cases_each) + " of ONNX's backend tests, and models of our own) in which the",
        "compiled gradient agrees in float64 with dual numbers, which run the compiled forward pass as C++",
        "(<u, Jv> = <J'u, v> to 1e-12 of the sum's terms), and with central differences (1e-5). *ONNX* says",
        "whether ONNX marks an input of the operator as differentiable. Sequence operators are checked together",
        "under SequenceAt; QuantizeLinear is straight through, which tests/grad/grad.py checks.",
        "",
        "| operator | ONNX | cases | dual numbers | differences |",
        "|---|---|---|---|---|",
    ]
    for op in sorted(table):
        n, by_dual, by_difference = table[op]
        lines.append(f"| {op} | {'yes' if op in marked else ''} | {n} | {by_dual} | {by_difference} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
