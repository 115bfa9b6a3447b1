"""`recon match --config` on files that are not what one expects: nothing is lost, nothing is guessed."""

from __future__ import annotations

import json
import textwrap

import pytest
from typer.testing import CliRunner

from cluster.cli import build
from tests.sources.files.samples import text_row, xlsx, zipped

FIELDS = (
    "fields: {txn_id: {path: id}, amount: {path: amt, unit: major}, currency: {path: ccy, default: EUR}, "
    "status: {const: SUCCESS}, event_time: {path: at, zone: UTC}}"
)
AT = "2026-03-01T12:00:00Z"
HEAD = """
version: 1
reconciliations:
  r:
    sources:
      BOOK:
        path: book.csv
        format: csv
        fields: {txn_id: {path: id}, amount: {path: amt, unit: major}, currency: {const: EUR}, status: {const: SUCCESS},
                 event_time: {path: at}}
      S:
"""


class Outcome:
    """What came of one run: S's legs by transaction id, rejects as (row, reason), warnings, and what was said."""

    def __init__(self, folder, done):
        self.exit_code, self.stderr = done.exit_code, done.stderr
        self.legs, self.rejects, self.warnings, self.skipped = {}, [], [], {}
        if done.exit_code == 2:
            return
        told = json.loads(done.stdout)
        self.warnings, self.skipped = told["warnings"], told["skipped"]
        for row in map(json.loads, (folder / "out.jsonl").read_text().splitlines()):
            if row["s_status"] is not None:
                self.legs[row["txn_id"]] = row["s_amount_minor"], row["s_currency"], row["s_event_time"]
        if (folder / "rejects.jsonl").exists():
            rejects = map(json.loads, (folder / "rejects.jsonl").read_text().splitlines())
            self.rejects = [(one["line"], one["reason"]) for one in rejects]

    @property
    def amounts(self):
        return {txn_id: amount for txn_id, (amount, _, _) in self.legs.items()}


@pytest.fixture
def reconciled(tmp_path, monkeypatch):
    def run(source, *, fields=FIELDS, **files):
        monkeypatch.chdir(tmp_path)
        body = textwrap.indent(f"{textwrap.dedent(source).strip()}\n{textwrap.dedent(fields).strip()}\n", " " * 8)
        (tmp_path / "recon.yaml").write_text(HEAD + body)
        (tmp_path / "book.csv").write_text(f"id,amt,at\nOTHER,1,{AT}\n")
        for name, content in files.items():
            path = tmp_path / name.replace("__", ".")
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        arguments = ["match", "--config", "recon.yaml", "--out", "out.jsonl", "--json"]
        return Outcome(tmp_path, CliRunner().invoke(build("match"), arguments, catch_exceptions=False))

    return run


CSV = "path: s.csv\nformat: csv"


def test_lines_that_end_in_a_carriage_return_alone_are_lines(reconciled):
    assert reconciled(CSV, s__csv=f"id,amt,ccy,at\rA,1,,{AT}\rB,2,,{AT}\r").amounts == {"A": 100, "B": 200}


def test_lines_of_utf_16_that_end_in_a_carriage_return_alone_are_lines(reconciled):
    text = f"id,amt,ccy,at\rA,1,,{AT}\r".encode("utf-16")
    assert reconciled(CSV + "\nencoding: utf-16", s__csv=text).amounts == {"A": 100}


def test_a_file_without_rows_is_warned_of(reconciled):
    done = reconciled(CSV, s__csv="id,amt,ccy,at\n")
    assert done.exit_code == 1
    assert done.warnings == ["s.csv has no rows"]


@pytest.mark.parametrize("rows", ["", "A,1,,x,y\n"], ids=["none", "none-that-fits"])
def test_a_heading_must_have_what_the_mapping_reads_whatever_the_rows_are(reconciled, rows):
    done = reconciled(CSV, s__csv="ID,amt,ccy,at\n" + rows)
    assert done.exit_code == 2
    assert "path 'id': no such column; there are ID, amt, ccy, at" in done.stderr


