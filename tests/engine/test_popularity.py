"""Popularity's three features against their formulas, and how stale they may be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.popularity import HALF_LIFE, Popularity, popularity_features, stage_of
from tests.engine.reference import PopularityReference

ITEMS = 20
taken = st.lists(
    st.tuples(st.integers(0, ITEMS - 1), st.integers(0, 60), st.sampled_from([0.4, 1.0])),
    min_size=1,
    max_size=40,
)


@given(taken)
def test_the_item_of_an_event_has_the_features_of_the_formulas(
    events: list[tuple[int, int, float]],
) -> None:
    popularity, reference = Popularity(), PopularityReference()
    for item, history_length, weight in events:
        popularity.record(item, history_length, ITEMS, weight)
        reference.record(item, history_length, weight)
    item = events[-1][0]
    assert popularity.features[0, item] == pytest.approx(reference.all_time(item), abs=1e-4)
    assert popularity.features[1, item] == pytest.approx(reference.recent(item), abs=1e-4)
    for stage in range(7):
        if popularity._stage_total[stage] > 0:
            expected = reference.stage_ratio(stage, item)
            assert popularity.stage_ratio[stage, item] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("items", [1, 7, 31, 32, 33, 500])
def test_every_item_is_refreshed_within_32_events(items: int) -> None:
    popularity = Popularity()
    popularity.features[:] = np.nan
    for _ in range(32):
        popularity.record(0, 3, items, 1.0)
    assert np.isfinite(popularity.features[:, :items]).all()
    assert np.isnan(popularity.features[:, items:]).all()


def test_scaling_old_counts_down_changes_no_feature() -> None:
    plain, scaled = Popularity(), Popularity()
    before = scaled._inflation = 0.98e12  # about ninety events from the limit
    rng = np.random.default_rng(0)
    for item in rng.integers(0, ITEMS, 200).tolist():
        for popularity in (plain, scaled):
            popularity.record(item, 3, ITEMS, 1.0)
    assert scaled._inflation < before
    np.testing.assert_allclose(scaled.features, plain.features, rtol=1e-4)
    np.testing.assert_array_equal(scaled.stage_ratio, plain.stage_ratio)


def test_after_its_half_life_an_event_counts_half_in_the_recent_popularity() -> None:
    popularity = Popularity()

    def recent() -> float:
        return float(np.exp(popularity.features[1, 0] - 11.5) - 1e-5)

    popularity.record(0, 0, 2, 1.0)
    at_first = recent()
    for _ in range(HALF_LIFE):
        popularity.record(1, 0, 2, 1.0)
    assert recent() == pytest.approx(at_first / 2, rel=0.01)


def test_an_item_that_nobody_took_is_about_zero() -> None:
    popularity = Popularity()
    for _ in range(40):
        popularity.record(0, 0, 3, 1.0)
    np.testing.assert_allclose(popularity.features[:, 1:3], 0.0, atol=0.02)


def test_forgetting_takes_back_what_was_counted() -> None:
    popularity = Popularity()
    for item, weight in ((4, 0.4), (5, 1.0), (4, 1.0)):
        popularity.record(item, 0, ITEMS, weight)
    popularity.forget(np.array([4, 5], np.int32), np.array([0.4, 1.0], np.float32))
    assert popularity.counts[[4, 5]].tolist() == [1.0, 0.0]
    assert popularity.counts.min() >= 0


def test_stages_are_binary_logarithms_with_a_share_in_the_next() -> None:
    assert [stage_of(n) for n in (0, 1, 3, 7)] == [(0, 0), (1, 0), (2, 0), (3, 0)]
    stage, share = stage_of(2)
    assert (stage, share) == (1, pytest.approx(0.585, abs=1e-3))
    assert stage_of(10**9)[0] == 14  # its next one is the last


def test_a_user_between_two_stages_gets_the_mean_of_their_ratios() -> None:
    popular = np.array([[1, 2], [3, 4]], np.float32)
    ratios = np.array([[0, 0], [4, 8], [8, 0]], np.float32)
    out = np.empty((3, 2), np.float32)
    popularity_features(popular, ratios, 1, np.float32(0.25), 2, out)
    np.testing.assert_allclose(out, [[1, 2], [3, 4], [5, 6]])
