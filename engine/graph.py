"""The dynamic user-item graph: a ring of the most recent neighbours for every node.

Insertion is O(1) and memory per node is fixed (`12 * length + 8` bytes), whatever the length of
the log. A row of edges is contiguous and of fixed stride, so that aggregation reads it in one
sweep: on the CPU, and on the FPGA, whose core (`overlays`) reads these very words by DMA.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.saving import State

NODES = 1 << 24
"""Nodes of one type at most: an edge names its neighbour in 24 bits."""
WEIGHTS = 255
"""An edge's weight is an integer in units of 1 / 255: .4, .6 and .8 are exact."""
EDGE = np.dtype([("id", "<i4"), ("weight", "<f4"), ("time", "<i8")])
"""One edge, unpacked: neighbour, weight, time in ms since the epoch."""


class NeighbourRows:
    """Ring rows of one node type.

    Attributes
    ----------
    edges : uint32[nodes, length]
        Neighbour in bits 23..0, weight in units of 1 / 255 in bits 31..24. Slot `n % length`
        holds the n-th edge of a node, so the most recent is at `(degree - 1) % length`.
    times : int64[nodes, length]
        When each edge was made, in ms since the epoch.
    degree : int64[nodes]
        Edges ever inserted at a node; a row holds the last `min(degree, length)`.
    """

    STATE: ClassVar[State] = State(arrays=("edges", "times", "degree"), unsaved=("length",))

    def __init__(self, length: int, nodes: int = 1024) -> None:
        self.length = length
        self.edges: NDArray[np.uint32] = np.zeros((nodes, length), np.uint32)
        self.times: NDArray[np.int64] = np.zeros((nodes, length), np.int64)
        self.degree: NDArray[np.int64] = np.zeros(nodes, np.int64)

    def reserve(self, nodes: int) -> None:
        """Make room for `nodes` nodes."""
        self.edges = grown(self.edges, nodes)
        self.times = grown(self.times, nodes)
        self.degree = grown(self.degree, nodes)

    def insert(self, node: int, neighbour: int, weight: float, time: int) -> None:
        """Add an edge as the node's most recent; a full row forgets its oldest. O(1).

        Raises
        ------
        OverflowError
            If the neighbour's number is 2^24 or more, or the weight is not in [0, 1].
        """
        if not (neighbour < NODES and 0.0 <= weight <= 1.0):
            raise OverflowError(f"no edge holds neighbour {neighbour} with weight {weight}")
        self.reserve(node + 1)
        degree = int(self.degree[node])
        slot = degree % self.length
        self.edges[node, slot] = neighbour | round(weight * WEIGHTS) << 24
        self.times[node, slot] = time
        self.degree[node] = degree + 1

    def clear(self, node: int) -> None:
        """Forget every edge of a node."""
        self.edges[node] = 0
        self.times[node] = 0
        self.degree[node] = 0

    def remove(self, node: int, neighbour: int) -> None:
        """Take a neighbour's weight from a node's row; its slot is reused in turn."""
        row = self.edges[node]
        row[row & (NODES - 1) == neighbour] = neighbour

    def recent(self, node: int, count: int) -> NDArray[np.void]:
        """Up to `count` edges, most recent first (a copy): EDGE[<= count]."""
        held = min(int(self.degree[node]), self.length, count)
        slots = (self.degree[node] - 1 - np.arange(held)) % self.length
        found = np.empty(held, EDGE)
        found["id"] = self.edges[node, slots] & (NODES - 1)
        found["weight"] = (self.edges[node, slots] >> 24) / WEIGHTS
        found["time"] = self.times[node, slots]
        return found

    def recent_ids(self, node: int, count: int) -> NDArray[np.int32]:
        """The neighbours of `recent`: int32[<= count]."""
        return _recent_ids(self.edges, self.degree, node, count)


class InteractionGraph:
    """The bipartite graph: users' rows hold items, items' rows hold users."""

    STATE: ClassVar[State] = State(parts=("users", "items"))

    def __init__(self, length: int, item_length: int) -> None:
        self.users = NeighbourRows(length)
        self.items = NeighbourRows(item_length)

    def insert(self, user: int, item: int, weight: float, time: int) -> None:
        """Add the edge of one interaction, at both its ends."""
        self.users.insert(user, item, weight, time)
        self.items.insert(item, user, weight, time)


@kernel
def _recent_ids(edges, degree, node, count):  # type: ignore[no-untyped-def]
    length = edges.shape[1]
    out = np.empty(min(degree[node], length, count), np.int32)
    for q in range(len(out)):
        out[q] = edges[node, (degree[node] - 1 - q) % length] & (NODES - 1)
    return out
