"""What a ranking must beat: popularity, over all time and of late."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from engine.arrays import IdTable, grown
from engine.evaluation.measures import K


class PopularityBaseline:
    """The ten most taken items that the user has not taken.

    Parameters
    ----------
    half_life
        Events after which a count weighs half; none keeps all counts whole.
    """

    def __init__(self, half_life: float | None = None) -> None:
        self._growth = 2.0 ** (1.0 / half_life) if half_life else 1.0
        self._inflation = 1.0
        self._items = IdTable()
        self._counts: NDArray[np.float64] = np.zeros(1024)
        self._taken: dict[str, list[int]] = defaultdict(list)

    def recommend(self, user: str) -> list[str]:
        """Up to ten items, best first."""
        counts = self._counts[: len(self._items)].copy()
        counts[self._taken.get(user, [])] = 0.0
        best = np.argpartition(-counts, K)[:K] if len(counts) > K else np.arange(len(counts))
        best = best[np.argsort(-counts[best], kind="stable")]
        return [self._items.names[item] for item in best if counts[item] > 0]

    def observe(self, user: str, item: str) -> None:
        """Count an interaction."""
        number = self._items.intern(item)
        self._counts = grown(self._counts, number + 1)
        self._inflation *= self._growth
        if self._inflation > 1e12:
            self._counts /= self._inflation
            self._inflation = 1.0
        self._counts[number] += self._inflation
        self._taken[user].append(number)
