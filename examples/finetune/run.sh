#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fine-tunes a pretrained network, twice: its head only, and its head with adapters of low rank in its convolutions.
#
#     sh examples/finetune/run.sh [OPTIONS OF finetune.c, such as --steps 300 --threads 2]
#
# The network is in a package of PyPI, which is fetched once. All else that it makes is in build/examples/finetune, the
# picture lines.png among it. CNNCC, CC: the compilers.
set -eu
cd "$(dirname "$0")/../.."
. examples/setup.sh
out=build/examples/finetune
cnncc=${CNNCC:-build/cnncc}
cc=${CC:-clang-19}
flags='-std=gnu11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp'
mkdir -p "$out"
install_packages libcairo2-dev pkg-config fonts-dejavu fonts-liberation wamerican wfrench wukrainian python3
net=$out/orientation.onnx
if ! [ -f "$net" ]; then
    python3 -m pip --version >/dev/null 2>&1 || install_packages python3-pip
    python3 -m pip -q --disable-pip-version-check download --no-deps -d "$out" rapidocr-onnxruntime==1.4.4
    python3 - "$out" <<'END'
import pathlib, sys, zipfile
out = pathlib.Path(sys.argv[1])
with zipfile.ZipFile(next(out.glob("rapidocr_onnxruntime*.whl"))) as z:
    (out / "orientation.onnx").write_bytes(z.read("rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx"))
END
fi
sort -u /usr/share/dict/american-english /usr/share/dict/french >"$out/latin"

# tune NAME OPTIONS...  trains what the options say and runs what comes out.
tune() {
    name=$1
    shift
    mkdir -p "$out/$name"
    "$cnncc" "$net" --shape x=1x3x48x192 --train --loss cross_entropy --optimizer adam --batch 16 --frozen-bn --prefix net -o "$out/$name/net.c" "$@" 2>/dev/null
    # shellcheck disable=SC2046,SC2086  # lists of words
    "$cc" $flags -I"$out/$name" $(pkg-config --cflags cairo) examples/finetune/finetune.c "$out/$name/net.c" $(pkg-config --libs cairo) -lm -o "$out/$name/finetune"
}
tune head --requires-grad '^fc_0'
tune lora --requires-grad '^fc_0' --lora '_(expand|linear)_weights$:4'
echo "The head:"
"$out/head/finetune" "$out/latin" /usr/share/dict/ukrainian --picture "$out/lines.png" "$@"
echo "The head, and adapters of rank 4 beside the 1x1 convolutions:"
"$out/lora/finetune" "$out/latin" /usr/share/dict/ukrainian --model "$net" --export "$out/script.onnx" "$@"
echo "The network with the adapters merged is $out/script.onnx, as large and fast as before"
