#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Random models against onnxruntime, a short campaign. BUILD: the build folder, PYTHON: with onnx and onnxruntime.
# The long ones: every.py --count 4 (24,000 cases, 15 minutes), mixed.py --count 10000 (15 minutes), operators.py --count 100,
# contractions.py --count 100 --cc clang-19 --bits default,x86-64-v4 (an hour).
# graphs.py --count 6000; graphs.py --count 3600 --size 8 --depth 2; parts of those with the programs of a build with
# sanitizers and --cc clang-19 --cflags '-O1 -fsanitize=address,undefined'. FUZZ_SECONDS: about what its short form takes.
here=$(dirname "$0")
seconds=$((${FUZZ_SECONDS:-60} / 2))
python=${PYTHON:-python3} build=${BUILD:-build} jobs=${JOBS:-2}
{
    "$python" "$here/attention.py" --runner "$build/cnncc-run" --cnncc "$build/cnncc" --count 40 --jobs "$jobs"
    echo "end $?"
    "$python" "$here/every.py" --runner "$build/cnncc-run" --cnncc "$build/cnncc" --count 1 --every 8 --jobs "$jobs"
    echo "end $?"
    "$python" "$here/mixed.py" --runner "$build/cnncc-run" --cnncc "$build/cnncc" --count 150 --jobs "$jobs" 2>/dev/null
    echo "end $?"
    "$python" "$here/proofs.py" 2>/dev/null
    echo "end $?"
    "$python" "$here/operators.py" --runner "$build/cnncc-run" --count 3
    echo "end $?"
    "$python" "$here/microsoft.py" --runner "$build/cnncc-run" --count 3
    echo "end $?"
    "$python" "$here/contractions.py" --runner "$build/cnncc-run" --count 2 --bits default,x86-64,cortex-m
    echo "end $?"
    "$python" "$here/graphs.py" --build "$build" --count 1200 --seconds "$seconds" --jobs "$jobs"
    echo "end $?"
    "$python" "$here/graphs.py" --build "$build" --count 900 --size 8 --depth 2 --seconds "$seconds" --jobs "$jobs"
    echo "end $?"
} 2>&1 | awk '
    /^[0-9]+ passed, [0-9]+ failed/ { passed += $1; failed += $3; skipped += $5; next }
    /^end [0-9]+$/ { if ($2 && failed == before) failed++; before = failed; next }
    { print }
    END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped; exit failed > 0 }'
