"""What a newer schema costs: records with one more field against records of recon's own schema, in turn, in one run.

    python -m tests.load.evolved [--records N] [--rounds N]

Prints microseconds a record for each, and the ratio of the rates: 1.0 is as fast as our own schema, 0.8 the aim.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
from typing import Any

import fastavro

from producers.emission import Event
from schemas.events import Status, schema_text
from wire.events import WriterSchema, decode_batch

OURS = json.loads(schema_text())
NOW_MS = 1_790_000_000_000
ADDED: dict[str, list[Any]] = {
    "own schema": [],
    "one text or null more": [{"name": "channel", "type": ["null", "string"], "default": None}],
    "a nested record more": [
        {
            "name": "terminal",
            "type": {
                "type": "record",
                "name": "Terminal",
                "fields": [{"name": "id", "type": "string"}, {"name": "zone", "type": ["null", "string"]}],
            },
        }
    ],
    "a list more (read one by one)": [{"name": "tags", "type": {"type": "array", "items": "string"}}],
}
VALUES = {"channel": "web", "terminal": {"id": "T-1", "zone": None}, "tags": ["a"]}


def messages(text: str, count: int) -> list[bytes]:
    """Framed records of a schema, each another."""
    schema = fastavro.parse_schema(json.loads(text))
    made = []
    for number in range(count):
        event = Event(f"e{number}", f"T{number}", "CORE", number, "EUR", Status.SUCCESS, NOW_MS + number, "ACC-1")
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, schema, {**event.to_avro(), **VALUES})
        made.append(b"\0\0\0\0\1" + buffer.getvalue())
    return made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cases: dict[str, tuple[WriterSchema, list[bytes]]] = {}
    for name, added in ADDED.items():
        text = json.dumps({**OURS, "fields": OURS["fields"] + added})
        cases[name] = (WriterSchema.parse(1, text), messages(text, options.records))
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(options.rounds):
        for name, (writer, values) in cases.items():
            began = time.perf_counter()
            decoded = decode_batch(values, lambda _, writer=writer: writer)  # type: ignore[misc]
            seconds[name].append(time.perf_counter() - began)
            if len(decoded.events) != options.records:
                raise SystemExit(f"{name}: {len(decoded.rejects)} rejects")
    own = statistics.median(seconds["own schema"])
    for name, measured in seconds.items():
        median = statistics.median(measured)
        print(f"{name:32} {median / options.records * 1e6:6.2f} us a record, {own / median:5.2f} of the plain rate")  # noqa: T201


if __name__ == "__main__":
    main()
