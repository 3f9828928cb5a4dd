#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Looks for good settings of a training with Optuna, over trainers that cnncc made:
#
#     sh examples/search/run.sh [OPTIONS OF search.py, such as --trials 24 --threads 2]
#
# All it makes is in build/examples/search, Python's packages too. CNNCC, CC: the compilers; FASHION_MNIST: the folder of
# the data set.
set -eu
cd "$(dirname "$0")/../.."
. examples/setup.sh
out=build/examples/search
cnncc=${CNNCC:-build/cnncc}
cc=${CC:-clang-19}
flags='-std=gnu11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp'
mkdir -p "$out"
command -v python3 >/dev/null || install_packages python3
python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
fashion_mnist "$out"
[ -x "$out/venv/bin/python" ] || python3 -m venv "$out/venv"
if ! cmp -s examples/search/requirements.txt "$out/venv/requirements.txt"; then
    "$out/venv/bin/pip" -q --disable-pip-version-check install -r examples/search/requirements.txt
    cp examples/search/requirements.txt "$out/venv/requirements.txt"
fi
for optimizer in adam lion sgd; do
    "$cnncc" examples/fashion/convnet.onnx --train --loss cross_entropy --optimizer $optimizer --batch 64 --prefix net -o "$out/$optimizer.c"
    # shellcheck disable=SC2086  # flags is a list of words
    "$cc" $flags -shared -fPIC "$out/$optimizer.c" -o "$out/$optimizer.so"
done
"$out/venv/bin/python" examples/search/search.py "$out" "$@"
