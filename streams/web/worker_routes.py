"""The routes that tell of workers: which has which partitions, and how far users are forgotten."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from streams.web.answers import WorkerOfGroup, WorkersOfGroup, answer
from streams.web.openapi import Operation
from streams.web.ready_engine import ReadyEngine
from streams.web.workers import Workers
from streams.worker.exact_forgetting import ForgettingStatus


class WorkerRoutes:
    """The handlers; they run in the web server's thread."""

    def __init__(
        self, workers: Workers, ready: ReadyEngine, forgetting: Callable[[], ForgettingStatus]
    ) -> None:
        self._workers, self._ready, self._forgetting = workers, ready, forgetting
        self.operations = (
            Operation(
                "GET", "/workers", "The workers of the group, and the partitions of each",
                self.workers, WorkersOfGroup, (503,),
            ),
            Operation(
                "GET", "/forgetting", "How far users who asked for it are forgotten",
                self.forgetting, ForgettingStatus, (503,),
            ),
        )  # fmt: skip

    async def workers(self, _request: web.Request) -> web.Response:
        """All workers that the group has now."""
        found = await self._workers.known()
        asked = self._workers.address
        return answer(
            WorkersOfGroup([WorkerOfGroup(*each, each.address == asked) for each in found])
        )

    async def forgetting(self, _request: web.Request) -> web.Response:
        """As of now."""
        return answer(await self._ready.ask(self._forgetting))
