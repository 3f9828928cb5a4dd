#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Training that keeps images private, two ways, in C:
#
#     sh examples/private/run.sh [OPTIONS OF private.c, such as --steps 600 --threads 2] [-- OPTIONS OF federated.c]
#
# Differential privacy by per-image gradients, cut and with noise; and federated averaging, where four MPI ranks
# train on images of their own and exchange weights only. All it makes is in build/examples/private.
# CNNCC, CC: the compilers; FASHION_MNIST: the folder of the data set.
set -eu
cd "$(dirname "$0")/../.."
. examples/setup.sh
out=build/examples/private
cnncc=${CNNCC:-build/cnncc}
cc=${CC:-clang-19}
flags='-std=gnu11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp'
own=
while [ $# -gt 0 ] && [ "$1" != -- ]; do own="$own $1"; shift; done
[ $# -eq 0 ] || shift
mkdir -p "$out/one" "$out/many"
install_packages openmpi-bin libopenmpi-dev
fashion_mnist "$out"
net=examples/fashion/convnet.onnx
"$cnncc" $net --train --loss cross_entropy --optimizer sgd --batch 1 -o "$out/one/convnet.c"
# shellcheck disable=SC2086  # flags and own are lists of words
"$cc" $flags -I"$out/one" examples/private/private.c "$out/one/convnet.c" -lm -o "$out/private"
"$cnncc" $net --train --loss cross_entropy --optimizer sgd --batch 50 -o "$out/many/convnet.c"
# shellcheck disable=SC2086
OMPI_CC=$cc mpicc $flags -I"$out/many" examples/private/federated.c "$out/many/convnet.c" -o "$out/federated"
echo "Differential privacy:"
# shellcheck disable=SC2086
"$out/private" "$out" $own
echo "Federated averaging:"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mpirun --oversubscribe -n 4 "$out/federated" "$out" "$@"
