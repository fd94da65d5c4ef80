"""The dynamic user-item graph: a ring of the most recent neighbours for every node.

Insertion is O(1) and memory per node is fixed (`16 * length + 8` bytes), whatever the length of
the log. A row is contiguous and of fixed stride, so that aggregation reads it in one sweep, on
the CPU as by the DMA of `overlays`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.saving import State

NEIGHBOUR = np.dtype([("id", "<i4"), ("weight", "<f4"), ("time", "<i8")])
"""One edge as a row holds it: neighbour, edge weight, time in ms since the epoch (16 bytes)."""


class NeighbourRows:
    """Ring rows of one node type.

    Attributes
    ----------
    rows : NEIGHBOUR[nodes, length]
        Slot `n % length` holds the n-th edge of a node, so the most recent is at
        `(degree - 1) % length`.
    ids, weights, times : int32, float32, int64[nodes, length]
        Views of the fields of `rows`.
    degree : int64[nodes]
        Edges ever inserted at a node; a row holds the last `min(degree, length)`.
    """

    STATE: ClassVar[State] = State(
        arrays=("rows", "degree"), unsaved=("length", "ids", "weights", "times"), then="_view"
    )

    def __init__(self, length: int, nodes: int = 1024) -> None:
        self.length = length
        self.rows: NDArray[np.void] = np.zeros((nodes, length), NEIGHBOUR)
        self.degree: NDArray[np.int64] = np.zeros(nodes, np.int64)
        self._view()

    def reserve(self, nodes: int) -> None:
        """Make room for `nodes` nodes."""
        if nodes > len(self.degree):
            self.rows = grown(self.rows, nodes)
            self.degree = grown(self.degree, nodes)
            self._view()

    def _view(self) -> None:
        # Plain strided views: numba takes them several microseconds faster than records.
        self.ids: NDArray[np.int32] = self.rows["id"]
        self.weights: NDArray[np.float32] = self.rows["weight"]
        self.times: NDArray[np.int64] = self.rows["time"]

    def insert(self, node: int, neighbour: int, weight: float, time: int) -> None:
        """Add an edge as the node's most recent; a full row forgets its oldest. O(1)."""
        self.reserve(node + 1)
        degree = int(self.degree[node])
        self.rows[node, degree % self.length] = (neighbour, weight, time)
        self.degree[node] = degree + 1

    def clear(self, node: int) -> None:
        """Forget every edge of a node."""
        self.rows[node] = np.zeros((), NEIGHBOUR)
        self.degree[node] = 0

    def remove(self, node: int, neighbour: int) -> None:
        """Take a neighbour's weight from a node's row; its slot is reused in turn."""
        row = self.rows[node]
        row["weight"][row["id"] == neighbour] = 0.0

    def recent(self, node: int, count: int) -> NDArray[np.void]:
        """Up to `count` edges, most recent first (a copy)."""
        held = min(int(self.degree[node]), self.length, count)
        slots = (self.degree[node] - 1 - np.arange(held)) % self.length
        return self.rows[node, slots]

    def recent_ids(self, node: int, count: int) -> NDArray[np.int32]:
        """The neighbours of `recent`: int32[<= count]."""
        return _recent_ids(self.ids, self.degree, node, count)


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
def _recent_ids(ids, degree, node, count):  # type: ignore[no-untyped-def]
    length = ids.shape[1]
    out = np.empty(min(degree[node], length, count), np.int32)
    for q in range(len(out)):
        out[q] = ids[node, (degree[node] - 1 - q) % length]
    return out
