# SPDX-License-Identifier: Apache-2.0
"""Writes the network of the example: the language of a word, read letter by letter by a GRU.

    python3 net.py -o words.onnx

    letters int64 [batch, 20]: bytes of UTF-8, 0 behind the word; length int32 [batch]
    -> an embedding of 16 numbers -> GRU of 64 -> its state behind the last letter -> a probability for each language

Its weights are zeros: it is trained from random ones. Needs the package onnx.
"""

import argparse

import numpy as np
from onnx import TensorProto as T
from onnx import checker, helper, numpy_helper, save

LONGEST, WIDTH, HIDDEN, LANGUAGES = 20, 16, 64, 6


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("-o", default="words.onnx")
    shapes = {"letter": (256, WIDTH), "gru.w": (1, 3 * HIDDEN, WIDTH), "gru.r": (1, 3 * HIDDEN, HIDDEN), "gru.b": (1, 6 * HIDDEN),
              "dense.w": (HIDDEN, LANGUAGES), "dense.b": (LANGUAGES,)}
    weights = [numpy_helper.from_array(np.zeros(s, np.float16), n) for n, s in shapes.items()]
    nodes = [
        *(helper.make_node("Cast", [n], [f"{n}.f32"], to=T.FLOAT) for n in shapes),
        helper.make_node("Gather", ["letter.f32", "letters"], ["embedded"]),
        helper.make_node("Transpose", ["embedded"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["steps", "gru.w.f32", "gru.r.f32", "gru.b.f32", "length"], ["", "state"], hidden_size=HIDDEN, linear_before_reset=1),
        helper.make_node("Squeeze", ["state", "first"], ["last"]),
        helper.make_node("Gemm", ["last", "dense.w.f32", "dense.b.f32"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probability"]),
    ]
    graph = helper.make_graph(nodes, "words",
                              [helper.make_tensor_value_info("letters", T.INT64, ["batch", LONGEST]), helper.make_tensor_value_info("length", T.INT32, ["batch"])],
                              [helper.make_tensor_value_info("probability", T.FLOAT, ["batch", LANGUAGES])],
                              [*weights, numpy_helper.from_array(np.array([0]), "first")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    save(model, p.parse_args().o)


if __name__ == "__main__":
    main()
