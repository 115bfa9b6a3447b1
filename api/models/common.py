"""Shapes and field types that every resource shares."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from schemas.money import EXPONENTS, why_no_currency

PAGE_ROWS_DEFAULT = 50
PAGE_ROWS_MAX = 500
TEXT_CHARS_MAX = 2_000
ID_CHARS_MAX = 256

Millis = Annotated[
    int,
    Field(ge=-(2**53), le=2**53, description="Milliseconds since 1970-01-01T00:00:00Z.", examples=[1_764_000_000_000]),
]
TimeBound = Annotated[int, Field(ge=0, le=253_402_300_799_999, description="Milliseconds since 1970, UTC.")]
Minor = Annotated[int, Field(description="Integer minor units of the currency beside it (cents, yen, fils).")]
TxnId = Annotated[str, Field(min_length=1, max_length=ID_CHARS_MAX)]


def _known_currency(code: str) -> str:
    if code not in EXPONENTS:
        raise PydanticCustomError("currency", "{why}", {"why": why_no_currency(code)})
    return code


CurrencyCode = Annotated[str, Field(pattern=r"^[A-Z]{3}$"), AfterValidator(_known_currency)]
"""A currency to look for: of ISO 4217, in use or historic. An empty list for any other would say that all is well."""

VerdictName = Literal["PENDING", "MATCHED", "MISMATCHED"]
BreakName = Literal["CONFLICT", "DUPLICATE", "AMOUNT", "CURRENCY", "STATUS", "TIMESTAMP", "ATTRIBUTE", "MISSING"]
StatusName = Literal["PENDING", "SUCCESS", "FAILED", "REVERSED"]
SeverityName = Literal["low", "medium", "high", "critical"]
RoleName = Literal["viewer", "analyst", "admin"]


class Shape(BaseModel):
    """Base of what the API gives: closed and immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Body(BaseModel):
    """Base of what the API takes: unknown fields are refused rather than ignored, and text is bounded."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, strict=True)


class QueryShape(BaseModel):
    """Base of query parameters: the same, but numbers and booleans come as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class FieldProblem(Shape):
    """One thing wrong with a request."""

    where: str = Field(description="Path into the request, as in `body.version` or `query.limit`.")
    problem: str


class Problem(BaseModel):
    """RFC 9457 problem details; every error of the API has this shape, as application/problem+json."""

    type: str = Field(description="Stable reference of the kind of problem, as in `/problems/stale-version`.")
    title: str
    status: int
    detail: str = ""
    request_id: str = Field(description="Quote it when asking for help; it is in the server's logs and audit trail.")
    errors: list[FieldProblem] = Field(default_factory=list)


class Page(Shape):
    """What every list adds to its items.

    A page costs a bounded amount of work, however rare the filtered rows are. So a page may hold fewer items than asked
    for, even none, and still have a `next_cursor`: then the search goes on from there.
    """

    next_cursor: str | None = Field(
        description="Pass it as `cursor` for the next page; null when the list is at its end."
    )
    searched_to: Millis | None = Field(
        default=None, description="How far back this page looked, when it stopped before finding enough items."
    )


class AmountOrder(Shape):
    """How amounts of different currencies were put in order: by exact worth, never by the number of minor units."""

    base_currency: str | None = Field(
        description="Amounts of currencies that have a rate are ordered by their worth in it; null where none is set."
    )
    currencies: int = Field(description="How many currencies there are in the list.")
    without_rate: list[str] = Field(
        description="Currencies that have no rate: they come last, one after another, each in its own order."
    )


class Count(Shape):
    """How many rows a list and its export hold: exactly, or between two bounds."""

    value: int = Field(description="The count; with `at_least` what was counted when the time for it was up.")
    relation: Literal["exact", "at_least"]
    at_most: int | None = Field(
        default=None, description="With `at_least`: there cannot be more, by the running totals. Null when not known."
    )


class Money(Shape):
    """A sum in one currency."""

    currency: str
    amount_minor: Minor
    count: int = Field(description="How many transactions are in the sum.")


class Person(Shape):
    """A person or service, as the sign-in names it."""

    username: str
    name: str = ""
    role: RoleName
