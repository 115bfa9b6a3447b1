"""Cursors: where a page ended, bound to the search that it belongs to."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from api.models.common import FieldProblem
from api.problems import InvalidError


def search_digest(*parts: Any) -> str:
    """A short digest of everything that decides a search's rows and order."""
    return hashlib.sha256(orjson.dumps(parts, default=str)).hexdigest()[:12]


def encode(digest: str, position: Sequence[int | str]) -> str:
    """Position in an order as an opaque text."""
    return base64.urlsafe_b64encode(orjson.dumps([digest, *position])).decode().rstrip("=")


def decode(cursor: str, digest: str, kinds: Sequence[type]) -> list[Any]:
    """The position. Raises InvalidError for a cursor that is not ours or belongs to another search."""
    try:
        found = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        found = None
    if not isinstance(found, list) or len(found) != len(kinds) + 1 or found[0] != digest:
        raise _refuse()
    position = found[1:]
    if not all(type(value) is kind for value, kind in zip(position, kinds, strict=True)):
        raise _refuse()
    if any(type(value) is int and abs(value) > 2**62 for value in position):
        raise _refuse()
    return position


def _refuse() -> InvalidError:
    problem = FieldProblem(where="query.cursor", problem="belongs to another search, or is none of ours")
    return InvalidError("The cursor does not fit this search: start again without it.", errors=[problem])
