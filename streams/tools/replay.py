"""Replay: a data set's items and interactions, in order of time, onto the topics.

Each interaction carries the headers `millrace.sent-ns` (wall clock, nanoseconds) and
`millrace.sequence` (`<data set>/<place in the stream>`). The second is what an interrupted replay
resumes by: the last message of each partition tells what was sent there, so nothing is kept
beside the topic and nothing is sent twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from confluent_kafka import TopicPartition

from engine.datasets import Dataset
from engine.events import Interaction
from streams.kafka import clients
from streams.kafka.outbox import Outbox
from streams.kafka.partitioner import partition_of
from streams.messages.schemas import encode
from streams.settings import Settings

SENT_NS = "millrace.sent-ns"
SEQUENCE = "millrace.sequence"
_EMBEDDED_LAG = 2_000
"""Events that may wait for the worker on the embedded broker, which drops what lies too long."""
_TAIL = 1_000
"""Messages that are read back from a partition's end to find the last one of the data set."""
_PATIENCE_SECONDS = 20.0
"""How long to wait for a worker to go on encoding the catalogue, before going on without."""


@dataclass(frozen=True)
class Pace:
    """How fast to replay: events per second, times real time, or as fast as it goes."""

    rate: float | None = None
    speedup: float | None = None

    def due(self, interactions: Iterator[Interaction]) -> Iterator[tuple[float, Interaction]]:
        """Each interaction with the seconds after the start at which it is due."""
        first: int | None = None
        for number, interaction in enumerate(interactions):
            if self.rate is not None:
                yield number / self.rate, interaction
            elif self.speedup is not None:
                first = interaction.timestamp if first is None else first
                yield (interaction.timestamp - first) / 1000.0 / self.speedup, interaction
            else:
                yield 0.0, interaction


@dataclass
class Progress:
    """Where a replay stands. `total` is None while nobody knows."""

    phase: Literal["items", "text embeddings", "reading", "interactions"]
    done: int = 0
    total: int | None = None


OnProgress = Callable[[Progress], None]


@dataclass
class Sent:
    """What a replay did. `skipped` were on the topic already when it resumed."""

    items: int = 0
    interactions: int = 0
    skipped: int = 0


class Replay:
    """Sends one data set.

    Parameters
    ----------
    limit
        Interactions to send at most, counted from the start of the data set.
    resume
        Skip what the topic holds of this data set already.
    """

    def __init__(
        self,
        settings: Settings,
        dataset: Dataset,
        pace: Pace,
        *,
        limit: int | None = None,
        resume: bool = False,
        on_progress: OnProgress = lambda progress: None,
    ) -> None:
        self._settings = settings
        self._dataset = dataset
        self._pace = pace
        self._limit = limit
        self._resume = resume
        self._on_progress = on_progress
        self._outbox = Outbox(settings)
        self._reader = clients.tail_reader(settings, **{"group.id": settings.worker.group})
        self.sent = Sent()

    def run(self) -> Sent:
        """Send everything; returns once the broker has acknowledged all of it.

        Raises
        ------
        KafkaException
            If the broker refuses a message for good.
        """
        topic = self._settings.topics.interactions
        numbers = clients.partitions(self._outbox.producer, topic)
        there = {p: self._last_place(topic, p) if self._resume else 0 for p in numbers}
        try:
            if not any(there.values()):
                self._send_items()
            self._send_interactions(topic, there)
        finally:
            self._outbox.flush()
            self._reader.close()
        return self.sent

    def _send_items(self) -> None:
        topics = self._settings.topics
        before = sum(clients.ends(self._reader, topics.item_embeddings).values())
        progress = Progress("items")
        for item in self._dataset.items():
            self._outbox.send(topics.items, encode(item), item.item)
            self.sent.items = progress.done = progress.done + 1
            if progress.done % 200 == 0:
                self._on_progress(progress)
        self._outbox.flush()
        self._on_progress(progress)
        self._await_embeddings(before)

    def _await_embeddings(self, before: int) -> None:
        """Let the workers read the catalogue first; go on when none does."""
        progress = Progress("text embeddings", 0, self.sent.items)
        moved = time.monotonic()
        while progress.done < self.sent.items:
            ends = clients.ends(self._reader, self._settings.topics.item_embeddings)
            done = sum(ends.values()) - before
            if done > progress.done:
                progress.done, moved = done, time.monotonic()
                self._on_progress(progress)
            elif time.monotonic() - moved > _PATIENCE_SECONDS:
                return
            time.sleep(0.1)

    def _send_interactions(self, topic: str, there: dict[int, int]) -> None:
        """Send what is due; `there` is the last place in the data set that each partition holds."""
        numbers = sorted(there)
        start: float | None = None
        stream = islice(self._dataset.interactions(self._read), self._limit)
        progress = Progress("interactions")
        for place, (due, interaction) in enumerate(self._pace.due(stream), 1):
            partition = partition_of(interaction.user, len(numbers))
            if place <= there[partition]:
                self.sent.skipped += 1
                start = None
                continue
            start = time.monotonic() - due if start is None else start
            self._wait_until(start + due)
            sequence = f"{self._dataset.name}/{place}"
            headers = [(SENT_NS, b"%d" % time.time_ns()), (SEQUENCE, sequence.encode())]
            self._outbox.send(topic, encode(interaction), interaction.user, partition, headers)
            self.sent.interactions += 1
            if place % 100 == 0:
                self._keep_lag_small(topic, numbers)
                progress.done, progress.total = place, self._total()
                self._on_progress(progress)
        self._outbox.flush()
        progress.done = self.sent.interactions + self.sent.skipped
        progress.total = progress.done
        self._on_progress(progress)

    def _total(self) -> int | None:
        counts = [n for n in (self._dataset.count, self._limit) if n is not None]
        return min(counts) if counts else None

    def _read(self, done: int, total: int) -> None:
        self._on_progress(Progress("reading", done, total))

    def _wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            self._outbox.wait(min(left, 0.1))

    def _keep_lag_small(self, topic: str, numbers: list[int]) -> None:
        if not self._settings.broker.embedded:
            return
        while self._lag(topic, numbers) > _EMBEDDED_LAG:
            self._outbox.wait(0.02)

    def _lag(self, topic: str, numbers: list[int]) -> int:
        asked = [TopicPartition(topic, p) for p in numbers]
        committed = self._reader.committed(asked, timeout=clients.TIMEOUT_SECONDS)
        return self.sent.interactions - sum(max(0, at.offset) for at in committed)

    def _last_place(self, topic: str, partition: int) -> int:
        """The place in the data set of the last message that a partition holds of it, or 0."""
        last = 0
        for message in clients.tail(self._reader, topic, partition, _TAIL):
            sequence = clients.headers(message).get(SEQUENCE, b"").decode()
            dataset, _, place = sequence.rpartition("/")
            if dataset == self._dataset.name and place.isdigit():
                last = int(place)
        return last
