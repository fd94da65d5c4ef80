"""Limits on connections: how many are open, and how long one may be open without a request.

aiohttp limits neither before a connection's first request, and the file descriptors of a process
are few: the worker's Kafka clients and checkpoints need some, too.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from streams.settings import WebSettings


class Connections:
    """The open connections of one server; for its event loop alone.

    A connection that has had no request being handled for `idle_seconds` is closed, whatever bytes
    came in that time, and so is one that has not sent a whole header by then. When `connections`
    are open, a new one takes the place of the one that has been idle longest; it is closed itself
    if all others have a request being handled.
    """

    def __init__(self, settings: WebSettings) -> None:
        self.most = settings.connections
        self._idle_seconds = settings.idle_seconds
        self._open: dict[asyncio.BaseProtocol, _Connection] = {}
        self._idle: OrderedDict[_Connection, asyncio.TimerHandle] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def factory(self, make: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """A protocol factory that adds these limits to aiohttp's."""
        return lambda: _Connection(make(), self)

    @property
    def middleware(self) -> Middleware:
        """Middleware that notes which connections have a request being handled."""

        @web.middleware
        async def busy(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = self._open.get(request.protocol)
            if connection is not None:
                self._busy(connection)
            try:
                return await handler(request)
            finally:
                if connection is not None:
                    self._rest(connection)

        return busy

    def opened(self, connection: _Connection) -> bool:
        """Count a connection; returns False if there is no room for it."""
        if len(self._open) >= self.most:
            if not self._idle:
                return False
            self._drop(next(iter(self._idle)))
        self._open[connection.inner] = connection
        self._rest(connection)
        return True

    def closed(self, connection: _Connection) -> None:
        """Count a connection no longer."""
        self._open.pop(connection.inner, None)
        self._busy(connection)

    def _busy(self, connection: _Connection) -> None:
        timer = self._idle.pop(connection, None)
        if timer is not None:
            timer.cancel()

    def _rest(self, connection: _Connection) -> None:
        if connection.inner in self._open and connection not in self._idle:
            loop = asyncio.get_running_loop()
            self._idle[connection] = loop.call_later(self._idle_seconds, self._drop, connection)

    def _drop(self, connection: _Connection) -> None:
        # Its descriptor is free once the loop calls `connection_lost`; it counts no more from here.
        self.closed(connection)
        connection.abort()


class _Connection(asyncio.Protocol):
    """Passes all calls to aiohttp's protocol, unless there is no room for the connection."""

    def __init__(self, inner: asyncio.Protocol, connections: Connections) -> None:
        self.inner = inner
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._accepted = False

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._accepted = self._connections.opened(self)
        if self._accepted:
            self.inner.connection_made(transport)
        else:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._accepted:
            self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self.inner.eof_received() if self._accepted else None

    def pause_writing(self) -> None:
        if self._accepted:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        if self._accepted:
            self.inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.closed(self)
        if self._accepted:
            self.inner.connection_lost(error)
