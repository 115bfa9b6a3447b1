"""The part of the grammar that says how a field is read: places, text options, amounts, times, conditions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import polars as pl

from schemas.events import STATUS_NAMES
from schemas.money import NOT_ISO, why_no_currency
from sources.config.grammar import Choice, Either, Flag, Found, Key, Keys, Kind, Listed, Named, Text, Whole
from sources.config.models import Amount, Condition, Fields, Indicator, Time, Value
from sources.config.problems import closest
from sources.config.times import WORD_FORMATS, BadFormatError, check_zone, pattern_of
from sources.currencies import CODE_OF_DIGITS, EXPONENTS
from sources.files.options import Place
from sources.mapping.amounts import BadAmountError, exact
from sources.mapping.times import BadTimeError, milliseconds
from wire.records import BadPathError, steps

COLUMNS_MAX: Final = 10_000
"""The highest column number."""
ROW_CHARACTERS_MAX: Final = 1_000_000
"""The highest character position in a row of fixed width."""
WORDS_MAX: Final = 2_000
"""The most words that one list names."""
EXPONENT_MAX: Final = 8
"""The most decimals that a processor's own exponent may have."""
ATTRIBUTES_MAX: Final = 64
"""The most attributes that one source maps."""


def check_path(text: str) -> tuple[str, str] | None:
    """What is wrong with a path. A file's heading may be anything; `check_steps` is for records that are nested."""
    if text.startswith("$"):
        if text in {"$key", "$topic", "$timestamp"} or re.fullmatch(r"\$headers\..+", text):
            return None
        return f"{text!r} is no path", closest(text, ["$key", "$topic", "$timestamp", "$headers.NAME"])
    return None


def check_steps(text: str) -> tuple[str, str] | None:
    """What is wrong with a path into nested records."""
    try:
        steps(text)
    except BadPathError as error:
        return error.why, "right are a.b, a.b[0].c"
    return None


PATH: Final = Text("a path as data.id", check=check_path)
WORD: Final = Text("a word", empty=True)


def currency(text: str) -> tuple[str, str] | None:
    """What is wrong with a currency's code."""
    if text in EXPONENTS or text in CODE_OF_DIGITS:
        return None
    right = closest(text, EXPONENTS) or "right are codes of ISO 4217 as EUR or 978"
    return why_no_currency(text) if text in NOT_ISO else f"{text!r} is no currency of ISO 4217 with a minor unit", right


CURRENCY: Final = Text("a currency", check=currency, convert=lambda text: CODE_OF_DIGITS.get(text, text))
ATTRIBUTE: Final = Text("an attribute's name", pattern="[A-Za-z_][A-Za-z0-9_]{0,63}")
AT: Final = Listed(Whole(0, ROW_CHARACTERS_MAX), 2, 2)


def place_of(found: Found) -> Place:
    """A place in a row or record from exactly one of at, column, path."""
    named = [name for name in ("path", "column", "at") if name in found]
    if len(named) != 1:
        found.wrong(None, f"has {' and '.join(named) or 'no place'}", "right is one of path, column, at")
    at = found.get("at")
    if at is not None and at[0] >= at[1]:
        found.wrong("at", f"{list(at)} is empty", "right is [from, to] with the end excluded, as [0, 2]")
    return Place(at, found.get("column"), found.get("path"))


PLACE: Final = Keys(
    cache(lambda: {"path": Key(PATH), "column": Key(Whole(0, COLUMNS_MAX)), "at": Key(AT)}),
    place_of,
)
REFERENCE: Final = Either(PATH, PLACE)
TEXT_OPTIONS: Final = ("trim", "upper", "lower", "strip_leading_zeros", "extract", "normalize")


def _regex(text: str) -> tuple[str, str] | None:
    try:
        groups = re.compile(text).groups
        pl.Series([""]).str.extract(text, 1)  # by whose rules it is applied
    except re.error as error:
        return f"is no regular expression: {error}", ""
    except pl.exceptions.ComputeError as error:
        why = str(error).partition("\n\nThis error occurred")[0].rpartition("error: ")[2]
        return f"is no regular expression of the kind that is understood: {why}", "right is the syntax of RE2"
    if re.search(r"\(\?(=|!|<=|<!|P=)|\\[1-9]", text):
        return "looks around or back, which is not understood", "right is a plain expression with one group"
    return None if groups == 1 else (f"has {groups} groups", "right is one group, the part to take")


