#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Strings and look-ups against oracles; see text.py. BUILD: where cnncc is; PYTHON: with onnx, onnxruntime, numpy.
cd "$(dirname "$0")" || exit 2
exec "${PYTHON:-python3}" text.py --build "${BUILD:-../../build}" --jobs "${JOBS:-2}" "$@"
