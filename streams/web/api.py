"""The HTTP API: what the engine answers now, and interactions on their way to Kafka."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import Meta

from engine import lookup
from engine.events import Id, Interaction
from engine.lookup import Neighbour, Taken
from engine.recommender import Recommender
from streams.messages.bad_message import BadMessage, shown
from streams.messages.decoding import decode_interaction
from streams.messages.dialect import Dialect
from streams.messages.limits import check_size, check_work
from streams.messages.schemas import Model, encode
from streams.messages.validation import explained
from streams.settings import Settings
from streams.web.engine_access import EngineAccess
from streams.web.errors import RefusedRequest
from streams.web.openapi import Operation, document
from streams.web.posting import InteractionWriter, kafka_headers
from streams.worker.health import Health

T = TypeVar("T")


class RecommendedItem(msgspec.Struct, frozen=True):
    """One recommended item, the score it was ranked by (a logit) and why."""

    item: str
    title: str
    score: float
    reason: str


class UserRecommendations(msgspec.Struct, frozen=True):
    """A user's best items now; what is trending for somebody who is not known."""

    user: str
    known: bool
    items: list[RecommendedItem]
    model: Model


class UserInteractions(msgspec.Struct, frozen=True):
    """What a user took, newest first, as far as the graph holds it."""

    user: str
    known: bool
    interactions: list[Taken]


class ItemNeighbours(msgspec.Struct, frozen=True):
    """An item, and what users take around it, nearest first."""

    item: str
    title: str
    neighbours: list[Neighbour]


class Accepted(msgspec.Struct, frozen=True):
    """Where Kafka has an interaction, which is known by its `event_id`."""

    event_id: str
    topic: str
    partition: int
    offset: int


class OfUser(msgspec.Struct, frozen=True):
    """Whom it is about."""

    user: Id


class OfItem(msgspec.Struct, frozen=True):
    """What it is about."""

    item: Id


class HowMany(msgspec.Struct, frozen=True):
    """How many are asked for."""

    k: Annotated[int, Meta(ge=1, le=100)] = 10


