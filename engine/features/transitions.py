"""Item-to-item transitions: what users take after, and around, an item.

Two weights a transition, both decayed by how many of the user's items lie between the two (q = 0
for the most recent): a directed short one (.8^q) and a symmetric long one (.95^q). A row is
bounded; a full one evicts its weakest transition. `engine.features.cooccurrence` reads the rows.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.state.eviction import Departures
from engine.state.schema import ANY, ROWS, Array, State

SHORT, LONG = np.float32(0.8), np.float32(0.95)
_SMALLEST = 16
"""Slots of the smallest block; each larger one has four times as many."""
NOTED = 6
"""Items of the history, the latest, of which transitions are noted for other engines."""


class TransitionArrays(NamedTuple):
    """What kernels read and write of `Transitions`."""

    items: NDArray[np.int32]
    weights: NDArray[np.float32]
    start: NDArray[np.int64]
    capacity: NDArray[np.int32]
    degree: NDArray[np.int32]
    sizes: NDArray[np.int32]
    top: NDArray[np.int64]
    free: NDArray[np.int64]
    free_counts: NDArray[np.int64]
    marks: NDArray[np.uint8]
    purged: NDArray[np.int64]


class Transitions:
    """Bounded rows of weighted transitions, in blocks that grow fourfold as rows fill.

    Most items have few transitions, a few have many: blocks keep the memory of the many small.

    Attributes
    ----------
    start : int64[items]
        Where in `items` and `weights` a row's block begins.
    capacity, degree : int32[items]
        Slots of the block; slots in use.
    items : int32[slots]
        The other item of each transition.
    weights : float32[slots, 2]
        Directed, symmetric.
    """

    STATE: ClassVar[State] = State(
        {
            "items": Array("items/transitions/neighbours", (ANY,), numbers="items"),
            "weights": Array("items/transitions/weights", (ANY, None)),
            "start": Array("items/transitions/start", (ROWS,)),
            "capacity": Array("items/transitions/capacity", (ROWS,)),
            "degree": Array("items/transitions/degree", (ROWS,)),
            "_top": Array("items/transitions/top", (None,)),
            "_free": Array("items/transitions/free", (None, ROWS)),
            "_free_counts": Array("items/transitions/free_counts", (None,)),
            "_marks": Array("items/transitions/marks", (ROWS,)),
            "_purged": Array("items/transitions/purged", (ROWS,)),
        },
        unsaved=("_length", "_sizes", "_departures"),
        check="_fault",
    )

    def __init__(
        self, length: int, items: int = 1024, departures: Departures | None = None
    ) -> None:
        """`departures` says of the numbers in the rows whether they mean another item by now."""
        self._length = length
        self._sizes: NDArray[np.int32] = np.array(
            [size for size in (_SMALLEST * 4**k for k in range(8)) if size < length] + [length],
            np.int32,
        )
        self.start: NDArray[np.int64] = np.zeros(items, np.int64)
        self.capacity: NDArray[np.int32] = np.zeros(items, np.int32)
        self.degree: NDArray[np.int32] = np.zeros(items, np.int32)
        self.items: NDArray[np.int32] = np.zeros(64 * items, np.int32)
        self.weights: NDArray[np.float32] = np.zeros((64 * items, 2), np.float32)
        # First slot that was never given out; blocks given back, by size, and how many.
        self._top: NDArray[np.int64] = np.zeros(1, np.int64)
        self._free: NDArray[np.int64] = np.zeros((len(self._sizes), items), np.int64)
        self._free_counts: NDArray[np.int64] = np.zeros(len(self._sizes), np.int64)
        # Scratch, zero between two calls: marks a few items by number.
        self._marks: NDArray[np.uint8] = np.zeros(items, np.uint8)
        # The clock of the departures when a row was last looked through for them.
        self._purged: NDArray[np.int64] = np.zeros(items, np.int64)
        self._departures = departures or Departures()
        self._departures.reserve(items)

    @property
    def arrays(self) -> TransitionArrays:
        """As kernels take them."""
        return TransitionArrays(
            self.items, self.weights, self.start, self.capacity, self.degree, self._sizes,
            self._top, self._free, self._free_counts, self._marks, self._purged,
        )  # fmt: skip

    def _fault(self) -> str:
        slots = min(len(self.items), len(self.weights))
        top = int(self._top[0])
        if not 0 <= top <= slots:
            return f"{top} slots are given out, and {slots} are there"
        known = len(self.start)
        rows = self.start, self.capacity[:known].astype(np.int64), self.degree[:known]
        if len(rows[1]) < known or len(rows[2]) < known:
            return "its rows differ in number"
        start, capacity, degree = rows
        sizes = np.append(self._sizes, 0)
        if not np.isin(capacity, sizes).all() or (degree < 0).any() or (degree > capacity).any():
            return "a row has more transitions than it has room for"
        if (start < 0).any() or (start > top - capacity)[capacity > 0].any():
            return "a row lies beyond the slots"
        for size, count, free in zip(self._sizes, self._free_counts, self._free, strict=True):
            given_back = free[: max(0, count)]
            inside = (given_back >= 0).all() and (given_back <= top - size).all()
            # Those in use may be given back, too, to the same array.
            in_use = int((capacity == size).sum())
            if not (0 <= count <= len(free) - in_use and inside):
                return "blocks were given back that are not there"
        return ""

    def reserve(self, items: int) -> None:
        """Make room for `items` items."""
        self.start = grown(self.start, items)
        self.capacity = grown(self.capacity, items)
        self.degree = grown(self.degree, items)
        self._free = grown(self._free, items, axis=1)
        self._marks = grown(self._marks, items)
        self._purged = grown(self._purged, items)
        self._departures.reserve(items)

    def row(self, item: int) -> dict[int, tuple[float, float]]:
        """An item's transitions: directed and symmetric weight by the other item."""
        held = slice(int(self.start[item]), int(self.start[item] + self.degree[item]))
        pairs = self.weights[held].tolist()
        return {j: (w[0], w[1]) for j, w in zip(self.items[held].tolist(), pairs, strict=True)}

    def clear(self, item: int) -> None:
        """Forget an item's row, and give its block back."""
        capacity = int(self.capacity[item])
        if capacity:
            size = int(np.searchsorted(self._sizes, capacity))
            self._free[size, self._free_counts[size]] = self.start[item]
            self._free_counts[size] += 1
        self.start[item] = self.capacity[item] = self.degree[item] = 0
        self._purged[item] = self._departures.count

    def make_room(self, slots: int) -> None:
        """Have that many slots free behind the blocks."""
        needed = int(self._top[0]) + slots
        self.items = grown(self.items, needed)
        self.weights = grown(self.weights, needed)

    def merge(
        self, sources: NDArray[np.int32], targets: NDArray[np.int32], weights: NDArray[np.float32]
    ) -> None:
        """Add transitions that others counted: int32[n], int32[n], float32[n, 2]."""
        done = 0
        while done < len(sources):
            done = merge_transitions(self.arrays, sources, targets, weights, done)
            if done < len(sources):
                self.make_room(2 * int(self._sizes[-1]))

    def take_back(self, history: NDArray[np.int32], item: int, weight: float) -> None:
        """Undo a `record`, as far as the transitions are still held."""
        _take_back(self.arrays, history, item, np.float32(weight))


