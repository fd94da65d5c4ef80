"""The watchdog: it fires at a worker that is stuck, and at no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer

from streams.brokers import EmbeddedBroker, KafkaServer
from streams.kafka import topics
from streams.processes import Child
from streams.settings import Settings, WebSettings
from streams.settings_io import as_environment
from streams.worker.health import Health
from streams.worker.watchdog import EXIT_STATUS, Watchdog
from tests.ports import free_port
from tests.streams.conftest import Path, interaction
from tests.streams.waiting import until

SECONDS = 2.0  # worker.stalled_seconds
LOOKS = 10  # of the watchdog in that time

# A worker that stands still at the events of one user: its event loop hangs, or goes on without.
STUCK = """
import time
from streams.worker import watchdog
from streams.cli.logs import log_to_stderr
from streams.worker.pipeline import Pipeline
from streams.settings_io import load_settings
from streams.worker.run import run

handle = Pipeline.handle

def stuck(self, partition, records):
    if any(b'"stuck"' in record.value for record in records):
        {what}
    handle(self, partition, records)

Pipeline.handle = stuck
watchdog.GRACE_SECONDS = {grace}
log_to_stderr()
run(load_settings())
"""


# ------------------------------------------------------------------ a worker that is stuck


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
@pytest.mark.parametrize(
    ("what", "grace"),
    [("time.sleep(600)", 0.5), ("return", 60.0)],
    ids=["the event loop hangs", "the event loop goes on"],
)
def test_a_stuck_worker_is_not_ready_and_then_ends(path: Path, what: str, grace: float) -> None:
    port = free_port()

    def ready() -> tuple[int, str]:
        address = f"http://127.0.0.1:{port}/health/ready"
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return answer.status, ""
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["reason"]
        except OSError:
            return 0, ""

    settings = path.settings.model_copy(
        update={
            "worker": path.settings.worker.model_copy(update={"stalled_seconds": SECONDS}),
            "web": WebSettings(port=port),
        }
    )
    path.send(interaction(0))
    with Child(
        [sys.executable, "-c", STUCK.format(what=what, grace=grace)],
        stdout=subprocess.DEVNULL,
        output=None,
        env=os.environ | as_environment(settings),
    ) as child:
        until(lambda: ready() == (200, ""), 60)
        path.answers(1)
        path.send(interaction(1, user="stuck"), interaction(2, user="stuck"))
        _, reason = until(lambda: (seen := ready())[0] == 503 and seen, 30)
        assert "no progress for" in reason
        assert f"{path.names.interactions}[0] stands at offset 1, 2 messages wait" in reason
        assert child.process.wait(30) == EXIT_STATUS


# ------------------------------------------------------------------ one that is not


class Positions:
    """What a watchdog is told at its looks, and how many there have been."""

    def __init__(self, of_look: Callable[[int], dict[int, int]]) -> None:
        self.looks = 0
        self._of_look = of_look

    def __call__(self) -> dict[int, int]:
        self.looks += 1
        return self._of_look(self.looks)

    def pass_stall(self, looks: int = int(1.5 * LOOKS)) -> None:
        """Return when the watchdog has looked for longer than it bears to see no progress."""
        wanted = self.looks + looks
        until(lambda: self.looks > wanted, 60)


@contextmanager
def watching(
    settings: Settings,
    positions: Callable[[], dict[int, int]],
    has_room: Callable[[], bool] = lambda: True,
) -> Iterator[tuple[Watchdog, Health]]:
    """A watchdog that ends nothing."""
    health = Health()
    watchdog = Watchdog(settings, positions, has_room, health, give_up=lambda ended: None)
    try:
        yield watchdog, health
    finally:
        watchdog.close()


@pytest.fixture
def short(path: Path) -> Settings:
    """Settings of `path`, with five messages to read."""
    path.send(*(interaction(n) for n in range(5)))
    worker = path.settings.worker.model_copy(update={"stalled_seconds": SECONDS})
    return path.settings.model_copy(update={"worker": worker})


def test_it_fires_where_messages_wait_and_none_is_applied(short: Settings) -> None:
    with watching(short, lambda: {0: 2}) as (watchdog, health):
        until(lambda: "offset 2, 3 messages wait" in health.waiting_for, 10)
        assert not watchdog.stuck  # it says so before it acts
        until(lambda: watchdog.stuck, 10)


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_it_does_not_where_there_is_nothing_to_read(short: Settings) -> None:
    positions = Positions(lambda look: {0: 5})
    with watching(short, positions) as (watchdog, health):
        positions.pass_stall()
        assert not watchdog.stuck
        assert health.ready


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_it_does_not_while_the_worker_goes_on_however_slowly(short: Settings) -> None:
    positions = Positions(lambda look: {0: look // (LOOKS // 3)})
    with watching(short, positions) as (watchdog, health):
        positions.pass_stall()
        assert not watchdog.stuck
        assert health.ready


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_it_does_not_in_a_rebalance(short: Settings) -> None:
    positions = Positions(lambda look: {})
    with watching(short, positions) as (watchdog, health):
        positions.pass_stall()
        assert not watchdog.stuck
        assert health.waiting_for == "no partition is assigned"


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_it_does_not_while_the_broker_takes_no_answers(short: Settings) -> None:
    positions = Positions(lambda look: {0: 2})
    with watching(short, positions, has_room=lambda: False) as (watchdog, health):
        positions.pass_stall()
        assert not watchdog.stuck
        assert "the broker does not take answers" in health.waiting_for


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_it_does_not_at_the_marker_that_ends_a_transaction(
    short: Settings, broker: KafkaServer
) -> None:
    """The marker has an offset, and is no message: who has read all others has nothing to read."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "another"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(short.topics.interactions, b"{}", partition=0)
    producer.commit_transaction(30)
    positions = Positions(lambda look: {0: 6})  # the end is 7
    with watching(short, positions) as (watchdog, health):
        positions.pass_stall(2 * LOOKS)
        assert not watchdog.stuck
        assert health.ready
    with watching(short, lambda: {0: 5}) as (watchdog, _):
        until(lambda: watchdog.stuck, 15)


def test_it_does_not_while_the_broker_is_away() -> None:
    with EmbeddedBroker() as broker:
        settings = Settings(
            broker={"bootstrap": broker.bootstrap, "embedded": True},
            topics={"partitions": 1},
            worker={"stalled_seconds": SECONDS},
        )
        for name in topics.policies(settings):
            broker.create_topic(name, 1)
        Path(settings).send(interaction(0))
        positions = Positions(lambda look: {0: 0})
        with watching(settings, positions) as (watchdog, health):
            until(lambda: health.waiting_for != "starting", 10)
            broker.close()
            positions.pass_stall(4)  # each of these waits 2 s for the broker
            assert not watchdog.stuck
