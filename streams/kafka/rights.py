"""The rights (ACLs) that a command needs, checked before its work starts.

Without this check, Kafka says only "topic authorization failed", at the first message that it
refuses. Asked beforehand, it lists the operations that we may do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient  # type: ignore[attr-defined]

from streams.brokers.errors import RefusedError
from streams.kafka.clients import TIMEOUT_SECONDS, common, readers
from streams.kafka.security import who
from streams.settings import Settings

READ, WRITE, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE

_DENIED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED)
_PASSING = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)

Needed = dict[str, set[AclOperation]]
"""Operations on topics, by the topic's name."""


def of_worker(settings: Settings) -> Needed:
    """The operations of a worker; it also reads its own answers back."""
    topics = settings.topics
    return {
        topics.interactions: {READ},
        topics.items: {READ},
        topics.item_embeddings: {READ, WRITE},
        topics.item_deltas: {READ, WRITE},
        topics.recommendations: {READ, WRITE},
        topics.dead_letters: {READ, WRITE},
    }


def of_replay(settings: Settings, resume: bool) -> Needed:
    """The operations of a replay; one that resumes reads what it has sent."""
    topics = settings.topics
    return {
        topics.interactions: {READ, WRITE} if resume else {WRITE},
        topics.items: {WRITE},
        topics.item_embeddings: {DESCRIBE},
    }


def of_api(settings: Settings) -> Needed:
    """The operations of the HTTP API; a worker without them answers such requests with 403."""
    return {settings.topics.interactions: {WRITE}, settings.topics.items: {WRITE}}


def of_watch(settings: Settings) -> Needed:
    """The operations of a subscriber."""
    topics = settings.topics
    return {
        topics.recommendations: {READ},
        topics.dead_letters: {READ},
        topics.item_embeddings: {READ},
    }


def of_forget(settings: Settings) -> Needed:
    """What whoever asks for users to be forgotten does to the topics."""
    return {settings.topics.interactions: {WRITE}}


def of_audit(settings: Settings) -> Needed:
    """The operations of commands that recompute past answers: they only read."""
    return {topic: {READ} for topic in of_worker(settings)}


def require(settings: Settings, needed: Needed, member: bool = False) -> None:
    """Return when the broker grants all that is needed; see `missing`.

    Raises
    ------
    RefusedError
        Naming each operation that is missing, and on what.
    """
    if refused := missing(settings, needed, member):
        raise RefusedError(
            f"the broker at {settings.broker.bootstrap} does not grant {who(settings.security)}: "
            f"{', '.join(refused)}; docs/security.md has the kafka-acls.sh command"
        )


def missing(settings: Settings, needed: Needed, member: bool = False) -> list[str]:
    """The operations that the broker does not grant, and on what.

    Topics that it does not describe, such as missing ones, are passed over: the work itself reports
    them.

    Parameters
    ----------
    needed
        Operations on topics.
    member
        Whether the client joins the workers' group.
    """
    if settings.broker.embedded:  # which has no access control, and no request for it
        return []
    admin = AdminClient(common(settings))
    asked = {"include_authorized_operations": True, "request_timeout": TIMEOUT_SECONDS}
    names = TopicCollection(list(needed))
    on_topics = _granted(lambda: admin.describe_topics(names, **asked))
    found = [
        f"{operation.name.capitalize()} on topic {topic!r}"
        for topic, operations in needed.items()
        for operation in sorted(operations - on_topics.get(topic, operations))
    ]
    groups = [readers(settings), settings.worker.group][: 1 + member]
    on_groups = _granted(lambda: admin.describe_consumer_groups(groups, **asked))
    return found + [
        f"Read on group {group!r}" for group in groups if READ not in on_groups.get(group, {READ})
    ]


def _granted(describe: Callable[[], dict[str, Any]]) -> dict[str, set[AclOperation]]:
    """The operations that are granted on each topic or group that the broker describes.

    A cluster that has just started has no coordinator for a group yet, so this retries.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS / 2
    while True:
        found: dict[str, set[AclOperation]] = {}
        again = False
        for name, answer in describe().items():
            try:
                operations = answer.result().authorized_operations
            except KafkaException as error:
                code = error.args[0].code()
                again = again or code in _PASSING
                if code in _DENIED:
                    found[name] = set()
            else:
                if operations is not None:
                    found[name] = set(operations)
        if not again or time.monotonic() > deadline:
            return found
        time.sleep(0.1)
