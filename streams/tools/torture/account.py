"""Counts from the topics themselves what became of every message: nobody's word is taken for it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, cast

import msgspec
from confluent_kafka import Message

from engine.events import Interaction
from streams.kafka import clients
from streams.messages.bad_message import BadMessage
from streams.messages.decoding import decode_interaction
from streams.messages.dialect import Dialect
from streams.messages.schemas import RankedItem, Source
from streams.settings import Settings

Place = tuple[int, int]
"""Partition and offset of a message of the interactions topic."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message of the interactions topic, and what shall become of it.

    An event shall be answered, or be a dead letter by policy; a repeated one shall leave nothing;
    a malformed one shall be a dead letter.
    """

    place: Place
    timestamp_ms: int
    what: Literal["event", "repeat", "malformed"]
    interaction: Interaction | None = None


class Given(msgspec.Struct):
    """What is read of an answer."""

    event_id: str
    source: Source
    items: list[RankedItem]


@dataclass
class Account:
    """What became of everything that was sent.

    Attributes
    ----------
    lost, lost_places
        Event ids with neither an answer nor a dead letter, and where they are in the input.
    doubled
        What came out that should not have: a second answer or dead letter of one message, an
        answer to a repeated event, a second answer for one event id.
    unburied
        Malformed messages without a dead letter.
    out_of_order
        Answers that came after one to a later message of their partition.
    longest_silence
        Most seconds between two answers in a row of one partition, by the broker's clock.
    answers
        What each place was answered with, the first if there were several.
    """

    sent: list[Sent]
    lost: list[str] = field(default_factory=list)
    lost_places: list[Place] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unburied: list[Place] = field(default_factory=list)
    out_of_order: int = 0
    dead_letters: int = 0
    answered: int = 0
    longest_silence: float = 0.0
    answers: dict[Place, list[RankedItem]] = field(default_factory=dict)

    def count(self, what: str) -> int:
        """How many messages of that kind were sent."""
        return sum(sent.what == what for sent in self.sent)


def account(settings: Settings) -> Account:
    """Read the input and both output topics from their beginnings, committed messages only."""
    result = Account(list(read_input(settings)))
    answers: Counter[Place] = Counter()
    by_event: Counter[str] = Counter()
    last: dict[int, int] = defaultdict(lambda: -1)
    latest_ms: dict[int, int] = {}
    decoder = msgspec.json.Decoder(Given)
    for message in read_all(settings, settings.topics.recommendations):
        given = decoder.decode(message.value() or b"")
        place = (given.source.partition, given.source.offset)
        result.answered += 1
        result.out_of_order += place[1] <= last[place[0]]
        last[place[0]] = max(place[1], last[place[0]])
        stamp = message.timestamp()[1]
        silence = (stamp - latest_ms.get(place[0], stamp)) / 1000
        result.longest_silence = max(silence, result.longest_silence)
        latest_ms[place[0]] = stamp
        answers[place] += 1
        by_event[given.event_id] += 1
        result.answers.setdefault(place, given.items)
    letters: Counter[Place] = Counter()
    for message in read_all(settings, settings.topics.dead_letters):
        headers = clients.headers(message)
        if headers["origin.topic"] == settings.topics.interactions.encode():
            letters[int(headers["origin.partition"]), int(headers["origin.offset"])] += 1
            result.dead_letters += 1
    _judge(result, answers, letters, by_event)
    return result


def _judge(
    result: Account, answers: Counter[Place], letters: Counter[Place], by_event: Counter[str]
) -> None:
    for sent in result.sent:
        answered, buried = answers.pop(sent.place, 0), letters.pop(sent.place, 0)
        wanted = 0 if sent.what == "repeat" else 1
        name = sent.interaction.event_id if sent.interaction else f"{sent.what} at {sent.place}"
        if answered + buried > wanted:
            result.doubled.append(f"{name}: {answered} answers, {buried} dead letters")
        if sent.what == "malformed" and not buried:
            result.unburied.append(sent.place)
        if sent.what == "event":
            if answered + buried == 0:
                result.lost.append(name)
                result.lost_places.append(sent.place)
            if answered == 1 and by_event[name] > 1:
                result.doubled.append(f"{name}: {by_event[name]} answers at several places")
    result.doubled.extend(f"{place}: answers to nothing" for place in answers | letters)


def read_input(settings: Settings) -> Iterator[Sent]:
    """Every message of the interactions topic, partition by partition in order of offset."""
    known: set[str] = set()
    dialect = Dialect.of(settings)
    for message in read_all(settings, settings.topics.interactions):
        place = cast(int, message.partition()), cast(int, message.offset())
        timestamp = message.timestamp()[1]
        headers = list(clients.headers(message).items())
        try:
            interaction = decode_interaction(message.value(), headers, timestamp, dialect)
        except BadMessage:
            yield Sent(place, timestamp, "malformed")
            continue
        repeat = interaction.event_id in known
        known.add(interaction.event_id)
        yield Sent(place, timestamp, "repeat" if repeat else "event", interaction)


def read_all(settings: Settings, topic: str) -> Iterator[Message]:
    """The committed messages of a topic, from its beginning to its end of now.

    Raises
    ------
    TimeoutError
        If the broker does not hand them over.
    """
    reader = clients.tail_reader(settings, **{"isolation.level": "read_committed"})
    try:
        for partition in clients.partitions(reader, topic):
            yield from clients.tail(reader, topic, partition, 2**62)
    finally:
        reader.close()
