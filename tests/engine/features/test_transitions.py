"""Item-to-item transitions against dicts, and what a full row does."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.features.transitions import Transitions
from tests.engine.kernels import record, strongest
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
        record(transitions, np.array(history, np.int32), item, weight)
        reference.record(history, item, weight)
    return transitions, reference


@given(steps)
def test_taking_all_back_leaves_no_weight(taken: list[tuple[list[int], int, float]]) -> None:
    transitions, _ = recorded(taken, length=ITEMS)
    for history, item, weight in taken:
        transitions.take_back(np.array(history, np.int32), item, weight)
    for item in range(ITEMS):
        for weights in transitions.row(item).values():
            assert weights == pytest.approx((0.0, 0.0), abs=1e-4)


@settings(max_examples=40)
@given(steps, st.data())
def test_taking_one_back_leaves_what_the_others_recorded(
    taken: list[tuple[list[int], int, float]], data: st.DataObject
) -> None:
    # An item that is its own source, or twice in a history, is never counted by the engine.
    assume(taken and all(item not in h and len(set(h)) == len(h) for h, item, _ in taken))
    transitions, _ = recorded(taken, length=ITEMS)
    history, item, weight = taken.pop(data.draw(st.integers(0, len(taken) - 1)))
    transitions.take_back(np.array(history, np.int32), item, weight)
    _, reference = recorded(taken, length=ITEMS)
    for source in range(ITEMS):
        for target, weights in transitions.row(source).items():
            expected = reference.weights.get((source, target), [0.0, 0.0])
            assert weights == pytest.approx(expected, abs=1e-4)


def test_a_row_moves_to_larger_blocks_and_others_take_the_ones_it_left() -> None:
    transitions = Transitions(200)
    source = np.array([0], np.int32)
    blocks = set()
    for target in range(1, 151):
        record(transitions, source, target, float(target))
        blocks.add((int(transitions.start[0]), int(transitions.capacity[0])))
        row = transitions.row(0)
        assert sorted(row) == list(range(1, target + 1))
        assert all(row[other][0] == pytest.approx(other) for other in row)
    assert [capacity for _, capacity in sorted(blocks)] == [16, 64, 200]
    held = [(int(transitions.start[item]), int(transitions.capacity[item])) for item in range(151)]
    ends = sorted((first, first + capacity) for first, capacity in held)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ends))
    left = min(start for start, capacity in blocks if capacity == 16)
    assert left in [start for start, _ in held[1:]]


@given(steps, histories)
def test_the_strongest_source_is_the_one_of_most_weight(
    taken: list[tuple[list[int], int, float]], history: list[int]
) -> None:
    transitions, reference = recorded(taken, length=ITEMS)
    found = strongest(transitions, np.array(history, np.int32), np.arange(ITEMS, dtype=np.int32))
    for target, source in enumerate(found.tolist()):
        expected = reference.strongest(history, target)
        if expected < 0:
            assert source == -1
        else:  # which of two that tie is named does not matter
            assert source in history
            strength = reference.weights[target, source][1]
            np.testing.assert_allclose(strength, reference.weights[target, expected][1], rtol=1e-5)


@given(steps, st.integers(1, 5))
def test_a_full_row_keeps_its_bound_and_the_newest_transition(
    taken: list[tuple[list[int], int, float]], length: int
) -> None:
    transitions = Transitions(length)
    for history, item, weight in taken:
        record(transitions, np.array(history, np.int32), item, weight)
        others = [source for source in history if source != item]
        if others:
            assert item in transitions.row(others[-1])
            assert others[-1] in transitions.row(item)
        for other in range(ITEMS):
            assert len(transitions.row(other)) == transitions.degree[other] <= length


@given(st.permutations([0.4, 0.6, 0.8, 1.0]))
def test_what_a_full_row_evicts_is_its_weakest(weights: list[float]) -> None:
    transitions = Transitions(4)
    source = np.array([0], np.int32)
    for target, weight in enumerate(weights, 1):
        record(transitions, source, target, weight)
    record(transitions, source, 9, 0.1)
    weakest = 1 + weights.index(0.4)
    assert set(transitions.row(0)) == {1, 2, 3, 4, 9} - {weakest}
    assert transitions.row(0)[9] == pytest.approx((0.1, 0.1))


def test_of_transitions_as_long_ago_the_weakest_is_the_one_that_leads_less() -> None:
    transitions = Transitions(2)
    # Both have the same long weight in the row of 0; only 2 was taken after it.
    record(transitions, np.array([1], np.int32), 0, 1.0)
    record(transitions, np.array([0], np.int32), 2, 1.0)
    record(transitions, np.array([0], np.int32), 3, 0.5)
    assert set(transitions.row(0)) == {2, 3}


def test_an_item_does_not_follow_itself() -> None:
    transitions = Transitions(4)
    record(transitions, np.array([3, 3], np.int32), 3, 1.0)
    assert not transitions.degree.any()


@given(steps)
def test_making_room_keeps_every_transition(
    taken: list[tuple[list[int], int, float]],
) -> None:
    assume(taken)
    transitions, _ = recorded(taken, length=ITEMS)
    held = [transitions.row(item) for item in range(ITEMS)]
    transitions.reserve(5000)
    assert [transitions.row(item) for item in range(ITEMS)] == held
    assert len(transitions.degree) >= 5000
    assert not transitions.degree[ITEMS:].any()
