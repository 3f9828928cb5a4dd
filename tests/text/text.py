# SPDX-License-Identifier: Apache-2.0
"""Random models on strings and of look-ups, compiled and interpreted, against oracles.

    text.py --build build [--count 12] [--seed 1] [--sets 6] [OPERATOR...]

The oracles: onnxruntime; Python where onnxruntime has no operator or is not Unicode's (str.lower, str.split, repr);
google-re2, where it is installed, else Python's re, for regular expressions. --count models of each operator, each
with some sets of data. Closes with 'N passed, N failed, N skipped'.
"""

import argparse
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

try:
    import re2
except ImportError:
    re2 = None

ort.set_default_logger_severity(4)
ML, MS = "ai.onnx.ml", "com.microsoft"
WORDS = ["a", "b", "the", "The", "THE", "cat", "dog", "naïve", "Straße", "ΣΑΣ", "ὈΔΥΣΣΕΎΣ", "日本", "😀", "x1", "_", "a b", "İi", "ﬁn", "Ǆ", "",
         "don't", "éé", "ß"]
ALPHABET = "aAbBzZ09_ .,-\n\tßéÉΣσςİıſK日😀\u2003\u00a0"


def word(r):
    return r.choice(WORDS) if r.random() < 0.6 else "".join(r.choice(ALPHABET) for _ in range(r.randrange(7)))


def text(r):
    return r.choice([" ", "", ",", "  ", "-"]).join(word(r) for _ in range(r.randrange(6)))


def strings(r, shape, make=text):
    n = int(np.prod(shape, dtype=np.int64))
    return np.array([make(r) for _ in range(n)], object).reshape(shape)


def shape_of(r, low=0, high=3):
    return [r.choice([0, 1, 2, 3, 4]) if r.random() < 0.1 else r.randrange(1, 5) for _ in range(r.randrange(low, high + 1))]


class Case:
    """A model, and for each set of inputs what must come out."""

    def __init__(self, nodes, ins, outs, sets, opset=20):
        g = h.make_graph(nodes, "g", [h.make_tensor_value_info(*i) for i in ins], [h.make_tensor_value_info(*o) for o in outs])
        opsets = [h.make_opsetid("", opset), h.make_opsetid(ML, 4), h.make_opsetid(MS, 1)]
        self.model = h.make_model(g, opset_imports=opsets, ir_version=9)
        self.names = [i[0] for i in ins], [o[0] for o in outs]
        self.sets = sets  # [(inputs, outputs or None)]


def by_ort(model, feeds):
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    for n in copy.graph.node:
        if n.op_type == "StringNormalizer":  # a locale that every Debian has
            n.attribute.append(h.make_attribute("locale", "C.UTF-8"))
    return ort.InferenceSession(copy.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)


def symbols(rank, letters="abcdefg"):
    return [letters[i] for i in range(rank)]


# ---- operators: each gives a Case -------------------------------------------------------------------


def StringConcat(r, sets):
    a = shape_of(r)
    b = [n if r.random() < 0.8 else 1 for n in a[r.randrange(len(a) + 1) :]]
    out, data = np.broadcast_shapes(a, b), []
    for _ in range(sets):
        x, y = strings(r, a), strings(r, b)
        z = np.array(np.frompyfunc(lambda p, q: p + q, 2, 1)(x, y), object).reshape(out)
        data.append(([x, y], [z]))
    return Case([h.make_node("StringConcat", ["x", "y"], ["z"])], [("x", T.STRING, a), ("y", T.STRING, b)], [("z", T.STRING, [None] * len(out))], data)


def StringSplit(r, sets):
    attrs = {}
    if r.random() < 0.7:
        attrs["delimiter"] = r.choice(["", " ", ",", "-", "ß", "日", "a", "aa", ", "])
    if r.random() < 0.5:
        attrs["maxsplit"] = r.randrange(0, 4)
    rank, data = r.randrange(0, 3), []
    for _ in range(sets):
        x = strings(r, [r.randrange(0, 4) for _ in range(rank)])
        parts = [s.split(attrs.get("delimiter") or None, attrs.get("maxsplit", -1)) for s in x.ravel()]
        n = max(map(len, parts), default=0)
        y = np.array([p + [""] * (n - len(p)) for p in parts], object).reshape([*x.shape, n])
        data.append(([x], [y, np.array([len(p) for p in parts], np.int64).reshape(x.shape)]))
    return Case([h.make_node("StringSplit", ["x"], ["y", "z"], **attrs)], [("x", T.STRING, symbols(rank))],
                [("y", T.STRING, [None] * (rank + 1)), ("z", T.INT64, symbols(rank))], data)


