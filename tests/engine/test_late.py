"""Interactions that are told late: as if told in time, as far as the engine promises it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import EngineSettings, Recommender
from engine.events import Kind
from tests.engine.builders import ids, took
from tests.engine.reference import TransitionsReference

GNN = EngineSettings(model="gnn", neighbours=16, dimensions=8)
KINDS: tuple[Kind, ...] = ("purchase", "view", "cart")


def told(order: list[int], items: list[int]) -> Recommender:
    """An engine after events on these items, one a second, told in another order."""
    made = Recommender(GNN)
    for other in range(12):
        made.observe(took("other", f"i{other}", other))
    for at in order:
        item = items[at]
        made.observe(took("ann", f"i{item}", 100_000 + 1000 * at, kind=KINDS[item % 3]))
    return made


@settings(max_examples=40)
@given(st.data(), st.lists(st.integers(0, 11), min_size=1, max_size=24))
def test_history_edges_and_counts_are_those_of_the_order_in_time(
    data: st.DataObject, items: list[int]
) -> None:
    """Whatever the order within windows of six is; items may come again."""
    order = [
        at
        for start in range(0, len(items), 6)
        for at in data.draw(st.permutations(range(start, min(start + 6, len(items)))))
    ]
    late, punctual = told(order, items), told(sorted(order), items)
    for left, right in (
        (late.graph.users, punctual.graph.users), (late.graph.items, punctual.graph.items),
    ):  # fmt: skip
        np.testing.assert_array_equal(left.edges, right.edges)
        np.testing.assert_array_equal(left.times, right.times)
        np.testing.assert_array_equal(left.degree, right.degree)
    np.testing.assert_array_equal(late.contexts.lengths, punctual.contexts.lengths)
    np.testing.assert_allclose(late.popularity.counts, punctual.popularity.counts)
    assert late.popularity.events == punctual.popularity.events


@settings(max_examples=40)
@given(st.permutations(range(12)))
def test_pairs_of_neighbours_in_time_follow_each_other_in_transitions(order: list[int]) -> None:
    """The directed pairs are those in time; weights, but for what lay between when it was told."""
    late, reference = told(order, list(range(12))), TransitionsReference()
    for user in ("other", "ann"):
        for at in range(12):
            weight = (1.0, 0.4, 0.8)[at % 3] if user == "ann" else 1.0
            reference.record(list(range(at))[::-1], at, weight)
    names = late.items.names
    for item in range(12):
        row = late.transitions.row(item)
        own = int(names[item][1:])
        held = {int(names[other][1:]): weights for other, weights in row.items()}
        expected = {b: tuple(w) for (a, b), w in reference.weights.items() if a == own}
        assert held.keys() == expected.keys()
        for other, (directed, symmetric) in held.items():
            assert (directed > 0) == (expected[other][0] > 0)
            assert symmetric >= expected[other][1] - 1e-4
            assert directed >= expected[other][0] - 1e-4
            if other == own + 1 and order == sorted(order):
                assert (directed, symmetric) == pytest.approx(expected[other], abs=1e-4)


def test_an_item_told_late_is_not_what_the_next_answer_builds_on_most() -> None:
    late = told([0, 1, 2, 4, 3], [1, 2, 4, 3, 5])
    number = late.users.find("ann")
    assert number is not None
    history = [late.items.names[item] for item in late.history(number)]
    assert history == ["i5", "i3", "i4", "i2", "i1"]
    assert "i3" not in ids(late.recommend("ann", 50))


def test_equal_timestamps_keep_the_order_of_arrival() -> None:
    made = Recommender(GNN)
    for item, at in (("a", 5), ("b", 5), ("c", 9), ("d", 5), ("e", 5)):
        made.observe(took("ann", item, at))
    names = [made.items.names[item] for item in made.history(0)]
    assert names == ["c", "e", "d", "b", "a"]


def test_a_late_item_moves_levels_less_than_a_fresh_one() -> None:
    moved = []
    for at in (50, 0):
        made = told(list(range(6)), [1, 2, 3, 4, 5, 6])
        user = made.users.find("ann")
        before = made.contexts.levels[user].copy()
        made.observe(took("ann", "fresh", 100_000 + 1000 * at - 1, kind="purchase"))
        moved.append(abs(made.contexts.levels[user] - before)[0])
    assert 0 < moved[1] < moved[0] / 4
