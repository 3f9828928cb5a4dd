#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Classical models by their exporters; see classical.py. BUILD: where cnncc is. The packages are installed into
# BUILD/venv-exporters; 77: they are not to be had. `sh run.sh --long` trains more of each.
here=$(cd "$(dirname "$0")" && pwd) || exit 2
build=${BUILD:-$here/../../build}
venv=$build/venv-exporters
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || exit 77
    "$venv/bin/python" -m pip install -q --no-deps --disable-pip-version-check -r "$here/requirements.txt" || exit 77
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi
exec "$venv/bin/python" "$here/classical.py" --build "$build" "$@"
