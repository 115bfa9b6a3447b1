"""What records are wrapped in: Debezium's change events, and CloudEvents 1.0 over Kafka.

Sources: Debezium's documentation, "Change events", and Kafka Connect's `Decimal`; CloudEvents 1.0, its JSON event
format and its Kafka protocol binding.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

from cluster.oracle.mapping import json_text, meanings
from cluster.oracle.mapping.json_text import NotJson
from cluster.oracle.mapping.values import Number, text_of
from cluster.oracle.records import LogRecord, Skipped

WITH_STATE = {"c", "r", "u"}  # create, read (of a snapshot), update: the row is in `after`
WITHOUT_STATE = {"d", "t", "m"}  # delete, which is ignored; truncate and message, which are about no row

STRUCTURED = "application/cloudevents"
STRUCTURED_JSON = {STRUCTURED, f"{STRUCTURED}+json"}
NEEDED = ("specversion", "id", "source", "type")


class NoEnvelope(ValueError):  # noqa: N818 - a verdict on a record, not an error of ours
    """The record is not wrapped as its source says."""


def row_of_change(message: Any) -> dict[str, Any]:
    """The row after a change. Raises NoEnvelope, and Skipped for a change that leaves no row."""
    if not isinstance(message, dict):
        raise NoEnvelope("the message is no object")
    envelope, schema = message, None
    if "op" not in message and "schema" in message and "payload" in message:
        envelope, schema = message["payload"], message["schema"]
        if not isinstance(envelope, dict):
            raise NoEnvelope("its payload is no object")
    operation = envelope.get("op")
    if isinstance(operation, str) and operation in WITHOUT_STATE:
        raise Skipped(f"op {operation}")
    if not isinstance(operation, str) or operation not in WITH_STATE:
        raise NoEnvelope("its op is none of c, r, u, d, t, m")
    row = envelope.get("after")
    if not isinstance(row, dict):
        raise NoEnvelope("it has no after")
    meant = _meant(row, _schema_of_after(schema))
    return meant if isinstance(meant, dict) else row


def as_meant(message: Any) -> Any:
    """A message as Connect's JSON converter writes it, schema beside payload: the payload as its schema means it.

    Any other message is what it is. Raises NoEnvelope for a decimal that cannot be read.
    """
    if isinstance(message, dict) and set(message) == {"schema", "payload"} and isinstance(message["schema"], dict):
        return {**message, "payload": _meant(message["payload"], message["schema"])}
    return message


def _schema_of_after(schema: Any) -> Any:
    return next((part for part in _parts(schema) if part.get("field") == "after"), None)


def _parts(schema: Any) -> list[dict[str, Any]]:
    parts = schema.get("fields") if isinstance(schema, dict) else None
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _meant(value: Any, schema: Any) -> Any:  # noqa: PLR0911 - one return a type
    """A value with what its Connect schema says that its parts mean, however deep they are."""
    if value is None or not isinstance(schema, dict):
        return value
    name = schema.get("name")
    if isinstance(name, str) and name in NAMED:
        return NAMED[name](value, schema)
    match schema.get("type"):
        case "struct" if isinstance(value, dict):
            parts = {text_of(part.get("field")): part for part in _parts(schema)}
            return {member: _meant(part, parts.get(member)) for member, part in value.items()}
        case "array" if isinstance(value, list):
            return [_meant(part, schema.get("items")) for part in value]
        case "map" if isinstance(value, dict):
            return {member: _meant(part, schema.get("values")) for member, part in value.items()}
        case "map" if isinstance(value, list):  # of pairs, where the keys are no text
            return [_pair(pair, schema) for pair in value]
        case _:
            return value


def _pair(pair: Any, schema: dict[str, Any]) -> Any:
    if not isinstance(pair, list):
        return pair
    sides = zip(pair, (schema.get("keys"), schema.get("values")), strict=False)
    return [_meant(part, side) for part, side in sides]


def _decimal(value: Any, scale: Any) -> Any:
    """Base64 of a two's complement integer, with a scale; a number where `decimal.format` is NUMERIC."""
    if isinstance(value, Number):
        return value
    try:
        raw = base64.b64decode(value if isinstance(value, str) else "?", validate=True)
        return meanings.decimal(raw, int(text_of(scale) or ""))
    except ValueError as error:
        raise NoEnvelope(f"a decimal cannot be read: {error}") from error


