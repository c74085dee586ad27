#!/bin/sh
# Usage: install.sh VENV PEER LOCK
# Makes the virtual environment PEER, installs what LOCK lists, and lets it also see the packages of VENV, so that torch is not
# installed a second time. The folders of a .pth file come last on the path: the peer's own packages win.
set -eu
venv=$1 peer=$2 lock=$3
packages='import sysconfig; print(sysconfig.get_path("purelib"))'
echo "making $peer from $lock: up to a minute"
"$venv/bin/python" -m venv --clear "$peer"
"$peer/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "$lock" || {
    echo "error: pip could not install $lock (see above); make bench-peers PEERS=... leaves a peer out" >&2
    exit 1
}
"$venv/bin/python" -c "$packages" >"$("$peer/bin/python" -c "$packages")/shared.pth"
