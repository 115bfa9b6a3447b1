"""What a canonical record calls its source, where sources are configured by name: the topic decides."""

import io
import json

import fastavro
import numpy as np
import pytest

from schemas.errors import DeadLetterReason, IncompatibleSchemaError
from schemas.events import schema_text
from wire.events import UNNAMED_SOURCE, WriterSchema, decode_batch, validate
from wire.framing import framed

NAMES = ("SWITCH", "CORE", "BANK")
NOW = 1_790_000_000_000
OURS = json.loads(schema_text())
ENUM = {"type": "enum", "name": "Origin", "symbols": ["OTHER", "BANK", "SWITCH"]}


def schema(kind):
    """Our schema with another type of `source`; None: without it."""
    fields = [{**field, "type": kind} if field["name"] == "source" else field for field in OURS["fields"]]
    return json.dumps({**OURS, "fields": [field for field in fields if field["type"] is not None]})


def message(text, source):
    record = {
        "event_id": "e",
        "txn_id": "t",
        "source": source,
        "amount_minor": 5,
        "currency": "EUR",
        "status": "SUCCESS",
        "event_time": NOW,
        "account_id": "a",
        "original_txn_id": None,
    }
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(json.loads(text)), record)
    return framed(1, body.getvalue())


@pytest.mark.parametrize(
    ("kind", "source", "position"),
    [
        ("string", "SWITCH", 0),
        ("string", "CORE", 1),
        ("string", "elsewhere", UNNAMED_SOURCE),
        (ENUM, "SWITCH", 0),
        (ENUM, "BANK", 2),
        (ENUM, "OTHER", UNNAMED_SOURCE),
        (["null", "string"], None, UNNAMED_SOURCE),
        (["null", ENUM], "BANK", 2),
        (None, None, UNNAMED_SOURCE),
    ],
)
def test_only_another_configured_source_is_refused(kind, source, position):
    text = schema(kind)
    writer = WriterSchema.parse(1, text, names=NAMES)
    value = message(text, source)
    decoded = decode_batch([value] * 3, lambda _: writer)
    assert decoded.events["source"].to_list() == [position] * 3
    assert writer.read(value[5:])["source"] == position
    found = validate(decoded, np.zeros(3, dtype=np.uint8), np.full(3, NOW, dtype=np.int64), NAMES)
    reasons = {reject.reason for reject in found.rejects}
    assert reasons == (set() if position in {0, UNNAMED_SOURCE} else {DeadLetterReason.WRONG_SOURCE})
    assert len(found.events) + len(found.rejects) == 3


def test_a_number_names_no_source():
    with pytest.raises(IncompatibleSchemaError, match="source has another type"):
        WriterSchema.parse(1, schema("long"), names=NAMES)


def test_without_names_the_schema_is_the_contract():
    for kind in ("string", None, ENUM):
        with pytest.raises(IncompatibleSchemaError, match="source"):
            WriterSchema.parse(1, schema(kind))