def _values_keys(canonical: Kind, otherwise: Kind | None, default: Kind) -> Mapping[str, Key]:
    return {
        "path": Key(Listed(REFERENCE, single=True), "where it is; of a list the first that is not empty"),
        "column": Key(Listed(Whole(0, COLUMNS_MAX), single=True), "column number, from 0, where there is no heading"),
        "at": Key(AT, "characters [from, to] of a row of fixed width, from 0, end excluded"),
        "join": Key(Listed(REFERENCE, 2), "texts that are joined"),
        "with": Key(Text("a text", empty=True), "what stands between joined texts; a blank if left out"),
        "const": Key(default, "a constant"),
        "trim": Key(Flag(), "take blanks off both ends"),
        "upper": Key(Flag(), "to capital letters"),
        "lower": Key(Flag(), "to small letters"),
        "strip_leading_zeros": Key(Flag(), "take zeros off the front"),
        "extract": Key(Text("an expression", check=_regex), "a regular expression with one group: the part to take"),
        "normalize": Key(Flag(), "Unicode NFC, no-break spaces as blanks"),
        "values": Key(
            Named(canonical, Listed(WORD, single=True, high=WORDS_MAX), fold=False),
            "the words of the record that mean each value",
        ),
        "default": Key(default, "what stands for an empty value"),
        **({"otherwise": Key(otherwise, "what stands for words that `values` does not list")} if otherwise else {}),
    }


def _build_value(found: Found) -> Value:
    places: tuple[Place, ...] = ()
    named = [name for name in ("path", "column", "at", "join", "const", "debit", "credit") if name in found]
    sides = {"debit", "credit"}
    if len([name for name in named if name not in sides]) + bool(sides & set(named)) != 1:
        right = "right is one of path, column, at, join, const"
        found.wrong(None, f"has {' and '.join(named) or 'no place to read from'}", right)
    if "path" in found:
        places = tuple(_as_place(one) for one in found.get("path", ()))
    elif "column" in found:
        places = tuple(Place(column=number) for number in found.get("column", ()))
    elif "at" in found:
        places = (place_of_at(found),)
    if "with" in found and "join" not in found:
        found.wrong("with", "means nothing without join")
    if found.get("upper") and found.get("lower"):
        found.wrong("lower", "contradicts upper", "right is one of them")
    words: dict[str, str] = {}
    for meaning, listed in found.get("values", {}).items():
        for word in listed:
            if word in words:
                found.wrong("values", f"{word!r} means both {words[word]} and {meaning}", "right is one of them")
            words[word] = meaning
    if "otherwise" in found and not words:
        found.wrong("otherwise", "means nothing without values")
    return Value(
        places,
        tuple(_as_place(one) for one in found.get("join", ())),
        found.get("with", " "),
        found.get("const"),
        **{name: found.get(name, False) for name in TEXT_OPTIONS if name != "extract"},
        extract=found.get("extract"),
        words=words,
        default=found.get("default"),
        otherwise=found.get("otherwise"),
    )


def place_of_at(found: Found) -> Place:
    """The place that `at` names."""
    at = found.get("at", (0, 1))
    if at[0] >= at[1]:
        found.wrong("at", f"{list(at)} is empty", "right is [from, to] with the end excluded, as [0, 2]")
    return Place(at=at)


def _as_place(one: str | Place) -> Place:
    return one if isinstance(one, Place) else Place(path=one)


def _value(canonical: Kind = WORD, default: Kind = WORD) -> Keys:
    otherwise = Text("reject, or a value", empty=True)
    if isinstance(canonical, Choice):
        otherwise_kind: Kind = Choice(("reject", *canonical.words))
    else:
        otherwise_kind = otherwise
    return Keys(cache(lambda: _values_keys(canonical, otherwise_kind, default)), _build_value)


TEXT_VALUE: Final = _value()
CURRENCY_VALUE: Final = _value(CURRENCY, CURRENCY)
STATUS_VALUE: Final = _value(Choice(STATUS_NAMES), Choice(STATUS_NAMES))


