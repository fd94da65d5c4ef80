"""What followed what, noted for others while an engine shares its items.

A journal of single transitions: to note one is a write at its end. Equal ones are added up when
they are collected, off the event path.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.features.transitions import note_transitions

_SHIFT = 32


class JournalArrays(NamedTuple):
    """What kernels read and write of a `Journal`."""

    pairs: NDArray[np.int64]
    weights: NDArray[np.float32]
    top: NDArray[np.int64]


class Pairs(NamedTuple):
    """Transitions by source and target.

    Attributes
    ----------
    sources, targets : int32[n]
        Item numbers.
    weights : float32[n, 2]
        Directed, symmetric (`engine.features.transitions`).
    """

    sources: NDArray[np.int32]
    targets: NDArray[np.int32]
    weights: NDArray[np.float32]


class Journal:
    """Transitions since they were last collected, in the order of their events.

    Attributes
    ----------
    pairs : int64[slots]
        Source in the upper 32 bits, target in the lower; without a slot nothing is noted.
    weights : float32[slots, 2]
        Directed, symmetric.
    top : int64[1]
        Slots in use.
    """

    def __init__(self, slots: int = 0) -> None:
        self.pairs: NDArray[np.int64] = np.zeros(slots, np.int64)
        self.weights: NDArray[np.float32] = np.zeros((slots, 2), np.float32)
        self.top: NDArray[np.int64] = np.zeros(1, np.int64)

    @property
    def arrays(self) -> JournalArrays:
        """As kernels take them."""
        return JournalArrays(self.pairs, self.weights, self.top)

    @property
    def is_kept(self) -> bool:
        """Whether transitions are noted."""
        return len(self.pairs) > 0

    def make_room(self, slots: int) -> None:
        """Have that many slots free, if transitions are noted."""
        if self.is_kept:
            needed = int(self.top[0]) + slots
            self.pairs = grown(self.pairs, needed)
            self.weights = grown(self.weights, needed)

    def take_back(self, history: NDArray[np.int32], item: int, weight: float) -> None:
        """Note that a `Transitions.take_back` was made."""
        self.make_room(len(history))
        note_transitions(self.arrays, history, item, -weight, 0)

    def collect(self, left: NDArray[np.bool_], limit: int) -> Pairs:
        """Take out the sums of what was noted.

        Parameters
        ----------
        left : bool[items]
            Whose number changed hands since the last time: what names them is dropped.
        limit
            Pairs that are taken out at most, the strongest; others are dropped.
        """
        top = int(self.top[0])
        pairs, places = np.unique(self.pairs[:top], return_inverse=True)
        weights = np.stack(
            [np.bincount(places, self.weights[:top, c], len(pairs)) for c in range(2)], axis=1
        ).astype(np.float32)
        sources, targets = (pairs >> _SHIFT).astype(np.int32), pairs.astype(np.int32)
        chosen = np.flatnonzero(weights.any(axis=1) & ~left[sources] & ~left[targets])
        if len(chosen) > limit:
            strength = np.abs(weights[chosen]).sum(axis=1)
            chosen = np.sort(chosen[np.argpartition(-strength, limit)[:limit]])
        self.top[0] = 0
        return Pairs(sources[chosen], targets[chosen], weights[chosen])
