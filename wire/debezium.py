"""Debezium's envelope: what happened to a row, and the row after it.

The envelope is `{before, after, source, op, ts_ms, ...}`, in JSON alone or under `payload` beside `schema`. The record
that a mapping reads is `after`; for a delete it is `before`.
With a schema, Connect's decimals (base64 of a two's complement integer, with a scale) become decimals, its days since
1970 become dates, and its times of day become times.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Final

from wire.json_values import BadJsonError, read_json
from wire.logical import VARIABLE_DECIMAL_NAME, date_of_days, exact_decimal, time_of_ms, time_of_us
from wire.records import NESTED_TEXT_DEPTH_MAX, Digits, as_text, bytes_text

STATES: Final = frozenset({"c", "r", "u"})
"""Operations that carry the row's state: create, read (of a snapshot), update."""

DELETE: Final = "d"

WITHOUT_ROW: Final = {"t": "truncate", "m": "message"}
"""Operations that are about no row."""

ROW_KEY_BYTES_MAX: Final = 256
"""The longest text that a row is known by, in bytes of UTF-8."""


class NotDebeziumError(ValueError):
    """A value that is no Debezium envelope."""


def open_envelope(value: object) -> tuple[str, Mapping[str, object] | None, Mapping[str, object]]:
    """Operation, row and envelope of a message's value. The row is None where the operation is about none.

    Raises NotDebeziumError.
    """
    if not isinstance(value, Mapping):
        raise NotDebeziumError("the message is no object")
    schema: object = None
    if _has_schema(value) and "op" not in value:
        schema, value = value["schema"], value["payload"]
        if not isinstance(value, Mapping):
            raise NotDebeziumError("its payload is no object")
    operation = value.get("op")
    if not isinstance(operation, str):
        raise NotDebeziumError("it has no op")
    if operation in WITHOUT_ROW:
        return operation, None, value
    if operation not in STATES and operation != DELETE:
        raise NotDebeziumError(f"op {operation[:16]!r} is none of c, r, u, d, t, m")
    side = "before" if operation == DELETE else "after"
    row = value.get(side)
    if operation == DELETE and not isinstance(row, Mapping):
        return operation, {}, value
    if not isinstance(row, Mapping):
        raise NotDebeziumError(f"op {operation} has no {side}")
    meant = _meant(row, _side_of(schema, side))
    return operation, (meant if isinstance(meant, Mapping) else row), value


def as_meant(value: object) -> object:
    """A message without this envelope that Connect wrote with its schema: `payload` as the schema means it.

    Its paths stay those that it has (`payload.amt`). Any other value comes back as it is. Raises NotDebeziumError for a
    decimal that cannot be read.
    """
    if type(value) is dict and len(value) == 2 and _has_schema(value) and isinstance(value["schema"], Mapping):
        return {name: _meant(part, value["schema"]) if name == "payload" else part for name, part in value.items()}
    return value


def row_key(key: bytes | None, format: str) -> str | None:  # noqa: A002 - the word of recon.yaml
    """The text that identifies a row by its Kafka key, None without one.

    A JSON key with `schema` beside `payload` is its payload: as compact JSON, or as its text where that is no object or
    list; a payload of null is no key. Any other key is its text where it is UTF-8 without NUL, else `0x` and its bytes
    in hexadecimal. What would be longer than ROW_KEY_BYTES_MAX is `sha256:` and the SHA-256 of the key's bytes.
    """
    if not key:
        return None
    value = _json_object(key) if format == "json" else {}
    if _has_schema(value):
        if value["payload"] is None:
            return None
        text = as_text(value["payload"])
    else:
        text = bytes_text(key)
    if text is None or "\0" in text:
        text = f"0x{key.hex()}"
    return text if len(text.encode()) <= ROW_KEY_BYTES_MAX else f"sha256:{hashlib.sha256(key).hexdigest()}"


