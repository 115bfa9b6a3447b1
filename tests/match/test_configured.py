"""`recon match --config`, `recon config` and `recon source preview`, on the examples and on files of their own."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cli import build

EXAMPLES = Path(__file__).parents[2] / "examples"


def recon(*arguments):
    return CliRunner().invoke(build(arguments[0]), [str(one) for one in arguments], catch_exceptions=False)


def results_of(path):
    wanted = ("txn_id", "verdict", "breaks", "missing_sources")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: row[name] for name in wanted} for row in rows]


REJECTED = {"stripe-like-payouts": 1}
STREAMED = {"debezium-core"}  # read from topics: tests/sources/test_same_verdicts.py


@pytest.mark.parametrize("example", sorted({path.parent.name for path in EXAMPLES.glob("*/recon.yaml")} - STREAMED))
def test_examples_give_what_they_say(example, tmp_path):
    out = tmp_path / "out.jsonl"
    config = EXAMPLES / example / "recon.yaml"
    done = recon("match", "--config", config, "--out", out, "--rejects", tmp_path / "rejects.jsonl", "--json")
    assert done.exit_code == 1, done.output
    assert results_of(out) == results_of(EXAMPLES / example / "expected.jsonl")
    assert json.loads(done.stdout)["rejected"] == REJECTED.get(example, 0)
    checked = recon("config", "check", config)
    assert checked.exit_code == 0, checked.output


CONFIG = """
version: 1
reconciliations:
  cards:
    key: [original_txn_id, txn_id]
    sources:
      A:
        path: a.csv
        format: csv
        negative: true
        fields:
          txn_id: {path: id, trim: true, strip_leading_zeros: true}
          original_txn_id: {path: orig}
          amount: {path: amt, unit: minor, exponent: {ISK: 2}, indicator: {path: dc, debit: [D]}}
          currency: {path: ccy}
          status: {const: SUCCESS}
          event_time: {path: at, format: epoch_s}
      B:
        path: b*.csv
        format: csv
        negative: true
        fields:
          txn_id: {path: id}
          amount: {path: amt, unit: major}
          currency: {path: ccy}
          status: {const: SUCCESS}
          event_time: {path: at, zone: Europe/Berlin}
    rules: {tolerances: {default: {absolute: "0.05"}}}
  other:
    sources:
      A: {topic: a_events, format: json}
      B: {path: b1.csv, format: csv}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "recon.yaml").write_text(CONFIG)
    (tmp_path / "a.csv").write_text(
        "id,orig,amt,dc,ccy,at\n"
        " 0001 ,,150000,C,ISK,1772366400\n"  # 1,500 kronur, in hundredths
        "2,,1000,D,978,1772366400\n"  # EUR by its digits, a debit
        "3,9,500,C,EUR,1772366400\n"  # a refund of 9
        "4,,150050,C,ISK,1772366400\n"  # half a krona
        "5,,100,C,GBX,1772366400\n"
    )
    (tmp_path / "b1.csv").write_text(
        "id,amt,ccy,at\n"
        "1,1500,ISK,2026-03-01T13:00:00\n"
        "2,(10.04),EUR,2026-03-01T12:00:00Z\n"
        "9,5.06,EUR,2026-03-01T12:00:00Z\n"
    )
    return tmp_path


def matched(folder, *more):
    out = folder / "out.jsonl"
    arguments = ("--out", out, "--rejects", folder / "rejects.jsonl", "--json")
    done = recon("match", "--config", folder / "recon.yaml", *arguments, *more)
    return done, {row["txn_id"]: (row["verdict"], row["breaks"]) for row in results_of(out)} if out.exists() else {}


def test_a_mapping_is_read_by_the_letter(folder):
    done, results = matched(folder)
    assert results == {
        "1": ("MATCHED", []),
        "2": ("MATCHED", []),  # 4 cents apart, 5 are allowed
        "9": ("MISMATCHED", ["AMOUNT"]),  # 6 cents
    }
    assert done.exit_code == 1
    rejects = [json.loads(line) for line in (folder / "rejects.jsonl").read_text().splitlines()]
    assert [(reject["file"], reject["line"]) for reject in rejects] == [("a.csv", 5), ("a.csv", 6)]
    assert "part of a minor unit" in rejects[0]["reason"]
    assert "GBX" in rejects[1]["reason"]


