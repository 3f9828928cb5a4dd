# SPDX-License-Identifier: Apache-2.0
"""Random nodes of every operator: inputs, attributes and the number of outputs.

A recipe is a function of a Case and gives (inputs, attributes, outputs). An input is an array or None.
Where an old version says the same in another form, Case.twin is the node of a newer one:
(version, inputs, attributes). An input in Case.fixed is a constant.
"""

import numpy as np
from onnx import helper, numpy_helper

RECIPES = {}
WORDS = ["a", "bc", "", "Zoe", "żółw", "a longer word", "x y"]


class Case:
    def __init__(self, schema, types, seed, about=""):
        self.schema, self.types, self.r = schema, types, np.random.RandomState(seed)
        self.about = about  # the constraint whose type is tried
        self.op, self.v, self.twin, self.fixed, self.tolerance = schema.name, schema.since_version, None, set(), 1
        self.alone = False  # no oracle is asked

    def type_of(self, i):
        """The element type of input i, as numpy has it."""
        formal = self.schema.inputs[min(i, len(self.schema.inputs) - 1)].type_str
        return dtype(self.types.get(formal, formal))

    def dtype(self, var):
        return dtype(self.types[var])

    def x(self, i, shape, lo=-3.0, hi=3.0):
        return draw(self.r, self.type_of(i), shape, lo, hi)

    def shape(self, low=0, high=4, most=5):
        return [self.n(1, most) for _ in range(self.n(low, high))]

    def n(self, low, high):
        return int(self.r.randint(low, high + 1))

    def flip(self, p=0.5):
        return bool(self.r.rand() < p)

    def pick(self, *of):
        return of[self.r.randint(len(of))]

    def axis(self, rank):
        return self.n(-rank, rank - 1)

    def has(self, name):
        return name in self.schema.attributes

    def ints(self, *v):
        return np.array(v, np.int64)


def dtype(name):
    """Of 'tensor(float16)'."""
    name = name[name.rindex("(") + 1 : name.index(")")] if "(" in name else name
    if name == "string":
        return np.dtype(object)
    enum = {"float": "FLOAT", "double": "DOUBLE"}.get(name, name.upper())
    return helper.tensor_dtype_to_np_dtype(getattr(helper.TensorProto, enum))


def is_float(d):
    d = np.dtype(d)
    return d.kind == "f" or (d.kind == "V" and "float" in d.name) or d.name.startswith(("bfloat", "float"))


