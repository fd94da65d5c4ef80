"""What is written for the events of one input partition, and what of it is written already.

Answers and dead letters of an event go to the partition that has the input's number, in the order
of the input, by one of two writers: `streams.worker.leased` or `streams.worker.transactional`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec
from confluent_kafka import Consumer, KafkaException, Message

from streams.brokers.errors import BrokerError
from streams.kafka import clients
from streams.messages.schemas import Headers, Source
from streams.messages.validation import UNREADABLE
from streams.settings import Settings
from streams.worker.durations import Histogram

log = logging.getLogger("millrace.worker")

MOST_OUTPUTS = 500
"""Outputs that are handed to the producer in one go."""
_PAUSE, _SAY_SECONDS = 0.1, 10.0
"""Seconds between two tries to take a partition over, and between two lines that tell of them."""
_TAILS = (4, 256, 16_384, 2**62)
"""Sizes of successively larger tails of an output topic that are scanned for our last output."""
_OFFSET_DIGITS = 18
"""Most digits of an offset that an output of ours names: Kafka's have 63 bits."""


class Output(NamedTuple):
    """An answer or a dead letter, and the offset of the input message that it is of."""

    offset: int
    topic: str
    value: bytes | None
    key: bytes | None
    headers: Headers


class DisownedError(Exception):
    """Another worker owns the partition, or may own it: this one writes no more."""


class Writer(Protocol):
    """Writes the outputs of one partition, each once and in order, while the partition is ours.

    `open` and `close` block; they are for threads of their own. Outputs that are put while it is
    closed wait: when the partition becomes ours again, those that nobody has written by then still
    are.
    """

    queue: OutputQueue
    """What is to be written, and up to where all is."""
    durations: Histogram
    """How long the batches took from being sent to being written."""
    failure: Exception | None
    """Why it stopped: `DisownedError`, or an error that the worker must end for."""

    def open(self, stopping: threading.Event) -> None:
        """Take the partition over: the queue goes on behind what is in the topics already.

        It tries until the broker lets it, or `stopping` is set.

        Raises
        ------
        BrokerError
            If the broker refuses it for good.
        """

    def put(self, outputs: Sequence[Output], handled: int) -> None:
        """Write these soon; everything below the offset `handled` has been handed over."""

    def advance(self) -> None:
        """Go on, should something have changed that allows it; called a few times a second."""

    @property
    def may_reopen(self) -> bool:
        """Whether a writer that has stopped with `DisownedError` should try again."""

    def reopen(self, stopping: threading.Event) -> None:
        """Take the partition over once more, while it is still ours; blocks as `open` does."""

    def close(self, seconds: float) -> None:
        """Write what is waiting, for so long at most, and nothing afterwards."""


class OutputQueue:
    """Outputs on their way: waiting, then sent, then written. Threads share it.

    Attributes
    ----------
    written
        Last offset whose output was in its topic when the partition was taken over; -1 for none.
    """

    def __init__(self, handled: int) -> None:
        self.written = -1
        self._waiting: deque[Output] = deque()
        self._sent: list[Output] = []
        self._handled = handled
        self._lock = threading.Lock()

    def put(self, outputs: Sequence[Output], handled: int) -> None:
        """Add outputs; everything below the offset `handled` has been handed over."""
        with self._lock:
            self._waiting.extend(outputs)
            self._handled = max(self._handled, handled)

    def send(self, most: int = MOST_OUTPUTS, one_topic: bool = False) -> list[Output]:
        """The next outputs to send; they are under way from now on.

        Parameters
        ----------
        most
            How many, at most.
        one_topic
            Only outputs of one topic. Without a transaction the order between two topics is
            nobody's: a dead letter may be written and the answers before it not, and its offset
            would tell the next owner that they are.
        """
        with self._lock:
            batch: list[Output] = []
            waiting, topic = self._waiting, self._waiting[0].topic if self._waiting else ""
            while waiting and len(batch) < most:
                if one_topic and waiting[0].topic != topic:
                    break
                batch.append(waiting.popleft())
            self._sent += batch
            return batch

    def are_written(self, count: int) -> None:
        """The first `count` of those that are under way are in their topics."""
        with self._lock:
            del self._sent[:count]

    def resume(self, written: int) -> None:
        """The topics hold the outputs up to the offset `written`: send those behind it again."""
        with self._lock:
            # The output topics may have dropped by age what we know to be written.
            self.written = written = max(written, self._out() - 1)
            self._waiting.extendleft(reversed(self._sent))
            self._sent = []
            while self._waiting and self._waiting[0].offset <= written:
                self._waiting.popleft()
            self._handled = max(self._handled, written + 1)

    def forget(self, offset: int) -> None:
        """Others have written everything below `offset`."""
        with self._lock:
            self._waiting.clear()
            self._sent = []
            self._handled = max(self._handled, offset)

    @property
    def waiting(self) -> int:
        """How many outputs are not written yet."""
        with self._lock:
            return len(self._waiting) + len(self._sent)

    @property
    def out(self) -> int:
        """Everything below this offset of the input is answered: its outputs are written."""
        with self._lock:
            return self._out()

    def _out(self) -> int:
        if self._sent:
            return self._sent[0].offset
        return self._waiting[0].offset if self._waiting else self._handled


