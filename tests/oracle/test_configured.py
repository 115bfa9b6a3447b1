"""Foreign topics and files on real services: what the engine made of them, and that the oracle finds no difference."""

from __future__ import annotations

import contextlib
import io
import json
import secrets
import time
from datetime import UTC, datetime
from decimal import Decimal

import fastavro
import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from typer.testing import CliRunner

from cluster.activation import Configuration, activate
from cluster.cli import build
from cluster.cli.exit_codes import ExitCode
from cluster.endpoints import SourceEndpoint
from cluster.layout import prepare
from cluster.reading_versions import LedgerReadings
from cluster.settings import get_settings
from cluster.stack.kafka import delete_topics, ensure_topics
from cluster.stack.registry import ensure_subjects
from schemas.events import schema_text
from tests.oracle.conftest import KEY_GROUP_RANGES, Recon, run_sync, running
from wire.framing import framed, with_indexes
from wire.protobuf_text import compiled

pytestmark = pytest.mark.stack
S = secrets.token_hex(3)
NAME = f"r{S}"
PROTO = """
syntax = "proto3";
package bank;
message Other { string x = 1; }
message Leg { string rrn = 1; string msg_id = 2; int64 paise = 3; string rc = 4; string ts = 5; string kind = 6; }
"""
CONFIG = f"""
version: 1
reconciliations:
  {NAME}:
    sources:
      CORE:
        topic: core_{S}
        format: json
        envelope: debezium
        fields:
          txn_id: {{path: ref, trim: true, upper: true}}
          amount: {{path: amount, unit: major}}
          currency: {{path: ccy}}
          status: {{path: state, values: {{SUCCESS: [posted], PENDING: [new]}}}}
          event_time: {{path: at, format: epoch_us}}
          attributes: {{shop: {{path: shop}}}}
      BARE:
        topic: switch_{S}
        format: protobuf
        schema: leg.proto
        message: bank.Leg
        where: {{path: kind, in: [CR]}}
        fields: &leg
          txn_id: {{path: rrn}}
          event_id: {{path: msg_id}}
          amount: {{path: paise, unit: minor}}
          currency: {{const: INR}}
          status: {{path: rc, values: {{SUCCESS: ["00"], FAILED: ["51"]}}, otherwise: reject}}
          event_time: {{path: ts, format: "%d/%m/%Y %H:%M:%S", zone: Asia/Kolkata}}
      FRAMED:
        topic: framed_{S}
        format: protobuf
        fields: *leg
      GATEWAY:
        topic: gateway_{S}
        format: avro
        fields:
          txn_id: {{path: order.ref}}
          event_id: {{path: id}}
          amount: {{path: order.amount, unit: major}}
          currency: {{path: order.currency, values: {{INR: ["356"]}}}}
          status: {{path: status}}
          event_time: {{path: at, format: epoch_ms}}
          attributes: {{shop: {{path: order.shop}}}}
      APP:
        topic: app_{S}
        format: json
        envelope: cloudevents
        expected: false
        fields:
          txn_id: {{path: ref}}
          amount: {{path: amt, unit: major}}
          currency: {{const: INR}}
          status: {{path: st}}
          event_time: {{path: t}}
      OWN: {{topic: own_{S}, format: avro}}
      BANK:
        path: "*.csv"
        format: csv
        expected: false
        fields:
          txn_id: {{path: Ref}}
          amount: {{path: Credit, unit: major, group: ","}}
          currency: {{const: INR}}
          status: {{const: SUCCESS}}
          event_time: {{path: Day, format: "%d/%m/%Y", zone: Asia/Kolkata, date_only: true}}
    compare: {{attributes: [shop]}}
    rules: {{match_window: 8s, time_tolerance: 1m}}
"""
AVRO = {
    "type": "record",
    "name": "Ev",
    "fields": [
        {"name": "id", "type": "string"},
        {
            "name": "order",
            "type": {
                "type": "record",
                "name": "Order",
                "fields": [
                    {"name": "ref", "type": "string"},
                    {
                        "name": "amount",
                        "type": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2},
                    },
                    {"name": "currency", "type": "string"},
                    {"name": "shop", "type": ["null", "string"]},
                ],
            },
        },
        {"name": "status", "type": "string"},
        {"name": "at", "type": "long"},
    ],
}


