"""What records are wrapped in: Debezium's change events, and CloudEvents 1.0 over Kafka.

Sources: Debezium's documentation, "Change events", and Kafka Connect's `Decimal`; CloudEvents 1.0, its JSON event
format and its Kafka protocol binding.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from cluster.oracle.mapping import json_text
from cluster.oracle.mapping.json_text import NotJson
from cluster.oracle.mapping.values import Number, of_unscaled, text_of
from cluster.oracle.records import LogRecord, Skipped

WITH_STATE = {"c", "r", "u"}  # create, read (of a snapshot), update: the row is in `after`
WITHOUT_STATE = {"d", "t", "m"}  # delete, which is ignored; truncate and message, which are about no row
DECIMAL = "org.apache.kafka.connect.data.Decimal"
VARIABLE_DECIMAL = "io.debezium.data.VariableScaleDecimal"
SCALE_MAX = 400

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
    columns = _columns(schema)
    return {name: _column(value, columns.get(name, {})) for name, value in row.items()}


def _columns(schema: Any) -> dict[str, Mapping[str, Any]]:
    """The schema of each column of `after`, by name."""
    for part in _parts(schema):
        if part.get("field") == "after":
            return {str(column.get("field")): column for column in _parts(part)}
    return {}


def _parts(schema: Any) -> list[dict[str, Any]]:
    parts = schema.get("fields") if isinstance(schema, dict) else None
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _column(value: Any, schema: Mapping[str, Any]) -> Any:
    """A column's value. A decimal of Connect is base64 of a two's complement integer, with a scale.

    A converter with `decimal.format=NUMERIC` writes a number instead, under the same schema.
    """
    if value is None or schema.get("name") not in {DECIMAL, VARIABLE_DECIMAL}:
        return value
    if isinstance(value, Number):
        return value
    if schema["name"] == DECIMAL:
        parameters = schema.get("parameters")
        scale = parameters.get("scale") if isinstance(parameters, dict) else None
    elif isinstance(value, dict):
        scale, value = value.get("scale"), value.get("value")
    else:
        raise NoEnvelope("a decimal is no object of scale and value")
    try:
        places = int(text_of(scale) or "")
        raw = base64.b64decode(value if isinstance(value, str) else "?", validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoEnvelope(f"a decimal cannot be read: {error}") from error
    if abs(places) > SCALE_MAX:
        raise NoEnvelope(f"a decimal of scale {places}")
    return of_unscaled(int.from_bytes(raw, "big", signed=True), places)


def cloud_event(record: LogRecord, read_data: Callable[[bytes], Any]) -> tuple[str, Any]:
    """Identity and data of a record with a value. Raises NoEnvelope, and what `read_data` raises."""
    value = record.value or b""
    kind = _header_text(record.header("content-type")) or ""
    if kind.startswith(STRUCTURED):
        if kind.split(";")[0].strip() not in STRUCTURED_JSON:
            raise NoEnvelope(f"{kind[:64]} is not read")
        return _structured(value, read_data)
    attributes = {
        name.removeprefix("ce_"): text
        for name, content in record.headers
        if name.startswith("ce_") and (text := _header_text(content)) is not None
    }
    if not attributes and value.startswith(b"{"):  # some producers leave the content type out
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
    """`source` and `id` with a blank between; a source is a URI reference, which has none."""
    missing = [name for name in NEEDED if not attributes.get(name)]
    if missing or attributes["specversion"] != "1.0":
        raise NoEnvelope(f"it has no {', '.join(missing) or 'specversion 1.0'}")
    return f"{attributes['source']} {attributes['id']}"


def _header_text(content: bytes | None) -> str | None:
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise NoEnvelope("a header is not UTF-8") from error
