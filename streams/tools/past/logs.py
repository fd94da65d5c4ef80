"""The topics beside the interactions, applied message by message as a worker noted that it did."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from typing import cast

from confluent_kafka import Message

from engine.recommender import Recommender
from streams.kafka import clients
from streams.kafka.tail import Change
from streams.messages.state_mark import Step
from streams.settings import Settings
from streams.tools.past.error import PastError
from streams.worker.catalogue import CatalogueChanges
from streams.worker.item_deltas import ItemDeltas
from streams.worker.ledger import GapError

Positions = dict[int, int]
"""The next offset of each partition of a topic."""


class CatalogueLog:
    """What the topics say of items, in an engine's state up to where it was told.

    Parameters
    ----------
    embeddings, items
        What of the topics is in the state: the next offset of each partition.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Recommender,
        embeddings: Mapping[int, int],
        items: Mapping[int, int],
    ) -> None:
        self._changes = CatalogueChanges(settings, engine)
        topics = settings.topics
        self._embeddings = _Topic(
            settings, topics.item_embeddings, embeddings, self._changes.embedding
        )
        self._items = _Topic(settings, topics.items, items, self._changes.facts)

    @property
    def positions(self) -> tuple[Positions, Positions]:
        """The next offsets to apply: of the embeddings, and of the items."""
        return dict(self._embeddings.positions), dict(self._items.positions)

    def apply(self, step: Step) -> None:
        """Apply what a step names, but for what is in the state already."""
        self._changes.caught_up = step.kind != "listed"
        topic = self._items if step.kind == "items" else self._embeddings
        topic.apply_to(step.partition, step.end)

    def apply_until(self, moment_ms: int) -> None:
        """Apply what the broker had at a moment: items, then embeddings."""
        self._changes.caught_up = True
        self._items.apply_until(moment_ms)
        self._embeddings.apply_until(moment_ms)

    def close(self) -> None:
        """End the readers."""
        self._items.close()
        self._embeddings.close()


class DeltaLog:
    """What workers told of items, in a state up to where it was told.

    Parameters
    ----------
    deltas
        Applies them; its `at` is the first that the state does not know.
    """

    def __init__(self, settings: Settings, deltas: ItemDeltas) -> None:
        self._deltas = deltas
        at = {0: deltas.at}
        self._topic = _Topic(settings, settings.topics.item_deltas, at, deltas.change_of)

    @property
    def position(self) -> int:
        """The first that is not applied."""
        return self._topic.positions[0]

    def apply_to(self, end: int) -> None:
        """Apply what the topic has before an offset.

        Raises
        ------
        PastError
            If some of it is no more.
        """
        try:
            self._topic.apply_to(0, end)
            if self._deltas.failure is not None:
                raise self._deltas.failure
        except GapError as error:
            raise PastError(
                f"{error}: choose a later range, or keep the topic of deltas for longer"
            ) from None

    def close(self) -> None:
        """End the reader."""
        self._topic.close()


class _Topic:
    """One of them, each partition read once, as far as is asked for."""

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
        self._apply(number, lambda message: cast(int, message.offset()) < end)
        self.positions[number] = max(self.positions.get(number, 0), end)

    def apply_until(self, moment_ms: int) -> None:
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
        for stream in self._streams.values():
            stream.close()
