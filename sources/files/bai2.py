"""BAI2 cash reports: records 01, 02, 03, 16, 49, 98 and 99, continued by 88, with their control totals.

Amounts have no decimal point: the currency says how many decimals they have. A type code says whether an amount is a
credit (100 to 399) or a debit (400 to 699); 890 is a message without money. Source: the Cash Management Balance
Reporting Specifications, version 2.

A record is one 16. Its paths are `type_code`, `funds_type`, `bank_reference`, `customer_reference`, `text`, `account`,
`group_date`, `originator`; and `amount` (signed, major units), `currency`, `status`, `event_time`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NoReturn

from schemas.money import CURRENCY_EXPONENTS
from sources.files.errors import RejectedRow, UnusableFileError
from sources.files.lines import Line, encoding_of, lines
from sources.files.opened import Findings, OpenedFile
from sources.files.statements import (
    ContentDigest,
    Statement,
    StatementKey,
    distinct,
    in_batches,
    must_add_up,
    reference,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sources.files.contents import Content
    from sources.files.options import FileOptions

CONTINUATIONS_MAX: Final = 10_000
"""The most 88 records that continue one record."""

DEFAULT_CURRENCY: Final = "USD"
"""The standard's, where neither account nor group names one."""

FINAL: Final = "2"
"""The as-of-date modifier of a day that has ended, which is meant where there is none."""

_CODES: Final = frozenset({"01", "02", "03", "16", "49", "88", "98", "99"})
_AMOUNT: Final = re.compile(r"[+-]?\d{1,18}")
_SEVERAL: Final = re.compile(r"/ +(?=(?:01|02|03|16|49|88|98|99),)")
_DAY: Final = re.compile(r"\d{6}")
_NO_MONEY: Final = "890"
_OPENING_LEDGER: Final = "010"
_CLOSING_LEDGER: Final = "015"
_FUNDS: Final = {"S": 3, "V": 2}  # how many fields follow a funds type
_DELETION, _TEST = "2", "4"


@dataclass(slots=True)
class _Record:
    """A logical record: its code, the fields after it, what is text, and the rows that it took."""

    code: str
    row: int
    rows: int
    pieces: list[str]
    raw: list[bytes]


@dataclass(slots=True)
class _Account:
    number: str
    currency: str
    row: int
    rows: int = 0
    control: int = 0
    entries: int = 0
    net: int = 0
    balances: dict[str, int] = field(default_factory=dict)
    digest: ContentDigest = field(default_factory=ContentDigest)


@dataclass(slots=True)
class _Group:
    originator: str
    day: str
    currency: str
    modifier: str
    row: int
    rows: int = 0
    control: int = 0
    accounts: int = 0


@dataclass(slots=True)
class _File:
    id: str = ""
    rows: int = 0
    control: int = 0
    groups: int = 0
    ended: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    """One 16 with what stands around it."""

    record: _Record
    statement: int
    group: _Group
    account: _Account


def open_bai2(content: Content, options: FileOptions) -> OpenedFile:
    """A BAI2 file. Raises UnusableFileError where a control total or count does not hold."""
    walk = _Walk(content, options)
    for _ in walk.entries():
        pass
    statements = walk.statements
    first = distinct(content.name, statements)

    def entries(found: Findings, without: frozenset[StatementKey]) -> Iterator[tuple[object, int, bytes]]:
        for entry in _Walk(content, options).entries():
            raw = b"\n".join(entry.record.raw)
            if not first[entry.statement] or statements[entry.statement].key in without:
                found.skipped["entry of a statement that is known already"] += 1
                continue
            fields = _detail(content.name, entry.record)
            if fields.type_code == _NO_MONEY:
                found.skipped["message without money (type 890)"] += 1
                continue
            record = _values(entry, fields)
            if isinstance(record, str):
                found.rejects.append(RejectedRow(entry.record.row, record, raw))
                continue
            yield record, entry.record.row, raw

    return OpenedFile(content, lambda found, without: in_batches(entries(found, without)), statements)


