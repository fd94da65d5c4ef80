"""The HTTP API: what the engine answers now, and messages on their way to Kafka."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from aiohttp import web

from engine.recommender import Recommender
from streams.experiments.arms import Arms
from streams.messages.schemas import Model
from streams.settings import Settings
from streams.web.engine_access import EngineAccess
from streams.web.forwarding import Forwarding
from streams.web.interaction_routes import InteractionRoutes
from streams.web.item_routes import ItemRoutes
from streams.web.message_writer import MessageWriter
from streams.web.openapi import document
from streams.web.ready_engine import ReadyEngine
from streams.web.user_routes import UserRoutes
from streams.web.worker_routes import WorkerRoutes
from streams.web.workers import Workers
from streams.worker.exact_forgetting import ForgettingStatus
from streams.worker.health import Health


class Api:
    """All operations, and the document that describes them."""

    def __init__(
        self,
        engine: Recommender,
        model: Model,
        access: EngineAccess,
        health: Health,
        writer: MessageWriter,
        settings: Settings,
        workers: Workers,
        forwarding: Forwarding,
        forgetting: Callable[[], ForgettingStatus],
    ) -> None:
        ready = ReadyEngine(engine, access, health)
        arms = Arms(settings.experiments, settings.engine)
        token = bool(settings.web.token.get_secret_value())
        self.operations = (
            *UserRoutes(ready, forwarding, model, writer, arms, forgets=token).operations,
            *ItemRoutes(ready, writer, settings).operations,
            *InteractionRoutes(writer, settings).operations,
            *WorkerRoutes(workers, ready, forgetting).operations,
        )
        self._document = msgspec.json.encode(document(self.operations, token, engine.kinds.known))

    def routes(self) -> list[web.RouteDef]:
        """The routes of all operations, for the server's application."""
        routes = [operation.route() for operation in self.operations]
        return [*routes, web.get("/openapi.json", self.openapi)]

    async def openapi(self, _request: web.Request) -> web.Response:
        """The document."""
        return web.Response(body=self._document, content_type="application/json")
