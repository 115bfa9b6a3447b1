"""Produce, verify, audit and replay on a real stack: a true ledger is clean, a tampered one is named."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.cli.exit_codes import ExitCode
from producers.emission import Event
from producers.manifest import read_manifest
from producers.plan import Plant
from producers.wire import encoders
from schemas.events import Status

pytestmark = pytest.mark.stack

WINDOW_MS = 8_000  # as in conftest.py: long enough for a busy machine to keep to a plan

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("--settle-ms", 2_000, "--wait-s", 60)


@pytest.fixture(scope="module")
def manifest(recon_home, tmp_path_factory):
    return tmp_path_factory.mktemp("manifest") / "manifest.jsonl"


@pytest.fixture
def produced(recon, pipeline, manifest):
    """A run with every kind of plant, published once per module."""
    if not manifest.exists():
        options = ("--rate", 600, "--seed", 5, "--transactions", 1_200, "--breaks", "all=0.03")
        result = recon("produce", *options, "--manifest", manifest, "--late-margin-ms", 2_000, "--json")
        assert result.exit_code == ExitCode.OK, result.output
        figures = json.loads(result.output.splitlines()[-1])
        assert set(figures["planted"]) == set(Plant)
        assert figures["behind_ms_max"] < 2_000, "this machine is too busy for what is planned to be what happens"
    return recon


@contextlib.contextmanager
def tampered(recon, table, change, undo):
    """Change a row as only the owner of the database can, past the triggers that refuse it, and put it back."""
    off, on = f"alter table {table} disable trigger user", f"alter table {table} enable trigger user"
    recon.sql(off, *change.split("; "), on)
    try:
        yield
    finally:
        recon.sql(off, *undo.split("; "), on)


def verify(recon, *arguments):
    result = recon("verify", *QUICK, "--json", *arguments)
    assert result.exit_code in {ExitCode.OK, ExitCode.FINDING}, result.output
    return result.exit_code, json.loads(result.stdout)


def test_a_run_with_every_kind_of_break_verifies_and_all_that_was_planted_is_found(produced, manifest):
    code, outcome = verify(produced, "--manifest", manifest)
    assert code == ExitCode.OK, [outcome["examples"], outcome["planted"]["examples"]]
    assert outcome["clean"]
    assert outcome["compared"]["raw_events"] == outcome["accepted"] > 3_500
    assert outcome["compared"]["final_results"] >= 1_200
    assert outcome["compared"]["dead_letters"] == outcome["set_aside"] > 0
    assert {kind.removeprefix("planted.") for kind in outcome["planted"]["compared"]} == set(Plant)


def test_the_readable_form_says_how_much_was_compared(produced):
    result = produced("verify", *QUICK)
    assert result.exit_code == ExitCode.OK, result.output
    assert "no difference" in result.output
    assert "event log" in result.output


def test_changed_results_are_named_by_row_and_column(produced):
    tampering = {
        "verdict": ("3 - verdict", "3 - verdict"),
        "amount_minor": ("amount_minor + 1", "amount_minor - 1"),
        "revision": ("revision + 1", "revision - 1"),
        "late": ("late # 4", "late # 4"),
        "event_seqs": ("event_seqs || 99999999::bigint", "event_seqs[:array_length(event_seqs, 1) - 1]"),
    }
    verify(produced)
    rows = produced.sql("select txn_id from results where final and breaks = 0 order by txn_id limit 5")
    victims = dict(zip(tampering, (row["txn_id"] for row in rows), strict=True))
    change, undo = (
        "; ".join(
            f"update results set {column} = {expressions[direction]} where txn_id = '{victims[column]}'"
            for column, expressions in tampering.items()
        )
        for direction in (0, 1)
    )
    with tampered(produced, "results", change, undo):
        code, outcome = verify(produced, "--show", 50)
    assert code == ExitCode.FINDING
    named = {(one["kind"], one["subject"]) for one in outcome["examples"] if one["kind"].startswith("results.")}
    assert named == {(f"results.{column}", txn_id) for column, txn_id in victims.items()}
    assert verify(produced)[0] == ExitCode.OK


def test_a_lost_event_is_named(produced):
    verify(produced)
    (row,) = produced.sql("select * from event_log order by txn_id, source limit 1")
    place = f"{row['kafka_partition']}]@{row['kafka_offset']}"
    where = f"key_group = {row['key_group']} and {row['seq']} between seq_from and seq_to"
    change = f"create table kept as select * from event_blocks where {where}; delete from event_blocks where {where}"
    off, on = "alter table event_blocks disable trigger user", "alter table event_blocks enable trigger user"
    produced.sql(off, *change.split("; "), on)  # the event's whole block
    try:
        code, outcome = verify(produced, "--show", 1_000)
    finally:
        produced.sql("insert into event_blocks select * from kept", "drop table kept")
    assert code == ExitCode.FINDING
    assert any(one["kind"] == "raw_events.missing" and place in one["subject"] for one in outcome["examples"])


def test_the_audit_trail_is_intact_and_its_newest_entries_can_be_shown(produced):
    verify(produced)
    result = produced("audit", "verify", "--json")
    assert result.exit_code == ExitCode.OK, result.output
    report = json.loads(result.stdout)
    assert report["intact"]
    assert report["entries"] > 100
    assert report["digested_events"] > 3_500
    assert report["anchors"] >= 2
    shown = produced("audit", "tail", "-n", 3, "--json").stdout.splitlines()
    assert [set(json.loads(line)) >= {"chain", "seq", "action", "details"} for line in shown] == [True] * 3


@pytest.mark.parametrize(
    ("table", "change", "undo", "what"),
    [
        (
            "audit_logs",
            "update audit_logs set actor = 'nobody' where chain = 'shard-0' and seq = 7",
            "update audit_logs set actor = 'shard-0' where chain = 'shard-0' and seq = 7",
            "does not follow from its content",
        ),
        (
            "audit_logs",
            "update audit_logs set seq = 1000000 where chain = 'shard-0' and seq = 7",
            "update audit_logs set seq = 7 where chain = 'shard-0' and seq = 1000000",
            "entries are gone",
        ),
        (
            "audit_logs",
            "update audit_logs set chain = 'cut' where chain = 'shard-0' and seq > 20",
            "update audit_logs set chain = 'shard-0' where chain = 'cut'",
            "the newest are cut off",
        ),
        (
            "event_blocks",
            "update event_blocks set amount_minor[1] = amount_minor[1] + 1 where 5 between seq_from and seq_to",
            "update event_blocks set amount_minor[1] = amount_minor[1] - 1 where 5 between seq_from and seq_to",
            "are not what was written",
        ),
    ],
    ids=["changed-entry", "removed-entry", "cut-off-end", "changed-event"],
)
def test_a_tampered_audit_trail_is_named(produced, table, change, undo, what):
    verify(produced)  # nobody appends to a chain while it is being tampered with
    with tampered(produced, table, change, undo):
        result = produced("audit", "verify", "--json")
    assert result.exit_code == ExitCode.FINDING
    assert any(what in fault["what"] for fault in json.loads(result.stdout)["faults"])
    assert produced("audit", "verify").exit_code == ExitCode.OK


def test_dead_letters_are_listed_and_those_still_bad_stay_where_they_are(produced):
    verify(produced)
    listed = [json.loads(line) for line in produced("dlq", "list", "--json", "--limit", 1_000).stdout.splitlines()]
    reasons = {one["reason"] for one in listed}
    assert {"not_framed", "malformed", "unknown_schema", "wrong_source", "bad_amount", "absurd_time"} <= reasons
    letter = next(one["record"] for one in listed if one["reason"] == "wrong_source")
    shown = json.loads(produced("dlq", "show", letter, "--json").stdout)
    assert shown["today"].startswith("still wrong_source")
    result = produced("dlq", "replay", letter, "--json")
    assert result.exit_code == ExitCode.FINDING
    assert json.loads(result.stdout)[0]["explanation"].startswith("still wrong_source")
    assert json.loads(produced("dlq", "show", letter, "--json").stdout)["state"] == "new"


def test_a_dead_letter_that_has_become_readable_goes_back_to_its_topic(produced):
    endpoints = produced.endpoints
    source = endpoints.sources[0]
    encoder = encoders(endpoints.registry.client_config("producer"), [source.topic])[source.topic]
    now_ms = int(time.time() * 1000)
    event = Event(f"replay-{now_ms}", f"TX-replay-{now_ms}", source.name, 100, "EUR", Status.SUCCESS, now_ms, "ACC")
    payload = encoder.encode(event).hex()
    # As if its schema had been unknown at the time; its place is one that the log does not have.
    place = f"topic = '{source.topic}' and kafka_offset = 999999"
    produced.sql(
        "insert into dead_letters"
        " (key_group, topic, kafka_partition, kafka_offset, arrival, reason, detail, key, payload)"
        f" values (1, '{source.topic}', 0, 999999, now(), 'unknown_schema', '', '{event.txn_id}', '\\x{payload}')"
    )
    try:
        result = produced("dlq", "replay", "--all", "--reason", "unknown_schema", "--json")
        assert isinstance(result.exception, SystemExit), result.exception
        outcomes = {one["letter"]: one for one in json.loads(result.stdout)}
        assert outcomes.pop(f"{source.topic}:0:999999")["replayed"]
        assert not any(one["replayed"] for one in outcomes.values())
        (row,) = produced.sql(f"select state, state_changed_by from dead_letters where {place}")
        assert row["state"] == "replayed"
        assert row["state_changed_by"].startswith("cli:")
        again = produced("dlq", "replay", f"{source.topic}:0:999999")
        assert again.exit_code == ExitCode.FINDING
        assert "replayed before" in again.output
        trail = produced("audit", "tail", "--object", f"{source.topic}:0:999999", "--json").stdout.splitlines()
        assert [json.loads(line)["action"] for line in trail] == ["dead_letter.replay"]
        deadline = time.monotonic() + 20
        while not produced.sql(f"select from event_log where txn_id = '{event.txn_id}'"):
            assert time.monotonic() < deadline, "the replayed record did not come through the pipeline"
            time.sleep(0.1)
        # No flush set it aside, and the trail says so although its replay was honest.
        (named,) = json.loads(produced("audit", "verify", "--json").stdout)["faults"]
        assert (named["table"], "kafka_offset=999999" in named["row"]) == ("dead_letters", True)
        assert "no entry tells that it was set aside" in named["what"]
    finally:
        # As if none of it had been: the trail would miss the letter, too.
        produced.sql(
            f"delete from dead_letters where {place}",
            "alter table audit_logs disable trigger user",
            "alter table audit_heads disable trigger user",
            "delete from audit_logs where chain = 'api-cli'",
            "delete from audit_heads where chain = 'api-cli'",
            "alter table audit_logs enable trigger user",
            "alter table audit_heads enable trigger user",
        )
    assert produced("audit", "verify").exit_code == ExitCode.OK
    assert verify(produced)[0] == ExitCode.OK


def test_the_three_scripts_publish_one_scenario_together(produced, tmp_path):
    options = ["--rate", "300", "--seed", "99", "--transactions", "300", "--breaks", "all=0.04"]
    options += ["--match-window-ms", str(WINDOW_MS), "--late-margin-ms", "2000"]
    options += ["--endpoints", str(produced.folder / "endpoints.json")]
    options += ["--start-ms", str(int(time.time() * 1000) + 10_000)]
    running = [
        subprocess.Popen(
            [
                *(sys.executable, str(ROOT / "producers" / f"{name}_producer.py")),
                *options,
                *("--manifest", str(tmp_path / f"{name}.jsonl")),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
        )
        for name in ("core", "gateway", "mobile")
    ]
    for script in running:
        output, _ = script.communicate(timeout=90)
        assert script.returncode == 0, output.decode()
    manifests = [list(read_manifest(tmp_path / f"{name}.jsonl")) for name in ("core", "gateway", "mobile")]
    assert manifests[0] == manifests[1] == manifests[2]
    assert len(manifests[0]) > 100
    code, outcome = verify(produced, "--manifest", tmp_path / "core.jsonl")
    assert code == ExitCode.OK, [outcome["examples"], outcome["planted"]["examples"]]


def test_verifying_is_exact_while_events_keep_coming(produced):
    command = [sys.executable, "-m", "cluster.cli", "produce", "--rate", "150", "--duration", "15", "--breaks", "none"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as publishing:
        before = produced.sql("select count(*) as n from event_log")[0]["n"]
        deadline = time.monotonic() + 60
        while produced.sql("select count(*) as n from event_log")[0]["n"] == before:
            assert time.monotonic() < deadline, "nothing was published"
            time.sleep(0.2)
        result = produced("verify", "--wait-s", 0, "--json")
        output, _ = publishing.communicate(timeout=120)
        assert publishing.returncode == 0, output.decode()
    outcome = json.loads(result.stdout)
    assert result.exit_code == ExitCode.OK, outcome["examples"]
    assert outcome["compared"].get("recent", 0) + outcome["compared"].get("open", 0) > 0, "it had come to an end before"
    assert verify(produced)[0] == ExitCode.OK


def test_a_load_is_published_flat_out_and_verifies(produced):
    result = produced("produce", "--flat-out", "--transactions", 4_000, "--seed", 3, "--json")
    assert result.exit_code == ExitCode.OK, result.output
    figures = json.loads(result.output.splitlines()[-1])
    assert figures["records"] == 12_000 - figures["planted"]["missing"]
    code, outcome = verify(produced)
    assert code == ExitCode.OK, outcome["examples"]
    assert outcome["compared"]["raw_events"] >= 12_000


def test_wrong_usage_of_produce_is_refused(produced):
    assert produced("produce", "--breaks", "amont=0.1").exit_code == ExitCode.USAGE
    assert produced("produce", "--rate", 0).exit_code == ExitCode.USAGE
