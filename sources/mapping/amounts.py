"""Amounts as sources write them, to integer minor units. Exact throughout: no number passes through a float.

`minor_units` is the definition, one text at a time. `read_amounts` does the usual forms by the column and asks
`minor_units` for the rest, so both give the same.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import polars as pl

from sources.currencies import CODE_OF_DIGITS, EXPONENTS
from sources.mapping import texts
from sources.mapping.texts import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sources.config.models import Amount, Fields, Value
    from wire.records import Records

DIGITS_MAX: Final = 40
"""The longest amount, in digits before and after the mark together; more is no payment."""

FAST_DIGITS_MAX: Final = 13
"""Digits before the mark that are read by the column: times ten to the sixth they stay within 64 bits."""
FAST_DECIMALS_MAX: Final = 5

SCIENTIFIC_DIGITS_MAX: Final = 1_000
"""The longest number with an exponent, in digits before it."""

_EXACT: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
_MINUS: Final = "-\u2212\ufe63\uff0d"
_SPACES: Final = str.maketrans(dict.fromkeys("\u00a0\u2007\u2009\u202f", " "))
_DASHES: Final = _MINUS + "\u2013\u2014"

# Of signs that few currencies share. The dollar's and others are left out: too many have them.
_CODES_OF_SIGN: Final = {
    "\u20ac": {"EUR"},
    "\u00a3": {"GBP", "EGP", "FKP", "GIP", "LBP", "SDG", "SHP", "SSP", "SYP", "CYP", "IEP", "MTL"},
    "\u00a5": {"JPY", "CNY"},
    "\uffe5": {"JPY", "CNY"},
    "\u20b9": {"INR"},
    "\u20a8": {"INR", "LKR", "MUR", "NPR", "PKR", "SCR"},
    "\u20bd": {"RUB"},
    "\u20a9": {"KRW", "KPW"},
    "\u20aa": {"ILS"},
    "\u20ab": {"VND"},
    "\u20ba": {"TRY"},
    "\u20b4": {"UAH"},
    "\u20b1": {"PHP", "CUP"},
    "\u0e3f": {"THB"},
    "\u20a6": {"NGN"},
    "\u20b8": {"KZT"},
}
_NUMBER_KINDS: Final = frozenset({"number", "decimal"})


class BadAmountError(ValueError):
    """A text that is no amount, with the reason as people should read it."""


@lru_cache(maxsize=64)
def _form(decimal: str, group: str | None) -> re.Pattern[str]:
    mark = re.escape(decimal)
    whole = "[0-9]+"
    if group is not None:
        between = "[ \u00a0\u2009\u202f]" if group == " " else ("['\u2019]" if group == "'" else re.escape(group))
        # Thousands, or lakhs and crores: 1,234,567 and 12,34,567.
        whole = (
            rf"(?:[0-9]+|[0-9]{{1,3}}(?:{between}[0-9]{{3}})+|[0-9]{{1,2}}(?:{between}[0-9]{{2}})*{between}[0-9]{{3}})"
        )
    return re.compile(rf"(?P<whole>{whole})?(?:{mark}(?P<fraction>[0-9]*))?")


_SCIENTIFIC: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?[eE][+-]?[0-9]{1,3}")


def exact(
    text: str, decimal: str = ".", group: str | None = None, *, is_number: bool = False, code: str = ""
) -> Decimal:
    """The number that a text says, exactly. Raises BadAmountError.

    Args:
        text: as the record has it. A minus may stand before or behind, or the whole in parentheses; currency signs and
            the currency's own code may stand before or behind.
        decimal: the decimal mark.
        group: what groups thousands; None: nothing may.
        is_number: the record had a number there, not a text: its mark is a dot whatever `decimal` says, and it may
            have an exponent.
        code: the record's currency, whose letters may stand beside the digits.
    """
    if is_number:
        decimal, group = ".", None
        if _SCIENTIFIC.fullmatch(text):
            if sum(char.isdigit() for char in re.split("[eE]", text)[0]) > SCIENTIFIC_DIGITS_MAX:
                raise BadAmountError(f"{shown(text)} has more than {SCIENTIFIC_DIGITS_MAX} digits before its exponent")
            return Decimal(text)
    rest = text.translate(_SPACES).strip() if group != " " else text.strip()
    if rest.endswith(tuple(f"{decimal}{dash}" for dash in _DASHES)):
        raise BadAmountError(f"{shown(text)} ends in a dash that may be a minus or stand for no cents")
    rest, signs, marks = _without_signs(rest, code)
    if rest.startswith("(") and rest.endswith(")"):
        rest, inner, within = _without_signs(rest[1:-1], code)
        if signs or inner:
            raise BadAmountError(f"{shown(text)} has parentheses and a sign")
        signs, marks = "-", marks + within
    if len(signs) > 1 or len(marks) > 2:
        raise BadAmountError(f"{shown(text)} has two signs")
    _refuse_other_currency(text, marks, code)
    negative = signs == "-"
    match = _form(decimal, group).fullmatch(rest)
    if match is None or not (match["whole"] or match["fraction"]):
        raise BadAmountError(_why_not(text, rest, decimal, group))
    if group is not None and re.match(rf"0[^0-9{re.escape(decimal)}]", rest):
        raise BadAmountError(f"{shown(text)} begins with 0 and a mark that groups thousands; is it the decimal mark?")
    whole = re.sub("[^0-9]", "", match["whole"] or "") or "0"
    fraction = match["fraction"] or ""
    if len(whole.lstrip("0")) + len(fraction) > DIGITS_MAX:
        raise BadAmountError(f"{shown(text)} has more than {DIGITS_MAX} digits")
    value = Decimal(f"{whole}.{fraction}" if fraction else whole)
    return value.copy_negate() if negative else value  # a minus before it would round it to 28 digits


def _without_signs(text: str, code: str) -> tuple[str, str, str]:
    """A text without what stands around its number: also the number's signs (`-`, `+`) and the currency's that were."""
    signs = marks = ""
    for side in (0, -1):
        sign_seen = currency_seen = False
        while text:
            char = text[side]
            if char in _MINUS or char == "+":
                if sign_seen:
                    return text, "--", marks
                sign_seen = True
                signs += "-" if char in _MINUS else "+"
            elif unicodedata.category(char) == "Sc":
                if currency_seen:
                    break
                currency_seen = True
                marks += char
            elif not currency_seen and code and (text.startswith(code) if side == 0 else text.endswith(code)):
                currency_seen = True
                text = text.removeprefix(code) if side == 0 else text.removesuffix(code)
                continue
            elif char != " ":
                break
            text = text[1:] if side == 0 else text[:-1]
    return text, signs, marks


def _refuse_other_currency(text: str, marks: str, code: str) -> None:
    """A sign that stands for other currencies only contradicts the record's currency. Raises BadAmountError."""
    for mark in marks:
        if code and (codes := _CODES_OF_SIGN.get(mark)) and code not in codes:
            raise BadAmountError(f"{shown(text)} has the sign {shown(mark)}, and the currency is {code}")


