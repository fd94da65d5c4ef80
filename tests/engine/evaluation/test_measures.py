"""Ranking measures against hand-computed numbers."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from engine.evaluation.measures import RankingMeasures, percentiles

TEN = [str(n) for n in range(10)]


def test_measures_of_three_queries_by_hand() -> None:
    measures = RankingMeasures()
    measures.add(TEN, "0")  # NDCG 1, RR 1
    measures.add(TEN, "2")  # NDCG 1/2, RR 1/3
    measures.add(TEN, "elsewhere")
    assert measures.ndcg == pytest.approx(1.5 / 3)
    assert measures.hit_rate == pytest.approx(2 / 3)
    assert measures.as_dict(items=40) == {
        "ndcg@10": 0.5, "hr@10": 0.66667, "mrr@10": 0.44444, "coverage@10": 0.25, "queries": 3,
    }  # fmt: skip


@pytest.mark.parametrize("position", range(10))
def test_each_position_has_its_gain(position: int) -> None:
    measures = RankingMeasures()
    measures.add(TEN, str(position))
    assert measures.ndcg == pytest.approx(1 / log2(position + 2))
    assert measures.as_dict()["mrr@10"] == pytest.approx(1 / (position + 1), abs=1e-5)


def test_the_eleventh_is_a_miss_and_not_shown() -> None:
    measures = RankingMeasures()
    measures.add([*TEN, "late"], "late")
    assert measures.hit_rate == measures.ndcg == 0
    assert measures.as_dict(items=11)["coverage@10"] == pytest.approx(10 / 11, abs=1e-5)


def test_an_empty_list_is_a_miss_and_no_query_is_zero() -> None:
    measures = RankingMeasures()
    assert measures.as_dict(items=0) == {
        "ndcg@10": 0, "hr@10": 0, "mrr@10": 0, "coverage@10": 0, "queries": 0,
    }  # fmt: skip
    measures.add([], "x")
    assert (measures.queries, measures.hit_rate) == (1, 0)


def test_percentiles_interpolate_between_ranks() -> None:
    assert percentiles(np.arange(1001)) == {"p50": 500.0, "p99": 990.0, "p99_9": 999.0}
    assert percentiles([1.0, 2.0]) == {"p50": 1.5, "p99": 1.99, "p99_9": 1.999}
    assert percentiles([]) == {}
