"""Ask a broker for its topics; if none answers, say so in one line."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import ClusterMetadata  # type: ignore[attr-defined]

from streams.brokers.refusals import explained, unreachable
from streams.kafka.security import for_librdkafka
from streams.settings import SecuritySettings

PLAINTEXT = SecuritySettings()


def topic_partitions(
    bootstrap: str,
    create: str | None = None,
    seconds: float = 3.0,
    security: SecuritySettings = PLAINTEXT,
) -> dict[str, int]:
    """The topics of a broker, or one that is asked for by name.

    Parameters
    ----------
    bootstrap
        ``host:port``, several parted by commas.
    create
        Ask for this topic alone; a broker that makes topics when asked for them (the embedded one
        does) then makes it.
    seconds
        How long to wait for an answer.
    security
        How to reach it, and as whom.

    Returns
    -------
    dict of str to int
        Partitions of each topic.

    Raises
    ------
    BrokerError
        When no broker answers in time; `RefusedError` when one does, and does not let us in, or
        sends clients to addresses where nothing can be reached.
    SettingsError
        When a file of ``security`` cannot be read.
    """
    answer = _metadata(bootstrap, create, seconds, security)
    _require_advertised(
        bootstrap, [(str(b.host), b.port) for b in answer.brokers.values()], seconds
    )
    return {name: len(topic.partitions) for name, topic in answer.topics.items() if not topic.error}


def unreached_brokers(
    bootstrap: str, seconds: float = 3.0, security: SecuritySettings = PLAINTEXT
) -> dict[str, str]:
    """The addresses that the brokers advertise, each with why it cannot be reached, or "".

    Raises
    ------
    BrokerError
        As `topic_partitions`, when no broker answers.
    """
    answer = _metadata(bootstrap, None, seconds, security)
    addresses = [(str(broker.host), int(broker.port)) for broker in answer.brokers.values()]
    return {f"{host}:{port}": _failure(host, port, seconds) for host, port in addresses}


def _metadata(
    bootstrap: str, create: str | None, seconds: float, security: SecuritySettings
) -> ClusterMetadata:
    told: list[KafkaError] = []
    configuration = {"bootstrap.servers": bootstrap, "error_cb": told.append}
    # log_level 0: librdkafka would print each failed connection
    client = Producer({**configuration, "log_level": 0, **for_librdkafka(security)})
    try:
        if create:
            return client.list_topics(create, timeout=seconds)
        return client.list_topics(timeout=seconds)
    except KafkaException:
        client.poll(0)  # hands over what went wrong
        raise explained(bootstrap, security, told) from None


def _failure(host: str, port: int, seconds: float) -> str:
    """Why no connection can be opened to an address, or ""."""
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _require_advertised(
    bootstrap: str, addresses: Sequence[tuple[str, int]], seconds: float
) -> None:
    """Return if a connection can be opened to one of the addresses that the broker advertises.

    librdkafka would retry for ever, and report only timeouts.

    Raises
    ------
    RefusedError
        Naming the address that answered, those that do not, and Kafka's setting.
    """
    deadline = time.monotonic() + seconds
    failures: dict[str, str] = {}
    for host, port in addresses:
        failure = _failure(host, port, max(0.1, deadline - time.monotonic()))
        if not failure:
            return
        failures[f"{host}:{port}"] = failure
    if failures:
        raise unreachable(bootstrap, failures)
