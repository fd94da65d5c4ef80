"""What each user said they do not like: sparse, their last eight items."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.state.schema import State, Value

_LAST = 8


class Dislikes:
    """Item numbers by user."""

    STATE: ClassVar[State] = State({"_items": Value("users/dislikes", dict[int, list[int]])})

    def __init__(self) -> None:
        self._items: dict[int, list[int]] = {}

    def of(self, user: int) -> NDArray[np.int32]:
        """The user's disliked items, latest last: int32[<= 8]."""
        return np.array(self._items.get(user, ()), np.int32)

    def add(self, user: int, item: int) -> None:
        """Remember an item as disliked; the eighth before it is forgotten."""
        self.remove(user, item)
        kept = self._items.setdefault(user, [])
        kept.append(item)
        del kept[:-_LAST]

    def remove(self, user: int, item: int) -> None:
        """Take back a dislike, when a user thinks better of an item."""
        kept = self._items.get(user)
        if kept and item in kept:
            kept.remove(item)
            if not kept:
                del self._items[user]

    def keep(self, user: int, which: NDArray[np.bool_]) -> None:
        """Forget the user's dislikes but these: bool[n]."""
        for item in self.of(user)[~which].tolist():
            self.remove(user, item)

    def clear(self, user: int) -> None:
        """Forget a user's dislikes."""
        self._items.pop(user, None)