def CastToString(r, sets):
    t, dt = r.choice([(T.FLOAT, np.float32), (T.DOUBLE, np.float64), (T.FLOAT16, np.float16), (T.INT64, np.int64), (T.UINT64, np.uint64),
                      (T.INT8, np.int8), (T.BOOL, bool), (T.INT32, np.int32)])
    data = []
    for _ in range(sets):
        n = r.randrange(0, 12)
        bits = [r.getrandbits(64) for _ in range(n)]
        if np.issubdtype(dt, np.floating):
            x = np.array([r.choice([v / 7, float(r.randrange(-99, 99)), r.randrange(999) / 100, 10.0 ** r.randrange(-20, 20)]) for v in bits])
            with np.errstate(all="ignore"):
                x = np.where([r.random() < 0.5 for _ in bits], x, np.array(bits, np.uint64).view(np.float64)).astype(dt) if n else x.astype(dt)
                x = np.append(x, np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 2.0 ** r.randrange(-14, 15)]).astype(dt))
        else:
            x = np.array(bits, np.uint64).astype(dt)
        data.append(([x], [np.array([str(v) for v in x.tolist()] if dt in (np.int64, np.uint64) else [str(v) for v in x.astype(np.str_)], object)]))
    return Case([h.make_node("Cast", ["x"], ["y"], to=T.STRING)], [("x", t, ["n"])], [("y", T.STRING, ["n"])], data)


def number_text(r):
    form = r.randrange(6)
    if form == 0:
        return repr(np.array(r.getrandbits(64), np.uint64).view(np.float64).item())
    if form == 1:
        return f"{r.randrange(10**r.randrange(1, 30))}.{r.randrange(10**r.randrange(1, 30))}e{r.randrange(-340, 320)}"
    if form == 2:
        return r.choice(["inf", "-INF", "+Inf", "NaN", "nan", "infinity", " 12 ", "1e5", "1E-5", ".5", "5.", "-0"])
    return str(r.choice([r.randrange(-(10**9), 10**9), r.random(), r.randrange(-(2**53), 2**53) / 8]))


def CastFromString(r, sets):
    t, dt = r.choice([(T.FLOAT, np.float32), (T.DOUBLE, np.float64), (T.INT64, np.int64), (T.INT32, np.int32), (T.BOOL, bool)])
    data = []
    for _ in range(sets):
        n = r.randrange(0, 9)
        whole = np.issubdtype(dt, np.integer)
        bits = 63 if dt == np.int64 else 31
        x = [str(r.randrange(-(2**bits), 2**bits)) if whole else number_text(r) for _ in range(n)]
        with np.errstate(all="ignore"):
            y = [int(s) for s in x] if whole else [s != "" for s in x] if dt is bool else [float(s) for s in x]
            data.append(([np.array(x, object)], [np.array(y, dt if dt != np.float32 else np.float64).astype(dt)]))
    return Case([h.make_node("Cast", ["x"], ["y"], to=t)], [("x", T.STRING, ["n"])], [("y", t, ["n"])], data)


def StringNormalizer(r, sets):
    attrs = {"case_change_action": r.choice(["LOWER", "UPPER", "NONE"]), "is_case_sensitive": r.randrange(2)}
    stop = [word(r) for _ in range(r.randrange(0, 5))]
    if stop:
        attrs["stopwords"] = stop
    change = {"LOWER": str.lower, "UPPER": str.upper, "NONE": str}[attrs["case_change_action"]]
    fold = str if attrs["is_case_sensitive"] else str.lower if attrs["case_change_action"] == "NONE" else change
    rank, data = r.choice([1, 1, 2]), []
    words = {fold(s) for s in stop}
    for _ in range(sets):
        x = strings(r, [1] * (rank - 1) + [r.randrange(1, 9)], r.choice([word, text]))
        y = [change(s) for s in x.ravel() if not stop or fold(s) not in words] or [""]
        data.append(([x], [np.array(y, object).reshape([1] * (rank - 1) + [len(y)])]))
    return Case([h.make_node("StringNormalizer", ["x"], ["y"], **attrs)], [("x", T.STRING, [1] * (rank - 1) + ["n"])],
                [("y", T.STRING, [None] * rank)], data)


