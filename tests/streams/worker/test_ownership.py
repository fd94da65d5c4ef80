"""Partitions that are taken away and given back while the way out of them closes (issue 7)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from streams.settings import Settings
from streams.worker.app import Worker
from streams.worker.partition import Output
from streams.worker.transactions import PartitionOutbox
from tests.streams.conftest import Path


class SlowOutbox(PartitionOutbox):
    """One that is closed only when it is told: its broker takes its time."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, 0, 5)
        self.told = threading.Event()

    def close(self, seconds: float) -> None:
        assert self.told.wait(30)
        super().close(seconds)


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_a_partition_that_comes_back_while_it_is_closed_is_ours_again_and_loses_nothing(
    settings: Callable[..., Settings],
) -> None:
    path = Path(settings(topics={"partitions": 1}, worker={"checkpoints": ""}))
    worker = Worker(path.settings)
    outbox = SlowOutbox(path.settings)
    outbox.put(Output(4, path.names.recommendations, b"{}", b"ann", ()))
    worker.pipeline.partitions[0].next_offset = 5
    worker.pipeline.outboxes[0] = outbox
    worker.pipeline.ours = {0}

    async def revoke_and_assign() -> None:
        releasing = asyncio.create_task(worker.ownership.release({0}))
        await asyncio.sleep(0.1)
        claiming = asyncio.create_task(asyncio.to_thread(worker.ownership.claim, {0}))
        await asyncio.sleep(0.3)
        assert not worker.ownership.are_out({0: 5})  # no checkpoint may say so meanwhile
        outbox.told.set()
        assert await releasing == {0: 4}
        assert await claiming == {0: 5}

    asyncio.run(revoke_and_assign())
    assert worker.pipeline.ours == {0}
    [answer] = path.read(path.names.recommendations, 1)
    assert answer.key() == b"ann"
    worker.ownership.close()
    assert worker.ownership.are_out({0: 5})