def _why_not(text: str, rest: str, decimal: str, group: str | None) -> str:
    others = [mark for mark in ",.'\u2019 _" if mark in rest and mark not in (decimal, group)]
    if re.fullmatch(r"[0-9.,' _\u2019]+", rest) and others:
        return f"{shown(text)} has {shown(others[0])}; say what it is: decimal or group"
    if group is not None and group in rest and re.fullmatch(r"[0-9.,' _\u2019]+", rest):
        return f"{shown(text)} is not grouped in thousands by {shown(group)}"
    if re.search(r"[0-9][eE][+-]?[0-9]", rest):
        return f"{shown(text)} is in scientific notation: a spreadsheet may have rounded it"
    return f"{shown(text)} is no amount"


def minor_units(value: Decimal, code: str, unit: str, exponents: Mapping[str, int]) -> int:
    """A number of major units, or of the source's own minor units, as ISO 4217's minor units.

    `exponents` are decimals of the source's minor units where they are not ISO 4217's. Raises BadAmountError where a
    part of a minor unit is left.
    """
    exponent = EXPONENTS[code]
    shift = exponent if unit == "major" else exponent - exponents.get(code, exponent)
    scaled = value.scaleb(shift, _EXACT)
    whole = int(scaled)
    if whole != scaled:
        decimals = "no decimals" if exponent == 0 else f"{exponent} decimals"
        raise BadAmountError(f"{value:f} has a part of a minor unit: {code} has {decimals}")
    return whole