def pattern(r, depth=0):
    kind = r.randrange(10) if depth < 3 else r.randrange(4)
    if kind < 2:
        return re.escape(r.choice(ALPHABET.replace("\n", ""))).replace("\\\u2003", "\u2003").replace("\\\u00a0", "\u00a0")
    if kind == 2:
        lo, hi = sorted(r.sample("abzAZ09é日", 2))
        cls = r.choice([f"{lo}-{hi}", "a-c", "abc", r"\d", "A-Za-z", "é-日", r"\w", "^a", r"^\d", "."])
        return f"[{cls}]"
    if kind == 3:
        return r.choice([".", r"\d", r"\w", r"\D", r"\W", "ab", "(?:)", r"\x41", "the"])
    if kind in (4, 5):
        return pattern(r, depth + 1) + pattern(r, depth + 1)
    if kind == 6:
        return f"(?:{pattern(r, depth + 1)}|{pattern(r, depth + 1)})"
    if kind == 7:
        return f"({pattern(r, depth + 1)}){r.choice(['*', '+', '?', '{2}', '{1,3}', '{2,}', '*?', '+?'])}"
    if kind == 8:
        return r.choice([r"^", r"$" if re2 else r"^", r"\b", r"\B", ""]) + pattern(r, depth + 1)
    return f"(?{r.choice('ism' if re2 else 's')}:{pattern(r, depth + 1)})"  # Python's $ and i are not RE2's


RE2_ONLY = [r"\pL+", r"\p{Greek}*", r"\p{^Lu}+", r"\PN*", r"[[:alpha:]]+", r"[[:^digit:]\s]*", r"[\p{Lu}_]+.*", r"(?i)straSSe|naïve|σας", r"\Qa.b\E*",
            r"(?P<n>\d+)\w*", r"(?U)a+.*", r"(?-s).+", r"\x{65e5}.", r"[^\p{Latin}]+", r"(?i)[k-s]+", r"\z", r"a{,3}", r"\C+"]


def matching(r, p):
    """A string that is likely to be near the pattern."""
    out = re.sub(r"\\[A-Za-z]|[()*+?{}|^$.\[\]]|\?:", "", p)
    return out + r.choice(["", "a", "1", " "]) if r.random() < 0.5 else out[: r.randrange(len(out) + 1)] * r.randrange(1, 3)


def RegexFullMatch(r, sets):
    engine = re2 or re
    while True:
        p = r.choice(RE2_ONLY) if re2 and r.random() < 0.3 else pattern(r)
        try:
            compiled = engine.compile(p) if re2 else re.compile(p, re.ASCII)
            break
        except Exception:  # noqa: BLE001 - what the engine refuses
            continue
    data = []
    for _ in range(sets):
        x = strings(r, [r.randrange(1, 20)], lambda q: q.choice([text, word])(q) if q.random() < 0.6 else matching(q, p))
        data.append(([x], [np.array([compiled.fullmatch(s) is not None for s in x.ravel()]).reshape(x.shape)]))
    return Case([h.make_node("RegexFullMatch", ["x"], ["y"], pattern=p)], [("x", T.STRING, ["n"])], [("y", T.BOOL, ["n"])], data)


def Tokenizer(r, sets):
    attrs = {"mark": r.randrange(2), "pad_value": r.choice(["#", "", "日"]), "mincharnum": r.choice([1, 1, 2, 3])}
    kind = r.randrange(3)
    if kind == 0:
        attrs["tokenexp"] = r.choice(["[a-zA-Z0-9_]+", r"\w+", r"\pL+", "a|ab|aba", r"[^\s]+", r"\b\w\w+\b", "a*", ".", r"^\w+", r"\w+$", pattern(r)])
    elif kind == 1:
        attrs["separators"] = r.sample([" ", ",", "-", r"\s+", "a|ab", "ß", "[,.]", r"\b", "x*", r"the"], r.randrange(1, 4))
    else:
        attrs.update(separators=[""], mincharnum=1)
    rank, data = r.randrange(1, 3), []
    for _ in range(sets):
        data.append(([strings(r, [r.randrange(1, 5) for _ in range(rank)])], None))
    return Case([h.make_node("Tokenizer", ["x"], ["y"], domain=MS, **attrs)], [("x", T.STRING, symbols(rank))],
                [("y", T.STRING, [None] * (rank + 1))], data)


