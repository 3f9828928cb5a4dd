#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Trains a GRU to tell the language of a word, all in C, on the word lists of Debian:
#
#     sh examples/words/run.sh [OPTIONS OF words.c, such as --epochs 4 --ask "bonjour watermelon"]
#
# All it makes is in build/examples/words. CNNCC, CC: the compilers.
set -eu
cd "$(dirname "$0")/../.."
. examples/setup.sh
out=build/examples/words
cnncc=${CNNCC:-build/cnncc}
cc=${CC:-clang-19}
flags='-std=gnu11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp'
mkdir -p "$out"
install_packages wamerican wfrench wngerman witalian wspanish wdutch
"$cnncc" examples/words/words.onnx --train --loss cross_entropy --optimizer adam --batch 64 -o "$out/words.c"
# shellcheck disable=SC2086  # flags is a list of words
"$cc" $flags -I"$out" examples/words/words.c "$out/words.c" -o "$out/words"
dict=/usr/share/dict
"$out/words" $dict/american-english $dict/french $dict/ngerman $dict/italian $dict/spanish $dict/dutch \
    --model examples/words/words.onnx --export "$out/trained.onnx" --ask 'knowledge grenouille schmetterling fazzoletto murciélago vrijheid blurgenstein' "$@"