def test_the_same_file_twice_is_nothing(folder):
    (folder / "b2.csv").write_bytes((folder / "b1.csv").read_bytes())
    done, results = matched(folder)
    assert results["1"] == ("MATCHED", [])
    assert "b2.csv has the content of b1.csv" in json.loads(done.stdout)["warnings"][0]


def test_the_same_row_in_two_files_is_a_duplicate(folder):
    (folder / "b2.csv").write_text("id,amt,ccy,at\n1,1500,ISK,2026-03-01T13:00:00\n")
    assert matched(folder)[1]["1"] == ("MISMATCHED", ["DUPLICATE"])


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--map", "amount=x"), "--map means nothing beside --config"),
        (("--currency", "EUR"), "--currency means nothing beside --config"),
        (("--reconciliation", "card"), "did you mean cards?"),
        (("--reconciliation", "other"), "source A reads topic a_events"),
        (("--source", "C=a.csv"), "has no source C"),
        (("--optional", "C"), "has no such source"),
    ],
)
def test_wrong_usage_is_exit_2_and_says_what_is_right(folder, arguments, what):
    done, _ = matched(folder, *arguments)
    assert done.exit_code == 2
    assert what in done.stderr


def test_a_column_that_a_file_lacks_stops_with_its_name(folder):
    (folder / "b1.csv").write_text("id,amount,ccy,at\n1,1,EUR,2026-03-01T12:00:00Z\n")
    done, _ = matched(folder)
    assert done.exit_code == 2
    assert "'amt'" in done.stderr
    assert "amount" in done.stderr


def test_config_check_names_every_mistake(folder):
    config = folder / "recon.yaml"
    config.write_text(CONFIG.replace("format: epoch_s", "format: epoc_s").replace("negative", "negativ"))
    done = recon("config", "check", config, "--json")
    assert done.exit_code == 2
    problems = json.loads(done.stdout)["problems"]
    assert [problem["line"] for problem in problems] == sorted(problem["line"] for problem in problems)
    assert len(problems) == 3
    assert "epoch_s" in "".join(problem["right"] for problem in problems)


def test_config_show_and_schema_are_data(folder):
    shown = json.loads(recon("config", "show", folder / "recon.yaml", "--json").stdout)
    assert shown["default"] == "cards"
    assert shown["reconciliations"]["cards"]["sources"]["A"]["paths"] == ["id", "amt", "ccy", "at", "orig", "dc"]
    assert json.loads(recon("config", "schema").stdout)["title"] == "recon.yaml"


@pytest.mark.parametrize(
    "command", [("match", "--config"), ("config", "check"), ("source", "preview", "A", "--config")]
)
def test_every_mistake_of_a_configuration_is_a_line_with_its_place(folder, command):
    config = folder / "recon.yaml"
    config.write_text(CONFIG.replace("format: epoch_s", 'format: "epoc\\ns"').replace("negative", "negativ"))
    done = recon(*command, config)
    assert done.exit_code == 2
    lines = done.stderr.splitlines()
    assert [line.removeprefix(f"{config}:").split(":")[0] for line in lines] == ["10", "17", "21"]
    assert "epoc" in lines[1]


def test_the_rows_of_a_later_file_come_later(folder):
    many = 25_000
    rows = [f"R{number},1,EUR,2026-03-01T12:00:00Z" for number in range(many)]
    (folder / "b1.csv").write_text("id,amt,ccy,at\n" + "\n".join(rows) + "\n1,1500,ISK,2026-03-01T12:00:00Z\n")
    (folder / "b2.csv").write_text("id,amt,ccy,at\n1,9,ISK,2026-03-01T12:00:00Z\n")
    (folder / "b3.csv").write_text("id,amt,ccy,at\n1,7,ISK,2026-03-01T12:00:00Z\n")
    matched(folder)
    rows = map(json.loads, (folder / "out.jsonl").read_text().splitlines())
    (row,) = [row for row in rows if row["txn_id"] == "1"]
    assert (row["breaks"], row["b_amount_minor"]) == (["CONFLICT", "AMOUNT"], 7)


STATEMENT = """:20:MSG{number}
:25:12345678/0000001
:28C:{number}/1
:60F:C260301EUR100,00
:61:2603010301C10,00NTRF{reference}
:62F:C260301EUR110,00
-
"""


