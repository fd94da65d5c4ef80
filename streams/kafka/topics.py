"""Make Millrace's topics, and say what is wrong with those that are there."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import NamedTuple, TypeVar

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
_LEAST_CHECKPOINTS = 10
"""Deltas are to be kept for at least so many times `worker.checkpoint_seconds`."""
_NOT_ANSWERED = (KafkaError._UNSUPPORTED_FEATURE, KafkaError._TIMED_OUT)


class Problem(NamedTuple):
    """What is wrong with one topic, what to do about it, and whether a worker can run all the same.

    `stops` says that it cannot.
    """

    topic: str
    problem: str
    remedy: str
    stops: bool = False

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.problem}; {self.remedy}"


def create(settings: Settings) -> list[str]:
    """Make the topics that are not there yet. Those that are there stay as they are.

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

    The input's partitions are never added to: its users' next events would go elsewhere than their
    last ones. The embedded broker cannot add any.

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
    changed = {name: (there[name], wanted) for name in _too_few(settings, there)}
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
    if few := _too_few(settings, there):
        topic = settings.topics.interactions
        told = ", ".join(f"topic {name} has {there[name]}" for name in few)
        raise BrokerError(
            f"topic {topic} has {there[topic]} partitions and {told}: an answer goes to the "
            "partition with its event's number; `millrace topics create` adds those that lack"
        )


def _too_few(settings: Settings, there: dict[str, int]) -> list[str]:
    """The output topics that have fewer partitions than the input."""
    topics = settings.topics
    wanted = there.get(topics.interactions, 0)
    return [
        name
        for name in (topics.recommendations, topics.dead_letters)
        if name in there and there[name] < wanted
    ]


def check(settings: Settings) -> list[Problem]:
    """What differs between the topics and the settings; on the embedded broker, partitions only.

    Parameters
    ----------
    settings
        As for `create`.

    Returns
    -------
    list of Problem
        Topics that are missing, or whose partitions, replicas, cleanup policy, message size,
        retention or kind of timestamp do not fit.

    Raises
    ------
    BrokerError
        When no broker answers, or it refuses.
    """
    wanted = settings.topics.partitions
    there = topic_partitions(settings.broker.bootstrap, security=settings.security)
    # adding partitions to a topic would send a user's next event elsewhere than the last one
    remake = (
        "start `millrace broker` with these settings"
        if settings.broker.embedded
        else "delete the topic, which loses its messages, and run `millrace topics create`"
    )
    problems = []
    few = [] if settings.broker.embedded else _too_few(settings, there)
    for name in policies(settings):
        if name not in there:
            problems.append(Problem(name, "missing", "run `millrace topics create`", stops=True))
        elif name in few:
            input_ = settings.topics.interactions
            problems.append(
                Problem(
                    name,
                    f"{there[name]} partitions, and topic {input_} has {there[input_]}",
                    f"run `millrace topics create`, which adds {there[input_] - there[name]}",
                    stops=True,
                )
            )
        elif name == settings.topics.item_deltas:
            continue  # its first partition is used, however many there are
        elif there[name] != wanted:
            problems.append(
                Problem(
                    name,
                    f"{there[name]} partitions, and topics.partitions = {wanted}",
                    f"set topics.partitions = {there[name]}, or {remake}",
                )
            )
    if settings.broker.embedded:
        return problems
    present = [name for name in policies(settings) if name in there]
    found = configurations(settings, present)
    problems += _check_configurations(settings, found)
    problems += _check_replicas(settings, found)
    if settings.topics.interactions in found:
        problems += _check_retention(settings, found[settings.topics.interactions])
        problems += _check_time(settings, found[settings.topics.interactions])
    if settings.topics.item_deltas in found:
        problems += _check_delta_retention(settings, found[settings.topics.item_deltas])
    return problems


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
    """What the broker says of the configuration of these topics, by name."""
    if not names:
        return {}
    admin = AdminClient(clients.common(settings))  # it ends what is asked when it is let go of
    asked = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
    return {topic.name: _answer(settings, found) for topic, found in asked.items()}


def _check_configurations(
    settings: Settings, found: dict[str, dict[str, ConfigEntry]]
) -> list[Problem]:
    problems = []
    for name, configuration in found.items():
        policy = configuration["cleanup.policy"].value
        if policy != policies(settings)[name]:
            problems.append(
                Problem(
                    name,
                    f"cleanup.policy = {policy}, and Millrace relies on {policies(settings)[name]}",
                    _alter(settings, name, f"cleanup.policy={policies(settings)[name]}"),
                )
            )
        largest, wanted = _number(configuration, "max.message.bytes"), _largest(settings, name)
        if largest < wanted:
            problems.append(
                Problem(
                    name,
                    f"max.message.bytes = {largest}, and {_asks(settings, name)} {wanted}",
                    _alter(settings, name, f"max.message.bytes={wanted}"),
                )
            )
    return problems


def _check_replicas(settings: Settings, found: dict[str, dict[str, ConfigEntry]]) -> list[Problem]:
    """Topics that take no message: all replicas together are fewer than must have it."""
    told = AdminClient(clients.common(settings)).list_topics(timeout=clients.TIMEOUT_SECONDS).topics
    problems = []
    for name, configuration in found.items():
        least = _number(configuration, "min.insync.replicas")
        there = min(len(each.replicas) for each in told[name].partitions.values())
        if there < least:
            problems.append(
                Problem(
                    name,
                    f"min.insync.replicas = {least}, and it has {there} replicas: it takes no "
                    "message",
                    _alter(settings, name, f"min.insync.replicas={there}")
                    + f", or make it anew with topics.replication = {least}",
                    stops=True,
                )
            )
    return problems


