"""`recon topics`: the topics that the ledger's positions are of, and how to go on when Kafka has others."""

from __future__ import annotations

import getpass
import json
from contextlib import closing
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from actors.adapters.kafka import KafkaEventLog
from cluster.cli.exit_codes import ExitCode
from cluster.cli.stack import console, errors
from cluster.database import run
from cluster.endpoints import Endpoints
from cluster.log_topics import NothingToAcceptError, TopicState, accept, states
from cluster.settings import read_settings

app = typer.Typer(no_args_is_help=True, help="Topics that were deleted and made anew, and records that are lost.")


def _log(endpoints: Endpoints) -> KafkaEventLog:
    topics = [source.topic for source in endpoints.source_specs()]
    return KafkaEventLog(endpoints.kafka.client_config("reader"), topics)


def _problem(state: TopicState) -> str:
    if state.is_anew:
        return f"made anew: Kafka has {state.found_id}"
    gone = ", ".join(f"[{part}] {start} to {stop - 1}" for part, (start, stop) in sorted(state.lost.items()))
    return f"records are lost: {gone}" if gone else ""


@app.command("list")
def show(as_json: Annotated[bool, typer.Option("--json", help="The topics as data.")] = False) -> None:
    """Show each topic that the ledger knows, and whether Kafka still has it and all that was not read yet.

    Exit 1 when a topic was made anew or records are lost.
    """
    endpoints = Endpoints.load(read_settings().state_dir)
    with closing(_log(endpoints)) as log:
        found = run(states(endpoints.postgres.connect_kwargs("owner"), log))
    problems = {topic: _problem(state) for topic, state in found.items()}
    if as_json:
        rows = [
            {"topic": topic, "id": state.known_id, "incarnation": state.incarnation, "problem": problems[topic]}
            for topic, state in sorted(found.items())
        ]
        print(json.dumps(rows, indent=2))
    else:
        table = Table("topic", "id", "incarnation", "problem", box=None, pad_edge=False, header_style="bold")
        for topic, state in sorted(found.items()):
            table.add_row(Text(topic), Text(state.known_id), Text(str(state.incarnation)), Text(problems[topic]))
        console.print(table)
    if any(problems.values()):
        raise typer.Exit(ExitCode.FINDING)


@app.command("accept")
def accept_topic(
    topic: Annotated[str, typer.Argument(help="The topic's name.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the audit trail.")],
) -> None:
    """Go on with the topic that Kafka has now: a new one from its beginning, an old one without the records it lost.

    Everything that was read before stays in the ledger. Running readers go on by themselves.
    """
    if not reason.strip():
        errors.print("recon: --reason is empty", style="red")
        raise typer.Exit(ExitCode.USAGE)
    endpoints = Endpoints.load(read_settings().state_dir)
    with closing(_log(endpoints)) as log:
        try:
            decided = run(
                accept(endpoints.postgres.connect_kwargs("owner"), log, topic, f"cli:{getpass.getuser()}", reason)
            )
        except NothingToAcceptError as error:
            errors.print(Text(f"recon: {error}", style="red"))
            raise typer.Exit(ExitCode.FINDING) from None
    anew = decided["known_id"] != decided["found_id"]
    told = "is read from its beginning" if anew else "goes on behind what is lost"
    console.print(Text(f"✓ {topic} {told}; the decision is in the audit trail, chain {'topics'}"))
