"""A worker, events and what came out: what the tests of the event path share."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from confluent_kafka import KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from engine.events import Interaction, Item
from streams.brokers import EmbeddedBroker, KafkaServer
from streams.kafka import clients, topics
from streams.kafka.partitioner import partition_of
from streams.messages.schemas import encode
from streams.processes import Child
from streams.settings import Settings
from streams.settings_io import as_environment
from tests.streams.object_store import BUCKET, object_store
from tests.streams.served import PARTITIONS, Served
from tests.streams.waiting import until

FIRST_MS = 1_600_000_000_000


def interaction(
    number: int, user: str = "ann", item: str | None = None, **fields: Any
) -> Interaction:
    """The `number`-th event; each has an id and an item of its own unless told otherwise."""
    defaults: dict[str, Any] = {
        "event_id": f"e{number}",
        "user": user,
        "item": item or f"m{number}",
        "timestamp": FIRST_MS + number * 60_000,
        "kind": "rating",
    }
    return Interaction(**defaults | fields)


class Path:
    """The topics of one test, written and read as the outside does."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.names = settings.topics
        topics.create(settings)
        self.producer = clients.producer(settings)
        self._starts: dict[tuple[str, int], int] = {}

    def begin_here(self) -> dict[str, int]:
        """Read what comes from now on alone; how many messages each topic has had."""
        reader = clients.reader(self.settings)
        for name in topics.policies(self.settings):
            for partition in clients.partitions(reader, name):
                self._starts[name, partition] = clients.bounds(reader, name, partition)[1]
        reader.close()
        counts = dict.fromkeys(topics.policies(self.settings), 0)
        for (name, _), end in self._starts.items():
            counts[name] += end
        return counts

    def worker(self) -> Child:
        """Start a worker process."""
        return Child(
            [sys.executable, "-m", "streams.cli", "worker"],
            env=os.environ | as_environment(self.settings),
        )

    def send(self, *events: Interaction) -> None:
        """Send events, each to its user's partition."""
        for event in events:
            self.send_bytes(encode(event), event.user)
        self.flush()

    def send_bytes(
        self,
        value: bytes | None,
        key: str = "nobody",
        headers: dict[str, str | bytes | None] | None = None,
    ) -> None:
        """Send anything to the interactions topic; not flushed."""
        partition = partition_of(key, self.names.partitions)
        self.producer.produce(self.names.interactions, value, key, partition, headers=headers)
        self.producer.poll(0)

    def send_items(self, *items: Item) -> None:
        """Send items to the catalogue."""
        for item in items:
            self.producer.produce(self.names.items, encode(item), item.item)
        self.flush()

    def await_workers(self, count: int, seconds: float = 60.0) -> None:
        """Return once so many workers share the partitions."""
        admin = AdminClient({"bootstrap.servers": self.settings.broker.bootstrap})
        group = self.settings.worker.group

        def shared() -> bool:
            try:
                described = admin.describe_consumer_groups([group])[group].result()
            except KafkaException:  # the group has no coordinator yet
                return False
            shares = [len(m.assignment.topic_partitions) for m in described.members if m.assignment]
            return len(shares) == count and all(shares)

        until(shared, seconds)

    def flush(self) -> None:
        """Wait until the broker has acknowledged everything."""
        assert self.producer.flush(30) == 0

    def read(self, topic: str, count: int, seconds: float = 60.0) -> list[Message]:
        """The first `count` messages of a topic; fails when they do not come in time."""
        consumer = clients.reader(self.settings)
        consumer.assign(
            [
                TopicPartition(topic, partition, self._starts.get((topic, partition), 0))
                for partition in clients.partitions(consumer, topic)
            ]
        )
        messages: list[Message] = []
        deadline = time.monotonic() + seconds
        while len(messages) < count and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None:
                assert not message.error(), message.error()
                messages.append(message)
        consumer.close()
        assert len(messages) == count, f"{len(messages)} of {count} messages came to {topic}"
        return messages

    def answers(self, count: int) -> list[dict[str, Any]]:
        """The first `count` recommendations, as subscribers decode them."""
        messages = self.read(self.names.recommendations, count)
        return [msgspec.json.decode(message.value() or b"") for message in messages]

    def counts(self) -> dict[str, int]:
        """How many messages each topic holds that its subscribers see."""
        reader = clients.tail_reader(self.settings)
        try:
            return {
                name: sum(
                    len(list(clients.tail(reader, name, partition, 2**62)))
                    for partition in clients.partitions(reader, name)
                )
                for name in topics.policies(self.settings)
            }
        finally:
            reader.close()


@pytest.fixture
def path(settings: Callable[..., Settings], broker: EmbeddedBroker | KafkaServer) -> Path:
    """The event path of this test on each broker; one partition, so that order is known."""
    return one_partition(settings, broker)


def one_partition(settings: Callable[..., Settings], broker: EmbeddedBroker | KafkaServer) -> Path:
    """An event path whose topics have one partition."""
    chosen = settings(topics={"partitions": 1}, worker={"session_seconds": 6.0})
    if isinstance(broker, EmbeddedBroker):  # which makes four for a client that asks
        for name in topics.policies(chosen):
            broker.create_topic(name, 1)
    return Path(chosen)


@pytest.fixture
def worker(path: Path) -> Iterator[Child]:
    """A worker on `path`, stopped after the test."""
    with path.worker() as child:
        yield child


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, str]]:
    """One S3 server for all tests: the environment that reaches it."""
    with object_store() as environment:
        yield environment


@pytest.fixture
def bucket_url(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A URL for `worker.checkpoints` that no other test has; the environment reaches it."""
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def served(embedded: EmbeddedBroker) -> Iterator[Served]:
    made = Served(embedded.bootstrap)
    embedded.create_topic(made.topic, PARTITIONS)
    yield made
    made.close()
