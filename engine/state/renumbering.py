"""Gives the memory of users who left back: the others are renumbered, and the tables shortened."""

from __future__ import annotations

import numpy as np

from engine.engine_state import Knowledge
from engine.state.schema import keep_user_rows

_LEAST = 1024
"""Rows that tables have room for at least, as in a new engine."""


def renumber_users(known: Knowledge) -> bool:
    """Renumber the users, if at most two thirds of the numbers are in use; returns whether it did.

    Neither answers nor what is learnt depend on the numbers. It copies one table after the other.
    """
    names = known.users.names
    if len(names) <= _LEAST or 3 * known.users.known > 2 * len(names):
        return False
    kept = np.array([number for number, name in enumerate(names) if name], np.int32)
    numbers = np.full(len(names), -1, np.int32)
    numbers[kept] = np.arange(len(kept))
    room = max(len(kept) + len(kept) // 4, _LEAST)
    order = numbers[known.user_order.by_use()]
    known.forget_contest()
    keep_user_rows(known, kept, room)
    known.user_order.renew(order[order >= 0], room)
    for lists in (known.taken, known.disliked):
        lists.pack(room)
    known.graph.items.renumber(numbers)
    known.users.compact()
    return True
