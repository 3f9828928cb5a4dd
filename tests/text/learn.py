# SPDX-License-Identifier: Apache-2.0
"""Random models of the numeric operators of ai.onnx.ml, compiled and interpreted, against onnxruntime.

    learn.py --build build [--count 12] [--seed 1] [--sets 4] [OPERATOR...]

As text.py, whose harness this is. What onnxruntime does unlike the specification is left out:
- regressors of one target apply no transform but PROBIT (the specification: the score gets it);
- a target without a weight in any leaf reached gives 0 and not its base value;
- two classes with weights of both: the label goes by the sign of the second, not by the greater score, and is 0 or 1
  whatever the integer labels are; one base value of two classes is added to the first only;
- TreeEnsemble's post_transform 1 is LOGISTIC and 2 SOFTMAX (the specification: the other way round).
"""

import sys

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

import text
from text import ML, Case

POST = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"]
KERNELS = ["LINEAR", "POLY", "RBF", "SIGMOID"]
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
NUMBERS = [(T.FLOAT, np.float32), (T.FLOAT, np.float32), (T.DOUBLE, np.float64), (T.INT64, np.int64), (T.INT32, np.int32)]


def numbers(r, *shape):
    """Floats of few bits, so that sums are exact in any order."""
    n = int(np.prod(shape))
    return (np.array([r.randrange(-64, 65) for _ in range(n)]) / 16).reshape(shape)


def floats(r, n):
    return numbers(r, n).astype(np.float32).tolist()


def labels(r, n):
    if r.random() < 0.5:
        return {"classlabels_strings": [f"c{i}é" for i in range(n)]}, T.STRING
    return {"classlabels_ints": r.sample(range(-9, 30), n)}, T.INT64


def sets_of(r, count, cols, dt, rows=None):
    out = []
    for _ in range(count):
        n = rows or r.randrange(1, 7)
        out.append(([numbers(r, n, cols).astype(dt)], None))
    return out


def LinearRegressor(r, sets):
    n, k = r.randrange(1, 4), r.randrange(1, 6)
    attrs = {"coefficients": floats(r, n * k), "targets": n, "post_transform": r.choice(POST[:4]) if n > 1 else "NONE"}
    if r.random() < 0.7:
        attrs["intercepts"] = floats(r, n)
    return Case([h.make_node("LinearRegressor", ["x"], ["y"], domain=ML, **attrs)], [("x", T.FLOAT, ["N", k])], [("y", T.FLOAT, ["N", n])],
                sets_of(r, sets, k, np.float32))


def LinearClassifier(r, sets):
    n, k = r.choice([1, 1, 3, 4]), r.randrange(1, 6)
    lab, lt = labels(r, max(n, 2))
    t, dt = r.choice(NUMBERS)
    attrs = {"coefficients": floats(r, n * k), "intercepts": floats(r, n), "post_transform": r.choice(POST[:4]), **lab}
    return Case([h.make_node("LinearClassifier", ["x"], ["y", "z"], domain=ML, **attrs)], [("x", t, ["N", k])],
                [("y", lt, ["N"]), ("z", T.FLOAT, ["N", None])], sets_of(r, sets, k, dt))


def kernel(r):
    return {"kernel_type": r.choice(KERNELS), "kernel_params": [0.25, r.choice([0.0, 0.5]), float(r.choice([2, 3]))]}


def SVMRegressor(r, sets):
    k, n = r.randrange(1, 5), r.randrange(0, 6)
    attrs = {**kernel(r), "rho": floats(r, 1), "n_supports": n, "one_class": r.randrange(2)}
    attrs["coefficients"] = floats(r, n or k)
    if n:
        attrs["support_vectors"] = floats(r, n * k)
    else:
        attrs["kernel_type"] = "LINEAR"
    return Case([h.make_node("SVMRegressor", ["x"], ["y"], domain=ML, **attrs)], [("x", T.FLOAT, ["N", k])], [("y", T.FLOAT, ["N", 1])],
                sets_of(r, sets, k, np.float32))