def TfIdfVectorizer(r, sets):
    use = r.random() < 0.5
    most = r.randrange(1, 4)
    vocabulary = [f"w{i}" for i in range(6)] + ["é", "日 x"] if use else list(range(-2, 7))
    grams, starts, pool = [], [], []
    for n in range(1, most + 1):
        starts.append(len(pool))
        some = {tuple(r.choice(vocabulary) for _ in range(n)) for _ in range(r.randrange(0 if n < most else 1, 7))}
        for g in sorted(some, key=str):
            grams.append(g)
            pool.extend(g)
    order = list(range(len(grams)))
    if r.random() < 0.5:
        r.shuffle(order)
    low = r.randrange(1, most + 1)
    attrs = {"mode": r.choice(["TF", "IDF", "TFIDF"]), "min_gram_length": low, "max_gram_length": most, "max_skip_count": r.randrange(0, 4),
             "ngram_counts": starts, "ngram_indexes": order, "pool_strings" if use else "pool_int64s": pool}
    if r.random() < 0.7 and order == sorted(order):  # onnxruntime takes weights by column
        attrs["weights"] = [r.randrange(1, 20) / 4 for _ in grams]
    rank, data, t = r.randrange(1, 3), [], T.STRING if use else r.choice([T.INT64, T.INT32])
    for _ in range(sets):
        s = [r.randrange(1, 4)] * (rank - 1) + [r.randrange(1, 12)]
        words = [*vocabulary, "other" if use else 99]
        x = [r.choice(words) for _ in range(int(np.prod(s)))]
        data.append(([np.array(x, object if use else np.int64 if t == T.INT64 else np.int32).reshape(s)], None))
    return Case([h.make_node("TfIdfVectorizer", ["x"], ["y"], **attrs)], [("x", t, symbols(rank))], [("y", T.FLOAT, [None] * rank)], data)


def keys(r, kind, n):
    if kind == "strings":
        return sorted({word(r) + str(r.randrange(9)) for _ in range(n)})
    if kind == "int64s":
        return [int(v) for v in {r.randrange(-50, 50) if r.random() < 0.8 else r.randrange(-(2**62), 2**62) for _ in range(n)}]
    return [float(np.float32(v)) for v in {r.choice([r.randrange(-20, 20) / 4, r.random()]) for _ in range(n)}]


TYPE = {"strings": (T.STRING, object), "int64s": (T.INT64, np.int64), "floats": (T.FLOAT, np.float32)}


def LabelEncoder(r, sets):
    kk, vk = r.choice(list(TYPE)), r.choice(list(TYPE))
    k = keys(r, kk, r.choice([1, 3, 8, 40, 300]))
    v = (keys(r, vk, 20) * len(k))[: len(k)]
    attrs = {f"keys_{kk}": k, f"values_{vk}": v}
    if r.random() < 0.6:
        attrs[{"strings": "default_string", "int64s": "default_int64", "floats": "default_float"}[vk]] = keys(r, vk, 1)[0]
    nan = kk == "floats" and r.random() < 0.3
    if nan:
        attrs["keys_floats"] = [*k[:-1], float("nan")]
    data, rank = [], r.randrange(1, 4)
    for _ in range(sets):
        s = [r.randrange(1, 5) for _ in range(rank)]
        n = int(np.prod(s))
        x = [r.choice(k) if r.random() < 0.7 else (keys(r, kk, 1)[0] if not nan else float("nan")) for _ in range(n)]
        data.append(([np.array(x, TYPE[kk][1]).reshape(s)], None))
    return Case([h.make_node("LabelEncoder", ["x"], ["y"], domain=ML, **attrs)], [("x", TYPE[kk][0], symbols(rank))],
                [("y", TYPE[vk][0], symbols(rank))], data)


def LabelEncoderTensors(r, sets):
    """Keys, values and default as tensors of more types."""
    kt = r.choice([np.int64, np.float64, np.float32, object])
    vt = r.choice([np.int64, np.float64, np.float32, object, np.int16])
    k = keys(r, "strings" if kt is object else "int64s" if kt == np.int64 else "floats", r.choice([1, 5, 50]))
    v = [f"v{i}é" if vt is object else i * (1 if vt in (np.int64, np.int16) else 0.25) for i in range(len(k))]
    none = "none" if vt is object else 77
    attrs = {"keys_tensor": numpy_helper.from_array(np.array(k, kt)), "values_tensor": numpy_helper.from_array(np.array(v, vt)),
             "default_tensor": numpy_helper.from_array(np.array([none], vt))}
    data = []
    for _ in range(sets):
        x = [r.choice(k) if r.random() < 0.7 else ("absent" if kt is object else 12345) for _ in range(r.randrange(1, 9))]
        table = dict(zip(k, v, strict=True))
        data.append(([np.array(x, kt)], [np.array([table.get(w, none) for w in x], vt)]))
    t = lambda d: T.STRING if d is object else h.np_dtype_to_tensor_dtype(np.dtype(d))  # noqa: E731
    return Case([h.make_node("LabelEncoder", ["x"], ["y"], domain=ML, **attrs)], [("x", t(kt), ["n"])], [("y", t(vt), ["n"])], data)


