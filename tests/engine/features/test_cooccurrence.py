"""What is taken after and around an item, against the formulas."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.features.cooccurrence import NEAR, gather_disliked, without
from engine.features.transitions import Transitions
from engine.features.user_items import UserItems
from tests.engine.kernels import gather, put, record
from tests.engine.reference import TransitionsReference

ITEMS = 10
every = np.arange(ITEMS, dtype=np.int32)
Told = list[tuple[list[int], int, float]]
steps = st.lists(
    st.tuples(
        st.lists(st.integers(0, ITEMS - 1), max_size=5),
        st.integers(0, ITEMS - 1),
        st.sampled_from([0.4, 1.0]),
    ),
    max_size=20,
)
histories = st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=NEAR + 4)
many_counts = st.lists(st.integers(0, 50), min_size=ITEMS, max_size=ITEMS)


def recorded(told: Told) -> tuple[Transitions, TransitionsReference]:
    transitions, reference = Transitions(ITEMS), TransitionsReference()
    for before, item, weight in told:
        record(transitions, np.array(before, np.int32), item, weight)
        reference.record(before, item, weight)
    return transitions, reference


def gathered(
    transitions: Transitions,
    history: list[int],
    disliked: set[int],
    counts: list[int],
    events: int,
    candidates: NDArray[np.int32],
) -> NDArray[np.float32]:
    """The six features of the candidates: float32[6, m]."""
    position = np.full(ITEMS, -1, np.int32)
    position[candidates] = np.arange(len(candidates))
    liked = [item for item in history if item not in disliked]
    out = np.full((8, len(candidates) + 2), np.nan, np.float32)
    gather(
        transitions, np.array(history, np.int32), np.array(liked, np.int32),
        np.array(counts, np.float32), events, candidates, position, out[:3], out[4:7],
    )  # fmt: skip
    assert np.isnan(out[3]).all()
    assert np.isnan(out[7]).all()
    assert np.isnan(out[:, len(candidates) :]).all()
    return out[[0, 1, 2, 4, 5, 6], : len(candidates)]


def expected_around(
    taken: TransitionsReference, liked: list[int], counts: list[int], events: int, j: int
) -> list[float]:
    """Cosine, lift and what follows the last item, of an item."""
    cosine = lift = 0.0
    for q, i in enumerate(liked):
        long = taken.weights.get((i, j), [0.0, 0.0])[1]
        cosine += 0.8**q * long / sqrt((counts[i] + 1) * (counts[j] + 1))
        lift += 0.8**q * long / ((counts[i] + 5) * (counts[j] + 5))
    follows = 0.0
    if liked:
        after = {k: w[0] for (i, k), w in taken.weights.items() if i == liked[0]}
        follows = after.get(j, 0.0) / (1 + sum(after.values()))
    return [log(1 + 100 * cosine), log(1 + (events + 1) * lift), log(1 + 1000 * follows)]


@given(steps, histories, st.sets(st.integers(0, ITEMS - 1)), many_counts)
def test_each_item_has_what_the_formulas_say(
    told: Told, history: list[int], disliked: set[int], counts: list[int]
) -> None:
    transitions, reference = recorded(told)
    found = gathered(transitions, history, disliked, counts, len(told), every)
    following = reference.scores(history, [float(n) for n in counts], len(told), ITEMS)
    np.testing.assert_allclose(found[:3], following, rtol=1e-3, atol=1e-4)
    liked = [item for item in history[:NEAR] if item not in disliked]
    around = [expected_around(reference, liked, counts, len(told), j) for j in range(ITEMS)]
    np.testing.assert_allclose(found[3:].T, around, rtol=1e-4, atol=1e-5)


@given(steps, histories, st.sets(st.integers(0, ITEMS - 1), min_size=1))
def test_candidates_score_in_company_as_they_do_among_all(
    told: Told, history: list[int], some: set[int]
) -> None:
    transitions, _ = recorded(told)
    candidates = np.array(sorted(some), np.int32)
    counts = [1] * ITEMS
    of_all = gathered(transitions, history, set(), counts, 9, every)
    of_some = gathered(transitions, history, set(), counts, 9, candidates)
    np.testing.assert_allclose(of_some, of_all[:, candidates], rtol=1e-5, atol=1e-6)


@given(st.lists(st.integers(0, 5), max_size=8), st.lists(st.integers(0, 5), max_size=4))
def test_what_is_disliked_leads_nowhere(history: list[int], disliked: list[int]) -> None:
    lists, left = UserItems(1), np.empty(8, np.int32)
    for item in disliked:
        put(lists, 0, item, 1.0)
    left = left[: without(np.array(history, np.int32), lists.arrays, 0, left)]
    assert left.tolist() == [item for item in history if item not in disliked]


@given(steps, st.lists(st.integers(0, ITEMS - 1), max_size=3))
def test_what_is_around_disliked_items_is_near_the_nearest_of_them(
    told: Told, sources: list[int]
) -> None:
    transitions, reference = recorded(told)
    out = np.full(ITEMS, np.nan, np.float32)
    lists = UserItems(1)
    for source in sources:
        put(lists, 0, source, 1.0)
    gather_disliked(transitions.arrays, lists.arrays, 0, every, out)
    for j in range(ITEMS):
        near = [0.0]
        for source in sources:
            row = {pair[1]: w[1] for pair, w in reference.weights.items() if pair[0] == source}
            near.append(row.get(j, 0.0) / max(row.values(), default=1.0))
        assert out[j] == pytest.approx(max(near), rel=1e-4)
