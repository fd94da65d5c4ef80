"""confluent-kafka clients as Millrace configures them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from streams.brokers.errors import BrokerError
from streams.kafka.record import headers_of
from streams.kafka.security import for_librdkafka
from streams.settings import Settings

TIMEOUT_SECONDS = 10.0
LASTING = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_TRANSACTION_TIMEOUT,
)
"""Codes of errors that retrying does not fix."""
_MOVING = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.FENCED_LEADER_EPOCH,
)
"""Codes of errors of a partition that has no leader yet, or whose leader has moved."""
_PAUSE_SECONDS = 0.05


def common(settings: Settings) -> dict[str, Any]:
    """The configuration that all clients share."""
    return {
        "bootstrap.servers": settings.broker.bootstrap,
        "log_level": 2,
        **for_librdkafka(settings.security),
    }


def producer(settings: Settings, **extra: Any) -> Producer:
    """An idempotent producer: per partition nothing is lost, doubled or reordered by retries."""
    return Producer(
        {
            **common(settings),
            "enable.idempotence": True,
            "acks": "all",
            # The embedded broker hands out one batch a fetch, so small ones would be a bottleneck.
            "linger.ms": max(settings.worker.linger_ms, 5.0 if settings.broker.embedded else 0.0),
            # Messages that come while a request is in flight go into the next one: batches under
            # load, and no wait otherwise.
            "max.in.flight.requests.per.connection": 1,
            # Delivery is reported only when it fails; `flush` waits for success.
            "delivery.report.only.error": True,
            "message.max.bytes": settings.topics.message_bytes + 65_536,
            **extra,
        }
    )


def produce(
    client: Producer,
    topic: str,
    value: bytes | None,
    key: bytes | str | None,
    partition: int = -1,
    headers: Sequence[tuple[str, bytes]] = (),
    on_delivery: Callable[[KafkaError | None, Message], None] | None = None,
) -> None:
    """Queue a message, and wait while the producer's queue is full; without a partition the key
    decides."""
    while True:
        try:
            client.produce(
                topic, value, key, partition, on_delivery=on_delivery, headers=list(headers)
            )
        except BufferError:
            client.poll(0.1)
        else:
            return


def transactional(settings: Settings, name: str) -> Producer:
    """A transactional producer that, once initialised, fences every earlier one of its id.

    A transaction that a worker left open holds back subscribers until the next producer of that id
    is initialised, or five minutes have passed.
    """
    return producer(
        settings, **{"transactional.id": name, "transaction.timeout.ms": 300_000, "linger.ms": 0}
    )


def reader(settings: Settings, **extra: Any) -> Consumer:
    """A consumer for `assign`: it joins no group and commits nothing.

    librdkafka asks for the coordinator of its group id all the same, so where the broker controls
    access, users need Read on the groups with the prefix `readers`.
    """
    return Consumer(
        {
            **common(settings),
            "group.id": f"{readers(settings)}-{uuid.uuid4().hex}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 5 if settings.broker.embedded else 500,
            "fetch.message.max.bytes": 1_048_576,
            "receive.message.max.bytes": settings.topics.message_bytes + 100_000_000,
            **extra,
        }
    )


def readers(settings: Settings) -> str:
    """The prefix of readers' group ids: with the workers' group first, so that one rule does."""
    return f"{settings.worker.group}-reader"


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


def bounds(client: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """The earliest offset of a partition, and the next one that will be written.

    A partition that was just made, or whose leader moves, has none for a moment: this retries.

    Raises
    ------
    KafkaException
        If the broker does not tell within `TIMEOUT_SECONDS`, or refuses to.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            low, high = client.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=TIMEOUT_SECONDS
            )
        except KafkaException as error:
            code = error.args[0].code()
            unheard = code == KafkaError._UNKNOWN_PARTITION
            if not (code in _MOVING or unheard) or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)
            if unheard:  # a client caches what it heard of a new topic for minutes
                client.list_topics(topic, timeout=TIMEOUT_SECONDS)
        else:
            return low, high


def watermarks(client: Consumer, topic: str) -> dict[int, tuple[int, int]]:
    """The `bounds` of each partition of a topic."""
    return {p: bounds(client, topic, p) for p in partitions(client, topic)}


def ends(client: Consumer, topic: str) -> dict[int, int]:
    """The next offset of each partition of a topic."""
    return {p: end for p, (_, end) in watermarks(client, topic).items()}


def headers(message: Message) -> dict[str, bytes]:
    """The headers of a message by name; of repeated ones, the last. See `headers_of`."""
    return {name: value or b"" for name, value in headers_of(message)}


def tail_reader(settings: Settings, **extra: Any) -> Consumer:
    """A reader for `tail`, which also asks for offsets.

    The broker answers the requests of a connection in order: while a fetch waits for messages,
    every later request waits too. So a fetch waits briefly; and only `enable.partition.eof` reports
    an end that is a transaction marker.
    """
    return reader(settings, **{"enable.partition.eof": True, "fetch.wait.max.ms": 5, **extra})


def tail(client: Consumer, topic: str, partition: int, count: int) -> Iterator[Message]:
    """The last messages of a partition, oldest first, up to its current end.

    Parameters
    ----------
    client
        A `tail_reader`; it has no partition assigned afterwards.
    count
        In offsets; transaction markers take some of them, so there may be fewer messages.

    Raises
    ------
    TimeoutError
        If the broker does not deliver them in time.
    """
    low, high = bounds(client, topic, partition)
    if high > low:
        yield from read_from(client, topic, partition, max(low, high - count))


def read_from(
    client: Consumer, topic: str, partition: int, first: int
) -> Generator[Message, None, None]:
    """The messages of a partition from an offset up to its current end; otherwise as `tail`."""
    client.assign([TopicPartition(topic, partition, first)])
    try:
        while True:
            message = client.poll(TIMEOUT_SECONDS)
            if message is None:
                raise TimeoutError(f"the end of {topic}[{partition}] could not be read in time")
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                return
            if error is not None:
                raise KafkaException(error)
            yield message
    finally:
        client.unassign()
