"""What the worker keeps of each input partition: where it stands and what has been answered.

State is a fold over the log. A worker that starts, or is handed a partition, reads it from its
first message and says nothing until it is past the answers that the output topic already holds;
so a restart loses no event and answers none twice.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import msgspec
from confluent_kafka import Message

from streams import clients
from streams.messages import Source
from streams.settings import Settings

_TAIL = 500
"""Dead letters that are read back to find the last one of the input: items have theirs there."""


@dataclass
class Partition:
    """One partition of the interactions topic.

    Attributes
    ----------
    next_offset
        The next message to apply.
    answered, buried
        Last offset whose answer, or whose dead letter, is in its topic already; -1 for none.
    """

    window: int
    next_offset: int = 0
    answered: int = -1
    buried: int = -1
    _known: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def is_duplicate(self, event_id: str) -> bool:
        """Whether the id is among the last `window` ones; it is from now on."""
        if event_id in self._known:
            return True
        self._known[event_id] = None
        if len(self._known) > self.window:
            self._known.popitem(last=False)
        return False


def recall_answers(settings: Settings, number: int, partition: Partition) -> None:
    """Read from the output topics how far a partition has been answered, by whomever."""
    topics = settings.topics
    consumer = clients.reader(settings)
    try:
        for message in clients.tail(consumer, topics.recommendations, number, 1):
            partition.answered = _source_offset(message, topics.interactions)
        for message in clients.tail(consumer, topics.dead_letters, number, _TAIL):
            partition.buried = max(partition.buried, _origin_offset(message, topics.interactions))
    finally:
        consumer.close()


def _source_offset(answer: Message, topic: str) -> int:
    source = msgspec.json.decode(answer.value() or b"", type=_Sourced).source
    return source.offset if source.topic == topic else -1


def _origin_offset(dead_letter: Message, topic: str) -> int:
    headers = clients.headers(dead_letter)
    same = headers.get("origin.topic") == topic.encode()
    return int(headers["origin.offset"]) if same else -1


class _Sourced(msgspec.Struct):
    """What is read of an answer."""

    source: Source
