#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Random models against onnxruntime, a short campaign. BUILD: the build folder, PYTHON: with onnx and onnxruntime.
exec "${PYTHON:-python3}" "$(dirname "$0")/attention.py" --runner "${BUILD:-build}/cnncc-run" --cnncc "${BUILD:-build}/cnncc" \
    --count 40 --jobs "${JOBS:-2}"
