"""Quality, latency and coverage along a stream, in windows of equally many events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.evaluation.measures import K

MOST_WINDOWS = 60


def over_time(
    gains: Sequence[tuple[int, float, float, float]],
    lists: Sequence[Sequence[str]],
    observed_ns: Sequence[int],
) -> list[dict[str, Any]]:
    """The windows of a stream, first to last; one without a query has no quality.

    Parameters
    ----------
    gains
        Of each query: how many events were there, its own among them, and the NDCG@10 of the
        engine, of popularity and of recent popularity.
    lists
        The engine's list of each query.
    observed_ns
        Nanoseconds that the engine took for each event.

    Returns
    -------
    list of dict
        `events` at the window's end; `ndcg@10`, `popularity`, `recent_popularity`, the means of its
        queries, or None; `p50_us`, `p99_us` of its events; `items_shown`, the different items that
        were among the ten first of a list until then.
    """
    events = len(observed_ns)
    windows = min(MOST_WINDOWS, events)
    ends = np.linspace(0, events, windows + 1).round().astype(int)[1:].tolist()
    at = np.array([gain[0] for gain in gains])
    values = np.array([gain[1:] for gain in gains]).reshape(-1, 3)
    micros = np.array(observed_ns) / 1e3
    shown: set[str] = set()
    found = []
    begin = query = 0
    for end in ends:
        last = int(np.searchsorted(at, end, "right"))
        shown.update(item for ranked in lists[query:last] for item in ranked[:K])
        means = values[query:last].mean(0).round(5).tolist() if last > query else [None] * 3
        p50, p99 = np.percentile(micros[begin:end], (50, 99)).round(1).tolist()
        found.append(
            {
                "events": end,
                **dict(zip(("ndcg@10", "popularity", "recent_popularity"), means, strict=True)),
                "p50_us": p50,
                "p99_us": p99,
                "items_shown": len(shown),
            }
        )
        begin, query = end, last
    return found
