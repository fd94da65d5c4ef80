"""A model that is a table: what the measurement needs of one, in the fewest lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


class TableScorer:
    """Scores of (user, item) pairs; 0 for pairs that it does not hold."""

    def __init__(self, table: Mapping[tuple[str, str], float]) -> None:
        self.table = table
        self.taken: dict[str, set[str]] = {}

    def scores(self, user: str, items: Sequence[str]) -> NDArray[np.float32]:
        return np.array([self.table.get((user, item), 0.0) for item in items], np.float32)

    def recommend(self, user: str, k: int) -> list[tuple[str, float]]:
        own = [(item, score) for (owner, item), score in self.table.items() if owner == user]
        free = [pair for pair in own if pair[0] not in self.taken.get(user, ())]
        return sorted(free, key=lambda pair: -pair[1])[:k]
