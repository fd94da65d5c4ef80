"""The worker: Faust agents that hand runs of messages on, and the timers beside them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
import uuid
from functools import partial
from typing import Any, cast

import faust
from faust.types import TP
from mode.supervisors import CrashingSupervisor

from engine.recommender import Recommender
from streams.kafka import clients, driver, group
from streams.kafka.driver import Run
from streams.kafka.outbox import Outbox
from streams.kafka.stretch import records_between
from streams.kafka.tail import Change
from streams.messages.state_mark import StateMarks
from streams.settings import Settings
from streams.web.engine_access import EngineAccess
from streams.worker.assignment import Assignment
from streams.worker.catalogue import Catalogue, ItemEncoder
from streams.worker.checkpointing import Checkpointing, checkpoints_of
from streams.worker.checkpoints import Notes
from streams.worker.engine_thread import EngineThread
from streams.worker.exact_forgetting import ExactForgetting
from streams.worker.input_log import Input
from streams.worker.item_deltas import ItemDeltas, first_mentions
from streams.worker.ledger import GapError, Ledger
from streams.worker.partition import Partition
from streams.worker.pins import model_of
from streams.worker.pipeline import Pipeline
from streams.worker.stores import SUFFIX
from streams.worker.topic_watch import EXIT_STATUS as START_AGAIN
from streams.worker.traces import Traces
from streams.worker.user_side import UserSide

log = logging.getLogger("millrace.worker")

_STEP_SECONDS = 0.02
"""How often it is looked whether the answers of a collected delta are written."""


class Worker:
    """Everything that one worker process holds.

    With one partition, its owner has all users and learns all events, and nothing is shared. With
    several, each worker has the users of its partitions, and shares the items
    (`streams.worker.item_deltas`).

    Attributes
    ----------
    address
        Where its web server is reached; empty if it has none.
    status
        With what status the process has to end; 0 if the worker itself did not end it.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.status = 0
        self.address = ""
        self.input = Input.of(settings)
        self.outbox = Outbox(settings)
        self.assignment = Assignment(settings, self.input)
        partitions = self.assignment.partitions
        writer = uuid.uuid4().hex[:8]
        self.checkpoints = checkpoints_of(settings, self.input, writer)
        found = self.checkpoints and self.checkpoints.newest(settings.engine, self.input.fits)
        self.engine = found.engine if found else Recommender.new(settings.engine)
        self.model = model_of(settings)
        log.info("model %s %s, digest %s", self.model.name, self.model.version, self.model.digest)
        self.pipeline = Pipeline(self.engine, settings, self.model, self.input.topic_id)
        self.thread = EngineThread()
        self.deltas = ItemDeltas(
            settings, self.input.topic_id, self.engine, partitions, self.pipeline.counts, writer
        )
        self.users = UserSide(
            self.engine, partitions, self.checkpoints, settings.engine, self.thread,
            lambda: Input.of(settings).fits,
        )  # fmt: skip
        self._notes = found.notes if found else Notes(self.input.name, {}, {})
        for number, notes in self._notes.partitions.items():
            partitions[number].resume(notes)
            partitions[number].held = True
        self.users.resume()
        self.catalogue = Catalogue(settings, self.engine, self._notes.catalogue, self._notes.items)
        began = found.name.removesuffix(SUFFIX) if found else ""
        self.marks = self.pipeline.marks = StateMarks(writer, began, self._notes.cut)
        self.catalogue.on_change = self.deltas.note = self.users.note = self.marks.note
        if settings.traces.endpoint:
            self.pipeline.traces = Traces(settings.traces.endpoint, self.model.version, writer)
        self.items = ItemEncoder(settings, self.outbox, self.pipeline.count_dead_item)
        self.assignment.bring = self.bring
        self.assignment.tell = self.tell
        self.assignment.may_learn = lambda: self.deltas.has_room
        self.access = EngineAccess()
        if found and self.checkpoints:
            log.info("going on from checkpoint %s", self.checkpoints.store.place(found.name))
        if len(partitions) > 1:
            at = self._notes.deltas if self._notes.deltas_id else self.input.deltas[0]
            self._share(Ledger(self._notes.positions, self._notes.owners), at)
        self._items_committed: dict[int, int] = {}
        self.forgetting = ExactForgetting(
            settings, self.model, self.engine, partitions, self.catalogue, self.marks, self.thread,
            self.pipeline.counts, self._notes.exact,
        )  # fmt: skip
        self.checkpointing = Checkpointing(
            settings, self.checkpoints, self.input, self.engine, self.assignment, self.deltas,
            self.catalogue, self.marks, self.forgetting, self.pipeline.counts,
        )  # fmt: skip
        self.forgetting.on_exchange = self.checkpointing.hurry
        self._disowned_since: float | None = None

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
        app.when_looping = self._begin_to_follow
        made = driver.transport(
            self.settings, topics.interactions, self.assignment, group.client_id(self.address)
        )
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
            logging.getLogger(driver.__name__).setLevel(logging.ERROR)
            self.access.open(asyncio.get_running_loop())
            self.catalogue.follow(self._hand_over)

        @app.task  # type: ignore[untyped-decorator]
        async def look_after() -> None:
            # No timer of Faust's: those warn whenever a commit takes longer than their interval.
            while not app.should_stop:
                await app.sleep(worker.commit_seconds)
                if self.catalogue.failure is not None:
                    raise self.catalogue.failure
                self.outbox.wait(0)
                await self.assignment.look_after()
                await self.look_after_items()
                self.users.let_some_go()
                await self.commit_items(app)
                self.forgetting.if_due()

        @app.task  # type: ignore[untyped-decorator]
        async def tell() -> None:
            due = time.monotonic()
            while not app.should_stop:
                await app.sleep(min(_STEP_SECONDS, worker.delta_seconds))
                if time.monotonic() > due and self.deltas.collect():
                    self.checkpointing.if_due()
                    if self.deltas.is_telling:  # what comes after a quiet time is told at once
                        due = time.monotonic() + self.deltas.interval
                self.deltas.publish()

        @app.timer(1.0)  # type: ignore[untyped-decorator]
        async def checkpoint() -> None:
            if not self.deltas.is_open:  # else `tell` cuts it where all is told
                self.checkpointing.if_due()

        return app

    def _begin_to_follow(self) -> None:
        """In the event loop: from now on the engine is its, and others' deltas are applied."""
        self.thread.open(asyncio.get_running_loop())
        self.deltas.follow(self._hand_over)

    def _hand_over(self, change: Change) -> None:
        loop = self.thread.loop
        assert loop is not None
        loop.call_soon_threadsafe(change)

    # ------------------------------------------------------------------ the event path

    def handle(self, run: Run) -> None:
        """Answer a run of one partition."""
        self.pipeline.handle(self.assignment.partitions[run.records[0].partition], run.records)
        self.forgetting.keep(run.records)

    def catch_up(self) -> None:
        """Read the catalogue to its end, and what workers told of items."""
        items = self.catalogue.read_to_end()
        log.info("%d messages about items read", items)
        if self.deltas.is_open:
            if not self._notes.deltas_id:
                self._learn_what_was_told()
            log.info("%d messages of other workers about items read", self.deltas.read_to_end())

    def _learn_what_was_told(self) -> None:
        """Learn the events that were told in deltas before those that the topic still has.

        Only a worker that starts without a checkpoint of shared items needs to: it has all users
        up to where it begins.
        """
        partitions = self.assignment.partitions
        firsts = first_mentions(self.settings, self.input.topic_id, self.deltas.at, partitions)
        for number, end in firsts.items():
            partition, low = partitions[number], self.input.lows[number]
            if end <= partition.next_offset:
                continue
            log.info("partition %d: events up to %d are learnt, which were told", number, end)
            self.marks.lose()
            topic = self.settings.topics.interactions
            begin = max(low, partition.next_offset)
            for records in records_between(self.settings, topic, number, begin, end):
                self.pipeline.learn(partition, records)
            partition.next_offset, partition.held = end, True
        told = {n: max(p.next_offset, firsts.get(n, 0)) for n, p in partitions.items()}
        self._share(Ledger(told), self.deltas.at)

    # ------------------------------------------------------------------ partitions and items

    def _share(self, ledger: Ledger, at: int) -> None:
        self.pipeline.settles = True
        self.deltas.open(ledger, at)

    def bring(self, numbers: set[int]) -> None:
        """Have the state know what it needs of the partitions that are ours now.

        In the consumer's thread, while nothing of them is read.
        """
        partitions = self.assignment.partitions
        if len(partitions) > 1:
            if not self.deltas.is_open:
                self.thread.do(self._begin_to_share)
            self.deltas.claim(numbers, self.assignment.stopping)
            self.thread.do(partial(self.deltas.give_up, numbers))
            self.users.bring(numbers)
        for number in numbers:
            partition = partitions[number]
            partition.held = True
            partition.told = self.deltas.ledger.told(number) if self.deltas.is_open else 0
            if self.deltas.is_open:
                self.thread.do(partial(self.marks.note, "told", number, partition.told))
            _skip_what_is_gone(self.settings, partition, self.input.lows.get(number, 0))

    def _begin_to_share(self) -> None:
        """The input had one partition until now, and has several."""
        self.marks.lose()
        for number, partition in self.assignment.partitions.items():
            if partition.held:
                self.engine.settle(filter(None, self.engine.users.names), number)
        told = {n: p.next_offset for n, p in self.assignment.partitions.items()}
        self._share(Ledger(told), 0)
        self.deltas.read_to_end()
        self.deltas.follow(self._hand_over)

    async def tell(self, seconds: float) -> None:
        """Have others know what the events of partitions that are given up taught."""
        if self.deltas.is_open and not await self.deltas.tell(seconds):
            log.warning("not all that our events taught was told: their next owners learn it again")

    async def look_after_items(self) -> None:
        """End the worker when its items are not those of the others; keep telling of what is ours.

        Raises
        ------
        Exception
            What ended the reading of deltas.
        """
        failure = self.deltas.failure
        if self.deltas.spoilt or isinstance(failure, GapError):
            self._start_again(self.deltas.spoilt or str(failure))
        elif failure is not None:
            raise failure
        await self._claim_again()

    def _start_again(self, reason: str) -> None:
        if not self.status:
            self.status = START_AGAIN
            log.critical("%s; the worker ends with status %d, to be started again", reason,
                         self.status)  # fmt: skip
            os.kill(os.getpid(), signal.SIGTERM)

    async def _claim_again(self) -> None:
        """Take partitions over once more that a worker took which had lost them, and woke late."""
        owners = self.deltas.ledger.owners
        ours = [partition.number for partition in self.assignment.ours()]
        disowned = [n for n in ours if self.deltas.is_open and owners.get(n) != self.deltas.writer]
        if not disowned:
            self._disowned_since = None
        elif self._disowned_since is None:
            self._disowned_since = time.monotonic()
        patience = 1.5 * self.settings.worker.session_seconds
        if (
            self._disowned_since is not None
            and time.monotonic() > self._disowned_since + patience
            and self.assignment.lease_holds
        ):
            log.warning("partitions %s are claimed again: another worker claimed them", disowned)
            await asyncio.to_thread(self.deltas.claim, disowned, self.assignment.stopping)

    async def commit_items(self, app: faust.App) -> None:
        """Commit how far the items of our partitions are read, once their embeddings are out."""
        read = dict(self.items.read)
        if read.items() <= self._items_committed.items():
            return
        await asyncio.to_thread(self.outbox.flush)
        if await _commit(app, self.settings.topics.items, read):
            self._items_committed |= read

    def stop(self) -> None:
        """End the threads, write what is still to be written, and a last checkpoint."""
        self.forgetting.stop()
        self.catalogue.stop()
        self.deltas.stop()
        self.assignment.stop()
        self.outbox.producer.flush(clients.TIMEOUT_SECONDS)
        self.checkpointing.at_end()
        if self.pipeline.traces is not None:
            self.pipeline.traces.stop()


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
