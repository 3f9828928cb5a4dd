# SPDX-License-Identifier: Apache-2.0
"""The conformance cases as gradient checks: a model whose outputs are weighted and summed.

`loss` is the sum of every floating point output times a constant random tensor of its shape, so
that its gradient is J'u: all that a check of an operator needs.
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
WEIGHT = "u__"  # names of the weights start so


def read_value(path, typ):
    """An array, or None where the value is no tensor."""
    if not typ.HasField("tensor_type"):
        return None
    t = onnx.TensorProto()
    t.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(t)


class Case:
    """One backend case: the model with its loss, and inputs in float64."""

    def __init__(self, folder, seed=1):
        self.rng = np.random.default_rng(seed)
        self.constants = {}
        if folder is not None:
            self.read(pathlib.Path(folder))

    @classmethod
    def of_model(cls, model, feeds, shape):
        """Of a model of our own with one output of that shape."""
        self = cls(None)
        self.model, self.feeds = model, feeds
        self.constants = {t.name: self.as_double(numpy_helper.to_array(t)) for t in model.graph.initializer}
        self.add_loss([np.empty(shape)])
        return self

    def read(self, folder):
        self.model = onnx.load(folder / "model.onnx")
        data = folder / "test_data_set_0"
        g = self.model.graph
        self.feeds = {}
        known = {t.name for t in g.initializer}
        for i, v in enumerate(v for v in g.input if v.name not in known):
            a = read_value(data / f"input_{i}.pb", v.type)
            if a is None:
                raise ValueError("an input is no tensor")
            self.feeds[v.name] = self.as_double(a)
        self.constants = {t.name: self.as_double(numpy_helper.to_array(t)) for t in g.initializer}
        self.add_loss([read_value(data / f"output_{i}.pb", v.type) for i, v in enumerate(g.output)])

    def as_double(self, a):
        return np.nan_to_num(a.astype(np.float64), posinf=2, neginf=-2) if a.dtype.kind == "f" or a.dtype.name == "bfloat16" else a

    def float_inputs(self):
        return [v.name for v in self.model.graph.input if v.name in self.feeds and v.type.tensor_type.elem_type in FLOATS]

    def add_loss(self, outputs):
        g, parts = self.model.graph, []
        if not any(o.domain in ("", "ai.onnx") for o in self.model.opset_import):
            self.model.opset_import.append(helper.make_opsetid("", 17))
        for v, a in zip(g.output, outputs, strict=True):
            if a is None or v.type.tensor_type.elem_type not in FLOATS:
                continue
            # numbers that are exact in float32, and in no pattern that a sum could hide
            u = self.rng.integers(-64, 64, size=a.shape).astype(np.float32) / 64 + np.float32(0.0078125)
            name = f"{WEIGHT}{len(parts)}"
            g.initializer.append(numpy_helper.from_array(u, name))
            g.node.append(helper.make_node("Cast", [v.name], [name + "c"], to=TensorProto.FLOAT))
            g.node.append(helper.make_node("Mul", [name + "c", name], [name + "p"]))
            g.node.append(helper.make_node("ReduceSum", [name + "p"], [name + "s"], keepdims=0))
            parts.append(name + "s")
        if not parts:
            raise ValueError("no output is a floating point tensor")
        while len(parts) > 1:
            a, b = parts.pop(), parts.pop()
            g.node.append(helper.make_node("Add", [a, b], [a + "a"]))
            parts.append(a + "a")
        g.node.append(helper.make_node("Identity", [parts[0]], ["loss__"]))
        g.output.append(helper.make_tensor_value_info("loss__", TensorProto.FLOAT, []))
