"""ISO 20022 statements: camt.053 (statements), camt.052 (reports within the day), camt.054 (notifications), 02 to 13.

Read by element names, whatever the version's namespace: the versions differ in elements that a mapping may name, and in
three that are read here (`Sts` became a choice, `TxDtls` got an `Amt`, pages moved). Elements of a file are read one
entry at a time, twice: once to see that the statement holds together, once to give its entries.

A document type, external entities and the network are off: a statement needs none of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from sources.files.errors import RejectedRow, UnusableFileError
from sources.files.opened import BATCH_ROWS, Findings, OpenedFile, row_numbers
from sources.files.statements import (
    NO_REFERENCE,
    TEXT,
    ContentDigest,
    Statement,
    StatementKey,
    StatementRecords,
    distinct,
    must_add_up,
    must_follow,
)
from sources.files.xml_events import has_document_type, xml_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sources.files.contents import Content
    from sources.files.options import FileOptions

ELEMENT_DEPTH_MAX: Final = 64
"""How deep elements may be nested. The standard's own have less than 20 levels."""

ENTRY_ELEMENTS_MAX: Final = 2_000_000
"""How many elements one entry with its details may have: what bounds memory (a batch of 30,000 payments)."""

VERSIONS: Final = range(2, 14)

_MESSAGES: Final = {
    "camt.053": ("BkToCstmrStmt", "Stmt"),
    "camt.052": ("BkToCstmrAcctRpt", "Rpt"),
    "camt.054": ("BkToCstmrDbtCdtNtfctn", "Ntfctn"),
}
_NAMESPACE: Final = re.compile(r"camt\.(\d{3})\.001\.(\d{2})$")
_AMOUNT: Final = re.compile(r"\+?(\d{1,18}(?:\.\d{0,17})?|\.\d{1,17})")
_DATE: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ].*|Z|[+-]\d{2}:\d{2})?")
_STATUSES: Final = {"BOOK": "SUCCESS", "PDNG": "PENDING"}
_TRUE: Final = frozenset({"true", "1"})
_OPENING: Final = ("OPBD", "PRCD")
_CLOSING: Final = "CLBD"
_INTERIM: Final = "ITBD"
_BOOKED: Final = frozenset({*_OPENING, _CLOSING, _INTERIM})

Node = dict[str, Any]


def open_camt(content: Content, options: FileOptions) -> OpenedFile:
    """A statement file. Raises UnusableFileError for a broken document and for totals that do not hold."""
    check = _Check(content, options)
    check.run()
    first = distinct(content.name, check.statements)
    must_follow(content.name, check.statements)

    def read(found: Findings, without: frozenset[StatementKey]) -> Iterator[StatementRecords]:
        return _Reading(content, options, check, first, found, without).batches()

    return OpenedFile(content, read, check.statements)


@dataclass(slots=True)
class _Around:
    """What stands around the entries of one statement."""

    node: Node
    name: str


def _local(tag: object) -> str:
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _node(element: Any, depth: int = 0) -> Any:
    """An element as nested values: text, or a mapping of its attributes (`@Ccy`) and elements; repeated ones a list."""
    found: Node = {f"@{_local(name)}": value for name, value in element.attrib.items()}
    has_elements = False
    for child in element:
        if not isinstance(child.tag, str):
            continue
        has_elements = True
        name = _local(child.tag)
        value = _node(child, depth + 1)
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    if has_elements:
        return found
    text = (element.text or "").strip()
    plain = None if not text or text in NO_REFERENCE else text
    return {TEXT: plain, **found} if found else plain


def _get(node: Any, *names: str) -> Any:
    for name in names:
        if isinstance(node, list):
            node = node[0]
        node = node.get(name) if isinstance(node, dict) else None
        if node is None:
            return None
    return node


def _str(node: Any, *names: str) -> str | None:
    value = _get(node, *names)
    if isinstance(value, list):
        value = value[0]
    if isinstance(value, dict):
        value = value.get(TEXT)
    return value if isinstance(value, str) else None


def _list(node: Any, *names: str) -> list[Any]:
    value = _get(node, *names)
    return value if isinstance(value, list) else [] if value is None else [value]


