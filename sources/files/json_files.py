"""JSON files: an array of records (or a path to one), or one record a line. Numbers keep the digits they have.

A document may be larger than memory: its records are found by going through it once, bracket by bracket (16 bytes of
memory a record), and read one by one afterwards.
"""

from __future__ import annotations

import codecs
import re
from array import array
from typing import TYPE_CHECKING, Any, Final, NoReturn

from sources.files.contents import CHUNK_BYTES, Content
from sources.files.errors import RejectedRow, UnusableFileError
from sources.files.lines import encoding_of, lines, without_ends
from sources.files.opened import BATCH_ROWS, Findings, OpenedFile, row_numbers
from wire.json_values import BadJsonError, read_json
from wire.records import NestedRecords, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sources.files.options import FileOptions

RECORD_BYTES_MAX: Final = 16 * 1024 * 1024
"""The longest record in a JSON document, in bytes."""

SCALAR_BYTES_MAX: Final = 64 * 1024
"""The longest number, in bytes."""

DEPTH_MAX: Final = 512
"""How deep arrays and objects may be nested."""

# Strings whole, or else one character that matters; whatever else stands in a record is read with it later.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["\[\]{}]', re.DOTALL)
_SCALAR: Final = re.compile(rb'[^\s,\[\]{}":]+')


