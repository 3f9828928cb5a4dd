#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the model, compiles a training step, trains. CNNCC: the compiler; PYTHON: one with onnx.
set -e
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" "$here/model.py" "$dir/bars.onnx"
"${CNNCC:-cnncc}" --train --loss=cross_entropy "$dir/bars.onnx" --weights inline -o "$dir/step.c"
${CC:-cc} -std=gnu11 -O3 -Wall -Wextra -I"$dir" "$here/train.c" "$dir/step.c" -o "$dir/train" -lm
"$dir/train"
