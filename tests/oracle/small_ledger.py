"""A small ledger with something in every table: the engine's shards and the service's stores on a real database.

There is no Kafka here: events are given to the shards as a reader would. Times of the log are A0 and after.
"""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from types import SimpleNamespace

import asyncpg

from actors.adapters.memory import MemoryFeed, MemoryRedis, MemorySpill
from actors.adapters.postgres import PostgresLedger
from actors.ports import Batch, DeadLetter, OffsetRange
from actors.shard import MatcherShard, ShardOptions
from api.access import Role
from api.caller import Caller
from api.models.exceptions import BulkApply, BulkRequest, ExceptionAction, ExceptionFilter, NewComment
from api.models.rules import Activation, RuleDraft, RulesBody
from api.options import ApiOptions, PublicConfig, TokenOptions
from api.services import Ports, Services
from api.watch import IncidentWatch
from cluster import log_topics
from cluster.activation import Configuration, activate
from cluster.ingestion import Ingestion
from cluster.layout import prepare, set_first_rules
from schemas.events import DEFAULT_SOURCES, key_group_of, key_group_of_position
from tests.actors.workbench import A0, PATIENCE_S, Clock, event, sent_frame

WINDOW_MS = 30_000
BIG = 5_000_000  # above the limit for a second person
ANNA, ARNO, ADAM = (
    Caller(subject=f"subject-{name}", username=name, name=name.title(), role=role, expires_s=0, client="test")
    for name, role in (("anna", Role.ANALYST), ("arno", Role.ANALYST), ("adam", Role.ADMIN))
)


class SmallLedger:
    """Shards over all key groups, fed by hand. `tell` writes to the log and delivers it."""

    def __init__(self, postgres, shards=2):
        self.postgres = postgres
        self.clock = Clock()
        self.offsets = {source.topic: 0 for source in DEFAULT_SOURCES}
        self.watermark = 0
        self.faults = []
        self.shards = []
        self.redis = MemoryRedis()
        self.count = shards

    async def lay_out(self):
        """Store sources and ranges; gives the ranges."""
        return await prepare(self.postgres.connect_kwargs("app"), DEFAULT_SOURCES, self.count)

    def start(self, ranges):
        for start, stop in ranges:
            options = ShardOptions(
                start, stop, f"shard-{start}", flush_interval_ms=1, idle_flush_interval_ms=1, housekeeping_interval_ms=0
            )
            self.shards.append(
                MatcherShard(
                    options,
                    DEFAULT_SOURCES,
                    PostgresLedger(self.postgres.connect_kwargs("app")),
                    lambda claim: MemorySpill(self.redis, claim),
                    MemoryFeed(),
                    self.faults.append,
                    self.clock,
                )
            )

    def stop(self):
        for shard in self.shards:
            shard.drain(PATIENCE_S)
            shard.close()
        self.shards = []

    def tell(self, *events, letters=()):
        """Deliver events in their order, and records set aside as (topic, reason, payload)."""
        begins = dict(self.offsets)
        for one in events:
            topic = DEFAULT_SOURCES[one.source].topic
            one.offset = self.offsets[topic]
            self.offsets[topic] += 1
        aside = []
        for topic, reason, payload in letters:
            offset = self.offsets[topic]
            self.offsets[topic] += 1
            group = key_group_of_position(0, offset)
            aside.append(DeadLetter(group, topic, 0, offset, self.clock(), reason, f"why: {reason}", b"key", payload))
        self.clock.now_ms = max([self.clock.now_ms, *(one.arrival for one in events)])
        ranges = [OffsetRange(topic, 0, begins[topic], stop) for topic, stop in self.offsets.items()]
        self._push(ranges, events, aside)

    def _push(self, ranges, events=(), aside=()):
        self.clock.now_ms += 5  # positions without rows are written when a moment has passed
        marks = {(source.topic, 0): self.watermark for source in DEFAULT_SOURCES}
        counts = {source.topic: 1 for source in DEFAULT_SOURCES}
        for shard in self.shards:
            mine = range(shard._options.key_group_from, shard._options.key_group_to)
            own = sent_frame([one for one in events if key_group_of(one.txn_id) in mine])
            shard.push(Batch(ranges, marks, own, [one for one in aside if one.key_group in mine], counts))
        self.settle()

    def pass_time(self, seconds):
        """The clock and every watermark move on."""
        for _ in range(4):
            self.clock.now_ms += round(seconds * 250)
            self.watermark = self.clock.now_ms - 1_000
            self._push([OffsetRange(topic, 0, at, at) for topic, at in self.offsets.items()])

    def settle(self):
        for shard in self.shards:
            assert shard.drain(PATIENCE_S)
        assert not self.faults, self.faults


