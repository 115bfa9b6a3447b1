"""`recon dlq` and `recon audit` on rows that a hostile producer wrote: text as it is, and no line of its making."""

from __future__ import annotations

import datetime as dt
import json
from contextlib import asynccontextmanager, contextmanager

import pytest
from typer.testing import CliRunner

from cluster.cli import audit, build, dlq
from cluster.cli.terminal import one_line
from cluster.dead_letters import Replayed
from cluster.oracle.records import Refused
from schemas.errors import DeadLetterReason

HOSTILE = "[bold]x[/bold][/][link=http://e]\x1b[2J\x9b31m\u202e:smile: \ud800\nstate        replayed"
MOMENT = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
LETTER = {
    "topic": HOSTILE,
    "kafka_partition": 0,
    "kafka_offset": 1,
    "arrival": MOMENT,
    "reason": "malformed",
    "detail": HOSTILE,
    "size_bytes": 3,
    "state": "new",
    "state_changed_at": MOMENT,
    "state_changed_by": HOSTILE,
    "key": b"\x1b[31m\xff[/]",
    "payload": b"\x1b[2J[/]\xff",
}


class _Anything:
    """Stands for parts that are only handed on."""

    def __getattr__(self, name):
        return self

    def __call__(self, *arguments, **named):
        return self


@pytest.fixture
def run(monkeypatch):
    @asynccontextmanager
    async def connected(_access):
        yield None

    @contextmanager
    def decoder(_endpoints):
        yield None

    async def search(*_arguments, **_named):
        return [LETTER]

    async def find(*_arguments):
        return LETTER

    async def replay(*_arguments):
        return Replayed(letter=HOSTILE, replayed=False, explanation=HOSTILE)

    async def connect(**_access):
        return _Trail()

    for name, part in {
        "connected": connected,
        "_decoder": decoder,
        "search": search,
        "find": find,
        "replay": replay,
        "read_again": lambda *_: Refused(DeadLetterReason.MALFORMED, HOSTILE),
        "_endpoints": _Anything,
        "Producer": _Anything(),
        "producer_config": _Anything(),
    }.items():
        monkeypatch.setattr(dlq, name, part)
    monkeypatch.setattr(audit.asyncpg, "connect", connect)
    monkeypatch.setattr(audit, "_access", lambda _database: {})
    return lambda *arguments: CliRunner().invoke(build(arguments[0]), list(arguments))


class _Trail:
    async def fetch(self, *_arguments):
        entry = dict.fromkeys(("chain", "actor", "action", "object_id"), HOSTILE)
        return [{**entry, "occurred_at": MOMENT, "seq": 1, "details": json.dumps({HOSTILE: HOSTILE, "none": None})}]

    async def close(self):
        pass


COMMANDS = (("dlq", "list"), ("dlq", "show", "a:0:1"), ("dlq", "replay", "a:0:1"), ("audit", "tail"))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_hostile_rows_are_shown_as_text(run, command):
    result = run(*command)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "[bold]x[/bold][/][link=http" in result.output
    assert not any(char in result.output for char in "\x1b\x9b\u202e\ud800")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_hostile_rows_are_data_in_json(run, command):
    result = run(*command, "--json")
    assert json.loads(result.stdout)
    assert result.stdout.isascii()
    assert "\x1b" not in result.stdout


def test_data_does_not_begin_a_line_among_the_fields_of_a_dead_letter(run):
    lines = run("dlq", "show", "a:0:1").output.splitlines()
    assert [line for line in lines if line.startswith("state ")] == ["state        new"]
    assert len(run("dlq", "replay", "a:0:1").output.splitlines()) == 1


def test_one_line_is_one_line():
    assert one_line("a\nb\x1b") == "a\u240ab\u241b"