def SVMClassifier(r, sets):
    n, k = r.choice([2, 2, 3, 4]), r.randrange(1, 5)
    per = [r.randrange(1, 4) for _ in range(n)]
    pairs, v = n * (n - 1) // 2, sum(per)
    lab, lt = labels(r, n)
    attrs = {**kernel(r), **lab, "rho": floats(r, pairs), "vectors_per_class": per, "support_vectors": floats(r, v * k),
             "coefficients": floats(r, v * (n - 1)), "post_transform": r.choice(["NONE", "NONE", "LOGISTIC", "SOFTMAX"])}
    if r.random() < 0.5:
        attrs.update(prob_a=[-abs(a) - 0.1 for a in floats(r, pairs)], prob_b=floats(r, pairs), post_transform="NONE")
    return Case([h.make_node("SVMClassifier", ["x"], ["y", "z"], domain=ML, **attrs)], [("x", T.FLOAT, ["N", k])],
                [("y", lt, ["N"]), ("z", T.FLOAT, ["N", None])], sets_of(r, sets, k, np.float32))


def grow_trees(r, features, modes):
    rows, leaves = [], []

    def grow(t, count, depth):
        i = count[0]
        count[0] += 1
        leaf = depth == 0 or (i > 0 and r.random() < 0.2)
        row = [t, i, 0, 0.0, "LEAF", 0, 0, 0] if leaf else [t, i, r.randrange(features), r.randrange(-48, 48) / 16, r.choice(modes), 0, 0, r.randrange(2)]
        rows.append(row)
        if leaf:
            leaves.append((t, i))
        else:
            row[5] = grow(t, count, depth - 1)
            row[6] = grow(t, count, depth - 1)
        return i

    for t in range(r.randrange(1, 7)):
        grow(t, [0], r.randrange(1, 6))
    return rows, leaves


def tree_attrs(r, features):
    rows, leaves = grow_trees(r, features, MODES[: r.choice([1, 1, 2, 6])])
    names = ["treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids", "missing_value_tracks_true"]
    return {"nodes_" + n: list(c) for n, c in zip(names, zip(*rows))}, leaves


def tree_data(r, sets, features, dt):
    out = sets_of(r, sets, features, dt)
    for (x,), _ in out:
        if r.random() < 0.4:
            x[:] = np.round(x)
        if dt in (np.float32, np.float64) and r.random() < 0.5:
            x[np.array([[r.random() < 0.1 for _ in row] for row in x])] = np.nan
    return out


def as_double(attrs, dt):
    """Numbers of double precision are tensors, beside inputs of that type."""
    for name in ("nodes_values", "target_weights", "class_weights", "base_values"):
        if dt == np.float64 and name in attrs:
            attrs[name + "_as_tensor"] = numpy_helper.from_array(np.array(attrs.pop(name), np.float64) * (1 + 2.0**-40), "t")


def TreeEnsembleRegressor(r, sets):
    k, n = r.randrange(1, 5), r.choice([1, 1, 3])
    attrs, leaves = tree_attrs(r, k)
    base = r.random() < 0.4
    rows = [(t, i, c) for t, i in leaves for c in ([r.randrange(n)] if r.random() < 0.5 and not base else range(n))]
    for name, column in zip(["treeids", "nodeids", "ids"], zip(*rows)):
        attrs["target_" + name] = list(column)
    attrs.update(target_weights=floats(r, len(rows)), n_targets=n, aggregate_function=r.choice(["SUM", "AVERAGE", "MIN", "MAX"]),
                 post_transform=r.choice(POST[:4]) if n > 1 else "NONE")
    if base:
        attrs["base_values"] = floats(r, n)
    t, dt = r.choice(NUMBERS[:3])
    as_double(attrs, dt if r.random() < 0.7 else None)
    return Case([h.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain=ML, **attrs)], [("x", t, ["N", k])], [("y", T.FLOAT, ["N", n])],
                tree_data(r, sets, k, dt))


def TreeEnsembleClassifier(r, sets):
    k, n = r.randrange(1, 5), r.choice([2, 2, 3, 4])
    attrs, leaves = tree_attrs(r, k)
    only = [r.randrange(2)] if n == 2 else None
    rows = [(t, i, c) for t, i in leaves for c in (only or range(n))]
    for name, column in zip(["treeids", "nodeids", "ids"], zip(*rows)):
        attrs["class_" + name] = list(column)
    w = floats(r, len(rows))
    lab, lt = labels(r, n)
    if "classlabels_ints" in lab:
        lab = {"classlabels_int64s": lab["classlabels_ints"]}
    attrs.update(class_weights=[abs(v) for v in w] if r.random() < 0.5 else w, post_transform=r.choice(POST[:4]), **lab)
    if r.random() < 0.3 and only != [1]:
        attrs["base_values"] = floats(r, 1 if only else n)
    t, dt = r.choice(NUMBERS[:3])
    as_double(attrs, dt if r.random() < 0.7 else None)
    return Case([h.make_node("TreeEnsembleClassifier", ["x"], ["y", "z"], domain=ML, **attrs)], [("x", t, ["N", k])],
                [("y", lt, ["N"]), ("z", T.FLOAT, ["N", None])], tree_data(r, sets, k, dt))