class Bank:
    """The systems of a bank, each with its own way of telling of a payment."""

    def __init__(self, endpoints):
        self.endpoints = endpoints
        self.producer = Producer(endpoints.kafka.client_config("producer"))
        registry = SchemaRegistryClient(endpoints.registry.client_config("admin"))
        self.avro = registry.register_schema(f"gateway_{S}-value", Schema(json.dumps(AVRO), "AVRO"))
        self.proto = registry.register_schema(f"framed_{S}-value", Schema(PROTO, "PROTOBUF"))
        self.own = registry.get_latest_version(f"own_{S}-value").schema_id
        registry.close()
        files = descriptor_pb2.FileDescriptorSet.FromString(compiled(PROTO))
        pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            pool.Add(file)
        self.leg = message_factory.GetMessageClass(pool.FindMessageTypeByName("bank.Leg"))
        self.parsed = fastavro.parse_schema(AVRO)
        self.now = int(time.time())

    def send(self, topic, value, key=None, headers=None):
        self.producer.produce(f"{topic}_{S}", value, key, headers=headers)

    def core(self, number, ref, minor, state="posted", shop="s1", op="c", key=True):
        row = {"ref": ref, "amount": f"{minor // 100}.{minor % 100:02}", "ccy": "INR", "state": state, "shop": shop}
        row["at"] = self.now * 1_000_000
        value = {"before": None, "after": None if op == "d" else row, "op": op}
        self.send("core", json.dumps(value).encode(), json.dumps({"id": number}).encode() if key else None)

    def legs(self, ref, minor, rc="00", kind="CR", tag=""):
        stamp = datetime.fromtimestamp(self.now + 19_800, UTC).strftime("%d/%m/%Y %H:%M:%S")
        leg = self.leg(rrn=ref, msg_id=f"m{ref}{tag}", paise=minor, rc=rc, ts=stamp, kind=kind).SerializeToString()
        self.send("switch", leg)
        self.send("framed", framed(self.proto, with_indexes((1,), leg)))

    def gateway(self, ref, minor, shop="s1"):
        body = io.BytesIO()
        order = {"ref": ref, "amount": Decimal(minor).scaleb(-2), "currency": "356", "shop": shop}
        value = {"id": f"g{ref}", "order": order, "status": "SUCCESS", "at": self.now * 1000}
        fastavro.schemaless_writer(body, self.parsed, value)
        self.send("gateway", framed(self.avro, body.getvalue()))

    def app(self, ref, minor, *, binary=False, status="SUCCESS"):
        at = datetime.fromtimestamp(self.now, UTC).isoformat()
        data = {"ref": ref, "amt": f"{minor // 100}.{minor % 100:02}", "st": status, "t": at}
        attributes = {"specversion": "1.0", "id": f"a{ref}", "source": "/app", "type": "paid"}
        if binary:
            headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
            self.send("app", json.dumps(data).encode(), headers=headers)
        else:
            headers = [("content-type", b"application/cloudevents+json")]
            self.send("app", json.dumps({**attributes, "data": data}).encode(), headers=headers)

    def canonical(self, ref, minor, source="MOBILE"):
        record = {
            "event_id": f"o{ref}",
            "txn_id": ref,
            "source": source,
            "amount_minor": minor,
            "currency": "INR",
            "status": "SUCCESS",
            "event_time": self.now * 1000,
            "account_id": "a",
            "original_txn_id": None,
        }
        body = io.BytesIO()
        fastavro.schemaless_writer(body, fastavro.parse_schema(json.loads(schema_text())), record)
        self.send("own", framed(self.own, body.getvalue()))

    def all(self, number, ref, minor):
        self.core(number, ref, minor)
        self.legs(ref, minor)
        self.gateway(ref, minor)
        self.canonical(ref, minor)

    def flush(self):
        assert self.producer.flush(30) == 0