def _json_object(key: bytes) -> Mapping[str, object]:
    """The members of a JSON object; none where it is something else."""
    try:
        value = read_json(key)
    except BadJsonError:
        return {}
    return value if isinstance(value, Mapping) else {}


def _has_schema(value: Mapping[str, object]) -> bool:
    """Whether it is what Connect's JSON converter writes: a value beside its schema."""
    return "payload" in value and "schema" in value


def _parts(schema: object) -> list[Mapping[str, object]]:
    fields = schema.get("fields") if isinstance(schema, Mapping) else None
    return [field for field in fields if isinstance(field, Mapping)] if isinstance(fields, list) else []


def _side_of(schema: object, side: str) -> Mapping[str, object]:
    """The schema of one side of the envelope; empty where there is none."""
    return next((part for part in _parts(schema) if part.get("field") == side), {})


def _meant(value: object, schema: object, depth: int = 0) -> object:  # noqa: PLR0911 - one return a type
    """A value with the decimals, dates and times that its Connect schema says are in it, however deep."""
    if value is None or not isinstance(schema, Mapping):
        return value
    if depth > NESTED_TEXT_DEPTH_MAX:
        raise NotDebeziumError(f"more than {NESTED_TEXT_DEPTH_MAX} levels")
    name = schema.get("name")
    if isinstance(name, str) and name in _MEANINGS:
        return _MEANINGS[name](value, schema)
    match schema.get("type"):
        case "struct" if isinstance(value, Mapping):
            parts = {str(part.get("field")): part for part in _parts(schema)}
            return {member: _meant(part, parts.get(member), depth + 1) for member, part in value.items()}
        case "array" if isinstance(value, list):
            return [_meant(part, schema.get("items"), depth + 1) for part in value]
        case "map" if isinstance(value, Mapping):
            return {member: _meant(part, schema.get("values"), depth + 1) for member, part in value.items()}
        case "map" if isinstance(value, list):  # of pairs, where the keys are no text
            return [
                [
                    _meant(part, schema.get(side), depth + 1)
                    for part, side in zip(pair, ("keys", "values"), strict=False)
                ]
                if isinstance(pair, list)
                else pair
                for pair in value
            ]
        case _:
            return value


def _fixed_scale(value: object, schema: Mapping[str, object]) -> object:
    parameters = schema.get("parameters")
    scale = parameters.get("scale") if isinstance(parameters, Mapping) else None
    return _decimal(value, scale)


def _own_scale(value: object, _schema: Mapping[str, object]) -> object:
    if not isinstance(value, Mapping):
        raise NotDebeziumError(f"a {VARIABLE_DECIMAL_NAME} is no object of scale and value")
    return _decimal(value.get("value"), value.get("scale"))


def _decimal(value: object, scale: object) -> object:
    if isinstance(value, int | Digits):
        # Connect's converter writes the number itself where it is set to `decimal.format: numeric`.
        return value
    try:
        return exact_decimal(base64.b64decode(str(value), validate=True), int(str(scale)))
    except ValueError as error:
        raise NotDebeziumError(f"a decimal cannot be read: {error}") from error


def _number(convert: Callable[[int], object]) -> Callable[[object, Mapping[str, object]], object]:
    return lambda value, _schema: convert(value) if type(value) is int else value


_MEANINGS: Final[Mapping[str, Callable[[object, Mapping[str, object]], object]]] = {
    "org.apache.kafka.connect.data.Decimal": _fixed_scale,
    VARIABLE_DECIMAL_NAME: _own_scale,
    "org.apache.kafka.connect.data.Date": _number(date_of_days),
    "io.debezium.time.Date": _number(date_of_days),
    "org.apache.kafka.connect.data.Time": _number(time_of_ms),
    "io.debezium.time.Time": _number(time_of_ms),
    "io.debezium.time.MicroTime": _number(time_of_us),
}
"""What Connect's named types mean. Timestamps stay numbers, for a mapping's `format: epoch_ms` or `epoch_us`."""
