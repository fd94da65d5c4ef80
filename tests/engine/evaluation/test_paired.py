"""Paired differences over users: p beside all sign flips, intervals beside the normal one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evaluation.paired import DRAWS, holm, paired

values = st.floats(-1, 1, allow_nan=False).map(lambda value: round(value, 3))


@given(st.lists(values, min_size=1, max_size=9))
def test_p_is_that_of_all_sign_flips(differences: list[float]) -> None:
    column = np.array(differences)
    flips = np.array(list(product((-1.0, 1.0), repeat=len(column)))) @ column
    exact = float((np.abs(flips) >= abs(column.sum()) - 1e-9).mean())
    found = paired(column[:, None])
    assert found.mean[0] == pytest.approx(column.mean())
    # Five deviations of a share of as many draws.
    assert found.p[0] == pytest.approx(exact, abs=5 * 0.5 / DRAWS**0.5)


def test_the_interval_is_nearly_the_normal_one_and_covers_the_mean() -> None:
    column = np.random.default_rng(3).normal(0.02, 0.1, 400)
    found = paired(column[:, None])
    half = 1.96 * column.std() / 20
    assert found.low[0] == pytest.approx(column.mean() - half, abs=0.06 * half)
    assert found.high[0] == pytest.approx(column.mean() + half, abs=0.06 * half)
    assert found.p[0] < 0.001


def test_comparisons_side_by_side_are_those_alone() -> None:
    both = np.random.default_rng(4).normal(0.0, 0.1, (50, 2))
    together = paired(both)
    for place in range(2):
        alone = paired(both[:, place : place + 1])
        for name in ("mean", "low", "high", "p"):
            assert getattr(alone, name)[0] == pytest.approx(getattr(together, name)[place])


def test_no_difference_is_no_evidence_and_chance_is_rarely_taken_for_one() -> None:
    assert paired(np.zeros((30, 1))).p[0] == 1.0
    rng = np.random.default_rng(5)
    p = paired(rng.normal(0.0, 0.1, (60, 300))).p
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=5 * (0.05 * 0.95 / 300) ** 0.5)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
