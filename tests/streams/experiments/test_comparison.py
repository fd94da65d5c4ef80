"""The intervals of arms hold what they say, also where a user's queries depend on each other."""

from __future__ import annotations

import numpy as np
import pytest

from streams.experiments import comparison
from streams.experiments.comparison import Comparison, Sums


def filled(rng: np.random.Generator, users: int, mean: float) -> Sums:
    """Users with a taste of their own for the lists, and some with many more queries."""
    sums = Sums()
    for user in range(users):
        own = rng.beta(4 * mean, 4 * (1 - mean))
        for _ in range(int(rng.geometric(0.1))):
            sums.add(f"u{user}", float(rng.random() < own))
    return sums


def test_a_ratio_and_its_interval_are_those_of_the_sums_over_users() -> None:
    rng = np.random.default_rng(0)
    told = [(f"u{rng.integers(40)}", float(rng.choice([0.0, 0.5, 1.0]))) for _ in range(900)]
    sums = Sums()
    for user, gain in told:
        sums.add(user, gain)
    of_user: dict[str, list[float]] = {}
    for user, gain in told:
        of_user.setdefault(user, []).append(gain)
    queries = np.array([len(gains) for gains in of_user.values()], float)
    for estimate, totals in (
        (sums.ndcg, np.array([sum(gains) for gains in of_user.values()])),
        (sums.hit_rate, np.array([sum(g > 0 for g in gains) for gains in of_user.values()])),
    ):
        ratio = totals.sum() / queries.sum()
        n = len(queries)
        error = np.sqrt(((totals - ratio * queries) ** 2).sum() * n / (n - 1)) / queries.sum()
        assert estimate.mean == pytest.approx(ratio, abs=1e-5)
        assert estimate.half == pytest.approx(1.96 * error, abs=1e-5)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        estimate = filled(rng, 120, 0.3).hit_rate
        assert estimate.half is not None
        held += abs(estimate.mean - 0.3) <= estimate.half
    assert 0.91 <= held / 300 <= 0.985


def test_arms_are_told_against_the_first() -> None:
    rng = np.random.default_rng(2)
    compared = Comparison([("one", "a"), ("one", "b"), ("two", "x"), ("two", "y")])
    for number in range(3_000):
        user = f"u{number % 300}"
        in_b = number % 2 == 1
        gain = float(rng.random() < (0.5 if in_b else 0.2))
        compared.add({"one": "b" if in_b else "a", "two": "x"}, user, gain)
    a, b, x, y = compared.figures()
    assert (a.difference, x.difference) == (None, None)
    assert b.difference is not None
    assert b.difference.half is not None
    assert b.difference.mean - b.difference.half > 0.2
    assert (a.queries, b.queries, x.queries) == (1_500, 1_500, 3_000)
    assert (y.users, y.queries, y.hit_rate.mean, y.hit_rate.half) == (0, 0, 0.0, None)


def test_memory_is_bounded_and_no_query_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "_MOST_USERS", 10)
    sums = Sums()
    for number in range(1_000):
        sums.add(f"u{number % 50}", 1.0)
    assert len(sums._of_user) == 10
    assert (sums.queries, sums.hits, sums.hit_rate.mean) == (1_000, 1_000, 1.0)
