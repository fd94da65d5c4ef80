"""The route that lists the workers and their partitions."""

from __future__ import annotations

from aiohttp import web

from streams.web.answers import WorkerOfGroup, WorkersOfGroup, answer
from streams.web.openapi import Operation
from streams.web.workers import Workers


class WorkerRoutes:
    """The handler; it runs in the web server's thread."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.operations = (
            Operation(
                "GET", "/workers", "The workers of the group, and the partitions of each",
                self.workers, WorkersOfGroup, (503,),
            ),
        )  # fmt: skip

    async def workers(self, _request: web.Request) -> web.Response:
        """All workers that the group has now."""
        found = await self._workers.known()
        asked = self._workers.address
        return answer(
            WorkersOfGroup([WorkerOfGroup(*each, each.address == asked) for each in found])
        )
