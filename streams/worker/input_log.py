"""The interactions topic as a log: which one it is, and what of it is still there."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

from streams.kafka import clients
from streams.settings import Settings
from streams.worker.checkpoints import Notes


@dataclass(frozen=True)
class Input:
    """The log that the state is folded from.

    Attributes
    ----------
    name
        Cluster, topic and the topic's id: one that is deleted and made again is another log.
    topic_id
        The topic's id, as answers name it.
    lows, highs
        First offset that is still there, and next offset, of each partition.
    deltas_id, deltas
        The id of the topic of deltas; the first offset that is still there, and the next one.
    """

    name: str
    topic_id: str
    lows: dict[int, int]
    highs: dict[int, int]
    deltas_id: str = ""
    deltas: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, settings: Settings) -> Input:
        """The input as it is now.

        Raises
        ------
        BrokerError
            If the broker has no such topic.
        """
        topic, deltas = settings.topics.interactions, settings.topics.item_deltas
        consumer = clients.reader(settings)
        try:
            cluster = consumer.list_topics(topic, timeout=clients.TIMEOUT_SECONDS).cluster_id
            watermarks = clients.watermarks(consumer, topic)
            bounds = clients.watermarks(consumer, deltas)[0]
        finally:
            consumer.close()
        topic_id = _topic_id(settings, topic)
        return cls(
            f"{cluster}.{topic}.{topic_id}",
            topic_id,
            {number: low for number, (low, _) in watermarks.items()},
            {number: high for number, (_, high) in watermarks.items()},
            _topic_id(settings, deltas),
            bounds,
        )

    def fits(self, notes: Notes) -> str | None:
        """Why a checkpoint does not go with this log, if it does not."""
        if notes.log != self.name:
            return f"it is of {notes.log}, and this is {self.name}"
        here = [(number, partition.next_offset) for number, partition in notes.partitions.items()]
        for number, offset in (*here, *notes.told.items()):
            if number not in self.highs:
                return f"it is of partition {number}, which the topic does not have"
            if offset > self.highs[number]:
                return (
                    f"it is at offset {offset} of partition {number}, which ends at "
                    f"{self.highs[number]}"
                )
        return self._lacks(notes) if notes.deltas_id else None

    def _lacks(self, notes: Notes) -> str | None:
        """Why the items of a checkpoint cannot be gone on with, if they cannot."""
        low, high = self.deltas
        if notes.deltas_id != self.deltas_id:
            return "the topic of deltas was made anew since"
        if not low <= notes.deltas <= high:
            return (
                f"it is at offset {notes.deltas} of the deltas, of which {low} to {high} are there"
            )
        return None


def describe(admin: AdminClient, topic: str) -> tuple[str, int]:
    """A topic's id, without signs that part folders, and how many partitions it has.

    Raises
    ------
    KafkaException
        If the broker does not answer, or knows no such topic.
    """
    described = admin.describe_topics(TopicCollection([topic]))[topic]
    found = described.result(clients.TIMEOUT_SECONDS)
    return str(found.topic_id).replace("/", "_"), len(found.partitions)  # base64 has slashes


def _topic_id(settings: Settings, topic: str) -> str:
    if settings.broker.embedded:  # which does not tell
        return "embedded"
    return describe(AdminClient(clients.common(settings)), topic)[0]
