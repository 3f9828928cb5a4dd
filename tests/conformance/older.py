# SPDX-License-Identifier: Apache-2.0
"""Runs operators in their older versions, which the ONNX backend cases do not cover, against numpy.

    older.py --runner build/cnncc-run [--cc tcc] [--match REGEX] [--keep DIR]

Every case runs twice: with the shapes of its inputs fixed, and with every extent but 1 a symbol of
its own. Closes with 'N passed, N failed, N skipped'; a symbolic case that is refused is skipped.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

random = np.random.RandomState(1)
CASES = []


def rand(*shape):
    return random.randn(*shape).astype(np.float32)


def case(name, op, opset, inputs, attributes, expected, constants=()):
    """A case: None is an input left out; `constants` are the inputs that are initializers."""
    expected = expected if isinstance(expected, list) else [expected]
    CASES.append((name, op, opset, inputs, attributes, expected, set(constants)))


def ints(*values, dtype=np.int64):
    return np.array(values, dtype)


def softmax(x, axes):
    e = np.exp(x - x.max(axis=axes, keepdims=True))
    return e / e.sum(axis=axes, keepdims=True)


def broadcasting():
    a, b, per_channel, last, one = rand(2, 3, 4, 5), rand(3, 4), rand(3), rand(4, 5), rand(1)
    case("add_1_axis", "Add", 1, [a, b], {"axis": 1, "broadcast": 1}, a + b[:, :, None])
    case("add_6_axis", "Add", 6, [a, per_channel], {"axis": 1, "broadcast": 1}, a + per_channel[:, None, None])
    case("mul_6_suffix", "Mul", 6, [a, last], {"broadcast": 1}, a * last)
    case("sub_1_scalar", "Sub", 1, [a, one], {"broadcast": 1}, a - one)
    case("and_1_axis", "And", 1, [a > 0, b > 0], {"axis": 1, "broadcast": 1}, (a > 0) & (b > 0)[:, :, None])
    case("greater_1_axis", "Greater", 1, [a, b], {"axis": 1, "broadcast": 1}, a > b[:, :, None])
    base, power = np.abs(a), np.abs(rand(2)) + 0.5
    case("pow_1_axis", "Pow", 1, [base, power], {"axis": 0, "broadcast": 1}, base ** power[:, None, None, None])
    case("prelu_6", "PRelu", 6, [a, per_channel], {}, np.where(a < 0, a * per_channel[:, None, None], a))
    case("mean_8", "Mean", 8, [a, b[:, :, None], one], {}, (a + b[:, :, None] + one) / 3)
    case("expand_8", "Expand", 8, [b[:, :1], ints(2, 1, 4)], {}, b[:, :1] * np.ones((2, 1, 4), np.float32), [1])


def arithmetic():
    a = rand(3, 4)
    special = np.array([np.inf, -np.inf, np.nan, 1], np.float32)
    top = np.float32(3.4028234663852886e38)
    case("clip_1", "Clip", 1, [a], {"min": -0.5, "max": 0.5}, np.clip(a, -0.5, 0.5))
    case("clip_6", "Clip", 6, [special], {}, np.array([top, -top, np.nan, 1], np.float32))
    case("clip_12", "Clip", 12, [ints(-9, 3, 99, dtype=np.int8), None, np.int8(5)], {}, ints(-9, 3, 5, dtype=np.int8))
    x, y = ints(-7, 7, -7, 9, dtype=np.int32), ints(3, -3, -3, 4, dtype=np.int32)
    case("div_7_int", "Div", 7, [x, y], {}, ints(-2, -2, 2, 2, dtype=np.int32))
    case("mod_10", "Mod", 10, [x, y], {}, np.mod(x, y))
    case("fmod_10", "Mod", 10, [x, y], {"fmod": 1}, np.fmod(x, y))
    roots = np.array([4, -np.inf, -0.0, 0, np.nan, -1], np.float32)
    case("pow_13_half", "Pow", 13, [roots, np.float32(0.5)], {}, np.array([2, np.inf, 0, 0, np.nan, np.nan], np.float32), [1])
    case("pow_13_int", "Pow", 13, [ints(2, 1, -1), ints(3, 5, 3)], {}, ints(8, 1, -1))
    case("max_13_nan", "Max", 13, [special, np.flip(special).copy()], {}, np.array([np.inf, np.nan, np.nan, np.inf], np.float32))
    case("cast_1", "Cast", 1, [a], {"to": "INT32"}, a.astype(np.int32))
    case("cast_9_bool", "Cast", 9, [special], {"to": TensorProto.BOOL}, np.ones(4, bool))
    case("cumsum_14", "CumSum", 14, [a, np.array(-2)], {"reverse": 1, "exclusive": 1}, np.cumsum(a[::-1], 0)[::-1] - a, [1])
    for n in (1, 2, 5):
        square = rand(3, n, n)
        case(f"det_11_{n}", "Det", 11, [square], {}, np.linalg.det(square).astype(np.float32))
    case("selu_1", "Selu", 1, [a], {}, np.where(a > 0, 1.0507 * a, 1.0507 * 1.6732 * np.expm1(a)).astype(np.float32))


def reductions():
    a = rand(2, 3, 4, 5)
    case("softmax_1", "Softmax", 1, [a], {"axis": 2}, softmax(a, (2, 3)))
    case("softmax_11", "Softmax", 11, [a], {}, softmax(a, (1, 2, 3)))
    case("logsoftmax_1", "LogSoftmax", 1, [a], {"axis": 3}, np.log(softmax(a, (3,))))
    best = np.zeros((2, 60), np.float32)
    best[np.arange(2), a.reshape(2, 60).argmax(1)] = 1
    case("hardmax_1", "Hardmax", 1, [a], {}, best.reshape(a.shape))
    case("reducesum_1", "ReduceSum", 1, [a], {"axes": [-1, 0], "keepdims": 0}, a.sum((0, 3)))
    case("reducesum_11_all", "ReduceSum", 11, [a], {}, a.sum(keepdims=True))
    case("reducesumsquare_18_none", "ReduceSumSquare", 18, [a], {"noop_with_empty_axes": 1}, a * a)
    case("reducel2_1", "ReduceL2", 1, [a], {"axes": [1]}, np.sqrt((a * a).sum(1, keepdims=True)))
    case("argmax_1", "ArgMax", 1, [a], {"axis": 2, "keepdims": 0}, a.argmax(2))
    ties = np.array([[1, 3, 3, 2], [2, 2, 1, 1]], np.float32)
    case("argmax_12_last", "ArgMax", 12, [ties], {"axis": 1, "select_last_index": 1, "keepdims": 0}, ints(2, 1))
    order = np.argsort(-a, -1, kind="stable")[..., :2]
    case("topk_1", "TopK", 1, [a], {"k": 2}, [np.take_along_axis(a, order, -1), order])
    case("topk_10", "TopK", 10, [a, ints(2)], {}, [np.take_along_axis(a, order, -1), order], [1])


def views():
    a, b, thin = rand(2, 3, 4, 5), rand(3, 4), rand(1, 3, 1, 5)
    big = 2**63 - 1
    case("slice_1", "Slice", 1, [a], {"starts": [1, -3], "ends": [2, 1000], "axes": [1, 3]}, a[:, 1:2, :, -3:])
    case("slice_10", "Slice", 10, [a, ints(4, -1), ints(0, -100), ints(3, 1), ints(-2, -1)], {}, a[:, ::-1, :, 4:0:-2], [1, 2, 3, 4])
    case("slice_11", "Slice", 11, [a, ints(big, 1), ints(-big - 1, big), ints(3, 2), ints(-1, 2)], {}, a[:, :, 1::2, ::-1], [1, 2, 3, 4])
    case("slice_11_empty", "Slice", 11, [a, ints(3), ints(1), ints(3)], {}, a[:, :, :, 3:1], [1, 2, 3])
    rows = rand(7, 2)
    case("split_1", "Split", 1, [rows[:6]], {"axis": 0}, [rows[:2], rows[2:4], rows[4:6]])
    case("split_2", "Split", 2, [rows], {"axis": 0, "split": [2, 5]}, [rows[:2], rows[2:]])
    case("split_18", "Split", 18, [rows], {"axis": 0, "num_outputs": 3}, [rows[:3], rows[3:6], rows[6:]])
    case("reshape_1", "Reshape", 1, [a], {"shape": [0, -1, 10]}, a.reshape(2, 6, 10))
    case("reshape_5", "Reshape", 5, [a, ints(0, 0, -1)], {}, a.reshape(2, 3, 20), [1])
    case("reshape_14", "Reshape", 14, [np.zeros((0, 3), np.float32), ints(3, 0)], {"allowzero": 1}, np.zeros((3, 0), np.float32), [1])
    case("squeeze_1", "Squeeze", 1, [thin], {}, thin.reshape(3, 5))
    case("squeeze_11", "Squeeze", 11, [thin], {"axes": [-2]}, thin.reshape(1, 3, 5))
    case("unsqueeze_11", "Unsqueeze", 11, [b], {"axes": [-1, 1]}, b.reshape(3, 1, 4, 1))
    case("concat_1", "Concat", 1, [a, a], {}, np.concatenate([a, a], 1))
    case("tile_1", "Tile", 1, [b, np.float32(2), np.float32(1)], {}, np.tile(b, (1, 2)), [1, 2])
    widths = [(0, 0), (0, 0), (1, 3), (2, 1)]
    case("pad_1", "Pad", 1, [a], {"paddings": [0, 0, 1, 2, 0, 0, 3, 1], "value": 1.5}, np.pad(a, widths, constant_values=1.5))
    for mode in ("reflect", "edge"):
        case(f"pad_2_{mode}", "Pad", 2, [a], {"pads": [0, 0, 1, 2, 0, 0, 3, 1], "mode": mode}, np.pad(a, widths, mode=mode))
    case("pad_2_crop", "Pad", 2, [a], {"pads": [0, 0, -1, 2, 0, 0, 3, -1]}, np.pad(a[:, :, 1:, :-1], [(0, 0), (0, 0), (0, 3), (2, 0)]))
    case("dropout_6", "Dropout", 6, [a], {"is_test": 1}, a)
    case("dropout_7", "Dropout", 7, [a], {}, [a, np.ones_like(a)])
    case("depthtospace_11", "DepthToSpace", 11, [rand(1, 8, 2, 3)], {"blocksize": 2, "mode": "CRD"}, None)
    x = CASES[-1][3][0]
    CASES[-1][5][0] = x.reshape(1, 2, 2, 2, 2, 3).transpose(0, 1, 4, 2, 5, 3).reshape(1, 2, 4, 6)


def indexing():
    a, cube = rand(2, 3, 4, 5), rand(2, 3, 4)
    case("gather_11", "Gather", 11, [a, ints([-1, 0], [1, 2])], {"axis": 1}, np.take(a, [[-1, 0], [1, 2]], 1))
    pairs = ints([[0, 1]], [[-1, 3]])
    case("gathernd_12", "GatherND", 12, [cube, pairs], {"batch_dims": 1}, np.array([[cube[0, 0, 1]], [cube[1, -1, 3]]]), [1])
    where, update, result = ints([1, 0, 2], [0, 2, 1]), rand(2, 3), np.zeros((3, 3), np.float32)
    for i, j in np.ndindex(2, 3):
        result[where[i, j], j] = update[i, j]
    case("scatter_9", "Scatter", 9, [np.zeros((3, 3), np.float32), where, update], {}, result)
    some, more = ints([[0], [-1]], [[2], [1]]), rand(2, 2, 1)
    data = rand(4, 5, 3)
    result = data.copy()
    for i, j in np.ndindex(2, 2):
        result[i, some[i, j, 0], 0] += more[i, j, 0]
    case("scatterelements_18_part", "ScatterElements", 18, [data, some, more], {"axis": 1, "reduction": "add"}, result)
    hot = np.full((2, 3, 2), -1, np.float32)
    hot[0, 0, 0] = hot[0, 2, 1] = hot[1, 2, 1] = 2
    case("onehot_9", "OneHot", 9, [ints([0, -1], [5, 2]), np.array(3), np.array([-1, 2], np.float32)], {"axis": 1}, hot, [1, 2])
    flags = np.array([1, 0, 1], bool)
    case("compress_9", "Compress", 9, [a, flags], {"axis": 1}, a[:, flags], [1])


EQUATIONS = [
    ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
    ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
    ("ii->i", [(4, 4)]),
    ("ii", [(4, 4)]),
    ("...ij,...jk->...ik", [(2, 1, 3, 4), (5, 4, 6)]),
    ("i,j", [(3,), (4,)]),
    ("bhwi,hj->bwij", [(2, 3, 4, 5), (3, 6)]),
    ("iij->j", [(3, 3, 4)]),
    ("...i->...", [(2, 3, 4)]),
    ("abc,cd,def->aebf", [(2, 3, 4), (4, 5), (5, 6, 7)]),
    ("ba", [(2, 3)]),
    ("ijij->ij", [(2, 3, 2, 3)]),
    ("Ab,bA->", [(2, 3), (3, 2)]),
]


def sums():
    for i, (equation, shapes) in enumerate(EQUATIONS):
        inputs = [rand(*s) for s in shapes]
        case(f"einsum_12_{i}", "Einsum", 12, inputs, {"equation": equation}, np.einsum(equation, *inputs).astype(np.float32))
    for n in (1, 48, 97, 210):
        x, z = rand(2, n, 1), rand(2, n, 2)
        f, g = np.fft.fft(x[..., 0], axis=1), np.fft.ifft(z[..., 0] + 1j * z[..., 1], axis=1)
        case(f"dft_17_{n}", "DFT", 17, [x], {}, np.stack([f.real, f.imag], -1).astype(np.float32))
        case(f"idft_17_{n}", "DFT", 17, [z], {"inverse": 1}, np.stack([g.real, g.imag], -1).astype(np.float32))


def write(folder, entry, symbolic):
    name, op, opset, inputs, attributes, expected, constants = entry
    data = folder / name / "test_data_set_0"
    data.mkdir(parents=True)
    names, values, ports = [], [], []
    for i, x in enumerate(inputs):
        names.append("" if x is None else f"x{i}")
        if x is None:
            continue
        x = np.asarray(x)
        if i in constants:
            values.append(numpy_helper.from_array(x, f"x{i}"))
            continue
        shape = [d if d == 1 or not symbolic else f"x{i}_{k}" for k, d in enumerate(x.shape)]
        (data / f"input_{len(ports)}.pb").write_bytes(numpy_helper.from_array(x, f"x{i}").SerializeToString())
        ports.append(helper.make_tensor_value_info(f"x{i}", helper.np_dtype_to_tensor_dtype(x.dtype), shape))
    results = []
    for i, y in enumerate(expected):
        y = np.asarray(y)
        (data / f"output_{i}.pb").write_bytes(numpy_helper.from_array(y, f"y{i}").SerializeToString())
        shape = [None] * y.ndim if symbolic else y.shape
        results.append(helper.make_tensor_value_info(f"y{i}", helper.np_dtype_to_tensor_dtype(y.dtype), shape))
    node = helper.make_node(op, names, [r.name for r in results], **attributes)
    graph = helper.make_graph([node], name, ports, results, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, folder / name / "model.onnx")
    (folder / name / "tol.txt").write_text("1e-3 1e-5\n")


def run(opt, folder, symbolic):
    """Passed, failed and skipped cases of one form."""
    entries = [c for c in CASES if re.search(opt.match, c[0])]
    for entry in entries:
        write(folder, entry, symbolic)
    (folder / "list").write_text("".join(f"{folder}/{c[0]}\n" for c in entries))
    env = dict(os.environ, CC=opt.cc)
    cmd = [opt.runner, "--batch", str(folder / "list"), "--jobs", str(os.cpu_count() or 2)]
    out = subprocess.run(cmd, env=env, stdout=subprocess.PIPE, check=False).stdout.decode(errors="replace")
    count = dict.fromkeys(("PASS", "FAIL", "REFUSED", "CRASH"), 0)
    for line in out.splitlines():
        word = line.split(" ")[0]
        if word not in count:
            continue
        count[word] += 1
        if word in ("FAIL", "CRASH") or (word == "REFUSED" and not symbolic):
            print(("symbolic " if symbolic else "fixed ") + line)
    refused = count["REFUSED"] if symbolic else 0
    return count["PASS"], len(entries) - count["PASS"] - refused, refused


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--runner", required=True, help="the cnncc-run program")
    p.add_argument("--cc", default="tcc")
    p.add_argument("--match", default="", help="only names with this regular expression")
    p.add_argument("--keep", help="a new folder for the models")
    opt = p.parse_args()
    for family in (broadcasting, arithmetic, reductions, views, indexing, sums):
        family()
    total = [0, 0, 0]
    with tempfile.TemporaryDirectory() as temp:
        root = pathlib.Path(opt.keep or temp)
        for form in ("fixed", "symbolic"):
            for i, n in enumerate(run(opt, root / form, form == "symbolic")):
                total[i] += n
    print(f"{total[0]} passed, {total[1]} failed, {total[2]} skipped")
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())
