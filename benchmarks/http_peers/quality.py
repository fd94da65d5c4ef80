"""Prequential quality over HTTP: each event is first asked for, then fed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.contenders import Popularity
from benchmarks.http_peers.contenders import HttpContender
from benchmarks.http_peers.freshness import spread
from engine.evaluation.measures import RankingMeasures
from engine.evaluation.prequential import is_query
from engine.events import Interaction


def prequential(
    contender: HttpContender,
    history: Iterable[Interaction],
    events: Sequence[Interaction],
    rate: float,
) -> dict[str, Any]:
    """Feed `events` at `rate` a second, and ask for each before.

    Parameters
    ----------
    history
        What the contender has been fed already: it decides what a query is, and popularity.

    Returns
    -------
    dict
        `ndcg@10`, `hr@10`, `queries`; `query_ms` and `feed_ms`, p50, p99 and max; `seconds` that it
        took, which is more than asked for when the contender does not keep up; `popularity`, the
        same measures of it.
    """
    taken: defaultdict[str, set[str]] = defaultdict(set)
    popularity, baseline, measures = Popularity(), RankingMeasures(), RankingMeasures()
    for event in history:
        _take(event, taken, popularity)
    query_ms, feed_ms = [], []
    started = time.perf_counter()
    for number, event in enumerate(events):
        time.sleep(max(0.0, started + number / rate - time.perf_counter()))
        if is_query(event, taken[event.user]) and event.item is not None:
            begun = time.perf_counter()
            ranked = contender.query(event.user)
            query_ms.append((time.perf_counter() - begun) * 1e3)
            measures.add(ranked, event.item)
            baseline.add(popularity.recommend(event.user), event.item)
        begun = time.perf_counter()
        contender.feed(event)
        feed_ms.append((time.perf_counter() - begun) * 1e3)
        _take(event, taken, popularity)
    return {
        **_quality(measures),
        "popularity": _quality(baseline),
        "query_ms": spread(query_ms),
        "feed_ms": spread(feed_ms),
        "seconds": round(time.perf_counter() - started, 1),
    }


def histories(events: Iterable[Interaction]) -> Mapping[str, list[str]]:
    """What each user took, oldest first."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for event in events:
        if event.item is not None:
            found[event.user].append(event.item)
    return found


def _take(event: Interaction, taken: defaultdict[str, set[str]], popularity: Popularity) -> None:
    if event.item is not None:
        taken[event.user].add(event.item)
    popularity.observe(event)


def _quality(measures: RankingMeasures) -> dict[str, float | int]:
    return {key: measures.as_dict()[key] for key in ("ndcg@10", "hr@10", "queries")}
