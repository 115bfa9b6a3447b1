"""xlsx: exact digits, dates, errors, sheets."""

from __future__ import annotations

import io

import pytest
from python_calamine import CalamineWorkbook

from sources.files.errors import UnusableFileError
from tests.sources.files.samples import column, opened, reasons, rows, text_row, xlsx


def sheet(*cells: str) -> dict[str, str]:
    """A sheet with a heading of letters, and one row of cells."""
    heads = text_row(1, *(chr(97 + at) for at in range(len(cells))))
    return {"S": heads + '<row r="2">' + "".join(cells) + "</row>"}


def values(content: bytes, **options) -> list[str | None]:
    file = opened(content, "xlsx", **options)
    batch = next(iter(file.batches()))
    return [batch.text(path)[0] for path in batch.paths()]


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("12.5", "12.5"),
        ("0.30000000000000004", "0.3"),
        ("1234.5600000000001", "1234.56"),
        ("1234567890123456789", "1234567890123456789"),
        ("1E-7", "0.0000001"),
        ("1.2345678901234501E+18", "1234567890123450100"),
        ("-0.05", "-0.05"),
        ("100", "100"),
        ("1E3", "1000"),
        ("0", "0"),
    ],
)
def test_numbers_are_exact_as_they_are_shown(stored: str, shown: str):
    file = opened(xlsx(sheet(f"<c><v>{stored}</v></c>")), "xlsx")
    assert column(file, "a") == [shown]
    assert next(iter(file.batches())).kind("a").to_list() == ["number"]


@pytest.mark.parametrize(
    ("style", "stored", "shown"),
    [
        (1, "45000", "2023-03-15"),
        (2, "45000.75", "2023-03-15T18:00:00"),
        (2, "45000.000011574", "2023-03-15T00:00:01"),
        (1, "45000.5", "2023-03-15T12:00:00"),
        (3, "0.5", "12:00:00"),
        (1, "1", "1900-01-01"),
        (1, "61", "1900-03-01"),
        (1, "60", "60"),
        (1, "-1", "-1"),
    ],
)
def test_dates_and_times(style: int, stored: str, shown: str):
    content = xlsx(sheet(f'<c s="{style}"><v>{stored}</v></c>'))
    assert values(content) == [shown]


def test_a_workbook_that_counts_from_1904():
    assert values(xlsx(sheet('<c s="1"><v>0</v></c>'), date1904=True)) == ["1904-01-01"]


@pytest.mark.parametrize(
    ("code", "stored", "shown"),
    [
        ("dd/mm/yyyy", "45000", "2023-03-15"),
        ("[$-409]d\\-mmm\\-yy;@", "45000", "2023-03-15"),
        ("yyyy-mm-dd hh:mm", "45000.25", "2023-03-15T06:00:00"),
        ("[h]:mm:ss", "1.5", "36:00:00"),
        ("#,##0.00 [$€-407]", "45000", "45000"),
        ("0.00&quot;days&quot;", "3", "3"),
        ("[Red]0.00", "3.5", "3.5"),
    ],
)
def test_own_formats_are_dates_by_their_letters(code: str, stored: str, shown: str):
    assert values(xlsx(sheet(f'<c s="4"><v>{stored}</v></c>'), own_format=code)) == [shown]


def test_texts_booleans_and_runs():
    cells = (
        '<c t="s"><v>1</v></c>',
        '<c t="b"><v>1</v></c>',
        '<c t="str"><f>A1</f><v>0012</v></c>',
        '<c t="inlineStr"><is><r><t>a</t></r><r><t>b</t></r><rPh><t>x</t></rPh></is></c>',
        "<c><v></v></c>",
        '<c t="d"><v>2024-03-01</v></c>',
    )
    assert values(xlsx(sheet(*cells), shared="<si><t>no</t></si><si><t>yes</t></si>")) == [
        "yes",
        "true",
        "0012",
        "ab",
        None,
        "2024-03-01",
    ]


def test_a_cell_in_error_is_a_reject_where_it_matters():
    rows_ = text_row(1, "id", "amount", "note") + text_row(2, "A", "1.00")
    rows_ += '<row r="3"><c t="str"><v>B</v></c><c t="e"><v>#N/A</v></c></row>'
    rows_ += '<row r="4"><c t="str"><v>C</v></c><c><v>2</v></c><c t="e"><v>#REF!</v></c></row>'
    content = xlsx({"S": rows_})
    file = opened(content, "xlsx", paths=frozenset({"id", "amount"}))
    assert column(file, "id") == ["A", "C"]
    assert rows(file) == [2, 4]
    assert reasons(file) == [(3, "cell B3 (amount) is in error: #N/A")]
    assert len(reasons(opened(content, "xlsx"))) == 2


def test_sheets_by_name_and_number():
    content = xlsx({"First": text_row(1, "a") + text_row(2, "1"), "März": text_row(1, "a") + text_row(2, "2")})
    assert column(opened(content, "xlsx"), "a") == ["1"]
    assert column(opened(content, "xlsx", sheet=1), "a") == ["2"]
    assert column(opened(content, "xlsx", sheet="März"), "a") == ["2"]
    with pytest.raises(UnusableFileError, match="has no sheet 'May'; one of 'First', 'März'"):
        opened(content, "xlsx", sheet="May")
    with pytest.raises(UnusableFileError, match="has no sheet 2; 0 to 1"):
        opened(content, "xlsx", sheet=2)


def test_preamble_footer_and_empty_rows():
    lines = (
        text_row(1, "Bank report")
        + text_row(4, "id", "", "amount")
        + text_row(6, "A", "", "1")
        + text_row(7, "B", "", "2")
    )
    content = xlsx({"S": lines + text_row(9, "Total", "", "3")})
    file = opened(content, "xlsx", skip_rows=2, footer=1)
    assert column(file, "id") == ["A", "B"]
    assert column(file, "amount") == ["1", "2"]
    assert column(file, "#1") == [None, None]
    assert rows(file) == [6, 7]


def test_columns_by_number_without_a_heading():
    file = opened(xlsx({"S": text_row(1, "A", "1") + text_row(2, "B", "2")}), "xlsx", heading=False)
    assert column(file, "#0") == ["A", "B"]
    assert column(file, "#1") == ["1", "2"]


def test_two_columns_of_one_name_are_refused():
    content = xlsx({"S": text_row(1, "id", "id") + text_row(2, "A", "B")})
    with pytest.raises(UnusableFileError, match="two columns are headed 'id'; column: N"):
        opened(content, "xlsx")
    assert column(opened(content, "xlsx", paths=frozenset({"#1"})), "#1") == ["B"]


def test_what_is_no_workbook_is_named():
    with pytest.raises(UnusableFileError, match="is an old or encrypted workbook"):
        opened(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "xlsx")
    with pytest.raises(UnusableFileError, match="is text, configured is xlsx"):
        opened(b"id,amount\nA,1\n", "xlsx")
    with pytest.raises(UnusableFileError, match="is a workbook"):
        opened(xlsx({"S": text_row(1, "a")}), "fixed")


def test_plain_cells_are_what_another_reader_sees():
    lines = text_row(1, "id", "amount") + '<row r="2"><c t="str"><v>X</v></c><c><v>12.75</v></c></row>'
    content = xlsx({"S": lines})
    other = CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0).to_python()
    assert other == [["id", "amount"], ["X", 12.75]]
    assert values(content) == ["X", "12.75"]
