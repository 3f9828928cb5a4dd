# SPDX-License-Identifier: Apache-2.0
"""Writes the ONNX backend test cases as folders that `cnncc-run --batch` reads.

    make_cases.py OUT            every case of the installed onnx package
    make_cases.py OUT NAME...    some of them

Each case becomes OUT/NAME/model.onnx, OUT/NAME/test_data_set_N/{input,output}_J.pb,
OUT/NAME/tol.txt (rtol and atol) and OUT/NAME/op.txt (the operator it is about). OUT/cases.txt
lists all names and OUT/version.txt the package's version; a folder of that version is left as
it is. OUT/constant/NAME is the same case with axes, shapes and the like as constants: the cases
have every input as an input of the graph, which no exporter does with a shape.
"""

import pathlib
import shutil
import sys
import warnings

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

# Cases that the package lists by a downloadable model have a small stand-in in data/light.
LIGHT_TOLERANCE = {"densenet121": 2e-3}


def to_proto(value, info):
    """A value of a test case as the message that fits the model's type."""
    kind = info.type.WhichOneof("value")
    if isinstance(value, TensorProto):
        copy = TensorProto()
        copy.CopyFrom(value)
        copy.name = info.name
        return copy
    if kind == "map_type":
        return numpy_helper.from_dict(value, info.name)
    if kind == "sequence_type":
        return numpy_helper.from_list(value, info.name)
    if kind == "optional_type":
        return numpy_helper.from_optional(value, info.name)
    return numpy_helper.from_array(np.asarray(value), info.name)


def write_set(folder, graph, inputs, outputs):
    """One test_data_set folder."""
    folder.mkdir(parents=True)
    for prefix, values, infos in (("input", inputs, graph.input), ("output", outputs, graph.output)):
        for j, (value, info) in enumerate(zip(values, infos, strict=False)):
            (folder / f"{prefix}_{j}.pb").write_bytes(to_proto(value, info).SerializeToString())


def main_operator(name, model):
    """What the counts by operator list a case under."""
    ops = [n.op_type for n in model.graph.node]
    if len(ops) == 1:
        return ops[0]
    flat = name.removeprefix("test_").replace("_", "")
    schemas = {s.name for s in onnx.defs.get_all_schemas()}
    fits = [o for o in schemas if flat.startswith(o.lower())]
    return max(fits, key=len) if fits else (ops[0] if ops else "none")


def write_case(out, name, model, sets, rtol, atol):
    """One case; `sets` holds pairs of lists of values."""
    folder = out / name
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "tol.txt").write_text(f"{rtol:g} {atol:g}\n")
    (folder / "op.txt").write_text(main_operator(name, model) + "\n")
    for i, (inputs, outputs) in enumerate(sets):
        write_set(folder / f"test_data_set_{i}", model.graph, inputs, outputs)


def parameters(model, inputs):
    """The inputs of a case that set sizes, axes and the like rather than carry data: whole numbers
    or short vectors after the first input, or all of them where there is nothing but scalars."""
    infos = list(zip(model.graph.input, inputs, strict=False))
    plain = [(i, np.asarray(v)) for i, v in infos if i.type.HasField("tensor_type") and not isinstance(v, TensorProto)]
    small = [(i, v) for i, v in plain if v.ndim <= 1 and v.size <= 16 and v.dtype.kind in "iufb"]
    if len(small) == len(infos) and all(v.ndim == 0 or v.dtype.kind == "i" for _, v in small):
        return small
    return [(i, v) for i, v in small if i.name != model.graph.input[0].name]


