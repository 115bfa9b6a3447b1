"""A configuration is put in force once: versions, source numbers and rules, by what the ledger has read already."""

import asyncio
from datetime import UTC, datetime

import asyncpg
import pytest
from typer.testing import CliRunner

from cluster.activation import Configuration, NotRunnableError, activate, has_read, is_in_force, sources_in_force
from cluster.cli import build
from cluster.cli.exit_codes import ExitCode
from cluster.layout import prepare
from cluster.reading_versions import LedgerReadings, UnusableSchemaError
from schemas.rules import RULES_LEAD_MS

AMOUNT = "amount: {path: a, unit: minor}, currency: {const: EUR}"
FIELDS = f"{{txn_id: {{path: r}}, {AMOUNT}, status: {{path: s}}, event_time: {{path: t}}}}"
BANK = f"      BANK: {{topic: bank_t, format: json, fields: {FIELDS}}}\n"
SWITCH = f"      SWITCH: {{topic: switch_t, format: json, envelope: debezium, fields: {FIELDS}}}\n"
APP = "      APP: {topic: app_t, format: avro, expected: false}\n"


@pytest.fixture
def load(tmp_path):
    """A configuration of these sources."""

    def made(*sources, rules="{match_window: 7s}", name="payments"):
        path = tmp_path / "recon.yaml"
        text = f"version: 1\nreconciliations:\n  {name}:\n    rules: {rules}\n    sources:\n{''.join(sources)}"
        path.write_text(text, encoding="utf-8")
        return Configuration.load(path)

    return made


class Base:
    """The ledger of this module, asked as its owner."""

    def __init__(self, postgres):
        self.owner = postgres.connect_kwargs("owner")
        self.app = postgres.connect_kwargs("app")

    async def fetch(self, query, *arguments):
        connection = await asyncpg.connect(**self.owner)
        try:
            return [tuple(row) for row in await connection.fetch(query, *arguments)]
        finally:
            await connection.close()

    async def rules(self):
        query = (
            "select version, effective_from, body->'expected_sources', body->'match_window_ms', body->'row_sources',"
            " body->'time_tolerance_ms' from rule_sets where state = 'active' order by version"
        )
        return await self.fetch(query)


@pytest.mark.stack
async def test_the_whole_story(fresh_db, load):
    base = Base(fresh_db)
    assert not await has_read(base.owner)
    assert await sources_in_force(base.app, ("built in",)) == ("built in",)

    # The first one, of a ledger that has read nothing, is in force from the beginning, its rules too.
    first = load(BANK, SWITCH)
    sources = await activate(base.owner, first)
    assert [source.name for source in sources] == ["BANK", "SWITCH"]
    assert await base.rules() == [
        (1, datetime(1970, 1, 1, tzinfo=UTC), '["BANK", "SWITCH"]', "7000", '["SWITCH"]', "5000")
    ]
    assert await is_in_force(base.app, first)
    assert await has_read(base.owner)

    # The same again is nothing.
    assert await activate(base.owner, first) == sources
    assert await base.fetch("select count(*) from configurations") == [(1,)]
    assert await prepare(base.app, sources, 2) == [(0, 64), (64, 128)]

    # A source before the others in the file gets the next number, and is expected from a moment ahead of every reader.
    before = datetime.now(UTC)
    second = load(APP.replace(", expected: false", ""), BANK, SWITCH, rules="{match_window: 1s}")
    sources = await activate(base.owner, second)
    assert [source.name for source in sources] == ["BANK", "SWITCH", "APP"]
    rules = await base.rules()
    assert rules[1][0] == 2
    assert (rules[1][1] - before).total_seconds() >= RULES_LEAD_MS / 1000
    # Only what the sources say changes: the rest of the rules is drafted and activated by people from now on.
    assert rules[1][2:] == ('["APP", "BANK", "SWITCH"]', "7000", '["SWITCH"]', "5000")

    # A source that the file names no more keeps its number and is not expected.
    third = load(BANK, APP)
    sources = await activate(base.owner, third)
    assert [(source.name, source.expected) for source in sources] == [("BANK", True), ("SWITCH", False), ("APP", False)]
    assert (await base.rules())[2][2] == '["BANK"]'
    assert [row[0] for row in await base.fetch("select version from configurations order by version")] == [1, 2, 3]
    told = "select object_id from audit_logs where action = 'configuration.activated' order by seq"
    assert await base.fetch(told) == [("1",), ("2",), ("3",)]

    # What a number means is never changed.
    with pytest.raises(NotRunnableError, match="source BANK reads topic bank_t in this ledger"):
        await activate(base.owner, load(BANK.replace("bank_t", "other_t")))
    with pytest.raises(NotRunnableError, match="identity cannot be changed"):
        await activate(base.owner, load(BANK.replace("{topic", "{envelope: debezium, topic")))
    optional = SWITCH.replace("{topic", "{expected: false, topic").replace("envelope: debezium, ", "")
    with pytest.raises(NotRunnableError, match="source SWITCH: identity cannot be changed"):
        await activate(base.owner, load(BANK, APP, optional))
    assert await base.fetch("select count(*) from configurations") == [(3,)]

    # Readers find all versions, each from its moment on.
    ask = LedgerReadings(base.app, {"url": "https://localhost"}, ())
    readings = await asyncio.to_thread(ask)
    assert [sorted([*one.canonical, *one.mapped]) for one in readings.versions] == [
        ["bank_t", "switch_t"],
        ["app_t", "bank_t", "switch_t"],
        ["app_t", "bank_t"],
    ]
    assert readings.versions[2].canonical["app_t"].source == 2

    # Nobody changes a version, its owner included.
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        await base.fetch("update configurations set body = ''")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ('      F: {path: "-", format: csv}\n', "source F reads standard input"),
        (SWITCH.replace("{topic", "{deletes: retract, topic"), "deletes: retract"),
        (BANK.replace("json", "protobuf").replace("{topic", "{schema: a.proto, topic"), "no message"),
    ],
)
def test_what_the_pipeline_cannot_run_is_said(load, source, why):
    with pytest.raises(NotRunnableError, match=why):
        load(source)


def test_a_schema_that_is_not_there_is_said(load, tmp_path):
    source = BANK.replace("json", "protobuf").replace("{topic", "{schema: a.proto, message: M, topic")
    with pytest.raises(UnusableSchemaError, match=r"source BANK: schema .*a\.proto: No such file"):
        load(source)
    (tmp_path / "a.proto").write_text('syntax = "proto3"; message Other {}')
    with pytest.raises(UnusableSchemaError, match="no message 'M'; there are Other"):
        load(source)
    (tmp_path / "a.proto").write_text("message {")
    with pytest.raises(UnusableSchemaError, match="protoc refuses it"):
        load(source)


def test_up_refuses_what_cannot_be_run(tmp_path, monkeypatch):
    path = tmp_path / "recon.yaml"
    path.write_text(f"version: 1\nreconciliations:\n  a:\n    sources:\n{BANK}  b:\n    sources:\n{BANK}")
    monkeypatch.setenv("RECON_CONFIG", str(path))
    result = CliRunner().invoke(build("up"), ["up"])
    assert result.exit_code == ExitCode.USAGE
    assert "--reconciliation with one of a, b" in result.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("sources", "why"),
    [
        (("      A: {topic: t, format: avro, where: {path: status, in: [SUCCESS]}}\n",), "say its fields"),
        (("      A: {topic: t, format: avro, negative: true}\n",), "not negative"),
    ],
)
def test_canonical_records_have_their_own_way(load, sources, why):
    with pytest.raises(NotRunnableError, match=why):
        load(*sources)
