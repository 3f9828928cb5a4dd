#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Trains the quickstart's network on Fashion-MNIST, all in C:
#
#     sh examples/train/run.sh [OPTIONS OF THE TRAINER, such as --epochs 3 --threads 2]
#
# Makes the trainer with cnncc --train, trains from random weights, writes a checkpoint and the network
# as ONNX, compiles that, and classifies the test images with it. All it makes is in build/examples/train.
# CC: the C compiler; CNNCC: the compiler of models.
set -eu
cd "$(dirname "$0")/../.."
. examples/setup.sh
out=build/examples/train
cnncc=${CNNCC:-build/cnncc}
cc=${CC:-clang-19}
flags='-std=gnu11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp'
mkdir -p "$out"
fashion_mnist "$out"
"$cnncc" examples/fashion/convnet.onnx --train --loss cross_entropy --optimizer adam --batch 32 -o "$out/convnet.c"
# shellcheck disable=SC2086  # flags is a list of words
"$cc" $flags -I"$out" examples/train/fashion.c "$out/convnet.c" -o "$out/train"
"$out/train" "$out" --checkpoint "$out/checkpoint.safetensors" --model examples/fashion/convnet.onnx --export "$out/trained.onnx" "$@"
mkdir -p "$out/use"
"$cnncc" "$out/trained.onnx" -o "$out/use/convnet.c" --weights inline
# shellcheck disable=SC2086
"$cc" $flags -I"$out/use" examples/fashion/main.c "$out/use/convnet.c" -o "$out/fashion"
echo "The exported network, compiled for use:"
"$out/fashion" "$out/t10k-images-idx3-ubyte" "$out/t10k-labels-idx1-ubyte" --ascii | tail -n 3