def read_amounts(records: Records, amount: Amount, currency: pl.Series) -> tuple[pl.Series, dict[int, str]]:
    """Minor units (Int64, null where there is none) and, by index in the batch, why a text is no amount.

    Args:
        records: a batch.
        amount: how it is read.
        currency: String, the currency of each record; where it is null no amount can be read.

    Raises BadPathError.
    """
    wrong: dict[int, str] = {}
    if amount.debit is not None or amount.credit is not None:
        minor = _two_sides(records, amount, currency, wrong)
    else:
        minor = _numbers(records, amount.value, amount, currency, wrong)
    if amount.indicator is not None:
        minor = _indicated(records, amount, minor, wrong)
    if amount.sign == "abs":
        minor = minor.abs()
    elif amount.sign == "invert":
        minor = -minor
    return minor, wrong


def written(records: Records, fields: Fields) -> list[Decimal | None]:
    """The amount of each record in the unit it is written in, None where there is none that can be read.

    A debit is negative, by the two columns or the indicator's word; `sign` is ours and not the file's, so it changes
    nothing here. Raises BadPathError.
    """
    amount = fields.amount
    codes = [CODE_OF_DIGITS.get(code or "", code) for code in texts.read(records, fields.currency).text.to_list()]
    if amount.debit is not None or amount.credit is not None:
        debits, credits_ = (
            [None] * len(codes) if side is None else _written(records, side, amount, codes)
            for side in (amount.debit, amount.credit)
        )
        return [
            None if debit is None and credit is None else (credit or Decimal(0)) - (debit or Decimal(0))
            for debit, credit in zip(debits, credits_, strict=True)
        ]
    found = _written(records, amount.value, amount, codes)
    if amount.indicator is None:
        return found
    words = texts.read(records, amount.indicator.value).text.to_list()
    debit_words = amount.indicator.debit
    return [-one if one is not None and word in debit_words else one for one, word in zip(found, words, strict=True)]


def _written(records: Records, value: Value, amount: Amount, codes: Sequence[str | None]) -> list[Decimal | None]:
    read = texts.read(records, value)
    kinds = read.kind()
    found: list[Decimal | None] = []
    for index, (text, code) in enumerate(zip(read.text.to_list(), codes, strict=True)):
        is_number = kinds is not None and kinds[index] in _NUMBER_KINDS
        try:
            number = exact(text or "", amount.decimal, amount.group, is_number=is_number, code=code or "")
        except BadAmountError:
            found.append(None)
        else:
            found.append(number)
    return found


def _numbers(records: Records, value: Value, amount: Amount, currency: pl.Series, wrong: dict[int, str]) -> pl.Series:
    found = texts.read(records, value)
    wrong.update(found.unlisted_problems())
    text = found.text
    fast = _fast(text, amount, currency)
    rest = (fast.is_null() & text.is_not_null() & currency.is_not_null()).arg_true().to_list()
    if not rest:
        return fast
    kinds = found.kind()
    slow: dict[int, int] = {}
    known: dict[tuple[str, str, bool], int | str] = {}  # texts that are not plain are often the same ones
    for index in rest:
        key = text[index], currency[index], kinds is not None and kinds[index] in _NUMBER_KINDS
        minor = known.get(key)
        if minor is None:
            minor = known[key] = _careful(*key, amount)
        if isinstance(minor, str):
            wrong[index] = minor
        else:
            slow[index] = minor
    if slow:
        fast = fast.scatter(list(slow), list(slow.values()))
    return fast


def _careful(text: str, code: str, is_number: bool, amount: Amount) -> int | str:
    """Minor units, or why the text is no amount."""
    try:
        number = exact(text, amount.decimal, amount.group, is_number=is_number, code=code)
        minor = minor_units(number, code, amount.unit, amount.exponent)
    except BadAmountError as error:
        return str(error)
    return f"{shown(text)} is beyond all limits" if abs(minor) >= 1 << 62 else minor


