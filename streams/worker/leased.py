"""Delivery without transactions: a worker writes only while it holds a lease.

The lease is `worker.session_seconds` from the moment at which the last offset commit was sent that
the group's coordinator acknowledged. The coordinator starts a member's session anew when it takes
a commit, so it gives the partitions of a silent member to others only after that member's lease is
over. The lease is looked at before outputs are handed to the producer, and what librdkafka cannot
get acknowledged in `EXPIRY` of a session it drops. A worker that was frozen and wakes finds its
lease over and writes nothing.

What remains is the instant between that look and the socket: a process that is frozen exactly
there, for longer than a session, sends one batch of outputs when it wakes. And a broker that was
frozen itself may still take what it had received. `worker.delivery = "transactional"` closes both.

Outputs of one partition are handed to the producer batch by batch, the next when all of the last
are acknowledged, and a batch is of one topic: should some fail, nothing behind them is in a topic.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.brokers.errors import BrokerError
from streams.kafka import clients
from streams.settings import Settings
from streams.worker.delivery import (
    DisownedError,
    Output,
    OutputQueue,
    last_written,
    until_taken_over,
)
from streams.worker.durations import Histogram

EXPIRY = 0.4
"""Share of a session after which the producer drops what is not acknowledged."""
_CLOCK_DRIFT = 0.05
"""Share of a session by which a lease ends before the session does: clocks differ."""
_CLOSE_STEP = 0.005


def now() -> float:
    """Seconds on a clock that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Lease:
    """How long this worker may write. Threads share it."""

    def __init__(self, session_seconds: float) -> None:
        self._seconds = session_seconds * (1 - _CLOCK_DRIFT)
        self._least = session_seconds * EXPIRY
        self._until = float("-inf")

    def renew(self, sent: float) -> None:
        """A commit that was sent at `sent` (see `now`) has been acknowledged."""
        self._until = max(self._until, sent + self._seconds)

    def end(self) -> None:
        """The partitions are not ours any more."""
        self._until = float("-inf")

    @property
    def holds(self) -> bool:
        """Whether what is sent now is acknowledged or dropped before the lease ends."""
        return self._until - now() >= self._least


