"""What goes in and what is seen to come out, while workers and broker come and go."""

from __future__ import annotations

import random
import threading
import time
from array import array
from collections.abc import Callable, Iterable
from typing import Self

import msgspec
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from engine.events import Interaction
from streams.kafka import clients
from streams.kafka.partitioner import partition_of
from streams.kafka.reader_thread import ReaderThread
from streams.messages.schemas import Source, encode
from streams.settings import Settings

BACKLOG = 2_000
"""Events that may wait for an answer: enough to keep the workers busy through every start."""
_REMEMBERED = 5_000
"""Latest events of which one is sent again."""

RUBBISH: tuple[bytes | None, ...] = (
    None,
    b"",
    b"{",
    b"\x00\xff\xfe rubbish",
    b'{"user": "\xff\xfe"}',
    b'["an", "array"]',
    b'{"properties": ' + b"[" * 10_000,
    b'{"event_id": 5.5, "user": "ann", "item": "m", "timestamp": 1600000000000, "kind": "view"}',
    b'{"event_id": "r", "user": "", "item": "m", "timestamp": 1600000000000, "kind": "view"}',
    b'{"event_id": "r", "user": "ann", "timestamp": 1600000000000, "kind": "view"}',
    b'{"event_id": "r", "user": "ann", "item": "m", "timestamp": 1600000000, "kind": "view"}',
    b'{"event_id": "r", "user": "ann", "item": "m", "timestamp": 1600000000000, "kind": "stare"}',
)
"""Messages that no worker can read."""


class Traffic:
    """A thread that sends interactions, and rubbish among them.

    Parameters
    ----------
    rubbish
        Malformed messages for each event; and as many repeated events.
    answered
        How many messages have come out so far: the backlog is kept small by it.

    Attributes
    ----------
    events, malformed, repeats
        What was sent of each so far.
    failure
        Why it stopped early, if it did.
    """

    def __init__(
        self,
        settings: Settings,
        interactions: Iterable[Interaction],
        rubbish: float,
        seed: int,
        answered: Callable[[], int],
    ) -> None:
        self.events = self.malformed = self.repeats = 0
        self.failure: KafkaException | None = None
        self._settings = settings
        self._interactions = interactions
        self._rubbish = rubbish
        self._choose = random.Random(seed)
        self._answered = answered
        self._producer = clients.producer(settings)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    @property
    def outstanding(self) -> int:
        """Messages sent that nothing has come out for, and shall."""
        return self.events + self.malformed - self._answered()

    @property
    def done(self) -> bool:
        """Whether everything has been sent and acknowledged, or never will be."""
        return not self._thread.is_alive()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        recent: list[Interaction] = []
        for interaction in self._interactions:
            while self.outstanding > BACKLOG and not self._stopping.is_set():
                self._producer.poll(0.02)
            if self._stopping.is_set() or self.failure:
                return
            self._send(encode(interaction), interaction.user)
            self.events += 1
            if len(recent) < _REMEMBERED:
                recent.append(interaction)
            else:
                recent[self.events % _REMEMBERED] = interaction
            if self._choose.random() < self._rubbish:
                self._send(self._choose.choice(RUBBISH), f"nobody {self.malformed}")
                self.malformed += 1
            if self._choose.random() < self._rubbish:
                again = self._choose.choice(recent)
                self._send(encode(again), again.user)
                self.repeats += 1
        while self._producer.flush(0.5) and not self._stopping.is_set():
            pass

    def _send(self, value: bytes | None, user: str) -> None:
        topics = self._settings.topics
        partition = partition_of(user, topics.partitions)
        while not self._stopping.is_set():
            try:
                self._producer.produce(topics.interactions, value, user, partition, self._delivered)
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self.failure = KafkaException(error)


class Sourced(msgspec.Struct):
    """What is read of an answer: which event it answers."""

    event_id: str
    source: Source


class Subscriber:
    """A plain subscriber that reads committed answers and dead letters as they come, in a thread.

    Attributes
    ----------
    offsets
        By partition, the source offset of each answer that came, in the order they came.
    dead_letters
        How many came.
    moved
        When the last message came (`time.monotonic`).
    thread
        The thread that reads, and what it could not go on after.
    """

    def __init__(self, settings: Settings) -> None:
        self.offsets = {p: array("q") for p in range(settings.topics.partitions)}
        self.dead_letters = 0
        self.moved = time.monotonic()
        self._answers = settings.topics.recommendations
        self._consumer = clients.reader(settings, **{"isolation.level": "read_committed"})
        self._consumer.assign(
            [
                TopicPartition(topic, partition, OFFSET_BEGINNING)
                for topic in (self._answers, settings.topics.dead_letters)
                for partition in self.offsets
            ]
        )
        self._decoder = msgspec.json.Decoder(Sourced)
        self.thread = ReaderThread("subscriber", self._consumer)

    @property
    def count(self) -> int:
        """Answers and dead letters so far."""
        return sum(map(len, self.offsets.values())) + self.dead_letters

    @property
    def twice(self) -> int:
        """Answers that came for a message that one had come for before."""
        return sum(len(offsets) - len(set(offsets)) for offsets in self.offsets.values())

    def __enter__(self) -> Self:
        self.thread.start(self._turn)
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.stop()

    def _turn(self) -> None:
        message = self._consumer.poll(0.1)
        if message is None:
            return
        if error := message.error():
            if error.fatal() and not error.retriable():
                raise KafkaException(error)
            return  # the broker is away: librdkafka goes on when it is back
        self.moved = time.monotonic()
        if message.topic() == self._answers:
            source = self._decoder.decode(message.value() or b"").source
            self.offsets[source.partition].append(source.offset)
        else:
            self.dead_letters += 1
