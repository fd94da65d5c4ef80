"""Finds what is wrong with existing topics, and says what to do about it."""

from __future__ import annotations

from typing import NamedTuple

from confluent_kafka.admin import AdminClient, ConfigEntry  # type: ignore[attr-defined]

from streams.brokers import topic_partitions
from streams.kafka import clients
from streams.kafka.topics import (
    APPEND_TIME,
    DELTA_RETENTION_MS,
    configurations,
    largest_message,
    policies,
    too_few,
)
from streams.settings import Settings

_LEAST_CHECKPOINTS = 10
"""The least retention of deltas of items, in multiples of `worker.checkpoint_seconds`."""


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
    # With more partitions a user's next events would go to another one than the last ones.
    remake = (
        "start `millrace broker` with these settings"
        if settings.broker.embedded
        else "delete the topic, which loses its messages, and run `millrace topics create`"
    )
    problems = []
    few = [] if settings.broker.embedded else too_few(settings, there)
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
        largest, wanted = (
            _number(configuration, "max.message.bytes"),
            largest_message(settings, name),
        )
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
    """Topics that accept no message, since they have fewer replicas than must store it."""
    told = AdminClient(clients.common(settings)).list_topics(timeout=clients.TIMEOUT_SECONDS).topics
    problems = []
    for name, configuration in found.items():
        least = _number(configuration, "min.insync.replicas")
        there = min(len(each.replicas) for each in told[name].partitions.values())
        if there < least:
            problems.append(
                Problem(
                    name,
                    f"min.insync.replicas = {least}, and it has {there} replicas: it accepts no "
                    "message",
                    _alter(settings, name, f"min.insync.replicas={there}")
                    + f", or make it anew with topics.replication = {least}",
                    stops=True,
                )
            )
    return problems


def _check_time(settings: Settings, configuration: dict[str, ConfigEntry]) -> list[Problem]:
    """Report interactions whose timestamps are their writers' own."""
    name = settings.topics.interactions
    found = configuration["message.timestamp.type"].value
    if found == APPEND_TIME:
        return []
    return [
        Problem(
            name,
            f"message.timestamp.type = {found}: a writer whose clock is ahead makes the events of "
            "others late",
            _alter(settings, name, f"message.timestamp.type={APPEND_TIME}"),
        )
    ]


def _number(configuration: dict[str, ConfigEntry], name: str) -> int:
    value = configuration[name].value
    assert value is not None, name  # the broker hides passwords only
    return int(value)


def _check_retention(settings: Settings, configuration: dict[str, ConfigEntry]) -> list[Problem]:
    """Report a retention that removes interactions, which are what state is rebuilt from.

    Messages are kept as long as both limits allow. A limit may be intended, so the problem says
    what it costs; a time shorter than that between two checkpoints loses events even with
    checkpoints.
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
    """Report a retention that removes deltas of items while a checkpoint still needs them."""
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


def _asks(settings: Settings, name: str) -> str:
    deltas = name == settings.topics.item_deltas
    return "deltas of items need" if deltas else "topics.message_bytes asks for"


def _alter(settings: Settings, topic: str, configuration: str) -> str:
    return (
        f"run `kafka-configs.sh --bootstrap-server {settings.broker.bootstrap} --alter "
        f"--entity-type topics --entity-name {topic} --add-config {configuration}`"
    )
