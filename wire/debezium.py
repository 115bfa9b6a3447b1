"""Debezium's envelope: what happened to a row, and the row after it.

The envelope is `{before, after, source, op, ts_ms, ...}`, in JSON alone or under `payload` beside `schema`. The record
that a mapping reads is `after`; for a delete it is `before`.
With a schema, numbers of Connect's decimal types (base64 of a two's complement integer, with a scale) become decimals.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from wire.records import as_text

STATES: Final = frozenset({"c", "r", "u"})
"""Operations that carry the row's state: create, read (of a snapshot), update."""

DELETE: Final = "d"

WITHOUT_ROW: Final = {"t": "truncate", "m": "message"}
"""Operations that are about no row."""

DECIMAL_NAME: Final = "org.apache.kafka.connect.data.Decimal"
VARIABLE_DECIMAL_NAME: Final = "io.debezium.data.VariableScaleDecimal"

SCALE_MAX: Final = 400
"""The largest scale of a decimal, in digits and either direction."""


class NotDebeziumError(ValueError):
    """A value that is no Debezium envelope."""


def open_envelope(value: object) -> tuple[str, Mapping[str, object] | None, Mapping[str, object]]:
    """Operation, row and envelope of a message's value. The row is None where the operation is about none.

    Raises NotDebeziumError.
    """
    if not isinstance(value, Mapping):
        raise NotDebeziumError("the message is no object")
    schema: object = None
    if "payload" in value and "schema" in value and "op" not in value:
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
    if row is None and operation == DELETE:
        return operation, {}, value
    if not isinstance(row, Mapping):
        raise NotDebeziumError(f"op {operation} has no {side}")
    fields = _fields_of(schema, side)
    return operation, (_with_decimals(row, fields) if fields else row), value


def row_identity(key: object) -> str | None:
    """The row that a message's key names, as text; None for a message without key."""
    if isinstance(key, Mapping) and "payload" in key and "schema" in key:
        key = key["payload"]
    return as_text(key)


def _fields_of(schema: object, side: str) -> dict[str, Mapping[str, object]]:
    """The schema of each column of a side, by name."""
    for part in _parts(schema):
        if part.get("field") == side:
            return {str(column.get("field")): column for column in _parts(part)}
    return {}


def _parts(schema: object) -> list[Mapping[str, object]]:
    fields = schema.get("fields") if isinstance(schema, Mapping) else None
    return [field for field in fields if isinstance(field, Mapping)] if isinstance(fields, list) else []


def _with_decimals(row: Mapping[str, object], fields: Mapping[str, Mapping[str, object]]) -> Mapping[str, object]:
    changed = {name: _as_decimal(value, fields[name]) for name, value in row.items() if name in fields}
    return {**row, **changed}


def _as_decimal(value: object, schema: Mapping[str, object]) -> object:
    name = schema.get("name")
    if value is None or name not in {DECIMAL_NAME, VARIABLE_DECIMAL_NAME}:
        return value
    if name == DECIMAL_NAME:
        parameters = schema.get("parameters")
        scale = parameters.get("scale") if isinstance(parameters, Mapping) else None
    elif isinstance(value, Mapping):
        scale, value = value.get("scale"), value.get("value")
    else:
        raise NotDebeziumError(f"a {name} is no object of scale and value")
    try:
        digits = int.from_bytes(base64.b64decode(str(value), validate=True), "big", signed=True)
        places = int(str(scale))
    except (binascii.Error, ValueError) as error:
        raise NotDebeziumError(f"a decimal cannot be read: {error}") from error
    if abs(places) > SCALE_MAX:
        raise NotDebeziumError(f"a decimal has scale {places}; at most {SCALE_MAX}")
    return Decimal((0 if digits >= 0 else 1, tuple(map(int, str(abs(digits)))), -places))
