"""What messages of the catalogue do to the engine: described, embedded and removed items."""

from __future__ import annotations

import numpy as np

from engine import EngineSettings, Item, Recommender
from tests.engine.builders import WITHOUT_TEXT, ids, state, took

WITH_TEXT = EngineSettings()
WHOLE = frozenset({"item", "title", "text", "categories", "hidden"})


def described(settings: EngineSettings = WITHOUT_TEXT) -> Recommender:
    """Two items and a user who took neither."""
    made = Recommender(settings)
    made.describe_item(Item(item="a", title="Alien", categories=["Horror"]), WHOLE)
    made.describe_item(Item(item="b", title="Brazil", categories=["Comedy"], hidden=True), WHOLE)
    made.observe(took("ann", "other"), answer=False)
    return made


def embedding(seed: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    vector = np.random.default_rng(seed).normal(size=384).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def test_an_item_is_recommended_and_a_hidden_one_is_not_without_any_embedding() -> None:
    for settings in (WITHOUT_TEXT, WITH_TEXT):
        assert ids(described(settings).recommend("ann")) == ["a"]


def test_a_price_alone_changes_nothing_of_an_item() -> None:
    made = described(WITH_TEXT)
    made.embed_item("a", embedding(1))
    before = state(made)
    for name in ("a", "b"):
        made.describe_item(Item(item=name, properties={"price": 3}), {"item", "properties"})
    assert state(made) == before


def test_hidden_alone_hides_and_shows_and_keeps_the_rest() -> None:
    made = described(WITH_TEXT)
    made.embed_item("a", embedding(1))
    before = state(made)
    made.describe_item(Item(item="a", hidden=True), {"item", "hidden"})
    assert ids(made.recommend("ann")) == []
    made.describe_item(Item(item="a", hidden=False), {"item", "hidden"})
    assert ids(made.recommend("ann")) == ["a"]
    assert state(made) == before


def test_an_embedding_of_an_unknown_item_makes_no_item() -> None:
    made = described(WITH_TEXT)
    before = state(made)
    made.embed_item("unknown", embedding(2))
    assert state(made) == before
    made.embed_item("a", embedding(2))
    assert state(made) != before


def test_a_removed_item_is_back_once_it_is_described_anew() -> None:
    for settings in (WITHOUT_TEXT, WITH_TEXT):
        made = described(settings)
        made.remove_item("a")
        assert ids(made.recommend("ann")) == []
        made.embed_item("a", embedding(3))  # it was being encoded when the tombstone came
        assert ids(made.recommend("ann")) == []
        made.describe_item(Item(item="a", title="Alien"), {"item", "title"})
        assert ids(made.recommend("ann")) == ["a"]


def test_to_remove_an_unknown_item_makes_no_item() -> None:
    made = described()
    before = state(made)
    made.remove_item("unknown")
    assert state(made) == before


def test_what_is_told_twice_changes_nothing_of_an_index() -> None:
    """A worker reads an item's embedding and its message, which say the same of it."""
    made = described(EngineSettings(exact_items=1))  # more items than are scored whole
    before = state(made)
    made.describe_item(Item(item="a", title="Alien", categories=["Horror"]), WHOLE)
    assert state(made) == before
    made.describe_item(Item(item="a", title="Alien", categories=["Horror", "Space"]), WHOLE)
    assert state(made) != before
