#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Strings and look-ups against oracles; see text.py. BUILD: where cnncc is; PYTHON: with onnx, onnxruntime, numpy.
cd "$(dirname "$0")" || exit 2
build=${BUILD:-../../build} jobs=${JOBS:-2} python=${PYTHON:-python3}
a=$("$python" text.py --build "$build" --jobs "$jobs" "$@" | tee /dev/stderr | tail -n 1)
b=$("$python" learn.py --build "$build" --jobs "$jobs" "$@" | tee /dev/stderr | tail -n 1)
# shellcheck disable=SC2046  # three numbers each
set -- $(echo "$a $b" | sed 's/[^0-9]\{1,\}/ /g')
echo "$(($1 + $4)) passed, $(($2 + $5)) failed, $(($3 + $6)) skipped"
[ $(($2 + $5)) -eq 0 ]
