"""Which items compete for a user.

Up to `exact_items` the whole catalogue does. Above, four sources name candidates, and the head
ranks what they name: transitions of the user's recent items, neighbours of the user in embedding
space, items whose text is near the user's taste (so a new item can be found before anybody took
it), and what is trending.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.features.transitions import Transitions
from engine.graph import NODES
from engine.retrieval.vector_index import VectorIndex
from engine.state.eviction import Departures
from engine.state.schema import State

_REINDEXED_AT = (4, 64)
"""Events of an item at which its output embedding enters the index: learnt a little, and well."""


class Candidates:
    """Names the items that compete.

    Attributes
    ----------
    every : int32[items]
        0, 1, 2, ...: the candidates, and their positions, when all items compete.
    position : int32[items]
        Where an item is among the candidates of the moment; -1 for all between two calls.

    Parameters
    ----------
    exact_items
        The largest catalogue that competes whole.
    limit
        Candidates above that which transitions name; each index names an eighth as many.
    """

    STATE: ClassVar[State] = State(
        parts={"_texts": "texts", "_embeddings": "embeddings"},
        unsaved=("_exact_items", "_limit", "every", "position", "_departures"),
    )

    def __init__(self, exact_items: int, limit: int, departures: Departures | None = None) -> None:
        """`departures` says whether a number means another item by now."""
        self._departures = departures or Departures()
        self._exact_items = exact_items
        self._limit = limit
        self.every: NDArray[np.int32] = np.arange(1024, dtype=np.int32)
        self.position: NDArray[np.int32] = np.full(1024, -1, np.int32)
        self._texts = VectorIndex()
        self._embeddings = VectorIndex()

    def fault(self, items: int, text_width: int, dimensions: int) -> str:
        """What makes saved indexes unfit for use, or ""."""
        return self._texts.fault(text_width, items, 1) or self._embeddings.fault(
            dimensions, items, len(_REINDEXED_AT)
        )

    def are_all(self, items: int) -> bool:
        """Whether a catalogue of that many items competes whole."""
        return items <= self._exact_items

    def reserve(self, items: int) -> None:
        """Make room for `items` items."""
        self.position = grown(self.position, items, fill=-1)
        if len(self.every) < len(self.position):
            self.every = np.arange(len(self.position), dtype=np.int32)

    def reached(self, transitions: Transitions, history: NDArray[np.int32]) -> NDArray[np.int32]:
        """The items that transitions of a history (int32[n]) lead to most: int32[<= limit]."""
        near, strength = _reached(
            transitions.items, transitions.weights, transitions.start, transitions.degree, history,
            self.position,
        )  # fmt: skip
        if len(near) > self._limit:
            near = near[np.argpartition(-strength, self._limit)[: self._limit]]
        return near

    def near(
        self, taste: NDArray[np.float32] | None, user: NDArray[np.float32]
    ) -> NDArray[np.int32]:
        """The items nearest in the two indexes: int32[m].

        taste : float32[width], what texts are matched with; user : float32[d], propagated.
        """
        count = self._limit // 8
        found = [np.empty(0, np.int32)]
        if self._texts.is_built and taste is not None:
            found.append(_items_of(self._texts.search(taste, count)))
        if self._embeddings.is_built:
            keys = self._embeddings.search(user, count) // len(_REINDEXED_AT)
            found.append(_items_of(keys))
        return np.concatenate(found)

    def like_text(self, vector: NDArray[np.float32], count: int) -> NDArray[np.int32]:
        """The items whose text is nearest to a vector (float32[width]): int32[<= count].

        Without an index, as of a catalogue that competes whole, none.
        """
        if not self._texts.is_built:
            return np.empty(0, np.int32)
        return _items_of(self._texts.search(vector, count))

    # ------------------------------------------------------------------ indexes

    def index_texts(self, vectors: NDArray[np.float32]) -> None:
        """Index the item vectors anew: float32[items, width]. Rows of zeros are left out."""
        known = np.flatnonzero(vectors.any(axis=1))
        self._texts.build(self._keys(known), vectors[known])

    def index_text(self, item: int, vector: NDArray[np.float32]) -> None:
        """Index one item's vector, if texts are indexed."""
        if self._texts.is_built and vector.any():
            self._texts.put(self._key(item), vector)

    def _key(self, item: int) -> int:
        """What an index knows an item by: not by its number alone, which it may pass on."""
        self._departures.reserve(item + 1)
        return int(self._departures.last[item]) * NODES + item

    def _keys(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        self._departures.reserve(int(items.max(initial=0)) + 1)
        return self._departures.last[items] * NODES + items

    def drop(self, item: int) -> None:
        """Take an item that is about to leave out of the indexes."""
        key = self._key(item)
        self._texts.remove(key)
        for version in range(len(_REINDEXED_AT)):
            self._embeddings.remove(key * len(_REINDEXED_AT) + version)

    def index_embeddings(self, outputs: NDArray[np.float32], events: NDArray[np.int64]) -> None:
        """Index the output embeddings of all items that were taken a few times."""
        known = np.flatnonzero(events >= _REINDEXED_AT[0])
        versions = events[known] >= _REINDEXED_AT[1]
        keys = self._keys(known) * len(_REINDEXED_AT) + versions
        self._embeddings.build(keys, outputs[known])

    def index_embedding(self, item: int, events: int, output: NDArray[np.float32]) -> None:
        """Index an item's embedding if it was just taken for the 4th or the 64th time."""
        if self._embeddings.is_built and events in _REINDEXED_AT:
            # A new key each time: to remove the old one costs ten times as much as it is worth.
            key = self._key(item) * len(_REINDEXED_AT) + _REINDEXED_AT.index(events)
            if key not in self._embeddings:
                self._embeddings.put(key, output)

    def index_counted(
        self, item: int, before: float, after: float, output: NDArray[np.float32]
    ) -> None:
        """Index an item's embedding if others' events took its count past 4 or past 64."""
        for events in _REINDEXED_AT:
            if before < events <= after:
                self.index_embedding(item, events, output)


def _items_of(keys: NDArray[np.int64]) -> NDArray[np.int32]:
    return (keys % NODES).astype(np.int32)


@kernel
def _reached(items, weights, start, degree, history, position):  # type: ignore[no-untyped-def]
    """Every item that transitions of the history lead to, and how strongly: int32, float32.

    `position` (all -1) is scratch, and left as it was.
    """
    slots = 0
    for q in range(len(history)):
        slots += degree[history[q]]
    named = np.empty(slots, np.int32)
    strength = np.empty(slots, np.float32)
    count = 0
    fade = np.float32(1.0)
    for q in range(len(history)):
        source = history[q]
        share = fade / np.sqrt(degree[source] + np.float32(1.0))
        for slot in range(start[source], start[source] + degree[source]):
            j = items[slot]
            c = position[j]
            if c < 0:
                c = count
                position[j] = c
                named[c] = j
                strength[c] = np.float32(0.0)
                count += 1
            strength[c] += share * (weights[slot, 0] + weights[slot, 1])
        fade *= np.float32(0.9)
    for c in range(count):
        position[named[c]] = -1
    return named[:count], strength[:count]
