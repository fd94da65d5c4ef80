"""The worker: Faust agents that hand runs of messages on, and the timers beside them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

import faust
from faust.types import TP
from mode.supervisors import CrashingSupervisor

from engine.recommender import Recommender
from engine.state import huge_pages
from engine.warm_up import warm_up
from streams.brokers import BrokerError, topic_partitions
from streams.brokers.errors import RefusedError
from streams.kafka import clients, driver, rights, topics
from streams.kafka.driver import Run
from streams.kafka.outbox import Outbox
from streams.kafka.record import Record
from streams.messages.schemas import Model
from streams.settings import Settings, SettingsError, WorkerSettings
from streams.web import metrics
from streams.web.api import Api
from streams.web.engine_access import EngineAccess
from streams.web.feed import Feed
from streams.web.page import Page
from streams.web.posting import MessageWriter
from streams.web.server import serve
from streams.worker.assignment import Assignment
from streams.worker.catalogue import Catalogue, ItemEncoder
from streams.worker.checkpoints import Checkpoints, Notes, Writing
from streams.worker.health import Health
from streams.worker.input_log import Input
from streams.worker.partition import Partition
from streams.worker.pipeline import Pipeline
from streams.worker.replica import Follower
from streams.worker.topic_watch import TopicWatch, grow_outputs
from streams.worker.watchdog import EXIT_STATUS, Watchdog

log = logging.getLogger("millrace.worker")


class Worker:
    """Everything that one worker process holds."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.input = Input.of(settings)
        self.checkpoints = _checkpoints(settings, self.input)
        found = self.checkpoints and self.checkpoints.newest(settings.engine, self.input.fits)
        self.engine = found.engine if found else Recommender.new(settings.engine)
        self.outbox = Outbox(settings)
        self.model = Model(f"millrace-{settings.engine.model}", version("millrace-recommender"))
        self.pipeline = Pipeline(self.engine, settings, self.model, self.input.topic_id)
        self.assignment = Assignment(settings, self.input)
        for number, partition in self.assignment.partitions.items():
            if found and number in found.notes.partitions:
                partition.resume(found.notes.partitions[number])
            _skip_what_is_gone(settings, partition, self.input.lows[number])
        notes = found.notes if found else Notes(self.input.name, {}, {})
        self.catalogue = Catalogue(settings, self.engine, notes.catalogue, notes.items)
        self.items = ItemEncoder(settings, self.outbox, self.pipeline.count_dead_item)
        self.follower = Follower(settings, self.input.topic_id)
        self.assignment.on_change = self.follower.follow
        self.access = EngineAccess()
        if found:
            log.info("going on from checkpoint %s", found.path)
        self._items_committed: dict[int, int] = {}
        self._checkpointing: asyncio.Task[None] | None = None
        self._no_checkpoint_until = 0.0

    def app(self) -> faust.App:
        """The Faust application: an agent for interactions, one for items, and timers."""
        topics, worker = self.settings.topics, self.settings.worker
        app = driver.App(
            worker.group,
            broker=[f"kafka://{a}" for a in self.settings.broker.bootstrap.split(",")],
            store="memory://",
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            stream_wait_empty=False,
            # A run waits in the agent's queue while another is worked on, and no more: what waits
            # there delays the events of other partitions.
            stream_buffer_maxsize=1,
            worker_redirect_stdouts=False,
            agent_supervisor=CrashingSupervisor,
            TableManager=driver.NoTables,
        )
        made = driver.transport(self.settings, topics.interactions, self.assignment)
        app.transport = made(app.conf.broker_consumer, app)

        self.assignment.commit = lambda offsets: _commit(
            app, topics.interactions, offsets, self.input.topic_id
        )

        @app.agent(_runs(app, topics.interactions), name="interactions", concurrency=1)
        async def interactions(stream: Any) -> None:
            async for run in stream.noack():
                if _consumer(app).current(run):
                    self.handle(run)
                await asyncio.sleep(0)  # timers, items and what others answered get their turn

        @app.agent(_runs(app, topics.items), name="items", concurrency=1)
        async def items(stream: Any) -> None:
            async for run in stream.noack():
                await self.items.take(run.records)

        @app.task  # type: ignore[untyped-decorator]
        async def started() -> None:
            # Faust's monitor takes a tenth of an event's time, for figures that nobody reads; it
            # warns of each rebalance that is not measured then.
            app.sensors.remove(app.monitor)
            logging.getLogger("faust.app.base").setLevel(logging.ERROR)
            self.access.open(asyncio.get_running_loop())
            hand_over = asyncio.get_running_loop().call_soon_threadsafe
            self.catalogue.follow(hand_over)
            self.follower.start(hand_over, self.follow)

        @app.task  # type: ignore[untyped-decorator]
        async def look_after() -> None:
            # No timer of Faust's: those warn whenever a commit takes longer than their interval.
            while not app.should_stop:
                await app.sleep(worker.commit_seconds)
                for failure in (self.catalogue.failure, self.follower.thread.failure):
                    if failure is not None:
                        raise failure
                self.outbox.wait(0)
                await self.assignment.look_after()
                await self.commit_items(app)

        @app.timer(1.0)  # type: ignore[untyped-decorator]
        async def checkpoint() -> None:
            try:
                self.checkpoint_if_due()
            except OSError as error:  # no descriptor or no process left: others may end theirs
                self.pipeline.counts.checkpoint_failures += 1
                log.warning("no checkpoint: %s", error)

        return app

    # ------------------------------------------------------------------ the event path

    def handle(self, run: Run) -> None:
        """Answer a run of one partition."""
        self.pipeline.handle(self.assignment.partitions[run.records[0].partition], run.records)

    def follow(self, records: Iterable[Record]) -> None:
        """Apply what other workers have answered."""
        for number, run in groupby(records, attrgetter("partition")):
            self.pipeline.follow(self.assignment.partitions[number], list(run))

    def catch_up(self) -> None:
        """Read the catalogue to its end, and the events as far as the group has answered them."""
        items = self.catalogue.read_to_end()
        log.info("%d messages about items read", items)
        events = self.follower.catch_up(self.assignment.positions(), self.follow)
        log.info("%d events read again", events)

    async def commit_items(self, app: faust.App) -> None:
        """Commit how far the items of our partitions are read, once their embeddings are out."""
        read = dict(self.items.read)
        if read.items() <= self._items_committed.items():
            return
        await asyncio.to_thread(self.outbox.flush)
        if await _commit(app, self.settings.topics.items, read):
            self._items_committed |= read

    # ------------------------------------------------------------------ checkpoints

    def notes(self) -> Notes:
        """What a checkpoint of now says beside the engine's state."""
        partitions = {n: p.notes() for n, p in self.assignment.partitions.items()}
        return Notes(self.input.name, partitions, *self.catalogue.positions)

    def checkpoint_if_due(self) -> None:
        """Cut one, off the event path, if no worker has written one lately."""
        busy = self._checkpointing is not None and not self._checkpointing.done()
        if self.checkpoints is None or busy:
            return
        every = self.settings.worker.checkpoint_seconds
        if self.checkpoints.age() < every or time.monotonic() < self._no_checkpoint_until:
            return
        # Where none can be written, one line says so each time, and not each second.
        self._no_checkpoint_until = time.monotonic() + every
        writing = self.checkpoints.begin(self.engine, self.assignment.positions(), self.notes)
        self.pipeline.counts.checkpoints += 1
        self.pipeline.counts.checkpoint_pause_seconds += writing.pause_seconds
        self._checkpointing = asyncio.get_running_loop().create_task(self._publish(writing))

    async def _publish(self, writing: Writing) -> None:
        assert self.checkpoints is not None
        counts, begun = self.pipeline.counts, time.monotonic()
        try:
            await asyncio.to_thread(writing.wait)
            deadline = time.monotonic() + self.settings.worker.session_seconds
            while not self.assignment.are_out(writing.positions):
                if time.monotonic() > deadline:
                    raise OSError(
                        "answers up to the checkpoint were not written within "
                        "worker.session_seconds"
                    )
                await asyncio.sleep(0.01)
            await asyncio.to_thread(self.checkpoints.publish, writing)
            counts.checkpoints_written += 1
            counts.checkpoint_write_seconds += time.monotonic() - begun
        except OSError as error:
            counts.checkpoint_failures += 1
            log.warning("no checkpoint: %s", error)
            with contextlib.suppress(OSError):
                writing.discard()

    def stop(self) -> None:
        """End the threads, write what is still to be written, and a last checkpoint."""
        self.catalogue.stop()
        self.follower.thread.stop()
        self.assignment.stop()
        self.outbox.producer.flush(clients.TIMEOUT_SECONDS)
        if self.checkpoints is not None and self.assignment.are_out(self.assignment.positions()):
            try:
                self.checkpoints.write(self.engine, self.notes())
            except OSError as error:
                log.warning("no checkpoint: %s", error)


