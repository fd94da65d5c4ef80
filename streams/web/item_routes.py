"""The routes of items: facts, neighbours, and changes of the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from engine import lookup
from engine.events import CategoryNames, Id, Properties, Text, Timestamp, Title
from engine.lookup import ItemFacts, Neighbour
from engine.recommender import Recommender
from engine.rules import Rules
from streams.messages.bad_message import BadMessage, field_name, shown
from streams.messages.decoding import decode_item_update
from streams.messages.json_reader import read
from streams.messages.limits import check_size, check_work
from streams.messages.validation import decoded
from streams.settings import Settings
from streams.web.answers import ItemAccepted, ItemNeighbours, PopularItems, TrendingItems, answer
from streams.web.errors import RefusedRequest
from streams.web.lists import Categories, Count, of_categories, with_titles
from streams.web.message_writer import MessageWriter
from streams.web.openapi import Operation
from streams.web.parameters import of_path, of_query
from streams.web.ready_engine import ReadyEngine
from streams.web.request_body import body_of, limits

T = TypeVar("T")

Nearest = Callable[[Recommender, str, int], list[Neighbour]]


class OfItem(msgspec.Struct, frozen=True):
    """The item in the path."""

    item: Id


class HowMany(msgspec.Struct, frozen=True):
    """How many items are wanted."""

    k: Count = 10


class Popularity(msgspec.Struct, frozen=True):
    """How many items, and of which categories; without any, those of the settings."""

    k: Count = 10
    include: Categories = ()
    exclude: Categories = ()


class ItemContent(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What the catalogue says of an item, but for its id."""

    title: Title = ""
    text: Text = ""
    categories: CategoryNames = msgspec.field(default_factory=list)
    properties: Properties = msgspec.field(default_factory=dict)
    timestamp: Timestamp | None = None
    hidden: bool = False


_CONTENT = msgspec.json.Decoder(ItemContent)
_PATCH_RULES = {
    "minProperties": 1,
    "dependentRequired": {"title": ["text"], "categories": ["text"]},
}