def _check_time(settings: Settings, configuration: dict[str, ConfigEntry]) -> list[Problem]:
    """Say that writers of interactions date them as they like, if they do."""
    name = settings.topics.interactions
    found = configuration["message.timestamp.type"].value
    if found == APPEND_TIME:
        return []
    return [
        Problem(
            name,
            f"message.timestamp.type = {found}: whoever writes an event dated ahead makes those of "
            "others late",
            _alter(settings, name, f"message.timestamp.type={APPEND_TIME}"),
        )
    ]


def _number(configuration: dict[str, ConfigEntry], name: str) -> int:
    value = configuration[name].value
    assert value is not None, name  # the broker hides passwords only
    return int(value)


def _own_configuration(settings: Settings, name: str) -> dict[str, str]:
    """What a topic is made with beyond what all are.

    That of the interactions keeps all messages, which are what state is rebuilt from, with the
    broker's time of each, which is what bounds the time that lateness is measured against.
    """
    if name == settings.topics.interactions:
        return {
            "retention.ms": "-1", "retention.bytes": "-1", "message.timestamp.type": APPEND_TIME,
        }  # fmt: skip
    if name == settings.topics.item_deltas:
        return {"retention.ms": str(DELTA_RETENTION_MS)}
    return {}


def _check_retention(settings: Settings, configuration: dict[str, ConfigEntry]) -> list[Problem]:
    """Say what a worker without a checkpoint would not learn from the interactions that are kept.

    Messages are kept as long as both limits allow. A limit is a choice, so one problem says what it
    costs; a time shorter than the pause between two checkpoints costs events even with them.
    """
    name = settings.topics.interactions
    kept_ms = _number(configuration, "retention.ms")
    kept_bytes = _number(configuration, "retention.bytes")
    limits = [f"{kept_ms / 3_600_000:,.4g} hours"] * (kept_ms >= 0)
    limits += [f"{kept_bytes:,} bytes a partition"] * (kept_bytes >= 0)
    if not limits:
        return []
    lost = "a worker without a checkpoint forgets what is older"
    if 0 <= kept_ms < settings.worker.checkpoint_seconds * 1000:
        lost = "a worker forgets what was removed before its next checkpoint"
    keys = [key for key, value in (("retention.ms", kept_ms), ("retention.bytes", kept_bytes))
            if value >= 0]  # fmt: skip
    return [
        Problem(
            name,
            f"interactions are kept for {' and '.join(limits)}, and {lost}",
            _alter(settings, name, ",".join(f"{key}=-1" for key in keys)),
        )
    ]


def _check_delta_retention(
    settings: Settings, configuration: dict[str, ConfigEntry]
) -> list[Problem]:
    """Say that a checkpoint outlives the deltas that it would be gone on from with, if it does."""
    name = settings.topics.item_deltas
    kept_ms = _number(configuration, "retention.ms")
    least_ms = int(_LEAST_CHECKPOINTS * settings.worker.checkpoint_seconds * 1000)
    if not 0 <= kept_ms < least_ms:
        return []
    return [
        Problem(
            name,
            f"deltas are kept for {kept_ms / 1000:,.0f} s, and a checkpoint is written every "
            f"{settings.worker.checkpoint_seconds:g} s: a worker that was away for longer learns "
            "the interactions from their beginning",
            _alter(settings, name, f"retention.ms={DELTA_RETENTION_MS}"),
        )
    ]


def _largest(settings: Settings, name: str) -> int:
    """A topic's largest message, in bytes; a dead letter also says what is wrong with it."""
    room = DEAD_LETTER_BYTES if name == settings.topics.dead_letters else 0
    if name == settings.topics.item_deltas:
        return max(settings.topics.message_bytes, DELTA_BYTES)
    return settings.topics.message_bytes + room


def _asks(settings: Settings, name: str) -> str:
    deltas = name == settings.topics.item_deltas
    return "deltas of items need" if deltas else "topics.message_bytes asks for"


def _alter(settings: Settings, topic: str, configuration: str) -> str:
    return (
        f"run `kafka-configs.sh --bootstrap-server {settings.broker.bootstrap} --alter "
        f"--entity-type topics --entity-name {topic} --add-config {configuration}`"
    )


def _create(settings: Settings, names: list[str]) -> list[str]:
    """Make these topics; those that another process was faster to make are left out."""
    topics = [
        NewTopic(
            name,
            1 if name == settings.topics.item_deltas else settings.topics.partitions,
            settings.topics.replication,
            config={
                "cleanup.policy": policies(settings)[name],
                "max.message.bytes": str(_largest(settings, name)),
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
    """Return once clients are told of these topics: the controller made them, brokers learn it."""
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
    """What the broker answers to an administrator; the embedded broker knows no such requests."""
    try:
        return asked.result(clients.TIMEOUT_SECONDS)
    except KafkaException as error:
        if error.args[0].code() not in _NOT_ANSWERED:
            raise
        why = error.args[0].str()
    except TimeoutError:
        why = f"nothing came for {clients.TIMEOUT_SECONDS:.0f} s"
    raise BrokerError(
        f"the broker at {settings.broker.bootstrap} answers, but not to an administrator: {why}; "
        "is it Millrace's embedded one (broker.embedded = true)?"
    )
