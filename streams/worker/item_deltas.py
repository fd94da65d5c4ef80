"""What events teach the items, on its way from each worker to all others.

    own events ── engine.collect_delta ──► item-deltas (one partition) ──► all others' items

A delta is published only once the answers to its events are written: whatever a worker learnt and
told nobody, the next owner of its partitions learns again, from where the topic says that telling
ended (`streams.worker.ledger`). One delta is on its way at a time, and a worker knows that it
counted when it reads it back. That order decides, and not who may write: so deltas need neither
lease nor transaction, and go out after the commit of their answers in both ways of delivery.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from engine.recommender import Recommender
from engine.sharing import DeltaError, ItemDelta
from streams.brokers.errors import BrokerError
from streams.kafka import clients, topics
from streams.kafka.tail import Change, HandOver, TopicTail
from streams.messages.state_mark import StepKind
from streams.messages.validation import UNREADABLE
from streams.settings import Settings
from streams.worker.counts import Counts
from streams.worker.ledger import Ledger, Ranges
from streams.worker.partition import Partition

log = logging.getLogger("millrace.worker")

_HEADER = "millrace.delta"
_MOST_UNTOLD = 10_000
"""Events that are learnt and not collected, before no more are taken: some 400 bytes each, and less
the more there are (`topics.DELTA_BYTES`)."""
DELTA_SECONDS, ROW_SECONDS = 1.3e-3, 1.0e-6
"""What a delta costs each reader whatever it holds, and what a row of it does, in seconds of CPU:
`flush_us` of `python -m benchmarks.shared_items`, on a machine where an own event takes .32 ms."""
FOLLOWING_SHARE = 0.05
"""Of a reader's core, what the deltas of all workers together are to take."""
LONGEST_SECONDS = 2.0
"""However much there is to tell, the next delta goes out after so long."""
_LIMITED_ROWS = 4_000
"""Rows of a kind that the workers tell together, each in one delta."""
_STEP_SECONDS = 0.005
_AGAIN_SECONDS = 5.0
"""After so long without being read back a claim is sent once more."""


class Header(msgspec.Struct, omit_defaults=True):
    """What a message says beside the delta, in a header of its own: read without unpacking it.

    Attributes
    ----------
    input
        Of which input and group it is (`input_of`): several may share the topic.
    writer, number
        The worker's process, and which of its messages this is, counted from 1.
    ranges
        Of a delta: the events that it is of.
    claims
        Of a message without a delta: the partitions that the writer takes over, and up to where it
        knows their events to be told.
    """

    input: str
    writer: str
    number: int
    ranges: dict[int, tuple[int, int]] = {}
    claims: dict[int, int] = {}

    @classmethod
    def of(cls, message: Message) -> Header | None:
        """That of a message; None if it has none that can be read."""
        try:
            return msgspec.json.decode(clients.headers(message)[_HEADER], type=cls)
        except (KeyError, *UNREADABLE):
            return None


def seconds_between(delta_seconds: float, workers: int, rows: int) -> float:
    """Time from a delta of so many rows to the next: readers of so many workers are to spend
    `FOLLOWING_SHARE` of their time, but `LONGEST_SECONDS` come first."""
    reading = workers * (DELTA_SECONDS + rows * ROW_SECONDS)
    return max(delta_seconds, min(reading / FOLLOWING_SHARE, LONGEST_SECONDS))


