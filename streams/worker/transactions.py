"""The way out of one input partition: answers and dead letters, in transactions.

Each input partition has producers of its own, whose transactional ids name the partition. The
worker that takes a partition over initialises them, and from then on the broker refuses whatever
an earlier owner still tries to write: a worker that was frozen and wakes cannot write an answer a
second time. Subscribers that read committed messages only see each answer once.

A commit takes some milliseconds, so a thread does it; what the events bring meanwhile goes into
the next one. There are two producers, which take turns: after its answer to a commit the broker
still has to mark the partitions, and librdkafka tries a transaction that begins before that again
20 ms later. The other producer's can begin at once. One commit is waited for before the next
transaction begins, so the order is that of the events.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.kafka import clients
from streams.kafka.brokers.errors import BrokerError
from streams.settings import Settings
from streams.worker.durations import Histogram
from streams.worker.partition import Output, last_written

log = logging.getLogger("millrace.worker")

_MOST = 500
"""Outputs in one transaction."""
_TURNS = ("a", "b")
"""How the transactional ids of a partition's producers end."""
_PAUSE, _SAY_SECONDS = 0.05, 10.0
"""Seconds between two tries, and between two lines of the log that tell of them."""
_PATIENCE = 2.0
"""Seconds that a call may take before it is looked whether the worker is stopping."""


class FencedError(Exception):
    """Another worker has taken the partition over."""


