"""A topic, applied message by message as far as is asked for."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from typing import cast

from confluent_kafka import Message

from streams.kafka import clients
from streams.kafka.tail import Change
from streams.settings import Settings

Positions = dict[int, int]
"""The next offset of each partition of a topic."""


class TopicLog:
    """A topic's messages in a state, each partition read once, up to its end of when that began.

    Parameters
    ----------
    positions
        What is in the state already: the next offset of each partition.
    read
        What a message changes; None if nothing.

    Attributes
    ----------
    positions
        The same, as messages are applied.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        positions: Mapping[int, int],
        read: Callable[[Message], Change | None],
    ) -> None:
        self.positions = dict(positions)
        self._settings, self._topic, self._read = settings, topic, read
        self._streams: dict[int, Generator[Message, None, None]] = {}
        self._ahead: dict[int, Message | None] = {}

    def apply_to(self, number: int, end: int) -> None:
        """Apply what a partition has before an offset."""
        self._apply(number, lambda message: cast(int, message.offset()) < end)
        self.positions[number] = max(self.positions.get(number, 0), end)

    def apply_until(self, moment_ms: int) -> None:
        """Apply what the broker had at a moment."""
        with closing(clients.reader(self._settings)) as reader:
            numbers = clients.partitions(reader, self._topic)
        for number in numbers:
            self._apply(number, lambda message: message.timestamp()[1] <= moment_ms)

    def _apply(self, number: int, is_due: Callable[[Message], bool]) -> None:
        if number not in self._streams:
            self._streams[number] = self._messages(number, self.positions.get(number, 0))
            self._ahead[number] = next(self._streams[number], None)
        while (message := self._ahead[number]) is not None and is_due(message):
            change = self._read(message)
            if change is not None:
                change()
            self.positions[number] = cast(int, message.offset()) + 1
            self._ahead[number] = next(self._streams[number], None)

    def _messages(self, number: int, start: int) -> Generator[Message, None, None]:
        with closing(clients.tail_reader(self._settings)) as reader:
            low, high = clients.bounds(reader, self._topic, number)
            if high > max(low, start):
                yield from clients.read_from(reader, self._topic, number, max(low, start))

    def close(self) -> None:
        """End its readers."""
        for stream in self._streams.values():
            stream.close()
