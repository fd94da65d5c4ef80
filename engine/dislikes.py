"""What each user said they do not like: sparse, their last eight items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LAST = 8
_NONE: NDArray[np.int32] = np.empty(0, np.int32)


class Dislikes:
    """Item numbers by user."""

    def __init__(self) -> None:
        self._items: dict[int, NDArray[np.int32]] = {}

    def of(self, user: int) -> NDArray[np.int32]:
        """The user's disliked items, latest last: int32[<= 8]."""
        return self._items.get(user, _NONE)

    def add(self, user: int, item: int) -> None:
        """Remember an item as disliked; the eighth before it is forgotten."""
        kept = self.of(user)
        self._items[user] = np.append(kept[kept != item], np.int32(item))[-_LAST:]

    def remove(self, user: int, item: int) -> None:
        """Take back a dislike, when a user thinks better of an item."""
        kept = self.of(user)
        if item in kept:
            self._items[user] = kept[kept != item]

    def clear(self, user: int) -> None:
        """Forget a user's dislikes."""
        self._items.pop(user, None)
