"""Reads `recon.yaml` from text: the grammar of the whole file, and what its parts must agree on."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cache, partial
from typing import Any, Final

import yaml

from schemas.events import DEFAULT_SOURCES, SOURCES_MAX
from schemas.rules import (
    MATCH_WINDOW_MS_DEFAULT,
    MATCH_WINDOW_MS_MAX,
    TIME_TOLERANCE_MS_DEFAULT,
    TIME_TOLERANCE_MS_MAX,
)
from sources.config.field_grammar import (
    CANONICAL,
    COLUMNS_MAX,
    CONDITION,
    FIELD_NAMES,
    FIELDS,
    PLACE,
    STATEMENT,
    WORD,
    check_steps,
    currency,
)
from sources.config.grammar import (
    MISSING,
    Choice,
    Duration,
    Either,
    Exact,
    Flag,
    Found,
    Key,
    Keys,
    Listed,
    Named,
    Reading,
    Text,
    Whole,
)
from sources.config.models import (
    Fields,
    ReconciliationConfig,
    ReconConfig,
    RulesConfig,
    SourceConfig,
    ToleranceConfig,
    TotalsConfig,
)
from sources.config.places import PlaceRules
from sources.config.problems import InvalidConfigError, Problem, closest
from sources.currencies import CODE_OF_DIGITS, EXPONENTS
from sources.files.options import STATEMENT_FORMATS, Control, FileOptions, Place, RecordKinds
from sources.mapping.amounts import written

CONFIG_BYTES_MAX: Final = 1_048_576
"""The largest configuration, in bytes."""
RECONCILIATIONS_MAX: Final = 100
"""The most reconciliations of one deployment."""
SKIPPED_ROWS_MAX: Final = 100_000
"""The most rows before the data or after it."""
ROW_BYTES_MAX: Final = 1_000_000
"""The longest row of fixed length, in bytes."""
WAIT_MS_MAX: Final = 366 * 86_400_000
"""The longest that a file is waited for, in milliseconds."""

STREAM_FORMATS: Final = ("avro", "json", "protobuf")
FILE_FORMATS: Final = ("csv", "tsv", "fixed", "xlsx", "json", "jsonl", "parquet", *sorted(STATEMENT_FORMATS))
_STREAM_KEYS: Final = ("envelope", "schema", "message", "identity", "deletes")
_FILE_KEYS: Final = (
    "encoding",
    "delimiter",
    "skip_rows",
    "footer",
    "heading",
    "records",
    "level",
    "sheet",
    "array",
    "record_bytes",
    "packing",
    "settles_within",
    "wait_at_most",
)
# Which formats an option means something for.
_ONLY_FOR: Final[dict[str, frozenset[str]]] = {
    "delimiter": frozenset({"csv", "tsv"}),
    "skip_rows": frozenset({"csv", "tsv", "fixed", "xlsx"}),
    "footer": frozenset({"csv", "tsv", "fixed", "xlsx"}),
    "heading": frozenset({"csv", "tsv", "xlsx"}),
    "records": frozenset({"csv", "tsv", "fixed", "xlsx"}),
    "level": frozenset({"camt.052", "camt.053", "camt.054"}),
    "sheet": frozenset({"xlsx"}),
    "array": frozenset({"json"}),
    "record_bytes": frozenset({"fixed"}),
}
_BARE_KEYS: Final = ("txn_id", "original_txn_id", "account_id")


def _codec(text: str) -> tuple[str, str] | None:
    try:
        codecs.lookup(text)
    except LookupError:
        return f"{text!r} is no encoding", closest(text, ["utf-8", "utf-16", "cp1252", "iso-8859-1", "cp037"])
    return None


def _delimiter(text: str) -> tuple[str, str] | None:
    return (
        None
        if len(text) == 1 and text not in '"\r\n'
        else (f"{text!r} is no delimiter", 'right is one character, as ";"')
    )


def _tolerance_currency(text: str) -> tuple[str, str] | None:
    return None if text == "default" else currency(text)


def _build_tolerance(found: Found) -> ToleranceConfig:
    percent = found.get("percent", Decimal(0))
    if percent > 100 or percent * 100 != int(percent * 100):
        found.wrong("percent", f"{percent} cannot be taken", "right are 0 to 100, in steps of 0.01")
        percent = Decimal(0)
    return ToleranceConfig(found.get("absolute", Decimal(0)), percent)


TOLERANCE: Final = Keys(
    cache(
        lambda: {
            "absolute": Key(Exact(), "in major units"),
            "percent": Key(Exact(), "of the largest amount; 0.1 is one in a thousand"),
        }
    ),
    _build_tolerance,
)


def _build_rules(found: Found) -> RulesConfig:
    tolerances = dict(found.get("tolerances", {}))
    default = tolerances.pop("default", ToleranceConfig())
    for code, tolerance in tolerances.items():
        if tolerance.absolute.scaleb(EXPONENTS[code]) % 1:
            right = f"{code} has {EXPONENTS[code]} decimals"
            found.wrong("tolerances", f"{code}: {tolerance.absolute} is part of a minor unit", right)
    return RulesConfig(
        found.get("match_window", MATCH_WINDOW_MS_DEFAULT),
        found.get("time_tolerance", TIME_TOLERANCE_MS_DEFAULT),
        tolerances,
        default,
    )


RULES: Final = Keys(
    cache(
        lambda: {
            "match_window": Key(Duration(1, MATCH_WINDOW_MS_MAX), "how long a transaction is waited for"),
            "time_tolerance": Key(Duration(0, TIME_TOLERANCE_MS_MAX), "how far apart times may be"),
            "tolerances": Key(
                Named(
                    Text(
                        "a currency",
                        check=_tolerance_currency,
                        convert=lambda text: CODE_OF_DIGITS.get(text, text),
                    ),
                    TOLERANCE,
                ),
                "how far apart amounts may be, by currency, and `default`",
            ),
        }
    ),
    _build_rules,
)

CONTROL: Final = Keys(
    cache(
        lambda: {
            "type": Key(Listed(WORD, single=True), "the kinds of rows that count", required=True),
            "count": Key(PLACE, "where they say how many rows there are"),
            "sum": Key(PLACE, "where they say the sum of the amounts"),
        }
    ),
    lambda found: Control(found.get("type", ()), found.get("count"), found.get("sum")),
)
KINDS: Final = Keys(
    cache(
        lambda: {
            "type": Key(PLACE, "where a row's kind stands", required=True),
            "data": Key(Listed(WORD, single=True), "the kinds that are data", required=True),
            "control": Key(CONTROL, "the rows that count the others"),
        }
    ),
    lambda found: RecordKinds(found.get("type", Place()), found.get("data", ()), found.get("control")),
)


def _build_source(found: Found) -> SourceConfig | Any:
    is_file = "path" in found
    if is_file == ("topic" in found):
        found.wrong(None, "has topic and path" if is_file else "has no topic", "right is topic: or path:, one of them")
    form = found.get("format", "avro" if not is_file else "csv")
    if "format" not in found and is_file:
        found.wrong(None, "format is missing", f"right are {', '.join(FILE_FORMATS)}")
    formats = FILE_FORMATS if is_file else STREAM_FORMATS
    if form not in formats:
        what = "a file's format is none of a topic's" if not is_file else "a topic's format is none of a file's"
        found.wrong("format", f"{form}: {what}", f"right are {', '.join(formats)}")
    for name in _STREAM_KEYS if is_file else _FILE_KEYS:
        if name in found:
            found.wrong(name, f"means nothing for a {'file' if is_file else 'topic'}", "leave it out")
    for name, only in _ONLY_FOR.items():
        if is_file and name in found and form in FILE_FORMATS and form not in only:
            found.wrong(name, f"means nothing for {form}", f"it is for {', '.join(sorted(only))}")
    envelope = found.get("envelope", "none")
    if "deletes" in found and envelope != "debezium":
        found.wrong("deletes", "is for envelope: debezium", "leave it out")
    if "message" in found and form != "protobuf":
        found.wrong("message", "is for format: protobuf", "leave it out")
    fields = _fields_of(found, form, envelope, is_file=is_file)
    places = PlaceRules(form, is_file, found.get("heading", True))
    for name in ("fields", "where", "records"):
        if name in found.nodes:
            places.check(found.nodes[name], f"{found.where}.{name}".lstrip("."), found.reading)
    return SourceConfig(
        name=found.where.rpartition(".")[2],
        topic=found.get("topic"),
        path=found.get("path"),
        format=form,
        line=found.node.start_mark.line + 1,
        envelope=envelope,
        schema=found.get("schema"),
        message=found.get("message"),
        expected=found.get("expected", True),
        where=found.get("where", ()),
        fields=fields,
        negative=found.get("negative", form in STATEMENT_FORMATS),
        identity=found.get("identity", "row" if envelope == "debezium" else "place"),
        deletes=found.get("deletes", "ignore"),
        file=_file_options(found, form, fields) if is_file and form in FILE_FORMATS else None,
        settles_within_ms=found.get("settles_within", 0),
        wait_at_most_ms=found.get("wait_at_most"),
    )


def _fields_of(found: Found, form: str, envelope: str, *, is_file: bool) -> Fields | None:
    given: Mapping[str, Any] | None = found.get("fields")
    if "fields" not in found:
        if form in STATEMENT_FORMATS:
            found.wrong(None, "fields is missing", "a statement needs txn_id at least: fields: {txn_id: {path: ...}}")
        return None if form == "avro" and envelope == "none" and not is_file else CANONICAL
    if given is None:
        return None
    complete = {**(STATEMENT if form in STATEMENT_FORMATS else {}), **given}
    for name in ("amount", "currency", "status", "event_time"):
        if name not in complete:
            node = found.nodes["fields"]
            has_node = any(key.value == name for key, _ in node.value)
            if not has_node:
                found.wrong("fields", f"{name} is missing", f"say where it is, or {name}: {{const: ...}}")
    if any(name not in complete for name in ("txn_id", "amount", "currency", "status", "event_time")):
        return None
    return Fields(**{name: complete[name] for name in complete})


def _file_options(found: Found, form: str, fields: Fields | None) -> FileOptions:
    paths = None if fields is None else frozenset(read_paths(fields, found.get("where", ())))
    return FileOptions(
        format=form,  # type: ignore[arg-type]
        encoding=found.get("encoding", "utf-8"),
        delimiter=found.get("delimiter"),
        skip_rows=found.get("skip_rows", 0),
        footer=found.get("footer", 0),
        heading=found.get("heading", True),
        records=found.get("records"),
        level=found.get("level", "entry"),
        sheet=found.get("sheet", 0),
        array=found.get("array", ""),
        record_bytes=found.get("record_bytes"),
        packing=found.get("packing", "auto"),
        amounts=None if fields is None else partial(written, fields=fields),
        decimal=fields.amount.decimal if fields else ".",
        group=fields.amount.group if fields else None,
        paths=paths,
    )


def read_paths(fields: Fields, where: Any = ()) -> list[str]:
    """The paths that a mapping reads, each once, in the order of its fields."""
    values = [
        one.value if hasattr(one, "value") else one
        for one in (getattr(fields, name) for name in FIELD_NAMES)
        if one is not None
    ]
    for amount in (fields.amount, fields.fee):
        if amount is not None:
            values += [one for one in (amount.debit, amount.credit) if one is not None]
            values += [amount.indicator.value] if amount.indicator else []
    values += [*fields.attributes.values(), *(condition.value for condition in where)]
    return list(dict.fromkeys(place.as_path for value in values for place in (*value.places, *value.join)))


SOURCE: Final = Keys(
    cache(
        lambda: {
            "topic": Key(Text("a topic's name", pattern=r"[A-Za-z0-9._-]{1,249}"), "the Kafka topic"),
            "path": Key(Text("a file's path"), "the files: a path, a glob, or - for standard input"),
            "format": Key(Choice(tuple(dict.fromkeys((*STREAM_FORMATS, *FILE_FORMATS)))), "how records are written"),
            "envelope": Key(Choice(("none", "debezium", "cloudevents")), "what records are wrapped in"),
            "schema": Key(Text("a file's path"), "the schema of records that are not framed by a registry"),
            "message": Key(Text("a message's name"), "the Protobuf message of records that are not framed"),
            "expected": Key(Flag(), "whether a transaction waits for this source"),
            "where": Key(Listed(CONDITION, single=True), "which records are the source's; others are skipped"),
            "fields": Key(FIELDS, "where each field is"),
            "negative": Key(Flag(), "whether negative amounts are accepted"),
            "identity": Key(Choice(("place", "row")), "what an event without event_id is known by"),
            "deletes": Key(Choice(("ignore", "retract")), "what a deleted row means"),
            "encoding": Key(Text("an encoding", check=_codec), "of a text file; utf-8 if left out"),
            "delimiter": Key(Text("one character", check=_delimiter), "what stands between cells"),
            "skip_rows": Key(Whole(0, SKIPPED_ROWS_MAX), "rows before the heading or the data"),
            "footer": Key(Whole(0, SKIPPED_ROWS_MAX), "rows at the end that are no data"),
            "heading": Key(Flag(), "whether the first row names the columns"),
            "records": Key(KINDS, "kinds of rows"),
            "level": Key(Choice(("entry", "details")), "of camt: entries, or the transactions in them"),
            "sheet": Key(Either(Text("a sheet's name or number", convert=_sheet), WORD), "of a workbook"),
            "array": Key(Text("a path as data.rows", check=check_steps), "where a JSON document has its records"),
            "record_bytes": Key(Whole(1, ROW_BYTES_MAX), "length of rows without line ends"),
            "packing": Key(Choice(("auto", "none", "gz", "zip", "zst")), "how the file is packed"),
            "settles_within": Key(Duration(0, WAIT_MS_MAX), "how long after the event a file tells of it"),
            "wait_at_most": Key(Duration(1, WAIT_MS_MAX), "how long a file is waited for"),
        }
    ),
    _build_source,
)


def _sheet(text: str) -> str | int:
    return int(text) if text.isdigit() and int(text) <= COLUMNS_MAX else text


def _build_sides(found: Found) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return found.get("left", ()), found.get("right", ())


_NAME: Final = Text("a source's name", pattern=r"[A-Za-z][A-Za-z0-9_-]{0,62}")
SIDES: Final = Keys(
    cache(
        lambda: {
            "left": Key(Listed(_NAME), "the sources of the left side", required=True),
            "right": Key(Listed(_NAME), "the sources of the right side", required=True),
        }
    ),
    _build_sides,
)
COMPARE: Final = Keys(
    cache(lambda: {"attributes": Key(Listed(WORD), "attributes that must agree", required=True)}),
    lambda found: found.get("attributes", ()),
)


def _build_reconciliation(found: Found) -> ReconciliationConfig:
    sources: Mapping[str, SourceConfig] = found.get("sources", {})
    shape = found.get("shape", "one_per_source")
    key = found.get("key", ("txn_id",))
    compared = found.get("compare", ())
    if len(sources) > SOURCES_MAX:
        found.wrong("sources", f"there are {len(sources)}", f"right are at most {SOURCES_MAX}")
    if sources and not any(source.expected for source in sources.values()):
        found.wrong("sources", "none is expected, so nothing could be missing", "say expected: true for one")
    _check_places(found, sources)
    mapped = {name for source in sources.values() if source.fields for name in source.fields.attributes}
    for name in compared:
        if name not in mapped and not found.broken:
            found.wrong("compare", f"no source maps an attribute {name!r}", closest(name, sorted(mapped)))
    for name in key:
        attribute = name.removeprefix("attributes.")
        if attribute != name:
            if attribute not in mapped and not found.broken:
                found.wrong("key", f"no source maps an attribute {attribute!r}", closest(attribute, sorted(mapped)))
        elif name not in _BARE_KEYS:
            found.wrong("key", f"{name!r} is no key", closest(name, [*_BARE_KEYS, "attributes.NAME"]))
    return ReconciliationConfig(
        found.where.rpartition(".")[2],
        shape,
        key,
        sources,
        found.get("rules", RulesConfig(MATCH_WINDOW_MS_DEFAULT, TIME_TOLERANCE_MS_DEFAULT)),
        compared,
        _totals(found, sources, shape),
    )


def _totals(found: Found, sources: Mapping[str, SourceConfig], shape: str) -> TotalsConfig | None:
    if shape != "totals":
        for name in ("sides", "relation", "fees"):
            if name in found:
                found.wrong(name, "is for shape: totals", "leave it out")
        return None
    if "sides" not in found:
        found.wrong(None, "sides is missing", "say sides: {left: [...], right: [...]}")
    left, right = found.get("sides", ((), ()))
    for name in (*left, *right):
        if name not in sources:
            found.wrong("sides", f"there is no source {name!r}", closest(name, sources))
        if name in left and name in right:
            found.wrong("sides", f"{name} stands on both sides", "right is one of them")
    for name in sources:
        if "sides" in found and name not in left and name not in right:
            found.wrong("sides", f"{name} stands on no side", "every source is left or right")
    return TotalsConfig(left, right, found.get("relation", "equal"), found.get("fees", "none"))


def _check_places(found: Found, sources: Mapping[str, SourceConfig]) -> None:
    """One topic or file for two sources of a reconciliation: fine only where `where` tells their records apart."""
    seen: dict[tuple[str, str], list[SourceConfig]] = {}
    for source in sources.values():
        place = ("topic", source.topic or "") if not source.is_file else ("path", source.path or "")
        for other in seen.setdefault(place, []) if place[1] else ():
            if not told_apart(source, other):
                what = f"sources {other.name} (line {other.line}) and {source.name} both read {place[0]} {place[1]}"
                mark = Problem(source.line, 1, f"{found.where}.sources.{source.name}", what, _APART)
                found.reading.problems.append(mark)
        if place[1]:
            seen[place].append(source)


_APART: Final = "tell their records apart: where: {path: ..., in: [...]} in both, with no word in common"


def told_apart(one: SourceConfig, other: SourceConfig) -> bool:
    """Whether no record can be taken by both of two sources that read one topic or file."""
    if one.file is not None and other.file is not None:
        if (one.file.sheet, one.file.array) != (other.file.sheet, other.file.array):
            return True
        mine, theirs = one.file.records, other.file.records
        if mine and theirs and mine.type == theirs.type and not set(mine.data) & set(theirs.data):
            return True
    if not one.where or not other.where:
        return False
    for condition in one.where:
        for against in other.where:
            if condition.value == against.value and condition.wanted and against.wanted:
                return not set(condition.words) & set(against.words)
    return True


RECONCILIATION: Final = Keys(
    cache(
        lambda: {
            "shape": Key(Choice(("one_per_source", "totals")), "what agreement means"),
            "key": Key(Listed(Text("a field"), single=True), "what joins events; of a list the first not empty"),
            "sources": Key(Named(_NAME, SOURCE), "the systems that tell of payments", required=True),
            "compare": Key(COMPARE, "what must agree beside amount, currency, status and time"),
            "rules": Key(RULES, "the first rule set"),
            "sides": Key(SIDES, "of totals: which sources are left and right"),
            "relation": Key(Choice(("equal", "at_most")), "of totals: left equals right, or is at most right"),
            "fees": Key(Choice(("left", "right", "none")), "of totals: which side's fees are taken off"),
        }
    ),
    _build_reconciliation,
)
DOCUMENT: Final = Keys(
    cache(
        lambda: {
            "version": Key(Choice(("1",)), "the version of this format, which is 1", required=True),
            "reconciliations": Key(
                Named(
                    Text("a reconciliation's name", pattern="[a-z][a-z0-9_]{0,30}"),
                    RECONCILIATION,
                    high=RECONCILIATIONS_MAX,
                ),
                "what is reconciled, by name; the first is the default",
                required=True,
            ),
        }
    ),
    lambda found: found.get("reconciliations", {}),
)


def parse(text: str | bytes, file: str) -> ReconConfig:
    """A configuration from its text. Raises InvalidConfigError with all that is wrong.

    Args:
        text: YAML; bytes are UTF-8.
        file: the file's name, for errors.
    """
    if len(text) > CONFIG_BYTES_MAX:
        raise InvalidConfigError(file, [Problem(0, 0, "", f"is longer than {CONFIG_BYTES_MAX} bytes")])
    try:
        node = yaml.compose(text.decode() if isinstance(text, bytes) else text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise InvalidConfigError(file, [Problem(0, 0, "", f"is not UTF-8 at byte {error.start}")]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = f"is no YAML: {error.problem or error.context}"
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise InvalidConfigError(file, [Problem(line, column, "", what)]) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidConfigError(file, [Problem(0, 0, "", f"is no YAML: {error}")]) from error
    if node is None:
        raise InvalidConfigError(file, [Problem(0, 0, "", "is empty", "right is version: 1 and reconciliations:")])
    reading = Reading()
    found = DOCUMENT.read(node, "", reading)
    if reading.problems or found is MISSING:
        raise InvalidConfigError(file, dict.fromkeys(reading.problems))
    return ReconConfig(file, found)


def built_in() -> ReconConfig:
    """What holds without a file: the three canonical Avro sources."""
    lines = "".join(f"      {source.name}: {{topic: {source.topic}, format: avro}}\n" for source in DEFAULT_SOURCES)
    config = parse(f"version: 1\nreconciliations:\n  payments:\n    sources:\n{lines}", "built-in")
    return replace(config, file="")


def json_schema() -> dict[str, Any]:
    """The grammar as JSON Schema (2020-12), for editors."""
    schema = DOCUMENT.schema()
    schema["properties"]["version"] = {"const": 1, "description": "the version of this format, which is 1"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "recon.yaml", **schema}
