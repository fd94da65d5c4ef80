"""Workers that are killed, frozen, started and stopped on purpose, and started again by themselves.

A worker that ends by itself (one that was frozen past its session finds itself shut out, for
example) is started again, as any supervisor would.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from streams.processes import Child
from streams.settings import Settings
from streams.settings_io import as_environment

_READY = b"events read again"
_LEAVE_SECONDS = 60.0
"""How long a worker may take to stop after SIGTERM; then it is killed, and counted."""
_AGAIN_SECONDS = 0.5
"""How long one that ended by itself stays away."""


@dataclass
class Slot:
    """A place for a worker, with a log of its own.

    Attributes
    ----------
    wanted
        Whether a worker shall run here: one that ends by itself is started again.
    frozen_until
        When a frozen worker wakes (`time.monotonic`, as the others).
    killed
        Whether the last worker here was killed, until the one after it is ready.
    started, from_byte
        When it was started, and where its log began then.
    leaving, again
        When it was asked to stop; when it is to be started again.
    """

    log: IO[bytes]
    child: Child | None = None
    wanted: bool = False
    frozen_until: float | None = None
    ready: bool = False
    killed: bool = False
    started: float = 0.0
    from_byte: int = 0
    leaving: float | None = None
    again: float | None = None

    @property
    def says_ready(self) -> bool:
        """Whether its log says that its state is as far as the group has answered."""
        self.log.seek(self.from_byte)
        return _READY in self.log.read()

    @property
    def busy(self) -> bool:
        """Whether a worker runs here that can be killed or frozen."""
        return self.child is not None and self.leaving is None and self.frozen_until is None


@dataclass
class Fleet:
    """All workers of a run.

    Attributes
    ----------
    recovery_seconds
        From each restart after a kill until the worker's state was as far as the group's answers.
    ended
        Exit statuses of workers that ended by themselves, and how often.
    stopped_late
        Workers that SIGTERM did not stop in time.
    """

    settings: Settings
    slots: list[Slot]
    recovery_seconds: list[float] = field(default_factory=list)
    ended: Counter[int] = field(default_factory=Counter)
    stopped_late: int = 0

    @classmethod
    def of(cls, settings: Settings, workers: int, logs: Path) -> Self:
        """Room for `workers` workers, none started; each writes its log to a file of its own."""
        quiet = settings.web.model_copy(update={"port": 0})  # one port, many workers
        slots = [Slot((logs / f"worker-{number}.log").open("a+b")) for number in range(workers)]
        return cls(settings.model_copy(update={"web": quiet}), slots)

    @property
    def running(self) -> list[Slot]:
        """Those that can be killed or frozen now."""
        return [slot for slot in self.slots if slot.busy]

    @property
    def wanted(self) -> list[Slot]:
        """Those that shall run, and are not about to stop."""
        return [slot for slot in self.slots if slot.wanted]

    def start(self, slot: Slot) -> None:
        """Start a worker, once the one before it has stopped."""
        slot.wanted, slot.again = True, None
        if slot.child is None:
            slot.started, slot.from_byte = time.monotonic(), slot.log.seek(0, os.SEEK_END)
            slot.child = Child(
                [sys.executable, "-m", "streams.cli", "worker"],
                output=slot.log,
                env=os.environ | as_environment(self.settings),
                stop_seconds=_LEAVE_SECONDS,
            )

    def kill(self, slot: Slot, away: float) -> None:
        """SIGKILL a worker and all that it started; it is back `away` seconds later."""
        self._end(slot)
        slot.killed, slot.again = True, time.monotonic() + away

    def freeze(self, slot: Slot, seconds: float) -> None:
        """SIGSTOP a worker and all that it started; SIGCONT comes `seconds` later."""
        slot.frozen_until = time.monotonic() + seconds
        _signal(slot, signal.SIGSTOP)

    def leave(self, slot: Slot) -> None:
        """SIGTERM a worker: it stops in order, in its own time."""
        slot.wanted, slot.leaving = False, time.monotonic()
        _signal(slot, signal.SIGTERM)

    def look(self) -> None:
        """Wake who is due, start again who is due or has ended, and note who has become ready."""
        now = time.monotonic()
        for slot in self.slots:
            if slot.child is None:
                if slot.wanted and now >= (slot.again or now):
                    self.start(slot)
            elif slot.frozen_until is not None:
                if now >= slot.frozen_until:
                    self._wake(slot)
            elif not slot.child.running:
                self._count_exit(slot, slot.child)
                self._end(slot)
                slot.again = now + _AGAIN_SECONDS
            elif slot.leaving is not None and now > slot.leaving + _LEAVE_SECONDS:
                self.stopped_late += 1
                self._end(slot)
            elif not slot.ready and slot.says_ready:
                slot.ready = True
                if slot.killed:
                    self.recovery_seconds.append(time.monotonic() - slot.started)
                    slot.killed = False

    @property
    def settled(self) -> bool:
        """Whether all that shall run are ready, and none is frozen."""
        return all(s.ready and s.frozen_until is None for s in self.slots if s.wanted)

    def stop(self) -> None:
        """Stop all in order, one after another: the last has every partition before it goes."""
        for slot in self.slots:
            self._wake(slot)
            if slot.child is not None:
                self.leave(slot)
                slot.child.stop()
                self._count_exit(slot, slot.child)
                self._end(slot)
            slot.wanted = False

    def close(self) -> None:
        """End whatever still runs, and close the logs."""
        for slot in self.slots:
            self._end(slot)
            slot.log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _count_exit(self, slot: Slot, child: Child) -> None:
        if slot.leaving is None or child.process.returncode:
            self.ended[child.process.returncode] += 1

    @staticmethod
    def _wake(slot: Slot) -> None:
        slot.frozen_until = None
        _signal(slot, signal.SIGCONT)

    @staticmethod
    def _end(slot: Slot) -> None:
        if slot.child is not None:
            slot.child.kill()
        slot.child, slot.leaving, slot.frozen_until, slot.ready = None, None, None, False


def _signal(slot: Slot, number: int) -> None:
    if slot.child is not None and slot.child.running:
        with suppress(ProcessLookupError):
            os.killpg(slot.child.pid, number)
