"""What explains a list adds up to its scores, whatever was observed before."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Interaction, Item, Recommender
from engine.features.table import FEATURE_NAMES
from engine.rules import Rules
from engine.settings import EngineSettings
from engine.step.explaining import BIAS, RECENT_SHARE

KINDS = ("rating", "view", "purchase", "like", "dislike")
EVENTS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 14), st.sampled_from(KINDS), st.integers(0, 9)),
    min_size=1, max_size=60,
)  # fmt: skip


def engine(exact_items: int = 20_000) -> Recommender:
    made = Recommender(EngineSettings(exact_items=exact_items))
    for n in range(12):
        word = ("war", "love", "space")[n % 3]
        made.upsert_item(Item(item=f"m{n}", title=f"A film of {word}, part {n}", categories=[word]))
    return made


def event(number: int, user: int, item: int, kind: str, back: int) -> Interaction:
    return Interaction(
        event_id=f"e{number}", user=f"u{user}", item=f"m{item}", kind=kind, value=4.0,
        timestamp=1_600_000_000_000 + (number - back) * 60_000,
    )  # fmt: skip


@pytest.mark.parametrize("exact_items", [20_000, 4])
@settings(max_examples=6)
@given(events=EVENTS)
def test_features_add_up_to_the_score(
    exact_items: int, events: list[tuple[int, int, str, int]]
) -> None:
    made = engine(exact_items)
    for number, fields in enumerate(events):
        observed = event(number, *fields)
        answer = made.observe(observed)
        told = made.explain(observed.user, answer.items, observed.timestamp)
        assert len(told) == len(answer.items)
        for ranked, parts in zip(answer.items, told, strict=True):
            assert parts.keys() <= {BIAS, RECENT_SHARE, *FEATURE_NAMES}
            assert math.fsum(parts.values()) == pytest.approx(ranked.score, abs=1e-4)


@settings(max_examples=4)
@given(events=EVENTS)
def test_who_explains_changes_nothing(events: list[tuple[int, int, str, int]]) -> None:
    asked, other = engine(), engine()
    for number, fields in enumerate(events):
        observed = event(number, *fields)
        answer = asked.observe(observed)
        assert answer.items == other.observe(observed).items
        asked.explain(observed.user, answer.items)
        asked.explain(f"u{number % 5}", asked.recommend(f"u{number % 5}").items)


@pytest.mark.parametrize("exact_items", [20_000, 4])
def test_lists_under_rules_are_explained_too(exact_items: int) -> None:
    made = engine(exact_items)
    for number in range(30):
        made.observe(event(number, number % 5, number * 7 % 12, "view", 0))
    for rules in (Rules(include=frozenset({"war"})), Rules(diversity=0.5), Rules(unseen=True)):
        found = made.recommend("u1", rules=rules).items
        assert found
        for ranked, parts in zip(found, made.explain("u1", found), strict=True):
            assert math.fsum(parts.values()) == pytest.approx(ranked.score, abs=1e-4)
            assert BIAS in parts


def test_a_stranger_s_list_is_what_is_trending() -> None:
    made = engine()
    made.observe(event(0, 0, 1, "view", 0))
    found = made.recommend("nobody").items
    assert made.explain("nobody", found)[0] == {RECENT_SHARE: found[0].score}
