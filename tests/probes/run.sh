#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The seven probes: thin ways through everything. BUILD: the build folder, PYTHON: an interpreter with
# onnx and onnxruntime. Gradients (the fifth) are tests/grad's.
exec "${PYTHON:-python3}" "$(dirname "$0")/probes.py" --cnncc "${BUILD:-build}/cnncc" --build "${BUILD:-build}/probes"
