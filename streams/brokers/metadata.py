"""Ask a broker what it holds, and say it in one line when none answers."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Producer

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
    told: list[KafkaError] = []
    configuration = {"bootstrap.servers": bootstrap, "error_cb": told.append}
    # log_level 0: librdkafka would print each failed connection
    client = Producer({**configuration, "log_level": 0, **for_librdkafka(security)})
    try:
        answer = (
            client.list_topics(create, timeout=seconds)
            if create
            else client.list_topics(timeout=seconds)
        )
    except KafkaException:
        client.poll(0)  # hands over what went wrong
        raise explained(bootstrap, security, told) from None
    _require_advertised(bootstrap, [(b.host, b.port) for b in answer.brokers.values()], seconds)
    return {name: len(topic.partitions) for name, topic in answer.topics.items() if not topic.error}


def _require_advertised(
    bootstrap: str, addresses: Sequence[tuple[str, int]], seconds: float
) -> None:
    """Return if a connection can be opened to one of the addresses that the broker advertises.

    librdkafka would try for ever, and tell of timeouts only.

    Raises
    ------
    RefusedError
        Naming the address that answered, those that do not, and Kafka's setting.
    """
    deadline = time.monotonic() + seconds
    failures: dict[str, str] = {}
    for host, port in addresses:
        try:
            left = max(0.1, deadline - time.monotonic())
            socket.create_connection((host, port), timeout=left).close()
        except OSError as error:
            failures[f"{host}:{port}"] = error.strerror or str(error)
        else:
            return
    if failures:
        raise unreachable(bootstrap, failures)
