"""Access to the engine from the web server's thread: it belongs to the worker and is not
thread-safe."""

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
    """Hands functions to the worker's event loop, which runs them between two events."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use this event loop, the worker's, from now on."""
        self._loop = loop

    async def ask(self, function: Callable[[], T]) -> T:
        """Have the worker's loop call `function`; returns or raises what it does.

        Events wait while it runs. It is not called once its caller has stopped waiting.

        Raises
        ------
        EngineUnavailableError
            If there is no loop, or it has not called the function within `PATIENCE_SECONDS`.
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
