"""A Faust transport over confluent-kafka's consumer.

Faust keeps group membership, agents, timers and rebalances; this driver gives it *runs*: the value
of a Faust message is the list of the records of one partition that are there now, at most
`RUN_RECORDS` of them. librdkafka fetches in its own threads, decompresses every codec, and sends
heartbeats whatever Python does.

Only one thread may use the client: a call from a second one waits until `poll` returns, and may
wait for ever while messages arrive.

A partition is placed once: when the group assigns partitions, `Placing.claim` says where to read
each from, and the consumer is assigned exactly there. Faust's own `perform_seek` then finds
nothing to do.

`PRIVATE` lists what is used of faust-streaming 0.15.3 beyond its documented classes, and
`tests/streams/kafka/test_faust_driver.py` fails on a Faust that changed it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, ClassVar, NamedTuple, Protocol, cast

import faust
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from faust.tables.manager import TableManager
from faust.transport import base
from faust.transport import consumer as faust_consumer
from faust.transport import producer as faust_producer
from faust.types import TP, ConsumerMessage
from mode import get_logger

from streams.kafka import clients
from streams.kafka.record import Record
from streams.settings import Settings

log = logging.getLogger("millrace.kafka")

PRIVATE = {
    faust_consumer.Consumer: (
        "_getmany", "_to_message", "_commit", "_seek", "_new_topicpartition",
        "on_partitions_revoked", "on_partitions_assigned", "perform_seek", "flow_active",
    ),
    TableManager: ("_update_channels", "on_start", "recovery"),
    faust.App: (
        "_create_directories", "consumer_generation_id", "on_rebalance_start", "rebalancing",
        "transport",
    ),
}  # fmt: skip
"""What this driver overrides, calls or sets of Faust, by class."""

RUN_RECORDS = 64
"""Most records of a run; events of other partitions wait until it is done."""
_HELD_RECORDS, _HELD_BYTES = 20_000, 16 * 1024 * 1024
"""Most records and bytes that are buffered of one partition; it is then paused until half is left.

librdkafka has one FIFO queue for all partitions, and a fetch brings whole batches of a producer,
thousands of records. That queue is emptied at once: an event of a quiet partition then waits for a
few runs of a busy one, and not for its whole batch.
"""
_QUEUED_RECORDS = 1_000
"""Records of a partition in librdkafka's queue at which it fetches no more of them."""
_TAKEN_RECORDS = 256
"""Most records that one call takes out of that queue."""
_FETCH_BYTES = 262_144
_FETCH_WAIT_MS = {True: 5, False: 40}
"""How long a fetch waits for a message, by `broker.embedded`: the embedded broker answers a waiting
fetch only when this time is up."""
_POLL_SECONDS = 0.05
"""How long the thread waits for messages before it looks for requested commits."""
_COMMIT_SECONDS = 0.005
"""The same while it waits for the event loop in a rebalance."""
_AGENTS_SECONDS = 0.005
"""How often the start checks whether every agent has named its topics."""
_CLOSED_SECONDS = 30.0
_NEVER = 2**63
"""As the next offset of a partition: none of its records is taken any more."""
_LOG_SECONDS = 30.0


class Placing(Protocol):
    """What decides where the partitions of one topic are read from. Methods may block."""

    def claim(self, partitions: set[int]) -> dict[int, int]:
        """Take over exactly these partitions; returns the offset to read each from."""

    def placed(self) -> Awaitable[None]:
        """Called when the claimed partitions are being read from those offsets."""

    def release(self, partitions: set[int], lost: bool) -> Awaitable[None]:
        """Give these partitions up; `lost`: the group has assigned them to others already."""

    def has_room(self, partition: int) -> bool:
        """Whether more of a partition may be handed over. Must not block."""


class Run(NamedTuple):
    """Records of one partition, in the order of their offsets, at least one."""

    records: list[Record]
    generation: int


