"""Every byte of every field, changed: engine and oracle say what a third decoder says, written from the standard."""

from __future__ import annotations

import io
import itertools
import json

import fastavro
import numpy as np
import pytest

from cluster.oracle.decoding import Decoder
from cluster.oracle.records import Refused
from producers.emission import Event
from producers.wire import Encoder
from schemas.errors import DeadLetterReason
from schemas.events import (
    AMOUNT_MINOR_MAX,
    DEFAULT_SOURCES,
    EVENT_TIME_LEAD_MAX_MS,
    EVENT_TIME_MIN_MS,
    ID_BYTES_MAX,
    Status,
    schema_text,
)
from schemas.money import CURRENCY_EXPONENTS
from wire.avro_schema import parse
from wire.avro_values import BadAvroError, reader_of
from wire.events import WriterSchema, decode_batch, validate

NOW = 1_790_000_000_000
ID = 7
WRITER = WriterSchema.parse(ID, schema_text())
MALFORMED = DeadLetterReason.MALFORMED


class Bad(Exception):  # noqa: N818
    pass


def long_at(body, at):
    value = 0
    for place in range(10):
        if at >= len(body):
            raise Bad
        byte = body[at]
        at += 1
        value += (byte % 128) * 128**place
        if byte < 128:
            if value >= 2**64:
                raise Bad
            return (value // 2 if value % 2 == 0 else -(value + 1) // 2), at
    raise Bad


def text_at(body, at):
    size, at = long_at(body, at)
    if size < 0 or at + size > len(body):
        raise Bad
    try:
        return body[at : at + size].decode(), at + size
    except UnicodeDecodeError:
        raise Bad from None


def index_at(body, at, count):
    index, at = long_at(body, at)
    if not 0 <= index < count:
        raise Bad
    return index, at


def by_the_book(body):  # noqa: PLR0911 - one return a reason
    """Reason of a body of our own schema, None for an acceptable event."""
    try:
        event_id, at = text_at(body, 0)
        txn_id, at = text_at(body, at)
        source, at = index_at(body, at, 3)
        amount, at = long_at(body, at)
        currency, at = text_at(body, at)
        _status, at = index_at(body, at, 4)
        event_time, at = long_at(body, at)
        account_id, at = text_at(body, at)
        branch, at = index_at(body, at, 2)
        original, at = text_at(body, at) if branch else (None, at)
    except Bad:
        return MALFORMED
    if at != len(body):
        return MALFORMED
    ids = [(event_id, 1), (txn_id, 1), (account_id, 1), (original or "", 0)]
    if source != 0:
        return DeadLetterReason.WRONG_SOURCE
    if any(not least <= len(text.encode()) <= ID_BYTES_MAX or "\0" in text for text, least in ids):
        return DeadLetterReason.BAD_ID
    if not 0 <= amount <= AMOUNT_MINOR_MAX:
        return DeadLetterReason.BAD_AMOUNT
    if currency not in CURRENCY_EXPONENTS:
        return DeadLetterReason.UNKNOWN_CURRENCY
    if not EVENT_TIME_MIN_MS <= event_time <= NOW + EVENT_TIME_LEAD_MAX_MS:
        return DeadLetterReason.ABSURD_TIME
    return None


def framed(body):
    return b"\0" + ID.to_bytes(4, "big") + body


def by_the_engine(bodies, writer=WRITER):
    """Reasons of a whole batch."""
    decoded = decode_batch([framed(body) for body in bodies], lambda _: writer)
    zeros = np.zeros(len(bodies), dtype=np.uint8)
    found = validate(decoded, zeros, np.full(len(bodies), NOW, dtype=np.int64))
    reasons = {reject.row: reject.reason for reject in found.rejects}
    return [reasons.get(row) for row in range(len(bodies))]


def by_the_oracle(bodies, text=None):
    decoder = Decoder(lambda _: text or schema_text(), DEFAULT_SOURCES)
    reasons = []
    for body in bodies:
        try:
            decoder.decode("core_txns", 0, 0, NOW, framed(body))
        except Refused as refused:
            reasons.append(refused.reason)
        else:
            reasons.append(None)
    return reasons


def body(**changes):
    event = {"event_id": "e1", "txn_id": "T1", "source": "CORE", "amount_minor": 4096, "currency": "EUR"}
    event |= {"status": Status.SUCCESS, "event_time": NOW, "account_id": "A1", "original_txn_id": None, **changes}
    return Encoder(ID).encode(Event(**event))[5:]


PLAIN, REVERSAL = body(), body(original_txn_id="T0")
# What a byte may be exchanged for: other numbers, longer forms of the same number, numbers beyond 64 bits.
LONGER = [
    *(
        bytes([byte | 0x80]) + b"\x80" * more + b"\0"
        for byte in (0, 1, 2, 3, 4, 6, 0x46)
        for more in (0, 1, 7, 8, 9, 12)
    ),
    *(bytes([byte | 0x80]) + b"\x80" * 8 + last for byte in (0, 1, 3) for last in (b"\1", b"\2", b"\x7f")),
    b"\x80" * 11 + b"\1",
    b"\xff" * 9 + b"\1",
    b"\xff" * 9 + b"\x7f",
    b"\xc6\x81\0",
    b"",
    b"\xc3\x28",
]
FORMS = [*(bytes([byte]) for byte in range(256)), *LONGER]


def differing(bodies, *said):
    return [(one.hex(" "), *reasons) for one, *reasons in zip(bodies, *said, strict=True) if len(set(reasons)) > 1]


@pytest.mark.parametrize("plain", [PLAIN, REVERSAL], ids=["payment", "reversal"])
def test_every_byte_in_every_form_is_judged_alike_by_all_three(plain):
    bodies = [plain[:at] + form + plain[at + 1 :] for at in range(len(plain)) for form in FORMS]
    bodies += [plain[:cut] for cut in range(len(plain))]
    book = [by_the_book(one) for one in bodies]
    assert set(book) >= {None, MALFORMED, DeadLetterReason.BAD_AMOUNT, DeadLetterReason.WRONG_SOURCE}
    assert differing(bodies, book, by_the_oracle(bodies), by_the_engine(bodies)) == []


@pytest.mark.parametrize("where", ["amount_minor", "event_time"])
@pytest.mark.parametrize(
    ("number", "is_right"),
    [(b"\x80" * 11 + b"\1", False), (b"\xff" * 9 + b"\x7f", False), (b"\x80" * 9 + b"\2", False), (None, True)],
    ids=["twelve-bytes", "seventy-bits", "sixty-five-bits", "longer-than-needed"],
)
@pytest.mark.parametrize("neighbours", [0, 200])
def test_a_number_beyond_64_bits_is_malformed_wherever_it_stands(where, number, is_right, neighbours):
    minimal = io.BytesIO()
    fastavro.schemaless_writer(minimal, {"type": "long"}, 4096 if where == "amount_minor" else NOW)
    old = minimal.getvalue()
    new = old[:-1] + bytes([old[-1] | 0x80]) + b"\x80\0" if number is None else number
    at = PLAIN.index(old)
    bad = PLAIN[:at] + new + PLAIN[at + len(old) :]
    expected = [None] * (2 * neighbours + 1)
    expected[neighbours] = None if is_right else MALFORMED
    assert by_the_engine([*[PLAIN] * neighbours, bad, *[REVERSAL] * neighbours]) == expected
    assert by_the_oracle([bad]) == [expected[neighbours]]


# -- records of any shape ----------------------------------------------------------------------------------------------

MORE = {
    "enum": ({"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}, "BLUE"),
    "int-or-null": (["null", "int"], 70_000),
    "text-or-null": (["string", "null"], "x"),
    "null": (["null", "string"], None),
    "boolean": ("boolean", True),
    "array": ({"type": "array", "items": "int"}, [1, 2]),
    "map": ({"type": "map", "values": "long"}, {"a": 3}),
    "fixed": ({"type": "fixed", "name": "Two", "size": 2}, b"ab"),
    "double": ("double", 1.5),
    "bytes": ("bytes", b"\xff"),
    "int": ("int", -(2**31)),
}
OURS = json.loads(schema_text())


@pytest.mark.parametrize("names", [[name] for name in MORE] + [list(MORE)], ids=[*MORE, "all"])
def test_records_of_newer_schemas_are_read_as_strictly(names):
    fields = [
        {"name": f"more_{number}", "type": record(f"More{number}", MORE[name][0])} for number, name in enumerate(names)
    ]
    text = json.dumps({**OURS, "fields": fields + OURS["fields"]})
    values = {f"more_{number}": {"x": MORE[name][1]} for number, name in enumerate(names)}
    buffer = io.BytesIO()
    event = Event("e1", "T1", "CORE", 4096, "EUR", Status.SUCCESS, NOW, "A1").to_avro()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(json.loads(text)), {**event, **values})
    plain = buffer.getvalue()
    forms = FORMS if len(names) == 1 else FORMS[:256:13] + LONGER
    changed = [plain[:at] + form + plain[at + 1 :] for at, form in itertools.product(range(24), forms)]
    bodies = [plain] * 3 + changed
    engine = by_the_engine(bodies, WriterSchema.parse(ID, text))
    assert engine[:3] == [None] * 3
    assert differing(bodies, engine, by_the_oracle(bodies, text)) == []


def record(name, kind):
    return {"type": "record", "name": name, "fields": [{"name": "x", "type": kind}]}


def test_one_added_field_leaves_the_records_to_the_block():
    added = {"name": "channel", "type": ["null", "string"], "default": None}
    newer = WriterSchema.parse(ID, json.dumps({**OURS, "fields": [*OURS["fields"], added]}))
    assert newer.layout is not None
    values = [PLAIN + b"\0", REVERSAL + b"\2\6web"] * 50
    assert newer.layout.read(values) is not None
    assert by_the_engine([*values, PLAIN + b"\4\6web"], newer) == [None] * 100 + [MALFORMED]


def test_a_record_that_contains_itself_is_read_and_too_deep_a_one_refused():
    text = json.dumps({"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]})
    read = reader_of(parse(text))
    assert read(b"\2\2\0") == {"next": {"next": {"next": None}}}
    with pytest.raises(BadAvroError):
        read(b"\2" * 100_000 + b"\0")
