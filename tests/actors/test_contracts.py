"""One suite per port (actors.ports), over its in-memory twin and over the real thing."""

# The stack's modules are slow to import, and only the real things need them.
# ruff: noqa: PLC0415

from __future__ import annotations

import contextlib
import itertools
import time
from dataclasses import replace

import polars as pl
import pytest

from actors.adapters.kafka import KafkaEventLog
from actors.adapters.memory import (
    MemoryBroker,
    MemoryDatabase,
    MemoryEventLog,
    MemoryLedger,
    MemoryRecord,
    MemoryRedis,
    MemorySpill,
)
from actors.adapters.postgres import PostgresLedger
from actors.adapters.redis import RedisSpill, connect
from actors.matching import state as core
from actors.matching.decide import decide
from actors.matching.frames import EVENT_SCHEMA, RESULT_SCHEMA
from actors.ports import LOG_SCHEMA, AlreadyDecidedError, Claim, Flush
from cluster.layout import prepare
from schemas.errors import FencedError, KafkaUnavailableError, LostRecordsError, StoreUnavailableError
from schemas.events import DEFAULT_SOURCES, key_group_of
from schemas.rules import Rulebook, RuleSet
from tests.actors.workbench import A0, NAMES, event, in_words, letter, sent_frame
from tests.conftest import run_sync

REAL = pytest.mark.stack
RANGE = (0, 128)
CLOSED = [1 << 60] * 3
unique = itertools.count()  # real things are shared by a module's tests, so each test names its own transactions


@pytest.fixture
def name():
    return f"T{next(unique)}"


# -- Ledger ------------------------------------------------------------------------------------------------------------


class LedgerRig:
    """Ledgers on one database, and flushes that follow one another."""

    def __init__(self, make):
        self.make = make
        self.ledgers = []
        self.ledger = self.connect()
        self.claim = self.ledger.claim(*RANGE, "owner-1")
        self.number, self.next_seq = self.claim.flushes, self.claim.next_seq

    def connect(self):
        made = self.make()
        self.ledgers.append(made)
        return made

    def log(self, events, first=None):
        """Events as rows of the log, numbered."""
        first = self.next_seq if first is None else first
        frame = sent_frame(events)
        seqs = pl.int_range(first, first + len(frame), dtype=pl.Int64, eager=True)
        return frame.with_columns(seq=seqs).select(LOG_SCHEMA.keys())

    def next(self, events=None, **fields) -> Flush:
        rows = self.log(events or [])
        return Flush(
            self.claim,
            events=rows,
            first_seq=self.next_seq,
            next_seq=self.next_seq + len(rows),
            low_seq=fields.pop("low_seq", 1),
            number=self.number + 1,
            **fields,
        )

    def write(self, flush: Flush, now_ms=A0):
        flushed = self.ledger.flush(flush, DEFAULT_SOURCES, now_ms)
        self.claim = replace(self.claim, audit_seq=flushed.audit_seq, audit_hash=flushed.audit_hash)
        self.number, self.next_seq = flush.number, flush.next_seq
        return flushed

    def of(self, txn_id):
        found = self.ledger.decided(pl.DataFrame({"key_group": [key_group_of(txn_id)], "txn_id": [txn_id]}))
        return [in_words(row) for row in found.iter_rows(named=True)]

    def close(self):
        for one in self.ledgers:
            one.close()


@pytest.fixture(params=["memory", pytest.param("postgres", marks=REAL)])
def ledger(request):
    if request.param == "memory":
        database = MemoryDatabase.with_ranges(RANGE)
        rig = LedgerRig(lambda: MemoryLedger(database))
    else:
        kwargs = request.getfixturevalue("fresh_db").connect_kwargs("app")
        run_sync(prepare(kwargs, DEFAULT_SOURCES, 1))
        rig = LedgerRig(lambda: PostgresLedger(kwargs))
    yield rig
    rig.close()


def three(txn_id, **changes):
    return [
        event(txn_id, source, at=index / 10, offset=next(unique), event_id=f"{source}-{txn_id}", **changes)
        for index, source in enumerate(NAMES[:3])
    ]


def judged(rows, watermarks=CLOSED):
    return decide(rows.select(EVENT_SCHEMA.keys()), Rulebook([RuleSet()]), DEFAULT_SOURCES, watermarks)


