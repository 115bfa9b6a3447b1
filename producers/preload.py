"""Fills the topics as fast as the machine can, for benchmarks: seeded payments, some missing, some in disagreement.

Nothing is paced. Records leave in the order of their event times, legs of one payment up to `leg_spread_ms` apart, so
that reading the topics from the start replays a busy stretch of `transactions / nominal_rate` seconds.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from confluent_kafka import KafkaError, Message, Producer

from producers.blocks import BlockEncoder, EventBlock
from producers.connection import Connection
from producers.emitter import DeliveryError, producer_config
from producers.population import MARKETS, accounts
from producers.wire import encoders
from schemas.events import AMOUNT_MINOR_MAX, SourceSpec, Status
from schemas.money import CURRENCY_EXPONENTS
from wire.events import SOURCE_SYMBOLS

CHUNK_TRANSACTIONS = 20_000  # about 60,000 records and 12 MB in flight at once, whatever the size of the whole
QUEUE_MESSAGES_MAX = 400_000
FLUSH_TIMEOUT_S = 120.0
ACCOUNTS = 2_000
ERRORS_KEPT_MAX = 5


@dataclass(frozen=True, slots=True)
class Load:
    """What to preload. Shares are of transactions; the three kinds of mismatch are equally likely."""

    transactions: int
    seed: int = 1
    missing_share: float = 0.02
    mismatch_share: float = 0.03
    leg_spread_ms: int = 2_000
    nominal_rate: float = 20_000.0  # transactions a second in event time


@dataclass(slots=True)
class Loaded:
    """What was preloaded."""

    records: Counter[str] = field(default_factory=Counter)  # by source
    missing: int = 0
    mismatched: int = 0
    elapsed_s: float = 0.0

    @property
    def total(self) -> int:
        """All records."""
        return sum(self.records.values())

    @property
    def records_per_s(self) -> float:
        """Rate at which the broker took them."""
        return self.total / self.elapsed_s if self.elapsed_s else 0.0


@dataclass(slots=True)
class _Rows:
    """Events of all sources as columns."""

    source: npt.NDArray[np.uint8]
    block: EventBlock

    def take(self, index: npt.NDArray[np.intp]) -> _Rows:
        columns = {name: getattr(self.block, name)[index] for name in EventBlock.__slots__}
        return _Rows(self.source[index], EventBlock(**columns))

    def __add__(self, other: _Rows) -> _Rows:
        columns = {
            name: np.concatenate([getattr(self.block, name), getattr(other.block, name)])
            for name in EventBlock.__slots__
        }
        return _Rows(np.concatenate([self.source, other.source]), EventBlock(**columns))


class LoadGenerator:
    """Chunks of a load in order of event time. Pure; `start_ms` is the event time of its beginning."""

    def __init__(self, load: Load, sources: int, start_ms: int) -> None:
        self.load = load
        self.missing = 0
        self.mismatched = 0
        self._sources = sources
        self._start_ms = start_ms
        self._rng = np.random.default_rng(load.seed)
        self.accounts = accounts(random.Random(load.seed), ACCOUNTS)
        self.currencies = [market.currency for market in MARKETS]

    def chunks(self) -> Iterator[_Rows]:
        """Rows in order of event time; a leg that comes after its chunk's end waits for the next chunk."""
        load = self.load
        held: _Rows | None = None
        for first in range(0, load.transactions, CHUNK_TRANSACTIONS):
            count = min(CHUNK_TRANSACTIONS, load.transactions - first)
            rows = self._chunk(first, count)
            rows = rows if held is None else held + rows
            rows = rows.take(np.argsort(rows.block.event_time, kind="stable"))
            end_ms = self._start_ms + int((first + count) * 1000 / load.nominal_rate)
            ready = int(np.searchsorted(rows.block.event_time, end_ms))
            index = np.arange(len(rows.block))
            held = rows.take(index[ready:])
            yield rows.take(index[:ready])
        if held is not None:
            yield held

    def _chunk(self, first: int, count: int) -> _Rows:
        rng, load, sources = self._rng, self.load, self._sources
        shape = (count, sources)
        market_of = np.array([self.currencies.index(account.market.currency) for account in self.accounts])
        account = rng.integers(0, ACCOUNTS, count)
        currency = np.broadcast_to(market_of[account][:, None], shape).copy()
        scale = np.array([market.median_major * 10 ** CURRENCY_EXPONENTS[market.currency] for market in MARKETS])
        drawn = scale[market_of[account]] * rng.lognormal(0.0, 1.1, count)
        amount = np.broadcast_to(np.clip(drawn.astype(np.int64), 1, AMOUNT_MINOR_MAX // 2)[:, None], shape).copy()
        status = np.full(shape, Status.SUCCESS, dtype=np.uint8)
        begins = self._start_ms + (np.arange(first, first + count) * 1000 / load.nominal_rate).astype(np.int64)
        event_time = begins[:, None] + rng.integers(0, load.leg_spread_ms + 1, shape)

        fate = rng.random(count)
        missing = fate < load.missing_share
        mismatched = np.flatnonzero(~missing & (fate < load.missing_share + load.mismatch_share))
        victim = rng.integers(0, sources, count)
        kind = rng.integers(0, 3, len(mismatched))
        wrong = mismatched[kind == 0]
        amount[wrong, victim[wrong]] += 1 + amount[wrong, victim[wrong]] // 10
        wrong = mismatched[kind == 1]
        currency[wrong, victim[wrong]] = (currency[wrong, victim[wrong]] + 1) % len(MARKETS)
        wrong = mismatched[kind == 2]
        status[wrong, victim[wrong]] = Status.FAILED
        present = np.ones(shape, dtype=np.bool_)
        present[missing, victim[missing]] = False
        self.missing += int(missing.sum())
        self.mismatched += len(mismatched)

        keep = np.flatnonzero(present.ravel())
        txn = rng.integers(0, 1 << 64, count, dtype=np.uint64)
        block = EventBlock(
            txn=np.repeat(txn, sources)[keep],
            event=rng.integers(0, 1 << 64, count * sources, dtype=np.uint64)[keep],
            amount_minor=amount.ravel()[keep],
            currency=currency.ravel()[keep],
            status=status.ravel()[keep],
            event_time=event_time.ravel()[keep],
            account=np.repeat(account, sources)[keep],
        )
        return _Rows(np.tile(np.arange(sources, dtype=np.uint8), count)[keep], block)


def preload(
    connection: Connection, load: Load, on_progress: Callable[[int], None] = lambda _: None, compression: str = "lz4"
) -> Loaded:
    """Publish a whole load. Raises DeliveryError when a record was not acknowledged."""
    failures: list[str] = []
    failed = 0

    def report(error: KafkaError | None, message: Message) -> None:
        nonlocal failed
        if error is not None:
            failed += 1
            if len(failures) < ERRORS_KEPT_MAX:
                failures.append(f"{message.topic()}: {error}")

    producer = Producer(
        producer_config(
            connection.kafka,
            **{
                "linger.ms": 50,
                "batch.size": 1 << 20,
                "batch.num.messages": 50_000,
                "queue.buffering.max.messages": QUEUE_MESSAGES_MAX,
                "queue.buffering.max.kbytes": 256 << 10,
                "compression.type": compression,
                "delivery.report.only.error": True,
                "on_delivery": report,
            },
        )
    )
    start_ms = int(time.time() * 1000) - int(load.transactions * 1000 / load.nominal_rate)
    generator = LoadGenerator(load, len(connection.sources), start_ms)
    coders = block_encoders(connection, generator)
    loaded = Loaded()
    began = time.monotonic()
    for rows in generator.chunks():
        for index, source in enumerate(connection.sources):
            mine = rows.take(np.flatnonzero(rows.source == index))
            values, keys = coders[index].encode(mine.block)
            _publish(producer, source, values, keys)
            loaded.records[source.name] += len(values)
        on_progress(loaded.total)
    unsent = producer.flush(FLUSH_TIMEOUT_S)
    producer.close()
    loaded.elapsed_s = time.monotonic() - began
    loaded.missing, loaded.mismatched = generator.missing, generator.mismatched
    if failed or unsent:
        raise DeliveryError(failed, unsent, failures)
    return loaded


def block_encoders(connection: Connection, generator: LoadGenerator) -> list[BlockEncoder]:
    """One encoder per source, under the ids that the registry gives."""
    ids = encoders(connection.registry, [source.topic for source in connection.sources])
    return [
        BlockEncoder(
            ids[source.topic].schema_id,
            SOURCE_SYMBOLS.index(source.name),
            f"{source.name[0]}-".encode(),
            generator.currencies,
            [account.account_id for account in generator.accounts],
        )
        for source in connection.sources
    ]


def _publish(producer: Producer, source: SourceSpec, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
    """Hand over a chunk of one topic, once the queue has room for all of it; so the log keeps the chunk's order."""
    while len(producer) + len(values) > QUEUE_MESSAGES_MAX:
        producer.poll(0.02)
    messages = [{"value": value, "key": key} for value, key in zip(values, keys, strict=True)]
    while messages:
        producer.produce_batch(source.topic, messages)
        # Only the queue's limit in bytes can still refuse some; the client marks which.
        messages = [{"value": one["value"], "key": one["key"]} for one in messages if "_error" in one]
        producer.poll(0.05 if messages else 0)
