"""The partitions of the input: which are ours to answer, and how they come and go."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor

from streams.settings import Settings
from streams.worker.delivery import DisownedError, Writer
from streams.worker.input_log import Input
from streams.worker.leased import Lease, LeasedWriter, SharedProducer, now
from streams.worker.partition import Partition
from streams.worker.transactional import TransactionalWriter

log = logging.getLogger("millrace.worker")

Commit = Callable[[dict[int, int]], Awaitable[bool]]
"""Commits the offset of each of these input partitions; whether the group's coordinator took it."""


class Assignment:
    """All partitions, by number; takes over those that the group assigns, and gives them up.

    It is what `streams.kafka.driver` calls `Placing`. One thread changes which are ours at a time;
    that of the events applies them.

    Attributes
    ----------
    partitions
        By number, whoever answers them.
    on_change
        Called with the positions of the partitions that others answer, when these change.
    """

    def __init__(self, settings: Settings, input_: Input) -> None:
        self.partitions: dict[int, Partition] = {}
        self.on_change: Callable[[dict[int, int]], object] = lambda positions: None
        self.commit: Commit = _nothing_to_commit
        self._settings, self._topic_id = settings, input_.topic_id
        self._changing = threading.Lock()
        self._stopping = threading.Event()
        self._leased = settings.worker.delivery == "leased"
        self._abandoned = False
        self._lease = Lease(settings.worker.session_seconds)
        self._producer = SharedProducer(settings) if self._leased else None
        self.add(input_.lows)

    def add(self, numbers: Collection[int]) -> None:
        """Know these partitions, too, from their beginning."""
        for number in sorted(set(numbers) - self.partitions.keys()):
            self.partitions[number] = Partition(
                number=number,
                window=self._settings.worker.duplicate_window,
                writer=self._writer(number),
            )

    def _writer(self, number: int) -> Writer:
        if self._producer is None:
            return TransactionalWriter(self._settings, number, self._topic_id, 0)
        return LeasedWriter(self._settings, number, self._topic_id, 0, self._producer, self._lease)

    # ------------------------------------------------------------------ coming and going

    def claim(self, partitions: set[int]) -> dict[int, int]:
        """Take these over; blocks until it is known what is answered of each.

        Returns
        -------
        dict of int to int
            The offset to read each from.
        """
        with self._changing:
            self.add(partitions)
            new = [self.partitions[n] for n in sorted(partitions) if not self.partitions[n].ours]
            if new:
                with ThreadPoolExecutor(len(new)) as pool:
                    list(pool.map(lambda partition: partition.writer.open(self._stopping), new))
                log.info("answering partitions %s", sorted(partitions))
            for partition in self.partitions.values():
                partition.ours = partition.number in partitions
            self._tell()
            return {number: self.partitions[number].next_offset for number in partitions}

    async def placed(self) -> None:
        """The consumer reads what was claimed: tell the group that we are here, for the lease."""
        await self.commit_out()

    async def release(self, partitions: set[int], lost: bool) -> None:
        """Write every answer of these before others take them over.

        Parameters
        ----------
        lost
            Others have them already: nothing may be written any more.
        """
        closing = [self.partitions[n] for n in sorted(partitions) if self.partitions[n].ours]
        for partition in closing:  # first: what is claimed again meanwhile is new
            partition.ours = False
        lost = lost or self._abandoned
        if lost:
            self._lease.end()
        seconds = 0.0 if lost else self._settings.worker.session_seconds / 2
        await asyncio.to_thread(self._close, closing, seconds)
        if closing and not lost:
            await self.commit(_out(closing))
        self._tell()

    def _close(self, closing: list[Partition], seconds: float) -> None:
        with self._changing, ThreadPoolExecutor(max(1, len(closing))) as pool:
            list(pool.map(lambda partition: partition.writer.close(seconds), closing))

    def know(self, numbers: Collection[int]) -> None:
        """Know partitions that were added to the input, too. Any thread may call."""
        self.add(numbers)
        self._tell()

    def _tell(self) -> None:
        others = self.partitions.copy()
        self.on_change({n: p.next_offset for n, p in others.items() if not p.ours})

    def abandon(self) -> None:
        """Write and commit nothing any more: the input is another topic now. For any thread."""
        self._abandoned = True
        self._lease.end()

    def stop(self) -> None:
        """End whatever waits for the broker, and the producer."""
        self._stopping.set()
        with self._changing:
            if self._producer is not None:
                self._producer.close()

    # ------------------------------------------------------------------ a few times a second

    async def look_after(self) -> None:
        """Commit what is answered, let writers go on, reopen those that stopped without need.

        Raises
        ------
        Exception
            What ended a writer for good.
        """
        await self.commit_out()
        for partition in self.ours():
            writer = partition.writer
            writer.advance()
            if writer.failure is None:
                continue
            if not isinstance(writer.failure, DisownedError):
                raise writer.failure
            if writer.may_reopen:
                log.warning(
                    "partition %d: its writer is opened again; it had stopped: %s",
                    partition.number, writer.failure,
                    extra={"partition": partition.number},
                )  # fmt: skip
                await asyncio.to_thread(self._reopen, partition)

    def _reopen(self, partition: Partition) -> None:
        with self._changing:
            if partition.ours and partition.writer.failure is not None:
                partition.writer.reopen(self._stopping)

    async def commit_out(self) -> None:
        """Commit how far our partitions are answered: others follow, and the lease is renewed."""
        offsets = _out(self.ours())
        if not offsets or self._abandoned:
            return
        sent = now()
        if await self.commit(offsets) and self.ours():
            self._lease.renew(sent)

    # ------------------------------------------------------------------ where they stand

    def ours(self) -> list[Partition]:
        """Those that are ours now, by number; any thread may ask."""
        return [p for _, p in sorted(self.partitions.copy().items()) if p.ours]

    def positions(self) -> dict[int, int]:
        """The next offset of each, whoever answers it."""
        return {number: partition.next_offset for number, partition in self.partitions.items()}

    def our_positions(self) -> dict[int, int]:
        """The next offset of each that is ours now; any thread may ask."""
        return {partition.number: partition.next_offset for partition in self.ours()}

    def has_room(self, number: int) -> bool:
        """Whether the broker takes the answers of a partition as fast as they come; any thread
        may ask."""
        waiting = self.partitions[number].writer.queue.waiting
        return waiting < self._settings.worker.waiting_answers

    def all_have_room(self) -> bool:
        """Whether the broker takes all answers as fast as they come; any thread may ask."""
        return all(self.has_room(partition.number) for partition in self.ours())

    def are_out(self, positions: dict[int, int]) -> bool:
        """Whether every answer of a state at these offsets is in the output topics."""
        return all(
            partition.writer.queue.out >= positions[number]
            for number, partition in self.partitions.items()
            if number in positions and partition.writer.queue.waiting
        )


def _out(partitions: Collection[Partition]) -> dict[int, int]:
    """Up to which offset each is answered."""
    return {partition.number: partition.writer.queue.out for partition in partitions}


async def _nothing_to_commit(offsets: dict[int, int]) -> bool:
    return False
