"""Popularity's features against their formulas, and how stale they may be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.features.faded import mark_of
from engine.features.popularity import (
    AGE,
    QUALITY,
    RECENT,
    TRENDING_ITEMS,
    Popularity,
    popularity_features,
    recent_level,
    stage_of,
)
from tests.engine.kernels import count, current
from tests.engine.reference import PopularityReference, quality

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
        count(popularity, item, history_length, ITEMS, weight)
        reference.record(item, history_length, weight)
    item = events[-1][0]
    assert popularity.features[0, item] == pytest.approx(reference.all_time(item), abs=1e-4)
    assert popularity.features[1, item] == pytest.approx(reference.recent(item), abs=1e-4)
    assert recent_level(popularity.arrays, item) == pytest.approx(reference.recent(item), abs=1e-4)
    assert popularity.features[AGE, item] == pytest.approx(reference.age(item), abs=1e-6)
    for stage in range(7):
        if popularity._stage_total[stage] > 0:
            expected = reference.stage_ratio(stage, item)
            assert popularity.stage_ratio[stage, item] == pytest.approx(expected, abs=1e-3)


@given(taken, st.integers(0, 5))
def test_what_is_current_is_what_the_formulas_say_of_every_item(
    events: list[tuple[int, int, float]], stage: int
) -> None:
    popularity, reference = Popularity(), PopularityReference()
    for item, history_length, weight in events:
        count(popularity, item, history_length, ITEMS, weight)
        reference.record(item, history_length, weight)
    items = np.array(sorted({item for item, _, _ in events}), np.int32)
    features, ratios = current(popularity, items, stage)
    for i, item in enumerate(items.tolist()):
        expected = [reference.all_time(item), reference.recent(item), reference.age(item)]
        assert features[:3, i] == pytest.approx(expected, abs=1e-4)
        for s in range(2):
            if popularity._stage_total[stage + s] > 0:
                ratio = reference.stage_ratio(stage + s, item)
                assert ratios[s, i] == pytest.approx(ratio, abs=1e-3)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 10).map(float)), min_size=1))
def test_quality_is_the_shrunk_mean_of_standardised_ratings(
    values: list[tuple[int, float]],
) -> None:
    popularity = Popularity()
    for item, value in values:
        count(popularity, item, 0, 5, 1.0, value)
    for item in {item for item, _ in values}:
        expected = quality(values, item)
        assert popularity.features[QUALITY, item] == pytest.approx(expected, abs=1e-4)


def test_an_item_without_ratings_is_of_average_quality() -> None:
    popularity = Popularity()
    for value in (1.0, 5.0, None):
        count(popularity, 0 if value else 1, 0, 2, 1.0, value)
    assert popularity.features[QUALITY, 1] == 0.0


def test_an_item_that_nobody_took_ages_from_when_it_was_introduced() -> None:
    popularity = Popularity()
    for at in range(300):
        if at == 100:
            popularity.introduce(1)
        count(popularity, 0, 0, 2, 1.0)
    features, _ = current(popularity, np.array([1], np.int32), 0)
    assert features[AGE, 0] == pytest.approx(np.log(3.0))


def test_trending_are_the_items_of_greatest_recent_share() -> None:
    popularity, rng = Popularity(), np.random.default_rng(0)
    for step in range(6000):
        item = int(rng.integers(0, 500)) if step % 3 else int(rng.integers(0, 60) + step // 20)
        count(popularity, item, 3, 1000, 1.0)
    assert len(popularity.trending_items) == TRENDING_ITEMS
    listed = popularity.trending.tolist()
    best = np.argsort(-popularity._recent, kind="stable")[:TRENDING_ITEMS].tolist()
    assert len(set(listed)) == TRENDING_ITEMS
    assert set(listed) == set(best)


@pytest.mark.parametrize("items", [1, 7, 31, 32, 33, 500])
def test_every_item_is_refreshed_within_32_events(items: int) -> None:
    popularity = Popularity()
    popularity.features[:] = np.nan
    for _ in range(32):
        count(popularity, 0, 3, items, 1.0)
    assert np.isfinite(popularity.features[:QUALITY, :items]).all()
    assert np.isnan(popularity.features[:, items:]).all()


def test_scaling_old_counts_down_changes_no_feature() -> None:
    plain, scaled = Popularity(), Popularity()
    scaled._inflation[0] = before = 0.98e12  # about ninety events from the limit
    rng = np.random.default_rng(0)
    for item in rng.integers(0, ITEMS, 200).tolist():
        for popularity in (plain, scaled):
            count(popularity, item, 3, ITEMS, 1.0)
    assert scaled._inflation[0] < before
    np.testing.assert_allclose(scaled.features, plain.features, rtol=1e-4)
    np.testing.assert_array_equal(scaled.stage_ratio, plain.stage_ratio)
    assert set(scaled.trending.tolist()) == set(plain.trending.tolist())


@pytest.mark.parametrize("half_life", [3000, 50])
def test_after_its_half_life_an_event_counts_half_in_the_recent_popularity(half_life: int) -> None:
    popularity = Popularity(half_life)

    def recent() -> float:
        return float(np.exp(popularity.features[1, 0] - 11.5) - 1e-5)

    count(popularity, 0, 0, 2, 1.0)
    at_first = recent()
    for _ in range(half_life):
        count(popularity, 1, 0, 2, 1.0)
    assert recent() == pytest.approx(at_first / 2, rel=0.01)


def test_an_item_that_nobody_took_is_about_zero() -> None:
    popularity = Popularity()
    for _ in range(40):
        count(popularity, 0, 0, 3, 1.0)
    np.testing.assert_allclose(popularity.features[:2, 1:3], 0.0, atol=0.02)


def test_forgetting_takes_back_what_was_counted() -> None:
    popularity = Popularity()
    for item, weight in ((4, 0.4), (5, 1.0), (4, 1.0)):
        count(popularity, item, 0, ITEMS, weight)
    weights, marks = np.array([0.4, 1.0], np.float32), np.array([mark_of(1, 102), mark_of(2, 255)])
    popularity.forget(np.array([4, 5], np.int32), weights, marks)
    assert popularity.counts[[4, 5]].tolist() == [1.0, 0.0]
    assert popularity.counts.min() >= 0
    assert popularity._recent[[4, 5]] == pytest.approx([popularity._inflation[0], 0.0])
    assert popularity.features[RECENT, 5] == pytest.approx(0.0, abs=0.02)


def test_a_user_counts_once_in_the_recent_popularity_of_an_item() -> None:
    often, once = Popularity(), Popularity()
    for popularity, at_first in ((often, [3, 3, 3, 3]), (once, [0, 1, 2, 3])):
        mark = 0
        for events, item in enumerate(at_first, 1):
            count(popularity, item, 0, ITEMS, 0.4, mark=mark)
            mark = mark_of(events, 102) if item == 3 else 0
    assert recent_level(often.arrays, 3) == pytest.approx(recent_level(once.arrays, 3), rel=1e-6)


def test_stages_are_binary_logarithms_with_a_share_in_the_next() -> None:
    assert [stage_of(n) for n in (0, 1, 3, 7)] == [(0, 0), (1, 0), (2, 0), (3, 0)]
    stage, share = stage_of(2)
    assert (stage, share) == (1, pytest.approx(0.585, abs=1e-3))
    assert stage_of(10**9)[0] == 14  # its next one is the last


def test_a_user_between_two_stages_gets_the_mean_of_their_ratios() -> None:
    popular = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], np.float32)
    ratios = np.array([[0, 0], [4, 8], [8, 0]], np.float32)
    out = np.empty((5, 2), np.float32)
    popularity_features(popular, ratios, 1, np.float32(0.25), 2, out)
    np.testing.assert_allclose(out, [[1, 2], [3, 4], [5, 6], [7, 8], [5, 6]])