def UniqueRows(r, sets):
    axis, data = r.randrange(2), []
    for _ in range(sets):
        s = [r.randrange(1, 5), 2] if axis == 0 else [2, r.randrange(1, 5)]
        data.append(([strings(r, s, lambda q: q.choice(["a", "b", "é", "ab", ""]))], None))
    return Case([h.make_node("Unique", ["x"], ["y", "i", "v", "c"], axis=axis, sorted=r.randrange(2))], [("x", T.STRING, ["n", 2] if axis == 0 else [2, "n"])],
                [("y", T.STRING, [None, None]), ("i", T.INT64, [None]), ("v", T.INT64, [None]), ("c", T.INT64, [None])], data)


def CategoryMapper(r, sets):
    names, forward = keys(r, "strings", r.choice([1, 5, 60])), r.random() < 0.5
    values = r.sample(range(-999, 999), len(names))
    attrs = {"cats_strings": names, "cats_int64s": values, "default_string": "none", "default_int64": -7}
    data = []
    for _ in range(sets):
        n = r.randrange(1, 9)
        x = [r.choice([*names, "absent"]) for _ in range(n)] if forward else [r.choice([*values, 1234]) for _ in range(n)]
        data.append(([np.array(x, object if forward else np.int64)], None))
    a, b = (T.STRING, T.INT64) if forward else (T.INT64, T.STRING)
    return Case([h.make_node("CategoryMapper", ["x"], ["y"], domain=ML, **attrs)], [("x", a, ["n"])], [("y", b, ["n"])], data)


def OneHotEncoder(r, sets):
    kind = r.choice(["strings", "int64s"])
    cats, zeros = keys(r, kind, r.choice([1, 5, 40])), r.randrange(2)
    t, dt = TYPE[kind] if kind == "strings" else r.choice([(T.INT64, np.int64), (T.FLOAT, np.float32), (T.INT32, np.int32), (T.DOUBLE, np.float64)])
    if kind == "int64s":
        cats = [c for c in cats if abs(c) < 1000] or [3]
    data, rank = [], r.randrange(1, 3)
    for _ in range(sets):
        s = [r.randrange(1, 5) for _ in range(rank)]
        pool = cats + (["absent"] if kind == "strings" else [1001]) * zeros
        data.append(([np.array([r.choice(pool) for _ in range(int(np.prod(s)))], dt).reshape(s)], None))
    return Case([h.make_node("OneHotEncoder", ["x"], ["y"], domain=ML, zeros=zeros, **{"cats_" + kind: cats})], [("x", t, symbols(rank))],
                [("y", T.FLOAT, [None] * (rank + 1))], data)


def const(name, v):
    return h.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(v), name))


