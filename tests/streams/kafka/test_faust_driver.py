"""The Faust transport: what it touches of Faust, and what a Faust app gets from a real broker."""

from __future__ import annotations

import asyncio
import inspect
import tempfile
from collections.abc import Callable
from typing import Any

import faust
import pytest
from confluent_kafka import Producer

from streams.kafka import driver
from streams.kafka.record import Record
from streams.settings import Settings
from streams.worker.app import _consumer, _runs
from tests.streams.conftest import Path

PARAMETERS = {
    "_getmany": ["active_partitions", "timeout"],
    "_to_message": ["tp", "record"],
    "_commit": ["offsets"],
    "_seek": ["partition", "offset"],
    "_new_topicpartition": ["topic", "partition"],
    "perform_seek": [],
    "on_partitions_revoked": ["revoked"],
    "on_partitions_assigned": ["assigned", "generation_id"],
}


def test_faust_has_the_names_that_the_driver_touches() -> None:
    """A Faust that changed one of them would misplace partitions without a word."""
    for owner, names in driver.PRIVATE.items():
        for name in names:
            assert hasattr(owner, name), f"{owner.__name__}.{name}"
    consumer = next(owner for owner in driver.PRIVATE if owner is not faust.App)
    for name, parameters in PARAMETERS.items():
        found = inspect.signature(inspect.unwrap(getattr(consumer, name)))
        assert list(found.parameters) == ["self", *parameters], name
    abstract = consumer.__abstractmethods__ | set(driver.RunConsumer.__abstractmethods__)
    assert all(name in vars(driver.RunConsumer) for name in abstract), abstract
    # `getmany` hands over what `_getmany` returns, through `_to_message`, while the flow is active.
    source = inspect.getsource(consumer.getmany)
    for used in ("_wait_next_records", "scheduler.iterate", "_to_message", "flow_active"):
        assert used in source


class Placed:
    """Takes partitions over at given offsets."""

    def __init__(self, offsets: dict[int, int]) -> None:
        self.offsets = offsets
        self.full: set[int] = set()
        self.happened: list[str] = []

    def claim(self, partitions: set[int]) -> dict[int, int]:
        self.happened.append("claim")
        return {number: self.offsets[number] for number in partitions}

    async def placed(self) -> None:
        self.happened.append("placed")

    async def release(self, partitions: set[int], lost: bool) -> None:
        self.happened.append("lost" if lost else "release")

    def has_room(self, partition: int) -> bool:
        return partition not in self.full


class Consumed:
    """A Faust app on the driver, and the records that its agent was given."""

    def __init__(self, settings: Settings, placed: Placed) -> None:
        self.records: list[Record] = []
        self.runs: list[int] = []
        self.app = faust.App(
            settings.worker.group, broker="kafka://nowhere", store="memory://", web_enabled=False,
            datadir=tempfile.mkdtemp(), topic_allow_declare=False, topic_disable_leader=True,
            stream_wait_empty=False, stream_buffer_maxsize=1,
        )  # fmt: skip
        made = driver.transport(settings, settings.topics.interactions, placed, "millrace")
        self.app.transport = made(self.app.conf.broker_consumer, self.app)

        @self.app.agent(_runs(self.app, settings.topics.interactions), name="runs")
        async def agent(stream: Any) -> None:
            async for run in stream.noack():
                assert _consumer(self.app).current(run)
                self.records += run.records
                self.runs.append(len(run.records))

    def run(self, scenario: Callable[[], Any]) -> None:
        async def main() -> None:
            async with self.app:
                await asyncio.wait_for(scenario(), 60)

        asyncio.run(main())

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_partitions_are_read_from_where_they_were_placed_in_runs(
    settings: Callable[..., Settings],
) -> None:
    path = Path(settings(topics={"partitions": 2}))
    for number in range(200):
        path.producer.produce(path.names.interactions, b"%d" % number, b"k", number % 2)
    path.flush()
    placed = Placed({0: 10, 1: 99})
    consumed = Consumed(path.settings, placed)

    async def scenario() -> None:
        await consumed.until(lambda: len(consumed.records) == 91)
        consumer = _consumer(consumed.app)
        done = dict.fromkeys(consumer.assignment(), 50)
        assert await consumer.commit_offsets(done)

    consumed.run(scenario)
    found = [(record.partition, record.offset) for record in consumed.records]
    assert [offset for number, offset in found if number == 0] == list(range(10, 100))
    assert [offset for number, offset in found if number == 1] == [99]
    assert consumed.records[0].value is not None
    assert max(consumed.runs) <= driver.RUN_RECORDS
    assert placed.happened == ["claim", "placed", "release"]


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_a_partition_without_room_waits_and_the_others_do_not(
    settings: Callable[..., Settings],
) -> None:
    path = Path(settings(topics={"partitions": 2}))
    for number in range(3_000):  # more of one than is held
        path.producer.produce(path.names.interactions, b"%d" % number, b"k", 0)
    path.flush()
    placed = Placed({0: 0, 1: 0})
    placed.full = {0}
    consumed = Consumed(path.settings, placed)

    async def scenario() -> None:
        await consumed.until(lambda: "placed" in placed.happened)
        for number in range(20):
            path.producer.produce(path.names.interactions, b"%d" % number, b"k", 1)
        path.producer.flush()
        await consumed.until(lambda: len(consumed.records) == 20)
        assert {record.partition for record in consumed.records} == {1}
        placed.full = set()
        await consumed.until(lambda: len(consumed.records) == 3_020)

    consumed.run(scenario)
    offsets = [record.offset for record in consumed.records if record.partition == 0]
    assert offsets == list(range(3_000))


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_every_codec_is_read(settings: Callable[..., Settings]) -> None:
    path = Path(settings(topics={"partitions": 1}))
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    for codec in codecs:
        producer = Producer({
            "bootstrap.servers": path.settings.broker.bootstrap, "compression.codec": codec,
        })  # fmt: skip
        producer.produce(path.names.interactions, codec.encode() * 50, b"k", 0)
        producer.flush()
    consumed = Consumed(path.settings, Placed({0: 0}))

    async def scenario() -> None:
        await consumed.until(lambda: len(consumed.records) == len(codecs))

    consumed.run(scenario)
    assert [record.value for record in consumed.records] == [c.encode() * 50 for c in codecs]
