"""Precision, recall and NDCG of several relevant items, and who is asked what."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evaluation.holdout import Split
from engine.evaluation.protocol import (
    Query,
    by_chance,
    by_lists,
    by_scores,
    catalogue_queries,
    full_ranking,
    measures_of,
    own_items,
    own_queries,
    ranked,
)
from engine.evaluation.references import OracleScorer
from tests.engine.builders import took
from tests.engine.evaluation import slow_protocol as slow
from tests.engine.evaluation.stand_ins import TableScorer

relevances = st.lists(st.booleans(), min_size=1, max_size=40).filter(any)


def query(relevant: list[bool]) -> Query:
    return Query("ann", [f"m{n}" for n in range(len(relevant))], np.array(relevant))


def table(scores: list[float]) -> TableScorer:
    return TableScorer({("ann", f"m{n}"): score for n, score in enumerate(scores)})


@given(relevances)
def test_measures_are_what_the_definitions_say(order: list[bool]) -> None:
    assert measures_of(np.array(order[:10]), sum(order)) == pytest.approx(slow.three(order))


@given(st.lists(st.booleans(), min_size=1, max_size=6).filter(any))
def test_chance_is_the_mean_over_all_orders(relevant: list[bool]) -> None:
    assert by_chance(query(relevant)) == pytest.approx(slow.over_all_orders(relevant))


def test_chance_is_what_many_random_orders_of_many_items_reach() -> None:
    asked = query([n < 9 for n in range(25)])
    rng = np.random.default_rng(0)
    drawn = [slow.three(list(rng.permutation(asked.relevant))) for _ in range(8_000)]
    assert by_chance(asked) == pytest.approx(np.mean(drawn, axis=0), abs=0.003)


@given(relevances, st.integers(0, 2**32 - 1))
def test_no_order_beats_the_oracle(relevant: list[bool], seed: int) -> None:
    asked = query(relevant)
    scores = np.random.default_rng(seed).random(len(relevant))
    best = by_scores(table([float(good) for good in relevant]), seed=0)(asked)
    assert (by_scores(table(list(scores)), seed=0)(asked) <= best + 1e-12).all()
    assert (by_chance(asked) <= best + 1e-12).all()
    assert best[2] == pytest.approx(1)


@given(st.lists(st.tuples(st.booleans(), st.integers(-1000, 1000)), min_size=1, max_size=30,
                unique_by=lambda pair: pair[1]).filter(lambda p: any(good for good, _ in p)),
       st.integers(0, 2**32 - 1))  # fmt: skip
def test_the_order_of_the_file_does_not_matter(pairs: list[tuple[bool, int]], seed: int) -> None:
    shuffled = [pairs[n] for n in np.random.default_rng(seed).permutation(len(pairs))]
    first, second = (
        by_scores(table([float(score) for _, score in given_]), seed)(
            query([good for good, _ in given_])
        )
        for given_ in (pairs, shuffled)
    )
    assert first == pytest.approx(second)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40), st.integers(0, 1000))
def test_the_ten_best_are_the_ten_best(scores: list[int], seed: int) -> None:
    places = ranked(np.array(scores, np.float32), np.random.default_rng(seed))
    assert [scores[place] for place in places] == sorted(scores, reverse=True)[:10]
    assert len(set(places.tolist())) == len(places)


def test_ties_are_broken_by_chance_and_not_by_the_file() -> None:
    # The relevant items come first in the file: an order that is kept would find them all.
    asked = query([n < 10 for n in range(100)])
    equal = table([1.0] * 100)
    found = [by_scores(equal, seed)(asked) for seed in range(400)]
    assert np.mean(found, axis=0) == pytest.approx(by_chance(asked), abs=0.02)


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="1 of 3 scores are NaN"):
        by_scores(table([1.0, float("nan"), 2.0]), seed=0)(query([True, False, False]))


TRAIN = [took("ann", "m1", value=5), took("ann", "m2", value=1), took("bob", "m3", value=3)]
TEST = [
    took("ann", "m3", value=4),
    took("ann", "m4", value=3.5),
    took("bob", "m1", value=2),
    *(took("eve", f"m{n}", value=5 if n % 2 else 1) for n in range(10)),
]


def test_users_without_a_relevant_item_are_left_out() -> None:
    assert [(one.user, one.items, one.relevant.tolist()) for one in own_queries(TEST)][:1] == [
        ("ann", ["m3", "m4"], [True, False])
    ]
    assert [one.user for one in own_queries(TEST)] == ["ann", "eve"]


def test_the_second_slice_holds_users_with_ten_test_items() -> None:
    # Ann's two and Eve's ten: an oracle finds one of ten places' worth, and five.
    found = own_items(Split(TRAIN, TEST), by_scores(OracleScorer(TEST), seed=0))
    assert found["all"] == {
        "precision@10": pytest.approx(0.3), "recall@10": 1, "ndcg@10": 1, "users": 2,
    }  # fmt: skip
    assert found["ten_or_more"] == {
        "precision@10": pytest.approx(0.5), "recall@10": 1, "ndcg@10": 1, "users": 1,
    }  # fmt: skip


def test_the_whole_catalogue_competes_but_for_what_was_taken() -> None:
    ann, eve = catalogue_queries(Split(TRAIN, TEST), ["m1", "m2", "never rated"])
    assert ann.items == ["m0", "m3", "m4", "m5", "m6", "m7", "m8", "m9", "never rated"]
    assert [item for item, good in zip(ann.items, ann.relevant, strict=True) if good] == ["m3"]
    assert len(eve.items) == 11
    assert eve.relevant.sum() == 5


def test_lists_and_scores_are_measured_alike() -> None:
    split, catalogue = Split(TRAIN, TEST), [f"m{n}" for n in range(30)]
    rng = np.random.default_rng(3)
    model = TableScorer({(u, i): float(rng.random()) for u in ("ann", "eve") for i in catalogue})
    model.taken = {"ann": {"m1", "m2"}}
    by_list = full_ranking(split, catalogue, by_lists(model))
    assert by_list == pytest.approx(full_ranking(split, catalogue, by_scores(model, seed=0)))
    assert 0 < by_list["ndcg@10"] < 1