def _build_indicator(found: Found) -> Indicator:
    debit, credit = found.get("debit", ()), found.get("credit")
    for word in set(debit) & set(credit or ()):
        found.wrong("credit", f"{word!r} is a debit too", "right is one of them")
    bare = Found(found.node, found.where, found.reading, dict(found.values), found.nodes)
    bare.values.pop("debit", None)
    bare.values.pop("credit", None)
    return Indicator(_build_value(bare), debit, credit)


INDICATOR: Final = Keys(
    cache(
        lambda: {
            **_values_keys(WORD, WORD, WORD),
            "debit": Key(Listed(WORD, single=True), "the words of a debit, which is negative", required=True),
            "credit": Key(Listed(WORD, single=True), "the words of a credit; then no others are taken"),
        }
    ),
    _build_indicator,
)


def _build_amount(found: Found) -> Amount:
    unit = found.get("unit", "major")
    if "unit" not in found and "const" not in found:
        found.wrong(None, "unit is missing", "say unit: major (12.50) or unit: minor (1250)")
    if found.get("exponent") and unit != "minor":
        found.wrong("exponent", "counts minor units, and the unit is major", "leave it out, or say unit: minor")
    decimal, group = found.get("decimal", "."), found.get("group")
    if decimal == group:
        found.wrong("group", f"is the decimal mark too ({decimal!r})", 'say decimal: "," with group: "."')
    if "indicator" in found and ("debit" in found or "credit" in found):
        found.wrong("indicator", "contradicts debit and credit", "right is one of them")
    value = _build_value(found)
    if value.const is not None:
        try:
            exact(value.const, decimal, group)
        except BadAmountError as error:
            found.wrong("const", str(error))
    sides = [None if name not in found else _side(value, found.get(name, ())) for name in ("debit", "credit")]
    return Amount(
        value,
        unit,
        found.get("exponent", {}),
        found.get("sign", "keep"),
        debit=sides[0],
        credit=sides[1],
        indicator=found.get("indicator"),
        decimal=decimal,
        group=group,
    )


def _side(value: Value, places: tuple[Any, ...]) -> Value:
    """A side's value: its own places, the amount's text options."""
    return Value(
        tuple(_as_place(one) for one in places),
        trim=value.trim,
        extract=value.extract,
        normalize=value.normalize,
        words=value.words,
    )


AMOUNT: Final = Keys(
    cache(
        lambda: {
            **_values_keys(WORD, WORD, WORD),
            "unit": Key(Choice(("major", "minor")), "major (12.50) or minor (1250)"),
            "exponent": Key(
                Named(CURRENCY, Whole(0, EXPONENT_MAX)), "decimals of minor units where they are not ISO 4217's"
            ),
            "sign": Key(Choice(("keep", "abs", "invert")), "what is done with the sign"),
            "debit": Key(Listed(REFERENCE, single=True), "where a debit stands, which is negative"),
            "credit": Key(Listed(REFERENCE, single=True), "where a credit stands"),
            "indicator": Key(INDICATOR, "where a word says whether it is a debit"),
            "decimal": Key(Choice((".", ",")), "the decimal mark"),
            "group": Key(Choice((",", ".", " ", "'", "_")), "what groups thousands"),
        }
    ),
    _build_amount,
)


def _build_time(found: Found) -> Time:
    form, zone, date_only = found.get("format", "iso"), found.get("zone"), found.get("date_only", False)
    if form not in WORD_FORMATS:
        if "%" not in form:
            right = closest(form, WORD_FORMATS)
            found.wrong("format", f"{form!r} is no format", right + ' or a pattern as "%d/%m/%Y %H:%M:%S"')
        else:
            _check_pattern(found, form, zone, date_only=date_only)
    elif form == "excel" and zone is None:
        found.wrong(None, "zone is missing: a time of a workbook has none", "say zone: UTC, or where it was written")
    elif date_only and zone is None:
        found.wrong(None, "zone is missing: a day begins somewhere", "say zone: UTC, or the source's")
    time = Time(_build_value(found), form, zone, found.get("fold", "earlier"), date_only)
    if time.value.const is not None and not found.broken:
        try:
            milliseconds(time.value.const, time, 0)
        except (BadTimeError, BadFormatError) as error:
            found.wrong("const", str(error))
    return time


