"""What a person reads after `recon match`: the same figures in the terminal and as Markdown."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import polars as pl
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cluster.files.reconcile import Reconciliation
from schemas.money import format_minor
from schemas.verdicts import Break, Verdict, break_names, source_names, unpack_legs

EXAMPLES_IN_TERMINAL = 10
EXAMPLES_IN_REPORT = 100
REJECTS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Example:
    """A mismatch as people see it."""

    txn_id: str
    breaks: str
    detail: str
    legs: dict[str, str]  # source name: what it says


@dataclass(slots=True)
class Summary:
    """The figures of a reconciliation."""

    transactions: int
    matched: int
    mismatched: int
    late: int
    rows: dict[str, int]
    repeated: int
    rejected: int
    breaks: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    at_stake: dict[str, int] = field(default_factory=dict)  # largest leg of each mismatch, by currency
    apart: dict[str, int] = field(default_factory=dict)  # spread of AMOUNT breaks, by currency
    examples: list[Example] = field(default_factory=list)


def summarize(outcome: Reconciliation) -> Summary:
    """Count and pick examples: the largest amounts first, since those are looked at first."""
    results = outcome.results
    wrong = results.filter(pl.col("verdict") == Verdict.MISMATCHED)
    summary = Summary(
        transactions=len(results),
        matched=len(results) - len(wrong),
        mismatched=len(wrong),
        late=len(results.filter(pl.col("late") != 0)),
        rows=outcome.rows,
        repeated=outcome.repeated,
        rejected=len(outcome.rejects),
    )
    at_stake: defaultdict[str, int] = defaultdict(int)
    apart: defaultdict[str, int] = defaultdict(int)
    columns = ("breaks", "missing", "currency", "amount_minor", "spread_minor")
    for breaks, missing, currency, amount, spread in wrong.select(columns).iter_rows():
        summary.breaks.update(break_names(breaks))
        summary.missing.update(source_names(missing, outcome.names))
        at_stake[currency] += amount
        # Amounts in different currencies have no difference in either.
        if breaks & Break.AMOUNT.mask and not breaks & Break.CURRENCY.mask:
            apart[currency] += spread
    summary.at_stake, summary.apart = dict(sorted(at_stake.items())), dict(sorted(apart.items()))
    # Minor units of two currencies do not compare: the largest of each, then the second largest of each, and so on.
    largest = (
        wrong.sort("amount_minor", "txn_id", descending=[True, False])
        .with_columns(pl.int_range(pl.len()).over("currency").alias("rank"))
        .sort("rank", "currency", maintain_order=True)
        .head(EXAMPLES_IN_REPORT)
    )
    summary.examples = [_example(row, outcome.names) for row in largest.iter_rows(named=True)]
    return summary


def _example(row: dict[str, object], names: list[str]) -> Example:
    legs = unpack_legs(str(row["legs"]), names)
    missing = source_names(int(str(row["missing"])), names)
    detail = f"missing: {', '.join(missing)}" if missing else ""
    said = {
        name: f"{format_minor(int(leg['amount_minor']), str(leg['currency']))} {leg['status']}"
        for name, leg in legs.items()
    }
    return Example(str(row["txn_id"]), ", ".join(break_names(int(str(row["breaks"])))), detail, said)


def for_terminal(summary: Summary, names: list[str]) -> RenderableType:
    """The summary for a terminal."""
    share = 100 * summary.matched / summary.transactions if summary.transactions else 0.0
    heading = Text.assemble(
        (f"{summary.transactions:,}", "bold"),
        " transactions: ",
        (f"{summary.matched:,} matched", "green"),
        f" ({share:.2f} %), ",
        (f"{summary.mismatched:,} mismatched", "red" if summary.mismatched else "dim"),
        f", {summary.late:,} late",
    )
    rows = Text(
        "rows: "
        + ", ".join(f"{name} {count:,}" for name, count in summary.rows.items())
        + f"; {summary.repeated:,} repeated, {summary.rejected:,} rejected"
    )
    parts: list[RenderableType] = [heading, rows]
    if summary.breaks:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("break")
        table.add_column("transactions", justify="right")
        for kind in Break:
            if summary.breaks[kind.name]:
                table.add_row(kind.name, f"{summary.breaks[kind.name]:,}")
        parts += [Text(), table]
    if summary.examples:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("transaction", "breaks", *names):
            table.add_column(name)
        for example in summary.examples[:EXAMPLES_IN_TERMINAL]:
            cells = [example.legs.get(name, "—") for name in names]
            table.add_row(example.txn_id, example.breaks, *cells)
        shown = min(EXAMPLES_IN_TERMINAL, len(summary.examples))
        parts += [
            Text(),
            Text(f"largest {shown} of {summary.mismatched:,} mismatches, each currency in turn", style="dim"),
            table,
        ]
    return Group(*parts)


def to_markdown(outcome: Reconciliation, summary: Summary) -> str:
    """The whole report."""
    names = outcome.names
    rules = outcome.rules
    share = f"{100 * summary.matched / summary.transactions:.2f} %" if summary.transactions else "-"
    figures = (
        f"{summary.transactions:,} transactions: {summary.matched:,} matched ({share}), "
        f"{summary.mismatched:,} mismatched; {summary.late:,} have a late leg."
    )
    judged_by = (
        f"Rules: window {rules.match_window_ms:,} ms, time tolerance {rules.time_tolerance_ms:,} ms, expected sources "
        f"{', '.join(rules.expected_sources)}; amount tolerance {_tolerances(outcome)}."
    )
    lines = [
        "# Reconciliation report",
        "",
        figures,
        "",
        judged_by,
        "",
        "## Rows",
        "",
        *_table(
            ["source", "rows taken", "transactions it is missing from"],
            [[name, f"{summary.rows[name]:,}", f"{summary.missing[name]:,}"] for name in names],
        ),
        "",
        f"{summary.repeated:,} rows repeat an event id and count once. {summary.rejected:,} rows were rejected.",
        "",
    ]
    if summary.breaks:
        lines += [
            "## Breaks",
            "",
            *_table(
                ["break", "transactions"],
                [[kind.name, f"{summary.breaks[kind.name]:,}"] for kind in Break if summary.breaks[kind.name]],
            ),
            "",
            "A transaction can have several.",
            "",
            "## At stake",
            "",
            *_table(
                ["currency", "mismatched transactions' amounts", "differences of amount"],
                [
                    [currency, format_minor(amount, currency), format_minor(summary.apart.get(currency, 0), currency)]
                    for currency, amount in summary.at_stake.items()
                ],
            ),
            "",
            f"## Mismatches, largest of each currency in turn ({len(summary.examples):,} of {summary.mismatched:,})",
            "",
            *_table(
                ["transaction", "breaks", *names],
                [
                    [example.txn_id, example.breaks, *(example.legs.get(name, "—") for name in names)]
                    for example in summary.examples
                ],
            ),
            "",
        ]
    if outcome.rejects:
        shown = outcome.rejects[:REJECTS_SHOWN]
        lines += [
            f"## Rejected rows ({len(shown):,} of {len(outcome.rejects):,})",
            "",
            *_table(["where", "why"], [[f"{one.file}:{one.line}", one.reason] for one in shown]),
            "",
            "What a rejected row reported counts as not reported: mend these first.",
            "",
        ]
    return "\n".join(lines)


def _tolerances(outcome: Reconciliation) -> str:
    rules = outcome.rules
    every = {"default": rules.default_tolerance, **dict(sorted(rules.tolerances.items()))}
    return ", ".join(f"{name} {one.absolute_minor} minor units or {one.bps} bp" for name, one in every.items())


def _table(heading: list[str], rows: list[list[str]]) -> list[str]:
    return [
        _line(heading),
        _line(["---"] * len(heading)),
        *(_line([_escape(cell) for cell in row]) for row in rows),
    ]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(cell: str) -> str:
    """A cell from a file must not be able to end its cell, open a link or become HTML."""
    for char in "\\`*_[]<>|":
        cell = cell.replace(char, f"\\{char}")
    return cell.replace("\n", " ").replace("\r", " ")
