"""A variable of the environment that cannot be what it is: exit code 2 and its name, whatever the command."""

from __future__ import annotations

import sys

import pytest

from cluster.cli import COMMANDS, main
from cluster.cli.exit_codes import ExitCode
from cluster.settings import get_settings

ARGUMENTS = {
    "audit": ["verify"],
    "dlq": ["list"],
    "rules": ["list"],
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
