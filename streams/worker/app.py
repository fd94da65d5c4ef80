"""The worker: a Faust agent that hands each message to the pipeline."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faust
from faust.types import TP
from mode.supervisors import CrashingSupervisor

from engine.recommender import Recommender
from engine.warm_up import warm_up
from streams.kafka import clients, rights, topics
from streams.kafka.brokers import BrokerError, topic_partitions
from streams.kafka.brokers.errors import RefusedError
from streams.kafka.outbox import Outbox
from streams.kafka.record import Record
from streams.kafka.security import for_faust
from streams.messages.bad_message import BadMessage
from streams.messages.dead_letters import dead_letter
from streams.messages.decoding import decode_item
from streams.messages.limits import check_size, check_written
from streams.messages.schemas import Model
from streams.settings import Settings
from streams.web import metrics
from streams.web.api import Api
from streams.web.engine_access import EngineAccess
from streams.web.feed import Feed
from streams.web.page import Page
from streams.web.posting import InteractionWriter
from streams.web.server import serve
from streams.worker.catalogue import CatalogueEncoder, CatalogueTail, deleted_item
from streams.worker.checkpoints import Checkpoints, Notes, Writing
from streams.worker.consumer import transport
from streams.worker.health import Health
from streams.worker.input_log import Input
from streams.worker.ownership import Ownership
from streams.worker.partition import Partition
from streams.worker.pipeline import Pipeline
from streams.worker.replica import Follower
from streams.worker.watchdog import EXIT_STATUS, Watchdog

log = logging.getLogger("millrace.worker")

_FETCH_WAIT_MS = {True: 5, False: 500}


class Worker:
    """Everything that one worker process holds."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.input = Input.of(settings)
        self.checkpoints = _checkpoints(settings, self.input)
        found = self.checkpoints and self.checkpoints.newest(settings.engine, self.input.fits)
        self.engine = found.engine if found else Recommender.new(settings.engine)
        self.outbox = Outbox(settings)
        self.model = Model(f"millrace-{settings.engine.model}", version("millrace"))
        self.pipeline = Pipeline(self.engine, settings, self.model)
        for number, low in self.input.lows.items():
            partition = Partition(settings.worker.duplicate_window)
            if found and number in found.notes.partitions:
                partition.resume(found.notes.partitions[number])
            if partition.next_offset < low:
                log.warning(
                    "partition %d: events %d to %d are gone from the topic, and not in the state",
                    number, partition.next_offset, low - 1,
                    extra={"topic": settings.topics.interactions, "partition": number},
                )  # fmt: skip
                partition.next_offset = low
            self.pipeline.partitions[number] = partition
        self.encoder = CatalogueEncoder(settings.engine.text_cache, settings.engine.model != "gnn")
        self.catalogue = CatalogueTail(
            settings, self.engine.upsert_item, found.notes.catalogue if found else {}
        )
        self.follower = Follower(settings)
        self.ownership = Ownership(settings, self.pipeline, self.follower)
        self.access = EngineAccess()
        if found:
            log.info("going on from checkpoint %s", found.path)
        self._items_read: dict[int, int] = {}
        self._unreadable_said: set[str] = set()
        self._committed: dict[TP, int] = {}
        self._checkpointing: asyncio.Task[None] | None = None

    def app(self) -> faust.App:
        """The Faust application: interactions by the transport, an agent for items."""
        broker, topics, worker = self.settings.broker, self.settings.topics, self.settings.worker
        app = faust.App(
            worker.group,
            broker=[f"kafka://{address}" for address in broker.bootstrap.split(",")],
            broker_credentials=for_faust(self.settings.security),
            datadir=tempfile.mkdtemp(prefix="millrace-"),
            store="memory://",
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            stream_wait_empty=False,
            consumer_auto_offset_reset="earliest",
            broker_session_timeout=worker.session_seconds,
            broker_heartbeat_interval=worker.session_seconds / 4,
            broker_rebalance_timeout=30.0,
            worker_redirect_stdouts=False,
            agent_supervisor=CrashingSupervisor,
        )
        app.transport = transport(
            topics.interactions,
            self.ownership.claim,
            lambda message: self.pipeline.handle(_record(message)),
            self.ownership.has_room,
            _FETCH_WAIT_MS[broker.embedded],
        )(app.conf.broker_consumer, app)

        def raw(name: str) -> Any:
            return app.topic(
                name,
                key_type=bytes,
                key_serializer="raw",
                value_type=bytes,
                value_serializer="raw",
            )

        async def release(_app: faust.App, revoked: set[TP], **_: object) -> None:
            ours = {place.partition for place in revoked if place.topic == topics.interactions}
            await asyncio.to_thread(self.outbox.flush)
            done = await self.ownership.release(ours)
            await self.commit(app, done)
            self.follower.follow(self.ownership.positions(self.pipeline.ours))

        app.on_partitions_revoked.connect(release, weak=False)  # type: ignore[arg-type]
        app.topics.add(raw(topics.interactions))  # subscribed to, and read by the transport

        @app.agent(raw(topics.items), name="items")
        async def items(stream: Any) -> None:
            async for event in stream.noack().events():
                await self.embed(_record(event.message))

        @app.task  # type: ignore[untyped-decorator]
        async def started() -> None:
            # Faust's monitor takes a tenth of an event's time, for figures that nobody reads.
            app.sensors.remove(app.monitor)
            self.access.open(asyncio.get_running_loop())
            hand_over = asyncio.get_running_loop().call_soon_threadsafe
            self.catalogue.follow(hand_over)
            self.follower.start(hand_over, self.follow)

        @app.timer(worker.commit_seconds)  # type: ignore[untyped-decorator]
        async def commit() -> None:
            for failure in (self.catalogue.failure, self.follower.failure):
                if failure is not None:
                    raise failure
            self.outbox.wait(0)
            await self.ownership.look_after()
            await self.commit(app, self.ownership.out())

        @app.timer(1.0)  # type: ignore[untyped-decorator]
        async def checkpoint() -> None:
            self.checkpoint_if_due()

        return app

    def follow(self, records: list[Record]) -> None:
        """Apply what other workers have answered."""
        for record in records:
            self.pipeline.follow(record)

    def catch_up(self) -> None:
        """Read the catalogue to its end, and the events as far as the group has answered them."""
        items = self.catalogue.read_to_end()
        log.info("%d items read", items)
        events = self.follower.catch_up(self.ownership.positions(), self.follow)
        log.info("%d events read again", events)

    async def embed(self, record: Record) -> None:
        """Encode an item in a thread and publish it to every worker."""
        topics = self.settings.topics
        try:
            check_size(record.key, record.value, record.headers, topics.message_bytes)
            deleted = deleted_item(record.key) if record.value is None else None
            if deleted is not None:
                name, message = deleted.item, None
            else:
                item = decode_item(record.value, record.headers, record.timestamp_ms)
                name, message = item.item, await asyncio.to_thread(self.encoder.encode, item)
                check_written("the item and its embedding", message, topics.message_bytes)
        except BadMessage as error:
            found = dead_letter(error, topics.items, record, topics.message_bytes)
            self.outbox.send(topics.dead_letters, found.value, found.key, headers=found.headers)
            self._count_unreadable(topics.items, record, error)
        else:
            self.outbox.send(topics.item_embeddings, message, name)
        self._items_read[record.partition] = record.offset + 1

    def _count_unreadable(self, topic: str, record: Record, error: BadMessage) -> None:
        """Count it, and log the first of each error class: a broken sender sends thousands."""
        letters = self.pipeline.counts.dead_letters
        letters[error.error_class] += 1
        if error.error_class in self._unreadable_said:
            return
        self._unreadable_said.add(error.error_class)
        log.warning(
            "%s[%d] at %d is a dead letter, %s; more of this class are counted, not logged",
            topic, record.partition, record.offset, error,
            extra={"topic": topic, "partition": record.partition, "offset": record.offset},
        )  # fmt: skip

    async def commit(self, app: faust.App, done: dict[int, int]) -> None:
        """Commit how far we are: items to go on from there, interactions for others to follow.

        A restarted worker reads its interactions from positions of its own (`Ownership.claim`).
        """
        items = {TP(self.settings.topics.items, n): o for n, o in self._items_read.items()}
        if items.items() - self._committed.items():
            await asyncio.to_thread(self.outbox.flush)
        interactions = {TP(self.settings.topics.interactions, n): o for n, o in done.items()}
        ours = app.consumer.assignment()
        changed = {
            tp: o
            for tp, o in (items | interactions).items()
            if o and tp in ours and self._committed.get(tp) != o
        }
        if changed and await app.consumer._commit(changed):  # type: ignore[attr-defined]
            self._committed |= changed

    # ------------------------------------------------------------------ checkpoints

    def notes(self) -> Notes:
        """What a checkpoint of now says beside the engine's state."""
        partitions = {n: p.notes() for n, p in self.pipeline.partitions.items()}
        return Notes(self.input.name, partitions, dict(self.catalogue.positions))

    def checkpoint_if_due(self) -> None:
        """Cut one, off the event path, if no worker has written one lately."""
        busy = self._checkpointing is not None and not self._checkpointing.done()
        if self.checkpoints is None or busy:
            return
        if self.checkpoints.age() < self.settings.worker.checkpoint_seconds:
            return
        writing = self.checkpoints.begin(self.engine, self.ownership.positions(), self.notes)
        self.pipeline.counts.checkpoints += 1
        self.pipeline.counts.checkpoint_pause_seconds += writing.pause_seconds
        self._checkpointing = asyncio.get_running_loop().create_task(self._publish(writing))

    async def _publish(self, writing: Writing) -> None:
        assert self.checkpoints is not None
        counts, begun = self.pipeline.counts, time.monotonic()
        try:
            await asyncio.to_thread(writing.wait)
            deadline = time.monotonic() + self.settings.worker.session_seconds
            while not self.ownership.are_out(writing.positions):
                if time.monotonic() > deadline:
                    raise OSError("what it has answered cannot be written")
                await asyncio.sleep(0.01)
            await asyncio.to_thread(self.checkpoints.publish, writing)
            counts.checkpoints_written += 1
            counts.checkpoint_write_seconds += time.monotonic() - begun
        except OSError as error:
            counts.checkpoint_failures += 1
            log.warning("no checkpoint: %s", error)
            writing.discard()

    def stop(self) -> None:
        """End the threads, write what is still to be written, and a last checkpoint."""
        self.catalogue.stop()
        self.follower.stop()
        self.ownership.close()
        self.outbox.producer.flush(clients.TIMEOUT_SECONDS)
        if self.checkpoints is not None and self.ownership.are_out(self.ownership.positions()):
            self.checkpoints.write(self.engine, self.notes())


