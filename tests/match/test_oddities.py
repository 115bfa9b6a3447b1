"""`recon match` on files as people have them: nothing that is wrong passes for a match, and no odd value ends a run."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cluster.cli import build
from cluster.cli.exit_codes import ExitCode

HEADING = "txn_id,amount,currency,status,event_time"
TIME = "2026-11-24T12:00:00Z"


def row(txn_id, amount="10.00", status="SUCCESS", currency="EUR", time=TIME):
    return f"{txn_id},{amount},{currency},{status},{time}"


def text(*rows, heading=HEADING):
    return "\n".join([heading, *rows, ""])


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments, **contents):
        for name, content in contents.items():
            path = tmp_path / name.replace("__", ".")
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return CliRunner().invoke(build("match"), ["match", *map(str, arguments)])

    return call


def outcome(result):
    return json.loads(result.stdout)


def rejects(tmp_path):
    path = tmp_path / "rejects.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# -- what is wrong is never MATCHED ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "breaks"),
    [
        (row("T1", "99.00"), {"CONFLICT": 1, "AMOUNT": 1}),
        (row("T1", status="REVERSED", time="2026-11-24T12:00:01Z"), {"STATUS": 1}),
        (row("T1", time="2026-11-24T12:00:01Z"), {"DUPLICATE": 1}),
    ],
    ids=["conflict", "reversal", "duplicate"],
)
def test_two_files_of_one_source_are_two_places(run, second, breaks):
    files = {"core__csv": text(row("T1")), "core2__csv": text(second), "gateway__csv": text(row("T1"))}
    result = run("core.csv", "core2.csv", "gateway.csv", "--json", **files)
    assert result.exit_code == ExitCode.FINDING
    assert outcome(result)["breaks"] == breaks


def test_the_same_file_twice_repeats_its_rows(run):
    files = {"core__csv": text(row("T1")), "core2__csv": text(row("T1")), "gateway__csv": text(row("T1"))}
    result = run("core.csv", "core2.csv", "gateway.csv", "--json", **files)
    assert result.exit_code == ExitCode.OK
    assert (outcome(result)["repeated"], outcome(result)["matched"]) == (1, 1)


def test_a_key_that_the_first_object_lacks_is_a_column_all_the_same(run, tmp_path):
    lines = [
        {"txn_id": "T1", "amount": "10.00", "currency": "EUR", "event_time": TIME},
        {"txn_id": "T2", "amount": "10.00", "currency": "EUR", "event_time": TIME, "status": "FAILED"},
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    files = {"core__jsonl": content, "gateway__csv": text(row("T1"), row("T2"))}
    result = run("core.jsonl", "gateway.csv", "--json", **files)
    assert outcome(result)["breaks"] == {"STATUS": 1, "MISSING": 1}
    assert ["status" in one["reason"] for one in rejects(tmp_path)] == [True]


def test_a_name_twice_in_an_object_is_a_reject(run, tmp_path):
    content = '{"txn_id":"T1","amount":"1","amount":"2","currency":"EUR","status":"OK","event_time":"2026-11-24"}\n'
    good = '{"txn_id":"T1","amount":"10.00","currency":"EUR","status":"OK","event_time":"2026-11-24T12:00:00Z"}\n'
    result = run("core.jsonl", "gateway.csv", "--json", core__jsonl=good + content, gateway__csv=text(row("T1")))
    assert outcome(result)["matched"] == 1
    assert "occurs twice" in rejects(tmp_path)[0]["reason"]


@pytest.mark.parametrize("more", [",amount", ",Amount ", ",x,X"])
def test_two_columns_of_one_name_are_refused(run, more):
    content = text(row("T1") + ",99.00" * more.count(","), heading=HEADING + more)
    result = run("core.csv", "gateway.csv", core__csv=content, gateway__csv=text(row("T1")))
    assert result.exit_code == ExitCode.USAGE
    assert "more than one column" in result.output


@pytest.mark.parametrize(
    ("core", "options"),
    [(text(), ()), (text(row("A1")), ("--optional", "core", "--optional", "gateway", "--source", "X=core.csv"))],
    ids=["no-rows", "no-common-id"],
)
def test_where_nothing_was_compared_nothing_agrees(run, core, options):
    gateway = text() if core == text() else text(row("B1"))
    result = run("core.csv", "gateway.csv", *options[:4], core__csv=core, gateway__csv=gateway)
    assert result.exit_code != ExitCode.OK
    result = run("core.csv", "gateway.csv", core__csv=core, gateway__csv=gateway)
    assert result.exit_code == ExitCode.FINDING
    assert "nothing was compared" in result.output


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--map", "amuont=amount"), "did you mean amount"),
        (("--map", "GATWAY:amount=amount"), "did you mean GATEWAY"),
        (("--map", "amount=amuont"), "no column 'amuont'"),
        (("--map", "amount="), "no column after"),
        (("--map", "amount=amount", "--map", "amount=fee"), "it is 'amount' and 'fee'"),
        (("--status", "OK=SUCCESS", "--status", "ok=FAILED"), "SUCCESS and FAILED"),
        (("--status", "=FAILED"), "no word"),
        (("--tolerance", "²"), "is not [CURRENCY=]MINOR"),
        (("--encoding", "no-such"), "no-such"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(run, options, why):
    files = {"core__csv": text(row("T1")), "gateway__csv": text(row("T1"))}
    result = run("core.csv", "gateway.csv", *options, **files)
    assert result.exit_code == ExitCode.USAGE
    assert why in result.output.replace("\n", " ")


def test_ids_that_a_spreadsheet_has_rounded_are_warned_of(run):
    files = {"core__csv": text(row("1.23E+15")), "gateway__csv": text(row("1.23E+15"))}
    result = run("core.csv", "gateway.csv", "--json", **files)
    assert [("core.csv" in one, "line 2" in one) for one in outcome(result)["warnings"]] == [
        (True, True),
        (False, True),
    ]


def test_ids_are_exact_text_unless_trimmed(run):
    files = {"core__csv": text(row("T1 ")), "gateway__csv": text(row("T1"))}
    assert outcome(run("core.csv", "gateway.csv", "--json", **files))["missing"] == {"CORE": 1, "GATEWAY": 1}
    assert run("core.csv", "gateway.csv", "--trim").exit_code == ExitCode.OK


# -- one odd value is one reject ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        row("T2", time="²"),
        row("T2", "²"),
        row("T2", time="12026-01-01T00:00:00Z"),
        row("T2", time="9" * 40),
        row("T2", time="9999-12-31T23:59:59-23:59"),
        row("T2", "1e999999999"),
        row("T2", "NaN"),
        row("T2", currency="²"),
        row("T2", status="[bold]"),
    ],
)
def test_a_bad_value_is_one_reject_and_all_others_are_judged(run, tmp_path, bad):
    files = {"core__csv": text(row("T1"), bad, row("T3")), "gateway__csv": text(row("T1"), row("T3"))}
    result = run("core.csv", "gateway.csv", "--json", **files)
    assert (outcome(result)["matched"], outcome(result)["rejected"]) == (2, 1)
    assert [one["line"] for one in rejects(tmp_path)] == [3]


def test_half_a_character_is_one_reject(run, tmp_path):
    good = {"txn_id": "T1", "amount": "10.00", "currency": "EUR", "status": "OK", "event_time": TIME}
    content = json.dumps(good) + "\n" + json.dumps({**good, "txn_id": "T\ud800"}) + "\n"
    result = run("core.jsonl", "gateway.csv", "--json", core__jsonl=content, gateway__csv=text(row("T1")))
    assert (outcome(result)["matched"], outcome(result)["rejected"]) == (1, 1)
    assert rejects(tmp_path)[0]["row"]["txn_id"] == "T\ud800"


def parquet(path, times, **more):
    count = len(times)
    columns = {
        "txn_id": [f"T{number}" for number in range(count)],
        "amount_minor": pa.array([1000] * count),
        "currency": pa.array(["EUR"] * count).dictionary_encode(),
        "status": ["SUCCESS"] * count,
        "event_time": times,
        **more,
    }
    table = pa.table(columns)
    return path, table


MS = 1_795_521_600_000
DAY = int(datetime(2026, 11, 24, tzinfo=UTC).timestamp()) // 86_400


@pytest.mark.parametrize(
    ("times", "options", "taken"),
    [
        (pa.array([MS * 10**6 + 1, MS * 10**6], pa.timestamp("ns", "UTC")), {}, 2),
        (pa.array([MS * 10**6, MS * 10**6], pa.timestamp("ns")), {"use_deprecated_int96_timestamps": True}, 2),
        (pa.array([MS * 1000, 10**18], pa.timestamp("us")), {}, 1),
        (pa.array([MS, MS], pa.timestamp("ms", "Nowhere/Atall")), {}, 2),
        (pa.array([MS // 1000, 10**13], pa.timestamp("s")), {}, 1),
    ],
    ids=["nanoseconds", "int96", "beyond-9999", "unknown-zone", "seconds"],
)
def test_times_of_every_kind_in_parquet(run, tmp_path, times, options, taken):
    path, table = parquet(tmp_path / "core.parquet", times, unmapped=times)
    pq.write_table(table, path, **options)
    moment = datetime.fromtimestamp(MS / 1000, UTC).isoformat()
    gateway = text(*(row(f"T{number}", time=moment) for number in range(taken)))
    result = run("core.parquet", "gateway.csv", "--json", gateway__csv=gateway)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert (outcome(result)["matched"], outcome(result)["rejected"]) == (taken, 2 - taken)


def test_ids_as_bytes_in_parquet_are_text(run, tmp_path):
    times = pa.array([MS] * 2, pa.timestamp("ms"))
    path, table = parquet(tmp_path / "core.parquet", times, txn_id=pa.array([b"B1", b"\xff"]))
    pq.write_table(table, path)
    moment = datetime.fromtimestamp(MS / 1000, UTC).isoformat()
    result = run("core.parquet", "gateway.csv", "--json", gateway__csv=text(row("B1", time=moment)))
    assert (outcome(result)["matched"], outcome(result)["rejected"]) == (1, 1)


def test_more_sources_than_can_be_compared_are_refused(run):
    options = [word for number in range(16) for word in ("--source", f"S{number}=s{number}.csv")]
    result = run(*options, **{f"s{number}__csv": text(row("T1")) for number in range(16)})
    assert result.exit_code == ExitCode.USAGE
    assert "at most 15" in result.output


# -- what is left behind -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--out", "--report", "--rejects"])
@pytest.mark.parametrize("way", ["same", "link", "hard"])
def test_an_output_never_overwrites_an_input(run, tmp_path, option, way):
    files = {"core__csv": text(row("T1")), "gateway__csv": text(row("T1"))}
    run(**files)
    name = tmp_path / "other.csv" if way != "same" else tmp_path / "core.csv"
    if way == "link":
        name.symlink_to(tmp_path / "core.csv")
    elif way == "hard":
        name.hardlink_to(tmp_path / "core.csv")
    result = run("core.csv", "gateway.csv", option, name)
    assert result.exit_code == ExitCode.USAGE
    assert (tmp_path / "core.csv").read_text() == files["core__csv"]


def test_rejects_of_an_earlier_run_do_not_stay(run, tmp_path):
    run("core.csv", "gateway.csv", core__csv=text(row("T1", "x")), gateway__csv=text(row("T1")))
    assert len(rejects(tmp_path)) == 1
    assert run("core.csv", "gateway.csv", core__csv=text(row("T1"))).exit_code == ExitCode.OK
    assert not (tmp_path / "rejects.jsonl").exists()


def test_no_cell_is_a_formula_or_a_command(run, tmp_path):
    ids = ["=cmd()", "+1", "-1", "@x", "\x1b[2J", "[/red]"]
    files = {"core__csv": text(*map(row, ids)), "gateway__csv": text(*map(row, ids[1:]))}
    result = run("core.csv", "gateway.csv", "--out", "out.csv", **files)
    assert result.exit_code == ExitCode.FINDING
    assert "\x1b" not in result.output
    cells = pl.read_csv(tmp_path / "out.csv")["txn_id"].to_list()
    assert sorted(cells) == sorted(["'=cmd()", "'+1", "'-1", "'@x", "\ufffd[2J", "[/red]"])


# -- files as they come ------------------------------------------------------------------------------------------------

SEMICOLONS = text(row("T1"), row("T2")).replace(",", ";")
SHAPES = {
    "a-delimiter-more": text(row("T1") + ",", row("T2") + ",,"),
    "a-delimiter-more-everywhere": text(row("T1") + ",", row("T2") + ",", heading=HEADING + ","),
    "sep": "sep=;\r\n" + SEMICOLONS,
    "utf-16": text(row("T1"), row("T2")).encode("utf-16"),
    "utf-16-le": text(row("T1"), row("T2")).encode("utf-16-le"),
    "utf-16-be": text(row("T1"), row("T2")).encode("utf-16-be"),
    "byte-order-mark": b"\xef\xbb\xbf" + text(row("T1"), row("T2")).encode(),
    "line-break-in-heading": text(row("T1") + ",x", row("T2") + ",y", heading=HEADING + ',"a note\nof two lines"'),
    "delimiters-in-heading": text(row("T1") + ",x", row("T2") + ",y", heading=HEADING + ',"a;b;c;d;e;f;g;h"'),
    "rows-of-delimiters": text(",,,,", row("T1"), ",,,,", row("T2"), " , ,,,"),
    "blank-in-heading": text(row("T1"), row("T2"), heading="txn_id , amount,currency\t,status,event_time "),
    "empty-lines-first": "\n\n" + text(row("T1"), row("T2")),
    "carriage-returns": text(row("T1"), row("T2")).replace("\n", "\r\n"),
    "tabs": text(row("T1"), row("T2")).replace(",", "\t"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_trifle_loses_no_row(run, shape):
    result = run("core.csv", "gateway.csv", "--json", core__csv=SHAPES[shape], gateway__csv=text(row("T1"), row("T2")))
    assert result.exit_code == ExitCode.OK, result.output
    assert outcome(result)["matched"] == 2


def test_another_encoding_is_named_and_then_read(run, tmp_path):
    content = text(row("T1") + ",Müller", row("T2") + ",x", heading=HEADING + ",Empfänger").encode("cp1252")
    files = {"core__csv": content, "gateway__csv": text(row("T1"), row("T2"))}
    result = run("core.csv", "gateway.csv", "--json", **files)
    assert (outcome(result)["matched"], outcome(result)["rejected"]) == (1, 1)
    assert "--encoding" in rejects(tmp_path)[0]["reason"]
    assert run("core.csv", "gateway.csv", "--encoding", "cp1252").exit_code == ExitCode.OK
