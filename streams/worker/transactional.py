"""Delivery in transactions: the broker itself refuses what an earlier owner still tries to write.

Each input partition has producers of its own, whose transactional ids name the partition. The
worker that takes a partition over initialises them, which fences every earlier owner. Subscribers
that read committed messages only see each answer once, whatever was frozen, and for how long.

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

log = logging.getLogger("millrace.worker")

_TURNS = ("a", "b")
"""How the transactional ids of a partition's producers end."""
_PAUSE, _SAY_SECONDS = 0.05, 10.0
"""Seconds between two tries, and between two lines of the log that tell of them."""
_PATIENCE = 2.0
"""Seconds that a call may take before it is looked whether the worker is stopping."""


class TransactionalWriter:
    """Writes the outputs of one partition in transactions; a `Writer`.

    Attributes
    ----------
    durations
        How long its transactions took.
    """

    def __init__(self, settings: Settings, number: int, topic_id: str, handled: int) -> None:
        self._settings, self._number, self._topic_id = settings, number, topic_id
        self._producers: deque[Producer] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._refused: BrokerError | None = None
        self._said = 0.0
        self._fenced_since: float | None = None
        self._thread: threading.Thread | None = None
        self.queue = OutputQueue(handled)
        self.durations = Histogram()
        self.failure: Exception | None = None

    def open(self, stopping: threading.Event) -> None:
        """Fence every other writer, abort what they left open, and write what is waiting.

        Raises
        ------
        BrokerError
            If the broker allows us no such transactions.
        """
        name = f"{self._settings.worker.group}-{self._settings.topics.interactions}-{self._number}"

        def take_over() -> int:
            self._producers = deque(
                clients.transactional(self._settings, f"{name}-{turn}") for turn in _TURNS
            )
            for producer in self._producers:
                producer.init_transactions(clients.TIMEOUT_SECONDS)
            return last_written(self._settings, self._number, self._topic_id)

        written = until_taken_over(
            self._number, take_over, f"the broker refuses transactions named {name}", stopping
        )
        if written is None:
            return
        self.queue.resume(written)
        self._closing, self.failure, self._fenced_since = False, None, None
        self._thread = threading.Thread(
            target=self._run, name=f"transactions-{self._number}", daemon=True
        )
        self._thread.start()
        self._wake.set()

    def put(self, outputs: Sequence[Output], handled: int) -> None:
        """Write these soon."""
        self.queue.put(outputs, handled)
        if outputs:
            self._wake.set()

    def advance(self) -> None:
        """Nothing: its thread goes on by itself."""

    @property
    def may_reopen(self) -> bool:
        """Whether it was fenced for longer than a rebalance would take to move the partition.

        Most often the partition is another's by then, which the next rebalance tells. But the
        broker also fences a writer whose transaction has been open for too long.
        """
        if self._fenced_since is None:
            self._fenced_since = time.monotonic()
        patience = 1.5 * self._settings.worker.session_seconds
        return time.monotonic() - self._fenced_since > patience

    def reopen(self, stopping: threading.Event) -> None:
        """Go on after a failure, while the partition is still ours."""
        self.close(1.0)
        self.open(stopping)

    def close(self, seconds: float) -> None:
        """Write what is waiting, for so long at most, and nothing afterwards."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                self.failure = self.failure or DisownedError("closed before all was written")
                self._thread.join()
        self._producers.clear()

    def _run(self) -> None:
        try:
            while self.queue.waiting or not self._closing:
                self._wake.wait()
                if not self._closing:
                    self._wake.clear()
                while batch := self.queue.send():
                    started = time.perf_counter()
                    self._write(self._producers[0], batch)
                    self.durations.observe((time.perf_counter() - started) * 1e6)
                    self._producers.rotate()
                    self.queue.sent_are_written()
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
                        clients.produce(
                            producer, output.topic, output.value, output.key, self._number,
                            headers=output.headers, on_delivery=self._delivered,
                        )  # fmt: skip
                producer.commit_transaction(_PATIENCE)
                return
            except KafkaException as error:
                begun = self._recover(producer, error.args[0], begun)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and error.code() in clients.LASTING:
            self._refused = BrokerError(
                f"the broker refuses to write to topic {message.topic()}: {error.str()}"
            )

    def _recover(self, producer: Producer, error: KafkaError, begun: bool) -> bool:
        """Whether the transaction can go on; if not it has been aborted, and can begin anew."""
        # The commit's outcome is unknown here: the next owner reads the tail of the output topic.
        if error.fatal() or (begun and error.code() == KafkaError._STATE):
            raise DisownedError(error.str()) from KafkaException(error)
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
                    raise DisownedError(again.args[0].str()) from again
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
