"""What an item's message says holds at once; the embedding of its text may come later."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from engine.events import Item
from engine.recommender import Recommender
from streams.settings import Settings
from streams.worker.catalogue import Catalogue
from tests.streams.conftest import Path

pytestmark = pytest.mark.parametrize("broker", ["kafka"], indirect=True)


class Told:
    """The items topic of one test, and an engine that follows it."""

    def __init__(self, settings: Settings) -> None:
        self.path = Path(settings)
        self.engine = Recommender(settings.engine)
        self.read = 0

    def send(self, item: str, value: dict[str, object] | None) -> None:
        data = None if value is None else msgspec.json.encode({"item": item} | value)
        self.path.producer.produce(self.path.names.items, data, item, 0)
        self.path.flush()

    def shown(self) -> dict[str, str]:
        """Read the topics to their ends; who is recommended to a stranger, and why."""
        Catalogue(self.path.settings, self.engine).read_to_end()
        return {ranked.item: ranked.reason for ranked in self.engine.recommend("nobody").items}


@pytest.fixture
def told(settings: Callable[..., Settings]) -> Told:
    return Told(settings(topics={"partitions": 1}))


def test_what_an_item_says_holds_without_an_embedding_of_its_text(told: Told) -> None:
    told.send("m1", {"title": "Alien", "text": "A crew meets something.", "categories": ["Horror"]})
    told.send("m2", {"title": "Gone", "text": "Not on sale any more.", "hidden": True})
    assert told.shown().keys() == {"m1"}
    number = told.engine.items.find("m1")
    assert number is not None
    assert told.engine.categories.of(number) == ["Horror"]
    assert told.path.counts()[told.path.names.item_embeddings] == 0  # nobody encoded anything


def test_an_item_that_is_buried_for_its_size_says_nothing(told: Told) -> None:
    told.send("m1", {"title": "Alien"})
    told.send("m1", {"title": "Changed", "properties": {f"p{n}": n for n in range(10_000)}})
    told.send("m2", {"title": "Gone", "hidden": True})
    assert told.shown() == {"m1": "trending"}
    number = told.engine.items.find("m1")
    assert number is not None
    assert told.engine.reasons[number] == "because of Alien"


def test_a_message_of_a_price_alone_leaves_the_rest_as_it_is(told: Told) -> None:
    told.send("m1", {"title": "Alien", "categories": ["Horror"]})
    told.send("m2", {"title": "Gone", "hidden": True})
    told.send("m1", {"properties": {"price": 9}})
    told.send("m2", {"properties": {"price": 9}})
    assert told.shown().keys() == {"m1"}
    number = told.engine.items.find("m1")
    assert number is not None
    assert told.engine.categories.of(number) == ["Horror"]
    assert told.engine.reasons[number] == "because of Alien"


def test_a_deleted_item_comes_back_when_it_is_described_anew(told: Told) -> None:
    told.send("m1", {"title": "Alien"})
    told.send("m2", {"title": "Aliens"})
    told.send("m1", None)
    assert told.shown().keys() == {"m2"}
    told.send("m1", {"title": "Alien"})
    assert told.shown().keys() == {"m1", "m2"}


def test_an_embedding_that_comes_late_changes_nothing_else(told: Told) -> None:
    import numpy as np

    engine = told.engine
    engine.upsert_item(Item(item="m1", title="Alien", categories=["Horror"]), None)
    engine.describe_item(Item(item="m1", hidden=True), {"item", "hidden"})
    engine.embed_item("m1", np.ones(384, np.float32))
    engine.embed_item("unknown", np.ones(384, np.float32))
    assert engine.recommend("nobody").items == []
    assert engine.items.find("unknown") is None
