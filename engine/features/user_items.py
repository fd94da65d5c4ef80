"""Lists of items by user: sparse, 16 bytes an item, in blocks of two arrays that double.

What a user has taken and what they dislike are such lists. A block that a longer one took the
place of is left until the array is full: then it is packed anew, and grows if it must.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.graph import NODES, WEIGHTS
from engine.state.schema import ANY, OTHERS, ROWS, Array, State

REPEATABLE = 1 << 56
"""The bit of an entry whose item may be shown to its user again."""
_UNITS = (1 << 32) - 1
_SMALLEST = 8
"""Slots of the smallest block."""


class UserItemArrays(NamedTuple):
    """What kernels read and write of a `UserItems`."""

    entries: NDArray[np.int64]
    counted: NDArray[np.int64]
    start: NDArray[np.int64]
    capacity: NDArray[np.int32]
    length: NDArray[np.int32]
    top: NDArray[np.int64]


class UserItems:
    """Item numbers by user, in the order they were put, and a weight of each.

    Attributes
    ----------
    entries : int64[slots]
        Item in bits 23..0, weight in units of 1 / 255 in bits 55..24, `REPEATABLE` or not.
    counted : int64[slots]
        By slot of `entries`, what faded counts hold of the user: a mark of `engine.features.faded`.
    start : int64[users]
        Where in `entries` a user's block begins.
    capacity, length : int32[users]
        Slots of the block; slots in use.
    top : int64[1]
        The first slot that was never given out.
    """

    STATE: ClassVar[State] = State(
        {
            "entries": Array("entries", (ANY,), numbers=OTHERS, mask=NODES - 1),
            "counted": Array("counted", (ANY,)),
            "start": Array("start", (ROWS,)),
            "capacity": Array("capacity", (ROWS,)),
            "length": Array("length", (ROWS,)),
            "top": Array("top", (None,)),
        },
        check="_fault",
        then="_restored",
    )

    def __init__(self, users: int = 1024) -> None:
        self.entries: NDArray[np.int64] = np.zeros(_SMALLEST * users, np.int64)
        self.counted: NDArray[np.int64] = np.zeros(_SMALLEST * users, np.int64)
        self.start: NDArray[np.int64] = np.zeros(users, np.int64)
        self.capacity: NDArray[np.int32] = np.zeros(users, np.int32)
        self.length: NDArray[np.int32] = np.zeros(users, np.int32)
        self.top: NDArray[np.int64] = np.zeros(1, np.int64)

    @property
    def arrays(self) -> UserItemArrays:
        """As kernels take them."""
        return UserItemArrays(
            self.entries, self.counted, self.start, self.capacity, self.length, self.top
        )

    def _fault(self) -> str:
        users = len(self.start)
        if len(self.capacity) < users or len(self.length) < users:
            return "its rows differ in number"
        capacity, length = self.capacity[:users].astype(np.int64), self.length[:users]
        if not 0 <= int(self.top[0]) <= len(self.entries):
            return f"{self.top[0]} slots are given out, and {len(self.entries)} are there"
        if (length < 0).any() or (length > capacity).any():
            return "a user has more items than they have room for"
        if (self.start < 0).any() or (self.start > self.top[0] - capacity)[capacity > 0].any():
            return "a user's items lie beyond the slots"
        return ""

    def _restored(self) -> None:
        """Marks that an older file lacks say that nothing was counted."""
        if len(self.counted) < len(self.entries):
            self.counted = np.append(
                self.counted, np.zeros(len(self.entries) - len(self.counted), np.int64)
            )

    def reserve(self, users: int) -> None:
        """Make room for `users` users."""
        self.start = grown(self.start, users)
        self.capacity = grown(self.capacity, users)
        self.length = grown(self.length, users)

    def make_room(self, slots: int) -> None:
        """Have that many slots free behind the blocks: those that are in use are packed anew."""
        if int(self.top[0]) + slots <= len(self.entries):
            return
        used = int(self.capacity.sum(dtype=np.int64))
        self.pack(max(len(self.entries) - used, used + 2 * slots))

    def pack(self, slots: int) -> None:
        """Pack the blocks anew, with so many slots free behind them."""
        size = int(self.capacity.sum(dtype=np.int64)) + slots
        packed, counted = np.zeros(size, np.int64), np.zeros(size, np.int64)
        _pack(self.arrays, packed, counted)
        self.entries, self.counted = packed, counted

    def of(self, user: int) -> NDArray[np.int32]:
        """The user's items, the latest last: int32[n]."""
        return (self._row(user) & (NODES - 1)).astype(np.int32)

    def final_of(self, user: int) -> NDArray[np.int32]:
        """Those of the user's items that may not be shown to them again: int32[<= n]."""
        return self.of(user)[self._row(user) & REPEATABLE == 0]

    def weights_of(self, user: int) -> NDArray[np.float32]:
        """The weights of those items: float32[n]."""
        return ((self._row(user) >> 24 & _UNITS) / WEIGHTS).astype(np.float32)

    def marks_of(self, user: int) -> NDArray[np.int64]:
        """What faded counts hold of the user, by item of `of`: int64[n]."""
        start = int(self.start[user])
        return self.counted[start : start + int(self.length[user])]

    def weight(self, user: int, item: int) -> float | None:
        """The weight of a user's item; None if the user has it not."""
        slot = find(self.arrays, user, item)
        return int(units_at(self.arrays, slot)) / WEIGHTS if slot >= 0 else None

    def clear(self, user: int) -> None:
        """Forget a user's items: nothing of them is left in their block, either."""
        self._row(user)[:] = 0
        self.marks_of(user)[:] = 0
        self.length[user] = 0

    def _row(self, user: int) -> NDArray[np.int64]:
        start = int(self.start[user])
        return self.entries[start : start + int(self.length[user])]