def _physical(content: Content, options: FileOptions) -> Iterator[Line]:
    """The physical records, numbered. Some banks put several on a line, blanks between; the totals count them."""
    row = 0
    for line in lines(content, encoding_of(content, options.encoding)):
        if line.text is None:
            raise UnusableFileError(content.name, f"row {line.row}", line.why, "the encoding that the bank writes")
        pieces = _SEVERAL.split(line.text.rstrip())
        for at, piece in enumerate(pieces):
            row = max(row + 1, line.row)
            whole = f"{piece}/" if at < len(pieces) - 1 else piece
            yield Line(row, whole.encode("utf-8", "replace") if len(pieces) > 1 else line.raw, whole)


def _records(content: Content, options: FileOptions) -> Iterator[_Record]:
    """The logical records: 88 belongs to what it continues."""
    held: _Record | None = None
    for line in _physical(content, options):
        text = line.text or ""
        code, comma, rest = text.partition(",")
        code = code.strip().removesuffix("/")
        if code not in _CODES or not (comma or text.endswith("/")):
            raise UnusableFileError(
                content.name, f"row {line.row}", f"{text[:40]!r} is no BAI2 record", "01, 02, 03, 16, 49, 88, 98 or 99"
            )
        if code == "88":
            if held is None:
                raise UnusableFileError(content.name, f"row {line.row}", "continues nothing")
            if held.rows > CONTINUATIONS_MAX:
                raise UnusableFileError(content.name, f"row {line.row}", f"more than {CONTINUATIONS_MAX} continuations")
            held.pieces.append(rest)
            held.raw.append(line.raw)
            held.rows += 1
            continue
        if held is not None:
            yield held
        held = _Record(code, line.row, 1, [rest], [line.raw])
    if held is not None:
        yield held


def _fields(record: _Record) -> list[str]:
    """The fields of a record without text: pieces end with a slash and go on in the next."""
    return [one.strip() for piece in record.pieces for one in piece.rstrip().removesuffix("/").split(",")]


@dataclass(frozen=True, slots=True)
class _Detail:
    type_code: str
    amount: str
    funds_type: str
    bank_reference: str
    customer_reference: str
    text: str


def _detail(file: str, record: _Record) -> _Detail:
    """The fields of a 16. The text is what is left, commas included; a slash in it is its own but for the last."""
    left = list(record.pieces)
    rest = ""

    def take() -> str:
        nonlocal rest
        while not rest:
            if not left:
                return ""
            rest = left.pop(0).rstrip()
        value, comma, rest = rest.partition(",")
        if not comma:
            value = value.removesuffix("/")
        return value.strip()

    type_code, amount, funds = take(), take(), take()
    follow = _FUNDS.get(funds, 0)
    if funds == "D":
        count = take()
        if not count.isdigit() or int(count) > 100:
            raise UnusableFileError(file, f"row {record.row}", f"{count!r} is no number of distributions")
        follow = 2 * int(count)
    for _ in range(follow):
        take()
    bank, customer = take(), take()
    pieces = [rest, *left]
    text = " ".join(one.strip() for piece in pieces if (one := piece.rstrip().removesuffix("/")).strip())
    return _Detail(type_code, amount, funds, bank, customer, text)