def test_an_id_of_blanks_joins_nothing(reconciled):
    done = reconciled(CSV, s__csv=f'id,amt,ccy,at\n"  ",1,,{AT}\nA,1,,{AT}\n')
    assert done.amounts == {"A": 100}
    assert done.rejects == [(2, "txn_id: has nothing but blanks; say trim: true")]


@pytest.mark.parametrize("heading", ["Ref.No.", "[id]", "a..b", "id[", ".id"])
def test_a_heading_may_be_any_text(reconciled, heading):
    fields = FIELDS.replace("{path: id}", f'{{path: "{heading}"}}')
    assert reconciled(CSV, fields=fields, s__csv=f"{heading},amt,ccy,at\nA,1,,{AT}\n").amounts == {"A": 100}


def test_a_path_into_nested_records_must_lead_there(reconciled):
    fields = FIELDS.replace("{path: id}", "{path: [a..b, c]}")
    done = reconciled("path: s.jsonl\nformat: jsonl", fields=fields, s__jsonl="{}")
    assert done.exit_code == 2
    assert "fields.txn_id.path[0]: a name is missing after the dot" in done.stderr


@pytest.mark.parametrize("pattern", [r"(\d{,3})", r"(\w+\Z)", "(?P<a>x)(?#y)", "(?:a{1000}){1000}(b{1000})"])
def test_an_expression_must_be_one_that_the_mapping_understands(reconciled, pattern):
    fields = FIELDS.replace("{path: id}", f"{{path: id, extract: '{pattern}'}}")
    done = reconciled(CSV, fields=fields, s__csv=f"id,amt,ccy,at\nA,1,,{AT}\n")
    assert done.exit_code == 2
    assert "recon.yaml:13" in done.stderr.replace("recon.yaml:14", "recon.yaml:13")
    assert "extract: is no regular expression of the kind that is understood" in done.stderr


def test_a_currency_of_digits_may_have_lost_its_zeros(reconciled):
    done = reconciled(CSV, s__csv=f"id,amt,ccy,at\nA,1,36,{AT}\nB,1,036,{AT}\nC,1,978,{AT}\nD,1,8,{AT}\nE,1,99,{AT}\n")
    assert {txn_id: leg[1] for txn_id, leg in done.legs.items()} == {"A": "AUD", "B": "AUD", "C": "EUR", "D": "ALL"}
    assert done.rejects == [(6, "currency: '99' is no currency of ISO 4217")]


def test_a_time_that_cannot_be_is_shown_as_a_time(reconciled):
    fields = FIELDS.replace("{path: at, zone: UTC}", "{path: at, format: epoch_ms}")
    done = reconciled(CSV, fields=fields, s__csv="id,amt,ccy,at\nA,1,,1772366400\n")
    assert done.rejects == [
        (2, "event_time: 1970-01-21T12:19:26.400Z is before 2000 or more than a day ahead of its arrival")
    ]


KINDS = """
path: s.csv
format: csv
heading: false
negative: true
records: {type: {column: 0}, data: [D], control: {type: [T], count: {column: 1}, sum: {column: 2}}}
"""
COLUMNS = (
    "fields: {{txn_id: {{column: 1}}, amount: {{unit: major, {amount}}}, currency: {{const: EUR}}, "
    "status: {{const: SUCCESS}}, event_time: {{column: 3}}}}"
)


