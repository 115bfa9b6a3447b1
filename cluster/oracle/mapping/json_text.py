"""JSON by the letter of RFC 8259, with every number's digits and no name that matters twice in one object."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from cluster.oracle.mapping.values import Number

FRAMING_BYTES = 5


class NotJson(ValueError):  # noqa: N818 - a verdict on bytes, not an error of ours
    """The bytes are not one JSON value."""


def read(text: bytes, names: frozenset[str] = frozenset()) -> Any:
    """The tree of one JSON text. Raises NotJson.

    An object may not repeat one of `names`, which a mapping reads; without `names` it may repeat none.
    """

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            told = [name for name, _ in pairs]
            repeated = {name for name in told if told.count(name) > 1}
            if not names or repeated & names:
                raise NotJson("a name occurs twice in one object")
        return found

    try:
        tree = json.loads(
            text.decode("utf-8", "strict"),
            object_pairs_hook=members,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_no_constant,
        )
        _check_text(tree)
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error)) from error
    return tree


def without_framing(value: bytes) -> bytes:
    """The text behind a registry's framing, if there is one: no JSON text begins with a zero byte."""
    return value[FRAMING_BYTES:] if value[:1] == b"\0" and len(value) > FRAMING_BYTES else value


def _no_constant(word: str) -> NoReturn:
    raise NotJson(f"{word} is no number of JSON")


def _check_text(tree: Any) -> None:
    """Refuse half a surrogate pair, which an escape can say and no text can hold."""
    match tree:
        case str():
            tree.encode()
        case dict():
            for name, part in tree.items():
                _check_text(name)
                _check_text(part)
        case list():
            for part in tree:
                _check_text(part)
