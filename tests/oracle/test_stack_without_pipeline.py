"""What `recon verify` and its neighbours say when there is nothing to compare, or nobody reads the log."""

from __future__ import annotations

import json

import pytest

from cluster.cli.exit_codes import ExitCode
from cluster.settings import get_settings
from schemas.errors import ReconError

pytestmark = pytest.mark.stack


def test_nothing_to_compare_is_no_clean_result_and_an_unread_log_is_a_finding(recon):
    empty = recon("verify", "--wait-s", 1)
    assert empty.exit_code == ExitCode.NOT_READY
    assert "nothing was compared" in empty.output
    assert recon("audit", "verify").exit_code == ExitCode.NOT_READY

    sent = recon("produce", "--rate", 1_000, "--transactions", 20, "--breaks", "none")
    assert sent.exit_code == ExitCode.OK, sent.output
    unread = recon("verify", "--wait-s", 1, "--json")
    assert unread.exit_code == ExitCode.FINDING
    assert set(json.loads(unread.stdout)["by_kind"]) == {"positions.behind"}


def test_without_a_stack_every_command_says_so(recon, monkeypatch, tmp_path):
    monkeypatch.setenv("RECON_STATE_DIR", str(tmp_path))
    get_settings.cache_clear()
    for command in (["verify"], ["produce"], ["audit", "verify"], ["dlq", "list"]):
        result = recon(*command)
        assert isinstance(result.exception, ReconError)
        assert "recon up" in str(result.exception)
