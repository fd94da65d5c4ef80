"""The brokers that Millrace can start by itself."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Literal

from streams.brokers.embedded import EmbeddedBroker
from streams.brokers.errors import BrokerError
from streams.brokers.kafka import KafkaServer
from streams.brokers.metadata import topic_partitions
from streams.settings import Settings

__all__ = [
    "BrokerError",
    "EmbeddedBroker",
    "KafkaServer",
    "open_broker",
    "run_broker",
    "topic_partitions",
]

Kind = Literal["embedded", "kafka"]


def open_broker(
    kind: Kind, settings: Settings, port: int = 0, data: Path | None = None
) -> EmbeddedBroker | KafkaServer:
    """A broker that serves; a context manager that stops it.

    Parameters
    ----------
    kind
        ``embedded``, which holds the topics of ``settings`` from the start, or ``kafka``, where
        `streams.kafka.topics.create` makes them.
    settings
        Names and partitions of the topics.
    port
        The port for clients; 0 takes a free one, and the embedded broker knows no other.
    data
        Where Kafka keeps its log; without it, in a temporary folder.

    Raises
    ------
    BrokerError
        When it cannot be started as asked.
    """
    if kind == "kafka":
        return KafkaServer(port, data)
    if port:
        raise BrokerError(
            f"the embedded broker takes a free port, not {port}: leave --port out and take the "
            "address that it prints, or start a real one with --kafka"
        )
    if data:
        raise BrokerError(f"the embedded broker keeps nothing in {data}: add --kafka")
    topics = settings.topics
    names = (
        topics.interactions,
        topics.items,
        topics.item_embeddings,
        topics.item_deltas,
        topics.recommendations,
        topics.dead_letters,
    )
    return EmbeddedBroker(names, topics.partitions)


def run_broker(kind: Kind, port: int, settings: Settings, data: Path | None = None) -> None:
    """Serve in the foreground until SIGINT or SIGTERM, and leave nothing running.

    Prints ``bootstrap=127.0.0.1:PORT`` on standard output as soon as clients can connect. To be
    called from the main thread, which alone gets signals.

    Parameters
    ----------
    kind, port, settings, data
        As `open_broker` takes them.

    Raises
    ------
    BrokerError
        When the broker cannot be started, or ends by itself.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(number: int, frame: FrameType | None) -> None:
        # the stop takes seconds at most; a second Ctrl-C must not cut it short
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        with open_broker(kind, settings, port, data) as broker:
            print(f"bootstrap={broker.bootstrap}", flush=True)
            broker.wait()
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
