"""What other workers have answered, on its way into this one's state.

Every worker applies every event: those of its own partitions when they come, those of others' once
the group has committed that they are answered. So what one worker learns of items reaches all
others, a partition can move without moving any state, and no worker has applied an event that
nobody has answered.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from confluent_kafka import KafkaException, TopicPartition

from streams.kafka import clients
from streams.kafka.reader_thread import ReaderThread
from streams.kafka.record import Record
from streams.settings import Settings

log = logging.getLogger("millrace.worker")

Apply = Callable[[list[Record]], None]

_BATCH = 16
"""Records that are applied in one go: so long an event of our own may wait."""
_AHEAD = 5_000
"""Records that are held until they are committed, before no more of their partition are read."""
_SAY_SECONDS = 5.0


class Follower:
    """Reads partitions up to where the group has committed, outside of its membership.

    Attributes
    ----------
    thread
        The thread that follows, and why it ended, if it did.
    """

    def __init__(self, settings: Settings, topic_id: str) -> None:
        self._topic, self._topic_id = settings.topics.interactions, topic_id
        self._every = settings.worker.commit_seconds
        # The group's name is for `committed` alone: it assigns, and so is no member.
        self._consumer = clients.reader(settings, **{"group.id": settings.worker.group})
        self._held: dict[int, deque[Record]] = {}
        self._paused: set[int] = set()
        self._committed: dict[int, int] = {}
        self._asked = 0.0
        self._wanted: dict[int, int] | None = None
        self.thread = ReaderThread("follower", self._consumer)

    def catch_up(self, positions: dict[int, int], apply: Apply) -> int:
        """Apply what is committed of these partitions, from `positions` on; returns how many."""
        self._ask(positions)  # before the first fetch, behind which it would wait
        ends = {}
        for number, position in positions.items():
            if (end := self._committed.get(number, -1)) > position:
                ends[number] = end
        self._assign(positions)
        total = sum(end - positions[n] for n, end in ends.items())
        applied, said = 0, time.monotonic()
        while ends:
            self._read(0.2)
            for records in self._ready():
                apply(records)
                applied += len(records)
            # Offsets that no message has, as those of compaction, end a partition too.
            for place in self._consumer.position([TopicPartition(self._topic, n) for n in ends]):
                end, held = ends[place.partition], self._held[place.partition]
                if place.offset >= end and not (held and held[0].offset < end):
                    del ends[place.partition]
            if time.monotonic() - said > _SAY_SECONDS:
                said = time.monotonic()
                log.info("catching up: %d of %d events", applied, total)
        return applied

    def follow(self, positions: dict[int, int]) -> None:
        """From now on, follow these partitions from there, and no others."""
        self._wanted = positions

    def start(self, hand_over: Callable[[Callable[[], None]], object], apply: Apply) -> None:
        """Go on in a thread; `hand_over` has the engine's own thread do something."""
        self.thread.start(lambda: self._turn(hand_over, apply))

    def _turn(self, hand_over: Callable[[Callable[[], None]], object], apply: Apply) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            self._assign(wanted)
        if not self._held:
            self.thread.stopping.wait(self._every)
            return
        if time.monotonic() - self._asked > self._every:
            self._ask(self._held)
        self._read(self._every / 4)
        for records in self._ready():
            if self._wanted is not None or self.thread.stopping.is_set():
                return
            done = threading.Event()

            def work(records: list[Record] = records, done: threading.Event = done) -> None:
                try:
                    apply(records)
                finally:
                    done.set()

            hand_over(work)
            # The events of our own come first; more would only wait in another queue.
            while not done.wait(1.0) and not self.thread.stopping.is_set():
                pass

    def _assign(self, positions: dict[int, int]) -> None:
        self._held = {number: deque() for number in positions}
        self._paused = set()
        self._consumer.assign(
            [TopicPartition(self._topic, number, at) for number, at in positions.items()]
        )

    def _ask(self, numbers: Iterable[int]) -> None:
        """Learn how far the group has committed. While the broker is away nothing new is."""
        self._asked = time.monotonic()
        places = [TopicPartition(self._topic, number) for number in numbers]
        try:
            found = self._consumer.committed(places, timeout=clients.TIMEOUT_SECONDS)
        except KafkaException as error:
            log.warning("what others have answered cannot be read yet: %s", error)
            return
        # A commit outlives its topic: what was answered of an earlier one says nothing of ours.
        self._committed = {
            place.partition: place.offset
            for place in found
            if (place.metadata or self._topic_id) == self._topic_id
        }

    def _read(self, seconds: float) -> None:
        for message in self._consumer.consume(500, timeout=seconds):
            error = message.error()
            if error is not None and error.code() in clients.LASTING:
                raise KafkaException(error)
            if error is None:
                record = Record.of(message)
                self._held[record.partition].append(record)
        full = {n for n, records in self._held.items() if len(records) >= _AHEAD}
        # One partition that nobody answers must not keep the others from being read.
        self._consumer.pause([TopicPartition(self._topic, n) for n in full - self._paused])
        self._consumer.resume([TopicPartition(self._topic, n) for n in self._paused - full])
        self._paused = full

    def _ready(self) -> Iterator[list[Record]]:
        """What is committed, in batches; partitions are merged by the broker's timestamps."""
        ready: list[list[Record]] = []
        for number, records in self._held.items():
            end, some = self._committed.get(number, -1), []
            while records and records[0].offset < end:
                some.append(records.popleft())
            ready.append(some)
        merged = list(heapq.merge(*ready, key=lambda record: record.timestamp_ms))
        for first in range(0, len(merged), _BATCH):
            yield merged[first : first + _BATCH]
