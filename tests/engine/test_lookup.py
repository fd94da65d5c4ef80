"""Looking at an engine: what it says against slow, obvious versions, and that it stays as it is."""

from __future__ import annotations

from collections import defaultdict
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import EngineSettings, Interaction, Item, Recommender, Rules, lookup
from engine.events import KIND_WEIGHTS
from engine.state.schema import state_digest
from tests.engine.builders import WITHOUT_TEXT, forgets, known, mixed, stream, took, trained
from tests.engine.reference import LONG

FEW = EngineSettings(model="gnn", max_users=8, max_items=15, neighbours=8, history=8)


def look(engine: Recommender) -> list[object]:
    """Everything that can be seen of the users and items of `stream`, and of nobody."""
    users = [*sorted({event.user for event in stream()}), "nobody"]
    items = [*sorted({event.item or "" for event in stream()}), "nothing"]
    return [
        [(lookup.knows_user(engine, user), lookup.recent(engine, user)) for user in users],
        [(lookup.knows_item(engine, item), lookup.title(engine, item)) for item in items],
        [lookup.neighbours(engine, item, 100) for item in items],
        [lookup.origins(engine, user, item) for user in users[:3] for item in items],
    ]


def taken_by(events: list[Interaction], user: str) -> list[Interaction]:
    """What a user took and did not ask to be forgotten, newest first; of one moment, the last."""
    kept: list[Interaction] = []
    for event in events:
        if event.user == user:
            kept = [] if event.kind == "forget" else [*kept, event]
    taken = [event for event in kept if event.kind != "dislike"]
    return sorted(taken, key=lambda event: event.timestamp)[::-1]


def cosines(events: list[Interaction], item: str) -> dict[str, float]:
    """The neighbours of an item, from pairs of what the same user took for the first time."""
    counts: dict[str, float] = defaultdict(float)
    together: dict[str, float] = defaultdict(float)
    rows: dict[str, list[str]] = defaultdict(list)
    for event in events:
        row, other = rows[event.user], event.item or ""
        if other in row:
            continue
        weight = KIND_WEIGHTS[event.kind]
        counts[other] += weight
        for between, before in enumerate(row[::-1][: WITHOUT_TEXT.history]):
            if item in (before, other):
                together[before if other == item else other] += weight * LONG**between
        row.append(other)
    return {
        other: weight / sqrt((counts[item] + 1) * (counts[other] + 1))
        for other, weight in together.items()
    }


@settings(max_examples=5)
@given(st.integers(0, 1000))
def test_a_users_interactions_are_those_that_were_told(seed: int) -> None:
    events = mixed(seed, 150)
    engine = trained(events)
    for user in {event.user for event in events}:
        held = WITHOUT_TEXT.neighbours
        expected = [
            (event.item, event.timestamp, KIND_WEIGHTS[event.kind])
            for event in taken_by(events, user)
        ][:held]
        found = lookup.recent(engine, user)
        assert [(each.item, each.timestamp, each.weight) for each in found] == expected
        judged = [e for e in events if e.user == user]
        forgotten = [number for number, e in enumerate(judged) if e.kind == "forget"]
        assert lookup.knows_user(engine, user) == bool(judged[max(forgotten, default=-1) + 1 :])


@settings(max_examples=5)
@given(st.integers(0, 1000))
def test_neighbours_are_the_cosines_of_pairs(seed: int) -> None:
    first: dict[tuple[str, str | None], Interaction] = {}
    for event in stream(seed, 200):  # what is taken again would move to the front of a history
        first.setdefault((event.user, event.item), event)
    events = list(first.values())
    engine = trained(events)
    for item in {event.item or "" for event in events}:
        expected = cosines(events, item)
        found = lookup.neighbours(engine, item, 100)
        assert {each.item: each.score for each in found} == pytest.approx(expected, abs=1e-4)
        scores = [each.score for each in found]
        assert scores == sorted(scores, reverse=True)
        assert lookup.neighbours(engine, item, 3) == found[:3]