def packed(lists: Sequence[NDArray[np.int64]]) -> UserItemArrays:
    """Arrays of a `UserItems` that holds these lists of entries, user by user."""
    made = UserItems(max(len(lists), 1))
    for user, entries in enumerate(lists):
        while made.capacity[user] < len(entries):
            made.capacity[user] = max(2 * made.capacity[user], _SMALLEST)
        made.length[user] = len(entries)
    made.start[1:] = np.cumsum(made.capacity, dtype=np.int64)[:-1]
    made.top[0] = made.start[-1] + made.capacity[-1]
    made.entries = np.zeros(max(len(made.entries), int(made.top[0])), np.int64)
    made.counted = np.zeros(len(made.entries), np.int64)
    for start, entries in zip(made.start.tolist(), lists, strict=False):
        made.entries[start : start + len(entries)] = entries
    return made.arrays


@kernel
def _pack(lists, packed, counted):  # type: ignore[no-untyped-def]
    top = np.int64(0)
    for user in range(len(lists.start)):
        start = lists.start[user]
        for slot in range(lists.length[user]):
            packed[top + slot] = lists.entries[start + slot]
            counted[top + slot] = lists.counted[start + slot]
        lists.start[user] = top
        top += lists.capacity[user]
    lists.top[0] = top


@kernel
def block_needed(lists, user):  # type: ignore[no-untyped-def]
    """Slots that the user's next item needs behind the blocks: 0 while theirs has room."""
    if lists.length[user] < lists.capacity[user]:
        return np.int64(0)
    return np.int64(max(2 * lists.capacity[user], _SMALLEST))


@kernel
def find(lists, user, item):  # type: ignore[no-untyped-def]
    """The slot of a user's item, or -1."""
    first = lists.start[user]
    row = lists.entries[first : first + lists.length[user]]
    found = np.int64(-1)
    # To the end of the row, found or not: a loop without an exit is vectorised.
    for slot in range(len(row)):
        if row[slot] & (NODES - 1) == item:
            found = np.int64(slot)
    return first + found if found >= 0 else np.int64(-1)


@kernel
def any_repeatable(lists, user):  # type: ignore[no-untyped-def]
    """Whether any of the user's items may be shown to them again."""
    first = lists.start[user]
    row = lists.entries[first : first + lists.length[user]]
    bits = np.int64(0)
    for slot in range(len(row)):
        bits |= row[slot]
    return bits & REPEATABLE != 0


@kernel
def mark_latest(lists, user, mark):  # type: ignore[no-untyped-def]
    """Note what faded counts hold of the item that was put last."""
    lists.counted[lists.start[user] + lists.length[user] - 1] = mark


@kernel
def units_at(lists, slot):  # type: ignore[no-untyped-def]
    """The weight at a slot, in units of 1 / 255."""
    return lists.entries[slot] >> 24 & _UNITS


@kernel
def put(lists, user, item, units, repeatable):  # type: ignore[no-untyped-def]
    """Add an item as the latest; one that the user has is moved there. There must be room for it.

    units : its weight, in units of 1 / 255.
    """
    remove(lists, user, item)
    count = lists.length[user]
    if count == lists.capacity[user]:
        size = block_needed(lists, user)
        start, block = lists.start[user], lists.top[0]
        for slot in range(count):
            lists.entries[block + slot] = lists.entries[start + slot]
            lists.counted[block + slot] = lists.counted[start + slot]
            lists.entries[start + slot] = 0
        lists.start[user] = block
        lists.capacity[user] = size
        lists.top[0] += size
    entry = np.int64(item) | np.int64(units) << 24
    lists.entries[lists.start[user] + count] = entry | REPEATABLE if repeatable else entry
    lists.counted[lists.start[user] + count] = 0
    lists.length[user] = count + 1


@kernel
def find_block(lists, user, length):  # type: ignore[no-untyped-def]
    """Have a block of at least `length` slots for a user's list, which is empty.

    Behind the blocks there must be room for twice as many.
    """
    size = lists.capacity[user]
    while size < length:
        size = max(2 * size, _SMALLEST)
    if size > lists.capacity[user]:
        lists.start[user] = lists.top[0]
        lists.capacity[user] = size
        lists.top[0] += size


@kernel
def remove(lists, user, item):  # type: ignore[no-untyped-def]
    """Take an item from a user's list, if it is there."""
    slot = find(lists, user, item)
    if slot >= 0:
        for after in range(slot + 1, lists.start[user] + lists.length[user]):
            lists.entries[after - 1] = lists.entries[after]
            lists.counted[after - 1] = lists.counted[after]
        _shorten(lists, user)


@kernel
def _shorten(lists, user):  # type: ignore[no-untyped-def]
    lists.length[user] -= 1
    lists.entries[lists.start[user] + lists.length[user]] = 0


@kernel
def drop_first(lists, user):  # type: ignore[no-untyped-def]
    """Take the earliest item from a user's list, which must have one."""
    first = lists.start[user]
    for slot in range(first + 1, first + lists.length[user]):
        lists.entries[slot - 1] = lists.entries[slot]
        lists.counted[slot - 1] = lists.counted[slot]
    _shorten(lists, user)


@kernel
def purge(lists, user, left, since):  # type: ignore[no-untyped-def]
    """Drop the items whose number changed hands (`left`) after `since`."""
    first = lists.start[user]
    kept = first
    for slot in range(first, first + lists.length[user]):
        if left[lists.entries[slot] & (NODES - 1)] <= since:
            lists.entries[kept] = lists.entries[slot]
            lists.counted[kept] = lists.counted[slot]
            kept += 1
    for slot in range(kept, first + lists.length[user]):
        lists.entries[slot] = 0
    lists.length[user] = kept - first
