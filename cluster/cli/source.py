"""`recon source preview`: what a source's mapping makes of real records, before anything runs on it."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.table import Table
from rich.text import Text

from cluster.activation import NotRunnableError, schemas_of
from cluster.cli.config import console, fail, load_source
from cluster.cli.exit_codes import ExitCode
from cluster.endpoints import Endpoints, StackNotUpError
from cluster.files.configured import ConfiguredFile, files_of, raw_text, stream_of
from cluster.files.reading import UnusableFileError
from cluster.newest import newest
from cluster.reading_versions import Lookups, UnusableSchemaError, reading_of
from cluster.settings import read_settings
from schemas.errors import TransientError
from schemas.events import STATUS_NAMES
from schemas.money import format_minor
from sources.config.field_grammar import FIELD_NAMES
from sources.config.models import ReconciliationConfig
from sources.files import errors
from sources.files.opening import STDIN, open_file
from sources.mapping.apply import SourceMapping
from sources.mapping.texts import constant
from wire.records import BadPathError

app = typer.Typer(help="Sources and their mappings.", no_args_is_help=True)

_FIELDS = frozenset({"txn_id", "key", *FIELD_NAMES})

RECORDS_MAX = 10_000
"""The most records that one preview looks at."""


@app.callback()
def root() -> None:
    """Sources and their mappings."""


@dataclass(slots=True)
class Preview:
    """What a mapping made of the first records of a source."""

    events: list[dict[str, Any]] = field(default_factory=list)
    rejects: list[dict[str, Any]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


@app.command()
def preview(
    name: Annotated[str, typer.Argument(help="The source.")],
    file: Annotated[Path | None, typer.Argument(help="A file; left out: those of the configuration.")] = None,
    config: Annotated[Path | None, typer.Option(help="The configuration.")] = None,
    reconciliation: Annotated[str | None, typer.Option(help="Of several; the first if left out.")] = None,
    records: Annotated[int, typer.Option(min=1, max=RECORDS_MAX, help="How many records to look at.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="The records as data.")] = False,
) -> None:
    """Show what the mapping makes of real records, field by field, rejects first. Nothing is stored.

    Of a source with a topic the newest records are looked at, unless a file is named. Exit 0: every record can be read.
    Exit 1: some are set aside. Exit 2: the file or the configuration cannot be used. Exit 3: the stack is not up.
    """
    chosen, source, folder = load_source(config, reconciliation, name)
    only = replace(chosen, sources={name: source})
    given = {} if file is None else {name: [str(file)]}
    try:
        if file is None and source.topic is not None:
            found = _look_at_topic(chosen, name, folder, records)
        else:
            found = _look(chosen, files_of(only, folder, given), records)
    except (StackNotUpError, TransientError) as error:
        fail(f"recon: {error}", code=ExitCode.NOT_READY)
    except (NotRunnableError, UnusableSchemaError) as error:
        fail(f"recon: {error}")
    except (UnusableFileError, errors.UnusableFileError, BadPathError, OSError) as error:
        fail(f"recon: {error}")
    if as_json:
        said = {"events": found.events, "rejects": found.rejects, "skipped": dict(found.skipped)}
        print(json.dumps(said, indent=2, ensure_ascii=False))
    else:
        _print(found)
    if found.rejects:
        raise typer.Exit(ExitCode.FINDING)


def _look(reconciliation: ReconciliationConfig, files: list[ConfiguredFile], wanted: int) -> Preview:
    """The first records of the files, mapped."""
    found = Preview()
    left = wanted
    arrival = int(time.time() * 1000)
    for one in files:
        if left <= 0:
            break
        if one.source.fields is None:
            raise UnusableFileError(f"source {one.source.name} has canonical Avro records, which need no mapping")
        mapping = SourceMapping.of(reconciliation, one.source.name)
        label = Path(one.path).name if one.path != STDIN else "standard input"
        with stream_of(one.path) as stream, open_file(stream, label, one.options) as opened:
            for batch in opened.batches():
                mapped = mapping.apply(batch, constant(arrival, len(batch.rows), pl.Int64()))
                events = mapped.events.filter(pl.col("index") < left)
                rejected = {reject.index: reject for reject in mapped.rejects if reject.index < left}
                for reject in rejected.values():
                    raw = raw_text(batch.raw(reject.index))
                    found.rejects.append(
                        {"row": reject.row, "field": reject.field, "reason": reject.reason, "detail": reject.detail}
                        | {"record": raw}
                    )
                found.events += [_said(row) for row in events.to_dicts()]
                seen = min(left, len(batch.rows))
                if passed := seen - len(rejected) - len(events):
                    found.skipped["where"] += passed
                left -= seen
                if left <= 0:
                    break
            for row in itertools.islice(opened.rejects, max(0, wanted)):
                said = {"row": row.row, "field": None, "reason": "malformed", "detail": row.reason}
                found.rejects.append(said | {"record": raw_text(row.raw)})
            found.skipped.update(opened.skipped)
    return found


def _look_at_topic(reconciliation: ReconciliationConfig, name: str, folder: Path, wanted: int) -> Preview:
    """The newest records of a source's topic, mapped as the pipeline would."""
    source = reconciliation.sources[name]
    topic = source.topic or ""
    if source.is_canonical and not source.where:
        raise UnusableFileError(f"source {name} has canonical records, which need no mapping")
    endpoints = Endpoints.load(read_settings().state_dir)
    only = replace(reconciliation, sources={name: source})
    lookups = Lookups(endpoints.registry.client_config("reader"))
    try:
        reader = reading_of(only, schemas_of(folder, only), {name: 0}, lookups).mapped[topic]
        records = newest(endpoints.kafka.client_config("reader"), topic, wanted)
        streamed = reader.read(records.batch(topic))
    finally:
        lookups.close()
    found = Preview(skipped=streamed.skipped)
    for reject in sorted(streamed.rejects, key=lambda one: one.row):
        field, _, _ = reject.detail.partition(": ")
        found.rejects.append(
            {
                "row": records.place(reject.row),
                "field": field if field in _FIELDS or field.startswith("attributes.") else None,
                "reason": reject.reason,
                "detail": reject.detail,
                "record": raw_text(records.values[reject.row] or b""),
            }
        )
    for event in streamed.events.to_dicts():
        attributes = json.loads(event.pop("attributes") or "{}")
        event["row"] = records.place(event["row"])
        event.pop("source")
        found.events.append(_said(event | {f"attributes.{one}": value for one, value in attributes.items()}))
    return found


