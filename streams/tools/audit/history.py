"""The log as the workers took it: each interaction, beside the answer that stands on its topic."""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import cast

import msgspec
from confluent_kafka import Consumer, Message

from streams.kafka import clients
from streams.kafka.record import Record
from streams.messages.schemas import Model, Source
from streams.messages.state_mark import HEADER, StateMark, read_mark
from streams.settings import Settings

_NEAR = 500
"""Messages of the answers' topic that are read rather than searched."""


class Given(msgspec.Struct):
    """What is read of an answer; of its list, the bytes."""

    event_id: str
    user: str
    item: str | None
    kind: str
    items: msgspec.Raw
    timestamp: int
    model: Model
    source: Source


read_answer = msgspec.json.Decoder(Given).decode


@dataclass(frozen=True, slots=True)
class Entry:
    """An interaction, and its answer if there is one.

    Attributes
    ----------
    mark
        Which state gave the answer, if a header tells.
    """

    record: Record
    answer: Given | None
    mark: StateMark | None


class History:
    """One partition of the interactions, with its answers, read outside any group.

    Attributes
    ----------
    repeated
        Answers that came again, or out of order: subscribers drop them.
    unreadable
        Messages on the topic of the answers that are none.
    """

    def __init__(self, settings: Settings, number: int, topic_id: str) -> None:
        self.number = number
        self.repeated = self.unreadable = 0
        self._settings, self._topic_id = settings, topic_id

    def entries(self, start: int, end: int) -> Iterator[Entry]:
        """Each interaction from the offset `start` to before `end`, in order."""
        reader = _reader(self._settings)
        with closing(reader), closing(self.answers(start)) as answers:
            waiting = next(answers, None)
            for message in clients.read_from(
                reader, self._settings.topics.interactions, self.number, start
            ):
                record = Record.of(message)
                if record.offset >= end:
                    return
                while waiting is not None and waiting[0].source.offset < record.offset:
                    waiting = next(answers, None)
                if waiting is not None and waiting[0].source.offset == record.offset:
                    yield Entry(record, *waiting)
                    waiting = next(answers, None)
                else:
                    yield Entry(record, None, None)
                if record.offset + 1 >= end:
                    return

    def first_answer(self, start: int) -> Given | None:
        """The answer to the first interaction from an offset on that has one."""
        with closing(self.answers(start)) as answers:
            return next((given for given, _ in answers), None)

    def answers(self, start: int) -> Generator[tuple[Given, StateMark | None]]:
        """The answers to the interactions from the offset `start` on, and their marks."""
        reader, topic = _reader(self._settings), self._settings.topics.recommendations
        last = start - 1
        with closing(reader):
            low, high = clients.bounds(reader, topic, self.number)
            if high <= low:
                return
            at = self._search(reader, low, high, start)
            for message in clients.read_from(reader, topic, self.number, at):
                given = self._given(message)
                if given is None:
                    continue
                if given.source.offset > last:
                    last = given.source.offset
                    yield given, _mark(message)
                elif given.source.offset >= start:
                    self.repeated += 1

    def _search(self, reader: Consumer, low: int, high: int, wanted: int) -> int:
        """An offset of the answers' topic before the answer to the interaction at `wanted`.

        Answers are in the order of their interactions, so it is found by halving.
        """
        while high - low > _NEAR:
            middle = (low + high) // 2
            found = self._first(reader, middle)
            if found is not None and found.source.offset < wanted:
                low = middle
            else:
                high = middle
        return low

    def _first(self, reader: Consumer, at: int) -> Given | None:
        """The first answer at an offset of the answers' topic or behind it."""
        topic = self._settings.topics.recommendations
        for message in clients.read_from(reader, topic, self.number, at):
            if (given := self._given(message)) is not None:
                return given
        return None

    def _given(self, message: Message) -> Given | None:
        try:
            given = read_answer(message.value() or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.unreadable += 1
            return None
        # What was answered for a topic that was deleted says nothing of one of the same name.
        topic = self._settings.topics.interactions
        ours = given.source.topic == topic and given.source.topic_id in ("", self._topic_id)
        return given if ours else None


def in_order(partitions: Iterable[Iterator[Entry]]) -> Iterator[Entry]:
    """Entries of all partitions in the order in which a worker took them, as far as that is told.

    An answer's mark tells how much its worker had applied before. What has no answer changes no
    state and comes after what was before it in its partition; where marks are missing altogether,
    the broker's timestamps count.
    """
    if len(streams := list(partitions)) == 1:
        return streams[0]
    keyed = heapq.merge(*map(_keyed, streams), key=lambda pair: pair[0])
    return (entry for _, entry in keyed)


def _keyed(entries: Iterator[Entry]) -> Iterator[tuple[tuple[int, int], Entry]]:
    progress, moment = 0, 0
    for entry in entries:
        if entry.mark is not None and entry.mark.progress > progress:
            progress, moment = entry.mark.progress, 0
        else:
            moment = max(moment, entry.record.timestamp_ms)
        yield (progress, moment), entry


def _mark(message: Message) -> StateMark | None:
    header = clients.headers(message).get(HEADER)
    if header is None:
        return None
    with suppress(ValueError):  # somebody else's
        return read_mark(header)
    return None


def messages(settings: Settings, topic: str, number: int, start: int) -> Iterator[Message]:
    """The messages of any partition from an offset on, up to its end of now."""
    with closing(_reader(settings)) as reader:
        low, high = clients.bounds(reader, topic, number)
        if high > max(low, start):
            yield from clients.read_from(reader, topic, number, max(low, start))


def _reader(settings: Settings) -> Consumer:
    # There are several for each partition, and each reads ahead as far as this.
    return clients.tail_reader(settings, **{"queued.max.messages.kbytes": 16_384})


def offset_of(message: Message) -> int:
    """The offset of a message without an error."""
    return cast(int, message.offset())
