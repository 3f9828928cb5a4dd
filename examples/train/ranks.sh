#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Trains as 2 and 4 processes with Open MPI and compares with one process; stops one half-way and resumes.
# CNNCC, CC: the compilers; FASHION_MNIST: the folder of the data set.
set -eu
cd "$(dirname "$0")/../.."
. examples/setup.sh
out=build/examples/ranks
flags='-std=gnu11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math'
mkdir -p "$out"
install_packages openmpi-bin libopenmpi-dev
fashion_mnist "$out"
"${CNNCC:-build/cnncc}" examples/fashion/convnet.onnx --train --loss cross_entropy --optimizer adam --batch 32 --overlap -o "$out/convnet.c"
# shellcheck disable=SC2086  # flags is a list of words
OMPI_CC=${CC:-clang-19} mpicc $flags -I"$out" examples/train/ranks.c "$out/convnet.c" -o "$out/ranks"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
for n in 2 4; do
    "$out/ranks" "$out" --parts "$n" --steps 100 --checkpoint "$out/one" >"$out/one.$n"
    mpirun --oversubscribe -n "$n" "$out/ranks" "$out" --steps 100 --checkpoint "$out/all" >"$out/all.$n"
    cat "$out/all.$n"
    cmp "$out/one.$n" "$out/all.$n" && cmp "$out/one" "$out/all"
    echo "$n ranks and one process: the same losses and checkpoint, bit for bit"
done
# The same again, killed once there is a checkpoint, and resumed from that.
rm -f "$out/killed"
mpirun --oversubscribe -n 4 "$out/ranks" "$out" --steps 400 --checkpoint "$out/whole" >"$out/whole.log"
mpirun --oversubscribe -n 4 "$out/ranks" "$out" --steps 400 --checkpoint "$out/killed" >"$out/killed.log" 2>&1 &
job=$!
while ! [ -f "$out/killed" ]; do sleep 0.05; done
cp "$out/killed" "$out/first"
kill "$job"
wait "$job" 2>/dev/null || true
mpirun --oversubscribe -n 4 "$out/ranks" "$out" --steps 400 --resume "$out/first" --checkpoint "$out/resumed" >"$out/resumed.log"
cmp "$out/whole" "$out/resumed"
echo "a training that was killed and went on from its checkpoint ends with the same bits"
