"""Events that give their users what they took, and teach the items nothing: these know already."""

from __future__ import annotations

import numpy as np
import pytest

from engine import Recommender
from engine.state.order_free_digest import commuting_state
from engine.state.schema import differing_entries
from tests.engine.builders import WITHOUT_TEXT, mixed, stream
from tests.engine.sharing.test_item_side import item_side, transitions

ITEMS = ("counts", "recent", "surge", "ratings", "by_stage", "stage_total", "moments", "events")


def users_of(engine: Recommender) -> dict[str, object]:
    state = commuting_state(engine)
    return {name: held for name, held in state.items() if name.startswith("user ")}


def test_users_are_rebuilt_and_items_learn_nothing() -> None:
    events = mixed(1, 400)
    whole, again = Recommender(WITHOUT_TEXT), Recommender(WITHOUT_TEXT)
    whole.observe_many(events)
    again.observe_many(events[:200])
    again.share()
    for event in whole.items.names:
        again.meet_item(event)
    before, pairs = item_side(again), transitions(again)
    rows = [table.copy() for table in (again.embeddings.outputs, again.head.bias)]
    again.observe_many(events[200:], [False] * 200, [False] * 200)
    assert users_of(again) == users_of(whole)
    after = item_side(again)
    for name in ITEMS:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    assert transitions(again) == pairs
    for table, kept in zip((again.embeddings.outputs, again.head.bias), rows, strict=True):
        np.testing.assert_array_equal(table, kept)
    delta = again.collect_delta({0: (200, 400)})
    assert (delta.events, delta.rows) == (0, 0)


def test_an_event_that_teaches_does_what_it_did_without_the_word() -> None:
    one, other = Recommender(WITHOUT_TEXT), Recommender(WITHOUT_TEXT)
    events = mixed(2, 200)
    assert [a.items for a in one.observe_many(events)] == [
        a.items for a in other.observe_many(events, None, [True] * 200)
    ]
    assert differing_entries(one, other) == []


def test_as_many_words_as_events() -> None:
    with pytest.raises(ValueError, match="2 interactions, 1 teaches"):
        Recommender(WITHOUT_TEXT).observe_many(stream(1, 2), None, [True])


def test_users_that_leave_take_what_is_theirs_and_leave_what_they_taught() -> None:
    engine = Recommender(WITHOUT_TEXT)
    engine.observe_many(stream(1, 300))
    names = list(engine.users.names)
    engine.settle(names[::2], 3)
    engine.settle(["nobody"], 3)
    assert set(engine.users_of(3)) == set(names[::2])
    assert set(engine.users_of(-1)) == set(names[1::2])
    other = Recommender(WITHOUT_TEXT)
    other.take_in(engine, engine.users_of(3))
    assert set(other.users_of(3)) == set(names[::2])
    before = item_side(engine)
    engine.leave(engine.users_of(3))
    assert engine.users_of(3) == []
    assert engine.users.known == len(names[1::2])
    for name, counts in item_side(engine).items():
        np.testing.assert_array_equal(counts, before[name], err_msg=name)
