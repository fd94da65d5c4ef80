"""What a list keeps to when it is asked for: categories, items, what was seen, a context."""

from __future__ import annotations

import pytest

from engine import Item, Rules, lookup
from engine.state.schema import state_digest
from tests.streams.asking import Heard, segment
from tests.streams.conftest import interaction
from tests.streams.served import ODD, Served, refusal

USER = "u1"


@pytest.fixture(scope="module")
def shop(served: Served) -> Served:
    """Every other item is of one category, the others of another; the user viewed two of them."""
    for number, name in enumerate(list(served.engine.items.names)):
        category = "even" if number % 2 == 0 else "odd, rare"
        served.engine.upsert_item(Item(item=name, title=name, categories=[category]))
    for number, item in enumerate(("film-3", "film-4")):  # which the settings let come again
        served.engine.observe(interaction(number, user=USER, item=item, kind="view"))
    served.engine.recommend(USER, 100, Rules(include=frozenset({"even"})))  # compiled, then
    return served


def listed(shop: Served, query: str, user: str = USER) -> list[str]:
    heard = shop.get(f"/users/{segment(user)}/recommendations?{query}")
    assert heard.status == 200, heard.body
    return [entry["item"] for entry in heard.body["items"]]


def categories(shop: Served, items: list[str]) -> set[str]:
    return {
        name for item in items for name in shop.get(f"/items/{segment(item)}").body["categories"]
    }


def test_categories_are_included_and_excluded(shop: Served) -> None:
    everything = listed(shop, "k=100")
    even, odd = listed(shop, "k=100&include=even"), listed(shop, "k=100&exclude=even")
    assert categories(shop, even) == {"even"}
    assert categories(shop, odd) == {"odd, rare"}
    assert sorted(even + odd) == sorted(everything)
    assert listed(shop, "k=100&include=even&include=odd,%20rare") == everything
    assert listed(shop, "include=even&exclude=even") == []


def test_items_are_left_out_by_name(shop: Served) -> None:
    first, second, third, *_ = listed(shop, "k=10")
    query = f"exclude_item={segment(first)}&exclude_item={segment(third)}&exclude_item=nothing"
    left = listed(shop, query)
    assert (left[0], len(left)) == (second, 10)
    assert not {first, third} & set(left)


def test_what_was_seen_is_left_out_when_asked(shop: Served) -> None:
    engine = shop.engine
    taken = {each.item for each in lookup.recent(engine, USER)}
    assert taken & set(listed(shop, "k=100"))
    assert not taken & set(listed(shop, "k=100&exclude_seen=true"))
    assert listed(shop, "k=5&exclude_seen=false") == listed(shop, "k=5")


@pytest.mark.parametrize("user", [USER, "nobody"])
def test_a_context_is_what_goes_with_an_item(shop: Served, user: str) -> None:
    near = {each.item for each in lookup.neighbours(shop.engine, ODD, 100)}
    found = listed(shop, f"k=100&context={segment(ODD)}", user)
    assert found
    assert set(found) <= near - {ODD}
    heard = shop.get(f"/users/{user}/recommendations?context=nothing")
    assert refusal(heard) == (404, "NotFound")
    assert "'nothing'" in heard.body["error"]["message"]


def test_popular_items_are_those_taken_most(shop: Served) -> None:
    engine = shop.engine
    body = shop.get("/popular?k=100").body
    counts = [entry["taken"] for entry in body["items"]]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == round(float(engine.popularity.counts.max()), 4)
    even = [each["item"] for each in shop.get("/popular?k=100&include=even").body["items"]]
    assert categories(shop, even) == {"even"}


def test_trending_is_the_list_of_a_stranger(shop: Served) -> None:
    for query in ("k=7", "k=7&exclude=even"):
        stranger = shop.get(f"/users/nobody/recommendations?{query}").body["items"]
        assert shop.get(f"/trending?{query}").body["items"] == stranger


def test_features_add_up_to_the_scores(shop: Served) -> None:
    for query in ("k=10", "k=5&exclude_seen=true", f"context={segment(ODD)}"):
        path = f"/users/u1/recommendations?{query}"
        plain = shop.get(path).body["items"]
        explained = shop.get(f"{path}&explain=true").body["items"]
        assert plain
        for item, told in zip(plain, explained, strict=True):
            features, goes_with = told.pop("features"), told.pop("goes_with", [])
            assert told == item
            own = {taken["item"] for taken in shop.get("/users/u1").body["interactions"]}
            assert {each["item"] for each in goes_with} <= own
            assert sum(features.values()) == pytest.approx(item["score"], abs=1e-4)
            assert len(features) > 1
    stranger = shop.get("/users/stranger/recommendations?explain=true").body["items"]
    assert stranger[0]["features"] == {"recent_share": stranger[0]["score"]}


def test_asking_for_any_list_teaches_nothing(shop: Served) -> None:
    before = state_digest(shop.engine)
    for path in (
        f"/users/{USER}/recommendations?k=100&exclude_seen=true&context={segment(ODD)}",
        "/popular", "/trending?include=even", f"/items/{segment(ODD)}/similar",
    ):  # fmt: skip
        assert shop.get(path).status == 200
    assert state_digest(shop.engine) == before


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("path", "class_", "told"),
    [
        (
            "/users/u1/recommendations?K=3",
            "UnknownParameter",
            "'K': no such parameter; known are k",
        ),
        ("/users/u1?k=3", "UnknownParameter", "'k': no such parameter; there is none here"),
        ("/items/film-1?verbose=1", "UnknownParameter", "'verbose'"),
        ("/popular?exclude_seen=true", "UnknownParameter", "'exclude_seen'"),
        ("/users/u1/recommendations?k=3&k=4", "BadRequest", "k: it comes 2 times"),
        ("/users/u1/recommendations?exclude_seen=perhaps", "WrongType", "exclude_seen: 'perhaps'"),
        ("/users/u1/recommendations?include=", "EmptyId", "include"),
        ("/users/u1/recommendations?exclude_item=%20", "EmptyId", "exclude_item"),
        ("/users/u1/recommendations?" + "include=a&" * 101, "TooLong", "include"),
    ],
)
def test_what_means_nothing_is_told_by_name(
    shop: Served, path: str, class_: str, told: str
) -> None:
    heard: Heard = shop.get(path)
    assert refusal(heard) == (400, class_)
    assert told in heard.body["error"]["message"]