class _Walk:
    """Goes through a document entry by entry."""

    def __init__(self, content: Content, options: FileOptions) -> None:
        self.content = content
        self.options = options
        self.message, self.container = _MESSAGES[options.format]
        self.headers: list[Node] = []

    def entries(self) -> Iterator[tuple[int, Any]]:  # noqa: PLR0912
        """(number of the statement from 0, entry element); (number, None) when a statement ends."""
        name = self.content.name
        depth = elements = 0
        number = -1
        inside = message_seen = False
        try:
            for event, element in xml_events(self.content.rewound()):
                local = _local(element.tag)
                if event == "start":
                    if not depth and has_document_type(element):
                        raise UnusableFileError(name, "line 1", "has a document type", "a statement without one")
                    depth += 1
                    elements += 1
                    if depth > ELEMENT_DEPTH_MAX:
                        raise UnusableFileError(
                            name, f"line {element.sourceline}", f"more than {ELEMENT_DEPTH_MAX} levels of elements"
                        )
                    if elements > ENTRY_ELEMENTS_MAX:
                        raise UnusableFileError(
                            name,
                            f"line {element.sourceline}",
                            f"more than {ENTRY_ELEMENTS_MAX} elements in one entry",
                        )
                    if not message_seen and local in {one for one, _ in _MESSAGES.values()}:
                        self._must_be_wanted(element, local)
                        message_seen = True
                    if local == self.container and _local(_tag(element.getparent())) == self.message:
                        number += 1
                        inside = True
                    continue
                depth -= 1
                if not inside:
                    continue
                parent = element.getparent()
                if local == "Ntry" and _local(_tag(parent)) == self.container:
                    yield number, element
                    parent.remove(element)
                    elements = 0
                elif local == self.container and _local(_tag(parent)) == self.message:
                    self.headers.append(_header(element, parent))
                    yield number, None
                    inside = False
                    parent.remove(element)
        except etree.XMLSyntaxError as error:
            raise UnusableFileError(
                name, f"line {error.lineno or 1}", f"the document is broken ({str(error.msg)[:200]})"
            ) from error
        except (LookupError, ValueError, OSError, AssertionError) as error:
            raise UnusableFileError(name, "", f"the document cannot be read ({error})") from error
        if not message_seen:
            raise UnusableFileError(name, "", f"has no {self.message}", f"a {self.options.format} document")
        if number < 0:
            raise UnusableFileError(name, "", f"has no {self.container}", f"at least one {self.container}")

    def _must_be_wanted(self, element: Any, local: str) -> None:
        name, place = self.content.name, f"line {element.sourceline}"
        namespace = _NAMESPACE.search(element.tag.rpartition("}")[0])
        if local != self.message:
            found = next(kind for kind, (one, _) in _MESSAGES.items() if one == local)
            raise UnusableFileError(name, place, f"is a {found}", f"format: {found}")
        if namespace is not None and int(namespace[2]) not in VERSIONS:
            raise UnusableFileError(
                name, place, f"is version {namespace[2]} of {self.options.format}", "versions 02 to 13 are read"
            )


def _tag(element: Any) -> object:
    return None if element is None else element.tag


def _header(statement: Any, message: Any) -> Node:
    node = _node(statement)
    header: Node = node if isinstance(node, dict) else {}
    group = next((child for child in message if _local(child.tag) == "GrpHdr"), None)
    if group is not None:
        header["GrpHdr"] = _node(group)
    return header


def _decimal(text: str | None) -> Decimal | None:
    if text is None or (match := _AMOUNT.fullmatch(text)) is None:
        return None
    return Decimal(match[1])


def _signed(amount: Decimal, node: Any) -> Decimal | None:
    match _str(node, "CdtDbtInd"):
        case "CRDT":
            return amount
        case "DBIT":
            return -amount
    return None


def _entry_status(entry: Node) -> str | None:
    status = _get(entry, "Sts")
    if isinstance(status, dict):
        return _str(status, "Cd") or _str(status, "Prtry") or _str(status, TEXT)
    return _str(entry, "Sts")


def _day(node: Any, name: str) -> str | None:
    text = _str(node, name, "Dt") or _str(node, name, "DtTm")
    match = _DATE.fullmatch(text) if text else None
    return match[1] if match else text


@dataclass(slots=True)
class _Totals:
    digest: ContentDigest = field(default_factory=ContentDigest)
    booked: dict[str, Decimal] = field(default_factory=dict)
    entries: list[tuple[str, Decimal]] = field(default_factory=list)  # (status, signed amount) for TxsSummry
    foreign: list[tuple[Node, Decimal]] = field(default_factory=list)