@pytest.fixture(scope="module")
def bank(stack, fresh_db, tmp_path_factory):
    """The services with the configuration in force, and the folder of its files."""
    folder = tmp_path_factory.mktemp("configured")
    (folder / "recon.yaml").write_text(CONFIG)
    (folder / "leg.proto").write_text(PROTO)
    configuration = Configuration.load(folder / "recon.yaml")
    sources = run_sync(activate(fresh_db.connect_kwargs("owner"), configuration))
    topics = [source.topic for source in sources]
    ensure_topics(stack.kafka, topics, 2, -1)
    ensure_subjects(stack.registry, [f"own_{S}"])
    told = tuple(SourceEndpoint(name=one.name, topic=one.topic, expected=one.expected) for one in sources)
    endpoints = stack.model_copy(update={"postgres": fresh_db, "sources": told, "state_dir": folder})
    endpoints.save()
    home = Recon(endpoints, folder)
    home.sql(f"grant temporary on database {fresh_db.connect_kwargs('owner')['database']} to recon_app")
    home.sql("select ensure_event_blocks_partition((now() at time zone 'UTC')::date)")
    run_sync(prepare(fresh_db.connect_kwargs("app"), sources, len(KEY_GROUP_RANGES)))
    made = Bank(endpoints)
    made.home, made.folder, made.sources = home, folder, sources
    yield made
    delete_topics(stack.kafka, topics)


@pytest.fixture
def recon(bank, monkeypatch):
    monkeypatch.setenv("RECON_STATE_DIR", str(bank.folder))
    get_settings.cache_clear()
    yield lambda *arguments: CliRunner().invoke(build(arguments[0]), [str(one) for one in arguments])
    get_settings.cache_clear()


@contextlib.contextmanager
def reading(bank):
    """The pipeline, as the ledger's versions of the configuration say."""
    readings = LedgerReadings(
        bank.endpoints.postgres.connect_kwargs("app"), bank.endpoints.registry.client_config("pipeline"), ()
    )
    with contextlib.closing(readings), running(bank.endpoints, bank.sources, readings):
        yield


def results(bank):
    rows = bank.home.sql(
        "select txn_id, verdict, breaks, missing_sources, final from reconciliation_results order by txn_id"
    )
    return {row["txn_id"]: (row["verdict"], row["breaks"], row["missing_sources"]) for row in rows if row["final"]}


def verified(recon):
    done = recon("verify", "--settle-ms", 2_000, "--wait-s", 60, "--json")
    outcome = json.loads(done.stdout)
    assert done.exit_code == ExitCode.OK, outcome["examples"]
    return outcome


def tell(bank, recon):
    """Payments of every kind, told by every system in its own way; gives what verify says."""
    with reading(bank):
        bank.all(1, "T1", 12_345)
        bank.core(2, " t2 ", 1, state="new")
        bank.core(2, " t2 ", 777, state="posted", op="u")
        bank.core(2, " t2 ", 777, state="posted", op="u")
        for system in (bank.legs, bank.gateway, bank.canonical):
            system("T2", 777)
        bank.all(3, "T3", 300)
        bank.app("T3", 301)
        bank.all(4, "T4", 400)
        bank.app("T4", 400, binary=True, status="FAILED")
        bank.core(5, "T5", 500, shop="other")
        for system in (bank.legs, bank.gateway, bank.canonical):
            system("T5", 500)
        bank.core(6, "T6", 600)
        bank.core(6, "T6", 600, op="d")
        bank.send("core", None, json.dumps({"id": 6}).encode())
        bank.legs("T6", 600, kind="XX")
        bank.legs("T7", 700, rc="99")
        bank.canonical("T8", 800, "GATEWAY")
        bank.send("switch", b"\xff\xff")
        bank.send("framed", b"rubbish")
        bank.send("gateway", framed(999_999, b"\0"))
        bank.send("app", b'{"a": 1, "a": 2}')
        bank.app("T10", 1_000, binary=True, status="ODD")
        bank.all(9, "T9", 123_456)
        bank.flush()
        (bank.folder / "day1.csv").write_text(
            "Ref,Day,Credit\n"
            f'T9,{datetime.fromtimestamp(bank.now + 19_800, UTC):%d/%m/%Y},"1,234.56"\n'
            "T1,31/02/2026,123.45\n"
        )
        done = recon("ingest", "BANK", "--config", bank.folder / "recon.yaml", "--json")
        assert done.exit_code == ExitCode.OK, done.output
        return verified(recon)


