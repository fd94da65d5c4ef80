"""What Faust fetches around a rebalance never makes a hole in what is handled.

The race is inside Faust: it seeks to the committed offsets, which may lie beyond what this worker
has applied, and a fetch that is under way takes up there before our own seek comes. Its own
methods are therefore replaced by ones that do it every time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.worker.consumer import Runs, transport

PLACE = TP("in", 0)
END, COMMITTED, APPLIED = 60, 50, 20


class Log:
    """A partition of `END` messages, and where the fetcher stands in it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.position = 0
        self.fetching = asyncio.Event()
        self.fetching.set()
        patch.setattr(driver.Consumer, "getmany", self._getmany)
        patch.setattr(driver.Consumer, "perform_seek", self._seek_to_committed)
        patch.setattr(driver.Consumer, "seek_wait", self._seek)
        patch.setattr(driver.Consumer, "assignment", lambda _: {PLACE})

    async def _getmany(self, _timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        await self.fetching.wait()
        fetched = range(self.position, min(self.position + 10, END))
        self.position = fetched.stop
        for offset in fetched:
            yield PLACE, SimpleNamespace(partition=0, offset=offset)
            await asyncio.sleep(0)

    async def _seek_to_committed(self) -> None:
        self.position = COMMITTED

    async def _seek(self, offsets: dict[TP, int]) -> None:
        self.position = offsets[PLACE]


def test_nothing_is_handled_between_fausts_seek_and_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    handled: list[int] = []
    claimed = threading.Event()

    def claim(_ours: set[int]) -> dict[int, int]:
        claimed.wait(5)
        return {0: handled[-1] + 1 if handled else APPLIED}

    async def scenario() -> None:
        app = faust.App("test", broker="kafka://nowhere", web_enabled=False)
        made = transport("in", claim, lambda m: handled.append(m.offset), lambda: True, 5)
        app.transport = made(app.conf.broker_consumer, app)
        log, consumer = Log(monkeypatch), app.consumer

        async def fetch() -> None:
            assert [message async for message in consumer.getmany(1.0)] == []

        log.fetching.clear()
        under_way = asyncio.create_task(fetch())
        await asyncio.sleep(0)
        seek = asyncio.create_task(consumer.perform_seek())
        while log.position != COMMITTED:
            await asyncio.sleep(0)
        log.fetching.set()  # it takes up at the committed offset
        while log.position != COMMITTED + 10:
            await asyncio.sleep(0)
        assert handled == []
        claimed.set()
        await asyncio.gather(seek, under_way)
        while not handled or handled[-1] < END - 1:
            await fetch()
            if len(handled) == 15:  # and once more, in the middle
                await consumer.perform_seek()

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert handled == list(range(APPLIED, END))


def test_what_nobody_has_committed_is_read_from_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Faust seeks to what is committed, and not at all where nothing is."""
    items = {TP("items", number) for number in range(3)}
    sought: dict[TP, int] = {}

    async def to_committed(consumer: Any) -> None:
        consumer._read_offset.update({TP("items", 0): 7, TP("items", 1): None, TP("items", 2): 0})

    async def earliest(_consumer: Any, *places: TP) -> dict[TP, int]:
        return dict.fromkeys(places, 3)

    async def seek(_consumer: Any, offsets: dict[TP, int]) -> None:
        sought.update(offsets)

    monkeypatch.setattr(driver.Consumer, "perform_seek", to_committed)
    monkeypatch.setattr(driver.Consumer, "earliest_offsets", earliest)
    monkeypatch.setattr(driver.Consumer, "seek_wait", seek)
    monkeypatch.setattr(driver.Consumer, "assignment", lambda _: items)

    async def scenario() -> None:
        app = faust.App("test", broker="kafka://nowhere", web_enabled=False)
        made = transport("in", lambda _: {}, lambda _: None, lambda: True, 5)
        app.transport = made(app.conf.broker_consumer, app)
        await app.consumer.perform_seek()

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert sought == {TP("items", 1): 3, TP("items", 2): 3}


def test_messages_come_in_runs_of_their_partition() -> None:
    fetched = {TP("in", 1): ["a", "b"], TP("in", 0): [], TP("items", 1): ["c"], TP("in", 2): ["d"]}
    handed = [(place.topic, place.partition, each) for place, each in Runs().iterate(fetched)]
    assert handed == [("in", 1, "a"), ("in", 1, "b"), ("items", 1, "c"), ("in", 2, "d")]
