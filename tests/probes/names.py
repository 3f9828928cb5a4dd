# SPDX-License-Identifier: Apache-2.0
"""Names that are no C, and that would be one identifier: of inputs, outputs, nodes, dimensions and metadata.

    names.py --cnncc build/cnncc --build build/probes
"""

import pathlib
import subprocess

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from probes import model, rng, run_all, tensor, vi

import loader

FLAGS = "-std=gnu11 -O1 -Wall -Wextra -Wpedantic -Wconversion -Werror -shared -fPIC".split()
BAD = 'a"b\\c*/ int main; /*\n??/e%s{"1": "x"}\r\t\x01\u00e9'


def build(opt, name, m, *options):
    c = pathlib.Path(opt.build) / f"names_{name}.c"
    c.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(m, c.with_suffix(".onnx"))
    subprocess.run([opt.cnncc, c.with_suffix(".onnx"), "-o", c, "--prefix", "m", *options], check=True)
    for cc in ("gcc", opt.cc):
        subprocess.run([cc, *FLAGS, "-o", c.with_suffix(".so"), c, "-lm"], check=True)
    return loader.Model(c.with_suffix(".so"))


def hostile(opt):
    """Whatever a name holds stays inside of a comment or a string; the descriptor has it as it is."""
    w = rng.standard_normal((40, 8)).astype(np.float32)
    m = model([h.make_node("MatMul", ["x" + BAD, "w" + BAD], ["m" + BAD], name="n" + BAD), h.make_node("Relu", ["m" + BAD], ["y" + BAD], name=BAD),
               h.make_node("NonZero", ["y" + BAD], ["z" + BAD], name="z" + BAD)],
              [vi("x" + BAD, T.FLOAT, ["d" + BAD, 40])], [vi("y" + BAD, T.FLOAT, None), vi("z" + BAD, T.INT64, None)], [tensor("w" + BAD, w)])
    m.producer_name, m.doc_string = "p" + BAD, "d" + BAD
    m.metadata_props.add(key="k" + BAD, value="v" + BAD)
    for options in ([], ["--weights", "inline"], ["--profile"], ["--example"]):
        compiled = build(opt, "hostile", m, *options)
        assert compiled.d.in_[0].name.decode() == "x" + BAD and compiled.d.out[1].name.decode() == "z" + BAD
        assert compiled.d.sym[0].decode() == "d" + BAD
    x = rng.standard_normal((3, 40)).astype(np.float32)
    compiled.bind({"x" + BAD: x})
    compiled.run()
    np.testing.assert_allclose(compiled.results()["y" + BAD], np.maximum(x @ w, 0), rtol=1e-4, atol=1e-5)


def alike(opt):
    """a-b and a_b are two inputs, n-m and n_m two dimensions."""
    m = model([h.make_node("Concat", ["a-b", "a_b"], ["y"], axis=0), h.make_node("Neg", ["a_b_2"], ["z"])],
              [vi("a-b", T.FLOAT, ["n-m", 3]), vi("a_b", T.FLOAT, ["n_m", 3]), vi("a_b_2", T.FLOAT, ["n m", 3])],
              [vi("y", T.FLOAT, None), vi("z", T.FLOAT, None)])
    compiled = build(opt, "alike", m)
    feeds = {"a-b": rng.standard_normal((2, 3)).astype(np.float32), "a_b": rng.standard_normal((5, 3)).astype(np.float32),
             "a_b_2": rng.standard_normal((4, 3)).astype(np.float32)}
    compiled.bind(feeds)
    compiled.run()
    got = compiled.results()
    assert (got["y"] == np.concatenate([feeds["a-b"], feeds["a_b"]])).all() and (got["z"] == -feeds["a_b_2"]).all()


if __name__ == "__main__":
    run_all([(f.__name__, f) for f in (hostile, alike)], __doc__)
