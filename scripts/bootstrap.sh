#!/bin/sh
# Sets up everything that recon needs on a fresh machine; does nothing when nothing changed.
#
#   scripts/bootstrap.sh          what runs recon:    .venv from requirements.txt
#   scripts/bootstrap.sh --dev    what tests it too:  .venv from requirements-dev.txt, Chromium
#
# System packages are installed with apt where that is possible (root, Debian or Ubuntu); elsewhere it says what is missing.
set -eu
cd "$(dirname "$0")/.."

kind=run
lock=requirements.txt
if [ "${1:-}" = "--dev" ]; then
    kind=dev
    lock=requirements-dev.txt
fi

say() { printf '%s\n' "$*" >&2; }

# The newest Python that will do: at least 3.11.
find_python() {
    for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

digest() {
    # The lock, the project's own metadata and the interpreter: whatever of them changes, the environment is renewed.
    cat "$1" pyproject.toml .venv/pyvenv.cfg 2>/dev/null | cksum
    pwd
}

has_redis() { command -v redis-server >/dev/null || command -v redis-check-rdb >/dev/null; }
has_chromium() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; }
has_venv() { python=$(find_python) && "$python" -c 'import ensurepip, venv' 2>/dev/null; }

missing_packages() {
    find_python >/dev/null || printf ' python3'
    has_venv || [ -x .venv/bin/python ] || printf ' python3-venv'
    has_redis || printf ' redis-tools'
    command -v setpriv >/dev/null || printf ' util-linux'
    [ "$kind" = run ] || has_chromium || printf ' chromium'
}

is_current() { [ -x .venv/bin/recon ] && [ -f ".venv/.recon-$1" ] && [ "$(cat ".venv/.recon-$1")" = "$(digest "$2")" ]; }

# The usual case, in a blink: nothing changed. What tests recon also runs it.
if has_redis; then
    if is_current dev requirements-dev.txt && { [ "$kind" = run ] || has_chromium; }; then exit 0; fi
    if [ "$kind" = run ] && is_current run requirements.txt; then exit 0; fi
fi

packages=$(missing_packages)
if [ -n "$packages" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing system packages:$packages"
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086 # a list of words
        if ! apt-get install -y -q --no-install-recommends $packages >/tmp/recon-apt.$$ 2>&1; then
            apt-get update -q >>/tmp/recon-apt.$$ 2>&1 || true
            # shellcheck disable=SC2086
            apt-get install -y -q --no-install-recommends $packages >>/tmp/recon-apt.$$ 2>&1 || tail -n 20 /tmp/recon-apt.$$ >&2
        fi
        rm -f /tmp/recon-apt.$$
    fi
    packages=$(missing_packages)
fi
if [ -n "$packages" ]; then
    say "recon needs these system packages (names as on Debian and Ubuntu):"
    for package in $packages; do
        case $package in
            python3) say "  python3        Python 3.11 or newer (or set PYTHON to one)" ;;
            python3-venv) say "  python3-venv   virtual environments for that Python" ;;
            redis-tools) say "  redis-tools    the Redis server program (redis-server will do too)" ;;
            util-linux) say "  util-linux     setpriv and unshare, to run PostgreSQL when you are root" ;;
            chromium) say "  chromium       for the tests that look at the dashboard" ;;
        esac
    done
    say "Install them, for example:  sudo apt install$packages"
    # Without Chromium everything but the browser tests runs; anything else is needed.
    [ "$packages" = " chromium" ] && [ -z "${CI:-}" ] || exit 3
fi

if is_current "$kind" "$lock"; then exit 0; fi

if ! .venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$(find_python)
    say "Creating .venv with $("$python" -V)"
    "$python" -m venv --clear .venv
fi
rm -f .venv/.recon-run .venv/.recon-dev
say "Installing $(grep -c '==' "$lock") Python packages from $lock (some 600 MB the first time)"
scripts/install-lock.sh .venv/bin/python "$lock"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-index --no-deps \
    --no-build-isolation --editable .
# Nothing was resolved, so check that what the lock names is complete and fits together.
.venv/bin/python -m pip check --disable-pip-version-check >&2
digest "$lock" >".venv/.recon-$kind"
say "Ready: .venv/bin/recon --help"
