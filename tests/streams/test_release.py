"""What a worker may say of answers while the way out of their partition closes (issue 7)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from streams.partitions import Output
from streams.settings import Settings
from streams.transactions import PartitionOutbox
from streams.worker import Worker
from tests.streams.conftest import Path


class SlowOutbox(PartitionOutbox):
    """One whose broker is away: what it holds cannot be written, which takes a while to find."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, 0)
        self.unsent = Output(4, settings.topics.recommendations, b"{}", b"ann", ())
        self.given_up = threading.Event()

    def close(self, seconds: float) -> list[Output]:
        assert self.given_up.wait(30)
        return [self.unsent]


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_no_checkpoint_is_taken_while_it_is_unknown_what_a_revoked_partition_could_not_write(
    settings: Callable[..., Settings], tmp_path: Any
) -> None:
    """A torture run lost 327 outputs so: killed after the checkpoint, before they were known."""
    path = Path(settings(topics={"partitions": 1}, worker={"checkpoints": str(tmp_path)}))
    worker = Worker(path.settings)
    outbox = SlowOutbox(path.settings)
    worker.pipeline.partitions[0].next_offset = 5
    worker.pipeline.outboxes[0] = outbox
    app: Any = SimpleNamespace(consumer=SimpleNamespace(assignment=set))

    async def revoke() -> None:
        releasing = asyncio.create_task(worker.release(app, {0}))
        while 0 in worker.pipeline.outboxes:
            await asyncio.sleep(0.01)
        assert not worker._is_out({0: 5})
        worker.checkpoint_if_due()
        outbox.given_up.set()
        await releasing
        assert worker.pipeline.partitions[0].unsent == [outbox.unsent]
        assert not worker._is_out({0: 5})
        worker.checkpoint_if_due()

    asyncio.run(revoke())
    assert not list(tmp_path.rglob("*.millrace"))
    worker.pipeline.partitions[0].unsent = []  # another worker has answered
    assert worker._is_out({0: 5})


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_a_partition_that_comes_back_at_once_is_claimed_when_its_old_way_out_is_closed(
    settings: Callable[..., Settings],
) -> None:
    path = Path(settings(topics={"partitions": 1}, worker={"checkpoints": ""}))
    worker = Worker(path.settings)
    outbox = SlowOutbox(path.settings)
    worker.pipeline.partitions[0].next_offset = 5
    worker.pipeline.outboxes[0] = outbox
    app: Any = SimpleNamespace(consumer=SimpleNamespace(assignment=set))

    async def revoke_and_assign() -> None:
        releasing = asyncio.create_task(worker.release(app, {0}))
        await asyncio.sleep(0.1)
        claiming = asyncio.create_task(asyncio.to_thread(worker.claim, {0}))
        await asyncio.sleep(0.3)
        assert 0 not in worker.pipeline.outboxes
        outbox.given_up.set()
        await releasing
        assert await claiming == {0: 5}

    asyncio.run(revoke_and_assign())
    [answer] = path.read(path.names.recommendations, 1)  # and what it had left is written now
    assert answer.key() == b"ann"
    assert worker.pipeline.outboxes[0].close(10) == []
