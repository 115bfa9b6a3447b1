"""Amounts as sources write them, to integer minor units. Integers throughout: nothing can be rounded on the way."""

from __future__ import annotations

import re
import unicodedata

from cluster.oracle.mapping import texts
from cluster.oracle.mapping.configuration import Amount, Indicator, Value
from cluster.oracle.mapping.currencies import CODES_OF_SIGN
from cluster.oracle.mapping.texts import Found, Message
from schemas.money import EXPONENTS

DIGITS_MAX = 40  # before and after the mark together, leading zeros not counted
SCIENTIFIC_DIGITS_MAX = 1_000
MINUS = "-\u2212\ufe63\uff0d"
DASHES = MINUS + "\u2013\u2014"
BLANKS = " \xa0\u2007\u2009\u202f"
GROUP_MARKS = {" ": "[ \xa0\u2009\u202f]", "'": "['\u2019]", ",": ",", ".": "[.]", "_": "_"}
SCIENTIFIC = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?[eE]([+-]?[0-9]{1,3})")


class NotAnAmount(ValueError):  # noqa: N818 - a verdict on a text, not an error of ours
    """The text says no amount, or says it in a way that is not understood."""


def read(message: Message, amount: Amount, code: str) -> int | None:
    """The minor units of a record in a currency, None when there is no amount. Raises NotAnAmount and Unlisted."""
    if amount.debit is not None or amount.credit is not None:
        minor = _two_columns(message, amount, code)
    else:
        minor = _number(message, amount.value, amount, code)
    if amount.indicator is not None:
        minor = _indicated(message, amount.indicator, minor)
    if minor is None or amount.sign == "keep":
        return minor
    return abs(minor) if amount.sign == "abs" else -minor


def _number(message: Message, value: Value | None, amount: Amount, code: str) -> int | None:
    found = Found(None) if value is None else texts.read(message, value)
    if found.text is None:
        return None
    if found.is_number:
        unscaled, decimals = parsed_number(found.text, code)
    else:
        unscaled, decimals = parsed(found.text, amount.decimal, amount.group, code)
    return minor_units(unscaled, decimals, amount, code)


def _two_columns(message: Message, amount: Amount, code: str) -> int | None:
    """Of a debit and a credit column one says something; a zero says nothing where the other does."""
    debit = _number(message, amount.debit, amount, code)
    credit = _number(message, amount.credit, amount, code)
    if (debit or 0) < 0 or (credit or 0) < 0:
        raise NotAnAmount("a debit or credit is negative, which may mean either")
    if debit and credit:
        raise NotAnAmount("both the debit and the credit have an amount")
    if debit:
        return -debit
    return credit if credit is not None else debit


def _indicated(message: Message, indicator: Indicator, minor: int | None) -> int | None:
    word = texts.read(message, indicator.value).text
    if minor is None:
        return None
    if word in indicator.debit:
        return -minor
    if word is None or (indicator.credit is not None and word not in indicator.credit):
        raise NotAnAmount("the indicator says neither debit nor credit")
    return minor


def minor_units(unscaled: int, decimals: int, amount: Amount, code: str) -> int:
    """`unscaled` / 10^`decimals` as minor units of ISO 4217. Raises NotAnAmount when a part of one is left."""
    exponent = EXPONENTS[code]
    shift = exponent if amount.unit == "major" else exponent - amount.exponent.get(code, exponent)
    places = shift - decimals
    if places >= 0:
        return unscaled * int(10**places)
    whole, rest = divmod(abs(unscaled), int(10**-places))
    if rest:
        raise NotAnAmount(f"a part of a minor unit: {code} has {exponent} decimals")
    return whole if unscaled >= 0 else -whole


def parsed_number(text: str, code: str) -> tuple[int, int]:
    """The digits of a number of JSON, Avro or Protobuf as an integer, and how many are decimals. Raises NotAnAmount."""
    scientific = SCIENTIFIC.fullmatch(text)
    if scientific is None:
        return parsed(text, ".", None, code)
    minus, whole, fraction, exponent = scientific.groups(default="")
    if len(whole + fraction) > SCIENTIFIC_DIGITS_MAX:
        raise NotAnAmount(f"more than {SCIENTIFIC_DIGITS_MAX} digits before an exponent")
    return int(minus + whole + fraction), len(fraction) - int(exponent)


def parsed(text: str, decimal: str, group: str | None, code: str) -> tuple[int, int]:
    """The digits of an amount as an integer, and how many of them are decimals. Raises NotAnAmount."""
    rest = text.strip()
    if rest[-1:] in DASHES and rest[:-1].endswith(decimal):
        raise NotAnAmount("a dash behind the mark may be a minus, or stand for no cents")
    rest, signs = _bared(rest, code)
    if rest[:1] == "(" and rest[-1:] == ")":
        if signs:
            raise NotAnAmount("parentheses and a sign")
        rest, signs = _bared(rest[1:-1], code)
        if signs:
            raise NotAnAmount("a sign within parentheses")
        signs = "-"
    if len(signs) > 1:
        raise NotAnAmount("two signs")
    negative = signs == "-"
    whole, _, fraction = rest.partition(decimal)
    digits = _without_groups(whole, group)
    if not (digits or fraction) or not re.fullmatch("[0-9]*", fraction):
        raise NotAnAmount(f"{text[:64]!r} is no amount")
    if len(digits.lstrip("0")) + len(fraction) > DIGITS_MAX:
        raise NotAnAmount(f"more than {DIGITS_MAX} digits")
    unscaled = int((digits + fraction).lstrip("0") or "0")
    return (-unscaled if negative else unscaled), len(fraction)


def _bared(text: str, code: str) -> tuple[str, str]:
    """A text without what stands around its digits, and the signs that stood there."""
    text, before = _bared_at(text, code, at_end=False)
    text, behind = _bared_at(text, code, at_end=True)
    return text, before + behind


def _bared_at(text: str, code: str, *, at_end: bool) -> tuple[str, str]:
    """A text without what may stand at one end beside the digits, and the sign that stood there.

    One sign, one mark of a currency (a currency sign, or the record's own code), and blanks.
    """
    sign, has_currency = "", False
    while text:
        char = text[-1 if at_end else 0]
        length = 1
        if char in MINUS or char == "+":
            if sign:
                raise NotAnAmount("two signs")
            sign = "+" if char == "+" else "-"
        elif not has_currency and unicodedata.category(char) == "Sc":
            has_currency = True
            if code not in CODES_OF_SIGN.get(char, {code}):
                raise NotAnAmount(f"the sign of another currency than {code}")
        elif not has_currency and (text.endswith(code) if at_end else text.startswith(code)):
            has_currency, length = True, len(code)
        elif char not in BLANKS:
            break
        text = text[:-length] if at_end else text[length:]
    return text, sign


def _without_groups(whole: str, group: str | None) -> str:
    """The digits before the mark, which may be grouped by thousands, or by lakhs and crores. Raises NotAnAmount."""
    if re.fullmatch("[0-9]*", whole):
        return whole
    if group is not None and whole[:1] != "0":  # 0,500 is half of one, by another decimal mark than the configured
        mark = GROUP_MARKS[group]
        thousands = f"[0-9]{{1,3}}({mark}[0-9]{{3}})+"
        lakhs = f"[0-9]{{1,2}}({mark}[0-9]{{2}})*{mark}[0-9]{{3}}"
        if re.fullmatch(thousands, whole) or re.fullmatch(lakhs, whole):
            return re.sub("[^0-9]", "", whole)
    raise NotAnAmount(f"{whole[:64]!r} is no number of digits, grouped or not")
