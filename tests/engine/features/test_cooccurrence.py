"""Cosine, lift and what follows the last item, against their formulas."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.features.cooccurrence import gather_cooccurrence, without
from engine.features.transitions import Transitions
from engine.features.user_items import UserItems
from tests.engine.kernels import put, record
from tests.engine.reference import TransitionsReference

ITEMS = 10
steps = st.lists(
    st.tuples(
        st.lists(st.integers(0, ITEMS - 1), max_size=5),
        st.integers(0, ITEMS - 1),
        st.sampled_from([0.4, 1.0]),
    ),
    max_size=20,
)


def expected(
    taken: TransitionsReference, history: list[int], counts: list[int], events: int, j: int
) -> list[float]:
    """The three values of an item."""
    cosine = lift = 0.0
    for q, i in enumerate(history):
        long = taken.weights.get((i, j), [0.0, 0.0])[1]
        cosine += 0.8**q * long / sqrt((counts[i] + 1) * (counts[j] + 1))
        lift += 0.8**q * long / ((counts[i] + 5) * (counts[j] + 5))
    follows = 0.0
    if history:
        after = {k: w[0] for (i, k), w in taken.weights.items() if i == history[0]}
        follows = after.get(j, 0.0) / (1 + sum(after.values()))
    return [log(1 + 100 * cosine), log(1 + (events + 1) * lift), log(1 + 1000 * follows)]


@given(
    steps,
    st.lists(st.integers(0, ITEMS - 1), max_size=6),
    st.lists(st.integers(0, 50), min_size=ITEMS, max_size=ITEMS),
    st.sets(st.integers(0, ITEMS - 1), min_size=1),
)
def test_each_candidate_has_what_the_formulas_say(
    told: list[tuple[list[int], int, float]], history: list[int], counts: list[int], some: set[int]
) -> None:
    transitions, reference = Transitions(ITEMS), TransitionsReference()
    for before, item, weight in told:
        record(transitions, np.array(before, np.int32), item, weight)
        reference.record(before, item, weight)
    candidates = np.array(sorted(some), np.int32)
    position = np.full(ITEMS, -1, np.int32)
    position[candidates] = np.arange(len(candidates))
    out = np.full((4, len(candidates) + 2), np.nan, np.float32)
    gather_cooccurrence(
        transitions.arrays, np.array(history, np.int32), np.array(counts, np.float32), len(told),
        candidates, position, np.empty((2, ITEMS), np.float32), out[:3],
    )  # fmt: skip
    wanted = [expected(reference, history, counts, len(told), j) for j in candidates.tolist()]
    np.testing.assert_allclose(out[:3, : len(candidates)].T, wanted, rtol=1e-4, atol=1e-5)
    assert np.isnan(out[3]).all()
    assert np.isnan(out[:, len(candidates) :]).all()


@given(st.lists(st.integers(0, 5), max_size=8), st.lists(st.integers(0, 5), max_size=4))
def test_what_is_disliked_leads_nowhere(history: list[int], disliked: list[int]) -> None:
    lists, left = UserItems(1), np.empty(8, np.int32)
    for item in disliked:
        put(lists, 0, item, 1.0)
    left = left[: without(np.array(history, np.int32), lists.arrays, 0, left)]
    assert left.tolist() == [item for item in history if item not in disliked]
