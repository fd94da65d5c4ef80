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
    bring
        Called with the partitions that are claimed: has the state know what it needs of them, and
        forget what it does not. It may block.
    tell
        Has others know what the events of partitions that are given up taught, within so many
        seconds.
    may_learn
        Whether more events may be learnt now; any thread asks.
    stopping
        Set when whatever waits for the broker has to end.
    """

    def __init__(self, settings: Settings, input_: Input) -> None:
        self.partitions: dict[int, Partition] = {}
        self.bring: Callable[[set[int]], object] = lambda numbers: None
        self.tell: Callable[[float], Awaitable[object]] = _nothing_to_tell
        self.may_learn: Callable[[], bool] = lambda: True
        self.commit: Commit = _nothing_to_commit
        self._settings, self._topic_id = settings, input_.topic_id
        self._changing = threading.Lock()
        self.stopping = threading.Event()
        self._leased = settings.worker.delivery == "leased"
        self._abandoned = False
        self._read_again: int | None = None
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
                    list(pool.map(lambda partition: partition.writer.open(self.stopping), new))
            self.bring(partitions)
            if new:
                log.info("answering partitions %s", sorted(partitions))
            for partition in self.partitions.values():
                partition.ours = partition.number in partitions
            self._read_again = self._to_read_again()
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
            await self.tell(seconds)

    def _close(self, closing: list[Partition], seconds: float) -> None:
        with self._changing, ThreadPoolExecutor(max(1, len(closing))) as pool:
            list(pool.map(lambda partition: partition.writer.close(seconds), closing))

    def know(self, numbers: Collection[int]) -> None:
        """Know partitions that were added to the input, too. Any thread may call."""
        self.add(numbers)

    def abandon(self) -> None:
        """Write and commit nothing any more: the input is another topic now. For any thread."""
        self._abandoned = True
        self._lease.end()

    def stop(self) -> None:
        """End whatever waits for the broker, and the producer."""
        self.stopping.set()
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
        self._say_read_again()
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

    def _to_read_again(self) -> int:
        """How many events of ours are answered and not in the state yet."""
        ours = [p for p in self.partitions.values() if p.ours]
        return sum(max(0, p.writer.queue.written + 1 - p.next_offset) for p in ours)

    def _say_read_again(self) -> None:
        """Say once that the state of what was claimed is as far as it was answered then."""
        if self._read_again is not None and not self._to_read_again():
            log.info("%d events read again", self._read_again)
            self._read_again = None

    def _reopen(self, partition: Partition) -> None:
        with self._changing:
            if partition.ours and partition.writer.failure is not None:
                partition.writer.reopen(self.stopping)

    async def commit_out(self) -> None:
        """Commit how far our partitions are answered, which renews the lease."""
        offsets = _out(self.ours())
        if not offsets or self._abandoned:
            return
        sent = now()
        if await self.commit(offsets) and self.ours():
            self._lease.renew(sent)

    @property
    def lease_holds(self) -> bool:
        """Whether the group gives our partitions to nobody else for now."""
        return self._lease.holds

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
        return waiting < self._settings.worker.waiting_answers and self.may_learn()

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


async def _nothing_to_tell(seconds: float) -> None:
    pass


async def _nothing_to_commit(offsets: dict[int, int]) -> bool:
    return False
