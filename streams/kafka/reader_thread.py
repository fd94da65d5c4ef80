"""The thread of a consumer that reads a topic outside any group for as long as the worker runs."""

from __future__ import annotations

import threading
from collections.abc import Callable

from confluent_kafka import Consumer


class ReaderThread:
    """Repeats a turn of reading until it is stopped, then closes the consumer.

    Attributes
    ----------
    stopping
        Set when the thread is to end; a turn that waits for something checks it.
    failure
        The error that ended the thread, if one did; whoever started it checks.
    """

    def __init__(self, name: str, consumer: Consumer) -> None:
        self.stopping = threading.Event()
        self.failure: Exception | None = None
        self._name, self._consumer = name, consumer
        self._thread: threading.Thread | None = None

    def start(self, turn: Callable[[], None]) -> None:
        """Start the thread."""

        def run() -> None:
            try:
                while not self.stopping.is_set():
                    turn()
            except Exception as error:
                self.failure = error
            finally:
                self._consumer.close()

        self._thread = threading.Thread(target=run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and wait for its end."""
        self.stopping.set()
        if self._thread is not None:
            self._thread.join()

    def finish(self) -> None:
        """As `stop`; raises `failure`, if there was one."""
        self.stop()
        if self.failure is not None:
            raise self.failure
