"""Item-to-item transitions against dicts, and what a full row does."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.transitions import Transitions
from tests.engine.reference import TransitionsReference

ITEMS = 12
steps = st.lists(
    st.tuples(
        st.lists(st.integers(0, ITEMS - 1), max_size=6),
        st.integers(0, ITEMS - 1),
        st.sampled_from([0.4, 1.0]),
    ),
    max_size=25,
)
histories = st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=6)


def recorded(
    taken: list[tuple[list[int], int, float]], length: int
) -> tuple[Transitions, TransitionsReference]:
    transitions, reference = Transitions(length), TransitionsReference()
    for history, item, weight in taken:
        transitions.record(np.array(history, np.int32), item, weight)
        reference.record(history, item, weight)
    return transitions, reference


@given(steps, histories, st.lists(st.integers(0, 50), min_size=ITEMS, max_size=ITEMS))
def test_below_its_bound_a_row_scores_as_the_reference(
    taken: list[tuple[list[int], int, float]], history: list[int], counts: list[int]
) -> None:
    transitions, reference = recorded(taken, length=ITEMS)
    out = np.full((8, ITEMS + 3), np.nan, np.float32)
    transitions.scores(
        np.array(history, np.int32), np.array(counts, np.float32), len(taken), ITEMS, out
    )
    expected = reference.scores(history, [float(n) for n in counts], len(taken), ITEMS)
    np.testing.assert_allclose(out[:3, :ITEMS], expected, rtol=1e-3, atol=1e-4)
    assert np.isnan(out[3:]).all()
    assert np.isnan(out[:, ITEMS:]).all()


@given(steps, histories)
def test_the_strongest_source_is_the_one_of_most_weight(
    taken: list[tuple[list[int], int, float]], history: list[int]
) -> None:
    transitions, reference = recorded(taken, length=ITEMS)
    found = transitions.strongest(np.array(history, np.int32), np.arange(ITEMS, dtype=np.int32))
    for target, source in enumerate(found.tolist()):
        expected = reference.strongest(history, target)
        if expected < 0:
            assert source == -1
        else:  # which of two that tie is named does not matter
            assert source in history
            strength = reference.weights[target, source][2]
            np.testing.assert_allclose(strength, reference.weights[target, expected][2], rtol=1e-5)


@given(steps, st.integers(1, 5))
def test_a_full_row_keeps_its_bound_and_the_newest_transition(
    taken: list[tuple[list[int], int, float]], length: int
) -> None:
    transitions = Transitions(length)
    for history, item, weight in taken:
        transitions.record(np.array(history, np.int32), item, weight)
        others = [source for source in history if source != item]
        if others:
            assert item in transitions.items[others[-1], : transitions.degree[others[-1]]]
            assert others[-1] in transitions.items[item, : transitions.degree[item]]
        for row, used in zip(transitions.items, transitions.degree, strict=True):
            assert used <= length
            assert len(set(row[:used].tolist())) == used


@given(st.permutations([0.4, 0.6, 0.8, 1.0]))
def test_what_a_full_row_evicts_is_its_weakest(weights: list[float]) -> None:
    transitions = Transitions(4)
    source = np.array([0], np.int32)
    for target, weight in enumerate(weights, 1):
        transitions.record(source, target, weight)
    transitions.record(source, 9, 0.1)
    weakest = 1 + weights.index(0.4)
    assert set(transitions.items[0].tolist()) == {1, 2, 3, 4, 9} - {weakest}
    slot = transitions.items[0].tolist().index(9)
    np.testing.assert_allclose(transitions.weights[0, slot], [0.1, 0.1, 0.1], rtol=1e-6)


def test_an_item_does_not_follow_itself() -> None:
    transitions = Transitions(4)
    transitions.record(np.array([3, 3], np.int32), 3, 1.0)
    assert not transitions.degree.any()


@given(steps)
def test_making_room_keeps_every_transition(
    taken: list[tuple[list[int], int, float]],
) -> None:
    assume(taken)
    transitions, _ = recorded(taken, length=ITEMS)
    held = [array.copy() for array in (transitions.items, transitions.weights, transitions.degree)]
    transitions.reserve(5000)
    for before, after in zip(
        held, (transitions.items, transitions.weights, transitions.degree), strict=True
    ):
        np.testing.assert_array_equal(after[: len(before)], before)
        assert len(after) >= 5000
        assert not after[len(before) :].any()
