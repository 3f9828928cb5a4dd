#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The benchmark: builds cnncc, the models and what to compare with, and times them.
#
#   sh tests/bench/run.sh [MODEL...] [OPTIONS OF bench.py]
#
# Writes build/bench/bench.md (the table), bench.json, speed.png and roofline.png.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
sh tests/run.sh build
build/venv/bin/python -m pip install -q --disable-pip-version-check -r tests/bench/requirements.txt
exec build/venv/bin/python tests/bench/bench.py --cnncc build/cnncc --build build/bench --cc clang-19 gcc "$@"