class _Walk:
    """Goes through a file record by record and holds every total against what it totals."""

    def __init__(self, content: Content, options: FileOptions) -> None:
        self._content = content
        self._options = options
        self.statements: list[Statement] = []
        self._keys: dict[StatementKey, str] = {}

    def entries(self) -> Iterator[_Entry]:  # noqa: PLR0912, PLR0915 - one case a record is how the standard reads
        """Every 16. Raises UnusableFileError."""
        file: _File | None = None
        group: _Group | None = None
        account: _Account | None = None
        for record in _records(self._content, self._options):
            if (file is None or file.ended) and record.code != "01":
                self._fail(record, "comes before the file header", "a file begins with 01")
            if record.code == "01":
                if file is not None and not file.ended:
                    self._fail(record, "comes before the end of the file before it", "99 ends a file")
                file = self._file(record)
            assert file is not None  # noqa: S101
            file.rows += record.rows
            if group is not None and record.code not in {"01", "02"}:
                group.rows += record.rows
            if account is not None and record.code not in {"01", "02", "03"}:
                account.rows += record.rows
            match record.code:
                case "02":
                    if group is not None:
                        self._fail(record, "comes before the end of the group before it", "98 ends a group")
                    group = self._group(record)
                case "03":
                    if group is None or account is not None:
                        self._fail(record, "comes outside a group, or within an account", "02 before it, 49 between")
                    account = self._account(record, group)
                case "16":
                    if account is None or group is None:
                        self._fail(record, "comes outside an account", "03 before it")
                    self._count(record, account)
                    yield _Entry(record, len(self.statements), group, account)
                case "49":
                    if account is None or group is None:
                        self._fail(record, "ends no account")
                    self._end_account(record, account, group, file)
                    account = None
                case "98":
                    if group is None or account is not None:
                        self._fail(record, "ends no group, or comes within an account")
                    self._end_group(record, group, file)
                    group = None
                case "99":
                    if group is not None:
                        self._fail(record, "comes within a group", "98 before it")
                    self._hold(record, "control total", _at(record, 0), file.control)
                    self._hold(record, "number of groups", _at(record, 1), file.groups)
                    self._hold(record, "number of records", _at(record, 2), file.rows)
                    file.ended = True
        if file is None:
            raise UnusableFileError(self._content.name, "", "has no record", "a file begins with 01")
        if not file.ended:
            raise UnusableFileError(self._content.name, "", "has no file trailer (99)", "the file may be cut short")

    def _fail(self, record: _Record, why: str, right: str = "") -> NoReturn:
        raise UnusableFileError(self._content.name, f"row {record.row}", f"record {record.code} {why}", right)

    def _file(self, record: _Record) -> _File:
        version = _at(record, 7)
        if version != "2":
            self._fail(record, f"says version {version!r}", "version 2")
        return _File(id=_at(record, 4))

    def _group(self, record: _Record) -> _Group:
        status, day = _at(record, 2), _at(record, 3)
        if status in {_DELETION, _TEST}:
            what = "a deletion" if status == _DELETION else "a test"
            self._fail(
                record, f"marks its group as {what} (group status {status})", "status 1 (update) or 3 (correction)"
            )
        iso = _iso(day)
        if iso is None:
            self._fail(record, f"{day!r} is no as-of date", "YYMMDD")
        return _Group(_at(record, 1), iso, _at(record, 5), _at(record, 6), record.row, record.rows)

    def _account(self, record: _Record, group: _Group) -> _Account:
        fields = _fields(record)
        account = _Account(
            fields[0], (_get(fields, 1) or group.currency or DEFAULT_CURRENCY).upper(), record.row, record.rows
        )
        account.digest.add(["03", *fields])
        at = 2
        while at < len(fields):
            code, amount = fields[at], _get(fields, at + 1)
            if amount:
                value = self._money(record, amount)
                account.control += value
                account.balances.setdefault(code, value)
            funds = _get(fields, at + 3)
            at += 4 + self._following(record, funds, fields, at + 4)
        return account

    def _following(self, record: _Record, funds: str, fields: list[str], at: int) -> int:
        if funds == "D":
            count = _get(fields, at)
            if not count.isdigit() or int(count) > 100:
                self._fail(record, f"{count!r} is no number of distributions")
            return 1 + 2 * int(count)
        return _FUNDS.get(funds, 0)

    def _count(self, record: _Record, account: _Account) -> None:
        fields = _detail(self._content.name, record)
        account.digest.add(
            ["16", fields.type_code, fields.amount, fields.bank_reference, fields.customer_reference, fields.text]
        )
        account.entries += 1
        if not fields.amount:
            return
        value = self._money(record, fields.amount)
        account.control += value
        account.net += (_sign(fields.type_code) or 0) * value

    def _end_account(self, record: _Record, account: _Account, group: _Group, file: _File) -> None:
        self._hold(record, "account control total", _at(record, 0), account.control)
        self._hold(record, "number of records", _at(record, 1), account.rows)
        group.control += account.control
        group.accounts += 1
        exponent = CURRENCY_EXPONENTS.get(account.currency, 2)
        opening, closing = account.balances.get(_OPENING_LEDGER), account.balances.get(_CLOSING_LEDGER)
        name = f"account {account.number}, {group.day}"
        if opening is not None and closing is not None and account.entries:
            must_add_up(
                self._content.name,
                name,
                _major(opening, exponent),
                _major(account.net, exponent),
                _major(closing, exponent),
                account.currency,
            )
        self.statements.append(
            Statement(
                key=self._key(account, group),
                id=file.id,
                digest=account.digest.hex(),
                currency=account.currency,
                opening=None if opening is None else _major(opening, exponent),
                closing=None if closing is None else _major(closing, exponent),
                first_day=group.day,
                last_day=group.day,
                entries=account.entries,
            )
        )

    def _key(self, account: _Account, group: _Group) -> StatementKey:
        """An account that a day's file names twice, with different content, is two statements: they have no numbers."""
        digest = account.digest.hex()
        for part in range(1, len(self.statements) + 2):
            number = f"{group.originator}/{group.modifier or FINAL}/{part}"
            key = StatementKey(account.number, number, group.day)
            if self._keys.setdefault(key, digest) == digest:
                return key
        raise AssertionError

    def _end_group(self, record: _Record, group: _Group, file: _File) -> None:
        self._hold(record, "group control total", _at(record, 0), group.control)
        self._hold(record, "number of accounts", _at(record, 1), group.accounts)
        self._hold(record, "number of records", _at(record, 2), group.rows)
        file.control += group.control
        file.groups += 1

    def _hold(self, record: _Record, what: str, said: str, there: int) -> None:
        if not _AMOUNT.fullmatch(said) or int(said) != there:
            self._fail(record, f"{what} is {said or 'missing'}, it should be {there}")

    def _money(self, record: _Record, text: str) -> int:
        if not _AMOUNT.fullmatch(text):
            self._fail(record, f"{text[:30]!r} is no amount, so no total can be checked", "digits without a point")
        return int(text)


