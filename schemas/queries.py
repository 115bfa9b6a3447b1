"""Reads files of named SQL queries: `-- name: claim` starts one, comment lines after it describe it."""

from __future__ import annotations

import re
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def named_queries(package: str, file: str) -> dict[str, str]:
    """Every query of a file by name. Raises ValueError when a name occurs twice or the file names none."""
    text = resources.files(package).joinpath(file).read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    names, bodies = parts[::2], parts[1::2]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"{package}/{file}: names must be there and differ, found {names}")
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}