def run(settings: Settings) -> None:
    """Run a worker in the foreground until SIGINT or SIGTERM."""
    wait_for_broker(settings)
    rights.require(settings, rights.of_worker(settings), member=True)
    grow_outputs(settings)
    topics.require(settings)
    # Threads that write answers must not wait 5 ms each time until an event lets them.
    sys.setswitchinterval(0.0005)
    # Loading a checkpoint is mostly reading and adding up, beside which kernels can be loaded.
    with ThreadPoolExecutor(1, "warm-up") as beside:
        warm = beside.submit(warm_up, settings.engine)
        worker = Worker(settings)
        warm.result()
    health = Health()
    if settings.web.port:
        _serve(worker, health)
    worker.catch_up()
    # What is here now stays: the collector need not look at it again while events wait.
    gc.freeze()
    if worker.checkpoints is not None:
        # Before the first fork; some 2 s of another thread's time for a gigabyte.
        threading.Thread(target=huge_pages.collapse, name="huge-pages", daemon=True).start()
    app = worker.app()
    watchdog = Watchdog(
        settings, worker.assignment.our_positions, worker.assignment.all_have_room, health
    )
    watch = TopicWatch(
        settings, worker.input, health, worker.assignment.abandon, worker.assignment.know
    )
    try:
        runner = faust.Worker(
            app, loglevel="warn", quiet=True, redirect_stdouts=False, override_logging=False
        )
        runner.spinner = None  # its escape codes would stand among the lines of the log
        runner.execute_from_commandline()
    finally:
        worker.stop()
        watchdog.close()
        watch.close()
        if watchdog.stuck or watch.status:
            sys.exit(watch.status or EXIT_STATUS)


