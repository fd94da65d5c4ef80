"""The CPU `Aggregator`: one compiled sweep over ring rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import kernel
from engine.graph import NeighbourRows


class NumbaAggregator:
    """Eq. 1 compiled by numba, in float32, on the calling thread."""

    def __init__(self, fanout: int) -> None:
        self.fanout = fanout

    def aggregate(
        self,
        graph: NeighbourRows,
        targets: NDArray[np.int32],
        table: NDArray[np.float32],
        decay: float,
        out: NDArray[np.float32],
    ) -> None:
        """See `Aggregator.aggregate`."""
        _aggregate(
            graph.ids,
            graph.weights,
            graph.degree,
            targets,
            table,
            np.float32(decay),
            self.fanout,
            out,
        )


@kernel
def _aggregate(ids, weights, degree, targets, table, decay, fanout, out):  # type: ignore[no-untyped-def]
    length = ids.shape[1]
    for t in range(len(targets)):
        node = targets[t]
        for d in range(out.shape[1]):
            out[t, d] = np.float32(0.0)
        total = np.float32(0.0)
        fade = np.float32(1.0)
        for q in range(min(degree[node], length, fanout)):
            slot = (degree[node] - 1 - q) % length
            neighbour = ids[node, slot]
            weight = weights[node, slot] * fade
            total += weight
            fade *= decay
            for d in range(out.shape[1]):
                out[t, d] += weight * table[neighbour, d]
        if total > 0:
            scale = np.float32(1.0) / total
            for d in range(out.shape[1]):
                out[t, d] *= scale
