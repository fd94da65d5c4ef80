"""The catalogue's two topics, applied as far as an answer's mark says that its worker had."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence

from confluent_kafka import Message

from engine.recommender import Recommender
from streams.kafka import clients
from streams.kafka.tail import Change
from streams.messages.state_mark import catalogue_mark, catalogue_offsets
from streams.settings import Settings
from streams.tools.audit.history import messages, offset_of
from streams.worker.catalogue import CatalogueChanges

Positions = dict[int, int]
"""The next offset of each partition of a topic."""


class CatalogueLog:
    """What the topics say of items, in an engine's state up to where it was told.

    Parameters
    ----------
    embeddings, items
        What of the topics is in the state, by partition; None of an engine that is new.

    Attributes
    ----------
    mark
        How far the topics are applied, as an answer tells it.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Recommender,
        embeddings: Positions | None,
        items: Positions | None,
    ) -> None:
        self._changes = CatalogueChanges(settings, engine)
        self._changes.caught_up = embeddings is not None
        topics = settings.topics
        self._embeddings = _Topic(
            settings, topics.item_embeddings, embeddings or {}, self._changes.embedding
        )
        self._items = _Topic(settings, topics.items, items or {}, self._changes.facts)
        self.mark = catalogue_mark(items or {}, embeddings or {}).encode()

    def begin_again(self) -> None:
        """What comes next is read as by a worker that starts."""
        self._changes.caught_up = False

    def advance(self, mark: bytes) -> None:
        """Apply what the worker had when it gave an answer with this mark of the catalogue."""
        items, embeddings = catalogue_offsets(mark)
        self.mark = mark
        self._apply(
            self._items.before(lambda message, number: offset_of(message) < _at(items, number)),
            self._embeddings.before(
                lambda message, number: offset_of(message) < _at(embeddings, number)
            ),
        )

    def advance_to_time(self, moment_ms: int) -> None:
        """Apply what the broker had at a moment."""

        def was_there(message: Message, number: int) -> bool:
            return message.timestamp()[1] <= moment_ms

        if self._items.next_ms <= moment_ms or self._embeddings.next_ms <= moment_ms:
            self._apply(self._items.before(was_there), self._embeddings.before(was_there))

    def _apply(
        self, items: Iterator[tuple[int, Change]], embeddings: Iterator[tuple[int, Change]]
    ) -> None:
        if not self._changes.caught_up:
            # As a worker does that starts: items as they were encoded, then what is said of them.
            for _, change in embeddings:
                change()
            self._changes.caught_up = True
            for _, change in items:
                change()
            return
        for _, change in heapq.merge(items, embeddings, key=lambda pair: pair[0]):
            change()


class _Topic:
    """A topic's messages, in order of their timestamps across partitions."""

    def __init__(
        self,
        settings: Settings,
        topic: str,
        positions: Positions,
        read: Callable[[Message], Change | None],
    ) -> None:
        self._read = read
        reader = clients.reader(settings)
        numbers = clients.partitions(reader, topic)
        reader.close()
        self._streams = {
            number: messages(settings, topic, number, positions.get(number, 0))
            for number in numbers
        }
        self._next = {
            number: message
            for number, stream in self._streams.items()
            if (message := next(stream, None)) is not None
        }

    @property
    def next_ms(self) -> float:
        """When the broker had the next message; never, if there is none."""
        return min((m.timestamp()[1] for m in self._next.values()), default=float("inf"))

    def before(self, due: Callable[[Message, int], bool]) -> Iterator[tuple[int, Change]]:
        """Timestamps and changes of the next messages that are due, which are taken."""
        while True:
            ready = {number: m for number, m in self._next.items() if due(m, number)}
            if not ready:
                return
            number = min(ready, key=lambda number: (ready[number].timestamp()[1], number))
            message = self._next.pop(number)
            following = next(self._streams[number], None)
            if following is not None:
                self._next[number] = following
            change = self._read(message)
            if change is not None:
                yield message.timestamp()[1], change


def _at(offsets: Sequence[int], number: int) -> int:
    return offsets[number] if number < len(offsets) else 0
