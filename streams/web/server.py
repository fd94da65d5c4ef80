"""The worker's web server: /metrics for Prometheus, /health for whoever runs it, and the routes
that others add.

It has a thread and an event loop of its own, so that it answers also when the worker's hangs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress

from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler
from prometheus_client.registry import Collector

from streams.settings import Settings, SettingsError, WebSettings
from streams.web.errors import errors_as_json
from streams.web.guards import guards
from streams.web.page import Page
from streams.worker.health import Health


def application(
    metrics: Collector,
    health: Health,
    settings: WebSettings,
    routes: Iterable[web.AbstractRouteDef] = (),
    most_bytes: int = 1024**2,
    page: Page | None = None,
) -> web.Application:
    """The routes, those of others among them, behind the guards that the settings ask for.

    Parameters
    ----------
    most_bytes
        Largest body of a request that is read.
    """

    async def live(_request: web.Request) -> web.Response:
        found = {"status": "live"}
        if health.input_gone:  # it waits: whoever looks should know for what
            found["waiting_for"] = health.input_gone
        return web.json_response(found)

    async def ready(_request: web.Request) -> web.Response:
        if health.ready:
            return web.json_response({"status": "ready"})
        answer = {"status": "not ready", "reason": health.reason}
        return web.json_response(answer, status=503)

    app = web.Application(
        middlewares=[errors_as_json, *guards(settings)], client_max_size=most_bytes
    )
    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)
    app.router.add_get("/metrics", make_aiohttp_handler(metrics))
    app.router.add_routes(routes)
    if page is not None:
        page.join(app)
    return app


class WebServer:
    """Serves an application from a thread until closed.

    Raises
    ------
    SettingsError
        If the address cannot be taken.
    """

    def __init__(self, app: web.Application, settings: WebSettings) -> None:
        host, port = settings.host, settings.port
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.create_server((host, port), family=family)
        except OSError as error:
            raise SettingsError(
                f"web.port = {port}: no web server on {host}: {error.strerror}; a second worker on "
                f"one machine takes another port, as in --set web.port={port + 1}, or none: 0"
            ) from None
        # A child that writes a checkpoint may outlive us, and must not keep the port.
        os.register_at_fork(after_in_child=self._socket.close)
        # What it logs, with a traceback each, are requests that are no HTTP; they get a 400. What
        # fails in a handler is logged where it is caught.
        logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer what has been asked, and end the thread."""
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
            await web.SockSite(self._runner, self._socket).start()
            await self._closing.wait()
        finally:
            await self._runner.cleanup()


def serve(
    settings: Settings,
    metrics: Collector,
    health: Health,
    routes: Iterable[web.AbstractRouteDef] = (),
    page: Page | None = None,
) -> WebServer:
    """The worker's web server.

    Raises
    ------
    SettingsError
        If the address cannot be taken.
    """
    most_bytes = settings.topics.message_bytes
    app = application(metrics, health, settings.web, routes, most_bytes, page)
    return WebServer(app, settings.web)
