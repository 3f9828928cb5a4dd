#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The seven probes: thin ways through everything. BUILD: the build folder, PYTHON: an interpreter with
# onnx and onnxruntime. Gradients (the fifth) are tests/grad's.
here=$(dirname "$0")
status=0
for script in probes dynamic_sizes; do
    "${PYTHON:-python3}" "$here/$script.py" --cnncc "${BUILD:-build}/cnncc" --build "${BUILD:-build}/probes" || status=1
done
exit $status