def three(txn_id, at=0.0, **changes):
    return [event(txn_id, source.name, at=at + index / 100, **changes) for index, source in enumerate(DEFAULT_SOURCES)]


def first_traffic(ledger):
    """Every kind of decision that a flush writes."""
    for start in (0, 10, 20):
        ledger.tell(
            *(one for number in range(start, start + 10) for one in three(f"match-{number}", amount=100 + number))
        )
    amounts = []
    for number in range(8):
        core, _, mobile = three(f"amount-{number}", at=1)
        amounts += [core, event(f"amount-{number}", "GATEWAY", at=1.01, amount=160 + number), mobile]
    ledger.tell(*amounts)
    big = [event("big-0", source.name, at=1.5, amount=BIG + index) for index, source in enumerate(DEFAULT_SOURCES)]
    ledger.tell(*big)
    again = three("again-0", at=2)
    ledger.tell(*again)
    ledger.tell(event("again-0", "CORE", at=2.5, event_id=again[0].event_id, clock=2))
    ledger.tell(
        letters=[
            (DEFAULT_SOURCES[0].topic, "malformed", b"\1\2"),
            (DEFAULT_SOURCES[1].topic, "bad_amount", b"\3"),
            (DEFAULT_SOURCES[2].topic, "malformed", b""),
        ]
    )
    # Two legs that disagree, looked up and shown before the third comes or is missed.
    ledger.tell(*three("shown-0", at=3)[:1], event("shown-0", "GATEWAY", at=3.1, amount=7))
    ledger.tell(*three("missing-0", at=3)[:2])
    ledger.tell(*three("heals-0", at=3)[:2])
    ledger.pass_time(8)
    ledger.tell(event("shown-0", "MOBILE", at=12))
    ledger.pass_time(40)
    ledger.tell(event("heals-0", "MOBILE", at=52, clock=3))  # late: a revision that agrees
    ledger.tell(event("match-3", "CORE", at=52, amount=999))  # a revision that does not
    ledger.pass_time(4)


def second_traffic(ledger):
    """What is open when the check is made: one is shown, the others wait."""
    now = (ledger.clock() - A0) / 1000
    ledger.tell(*three("open-0", at=now)[:1], event("open-0", "GATEWAY", at=now + 0.1, amount=7))
    ledger.tell(*three("open-1", at=now)[:2])
    ledger.pass_time(4)


