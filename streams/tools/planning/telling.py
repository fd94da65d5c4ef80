"""How often workers tell, and how much, by the rule that they keep to (`worker.item_deltas`)."""

from __future__ import annotations

from typing import NamedTuple

from engine.sharing.delta import LEARNT
from streams.worker.item_deltas import most_rows, seconds_between

KINDS = len(LEARNT) + 2
"""Kinds of rows that a delta bounds: learnt tables, biases, transitions."""


class Telling(NamedTuple):
    """Of each worker's deltas: the seconds from one to the next, and the rows of one."""

    seconds: float
    rows: float


def telling(
    events_per_second: float, workers: int, rows_per_event: float, delta_seconds: float
) -> Telling:
    """What becomes of so many events of each worker.

    Parameters
    ----------
    rows_per_event
        Rows that an event changes; one of them is of counts, which are all told.
    delta_seconds
        `worker.delta_seconds`.
    """
    seconds = rows = 0.0
    for _ in range(100):  # each depends on the other: from below to the least that fit together
        seconds = seconds_between(delta_seconds, workers, round(rows))
        events = events_per_second * seconds
        more = rows
        rows = events + min(events * (rows_per_event - 1), KINDS * most_rows(workers))
        if round(rows) == round(more):
            break
    return Telling(seconds, rows)
