"""`recon rules`: rule sets through the API, as whoever is signed in."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.table import Table

from cluster import https
from cluster.cli.exit_codes import ExitCode
from cluster.cli.login import session_token
from cluster.cli.terminal import SafeConsole
from cluster.endpoints import Endpoints
from cluster.rules_file import body_of, file_of
from cluster.settings import get_settings
from schemas.errors import ReconError
from schemas.money import CURRENCY_EXPONENTS, format_minor
from sources.config.problems import InvalidConfigError

TIMEOUT_S = 90.0  # a backtest over a hundred thousand transactions takes its time
ACTIVATE_IN_S_MAX = 366 * 86_400  # a year: what lies beyond is a mistake, or no number

app = typer.Typer(no_args_is_help=True)
console = SafeConsole()
errors = SafeConsole(stderr=True)

TokenFile = Annotated[
    Path | None, typer.Option("--token-file", help="An access token instead of the session of `recon login`.")
]
Json = Annotated[bool, typer.Option("--json", help="The API's answer as it is.")]
Version = Annotated[int, typer.Argument(min=1)]


class ApiRefusedError(ReconError):
    """The API answered with a problem."""

    def __init__(self, problem: dict[str, Any]) -> None:
        details = "; ".join(f"{item['where']}: {item['problem']}" for item in problem.get("errors", ()))
        text = " ".join(part for part in (problem.get("title"), problem.get("detail"), details) if part)
        super().__init__(f"{text} (request {problem.get('request_id', 'unknown')})")


def call(method: str, path: str, token_file: Path | None, body: Any = None) -> Any:
    """Ask the API. Raises ApiRefusedError, NotSignedInError or ReconError."""
    state_dir = get_settings().state_dir
    endpoints = Endpoints.load(state_dir)
    if endpoints.api is None:
        raise ReconError("this stack was started without the API")
    token = token_file.read_text(encoding="utf-8").strip() if token_file else session_token(endpoints, state_dir)
    try:
        with https.client(endpoints.api.ca_file, TIMEOUT_S, base_url=endpoints.api.url) as http:
            answer = http.request(
                method,
                f"/api/v1{path}",
                json=body,
                headers={"Authorization": f"Bearer {token}"},
            )
    except httpx.HTTPError as error:
        raise ReconError(f"the API does not answer at {endpoints.api.url}") from error
    if answer.is_error:
        raise ApiRefusedError(answer.json())
    return answer.json()


@app.command("list")
def list_versions(token_file: TokenFile = None, as_json: Json = False) -> None:
    """All versions, newest first; a star marks the one in force."""
    items = call("GET", "/rules", token_file)["items"]
    if as_json:
        print(json.dumps(items, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("version", "state", "in force from", "by", "activated by", "note"):
        table.add_column(heading)
    for item in items:
        mark = "*" if item["in_force"] else " "
        table.add_row(
            f"{mark} {item['version']}",
            item["state"],
            _moment(item["effective_from"]),
            item["created_by"],
            item["activated_by"] or "",
            item["note"],
        )
    console.print(table)


@app.command()
def show(
    version: Version,
    as_file: Annotated[
        bool, typer.Option("--as-file", help="As YAML in major units and per cent, for `draft`.")
    ] = False,
    token_file: TokenFile = None,
    _as_json: Json = True,
) -> None:
    """One version, as the API's JSON or as a file for people; `draft` takes the file, and the JSON's `body`."""
    found = call("GET", f"/rules/{version}", token_file)
    print(file_of(found["body"]) if as_file else json.dumps(found, indent=2), end="" if as_file else "\n")


@app.command()
def draft(
    file: Annotated[
        Path,
        typer.Argument(
            help="The rules in major units and per cent, as `recon rules show --as-file` writes them; a name in .json "
            "is the API's own form, in minor units and basis points.",
            exists=True,
            dir_okay=False,
        ),
    ],
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Draft a new version. It judges nothing until somebody else activates it."""
    try:
        text = file.read_text(encoding="utf-8")
        body = json.loads(text) if file.suffix.lower() == ".json" else body_of(text, str(file))
    except InvalidConfigError as error:
        errors.print(str(error), style="red", highlight=False)
        raise typer.Exit(ExitCode.USAGE) from error
    except ValueError as error:
        errors.print(f"recon: {file}: {error}", style="red", highlight=False)
        raise typer.Exit(ExitCode.USAGE) from error
    made = call("POST", "/rules", token_file, {"body": body, "note": note})
    print(json.dumps(made, indent=2) if as_json else f"version {made['version']} is drafted")


@app.command()
def backtest(
    version: Version,
    rows_max: Annotated[int, typer.Option(help="How many transactions to judge, newest first.")] = 20_000,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Judge stored history by a version. Exit 0: no verdict would change. Exit 1: some would, listed."""
    report = call("POST", f"/rules/{version}/backtest", token_file, {"rows_max": rows_max})
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _show_report(report)
    if report["flips"]:
        raise typer.Exit(ExitCode.FINDING)


@app.command()
def activate(
    version: Version,
    in_s: Annotated[float, typer.Option("--in", help="Seconds from now; 10 at least, and by default.")] = 0,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Put a draft of somebody else in force, for transactions that arrive from then on."""
    if not 0 <= in_s <= ACTIVATE_IN_S_MAX:
        errors.print(f"recon: --in {in_s} is not 0 to {ACTIVATE_IN_S_MAX} seconds", style="red", highlight=False)
        raise typer.Exit(ExitCode.USAGE)
    start = int((dt.datetime.now(dt.UTC).timestamp() + in_s) * 1_000) if in_s else None
    made = call("POST", f"/rules/{version}/activate", token_file, {"effective_from": start})
    print(
        json.dumps(made, indent=2) if as_json else f"version {version} applies from {_moment(made['effective_from'])}"
    )


@app.command()
def discard(version: Version, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Discard a draft."""
    made = call("POST", f"/rules/{version}/discard", token_file)
    print(json.dumps(made, indent=2) if as_json else f"version {version} is discarded")


def _moment(ms: int | None) -> str:
    return "" if ms is None else dt.datetime.fromtimestamp(ms / 1_000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _show_report(report: dict[str, Any]) -> None:
    rest = "" if report["complete"] else ", the newest of more"
    console.print(f"{report['transactions']} transactions judged{rest}; {report['unchanged']} unchanged")
    for flip in report["flips"]:
        sums = ", ".join(
            format_minor(money["amount_minor"], money["currency"])
            for money in flip["amounts"]
            if money["currency"] in CURRENCY_EXPONENTS
        )
        console.print(f"{flip['count']} {flip['was']} would be {flip['would_be']}: {sums}")
    for example in report["examples"][:10]:
        was, would_be = " ".join(example["was_breaks"]) or "-", " ".join(example["would_be_breaks"]) or "-"
        console.print(f"  {example['txn_id']}  {was} -> {would_be}")