def transport(
    settings: Settings, topic: str, placing: Placing, client_id: str
) -> type[base.Transport]:
    """The transport of a worker whose `topic` is read from where `placing` says.

    The partitions of other topics are read from what the group has committed, or else from the
    earliest offset.
    """

    class Consumer(RunConsumer):
        client_configuration: ClassVar = configuration(settings) | {"client.id": client_id}
        placed_topic = topic
        topic_placing = placing

    class Transport(base.Transport):
        driver_version = "confluent-kafka"

    Transport.Consumer = Consumer
    Transport.Producer = _NoProducer
    return Transport


def configuration(settings: Settings) -> dict[str, Any]:
    """The configuration of the group's consumer."""
    session_ms = int(settings.worker.session_seconds * 1000)
    return {
        **clients.common(settings),
        "group.id": settings.worker.group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "partition.assignment.strategy": "roundrobin",
        "session.timeout.ms": session_ms,
        "heartbeat.interval.ms": max(100, session_ms // 4),
        # A worker that has not given its partitions up by then is removed from the group. Its lease
        # expires before that: see streams/worker/leased.py.
        "max.poll.interval.ms": max(30_000, 3 * session_ms),
        "fetch.wait.max.ms": _FETCH_WAIT_MS[settings.broker.embedded],
        "fetch.message.max.bytes": _FETCH_BYTES,
        "receive.message.max.bytes": settings.topics.message_bytes + 100_000_000,
        "queued.min.messages": _QUEUED_RECORDS,
        "fetch.queue.backoff.ms": 5,
        "topic.metadata.refresh.interval.ms": int(settings.broker.metadata_seconds * 1000),
        "allow.auto.create.topics": False,
        # Producers may write interactions in transactions: neither open nor aborted ones are read.
        "isolation.level": "read_committed",
    }


class RunConsumer(faust_consumer.Consumer):
    """The consumer of this transport; it runs on the app's event loop, except `_poll`.

    Attributes
    ----------
    client_configuration
        That of the confluent-kafka client.
    placed_topic, topic_placing
        The topic whose start offsets are decided here, and by what.
    """

    logger = get_logger(__name__)
    consumer_stopped_errors = ()
    client_configuration: ClassVar[dict[str, Any]]
    placed_topic: str
    topic_placing: Placing

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._client: KafkaConsumer | None = None
        self._assigned: dict[TP, int] = {}
        self._held: dict[TP, deque[Record]] = {}
        self._next: dict[TP, int] = {}
        self._bytes: dict[TP, int] = {}
        self._logged_at = float("-inf")
        self._paused: set[TP] = set()
        self._asked: list[tuple[list[TopicPartition], Future[bool]]] = []
        self._in_flight: deque[Future[bool]] = deque()
        self._changed = threading.Condition()
        self._arrived = asyncio.Event()
        self._generation = 0
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    # ------------------------------------------------------------------ life

    async def on_start(self) -> None:
        """Make the client; it joins the group with `subscribe`."""
        await super().on_start()
        self._client = KafkaConsumer(
            self.client_configuration | {"on_commit": self._committed, "error_cb": self._log_error}
        )

    async def on_stop(self) -> None:
        """Give the partitions up, then leave the group: the other way round, two would answer."""
        ours = {tp.partition for tp in self._assigned if tp.topic == self.placed_topic}
        if ours:
            await self.topic_placing.release(ours, lost=False)
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _CLOSED_SECONDS)
        if self._client is not None:
            await asyncio.to_thread(self._client.close)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Join the group for these topics; Faust calls it once, when its agents have started."""
        # Subscribing from another thread than the one that polls can block both.
        self._thread = threading.Thread(
            target=self._poll, args=[sorted(topics)], name="kafka-consumer", daemon=True
        )
        self._thread.start()

    def _ready_client(self) -> KafkaConsumer:
        if self._client is None:
            raise faust.exceptions.ConsumerNotStarted("the Kafka consumer has not started")
        return self._client

    # ------------------------------------------------------------------ the thread that polls

    def _poll(self, topics: list[str]) -> None:
        """Fetch into `_held`, and serve the group's callbacks, until the consumer stops."""
        client = self._ready_client()
        try:
            client.subscribe(
                topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self._closing.is_set():
                self._pause(client, self._full())
                self._commit_asked(client, wait=False)
                first = client.poll(_POLL_SECONDS)
                if first is not None:
                    # `consume` waits for as many as it is asked for: only for what is there.
                    self._hold([first, *client.consume(_TAKEN_RECORDS, 0.0)])
        except BaseException as error:
            self._call(self.crash(error))
        finally:
            with self._changed:
                self._closing.set()
                asked, self._asked = self._asked, []
            for done in (*(done for _, done in asked), *self._in_flight):
                _resolve(done, False)

    def _log_error(self, error: KafkaError) -> None:
        """Log an error that the client retries by itself; it reports one many times a second."""
        if time.monotonic() - self._logged_at > _LOG_SECONDS:
            self._logged_at = time.monotonic()
            log.warning("the Kafka consumer retries after: %s", error.str())

    def _commit_asked(self, client: KafkaConsumer, wait: bool) -> None:
        """Commit what the event loop has requested: only this thread may use the client.

        Unless we `wait` for the answer, a later `poll` calls `_committed` with it.
        """
        with self._changed:
            asked, self._asked = self._asked, []
        for places, done in asked:
            try:
                if wait:
                    _resolve(
                        done,
                        self._accepted(None, client.commit(offsets=places, asynchronous=False)),
                    )
                else:
                    self._in_flight.append(done)
                    client.commit(offsets=places, asynchronous=True)
            except KafkaException as error:
                if not wait:
                    self._in_flight.pop()
                _resolve(done, self._accepted(error.args[0], []))

    def _committed(self, error: KafkaError | None, places: list[TopicPartition]) -> None:
        _resolve(self._in_flight.popleft(), self._accepted(error, places))

    @staticmethod
    def _accepted(error: KafkaError | None, places: list[TopicPartition]) -> bool:
        """Whether the group's coordinator accepted a commit."""
        for each in (error, *(place.error for place in places)):
            if each is not None:
                _raise_permanent(each)
                return False
        return True

    def _full(self) -> set[TP]:
        """The partitions whose buffer is full, or whose answers wait for the broker."""
        full = self._without_room()
        for tp, held in self._held.items():
            share = 0.5 if tp in self._paused else 1.0
            if len(held) >= share * _HELD_RECORDS or self._bytes[tp] >= share * _HELD_BYTES:
                full.add(tp)
        return full

    def _without_room(self) -> set[TP]:
        return {
            tp for tp in self._held
            if tp.topic == self.placed_topic and not self.topic_placing.has_room(tp.partition)
        }  # fmt: skip

    def _pause(self, client: KafkaConsumer, wanted: set[TP]) -> None:
        """Pause exactly these partitions, and resume all others."""
        for change, places in (
            (client.pause, wanted - self._paused), (client.resume, self._paused - wanted)
        ):  # fmt: skip
            if places:
                change([TopicPartition(tp.topic, tp.partition) for tp in places & set(self._held)])
        self._paused = wanted

    def _hold(self, messages: list[Message]) -> None:
        kept = False
        with self._changed:
            for message in messages:
                error = message.error()
                if error is not None:
                    _raise_permanent(error)
                    continue
                tp = TP(str(message.topic()), cast(int, message.partition()))
                if tp in self._held and self._continues_log(tp, cast(int, message.offset())):
                    record = Record.of(message)
                    self._held[tp].append(record)
                    self._bytes[tp] += len(record.value or b"")
                    kept = True
        if kept:
            self.loop.call_soon_threadsafe(self._arrived.set)

    def _continues_log(self, tp: TP, offset: int) -> bool:
        """Whether a record continues the log that was read so far: offsets only rise.

        A lower offset means that the topic was deleted and recreated, or truncated; records are
        dropped from then on until the partition is assigned again.
        """
        if offset < self._next[tp]:
            if self._next[tp] < _NEVER:
                log.error(
                    "%s[%d]: offsets fell from %d to %d, so the topic was recreated or truncated; "
                    "its records are dropped until the partition is assigned again",
                    *tp, self._next[tp], offset,
                )  # fmt: skip
            self._next[tp] = _NEVER
            return False
        self._next[tp] = offset + 1
        return True

    def _on_assign(self, client: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        assigned = {TP(p.topic, p.partition) for p in partitions}
        ours = {tp.partition for tp in assigned if tp.topic == self.placed_topic}
        offsets = self.topic_placing.claim(ours)
        for place in partitions:
            if place.topic == self.placed_topic:
                place.offset = offsets[place.partition]
        with self._changed:
            self._generation += 1
            self._assigned = {TP(p.topic, p.partition): p.offset for p in partitions}
            self._held = {tp: deque() for tp in assigned}
            self._next = dict.fromkeys(assigned, 0)
            self._bytes = dict.fromkeys(assigned, 0)
            self._paused = set()
        client.assign(partitions)
        self._wait(self._tell_assigned(assigned, self._generation))

    async def _tell_assigned(self, assigned: set[TP], generation: int) -> None:
        if not self.app.rebalancing:  # the first assignment follows no revocation
            self.app.on_rebalance_start()
        self.app.consumer_generation_id = generation
        await self.on_partitions_assigned(assigned, generation)
        await self.topic_placing.placed()

    def _on_revoke(self, client: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        self._give_up(client, partitions, lost=False)

    def _on_lost(self, client: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        self._give_up(client, partitions, lost=True)

    def _give_up(self, client: KafkaConsumer, partitions: list[TopicPartition], lost: bool) -> None:
        with self._changed:
            self._generation += 1  # what was handed over under the last one is stale
            self._held = {}
            self._assigned = {}
            self._paused = set()
        if not self._closing.is_set():
            self._wait(self._tell_revoked({TP(p.topic, p.partition) for p in partitions}, lost))
        client.unassign()

    async def _tell_revoked(self, revoked: set[TP], lost: bool) -> None:
        self.app.on_rebalance_start()
        await self.on_partitions_revoked(revoked)
        ours = {tp.partition for tp in revoked if tp.topic == self.placed_topic}
        await self.topic_placing.release(ours, lost)

    def _call(self, coroutine: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def _wait(self, coroutine: Any) -> None:
        """Wait for the event loop, or until the consumer stops: a stopped loop never answers."""
        future = self._call(coroutine)
        while not self._closing.is_set():
            self._commit_asked(self._ready_client(), wait=True)
            try:
                future.result(_COMMIT_SECONDS)
            except TimeoutError:
                if not future.done():
                    continue
                raise
            return

    # ------------------------------------------------------------------ what Faust asks for

    def current(self, run: Run) -> bool:
        """Whether the partition of a run has been ours ever since it was fetched."""
        return run.generation == self._generation

    async def _getmany(
        self, active_partitions: set[TP] | None, timeout: float
    ) -> dict[TP, list[Run]]:
        """One run of each partition that has records; an empty dict after `timeout` seconds."""
        self._arrived.clear()
        runs = self._take(active_partitions)
        if runs:
            return runs
        try:
            await asyncio.wait_for(self._arrived.wait(), timeout)
        except TimeoutError:
            return {}
        return self._take(active_partitions)

    def _take(self, active: set[TP] | None) -> dict[TP, list[Run]]:
        runs: dict[TP, list[Run]] = {}
        if not self.flow_active:
            return runs
        full = self._without_room()
        with self._changed:
            for tp, held in self._held.items():
                if held and (active is None or tp in active) and tp not in full:
                    records = [held.popleft() for _ in range(min(RUN_RECORDS, len(held)))]
                    self._bytes[tp] -= sum(len(record.value or b"") for record in records)
                    runs[tp] = [Run(records, self._generation)]
        return runs

    def _to_message(self, tp: TP, run: Run) -> ConsumerMessage:
        last = run.records[-1]
        return ConsumerMessage(
            tp.topic, tp.partition, last.offset, last.timestamp_ms / 1000, 0, None, None,
            cast(Any, run), None, 0, 0, tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """The offsets at which the partitions were assigned: there is nothing to seek."""
        return {tp: offset for tp, offset in self._assigned.items() if offset >= 0}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return await self.commit_offsets(offsets)

    async def commit_offsets(self, offsets: Mapping[TP, int], metadata: str = "") -> bool:
        """Commit as a member of the group; returns whether its coordinator accepted it."""
        places = [
            TopicPartition(tp.topic, tp.partition, offset, metadata=metadata)
            for tp, offset in offsets.items()
        ]
        done: Future[bool] = Future()
        with self._changed:
            if self._closing.is_set():
                return False
            self._asked.append((places, done))
        return await asyncio.wrap_future(done)

    def assignment(self) -> set[TP]:
        """The partitions that are ours now."""
        return set(self._assigned)

    def highwater(self, tp: TP) -> int:
        """The offset after the last record that was fetched, which is all that is asked for."""
        return self._next.get(tp, 0)

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    def topic_partitions(self, topic: str) -> int | None:
        """How many partitions of a topic are ours; Faust asks only for tables: there are none."""
        return len([tp for tp in self._assigned if tp.topic == topic]) or None

    async def _seek(self, partition: TP, offset: int) -> None:
        raise NotImplementedError("a partition gets its offset when it is assigned")

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Not supported: only Faust's tables move partitions."""
        raise NotImplementedError("a partition gets its offset when it is assigned")

    async def position(self, tp: TP) -> int | None:
        """The offset at which a partition was assigned."""
        return self._assigned.get(tp)

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Not supported: only Faust's tables ask."""
        raise NotImplementedError

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Not supported: only Faust's tables ask."""
        raise NotImplementedError

    async def create_topic(self, *args: Any, **kwargs: Any) -> None:
        """Not supported: `millrace topics create` makes the topics."""
        raise NotImplementedError

    def key_partition(
        self, topic: str, key: bytes | None, partition: int | None = None
    ) -> int | None:
        """Not supported: nothing is sent through Faust."""
        raise NotImplementedError

    def verify_recovery_event_path(self, now: float, tp: TP) -> None:
        """Check nothing: there are no tables to recover."""


class _NoProducer(faust_producer.Producer):
    """The producer that Faust demands; it sends nothing, since `streams.worker` has its own."""

    async def flush(self) -> None:
        """Do nothing: no message ever waits."""


class App(faust.App):
    """Faust's application, without tables: it keeps nothing on disk.

    Attributes
    ----------
    when_looping
        Called in the event loop before the consumer joins its group. Faust starts an app's tasks
        only once it has its first partitions.
    """

    when_looping: Callable[[], object] = staticmethod(lambda: None)

    async def on_start(self) -> None:
        """Start, and call `when_looping`."""
        await super().on_start()
        self.when_looping()

    def _create_directories(self) -> None:
        """Create no folders: they are for tables, and the disk may be read-only."""


class NoTables(TableManager):
    """The tables of an app that has none: no waiting for a second until agents register some."""

    async def on_start(self) -> None:
        """Let the consumer subscribe once every agent has named its topics."""
        while len(self.app.topics) < len(self.app.agents) and not self.should_stop:
            await self.sleep(_AGENTS_SECONDS)
        await self._update_channels()
        await self.recovery.start()


def _resolve(done: Future[bool], taken: bool) -> None:
    if not done.done():  # whoever waited may have been cancelled
        done.set_result(taken)


def _raise_permanent(error: KafkaError) -> None:
    """Raise an error that retrying does not fix; log any other."""
    if error.code() in clients.LASTING:
        raise KafkaException(error)
    log.debug("the Kafka consumer: %s", error)