def change_the_mapping(bank, recon):
    """The same words mean something else from a new version's moment on."""
    with reading(bank):
        bank.all(20, "V1", 100)
        bank.flush()
        time.sleep(1)
        text = CONFIG.replace("status: {path: st}", "status: {path: st, values: {SUCCESS: [ODD]}}")
        text = text.replace('FAILED: ["51"]', 'FAILED: ["00"]').replace('SUCCESS: ["00"]', 'SUCCESS: ["51"]')
        (bank.folder / "recon.yaml").write_text(text)
        configuration = Configuration.load(bank.folder / "recon.yaml")
        assert run_sync(activate(bank.endpoints.postgres.connect_kwargs("owner"), configuration)) == bank.sources
        bank.all(21, "V2", 200)  # before its moment
        bank.flush()
        time.sleep(12)
        bank.all(22, "V3", 300)
        bank.flush()
        verified(recon)


def replay_what_can_be_read_now(bank, recon):
    """A dead letter that a new mapping can read comes back with its headers: a binary CloudEvent has its id there."""
    query = "select topic, kafka_partition, kafka_offset from dead_letters where detail like '%ODD%'"
    [row] = bank.home.sql(query)
    with reading(bank):
        done = recon("dlq", "replay", f"{row['topic']}:{row['kafka_partition']}:{row['kafka_offset']}", "--json")
        assert done.exit_code == ExitCode.OK, done.output
        verified(recon)
    [event] = bank.home.sql("select event_id, status from raw_events where txn_id = 'T10'")
    assert (event["event_id"], event["status"]) == ("/app aT10", "SUCCESS")


def test_a_bank_s_own_records_come_to_their_verdicts(bank, recon):
    """One story, in its order: what every system tells, a changed mapping, the same log read again."""
    outcome = tell(bank, recon)
    found = results(bank)
    assert found["T1"] == ("MATCHED", [], [])
    assert found["T2"] == ("MATCHED", [], [])
    assert found["T3"] == ("MISMATCHED", ["AMOUNT"], [])
    assert found["T4"] == ("MISMATCHED", ["STATUS"], [])
    assert found["T5"] == ("MISMATCHED", ["ATTRIBUTE"], [])
    # The switch's record of another kind is not its own; the framed source has no such condition.
    assert found["T6"] == ("MISMATCHED", ["MISSING"], ["BARE", "GATEWAY", "OWN"])
    assert "T7" not in found
    assert "T8" not in found
    assert found["T9"] == ("MATCHED", [], [])
    letters = bank.home.sql("select topic, reason from dead_letters order by topic, reason")
    assert sorted((row["topic"], row["reason"]) for row in letters) == sorted(
        [
            (f"app_{S}", "malformed"),
            (f"app_{S}", "malformed"),
            (f"framed_{S}", "malformed"),
            (f"framed_{S}", "not_framed"),
            (f"gateway_{S}", "unknown_schema"),
            (f"own_{S}", "wrong_source"),
            (f"recon.files.{NAME}.BANK", "absurd_time"),
            (f"switch_{S}", "malformed"),
            (f"switch_{S}", "malformed"),
        ]
    )
    [row] = bank.home.sql("select event_id, attributes, source from raw_events where txn_id = 'T9' and source = 'CORE'")
    assert (row["event_id"], row["attributes"]) == ('{"id": 9}', '{"shop":"s1"}')
    assert outcome["compared"]["raw_events"] == outcome["accepted"] > 30
    assert outcome["compared"]["dead_letters"] == outcome["set_aside"] == 9
    change_the_mapping(bank, recon)
    found = results(bank)
    assert found["V1"] == found["V2"] == ("MATCHED", [], [])
    assert found["V3"] == ("MISMATCHED", ["STATUS"], [])
    replay_what_can_be_read_now(bank, recon)
    found = results(bank)
    forget_everything(bank)
    with reading(bank):
        verified(recon)
    assert results(bank) == found


def forget_everything(bank):
    """A new ledger over the same log: only the configuration's versions, rules and sources stay."""
    for table in ("event_blocks", "dead_letters", "redeliveries", "result_history"):
        bank.home.sql(f"alter table {table} disable trigger user", f"delete from {table}")
        bank.home.sql(f"alter table {table} enable trigger user")
    bank.home.sql("delete from results", "delete from stats_by_minute")
    bank.home.sql("update checkpoints set positions = '{}', next_seq = 1, low_seq = 1")
