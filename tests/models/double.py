# SPDX-License-Identifier: Apache-2.0
"""A model in float64: what the float32 results of two programs are measured against."""

import numpy as np
import onnx
from onnx import TensorProto, defs, helper, numpy_helper

FLOAT, DOUBLE = "tensor(float)", "tensor(double)"


def tensor64(t):
    if t.data_type == TensorProto.FLOAT:
        t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(t).astype(np.float64), t.name))


def attributes64(node):
    for a in node.attribute:
        if a.type == onnx.AttributeProto.TENSOR:
            tensor64(a.t)
        elif a.type == onnx.AttributeProto.GRAPH:
            graph64(a.g, graph64.opsets)
        elif node.op_type != "QuantizeLinear" and a.name in ("to", "dtype") and a.i == TensorProto.FLOAT:
            a.i = TensorProto.DOUBLE
    if node.op_type == "Constant" and node.attribute[0].name in ("value_float", "value_floats"):
        value = np.asarray(helper.get_attribute_value(node.attribute[0]), np.float64)
        node.attribute[0].CopyFrom(helper.make_attribute("value", numpy_helper.from_array(value)))
    if node.op_type == "ConstantOfShape" and not node.attribute:
        node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.zeros(1))))


def only_float(schema, formal):
    """Whether an input or output of an operator is a float tensor that cannot be a double one."""
    types = formal.types
    return FLOAT in types and DOUBLE not in types and not any("int64" in t for t in types)


def formal_of(formals, i):
    return formals[min(i, len(formals) - 1)] if formals else None


def node64(node, opsets, out):
    """The node, with casts around the operands that must stay in float32."""
    attributes64(node)
    try:
        schema = defs.get_schema(node.op_type, opsets.get(node.domain, 1), node.domain)
    except defs.SchemaError as e:
        raise ValueError(f"{node.op_type} has no form in float64") from e
    for i, name in enumerate(node.input):
        formal = formal_of(schema.inputs, i)
        if name and formal and only_float(schema, formal):
            node.input[i] = f"{name}/f32/{len(out)}/{i}"
            out.append(helper.make_node("Cast", [name], [node.input[i]], to=TensorProto.FLOAT))
    after = []
    for i, name in enumerate(node.output):
        formal = formal_of(schema.outputs, i)
        if name and formal and only_float(schema, formal):
            node.output[i] = f"{name}/f32"
            after.append(helper.make_node("Cast", [node.output[i]], [name], to=TensorProto.DOUBLE))
    out.append(node)
    out += after


def graph64(graph, opsets):
    graph64.opsets = opsets
    for t in graph.initializer:
        tensor64(t)
    for v in [*graph.input, *graph.output]:
        t = v.type.tensor_type
        if t.elem_type == TensorProto.FLOAT:
            t.elem_type = TensorProto.DOUBLE
    del graph.value_info[:]
    nodes = []
    for n in list(graph.node):
        node64(n, opsets, nodes)
    del graph.node[:]
    graph.node.extend(nodes)


def model64(model):
    """The same model with every float32 a float64; ValueError where an operator has no such form."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    opsets = {o.domain.replace("ai.onnx", "") if o.domain == "ai.onnx" else o.domain: o.version for o in out.opset_import}
    graph64(out.graph, opsets)
    return out
