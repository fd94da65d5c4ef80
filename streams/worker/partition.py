"""What the worker keeps of each input partition: where it stands and what has been answered.

State is a fold over the log, so an offset says all: what is below `next_offset` is in the state.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from confluent_kafka import Consumer, Message

from streams.kafka import clients
from streams.messages.schemas import Headers, Source
from streams.settings import Settings

_TAILS = (4, 256, 16_384, 2**62)
"""So many messages at the end of an output topic are looked through for our last, one by one."""


class Output(NamedTuple):
    """An answer or a dead letter, and the offset of the input that it is of."""

    offset: int
    topic: str
    value: bytes | None
    key: bytes | None
    headers: Headers


class PartitionNotes(msgspec.Struct):
    """What a checkpoint says of a partition; see `Partition`."""

    next_offset: int
    newest_ms: int
    applied: int
    digest: int
    known: list[str]


@dataclass
class Partition:
    """One partition of the interactions topic.

    Attributes
    ----------
    window
        How many event ids duplicates are known by.
    next_offset
        The next message to apply.
    newest_ms
        The watermark: the latest timestamp that an applied event had.
    applied, digest
        How many events were applied; the sum of their ids' hashes, the same in whatever order.
    """

    window: int
    next_offset: int = 0
    newest_ms: int = 0
    applied: int = 0
    digest: int = 0
    _known: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def is_duplicate(self, event_id: str) -> bool:
        """Whether the id is among the last `window` that were applied."""
        return event_id in self._known

    def count(self, event_id: str, timestamp_ms: int) -> None:
        """Note that an event is applied."""
        self._known[event_id] = None
        if len(self._known) > self.window:
            self._known.popitem(last=False)
        self.applied += 1
        hashed = hashlib.blake2b(event_id.encode(), digest_size=8).digest()
        self.digest = (self.digest + int.from_bytes(hashed, "little")) % 2**64
        self.newest_ms = max(self.newest_ms, timestamp_ms)

    def notes(self) -> PartitionNotes:
        """For a checkpoint."""
        return PartitionNotes(
            self.next_offset, self.newest_ms, self.applied, self.digest, list(self._known)
        )

    def resume(self, notes: PartitionNotes) -> None:
        """Go on from a checkpoint."""
        self.next_offset, self.newest_ms = notes.next_offset, notes.newest_ms
        self.applied, self.digest = notes.applied, notes.digest
        self._known = OrderedDict.fromkeys(notes.known[-self.window :])


def last_written(settings: Settings, number: int) -> int:
    """The last offset of a partition that the output topics answer, by whomever; -1 for none.

    Both are written in the order of the input, in transactions, so that nothing before it is
    missing. Transactions that are still open are not seen: whoever asks has ended them.
    """
    topics = settings.topics
    consumer = clients.reader(settings, **{"enable.partition.eof": True})
    try:
        return max(
            _last(consumer, topics.recommendations, number, _source_offset, topics.interactions),
            _last(consumer, topics.dead_letters, number, _origin_offset, topics.interactions),
        )
    finally:
        consumer.close()


def _last(
    consumer: Consumer, topic: str, number: int, read: Callable[[Message, str], int], source: str
) -> int:
    # Other inputs' messages and the marks that end transactions lie between ours.
    for count in _TAILS:
        found = [read(message, source) for message in clients.tail(consumer, topic, number, count)]
        if max(found, default=-1) >= 0:
            return max(found)
    return -1


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