def draw(r, d, shape, lo=-3.0, hi=3.0):
    d, shape = np.dtype(d), tuple(shape)
    if d == object:
        return np.array([WORDS[i] for i in np.asarray(r.randint(0, len(WORDS), shape)).reshape(-1)], object).reshape(shape)
    if d == bool:
        return np.asarray(r.rand(*shape) < 0.5)
    if d.kind == "c":
        return (r.uniform(lo, hi, shape) + 1j * r.uniform(lo, hi, shape)).astype(d)
    if is_float(d):
        return np.asarray(r.uniform(lo, hi, shape)).astype(np.float32).astype(d)
    low, high = {"int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3)}.get(d.name, (-99, 99))
    low = max(low, int(np.floor(3 * lo)), 0 if d.name.startswith("uint") else -128)
    high = max(low, min(high, int(np.ceil(3 * hi))))
    return np.asarray(r.randint(low, high + 1, shape)).astype(d)


def recipe(*names):
    def add(f):
        for n in names:
            RECIPES[n] = f
        return f

    return add


# ---- pointwise -------------------------------------------------------------------------------------

UNARY = {
    "Acos": (-1, 1), "Acosh": (1, 5), "Asin": (-1, 1), "Atanh": (-0.9, 0.9), "Log": (0.1, 9), "Sqrt": (0, 9),
    "Reciprocal": (0.5, 3),
}
for name in ("Abs Asinh Atan Ceil Cos Cosh Erf Exp Floor HardSwish Identity IsNaN Mish Neg Not Relu Round Sigmoid Sign "
             "Sin Sinh Softplus Softsign Tan Tanh BitwiseNot").split():
    UNARY[name] = (-3, 3)


@recipe(*UNARY)
def unary(c):
    x = c.x(0, c.shape(), *UNARY[c.op])
    c.alone = c.op == "Erf" and not is_float(c.type_of(0))  # cut results of a real function
    if c.op == "IsNaN" and x.size and is_float(x.dtype):
        x = np.where(c.r.rand(*x.shape) < 0.3, np.array(np.nan, x.dtype), x)
    return [x], {}, 1


def random_shapes(c):
    """Two shapes that broadcast."""
    s = c.shape(0, 4)
    t = [d if c.flip(0.7) else 1 for d in s][c.n(0, len(s)) if s else 0 :]
    return ([d if c.flip(0.8) else 1 for d in s], t) if c.flip() else (s, t)


def old_broadcast(c, lo, hi):
    """Before opset 7: equal shapes, or the second one somewhere within the first."""
    s = c.shape(1, 4)
    a = c.x(0, s, lo, hi)
    if c.flip(0.3):
        return [a, c.x(1, s, lo, hi)], {}
    at = c.n(0, len(s) - 1)
    end = c.n(at + 1, len(s))
    b = c.x(1, s[at:end], lo, hi)
    c.twin = (7, [a, b.reshape(b.shape + (1,) * (len(s) - end))], {})
    attrs = {"broadcast": 1}
    if end < len(s) or c.flip():
        attrs["axis"] = at
    return [a, b], attrs


@recipe("Add", "Sub", "Mul", "And", "Or", "Xor", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual",
        "BitwiseAnd", "BitwiseOr", "BitwiseXor", "PRelu", "StringConcat", "SwiGLU")
def binary(c):
    if c.v < 7 and c.op != "PRelu":
        ins, attrs = old_broadcast(c, -3, 3)
        return ins, attrs, 1
    s, t = random_shapes(c)
    if c.op == "PRelu":
        s = c.shape(1, 4)
        t = [d if c.flip(0.7) else 1 for d in s][c.n(0, len(s)) :]
        if c.v < 7:
            s, t = (s + [2, 2])[:4], [1]
            t = [s[1]] if len(s) > 1 else [1]
            ins = [c.x(0, s), c.x(1, t)]
            c.twin = (7, [ins[0], ins[1].reshape([-1] + [1] * max(0, len(s) - 2))], {})
            return ins, {}, 1
    if c.op == "SwiGLU":
        t = s
    return [c.x(0, s), c.x(1, t)], {}, 1


@recipe("Div", "Mod")
def quotient(c):
    lo, hi = 1, 3
    if c.v < 7:
        ins, attrs = old_broadcast(c, lo, hi)
        return ins, attrs, 1
    s, t = random_shapes(c)
    attrs = {}
    if c.op == "Mod":
        attrs["fmod"] = int(is_float(c.type_of(0)) or c.flip())
    b = c.x(1, t, 0.5, hi)
    if np.dtype(b.dtype).kind == "i":
        b = np.where(c.r.rand(*b.shape) < 0.5, -b, b).astype(b.dtype)
    b = np.where(b == 0, np.array(1, b.dtype), b).astype(b.dtype)
    return [c.x(0, s), b], attrs, 1


@recipe("Pow")
def power(c):
    if c.v < 7:
        ins, attrs = old_broadcast(c, 0.5, 2)
        return ins, attrs, 1
    s, t = random_shapes(c)
    base = c.x(0, s, 0.5, 2)
    return [base, c.x(1, t, 0, 0.9)], {}, 1


@recipe("BitShift")
def bit_shift(c):
    s, t = random_shapes(c)
    return [c.x(0, s), c.x(1, t, 0, 1)], {"direction": c.pick("LEFT", "RIGHT")}, 1


@recipe("Sum", "Max", "Min", "Mean")
def variadic(c):
    s = c.shape(0, 4)
    n = c.n(1, 4)
    if c.v < 8:
        return [c.x(0, s) for _ in range(n)], {}, 1
    return [c.x(0, [d if c.flip(0.8) else 1 for d in s]) for _ in range(n)], {}, 1


@recipe("Celu", "Elu", "LeakyRelu", "ThresholdedRelu", "Selu", "HardSigmoid", "Shrink", "Swish", "Gelu", "Clip",
        "IsInf")
def activation(c):
    x, attrs = c.x(0, c.shape()), {}
    for a in ("alpha", "beta", "gamma", "bias", "lambd"):
        if c.has(a) and (c.flip(0.6) or c.op == "Selu"):
            attrs[a] = float(np.round(c.r.uniform(0.1, 1.5), 2))
    if c.op == "Gelu":
        attrs = {"approximate": c.pick("none", "tanh")}
    if c.op == "IsInf":
        attrs = {"detect_negative": c.n(0, 1), "detect_positive": c.n(0, 1)}
        return [np.where(c.r.rand(*x.shape) < 0.5, np.array(c.pick(np.inf, -np.inf), x.dtype), x)], attrs, 1
    if c.op == "Clip":
        if c.v < 11:
            attrs = {k: v for k, v in (("min", -1.0), ("max", 1.25)) if c.flip(0.7)}
            low, high = attrs.get("min"), attrs.get("max")
            top = np.float32(3.4028235e38)
            lim = [np.array(b, np.float32) for b in (-top if low is None else low, top if high is None else high)]
            if c.type_of(0) == np.float32:
                c.twin = (13, [x] + lim, {})
            return [x], attrs, 1
        return [x, c.x(1, [], -2, 0) if c.flip(0.8) else None, c.x(2, [], 0, 2) if c.flip(0.8) else None], {}, 1
    return [x], attrs, 1


@recipe("Where")
def where(c):
    s = c.shape(0, 4)
    cut = [[d if c.flip(0.8) else 1 for d in s][c.n(0, len(s)) if c.flip(0.3) else 0 :] for _ in range(3)]
    return [c.x(0, cut[0]), c.x(1, cut[1]), c.x(2, cut[2])], {}, 1


SMALL = {"float4e2m1": 6, "int4": 7, "uint4": 15, "int2": 1, "uint2": 3}


@recipe("Cast", "CastLike")
def cast_to(c):
    to, s = c.dtype("T2"), c.shape()
    edge = c.pick(3, 3, 300, 70000)
    x = c.x(0, s, 0 if to.name.startswith("uint") else -edge, edge)
    if c.type_of(0) == object:
        text = ["1", "-2.5", "3e2", "0"] if is_float(to) else ["1", "0", "7"] if to.name.startswith("uint") else ["1", "-12", "0"]
        x = np.array([c.pick(*text) for _ in range(int(np.prod(s)))] + [None], object)[:-1].reshape(s)
    if not (is_float(to) or to == bool or to == object) and is_float(c.type_of(0)):  # others are undefined
        info = 100 if to.itemsize == 1 and to.name not in SMALL else SMALL.get(to.name, 30000)
        low = 0 if to.name.startswith("uint") else -info
        x = np.clip(x.astype(np.float32), low, info).astype(c.type_of(0))
    attrs = {}
    if c.has("saturate") and c.flip():
        attrs["saturate"] = 0
    if c.op == "Cast":
        number = helper.np_dtype_to_tensor_dtype(to) if to != object else helper.TensorProto.STRING
        attrs["to"] = number if c.v >= 6 else helper.TensorProto.DataType.Name(number)
        return [x], attrs, 1
    return [x, draw(c.r, to, [2])], attrs, 1


def bits(d):
    digits = "".join(k for k in d.name.split("e")[0] if k.isdigit())
    return 1 if d == bool else int(digits or 8 * d.itemsize)


@recipe("BitCast")
def bit_cast(c):
    """Of equal widths: the type in question is kept, the other one follows."""
    kinds = [[n for n in t.allowed_type_strs if bits(dtype(n)) == bits(c.dtype(c.about))] for t in c.schema.type_constraints]
    for t, same in zip(c.schema.type_constraints, kinds):
        if t.type_param_str != c.about:
            c.types[t.type_param_str] = same[c.r.randint(len(same))]
    return [c.x(0, c.shape())], {"to": helper.np_dtype_to_tensor_dtype(c.dtype("T2"))}, 1


# ---- reductions ------------------------------------------------------------------------------------


@recipe("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
        "ReduceLogSumExp", "ReduceSumSquare")
def reduction(c):
    s = c.shape(1, 4)
    lo, hi = (0.5, 1.5) if c.op in ("ReduceLogSum", "ReduceProd") else (-2, 2)
    c.alone = c.op.startswith("ReduceL") and not is_float(c.type_of(0))
    x, k = c.x(0, s, lo, hi), c.n(0, len(s))
    axes = [a - len(s) * c.n(0, 1) for a in c.r.permutation(len(s))[:k]]
    attrs, input_axes = {"keepdims": c.n(0, 1)}, c.v >= (13 if c.op == "ReduceSum" else 18)
    if not input_axes:
        if c.v < 11:
            axes = [a % len(s) for a in axes]
        if axes:
            attrs["axes"] = [int(a) for a in axes]
        newest = 13 if c.op == "ReduceSum" else 18
        c.twin = (newest, [x] + ([c.ints(*axes)] if axes else []), {"keepdims": attrs["keepdims"]})
        return [x], attrs, 1
    if c.flip(0.3):
        attrs["noop_with_empty_axes"] = 1
    return [x, c.ints(*axes)] if axes or c.flip() else [x], attrs, 1


@recipe("ArgMax", "ArgMin")
def arg(c):
    s = c.shape(1, 4)
    attrs = {"axis": c.axis(len(s)) if c.v >= 11 else c.n(0, len(s) - 1), "keepdims": c.n(0, 1)}
    if c.v >= 12:
        attrs["select_last_index"] = c.n(0, 1)
    return [c.x(0, s)], attrs, 1


@recipe("Softmax", "LogSoftmax", "Hardmax")
def softmax(c):
    s = c.shape(1, 4)
    x = c.x(0, s)
    if c.v >= 13:
        return [x], {"axis": c.axis(len(s))} if c.flip(0.8) else {}, 1
    axis = c.n(0, len(s) - 1) if c.v < 11 else c.axis(len(s))
    return [x], {"axis": axis}, 1


@recipe("CumSum", "CumProd")
def running(c):
    s = c.shape(1, 3)
    axis = np.array(c.axis(len(s)), c.type_of(1))
    return [c.x(0, s, 0.5, 1.5), axis], {"exclusive": c.n(0, 1), "reverse": c.n(0, 1)}, 1


@recipe("TopK")
def top_k(c):
    s = c.shape(1, 3)
    axis = c.n(0, len(s) - 1) if c.v < 11 else c.axis(len(s))
    d = c.type_of(0)
    x = c.r.permutation(int(np.prod(s))).reshape(s)
    x = (x - (0 if np.dtype(d).name.startswith("uint") else 5)).astype(np.float32).astype(d)
    k, attrs = c.n(1, s[axis]), {"axis": axis}
    if c.v >= 11:
        attrs["largest"] = c.n(0, 1)
    if c.v == 1:
        c.twin = (11, [x, c.ints(k)], attrs)
        return [x], dict(attrs, k=k), 2
    return [x, c.ints(k)], attrs, 2


# ---- shapes ----------------------------------------------------------------------------------------


@recipe("Shape", "Size", "NonZero", "Flatten", "Transpose", "Det")
def plain(c):
    s = c.shape(0, 4)
    attrs = {}
    if c.op == "NonZero":
        s = s or [3]
        return [c.x(0, s) * c.x(0, s, 0, 0.4) if c.type_of(0) != object and c.type_of(0) != bool else c.x(0, s)], {}, 1
    if c.op == "Shape" and c.v >= 15:
        attrs = {k: c.n(-5, 5) for k in ("start", "end") if c.flip()}
    if c.op == "Flatten":
        s = s or [2]
        attrs["axis"] = c.n(0, len(s)) if c.v < 11 else c.n(-len(s), len(s))
    if c.op == "Transpose" and c.flip(0.8) and s:
        attrs["perm"] = [int(i) for i in c.r.permutation(len(s))]
    if c.op == "Det":
        n = c.n(1, 4)
        s = c.shape(0, 2, 3) + [n, n]
    return [c.x(0, s)], attrs, 1


@recipe("Reshape")
def reshape(c):
    s = c.shape(0, 4)
    x = c.x(0, s)
    n, target = int(np.prod(s)), []
    while n > 1 and len(target) < 4:
        d = c.pick(*[d for d in range(1, n + 1) if n % d == 0])
        target.append(d)
        n //= d
    target.append(n)
    if c.flip():
        target[c.n(0, len(target) - 1)] = -1
    for i in range(min(len(s), len(target))):
        if target[i] == s[i] and c.flip(0.3):
            target[i] = 0
    if c.v < 5:
        c.twin = (14, [x, c.ints(*target)], {})
        return [x], {"shape": target}, 1
    return [x, c.ints(*target)], {}, 1


@recipe("Squeeze", "Unsqueeze")
def thin(c):
    s = c.shape(0, 4)
    rank = len(s) + c.n(1, 2)
    axes = [int(a) for a in c.r.permutation(rank)[: rank - len(s)]]
    x = c.x(0, s)
    if c.op == "Squeeze":
        x = np.expand_dims(x, tuple(axes))
    signed = axes if c.v < 11 else [a - rank * c.n(0, 1) for a in axes]
    if c.v < 13:
        c.twin = (13, [x, c.ints(*signed)], {})
        return [x], {"axes": signed}, 1
    return [x, c.ints(*signed)], {}, 1


@recipe("Concat")
def concat(c):
    s = c.shape(1, 4)
    axis = c.n(0, len(s) - 1) if c.v < 11 else c.axis(len(s))
    parts = []
    for _ in range(c.n(1, 4)):
        t = list(s)
        t[axis] = c.n(1, 4)
        parts.append(c.x(0, t))
    return parts, {"axis": axis}, 1


@recipe("Split")
def split(c):
    s, n = c.shape(1, 4), c.n(1, 3)
    axis = c.n(0, len(s) - 1) if c.v < 11 else c.axis(len(s))
    sizes = [c.n(1, 3) for _ in range(n)]
    even = c.flip()
    s[axis] = n * 2 if even else sum(sizes)
    x, attrs = c.x(0, s), {"axis": axis}
    if even:
        if c.v >= 18:
            attrs["num_outputs"] = n
        return [x], attrs, n
    if c.v == 1:
        c.twin = (13, [x, c.ints(*sizes)], attrs)
        return [x, np.array(sizes).astype(c.type_of(1))], attrs, n
    if c.v < 13:
        c.twin = (13, [x, c.ints(*sizes)], attrs)
        return [x], dict(attrs, split=sizes), n
    return [x, c.ints(*sizes)], attrs, n


@recipe("Slice")
def slices(c):
    s = c.shape(1, 4)
    k = c.n(1, len(s))
    axes = [int(a) for a in c.r.permutation(len(s))[:k]]
    start, end = [c.n(-6, 6) for _ in range(k)], [c.n(-6, 6) for _ in range(k)]
    x = c.x(0, s)
    if c.v < 10:
        c.twin = (13, [x, c.ints(*start), c.ints(*end), c.ints(*axes)], {})
        return [x], {"starts": start, "ends": end, "axes": axes}, 1
    steps = [c.pick(-3, -2, -1, 1, 2) for _ in range(k)]
    if c.v >= 11:
        axes = [a - len(s) * c.n(0, 1) for a in axes]
    ins = [x] + [np.array(v, c.type_of(1)) for v in (start, end, axes, steps)]
    return ins if c.flip(0.7) else ins[:4], {}, 1


@recipe("Expand")
def expand(c):
    s, t = random_shapes(c)
    return [c.x(0, s), c.ints(*t)], {}, 1


@recipe("Tile")
def tile(c):
    s = c.shape(1, 3)
    x = c.x(0, s)
    if c.v < 6:
        n, axis = c.n(1, 3), c.n(0, len(s) - 1)
        rep = [n if a == axis else 1 for a in range(len(s))]
        c.twin = (13, [x, c.ints(*rep)], {})
        return [x, np.array(n).astype(c.type_of(1)), np.array(axis).astype(c.type_of(2))], {}, 1
    return [x, c.ints(*[c.n(0, 3) for _ in s])], {}, 1


@recipe("Pad")
def pad(c):
    s = c.shape(1, 4)
    modes = ["constant", "reflect", "edge"] + (["wrap"] if c.v >= 19 else [])
    mode = c.pick(*modes)
    pads = [c.n(0, 2) for _ in range(2 * len(s))]
    if mode in ("reflect", "wrap"):
        pads = [min(p, s[i % len(s)] - 1) for i, p in enumerate(pads)]
    x = c.x(0, s)
    if mode == "constant" and c.flip(0.3):
        pads = [p if c.flip(0.7) else -min(1, (s[i % len(s)] - 1) // 2) for i, p in enumerate(pads)]
    if c.v < 11:
        attrs = {"mode": mode, "pads" if c.v == 2 else "paddings": pads}
        if mode == "constant":
            attrs["value"] = 1.5
        c.twin = (11, [x, c.ints(*pads)] + ([np.array(1.5, x.dtype)] if mode == "constant" else []), {"mode": mode})
        return [x], attrs, 1
    value = c.x(2, []) if mode == "constant" and c.flip(0.7) else None
    if value is None and x.dtype == object:
        value = np.array("pad", object)
    if c.v >= 18 and c.flip():
        k = c.n(1, len(s))
        axes = [int(a) for a in c.r.permutation(len(s))[:k]]
        some = [pads[a] for a in axes] + [pads[len(s) + a] for a in axes]
        return [x, c.ints(*some), value, np.array(axes, c.type_of(3))], {"mode": mode}, 1
    return [x, c.ints(*pads), value], {"mode": mode}, 1


@recipe("CenterCropPad")
def center(c):
    s = c.shape(1, 3)
    k = c.n(1, len(s))
    axes = [int(a) for a in c.r.permutation(len(s))[:k]]
    if k == len(s) and c.flip():
        return [c.x(0, s), np.array([c.n(1, 6) for _ in s], c.type_of(1))], {}, 1
    return [c.x(0, s), np.array([c.n(1, 6) for _ in axes], c.type_of(1))], {"axes": axes}, 1


@recipe("DepthToSpace", "SpaceToDepth")
def blocks(c):
    b = c.n(1, 3)
    attrs = {"blocksize": b}
    if c.has("mode"):
        attrs["mode"] = c.pick("DCR", "CRD")
    if c.op == "DepthToSpace":
        return [c.x(0, [c.n(1, 2), b * b * c.n(1, 2), c.n(1, 3), c.n(1, 3)])], attrs, 1
    return [c.x(0, [c.n(1, 2), c.n(1, 3), b * c.n(1, 2), b * c.n(1, 2)])], attrs, 1


@recipe("Trilu")
def trilu(c):
    k = [np.array(c.n(-4, 4))] if c.flip(0.7) else []
    return [c.x(0, c.shape(2, 4))] + k, {"upper": c.n(0, 1)}, 1


@recipe("EyeLike")
def eye(c):
    attrs = {"k": c.n(-3, 3)}
    if c.flip():
        attrs["dtype"] = helper.np_dtype_to_tensor_dtype(c.dtype("T2"))
    return [c.x(0, [c.n(1, 5), c.n(1, 5)])], attrs, 1


@recipe("ConstantOfShape")
def constant_of_shape(c):
    return [c.ints(*c.shape())], {"value": numpy_helper.from_array(draw(c.r, c.dtype("T2"), [1]), "v")}, 1


@recipe("Constant")
def constant(c):
    return [], {"value": numpy_helper.from_array(draw(c.r, c.dtype("T"), c.shape()), "v")}, 1


@recipe("Range")
def arange(c):
    d = c.type_of(0)
    start, delta = c.n(-5, 5), c.pick(-2, -1, 1, 2, 3)
    if np.dtype(d).name.startswith("uint"):
        start, delta = c.n(0, 5), c.pick(1, 2)
    limit = start + delta * c.n(0, 6)
    if is_float(d) and c.flip():
        delta = delta / 2
    return [np.array(v).astype(d) for v in (start, max(limit, 0) if np.dtype(d).name.startswith("uint") else limit, delta)], {}, 1


@recipe("HannWindow", "HammingWindow", "BlackmanWindow")
def taper(c):
    c.alone = not is_float(c.dtype("T2"))  # cut results of a real function
    return [np.array(c.n(2, 12), c.type_of(0))], {"periodic": c.n(0, 1), "output_datatype": helper.np_dtype_to_tensor_dtype(c.dtype("T2"))}, 1


@recipe("MelWeightMatrix")
def mel(c):
    n = [np.array(v, c.type_of(i)) for i, v in enumerate((c.n(3, 10), c.pick(16, 32, 64), 8000))]
    d = c.dtype("T3")
    return n + [np.array(v).astype(c.type_of(3)) for v in (0, 4000)], {"output_datatype": helper.np_dtype_to_tensor_dtype(d)}, 1


# ---- movement --------------------------------------------------------------------------------------


def index(c, i, shape, n):
    d = np.dtype(c.type_of(i))
    low = -n if d.kind == "i" and c.v >= 11 else 0
    return c.r.randint(low, n, shape).astype(d)


@recipe("Gather")
def gather(c):
    s = c.shape(1, 3)
    axis = c.axis(len(s)) if c.v >= 11 else c.n(0, len(s) - 1)
    return [c.x(0, s), index(c, 1, c.shape(0, 2), s[axis])], {"axis": axis}, 1


@recipe("GatherElements", "Scatter", "ScatterElements")
def along(c):
    s = c.shape(1, 3)
    axis = c.axis(len(s))
    if c.op == "GatherElements":
        t = [c.n(1, d) for d in s]
        t[axis] = c.n(1, 6)
        return [c.x(0, s), index(c, 1, t, s[axis])], {"axis": axis}, 1
    attrs, t = {"axis": axis if c.op != "Scatter" or c.v >= 11 else axis % len(s)}, [c.n(1, d) for d in s]
    if c.has("reduction") and c.flip(0.7):
        attrs["reduction"] = c.pick(*(["add", "mul"] + (["max", "min"] if c.v >= 18 else [])))
        where = index(c, 1, t, s[axis])
    else:  # no index twice
        t[axis] = min(t[axis], s[axis])
        where = np.argsort(c.r.rand(*[s[a] if a == axis % len(s) else d for a, d in enumerate(t)]), axis)
        where = np.take(where, range(t[axis]), axis).astype(c.type_of(1))
    return [c.x(0, s), where, c.x(2, t)], attrs, 1


@recipe("GatherND", "ScatterND")
def nd(c):
    s = c.shape(1, 4, 4)
    batch = c.n(0, len(s) - 1) if c.op == "GatherND" and c.v >= 12 and c.flip() else 0
    k = c.n(1, len(s) - batch)
    lead = s[:batch] + (c.shape(0, 2, 3) if batch or c.op == "GatherND" else [c.n(1, 3)])
    last = np.stack([c.r.randint(-n if c.v >= 11 else 0, n, lead) for n in s[batch : batch + k]], -1).astype(np.int64)
    x = c.x(0, s)
    if c.op == "GatherND":
        return [x, last], {"batch_dims": batch} if c.v >= 12 else {}, 1
    cells = c.r.permutation(int(np.prod(s[:k])))[: min(3, int(np.prod(s[:k])))]
    last = np.stack(np.unravel_index(cells, s[:k]), -1).astype(np.int64)
    attrs = {}
    if c.has("reduction") and c.flip(0.7):
        attrs["reduction"] = c.pick(*(["add", "mul"] + (["max", "min"] if c.v >= 18 else [])))
        last = last[c.r.randint(0, len(last), 4)]
    return [x, last, c.x(2, [len(last)] + s[k:])], attrs, 1


@recipe("OneHot")
def one_hot(c):
    s, depth = c.shape(0, 3), c.n(1, 5)
    where = c.r.randint(0, depth, s).astype(np.float32).astype(c.type_of(0))
    return [np.asarray(where), np.array(depth).astype(c.type_of(1)), c.x(2, [2])], {"axis": c.axis(len(s) + 1)}, 1


@recipe("Compress")
def compress(c):
    s = c.shape(1, 3)
    axis = c.n(0, len(s) - 1) if c.v < 11 else c.axis(len(s))
    if c.flip():
        return [c.x(0, s), c.r.rand(int(np.prod(s))) < 0.5], {}, 1
    return [c.x(0, s), c.r.rand(s[axis]) < 0.5], {"axis": axis}, 1


@recipe("ReverseSequence")
def reverse(c):
    s = [c.n(1, 5) for _ in range(c.n(2, 4))]
    batch = c.n(0, 1)
    lens = c.r.randint(1, s[1 - batch] + 1, s[batch]).astype(np.int64)
    return [c.x(0, s), lens], {"batch_axis": batch, "time_axis": 1 - batch}, 1


@recipe("Unique")
def unique(c):
    s = c.shape(1, 3)
    x = c.x(0, s, -1, 1)
    return [x], dict({"sorted": c.n(0, 1)}, **({"axis": c.axis(len(s))} if c.flip() else {})), 4


@recipe("TensorScatter")
def tensor_scatter(c):
    b, n, m, d = c.n(1, 2), c.n(3, 6), c.n(1, 3), c.n(1, 3)
    mode = c.pick("linear", "circular")
    at = c.r.randint(0, n - m + 1 if mode == "linear" else n, b).astype(np.int64)
    return [c.x(0, [b, 2, n, d]), c.x(1, [b, 2, m, d]), at], {"mode": mode, "axis": -2}, 1