def _check_pattern(found: Found, form: str, zone: str | None, *, date_only: bool) -> None:
    try:
        pattern = pattern_of(form)
    except BadFormatError as error:
        found.wrong("format", error.what, error.right)
        return
    if not pattern.has_time and not date_only:
        found.wrong("format", "tells no time of day", "add %H:%M, or say date_only: true")
    if zone is None and ("offset" not in pattern.groups or date_only):
        found.wrong(None, "zone is missing: the format tells none", "say zone: UTC, or the source's as Asia/Kolkata")


TIME: Final = Keys(
    cache(
        lambda: {
            **_values_keys(WORD, WORD, WORD),
            "format": Key(Text("a format"), f"{', '.join(WORD_FORMATS)}, or a pattern as %d/%m/%Y %H:%M"),
            "zone": Key(Text("a zone", check=check_zone), "the zone of texts that have none, as Asia/Kolkata"),
            "fold": Key(Choice(("earlier", "later", "reject")), "which of two, when clocks are put back"),
            "date_only": Key(Flag(), "only the day counts"),
        }
    ),
    _build_time,
)


def _build_condition(found: Found) -> Condition:
    if ("in" in found) == ("not_in" in found):
        found.wrong(None, "has no list of words", "right is in: [...] or not_in: [...]")
    bare = Found(found.node, found.where, found.reading, dict(found.values), found.nodes)
    wanted = "in" in found
    words = bare.values.pop("in", None), bare.values.pop("not_in", None)
    chosen = words[0] if wanted else words[1]
    value = _build_value(bare)
    if value.otherwise == "reject":
        # A condition only says which records are the source's: it sets none aside.
        found.wrong("otherwise", "reject means nothing in a condition", "right is a word that in or not_in lists")
    return Condition(value, chosen if isinstance(chosen, tuple) else (), wanted)


CONDITION: Final = Keys(
    cache(
        lambda: {
            **_values_keys(WORD, WORD, WORD),
            "in": Key(Listed(WORD, single=True, high=WORDS_MAX), "the words of the source's records"),
            "not_in": Key(Listed(WORD, single=True, high=WORDS_MAX), "the words of records that are not the source's"),
        }
    ),
    _build_condition,
)


def _build_fields(found: Found) -> dict[str, Any]:
    return {name: found.get(name) for name in found.values if found.get(name) is not None}


FIELDS: Final = Keys(
    cache(
        lambda: {
            "txn_id": Key(TEXT_VALUE, "the transaction's id, the same in all sources", required=True),
            "event_id": Key(TEXT_VALUE, "unique for each event; left out: the record's place"),
            "amount": Key(AMOUNT, "the amount"),
            "currency": Key(CURRENCY_VALUE, "ISO 4217, letters or digits"),
            "status": Key(STATUS_VALUE, "PENDING, SUCCESS, FAILED or REVERSED"),
            "event_time": Key(TIME, "the source's own time"),
            "account_id": Key(TEXT_VALUE, "the account, masked where shown"),
            "original_txn_id": Key(TEXT_VALUE, "what a reversal or refund refers to"),
            "fee": Key(AMOUNT, "what was kept of the amount"),
            "attributes": Key(Named(ATTRIBUTE, TEXT_VALUE, high=ATTRIBUTES_MAX), "further values by name"),
        }
    ),
    _build_fields,
)
FIELD_NAMES: Final = (
    "txn_id",
    "event_id",
    "amount",
    "currency",
    "status",
    "event_time",
    "account_id",
    "original_txn_id",
    "fee",
)

CANONICAL: Final = Fields(
    txn_id=Value((Place(path="txn_id"),)),
    event_id=Value((Place(path="event_id"),)),
    amount=Amount(Value((Place(path="amount_minor"),)), "minor"),
    currency=Value((Place(path="currency"),)),
    status=Value((Place(path="status"),)),
    event_time=Time(Value((Place(path="event_time"),)), "epoch_ms"),
    account_id=Value((Place(path="account_id"),)),
    original_txn_id=Value((Place(path="original_txn_id"),)),
)
"""How canonical records are read where they are not Avro of a topic."""

STATEMENT: Final[Mapping[str, Any]] = {
    "amount": Amount(Value((Place(path="amount"),)), "major"),
    "currency": Value((Place(path="currency"),)),
    "status": Value((Place(path="status"),)),
    "event_time": Time(Value((Place(path="event_time"),)), "iso", "UTC", date_only=True),
}
"""What a statement brings by itself."""
