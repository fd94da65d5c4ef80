"""How the web server's thread asks the engine, which is the worker's and not thread-safe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 2.0
"""How long a question may wait for the worker's event loop."""


class EngineUnavailableError(Exception):
    """The worker's event loop does not run, or does not get to the question in time."""


class EngineAccess:
    """Hands questions over to the worker's event loop, which answers them between two events."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on ask in this loop, the worker's."""
        self._loop = loop

    async def ask(self, function: Callable[[], T]) -> T:
        """What `function` returns, or raises, when the worker's loop calls it.

        It holds up events for as long as it takes. One that nobody waits for any more is not
        called.

        Raises
        ------
        EngineUnavailableError
            If the loop is not there, or has not answered within `PATIENCE_SECONDS`.
        """
        answer: Future[T] = Future()

        def call() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(function())
            except BaseException as error:
                answer.set_exception(error)

        if self._loop is None:
            raise EngineUnavailableError("the worker is starting")
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            raise EngineUnavailableError("the worker is ending") from None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await asyncio.wrap_future(answer)
        except TimeoutError:
            raise EngineUnavailableError(
                f"the worker has not got to it within {PATIENCE_SECONDS:g} s"
            ) from None
