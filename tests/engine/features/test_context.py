"""A user's context against the words of its definition."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.features.context import Contexts, context_of, move_levels
from engine.graph import NeighbourRows

gaps = st.lists(st.integers(0, 200_000), min_size=1, max_size=90)


def session(times: list[int]) -> int:
    """How many items before the last are within a minute each of it."""
    last, length = times[-1], 0
    for q, time in enumerate(times[-2::-1][:19], 1):
        if last - time > 60_000 * q:
            break
        length += 1
    return length


@given(gaps, st.integers(1, 500), st.floats(-3, 12), st.floats(-3, 3))
def test_a_context_is_what_its_definition_says(
    steps: list[int], length: int, popularity: float, quality: float
) -> None:
    rows, times, now = NeighbourRows(64), [], 1_700_000_000_000
    for item, step in enumerate(steps):
        now += step
        times.append(now)
        rows.insert(3, item, 1.0, now)
    contexts, found = Contexts(), np.empty(5, np.float32)
    contexts.lengths[3], contexts.levels[3] = length, (popularity, quality)
    context_of(contexts.arrays, rows.arrays, 3, found)
    expected = [
        1.0, log(length + 1) / 3 - 1, (popularity - 5) / 2, log(session(times[-64:]) + 1) - 1,
        quality,
    ]  # fmt: skip
    assert found == pytest.approx(expected, abs=1e-4)


def test_levels_start_at_the_first_item_and_move_towards_the_next() -> None:
    contexts = Contexts()
    move_levels(contexts.arrays, 5, 8.0, 1.0, 0)
    assert contexts.levels[5].tolist() == [8.0, 1.0]
    move_levels(contexts.arrays, 5, 4.0, -1.0, 0)
    assert contexts.levels[5] == pytest.approx([0.7 * 8 + 0.3 * 4, 0.3 * 1 - 0.7 * 1])
    assert contexts.lengths[5] == 2
    contexts.forget(5)
    assert not contexts.levels.any()
    assert not contexts.lengths.any()
