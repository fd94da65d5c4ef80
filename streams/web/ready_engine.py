"""The engine, for handlers of the API that must not ask it before the worker has caught up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from engine.recommender import Recommender
from streams.web.engine_access import EngineAccess
from streams.web.errors import RefusedRequest
from streams.worker.health import Health

T = TypeVar("T")


@dataclass(frozen=True)
class ReadyEngine:
    """Asks the engine, once the worker has caught up.

    Attributes
    ----------
    engine
        Only for the function that `ask` runs: the engine belongs to the worker and is not
        thread-safe.
    """

    engine: Recommender
    access: EngineAccess
    health: Health

    async def ask(self, function: Callable[[], T]) -> T:
        """Run `function` between two events; returns what it returns.

        Raises
        ------
        RefusedRequest
            503, if the worker is starting or catching up.
        EngineUnavailableError
            If the worker does not run it in time.
        """
        if not self.health.readable:
            raise RefusedRequest(503, f"the worker is not ready: {self.health.reason}")
        return await self.access.ask(function)
