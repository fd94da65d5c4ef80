"""The dynamic user-item graph: a ring of the most recent neighbours for every node.

Insertion is O(1) and memory per node is fixed (`12 * length + 8` bytes), whatever the length of
the log. A row of edges is contiguous and of fixed stride, so that aggregation reads it in one
sweep: on the CPU, and on the FPGA, whose core (`overlays`) reads these very words by DMA.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.state.schema import OTHERS, ROWS, Array, State

NODES = 1 << 24
"""Nodes of one type at most: an edge names its neighbour in 24 bits."""
WEIGHTS = 255
"""An edge's weight is an integer in units of 1 / 255: .4, .6 and .8 are exact."""
_AT_ONCE = 65_536
"""Rows that are renumbered at once, to bound the memory that it takes."""
EDGE = np.dtype([("id", "<i4"), ("weight", "<f4"), ("time", "<i8")])
"""One edge, unpacked: neighbour, weight, time in ms since the epoch."""


class RowArrays(NamedTuple):
    """What kernels read and write of `NeighbourRows`."""

    edges: NDArray[np.uint32]
    times: NDArray[np.int64]
    degree: NDArray[np.int64]


class NeighbourRows:
    """Ring rows of one node type.

    Attributes
    ----------
    edges : uint32[nodes, length]
        Neighbour in bits 23..0, weight in units of 1 / 255 in bits 31..24. Slot `n % length`
        holds the n-th edge of a node by time, those of one time by arrival, so the most recent is
        at `(degree - 1) % length`.
    times : int64[nodes, length]
        When each edge was made, in ms since the epoch.
    degree : int64[nodes]
        Edges ever inserted at a node; a row holds the last `min(degree, length)`.
    """

    STATE: ClassVar[State] = State(
        {
            "edges": Array("edges", (ROWS, None), numbers=OTHERS, mask=NODES - 1),
            "times": Array("times", (ROWS, None)),
            "degree": Array("degree", (ROWS,)),
        },
        unsaved=("length",),
        check="_fault",
    )

    def __init__(self, length: int, nodes: int = 1024) -> None:
        self.length = length
        self.edges: NDArray[np.uint32] = np.zeros((nodes, length), np.uint32)
        self.times: NDArray[np.int64] = np.zeros((nodes, length), np.int64)
        self.degree: NDArray[np.int64] = np.zeros(nodes, np.int64)

    @property
    def arrays(self) -> RowArrays:
        """As kernels take them."""
        return RowArrays(self.edges, self.times, self.degree)

    def _fault(self) -> str:
        return "a degree is negative" if (self.degree < 0).any() else ""

    def reserve(self, nodes: int) -> None:
        """Make room for `nodes` nodes."""
        if nodes <= len(self.degree):
            return
        self.edges = grown(self.edges, nodes)
        self.times = grown(self.times, nodes)
        self.degree = grown(self.degree, nodes)

    def later(self, node: int, time: int) -> int:
        """How many of the edges that a node's row holds are later than `time`."""
        return int(count_later(self.arrays, node, time)) if node < len(self.degree) else 0

    def latest_time(self, node: int) -> int:
        """The time of a node's latest edge, in ms; 0 of one that has none."""
        return int(self.times[node, (self.degree[node] - 1) % self.length])

    def insert(self, node: int, neighbour: int, weight: float, time: int) -> None:
        """Add an edge in its place by time; a full row forgets its oldest.

        O(1) for one that is the most recent, else as many edges are moved as are later.

        Raises
        ------
        OverflowError
            If the neighbour's number is 2^24 or more, or the weight is not in [0, 1].
        """
        self.reserve(node + 1)
        insert_edge(self.arrays, node, neighbour, _units(neighbour, weight), time)

    def clear(self, node: int) -> None:
        """Forget every edge of a node."""
        self.edges[node] = 0
        self.times[node] = 0
        self.degree[node] = 0

    def remove(self, node: int, neighbour: int) -> None:
        """Take a neighbour's weight from a node's row; its slot is reused in turn."""
        row = self.edges[node]
        row[row & (NODES - 1) == neighbour] = neighbour

    def remove_from(self, nodes: NDArray[np.int32], neighbour: int) -> None:
        """`remove` from the rows of several nodes: int32[n]."""
        _remove_from(self.edges, nodes, neighbour)

    def renumber(self, numbers: NDArray[np.int32]) -> None:
        """Replace the number of each neighbour by another: int32[neighbours], -1 for one that is
        gone. Edges to those, and edges without weight, become empty."""
        for start in range(0, len(self.edges), _AT_ONCE):
            part = self.edges[start : start + _AT_ONCE]
            new = numbers[part & (NODES - 1)]
            weights = part & ~np.uint32(NODES - 1)
            part[:] = np.where((weights > 0) & (new >= 0), weights | new.astype(np.uint32), 0)

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
        found = np.empty(min(count, self.length), np.int32)
        return found[: recent_ids(self.arrays, node, count, 0, found)]


