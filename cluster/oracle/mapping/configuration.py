"""`recon.yaml` as the oracle reads it: a file that has passed the grammar already, so only what is right is expected.

Every scalar is the text that was written: `05`, `NO` and `0.10` are no numbers and no booleans here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from cluster.oracle.mapping.currencies import code_of


@dataclass(frozen=True, slots=True)
class Value:
    """How one field is read. `places` are paths, the first that is not empty counts; `words` is word to meaning."""

    places: tuple[str, ...] = ()
    join: tuple[str, ...] = ()
    joined_with: str = " "
    const: str | None = None
    normalize: bool = False
    trim: bool = False
    extract: str | None = None
    upper: bool = False
    lower: bool = False
    strip_leading_zeros: bool = False
    words: Mapping[str, str] = field(default_factory=dict)
    otherwise: str | None = None
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Indicator:
    """A word beside an amount that says whether it is a debit. With `credit` no other words are taken."""

    value: Value
    debit: tuple[str, ...]
    credit: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Amount:
    """How an amount is read: from `value`, or from `debit` and `credit`, which are two columns."""

    value: Value
    unit: str = "major"
    exponent: Mapping[str, int] = field(default_factory=dict)
    sign: str = "keep"
    debit: Value | None = None
    credit: Value | None = None
    indicator: Indicator | None = None
    decimal: str = "."
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Time:
    """How a time is read."""

    value: Value
    form: str = "iso"
    zone: str | None = None
    fold: str = "earlier"
    date_only: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """A record is the source's when the value is among the words, or is not, as `wanted` says."""

    value: Value
    words: tuple[str, ...]
    wanted: bool


@dataclass(frozen=True, slots=True)
class Fields:
    """Where each field of an event is."""

    txn_id: Value
    amount: Amount
    currency: Value
    status: Value
    event_time: Time
    event_id: Value | None = None
    account_id: Value | None = None
    original_txn_id: Value | None = None
    fee: Amount | None = None
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """One source. `fields` is None for canonical Avro records; rows of files come by a topic of their own."""

    name: str
    topic: str
    form: str = "avro"
    envelope: str = "none"
    schema: str | None = None
    message: str | None = None
    where: tuple[Condition, ...] = ()
    fields: Fields | None = None
    negative: bool = False
    identity: str = "place"
    is_file: bool = False


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What one version says of the reconciliation that runs. `sources` are in the order of the file.

    `names` are those of all its sources, files too; `schemas` is the content of each file that a `schema:` names.
    """

    sources: tuple[Source, ...]
    names: frozenset[str]
    key: tuple[str, ...] = ("txn_id",)
    schemas: Mapping[str, bytes] = field(default_factory=dict)


def read(body: str, reconciliation: str, schemas: Mapping[str, bytes]) -> Reconciliation:
    """One reconciliation of a configuration. Raises KeyError when the text has none of this name."""
    tree = yaml.load(body, Loader=yaml.BaseLoader)  # noqa: S506 - this loader makes texts, lists and mappings only
    found = tree["reconciliations"][reconciliation]
    return Reconciliation(
        sources=tuple(_source(reconciliation, name, node) for name, node in found["sources"].items()),
        names=frozenset(found["sources"]),
        key=_list(found.get("key", "txn_id")),
        schemas=schemas,
    )


def _source(reconciliation: str, name: str, node: Mapping[str, Any]) -> Source:
    form, envelope = node.get("format", "avro"), node.get("envelope", "none")
    is_file, is_statement = "path" in node, form in STATEMENTS
    fields: Fields | None
    if "fields" in node:
        fields = _fields({**(STATEMENT if is_statement else {}), **node["fields"]})
    else:
        fields = None if form == "avro" and envelope == "none" and not is_file else CANONICAL
    conditions = node.get("where", ())
    return Source(
        name=name,
        topic=f"recon.files.{reconciliation}.{name}" if is_file else node["topic"],
        form=form,
        envelope=envelope,
        schema=node.get("schema"),
        message=node.get("message"),
        where=tuple(_condition(one) for one in ([conditions] if isinstance(conditions, dict) else conditions)),
        fields=fields,
        negative=_flag(node, "negative") if "negative" in node else is_statement,
        identity=node.get("identity", "row" if envelope == "debezium" else "place"),
        is_file=is_file,
    )


def _fields(node: Mapping[str, Any]) -> Fields:
    return Fields(
        txn_id=_value(node["txn_id"]),
        amount=_amount(node["amount"]),
        currency=_value(node["currency"]),
        status=_value(node["status"]),
        event_time=_time(node["event_time"]),
        event_id=_value(node["event_id"]) if "event_id" in node else None,
        account_id=_value(node["account_id"]) if "account_id" in node else None,
        original_txn_id=_value(node["original_txn_id"]) if "original_txn_id" in node else None,
        fee=_amount(node["fee"]) if "fee" in node else None,
        attributes={name: _value(one) for name, one in node.get("attributes", {}).items()},
    )


def _value(node: Mapping[str, Any]) -> Value:
    return Value(
        places=_value_places(node),
        join=_places(node["join"]) if "join" in node else (),
        joined_with=node.get("with", " "),
        const=node.get("const"),
        normalize=_flag(node, "normalize"),
        trim=_flag(node, "trim"),
        extract=node.get("extract"),
        upper=_flag(node, "upper"),
        lower=_flag(node, "lower"),
        strip_leading_zeros=_flag(node, "strip_leading_zeros"),
        words={word: meaning for meaning, words in node.get("values", {}).items() for word in _list(words)},
        otherwise=node.get("otherwise"),
        default=node.get("default"),
    )


def _value_places(node: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a value is: by path, or in a row of a file by column or characters."""
    if "path" in node:
        return _places(node["path"])
    return (_place(node),) if "column" in node or "at" in node else ()


