"""Who leaves when the room is full, the least recently used, and how others forget their number.

The newcomer gets the number and the rows at once. What others hold under an item's number (users'
rings, seen items and dislikes, other items' transitions) is not searched for then: that would
take as long as the tables are large. Instead every number remembers when it last changed hands,
every row when it was last looked through, and a row that is older is looked through before it is
used. So an event pays for the rows that it reads, and none for all of them.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.state.schema import ROWS, Array, State


class Evicted(NamedTuple):
    """How many had to leave so far."""

    users: int
    items: int


class UseOrder:
    """Numbers by their last use: a linked list in two int32 columns, O(1) and 8 bytes a number."""

    STATE: ClassVar[State] = State({"_links": Array("use_order", (ROWS, None))})

    def __init__(self, numbers: int = 1024) -> None:
        # Row n + 1 holds who was used right before and right after number n; row 0, which closes
        # the ring, whom of all was used last and whom first.
        self._links: NDArray[np.int32] = np.zeros((numbers + 1, 2), np.int32)

    def fault(self, numbers: int) -> str:
        """What makes a saved order of that many numbers unfit for use, or ""."""
        links = self._links[: numbers + 1]
        if len(links) <= numbers or links.min() < 0 or links.max() > numbers:
            return "an order of use names numbers that are not there"
        before, after = links.T
        every = np.arange(numbers + 1)
        used = after[before] == every  # what is not was never touched
        if not used[0] or (before[after] != every)[used].any():
            return "an order of use is no ring"
        return ""

    def reserve(self, numbers: int) -> None:
        """Make room for `numbers` numbers."""
        self._links = grown(self._links, numbers + 1)

    def touch(self, number: int) -> None:
        """Make a number the most recently used one."""
        touch(self._links, number)

    def touch_all(self, numbers: NDArray[np.int32]) -> None:
        """`touch` each of these in turn: int32[n]."""
        touch_all(self._links, numbers)

    @property
    def links(self) -> NDArray[np.int32]:
        """As `touch` takes them."""
        return self._links

    def by_use(self) -> list[int]:
        """The numbers that were used, the least recently used first."""
        after, order = self._links[:, 1].tolist(), []
        node = after[0]
        while node:
            order.append(node - 1)
            node = after[node]
        return order

    def renew(self, order: NDArray[np.int32], room: int) -> None:
        """Start again with these numbers, the least recently used first (int32[n]), and with room
        for `room` numbers."""
        self._links = np.zeros((room + 1, 2), np.int32)
        self.touch_all(order)

    def oldest(self) -> int:
        """The least recently used number; -1 if none was used."""
        return int(self._links[0, 1]) - 1


class Departures:
    """When items left.

    Attributes
    ----------
    clock : int64[1]
        Items that left so far.
    last : int64[items]
        The clock right after a number last changed hands; 0 if it never did. A row that names a
        number and was looked through at an earlier clock means who had it before.
    """

    STATE: ClassVar[State] = State(
        {
            "last": Array("items/departures/last", (ROWS,)),
            "clock": Array("items/departures/clock", (None,)),
        },
        check="_fault",
    )

    def __init__(self, items: int = 1024) -> None:
        self.clock: NDArray[np.int64] = np.zeros(1, np.int64)
        self.last: NDArray[np.int64] = np.zeros(items, np.int64)

    @property
    def count(self) -> int:
        """Items that left so far."""
        return int(self.clock[0])

    def _fault(self) -> str:
        # The keys of indexes are made of it (`engine.retrieval.candidates`).
        in_time = 0 <= self.count < 1 << 38 and 0 <= self.last.min() <= self.last.max()
        return "" if in_time and self.last.max() <= self.count else "items left after the last did"

    def reserve(self, items: int) -> None:
        """Make room for `items` items."""
        self.last = grown(self.last, items)

    def add(self, item: int) -> None:
        """An item leaves."""
        self.clock[0] += 1
        self.last[item] = self.clock[0]


@kernel
def touch(links, number):  # type: ignore[no-untyped-def]
    """See `UseOrder.touch`."""
    node = number + 1
    newest = links[0, 0]
    if newest == node:
        return
    before, after = links[node, 0], links[node, 1]
    if links[before, 1] == node:  # else it was never used
        links[before, 1] = after
        links[after, 0] = before
    links[newest, 1] = node
    links[node, 0] = newest
    links[node, 1] = 0
    links[0, 0] = node


@kernel
def touch_all(links, numbers):  # type: ignore[no-untyped-def]
    """See `UseOrder.touch_all`."""
    for i in range(len(numbers)):
        touch(links, numbers[i])
