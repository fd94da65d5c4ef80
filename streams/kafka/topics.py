"""Make Millrace's topics, and say what is wrong with those that are there."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from streams.kafka.brokers import BrokerError, topic_partitions
from streams.kafka.brokers.errors import RefusedError
from streams.kafka.security import for_kafka_python, who
from streams.settings import Settings

with warnings.catch_warnings():
    # kafka-python 3.0.12 reads its schemas through a function that Python 3.11 has deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
    from kafka.errors import (
        KafkaError,
        TopicAlreadyExistsError,
        TopicAuthorizationFailedError,
    )

TIMEOUT_MS = 10_000
DEAD_LETTER_BYTES = 65_536


class Problem(NamedTuple):
    """What is wrong with one topic, and what to do about it."""

    topic: str
    problem: str
    remedy: str

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
        with _admin(settings) as admin:
            missing = [name for name in missing if _create(admin, name, settings)]
            admin.wait_for_topics(missing)
    return missing


def check(settings: Settings) -> list[Problem]:
    """What differs between the topics and the settings; on the embedded broker, partitions only.

    Parameters
    ----------
    settings
        As for `create`.

    Returns
    -------
    list of Problem
        Topics that are missing, or whose partitions, cleanup policy, message size or retention do
        not fit.

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
    for name in policies(settings):
        if name not in there:
            problems.append(Problem(name, "missing", "run `millrace topics create`"))
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
    problems += _check_configurations(settings, present)
    if settings.topics.interactions in there:
        problems += _check_retention(settings)
    return problems


def policies(settings: Settings) -> dict[str, str]:
    """Name and cleanup policy of each topic: an item is kept until its next version comes."""
    topics = settings.topics
    return {
        topics.interactions: "delete",
        topics.items: "compact",
        topics.item_embeddings: "compact",
        topics.recommendations: "delete",
        topics.dead_letters: "delete",
    }


def _check_configurations(settings: Settings, names: list[str]) -> list[Problem]:
    if not names:
        return []
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    with _admin(settings) as admin:
        found = admin.describe_configs(resources, config_filter="all")["topic"]
    problems = []
    for name in names:
        policy = str(found[name]["cleanup.policy"]["value"])
        if policy != policies(settings)[name]:
            problems.append(
                Problem(
                    name,
                    f"cleanup.policy = {policy}, and Millrace relies on {policies(settings)[name]}",
                    _alter(settings, name, f"cleanup.policy={policies(settings)[name]}"),
                )
            )
        largest, wanted = int(found[name]["max.message.bytes"]["value"]), _largest(settings, name)
        if largest < wanted:
            problems.append(
                Problem(
                    name,
                    f"max.message.bytes = {largest}, and topics.message_bytes asks for {wanted}",
                    _alter(settings, name, f"max.message.bytes={wanted}"),
                )
            )
    return problems


def _retention(settings: Settings, name: str) -> dict[str, str]:
    """How long a topic keeps messages: all interactions, which are what state is rebuilt from."""
    if name != settings.topics.interactions:
        return {}
    return {"retention.ms": "-1", "retention.bytes": "-1"}


def _check_retention(settings: Settings) -> list[Problem]:
    """Say what a worker without a checkpoint would not learn from the interactions that are kept.

    Messages are kept as long as both limits allow. A limit is a choice, so one problem says what it
    costs; a time shorter than the pause between two checkpoints costs events even with them.
    """
    name = settings.topics.interactions
    resource = ConfigResource(ConfigResourceType.TOPIC, name)
    with _admin(settings) as admin:
        found = admin.describe_configs([resource], config_filter="all")["topic"][name]
    kept_ms = int(found["retention.ms"]["value"])
    kept_bytes = int(found["retention.bytes"]["value"])
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


def _largest(settings: Settings, name: str) -> int:
    """A topic's largest message, in bytes; a dead letter also says what is wrong with it."""
    room = DEAD_LETTER_BYTES if name == settings.topics.dead_letters else 0
    return settings.topics.message_bytes + room


def _alter(settings: Settings, topic: str, configuration: str) -> str:
    return (
        f"run `kafka-configs.sh --bootstrap-server {settings.broker.bootstrap} --alter "
        f"--entity-type topics --entity-name {topic} --add-config {configuration}`"
    )


def _create(admin: KafkaAdminClient, name: str, settings: Settings) -> bool:
    topic = {
        "num_partitions": settings.topics.partitions,
        "replication_factor": settings.topics.replication,
        "configs": {
            "cleanup.policy": policies(settings)[name],
            "max.message.bytes": str(_largest(settings, name)),
        }
        | _retention(settings, name),
    }
    answer = admin.create_topics({name: topic}, timeout_ms=TIMEOUT_MS, raise_errors=False)
    [result] = answer["topics"]
    if result["error_code"] == TopicAlreadyExistsError.errno:  # another process was faster
        return False
    if result["error_code"] == TopicAuthorizationFailedError.errno:
        raise RefusedError(
            f"the broker at {settings.broker.bootstrap} does not grant {who(settings.security)}: "
            f"Create on topic {name!r}; docs/security.md has the kafka-acls.sh command"
        )
    if result["error_code"]:
        raise BrokerError(
            f"the broker at {settings.broker.bootstrap} did not make topic {name!r}: "
            f"{result['error_message']} Asked for: {topic}; see [topics] of the settings"
        )
    return True


@contextmanager
def _admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    try:
        client = KafkaAdminClient(
            bootstrap_servers=settings.broker.bootstrap.split(","),
            request_timeout_ms=TIMEOUT_MS,
            bootstrap_timeout_ms=TIMEOUT_MS // 2,
            **for_kafka_python(settings.security),
        )
        try:
            yield client
        finally:
            client.close()
    except KafkaError as error:
        raise BrokerError(
            f"the broker at {settings.broker.bootstrap} answers, but not to an administrator: "
            f"{error}; is it Millrace's embedded one (broker.embedded = true)?"
        ) from None
