"""One configured value of one record, as text.

1. Each place is read, and its text treated: normalize, trim, extract, upper or lower, strip_leading_zeros.
2. Of several places the first that is not empty counts. Joined parts are normalised and trimmed one by one, and when
   one of them is empty the whole is empty; the other options see the joined text.
3. `values` gives the meaning of a word; a word in no list is kept, replaced by `otherwise`, or refused.
4. `default` stands for what is still empty.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from cluster.oracle.mapping.configuration import Value
from cluster.oracle.mapping.values import Day, Number, text_of, value_at
from cluster.oracle.records import LogRecord

# White space of Unicode (property White_Space), which `trim` takes off.
BLANKS = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
NO_BREAK = "\xa0\u2007\u202f"
REFUSE = "reject"


class Unlisted(ValueError):  # noqa: N818 - a verdict on a record, not an error of ours
    """The word is in no list of `values`, and the configuration takes no other."""


@dataclass(frozen=True, slots=True)
class Message:
    """A record as a mapping sees it: where it was in the log, and what it says."""

    record: LogRecord
    tree: Any

    def at(self, path: str) -> Any:
        """What stands at a path of the record, or of Kafka's own; None for nothing."""
        if not path.startswith("$"):
            return value_at(self.tree, path)
        if path == "$topic":
            return self.record.topic
        if path == "$timestamp":
            return str(self.record.arrival)
        return text_of(self.record.key if path == "$key" else self.record.header(path.removeprefix("$headers.")))


@dataclass(frozen=True, slots=True)
class Found:
    """A value's text, None when it is empty, and whether the record has a number or a date there rather than a text."""

    text: str | None
    is_number: bool = False
    is_day: bool = False


def read(message: Message, value: Value) -> Found:
    """The value of a record. Raises Unlisted."""
    if value.const is not None:
        return Found(value.const or None)
    if value.join:
        parts = [_cleaned(text_of(message.at(path)), value) for path in value.join]
        texts = [part for part in parts if part]
        found = Found(_treated(value.joined_with.join(texts), value) if len(texts) == len(parts) else None)
    else:
        found = _first(message, value)
    text = found.text
    if text is not None and value.words:
        if text in value.words:
            text = value.words[text] or None
        elif value.otherwise == REFUSE:
            raise Unlisted(text)
        elif value.otherwise is not None:
            text = value.otherwise or None
    if text is None:
        text = value.default or None
    return Found(text, found.is_number, found.is_day)


def _first(message: Message, value: Value) -> Found:
    for path in value.places:
        stands_there = message.at(path)
        text = _treated(text_of(stands_there), value)
        if text is not None:
            return Found(text, isinstance(stands_there, Number), isinstance(stands_there, Day))
    return Found(None)


def _cleaned(text: str | None, value: Value) -> str | None:
    if text is None:
        return None
    if value.normalize:
        for char in NO_BREAK:
            text = text.replace(char, " ")
        text = unicodedata.normalize("NFC", text)
    return text.strip(BLANKS) if value.trim else text


def _treated(text: str | None, value: Value) -> str | None:
    """A text after all options; None when nothing is left."""
    text = _cleaned(text, value)
    if text is not None and value.extract is not None:
        match = re.search(_ends_exactly(value.extract), text)
        text = _cleaned(match[1], Value(trim=value.trim)) if match else None
    if not text:
        return None
    if value.upper:
        text = text.upper()
    if value.lower:
        text = text.lower()
    if value.strip_leading_zeros:
        text = text.lstrip("0") or "0"  # an id of zeros keeps one: it is not empty
    return text


def _ends_exactly(expression: str) -> str:
    r"""The expression with `$` for the very end, which Python also finds before a last line feed.

    >>> _ends_exactly(r"^([0-9$]+)\$$")
    '^([0-9$]+)\\$\\Z'
    """
    return re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\$", lambda part: r"\Z" if part[0] == "$" else part[0], expression)
