"""Kafka's corners on a running pipeline: transactions, topics that are made anew, records that are lost."""

from __future__ import annotations

from contextlib import closing

import pytest
from confluent_kafka import Producer, TopicPartition

from actors.adapters.kafka import KafkaEventLog
from cluster.log_topics import NothingToAcceptError, accept
from cluster.stack.kafka import admin_client, delete_topics, ensure_topics
from schemas.errors import TopicRecreatedError
from tests.conftest import run_sync

pytestmark = pytest.mark.stack


def lag(rig):
    return sum(part["lag"] for part in rig.status()["partitions"])


def transaction(rig, topic, *, commit):
    """One transaction of one record that is not ours to understand, on partition 0."""
    config = {**rig.endpoints.kafka.client_config("producer"), "transactional.id": f"tests-{topic}", "log_level": 2}
    with closing(Producer(config)) as producer:
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce(topic, partition=0, key=b"T", value=b"no record of ours")
        (producer.commit_transaction if commit else producer.abort_transaction)(30)


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "aborted"])
def test_the_marker_of_a_transaction_at_the_end_leaves_no_lag(rig, commit):
    with rig.traffic(seconds=1.0):
        pass
    before = len(rig.sql("select from dead_letters"))
    for source in rig.endpoints.sources:
        transaction(rig, source.topic, commit=commit)
    rig.eventually(lambda: lag(rig) == 0)
    report = rig.verify()
    assert report.behind == {}
    assert len(rig.sql("select from dead_letters")) == before + (len(rig.endpoints.sources) if commit else 0)


def decide(rig, topic):
    with closing(KafkaEventLog(rig.endpoints.kafka.client_config("reader"), [topic])) as log:
        return run_sync(accept(rig.endpoints.postgres.connect_kwargs("owner"), log, topic, "tests", "it was planned"))


def halted(rig):
    return [actor["trouble"] for actor in rig.status()["actors"] if actor["trouble"].startswith("halted")]


def test_a_topic_that_was_emptied_behind_what_was_read_loses_nothing(rig):
    topic = rig.endpoints.sources[0].topic
    transaction(rig, topic, commit=True)
    rig.eventually(lambda: lag(rig) == 0)
    rig.verify()
    assert rig.stop()
    admin = admin_client(rig.endpoints.kafka)  # has to live until its futures are done
    partitions = admin.list_topics(topic, timeout=30).topics[topic].partitions
    for future in admin.delete_records([TopicPartition(topic, part, -1) for part in partitions]).values():
        future.result(30)
    rig.start()
    rig.eventually(lambda: lag(rig) == 0)
    assert halted(rig) == []
    with pytest.raises(NothingToAcceptError):
        decide(rig, topic)
    with rig.traffic(seconds=1.0):
        pass
    rig.verify()


@pytest.mark.parametrize("is_down", [True, False], ids=["while-it-is-down", "while-it-runs"])
def test_a_topic_that_is_made_anew_halts_its_reader_until_it_is_accepted(rig, is_down):
    with rig.traffic(seconds=2.0):
        pass
    rig.verify()
    topic = rig.endpoints.sources[1].topic
    count = "select count(*) as n from raw_events where source = $1"
    before = rig.sql(count, rig.endpoints.sources[1].name)[0]["n"]
    if is_down:
        assert rig.stop()
    delete_topics(rig.endpoints.kafka, [topic])
    ensure_topics(rig.endpoints.kafka, [topic], 1, rig.settings.topic_retention_ms)
    if is_down:
        rig.start()
    rig.eventually(lambda: halted(rig))
    assert topic in halted(rig)[0]
    with rig.traffic(seconds=2.0):
        pass
    assert rig.sql(count, rig.endpoints.sources[1].name)[0]["n"] == before
    with pytest.raises(TopicRecreatedError):
        rig.verify()  # these are not the records that were judged
    decided = decide(rig, topic)
    assert decided["known_id"] != decided["found_id"]
    rig.eventually(lambda: not halted(rig) and lag(rig) == 0)
    rig.verify()
    assert rig.sql(count, rig.endpoints.sources[1].name)[0]["n"] > before
    [entry] = rig.sql("select * from audit_logs where chain = 'topics' order by seq desc limit 1")
    assert (entry["action"], entry["object_id"], entry["actor"]) == ("topic.accepted", topic, "tests")


def test_lost_records_halt_the_reader_until_they_are_given_up(rig):
    topic = rig.endpoints.sources[2].topic
    assert rig.stop()
    with rig.traffic(seconds=1.0):
        pass
    admin = admin_client(rig.endpoints.kafka)
    for future in admin.delete_records([TopicPartition(topic, 0, -1)]).values():
        future.result(30)
    rig.start()
    rig.eventually(lambda: halted(rig))
    assert "lost records" in halted(rig)[0]
    decided = decide(rig, topic)
    assert decided["skipped"]
    rig.eventually(lambda: not halted(rig) and lag(rig) == 0)
    with rig.traffic(seconds=1.0):
        pass
    rig.verify()
