"""Nobody can buy the trending list: what one user, or an item of their own, can do to it."""

from __future__ import annotations

import pytest

from engine import EngineSettings, Item, Recommender
from tests.engine.builders import forgets, ids, known, stream, took

SETTINGS = EngineSettings(model="gnn", k=60)


def trained(settings: EngineSettings = SETTINGS) -> Recommender:
    made = known(settings)
    for event in stream():
        made.observe(event)
    return made


def rank(made: Recommender, item: str) -> int:
    return ids(made.recommend("a stranger")).index(item)


def worst(made: Recommender) -> str:
    return ids(made.recommend("a stranger"))[-1]


@pytest.mark.parametrize("settings", [SETTINGS, SETTINGS.model_copy(update={"exact_items": 20})],
                         ids=["all items are scored", "candidates are"])  # fmt: skip
def test_twenty_views_each_taken_back_raise_nothing(settings: EngineSettings) -> None:
    made = trained(settings)
    item = worst(made)
    number = made.items.find(item)
    assert number is not None
    before, count = ids(made.recommend("a stranger")), made.popularity.counts[number]
    for _ in range(20):
        made.observe(took("attacker", item, kind="view"))
        made.observe(forgets("attacker"))
    assert ids(made.recommend("a stranger")) == before
    assert made.popularity.counts[number] == pytest.approx(count, abs=1e-5)


def test_twenty_views_of_what_may_come_again_count_as_one() -> None:
    settings = SETTINGS.model_copy(update={"excludes": []})
    often, once = trained(settings), trained(settings)
    item, other = worst(once), ids(once.recommend("a stranger"))[0]
    for at in range(20):
        often.observe(took("attacker", item, at, kind="view"))
        once.observe(took("attacker", item if at == 19 else other, at, kind="view"))
    number = once.items.find(item)
    assert number is not None
    left, right = (
        (made.popularity._recent / made.popularity._inflation, made.own.surge.counts)
        for made in (often, once)
    )
    assert left[0][number] == pytest.approx(right[0][number], rel=1e-6)
    assert left[1][number] == pytest.approx(right[1][number], rel=1e-6)


def test_forgetting_takes_back_recent_popularity_too() -> None:
    made, never = trained(), trained()
    for at, item in enumerate(("film-1", "film-2", "film-3")):
        made.observe(took("attacker", item, at, kind="purchase"))
        never.observe(took(f"other-{at}", "film-9", at))
        made.observe(took(f"other-{at}", "film-9", at))
    made.forget("attacker")
    for item in ("film-1", "film-2", "film-3"):
        number = made.items.find(item)
        assert number is not None
        left, right = (
            (
                known.popularity._recent[number] / known.popularity._inflation[0],
                known.own.surge.counts[number] / known.own.surge.inflation[0],
            )
            for known in (made, never)
        )
        # Three events more went by.
        assert left == pytest.approx(right, rel=0.01, abs=1e-9)


def test_an_item_that_no_catalogue_names_is_for_those_who_took_something() -> None:
    made = trained()
    for number in range(20):
        made.observe(took(f"sock-{number}", "spam", kind="purchase"))
    assert "spam" not in ids(made.recommend("a stranger"))
    assert "spam" not in ids(made.observe(forgets("sock-1")))
    assert "spam" in ids(made.observe(took("somebody", "film-1")))
    made.upsert_item(Item(item="spam"))
    assert rank(made, "spam") == 0


def test_a_setting_allows_it() -> None:
    made = trained(SETTINGS.model_copy(update={"recommend_unlisted": True}))
    for number in range(20):
        made.observe(took(f"sock-{number}", "spam", kind="purchase"))
    assert rank(made, "spam") == 0


def test_without_a_catalogue_all_items_are_alike() -> None:
    made = Recommender(SETTINGS)
    made.observe(took("ann", "first"))
    assert ids(made.recommend("a stranger")) == ["first"]
    made.upsert_item(Item(item="second"))
    assert ids(made.recommend("a stranger")) == ["second"]


def test_the_catalogue_is_known_again_from_a_saved_state(tmp_path: object) -> None:
    made = trained()
    for number in range(20):
        made.observe(took(f"sock-{number}", "spam", kind="purchase"))
    path = f"{tmp_path}/saved"
    made.save(path)
    assert ids(Recommender.load(path).recommend("a stranger")) == ids(made.recommend("a stranger"))


def test_an_item_that_left_makes_room_for_one_that_no_catalogue_names() -> None:
    made = Recommender(SETTINGS.model_copy(update={"max_items": 2}))
    made.upsert_item(Item(item="a"))
    made.observe(took("ann", "b"))
    assert ids(made.recommend("a stranger")) == ["a"]
    made.observe(took("bob", "c"))  # in the place of a: now there is no catalogue
    assert set(ids(made.recommend("a stranger"))) == {"b", "c"}
