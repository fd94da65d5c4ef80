"""The popularity baselines against counts over the list of all events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evaluation.baselines import PopularityBaseline
from tests.engine.reference import popularity_counts

events = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 25).map("m{}".format)), max_size=80
)


@given(events, st.sampled_from([None, 3.0, 50.0]))
def test_the_ten_most_taken_that_the_user_has_not_taken(
    taken: list[tuple[str, str]], half_life: float | None
) -> None:
    baseline = PopularityBaseline(half_life)
    for user, item in taken:
        baseline.observe(user, item)
    counts = popularity_counts(taken, half_life)
    for user in "abcd":
        ranked = baseline.recommend(user)
        left = {item: n for item, n in counts.items() if (user, item) not in taken}
        best = sorted(left.values(), reverse=True)[:10]
        assert len(set(ranked)) == len(ranked)
        # Items that tie may stand in any order: their counts may not.
        assert [left[item] for item in ranked] == pytest.approx(best)


def test_scaling_old_counts_down_keeps_the_order() -> None:
    plain, scaled = PopularityBaseline(20.0), PopularityBaseline(20.0)
    scaled._inflation = 0.9e12
    for n in range(60):
        for baseline in (plain, scaled):
            baseline.observe("a", f"m{n * n % 17}")
    assert scaled._inflation < 1e6
    assert scaled.recommend("b") == plain.recommend("b")
