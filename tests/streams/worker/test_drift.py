"""Histograms of scores and of popularity, of an engine that has learnt."""

from __future__ import annotations

from itertools import accumulate
from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as Reference

from engine import EngineSettings, Interaction, Recommender
from engine.features.faded import SHARE_OFFSET, log_share
from engine.features.popularity import RECENT
from engine.step.ranking import Ranked
from streams.worker.drift import SCORES, SHARES, Drift
from streams.worker.durations import cumulative


@pytest.fixture(scope="module")
def engine() -> Recommender:
    """It has seen `i0` most often, and `i9` least."""
    engine = Recommender(EngineSettings(model="gnn"))
    for n in range(200):
        item = f"i{min(n % 10, n % 7)}" if n != 100 else "i9"
        engine.observe(
            Interaction(
                event_id=str(n), user=f"u{n % 23}", item=item, timestamp=10**12 + n, kind="click"
            )
        )
    return engine


def reference(bounds: tuple[float, ...], values: list[float]) -> list[tuple[str, float]]:
    registry = CollectorRegistry()
    histogram = Reference("t", "T.", buckets=bounds, registry=registry)
    for value in values:
        histogram.observe(value)
    [family] = registry.collect()
    return [(s.labels["le"], s.value) for s in family.samples if s.name == "t_bucket"]


@given(st.lists(st.one_of(st.sampled_from(SCORES), st.floats(-50, 50)), max_size=30))
def test_scores_are_counted_as_prometheus_client_does(scores: list[float]) -> None:
    drift = Drift(Recommender(EngineSettings(model="gnn")))
    for score in scores:
        drift.count_answer([Ranked("gone", score, "trending"), Ranked("other", 3.0, "trending")])
    assert cumulative(SCORES, drift.scores) == reference(SCORES, scores)
    assert sum(drift.recommended) == 0  # an item that has left has no popularity


def test_popularity_is_the_recent_share(engine: Recommender) -> None:
    drift, shares = Drift(engine), []
    for name in engine.items.names:
        number = engine.items.find(name)
        assert number is not None
        drift.count_taken(number)
        drift.count_answer([Ranked(name, 1.0, "trending")])
        recent = float(engine.popularity.features[RECENT, number]) - float(SHARE_OFFSET)
        shares.append(exp(recent) - 1e-5)
    assert cumulative(SHARES, drift.taken) == reference(SHARES, shares)
    assert drift.taken == drift.recommended
    assert sum(drift.scores) == len(shares) > 5
    assert max(shares) > 10 * min(shares)


def test_what_nobody_took_is_in_the_lowest_bucket_and_an_empty_list_in_none(
    engine: Recommender,
) -> None:
    drift = Drift(engine)
    drift.count_taken(None)
    drift.count_answer([])
    assert drift.taken[0] == 1
    assert sum(drift.taken) == 1
    assert sum(drift.scores) == sum(drift.recommended) == 0


@pytest.mark.parametrize("bound", SHARES)
def test_a_share_is_at_most_the_bound_that_the_engine_s_logarithm_says(
    engine: Recommender, bound: float
) -> None:
    for share, below in ((bound * 0.99, True), (bound * 1.01, False)):
        drift = Drift(engine)
        before = engine.popularity.features[RECENT, 0]
        engine.popularity.features[RECENT, 0] = log_share(np.float32(share))
        drift.count_taken(0)
        engine.popularity.features[RECENT, 0] = before
        at = SHARES.index(bound)
        assert (list(accumulate(drift.taken))[at] == 1) == below
