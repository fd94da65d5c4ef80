"""The lists of arms, and that what is learnt does not depend on them."""

from __future__ import annotations

import itertools

import pytest

from engine import Item, Recommender
from engine.events import Interaction
from engine.settings import EngineSettings
from engine.state.schema import state_digest
from streams.experiments.arms import Arms
from streams.experiments.lists import observe_many
from streams.settings import Settings

ENGINE = EngineSettings(model="gnn", recommend_unlisted=True)
EXPERIMENT = {
    "arms": {
        "plain": {}, "varied": {"per_category": 1, "k": 4}, "noop": {"list": "noop"},
        "shuffle": {"list": "shuffle"},
    }
}  # fmt: skip


def new() -> Recommender:
    engine = Recommender(ENGINE)
    for number in range(30):
        engine.upsert_item(
            Item(item=f"m{number}", title=f"M {number}", categories=[f"c{number % 6}"])
        )
    return engine


def stream() -> list[Interaction]:
    return [
        Interaction(
            event_id=f"e{n}", user=f"u{n % 17}", item=f"m{(n * n + n // 5) % 30}",
            timestamp=1_600_000_000_000 + n * 1000, kind="purchase" if n % 3 == 0 else "view",
        )
        for n in range(400)
    ]  # fmt: skip


ARMS = Arms(Settings(experiments={"one": EXPERIMENT}).experiments, ENGINE)
PLAIN = Arms({}, ENGINE)


def test_what_is_learnt_does_not_depend_on_the_arms_nor_on_where_batches_end() -> None:
    events = stream()
    wanted = [n % 7 != 0 for n in range(len(events))]
    plain, whole, cut = new(), new(), new()
    usual = plain.observe_many(events, wanted)
    at_once = observe_many(whole, ARMS, events, wanted)
    in_parts = [
        answer
        for start in range(0, len(events), 23)
        for answer in observe_many(
            cut, ARMS, events[start : start + 23], wanted[start : start + 23]
        )
    ]
    assert state_digest(plain) == state_digest(whole) == state_digest(cut)
    assert [a.items for a in at_once] == [a.items for a in in_parts]
    assert [bool(a.items) for a in at_once] == wanted
    for event, one, other in zip(events, usual, at_once, strict=True):
        if ARMS.of(event.user)["one"] == "plain":
            assert one.items == other.items


def test_each_arm_has_its_own_lists() -> None:
    events, engine, plain = stream(), new(), new()
    seen: set[str] = set()
    for event in events:
        [answer] = observe_many(engine, ARMS, [event], [True])
        [usual] = observe_many(plain, PLAIN, [event], [True])
        arm = ARMS.of(event.user)["one"]
        seen.add(arm)
        assert {"rank", "learn"} <= answer.stages_ns.keys()
        items = [ranked.item for ranked in answer.items]
        if arm == "varied":
            categories = [engine.categories.of(engine.items.find(item) or 0)[0] for item in items]
            assert len(items) == len(set(categories)) == 4
        elif arm == "shuffle":
            assert sorted(items) == sorted(ranked.item for ranked in usual.items)
        elif arm == "noop":
            had = {e.item for e in events[: events.index(event) + 1]
                   if e.user == event.user and e.kind == "purchase"}  # fmt: skip
            assert not had & set(items)
            assert {ranked.reason for ranked in answer.items} == {"trending"}
    assert seen == {"plain", "varied", "noop", "shuffle"}


def test_a_shuffled_list_differs_from_event_to_event_and_puts_all_first_alike() -> None:
    events, engine = stream(), new()
    engine.observe_many(events, [False] * len(events))
    both = {"arms": {"a": {"list": "shuffle"}, "b": {"list": "shuffle"}}}
    arms = Arms(Settings(experiments={"one": both}).experiments, ENGINE)
    ignored = [
        Interaction(event_id=f"x{n}", user="u1", timestamp=1_700_000_000_000, kind="ignore")
        for n in range(200)
    ]
    lists = [[r.item for r in a.items] for a in observe_many(engine, arms, ignored, [True] * 200)]
    assert len({tuple(items) for items in lists}) > 150
    first = [items[0] for items in lists]
    assert len(set(first)) == 10
    assert max(first.count(item) for item in set(first)) < 45
    again = observe_many(engine, arms, ignored, [True] * 200)
    assert [[r.item for r in a.items] for a in again] == lists
    assert all(sorted(a) == sorted(b) for a, b in itertools.pairwise(lists))


@pytest.mark.parametrize("arms", [ARMS, PLAIN])
def test_a_forget_is_answered_as_for_a_stranger(arms: Arms) -> None:
    engine = new()
    events = stream()
    gone = Interaction(event_id="f", user="u3", timestamp=1_600_001_000_000, kind="forget")
    *_, answer = observe_many(engine, arms, [*events, gone], [True] * 401)
    assert answer.items
    assert {ranked.reason for ranked in answer.items} == {"trending"}