def _fast(text: pl.Series, amount: Amount, currency: pl.Series) -> pl.Series:
    """Plain digits with at most the decimal mark, as most sources write them; null for all else.

    A number of JSON or a workbook has a dot whatever the mark is: where that is another, the careful way reads it.
    """
    mark = re.escape(amount.decimal)
    names = [code for code in currency.unique().to_list() if code is not None]
    own = {code: EXPONENTS[code] - amount.exponent.get(code, EXPONENTS[code]) for code in names}
    shift = {code: EXPONENTS[code] if amount.unit == "major" else own[code] for code in names}
    usable = {code: power for code, power in shift.items() if 0 <= power <= FAST_DECIMALS_MAX}
    frame = pl.DataFrame({"text": text, "currency": currency})
    shifts = frame["currency"].replace_strict(list(usable), list(usable.values()), default=None, return_dtype=pl.Int64)
    parts = (
        frame.select(
            parts=pl.col("text").str.extract_groups(
                rf"^(?P<minus>-)?(?P<whole>[0-9]{{1,{FAST_DIGITS_MAX}}})(?:{mark}(?P<part>[0-9]{{0,{FAST_DECIMALS_MAX}}}))?$"
            )
        )
        .unnest("parts")
        .with_columns(shift=shifts)
    )
    scale = 10**FAST_DECIMALS_MAX
    power = pl.lit(10).cast(pl.Int64).pow(pl.col("shift"))
    fraction = pl.col("part").fill_null("").str.pad_end(FAST_DECIMALS_MAX, "0").cast(pl.Int64)
    scaled = fraction * power
    minor = pl.col("whole").cast(pl.Int64) * power + scaled // scale
    sign = pl.when(pl.col("minus").is_null()).then(1).otherwise(-1)
    return parts.select(minor=pl.when(scaled % scale == 0).then(minor * sign).cast(pl.Int64))["minor"]


def _two_sides(records: Records, amount: Amount, currency: pl.Series, wrong: dict[int, str]) -> pl.Series:
    """One column for debits, one for credits: of each record one of them says something."""
    nothing = texts.constant(None, len(records.rows), pl.Int64())
    sides = []
    for name, value in (("debit", amount.debit), ("credit", amount.credit)):
        side = nothing if value is None else _numbers(records, value, amount, currency, wrong)
        for index in (side < 0).fill_null(value=False).arg_true().to_list():
            wrong.setdefault(index, f"the {name} is negative: its sign says the same twice, or the opposite")
        sides.append(side)
    frame = pl.DataFrame({"debit": sides[0], "credit": sides[1]})
    both = frame.select((pl.col("debit") != 0) & (pl.col("credit") != 0)).to_series().fill_null(value=False)
    for index in both.arg_true().to_list():
        wrong.setdefault(index, "both the debit and the credit have an amount")
    given = pl.when(pl.col("debit").is_not_null() & (pl.col("debit") != 0)).then(-pl.col("debit"))
    return frame.select(minor=pl.coalesce(given, pl.col("credit"), -pl.col("debit")))["minor"]


def _indicated(records: Records, amount: Amount, minor: pl.Series, wrong: dict[int, str]) -> pl.Series:
    """Amounts beside a word that says whether they are debits."""
    indicator = amount.indicator
    if indicator is None:
        return minor
    words = texts.read(records, indicator.value)
    wrong.update(words.unlisted_problems())
    debit = words.text.is_in(list(indicator.debit)).fill_null(value=False)
    unknown = words.text.is_null()
    if indicator.credit is not None:
        unknown = unknown | ~(debit | words.text.is_in(list(indicator.credit)).fill_null(value=False))
    for index in (unknown & minor.is_not_null()).arg_true().to_list():
        what = "is empty" if words.text[index] is None else f"{shown(words.text[index])} is neither debit nor credit"
        wrong.setdefault(index, f"the indicator {what}")
    return pl.DataFrame({"minor": minor, "debit": debit}).select(
        minor=pl.when("debit").then(-pl.col("minor")).otherwise("minor")
    )["minor"]
