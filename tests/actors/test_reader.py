"""PartitionReader on an in-memory broker: what it sends, how far it says it has read, and how it goes back."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field

import polars as pl
import pytest

from actors.adapters.memory import (
    LocalShard,
    LocalTicket,
    MemoryBroker,
    MemoryDatabase,
    MemoryEventLog,
    MemoryFeed,
    MemoryLedger,
    MemoryRecord,
    MemoryRedis,
    MemorySpill,
)
from actors.matching.frames import empty
from actors.ports import Batch, Incarnation, OffsetRange
from actors.reader import SENT_SCHEMA, PartitionReader, ReaderOptions, partitions_by_reader
from actors.readings import Readings
from actors.shard import MatcherShard, ShardOptions
from producers.emission import Event
from producers.wire import Encoder
from schemas.errors import GapError, KafkaUnavailableError, LostRecordsError, RegistryUnavailableError, ShardLostError
from schemas.events import DEFAULT_SOURCES, Status, key_group_of, schema_text
from schemas.verdicts import Verdict
from tests.actors.workbench import A0, PATIENCE_S, Clock, eventually
from wire.events import WriterSchema

CORE, GATEWAY, MOBILE = (source.topic for source in DEFAULT_SOURCES)
WRITER = WriterSchema.parse(1, schema_text())
ENCODER = Encoder(1)
GRACE_MS = 500
NO_SENT = empty(SENT_SCHEMA)


def known(schema_id):
    return WRITER if schema_id == 1 else None


def record(txn_id="T1", source="CORE", *, at=0, event_id=None, **changes) -> MemoryRecord:
    fields = {
        "event_id": event_id or f"{source}-{txn_id}-{at}",
        "txn_id": txn_id,
        "source": source,
        "amount_minor": 100,
        "currency": "EUR",
        "status": Status.SUCCESS,
        "event_time": A0 + at,
        "account_id": "ACC",
        **changes,
    }
    return MemoryRecord(txn_id.encode(), ENCODER.encode(Event(**fields)), A0 + at)


@dataclass
class Recorder:
    """A ShardClient that keeps what it was sent."""

    key_group_from: int = 0
    key_group_to: int = 128
    at: dict = field(default_factory=dict)
    sent: list[Batch] = field(default_factory=list)
    error: BaseException | None = None

    def send(self, batch):
        self.sent.append(batch)
        if self.error is not None:
            return LocalTicket(self.error)
        self.at.update({(one.topic, one.partition): one.stop for one in batch.ranges})
        return LocalTicket(dict(self.at))

    def positions(self):
        return dict(self.at)

    def alive(self):
        return True


class Rig:
    """One reader of all partitions, its broker, clock and shards."""

    def __init__(self, *shards, partitions=2, lookup=known, **options):
        self.clock = Clock()
        topics = {source.topic: [[] for _ in range(partitions)] for source in DEFAULT_SOURCES}
        self.broker = MemoryBroker(topics)
        self.shards = shards or (Recorder(),)
        keys = tuple((topic, partition) for topic in topics for partition in range(partitions))
        self.reader = PartitionReader(
            ReaderOptions(
                "reader-0", keys, batch_wait_ms=1, busy_wait_ms=1, rush_wait_ms=1, retry_interval_ms=1, **options
            ),
            DEFAULT_SOURCES,
            MemoryEventLog(self.broker),
            lambda: Readings.built_in(DEFAULT_SOURCES, lookup),
            self.shards,
            self.clock,
            lambda: self.ended.append(True),
        )
        self.ended = []

    def turn(self, after_ms=200):
        self.clock.now_ms += after_ms
        return self.reader.turn()

    @property
    def last(self) -> Batch:
        return self.shards[0].sent[-1]


@pytest.fixture
def rig():
    made = Rig()
    made.reader.locate()
    return made


# -- what is sent ------------------------------------------------------------------------------------------------------


def test_records_become_events_with_their_place_and_the_broker_s_stamp(rig):
    rig.broker.append(GATEWAY, 1, record("T9", "GATEWAY", at=7, original_txn_id="T8"))
    rig.turn()
    [row] = rig.last.events.iter_rows(named=True)
    assert (row["txn_id"], row["source"], row["arrival"], row["partition"], row["offset"]) == ("T9", 1, A0 + 7, 1, 0)
    assert (row["key_group"], row["original_txn_id"]) == (key_group_of("T9"), "T8")


def test_every_shard_gets_its_part_and_the_whole_range():
    low, high = Recorder(0, 64), Recorder(64, 128)
    rig = Rig(low, high)
    rig.reader.locate()
    names = [f"T{number}" for number in range(40)]
    for name in names:
        rig.broker.append(CORE, 0, record(name))
    rig.turn()
    for shard in (low, high):
        assert {
            key_group_of(name) for name in names if shard.key_group_from <= key_group_of(name) < shard.key_group_to
        } == set(shard.sent[-1].events["key_group"])
        assert [(one.start, one.stop) for one in shard.sent[-1].ranges if (one.topic, one.partition) == (CORE, 0)] == [
            (0, 40)
        ]
    assert len(low.sent[-1].events) + len(high.sent[-1].events) == 40


def test_every_batch_says_where_all_partitions_stand(rig):
    rig.broker.append(CORE, 0, record())
    rig.turn()
    rig.turn()
    ranges = {(one.topic, one.partition): (one.start, one.stop) for one in rig.last.ranges}
    assert set(ranges) == {(topic, partition) for topic in (CORE, GATEWAY, MOBILE) for partition in (0, 1)}
    assert ranges[CORE, 0] == (1, 1)
    assert ranges[CORE, 1] == (0, 0)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "not_framed"),
        (None, "not_framed"),
        (b"{json}", "not_framed"),
        (b"\0\0\0\0\x02rest", "unknown_schema"),
        (ENCODER.encode(Event("e", "T", "MOBILE", 1, "EUR", Status.SUCCESS, A0, "A")), "wrong_source"),
        (ENCODER.encode(Event("e", "T", "CORE", -1, "EUR", Status.SUCCESS, A0, "A")), "bad_amount"),
        (ENCODER.encode(Event("e", "T", "CORE", 1, "XXX", Status.SUCCESS, A0, "A")), "unknown_currency"),
        (ENCODER.encode(Event("", "T", "CORE", 1, "EUR", Status.SUCCESS, A0, "A")), "bad_id"),
        (ENCODER.encode(Event("e", "T", "CORE", 1, "EUR", Status.SUCCESS, 0, "A")), "absurd_time"),
        (ENCODER.encode(Event("e", "T", "CORE", 1, "EUR", Status.SUCCESS, A0, "A"))[:-2], "malformed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_acceptable_event_is_set_aside_with_its_bytes(rig, value, reason):
    rig.broker.append(CORE, 0, record("T0"))
    rig.broker.append(CORE, 0, MemoryRecord(b"key", value, A0))
    rig.broker.append(CORE, 0, record("T2"))
    rig.turn()
    [bad] = rig.last.dead_letters
    assert (bad.topic, bad.partition, bad.offset, bad.reason, bad.key, bad.payload) == (
        CORE,
        0,
        1,
        reason,
        b"key",
        value,
    )
    assert rig.last.events["txn_id"].to_list() == ["T0", "T2"]
    assert (CORE, 0, 0, 3) in {(one.topic, one.partition, one.start, one.stop) for one in rig.last.ranges}


def test_a_registry_that_does_not_answer_condemns_nothing():
    answers = [RegistryUnavailableError("no answer"), WRITER]

    def lookup(_):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    rig = Rig(lookup=lookup)
    rig.reader.locate()
    rig.broker.append(CORE, 0, record())
    with pytest.raises(RegistryUnavailableError):
        rig.turn()
    assert rig.shards[0].sent == []
    rig.reader.locate()
    rig.turn()
    assert len(rig.last.events) == 1
    assert not rig.last.dead_letters


# -- watermarks --------------------------------------------------------------------------------------------------------


def test_a_partition_that_is_read_to_its_end_moves_on_with_the_clock(rig):
    rig.turn(5_000)
    assert set(rig.last.watermarks_ms.values()) == {A0 + 5_000 - GRACE_MS}


def test_a_partition_with_records_left_stands_at_what_was_read():
    rig = Rig(batch_rows_max=1)
    rig.clock.now_ms += 1_000
    rig.reader.locate()
    for at in (10, 20, 30):
        rig.broker.append(CORE, 0, record(f"T{at}", at=at))
    rig.turn(5_000)
    assert rig.last.watermarks_ms[CORE, 0] == A0 + 10
    assert rig.last.watermarks_ms[GATEWAY, 0] == A0 + 6_000 - GRACE_MS
    rig.turn(5_000)
    assert rig.last.watermarks_ms[CORE, 0] == A0 + 20


def test_records_that_are_never_delivered_do_not_hold_a_watermark_up(rig):
    rig.broker.append(CORE, 0, MemoryRecord(None, None, A0, is_marker=True))
    rig.turn(5_000)
    rig.turn(5_000)
    assert rig.last.watermarks_ms[CORE, 0] == A0 + 10_000 - GRACE_MS


def test_a_silent_broker_moves_no_watermark(rig):
    rig.turn(1_000)
    before = dict(rig.last.watermarks_ms)
    rig.broker.is_down = True
    with pytest.raises(KafkaUnavailableError):
        rig.turn(60_000)
    assert rig.last.watermarks_ms == before
    rig.broker.is_down = False
    rig.reader.locate()
    rig.turn(1_000)
    assert rig.last.watermarks_ms[CORE, 0] == A0 + 62_000 - GRACE_MS


def test_shards_hear_of_a_new_partition_before_watermarks_pass_its_making(rig):
    """What it holds would otherwise be called missing."""
    rig.turn(2_000)
    made = rig.clock.now_ms
    rig.broker.topics[CORE].append([])
    for after in (100, 200, 1_000, 60_000):
        rig.turn(after)
    passed = [batch for batch in rig.shards[0].sent if max(batch.watermarks_ms.values()) > made]
    assert passed
    assert {batch.partition_counts[CORE] for batch in passed} == {3}


def test_an_old_answer_takes_no_partition_away(rig):
    rig.broker.topics[CORE].append([])
    rig.turn(2_000)
    rig.broker.topics[CORE].pop()
    rig.turn(2_000)
    assert rig.last.partition_counts[CORE] == 3


def test_watermarks_never_go_back_while_reading_on(rig):
    rig.turn(10_000)
    rig.broker.append(CORE, 0, record(at=20))
    rig.turn(1)
    rig.turn(200)
    assert rig.last.watermarks_ms[CORE, 0] >= A0 + 10_000 - GRACE_MS


def test_watermarks_begin_again_when_the_reader_goes_back(rig):
    """A shard that lost what it was sent must not hear that it was read."""
    rig.turn(50_000)
    rig.broker.append(CORE, 0, record("T1", at=50_100))
    rig.broker.append(CORE, 0, record("T2", at=50_200))
    rig.turn(200)
    rig.turn(20_000)
    assert rig.last.watermarks_ms[CORE, 0] > A0 + 60_000
    rig.shards[0].at[CORE, 0] = 0
    rig.reader._options = ReaderOptions("reader-0", rig.reader._options.partitions, batch_rows_max=1, batch_wait_ms=1)
    rig.reader.locate()
    rig.turn(200)
    assert rig.last.watermarks_ms[CORE, 0] == A0 + 50_100


# -- going back --------------------------------------------------------------------------------------------------------


def test_it_starts_where_the_shard_that_is_least_far_stands():
    behind, ahead = Recorder(0, 64, {(CORE, 0): 1}), Recorder(64, 128, {(CORE, 0): 3})
    rig = Rig(behind, ahead)
    for number in range(4):
        rig.broker.append(CORE, 0, record(f"T{number}", at=number))
    rig.reader.locate()
    rig.turn()
    [covered] = [one for one in ahead.sent[-1].ranges if (one.topic, one.partition) == (CORE, 0)]
    assert (covered.start, covered.stop) == (1, 4)


def test_records_that_are_gone_before_they_were_read_stop_the_reader(rig):
    rig.shards[0].at = {(CORE, 0): 2}
    rig.broker.starts[CORE, 0] = 5
    with pytest.raises(LostRecordsError) as lost:
        rig.reader.locate()
    assert (lost.value.position, lost.value.earliest) == (2, 5)
    rig.reader.stop()
    rig.reader.run()
    assert rig.ended == [True]


def test_lost_records_halt_it_until_an_operator_gives_them_up():
    rig = Rig(halt_interval_ms=5)
    rig.broker.topics[CORE][0] = [record(f"T{number}") for number in range(7)]
    rig.shards[0].at = {(CORE, 0): 2}
    rig.broker.starts[CORE, 0] = 5
    known = {CORE: Incarnation(f"{CORE}-0")}
    rig.reader._ask_incarnations = lambda: known
    thread = threading.Thread(target=rig.reader.run)
    thread.start()
    eventually(lambda: rig.reader.status().trouble.startswith("halted: lost records"))
    assert rig.shards[0].sent == []
    known[CORE] = Incarnation(f"{CORE}-0", skipped={0: 5})
    eventually(lambda: any(len(batch.events) for batch in rig.shards[0].sent))
    ranges = [one for batch in rig.shards[0].sent for one in batch.ranges if (one.topic, one.partition) == (CORE, 0)]
    assert (ranges[0].start, ranges[-1].stop) == (2, 7)
    assert all(after.start == before.stop for before, after in itertools.pairwise(ranges))
    assert rig.reader.status().trouble == ""
    rig.reader.stop()
    thread.join(PATIENCE_S)


def test_a_topic_made_anew_halts_it_and_is_read_from_its_beginning_once_accepted():
    rig = Rig(halt_interval_ms=5, metadata_interval_ms=0, watermark_interval_ms=0)
    rig.broker.topics[CORE][0] = [record(f"T{number}") for number in range(3)]
    known = {CORE: Incarnation(f"{CORE}-0")}
    rig.reader._ask_incarnations = lambda: known
    thread = threading.Thread(target=rig.reader.run)
    thread.start()
    eventually(lambda: sum(len(batch.events) for batch in rig.shards[0].sent) == 3)
    rig.shards[0].at = {(CORE, 0): 3}
    rig.broker.recreate(CORE)
    for number in range(5):
        rig.broker.append(CORE, 0, record(f"N{number}"))
    eventually(lambda: rig.reader.status().trouble.startswith("halted: topic made anew"))
    assert f"{CORE}-1" in rig.reader.status().trouble
    known[CORE] = Incarnation(f"{CORE}-1", bases={0: 3})
    eventually(lambda: sum(len(batch.events) for batch in rig.shards[0].sent) >= 8)
    events = pl.concat([batch.events for batch in rig.shards[0].sent])
    assert events.filter(pl.col("txn_id").str.starts_with("N"))["offset"].to_list() == [3, 4, 5, 6, 7]
    rig.reader.stop()
    thread.join(PATIENCE_S)


def test_partitions_that_a_topic_made_anew_no_longer_has_hold_no_watermark_up():
    rig = Rig(partitions=3)
    rig.broker.recreate(CORE)
    rig.broker.topics[CORE] = [[record("N1")]]
    rig.reader._ask_incarnations = lambda: {CORE: Incarnation(f"{CORE}-1", bases={0: 7, 1: 5, 2: 9})}
    rig.reader.locate()
    rig.turn(5_000)
    rig.turn(5_000)
    assert {rig.last.watermarks_ms[CORE, partition] for partition in range(3)} == {A0 + 10_000 - GRACE_MS}
    assert rig.last.partition_counts[CORE] == 1
    rig.broker.topics[CORE].append([record("N2")])
    with pytest.raises(KafkaUnavailableError):
        rig.turn(5_000)
    rig.reader.locate()
    rig.turn(200)
    assert [txn for batch in rig.shards[0].sent for txn in batch.events["txn_id"]] == ["N1", "N2"]


def test_a_marker_at_the_end_is_read_too(rig):
    rig.broker.append(CORE, 0, record("T1"))
    rig.broker.append(CORE, 0, MemoryRecord(None, None, A0, is_marker=True))
    rig.turn()
    [partition] = [one for one in rig.reader.status().partitions if (one.topic, one.partition) == (CORE, 0)]
    assert partition.position == 2
    rig.broker.append(CORE, 0, MemoryRecord(None, None, A0, is_marker=True))
    rig.turn(5_000)
    assert [one.stop for one in rig.last.ranges if (one.topic, one.partition) == (CORE, 0)] == [3]
    rig.broker.starts[CORE, 0] = 3  # all is gone, and nothing is lost
    rig.shards[0].at = {(CORE, 0): 3}
    rig.reader.locate()


def test_a_new_ledger_begins_where_the_log_does(rig):
    rig.broker.topics[CORE][0] = [record(at=number) for number in range(7)]
    rig.broker.starts[CORE, 0] = 5
    rig.reader.locate()
    rig.turn()
    assert {one.log_start for one in rig.last.ranges if (one.topic, one.partition) == (CORE, 0)} == {5}
    assert rig.last.events["offset"].to_list() == [5, 6]


@pytest.mark.parametrize("error", [ShardLostError("gone"), GapError(CORE, 0, 0, 1)], ids=["shard-lost", "gap"])
def test_a_shard_that_refuses_or_is_gone_sends_it_back(rig, error):
    rig.broker.append(CORE, 0, record("T1"))
    rig.shards[0].error = error
    rig.turn()
    with pytest.raises(type(error)):
        rig.turn()
    rig.shards[0].error = None
    rig.reader.locate()
    rig.turn()
    assert rig.last.events["txn_id"].to_list() == ["T1"]


def test_running_it_waits_trouble_out_and_goes_on():
    rig = Rig()
    rig.broker.append(CORE, 0, record("T1"))
    rig.broker.is_down = True
    thread = threading.Thread(target=rig.reader.run)
    thread.start()
    eventually(lambda: "KafkaUnavailable" in rig.reader.status().trouble)
    rig.broker.is_down = False
    eventually(lambda: any(len(batch.events) for batch in rig.shards[0].sent))
    eventually(lambda: rig.reader.status().trouble == "")
    assert rig.ended == []
    rig.reader.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert rig.ended == [True]


def test_more_batches_than_allowed_are_not_in_flight():
    class Slow(Recorder):
        def send(self, batch):
            ticket = super().send(batch)
            answered.append(ticket)
            return Waiting(ticket)

    class Waiting:
        def __init__(self, ticket):
            self.ticket = ticket

        def done(self, timeout_s=0.0):
            return timeout_s > 0

        def result(self):
            asked.append(self.ticket)
            return self.ticket.result()

    answered: list = []
    asked: list = []
    rig = Rig(Slow(), batches_in_flight_max=2)
    rig.reader.locate()
    for at in range(5):
        rig.broker.append(CORE, 0, record(f"T{at}", at=at))
        rig.turn()
        assert len(answered) - len(asked) <= 2


class Stuck(Recorder):
    """A shard that takes batches into its queue and answers none until it is let go."""

    def __init__(self):
        super().__init__()
        self.lives = True
        self.asked = 0
        self.free = threading.Event()

    def send(self, batch):
        return StuckTicket(self, super().send(batch))

    def alive(self):
        self.asked += 1
        return self.lives


@dataclass
class StuckTicket:
    shard: Stuck
    ticket: LocalTicket

    def done(self, timeout_s=0.0):
        return self.shard.free.wait(timeout_s)

    def result(self):
        assert self.shard.free.is_set()
        return self.ticket.result()


@pytest.fixture
def stuck():
    """A running reader whose shard has as many batches as it may, answers none, and has been asked if it lives."""
    shard = Stuck()
    made = Rig(shard, batches_in_flight_max=2, shard_patience_ms=1, watermark_interval_ms=0)
    thread = threading.Thread(target=made.reader.run)
    thread.start()
    eventually(lambda: shard.asked >= 5)
    yield made
    made.reader.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_living_shard_that_takes_nothing_is_waited_for_and_sent_nothing_twice(stuck):
    shard = stuck.shards[0]
    assert len(shard.sent) == 2
    assert "takes no batch" in stuck.reader.status().trouble
    for number in range(5):
        stuck.broker.append(CORE, 0, record(f"T{number}"))
    asked = shard.asked
    eventually(lambda: shard.asked >= asked + 5)
    assert len(shard.sent) == 2
    shard.free.set()
    eventually(lambda: sum(len(batch.events) for batch in shard.sent) == 5)
    eventually(lambda: stuck.reader.status().trouble == "")
    ranges = [one for batch in shard.sent for one in batch.ranges if (one.topic, one.partition) == (CORE, 0)]
    assert [one.start for one in ranges[1:]] == [one.stop for one in ranges[:-1]], "each offset was sent once"


def test_a_shard_that_neither_takes_nor_answers_is_lost(stuck):
    shard = stuck.shards[0]
    shard.lives = False
    eventually(lambda: len(shard.sent) > 2)  # it went back to where the shard stands


def test_a_reader_stops_while_it_waits_for_a_shard(stuck):
    stuck.reader.stop()  # the fixture sees it end


def test_going_back_it_first_lets_arrive_what_a_slow_shard_still_holds():
    slow, gone = Stuck(), Recorder()
    slow.key_group_to = gone.key_group_from = 64
    rig = Rig(slow, gone, shard_patience_ms=1)
    rig.reader.locate()
    rig.broker.append(CORE, 0, record())
    gone.error = ShardLostError("gone")
    rig.turn()
    with pytest.raises(ShardLostError):
        rig.turn()
    gone.error = None
    held = len(slow.sent)
    going_back = threading.Thread(target=rig.reader.locate)
    going_back.start()
    eventually(lambda: slow.asked >= 3)
    assert going_back.is_alive()
    assert len(slow.sent) == held
    slow.free.set()
    going_back.join(PATIENCE_S)
    assert not going_back.is_alive()


def test_paused_it_reads_nothing_and_is_idle_once_all_has_arrived(rig):
    rig.turn()
    rig.reader.pause()
    rig.broker.append(CORE, 0, record())
    sent = len(rig.shards[0].sent)
    assert rig.turn() == 0
    assert len(rig.shards[0].sent) == sent
    assert rig.reader.idle()
    rig.reader.resume()
    assert rig.turn() == 1


def test_lag_tools_hear_only_of_what_every_shard_has_in_the_ledger():
    one, two = Recorder(0, 64), Recorder(64, 128)
    rig = Rig(one, two)
    rig.reader.locate()
    rig.broker.append(CORE, 0, record())
    rig.turn(5_000)
    rig.turn(5_000)
    assert rig.broker.committed[CORE, 0] == 1


def test_partitions_are_dealt_so_that_every_reader_sees_every_source():
    dealt = partitions_by_reader({CORE: 4, GATEWAY: 4, MOBILE: 4}, 2)
    assert sorted(key for keys in dealt for key in keys) == sorted(
        (topic, partition) for topic in (CORE, GATEWAY, MOBILE) for partition in range(4)
    )
    assert all({topic for topic, _ in keys} == {CORE, GATEWAY, MOBILE} for keys in dealt)


def test_it_goes_on_with_the_partitions_that_it_is_given_later(rig):
    thread = threading.Thread(target=rig.reader.run)
    thread.start()
    rig.broker.append(CORE, 0, record("T1"))
    eventually(lambda: sum(len(batch.events) for batch in rig.shards[0].sent) == 1)
    rig.broker.topics[CORE].append([record("T2")])
    keys = ((CORE, 0), (CORE, 2))
    for _ in range(3):
        rig.reader.assign(keys)
    eventually(lambda: sum(len(batch.events) for batch in rig.shards[0].sent) == 2)
    rig.reader.stop()
    thread.join(PATIENCE_S)
    assert [(one.topic, one.partition) for one in rig.reader.status().partitions] == list(keys)
    assert rig.last.partition_counts[CORE] == 3
    [again] = [one for one in rig.last.ranges if (one.topic, one.partition) == (CORE, 0)]
    assert again.start == 1, "it goes on where the shard is"


# -- with real shards --------------------------------------------------------------------------------------------------


class Line:
    """A reader and two shards on one database, all in this process."""

    def __init__(self):
        self.database = MemoryDatabase.with_ranges((0, 64), (64, 128))
        self.redis = MemoryRedis()
        self.clients = [LocalShard(0, 64), LocalShard(64, 128)]
        self.rig = Rig(*self.clients, partitions=1)
        self.shards = [self.make(client) for client in self.clients]

    def make(self, client):
        client.shard = MatcherShard(
            ShardOptions(
                client.key_group_from,
                client.key_group_to,
                "shard",
                flush_interval_ms=1,
                idle_flush_interval_ms=1,
                retry_interval_ms=1,
                check_age_ms=0,
                housekeeping_interval_ms=0,
            ),
            DEFAULT_SOURCES,
            MemoryLedger(self.database),
            lambda claim: MemorySpill(self.redis, claim),
            MemoryFeed(),
            lambda error: None,
            self.rig.clock,
        )
        return client.shard

    def close(self):
        for shard in self.shards:
            shard.close()


@pytest.fixture
def line():
    made = Line()
    made.rig.reader.locate()
    yield made
    made.close()


def test_a_shard_that_died_with_records_on_their_way_never_calls_them_missing(line):
    """Its successor hears watermarks only together with the records below them."""
    rig = line.rig
    victim = line.clients[0] if key_group_of("T1") < 64 else line.clients[1]
    for topic, source in ((CORE, "CORE"), (GATEWAY, "GATEWAY")):
        rig.broker.append(topic, 0, record("T1", source))
    rig.turn()
    assert victim.shard.drain(PATIENCE_S)
    line.database.is_down = True
    rig.broker.append(MOBILE, 0, record("T1", "MOBILE", at=100))
    rig.turn()  # the shard takes it and cannot write it
    victim.shard._stopping.set()
    line.database.is_down = False
    line.shards.append(line.make(victim))
    rig.clock.now_ms += 60_000
    rig.turn()  # what is sent now is refused, until the reader goes back
    with pytest.raises(GapError):
        rig.turn()
    rig.reader.locate()
    for _ in range(4):
        rig.turn(2_000)
        assert victim.shard.drain(PATIENCE_S)
    [row] = line.database.results.values()
    assert (row["verdict"], row["revision"], row["missing"]) == (Verdict.MATCHED, 1, 0)
    assert line.database.history == []


@pytest.mark.parametrize(
    ("records", "elapsed_s", "waits_ms"),
    [(0, 0.1, 100), (500, 0.1, 100), (500, 0.001, 100), (2_500, 0.1, 200), (2_500, 0.2, 100), (12_000, 0.2, 500)],
    ids=["nothing", "little", "few at once", "much", "few a second", "a backlog"],
)
def test_a_poll_waits_the_longer_the_more_there_is(records, elapsed_s, waits_ms):
    assert ReaderOptions("reader-0", ()).patience_ms(records, elapsed_s) == waits_ms


def test_a_partition_that_another_reads_holds_no_window_open(line):
    """Nobody gives this reader new partitions: it has to see by itself that there are more."""
    rig = line.rig
    owner = line.clients[0] if key_group_of("T1") < 64 else line.clients[1]
    rig.turn(1_000)
    rig.broker.topics[MOBILE].append([])
    rig.broker.append(CORE, 0, record("T1", at=1_000))
    rig.broker.append(GATEWAY, 0, record("T1", "GATEWAY", at=1_000))
    for _ in range(4):
        rig.turn(60_000)
        assert owner.shard.drain(PATIENCE_S)
    assert [row["verdict"] for row in line.database.results.values()] == [Verdict.PENDING], "it may hold the leg"
    watermarks = {(MOBILE, 1): rig.clock.now_ms}
    at = OffsetRange(MOBILE, 1, 0, 0)  # as the other reader says it
    owner.send(Batch([at], watermarks, NO_SENT, partition_counts={CORE: 1, GATEWAY: 1, MOBILE: 2}))
    for _ in range(2):
        rig.turn(2_000)
        assert owner.shard.drain(PATIENCE_S)
    [row] = line.database.results.values()
    assert (row["verdict"], row["missing"]) == (Verdict.MISMATCHED, 0b100)


def test_a_marker_that_comes_later_alone_moves_the_position_too(rig):
    rig.broker.append(CORE, 0, record("T1"))
    rig.turn()
    assert rig.shards[0].at[CORE, 0] == 1
    rig.broker.append(CORE, 0, MemoryRecord(None, None, A0, is_marker=True))
    rig.turn()
    assert rig.shards[0].at[CORE, 0] == 2


def test_a_log_emptied_behind_a_marker_has_lost_nothing(rig):
    rig.broker.append(CORE, 0, record("T1"))
    rig.broker.append(CORE, 0, MemoryRecord(None, None, A0, is_marker=True))
    rig.turn()
    rig.broker.starts[CORE, 0] = 2
    rig.reader.locate()
    rig.broker.append(CORE, 0, record("T2"))
    rig.turn()
    assert rig.last.events["txn_id"].to_list() == ["T2"]
    assert rig.shards[0].at[CORE, 0] == 3


def test_a_new_incarnation_is_read_whole_although_no_shard_stands_at_its_beginning():
    first, second = Recorder(key_group_to=64), Recorder(key_group_from=64)
    rig = Rig(first, second)
    rig.broker.recreate(CORE)
    rig.broker.topics[CORE] = [[record("N1"), record("N2")], []]
    first.at, second.at = {(CORE, 0): 90}, {(CORE, 0): 105}
    rig.reader._ask_incarnations = lambda: {CORE: Incarnation(f"{CORE}-1", bases={0: 1_000})}
    rig.reader.locate()
    rig.turn()
    ids = [txn for shard in rig.shards for batch in shard.sent for txn in batch.events["txn_id"]]
    assert sorted(ids) == ["N1", "N2"]
    [covered] = [one for one in rig.last.ranges if (one.topic, one.partition) == (CORE, 0)]
    assert (covered.start, covered.stop) == (90, 1_002)