def Rearrange(r, sets):
    """Operators that only move elements, of strings; by the reference evaluator, as onnxruntime's Gather loses strings."""
    a, b = r.randrange(1, 4), r.randrange(1, 4)
    pick = [r.randrange(-a, a) for _ in range(r.randrange(1, 4))]
    i64 = lambda *v: np.array(v, np.int64)  # noqa: E731
    table = {
        "Gather": ([const("i", i64(*pick))], ["x", "i"], {}, 2),
        "GatherElements": ([const("i", np.array([[r.randrange(-a, a) for _ in range(b)] for _ in range(2)], np.int64))], ["x", "i"], {"axis": 0}, 2),
        "GatherND": ([const("i", np.array([[p] for p in pick], np.int64))], ["x", "i"], {}, 2),
        "ScatterElements": ([const("i", np.array([[r.randrange(-a, a) for _ in range(b)]], np.int64)), const("u", np.array([[f"u{k}" for k in range(b)]], object))],
                            ["x", "i", "u"], {"axis": 0}, 2),
        "ScatterND": ([const("i", np.array([[p] for p in sorted({p % a for p in pick})], np.int64)),
                       const("u", np.array([[f"u{k}" for k in range(b)] for _ in {p % a for p in pick}], object))], ["x", "i", "u"], {}, 2),
        "Compress": ([const("c", np.array([r.random() < 0.6 for _ in range(a)]))], ["x", "c"], {"axis": 0}, 2),
        "Expand": ([const("s", i64(2, a, b))], ["x", "s"], {}, 3),
        "Reshape": ([const("s", i64(b, -1))], ["x", "s"], {}, 2),
        "Transpose": ([], ["x"], {}, 2),
        "Flatten": ([], ["x"], {"axis": r.randrange(3)}, 2),
        "Unsqueeze": ([const("s", i64(r.randrange(3)))], ["x", "s"], {}, 3),
        "Tile": ([const("s", i64(2, r.randrange(1, 3)))], ["x", "s"], {}, 2),
        "Slice": ([const("s", i64(-1)), const("e", i64(-9)), const("t", i64(r.randrange(2))), const("p", i64(-1))], ["x", "s", "e", "t", "p"], {}, 2),
        "Pad": ([const("s", i64(1, 0, 0, 2)), const("v", np.array("v", object))], ["x", "s", "v"], {}, 2),
        "Identity": ([], ["x"], {}, 2),
        "Concat": ([], ["x", "x"], {"axis": r.randrange(-2, 2)}, 2),
        "Where": ([const("c", np.array([[r.random() < 0.5] for _ in range(a)])), const("v", np.array("v", object))], ["c", "x", "v"], {}, 2),
        "Size": ([], ["x"], {}, 0),
        "ReverseSequence": ([const("s", i64(*[r.randrange(1, a + 1) for _ in range(b)]))], ["x", "s"], {"batch_axis": 1, "time_axis": 0}, 2),
    }
    op = r.choice(sorted(table))
    extra, ins, attrs, rank = table[op]
    data = [([strings(r, [a, b], word)], None) for _ in range(sets)]
    first = r.choice([a, "n"]) if op not in ("Reshape", "Expand", "Where") else a
    case = Case([*extra, h.make_node(op, ins, ["y"], **attrs)], [("x", T.STRING, [first, b])],
                [("y", T.INT64 if op == "Size" else T.STRING, [None] * rank)], data, opset=21)
    run = ReferenceEvaluator(case.model)
    case.sets = [(x, run.run(None, {"x": x[0]})) for x, _ in data]
    return case


def map_case(node, key, value, out, data):
    """A model whose input x is a map; generated code takes its keys and its values."""
    case = Case([node], [("x_keys", key, ["n"]), ("x_values", value, ["n"])], [("y", *out)], data)
    kind = onnx.TypeProto()
    kind.map_type.key_type = key
    kind.map_type.value_type.CopyFrom(h.make_tensor_type_proto(value, None))
    del case.model.graph.input[:]
    case.model.graph.input.append(h.make_value_info("x", kind))
    return case


def DictVectorizer(r, sets):
    kk, vk = r.choice(["strings", "int64s"]), r.choice(["strings", "floats", "int64s"])
    if kk == vk:
        vk = "floats"
    words, data = keys(r, kk, r.choice([1, 4, 30])), []
    for _ in range(sets):
        some = r.sample(words, r.randrange(len(words) + 1)) + ([] if r.random() < 0.7 else ["absent"] if kk == "strings" else [777])
        values = [word(r) if vk == "strings" else r.randrange(-9, 9) for _ in some]
        found = dict(zip(some, values, strict=True))
        y = [found.get(w, "" if vk == "strings" else 0) for w in words]
        data.append(([np.array(some, TYPE[kk][1]), np.array(values, TYPE[vk][1])], [np.array(y, TYPE[vk][1])]))
    node = h.make_node("DictVectorizer", ["x"], ["y"], domain=ML, **{"string_vocabulary" if kk == "strings" else "int64_vocabulary": words})
    return map_case(node, TYPE[kk][0], TYPE[vk][0], (TYPE[vk][0], [len(words)]), data)


def CastMap(r, sets):
    sparse, text_in, to = r.randrange(2), r.randrange(2), r.choice(["TO_FLOAT", "TO_INT64", "TO_STRING"])
    data, size = [], 12
    for _ in range(sets):
        some = r.sample(range(size), r.randrange(0 if sparse else 1, 6))
        values = [r.randrange(-50, 50) for _ in some]
        show = {"TO_FLOAT": np.float32, "TO_INT64": np.int64, "TO_STRING": str}[to]
        given = [str(v) if text_in else np.float32(v) for v in values]
        made = {k: show(v if to == "TO_INT64" else g) for k, v, g in zip(some, values, given, strict=True)}
        y = [made.get(k, "" if to == "TO_STRING" else 0) for k in range(size)] if sparse else [made[k] for k in sorted(made)]
        out = {"TO_FLOAT": np.float32, "TO_INT64": np.int64, "TO_STRING": object}[to]
        data.append(([np.array(some, np.int64), np.array(given, object if text_in else np.float32)], [np.array([y], out)]))
    attrs = {"map_form": "SPARSE", "max_map": size} if sparse else {"map_form": "DENSE"}
    node = h.make_node("CastMap", ["x"], ["y"], domain=ML, cast_to=to, **attrs)
    t = {"TO_FLOAT": T.FLOAT, "TO_INT64": T.INT64, "TO_STRING": T.STRING}[to]
    return map_case(node, T.INT64, T.STRING if text_in else T.FLOAT, (t, [1, None]), data)