def test_a_claim_raises_the_epoch_and_finds_where_the_last_owner_was(ledger, name):
    flush = ledger.next(three(name), positions={("core_txns", 0): 7, ("mobile_txns", 3): 9}, low_seq=1)
    ledger.write(flush)
    claim = ledger.connect().claim(*RANGE, "owner-2")
    assert claim.epoch == ledger.claim.epoch + 1
    assert (claim.next_seq, claim.low_seq, claim.flushes) == (flush.next_seq, 1, flush.number)
    assert claim.positions == {("core_txns", 0): 7, ("mobile_txns", 3): 9}
    assert (claim.audit_seq, claim.audit_hash) == (ledger.claim.audit_seq, ledger.claim.audit_hash)


def test_a_range_that_is_not_laid_out_cannot_be_claimed(ledger):
    with pytest.raises(FencedError):
        ledger.connect().claim(3, 5, "owner")


def test_an_owner_that_was_replaced_writes_nothing(ledger, name):
    ledger.connect().claim(*RANGE, "owner-2")
    flush = ledger.next(three(name))
    with pytest.raises(FencedError):
        ledger.write(replace(flush, final=judged(flush.events)))
    assert ledger.of(name) == []


def test_a_flush_that_was_committed_is_not_written_again(ledger, name):
    flush = ledger.next(three(name))
    flush = replace(flush, final=judged(flush.events), dead_letters=[letter(1, "core_txns", 0, next(unique))])
    first = ledger.ledger.flush(flush, DEFAULT_SOURCES, A0)
    again = ledger.write(flush)
    assert (again.audit_seq, again.audit_hash) == (first.audit_seq, first.audit_hash)
    assert again.changed["txn_id"].to_list() == [name]
    assert ledger.of(name) == ["MATCHED revision=1"]


def test_a_flush_out_of_turn_is_fenced(ledger, name):
    flush = ledger.next(three(name))
    with pytest.raises(FencedError):
        ledger.ledger.flush(replace(flush, number=flush.number + 1), DEFAULT_SOURCES, A0)


def test_open_events_are_those_that_no_final_result_holds(ledger, name):
    events = three(name)
    other = event(f"{name}-open", at=1, offset=next(unique))
    repeat = event(f"{name}-open", at=2, offset=next(unique), event_id=other.event_id)
    flush = ledger.next([*events, other, repeat])
    rows = flush.events
    ledger.write(
        replace(
            flush,
            final=judged(rows.filter(pl.col("txn_id") == name)),
            redeliveries=rows.filter(pl.col("offset") == repeat.offset).select(EVENT_SCHEMA.keys()),
        )
    )
    found, shown = ledger.ledger.open_events(replace(ledger.claim, low_seq=flush.first_seq))
    assert found.filter(pl.col("seq") >= flush.first_seq).equals(
        rows.filter(pl.col("offset") == other.offset).select(EVENT_SCHEMA.keys())
    )
    assert f"{name}-open" not in shown["txn_id"].to_list()


def test_open_events_begin_where_they_are_asked_from(ledger, name):
    flush = ledger.next([event(name, at=0, offset=next(unique)), event(name, "MOBILE", at=1, offset=next(unique))])
    ledger.write(flush)
    found, _ = ledger.ledger.open_events(replace(ledger.claim, low_seq=flush.first_seq + 1))
    assert found.filter(pl.col("txn_id") == name)["seq"].to_list() == [flush.first_seq + 1]


def test_a_provisional_result_is_shown_and_replaced(ledger, name):
    events = three(name)
    flush = ledger.next(events[:2])
    open_rows = judged(flush.events, [0, 0, 0])
    ledger.write(replace(flush, replacing=open_rows))
    _, shown = ledger.ledger.open_events(ledger.claim)
    assert name in shown["txn_id"].to_list()
    assert ledger.of(name) == []
    last = ledger.next(events[2:])
    ledger.write(replace(last, replacing=judged(pl.concat([flush.events, last.events]))))
    assert ledger.of(name) == ["MATCHED revision=1"]
    _, shown = ledger.ledger.open_events(ledger.claim)
    assert name not in shown["txn_id"].to_list()


@pytest.mark.parametrize("how", ["final", "replacing"])
def test_a_result_over_a_final_one_refuses_the_whole_flush(ledger, name, how):
    first = ledger.next(three(name))
    ledger.write(replace(first, final=judged(first.events)))
    fine = f"{name}-fine"
    second = ledger.next([*three(name), *three(fine)])
    with pytest.raises(AlreadyDecidedError) as refused:
        ledger.write(replace(second, **{how: judged(second.events)}))
    assert refused.value.decided.rows() == [(key_group_of(name), name)]
    assert ledger.of(fine) == []
    only_fine = judged(second.events).filter(pl.col("txn_id") == fine)
    ledger.write(replace(second, **{how: only_fine}))
    assert ledger.of(fine) == ["MATCHED revision=1"]


