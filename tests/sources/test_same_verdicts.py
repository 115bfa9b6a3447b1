"""What topics and files say of the same payments comes to the same verdicts, and the examples come to theirs."""

import json
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from actors.matching.decide import decide, drop_redeliveries
from actors.matching.frames import CURRENCY, EVENT_SCHEMA
from cluster.files.configured import files_of, reconcile_configured
from cluster.reading_versions import Lookups, reading_of
from schemas.events import SourceSpec, key_group_of
from schemas.rules import Rulebook
from schemas.verdicts import Verdict, break_names, source_names
from sources.config.reading import parse
from sources.streams import Batch
from wire.messages import Messages

EXAMPLES = Path(__file__).parents[2] / "examples"
NOW = 1_790_000_000_000
ALL_READ = 1 << 60


def judged(config, records):
    """Verdicts by transaction, and dead letters and skipped records, of records as Kafka has them, in their order."""
    chosen = config.default
    names = list(chosen.sources)
    reading = reading_of(chosen, {}, {name: number for number, name in enumerate(names)}, Lookups({"url": "https://x"}))
    frames, letters, skipped = [], [], 0
    for topic, reader in reading.mapped.items():
        mine = [record for record in records if record["topic"] == topic]
        size = len(mine)
        arrivals = np.array([NOW + records.index(record) for record in mine], dtype=np.int64)
        messages = Messages(
            topic,
            [None if one["value"] is None else json.dumps(one["value"]).encode() for one in mine],
            [None if one.get("key") is None else json.dumps(one["key"]).encode() for one in mine],
            [[(name, text.encode()) for name, text in one.get("headers", {}).items()] for one in mine],
            arrivals.tolist(),
        )
        batch = Batch(messages, np.zeros(size, dtype=np.int64), np.arange(size, dtype=np.int64), arrivals)
        found = reader.read(batch)
        letters += [mine[reject.row] for reject in found.rejects]
        skipped += sum(found.skipped.values())
        assert len(found.events) + len(found.rejects) + sum(found.skipped.values()) == size
        rows = found.events["row"].to_numpy()
        frames.append(
            found.events.with_columns(
                pl.col("currency").cast(CURRENCY),
                key_group=pl.Series([key_group_of(one) for one in found.events["txn_id"]], dtype=pl.Int16),
                seq=pl.int_range(len(rows), dtype=pl.Int64) + 1000 * len(frames),
                arrival=pl.Series(arrivals[rows]),
                partition=pl.lit(0, pl.Int32),
                offset=pl.Series(rows.astype(np.int64)),
            ).select(EVENT_SCHEMA.keys())
        )
    rules = chosen.rule_set()
    rows_of = {names.index(name) for name in rules.row_sources}
    distinct, _ = drop_redeliveries(pl.concat(frames), rows_of)
    sources = [SourceSpec(name, one.topic, one.expected) for name, one in chosen.sources.items()]
    results = decide(distinct, Rulebook([rules]), sources, [ALL_READ] * len(sources))
    return said(results, names), letters, skipped


def said(results, names):
    return {
        row["txn_id"]: (Verdict(row["verdict"]).name, break_names(row["breaks"]), source_names(row["missing"], names))
        for row in results.to_dicts()
    }


def test_the_debezium_example_comes_to_its_results():
    folder = EXAMPLES / "debezium-core"
    config = parse((folder / "recon.yaml").read_bytes(), "recon.yaml")
    records = [json.loads(line) for line in (folder / "data/records.jsonl").read_text().splitlines()]
    verdicts, letters, skipped = judged(config, records)
    expected = [json.loads(line) for line in (folder / "expected.jsonl").read_text().splitlines()]
    assert verdicts == {one["txn_id"]: (one["verdict"], one["breaks"], one["missing_sources"]) for one in expected}
    assert [letter["value"]["data"]["order"]["reference"] for letter in letters] == ["P-8"]
    assert skipped == 3  # a deleted row, its tombstone, a row of another channel


CONFIG = """
version: 1
reconciliations:
  r:
    sources:
      A:
        topic: a_t
        format: json
        where: {path: kind, in: [P]}
        fields:
          txn_id: {path: ref, trim: true}
          event_id: {path: id}
          amount: {path: amt, unit: major}
          currency: {path: ccy}
          status: {path: st}
          event_time: {path: at, format: epoch_ms}
          attributes: {shop: {path: x.shop}}
      B:
        topic: b_t
        format: json
        expected: false
        fields:
          txn_id: {path: ref}
          event_id: {path: id}
          amount: {path: amt, unit: minor}
          currency: {path: ccy}
          status: {path: st}
          event_time: {path: at, format: epoch_ms}
          attributes: {shop: {path: x.shop}}
      C:
        topic: c_t
        format: json
        fields:
          txn_id: {path: ref}
          event_id: {path: id}
          amount: {path: amt, unit: minor}
          currency: {path: ccy}
          status: {path: st}
          event_time: {path: at, format: epoch_ms}
    compare: {attributes: [shop]}
    rules: {time_tolerance: 2s, match_window: 7d}
"""


def payments(rng):
    """Records of three topics that agree or not, in every way that a record may be odd."""
    found = []
    for number in range(60):
        amount, at = rng.randrange(1, 10_000), NOW - rng.randrange(100_000)
        for name in "ABC":
            for _ in range(rng.choice([0, 1, 1, 1, 1, 2])):
                value = {
                    "id": f"{name}{number}{rng.randrange(3)}",
                    "ref": f"T{number}",
                    "ccy": rng.choice(["EUR"] * 9 + ["USD"]),
                    "st": rng.choice(["SUCCESS"] * 8 + ["PENDING", "ODD"]),
                    "at": at + rng.choice([0, 0, 0, 5_000]),
                    "x": {"shop": rng.choice(["s", "s", "s", "t", None])},
                    "kind": rng.choice(["P"] * 9 + ["Q"]),
                }
                minor = amount + rng.choice([0, 0, 0, 0, 1])
                value["amt"] = f"{minor // 100}.{minor % 100:02}" if name == "A" else minor
                found.append({"topic": f"{name.lower()}_t", "value": value})
    return found


@pytest.mark.parametrize("seed", range(4))
def test_files_and_topics_come_to_the_same_verdicts(seed, tmp_path):
    records = payments(random.Random(seed))
    config = parse(CONFIG.encode(), "recon.yaml")
    given = {}
    for name, source in config.default.sources.items():
        path = tmp_path / f"{name}.jsonl"
        mine = [record["value"] for record in records if record["topic"] == source.topic]
        path.write_text("".join(json.dumps(value) + "\n" for value in mine))
        given[name] = [str(path)]
    outcome = reconcile_configured(config.default, files_of(config.default, tmp_path, given), NOW)
    verdicts, letters, _ = judged(config, records)
    assert said(outcome.results, list(config.default.sources)) == verdicts
    assert len(outcome.rejects) == len(letters) > 0
    assert {"MATCHED", "MISMATCHED"} <= {verdict for verdict, _, _ in verdicts.values()}
