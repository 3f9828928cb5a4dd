# SPDX-License-Identifier: Apache-2.0
"""A model in float64: what the float32 results of two programs are measured against."""

import numpy as np
import onnx
from onnx import TensorProto, defs, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

FLOAT, DOUBLE = "tensor(float)", "tensor(double)"


# ---- quantization in float64 -------------------------------------------------------------------


def quantized(x):
    """x as uint8 by its own range, the scale and the zero point."""
    low, high = min(x.min(), 0.0), max(x.max(), 0.0)
    scale = (high - low) / 255 if high > low else 1.0
    zero = np.clip(np.round(-low / scale), 0, 255)
    return np.clip(np.round(x / scale) + zero, 0, 255), scale, zero


class DynamicQuantizeLinear(OpRun):
    def _run(self, x):
        q, scale, zero = quantized(x)
        return q.astype(np.uint8), np.float64(scale), np.uint8(zero)


class DequantizeLinear(OpRun):
    def _run(self, x, scale, zero=None, axis=1, block_size=0, output_dtype=0):
        if block_size:
            raise ValueError("DequantizeLinear by blocks")
        shape = [-1 if i == axis % max(x.ndim, 1) else 1 for i in range(x.ndim)] if scale.ndim else []
        at = 0.0 if zero is None else zero.astype(np.float64).reshape(shape)
        return ((x.astype(np.float64) - at) * scale.astype(np.float64).reshape(shape),)


def product(x, w, scale, zero):
    q, by, at = quantized(x)
    return (q - at) @ (w.astype(np.float64) - float(zero)) * (by * scale)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class DynamicQuantizeLSTM(OpRun):
    """The usual activations, no peepholes, all sequences of full length."""

    op_domain = "com.microsoft"

    def _run(self, x, w, r, b, lens, h0, c0, peep, ws, wz, rs, rz, **attributes):
        if lens is not None or peep is not None or any(k not in ("direction", "hidden_size") and v for k, v in attributes.items()):
            raise ValueError("a DynamicQuantizeLSTM of this form")
        steps, batch, dirs, hidden = x.shape[0], x.shape[1], w.shape[0], r.shape[1]
        y = np.zeros((steps, dirs, batch, hidden))
        last = [np.zeros((dirs, batch, hidden)) if v is None else v.astype(np.float64) for v in (h0, c0)]
        for d in range(dirs):
            back = attributes.get("direction") == "reverse" or d == 1
            gates = product(x[::-1] if back else x, w[d], ws[d], wz[d]) + b[d].reshape(2, -1).sum(axis=0)
            h, c = last[0][d], last[1][d]
            for t in range(steps):
                i, o, f, n = np.split(gates[t] + product(h, r[d], rs[d], rz[d]), 4, axis=-1)
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(n)
                h = sigmoid(o) * np.tanh(c)
                y[steps - 1 - t if back else t, d] = h
            last[0][d], last[1][d] = h, c
        return y, last[0], last[1]


QUANTIZING = {c.__name__: c for c in (DequantizeLinear, DynamicQuantizeLinear, DynamicQuantizeLSTM)}


# ---- the model ---------------------------------------------------------------------------------


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
    if node.op_type in QUANTIZING:
        out.append(node)
        return
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


def run64(model, feeds):
    """The results of a model that quantizes what it computes, all between two roundings to integers in float64."""
    used = {n.op_type for n in model.graph.node}
    evaluator = ReferenceEvaluator(model64(model), new_ops=[c for name, c in QUANTIZING.items() if name in used])
    return evaluator.run(None, feeds)
