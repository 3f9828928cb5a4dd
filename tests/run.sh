#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds everything and runs every test; the last line is 'N passed, N failed, N skipped'.
#
#   sh tests/run.sh                 all groups
#   sh tests/run.sh unit models     some of them
#
# Groups: build unit schemas ulp golden probes conformance compilers sanitizers models grad text examples exporters fuzz.
# What is missing is installed (Debian, as root or with sudo): the compilers and libraries from
# apt, Python packages into build/venv. JOBS sets the number of processes, CNNCC_BUILD the folder
# where all is built (build), CNNCC_SHARED a folder of further model files (see tests/models).
# A group that cannot run is skipped by name; when only the package registries are missing that
# is no failure, unless they can be reached.

set -u
cd "$(dirname "$0")/.." || exit 2
root=$PWD
out=${CNNCC_BUILD:-$root/build}
jobs=${JOBS:-$(nproc 2>/dev/null || echo 2)}
asan=$out-asan
python=$out/venv/bin/python
passed=0 failed=0 skipped=0
bad_groups='' skipped_groups=''
if [ -z "${CNNCC_SHARED:-}" ] && [ -d "$root/../shared/models" ]; then
    CNNCC_SHARED=$(cd "$root/../shared" && pwd)
    export CNNCC_SHARED
fi
unset CNNCC CC CFLAGS
mkdir -p "$out/log" || exit 2

# ---- counting ----

