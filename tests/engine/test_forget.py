"""Forgetting a user."""

from __future__ import annotations

import numpy as np
import pytest

from engine import EngineSettings, Item, Recommender
from engine.datasets import Synthetic
from tests.engine.builders import forgets, ids, mixed, state, stream, took, trained

SETTINGS = EngineSettings()


def read_and_trained() -> Recommender:
    """An engine that knows the texts of its items and has observed the stream."""
    made = Recommender(SETTINGS)
    for item in Synthetic(events=400, users=25, items=60).items():
        made.upsert_item(item)
    for event in stream():
        made.observe(event)
    return made


def test_nothing_of_the_user_is_left_in_rows_of_users_or_items() -> None:
    made = read_and_trained()
    user = stream()[-1].user
    number = made.users.find(user)
    assert number is not None
    assert made.taste.profiles[number].any()
    made.forget(user)
    assert made.graph.users.degree[number] == 0
    assert not made.graph.users.rows[number].tobytes().strip(b"\0")
    assert not made.taste.profiles[number].any()
    assert not made.embeddings.users[number].any()
    assert made._history_lengths[number] == 0
    assert len(made._seen.of(number)) == 0
    for item in range(len(made.items)):
        edges = made.graph.items.recent(item, 64)
        assert not edges["weight"][edges["id"] == number].any()


def test_others_keep_what_they_have() -> None:
    made = read_and_trained()
    user = stream()[-1].user
    others = sorted({event.user for event in stream()} - {user})
    numbers = [made.users.intern(other) for other in others]
    rows, profiles = made.graph.users.rows[numbers], made.taste.profiles[numbers]
    embeddings = made.embeddings.users[numbers]
    made.forget(user)
    np.testing.assert_array_equal(made.graph.users.rows[numbers], rows)
    np.testing.assert_array_equal(made.taste.profiles[numbers], profiles)
    np.testing.assert_array_equal(made.embeddings.users[numbers], embeddings)


def test_counts_are_what_they_were_before_the_user_came() -> None:
    made = trained(stream(), SETTINGS)
    before = made.popularity.counts.copy()
    kinds = ("view", "purchase", "dislike", "click", "cart", "view")
    for at, kind in enumerate(kinds):
        made.observe(took("ann", f"film-{at}", at, kind=kind))
    made.observe(took("ann", "film-0", 10, kind="purchase"))  # again: not counted
    made.observe(took("ann", "film-2", 11, kind="purchase"))  # after a dislike
    assert (made.popularity.counts != before).any()
    made.forget("ann")
    np.testing.assert_allclose(made.popularity.counts[: len(before)], before, atol=1e-4)


def test_the_answer_is_that_of_somebody_unknown() -> None:
    made = trained(mixed(), SETTINGS)
    user = stream()[-1].user
    made.observe(took(user, "film-2", kind="dislike"))
    answer = made.observe(forgets(user))
    assert answer.items == made.recommend(user).items == made.recommend("unknown").items
    assert {entry.reason for entry in answer.items} == {"trending"}


@pytest.mark.parametrize("user", ["user-1", "never seen"])
def test_forgetting_again_or_somebody_unknown_changes_nothing(user: str) -> None:
    made = trained(stream(), SETTINGS)
    made.forget(user)
    before = state(made)
    made.forget(user)
    made.observe(forgets(user))
    assert state(made) == before


def test_a_user_may_come_back_and_start_from_nothing() -> None:
    made = trained(stream(), SETTINGS)
    user = stream()[-1].user
    taken = {event.item for event in stream() if event.user == user}
    made.forget(user)
    answer = made.observe(took(user, "film-1"))
    assert "film-1" not in ids(answer)
    assert taken & set(ids(made.recommend(user, 60)))
    newcomer = made.observe(took("newcomer", "film-1"))
    assert set(ids(made.recommend(user, 60))) == set(ids(newcomer)) | set(
        ids(made.recommend("newcomer", 60))
    )


def test_an_item_that_only_the_user_took_stays_in_the_catalogue() -> None:
    made = Recommender(EngineSettings(text=False))
    made.upsert_item(Item(item="other"))
    made.observe(took("ann", "hers"))
    made.forget("ann")
    assert set(ids(made.recommend("ann"))) == {"hers", "other"}
