"""What is counted when a user takes an item for the first time, and how that is taken back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import kernel
from engine.engine_state import Knowledge
from engine.events import Interaction
from engine.features.context import move_levels
from engine.features.popularity import INFLATION, QUALITY, recent_level, record_popularity, stage_of
from engine.features.transitions import record_transitions

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
    t, p, c = known.transitions, known.popularity, known.contexts
    t.make_room(len(history))
    stage, share = stage_of(max(0, int(c.lengths[user]) - later))
    value = event.value if event.kind in RATED else None
    inflation = p.next_weight()
    p.take_totals(
        _count(
            t.items, t.weights, t.start, t.capacity, t.degree, t._sizes, t._top, t._free,
            t._free_counts, history, item, np.float32(weight), p.counts, p._recent, inflation,
            p.events, p._first, p._by_stage, p._stage_total, p.stage_ratio, p.features,
            p._value_sums, stage, share, weight, value is not None, float(value or 0.0),
            *p._values, p._cursor, len(known.items), p.trending, p.trending_count, c.lengths,
            c.levels, user, later,
        )
    )  # fmt: skip
    if later:
        _count_before(known, user, item, later)


@kernel
def _count(  # type: ignore[no-untyped-def]
    slots, slot_weights, starts, capacities, row_degrees, sizes, top, free, free_counts, history,
    item, transition_weight, counts, recent, inflation, events, first, by_stage,
    stage_total, stage_ratio, features, value_sums, stage, stage_share, weight, is_rated, value,
    value_count, value_mean, value_squares, cursor, items, trending, held, lengths, levels, user,
    later,
):  # fmt: skip
    """Transitions, popularity and context of one event; returns as `record_popularity`."""
    record_transitions(
        slots, slot_weights, starts, capacities, row_degrees, sizes, top, free, free_counts,
        history, item, transition_weight, transition_weight,
    )  # fmt: skip
    level = recent_level(recent, inflation / INFLATION, item)
    totals = record_popularity(
        counts, recent, inflation, events, first, by_stage, stage_total, stage_ratio, features,
        value_sums, stage, stage_share, weight, item, is_rated, value, value_count, value_mean,
        value_squares, cursor, items, trending, held,
    )  # fmt: skip
    move_levels(lengths, levels, user, level, features[QUALITY, item], later)
    return totals


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
