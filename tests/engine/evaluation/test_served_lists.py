"""Prequential measures against a slow, obvious count; and that they stay bounded."""

from __future__ import annotations

from collections import Counter
from math import log2

from hypothesis import given
from hypothesis import strategies as st

from engine.evaluation.served_lists import PopularItems, Prequential

ITEMS = st.integers(0, 30).map(lambda n: f"m{n}")
EVENTS = st.lists(st.tuples(st.sampled_from("abc"), ITEMS, st.lists(ITEMS, unique=True)))


@given(st.lists(ITEMS), st.sets(ITEMS))
def test_the_most_taken_come_first(taken_by_all: list[str], taken: set[str]) -> None:
    popular = PopularItems()
    for item in taken_by_all:
        popular.add(item)
    counts = Counter(item for item in taken_by_all if item not in taken)
    best = popular.best(taken)
    assert len(set(best)) == len(best) == min(10, len(counts))
    # Which of equally popular items stands first is nobody's business.
    assert [counts[item] for item in best] == sorted(counts.values(), reverse=True)[:10]


@given(EVENTS)
def test_lists_are_judged_by_what_was_taken_next(
    events: list[tuple[str, str, list[str]]],
) -> None:
    quality = Prequential()
    lists: dict[str, list[str]] = {}
    taken: dict[str, set[str]] = {user: set() for user in "abc"}
    gains = []
    for user, item, ranked in events:
        if item not in taken[user] and user in lists:
            top = lists[user][:10]
            gains.append(1 / log2(top.index(item) + 2) if item in top else 0.0)
        taken[user].add(item)
        lists[user] = ranked
        quality.take(user, item, ranked, "click")
    assert quality.model.queries == quality.popularity.queries == len(gains)
    assert abs(quality.model.ndcg - (sum(gains) / len(gains) if gains else 0.0)) < 1e-9


@given(EVENTS, st.integers(1, 3), st.integers(1, 10))
def test_memory_is_bounded(
    events: list[tuple[str, str, list[str]]], most_users: int, most_items: int
) -> None:
    quality = Prequential(most_users, most_items)
    for user, item, ranked in events:
        quality.take(user, item, ranked, "click")
        assert len(quality._lists) == len(quality._queries) <= most_users
        assert len(quality._popular.best(())) <= min(most_items, 10)
        # The order holds, whoever had to leave.
        counts = quality._popular._counts
        assert counts == sorted(counts, reverse=True)
        assert len(counts) == len(quality._popular._place) <= most_items


def test_one_who_is_forgotten_is_not_judged_by_what_was() -> None:
    quality = Prequential()
    quality.take("ann", "m1", ["m2"], "view")
    quality.take("ann", None, [], "forget")
    quality.take("ann", "m2", ["m3"], "view")
    assert quality.model.queries == 0
    quality.take("ann", "m3", [], "view")
    assert (quality.model.queries, quality.model.ndcg) == (1, 1.0)


def test_a_list_that_nobody_here_knows_is_not_judged() -> None:
    quality = Prequential()
    quality.take("ann", "m1", ["m2"], "view")
    quality.take("ann", "m4", None, "view")
    quality.take("ann", "m2", ["m3"], "view")
    assert (quality.model.queries, quality.model.ndcg) == (1, 0.0)


def test_a_dislike_is_no_take_and_its_user_knows_the_item() -> None:
    quality = Prequential()
    quality.take("ann", "m1", ["m2"], "view")
    quality.take("ann", "m2", ["m3", "m2"], "dislike")
    assert quality.model.queries == quality.popularity.queries == 0
    assert quality._popular.best(()) == ["m1"]
    quality.take("ann", "m2", ["m3"], "view")  # they had it: no list should have held it
    assert quality.model.queries == 0
    quality.take("ann", "m3", [], "view")
    assert (quality.model.queries, quality.model.ndcg) == (1, 1.0)


def test_what_is_to_be_ignored_judges_nothing() -> None:
    quality = Prequential()
    quality.take("ann", "m1", ["m2"], "view")
    quality.take("ann", "m2", ["m2"], "ignore")
    quality.take("bob", None, ["m9"], "ignore")
    assert quality.model.queries == 0
    assert len(quality._lists) == 1
    quality.take("ann", "m2", [], "view")
    assert (quality.model.queries, quality.model.ndcg) == (1, 1.0)
