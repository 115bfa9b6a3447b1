"""`recon dlq`: dead letters, the records that were set aside."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import Annotated, Any, NoReturn

import asyncpg
import typer
from confluent_kafka import Producer
from rich.table import Table

from cluster.cli.exit_codes import ExitCode
from cluster.cli.terminal import SafeConsole, one_line, styled
from cluster.database import run
from cluster.dead_letters import LetterId, Replayed, connected, find, read_again, replay, search
from cluster.endpoints import Endpoints
from cluster.oracle.decoding import Decoder, Version, registry_lookup
from cluster.oracle.ledger import snapshot
from cluster.oracle.records import Refused, Skipped
from cluster.settings import get_settings
from producers.emitter import producer_config
from schemas.errors import DeadLetterReason
from schemas.events import SourceSpec

SHOWN_BYTES_MAX = 512
BYTES_A_LINE = 16
STATES = ("new", "replayed", "dismissed")
REPLAY_MAX = 10_000  # at once; a longer list deserves a second look

app = typer.Typer(no_args_is_help=True, help="List and replay dead letters.")
console = SafeConsole()
wide = console if console.is_terminal else SafeConsole(width=220)  # a pipe has no width: cut nothing short
errors = SafeConsole(stderr=True)

JsonOption = Annotated[bool, typer.Option("--json", help="The outcome as data.")]
LetterArgument = Annotated[str, typer.Argument(metavar="TOPIC:PARTITION:OFFSET", help="Where in the log it was.")]
ReasonOption = Annotated[DeadLetterReason | None, typer.Option(help="Only those set aside for this reason.")]
TopicOption = Annotated[str | None, typer.Option(help="Only those of this topic.")]


@app.command("list")
def list_(
    state: Annotated[str | None, typer.Option(help="new, replayed or dismissed; default: all.")] = None,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    limit: Annotated[int, typer.Option(min=1, max=REPLAY_MAX, help="How many, newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List dead letters, newest first."""
    if state not in {None, *STATES}:
        _fail(f"--state {state!r} is not one of {', '.join(STATES)}", ExitCode.USAGE)

    async def fetch() -> list[asyncpg.Record]:
        async with connected(_endpoints().postgres.connect_kwargs("api")) as connection:
            return await search(connection, state=state, reason=reason, topic=topic, limit=limit)

    rows = run(fetch())
    if as_json:
        for row in rows:
            print(json.dumps(_plain(row)))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("arrival (UTC)", "record", "reason", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("bytes", justify="right")
    table.add_column("detail", overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(
            f"{row['arrival']:%Y-%m-%d %H:%M:%S}",
            _place(row),
            row["reason"],
            row["state"],
            str(row["size_bytes"]),
            row["detail"],
        )
    wide.print(table)
    if not rows:
        console.print(styled("[dim]none[/]"))


@app.command()
def show(letter: LetterArgument, as_json: JsonOption = False) -> None:
    """Show one dead letter, its bytes, and what they would be judged to be today."""
    place = _parse(letter)
    endpoints = _endpoints()

    async def fetch() -> asyncpg.Record | None:
        async with connected(endpoints.postgres.connect_kwargs("api")) as connection:
            return await find(connection, place)

    row = run(fetch())
    if row is None:
        _fail(f"there is no dead letter {place}", ExitCode.USAGE)
    with _decoder(endpoints) as decoder:
        today = read_again(decoder, row, int(time.time() * 1000))
    match today:
        case Refused():
            verdict = f"still {today.reason.value}: {today}"
        case Skipped():
            verdict = f"skipped by now: {today}"
        case _:
            verdict = "an acceptable event by now"
    payload: bytes | None = row["payload"]
    if as_json:
        content = {
            **_plain(row),
            "key": None if row["key"] is None else row["key"].decode(errors="replace"),
            "payload_hex": None if payload is None else payload.hex(),
            "today": verdict,
        }
        print(json.dumps(content, indent=2))
        return
    for name, value in (*_plain(row).items(), ("key", row["key"]), ("today", verdict)):
        console.print(styled("[bold]{}[/] ", f"{name:<12}"), end="")
        console.print(one_line(value), markup=False, highlight=False, soft_wrap=True)
    console.print(hex_dump(payload), markup=False, highlight=False)


@app.command("replay")
def replay_(
    letters: Annotated[list[str] | None, typer.Argument(metavar="[TOPIC:PARTITION:OFFSET]...")] = None,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    every: Annotated[bool, typer.Option("--all", help="Every new dead letter that the filters let through.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Read the stored bytes again with the registry of today; what has become an event goes back to its topic.

    Exit 1 when any is still not acceptable, or was replayed before; it says why, and leaves it as it is.
    """
    if bool(letters) == every:
        _fail("name dead letters, or give --all", ExitCode.USAGE)
    chosen = [_parse(letter) for letter in letters or ()]
    endpoints = _endpoints()

    async def work(decoder: Decoder) -> list[Replayed]:
        async with connected(endpoints.postgres.connect_kwargs("api")) as connection:
            wanted = chosen
            if every:
                rows = await search(connection, state="new", reason=reason, topic=topic, limit=REPLAY_MAX)
                wanted = [LetterId.parse(_place(row)) for row in rows]
            producer = Producer(producer_config(endpoints.kafka.client_config("producer")))
            with closing(producer):
                return [await replay(connection, producer, decoder, place, _who()) for place in wanted]

    with _decoder(endpoints) as decoder:
        outcomes = run(work(decoder))
    if as_json:
        print(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
    else:
        for outcome in outcomes:
            mark = "[green]✓[/]" if outcome.replayed else "[red]✗[/]"
            console.print(styled(mark + " {}: ", one_line(outcome.letter)), end="", highlight=False)
            console.print(one_line(outcome.explanation), markup=False, highlight=False, soft_wrap=True)
        if not outcomes:
            console.print(styled("[dim]none[/]"))
    if not all(outcome.replayed for outcome in outcomes):
        raise typer.Exit(ExitCode.FINDING)


def hex_dump(payload: bytes | None) -> str:
    """Bytes as offset, hexadecimal and text, at most SHOWN_BYTES_MAX of them."""
    if payload is None:
        return "(null: a tombstone)"
    lines = []
    for at in range(0, min(len(payload), SHOWN_BYTES_MAX), BYTES_A_LINE):
        part = payload[at : at + BYTES_A_LINE]
        text = "".join(chr(byte) if chr(byte).isprintable() and byte < 128 else "." for byte in part)
        lines.append(f"{at:6d}  {part.hex(' '):<{BYTES_A_LINE * 3}} {text}")
    if len(payload) > SHOWN_BYTES_MAX:
        lines.append(f"        and {len(payload) - SHOWN_BYTES_MAX:,} bytes more")
    return "\n".join(lines) or "(no bytes)"


def _endpoints() -> Endpoints:
    return Endpoints.load(get_settings().state_dir)


@contextmanager
def _decoder(endpoints: Endpoints) -> Iterator[Decoder]:
    async def reading() -> tuple[Sequence[SourceSpec], Sequence[Version]]:
        async with snapshot(endpoints.postgres.connect_kwargs("api")) as ledger:
            return await ledger.sources() or endpoints.source_specs(), await ledger.configurations()

    sources, versions = run(reading())
    with registry_lookup(endpoints.registry.client_config("reader")) as lookup:
        yield Decoder(lookup, sources, versions)


def _who() -> str:
    return f"cli:{getpass.getuser()}"


def _parse(text: str) -> LetterId:
    try:
        return LetterId.parse(text)
    except ValueError:
        _fail(f"{text!r} is not TOPIC:PARTITION:OFFSET", ExitCode.USAGE)


def _place(row: asyncpg.Record) -> str:
    return f"{row['topic']}:{row['kafka_partition']}:{row['kafka_offset']}"


def _plain(row: asyncpg.Record) -> dict[str, Any]:
    changed = row["state_changed_at"]
    return {
        "record": _place(row),
        "arrival": row["arrival"].isoformat(),
        "reason": row["reason"],
        "detail": row["detail"],
        "size_bytes": row["size_bytes"],
        "state": row["state"],
        "changed_at": None if changed is None else changed.isoformat(),
        "changed_by": row["state_changed_by"],
    }


def _fail(message: str, code: ExitCode) -> NoReturn:
    errors.print(f"recon: {message}", style="red", highlight=False)
    raise typer.Exit(code)