class ItemRoutes:
    """The handlers; they run in the web server's thread."""

    def __init__(self, ready: ReadyEngine, writer: MessageWriter, settings: Settings) -> None:
        self._ready = ready
        self._writer = writer
        self._message_bytes = settings.topics.message_bytes
        self._web = settings.web
        written = (400, 408, 413, 415, 503)
        self.operations = (
            Operation(
                "GET", "/items/{item}", "What is known of an item",
                self.facts, ItemFacts, (400, 404, 503), in_path=OfItem,
            ),
            Operation(
                "PUT", "/items/{item}", "Describe an item anew",
                self.replace_item, ItemAccepted, written, status=202,
                in_path=OfItem, body=ItemContent,
            ),
            Operation(
                "PATCH", "/items/{item}", "Change what is given of an item",
                self.change_item, ItemAccepted, (*written, 404), status=202,
                in_path=OfItem, body=ItemContent, body_rules=_PATCH_RULES,
            ),
            Operation(
                "DELETE", "/items/{item}", "Take an item out of the catalogue",
                self.delete_item, ItemAccepted, (400, 503), status=202, in_path=OfItem,
            ),
            Operation(
                "GET", "/items/{item}/neighbours", "What users take around an item",
                self.neighbours, ItemNeighbours, (400, 404, 503),
                in_path=OfItem, in_query=HowMany,
            ),
            Operation(
                "GET", "/items/{item}/similar", "Items whose text is like an item's",
                self.similar, ItemNeighbours, (400, 404, 503),
                in_path=OfItem, in_query=HowMany,
            ),
            Operation(
                "GET", "/popular", "The items that were taken most",
                self.popular, PopularItems, (400, 503), in_query=Popularity,
            ),
            Operation(
                "GET", "/trending", "What is trending, as somebody unknown is recommended",
                self.trending, TrendingItems, (400, 503), in_query=Popularity,
            ),
        )  # fmt: skip

    # ------------------------------------------------------------------ what is asked

    async def facts(self, request: web.Request) -> web.Response:
        """Facts of the item."""
        item, engine = of_path(request, OfItem).item, self._ready.engine
        found = await self._ready.ask(lambda: lookup.facts(engine, item))
        return answer(_known(item, found))

    async def neighbours(self, request: web.Request) -> web.Response:
        """Items that users take close to this one."""
        return await self._near(request, lookup.neighbours)

    async def similar(self, request: web.Request) -> web.Response:
        """Items whose texts are like this one's."""
        return await self._near(request, lookup.similar)

    async def _near(self, request: web.Request, nearest: Nearest) -> web.Response:
        item, k = of_path(request, OfItem).item, of_query(request, HowMany).k
        engine = self._ready.engine

        def look() -> ItemNeighbours | None:
            if not lookup.knows_item(engine, item):
                return None
            return ItemNeighbours(item, lookup.title(engine, item), nearest(engine, item, k))

        return answer(_known(item, await self._ready.ask(look)))

    async def popular(self, request: web.Request) -> web.Response:
        """The items that were taken most."""
        wanted, engine = of_query(request, Popularity), self._ready.engine

        def look() -> PopularItems:
            return PopularItems(lookup.popular(engine, wanted.k, self._rules(wanted)))

        return answer(await self._ready.ask(look))

    async def trending(self, request: web.Request) -> web.Response:
        """The trending items."""
        wanted, engine = of_query(request, Popularity), self._ready.engine

        def look() -> TrendingItems:
            # No user has an empty id.
            ranked = engine.recommend("", wanted.k, self._rules(wanted)).items
            return TrendingItems(with_titles(engine, ranked))

        return answer(await self._ready.ask(look))

    def _rules(self, wanted: Popularity) -> Rules:
        return of_categories(self._ready.engine.rules, wanted.include, wanted.exclude)

    # ------------------------------------------------------------------ what is written

    async def replace_item(self, request: web.Request) -> web.Response:
        """Write the whole item: fields that the body lacks become empty."""
        item = of_path(request, OfItem).item
        content, _ = await self._content(request)
        # With its defaults, which the encoder would leave out: a field that is not given stays as
        # it was.
        fields = msgspec.structs.asdict(content)
        if content.timestamp is None:
            del fields["timestamp"]
        return await self._write(item, fields)

    async def change_item(self, request: web.Request) -> web.Response:
        """Write the fields that the body gives; some of them only together.

        Kafka keeps only the last message about an item, and the embedding is made of title, text
        and categories of one message.
        """
        item = of_path(request, OfItem).item
        content, given = await self._content(request)
        if not given:
            raise BadMessage("MissingField", "the body: it gives nothing to change")
        if given & {"title", "categories"} and "text" not in given:
            raise BadMessage(
                "MissingField",
                'text: missing; send it with title or categories ("" for none): the item is ranked '
                "by all three together",
            )
        engine = self._ready.engine
        known = _known(item, await self._ready.ask(lambda: lookup.facts(engine, item)))
        fields = {name: getattr(content, name) for name in given}
        if "text" in given:
            title = "" if known.title == item else known.title
            fields = {"title": title, "categories": known.categories} | fields
        if known.hidden:
            fields = {"hidden": True} | fields
        return await self._write(item, fields)

    async def delete_item(self, request: web.Request) -> web.Response:
        """Write the item's tombstone."""
        item = of_path(request, OfItem).item
        at = await self._writer.item(item, None)
        return answer(ItemAccepted(item, at.topic, at.partition, at.offset), 202)

    async def _content(self, request: web.Request) -> tuple[ItemContent, set[str]]:
        """The item in the body, and the names of the fields that it gives."""
        body = await body_of(request, self._web)
        with limits():
            check_work(body)
        document = read(body)
        for name in document.keys() - set(ItemContent.__struct_fields__):
            known = ", ".join(ItemContent.__struct_fields__)
            raise RefusedRequest(
                400, f"{field_name(name)}: no such field; known are {known}", "UnknownField"
            )
        return decoded(_CONTENT, body, document), set(document)

    async def _write(self, item: str, fields: dict[str, Any]) -> web.Response:
        message = msgspec.json.encode({"item": item} | fields)
        with limits():
            check_size(item.encode(), message, (), self._message_bytes)
            check_work(message)
        decode_item_update(message)  # the worker reads it in the same way
        at = await self._writer.item(item, message)
        return answer(ItemAccepted(item, at.topic, at.partition, at.offset), 202)


def _known(item: str, found: T | None) -> T:
    """What was found, unless it is None; raises `RefusedRequest` (404) then."""
    if found is None:
        raise RefusedRequest(404, f"item: {shown(item)} is not known")
    return found
