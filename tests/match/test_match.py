"""`recon match` end to end on small files: the verdicts, the outputs, and that no row is ever lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cluster.cli import build
from cluster.cli.exit_codes import ExitCode
from cluster.files.reading import ColumnMap, RejectedRow, Row, UnusableFileError, read_rows
from cluster.files.reconcile import SourceFile, reconcile
from cluster.files.report import summarize, to_markdown
from schemas.rules import RuleSet

HEADING = "txn_id,amount,currency,status,event_time\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        return CliRunner().invoke(build("match"), ["match", *map(str, arguments)])

    return call


def files(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(HEADING + "".join(f"{line}\n" for line in text), encoding="utf-8")
    return [folder / f"{name}.csv" for name in texts]


def line(txn_id, amount="10.00", currency="EUR", status="SUCCESS", time="2026-11-24T12:00:00Z"):
    return f"{txn_id},{amount},{currency},{status},{time}"


AGREED = [line("T1"), line("T2", "1500", "JPY"), line("T3", "1.234", "KWD")]


def test_files_that_agree_exit_with_0(run, tmp_path):
    result = run(*files(tmp_path, core=AGREED, gateway=AGREED, mobile=AGREED))
    assert result.exit_code == ExitCode.OK, result.output
    assert "3 matched (100.00 %)" in result.output
    assert not (tmp_path / "rejects.jsonl").exists()


def test_of_several_files_of_a_source_the_later_one_has_the_leg(run, tmp_path):
    core, first, second = files(
        tmp_path,
        core=[line("T1")],
        gateway_first=[*(line(f"R{number}") for number in range(40)), line("T1", amount="1.00")],
        gateway_second=[line("T1", amount="9.00")],
    )
    run(core, first, second, "--out", "results.jsonl")
    rows = map(json.loads, (tmp_path / "results.jsonl").read_text().splitlines())
    (row,) = [row for row in rows if row["txn_id"] == "T1"]
    assert (row["breaks"], row["gateway_amount_minor"]) == (["CONFLICT", "AMOUNT"], 900)


def test_each_kind_of_break_is_found(run, tmp_path):
    rows = {f"T{number}": line(f"T{number}") for number in range(8)}
    gateway = dict(rows)
    gateway["T1"] = line("T1", amount="10.01")
    gateway["T2"] = line("T2", currency="USD")
    gateway["T3"] = line("T3", status="FAILED")
    gateway["T4"] = line("T4", time="2026-11-24T12:00:05.001Z")
    gateway["T6"] = line("T6", time="2026-11-24T12:00:31Z")
    del gateway["T5"]
    paths = files(tmp_path, core=[*rows.values(), line("T7")], gateway=gateway.values(), mobile=rows.values())
    result = run(*paths, "--out", "results.jsonl", "--json")
    assert result.exit_code == ExitCode.FINDING, result.output
    figures = json.loads(result.output)
    assert figures["breaks"] == {
        "AMOUNT": 1,
        "CURRENCY": 1,
        "STATUS": 1,
        "TIMESTAMP": 2,
        "MISSING": 1,
        "DUPLICATE": 1,
    }
    assert figures["missing"] == {"GATEWAY": 1}
    by_id = {row["txn_id"]: row for row in map(json.loads, (tmp_path / "results.jsonl").read_text().splitlines())}
    assert by_id["T0"]["verdict"] == "MATCHED"
    assert by_id["T1"]["breaks"] == ["AMOUNT"]
    assert by_id["T1"]["spread_minor"] == 1
    assert by_id["T5"]["gateway_amount_minor"] is None
    assert by_id["T6"]["late_sources"] == ["GATEWAY"]
    assert by_id["T7"]["breaks"] == ["DUPLICATE"]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_results_are_written_in_the_format_of_the_suffix(run, tmp_path, suffix):
    paths = files(tmp_path, core=AGREED, gateway=AGREED, mobile=AGREED[:2])
    result = run(*paths, "--out", f"out/results.{suffix}")
    assert result.exit_code == ExitCode.FINDING, result.output
    path = tmp_path / "out" / f"results.{suffix}"
    read = {"parquet": pl.read_parquet, "csv": pl.read_csv, "jsonl": pl.read_ndjson}[suffix]
    frame = read(path)
    assert frame["txn_id"].to_list() == ["T1", "T2", "T3"]
    assert frame["verdict"].to_list() == ["MATCHED", "MATCHED", "MISMATCHED"]
    assert frame["core_amount_minor"].to_list() == [1000, 1500, 1234]


def test_columns_can_be_named_for_all_files_or_for_one(run, tmp_path):
    (tmp_path / "core.csv").write_text("ref;cents;ccy;state;at\nT1;1000;EUR;OK;1795521600\n", encoding="utf-8")
    (tmp_path / "gateway.csv").write_text("id,total,ccy,state,at\nT1,10.00,EUR,CLEARED,1795521600\n", encoding="utf-8")
    options = [
        *("--map", "txn_id=ref", "--map", "amount_minor=cents", "--map", "currency=ccy", "--map", "status=state"),
        *("--map", "event_time=at", "--map", "GATEWAY:txn_id=id", "--time-unit", "s", "--status", "CLEARED=SUCCESS"),
    ]
    result = run("core.csv", "gateway.csv", *options, "--map", "GATEWAY:amount=total")
    assert result.exit_code == ExitCode.USAGE  # gateway.csv would have both, from the map for all and its own
    assert "not both" in result.output or "no column 'cents'" in result.output
    options[3] = "CORE:amount_minor=cents"
    result = run("core.csv", "gateway.csv", *options, "--map", "GATEWAY:amount=total")
    assert result.exit_code == ExitCode.OK, result.output


def test_any_number_of_sources_of_any_name(run, tmp_path):
    paths = files(tmp_path, a=AGREED, b=AGREED, c=AGREED, d=AGREED[:1])
    named = [word for name, path in zip("wxyz", paths, strict=True) for word in ("--source", f"{name}={path}")]
    result = run(*named, "--optional", "z", "--json")
    assert result.exit_code == ExitCode.OK, result.output
    assert json.loads(result.output)["rows"] == {"W": 3, "X": 3, "Y": 3, "Z": 1}


def test_tolerances_are_applied(run, tmp_path):
    other = [line("T1", "10.05"), line("T2", "1515", "JPY"), line("T3", "1.235", "KWD")]
    paths = files(tmp_path, core=AGREED, gateway=other, mobile=AGREED)
    assert run(*paths).exit_code == ExitCode.FINDING
    options = ["--tolerance", "EUR=5", "--tolerance", "JPY=100bp", "--tolerance", "1"]
    assert run(*paths, *options).exit_code == ExitCode.OK


def test_rejected_rows_are_kept_with_file_line_and_reason(run, tmp_path):
    bad = [line("T1"), line("T2", "ten"), "T3,1.00", line("", "1.00"), "T5,1.00,EUR,SUCCESS,never,more"]
    paths = files(tmp_path, core=bad, gateway=[line("T1")], mobile=[line("T1")])
    result = run(*paths, "--report", "report.md", "--rejects", "out/rejects.jsonl")
    assert result.exit_code == ExitCode.FINDING
    rejects = [json.loads(text) for text in (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()]
    assert [(one["file"], one["line"]) for one in rejects] == [("core.csv", number) for number in (3, 4, 5, 6)]
    assert "not a number in plain digits" in rejects[0]["reason"]
    assert "2 cells where the heading has 5" in rejects[1]["reason"]
    assert "txn_id is empty" in rejects[2]["reason"]
    assert rejects[3]["row"]["column 6"] == "more"
    assert "core.csv:3" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"T1,1.00,EUR,SUCCESS,2026-11-24\nT\xff2,1.00,EUR,SUCCESS,2026-11-24\n", "not UTF-8"),
        (b'T1,1.00,EUR,SUCCESS,2026-11-24\n"T2"x,1.00,EUR,SUCCESS,2026-11-24\n', "not CSV"),
        (b'T1,1.00,EUR,SUCCESS,2026-11-24\n"T2,1.00,EUR,SUCCESS,2026-11-24\n', "not CSV"),
    ],
    ids=["latin-1", "text-after-quote", "open-quote"],
)
def test_a_spoilt_line_does_not_spoil_the_file(tmp_path, content, reason):
    path = tmp_path / "core.csv"
    path.write_bytes(HEADING.encode() + content)
    first, second = read_rows(path, ColumnMap())
    assert isinstance(first, Row)
    assert isinstance(second, RejectedRow)
    assert reason in second.reason
    assert second.line == 3


def test_json_lines_keep_decimals_exact(tmp_path):
    path = tmp_path / "core.jsonl"
    path.write_text(
        '{"txn_id": "T1", "amount": 0.29, "currency": "EUR", "event_time": 1795521600000}\n'
        "\n"
        '{"txn_id": "T2", "amount": 1e400, "currency": "EUR", "event_time": 1795521600000}\n'
        "[1]\n"
        "{broken\n",
        encoding="utf-8",
    )
    rows = list(read_rows(path, ColumnMap()))
    assert rows[0].amount_minor == 29
    assert [(row.line, row.reason.split(":")[0]) for row in rows[1:]] == [
        (3, "amount '1E+400' is out of range"),
        (4, "not a JSON object"),
        (5, "not JSON"),
    ]


def test_parquet_takes_decimals_and_refuses_floats(tmp_path):
    moment = datetime(2026, 11, 24, 12, tzinfo=UTC)
    table = {"txn_id": ["T1"], "currency": ["EUR"], "event_time": [moment]}
    exact = pa.table({**table, "amount": pa.array([Decimal("12.30")], pa.decimal128(18, 2))})
    floating = pa.table({**table, "amount": pa.array([12.30], pa.float64())})
    pq.write_table(exact, tmp_path / "core.parquet")
    pq.write_table(floating, tmp_path / "gateway.parquet")
    (taken,) = read_rows(tmp_path / "core.parquet", ColumnMap())
    (refused,) = read_rows(tmp_path / "gateway.parquet", ColumnMap())
    assert (taken.amount_minor, taken.event_time) == (1230, 1_795_521_600_000)
    assert "floating-point" in refused.reason


def test_rows_with_the_same_event_id_count_once(tmp_path):
    text = "txn_id,event_id,amount,currency,event_time\n"
    (tmp_path / "core.csv").write_text(text + "T1,e1,1.00,EUR,2026-11-24\n" * 3, encoding="utf-8")
    (tmp_path / "gateway.csv").write_text(text + "T1,e1,1.00,EUR,2026-11-24\n", encoding="utf-8")
    chosen = [SourceFile("CORE", tmp_path / "core.csv"), SourceFile("GATEWAY", tmp_path / "gateway.csv")]
    outcome = reconcile(chosen, RuleSet())
    assert outcome.repeated == 2
    assert summarize(outcome).matched == 1


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("core.xlsx", b"PK", "is not one of"),
        ("core.csv", b"", "is empty"),
        ("core.csv", b"a,b\n1,2\n", "no column for txn_id, event_time"),
        ("core.parquet", b"not parquet", "core.parquet"),
        ("core.jsonl", b"\n", "no JSON object"),
    ],
    ids=["unknown-suffix", "empty", "no-columns", "no-parquet", "no-object"],
)
def test_a_file_that_cannot_be_read_is_named(run, tmp_path, name, content, why):
    (tmp_path / name).write_bytes(content)
    files(tmp_path, gateway=AGREED)
    result = run(name, "gateway.csv")
    assert result.exit_code == ExitCode.USAGE
    assert why in result.output.replace("\n", " ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["a.csv", "b.csv"],
        ["core.csv"],
        ["core.csv", "gateway.csv", "--map", "amont=x"],
        ["core.csv", "gateway.csv", "--out", "results.xlsx"],
        ["core.csv", "gateway.csv", "--status", "OK=FINE"],
        ["core.csv", "gateway.csv", "--tolerance", "EUR=x"],
        ["core.csv", "gateway.csv", "--time-unit", "h"],
        ["core.csv", "gateway.csv", "--optional", "RISK"],
        ["core.csv", "nowhere/gateway.csv"],
    ],
    ids=lambda arguments: " ".join(arguments)[-40:],
)
def test_wrong_usage_exits_with_2_and_writes_nothing(run, tmp_path, arguments):
    files(tmp_path, core=AGREED, gateway=AGREED)
    before = sorted(tmp_path.iterdir())
    assert run(*arguments).exit_code == ExitCode.USAGE
    assert sorted(tmp_path.iterdir()) == before


def test_a_report_cannot_be_written_by_what_a_file_says(tmp_path):
    evil = "T|1<script>[x](http://x)`"
    paths = files(tmp_path, core=[line(evil)], gateway=[line(evil, "11.00")])
    outcome = reconcile([SourceFile("CORE", paths[0]), SourceFile("GATEWAY", paths[1])], RuleSet())
    report = to_markdown(outcome, summarize(outcome))
    row = next(text for text in report.splitlines() if "script" in text)
    assert "<script>" not in row.replace("\\<", "").replace("\\>", "")
    assert row.replace("\\|", "").count("|") == 5


def test_a_mapping_of_both_kinds_of_amount_is_refused(tmp_path):
    (path,) = files(tmp_path, core=AGREED)
    with pytest.raises(UnusableFileError, match="not both"):
        list(read_rows(path, ColumnMap({"amount": "amount", "amount_minor": "amount"})))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(body=st.binary(max_size=200))
def test_any_bytes_after_a_good_line_lose_neither_it_nor_a_line(tmp_path, body):
    path = tmp_path / "core.csv"
    path.write_bytes(HEADING.encode() + line("T1").encode() + b"\n" + body)
    rows = list(read_rows(path, ColumnMap()))
    assert isinstance(rows[0], Row)
    assert all(isinstance(row, (Row, RejectedRow)) for row in rows)
    # Lines of blanks and delimiters are no rows.
    if any(not char.isspace() and char not in ',"' for char in body.decode(errors="replace")):
        assert len(rows) > 1
