"""How the records of the topics are read: under each version of the configuration, by the version at their arrival."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from schemas.events import SourceSpec
from sources.streams import TopicReader
from wire.events import SOURCE_SYMBOLS, SchemaLookup


@dataclass(frozen=True, slots=True)
class CanonicalTopic:
    """A topic of recon's own records: its source's id, and the place of that source among the reading's names."""

    source: int
    position: int


@dataclass(frozen=True, slots=True)
class Reading:
    """One version of the configuration, as a reader applies it. Topics that it does not name are passed over.

    `names` are what records may call their source: the configured sources, None for those of the event schema.
    """

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
        return cls.nameable(sources, lookup)

    @classmethod
    def nameable(cls, sources: Sequence[SourceSpec], lookup: SchemaLookup) -> Reading:
        """The same of those sources that the event schema can name."""
        canonical = {
            source.topic: CanonicalTopic(number, SOURCE_SYMBOLS.index(source.name))
            for number, source in enumerate(sources)
            if source.name in SOURCE_SYMBOLS
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