class _Check(_Walk):
    """The pass that sees whether the file holds together."""

    def __init__(self, content: Content, options: FileOptions) -> None:
        super().__init__(content, options)
        self.statements: list[Statement] = []

    def run(self) -> None:
        """Reads the whole file. Raises UnusableFileError."""
        totals = _Totals()
        for number, element in self.entries():
            if element is None:
                self.statements.append(self._statement(self.headers[number], totals))
                totals = _Totals()
            else:
                self._entry(element, totals)

    def _entry(self, element: Any, totals: _Totals) -> None:
        place = f"line {element.sourceline}"
        node = _node(element)
        totals.digest.add(node)
        status = _entry_status(node) if isinstance(node, dict) else None
        amount = _decimal(_str(node, "Amt"))
        signed = _signed(amount, node) if amount is not None else None
        if signed is None:
            if status == "BOOK" or status is None:
                raise UnusableFileError(
                    self.content.name,
                    place,
                    "an entry without an amount with CdtDbtInd CRDT or DBIT, so no balance can be checked",
                )
            return
        totals.entries.append((status or "", signed))
        if status == "BOOK":
            currency = _str(node, "Amt", "@Ccy") or ""
            totals.booked[currency] = totals.booked.get(currency, Decimal(0)) + signed
            totals.foreign.append((_alternatives(node, currency, signed), signed))
        if self.options.level == "details" and status != "INFO":
            details(self.content.name, place, node)

    def _statement(self, header: Node, totals: _Totals) -> Statement:
        account = (
            _str(header, "Acct", "Id", "IBAN")
            or _str(header, "Acct", "Id", "Othr", "Id")
            or _str(header, "Acct", "Id", "PrtryAcct", "Id")
            or ""
        )
        own_id = _str(header, "Id") or ""
        sequence = None
        if self.options.format == "camt.053":
            sequence = _str(header, "ElctrncSeqNb") or _str(header, "LglSeqNb")
        number = sequence or own_id
        # A bank that sends a statement again may say so, and call it anew where its number is another element's.
        sending = {"CreDtTm", "GrpHdr", "CpyDplctInd", *(["Id"] if sequence else [])}
        digest = ContentDigest()
        digest.add({name: value for name, value in header.items() if name not in sending})
        digest.add(totals.digest.hex())
        page = (
            _str(header, "StmtPgntn", "PgNb") or _str(header, "RptPgntn", "PgNb") or _str(header, "NtfctnPgntn", "PgNb")
        )
        page = page or _str(header, "GrpHdr", "MsgPgntn", "PgNb") or "1"
        balances = self._balances(header, f"statement {number}/{page}")
        opening, closing, currency = self._hold(balances, totals, f"statement {number}/{page} of account {account}")
        if page == "1" and not _more_pages(header):
            self._summary(header, totals, f"statement {number}")
        days = sorted(balance.day for balance in balances if balance.day)
        first = _DATE.fullmatch(_str(header, "FrToDt", "FrDtTm") or "")
        last = _DATE.fullmatch(_str(header, "FrToDt", "ToDtTm") or "")
        created = _DATE.fullmatch(_str(header, "CreDtTm") or "")
        closed_on = next((balance.day for balance in reversed(balances) if balance.code == _CLOSING), "")
        closed_on = closed_on or (days[-1] if days else "") or (last[1] if last else "")
        closed_on = closed_on or (created[1] if created else "")
        return Statement(
            key=StatementKey(account, f"{number}/{page}", closed_on),
            id=own_id,
            digest=digest.hex(),
            currency=currency or _str(header, "Acct", "Ccy") or "",
            opening=opening,
            closing=closing,
            first_day=first[1] if first else (days[0] if days else ""),
            last_day=last[1] if last else closed_on,
            entries=len(totals.entries),
        )

    def _balances(self, header: Node, place: str) -> list[_Balance]:
        found: list[_Balance] = []
        for node in _list(header, "Bal"):
            code = _str(node, "Tp", "CdOrPrtry", "Cd") or _str(node, "Tp", "Cd") or ""
            if code not in _BOOKED:
                continue
            amount = _decimal(_str(node, "Amt"))
            signed = _signed(amount, node) if amount is not None else None
            if signed is None:
                raise UnusableFileError(self.content.name, place, f"balance {code} is not an amount with CdtDbtInd")
            found.append(_Balance(code, _str(node, "Amt", "@Ccy") or "", signed, _day(node, "Dt") or ""))
        return found

    def _hold(
        self, balances: list[_Balance], totals: _Totals, place: str
    ) -> tuple[Decimal | None, Decimal | None, str]:
        """Opening plus entries is closing, for every currency that has balances; only camt.053 promises balances."""
        if self.options.format != "camt.053" or not balances:
            return None, None, ""
        name = self.content.name
        currencies = list(dict.fromkeys(balance.currency for balance in balances))
        pairs: dict[str, tuple[Decimal, Decimal]] = {}
        for currency in currencies:
            opening, closing = _pair([balance for balance in balances if balance.currency == currency])
            if opening is None or closing is None:
                missing = "opening balance (OPBD or PRCD)" if opening is None else "closing balance (CLBD)"
                raise UnusableFileError(
                    name, place, f"has no {missing} in {currency}, so its entries cannot be checked"
                )
            pairs[currency] = (opening, closing)
        sums = dict.fromkeys(currencies, Decimal(0))
        for alternatives, _ in totals.foreign:
            fitting = next((one for one in alternatives if one in sums), None)
            if fitting is None:
                raise UnusableFileError(
                    name,
                    place,
                    f"an entry in {next(iter(alternatives))}, its balances are in {', '.join(currencies)}",
                )
            sums[fitting] += alternatives[fitting]
        for currency, (opening, closing) in pairs.items():
            must_add_up(name, place, opening, sums[currency], closing, currency)
        if len(pairs) == 1:
            return (*pairs[currencies[0]], currencies[0])
        return None, None, ""

    def _summary(self, header: Node, totals: _Totals, place: str) -> None:
        """The bank's own control totals (TxsSummry) hold for all entries, or for those that are booked."""
        for element, wanted in (("TtlNtries", None), ("TtlCdtNtries", True), ("TtlDbtNtries", False)):
            summary = _get(header, "TxsSummry", element)
            if summary is None:
                continue
            fitting = [
                (status, amount) for status, amount in totals.entries if wanted is None or (amount >= 0) is wanted
            ]
            choices = [fitting, [one for one in fitting if one[0] == "BOOK"]]
            choices.append([one for one in fitting if one[0] != "INFO"])
            count = _str(summary, "NbOfNtries")
            if count is not None and count.isdigit() and int(count) not in {len(choice) for choice in choices}:
                raise UnusableFileError(
                    self.content.name, place, f"{element} counts {count} entries, there are {len(fitting)}"
                )
            total = _decimal(_str(summary, "Sum"))
            if total is not None and total not in {
                sum((abs(one[1]) for one in choice), Decimal(0)) for choice in choices
            }:
                there = sum((abs(one[1]) for one in fitting), Decimal(0))
                raise UnusableFileError(
                    self.content.name, place, f"{element} sums up to {total}, the entries to {there}"
                )