def test_titles_are_the_catalogues_or_else_the_ids() -> None:
    engine = known(WITHOUT_TEXT)
    engine.upsert_item(Item(item="odd", title="because of because of"))
    engine.observe(took("ann", "unlisted"))
    assert lookup.title(engine, "odd") == "because of because of"
    assert lookup.title(engine, "unlisted") == "unlisted"
    assert lookup.title(engine, "nothing") == "nothing"
    assert [lookup.knows_item(engine, item) for item in ("odd", "unlisted", "nothing")] == [
        True, True, False,
    ]  # fmt: skip
    assert [each.title for each in lookup.recent(engine, "ann")] == ["unlisted"]


def test_hidden_items_are_nobodys_neighbours() -> None:
    engine = trained(stream())
    first, second = lookup.neighbours(engine, stream()[-1].item or "", 2)
    engine.upsert_item(Item(item=first.item, hidden=True))
    assert lookup.neighbours(engine, stream()[-1].item or "", 1) == [second]


def test_who_was_forgotten_or_only_disliked_is_told_as_such() -> None:
    engine = trained(stream())
    engine.observe(took("ann", "film-1", kind="dislike"))
    assert (lookup.knows_user(engine, "ann"), lookup.recent(engine, "ann")) == (True, [])
    user = stream()[0].user
    assert lookup.recent(engine, user)
    engine.observe(forgets(user))
    assert (lookup.knows_user(engine, user), lookup.recent(engine, user)) == (False, [])


def test_what_left_is_shown_nowhere() -> None:
    """With room for few items, what was taken and is known no more is passed over."""
    engine = Recommender(FEW)
    rows: dict[str, list[str]] = defaultdict(list)
    order: list[str] = []
    for event in stream(events=300):
        engine.observe(event, answer=False)
        item = event.item or ""
        order = [*(other for other in order if other != item), item][-FEW.max_items :]
        rows[event.user].append(item)
        for user, row in rows.items():
            shown = [each.item for each in lookup.recent(engine, user)]
            assert set(shown) <= set(order) & set(row)
        for other in order:
            near = {each.item for each in lookup.neighbours(engine, other, 100)}
            assert near <= set(order) - {other}
    assert engine.evicted.items > 0


@pytest.mark.parametrize("room", [WITHOUT_TEXT, FEW], ids=["room for all", "room for few"])
def test_looking_changes_nothing(room: EngineSettings) -> None:
    looked_at, left_alone = Recommender(room), Recommender(room)
    for number, event in enumerate(mixed(events=250)):
        assert looked_at.observe(event).items == left_alone.observe(event).items
        if number % 25 == 0:
            assert look(looked_at)
    assert state_digest(looked_at) == state_digest(left_alone)
    assert (looked_at.evicted.items > 0) == (room is FEW)


@pytest.mark.parametrize("room", [WITHOUT_TEXT, FEW], ids=["room for all", "room for few"])
def test_recommending_in_between_changes_no_later_answer(room: EngineSettings) -> None:
    asked, left_alone = Recommender(room), Recommender(room)
    events = mixed(events=250)
    for number, event in enumerate(events):
        assert asked.observe(event).items == left_alone.observe(event).items
        for other in (events[-number], event):
            asked.recommend(other.user, 1 + number % 100)
    assert look(asked) == look(left_alone)
    # What left may be dropped from rows sooner; the answers above are the same.
    if room is WITHOUT_TEXT:
        assert state_digest(asked) == state_digest(left_alone)


# ------------------------------------------------------------------ lists of items


def alike(engine: Recommender, item: str) -> dict[str, float]:
    """The cosines of an item's vector with all others that are shown, slowly."""
    vectors, number = engine.vectors.vectors, engine.items.intern(item)
    found = {}
    for other, name in enumerate(engine.items.names):
        length = float(np.linalg.norm(vectors[other]) * np.linalg.norm(vectors[number]))
        if name != item and length and not engine.hidden[other]:
            found[name] = float(vectors[other] @ vectors[number]) / length
    return found