# add P F S
add() {
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

good() {
    add 1 0 0
    echo "passed: $1"
}

bad() {
    add 0 1 0
    bad_groups="$bad_groups $1"
    echo "FAILED: $1${2:+: $2}"
}

skip() {
    add 0 0 1
    skipped_groups="$skipped_groups $1"
    echo "skipped: $1: $2"
}

# step NAME COMMAND...  one test; its output is shown when it fails.
step() {
    step_name=$1
    shift
    step_log=$out/log/$(echo "$step_name" | tr -c 'a-z0-9\n' _).txt
    if "$@" >"$step_log" 2>&1; then
        good "$step_name"
    else
        tail -n 40 "$step_log"
        bad "$step_name" "see $step_log"
        return 1
    fi
}

# group NAME SECONDS COMMAND...  a test that prints its own 'N passed, N failed, N skipped'.
group() {
    group_name=$1 group_limit=$2
    shift 2
    group_log=$out/log/$group_name.txt
    echo "== $group_name"
    (
        timeout -k 10 "$group_limit" "$@" 2>&1
        echo $? >"$group_log.status"
    ) | tee "$group_log"
    group_status=$(cat "$group_log.status")
    group_line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$group_log" | tail -n 1)
    # shellcheck disable=SC2046  # three numbers
    set -- $(echo "$group_line" | sed 's/[^0-9]\{1,\}/ /g')
    if [ $# -ge 2 ]; then
        add "$1" "$2" "${3:-0}"
        if [ "$2" -gt 0 ] || [ "$group_status" -ne 0 ]; then
            bad_groups="$bad_groups $group_name"
            [ "$2" -gt 0 ] || add 0 1 0
        fi
    elif [ "$group_status" -eq 124 ]; then
        bad "$group_name" "no end within $group_limit s"
    elif [ "$group_status" -eq 77 ]; then
        skip "$group_name" "it cannot run here"
    elif [ "$group_status" -ne 0 ]; then
        bad "$group_name" "status $group_status"
    else
        good "$group_name"
    fi
}

# ---- what is needed ----

packages='clang-19 libomp-19-dev libclang-rt-19-dev llvm-19 gcc g++ cmake ninja-build
    protobuf-c-compiler libprotobuf-c-dev libcriterion-dev tcc pkg-config python3 python3-venv valgrind
    libjpeg-dev libpng-dev libwebp-dev libtiff-dev libopenjp2-7-dev'

need_packages() {
    if [ -f examples/setup.sh ]; then
        # shellcheck source=/dev/null
        . examples/setup.sh
    fi
    command -v install_packages >/dev/null || install_packages() {
        for p in "$@"; do
            dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q ' ok installed' || {
                sudo=''
                [ "$(id -u)" -eq 0 ] || sudo=sudo
                $sudo apt-get -q update && $sudo apt-get -q -y --no-install-recommends install "$@"
                return
            }
        done
    }
    # shellcheck disable=SC2086  # a list of words
    install_packages $packages || echo "note: not every package could be installed"
    command -v npm >/dev/null || install_packages npm || echo "note: no npm"
}

# Whether Python's registry answers.
reachable() {
    reach=$(mktemp -d) || return 1
    "$python" -m pip download -q --no-deps --no-cache-dir -d "$reach" packaging >/dev/null 2>&1
    reach_status=$?
    rm -rf "$reach"
    return $reach_status
}

need_venv() {
    [ -x "$python" ] || python3 -m venv "$out/venv" || return 1
    if ! cmp -s tests/requirements.txt "$out/venv/requirements.txt"; then
        "$python" -m pip install -q --disable-pip-version-check -r tests/requirements.txt &&
            cp tests/requirements.txt "$out/venv/requirements.txt"
    fi
}

# Runs a group that needs Python packages, or says why not.
python_group() {
    if [ "$venv" = yes ]; then
        group "$@"
    elif reachable; then
        bad "$1" "the Python packages cannot be installed, though the registry answers"
    else
        skip "$1" "the Python packages are not to be had"
    fi
}

# ---- groups ----

configure_and_build() {
    cmake -S "$root" -B "$1" -G Ninja -DCMAKE_BUILD_TYPE="$2" -DCMAKE_C_COMPILER="$3" "$4" &&
        cmake --build "$1" -j "$jobs" -- -k 0
}

test_build() {
    step 'build with clang, release' configure_and_build "$out" Release clang-19 -DCNNCC_SANITIZE=OFF
    step 'build with clang, sanitizers' configure_and_build "$asan" Debug clang-19 -DCNNCC_SANITIZE=ON
    step 'build with gcc' configure_and_build "$out-gcc" Release gcc -DCNNCC_SANITIZE=OFF
    [ -x "$out/cnncc" ] || bad build 'there is no cnncc'
    [ -x "$out/cnncc-run" ] || bad build 'there is no cnncc-run'
}

# Criterion's counts, summed over the executables.
unit_tests() {
    ctest --test-dir "$asan" -j "$jobs" --timeout 300 -V >"$out/log/ctest.txt" 2>&1
    ctest_status=$?
    [ $ctest_status -eq 0 ] || grep -E '\[(FAIL|CRASH|----|ERR)|ERROR:|runtime error|\*\*\*' "$out/log/ctest.txt" | head -n 60
    awk -v status=$ctest_status '
        /Synthesis: Tested:/ {
            gsub(/\033\[[0-9;]*m/, "")
            for (i = 1; i < NF; i++) {
                if ($i == "Passing:") p += $(i + 1)
                if ($i == "Failing:") f += $(i + 1)
            }
        }
        / tests failed out of / { for (i = 1; i + 2 < NF; i++) if ($(i + 1) == "tests" && $(i + 2) == "failed") lost = $i }
        END {
            if (status != 0 && f == 0) f = lost > 0 ? lost : 1
            printf "%d passed, %d failed, 0 skipped\n", p, f
        }' "$out/log/ctest.txt"
    return $ctest_status
}

# `timeout` runs programs only: this script again, for one function.
test_unit() {
    group unit 600 sh "$root/tests/run.sh" --unit-tests
}

test_schemas() {
    step 'docs/operators.md is current' python3 tests/schemas/list_ops.py --cnncc "$out/cnncc" docs/operators.md --current
    [ -f tests/schemas/roundtrip.c ] || return
    step 'schemas: build' clang-19 -std=gnu11 -O1 -g -fsanitize=address,undefined -w -Icompiler -I"$asan/schemas" \
        -o "$out/roundtrip" tests/schemas/roundtrip.c "$asan/libcnncc_core.a" "$asan/libonnx_pb.a" -lprotobuf-c -lm &&
        python_group schemas 300 "$python" tests/schemas/wire_compat.py "$out/roundtrip"
}

test_ulp() {
    [ -f tests/ulp/ulp.c ] || return
    step 'ulp: build' clang-19 -std=gnu11 -O3 -march=native -fopenmp -o "$out/ulp" tests/ulp/ulp.c -lm &&
        step 'ulp: every 1009th float' timeout 300 "$out/ulp" 1009
    for cc in clang-19 gcc; do
        python_group "conversions_$cc" 300 "$python" tests/ulp/convert.py $cc
    done
}

# A folder of tests with a script of its own gets the build folder and Python.
own_script() {
    [ -f "tests/$1/run.sh" ] || return 0
    BUILD=$out ASAN=$asan PYTHON=$python JOBS=$jobs FUZZ_SECONDS=${FUZZ_SECONDS:-60}
    export BUILD ASAN PYTHON JOBS FUZZ_SECONDS
    python_group "$1" "$2" sh "tests/$1/run.sh"
}

conformance() {
    conformance_name=$1 conformance_runner=$2
    shift 2
    python_group "$conformance_name" 900 "$python" tests/conformance/run.py --cases "$out/conformance" \
        --jobs "$jobs" --runner "$conformance_runner" "$@"
}

flags='-std=gnu11 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp'
warnings='-Wall -Wextra -Wpedantic -Wconversion -Werror'
sanitize='-std=gnu11 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer'

test_conformance() {
    conformance conformance "$out/cnncc-run" --cc tcc
    conformance conformance_constant "$out/cnncc-run" --quiet --cc tcc --constant
    python_group older 300 "$python" tests/conformance/older.py --runner "$out/cnncc-run"
}

test_compilers() {
    conformance conformance_gcc "$out/cnncc-run" --quiet --cc gcc --cflags "$flags $warnings" --every 25
    conformance conformance_clang "$out/cnncc-run" --quiet --cc clang-19 --cflags "$flags $warnings" --every 20
}

test_sanitizers() {
    conformance conformance_sanitizers "$asan/cnncc-run" --quiet --cc clang-19 --cflags "$sanitize" --every 16
}

test_models() {
    CC=clang-19
    export CC
    python_group models 1200 "$python" tests/models/models.py --runner "$out/cnncc-run" --build "$out/models" \
        --jobs "$jobs"
    unset CC
}

test_golden() { own_script golden 300; }
test_probes() { own_script probes 300; }
# The loss curves are held against PyTorch's, which Debian packages for its own Python.
test_grad() {
    install_packages python3-torch python3-numpy libopenblas0-pthread || {
        [ "$venv" = no ] || ! reachable || bad 'grad: PyTorch' 'it cannot be installed, though the registries answer'
    }
    own_script grad 1200
}
test_text() { own_script text 300; }
# The examples as a reader would run them, with less training.
test_examples() {
    install_packages dataset-fashion-mnist libpng-dev openmpi-bin libopenmpi-dev || {
        if reachable; then bad examples 'the packages cannot be installed, though the registries answer'; else skip examples 'the packages are not to be had'; fi
        return
    }
    CNNCC=$out/cnncc
    export CNNCC
    step 'example: training' timeout 600 sh examples/train/run.sh --epochs 1 --threads "$jobs" --at-least 0.8
    step 'example: attack' timeout 600 sh examples/attack/run.sh --train 1500 --epochs 1 --threads "$jobs"
    step 'example: ranks' timeout 600 sh examples/train/ranks.sh
    step 'example: words' timeout 300 sh examples/words/run.sh --words 5000 --epochs 1 --at-least 0.5
    step 'example: finetune' timeout 600 sh examples/finetune/run.sh --steps 60 --threads "$jobs" --at-least 0.5
    step 'example: search' timeout 600 sh examples/search/run.sh --trials 4 --images 2000 --epochs 1 --at-least 0.5
    step 'example: private' timeout 600 sh examples/private/run.sh --steps 25 --threads "$jobs" --seed 1 --at-least 0.5 -- --rounds 2 --at-least 0.5
    unset CNNCC
}
test_exporters() { own_script exporters 1800; } # its packages are 9 gigabytes, most of it PyTorch's
test_fuzz() { own_script fuzz 300; }

# ---- all of it ----

if [ "${1:-}" = --unit-tests ]; then
    unit_tests
    exit
fi
need_packages
venv=no
if need_venv; then
    venv=yes
fi
start=$(date +%s)
[ $# -gt 0 ] || set -- build unit schemas ulp golden probes conformance compilers sanitizers models grad text examples exporters fuzz
for name in "$@"; do
    if ! command -v "test_$name" >/dev/null; then
        echo "tests/run.sh: no group '$name'" >&2
        exit 2
    fi
    "test_$name"
done
echo "$(($(date +%s) - start)) s in all"
[ -z "$skipped_groups" ] || echo "skipped groups:$skipped_groups"
[ -z "$bad_groups" ] || echo "failed groups:$bad_groups"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