def _get(fields: list[str], at: int) -> str:
    return fields[at] if at < len(fields) else ""


def _at(record: _Record, at: int) -> str:
    return _get(_fields(record), at)


def _iso(text: str) -> str | None:
    if not _DAY.fullmatch(text):
        return None
    try:
        year = int(text[:2])
        return date(year + (1900 if year >= 80 else 2000), int(text[2:4]), int(text[4:])).isoformat()
    except ValueError:
        return None


def _sign(type_code: str) -> int | None:
    if not type_code.isdigit() or len(type_code) != 3:
        return None
    code = int(type_code)
    # 920 to 959 and 960 to 999 are a bank's own credits and debits.
    if 100 <= code <= 399 or 920 <= code <= 959:
        return 1
    return -1 if 400 <= code <= 699 or 960 <= code <= 999 else None


def _major(minor: int, exponent: int) -> Decimal:
    return Decimal(minor).scaleb(-exponent)


def _values(entry: _Entry, fields: _Detail) -> dict[str, Any] | str:
    sign = _sign(fields.type_code)
    if sign is None:
        return f"type code {fields.type_code!r} says neither credit nor debit"
    if not fields.amount:
        return "has no amount"
    currency = entry.account.currency
    exponent = CURRENCY_EXPONENTS.get(currency)
    if exponent is None:
        return f"currency {currency!r} is not in ISO 4217, so the decimals of its amounts are unknown"
    return {
        "amount": format(_major(sign * int(fields.amount), exponent), "f"),
        "currency": currency,
        "status": "SUCCESS",
        "event_time": entry.group.day,
        "type_code": fields.type_code,
        "funds_type": fields.funds_type or None,
        "bank_reference": reference(fields.bank_reference),
        "customer_reference": reference(fields.customer_reference),
        "text": fields.text or None,
        "account": entry.account.number,
        "group_date": entry.group.day,
        "originator": entry.group.originator or None,
    }