def _fixed_scale(value: Any, schema: dict[str, Any]) -> Any:
    parameters = schema.get("parameters")
    return _decimal(value, parameters.get("scale") if isinstance(parameters, dict) else None)


def _own_scale(value: Any, _schema: dict[str, Any]) -> Any:
    if not isinstance(value, dict):
        raise NoEnvelope("a decimal is no object of scale and value")
    return _decimal(value.get("value"), value.get("scale"))


def _whole(convert: Callable[[int], Any]) -> Callable[[Any, dict[str, Any]], Any]:
    """Of a number that is written as an integer what it means; anything else as it is."""
    return lambda value, _schema: (
        convert(int(value.text)) if isinstance(value, Number) and INTEGER.fullmatch(value.text) else value
    )


INTEGER = re.compile("-?[0-9]{1,19}")
NAMED: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "org.apache.kafka.connect.data.Decimal": _fixed_scale,
    "io.debezium.data.VariableScaleDecimal": _own_scale,
    "org.apache.kafka.connect.data.Date": _whole(meanings.day),
    "io.debezium.time.Date": _whole(meanings.day),
    "org.apache.kafka.connect.data.Time": _whole(lambda count: meanings.time_of_day(count, per_ms=1)),
    "io.debezium.time.Time": _whole(lambda count: meanings.time_of_day(count, per_ms=1)),
    "io.debezium.time.MicroTime": _whole(lambda count: meanings.time_of_day(count, per_ms=1_000)),
}


def cloud_event(record: LogRecord, read_data: Callable[[bytes], Any]) -> tuple[str, Any]:
    """Identity and data of a record with a value. Raises NoEnvelope, and what `read_data` raises."""
    value = record.value or b""
    kind = (_header_text(record.header("content-type")) or "").split(";")[0].strip().lower()
    if kind.startswith(STRUCTURED):
        if kind not in STRUCTURED_JSON:
            raise NoEnvelope(f"{kind[:64]} is not read")
        return _structured(value, read_data)
    attributes = {
        name.removeprefix("ce_"): text
        for name, content in record.headers
        if name.startswith("ce_") and (text := _header_text(content)) is not None
    }
    if not attributes and value.lstrip().startswith(b"{"):  # some producers leave the content type out
        return _structured(value, read_data)
    return _identity(attributes), read_data(value)


def _structured(value: bytes, read_data: Callable[[bytes], Any]) -> tuple[str, Any]:
    try:
        event = json_text.read(value)
    except NotJson as error:
        raise NoEnvelope(str(error)) from error
    if not isinstance(event, dict):
        raise NoEnvelope("the event is no object")
    data = event.get("data")
    if "data_base64" in event:
        if "data" in event or not isinstance(event["data_base64"], str):
            raise NoEnvelope("data_base64 is no text, or beside data")
        try:
            data = read_data(base64.b64decode(event["data_base64"], validate=True))
        except (binascii.Error, UnicodeEncodeError) as error:
            raise NoEnvelope(f"data_base64 cannot be read: {error}") from error
    return _identity({name: text for name, text in event.items() if isinstance(text, str)}), data


def _identity(attributes: Mapping[str, str]) -> str:
    """`source` and `id` with a blank between; in a source, which is a URI reference, a blank is written %20."""
    missing = [name for name in NEEDED if not attributes.get(name)]
    if missing or attributes["specversion"] != "1.0":
        raise NoEnvelope(f"it has no {', '.join(missing) or 'specversion 1.0'}")
    return f"{attributes['source'].replace(' ', '%20')} {attributes['id']}"


def _header_text(content: bytes | None) -> str | None:
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise NoEnvelope("a header is not UTF-8") from error