def _amount(node: Mapping[str, Any]) -> Amount:
    indicator = node.get("indicator")
    return Amount(
        value=_value(node),
        unit=node.get("unit", "major"),
        exponent={code_of(code) or code: int(places) for code, places in node.get("exponent", {}).items()},
        sign=node.get("sign", "keep"),
        debit=_side(node, "debit"),
        credit=_side(node, "credit"),
        indicator=None if indicator is None else _indicator(indicator),
        decimal=node.get("decimal", "."),
        group=node.get("group"),
    )


def _side(node: Mapping[str, Any], side: str) -> Value | None:
    """One of two columns: its own places, and of the options those that say how a text is cleaned and what it means."""
    if side not in node:
        return None
    kept = {name: node[name] for name in ("normalize", "trim", "extract", "values") if name in node}
    return _value({**kept, "path": node[side]})


def _indicator(node: Mapping[str, Any]) -> Indicator:
    return Indicator(_value(node), _list(node["debit"]), _list(node["credit"]) if "credit" in node else None)


def _time(node: Mapping[str, Any]) -> Time:
    return Time(
        value=_value(node),
        form=node.get("format", "iso"),
        zone=node.get("zone"),
        fold=node.get("fold", "earlier"),
        date_only=_flag(node, "date_only"),
    )


def _condition(node: Mapping[str, Any]) -> Condition:
    wanted = "in" in node
    return Condition(_value(node), _list(node["in"] if wanted else node["not_in"]), wanted)


def _places(node: Any) -> tuple[str, ...]:
    """Paths; `#N` is a column by its number, `@FROM:TO` are characters of a row."""
    return tuple(_place(one) for one in (node if isinstance(node, list) else [node]))


def _place(node: Any) -> str:
    if not isinstance(node, dict):
        return str(node)
    if "column" in node:
        return f"#{node['column']}"
    return f"@{node['at'][0]}:{node['at'][1]}" if "at" in node else str(node["path"])


def _list(node: str | Sequence[str]) -> tuple[str, ...]:
    return (node,) if isinstance(node, str) else tuple(node)


def _flag(node: Mapping[str, Any], name: str) -> bool:
    return str(node.get(name, "false")).lower() == "true"


STATEMENTS = frozenset({"camt.052", "camt.053", "camt.054", "mt940", "mt942", "bai2"})
"""Formats of bank statements."""

STATEMENT = {
    "amount": {"path": "amount", "unit": "major"},
    "currency": {"path": "currency"},
    "status": {"path": "status"},
    "event_time": {"path": "event_time", "format": "iso", "zone": "UTC", "date_only": "true"},
}
"""What a statement brings by itself, as a configuration would say it."""

CANONICAL = Fields(
    txn_id=Value(("txn_id",)),
    event_id=Value(("event_id",)),
    amount=Amount(Value(("amount_minor",)), unit="minor"),
    currency=Value(("currency",)),
    status=Value(("status",)),
    event_time=Time(Value(("event_time",)), form="epoch_ms"),
    account_id=Value(("account_id",)),
    original_txn_id=Value(("original_txn_id",)),
)
"""recon's own event, where it is JSON or Protobuf, or in an envelope."""