class PartitionOutbox:
    """Writes the outputs of one input partition, in order, each once, while the partition is ours.

    What is put in while it is closed waits: should the partition become ours again, what nobody
    else has written by then still is.

    `open` and `close` block and are for a thread of their own; all else is for that of the events.

    Attributes
    ----------
    written
        Last offset whose output was in its topic when it was started; -1 for none.
    durations
        How long its transactions took.
    failure
        Why it stopped, if it did: `FencedError`, or an error that the worker must stop for.
    """

    def __init__(self, settings: Settings, number: int, handled: int = 0) -> None:
        self._settings, self._number = settings, number
        self._producers: deque[Producer] = deque()
        self._waiting: deque[Output] = deque()
        self._batch: list[Output] = []
        self._handled = handled
        self._wake = threading.Event()
        self._closing = False
        self._refused: BrokerError | None = None
        self._said = 0.0
        self._thread: threading.Thread | None = None
        self.durations = Histogram()
        self.written = -1
        self.failure: Exception | None = None

    def open(self) -> None:
        """Shut out every other writer, abort what they left open, and write what is waiting.

        Raises
        ------
        BrokerError
            If the broker allows us no such transactions.
        """
        worker = self._settings.worker
        name = f"{worker.group}-{self._settings.topics.interactions}-{self._number}"
        while True:
            try:
                self._producers = deque(
                    clients.transactional(self._settings, f"{name}-{turn}") for turn in _TURNS
                )
                for producer in self._producers:
                    producer.init_transactions(clients.TIMEOUT_SECONDS)
                # The output topics may have dropped with age what we know to be written.
                self.written = max(last_written(self._settings, self._number), self.out - 1)
                break
            except (KafkaException, TimeoutError) as error:
                if isinstance(error, KafkaException) and error.args[0].code() in clients.LASTING:
                    raise BrokerError(
                        f"the broker refuses transactions named {name}: {error.args[0].str()}"
                    ) from None
                log.warning(
                    "partition %d cannot be written yet: %s", self._number, error,
                    extra={"partition": self._number},
                )  # fmt: skip
        self._start()

    def _start(self) -> None:
        self._waiting.extendleft(reversed(self._batch))
        self._batch = []
        while self._waiting and self._waiting[0].offset <= self.written:
            self._waiting.popleft()
        self.handled(self.written + 1)
        self._closing, self.failure = False, None
        self._thread = threading.Thread(
            target=self._run, name=f"outbox-{self._number}", daemon=True
        )
        self._thread.start()
        self._wake.set()

    def put(self, output: Output) -> None:
        """Hand an output over; it is written soon."""
        self._waiting.append(output)
        self.handled(output.offset + 1)
        self._wake.set()

    def handled(self, offset: int) -> None:
        """Everything below `offset` has been handed over, if it has an output at all."""
        self._handled = max(self._handled, offset)

    def forget(self, offset: int) -> None:
        """Others have written everything below `offset`."""
        self._waiting.clear()
        self._batch = []
        self.handled(offset)

    @property
    def waiting(self) -> int:
        """How many outputs are not written yet."""
        return len(self._waiting) + len(self._batch)

    @property
    def out(self) -> int:
        """Everything below this offset of the input is done with: its outputs are written."""
        # Outputs move on from the queue to the batch, so it is looked at first.
        first = self._handled
        with suppress(IndexError):
            first = self._waiting[0].offset
        batch = self._batch
        return batch[0].offset if batch else first

    def close(self, seconds: float) -> None:
        """Write what is waiting, for so long at most."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                self.failure = self.failure or FencedError("closed before all was written")
                self._thread.join()
        self._producers.clear()

    def _run(self) -> None:
        try:
            while self._waiting or not self._closing:
                self._wake.wait()
                if not self._closing:
                    self._wake.clear()
                while self._waiting:
                    # First into the batch, then out of the queue: `out` must not miss it.
                    self._batch = [self._waiting[i] for i in range(min(_MOST, len(self._waiting)))]
                    for _ in self._batch:
                        self._waiting.popleft()
                    started = time.perf_counter()
                    self._write(self._producers[0], self._batch)
                    self.durations.observe((time.perf_counter() - started) * 1e6)
                    self._producers.rotate()
                    self._batch = []
        except Exception as error:
            self.failure = self.failure or error

    def _write(self, producer: Producer, batch: Sequence[Output]) -> None:
        """One transaction, again and again until it is committed."""
        begun = False
        while True:
            if self.failure:
                raise self.failure
            try:
                if not begun:
                    producer.begin_transaction()
                    begun = True
                    for output in batch:
                        self._produce(producer, output)
                producer.commit_transaction(_PATIENCE)
                return
            except KafkaException as error:
                begun = self._recover(producer, error.args[0], begun)

    def _produce(self, producer: Producer, output: Output) -> None:
        while True:
            try:
                producer.produce(
                    output.topic, output.value, output.key, self._number, self._delivered,
                    headers=list(output.headers),
                )  # fmt: skip
                return
            except BufferError:
                producer.poll(0.1)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and error.code() in clients.LASTING:
            self._refused = BrokerError(
                f"the broker refuses to write to topic {message.topic()}: {error.str()}"
            )

    def _recover(self, producer: Producer, error: KafkaError, begun: bool) -> bool:
        """Whether the transaction can go on; if not it has been aborted, and can begin anew."""
        # Whether a commit has succeeded whose transaction is no more, only the topic can tell.
        if error.fatal() or (begun and error.code() == KafkaError._STATE):
            raise FencedError(error.str()) from KafkaException(error)
        if self._refused:
            raise self._refused
        if error.code() in clients.LASTING:
            raise KafkaException(error)
        self._say(error)
        time.sleep(_PAUSE)
        # A call that took too long goes on by itself, so a transaction may have begun unasked.
        if not error.txn_requires_abort() and error.code() != KafkaError._STATE:
            if not error.retriable():
                raise KafkaException(error)
            return begun
        while True:
            if self.failure:
                raise self.failure
            try:
                producer.abort_transaction(_PATIENCE)
                return False
            except KafkaException as again:
                if again.args[0].fatal():
                    raise FencedError(again.args[0].str()) from again
                if again.args[0].code() == KafkaError._STATE:  # there is none to abort
                    return False
                if not again.args[0].retriable():
                    raise
                time.sleep(_PAUSE)

    def _say(self, error: KafkaError) -> None:
        if time.monotonic() - self._said > _SAY_SECONDS:
            self._said = time.monotonic()
            log.warning(
                "partition %d waits for the broker: %s", self._number, error.str(),
                extra={"partition": self._number},
            )  # fmt: skip
