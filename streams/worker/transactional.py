"""Delivery in transactions: the broker itself refuses what an earlier owner still tries to write.

Each input partition has producers of its own, whose transactional ids name the partition. The
worker that takes a partition over initialises them, which fences every earlier owner. Subscribers
that read committed messages only see each answer once, whatever was frozen, and for how long.

A transaction takes three answers of the broker: to its partitions, its outputs, and its end. The
end of one and the beginning of the next overlap. There are two producers, which take turns: once
the outputs of one are in the log, the other's transaction is begun and takes what the events bring
while the first is ended; then it is ended itself. So the order in the log, and of the commits, is
that of the events. When a transaction has to be written anew, so is the one that was begun behind
it. (With one producer alone a transaction could not begin before the broker has marked the
partitions of the last, and librdkafka would try again 20 ms later.)
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.brokers.errors import BrokerError
from streams.kafka import clients
from streams.settings import Settings
from streams.worker.delivery import (
    MOST_OUTPUTS,
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


@dataclass
class _Transaction:
    """A transaction of one producer, and what it writes.

    Attributes
    ----------
    begun
        Whether the producer has begun it.
    spoilt
        Whether it has to be aborted and written anew.
    in_log
        Whether all its outputs are in the log, so that those of another may follow.
    """

    producer: Producer
    outputs: list[Output] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    begun: bool = False
    spoilt: bool = False
    in_log: bool = False


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
        self._filling: _Transaction | None = None
        self._ending: tuple[_Transaction, Future[bool]] | None = None
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
        self._filling = self._ending = None
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

    # ------------------------------------------------------------------ its thread

    def _run(self) -> None:
        try:
            with ThreadPoolExecutor(1, f"commits-{self._number}") as commits:
                while self.queue.waiting or not self._closing:
                    self._wake.wait()
                    if not self._closing:
                        self._wake.clear()
                    self._turn(commits)
        except Exception as error:
            self.failure = self.failure or error

    def _turn(self, commits: ThreadPoolExecutor) -> None:
        """Fill a transaction while another is being ended, and end it when that is done."""
        if self._ending is not None and (self._closing or self._ending[1].done()):
            self._ended(*self._ending)
        if self._ending is None or self._ending[0].in_log:
            self._fill()
        if self._ending is None and self._filling is not None:
            done = commits.submit(self._end, self._filling)
            self._ending = self._filling, done
            self._filling = None
            done.add_done_callback(lambda _: self._wake.set())

    def _fill(self) -> None:
        """Begin a transaction if there is something to write, or add to the one that is begun."""
        filled = len(self._filling.outputs) if self._filling else 0
        outputs = self.queue.send(MOST_OUTPUTS - filled)
        if not outputs:
            return
        if self._filling is None:
            self._filling = _Transaction(self._producers[0])
            self._producers.rotate()
        transaction = self._filling
        transaction.outputs += outputs
        try:
            if not transaction.begun:
                transaction.producer.begin_transaction()
                transaction.begun = True
            if not transaction.spoilt:
                self._produce(transaction.producer, outputs)
        except KafkaException:  # `_end` begins it anew, and tells of what it meets then
            transaction.spoilt = True

    def _ended(self, transaction: _Transaction, done: Future[bool]) -> None:
        self._ending = None
        anew = done.result()
        self.durations.observe((time.perf_counter() - transaction.started) * 1e6)
        self.queue.are_written(len(transaction.outputs))
        if anew and self._filling is not None:  # it is in the log before what is written anew
            self._filling.spoilt = True

    # ------------------------------------------------------------------ the thread that commits

    def _end(self, transaction: _Transaction) -> bool:
        """Commit it; whether it had to be written anew."""
        producer, outputs = transaction.producer, transaction.outputs
        if transaction.spoilt:
            if transaction.begun:
                self._abort(producer)
            self._write(producer, outputs, begun=False)
            return True
        # A fatal error comes as either: confluent-kafka 2.16 calls `_delivered` while it is set.
        # The commit meets it again.
        with suppress(KafkaException, SystemError):
            transaction.in_log = producer.flush(_PATIENCE) == 0
            self._wake.set()
        return self._write(producer, outputs, begun=True)

    def _write(self, producer: Producer, outputs: Sequence[Output], begun: bool) -> bool:
        """One transaction, again and again until it is committed; whether it was begun anew."""
        anew = False
        while True:
            if self.failure:
                raise self.failure
            try:
                if not begun:
                    producer.begin_transaction()
                    begun = True
                    self._produce(producer, outputs)
                producer.commit_transaction(_PATIENCE)
                return anew
            except KafkaException as error:
                begun = self._recover(producer, error.args[0], begun)
                anew = anew or not begun

    def _produce(self, producer: Producer, outputs: Sequence[Output]) -> None:
        for output in outputs:
            clients.produce(
                producer, output.topic, output.value, output.key, self._number,
                headers=output.headers, on_delivery=self._delivered,
            )  # fmt: skip

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
        self._abort(producer)
        return False

    def _abort(self, producer: Producer) -> None:
        """Abort the open transaction, if there is one."""
        while True:
            if self.failure:
                raise self.failure
            try:
                producer.abort_transaction(_PATIENCE)
            except KafkaException as error:
                if error.args[0].fatal():
                    raise DisownedError(error.args[0].str()) from error
                if error.args[0].code() == KafkaError._STATE:  # there is none to abort
                    return
                if not error.args[0].retriable():
                    raise
                time.sleep(_PAUSE)
            else:
                return

    def _say(self, error: KafkaError) -> None:
        if time.monotonic() - self._said > _SAY_SECONDS:
            self._said = time.monotonic()
            log.warning(
                "partition %d waits for the broker: %s", self._number, error.str(),
                extra={"partition": self._number},
            )  # fmt: skip
