"""`recon rules draft` and `show`: what people write, and what the API is asked."""

import json

import pytest
from typer.testing import CliRunner

from api.models.rules import RulesBody
from cluster.cli import rules
from cluster.cli.exit_codes import ExitCode

BODY = RulesBody.model_validate(
    {
        "tolerances": {"KWD": {"absolute_minor": 125, "bps": 5}},
        "severities": {"amounts": {"EUR": {"high_minor": 1_000, "critical_minor": 2_000}}},
    }
).model_dump()


@pytest.fixture
def asked(monkeypatch):
    """What is sent to the API, which answers with version 7."""
    sent = []

    def call(method, path, _token_file, body=None):
        sent.append((method, path, body))
        return {"version": 7, "body": BODY}

    monkeypatch.setattr(rules, "call", call)
    return sent


def run(*arguments):
    return CliRunner().invoke(rules.app, [str(argument) for argument in arguments])


def test_a_draft_in_major_units_is_sent_in_minor_units(asked, tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text("match_window: 1m\ntolerances: {KWD: {absolute: 0.125, percent: 0.05}}\n")
    done = run("draft", file, "--note", "Fees")
    assert (done.exit_code, done.output) == (0, "version 7 is drafted\n")
    method, path, body = asked[0]
    assert (method, path, body["note"]) == ("POST", "/rules", "Fees")
    assert body["body"]["match_window_ms"] == 60_000
    assert body["body"]["tolerances"] == {"KWD": {"absolute_minor": 125, "bps": 5}}


def test_what_was_shown_as_a_file_is_drafted_as_it_was(asked, tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text(run("show", 7, "--as-file").output)
    assert 'absolute: "0.125"' in file.read_text().replace("'", '"')
    assert run("draft", file).exit_code == 0
    assert asked[-1][2]["body"] == BODY


def test_the_apis_own_form_is_sent_as_it_is(asked, tmp_path):
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(BODY))
    assert run("draft", file).exit_code == 0
    assert asked[0][2]["body"] == BODY


def test_a_file_that_cannot_be_used_is_refused_with_its_lines(asked, tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text("match_window: 30s\ntolerances:\n  GBX: {absolute: 1}\n  EUR: {absolute: 0.005}\n")
    done = run("draft", file)
    assert done.exit_code == ExitCode.USAGE
    assert f"{file}:3" in done.output.replace("\n", "")
    assert "'GBX' is no currency of ISO 4217: write the amount in GBP" in " ".join(done.output.split())
    assert asked == []
