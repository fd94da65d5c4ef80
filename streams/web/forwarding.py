"""Passes a request about a user on to the worker that has the user.

A client, a load balancer or the page may therefore ask any worker, with the same token, and is
answered by the one that learnt from the user's last event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from http import HTTPStatus

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from streams.kafka.partitioner import partition_of
from streams.web.engine_access import PATIENCE_SECONDS
from streams.web.errors import Error, RefusedRequest
from streams.web.workers import Workers, host
from streams.worker.health import Health
from streams.worker.partition import Partition

FORWARDED_FOR = "Millrace-Forwarded-For"
"""Header of a request that was passed on, which happens once only: the client's address."""
_CONNECT_SECONDS = 2.0
_AGAIN_SECONDS = 0.1
_ANSWER_SECONDS = 10.0
_PASSED_ON = ("Authorization", "Accept", "User-Agent", "traceparent", "tracestate")
_PASSED_BACK = ("Content-Type", "Cache-Control", "Retry-After", "X-Content-Type-Options")


class Forwarding:
    """Answers by another worker. For the web server's event loop.

    Parameters
    ----------
    partitions
        The input's partitions by number, as `Assignment.partitions`; if there are none, this worker
        answers all.
    """

    def __init__(
        self, partitions: Mapping[int, Partition], workers: Workers, health: Health
    ) -> None:
        self._partitions, self._workers, self._health = partitions, workers, health
        self._session: aiohttp.ClientSession | None = None

    def join(self, app: web.Application) -> None:
        """Keep connections to other workers open while the server runs."""

        async def open_session(_app: web.Application) -> None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=_CONNECT_SECONDS, sock_read=_ANSWER_SECONDS
                ),
            )

        async def close_session(_app: web.Application) -> None:
            if self._session is not None:
                await self._session.close()  # ends the streams that are passed on

        app.on_startup.append(open_session)
        app.on_shutdown.append(close_session)

    @property
    def address(self) -> str:
        """The address of this worker."""
        return self._workers.address

    def is_here(self, user: str) -> bool:
        """Whether this worker answers for a user, as far as it knows itself."""
        return not self._partitions or self._of(user).ours

    def has_left(self, user: str, was_here: bool) -> bool:
        """Whether this worker has stopped answering for a user; `was_here`: whether it did
        before."""
        if self.is_here(user):
            return False
        return was_here or (self._health.readable and not self._of(user).held)

    async def elsewhere(
        self, request: web.Request, user: str, or_here: bool = False
    ) -> web.StreamResponse | None:
        """The answer of the worker that has the user; None if that is this one.

        While the user's partition moves this retries, for `PATIENCE_SECONDS`.

        Parameters
        ----------
        or_here
            Whether this worker may answer after that, from what it knows.

        Raises
        ------
        RefusedRequest
            503, if no worker has the user, or the one that has them cannot be asked.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await self._once(request, user)
            except RefusedRequest:
                if time.monotonic() > deadline or FORWARDED_FOR in request.headers:
                    if or_here:
                        return None
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _once(self, request: web.Request, user: str) -> web.StreamResponse | None:
        if self.is_here(user):
            return None
        partition = self._of(user)
        if FORWARDED_FOR not in request.headers:
            owner = await self._workers.owner(partition.number)
            if owner == "":
                raise RefusedRequest(
                    503,
                    f"the worker that has partition {partition.number} has no web server: its "
                    "web.port is 0",
                )
            if owner not in (None, self._workers.address):
                return await self._pass_on(request, owner)
        # No other worker has it: this one still does, or answers itself that it is not ready.
        if partition.held or not self._health.readable:
            return None
        raise RefusedRequest(
            503, f"partition {partition.number}, which the user is of, moves between workers"
        )

    def _of(self, user: str) -> Partition:
        return self._partitions[partition_of(user, len(self._partitions))]

    async def _pass_on(self, request: web.Request, owner: str) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        headers[FORWARDED_FOR] = request.remote or "unknown"
        url = URL(f"http://{owner}{request.raw_path}", encoded=True)
        response = web.StreamResponse()
        assert self._session is not None
        try:
            async with self._session.request(
                request.method, url, headers=headers, allow_redirects=False
            ) as heard:
                if heard.status == HTTPStatus.SERVICE_UNAVAILABLE:
                    told = msgspec.json.decode(await heard.read(), type=Error)
                    raise RefusedRequest(503, f"the worker at {owner}: {told.error.message}")
                response.set_status(heard.status)
                for name in _PASSED_BACK:
                    if name in heard.headers:
                        response.headers[name] = heard.headers[name]
                await response.prepare(request)
                async for part in heard.content.iter_any():
                    await response.write(part)
                await response.write_eof()
                return response
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
            if response.prepared:  # the client sees it end too early, and asks again
                raise ConnectionError(str(error)) from error
            raise RefusedRequest(
                503, f"the worker at {owner}, which has the user, does not answer: {error}"
            ) from None

    async def client(self, request: web.Request) -> str:
        """The client's address, also if another worker has passed the request on."""
        found = request.remote or ""
        named = request.headers.get(FORWARDED_FOR)
        if named is not None and found in [host(each) for each in await self._workers.known()]:
            return named
        return found
