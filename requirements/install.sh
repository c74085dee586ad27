#!/bin/sh
# Usage: install.sh VENV LOCK. Makes the virtual environment VENV, unless it is there, and installs what LOCK lists.
set -eu
venv=$1 lock=$2
needed=8 # GiB: the CUDA build of torch and what pip unpacks on the way

# 3.11 first: the tests run there, and torchtext's environment takes no later one.
find_python() {
    for name in python3.11 python3.12 python3.13 python3 python; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    # What uv has fetched need not be on the PATH.
    uv python find --no-project '>=3.11,<3.14' 2>/dev/null
}

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python) || {
        echo "error: no Python 3.11, 3.12 or 3.13 here; get one with: uv python install 3.11 (pip install uv gets uv)" >&2
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
