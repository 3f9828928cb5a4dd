#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Saliency, attacks and training against them, all in C:
#
#     sh examples/attack/run.sh [--train IMAGES] [--epochs N] [--threads N]
#
# Makes a trainer and the gradient by the image of the quickstart's network, and runs examples/attack/attack.c on
# Fashion-MNIST. The picture is build/examples/attack/attack.png. CC: the C compiler; CNNCC: the compiler of models.
set -eu
cd "$(dirname "$0")/../.."
. examples/setup.sh
out=build/examples/attack
cnncc=${CNNCC:-build/cnncc}
cc=${CC:-clang-19}
flags='-std=gnu11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp'
mkdir -p "$out"
install_packages libpng-dev
fashion_mnist "$out"
net=examples/fashion/convnet.onnx
"$cnncc" $net --train --loss cross_entropy --optimizer adam --batch 50 --weights inline -o "$out/trainer.c"
"$cnncc" $net --grad --loss cross_entropy --input-grad image --batch 50 --dtype f32 -o "$out/gradient.c"
# shellcheck disable=SC2086  # flags is a list of words
"$cc" $flags -I"$out" examples/attack/attack.c "$out/trainer.c" "$out/gradient.c" -lpng -lm -o "$out/attack"
"$out/attack" "$out" "$@"
