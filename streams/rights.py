"""What the broker's access control must grant, asked for before the work starts.

Kafka says of a refused message only that "topic authorization failed", at the first event that
meets it. Asked beforehand, it tells which operations are ours.
"""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient  # type: ignore[attr-defined]

from streams.brokers.errors import RefusedError
from streams.clients import TIMEOUT_SECONDS, common, readers
from streams.security import who
from streams.settings import Settings

READ, WRITE, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE

Needed = dict[str, set[AclOperation]]
"""Operations on topics, by the topic's name."""


def of_worker(settings: Settings) -> Needed:
    """What a worker does to the topics; it reads back what was answered, too."""
    topics = settings.topics
    return {
        topics.interactions: {READ},
        topics.items: {READ},
        topics.item_embeddings: {READ, WRITE},
        topics.recommendations: {READ, WRITE},
        topics.dead_letters: {READ, WRITE},
    }


def of_replay(settings: Settings, resume: bool) -> Needed:
    """What a replay does to the topics; one that resumes looks for what it sent."""
    topics = settings.topics
    return {
        topics.interactions: {READ, WRITE} if resume else {WRITE},
        topics.items: {WRITE},
        topics.item_embeddings: {DESCRIBE},
    }


def of_watch(settings: Settings) -> Needed:
    """What a subscriber does to the topics."""
    topics = settings.topics
    return {
        topics.recommendations: {READ},
        topics.dead_letters: {READ},
        topics.item_embeddings: {READ},
    }


def require(settings: Settings, needed: Needed, member: bool = False) -> None:
    """Return when the broker grants all that is needed. Topics that are not there are passed over.

    Parameters
    ----------
    needed
        Operations on topics.
    member
        Whether it joins the workers' group.

    Raises
    ------
    RefusedError
        Naming each operation that is missing, and on what.
    """
    if settings.broker.embedded:  # which has no access control, and no request for it
        return
    admin = AdminClient(common(settings))
    asked = {"include_authorized_operations": True, "request_timeout": TIMEOUT_SECONDS}
    missing = [
        f"{operation.name.capitalize()} on topic {topic!r}"
        for topic, answer in admin.describe_topics(TopicCollection(list(needed)), **asked).items()
        for operation in sorted(needed[topic] - _granted(answer, needed[topic]))
    ]
    groups = [readers(settings), settings.worker.group][: 1 + member]
    missing += [
        f"Read on group {group!r}"
        for group, answer in admin.describe_consumer_groups(groups, **asked).items()
        if READ not in _granted(answer, {READ})
    ]
    if missing:
        raise RefusedError(
            f"the broker at {settings.broker.bootstrap} does not grant {who(settings.security)}: "
            f"{', '.join(missing)}; docs/security.md has the kafka-acls.sh command"
        )


def _granted(answer: Any, needed: set[AclOperation]) -> set[AclOperation]:
    """The operations that the broker grants; all that are needed when it does not know."""
    try:
        operations = answer.result().authorized_operations
    except KafkaException as error:
        code = error.args[0].code()
        if code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
            return set()
        if code == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return needed
        raise
    return needed if operations is None else set(operations)
