"""Ends a worker that goes on no more: alive, events waiting, and none applied.

It looks from a thread, so it sees an event loop that hangs; and it asks the broker itself, so it
knows a worker that stands still from one that has nothing to read, or no broker.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable

from confluent_kafka import KafkaException, TopicPartition

from streams.kafka import clients
from streams.settings import Settings
from streams.worker.health import Health

log = logging.getLogger("millrace.watchdog")

EXIT_STATUS = 70  # EX_SOFTWARE of sysexits.h
GRACE_SECONDS = 10.0
"""Time for the worker to end in order, before it is ended."""
CAUGHT_UP = 1000
"""Messages behind, at most, of a partition that has been caught up with: less than a second."""
_PATIENCE_SECONDS = 2.0


class Watchdog:
    """Follows the worker's positions, keeps its `Health`, and ends it when it is stuck.

    Time counts while messages wait and no position moves, by what was seen at each look: a process
    that was frozen starts anew, and so does one whose broker was away or whose partitions moved.

    Parameters
    ----------
    settings
        `worker.stalled_seconds` among them.
    positions
        The next offset of each input partition that is being read now; none in a rebalance.
        Called from the watchdog's thread.
    has_room
        Whether the broker takes our answers; while it does not, input waits, and rightly.
    health
        What is told to the outside.
    give_up
        Called when the worker is stuck, once; by default `end_process`.

    Attributes
    ----------
    stuck : bool
        Whether it gave the worker up.
    """

    def __init__(
        self,
        settings: Settings,
        positions: Callable[[], dict[int, int]],
        has_room: Callable[[], bool],
        health: Health,
        give_up: Callable[[threading.Event], None] | None = None,
    ) -> None:
        self.stuck = False
        self._seconds = settings.worker.stalled_seconds
        self._interval = min(1.0, self._seconds / 10)
        self._topic = settings.topics.interactions
        self._reader = clients.reader(settings, **{"fetch.wait.max.ms": 100})
        self._positions = positions
        self._has_room = has_room
        self._health = health
        self._give_up = give_up or end_process
        self._caught_up: set[int] = set()
        self._still = 0.0
        self._seen: dict[int, int] = {}
        self._since = time.time()
        self._proven: dict[int, tuple[int, int, bool]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        before = time.monotonic()
        while not self._stopping.wait(self._interval) and not self.stuck:
            now = time.monotonic()
            self._look(min(now - before, self._interval + 2 * _PATIENCE_SECONDS))
            before = now
        self._reader.close()

    def _look(self, elapsed: float) -> None:
        positions = self._positions()
        moved = positions != self._seen
        self._seen = positions
        if not positions:
            self._start_anew()
            self._health.waiting = {}
            self._health.waiting_for = "no partition is assigned"
            return
        if not self._has_room():
            self._start_anew()
            self._health.waiting_for = "the broker does not take answers as fast as they come"
            return
        try:
            waiting = {p: self._waiting(p, offset, moved) for p, offset in positions.items()}
        except KafkaException as error:
            log.debug("no progress to judge: %s", error)
            self._start_anew()
            return
        self._health.waiting = waiting
        self._caught_up = {p for p in positions if p in self._caught_up or waiting[p] <= CAUGHT_UP}
        if moved or not any(waiting.values()):
            self._start_anew()
        else:
            self._still += elapsed
        worst = max(waiting, key=lambda p: waiting[p])
        stall = (
            f"no progress for {self._still:.0f} s, since "
            f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(self._since))}: "
            f"{self._topic}[{worst}] stands at offset {positions[worst]}, "
            f"{waiting[worst]} messages wait"
        )
        if self._still >= self._seconds / 2:
            self._health.waiting_for = stall
        elif self._caught_up < positions.keys():
            self._health.waiting_for = f"catching up: {sum(waiting.values())} messages to go"
        else:
            self._health.waiting_for = ""
            self._health.was_ready = True
        if self._still >= self._seconds:
            self.stuck = True
            log.critical(
                "%s; the worker ends with status %d", stall, EXIT_STATUS,
                extra={"topic": self._topic, "partition": worst, "offset": positions[worst]},
            )  # fmt: skip
            self._give_up(self._stopping)

    def _start_anew(self) -> None:
        self._still, self._since = 0.0, time.time()

    def _waiting(self, partition: int, offset: int, moved: bool) -> int:
        """Messages from `offset` on; 0 when what lies there is none.

        Behind the last message there may be markers of transactions, or places whose messages
        compaction or retention has removed: they count in offsets, and nobody gets to read them.
        So where a position stands still, the message that should be there is read.
        """
        place = TopicPartition(self._topic, partition, offset)
        end = int(self._reader.get_watermark_offsets(place, timeout=_PATIENCE_SECONDS)[1])
        if moved or end <= offset:
            return max(0, end - offset)
        known = self._proven.get(partition)
        if known is None or known[:2] != (offset, end):
            known = self._proven[partition] = (offset, end, self._is_readable(place))
        return end - offset if known[2] else 0

    def _is_readable(self, place: TopicPartition) -> bool:
        self._reader.assign([place])
        try:
            message = self._reader.poll(_PATIENCE_SECONDS)
            if message is not None and message.error():
                raise KafkaException(message.error())
            return message is not None
        finally:
            self._reader.unassign()


def end_process(ended: threading.Event) -> None:
    """Ask this process to end in order, and end it when that takes longer than a while.

    Parameters
    ----------
    ended
        Set when it is about to end by itself.
    """
    os.kill(os.getpid(), signal.SIGTERM)
    if not ended.wait(GRACE_SECONDS):
        logging.shutdown()
        os._exit(EXIT_STATUS)
