"""The item side of an engine that shares it: tells others what it added, and adds what they did.

An engine that shares its items has a part of the users. What their events add to items is collected
a few times a second as one `ItemDelta`, and every other engine adds it to its own. Counts and
transitions are sums, whoever counted; learnt rows add up as in local stochastic gradient descent.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from engine.features.head import Head
from engine.features.popularity import Popularity
from engine.features.surge import Surge
from engine.features.transitions import Transitions
from engine.propagation.embeddings import GraphEmbeddings
from engine.sharing.counts import SharedCounts
from engine.sharing.delta import DeltaError, Followed, ItemDelta
from engine.sharing.journal import Journal
from engine.sharing.learnt import SharedTables
from engine.state.eviction import Departures


class ItemSide:
    """Collects and adds deltas of an engine's items.

    Attributes
    ----------
    positions
        By partition: the offset up to which its events are in this engine's items, and told.
    """

    def __init__(
        self,
        popularity: Popularity,
        surge: Surge,
        transitions: Transitions,
        embeddings: GraphEmbeddings,
        head: Head,
        journal: Journal,
        departures: Departures,
        positions: Mapping[int, int],
    ) -> None:
        self.positions = dict(positions)
        self._transitions, self._embeddings = transitions, embeddings
        self._journal, self._departures = journal, departures
        self._counts = SharedCounts(popularity, surge)
        self._learnt = SharedTables(embeddings, head)
        self._departed = departures.count

    def reserve(self) -> None:
        """Follow the engine's tables, which were made longer."""
        self._counts.reserve()
        self._learnt.reserve()

    def renew(self, item: int, name: str) -> None:
        """A number is that of an item that was not known; it starts as at every other engine."""
        self._embeddings.draw_item(item, name)
        self._counts.renew(item)
        self._learnt.renew(item)

    def collect(
        self, names: list[str], ranges: Mapping[int, tuple[int, int]], limit: int
    ) -> ItemDelta:
        """What was added since the last time, by the events of these ranges."""
        items = len(names)
        events, counted, totals = self._counts.collect(items)
        left = self._departures.last > self._departed
        self._departed = self._departures.count
        followed = self._journal.collect(left, limit)
        learnt = self._learnt.collect(items, limit)
        biased = self._learnt.collect_bias(items, limit)
        numbers = np.unique(
            np.concatenate([
                counted.items, followed.sources, followed.targets, biased.items,
                *(part.items for part in learnt.values()),
            ])
        )  # fmt: skip

        def place(items: NDArray[np.int32]) -> NDArray[np.int32]:
            return np.searchsorted(numbers, items).astype(np.int32)

        for partition, (_, end) in ranges.items():
            self.positions[partition] = end
        return ItemDelta(
            dict(ranges), events, [names[number] for number in numbers.tolist()],
            counted._replace(items=place(counted.items)),
            Followed(place(followed.sources), place(followed.targets), followed.weights),
            biased._replace(items=place(biased.items)),
            {name: part._replace(items=place(part.items)) for name, part in learnt.items()},
            totals,
        )  # fmt: skip

    def is_new(self, delta: ItemDelta) -> bool:
        """Whether the events of a delta are not in this engine's items yet.

        Raises
        ------
        DeltaError
            If some are and some are not.
        """
        old = {
            partition
            for partition, (first, end) in delta.ranges.items()
            if end <= self.positions.get(partition, 0)
        }
        for partition, (first, end) in delta.ranges.items():
            position = self.positions.get(partition, 0)
            if first < position < end or (old and partition not in old):
                raise DeltaError(
                    f"ranges: offsets {first} to {end} of partition {partition}, which is known "
                    f"up to {position}; others of the same delta: {delta.ranges}"
                )
        return not old

    def merge(self, delta: ItemDelta, numbers: NDArray[np.int32], known: int) -> None:
        """Add a delta; `numbers` are those of its items here."""

        def here(places: NDArray[np.int32]) -> NDArray[np.int32]:
            return numbers[places]

        counted, followed, biased = delta.counted, delta.followed, delta.biased
        self._counts.merge(
            known, delta.events, counted._replace(items=here(counted.items)), delta.totals
        )
        self._transitions.merge(here(followed.sources), here(followed.targets), followed.weights)
        self._learnt.merge(
            {name: p._replace(items=here(p.items)) for name, p in delta.learnt.items()},
            biased._replace(items=here(biased.items)),
        )
        for partition, (_, end) in delta.ranges.items():
            self.positions[partition] = end
