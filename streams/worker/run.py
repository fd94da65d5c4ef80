"""A worker's process: wait for the broker, load the state, serve page and API, run Faust."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import faust

from engine.state import huge_pages
from engine.warm_up import warm_up
from streams.brokers import BrokerError, topic_partitions
from streams.brokers.errors import RefusedError
from streams.kafka import rights, topics
from streams.kafka.group import Group, Member
from streams.settings import Settings
from streams.web import metrics
from streams.web.api import Api
from streams.web.feed import Feed
from streams.web.forwarding import Forwarding
from streams.web.message_writer import MessageWriter
from streams.web.page import Page
from streams.web.server import serve
from streams.web.workers import Workers, address_of
from streams.worker.app import Worker
from streams.worker.health import Health
from streams.worker.process_memory import give_back, map_large_arrays
from streams.worker.topic_watch import TopicWatch, grow_outputs
from streams.worker.watchdog import EXIT_STATUS, Watchdog

log = logging.getLogger("millrace.worker")


def run(settings: Settings) -> None:
    """Run a worker in the foreground until SIGINT or SIGTERM."""
    map_large_arrays()
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
    give_back()  # what loading kernels and state took meanwhile
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
        if watchdog.stuck or watch.status or worker.status:
            sys.exit(watch.status or worker.status or EXIT_STATUS)


def _serve(worker: Worker, health: Health) -> None:
    """The page, the HTTP API, metrics and health, from a thread of their own."""
    settings, engine, pipeline = worker.settings, worker.engine, worker.pipeline
    partitions, web = worker.assignment.partitions, settings.web
    # The embedded broker's group is not asked for: this worker is all of it.
    alone = settings.broker.embedded
    workers = Workers(partial(_alone, worker) if alone else Group(settings).members)
    forwarding = Forwarding(partitions, workers, health)
    writer = MessageWriter(settings, lambda: len(partitions))
    api = Api(
        engine, worker.model, worker.access, health, writer, settings, workers, forwarding,
        worker.forgetting.status,
    )  # fmt: skip
    feed = Feed(pipeline, health, worker.model)
    page = Page(feed, engine, worker.access, forwarding, web.pages_per_client)
    told = metrics.registry(
        pipeline, worker.assignment, health, settings.engine, worker.checkpoints
    )
    told.register(metrics.ExperimentMetrics(pipeline, feed.comparison))
    server = serve(settings, told, health, api.routes(), (page, forwarding))
    worker.address = workers.address = address_of(settings, server.port)


def _alone(worker: Worker) -> list[Member]:
    return [Member(worker.address, list(worker.assignment.our_positions()))]


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
