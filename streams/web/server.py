"""The worker's web server: /metrics for Prometheus, /health for orchestrators, and the routes that
other modules add.

It has its own thread and event loop, so that it answers even when the worker's hangs.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from streams.settings import Settings, SettingsError, WebSettings
from streams.web.connections import Connections
from streams.web.errors import errors_as_json
from streams.web.guards import guards, is_loopback
from streams.web.http_metrics import HttpMetrics
from streams.worker.health import Health

log = logging.getLogger("millrace.web")

_PORTS = 16
"""Ports that are tried if none is set, for several workers on one machine."""


class Part(Protocol):
    """Something that runs as long as the server does, beside its routes."""

    def join(self, app: web.Application) -> None:
        """Add it to the application."""


def application(
    metrics: CollectorRegistry,
    health: Health,
    settings: WebSettings,
    routes: Iterable[web.AbstractRouteDef] = (),
    parts: Iterable[Part] = (),
    connections: Connections | None = None,
) -> web.Application:
    """The routes, those of others among them, behind the guards that the settings ask for.

    Requests are counted in `metrics`.
    """

    async def live(_request: web.Request) -> web.Response:
        found = {"status": "live"}
        if health.input_gone:  # it waits: the answer says what for
            found["waiting_for"] = health.input_gone
        return web.json_response(found)

    async def ready(_request: web.Request) -> web.Response:
        if health.ready:
            return web.json_response({"status": "ready"})
        answer = {"status": "not ready", "reason": health.reason}
        return web.json_response(answer, status=503)

    counted = HttpMetrics()
    metrics.register(counted)
    busy = [] if connections is None else [connections.middleware]
    app = web.Application(
        middlewares=[*busy, counted.middleware, errors_as_json, *guards(settings)],
        client_max_size=settings.body_bytes,
    )
    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)
    app.router.add_get("/metrics", make_aiohttp_handler(metrics))
    app.router.add_routes(routes)
    for part in parts:
        part.join(app)
    return app


class WebServer:
    """Serves an application from a thread until closed.

    Raises
    ------
    SettingsError
        If the address cannot be taken.
    """

    def __init__(
        self, app: web.Application, settings: WebSettings, connections: Connections
    ) -> None:
        self._socket = _listening(settings)
        self.port = int(self._socket.getsockname()[1])
        # A child that writes a checkpoint may outlive this process, and must not keep the port.
        os.register_at_fork(after_in_child=self._socket.close)
        # What it logs, with a traceback each, are requests that are no HTTP; they get a 400. What
        # fails in a handler is logged where it is caught.
        logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        # What is left of a refused body is read for a moment, so that its sender reads the answer.
        # Packed bodies come as they were sent: aiohttp would unpack 32 MB before any limit holds.
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, lingering_time=0.2, auto_decompress=False
        )
        self._connections = connections
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish open requests, and end the thread."""
        with suppress(RuntimeError):  # closed before
            self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        try:
            await self._runner.setup()
            made = self._runner.server
            assert made is not None
            # So many are accepted in one turn of the loop: fewer than there are places, so that
            # none is dropped for another before what it has sent is read.
            backlog = max(1, min(128, self._connections.most // 2))
            server = await asyncio.get_running_loop().create_server(
                self._connections.factory(made), sock=self._socket, backlog=backlog
            )
            try:
                await self._closing.wait()
            finally:
                server.close()
        finally:
            await self._runner.cleanup()
            # Those of connections that were just dropped; all else has ended.
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)


def _listening(settings: WebSettings) -> socket.socket:
    """A socket at the address of the settings; where nobody set the port, at one of the next.

    Raises
    ------
    SettingsError
        If none can be taken.
    """
    host, port = settings.host, settings.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for more in range(1 if "port" in settings.model_fields_set else _PORTS):
        try:
            found = socket.create_server((host, port + more), family=family)
        except OSError as error:
            reason = error
            if error.errno != errno.EADDRINUSE:
                break
        else:
            if more:
                log.warning(
                    "port %d is taken, by another worker perhaps: page, API, /metrics and /health "
                    "are at http://%s:%d/; web.port sets it", port, host, port + more,
                )  # fmt: skip
            return found
    raise SettingsError(
        f"web.port = {port}: no web server on {host}: {reason.strerror}; a second worker on "
        f"one machine takes another port, as in --set web.port={port + 1}, or none: 0"
    )


def serve(
    settings: Settings,
    metrics: CollectorRegistry,
    health: Health,
    routes: Iterable[web.AbstractRouteDef] = (),
    parts: Iterable[Part] = (),
) -> WebServer:
    """The worker's web server.

    Raises
    ------
    SettingsError
        If the address cannot be taken.
    """
    if not settings.web.token.get_secret_value() and not is_loopback(settings.web.host):
        log.warning(
            "web.host = %s without a token: whoever reaches port %d may read what users took and "
            "send interactions; set MILLRACE_WEB__TOKEN", settings.web.host, settings.web.port,
        )  # fmt: skip
    connections = Connections(settings.web)
    app = application(metrics, health, settings.web, routes, parts, connections)
    return WebServer(app, settings.web, connections)
