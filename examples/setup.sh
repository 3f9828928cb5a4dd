# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Sourced by scripts that need Debian packages (POSIX sh).
#
#     . examples/setup.sh
#     install_packages cmake ninja-build

# install_packages NAME...  installs those that are missing, as root or with sudo, and says
# nothing if none is. Returns 1 after a message on stderr if that cannot be done.
install_packages() {
    setup_missing=
    for setup_name in "$@"; do
        # shellcheck disable=SC2016  # the braces are dpkg-query's
        case $(dpkg-query -W -f='${Status}' "$setup_name" 2>/dev/null) in
        *' ok installed') ;;
        *) setup_missing="$setup_missing $setup_name" ;;
        esac
    done
    [ -n "$setup_missing" ] || return 0

    if ! command -v apt-get >/dev/null; then
        echo "setup: this is no Debian system; install what these packages hold:$setup_missing" >&2
        return 1
    fi
    setup_root=
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "setup: as root, run: apt-get install$setup_missing" >&2
            return 1
        fi
        setup_root=sudo
    fi

    echo "installing$setup_missing"
    setup_log=$(mktemp) || return 1
    # Once for a shell, however often this function is called.
    if [ -z "${setup_updated:-}" ]; then
        $setup_root apt-get -q update >"$setup_log" 2>&1 || setup_fail "apt-get update" || return 1
        setup_updated=yes
    fi
    # shellcheck disable=SC2086  # a list of words
    $setup_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y --no-install-recommends install $setup_missing >"$setup_log" 2>&1 ||
        setup_fail "apt-get install$setup_missing" || return 1
    rm -f "$setup_log"
}

# setup_fail WHAT  shows the log of what failed; always returns 1.
setup_fail() {
    echo "setup: $1 failed:" >&2
    tail -n 20 "$setup_log" >&2
    rm -f "$setup_log"
    return 1
}

# fashion_mnist FOLDER  unpacks the images and labels of Fashion-MNIST into it. FASHION_MNIST: where the packed files
# are, if not where Debian's package puts them.
fashion_mnist() {
    setup_data=${FASHION_MNIST:-/usr/share/datasets/fashion-mnist}
    [ -d "$setup_data" ] || install_packages dataset-fashion-mnist || return 1
    for setup_file in train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte t10k-labels-idx1-ubyte; do
        [ -f "$1/$setup_file" ] || gzip -dc "$setup_data/$setup_file.gz" >"$1/$setup_file" || return 1
    done
}
