"""Text files line by line, each with its bytes: what cannot be read is one line, not the file."""

from __future__ import annotations

import codecs
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sources.files.contents import CHUNK_BYTES
from sources.files.errors import UnusableFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sources.files.contents import Content

LINE_BYTES_MAX: Final = 1024 * 1024
"""The longest line, in bytes; a longer one is set aside."""

RAW_BYTES_MAX: Final = 64 * 1024
"""How many bytes of a line that is too long are kept with its reject."""

_BOMS: Final = (
    ("utf-8", codecs.BOM_UTF8),
    ("utf-32-le", codecs.BOM_UTF32_LE),
    ("utf-32-be", codecs.BOM_UTF32_BE),
    ("utf-16-le", codecs.BOM_UTF16_LE),
    ("utf-16-be", codecs.BOM_UTF16_BE),
)
_EBCDIC_LINE_ENDS: Final = (b"\x15", b"\x25")
_END_OF_FILE: Final = "\x1a"


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end. `text` is None where the bytes are no text; `why` says why then."""

    row: int
    raw: bytes
    text: str | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How bytes become text: a codec that takes no byte order mark, the bytes to skip, and what ends a line."""

    name: str
    skip: int
    end: bytes
    unit: int


def encoding_of(content: Content, name: str) -> Encoding:
    """What the configured encoding means for this file. Raises UnusableFileError."""
    try:
        codec = codecs.lookup(name)
        b"".decode(name)  # refuses what turns bytes into bytes, as base64 does
    except (LookupError, ValueError) as error:
        raise UnusableFileError(
            content.name, "", f"{name!r} is no encoding", "right are utf-8, utf-16, cp1252, latin-1, cp037"
        ) from error
    wanted = codec.name.removesuffix("-sig") if codec.name == "utf-8-sig" else codec.name
    head = content.head(4)
    mark = next(((kind, bom) for kind, bom in _BOMS if head.startswith(bom)), None)
    if wanted in {"utf-16", "utf-32"}:
        if mark is None or not mark[0].startswith(wanted):
            raise UnusableFileError(
                content.name,
                "byte 0",
                f"encoding {wanted} needs a byte order mark, and there is none",
                f"{wanted}-le or {wanted}-be, whichever it is",
            )
        return _encoding(content, mark[0], len(mark[1]))
    if mark is not None and mark[0] == wanted:
        return _encoding(content, wanted, len(mark[1]))
    if mark is not None and (mark[0] != "utf-8" or wanted.startswith("utf")):
        raise UnusableFileError(
            content.name,
            "byte 0",
            f"begins with the byte order mark of {mark[0]}",
            f"encoding: {mark[0][:6].rstrip('-')}",
        )
    if mark is not None and wanted != "utf-8":
        raise UnusableFileError(
            content.name, "byte 0", f"is marked as utf-8, and encoding says {wanted}", "encoding: utf-8"
        )
    if "\n".encode(wanted) != b"\n" and wanted.startswith("cp"):
        sample = content.head(CHUNK_BYTES)
        end = max(_EBCDIC_LINE_ENDS, key=sample.count)
        return Encoding(wanted, 0, end, 1)
    return _encoding(content, wanted, 0)


def _encoding(content: Content, name: str, skip: int) -> Encoding:
    unit = 4 if name.startswith("utf-32") else 2 if name.startswith("utf-16") else 1
    feed, carriage_return = "\n".encode(name), "\r".encode(name)
    head = content.head(CHUNK_BYTES)
    # Old Macs, and some hosts still, end a line by a carriage return alone.
    return Encoding(name, skip, carriage_return if carriage_return in head and feed not in head else feed, unit)


def lines(content: Content, encoding: Encoding, record_bytes: int | None = None) -> Iterator[Line]:
    """Every line that is not empty, numbered from 1 as an editor does. `record_bytes`: rows without line ends."""
    pieces = _records(content, encoding, record_bytes) if record_bytes else _split(content, encoding)
    for row, (raw, too_long) in enumerate(pieces, start=1):
        if too_long:
            yield Line(row, raw, None, f"longer than {LINE_BYTES_MAX} bytes")
            continue
        if record_bytes and len(raw) < record_bytes:
            if raw.strip(b"\r\n\x1a \x15\x25\x40\x00"):
                yield Line(row, raw, None, f"{len(raw)} bytes where a row has {record_bytes}")
            continue
        try:
            text = raw.decode(encoding.name)
        except (UnicodeDecodeError, ValueError) as error:
            yield Line(row, raw, None, f"not {encoding.name}: {_position(error)}")
            continue
        kept = raw
        if text.endswith("\r"):
            text, kept = text[:-1], raw[: -len("\r".encode(encoding.name))]
        if text.strip() and text != _END_OF_FILE:
            yield Line(row, kept, text)


def without_ends(found: Iterable[Line], skip_rows: int, footer: int) -> Iterator[Line]:
    """The lines after the first `skip_rows` (empty ones count) and before the last `footer` (empty ones do not)."""
    held: deque[Line] = deque()
    for line in found:
        if line.row <= skip_rows:
            continue
        held.append(line)
        if len(held) > footer:
            yield held.popleft()


def _position(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start + 1} of the row is {error.object[error.start : error.start + 1].hex()}"
    return str(error)


def _records(content: Content, encoding: Encoding, record_bytes: int) -> Iterator[tuple[bytes, bool]]:
    stream = content.rewound()
    stream.seek(encoding.skip)
    while piece := stream.read(record_bytes):
        yield piece, False


def _split(content: Content, encoding: Encoding) -> Iterator[tuple[bytes, bool]]:
    """Each line, and whether it was too long to hold; then only its beginning is given."""
    stream = content.rewound()
    stream.seek(encoding.skip)
    held = bytearray()
    beginning: bytes | None = None
    while chunk := stream.read(CHUNK_BYTES):
        held += chunk
        start = search = 0
        while (at := held.find(encoding.end, search)) >= 0:
            if at % encoding.unit:  # the second half of one character and the first of the next
                search = at + 1
                continue
            yield _line(bytes(held[start:at]), beginning)
            beginning = None
            start = search = at + encoding.unit
        del held[:start]
        if len(held) > LINE_BYTES_MAX:
            beginning = beginning or bytes(held[:RAW_BYTES_MAX])
            held.clear()
    if held or beginning is not None:
        yield _line(bytes(held), beginning)


def _line(piece: bytes, beginning: bytes | None) -> tuple[bytes, bool]:
    if beginning is not None:
        return beginning, True
    return (piece[:RAW_BYTES_MAX], True) if len(piece) > LINE_BYTES_MAX else (piece, False)
