"""Reads rows of results as PostgreSQL's binary COPY gives them: each row's bytes, and the few values that place it.

Format: PostgreSQL documentation, COPY, "Binary Format". A digest over a row's bytes covers every column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

RESULT_COLUMNS: Final = (
    "key_group, txn_id, verdict, final, revision, rules_version, breaks, missing, late, present, currency,"
    " amount_minor, spread_minor, first_arrival, last_arrival, decided_at, legs, event_seqs"
)
_HEADER_BYTES: Final = 19  # signature, flags, length of the extension, which PostgreSQL leaves empty
_KEY_GROUP: Final = 0
_TXN_ID: Final = 1
_DECIDED_AT: Final = 15
_FIELDS: Final = 18
_END: Final = -1  # instead of a number of fields
_EPOCH_2000_US: Final = 946_684_800_000_000  # PostgreSQL counts microseconds from 2000


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One row: its bytes, and where it belongs. `decided_us` is microseconds since 1970 UTC."""

    data: bytes
    key_group: int
    txn_id: str
    decided_us: int

    @property
    def name(self) -> str:
        """The key for a person."""
        return f"key_group={self.key_group} txn_id={self.txn_id}"


class RowSplitter:
    """Cuts a stream of binary COPY of RESULT_COLUMNS into rows, however the stream comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False

    def feed(self, data: bytes) -> Iterator[ResultRow]:
        """Rows that are complete by now."""
        buffer, at = self._rest + data, 0
        if not self._begun:
            if len(buffer) < _HEADER_BYTES:
                self._rest = buffer
                return
            self._begun, at = True, _HEADER_BYTES
        while (row := _row_at(buffer, at)) is not None:
            found, at = row
            yield found
        self._rest = buffer[at:]


def _row_at(buffer: bytes, start: int) -> tuple[ResultRow, int] | None:
    """The row that begins at `start` and where it ends; None when it is not all there, or at the end."""
    size = len(buffer)
    at = start + 2
    if at > size:
        return None
    fields = int.from_bytes(buffer[start:at], "big", signed=True)
    if fields == _END:
        return None
    if fields != _FIELDS:
        raise ValueError(f"a row of results has {fields} fields")
    places: list[int] = []
    for _ in range(_FIELDS):
        if at + 4 > size:
            return None
        length = int.from_bytes(buffer[at : at + 4], "big", signed=True)
        places.append(at)
        at += 4 + max(length, 0)
    if at > size:
        return None
    group, txn_id, decided = places[_KEY_GROUP], places[_TXN_ID], places[_DECIDED_AT]
    found = ResultRow(
        data=buffer[start:at],
        key_group=int.from_bytes(buffer[group + 4 : group + 6], "big", signed=True),
        txn_id=buffer[txn_id + 4 : places[_TXN_ID + 1]].decode(),
        decided_us=int.from_bytes(buffer[decided + 4 : decided + 12], "big", signed=True) + _EPOCH_2000_US,
    )
    return found, at
