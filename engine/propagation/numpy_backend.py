"""The reference `Aggregator`: slow and obvious, what every backend is held to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.propagation import Aggregation


class NumpyAggregator:
    """Eq. 1 in plain numpy, in float64."""

    work = None
    keeps_tables = False

    def __init__(self, fanout: int) -> None:
        self.fanout = fanout

    def changed(self, table: str, rows: NDArray[np.int32]) -> None:
        """Nothing is kept of a table."""

    def aggregate(self, *asked: Aggregation) -> None:
        """See `Aggregator.aggregate`."""
        for one in asked:
            for row, target in zip(one.out, one.targets, strict=True):
                neighbours = one.graph.recent(int(target), self.fanout)
                weights = neighbours["weight"] * np.power(one.decay, np.arange(len(neighbours)))
                total = weights.sum()
                rows = one.values[neighbours["id"]].astype(np.float64)
                row[:] = weights @ rows / total if total else 0.0
