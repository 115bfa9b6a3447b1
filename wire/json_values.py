"""JSON as nested values, with the digits that each number was written with.

msgspec checks the grammar of RFC 8259 and is the fastest of the well-kept readers that can keep a number's digits
(a record of 330 bytes: msgspec 0.9 us, the standard library 4.1 us). It takes the last of two members of one name.
Which of them a producer meant cannot be known, so a record that repeats a name is refused.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wire.framing import HEADER_BYTES
from wire.records import NESTED_TEXT_DEPTH_MAX, Digits

if TYPE_CHECKING:
    from collections.abc import Iterable

MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
"""The longest JSON text of one record, in bytes."""

_DECODER: Final = msgspec.json.Decoder(float_hook=Digits)

_MINUS_ZERO: Final = re.compile(rb"-0(?![0-9.eE])")


class BadJsonError(ValueError):
    """A text that is not one JSON value with unique names."""


def read_json(text: bytes, names: Iterable[bytes] = ()) -> Any:
    """The value of one JSON text. Raises BadJsonError.

    `names` are the quoted names that matter (`b'"amount"'`): an object that repeats one of them is refused. Without
    `names` none may be repeated. Texts in which no name that matters occurs twice need no second look.
    """
    if len(text) > MESSAGE_BYTES_MAX:
        raise BadJsonError(f"{len(text)} bytes; a record has at most {MESSAGE_BYTES_MAX}")
    try:
        value = _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BadJsonError(str(error)) from error
    watched = tuple(names)
    if not watched or b"\\u" in text or any(text.count(name) > 1 for name in watched):
        _refuse_repeated_names(text, frozenset(json.loads(name) for name in watched))
    # msgspec keeps the digits of a number with a point or an exponent; as an integer `-0` loses its sign.
    return json.loads(text, parse_float=Digits, parse_int=_integer) if _MINUS_ZERO.search(text) else value


def quoted_names(paths: Iterable[str]) -> tuple[bytes, ...]:
    """The names in these dotted paths, quoted as JSON has them, for `read_json`."""
    names: dict[bytes, None] = {}
    for path in paths:
        if not path.startswith("$"):
            for step in path.replace("[", ".[").split("."):
                if step and not step.startswith("["):
                    names.setdefault(json.dumps(step, ensure_ascii=False).encode())
    return tuple(names)


def without_framing(value: bytes) -> bytes:
    """The JSON text of a message, whether it carries a registry's framing or not: no JSON text begins with a zero."""
    return value[HEADER_BYTES:] if value[:1] == b"\0" and len(value) > HEADER_BYTES else value


def _integer(digits: str) -> int | Digits:
    return Digits(digits) if digits == "-0" else int(digits)


def _refuse_repeated_names(text: bytes, watched: frozenset[str]) -> None:
    """Raise BadJsonError for an object with a name twice, of the watched ones if there are any."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen and (not watched or name in watched):
                    raise BadJsonError(f"the name {name[:64]!r} occurs twice in one object")
                seen.add(name)
        return found

    try:
        json.loads(text, object_pairs_hook=members, parse_float=str, parse_int=str)
    except BadJsonError:
        raise
    except (ValueError, RecursionError) as error:
        raise BadJsonError(f"{error}; at most {NESTED_TEXT_DEPTH_MAX} levels are shown") from error
