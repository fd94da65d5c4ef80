"""The reference `Aggregator`: slow and obvious, what every backend is held to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.graph import NeighbourRows


class NumpyAggregator:
    """Eq. 1 in plain numpy, in float64."""

    work = None
    keeps_tables = False

    def __init__(self, fanout: int) -> None:
        self.fanout = fanout

    def changed(self, table: str, rows: NDArray[np.int32]) -> None:
        """Nothing is kept of a table."""

    def aggregate(
        self,
        graph: NeighbourRows,
        targets: NDArray[np.int32],
        table: str,
        values: NDArray[np.float32],
        decay: float,
        out: NDArray[np.float32],
    ) -> None:
        """See `Aggregator.aggregate`."""
        for row, target in zip(out, targets, strict=True):
            neighbours = graph.recent(int(target), self.fanout)
            weights = neighbours["weight"] * np.power(decay, np.arange(len(neighbours)))
            total = weights.sum()
            row[:] = weights @ values[neighbours["id"]].astype(np.float64) / total if total else 0.0