def MurmurHash3(r, sets):
    attrs = {"seed": r.randrange(1000), "positive": r.randrange(2)}
    t, dt = r.choice([(T.STRING, object), (T.INT32, np.int32), (T.INT64, np.int64), (T.FLOAT, np.float32), (T.DOUBLE, np.float64)])
    data = []
    for _ in range(sets):
        n = r.randrange(1, 9)
        x = strings(r, [n]) if dt is object else (np.array([r.randrange(-(2**30), 2**30) for _ in range(n)]) / (7 if t in (T.FLOAT, T.DOUBLE) else 1)).astype(dt)
        data.append(([x], None))
    return Case([h.make_node("MurmurHash3", ["x"], ["y"], domain=MS, **attrs)], [("x", t, ["n"])],
                [("y", T.UINT32 if attrs["positive"] else T.INT32, ["n"])], data)


def Movement(r, sets):
    """Strings through operators that move, compare and choose."""
    data = []
    for _ in range(sets):
        n = r.randrange(1, 5)
        x, y = strings(r, [n, 3], word), strings(r, [n, 3], word)
        y = np.where(np.array([[r.random() < 0.5 for _ in range(3)] for _ in range(n)]), x, y)
        eq, t = x == y, np.concatenate([x.T, y.T], 1)
        pick = np.array([r.randrange(-3, 3) for _ in range(4)], np.int64)
        u, i, v, c = np.unique(x.astype(str), return_index=True, return_inverse=True, return_counts=True)
        data.append(([x, y, pick], [eq, np.where(eq, x, y + "!"), t[pick], np.tile(x[:, ::-1], (2, 1)), u.astype(object), i.astype(np.int64),
                                    v.ravel().astype(np.int64), c.astype(np.int64), np.pad(x, ((0, 1), (1, 0)), constant_values="")]))
    k = lambda v: h.make_node("Constant", [], [f"c{abs(hash(str(v)))}"], value=numpy_helper.from_array(np.array(v)))  # noqa: E731
    bang = h.make_node("Constant", [], ["bang"], value=h.make_tensor("b", T.STRING, [], [b"!"]))
    reps, starts, ends, axes, steps, pads = k([2, 1]), k([-1]), k([-9]), k([1]), k([-1, ][:1]), k([0, 1, 1, 0])
    nodes = [bang, reps, ends, axes, starts, pads,
             h.make_node("Equal", ["x", "y"], ["eq"]), h.make_node("StringConcat", ["y", "bang"], ["yb"]), h.make_node("Where", ["eq", "x", "yb"], ["w"]),
             h.make_node("Transpose", ["x"], ["xt"]), h.make_node("Transpose", ["y"], ["yt"]), h.make_node("Concat", ["xt", "yt"], ["t"], axis=1),
             h.make_node("Gather", ["t", "pick"], ["g"]), h.make_node("Slice", ["x", starts.output[0], ends.output[0], axes.output[0], starts.output[0]], ["s"]),
             h.make_node("Tile", ["s", reps.output[0]], ["tile"]), h.make_node("Unique", ["x"], ["u", "i", "v", "c"]),
             h.make_node("Pad", ["x", pads.output[0]], ["p"])]
    del steps
    outs = [("eq", T.BOOL, ["n", 3]), ("w", T.STRING, ["n", 3]), ("g", T.STRING, [4, None]), ("tile", T.STRING, [None, 3]), ("u", T.STRING, [None]),
            ("i", T.INT64, [None]), ("v", T.INT64, [None]), ("c", T.INT64, [None]), ("p", T.STRING, [None, 4])]
    return Case(nodes, [("x", T.STRING, ["n", 3]), ("y", T.STRING, ["n", 3]), ("pick", T.INT64, [4])], outs, data, opset=21)