def walk_trees(attrs, x, splits, members, weights):
    """TreeEnsemble with sets, as the specification says."""
    sets, at = {}, 0
    modes = attrs["modes"]
    for i, m in enumerate(modes):
        if m == 6:
            end = next(k for k in range(at, len(members)) if np.isnan(members[k]))
            sets[i], at = members[at:end], end + 1
    tests = [lambda v, s: v <= s, lambda v, s: v < s, lambda v, s: v >= s, lambda v, s: v > s, lambda v, s: v == s, lambda v, s: v != s]
    out = np.zeros((len(x), attrs["n_targets"]))
    for row, y in zip(x, out, strict=True):
        got = [[] for _ in y]
        for i in attrs["tree_roots"]:
            leaf = False
            while not leaf:
                v = row[attrs["nodes_featureids"][i]]
                go = v in sets[i] if modes[i] == 6 else tests[modes[i]](v, splits[i])
                side = "true" if go or (np.isnan(v) and attrs["nodes_missing_value_tracks_true"][i]) else "false"
                leaf = attrs[f"nodes_{side}leafs"][i]
                i = attrs[f"nodes_{side}nodeids"][i]
            got[attrs["leaf_targetids"][i]].append(weights[i])
        how = attrs["aggregate_function"]
        y[:] = [(sum(g) / (len(attrs["tree_roots"]) if how == 0 else 1)) if how < 2 else (min if how == 2 else max)(g or [0]) for g in got]
    return out.astype(x.dtype)


def TreeEnsemble(r, sets):
    k, n = r.randrange(1, 5), r.choice([1, 1, 3])
    t, dt = r.choice(NUMBERS[:3])
    rows, _ = grow_trees(r, k, [0, 0, 1, 2, 3, 4, 5, 6])
    place, leaf, nodes, leaves, members = {}, {}, [], [], []
    for row in rows:
        key = (row[0], row[1])
        if row[4] == "LEAF":
            leaf[key] = len(leaf)
            leaves.append(row)
        else:
            place[key] = len(place)
            nodes.append(row)
    if not nodes or any((t_, 0) in leaf for t_ in {row[0] for row in rows}):
        return TreeEnsemble(r, sets)
    for row in nodes:
        if row[4] == 6:
            members += [float(v) for v in r.sample(range(-4, 5), r.randrange(1, 4))] + [float("nan")]

    def child(row, i):
        key = (row[0], row[i])
        return (leaf[key], 1) if key in leaf else (place[key], 0)

    def tensor(v, ty):
        return numpy_helper.from_array(np.array(v, ty), "t")

    weights, modes, splits = floats(r, len(leaves)), [row[4] for row in nodes], [row[3] for row in nodes]
    attrs = {"tree_roots": sorted(place[t_, 0] for t_ in {row[0] for row in rows}), "nodes_featureids": [row[2] for row in nodes],
             "nodes_modes": tensor(modes, np.uint8), "nodes_splits": tensor(splits, dt),
             "nodes_truenodeids": [child(row, 5)[0] for row in nodes], "nodes_trueleafs": [child(row, 5)[1] for row in nodes],
             "nodes_falsenodeids": [child(row, 6)[0] for row in nodes], "nodes_falseleafs": [child(row, 6)[1] for row in nodes],
             "nodes_missing_value_tracks_true": [row[7] for row in nodes],
             "leaf_targetids": [r.randrange(n) for _ in leaves], "leaf_weights": tensor(weights, dt),
             "n_targets": n, "aggregate_function": r.randrange(4), "post_transform": r.choice([0, 3]) if n > 1 else 0}
    if members:
        attrs["membership_values"] = tensor(members, dt)
        attrs["post_transform"] = 0
    case = Case([h.make_node("TreeEnsemble", ["x"], ["y"], domain=ML, **attrs)], [("x", t, ["N", k])], [("y", t, ["N", n])], tree_data(r, sets, k, dt))
    case.model.opset_import[1].version = 5
    if members:  # of which onnxruntime knows some whole numbers only, and the reference evaluator one set
        case.sets = [(x, [walk_trees({**attrs, "modes": modes}, x[0], splits, members, weights)]) for x, _ in case.sets]
    return case