class SharedProducer:
    """One idempotent producer for all partitions of a worker, and the thread of its reports.

    A message that it could not write in time ends it: librdkafka then reports all others as failed
    too (`enable.gapless.guarantee`), so that no later one is written. `renew` makes another.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._producer = self._made()
        self._thread = threading.Thread(target=self._run, name="delivery-reports", daemon=True)
        self._thread.start()

    def _made(self) -> Producer:
        expiry_ms = int(self._settings.worker.session_seconds * EXPIRY * 1000)
        extra: dict[str, Any] = {
            "message.timeout.ms": expiry_ms,
            "enable.gapless.guarantee": True,
            "delivery.report.only.error": False,
        }
        return clients.producer(self._settings, **extra)

    @property
    def current(self) -> Producer:
        """The producer of now."""
        return self._producer

    def renew(self, failed: Producer) -> None:
        """Make another producer if `failed` is the one of now."""
        with self._lock:
            if self._producer is failed:
                failed.purge()
                failed.flush(1.0)
                self._producer = self._made()

    def close(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(0.1)


class LeasedWriter:
    """Writes the outputs of one partition while the worker's lease holds; a `Writer`."""

    def __init__(
        self, settings: Settings, number: int, topic_id: str, handled: int,
        producer: SharedProducer, lease: Lease,
    ) -> None:  # fmt: skip
        self._settings, self._number, self._topic_id = settings, number, topic_id
        self._shared, self._lease = producer, lease
        # Waiting for room in the producer's queue serves its reports: the same thread comes again.
        self._advancing = threading.RLock()
        self._open = False
        self._sent = self._under_way = 0
        self._sent_at = 0.0
        self._batch = 0
        self._failed_with: Producer | None = None
        self.queue = OutputQueue(handled)
        self.durations = Histogram()
        self.failure: Exception | None = None

    def open(self, stopping: threading.Event) -> None:
        """Read what is written, and go on behind it."""

        def take_over() -> int:
            written = self._settled(stopping)
            # A producer that has known the topics for long knows of no partition added since.
            for topic in (self._settings.topics.recommendations,
                          self._settings.topics.dead_letters):  # fmt: skip
                clients.partitions(self._shared.current, topic)
            return written

        written = until_taken_over(
            self._number, take_over, "the broker does not let the output topics be read", stopping
        )
        if written is None:
            return
        with self._advancing:
            self.queue.resume(written)
            self._batch += 1  # reports of earlier batches mean nothing any more
            self._under_way = 0
            self._open, self.failure = True, None
        self.advance()

    def _settled(self, stopping: threading.Event) -> int:
        """The last offset that is written; after a failure, once nothing more comes in."""
        written = last_written(self._settings, self._number, self._topic_id)
        while self.failure is not None and not stopping.wait(1.0):
            # A broker that was busy may still take what our earlier requests held.
            again = last_written(self._settings, self._number, self._topic_id)
            if again == written:
                break
            written = again
        return written

    def put(self, outputs: Sequence[Output], handled: int) -> None:
        """Write these soon."""
        self.queue.put(outputs, handled)
        if outputs:
            self.advance()

    def advance(self) -> None:
        """Hand the next batch to the producer, if the last is written and the lease holds."""
        with self._advancing:
            if self._under_way or not self._open or self.failure or not self._lease.holds:
                return
            batch = self.queue.send(one_topic=True)
            if not batch:
                return
            self._batch += 1
            self._under_way = self._sent = len(batch)
            self._sent_at = time.perf_counter()
            number, producer = self._batch, self._shared.current

            def reported(error: KafkaError | None, message: Message) -> None:
                self._reported(number, producer, error, message)

            try:
                for output in batch:
                    clients.produce(
                        producer, output.topic, output.value, output.key, self._number,
                        headers=output.headers, on_delivery=reported,
                    )  # fmt: skip
            except KafkaException as error:
                self._batch += 1  # those that were queued may be written: the tail will tell
                self._under_way = 0
                self._fail(producer, error.args[0], output.topic)

    def _reported(
        self, batch: int, producer: Producer, error: KafkaError | None, message: Message
    ) -> None:
        with self._advancing:
            if batch != self._batch:
                return
            self._under_way -= 1
            if error is not None and self.failure is None:
                self._fail(producer, error, message.topic())
            if self._under_way:
                return
            if self.failure is None:
                self.queue.are_written(self._sent)
                self.durations.observe((time.perf_counter() - self._sent_at) * 1e6)
        self.advance()

    def _fail(self, producer: Producer, error: KafkaError, topic: str | None) -> None:
        self._failed_with = producer
        if error.code() in clients.LASTING:
            self.failure = BrokerError(
                f"the broker refuses to write to topic {topic}: {error.str()}"
            )
        else:
            self.failure = DisownedError(f"not written to topic {topic}: {error.str()}")

    @property
    def may_reopen(self) -> bool:
        """Whether the partition is ours still: the group's coordinator takes our commits."""
        return self._lease.holds

    def reopen(self, stopping: threading.Event) -> None:
        """Go on after a failure, while the partition is still ours."""
        self.close(0.0)
        if self._failed_with is not None:
            self._shared.renew(self._failed_with)
        self.open(stopping)

    def close(self, seconds: float) -> None:
        """Write what is waiting, for so long at most, and nothing afterwards.

        What is with the producer by then is waited for until it is acknowledged or dropped.
        """
        deadline = time.monotonic() + seconds
        while self.queue.waiting and not self.failure and time.monotonic() < deadline:
            self.advance()
            time.sleep(_CLOSE_STEP)
        self._open = False
        while self._under_way and not self.failure:
            time.sleep(_CLOSE_STEP)
