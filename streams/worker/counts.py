"""What became of the events since the worker started."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Counts:
    """Totals since the start.

    Attributes
    ----------
    received, followed
        Messages of our own partitions; events that others told the items of.
    deltas, delta_bytes
        Messages that told others of items, and their size.
    foreign_keys
        Messages whose key is not their user's id: their user's events may lie in several
        partitions, out of order.
    recommendations, duplicates, late, replayed
        Answers; events whose id was known; late ones; ones that were answered before.
    unknown
        Answered events by what was not known of them before: the `user`, the `item`, or an item
        that no catalogue lists (`unlisted`).
    arms
        Answers by experiment and arm.
    dead_letters, item_dead_letters
        Interactions, and messages about items, that could not be read; by class of error.
    checkpoints, checkpoint_pause_seconds
        Those begun, and for how long in all the event path stood still for them.
    checkpoints_written, checkpoint_write_seconds, checkpoint_failures
        Those that got their names, and how long these took until then; those that failed.
    forget_pending
        Whether a request to be forgotten is not carried out exactly yet.
    rebuilds, rebuild_pause_seconds, rebuild_failures
        Rebuilds of the state without forgotten users, for how long in all events waited for the
        exchanges, and attempts that failed.
    follow_lag_seconds
        How old the last delta of another worker was when it was applied here.
    newest_ms
        The latest timestamp that an applied event had, of all partitions, in milliseconds.
    """

    received: int = 0
    followed: int = 0
    deltas: int = 0
    delta_bytes: int = 0
    foreign_keys: int = 0
    recommendations: int = 0
    duplicates: int = 0
    late: int = 0
    replayed: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    arms: Counter[tuple[str, str]] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    item_dead_letters: Counter[str] = field(default_factory=Counter)
    checkpoints: int = 0
    checkpoint_pause_seconds: float = 0.0
    checkpoints_written: int = 0
    checkpoint_write_seconds: float = 0.0
    checkpoint_failures: int = 0
    forget_pending: bool = False
    rebuilds: int = 0
    rebuild_pause_seconds: float = 0.0
    rebuild_failures: int = 0
    follow_lag_seconds: float = 0.0
    newest_ms: int = 0
