"""What the doctor asks the cluster: listeners, topics, codecs, rights."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import KafkaException, Producer

from streams.brokers.metadata import topic_partitions, unreached_brokers
from streams.kafka import rights, topic_checks, topics
from streams.kafka.security import who
from streams.settings import Settings
from streams.tools.doctor.finding import Finding

CODECS = ("gzip", "snappy", "lz4", "zstd")
"""The codecs of Kafka, as `compression.type` names them."""


def broker(settings: Settings) -> Finding:
    """Whether a broker answers.

    Raises
    ------
    BrokerError
        If none does, with what to do.
    """
    bootstrap = settings.broker.bootstrap
    there = topic_partitions(bootstrap, security=settings.security)
    return Finding("broker", "ok", f"{bootstrap} answers, with {len(there)} topics that we see")


def listeners(settings: Settings) -> Finding:
    """Whether each broker can be reached where it tells clients to go."""
    found = unreached_brokers(settings.broker.bootstrap, security=settings.security)
    failures = [f"{address} ({why})" for address, why in found.items() if why]
    if not failures:
        return Finding("listeners", "ok", f"{', '.join(found)} can be reached")
    return Finding(
        "listeners",
        "fail",
        f"clients are sent to {', '.join(failures)}, which cannot be reached from here: partitions "
        "that this broker leads cannot be read; set its advertised.listeners to an address that "
        "clients reach",
    )


def topics_fit(settings: Settings) -> Iterator[Finding]:
    """What is wrong with the topics, one line each."""
    problems = topic_checks.check(settings)
    for problem in problems:
        yield Finding("topics", "fail" if problem.stops else "warn", str(problem))
    if not problems:
        yield Finding(
            "topics", "ok", f"{', '.join(topics.policies(settings))} are as they should be"
        )


def codecs(settings: Settings) -> Finding:
    """Whether what producers and topics compress can be read here."""
    missing = [codec for codec in CODECS if not _is_known(codec)]
    if not missing:
        return Finding("codecs", "ok", f"{', '.join(CODECS)} can be read")
    names = [] if settings.broker.embedded else list(topics.policies(settings))
    used = {
        f"topic {name} is compressed with {codec}"
        for name, found in topics.configurations(settings, names).items()
        if (codec := found["compression.type"].value) in missing
    }
    told = "; ".join(sorted(used)) or "producers must not use it"
    return Finding(
        "codecs",
        "fail" if used else "warn",
        f"this librdkafka has no {', '.join(missing)}: {told}; install confluent-kafka from its "
        "wheel, which has all",
    )


def _is_known(codec: str) -> bool:
    try:
        Producer({"compression.type": codec, "log_level": 0})
    except KafkaException:
        return False
    return True


def rights_fit(settings: Settings) -> Iterator[Finding]:
    """What the broker does not let a worker do, and its HTTP API."""
    name = who(settings.security)
    remedy = "docs/security.md has the kafka-acls.sh command"
    of_worker = rights.missing(settings, rights.of_worker(settings), member=True)
    of_api = rights.missing(settings, rights.of_api(settings)) if settings.web.port else []
    if of_worker:
        yield Finding("rights", "fail", f"{name} lacks {', '.join(of_worker)}; {remedy}")
    if of_api:
        told = f"{name} lacks {', '.join(of_api)}: the HTTP API answers writes with 403; {remedy}"
        yield Finding("rights", "warn", told)
    if not of_worker and not of_api:
        yield Finding("rights", "ok", f"{name} may do what a worker does")