def until_taken_over(
    number: int, take_over: Callable[[], int], refused: str, stopping: threading.Event
) -> int | None:
    """What `take_over` returns, once the broker lets it; None if `stopping` is set before.

    Parameters
    ----------
    number
        The input partition.
    refused
        How the error begins when the broker refuses it for good.

    Raises
    ------
    BrokerError
        If the broker refuses it for good.
    """
    said = float("-inf")
    while not stopping.is_set():
        try:
            return take_over()
        except (KafkaException, TimeoutError) as error:
            if isinstance(error, KafkaException) and error.args[0].code() in clients.LASTING:
                raise BrokerError(f"{refused}: {error.args[0].str()}") from None
            if time.monotonic() - said > _SAY_SECONDS:
                said = time.monotonic()
                log.warning(
                    "partition %d cannot be taken over yet: %s", number, error,
                    extra={"partition": number},
                )  # fmt: skip
            stopping.wait(_PAUSE)
    return None


def last_written(settings: Settings, number: int, topic_id: str) -> int:
    """The last offset of an input partition whose output is in its topic; -1 for none.

    Outputs are written in the order of the input, so nothing before it is missing. Open
    transactions are not seen: whoever asks has ended them. What was written for an earlier topic
    of the same name does not count.
    """
    topics = settings.topics
    consumer = clients.tail_reader(settings)
    input_ = (topics.interactions, topic_id)
    try:
        return max(
            _last(consumer, topics.recommendations, number, _source_offset, input_),
            _last(consumer, topics.dead_letters, number, _origin_offset, input_),
        )
    finally:
        consumer.close()


_Input = tuple[str, str]


def _last(
    consumer: Consumer, topic: str, number: int, read: Callable[[Message, _Input], int], of: _Input
) -> int:
    low, high = clients.bounds(consumer, topic, number)
    # Other inputs' outputs and the markers of transactions lie between ours.
    for count in _TAILS:
        found = [read(message, of) for message in clients.tail(consumer, topic, number, count)]
        if max(found, default=-1) >= 0:
            return max(found)
        if count >= high - low:
            break
    return -1


def _source_offset(answer: Message, of: _Input) -> int:
    try:
        source = msgspec.json.decode(answer.value() or b"", type=_Sourced).source
    except UNREADABLE:  # somebody else's: it answers nothing
        return -1
    same = source.topic == of[0] and source.topic_id in ("", of[1])
    return source.offset if same and source.offset < 10**_OFFSET_DIGITS else -1


def _origin_offset(dead_letter: Message, of: _Input) -> int:
    headers = clients.headers(dead_letter)
    same = headers.get("origin.topic") == of[0].encode() and headers.get(
        "origin.topic_id", b""
    ) in (b"", of[1].encode())
    offset = headers.get("origin.offset", b"")
    return int(offset) if same and offset.isdigit() and len(offset) <= _OFFSET_DIGITS else -1


class _Sourced(msgspec.Struct):
    """What is read of an answer."""

    source: Source