@kernel
def _find(t, source, target):  # type: ignore[no-untyped-def]
    """The slot of a transition, or -1."""
    first = t.start[source]
    row = t.items[first : first + t.degree[source]]
    found = np.int32(-1)
    # To the end of the row, found or not: a loop without an exit is vectorised.
    for slot in range(len(row)):
        if row[slot] == target:
            found = np.int32(slot)
    return first + found if found >= 0 else np.int64(-1)


@kernel
def _grow(t, source):  # type: ignore[no-untyped-def]
    """Move a row to a block of the next size."""
    size = 0
    while size < len(t.sizes) and t.sizes[size] <= t.capacity[source]:
        size += 1
    if t.free_counts[size] > 0:
        t.free_counts[size] -= 1
        block = t.free[size, t.free_counts[size]]
    else:
        block = t.top[0]
        t.top[0] += t.sizes[size]
    first = t.start[source]
    for slot in range(t.degree[source]):
        t.items[block + slot] = t.items[first + slot]
        t.weights[block + slot, 0] = t.weights[first + slot, 0]
        t.weights[block + slot, 1] = t.weights[first + slot, 1]
    if size > 0:
        t.free[size - 1, t.free_counts[size - 1]] = first
        t.free_counts[size - 1] += 1
    t.start[source] = block
    t.capacity[source] = t.sizes[size]