def Scaler(r, sets):
    k, (t, dt) = r.randrange(1, 5), r.choice(NUMBERS)
    n = r.choice([1, k])
    return Case([h.make_node("Scaler", ["x"], ["y"], domain=ML, offset=floats(r, n), scale=floats(r, n))], [("x", t, ["N", k])],
                [("y", T.FLOAT, ["N", k])], sets_of(r, sets, k, dt))


def Normalizer(r, sets):
    k, (t, dt) = r.randrange(1, 5), r.choice(NUMBERS)
    data = sets_of(r, sets, k, dt)
    data[0][0][0][0] = 0
    return Case([h.make_node("Normalizer", ["x"], ["y"], domain=ML, norm=r.choice(["MAX", "L1", "L2"]))], [("x", t, ["N", k])],
                [("y", T.FLOAT, ["N", k])], data)


def Binarizer(r, sets):
    k, (t, dt) = r.randrange(1, 5), r.choice(NUMBERS[:1])
    return Case([h.make_node("Binarizer", ["x"], ["y"], domain=ML, threshold=floats(r, 1)[0])], [("x", t, ["N", k])], [("y", t, ["N", k])],
                sets_of(r, sets, k, dt))


def Imputer(r, sets):
    k, whole = r.randrange(1, 5), r.random() < 0.4
    n, data = r.choice([1, k]), sets_of(r, sets, k, np.int64 if whole else np.float32)
    if whole:
        attrs = {"imputed_value_int64s": [r.randrange(9) for _ in range(n)], "replaced_value_int64": r.randrange(-2, 3)}
    else:
        old = r.choice([float("nan"), 0.5, 1.0])
        attrs = {"imputed_value_floats": floats(r, n), "replaced_value_float": old}
        for (x,), _ in data:
            x[np.array([[r.random() < 0.3 for _ in row] for row in x])] = old
    t = T.INT64 if whole else T.FLOAT
    return Case([h.make_node("Imputer", ["x"], ["y"], domain=ML, **attrs)], [("x", t, ["N", k])], [("y", t, ["N", k])], data)


def FeatureVectorizer(r, sets):
    widths, (t, dt) = [r.randrange(1, 5) for _ in range(r.randrange(1, 4))], r.choice(NUMBERS)
    names, data = [f"x{i}" for i in range(len(widths))], []
    for _ in range(sets):
        n = r.randrange(1, 5)
        data.append(([numbers(r, n, w).astype(dt) for w in widths], None))
    return Case([h.make_node("FeatureVectorizer", names, ["y"], domain=ML, inputdimensions=widths)], [(m, t, ["N", w]) for m, w in zip(names, widths)],
                [("y", T.FLOAT, ["N", sum(widths)])], data)


def ArrayFeatureExtractor(r, sets):
    k, kind = r.randrange(1, 6), r.choice([*NUMBERS, (T.STRING, object)])
    data = []
    for _ in range(sets):
        s = [*[r.randrange(1, 4) for _ in range(r.choice([1, 1, 2]) if not data else data[0][0][0].ndim - 1)], k]
        x = text.strings(r, s) if kind[1] is object else numbers(r, *s).astype(kind[1])
        data.append(([x, np.array([[r.randrange(k) for _ in range(r.randrange(1, 4))]], np.int64)], None))
    rank = data[0][0][0].ndim
    return Case([h.make_node("ArrayFeatureExtractor", ["x", "i"], ["y"], domain=ML)], [("x", kind[0], [*text.symbols(rank - 1), k]), ("i", T.INT64, [1, "n"])],
                [("y", kind[0], [None] * rank)], data)


OPERATORS = [LinearRegressor, LinearClassifier, SVMRegressor, SVMClassifier, TreeEnsembleRegressor, TreeEnsembleClassifier, TreeEnsemble, Scaler,
             Normalizer, Binarizer, Imputer, FeatureVectorizer, ArrayFeatureExtractor]

if __name__ == "__main__":
    sys.exit(text.main(OPERATORS, "1e-4 1e-5\n", __doc__))