def write_constant_case(out, name, model, sets, rtol, atol):
    """The same case with its parameters as constants, as real models have them."""
    if len(sets) != 1:
        return
    inputs, outputs = sets[0]
    fixed = parameters(model, inputs)
    if not fixed:
        return
    names = {i.name for i, _ in fixed}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = [(i, v) for i, v in zip(model.graph.input, inputs, strict=False) if i.name not in names]
    del copy.graph.input[:]
    copy.graph.input.extend(i for i, _ in kept)
    copy.graph.initializer.extend(numpy_helper.from_array(v, i.name) for i, v in fixed)
    write_case(out / "constant", name, copy, [([v for _, v in kept], outputs)], rtol, atol)


def node_cases(out, wanted):
    """The cases that the package computes in Python."""
    from onnx.backend.test.case.node import collect_testcases

    names = []
    for case in collect_testcases(None):
        if wanted and case.name not in wanted:
            continue
        write_case(out, case.name, case.model, case.data_sets, case.rtol, case.atol)
        write_constant_case(out, case.name, case.model, case.data_sets, case.rtol, case.atol)
        names.append(case.name)
    return names


def folder_cases(out, data, kind, prefix, wanted):
    """The cases that the package carries as folders."""
    names = []
    for src in sorted((data / kind).iterdir()):
        name = prefix + src.name.removeprefix("test_")
        if not (src / "model.onnx").is_file() or (wanted and name not in wanted):
            continue
        dst = out / name
        if dst.exists():
            shutil.rmtree(dst)
        shutil.copytree(src, dst)
        (dst / "tol.txt").write_text("0.001 1e-07\n")
        (dst / "op.txt").write_text(kind + "\n")
        names.append(name)
    return names


def dummy(info):
    """The input ONNX's own runner gives to the light models: a ramp over [0, 1)."""
    shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
    if info.type.tensor_type.elem_type != TensorProto.FLOAT:
        raise ValueError(f"{info.name}: not float32")
    n = int(np.prod(shape))
    return (np.arange(n).reshape(shape) / n).astype(np.float32)


def light_cases(out, data, wanted):
    """Real architectures whose weights are ConstantOfShape."""
    names = []
    for src in sorted((data / "light").glob("*.onnx")):
        name = "test_" + src.stem
        if wanted and name not in wanted:
            continue
        model = onnx.load(src)
        inits = {i.name for i in model.graph.initializer}
        infos = [i for i in model.graph.input if i.name not in inits]
        expected = []
        for j, info in enumerate(model.graph.output):
            tensor = TensorProto.FromString((src.parent / f"{src.stem}_output_{j}.pb").read_bytes())
            tensor.name = info.name
            expected.append(tensor)
        rtol = LIGHT_TOLERANCE.get(src.stem.removeprefix("light_"), 1e-3)
        write_case(out, name, model, [], rtol, 1e-7)
        (out / name / "op.txt").write_text("light\n")
        folder = out / name / "test_data_set_0"
        folder.mkdir()
        for j, info in enumerate(infos):
            tensor = numpy_helper.from_array(dummy(info), info.name)
            (folder / f"input_{j}.pb").write_bytes(tensor.SerializeToString())
        for j, tensor in enumerate(expected):
            (folder / f"output_{j}.pb").write_bytes(tensor.SerializeToString())
        names.append(name)
    return names


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 2
    out, wanted = pathlib.Path(sys.argv[1]), set(sys.argv[2:])
    stamp = out / "version.txt"
    version = onnx.__version__ + " layout 2"
    if not wanted and stamp.is_file() and stamp.read_text() == version:
        return 0
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    out.mkdir(parents=True, exist_ok=True)
    data = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data"
    names = node_cases(out, wanted)
    count = len(names)
    for kind, prefix in (
        ("simple", "test_simple_"),
        ("pytorch-operator", "test_pytorch_"),
        ("pytorch-converted", "test_converted_"),
    ):
        names += folder_cases(out, data, kind, prefix, wanted)
    names += light_cases(out, data, wanted)
    if not wanted:
        (out / "cases.txt").write_text("".join(n + "\n" for n in names))
        stamp.write_text(version)
    print(f"{count} node cases and {len(names) - count} others in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
