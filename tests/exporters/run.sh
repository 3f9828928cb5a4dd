#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Models as exporters write them: scikit-learn, XGBoost and LightGBM (classical.py), Keras and TensorFlow
# (keras_nets.py), PyTorch by both of its exporters (torch_nets.py). BUILD: the build folder, which gets a Python
# environment for each, the largest of 7 GB; 77: none is to be had. `sh run.sh --long` trains more of the classical ones.
here=$(dirname "$0") build=${BUILD:-build} python=${PYTHON:-python3}

# environment NAME FILE [OPTION]: BUILD/NAME with the packages of FILE.
environment() {
    cmp -s "$here/$2" "$build/$1/requirements.txt" && return
    [ -x "$build/$1/bin/python" ] || python3 -m venv "$build/$1" || return
    # shellcheck disable=SC2086  # an option or none
    "$build/$1/bin/python" -m pip install -q ${3:-} --disable-pip-version-check -r "$here/$2" || return
    cp "$here/$2" "$build/$1/requirements.txt"
}

free_gb() { df -Pk "$build" | awk 'NR == 2 { print int($4 / 1048576) }'; }

missing() { echo "skipped: $1"; echo "0 passed, 0 failed, 1 skipped"; }

nets=$build/exporters
rm -rf "$nets"
mkdir -p "$nets"
{
    if environment venv-exporters requirements.txt --no-deps; then
        "$build/venv-exporters/bin/python" "$here/classical.py" --build "$build" "$@"
    else missing "classical models: no packages"; fi
    if environment venv-keras requirements-keras.txt; then
        "$build/venv-keras/bin/python" "$here/keras_nets.py" "$nets/keras" 2>/dev/null
    else missing "Keras and TensorFlow: no packages"; fi
    if [ ! -d "$build/venv-torch" ] && [ "$(free_gb)" -lt 16 ]; then
        missing "PyTorch: it takes 7 GB, and there are $(free_gb)"
    elif environment venv-torch requirements-torch.txt; then
        "$build/venv-torch/bin/python" "$here/torch_nets.py" "$nets/torch" 2>/dev/null
        "$build/venv-torch/bin/python" "$here/torch_nets.py" "$nets/torch" --dynamo 2>/dev/null
    else missing "PyTorch: no packages"; fi
    "$python" "$here/networks.py" --runner "$build/cnncc-run" --build "$nets/work" "$nets/keras" "$nets/torch" 2>/dev/null
} | awk '
    /^[0-9]+ passed, [0-9]+ failed/ { passed += $1; failed += $3; skipped += $5; next }
    { print }
    END {
        printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
        exit failed > 0 ? 1 : passed > 0 ? 0 : 77
    }'
