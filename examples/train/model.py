# SPDX-License-Identifier: Apache-2.0
"""Writes bars.onnx: a small convolutional network that tells three kinds of images apart.

    python model.py bars.onnx
"""

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def main(path):
    rng = np.random.default_rng(1)

    def weights(name, *shape):
        fan_in = np.prod(shape[1:]) if len(shape) > 1 else 1
        scale = np.sqrt(2 / fan_in) if len(shape) > 1 else 0
        return numpy_helper.from_array((rng.normal(size=shape) * scale).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "conv1.w", "conv1.b"], ["a"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu1"),
        helper.make_node("MaxPool", ["b"], ["c"], name="pool1", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["c", "conv2.w", "conv2.b"], ["d"], name="conv2", strides=[2, 2]),
        helper.make_node("Relu", ["d"], ["e"], name="relu2"),
        helper.make_node("Flatten", ["e"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "fc.w", "fc.b"], ["logits"], name="fc", transB=1),
        helper.make_node("Softmax", ["logits"], ["y"], name="softmax"),
    ]
    parameters = [
        weights("conv1.w", 8, 1, 3, 3), weights("conv1.b", 8), weights("conv2.w", 8, 8, 2, 2),
        weights("conv2.b", 8), weights("fc.w", 3, 72), weights("fc.b", 3),
    ]
    graph = helper.make_graph(
        nodes, "bars",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [32, 1, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [32, 3])],
        parameters,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


if __name__ == "__main__":
    main(sys.argv[1])
