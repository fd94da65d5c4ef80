"""Make Millrace's topics, and say whether a worker can run on those that are there."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from confluent_kafka.cimpl import NewPartitions

from streams.brokers import BrokerError, topic_partitions
from streams.brokers.errors import RefusedError
from streams.kafka import clients
from streams.kafka.security import who
from streams.settings import Settings

DEAD_LETTER_BYTES = 65_536
DELTA_BYTES = 8 * 1024 * 1024
"""Largest delta of items that its topic takes: it sums up the events of a pause of the broker."""
DELTA_RETENTION_MS = 86_400_000
"""How long deltas of items are kept: a checkpoint is of no use once its next delta is gone."""
APPEND_TIME = "LogAppendTime"
_NOT_ANSWERED = (KafkaError._UNSUPPORTED_FEATURE, KafkaError._TIMED_OUT)


def create(settings: Settings) -> list[str]:
    """Make the topics that are missing; existing ones stay as they are.

    The embedded broker makes a topic when asked for it by name, always with 4 partitions, unless it
    was started with these settings and so has it already.

    Parameters
    ----------
    settings
        Names, partitions, replication and message size of the topics, and where Kafka is.

    Returns
    -------
    list of str
        The topics that were made.

    Raises
    ------
    BrokerError
        When no broker answers, or it refuses.
    """
    there = topic_partitions(settings.broker.bootstrap, security=settings.security)
    missing = [name for name in policies(settings) if name not in there]
    if settings.broker.embedded:
        for name in missing:
            topic_partitions(settings.broker.bootstrap, create=name)
        return missing
    if missing:
        missing = _create(settings, missing)
        _wait_for(settings, missing)
    return missing


def grow(settings: Settings) -> dict[str, tuple[int, int]]:
    """Add partitions to the output topics until they have as many as the input.

    The input never gets more: its users' next events would go to another partition than their last.
    The embedded broker cannot add any.

    Returns
    -------
    dict of str to (int, int)
        Partitions before and after, of each topic that was changed.

    Raises
    ------
    BrokerError
        When no broker answers, or it refuses.
    """
    there = topic_partitions(settings.broker.bootstrap, security=settings.security)
    wanted = there.get(settings.topics.interactions, 0)
    changed = {name: (there[name], wanted) for name in too_few(settings, there)}
    if settings.broker.embedded or not changed:
        return {}
    admin = AdminClient(clients.common(settings))
    asked = admin.create_partitions([NewPartitions(name, wanted) for name in changed])
    for name, done in asked.items():
        try:
            done.result(clients.TIMEOUT_SECONDS)
        except KafkaException as error:
            raise BrokerError(
                f"the broker at {settings.broker.bootstrap} does not add partitions to topic "
                f"{name!r}: {error.args[0].str()}"
            ) from None
    return changed


def require(settings: Settings) -> None:
    """Return if a worker can run on the topics.

    An answer goes to the partition with the number of its event's, so an output topic with fewer
    partitions than the input cannot hold all answers. Items may have any number of partitions.

    Raises
    ------
    BrokerError
        In one line: topics that are missing, or those with too few partitions, their numbers and
        what to do.
    """
    there = topic_partitions(settings.broker.bootstrap, security=settings.security)
    missing = [name for name in policies(settings) if name not in there]
    if missing:
        raise BrokerError(
            f"the broker has no topic {', '.join(map(repr, missing))}: make the topics with "
            "`millrace topics create`"
        )
    if few := too_few(settings, there):
        topic = settings.topics.interactions
        told = ", ".join(f"topic {name} has {there[name]}" for name in few)
        raise BrokerError(
            f"topic {topic} has {there[topic]} partitions and {told}: an answer goes to the "
            "partition with its event's number; `millrace topics create` adds the missing ones"
        )


def too_few(settings: Settings, there: dict[str, int]) -> list[str]:
    """The output topics that have fewer partitions than the input."""
    topics = settings.topics
    wanted = there.get(topics.interactions, 0)
    return [
        name
        for name in (topics.recommendations, topics.dead_letters)
        if name in there and there[name] < wanted
    ]


def policies(settings: Settings) -> dict[str, str]:
    """Name and cleanup policy of each topic: an item is kept until its next version comes."""
    topics = settings.topics
    return {
        topics.interactions: "delete",
        topics.items: "compact",
        topics.item_embeddings: "compact",
        topics.item_deltas: "delete",
        topics.recommendations: "delete",
        topics.dead_letters: "delete",
    }


def configurations(settings: Settings, names: list[str]) -> dict[str, dict[str, ConfigEntry]]:
    """The configuration of these topics on the broker, by name."""
    if not names:
        return {}
    admin = AdminClient(clients.common(settings))  # it ends what is asked when it is let go of
    asked = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
    return {topic.name: _answer(settings, found) for topic, found in asked.items()}


def _own_configuration(settings: Settings, name: str) -> dict[str, str]:
    """The configuration of one topic beyond that of all topics.

    Interactions are kept for ever, because state is rebuilt from them, with the broker's time of
    each, because it bounds the time that lateness is measured against.
    """
    if name == settings.topics.interactions:
        return {
            "retention.ms": "-1", "retention.bytes": "-1", "message.timestamp.type": APPEND_TIME,
        }  # fmt: skip
    if name == settings.topics.item_deltas:
        return {"retention.ms": str(DELTA_RETENTION_MS)}
    return {}


def largest_message(settings: Settings, name: str) -> int:
    """The largest message of a topic, in bytes; a dead letter also holds its error."""
    room = DEAD_LETTER_BYTES if name == settings.topics.dead_letters else 0
    if name == settings.topics.item_deltas:
        return max(settings.topics.message_bytes, DELTA_BYTES)
    return settings.topics.message_bytes + room


def _create(settings: Settings, names: list[str]) -> list[str]:
    """Make these topics, and return them without those that another process made meanwhile."""
    topics = [
        NewTopic(
            name,
            1 if name == settings.topics.item_deltas else settings.topics.partitions,
            settings.topics.replication,
            config={
                "cleanup.policy": policies(settings)[name],
                "max.message.bytes": str(largest_message(settings, name)),
            }
            | _own_configuration(settings, name),
        )
        for name in names
    ]
    made = []
    admin = AdminClient(clients.common(settings))  # it ends what is asked when it is let go of
    for name, done in admin.create_topics(topics).items():
        try:
            _answer(settings, done)
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.TOPIC_ALREADY_EXISTS:
                continue
            if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise RefusedError(
                    f"the broker at {settings.broker.bootstrap} does not grant "
                    f"{who(settings.security)}: Create on topic {name!r}; docs/security.md has the "
                    "kafka-acls.sh command"
                ) from None
            raise BrokerError(
                f"the broker at {settings.broker.bootstrap} did not make topic {name!r} with "
                f"topics.partitions = {settings.topics.partitions} and topics.replication = "
                f"{settings.topics.replication}: {error.args[0].str()}"
            ) from None
        made.append(name)
    return made


def _wait_for(settings: Settings, names: list[str]) -> None:
    """Return once the broker lists these topics, which the controller alone has made so far."""
    deadline = time.monotonic() + clients.TIMEOUT_SECONDS
    while (
        not set(names)
        <= topic_partitions(settings.broker.bootstrap, security=settings.security).keys()
    ):
        if time.monotonic() > deadline:
            raise BrokerError(
                f"the broker at {settings.broker.bootstrap} made topics {', '.join(names)} and "
                "does not list them"
            )
        time.sleep(0.05)


T = TypeVar("T")


def _answer(settings: Settings, asked: Future[T]) -> T:
    """The result of an admin request; the embedded broker supports none."""
    try:
        return asked.result(clients.TIMEOUT_SECONDS)
    except KafkaException as error:
        if error.args[0].code() not in _NOT_ANSWERED:
            raise
        why = error.args[0].str()
    except TimeoutError:
        why = f"nothing came for {clients.TIMEOUT_SECONDS:.0f} s"
    raise BrokerError(
        f"the broker at {settings.broker.bootstrap} answers no admin request: {why}; "
        "is it Millrace's embedded one (broker.embedded = true)?"
    )