def open_json(content: Content, options: FileOptions) -> OpenedFile:
    """A document with an array of records. Raises UnusableFileError where it is broken, or has no such array."""
    content = _as_utf8(content, options)
    places = _Scanner(content).records(options.array)

    def read(found: Findings, _: object) -> Iterator[NestedRecords]:
        held: list[tuple[int, bytes, Any]] = []
        for index in range(len(places) // 2):
            raw = content.piece(places[2 * index], places[2 * index + 1])
            if _take(index + 1, raw, raw, held, found) and len(held) == BATCH_ROWS:
                yield _batch(held)
                held = []
        if held:
            yield _batch(held)

    return OpenedFile(content, read)


def open_jsonl(content: Content, options: FileOptions) -> OpenedFile:
    """A file of one object a line."""
    encoding = encoding_of(content, options.encoding)

    def read(found: Findings, _: object) -> Iterator[NestedRecords]:
        held: list[tuple[int, bytes, Any]] = []
        for line in without_ends(lines(content, encoding), options.skip_rows, options.footer):
            if line.text is None:
                found.rejects.append(RejectedRow(line.row, line.why, line.raw))
                continue
            taken = _take(line.row, line.text.encode("utf-8", "surrogatepass"), line.raw, held, found)
            if taken and len(held) == BATCH_ROWS:
                yield _batch(held)
                held = []
        if held:
            yield _batch(held)

    return OpenedFile(content, read)


def _take(row: int, text: bytes, raw: bytes, held: list[tuple[int, bytes, Any]], found: Findings) -> bool:
    try:
        value = read_json(text)
    except BadJsonError as error:
        found.rejects.append(RejectedRow(row, f"not JSON: {error}", raw))
        return False
    if not isinstance(value, dict):
        found.rejects.append(RejectedRow(row, "not a JSON object", raw))
        return False
    held.append((row, raw, value))
    return True


def _batch(held: list[tuple[int, bytes, Any]]) -> NestedRecords:
    return NestedRecords(
        [value for _, _, value in held], row_numbers([row for row, _, _ in held]), lambda index: held[index][1]
    )


def _as_utf8(content: Content, options: FileOptions) -> Content:
    encoding = encoding_of(content, options.encoding)
    if encoding.name in {"utf-8", "ascii"}:
        return content

    def pieces() -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder(encoding.name)()
        stream = content.rewound()
        stream.seek(encoding.skip)
        try:
            while chunk := stream.read(CHUNK_BYTES):
                yield decoder.decode(chunk).encode()
            yield decoder.decode(b"", final=True).encode()
        except (UnicodeError, ValueError) as error:
            raise UnusableFileError(content.name, "", f"not {encoding.name}: {error}") from error

    converted = Content.keep(content.name, pieces())
    # The file's identity is that of its own bytes.
    converted.digest = content.digest
    return converted


class _Scanner:
    """Goes through a document and finds where the records of one array begin and end."""

    def __init__(self, content: Content) -> None:
        self._file = content.name
        self._stream = content.rewound()
        self._held = b""
        self._base = 0  # where in the file `_held` begins
        self._at = 0  # where in `_held` the scanner is
        self._begun = 0  # where in `_held` the value begins that it is in
        if content.head(3) == b"\xef\xbb\xbf":
            self._base = 3
        self._stream.seek(self._base)

    def records(self, path: str) -> array[int]:
        """Begin and end of each record, one after the other. Raises UnusableFileError."""
        way = steps(path) if path else ()
        self._enter(list(way), path)
        found: array[int] = array("Q")
        if self._peek() == b"]":
            self._at += 1
        else:
            while True:
                self._skip_value()
                found.append(self._base + self._begun)
                found.append(self._base + self._at)
                mark = self._peek()
                self._at += 1
                if mark == b"]":
                    break
                if mark != b",":
                    self._fail("a comma or ] is missing between two records")
        self._finish(way)
        return found

    def _enter(self, way: list[Any], path: str) -> None:
        """Goes down to the array."""
        for depth, step in enumerate(way):
            where = f"at {path}" if depth else ""
            if isinstance(step, int):
                self._want(b"[", f"no array {where}")
                for _ in range(step):
                    if self._peek() == b"]":
                        self._fail(f"the array has no element {step}")
                    self._skip_value()
                    if self._peek() != b",":
                        self._fail(f"the array has no element {step}")
                    self._at += 1
                if self._peek() == b"]":
                    self._fail(f"the array has no element {step}")
                continue
            self._want(b"{", f"no object with {step!r}")
            if not self._find_member(step):
                self._fail(f"no member {step!r}", f"a path to the array of records; {path!r} leads to none")
        first = self._peek()
        if first != b"[":
            self._fail(
                f"{'an object' if first == b'{' else 'a value'} where the array of records should be",
                "the path to the array of records, or format: jsonl for one record a line",
            )
        self._at += 1

    def _find_member(self, wanted: str) -> bool:
        if self._peek() == b"}":
            return False
        while True:
            if self._name() == wanted:
                return True
            self._skip_value()
            if self._peek() != b",":
                return False
            self._at += 1

    def _name(self) -> object:
        """A member's name, and the colon after it."""
        if self._peek() != b'"':
            self._fail("a name is missing")
        self._skip_value()
        # The name ends here, and lies in what is held since the value began.
        name = self._held[self._begun : self._at]
        if self._peek() != b":":
            self._fail("a colon is missing")
        self._at += 1
        try:
            return read_json(name)
        except BadJsonError as error:
            self._fail(str(error))

    def _finish(self, way: tuple[Any, ...]) -> None:
        """What follows the array must close what was opened, or the document was cut short."""
        for step in reversed(way):
            close = b"]" if isinstance(step, int) else b"}"
            while (mark := self._peek()) == b",":
                self._at += 1
                if close == b"}" and self._name() == step:
                    self._fail(f"the name {step!r} occurs twice")
                self._skip_value()
            if mark != close:
                self._fail(f"{close.decode()} is missing")
            self._at += 1
        if self._peek(end=True):
            self._fail("something follows the end of the document")

    def _want(self, mark: bytes, why: str) -> None:
        if self._peek() != mark:
            self._fail(why)
        self._at += 1

    def _peek(self, *, end: bool = False) -> bytes:
        """The next character that is no blank. At the end of the file: nothing if that is right, else an error."""
        while True:
            while self._at < len(self._held):
                mark = self._held[self._at : self._at + 1]
                if mark not in (b" ", b"\t", b"\r", b"\n"):
                    return mark
                self._at += 1
            if not self._more(self._at):
                if end:
                    return b""
                self._fail("the document is cut short")

    def _skip_value(self) -> None:
        """Goes past one value; `_begun` is where in `_held` it began."""
        mark = self._peek()
        self._drop()
        self._begun = self._at
        if mark not in (b"{", b"[", b'"'):
            self._skip_scalar()
            return
        opened: list[int] = []
        position = self._at
        while True:
            token = _TOKEN.search(self._held, position)
            if token is None or token[0] == b'"':
                # Nothing that matters, or a string that is not closed within what is held.
                self._at = len(self._held) if token is None else token.start()
                position = self._at - self._begun
                self._read_on("the document is cut short, or a quote is not closed")
                continue
            position = token.end()
            text = token[0]
            if text in (b"{", b"["):
                opened.append(text[0])
                if len(opened) > DEPTH_MAX:
                    self._fail(f"more than {DEPTH_MAX} levels")
            elif text in (b"}", b"]") and (not opened or opened.pop() != text[0] - 2):
                self._at = position
                self._fail(f"{text.decode()} closes nothing")
            if not opened:
                self._at = position
                if self._at - self._begun > RECORD_BYTES_MAX:
                    self._fail(f"a record is longer than {RECORD_BYTES_MAX} bytes")
                return

    def _skip_scalar(self) -> None:
        while True:
            match = _SCALAR.match(self._held, self._begun)
            if match is None:
                self._fail("a value is missing")
            self._at = match.end()
            if self._at < len(self._held):
                return
            if len(match[0]) > SCALAR_BYTES_MAX:
                self._fail(f"a value is longer than {SCALAR_BYTES_MAX} bytes")
            if not self._more(self._begun):
                return
            self._begun = 0

    def _read_on(self, why: str) -> None:
        """Holds more of the value that was begun."""
        if len(self._held) - self._begun > RECORD_BYTES_MAX:
            self._fail(f"a record is longer than {RECORD_BYTES_MAX} bytes")
        if not self._more(self._begun):
            self._fail(why)
        self._begun = 0

    def _drop(self) -> None:
        """Lets go of what was passed, once it is much."""
        if self._at > CHUNK_BYTES:
            self._base += self._at
            self._held = self._held[self._at :]
            self._at = 0

    def _more(self, keep: int) -> bool:
        """Reads on; what lies before `keep` is let go, so that `keep` becomes 0. False at the end of the file."""
        chunk = self._stream.read(CHUNK_BYTES)
        if not chunk:
            return False
        self._base += keep
        self._held = self._held[keep:] + chunk
        self._at = max(0, self._at - keep)
        return True

    def _fail(self, why: str, right: str = "") -> NoReturn:
        raise UnusableFileError(self._file, f"byte {self._base + self._at}", why, right or "one JSON document")