def test_an_item_goes_with_what_its_user_took_as_neighbours_and_texts_say() -> None:
    made = known(EngineSettings())
    for event in stream():
        made.observe(event, answer=False)
    user = stream()[-1].user
    own = {each.item for each in lookup.recent(made, user)}
    for item in made.items.names[:15]:
        near = {each.item: each.score for each in lookup.neighbours(made, item, 1_000)}
        like = alike(made, item)
        found = lookup.origins(made, user, item, 1_000)
        assert {each.item for each in found} == {
            other for other in own - {item} if near.get(other, 0) > 0 or like[other] > 0
        }
        for each in found:
            assert each.together == near.get(each.item, 0.0)
            assert each.text == pytest.approx(max(0.0, like[each.item]), abs=1e-4)
        closest = [max(each.together, each.text) for each in found]
        assert closest == sorted(closest, reverse=True)
        assert lookup.origins(made, user, item, 2) == found[:2]
    assert lookup.origins(made, "nobody", item) == lookup.origins(made, user, "nothing") == []


@pytest.mark.parametrize("exact_items", [20_000, 20])
def test_similar_items_are_those_of_the_nearest_text(exact_items: int) -> None:
    made = known(EngineSettings(exact_items=exact_items, candidates=100))
    for event in stream():
        made.observe(event, answer=False)
    hidden = made.items.names[3]
    made.upsert_item(Item(item=hidden, title="Hidden", hidden=True))
    before = state_digest(made)
    for item in made.items.names[:10]:
        expected = alike(made, item)
        found = lookup.similar(made, item, 5)
        assert [each.score for each in found] == sorted((e.score for e in found), reverse=True)
        assert all(each.score == pytest.approx(expected[each.item], abs=1e-4) for each in found)
        assert hidden not in {each.item for each in found}
        if exact_items > 20 and item != hidden:
            best = sorted(expected.values(), reverse=True)[:5]
            assert [each.score for each in found] == pytest.approx(best, abs=1e-4)
    assert lookup.similar(made, "nothing", 5) == []
    assert state_digest(made) == before


def test_popular_items_are_those_that_were_taken_most() -> None:
    made = Recommender(EngineSettings(model="gnn"))
    for item, category in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "y"), ("e", "y")):
        made.upsert_item(Item(item=item, title=item.upper(), categories=[category]))
    for number, item in enumerate(["a", "b", "b", "c", "c", "c", "d", "d", "d", "d", "unlisted"]):
        made.observe(took(f"u{number}", item, number, kind="purchase"), answer=False)
    made.upsert_item(Item(item="d", hidden=True))
    assert lookup.popular(made, 10) == [
        lookup.Popular("c", "C", 3.0), lookup.Popular("b", "B", 2.0), lookup.Popular("a", "A", 1.0),
    ]  # fmt: skip
    assert [each.item for each in lookup.popular(made, 1)] == ["c"]
    of_x = Rules(include=frozenset({"x"}))
    assert [each.item for each in lookup.popular(made, 10, of_x)] == ["b", "a"]
    assert lookup.popular(Recommender(EngineSettings(model="gnn")), 10) == []


def test_what_is_known_of_an_item() -> None:
    made = Recommender(EngineSettings(model="gnn"))
    made.upsert_item(Item(item="a", title="A", categories=["x", "y"]))
    made.observe(took("ann", "a", 1, kind="view"), answer=False)
    made.observe(took("ann", "b", 2, kind="purchase"), answer=False)
    assert lookup.facts(made, "a") == lookup.ItemFacts("a", "A", ["x", "y"], False, True, 0.4)
    assert lookup.facts(made, "b") == lookup.ItemFacts("b", "b", [], False, False, 1.0)
    assert lookup.facts(made, "c") is None
    assert lookup.taken_for_good(made, "ann") == ["b"]
    assert lookup.taken_for_good(made, "nobody") == []
    made.remove_item("a")
    assert lookup.facts(made, "a") == lookup.ItemFacts("a", "a", [], True, True, 0.4)
