"""How other threads have the engine's own thread do something, and wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class EngineThread:
    """Hands functions over to the event loop that owns the engine; before there is one, calls them.

    For threads other than the loop's.

    Attributes
    ----------
    loop
        The event loop, once it runs.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on the engine is this loop's."""
        self.loop = loop

    def do(self, function: Callable[[], T]) -> T:
        """What `function` returns, or raises, in the engine's thread."""
        if self.loop is None:
            return function()
        done: Future[T] = Future()

        def call() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)

        self.loop.call_soon_threadsafe(call)
        return done.result()
