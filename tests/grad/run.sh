#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Gradients of small networks and of every differentiable operator, compiled; and training; see grad.py, losses.py, train.py, lora.py, info.py, curves.py, real.py, operators.py.
# BUILD: where cnncc is; PYTHON: with onnx and numpy. The last line is the sum of all counts.
cd "$(dirname "$0")" || exit 2
build=${BUILD:-../../build}
python=${PYTHON:-python3}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{
    "$python" grad.py --cnncc "$build/cnncc" "$@"
    "$python" losses.py --cnncc "$build/cnncc"
    "$python" train.py --cnncc "$build/cnncc"
    "$python" lora.py --cnncc "$build/cnncc"
    "$python" info.py --cnncc "$build/cnncc"
    "$python" curves.py --cnncc "$build/cnncc"
    "$python" real.py --cnncc "$build/cnncc" --build "$build/models" --jobs "${JOBS:-2}"
    "$python" ../conformance/make_cases.py "$build/conformance" >/dev/null &&
        "$python" operators.py --cnncc "$build/cnncc" --cases "$build/conformance" --jobs "${JOBS:-2}" --per-operator 2 \
            --table ../../docs/gradients.md --current
} 2>&1 | tee "$log"
awk '/^[0-9]+ passed, [0-9]+ failed/ { p += $1; f += $3; s += $5; n++ }
    END { if (n < 8) f++; printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 }' "$log"
