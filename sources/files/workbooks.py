"""xlsx: the cells of one sheet, with the digits that the file has.

Read from the workbook's own XML. The library python-calamine was tried: it gives numbers as floats, which turns an id
of 19 digits into another, and an error (`#N/A`) as an empty cell, for which a mapping would take its second choice.

Numbers are shown as Excel shows them, to 15 significant digits: 0.1+0.2 is stored as 0.30000000000000004 and is 0.3.
A whole number keeps all digits that are written. Cells that are formatted as dates become ISO dates and times.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections import deque
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

import polars as pl
from lxml import etree

from sources.files.errors import RejectedRow, UnusableFileError
from sources.files.kinds import checked_by_control, data_only
from sources.files.opened import BATCH_ROWS, Findings, OpenedFile, row_numbers
from sources.files.xml_events import has_document_type, xml_events
from wire.records import TextRecords, decimal_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sources.files.contents import Content
    from sources.files.options import FileOptions

PART_BYTES_MAX: Final = 2 * 1024**3
"""The most that one part of a workbook may unpack to, in bytes. A full sheet of a million rows has some 500 MiB."""

SHARED_TEXT_BYTES_MAX: Final = 256 * 1024 * 1024
"""The most text that cells share, in bytes: it is held in memory."""

COLUMNS_MAX: Final = 16_384
"""The most columns of a sheet (Excel's own limit)."""

SIGNIFICANT_DIGITS: Final = 15
"""How many digits of a number Excel keeps and shows."""

_SHOWN: Final = Context(prec=SIGNIFICANT_DIGITS, rounding=ROUND_HALF_EVEN)
_NUMBER: Final = re.compile(r"-?\d{1,400}(?:\.\d{0,400})?(?:[eE][+-]?\d{1,3})?")
_REFERENCE: Final = re.compile(r"([A-Z]{1,3})(\d{1,7})")
_BUILT_IN_DATES: Final = frozenset({*range(14, 18), *range(27, 32), 36, *range(50, 53), 54, *range(57, 59)})
_BUILT_IN_TIMES: Final = frozenset({*range(18, 22), *range(32, 36), 45, 47, 53, *range(55, 57)})
_BUILT_IN_BOTH: Final = frozenset({22})
_BUILT_IN_ELAPSED: Final = frozenset({46})
_QUOTED: Final = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
_RELATION: Final = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_STRICT_RELATION: Final = "{http://purl.oclc.org/ooxml/officeDocument/relationships}id"

_ESCAPE: Final = re.compile(r"_x([0-9A-Fa-f]{4})_")
_NOT_CALCULATED: Final = "a formula that was never calculated; open and save it in a spreadsheet"

_Cell = tuple[str, str]  # text, kind


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    cells: dict[int, _Cell]


@dataclass(slots=True)
class _Book:
    sheets: list[tuple[str, str]] = field(default_factory=list)  # name, part
    shared: list[str] = field(default_factory=list)
    formats: list[str] = field(default_factory=list)  # of each cell style: number, date, time, both, elapsed
    from_1904: bool = False


def open_xlsx(content: Content, options: FileOptions) -> OpenedFile:
    """One sheet of a workbook. Raises UnusableFileError."""
    book = _open(content)
    part = _sheet(content, book, options)
    headings, start, width = _survey(content, book, part, options)

    def rows(found: Findings) -> Iterator[TextRecords]:
        held: list[_Row] = []
        given = False
        for row in _kept(_rows(content, book, part), start, options.footer):
            problem = _in_error(row, headings, options)
            if problem:
                found.rejects.append(RejectedRow(row.number, problem, _raw(row)))
                continue
            held.append(row)
            if len(held) == BATCH_ROWS:
                yield _batch(held, headings, width)
                held, given = [], True
        if held or not given:  # without rows too, a mapping must fit the heading
            yield _batch(held, headings, width)

    if (kinds := options.records) is None:
        return OpenedFile(content, lambda found, _: rows(found))
    checked_by_control(content.name, rows, options)
    return OpenedFile(content, lambda found, _: data_only(rows(found), kinds, found))


def _open(content: Content) -> _Book:
    book = _Book()
    with _Archive(content) as archive:
        names = set(archive.names())
        if "xl/workbook.xml" not in names:
            what = "xlsb" if "xl/workbook.bin" in names else "an OpenDocument file" if "content.xml" in names else ""
            raise UnusableFileError(content.name, "", f"is {what or 'no workbook'}", "a workbook saved as xlsx")
        targets = {
            element.get("Id"): element.get("Target", "")
            for element in archive.elements("xl/_rels/workbook.xml.rels", "Relationship")
        }
        for element in archive.elements("xl/workbook.xml", "sheet", "workbookPr"):
            if _local(element) == "workbookPr":
                book.from_1904 = element.get("date1904") in {"1", "true"}
                continue
            target = targets.get(element.get(_RELATION) or element.get(_STRICT_RELATION), "")
            part = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
            book.sheets.append((element.get("name", ""), part))
        if "xl/sharedStrings.xml" in names:
            size = 0
            for element in archive.elements("xl/sharedStrings.xml", "si"):
                book.shared.append(_rich(element))
                size += len(book.shared[-1])
                if size > SHARED_TEXT_BYTES_MAX:
                    raise UnusableFileError(content.name, "", f"shares more than {SHARED_TEXT_BYTES_MAX} bytes of text")
        if "xl/styles.xml" in names:
            book.formats = _formats(archive)
    return book


def _sheet(content: Content, book: _Book, options: FileOptions) -> str:
    names = [name for name, _ in book.sheets]
    if isinstance(options.sheet, int):
        if not 0 <= options.sheet < len(names):
            raise UnusableFileError(content.name, "", f"has no sheet {options.sheet}", f"0 to {len(names) - 1}")
        return book.sheets[options.sheet][1]
    if options.sheet not in names:
        raise UnusableFileError(
            content.name, "", f"has no sheet {options.sheet!r}", f"one of {', '.join(map(repr, names[:20]))}"
        )
    return book.sheets[names.index(options.sheet)][1]


def _survey(content: Content, book: _Book, part: str, options: FileOptions) -> tuple[list[str], int, int]:
    """Reads the sheet to its end: its headings, the row after which the data begin, how many columns there are."""
    headings: dict[int, str] = {}
    start = options.skip_rows
    width = 0
    for row in _rows(content, book, part):
        if row.number <= options.skip_rows:
            continue
        if options.heading and not headings:
            headings = {at: text.strip() for at, (text, _) in row.cells.items()}
            start = row.number
        width = max(width, max(row.cells) + 1)
    if options.heading and not headings:
        raise UnusableFileError(content.name, "", "the sheet has no row that could be its heading")
    names: list[str] = []
    for at in range(width):
        name = headings.get(at, "")
        if name in names:
            if options.paths is None or name in options.paths:
                raise UnusableFileError(content.name, f"row {start}", f"two columns are headed {name!r}", "column: N")
            name = ""
        names.append(name or f"#{at}")
    return names, start, width


def _kept(rows: Iterator[_Row], start: int, footer: int) -> Iterator[_Row]:
    held: deque[_Row] = deque()
    for row in rows:
        if row.number <= start:
            continue
        held.append(row)
        if len(held) > footer:
            yield held.popleft()


def _in_error(row: _Row, headings: list[str], options: FileOptions) -> str:
    for at, (text, kind) in row.cells.items():
        if kind == "error" and (options.paths is None or headings[at] in options.paths or f"#{at}" in options.paths):
            return f"cell {_letters(at)}{row.number} ({headings[at]}) is in error: {text}"
    return ""


def _batch(held: list[_Row], headings: list[str], width: int) -> TextRecords:
    columns: dict[str, pl.Series] = {}
    kinds: dict[str, pl.Series] = {}
    for at in range(width):
        cells = [row.cells.get(at) for row in held]
        columns[headings[at]] = pl.Series([cell[0] if cell else None for cell in cells], dtype=pl.String)
        if any(cell is not None and cell[1] != "text" for cell in cells):
            kinds[headings[at]] = pl.Series([cell[1] if cell else "null" for cell in cells], dtype=pl.String)
    return TextRecords(
        pl.DataFrame(columns), row_numbers([row.number for row in held]), lambda index: _raw(held[index]), kinds
    )


def _raw(row: _Row) -> bytes:
    last = max(row.cells, default=-1)
    return "\t".join(row.cells[at][0] if at in row.cells else "" for at in range(last + 1)).encode()


def _letters(column: int) -> str:
    text = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        text = chr(65 + rest) + text
    return text


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number - 1


def _rows(content: Content, book: _Book, part: str) -> Iterator[_Row]:
    """The rows that are not empty, in order."""
    number = 0
    with _Archive(content) as archive:
        for element in archive.elements(part, "row"):
            said = element.get("r", "")
            now = int(said) if said.isascii() and said.isdigit() and len(said) < 9 else number + 1
            if now <= number:
                raise UnusableFileError(content.name, f"row {now}", "comes after a later row")
            number = now
            cells: dict[int, _Cell] = {}
            at = -1
            for cell in element:
                if _local(cell) != "c":
                    continue
                match = _REFERENCE.fullmatch(cell.get("r", ""))
                at = _column(match[1]) if match else at + 1
                if at >= COLUMNS_MAX:
                    raise UnusableFileError(content.name, f"row {number}", f"more than {COLUMNS_MAX} columns")
                if (value := _cell(cell, book)) is not None:
                    cells[at] = value
            if cells:
                yield _Row(number, cells)


def _cell(cell: Any, book: _Book) -> _Cell | None:  # noqa: PLR0911 - one case a type
    """A cell's text and kind; None where it is empty."""
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        inline = next((child for child in cell if _local(child) == "is"), None)
        text = "" if inline is None else _rich(inline)
        return (text, "text") if text else None
    value = next((child for child in cell if _local(child) == "v"), None)
    if value is None and any(_local(child) == "f" for child in cell):
        return (_NOT_CALCULATED, "error")
    text = "" if value is None else (value.text or "")
    if not text:
        return None
    match kind:
        case "s":
            at = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
            if not 0 <= at < len(book.shared):
                return ("#REF!", "error")
            return (book.shared[at], "text") if book.shared[at] else None
        case "str":
            return (_unescaped(text), "text")
        case "b":
            return ("true" if text.strip() == "1" else "false", "boolean")
        case "e":
            return (text, "error")
        case "d":
            return (text, "datetime" if "T" in text else "date")
    return _number(text.strip(), cell.get("s", "0"), book)


def _number(text: str, style: str, book: _Book) -> _Cell:
    if not _NUMBER.fullmatch(text):
        return ("#NUM!", "error")
    try:
        value = Decimal(text)
    except InvalidOperation:
        return ("#NUM!", "error")
    at = int(style) if style.isascii() and style.isdigit() and len(style) < 6 else 0
    shown = book.formats[at] if at < len(book.formats) else "number"
    if shown != "number" and (when := _when(value, shown, book)) is not None:
        return when
    if value != value.to_integral_value():
        value = _SHOWN.plus(value).normalize(_SHOWN)
    elif value == 0:
        value = Decimal(0)
    else:
        value = value.quantize(Decimal(1), context=Context(prec=800))
    return (decimal_text(value), "number")


def _when(value: Decimal, shown: str, book: _Book) -> _Cell | None:
    """A number of days as a date or time; None for what is none (the 29th of February 1900 is Excel's own)."""
    if not 0 <= value < 2_958_466 or (not book.from_1904 and 60 <= value < 61):
        return None
    days = int(value)
    milliseconds = int(((value - days) * 86_400_000).to_integral_value(ROUND_HALF_EVEN))
    if shown == "elapsed":
        hours, rest = divmod(days * 86_400_000 + milliseconds, 3_600_000)
        return (f"{hours:02}:{rest // 60_000:02}:{_seconds(rest % 60_000)}", "time")
    if shown == "time" and not days:
        hours, rest = divmod(milliseconds, 3_600_000)
        return (f"{hours:02}:{rest // 60_000:02}:{_seconds(rest % 60_000)}", "time")
    base = datetime(1904, 1, 1) if book.from_1904 else datetime(1899, 12, 31 if value < 60 else 30)  # noqa: DTZ001
    try:
        moment = base + timedelta(days=days, milliseconds=milliseconds)
    except OverflowError:
        return None
    if shown == "date" and not milliseconds:
        return (date(moment.year, moment.month, moment.day).isoformat(), "date")
    return (moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds"), "datetime")


def _seconds(milliseconds: int) -> str:
    whole, part = divmod(milliseconds, 1_000)
    return f"{whole:02}.{part:03}" if part else f"{whole:02}"


def _formats(archive: _Archive) -> list[str]:
    own: dict[str, str] = {}
    found: list[str] = []
    inside = False
    for element in archive.elements("xl/styles.xml", "numFmt", "cellXfs"):
        if _local(element) == "numFmt":
            own[element.get("numFmtId", "")] = _kind_of_format(element.get("formatCode", ""))
            continue
        inside = True
        for style in element:
            if _local(style) == "xf":
                number = style.get("numFmtId", "0")
                found.append(own.get(number) or _built_in(number))
    return found if inside else []


def _built_in(number: str) -> str:
    at = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 0
    for kind, numbers in (
        ("date", _BUILT_IN_DATES),
        ("time", _BUILT_IN_TIMES),
        ("both", _BUILT_IN_BOTH),
        ("elapsed", _BUILT_IN_ELAPSED),
    ):
        if at in numbers:
            return kind
    return "number"


def _kind_of_format(code: str) -> str:
    """What a number format shows, by its letters outside quotes and brackets."""
    plain = _QUOTED.sub("", code.split(";", maxsplit=1)[0]).lower()
    if "general" in plain:
        return "number"
    if re.search(r"\[[hms]+\]", plain):
        return "elapsed"
    has_day = bool(re.search(r"[yd]", plain)) or bool(re.fullmatch(r"[^hs]*m{3,}[^hs]*", plain))
    has_time = bool(re.search(r"[hs]", plain))
    if has_day:
        return "both" if has_time else "date"
    return "time" if has_time else "number"


def _rich(element: Any) -> str:
    """A text that may be made of runs; how a word is pronounced (`rPh`) is no part of it."""
    pieces: list[str] = []
    for child in element:
        local = _local(child)
        if local == "t":
            pieces.append(child.text or "")
        elif local == "r":
            pieces.extend(part.text or "" for part in child if _local(part) == "t")
    return _unescaped("".join(pieces))


def _unescaped(text: str) -> str:
    """A text whose `_x000D_` are the characters that they stand for (ECMA-376, ST_Xstring)."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text) if "_x" in text else text


def _local(element: Any) -> str:
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


class _Archive:
    """The parts of a workbook, with limits; what is damaged is an UnusableFileError."""

    def __init__(self, content: Content) -> None:
        self._content = content
        try:
            self._zip = zipfile.ZipFile(content.rewound())
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise UnusableFileError(content.name, "", f"the workbook is damaged ({error})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def names(self) -> list[str]:
        """The names of the parts."""
        return self._zip.namelist()

    def elements(self, part: str, *wanted: str) -> Iterator[Any]:
        """The elements of a part that have one of these names, each let go once the next is asked for."""
        try:
            with self._zip.open(part) as stream:
                counted: Any = _Counted(stream, self._content.name, part)  # type: ignore[arg-type]
                for event, element in xml_events(counted):
                    if event == "start":
                        if element.getparent() is None and has_document_type(element):
                            raise UnusableFileError(self._content.name, part, "has a document type")
                        continue
                    if _local(element) in wanted:
                        yield element
                        element.clear()
                        parent = element.getparent()
                        if parent is not None:
                            while element.getprevious() is not None:
                                del parent[0]
        except etree.XMLSyntaxError as error:
            raise UnusableFileError(
                self._content.name, f"{part}, line {error.lineno or 1}", f"is damaged ({str(error.msg)[:200]})"
            ) from error
        except KeyError as error:
            raise UnusableFileError(self._content.name, part, "is missing in the workbook") from error
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            ValueError,
            NotImplementedError,
            RuntimeError,
            LookupError,
            AssertionError,
        ) as error:
            raise UnusableFileError(self._content.name, part, f"is damaged ({error})") from error


class _Counted:
    """A stream that ends with an error once it is too long."""

    def __init__(self, stream: BinaryIO, name: str, part: str) -> None:
        self._stream = stream
        self._name = name
        self._part = part
        self._size = 0

    def read(self, size: int = -1) -> bytes:
        """Reads on."""
        piece = self._stream.read(size)
        self._size += len(piece)
        if self._size > PART_BYTES_MAX:
            raise UnusableFileError(self._name, self._part, f"unpacks to more than {PART_BYTES_MAX} bytes")
        return piece
