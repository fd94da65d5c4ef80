"""How what a user was counted with is taken back."""

from __future__ import annotations

import numpy as np

from engine.engine_state import Knowledge


def take_back(known: Knowledge, user: int) -> None:
    """Take back what a user was counted with; transitions, if the order of it is known."""
    items, weights = known.taken.of(user), known.taken.weights_of(user)
    marks = known.taken.marks_of(user)
    known.popularity.forget(items, weights, marks)
    known.own.surge.forget(items, marks, known.popularity.events)
    counted = dict(zip(items.tolist(), weights.tolist(), strict=True))
    order = [item for item, weight in counted.items() if weight > 0]
    degree, length = int(known.graph.users.degree[user]), known.graph.users.length
    if degree < len(order) or (degree != len(order) and degree > length):
        # Some were taken again, which moves them to the front of the history; or what was held
        # of it had left.
        return
    if degree <= length:
        order = known.graph.users.recent_ids(user, degree)[::-1].tolist()
    window = min(known.settings.history, known.graph.users.length)
    done = set()
    for at, item in enumerate(order):
        if counted.get(item, 0.0) > 0 and item not in done:
            done.add(item)
            history = np.array(order[max(0, at - window) : at][::-1], np.int32)
            known.transitions.take_back(history, item, counted[item])
            known.journal.take_back(history, item, counted[item])