@kernel
def _weakest(t, source):  # type: ignore[no-untyped-def]
    """The slot of a row's transition of the least long weight, and of those of the least short one.

    Weights are not negative, so their bits are in their order: the two of a slot are one integer,
    the long one its upper half, and the least integer of a row is found in a vectorised loop.
    """
    first = t.start[source]
    held = t.degree[source]
    row = t.weights[first : first + held].reshape(2 * held).view(np.int64)
    least = row[0]
    for slot in range(1, len(row)):
        least = row[slot] if row[slot] < least else least
    found = np.int64(0)
    for slot in range(len(row)):
        if row[slot] == least:
            found = np.int64(slot)
    return first + found


@kernel
def _room(t, source):  # type: ignore[no-untyped-def]
    """A slot for a new transition of a row: a free one, or else that of its weakest."""
    if t.degree[source] == t.sizes[-1]:
        return _weakest(t, source)
    if t.degree[source] == t.capacity[source]:
        _grow(t, source)
    t.degree[source] += 1
    return t.start[source] + t.degree[source] - 1


@kernel
def _put(t, slot, target):  # type: ignore[no-untyped-def]
    """Let a slot hold a new transition, of no weight yet."""
    t.items[slot] = target
    t.weights[slot, 0] = t.weights[slot, 1] = np.float32(0.0)


@kernel
def _slot(t, source, target):  # type: ignore[no-untyped-def]
    """The slot of a transition, made if it is new."""
    slot = _find(t, source, target)
    if slot < 0:
        slot = _room(t, source)
        _put(t, slot, target)
    return slot


@kernel
def slots_needed(t, history, later):  # type: ignore[no-untyped-def]
    """Slots that recording after a history of that many items needs behind the blocks at most.

    `later` more transitions are recorded between two items each.
    """
    return np.int64((history + 1 + 2 * later) * t.sizes[-1])


@kernel
def record_transitions(t, history, item, weight, between, places):  # type: ignore[no-untyped-def]
    """Count that `item` followed the history (int32[n], most recent first).

    Parameters
    ----------
    between
        How many items lie between the two, of which this is counted already.
    places : int32[items]
        Scratch: -1, before and after.
    """
    short = np.float32(weight * SHORT**between)
    long = np.float32(weight * LONG**between)
    # The item's own row is looked at for each source: where it holds what is written down once.
    first = t.start[item]
    for slot in range(t.degree[item]):
        places[t.items[first + slot]] = slot
    for q in range(len(history)):
        source = history[q]
        if source != item:
            slot = _slot(t, source, item)
            t.weights[slot, 0] += short
            t.weights[slot, 1] += long
            slot = t.start[item] + places[source]
            if places[source] < 0:
                held = t.degree[item]
                slot = _room(t, item)
                if t.degree[item] == held:
                    places[t.items[slot]] = -1
                _put(t, slot, source)
                places[source] = slot - t.start[item]
            t.weights[slot, 1] += long
        short *= SHORT
        long *= LONG
    first = t.start[item]
    for slot in range(t.degree[item]):
        places[t.items[first + slot]] = -1


