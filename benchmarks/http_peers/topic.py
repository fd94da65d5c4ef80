"""Freshness without HTTP: from Kafka's word for an event to the answer on the output topic."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from benchmarks.http_peers.freshness import Events, spread
from engine.events import Interaction
from streams.kafka import clients
from streams.kafka.partitioner import partition_of
from streams.messages.schemas import encode
from streams.settings import Settings

PATIENCE_SECONDS = 30.0


def topic_feedback(
    settings: Settings,
    users: list[str],
    items: list[str],
    events: Events,
    tries: int,
    seed: int = 0,
) -> dict[str, Any]:
    """One event at a time: a user takes an item, and its answer is read, committed ones alone.

    Returns
    -------
    dict
        `accepted_ms`, from the producer's acknowledgement to the read answer, and `sent_ms`, from
        the producing: p50, p99 and max; `floor_ms`, as the first, of messages that nobody answers:
        they are read from the topic that they were written to (the dead letters'); `n`.

    Raises
    ------
    TimeoutError
        If an answer does not come.
    """
    rng = np.random.default_rng(seed)
    names = settings.topics
    drawn = zip(rng.choice(users, tries), rng.choice(items, tries), strict=True)
    taken = [events.took(str(user), str(item)) for user, item in drawn]
    accepted_ms, sent_ms = _round_trips(settings, names.interactions, names.recommendations, taken)
    floor_ms, _ = _round_trips(settings, names.dead_letters, names.dead_letters, taken)
    return {
        "accepted_ms": spread(accepted_ms),
        "sent_ms": spread(sent_ms),
        "floor_ms": spread(floor_ms),
        "n": len(accepted_ms),
    }


def _round_trips(
    settings: Settings, source: str, sink: str, events: Sequence[Interaction]
) -> tuple[list[float], list[float]]:
    """Milliseconds from acknowledgement, and from sending, until each event is seen in `sink`."""
    producer = clients.producer(settings, **{"delivery.report.only.error": False, "linger.ms": 0})
    consumer = clients.reader(settings)
    ends = clients.ends(consumer, sink)
    consumer.assign([TopicPartition(sink, p, end) for p, end in ends.items()])
    partitions = len(clients.partitions(producer, source))
    accepted_ms, sent_ms = [], []
    try:
        for event in events:
            sent = time.perf_counter()
            accepted = _accepted(producer, source, event, partition_of(event.user, partitions))
            seen = _seen(consumer, event.event_id)
            accepted_ms.append((seen - accepted) * 1e3)
            sent_ms.append((seen - sent) * 1e3)
    finally:
        consumer.close()
    return accepted_ms, sent_ms


def _accepted(producer: Producer, topic: str, event: Interaction, partition: int) -> float:
    """When Kafka acknowledged an event."""
    at = 0.0

    def acknowledged(error: KafkaError | None, _: Message) -> None:
        nonlocal at
        if error is not None:
            raise RuntimeError(f"Kafka did not take an event: {error.str()}")
        at = time.perf_counter()

    producer.produce(topic, encode(event), event.user, partition, on_delivery=acknowledged)
    while not at:
        producer.poll(1.0)
    return at


def _seen(consumer: Consumer, event_id: str) -> float:
    """When a message about an event was read."""
    deadline = time.perf_counter() + PATIENCE_SECONDS
    while time.perf_counter() < deadline:
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        now = time.perf_counter()
        if msgspec.json.decode(message.value() or b"{}").get("event_id") == event_id:
            return now
    raise TimeoutError(f"no answer to event {event_id!r} in {PATIENCE_SECONDS:g} s")
