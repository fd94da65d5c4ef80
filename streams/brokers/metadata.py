"""Ask a broker what it holds, and say it in one line when none answers."""

from __future__ import annotations

from confluent_kafka import KafkaException, Producer

from streams.brokers.errors import BrokerError


def topic_partitions(
    bootstrap: str, create: str | None = None, seconds: float = 3.0
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

    Returns
    -------
    dict of str to int
        Partitions of each topic.

    Raises
    ------
    BrokerError
        When no broker answers in time.
    """
    try:
        # log_level 0: librdkafka would print each failed connection
        client = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
        answer = (
            client.list_topics(create, timeout=seconds)
            if create
            else client.list_topics(timeout=seconds)
        )
    except KafkaException:
        raise BrokerError(no_broker(bootstrap)) from None
    return {name: len(topic.partitions) for name, topic in answer.topics.items() if not topic.error}


def no_broker(bootstrap: str) -> str:
    """What to say when nothing answers at ``bootstrap``."""
    return (
        f"no Kafka broker answers at {bootstrap}; start one with `millrace broker` or `make kafka`,"
        " or name yours with --broker"
    )