@kernel
def note_transitions(journal, history, item, weight, between):  # type: ignore[no-untyped-def]
    """Note a `record_transitions` in a journal (`engine.sharing.journal`), if one is kept.

    There must be room for it.
    """
    if len(journal.pairs) == 0:
        return
    short = np.float32(weight * SHORT**between)
    long = np.float32(weight * LONG**between)
    top = journal.top[0]
    for q in range(min(len(history), NOTED)):
        if history[q] != item:
            journal.pairs[top] = np.int64(history[q]) << 32 | np.int64(item)
            journal.weights[top, 0] = short
            journal.weights[top, 1] = long
            top += 1
        short *= SHORT
        long *= LONG
    journal.top[0] = top


@kernel
def merge_transitions(t, sources, targets, weights, first):  # type: ignore[no-untyped-def]
    """Add the weights of transitions that others counted, from the `first` on.

    sources, targets : int32[n]; weights : float32[n, 2]. Returns how many were added: fewer than n
    if the next needs more slots than there are.
    """
    zero = np.float32(0.0)
    for i in range(first, len(sources)):
        if t.top[0] + 2 * t.sizes[-1] > len(t.items):
            return i
        slot = _slot(t, sources[i], targets[i])
        t.weights[slot, 0] = max(t.weights[slot, 0] + weights[i, 0], zero)
        t.weights[slot, 1] = max(t.weights[slot, 1] + weights[i, 1], zero)
        slot = _slot(t, targets[i], sources[i])
        t.weights[slot, 1] = max(t.weights[slot, 1] + weights[i, 1], zero)
    return len(sources)


@kernel
def _take_back(t, history, item, weight):  # type: ignore[no-untyped-def]
    zero = np.float32(0.0)
    short = long = weight
    for q in range(len(history)):
        source = history[q]
        slot = _find(t, source, item)
        if slot >= 0:
            t.weights[slot, 0] = max(t.weights[slot, 0] - short, zero)
            t.weights[slot, 1] = max(t.weights[slot, 1] - long, zero)
        slot = _find(t, item, source)
        if slot >= 0:
            t.weights[slot, 1] = max(t.weights[slot, 1] - long, zero)
        short *= SHORT
        long *= LONG


@kernel
def purge_transitions(t, rows, n, left, now):  # type: ignore[no-untyped-def]
    """Drop the items that left from the first n of these rows, before they are read or added to.

    rows : int32[>= n]; `left` says when a number last changed hands, `now` how many did.
    """
    for r in range(n):
        row = rows[r]
        since = t.purged[row]
        if since == now:
            continue
        t.purged[row] = now
        first = t.start[row]
        kept = first
        for slot in range(first, first + t.degree[row]):
            if left[t.items[slot]] <= since:
                t.items[kept] = t.items[slot]
                t.weights[kept, 0] = t.weights[slot, 0]
                t.weights[kept, 1] = t.weights[slot, 1]
                kept += 1
        t.degree[row] = kept - first


@kernel
def strongest_sources(t, history, targets, left, best):  # type: ignore[no-untyped-def]
    """For each target, the item of the history it is taken around most, or -1: int32[>= targets].

    Read from the targets' own rows, which hold the symmetric weights.
    """
    for q in range(len(history)):
        t.marks[history[q]] = 1
    for i in range(len(targets)):
        target, source = targets[i], np.int32(-1)  # `best` may be the same array
        strongest, purged, first = np.float32(0.0), t.purged[target], t.start[target]
        row = t.items[first : first + t.degree[target]]
        pairs = t.weights[first : first + t.degree[target]]
        for slot in range(len(row)):
            # Unsigned, an index is not looked at for whether it counts from the end.
            other = np.uint32(row[slot])
            if t.marks[other] and pairs[slot, 1] > strongest and left[other] <= purged:
                strongest, source = pairs[slot, 1], row[slot]
        best[i] = source
    for q in range(len(history)):
        t.marks[history[q]] = 0
