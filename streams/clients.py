"""confluent-kafka clients as Millrace configures them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, cast

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from streams.brokers.errors import BrokerError
from streams.security import for_librdkafka
from streams.settings import Settings

TIMEOUT_SECONDS = 10.0


def producer(settings: Settings, **extra: Any) -> Producer:
    """An idempotent producer: per partition nothing is lost, doubled or reordered by retries."""
    return Producer(
        {
            **_connection(settings),
            "enable.idempotence": True,
            "acks": "all",
            # The embedded broker hands out one batch a fetch, so small ones would be a bottleneck.
            "linger.ms": max(settings.worker.linger_ms, 5.0 if settings.broker.embedded else 0.0),
            # What comes while a request is under way goes into the next: batches under load, and
            # no wait without.
            "max.in.flight.requests.per.connection": 1,
            # Delivery is reported when it fails; success is what `flush` waits for.
            "delivery.report.only.error": True,
            "message.max.bytes": settings.topics.message_bytes + 65_536,
            "log_level": 2,
            **extra,
        }
    )


def reader(settings: Settings, **extra: Any) -> Consumer:
    """A consumer outside any group, for `assign`: it commits nothing and is nobody's member.

    librdkafka asks for the coordinator of its group all the same, so where the broker controls
    access, users need Read on groups whose names begin as `readers` says.
    """
    return Consumer(
        {
            **_connection(settings),
            "group.id": f"{readers(settings)}-{uuid.uuid4().hex}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 5 if settings.broker.embedded else 500,
            "fetch.message.max.bytes": 1_048_576,
            "receive.message.max.bytes": settings.topics.message_bytes + 100_000_000,
            "log_level": 2,
            **extra,
        }
    )


def readers(settings: Settings) -> str:
    """How the group ids of readers begin: as the workers' does, so that one rule covers both."""
    return f"{settings.worker.group}-reader"


def _connection(settings: Settings) -> dict[str, str]:
    return {
        "bootstrap.servers": settings.broker.bootstrap,
        **for_librdkafka(settings.security),
    }


def partitions(client: Consumer | Producer, topic: str) -> list[int]:
    """The partitions of a topic.

    Raises
    ------
    BrokerError
        If the broker knows no such topic.
    """
    found = client.list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic]
    if found.error is not None or not found.partitions:
        raise BrokerError(
            f"the broker has no topic {topic!r}: make the topics with `millrace topics create`"
        )
    return sorted(found.partitions)


def ends(client: Consumer, topic: str) -> dict[int, int]:
    """The next offset of each partition of a topic."""
    return {
        p: client.get_watermark_offsets(TopicPartition(topic, p), timeout=TIMEOUT_SECONDS)[1]
        for p in partitions(client, topic)
    }


def headers(message: Message) -> dict[str, bytes]:
    """The headers of a message; of those with one name, the last."""
    found: dict[str, bytes] = {}
    for name, value in cast("list[tuple[str, bytes | None]]", message.headers() or []):
        found[name] = value or b""
    return found


def tail(client: Consumer, topic: str, partition: int, count: int) -> Iterator[Message]:
    """The last `count` messages of a partition, oldest first, up to its end of now.

    Raises
    ------
    TimeoutError
        If the broker does not hand them over.
    """
    place = TopicPartition(topic, partition)
    low, high = client.get_watermark_offsets(place, timeout=TIMEOUT_SECONDS)
    if high <= low:
        return
    client.assign([TopicPartition(topic, partition, max(low, high - count))])
    while True:
        message = client.poll(TIMEOUT_SECONDS)
        if message is None:
            raise TimeoutError(f"the end of {topic}[{partition}] could not be read in time")
        if message.error():
            raise KafkaException(message.error())
        yield message
        if cast(int, message.offset()) >= high - 1:
            return
