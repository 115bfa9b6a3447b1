"""Reads a configured value of a batch of records as text: places, text options, words, default.

The order is fixed. Each place is read and treated (`normalize`, `trim`, `extract`, `upper` or `lower`,
`strip_leading_zeros`); the first place that is not empty is taken; then `values` gives the word's meaning; what is
still empty is `default`. Joined parts are trimmed and normalised one by one, the other options see the joined text. A
joined value of which a part is empty is empty: half an id is another payment's id.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import polars as pl

from wire.records import BadPathError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sources.config.models import Value
    from sources.files.options import Place
    from wire.records import Records

BLANKS: Final = " \t\r\n\v\f\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""What `trim` takes off, as the inside of a regular expression's class."""

_TRIM: Final = rf"^[{BLANKS}]+|[{BLANKS}]+$"
_NO_BREAK: Final = "[\u00a0\u2007\u202f]"
REJECT: Final = "reject"
_STRING: Final = pl.String()


@dataclass(slots=True)
class Texts:
    """A value of every record of a batch.

    `text` is String, null where it is empty. `unlisted` is Boolean: the word is not in `values`, and the configuration
    says `otherwise: reject`. `original` is what the record has, for messages.
    """

    text: pl.Series
    original: pl.Series
    unlisted: pl.Series | None = None
    kind: Callable[[], pl.Series | None] = field(default=lambda: None)

    def unlisted_problems(self) -> Iterator[tuple[int, str]]:
        """By index in the batch, what is wrong where a word is in no list."""
        if self.unlisted is not None:
            for index in self.unlisted.arg_true():
                yield index, f"{shown(self.original[index])} is in no list of values"


def column(records: Records, place: Place) -> pl.Series:
    """What stands at one place, as text. Raises BadPathError where the batch's schema or heading has no such path."""
    return records.text(place.as_path)


def read(records: Records, value: Value) -> Texts:
    """The value of every record. Raises BadPathError."""
    size = len(records.rows)
    if value.const is not None:
        text = constant(value.const or None, size)
        return Texts(text, text)
    if value.join:
        original, kinds = _joined(records, value), None
        text = _treated(original, value)
    else:
        original, text, kinds = _first(records, value)
    unlisted = None
    if value.words:
        text, unlisted = _meanings(text, value)
        text = text.replace("", None) if "" in (*value.words.values(), value.otherwise) else text
    if value.default:
        text = text.fill_null(value.default)
    return Texts(text, original, unlisted, kinds or (lambda: None))


def _first(records: Records, value: Value) -> tuple[pl.Series, pl.Series, Callable[[], pl.Series | None]]:
    """Original, treated text and kinds of the first place that is not empty."""
    originals = _columns(records, value.places)
    treated = [_treated(one, value) for one in originals]

    def kinds() -> pl.Series | None:
        found = [records.kind(place.as_path) for place in value.places]
        if all(one is None for one in found):
            return None
        size = len(records.rows)
        filled = [one if one is not None else constant("text", size) for one in found]
        return _chosen(filled, treated)

    if len(treated) == 1:
        return originals[0], treated[0], kinds
    return _chosen(originals, treated), _chosen(treated, treated), kinds


def _columns(records: Records, places: Sequence[Place]) -> list[pl.Series]:
    """The column of each place. Of several places some may be unknown to a schema, which gives nulls, but not all."""
    found: list[pl.Series | None] = []
    problem: BadPathError | None = None
    for place in places:
        try:
            found.append(column(records, place))
        except BadPathError as error:
            problem = problem or error
            found.append(None)
    if problem is not None and all(one is None for one in found):
        raise problem
    return [constant(None, len(records.rows)) if one is None else one for one in found]


def _chosen(columns: Sequence[pl.Series], treated: Sequence[pl.Series]) -> pl.Series:
    """Of each row the column whose treated text is the first that is not null."""
    frame = pl.DataFrame(
        {f"c{i}": one for i, one in enumerate(columns)} | {f"t{i}": one for i, one in enumerate(treated)}
    )
    chosen = pl.coalesce(pl.when(pl.col(f"t{i}").is_not_null()).then(pl.col(f"c{i}")) for i in range(len(columns)))
    return frame.select(pl.coalesce(chosen, pl.col("c0")).alias("text"))["text"]


def _joined(records: Records, value: Value) -> pl.Series:
    parts = [_trimmed(column(records, place), value).replace("", None) for place in value.join]
    frame = pl.DataFrame({f"p{i}": one for i, one in enumerate(parts)})
    return frame.select(text=pl.concat_str(pl.all(), separator=value.joined_with, ignore_nulls=False))["text"]


def _trimmed(text: pl.Series, value: Value) -> pl.Series:
    if value.normalize:
        text = text.str.replace_all(_NO_BREAK, " ")
        # Only text beyond ASCII has other forms; the exact call is a Python loop.
        if text.str.contains(r"[^\x00-\x7f]").any():
            text = text.str.normalize("NFC")
    if value.trim:
        text = text.str.replace_all(_TRIM, "")
    return text


def _treated(text: pl.Series, value: Value) -> pl.Series:
    """A column after the text options; null where nothing is left."""
    text = _trimmed(text, value)
    if value.extract is not None:
        text = text.str.extract(value.extract, 1)
        if value.trim:
            text = text.str.replace_all(_TRIM, "")
    if value.upper:
        text = text.str.to_uppercase()
    if value.lower:
        text = text.str.to_lowercase()
    if value.strip_leading_zeros:
        # An id of zeros only keeps one: it is not empty.
        text = text.str.replace(r"^0+(.)", "$1")
    # A comparison, not a replacement: most columns have no empty text, and this costs a tenth.
    return text if not (text == "").any() else text.replace("", None)


def _meanings(text: pl.Series, value: Value) -> tuple[pl.Series, pl.Series | None]:
    """Texts by the words that `values` lists, and which were in none though one was asked for."""
    listed = text.replace_strict(list(value.words), list(value.words.values()), default=None, return_dtype=pl.String)
    missed = listed.is_null() & text.is_not_null()
    if value.otherwise is None:
        return listed.zip_with(~missed, text), None
    if value.otherwise == REJECT:
        return listed, missed
    return listed.zip_with(~missed, constant(value.otherwise, len(text))), None


def constant(value: object, size: int, dtype: pl.DataType = _STRING) -> pl.Series:
    """One value for each of so many records."""
    return pl.Series("constant", [value], dtype=dtype).new_from_index(0, size)


def shown(text: object, characters_max: int = 64) -> str:
    """A value of a record for a message: quoted, short, with nothing in it that a terminal would act on."""
    whole = str(text)
    short = whole if len(whole) <= characters_max else whole[:characters_max] + "…"
    return repr("".join(char if unicodedata.category(char) != "Cf" else f"\\u{ord(char):04x}" for char in short))