@pytest.mark.parametrize(
    ("amount", "rows", "amounts"),
    [
        pytest.param("column: 2", ["1.50", "2.50"], {"A": 150, "B": 250}, id="plain"),
        pytest.param("column: 2, sign: invert", ["1.50", "2.50"], {"A": -150, "B": -250}, id="sign-is-ours"),
        pytest.param("column: 2", ["EUR 1.50", "€2.50"], {"A": 150, "B": 250}, id="currency-beside"),
        pytest.param("column: 2, extract: '=(.*)'", ["a=1.50", "a=2.50"], {"A": 150, "B": 250}, id="extract"),
        pytest.param("column: 2, decimal: ',', group: '.'", ["0,50", "1.003,50"], {"A": 50, "B": 100350}, id="comma"),
    ],
)
def test_a_control_sum_is_of_amounts_as_the_mapping_reads_them(reconciled, amount, rows, amounts):
    total = "1.004,00" if "decimal" in amount else "EUR 4.00"
    text = f'D,A,"{rows[0]}",{AT}\nD,B,"{rows[1]}",{AT}\nT,2,"{total}"\n'
    assert reconciled(KINDS, fields=COLUMNS.format(amount=amount), s__csv=text).amounts == amounts
    wrong = reconciled(KINDS, fields=COLUMNS.format(amount=amount), s__csv=text.replace("T,2", "T,3"))
    assert "counts 3 rows, there are 2" in wrong.stderr


@pytest.mark.parametrize("total", ["-1.00", "4.00"], ids=["net", "hash"])
@pytest.mark.parametrize(
    ("amount", "rows"),
    [
        ("column: 2, indicator: {column: 4, debit: [D]}", [f"A,1.50,{AT},C", f"B,2.50,{AT},D"]),
        ("credit: {column: 2}, debit: {column: 4}", [f"A,1.50,{AT},", f"B,,{AT},2.50"]),
    ],
    ids=["indicator", "two-columns"],
)
def test_a_control_sum_holds_net_or_as_a_hash_total(reconciled, total, amount, rows):
    text = "".join(f"D,{row}\n" for row in rows)
    done = reconciled(KINDS, fields=COLUMNS.format(amount=amount), s__csv=f"{text}T,2,{total}\n")
    assert done.amounts == {"A": 150, "B": -250}
    done = reconciled(KINDS, fields=COLUMNS.format(amount=amount), s__csv=f"{text}T,2,1.00\n")
    assert (done.exit_code, "the rows to -1.00" in done.stderr) == (2, True)


def test_a_control_count_says_that_rows_could_not_be_read(reconciled):
    text = f'D,A,1.50,{AT}\nD,"B,2.50,{AT}\nT,2,4.00\n'
    done = reconciled(KINDS, fields=COLUMNS.format(amount="column: 2"), s__csv=text)
    assert "counts 2 rows, there are 1, and 1 that cannot be read" in done.stderr


def test_what_a_desktop_puts_into_an_archive_is_no_member_of_it(reconciled):
    rows = f"id,amt,ccy,at\nA,1,,{AT}\n".encode()
    members = {"a.csv": rows, ".DS_Store": b"\0\0\1Bud1", "sub/Thumbs.db": b"x", "sub/desktop.ini": b"x"}
    assert reconciled("path: s.zip\nformat: csv", s__zip=zipped(**members)).amounts == {"A": 100}


def test_a_file_that_is_in_an_archive_twice_is_read_once(reconciled):
    rows, other = (f"id,amt,ccy,at\n{name},1,,{AT}\n".encode() for name in "AB")
    done = reconciled("path: s.zip\nformat: csv", s__zip=zipped(a__csv=rows, b__csv=other, c__csv=rows))
    assert done.amounts == {"A": 100, "B": 100}
    assert done.warnings == ["s.zip/c.csv has the content of s.zip/a.csv and was not read again"]


def cell(place, value, kind="", style="", formula=""):
    inside = (f"<f>{formula}</f>" if formula else "") + ("" if value is None else f"<v>{value}</v>")
    marks = (f' t="{kind}"' if kind else "") + (f' s="{style}"' if style else "")
    return f'<c r="{place}"{marks}>{inside}</c>'


def workbook(*rows):
    lines = [text_row(1, "id", "amt", "ccy", "at")]
    lines += [f'<row r="{number}">{"".join(cells)}</row>' for number, cells in enumerate(rows, 2)]
    return xlsx({"S": "".join(lines)})


XLSX = "path: s.xlsx\nformat: xlsx"


