"""Users who left make room: who is left gets the lowest numbers, and tables become shorter."""

from __future__ import annotations

import numpy as np

from engine.engine_state import Knowledge
from engine.state.schema import keep_rows

_LEAST = 1024
"""Rows that tables have room for at least, as in a new engine."""


def renumber_users(known: Knowledge) -> bool:
    """Number the users anew, where no more than two thirds of the numbers are in use.

    What an engine answers and learns does not depend on its users' numbers. Takes some seconds for
    a million users, and their tables twice while it does.

    Returns
    -------
    bool
        Whether it was done.
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
    keep_rows(known, "users", kept, room)
    known.user_order.renew(order[order >= 0], room)
    for lists in (known.taken, known.disliked):
        lists.pack(room)
    known.graph.items.renumber(numbers)
    known.users.close_ranks()
    return True
