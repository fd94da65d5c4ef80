"""Baselines that a ranking must beat: popularity, recent popularity, and a user's last items."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from engine.arrays import IdTable, grown
from engine.evaluation.measures import K

RECENT_HALF_LIFE = 2000.0
"""Events after which a count of the recent popularity weighs half."""


class PopularityBaseline:
    """The ten most taken items.

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
        self._had: dict[str, list[int]] = defaultdict(list)

    def recommend(self, user: str, repeats: bool = False) -> list[str]:
        """Up to ten items, best first; with `repeats` those that the user had, too."""
        counts = self._counts[: len(self._items)].copy()
        if not repeats:
            counts[self._had.get(user, [])] = 0.0
        best = np.argpartition(-counts, K)[:K] if len(counts) > K else np.arange(len(counts))
        best = best[np.argsort(-counts[best], kind="stable")]
        return [self._items.names[item] for item in best if counts[item] > 0]

    def observe(self, user: str, item: str, counts: bool = True) -> None:
        """Count a take; without `counts`, as for a dislike, only exclude the item for the user."""
        number = self._items.intern(item)
        self._counts = grown(self._counts, number + 1)
        self._had[user].append(number)
        if not counts:
            return
        self._inflation *= self._growth
        if self._inflation > 1e12:
            self._counts /= self._inflation
            self._inflation = 1.0
        self._counts[number] += self._inflation

    def forget(self, user: str) -> None:
        """Forget what a user had; what they took still counts."""
        self._had.pop(user, None)


class RepeatLast:
    """The user's last items, latest first, and then recently popular ones."""

    def __init__(self) -> None:
        self._latest: dict[str, dict[str, None]] = {}
        self._popular = PopularityBaseline(RECENT_HALF_LIFE)

    def recommend(self, user: str) -> list[str]:
        """Up to ten items, best first."""
        own = reversed(self._latest.get(user, {}))
        popular = self._popular.recommend(user, repeats=True)
        return list(islice(dict.fromkeys(chain(islice(own, K), popular)), K))

    def observe(self, user: str, item: str) -> None:
        """Remember a take."""
        latest = self._latest.setdefault(user, {})
        latest.pop(item, None)
        latest[item] = None
        self._popular.observe(user, item)

    def forget(self, user: str) -> None:
        """Forget what a user took."""
        self._latest.pop(user, None)
