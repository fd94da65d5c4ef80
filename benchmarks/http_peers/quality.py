"""Prequential quality over HTTP: each event is first asked for, then fed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.contenders import Popularity
from benchmarks.http_peers.contenders import HttpContender
from benchmarks.http_peers.freshness import spread
from engine.evaluation.measures import RankingMeasures
from engine.evaluation.queries import Queries
from engine.evaluation.queries import prequential as steps
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
    queries = Queries()
    popularity, baseline, measures = Popularity(), RankingMeasures(), RankingMeasures()
    for event in history:
        queries.note(event.user, event.item, event.kind)
        popularity.observe(event)
    query_ms, feed_ms = [], []
    started = time.perf_counter()

    def paced() -> Iterator[Interaction]:
        for number, event in enumerate(events):
            time.sleep(max(0.0, started + number / rate - time.perf_counter()))
            yield event

    def rank(user: str) -> list[str]:
        begun = time.perf_counter()
        ranked = contender.query(user)
        query_ms.append((time.perf_counter() - begun) * 1e3)
        return ranked

    def learn(event: Interaction) -> None:
        begun = time.perf_counter()
        contender.feed(event)
        feed_ms.append((time.perf_counter() - begun) * 1e3)

    for step in steps(paced(), rank, learn, queries):
        if step.ranked is not None:
            measures.add(step.ranked, step.item)
            baseline.add(popularity.recommend(step.interaction.user), step.item)
        popularity.observe(step.interaction)
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


def _quality(measures: RankingMeasures) -> dict[str, float | int]:
    return {key: measures.as_dict()[key] for key in ("ndcg@10", "hr@10", "queries")}