@dataclass(frozen=True, slots=True)
class _Balance:
    code: str
    currency: str
    amount: Decimal
    day: str


def _pair(balances: list[_Balance]) -> tuple[Decimal | None, Decimal | None]:
    """Opening and closing. A page within a statement has interim ones (ITBD) in their place."""
    opening = next((one.amount for code in _OPENING for one in balances if one.code == code), None)
    closing = next((one.amount for one in reversed(balances) if one.code == _CLOSING), None)
    interim = [one.amount for one in balances if one.code == _INTERIM]
    if opening is None and interim and (closing is not None or len(interim) > 1):
        opening = interim[0]
    if closing is None and interim and (opening is not None):
        closing = interim[-1]
    return opening, closing


def _more_pages(header: Node) -> bool:
    last = (
        _str(header, "StmtPgntn", "LastPgInd")
        or _str(header, "RptPgntn", "LastPgInd")
        or _str(header, "NtfctnPgntn", "LastPgInd")
        or _str(header, "GrpHdr", "MsgPgntn", "LastPgInd")
        or "true"
    )
    return last not in _TRUE


def _alternatives(entry: Node, currency: str, signed: Decimal) -> dict[str, Decimal]:
    """The entry's amount in each currency that it says: its own, its counter value, its transaction and instruction."""
    found = {currency: signed}
    for kind in ("CntrValAmt", "TxAmt", "InstdAmt"):
        other = _decimal(_str(entry, "AmtDtls", kind, "Amt"))
        if other is not None:
            found.setdefault(_str(entry, "AmtDtls", kind, "Amt", "@Ccy") or "", other.copy_sign(signed))
    return found