def _serve(worker: Worker, health: Health) -> None:
    """The page, the HTTP API, metrics and health, from a thread of their own."""
    settings, engine, pipeline = worker.settings, worker.engine, worker.pipeline
    writer = MessageWriter(settings, lambda: len(worker.assignment.partitions))
    api = Api(engine, worker.model, worker.access, health, writer, settings)
    feed = Feed(pipeline, health, worker.model)
    page = Page(feed, engine, worker.access, settings.web.pages_per_client)
    told = metrics.registry(
        pipeline, worker.assignment, health, settings.engine, worker.checkpoints
    )
    told.register(metrics.ExperimentMetrics(pipeline, feed.comparison))
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
    """The folder of this group's checkpoints. The embedded broker's log dies with it.

    Raises
    ------
    SettingsError
        If a folder that the settings name cannot be used; without the default one it goes on.
    """
    if not settings.worker.checkpoints or settings.broker.embedded:
        return None
    folder = Path(settings.worker.checkpoints) / settings.worker.group / log_.name
    try:
        return Checkpoints(folder, settings.worker.checkpoints_kept)
    except OSError as error:
        name = settings.worker.checkpoints
        if name != WorkerSettings().checkpoints:
            raise SettingsError(
                f"worker.checkpoints = {name!r} cannot be used: {error}; name a folder that can be "
                "written, or an empty one for no checkpoints"
            ) from None
        log.warning(
            "no checkpoints: %s; a restart reads the log again. worker.checkpoints names a folder",
            error,
        )
        return None


def _skip_what_is_gone(settings: Settings, partition: Partition, low: int) -> None:
    """Begin at the first offset that the topic still has."""
    if partition.next_offset < low:
        log.warning(
            "partition %d: events %d to %d are gone from the topic, and not in the state",
            partition.number, partition.next_offset, low - 1,
            extra={"topic": settings.topics.interactions, "partition": partition.number},
        )  # fmt: skip
        partition.next_offset = low


class _RunSchema(faust.Schema[None, Run]):
    """The value of a message is a `Run` as the driver made it."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> None:
        return None

    def loads_value(self, app: Any, message: Any, **_: Any) -> Run:
        run: Run = message.value
        return run


def _runs(app: faust.App, topic: str) -> Any:
    return app.topic(topic, schema=_RunSchema())


def _consumer(app: faust.App) -> driver.RunConsumer:
    return cast(driver.RunConsumer, app.consumer)


async def _commit(app: faust.App, topic: str, offsets: dict[int, int], topic_id: str = "") -> bool:
    """Commit those of the partitions that are assigned to us; whether all were taken.

    The topic's id goes with them: a commit outlives a topic that is deleted and made anew.
    """
    consumer = _consumer(app)
    ours = consumer.assignment()
    places = {TP(topic, number): offset for number, offset in offsets.items()}
    if not places.keys() <= ours:
        places = {tp: offset for tp, offset in places.items() if tp in ours}
    return bool(places) and await consumer.commit_offsets(places, topic_id)