def test_a_formula_that_was_never_calculated_is_a_reject_and_no_empty_cell(reconciled):
    fields = FIELDS.replace("{path: id}", "{path: [id, ccy]}")
    rows = [cell("A2", None, formula="X1"), cell("B2", "5"), cell("C2", "EUR", "str"), cell("D2", AT, "str")]
    empty = [cell("A3", "", "str", formula="X1"), cell("B3", "5"), cell("C3", "EUR", "str"), cell("D3", AT, "str")]
    done = reconciled(XLSX, fields=fields, s__xlsx=workbook(rows, empty))
    assert done.amounts == {"EUR": 500}
    ((row, reason),) = done.rejects
    assert (row, "cell A2 (id) is in error: a formula that was never calculated" in reason) == (2, True)


def test_escapes_of_a_workbooks_texts_are_the_characters(reconciled):
    rows = [[cell(f"A{at}", text, "str"), cell(f"B{at}", "5"), cell(f"D{at}", AT, "str")] for at, text in
            enumerate(["A_x0042_", "C_x005F_x0042_"], 2)]  # fmt: skip
    assert reconciled(XLSX, s__xlsx=workbook(*rows)).amounts == {"AB": 500, "C_x0042_": 500}


@pytest.mark.parametrize("pattern", ["%d.%m.%Y", "%Y-%d-%m"])
def test_a_date_cell_is_a_date_whatever_the_texts_beside_it_look_like(reconciled, pattern):
    fields = FIELDS.replace("{path: at, zone: UTC}", f"{{path: at, format: '{pattern}', date_only: true, zone: UTC}}")
    text = {"%d.%m.%Y": "05.03.2026", "%Y-%d-%m": "2026-05-03"}[pattern]
    dated = [cell("A2", "A", "str"), cell("B2", "5"), cell("D2", "46082", style="1")]
    written = [cell("A3", "B", "str"), cell("B3", "5"), cell("D3", text, "str")]
    done = reconciled(XLSX, fields=fields, s__xlsx=workbook(dated, written))
    assert {txn_id: leg[2] for txn_id, leg in done.legs.items()} == {
        "A": "2026-03-01T00:00:00.000Z",
        "B": "2026-03-05T00:00:00.000Z",
    }


def test_a_file_as_the_view_of_two_sources_is_refused(reconciled):
    done = reconciled("path: '*.csv'\nformat: csv", s__csv=f"id,amt,ccy,at\nA,1,,{AT}\n")
    assert done.exit_code == 2
    assert "book.csv is read as BOOK and as S; a file agrees with itself" in done.stderr


def test_a_copy_of_another_sources_file_is_warned_of(reconciled):
    fields = FIELDS.replace("{path: ccy, default: EUR}", "{const: EUR}")
    done = reconciled(CSV, fields=fields, s__csv=f"id,amt,at\nOTHER,1,{AT}\n")
    assert done.warnings == ["s.csv of S has the content of book.csv of BOOK: it proves nothing"]


def test_two_sheets_of_a_workbook_are_two_sources(tmp_path):
    rows = text_row(1, "id", "amt", "at") + text_row(2, "A", "1", AT)
    (tmp_path / "both.xlsx").write_bytes(xlsx({"one": rows, "two": rows.replace(">1<", ">2<")}))
    source = (
        f"{{path: both.xlsx, format: xlsx, sheet: %s, {FIELDS.replace('{path: ccy, default: EUR}', '{const: EUR}')}}}"
    )
    text = "version: 1\nreconciliations:\n  r:\n    sources:\n" + "".join(
        f"      {name}: {source % name}\n" for name in ("one", "two")
    )
    (tmp_path / "recon.yaml").write_text(text)
    arguments = ["match", "--config", str(tmp_path / "recon.yaml"), "--json", "--rejects", str(tmp_path / "rejects")]
    done = CliRunner().invoke(build("match"), arguments, catch_exceptions=False)
    assert json.loads(done.stdout)["breaks"] == {"AMOUNT": 1}
