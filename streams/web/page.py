"""The live page: its files, and the stream of figures and answers that it shows.

`GET /live?user=ID&since=SECONDS` is a stream of server-sent events: `history` once, then `figures`
about twice a second and `answer` whenever that user's list has changed.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Any

import msgspec
from aiohttp import web

from engine import lookup
from engine.events import Id
from engine.recommender import Ranked, Recommender
from streams.messages import encode
from streams.web.api import RecommendedItem
from streams.web.engine_access import EngineAccess
from streams.web.errors import RefusedRequest
from streams.web.feed import Feed, Latest, TooManyWatchersError

STATIC = "/static/"
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Watched(msgspec.Struct, frozen=True):
    """Whom a page shows, and up to when it knows the history, in s since the epoch."""

    user: Id | None = None
    since: int = 0


class UserAnswer(msgspec.Struct, frozen=True):
    """An event of the user, and the list that they have since."""

    event_id: str
    kind: str
    value: float | None
    item: str | None
    title: str
    timestamp: int
    items: list[RecommendedItem]


class Page:
    """The handlers; they run in the web server's thread."""

    def __init__(self, feed: Feed, engine: Recommender, access: EngineAccess) -> None:
        self._feed = feed
        self._engine = engine
        self._access = access
        self._files = {
            file.name: file.read_bytes()
            for file in files("streams.web").joinpath("static").iterdir()
            if file.name.rpartition(".")[2] in _TYPES
        }

    def routes(self) -> list[web.RouteDef]:
        """All of it, for the server's application."""
        return [
            web.get("/", self.page),
            web.get(STATIC + "{name}", self.static),
            web.get("/live", self.live),
        ]

    async def page(self, request: web.Request) -> web.Response:
        return self._file(request, "index.html")

    async def static(self, request: web.Request) -> web.Response:
        return self._file(request, request.match_info["name"])

    def _file(self, request: web.Request, name: str) -> web.Response:
        body = self._files.get(name)
        if body is None:
            raise web.HTTPNotFound
        etag = hashlib.sha256(body).hexdigest()[:16]
        if any(known.value == etag for known in request.if_none_match or ()):
            return web.Response(status=304, headers={**_HEADERS, "ETag": f'"{etag}"'})
        response = web.Response(
            body=body,
            content_type=_TYPES[name.rpartition(".")[2]],
            charset="utf-8",
            headers=_HEADERS,
        )
        response.etag = etag
        return response

    async def live(self, request: web.Request) -> web.StreamResponse:
        watched = _watched(request)
        try:
            with self._feed.watching(watched.user or "") as watcher:
                response = web.StreamResponse(
                    headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
                )
                response.content_type, response.charset = "text/event-stream", "utf-8"
                await response.prepare(request)
                history = msgspec.json.encode(self._feed.history(watched.since))
                await response.write(_event("history", history))
                while not self._feed.closed:
                    await watcher.wake.wait()
                    watcher.wake.clear()
                    latest, watcher.latest = watcher.latest, None
                    figures, watcher.figures = watcher.figures, None
                    if latest is not None:
                        await response.write(_event("answer", await self._answer(latest)))
                    if figures is not None:
                        await response.write(_event("figures", figures))
                return response
        except TooManyWatchersError as error:
            raise RefusedRequest(503, str(error)) from None

    async def _answer(self, latest: Latest) -> bytes:
        """The event and its answer; what another worker answered is asked of the engine."""
        interaction, answer = latest

        def look() -> UserAnswer:
            engine = self._engine
            ranked: list[Any] = answer.items if answer else engine.recommend(interaction.user).items
            return UserAnswer(
                interaction.event_id,
                interaction.kind,
                interaction.value,
                interaction.item,
                lookup.title(engine, interaction.item) if interaction.item else "",
                interaction.timestamp,
                [_titled(engine, entry) for entry in ranked],
            )

        return encode(await self._access.ask(look))


def _watched(request: web.Request) -> Watched:
    return converted(dict(request.query), Watched)


def _titled(engine: Recommender, entry: RankedItem | Ranked) -> RecommendedItem:
    return RecommendedItem(
        entry.item, lookup.title(engine, entry.item), entry.score, entry.reason
    )


def _event(name: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)
