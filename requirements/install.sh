#!/bin/sh
# Usage: install.sh VENV LOCK [PYTHON VERSION ...]
# Makes the virtual environment VENV, unless it is there, and installs what LOCK lists. Its Python is the first of the versions
# that this machine has. 3.11 comes first: the tests run there.
set -eu
venv=$1 lock=$2
shift 2
[ $# -gt 0 ] || set -- 3.11 3.12 3.13
needed=8 # GiB: the CUDA build of torch and what pip unpacks on the way

# Usage: find_python VERSION ...
find_python() {
    check='import sys, venv, ensurepip; sys.exit("%d.%d" % sys.version_info[:2] not in sys.argv[1:])'
    for name in $(printf 'python%s ' "$@") python3 python; do
        if "$name" -c "$check" "$@" 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    # A Python that uv has installed is not always on the PATH.
    for version in "$@"; do
        uv python find --no-project "$version" 2>/dev/null && return
    done
    return 1
}

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python "$@") || {
        versions=$(echo "$@" | sed 's/ /, /g; s/\(.*\), /\1 or /')
        echo "error: no Python $versions here; get one with: uv python install $1 (pip install uv gets uv)" >&2
        exit 1
    }
    free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
    if [ "$free" -lt "$needed" ]; then
        echo "error: $free GiB free in $(pwd); the environment needs $needed: make room and run make again" >&2
        exit 1
    fi
    echo "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi
echo "installing $lock: 1 to 3 minutes the first time"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "$lock" || {
    echo "error: pip could not install $lock (see above); once that is mended, run make again: it goes on from here" >&2
    exit 1
}