def most_rows(workers: int) -> int:
    """Rows of a kind in a delta at most (`Recommender.collect_delta`): with many workers each tells
    less, or what an event teaches would be known late."""
    return max(_LIMITED_ROWS // max(workers, 1), 32)


def input_of(settings: Settings, topic_id: str) -> str:
    """What names the events that deltas are of: a topic that is made anew has other ones."""
    return f"{settings.worker.group}/{topic_id}"


@dataclass
class _UnderWay:
    """A delta that was collected and is not told yet."""

    header: Header
    value: bytes
    sent: bool = False


class ItemDeltas:
    """Publishes what this worker's events teach the items, and applies what others' do.

    All but `claim` and what reads the topic is for the engine's thread.

    Parameters
    ----------
    topic_id
        The id of the topic of interactions.
    partitions
        Those of the input, by number: as `Assignment.partitions`, which may grow.
    writer
        This process, as its messages name it.

    Attributes
    ----------
    note
        Called with what was done to the engine, for who does the same again (`StateMarks.note`).
    ledger
        What counts; see there.
    is_open
        Whether items are shared at all.
    spoilt
        Why the items here hold events that others tell, too; empty while they do not.
    failure
        Why nothing can be applied any more, if so.
    """

    def __init__(
        self,
        settings: Settings,
        topic_id: str,
        engine: Recommender,
        partitions: Mapping[int, Partition],
        counts: Counts,
        writer: str,
    ) -> None:
        self._input = input_of(settings, topic_id)
        self.writer = writer
        self.note: Callable[[StepKind, int, int, str], object] = lambda *step: None
        self._at = self._rows = 0
        self.ledger = Ledger()
        self.is_open = False
        self.spoilt = ""
        self._settings, self._topic = settings, settings.topics.item_deltas
        self._engine, self._partitions, self._counts = engine, partitions, counts
        self._failure: Exception | None = None
        self._numbers = itertools.count(1)
        self._under_way: _UnderWay | None = None
        self._claims: dict[int, threading.Event] = {}
        self._producer: Producer | None = None
        self._tail: TopicTail | None = None

    # ------------------------------------------------------------------ from where

    def open(self, ledger: Ledger, at: int) -> None:
        """Share items from now on: those here know what `ledger` says, and no delta from `at` on.

        Parameters
        ----------
        at
            Offset of the topic.
        """
        self.ledger, self.is_open = ledger, True
        self._engine.share(ledger.positions)
        if self._producer is None:
            largest = max(self._settings.topics.message_bytes, topics.DELTA_BYTES)
            self._producer = clients.producer(
                self._settings, **{"message.max.bytes": largest + 65_536}
            )
        self._at = at

    @property
    def at(self) -> int:
        """Offset of the first delta that is not applied."""
        return self._tail.positions[0] if self._tail is not None else self._at

    @property
    def failure(self) -> Exception | None:
        """Why nothing is applied any more, if so."""
        return self._failure or (self._tail.thread.failure if self._tail is not None else None)

    def read_to_end(self) -> int:
        """Apply what the topic holds now; returns how many messages that were.

        Raises
        ------
        GapError
            If something is missing there.
        """
        self._tail = TopicTail(self._settings, self._topic, self.change_of, {0: self._at})
        messages = self._tail.read_to_end()
        if self._failure is not None:
            raise self._failure
        return messages

    def follow(self, hand_over: HandOver) -> None:
        """Go on, in a thread."""
        if self._tail is not None:
            self._tail.follow(hand_over)

    def stop(self) -> None:
        """End the thread."""
        if self._tail is not None:
            self._tail.thread.stop()

    # ------------------------------------------------------------------ telling

    @property
    def is_told(self) -> bool:
        """Whether all that own events taught is told: the items here are as others have them."""
        return not self.spoilt and self._under_way is None and not self._untold()

    @property
    def interval(self) -> float:
        """Seconds from the last delta to the next."""
        return seconds_between(self._settings.worker.delta_seconds, self._workers, self._rows)

    @property
    def _workers(self) -> int:
        return len(set(self.ledger.owners.values()))

    @property
    def is_telling(self) -> bool:
        """Whether a delta is under way."""
        return self._under_way is not None

    @property
    def has_room(self) -> bool:
        """Whether more may be learnt before the next delta, which must not become too large; any
        thread may ask. Where items are not shared, there is none."""
        return (
            not self.is_open
            or sum(end - first for first, end in self._untold().values()) < _MOST_UNTOLD
        )

    @property
    def positions(self) -> dict[int, int]:
        """Up to where events are told, once the delta that is under way has been."""
        ends = self._under_way.header.ranges if self._under_way is not None else {}
        return self.ledger.positions | {number: end for number, (_, end) in ends.items()}

    def _untold(self) -> dict[int, tuple[int, int]]:
        told = self.positions
        return {
            number: (told.get(number, 0), partition.next_offset)
            for number, partition in list(self._partitions.items())
            if partition.held and partition.next_offset > told.get(number, 0)
        }

    def collect(self) -> bool:
        """Take out what own events taught; False while the last delta is under way.

        When it returns True, the items here are those that others have once all is told.
        """
        if not self.is_open or self._under_way is not None or self.spoilt:
            return False
        if self._untold():
            number, limit = next(self._numbers), most_rows(self._workers)
            self.take_out(number, limit)
            self.note("collected", 0, number, str(limit))
        return True

    def take_out(self, number: int, limit: int) -> None:
        """Have what own events taught under way, as the message of this number; `limit` as of
        `Recommender.collect_delta`."""
        ranges = self._untold()
        delta = self._engine.collect_delta(ranges, limit)
        self._rows = delta.rows
        header = Header(self._input, self.writer, number, ranges=ranges)
        self._under_way = _UnderWay(header, delta.encode())

    def publish(self) -> None:
        """Send what was collected, once all answers to its events are written.

        Raises
        ------
        BrokerError
            If the broker refuses it for good.
        """
        if self._producer is None:
            return
        self._producer.poll(0)
        if self._failure is not None:
            raise self._failure
        waiting = self._under_way
        if waiting is None or waiting.sent or not self._are_out(waiting.header.ranges):
            return
        waiting.sent = True
        self._counts.deltas += 1
        self._counts.delta_bytes += len(waiting.value)
        self._send(waiting.header, waiting.value, partial(self._delivered, waiting))

    def _are_out(self, ranges: Ranges) -> bool:
        return all(
            self._partitions[number].writer.queue.out >= end for number, (_, end) in ranges.items()
        )

    def _delivered(self, sent: _UnderWay, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            return
        if error.code() in clients.LASTING:
            self._failure = BrokerError(
                f"the broker refuses to write to topic {self._topic}: {error.str()}"
            )
        sent.sent = False  # it may be in the topic all the same: it counts once

    def _send(
        self,
        header: Header,
        value: bytes,
        on_delivery: Callable[[KafkaError | None, Message], None],
    ) -> None:
        assert self._producer is not None
        headers = [(_HEADER, msgspec.json.encode(header))]
        clients.produce(
            self._producer, self._topic, value, None, 0, headers=headers, on_delivery=on_delivery
        )

    async def tell(self, seconds: float) -> bool:
        """Tell all that own events taught, for so long at most; whether all is told."""
        deadline = time.monotonic() + seconds
        while not self.is_told and not self.spoilt and time.monotonic() < deadline:
            self.collect()
            self.publish()
            await asyncio.sleep(_STEP_SECONDS)
        return self.is_told

    # ------------------------------------------------------------------ taking partitions over

    def claim(self, numbers: Collection[int], stopping: threading.Event) -> None:
        """Say in the topic that these are ours now, and apply all that was told before it.

        Blocks until our message is read back, or `stopping` is set. For another thread than the
        engine's.
        """
        if not numbers:
            return
        number, seen = next(self._numbers), threading.Event()
        self._claims[number] = seen
        while not stopping.is_set() and not seen.is_set():
            known = {partition: self.ledger.told(partition) for partition in sorted(numbers)}
            self._send(Header(self._input, self.writer, number, claims=known), b"", _pass_over)
            assert self._producer is not None
            self._producer.flush(_AGAIN_SECONDS)
            again = time.monotonic() + _AGAIN_SECONDS
            while not (seen.wait(0.1) or stopping.is_set() or time.monotonic() > again):
                if self.failure is not None:  # the engine's thread raises it
                    return
        self._claims.pop(number, None)

    def give_up(self, kept: Collection[int]) -> None:
        """Only these partitions are ours: what was learnt of others and not told spoils the items.

        Their new owners learn it again.
        """
        for number, (first, end) in self._untold().items():
            if number not in kept:
                self._spoil(number, first, end)
        if self._under_way is not None:
            for number, (first, end) in self._under_way.header.ranges.items():
                if number not in kept:
                    self._spoil(number, first, end)

    def _spoil(self, number: int, first: int, end: int) -> None:
        self.spoilt = self.spoilt or (
            f"events {first} to {end} of partition {number} were learnt here, and another worker "
            "tells the items of them"
        )

    # ------------------------------------------------------------------ what is told

    def change_of(self, message: Message) -> Change | None:
        """What a message changes; for any thread, and the change for the engine's."""
        header = Header.of(message)
        if header is None:
            self._pass_over(message, "it has no header of ours")
            return None
        if header.input != self._input:
            return None
        if header.claims:
            return partial(self._guarded, message, partial(self._claimed, header))
        delta = None
        if header.writer != self.writer:
            try:
                delta = ItemDelta.decode(message.value() or b"", self._engine.settings.dimensions)
                if delta.ranges != header.ranges:
                    raise DeltaError("ranges: the header names others")
            except DeltaError as error:
                self._pass_over(message, str(error))
        told = partial(self._told, header, delta, message.timestamp()[1])
        return partial(self._guarded, message, told)

    def _pass_over(self, message: Message, reason: str) -> None:
        log.warning(
            "%s[%s] at %s is passed over: %s", self._topic, message.partition(), message.offset(),
            reason, extra={"topic": self._topic, "offset": message.offset()},
        )  # fmt: skip

    def _guarded(self, message: Message, change: Change) -> None:
        """What is handed over to an event loop must not raise: nobody would hear of it."""
        if self._failure is None:
            try:
                change()
                self.note("delta", 0, (message.offset() or 0) + 1, "")
            except Exception as error:
                self._failure = error

    def _claimed(self, header: Header) -> None:
        self.ledger.claim(header.writer, header.claims)
        if header.writer == self.writer and (seen := self._claims.get(header.number)):
            seen.set()

    def _told(self, header: Header, delta: ItemDelta | None, timestamp_ms: int) -> None:
        waiting = self._under_way
        ours = header.writer == self.writer
        if ours and (waiting is None or waiting.header.number != header.number):
            return  # sent twice
        before = self._untold()
        counts = self.ledger.count(header.writer, header.ranges)
        if ours:
            self._under_way = None
            if not counts:
                for number, (first, end) in header.ranges.items():
                    self._spoil(number, first, end)
            return
        if not counts:
            return
        for number in header.ranges.keys() & before.keys():
            self._spoil(number, *before[number])
        if delta is not None and not self.spoilt:
            self._apply(delta, timestamp_ms)

    def _apply(self, delta: ItemDelta, timestamp_ms: int) -> None:
        try:
            self._engine.apply_delta(delta)
        except DeltaError as error:  # more items than there may be, for one
            log.warning("a delta is passed over: %s", error)
            return
        self._counts.followed += sum(end - first for first, end in delta.ranges.values())
        self._counts.follow_lag_seconds = time.time() - timestamp_ms / 1e3


def _pass_over(_error: KafkaError | None, _message: Message) -> None:
    """A claim that was not written is sent again."""


def first_mentions(
    settings: Settings, topic_id: str, at: int, partitions: Iterable[int]
) -> dict[int, int]:
    """Up to where the events of each partition were told before offset `at` of the topic.

    It is what the first message from there on that names a partition says; 0 if none does. Reading
    ends when all are named.
    """
    topic, found, wanted = settings.topics.item_deltas, dict[int, int](), set(partitions)
    reader = clients.tail_reader(settings)
    try:
        for message in clients.read_from(reader, topic, 0, at):
            header = Header.of(message)
            if header is None or header.input != input_of(settings, topic_id):
                continue
            firsts = {number: first for number, (first, _) in header.ranges.items()}
            for number, first in (firsts | header.claims).items():
                found.setdefault(number, first)
            if wanted <= found.keys():
                break
    except KafkaException as error:
        raise BrokerError(f"topic {topic} cannot be read: {error.args[0].str()}") from None
    finally:
        reader.close()
    return found
