"""Which items each user has taken already: sparse, eight bytes an item."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.arrays import grown
from engine.compiled import kernel
from engine.state.schema import Arrays, State, Value

_EMPTY: NDArray[np.int32] = np.empty(0, np.int32)
_WEIGHTLESS: NDArray[np.float32] = np.empty(0, np.float32)


class SeenItems:
    """Item numbers by user, in the order they were taken in, and what each was counted with."""

    STATE: ClassVar[State] = State(
        {
            "_items": Arrays("users/taken/items", np.int32, numbers="items"),
            "_weights": Arrays("users/taken/weights", np.float32),
            "_counts": Value("users/taken/counts", list[int]),
        },
        check="_fault",
    )

    def __init__(self) -> None:
        self._items: list[NDArray[np.int32]] = []
        self._weights: list[NDArray[np.float32]] = []
        self._counts: list[int] = []
        self.reserve(1024)

    def _fault(self) -> str:
        counts = np.array(self._counts, np.int64)
        for arrays in (self._items, self._weights):
            room = np.fromiter(map(len, arrays), np.int64, len(arrays))
            if len(room) != len(counts) or (counts < 0).any() or (counts > room).any():
                return "a user took more items than are there"
        return ""

    def reserve(self, users: int) -> None:
        """Make room for `users` users."""
        missing = users - len(self._items)
        if missing > 0:
            self._items.extend([_EMPTY] * missing)
            self._weights.extend([_WEIGHTLESS] * missing)
            self._counts.extend([0] * missing)

    def of(self, user: int) -> NDArray[np.int32]:
        """A view of the user's items: int32[n]."""
        return self._items[user][: self._counts[user]]

    def weights_of(self, user: int) -> NDArray[np.float32]:
        """A view of the weights of those items: float32[n]."""
        return self._weights[user][: self._counts[user]]

    def weight(self, user: int, item: int) -> float | None:
        """What the item was counted with; None if the user has not taken it."""
        slot = _find(self._items[user], self._counts[user], item)
        return float(self._weights[user][slot]) if slot >= 0 else None

    def put(self, user: int, item: int, weight: float) -> None:
        """Add an item as the latest; one that the user has is moved there."""
        slot, count = _find(self._items[user], self._counts[user], item), self._counts[user]
        if slot < 0:
            self._items[user] = grown(self._items[user], max(8, count + 1))
            self._weights[user] = grown(self._weights[user], max(8, count + 1))
            self._counts[user] = count = count + 1
        else:
            for array in (self._items[user], self._weights[user]):
                array[slot : count - 1] = array[slot + 1 : count]
        self._items[user][count - 1] = item
        self._weights[user][count - 1] = weight

    def keep(self, user: int, which: NDArray[np.bool_]) -> None:
        """Forget the user's items but these: bool[n]."""
        if not which.all():
            self._items[user] = self.of(user)[which]
            self._weights[user] = self.weights_of(user)[which]
            self._counts[user] = len(self._items[user])

    def clear(self, user: int) -> None:
        """Forget a user's items."""
        self._items[user] = _EMPTY
        self._weights[user] = _WEIGHTLESS
        self._counts[user] = 0


@kernel
def _find(items, count, item):  # type: ignore[no-untyped-def]
    for slot in range(count):
        if items[slot] == item:
            return slot
    return -1
