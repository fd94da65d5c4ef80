"""References beside every ranking of held-out items: popularity, item mean and the oracle.

The fourth, a random order, needs no scores: `engine.evaluation.protocol.by_chance`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.protocol import RELEVANT
from engine.events import Interaction


class PopularityScorer:
    """How many users rated an item in training."""

    def __init__(self, train: Iterable[Interaction]) -> None:
        self._counts: dict[str, int] = {}
        for one in train:
            self._counts[str(one.item)] = self._counts.get(str(one.item), 0) + 1

    def scores(self, user: str, items: Sequence[str]) -> NDArray[np.float64]:
        """Counts, float64[n]."""
        return np.array([self._counts.get(item, 0) for item in items], np.float64)


class ItemMeanScorer:
    """An item's mean rating in training; the mean of all ratings for items without one."""

    def __init__(self, train: Iterable[Interaction]) -> None:
        values: dict[str, list[float]] = {}
        for one in train:
            values.setdefault(str(one.item), []).append(one.value or 0.0)
        everything = [value for own in values.values() for value in own]
        self._overall = float(np.mean(everything)) if everything else 0.0
        self._means = {item: float(np.mean(own)) for item, own in values.items()}

    def scores(self, user: str, items: Sequence[str]) -> NDArray[np.float64]:
        """Mean ratings, float64[n]."""
        return np.array([self._means.get(item, self._overall) for item in items])


class OracleScorer:
    """Knows the answers: the most that any ranking can reach."""

    def __init__(self, test: Iterable[Interaction]) -> None:
        self._good = {(one.user, one.item) for one in test if (one.value or 0.0) >= RELEVANT}

    def scores(self, user: str, items: Sequence[str]) -> NDArray[np.float64]:
        """1 for relevant items, else 0: float64[n]."""
        return np.array([float((user, item) in self._good) for item in items])
