"""A file's rows as records of a topic: what `recon ingest` writes, and how readers read it.

A message is one JSON object: the file's name and digest, the row's number, and either the texts of the paths that a
mapping reads (`values`, with what they were in `kinds`) or why the row is no record (`reject`); `raw` is the row as the
file has it. The last message of a file is its end marker (`end`): how many rows there were, and the days it covers.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import polars as pl

from wire.messages import Messages, Values
from wire.records import beside

if TYPE_CHECKING:
    from collections.abc import Callable

    from sources.files.opened import OpenedFile
    from sources.files.statements import StatementKey
    from wire.records import Records

DIGEST_CHARACTERS: Final = 16
"""Of a file's SHA-256 in generated event ids: 64 bits."""

END_OF_FILE: Final = "end_of_file"
"""Why an end marker is skipped: it is no record."""

RAW_BYTES_MAX: Final = 200_000
"""The longest row whose own bytes go into its message, in bytes."""

MESSAGE_BYTES_MAX: Final = 900_000
"""The longest message of a row, in bytes; Kafka takes 1 MiB."""

CLOSED_PATHS_MAX: Final = 500
"""Up to so many columns of a file go into its messages whether a mapping reads them or not."""

_JSON: Final = msgspec.json.Encoder()
_READ: Final = msgspec.json.Decoder()


def files_topic(reconciliation: str, source: str) -> str:
    """The topic of a source whose records come from files."""
    return f"recon.files.{reconciliation}.{source}"


def place_in_file(digest: str, row: int) -> str:
    """What an event without an id of its own is known by, wherever its file is read."""
    return f"{digest[:DIGEST_CHARACTERS]}:{row}"


@dataclass(slots=True)
class Written:
    """What was made of a file so far."""

    rows: int = 0
    rejected: int = 0


def messages_of(
    opened: OpenedFile, paths: Collection[str], known: Collection[StatementKey], written: Written
) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of every row's message, then of the end marker.

    Args:
        opened: the file.
        paths: those that the mapping reads.
        known: statements that were taken from other files; their entries are left out.
        written: is counted up.
    """
    for records in opened.batches(known):
        yield from _rejects(opened, written)
        yield from _rows(opened, records, paths, written)
    yield from _rejects(opened, written)
    days = [day for one in opened.statements for day in (one.first_day, one.last_day) if day]
    end = {
        "rows": written.rows,
        "rejected": written.rejected,
        "skipped": dict(opened.skipped),
        "first_day": min(days, default=None),
        "last_day": max(days, default=None),
    }
    yield _message(opened, 0, {"end": end})


def _rows(
    opened: OpenedFile, records: Records, paths: Collection[str], written: Written
) -> Iterator[tuple[bytes, bytes]]:
    wanted = dict.fromkeys(path for path in paths if not path.startswith("$"))
    if records.closed and len(records.paths()) <= CLOSED_PATHS_MAX:
        wanted |= dict.fromkeys(records.paths())
    texts = {path: records.text(path).to_list() for path in wanted}
    kinds = {path: kind.to_list() for path in wanted if (kind := records.kind(path)) is not None}
    for index, row in enumerate(records.rows):
        content: dict[str, Any] = {
            "values": {path: text for path, column in texts.items() if (text := column[index]) is not None}
        }
        if kinds:
            content["kinds"] = {path: column[index] for path, column in kinds.items()}
        key, value = _message(opened, row, content | _raw(records.raw(index)))
        if len(value) > MESSAGE_BYTES_MAX:
            why = f"the row is longer than {MESSAGE_BYTES_MAX} bytes in its message"
            key, value = _message(opened, row, {"reject": why})
            written.rejected += 1
        else:
            written.rows += 1
        yield key, value


def _rejects(opened: OpenedFile, written: Written) -> Iterator[tuple[bytes, bytes]]:
    for reject in opened.rejects:
        written.rejected += 1
        yield _message(opened, reject.row, {"reject": reject.reason} | _raw(reject.raw))
    opened.rejects.clear()


def _message(opened: OpenedFile, row: int, content: Mapping[str, Any]) -> tuple[bytes, bytes]:
    value = _JSON.encode({"file": opened.name, "digest": opened.digest, "row": row, **content})
    return place_in_file(opened.digest, row).encode(), value


def _raw(raw: bytes) -> dict[str, str]:
    if len(raw) > RAW_BYTES_MAX:
        return {}
    try:
        return {"raw": raw.decode()}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(raw).decode()}


class IngestedDecoder:
    """Messages of a files' topic: rows as values for `IngestedRecords`, end markers skipped."""

    def decode(self, messages: Messages, wanted: Collection[str] | None = None) -> Values:  # noqa: ARG002
        """Every message once, see wire.decoding.Decoder."""
        found = Values()
        for row, body in enumerate(messages.values):
            try:
                content = _READ.decode(body or b"")
                digest, number = str(content["digest"]), int(content["row"])
            except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError):
                found.reject(row, "no message of recon ingest")
                continue
            if "end" in content:
                found.skipped[END_OF_FILE] += 1
            elif "reject" in content:
                found.reject(row, f"row {number} of {content.get('file')}: {content['reject']}")
            elif not isinstance(content.get("values"), dict) or not _are_texts(content["values"]):
                found.reject(row, "no message of recon ingest")
            else:
                found.rows.append(row)
                found.values.append(content)
                found.identities.append(place_in_file(digest, number))
        return found


def _are_texts(values: Mapping[str, object]) -> bool:
    return all(isinstance(value, str) for value in values.values())


class IngestedRecords:
    """Rows of files, by the paths that were read when they were ingested.

    Args:
        contents: the messages' objects.
        rows: Int64, each record's number.
        raw: gives a message's bytes.
        around: values beside the records, see wire.records.NestedRecords.
    """

    closed = False

    def __init__(
        self,
        contents: Sequence[Any],
        rows: pl.Series,
        raw: Callable[[int], bytes],
        around: Mapping[str, pl.Series] | None = None,
    ) -> None:
        self.rows = rows
        self._contents = contents
        self._raw = raw
        self._around = around or {}

    def paths(self) -> Collection[str]:
        """The paths that occur in this batch."""
        return dict.fromkeys(path for content in self._contents for path in content["values"])

    def text(self, path: str) -> pl.Series:
        """The texts at a path."""
        if path.startswith("$"):
            return beside(self._around, path, len(self._contents))
        return pl.Series(path, [content["values"].get(path) for content in self._contents], dtype=pl.String)

    def kind(self, path: str) -> pl.Series | None:
        """What the values at a path were; None where the file's were all text."""
        found = [content.get("kinds", {}).get(path) for content in self._contents]
        return pl.Series(path, found, dtype=pl.String) if any(found) else None

    def raw(self, index: int) -> bytes:
        """The message's bytes."""
        return self._raw(index)
