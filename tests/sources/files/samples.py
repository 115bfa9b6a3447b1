"""Small files of every format, written for these tests, and how to read them."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from decimal import Decimal
from functools import partial

from sources.config.models import Amount, Fields, Time, Value
from sources.files.opened import OpenedFile
from sources.files.opening import open_file
from sources.files.options import FileOptions, Place
from sources.mapping.amounts import written

SPREADSHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def opened(content: bytes, format_: str, name: str = "file", **options) -> OpenedFile:
    return open_file(content, name, replace(FileOptions(format=format_), **options))


def amounts_at(place: Place) -> partial[list[Decimal | None]]:
    """How the amounts at a place are read, in euros."""
    fields = Fields(
        txn_id=Value(const="any"),
        amount=Amount(Value((place,)), "major"),
        currency=Value(const="EUR"),
        status=Value(const="SUCCESS"),
        event_time=Time(Value(const="any")),
    )
    return partial(written, fields=fields)


def column(file: OpenedFile, path: str) -> list[str | None]:
    return [text for batch in file.batches() for text in batch.text(path).to_list()]


def rows(file: OpenedFile) -> list[int]:
    return [row for batch in file.batches() for row in batch.rows.to_list()]


def reasons(file: OpenedFile) -> list[tuple[int, str]]:
    for _ in file.batches():
        pass
    return [(reject.row, reject.reason) for reject in file.rejects]


def xlsx(sheets: dict[str, str], *, shared: str = "", date1904: bool = False, own_format: str = "") -> bytes:
    """A workbook; each sheet is the XML of its rows. Cell styles: 0 general, 1 date, 2 date and time, 3 time, 4 own."""
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    names = enumerate(sheets, start=1)
    listed = "".join(f'<sheet name="{name}" sheetId="{at}" r:id="r{at}"/>' for at, name in names)
    targets = "".join(
        f'<Relationship Id="r{at}" Type="{RELATIONS}/worksheet" Target="worksheets/s{at}.xml"/>'
        for at in range(1, len(sheets) + 1)
    )
    own = f'<numFmts><numFmt numFmtId="170" formatCode="{own_format}"/></numFmts>' if own_format else ""
    styles = "".join(f'<xf numFmtId="{number}"/>' for number in (0, 14, 22, 20, 170 if own_format else 0))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", f'{head}<Types xmlns="{PACKAGE}/content-types"/>')
        archive.writestr(
            "_rels/.rels",
            f'{head}<Relationships xmlns="{PACKAGE}/relationships">'
            f'<Relationship Id="r1" Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/workbook.xml",
            f'{head}<workbook xmlns="{SPREADSHEET}" xmlns:r="{RELATIONS}"><workbookPr date1904="{int(date1904)}"/>'
            f"<sheets>{listed}</sheets></workbook>",
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'{head}<Relationships xmlns="{PACKAGE}/relationships">{targets}</Relationships>',
        )
        archive.writestr(
            "xl/styles.xml", f'{head}<styleSheet xmlns="{SPREADSHEET}">{own}<cellXfs>{styles}</cellXfs></styleSheet>'
        )
        if shared:
            archive.writestr("xl/sharedStrings.xml", f'{head}<sst xmlns="{SPREADSHEET}">{shared}</sst>')
        for at, content in enumerate(sheets.values(), start=1):
            archive.writestr(
                f"xl/worksheets/s{at}.xml",
                f'{head}<worksheet xmlns="{SPREADSHEET}"><sheetData>{content}</sheetData></worksheet>',
            )
    return out.getvalue()


def text_row(number: int, *texts: str) -> str:
    """A row of a sheet with texts from column A on; an empty text is no cell."""
    cells = "".join(
        f'<c r="{chr(65 + at)}{number}" t="inlineStr"><is><t>{text}</t></is></c>'
        for at, text in enumerate(texts)
        if text
    )
    return f'<row r="{number}">{cells}</row>'


def amount(value: str, currency: str = "EUR") -> str:
    return f'<Amt Ccy="{currency}">{value}</Amt>'


def balance(code: str, value: str, mark: str = "CRDT", day: str = "2024-03-01", currency: str = "EUR") -> str:
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>{amount(value, currency)}"
        f"<CdtDbtInd>{mark}</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>"
    )


def entry(
    value: str,
    mark: str = "CRDT",
    status: str = "<Sts>BOOK</Sts>",
    *,
    more: str = "",
    details: str = "",
    ccy: str = "EUR",
) -> str:
    inside = f"<NtryDtls>{details}</NtryDtls>" if details else ""
    return (
        f"<Ntry>{amount(value, ccy)}<CdtDbtInd>{mark}</CdtDbtInd>{more}{status}<BookgDt><Dt>2024-03-02</Dt></BookgDt>"
        f"<ValDt><Dt>2024-03-04</Dt></ValDt><AcctSvcrRef>B-{value}</AcctSvcrRef>{inside}</Ntry>"
    )


def transaction(value: str, end_to_end: str, mark: str = "", currency: str = "EUR") -> str:
    marked = f"<CdtDbtInd>{mark}</CdtDbtInd>" if mark else ""
    return f"<TxDtls><Refs><EndToEndId>{end_to_end}</EndToEndId></Refs>{amount(value, currency)}{marked}</TxDtls>"


def camt(
    *parts: str,
    kind: str = "053",
    version: str = "08",
    id_: str = "S1",
    number: str = "7",
    account: str = "DE02120300000000202051",
    more: str = "",
) -> bytes:
    message, container = {
        "053": ("BkToCstmrStmt", "Stmt"),
        "052": ("BkToCstmrAcctRpt", "Rpt"),
        "054": ("BkToCstmrDbtCdtNtfctn", "Ntfctn"),
    }[kind]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.{kind}.001.{version}"><{message}>'
        "<GrpHdr><MsgId>M1</MsgId><CreDtTm>2024-03-02T20:00:00</CreDtTm></GrpHdr>"
        f"<{container}><Id>{id_}</Id><ElctrncSeqNb>{number}</ElctrncSeqNb><CreDtTm>2024-03-02T20:00:00</CreDtTm>"
        f"<Acct><Id><IBAN>{account}</IBAN></Id><Ccy>EUR</Ccy></Acct>{''.join(parts)}</{container}>{more}</{message}></Document>"
    ).encode()


def mt940(*entries: str, opening: str = "C240301EUR100,00", closing: str, number: str = "00012/001") -> bytes:
    fields = [":20:REF1", ":25:12030000/202051", f":28C:{number}", f":60F:{opening}", *entries, f":62F:{closing}", "-"]
    return "\r\n".join(fields).encode() + b"\r\n"


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return out.getvalue()