class InteractionGraph:
    """The bipartite graph: users' rows hold items, items' rows hold users."""

    STATE: ClassVar[State] = State(parts={"users": "users/graph", "items": "items/graph"})

    def __init__(self, length: int, item_length: int) -> None:
        self.users = NeighbourRows(length)
        self.items = NeighbourRows(item_length)


def _units(neighbour: int, weight: float) -> int:
    """A weight in units of 1 / 255."""
    if not (neighbour < NODES and 0.0 <= weight <= 1.0):
        raise OverflowError(f"no edge holds neighbour {neighbour} with weight {weight}")
    return round(weight * WEIGHTS)


@kernel
def recent_ids(rows, node, count, skip, out):  # type: ignore[no-untyped-def]
    """Write a node's neighbours but for the `skip` last, most recent first, to `out`.

    Returns how many, at most `count`; out is int32[>= count].
    """
    length = rows.edges.shape[1]
    degree = rows.degree[node]
    held = max(min(min(degree, length) - skip, count), 0)
    for q in range(held):
        out[q] = rows.edges[node, (degree - 1 - skip - q) % length] & np.uint32(NODES - 1)
    return held


@kernel
def count_later(rows, node, time):  # type: ignore[no-untyped-def]
    """See `NeighbourRows.later`."""
    length = rows.edges.shape[1]
    degree = rows.degree[node]
    later = 0
    if degree > 0 and rows.times[node, (degree - 1) % length] > time:
        for slot in range(min(degree, length)):
            if rows.times[node, slot] > time:
                later += 1
    return later


@kernel
def insert_edge(rows, node, neighbour, units, time):  # type: ignore[no-untyped-def]
    """See `NeighbourRows.insert`; the weight is in units of 1 / 255, and there is room."""
    length = rows.edges.shape[1]
    edge = np.uint32(neighbour) | np.uint32(units) << np.uint32(24)
    degree = rows.degree[node]
    later = count_later(rows, node, time)
    if later > 0:
        _insert_before(rows.edges[node], rows.times[node], degree, later, edge, time)
    else:
        rows.edges[node, degree % length] = edge
        rows.times[node, degree % length] = time
    rows.degree[node] = degree + 1


@kernel
def _insert_before(edges, times, degree, later, edge, time):  # type: ignore[no-untyped-def]
    """Insert an edge before the last `later` ones of a row, each of which moves on by a slot."""
    length = len(edges)
    # Of a full row the oldest edge goes. That is the new one itself if all others are later: they
    # turn by a slot, for their number counts it.
    if later == length:
        edge, time = edges[degree % length], times[degree % length]
        later -= 1
    for n in range(degree, degree - later, -1):
        edges[n % length] = edges[(n - 1) % length]
        times[n % length] = times[(n - 1) % length]
    edges[(degree - later) % length] = np.uint32(edge)
    times[(degree - later) % length] = time


@kernel
def _remove_from(edges, nodes, neighbour):  # type: ignore[no-untyped-def]
    for i in range(len(nodes)):
        row = edges[nodes[i]]
        for slot in range(len(row)):
            if row[slot] & np.uint32(NODES - 1) == neighbour:
                row[slot] = np.uint32(neighbour)


@kernel
def purge_row(rows, node, left, since):  # type: ignore[no-untyped-def]
    """Close the gaps of neighbours whose number changed hands (`left`) after `since`.

    What is kept lies as if it alone had been inserted.
    """
    row, row_times = rows.edges[node], rows.times[node]
    length = len(row)
    held = min(rows.degree[node], length)
    stale = 0
    for slot in range(held):
        if left[row[slot] & np.uint32(NODES - 1)] > since:
            stale += 1
    if stale == 0:
        return
    old, old_times = row.copy(), row_times.copy()
    row[:] = 0
    row_times[:] = 0
    kept = 0
    for n in range(rows.degree[node] - held, rows.degree[node]):
        edge = old[n % length]
        if left[edge & np.uint32(NODES - 1)] <= since:
            row[kept] = edge
            row_times[kept] = old_times[n % length]
            kept += 1
    rows.degree[node] = kept
