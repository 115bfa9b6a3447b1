"""`recon match` on files it cannot go on with and on options that would make anything agree: one line, exit 2."""

from __future__ import annotations

import json
import os
import stat

import polars as pl
import pytest
from typer.testing import CliRunner

from cluster.cli import build
from cluster.cli.exit_codes import ExitCode

HEADING = "txn_id,amount,currency,event_time\n"
ROW = "{},10.00,EUR,2026-11-24T12:00:00Z\n"
MANY = HEADING + "".join(ROW.format(f"T{number}") for number in range(3_000))  # more than is looked at before reading
GOOD = (HEADING + ROW.format("T1")).encode()


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.csv").write_bytes(GOOD)

    def call(core, *arguments):
        (tmp_path / "core.csv").write_bytes(core)
        return CliRunner().invoke(build("match"), ["match", *arguments])

    return call


@pytest.mark.parametrize(
    ("content", "options", "why"),
    [
        (b"\n\n  \n,,,\n", (), "core.csv has no heading"),
        (b",,,,\n", (), "core.csv has no heading"),
        (MANY.encode("utf-16") + b"\x41", (), "core.csv: 'utf-16-le' codec"),
        (MANY.encode() + b"\x1b$B$!\xff,1,EUR,x\n", ("--encoding", "iso2022_jp"), "core.csv: 'iso2022_jp' codec"),
        (b'txn,"a\nb"\n1,2\n', (), "it has txn, a␊b;"),
    ],
    ids=["blank", "delimiters", "half-a-unit-of-utf-16", "no-iso-2022-jp-in-the-middle", "line-break-in-heading"],
)
def test_a_file_that_cannot_be_read_to_its_end_is_one_line(run, content, options, why):
    result = run(content, "core.csv", "gateway.csv", *options)
    assert result.exit_code == ExitCode.USAGE
    assert why in result.output
    assert result.output.count("\n") == 1


def test_the_names_of_a_files_columns_do_not_fill_the_screen(run):
    result = run(b"x" * 60_000 + b",y\n1,2\n", "core.csv", "gateway.csv")
    assert result.exit_code == ExitCode.USAGE
    assert "no column for txn_id" in result.output
    assert len(result.output) < 1_000


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf-8-sig", "auto"])
def test_a_byte_order_mark_is_no_part_of_the_heading(run, encoding):
    result = run(b"\xef\xbb\xbf" + GOOD, "core.csv", "gateway.csv", "--encoding", encoding)
    assert result.exit_code == ExitCode.OK


@pytest.mark.parametrize("way", ["same", "other-spelling", "link", "hard"])
def test_a_file_is_not_compared_with_itself(run, tmp_path, way):
    run(GOOD)
    other = tmp_path / "other.csv"
    if way == "link":
        other.symlink_to(tmp_path / "core.csv")
    elif way == "hard":
        other.hardlink_to(tmp_path / "core.csv")
    second = {"same": "core.csv", "other-spelling": str(tmp_path / "core.csv")}.get(way, "other.csv")
    result = run(GOOD, "--source", "A=core.csv", "--source", f"B={second}")
    assert result.exit_code == ExitCode.USAGE
    assert "is given as A and as B" in result.output


@pytest.mark.parametrize("option", ["--out", "--report", "--rejects"])
@pytest.mark.parametrize("core", [GOOD, GOOD + b"T2,x,EUR,2026-11-24\n"], ids=["clean", "with-a-reject"])
def test_an_output_never_replaces_or_removes_what_is_no_file(run, tmp_path, option, core):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    for name in ("pipe.csv", "folder.csv"):
        result = run(core, "core.csv", "gateway.csv", option, name)
        assert result.exit_code == ExitCode.USAGE
        assert "is no file" in result.output
    assert stat.S_ISFIFO((tmp_path / "pipe.csv").stat().st_mode)
    assert (tmp_path / "folder.csv").is_dir()


@pytest.mark.parametrize("option", ["--out", "--report", "--rejects"])
def test_an_output_below_a_file_is_refused_before_anything_is_read(run, option):
    result = run(b"never read", "core.csv", "gateway.csv", option, "gateway.csv/below/results.csv")
    assert result.exit_code == ExitCode.USAGE
    assert "is no folder" in result.output


