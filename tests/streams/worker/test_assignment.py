"""Partitions that are taken away and given back, and what their writers do meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from streams.settings import Settings
from streams.worker.app import Worker
from streams.worker.delivery import DisownedError, Output
from streams.worker.leased import now
from streams.worker.transactional import TransactionalWriter
from tests.streams.conftest import Path

pytestmark = pytest.mark.parametrize("broker", ["kafka"], indirect=True)


class SlowWriter(TransactionalWriter):
    """One that is closed only when it is told: its broker takes its time."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, 0, "", 5)
        self.closing, self.told = threading.Event(), threading.Event()

    def close(self, seconds: float) -> None:
        self.closing.set()
        assert self.told.wait(30)
        super().close(seconds)


def test_a_partition_that_comes_back_while_it_is_closed_is_ours_again_and_loses_nothing(
    settings: Callable[..., Settings],
) -> None:
    path = Path(settings(topics={"partitions": 1}, worker={"checkpoints": ""}))
    worker = Worker(path.settings)
    writer, assignment = SlowWriter(path.settings), worker.assignment
    writer.put([Output(4, path.names.recommendations, b"{}", b"ann", ())], 5)
    partition = assignment.partitions[0]
    partition.next_offset, partition.writer, partition.ours = 5, writer, True
    committed: list[dict[int, int]] = []

    async def commit(offsets: dict[int, int]) -> bool:
        committed.append(offsets)
        return True

    assignment.commit = commit

    async def revoke_and_assign() -> None:
        releasing = asyncio.create_task(assignment.release({0}, lost=False))
        await asyncio.to_thread(writer.closing.wait, 30)
        claiming = asyncio.create_task(asyncio.to_thread(assignment.claim, {0}))
        assert not assignment.are_out({0: 5})  # no checkpoint may say so meanwhile
        writer.told.set()
        await releasing
        assert committed == [{0: 4}]
        assert await claiming == {0: 5}

    asyncio.run(revoke_and_assign())
    assert partition.ours
    [answer] = path.read(path.names.recommendations, 1)
    assert answer.key() == b"ann"
    writer.close(10)
    assert assignment.are_out({0: 5})
    assignment.stop()


def test_partitions_that_are_lost_are_written_no_more(settings: Callable[..., Settings]) -> None:
    path = Path(settings(topics={"partitions": 2}, worker={"checkpoints": ""}))
    worker = Worker(path.settings)
    assignment = worker.assignment
    worker.catch_up()
    worker.deltas.follow(lambda change: change())
    assignment.claim({0, 1})
    assignment._lease.renew(now())
    writer = assignment.partitions[0].writer
    asyncio.run(assignment.release({0, 1}, lost=True))
    writer.put([Output(0, path.names.recommendations, b"{}", b"ann", ())], 1)
    writer.advance()
    assert writer.queue.waiting == 1
    assert assignment.ours() == []
    assert path.counts()[path.names.recommendations] == 0
    worker.deltas.stop()
    assignment.stop()


def test_a_writer_that_was_cut_off_goes_on_while_the_group_takes_our_commits(
    settings: Callable[..., Settings],
) -> None:
    path = Path(settings(topics={"partitions": 1}, worker={"checkpoints": ""}))
    assignment = Worker(path.settings).assignment

    async def commit(offsets: dict[int, int]) -> bool:
        return True

    async def scenario() -> None:
        assignment.commit = commit
        await asyncio.to_thread(assignment.claim, {0})
        writer = assignment.partitions[0].writer
        writer.failure = DisownedError("not acknowledged in time")
        writer.put([Output(0, path.names.recommendations, b"{}", b"ann", ())], 1)
        assert writer.queue.waiting == 1
        await assignment.look_after()
        assert writer.failure is None

    asyncio.run(scenario())
    path.read(path.names.recommendations, 1)
    assignment.partitions[0].writer.close(10)
    assignment.stop()
