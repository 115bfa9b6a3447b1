"""What foreign encodings cost a reader: mapped records against recon's own, in turn, in one run.

    python -m tests.load.mapped [--records N] [--rounds N]

Prints microseconds of CPU a record from its bytes to a row of events, and the ratio to our own records.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import fastavro
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from cluster.reading_versions import Lookups, reading_of
from producers.emission import Event
from schemas.events import Status, schema_text
from sources.config.reading import parse
from sources.streams import Batch
from wire.avro_schema import parse as parse_avro
from wire.events import WriterSchema, decode_batch, validate
from wire.messages import Messages
from wire.protobuf_text import compiled

NOW_MS = 1_790_000_000_000
PAD = "x" * 120  # what a bank's record has beside the fields that are read
CONFIG = """
version: 1
reconciliations:
  r:
    sources:
      JSON: &json
        topic: json
        format: json
        fields: &fields
          txn_id: {path: ref}
          event_id: {path: id}
          amount: {path: pay.amount, unit: major}
          currency: {path: pay.ccy}
          status: {path: st, values: {SUCCESS: ["00"], FAILED: ["51"]}}
          event_time: {path: at, format: epoch_ms}
          account_id: {path: acct}
      AVRO: {topic: avro, format: avro, fields: *fields}
      PROTOBUF:
        topic: protobuf
        format: protobuf
        schema: pay.proto
        message: Pay
        fields:
          txn_id: {path: ref}
          event_id: {path: id}
          amount: {path: amount, unit: minor}
          currency: {path: ccy}
          status: {path: st, values: {SUCCESS: ["00"], FAILED: ["51"]}}
          event_time: {path: at, format: epoch_ms}
          account_id: {path: acct}
"""
PROTO = """
syntax = "proto3";
message Pay {
  string ref = 1; string id = 2; int64 amount = 3; string ccy = 4; string st = 5; int64 at = 6; string acct = 7;
  string pad = 8;
}
"""
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}
PAY = {
    "type": "record",
    "name": "Pay",
    "fields": [{"name": "amount", "type": DECIMAL}, {"name": "ccy", "type": "string"}],
}
AVRO = {
    "type": "record",
    "name": "Payment",
    "fields": [
        *({"name": name, "type": "string"} for name in ("ref", "id", "st", "acct", "pad")),
        {"name": "at", "type": "long"},
        {"name": "pay", "type": PAY},
    ],
}


class _Known(Lookups):
    """Schemas without a registry."""

    def __init__(self) -> None:
        super().__init__({"url": "https://localhost"})

    def avro(self) -> Any:
        node = parse_avro(json.dumps(AVRO))
        return lambda _schema_id: node


def _record(number: int) -> dict[str, Any]:
    pay = {"amount": Decimal(number + 100).scaleb(-2), "ccy": "EUR"}
    return {
        "ref": f"T{number:012}",
        "id": f"e{number:012}",
        "pay": pay,
        "st": "00",
        "at": NOW_MS - 5,
        "acct": "ACC-000001",
        "pad": PAD,
    }


def _avro(schema: Any, values: list[dict[str, Any]]) -> list[bytes]:
    made = []
    for value in values:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, schema, value)
        made.append(b"\0\0\0\0\1" + buffer.getvalue())
    return made


def _cases(count: int) -> dict[str, tuple[list[bytes], Callable[[list[bytes]], int]]]:
    """By name, messages and what reads them; it gives the number of events."""
    own = WriterSchema.parse(1, schema_text())
    owners, arrivals = np.zeros(count, dtype=np.uint8), np.full(count, NOW_MS, dtype=np.int64)
    chosen = parse(CONFIG.encode(), "recon.yaml").default
    descriptors = compiled(PROTO)
    reading = reading_of(chosen, {"pay.proto": descriptors}, dict.fromkeys(chosen.sources, 0), _Known())
    zeros, offsets = np.zeros(count, dtype=np.int64), np.arange(count, dtype=np.int64)

    def mapped(topic: str) -> Callable[[list[bytes]], int]:
        def read(values: list[bytes]) -> int:
            messages = Messages(topic, values, [None] * count, [None] * count, [NOW_MS] * count)
            return len(reading.mapped[topic].read(Batch(messages, zeros, offsets, arrivals)).events)

        return read

    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
        pool.Add(file)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName("Pay"))
    records = [_record(number) for number in range(count)]
    events = [
        Event(f"e{n}", f"T{n}", "CORE", n, "EUR", Status.SUCCESS, NOW_MS - 5, "ACC-000001").to_avro()
        for n in range(count)
    ]
    texts = [
        json.dumps({**one, "pay": {"amount": "AMOUNT", "ccy": "EUR"}}).replace('"AMOUNT"', str(one["pay"]["amount"]))
        for one in records
    ]
    packed = [
        message(
            ref=one["ref"], id=one["id"], amount=n + 100, ccy="EUR", st="00", at=NOW_MS - 5, acct=one["acct"], pad=PAD
        ).SerializeToString()
        for n, one in enumerate(records)
    ]
    return {
        "own Avro": (
            _avro(fastavro.parse_schema(json.loads(schema_text())), events),
            lambda values: len(validate(decode_batch(values, lambda _: own), owners, arrivals).events),
        ),
        "mapped Avro": (_avro(fastavro.parse_schema(AVRO), records), mapped("avro")),
        "mapped JSON": ([text.encode() for text in texts], mapped("json")),
        "mapped Protobuf": (packed, mapped("protobuf")),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cases = _cases(options.records)
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(options.rounds):
        for name, (values, read) in cases.items():
            began = time.process_time()
            found = read(values)
            seconds[name].append(time.process_time() - began)
            if found != options.records:
                raise SystemExit(f"{name}: {found} events of {options.records} records")
    own = statistics.median(seconds["own Avro"])
    for name, measured in seconds.items():
        median = statistics.median(measured)
        size = len(cases[name][0][0])
        cost = median / options.records * 1e6
        print(f"{name:16} {size:4} bytes {cost:6.2f} us a record, {median / own:5.1f} times our own")  # noqa: T201


if __name__ == "__main__":
    main()
