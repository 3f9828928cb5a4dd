# SPDX-License-Identifier: Apache-2.0
"""What a model has to do at least: its multiply-adds, and the bytes that must come from memory."""

import math

import onnx
from onnx import shape_inference


def shapes_of(model, feeds):
    """Shapes by name, with the inputs' dimensions as they are fed."""
    m = onnx.ModelProto()
    m.CopyFrom(model)
    for info in m.graph.input:
        if info.name in feeds:
            dims = info.type.tensor_type.shape.dim
            for d, n in zip(dims, feeds[info.name].shape, strict=False):
                d.dim_value = n
    m = shape_inference.infer_shapes(m, data_prop=True)
    known = {i.name: list(i.dims) for i in m.graph.initializer}
    for v in [*m.graph.input, *m.graph.value_info, *m.graph.output]:
        known[v.name] = [d.dim_value for d in v.type.tensor_type.shape.dim]
    return known


def operations(model, feeds):
    """Nominal operations of the convolutions and products: two for each multiply-add of the definition, padding included."""
    known, total = shapes_of(model, feeds), 0
    for n in model.graph.node:
        out = known.get(n.output[0], [])
        if n.op_type == "Conv":
            total += 2 * math.prod(out) * math.prod(known[n.input[1]][1:])
        elif n.op_type == "ConvTranspose":
            total += 2 * math.prod(known[n.input[0]]) * math.prod(known[n.input[1]][1:])
        elif n.op_type == "MatMul":
            total += 2 * math.prod(out) * known[n.input[0]][-1]
        elif n.op_type == "Gemm":
            trans = any(a.name == "transA" and a.i for a in n.attribute)
            total += 2 * math.prod(out) * known[n.input[0]][0 if trans else 1]
    return total


def least_bytes(model, feeds, results):
    """Weights, inputs and outputs, once each."""
    weights = sum(math.prod(i.dims) * onnx.helper.tensor_dtype_to_np_dtype(i.data_type).itemsize for i in model.graph.initializer)
    return weights + sum(x.nbytes for x in [*feeds.values(), *results.values()])
