"""What is counted when a user takes an item for the first time, and how that is taken back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.engine_state import Knowledge
from engine.events import Interaction
from engine.features.popularity import QUALITY

RATED = ("rating", "review")
"""Kinds of interactions whose value is a rating."""


def count(
    known: Knowledge,
    user: int,
    item: int,
    history: NDArray[np.int32],
    weight: float,
    event: Interaction,
    later: int = 0,
) -> None:
    """Count what a user took for the first time, in transitions, popularity and context."""
    known.transitions.record(history, item, weight)
    if later:
        _count_before(known, user, item, later)
    level = known.popularity.level(item)
    length = max(0, int(known.contexts.lengths[user]) - later)
    known.popularity.record(
        item, length, len(known.items), weight, event.value if event.kind in RATED else None
    )
    known.contexts.record(user, level, float(known.popularity.features[QUALITY, item]), later)


def _count_before(known: Knowledge, user: int, item: int, later: int) -> None:
    """Count that the last `later` items of the user's row followed one that is told late."""
    order = known.graph.users.recent_ids(user, known.graph.users.length)
    source = np.array([item], np.int32)
    for place, other in enumerate(order[:later].tolist()):
        between = later - 1 - place
        weight = known._seen.weight(user, other)
        # Only its first time was counted.
        if weight and between < known.settings.history and other not in order[place + 1 :]:
            known.transitions.record(source, other, weight, between)


def take_back(known: Knowledge, user: int) -> None:
    """Take back what a user was counted with; transitions, if the order of it is known."""
    known.popularity.forget(known._seen.of(user), known._seen.weights_of(user))
    counted = dict(
        zip(known._seen.of(user).tolist(), known._seen.weights_of(user).tolist(), strict=True)
    )
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
        if counted[item] > 0 and item not in done:
            done.add(item)
            history = np.array(order[max(0, at - window) : at][::-1], np.int32)
            known.transitions.take_back(history, item, counted[item])
