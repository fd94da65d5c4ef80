"""How far this machine's clock is from the broker's."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaException, Message
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from streams.kafka import clients
from streams.kafka.topics import APPEND_TIME
from streams.settings import Settings
from streams.tools.doctor.finding import Finding

MOST_SECONDS = 2.0
"""A difference that is not worth a line."""


def clock(settings: Settings) -> Finding:
    """Compare the clocks by a message to a topic that is made for it and deleted again.

    Kafka tells nobody the time, but that of an append. No topic of ours takes a message that is
    none, so it needs one of its own, and the right to make and delete it.
    """
    if settings.broker.embedded:
        return Finding("clock", "ok", "the broker is on this machine")
    admin = AdminClient(clients.common(settings))
    topic = f"{settings.topics.interactions}.doctor-{uuid.uuid4().hex[:8]}"
    made = NewTopic(topic, 1, 1, config={"message.timestamp.type": APPEND_TIME})
    try:
        admin.create_topics([made])[topic].result(clients.TIMEOUT_SECONDS)
    except KafkaException as error:
        return Finding(
            "clock",
            "ok",
            f"not compared: no topic {topic!r} can be made for it ({error.args[0].str()}); let a "
            "time service (chrony, systemd-timesyncd) keep both",
        )
    try:
        return _finding(_ahead_seconds(settings, topic))
    finally:
        with suppress(KafkaException):
            admin.delete_topics([topic])[topic].result(clients.TIMEOUT_SECONDS)


def _ahead_seconds(settings: Settings, topic: str) -> float | None:
    """By how much the broker's clock is ahead of ours; None if it took no message."""
    appended: list[tuple[int, int]] = []

    def delivered(error: object, message: Message) -> None:
        if error is None:
            appended.append(message.timestamp())

    producer = clients.producer(settings, **{"delivery.report.only.error": False})
    producer.produce(topic, b"", on_delivery=delivered)
    # The first may wait for metadata and a producer's id: the second is what is timed.
    producer.flush(clients.TIMEOUT_SECONDS)
    before = time.time()
    producer.produce(topic, b"", on_delivery=delivered)
    producer.flush(clients.TIMEOUT_SECONDS)
    after = time.time()
    if len(appended) < 2 or appended[1][0] != TIMESTAMP_LOG_APPEND_TIME:
        return None
    return appended[1][1] / 1000 - (before + after) / 2


def _finding(ahead: float | None) -> Finding:
    if ahead is None:
        return Finding("clock", "warn", "not compared: the broker took no message in time")
    if abs(ahead) <= MOST_SECONDS:
        return Finding("clock", "ok", f"the broker's is {abs(ahead):.1f} s from ours")
    side = "ahead of" if ahead > 0 else "behind"
    return Finding(
        "clock",
        "warn",
        f"the broker's is {abs(ahead):,.1f} s {side} ours: waits in Kafka are measured wrongly, "
        "and events more than a day ahead of it are refused; correct both by a time service "
        "(chrony, systemd-timesyncd)",
    )