def test_a_new_final_result_over_a_provisional_one_is_refused_and_can_be_written_over_it(ledger, name):
    events = three(name)
    first = ledger.next(events[:2])
    ledger.write(replace(first, replacing=judged(first.events, [0, 0, 0])))
    second = ledger.next(events[2:])
    results = judged(pl.concat([first.events, second.events]))
    with pytest.raises(AlreadyDecidedError) as refused:
        ledger.write(replace(second, final=results))
    assert refused.value.decided["txn_id"].to_list() == [name]
    ledger.write(replace(second, replacing=results))
    assert ledger.of(name) == ["MATCHED revision=1"]


def test_two_results_of_one_transaction_refuse_the_flush(ledger, name):
    flush = ledger.next(three(name))
    result = judged(flush.events)
    with pytest.raises(AlreadyDecidedError) as refused:
        ledger.write(replace(flush, final=pl.concat([result, result])))
    assert refused.value.decided["txn_id"].to_list() == [name]


def test_a_revision_replaces_a_final_result(ledger, name):
    first = ledger.next(three(name))
    result = judged(first.events)
    ledger.write(replace(first, final=result))
    second = ledger.next([event(name, at=5, amount=130, offset=next(unique))])
    revised = judged(pl.concat([first.events, second.events]))
    flushed = ledger.write(replace(second, revised=revised, superseded=result))
    assert ledger.of(name) == ["MISMATCHED CONFLICT,AMOUNT revision=2"]
    assert flushed.changed["txn_id"].to_list() == [name]


def test_events_come_back_as_they_were_written(ledger, name):
    events = three(name, currency="KWD", amount=10**15)
    events[1] = replace(events[1], original_txn_id="before", event_time=A0 - 123_457, status=2)
    flush = ledger.next(events)
    result = judged(flush.events)
    ledger.write(replace(flush, final=result))
    found = ledger.ledger.events_of(result)
    assert found.sort("seq").equals(flush.events.select(EVENT_SCHEMA.keys()).sort("seq"))
    assert dict(found.schema) == EVENT_SCHEMA


def test_every_flush_has_a_moment_of_its_own_however_the_clock_goes(ledger, name):
    moments = []
    for number, now_ms in enumerate((A0, A0, A0 - 5_000)):
        flush = ledger.next(three(f"{name}-{number}"))
        flushed = ledger.write(replace(flush, final=judged(flush.events)), now_ms)
        moments += flushed.changed["decided_at"].to_list()
    assert moments == [moments[0], moments[0] + 1, moments[0] + 2]
    assert moments[0] >= A0


def test_decided_says_what_the_result_is(ledger, name):
    flush = ledger.next(three(name)[:2])
    result = judged(flush.events)
    ledger.write(replace(flush, final=result))
    asked = pl.DataFrame({"key_group": [key_group_of(name), 5], "txn_id": [name, "nobody"]})
    found = ledger.ledger.decided(asked)
    assert dict(found.schema) == RESULT_SCHEMA
    told = ["key_group", "txn_id", "verdict", "final", "revision", "rules_version", "breaks", "missing", "late", "legs"]
    assert found.select(told).rows() == result.select(told).rows()
    assert found["event_seqs"].to_list() == result["event_seqs"].to_list()


def test_rule_sets_are_told_with_every_flush(ledger, name):
    flushed = ledger.write(ledger.next(three(name)))
    assert [rules.version for rules in flushed.rule_sets] == [1]
    assert [rules.version for rules in ledger.ledger.rule_sets()] == [1]


def test_a_database_that_is_not_there_is_a_transient_trouble():
    nowhere = MemoryDatabase.with_ranges(RANGE)
    nowhere.is_down = True
    with pytest.raises(StoreUnavailableError):
        MemoryLedger(nowhere).rule_sets()


@REAL
def test_a_real_database_that_is_not_there_is_a_transient_trouble_too(fresh_db):
    kwargs = {**fresh_db.connect_kwargs("app"), "port": 1}
    nowhere = PostgresLedger(kwargs)
    with pytest.raises(StoreUnavailableError):
        nowhere.rule_sets()
    nowhere.close()


# -- SpillStore --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", pytest.param("redis", marks=REAL)])
def spill(request):
    """Makes the SpillStore of an epoch of the range that begins at a key group."""
    if request.param == "memory":
        server = MemoryRedis()
        yield lambda start, epoch=1: MemorySpill(server, Claim(start, start + 1, epoch, 1, 1, 0, {}))
        return
    client = connect(request.getfixturevalue("stack").redis.connect_kwargs())
    yield lambda start, epoch=1: RedisSpill(client, Claim(start, start + 1, epoch, 1, 1, 0, {}))
    client.close()


