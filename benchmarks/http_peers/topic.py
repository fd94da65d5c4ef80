"""Freshness without HTTP: from Kafka's word for an event to the answer on the output topic."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import KafkaError, Message, TopicPartition

from benchmarks.http_peers.freshness import Events, spread
from streams import clients
from streams.messages import encode
from streams.replay import partition_of
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
        the producing: p50, p99 and max; `n`.

    Raises
    ------
    TimeoutError
        If an answer does not come.
    """
    rng = np.random.default_rng(seed)
    producer = clients.producer(settings, **{"delivery.report.only.error": False, "linger.ms": 0})
    consumer = clients.reader(settings)
    topic = settings.topics.recommendations
    ends = clients.ends(consumer, topic)
    consumer.assign([TopicPartition(topic, p, end) for p, end in ends.items()])
    accepted_at = 0.0

    def acknowledged(error: KafkaError | None, _: Message) -> None:
        nonlocal accepted_at
        if error is not None:
            raise RuntimeError(f"Kafka did not take an event: {error.str()}")
        accepted_at = time.perf_counter()

    accepted_ms, sent_ms = [], []
    for user, item in zip(rng.choice(users, tries), rng.choice(items, tries), strict=True):
        event = events.took(str(user), str(item))
        partition = partition_of(event.user, settings.topics.partitions)
        accepted_at, sent = 0.0, time.perf_counter()
        producer.produce(
            settings.topics.interactions, encode(event), event.user, partition,
            on_delivery=acknowledged,
        )  # fmt: skip
        while not accepted_at:
            producer.poll(1.0)
        answered = _await_answer(consumer, event.event_id)
        accepted_ms.append((answered - accepted_at) * 1e3)
        sent_ms.append((answered - sent) * 1e3)
    consumer.close()
    return {"accepted_ms": spread(accepted_ms), "sent_ms": spread(sent_ms), "n": len(accepted_ms)}


def _await_answer(consumer: Any, event_id: str) -> float:
    """When the answer to an event was read."""
    deadline = time.perf_counter() + PATIENCE_SECONDS
    while (now := time.perf_counter()) < deadline:
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        now = time.perf_counter()
        if msgspec.json.decode(message.value())["event_id"] == event_id:
            return now
    raise TimeoutError(f"no answer to event {event_id!r} in {PATIENCE_SECONDS:g} s")