class Api:
    """The handlers; they run in the web server's thread."""

    def __init__(
        self,
        engine: Recommender,
        model: Model,
        access: EngineAccess,
        health: Health,
        writer: InteractionWriter,
        settings: Settings,
    ) -> None:
        self._engine = engine
        self._model = model
        self._access = access
        self._health = health
        self._writer = writer
        self._dialect = Dialect.of(settings)
        self._message_bytes = settings.topics.message_bytes
        self._body_bytes = min(settings.web.body_bytes, settings.topics.message_bytes)
        self._body_seconds = settings.web.body_seconds
        self.operations = (
            Operation(
                "GET", "/users/{user}/recommendations", "A user's best items now",
                self.recommendations, UserRecommendations, (400, 503),
                in_path=OfUser, in_query=HowMany,
            ),
            Operation(
                "GET", "/users/{user}", "What a user took, newest first",
                self.interactions, UserInteractions, (400, 503), in_path=OfUser,
            ),
            Operation(
                "GET", "/items/{item}/neighbours", "What users take around an item",
                self.neighbours, ItemNeighbours, (400, 404, 503),
                in_path=OfItem, in_query=HowMany,
            ),
            Operation(
                "POST", "/interactions", "Write an interaction to Kafka",
                self.post, Accepted, (400, 408, 413, 503), status=202, body=Interaction,
            ),
        )  # fmt: skip
        token = bool(settings.web.token.get_secret_value())
        self._document = msgspec.json.encode(document(self.operations, token, engine.kinds.known))

    def routes(self) -> list[web.RouteDef]:
        """All of it, for the server's application."""
        routes = [operation.route() for operation in self.operations]
        return [*routes, web.get("/openapi.json", self.openapi)]

    async def openapi(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._document, content_type="application/json")

    async def recommendations(self, request: web.Request) -> web.Response:
        user, k = _of_path(request, OfUser).user, _of_query(request, HowMany).k
        now = time.time_ns() // 1_000_000

        def look() -> UserRecommendations:
            known = lookup.knows_user(self._engine, user)
            items = [
                RecommendedItem(
                    ranked.item,
                    lookup.title(self._engine, ranked.item),
                    ranked.score,
                    ranked.reason,
                )
                for ranked in self._engine.recommend(user, k, now=now).items
            ]
            return UserRecommendations(user, known, items, self._model)

        return _answer(await self._ask(look))

    async def interactions(self, request: web.Request) -> web.Response:
        user = _of_path(request, OfUser).user

        def look() -> UserInteractions:
            known = lookup.knows_user(self._engine, user)
            return UserInteractions(user, known, lookup.recent(self._engine, user))

        return _answer(await self._ask(look))

    async def neighbours(self, request: web.Request) -> web.Response:
        item, k = _of_path(request, OfItem).item, _of_query(request, HowMany).k

        def look() -> ItemNeighbours | None:
            if not lookup.knows_item(self._engine, item):
                return None
            found = lookup.neighbours(self._engine, item, k)
            return ItemNeighbours(item, lookup.title(self._engine, item), found)

        found = await self._ask(look)
        if found is None:
            raise RefusedRequest(404, f"item: {shown(item)} is not known")
        return _answer(found)

    async def post(self, request: web.Request) -> web.Response:
        value = await self._body(request)
        try:
            check_work(value)
        except BadMessage as error:
            raise RefusedRequest(413, error.message) from None
        headers = kafka_headers(request.headers.items())
        interaction = decode_interaction(value, headers, int(time.time() * 1000), self._dialect)
        try:
            check_size(interaction.user.encode(), value, headers, self._message_bytes)
        except BadMessage as error:
            raise RefusedRequest(413, error.message) from None
        at = await self._writer.write(interaction.user, value, headers)
        accepted = Accepted(interaction.event_id, at.topic, at.partition, at.offset)
        return _answer(accepted, 202)

    async def _body(self, request: web.Request) -> bytes:
        """The body, unpacked; nothing of one is read whose length says that it is too large."""
        most, seconds = self._body_bytes, self._body_seconds
        too_large = RefusedRequest(413, f"the body: at most web.body_bytes = {most} are taken")
        if (request.content_length or 0) > most:
            raise too_large
        try:
            async with asyncio.timeout(seconds):
                return await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise too_large from None
        except TimeoutError:
            raise RefusedRequest(
                408, f"the body: not here within web.body_seconds = {seconds:g} s"
            ) from None
        except (web.RequestPayloadError, HttpProcessingError) as error:
            reason = " ".join(str(error).split())[:200]
            raise RefusedRequest(400, f"the body: it cannot be read: {reason}") from None

    async def _ask(self, function: Callable[[], T]) -> T:
        if not self._health.readable:
            raise RefusedRequest(503, f"the worker is not ready: {self._health.reason}")
        return await self._access.ask(function)


def _answer(found: msgspec.Struct, status: int = 200) -> web.Response:
    return web.Response(body=encode(found), status=status, content_type="application/json")


def _of_path(request: web.Request, type_: type[T]) -> T:
    """The parameter of a path, which is its second segment; raises `BadMessage`."""
    [name] = msgspec.structs.fields(type_)  # type: ignore[arg-type]
    # As it was sent: what aiohttp has decoded tells %FF from %25FF no more.
    raw = request.rel_url.raw_path.split("/")[2].encode(errors="surrogateescape")
    try:
        value = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise BadMessage("NotUtf8", f"{name.name}: {shown(raw)} is not UTF-8") from None
    return _converted({name.name: value}, type_)


def _of_query(request: web.Request, type_: type[T]) -> T:
    """The parameters of a query; those that are not of it are passed over."""
    return _converted(dict(request.query), type_)


def _converted(fields: dict[str, str], type_: type[T]) -> T:
    try:
        return msgspec.convert(fields, type_, strict=False)
    except msgspec.ValidationError as error:
        raise explained(error, fields) from None
