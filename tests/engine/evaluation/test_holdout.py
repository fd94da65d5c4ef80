"""What is held out: each user's fifth, at random or the last, and nothing of it is in training."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Interaction
from engine.datasets import DatasetError, open_dataset
from engine.evaluation.holdout import How, Split, ratings, split_by_time, split_by_user
from engine.evaluation.protocol import by_chance, by_scores, own_items
from engine.evaluation.references import ItemMeanScorer, OracleScorer, PopularityScorer
from tests.engine.builders import stream, took

ML_100K = Path(__file__).parents[4] / "shared" / "data" / "ml-100k"


@st.composite
def streams(draw: st.DrawFn) -> list[Interaction]:
    """Ratings in order of time, no pair of user and item twice."""
    row = st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.integers(0, 50))
    rows = draw(st.lists(row, min_size=1, unique_by=lambda one: one[:2]))
    rows.sort(key=lambda one: one[2])
    return [took(user, f"m{item}", at=at, value=4) for user, item, at in rows]


def pairs(part: list[Interaction]) -> set[tuple[str, str | None]]:
    return {(one.user, one.item) for one in part}


@given(streams(), st.sampled_from(["random", "temporal"]), st.integers(0, 5))
def test_the_parts_are_the_whole_and_share_nothing(
    events: list[Interaction], how: How, seed: int
) -> None:
    split = split_by_user(events, how, seed)
    assert pairs(split.train).isdisjoint(pairs(split.test))
    assert sorted(split.train + split.test, key=events.index) == events
    for part in split:
        assert [one.timestamp for one in part] == sorted(one.timestamp for one in part)
    for user in {one.user for one in events}:
        own = sum(one.user == user for one in events)
        assert sum(one.user == user for one in split.test) == round(own / 5)


@given(streams())
def test_the_temporal_part_is_each_users_last(events: list[Interaction]) -> None:
    split = split_by_user(events, "temporal")
    for held in split.test:
        learnt = [one.timestamp for one in split.train if one.user == held.user]
        assert max(learnt) <= held.timestamp


def test_a_seed_decides_the_random_part_alone() -> None:
    events = ratings(stream(), "stream")
    assert split_by_user(events, "random", 1) == split_by_user(events, "random", 1)
    assert split_by_user(events, "random", 1) != split_by_user(events, "random", 2)
    assert split_by_user(events, "temporal", 1) == split_by_user(events, "temporal", 2)


def test_of_two_ratings_the_last_counts_and_what_rates_nothing_is_left_out() -> None:
    events = [
        took("ann", "m1", at=0, value=1),
        took("ann", "m2", at=1, kind="click"),
        took("ann", "m3", at=2, value=2),
        took("ann", "m1", at=3, value=5),
    ]
    assert ratings(events, "here") == [events[2], events[3]]


def test_a_data_set_without_ratings_is_refused_by_name() -> None:
    with pytest.raises(DatasetError, match="clicks: no interaction has a rating"):
        ratings([took("ann", "m1", kind="click")], "clicks")


def test_halves_by_time() -> None:
    events = stream(events=11)
    assert split_by_time(events) == Split(events[:5], events[5:])


@pytest.mark.long
@pytest.mark.skipif(not ML_100K.is_dir(), reason="MovieLens 100K is not beside the repository")
def test_the_references_are_where_an_independent_program_found_them() -> None:
    # By a program of the laboratory, one random split: the deviation between splits is .003.
    expected = {
        "random": (0.502, 0.672, 0.695), "popularity": (0.549, 0.704, 0.766),
        "item mean": (0.586, 0.726, 0.829), "oracle": (0.697, 0.815, 1.0),
    }  # fmt: skip
    many = {
        "random": (0.584, 0.473, 0.624), "popularity": (0.658, 0.525, 0.718),
        "item mean": (0.717, 0.561, 0.797), "oracle": (0.896, 0.704, 1.0),
    }  # fmt: skip
    temporal_oracle, temporal_many = (0.678, 0.847, 1.0), (0.851, 0.759, 1.0)
    rated = ratings(open_dataset(ML_100K).interactions(), "ml-100k")
    split = split_by_user(rated, "random", 0)
    found = {
        "random": own_items(split, by_chance),
        "popularity": own_items(split, by_scores(PopularityScorer(split.train), 0)),
        "item mean": own_items(split, by_scores(ItemMeanScorer(split.train), 0)),
        "oracle": own_items(split, by_scores(OracleScorer(split.test), 0)),
    }
    for name, slices in found.items():
        assert list(slices["all"].values())[:3] == pytest.approx(expected[name], abs=0.01)
        assert list(slices["ten_or_more"].values())[:3] == pytest.approx(many[name], abs=0.012)
    split = split_by_user(rated, "temporal")
    oracle = own_items(split, by_scores(OracleScorer(split.test), 0))
    assert list(oracle["all"].values())[:3] == pytest.approx(temporal_oracle, abs=0.002)
    assert list(oracle["ten_or_more"].values())[:3] == pytest.approx(temporal_many, abs=0.001)
