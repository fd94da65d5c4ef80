"""Forgetting a user."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from engine import EngineSettings, Interaction, Item, Recommender
from engine.events import Kind
from tests.engine.builders import (
    WITHOUT_TEXT,
    forgets,
    ids,
    known,
    mixed,
    state,
    stream,
    took,
    trained,
)

SETTINGS = EngineSettings()


def read_and_trained() -> Recommender:
    """An engine that knows the texts of its items and has observed the stream."""
    made = known(SETTINGS)
    for event in stream():
        made.observe(event)
    return made


def test_nothing_of_the_user_is_left_in_rows_of_users_or_items() -> None:
    made = read_and_trained()
    user = stream()[-1].user
    number = made.users.find(user)
    assert number is not None
    assert made.taste.profiles[number].any()
    made.observe(took(user, "film-2", kind="dislike"))
    made.forget(user)
    assert made.graph.users.degree[number] == 0
    assert not made.graph.users.edges[number].any()
    assert not made.graph.users.times[number].any()
    assert not made.taste.profiles[number].any()
    assert not made.embeddings.users[number].any()
    assert made.contexts.lengths[number] == 0
    assert not made.contexts.levels[number].any()
    assert not made.embeddings.personal[number].any()
    assert not made.embeddings.directions[number].any()
    assert len(made.disliked.of(number)) == 0
    assert len(made.taken.of(number)) == 0
    for lists in (made.taken, made.disliked):
        start = int(lists.start[number])
        assert not lists.entries[start : start + int(lists.capacity[number])].any()
    for item in range(len(made.items)):
        edges = made.graph.items.recent(item, 64)
        assert not edges["weight"][edges["id"] == number].any()


def test_nothing_of_the_user_s_id_is_in_a_saved_state(tmp_path: Path) -> None:
    made = read_and_trained()
    made.observe(took("somebody-known-by-this", "film-3", text="What only they wrote."))
    made.save(tmp_path / "before")
    assert b"somebody-known-by-this" in (tmp_path / "before").read_bytes()
    made.forget("somebody-known-by-this")
    made.save(tmp_path / "after")
    assert b"somebody-known-by-this" not in (tmp_path / "after").read_bytes()


def test_the_next_newcomer_has_the_number_saved_or_not(tmp_path: Path) -> None:
    made = read_and_trained()
    numbers = [made.users.find(f"user-{n}") for n in (7, 2, 5)]
    for number in (7, 2, 5):
        made.forget(f"user-{number}")
    made.save(tmp_path / "saved")
    for engine in (made, Recommender.load(tmp_path / "saved")):
        for name in ("first", "second", "third"):
            engine.observe(took(name, "film-1"))
        found = [engine.users.find(name) for name in ("first", "second", "third")]
        assert found == sorted(number for number in numbers if number is not None)
    assert made.users.known == len(made.users)


def test_others_keep_what_they_have() -> None:
    made = read_and_trained()
    user = stream()[-1].user
    others = sorted({event.user for event in stream()} - {user})
    numbers = [made.users.intern(other) for other in others]
    rows, profiles = made.graph.users.edges[numbers], made.taste.profiles[numbers]
    embeddings = made.embeddings.users[numbers]
    made.forget(user)
    np.testing.assert_array_equal(made.graph.users.edges[numbers], rows)
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
    made = Recommender(EngineSettings(model="gnn", recommend_unlisted=True))
    made.upsert_item(Item(item="other"))
    made.observe(took("ann", "hers"))
    made.forget("ann")
    assert set(ids(made.recommend("ann"))) == {"hers", "other"}


# ---------------------------------------------------------------- as if they never came


def transitions(made: Recommender) -> dict[tuple[str, str], tuple[float, float]]:
    """Every transition that weighs anything, by the names of its items."""
    names = made.items.names
    return {
        (names[item], names[other]): weights
        for item in range(len(names))
        for other, weights in made.transitions.row(item).items()
        if max(weights) > 1e-4
    }


def assert_as_if_never(made: Recommender, never: Recommender) -> None:
    left, right = transitions(made), transitions(never)
    zero = (0.0, 0.0)
    odd = {
        pair: (left.get(pair, zero), right.get(pair, zero))
        for pair in left.keys() | right.keys()
        if left.get(pair, zero) != pytest.approx(right.get(pair, zero), abs=1e-3)
    }
    assert not odd
    items = len(made.items)
    np.testing.assert_allclose(
        made.popularity.counts[:items], never.popularity.counts[:items], atol=1e-3
    )


KINDS: tuple[Kind, ...] = ("view", "purchase", "rating", "click", "cart", "like")


def taken_once(user: str, films: range) -> list[Interaction]:
    return [took(user, f"film-{n}", n, kind=KINDS[n % 6]) for n in films]


def with_and_without(
    own: list[Interaction], settings: EngineSettings = WITHOUT_TEXT
) -> tuple[Recommender, Recommender]:
    """Engines after `stream` with and without events of a user who is forgotten, among it."""
    made, never = known(settings), known(settings)
    rest = iter(own)
    for event in stream():
        never.observe(event)
        made.observe(event)
        for one in islice(rest, 1):
            made.observe(one)
    made.forget(own[0].user)
    return made, never


@pytest.mark.parametrize("settings", [WITHOUT_TEXT, SETTINGS], ids=["gnn", "hybrid"])
def test_transitions_and_counts_are_as_if_the_user_never_came(settings: EngineSettings) -> None:
    assert_as_if_never(*with_and_without(taken_once("ann", range(1, 45)), settings))


def test_also_of_a_user_of_the_stream() -> None:
    user = "user-2"
    made, never = known(WITHOUT_TEXT), known(WITHOUT_TEXT)
    seen = set()
    for event in stream():
        if event.user != user:
            never.observe(event)
            made.observe(event)
        elif event.item not in seen:
            seen.add(event.item)
            made.observe(event)
    assert len(seen) > 5
    made.forget(user)
    assert_as_if_never(made, never)


def test_also_of_a_user_who_came_back() -> None:
    own = taken_once("ann", range(1, 20))
    own = [*own, forgets("ann"), *taken_once("ann", range(10, 35))]
    assert_as_if_never(*with_and_without(own))


def test_also_if_the_graph_keeps_fewer_items_than_ranking_may_read() -> None:
    settings = EngineSettings(model="gnn", neighbours=8)
    assert_as_if_never(*with_and_without(taken_once("ann", range(1, 45)), settings))


def test_also_of_a_user_who_took_items_again() -> None:
    own = taken_once("ann", range(1, 20))
    again = [one for event in own for one in (event, took("ann", event.item, 50, kind="purchase"))]
    assert_as_if_never(*with_and_without(again))


def test_also_of_a_user_who_took_what_they_had_disliked() -> None:
    disliked = took("ann", "film-3", 0, kind="dislike")
    own = [disliked, took("ann", "film-3", 1), *taken_once("ann", range(4, 20))]
    assert_as_if_never(*with_and_without(own))