@pytest.mark.parametrize(
    ("tolerances", "why"),
    [
        (["99999999999999999999"], "absolute_minor 0 to 1000000000000000"),
        (["EUR=1000000000000001"], "absolute_minor 0 to 1000000000000000"),
        (["9" * 5_000], "is not [CURRENCY=]MINOR"),
        (["5", "6"], "says of all currencies that it is 5 and 6"),
        (["EUR=5bp", "eur=6bp"], "says of EUR that it is 5 and 6"),
    ],
    ids=["past-the-database", "past-any-amount", "five-thousand-digits", "two-answers", "two-answers-in-points"],
)
def test_tolerances_that_cannot_be_meant_are_refused(run, tolerances, why):
    result = run(GOOD, "core.csv", "gateway.csv", *(word for text in tolerances for word in ("--tolerance", text)))
    assert result.exit_code == ExitCode.USAGE
    assert why in result.output


def test_both_kinds_of_tolerance_hold_together(run):
    core = GOOD.replace(b"10.00", b"10.10")
    assert run(core, "core.csv", "gateway.csv", "--tolerance", "9", "--tolerance", "98bp").exit_code == ExitCode.FINDING
    assert run(core, "core.csv", "gateway.csv", "--tolerance", "9", "--tolerance", "100bp").exit_code == ExitCode.OK
    assert run(core, "core.csv", "gateway.csv", "--tolerance", "10", "--tolerance", "1bp").exit_code == ExitCode.OK


def test_sources_whose_columns_would_be_one_are_refused(run):
    result = run(GOOD, "--source", "K=core.csv", "--source", "\u212a=gateway.csv")
    assert result.exit_code == ExitCode.USAGE
    assert "columns of one name" in result.output


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_results_go_to_a_name_that_is_not_utf_8(run, tmp_path, suffix):
    result = run(GOOD, "core.csv", "gateway.csv", "--out", f"\udcff.{suffix}")
    assert result.exit_code == ExitCode.OK
    assert (tmp_path / f"\udcff.{suffix}").stat().st_size > 0


def test_a_pipe_is_refused_rather_than_waited_for(run, tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    result = run(GOOD, "--source", "A=pipe.csv", "--source", "B=core.csv")
    assert result.exit_code == ExitCode.USAGE
    assert "pipe.csv is no file" in result.output


def _no_constant(name):
    raise AssertionError(f"{name} is not JSON")


def test_rejects_are_json_also_where_a_row_has_no_number(run, tmp_path):
    line = '{"txn_id": "T1", "amount": %s, "currency": "EUR", "event_time": "2026-11-24T12:00:00Z"}\n'
    (tmp_path / "mobile.jsonl").write_text(line % "NaN" + line % "10.00")
    columns = {"txn_id": ["P1"], "amount": [float("inf")], "currency": ["EUR"], "event_time": ["2026-11-24"]}
    pl.DataFrame(columns).write_parquet(tmp_path / "other.parquet")
    result = run(GOOD, "core.csv", "mobile.jsonl", "--source", "OTHER=other.parquet", "--optional", "other")
    assert result.exit_code == ExitCode.FINDING
    lines = (tmp_path / "rejects.jsonl").read_text().splitlines()
    rejects = [json.loads(text, parse_constant=_no_constant) for text in lines]
    assert rejects[0]["reason"] == "not JSON: NaN is no number of JSON"
    assert "inf" in rejects[1]["row"]


def test_a_number_beyond_all_decimals_is_one_reject(run, tmp_path):
    line = '{"txn_id": "T%d", "amount": %s, "currency": "EUR", "event_time": "2026-11-24T12:00:00Z"}\n'
    (tmp_path / "mobile.jsonl").write_text(line % (1, "10.00") + line % (2, "1e-9999999999999999999999"))
    result = run(GOOD, "core.csv", "mobile.jsonl", "--json")
    assert result.exit_code == ExitCode.FINDING
    assert (json.loads(result.stdout)["matched"], json.loads(result.stdout)["rejected"]) == (1, 1)