def run(settings: Settings) -> None:
    """Run a worker in the foreground until SIGINT or SIGTERM."""
    wait_for_broker(settings)
    rights.require(settings, rights.of_worker(settings), member=True)
    # Threads that write answers must not wait 5 ms each time until an event lets them.
    sys.setswitchinterval(0.0005)
    warm_up(settings.engine)
    topics.require(settings)
    worker = Worker(settings)
    health = Health()
    if settings.web.port:
        _serve(worker, health)
    worker.catch_up()
    # What is here now stays: the collector need not look at it again while events wait.
    gc.freeze()
    app = worker.app()
    watchdog = Watchdog(settings, worker.pipeline.positions, worker.ownership.has_room, health)
    try:
        runner = faust.Worker(
            app, loglevel="warn", quiet=True, redirect_stdouts=False, override_logging=False
        )
        runner.spinner = None  # its escape codes would stand among the lines of the log
        runner.execute_from_commandline()
    finally:
        worker.stop()
        watchdog.close()
        if watchdog.stuck:
            sys.exit(EXIT_STATUS)


def _serve(worker: Worker, health: Health) -> None:
    """The page, the HTTP API, metrics and health, from a thread of their own."""
    settings, engine, pipeline = worker.settings, worker.engine, worker.pipeline
    writer = InteractionWriter(settings, len(worker.input.lows))
    api = Api(engine, worker.model, worker.access, health, writer, settings)
    page = Page(Feed(pipeline, health, worker.model), engine, worker.access)
    told = metrics.registry(pipeline, health, settings.engine, worker.checkpoints)
    serve(settings, told, health, api.routes(), page)


def wait_for_broker(settings: Settings) -> None:
    """Return once the broker answers; say every five seconds that it does not.

    Raises
    ------
    RefusedError
        If it answers and does not let us in.
    """
    started = time.monotonic()
    while True:
        try:
            topic_partitions(settings.broker.bootstrap, seconds=5.0, security=settings.security)
        except RefusedError:
            raise
        except BrokerError as error:
            log.warning("%s (%d s)", error, time.monotonic() - started)
        else:
            return


def _checkpoints(settings: Settings, log_: Input) -> Checkpoints | None:
    """The folder of this group's checkpoints. The embedded broker's log dies with it."""
    if not settings.worker.checkpoints or settings.broker.embedded:
        return None
    folder = Path(settings.worker.checkpoints) / settings.worker.group / log_.name
    return Checkpoints(folder, settings.worker.checkpoints_kept)


def _record(message: Any) -> Record:
    return Record(
        message.partition,
        message.offset,
        int(message.timestamp * 1000) if message.timestamp is not None else 0,
        message.key,
        message.value,
        message.headers or (),
    )
