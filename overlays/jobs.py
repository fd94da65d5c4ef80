"""One aggregation, packed densely: what a board gets, and what computes the same without one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.graph import NODES, NeighbourRows
from engine.propagation import int8

_NEIGHBOUR = np.uint32(NODES - 1)


@dataclass(frozen=True)
class Job:
    """A batch whose targets are nodes 0 to n-1 of a graph of their own.

    Attributes
    ----------
    edges : u32[n, width]
        Ring rows with the targets' most recent edges only, oldest first.
    degrees : u64[n]
        Edges in each.
    fanout, decay, shift
        The registers of these names.
    name
        Of the table.
    table : u8[m, d]
        The neighbours' embedding rows.
    renewed : int64[k]
        Rows of the table that are others than in the last job with that name; one may be named
        twice.
    """

    edges: NDArray[np.uint32]
    degrees: NDArray[np.uint64]
    fanout: int
    decay: int
    shift: int
    name: str
    table: NDArray[np.uint8]
    renewed: NDArray[np.int64]

    def __len__(self) -> int:
        """Targets."""
        return len(self.edges)

    def gathered(self) -> Job:
        """The same job over a table of nothing but the rows that it reads."""
        held = np.arange(self.edges.shape[1]) < self.degrees[:, np.newaxis]
        words = self.edges[held]
        neighbours, numbers = np.unique(words & _NEIGHBOUR, return_inverse=True)
        edges = np.zeros_like(self.edges)
        edges[held] = (words & ~_NEIGHBOUR) | numbers.astype(np.uint32)
        return replace(self, edges=edges, table=self.table[neighbours])

    def run_here(self) -> NDArray[np.uint8]:
        """The aggregates, bit for bit as the core computes them: u8[n, d]."""
        out = np.empty((len(self), self.table.shape[1]), np.uint8)
        int8.aggregate(
            np.arange(len(self), dtype=np.uint32), self.degrees, self.edges, self.table,
            self.fanout, int8.RECENT, self.decay, self.shift, 0, out,
        )  # fmt: skip
        return out


def pack(
    graph: NeighbourRows, targets: NDArray[np.int32], fanout: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """The edges and degrees of a job: the `fanout` most recent edges of targets (int32[n])."""
    width = max(8, 1 << (fanout - 1).bit_length())
    degrees = graph.degree[targets]
    held = np.minimum(degrees, min(graph.length, fanout))
    slots = ((degrees - held)[:, np.newaxis] + np.arange(width)) % graph.length
    edges = graph.edges[targets[:, np.newaxis], slots]
    edges[np.arange(width) >= held[:, np.newaxis]] = 0
    return edges, held.astype(np.uint64)
