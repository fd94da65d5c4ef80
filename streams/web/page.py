"""The live page: its files, and the stream of figures and answers that it shows.

`GET /live?user=ID&since=SECONDS` is a stream of server-sent events: `history` once, then `figures`
about twice a second and `answer` whenever that user's list has changed.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files

import msgspec
from aiohttp import web

from engine import lookup
from engine.events import Id, Interaction
from engine.recommender import Recommender
from engine.step.ranking import Ranked
from streams.experiments.lists import recommend
from streams.messages.schemas import encode
from streams.web.answers import RecommendedItem
from streams.web.engine_access import EngineAccess, EngineUnavailableError
from streams.web.errors import RefusedRequest
from streams.web.feed import Feed, Latest, TooManyWatchersError, Watcher
from streams.web.forwarding import Forwarding
from streams.web.lists import with_titles
from streams.web.parameters import check_names, of_query

log = logging.getLogger("millrace.web")

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
    """The user that a page shows, and until when it has the history, in s since the epoch."""

    user: Id | None = None
    since: int = 0


class UserAnswer(msgspec.Struct, frozen=True):
    """An event of the user, and the list that answered it."""

    event_id: str
    kind: str
    value: float | None
    item: str | None
    title: str
    timestamp: int
    items: list[RecommendedItem]


class Page:
    """The handlers; they run in the web server's thread."""

    def __init__(
        self,
        feed: Feed,
        engine: Recommender,
        access: EngineAccess,
        forwarding: Forwarding,
        per_client: int = 16,
    ) -> None:
        self._feed = feed
        self._forwarding = forwarding
        self._per_client = per_client
        self._open: Counter[str] = Counter()
        self._engine = engine
        self._access = access
        self._files = {
            file.name: file.read_bytes()
            for file in files("streams.web").joinpath("static").iterdir()
            if file.name.rpartition(".")[2] in _TYPES
        }

    def join(self, app: web.Application) -> None:
        """Add the routes, and the task that runs as long as the server does."""

        async def follow(_app: web.Application) -> AsyncIterator[None]:
            following = asyncio.create_task(self._feed.run())
            following.add_done_callback(self._ended)
            yield
            following.cancel()
            await asyncio.wait([following])

        async def end(_app: web.Application) -> None:
            self._feed.close()

        app.router.add_get("/", self.page)
        app.router.add_get("/docs", self.docs)
        app.router.add_get("/static/{name}", self.static)
        app.router.add_get("/live", self.live)
        app.cleanup_ctx.append(follow)
        app.on_shutdown.append(end)

    def _ended(self, following: asyncio.Task[None]) -> None:
        if not following.cancelled() and (error := following.exception()) is not None:
            log.error("the live page stops: its figures failed", exc_info=error)
            self._feed.close()

    async def page(self, request: web.Request) -> web.Response:
        """The page itself."""
        return self._file(request, "index.html")

    async def docs(self, request: web.Request) -> web.Response:
        """The page that shows the OpenAPI document."""
        return self._file(request, "docs.html")

    async def static(self, request: web.Request) -> web.Response:
        """The other files of the pages."""
        return self._file(request, request.match_info["name"])

    def _file(self, request: web.Request, name: str) -> web.Response:
        body = self._files.get(name)
        if body is None:
            raise web.HTTPNotFound
        tag = hashlib.sha256(body).hexdigest()[:16]
        known = any(etag.value == tag for etag in request.if_none_match or ())
        response = web.Response(
            body=None if known else body,
            status=304 if known else 200,
            content_type=_TYPES[name.rpartition(".")[2]],
            charset="utf-8",
            headers=_HEADERS,
        )
        response.etag = tag
        return response

    async def live(self, request: web.Request) -> web.StreamResponse:
        """The stream of server-sent events."""
        check_names(request, Watched)
        watched = of_query(request, Watched)
        user = watched.user or ""
        with self._one_more(await self._forwarding.client(request)):
            if user and (heard := await self._forwarding.elsewhere(request, user)) is not None:
                return heard
            return await self._follow(request, user, watched.since)

    async def _follow(self, request: web.Request, user: str, since: int) -> web.StreamResponse:
        """Send this worker's figures and a user's answers, until the page closes or the user
        moves."""
        was_here = self._forwarding.is_here(user)
        try:
            with self._feed.watching(user) as watcher:
                response = web.StreamResponse(
                    headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
                )
                response.content_type, response.charset = "text/event-stream", "utf-8"
                await response.prepare(request)
                here = {"worker": self._forwarding.address}
                history = msgspec.json.encode(here | self._feed.history(since))
                figures = msgspec.json.encode(self._feed.figures())
                with suppress(ConnectionError):  # the browser has gone
                    await response.write(_event("history", history) + _event("figures", figures))
                    while not (
                        self._feed.closed or (user and self._forwarding.has_left(user, was_here))
                    ):
                        await watcher.wake.wait()
                        watcher.wake.clear()
                        await self._tell(watcher, response)
                return response
        except TooManyWatchersError as error:
            raise RefusedRequest(503, str(error)) from None

    @contextmanager
    def _one_more(self, client: str) -> Iterator[None]:
        """Count a page of this address while it is open."""
        if self._open[client] >= self._per_client:
            raise RefusedRequest(
                429, f"{self._per_client} pages of {client} are open: web.pages_per_client"
            )
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]

    async def _tell(self, watcher: Watcher, response: web.StreamResponse) -> None:
        """Send what the page has not got yet, the latest of each kind."""
        latest, watcher.latest = watcher.latest, None
        figures, watcher.figures = watcher.figures, None
        if latest is not None:
            try:
                answer = await self._answer(latest)
            except EngineUnavailableError:  # this is retried with the next figures
                watcher.latest = watcher.latest or latest
            else:
                await response.write(_event("answer", encode(answer)))
        if figures is not None:
            await response.write(_event("figures", figures))

    async def _answer(self, latest: Latest) -> UserAnswer:
        """The event and its answer; where another worker answered, this engine's list."""
        event, answer = latest

        def look() -> UserAnswer:
            engine = self._engine
            ranked = self._listed(event) if answer is None else answer.items
            return UserAnswer(
                event.event_id,
                event.kind,
                event.value,
                event.item,
                lookup.title(engine, event.item) if event.item else "",
                event.timestamp,
                with_titles(engine, ranked),
            )

        return await self._access.ask(look)

    def _listed(self, event: Interaction) -> list[Ranked]:
        """The list that another worker gave in answer to an event."""
        arms = self._feed.arms
        treatment = arms.treatment(arms.of(event.user))
        now, seed = event.timestamp, event.event_id
        return recommend(self._engine, treatment, event.user, now, seed).items


def _event(name: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)
