#!/bin/sh
# Installs exactly what a lock file names, and nothing else.
#
#   scripts/install-lock.sh PYTHON LOCK
#
# `--no-deps` keeps pip from resolving. Without it pip looks up requirements such as `coverage[toml]` again and stops as
# soon as the registry has a newer release than the lock, because that release has no hash here.
set -eu
python=$1
lock=$2

quiet=--quiet
if [ -t 1 ]; then quiet=--progress-bar=on; fi
"$python" -m pip install "$quiet" --disable-pip-version-check --no-input \
    --no-deps --require-hashes --only-binary :all: --requirement "$lock"