def _said(event: dict[str, Any]) -> dict[str, Any]:
    """An event in words."""
    said = {name: value for name, value in event.items() if name != "index" and value is not None}
    said["status"] = STATUS_NAMES[event["status"]]
    return said


def _print(found: Preview) -> None:
    if found.rejects:
        table = Table("row", "field", "why", "record", box=None, pad_edge=False, header_style="bold red")
        for reject in found.rejects:
            why = (str(reject["row"]), reject["field"] or "", reject["detail"], reject["record"].strip()[:120])
            table.add_row(*(Text(cell) for cell in why))
        console.print(table)
    if found.events:
        attributes = list(dict.fromkeys(name for event in found.events for name in event if "." in name))
        optional = [name for name in ("event_id", "account_id", "original_txn_id", "fee_minor") if _any(found, name)]
        names = ["row", "txn_id", "amount", "status", "event_time", *optional, *attributes]
        table = Table(*names, box=None, pad_edge=False, header_style="bold")
        for event in found.events:
            moment = pl.Series([event["event_time"]]).cast(pl.Datetime("ms")).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")[0]
            cells = {
                **event,
                "amount": format_minor(event["amount_minor"], event["currency"]),
                "event_time": moment,
            }
            table.add_row(*(Text(str(cells.get(name, ""))) for name in names))
        console.print(table)
    skipped = "".join(f", {count:,} skipped ({why})" for why, count in found.skipped.items())
    console.print(f"{len(found.events):,} events, {len(found.rejects):,} set aside{skipped}", highlight=False)


def _any(found: Preview, name: str) -> bool:
    return any(name in event for event in found.events)