@pytest.fixture
def statements(tmp_path):
    (tmp_path / "recon.yaml").write_text(
        """
version: 1
reconciliations:
  bank:
    sources:
      BANK: {path: "*/day.sta", format: mt940, fields: {txn_id: {path: reference}}}
      BOOK:
        path: book.csv
        format: csv
        fields: {txn_id: {path: id}, amount: {path: amt, unit: major}, currency: {const: EUR}, status: {const: SUCCESS},
                 event_time: {path: at, date_only: true, zone: UTC}}
"""
    )
    (tmp_path / "book.csv").write_text("id,amt,at\nR1,10,2026-03-01\nR2,10,2026-03-01\n")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_a_statement_is_taken_once_whatever_folders_its_files_lie_in(statements):
    first = STATEMENT.format(number=1, reference="R1")
    (statements / "one" / "day.sta").write_text(first)
    (statements / "two" / "day.sta").write_text(first + STATEMENT.format(number=2, reference="R2"))
    done, results = matched(statements)
    assert results == {"R1": ("MATCHED", []), "R2": ("MATCHED", [])}
    (warning,) = json.loads(done.stdout)["warnings"]
    assert "statement 1/1 of account 12345678/0000001" in warning
    assert str(statements / "one" / "day.sta") in warning
    assert str(statements / "two" / "day.sta") in warning


def test_a_statement_with_other_content_is_refused_with_both_paths(statements):
    (statements / "one" / "day.sta").write_text(STATEMENT.format(number=1, reference="R1"))
    (statements / "two" / "day.sta").write_text(STATEMENT.format(number=1, reference="R2"))
    done, _ = matched(statements)
    assert done.exit_code == 2
    assert f"{statements / 'two' / 'day.sta'}: statement 1/1" in done.stderr
    assert f"than in {statements / 'one' / 'day.sta'}" in done.stderr


def test_one_file_named_twice_is_read_once(folder):
    done, results = matched(folder, "--source", f"B={folder / 'b1.csv'}", "--source", f"B={folder / 'b1.csv'}")
    assert results["1"] == ("MATCHED", [])
    assert "was not read again" in json.loads(done.stdout)["warnings"][0]


def test_a_preview_shows_rejects_and_events(folder):
    done = recon("source", "preview", "A", "--config", folder / "recon.yaml", "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert [(reject["row"], reject["field"]) for reject in found["rejects"]] == [(5, "amount"), (6, "currency")]
    assert [(event["txn_id"], event["amount_minor"]) for event in found["events"]] == [
        ("1", 1500),
        ("2", -1000),
        ("9", 500),
    ]
    few = recon("source", "preview", "A", "--config", folder / "recon.yaml", "--records", "2")
    assert few.exit_code == 0
    assert "2 events, 0 set aside" in few.stdout


def test_a_preview_reads_standard_input_and_says_which_file_it_cannot_open(folder):
    name, config = "A", folder / "recon.yaml"
    text = CONFIG.replace("path: a.csv", "path: '-'")
    config.write_text(text)
    arguments = ["source", "preview", name, "--config", str(config), "--json"]
    done = CliRunner().invoke(build("source"), arguments, input=b"id,orig,amt,dc,ccy,at\n1,,5,C,EUR,1772366400\n")
    assert [event["amount_minor"] for event in json.loads(done.stdout)["events"]] == [5]
    config.write_text(CONFIG.replace("path: a.csv", "path: none.csv"))
    done = recon("source", "preview", name, "--config", config)
    assert (done.exit_code, done.stderr) == (2, f"recon: {folder / 'none.csv'}: No such file or directory\n")


def test_up_refuses_a_configuration_that_the_pipeline_would_not_follow(folder, monkeypatch):
    monkeypatch.setenv("RECON_CONFIG", str(folder / "recon.yaml"))
    monkeypatch.setenv("RECON_STATE_DIR", str(folder / "state"))
    done = recon("up")
    assert done.exit_code == 2
    assert "several reconciliations" in done.stderr
    (folder / "recon.yaml").write_text(CONFIG.replace("path: a.csv", "path: '-'"))
    named = recon("up", "--reconciliation", "cards")
    assert named.exit_code == 2
    assert "reads standard input" in named.stderr
    assert not (folder / "state").exists()
