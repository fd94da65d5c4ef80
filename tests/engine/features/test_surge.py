"""Faded counts against the list of all events."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.features.faded import mark_of
from engine.features.surge import Surge, record_surge, surge_feature


def feature(surge: Surge, items: list[int]) -> list[float]:
    out = np.empty(len(items), np.float32)
    surge_feature(surge.arrays, np.array(items, np.int32), False, out)
    return [float(value) for value in out]


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.4, 1.0])), max_size=40))
def test_an_event_weighs_half_after_300_others(told: list[tuple[int, float]]) -> None:
    surge = Surge()
    for item, weight in told:
        record_surge(surge.arrays, item, weight, 0, 0)
    for item in range(5):
        share = sum(
            weight * 0.5 ** (age / 300) * log(2) / 300
            for age, (taken, weight) in enumerate(reversed(told))
            if taken == item
        )
        assert feature(surge, [item])[0] == pytest.approx(11.5 + log(1e-5 + share), abs=1e-3)


def test_counts_never_overflow_and_what_is_old_is_nothing() -> None:
    surge = Surge()
    record_surge(surge.arrays, 1, 1.0, 0, 0)
    for _ in range(30_000):
        record_surge(surge.arrays, 2, 1.0, 0, 0)
    assert feature(surge, [1, 2]) == pytest.approx([11.5 + log(1e-5), 11.5], abs=3e-3)
    assert surge.inflation[0] <= 1e12
    surge.clear(2)
    assert feature(surge, [2]) == feature(surge, [1])


def test_a_user_counts_once_and_what_is_left_of_it_is_taken_back() -> None:
    surge = Surge()
    record_surge(surge.arrays, 1, 0.4, 0, 1)
    record_surge(surge.arrays, 1, 0.4, mark_of(1, 102), 2)
    record_surge(surge.arrays, 2, 0.4, 0, 3)
    assert surge.counts[1] == pytest.approx(surge.counts[2] * 0.5 ** (1 / 300))
    surge.forget(np.array([1], np.int32), np.array([mark_of(2, 102)]), 3)
    assert surge.counts[1] == pytest.approx(0, abs=1e-12)
