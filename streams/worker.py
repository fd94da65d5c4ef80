"""The worker: a Faust agent that hands each message to the pipeline."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import tempfile
import time
from importlib.metadata import version
from typing import Any

import faust
from faust.types import TP
from mode.supervisors import CrashingSupervisor

from engine.events import Item
from engine.recommender import Recommender, warm_up
from streams import clients, metrics, rights, web
from streams.brokers import BrokerError, topic_partitions
from streams.brokers.errors import RefusedError
from streams.catalogue import CatalogueEncoder, CatalogueTail
from streams.consumer import transport
from streams.health import Health
from streams.messages import BadMessage, Model, dead_letter_headers, decode_item
from streams.outbox import Outbox
from streams.partitions import Partition, recall_answers
from streams.pipeline import Pipeline, Record
from streams.security import for_faust
from streams.settings import Settings
from streams.watchdog import EXIT_STATUS, Watchdog

log = logging.getLogger("millrace.worker")

_FETCH_WAIT_MS = {True: 5, False: 500}


class Worker:
    """Everything that one worker process holds."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = Recommender(settings.engine)
        self.outbox = Outbox(settings)
        self.pipeline = Pipeline(
            self.engine,
            self.outbox,
            settings.topics,
            Model(f"millrace-{settings.engine.model}", version("millrace")),
        )
        self.encoder = CatalogueEncoder(settings.engine.text_cache, settings.engine.model != "gnn")
        self.catalogue = CatalogueTail(settings, self.engine.upsert_item)
        self._items_read: dict[int, int] = {}
        self._committed: dict[TP, int] = {}

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
            self.claim,
            lambda message: self.pipeline.handle(_record(message)),
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

        app.on_partitions_revoked.connect(self.release)  # type: ignore[arg-type]
        app.topics.add(raw(topics.interactions))  # subscribed to, and read by the transport

        @app.agent(raw(topics.items), name="items")
        async def items(stream: Any) -> None:
            async for event in stream.noack().events():
                await self.embed(_record(event.message))

        @app.task  # type: ignore[untyped-decorator]
        async def started() -> None:
            # Faust's monitor takes a tenth of an event's time, for figures that nobody reads.
            app.sensors.remove(app.monitor)
            self.catalogue.follow(asyncio.get_running_loop().call_soon_threadsafe)

        @app.timer(worker.commit_seconds)  # type: ignore[untyped-decorator]
        async def commit() -> None:
            if self.catalogue.failure is not None:
                raise self.catalogue.failure
            self.outbox.wait(0)
            await self.commit(app)

        return app

    def claim(self, ours: set[int]) -> dict[int, int]:
        """The offset to read each of our input partitions from.

        One that is new is read from its beginning; one that comes back, from where we left it, to
        learn in silence what others answered meanwhile.
        """
        held = self.pipeline.partitions
        for number in sorted(ours - self.pipeline.active):
            if number not in held:
                held[number] = Partition(self.settings.worker.duplicate_window)
            recall_answers(self.settings, number, held[number])
        self.pipeline.active = ours
        log.info("reading partitions %s", sorted(ours))
        return {number: held[number].next_offset for number in ours}

    async def release(self, _app: faust.App, revoked: set[TP], **_: object) -> None:
        """Have every answer on the topic before others read there how far we came."""
        await asyncio.to_thread(self.outbox.flush)
        topic = self.settings.topics.interactions
        self.pipeline.active -= {tp.partition for tp in revoked if tp.topic == topic}

    async def embed(self, record: Record) -> None:
        """Encode an item in a thread and publish it to every worker."""
        topics = self.settings.topics
        try:
            item: Item = decode_item(record.value, record.headers, record.timestamp_ms)
        except BadMessage as error:
            headers = dead_letter_headers(
                error,
                topics.items,
                record.partition,
                record.offset,
                record.timestamp_ms,
                record.headers,
            )
            self.outbox.send(topics.dead_letters, record.value, record.key, headers=headers)
        else:
            message = await asyncio.to_thread(self.encoder.encode, item)
            self.outbox.send(topics.item_embeddings, message, item.item)
        self._items_read[record.partition] = record.offset + 1

    async def commit(self, app: faust.App) -> None:
        """Commit how far we have read: items to go on from there, interactions for lag to be seen.

        A restarted worker reads its interactions from positions of its own (`claim`), so theirs
        need not wait for the answers to be acknowledged; an item's embedding must be.
        """
        items = {TP(self.settings.topics.items, n): o for n, o in self._items_read.items()}
        if items.items() - self._committed.items():
            await asyncio.to_thread(self.outbox.flush)
        offsets = items | {
            TP(self.settings.topics.interactions, n): p.next_offset
            for n, p in self.pipeline.partitions.items()
            if n in self.pipeline.active
        }
        ours = app.consumer.assignment()
        changed = {
            tp: o for tp, o in offsets.items() if o and tp in ours and self._committed.get(tp) != o
        }
        if changed and await app.consumer._commit(changed):  # type: ignore[attr-defined]
            self._committed |= changed


def run(settings: Settings) -> None:
    """Run a worker in the foreground until SIGINT or SIGTERM."""
    wait_for_broker(settings)
    rights.require(settings, rights.of_worker(settings), member=True)
    worker = Worker(settings)
    health = Health()
    web.serve(settings.worker, metrics.WorkerMetrics(worker.pipeline), health)
    for topic in (settings.topics.interactions, settings.topics.items,
                  settings.topics.recommendations, settings.topics.dead_letters):  # fmt: skip
        clients.partitions(worker.outbox.producer, topic)
    warm_up(settings.engine)
    items = worker.catalogue.read_to_end()
    log.info("%d items in the catalogue", items)
    # What is here now stays: the collector need not look at it again while events wait.
    gc.freeze()
    app = worker.app()
    watchdog = Watchdog(settings, worker.pipeline.positions, health)
    try:
        faust.Worker(
            app, loglevel="warn", quiet=True, redirect_stdouts=False, override_logging=False
        ).execute_from_commandline()
    finally:
        worker.catalogue.stop()
        worker.outbox.producer.flush(clients.TIMEOUT_SECONDS)
        watchdog.close()
        if watchdog.stuck:
            sys.exit(EXIT_STATUS)


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


def _record(message: Any) -> Record:
    return Record(
        message.partition,
        message.offset,
        int(message.timestamp * 1000) if message.timestamp is not None else 0,
        message.key,
        message.value,
        message.headers or (),
    )