async def desk(services):
    """What people do."""
    for caller in (ANNA, ARNO, ADAM):
        await services.people.seen(caller)
    act, note = services.exceptions.act, "n" * 700

    async def step(txn_id, caller, action, version, **fields):
        await act(txn_id, ExceptionAction(action=action, version=version, **fields), caller)

    await step("amount-0", ANNA, "assign", 0, assignee="arno", note=note)
    await step("amount-0", ARNO, "start_review", 1)
    await step("amount-1", ANNA, "resolve", 0, reason_code="timing")
    await step("big-0", ANNA, "resolve", 0, reason_code="fee_or_fx")
    await step("big-0", ARNO, "approve", 1)
    await step("amount-2", ANNA, "resolve", 0, reason_code="timing")
    await step("amount-2", ANNA, "reopen", 1)
    await services.exceptions.comment("amount-0", NewComment(text="x" * 1_900), ANNA)
    await services.exceptions.comment("amount-0", NewComment(text="seen"), ARNO)
    asked = BulkRequest(filter=ExceptionFilter(breaks=["MISSING"]), action="assign", assignee="anna")
    preview = await services.exceptions.preview(asked, ARNO)
    assert preview.count == 1
    await services.exceptions.apply(BulkApply(**asked.model_dump(), token=preview.token), ARNO)
    assert await services.exceptions.settle() == 1
    for body in (RulesBody(time_tolerance_ms=7_000), RulesBody(time_tolerance_ms=9_000), RulesBody()):
        await services.rules.draft(RuleDraft(body=body, note="tried"), ANNA)
    await services.rules.activate(2, Activation(), ADAM)
    await services.rules.discard(3, ANNA)
    letters = (await services.dead_letters.search(state=None, reason=None, topic=None, limit=10, cursor=None)).items
    await services.dead_letters.dismiss(letters[0].id, ADAM)
    await services.dead_letters.dismiss(letters[1].id, ADAM)
    await services.dead_letters.replay(letters[1].id, ADAM)
    incidents = IncidentWatch(services)
    incidents._open = set()
    await incidents._set("source_silent", "CORE", True, "nothing since noon")
    await incidents._set("break_burst", "all", True, "50 of 60")
    await incidents._set("break_burst", "all", False, "")


async def set_up(endpoints):
    """What operators do: sources from a file, as they are, and rows of a file in the log."""
    owner = endpoints.postgres.connect_kwargs("owner")
    await activate(owner, configuration(*DEFAULT_SOURCES))
    connection = await asyncpg.connect(**owner)
    try:
        ingestion = Ingestion(owner, {}, {}, "payments", SimpleNamespace(name="BANK"), "cli:adam")
        ingestion._connection = connection
        await ingestion._note("begin", "BANK", "d1", "may.csv", '[{"account": "A"}]', 0, "cli:adam")
        await ingestion._note("done", "BANK", "d1", 20, 1)
        await ingestion._note("begin", "BANK", "d2", "june.csv", "[]", 22, "cli:adam")
    finally:
        await connection.close()


def configuration(*sources):
    """A file with these canonical sources."""
    lines = [f"      {source.name}: {{topic: {source.topic}, format: avro}}\n" for source in sources]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recon.yaml"
        path.write_text(f"version: 1\nreconciliations:\n  payments:\n    sources:\n{''.join(lines)}", encoding="utf-8")
        return Configuration.load(path)


async def services_on(endpoints):
    """The service's parts on this database; Kafka is a list, and every record is acceptable by now."""

    async def republish(*_):
        return 0, 1_000_000

    async def examine(*_):
        return None

    postgres = endpoints.postgres.connect_kwargs("api")
    del postgres["ssl"]
    options = ApiOptions(
        tokens=TokenOptions("", ""),
        public=PublicConfig(""),
        postgres=postgres,
        postgres_ca_file=str(endpoints.postgres.ca_file),
        redis_url=endpoints.redis.authenticated_url(),
        redis_prefix=f"test-{secrets.token_hex(4)}:",
    )
    return Services(options, Ports(republish=republish, examine=examine))


async def begin(endpoints, first=True):
    """What comes before the pipeline: rights, first rules, topics, ranges. Gives the ledger, started."""
    owner = endpoints.postgres.connect_kwargs("owner")
    connection = await asyncpg.connect(**owner)
    await connection.execute(f"grant temporary on database {owner['database']} to recon_app")
    await connection.close()
    if first:
        await set_first_rules(owner, WINDOW_MS, DEFAULT_SOURCES)
        ids = {source.topic: f"id-of-{source.topic}" for source in DEFAULT_SOURCES}
        await log_topics.remember(endpoints.postgres.connect_kwargs("app"), ids, "supervisor")
    ledger = SmallLedger(endpoints.postgres)
    ledger.start(await ledger.lay_out())
    return ledger


async def fill(endpoints):
    """A ledger with something in every table; its shards have stopped."""
    ledger = await begin(endpoints)
    try:
        first_traffic(ledger)
        services = await services_on(endpoints)
        try:
            await desk(services)
        finally:
            await services.stop()
        await set_up(endpoints)
        second_traffic(ledger)
    finally:
        ledger.stop()
    return ledger
