"""Redis: spilled transactions, which it may lose at any time, and the live feed, which is told after the commit."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
import polars as pl
import redis
import structlog

from actors.matching.frames import empty
from actors.matching.state import PENDING_SCHEMA, SPILL_BUCKET_MS
from actors.ports import Claim
from schemas.errors import TransientError
from schemas.events import SourceSpec
from schemas.verdicts import Verdict, break_names, source_names, unpack_legs

_log = structlog.get_logger(__name__)

SOCKET_TIMEOUT_S: Final = 2.0  # a spill or a recall waits no longer; memory takes over
FIELDS_PER_CALL: Final = 5_000
FEED_ENTRIES_MAX: Final = 5_000  # flushes that a client may be behind and still catch up
FEED_RESULTS_MAX: Final = 500  # results told per flush; mismatches first, the rest is counted as omitted

FEED_SEQ: Final = "recon:feed:seq"
FEED_STREAM: Final = "recon:feed"
FEED_CHANNEL: Final = "recon:verdicts"

# What a spilled row is as JSON: the reader knows only wide types, and the hash is made anew (it is this process's own).
_JSON_SCHEMA: Final[dict[str, pl.DataType]] = {
    name: pl.Int64() if dtype.is_integer() else pl.String() if isinstance(dtype, pl.Enum) else dtype
    for name, dtype in PENDING_SCHEMA.items()
    if name != "hash"
}

# One step, so that the sequence number, the stream's order and the channel's order are the same for every listener.
_PUBLISH: Final = """
local seq = redis.call('INCR', KEYS[1])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], seq .. '-0', 'd', ARGV[1])
redis.call('PUBLISH', KEYS[3], seq .. ' ' .. ARGV[1])
return seq
"""


def connect(connect_kwargs: Mapping[str, Any]) -> redis.Redis:
    """A client that fails fast instead of holding up the matcher."""
    return redis.Redis(**connect_kwargs, socket_timeout=SOCKET_TIMEOUT_S, socket_connect_timeout=SOCKET_TIMEOUT_S)


class RedisSpill:
    """A SpillStore (actors.ports): a hash per second of closing time, a field per transaction, rows as JSON lines.

    Keys carry the owner's epoch, so that a fenced owner cannot disturb its successor.
    """

    def __init__(self, client: redis.Redis, claim: Claim) -> None:
        self._client = client
        self._range = f"recon:spill:{claim.key_group_from}:"
        self._prefix = f"{self._range}{claim.epoch}:"

    def put(self, rows: pl.DataFrame) -> None:
        """See actors.ports.SpillStore."""
        packed = rows.select(
            "txn_id",
            bucket=pl.col("closes_at") // SPILL_BUCKET_MS,
            line=pl.struct(*_JSON_SCHEMA).struct.json_encode(),
        )
        whole = packed.group_by("bucket", "txn_id").agg(pl.col("line").str.join("\n"))
        try:
            pipe = self._client.pipeline(transaction=False)
            for (bucket,), group in whole.group_by("bucket"):
                for part in group.iter_slices(FIELDS_PER_CALL):
                    fields = dict(zip(part["txn_id"].to_list(), part["line"].to_list(), strict=True))
                    pipe.hset(f"{self._prefix}{bucket}", mapping=fields)
            pipe.execute()
        except redis.RedisError as error:
            raise TransientError(f"spill: {error}") from error

    def take(self, hits: Mapping[int, Sequence[str]], buckets: Sequence[int]) -> pl.DataFrame:
        """See actors.ports.SpillStore."""
        try:
            pipe = self._client.pipeline(transaction=False)
            for bucket, txn_ids in hits.items():
                pipe.hmget(f"{self._prefix}{bucket}", list(txn_ids))
            for bucket in buckets:
                pipe.hvals(f"{self._prefix}{bucket}")
            found = [line for values in pipe.execute() for line in values if line is not None]
            for bucket, txn_ids in hits.items():
                pipe.hdel(f"{self._prefix}{bucket}", *txn_ids)
            if buckets:
                pipe.unlink(*(f"{self._prefix}{bucket}" for bucket in buckets))
            pipe.execute()
        except redis.RedisError as error:
            raise TransientError(f"recall: {error}") from error
        if not found:
            return empty(PENDING_SCHEMA)
        rows = pl.read_ndjson(io.BytesIO(b"\n".join(found)), schema=_JSON_SCHEMA)
        return rows.with_columns(hash=pl.col("txn_id").hash()).select(
            pl.col(name).cast(dtype) for name, dtype in PENDING_SCHEMA.items()
        )

    def clear(self) -> None:
        """See actors.ports.SpillStore."""
        try:
            keys = list(self._client.scan_iter(match=f"{self._range}*", count=1_000))
            for start in range(0, len(keys), FIELDS_PER_CALL):
                self._client.unlink(*keys[start : start + FIELDS_PER_CALL])
        except redis.RedisError as error:
            raise TransientError(f"clear: {error}") from error


class RedisFeed:
    """A Feed (actors.ports) on a capped stream and a channel, numbered by one counter."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._publish = client.register_script(_PUBLISH)

    def publish(self, claim: Claim, number: int, changed: pl.DataFrame, sources: Sequence[SourceSpec]) -> None:
        """See actors.ports.Feed."""
        if changed.is_empty():
            return
        try:
            if not self._client.pubsub_numsub(FEED_CHANNEL)[0][1]:
                # Nobody to tell. The number still moves on, so that who comes back sees a gap and fetches afresh.
                self._client.incr(FEED_SEQ)
                return
            message = feed_message(claim, number, changed, sources)
            self._publish(keys=[FEED_SEQ, FEED_STREAM, FEED_CHANNEL], args=[message, FEED_ENTRIES_MAX])
        except redis.RedisError as error:
            _log.warning("feed_unavailable", error=str(error), flush=number)


def feed_message(claim: Claim, number: int, changed: pl.DataFrame, sources: Sequence[SourceSpec]) -> bytes:
    """One flush's changed results as JSON: mismatches first, at most FEED_RESULTS_MAX, the rest counted."""
    names = [source.name for source in sources]
    told = changed.sort(pl.col("verdict") == Verdict.MATCHED, maintain_order=True).head(FEED_RESULTS_MAX)
    counts = {Verdict(code).name: n for code, n in changed.group_by("verdict").len().iter_rows()}
    results = [
        {
            "txn_id": row["txn_id"],
            "revision": row["revision"],
            "verdict": Verdict(row["verdict"]).name,
            "final": row["final"],
            "breaks": break_names(row["breaks"]),
            "missing_sources": source_names(row["missing"], names),
            "late_sources": source_names(row["late"], names),
            "legs": unpack_legs(row["legs"], names),
            "currency": row["currency"],
            "amount_minor": row["amount_minor"],
            "spread_minor": row["spread_minor"],
            "first_arrival": row["first_arrival"],
            "last_arrival": row["last_arrival"],
            "decided_at": row["decided_at"],
            "rules_version": row["rules_version"],
        }
        for row in told.iter_rows(named=True)
    ]
    return orjson.dumps(
        {
            "shard": claim.key_group_from,
            "flush": number,
            "at": changed["decided_at"].max(),
            "omitted": len(changed) - len(told),
            "counts": counts,
            "results": results,
        }
    )