def details(file: str, place: str, entry: Node) -> list[tuple[Node | None, Decimal]]:
    """The transactions of an entry with their signed amounts; the entry alone where it tells of none.

    Those of a batch must add up to the entry. Raises UnusableFileError.
    """
    amount = _decimal(_str(entry, "Amt"))
    total = _signed(amount, entry) if amount is not None else None
    if total is None:
        return []
    blocks = _list(entry, "NtryDtls")
    transactions = [one for block in blocks for one in _list(block, "TxDtls")]
    if not transactions:
        return [(None, total)]
    for block in blocks:
        counted, told = _str(block, "Btch", "NbOfTxs"), len(_list(block, "TxDtls"))
        if told and counted is not None and counted.isdigit() and int(counted) != told:
            raise UnusableFileError(
                file, place, f"a batch of {counted} transactions tells of {told}", "level: entry, if that is all"
            )
    if len(transactions) == 1:
        one = transactions[0]
        return [(one if isinstance(one, dict) else {}, total)]
    currency = _str(entry, "Amt", "@Ccy") or ""
    found: list[tuple[Node | None, Decimal]] = []
    for number, transaction in enumerate(transactions, start=1):
        part = _transaction_amount(transaction, currency)
        if part is None:
            raise UnusableFileError(
                file,
                place,
                f"transaction {number} of {len(transactions)} has no amount in {currency}, "
                "so the batch cannot be held against its entry",
                "level: entry",
            )
        marked = _signed(part, transaction)
        found.append((transaction, marked if marked is not None else part.copy_sign(total)))
    there = sum((one for _, one in found), Decimal(0))
    if there != total:
        raise UnusableFileError(
            file, place, f"the {len(found)} transactions of a batch add up to {there}, its entry is {total} {currency}"
        )
    return found


def _transaction_amount(transaction: Any, currency: str) -> Decimal | None:
    if not isinstance(transaction, dict):
        return None
    for way in (
        ("Amt",),
        ("AmtDtls", "TxAmt", "Amt"),
        ("AmtDtls", "CntrValAmt", "Amt"),
        ("AmtDtls", "InstdAmt", "Amt"),
    ):
        if _str(transaction, *way, "@Ccy") == currency:
            return _decimal(_str(transaction, *way))
    return None


class _Reading(_Walk):
    """The pass that gives the records."""

    def __init__(
        self,
        content: Content,
        options: FileOptions,
        check: _Check,
        first: list[bool],
        found: Findings,
        without: frozenset[StatementKey],
    ) -> None:
        super().__init__(content, options)
        self._check = check
        self._first = first
        self._found = found
        self._without = without
        self._row = 0
        self._values: list[Node] = []
        self._numbers: list[int] = []
        self._elements: list[Any] = []

    def batches(self) -> Iterator[StatementRecords]:
        """Records in batches; an entry's transactions may make the last batch longer."""
        for number, element in self.entries():
            if element is None:
                continue
            self._entry(element, number)
            if len(self._values) >= BATCH_ROWS:
                yield self._batch()
        if self._values:
            yield self._batch()

    def _batch(self) -> StatementRecords:
        elements = self._elements
        records = StatementRecords(self._values, row_numbers(self._numbers), lambda index: _bytes(elements[index]))
        self._values, self._numbers, self._elements = [], [], []
        return records

    def _entry(self, element: Any, number: int) -> None:
        node = _node(element)
        entry: Node = node if isinstance(node, dict) else {}
        parts = (
            details(self.content.name, "", entry)
            if self.options.level == "details"
            else [(None, total)]
            if (total := _total(entry)) is not None
            else []
        )
        status = _entry_status(entry)
        statement = self._check.statements[number]
        wanted = self._first[number] and statement.key not in self._without
        header = self._check.headers[number]
        for transaction, amount in parts or [(None, None)]:
            self._row += 1
            if status == "INFO":
                self._found.skipped["entry for information (INFO)"] += 1
            elif not wanted:
                self._found.skipped["entry of a statement that is known already"] += 1
            elif status not in _STATUSES or amount is None:
                why = f"entry status {status!r} is none of BOOK, PDNG, INFO"
                self._found.rejects.append(
                    RejectedRow(self._row, why if amount is not None else "no amount", _bytes(element))
                )
            else:
                self._add(element, entry, header, status, transaction, amount)

    def _add(
        self, element: Any, entry: Node, header: Node, status: str, transaction: Node | None, amount: Decimal
    ) -> None:
        reversal = (_str(entry, "RvslInd") or "").lower() in _TRUE
        below = entry if transaction is None else transaction
        if self.options.level == "details" and transaction is None:
            below = {}
        values: Node = {
            **below,
            "Ntry": entry,
            "Stmt": header,
            self.container: header,
            "amount": format(amount, "f"),
            "currency": _str(entry, "Amt", "@Ccy"),
            "status": "REVERSED" if reversal and status == "BOOK" else _STATUSES[status],
            "event_time": _day(entry, "BookgDt") or _day(entry, "ValDt"),
        }
        self._values.append(values)
        self._numbers.append(self._row)
        self._elements.append(element)


def _total(entry: Node) -> Decimal | None:
    amount = _decimal(_str(entry, "Amt"))
    return _signed(amount, entry) if amount is not None else None


def _bytes(element: Any) -> bytes:
    text: bytes = etree.tostring(element, encoding="utf-8", with_tail=False)
    return text
