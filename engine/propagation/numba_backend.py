"""The CPU `Aggregator`: one compiled sweep over ring rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import kernel
from engine.graph import NODES
from engine.propagation import Aggregation


class NumbaAggregator:
    """Eq. 1 compiled by numba, in float32, on the calling thread."""

    work = None
    keeps_tables = False

    def __init__(self, fanout: int) -> None:
        self.fanout = fanout

    def changed(self, table: str, rows: NDArray[np.int32]) -> None:
        """Nothing is kept of a table."""

    def aggregate(self, *asked: Aggregation) -> None:
        """See `Aggregator.aggregate`."""
        for graph, targets, _, values, decay, out in asked:
            _aggregate(
                graph.edges, graph.degree, targets, values, np.float32(decay), self.fanout, out
            )


@kernel
def aggregate_row(edges, degree, node, table, decay, fanout, out):  # type: ignore[no-untyped-def]
    """Write a node's aggregate of `table` (float32[m, d]) to `out`: float32[d]."""
    length = edges.shape[1]
    for d in range(len(out)):
        out[d] = np.float32(0.0)
    total = np.float32(0.0)
    fade = np.float32(1.0)
    for q in range(min(degree[node], length, fanout)):
        slot = (degree[node] - 1 - q) % length
        neighbour = edges[node, slot] & np.uint32(NODES - 1)
        # In whatever unit: a mean does not depend on it.
        weight = np.float32(edges[node, slot] >> np.uint32(24)) * fade
        total += weight
        fade *= decay
        for d in range(len(out)):
            out[d] += weight * table[neighbour, d]
    if total > 0:
        scale = np.float32(1.0) / total
        for d in range(len(out)):
            out[d] *= scale


@kernel
def _aggregate(edges, degree, targets, table, decay, fanout, out):  # type: ignore[no-untyped-def]
    for t in range(len(targets)):
        aggregate_row(edges, degree, targets[t], table, decay, fanout, out[t])
