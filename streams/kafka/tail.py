"""Reads a whole topic outside any group: up to its end first, then new messages, in a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from confluent_kafka import Message, TopicPartition

from streams.kafka import clients
from streams.kafka.reader_thread import ReaderThread
from streams.settings import Settings

Change = Callable[[], object]
"""A change, to be made in the thread that owns what is changed."""
HandOver = Callable[[Change], object]
"""Has that thread make a change, in the order of the calls."""


class TopicTail:
    """Follows a topic; `read` says what each message changes.

    Parameters
    ----------
    read
        Returns the change that a message makes, or None. It is called in the thread that reads.
    positions
        The next offset of each partition to apply; by default the earliest.

    Attributes
    ----------
    positions
        The same, as messages are applied.
    thread
        The thread that follows, and why it ended, if it did.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        read: Callable[[Message], Change | None],
        positions: dict[int, int] | None = None,
    ) -> None:
        self.positions = dict(positions or {})
        self._topic = topic
        self._read = read
        self._consumer = clients.reader(settings)
        self.thread = ReaderThread(f"tail-{topic}", self._consumer)

    def read_to_end(self) -> int:
        """Apply what the topic holds now; returns how many messages that were.

        Raises
        ------
        TimeoutError
            If the broker does not deliver them in time.
        """
        # Before partitions are assigned: afterwards each request would wait half a second behind a
        # fetch.
        limits = clients.watermarks(self._consumer, self._topic)
        self.positions = {p: self.positions.get(p, 0) for p in limits}
        self._consumer.assign(
            [TopicPartition(self._topic, p, at) for p, at in self.positions.items()]
        )
        missing = {p for p, (low, end) in limits.items() if end > max(low, self.positions[p])}
        messages = 0
        while missing:
            message = self._consumer.poll(clients.TIMEOUT_SECONDS)
            if message is None:
                raise TimeoutError(f"{self._topic} could not be read to its end in time")
            self._take(message, lambda change: change())
            messages += 1
            partition, offset = message.partition(), message.offset()
            if partition is not None and offset is not None and offset + 1 >= limits[partition][1]:
                missing.discard(partition)
        return messages

    def follow(self, hand_over: HandOver) -> None:
        """Keep applying new messages, in a thread."""

        def turn() -> None:
            message = self._consumer.poll(0.2)
            if message is not None:
                self._take(message, hand_over)

        self.thread.start(turn)

    def _take(self, message: Message, hand_over: HandOver) -> None:
        if message.error():
            raise RuntimeError(f"{self._topic}: {message.error()}")
        change = self._read(message)
        partition, offset = cast(int, message.partition()), cast(int, message.offset())

        def apply() -> None:
            if change is not None:
                change()
            self.positions[partition] = offset + 1

        hand_over(apply)