OPERATORS = [StringConcat, StringSplit, CastToString, CastFromString, StringNormalizer, RegexFullMatch, Tokenizer, TfIdfVectorizer, LabelEncoder,
             LabelEncoderTensors, UniqueRows, CategoryMapper, OneHotEncoder, MurmurHash3, DictVectorizer, CastMap, Movement, Rearrange]


# ---- running ----------------------------------------------------------------------------------------


def write(folder, case, tolerance):
    """The case as a folder of test data; how many sets have an expected result."""
    folder.mkdir(parents=True)
    (folder / "tol.txt").write_text(tolerance)
    onnx.save(case.model, folder / "model.onnx")
    count = 0
    for inputs, outputs in case.sets:
        if outputs is None:
            try:
                outputs = by_ort(case.model, dict(zip(case.names[0], inputs, strict=True)))
            except Exception:  # noqa: BLE001 - there is no expected result
                continue
        sub = folder / f"test_data_set_{count}"
        sub.mkdir()
        for kind, values, names in (("input", inputs, case.names[0]), ("output", outputs, case.names[1])):
            for j, (v, name) in enumerate(zip(values, names, strict=True)):
                (sub / f"{kind}_{j}.pb").write_bytes(numpy_helper.from_array(np.asarray(v), name).SerializeToString())
        count += 1
    if not count:
        shutil.rmtree(folder)
    return count


def run_batch(opt, folders):
    runner = os.path.join(opt.build, "cnncc-run")
    listing = pathlib.Path(opt.work) / "list"
    listing.write_text("".join(f"{f}\n" for f in folders))
    env = dict(os.environ, CNNCC=os.environ.get("CNNCC") or os.path.join(opt.build, "cnncc"))
    cmd = [runner, "--batch", str(listing), "--jobs", str(opt.jobs)]
    if opt.cc:
        env["CC"] = opt.cc
    out = subprocess.run(cmd, env=env, stdout=subprocess.PIPE, check=False, text=True).stdout
    words = {}
    for line in out.splitlines():
        parts = line.split(None, 2)
        if len(parts) >= 2:
            words[parts[1]] = (parts[0], parts[2] if len(parts) > 2 else "")
    return words, out


def run_eval(opt, folder):
    for sub in sorted(folder.glob("test_data_set_*")):
        cmd = [os.path.join(opt.build, "cnncc"), str(folder / "model.onnx"), "--eval", str(sub)]
        run = subprocess.run(cmd, capture_output=True, text=True, check=False)
        if run.returncode:
            return f"{sub.name}: {(run.stdout + run.stderr).strip()[-300:]}"
    return None


def main(operators, tolerance, doc):
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--build", required=True)
    p.add_argument("--count", type=int, default=12)
    p.add_argument("--sets", type=int, default=6)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    p.add_argument("--cc", default=shutil.which("tcc"))
    p.add_argument("--keep", help="a folder for the cases")
    p.add_argument("operator", nargs="*")
    opt = p.parse_args()
    opt.build = os.path.abspath(opt.build)
    opt.work = opt.keep or tempfile.mkdtemp()
    folders, data, failed, skipped = [], {}, [], 0
    for f in operators:
        if opt.operator and f.__name__ not in opt.operator:
            continue
        for i in range(opt.count):
            folder = pathlib.Path(opt.work) / f"{f.__name__}_{opt.seed}_{i}"
            shutil.rmtree(folder, ignore_errors=True)
            n = write(folder, f(random.Random(f"{f.__name__} {opt.seed} {i}"), opt.sets), tolerance)
            skipped += n == 0
            if n:
                folders.append(folder)
                data[folder] = n
    words, raw = run_batch(opt, folders)
    for folder in folders:
        word, detail = words.get(str(folder), words.get(folder.name, ("LOST", raw[-300:])))
        if word != "PASS":
            failed.append((folder, f"{word} {detail}"))
            continue
        wrong = run_eval(opt, folder)
        if wrong:
            failed.append((folder, f"the interpreter: {wrong}"))
    for folder, what in failed:
        print(f"FAILED {folder.name}: {what[:400]}")
    for f in operators:
        mine = [d for d in folders if d.name.startswith(f.__name__ + "_")]
        if mine:
            print(f"{f.__name__:18} {len(mine):5} models {sum(data[d] for d in mine):6} sets of data")
    if not opt.keep:
        shutil.rmtree(opt.work)
    print(f"{len(folders) - len(failed)} passed, {len(failed)} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(OPERATORS, "1e-6 1e-6\n", __doc__))
