"""The answers on the output topic, beside the interactions that they are of."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

import msgspec
from confluent_kafka import Consumer, Message

from streams.kafka import clients
from streams.kafka.record import headers_of
from streams.messages.schemas import Model, Source
from streams.messages.state_mark import StateMark, read_mark
from streams.messages.validation import UNREADABLE
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
    experiments: dict[str, str] = {}


read_answer = msgspec.json.Decoder(Given).decode


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, and which state gave it, if its header tells."""

    given: Given
    mark: StateMark | None

    @property
    def partition(self) -> int:
        """That of the interaction."""
        return self.given.source.partition

    @property
    def offset(self) -> int:
        """That of the interaction."""
        return self.given.source.offset


class AnswerLog:
    """The answers to one partition's interactions, read outside any group.

    Attributes
    ----------
    repeated
        Answers that came again, or out of order: subscribers drop them.
    unreadable
        Messages on the topic of the answers that are none.
    expired
        Whether the topic has dropped some by age.
    """

    def __init__(self, settings: Settings, number: int, topic_id: str) -> None:
        self.expired = False
        # By offset: the topic is read several times.
        self._repeated, self._unreadable = set[int](), set[int]()
        self._settings, self._number, self._topic_id = settings, number, topic_id
        self._topic = settings.topics.recommendations

    @property
    def repeated(self) -> int:
        """See the class."""
        return len(self._repeated)

    @property
    def unreadable(self) -> int:
        """See the class."""
        return len(self._unreadable)

    def since(self, start: int) -> Generator[Answer, None, None]:
        """The answers to the interactions from the offset `start` on, in their order."""
        reader = clients.tail_reader(self._settings, **{"isolation.level": "read_committed"})
        last = start - 1
        try:
            low, high = clients.bounds(reader, self._topic, self._number)
            self.expired = low > 0
            if high <= low:
                return
            at = self._search(reader, low, high, start)
            for message in clients.read_from(reader, self._topic, self._number, at):
                answer = self._answer(message)
                if answer is None:
                    continue
                if answer.offset > last:
                    last = answer.offset
                    yield answer
                elif answer.offset >= start:
                    self._repeated.add(message.offset() or 0)
        finally:
            reader.close()

    def first(self, start: int = 0) -> Answer | None:
        """The answer to the first interaction from an offset on that has one."""
        with closing(self.since(start)) as answers:
            return next(answers, None)

    def of_event(self, event_id: str) -> Answer | None:
        """The answer to an event; all answers are looked through."""
        with closing(self.since(0)) as answers:
            return next((each for each in answers if each.given.event_id == event_id), None)

    def _search(self, reader: Consumer, low: int, high: int, wanted: int) -> int:
        """An offset of the answers' topic before the answer to the interaction at `wanted`.

        Answers are in the order of their interactions, so it is found by halving.
        """
        while wanted > 0 and high - low > _NEAR:
            middle = (low + high) // 2
            found = self._at(reader, middle)
            if found is not None and found.offset < wanted:
                low = middle
            else:
                high = middle
        return low

    def _at(self, reader: Consumer, at: int) -> Answer | None:
        """The first answer at an offset of the answers' topic or behind it."""
        with closing(clients.read_from(reader, self._topic, self._number, at)) as messages:
            return next(filter(None, map(self._answer, messages)), None)

    def _answer(self, message: Message) -> Answer | None:
        try:
            given = read_answer(message.value() or b"")
        except UNREADABLE:
            self._unreadable.add(message.offset() or 0)
            return None
        # What was answered for a topic that was deleted says nothing of one of the same name.
        same = given.source.topic_id in ("", self._topic_id)
        ours = given.source.topic == self._settings.topics.interactions and same
        return Answer(given, read_mark(headers_of(message))) if ours else None
