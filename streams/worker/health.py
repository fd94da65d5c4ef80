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
    was_ready
        Whether it was ready once: its state answers questions ever since, also while partitions
        move.
    input_gone
        What has happened to the input topic, in one line, if there is none; the topic watch's.
    waiting
        How many events wait in each partition that is ours, by the watchdog's last look.
    """

    waiting_for: str = "starting"
    was_ready: bool = False
    input_gone: str = ""
    waiting: dict[int, int] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether the worker has its partitions, has caught up with them and goes on."""
        return not (self.waiting_for or self.input_gone)

    @property
    def reason(self) -> str:
        """Why the worker is not ready, in one line; empty when it is."""
        return self.input_gone or self.waiting_for

    @property
    def readable(self) -> bool:
        """Whether questions about users and items can be answered."""
        return self.was_ready or self.ready
