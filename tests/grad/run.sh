#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Gradients of small networks, compiled; see grad.py. BUILD: where cnncc is; PYTHON: with onnx and numpy.
cd "$(dirname "$0")" || exit 2
exec "${PYTHON:-python3}" grad.py --cnncc "${BUILD:-../../build}/cnncc" "$@"
