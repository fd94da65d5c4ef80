"""Follow the output topic: every answer as it comes, in order, none twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
from confluent_kafka import KafkaException, Message, TopicPartition

from streams.kafka import clients
from streams.messages.schemas import Recommendation
from streams.messages.validation import UNREADABLE
from streams.settings import Settings
from streams.tools.replay import SENT_NS


@dataclass(frozen=True, slots=True)
class Received:
    """An answer, and when it came.

    Attributes
    ----------
    received_ns
        Wall clock of this machine.
    end_to_end_ms
        From the producer's send to here, if the event said when it was sent: both are wall
        clocks, so the two machines must agree on the time.
    """

    recommendation: Recommendation
    received_ns: int
    end_to_end_ms: float | None


@dataclass(frozen=True, slots=True)
class Buried:
    """A dead letter: its headers as text and how many bytes it holds."""

    headers: dict[str, str]
    size: int


def follow(settings: Settings, from_beginning: bool = False) -> Iterator[Received | Buried | None]:
    """Yield answers and dead letters as they come, and None when a tenth of a second had none.

    An answer whose input offset is not above all that were seen of its partition is passed over:
    a worker that was frozen, and woke after others took over, may write some twice.

    Raises
    ------
    BrokerError
        If a topic is not there.
    KafkaException
        If the broker reports an error.
    """
    topics = settings.topics
    consumer = clients.reader(settings)
    decoder = msgspec.json.Decoder(Recommendation)
    last: dict[tuple[str, str, int], int] = {}
    try:
        places = []
        for topic in (topics.recommendations, topics.dead_letters):
            for partition in clients.partitions(consumer, topic):
                low, high = clients.bounds(consumer, topic, partition)
                places.append(TopicPartition(topic, partition, low if from_beginning else high))
        consumer.assign(places)
        yield None  # following from here on
        while True:
            message = consumer.poll(0.1)
            if message is None:
                yield None
            elif message.error():
                raise KafkaException(message.error())
            elif message.topic() == topics.dead_letters:
                yield _buried(message)
            else:
                received_ns = time.time_ns()
                try:
                    answer = decoder.decode(message.value() or b"")
                except UNREADABLE:  # somebody else's
                    continue
                of = answer.source
                source = (of.topic, of.topic_id, of.partition)
                if answer.source.offset > last.get(source, -1):
                    last[source] = answer.source.offset
                    yield Received(answer, received_ns, _end_to_end_ms(message, received_ns))
    finally:
        consumer.close()


def _end_to_end_ms(message: Message, received_ns: int) -> float | None:
    sent = clients.headers(message).get(SENT_NS, b"")
    return (received_ns - int(sent)) / 1e6 if sent.isdigit() and len(sent) < 20 else None


def _buried(message: Message) -> Buried:
    headers = {k: v.decode(errors="replace") for k, v in clients.headers(message).items()}
    return Buried(headers, len(message.value() or b""))
