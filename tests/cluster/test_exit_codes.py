"""A variable of the environment that cannot be what it is: exit code 2 and its name, whatever the command."""

from __future__ import annotations

import errno
import io
import sys

import pytest

from cluster.cli import COMMANDS, main
from cluster.cli.exit_codes import ExitCode
from cluster.settings import get_settings

ARGUMENTS = {
    "audit": ["verify"],
    "dlq": ["list"],
    "ingest": ["A"],
    "rules": ["list"],
    "source": ["preview", "A"],
    "topics": ["list"],
    "produce": ["--transactions", "1"],
}
WITHOUT_SETTINGS = {"match", "config"}


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - WITHOUT_SETTINGS))
@pytest.mark.parametrize(
    ("variable", "value"), [("RECON_SHARDS", "many"), ("RECON_SOURCES", "{"), ("RECON_BIND_HOST", "0.0.0.0")]
)
def test_a_wrong_variable_is_wrong_usage_for_every_command(command, variable, value, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("RECON_STATE_DIR", str(tmp_path))
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys, "argv", ["recon", command, *ARGUMENTS.get(command, [])])
    get_settings.cache_clear()
    try:
        with pytest.raises(SystemExit) as left:
            main()
    finally:
        get_settings.cache_clear()
    said = capsys.readouterr().err
    assert left.value.code == ExitCode.USAGE, said
    assert variable.removeprefix("RECON_").lower() in said.lower()
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RECON_STATE_DIR", ""),
        ("RECON_STATE_DIR", "."),
        ("RECON_LOG_LEVEL", "[/]"),
        ("RECON_MATCH_WINDOW_MS", "9" * 30),
    ],
)
def test_a_setting_that_would_do_harm_later_is_refused_at_once(variable, value, monkeypatch, capsys):
    assert _left(monkeypatch, "retention", **{variable: value}) == ExitCode.USAGE
    assert variable in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["produce", "--rate", "nan"],
        ["produce", "--rate", "inf"],
        ["produce", "--duration", "inf"],
        ["rules", "activate", "1", "--in", "nan"],
        ["rules", "activate", "1", "--in", "1e300"],
        ["rules", "activate", "1", "--in", "-1"],
        ["rules", "draft", "."],
        ["audit", "verify", "--file", "."],
        ["audit", "verify", "--file", "no[/]where.csv"],
        ["dlq", "list", "--state", "[bold]x[/bold]\x1b[31m"],
    ],
    ids=" ".join,
)
def test_arguments_that_cannot_be_meant_are_wrong_usage(arguments, monkeypatch, capsys, tmp_path):
    assert _left(monkeypatch, *arguments, RECON_STATE_DIR=str(tmp_path / "none")) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "\x1b" not in said


def test_a_folder_that_no_stack_made_is_not_wiped(monkeypatch, capsys, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    assert _left(monkeypatch, "down", "--wipe", RECON_STATE_DIR=str(tmp_path)) == ExitCode.NOT_READY
    assert "thesis.txt" not in capsys.readouterr().out
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def _left(monkeypatch, *arguments, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["recon", *arguments])
    get_settings.cache_clear()
    try:
        with pytest.raises(SystemExit) as left:
            main()
    finally:
        get_settings.cache_clear()
    return left.value.code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BrokenPipeError(errno.EPIPE, "closed"), ExitCode.NOBODY_READS),
        (OSError(errno.ENOSPC, "full"), ExitCode.NOT_READY),
    ],
    ids=["closed", "full"],
)
def test_output_that_cannot_be_written_is_no_finding(error, code, monkeypatch, capsys, tmp_path):
    class Unwritable(io.StringIO):
        def write(self, _text):
            raise error

    for name in ("core", "gateway"):
        content = "txn_id,amount,currency,event_time\nT1,1.00,EUR,2026-11-24\n"
        (tmp_path / f"{name}.csv").write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdout", Unwritable())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert _left(monkeypatch, "match", "core.csv", "gateway.csv", "--json") == code