def pending(*txn_ids, closes_at=A0):
    events = [one for txn_id in txn_ids for one in three(txn_id)[:2]]
    rows = sent_frame(events).with_columns(seq=pl.int_range(len(events), dtype=pl.Int64)).select(EVENT_SCHEMA.keys())
    return core.open_events(rows, A0).with_columns(closes_at=pl.lit(closes_at, pl.Int64), checked=pl.lit(value=True))


def assert_same(found, rows):
    assert dict(found.schema) == core.PENDING_SCHEMA
    assert found.sort("txn_id", "seq").equals(rows.sort("txn_id", "seq"))


BUCKET = A0 // core.SPILL_BUCKET_MS


def test_named_transactions_come_back_once(spill):
    store = spill(10)
    rows = pending("A", "B", "C")
    store.put(rows)
    assert_same(store.take({BUCKET: ["A", "C"]}, []), rows.filter(pl.col("txn_id") != "B"))
    assert store.take({BUCKET: ["A"]}, []).is_empty()
    assert_same(store.take({}, [BUCKET]), rows.filter(pl.col("txn_id") == "B"))
    assert store.take({}, [BUCKET]).is_empty()


def test_buckets_are_by_the_second_of_closing(spill):
    store = spill(11)
    soon, later = pending("A"), pending("B", closes_at=A0 + 7_000)
    store.put(pl.concat([soon, later]))
    assert_same(store.take({}, [BUCKET]), soon)
    assert_same(store.take({BUCKET + 7: ["B"]}, [BUCKET + 1]), later)


def test_what_was_never_spilled_is_not_found(spill):
    assert spill(12).take({BUCKET: ["nobody"]}, [BUCKET + 1]).is_empty()


def test_clear_forgets_what_earlier_owners_of_the_range_spilled_and_nothing_else(spill):
    old, neighbour, new = spill(13), spill(14), spill(13, epoch=2)
    old.put(pending("A"))
    neighbour.put(pending("B"))
    new.clear()
    assert old.take({}, [BUCKET]).is_empty()
    assert len(neighbour.take({}, [BUCKET])) == 2


def test_a_fenced_owner_does_not_disturb_its_successor(spill):
    old, new = spill(15), spill(15, epoch=2)
    new.put(pending("A"))
    assert old.take({BUCKET: ["A"]}, [BUCKET]).is_empty()
    assert len(new.take({BUCKET: ["A"]}, [])) == 2


# -- EventLog ----------------------------------------------------------------------------------------------------------


class LogRig:
    """An event log of three topics and a way to write to them."""

    def __init__(self, log, topics, append, trim, add_partition):
        self.log, self.topics = log, topics
        self.append, self.trim, self.add_partition = append, trim, add_partition

    def poll(self, wanted):
        """Poll until so many records are there; gives (topic, partition, offset, key, value)."""
        records = []
        deadline = time.monotonic() + 30
        while len(records) < wanted and time.monotonic() < deadline:
            polled = self.log.poll(100, 0.2)
            records += [
                (*polled.partitions[origin], int(offset), polled.key_of(row), value)
                for row, (origin, offset, value) in enumerate(
                    zip(polled.origin, polled.offsets, polled.values, strict=True)
                )
            ]
        return sorted(records)


@pytest.fixture(params=["memory", pytest.param("kafka", marks=REAL)])
def event_log(request):
    if request.param == "memory":
        broker = MemoryBroker({source.topic: [[], []] for source in DEFAULT_SOURCES})
        rig = LogRig(
            MemoryEventLog(broker),
            list(broker.topics),
            lambda topic, partition, key, value: broker.append(topic, partition, MemoryRecord(key, value, A0)),
            lambda topic, partition, offset: broker.starts.update({(topic, partition): offset}),
            lambda topic: broker.topics[topic].append([]),
        )
    else:
        rig = _kafka_rig(request.getfixturevalue("stack"))
    yield rig
    rig.log.close()
    if request.param == "kafka":
        _delete(request.getfixturevalue("stack"), rig.topics)


