"""The command line as a whole: quick help, one command at a time, exit codes."""

from __future__ import annotations

import json
import socket
import sys
from importlib import metadata

import pytest
from typer.testing import CliRunner

from cluster import cli
from cluster.cli.exit_codes import ExitCode
from cluster.endpoints import StackNotUpError
from cluster.settings import PORT_OFFSETS, Settings, get_settings
from cluster.stack.doctor import examine

RUNNER = CliRunner()


@pytest.fixture
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("RECON_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def test_help_lists_every_command_without_importing_any():
    result = RUNNER.invoke(cli.build(None), ["--help"])
    assert result.exit_code == 0
    for name in cli.COMMANDS:
        assert name in result.output


def test_a_command_of_a_part_that_is_not_there_says_so(monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "audit", ("cluster.cli.nowhere:app", "Not here."))
    result = RUNNER.invoke(cli.build("audit"), ["audit", "verify", "--json"])
    assert result.exit_code == ExitCode.NOT_READY
    assert "not part of this installation" in result.output


def test_an_unknown_command_is_a_usage_error():
    assert RUNNER.invoke(cli.build("nonsense"), ["nonsense"]).exit_code == ExitCode.USAGE


def test_status_of_a_stack_that_is_not_up_exits_not_ready(own_state):
    result = RUNNER.invoke(cli.build("status"), ["status", "--json"])
    assert result.exit_code == ExitCode.NOT_READY
    content = json.loads(result.output)
    assert not content["up"]
    assert {service["state"] for service in content["services"]} == {"down"}
    assert not own_state.exists()


def test_down_of_a_stack_that_is_not_up_is_fine(own_state):
    result = RUNNER.invoke(cli.build("down"), ["down"])
    assert result.exit_code == 0
    assert "nothing was running" in result.output


def test_an_error_of_ours_is_one_line_and_an_exit_code(own_state, monkeypatch, capsys):
    def fail(_selected):
        def run(**_):
            raise StackNotUpError(own_state)

        return run

    monkeypatch.setattr(cli, "build", fail)
    monkeypatch.setattr(sys, "argv", ["recon", "verify"])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == ExitCode.NOT_READY
    assert capsys.readouterr().err.startswith("recon: no stack is up")


def run(arguments, monkeypatch, capsys):
    """Exit code and output of the whole program."""
    monkeypatch.setattr(sys, "argv", ["recon", *arguments])
    get_settings.cache_clear()
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    get_settings.cache_clear()
    return exit_.value.code, capsys.readouterr()


@pytest.mark.parametrize(
    "arguments",
    [
        ["migrate"],
        ["retention", "--json"],
        ["audit", "verify", "--json"],
        ["audit", "tail"],
        ["dlq", "list"],
        ["dlq", "replay", "--all"],
        ["verify", "--json"],
        ["produce", "--duration", "1"],
    ],
    ids=" ".join,
)
def test_services_that_do_not_answer_are_no_finding(arguments, endpoints, monkeypatch, capsys, loopback):
    endpoints.save()
    monkeypatch.setenv("RECON_STATE_DIR", str(endpoints.state_dir))
    code, output = run(arguments, monkeypatch, capsys)
    assert code == ExitCode.NOT_READY, output.err
    [line] = output.err.splitlines()
    assert line.startswith("recon: ")
    if "--json" in arguments:
        assert json.loads(output.out)["error"]


@pytest.mark.parametrize(
    "arguments", [["produce", "--breaks", "amont"], ["produce", "--rate", "0"], ["dlq", "replay"], ["match"]]
)
def test_wrong_usage_is_said_before_a_stack_is_looked_for(arguments, own_state, monkeypatch, capsys):
    assert run(arguments, monkeypatch, capsys)[0] == ExitCode.USAGE


def test_a_bug_is_not_taken_for_differences(own_state, monkeypatch, capsys):
    def fail(_selected):
        raise KeyError("a bug")

    monkeypatch.setattr(cli, "build", fail)
    code, output = run(["verify"], monkeypatch, capsys)
    assert code == ExitCode.BUG
    assert "Traceback" in output.err


def test_the_version_is_told(monkeypatch, capsys):
    code, output = run(["--version"], monkeypatch, capsys)
    assert (code, output.out) == (0, f"recon {metadata.version('recon')}\n")


def test_wiping_what_is_not_there_claims_nothing(own_state):
    result = RUNNER.invoke(cli.build("down"), ["down", "--wipe"])
    assert "deleted" not in result.output


def test_the_doctor_sees_a_taken_port_on_a_machine_that_never_ran_recon(own_state, free_port_base, monkeypatch):
    monkeypatch.setenv("RECON_PORT_BASE", str(free_port_base))
    taken = free_port_base + PORT_OFFSETS["api"]
    with socket.socket() as other:
        other.bind(("127.0.0.1", taken))
        other.listen()
        [finding] = [finding for finding in examine(Settings()) if finding.subject == "ports"]
    assert finding.level == "failed"
    assert str(taken) in finding.message
    assert not own_state.exists()
