"""All that the doctor looks at, in the order in which a worker would meet it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from confluent_kafka import KafkaException

from streams.brokers import BrokerError
from streams.settings import Settings
from streams.tools.doctor import clock, cluster, machine
from streams.tools.doctor.finding import Finding


def examine(settings: Settings) -> Iterator[Finding]:
    """Each finding as it is made; without a broker, those of this machine alone."""
    try:
        yield cluster.broker(settings)
    except BrokerError as error:
        yield Finding("broker", "fail", str(error))
    else:
        yield from _of_cluster(settings)
    yield from machine.checkpoint_folder(settings)
    yield machine.kernels()
    yield machine.port(settings.web)


def _of_cluster(settings: Settings) -> Iterator[Finding]:
    steps: dict[str, Callable[[], Iterable[Finding]]] = {
        "listeners": lambda: [cluster.listeners(settings)],
        "topics": lambda: cluster.topics_fit(settings),
        "codecs": lambda: [cluster.codecs(settings)],
        "rights": lambda: cluster.rights_fit(settings),
        "log": lambda: machine.retention(settings),
        "clock": lambda: [clock.clock(settings)],
    }
    for subject, step in steps.items():
        try:
            yield from step()
        except BrokerError as error:
            yield Finding(subject, "fail", str(error))
        except KafkaException as error:
            yield Finding(subject, "warn", f"the broker did not tell: {error.args[0].str()}")
