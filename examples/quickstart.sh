#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From a fresh Debian 12 to classified images:
#
#     sh examples/quickstart.sh
#
# Installs the Debian packages that are missing, builds cnncc, compiles a trained network from
# ONNX to C and that C to a program, and runs it on the 10,000 test images of Fashion-MNIST.
# Run it again as often as you like; everything it makes is in build/.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. examples/setup.sh

model=examples/fashion/convnet.onnx
out=build/examples/fashion
dataset=/usr/share/datasets/fashion-mnist
flags='-std=gnu11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp'

step() {
    printf '\n== %s\n' "$1"
}

# quietly COMMAND...  shows what the command printed only if it fails.
quietly() {
    if ! "$@" >"$out/log" 2>&1; then
        cat "$out/log" >&2
        echo "quickstart: failed: $*" >&2
        exit 1
    fi
}

# True if $1 compiles and links a program with OpenMP.
works() {
    command -v "$1" >/dev/null || return 1
    echo '#include <omp.h>
int main(void) { return omp_get_max_threads() < 1; }' >"$out/probe.c"
    "$1" -fopenmp "$out/probe.c" -o "$out/probe" >/dev/null 2>&1
}

choose_compiler() {
    if ! install_packages clang-19 libomp-19-dev || ! works clang-19; then
        echo "clang-19 can't be had here; taking gcc"
        command -v gcc >/dev/null || install_packages gcc libc6-dev
        works gcc || { echo "quickstart: neither clang-19 nor gcc works" >&2; exit 1; }
        cc=gcc
    fi
}

started=$(date +%s)
mkdir -p "$out"

step "Packages"
cc=clang-19
choose_compiler
install_packages cmake ninja-build protobuf-c-compiler libprotobuf-c-dev pkg-config \
    dataset-fashion-mnist
echo "all there; the C compiler is $cc"

step "Building cnncc"
quietly env CC="${CC:-$cc}" cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release
quietly cmake --build build --target cnncc
echo "build/cnncc"

step "Compiling the network to C"
quietly build/cnncc "$model" -o "$out/convnet.c" --weights inline
echo "$model, $(wc -c <"$model") bytes, is now $out/convnet.c, $(wc -l <"$out/convnet.c") lines"

step "Compiling the C to a program"
# shellcheck disable=SC2086  # flags is a list of words
quietly "$cc" $flags -I"$out" examples/fashion/main.c "$out/convnet.c" -o "$out/fashion"
echo "$cc $flags"

step "Classifying the test images of Fashion-MNIST"
for file in t10k-images-idx3-ubyte t10k-labels-idx1-ubyte; do
    gzip -dc "$dataset/$file.gz" >"$out/$file"
done
"$out/fashion" "$out/t10k-images-idx3-ubyte" "$out/t10k-labels-idx1-ubyte" --at-least 0.915

step "Done in $(($(date +%s) - started)) s"
cat <<EOF
Built the compiler build/cnncc; with it, compiled the trained network
$model to plain C; with $cc, compiled that and
examples/fashion/main.c to $out/fashion;
and classified 10,000 photographs of clothing that the network was not trained on.

To use it in a program of your own, take convnet.c and convnet.h from
$out: one function, convnet(), and nothing to link.
EOF
