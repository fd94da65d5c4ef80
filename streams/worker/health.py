"""What a worker says of itself to whoever runs it: alive, and ready or why not."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Health:
    """Written by the watchdog's thread, read by the web server's.

    Attributes
    ----------
    waiting_for
        Why the worker is not ready, in one line; empty when it is.
    waiting
        How many events wait in each partition that is ours, by the watchdog's last look.
    """

    waiting_for: str = "starting"
    waiting: dict[int, int] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether the worker has its partitions, has caught up with them and goes on."""
        return not self.waiting_for
