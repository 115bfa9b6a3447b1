"""A seeded day at the bank: transactions, when each source reports them, and which of them go wrong. Pure."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from producers.emission import Emission, Event, PlannedTransaction, Planted
from producers.plan import Plan, Plant
from producers.plants import MATCHED, PLANTERS, Draft
from producers.population import Account, accounts, amount_minor, pick_account
from schemas.events import SourceSpec, Status

FAILED_SHARE = 0.06  # of honest transactions, failed alike in every source
REFUND_SHARE = 0.02  # of honest transactions, referring to an earlier one
RECENT_MAX = 200  # transactions that a refund may refer to
CLOCK_SPREAD_MS = 120  # clocks that are kept in step still differ


@dataclass(frozen=True, slots=True)
class Latency:
    """Time from a source's own stamp to its record's departure: log-normal around the median, in milliseconds."""

    median_ms: float
    sigma: float

    def draw_ms(self, rng: random.Random, most_ms: int) -> int:
        """One latency, at most `most_ms`."""
        return min(most_ms, int(self.median_ms * rng.lognormvariate(0.0, self.sigma)))


# Core banking posts from its own database; the gateway answers a card network; phones sit behind mobile networks.
LATENCIES: dict[str, Latency] = {
    "CORE": Latency(25.0, 0.5),
    "GATEWAY": Latency(70.0, 0.7),
    "MOBILE": Latency(180.0, 0.9),
}
LATENCY_OTHER = Latency(60.0, 0.7)


class Scenario:
    """The transactions of a plan. `start_ms` is the wall-clock time of the run's start, from which event times count.

    Iterating twice gives the same transactions; event times move with `start_ms` and nothing else does.
    """

    def __init__(self, plan: Plan, start_ms: int) -> None:
        self.plan = plan
        self.start_ms = start_ms
        self._rng = random.Random()
        self._population: list[Account] = []
        self._clock_error_ms: dict[str, int] = {}
        self._recent: deque[str] = deque(maxlen=RECENT_MAX)

    def transactions(self) -> Iterator[PlannedTransaction]:
        """All transactions, in the order in which they begin."""
        plan, rng = self.plan, self._rng
        rng.seed(plan.identity)
        self._population = accounts(rng)
        spread = min(CLOCK_SPREAD_MS, plan.step_ms // 4)
        self._clock_error_ms = {source.name: rng.randint(-spread, spread) for source in plan.sources}
        self._recent = deque(maxlen=RECENT_MAX)
        kinds: list[Plant | None] = [*plan.breaks, None]
        weights = [*plan.breaks.values(), max(0.0, 1.0 - sum(plan.breaks.values()))]
        promised = self._promised()
        clock_ms = 0.0
        for number in range(plan.transactions):
            clock_ms += rng.expovariate(plan.rate) * 1000.0  # a Poisson stream: its gaps are exponential
            plant = promised[number] if number in promised else rng.choices(kinds, weights)[0]
            yield self._transaction(int(clock_ms), plant)

    def emissions(self) -> Iterator[tuple[Emission, Planted | None]]:
        """Every record of every source in order of departure; with the last record of a planted transaction, its truth.

        The truth comes last so that a run which is cut short claims nothing it did not plant. Held in memory: records
        that wait for their moment, so about `rate` times the longest wait, and of the late ones their share of it.
        """
        return in_order(self.transactions())

    def _promised(self) -> dict[int, Plant]:
        """Which transaction has which kind for certain: what is asked for shows in a short run too, if it fits."""
        wanted = [plant for plant, share in self.plan.breaks.items() if share > 0]
        if len(wanted) > self.plan.transactions:
            return {}
        return dict(zip(self._rng.sample(range(self.plan.transactions), len(wanted)), wanted, strict=True))

    def _transaction(self, at_ms: int, plant: Plant | None) -> PlannedTransaction:
        rng = self._rng
        account = pick_account(rng, self._population)
        txn_id = f"TX{rng.getrandbits(64):016X}"
        amount = amount_minor(rng, account.market)
        status = Status.FAILED if plant is None and rng.random() < FAILED_SHARE else Status.SUCCESS
        refunded = rng.choice(self._recent) if self._recent and rng.random() < REFUND_SHARE else None
        self._recent.append(txn_id)
        honest = [
            self._emission(source, at_ms, txn_id, account, amount, status, refunded) for source in self.plan.sources
        ]
        if plant is None:
            return PlannedTransaction(txn_id, at_ms, _sorted(honest), MATCHED)
        victim = rng.randrange(len(honest))
        culprit = honest[victim].sender
        draft = Draft(rng, self.plan, honest, victim, self._event_id)
        outcome, set_aside = PLANTERS[plant](draft)
        planted = Planted(txn_id, plant, culprit, outcome, set_aside)
        return PlannedTransaction(txn_id, at_ms, _sorted(draft.emissions), outcome, planted)

    def _event_id(self, source: str) -> str:
        return f"{source[:3]}-{self._rng.getrandbits(80):020x}"

    def _emission(
        self,
        source: SourceSpec,
        at_ms: int,
        txn_id: str,
        account: Account,
        amount: int,
        status: Status,
        refunded: str | None,
    ) -> Emission:
        rng, plan = self._rng, self.plan
        seen_ms = at_ms + rng.randint(0, plan.step_ms // 4)
        latency = LATENCIES.get(source.name, LATENCY_OTHER).draw_ms(rng, plan.match_window_ms // 4)
        event = Event(
            event_id=self._event_id(source.name),
            txn_id=txn_id,
            source=source.name,
            amount_minor=amount,
            currency=account.market.currency,
            status=status,
            event_time=self.start_ms + seen_ms + self._clock_error_ms[source.name],
            account_id=account.account_id,
            original_txn_id=refunded,
        )
        return Emission(seen_ms + latency, source.name, source.topic, event)


def _sorted(emissions: list[Emission]) -> list[Emission]:
    return sorted(emissions, key=lambda emission: emission.at_ms)


def in_order(transactions: Iterable[PlannedTransaction]) -> Iterator[tuple[Emission, Planted | None]]:
    """Merge the records of transactions that are given in order of their beginning into order of departure."""
    waiting: list[tuple[int, int, Emission, Planted | None]] = []
    number = 0  # keeps records of one moment in the order in which they were planned
    for transaction in transactions:
        while waiting and waiting[0][0] <= transaction.at_ms:
            _, _, emission, planted = heapq.heappop(waiting)
            yield emission, planted
        last = len(transaction.emissions) - 1
        for index, emission in enumerate(transaction.emissions):
            number += 1
            truth = transaction.planted if index == last else None
            heapq.heappush(waiting, (emission.at_ms, number, emission, truth))
    while waiting:
        _, _, emission, planted = heapq.heappop(waiting)
        yield emission, planted
