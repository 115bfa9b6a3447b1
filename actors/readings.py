"""How the records of the topics are read: under each version of the configuration, by the version at their arrival."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from schemas.events import SourceSpec
from sources.streams import TopicReader
from wire.events import SOURCE_SYMBOLS, SchemaLookup

NEVER_MS = 1 << 62


@dataclass(frozen=True, slots=True)
class CanonicalTopic:
    """A topic of recon's own records: its source's id, and what its records may call their source.

    `names` are the configured sources, None where they are those of the event schema; `position` is the place of the
    topic's source among them.
    """

    source: int
    position: int
    names: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One version of the configuration, as a reader applies it. Topics that it does not name are passed over."""

    lookup: SchemaLookup
    canonical: Mapping[str, CanonicalTopic]
    mapped: Mapping[str, TopicReader] = field(default_factory=dict)
    names: tuple[str, ...] | None = None
    version: int = 0
    effective_from_ms: int = 0

    @classmethod
    def built_in(cls, sources: Sequence[SourceSpec], lookup: SchemaLookup) -> Reading:
        """Every source's topic has recon's own records.

        Raises ValueError for a source that the event schema cannot name.
        """
        for source in sources:
            if source.name not in SOURCE_SYMBOLS:
                raise ValueError(f"source {source.name} is not a symbol of the event schema {SOURCE_SYMBOLS}")
        canonical = {
            source.topic: CanonicalTopic(number, SOURCE_SYMBOLS.index(source.name))
            for number, source in enumerate(sources)
        }
        return cls(lookup, canonical)


class Readings:
    """All versions that are known, by the arrival time from which each is in force."""

    def __init__(self, versions: Sequence[Reading]) -> None:
        """Raises ValueError without a version."""
        if not versions:
            raise ValueError("no reading is in force")
        self.versions = tuple(sorted(versions, key=lambda one: (one.effective_from_ms, one.version)))
        self._starts = np.array([one.effective_from_ms for one in self.versions], dtype=np.int64)

    @classmethod
    def built_in(cls, sources: Sequence[SourceSpec], lookup: SchemaLookup) -> Readings:
        """See Reading.built_in; in force from the beginning."""
        return cls([Reading.built_in(sources, lookup)])

    def at(self, arrivals_ms: npt.NDArray[np.int64]) -> Iterator[tuple[Reading, npt.NDArray[np.intp] | None]]:
        """Versions with the indexes of the records that arrived under each; None for all of them."""
        first, last = self._place(int(arrivals_ms.min())), self._place(int(arrivals_ms.max()))
        if first == last:
            yield self.versions[first], None
            return
        places = np.maximum(np.searchsorted(self._starts, arrivals_ms, side="right") - 1, 0)
        for place in range(first, last + 1):
            rows = np.flatnonzero(places == place)
            if len(rows):
                yield self.versions[place], rows

    def _place(self, arrival_ms: int) -> int:
        return max(0, int(np.searchsorted(self._starts, arrival_ms, side="right")) - 1)


ReadingsOf = Callable[[], Readings]
"""Asks the ledger which versions there are. Raises TransientError when it does not answer."""
