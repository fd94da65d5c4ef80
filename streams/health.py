"""What a worker says of itself to whoever runs it: alive, and ready or why not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Health:
    """Written by the watchdog's thread, read by the web server's.

    Attributes
    ----------
    waiting_for
        Why the worker is not ready, in one line; empty when it is.
    """

    waiting_for: str = "starting"

    @property
    def ready(self) -> bool:
        """Whether the worker has its partitions, has caught up with them and goes on."""
        return not self.waiting_for
