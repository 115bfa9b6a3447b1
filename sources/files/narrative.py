"""Field 86 of MT940 in the dialects that banks use: `?20..` subfields, `/EREF/` codes, `EREF+` tags, free text.

The parts are named as the bank names them: `20` to `63` for subfields, `GVC` for the German code of the transaction,
`EREF`, `KREF`, `MREF`, `SVWZ`, `REMI`, `NAME`, ... for tags and codes; a code that occurs twice keeps its first value.
Sources: SWIFT's Standards MT on field 86; the German banks' "Anlage 3 des DFÜ-Abkommens" for subfields and tags.
"""

from __future__ import annotations

import re
from typing import Final

from sources.files.statements import TEXT, reference

LINE_CHARACTERS: Final = 65
"""How many characters a line of field 86 holds."""

SUBFIELD_CHARACTERS: Final = 27
"""How many characters a subfield holds; a text that is longer goes on in the next, within a word."""

_SUBFIELDS: Final = re.compile(r"(?P<code>\d{3})?(?P<sign>[?<>~@#$%&*|/])(?=\d{2})")
_TAGS: Final = (
    "EREF|KREF|MREF|CRED|DEBT|COAM|OAMT|SVWZ|ABWA|ABWE|IBAN|BIC|PURP|RREF|RTRN|ANAM|ASRF|SQTP|BREF"  # SEPA, in Germany
)
_TAG: Final = re.compile(rf"({_TAGS})\+")
_REFERENCES: Final = frozenset({"EREF", "KREF", "MREF", "CRED", "DEBT", "IBAN", "BIC", "RREF", "BREF"})
_CODES: Final = (
    "ACCW|ADDR|AREF|BENM|BIC|BREF|BUSP|CHGS|CNTP|COAM|CREF|CRED|CSID|CTRY|DEBT|EREF|EXCH|IBAN|ID|INIT|IREF|ISDT|KREF|"
    "MARF|MREF|NAME|OAMT|OCMT|ORDP|PREF|PROC|PURP|REMI|RREF|RTRN|RTYP|SUM|STRD|SVCL|SVWZ|TR|TRCD|TRTP|ULTB|ULTC|ULTD|"
    "USTD|VACC"
)
_CODE: Final = re.compile(rf"/({_CODES})/")
# Subfields that hold the text of the payment.
_PURPOSE: Final = frozenset({*map(str, range(20, 30)), *map(str, range(60, 64))})


def narrative(lines: list[str]) -> dict[str, str | None] | None:
    """The text of a field 86 with its parts; None where it is empty."""
    whole = "".join(lines)
    match = _SUBFIELDS.match(whole)
    if match is not None and (match["code"] or match["sign"] in "?<>"):
        return _subfields(whole, match)
    parts: dict[str, str | None] = {}
    _codes(whole, parts)
    _tags(_joined(lines), parts)
    plain = _joined(lines)
    return {TEXT: plain, **parts} if plain else None


def _joined(lines: list[str]) -> str:
    """The lines as one text: a full line goes on within a word, a shorter one ended there."""
    text = ""
    for line in lines:
        text += line if len(line) == LINE_CHARACTERS else f"{line.rstrip()} "
    return text.strip()


def _subfields(whole: str, match: re.Match[str]) -> dict[str, str | None]:
    parts: dict[str, str | None] = {}
    if match["code"]:
        parts["GVC"] = match["code"]
    purpose: list[str] = []
    pieces = re.split(rf"{re.escape(match['sign'])}(?=\d{{2}})", whole[match.start("sign") :])
    for piece in pieces[1:]:
        number, value = piece[:2], piece[2:]
        if number in parts:
            continue
        parts[number] = value.strip() or None
        if number in _PURPOSE:
            purpose.append(value if len(value) >= SUBFIELD_CHARACTERS else f"{value}\n")
    text = "".join(purpose)
    shown = text.replace("\n", " ").strip()
    _codes(shown, parts)
    _tags(text, parts)
    shown = shown or (parts.get("00") or "")
    return {TEXT: shown or None, **parts}


def _tags(text: str, parts: dict[str, str | None]) -> None:
    """`EREF+...` up to the next tag; a line break says that a subfield was not full."""
    found = list(_TAG.finditer(text))
    for index, tag in enumerate(found):
        end = found[index + 1].start() if index + 1 < len(found) else len(text)
        value = text[tag.end() : end].strip()
        # A reference ends with its subfield unless that is full; a text goes on.
        value = value.split("\n", maxsplit=1)[0] if tag[1] in _REFERENCES else value.replace("\n", " ")
        if tag[1] not in parts:
            parts[tag[1]] = reference(value)


def _codes(text: str, parts: dict[str, str | None]) -> None:
    """`/EREF/.../` up to the next code that is known: a value may have slashes of its own."""
    at = 0
    found: list[tuple[str, int, int]] = []
    while (code := _CODE.search(text, at)) is not None:
        found.append((code[1], code.start(), code.end()))
        # The slash that ends this code may begin the next: `/ORDP//NAME/` and `/REMI/USTD/`.
        at = code.end() - 1
    for index, (name, _, start) in enumerate(found):
        end = found[index + 1][1] if index + 1 < len(found) else len(text)
        value = text[start:end].strip().strip("/").strip() if end > start else ""
        if name not in parts or parts[name] is None:
            parts[name] = reference(value)
