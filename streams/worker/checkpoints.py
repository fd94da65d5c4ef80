"""Checkpoints: the engine's state and the next offset of every partition, in one file.

A file's name says how many offsets lie below it, so the newest of a folder is the one whose name
sorts last, whichever worker wrote it: every worker's state is of all partitions. Workers of one
machine share a folder.

Writing takes a fork: the child has the state as it was at that moment, and the event path waits
for nothing but the fork itself, which takes an eighth of the time when memory is in huge pages.
A file takes its name only when every answer up to its offsets is in the output topics; a worker
that starts from it would give none of them again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec

from engine.recommender import Recommender
from engine.settings import EngineSettings
from engine.state import huge_pages
from engine.state.container import SavedStateError
from engine.state.snapshot import read_notes
from streams.worker.partition import Offset, PartitionNotes

log = logging.getLogger("millrace.worker")

_SUFFIX = ".millrace"
_ABANDONED_SECONDS = 600.0
"""After so long without a byte more nobody writes a file any more."""
_NICENESS = 10


class Notes(msgspec.Struct):
    """What a checkpoint says beside the engine's state.

    Attributes
    ----------
    log
        Of which log the offsets are: the cluster's id and the topic.
    partitions
        Where each partition of the interactions stands.
    catalogue, items
        The next offset of each partition of the items' embeddings, and of the items.
    """

    log: str
    partitions: dict[int, PartitionNotes]
    catalogue: dict[int, Offset]
    items: dict[int, Offset] = {}

    @property
    def progress(self) -> int:
        """How many offsets are below it."""
        return sum(partition.next_offset for partition in self.partitions.values())

    @property
    def forgotten(self) -> dict[int, int]:
        """The offset after the latest `forget` of each partition that has had one."""
        return {n: p.forgotten for n, p in self.partitions.items() if p.forgotten}

    def is_before(self, forgotten: dict[int, int]) -> bool:
        """Whether it ends before one of these, and so may hold whom it was of."""
        return any(
            number not in self.partitions or self.partitions[number].next_offset < end
            for number, end in forgotten.items()
        )


@dataclass(frozen=True)
class Checkpoint:
    """A state that was read, and what is noted of it."""

    path: Path
    engine: Recommender
    notes: Notes


class Writing:
    """A checkpoint that a child process is writing.

    Attributes
    ----------
    temporary
        The file.
    positions
        The next offset of each partition, as of the cut.
    pause_seconds
        How long the fork took, and so events waited.
    """

    def __init__(
        self, pid: int, failure: int, temporary: Path, positions: dict[int, int],
        pause_seconds: float,
    ) -> None:  # fmt: skip
        self._pid, self._failure = pid, failure
        self.temporary = temporary
        self.positions = positions
        self.pause_seconds = pause_seconds

    def wait(self) -> None:
        """Return once it is on the disk, still without a name.

        Raises
        ------
        OSError
            If the child could not write it, with its reason.
        """
        with os.fdopen(self._failure, "rb") as said:
            reason = said.read().decode()
        _, status = os.waitpid(self._pid, 0)
        # What was written while the child lived is in small pages, which the next fork would copy.
        huge_pages.collapse()
        if status:
            reason = reason or f"status {os.waitstatus_to_exitcode(status)}"
            raise OSError(f"{self.temporary.parent}: no checkpoint was written ({reason})")

    def discard(self) -> None:
        """Remove it."""
        self.temporary.unlink(missing_ok=True)


class Checkpoints:
    """A folder of them.

    Raises
    ------
    OSError
        If there is no such folder and none can be made, or none can write to it.
    """

    def __init__(self, folder: Path, kept: int) -> None:
        self.folder = folder
        self._kept = kept
        self._told: dict[int, int] = {}
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):  # of a folder that is somebody else's
            folder.chmod(0o700)
        if not os.access(folder, os.W_OK):
            raise OSError(f"{folder} cannot be written to; worker.checkpoints names another")
        self._remove_abandoned()

    def age(self) -> float:
        """Seconds since the newest was written, by whichever worker; infinite without one."""
        return time.time() - max(map(_written, self._newest_first()), default=float("-inf"))

    def newest(
        self, settings: EngineSettings, fits: Callable[[Notes], str | None]
    ) -> Checkpoint | None:
        """The newest sound one; what is wrong with those that are passed over is logged.

        Parameters
        ----------
        fits
            Says why a checkpoint does not go with the topics, if it does not.
        """
        for path in self._newest_first():
            try:
                notes = read_notes(path, Notes)
                if reason := fits(notes):
                    raise SavedStateError(f"{path}: {reason}")
                return Checkpoint(path, Recommender.load(path, settings), notes)
            except FileNotFoundError:
                continue
            except (SavedStateError, OSError) as error:
                log.warning("checkpoint passed over: %s", error)
        return None

    def begin(
        self, engine: Recommender, positions: dict[int, int], notes: Callable[[], Notes]
    ) -> Writing:
        """Cut here, and have it written. The caller is the engine's thread.

        Parameters
        ----------
        positions
            The next offset of each partition.
        notes
            Called in the child: they hold all known event ids.
        """
        started = time.perf_counter()
        temporary = self.folder / f"{sum(positions.values()):016d}.{os.getpid()}.tmp"
        failure, tell = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(failure)
            os.close(tell)
            raise
        if pid == 0:
            _write_and_exit(engine, temporary, notes, tell)
        os.close(tell)
        return Writing(pid, failure, temporary, positions, time.perf_counter() - started)

    def write(self, engine: Recommender, notes: Notes) -> None:
        """Write one here and now."""
        temporary = self.folder / f"{notes.progress:016d}.{os.getpid()}.tmp"
        engine.save(temporary, notes)
        self._publish(temporary, notes.progress)

    def publish(self, writing: Writing) -> None:
        """Give a checkpoint that is written its name, and remove those that are too many."""
        self._publish(writing.temporary, sum(writing.positions.values()))

    def _publish(self, temporary: Path, progress: int) -> None:
        temporary.replace(self.folder / f"{progress:016d}{_SUFFIX}")
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        # By when they were written: one that goes with no log of today would stay for ever.
        files = [path for path in self.folder.glob(f"*{_SUFFIX}") if path.is_file()]
        for path in sorted(files, key=_written)[: -self._kept]:
            path.unlink(missing_ok=True)
        self._forget(self.folder / f"{progress:016d}{_SUFFIX}")

    def _forget(self, newest: Path) -> None:
        """Remove the checkpoints that may hold somebody who is forgotten in the newest."""
        forgotten = read_notes(newest, Notes).forgotten
        if not forgotten:
            return
        self._remove_abandoned()
        left = []
        for path in self.folder.iterdir():
            if path == newest:
                continue
            try:
                if path.suffix == _SUFFIX and not read_notes(path, Notes).is_before(forgotten):
                    continue
                if path.suffix == _SUFFIX:
                    path.unlink(missing_ok=True)
                    continue
            except FileNotFoundError:
                continue
            except (SavedStateError, OSError):  # of what it holds nothing is known
                pass
            left.append(path.name)
        if left:
            log.info("checkpoints: whom events up to %s forget may still be in %s",
                     forgotten, ", ".join(sorted(left)))  # fmt: skip
        elif forgotten != self._told:
            log.info("checkpoints: whom events up to %s forget is in none any more", forgotten)
            self._told = forgotten

    def _remove_abandoned(self) -> None:
        for left in self.folder.glob("*.tmp"):
            if time.time() - _written(left) > _ABANDONED_SECONDS:
                with contextlib.suppress(IsADirectoryError):
                    left.unlink(missing_ok=True)

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{_SUFFIX}"), reverse=True)


def _written(path: Path) -> float:
    """When a file was written; long ago, if it is none or another worker has removed it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0.0
    return found.st_mtime if stat.S_ISREG(found.st_mode) else 0.0


def _write_and_exit(
    engine: Recommender, path: Path, notes: Callable[[], Notes], tell: int
) -> NoReturn:
    """In the child: nothing of the parent's threads runs here, and nothing of it may be used.

    What goes wrong is written to the pipe `tell`: the parent logs it.
    """
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # The parent's sockets would stay open as long as this lives, should it be killed.
        os.closerange(3, tell)
        os.closerange(tell + 1, os.sysconf("SC_OPEN_MAX"))
        os.nice(_NICENESS)
        engine.save(path, notes())
    except BaseException as error:
        os.write(tell, str(error).encode())
        os._exit(1)
    os._exit(0)
