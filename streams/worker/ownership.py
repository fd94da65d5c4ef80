"""Which partitions of the input are ours to answer, and how they come and go."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor

from streams.settings import Settings
from streams.worker.pipeline import Pipeline
from streams.worker.replica import Follower
from streams.worker.transactions import FencedError, PartitionOutbox

log = logging.getLogger("millrace.worker")


class Ownership:
    """Opens the way out of a partition that becomes ours, and closes that of one that ceases to."""

    def __init__(self, settings: Settings, pipeline: Pipeline, follower: Follower) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._follower = follower
        self._claiming = threading.Lock()
        self._fenced: dict[int, float] = {}

    def claim(self, ours: set[int]) -> dict[int, int]:
        """The offset to read each of our input partitions from. Blocks; in a thread of its own.

        A partition that is new to us is ours alone from here on: its earlier owner is shut out,
        and it is known what has been answered.
        """
        with self._claiming:  # Faust asks twice in a rebalance
            partitions, outboxes = self._pipeline.partitions, self._pipeline.outboxes
            new = sorted(ours - self._pipeline.ours)
            for number in new:
                outboxes.setdefault(
                    number,
                    PartitionOutbox(self._settings, number, partitions[number].next_offset),
                )
            if new:
                with ThreadPoolExecutor(len(new)) as pool:
                    list(pool.map(lambda number: outboxes[number].open(), new))
                log.info("answering partitions %s", sorted(ours))
            self._pipeline.ours = set(ours)
            self._follower.follow(self.positions(ours))
            return {number: partitions[number].next_offset for number in ours}

    async def release(self, revoked: set[int]) -> dict[int, int]:
        """Write every answer before others take these partitions over.

        Returns
        -------
        dict of int to int
            Up to which offset each is answered.
        """
        closing = {n: self._pipeline.outboxes[n] for n in revoked & self._pipeline.ours}
        # First, for Faust does not wait for us for ever: what it claims again meanwhile is new.
        self._pipeline.ours -= revoked
        out = await asyncio.to_thread(self._shut, closing)
        for number in closing:
            self._fenced.pop(number, None)
        return out

    def _shut(self, closing: dict[int, PartitionOutbox]) -> dict[int, int]:
        seconds = self._settings.worker.session_seconds / 2
        with self._claiming, ThreadPoolExecutor(max(1, len(closing))) as pool:
            list(pool.map(lambda outbox: outbox.close(seconds), closing.values()))
            return {number: outbox.out for number, outbox in closing.items()}

    def _reopen(self, number: int) -> None:
        with self._claiming:
            outbox = self._pipeline.outboxes[number]
            if number in self._pipeline.ours and outbox.failure is not None:
                outbox.close(1.0)
                outbox.open()

    async def look_after(self) -> None:
        """Raise what ended a way out; open one again that we were shut out of for no reason.

        Most often the partition is another's by then, which the group's next rebalance tells us.
        But the broker also shuts a writer out whose transaction has been open for too long.
        """
        patience = 1.5 * self._settings.worker.session_seconds
        for number in sorted(self._pipeline.ours):
            outbox = self._pipeline.outboxes[number]
            if outbox.failure is None:
                continue
            if not isinstance(outbox.failure, FencedError):
                raise outbox.failure
            since = self._fenced.setdefault(number, time.monotonic())
            if time.monotonic() - since > patience:
                del self._fenced[number]
                log.warning(
                    "partition %d: writing again after %s", number, outbox.failure,
                    extra={"partition": number},
                )  # fmt: skip
                await asyncio.to_thread(self._reopen, number)

    def has_room(self) -> bool:
        """Whether the broker keeps up with our answers; while it does not, input waits.

        Any thread may ask.
        """
        most = self._settings.worker.waiting_answers
        return all(self._pipeline.outboxes[n].waiting < most for n in list(self._pipeline.ours))

    def out(self) -> dict[int, int]:
        """Up to which offset each of our partitions is answered."""
        return {number: self._pipeline.outboxes[number].out for number in self._pipeline.ours}

    def are_out(self, positions: dict[int, int]) -> bool:
        """Whether all that a state at these offsets has answered is in the output topics."""
        return all(o.out >= positions[n] for n, o in self._pipeline.outboxes.items())

    def positions(self, ours: Set[int] = frozenset()) -> dict[int, int]:
        """Where we stand in all partitions but `ours`."""
        return {n: p.next_offset for n, p in self._pipeline.partitions.items() if n not in ours}

    def close(self) -> None:
        """Write what is waiting, as far as the broker takes it in a session's time."""
        for number in self._pipeline.ours:
            self._pipeline.outboxes[number].close(self._settings.worker.session_seconds)
