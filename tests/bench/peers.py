# SPDX-License-Identifier: Apache-2.0
"""Who is timed: compiled models, and the engines that are installed, each as an object with run() and results().

Inputs and outputs are bound once, so that a call copies nothing and Python costs a few microseconds.
"""

import numpy as np
import onnxruntime as ort

from loader import Model

try:
    import openvino
except ImportError:
    openvino = None


class Onnxruntime:
    name = "onnxruntime"

    def __init__(self, path, threads, feeds):
        opts = ort.SessionOptions()
        opts.intra_op_num_threads = threads
        opts.inter_op_num_threads = 1
        opts.log_severity_level = 4
        self.session = ort.InferenceSession(str(path), opts, providers=["CPUExecutionProvider"])
        self.names = [o.name for o in self.session.get_outputs()]
        self.binding = self.session.io_binding()
        self.feeds = feeds
        for k, v in feeds.items():
            self.binding.bind_cpu_input(k, v)
        for n in self.names:
            self.binding.bind_output(n)
        self.run()

    def run(self):
        self.session.run_with_iobinding(self.binding)

    def results(self):
        return dict(zip(self.names, self.session.run(None, self.feeds), strict=True))


class OpenVino:
    name = "openvino"

    def __init__(self, path, threads, feeds):
        core = openvino.Core()
        model = core.read_model(str(path))
        shapes = {i: list(feeds[i.get_any_name()].shape) for i in model.inputs}
        if any(i.get_partial_shape().is_dynamic for i in model.inputs):
            model.reshape(shapes)
        compiled = core.compile_model(model, "CPU", {
            "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32",
            # else it rounds the inputs of layers with 8-bit weights to 8 bits: 0.6 % of the range off in minilm_l6_int8
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0})
        self.request = compiled.create_infer_request()
        self.outputs = [o.get_any_name() for o in compiled.outputs]
        for i in compiled.inputs:
            self.request.set_tensor(i, openvino.Tensor(feeds[i.get_any_name()], shared_memory=True))
        self.run()

    def run(self):
        self.request.infer()

    def results(self):
        return {n: np.array(self.request.get_output_tensor(i).data) for i, n in enumerate(self.outputs)}


class Compiled:
    """A model of ours, in a shared object."""

    def __init__(self, path, threads, feeds):
        self.model = Model(path)
        self.model.bind(feeds, threads)
        self.run, self.results = self.model.run, self.model.results
        self.run()

    @property
    def work_size(self):
        return self.model.work_size


PEERS = [Onnxruntime] + ([OpenVino] if openvino else [])
