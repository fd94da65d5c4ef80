"""Quality, latency and coverage along a stream, in windows of equally many events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.evaluation.measures import K

MOST_WINDOWS = 60


def quality_over_time(
    gains: Sequence[tuple[int, float, float, float]], lists: Sequence[Sequence[str]], events: int
) -> list[dict[str, Any]]:
    """The windows of a stream, first to last; one without a query has no quality.

    Parameters
    ----------
    gains
        For each query: the number of events up to its own, and the NDCG@10 of the engine, of
        popularity and of recent popularity.
    lists
        The engine's list of each query.

    Returns
    -------
    list of dict
        `events` at the window's end; `ndcg@10`, `popularity`, `recent_popularity`, the means of its
        queries, or None; `items_shown`, the different items that were among the ten first of a list
        until then.
    """
    at = np.array([gain[0] for gain in gains])
    values = np.array([gain[1:] for gain in gains]).reshape(-1, 3)
    shown: set[str] = set()
    found = []
    first = 0
    for end in _ends(events):
        last = int(np.searchsorted(at, end, "right"))
        shown.update(item for ranked in lists[first:last] for item in ranked[:K])
        means = values[first:last].mean(0).round(5).tolist() if last > first else [None] * 3
        names = ("ndcg@10", "popularity", "recent_popularity")
        window = dict(zip(names, means, strict=True))
        found.append({"events": end, **window, "items_shown": len(shown)})
        first = last
    return found


def latency_over_time(observed_ns: Sequence[int]) -> list[dict[str, Any]]:
    """p50 and p99 of the events of each window in µs, of the nanoseconds that each event took."""
    micros = np.array(observed_ns) / 1e3
    found = []
    begin = 0
    for end in _ends(len(observed_ns)):
        p50, p99 = np.percentile(micros[begin:end], (50, 99)).round(1).tolist()
        found.append({"events": end, "p50": p50, "p99": p99})
        begin = end
    return found


def _ends(events: int) -> list[int]:
    """How many events there are at the end of each window."""
    windows = min(MOST_WINDOWS, events)
    ends: list[int] = np.linspace(0, events, windows + 1).round().astype(int)[1:].tolist()
    return ends
