"""What a process of the simulation needs in its environment before polars is imported."""

from __future__ import annotations

import os
import sys

# One polars thread, as in the actors; no traces of panics that are caught.
_ENVIRONMENT = {"POLARS_MAX_THREADS": "1", "RUST_BACKTRACE": "0"}


def begin_anew_unless_set(module: str) -> None:
    """Run this module in place of the running process, with the right environment, unless it has that already."""
    if any(os.environ.get(name) != value for name, value in _ENVIRONMENT.items()):
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], {**os.environ, **_ENVIRONMENT})