def _kafka_rig(endpoints):
    from confluent_kafka import Producer, TopicPartition
    from confluent_kafka.admin import NewPartitions

    from cluster.stack.kafka import admin_client, ensure_topics

    topics = [f"contract_{next(unique)}_{time.monotonic_ns()}" for _ in DEFAULT_SOURCES]
    ensure_topics(endpoints.kafka, topics, 2, 86_400_000)
    producer = Producer({**endpoints.kafka.client_config("producer"), "log_level": 3})
    admin = admin_client(endpoints.kafka)

    def append(topic, partition, key, value):
        producer.produce(topic, partition=partition, key=key, value=value)
        assert producer.flush(30) == 0

    def trim(topic, partition, offset):
        [future] = admin.delete_records([TopicPartition(topic, partition, offset)]).values()
        future.result(30)

    def add_partition(topic):
        [future] = admin.create_partitions([NewPartitions(topic, 3)]).values()
        future.result(30)

    log = KafkaEventLog(endpoints.kafka.client_config("pipeline"), topics)
    _wait_for_rights(log, producer)
    return LogRig(log, topics, append, trim, add_partition)


def _wait_for_rights(log, producer):
    """A broker hears of new access rights a moment after they were given."""
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(KafkaUnavailableError):
            known = [producer.list_topics(topic, timeout=10).topics[topic].error for topic in log.partition_counts()]
            if not any(known):
                return
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _delete(endpoints, topics):
    from cluster.stack.kafka import delete_topics

    delete_topics(endpoints.kafka, topics)


def test_partitions_are_counted_afresh(event_log):
    assert event_log.log.partition_counts() == dict.fromkeys(event_log.topics, 2)
    event_log.add_partition(event_log.topics[1])
    deadline = time.monotonic() + 30
    while event_log.log.partition_counts()[event_log.topics[1]] != 3:
        assert time.monotonic() < deadline


def test_a_closed_log_has_let_both_its_clients_go():
    log = KafkaEventLog({"bootstrap.servers": ""}, ["nowhere"])
    log.close()
    for ask in (log._admin.list_topics, log._consumer.consume):
        with pytest.raises(RuntimeError, match="closed"):
            ask(timeout=0)


def test_an_empty_partition_begins_and_ends_at_nothing(event_log):
    keys = [(topic, 0) for topic in event_log.topics]
    assert event_log.log.earliest(keys) == dict.fromkeys(keys, 0)
    assert event_log.log.ends(keys) == dict.fromkeys(keys, 0)
    assert event_log.log.ends([]) == {}


def test_records_come_in_order_from_where_they_are_asked(event_log):
    topic, other, _ = event_log.topics
    for number in range(5):
        event_log.append(topic, 0, b"k%d" % number, b"v%d" % number)
    event_log.append(other, 1, None, b"")
    event_log.log.assign({(topic, 0): 2, (other, 1): 0})
    assert event_log.poll(4) == [
        *sorted((topic, 0, number, b"k%d" % number, b"v%d" % number) for number in (2, 3, 4)),
        (other, 1, 0, None, b""),
    ] or event_log.topics != sorted(event_log.topics)
    assert event_log.log.ends([(topic, 0), (other, 1)]) == {(topic, 0): 5, (other, 1): 1}


def test_a_new_assignment_goes_back(event_log):
    topic = event_log.topics[0]
    for number in range(3):
        event_log.append(topic, 0, None, b"v%d" % number)
    event_log.log.assign({(topic, 0): 0})
    assert len(event_log.poll(3)) == 3
    event_log.log.assign({(topic, 0): 1})
    assert [record[2] for record in event_log.poll(2)] == [1, 2]


def test_it_says_how_far_a_partition_was_read(event_log):
    topic = event_log.topics[0]
    for number in range(3):
        event_log.append(topic, 0, None, b"v%d" % number)
    event_log.log.assign({(topic, 0): 0})
    event_log.poll(3)
    deadline = time.monotonic() + 30
    while event_log.log.reached((topic, 0)) < 3:
        assert time.monotonic() < deadline
        assert not event_log.log.poll(10, 0.1).values


def test_a_position_that_is_past_retention_is_a_loss(event_log):
    topic = event_log.topics[0]
    for number in range(4):
        event_log.append(topic, 0, None, b"v%d" % number)
    event_log.trim(topic, 0, 3)
    assert event_log.log.earliest([(topic, 0)]) == {(topic, 0): 3}
    event_log.log.assign({(topic, 0): 1})
    with pytest.raises(LostRecordsError) as lost:  # noqa: PT012 (the client finds out while it polls)
        for _ in range(100):
            event_log.log.poll(10, 0.1)
    assert lost.value.earliest == 3


def test_positions_can_be_told_to_lag_tools(event_log):
    topic = event_log.topics[0]
    event_log.append(topic, 0, None, b"v")
    event_log.log.assign({(topic, 0): 0})
    event_log.poll(1)
    event_log.log.commit({(topic, 0): 1, (topic, 1): -1})
