"""Distances of distributions: small while a stream stays as it is, great once its ids change."""

from __future__ import annotations

from itertools import islice

from benchmarks.drift_limits import distance, distances, renamed
from engine import EngineSettings
from engine.datasets import Synthetic


def test_a_distance_is_the_greatest_difference_of_cumulative_shares() -> None:
    assert distance([1, 2, 1], [10, 20, 10]) == 0.0
    assert distance([4, 0, 0], [0, 0, 9]) == 1.0
    assert distance([5, 5, 0], [0, 10, 0]) == 0.5


def test_items_that_are_named_in_another_way_are_far_from_the_part_before() -> None:
    data = Synthetic(users=300, items=60, seed=1)
    events = list(islice(data.interactions(), 3_000))
    settings = EngineSettings(model="gnn")
    found = distances(settings, [], renamed(events, 2_500), part=500)
    assert {what: len(each) for what, each in found.items()} == dict.fromkeys(
        ("scores", "recommended", "taken"), 5
    )
    for what in ("recommended", "taken"):
        *_, steady, drifted = found[what]
        assert steady < 0.2 < drifted, what
