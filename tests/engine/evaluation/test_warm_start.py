"""The second half by itself is measured as it is in a run over the whole."""

from __future__ import annotations

import pytest

from engine import Recommender
from engine.evaluation.holdout import split_by_time
from engine.evaluation.measures import RankingMeasures
from engine.evaluation.prequential import PrequentialEvaluator
from engine.evaluation.warm_start import SecondHalf
from tests.engine.builders import WITHOUT_TEXT, mixed, trained


@pytest.mark.parametrize("seed", [0, 1])
def test_it_says_what_the_prequential_evaluator_says_of_the_same_queries(seed: int) -> None:
    halves = split_by_time(mixed(seed))
    evaluator = PrequentialEvaluator(WITHOUT_TEXT)
    for _ in evaluator.run([*halves.train, *halves.test]):
        pass

    second = SecondHalf(halves.train)
    assert list(second.run(trained(halves.train), halves.test)) == list(range(1, 201))

    expected = RankingMeasures()
    for ranked, item in evaluator._log[-second.engine.queries :]:
        expected.add(ranked, item)
    assert second.engine.as_dict() == expected.as_dict()
    assert second.engine.queries > 100
    assert second.engine.ndcg > 0
    assert second.popularity.queries == second.engine.queries
    assert 0 < second.popularity.ndcg != second.engine.ndcg


def test_what_was_learnt_before_decides_who_is_known() -> None:
    halves = split_by_time(mixed())
    alone = SecondHalf([])
    for _ in alone.run(Recommender(WITHOUT_TEXT), halves.test):
        pass
    after = SecondHalf(halves.train)
    for _ in after.run(trained(halves.train), halves.test):
        pass
    assert alone.engine.queries < after.engine.queries
